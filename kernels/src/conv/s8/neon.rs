//! Advanced SIMD of every aarch64 core: four pixels times one panel.
//!
//! A pixel's four inputs, repeated, meet two channels' weights of a block in SMULL; the same of the next block is
//! added in 16 bits (two products of values in [-127, 127] and [-128, 127] fit), and SADALP adds neighbours to
//! 32-bit sums: each lane holds half of a channel's sum, and neighbours are added once, at the end.

use std::arch::aarch64::*;
use std::arch::asm;

use super::finish::{ANY, Finish, Output};
use crate::conv::micro::{Args, KB_S8, NR};

/// Rows computed at once.
const MR: usize = 4;

/// Bytes of a block of weights.
const BLOCK: usize = NR * KB_S8;

/// Sums of a row: channels 0 1, 2 3, 4 5, 6 7, each in two lanes.
type Sums = [int32x4_t; 4];

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

/// Adds the products of a block.
///
/// # Safety
/// Each `a` is valid for a block's channels, `w` for a block.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn one<const M: usize>(sums: &mut [Sums; M], a: &[*const u8; M], w: *const i8) {
    // SAFETY: the caller's promise.
    let (w0, w1) = unsafe { (vld1q_s8(w), vld1q_s8(w.add(16))) };
    for i in 0..M {
        // SAFETY: the caller's promise.
        let x = unsafe { inputs(a[i]) };
        let [s0, s1, s2, s3] = &mut sums[i];
        *s0 = vpadalq_s16(*s0, vmull_s8(vget_low_s8(w0), vget_low_s8(x)));
        *s1 = vpadalq_s16(*s1, vmull_high_s8(w0, x));
        *s2 = vpadalq_s16(*s2, vmull_s8(vget_low_s8(w1), vget_low_s8(x)));
        *s3 = vpadalq_s16(*s3, vmull_high_s8(w1, x));
    }
}

/// Adds the products of `pairs` pairs of blocks.
///
/// # Safety
/// Each `a` is valid for the blocks' channels, `w` for the blocks.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn pairs_of<const M: usize>(sums: &mut [Sums; M], a: &[*const u8; M], w: *const i8, pairs: usize) {
    for pair in 0..pairs {
        let at = 2 * pair * KB_S8;
        // SAFETY: the caller's promise.
        unsafe {
            let w = w.add(at * NR);
            let (w0, w1) = (vld1q_s8(w), vld1q_s8(w.add(16)));
            let (w2, w3) = (vld1q_s8(w.add(32)), vld1q_s8(w.add(48)));
            for i in 0..M {
                let (x, y) = (inputs(a[i].add(at)), inputs(a[i].add(at + KB_S8)));
                let (x_low, y_low) = (vget_low_s8(x), vget_low_s8(y));
                let [s0, s1, s2, s3] = &mut sums[i];
                *s0 = vpadalq_s16(*s0, vmlal_s8(vmull_s8(vget_low_s8(w0), x_low), vget_low_s8(w2), y_low));
                *s1 = vpadalq_s16(*s1, vmlal_high_s8(vmull_high_s8(w0, x), w2, y));
                *s2 = vpadalq_s16(*s2, vmlal_s8(vmull_s8(vget_low_s8(w1), x_low), vget_low_s8(w3), y_low));
                *s3 = vpadalq_s16(*s3, vmlal_high_s8(vmull_high_s8(w1, x), w3, y));
            }
        }
    }
}

/// A row's share of a pair of blocks: products of inputs x and y, each four times in a register, with v16 to v19,
/// added to its sums. Meanwhile the next row's eight inputs become nx and ny. The slots take what else there is to
/// do: after three products, after four, after five, after six, after eight.
///
/// A53 gives the order: it issues one of these instructions a cycle, SADALP and a 16-byte load take two, results
/// arrive four cycles later, and integer instructions go beside. A72 orders for itself, its limit is one product a
/// cycle.
macro_rules! row {
    ($s0:literal $s1:literal $s2:literal $s3:literal, $x:literal $y:literal, $next:literal $nx:literal $ny:literal,
     $after3:literal $after4:literal $after5:literal $after6:literal $after8:literal) => {
        concat!(
            "smull v20.8h, v16.8b, ",
            $x,
            ".8b\n",
            "ldr {inputs}, [",
            $next,
            ", {at}]\n",
            "smull2 v21.8h, v16.16b, ",
            $x,
            ".16b\n",
            "smull v22.8h, v17.8b, ",
            $x,
            ".8b\n",
            $after3,
            "smull2 v23.8h, v17.16b, ",
            $x,
            ".16b\n",
            $after4,
            "smlal v20.8h, v18.8b, ",
            $y,
            ".8b\n",
            "lsr {upper}, {inputs}, #32\n",
            $after5,
            "smlal2 v21.8h, v18.16b, ",
            $y,
            ".16b\n",
            $after6,
            "smlal v22.8h, v19.8b, ",
            $y,
            ".8b\n",
            "smlal2 v23.8h, v19.16b, ",
            $y,
            ".16b\n",
            $after8,
            "dup ",
            $nx,
            ".4s, {inputs:w}\n",
            "dup ",
            $ny,
            ".4s, {upper:w}\n",
            "sadalp ",
            $s0,
            ".4s, v20.8h\n",
            "sadalp ",
            $s1,
            ".4s, v21.8h\n",
            "sadalp ",
            $s2,
            ".4s, v22.8h\n",
            "sadalp ",
            $s3,
            ".4s, v23.8h\n",
        )
    };
}

/// As [`pairs_of`], four rows, at the cores' limits.
///
/// # Safety
/// As [`pairs_of`]; `pairs` is at least 1.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn pairs_of_4(sums: &mut [Sums; 4], a: &[*const u8; 4], w: *const i8, pairs: usize) {
    let [s0, s1, s2, s3] = sums;
    // SAFETY: reads `8 * pairs` bytes at each `a` and `64 * pairs` at `w`: in the last pass, which has no next one,
    // {step} is 0 and its own operands are read again.
    unsafe {
        asm!(
            "ldr {inputs}, [{a0}]",
            "ldp q16, q17, [{w}]",
            "lsr {upper}, {inputs}, #32",
            "dup v24.4s, {inputs:w}",
            "dup v25.4s, {upper:w}",
            "ldp q18, q19, [{w}, #32]",
            "2:",
            row!("v0" "v1" "v2" "v3", "v24" "v25", "{a1}" "v26" "v27", "" "" "" "" ""),
            row!("v4" "v5" "v6" "v7", "v26" "v27", "{a2}" "v24" "v25",
                "" "" "" "subs {pairs}, {pairs}, #1\n" ""),
            row!("v8" "v9" "v10" "v11", "v24" "v25", "{a3}" "v26" "v27",
                "csel {step}, {eight}, xzr, ne\n" "" "" "add {w}, {w}, {step}, lsl #3\n" "add {at}, {at}, {step}\n"),
            row!("v12" "v13" "v14" "v15", "v26" "v27", "{a0}" "v24" "v25",
                "" "ldr q16, [{w}]\n ldr q17, [{w}, #16]\n" "" "" "ldr q18, [{w}, #32]\n ldr q19, [{w}, #48]\n"),
            "b.ne 2b",
            a0 = in(reg) a[0],
            a1 = in(reg) a[1],
            a2 = in(reg) a[2],
            a3 = in(reg) a[3],
            w = inout(reg) w => _,
            pairs = inout(reg) pairs => _,
            at = inout(reg) 0_usize => _,
            eight = in(reg) 2 * KB_S8,
            step = out(reg) _,
            inputs = out(reg) _,
            upper = out(reg) _,
            inout("v0") s0[0], inout("v1") s0[1], inout("v2") s0[2], inout("v3") s0[3],
            inout("v4") s1[0], inout("v5") s1[1], inout("v6") s1[2], inout("v7") s1[3],
            inout("v8") s2[0], inout("v9") s2[1], inout("v10") s2[2], inout("v11") s2[3],
            inout("v12") s3[0], inout("v13") s3[1], inout("v14") s3[2], inout("v15") s3[3],
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            options(nostack, readonly),
        );
    }
}

/// M rows, panel after panel; `run` is [`pairs_of`] or does the same.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn rows<const M: usize>(args: &Args, run: impl Fn(&mut [Sums; M], &[*const u8; M], *const i8, usize)) {
    let blocks = args.depth.div_ceil(KB_S8);
    let mut w = args.w.cast::<i8>();
    for first in (0..args.cols).step_by(NR) {
        // SAFETY: biases and multipliers are there for whole panels.
        let (finish, [b0, b1]) = unsafe {
            let bias = args.bias.cast::<i32>().add(first);
            let finish = Finish::<ANY>::new(Output::of(args), args.multiplier.add(first));
            (finish, [vld1q_s32(bias), vld1q_s32(bias.add(4))])
        };
        let zero = vdupq_n_s32(0);
        let mut sums =
            [[vzip1q_s32(b0, zero), vzip2q_s32(b0, zero), vzip1q_s32(b1, zero), vzip2q_s32(b1, zero)]; M];
        for tap in 0..args.taps {
            let mut a = [std::ptr::null(); M];
            for i in 0..M {
                // SAFETY: there are `taps * MR` addresses.
                a[i] = unsafe { *args.a.add(tap * MR + i) };
            }
            if blocks > 1 {
                run(&mut sums, &a, w, blocks / 2);
            }
            if blocks % 2 == 1 {
                for i in 0..M {
                    // SAFETY: the last of the tap's blocks.
                    a[i] = unsafe { a[i].add((blocks - 1) * KB_S8) };
                }
                // SAFETY: the panel has a block for each tap and four channels; each address is valid for them.
                unsafe { one(&mut sums, &a, w.add((blocks - 1) * BLOCK)) };
            }
            // SAFETY: at most the end of the last panel.
            w = unsafe { w.add(blocks * BLOCK) };
        }
        let mut whole = [[zero; 2]; M];
        for i in 0..M {
            let [s0, s1, s2, s3] = sums[i];
            whole[i] = [vpaddq_s32(s0, s1), vpaddq_s32(s2, s3)];
        }
        // SAFETY: the caller's promise.
        unsafe { finish.store(whole, args.y, first, args.cols - first) };
    }
}

/// Four output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn conv_4x8(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one. The panel has a block for each
    // tap and four channels, and each address is valid for them.
    unsafe {
        match args.rows {
            1 => rows::<1>(args, |s, a, w, n| pairs_of(s, a, w, n)),
            2 => rows::<2>(args, |s, a, w, n| pairs_of(s, a, w, n)),
            _ => rows::<4>(args, |s, a, w, n| pairs_of_4(s, a, w, n)),
        }
    }
}
