//! The command `cygnet`.

mod arrays;
mod bench;
mod bench_runner;
mod common;
mod inspect;
mod process;
mod run;
mod verify;

#[cfg(feature = "host")]
mod calibrate;
#[cfg(feature = "host")]
mod classify;
#[cfg(feature = "host")]
mod completions;
#[cfg(feature = "host")]
mod convert;
#[cfg(feature = "host")]
mod demo;
#[cfg(feature = "host")]
mod detect;
#[cfg(feature = "host")]
mod picture;
#[cfg(feature = "host")]
mod progress;
#[cfg(feature = "host")]
mod samples;
#[cfg(feature = "host")]
mod sound;
#[cfg(feature = "host")]
mod source_args;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::common::CliError;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the work failed: a bad model, bad data, a mismatch
  2  wrong usage

Environment:
  CYGNET_ISA  use no more than this instruction set: generic, avx2, avxvnni, avx512vnni, neon, neon-in-order, fp16,
              dotprod, dotprod-in-order or i8mm";

/// Runs neural networks at the edge: one file, known memory, the same bits on every CPU.
#[derive(Parser)]
#[command(name = "cygnet", version, about, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "host")]
    Convert(convert::Args),
    #[cfg(feature = "host")]
    Calibrate(calibrate::Args),
    Run(run::Args),
    #[cfg(feature = "host")]
    Detect(detect::Args),
    #[cfg(feature = "host")]
    Classify(classify::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    BenchRunner(bench_runner::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    #[cfg(feature = "host")]
    Demo(demo::Args),
    #[cfg(feature = "host")]
    Completions(completions::Args),
}

impl Command {
    fn execute(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self {
            #[cfg(feature = "host")]
            Self::Convert(args) => convert::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Calibrate(args) => calibrate::execute(&args, out),
            Self::Run(args) => run::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Detect(args) => detect::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Classify(args) => classify::execute(&args, out),
            Self::Bench(args) => bench::execute(&args, out),
            Self::BenchRunner(args) => bench_runner::execute(&args, out),
            Self::Inspect(args) => inspect::execute(&args, out),
            Self::Verify(args) => verify::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Demo(args) => demo::execute(&args, out),
            #[cfg(feature = "host")]
            Self::Completions(args) => completions::execute::<Cli>(&args, out),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let done = cli.command.execute(&mut out).and_then(|()| Ok(out.flush()?));
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
