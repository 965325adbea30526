//! Quantization of rows by scales of their own: [`Op::QuantizeRows`](cygnet_format::op::Op::QuantizeRows).

use std::ops::Range;

use cygnet_format::op;
use cygnet_format::program::DType;

use crate::kernel::{Context, Kernel, PrepareError};
use crate::map::same_dims;
use crate::simd::{Isa, MAX_LANES, V8, isa_name, per_isa};
use crate::view::{Mem, View};
use crate::walk::TILE_ELEMENTS;

#[cfg(test)]
mod tests;

/// Least magnitude whose reciprocal times 127 is a finite f32: below, a row counts as zeros.
const LEAST: f32 = 1e-36;

/// Quantizes `n` elements of `x` into `y`, `by` being what they are multiplied by.
type Row = unsafe fn(x: *const f32, y: *mut i8, n: usize, by: f32);

pub(crate) fn prepare(_: &op::QuantizeRows, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, greatest, y) = (cx.typed(0, DType::F32)?, cx.typed(1, DType::F32)?, cx.output());
    same_dims(cx, &x, &y)?;
    cx.ensure(y.dtype == DType::S8 && y.quant.is_none(), || {
        format!("output is {}; s8 without a scale of its own is needed", y.dtype.name())
    })?;
    cx.ensure(greatest.is_dense() && [1, x.rows()].contains(&greatest.len()), || {
        format!("{} magnitudes do not fit {} rows: one, or one for each, is needed", greatest.len(), x.rows())
    })?;
    let isa = Isa::wide(cx.cpu());
    let rows_per_tile = cx.grain(x.len(), TILE_ELEMENTS).div_ceil(x.cols().max(1));
    let name = isa_name!(isa, "quantize_rows_f32");
    Ok(Box::new(QuantizeRows { x, greatest, y, rows_per_tile, run: pick(isa), name }))
}

struct QuantizeRows {
    x: View,
    greatest: View,
    y: View,
    rows_per_tile: usize,
    run: Row,
    name: &'static str,
}

/// What a row whose greatest magnitude is `greatest` is multiplied by.
fn factor(greatest: f32) -> f32 {
    if (LEAST..f32::INFINITY).contains(&greatest) { 127.0 / greatest } else { 0.0 }
}

// SAFETY: rows of the tile lie inside the views; tiles are disjoint in the output.
unsafe impl Kernel for QuantizeRows {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.x.rows().div_ceil(self.rows_per_tile)
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let first = tile * self.rows_per_tile;
        // SAFETY: the caller's promise.
        unsafe { self.run_rows(mem, first..self.x.rows().min(first + self.rows_per_tile)) };
    }
    fn rows(&self) -> usize {
        self.x.rows()
    }
    unsafe fn run_rows(&self, mem: &Mem, rows: Range<usize>) {
        for row in rows {
            // SAFETY: `mem` is the memory of these views, which have the row.
            unsafe {
                let at = if self.greatest.len() == 1 { 0 } else { row };
                let by = factor(*self.greatest.ptr::<f32>(mem).add(at));
                let x = self.x.ptr::<f32>(mem).add(row * self.x.pitch);
                let y = self.y.ptr_mut::<i8>(mem).add(row * self.y.pitch);
                (self.run)(x, y, self.x.cols(), by);
            }
        }
    }
}

per_isa! {
    wide fn pick[](x: *const f32, y: *mut i8, n: usize, by: f32) = quantize
}

/// x * by, clamped to [-127, 127], to nearest even; NaN gives 0.
///
/// # Safety
/// `n` elements can be read and written.
#[inline(always)]
unsafe fn quantize<V: V8>(x: *const f32, y: *mut i8, n: usize, by: f32) {
    let whole = n - n % V::LANES;
    for i in (0..whole).step_by(V::LANES) {
        // SAFETY: the elements from i on are within n.
        unsafe { lanes::<V>(x.add(i), y.add(i), by) };
    }
    if whole < n {
        let (mut from, mut to) = ([0.0; MAX_LANES], [0; MAX_LANES]);
        // SAFETY: n - whole elements are left; the arrays hold more.
        unsafe {
            std::ptr::copy_nonoverlapping(x.add(whole), from.as_mut_ptr(), n - whole);
            lanes::<V>(from.as_ptr(), to.as_mut_ptr(), by);
            std::ptr::copy_nonoverlapping(to.as_ptr(), y.add(whole), n - whole);
        }
    }
}

/// # Safety
/// A register's elements can be read and written.
#[inline(always)]
unsafe fn lanes<V: V8>(x: *const f32, y: *mut i8, by: f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let v = V::load(x).mul(V::splat(by));
        let v = V::select(v.eq(v), v, V::splat(0.0)).limit(V::splat(-127.0), V::splat(127.0));
        v.store_bytes(V::isplat(0), y.cast());
    }
}
