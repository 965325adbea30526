//! e^x and what is built on it.

use super::log::log1p_unit;
use crate::simd::V8;

/// 1.5 * 2^23: adding it rounds a small number to an integer (to nearest even), found in the sum's low bits.
pub(super) const MAGIC: f32 = 12_582_912.0;
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts, the first so short that its products with exponents are exact.
pub(super) const LN2_HI: f32 = 0.693_145_75;
pub(super) const LN2_LO: f32 = 1.428_606_8e-6;

/// (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, minimax for r^2 as weight: 3.2e-9.
const P: [f32; 5] = [0.5, 1.666_651_8e-1, 4.166_620_6e-2, 8.368_89e-3, 1.395_048_9e-3];

/// The polynomial with these coefficients, lowest first, by Horner's rule with fused multiply-adds.
#[inline(always)]
pub(super) fn horner<V: V8, const N: usize>(c: &[f32; N], x: V) -> V {
    let mut p = V::splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        p = p.fma(x, V::splat(c[i]));
    }
    p
}

/// x = k ln 2 + r: returns k and e^r - 1.
#[inline(always)]
fn reduce<V: V8>(x: V) -> (V::I, V) {
    let t = x.fma(V::splat(LOG2_E), V::splat(MAGIC));
    let k = V::isub(t.to_bits(), V::splat(MAGIC).to_bits());
    let n = t.sub(V::splat(MAGIC));
    let r = n.fnma(V::splat(LN2_LO), n.fnma(V::splat(LN2_HI), x));
    (k, horner(&P, r).fma(r.mul(r), r))
}

/// 2^k for k in -126 to 127.
#[inline(always)]
fn exp2i<V: V8>(k: V::I) -> V {
    V::from_bits(V::shl::<23>(V::iadd(k, V::isplat(127))))
}

/// e^x: +inf above 88.73, 0 below -103.98, denormals between; NaN stays.
#[inline(always)]
pub(crate) fn exp<V: V8>(x: V) -> V {
    const LEAST: f32 = -104.0;
    let (k, q) = reduce(x.clamp(V::splat(LEAST), V::splat(89.0)));
    // Two factors, since 2^k may be out of range where the product is not; only the second can round.
    let half = V::sar::<1>(k);
    let rest = exp2i(V::isub(k, half));
    // What rounds to zero, as most of a masked softmax does, is multiplied by zero: many processors take a hundred
    // cycles for a product that is below all numbers.
    let rest = V::select(x.le(V::splat(LEAST)), V::splat(0.0), rest);
    q.add(V::splat(1.0)).mul(exp2i(half)).mul(rest)
}

/// e^x for x <= 0, and 0 below -87, before results are denormal: many processors take a hundred cycles for those.
#[inline(always)]
pub(crate) fn exp_neg<V: V8>(x: V) -> V {
    let least = V::splat(-87.0);
    let (k, q) = reduce(least.max(x));
    V::select(x.lt(least), V::splat(0.0), q.add(V::splat(1.0)).mul(exp2i(k)))
}

/// e^x - 1 without cancellation, for x <= 0.
#[inline(always)]
pub(super) fn expm1_neg<V: V8>(x: V) -> V {
    let (k, q) = reduce(V::splat(-30.0).max(x));
    let t = exp2i::<V>(k);
    q.fma(t, t.sub(V::splat(1.0)))
}

/// 1 / (1 + e^-x), by e^-|x| so that nothing overflows.
#[inline(always)]
pub(super) fn sigmoid<V: V8>(x: V) -> V {
    let one = V::splat(1.0);
    let z = exp_neg(x.abs().neg());
    V::select(x.lt(V::splat(0.0)), z, one).div(z.add(one))
}

/// tanh(x) = -e / (2 + e) with e = e^(-2|x|) - 1.
#[inline(always)]
pub(super) fn tanh<V: V8>(x: V) -> V {
    let e = expm1_neg(x.abs().mul(V::splat(-2.0)));
    e.neg().div(e.add(V::splat(2.0))).with_sign_of(x)
}

/// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).
#[inline(always)]
pub(super) fn softplus<V: V8>(x: V) -> V {
    x.max(V::splat(0.0)).add(log1p_unit(exp_neg(x.abs().neg())))
}
