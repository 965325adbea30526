//! Running sums and products along an axis: [`Op::Cumulate`](cygnet_format::op::Op::Cumulate).
//!
//! Each element is what stands before it in the output taken up with an element of the input, so that one pass over
//! adjacent columns does it.

use cygnet_format::op::{self, CumulateKind};
use cygnet_format::program::{DType, MAX_RANK};

use crate::kernel::{Context, Kernel, PrepareError};
use crate::map::same_dims;
use crate::view::{Mem, View};
use crate::walk::Odometer;

/// Adjacent lines that are done together.
const COLUMNS: usize = 256;

pub(crate) fn prepare(p: &op::Cumulate, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    same_dims(cx, &x, &y)?;
    cx.ensure(x.dtype == y.dtype, || {
        format!("maps {} to {}; both must be of one type", x.dtype.name(), y.dtype.name())
    })?;
    let axis = p.axis as usize;
    cx.ensure(axis < x.rank, || format!("axis {axis} is not one of a tensor of rank {}", x.rank))?;
    let (name, run): (_, Run) = match (x.dtype, p.kind) {
        (DType::F32, CumulateKind::Sum) => ("cumulate_sum_f32", run::<SumF32>),
        (DType::F32, CumulateKind::Prod) => ("cumulate_prod_f32", run::<ProdF32>),
        (DType::S32, CumulateKind::Sum) => ("cumulate_sum_s32", run::<SumS32>),
        (DType::S32, CumulateKind::Prod) => ("cumulate_prod_s32", run::<ProdS32>),
        (other, _) => return Err(cx.error(format!("of {} is not defined", other.name()))),
    };
    let (from, to) = (x.strides(), y.strides());
    let last = axis + 1 == x.rank;
    let mut dims = [1; MAX_RANK];
    let mut strides = [[0; 2]; MAX_RANK];
    for d in (0..x.rank - usize::from(!last)).filter(|&d| d != axis) {
        dims[d] = x.dims[d];
        strides[d] = [to[d], from[d]];
    }
    let outer = Odometer::new(&dims, &strides);
    let columns = if last { 1 } else { x.cols() };
    let line = Line {
        count: x.dims[axis],
        strides: [to[axis], from[axis]],
        exclusive: p.exclusive,
        reverse: p.reverse,
    };
    let outer_per_tile = (16_384 / (line.count * columns.min(COLUMNS))).max(1);
    Ok(Box::new(Cumulate { x, y, outer, columns, line, outer_per_tile, name, run }))
}

/// The elements along the axis: their number, and strides in output and input.
#[derive(Clone, Copy)]
struct Line {
    count: usize,
    strides: [usize; 2],
    exclusive: bool,
    reverse: bool,
}

/// `n` adjacent lines.
type Run = unsafe fn(x: *const u8, y: *mut u8, line: Line, n: usize);

struct Cumulate {
    x: View,
    y: View,
    outer: Odometer<2>,
    columns: usize,
    line: Line,
    outer_per_tile: usize,
    name: &'static str,
    run: Run,
}

// SAFETY: lines lie inside both views; tiles have lines of their own.
unsafe impl Kernel for Cumulate {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.outer.len().div_ceil(self.outer_per_tile) * self.columns.div_ceil(COLUMNS)
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let blocks = self.columns.div_ceil(COLUMNS);
        let first = tile / blocks * self.outer_per_tile;
        let to = (first + self.outer_per_tile).min(self.outer.len());
        let start = tile % blocks * COLUMNS;
        let n = COLUMNS.min(self.columns - start);
        let size = self.x.dtype.size();
        // SAFETY: `mem` is the memory of these views; the block of lines lies inside both.
        self.outer.each(first, to, |[y, x]| unsafe {
            let x = self.x.ptr::<u8>(mem).add((x + start) * size);
            (self.run)(x, self.y.ptr_mut::<u8>(mem).add((y + start) * size), self.line, n);
        });
    }
}

/// What an element is taken up with.
trait Join {
    type T: Copy;
    const NEUTRAL: Self::T;
    fn join(sum: Self::T, x: Self::T) -> Self::T;
}

macro_rules! joins {
    ($($name:ident $t:ty, $neutral:expr, |$a:ident, $b:ident| $body:expr;)+) => {$(
        struct $name;
        impl Join for $name {
            type T = $t;
            const NEUTRAL: $t = $neutral;
            #[inline(always)]
            fn join($a: $t, $b: $t) -> $t {
                $body
            }
        }
    )+};
}
joins! {
    SumF32 f32, 0.0, |a, b| a + b;
    ProdF32 f32, 1.0, |a, b| a * b;
    SumS32 i32, 0, |a, b| a.wrapping_add(b);
    ProdS32 i32, 1, |a, b| a.wrapping_mul(b);
}

unsafe fn run<J: Join>(x: *const u8, y: *mut u8, line: Line, n: usize) {
    let (x, y) = (x.cast::<J::T>(), y.cast::<J::T>());
    let Line { count, strides: [to, from], exclusive, reverse } = line;
    let place = |i: usize| if reverse { count - 1 - i } else { i };
    // SAFETY: the caller vouches for `count` elements of each of `n` adjacent lines in both.
    unsafe {
        for i in 0..count {
            let row = y.add(place(i) * to);
            for c in 0..n {
                let before = if i == 0 { J::NEUTRAL } else { *y.add(place(i - 1) * to + c) };
                *row.add(c) = match (exclusive, i) {
                    (false, _) => J::join(before, *x.add(place(i) * from + c)),
                    (true, 0) => J::NEUTRAL,
                    (true, _) => J::join(before, *x.add(place(i - 1) * from + c)),
                };
            }
        }
    }
}

pub mod oracle {
    //! The definition for one line.

    /// Running results over `line` from `start` by `join`.
    pub fn cumulate<T: Copy>(
        line: &[T],
        start: T,
        join: fn(T, T) -> T,
        exclusive: bool,
        reverse: bool,
    ) -> Vec<T> {
        let mut order: Vec<usize> = (0..line.len()).collect();
        if reverse {
            order.reverse();
        }
        let mut out = line.to_vec();
        let mut sum = start;
        for i in order {
            let next = join(sum, line[i]);
            out[i] = if exclusive { sum } else { next };
            sum = next;
        }
        out
    }
}
