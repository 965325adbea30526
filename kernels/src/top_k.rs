//! Indices of the greatest or least elements along an axis: [`Op::TopK`](cygnet_format::op::Op::TopK).
//!
//! The output itself is the heap in which the best so far are kept, the worst of them on top.

use cygnet_format::op;
use cygnet_format::program::{DType, MAX_RANK};

use crate::kernel::{Context, Kernel, PrepareError};
use crate::key::Key;
use crate::simd::F16;
use crate::view::{Mem, View};
use crate::walk::Odometer;

pub(crate) fn prepare(p: &op::TopK, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    let axis = p.axis as usize;
    cx.ensure(axis < x.rank, || format!("axis {axis} is not one of an input of rank {}", x.rank))?;
    let fits = y.rank == x.rank && (0..x.rank).all(|d| d == axis || y.dims[d] == x.dims[d]);
    cx.ensure(fits && y.dims[axis] <= x.dims[axis], || {
        format!("{:?} along axis {axis} does not give {:?}", x.dims(), y.dims())
    })?;
    cx.ensure(y.dtype == DType::S32, || format!("writes {} where s32 is needed", y.dtype.name()))?;
    let (name, run): (_, Run) = match x.dtype {
        DType::F32 => ("top_k_f32", table::<f32>(p.least)),
        DType::F16 => ("top_k_f16", table::<F16>(p.least)),
        DType::S8 => ("top_k_s8", table::<i8>(p.least)),
        DType::U8 => ("top_k_u8", table::<u8>(p.least)),
        DType::S32 => ("top_k_s32", table::<i32>(p.least)),
        other => return Err(cx.error(format!("of {} is not defined", other.name()))),
    };
    let (from, to) = (x.strides(), y.strides());
    let mut dims = [1; MAX_RANK];
    let mut strides = [[0; 2]; MAX_RANK];
    for d in (0..x.rank).filter(|&d| d != axis) {
        dims[d] = x.dims[d];
        strides[d] = [to[d], from[d]];
    }
    let lines = Odometer::new(&dims, &strides);
    let lines_per_tile = (16_384 / x.dims[axis]).max(1);
    let line = Line { count: x.dims[axis], stride: from[axis], k: y.dims[axis], stride_y: to[axis] };
    Ok(Box::new(TopK { x, y, lines, lines_per_tile, line, name, run }))
}

/// The elements along the axis, and the indices to find.
#[derive(Clone, Copy)]
struct Line {
    count: usize,
    stride: usize,
    k: usize,
    stride_y: usize,
}

type Run = unsafe fn(x: *const u8, y: *mut i32, line: Line);

struct TopK {
    x: View,
    y: View,
    lines: Odometer<2>,
    lines_per_tile: usize,
    line: Line,
    name: &'static str,
    run: Run,
}

// SAFETY: lines lie inside both views and do not share elements of the output; tiles have lines of their own.
unsafe impl Kernel for TopK {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.lines.len().div_ceil(self.lines_per_tile)
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let first = tile * self.lines_per_tile;
        let to = (first + self.lines_per_tile).min(self.lines.len());
        let size = self.x.dtype.size();
        // SAFETY: `mem` is the memory of these views; lines lie inside both.
        self.lines.each(first, to, |[y, x]| unsafe {
            (self.run)(self.x.ptr::<u8>(mem).add(x * size), self.y.ptr_mut::<i32>(mem).add(y), self.line);
        });
    }
}

fn table<T: Key>(least: bool) -> Run {
    if least { run::<T, true> } else { run::<T, false> }
}

/// Whether element `a` stands before element `b` in the result.
#[inline(always)]
fn before<T: Key, const LEAST: bool>(a: (T::Ord, usize), b: (T::Ord, usize)) -> bool {
    match (T::is_nan(a.0), T::is_nan(b.0)) {
        (false, true) => true,
        (true, false) => false,
        (true, true) => a.1 < b.1,
        (false, false) => {
            let wins = if LEAST { a.0 < b.0 } else { a.0 > b.0 };
            wins || (a.0 == b.0 && a.1 < b.1)
        }
    }
}

unsafe fn run<T: Key, const LEAST: bool>(x: *const u8, y: *mut i32, line: Line) {
    let x = x.cast::<T>();
    let Line { count, stride, k, stride_y } = line;
    // SAFETY: the caller vouches for `count` elements of the line and `k` of the output; indices put there are below
    // `count`, and positions in the heap below `k`.
    unsafe {
        let key = |i: usize| ((*x.add(i * stride)).key(), i);
        let slot = |i: usize| y.add(i * stride_y);
        // Moves what is at `i` down until nothing below it stands behind it in the result.
        let sift = |mut i: usize, n: usize| loop {
            let mut worst = i;
            for child in [2 * i + 1, 2 * i + 2] {
                if child < n && before::<T, LEAST>(key(*slot(worst) as usize), key(*slot(child) as usize)) {
                    worst = child;
                }
            }
            if worst == i {
                break;
            }
            std::ptr::swap(slot(i), slot(worst));
            i = worst;
        };
        for i in 0..k {
            *slot(i) = i as i32;
        }
        for i in (0..k / 2).rev() {
            sift(i, k);
        }
        for i in k..count {
            if before::<T, LEAST>(key(i), key(*slot(0) as usize)) {
                *slot(0) = i as i32;
                sift(0, k);
            }
        }
        // The worst of those left goes to the end.
        for end in (1..k).rev() {
            std::ptr::swap(slot(0), slot(end));
            sift(0, end);
        }
    }
}

pub mod oracle {
    //! The definition, by sorting.

    use std::cmp::Ordering;

    /// Indices of the first `k` of `line`: the greatest (least) first, of equal ones the first first, NaN last.
    pub fn top_k(line: &[f32], k: usize, least: bool) -> Vec<i32> {
        let mut order: Vec<usize> = (0..line.len()).collect();
        order.sort_by(|&a, &b| {
            let by_value = match (line[a].is_nan(), line[b].is_nan()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => line[b].partial_cmp(&line[a]).expect("numbers"),
            };
            let by_value =
                if least && !line[a].is_nan() && !line[b].is_nan() { by_value.reverse() } else { by_value };
            by_value.then(a.cmp(&b))
        });
        order[..k].iter().map(|&i| i as i32).collect()
    }
}
