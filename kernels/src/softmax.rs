//! Softmax and its logarithm along an axis: [`Op::Softmax`](cygnet_format::op::Op::Softmax).
//!
//! m is the maximum, s the sum of e^(x - m), by the lane tree along the last axis and in ascending order along
//! others; then y = e^(x - m) * (1 / s), or (x - m) - ln(s). Of s8, e^(x - m) comes from a table over the 256
//! differences.

mod last;
mod quantized;

#[cfg(test)]
mod tests;

use cygnet_format::op;
use cygnet_format::program::{DType, MAX_RANK};

use self::last::{FOUR, pick_lines};
use crate::cpu::Cpu;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::map::same_dims;
use crate::math::{self, exp_neg};
use crate::reduce::COLUMNS;
use crate::reduce::float::{ColumnsFn, Max, RowFn, SumExpNeg, pick_columns, pick_row};
use crate::simd::{
    Elem, F16, Isa, LANES, MAX_LANES, V8, isa_name, load_part, load_some, per_isa, reduce_lanes, store_part,
};
use crate::view::{Mem, View};
use crate::walk::Odometer;

/// The geometry of a function along an axis: lines of `count` elements, `stride` apart, at adjacent columns.
pub(crate) struct Lines {
    x: View,
    y: View,
    /// Positions in `y` and `x` over all axes but the last and the function's own.
    outer: Odometer<2>,
    /// Adjacent lines; 1 when the axis is the last one.
    columns: usize,
    /// Whether the axis is the last one.
    last: bool,
    count: usize,
    /// Strides along the axis in `x` and `y`.
    stride: [usize; 2],
    per_tile: usize,
}

impl Lines {
    fn new(cx: &Context<'_>, axis: u32, x: View, y: View) -> Result<Self, PrepareError> {
        same_dims(cx, &x, &y)?;
        let axis = axis as usize;
        cx.ensure(axis < x.rank, || format!("axis {axis} is not one of a tensor of rank {}", x.rank))?;
        let (from, to) = (x.strides(), y.strides());
        let mut dims = [1; MAX_RANK];
        let mut strides = [[0; 2]; MAX_RANK];
        for d in (0..x.rank - 1).filter(|&d| d != axis) {
            dims[d] = x.dims[d];
            strides[d] = [to[d], from[d]];
        }
        let outer = Odometer::new(&dims, &strides);
        let last = axis + 1 == x.rank;
        let columns = if last { 1 } else { x.cols() };
        let count = x.dims[axis];
        let per_tile = cx.grain(x.len(), 8_192).div_ceil(count * columns.min(COLUMNS));
        Ok(Self { x, y, outer, columns, last, count, stride: [from[axis], to[axis]], per_tile })
    }

    fn tiles(&self) -> usize {
        self.outer.len().div_ceil(self.per_tile) * self.columns.div_ceil(COLUMNS)
    }

    /// Calls `f` with the offsets in `y` and `x` of each block of lines of a tile, and their number.
    fn tile(&self, tile: usize, mut f: impl FnMut(usize, usize, usize)) {
        let blocks = self.columns.div_ceil(COLUMNS);
        let first = tile / blocks * self.per_tile;
        let to = (first + self.per_tile).min(self.outer.len());
        let start = tile % blocks * COLUMNS;
        let n = COLUMNS.min(self.columns - start);
        self.outer.each(first, to, |[y, x]| f(y + start, x + start, n));
    }

    /// Calls `four` with so many of a tile's lines along the last axis at a time, the last one repeated if need be.
    ///
    /// # Safety
    /// `from` and `to` are the first elements of input and output.
    unsafe fn last_axis<T>(
        &self,
        tile: usize,
        from: *const T,
        to: *mut T,
        four: impl Fn(&[*const T; FOUR], &[*mut T; FOUR]),
    ) {
        let (mut x, mut y, mut filled) = ([from; FOUR], [to; FOUR], 0);
        self.tile(tile, |to_y, to_x, _| {
            // SAFETY: positions of lines.
            let (line_x, line_y) = unsafe { (from.add(to_x), to.add(to_y)) };
            x[filled..].fill(line_x);
            y[filled..].fill(line_y);
            filled = (filled + 1) % FOUR;
            if filled == 0 {
                four(&x, &y);
            }
        });
        if filled > 0 {
            four(&x, &y);
        }
    }
}

pub(crate) fn prepare(p: &op::Softmax, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    cx.ensure(x.dtype == y.dtype, || {
        format!("maps {} to {}; both must be of one type", x.dtype.name(), y.dtype.name())
    })?;
    let lines = Lines::new(cx, p.axis, x, y)?;
    match x.dtype {
        DType::F32 => Ok(Box::new(Softmax::<f32>::new(lines, p.log, cx.cpu()))),
        DType::F16 => Ok(Box::new(Softmax::<F16>::new(lines, p.log, cx.cpu()))),
        DType::S8 => quantized::kernel(lines, p.log, cx),
        other => Err(cx.error(format!("of {} is not defined", other.name()))),
    }
}

struct Softmax<T> {
    lines: Lines,
    log: bool,
    four: unsafe fn(&[*const T; FOUR], &[*mut T; FOUR], usize),
    max: RowFn<T>,
    sum: unsafe fn(*const T, usize, f32, *mut T) -> f32,
    column_max: ColumnsFn<T>,
    column_sum: ColumnsFn<T>,
    finish: unsafe fn(*const T, *mut T, usize, *const f32, *const f32, usize, Last),
    name: &'static str,
}

/// How the result follows from an element.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    /// e^(x - m) * k
    Scale,
    /// (x - m) - k
    Log,
}

impl<T: Elem> Softmax<T> {
    fn new(lines: Lines, log: bool, cpu: Cpu) -> Self {
        let (isa, wide) = (Isa::of(cpu), Isa::wide(cpu));
        let name = match (log, size_of::<T>()) {
            (false, 4) => isa_name!(wide, "softmax_f32"),
            (false, _) => isa_name!(wide, "softmax_f16"),
            (true, 4) => isa_name!(wide, "log_softmax_f32"),
            (true, _) => isa_name!(wide, "log_softmax_f16"),
        };
        Self {
            lines,
            log,
            four: pick_lines::<T>(wide),
            max: pick_row::<T, Max>(isa),
            sum: pick_sum::<T>(wide),
            column_max: pick_columns::<T, Max>(isa),
            column_sum: pick_columns::<T, SumExpNeg>(isa),
            finish: pick_finish::<T>(wide),
            name,
        }
    }

    /// The logarithm of one line along the last axis.
    ///
    /// # Safety
    /// `x` and `y` have `count` elements.
    unsafe fn log_line(&self, x: *const T, y: *mut T) {
        let n = self.lines.count;
        // SAFETY: as the caller vouches.
        unsafe {
            let m = (self.max)(x, n, 0.0);
            let s = (self.sum)(x, n, m, std::ptr::null_mut());
            let (m, k) = ([m; MAX_LANES], [self.last_term(s); MAX_LANES]);
            (self.finish)(x, y, n, m.as_ptr(), k.as_ptr(), 0, Last::Log);
        }
    }

    /// `n` adjacent lines.
    ///
    /// # Safety
    /// `x` and `y` have `count` rows of `n` elements, at the strides of the lines.
    unsafe fn block(&self, x: *const T, y: *mut T, n: usize) {
        let Lines { count, stride, .. } = self.lines;
        let (mut m, mut k) = ([f32::NEG_INFINITY; COLUMNS], [0.0; COLUMNS]);
        // SAFETY: as the caller vouches; the arrays hold a block.
        unsafe {
            (self.column_max)(x, count, stride[0], n, k.as_ptr(), m.as_mut_ptr());
            (self.column_sum)(x, count, stride[0], n, m.as_ptr(), k.as_mut_ptr());
            k[..n].iter_mut().for_each(|s| *s = self.last_term(*s));
            for i in 0..count {
                let (x, y) = (x.add(i * stride[0]), y.add(i * stride[1]));
                (self.finish)(x, y, n, m.as_ptr(), k.as_ptr(), 1, self.last());
            }
        }
    }

    fn last(&self) -> Last {
        if self.log { Last::Log } else { Last::Scale }
    }

    /// 1 / s, or ln(s).
    fn last_term(&self, s: f32) -> f32 {
        if self.log { math::scalar::log(s) } else { 1.0 / s }
    }
}

// SAFETY: lines lie inside both views; tiles are disjoint in the output.
unsafe impl<T: Elem> Kernel for Softmax<T> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.lines.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        // SAFETY: `mem` is the memory of these views.
        let (from, to) = unsafe { (self.lines.x.ptr::<T>(mem), self.lines.y.ptr_mut::<T>(mem)) };
        let Lines { last, count, .. } = self.lines;
        // SAFETY: positions come from the lines.
        unsafe {
            match (last, self.log) {
                (true, false) => {
                    self.lines.last_axis(tile, from, to, |x, y| (self.four)(x, y, count));
                }
                (true, true) => self.lines.tile(tile, |y, x, _| self.log_line(from.add(x), to.add(y))),
                (false, _) => self.lines.tile(tile, |y, x, n| self.block(from.add(x), to.add(y), n)),
            }
        }
    }
}

per_isa! {
    wide fn pick_sum[T: Elem](x: *const T, n: usize, m: f32, keep: *mut T) -> f32 = sum
}
per_isa! {
    wide fn pick_finish[T: Elem](
        x: *const T, y: *mut T, n: usize, m: *const f32, k: *const f32, step: usize, last: Last,
    ) = finish
}

/// Sum of e^(x - m) by the lane tree; the terms are stored unless `keep` is null.
///
/// # Safety
/// `x` and, unless null, `keep` have `n` elements.
#[inline(always)]
pub(crate) unsafe fn sum<V: V8, T: Elem>(x: *const T, n: usize, m: f32, keep: *mut T) -> f32 {
    let m = V::splat(m);
    let mut lanes = [0.0; LANES];
    let whole = n - n % V::LANES;
    let mut i = 0;
    while i < whole {
        // SAFETY: the elements from i on are within n.
        unsafe {
            let e = exp_neg(T::load::<V>(x.add(i)).sub(m));
            e.accumulate(&mut lanes);
            if !keep.is_null() {
                T::store(e, keep.add(i));
            }
        }
        i += V::LANES;
    }
    if whole < n {
        let rest = n - whole;
        // SAFETY: `rest` elements are left, fewer than lanes.
        unsafe {
            let e = exp_neg(load_part(x.add(whole), rest, T::default(), T::load::<V>).sub(m));
            e.accumulate_some(rest, &mut lanes);
            if !keep.is_null() {
                store_part(e, keep.add(whole), rest, T::store);
            }
        }
    }
    reduce_lanes(lanes, |a, b| a + b)
}

/// The results of `n` elements; `m` and `k` advance by `step`, and have as many elements as lanes when that is 0.
#[inline(always)]
unsafe fn finish<V: V8, T: Elem>(
    x: *const T,
    y: *mut T,
    n: usize,
    m: *const f32,
    k: *const f32,
    step: usize,
    last: Last,
) {
    for i in (0..n).step_by(V::LANES) {
        let part = V::LANES.min(n - i);
        // SAFETY: `part` elements from i on are within n; `m` and `k` as the caller vouches.
        unsafe {
            let wide = if step == 0 { V::LANES } else { part };
            let m = load_some::<V, f32>(m.add(i * step), wide);
            let k = load_some::<V, f32>(k.add(i * step), wide);
            let v = load_some::<V, T>(x.add(i), part);
            let r = match last {
                Last::Scale => exp_neg(v.sub(m)).mul(k),
                Last::Log => v.sub(m).sub(k),
            };
            if part == V::LANES { T::store(r, y.add(i)) } else { store_part(r, y.add(i), part, T::store) }
        }
    }
}
