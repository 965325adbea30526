//! The unary functions of the step set, each written once over vectors.

use super::arc::{acos, asin, atan};
use super::erf::erf as erf_of;
use super::exp::{exp, expm1_neg, sigmoid, softplus, tanh};
use super::hyperbolic::{acosh, asinh, atanh, cosh, sinh};
use super::log::log;
use super::trig::{cos, sin, tan};
use crate::simd::V8;

/// A function of eight numbers, lane by lane, with two parameters.
pub(crate) trait UnaryFn {
    /// The function of `x`.
    fn apply<V: V8>(x: V, a: V, b: V) -> V;
}

/// Hands every kind and its name to a macro.
macro_rules! functions {
    ($then:ident) => {
        $then! {
            Identity "identity",
            Abs "abs",
            Neg "neg",
            Reciprocal "reciprocal",
            Sqrt "sqrt",
            Exp "exp",
            Log "log",
            Sigmoid "sigmoid",
            Tanh "tanh",
            Silu "silu",
            HardSigmoid "hard_sigmoid",
            HardSwish "hard_swish",
            Gelu "gelu",
            GeluTanh "gelu_tanh",
            Mish "mish",
            Erf "erf",
            LeakyRelu "leaky_relu",
            Elu "elu",
            Selu "selu",
            Softplus "softplus",
            Softsign "softsign",
            Clip "clip",
            Floor "floor",
            Ceil "ceil",
            Round "round",
            Sign "sign",
            Sin "sin",
            Cos "cos",
            Not "not",
            ThresholdedRelu "thresholded_relu",
            Relu "relu",
            Tan "tan",
            Asin "asin",
            Acos "acos",
            Atan "atan",
            Sinh "sinh",
            Cosh "cosh",
            Asinh "asinh",
            Acosh "acosh",
            Atanh "atanh",
        }
    };
}
pub(crate) use functions;

/// A type for each function.
macro_rules! define {
    ($($(#[$meta:meta])* $name:ident |$x:ident, $a:ident, $b:ident| $body:expr;)+) => {$(
        $(#[$meta])*
        pub(crate) struct $name;
        impl UnaryFn for $name {
            #[allow(unused_variables)]
            #[inline(always)]
            fn apply<V: V8>($x: V, $a: V, $b: V) -> V {
                $body
            }
        }
    )+};
}

define! {
    Identity |x, a, b| x;
    Abs |x, a, b| x.abs();
    Neg |x, a, b| x.neg();
    Reciprocal |x, a, b| V::splat(1.0).div(x);
    Sqrt |x, a, b| x.sqrt();
    Exp |x, a, b| exp(x);
    Log |x, a, b| log(x);
    Sigmoid |x, a, b| sigmoid(x);
    Tanh |x, a, b| tanh(x);
    /// x * sigmoid(x); 0 at -inf.
    Silu |x, a, b| finite_below(x).mul(sigmoid(x));
    /// clamp(fma(x, a, b), 0, 1)
    HardSigmoid |x, a, b| x.fma(a, b).clamp(V::splat(0.0), V::splat(1.0));
    /// x * clamp(fma(x, 1/6, 0.5), 0, 1)
    HardSwish |x, a, b| {
        let gate = x.fma(V::splat(1.0 / 6.0), V::splat(0.5)).clamp(V::splat(0.0), V::splat(1.0));
        finite_below(x).mul(gate)
    };
    /// (x * 0.5) * (1 + erf(x * sqrt(1/2)))
    Gelu |x, a, b| {
        let gate = erf_of(x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2))).add(V::splat(1.0));
        finite_below(x).mul(V::splat(0.5)).mul(gate)
    };
    /// x * sigmoid(2 sqrt(2/pi) * fma(0.044715, (x * x) * x, x)): half of 1 + tanh(u) is sigmoid(2 u), which keeps
    /// its precision where tanh nears -1.
    GeluTanh |x, a, b| {
        let cubic = V::splat(0.044_715).fma(x.mul(x).mul(x), x);
        finite_below(x).mul(sigmoid(cubic.mul(V::splat(1.595_769_2))))
    };
    /// x * n / (n + 2), n = e (e + 2), e = e^min(x, 20)
    Mish |x, a, b| {
        let e = exp(V::splat(20.0).min(x));
        let n = e.mul(e.add(V::splat(2.0)));
        finite_below(x).mul(n.div(n.add(V::splat(2.0))))
    };
    Erf |x, a, b| erf_of(x);
    LeakyRelu |x, a, b| V::select(x.lt(V::splat(0.0)), a.mul(x), x);
    Elu |x, a, b| V::select(x.lt(V::splat(0.0)), a.mul(expm1_neg(x)), x);
    Selu |x, a, b| b.mul(V::select(x.lt(V::splat(0.0)), a.mul(expm1_neg(x)), x));
    Softplus |x, a, b| softplus(x);
    Softsign |x, a, b| x.div(x.abs().add(V::splat(1.0)));
    Clip |x, a, b| x.clamp(a, b);
    Floor |x, a, b| x.floor();
    Ceil |x, a, b| x.ceil();
    Round |x, a, b| x.round();
    Sign |x, a, b| {
        let zero = V::splat(0.0);
        let or_zero = V::select(x.eq(zero), zero, x);
        V::select(x.gt(zero), V::splat(1.0), V::select(x.lt(zero), V::splat(-1.0), or_zero))
    };
    Sin |x, a, b| sin(x);
    Cos |x, a, b| cos(x);
    Not |x, a, b| V::select(x.eq(V::splat(0.0)), V::splat(1.0), V::splat(0.0));
    ThresholdedRelu |x, a, b| V::select(x.gt(a), x, V::splat(0.0));
    /// x < 0 ? 0 : x
    Relu |x, a, b| V::splat(0.0).max(x);
    Tan |x, a, b| tan(x);
    Asin |x, a, b| asin(x);
    Acos |x, a, b| acos(x);
    Atan |x, a, b| atan(x);
    Sinh |x, a, b| sinh(x);
    Cosh |x, a, b| cosh(x);
    Asinh |x, a, b| asinh(x);
    Acosh |x, a, b| acosh(x);
    Atanh |x, a, b| atanh(x);
}

/// x, but the least finite number for -inf: so that its product with 0 is 0.
#[inline(always)]
fn finite_below<V: V8>(x: V) -> V {
    V::splat(f32::MIN).max(x)
}
