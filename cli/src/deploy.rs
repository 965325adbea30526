//! `cygnet deploy`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cygnet::Model;
use serde_json::{Value, json};

use crate::common::{CliError, save};

const HELP: &str = "\
Uses the system's ssh and scp with their configuration: names, keys and ports of ~/.ssh/config work as always. Files are
copied under temporary names and renamed, so that a program that runs there keeps the model it has open.

The program is looked for in target/device, where targets/build-device.sh puts it; --binary gives another.

Examples:
  cygnet deploy pi@raspberrypi yolo.cygnet
  cygnet deploy pi@raspberrypi yolo.cygnet --folder /opt/detector --json > result.json
  cygnet deploy localhost yolo.cygnet --option Port=2222 --binary ./cygnet

Exit codes: 0 done, 1 the work failed or the device computes something else, 2 wrong usage";

/// Copy the program and a model to a device, verify and measure there
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Where to, as ssh takes it
    #[arg(value_name = "USER@HOST")]
    host: String,

    /// The .cygnet file
    model: PathBuf,

    /// Folder on the device, relative to the user's home
    #[arg(long, value_name = "DIR", default_value = "cygnet")]
    folder: String,

    /// The program for the device [default: by its architecture, from target/device]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// An option for ssh and scp, as in ssh's -o; may be given more than once
    #[arg(long = "option", value_name = "KEY=VALUE")]
    options: Vec<String>,

    /// Do not measure
    #[arg(long)]
    no_bench: bool,

    /// Write what the device printed as JSON
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print what the device printed as JSON
    #[arg(long)]
    json: bool,
}

/// A device that ssh reaches.
struct Device<'a> {
    args: &'a Args,
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    if args.host.starts_with('-') || args.host.is_empty() {
        return Err(CliError::Usage(format!("'{}' is no host; give USER@HOST", args.host)));
    }
    // A damaged file is not worth a journey.
    Model::open(&args.model)?;
    let name = file_name(&args.model)?;
    let device = Device { args };
    let system = device.run("uname -sm")?;
    let binary = match &args.binary {
        Some(path) => path.clone(),
        None => default_binary(system.trim())?,
    };
    let folder = quoted(&args.folder);
    device.run(&format!("mkdir -p -- {folder}"))?;
    device.copy(&binary, "cygnet")?;
    device.copy(&args.model, &name)?;
    device.run(&format!("chmod 755 -- {folder}/cygnet"))?;
    let model = quoted(&name);
    let cygnet = |command: &str| device.json(&format!("cd -- {folder} && ./cygnet {command} --json"));
    let mut result = json!({ "schema": "cygnet-deploy-1", "host": args.host, "system": system.trim() });
    // A mismatch is an answer too: what was printed is kept, and the command fails below.
    let verified = cygnet(&format!("verify ./{model}"));
    result["verify"] = verified?;
    let promised = result["verify"]["ok"] == true;
    result["doctor"] = cygnet("doctor --no-measure")?;
    if !args.no_bench && promised {
        result["bench"] = cygnet(&format!("bench ./{model}"))?;
    }
    if let Some(path) = &args.output {
        save(path, format!("{result:#}\n").as_bytes())?;
    }
    if args.json {
        writeln!(out, "{result}")?;
    } else {
        summary(&result, &args.folder, &name, out)?;
    }
    if promised {
        return Ok(());
    }
    let case = &result["verify"]["cases"];
    Err(CliError::Failed(format!(
        "{} computes something else than the file promises: {case}; do not use the model there, and report this as a defect",
        args.host
    )))
}

fn summary(result: &Value, folder: &str, name: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    writeln!(
        out,
        "{}: {} ({})",
        text(&result["host"]),
        text(&result["doctor"]["model"]),
        text(&result["system"])
    )?;
    let cases = result["verify"]["cases"].as_array().map_or(0, Vec::len);
    writeln!(
        out,
        "verify    {}, {cases} golden cases, {}",
        if result["verify"]["ok"] == true { "as promised" } else { "NOT as promised" },
        text(&result["verify"]["isa"])
    )?;
    let latency = &result["bench"]["latency_ms"];
    if let (Some(p50), Some(p99)) = (latency["p50"].as_f64(), latency["p99"].as_f64()) {
        writeln!(out, "bench     p50 {p50:.3} ms, p99 {p99:.3}, {} threads", result["bench"]["threads"])?;
    }
    for advice in result["doctor"]["advice"].as_array().into_iter().flatten() {
        writeln!(out, "to change {}", text(&advice["text"]))?;
    }
    writeln!(out, "there     {folder}/cygnet and {folder}/{name}")
}

/// The program that `targets/build-device.sh` built for what `uname -sm` printed.
fn default_binary(system: &str) -> Result<PathBuf, CliError> {
    let triple = match system {
        "Linux aarch64" => "aarch64-unknown-linux-musl",
        "Linux armv7l" => "armv7-unknown-linux-gnueabihf",
        "Linux riscv64" => "riscv64gc-unknown-linux-gnu",
        other => {
            return Err(CliError::Failed(format!(
                "the device says it is '{other}', for which there is no program; build one and give it with --binary"
            )));
        }
    };
    let path = Path::new("target/device").join(triple).join("device/cygnet");
    if path.is_file() {
        return Ok(path);
    }
    Err(CliError::Failed(format!(
        "there is no program for {system} at {}; run targets/build-device.sh, or give one with --binary",
        path.display()
    )))
}

fn file_name(path: &Path) -> Result<String, CliError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| CliError::Usage(format!("{}: the name is not UTF-8; rename the file", path.display())))
}

/// Text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Device<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.args.options {
            command.arg("-o").arg(option);
        }
        command.stdin(Stdio::null());
        command
    }

    /// What a shell's command printed there.
    fn run(&self, line: &str) -> Result<String, CliError> {
        let mut command = self.command("ssh");
        command.arg("--").arg(&self.args.host).arg(line);
        let (text, error, ok) = output(&mut command, "ssh")?;
        if ok { Ok(text) } else { Err(self.failed(line, &error)) }
    }

    /// The JSON that a command printed there; also where it failed after printing it.
    fn json(&self, line: &str) -> Result<Value, CliError> {
        let mut command = self.command("ssh");
        command.arg("--").arg(&self.args.host).arg(line);
        let (text, error, _) = output(&mut command, "ssh")?;
        serde_json::from_str(text.trim()).map_err(|_| self.failed(line, &error))
    }

    /// Copies a file into the folder, whole or not at all.
    fn copy(&self, from: &Path, name: &str) -> Result<(), CliError> {
        let folder = &self.args.folder;
        let temporary = format!("{folder}/.{name}.tmp");
        let mut command = self.command("scp");
        command.arg("-q").arg("--").arg(from).arg(format!("{}:{temporary}", self.args.host));
        let (_, error, ok) = output(&mut command, "scp")?;
        if !ok {
            return Err(self.failed(&format!("copying {}", from.display()), &error));
        }
        let (from, to) = (quoted(&temporary), quoted(&format!("{folder}/{name}")));
        self.run(&format!("mv -f -- {from} {to}")).map(|_| ())
    }

    fn failed(&self, what: &str, error: &str) -> CliError {
        let error = error.trim();
        let error = if error.is_empty() { "no message" } else { error };
        CliError::Failed(format!("on {}: {what}: {error}; try `ssh {0}` by hand", self.args.host))
    }
}

/// Standard output and error of a program, and whether it did its work.
fn output(command: &mut Command, program: &str) -> Result<(String, String, bool), CliError> {
    let output = command
        .output()
        .map_err(|e| CliError::Failed(format!("cannot start {program}: {e}; install OpenSSH's client")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr), output.status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn systems_without_a_program_are_named() {
        assert!(default_binary("Darwin arm64").unwrap_err().to_string().contains("Darwin arm64"));
        assert!(default_binary("Linux riscv64").unwrap_err().to_string().contains("build-device.sh"));
    }
}
