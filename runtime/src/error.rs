//! What can go wrong between a file and a result.

use std::io;
use std::path::PathBuf;

use cygnet_format::FormatError;
use cygnet_format::program::DType;
use cygnet_kernels::cpu::CpuError;
use cygnet_kernels::exec::ExecError;

/// An error of the runtime: what was found, what was expected, what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("cannot open {}: {source}; check the name and that you may read it", .path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: Box<FormatError> },
    #[error(transparent)]
    Format(Box<FormatError>),
    #[error(
        "the file's weights are packed in layout {file}, this runtime's kernels take layout {own}; convert the model again with this version"
    )]
    Layout { file: u32, own: u32 },
    #[error("program '{program}': {source}")]
    Prepare { program: String, source: ExecError },
    #[error(transparent)]
    Run(ExecError),
    #[error(transparent)]
    Cpu(#[from] CpuError),
    #[error("there is no memory for a copy of {0} bytes of the model; open the file by its path to map it")]
    NoMemory(usize),
    #[error("there is no program '{wanted}'; the file has {}", list(.have))]
    NoProgram { wanted: String, have: Vec<String> },
    #[error("there is no {what} '{wanted}'; the program has {}", list(.have))]
    NoTensor { what: &'static str, wanted: String, have: Vec<String> },
    #[error("'{name}' is {} where {} was given; {}", .want.name(), .got.name(), type_advice(*.want, *.got))]
    Type { name: String, want: DType, got: DType },
    #[error("'{name}' has shape {want:?}, {got:?} was given; reshape the array{}", shape_advice(.want, .got))]
    Shape { name: String, want: Vec<u32>, got: Vec<u32> },
    #[error("'{name}': {got} bytes do not hold an array of shape {dims:?} and type {}", .dtype.name())]
    Size { name: String, dims: Vec<u32>, dtype: DType, got: usize },
    #[error(
        "'{name}', element {index} is {value}, outside the 32-bit integers the input takes; correct the array"
    )]
    Range { name: String, index: usize, value: i64 },
    #[error("input '{name}', element {index} is {value}; give finite numbers")]
    NotFinite { name: String, index: usize, value: f32 },
    #[error("no value was given to input {} since the last run; set every input before running", list(.0))]
    NotSet(Vec<String>),
    #[error("there are no results: run the session after its inputs were set, then read the outputs")]
    NoResults,
    #[error("{0} threads were asked for; 1 to {max} are possible", max = crate::pool::MAX_THREADS)]
    Threads(usize),
    #[error("core {core} is not one this process may use ({}); choose among them", numbers(.allowed))]
    Core { core: usize, allowed: Vec<usize> },
    #[error("{threads} threads on {cores} cores: give as many cores as threads, or leave one of the two out")]
    CoresForThreads { threads: usize, cores: usize },
    #[error("a worker thread could not be started: {0}; use fewer threads")]
    Spawn(io::Error),
    #[error("the profile is of another program; make one from this session")]
    Profile,
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        Self::Format(Box::new(error))
    }
}

pub(crate) fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<_> = names.iter().map(|n| format!("'{n}'")).collect();
    quoted.join(", ")
}

fn numbers(of: &[usize]) -> String {
    of.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

fn type_advice(want: DType, got: DType) -> &'static str {
    match (want, got) {
        (DType::F32, DType::U8) => {
            "convert the array with the model's own scaling, for an image for example (pixels / 255), as float32"
        }
        (DType::F32, DType::S8) => "give real numbers as float32, not quantized ones",
        (DType::S8, DType::U8) => "subtract 128 and convert to int8, or give real numbers as float32",
        (DType::F32, _) => "convert the array to float32",
        (DType::F16, _) => "convert the array to float16",
        (DType::S8, _) => "convert the array to int8, or to float32 to have it quantized",
        (DType::U8, _) => "convert the array to uint8",
        (DType::S16, _) => "convert the array to int16",
        (DType::S32, _) => "convert the array to int32",
        (DType::S64, _) => "convert the array to int64",
        (DType::Packed, _) => "packed bytes cannot be given",
    }
}

fn shape_advice(want: &[u32], got: &[u32]) -> &'static str {
    match (want, got) {
        (&[n, h, w, c], &[gn, gc, gh, gw]) if n == gn && (h, w, c) == (gh, gw, gc) => {
            " (it looks like NCHW; the model takes NHWC: transpose it by 0, 2, 3, 1)"
        }
        (&[n, c, h, w], &[gn, gh, gw, gc]) if n == gn && (h, w, c) == (gh, gw, gc) => {
            " (it looks like NHWC; the model takes NCHW: transpose it by 0, 3, 1, 2)"
        }
        _ => " or convert the model for that shape",
    }
}
