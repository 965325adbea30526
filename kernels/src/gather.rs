//! Gather: elements of a tensor at computed or constant indices along one axis.

use cygnet_format::op;
use cygnet_format::program::{DType, MAX_RANK};

use crate::copy::run::copy_run;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::{Mem, View};

/// Bytes that a tile writes, about.
const TILE_BYTES: usize = 64 << 10;

struct Gather {
    x: View,
    indices: View,
    y: View,
    /// Extent of the axis in `x`.
    extent: usize,
    /// Number of indices.
    count: usize,
    /// Rows under each index; 0 when the axis is the last one, and single elements are gathered.
    rows: usize,
    /// Number of (outer position, index) pairs, and how many a tile does.
    pairs: usize,
    pairs_per_tile: usize,
}

pub(crate) fn prepare(p: &op::Gather, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, indices, y) = (cx.input(0)?, cx.typed(1, DType::S32)?, cx.output());
    let axis = p.axis as usize;
    cx.ensure(axis < x.rank, || format!("axis {axis} of a tensor of {} dimensions", x.rank))?;
    cx.ensure(x.dtype == y.dtype, || format!("gathers {} into {}", x.dtype.name(), y.dtype.name()))?;
    let want = [&x.dims()[..axis], indices.dims(), &x.dims()[axis + 1..]].concat();
    cx.ensure(want.len() <= MAX_RANK && y.dims() == want, || {
        format!("output dimensions are {:?} where {want:?} belong", y.dims())
    })?;
    let rows = if axis + 1 == x.rank { 0 } else { x.dims()[axis + 1..x.rank - 1].iter().product() };
    let pairs = x.dims()[..axis].iter().product::<usize>() * indices.len();
    let pair_bytes = y.len() / pairs * y.dtype.size();
    Ok(Box::new(Gather {
        x,
        indices,
        y,
        extent: x.dims[axis],
        count: indices.len(),
        rows,
        pairs,
        pairs_per_tile: (TILE_BYTES / pair_bytes).clamp(1, pairs),
    }))
}

impl Gather {
    /// The position along the axis that index number `i` names.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared against; `i < count`.
    #[inline(always)]
    unsafe fn position(&self, mem: &Mem, i: usize) -> usize {
        let at = if self.indices.is_dense() {
            i
        } else {
            i / self.indices.cols() * self.indices.pitch + i % self.indices.cols()
        };
        // SAFETY: `i < count`, so `at` is an element of the indices.
        let k = i64::from(unsafe { self.indices.ptr::<i32>(mem).add(at).read() });
        let extent = self.extent as i64;
        (if k < 0 { k + extent } else { k }).clamp(0, extent - 1) as usize
    }
}

// SAFETY: a tile writes the elements of its own (outer position, index) pairs, whose number `prepare` derived from
// the output's dimensions; positions read are clamped to the axis.
unsafe impl Kernel for Gather {
    fn name(&self) -> &'static str {
        if self.rows == 0 { "gather_elements" } else { "gather_rows" }
    }

    fn tiles(&self) -> usize {
        self.pairs.div_ceil(self.pairs_per_tile)
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let first = tile * self.pairs_per_tile;
        let last = (first + self.pairs_per_tile).min(self.pairs);
        let size = self.y.dtype.size();
        let (x_row, y_row) = (self.x.pitch * size, self.y.pitch * size);
        // SAFETY: as in `Kernel::run_tile`.
        let (x, y) = unsafe { (self.x.ptr::<u8>(mem), self.y.ptr_mut::<u8>(mem)) };
        let y_cols = self.y.cols();
        for pair in first..last {
            // SAFETY: `pair % count` is an index's number.
            let k = unsafe { self.position(mem, pair % self.count) };
            let outer = pair / self.count;
            if self.rows == 0 {
                // SAFETY: `outer` is a row of x and `k` a column; `pair` is an element of y in row-major order.
                unsafe {
                    let from = x.add(outer * x_row + k * size);
                    copy_run(from, y.add(pair / y_cols * y_row + pair % y_cols * size), size);
                }
                continue;
            }
            let (from, to) = ((outer * self.extent + k) * self.rows, pair * self.rows);
            if self.x.is_dense() && self.y.is_dense() {
                // SAFETY: `rows` rows from there on are in x and in y, and rows follow one another without gaps
                // (or there is only one).
                unsafe { copy_run(x.add(from * x_row), y.add(to * y_row), self.rows * y_cols * size) };
                continue;
            }
            for r in 0..self.rows {
                // SAFETY: `from + r` is a row of x and `to + r` one of y, both of `y_cols` columns.
                unsafe { copy_run(x.add((from + r) * x_row), y.add((to + r) * y_row), y_cols * size) };
            }
        }
    }
}

pub mod oracle {
    //! Gather, element by element.

    /// The element of `x` (its dimensions `x_dims`) that stands at row-major position `at` of the output, as a
    /// row-major position in `x`.
    pub fn source(x_dims: &[usize], axis: usize, indices: &[i32], at: usize) -> usize {
        let inner: usize = x_dims[axis + 1..].iter().product();
        let (outer, i, rest) = (at / inner / indices.len(), indices[at / inner % indices.len()], at % inner);
        let extent = x_dims[axis] as i64;
        let k = if i < 0 { (i64::from(i) + extent).max(0) } else { i64::from(i).min(extent - 1) };
        (outer * x_dims[axis] + k as usize) * inner + rest
    }
}
