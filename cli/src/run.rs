//! `cygnet run`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use cygnet::format::Array;
use cygnet::{Profile, npz};

use crate::arrays::{outputs, outputs_json, read_inputs, set_inputs, shapes, view};
use crate::common::{CliError, ModelArgs, ThreadArgs, save, shape};

const HELP: &str = "\
Arrays in a .npz are named as the model's inputs; a leading 'in:' is accepted, arrays named 'out:...' are passed over.
Photos are brought to the input's size and range as the file's metadata say.

Examples:
  cygnet run mobilenet.cygnet --input sample.npz --output result.npz
  cygnet run mobilenet.cygnet --input photo.jpg
  cygnet run minilm.cygnet --input input_ids=ids.npy --input attention_mask=mask.npy --json
  cygnet run vad.cygnet --input frame.npz --load-state state.npz --save-state state.npz
  cygnet run yolo.cygnet --input sample.npz --profile
  cygnet run yolo.cygnet --input sample.npz --trace trace.json     (open it in ui.perfetto.dev)

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Run a model on arrays or a photo
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Input: FILE.npz, NAME=FILE.npy or a photo; may be given more than once
    #[arg(short, long, value_name = "INPUT", required = true, num_args = 1..)]
    input: Vec<String>,

    /// Write the outputs here, as numpy arrays (FILE.npz) or as JSON (FILE.json)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print the outputs as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    threads: ThreadArgs,

    /// Begin with the states in FILE.npz, as --save-state wrote them, in place of the model's initial ones
    #[arg(long, value_name = "FILE.npz")]
    load_state: Option<PathBuf>,

    /// Write the states that the run leaves here
    #[arg(long, value_name = "FILE.npz")]
    save_state: Option<PathBuf>,

    /// Run this often, from the same states; the outputs have to be the same bits every time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Print the time of each step
    #[arg(long)]
    profile: bool,

    /// Write the times of the steps of the last run as a Chrome trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Accept NaN and infinities in the inputs
    #[arg(long)]
    allow_nonfinite: bool,
}

#[cfg(any(test, not(feature = "device")))]
impl Args {
    pub fn from_words(words: &mut crate::words::Words) -> Result<Self, CliError> {
        let input = words.values(&["--input", "-i"])?;
        if input.is_empty() {
            return Err(CliError::Usage("no input is given; see cygnet --help".to_owned()));
        }
        let output = words.path("--output")?;
        Ok(Self {
            input,
            output: if output.is_some() { output } else { words.path("-o")? },
            load_state: words.path("--load-state")?,
            save_state: words.path("--save-state")?,
            repeat: words.number::<std::num::NonZeroU32>("--repeat")?.map_or(1, Into::into),
            trace: words.path("--trace")?,
            threads: ThreadArgs::from_words(words)?,
            json: words.flag("--json"),
            profile: words.flag("--profile"),
            allow_nonfinite: words.flag("--allow-nonfinite"),
            model: words.model_args()?,
        })
    }
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let as_npz = match args.output.as_deref().map(|path| path.extension().and_then(|e| e.to_str())) {
        None | Some(Some("npz")) => true,
        Some(Some("json")) => false,
        Some(_) => return Err(CliError::Usage("--output takes a file ending in .npz or .json".to_owned())),
    };
    let model = args.model.open(args.threads.pages())?;
    let mut session = args.model.session(&model, &args.threads)?;
    let inputs = read_inputs(&args.input, &session)?;
    if args.model.program.is_none() && model.programs().len() > 1 {
        session = args.model.session_for(&model, &args.threads, shapes(&inputs))?;
    }
    if session.states().next().is_none() && (args.load_state.is_some() || args.save_state.is_some()) {
        let what =
            "the model has no states; leave --load-state and --save-state out, or convert it with --state";
        return Err(CliError::Usage(what.to_owned()));
    }
    if let Some(path) = &args.load_state {
        session.restore_states(&npz::read(path)?)?;
    }
    let begin = session.save_states();
    let mut profile = Profile::new(&session);
    let mut first: Option<Vec<Array>> = None;
    let started = Instant::now();
    for turn in 0..args.repeat {
        session.restore_states(&begin)?;
        set_inputs(&mut session, &inputs)?;
        if turn == 0 && !args.allow_nonfinite {
            session.check_finite()?;
        }
        if args.profile || args.trace.is_some() {
            session.run_profiled(&mut profile)?;
        } else {
            session.run()?;
        }
        match &first {
            None => first = Some(outputs(&session)?),
            Some(first) => check_same(first, &outputs(&session)?, turn)?,
        }
    }
    let elapsed = started.elapsed();
    let results = first.unwrap_or_default();
    if let Some(path) = &args.output {
        let bytes =
            if as_npz { npz::npz_bytes(&results)? } else { outputs_json(&results).to_string().into_bytes() };
        save(path, &bytes)?;
    }
    if let Some(path) = &args.save_state {
        save(path, &npz::npz_bytes(&session.save_states())?)?;
    }
    if let Some(path) = &args.trace {
        save(path, profile.chrome_trace().as_bytes())?;
    }
    if args.json {
        writeln!(out, "{}", outputs_json(&results))?;
    } else if args.output.is_none() {
        summarize(&results, out)?;
    }
    if args.profile {
        writeln!(out, "{}", profile.table(20))?;
    }
    if args.repeat > 1 && !args.json {
        let ms = elapsed.as_secs_f64() * 1e3 / f64::from(args.repeat);
        writeln!(
            out,
            "{} runs, the same bits every time, {ms:.3} ms each with input and comparison",
            args.repeat
        )?;
    }
    Ok(())
}

fn check_same(first: &[Array], now: &[Array], turn: u32) -> Result<(), CliError> {
    match first.iter().zip(now).find(|(a, b)| a.bytes != b.bytes) {
        None => Ok(()),
        Some((a, _)) => Err(CliError::Failed(format!(
            "output '{}' of run {} differs from that of the first; run `cygnet verify`, and test this machine's memory",
            a.name,
            turn + 1
        ))),
    }
}

fn summarize(results: &[Array], out: &mut dyn Write) -> Result<(), CliError> {
    const SHOWN: usize = 6;
    for array in results {
        let values = view(array).to_f32();
        let (low, high) =
            values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64;
        writeln!(out, "{}  {} {}", array.name, array.dtype.name(), shape(&array.dims))?;
        writeln!(out, "  least {low}, greatest {high}, mean {mean:.6}")?;
        let shown: Vec<String> = values.iter().take(SHOWN).map(f32::to_string).collect();
        let more = if values.len() > SHOWN { ", ..." } else { "" };
        writeln!(out, "  [{}{more}]", shown.join(", "))?;
    }
    Ok(())
}
