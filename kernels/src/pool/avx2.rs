//! AVX2, FMA and F16C.

use std::arch::x86_64::*;

use super::line::entries;
use crate::lanes::avx2::Ymm;

entries!("avx2,fma,f16c", Ymm);

#[target_feature(enable = "avx2")]
pub(super) unsafe fn max_s8(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe {
        if line.channels >= 32 {
            over_channels::<MaxS8<Bytes32>, MaxS8<i8>>(line);
        } else {
            over_channels::<MaxS8<Bytes16>, MaxS8<i8>>(line);
        }
    }
}

#[derive(Clone, Copy)]
struct Sums16(__m256i);

impl Sums for Sums16 {
    const N: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_setzero_si256() })
    }
    #[inline(always)]
    unsafe fn add(self, x: *const i8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_add_epi16(self.0, _mm256_cvtepi8_epi16(_mm_loadu_si128(x.cast()))) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i16) {
        // SAFETY: the trait's contract.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }
}

#[derive(Clone, Copy)]
struct Bytes32(__m256i);

impl Bytes for Bytes32 {
    const N: usize = 32;

    #[inline(always)]
    unsafe fn splat(v: i8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_set1_epi8(v) })
    }
    #[inline(always)]
    unsafe fn load(p: *const i8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_loadu_si256(p.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut i8) {
        // SAFETY: the trait's contract.
        unsafe { _mm256_storeu_si256(p.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_max_epi8(self.0, o.0) })
    }
}

#[derive(Clone, Copy)]
struct Bytes16(__m128i);

impl Bytes for Bytes16 {
    const N: usize = 16;

    #[inline(always)]
    unsafe fn splat(v: i8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm_set1_epi8(v) })
    }
    #[inline(always)]
    unsafe fn load(p: *const i8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm_loadu_si128(p.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut i8) {
        // SAFETY: the trait's contract.
        unsafe { _mm_storeu_si128(p.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm_max_epi8(self.0, o.0) })
    }
}
