//! `cygnet calibrate`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cygnet_convert::{Calibration, ConvertError, Part, calibrate_part};

use crate::common::CliError;
use crate::convert::warn;
use crate::progress::Shown;
use crate::source_args::SourceArgs;

const HELP: &str = "\
A calibration holds ranges and histograms of every tensor, in constant memory however many samples there are. Parts of
one set of samples can be seen by several machines: merged, they give the same file, byte for byte, as all seen by one.
An interrupted calibration goes on where it stopped when the same command is given again.

Examples:
  cygnet calibrate mobilenet.onnx --samples photos/ -o mobilenet.cal --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  cygnet convert mobilenet.onnx -o mobilenet.cygnet --precision int8 --calibration mobilenet.cal
  cygnet calibrate yolo.onnx --samples photos/ -o a.cal --letterbox --shard 1/2
  cygnet calibrate merge a.cal b.cal -o yolo.cal

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// See what values a model's tensors take over samples, for `convert --precision int8`
#[derive(clap::Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// The .onnx or .tflite file
    #[arg(required = true)]
    source: Option<PathBuf>,

    /// Folder or file of photos, .npz, .npy or .wav; may be given more than once
    #[arg(long, value_name = "DIR|FILE", num_args = 1.., required = true)]
    samples: Vec<PathBuf>,

    /// The file to write
    #[arg(short, long, value_name = "OUT.cal", required = true)]
    output: Option<PathBuf>,

    /// Which of how many equal parts of the samples to see
    #[arg(long, value_name = "I/N", value_parser = parse_shard, default_value = "1/1")]
    shard: Shard,

    #[command(flatten)]
    source_args: SourceArgs,

    /// Samples a second of the sound that the model takes; .wav files of another rate are refused
    #[arg(long, value_name = "HZ")]
    sample_rate: Option<u32>,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    Merge(MergeArgs),
}

/// Make one calibration of several parts
#[derive(clap::Args)]
pub struct MergeArgs {
    /// The parts
    #[arg(required = true, num_args = 1..)]
    parts: Vec<PathBuf>,

    /// The file to write
    #[arg(short, long, value_name = "OUT.cal")]
    output: PathBuf,
}

/// Part `index` (from 0) of `count`.
#[derive(Clone, Copy, Debug)]
struct Shard {
    index: usize,
    count: usize,
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let numbers =
        text.split_once('/').and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match numbers {
        Some((i, n)) if 1 <= i && i <= n => Ok(Shard { index: i - 1, count: n }),
        _ => Err("give the part and how many there are, as 1/4 to 4/4".to_owned()),
    }
}

/// How often what has been seen is written down.
const KEEP_EVERY: Duration = Duration::from_secs(10);

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    if let Some(Command::Merge(args)) = &args.command {
        return merge(args, out);
    }
    let (Some(source), Some(output)) = (&args.source, &args.output) else {
        return Err(CliError::Usage("give a model, --samples and -o; see --help".to_owned()));
    };
    let described =
        args.source_args.describe(source, &args.source_args.import(), &args.source_args.metadata())?;
    let mut samples = described.samples(&args.samples, args.sample_rate)?;
    let preprocessing: Vec<String> =
        args.source_args.metadata().iter().map(|(k, v)| format!(" {k}={v}")).collect();
    let settings = format!("{}{}", args.source_args.record(), preprocessing.concat());
    // What has been seen of these samples in this part: no other calibration goes on from there.
    let Shard { index, count } = args.shard;
    let mark = format!("{settings} part {} of {count} of {}", index + 1, samples.digest());
    let partial = partial(output);
    let begun = resume(&partial, &mark, &settings);
    if let Some((_, done)) = &begun {
        eprintln!("going on after {done} samples that an interrupted calibration had seen");
    }
    let mut kept = Instant::now();
    let part = Part {
        source: source.clone(),
        import: args.source_args.import(),
        samples: &mut samples,
        shard: index,
        shards: count,
        settings,
        begun,
    };
    let mut keep = |seen: &Calibration, done: usize| {
        if kept.elapsed() < KEEP_EVERY {
            return Ok(());
        }
        kept = Instant::now();
        Calibration { settings: format!("{mark} after {done}"), ..seen.clone() }.save(&partial)
    };
    let (seen, warnings) = calibrate_part(part, &mut Shown::new(args.quiet), &mut keep)?;
    seen.save(output).map_err(ConvertError::from)?;
    // Mostly there is none: only long calibrations leave one.
    let _ = std::fs::remove_file(&partial);
    warn(&warnings);
    report(output, &seen, out)
}

fn partial(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// What an interrupted run of the same command had seen, and of how many samples.
fn resume(partial: &Path, mark: &str, settings: &str) -> Option<(Calibration, usize)> {
    let mut begun = Calibration::load(partial).ok()?;
    let done = begun.settings.strip_prefix(mark)?.strip_prefix(" after ")?.parse().ok()?;
    settings.clone_into(&mut begun.settings);
    Some((begun, done))
}

fn merge(args: &MergeArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let load = |path: &PathBuf| Calibration::load(path).map_err(ConvertError::from);
    let mut sum = load(&args.parts[0])?;
    for path in &args.parts[1..] {
        sum.merge(&load(path)?)
            .map_err(|e| CliError::Failed(format!("cannot merge {}: {e}", path.display())))?;
    }
    sum.save(&args.output).map_err(ConvertError::from)?;
    report(&args.output, &sum, out)
}

fn report(path: &Path, seen: &Calibration, out: &mut dyn Write) -> Result<(), CliError> {
    let (samples, tensors) = (seen.samples.len(), seen.tensors.len());
    writeln!(out, "{}: {samples} samples, {tensors} tensors", path.display())?;
    Ok(())
}
