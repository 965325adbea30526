//! Advanced SIMD: eight pixels times one panel, four input channels at a time. f16 operands are converted to
//! f32 on the way, with instructions that every aarch64 core has.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::conv::in_order;
use crate::conv::micro::{Args, NR, advance};
use crate::float::{Float, Half, Single};

/// Rows computed at once.
const MR: usize = 8;

/// Sums of M rows times one panel, in registers.
pub(crate) type Sums<const M: usize> = [[float32x4_t; 2]; M];

/// Four f16 to f32. `vcvt_f32_f16` asks for FEAT_FP16, which FCVTL does not need.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn widen(v: uint16x4_t) -> float32x4_t {
    let out: float32x4_t;
    // SAFETY: FCVTL is part of Advanced SIMD and touches registers only.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) out, in(vreg) v, options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Four f32 to f16, rounded to nearest even.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn narrow(v: float32x4_t) -> uint16x4_t {
    let out: uint16x4_t;
    // SAFETY: FCVTN is part of Advanced SIMD and touches registers only.
    unsafe {
        asm!("fcvtn {0:v}.4h, {1:v}.4s", out(vreg) out, in(vreg) v, options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Four elements as f32.
///
/// # Safety
/// `p` is valid for reads of four elements.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn load4<const HALF: bool>(p: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe { if HALF { widen(vld1_u16(p.cast())) } else { vld1q_f32(p.cast()) } }
}

/// Eight elements as f32.
///
/// # Safety
/// `p` is valid for reads of eight elements.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn load8<const HALF: bool>(p: *const u8) -> [float32x4_t; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        if HALF {
            let v = vld1q_u16(p.cast());
            [widen(vget_low_u16(v)), widen(vget_high_u16(v))]
        } else {
            [vld1q_f32(p.cast()), vld1q_f32(p.cast::<f32>().add(4))]
        }
    }
}

/// One element as f32, in every lane.
///
/// # Safety
/// `p` is valid for reads of one element.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn splat<const HALF: bool>(p: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe { if HALF { widen(vld1_dup_u16(p.cast())) } else { vld1q_dup_f32(p.cast()) } }
}

/// `sums[i][c] += a[i][k] * w[k][c]` for k from 0 to `depth`, in this order.
///
/// # Safety
/// Each `a` is valid for `depth` elements and `w` for `depth * NR`, f16 when `HALF`.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn accumulate<const HALF: bool, const M: usize>(
    sums: &mut Sums<M>,
    a: &[*const u8; M],
    depth: usize,
    w: *const u8,
) {
    let size = if HALF { Half::SIZE } else { Single::SIZE };
    let mut c = *sums;
    let mut k = 0;
    while k + 4 <= depth {
        let mut x = [vdupq_n_f32(0.0); M];
        for i in 0..M {
            // SAFETY: four of `depth` elements are left.
            x[i] = unsafe { load4::<HALF>(a[i].add(k * size)) };
        }
        macro_rules! lane {
            ($($lane:literal)+) => {$(
                // SAFETY: as above.
                let [w0, w1] = unsafe { load8::<HALF>(w.add((k + $lane) * NR * size)) };
                for i in 0..M {
                    c[i][0] = vfmaq_laneq_f32::<$lane>(c[i][0], w0, x[i]);
                    c[i][1] = vfmaq_laneq_f32::<$lane>(c[i][1], w1, x[i]);
                }
            )+};
        }
        lane!(0 1 2 3);
        k += 4;
    }
    while k < depth {
        // SAFETY: k is below `depth`.
        let [w0, w1] = unsafe { load8::<HALF>(w.add(k * NR * size)) };
        for i in 0..M {
            // SAFETY: as above.
            let x = unsafe { splat::<HALF>(a[i].add(k * size)) };
            c[i][0] = vfmaq_f32(c[i][0], w0, x);
            c[i][1] = vfmaq_f32(c[i][1], w1, x);
        }
        k += 1;
    }
    *sums = c;
}

/// `min(max(v, lo), hi)` with the bits of [`crate::float::clamp`].
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn clamp(v: float32x4_t, lo: float32x4_t, hi: float32x4_t) -> float32x4_t {
    let v = vbslq_f32(vcltq_f32(v, lo), lo, v);
    vbslq_f32(vcgtq_f32(v, hi), hi, v)
}

/// Stores the first `cols` of eight results.
///
/// # Safety
/// `y` is valid for `cols` elements.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn store<const HALF: bool>(v: [float32x4_t; 2], y: *mut u8, cols: usize) {
    // SAFETY: `y` takes `cols` elements, each `out` eight.
    unsafe {
        if HALF {
            let v = vcombine_u16(narrow(v[0]), narrow(v[1]));
            if cols >= 8 {
                vst1q_u16(y.cast(), v);
            } else {
                let mut out = [0_u16; 8];
                vst1q_u16(out.as_mut_ptr(), v);
                std::ptr::copy_nonoverlapping(out.as_ptr().cast::<u8>(), y, cols * Half::SIZE);
            }
        } else if cols >= 8 {
            vst1q_f32(y.cast(), v[0]);
            vst1q_f32(y.cast::<f32>().add(4), v[1]);
        } else {
            let mut out = [0.0_f32; 8];
            vst1q_f32(out.as_mut_ptr(), v[0]);
            vst1q_f32(out.as_mut_ptr().add(4), v[1]);
            std::ptr::copy_nonoverlapping(out.as_ptr().cast::<u8>(), y, cols * Single::SIZE);
        }
    }
}

/// [`accumulate`] of f32 and eight rows, for cores that issue in order.
///
/// # Safety
/// As [`accumulate`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn accumulate_in_order(sums: &mut Sums<MR>, a: &[*const u8; MR], depth: usize, w: *const u8) {
    let passes = depth / 2;
    // SAFETY: the caller's promise.
    unsafe {
        if passes > 0 {
            in_order::f32(sums, a, w, passes);
        }
        if depth % 2 == 1 {
            let last = depth - 1;
            let a = advance(a, last * Single::SIZE);
            accumulate::<false, MR>(sums, &a, 1, w.add(last * NR * Single::SIZE));
        }
    }
}

/// M rows, panel after panel; `accumulate` is [`accumulate`] or does the same.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn rows<const HALF: bool, const M: usize>(
    args: &Args,
    accumulate: impl Fn(&mut Sums<M>, &[*const u8; M], usize, *const u8),
) {
    let size = if HALF { Half::SIZE } else { Single::SIZE };
    let tap_bytes = args.depth * NR * size;
    let (lo, hi) = (vdupq_n_f32(args.lo), vdupq_n_f32(args.hi));
    for first in (0..args.cols).step_by(NR) {
        // SAFETY: biases are there for whole panels.
        let bias = unsafe { load8::<false>(args.bias.add(first * Single::SIZE)) };
        let mut sums = [bias; M];
        for tap in 0..args.taps {
            let mut a = [std::ptr::null(); M];
            for i in 0..M {
                // SAFETY: there are `taps * MR` addresses.
                a[i] = unsafe { *args.a.add(tap * MR + i) };
            }
            // SAFETY: the panel holds columns that count, and the tap is one of its taps; `depth` elements
            // lie at each address.
            unsafe {
                let w = args.w.add((first / NR * args.taps + tap) * tap_bytes);
                accumulate(&mut sums, &a, args.depth, w);
            }
        }
        for i in 0..M {
            let v = [clamp(sums[i][0], lo, hi), clamp(sums[i][1], lo, hi)];
            // SAFETY: the row's address takes `cols` elements.
            unsafe { store::<HALF>(v, (*args.y.add(i)).add(first * size), args.cols - first) };
        }
    }
}

/// Eight output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon")]
pub(crate) unsafe fn conv_8x8<const HALF: bool>(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            1 => rows::<HALF, 1>(args, |s, a, n, w| accumulate::<HALF, 1>(s, a, n, w)),
            2 => rows::<HALF, 2>(args, |s, a, n, w| accumulate::<HALF, 2>(s, a, n, w)),
            3 | 4 => rows::<HALF, 4>(args, |s, a, n, w| accumulate::<HALF, 4>(s, a, n, w)),
            _ => rows::<HALF, MR>(args, |s, a, n, w| accumulate::<HALF, MR>(s, a, n, w)),
        }
    }
}

/// As [`conv_8x8`] of f32, for cores that issue in order.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon")]
pub(crate) unsafe fn conv_8x8_in_order(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            1..=4 => conv_8x8::<false>(args),
            _ => rows::<false, MR>(args, |s, a, n, w| accumulate_in_order(s, a, n, w)),
        }
    }
}
