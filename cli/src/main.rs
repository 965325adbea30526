//! The command `cygnet`.

#[cfg(feature = "host")]
mod advise;
mod arrays;
mod bench;
#[cfg(feature = "device")]
mod bench_runner;
mod common;
mod device;
#[cfg(feature = "device")]
mod doctor;
mod inspect;
mod process;
mod run;
mod verify;
#[cfg(any(test, not(feature = "device")))]
mod words;

#[cfg(feature = "host")]
mod budget;
#[cfg(feature = "host")]
mod bundle;
#[cfg(feature = "host")]
mod calibrate;
#[cfg(feature = "photos")]
mod camera;
#[cfg(feature = "photos")]
mod classify;
#[cfg(feature = "host")]
mod compare;
#[cfg(feature = "host")]
mod completions;
#[cfg(feature = "host")]
mod convert;
#[cfg(feature = "host")]
mod demo;
#[cfg(feature = "host")]
mod deploy;
#[cfg(feature = "photos")]
mod detect;
#[cfg(feature = "host")]
mod eval;
#[cfg(feature = "host")]
mod judge;
#[cfg(feature = "photos")]
mod picture;
#[cfg(feature = "host")]
mod progress;
#[cfg(feature = "host")]
mod report;
#[cfg(feature = "host")]
mod samples;
#[cfg(feature = "host")]
mod sound;
#[cfg(feature = "host")]
mod source_args;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

#[cfg(feature = "device")]
use clap::{Parser, Subcommand};

use crate::common::CliError;

#[cfg(feature = "device")]
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the work failed: a bad model, bad data, a mismatch
  2  wrong usage

Environment:
  CYGNET_ISA  use no more than this instruction set: generic, avx2, avxvnni, avx512vnni, neon, neon-in-order, fp16,
              dotprod, dotprod-in-order or i8mm";

/// Runs neural networks at the edge: one file, known memory, the same bits on every CPU.
#[cfg(feature = "device")]
#[derive(Parser)]
#[command(name = "cygnet", version, about, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[cfg(feature = "device")]
#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "host")]
    Convert(Box<convert::Args>),
    #[cfg(feature = "host")]
    Calibrate(calibrate::Args),
    Run(run::Args),
    #[cfg(feature = "photos")]
    Detect(detect::Args),
    #[cfg(feature = "photos")]
    Classify(classify::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    BenchRunner(bench_runner::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Doctor(doctor::Args),
    #[cfg(feature = "host")]
    Bundle(bundle::Args),
    #[cfg(feature = "host")]
    Deploy(deploy::Args),
    #[cfg(feature = "host")]
    Compare(compare::Args),
    #[cfg(feature = "host")]
    Eval(eval::Args),
    #[cfg(feature = "host")]
    Advise(advise::Args),
    #[cfg(feature = "host")]
    Demo(demo::Args),
    #[cfg(feature = "host")]
    Completions(completions::Args),
}

#[cfg(feature = "device")]
impl Command {
    fn execute(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self {
            #[cfg(feature = "host")]
            Self::Convert(args) => convert::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Calibrate(args) => calibrate::execute(&args, out),
            Self::Run(args) => run::execute(&args, out),
            #[cfg(feature = "photos")]
            Self::Detect(args) => detect::execute(&args, out),
            #[cfg(feature = "photos")]
            Self::Classify(args) => classify::execute(&args, out),
            Self::Bench(args) => bench::execute(&args, out),
            Self::BenchRunner(args) => bench_runner::execute(&args, out),
            Self::Inspect(args) => inspect::execute(&args, out),
            Self::Verify(args) => verify::execute(&args, out),
            Self::Doctor(args) => doctor::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Bundle(args) => bundle::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Deploy(args) => deploy::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Compare(args) => compare::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Eval(args) => eval::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Advise(args) => advise::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Demo(args) => demo::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Completions(args) => completions::execute::<Cli>(&args, out),
        }
    }
}

/// The arguments; of a program with a model in it, the commands that take a model take that one.
fn arguments() -> Vec<OsString> {
    const TAKE_A_MODEL: [&str; 6] = ["run", "detect", "classify", "bench", "inspect", "verify"];
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let own = Path::new("/proc/self/exe");
    let takes = |command: &OsString| TAKE_A_MODEL.iter().any(|name| command == name);
    if arguments.get(1).is_some_and(takes) && cygnet::bundle::is_bundle(own) {
        arguments.insert(2, own.into());
    }
    arguments
}

#[cfg(feature = "device")]
fn execute(out: &mut dyn Write) -> Result<(), CliError> {
    Cli::parse_from(arguments()).command.execute(out)
}

/// Without clap.
#[cfg(not(feature = "device"))]
fn execute(out: &mut dyn Write) -> Result<(), CliError> {
    let mut words = words::Words(arguments().split_off(1));
    let asks = |word: &OsString| word == "--help" || word == "-h" || word == "help";
    if words.0.is_empty() {
        return Err(CliError::Usage(format!("no command is given\n\n{}", words::HELP)));
    }
    if words.0.iter().any(asks) {
        return Ok(write!(out, "{}", words::HELP)?);
    }
    let command = words.0.remove(0);
    match command.to_str() {
        Some("run") => run::execute(&run::Args::from_words(&mut words)?, out),
        Some("bench") => bench::execute(&bench::Args::from_words(&mut words)?, out),
        Some("inspect") => inspect::execute(&inspect::Args::from_words(&mut words)?, out),
        Some("verify") => verify::execute(&verify::Args::from_words(&mut words)?, out),
        Some("--version" | "-V") => Ok(writeln!(out, "cygnet {}", env!("CARGO_PKG_VERSION"))?),
        _ => {
            let command = command.to_string_lossy();
            Err(CliError::Usage(format!("'{command}' is no command of this build; see cygnet --help")))
        }
    }
}

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let done = execute(&mut out).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(CliError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // What was written before the failure is still wanted; that it cannot be shown changes nothing.
            let _ = out.flush();
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
