//! Transposes by ZIP.

use std::arch::aarch64::*;

use super::plan::Loop;
use super::plane::{self, Zip, transpose};

#[derive(Clone, Copy)]
struct Q(uint8x16_t);

impl Zip for Q {
    #[inline(always)]
    unsafe fn load(p: *const u8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { vld1q_u8(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u8) {
        // SAFETY: the trait's contract.
        unsafe { vst1q_u8(p, self.0) }
    }
    #[inline(always)]
    unsafe fn zip<const SIZE: usize>(a: Self, b: Self) -> (Self, Self) {
        let (a, b) = (a.0, b.0);
        // SAFETY: the trait's contract.
        let (lo, hi) = unsafe {
            match SIZE {
                1 => (vzip1q_u8(a, b), vzip2q_u8(a, b)),
                2 => {
                    let (a, b) = (vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b));
                    (vreinterpretq_u8_u16(vzip1q_u16(a, b)), vreinterpretq_u8_u16(vzip2q_u16(a, b)))
                }
                4 => {
                    let (a, b) = (vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b));
                    (vreinterpretq_u8_u32(vzip1q_u32(a, b)), vreinterpretq_u8_u32(vzip2q_u32(a, b)))
                }
                _ => {
                    let (a, b) = (vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b));
                    (vreinterpretq_u8_u64(vzip1q_u64(a, b)), vreinterpretq_u8_u64(vzip2q_u64(a, b)))
                }
            }
        };
        (Self(lo), Self(hi))
    }
}

/// # Safety
/// As [`transpose`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn transpose_neon<const SIZE: usize>(src: *const u8, dst: *mut u8, rows: Loop, cols: Loop) {
    // SAFETY: the same contract.
    unsafe { transpose::<Q, SIZE>(src, dst, rows, cols) }
}

/// Three planes put together; of bytes sixteen at a time, by ST3.
///
/// # Safety
/// As [`plane::together`] of three columns.
#[target_feature(enable = "neon")]
pub(super) unsafe fn together3<const SIZE: usize>(src: *const u8, dst: *mut u8, rows: Loop, cols: Loop) {
    let mut done = 0;
    if SIZE == 1 && rows.dst == 3 {
        while done + 16 <= rows.n {
            // SAFETY: sixteen elements of each plane, and their places, are left.
            unsafe {
                let from = src.add(done);
                let planes = [0, 1, 2].map(|c: isize| vld1q_u8(from.offset(c * cols.src)));
                vst3q_u8(dst.add(3 * done), uint8x16x3_t(planes[0], planes[1], planes[2]));
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
