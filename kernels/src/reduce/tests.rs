//! Whole steps against reductions written down naively.

use cygnet_format::op::{self, Op, ReduceKind as K};
use cygnet_format::program::DType;
use half::f16;

use crate::Cpu;
use crate::math::scalar::{exp, log};
use crate::testing::{Operand, Random, assert_same, on_every_isa, run_on};

const SHAPES: &[&[u32]] =
    &[&[], &[5], &[2, 37], &[3, 4, 5], &[2, 7, 7, 19], &[1, 6, 1, 300], &[2, 1, 3, 2, 3, 8], &[9, 1]];

fn reduce(kind: K, axes: u32, scale: f32) -> Op {
    Op::Reduce(op::Reduce { kind, axes, scale })
}

/// The output's dimensions, and for each output the rows of positions that it reduces: rows of the last axis when
/// that is reduced, else rows of one.
fn positions(dims: &[u32], axes: u32) -> (Vec<u32>, Vec<Vec<Vec<usize>>>) {
    let rank = dims.len();
    let reduced = |d: usize| axes >> d & 1 == 1;
    let out: Vec<u32> = (0..rank).map(|d| if reduced(d) { 1 } else { dims[d] }).collect();
    let mut rows = vec![Vec::new(); out.iter().product::<u32>() as usize];
    let cols = if rank > 0 && reduced(rank - 1) { dims[rank - 1] as usize } else { 1 };
    let total: usize = dims.iter().product::<u32>() as usize;
    for first in (0..total).step_by(cols) {
        let (mut rest, mut at, mut step) = (first, 0, 1);
        for d in (0..rank).rev() {
            let index = rest % dims[d] as usize;
            rest /= dims[d] as usize;
            if !reduced(d) {
                at += index * step;
                step *= dims[d] as usize;
            }
        }
        rows[at].push((first..first + cols).collect());
    }
    (out, rows)
}

/// The lane tree over a row: `take` brings an element into a lane.
fn tree(x: &[f32], start: f32, take: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut l = [start; 8];
    for (i, &v) in x.iter().enumerate() {
        l[i % 8] = take(l[i % 8], v);
    }
    join(join(join(l[0], l[4]), join(l[2], l[6])), join(join(l[1], l[5]), join(l[3], l[7])))
}

fn oracle(kind: K, rows: &[Vec<f32>], last: bool) -> f32 {
    let over = |start: f32, take: &dyn Fn(f32, f32) -> f32, join: &dyn Fn(f32, f32) -> f32| {
        rows.iter().fold(start, |acc, row| {
            if last { join(acc, tree(row, start, take, join)) } else { take(acc, row[0]) }
        })
    };
    let add = |a: f32, b: f32| a + b;
    let max = |a: f32, b: f32| if b > a { b } else { a };
    let min = |a: f32, b: f32| if b < a { b } else { a };
    let count: usize = rows.iter().map(Vec::len).sum();
    match kind {
        K::Sum => over(0.0, &add, &add),
        K::Mean => over(0.0, &add, &add) / count as f32,
        K::Max => over(f32::NEG_INFINITY, &max, &max),
        K::Min => over(f32::INFINITY, &min, &min),
        K::Prod => over(1.0, &|a, b| a * b, &|a, b| a * b),
        K::L1 => over(0.0, &|a, v| a + v.abs(), &add),
        K::L2 => over(0.0, &|a, v| v.mul_add(v, a), &add).sqrt(),
        K::SumSquare => over(0.0, &|a, v| v.mul_add(v, a), &add),
        K::MaxAbs => over(0.0, &|a, v| max(a, v.abs()), &max),
        K::LogSum => log(over(0.0, &add, &add)),
        K::LogSumExp => {
            let m = over(f32::NEG_INFINITY, &max, &max);
            let m = if m.is_finite() { m } else { 0.0 };
            log(over(0.0, &|a, v| a + exp(v - m), &add)) + m
        }
    }
}

/// Every kind, shape and set of axes, in the defined order, bit for bit.
#[test]
fn reductions_of_f32_and_f16() {
    let mut random = Random::new(20);
    for &kind in K::ALL {
        for dims in SHAPES {
            for axes in 0..1_u32 << dims.len() {
                let (out, rows) = positions(dims, axes);
                let last = !dims.is_empty() && axes >> (dims.len() - 1) & 1 == 1;
                let special = axes % 3 == 2;
                let x: Vec<_> = random
                    .floats(dims.iter().product::<u32>() as usize, 2.0, special)
                    .into_iter()
                    .map(|v| f16::from_f32(v).to_f32())
                    .collect();
                let want: Vec<_> = rows
                    .iter()
                    .map(|rows| rows.iter().map(|r| r.iter().map(|&i| x[i]).collect()).collect::<Vec<_>>())
                    .map(|rows| oracle(kind, &rows, last))
                    .collect();
                let what = |isa: &str| format!("{} of {dims:?} over {axes:#b} on {isa}", kind.name());
                let input = Operand::new(dims, &x).gap(3);
                let output = Operand::out(DType::F32, &out).gap(2);
                on_every_isa::<f32>(reduce(kind, axes, 1.0), &[&input], &output, |isa, got| {
                    assert_same(&got, &want, &what(isa));
                });
                let halves: Vec<_> = x.iter().copied().map(f16::from_f32).collect();
                let want: Vec<_> = want.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
                let input = Operand::new(dims, &halves);
                on_every_isa::<f16>(
                    reduce(kind, axes, 1.0),
                    &[&input],
                    &Operand::out(DType::F16, &out),
                    |isa, got| {
                        let got: Vec<_> = got.into_iter().map(f16::to_f32).collect();
                        assert_same(&got, &want, &what(isa));
                    },
                );
            }
        }
    }
}

#[test]
fn reductions_of_integers() {
    let mut random = Random::new(21);
    for &kind in &[K::Sum, K::Mean, K::Max, K::Min, K::Prod] {
        for dims in SHAPES {
            for axes in 0..1_u32 << dims.len() {
                let (out, rows) = positions(dims, axes);
                let n = dims.iter().product::<u32>() as usize;
                let what = |isa: &str| format!("{} of {dims:?} over {axes:#b} on {isa}", kind.name());
                let of = |x: &[i64]| -> Vec<i64> {
                    rows.iter()
                        .map(|r| {
                            let v = || r.iter().flatten().map(|&i| x[i]);
                            match kind {
                                K::Max => v().max().unwrap_or(0),
                                K::Min => v().min().unwrap_or(0),
                                K::Prod => v().fold(1, |a, b| i64::from((a as i32).wrapping_mul(b as i32))),
                                _ => v().sum(),
                            }
                        })
                        .collect()
                };
                let counts: Vec<_> = rows.iter().map(|r| r.iter().flatten().count()).collect();
                let x: Vec<_> = (0..n).map(|_| (random.bits() >> 44) as i32 - 500_000).collect();
                let results = of(&x.iter().map(|&v| i64::from(v)).collect::<Vec<_>>());
                let want: Vec<_> = results
                    .iter()
                    .zip(&counts)
                    .map(|(&v, &n)| if kind == K::Mean { v as i32 / n as i32 } else { v as i32 })
                    .collect();
                let input = Operand::new(dims, &x).gap(1);
                let output = Operand::out(DType::S32, &out).gap(3);
                on_every_isa::<i32>(reduce(kind, axes, 1.0), &[&input], &output, |isa, got| {
                    assert_eq!(got, want, "{}", what(isa));
                });
                if kind == K::Prod {
                    continue;
                }
                let (zero_x, zero_y, scale) =
                    if matches!(kind, K::Max | K::Min) { (9, 9, 1.0) } else { (-77, 31, 0.37) };
                let x = random.bytes(n);
                let results = of(&x.iter().map(|&v| i64::from(v)).collect::<Vec<_>>());
                let want: Vec<_> = results
                    .iter()
                    .zip(&counts)
                    .map(|(&v, &n)| {
                        let less = (v - n as i64 * zero_x) as f32;
                        let r = match kind {
                            K::Sum => less * scale,
                            K::Mean => less * (scale / n as f32),
                            _ => return v as i8,
                        };
                        (r.clamp(-128.0 - zero_y as f32, 127.0 - zero_y as f32).round_ties_even() as i32
                            + zero_y) as i8
                    })
                    .collect();
                let input = Operand::new(dims, &x).gap(5).quant(0.5, zero_x as i32);
                let output = Operand::out(DType::S8, &out).quant(0.5, zero_y);
                on_every_isa::<i8>(reduce(kind, axes, scale), &[&input], &output, |isa, got| {
                    assert_eq!(got, want, "{}", what(isa));
                });
            }
        }
    }
}

fn arg(min: bool, axis: u32, last: bool) -> Op {
    Op::ArgReduce(op::ArgReduce { min, axis, last })
}

#[test]
fn positions_of_extremes() {
    let mut random = Random::new(22);
    for dims in SHAPES.iter().filter(|d| !d.is_empty()) {
        for axis in 0..dims.len() {
            for (min, last) in [(false, false), (false, true), (true, false), (true, true)] {
                let (out, rows) = positions(dims, 1 << axis);
                // Few values, so that equal ones are frequent.
                let x: Vec<i8> =
                    random.bytes(dims.iter().product::<u32>() as usize).iter().map(|v| v % 4).collect();
                let want: Vec<i32> = rows
                    .iter()
                    .map(|r| {
                        let line: Vec<i8> =
                            r.iter().flatten().map(|&i| if min { -x[i] } else { x[i] }).collect();
                        let most = line.iter().max();
                        let is = |v: &i8| Some(v) == most;
                        if last { line.iter().rposition(is) } else { line.iter().position(is) }
                            .map_or(-1, |i| i as i32)
                    })
                    .collect();
                let output = Operand::out(DType::S32, &out).gap(1);
                let op = arg(min, axis as u32, last);
                let wide: Vec<i32> = x.iter().map(|&v| i32::from(v) * 100_000_000).collect();
                let floats: Vec<f32> = x.iter().map(|&v| f32::from(v)).collect();
                for input in [Operand::new(dims, &x), Operand::new(dims, &wide), Operand::new(dims, &floats)]
                {
                    on_every_isa::<i32>(op, &[&input.gap(2)], &output, |isa, got| {
                        assert_eq!(got, want, "{dims:?} along {axis}, min {min}, last {last} on {isa}");
                    });
                }
            }
        }
    }
}

#[test]
fn positions_pass_over_nan() {
    let n = f32::NAN;
    let input = Operand::new(&[4, 3], &[n, 2.0, 1.0, 3.0, n, 3.0, n, n, n, 1.0, n, 0.5]);
    for (min, last, want) in
        [(false, false, [1, 0, 0, 0]), (false, true, [1, 2, 0, 0]), (true, false, [2, 0, 0, 2])]
    {
        on_every_isa::<i32>(arg(min, 1, last), &[&input], &Operand::out(DType::S32, &[4, 1]), |isa, got| {
            assert_eq!(got, want, "{isa}");
        });
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |op, x: &Operand, y: &Operand| {
        run_on(Cpu::detect(), op, &[x], y, 0).expect_err("must be refused").to_string()
    };
    let x = Operand::new(&[2, 3], &[0.0_f32; 6]);
    assert!(refuse(reduce(K::Sum, 0b100, 1.0), &x, &Operand::out(DType::F32, &[2, 3])).contains("rank 2"));
    assert!(refuse(reduce(K::Sum, u32::MAX, 1.0), &x, &Operand::out(DType::F32, &[1, 1])).contains("rank 2"));
    assert!(refuse(reduce(K::Sum, 0b10, 1.0), &x, &Operand::out(DType::F32, &[2, 3])).contains("[2, 3]"));
    let s = Operand::new(&[2], &[0_i8; 2]).quant(1.0, 0);
    assert!(
        refuse(reduce(K::L2, 1, 1.0), &s, &Operand::out(DType::S8, &[1]).quant(1.0, 0)).contains("l2 of s8")
    );
    assert!(
        refuse(reduce(K::Max, 1, 1.0), &s, &Operand::out(DType::S8, &[1]).quant(2.0, 0))
            .contains("one scale")
    );
    assert!(refuse(arg(false, 9, false), &x, &Operand::out(DType::S32, &[2, 1])).contains("axis 9"));
    assert!(refuse(arg(false, 1, false), &x, &Operand::out(DType::F32, &[2, 1])).contains("s32 is needed"));
}
