//! Advanced SIMD by strips: eight channels of four output columns at a time, twice for a group. The products of two
//! taps are summed in 16 bits (at most 2 * 128 * 127), then added to the 32-bit sums; columns share what they load.
//! Windows of three taps a side go by [`sums_neon`].

use std::arch::aarch64::*;

use super::Strip;
use super::half::Half;
use super::sums_neon;
use crate::conv::s8::Bound;
use crate::conv::s8::finish::{ANY, Mode, PLAIN, SMALL as SMALL_SUMS, early, mode};

/// Windows of K by K taps, K odd and at most 5, of stride S. SMALL: whether sums are, see [`SMALL_SUMS`]. IN_ORDER: for
/// cores that issue in order.
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<const K: usize, const S: usize, const SMALL: bool, const IN_ORDER: bool>(s: &Strip) {
    // SAFETY: the caller's promise.
    unsafe {
        match mode(if SMALL { Bound::Sums } else { Bound::Nothing }, s.output()) {
            SMALL_SUMS if SMALL => of_mode::<K, S, SMALL_SUMS, IN_ORDER>(s),
            PLAIN if SMALL => of_mode::<K, S, PLAIN, IN_ORDER>(s),
            _ => of_mode::<K, S, ANY, IN_ORDER>(s),
        }
    }
}

/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn of_mode<const K: usize, const S: usize, const MODE: Mode, const IN_ORDER: bool>(s: &Strip) {
    for half in [0, 8] {
        // SAFETY: the caller's promise: weights, biases and multipliers are there for the group; every output is
        // stepped to once, and its input is there.
        unsafe {
            let mut begin = [0; 8];
            let half_group = Half::<MODE>::new(s, half, &mut begin);
            let mut w = [[vdup_n_s8(0); K]; K];
            for i in 0..K {
                for j in 0..K {
                    w[i][j] = vld1_s8(s.w.cast::<i8>().add((i * K + j) * s.w_tap + half));
                }
            }
            for row in 0..s.rows {
                let x = s.x.at.cast::<i8>().add(row * S * s.x.row + half);
                let y = s.y.at.cast::<i8>().add(row * s.y.row + half);
                let mut column = 0;
                while column + 4 <= s.columns {
                    let (x, y) = (x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
                    if K == 3 {
                        four::<K, S, MODE, IN_ORDER>(&half_group, &w, x, y);
                    } else {
                        pixels::<K, S, MODE, 4>(&half_group, &w, x, y);
                    }
                    column += 4;
                }
                while column < s.columns {
                    let (x, y) = (x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
                    pixels::<K, S, MODE, 1>(&half_group, &w, x, y);
                    column += 1;
                }
            }
        }
    }
}

/// Four outputs of a row, K being 3: `x` is under the first one's tap (0, 0).
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn four<const K: usize, const S: usize, const MODE: Mode, const IN_ORDER: bool>(
    h: &Half<MODE>,
    w: &[[int8x8_t; K]; K],
    x: *const i8,
    y: *mut i8,
) {
    let w = std::array::from_fn(|i| std::array::from_fn(|j| w[i % K][j % K]));
    // SAFETY: the caller's promise.
    unsafe {
        let rows = [x, x.add(h.s.x.row), x.add(2 * h.s.x.row)];
        let sums = sums_neon::four::<S, IN_ORDER>(&w, rows, h.s.x.pixel, h.start);
        let mut to: [_; 4] = std::array::from_fn(|p| y.add(p * h.s.y.pixel).cast());
        early(&mut to);
        for (to, v) in to.into_iter().zip(h.finish.results(sums)) {
            vst1_s8(to.cast(), v);
        }
    }
}

/// P outputs of a row: `x` is under the first one's tap (0, 0).
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn pixels<const K: usize, const S: usize, const MODE: Mode, const P: usize>(
    h: &Half<MODE>,
    w: &[[int8x8_t; K]; K],
    x: *const i8,
    y: *mut i8,
) {
    // SAFETY: the numbers are there.
    let mut sums = unsafe { [h.start(); P] };
    // SAFETY: the tap is one of the window's, p one of the outputs.
    let load = |tap: usize, p: usize| unsafe {
        vld1_s8(x.add(tap / K * h.s.x.row + (p * S + tap % K) * h.s.x.pixel))
    };
    unroll!(i in 0 1 2 3 4 5 6 7 8 9 10 11 12 {
        if 2 * i < K * K {
            let mut products = [vdupq_n_s16(0); P];
            for p in 0..P {
                products[p] = vmull_s8(load(2 * i, p), w[2 * i / K][2 * i % K]);
            }
            if 2 * i + 1 < K * K {
                for p in 0..P {
                    let w = w[(2 * i + 1) / K][(2 * i + 1) % K];
                    products[p] = vmlal_s8(products[p], load(2 * i + 1, p), w);
                }
            }
            for p in 0..P {
                sums[p][0] = vaddw_s16(sums[p][0], vget_low_s16(products[p]));
                sums[p][1] = vaddw_high_s16(sums[p][1], products[p]);
            }
        }
    });
    for (p, v) in h.finish.results(sums).into_iter().enumerate() {
        // SAFETY: the output takes a group.
        unsafe { vst1_s8(y.add(p * h.s.y.pixel), v) };
    }
}
