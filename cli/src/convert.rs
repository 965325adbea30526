//! `cygnet convert`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use cygnet::format::Meta;
use cygnet::format::meta::key;
use cygnet::vision::preprocess::{KEY_CROP, KEY_PAD};
use cygnet::vision::task::KEY_HEAD;
use cygnet::vision::{Preprocess, Task, complete_meta};
use cygnet::{DType, MAX_SCRATCH, npz};
use cygnet_convert::graph::{Data, Graph, Tensor, ValueId};
use cygnet_convert::{Calibrator, ConvertError, Converted, ImportOptions, Options, Precision, Samples};

use serde_json::json;

use crate::common::{CliError, save, size};
use crate::progress::Shown;
use crate::samples::FileSamples;

const HELP: &str = "\
int8 needs samples of what the model will meet: photos, which are preprocessed as the options say, or .npz files
with arrays named as the model's inputs, each one sample or a stack of them. dynamic needs none: products with
constant weights are int8, their inputs quantized while the model runs; it suits transformers and recurrent networks.

Examples:
  cygnet convert mobilenet.onnx -o mobilenet.cygnet
  cygnet convert mobilenet.onnx -o mobilenet.cygnet --precision int8 --calibrate photos/ \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --labels imagenet.txt
  cygnet convert yolo.onnx -o yolo.cygnet --precision int8 --calibrate photos/ --letterbox --labels coco.txt
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
    #[arg(long, value_enum, default_value_t = Arithmetic::F32)]
    precision: Arithmetic,

    /// Folder or file of photos, .npz or .npy; may be given more than once
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    calibrate: Vec<PathBuf>,

    /// Share of a tensor's values, in percent, that its range has to hold [default: all]
    #[arg(long, value_name = "X", value_parser = parse_percentile)]
    percentile: Option<f64>,

    /// Do f32 convolutions of 3x3 in the direct form only: slower, and a bit nearer to exact results
    #[arg(long)]
    no_winograd: bool,

    /// Shape of an input that the model leaves open; may be given more than once
    #[arg(long, value_name = "NAME=1x3x640x640", value_parser = parse_shape)]
    shape: Vec<(String, Shape)>,

    /// Shapes of inputs for a program of its own, over the same weights; given more than once, the file holds them all
    #[arg(long, value_name = "NAME=1x3x320x320,...", value_parser = parse_bucket)]
    bucket: Vec<Bucket>,

    /// Value of an input that is always the same, which the model is converted for; may be given more than once
    #[arg(long, value_name = "NAME=NUMBER,...|FILE.npy", value_parser = parse_fix)]
    fix: Vec<(String, Fixed)>,

    /// An input and an output that are one state: the session keeps it from run to run; may be given more than once
    #[arg(long, value_name = "IN=OUT", value_parser = parse_state)]
    state: Vec<(String, String)>,

    /// Compute in float32 what the model computes in float64, which is refused otherwise
    #[arg(long)]
    round_float64: bool,

    /// Mean subtracted from each channel, after scaling
    #[arg(long, value_name = "R,G,B")]
    mean: Option<String>,

    /// Standard deviation that divides each channel
    #[arg(long, value_name = "R,G,B")]
    std: Option<String>,

    /// Factor on a pixel's byte [default: 1/255]
    #[arg(long, value_name = "X")]
    scale: Option<f32>,

    /// Order of the image input's dimensions, for the record [default: by its shape]
    #[arg(long, value_parser = ["nchw", "nhwc"])]
    layout: Option<String>,

    /// Keep photos' proportions and pad them
    #[arg(long)]
    letterbox: bool,

    /// Side of the central part of a photo that is used, as a fraction
    #[arg(long, value_name = "X", conflicts_with = "letterbox")]
    crop: Option<f32>,

    /// Byte that pads photos
    #[arg(long, value_name = "N")]
    pad: Option<u8>,

    /// What the model is for [default: by the shapes of its inputs and outputs]
    #[arg(long, value_parser = ["classify", "detect", "face", "segment"])]
    task: Option<String>,

    /// How a detector's outputs are laid out [default: by their shapes]
    #[arg(long, value_parser = ["yolov8", "yolov5", "yolov3", "end2end", "ssd", "blazeface"])]
    head: Option<String>,

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

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arithmetic {
    /// 32-bit floating point
    F32,
    /// 16-bit floating point
    F16,
    /// 8-bit integers throughout, by what --calibrate shows
    Int8,
    /// 8-bit integers in products with constant weights, quantized as values come; the rest in f32
    Dynamic,
}

/// Dimensions of an input.
#[derive(Clone, Debug)]
struct Shape(Vec<usize>);

fn parse_shape(text: &str) -> Result<(String, Shape), String> {
    let wrong = || "give NAME=1x3x640x640".to_owned();
    let (name, dims) = text.rsplit_once('=').ok_or_else(wrong)?;
    let dims = dims.split('x').map(|d| d.parse().ok().filter(|&d| d > 0)).collect::<Option<Vec<usize>>>();
    Ok((name.to_owned(), Shape(dims.ok_or_else(wrong)?)))
}

/// The shapes of one program.
#[derive(Clone, Debug)]
struct Bucket(Vec<(String, Shape)>);

fn parse_bucket(text: &str) -> Result<Bucket, String> {
    text.split(',').map(parse_shape).collect::<Result<_, _>>().map(Bucket)
}

/// The shapes of each program: those of `--shape`, and of `--bucket` where it says others.
fn programs(args: &Args) -> Vec<BTreeMap<String, Vec<usize>>> {
    let all: BTreeMap<_, _> = args.shape.iter().map(|(name, s)| (name.clone(), s.0.clone())).collect();
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

/// The value of an input, and how it was given.
#[derive(Clone, Debug)]
struct Fixed {
    given: String,
    tensor: Tensor,
}

fn parse_fix(text: &str) -> Result<(String, Fixed), String> {
    let wrong = || "give NAME=16000, NAME=1,0.5 or NAME=FILE.npy".to_owned();
    let (name, given) = text.rsplit_once('=').ok_or_else(wrong)?;
    let tensor = if given.ends_with(".npy") {
        let arrays = npz::read(Path::new(given)).map_err(|e| e.to_string())?;
        let array = arrays.first().ok_or_else(wrong)?;
        Tensor::from_array(array).ok_or_else(|| format!("'{given}' holds {} elements", array.dtype.name()))?
    } else {
        let numbers = given.split(',').map(|n| n.trim().parse().ok()).collect::<Option<Vec<f64>>>();
        let numbers = numbers.ok_or_else(wrong)?;
        let dims = if numbers.len() == 1 { vec![] } else { vec![numbers.len()] };
        Tensor::new(dims, Data::F64(numbers))
    };
    Ok((name.to_owned(), Fixed { given: given.to_owned(), tensor }))
}

fn parse_state(text: &str) -> Result<(String, String), String> {
    let (input, output) =
        text.split_once('=').ok_or("give the name of an input and that of an output, as h0=hn")?;
    Ok((input.to_owned(), output.to_owned()))
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
            ConvertError::NoSamples => Self::Usage(error.to_string()),
            ConvertError::Runtime(error) => Self::Runtime(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let mut buckets = programs(args);
    let shapes = buckets.remove(0);
    let constants = args.fix.iter().map(|(name, f)| (name.clone(), f.tensor.clone())).collect();
    let states = args.state.clone();
    let round_float64 = args.round_float64;
    let import = ImportOptions { shapes, constants, states, round_float64, ..ImportOptions::default() };
    let graph = cygnet_convert::import(&args.source, &import).map_err(ConvertError::from)?;
    let (inputs, outputs) = (ports(&graph, &graph.inputs), ports(&graph, &graph.outputs));
    let (inputs, outputs) = (borrowed(&inputs), borrowed(&outputs));
    let meta = complete_meta(&metadata(args)?, &inputs, &outputs)?;
    let mut samples = if args.calibrate.is_empty() {
        None
    } else {
        let task = meta.text(key::TASK).and_then(Task::from_name).unwrap_or(Task::Segment);
        let photos = photo_input(&inputs, &meta, task)?;
        let ports = inputs.iter().map(|(name, dims)| ((*name).to_owned(), dims.to_vec())).collect();
        Some(FileSamples::new(&args.calibrate, photos, ports)?)
    };
    let options = Options {
        source: args.source.clone(),
        import,
        buckets,
        precision: match args.precision {
            Arithmetic::F32 => Precision::F32,
            Arithmetic::F16 => Precision::F16,
            Arithmetic::Int8 => Precision::Int8,
            Arithmetic::Dynamic => Precision::Dynamic,
        },
        samples: samples.as_mut().map(|s| s as &mut dyn Samples),
        calibrator: args.percentile.map_or(Calibrator::MinMax, Calibrator::Percentile),
        winograd: !args.no_winograd,
        meta,
        goldens: args.goldens,
        provenance: record(args),
    };
    let converted = cygnet_convert::convert(options, &mut Shown::new(args.quiet))?;
    save(&args.output, &converted.file)?;
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

/// Names and dimensions of values, as far as they are known.
pub fn ports(graph: &Graph, ids: &[ValueId]) -> Vec<(String, Vec<u32>)> {
    let dims = |id: &ValueId| graph.value(*id).dims.iter().flatten().map(|&d| d as u32).collect();
    ids.iter().map(|id| (graph.value(*id).name.clone(), dims(id))).collect()
}

pub fn borrowed(ports: &[(String, Vec<u32>)]) -> Vec<(&str, &[u32])> {
    ports.iter().map(|(name, dims)| (name.as_str(), &dims[..])).collect()
}

/// How photos become the values of the model's only input, when that is an image.
pub fn photo_input(
    inputs: &[(&str, &[u32])],
    meta: &Meta,
    task: Task,
) -> Result<Option<(String, Preprocess, Vec<u32>)>, CliError> {
    let [(name, dims)] = inputs[..] else { return Ok(None) };
    match Preprocess::from_meta(meta, dims, task) {
        Ok(preprocess) => Ok(Some((name.to_owned(), preprocess, dims.to_vec()))),
        Err(cygnet::vision::VisionError::NoImageInput { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the options say about the model's use.
fn metadata(args: &Args) -> Result<Meta, CliError> {
    let mut meta = Meta::new();
    let number = |v: &f32| v.to_string();
    let texts = [
        (key::TASK, args.task.clone()),
        (KEY_HEAD, args.head.clone()),
        (key::MEAN, args.mean.clone()),
        (key::STD, args.std.clone()),
        (key::SCALE, args.scale.as_ref().map(number)),
        (key::LAYOUT, args.layout.clone()),
        (key::LETTERBOX, args.letterbox.then(|| "true".to_owned())),
        (KEY_CROP, args.crop.as_ref().map(number)),
        (KEY_PAD, args.pad.map(|v| v.to_string())),
        (key::LICENCE, args.licence.clone()),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            meta.set(key, value);
        }
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
    let by_x = |s: &Shape| s.0.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let shapes = args.shape.iter().map(|(name, s)| format!(" --shape {name}={}", by_x(s)));
    let buckets = args.bucket.iter().map(|bucket| {
        let shapes: Vec<_> = bucket.0.iter().map(|(name, s)| format!("{name}={}", by_x(s))).collect();
        format!(" --bucket {}", shapes.join(","))
    });
    let buckets: String = buckets.collect();
    let fixed: String = args.fix.iter().map(|(name, f)| format!(" --fix {name}={}", f.given)).collect();
    let states: String =
        args.state.iter().map(|(input, output)| format!(" --state {input}={output}")).collect();
    let percentile = args.percentile.map_or(String::new(), |p| format!(" --percentile {p}"));
    let precision = format!("{:?}", args.precision).to_lowercase();
    let winograd = if args.no_winograd { " --no-winograd" } else { "" };
    let doubles = if args.round_float64 { " --round-float64" } else { "" };
    let shapes: String = shapes.collect();
    format!(
        "--precision {precision} --goldens {}{percentile}{winograd}{doubles}{shapes}{buckets}{fixed}{states}",
        args.goldens
    )
}

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
        .map(|(dtype, share)| format!("{share:.1} % {}", dtype.name()))
        .collect();
    writeln!(out, "work: {:.1} million multiply-accumulates, {}", macs as f64 / 1e6, shares.join(", "))?;
    for step in converted.steps.iter().filter(|s| s.macs > 0) {
        if let Some(reason) = step.reason {
            writeln!(out, "  {} stays {}: {reason}", step.name, step.dtype.name())?;
        }
    }
    Ok(())
}
