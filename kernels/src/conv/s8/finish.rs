//! The end of every s8 product on aarch64: sums that include the bias, requantized and stored.
//!
//! What [`super::requantize`] computes, with fewer instructions: after clamping, |v| is at most 255, so that
//! `v + 1.5 * 2^23` is rounded to an integer, to nearest even, whose low bits are those of `rne(v)`; adding the zero
//! point to the lowest eight, modulo 256, gives the result, which is in [-128, 127].

use std::arch::aarch64::*;

use crate::conv::micro::{Args, NR};

/// 1.5 * 2^23: numbers around it are the integers.
const MAGIC: f32 = 12_582_912.0;

/// A panel's requantization.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    multiplier: [float32x4_t; 2],
    lo: float32x4_t,
    hi: float32x4_t,
    zero_point: int8x16_t,
}

impl Finish {
    /// For the panel of column `first`; also its biases, to start sums with.
    ///
    /// # Safety
    /// As [`crate::conv::micro::Micro`]; `first` is a column that counts, and a multiple of 8.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn new(args: &Args, first: usize) -> (Self, [int32x4_t; 2]) {
        let zero = args.zero_point as f32;
        // SAFETY: biases and multipliers are there for whole panels.
        let (bias, multiplier) = unsafe {
            let (b, m) = (args.bias.cast::<i32>().add(first), args.multiplier.add(first));
            ([vld1q_s32(b), vld1q_s32(b.add(4))], [vld1q_f32(m), vld1q_f32(m.add(4))])
        };
        let finish = Self {
            multiplier,
            lo: vdupq_n_f32(args.lo - zero),
            hi: vdupq_n_f32(args.hi - zero),
            zero_point: vdupq_n_s8(args.zero_point as i8),
        };
        (finish, bias)
    }

    /// Eight results less the zero point.
    #[inline]
    #[target_feature(enable = "neon")]
    fn round(&self, sums: [int32x4_t; 2]) -> int8x16_t {
        let mut v = [vdupq_n_s16(0); 2];
        for half in 0..2 {
            let product = vmulq_f32(vcvtq_f32_s32(sums[half]), self.multiplier[half]);
            let clamped = vminq_f32(vmaxq_f32(product, self.lo), self.hi);
            v[half] = vreinterpretq_s16_f32(vaddq_f32(clamped, vdupq_n_f32(MAGIC)));
        }
        vreinterpretq_s8_s16(vuzp1q_s16(v[0], v[1]))
    }

    /// Results of two rows.
    #[inline]
    #[target_feature(enable = "neon")]
    fn results(&self, sums: [[int32x4_t; 2]; 2]) -> int8x16_t {
        vaddq_s8(vuzp1q_s8(self.round(sums[0]), self.round(sums[1])), self.zero_point)
    }

    /// Requantizes and stores M rows from row 0 on, in this order.
    ///
    /// # Safety
    /// As [`crate::conv::micro::Micro`], of at least M rows; `first` is the column that the panel was made for.
    #[inline(always)] // Else sums would go through memory.
    pub(super) unsafe fn store<const M: usize>(self, sums: [[int32x4_t; 2]; M], args: &Args, first: usize) {
        let cols = args.cols - first;
        // SAFETY: there are at least M addresses, and each takes `cols` bytes from `first` on.
        let row = |i: usize| unsafe { (*args.y.add(i)).add(first) };
        // Two loops: no branch parts the rows of a whole panel.
        if cols >= NR {
            for i in (0..M).step_by(2) {
                let next = (i + 1).min(M - 1);
                // SAFETY: as above; every aarch64 core has Advanced SIMD.
                unsafe {
                    let v = self.results([sums[i], sums[next]]);
                    vst1_s8(row(i).cast(), vget_low_s8(v));
                    vst1_s8(row(next).cast(), vget_high_s8(v));
                }
            }
        } else {
            for i in (0..M).step_by(2) {
                let next = (i + 1).min(M - 1);
                let mut bytes = [0_u8; 2 * NR];
                // SAFETY: as above.
                unsafe {
                    vst1q_u8(bytes.as_mut_ptr(), vreinterpretq_u8_s8(self.results([sums[i], sums[next]])));
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), row(i), cols);
                    std::ptr::copy_nonoverlapping(bytes.as_ptr().add(NR), row(next), cols);
                }
            }
        }
    }
}
