//! Transposes by VPUNPCK on XMM registers, and three planes of bytes put together by PSHUFB.

use std::arch::x86_64::*;

use super::plan::Loop;
use super::plane::{self, Zip, transpose};

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

/// # Safety
/// As [`plane::together`] of three columns.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn together3<const SIZE: usize>(src: *const u8, dst: *mut u8, rows: Loop, cols: Loop) {
    let mut done = 0;
    if SIZE == 1 && rows.dst == 3 {
        // Byte i of the 48 is byte i / 3 of plane i % 3: for each third and plane, where its bytes come from.
        let mut order = [[[-1_i8; 16]; 3]; 3];
        for i in 0..48 {
            order[i / 16][i % 3][i % 16] = (i / 3) as i8;
        }
        while done + 16 <= rows.n {
            // SAFETY: sixteen elements of each plane, and their places, are left.
            unsafe {
                for (third, order) in order.iter().enumerate() {
                    let mut v = _mm_setzero_si128();
                    for (plane, order) in order.iter().enumerate() {
                        let from = src.add(done).offset(plane as isize * cols.src);
                        let part = _mm_loadu_si128(from.cast());
                        v = _mm_or_si128(v, _mm_shuffle_epi8(part, _mm_loadu_si128(order.as_ptr().cast())));
                    }
                    _mm_storeu_si128(dst.add(3 * done + 16 * third).cast(), v);
                }
            }
            done += 16;
        }
    }
    let rest = Loop { n: rows.n - done, ..rows };
    // SAFETY: the rest of the plane.
    unsafe {
        plane::together::<SIZE, 3>(src.add(done * SIZE), dst.offset(done as isize * rows.dst), rest, cols)
    }
}
