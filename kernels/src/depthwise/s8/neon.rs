//! Advanced SIMD: sixteen channels; the products of two taps are summed in 16 bits where weights allow it
//! (at most 2 * 128 * 127), then added to the 32-bit sums.

use std::arch::aarch64::*;

use super::{Run, pack};

/// Channels of a group.
const GROUP: usize = 16;

/// # Safety
/// As [`super::Micro`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn run(r: &Run) {
    // SAFETY: the caller's promise; TAPS is their number, or zero for any.
    unsafe {
        match r.taps {
            9 => groups::<9>(r),
            _ => groups::<0>(r),
        }
    }
}

/// Every group of channels, its weights kept in registers when TAPS is not zero.
///
/// # Safety
/// As [`super::Micro`].
#[target_feature(enable = "neon")]
unsafe fn groups<const TAPS: usize>(r: &Run) {
    let padded = pack::padded_channels(r.channels);
    let taps = if TAPS > 0 { TAPS } else { r.taps };
    for first in (0..r.channels).step_by(GROUP) {
        let mut held = [vdupq_n_s8(0); TAPS];
        let mut bias = [vdupq_n_s32(0); 4];
        let mut scale = [vdupq_n_f32(0.0); 4];
        // SAFETY: the packed operands hold whole groups.
        let w = unsafe {
            let w = r.w.cast::<i8>().add(first);
            for t in 0..TAPS {
                held[t] = vld1q_s8(w.add(t * padded));
            }
            for i in 0..4 {
                bias[i] = vld1q_s32(r.bias.cast::<i32>().add(first + 4 * i));
                scale[i] = vld1q_f32(r.multiplier.add(first + 4 * i));
            }
            w
        };
        for pixel in 0..r.pixels {
            let mut sums = bias;
            let mut t = 0;
            while t < taps {
                // SAFETY: there are `taps` addresses for each pixel, and as many rows of weights; whole groups of
                // channels may be read of each.
                unsafe {
                    let a = r.a.add(pixel * taps + t);
                    let x = vld1q_s8((*a).cast::<i8>().add(first));
                    let v = if TAPS > 0 { held[t] } else { vld1q_s8(w.add(t * padded)) };
                    let mut lo = vmull_s8(vget_low_s8(x), vget_low_s8(v));
                    let mut hi = vmull_high_s8(x, v);
                    if r.pairs && t + 1 < taps {
                        let x = vld1q_s8((*a.add(1)).cast::<i8>().add(first));
                        let v = if TAPS > 0 { held[t + 1] } else { vld1q_s8(w.add((t + 1) * padded)) };
                        lo = vmlal_s8(lo, vget_low_s8(x), vget_low_s8(v));
                        hi = vmlal_high_s8(hi, x, v);
                    }
                    sums[0] = vaddw_s16(sums[0], vget_low_s16(lo));
                    sums[1] = vaddw_high_s16(sums[1], lo);
                    sums[2] = vaddw_s16(sums[2], vget_low_s16(hi));
                    sums[3] = vaddw_high_s16(sums[3], hi);
                }
                t += if r.pairs { 2 } else { 1 };
            }
            let q = requantize(r, sums, scale);
            // SAFETY: the pixel takes the channels that count.
            unsafe { store(q, r.y.add(pixel * r.y_pitch + first).cast(), r.channels - first) };
        }
    }
}

/// Sixteen sums to sixteen bytes.
#[inline]
#[target_feature(enable = "neon")]
fn requantize(r: &Run, sums: [int32x4_t; 4], scale: [float32x4_t; 4]) -> int8x16_t {
    let zero_point = vdupq_n_s32(r.zero_point);
    let lo = vdupq_n_f32(r.lo - r.zero_point as f32);
    let hi = vdupq_n_f32(r.hi - r.zero_point as f32);
    let mut q = sums;
    for i in 0..4 {
        let v = vmulq_f32(vcvtq_f32_s32(sums[i]), scale[i]);
        q[i] = vaddq_s32(vcvtnq_s32_f32(vminq_f32(vmaxq_f32(v, lo), hi)), zero_point);
    }
    let words = [vqmovn_high_s32(vqmovn_s32(q[0]), q[1]), vqmovn_high_s32(vqmovn_s32(q[2]), q[3])];
    vqmovn_high_s16(vqmovn_s16(words[0]), words[1])
}

/// Stores the first `n` of sixteen bytes, all when there are more.
///
/// # Safety
/// `y` is valid for `n` bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store(q: int8x16_t, y: *mut i8, n: usize) {
    // SAFETY: `y` takes n bytes, `out` sixteen.
    unsafe {
        if n >= GROUP {
            vst1q_s8(y, q);
        } else {
            let mut out = [0_i8; GROUP];
            vst1q_s8(out.as_mut_ptr(), q);
            std::ptr::copy_nonoverlapping(out.as_ptr(), y, n);
        }
    }
}
