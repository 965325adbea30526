//! `cygnet convert`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use cygnet::format::Meta;
use cygnet::format::meta::key;
use cygnet::format::op::GroupKind;
use cygnet::{DType, MAX_SCRATCH, Model};
use cygnet_convert::compare::compare;
use cygnet_convert::sensitivity::spread;
use cygnet_convert::{
    Calibration, Calibrator, ConvertError, Converted, ImportOptions, Options, Precision, Samples, Tool, Tools,
};

use serde_json::json;

use crate::budget::BudgetArgs;
use crate::common::{CliError, save, size};
use crate::judge;
use crate::progress::Shown;
use crate::report::Report;
use crate::samples::FileSamples;
use crate::source_args::{Shape, SourceArgs, borrowed, parse_shape};

const HELP: &str = "\
auto, the default, puts into int8 what the outputs allow: layers that would cost too much stay higher and are named. It
and int8 need samples of what the model will meet: photos, which are preprocessed as the options say, or .npz files
with arrays named as the model's inputs, each one sample or a stack of them; without any, auto is f32. dynamic needs
none: products with constant weights are int8, their inputs quantized while the model runs; it suits transformers and
recurrent networks.

Examples:
  cygnet convert mobilenet.onnx -o mobilenet.cygnet
  cygnet convert mobilenet.onnx -o mobilenet.cygnet --precision int8 --calibrate photos/ \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --labels imagenet.txt
  cygnet convert yolo.onnx -o yolo.cygnet --calibrate photos/ --letterbox --labels coco.txt
  cygnet convert yolo.onnx -o yolo.cygnet --calibrate photos/ --target raspberry-pi-5 --max-time 40
  cygnet convert yolo.onnx -o yolo.cygnet --bucket images=1x3x320x320 --bucket images=1x3x640x640
  cygnet convert minilm.onnx -o minilm.cygnet --precision dynamic --shape input_ids=1x128 --shape attention_mask=1x128
  cygnet convert vad.onnx -o vad.cygnet --shape input=1x512 --fix sr=16000 \
      --state state=stateN

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Make a .cygnet file of an ONNX or TFLite model
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The .onnx or .tflite file
    source: PathBuf,

    /// The file to write
    #[arg(short, long, value_name = "OUT.cygnet")]
    output: PathBuf,

    /// Arithmetic of the network's body
    #[arg(long, value_enum, default_value_t = Arithmetic::Auto)]
    precision: Arithmetic,

    #[command(flatten)]
    budget: BudgetArgs,

    /// Type of inputs and outputs that are real numbers: int8, with the scales that calibration gives them, is for int8
    #[arg(long, value_enum, default_value_t = Io::F32)]
    io: Io,

    /// Folder or file of photos, .npz, .npy or .wav; may be given more than once
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    calibrate: Vec<PathBuf>,

    /// What `cygnet calibrate` made of samples, in place of --calibrate
    #[arg(long, value_name = "FILE.cal", conflicts_with = "calibrate")]
    calibration: Option<PathBuf>,

    /// How ranges follow from the values seen: min-max, moving-average, percentile, entropy or mse
    #[arg(long, value_name = "NAME", default_value_t)]
    calibrator: Calibrator,

    /// Samples a second of the sound that the model takes; .wav files of another rate are refused
    #[arg(long, value_name = "HZ")]
    sample_rate: Option<u32>,

    /// Share of a tensor's values, in percent, that its range has to hold: --calibrator percentile is that of 99.999
    #[arg(long, value_name = "X", value_parser = parse_percentile, conflicts_with = "calibrator")]
    percentile: Option<f64>,

    /// Tools of int8's accuracy to do without, to measure what they do: equalization, domains, weight-scales, bias-correction,
    /// adaptive-rounding, clipping
    #[arg(long, value_name = "TOOL,...", value_delimiter = ',')]
    without: Vec<Tool>,

    /// Do f32 convolutions of 3x3 in the direct form only: slower, and a bit nearer to exact results
    #[arg(long)]
    no_winograd: bool,

    /// Steps by sparse weights for int8 products of pruned models: where they are faster on the target, or never; the bits
    /// are the same
    #[arg(long, value_enum, default_value_t = Sparse::Auto)]
    sparse: Sparse,

    #[command(flatten)]
    source_args: SourceArgs,

    /// Shapes of inputs for a program of its own, over the same weights; given more than once, the file holds them all
    #[arg(long, value_name = "NAME=1x3x320x320,...", value_parser = parse_bucket)]
    bucket: Vec<Bucket>,

    /// Text file with the names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// The model's licence, as an SPDX expression
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,

    /// Golden cases that the file carries to prove itself with `verify`
    #[arg(long, value_name = "N", default_value_t = 1)]
    goldens: usize,

    /// Say what became of each operator of the model; as JSON when a file is named
    #[arg(long, value_name = "FILE.json", num_args = 0..=1, require_equals = true)]
    explain: Option<Option<PathBuf>>,

    /// Write what was done and why: a page, or JSON where the name ends in .json
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arithmetic {
    /// 8-bit integers where the outputs allow it, by what --calibrate shows; without samples f32, but for what comes
    /// quantized
    Auto,
    /// 32-bit floating point
    F32,
    /// 16-bit floating point
    F16,
    /// 8-bit integers throughout, by what --calibrate shows
    Int8,
    /// 8-bit integers in products with constant weights, quantized as values come; the rest in f32
    Dynamic,
    /// 8-bit weights of products, in blocks of 32 with a scale each; computed in f32
    WeightInt8,
    /// 4-bit weights of products, in blocks of 32 with a scale each; computed in f32
    WeightInt4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sparse {
    /// Where they are faster on the target, without one wherever they are faster on every core that is known
    Auto,
    /// Nowhere
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Io {
    /// 32-bit floating point
    F32,
    /// 8-bit integers with a scale and zero point
    Int8,
}

/// The shapes of one program.
#[derive(Clone, Debug)]
struct Bucket(Vec<(String, Shape)>);

fn parse_bucket(text: &str) -> Result<Bucket, String> {
    text.split(',').map(parse_shape).collect::<Result<_, _>>().map(Bucket)
}

/// The shapes of each program: those of `--shape`, and of `--bucket` where it says others.
fn programs(args: &Args) -> Vec<BTreeMap<String, Vec<usize>>> {
    let all = args.source_args.import().shapes;
    if args.bucket.is_empty() {
        return vec![all];
    }
    let with = |bucket: &Bucket| {
        let mut shapes = all.clone();
        shapes.extend(bucket.0.iter().map(|(name, s)| (name.clone(), s.0.clone())));
        shapes
    };
    args.bucket.iter().map(with).collect()
}

fn precision(arithmetic: Arithmetic) -> Precision {
    match arithmetic {
        Arithmetic::Auto => Precision::Auto,
        Arithmetic::F32 => Precision::F32,
        Arithmetic::F16 => Precision::F16,
        Arithmetic::Int8 => Precision::Int8,
        Arithmetic::Dynamic => Precision::Dynamic,
        Arithmetic::WeightInt8 => Precision::WeightInt8,
        Arithmetic::WeightInt4 => Precision::WeightInt4,
    }
}

fn calibrator(args: &Args) -> Calibrator {
    args.percentile.map_or(args.calibrator, Calibrator::Percentile)
}

fn tools(args: &Args) -> Tools {
    args.without.iter().fold(Tools::default(), |tools, &name| tools.without(name))
}

fn parse_percentile(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|v| *v > 50.0 && *v <= 100.0)
        .ok_or_else(|| "give a number above 50, at most 100".to_owned())
}

impl From<ConvertError> for CliError {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::NoSamples | ConvertError::Int8Io(_) => Self::Usage(error.to_string()),
            ConvertError::Runtime(error) => Self::Runtime(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let mut buckets = programs(args);
    let import = ImportOptions { shapes: buckets.remove(0), ..args.source_args.import() };
    let described = args.source_args.describe(&args.source, &import, &metadata(args)?)?;
    let mut samples = if args.calibrate.is_empty() {
        None
    } else {
        Some(described.samples(&args.calibrate, args.sample_rate)?)
    };
    let calibration = args.calibration.as_deref().map(Calibration::load).transpose();
    let calibration = calibration.map_err(ConvertError::from)?;
    let judge =
        judge::for_model(&borrowed(&described.inputs), &borrowed(&described.outputs), &described.meta)?;
    let options = Options {
        source: args.source.clone(),
        import,
        buckets,
        precision: precision(args.precision),
        samples: samples.as_mut().map(|s| s as &mut dyn Samples),
        int8_io: args.io == Io::Int8,
        calibration,
        calibrator: calibrator(args),
        tools: tools(args),
        winograd: !args.no_winograd,
        sparse: args.sparse == Sparse::Auto,
        budget: args.budget.budget()?,
        judge: &*judge,
        meta: described.meta,
        goldens: args.goldens,
        provenance: record(args),
    };
    let converted = cygnet_convert::convert(options, &mut Shown::new(args.quiet))?;
    save(&args.output, &converted.file)?;
    warn(&converted.warnings);
    if let Some(path) = &args.report {
        write_report(args, path, &converted, samples.as_mut())?;
    }
    report(args, &converted, out)?;
    match &args.explain {
        None => Ok(()),
        Some(None) => explain(&converted, out),
        Some(Some(path)) => save(path, format!("{:#}\n", explained_json(&converted)).as_bytes()),
    }
}

/// One line for each operator of the source model.
fn explain(converted: &Converted, out: &mut dyn Write) -> Result<(), CliError> {
    const SHOWN: usize = 4;
    writeln!(out, "operators of the model:")?;
    for e in &converted.explained {
        let named = |&i: &usize| {
            let step = &converted.program.steps[i];
            format!("{i} {} '{}'", step.op.name(), step.name)
        };
        let mut steps: Vec<String> = e.steps.iter().take(SHOWN).map(named).collect();
        if e.steps.len() > SHOWN {
            steps.push(format!("{} more", e.steps.len() - SHOWN));
        }
        let space = if steps.is_empty() { "" } else { " " };
        writeln!(out, "  {} '{}': {}{space}{}", e.op, e.name, e.how, steps.join(", "))?;
    }
    Ok(())
}

fn explained_json(converted: &Converted) -> serde_json::Value {
    let one = |e: &cygnet_convert::explain::Explained| {
        let step = |&i: &usize| {
            let step = &converted.program.steps[i];
            json!({ "index": i, "op": step.op.name(), "name": step.name })
        };
        let steps: Vec<_> = e.steps.iter().map(step).collect();
        json!({ "op": e.op, "name": e.name, "how": e.how.name(), "steps": steps })
    };
    let operators: Vec<_> = converted.explained.iter().map(one).collect();
    json!({ "program": converted.program.name, "operators": operators })
}

/// Tells what about the samples makes no sense.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// What the options say about the model's use.
fn metadata(args: &Args) -> Result<Meta, CliError> {
    let mut meta = args.source_args.metadata();
    if let Some(licence) = &args.licence {
        meta.set(key::LICENCE, licence);
    }
    if let Some(path) = &args.labels {
        let read = std::fs::read_to_string(path);
        let labels = read.map_err(|e| {
            CliError::Failed(format!("cannot read the labels {}: {e}; give a text file", path.display()))
        })?;
        meta.set(key::LABELS, labels.trim_end());
    }
    Ok(meta)
}

/// The options that decide what is in the file, for the record.
fn record(args: &Args) -> String {
    let percentile = match calibrator(args) {
        same if same == Calibrator::default() => String::new(),
        Calibrator::Percentile(p) => format!(" --percentile {p}"),
        other => format!(" --calibrator {other}"),
    };
    let buckets: String = args
        .bucket
        .iter()
        .map(|bucket| {
            let shapes: Vec<_> = bucket.0.iter().map(|(name, s)| format!("{name}={}", s.by_x())).collect();
            format!(" --bucket {}", shapes.join(","))
        })
        .collect();
    let without = args.without.iter().map(|tool| format!(" --without {tool}")).collect::<String>();
    let precision = precision(args.precision);
    let winograd = if args.no_winograd { " --no-winograd" } else { "" };
    let sparse = if args.sparse == Sparse::Never { " --sparse never" } else { "" };
    let io = if args.io == Io::Int8 { " --io int8" } else { "" };
    let source = args.source_args.record();
    let budget = args.budget.record();
    format!(
        "--precision {precision}{io} --goldens {}{budget}{percentile}{without}{winograd}{sparse}{source}{buckets}",
        args.goldens
    )
}

/// What does a share of the work.
fn by(arithmetic: Arithmetic, dtype: DType) -> &'static str {
    match (arithmetic, dtype) {
        (Arithmetic::WeightInt8, DType::S8) => "f32 by int8 weights",
        (Arithmetic::WeightInt4, DType::S8) => "f32 by int4 weights",
        (_, dtype) => dtype.name(),
    }
}

/// Writes the report.
fn write_report(
    args: &Args,
    path: &Path,
    converted: &Converted,
    samples: Option<&mut FileSamples>,
) -> Result<(), CliError> {
    let samples = samples.map(|s| spread(s, REPORT_SAMPLES)).transpose().map_err(ConvertError::from)?;
    let samples = samples.unwrap_or_default();
    let layers = if samples.is_empty() {
        Vec::new()
    } else {
        let graph =
            cygnet_convert::import(&args.source, &args.source_args.import()).map_err(ConvertError::from)?;
        let lir = cygnet_convert::prepare(&graph).map_err(ConvertError::from)?;
        compare(&lir, &Model::from_bytes(&converted.file)?, &samples, &mut Shown::new(args.quiet))?
    };
    let precision = format!("{:?}", args.precision).to_lowercase();
    Report::new((&args.source, &precision), converted, (layers, samples.len()))?.save(path)
}

/// Samples that the report's errors and histograms are of.
const REPORT_SAMPLES: usize = 4;

fn report(args: &Args, converted: &Converted, out: &mut dyn Write) -> Result<(), CliError> {
    let p = &converted.program;
    let (file, weights) = (converted.file.len() as u64, converted.weights_bytes as u64);
    writeln!(out, "{}: {} ({} weights)", args.output.display(), size(file), size(weights))?;
    writeln!(
        out,
        "memory: {} at run time (no plan needs less than {}), and at most {} for each thread",
        size(p.arena_bytes),
        size(p.arena_lower_bound),
        size(MAX_SCRATCH as u64)
    )?;
    for bucket in &converted.buckets {
        let (most, least) = (size(bucket.arena_bytes), size(bucket.arena_lower_bound));
        writeln!(out, "program '{}': {most} at run time (no plan needs less than {least})", bucket.name)?;
    }
    let macs: u64 = converted.steps.iter().map(|s| s.macs).sum();
    let shares: Vec<String> = [DType::S8, DType::F16, DType::F32]
        .into_iter()
        .map(|dtype| (dtype, converted.share(dtype) * 100.0))
        .filter(|(_, share)| *share > 0.0)
        .map(|(dtype, share)| format!("{share:.1} % {}", by(args.precision, dtype)))
        .collect();
    writeln!(out, "work: {:.1} million multiply-accumulates, {}", macs as f64 / 1e6, shares.join(", "))?;
    let unseen = args.calibrate.is_empty() && args.calibration.is_none();
    // What comes quantized is int8 without samples.
    if args.precision == Arithmetic::Auto && unseen && converted.share(DType::S8) == 0.0 {
        writeln!(
            out,
            "auto is f32 without samples: give photos or arrays with --calibrate to have int8 tried"
        )?;
    }
    if let Some(enlarged) = &converted.enlarged {
        writeln!(out, "equalization: {enlarged}")?;
    }
    if let Some(found) = &converted.found {
        let share = |error: f64| format!("{:.0} %", error.min(1e6) * 100.0);
        writeln!(
            out,
            "error: {} of what is accepted ({}); all in int8 it would be {}",
            share(found.error),
            found.measure,
            share(found.whole)
        )?;
    }
    for step in converted.steps.iter().filter(|s| s.macs > 0) {
        if let Some(reason) = &step.reason {
            writeln!(out, "  {} stays {}: {reason}", step.name, step.dtype.name())?;
        }
    }
    sparsity(converted, out)
}

/// What is said of products with many weights of zero: how many are sparse, and why the others are not.
fn sparsity(converted: &Converted, out: &mut dyn Write) -> Result<(), CliError> {
    let found = &converted.sparsity;
    if found.is_empty() {
        return Ok(());
    }
    let sparse = found.iter().filter(|f| f.outcome.is_ok()).count();
    writeln!(out, "sparsity: {} products have many weights of zero; {sparse} are sparse steps", found.len())?;
    for f in found {
        let pattern = f.of_four.map_or(String::new(), |n| format!(" ({n} of 4 at most are not)"));
        let zeros = format!("{:.0} % of the weights are zero{pattern}", f.zeros * 100.0);
        match &f.outcome {
            Ok(group) => writeln!(
                out,
                "  {} is sparse: {zeros}, {:.0} % of the groups of {}",
                f.step,
                100.0 * if *group == GroupKind::Fours { f.fours } else { f.pairs },
                group.inputs()
            )?,
            Err(why) => writeln!(out, "  {} is dense: {zeros}; {why}", f.step)?,
        }
    }
    Ok(())
}
