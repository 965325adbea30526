//! `cygnet compare`.

use std::io::Write;
use std::path::PathBuf;

use cygnet::Model;
use cygnet::format::Array;
use cygnet_convert::compare::{Layer, compare, first_bad};
use cygnet_convert::sensitivity::spread;
use cygnet_convert::{ConvertError, import, noise, prepare};
use serde_json::{Value, json};

use crate::common::{CliError, ModelArgs};
use crate::progress::Shown;
use crate::source_args::SourceArgs;

const HELP: &str = "\
Runs the source model in f32 and the .cygnet file made of it on the same samples, and compares what every layer computes.
SQNR is signal over quantization noise in dB, the signal taken around its mean: 40 dB is an error of 1 %, 20 dB of 10 %.
'saturated' is the share of the float values that the layer's scale cannot express. Errors add up along the network; the
first bad layer is where to look. Options that bound shapes, constants or states have to be those of the conversion.

Examples:
  cygnet compare yolo.onnx yolo.cygnet --samples photos/
  cygnet compare vad.onnx vad.cygnet --shape input=1x512 --fix sr=16000 --samples frames.npz --json

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Compare a model with the float model it was made of, layer by layer
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The .onnx or .tflite file
    source: PathBuf,

    #[command(flatten)]
    model: ModelArgs,

    /// Folder or file of photos, .npz or .npy; may be given more than once [default: the file's golden inputs]
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    samples: Vec<PathBuf>,

    /// Most samples that are compared, spread over those given
    #[arg(long, value_name = "N", default_value_t = 4)]
    count: usize,

    /// Signal to noise, in dB, below which a layer is bad
    #[arg(long, value_name = "DB", default_value_t = 10.0)]
    bad: f64,

    #[command(flatten)]
    source_args: SourceArgs,

    /// Print the layers as JSON
    #[arg(long)]
    json: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let model = args.model.open(cygnet::Pages::Usual)?;
    let graph = import(&args.source, &args.source_args.import()).map_err(ConvertError::from)?;
    let lir = prepare(&graph).map_err(ConvertError::from)?;
    let samples = samples(args, &model)?;
    let layers = compare(&lir, &model, &samples, &mut Shown::new(args.quiet))?;
    if args.json {
        return Ok(writeln!(out, "{}", as_json(&layers, samples.len(), args.bad))?);
    }
    as_text(&layers, samples.len(), args.bad, out)
}

/// Samples given, or golden inputs, or pseudo-random numbers.
fn samples(args: &Args, model: &Model) -> Result<Vec<Vec<Array>>, CliError> {
    if !args.samples.is_empty() {
        let meta = crate::source_args::overlaid(model.meta(), &args.source_args.metadata());
        let mut files = args
            .source_args
            .describe(&args.source, &args.source_args.import(), &meta)?
            .samples(&args.samples, None)?;
        return Ok(spread(&mut files, args.count).map_err(ConvertError::from)?);
    }
    let goldens: Vec<_> = model.reader()?.golden()?.into_iter().filter(|case| case.program == 0).collect();
    if !goldens.is_empty() {
        return Ok(goldens.into_iter().take(args.count).map(|case| case.inputs).collect());
    }
    let program = &model.programs()[0];
    let array = |p: &cygnet::format::Port| noise::array(&p.name, &program.tensors[p.tensor as usize]);
    Ok(vec![program.inputs.iter().map(array).collect()])
}

fn as_text(layers: &[Layer], samples: usize, bad: f64, out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out, "{} layers over {samples} samples", layers.len())?;
    writeln!(
        out,
        "{:>8} {:>8} {:>10} {:>10} {:>9}  {:<5} {:<14} layer",
        "cosine", "SQNR dB", "max error", "max value", "saturated", "type", "op"
    )?;
    for l in layers {
        let saturated =
            if l.saturated > 0.0 { format!("{:.3} %", l.saturated * 100.0) } else { String::new() };
        writeln!(
            out,
            "{:>8.5} {:>8.1} {:>10.3e} {:>10.3e} {saturated:>9}  {:<5} {:<14} {}",
            l.cosine,
            l.sqnr_db,
            l.max_error,
            l.max_value,
            l.dtype.name(),
            l.op,
            l.step
        )?;
    }
    match first_bad(layers, bad) {
        Some(l) => writeln!(out, "first bad layer: {} ({:.1} dB, below {bad})", l.step, l.sqnr_db)?,
        None => writeln!(out, "no layer is below {bad} dB")?,
    }
    Ok(())
}

/// A number, or a string where JSON has none.
pub fn number(v: f64) -> Value {
    if v.is_finite() { json!(v) } else { json!(v.to_string()) }
}

fn as_json(layers: &[Layer], samples: usize, bad: f64) -> Value {
    let one = |l: &Layer| {
        json!({ "step": l.step, "op": l.op, "tensor": l.tensor, "dtype": l.dtype.name(), "cosine": number(l.cosine),
                "sqnr_db": number(l.sqnr_db), "max_error": number(l.max_error), "max_value": number(l.max_value),
                "saturated": l.saturated })
    };
    json!({ "samples": samples, "bad_below_db": bad, "first_bad": first_bad(layers, bad).map(|l| &l.step),
            "layers": layers.iter().map(one).collect::<Vec<_>>() })
}
