//! Half-precision arithmetic (FEAT_FP16): eight pixels times two panels, eight input channels at a time.
//!
//! At most [`BLOCK`] consecutive products of an output, in ascending order of tap and k, are summed from zero by fused
//! multiply-add in half. If these are all, the bias, rounded to half, is added in half, and the sum clamped in half: no
//! conversions but those of biases. Else each block's sum is converted to f32 and added to the f32 sum, which starts at
//! the bias. With u = 2^-11 a block's sum is within `BLOCK * u / (1 - BLOCK * u)` times the sum of the magnitudes of its
//! products, plus 2^-25 for each product, as long as its magnitudes do not sum to more than half can hold (65504); the
//! f32 additions add 2^-24 relative each; rounding the bias to half, and its addition, u relative to it and to the sum.

use std::arch::aarch64::*;
use std::mem::MaybeUninit;

use super::BLOCK;
use crate::conv::f32::neon::{clamp, load8};
use crate::conv::in_order;
use crate::conv::micro::{Args, NR, advance};

/// Rows computed at once.
const MR: usize = 8;

/// Does something for each row: the compiler does not unroll loops as long as those, and then keeps what they index out
/// of registers.
macro_rules! each {
    ($i:ident < $m:ident $body:block) => {
        each!(@ $i $m $body 0 1 2 3 4 5 6 7)
    };
    (@ $i:ident $m:ident $body:block $($row:literal)+) => {
        $(if $row < $m {
            let $i: usize = $row;
            $body
        })+
    };
}

/// Sums of M rows times P panels within a block.
type Sums<const M: usize, const P: usize> = [[float16x8_t; P]; M];

/// # Safety
/// `p` is valid for reads of eight elements.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn load(p: *const u16) -> float16x8_t {
    // SAFETY: the caller's promise.
    vreinterpretq_f16_u16(unsafe { vld1q_u16(p) })
}

/// `sums[i][p][c] += a[i][k] * w[p][k][c]` for k from 0 to `depth`, in this order, in half. `passes` does the first of
/// them by itself, as many as it says. `IN_F32` tells apart its two callers: where an instance has one, compilers keep
/// sums in registers.
///
/// # Safety
/// Each `a` is valid for `depth` elements; `w` for P panels of `depth * NR`, their starts `panel` elements apart.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn accumulate<const M: usize, const P: usize, const IN_F32: bool>(
    sums: &mut Sums<M, P>,
    a: &[*const u16; M],
    depth: usize,
    w: *const u16,
    panel: usize,
    passes: &impl Fn(&mut Sums<M, P>, &[*const u16; M], usize, *const u16) -> usize,
) {
    let zero = vreinterpretq_f16_u16(vdupq_n_u16(0));
    let mut k = passes(sums, a, depth, w);
    let mut c = *sums;
    // SAFETY: where the panels go on.
    let mut at: [*const u16; P] = std::array::from_fn(|p| unsafe { w.add(p * panel + k * NR) });
    while k + 8 <= depth {
        let mut x = [zero; M];
        for i in 0..M {
            // SAFETY: eight of `depth` elements are left.
            x[i] = unsafe { load(a[i].add(k)) };
        }
        macro_rules! lane {
            ($($lane:literal)+) => {$(
                let mut wk = [zero; P];
                for p in 0..P {
                    // SAFETY: as above.
                    wk[p] = unsafe { load(at[p].add($lane * NR)) };
                }
                for i in 0..M {
                    for p in 0..P {
                        c[i][p] = vfmaq_laneq_f16::<$lane>(c[i][p], wk[p], x[i]);
                    }
                }
            )+};
        }
        lane!(0 1 2 3 4 5 6 7);
        at = advance(&at, 8 * NR);
        k += 8;
    }
    while k < depth {
        let mut wk = [zero; P];
        for p in 0..P {
            // SAFETY: k is below `depth`.
            wk[p] = unsafe { load(at[p]) };
        }
        at = advance(&at, NR);
        for i in 0..M {
            // SAFETY: as above.
            let x = vreinterpretq_f16_u16(unsafe { vld1q_dup_u16(a[i].add(k)) });
            for p in 0..P {
                c[i][p] = vfmaq_f16(c[i][p], wk[p], x);
            }
        }
        k += 1;
    }
    *sums = c;
}

/// A block's sum added to f32 sums.
///
/// # Safety
/// `so_far` is valid for reads of eight of them.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn total(block: float16x8_t, so_far: *const f32) -> [float32x4_t; 2] {
    // SAFETY: the caller's promise.
    let [lo, hi] = unsafe { load8::<false>(so_far.cast()) };
    [vaddq_f32(lo, vcvt_f32_f16(vget_low_f16(block))), vaddq_f32(hi, vcvt_high_f32_f16(block))]
}

/// Where the results of M rows times P panels go: one way without branches, so that stores lie beside the arithmetic
/// before them. Rows that have fewer columns are stored to room of its own first.
struct To<const M: usize, const P: usize> {
    room: MaybeUninit<[[[u16; NR]; P]; M]>,
}

impl<const M: usize, const P: usize> To<M, P> {
    /// `finish` gives the results of a row and panel.
    ///
    /// # Safety
    /// The addresses of `args` take the columns from `first` on, of which there is one.
    #[inline]
    #[target_feature(enable = "neon,fp16")]
    unsafe fn store(args: &Args, first: usize, finish: impl Fn(usize, usize) -> float16x8_t) {
        let mut to = Self { room: MaybeUninit::uninit() };
        let room = to.room.as_mut_ptr().cast::<u16>();
        let cols = args.cols - first;
        let whole = cols >= P * NR;
        each!(i < M {
            // SAFETY: the row's address takes all columns, and the room those of each row.
            unsafe {
                let y = (*args.y.add(i)).cast::<u16>().wrapping_add(first);
                let y = if whole { y } else { room.add(i * P * NR) };
                for p in 0..P {
                    vst1q_u16(y.add(p * NR), vreinterpretq_u16_f16(finish(i, p)));
                }
            }
        });
        if !whole {
            for i in 0..M {
                // SAFETY: as above; the room was written just now.
                unsafe {
                    let y = (*args.y.add(i)).cast::<u16>().add(first);
                    std::ptr::copy_nonoverlapping(room.add(i * P * NR), y, cols);
                }
            }
        }
    }
}

/// Addresses of M rows at tap `t`.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; the tap is one of them.
#[inline(always)] // Else a call.
unsafe fn inputs<const M: usize>(args: &Args, t: usize) -> [*const u16; M] {
    // SAFETY: `taps * MR` addresses are there.
    std::array::from_fn(|i| unsafe { (*args.a.add(t * MR + i)).cast() })
}

/// M rows times P panels from column `first` on, of at most [`BLOCK`] products; for `passes` see [`accumulate`].
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; the panels hold columns that count.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn tile_in_half<const M: usize, const P: usize>(
    args: &Args,
    first: usize,
    passes: &impl Fn(&mut Sums<M, P>, &[*const u16; M], usize, *const u16) -> usize,
) {
    let tap = args.depth * NR;
    let panel = args.taps * tap;
    // SAFETY: the panels are there, and biases for each.
    let (mut w, bias) = unsafe {
        (args.w.cast::<u16>().add(first * args.taps * args.depth), args.bias.cast::<f32>().add(first))
    };
    let mut sums = [[vreinterpretq_f16_u16(vdupq_n_u16(0)); P]; M];
    for t in 0..args.taps {
        // SAFETY: `depth` elements lie at each address, and in each panel's tap.
        unsafe { accumulate::<M, P, false>(&mut sums, &inputs::<M>(args, t), args.depth, w, panel, passes) };
        w = w.wrapping_add(tap);
    }
    let splat = |v: f32| vdupq_lane_f16::<0>(vcvt_f16_f32(vdupq_n_f32(v)));
    let (lo, hi) = (splat(args.lo), splat(args.hi));
    let bias: [_; P] = std::array::from_fn(|p| {
        // SAFETY: as above.
        let [b0, b1] = unsafe { load8::<false>(bias.add(p * NR).cast()) };
        vcvt_high_f16_f32(vcvt_f16_f32(b0), b1)
    });
    // SAFETY: the caller's promise. NaN stays.
    unsafe {
        To::<M, P>::store(args, first, |i, p| vminq_f16(vmaxq_f16(vaddq_f16(sums[i][p], bias[p]), lo), hi))
    };
}

/// M rows times P panels from column `first` on, of more than [`BLOCK`] products; for `passes` see [`accumulate`].
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; the panels hold columns that count.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn tile_in_f32<const M: usize, const P: usize>(
    args: &Args,
    first: usize,
    passes: &impl Fn(&mut Sums<M, P>, &[*const u16; M], usize, *const u16) -> usize,
) {
    let tap = args.depth * NR;
    let panel = args.taps * tap;
    // SAFETY: biases are there for whole panels.
    let bias: *const f32 = unsafe { args.bias.cast::<f32>().add(first) };
    // Sums so far: those of a row from `so_far` on, rows `row` apart.
    let mut totals = MaybeUninit::<[[[f32; NR]; P]; M]>::uninit();
    let to = totals.as_mut_ptr().cast::<f32>();
    let (mut so_far, mut row) = (bias, 0);
    let mut left = BLOCK;
    let mut sums = [[vreinterpretq_f16_u16(vdupq_n_u16(0)); P]; M];
    for t in 0..args.taps {
        // SAFETY: the tap is one of those of each panel.
        let (a, w) =
            unsafe { (inputs::<M>(args, t), args.w.cast::<u16>().add(first / NR * panel + t * tap)) };
        let mut k = 0;
        while k < args.depth {
            let n = left.min(args.depth - k);
            // SAFETY: `depth` elements lie at each address, and in each panel's tap.
            unsafe { accumulate::<M, P, true>(&mut sums, &advance(&a, k), n, w.add(k * NR), panel, passes) };
            k += n;
            left -= n;
            if left == 0 {
                each!(i < M {
                    for p in 0..P {
                        // SAFETY: `so_far` has the sums, or biases, of P panels; `to` takes those of M rows.
                        unsafe {
                            let [lo, hi] = total(sums[i][p], so_far.add(i * row + p * NR));
                            vst1q_f32(to.add((i * P + p) * NR), lo);
                            vst1q_f32(to.add((i * P + p) * NR + 4), hi);
                        }
                        sums[i][p] = vreinterpretq_f16_u16(vdupq_n_u16(0));
                    }
                });
                (so_far, row) = (to.cast_const(), P * NR);
                left = BLOCK;
            }
        }
    }
    let to_half = |[v0, v1]: [float32x4_t; 2]| vcvt_high_f16_f32(vcvt_f16_f32(v0), v1);
    // SAFETY: the last block may be empty, and then adds zeros.
    let sum = |i: usize, p: usize| unsafe { total(sums[i][p], so_far.add(i * row + p * NR)) };
    // SAFETY: the caller's promise.
    unsafe {
        if args.lo == f32::NEG_INFINITY && args.hi == f32::INFINITY {
            To::<M, P>::store(args, first, |i, p| to_half(sum(i, p)));
        } else {
            let (lo, hi) = (vdupq_n_f32(args.lo), vdupq_n_f32(args.hi));
            To::<M, P>::store(args, first, |i, p| to_half(sum(i, p).map(|v| clamp(v, lo, hi))));
        }
    }
}

/// M rows times P panels from column `first` on; for `passes` see [`accumulate`].
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; the panels hold columns that count; `IN_F32` is [`in_f32`].
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn tile<const M: usize, const P: usize, const IN_F32: bool>(
    args: &Args,
    first: usize,
    passes: impl Fn(&mut Sums<M, P>, &[*const u16; M], usize, *const u16) -> usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if IN_F32 {
            tile_in_f32(args, first, &passes);
        } else {
            tile_in_half(args, first, &passes);
        }
    }
}

/// Whether sums of blocks are added in f32.
fn in_f32(args: &Args) -> bool {
    args.taps * args.depth > BLOCK
}

/// M rows, P panels at a time, the last ones half as many, two or one.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; `IN_F32` is [`in_f32`].
#[target_feature(enable = "neon,fp16")]
unsafe fn rows<const M: usize, const P: usize, const IN_F32: bool>(args: &Args) {
    const { assert!(matches!(P, 2 | 4 | 8)) };
    let mut first = 0;
    while first < args.cols {
        let panels = (args.cols - first).div_ceil(NR);
        // SAFETY: as many panels hold columns that count.
        unsafe {
            first += NR
                * if panels >= P {
                    tile::<M, P, IN_F32>(args, first, |_, _, _, _| 0);
                    P
                } else if panels >= 4 {
                    tile::<M, 4, IN_F32>(args, first, |_, _, _, _| 0);
                    4
                } else if panels >= 2 {
                    tile::<M, 2, IN_F32>(args, first, |_, _, _, _| 0);
                    2
                } else {
                    tile::<M, 1, IN_F32>(args, first, |_, _, _, _| 0);
                    1
                };
        }
    }
}

/// As many rows as count.
///
/// # Safety
/// As [`rows`].
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn any_rows<const IN_F32: bool>(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            // Eight sums hide the latency of an addition.
            1 => rows::<1, 8, IN_F32>(args),
            2 => rows::<2, 4, IN_F32>(args),
            3 | 4 => rows::<4, 2, IN_F32>(args),
            _ => rows::<8, 2, IN_F32>(args),
        }
    }
}

/// Eight output pixels times two panels, pair of panels after pair.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,fp16")]
pub(crate) unsafe fn conv_8x16(args: &Args) {
    // SAFETY: the caller's promise.
    unsafe {
        if in_f32(args) {
            any_rows::<true>(args);
        } else {
            any_rows::<false>(args);
        }
    }
}

/// Eight output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`rows`].
#[target_feature(enable = "neon,fp16")]
unsafe fn panels_in_order<const IN_F32: bool>(args: &Args) {
    for first in (0..args.cols).step_by(NR) {
        // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
        unsafe {
            tile::<MR, 1, IN_F32>(args, first, |sums, a, depth, w| {
                if depth >= 4 {
                    in_order::f16(sums, a, w, depth / 4);
                }
                depth / 4 * 4
            });
        }
    }
}

/// Eight output pixels times one panel, panel after panel, for cores that issue in order.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,fp16")]
pub(crate) unsafe fn conv_8x8_in_order(args: &Args) {
    // SAFETY: the caller's promise.
    unsafe {
        match (args.rows, in_f32(args)) {
            (1..=4, _) => conv_8x16(args),
            (_, true) => panels_in_order::<true>(args),
            (_, false) => panels_in_order::<false>(args),
        }
    }
}
