//! `cygnet verify`.

use std::io::Write;
use std::path::PathBuf;

use cygnet::{Model, OpenOptions, SessionOptions, golden};
use serde_json::json;

use crate::common::{CliError, ThreadArgs};

const HELP: &str = "\
Compares the checksum of every section, prepares every program for this machine, and runs the golden inputs that the
file carries: the outputs have to be the promised ones, bit for bit (or within the case's tolerance, where
half precision is used).

Examples:
  cygnet verify mobilenet.cygnet
  CYGNET_ISA=generic cygnet verify mobilenet.cygnet

Exit codes: 0 all is as promised, 1 something is not, 2 wrong usage";

/// Check a file's integrity and that this machine computes what the file promises
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The .cygnet file
    model: PathBuf,

    #[command(flatten)]
    threads: ThreadArgs,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[cfg(any(test, not(feature = "device")))]
impl Args {
    pub fn from_words(words: &mut crate::words::Words) -> Result<Self, CliError> {
        let threads = ThreadArgs::from_words(words)?;
        Ok(Self { threads, json: words.flag("--json"), model: words.model()? })
    }
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let pages = args.threads.pages();
    let model = Model::open_with(&args.model, OpenOptions { pages, ..OpenOptions::default() })?;
    let options = SessionOptions { pool: Some(args.threads.pool()?), pages, ..SessionOptions::default() };
    for index in 0..model.programs().len() {
        let program = cygnet::Select::Index(index);
        cygnet::Session::new(&model, &SessionOptions { program, ..options.clone() })?;
    }
    let cases = golden::verify(&model, &options)?;
    let failed: Vec<(usize, &golden::Mismatch)> =
        cases.iter().enumerate().filter_map(|(i, c)| Some((i, c.mismatch.as_ref()?))).collect();
    if args.json {
        let cases: Vec<_> = cases
            .iter()
            .map(|c| {
                let mismatch = c.mismatch.as_ref().map(|m| {
                    json!({ "output": m.output, "index": m.index, "got": m.got, "expected": m.expected,
                            "differing": m.count, "elements": m.of, "worst": m.worst })
                });
                json!({ "program": c.program, "tolerance": c.tolerance, "outputs": c.outputs, "mismatch": mismatch })
            })
            .collect();
        let isa = cygnet::Cpu::from_env().map_err(cygnet::Error::from)?.features().to_string();
        writeln!(out, "{}", json!({ "ok": failed.is_empty(), "isa": isa, "cases": cases }))?;
    } else if failed.is_empty() {
        writeln!(out, "checksums: {} sections as written", model.reader()?.sections().len())?;
        writeln!(out, "programs: {} prepared for this machine", model.programs().len())?;
        match cases.len() {
            0 => {
                writeln!(out, "goldens: none in the file; convert with --goldens 1 to have it prove itself")?
            }
            n => writeln!(out, "goldens: {n} cases as promised")?,
        }
    }
    let Some((case, m)) = failed.first() else { return Ok(()) };
    Err(CliError::Failed(format!(
        "golden case {case}: output '{}' differs first at element {}: {} where {} is promised ({} of {} elements \
         differ, by {} at most); do not use this model on this machine, and report it with `cygnet inspect`",
        m.output, m.index, m.got, m.expected, m.count, m.of, m.worst
    )))
}
