//! Whole steps against the definition, and the definition against f64.

use cygnet_format::op::{self, Op};
use cygnet_format::program::DType;
use half::f16;

use crate::Cpu;
use crate::testing::{Operand, Random, assert_same, on_every_isa, run_on};

fn norm(axis: u32, epsilon: f32) -> Op {
    Op::LayerNorm(op::LayerNorm { axis, epsilon })
}

/// Sums of rows by lanes, rows one by one.
fn total(rows: &[&[f32]], take: impl Fn(f32, f32) -> f32) -> f32 {
    rows.iter().fold(0.0, |acc, row| {
        let mut l = [0.0; 8];
        row.iter().enumerate().for_each(|(i, &v)| l[i % 8] = take(l[i % 8], v));
        acc + (((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7])))
    })
}

fn oracle(x: &[f32], cols: usize, scale: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let rows: Vec<_> = x.chunks(cols).collect();
    let n = x.len() as f32;
    let mean = total(&rows, |a, v| a + v) / n;
    let variance = total(&rows, |a, v| (v - mean).mul_add(v - mean, a)) / n;
    let r = 1.0 / (variance + 1e-5).sqrt();
    let at = |i: usize| (x[i] - mean) * r;
    (0..x.len()).map(|i| bias.map_or(at(i) * scale[i], |b| at(i).mul_add(scale[i], b[i]))).collect()
}

#[test]
fn normalizes() {
    let mut random = Random::new(40);
    for (dims, axis) in [(&[7][..], 0), (&[3, 1], 1), (&[2, 5, 384], 2), (&[4, 3, 13], 1), (&[2, 3, 2, 8], 0)]
    {
        let n: u32 = dims[axis..].iter().product();
        let x: Vec<_> = random.floats(dims.iter().product::<u32>() as usize, 3.0, false);
        let x: Vec<_> = x.iter().map(|&v| f16::from_f32(v + 5.0).to_f32()).collect();
        let half = |v: Vec<f32>| v.into_iter().map(|v| f16::from_f32(v).to_f32()).collect::<Vec<_>>();
        let (scale, bias) =
            (half(random.floats(n as usize, 2.0, false)), half(random.floats(n as usize, 2.0, false)));
        let cols = dims[dims.len() - 1] as usize;
        for with_bias in [true, false] {
            let chunks = || x.chunks(n as usize);
            let want: Vec<_> = chunks()
                .flat_map(|part| oracle(part, cols, &scale, with_bias.then_some(&bias[..])))
                .collect();
            let real: Vec<_> = chunks()
                .flat_map(|part| {
                    let n = part.len() as f64;
                    let mean = part.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
                    let variance = part.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
                    let (scale, bias) = (&scale, &bias);
                    part.iter().enumerate().map(move |(i, &v)| {
                        let b = if with_bias { f64::from(bias[i]) } else { 0.0 };
                        (f64::from(v) - mean) / (variance + 1e-5).sqrt() * f64::from(scale[i]) + b
                    })
                })
                .collect();
            let halves = |v: &[f32]| v.iter().copied().map(f16::from_f32).collect::<Vec<_>>();
            let normalized = &dims[axis..];
            let f32s = [Operand::new(normalized, &scale), Operand::new(normalized, &bias)];
            let f16s = [Operand::new(normalized, &halves(&scale)), Operand::new(normalized, &halves(&bias))];
            let given = if with_bias { 3 } else { 2 };
            let what = |isa: &str| format!("{dims:?} from {axis}, bias {with_bias}, on {isa}");
            let input = Operand::new(dims, &x).gap(3);
            let output = Operand::out(DType::F32, dims).gap(1);
            let op = norm(axis as u32, 1e-5);
            on_every_isa::<f32>(op, &[&input, &f32s[0], &f32s[1]][..given], &output, |isa, got| {
                assert_same(&got, &want, &what(isa));
                for (&g, r) in got.iter().zip(&real) {
                    assert!((f64::from(g) - r).abs() <= 1e-5, "{}: {g} against {r}", what(isa));
                }
            });
            let want: Vec<_> = want.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
            let input = Operand::new(dims, &halves(&x));
            for params in [&f32s, &f16s] {
                let operands = &[&input, &params[0], &params[1]][..given];
                on_every_isa::<f16>(op, operands, &Operand::out(DType::F16, dims), |isa, got| {
                    let got: Vec<_> = got.into_iter().map(f16::to_f32).collect();
                    assert_same(&got, &want, &what(isa));
                });
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |op, inputs: &[&Operand], y: &Operand| {
        run_on(Cpu::detect(), op, inputs, y, 0).expect_err("must be refused").to_string()
    };
    let x = Operand::new(&[2, 3], &[0.0_f32; 6]);
    let (three, two) = (Operand::new(&[3], &[0.0_f32; 3]), Operand::new(&[2], &[0.0_f32; 2]));
    let y = Operand::out(DType::F32, &[2, 3]);
    assert!(refuse(norm(2, 0.0), &[&x, &three], &y).contains("axis 2"));
    assert!(refuse(norm(1, 0.0), &[&x, &two], &y).contains("scale must be 3"));
    assert!(refuse(norm(1, 0.0), &[&x, &three, &two], &y).contains("bias must be 3"));
    assert!(refuse(norm(1, f32::NAN), &[&x, &three], &y).contains("epsilon"));
}
