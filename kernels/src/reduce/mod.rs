//! Reductions: [`Op::Reduce`](cygnet_format::op::Op::Reduce) and [`Op::ArgReduce`](cygnet_format::op::Op::ArgReduce).
//!
//! Order. Where the last axis is reduced, each row of it is reduced by the lane tree (lane i takes elements i,
//! i + 8, ...; then lanes 4, 2 and 1 apart are joined), and the rows' results are joined one by one, in ascending
//! order. Where it is not, each output joins its elements one by one, in ascending order. Integers are exact, so
//! that order does not matter.

mod arg;
pub(crate) mod float;
mod integer;

#[cfg(test)]
mod tests;

use cygnet_format::op;
use cygnet_format::program::{DType, MAX_RANK};

pub(crate) use arg::prepare as prepare_arg;

use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::View;
use crate::walk::Odometer;

/// Columns that a tile of a reduction of outer axes does at once.
pub(crate) const COLUMNS: usize = 256;

/// The geometry of a reduction.
pub(crate) struct Plan {
    x: View,
    y: View,
    /// Positions of outputs (0: in `y`, 1: in `x`) over all axes that are kept but the last.
    kept: Odometer<2>,
    /// Positions of the rows that each output reduces, in `x`, over all reduced axes but the last.
    reduced: Odometer<1>,
    /// Extent of the last axis, and whether it is reduced.
    cols: usize,
    last: bool,
    /// Elements that each output reduces.
    count: usize,
    outputs_per_tile: usize,
}

impl Plan {
    fn new(cx: &Context<'_>, axes: u32, x: View, y: View) -> Result<Self, PrepareError> {
        let rank = x.rank;
        cx.ensure(axes >> rank == 0, || format!("axes {axes:#b} are not all of an input of rank {rank}"))?;
        let reduces = |d: usize| axes >> d & 1 == 1;
        let fits = y.rank == rank && (0..rank).all(|d| y.dims[d] == if reduces(d) { 1 } else { x.dims[d] });
        cx.ensure(fits, || {
            format!("{:?} reduced over axes {axes:#b} does not give {:?}", x.dims(), y.dims())
        })?;
        let (from, to) = (x.strides(), y.strides());
        let mut kept = ([1; MAX_RANK], [[0; 2]; MAX_RANK]);
        let mut reduced = ([1; MAX_RANK], [[0; 1]; MAX_RANK]);
        for d in 0..rank.saturating_sub(1) {
            if reduces(d) {
                reduced.0[d] = x.dims[d];
                reduced.1[d] = [from[d]];
            } else {
                kept.0[d] = x.dims[d];
                kept.1[d] = [to[d], from[d]];
            }
        }
        let (kept, reduced) = (Odometer::new(&kept.0, &kept.1), Odometer::new(&reduced.0, &reduced.1));
        let cols = x.cols();
        let last = rank > 0 && reduces(rank - 1);
        let count = reduced.len() * if last { cols } else { 1 };
        let columns = if last { 1 } else { cols.min(COLUMNS) };
        let outputs_per_tile = cx.grain(x.len(), 32_768).div_ceil(count * columns);
        Ok(Self { x, y, kept, reduced, cols, last, count, outputs_per_tile })
    }

    fn column_blocks(&self) -> usize {
        if self.last { 1 } else { self.cols.div_ceil(COLUMNS) }
    }

    /// Outputs, where each reduces one row of the input and nothing else; else 0.
    fn by_rows(&self) -> usize {
        if self.last && self.count == self.cols { self.kept.len() } else { 0 }
    }

    fn tiles(&self) -> usize {
        self.kept.len().div_ceil(self.outputs_per_tile) * self.column_blocks()
    }

    /// Calls `f` for each output (or block of columns of an output row) of a tile, with the offsets in `y` and `x`
    /// of the first and, where columns are kept, their number.
    #[inline]
    fn tile(&self, tile: usize, mut f: impl FnMut(usize, usize, usize)) {
        let blocks = self.column_blocks();
        let first = tile / blocks * self.outputs_per_tile;
        let to = (first + self.outputs_per_tile).min(self.kept.len());
        let start = tile % blocks * COLUMNS;
        let n = if self.last { 1 } else { COLUMNS.min(self.cols - start) };
        self.kept.each(first, to, |[y, x]| f(y + start, x + start, n));
    }

    /// Calls `f` with each run of rows that an output at `x` reduces: offset, number of rows, their stride.
    #[inline]
    fn rows(&self, x: usize, mut f: impl FnMut(usize, usize, usize)) {
        let mut outer = self.reduced;
        let (rows, [stride]) = outer.pop();
        outer.each(0, outer.len(), |[at]| f(x + at, rows, stride));
    }
}

pub(crate) fn prepare(p: &op::Reduce, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    cx.ensure(x.dtype == y.dtype, || {
        format!("reduces {} to {}; both must be of one type", x.dtype.name(), y.dtype.name())
    })?;
    let plan = Plan::new(cx, p.axes, x, y)?;
    match x.dtype {
        DType::F32 | DType::F16 => Ok(float::kernel(p.kind, plan, cx.cpu())),
        DType::S8 | DType::S32 => integer::kernel(p, plan, cx),
        other => Err(cx.error(format!("reduction of {} is not defined", other.name()))),
    }
}
