//! `cygnet bench-runner`: one side of a comparison with other engines, driven by a script.
//!
//! The contract: `--input NAME=TYPE:DIMS:FILE.bin` with raw little-endian elements; `--warmup` runs, then at least 5 and
//! at most `--iters` timed ones within `--budget` seconds; outputs as raw f32 to `PREFIX.<i>.bin`; one line of JSON.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cygnet::format::Array;
use cygnet::{DType, Model, Session, SessionOptions};
use serde_json::json;

use crate::arrays::{Input, set_inputs};
use crate::common::{CliError, save};
use crate::process;

/// Run as one side of a comparison with other engines
#[derive(clap::Args)]
pub struct Args {
    /// The .cygnet file
    #[arg(long)]
    model: PathBuf,

    /// Threads to run on
    #[arg(long, default_value_t = 1)]
    threads: usize,

    /// Runs before the timed ones
    #[arg(long, default_value_t = 5)]
    warmup: usize,

    /// Timed runs at most
    #[arg(long, default_value_t = 30)]
    iters: usize,

    /// Seconds for the timed runs
    #[arg(long, default_value_t = 1000)]
    budget: u64,

    /// Prefix of the files that the outputs go to
    #[arg(long, default_value = "")]
    out: String,

    /// NAME=TYPE:DIMS:FILE, as x=f32:1,3,224,224:x.bin; types f32, i64, i32, u8
    #[arg(long)]
    input: Vec<String>,
}

const LEAST_RUNS: usize = 5;

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let given = args.input.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    let base = process::memory("VmRSS");
    let (cpu0, t0) = (process::cpu_ms(), Instant::now());
    let model = Model::open(&args.model)?;
    let options = SessionOptions { threads: Some(args.threads), ..SessionOptions::default() };
    let mut session = Session::new(&model, &options)?;
    let inputs =
        given.into_iter().map(|a| fit(a, &session).map(Input::Array)).collect::<Result<Vec<_>, _>>()?;
    let load = t0.elapsed();
    set_inputs(&mut session, &inputs)?;
    session.run()?;
    let (cold, cold_cpu) = (t0.elapsed(), process::cpu_ms() - cpu0);
    let start = std::env::var("BENCH_T0").ok().and_then(|t| t.parse::<f64>().ok());
    let start_ms = start.map(|t| (process::monotonic_s() - t) * 1e3);
    for _ in 0..args.warmup {
        set_inputs(&mut session, &inputs)?;
        session.run()?;
    }
    let (mut lat, mut cpu) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    for i in 0..args.iters {
        if i >= LEAST_RUNS && begin.elapsed() > Duration::from_secs(args.budget) {
            break;
        }
        // Setting the inputs is part of what is timed, as it is with the other engines.
        let (c, t) = (process::cpu_ms(), Instant::now());
        set_inputs(&mut session, &inputs)?;
        session.run()?;
        lat.push(ms(t.elapsed()));
        cpu.push(process::cpu_ms() - c);
    }
    let names: Vec<String> = session.outputs().map(|(name, _)| name.to_owned()).collect();
    let mut shapes = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let t = session.output(name)?;
        shapes.push(t.dims.to_vec());
        if !args.out.is_empty() {
            let bytes: Vec<u8> = t.to_f32().into_iter().flat_map(f32::to_le_bytes).collect();
            save(format!("{}.{i}.bin", args.out).as_ref(), &bytes)?;
        }
    }
    let mib = |bytes: Option<u64>| bytes.map(|b| b as f64 / 1_048_576.0);
    let report = json!({
        "version": concat!("cygnet ", env!("CARGO_PKG_VERSION")),
        "load_ms": ms(load),
        "first_ms": ms(cold - load),
        "cold_ms": ms(cold),
        "cold_cpu_ms": cold_cpu,
        "start_ms": start_ms,
        "cpu_ms": cpu,
        "lat_ms": lat,
        "rss_mb": mib(process::memory("VmHWM")),
        "rss_base_mb": mib(base),
        "outputs": shapes,
    });
    writeln!(out, "{report}")?;
    Ok(())
}

fn ms(t: Duration) -> f64 {
    t.as_secs_f64() * 1e3
}

fn parse(text: &str) -> Result<Array, CliError> {
    let wrong =
        || CliError::Usage(format!("--input {text}: give NAME=TYPE:DIMS:FILE, as x=f32:1,3,224,224:x.bin"));
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let mut parts = rest.splitn(3, ':');
    let (Some(dtype), Some(dims), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let dtype = match dtype {
        "f32" => DType::F32,
        "i64" => DType::S64,
        "i32" => DType::S32,
        "u8" => DType::U8,
        _ => return Err(wrong()),
    };
    let dims =
        dims.split(',').map(|d| d.trim().parse().ok()).collect::<Option<Vec<u32>>>().ok_or_else(wrong)?;
    let bytes = std::fs::read(path)
        .map_err(|e| CliError::Failed(format!("cannot read {path}: {e}; check the name")))?;
    Ok(Array { name: name.to_owned(), dtype, dims, bytes })
}

/// Brings an array to the model: under the name of its only input when no input has the array's name, and from NCHW to
/// NHWC when that is the order the model takes.
fn fit(mut array: Array, session: &Session) -> Result<Array, CliError> {
    let known: Vec<_> = session.inputs().collect();
    if let [(only, _)] = known[..] {
        array.name = only.to_owned();
    }
    let Some((_, t)) = known.iter().find(|(name, _)| *name == array.name) else { return Ok(array) };
    if let (&[n, c, h, w], want) = (&array.dims[..], &t.dims[..])
        && array.dims != want
        && want == [n, h, w, c]
        && array.bytes.len() as u64 == t.elements() * array.dtype.size() as u64
    {
        let (c, area, size) = (c as usize, h as usize * w as usize, array.dtype.size());
        let mut bytes = Vec::with_capacity(array.bytes.len());
        for image in array.bytes.chunks_exact(c * area * size) {
            for pixel in 0..area {
                for channel in 0..c {
                    let at = (channel * area + pixel) * size;
                    bytes.extend_from_slice(&image[at..at + size]);
                }
            }
        }
        return Ok(Array { dims: want.to_vec(), bytes, ..array });
    }
    Ok(array)
}
