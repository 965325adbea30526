//! The three transforms, over lanes of channels.
//!
//! Each is a matrix applied to the columns of a square and then to the rows of what results.

use std::ops::Range;

use super::{Inputs, OUT, Outputs, POSITIONS, SIDE, Weights};
use crate::conv::micro::NR;
use crate::simd::{MAX_LANES, V8, per_isa};

/// The points: 5/8 and 3/2, and what is made of them.
const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// a^2 + b^2 and a^2 b^2.
const SUM: f32 = A2 + B2;
const PRODUCT: f32 = A2 * B2;

/// 1 / (a^2 b^2) = 256/225.
const K0: f32 = 256.0 / 225.0;
/// p, p a, p a^3 with p = 1 / (2 a^2 (a^2 - b^2)); p a^2 is -[`C`].
const P: f32 = -2048.0 / 2975.0;
const PA: f32 = -256.0 / 595.0;
const PA3: f32 = -20.0 / 119.0;
/// q, q b, q b^3 with q = 1 / (2 b^2 (b^2 - a^2)); q b^2 is [`C`].
const Q: f32 = 128.0 / 1071.0;
const QB: f32 = 64.0 / 357.0;
const QB3: f32 = 48.0 / 119.0;
/// 1 / (2 (b^2 - a^2)).
const C: f32 = 32.0 / 119.0;

/// A pair of rows of `B^T d`.
#[inline(always)]
fn input_pair<V: V8, const PAIR: usize>(d: [V; SIDE]) -> [V; 2] {
    match PAIR {
        0 => input_points(d, A, B2),
        1 => [input_end(d[0], d[2], d[4]), input_end(d[1], d[3], d[5])],
        _ => input_points(d, B, A2),
    }
}

/// The row of 0, or of infinity.
#[inline(always)]
fn input_end<V: V8>(x: V, y: V, z: V) -> V {
    x.fma(V::splat(PRODUCT), y.fnma(V::splat(SUM), z))
}

/// The rows of a point and its negative; `other` is the other point's square.
#[inline(always)]
fn input_points<V: V8>(d: [V; SIDE], point: f32, other: f32) -> [V; 2] {
    let (point, other) = (V::splat(point), V::splat(other));
    let even = d[2].fnma(other, d[4]);
    let odd = d[1].fnma(other, d[3]);
    [odd.fma(point, even), odd.fnma(point, even)]
}

/// `B^T d`.
#[inline(always)]
fn input<V: V8>(d: [V; SIDE]) -> [V; SIDE] {
    let [a, minus_a] = input_pair::<V, 0>(d);
    let [first, last] = input_pair::<V, 1>(d);
    let [b, minus_b] = input_pair::<V, 2>(d);
    [first, a, minus_a, b, minus_b, last]
}

/// `G g`.
#[inline(always)]
fn weight<V: V8>(g: [V; 3]) -> [V; SIDE] {
    let [a, minus_a] = weight_points(g, A);
    let [b, minus_b] = weight_points(g, B);
    [g[0], a, minus_a, b, minus_b, g[2]]
}

/// Its rows of a point and its negative.
#[inline(always)]
fn weight_points<V: V8>(g: [V; 3], point: f32) -> [V; 2] {
    let even = g[2].fma(V::splat(point * point), g[0]);
    [g[1].fma(V::splat(point), even), g[1].fma(V::splat(-point), even)]
}

/// `A^T m`.
#[inline(always)]
fn output<V: V8>(m: [V; SIDE]) -> [V; OUT] {
    let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
    let s = V::splat;
    [
        m[0].fma(s(K0), even_a.fma(s(P), even_b.mul(s(Q)))),
        odd_a.fma(s(PA), odd_b.mul(s(QB))),
        even_b.sub(even_a).mul(s(C)),
        odd_a.fma(s(PA3), odd_b.fma(s(QB3), m[5])),
    ]
}

/// Column `A^T m` plus `y`, of which pair `PAIR` of the rows is not zero.
#[inline(always)]
fn output_pair<V: V8, const PAIR: usize>(m: [V; 2], y: [V; OUT]) -> [V; OUT] {
    match PAIR {
        0 => output_points(m, [P, PA, -C, PA3], y),
        1 => [m[0].fma(V::splat(K0), y[0]), y[1], y[2], y[3].add(m[1])],
        _ => output_points(m, [Q, QB, C, QB3], y),
    }
}

/// Whether a pair has no part in a row of outputs.
#[inline(always)]
fn untouched(pair: usize, row: usize) -> bool {
    pair == 1 && (row == 1 || row == 2)
}

/// The rows of a point and its negative.
#[inline(always)]
fn output_points<V: V8>(m: [V; 2], scale: [f32; OUT], y: [V; OUT]) -> [V; OUT] {
    let (even, odd) = (m[0].add(m[1]), m[0].sub(m[1]));
    let s = V::splat;
    [
        even.fma(s(scale[0]), y[0]),
        odd.fma(s(scale[1]), y[1]),
        even.fma(s(scale[2]), y[2]),
        odd.fma(s(scale[3]), y[3]),
    ]
}

per_isa! {
    /// Transforms a chunk of a tile of inputs.
    pub(super) wide fn inputs[](a: &Inputs<'_>) = inputs_of
}

/// # Safety
/// The addresses are valid for what the structure says.
#[inline(always)]
unsafe fn inputs_of<V: V8>(a: &Inputs<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match a.pair {
            0 => inputs_pair::<V, 0>(a),
            1 => inputs_pair::<V, 1>(a),
            _ => inputs_pair::<V, 2>(a),
        }
    }
}

/// # Safety
/// As [`inputs_of`].
#[inline(always)]
unsafe fn inputs_pair<V: V8, const PAIR: usize>(a: &Inputs<'_>) {
    // Of channels that are less than a register's worth.
    let mut part = [[0.0; MAX_LANES]; POSITIONS];
    let mut copies = [std::ptr::null(); POSITIONS];
    for (tile, pixels) in a.tiles.iter().enumerate() {
        for k in (0..a.depth).step_by(V::LANES) {
            let n = V::LANES.min(a.depth - k);
            // SAFETY: the tile's channels; rows have room for registers.
            unsafe {
                let (pixels, at) = if n == V::LANES {
                    (pixels, a.start + k)
                } else {
                    for i in 0..POSITIONS {
                        std::ptr::copy_nonoverlapping(pixels[i].add(a.start + k), part[i].as_mut_ptr(), n);
                        copies[i] = part[i].as_ptr();
                    }
                    (&copies, 0)
                };
                inputs_at::<V, PAIR>(pixels, at, a.to.add(tile * a.row + k), a.stride);
            }
        }
    }
}

/// A register's worth of channels of a tile from `k` on.
///
/// # Safety
/// The pixels' channels can be read, and registers written.
#[inline(always)]
unsafe fn inputs_at<V: V8, const PAIR: usize>(
    pixels: &[*const f32; POSITIONS],
    k: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Spelled out: of loops within loops not all are unrolled, and arrays of others are no registers.
        let [[a0, b0], [a1, b1], [a2, b2], [a3, b3], [a4, b4], [a5, b5]] = [
            inputs_column::<V, PAIR>(pixels, 0, k),
            inputs_column::<V, PAIR>(pixels, 1, k),
            inputs_column::<V, PAIR>(pixels, 2, k),
            inputs_column::<V, PAIR>(pixels, 3, k),
            inputs_column::<V, PAIR>(pixels, 4, k),
            inputs_column::<V, PAIR>(pixels, 5, k),
        ];
        store_row(input([a0, a1, a2, a3, a4, a5]), to, stride);
        store_row(input([b0, b1, b2, b3, b4, b5]), to.add(SIDE * stride), stride);
    }
}

/// A pair of rows of `B^T d` of column `j`.
///
/// # Safety
/// The pixels' channels can be read.
#[inline(always)]
unsafe fn inputs_column<V: V8, const PAIR: usize>(
    pixels: &[*const f32; POSITIONS],
    j: usize,
    k: usize,
) -> [V; 2] {
    let mut d = [V::splat(0.0); SIDE];
    for i in 0..SIDE {
        // SAFETY: the pixel's channels.
        d[i] = unsafe { V::load(pixels[i * SIDE + j].add(k)) };
    }
    input_pair::<V, PAIR>(d)
}

/// Stores the positions of a row, `stride` elements apart.
///
/// # Safety
/// They can be written.
#[inline(always)]
unsafe fn store_row<V: V8>(v: [V; SIDE], to: *mut f32, stride: usize) {
    for j in 0..SIDE {
        // SAFETY: the caller's promise.
        unsafe { v[j].store(to.add(j * stride)) };
    }
}

per_isa! {
    /// Transforms a chunk of a group's weights, for one row of positions.
    pub(super) wide fn weights[](a: &Weights) = weights_of
}

/// # Safety
/// The addresses are valid for what the structure says.
#[inline(always)]
unsafe fn weights_of<V: V8>(a: &Weights) {
    // SAFETY: the caller's promise.
    unsafe {
        match a.row {
            0 | 5 => weights_row::<V, false>(a),
            _ => weights_row::<V, true>(a),
        }
    }
}

/// The row of a POINT, or else the first or last one.
///
/// # Safety
/// As [`weights_of`].
#[inline(always)]
unsafe fn weights_row<V: V8, const POINT: bool>(a: &Weights) {
    let n = a.depth * NR;
    let point = if POINT { [A, -A, B, -B][a.row - 1] } else { 0.0 };
    let first = if a.row == 5 { 6 * a.tap } else { 0 };
    for panel in 0..a.panels {
        let (from, to) = (a.from.wrapping_add(panel * 9 * a.tap + first), a.to.wrapping_add(panel * n));
        for i in (0..n).step_by(V::LANES) {
            // SAFETY: the panel's weights, of which nine taps are there; what is read past the last channel of a tap
            // are the next one's, or lies in the slack behind them; as many may be written.
            unsafe {
                let at = from.add(i);
                let row = [
                    weights_column::<V, POINT>(at, a.tap, point),
                    weights_column::<V, POINT>(at.add(a.tap), a.tap, point),
                    weights_column::<V, POINT>(at.add(2 * a.tap), a.tap, point),
                ];
                store_row(weight(row), to.add(i), a.stride);
            }
        }
    }
}

/// Of the column whose taps begin at `from` the POINT's row of `G g`, or else the first tap.
///
/// # Safety
/// The taps can be read.
#[inline(always)]
unsafe fn weights_column<V: V8, const POINT: bool>(from: *const f32, tap: usize, point: f32) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let first = V::load(from);
        if !POINT {
            return first;
        }
        let even = V::load(from.add(6 * tap)).fma(V::splat(point * point), first);
        V::load(from.add(3 * tap)).fma(V::splat(point), even)
    }
}

per_isa! {
    /// Adds the sums of a pair of rows of positions to the outputs.
    pub(super) wide fn outputs[](a: &Outputs<'_>) = outputs_of
}

/// # Safety
/// The addresses are valid for what the structure says.
#[inline(always)]
unsafe fn outputs_of<V: V8>(a: &Outputs<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match a.pair {
            0 => outputs_pair::<V, 0>(a),
            1 => outputs_pair::<V, 1>(a),
            _ => outputs_pair::<V, 2>(a),
        }
    }
}

/// # Safety
/// As [`outputs_of`].
#[inline(always)]
unsafe fn outputs_pair<V: V8, const PAIR: usize>(a: &Outputs<'_>) {
    let columns = if a.alike { 1 } else { OUT };
    // Of channels that are less than a register's worth.
    let mut part = [[0.0; MAX_LANES]; OUT * OUT];
    for (tile, pixels) in a.tiles.iter().enumerate() {
        for j in (0..OUT).step_by(columns) {
            for c in (0..a.channels).step_by(V::LANES) {
                let n = V::LANES.min(a.channels - c);
                let whole = n == V::LANES;
                // SAFETY: the pixels' channels; sums are there for whole registers.
                unsafe {
                    let (at, sums, columns) = (a.start + c, a.sums.add(tile * a.pitch + c), j..j + columns);
                    let mut copies = [std::ptr::null_mut(); OUT * OUT];
                    if !whole {
                        for i in (0..OUT * OUT).filter(|&i| !pixels[i].is_null()) {
                            std::ptr::copy_nonoverlapping(pixels[i].add(at), part[i].as_mut_ptr(), n);
                            copies[i] = part[i].as_mut_ptr();
                        }
                    }
                    let (to, first) = if whole { (pixels, at) } else { (&copies, 0) };
                    outputs_at::<V, PAIR>(a, sums, c, &columns, to, first);
                    if !whole {
                        for i in (0..OUT * OUT).filter(|&i| !pixels[i].is_null()) {
                            std::ptr::copy_nonoverlapping(part[i].as_ptr(), pixels[i].add(at), n);
                        }
                    }
                }
            }
        }
    }
}

/// A register's worth of channels of some columns of a tile from `c` on, which `pixels` have from `at` on.
///
/// # Safety
/// As [`outputs_of`]; registers can be read and written.
#[inline(always)]
unsafe fn outputs_at<V: V8, const PAIR: usize>(
    a: &Outputs<'_>,
    sums: *const f32,
    c: usize,
    columns: &Range<usize>,
    pixels: &[*mut f32; OUT * OUT],
    at: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let first = output(load_row(sums, a.stride));
        let second = output(load_row(sums.add(SIDE * a.stride), a.stride));
        for j in 0..OUT {
            if columns.contains(&j) {
                outputs_column::<V, PAIR>(a, c, [first[j], second[j]], j, pixels, at);
            }
        }
    }
}

/// Loads the positions of a row, `stride` elements apart.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load_row<V: V8>(from: *const f32, stride: usize) -> [V; SIDE] {
    let mut v = [V::splat(0.0); SIDE];
    for j in 0..SIDE {
        // SAFETY: the caller's promise.
        v[j] = unsafe { V::load(from.add(j * stride)) };
    }
    v
}

/// Adds a pair of rows to the outputs of column `j`.
///
/// # Safety
/// As [`outputs_at`].
#[inline(always)]
unsafe fn outputs_column<V: V8, const PAIR: usize>(
    a: &Outputs<'_>,
    c: usize,
    m: [V; 2],
    j: usize,
    pixels: &[*mut f32; OUT * OUT],
    at: usize,
) {
    // SAFETY: the pixels' channels; biases are there for whole registers, with the slack behind them.
    unsafe {
        let mut y = [V::splat(0.0); OUT];
        for i in 0..OUT {
            let to = pixels[i * OUT + j];
            if untouched(PAIR, i) {
                continue;
            }
            if !a.bias.is_null() {
                y[i] = V::load(a.bias.add(c));
            } else if !to.is_null() {
                y[i] = V::load(to.add(at));
            }
        }
        let mut y = output_pair::<V, PAIR>(m, y);
        if let Some([lo, hi]) = a.bounds {
            for i in 0..OUT {
                y[i] = y[i].clamp(V::splat(lo), V::splat(hi));
            }
        }
        for i in 0..OUT {
            let to = pixels[i * OUT + j];
            if !untouched(PAIR, i) && !to.is_null() {
                y[i].store(to.add(at));
            }
        }
    }
}
