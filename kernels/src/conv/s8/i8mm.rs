//! SMMLA (FEAT_I8MM): eight pixels times one panel. Two pixels' eight inputs are a 2 x 8 matrix; zipping two blocks
//! of weights gives 2 x 8 matrices of two channels; SMMLA adds their 2 x 2 products in 32 bits.

use std::arch::aarch64::*;
use std::arch::asm;

use super::finish::{ANY, Finish, Mode, Output, SUMS};
use crate::conv::micro::{Args, KB_S8, NR};
use crate::conv::residual::Tile;

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

/// Adds two blocks' products: `w` holds the first's eight channels, `next` the second's.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn accumulate<const P: usize>(
    sums: &mut [[int32x4_t; 4]; P],
    x: &[int8x16_t; P],
    w: [int8x16_t; 2],
    next: [int8x16_t; 2],
) {
    for half in 0..2 {
        let (a, b) = (vreinterpretq_s32_s8(w[half]), vreinterpretq_s32_s8(next[half]));
        let (low, high) = (vreinterpretq_s8_s32(vzip1q_s32(a, b)), vreinterpretq_s8_s32(vzip2q_s32(a, b)));
        for i in 0..P {
            sums[i][2 * half] = smmla(sums[i][2 * half], x[i], low);
            sums[i][2 * half + 1] = smmla(sums[i][2 * half + 1], x[i], high);
        }
    }
}

/// Adds the products of a tap. MODE tells apart its callers: where an instance has one, compilers keep sums in registers.
///
/// # Safety
/// Each `a` is valid for `blocks` blocks' channels, and up to the next multiple of 16 for reading; `w` for the blocks.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn tap<const P: usize, const MODE: Mode>(
    sums: &mut [[int32x4_t; 4]; P],
    a: &[[*const i8; 2]; P],
    mut w: *const i8,
    blocks: usize,
) {
    let mut block = 0;
    // Sixteen inputs of two rows, as two registers of eight of both.
    macro_rules! inputs {
        ($x:ident $y:ident) => {
            let (mut $x, mut $y) = ([vdupq_n_s8(0); P], [vdupq_n_s8(0); P]);
            for i in 0..P {
                // SAFETY: the tap has the block, and its channels can be read in sixteens.
                let (upper, lower) = unsafe {
                    let at = block * KB_S8;
                    (vld1q_s64(a[i][0].add(at).cast()), vld1q_s64(a[i][1].add(at).cast()))
                };
                $x[i] = vreinterpretq_s8_s64(vzip1q_s64(upper, lower));
                $y[i] = vreinterpretq_s8_s64(vzip2q_s64(upper, lower));
            }
        };
    }
    // The eight channels' weights of a block from the current one on.
    let weights = |w: *const i8, block: usize| {
        // SAFETY: the tap has the block.
        unsafe { [vld1q_s8(w.add(block * BLOCK)), vld1q_s8(w.add(block * BLOCK + 16))] }
    };
    let none = [vdupq_n_s8(0); 2];
    while block + 4 <= blocks {
        inputs!(x y);
        accumulate(sums, &x, weights(w, 0), weights(w, 1));
        accumulate(sums, &y, weights(w, 2), weights(w, 3));
        // SAFETY: at most the end of the tap.
        w = unsafe { w.add(4 * BLOCK) };
        block += 4;
    }
    if block < blocks {
        inputs!(x y);
        accumulate(sums, &x, weights(w, 0), if block + 1 < blocks { weights(w, 1) } else { none });
        if block + 2 < blocks {
            accumulate(sums, &y, weights(w, 2), none);
        }
    }
}

/// P pairs of rows, panel after panel; M is 2 P.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,i8mm")]
unsafe fn rows<const P: usize, const M: usize, const MODE: Mode>(args: &Args) {
    let blocks = args.depth.div_ceil(KB_S8);
    let mut w = args.w.cast::<i8>();
    for first in (0..args.cols).step_by(NR) {
        // SAFETY: biases and multipliers are there for whole panels.
        let (finish, [b0, b1]) = unsafe {
            let bias = args.bias.cast::<i32>().add(first);
            let finish = Finish::<MODE>::new(
                Output { lo: args.lo, hi: args.hi, zero_point: args.zero_point },
                args.multiplier.wrapping_add(first),
            );
            (finish, [vld1q_s32(bias), vld1q_s32(bias.add(4))])
        };
        let as_s32 = |v: int64x2_t| vreinterpretq_s32_s64(v);
        let as_s64 = |v: int32x4_t| vreinterpretq_s64_s32(v);
        let (b0, b1) = (as_s64(b0), as_s64(b1));
        // For each pair of rows, channels 0 1, 2 3, 4 5, 6 7.
        let mut sums = [[
            as_s32(vdupq_laneq_s64::<0>(b0)),
            as_s32(vdupq_laneq_s64::<1>(b0)),
            as_s32(vdupq_laneq_s64::<0>(b1)),
            as_s32(vdupq_laneq_s64::<1>(b1)),
        ]; P];
        for t in 0..args.taps {
            let mut a = [[std::ptr::null::<i8>(); 2]; P];
            for i in 0..P {
                // SAFETY: there are `taps * MR` addresses.
                unsafe {
                    let pair = args.a.add(t * MR + 2 * i);
                    a[i] = [(*pair).cast(), (*pair.add(1)).cast()];
                }
            }
            // SAFETY: the panel has a block for each tap and four channels; each address is valid for them.
            unsafe {
                tap::<P, MODE>(&mut sums, &a, w, blocks);
                w = w.add(blocks * BLOCK);
            }
        }
        let mut whole = [[vdupq_n_s32(0); 2]; M];
        for i in 0..P {
            let [s0, s1, s2, s3] = sums[i];
            let s = [as_s64(s0), as_s64(s1), as_s64(s2), as_s64(s3)];
            whole[2 * i] = [as_s32(vzip1q_s64(s[0], s[1])), as_s32(vzip1q_s64(s[2], s[3]))];
            whole[2 * i + 1] = [as_s32(vzip2q_s64(s[0], s[1])), as_s32(vzip2q_s64(s[2], s[3]))];
        }
        // SAFETY: the caller's promise.
        unsafe {
            if let (true, Some(addend)) = (MODE == SUMS, &args.addend) {
                // A copy: what is referred to goes through memory.
                let some = whole;
                addend.finish(&Tile {
                    sums: some.as_ptr().cast(),
                    stride: NR,
                    pixels: M.min(args.rows),
                    columns: (args.cols - first).min(NR),
                    column: first,
                    y: args.y,
                    pixel: 0,
                    offset: first,
                });
                continue;
            }
            let result = if MODE == SUMS { size_of::<i32>() } else { 1 };
            finish.store(whole, args.y, first * result, args.cols - first);
        }
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
        match (args.rows, args.multiplier.is_null()) {
            (1 | 2, false) => rows::<1, 2, ANY>(args),
            (3 | 4, false) => rows::<2, 4, ANY>(args),
            (_, false) => rows::<4, 8, ANY>(args),
            (1 | 2, true) => rows::<1, 2, SUMS>(args),
            (3 | 4, true) => rows::<2, 4, SUMS>(args),
            (_, true) => rows::<4, 8, SUMS>(args),
        }
    }
}
