//! `cygnet bench`.

mod chart;
mod compare;
mod figures;
mod inputs;
mod monitor;
mod paced;
mod page;
mod sustain;
mod times;
mod timing;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cygnet::{Profile, Session};
use serde_json::Value;

use crate::arrays::{Input, read_inputs, set_inputs};
use crate::common::{CliError, ModelArgs, ThreadArgs, save};
use crate::device::{RootArgs, board};
use crate::process;
use compare::{Side, compare};
use figures::Figures;
use inputs::default_inputs;
use monitor::Monitor;
use paced::{Paced, paced};
use sustain::{parse_duration, parse_period, sustain, warm_up};
use times::Sorted;
use timing::{Interrupted, timed, uninterrupted};

const HELP: &str = "\
Inputs are the file's golden ones, else fixed pseudo-random numbers; --input gives others. Setting them is not timed.
Times depend on what else the machine does: compare medians of runs made in turn (--compare), not single figures.
docs/benchmarking.md describes the rules, what --json prints, and where clocks, heat and power are read.

Examples:
  cygnet bench mobilenet.cygnet
  cygnet bench mobilenet.cygnet --threads 1 --runs 200 --json
  cygnet bench yolo.cygnet --cores 4-7 --trace trace.json
  cygnet bench yolo.cygnet --sustain 30m --svg curve.svg --csv curve.csv --report yolo.html
  cygnet bench yolo.cygnet --every 33ms
  cygnet bench old.cygnet --compare new.cygnet

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Measure latency, throughput, energy and memory, and what the machine holds
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

    /// Runs before the timed ones [default: until times are steady, for 0.5 to 3 seconds]
    #[arg(long, value_name = "N")]
    warmup: Option<u32>,

    /// Also run at this pace (33ms, 0.5s), asleep between runs, and show how late runs begin and what waking adds to them
    #[arg(long, value_name = "TIME", value_parser = parse_period, conflicts_with = "compare")]
    every: Option<Duration>,

    /// Then run for so long (90s, 30m, 2h), and show what the machine holds
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "compare")]
    sustain: Option<Duration>,

    /// Write the curves of --sustain as a picture
    #[arg(long, value_name = "FILE", requires = "sustain")]
    svg: Option<PathBuf>,

    /// Write the curves of --sustain as numbers
    #[arg(long, value_name = "FILE", requires = "sustain")]
    csv: Option<PathBuf>,

    /// Run this model in turn with the other, and tell which is faster
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["trace", "report", "input"])]
    compare: Option<PathBuf>,

    /// Write the result as a page to publish
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Steps to show, the costliest first
    #[arg(long, value_name = "N", default_value_t = TOP)]
    top: usize,

    /// Write the times of the steps of one run as a Chrome trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    root: RootArgs,
}

#[cfg(any(test, not(feature = "device")))]
impl Args {
    pub fn from_words(words: &mut crate::words::Words) -> Result<Self, CliError> {
        let args = Self {
            input: words.values(&["--input", "-i"])?,
            runs: words.number::<std::num::NonZeroU32>("--runs")?.map(Into::into),
            warmup: words.number("--warmup")?,
            every: words.parsed("--every", parse_period)?,
            sustain: words.parsed("--sustain", parse_duration)?,
            svg: words.path("--svg")?,
            csv: words.path("--csv")?,
            compare: words.path("--compare")?,
            report: words.path("--report")?,
            top: words.number("--top")?.unwrap_or(TOP),
            trace: words.path("--trace")?,
            root: RootArgs { sysfs_root: words.path("--sysfs-root")?.unwrap_or_else(|| "/".into()) },
            threads: ThreadArgs::from_words(words)?,
            json: words.flag("--json"),
            model: words.model_args()?,
        };
        let timed = args.every.is_some() || args.sustain.is_some();
        let others = timed || args.trace.is_some() || args.report.is_some() || !args.input.is_empty();
        if args.compare.is_some() && others {
            let what = "--compare goes with none of --input, --every, --sustain, --trace and --report";
            return Err(CliError::Usage(what.to_owned()));
        }
        if args.sustain.is_none() && (args.svg.is_some() || args.csv.is_some()) {
            return Err(CliError::Usage("--svg and --csv are of --sustain; give it too".to_owned()));
        }
        Ok(args)
    }
}

/// Runs that the step times are taken from.
const PROFILED: u32 = 10;

/// Steps that are shown.
const TOP: usize = 15;

/// Classes of the histogram of times.
const CLASSES: usize = 40;

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    if let Some(other) = &args.compare {
        return execute_compare(args, other, out);
    }
    let started = Instant::now();
    let model = args.model.open(args.threads.pages())?;
    let loaded = started.elapsed();
    let mut session = args.model.session(&model, &args.threads)?;
    let prepared = started.elapsed();
    let inputs = if args.input.is_empty() {
        default_inputs(&model, &session)?
    } else {
        read_inputs(&args.input, &session)?
    };
    let first = timed(&mut session, &inputs)?;
    let warm = warm(args, &mut session, &inputs)?;
    let mut monitor = Monitor::start(args.root.root());
    let (times, interrupted) = timed_runs(args, &mut session, &inputs, &mut monitor)?;
    let seen = monitor.take();
    let peak = process::memory("VmHWM");
    let mut profile = Profile::new(&session);
    for _ in 0..PROFILED {
        set_inputs(&mut session, &inputs)?;
        session.run_profiled(&mut profile)?;
    }
    if let Some(path) = &args.trace {
        save(path, profile.chrome_trace().as_bytes())?;
    }
    let pace = |every| paced(&mut session, &inputs, every, args.runs);
    let paced = args.every.map(pace).transpose()?;
    let sustained = args
        .sustain
        .map(|duration| sustain(&mut session, &inputs, &mut monitor, duration, args.json))
        .transpose()?;
    let figures = Figures {
        load: loaded,
        prepare: prepared - loaded,
        first,
        warm,
        times: Sorted::new(times),
        interrupted,
        seen,
        arena: session.arena_bytes() as u64,
        scratch: session.scratch_bytes() as u64,
        file: model.bytes().len() as u64,
        peak,
        macs: session.implementations().map(|k| k.macs()).sum(),
        paced,
        sustained,
    };
    if let Some(sustained) = &figures.sustained {
        sustained.save(&monitor, args.svg.as_deref(), args.csv.as_deref())?;
    }
    if args.json || args.report.is_some() {
        let result = figures.json(&session, &monitor, &profile);
        if let Some(path) = &args.report {
            save(path, page(args, &figures, &result, &monitor).as_bytes())?;
        }
        if args.json {
            return Ok(writeln!(out, "{result}")?);
        }
    }
    figures.text(&session, &monitor, out)?;
    Ok(writeln!(out, "\n{}", profile.table(args.top).trim_end())?)
}

/// The warm-up: how many runs it took, and whether times became steady; not known where their number was given.
fn warm(args: &Args, session: &mut Session, inputs: &[Input]) -> Result<(usize, Option<bool>), CliError> {
    let Some(runs) = args.warmup else {
        let (runs, steady) = warm_up(session, inputs)?;
        return Ok((runs, Some(steady)));
    };
    for _ in 0..runs {
        timed(session, inputs)?;
    }
    Ok((runs as usize, None))
}

fn timed_runs(
    args: &Args,
    session: &mut Session,
    inputs: &[Input],
    monitor: &mut Monitor,
) -> Result<(Vec<Duration>, Interrupted), CliError> {
    let begin = Instant::now();
    let (mut times, mut interrupted) = (Vec::new(), Interrupted::default());
    let enough = |done: usize, lost: Duration| match args.runs {
        Some(n) => done >= n as usize,
        None => done >= 1000 || (done >= 10 && begin.elapsed() > Duration::from_secs(3) + lost),
    };
    while !enough(times.len(), interrupted.time) {
        match uninterrupted(session, inputs, &mut interrupted)? {
            Some(time) => times.push(time),
            None => monitor.skip(),
        }
        monitor.tick();
    }
    Ok((times, interrupted))
}

fn execute_compare(args: &Args, other: &std::path::Path, out: &mut dyn Write) -> Result<(), CliError> {
    let pool = args.threads.pool()?;
    let side = |model: &ModelArgs| -> Result<Side, CliError> {
        let opened = model.open(args.threads.pages())?;
        let mut session = model.session_on(&opened, &pool, args.threads.pages())?;
        let inputs = default_inputs(&opened, &session)?;
        warm(args, &mut session, &inputs)?;
        Ok(Side { name: model.model.display().to_string(), session, inputs })
    };
    let second = ModelArgs { model: other.to_owned(), program: None, no_checksum: args.model.no_checksum };
    let mut sides = [side(&args.model)?, side(&second)?];
    let mut monitor = Monitor::start(args.root.root());
    let compared = compare(&mut sides, args.runs, &mut monitor)?;
    if args.json {
        writeln!(out, "{}", compared.json(&monitor))?;
    } else {
        compared.text(&monitor, out)?;
    }
    Ok(())
}

fn page(args: &Args, figures: &Figures, result: &Value, monitor: &Monitor) -> String {
    let name = args.model.model.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let command: Vec<String> = std::env::args().skip(1).collect();
    page::Page {
        model: &name,
        machine: &board::read(&args.root.root()).model,
        result,
        histogram: &figures.times.histogram(CLASSES),
        curves: figures.sustained.as_ref().map(|sustained| sustained.svg(monitor)),
        command: &format!("cygnet {}", command.join(" ")),
    }
    .html()
}
