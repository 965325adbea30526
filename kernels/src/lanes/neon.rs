//! Eight lanes in two Q registers; Advanced SIMD.

use std::arch::aarch64::*;

use half::f16;

use super::Lanes;

/// Eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Quads(float32x4_t, float32x4_t);

impl Lanes for Quads {
    const N: usize = 8;

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vdupq_n_f32(v), vdupq_n_f32(v)) }
    }
    #[inline(always)]
    unsafe fn load_f32(p: *const f32) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vld1q_f32(p), vld1q_f32(p.add(4))) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> Self {
        // SAFETY: the trait's contract: 16 bytes.
        unsafe {
            let v = vld1q_u16(p.cast());
            Self(
                vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(v))),
                vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(v))),
            )
        }
    }
    #[inline(always)]
    unsafe fn load_s8(p: *const i8) -> Self {
        // SAFETY: the trait's contract: 8 bytes.
        unsafe {
            let v = vmovl_s8(vld1_s8(p));
            Self(vcvtq_f32_s32(vmovl_s16(vget_low_s16(v))), vcvtq_f32_s32(vmovl_high_s16(v)))
        }
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vcvtq_f32_s32(vld1q_s32(p)), vcvtq_f32_s32(vld1q_s32(p.add(4)))) }
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe {
            vst1q_f32(p, self.0);
            vst1q_f32(p.add(4), self.1);
        }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut f16) {
        // SAFETY: the trait's contract: 16 bytes.
        unsafe {
            let (a, b) = (vcvt_f16_f32(self.0), vcvt_f16_f32(self.1));
            vst1q_u16(p.cast(), vcombine_u16(vreinterpret_u16_f16(a), vreinterpret_u16_f16(b)));
        }
    }
    #[inline(always)]
    unsafe fn store_s8(self, p: *mut i8, lo: f32, hi: f32, zero: i32) {
        // SAFETY: the trait's contract: 8 bytes. Narrowing loses nothing: the values are in [-128, 127], and
        // FMAX and FMIN are the compare-and-select of the contract since no lane is NaN.
        unsafe {
            let (lo, hi, zero) = (vdupq_n_f32(lo), vdupq_n_f32(hi), vdupq_n_s32(zero));
            let a = vaddq_s32(vcvtnq_s32_f32(vminq_f32(vmaxq_f32(self.0, lo), hi)), zero);
            let b = vaddq_s32(vcvtnq_s32_f32(vminq_f32(vmaxq_f32(self.1, lo), hi)), zero);
            vst1_s8(p, vmovn_s16(vmovn_high_s32(vmovn_s32(a), b)));
        }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vaddq_f32(self.0, o.0), vaddq_f32(self.1, o.1)) }
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vmulq_f32(self.0, o.0), vmulq_f32(self.1, o.1)) }
    }
    #[inline(always)]
    unsafe fn div(self, o: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vdivq_f32(self.0, o.0), vdivq_f32(self.1, o.1)) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vfmaq_f32(self.0, a.0, b.0), vfmaq_f32(self.1, a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn greater(self, o: Self) -> Self {
        // SAFETY: the trait's contract. FMAX would order zeros and keep NaN.
        unsafe {
            Self(
                vbslq_f32(vcgtq_f32(o.0, self.0), o.0, self.0),
                vbslq_f32(vcgtq_f32(o.1, self.1), o.1, self.1),
            )
        }
    }
}
