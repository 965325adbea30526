//! Whole steps against the oracle.

use cygnet_format::op::{self, BinaryKind as K, Epilogue, Op, Unary, UnaryKind};
use cygnet_format::program::DType;
use half::f16;

use super::oracle::{self, Numbers, broadcast};
use crate::Cpu;
use crate::testing::{Operand, Random, assert_same, on_every_isa, run_in_place, run_on, values};

/// Dimensions of both operands and the output: every way of broadcasting that has a way of its own, and more.
const SHAPES: &[[&[u32]; 3]] = &[
    [&[37], &[37], &[37]],
    [&[2, 3, 4, 9], &[2, 3, 4, 9], &[2, 3, 4, 9]],
    [&[2, 3, 4, 9], &[], &[2, 3, 4, 9]],
    [&[1], &[2, 3, 20], &[2, 3, 20]],
    [&[2, 3, 4, 9], &[9], &[2, 3, 4, 9]],
    [&[2, 3, 4, 9], &[2, 3, 4, 1], &[2, 3, 4, 9]],
    [&[2, 3, 4, 19], &[2, 1, 1, 19], &[2, 3, 4, 19]],
    // Short rows that repeat over more than a block, and over more than a tile.
    [&[1, 12], &[3, 40, 12], &[3, 40, 12]],
    [&[2, 30, 50, 24], &[2, 1, 1, 24], &[2, 30, 50, 24]],
    [&[2, 1, 3, 1, 2, 5], &[4, 1, 6, 1, 5], &[2, 4, 3, 6, 2, 5]],
    // Long rows: of both, one for all, and one element for each.
    [&[3, 4, 130], &[3, 4, 130], &[3, 4, 130]],
    [&[3, 4, 130], &[130], &[3, 4, 130]],
    [&[3, 4, 130], &[3, 4, 1], &[3, 4, 130]],
    [&[5, 1], &[1, 7], &[5, 7]],
    [&[6, 1], &[], &[6, 1]],
    [&[6, 1], &[6, 1], &[6, 1]],
    [&[], &[], &[]],
];

fn binary(kind: K, epilogue: Epilogue) -> Op {
    Op::Binary(op::Binary { kind, scale_a: 1.0, scale_b: 1.0, epilogue })
}

fn is_comparison(kind: K) -> bool {
    matches!(kind, K::Equal | K::Less | K::LessOrEqual | K::Greater | K::GreaterOrEqual)
}

fn is_logical(kind: K) -> bool {
    matches!(kind, K::And | K::Or | K::Xor)
}

fn count(dims: &[u32]) -> usize {
    dims.iter().product::<u32>() as usize
}

/// Numbers among which equal ones and simple exponents are frequent.
fn numbers(random: &mut Random, n: usize) -> Vec<f32> {
    let mut x = random.floats(n, 5.0, true);
    for v in &mut x {
        if random.bits().is_multiple_of(3) {
            *v = (*v * 2.0).round() / 2.0;
        }
    }
    x
}

#[test]
fn functions_of_f32() {
    let mut random = Random::new(10);
    for &kind in K::ALL.iter().filter(|&&k| !is_logical(k)) {
        for [da, db, dy] in SHAPES {
            let (a, b) = (numbers(&mut random, count(da)), numbers(&mut random, count(db)));
            let (ia, ib) = (broadcast(da, dy), broadcast(db, dy));
            let want: Vec<_> = ia.iter().zip(&ib).map(|(&i, &j)| oracle::f32(kind, a[i], b[j])).collect();
            let what = |isa: &str| format!("{} of {da:?} and {db:?} on {isa}", kind.name());
            for gap in [0, 3] {
                let operands = [&Operand::new(da, &a).gap(gap), &Operand::new(db, &b).gap(2 * gap)];
                if is_comparison(kind) {
                    let output = Operand::out(DType::U8, dy).gap(gap);
                    on_every_isa::<u8>(binary(kind, Epilogue::NONE), &operands, &output, |isa, got| {
                        let got: Vec<_> = got.into_iter().map(f32::from).collect();
                        assert_same(&got, &want, &what(isa));
                    });
                } else {
                    let output = Operand::out(DType::F32, dy).gap(gap);
                    on_every_isa::<f32>(binary(kind, Epilogue::NONE), &operands, &output, |isa, got| {
                        assert_same(&got, &want, &what(isa));
                    });
                }
            }
        }
    }
}

/// Bounds first, then the function; halves are computed in f32 and rounded once.
#[test]
fn epilogues() {
    let epilogue = Epilogue { lo: -1.0, hi: 2.5, unary: Unary { kind: UnaryKind::Silu, a: 0.0, b: 0.0 } };
    let finish = |v: f32| {
        let v = if v < -1.0 { -1.0 } else { v };
        crate::math::unary(UnaryKind::Silu, 0.0, 0.0, if v > 2.5 { 2.5 } else { v })
    };
    let mut random = Random::new(11);
    let dims = [3, 700];
    let (a, b) = (numbers(&mut random, 2100), numbers(&mut random, 700));
    let want: Vec<_> = (0..2100).map(|i| finish(a[i] + b[i % 700])).collect();
    let operands = [&Operand::new(&dims, &a), &Operand::new(&[700], &b)];
    on_every_isa::<f32>(binary(K::Add, epilogue), &operands, &Operand::out(DType::F32, &dims), |isa, got| {
        assert_same(&got, &want, isa);
    });
    let (a, b) = (a.iter().copied().map(f16::from_f32), b.iter().copied().map(f16::from_f32));
    let (a, b): (Vec<_>, Vec<_>) = (a.collect(), b.collect());
    for (epilogue, finished) in [(epilogue, true), (Epilogue::NONE, false)] {
        let want: Vec<_> = (0..2100)
            .map(|i| a[i].to_f32() + b[i % 700].to_f32())
            .map(|v| f16::from_f32(if finished { finish(v) } else { v }).to_f32())
            .collect();
        let operands = [&Operand::new(&dims, &a), &Operand::new(&[700], &b)];
        on_every_isa::<f16>(
            binary(K::Add, epilogue),
            &operands,
            &Operand::out(DType::F16, &dims),
            |isa, got| {
                let got: Vec<_> = got.into_iter().map(f16::to_f32).collect();
                assert_same(&got, &want, isa);
            },
        );
    }
}

#[test]
fn functions_of_s8() {
    let mut random = Random::new(12);
    let undefined = |k| is_logical(k) || matches!(k, K::Pow | K::Mod | K::Fmod);
    for &kind in K::ALL.iter().filter(|&&k| !undefined(k)) {
        for (case, [da, db, dy]) in SHAPES.iter().enumerate() {
            let q = Numbers {
                scale_a: if kind == K::Mul { 0.0123 } else { 0.73 },
                scale_b: 0.0517 + case as f32 * 0.11,
                zero: [[-128, 127, 3][case % 3], [0, -7, 50][case / 3 % 3], [-20, 127, -128][case % 3]],
                lo: [-128, -20][case % 2],
                hi: [127, 101][case / 2 % 2],
            };
            let (a, b) = (random.bytes(count(da)), random.bytes(count(db)));
            let (ia, ib) = (broadcast(da, dy), broadcast(db, dy));
            let pairs = ia.iter().zip(&ib).map(|(&i, &j)| (a[i], b[j]));
            let operands = [
                &Operand::new(da, &a).gap(5).quant(1.0, q.zero[0]),
                &Operand::new(db, &b).quant(1.0, q.zero[1]),
            ];
            let mut params =
                op::Binary { kind, scale_a: q.scale_a, scale_b: q.scale_b, epilogue: Epilogue::NONE };
            let what = |isa: &str| format!("{} of {da:?} and {db:?} on {isa}: {q:?}", kind.name());
            if is_comparison(kind) {
                let want: Vec<_> = pairs.map(|(a, b)| oracle::real(kind, a, b, &q) as u8).collect();
                on_every_isa::<u8>(
                    Op::Binary(params),
                    &operands,
                    &Operand::out(DType::U8, dy),
                    |isa, got| {
                        assert_eq!(got, want, "{}", what(isa));
                    },
                );
            } else {
                params.epilogue = Epilogue { lo: q.lo as f32, hi: q.hi as f32, unary: Unary::IDENTITY };
                let want: Vec<_> = pairs.map(|(a, b)| oracle::s8(kind, a, b, &q)).collect();
                let output = Operand::out(DType::S8, dy).gap(1).quant(1.0, q.zero[2]);
                on_every_isa::<i8>(Op::Binary(params), &operands, &output, |isa, got| {
                    assert_eq!(got, want, "{}", what(isa));
                });
            }
        }
    }
}

/// Results by hand: division toward zero, by zero too, wrapping, remainders of both signs.
#[test]
fn functions_of_s32() {
    let a = [7, -7, 7, -7, i32::MIN, i32::MAX, 5, 0];
    let b = [3, 3, -3, -3, -1, 2, 0, 4];
    for (kind, want) in [
        (K::Add, [10, -4, 4, -10, i32::MAX, i32::MIN + 1, 5, 4]),
        (K::Sub, [4, -10, 10, -4, i32::MIN + 1, i32::MAX - 2, 5, -4]),
        (K::Mul, [21, -21, -21, 21, i32::MIN, -2, 0, 0]),
        (K::Div, [2, -2, -2, 2, i32::MIN, 1_073_741_823, 0, 0]),
        (K::Mod, [1, 2, -2, -1, 0, 1, 0, 0]),
        (K::Fmod, [1, -1, 1, -1, 0, 1, 0, 0]),
        (K::Min, [3, -7, -3, -7, i32::MIN, 2, 0, 0]),
        (K::Max, [7, 3, 7, -3, -1, i32::MAX, 5, 4]),
        (K::Pow, [343, -343, 0, 0, 0, 1, 1, 0]),
        (K::PRelu, [7, -21, 7, 21, i32::MIN, i32::MAX, 5, 0]),
        (K::SquaredDifference, [16, 100, 100, 16, 1, 9, 25, 16]),
        (K::And, [3, 1, 5, -7, i32::MIN, 2, 0, 0]),
    ] {
        let operands = [&Operand::new(&[8], &a), &Operand::new(&[8], &b)];
        let op = binary(kind, Epilogue::NONE);
        on_every_isa::<i32>(op, &operands, &Operand::out(DType::S32, &[8]), |isa, got| {
            assert_eq!(got, want, "{} on {isa}", kind.name());
        });
    }
    for (kind, want) in [
        (K::Equal, [0, 0, 0, 0, 0, 0, 0, 1]),
        (K::Less, [0, 1, 0, 1, 1, 0, 0, 0]),
        (K::GreaterOrEqual, [1, 0, 1, 0, 0, 1, 1, 1]),
    ] {
        let b = [3, 3, -3, -3, -1, 2, 0, 0];
        let operands = [&Operand::new(&[2, 4], &a), &Operand::new(&[2, 4], &b)];
        let op = binary(kind, Epilogue::NONE);
        on_every_isa::<u8>(op, &operands, &Operand::out(DType::U8, &[2, 4]), |isa, got| {
            assert_eq!(got, want, "{} on {isa}", kind.name());
        });
    }
}

#[test]
fn functions_of_bytes() {
    let operands = [&Operand::new::<u8>(&[4], &[0, 0, 1, 1]), &Operand::new::<u8>(&[4], &[0, 1, 0, 1])];
    for (kind, want) in [
        (K::And, [0, 0, 0, 1]),
        (K::Or, [0, 1, 1, 1]),
        (K::Xor, [0, 1, 1, 0]),
        (K::Equal, [1, 0, 0, 1]),
        (K::Less, [0, 1, 0, 0]),
    ] {
        let op = binary(kind, Epilogue::NONE);
        on_every_isa::<u8>(op, &operands, &Operand::out(DType::U8, &[4]), |isa, got| {
            assert_eq!(got, want, "{} on {isa}", kind.name());
        });
    }
}

#[test]
fn works_in_place() {
    let mut random = Random::new(13);
    let (a, b) = (random.floats(60, 3.0, true), random.floats(20, 3.0, true));
    let want: Vec<_> = (0..60).map(|i| a[i] * b[i % 20]).collect();
    for (isa, cpu) in Cpu::runnable() {
        let operands = [&Operand::new(&[3, 20], &a), &Operand::new(&[20], &b)];
        let got =
            run_in_place(cpu, binary(K::Mul, Epilogue::NONE), &operands, &Operand::out(DType::F32, &[3, 20]));
        assert_same(&values(&got), &want, isa);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |op, a: &Operand, b: &Operand, y: &Operand| {
        run_on(Cpu::detect(), op, &[a, b], y, 0).expect_err("must be refused").to_string()
    };
    let add = binary(K::Add, Epilogue::NONE);
    let f = |dims: &[u32]| Operand::new(dims, &vec![0.0_f32; count(dims)]);
    let s = Operand::new(&[4], &[0_i8; 4]).quant(1.0, 0);
    let out = |dims: &[u32]| Operand::out(DType::F32, dims);
    assert!(refuse(add, &f(&[2, 3]), &f(&[2]), &out(&[2, 3])).contains("[2]"));
    assert!(refuse(add, &f(&[3]), &f(&[3]), &out(&[2, 3])).contains("broadcast"));
    assert!(refuse(add, &f(&[4]), &s, &out(&[4])).contains("one type"));
    assert!(refuse(add, &s, &s, &Operand::out(DType::S8, &[4]).quant(1.0, 0)).contains("bounds"));
    assert!(refuse(binary(K::And, Epilogue::NONE), &f(&[4]), &f(&[4]), &out(&[4])).contains("and of f32"));
    let bounded = Epilogue { lo: -128.0, hi: 127.0, unary: Unary::IDENTITY };
    let huge = Op::Binary(op::Binary { kind: K::Add, scale_a: f32::NAN, scale_b: 1.0, epilogue: bounded });
    assert!(refuse(huge, &s, &s, &Operand::out(DType::S8, &[4]).quant(1.0, 0)).contains("scale_a"));
    let off = Operand::new(&[4], &[0_i8; 4]).quant(1.0, 1000);
    let y = Operand::out(DType::S8, &[4]).quant(1.0, 0);
    assert!(refuse(binary(K::Add, bounded), &off, &s, &y).contains("zero point 1000"));
}
