//! Advanced SIMD of every aarch64 core: four pixels times one panel.
//!
//! A pixel's four inputs, repeated, meet two channels' weights of a block in SMULL; the same of the next block is
//! added in 16 bits (two products of values in [-127, 127] and [-128, 127] fit), and SADALP adds neighbours to
//! 32-bit sums: each lane holds half of a channel's sum, and neighbours are added once, at the end.

use std::arch::aarch64::*;
use std::arch::asm;

use super::dense;
use super::finish::{ADDED, ADDED_NEAR, ANY, Mode, PLAIN, SMALL, SUMS};
use super::walk::{self, Group, Panel};
use crate::conv::block::Block;
use crate::conv::panels::Panels;

/// Pixels computed at once.
pub(super) const MR: usize = 4;

/// Sums of a pixel: channels 0 1, 2 3, 4 5, 6 7, each in two lanes.
pub(super) type Sums = [int32x4_t; 4];

/// A pixel's share of a pair of blocks: eight inputs at `$a`, times v16 to v19, added to its sums.
macro_rules! pixel {
    ($a:literal $s0:literal $s1:literal $s2:literal $s3:literal) => {
        concat!(
            "ldr {x}, [",
            $a,
            "], #8\n",
            "dup v20.4s, {x:w}\n",
            "lsr {x}, {x}, #32\n",
            "dup v21.4s, {x:w}\n",
            "smull v22.8h, v16.8b, v20.8b\n",
            "smull2 v23.8h, v16.16b, v20.16b\n",
            "smull v24.8h, v17.8b, v20.8b\n",
            "smull2 v25.8h, v17.16b, v20.16b\n",
            "smlal v22.8h, v18.8b, v21.8b\n",
            "smlal2 v23.8h, v18.16b, v21.16b\n",
            "smlal v24.8h, v19.8b, v21.8b\n",
            "smlal2 v25.8h, v19.16b, v21.16b\n",
            "sadalp ",
            $s0,
            ".4s, v22.8h\n",
            "sadalp ",
            $s1,
            ".4s, v23.8h\n",
            "sadalp ",
            $s2,
            ".4s, v24.8h\n",
            "sadalp ",
            $s3,
            ".4s, v25.8h\n",
        )
    };
}

/// Two blocks at a time, `{pairs}` times, of so many pixels.
macro_rules! pairs {
    ($pixels:tt) => {
        concat!(
            "mov {n}, {pairs}\n",
            "3:\n",
            "ldp q16, q17, [{w}], #32\n",
            "ldp q18, q19, [{w}], #32\n",
            pixels!($pixels pixel),
            "subs {n}, {n}, #1\n",
            "b.ne 3b\n",
        )
    };
}

/// `$each` of so many pixels.
macro_rules! pixels {
    (1 $each:ident) => { $each!("{a0}" "v0" "v1" "v2" "v3") };
    (2 $each:ident) => { concat!(pixels!(1 $each), $each!("{a1}" "v4" "v5" "v6" "v7")) };
    (4 $each:ident) => {
        concat!(
            pixels!(2 $each),
            $each!("{a2}" "v8" "v9" "v10" "v11"),
            $each!("{a3}" "v12" "v13" "v14" "v15"),
        )
    };
}

/// A pixel's share of a single block: four inputs at `$a`, times v16 and v17.
macro_rules! pixel_of_one {
    ($a:literal $s0:literal $s1:literal $s2:literal $s3:literal) => {
        concat!(
            "ldr {x:w}, [",
            $a,
            "]\n",
            "dup v20.4s, {x:w}\n",
            "smull v22.8h, v16.8b, v20.8b\n",
            "smull2 v23.8h, v16.16b, v20.16b\n",
            "smull v24.8h, v17.8b, v20.8b\n",
            "smull2 v25.8h, v17.16b, v20.16b\n",
            "sadalp ",
            $s0,
            ".4s, v22.8h\n",
            "sadalp ",
            $s1,
            ".4s, v23.8h\n",
            "sadalp ",
            $s2,
            ".4s, v24.8h\n",
            "sadalp ",
            $s3,
            ".4s, v25.8h\n",
        )
    };
}

/// The last block of an odd number, of so many pixels.
macro_rules! one {
    ($pixels:tt) => {
        concat!("ldp q16, q17, [{w}], #32\n", pixels!($pixels pixel_of_one))
    };
}

/// All taps, `$blocks` being what is done for each.
macro_rules! taps {
    ($g:ident, $p:ident, [$($blocks:expr),+], $($operands:tt)*) => {{
        let mut s: [Sums; MR] = [[vdupq_n_s32(0); 4]; MR];
        asm!(
            "ldp q0, q1, [{start}]",
            "ldp q2, q3, [{start}, #32]",
            "ldp q4, q5, [{start}]",
            "ldp q6, q7, [{start}, #32]",
            "ldp q8, q9, [{start}]",
            "ldp q10, q11, [{start}, #32]",
            "ldp q12, q13, [{start}]",
            "ldp q14, q15, [{start}, #32]",
            "2:",
            "ldp {a0}, {a1}, [{a}]",
            "ldp {a2}, {a3}, [{a}, #16]",
            "add {a}, {a}, #32",
            $($blocks,)+
            "subs {taps}, {taps}, #1",
            "b.ne 2b",
            a = inout(reg) $g.a => _,
            taps = inout(reg) $g.taps => _,
            w = inout(reg) $p.w => _,
            start = in(reg) $p.start,
            $($operands)*
            x = out(reg) _,
            a0 = out(reg) _, a1 = out(reg) _, a2 = out(reg) _, a3 = out(reg) _,
            out("v0") s[0][0], out("v1") s[0][1], out("v2") s[0][2], out("v3") s[0][3],
            out("v4") s[1][0], out("v5") s[1][1], out("v6") s[1][2], out("v7") s[1][3],
            out("v8") s[2][0], out("v9") s[2][1], out("v10") s[2][2], out("v11") s[2][3],
            out("v12") s[3][0], out("v13") s[3][1], out("v14") s[3][2], out("v15") s[3][3],
            out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _,
            out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _,
            options(nostack, readonly),
        );
        [neighbours(s[0]), neighbours(s[1]), neighbours(s[2]), neighbours(s[3])]
    }};
}

/// Sums of the first pixels of a group, 1, 2 or all four, times a panel, starting at what [`begin`] made.
///
/// # Safety
/// The group's addresses are valid for its blocks, the panel's for the blocks of all taps and what sums start at.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn sums(g: &Group, p: &Panel, pixels: usize) -> [[int32x4_t; 2]; MR] {
    macro_rules! of {
        ($pixels:tt) => {
            match (g.blocks / 2, g.blocks % 2) {
                (pairs, 0) => taps!(g, p, [pairs!($pixels)], pairs = in(reg) pairs, n = out(reg) _,),
                (0, _) => taps!(g, p, [one!($pixels)],),
                (pairs, _) => {
                    taps!(g, p, [pairs!($pixels), one!($pixels)], pairs = in(reg) pairs, n = out(reg) _,)
                }
            }
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        match pixels {
            1 => of!(1),
            2 => of!(2),
            _ => of!(4),
        }
    }
}

/// Whole sums.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn neighbours([s0, s1, s2, s3]: Sums) -> [int32x4_t; 2] {
    [vpaddq_s32(s0, s1), vpaddq_s32(s2, s3)]
}

/// What sums of a pixel start at, of what the channels' sums do.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn begin([b0, b1]: [int32x4_t; 2]) -> Sums {
    let zero = vdupq_n_s32(0);
    [vzip1q_s32(b0, zero), vzip2q_s32(b0, zero), vzip1q_s32(b1, zero), vzip2q_s32(b1, zero)]
}

/// A block in a mode.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[target_feature(enable = "neon")]
unsafe fn conv_4x8<const MODE: Mode>(b: &Panels<'_>) {
    // SAFETY: the caller's promise, which the groups' addresses keep.
    unsafe {
        walk::walk::<MODE, MR, 4>(
            b,
            |start| begin(start),
            |g, p| sums(g, p, MR),
            |g, p, n, to| to.write(sums(g, p, n)),
            |_, _, _, _| false,
        )
    };
}

/// A block of pixels, four of them times one panel at a time.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn panels(b: &Panels<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match walk::mode(b) {
            SMALL => conv_4x8::<SMALL>(b),
            PLAIN => conv_4x8::<PLAIN>(b),
            SUMS | ADDED | ADDED_NEAR => conv_4x8::<SUMS>(b),
            _ => conv_4x8::<ANY>(b),
        }
    }
}

/// A block of pixels of few input channels.
///
/// # Safety
/// As [`crate::conv::block::Run`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn dense(b: &Block<'_>) {
    // SAFETY: the caller's promise.
    unsafe { dense::block::<MR>(b, panels) };
}
