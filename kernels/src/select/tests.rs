//! Whole steps against one element at a time.

use cygnet_format::op::{self, Op};
use cygnet_format::program::DType;

use crate::Cpu;
use crate::testing::{Native, Operand, on_every_isa, run_on};

fn chooses<T: Native + PartialEq + std::fmt::Debug>(a: [T; 6], b: [T; 6]) {
    let op = Op::Select(op::Select {});
    let cond = [1_u8, 0, 0, 255, 0, 1];
    let output = Operand::out(T::DTYPE, &[2, 3]).gap(1);
    let full =
        [&Operand::new(&[2, 3], &cond).gap(2), &Operand::new(&[2, 3], &a), &Operand::new(&[2, 3], &b).gap(4)];
    on_every_isa::<T>(op, &full, &output, |isa, got| {
        assert_eq!(got, [a[0], b[1], b[2], a[3], b[4], a[5]], "{isa}");
    });
    let mixed =
        [&Operand::new(&[2, 1], &cond[..2]), &Operand::new(&[], &a[..1]), &Operand::new(&[3], &b[..3])];
    on_every_isa::<T>(op, &mixed, &output, |isa, got| {
        assert_eq!(got, [a[0], a[0], a[0], b[0], b[1], b[2]], "{isa}");
    });
}

#[test]
fn elements_of_every_size() {
    chooses([1_i8, 2, 3, 4, 5, 6], [-1, -2, -3, -4, -5, -6]);
    chooses([1_i16, 2, 3, 4, 5, 6], [-1, -2, -3, -4, -5, -6]);
    chooses([1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
    chooses([1_i64, 2, 3, 4, 5, 6], [-1, -2, -3, -4, -5, -6]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |inputs: &[&Operand], y: &Operand| {
        let op = Op::Select(op::Select {});
        run_on(Cpu::detect(), op, inputs, y, 0).expect_err("must be refused").to_string()
    };
    let cond = Operand::new(&[2], &[0_u8; 2]);
    let (a, b) = (Operand::new(&[2], &[0_i8; 2]).quant(1.0, 0), Operand::new(&[2], &[0_i8; 2]).quant(2.0, 0));
    assert!(refuse(&[&cond, &a, &b], &Operand::out(DType::S8, &[2]).quant(1.0, 0)).contains("input 2"));
    assert!(refuse(&[&cond, &a, &a], &Operand::out(DType::S8, &[3, 2]).quant(1.0, 0)).contains("[3, 2]"));
    assert!(refuse(&[&a, &a, &a], &Operand::out(DType::S8, &[2]).quant(1.0, 0)).contains("u8 is needed"));
}
