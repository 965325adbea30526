//! Whole steps against the definition, and the definition against f64.

use cygnet_format::op::{self, Op};
use cygnet_format::program::DType;
use half::f16;

use crate::Cpu;
use crate::math::scalar::{exp, log};
use crate::testing::{Operand, Random, assert_same, on_every_isa, run_on};

const SHAPES: &[&[u32]] =
    &[&[1], &[10], &[3, 37], &[2, 5, 19], &[1, 21, 3, 300], &[2, 6, 1], &[2, 2, 2, 2, 2, 9]];

fn softmax(axis: usize, log: bool) -> Op {
    Op::Softmax(op::Softmax { axis: axis as u32, log })
}

/// Calls `f` with the positions of each line along an axis.
fn lines(dims: &[u32], axis: usize, mut f: impl FnMut(Vec<usize>)) {
    let (n, step) = (dims[axis] as usize, dims[axis + 1..].iter().product::<u32>() as usize);
    for outer in 0..dims[..axis].iter().product::<u32>() as usize {
        for inner in 0..step {
            f((0..n).map(|i| (outer * n + i) * step + inner).collect());
        }
    }
}

/// The sum by lanes along the last axis, one by one along others.
fn sum(terms: &[f32], last: bool) -> f32 {
    if !last {
        return terms.iter().fold(0.0, |a, b| a + b);
    }
    let mut l = [0.0; 8];
    terms.iter().enumerate().for_each(|(i, v)| l[i % 8] += v);
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

fn oracle(x: &[f32], last: bool, logarithm: bool) -> Vec<f32> {
    let m = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let terms: Vec<_> = x.iter().map(|&v| exp(v - m)).collect();
    let s = sum(&terms, last);
    if logarithm {
        x.iter().map(|&v| (v - m) - log(s)).collect()
    } else {
        terms.iter().map(|&e| e * (1.0 / s)).collect()
    }
}

#[test]
fn softmax_of_f32_and_f16() {
    let mut random = Random::new(30);
    for dims in SHAPES {
        for (axis, logarithm) in (0..dims.len()).flat_map(|a| [(a, false), (a, true)]) {
            let x = random.floats(dims.iter().product::<u32>() as usize, 12.0, false);
            let halves: Vec<_> = x.iter().copied().map(f16::from_f32).collect();
            let last = axis + 1 == dims.len();
            let (mut want, mut want16, mut real) = (x.clone(), x.clone(), x.clone());
            lines(dims, axis, |line| {
                let values: Vec<_> = line.iter().map(|&i| x[i]).collect();
                let values16: Vec<_> = line.iter().map(|&i| halves[i].to_f32()).collect();
                let total: f64 = values.iter().map(|&v| f64::from(v).exp()).sum();
                for (k, &i) in line.iter().enumerate() {
                    want[i] = oracle(&values, last, logarithm)[k];
                    want16[i] = f16::from_f32(oracle(&values16, last, logarithm)[k]).to_f32();
                    let p = f64::from(x[i]).exp() / total;
                    real[i] = if logarithm { p.ln() as f32 } else { p as f32 };
                }
            });
            let what = |isa: &str| format!("{dims:?} along {axis}, log {logarithm}, on {isa}");
            let input = Operand::new(dims, &x).gap(3);
            let output = Operand::out(DType::F32, dims).gap(1);
            on_every_isa::<f32>(softmax(axis, logarithm), &[&input], &output, |isa, got| {
                assert_same(&got, &want, &what(isa));
                for (g, r) in got.iter().zip(&real) {
                    assert!((g - r).abs() <= 1e-5 * r.abs().max(0.1), "{}: {g} against {r}", what(isa));
                }
            });
            let input = Operand::new(dims, &halves).gap(3);
            on_every_isa::<f16>(
                softmax(axis, logarithm),
                &[&input],
                &Operand::out(DType::F16, dims),
                |isa, got| {
                    let got: Vec<_> = got.into_iter().map(f16::to_f32).collect();
                    assert_same(&got, &want16, &what(isa));
                },
            );
        }
    }
}

#[test]
fn softmax_of_s8() {
    let mut random = Random::new(31);
    for dims in SHAPES {
        for (axis, logarithm) in (0..dims.len()).flat_map(|a| [(a, false), (a, true)]) {
            let (scale, zero) = if logarithm { (0.11, 127) } else { (1.0 / 256.0, -128) };
            let x = random.bytes(dims.iter().product::<u32>() as usize);
            let last = axis + 1 == dims.len();
            let mut want = vec![0; x.len()];
            let mut real = vec![0.0; x.len()];
            lines(dims, axis, |line| {
                let m = line.iter().map(|&i| x[i]).max().map_or(0, i32::from);
                let exponents: Vec<_> =
                    line.iter().map(|&i| -((m - i32::from(x[i])) as f32) * 0.0625).collect();
                let terms: Vec<_> = exponents.iter().map(|&v| exp(v)).collect();
                let s = sum(&terms, last);
                let total: f64 = exponents.iter().map(|&v| f64::from(v).exp()).sum();
                for (k, &i) in line.iter().enumerate() {
                    let r = if logarithm {
                        (exponents[k] - log(s)) / scale
                    } else {
                        terms[k] * (1.0 / s / scale)
                    };
                    let r = r.clamp((-128 - zero) as f32, (127 - zero) as f32);
                    want[i] = (r.round_ties_even() as i32 + zero) as i8;
                    let p = f64::from(exponents[k]).exp() / total;
                    real[i] = if logarithm { p.ln().max(-255.0 * 0.11) } else { p.min(255.0 / 256.0) };
                }
            });
            let input = Operand::new(dims, &x).gap(3).quant(0.0625, 17);
            let output = Operand::out(DType::S8, dims).gap(2).quant(scale, zero);
            on_every_isa::<i8>(softmax(axis, logarithm), &[&input], &output, |isa, got| {
                assert_eq!(got, want, "{dims:?} along {axis}, log {logarithm}, on {isa}");
                for (&g, r) in got.iter().zip(&real) {
                    let value = f64::from(i32::from(g) - zero) * f64::from(scale);
                    assert!((value - r).abs() <= 0.501 * f64::from(scale), "{value} against {r}");
                }
            });
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |op, x: &Operand, y: &Operand| {
        run_on(Cpu::detect(), op, &[x], y, 0).expect_err("must be refused").to_string()
    };
    let x = Operand::new(&[2, 3], &[0.0_f32; 6]);
    assert!(refuse(softmax(2, false), &x, &Operand::out(DType::F32, &[2, 3])).contains("axis 2"));
    assert!(refuse(softmax(1, false), &x, &Operand::out(DType::F32, &[3, 2])).contains("[3, 2]"));
    let s = Operand::new(&[2], &[0_i8; 2]);
    assert!(refuse(softmax(0, false), &s, &Operand::out(DType::S8, &[2])).contains("without a scale"));
}
