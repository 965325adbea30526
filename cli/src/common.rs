//! What the commands share: errors, options of a session, saving.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cygnet::format::save::SaveError;
use cygnet::format::{FormatError, write_atomic};
use cygnet::npz::NpzError;
use cygnet::{Model, OpenOptions, Pages, Pool, PoolOptions, Select, Session, SessionOptions};

use crate::process;

/// Why a command failed. Every message ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Runtime(#[from] cygnet::Error),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Npz(#[from] NpzError),
    #[error(transparent)]
    Save(#[from] SaveError),
    #[cfg(feature = "photos")]
    #[error(transparent)]
    Vision(#[from] cygnet::vision::VisionError),
    #[error("cannot write the output: {0}; check where it goes")]
    Output(#[from] io::Error),
    /// The work failed.
    #[error("{0}")]
    Failed(String),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
}

impl CliError {
    /// 2 for wrong usage, 1 for all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Runtime(
                cygnet::Error::Threads(_)
                | cygnet::Error::Core { .. }
                | cygnet::Error::CoresForThreads { .. }
                | cygnet::Error::NoProgram { .. }
                | cygnet::Error::Cpu(_),
            ) => 2,
            _ => 1,
        }
    }
}

/// The model to use.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// The .cygnet file
    pub model: PathBuf,

    /// Program to use, by name or position [default: the first, or for `run` the one that takes the arrays given]
    #[arg(long, value_name = "NAME")]
    pub program: Option<String>,

    /// Skip comparing the checksums of the file's sections, which reads the whole file
    #[arg(long)]
    pub no_checksum: bool,
}

impl ModelArgs {
    pub fn open(&self, pages: Pages) -> Result<Model, CliError> {
        let options = OpenOptions { check_payload: !self.no_checksum, pages, ..OpenOptions::default() };
        Ok(Model::open_with(&self.model, options)?)
    }

    /// The program asked for.
    pub fn select(&self, model: &Model) -> Select {
        match &self.program {
            None => Select::First,
            Some(name) if model.programs().iter().any(|p| p.name == *name) => Select::Name(name.clone()),
            Some(text) => text.parse().map_or_else(|_| Select::Name(text.clone()), Select::Index),
        }
    }

    /// A session of the program that takes inputs of these dimensions; of the first, which says what is wrong with them,
    /// when there is none.
    pub fn session_for(
        &self,
        model: &Model,
        threads: &ThreadArgs,
        shapes: Vec<(String, Vec<u32>)>,
    ) -> Result<Session, CliError> {
        let pool = Some(threads.pool()?);
        let made = Session::new(
            model,
            &SessionOptions {
                program: Select::Shapes(shapes),
                pool: pool.clone(),
                pages: threads.pages(),
                ..SessionOptions::default()
            },
        );
        match made {
            Err(cygnet::Error::NoProgram { .. }) => {
                let pages = threads.pages();
                Ok(Session::new(model, &SessionOptions { pool, pages, ..SessionOptions::default() })?)
            }
            other => Ok(other?),
        }
    }

    /// A session of it; this thread is bound to its core when cores are chosen.
    pub fn session(&self, model: &Model, threads: &ThreadArgs) -> Result<Session, CliError> {
        self.session_on(model, &threads.pool()?, threads.pages())
    }

    /// A session of it on threads that others may share.
    pub fn session_on(&self, model: &Model, pool: &Arc<Pool>, pages: Pages) -> Result<Session, CliError> {
        let pool = Some(Arc::clone(pool));
        let options =
            SessionOptions { program: self.select(model), pool, pages, ..SessionOptions::default() };
        Ok(Session::new(model, &options)?)
    }
}

/// Threads and cores.
#[derive(clap::Args)]
pub struct ThreadArgs {
    /// Threads to run on [default: one for each fast core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,

    /// Cores to bind the threads to, as 4-7 or 0,2 [default: the fastest ones where cores differ]
    #[arg(long, value_name = "LIST", value_parser = parse_cores)]
    pub cores: Option<CoreList>,

    /// Keep all memory of the process in RAM, the model's file too: nothing is paged out or read late
    #[arg(long)]
    pub mlock: bool,

    /// Take memory in huge pages, and copy the model's file into such: fewer misses of the table of pages
    #[arg(long)]
    pub huge_pages: bool,

    /// Priority of the threads: from -20, the highest, to 19
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub nice: Option<i32>,
}

/// Cores in the order given.
#[derive(Clone, Debug)]
pub struct CoreList(pub Vec<usize>);

fn parse_cores(text: &str) -> Result<CoreList, String> {
    let cores = cygnet::topology::parse_list(text);
    let well_formed = text.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '-');
    if cores.is_empty() || !well_formed {
        Err("give cores as 4-7 or 0,2".to_owned())
    } else {
        Ok(CoreList(cores))
    }
}

impl ThreadArgs {
    /// The pages to take memory in.
    pub fn pages(&self) -> Pages {
        if self.huge_pages { Pages::Huge } else { Pages::Usual }
    }

    #[cfg(any(test, not(feature = "device")))]
    pub fn from_words(words: &mut crate::words::Words) -> Result<Self, CliError> {
        let in_range = |text: &str| match text.parse() {
            Ok(n) if (-20..=19).contains(&n) => Ok(n),
            _ => Err("give a number from -20 to 19".to_owned()),
        };
        Ok(Self {
            threads: words.number("--threads")?,
            cores: words.parsed("--cores", parse_cores)?,
            nice: words.parsed("--nice", in_range)?,
            mlock: words.flag("--mlock"),
            huge_pages: words.flag("--huge-pages"),
        })
    }

    /// The threads; this one is bound to its core when cores are chosen.
    pub fn pool(&self) -> Result<Arc<Pool>, CliError> {
        // Threads inherit the priority, and memory that is taken later is locked too.
        if let Some(nice) = self.nice {
            process::set_priority(nice).map_err(|e| {
                CliError::Failed(format!(
                    "priority {nice} is not allowed: {e}; run as root or raise the limit `ulimit -e`, or leave --nice out"
                ))
            })?;
        }
        if self.mlock {
            process::lock_memory().map_err(|e| {
                CliError::Failed(format!(
                    "memory cannot be locked: {e}; run as root or raise the limit `ulimit -l`, or leave --mlock out"
                ))
            })?;
        }
        let cores = self.cores.as_ref().map(|list| list.0.clone());
        let pool = Arc::new(Pool::new(&PoolOptions { threads: self.threads, cores })?);
        pool.bind_caller();
        Ok(pool)
    }
}

/// Writes a whole file or none.
pub fn save(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    Ok(write_atomic(path, &[bytes])?)
}

/// A shape as `1x3x224x224`; `scalar` without dimensions.
pub fn shape(dims: &[u32]) -> String {
    if dims.is_empty() {
        return "scalar".to_owned();
    }
    dims.iter().map(u32::to_string).collect::<Vec<_>>().join("x")
}

/// A number as `12` or `1.5`, of at most 15 digits, rounded as any other is: the standard library's reader of all numbers
/// there are is large.
pub fn decimal(text: &str) -> Option<f64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{part}");
    if digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse::<u64>().ok()? as f64 / 10_u64.pow(part.len() as u32) as f64)
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shapes() {
        assert_eq!(
            (size(500), size(20_480), size(20 << 20)),
            ("500 B".into(), "20.0 KiB".into(), "20.0 MiB".into())
        );
        assert_eq!((shape(&[1, 3]), shape(&[])), ("1x3".into(), "scalar".into()));
    }

    #[test]
    fn decimals_are_those_of_the_standard_library() {
        for text in
            ["0", "7", "007", "0.08", "1.5", ".5", "5.", "0.1", "999999999999.999", "0.00000000000001"]
        {
            assert_eq!(decimal(text), text.parse().ok(), "{text}");
        }
        for wrong in ["", ".", "-1", "+1", "1e3", "1.2.3", "nan", "1 ", "1234567890123456"] {
            assert_eq!(decimal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn core_lists() {
        assert_eq!(parse_cores("4-6,1").unwrap().0, [1, 4, 5, 6]);
        assert!(parse_cores("a").is_err() && parse_cores("1,x").is_err() && parse_cores("").is_err());
    }
}
