//! `cygnet bundle`.

mod executable;
mod header;
mod relocatable;

use std::io::Write;
use std::path::{Path, PathBuf};

use cygnet::Model;

use crate::common::{CliError, save, size};

const HELP: &str = "\
--executable appends the model to a program built by targets/build-device.sh (or any cygnet): one file to copy. It runs
without naming the model: `./app bench`, `./app verify`, `./app run --input x.npz`.

--object writes an object file to link into a C, C++ or Rust program, and a header beside it. docs/capi.md shows programs
that use it.

Examples:
  cygnet bundle yolo.cygnet --executable target/device/aarch64-unknown-linux-musl/device/cygnet -o yolo
  cygnet bundle yolo.cygnet --object aarch64 -o yolo.o
  cygnet bundle yolo.cygnet --object riscv64 --symbol detector -o detector.o

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Put a model into a program: one executable file, or an object file to link
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The .cygnet file
    model: PathBuf,

    /// Where the result goes; the header of an object lies beside it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// The program that the model is appended to: a cygnet for the device
    #[arg(long, value_name = "PROGRAM", required_unless_present = "object", conflicts_with = "object")]
    executable: Option<PathBuf>,

    /// Architecture of the object file
    #[arg(long, value_name = "ARCH", value_enum)]
    object: Option<relocatable::Arch>,

    /// Name of the symbols in the object file [default: the model's file name, as far as C allows]
    #[arg(long, value_name = "NAME", requires = "object")]
    symbol: Option<String>,
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    // Opened, so that no damaged file is carried to a device.
    let model = Model::open(&args.model)?;
    if let Some(program) = &args.executable {
        let bytes = read(program)?;
        let bundled = executable::append(&bytes, model.bytes())
            .map_err(|what| CliError::Failed(format!("{}: {what}", program.display())))?;
        save(&args.output, &bundled)?;
        make_executable(&args.output)?;
        writeln!(
            out,
            "{}: {}, of which the model {}",
            args.output.display(),
            size(bundled.len() as u64),
            size(model.bytes().len() as u64)
        )?;
    } else if let Some(arch) = args.object {
        let symbol = match &args.symbol {
            Some(name) if header::is_name(name) => name.clone(),
            Some(name) => {
                return Err(CliError::Usage(format!(
                    "--symbol {name}: give a name of C: letters, digits and _"
                )));
            }
            None => header::name_of(&args.model),
        };
        let header = args.output.with_extension("h");
        if header == args.output {
            return Err(CliError::Usage(format!(
                "--output {}: the header has this name; give the object another ending, as .o",
                header.display()
            )));
        }
        let bytes = relocatable::object(arch, &symbol, model.bytes()).map_err(|e| {
            CliError::Failed(format!("no object file can be made: {e}; report this as a defect"))
        })?;
        save(&args.output, &bytes)?;
        save(&header, header::header(&symbol, &model).as_bytes())?;
        writeln!(
            out,
            "{}: {} for {}; {}: symbols {symbol}, {symbol}_end and {symbol}_size",
            args.output.display(),
            size(bytes.len() as u64),
            arch.name(),
            header.display()
        )?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|e| {
        CliError::Failed(format!("cannot read {}: {e}; build it by targets/build-device.sh", path.display()))
    })
}

fn make_executable(path: &Path) -> Result<(), CliError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(|e| {
            CliError::Failed(format!("cannot make {} executable: {e}; use chmod +x", path.display()))
        })?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
