//! The error function.

use super::exp::{exp_neg, horner};
use crate::simd::V8;

/// erf(x) / x - 1 in x^2, for |x| <= 0.95: 6.1e-10.
const SMALL: [f32; 7] = [
    1.283_791_7e-1,
    -3.761_263_2e-1,
    1.128_367_3e-1,
    -2.685_810_4e-2,
    5.197_797e-3,
    -8.105_965e-4,
    8.215_423e-5,
];

/// (-ln(1 - erf(t)) - t) / t for 0.9 <= t <= 4, minimax for the error of erf: 8.6e-10.
const LARGE: [f32; 7] = [
    1.286_370_8e-1,
    6.351_980_6e-1,
    1.061_590_5e-1,
    -2.369_456_6e-2,
    3.610_342e-3,
    -3.148_581_6e-4,
    1.043_311_8e-5,
];

/// erf(x): near 0 by its own polynomial, beyond as 1 - e^-(t + t Q(t)); from 4 on it is 1.
#[inline(always)]
pub(super) fn erf<V: V8>(x: V) -> V {
    let t = V::splat(4.0).min(x.abs());
    let near = horner(&SMALL, x.mul(x)).fma(x, x);
    let far = V::splat(1.0).sub(exp_neg(horner(&LARGE, t).fma(t, t).neg()));
    V::select(t.gt(V::splat(0.95)), far.with_sign_of(x), near)
}
