//! Layer normalization: [`Op::LayerNorm`](cygnet_format::op::Op::LayerNorm).
//!
//! mean = sum / n and variance = sum of (x - mean)^2 / n, each sum by rows of the last axis: the lane tree within a
//! row, rows in ascending order. Then y = fma((x - mean) * r, scale, bias), r = 1 / sqrt(variance + epsilon).

#[cfg(test)]
mod tests;

use std::ops::Range;

use cygnet_format::op;
use cygnet_format::program::{DType, MAX_RANK};

use crate::kernel::{Context, Kernel, PrepareError};
use crate::map::same_dims;
use crate::reduce::float::{FOUR, FourFn, RowFn, Sum, SumDeviation, pick_four, pick_row};
use crate::simd::{Elem, F16, Isa, V8, isa_name, load_some, per_isa, store_part};
use crate::view::{Mem, View};
use crate::walk::Odometer;

pub(crate) fn prepare(p: &op::LayerNorm, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    let (scale, bias) = (cx.input(1)?, cx.optional(2));
    same_dims(cx, &x, &y)?;
    cx.ensure(x.dtype == y.dtype, || {
        format!("maps {} to {}; both must be of one type", x.dtype.name(), y.dtype.name())
    })?;
    let axis = p.axis as usize;
    cx.ensure(axis < x.rank, || format!("axis {axis} is not one of a tensor of rank {}", x.rank))?;
    cx.ensure(p.epsilon >= 0.0, || format!("epsilon {} is not at least 0", p.epsilon))?;
    let count: usize = x.dims[axis..x.rank].iter().product();
    for (what, v) in [("scale", Some(&scale)), ("bias", bias.as_ref())] {
        let Some(v) = v else { continue };
        cx.ensure(v.is_dense() && v.len() == count && v.dtype == scale.dtype, || {
            format!("{what} must be {count} dense elements of {}; it is {:?}", scale.dtype.name(), v.dims())
        })?;
    }
    let (from, to) = (x.strides(), y.strides());
    let between = |range: std::ops::Range<usize>| {
        let mut dims = [1; MAX_RANK];
        let mut strides = [[0; 2]; MAX_RANK];
        for d in range {
            dims[d] = x.dims[d];
            strides[d] = [to[d], from[d]];
        }
        Odometer::new(&dims, &strides)
    };
    let (outer, rows) = (between(0..axis), between(axis..x.rank - 1));
    let shape = Shape { x, y, scale, bias, outer, rows, count, epsilon: p.epsilon };
    let isa = [Isa::of(cx.cpu()), Isa::wide(cx.cpu())];
    match (x.dtype, scale.dtype) {
        (DType::F32, DType::F32) => Ok(Box::new(LayerNorm::<f32, f32>::new(shape, isa))),
        (DType::F16, DType::F32) => Ok(Box::new(LayerNorm::<F16, f32>::new(shape, isa))),
        (DType::F16, DType::F16) => Ok(Box::new(LayerNorm::<F16, F16>::new(shape, isa))),
        (x, s) => Err(cx.error(format!("of {} with scale of {} is not defined", x.name(), s.name()))),
    }
}

struct Shape {
    x: View,
    y: View,
    scale: View,
    bias: Option<View>,
    /// Positions in `y` and `x` of what is normalized together, and of its rows.
    outer: Odometer<2>,
    rows: Odometer<2>,
    /// Elements normalized together.
    count: usize,
    epsilon: f32,
}

impl Shape {
    /// Whether positions are rows.
    fn by_rows(&self) -> bool {
        self.count == self.x.cols()
    }
}

type Finish<T, P> =
    unsafe fn(x: *const T, y: *mut T, n: usize, mean: f32, r: f32, scale: *const P, bias: *const P);

struct LayerNorm<T, P> {
    shape: Shape,
    sum: RowFn<T>,
    deviation: RowFn<T>,
    sums: FourFn<T>,
    deviations: FourFn<T>,
    finish: Finish<T, P>,
    name: &'static str,
}

impl<T: Elem, P: Elem> LayerNorm<T, P> {
    /// Sums are of eight lanes by their definition; what follows takes as many as there are.
    fn new(shape: Shape, [isa, wide]: [Isa; 2]) -> Self {
        let name = match (size_of::<T>(), size_of::<P>()) {
            (4, _) => isa_name!(isa, "layer_norm_f32"),
            (_, 4) => isa_name!(isa, "layer_norm_f16_f32"),
            _ => isa_name!(isa, "layer_norm_f16"),
        };
        let (sum, deviation) = (pick_row::<T, Sum>(isa), pick_row::<T, SumDeviation>(isa));
        let (sums, deviations) = (pick_four::<T, Sum>(isa), pick_four::<T, SumDeviation>(isa));
        Self { shape, sum, deviation, sums, deviations, finish: pick_finish::<T, P>(wide), name }
    }

    fn per_tile(&self) -> usize {
        (16_384 / self.shape.count).max(1)
    }

    /// Normalizes four outer positions that are `x_step` and `y_step` apart and have one row each.
    ///
    /// # Safety
    /// The rows are the views'.
    unsafe fn four(&self, mem: &Mem, x: *const T, y: *mut T, [y_step, x_step]: [usize; 2]) {
        let s = &self.shape;
        let n = s.count as f32;
        // SAFETY: the caller's promise.
        unsafe {
            // Totals start at zero, which is not -0.
            let mean = (self.sums)(x, x_step, s.count, &[0.0; FOUR]).map(|row| (0.0 + row) / n);
            let variance = (self.deviations)(x, x_step, s.count, &mean).map(|row| (0.0 + row) / n);
            let bias = s.bias.map_or(std::ptr::null(), |b| b.ptr::<P>(mem));
            for (i, (&mean, variance)) in mean.iter().zip(variance).enumerate() {
                let r = 1.0 / (variance + s.epsilon).sqrt();
                let (from, to) = (x.add(i * x_step), y.add(i * y_step));
                (self.finish)(from, to, s.count, mean, r, s.scale.ptr::<P>(mem), bias);
            }
        }
    }

    /// A sum over all rows at `x`.
    ///
    /// # Safety
    /// `x` is a position of the outer odometer in the input.
    unsafe fn total(&self, f: RowFn<T>, x: *const T, shift: f32) -> f32 {
        let s = &self.shape;
        let mut total = 0.0;
        // SAFETY: rows lie inside the input.
        s.rows.each(0, s.rows.len(), |[_, at]| total += unsafe { f(x.add(at), s.x.cols(), shift) });
        total
    }
}

// SAFETY: positions lie inside both views; tiles are disjoint in the output; scale and bias have `count` elements.
unsafe impl<T: Elem, P: Elem> Kernel for LayerNorm<T, P> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.shape.outer.len().div_ceil(self.per_tile())
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let s = &self.shape;
        let first = tile * self.per_tile();
        // SAFETY: the caller's promise.
        unsafe { self.positions(mem, first..(first + self.per_tile()).min(s.outer.len())) };
    }
    fn rows(&self) -> usize {
        if self.shape.by_rows() { self.shape.outer.len() } else { 0 }
    }
    unsafe fn run_rows(&self, mem: &Mem, rows: Range<usize>) {
        // SAFETY: the caller's promise; positions are rows.
        unsafe { self.positions(mem, rows) };
    }
}

impl<T: Elem, P: Elem> LayerNorm<T, P> {
    /// Normalizes what lies at outer positions.
    ///
    /// # Safety
    /// `mem` is the memory of the views; nobody else does these positions.
    unsafe fn positions(&self, mem: &Mem, positions: Range<usize>) {
        let s = &self.shape;
        let Range { start: mut first, end: to } = positions;
        let n = s.count as f32;
        if s.by_rows() {
            while first + FOUR <= to {
                // SAFETY: `mem` is the memory of these views, which have the rows.
                unsafe {
                    let (x, y) = (s.x.ptr::<T>(mem), s.y.ptr_mut::<T>(mem));
                    let steps = [s.y.pitch, s.x.pitch];
                    self.four(mem, x.add(first * s.x.pitch), y.add(first * s.y.pitch), steps);
                }
                first += FOUR;
            }
        }
        // SAFETY: `mem` is the memory of these views; positions lie inside them.
        s.outer.each(first, to, |[y, x]| unsafe {
            let (x, y) = (s.x.ptr::<T>(mem).add(x), s.y.ptr_mut::<T>(mem).add(y));
            let mean = self.total(self.sum, x, 0.0) / n;
            let variance = self.total(self.deviation, x, mean) / n;
            let r = 1.0 / (variance + s.epsilon).sqrt();
            let mut done = 0;
            s.rows.each(0, s.rows.len(), |[to, from]| {
                let bias = s.bias.map_or(std::ptr::null(), |b| b.ptr::<P>(mem).add(done));
                let scale = s.scale.ptr::<P>(mem).add(done);
                (self.finish)(x.add(from), y.add(to), s.x.cols(), mean, r, scale, bias);
                done += s.x.cols();
            });
        });
    }
}

per_isa! {
    wide fn pick_finish[T: Elem, P: Elem](
        x: *const T, y: *mut T, n: usize, mean: f32, r: f32, scale: *const P, bias: *const P,
    ) = finish
}

#[inline(always)]
unsafe fn finish<V: V8, T: Elem, P: Elem>(
    x: *const T,
    y: *mut T,
    n: usize,
    mean: f32,
    r: f32,
    scale: *const P,
    bias: *const P,
) {
    let (mean, r) = (V::splat(mean), V::splat(r));
    for i in (0..n).step_by(V::LANES) {
        let part = V::LANES.min(n - i);
        // SAFETY: `part` elements from i on are within n.
        unsafe {
            let v = load_some::<V, T>(x.add(i), part).sub(mean).mul(r);
            let scale = load_some::<V, P>(scale.add(i), part);
            let v = if bias.is_null() {
                v.mul(scale)
            } else {
                v.fma(scale, load_some::<V, P>(bias.add(i), part))
            };
            if part == V::LANES { T::store(v, y.add(i)) } else { store_part(v, y.add(i), part, T::store) }
        }
    }
}
