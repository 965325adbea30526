//! Products of transformed inputs and weights by Advanced SIMD: eight or four tiles times one panel, by SMLAL with an
//! input as its lane.
//!
//! Weights are `[depth / 4][position][4][NR]`. One pass takes four inputs of each tile and the 64 bytes of weights that
//! they meet at the position. The order is that of cores that issue
//! in order (A53): each register is loaded again after its last use, the second half of the weights in the pass that uses
//! them, the rest for the next pass. Inputs come by way of integer registers, since such a load goes beside a product,
//! and two of them move to vectors in a cycle. In the last pass, which has no next one, the step is 0 and its own
//! operands are read again. A72 orders for itself, its limit is one product a cycle.

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

use super::Matrices;
use crate::conv::micro::{KB_S8, NR};

/// Tiles multiplied at once: many, or few.
const MR: usize = 8;
const FEW: usize = 4;

/// A tile's products with a register of weights: its two registers of sums, its inputs' lane; after each what goes
/// beside it.
macro_rules! tile {
    ($w:literal $lane:literal, $low:literal $high:literal $x:literal, $b0:literal $b1:literal) => {
        concat!(
            "smlal ", $low, ".4s, ", $w, ".4h, ", $x, ".h[", $lane, "]\n", $b0, "\n", "smlal2 ", $high,
            ".4s, ", $w, ".8h, ", $x, ".h[", $lane, "]\n", $b1, "\n",
        )
    };
}

/// Four tiles' products with a register of weights.
macro_rules! first {
    ($w:literal $lane:literal, $b0:literal $b1:literal $b2:literal $b3:literal $b4:literal $b5:literal $b6:literal $b7:literal) => {
        concat!(
            tile!($w $lane, "v8" "v9" "v0", $b0 $b1),
            tile!($w $lane, "v10" "v11" "v1", $b2 $b3),
            tile!($w $lane, "v12" "v13" "v2", $b4 $b5),
            tile!($w $lane, "v14" "v15" "v3", $b6 $b7),
        )
    };
}

/// The other four.
macro_rules! second {
    ($w:literal $lane:literal, $b0:literal $b1:literal $b2:literal $b3:literal $b4:literal $b5:literal $b6:literal $b7:literal) => {
        concat!(
            tile!($w $lane, "v16" "v17" "v4", $b0 $b1),
            tile!($w $lane, "v18" "v19" "v5", $b2 $b3),
            tile!($w $lane, "v20" "v21" "v6", $b4 $b5),
            tile!($w $lane, "v22" "v23" "v7", $b6 $b7),
        )
    };
}

/// The weights that the first pass begins with.
macro_rules! begin {
    () => {
        "ldr {u0}, [{w}, #8]
        ldr d24, [{w}]
        ldr {u1}, [{w}, #24]
        ldr d25, [{w}, #16]
        ins v24.d[1], {u0}
        ldr {u0}, [{w}, #40]
        ldr d26, [{w}, #32]
        ins v25.d[1], {u1}
        ins v26.d[1], {u0}\n"
    };
}

/// The first of four columns of products; meanwhile the step, and the weights of the last column.
macro_rules! column_0 {
    () => {
        first!("v24" "0", "subs {passes}, {passes}, #1" "ldr {u0}, [{w}, #56]" "ldr d27, [{w}, #48]"
            "csel {step}, {eight}, xzr, ne" "csel {u1}, {next}, xzr, ne" "add {at}, {at}, {step}\n add {w}, {w}, {u1}"
            "ins v27.d[1], {u0}" "ldr {u1}, [{w}, #8]")
    };
}

/// Eight tiles' passes.
macro_rules! eight {
    () => {
        concat!(
            begin!(),
            "ldr d0, [{a0}]\n ldr d1, [{a1}]\n ldr d2, [{a2}]\n ldr d3, [{a3}]\n",
            "ldr d4, [{a4}]\n ldr d5, [{a5}]\n ldr d6, [{a6}]\n ldr d7, [{a7}]\n",
            "2:\n",
            column_0!(),
            second!("v24" "0", "" "" "" "" "" "" "" ""),
            first!("v25" "1", "ldr d24, [{w}]" "" "ldr {u0}, [{w}, #24]" "" "ins v24.d[1], {u1}" "" "" ""),
            second!("v25" "1", "" "" "" "" "" "" "" "ldr {u1}, [{w}, #40]"),
            first!("v26" "2", "ldr d25, [{w}, #16]" "" "" "" "ins v25.d[1], {u0}" "" "" ""),
            second!("v26" "2", "" "" "" "" "ldr {t0}, [{a0}, {at}]" "" "ldr {t1}, [{a1}, {at}]" ""),
            first!("v27" "3", "ldr d26, [{w}, #32]" "ldr {t2}, [{a2}, {at}]" "" "ldr {t3}, [{a3}, {at}]"
                "fmov d0, {t0}\n fmov d1, {t1}" "ldr {t0}, [{a4}, {at}]" "ins v26.d[1], {u1}" "ldr {t1}, [{a5}, {at}]"),
            second!("v27" "3", "fmov d2, {t2}\n fmov d3, {t3}" "ldr {t2}, [{a6}, {at}]" "" "ldr {t3}, [{a7}, {at}]"
                "fmov d4, {t0}\n fmov d5, {t1}" "" "" "fmov d6, {t2}\n fmov d7, {t3}"),
            "b.ne 2b\n",
        )
    };
}

/// Four tiles' passes.
macro_rules! four {
    () => {
        concat!(
            begin!(),
            "ldr d0, [{a0}]\n ldr d1, [{a1}]\n ldr d2, [{a2}]\n ldr d3, [{a3}]\n",
            "2:\n",
            column_0!(),
            first!("v25" "1", "ldr d24, [{w}]" "" "ldr {u0}, [{w}, #24]" "" "ins v24.d[1], {u1}" "" ""
                "ldr {u1}, [{w}, #40]"),
            first!("v26" "2", "ldr d25, [{w}, #16]" "ldr {t0}, [{a0}, {at}]" "" "ldr {t1}, [{a1}, {at}]"
                "ins v25.d[1], {u0}" "ldr {t2}, [{a2}, {at}]" "" "ldr {t3}, [{a3}, {at}]"),
            first!("v27" "3", "ldr d26, [{w}, #32]" "" "" "" "fmov d0, {t0}\n fmov d1, {t1}" "" "ins v26.d[1], {u1}"
                "fmov d2, {t2}\n fmov d3, {t3}"),
            "b.ne 2b\n",
        )
    };
}

/// Runs passes over tiles at `$a`; sums of the first four are v8 to v15, those of four more in brackets.
macro_rules! run {
    ($text:expr, $a:ident $m:ident $w:ident $s:ident, [$($more:tt)*]) => {
        asm!(
            $text,
            a0 = in(reg) $a[0],
            a1 = in(reg) $a[1],
            a2 = in(reg) $a[2],
            a3 = in(reg) $a[3],
            $($more)*
            w = inout(reg) $w => _,
            next = in(reg) $m.form.positions() * KB_S8 * NR * 2,
            passes = inout(reg) $m.depth / KB_S8 => _,
            at = inout(reg) 0_usize => _,
            eight = in(reg) 8_usize,
            step = out(reg) _,
            u0 = out(reg) _, u1 = out(reg) _,
            t0 = out(reg) _, t1 = out(reg) _, t2 = out(reg) _, t3 = out(reg) _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            inout("v8") $s[0][0], inout("v9") $s[0][1], inout("v10") $s[1][0], inout("v11") $s[1][1],
            inout("v12") $s[2][0], inout("v13") $s[2][1], inout("v14") $s[3][0], inout("v15") $s[3][1],
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            options(nostack, readonly),
        )
    };
}

/// Sums of R tiles' products with weights at `w`; R is at most 4, or 8.
///
/// # Safety
/// Each of `a` is valid for `m.depth` elements, `w` as [`super::Isa`] asks; the depth is not 0.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn products<const R: usize>(m: &Matrices, a: [*const i16; R], w: *const i16) -> [[int32x4_t; 2]; R] {
    let mut s = [[vdupq_n_s32(0); 2]; R];
    // SAFETY: the caller's promise.
    unsafe {
        if R == MR {
            run!(eight!(), a m w s, [
                a4 = in(reg) a[4],
                a5 = in(reg) a[5],
                a6 = in(reg) a[6],
                a7 = in(reg) a[7],
                inout("v16") s[4][0], inout("v17") s[4][1], inout("v18") s[5][0], inout("v19") s[5][1],
                inout("v20") s[6][0], inout("v21") s[6][1], inout("v22") s[7][0], inout("v23") s[7][1],
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            ]);
        } else if R == FEW {
            run!(four!(), a m w s, []);
        } else {
            for pass in 0..m.depth / KB_S8 {
                let w = w.add(pass * m.form.positions() * KB_S8 * NR);
                let w =
                    [vld1q_s16(w), vld1q_s16(w.add(NR)), vld1q_s16(w.add(2 * NR)), vld1q_s16(w.add(3 * NR))];
                for i in 0..R {
                    let x = vld1_s16(a[i].add(pass * KB_S8));
                    macro_rules! each {
                        ($($k:literal)+) => {$(
                            s[i][0] = vmlal_lane_s16::<$k>(s[i][0], vget_low_s16(w[$k]), x);
                            s[i][1] = vmlal_high_lane_s16::<$k>(s[i][1], w[$k], x);
                        )+};
                    }
                    each!(0 1 2 3);
                }
            }
        }
    }
    s
}

/// R tiles from `tile` on times the panel, at one position.
///
/// # Safety
/// As [`super::Isa`] asks; the tiles are among those of `m`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn block<const R: usize>(m: &Matrices, position: usize, tile: usize) {
    // SAFETY: the elements that the structure describes.
    unsafe {
        let x = m.inputs.add(position * m.input_stride);
        let a = std::array::from_fn(|i| x.wrapping_add((tile + i) * m.row));
        let sums = products::<R>(m, a, m.weights.add(position * KB_S8 * NR));
        let to = m.sums.add(position * m.sum_stride + tile * NR);
        for (i, &sum) in sums.as_flattened().iter().enumerate() {
            let to = to.add(4 * i);
            vst1q_s32(to, if m.add { vaddq_s32(sum, vld1q_s32(to)) } else { sum });
        }
    }
}

/// # Safety
/// As [`super::Isa`] asks.
#[target_feature(enable = "neon")]
pub(super) unsafe fn multiply(m: &Matrices) {
    for position in 0..m.form.positions() {
        let Range { start: mut tile, end } = m.having(position);
        while tile < end {
            let left = end - tile;
            // SAFETY: the caller's promise; no more tiles than there are.
            unsafe {
                match left {
                    MR.. => block::<MR>(m, position, tile),
                    FEW.. => block::<FEW>(m, position, tile),
                    3 => block::<3>(m, position, tile),
                    2 => block::<2>(m, position, tile),
                    _ => block::<1>(m, position, tile),
                }
            }
            tile += match left {
                MR.. => MR,
                _ => FEW.min(left),
            };
        }
    }
}
