//! The command line of the program without clap: the same commands and options, read in the least space.
//!
//! Each command takes what it knows from the words; what is left over is its model, or not understood.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use crate::common::{CliError, ModelArgs};

/// What `--help` prints.
pub const HELP: &str = "\
Runs neural networks at the edge: one file, known memory, the same bits on every CPU.

  cygnet run MODEL --input FILE.npz|NAME=FILE.npy ...
      --output FILE.npz|FILE.json, --json, --load-state FILE.npz, --save-state FILE.npz, --repeat N, --profile,
      --trace FILE, --allow-nonfinite
  cygnet bench MODEL
      --input as for run, --runs N, --warmup N, --every TIME, --sustain TIME, --svg FILE, --csv FILE,
      --compare MODEL, --report FILE, --top N, --trace FILE, --json, --sysfs-root DIR
  cygnet inspect MODEL
      --steps, --json
  cygnet verify MODEL
      --json

All but verify: --program NAME, --no-checksum. All but inspect: --threads N, --cores LIST, --mlock, --huge-pages, --nice N.
docs/cli.md explains them. This is the least build; the others print more help, and have doctor.

Exit codes: 0 done, 1 the work failed, 2 wrong usage
";

/// What is left of a command line.
pub struct Words(pub Vec<OsString>);

impl Words {
    /// Whether an option without a value is there. To be asked after all options with values.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// The value of an option, as `--name value` or `--name=value`; of an option given again, the first one.
    pub fn value(&mut self, name: &str) -> Result<Option<OsString>, CliError> {
        let with_value = |word: &OsStr| {
            Some(of_bytes(word.as_encoded_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?))
        };
        let Some(at) = self.0.iter().position(|word| word == name || with_value(word).is_some()) else {
            return Ok(None);
        };
        if let Some(value) = with_value(&self.0.remove(at)) {
            return Ok(Some(value));
        }
        if at == self.0.len() {
            return Err(CliError::Usage(format!("{name} takes a value; see cygnet --help")));
        }
        Ok(Some(self.0.remove(at)))
    }

    /// All values of an option that may be given more than once.
    pub fn values(&mut self, names: &[&str]) -> Result<Vec<String>, CliError> {
        let mut all = Vec::new();
        for name in names {
            while let Some(value) = self.value(name)? {
                all.push(value.to_string_lossy().into_owned());
            }
        }
        Ok(all)
    }

    pub fn path(&mut self, name: &str) -> Result<Option<PathBuf>, CliError> {
        Ok(self.value(name)?.map(PathBuf::from))
    }

    /// A value that `parse` understands.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, CliError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let text = value.to_string_lossy();
        parse(&text).map(Some).map_err(|what| CliError::Usage(format!("{name} {text}: {what}")))
    }

    /// A whole number.
    pub fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, CliError> {
        self.parsed(name, |text| text.parse().map_err(|_| "give a whole number in its bounds".to_owned()))
    }

    /// The one word that is left: the model. To be asked last.
    pub fn model(&mut self) -> Result<PathBuf, CliError> {
        let odd = self.0.iter().find(|word| word.as_encoded_bytes().starts_with(b"-")).or(self.0.get(1));
        if let Some(word) = odd {
            return Err(CliError::Usage(format!(
                "'{}' is not understood; see cygnet --help",
                word.to_string_lossy()
            )));
        }
        let model = self.0.pop();
        model
            .map(PathBuf::from)
            .ok_or_else(|| CliError::Usage("no model is given; see cygnet --help".to_owned()))
    }

    /// What chooses model and program. To be asked last.
    pub fn model_args(&mut self) -> Result<ModelArgs, CliError> {
        let program = self.value("--program")?.map(|name| name.to_string_lossy().into_owned());
        let no_checksum = self.flag("--no-checksum");
        Ok(ModelArgs { model: self.model()?, program, no_checksum })
    }
}

/// The end of a word, whose bytes these are.
#[cfg(unix)]
fn of_bytes(bytes: &[u8]) -> OsString {
    <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes).to_owned()
}

#[cfg(not(unix))]
fn of_bytes(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words(text.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn options_are_taken_and_the_model_is_left() {
        let mut w = words("a.cygnet --nice -5 --runs=7 --json -i x -i y");
        assert_eq!(w.number::<i32>("--nice").unwrap(), Some(-5));
        assert_eq!(w.number::<u32>("--runs").unwrap(), Some(7));
        assert_eq!(w.values(&["--input", "-i"]).unwrap(), ["x", "y"]);
        assert!(w.flag("--json") && !w.flag("--json"));
        assert_eq!(w.model().unwrap(), PathBuf::from("a.cygnet"));
    }

    #[test]
    #[cfg(unix)]
    fn paths_are_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let name = |start: &[u8]| OsString::from_vec([start, b"a\xff.npz"].concat());
        let mut w = Words(vec![name(b"--output=")]);
        assert_eq!(w.path("--output").unwrap(), Some(PathBuf::from(name(b""))));
    }

    /// Each option that clap knows is in the help, and is understood where it stands before the model.
    #[test]
    #[cfg(feature = "device")]
    fn options_are_those_of_the_other_builds() {
        use clap::CommandFactory;
        let cli = crate::Cli::command();
        for (name, section) in
            ["run", "bench", "inspect", "verify"].iter().zip(HELP.split("  cygnet ").skip(1))
        {
            assert!(section.starts_with(name));
            let command = cli.find_subcommand(name).unwrap();
            for option in command.get_arguments().filter(|a| a.get_long().is_some()) {
                let long = format!("--{}", option.get_long().unwrap());
                if ["--help", "--version"].contains(&&*long) {
                    continue;
                }
                let everywhere = HELP.split_once("All but verify").unwrap().1;
                assert!(section.contains(&long) || everywhere.contains(&long), "{name}: no help for {long}");
                let value = match &*long {
                    "--sustain" | "--every" => "2s",
                    "--compare" | "--report" => continue,
                    _ => "1",
                };
                let mut line = format!("{long} {value} m.cygnet");
                if !option.get_action().takes_values() {
                    line = format!("{long} m.cygnet");
                }
                if ["--svg", "--csv"].contains(&&*long) {
                    line += " --sustain 2s";
                }
                if *name == "run" && long != "--input" {
                    line += " --input x.npy";
                }
                let mut words = words(&line);
                let read = match *name {
                    "run" => crate::run::Args::from_words(&mut words).map(|_| ()),
                    "bench" => crate::bench::Args::from_words(&mut words).map(|_| ()),
                    "inspect" => crate::inspect::Args::from_words(&mut words).map(|_| ()),
                    _ => crate::verify::Args::from_words(&mut words).map(|_| ()),
                };
                assert!(read.is_ok(), "{name} {line}: {}", read.unwrap_err());
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(words("--runs").value("--runs").unwrap_err().to_string().contains("--runs takes a value"));
        assert!(words("a --foo").model().unwrap_err().to_string().contains("'--foo'"));
        assert!(words("a b").model().unwrap_err().to_string().contains("'b'"));
        assert!(words("").model().unwrap_err().to_string().contains("no model"));
        assert!(words("--runs x").number::<u32>("--runs").unwrap_err().to_string().contains("--runs x"));
    }
}
