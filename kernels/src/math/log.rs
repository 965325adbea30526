//! ln(x).

use super::exp::{LN2_HI, LN2_LO, horner};
use crate::simd::V8;

/// (ln(1 + f) - f + f^2 / 2) / f^3 on sqrt(1/2) - 1 <= f <= sqrt(2) - 1, minimax for f^2 as weight: 7.3e-10.
const P: [f32; 9] = [
    3.333_331e-1,
    -2.499_998_7e-1,
    2.000_223_1e-1,
    -1.666_926_1e-1,
    1.421_856_3e-1,
    -1.238_409_4e-1,
    1.187_347_5e-1,
    -1.179_162e-1,
    6.916_416_4e-2,
];

/// k ln 2 + ln(1 + f).
#[inline(always)]
fn log_parts<V: V8>(k: V, f: V) -> V {
    let s = f.mul(f);
    let q = k.fma(V::splat(LN2_LO), horner(&P, f).mul(s.mul(f)));
    let r = f.add(s.fnma(V::splat(0.5), q));
    k.fma(V::splat(LN2_HI), r)
}

/// ln(x): -inf at both zeros, NaN below, +inf at +inf; denormals are taken exactly.
#[inline(always)]
pub(crate) fn log<V: V8>(x: V) -> V {
    let zero = V::splat(0.0);
    let tiny = x.lt(V::splat(f32::MIN_POSITIVE));
    let bits = V::select(tiny, x.mul(V::splat(8_388_608.0)), x).to_bits();
    // The exponent that leaves a mantissa in [sqrt(1/2), sqrt(2)).
    let k = V::sar::<23>(V::isub(bits, V::isplat(0x3f35_04f3)));
    let m = V::from_bits(V::isub(bits, V::shl::<23>(k)));
    let k = V::isub(k, V::iand(tiny, V::isplat(23)));
    let y = log_parts(V::from_i32(k), m.sub(V::splat(1.0)));
    let y = V::select(x.eq(V::splat(f32::INFINITY)), x, y);
    let outside = V::select(x.eq(zero), V::splat(f32::NEG_INFINITY), V::splat(f32::NAN));
    V::select(x.gt(zero), y, outside)
}

/// ln(1 + z) for 0 <= z <= 1.
#[inline(always)]
pub(super) fn log1p_unit<V: V8>(z: V) -> V {
    let one = V::splat(1.0);
    let big = z.gt(V::splat(0.414_213_54));
    let f = V::select(big, z.sub(one).mul(V::splat(0.5)), z);
    log_parts(V::select(big, one, V::splat(0.0)), f)
}
