//! Sums of eight channels to bytes, for strips by Advanced SIMD.
//!
//! The bounds are integers, so rounding and adding the zero point first gives the same; what is out of the range of a
//! narrower integer saturates on the way.

use std::arch::aarch64::*;

use super::Strip;

/// 1.5 * 2^23: f32 from half to 4/3 of it are the integers there, and their bits count up with them.
const MAGIC: f32 = 12_582_912.0;

/// What requantization needs of eight channels.
#[derive(Clone, Copy)]
pub(super) struct Requantize {
    scale: [float32x4_t; 2],
    zero_point: int16x8_t,
    lo: int8x16_t,
    hi: int8x16_t,
    magic: float32x4_t,
}

impl Requantize {
    /// # Safety
    /// As [`crate::depthwise::strip::Micro`]; `half` is 0 or 8.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn new(s: &Strip, half: usize) -> Self {
        // SAFETY: the group has sixteen multipliers.
        let scale = unsafe { [vld1q_f32(s.multiplier.add(half)), vld1q_f32(s.multiplier.add(half + 4))] };
        Self {
            scale,
            zero_point: vdupq_n_s16(s.zero_point as i16),
            lo: vdupq_n_s8(s.lo as i8),
            hi: vdupq_n_s8(s.hi as i8),
            magic: vdupq_n_f32(MAGIC),
        }
    }

    /// What [`Self::two`] wants sums to start at instead of `bias` if SMALL.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn start<const SMALL: bool>(&self, bias: int32x4_t) -> int32x4_t {
        if SMALL { vaddq_s32(bias, vreinterpretq_s32_f32(self.magic)) } else { bias }
    }

    /// Rounded products, plus the zero point, in 16 bits. SMALL: as for [`Self::two`].
    #[inline]
    #[target_feature(enable = "neon")]
    fn words<const SMALL: bool>(&self, sums: [int32x4_t; 2]) -> int16x8_t {
        let q = if SMALL {
            let mut r = [self.magic; 2];
            for i in 0..2 {
                let sum = vsubq_f32(vreinterpretq_f32_s32(sums[i]), self.magic);
                r[i] = vaddq_f32(vmulq_f32(sum, self.scale[i]), self.magic);
            }
            vuzp1q_s16(vreinterpretq_s16_f32(r[0]), vreinterpretq_s16_f32(r[1]))
        } else {
            let mut r = sums;
            for i in 0..2 {
                r[i] = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums[i]), self.scale[i]));
            }
            vqmovn_high_s32(vqmovn_s32(r[0]), r[1])
        };
        vqaddq_s16(q, self.zero_point)
    }

    /// One pixel.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn one(&self, sums: [int32x4_t; 2]) -> int8x8_t {
        let q = vqmovn_s16(self.words::<false>(sums));
        vmin_s8(vmax_s8(q, vget_low_s8(self.lo)), vget_low_s8(self.hi))
    }

    /// Two pixels.
    ///
    /// SMALL: no sum reaches 2^22 and no product 2^15, which [`super::Reach`] proves, and the sums started at
    /// [`Self::start`]. The bits of a sum are then those of MAGIC plus the sum as f32, and the bits of a product plus
    /// MAGIC, which is rounded to nearest even at integers, end with the rounded product: conversions to and from
    /// integers, which are slow on some cores, are not needed.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn two<const SMALL: bool>(&self, a: [int32x4_t; 2], b: [int32x4_t; 2]) -> int8x16_t {
        let q = vqmovn_high_s16(vqmovn_s16(self.words::<SMALL>(a)), self.words::<SMALL>(b));
        vminq_s8(vmaxq_s8(q, self.lo), self.hi)
    }
}
