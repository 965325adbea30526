//! Softmax of s8: exponentials by how far an element is below the maximum. They come from a table, or are computed where
//! that is faster; the same function made the table.

use std::mem::MaybeUninit;

use cygnet_format::program::Quant;

use super::{FOUR, Lines};
use crate::kernel::{Context, Kernel, PrepareError};
use crate::math::{exp_neg, log::log, scalar};
use crate::quant;
use crate::simd::{Isa, LANES, MAX_LANES, V8, isa_name, load_part, per_isa, reduce_lanes, store_part};
use crate::view::Mem;

pub(super) fn kernel(lines: Lines, log: bool, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let x = quant::required(cx, &lines.x, "input")?;
    let y = quant::required(cx, &lines.y, "output")?;
    let isa = Isa::wide(cx.cpu());
    let exp = std::array::from_fn(|i| scalar::exp_neg(-((255 - i) as f32) * x.scale));
    let function = Function { exp, log, scale: x.scale, quant: y };
    let name = if log { isa_name!(isa, "log_softmax_s8") } else { isa_name!(isa, "softmax_s8") };
    let (four, block) = (pick_lines(isa), pick_block(isa));
    Ok(Box::new(Softmax { lines, function, four, block, name }))
}

/// Vectors of terms that a line keeps.
const KEPT: usize = 16;

struct Softmax {
    lines: Lines,
    function: Function,
    four: unsafe fn(&Function, &[*const i8; FOUR], &[*mut i8; FOUR], usize),
    block: unsafe fn(&Function, *const i8, *mut i8, usize, usize, [usize; 2]),
    name: &'static str,
}

struct Function {
    /// e^(x - m) by the quantized x - m, from -255 on.
    exp: [f32; 256],
    log: bool,
    /// The input's.
    scale: f32,
    quant: Quant,
}

per_isa! {
    wide fn pick_lines[](f: &Function, x: &[*const i8; FOUR], y: &[*mut i8; FOUR], n: usize) = lines
}
per_isa! {
    wide fn pick_block[](f: &Function, x: *const i8, y: *mut i8, n: usize, count: usize, stride: [usize; 2]) = block
}

/// As many elements as lanes, or fewer.
///
/// # Safety
/// `n` can be read.
#[inline(always)]
unsafe fn load<V: V8>(x: *const i8, n: usize) -> V::I {
    // SAFETY: the caller's promise.
    unsafe { if n == V::LANES { V::load_s8(x) } else { load_part(x, n, i8::MIN, V::load_s8) } }
}

impl Function {
    /// e^(x - m), m not below x.
    #[inline(always)]
    fn term<V: V8>(&self, m: V::I, x: V::I) -> V {
        if V::LANES == MAX_LANES {
            return exp_neg(self.exponent(m, x));
        }
        // SAFETY: differences are from -255 to 0.
        unsafe { V::look_up(self.exp.as_ptr(), V::iadd(V::isub(x, m), V::isplat(255))) }
    }

    /// The same of elements in memory, one m for all.
    ///
    /// # Safety
    /// As many as lanes can be read.
    #[inline(always)]
    unsafe fn terms<V: V8>(&self, m: i32, x: *const i8) -> V {
        // SAFETY: the caller's promise; differences are from -255 to 0.
        unsafe {
            if V::LANES == MAX_LANES {
                return self.term(V::isplat(m), V::load_s8(x));
            }
            V::look_up_s8(self.exp.as_ptr().wrapping_offset(255 - m as isize), x)
        }
    }

    #[inline(always)]
    fn exponent<V: V8>(&self, m: V::I, x: V::I) -> V {
        V::from_i32(V::isub(m, x)).neg().mul(V::splat(self.scale))
    }

    /// (1 / s) / scale, or ln(s).
    #[inline(always)]
    fn last_term<V: V8>(&self, s: V) -> V {
        if self.log { log(s) } else { V::splat(1.0).div(s).div(V::splat(self.quant.scale)) }
    }

    /// A result before it is quantized.
    #[inline(always)]
    fn result<V: V8>(&self, m: V::I, x: V::I, k: V) -> V {
        if self.log {
            self.exponent::<V>(m, x).sub(k).div(V::splat(self.quant.scale))
        } else {
            self.term::<V>(m, x).mul(k)
        }
    }

    /// Quantizes as many results as lanes, or fewer.
    ///
    /// # Safety
    /// `n` can be written.
    #[inline(always)]
    unsafe fn store<V: V8>(&self, r: V, y: *mut i8, n: usize) {
        let zero = self.quant.zero_point;
        let r = r.limit(V::splat((-128 - zero) as f32), V::splat((127 - zero) as f32));
        // SAFETY: the caller's promise.
        unsafe {
            if n == V::LANES {
                r.store_bytes(V::isplat(zero), y.cast());
            } else {
                store_part(V::iadd(r.to_i32(), V::isplat(zero)), y.cast(), n, V::store_low8);
            }
        }
    }
}

/// Lines of `n` elements along the last axis.
///
/// # Safety
/// They can be read and written; input and output do not overlap.
#[inline(always)]
unsafe fn lines<V: V8>(f: &Function, x: &[*const i8; FOUR], y: &[*mut i8; FOUR], n: usize) {
    // SAFETY: the elements are within the lines.
    unsafe {
        let mut most = [V::splat(-128.0); FOUR];
        for i in (0..n).step_by(V::LANES) {
            for j in 0..FOUR {
                most[j] = most[j].max(V::from_i32(load::<V>(x[j].add(i), V::LANES.min(n - i))));
            }
        }
        let mut m = [0; FOUR];
        for j in 0..FOUR {
            m[j] = most[j].greatest() as i32;
        }
        let mut sums = [[0.0; LANES]; FOUR];
        let whole = n - n % V::LANES;
        // The first terms are kept: they are what takes the time.
        let mut kept = [[const { MaybeUninit::uninit() }; FOUR]; KEPT];
        for i in (0..whole).step_by(V::LANES) {
            for j in 0..FOUR {
                let e: V = f.terms(m[j], x[j].add(i));
                e.accumulate(&mut sums[j]);
                if let Some(kept) = kept.get_mut(i / V::LANES) {
                    kept[j] = MaybeUninit::new(e);
                }
            }
        }
        let mut k = [V::splat(0.0); FOUR];
        for j in 0..FOUR {
            if whole < n {
                let e: V = f.term(V::isplat(m[j]), load::<V>(x[j].add(whole), n - whole));
                e.accumulate_some(n - whole, &mut sums[j]);
            }
            let s = reduce_lanes(sums[j], |a, b| a + b);
            k[j] = V::splat(if f.log { scalar::log(s) } else { 1.0 / s / f.quant.scale });
        }
        for i in (0..n).step_by(V::LANES) {
            let part = V::LANES.min(n - i);
            for j in 0..FOUR {
                let r = match kept.get(i / V::LANES) {
                    // A whole vector, so that its terms have been kept.
                    Some(e) if part == V::LANES && !f.log => e[j].assume_init().mul(k[j]),
                    _ => f.result(V::isplat(m[j]), load::<V>(x[j].add(i), part), k[j]),
                };
                f.store(r, y[j].add(i), part);
            }
        }
    }
}

/// `n` adjacent lines of `count` elements, `stride` apart in input and output.
///
/// # Safety
/// As [`lines`].
#[inline(always)]
unsafe fn block<V: V8>(f: &Function, x: *const i8, y: *mut i8, n: usize, count: usize, stride: [usize; 2]) {
    for c in (0..n).step_by(V::LANES) {
        let part = V::LANES.min(n - c);
        // SAFETY: the elements are within the lines.
        unsafe {
            let (x, y) = (x.add(c), y.add(c));
            let mut most = V::splat(-128.0);
            for i in 0..count {
                most = most.max(V::from_i32(load::<V>(x.add(i * stride[0]), part)));
            }
            let m = most.to_i32();
            let mut s = V::splat(0.0);
            for i in 0..count {
                s = s.add(f.term(m, load::<V>(x.add(i * stride[0]), part)));
            }
            let k = f.last_term(s);
            for i in 0..count {
                let r = f.result(m, load::<V>(x.add(i * stride[0]), part), k);
                f.store(r, y.add(i * stride[1]), part);
            }
        }
    }
}

// SAFETY: lines lie inside both views; tiles are disjoint in the output.
unsafe impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.lines.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        // SAFETY: `mem` is the memory of these views.
        let (from, to) = unsafe { (self.lines.x.ptr::<i8>(mem), self.lines.y.ptr_mut::<i8>(mem)) };
        let Lines { count, stride, .. } = self.lines;
        let f = &self.function;
        if self.lines.last {
            // SAFETY: positions come from the lines; input and output do not overlap.
            return unsafe { self.lines.last_axis(tile, from, to, |x, y| (self.four)(f, x, y, count)) };
        }
        // SAFETY: as above.
        self.lines.tile(tile, |y, x, columns| unsafe {
            (self.block)(f, from.add(x), to.add(y), columns, count, stride);
        });
    }
}
