//! asin(x), acos(x), atan(x).

use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use super::exp::horner;
use crate::simd::V8;

/// (asin(x) - x) / x^3 in x^2, for |x| <= 1/2: 5e-9 for x^2 as weight.
const ASIN: [f32; 5] = [1.666_675_4e-1, 7.495_242e-2, 4.547_71e-2, 2.414_758_8e-2, 4.221_859e-2];

/// (atan(x) - x) / x^3 in x^2, for |x| <= tan(pi / 8): 7e-10 for x^2 as weight.
const ATAN: [f32; 5] = [-3.333_331_6e-1, 1.999_849e-1, -1.424_385e-1, 1.059_600_1e-1, -6.083_451_6e-2];

/// tan(pi / 8) and tan(3 pi / 8).
const TAN_PI_8: f32 = 0.414_213_57;
const TAN_3_PI_8: f32 = 2.414_213_7;

/// asin of |x| <= 1/2.
#[inline(always)]
fn asin_near<V: V8>(x: V) -> V {
    let s = x.mul(x);
    horner(&ASIN, s).fma(x.mul(s), x)
}

/// For |x| > 1/2: 2 asin(sqrt((1 - |x|) / 2)), which is acos(|x|); NaN beyond 1.
#[inline(always)]
fn acos_far<V: V8>(t: V) -> V {
    let half = V::splat(1.0).sub(t).mul(V::splat(0.5));
    asin_near(half.sqrt()).mul(V::splat(2.0))
}

/// asin(x); NaN outside of [-1, 1].
#[inline(always)]
pub(super) fn asin<V: V8>(x: V) -> V {
    let t = x.abs();
    let far = V::splat(FRAC_PI_2).sub(acos_far(t)).with_sign_of(x);
    V::select(t.gt(V::splat(0.5)), far, asin_near(x))
}

/// acos(x); NaN outside of [-1, 1].
#[inline(always)]
pub(super) fn acos<V: V8>(x: V) -> V {
    let t = x.abs();
    let far = acos_far(t);
    let far = V::select(x.lt(V::splat(0.0)), V::splat(PI).sub(far), far);
    V::select(t.gt(V::splat(0.5)), far, V::splat(FRAC_PI_2).sub(asin_near(x)))
}

/// atan(x): of -1 / |x| from tan(3 pi / 8) on, of (|x| - 1) / (|x| + 1) from tan(pi / 8) on.
#[inline(always)]
pub(super) fn atan<V: V8>(x: V) -> V {
    let (t, one) = (x.abs(), V::splat(1.0));
    let (middle, far) = (t.gt(V::splat(TAN_PI_8)), t.gt(V::splat(TAN_3_PI_8)));
    let inner = V::select(middle, t.sub(one).div(t.add(one)), t);
    let r = V::select(far, one.neg().div(t), inner);
    let base = V::select(middle, V::splat(FRAC_PI_4), V::splat(0.0));
    let base = V::select(far, V::splat(FRAC_PI_2), base);
    let s = r.mul(r);
    base.add(horner(&ATAN, s).fma(r.mul(s), r)).with_sign_of(x)
}
