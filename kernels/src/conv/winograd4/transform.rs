//! The three transforms, over lanes of channels.
//!
//! Each is a matrix applied to the columns of a square and then to the rows of what results.

use super::{Inputs, OUT, Outputs, SIDE, Weights};
use crate::conv::micro::NR;
use crate::simd::{V8, load_part, per_isa, store_part};

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

/// The rows of positions in pairs that share sums: those of 0 and infinity, a and -a, b and -b.
const PAIRS: [[usize; 2]; 3] = [[0, 5], [1, 2], [3, 4]];

/// A pair of rows of `B^T d`.
#[inline(always)]
fn input_pair<V: V8>(pair: usize, d: [V; SIDE]) -> [V; 2] {
    match pair {
        0 => [input_end(d[0], d[2], d[4]), input_end(d[1], d[3], d[5])],
        1 => input_points(d, A, B2),
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
    let [first, last] = input_pair(0, d);
    let [a, minus_a] = input_pair(1, d);
    let [b, minus_b] = input_pair(2, d);
    [first, a, minus_a, b, minus_b, last]
}

/// A row of `G g`.
#[inline(always)]
fn weight_row<V: V8>(row: usize, g: [V; 3]) -> V {
    match row {
        0 => g[0],
        1 => weight_point(g, A),
        2 => weight_point(g, -A),
        3 => weight_point(g, B),
        4 => weight_point(g, -B),
        _ => g[2],
    }
}

/// The row of a point.
#[inline(always)]
fn weight_point<V: V8>(g: [V; 3], point: f32) -> V {
    g[1].fma(V::splat(point), g[2].fma(V::splat(point * point), g[0]))
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

per_isa! {
    /// Transforms a chunk of a tile of inputs.
    pub(super) wide fn inputs[](a: &Inputs<'_>) = inputs_of
}

/// # Safety
/// The addresses are valid for what the structure says.
#[inline(always)]
unsafe fn inputs_of<V: V8>(a: &Inputs<'_>) {
    let rest = a.depth % V::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        for k in (0..a.depth - rest).step_by(V::LANES) {
            inputs_at::<V, true>(a, k, V::LANES);
        }
        if rest > 0 {
            inputs_at::<V, false>(a, a.depth - rest, rest);
        }
    }
}

/// `n` channels from `k` on: a register's worth if WHOLE.
///
/// # Safety
/// As [`inputs_of`].
#[inline(always)]
unsafe fn inputs_at<V: V8, const WHOLE: bool>(a: &Inputs<'_>, k: usize, n: usize) {
    for pair in 0..3 {
        let mut rows = [[V::splat(0.0); SIDE]; 2];
        for j in 0..SIDE {
            let mut d = [V::splat(0.0); SIDE];
            for i in 0..SIDE {
                // SAFETY: the pixel's channels.
                d[i] = unsafe { load::<V, WHOLE>(a.pixels[i * SIDE + j].add(k), n) };
            }
            [rows[0][j], rows[1][j]] = input_pair(pair, d);
        }
        for half in 0..2 {
            let v = input(rows[half]);
            for j in 0..SIDE {
                // SAFETY: up to the next multiple of the lanes may be written.
                unsafe { v[j].store(a.to.add((PAIRS[pair][half] * SIDE + j) * a.stride + k)) };
            }
        }
    }
}

/// `n` numbers: a register's worth if WHOLE.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load<V: V8, const WHOLE: bool>(p: *const f32, n: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if WHOLE { V::load(p) } else { load_part(p, n, 0.0, V::load) } }
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
            0 => weights_row::<V, 0>(a),
            1 => weights_row::<V, 1>(a),
            2 => weights_row::<V, 2>(a),
            3 => weights_row::<V, 3>(a),
            4 => weights_row::<V, 4>(a),
            _ => weights_row::<V, 5>(a),
        }
    }
}

/// # Safety
/// As [`weights_of`].
#[inline(always)]
unsafe fn weights_row<V: V8, const ROW: usize>(a: &Weights) {
    let n = a.depth * NR;
    for panel in 0..a.panels {
        // SAFETY: the panel's weights, of which nine taps are there; what is read past the last channel of a tap are
        // the next one's, or lies in the slack behind them; as many may be written.
        unsafe {
            let from = a.from.add(panel * 9 * a.tap);
            let to = a.to.add(panel * n);
            for i in (0..n).step_by(V::LANES) {
                let mut half = [V::splat(0.0); 3];
                for j in 0..3 {
                    let mut g = [V::splat(0.0); 3];
                    for k in 0..3 {
                        g[k] = V::load(from.add((3 * k + j) * a.tap + i));
                    }
                    half[j] = weight_row(ROW, g);
                }
                for j in 0..SIDE {
                    weight_row(j, half).store(to.add(j * a.stride + i));
                }
            }
        }
    }
}

per_isa! {
    /// Adds a tile's sums to its outputs.
    pub(super) wide fn outputs[](a: &Outputs<'_>) = outputs_of
}

/// # Safety
/// The addresses are valid for what the structure says.
#[inline(always)]
unsafe fn outputs_of<V: V8>(a: &Outputs<'_>) {
    let rest = a.channels % V::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        for c in (0..a.channels - rest).step_by(V::LANES) {
            outputs_at::<V, true>(a, c, V::LANES);
        }
        if rest > 0 {
            outputs_at::<V, false>(a, a.channels - rest, rest);
        }
    }
}

/// `n` channels from `c` on: a register's worth if WHOLE.
///
/// # Safety
/// As [`outputs_of`].
#[inline(always)]
unsafe fn outputs_at<V: V8, const WHOLE: bool>(a: &Outputs<'_>, c: usize, n: usize) {
    let mut half = [[V::splat(0.0); SIDE]; OUT];
    // SAFETY: sums are there for whole registers, and so are biases, with the slack behind them.
    unsafe {
        let from = a.sums.add(c);
        for j in 0..SIDE {
            let mut m = [V::splat(0.0); SIDE];
            for i in 0..SIDE {
                m[i] = V::load(from.add((i * SIDE + j) * a.stride));
            }
            [half[0][j], half[1][j], half[2][j], half[3][j]] = output(m);
        }
        for i in 0..OUT {
            let y = output(half[i]);
            for j in 0..OUT {
                let to = a.pixels[i * OUT + j];
                if to.is_null() {
                    continue;
                }
                let to = to.add(c);
                let before = if a.bias.is_null() { load::<V, WHOLE>(to, n) } else { V::load(a.bias.add(c)) };
                let mut sum = before.add(y[j]);
                if let Some([lo, hi]) = a.bounds {
                    sum = sum.clamp(V::splat(lo), V::splat(hi));
                }
                if WHOLE {
                    sum.store(to);
                } else {
                    store_part(sum, to, n, V::store);
                }
            }
        }
    }
}
