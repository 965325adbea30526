//! SDOT by strips: eight channels of two output columns at a time, twice for a group; with stride 1, of two rows.
//!
//! Four neighbouring columns of an input row are transposed to quads, a channel's four bytes each, which SDOT multiplies
//! by four weights: those of the window's row, filled up with zeros and, for an output whose input starts at an odd one
//! of the transposed columns, moved up by one.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Strip;
use super::narrow::Requantize;

/// Quads of channels 0 to 3 and 4 to 7.
type Quads = [int8x16_t; 2];

/// Most quads of a row of a window: 5 taps, moved up by one.
const MOST: usize = 2;

/// All that stays the same for eight channels of a strip.
struct Half<'a, const K: usize> {
    s: &'a Strip,
    /// Of each row of the window: in place and moved up by one.
    w: [[[Quads; MOST]; 2]; K],
    bias: [int32x4_t; 2],
    q: Requantize,
}

/// Windows of K by K taps, K odd and at most 5, of stride S. SMALL: see [`Requantize::two`].
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run<const K: usize, const S: usize, const SMALL: bool>(s: &Strip) {
    for half in [0, 8] {
        // SAFETY: the caller's promise: weights, biases and multipliers are there for the group; every output is
        // stepped to once, and its input is there.
        unsafe {
            let half_group = Half::<K>::new::<SMALL>(s, half);
            let mut row = 0;
            while S == 1 && row + 2 <= s.rows {
                rows::<K, S, SMALL, 2>(&half_group, row, half);
                row += 2;
            }
            while row < s.rows {
                rows::<K, S, SMALL, 1>(&half_group, row, half);
                row += 1;
            }
        }
    }
}

impl<'a, const K: usize> Half<'a, K> {
    /// # Safety
    /// As [`crate::depthwise::strip::Micro`]; `half` is 0 or 8.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn new<const SMALL: bool>(s: &'a Strip, half: usize) -> Self {
        let mut w = [[[[vdupq_n_s8(0); 2]; MOST]; 2]; K];
        for (row, w) in w.iter_mut().enumerate() {
            for (moved, w) in w.iter_mut().enumerate() {
                for (quad, w) in w.iter_mut().enumerate() {
                    let tap = |i: usize| match (4 * quad + i).checked_sub(moved) {
                        // SAFETY: the tap is one of the window's.
                        Some(tap) if tap < K => unsafe { load(s.w.add((row * K + tap) * s.w_tap + half)) },
                        _ => vdupq_n_s8(0),
                    };
                    *w = quads(vzip1q_s8(tap(0), tap(1)), vzip1q_s8(tap(2), tap(3)));
                }
            }
        }
        // SAFETY: the group has sixteen biases.
        unsafe {
            let bias = s.bias.cast::<i32>().add(half);
            let q = Requantize::new(s, half);
            let bias = [q.start::<SMALL>(vld1q_s32(bias)), q.start::<SMALL>(vld1q_s32(bias.add(4)))];
            Self { s, w, bias, q }
        }
    }
}

/// Eight bytes, in the low half.
///
/// # Safety
/// They can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(p: *const u8) -> int8x16_t {
    // SAFETY: the caller's promise.
    unsafe { vcombine_s8(vld1_s8(p.cast()), vdup_n_s8(0)) }
}

/// From pairs of columns, the channels' two bytes each.
#[inline]
#[target_feature(enable = "neon")]
fn quads(a: int8x16_t, b: int8x16_t) -> Quads {
    let (a, b) = (vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b));
    [vreinterpretq_s8_s16(vzip1q_s16(a, b)), vreinterpretq_s8_s16(vzip2q_s16(a, b))]
}

/// `sum[c] + x[c] . w[c]`, groups of four bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: the function's features have the instruction, which touches registers only.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {x:v}.16b, {w:v}.16b",
            sum = inout(vreg) sum,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// R rows of outputs from `row` on.
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn rows<const K: usize, const S: usize, const SMALL: bool, const R: usize>(
    h: &Half<'_, K>,
    row: usize,
    half: usize,
) {
    let s = h.s;
    // SAFETY: the caller's promise.
    unsafe {
        let x = s.x.at.add(row * S * s.x.row + half);
        let y = s.y.at.add(row * s.y.row + half);
        let mut column = 0;
        while column + 2 <= s.columns {
            pixels::<K, S, SMALL, R, 2>(h, x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
            column += 2;
        }
        if column < s.columns {
            pixels::<K, S, SMALL, R, 1>(h, x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
        }
    }
}

/// R by P outputs: `x` is under the first one's tap (0, 0).
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn pixels<const K: usize, const S: usize, const SMALL: bool, const R: usize, const P: usize>(
    h: &Half<'_, K>,
    x: *const u8,
    y: *mut u8,
) {
    let s = h.s;
    let columns = (P - 1) * S + K;
    let mut sums = [[h.bias; P]; R];
    unroll!(row in 0 1 2 3 4 5 {
        if row < (R - 1) * S + K {
            // SAFETY: row and column are those of the outputs' windows; what is after them is multiplied by zero.
            let at = |column: usize| unsafe { load(x.add(row * s.x.row + column.min(columns - 1) * s.x.pixel)) };
            let pair = |i: usize| vzip1q_s8(at(2 * i), at(2 * i + 1));
            for p in 0..P {
                let (start, moved) = (p * S / 2, p * S % 2);
                for quad in 0..(K + moved).div_ceil(4) {
                    let x = quads(pair(start + 2 * quad), pair(start + 2 * quad + 1));
                    for r in 0..R {
                        if (r * S..r * S + K).contains(&row) {
                            for i in 0..2 {
                                sums[r][p][i] = sdot(sums[r][p][i], x[i], h.w[row - r * S][moved][quad][i]);
                            }
                        }
                    }
                }
            }
        }
    });
    for r in 0..R {
        let q = h.q.two::<SMALL>(sums[r][0], sums[r][P - 1]);
        // SAFETY: the outputs take a group.
        unsafe {
            let y = y.add(r * s.y.row);
            vst1_s8(y.cast(), vget_low_s8(q));
            if P == 2 {
                vst1_s8(y.add(s.y.pixel).cast(), vget_high_s8(q));
            }
        }
    }
}
