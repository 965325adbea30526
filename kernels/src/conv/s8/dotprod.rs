//! SDOT (FEAT_DotProd): eight pixels times one panel. A block of weights is two registers of four channels; SDOT
//! multiplies each channel's four weights by four inputs of a pixel, chosen by lane, and adds them in 32 bits.

use std::arch::aarch64::*;
use std::arch::asm;

use super::dense;
use super::finish::{ADDED, ADDED_NEAR, ANY, Mode, NEAR, PLAIN, SMALL, SUMS};
use super::walk::{self, Group, Panel};
use crate::conv::block::Block;
use crate::conv::in_order;
use crate::conv::micro::{KB_S8, NR, advance};
use crate::conv::panels::Panels;

/// Pixels computed at once.
pub(super) const MR: usize = 8;

/// See [`crate::conv::panels::PanelRow::fewer`].
pub(super) const FEWER: &[usize] = &[1, 2, 3, 4, 5, 6, 7];

/// Likewise, for cores that issue in order: they wait for weights.
pub(super) const FEWER_IN_ORDER: &[usize] = &[3, 4, 6, 6, 8, 8, 8];

/// Bytes of a block of weights.
const BLOCK: usize = NR * KB_S8;

/// A block's products: the registers of weights, and the lane of every pixel's inputs.
macro_rules! products {
    ($w0:literal $w1:literal $lane:literal) => {
        concat!(
            products!(@ "v8" "v9" $w0 $w1 "v0" $lane),
            products!(@ "v10" "v11" $w0 $w1 "v1" $lane),
            products!(@ "v12" "v13" $w0 $w1 "v2" $lane),
            products!(@ "v14" "v15" $w0 $w1 "v3" $lane),
            products!(@ "v16" "v17" $w0 $w1 "v4" $lane),
            products!(@ "v18" "v19" $w0 $w1 "v5" $lane),
            products!(@ "v20" "v21" $w0 $w1 "v6" $lane),
            products!(@ "v22" "v23" $w0 $w1 "v7" $lane),
        )
    };
    (@ $s0:literal $s1:literal $w0:literal $w1:literal $x:literal $lane:literal) => {
        concat!(
            "sdot ", $s0, ".4s, ", $w0, ".16b, ", $x, ".4b[", $lane, "]\n",
            "sdot ", $s1, ".4s, ", $w1, ".16b, ", $x, ".4b[", $lane, "]\n",
        )
    };
}

/// Sixteen inputs of every pixel.
macro_rules! inputs {
    () => {
        "ldr q0, [{a0}], #16
        ldr q1, [{a1}], #16
        ldr q2, [{a2}], #16
        ldr q3, [{a3}], #16
        ldr q4, [{a4}], #16
        ldr q5, [{a5}], #16
        ldr q6, [{a6}], #16
        ldr q7, [{a7}], #16\n"
    };
}

/// Four blocks at a time, `{fours}` times.
macro_rules! fours {
    () => {
        concat!(
            "mov {n}, {fours}\n",
            "3:\n",
            inputs!(),
            "ldp q24, q25, [{w}]\n",
            "ldp q26, q27, [{w}, #32]\n",
            "ldp q28, q29, [{w}, #64]\n",
            "ldp q30, q31, [{w}, #96]\n",
            "add {w}, {w}, #128\n",
            products!("v24" "v25" "0"),
            products!("v26" "v27" "1"),
            products!("v28" "v29" "2"),
            products!("v30" "v31" "3"),
            "subs {n}, {n}, #1\n",
            "b.ne 3b\n",
        )
    };
}

/// The blocks that are left, `{rest}` of them, 1 to 3.
macro_rules! rest {
    () => {
        concat!(
            inputs!(),
            "cmp {rest}, #2\n",
            "ldp q24, q25, [{w}], #32\n",
            products!("v24" "v25" "0"),
            "b.lo 4f\n",
            "ldp q26, q27, [{w}], #32\n",
            products!("v26" "v27" "1"),
            "b.eq 4f\n",
            "ldp q28, q29, [{w}], #32\n",
            products!("v28" "v29" "2"),
            "4:\n",
        )
    };
}

/// All taps, `$blocks` being what is done for each.
macro_rules! taps {
    ($g:ident, $p:ident, [$($blocks:expr),+], $($operands:tt)+) => {{
        let mut s = [[vdupq_n_s32(0); 2]; MR];
        asm!(
            "ldp q8, q9, [{start}]",
            "ldp q10, q11, [{start}]",
            "ldp q12, q13, [{start}]",
            "ldp q14, q15, [{start}]",
            "ldp q16, q17, [{start}]",
            "ldp q18, q19, [{start}]",
            "ldp q20, q21, [{start}]",
            "ldp q22, q23, [{start}]",
            "2:",
            "ldp {a0}, {a1}, [{a}]",
            "ldp {a2}, {a3}, [{a}, #16]",
            "ldp {a4}, {a5}, [{a}, #32]",
            "ldp {a6}, {a7}, [{a}, #48]",
            "add {a}, {a}, #64",
            $($blocks,)+
            "add {w}, {w}, {between}",
            "subs {taps}, {taps}, #1",
            "b.ne 2b",
            a = inout(reg) $g.a => _,
            taps = inout(reg) $g.taps => _,
            w = inout(reg) $p.w => _,
            start = in(reg) $p.start,
            between = in(reg) $g.between,
            $($operands)+
            a0 = out(reg) _, a1 = out(reg) _, a2 = out(reg) _, a3 = out(reg) _,
            a4 = out(reg) _, a5 = out(reg) _, a6 = out(reg) _, a7 = out(reg) _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") s[0][0], out("v9") s[0][1], out("v10") s[1][0], out("v11") s[1][1],
            out("v12") s[2][0], out("v13") s[2][1], out("v14") s[3][0], out("v15") s[3][1],
            out("v16") s[4][0], out("v17") s[4][1], out("v18") s[5][0], out("v19") s[5][1],
            out("v20") s[6][0], out("v21") s[6][1], out("v22") s[7][0], out("v23") s[7][1],
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack, readonly),
        );
        s
    }};
}

/// Sums of eight pixels times a panel.
///
/// # Safety
/// The group's addresses are valid for its blocks, and up to the next multiple of 16 bytes for reading; the panel's for
/// the blocks of all taps and the eight numbers that sums start at.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn eight(g: &Group, p: &Panel) -> [[int32x4_t; 2]; MR] {
    // SAFETY: the caller's promise.
    unsafe {
        match (g.blocks / 4, g.blocks % 4) {
            (fours, 0) => taps!(g, p, [fours!()], fours = in(reg) fours, n = out(reg) _,),
            (0, rest) => taps!(g, p, [rest!()], rest = in(reg) rest,),
            (fours, rest) => {
                taps!(g, p, [fours!(), rest!()], fours = in(reg) fours, rest = in(reg) rest, n = out(reg) _,)
            }
        }
    }
}

/// As [`eight`], for cores that issue in order.
///
/// # Safety
/// As [`eight`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn eight_in_order(g: &Group, p: &Panel) -> [[int32x4_t; 2]; MR] {
    let (pairs, mut w) = (g.blocks / 2, p.w);
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[vld1q_s32(p.start), vld1q_s32(p.start.add(4))]; MR];
        for t in 0..g.taps {
            let a = *g.a.add(t * MR).cast::<[*const i8; MR]>();
            if pairs > 0 {
                in_order::s8(&mut sums, &a, w, pairs);
            }
            if g.blocks % 2 == 1 {
                tap(&mut sums, &advance(&a, 2 * pairs * KB_S8), w.add(2 * pairs * BLOCK), 1);
            }
            w = w.wrapping_add(g.blocks * BLOCK + g.between);
        }
        sums
    }
}

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

/// Adds the products of a tap of M pixels.
///
/// # Safety
/// Each `a` is valid for `blocks` blocks' channels, and up to the next multiple of 16 for reading; `w` for the blocks.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn tap<const M: usize>(
    sums: &mut [[int32x4_t; 2]; M],
    a: &[*const i8; M],
    mut w: *const i8,
    blocks: usize,
) {
    let mut x = [vdupq_n_s8(0); M];
    macro_rules! lane {
        ($lane:literal) => {
            // SAFETY: the tap has the block.
            let (w0, w1) = unsafe { (vld1q_s8(w.add($lane * BLOCK)), vld1q_s8(w.add($lane * BLOCK + 16))) };
            for i in 0..M {
                sums[i][0] = sdot::<$lane>(sums[i][0], w0, x[i]);
                sums[i][1] = sdot::<$lane>(sums[i][1], w1, x[i]);
            }
        };
    }
    let (fours, rest) = (blocks / 4, blocks % 4);
    for four in 0..fours {
        for i in 0..M {
            // SAFETY: the tap has the blocks.
            x[i] = unsafe { vld1q_s8(a[i].add(four * 4 * KB_S8)) };
        }
        lane!(0);
        lane!(1);
        lane!(2);
        lane!(3);
        w = w.wrapping_add(4 * BLOCK);
    }
    if rest == 0 {
        return;
    }
    for i in 0..M {
        // SAFETY: the tap has the block, and its channels can be read in sixteens.
        x[i] = unsafe { vld1q_s8(a[i].add(fours * 4 * KB_S8)) };
    }
    lane!(0);
    if rest > 1 {
        lane!(1);
    }
    if rest > 2 {
        lane!(2);
    }
}

/// Sums of the first M pixels of a group times a panel, written to `to`.
///
/// # Safety
/// As [`eight`]; `to` has room for them.
#[inline(never)] // Blocks of all modes have it in common.
#[target_feature(enable = "neon,dotprod")]
unsafe fn sums<const M: usize>(g: &Group, p: &Panel, to: *mut [int32x4_t; 2]) {
    let mut w = p.w;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[vld1q_s32(p.start), vld1q_s32(p.start.add(4))]; M];
        for t in 0..g.taps {
            let a = *g.a.add(t * MR).cast::<[*const i8; M]>();
            tap(&mut sums, &a, w, g.blocks);
            w = w.wrapping_add(g.blocks * BLOCK + g.between);
        }
        to.cast::<[[int32x4_t; 2]; M]>().write(sums);
    }
}

/// Sums of at least the first `count` pixels of a group, less than eight, times a panel, written to `to`.
///
/// # Safety
/// As [`eight`]; `to` has room for eight.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn few<const IN_ORDER: bool>(g: &Group, p: &Panel, count: usize, to: *mut [int32x4_t; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            1 => sums::<1>(g, p, to),
            2 => sums::<2>(g, p, to),
            3 if !IN_ORDER => sums::<3>(g, p, to),
            3 | 4 => sums::<4>(g, p, to),
            _ if IN_ORDER => to.cast::<[[int32x4_t; 2]; MR]>().write(eight_in_order(g, p)),
            5 => sums::<5>(g, p, to),
            6 => sums::<6>(g, p, to),
            _ => sums::<7>(g, p, to),
        }
    }
}

/// A block in a mode.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[target_feature(enable = "neon,dotprod")]
unsafe fn conv_8x8<const IN_ORDER: bool, const MODE: Mode>(b: &Panels<'_>) {
    // SAFETY: the caller's promise, which the groups' addresses keep.
    unsafe {
        walk::walk::<MODE, MR, 2>(
            b,
            |start| start,
            |g, p| if IN_ORDER { eight_in_order(g, p) } else { eight(g, p) },
            |g, p, count, to| few::<IN_ORDER>(g, p, count, to.cast()),
            |_, _, _, _| false,
        );
    }
}

/// A block of pixels, eight of them times one panel at a time.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn panels<const IN_ORDER: bool>(b: &Panels<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match walk::mode(b) {
            SMALL => conv_8x8::<IN_ORDER, SMALL>(b),
            PLAIN => conv_8x8::<IN_ORDER, PLAIN>(b),
            SUMS => conv_8x8::<IN_ORDER, SUMS>(b),
            // Code is there twice: what gains little stays away.
            ADDED | ADDED_NEAR if IN_ORDER => conv_8x8::<IN_ORDER, SUMS>(b),
            ADDED => conv_8x8::<false, ADDED>(b),
            ADDED_NEAR => conv_8x8::<false, ADDED_NEAR>(b),
            NEAR if !IN_ORDER => conv_8x8::<false, NEAR>(b),
            _ => conv_8x8::<IN_ORDER, ANY>(b),
        }
    }
}

/// A block of pixels of few input channels.
///
/// # Safety
/// As [`crate::conv::block::Run`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn dense<const IN_ORDER: bool>(b: &Block<'_>) {
    // SAFETY: the caller's promise.
    unsafe { dense::block::<MR>(b, panels::<IN_ORDER>) };
}
