//! SMMLA (FEAT_I8MM): eight pixels times one panel. Two pixels' eight inputs are a 2 x 8 matrix; zipping two blocks
//! of weights gives 2 x 8 matrices of two channels; SMMLA adds their 2 x 2 products in 32 bits.

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::finish;
use crate::conv::micro::{Args, KB_S8, NR};

/// Rows computed at once.
const MR: usize = 8;

/// Bytes of a block of weights.
const BLOCK: usize = NR * KB_S8;

/// `sum[r][c] + x[r] . w[c]` of two rows and two channels of eight bytes each.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(mut sum: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: the function's features have the instruction, which touches registers only.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {x:v}.16b, {w:v}.16b",
            sum = inout(vreg) sum,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Adds two blocks' products: `w` of the first and `next` of the second, four channels in each register.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn accumulate<const P: usize>(
    sums: &mut [[int32x4_t; 4]; P],
    x: [int8x16_t; P],
    w: [int8x16_t; 2],
    next: [int8x16_t; 2],
) {
    for half in 0..2 {
        let (a, b) = (vreinterpretq_s32_s8(w[half]), vreinterpretq_s32_s8(next[half]));
        let pairs = [vzip1q_s32(a, b), vzip2q_s32(a, b)].map(|v| vreinterpretq_s8_s32(v));
        for i in 0..P {
            sums[i][2 * half] = smmla(sums[i][2 * half], x[i], pairs[0]);
            sums[i][2 * half + 1] = smmla(sums[i][2 * half + 1], x[i], pairs[1]);
        }
    }
}

/// P pairs of rows times the panel of column `first`.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; `first` is a column that counts, and a multiple of 8.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn panel<const P: usize>(args: &Args, first: usize) {
    let blocks = args.depth.div_ceil(KB_S8);
    // SAFETY: the panel is one of those that hold the columns.
    let mut w = unsafe { args.w.add(first / NR * args.taps * blocks * BLOCK).cast::<i8>() };
    // For each pair of rows, channels 0 1, 2 3, 4 5, 6 7.
    let mut sums = [[vdupq_n_s32(0); 4]; P];
    for tap in 0..args.taps {
        let mut a = [[std::ptr::null::<i8>(); 2]; P];
        for i in 0..P {
            // SAFETY: there are `taps * MR` addresses.
            a[i] = [0, 1].map(|row| unsafe { (*args.a.add(tap * MR + 2 * i + row)).cast() });
        }
        let mut block = 0;
        let mut x = [vdupq_n_s8(0); P];
        // SAFETY: the panel has a block for each tap and four channels; each address is valid for them.
        unsafe {
            while block + 2 <= blocks {
                for i in 0..P {
                    let [upper, lower] = a[i].map(|a| vld1_s8(a.add(block * KB_S8)));
                    x[i] = vcombine_s8(upper, lower);
                }
                let [w0, w1, w2, w3] = [0, 16, 32, 48].map(|at| vld1q_s8(w.add(at)));
                accumulate(&mut sums, x, [w0, w1], [w2, w3]);
                w = w.add(2 * BLOCK);
                block += 2;
            }
            if block < blocks {
                for i in 0..P {
                    let four = |a: *const i8| u64::from(a.add(block * KB_S8).cast::<u32>().read_unaligned());
                    let [upper, lower] = a[i].map(|a| vcreate_s8(four(a)));
                    x[i] = vcombine_s8(upper, lower);
                }
                let [w0, w1] = [0, 16].map(|at| vld1q_s8(w.add(at)));
                accumulate(&mut sums, x, [w0, w1], [vdupq_n_s8(0); 2]);
                w = w.add(BLOCK);
            }
        }
    }
    for i in 0..P {
        let s = sums[i].map(|v| vreinterpretq_s64_s32(v));
        let upper = [vzip1q_s64(s[0], s[1]), vzip1q_s64(s[2], s[3])].map(|v| vreinterpretq_s32_s64(v));
        let lower = [vzip2q_s64(s[0], s[1]), vzip2q_s64(s[2], s[3])].map(|v| vreinterpretq_s32_s64(v));
        // SAFETY: the caller's promise.
        unsafe {
            finish(upper, args, 2 * i, first);
            finish(lower, args, 2 * i + 1, first);
        }
    }
}

/// P pairs of rows, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,i8mm")]
unsafe fn rows<const P: usize>(args: &Args) {
    for first in (0..args.cols).step_by(NR) {
        // SAFETY: a column that counts.
        unsafe { panel::<P>(args, first) };
    }
}

/// Eight output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,i8mm")]
pub(super) unsafe fn conv_8x8(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            1 | 2 => rows::<1>(args),
            3 | 4 => rows::<2>(args),
            _ => rows::<4>(args),
        }
    }
}
