//! Whole steps against one number at a time.

use cygnet_format::op::{self, Op, Unary, UnaryKind};
use cygnet_format::program::DType;
use half::f16;

use crate::Cpu;
use crate::math::unary;
use crate::testing::{Operand, Random, assert_same, on_every_isa, run_in_place, run_on, values};

fn map(kind: UnaryKind) -> Op {
    Op::Map(op::Map { unary: Unary { kind, a: 0.25, b: 1.5 } })
}

#[test]
fn functions_of_f32_are_the_scalar_ones() {
    let mut random = Random::new(2);
    for &kind in UnaryKind::ALL {
        for (dims, gaps) in
            [(&[1][..], [0, 0]), (&[3, 29], [0, 0]), (&[2, 5, 8], [3, 7]), (&[7, 1], [0, 4]), (&[], [0, 0])]
        {
            let n = dims.iter().product::<u32>() as usize;
            let x = random.floats(n, 8.0, true);
            let want: Vec<_> = x.iter().map(|&v| unary(kind, 0.25, 1.5, v)).collect();
            let input = Operand::new(dims, &x).gap(gaps[0]);
            let output = Operand::out(DType::F32, dims).gap(gaps[1]);
            on_every_isa::<f32>(map(kind), &[&input], &output, |isa, got| {
                assert_same(&got, &want, &format!("{} {dims:?} {isa}", kind.name()));
            });
        }
    }
}

#[test]
fn functions_of_f16_round_once() {
    let mut random = Random::new(3);
    for &kind in UnaryKind::ALL {
        let x: Vec<_> = random.floats(2 * 21, 6.0, true).into_iter().map(f16::from_f32).collect();
        let want: Vec<_> =
            x.iter().map(|v| f16::from_f32(unary(kind, 0.25, 1.5, v.to_f32())).to_f32()).collect();
        let input = Operand::new(&[2, 21], &x).gap(3);
        on_every_isa::<f16>(map(kind), &[&input], &Operand::out(DType::F16, &[2, 21]), |isa, got| {
            let got: Vec<_> = got.iter().map(|v| v.to_f32()).collect();
            assert_same(&got, &want, &format!("{} {isa}", kind.name()));
        });
    }
}

#[test]
fn large_tensors_are_cut_in_tiles_without_effect() {
    let x = Random::new(4).floats(100_003, 3.0, true);
    let want: Vec<_> = x.iter().map(|&v| unary(UnaryKind::Tanh, 0.0, 0.0, v)).collect();
    for dims in [&[100_003][..], &[100_003, 1]] {
        let input = Operand::new(dims, &x);
        on_every_isa::<f32>(map(UnaryKind::Tanh), &[&input], &Operand::out(DType::F32, dims), |isa, got| {
            assert_same(&got, &want, isa);
        });
    }
}

#[test]
fn works_in_place() {
    let x = Random::new(5).floats(3 * 19, 3.0, true);
    let want: Vec<_> = x.iter().map(|&v| unary(UnaryKind::Silu, 0.0, 0.0, v)).collect();
    for (_, cpu) in Cpu::runnable() {
        let input = Operand::new(&[3, 19], &x).gap(5);
        let got =
            run_in_place(cpu, map(UnaryKind::Silu), &[&input], &Operand::out(DType::F32, &[3, 19]).gap(5));
        assert_same(&values(&got), &want, "silu");
    }
}

#[test]
fn not_of_bytes() {
    let input = Operand::new::<u8>(&[5], &[0, 1, 2, 255, 0]);
    on_every_isa::<u8>(map(UnaryKind::Not), &[&input], &Operand::out(DType::U8, &[5]), |isa, got| {
        assert_eq!(got, [1, 0, 0, 0, 1], "{isa}");
    });
}

#[test]
fn tables_are_looked_up() {
    let mut random = Random::new(6);
    let table = random.bytes(256);
    for n in [1, 15, 16, 31, 32, 33, 100, 256, 1000] {
        let x: Vec<i8> = if n == 256 { (-128..=127).collect() } else { random.bytes(n) };
        let want: Vec<i8> = x.iter().map(|&v| table[(i32::from(v) + 128) as usize]).collect();
        let dims = [n as u32];
        let operands = [&Operand::new(&dims, &x), &Operand::new(&[256], &table)];
        on_every_isa::<i8>(
            Op::Table(op::Table {}),
            &operands,
            &Operand::out(DType::S8, &dims),
            |isa, got| {
                assert_eq!(got, want, "{n} on {isa}");
            },
        );
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = Cpu::detect();
    let x = Operand::new(&[2, 3], &[0.0_f32; 6]);
    let bytes = Operand::new(&[6], &[0_u8; 6]);
    let refuse = |op, inputs: &[&Operand], output: &Operand| {
        run_on(cpu, op, inputs, output, 0).expect_err("must be refused").to_string()
    };
    let said = refuse(map(UnaryKind::Exp), &[&x], &Operand::out(DType::F32, &[3, 2]));
    assert!(said.contains("[2, 3]") && said.contains("[3, 2]"), "{said}");
    let said = refuse(map(UnaryKind::Exp), &[&x], &Operand::out(DType::F16, &[2, 3]));
    assert!(said.contains("one type"), "{said}");
    let said = refuse(map(UnaryKind::Exp), &[&bytes], &Operand::out(DType::U8, &[6]));
    assert!(said.contains("exp of u8"), "{said}");
    let short = Operand::new(&[255], &[0_i8; 255]);
    let s8 = Operand::new(&[2], &[0_i8; 2]);
    let said = refuse(Op::Table(op::Table {}), &[&s8, &short], &Operand::out(DType::S8, &[2]));
    assert!(said.contains("256"), "{said}");
}
