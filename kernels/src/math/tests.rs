//! Errors against f64 and special cases.

use cygnet_format::op::UnaryKind as K;

use super::{scalar, unary};

/// Distance of `got` from `want` in units in the last place of `want` as f32.
fn ulps(got: f32, want: f64) -> f64 {
    let nearest = want as f32;
    if got.to_bits() == nearest.to_bits() || (got.is_nan() && nearest.is_nan()) {
        return 0.0;
    }
    if !got.is_finite() || !nearest.is_finite() {
        return f64::INFINITY;
    }
    let exponent = (want.abs().to_bits() >> 52) as i32 - 1023;
    (f64::from(got) - want).abs() / 2.0_f64.powi(exponent.max(-126) - 23)
}

/// Every 1021st f32 between `lo` and `hi`, both signs of zero apart.
fn dense(lo: f32, hi: f32) -> impl Iterator<Item = f32> {
    (0..=u32::MAX / 1021).map(|i| f32::from_bits(i * 1021)).filter(move |&x| lo <= x && x <= hi)
}

fn worst(name: &str, lo: f32, hi: f32, bound: f64, f: impl Fn(f32) -> f32, reference: impl Fn(f64) -> f64) {
    let (mut most, mut at) = (0.0, 0.0);
    for x in dense(lo, hi) {
        let error = ulps(f(x), reference(f64::from(x)));
        if error > most {
            (most, at) = (error, x);
        }
    }
    assert!(most <= bound, "{name}({at:e}) = {:e} is {most} ulp off", f(at));
}

fn sigmoid64(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

#[test]
fn exponentials() {
    worst("exp", -103.9, 88.72, 1.5, scalar::exp, f64::exp);
    worst("exp_neg", -87.0, 0.0, 1.5, scalar::exp_neg, f64::exp);
    worst("sigmoid", -87.0, 1e30, 3.0, scalar::sigmoid, sigmoid64);
    worst("tanh", -1e30, 1e30, 4.0, scalar::tanh, f64::tanh);
    worst("elu", -1e30, 0.0, 2.5, |x| unary(K::Elu, 1.0, 0.0, x), f64::exp_m1);
}

/// Below the last result that is not denormal there is nothing.
#[test]
fn exponentials_end_in_zero() {
    for x in [f32::NEG_INFINITY, -1e30, -104.0, (-87.0_f32).next_down()] {
        assert_eq!(scalar::exp_neg(x), 0.0, "{x:e}");
        assert_eq!(scalar::sigmoid(x), 0.0, "{x:e}");
        assert_eq!(unary(K::Silu, 0.0, 0.0, x), 0.0, "{x:e}");
    }
    assert!(scalar::exp_neg(-87.0) >= f32::MIN_POSITIVE);
    assert!(scalar::exp_neg(f32::NAN).is_nan() && scalar::sigmoid(f32::NAN).is_nan());
}

#[test]
fn logarithms() {
    worst("log", 1e-45, f32::MAX, 1.5, scalar::log, f64::ln);
    worst(
        "softplus",
        -87.0,
        1e30,
        3.0,
        |x| unary(K::Softplus, 0.0, 0.0, x),
        |x| {
            if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
        },
    );
}

/// Near their zeros the values are small and errors are those of the reduced argument: measured absolutely there.
#[test]
fn sines() {
    for (name, f, reference) in
        [("sin", scalar::sin as fn(f32) -> f32, f64::sin as fn(f64) -> f64), ("cos", scalar::cos, f64::cos)]
    {
        for x in dense(-1e6, 1e6) {
            let want = reference(f64::from(x));
            let error = (f64::from(f(x)) - want).abs();
            assert!(
                error <= 1.3e-7 && (want.abs() < 2.0_f64.powi(-12) || ulps(f(x), want) <= 2.0),
                "{name}({x:e})"
            );
        }
    }
}

/// Errors of a quotient of two that are good to 2 ulp each; near its zeros those of the reduced argument.
#[test]
fn tangents() {
    for x in dense(-1e5, 1e5) {
        let want = f64::from(x).tan();
        let got = unary(K::Tan, 0.0, 0.0, x);
        let near_zero = want.abs() < 2.0_f64.powi(-10);
        // Near a pole the error of the argument, 1e-7, is magnified by the square of the result.
        let slack = 1.3e-7 * (1.0 + want * want);
        assert!(
            (f64::from(got) - want).abs() <= slack
                && (near_zero || want.abs() > 64.0 || ulps(got, want) <= 6.0),
            "tan({x:e}) = {got:e}, not {want:e}"
        );
    }
}

#[test]
fn arcs_and_hyperbolic_functions() {
    for (kind, lo, hi, bound, reference) in [
        (K::Asin, -1.0, 1.0, 3.0, f64::asin as fn(f64) -> f64),
        (K::Acos, -1.0, 1.0, 3.0, f64::acos),
        (K::Atan, -1e30, 1e30, 3.0, f64::atan),
        (K::Sinh, -89.0, 89.0, 6.0, f64::sinh),
        (K::Cosh, -89.0, 89.0, 6.0, f64::cosh),
        (K::Asinh, -1e30, 1e30, 4.0, f64::asinh),
        (K::Acosh, 1.0, 1e30, 4.0, f64::acosh),
        (K::Atanh, -0.999_999_9, 0.999_999_9, 4.0, f64::atanh),
    ] {
        worst(kind.name(), lo, hi, bound, |x| unary(kind, 0.0, 0.0, x), reference);
    }
}

/// Digits by arbitrary-precision arithmetic.
#[test]
fn sines_of_large_numbers() {
    for (x, sin, cos) in HUGE {
        assert!((scalar::sin(x) - sin).abs() <= 1.3e-7 && (scalar::cos(x) - cos).abs() <= 1.3e-7, "{x:e}");
    }
}

/// Against the series and the continued fraction of the complementary function, to f64 precision.
#[test]
fn error_function() {
    fn erf64(x: f64) -> f64 {
        if x.abs() < 2.5 {
            let (mut term, mut sum, mut n) = (x, x, 0.0);
            while term.abs() > 1e-18 * sum.abs() {
                n += 1.0;
                term *= -x * x / n;
                sum += term / (2.0 * n + 1.0);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        } else {
            let t = x.abs();
            let fraction = (1..=80).rev().fold(t, |f, k| t + f64::from(k) / 2.0 / f);
            (1.0 - (-t * t).exp() / (fraction * std::f64::consts::PI.sqrt())).copysign(x)
        }
    }
    assert!((erf64(0.5) - 0.520_499_877_813_046_5).abs() < 1e-15);
    assert!((erf64(3.0) - 0.999_977_909_503_001_4).abs() < 1e-15);
    worst("erf", -6.0, 6.0, 6.0, scalar::erf, erf64);
    let gelu = |x: f32| unary(K::Gelu, 0.0, 0.0, x);
    for x in dense(-10.0, 10.0) {
        let want = f64::from(x) * 0.5 * (1.0 + erf64(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2));
        assert!((f64::from(gelu(x)) - want).abs() <= 2e-7 * (1.0 + f64::from(x.abs())), "gelu({x})");
    }
}

#[test]
fn gates() {
    for x in dense(-30.0, 30.0) {
        let v = f64::from(x);
        let softplus = if v > 0.0 { v + (-v).exp().ln_1p() } else { v.exp().ln_1p() };
        let tanh = (0.797_884_560_802_865_4 * (v + 0.044_715 * v * v * v)).tanh();
        for (kind, want) in [
            (K::Silu, v * sigmoid64(v)),
            (K::Mish, v * softplus.tanh()),
            (K::GeluTanh, v * 0.5 * (1.0 + tanh)),
            (K::HardSwish, v * (v / 6.0 + 0.5).clamp(0.0, 1.0)),
            (K::Softsign, v / (1.0 + v.abs())),
        ] {
            let got = unary(kind, 0.0, 0.0, x);
            assert!(
                (f64::from(got) - want).abs() <= 5e-7 * (0.5 + want.abs()),
                "{}({x}) = {got}",
                kind.name()
            );
        }
    }
}

#[test]
fn powers() {
    let mut worst = 0.0_f64;
    for i in 0..400_000_u32 {
        let x = f32::from_bits(i.wrapping_mul(2_654_435_761) & 0x7fff_ffff);
        let y = (i % 4001) as f32 / 100.0 - 20.0;
        let want = f64::from(x).powf(f64::from(y));
        let normal = (f64::from(f32::MIN_POSITIVE)..f64::from(f32::MAX)).contains(&want);
        if x.is_finite() && normal && ![3.0, -0.5].contains(&y) {
            worst = worst.max(ulps(scalar::pow(x, y), want));
        }
    }
    assert!(worst <= 0.51, "{worst} ulp");
    let cases = [
        (2.0, 3.0, 8.0),
        (-2.0, 3.0, -8.0),
        (-2.0, 4.0, 16.0),
        (0.0, -3.0, f32::INFINITY),
        (-0.0, 3.0, -0.0),
        (-0.0, -5.0, f32::NEG_INFINITY),
        (5.0, 0.0, 1.0),
        (f32::NAN, 0.0, 1.0),
        (1.0, f32::NAN, 1.0),
        (0.5, f32::INFINITY, 0.0),
        (0.5, f32::NEG_INFINITY, f32::INFINITY),
        (-1.0, f32::INFINITY, 1.0),
        (f32::INFINITY, -2.5, 0.0),
        (f32::NEG_INFINITY, 5.0, f32::NEG_INFINITY),
        (10.0, -50.0, 0.0),
        (10.0, 40.0, f32::INFINITY),
        (9.0, 0.5, 3.0),
        (4.0, -0.5, 0.5),
    ];
    for (x, y, want) in cases {
        assert_eq!(scalar::pow(x, y).to_bits(), want.to_bits(), "{x}^{y}");
    }
    assert!(scalar::pow(-2.0, 2.5).is_nan());
}

#[test]
fn special_values() {
    let inf = f32::INFINITY;
    let of = |kind, x| unary(kind, 0.5, 2.0, x);
    for (kind, x, want) in [
        (K::Exp, inf, inf),
        (K::Exp, -inf, 0.0),
        (K::Exp, 100.0, inf),
        (K::Log, 0.0, -inf),
        (K::Log, -0.0, -inf),
        (K::Log, inf, inf),
        (K::Sigmoid, inf, 1.0),
        (K::Sigmoid, -inf, 0.0),
        (K::Tanh, inf, 1.0),
        (K::Tanh, -inf, -1.0),
        (K::Tanh, -0.0, -0.0),
        (K::Erf, inf, 1.0),
        (K::Erf, -inf, -1.0),
        (K::Silu, inf, inf),
        (K::Silu, -inf, -0.0),
        (K::Gelu, -inf, -0.0),
        (K::Mish, inf, inf),
        (K::Softplus, inf, inf),
        (K::Softplus, -inf, 0.0),
        (K::HardSwish, -inf, -0.0),
        (K::Relu, -inf, 0.0),
        (K::Sign, -0.0, 0.0),
        (K::Sign, -7.0, -1.0),
        (K::Sign, inf, 1.0),
        (K::Not, 0.0, 1.0),
        (K::Not, 3.0, 0.0),
        (K::Round, 2.5, 2.0),
        (K::Round, -3.5, -4.0),
        (K::Floor, -0.5, -1.0),
        (K::Ceil, 0.5, 1.0),
        (K::LeakyRelu, -2.0, -1.0),
        (K::HardSigmoid, 1.0, 1.0),
        (K::Clip, 9.0, 2.0),
        (K::Clip, -9.0, 0.5),
        (K::ThresholdedRelu, 0.5, 0.0),
        (K::ThresholdedRelu, 0.75, 0.75),
        (K::Abs, -3.0, 3.0),
        (K::Reciprocal, 4.0, 0.25),
        (K::Sqrt, 9.0, 3.0),
        (K::Asin, -0.0, -0.0),
        (K::Acos, 1.0, 0.0),
        (K::Atan, inf, std::f32::consts::FRAC_PI_2),
        (K::Atan, -inf, -std::f32::consts::FRAC_PI_2),
        (K::Atan, -0.0, -0.0),
        (K::Sinh, -inf, -inf),
        (K::Cosh, -inf, inf),
        (K::Cosh, 0.0, 1.0),
        (K::Asinh, -inf, -inf),
        (K::Acosh, inf, inf),
        (K::Acosh, 1.0, 0.0),
        (K::Atanh, 1.0, inf),
        (K::Atanh, -1.0, -inf),
    ] {
        assert_eq!(of(kind, x).to_bits(), want.to_bits(), "{}({x}) = {}", kind.name(), of(kind, x));
    }
    assert!(scalar::log(-1.0).is_nan() && scalar::sin(inf).is_nan() && scalar::cos(-inf).is_nan());
    for (kind, x) in [(K::Asin, 1.5), (K::Acos, -1.5), (K::Acosh, 0.5), (K::Atanh, 1.5), (K::Tan, inf)] {
        assert!(unary(kind, 0.0, 0.0, x).is_nan(), "{}({x})", kind.name());
    }
    for &kind in K::ALL {
        let keeps = !matches!(kind, K::Not | K::ThresholdedRelu);
        assert!(!keeps || unary(kind, 0.5, 2.0, f32::NAN).is_nan(), "{} loses NaN", kind.name());
    }
}

const HUGE: [(f32, f32, f32); 8] = [
    (65_537.0, -0.233_478_44, -0.972_362),
    (1.0e6, -0.349_993_5, 0.936_752_14),
    (1.234_567_8e7, -0.903_541_15, -0.428_501_34),
    (-1.0e9, -0.545_843_4, 0.837_887_17),
    (1.0e10, -0.487_506_03, 0.873_119_65),
    (3.7e20, 0.739_565_4, 0.673_084_7),
    (1.0e30, -0.791_163_44, -0.611_604_8),
    (3.402_823_5e38, -0.521_876_5, 0.853_021),
];
