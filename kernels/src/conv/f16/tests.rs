//! Rows that compute in f32 against the definition, bit for bit; those that compute in half within their bound.

use half::f16;

use super::{BLOCK, ROWS};
use crate::conv::f32::tests::{Case, Rng, cases};
use crate::conv::micro::Row;
use crate::cpu::{Cpu, Features};

/// The bound of the module `fp16`, with the final rounding to half.
fn bound(case: &Case, size: f32, want: f32) -> f32 {
    let u = 2.0_f32.powi(-11);
    let products = case.taps * case.depth;
    let block = BLOCK.min(products) as f32 * u;
    let in_f32 = (products as f32 / BLOCK as f32 + 2.0) * 2.0_f32.powi(-24);
    size * (block / (1.0 - block) + in_f32)
        + products as f32 * 2.0_f32.powi(-25)
        + want.abs() * u
        + 2.0_f32.powi(-25)
}

fn check(row: &Row, case: &Case) {
    let got = case.run(row, u16::MAX, 0, |x| f16::from_f32(x).to_bits());
    for (i, &bits) in got.iter().enumerate() {
        let (want, size) = case.expected(i / case.cols, i % case.cols);
        let shape = (case.rows, case.taps, case.depth, case.cols);
        if row.needs.contains(Features::FP16) {
            let got = f16::from_bits(bits).to_f32();
            let bound = bound(case, size, want);
            assert!(
                (got - want).abs() <= bound,
                "{} {shape:?} at {i}: {got}, not {want} +- {bound}",
                row.name
            );
        } else {
            assert_eq!(bits, f16::from_f32(want).to_bits(), "{} {shape:?} at {i}", row.name);
        }
    }
}

#[test]
fn every_row_gives_the_definition() {
    let cpu = Cpu::in_order();
    for row in ROWS.iter().filter(|row| cpu.has(row.needs)) {
        let mut rng = Rng(0xD1B5_4A32_D192_ED03);
        for case in cases(&mut rng, row, true) {
            check(row, &case);
        }
    }
}

#[test]
fn long_sums_that_fit_no_half_are_exact_between_blocks() {
    let cpu = Cpu::in_order();
    for row in ROWS.iter().filter(|row| cpu.has(row.needs)) {
        // A block of ones sums to BLOCK without error; 1024 blocks exceed what half counts exactly.
        let mut case = Case::random(&mut Rng(1), 1, 1, BLOCK * 1024, 1, true);
        case.a.fill(1.0);
        case.w.fill(1.0);
        case.bias[0] = -(BLOCK as f32) * 1023.0;
        let got = case.run(row, u16::MAX, 0, |x| f16::from_f32(x).to_bits());
        assert_eq!(f16::from_bits(got[0]).to_f32(), BLOCK as f32, "{}", row.name);
    }
}
