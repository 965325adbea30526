//! `cygnet inspect`.

use std::io::Write;

use cygnet::format::program::{Program, Storage};
use cygnet::format::{Meta, Tensor};
use cygnet::profile::memory_timeline;
use cygnet::{Model, Session, SessionOptions};
use serde_json::{Map, Value, json};

use crate::common::{CliError, ModelArgs, shape, size};

const HELP: &str = "\
Shows the file's sections, its metadata, and of a program the inputs, outputs, states, steps with the kernels that this
machine would use, and how much memory each step needs.

Examples:
  cygnet inspect mobilenet.cygnet
  cygnet inspect mobilenet.cygnet --steps
  cygnet inspect mobilenet.cygnet --json | jq '.programs[0].steps[].kernel'

Exit codes: 0 done, 1 the file is no good, 2 wrong usage";

/// Show what is in a model file
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Show all steps; without it, only the first and last ones of a long program
    #[arg(long)]
    steps: bool,

    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

#[cfg(any(test, not(feature = "device")))]
impl Args {
    pub fn from_words(words: &mut crate::words::Words) -> Result<Self, CliError> {
        let (steps, json) = (words.flag("--steps"), words.flag("--json"));
        Ok(Self { steps, json, model: words.model_args()? })
    }
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let model = args.model.open(cygnet::Pages::Usual)?;
    if args.json {
        return Ok(writeln!(out, "{}", as_json(&model)?)?);
    }
    file(&model, out)?;
    let session = Session::new(
        &model,
        &SessionOptions { threads: Some(1), program: args.model.select(&model), ..SessionOptions::default() },
    )?;
    program(&session, args.steps, out)?;
    if model.programs().len() > 1 {
        let names: Vec<&str> = model.programs().iter().map(|p| p.name.as_str()).collect();
        writeln!(out, "\nprograms: {}; choose with --program", names.join(", "))?;
    }
    Ok(())
}

fn file(model: &Model, out: &mut dyn Write) -> Result<(), CliError> {
    let reader = model.reader()?;
    let (major, minor) = reader.version();
    writeln!(
        out,
        "format {major}.{minor}, {}, kernel layout {}",
        size(model.bytes().len() as u64),
        reader.pack_id()
    )?;
    writeln!(
        out,
        "\n{:<8} {:>10} {:>10} {:>7}  {:<8} critical",
        "section", "offset", "bytes", "align", "crc32c"
    )?;
    for s in reader.sections() {
        let critical = if s.is_critical() { "yes" } else { "no" };
        let (kind, offset, length) = (s.kind.to_string(), s.offset, s.length);
        writeln!(out, "{kind:<8} {offset:>10} {length:>10} {:>7}  {:08x} {critical}", s.alignment, s.crc)?;
    }
    pairs("metadata", model.meta(), out)?;
    pairs("provenance", &reader.provenance()?, out)?;
    let quant = reader.quant()?;
    if !quant.steps.is_empty() {
        writeln!(out, "\nquantization")?;
        for precision in cygnet::format::Precision::ALL {
            let n = quant.steps.iter().filter(|s| s.precision == *precision).count();
            if n > 0 {
                writeln!(out, "  {:<12} {n} steps", precision.name())?;
            }
        }
    }
    let goldens = reader.golden()?.len();
    writeln!(
        out,
        "\ngoldens: {}",
        if goldens == 0 { "none".to_owned() } else { format!("{goldens} cases") }
    )?;
    Ok(())
}

fn pairs(title: &str, meta: &Meta, out: &mut dyn Write) -> Result<(), CliError> {
    if meta.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    for (key, value) in meta.iter() {
        let mut lines = value.lines();
        let first = lines.next().unwrap_or_default();
        match lines.count() {
            0 => writeln!(out, "  {key:<22} {first}")?,
            more => writeln!(out, "  {key:<22} {first} ... ({} lines)", more + 1)?,
        }
    }
    Ok(())
}

fn program(session: &Session, all: bool, out: &mut dyn Write) -> Result<(), CliError> {
    const ENDS: usize = 12;
    let p = session.program();
    writeln!(out, "\nprogram '{}': {} steps, {} tensors", p.name, p.steps.len(), p.tensors.len())?;
    for (name, t) in session.inputs() {
        writeln!(out, "  input   {name}  {}", describe(t))?;
    }
    for (name, t) in session.outputs() {
        writeln!(out, "  output  {name}  {}", describe(t))?;
    }
    for (name, t) in session.states() {
        writeln!(out, "  state   {name}  {}", describe(t))?;
    }
    let macs: u64 = session.implementations().map(|k| k.macs()).sum();
    writeln!(
        out,
        "  memory  {} arena (no plan needs less than {}), {} scratch for each thread here",
        size(p.arena_bytes),
        size(p.arena_lower_bound),
        size((session.scratch_bytes() / session.threads()) as u64)
    )?;
    writeln!(out, "  work    {:.2} million multiply-accumulates", macs as f64 / 1e6)?;

    let timeline = memory_timeline(p);
    let peak = timeline.iter().copied().max().unwrap_or(0).max(1);
    writeln!(
        out,
        "\n{:>5} {:<16} {:<28} {:>16}  memory in use, peak {}",
        "step",
        "operation",
        "kernel",
        "output",
        size(peak)
    )?;
    for (i, (step, kernel)) in p.steps.iter().zip(session.implementations()).enumerate() {
        if !all && i >= ENDS && i + ENDS < p.steps.len() {
            if i == ENDS {
                writeln!(out, "{:>5} {} more steps; --steps shows them", "...", p.steps.len() - 2 * ENDS)?;
            }
            continue;
        }
        let y = &p.tensors[step.output as usize];
        let bar = "#".repeat((timeline[i] * 24).div_ceil(peak) as usize);
        let what = format!("{} {}", y.dtype.name(), shape(&y.dims));
        writeln!(
            out,
            "{i:>5} {:<16} {:<28} {what:>16}  {bar} {}",
            step.op.name(),
            kernel.name(),
            size(timeline[i])
        )?;
    }
    Ok(())
}

fn describe(t: &Tensor) -> String {
    let quant = t.quant.map_or(String::new(), |q| format!(", scale {} zero point {}", q.scale, q.zero_point));
    format!("{} {}{quant}", t.dtype.name(), shape(&t.dims))
}

fn as_json(model: &Model) -> Result<Value, CliError> {
    let reader = model.reader()?;
    let (major, minor) = reader.version();
    let sections: Vec<Value> = reader
        .sections()
        .iter()
        .map(|s| {
            json!({ "kind": s.kind.to_string(), "offset": s.offset, "bytes": s.length, "alignment": s.alignment,
                    "crc32c": s.crc, "critical": s.is_critical() })
        })
        .collect();
    let object = |meta: &Meta| -> Value {
        Value::Object(meta.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<Map<_, _>>())
    };
    let quant: Vec<Value> = reader
        .quant()?
        .steps
        .iter()
        .map(|s| json!({ "name": s.name, "precision": s.precision.name(), "sqnr_db": s.sqnr_db, "reason": s.reason }))
        .collect();
    let mut programs = Vec::new();
    for index in 0..model.programs().len() {
        let program = cygnet::Select::Index(index);
        let options = SessionOptions { threads: Some(1), program, ..SessionOptions::default() };
        programs.push(program_json(&Session::new(model, &options)?));
    }
    Ok(json!({
        "format": format!("{major}.{minor}"),
        "bytes": model.bytes().len(),
        "pack_id": reader.pack_id(),
        "sections": sections,
        "metadata": object(model.meta()),
        "provenance": object(&reader.provenance()?),
        "quantization": quant,
        "goldens": reader.golden()?.len(),
        "programs": programs,
    }))
}

fn program_json(session: &Session) -> Value {
    let p: &Program = session.program();
    let timeline = memory_timeline(p);
    let port = |(name, t): (&str, &Tensor)| {
        let quant = t.quant.map(|q| json!({ "scale": q.scale, "zero_point": q.zero_point }));
        json!({ "name": name, "dtype": t.dtype.name(), "shape": t.dims, "quant": quant })
    };
    let operand = |id: u32| {
        let t = &p.tensors[id as usize];
        let place = if t.storage == Storage::Arena { "arena" } else { "weights" };
        json!({ "name": t.name, "dtype": t.dtype.name(), "shape": t.dims, "in": place, "offset": t.offset })
    };
    let steps: Vec<Value> = p
        .steps
        .iter()
        .zip(session.implementations())
        .enumerate()
        .map(|(i, (step, kernel))| {
            json!({
                "name": step.name, "op": step.op.name(), "kernel": kernel.name(), "tiles": kernel.tiles(),
                "macs": kernel.macs(), "memory": timeline[i], "output": operand(step.output),
                "inputs": step.inputs.iter().map(|id| id.map(operand)).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "name": p.name,
        "inputs": session.inputs().map(port).collect::<Vec<_>>(),
        "outputs": session.outputs().map(port).collect::<Vec<_>>(),
        "states": session.states().map(port).collect::<Vec<_>>(),
        "arena_bytes": p.arena_bytes,
        "arena_lower_bound": p.arena_lower_bound,
        "scratch_bytes_per_thread": session.scratch_bytes() / session.threads(),
        "steps": steps,
    })
}
