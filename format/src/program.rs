//! A program in memory: what the writer takes and the reader gives.

use crate::op::Op;

/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 6;

/// Bytes past the end of a tensor that a kernel may read (never use): the planner keeps them inside the
/// arena and clear of the step's outputs, the packer inside the weights section.
pub const READ_SLACK: usize = 32;

/// Alignment of arena offsets, in bytes.
pub const ARENA_ALIGN: usize = 64;

/// Element type of a tensor in a program. Codes are those of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DType {
    /// IEEE binary32.
    F32 = 1,
    /// IEEE binary16.
    F16 = 2,
    /// Signed byte; quantized when the tensor has a scale.
    S8 = 3,
    /// Unsigned byte; also booleans, as 0 and 1.
    U8 = 4,
    /// Signed 16-bit integer.
    S16 = 5,
    /// Signed 32-bit integer.
    S32 = 6,
    /// Signed 64-bit integer; only at a program's inputs and outputs, and in `convert` and `copy` steps.
    S64 = 7,
    /// Bytes of a kernel's own layout (packed weights).
    Packed = 8,
}

impl DType {
    /// Every element type.
    pub const ALL: &'static [Self] =
        &[Self::F32, Self::F16, Self::S8, Self::U8, Self::S16, Self::S32, Self::S64, Self::Packed];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::S8 | Self::U8 | Self::Packed => 1,
            Self::F16 | Self::S16 => 2,
            Self::F32 | Self::S32 => 4,
            Self::S64 => 8,
        }
    }

    /// The type of a code in a file.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|&t| t as u8 == code)
    }

    /// The name in listings.
    #[inline(never)]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::S8 => "s8",
            Self::U8 => "u8",
            Self::S16 => "s16",
            Self::S32 => "s32",
            Self::S64 => "s64",
            Self::Packed => "packed",
        }
    }
}

/// Where a tensor's bytes are. Codes are those of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Storage {
    /// In the session's arena, at an offset from its start.
    Arena = 1,
    /// In the weights section, at an offset from its start.
    Weights = 2,
}

/// Scale and zero point of a quantized tensor: `real = scale * (q - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// Real value of one step; finite and above zero.
    pub scale: f32,
    /// The quantized value of zero, in [-128, 127] for s8.
    pub zero_point: i32,
}

/// One tensor of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name, for people: the source model's, or one derived from it.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Where the bytes are.
    pub storage: Storage,
    /// Offset in bytes from the start of the storage; a multiple of the element size.
    pub offset: u64,
    /// Dimensions, none of them zero, at most [`MAX_RANK`] of them; empty for a scalar.
    pub dims: Vec<u32>,
    /// Elements between the starts of consecutive rows of the last dimension; at least that dimension.
    pub pitch: u32,
    /// Scale and zero point, when quantized.
    pub quant: Option<Quant>,
}

impl Tensor {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().map(|&d| u64::from(d)).product()
    }

    /// Extent of the last dimension; 1 for a scalar.
    pub fn cols(&self) -> u64 {
        self.dims.last().map_or(1, |&d| u64::from(d))
    }

    /// Number of rows: the product of all dimensions but the last.
    pub fn rows(&self) -> u64 {
        self.elements() / self.cols()
    }

    /// Bytes from the first element's start to the last one's end.
    pub fn extent(&self) -> u64 {
        ((self.rows() - 1) * u64::from(self.pitch) + self.cols()) * self.dtype.size() as u64
    }
}

/// Index of a tensor in [`Program::tensors`].
pub type TensorId = u32;

/// One step of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name, for people: that of the source node.
    pub name: String,
    /// What to do.
    pub op: Op,
    /// Inputs by position; `None` for an optional one left out.
    pub inputs: Vec<Option<TensorId>>,
    /// The output.
    pub output: TensorId,
}

/// A program's input or output as users see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name in the source model.
    pub name: String,
    /// The tensor: in the arena, its pitch equal to its last dimension.
    pub tensor: TensorId,
}

/// A tensor that a run finds as the run before left it.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Name in the source model.
    pub name: String,
    /// The tensor: in the arena, its pitch equal to its last dimension.
    pub tensor: TensorId,
    /// What it holds before the first run: a tensor of the weights of the same type and dimensions; zero bytes
    /// without one.
    pub initial: Option<TensorId>,
}

/// Steps over tensors whose places are all decided.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Program {
    /// Name, to choose among several programs of a file.
    pub name: String,
    /// Tensors.
    pub tensors: Vec<Tensor>,
    /// Steps, in the order in which they run.
    pub steps: Vec<Step>,
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
    /// States: what persists from run to run.
    pub states: Vec<State>,
    /// Bytes of the arena: all the memory that running the program takes.
    pub arena_bytes: u64,
    /// The most bytes that any one step needs alive at once: no plan can need less than this.
    pub arena_lower_bound: u64,
}
