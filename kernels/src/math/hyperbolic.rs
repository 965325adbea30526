//! sinh(x), cosh(x) and the inverses of sinh, cosh and tanh.

use std::f32::consts::LN_2;

use super::exp::{exp, horner};
use super::log::{log, log1p_unit};
use crate::simd::V8;

/// (sinh(x) - x) / x^3 in x^2, for |x| <= 1: 6e-11 for x^2 as weight.
const SINH: [f32; 4] = [1.666_666_7e-1, 8.333_35e-3, 1.983_606_7e-4, 2.817_439_5e-6];

/// (asinh(x) - x) / x^3 in x^2, for |x| <= 1/2: 2e-9 for x^2 as weight.
const ASINH: [f32; 5] = [-1.666_664_3e-1, 7.498_664e-2, -4.438_586_5e-2, 2.817_556e-2, -1.324_810_1e-2];

/// (atanh(x) - x) / x^3 in x^2, for |x| <= 1/2: 2e-9 for x^2 as weight.
const ATANH: [f32; 6] =
    [3.333_33e-1, 2.000_258_7e-1, 1.422_148_6e-1, 1.183_396_2e-1, 5.098_544_4e-2, 1.771_965_8e-1];

/// From here on x^2 + 1 and x^2 - 1 are x^2.
const LARGE: f32 = 8192.0;

/// x + x^3 P(x^2)
#[inline(always)]
fn near<V: V8, const N: usize>(p: &[f32; N], x: V) -> V {
    let s = x.mul(x);
    horner(p, s).fma(x.mul(s), x)
}

/// e^t / 2 and e^-t / 2, by the square of e^(t / 2), which does not overflow before they do.
#[inline(always)]
fn halves<V: V8>(t: V) -> (V, V) {
    let q = exp(t.mul(V::splat(0.5)));
    (q.mul(V::splat(0.5)).mul(q), V::splat(0.5).div(q).div(q))
}

/// sinh(x)
#[inline(always)]
pub(super) fn sinh<V: V8>(x: V) -> V {
    let t = x.abs();
    let (up, down) = halves(t);
    V::select(t.gt(V::splat(1.0)), up.sub(down).with_sign_of(x), near(&SINH, x))
}

/// cosh(x)
#[inline(always)]
pub(super) fn cosh<V: V8>(x: V) -> V {
    let (up, down) = halves(x.abs());
    up.add(down)
}

/// asinh(x) = ln(|x| + sqrt(x^2 + 1)), with the sign of x.
#[inline(always)]
pub(super) fn asinh<V: V8>(x: V) -> V {
    let t = x.abs();
    let root = t.fma(t, V::splat(1.0)).sqrt();
    let large = t.gt(V::splat(LARGE));
    let l = log(V::select(large, t, t.add(root)));
    let l = V::select(large, l.add(V::splat(LN_2)), l);
    V::select(t.gt(V::splat(0.5)), l.with_sign_of(x), near(&ASINH, x))
}

/// acosh(x) = ln(x + sqrt(x^2 - 1)), near 1 as ln(1 + z); NaN below 1.
#[inline(always)]
pub(super) fn acosh<V: V8>(x: V) -> V {
    let t = x.sub(V::splat(1.0));
    let z = t.add(t.mul(t.add(V::splat(2.0))).sqrt());
    let large = x.gt(V::splat(LARGE));
    let l = log(V::select(large, x, z.add(V::splat(1.0))));
    let l = V::select(large, l.add(V::splat(LN_2)), l);
    let y = V::select(t.gt(V::splat(0.25)), l, log1p_unit(z));
    V::select(t.lt(V::splat(0.0)), V::splat(f32::NAN), y)
}

/// atanh(x) = ln((1 + |x|) / (1 - |x|)) / 2, with the sign of x; NaN beyond 1.
#[inline(always)]
pub(super) fn atanh<V: V8>(x: V) -> V {
    let (t, one) = (x.abs(), V::splat(1.0));
    let l = log(one.add(t).div(one.sub(t))).mul(V::splat(0.5));
    V::select(t.gt(V::splat(0.5)), l.with_sign_of(x), near(&ATANH, x))
}
