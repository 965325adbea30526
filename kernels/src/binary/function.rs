//! The binary functions, each written once over vectors.

use crate::math::pow;
use crate::simd::{MAX_LANES, V8};

/// A function of two reals.
pub(crate) trait BinaryFn {
    /// Of f32.
    fn apply<V: V8>(a: V, b: V) -> V;

    /// Of s8 operands less their zero points, with factors; in units of the output.
    #[inline(always)]
    fn quantized<V: V8>(a: V, b: V, scale_a: V, scale_b: V) -> V {
        Self::apply(a.mul(scale_a), b.mul(scale_b))
    }
}

/// A predicate of two reals.
pub(crate) trait CompareFn {
    /// As a mask; false when either is NaN.
    fn apply<V: V8>(a: V, b: V) -> V::I;
}

pub(crate) struct Add;
pub(crate) struct Sub;
pub(crate) struct Mul;
pub(crate) struct Div;
pub(crate) struct Min;
pub(crate) struct Max;
pub(crate) struct Pow;
pub(crate) struct PRelu;
pub(crate) struct Mod;
pub(crate) struct Fmod;
pub(crate) struct SquaredDifference;

macro_rules! simple {
    ($($name:ident |$a:ident, $b:ident| $body:expr;)+) => {$(
        impl BinaryFn for $name {
            #[inline(always)]
            fn apply<V: V8>($a: V, $b: V) -> V {
                $body
            }
        }
    )+};
}

simple! {
    Add |a, b| a.add(b);
    Sub |a, b| a.sub(b);
    Min |a, b| a.min(b);
    Max |a, b| a.max(b);
    Pow |a, b| pow(a, b);
    PRelu |a, b| V::select(a.lt(V::splat(0.0)), a.mul(b), a);
    Mod |a, b| each(a, b, floored_remainder);
    Fmod |a, b| each(a, b, |a, b| a % b);
    SquaredDifference |a, b| {
        let d = a.sub(b);
        d.mul(d)
    };
}

impl BinaryFn for Mul {
    #[inline(always)]
    fn apply<V: V8>(a: V, b: V) -> V {
        a.mul(b)
    }

    /// The integer product is exact in f32, being below 2^24.
    #[inline(always)]
    fn quantized<V: V8>(a: V, b: V, scale_a: V, _: V) -> V {
        a.mul(b).mul(scale_a)
    }
}

impl BinaryFn for Div {
    #[inline(always)]
    fn apply<V: V8>(a: V, b: V) -> V {
        a.div(b)
    }

    /// 0 where b is.
    #[inline(always)]
    fn quantized<V: V8>(a: V, b: V, scale_a: V, _: V) -> V {
        let zero = V::splat(0.0);
        V::select(b.eq(zero), zero, a.div(b).mul(scale_a))
    }
}

/// The remainder with the sign of `b`: the exact one of truncation, plus `b` when signs differ.
fn floored_remainder(a: f32, b: f32) -> f32 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

#[inline(never)]
fn each<V: V8>(a: V, b: V, f: fn(f32, f32) -> f32) -> V {
    let (a, b) = (a.lanes(), b.lanes());
    let mut r = [0.0; MAX_LANES];
    for i in 0..V::LANES {
        r[i] = f(a[i], b[i]);
    }
    V::from_lanes(r)
}

pub(crate) struct Equal;
pub(crate) struct Less;
pub(crate) struct LessOrEqual;
pub(crate) struct Greater;
pub(crate) struct GreaterOrEqual;

macro_rules! compare {
    ($($name:ident $method:ident;)+) => {$(
        impl CompareFn for $name {
            #[inline(always)]
            fn apply<V: V8>(a: V, b: V) -> V::I {
                a.$method(b)
            }
        }
    )+};
}

compare! {
    Equal eq;
    Less lt;
    LessOrEqual le;
    Greater gt;
    GreaterOrEqual ge;
}
