//! A prepared step, and what preparing one may find wrong.

use std::ops::Range;

use cygnet_format::program::{DType, Step, Storage, Tensor};

use crate::cpu::Cpu;
use crate::view::{Mem, View};

/// Most bytes of scratch that any kernel asks for: half of a small second-level cache.
pub const MAX_SCRATCH: usize = 256 << 10;

/// A step with everything resolved: operands, implementation, tiles.
///
/// # Safety
/// `run_tile` of different tiles must write disjoint memory, all of it inside the output that the step
/// was prepared with, and must read only inside its operands (and `READ_SLACK` bytes past their ends, without
/// using what it finds there), for whatever bytes those hold.
pub unsafe trait Kernel: Send + Sync {
    /// Name of the implementation: its whole description, as `conv_s8_4x8c4_avx2`.
    fn name(&self) -> &'static str;

    /// Number of tiles: independent pieces of work, in any order, on any thread.
    fn tiles(&self) -> usize;

    /// Multiply-accumulates of the whole step; 0 where that is no measure.
    fn macs(&self) -> u64 {
        0
    }

    /// Bytes of scratch that a thread needs while it does a tile, at most [`MAX_SCRATCH`].
    fn scratch(&self) -> usize {
        0
    }

    /// Does one tile.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared against, `tile < tiles()`, no other thread does the same
    /// tile, and nothing else reads or writes the step's output or writes its inputs meanwhile.
    unsafe fn run_tile(&self, mem: &Mem, tile: usize);

    /// Rows of the output (all its dimensions but the last), where any of them can be done by themselves: of inputs with
    /// as many rows, one reads the same row and no further, of others what it likes. 0 where they cannot.
    fn rows(&self) -> usize {
        0
    }

    /// Does some rows: what they hold is the same, however they are grouped.
    ///
    /// # Safety
    /// As [`Self::run_tile`], `rows` being of those that [`Self::rows`] counts; but other threads may do other rows, of
    /// this step or of steps that come before or behind it.
    unsafe fn run_rows(&self, _mem: &Mem, _rows: Range<usize>) {
        unreachable!("a kernel that has no rows");
    }
}

/// How a convolution is computed. The results are the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Whichever is estimated to be faster.
    #[default]
    Fastest,
    /// The definition's products.
    Direct,
    /// Winograd's by tiles of 2 x 2 outputs, wherever the step and the processor allow it.
    Winograd2,
    /// Winograd's by tiles of 4 x 4 outputs, likewise.
    Winograd4,
}

/// Why a step cannot be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum PrepareError {
    #[error("step '{step}' ({op}): {what}")]
    Step { step: String, op: &'static str, what: String },
}

/// A step being prepared: typed access to its operands, and errors that name it.
pub struct Context<'a> {
    step: &'a Step,
    tensors: &'a [Tensor],
    weights: &'a [u8],
    cpu: Cpu,
    algorithm: Algorithm,
    threads: usize,
}

/// Threads that steps are cut for where it is not said how many there will be.
const SOME_THREADS: usize = 4;

/// Tiles for each thread: so many that one which is held up does not hold up the others for long.
const TILES_PER_THREAD: usize = 4;

/// The part of a usual tile's work that is still worth a wait of threads for each other: what lies where two threads have
/// written it is read, and written again, faster by both.
const LEAST: usize = 8;

impl<'a> Context<'a> {
    pub(crate) fn new(
        step: &'a Step,
        tensors: &'a [Tensor],
        weights: &'a [u8],
        cpu: Cpu,
        algorithm: Algorithm,
    ) -> Self {
        Self { step, tensors, weights, cpu, algorithm, threads: SOME_THREADS }
    }

    /// The same for a number of threads.
    pub(crate) fn on_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Threads that may take tiles.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// How many tiles a step of much work should have.
    pub(crate) fn tiles(&self) -> usize {
        if self.threads == 1 { 1 } else { self.threads * TILES_PER_THREAD }
    }

    /// The algorithm that is asked for.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How much of `total` units of work a tile should have, where `usual` is worth handing to another thread: all of it
    /// for one thread; else so much that there are some tiles for each thread, and as many for all.
    pub(crate) fn grain(&self, total: usize, usual: usize) -> usize {
        if self.threads == 1 {
            return total.max(1);
        }
        let least = (usual / LEAST).max(1);
        let tiles = (total / least).min(self.tiles().max(total / usual.max(1)));
        let even = if tiles > self.threads { tiles / self.threads * self.threads } else { tiles.max(1) };
        total.div_ceil(even).max(1)
    }

    /// The processor to choose an implementation for.
    pub fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// An error about this step.
    pub fn error(&self, what: impl Into<String>) -> PrepareError {
        self.named(what.into())
    }

    #[cold]
    #[inline(never)]
    fn named(&self, what: String) -> PrepareError {
        PrepareError::Step { step: self.step.name.clone(), op: self.step.op.name(), what }
    }

    /// Fails with `what()` unless `condition` holds.
    #[inline]
    pub fn ensure(&self, condition: bool, what: impl FnOnce() -> String) -> Result<(), PrepareError> {
        if condition { Ok(()) } else { Err(self.named(what())) }
    }

    /// An input that may be left out.
    pub fn optional(&self, i: usize) -> Option<View> {
        let id = self.step.inputs.get(i).copied().flatten()?;
        Some(View::new(&self.tensors[id as usize]))
    }

    /// An input that must be there.
    pub fn input(&self, i: usize) -> Result<View, PrepareError> {
        self.optional(i).ok_or_else(|| self.error(format!("input {i} is missing")))
    }

    /// An input that must be there, of this type.
    pub fn typed(&self, i: usize, dtype: DType) -> Result<View, PrepareError> {
        let v = self.input(i)?;
        self.ensure(v.dtype == dtype, || {
            format!("input {i} is {} where {} is needed", v.dtype.name(), dtype.name())
        })?;
        Ok(v)
    }

    /// A constant one-dimensional or dense input of this type with exactly `len` elements.
    pub fn constant(&self, i: usize, dtype: DType, len: usize) -> Result<View, PrepareError> {
        let v = self.typed(i, dtype)?;
        self.ensure(v.storage == Storage::Weights && v.is_dense() && v.len() == len, || {
            format!("input {i} must be a dense constant of {len} elements; it has {}", v.len())
        })?;
        Ok(v)
    }

    /// The bytes of a constant input, to check its contents.
    pub fn constant_bytes(&self, v: &View) -> &'a [u8] {
        &self.weights[v.offset..v.offset + v.extent()]
    }

    /// The zero point that an s8 product of this step is requantized to: that of its table's domain, which the table
    /// (input `table`) carries, or the output's when there is no table or it carries none.
    pub fn product_zero_point(&self, table: usize) -> Result<i32, PrepareError> {
        let quant = self.optional(table).and_then(|t| t.quant).or(self.output().quant);
        let zero_point = quant.ok_or_else(|| self.error("output is not quantized"))?.zero_point;
        self.ensure((-128..=127).contains(&zero_point), || format!("zero point {zero_point} is outside s8"))?;
        Ok(zero_point)
    }

    /// The output.
    pub fn output(&self) -> View {
        View::new(&self.tensors[self.step.output as usize])
    }
}
