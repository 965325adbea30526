//! Half-precision arithmetic (FEAT_FP16): eight pixels times two panels, eight input channels at a time.
//!
//! At most [`BLOCK`] consecutive products of an output, in ascending order of tap and k, are summed from zero by
//! fused multiply-add in half; each such block is converted to f32 and added to the f32 sum, which starts at the
//! bias. With u = 2^-11 a block's sum is within `BLOCK * u / (1 - BLOCK * u)` times the sum of the magnitudes
//! of its products, plus 2^-25 for each product, as long as its magnitudes do not sum to more than half can hold
//! (65504); the f32 additions add 2^-24 relative each.

use std::arch::aarch64::*;

use super::BLOCK;
use crate::conv::f32::neon::{clamp, load8, store};
use crate::conv::in_order;
use crate::conv::micro::{Args, NR, advance};

/// Rows computed at once.
const MR: usize = 8;

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

/// `sums[i][p][c] += a[i][k] * w[p][k][c]` for k from 0 to `depth`, in this order, in half.
///
/// # Safety
/// Each `a` is valid for `depth` elements; `w` for P panels of `depth * NR`, their starts `panel` elements apart.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn accumulate<const M: usize, const P: usize>(
    sums: &mut Sums<M, P>,
    a: &[*const u16; M],
    depth: usize,
    w: *const u16,
    panel: usize,
) {
    let zero = vreinterpretq_f16_u16(vdupq_n_u16(0));
    let mut c = *sums;
    let mut k = 0;
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
                    wk[p] = unsafe { load(w.add(p * panel + (k + $lane) * NR)) };
                }
                for i in 0..M {
                    for p in 0..P {
                        c[i][p] = vfmaq_laneq_f16::<$lane>(c[i][p], wk[p], x[i]);
                    }
                }
            )+};
        }
        lane!(0 1 2 3 4 5 6 7);
        k += 8;
    }
    while k < depth {
        let mut wk = [zero; P];
        for p in 0..P {
            // SAFETY: k is below `depth`.
            wk[p] = unsafe { load(w.add(p * panel + k * NR)) };
        }
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

/// As [`accumulate`] of eight rows and a panel, for cores that issue in order.
///
/// # Safety
/// As [`accumulate`].
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn accumulate_in_order(
    sums: &mut Sums<MR, 1>,
    a: &[*const u16; MR],
    depth: usize,
    w: *const u16,
    panel: usize,
) {
    let (passes, done) = (depth / 4, depth / 4 * 4);
    // SAFETY: the caller's promise.
    unsafe {
        if passes > 0 {
            in_order::f16(sums, a, w, passes);
        }
        if done < depth {
            accumulate(sums, &advance(a, done), depth - done, w.add(done * NR), panel);
        }
    }
}

/// The f32 sums with a block's added.
#[inline]
#[target_feature(enable = "neon,fp16")]
fn total(block: float16x8_t, [lo, hi]: [float32x4_t; 2]) -> [float32x4_t; 2] {
    [vaddq_f32(lo, vcvt_f32_f16(vget_low_f16(block))), vaddq_f32(hi, vcvt_high_f32_f16(block))]
}

/// Adds a block's sums to the f32 sums and clears them.
#[inline]
#[target_feature(enable = "neon,fp16")]
fn flush<const M: usize, const P: usize>(sums: &mut Sums<M, P>, totals: &mut [[[float32x4_t; 2]; P]; M]) {
    for i in 0..M {
        for p in 0..P {
            totals[i][p] = total(sums[i][p], totals[i][p]);
            sums[i][p] = vreinterpretq_f16_u16(vdupq_n_u16(0));
        }
    }
}

/// M rows times P panels from column `first` on; `accumulate` is [`accumulate`] or does the same.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; the panels hold columns that count.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn tile<const M: usize, const P: usize>(
    args: &Args,
    first: usize,
    accumulate: impl Fn(&mut Sums<M, P>, &[*const u16; M], usize, *const u16, usize),
) {
    let tap = args.depth * NR;
    let panel = args.taps * tap;
    let mut bias = [[vdupq_n_f32(0.0); 2]; P];
    for p in 0..P {
        // SAFETY: biases are there for whole panels.
        bias[p] = unsafe { load8::<false>(args.bias.cast::<f32>().add(first + p * NR).cast()) };
    }
    // Only a product of more than one block needs them: else sums could stay in registers.
    let mut totals = None;
    let mut sums = [[vreinterpretq_f16_u16(vdupq_n_u16(0)); P]; M];
    let mut left = BLOCK;
    for t in 0..args.taps {
        let mut a = [std::ptr::null::<u16>(); M];
        for i in 0..M {
            // SAFETY: there are `taps * MR` addresses.
            a[i] = unsafe { *args.a.add(t * MR + i) }.cast();
        }
        // SAFETY: the panel holds columns that count, and the tap is one of its taps.
        let w = unsafe { args.w.cast::<u16>().add(first / NR * panel + t * tap) };
        let mut k = 0;
        while k < args.depth {
            let n = left.min(args.depth - k);
            // SAFETY: `depth` elements lie at each address, and in each panel's tap.
            unsafe { accumulate(&mut sums, &advance(&a, k), n, w.add(k * NR), panel) };
            k += n;
            left -= n;
            if left == 0 {
                flush(&mut sums, totals.get_or_insert([bias; M]));
                left = BLOCK;
            }
        }
    }
    let (lo, hi) = (vdupq_n_f32(args.lo), vdupq_n_f32(args.hi));
    let whole = args.cols - first >= P * NR;
    for i in 0..M {
        for p in 0..P {
            // Adds the last block, zeros if there is none.
            let [v0, v1] = total(sums[i][p], totals.as_ref().map_or(bias[p], |totals| totals[i][p]));
            let v = [clamp(v0, lo, hi), clamp(v1, lo, hi)];
            let at = first + p * NR;
            // SAFETY: the row's address takes `cols` elements.
            unsafe {
                let y = (*args.y.add(i)).cast::<u16>().add(at);
                if whole {
                    vst1q_u16(y, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(v[0]), v[1])));
                } else {
                    store::<true>(v, y.cast(), args.cols - at);
                }
            }
        }
    }
}

/// M rows, two panels at a time.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,fp16")]
unsafe fn rows<const M: usize>(args: &Args) {
    for first in (0..args.cols).step_by(2 * NR) {
        // SAFETY: the second panel is there when columns of it count.
        unsafe {
            if args.cols - first > NR {
                tile::<M, 2>(args, first, |s, a, n, w, panel| accumulate(s, a, n, w, panel));
            } else {
                tile::<M, 1>(args, first, |s, a, n, w, panel| accumulate(s, a, n, w, panel));
            }
        }
    }
}

/// Eight output pixels times two panels, pair of panels after pair.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,fp16")]
pub(crate) unsafe fn conv_8x16(args: &Args) {
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

/// Eight output pixels times one panel, panel after panel, for cores that issue in order.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "neon,fp16")]
pub(crate) unsafe fn conv_8x8_in_order(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            1..=4 => conv_8x16(args),
            _ => {
                for first in (0..args.cols).step_by(NR) {
                    tile::<MR, 1>(args, first, |s, a, n, w, panel| accumulate_in_order(s, a, n, w, panel));
                }
            }
        }
    }
}
