//! The error function.

use super::exp::horner;
use crate::simd::V8;

/// From here on erf is 1.
const ONE: f32 = 3.9;

/// erf(x) / x is P(x^2) / Q(x^2): minimax of the relative error over [0, 3.9], 1.8e-8.
#[expect(clippy::approx_constant, reason = "minimax: it need not be 2 / sqrt(pi)")]
const P: [f32; 6] =
    [1.128_379_1, 1.896_676_4e-1, 5.266_818_4e-2, 3.738_378_4e-3, 2.850_624_4e-4, 2.066_460_9e-6];
const Q: [f32; 6] = [1.0, 5.014_213_3e-1, 1.138_192_86e-1, 1.491_434_3e-2, 1.157_383_1e-3, 3.826_990_4e-5];

/// erf(x), NaN of NaN.
#[inline(always)]
pub(super) fn erf<V: V8>(x: V) -> V {
    let t = x.clamp(V::splat(-ONE), V::splat(ONE));
    let s = t.mul(t);
    let ratio = horner(&P, s).mul(t).div(horner(&Q, s));
    ratio.clamp(V::splat(-1.0), V::splat(1.0))
}
