//! Rows against one element at a time, and results by hand.

use cygnet_format::op::{self, Op};
use cygnet_format::program::DType;

use crate::testing::{Operand, Random, on_every_isa, run_on};

const OP: Op = Op::QuantizeRows(op::QuantizeRows {});

fn quantized(x: f32, greatest: f32) -> i8 {
    let by = if (1e-36..f32::INFINITY).contains(&greatest) { 127.0 / greatest } else { 0.0 };
    // As a cast, NaN is 0.
    (x * by).round_ties_even().clamp(-127.0, 127.0) as i8
}

#[test]
fn by_hand() {
    let x = [1.0_f32, -2.0, 0.5, 0.0, 0.0, 0.0, 4.0, f32::NAN, 400.0];
    let greatest = Operand::new(&[3, 1], &[2.0_f32, 0.0, 4.0]);
    on_every_isa::<i8>(
        OP,
        &[&Operand::new(&[3, 3], &x), &greatest],
        &Operand::out(DType::S8, &[3, 3]),
        |isa, got| {
            // 63.5 rounds to 64, 31.75 to 32.
            assert_eq!(got, [64, -127, 32, 0, 0, 0, 127, 0, 127], "{isa}");
        },
    );
}

#[test]
fn rows_of_every_remainder() {
    let mut random = Random::new(77);
    for cols in 1..70_usize {
        let x = random.floats(5 * cols, 3.0, true);
        for scales in [vec![2.5_f32], vec![3.0, 1e-37, 0.1, f32::INFINITY, f32::NAN]] {
            let at = |i: usize| scales[(i / cols) % scales.len()];
            let want: Vec<_> = x.iter().enumerate().map(|(i, &v)| quantized(v, at(i))).collect();
            let inputs =
                [&Operand::new(&[5, cols as u32], &x), &Operand::new(&[scales.len() as u32], &scales)];
            on_every_isa::<i8>(OP, &inputs, &Operand::out(DType::S8, &[5, cols as u32]), |isa, got| {
                assert_eq!(got, want, "{cols} columns on {isa}");
            });
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = Operand::new(&[2, 3], &[0.0_f32; 6]);
    let refused = |greatest: &Operand, y: &Operand| {
        let cpu = crate::Cpu::forced("generic").unwrap();
        run_on(cpu, OP, &[&x, greatest], y, 0).unwrap_err().to_string()
    };
    let out = Operand::out(DType::S8, &[2, 3]);
    assert!(refused(&Operand::new(&[3], &[1.0_f32; 3]), &out).contains("3 magnitudes do not fit 2 rows"));
    let scaled = Operand::out(DType::S8, &[2, 3]).quant(1.0, 0);
    assert!(refused(&Operand::new(&[2], &[1.0_f32; 2]), &scaled).contains("without a scale"));
}
