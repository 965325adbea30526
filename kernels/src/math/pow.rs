//! x to the power of y.

use std::f64::consts::{LN_2, LOG2_E};

use crate::simd::{MAX_LANES, V8};

/// x^y by lanes. Exponents 1, 2, 3, 0.5, -0.5 and -1 are the expressions x, x * x, (x * x) * x, sqrt(x),
/// 1 / sqrt(x) and 1 / x in f32; all others are 2^(y log2 x) in f64, rounded once.
#[inline(always)]
pub(crate) fn pow<V: V8>(x: V, y: V) -> V {
    let all = |e: f32| {
        let same = y.eq(V::splat(e));
        !V::any(V::ixor(same, V::isplat(-1)))
    };
    if all(2.0) {
        x.mul(x)
    } else if all(0.5) {
        x.sqrt()
    } else {
        each(x, y)
    }
}

#[inline(never)]
fn each<V: V8>(x: V, y: V) -> V {
    let (x, y) = (x.lanes(), y.lanes());
    let mut z = [0.0; MAX_LANES];
    for i in 0..V::LANES {
        z[i] = one(x[i], y[i]);
    }
    V::from_lanes(z)
}

fn one(x: f32, y: f32) -> f32 {
    if y == 1.0 {
        x
    } else if y == 2.0 {
        x * x
    } else if y == 3.0 {
        x * x * x
    } else if y == 0.5 {
        x.sqrt()
    } else if y == -0.5 {
        1.0 / x.sqrt()
    } else if y == -1.0 {
        1.0 / x
    } else {
        general(x, y)
    }
}

/// As IEEE 754 `pow`, special cases included.
fn general(x: f32, y: f32) -> f32 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return f32::NAN;
    }
    let whole = y.trunc() == y;
    let odd = whole && y.abs() < 16_777_216.0 && y as i32 & 1 == 1;
    let sign = if x.is_sign_negative() && odd { -1.0 } else { 1.0 };
    let size = x.abs();
    if size == 0.0 || size.is_infinite() {
        let grows = (size == 0.0) == (y < 0.0);
        return if grows { sign * f32::INFINITY } else { sign * 0.0 };
    }
    if y.is_infinite() {
        return if size == 1.0 {
            1.0
        } else if (size > 1.0) == (y > 0.0) {
            f32::INFINITY
        } else {
            0.0
        };
    }
    if x < 0.0 && !whole {
        return f32::NAN;
    }
    (f64::from(sign) * exp2(f64::from(y) * log2(f64::from(size)))) as f32
}

/// log2 of a normal f64 above zero: the series of 2 artanh((m - 1) / (m + 1)), m in [sqrt(1/2), sqrt(2)).
fn log2(x: f64) -> f64 {
    let bits = x.to_bits();
    let k = (bits.wrapping_sub(std::f64::consts::FRAC_1_SQRT_2.to_bits())).cast_signed() >> 52;
    let m = f64::from_bits(bits.wrapping_sub((k << 52).cast_unsigned()));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let mut p = 0.0;
    for i in (1..=10).rev() {
        p = (p + 1.0 / f64::from(2 * i + 1)) * s2;
    }
    k as f64 + 2.0 * LOG2_E * (s + s * p)
}

/// 2^t: the series of e^(f ln 2) for the fraction f, and the exponent.
fn exp2(t: f64) -> f64 {
    let t = t.clamp(-160.0, 130.0);
    let n = t.round_ties_even();
    let r = (t - n) * LN_2;
    let mut p = 1.0;
    for i in (1..=13).rev() {
        p = 1.0 + p * r / f64::from(i);
    }
    p * f64::from_bits(((n as i64 + 1023) << 52).cast_unsigned())
}
