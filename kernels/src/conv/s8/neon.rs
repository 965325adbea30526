//! Advanced SIMD of every aarch64 core: four pixels times one panel.
//!
//! A pixel's four inputs, repeated, meet two channels' weights of a block in SMULL; the same of the next block is
//! added in 16 bits (two products of values in [-127, 127] and [-128, 127] fit), and SADALP adds neighbours to
//! 32-bit sums: each lane holds half of a channel's sum, and neighbours are added once, at the end.

use std::arch::aarch64::*;

use crate::conv::micro::{Args, KB_S8, NR};

/// Rows computed at once.
const MR: usize = 4;

/// Bytes of a block of weights.
const BLOCK: usize = NR * KB_S8;

/// Adds the bias to eight sums, requantizes them as [`super::requantize`] does and stores those that count.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; `first` is a column that counts, and a multiple of 8.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn finish(sums: [int32x4_t; 2], args: &Args, row: usize, first: usize) {
    let zero = args.zero_point as f32;
    let (lo, hi) = (vdupq_n_f32(args.lo - zero), vdupq_n_f32(args.hi - zero));
    let mut q = [vdup_n_s16(0); 2];
    for half in 0..2 {
        // SAFETY: biases and multipliers are there for whole panels.
        let (bias, multiplier) = unsafe {
            let at = first + 4 * half;
            (vld1q_s32(args.bias.cast::<i32>().add(at)), vld1q_f32(args.multiplier.add(at)))
        };
        let v = vmulq_f32(vcvtq_f32_s32(vaddq_s32(sums[half], bias)), multiplier);
        let v = vcvtnq_s32_f32(vminq_f32(vmaxq_f32(v, lo), hi));
        q[half] = vqmovn_s32(vaddq_s32(v, vdupq_n_s32(args.zero_point)));
    }
    let v = vqmovn_s16(vcombine_s16(q[0], q[1]));
    let cols = args.cols - first;
    // SAFETY: the row's address takes `cols` bytes.
    unsafe {
        let y = (*args.y.add(row)).add(first).cast::<i8>();
        if cols >= NR {
            vst1_s8(y, v);
        } else {
            let mut bytes = [0_i8; NR];
            vst1_s8(bytes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), y, cols);
        }
    }
}

/// The four inputs at `a`, four times.
///
/// # Safety
/// Four bytes can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn inputs(a: *const u8) -> int8x16_t {
    // SAFETY: the caller's promise.
    vreinterpretq_s8_s32(vdupq_n_s32(unsafe { a.cast::<i32>().read_unaligned() }))
}

/// M rows times the panel of column `first`.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; `first` is a column that counts, and a multiple of 8.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn panel<const M: usize>(args: &Args, first: usize) {
    let blocks = args.depth.div_ceil(KB_S8);
    // SAFETY: the panel is one of those that hold the columns.
    let mut w = unsafe { args.w.add(first / NR * args.taps * blocks * BLOCK).cast::<i8>() };
    // Channels 0 1, 2 3, 4 5, 6 7.
    let mut sums = [[vdupq_n_s32(0); 4]; M];
    for tap in 0..args.taps {
        let mut a = [std::ptr::null::<u8>(); M];
        for i in 0..M {
            // SAFETY: there are `taps * MR` addresses.
            a[i] = unsafe { *args.a.add(tap * MR + i) };
        }
        let mut block = 0;
        // SAFETY: the panel has a block for each tap and four channels; each address is valid for them.
        unsafe {
            while block + 2 <= blocks {
                let [w0, w1, w2, w3] = [0, 16, 32, 48].map(|at| vld1q_s8(w.add(at)));
                for i in 0..M {
                    let x = inputs(a[i].add(block * KB_S8));
                    let next = inputs(a[i].add((block + 1) * KB_S8));
                    let (x_low, next_low) = (vget_low_s8(x), vget_low_s8(next));
                    let p = [
                        vmlal_s8(vmull_s8(vget_low_s8(w0), x_low), vget_low_s8(w2), next_low),
                        vmlal_high_s8(vmull_high_s8(w0, x), w2, next),
                        vmlal_s8(vmull_s8(vget_low_s8(w1), x_low), vget_low_s8(w3), next_low),
                        vmlal_high_s8(vmull_high_s8(w1, x), w3, next),
                    ];
                    for c in 0..4 {
                        sums[i][c] = vpadalq_s16(sums[i][c], p[c]);
                    }
                }
                w = w.add(2 * BLOCK);
                block += 2;
            }
            if block < blocks {
                let [w0, w1] = [0, 16].map(|at| vld1q_s8(w.add(at)));
                for i in 0..M {
                    let x = inputs(a[i].add(block * KB_S8));
                    let x_low = vget_low_s8(x);
                    let p = [
                        vmull_s8(vget_low_s8(w0), x_low),
                        vmull_high_s8(w0, x),
                        vmull_s8(vget_low_s8(w1), x_low),
                        vmull_high_s8(w1, x),
                    ];
                    for c in 0..4 {
                        sums[i][c] = vpadalq_s16(sums[i][c], p[c]);
                    }
                }
                w = w.add(BLOCK);
            }
        }
    }
    for i in 0..M {
        let [s0, s1, s2, s3] = sums[i];
        // SAFETY: the caller's promise.
        unsafe { finish([vpaddq_s32(s0, s1), vpaddq_s32(s2, s3)], args, i, first) };
    }
}

/// M rows, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon")]
unsafe fn rows<const M: usize>(args: &Args) {
    for first in (0..args.cols).step_by(NR) {
        // SAFETY: a column that counts.
        unsafe { panel::<M>(args, first) };
    }
}

/// Four output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn conv_4x8(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            1 => rows::<1>(args),
            2 => rows::<2>(args),
            _ => rows::<4>(args),
        }
    }
}
