//! `cygnet completions`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::common::CliError;

const HELP: &str = "\
Examples:
  cygnet completions bash > ~/.local/share/bash-completion/completions/cygnet
  cygnet completions zsh > ~/.zfunc/_cygnet

Exit codes: 0 done, 2 wrong usage";

/// Print a shell's completion script
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn execute<C: CommandFactory>(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    // The generator panics when it cannot write: it writes to memory.
    let mut script = Vec::new();
    generate(args.shell, &mut C::command(), "cygnet", &mut script);
    out.write_all(&script)?;
    Ok(())
}
