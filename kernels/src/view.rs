//! Operands as kernels see them.

use cygnet_format::program::{DType, MAX_RANK, Quant, Storage, Tensor};

/// The two places where operands are: a session's arena and the mapped weights.
#[derive(Clone, Copy)]
pub struct Mem {
    /// First byte of the arena.
    pub arena: *mut u8,
    /// First byte of the weights.
    pub weights: *const u8,
    /// First byte of the calling thread's scratch, aligned to 64 bytes: as much as [`Kernel::scratch`] asked for,
    /// of any content.
    ///
    /// [`Kernel::scratch`]: crate::kernel::Kernel::scratch
    pub scratch: *mut u8,
}

// SAFETY: three addresses. What may be done with them, and when, is the executor's contract.
unsafe impl Send for Mem {}
// SAFETY: as above.
unsafe impl Sync for Mem {}

/// One operand: where it is, its dimensions and element type. Its bounds are proved when its step is prepared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Element type.
    pub dtype: DType,
    /// Which memory.
    pub storage: Storage,
    /// Bytes from the start of it.
    pub offset: usize,
    /// Number of dimensions.
    pub rank: usize,
    /// Dimensions; 1 beyond the rank.
    pub dims: [usize; MAX_RANK],
    /// Elements between the starts of consecutive rows of the last dimension.
    pub pitch: usize,
    /// Scale and zero point, when quantized.
    pub quant: Option<Quant>,
}

impl View {
    /// The view of a tensor whose record has been checked.
    pub fn new(t: &Tensor) -> Self {
        let mut dims = [1; MAX_RANK];
        for (to, &from) in dims.iter_mut().zip(&t.dims) {
            *to = from as usize;
        }
        Self {
            dtype: t.dtype,
            storage: t.storage,
            offset: t.offset as usize,
            rank: t.dims.len(),
            dims,
            pitch: t.pitch as usize,
            quant: t.quant,
        }
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Extent of the last dimension; 1 for a scalar.
    pub fn cols(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Product of all dimensions but the last.
    pub fn rows(&self) -> usize {
        self.dims().iter().rev().skip(1).product()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// Whether there is no element; never for a checked tensor.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the elements follow one another without gaps.
    pub fn is_dense(&self) -> bool {
        self.pitch == self.cols() || self.rows() == 1
    }

    /// Bytes from the first element's start to the last one's end.
    pub fn extent(&self) -> usize {
        ((self.rows() - 1) * self.pitch + self.cols()) * self.dtype.size()
    }

    /// Strides of the dimensions in elements.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for d in (0..self.rank).rev() {
            strides[d] = step;
            step = if d + 1 == self.rank { self.pitch } else { step * self.dims[d] };
        }
        strides
    }

    /// Address of the first element, to read.
    ///
    /// # Safety
    /// `mem` is the memory that the view was checked against.
    pub unsafe fn ptr<T>(&self, mem: &Mem) -> *const T {
        let base = match self.storage {
            Storage::Arena => mem.arena.cast_const(),
            Storage::Weights => mem.weights,
        };
        // SAFETY: the offset was proved to be inside that memory.
        unsafe { base.add(self.offset).cast() }
    }

    /// Address of the first element, to write.
    ///
    /// # Safety
    /// `mem` is the memory that the view was checked against, and the view is an output: in the arena.
    pub unsafe fn ptr_mut<T>(&self, mem: &Mem) -> *mut T {
        debug_assert_eq!(self.storage, Storage::Arena);
        // SAFETY: the offset was proved to be inside the arena.
        unsafe { mem.arena.add(self.offset).cast() }
    }
}
