//! Transposes by VPUNPCK on XMM registers.

use std::arch::x86_64::*;

use super::plan::Loop;
use super::plane::{Zip, transpose};

#[derive(Clone, Copy)]
struct Xmm(__m128i);

impl Zip for Xmm {
    #[inline(always)]
    unsafe fn load(p: *const u8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm_loadu_si128(p.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u8) {
        // SAFETY: the trait's contract.
        unsafe { _mm_storeu_si128(p.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn zip<const SIZE: usize>(a: Self, b: Self) -> (Self, Self) {
        let (a, b) = (a.0, b.0);
        // SAFETY: the trait's contract.
        let (lo, hi) = unsafe {
            match SIZE {
                1 => (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)),
                2 => (_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b)),
                4 => (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)),
                _ => (_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b)),
            }
        };
        (Self(lo), Self(hi))
    }
}

/// # Safety
/// As [`transpose`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn transpose_avx2<const SIZE: usize>(src: *const u8, dst: *mut u8, rows: Loop, cols: Loop) {
    // SAFETY: the same contract.
    unsafe { transpose::<Xmm, SIZE>(src, dst, rows, cols) }
}
