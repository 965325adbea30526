//! The index of the greatest or least element along an axis.
//!
//! Elements are taken in ascending order from index 0 on; one replaces the best so far when it is greater (less),
//! or equal where the last of equals wins. NaN never replaces, and gives way to anything but NaN.

use cygnet_format::op;
use cygnet_format::program::{DType, MAX_RANK};

use super::COLUMNS;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::key::Key;
use crate::simd::F16;
use crate::view::{Mem, View};
use crate::walk::Odometer;

pub(crate) fn prepare(p: &op::ArgReduce, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    let axis = p.axis as usize;
    cx.ensure(axis < x.rank, || format!("axis {axis} is not one of an input of rank {}", x.rank))?;
    let fits = y.rank == x.rank && (0..x.rank).all(|d| y.dims[d] == if d == axis { 1 } else { x.dims[d] });
    cx.ensure(fits, || format!("{:?} without axis {axis} does not give {:?}", x.dims(), y.dims()))?;
    cx.ensure(y.dtype == DType::S32, || format!("writes {} where s32 is needed", y.dtype.name()))?;
    let (from, to) = (x.strides(), y.strides());
    let last = axis + 1 == x.rank;
    let mut dims = [1; MAX_RANK];
    let mut strides = [[0; 2]; MAX_RANK];
    for d in (0..x.rank - 1).filter(|&d| d != axis) {
        dims[d] = x.dims[d];
        strides[d] = [to[d], from[d]];
    }
    let kept = Odometer::new(&dims, &strides);
    let columns = if last { 1 } else { x.cols() };
    let order = match (p.min, p.last) {
        (false, false) => 0,
        (false, true) => 1,
        (true, false) => 2,
        (true, true) => 3,
    };
    let (name, run): (_, Run) = match x.dtype {
        DType::F32 => ("arg_reduce_f32", table::<f32>(order)),
        DType::F16 => ("arg_reduce_f16", table::<F16>(order)),
        DType::S8 => ("arg_reduce_s8", table::<i8>(order)),
        DType::U8 => ("arg_reduce_u8", table::<u8>(order)),
        DType::S32 => ("arg_reduce_s32", table::<i32>(order)),
        other => return Err(cx.error(format!("of {} is not defined", other.name()))),
    };
    let (count, stride) = (x.dims[axis], from[axis]);
    let outputs_per_tile = cx.grain(x.len(), 32_768).div_ceil(count * columns.min(COLUMNS));
    Ok(Box::new(ArgReduce { x, y, kept, columns, count, stride, outputs_per_tile, name, run }))
}

/// `n <= COLUMNS` adjacent outputs, each over `count` elements `stride` apart.
type Run = unsafe fn(x: *const u8, count: usize, stride: usize, n: usize, y: *mut i32);

struct ArgReduce {
    x: View,
    y: View,
    kept: Odometer<2>,
    /// Adjacent outputs.
    columns: usize,
    count: usize,
    stride: usize,
    outputs_per_tile: usize,
    name: &'static str,
    run: Run,
}

// SAFETY: positions lie inside both views; tiles are disjoint in the output.
unsafe impl Kernel for ArgReduce {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.kept.len().div_ceil(self.outputs_per_tile) * self.columns.div_ceil(COLUMNS)
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let blocks = self.columns.div_ceil(COLUMNS);
        let first = tile / blocks * self.outputs_per_tile;
        let to = (first + self.outputs_per_tile).min(self.kept.len());
        let start = tile % blocks * COLUMNS;
        let n = COLUMNS.min(self.columns - start);
        let size = self.x.dtype.size();
        // SAFETY: `mem` is the memory of these views; the block lies inside both.
        self.kept.each(first, to, |[y, x]| unsafe {
            let x = self.x.ptr::<u8>(mem).add((x + start) * size);
            (self.run)(x, self.count, self.stride, n, self.y.ptr_mut::<i32>(mem).add(y + start));
        });
    }
}

fn table<T: Key>(order: usize) -> Run {
    [run::<T, false, false>, run::<T, false, true>, run::<T, true, false>, run::<T, true, true>][order]
}

unsafe fn run<T: Key, const MIN: bool, const LAST: bool>(
    x: *const u8,
    count: usize,
    stride: usize,
    n: usize,
    y: *mut i32,
) {
    let x = x.cast::<T>();
    let beats = |v: T::Ord, best: T::Ord| {
        (match (MIN, LAST) {
            (false, false) => v > best,
            (false, true) => v >= best,
            (true, false) => v < best,
            (true, true) => v <= best,
        }) || (T::is_nan(best) && !T::is_nan(v))
    };
    // SAFETY: the caller vouches for `count` elements of each of `n` columns, and for `n` outputs.
    unsafe {
        let mut best = [(*x).key(); COLUMNS];
        for i in 0..n {
            best[i] = (*x.add(i)).key();
            *y.add(i) = 0;
        }
        for k in 1..count {
            for i in 0..n {
                let v = (*x.add(k * stride + i)).key();
                if beats(v, best[i]) {
                    best[i] = v;
                    *y.add(i) = k as i32;
                }
            }
        }
    }
}
