//! Softmax of s8, in plain Rust: lookups leave vectors nothing to do.

use cygnet_format::program::Quant;

use super::Lines;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::math::scalar;
use crate::quant;
use crate::reduce::COLUMNS;
use crate::simd::{LANES, reduce_lanes};
use crate::view::Mem;

pub(super) fn kernel(lines: Lines, log: bool, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let x = quant::required(cx, &lines.x, "input")?;
    let y = quant::required(cx, &lines.y, "output")?;
    // e^(x - m) by how far the quantized x is below m, and the exponents themselves.
    let exponent: [f32; 256] = std::array::from_fn(|d| -(d as f32) * x.scale);
    let exp = exponent.map(scalar::exp);
    Ok(Box::new(Softmax { lines, log, exponent, exp, quant: y }))
}

struct Softmax {
    lines: Lines,
    log: bool,
    exponent: [f32; 256],
    exp: [f32; 256],
    quant: Quant,
}

impl Softmax {
    /// (1 / s) / scale, or ln(s).
    fn last_term(&self, s: f32) -> f32 {
        if self.log { scalar::log(s) } else { 1.0 / s / self.quant.scale }
    }

    /// The result of an element `d` below the maximum.
    #[inline(always)]
    fn result(&self, d: usize, k: f32) -> i8 {
        let r = if self.log { (self.exponent[d] - k) / self.quant.scale } else { self.exp[d] * k };
        let (lo, hi) = (-128 - self.quant.zero_point, 127 - self.quant.zero_point);
        let r = if r < lo as f32 { lo as f32 } else { r };
        let r = if r > hi as f32 { hi as f32 } else { r };
        // Rounds to nearest even: a sum with 1.5 * 2^23 has the integer in its last bits, for |r| up to 2^22. The
        // function of the library would be called, where the instruction is not there on every processor.
        let whole = (r + 12_582_912.0).to_bits() as i32 - 12_582_912.0_f32.to_bits() as i32;
        (whole + self.quant.zero_point) as i8
    }

    /// One line along the last axis.
    fn line(&self, x: &[i8], y: &mut [i8]) {
        let m = x.iter().fold(i8::MIN, |m, &v| if v > m { v } else { m });
        let mut lanes = [0.0; LANES];
        for part in x.chunks(LANES) {
            lanes.iter_mut().zip(part).for_each(|(sum, &v)| *sum += self.exp[below(m, v)]);
        }
        let k = self.last_term(reduce_lanes(lanes, |a, b| a + b));
        y.iter_mut().zip(x).for_each(|(y, &v)| *y = self.result(below(m, v), k));
    }

    /// `n` adjacent lines.
    ///
    /// # Safety
    /// `x` and `y` have `count` rows of `n` elements, at the strides of the lines.
    unsafe fn block(&self, x: *const i8, y: *mut i8, n: usize) {
        let Lines { count, stride, .. } = self.lines;
        let (mut m, mut k) = ([i8::MIN; COLUMNS], [0.0; COLUMNS]);
        for pass in 0..3 {
            for i in 0..count {
                // SAFETY: as the caller vouches.
                let row = unsafe { std::slice::from_raw_parts(x.add(i * stride[0]), n) };
                match pass {
                    0 => m.iter_mut().zip(row).for_each(|(m, &v)| *m = v.max(*m)),
                    1 => (0..n).for_each(|c| k[c] += self.exp[below(m[c], row[c])]),
                    _ => {
                        // SAFETY: as the caller vouches; input and output do not overlap.
                        let out = unsafe { std::slice::from_raw_parts_mut(y.add(i * stride[1]), n) };
                        (0..n).for_each(|c| out[c] = self.result(below(m[c], row[c]), k[c]));
                    }
                }
            }
            if pass == 1 {
                k[..n].iter_mut().for_each(|s| *s = self.last_term(*s));
            }
        }
    }
}

/// How far `v` is below the maximum.
#[inline(always)]
fn below(m: i8, v: i8) -> usize {
    usize::from(m.wrapping_sub(v).cast_unsigned())
}

// SAFETY: lines lie inside both views; tiles are disjoint in the output.
unsafe impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax_s8" } else { "softmax_s8" }
    }
    fn tiles(&self) -> usize {
        self.lines.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        // SAFETY: `mem` is the memory of these views.
        let (from, to) = unsafe { (self.lines.x.ptr::<i8>(mem), self.lines.y.ptr_mut::<i8>(mem)) };
        let n = self.lines.count;
        // SAFETY: positions come from the lines; input and output do not overlap.
        self.lines.tile(tile, |y, x, columns| unsafe {
            if self.lines.last {
                self.line(
                    std::slice::from_raw_parts(from.add(x), n),
                    std::slice::from_raw_parts_mut(to.add(y), n),
                );
            } else {
                self.block(from.add(x), to.add(y), columns);
            }
        });
    }
}
