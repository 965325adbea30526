//! `cygnet bench`.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cygnet::format::Array;
use cygnet::{DType, Model, Profile, Session};
use serde_json::{Value, json};

use crate::arrays::{Input, read_inputs, set_inputs};
use crate::common::{CliError, ModelArgs, ThreadArgs, save, size};
use crate::process;

const HELP: &str = "\
Inputs are the file's golden ones, else fixed pseudo-random numbers; --input gives others. Setting them is not timed.
Times depend on what else the machine does: compare medians of runs made in turn, not single figures.

Examples:
  cygnet bench mobilenet.cygnet
  cygnet bench mobilenet.cygnet --threads 1 --runs 200 --json
  cygnet bench yolo.cygnet --cores 4-7 --trace trace.json

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Measure latency, throughput and memory
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Input as for `run`; may be given more than once
    #[arg(short, long, value_name = "INPUT")]
    input: Vec<String>,

    #[command(flatten)]
    threads: ThreadArgs,

    /// Timed runs [default: as many as 3 seconds allow, from 10 to 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,

    /// Runs before the timed ones
    #[arg(long, value_name = "N", default_value_t = 5)]
    warmup: u32,

    /// Steps to show, the costliest first
    #[arg(long, value_name = "N", default_value_t = 15)]
    top: usize,

    /// Write the times of the steps of one run as a Chrome trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs that the step times are taken from.
const PROFILED: u32 = 10;

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let started = Instant::now();
    let model = args.model.open()?;
    let loaded = started.elapsed();
    let mut session = args.model.session(&model, &args.threads)?;
    let prepared = started.elapsed();
    let inputs = if args.input.is_empty() {
        default_inputs(&model, &session)?
    } else {
        read_inputs(&args.input, &session)?
    };
    let first = timed(&mut session, &inputs)?;
    for _ in 0..args.warmup {
        timed(&mut session, &inputs)?;
    }
    let begin = Instant::now();
    let mut times = Vec::new();
    let enough = |done: usize| match args.runs {
        Some(n) => done >= n as usize,
        None => done >= 1000 || (done >= 10 && begin.elapsed() > Duration::from_secs(3)),
    };
    while !enough(times.len()) {
        times.push(timed(&mut session, &inputs)?);
    }
    let peak = process::memory("VmHWM");
    let mut profile = Profile::new(&session);
    for _ in 0..PROFILED {
        set_inputs(&mut session, &inputs)?;
        session.run_profiled(&mut profile)?;
    }
    if let Some(path) = &args.trace {
        save(path, profile.chrome_trace().as_bytes())?;
    }
    let figures = Figures {
        load: loaded,
        prepare: prepared - loaded,
        first,
        times: Sorted::new(times),
        arena: session.arena_bytes() as u64,
        scratch: session.scratch_bytes() as u64,
        file: model.bytes().len() as u64,
        peak,
        macs: session.implementations().map(|k| k.macs()).sum(),
    };
    if args.json {
        let steps: Value = serde_json::from_str(&profile.json())
            .map_err(|e| CliError::Failed(format!("the profile is no JSON: {e}; report this as a defect")))?;
        writeln!(out, "{}", figures.json(&session, &steps))?;
    } else {
        figures.text(&session, out)?;
        writeln!(out, "\n{}", profile.table(args.top).trim_end())?;
    }
    Ok(())
}

fn timed(session: &mut Session, inputs: &[Input]) -> Result<Duration, CliError> {
    set_inputs(session, inputs)?;
    let started = Instant::now();
    session.run()?;
    Ok(started.elapsed())
}

/// Times in ascending order; one at least.
struct Sorted(Vec<Duration>);

impl Sorted {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The least time that `percent` % of all do not exceed (nearest rank), in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map_or(0.0, |&t| ms(t))
    }

    fn mean(&self) -> f64 {
        self.0.iter().map(|&t| ms(t)).sum::<f64>() / self.0.len().max(1) as f64
    }
}

fn ms(t: Duration) -> f64 {
    t.as_secs_f64() * 1e3
}

struct Figures {
    load: Duration,
    prepare: Duration,
    first: Duration,
    times: Sorted,
    arena: u64,
    scratch: u64,
    file: u64,
    peak: Option<u64>,
    macs: u64,
}

impl Figures {
    fn rate(&self) -> f64 {
        1e3 / self.times.percentile(50).max(1e-9)
    }

    fn gmacs(&self) -> f64 {
        self.macs as f64 * self.rate() / 1e9
    }

    fn text(&self, session: &Session, out: &mut dyn Write) -> Result<(), CliError> {
        let t = &self.times;
        let p = |percent| t.percentile(percent);
        let features = session.cpu().features();
        writeln!(out, "program '{}', {} threads, {features}", session.program().name, session.threads())?;
        writeln!(
            out,
            "latency     p50 {:.3} ms, p90 {:.3}, p99 {:.3}, least {:.3}, greatest {:.3}, mean {:.3} ({} runs)",
            p(50),
            p(90),
            p(99),
            p(0),
            p(100),
            t.mean(),
            t.0.len()
        )?;
        writeln!(out, "throughput  {:.1} inferences/s, {:.2} GMAC/s", self.rate(), self.gmacs())?;
        let (load, prepare, first) = (ms(self.load), ms(self.prepare), ms(self.first));
        writeln!(
            out,
            "start       load {load:.2} ms, prepare {prepare:.2} ms, first inference {first:.2} ms"
        )?;
        let peak = self.peak.map_or("unknown".to_owned(), size);
        let (arena, scratch, file) = (size(self.arena), size(self.scratch), size(self.file));
        writeln!(
            out,
            "memory      predicted {arena} arena + {scratch} scratch + {file} mapped file; process peak {peak}"
        )?;
        Ok(())
    }

    fn json(&self, session: &Session, profile: &Value) -> Value {
        let p = |percent| self.times.percentile(percent);
        json!({
            "program": session.program().name,
            "threads": session.threads(),
            "isa": session.cpu().features().to_string(),
            "runs": self.times.0.len(),
            "latency_ms": { "p50": p(50), "p90": p(90), "p99": p(99), "min": p(0), "max": p(100), "mean": self.times.mean() },
            "throughput_per_s": self.rate(),
            "gmac_per_s": self.gmacs(),
            "macs": self.macs,
            "load_ms": ms(self.load),
            "prepare_ms": ms(self.prepare),
            "first_ms": ms(self.first),
            "arena_bytes": self.arena,
            "scratch_bytes": self.scratch,
            "file_bytes": self.file,
            "peak_rss_bytes": self.peak,
            "profile": profile,
        })
    }
}

/// The inputs of the first golden case of the session's program, else pseudo-random ones.
fn default_inputs(model: &Model, session: &Session) -> Result<Vec<Input>, CliError> {
    let position = model.programs().iter().position(|p| p.name == session.program().name);
    let golden = model.reader()?.golden()?.into_iter().find(|case| Some(case.program as usize) == position);
    if let Some(case) = golden {
        return Ok(case.inputs.into_iter().map(Input::Array).collect());
    }
    let mut state = 1_u32;
    let mut next = move || {
        // xorshift32: a fixed sequence, so that every measurement sees the same numbers.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let arrays = session.inputs().map(|(name, t)| {
        let mut bytes = Vec::new();
        for _ in 0..t.elements() {
            let r = next();
            match t.dtype {
                DType::F32 => bytes.extend(((r >> 8) as f32 / (1 << 24) as f32).to_le_bytes()),
                // In half precision the top bits of the fraction beside a fixed exponent: from 0.5 to 1.
                DType::F16 => bytes.extend((0x3800 | (r >> 22) as u16).to_le_bytes()),
                DType::S8 | DType::U8 | DType::Packed => bytes.push((r >> 24) as u8),
                // Integers are most often positions in a table or masks: 0 and 1 suit both.
                DType::S16 => bytes.extend(((r >> 31) as i16).to_le_bytes()),
                DType::S32 => bytes.extend(((r >> 31) as i32).to_le_bytes()),
                DType::S64 => bytes.extend(i64::from(r >> 31).to_le_bytes()),
            }
        }
        Input::Array(Array { name: name.to_owned(), dtype: t.dtype, dims: t.dims.clone(), bytes })
    });
    Ok(arrays.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let t = Sorted::new([4, 1, 3, 2].map(Duration::from_millis).to_vec());
        assert_eq!([0, 25, 26, 50, 90, 100].map(|p| t.percentile(p)), [1.0, 1.0, 2.0, 2.0, 4.0, 4.0]);
        assert_eq!(t.mean(), 2.5);
    }
}
