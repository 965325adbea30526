//! SDOT (FEAT_DotProd): eight pixels times one panel. A block of weights is two registers of four channels; SDOT
//! multiplies each channel's four weights by four inputs of a pixel, chosen by lane, and adds them in 32 bits.

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::finish;
use crate::conv::micro::{Args, KB_S8, NR};

/// Rows computed at once.
const MR: usize = 8;

/// Bytes of a block of weights.
const BLOCK: usize = NR * KB_S8;

/// `sum[c] + w[c] . x[LANE]`, groups of four bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: usize>(mut sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the function's features have the instruction, which touches registers only.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            w = in(vreg) w,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// M rows times the panel of column `first`.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; `first` is a column that counts, and a multiple of 8.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn panel<const M: usize>(args: &Args, first: usize) {
    let blocks = args.depth.div_ceil(KB_S8);
    // SAFETY: the panel is one of those that hold the columns.
    let mut w = unsafe { args.w.add(first / NR * args.taps * blocks * BLOCK).cast::<i8>() };
    let mut sums = [[vdupq_n_s32(0); 2]; M];
    for tap in 0..args.taps {
        let mut a = [std::ptr::null::<i8>(); M];
        for i in 0..M {
            // SAFETY: there are `taps * MR` addresses.
            a[i] = unsafe { (*args.a.add(tap * MR + i)).cast() };
        }
        let mut block = 0;
        while block + 4 <= blocks {
            let mut x = [vdupq_n_s8(0); M];
            for i in 0..M {
                // SAFETY: each address is valid for the tap's blocks, and four are left.
                x[i] = unsafe { vld1q_s8(a[i].add(block * KB_S8)) };
            }
            macro_rules! lane {
                ($($lane:literal)+) => {$(
                    // SAFETY: the panel has a block for each tap and four channels.
                    let (w0, w1) = unsafe { (vld1q_s8(w.add($lane * BLOCK)), vld1q_s8(w.add($lane * BLOCK + 16))) };
                    for i in 0..M {
                        sums[i][0] = sdot::<$lane>(sums[i][0], w0, x[i]);
                        sums[i][1] = sdot::<$lane>(sums[i][1], w1, x[i]);
                    }
                )+};
            }
            lane!(0 1 2 3);
            // SAFETY: as above.
            w = unsafe { w.add(4 * BLOCK) };
            block += 4;
        }
        while block < blocks {
            // SAFETY: as above; one block is left at least.
            unsafe {
                let (w0, w1) = (vld1q_s8(w), vld1q_s8(w.add(16)));
                for i in 0..M {
                    let x = a[i].add(block * KB_S8).cast::<i32>().read_unaligned();
                    let x = vreinterpretq_s8_s32(vdupq_n_s32(x));
                    sums[i][0] = sdot::<0>(sums[i][0], w0, x);
                    sums[i][1] = sdot::<0>(sums[i][1], w1, x);
                }
                w = w.add(BLOCK);
            }
            block += 1;
        }
    }
    for i in 0..M {
        // SAFETY: the caller's promise.
        unsafe { finish(sums[i], args, i, first) };
    }
}

/// M rows, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,dotprod")]
unsafe fn rows<const M: usize>(args: &Args) {
    for first in (0..args.cols).step_by(NR) {
        // SAFETY: a column that counts.
        unsafe { panel::<M>(args, first) };
    }
}

/// Eight output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn conv_8x8(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            1 => rows::<1>(args),
            2 => rows::<2>(args),
            3 | 4 => rows::<4>(args),
            _ => rows::<8>(args),
        }
    }
}
