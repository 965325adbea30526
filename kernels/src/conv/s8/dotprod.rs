//! SDOT (FEAT_DotProd): eight pixels times one panel. A block of weights is two registers of four channels; SDOT
//! multiplies each channel's four weights by four inputs of a pixel, chosen by lane, and adds them in 32 bits.

use std::arch::aarch64::*;
use std::arch::asm;

use super::finish::Finish;
use crate::conv::in_order;
use crate::conv::micro::{Args, KB_S8, NR, advance};

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

/// Adds the products of a tap.
///
/// # Safety
/// Each `a` is valid for `blocks` blocks' channels, and up to the next multiple of 16 for reading; `w` for the blocks.
/// The processor has SDOT.
#[inline(always)] // Else sums would go through memory.
unsafe fn tap<const M: usize>(
    sums: &mut [[int32x4_t; 2]; M],
    a: &[*const i8; M],
    mut w: *const i8,
    blocks: usize,
) {
    let mut block = 0;
    macro_rules! lane {
        ($x:ident $lane:literal) => {
            // SAFETY: the tap has the block, and the processor SDOT.
            unsafe {
                let (w0, w1) = (vld1q_s8(w.add($lane * BLOCK)), vld1q_s8(w.add($lane * BLOCK + 16)));
                for i in 0..M {
                    sums[i][0] = sdot::<$lane>(sums[i][0], w0, $x[i]);
                    sums[i][1] = sdot::<$lane>(sums[i][1], w1, $x[i]);
                }
            }
        };
    }
    macro_rules! inputs {
        ($x:ident) => {
            // SAFETY: the tap has the block, and its channels can be read in sixteens.
            let mut $x = unsafe { [vdupq_n_s8(0); M] };
            for i in 0..M {
                // SAFETY: as above.
                $x[i] = unsafe { vld1q_s8(a[i].add(block * KB_S8)) };
            }
        };
    }
    while block + 4 <= blocks {
        inputs!(x);
        lane!(x 0);
        lane!(x 1);
        lane!(x 2);
        lane!(x 3);
        // SAFETY: at most the end of the tap.
        w = unsafe { w.add(4 * BLOCK) };
        block += 4;
    }
    if block < blocks {
        inputs!(x);
        lane!(x 0);
        if block + 1 < blocks {
            lane!(x 1);
        }
        if block + 2 < blocks {
            lane!(x 2);
        }
    }
}

/// As [`tap`], eight rows, for cores that issue in order.
///
/// # Safety
/// As [`tap`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn tap_in_order(sums: &mut [[int32x4_t; 2]; MR], a: &[*const i8; MR], w: *const i8, blocks: usize) {
    let passes = blocks / 2;
    // SAFETY: the caller's promise.
    unsafe {
        if passes > 0 {
            in_order::s8(sums, a, w, passes);
        }
        if blocks % 2 == 1 {
            tap(sums, &advance(a, 2 * passes * KB_S8), w.add(2 * passes * BLOCK), 1);
        }
    }
}

/// M rows, panel after panel; `tap` is [`tap`] or does the same.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn rows<const M: usize>(
    args: &Args,
    tap: impl Fn(&mut [[int32x4_t; 2]; M], &[*const i8; M], *const i8, usize),
) {
    let blocks = args.depth.div_ceil(KB_S8);
    let mut w = args.w.cast::<i8>();
    for first in (0..args.cols).step_by(NR) {
        // SAFETY: a column that counts.
        let (finish, bias) = unsafe { Finish::new(args, first) };
        let mut sums = [bias; M];
        for t in 0..args.taps {
            let mut a = [std::ptr::null::<i8>(); M];
            for i in 0..M {
                // SAFETY: there are `taps * MR` addresses.
                a[i] = unsafe { (*args.a.add(t * MR + i)).cast() };
            }
            // SAFETY: the panel has a block for each tap and four channels; each address is valid for them.
            unsafe {
                tap(&mut sums, &a, w, blocks);
                w = w.add(blocks * BLOCK);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { finish.store(sums, args, first) };
    }
}

/// Eight output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn conv_8x8<const IN_ORDER: bool>(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one. The panel has a block for each
    // tap and four channels, and each address is valid for them.
    unsafe {
        match args.rows {
            1 => rows::<1>(args, |s, a, w, n| tap(s, a, w, n)),
            2 => rows::<2>(args, |s, a, w, n| tap(s, a, w, n)),
            3 | 4 => rows::<4>(args, |s, a, w, n| tap(s, a, w, n)),
            _ if IN_ORDER => rows::<MR>(args, |s, a, w, n| tap_in_order(s, a, w, n)),
            _ => rows::<MR>(args, |s, a, w, n| tap(s, a, w, n)),
        }
    }
}
