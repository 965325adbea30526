//! SDOT by strips: eight channels of two output columns and two rows at a time, twice for a group.
//!
//! Four neighbouring columns of an input row are transposed to quads, a channel's four bytes each, which SDOT multiplies
//! by four weights: those of the window's row, filled up with zeros and, for an output whose input starts at an odd one
//! of the transposed columns, moved up by one. Columns are transposed by pairs; of windows of three taps, the last pair
//! of an output's is the first of the next one's.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Strip;
use super::half::Half;
use crate::conv::s8::Bound;
use crate::conv::s8::finish::{ANY, Mode, PLAIN, SMALL as SMALL_SUMS, mode};

/// Quads of channels 0 to 3 and 4 to 7.
type Quads = [int8x16_t; 2];

/// Most quads of a row of a window: 5 taps, moved up by one.
const MOST: usize = 2;

/// Most input rows of two rows of outputs.
const ROWS: usize = 7;

/// Weights of each row of the window: in place and moved up by one.
type Weights<const K: usize> = [[[Quads; MOST]; 2]; K];

/// Windows of K by K taps, K odd and at most 5, of stride S. SMALL: whether sums are, see [`SMALL_SUMS`].
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run<const K: usize, const S: usize, const SMALL: bool>(s: &Strip) {
    // SAFETY: the caller's promise.
    unsafe {
        match mode(if SMALL { Bound::Sums } else { Bound::Nothing }, s.output()) {
            SMALL_SUMS if SMALL => of_mode::<K, S, SMALL_SUMS>(s),
            PLAIN if SMALL => of_mode::<K, S, PLAIN>(s),
            _ => of_mode::<K, S, ANY>(s),
        }
    }
}

/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn of_mode<const K: usize, const S: usize, const MODE: Mode>(s: &Strip) {
    for half in [0, 8] {
        // SAFETY: the caller's promise: weights, biases and multipliers are there for the group; every output is
        // stepped to once, and its input is there.
        unsafe {
            let mut begin = [0; 8];
            let half_group = Half::<MODE>::new(s, half, &mut begin);
            let w = weights::<K>(s, half);
            let mut row = 0;
            // More registers than there are would be needed for two rows of the largest windows.
            while (S == 1 || K == 3) && row + 2 <= s.rows {
                rows::<K, S, MODE, 2>(&half_group, &w, row, half);
                row += 2;
            }
            while row < s.rows {
                rows::<K, S, MODE, 1>(&half_group, &w, row, half);
                row += 1;
            }
        }
    }
}

/// Those of the channels from `half` on.
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn weights<const K: usize>(s: &Strip, half: usize) -> Weights<K> {
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
    w
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
unsafe fn rows<const K: usize, const S: usize, const MODE: Mode, const R: usize>(
    h: &Half<MODE>,
    w: &Weights<K>,
    row: usize,
    half: usize,
) {
    let s = &h.s;
    // SAFETY: the caller's promise. Where columns are kept, another output follows: its columns are there.
    unsafe {
        let mut x = s.x.at.add(row * S * s.x.row + half);
        let mut y = s.y.at.add(row * s.y.row + half);
        let mut left = s.columns;
        if K == 3 && left > 2 {
            let mut kept = [vdupq_n_s8(0); ROWS];
            for row in 0..(R - 1) * S + K {
                kept[row] = pair(s, x, row, 0);
            }
            while left > 2 {
                pixels::<K, S, MODE, R, 2, true>(h, w, &mut kept, x, y);
                (x, y) = (x.add(2 * S * s.x.pixel), y.add(2 * s.y.pixel));
                left -= 2;
            }
        }
        let mut none = [vdupq_n_s8(0); ROWS];
        while left >= 2 {
            pixels::<K, S, MODE, R, 2, false>(h, w, &mut none, x, y);
            (x, y) = (x.add(2 * S * s.x.pixel), y.add(2 * s.y.pixel));
            left -= 2;
        }
        if left > 0 {
            pixels::<K, S, MODE, R, 1, false>(h, w, &mut none, x, y);
        }
    }
}

/// Columns `column` and the next one of an input row, transposed.
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`]; the columns are there.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn pair(s: &Strip, x: *const u8, row: usize, column: usize) -> int8x16_t {
    // SAFETY: the caller's promise.
    unsafe {
        let x = x.add(row * s.x.row + column * s.x.pixel);
        vzip1q_s8(load(x), load(x.add(s.x.pixel)))
    }
}

/// R by P outputs: `x` is under the first one's tap (0, 0). If KEEP, of each input row the first pair of columns is
/// `kept`, and the first of the next outputs' takes its place.
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`]; if KEEP, K is 3, and another output follows.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn pixels<
    const K: usize,
    const S: usize,
    const MODE: Mode,
    const R: usize,
    const P: usize,
    const KEEP: bool,
>(
    h: &Half<MODE>,
    w: &Weights<K>,
    kept: &mut [int8x16_t; ROWS],
    x: *const u8,
    y: *mut u8,
) {
    let s = &h.s;
    let columns = (P - 1) * S + K;
    let mut sums = [[[vdupq_n_s32(0); 2]; P]; R];
    for sum in sums.as_flattened_mut() {
        // SAFETY: the numbers are there.
        *sum = unsafe { h.start() };
    }
    unroll!(row in 0 1 2 3 4 5 6 {
        if row < (R - 1) * S + K {
            // SAFETY: row and column are those of the outputs' windows; what is after them is multiplied by zero.
            let at = |column: usize| unsafe { load(x.add(row * s.x.row + column.min(columns - 1) * s.x.pixel)) };
            let mut pairs = [kept[row]; 5];
            for i in usize::from(KEEP)..if KEEP { 1 + S } else { 5 } {
                // SAFETY: as above; if KEEP, the columns of another output are there.
                pairs[i] = if KEEP { unsafe { pair(s, x, row, 2 * i) } } else { vzip1q_s8(at(2 * i), at(2 * i + 1)) };
            }
            for p in 0..P {
                let (start, moved) = (p * S / 2, p * S % 2);
                for quad in 0..(K + moved).div_ceil(4) {
                    let x = quads(pairs[start + 2 * quad], pairs[start + 2 * quad + 1]);
                    for r in 0..R {
                        if (r * S..r * S + K).contains(&row) {
                            for i in 0..2 {
                                sums[r][p][i] = sdot(sums[r][p][i], x[i], w[row - r * S][moved][quad][i]);
                            }
                        }
                    }
                }
            }
            if KEEP {
                kept[row] = pairs[S];
            }
        }
    });
    // SAFETY: the outputs take a group.
    let store = |r: usize, p: usize, v: int8x8_t| unsafe {
        vst1_s8(y.add(r * s.y.row + p * s.y.pixel).cast(), v);
    };
    if R == 2 && P == 2 {
        let v = h.finish.results([sums[0][0], sums[0][P - 1], sums[R - 1][0], sums[R - 1][P - 1]]);
        store(0, 0, v[0]);
        store(0, 1, v[1]);
        store(1, 0, v[2]);
        store(1, 1, v[3]);
    } else {
        for r in 0..R {
            for (p, v) in h.finish.results(sums[r]).into_iter().enumerate() {
                store(r, p, v);
            }
        }
    }
}
