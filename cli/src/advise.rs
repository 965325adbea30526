//! `cygnet advise`.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use cygnet::{DType, MAX_SCRATCH, Model, Session, SessionOptions};
use cygnet_convert::predict::{Device, Prediction};
use cygnet_convert::sensitivity::{outputs, spread};
use cygnet_convert::{
    Budget, Calibrator, ConvertError, Converted, Judge, Options, Precision, Samples, Tools, convert, import,
    prepare,
};
use cygnet_targets::Profile;
use serde_json::{Value, json};

use crate::budget::profile;
use crate::common::{CliError, size};
use crate::compare::number;
use crate::judge;
use crate::progress::Shown;
use crate::source_args::{Described, SourceArgs, borrowed};

const HELP: &str = "\
Converts the model in every mode, in memory, and says what each would take on the device: predicted time of a run on one
core and on all of the fastest cluster, memory, size, and the error of the outputs in units of what is accepted for the
model's task (needs --samples; without any, int8 and auto are left out). Times are predicted from what kernels reach on
that core; 'cygnet bench' on the device measures.

Examples:
  cygnet advise yolo.onnx --target raspberry-pi-4 --samples photos/ --letterbox
  cygnet advise mobilenet.onnx --target raspberry-pi-5 --json

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Say what each precision would take on a device, and why
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The .onnx or .tflite file
    source: PathBuf,

    /// The device: a profile's name, or a JSON file of its form
    #[arg(long, value_name = "PROFILE")]
    target: String,

    /// Folder or file of photos, .npz or .npy; may be given more than once
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    samples: Vec<PathBuf>,

    /// Modes to consider [default: all]
    #[arg(long, value_enum, num_args = 1..)]
    mode: Vec<Mode>,

    #[command(flatten)]
    source_args: SourceArgs,

    /// Print everything as JSON
    #[arg(long)]
    json: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    F32,
    F16,
    Int8,
    Auto,
    Dynamic,
}

impl Mode {
    fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::F16 => Precision::F16,
            Self::Int8 => Precision::Int8,
            Self::Auto => Precision::Auto,
            Self::Dynamic => Precision::Dynamic,
        }
    }

    fn needs_samples(self) -> bool {
        matches!(self, Self::Int8 | Self::Auto)
    }
}

/// A mode on the device.
struct Row {
    mode: Mode,
    converted: Converted,
    prediction: Prediction,
    /// Error of the outputs against f32, in units of what is accepted.
    error: Option<f64>,
}

/// Samples that errors are measured on.
const COUNT: usize = 8;

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let profile = profile(&args.target)?;
    let device = crate::budget::device(&profile)?;
    let described =
        args.source_args.describe(&args.source, &args.source_args.import(), &args.source_args.metadata())?;
    let judge =
        judge::for_model(&borrowed(&described.inputs), &borrowed(&described.outputs), &described.meta)?;
    let mut modes = if args.mode.is_empty() { Mode::value_variants().to_vec() } else { args.mode.clone() };
    let left_out: Vec<Mode> =
        modes.iter().copied().filter(|m| args.samples.is_empty() && m.needs_samples()).collect();
    modes.retain(|m| !left_out.contains(m));
    if modes.is_empty() {
        let what = "int8 and auto need samples; give photos or arrays with --samples";
        return Err(CliError::Usage(what.to_owned()));
    }
    let mut rows = Vec::new();
    for mode in modes {
        rows.push(row(args, &described, &*judge, &device, mode)?);
    }
    errors(args, &described, &*judge, &mut rows)?;
    if args.json {
        return Ok(writeln!(out, "{}", as_json(&profile, &device, &*judge, &rows))?);
    }
    as_text(&profile, &device, &*judge, &rows, out)?;
    if !left_out.is_empty() {
        writeln!(out, "int8 and auto are left out: they need --samples")?;
    }
    Ok(())
}

fn row(
    args: &Args,
    described: &Described,
    judge: &dyn Judge,
    device: &Device,
    mode: Mode,
) -> Result<Row, CliError> {
    let mut samples =
        (!args.samples.is_empty()).then(|| described.samples(&args.samples, None)).transpose()?;
    let options = Options {
        source: args.source.clone(),
        import: args.source_args.import(),
        precision: mode.precision(),
        samples: samples.as_mut().map(|s| s as &mut dyn Samples),
        buckets: Vec::new(),
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        winograd: true,
        sparse: true,
        budget: Budget { device: Some(device.clone()), ..Budget::default() },
        judge,
        meta: described.meta.clone(),
        goldens: 0,
        provenance: String::new(),
    };
    let converted = convert(options, &mut Shown::new(args.quiet))?;
    let prediction = device.predict(&Model::from_bytes(&converted.file)?)?;
    Ok(Row { mode, converted, prediction, error: None })
}

/// Fills in what each mode's outputs err by, on some of the samples.
fn errors(args: &Args, described: &Described, judge: &dyn Judge, rows: &mut [Row]) -> Result<(), CliError> {
    if args.samples.is_empty() {
        return Ok(());
    }
    let samples = spread(&mut described.samples(&args.samples, None)?, COUNT).map_err(ConvertError::from)?;
    let answers = |file: &[u8]| -> Result<Vec<_>, CliError> {
        let mut session = Session::new(&Model::from_bytes(file)?, &SessionOptions::default())?;
        samples.iter().map(|s| Ok(outputs(&mut session, s)?)).collect()
    };
    let float = match rows.iter().find(|r| r.mode == Mode::F32) {
        Some(row) => answers(&row.converted.file)?,
        None => answers(&float_file(args)?)?,
    };
    for row in rows {
        let low = answers(&row.converted.file)?;
        let each = float.iter().zip(&low).map(|(a, b)| judge.error(a, b));
        let each = each.collect::<Result<Vec<f64>, String>>().map_err(CliError::Failed)?;
        row.error = Some(judge.pool().expected(&each));
    }
    Ok(())
}

/// The model in f32.
fn float_file(args: &Args) -> Result<Vec<u8>, CliError> {
    let graph = import(&args.source, &args.source_args.import()).map_err(ConvertError::from)?;
    let lir = prepare(&graph).map_err(ConvertError::from)?;
    let plan = cygnet_convert::precision::Plan::float(lir.steps.len());
    Ok(cygnet_convert::file_of(&lir, &plan, &vec![None; lir.tensors.len()], "main", true)?)
}

/// The fastest mode that is accepted: of those without a known error f32 alone is.
fn best(rows: &[Row]) -> Option<&Row> {
    let accepted = |r: &&Row| r.error.map_or(r.mode == Mode::F32, |e| e <= 1.0);
    rows.iter().filter(accepted).min_by(|a, b| a.prediction.seconds.total_cmp(&b.prediction.seconds))
}

/// What a mode needs while it runs: arena and scratch of one thread.
fn memory(row: &Row) -> u64 {
    row.converted.program.arena_bytes + MAX_SCRATCH as u64
}

/// Layers that multiply and fall back, those of most work first: name, type, reason.
fn fallbacks(row: &Row) -> Vec<(&str, &'static str, &str, u64)> {
    let kept = row.converted.steps.iter().filter(|s| s.macs > 0);
    let mut kept: Vec<_> =
        kept.filter_map(|s| Some((s.name.as_str(), s.dtype.name(), s.reason.as_deref()?, s.macs))).collect();
    kept.sort_by_key(|k| std::cmp::Reverse(k.3));
    kept
}

/// The steps that take most of the predicted time, with their shares.
fn slowest(row: &Row) -> Vec<(&str, f64)> {
    let all: f64 = row.prediction.steps.iter().sum();
    let mut steps: Vec<_> = row
        .converted
        .program
        .steps
        .iter()
        .zip(&row.prediction.steps)
        .map(|(step, cycles)| (step.name.as_str(), cycles / all.max(1.0)))
        .collect();
    steps.sort_by(|a, b| b.1.total_cmp(&a.1));
    steps.truncate(LISTED);
    steps
}

/// Layers and steps that are listed of a mode.
const LISTED: usize = 6;

fn as_text(
    profile: &Profile,
    device: &Device,
    judge: &dyn Judge,
    rows: &[Row],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    writeln!(out, "{}: {}, {} x {}", profile.name, profile.description, device.cores(), device.core())?;
    writeln!(
        out,
        "{:<8} {:>12} {:>12} {:>11} {:>11} {:>8} {:>8}",
        "mode", "one core", "all cores", "memory", "file", "int8", "error"
    )?;
    for row in rows {
        let p = &row.prediction;
        writeln!(
            out,
            "{:<8} {:>9.1} ms {:>9.1} ms {:>11} {:>11} {:>6.1} % {:>8}",
            row.mode.precision().to_string(),
            p.seconds * 1e3,
            p.seconds_all * 1e3,
            size(memory(row)),
            size(row.converted.file.len() as u64),
            row.converted.share(DType::S8) * 100.0,
            row.error.map_or("unknown".to_owned(), |e| format!("{:.0} %", e.min(1e4) * 100.0))
        )?;
    }
    writeln!(out, "error: of what is accepted: {}", judge.measure())?;
    if let Some(best) = best(rows) {
        writeln!(out, "advice: --precision {}, the fastest within what is accepted", best.mode.precision())?;
    }
    for row in rows {
        let kept = fallbacks(row);
        if kept.is_empty() {
            continue;
        }
        writeln!(out, "\n{}: {} layers fall back", row.mode.precision(), kept.len())?;
        for (name, dtype, reason, macs) in kept.iter().take(LISTED) {
            writeln!(out, "  {name} ({:.1} M MAC) is {dtype}: {reason}", *macs as f64 / 1e6)?;
        }
    }
    let Some(row) = best(rows) else { return Ok(()) };
    writeln!(out, "\nwhere the time of {} goes", row.mode.precision())?;
    slowest(row)
        .into_iter()
        .try_for_each(|(name, share)| Ok(writeln!(out, "  {:>5.1} %  {name}", share * 100.0)?))
}

fn as_json(profile: &Profile, device: &Device, judge: &dyn Judge, rows: &[Row]) -> Value {
    let one = |row: &Row| {
        let kept = fallbacks(row);
        let kept = kept.iter().map(|(name, dtype, reason, macs)| {
            json!({ "layer": name, "dtype": dtype, "reason": reason, "macs": macs })
        });
        let slow = slowest(row);
        json!({
            "mode": row.mode.precision().to_string(),
            "ms_one_core": row.prediction.seconds * 1e3,
            "ms_all_cores": row.prediction.seconds_all * 1e3,
            "memory_bytes": memory(row),
            "file_bytes": row.converted.file.len(),
            "share_int8": row.converted.share(DType::S8),
            "error": row.error.map(number),
            "fallbacks": kept.collect::<Vec<_>>(),
            "slowest": slow.iter().map(|(name, share)| json!({ "step": name, "share": share })).collect::<Vec<_>>(),
        })
    };
    json!({ "target": profile.name, "core": device.core(), "cores": device.cores(), "measure": judge.measure(),
            "modes": rows.iter().map(one).collect::<Vec<_>>(),
            "advice": best(rows).map(|r| r.mode.precision().to_string()) })
}
