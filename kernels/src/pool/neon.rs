//! Advanced SIMD.

use std::arch::aarch64::*;

use super::line::entries;
use crate::lanes::neon::Quads;

entries!("neon", Quads);

#[target_feature(enable = "neon")]
pub(super) unsafe fn max_s8(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { over_channels::<MaxS8<Bytes16>, MaxS8<i8>>(line) }
}

#[derive(Clone, Copy)]
struct Sums16(int16x8_t, int16x8_t);

impl Sums for Sums16 {
    const N: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vdupq_n_s16(0), vdupq_n_s16(0)) }
    }
    #[inline(always)]
    unsafe fn add(self, x: *const i8) -> Self {
        // SAFETY: the trait's contract.
        unsafe {
            let x = vld1q_s8(x);
            Self(vaddw_s8(self.0, vget_low_s8(x)), vaddw_high_s8(self.1, x))
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i16) {
        // SAFETY: the trait's contract.
        unsafe {
            vst1q_s16(to, self.0);
            vst1q_s16(to.add(8), self.1);
        }
    }
}

#[derive(Clone, Copy)]
struct Bytes16(int8x16_t);

impl Bytes for Bytes16 {
    const N: usize = 16;

    #[inline(always)]
    unsafe fn splat(v: i8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { vdupq_n_s8(v) })
    }
    #[inline(always)]
    unsafe fn load(p: *const i8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { vld1q_s8(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut i8) {
        // SAFETY: the trait's contract.
        unsafe { vst1q_s8(p, self.0) }
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { vmaxq_s8(self.0, o.0) })
    }
}
