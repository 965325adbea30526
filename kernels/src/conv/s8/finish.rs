//! The end of every s8 product on aarch64: sums that include the bias, requantized and stored.
//!
//! What [`super::requantize`] computes, with fewer instructions, in one of three [`Mode`]s. In all of them, numbers
//! around [`MAGIC`] are the integers, so that adding it to a product rounds that to an integer, to nearest even, whose
//! low bits are those of the sum.

use std::arch::aarch64::*;

use crate::conv::block::Block;
use crate::conv::micro::{Args, NR};

/// 1.5 * 2^23: f32 from 2/3 to 4/3 of it are the integers there, and their bits count up with them.
const MAGIC: f32 = 12_582_912.0;

/// How sums are made results; a constant parameter of what does it.
pub(super) type Mode = u8;

/// Any sums. Products are clamped as the definition says, after which they are at most 255 in magnitude.
pub(super) const ANY: Mode = 0;

/// Sums below 2^22 in magnitude, products below 2^15, as [`Block::small`] says: the bits of a sum that started at those
/// of [`MAGIC`] are those of MAGIC plus the sum as f32, which saves a conversion. Rounding, saturation to 16 bits when
/// the zero point is added, and to 8 bits, come before the clamping: bounds are integers, so that the result is the
/// same.
pub(super) const SMALL: Mode = 1;

/// As [`SMALL`], with an even zero point and bounds that 8 bits have anyway: the zero point is a part of the MAGIC that
/// rounds. That it is even leaves ties where they are.
pub(super) const PLAIN: Mode = 2;

/// The mode of a block.
pub(super) fn mode(b: &Block<'_>) -> Mode {
    match (b.small, b.lo <= -128.0 && b.hi >= 127.0 && b.zero_point % 2 == 0) {
        (false, _) => ANY,
        (true, false) => SMALL,
        (true, true) => PLAIN,
    }
}

/// What sums of a mode start at in place of these biases.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn start<const MODE: Mode>(bias: int32x4_t) -> int32x4_t {
    if MODE == ANY { bias } else { vaddq_s32(bias, vreinterpretq_s32_f32(vdupq_n_f32(MAGIC))) }
}

/// The bounds and the zero point of a step's output.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub lo: f32,
    pub hi: f32,
    pub zero_point: i32,
}

impl Output {
    pub fn of(args: &Args) -> Self {
        Self { lo: args.lo, hi: args.hi, zero_point: args.zero_point }
    }

    pub fn of_block(b: &Block<'_>) -> Self {
        Self { lo: b.lo, hi: b.hi, zero_point: b.zero_point }
    }
}

/// A panel's requantization.
#[derive(Clone, Copy)]
pub(super) struct Finish<const MODE: Mode> {
    multiplier: [float32x4_t; 2],
    output: Output,
}

impl<const MODE: Mode> Finish<MODE> {
    /// For the panel whose first multiplier is at `multiplier`.
    ///
    /// # Safety
    /// Eight multipliers can be read.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn new(output: Output, multiplier: *const f32) -> Self {
        // SAFETY: the caller's promise.
        let multiplier = unsafe { [vld1q_f32(multiplier), vld1q_f32(multiplier.add(4))] };
        Self { multiplier, output }
    }

    /// Eight results, in 16 bits; in mode ANY less the zero point.
    #[inline]
    #[target_feature(enable = "neon")]
    fn words(&self, sums: [int32x4_t; 2]) -> int16x8_t {
        let magic = vdupq_n_f32(MAGIC);
        let Output { lo, hi, zero_point } = self.output;
        let zero = zero_point as f32;
        let mut v = [vdupq_n_s16(0); 2];
        for half in 0..2 {
            let sum = match MODE {
                ANY => vcvtq_f32_s32(sums[half]),
                _ => vsubq_f32(vreinterpretq_f32_s32(sums[half]), magic),
            };
            let product = vmulq_f32(sum, self.multiplier[half]);
            let rounded = match MODE {
                ANY => {
                    let clamped =
                        vminq_f32(vmaxq_f32(product, vdupq_n_f32(lo - zero)), vdupq_n_f32(hi - zero));
                    vaddq_f32(clamped, magic)
                }
                SMALL => vaddq_f32(product, magic),
                _ => vaddq_f32(product, vdupq_n_f32(MAGIC + zero)),
            };
            v[half] = vreinterpretq_s16_f32(rounded);
        }
        let v = vuzp1q_s16(v[0], v[1]);
        if MODE == SMALL { vqaddq_s16(v, vdupq_n_s16(zero_point as i16)) } else { v }
    }

    /// Results of two rows.
    #[inline]
    #[target_feature(enable = "neon")]
    fn results(&self, sums: [[int32x4_t; 2]; 2]) -> int8x16_t {
        let (a, b) = (self.words(sums[0]), self.words(sums[1]));
        let Output { lo, hi, zero_point } = self.output;
        if MODE == ANY {
            // Modulo 256: the results are in range.
            let v = vuzp1q_s8(vreinterpretq_s8_s16(a), vreinterpretq_s8_s16(b));
            return vaddq_s8(v, vdupq_n_s8(zero_point as i8));
        }
        let v = vqmovn_high_s16(vqmovn_s16(a), b);
        if MODE == SMALL { vminq_s8(vmaxq_s8(v, vdupq_n_s8(lo as i8)), vdupq_n_s8(hi as i8)) } else { v }
    }

    /// Requantizes sums of M pixels, from pixel 0 on, and stores the first `columns` of the panel's, at most all.
    ///
    /// # Safety
    /// At each of M addresses, `offset` bytes further, there is room for `columns` bytes. They may overlap: pixels are
    /// stored in order.
    #[inline(always)] // Else sums would go through memory.
    pub(super) unsafe fn store<const M: usize>(
        self,
        sums: [[int32x4_t; 2]; M],
        y: *const *mut u8,
        offset: usize,
        columns: usize,
    ) {
        // SAFETY: there are M addresses.
        let pixel = |i: usize| unsafe { (*y.add(i)).add(offset) };
        // Two loops: no branch parts the pixels of a whole panel.
        if columns >= NR {
            for i in (0..M).step_by(2) {
                let next = (i + 1).min(M - 1);
                // SAFETY: as above; every aarch64 core has Advanced SIMD.
                unsafe {
                    let v = self.results([sums[i], sums[next]]);
                    vst1_s8(pixel(i).cast(), vget_low_s8(v));
                    vst1q_lane_s64::<1>(pixel(next).cast(), vreinterpretq_s64_s8(v));
                }
            }
        } else {
            for i in (0..M).step_by(2) {
                let next = (i + 1).min(M - 1);
                let mut bytes = [0_u8; 2 * NR];
                // SAFETY: as above.
                unsafe {
                    vst1q_u8(bytes.as_mut_ptr(), vreinterpretq_u8_s8(self.results([sums[i], sums[next]])));
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), pixel(i), columns);
                    std::ptr::copy_nonoverlapping(bytes.as_ptr().add(NR), pixel(next), columns);
                }
            }
        }
    }
}
