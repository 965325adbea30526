//! Whole steps against one element at a time, and results by hand.

use cygnet_format::op::{self, Op};
use cygnet_format::program::DType;
use half::f16;

use crate::Cpu;
use crate::testing::{Native, Operand, Random, on_every_isa, run_on};

const OP: Op = Op::Convert(op::Convert {});

fn converts<A: Native, B: Native + PartialEq + std::fmt::Debug>(x: &[A], want: &[B]) {
    let dims = [x.len() as u32];
    on_every_isa::<B>(OP, &[&Operand::new(&dims, x)], &Operand::out(B::DTYPE, &dims), |isa, got| {
        assert_eq!(got, want, "{} to {} on {isa}", A::DTYPE.name(), B::DTYPE.name());
    });
}

#[test]
fn casts() {
    let odd = [1.9_f32, -1.9, 3e9, -3e9, f32::NAN, 300.0, -0.5];
    converts(&odd, &[1, -1, i32::MAX, i32::MIN, 0, 300, 0]);
    converts(&odd, &[1_i64, -1, 3_000_000_000, -3_000_000_000, 0, 300, 0]);
    converts(&odd, &[1_u8, 0, 255, 0, 0, 255, 0]);
    converts(&odd, &[1_i16, -1, i16::MAX, i16::MIN, 0, 300, 0]);
    converts(&[16_777_217_i32, -5, i32::MIN], &[16_777_216.0_f32, -5.0, -2_147_483_648.0]);
    converts(&[5_i64, -6, i64::MAX, 1 << 40], &[5_i32, -6, -1, 0]);
    converts(&[5_i32, -6], &[5_i64, -6]);
    converts(&[0_u8, 1, 255], &[0.0_f32, 1.0, 255.0]);
    converts(&[-1_i8, 127], &[255_u8, 127]);
    converts(&[7_i64, -7], &[f16::from_f32(7.0), f16::from_f32(-7.0)]);
    converts(&[f16::from_f32(2.75), f16::NAN, f16::INFINITY], &[2, 0, i32::MAX]);
}

#[test]
fn halves() {
    let mut random = Random::new(50);
    let bits: Vec<u16> = (0..=u16::MAX).filter(|b| b & 0x7fff <= 0x7c00).collect();
    let halves: Vec<_> = bits.iter().map(|&b| f16::from_bits(b)).collect();
    let floats: Vec<_> = halves.iter().map(|h| h.to_f32()).collect();
    converts(&halves, &floats);
    converts(&floats, &halves);
    let odd: Vec<_> =
        (0..5003).map(|_| f32::from_bits(random.bits() as u32)).filter(|v| !v.is_nan()).collect();
    converts(&odd, &odd.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>());
}

/// Elements whose quotients are next to half an integer, and next to what rounds to it: of any scale, bytes are those of
/// a division.
#[test]
fn quotients_next_to_halves() {
    let mut random = Random::new(55);
    for i in 0..60 {
        let mantissa = 1.0 + (random.bits() >> 41) as f32 / (1 << 23) as f32;
        let scale = mantissa * [1e-6, 0.01, 0.25, 3.0][i % 4];
        let mut x = Vec::new();
        for half in (-256..256).map(|i| i as f32 + 0.5) {
            for quotient in [f64::from(half), (f64::from(half) + f64::from(half.next_up())) / 2.0] {
                let at = (quotient * f64::from(scale)) as f32;
                x.extend([
                    at.next_down().next_down(),
                    at.next_down(),
                    at,
                    at.next_up(),
                    at.next_up().next_up(),
                ]);
            }
        }
        x.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-40, -1e-40, 0.0, -0.0]);
        let dims = [x.len() as u32];
        for zero in [-128, 0, 127] {
            let want: Vec<_> = x
                .iter()
                .map(|&v| {
                    let t = (v / scale).clamp((-128 - zero) as f32, (127 - zero) as f32);
                    if v.is_nan() { zero as i8 } else { (t.round_ties_even() as i32 + zero) as i8 }
                })
                .collect();
            let y = Operand::out(DType::S8, &dims).quant(scale, zero);
            on_every_isa::<i8>(OP, &[&Operand::new(&dims, &x)], &y, |isa, got| {
                assert_eq!(got, want, "{isa}")
            });
        }
    }
}

#[test]
fn quantizes() {
    let mut random = Random::new(51);
    for (scale, zero) in [(0.1, 0), (0.0173, -128), (2.5, 127), (1.0, 3)] {
        let mut x = random.floats(401, 140.0 * scale, true);
        x.extend((-20..20).map(|i| (i as f32 + 0.5) * scale));
        let dims = [x.len() as u32];
        let oracle = |v: f32, lo: i32, hi: i32, zero: i32| {
            let t = (v / scale).clamp((lo - zero) as f32, (hi - zero) as f32).round_ties_even();
            if v.is_nan() { zero } else { t as i32 + zero }
        };
        let want: Vec<_> = x.iter().map(|&v| oracle(v, -128, 127, zero) as i8).collect();
        let signed = Operand::out(DType::S8, &dims).quant(scale, zero);
        on_every_isa::<i8>(OP, &[&Operand::new(&dims, &x)], &signed, |isa, got| {
            assert_eq!(got, want, "{isa}")
        });
        let want: Vec<_> = x.iter().map(|&v| oracle(v, 0, 255, zero + 128) as u8).collect();
        let unsigned = Operand::out(DType::U8, &dims).quant(scale, zero + 128);
        on_every_isa::<u8>(OP, &[&Operand::new(&dims, &x)], &unsigned, |isa, got| {
            assert_eq!(got, want, "{isa}")
        });
        let halves: Vec<_> = x.iter().copied().map(f16::from_f32).collect();
        let want: Vec<_> = halves.iter().map(|v| oracle(v.to_f32(), -128, 127, zero) as i8).collect();
        on_every_isa::<i8>(OP, &[&Operand::new(&dims, &halves)], &signed, |isa, got| {
            assert_eq!(got, want, "{isa}")
        });
    }
}

#[test]
fn dequantizes_and_requantizes() {
    let bytes: Vec<i8> = (-128..=127).collect();
    let dims = [2, 128];
    let x = Operand::new(&dims, &bytes).gap(3).quant(0.3, -9);
    let real = |q: i8| (i32::from(q) + 9) as f32 * 0.3;
    let want: Vec<_> = bytes.iter().map(|&q| real(q)).collect();
    on_every_isa::<f32>(OP, &[&x], &Operand::out(DType::F32, &dims).gap(5), |isa, got| {
        assert_eq!(got, want, "{isa}")
    });
    let want: Vec<_> = bytes.iter().map(|&q| f16::from_f32(real(q))).collect();
    on_every_isa::<f16>(OP, &[&x], &Operand::out(DType::F16, &dims), |isa, got| {
        assert_eq!(got, want, "{isa}")
    });
    let want: Vec<_> = bytes
        .iter()
        .map(|&q| {
            let r = (i32::from(q) + 9) as f32 * (0.3_f32 / 0.7);
            (r.clamp(-40.0, 215.0).round_ties_even() as i32 + 40) as u8
        })
        .collect();
    let output = Operand::out(DType::U8, &dims).quant(0.7, 40);
    on_every_isa::<u8>(OP, &[&x], &output, |isa, got| assert_eq!(got, want, "{isa}"));
    // The same numbers one way and back, and signed as unsigned bytes.
    let unsigned: Vec<_> = bytes.iter().map(|&q| (i32::from(q) + 128) as u8).collect();
    let output = Operand::out(DType::U8, &dims).quant(0.3, 119);
    on_every_isa::<u8>(OP, &[&x], &output, |isa, got| assert_eq!(got, unsigned, "{isa}"));
    let x = Operand::new(&dims, &unsigned).quant(0.3, 119);
    let output = Operand::out(DType::S8, &dims).quant(0.3, -9);
    on_every_isa::<i8>(OP, &[&x], &output, |isa, got| assert_eq!(got, bytes, "{isa}"));
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |x: &Operand, y: &Operand| {
        run_on(Cpu::detect(), OP, &[x], y, 0).expect_err("must be refused").to_string()
    };
    let x = Operand::new(&[2], &[0.0_f32; 2]);
    assert!(refuse(&x, &Operand::out(DType::S8, &[3])).contains("[3]"));
    assert!(refuse(&x, &Operand::out(DType::S32, &[2]).quant(1.0, 0)).contains("quantized s32"));
    assert!(refuse(&x, &Operand::out(DType::S8, &[2]).quant(1.0, 128)).contains("zero point 128"));
    assert!(refuse(&x, &Operand::out(DType::S8, &[2]).quant(0.0, 0)).contains("scale 0"));
    assert!(refuse(&x, &Operand::out(DType::Packed, &[2])).contains("packed"));
    let s = Operand::new(&[2], &[0_i8; 2]).quant(1e30, 0);
    assert!(refuse(&s, &Operand::out(DType::S8, &[2]).quant(1e-30, 0)).contains("ratio"));
}
