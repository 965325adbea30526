//! Elementary functions of f32: our own polynomials, the same operations on every instruction set.
//!
//! Everything is written over [`V8`] with explicitly chosen multiply, add and fused multiply-add, so the bits do
//! not depend on the machine, its libm or the compiler. [`scalar`] and [`unary`] are one lane of the same code.
//!
//! Greatest errors, in units in the last place of the correctly rounded result, over all inputs whose result is a
//! normal number (the tests measure them against f64):
//!
//! | function | ulp | | function | ulp |
//! | --- | --- | --- | --- | --- |
//! | exp | 1.5 | | erf | 3 |
//! | log | 1.5 | | sigmoid | 3 |
//! | expm1 (x <= 0) | 2.5 | | sin, cos, r >= 2^-12 from a zero | 2 |
//! | tanh | 4 | | softplus | 3 |
//! | pow | 0.51 | | sqrt, reciprocal, floor, ceil, round | 0.5 |

mod arc;
mod erf;
mod exp;
mod hyperbolic;
pub(crate) mod log;
mod pow;
mod trig;
mod unary;

#[cfg(test)]
mod tests;

pub(crate) use exp::{exp, exp_neg};
pub(crate) use pow::pow;
pub(crate) use unary::*;

use cygnet_format::op::UnaryKind;

use crate::simd::{Scalar, V8};

/// A unary function of one number, bit for bit as [`Op::Map`](cygnet_format::op::Op::Map) and epilogues compute it
/// on any machine.
///
/// `a` and `b` are the parameters of [`Unary`](cygnet_format::op::Unary). Tables for s8 tensors are made with it.
pub fn unary(kind: UnaryKind, a: f32, b: f32, x: f32) -> f32 {
    macro_rules! arms {
        ($($kind:ident $text:literal,)+) => {
            match kind { $(UnaryKind::$kind => lane::<$kind>(x, a, b),)+ }
        };
    }
    functions!(arms)
}

fn lane<F: UnaryFn>(x: f32, a: f32, b: f32) -> f32 {
    Scalar::splat(x).unary::<F>(Scalar::splat(a), Scalar::splat(b)).lanes()[0]
}

/// Single numbers through the very code that kernels use.
pub mod scalar {
    use cygnet_format::op::UnaryKind;

    use crate::simd::{Scalar, V8};

    /// e^x.
    pub fn exp(x: f32) -> f32 {
        super::unary(UnaryKind::Exp, 0.0, 0.0, x)
    }

    /// e^x for x <= 0; 0 below -87.
    pub fn exp_neg(x: f32) -> f32 {
        super::exp_neg(Scalar::splat(x)).lanes()[0]
    }

    /// ln(x).
    pub fn log(x: f32) -> f32 {
        super::unary(UnaryKind::Log, 0.0, 0.0, x)
    }

    /// tanh(x).
    pub fn tanh(x: f32) -> f32 {
        super::unary(UnaryKind::Tanh, 0.0, 0.0, x)
    }

    /// erf(x).
    pub fn erf(x: f32) -> f32 {
        super::unary(UnaryKind::Erf, 0.0, 0.0, x)
    }

    /// 1 / (1 + e^-x).
    pub fn sigmoid(x: f32) -> f32 {
        super::unary(UnaryKind::Sigmoid, 0.0, 0.0, x)
    }

    /// sin(x), x in radians.
    pub fn sin(x: f32) -> f32 {
        super::unary(UnaryKind::Sin, 0.0, 0.0, x)
    }

    /// cos(x), x in radians.
    pub fn cos(x: f32) -> f32 {
        super::unary(UnaryKind::Cos, 0.0, 0.0, x)
    }

    /// x to the power of y.
    pub fn pow(x: f32, y: f32) -> f32 {
        super::pow::<Scalar>(Scalar::splat(x), Scalar::splat(y)).lanes()[0]
    }
}
