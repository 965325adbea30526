//! Convolutions of every element type against their definitions, on every instruction set.

#[path = "../common/mod.rs"]
mod common;
mod random;
mod spec;
mod winograd;

use common::guard::{Case, f32s, le_f32, le_s8, le_s32};
use cygnet_format::op::{Map, Op, Unary, UnaryKind, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::conv::oracle::{Added, Requantization, Shape, conv_f32, conv_s8, conv_s8_added};
use cygnet_kernels::conv::pack;
use cygnet_kernels::{Algorithm, Cpu};

use spec::*;

#[test]
fn pointwise_over_every_remainder() {
    for rows in (1..=18).chain([33, 100]) {
        Spec::conv([1, 1, rows, 5 + rows], 3 + rows, WINDOW, 1).check();
    }
    for m in 1..=34 {
        Spec::conv([1, 1, 9, 16], m, WINDOW, 1).check();
    }
    for c in 1..=36 {
        Spec::conv([1, 2, 4, c], 11, WINDOW, 1).pitched(c % 3, c % 5).check();
    }
}

#[test]
fn s8_products_as_real_numbers() {
    for rows in (1..=18).chain([33, 100]) {
        Spec::conv([1, 1, rows, 5 + rows], 3 + rows, WINDOW, 1).check_reals(1);
    }
    for m in (1..=34).chain([47, 48, 49, 64, 130]) {
        Spec::conv([1, 1, 9, 16], m, WINDOW, 1).check_reals(2);
    }
    for c in 1..=36 {
        let mut spec = Spec::conv([1, 2, 4, c], 11, WINDOW, 1).pitched(c % 3, c % 5);
        spec.clamp = c % 2 == 0;
        spec.check_reals(3);
    }
    // Windows, chunks of long reductions, few pixels of many channels.
    Spec::conv([2, 7, 9, 3], 16, square(3, 2, 1), 1).check_reals(4);
    Spec::conv([1, 6, 6, 40], 21, square(3, 1, 1), 1).pitched(8, 3).check_reals(5);
    Spec::conv([1, 1, 7, 1100], 20, WINDOW, 1).check_reals(6);
    Spec::conv([1, 1, 1, 100], 300, WINDOW, 1).check_reals(7);
    Spec::conv([1, 1, 3, 64], 200, WINDOW, 1).check_reals(8);
    let mut function = Spec::conv([1, 3, 5, 16], 24, WINDOW, 1);
    function.unary = Unary { kind: UnaryKind::Relu, a: 0.0, b: 0.0 };
    let (case, want) = function.reals(9, 15);
    for (isa, name, got) in case.run() {
        assert!(f32s(&got).iter().zip(&want).all(|(g, w)| *g == w.max(0.0)), "{name} ({isa})");
    }
}

#[test]
fn what_has_no_real_form_is_refused() {
    let (case, _) = Spec::conv([1, 2, 2, 8], 8, WINDOW, 1).reals(1, 3);
    let refused = case.prepared(Cpu::forced("generic").unwrap()).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("3 scales do not fit 4 rows"), "{refused}");
}

#[test]
fn windows_at_every_border() {
    Spec::conv([1, 7, 9, 3], 16, square(3, 1, 1), 1).check();
    Spec::conv([2, 11, 8, 3], 10, square(3, 2, 1), 1).check();
    Spec::conv([1, 15, 17, 3], 9, square(7, 2, 3), 1).check();
    Spec::conv([1, 6, 6, 8], 8, square(3, 1, 0), 1).check();
    Spec::conv([1, 9, 9, 4], 24, square(5, 3, 2), 1).check();
    let skewed = Window { kernel: [2, 3], stride: [2, 1], dilation: [2, 3], pad: [0, 4, 3, 1] };
    Spec::conv([2, 9, 12, 6], 17, skewed, 1).check();
    // Padding wider than the window: outputs that see nothing of the image.
    Spec::conv([1, 3, 3, 5], 8, square(2, 1, 4), 1).check();
    // Strided without a window.
    Spec::conv([2, 9, 7, 12], 8, square(1, 2, 0), 1).check();
}

/// Outputs near borders may be computed by themselves, without what meets padding.
#[test]
fn padding_is_no_part_of_sums() {
    for size in [1, 2, 3, 5, 7, 8, 10, 14, 19] {
        let seed = size as u64;
        Spec::conv([1, size, size, 64], 24, square(3, 1, 1), 1).check_s8(seed);
        Spec::conv([2, size, size + 3, 32], 13, square(3, 2, 1), 1).check_s8(seed + 20);
        Spec::conv([1, size, 9, 16], 17, square(5, 1, 2), 1).adding(0.7, 2).check_s8(seed + 40);
        let mut spec = Spec::conv([2, size + 2, size, 20], 40, square(3, 1, 1), 1).pitched(4, 1);
        spec.table = true;
        spec.check_s8(seed + 60);
        Spec::conv([1, size, 7, 24], 24, square(3, 1, 1), 3).check_s8(seed + 80);
        // Inputs of a tap that are no whole group.
        Spec::conv([1, size, 8, 22], 9, square(3, 1, 1), 1).adding(0.4, 0).check_s8(seed + 100);
        let skewed = Window { kernel: [4, 3], stride: [1, 2], dilation: [2, 1], pad: [6, 0, 2, 3] };
        Spec::conv([2, size, 12, 16], 10, skewed, 1).check_s8(seed + 120);
        let spread = Window { kernel: [3, 3], stride: [1, 1], dilation: [3, 2], pad: [3, 2, 3, 2] };
        Spec::conv([1, size, 11, 32], 16, spread, 1).check_s8(seed + 140);
        // Windows that see nothing of the image.
        Spec::conv([1, size, 3, 40], 8, square(3, 1, 4), 1).check_s8(seed + 160);
    }
}

/// Parts of an output that follow one another in a block, and are as many pixels as lie from its first to its last, need
/// not be those: here the end of a border column and the begin of the next.
#[test]
fn tables_of_parts_that_do_not_follow_one_another() {
    let window = Window { kernel: [27, 5], stride: [1, 1], dilation: [1, 1], pad: [1, 2, 1, 2] };
    let mut spec = Spec::conv([1, 90, 10, 4], 8, window, 1);
    spec.table = true;
    spec.check_s8(1);
}

/// Products of sums and multipliers that 16 bits hold, or do not when a zero point or an addend comes to them.
#[test]
fn products_at_the_ends_of_16_bits() {
    let x: Vec<i8> = (0..11 * 2).map(|i| if i / 2 % 2 == 0 { -128 } else { 127 }).collect();
    let w = [127; 8 * 2];
    let quant = |zero_point| Some(Quant { scale: 0.5, zero_point });
    for zero_out in [-128, -127, 0, 126, 127] {
        for thousandths in (980..=1020).chain([-1000]) {
            for added in [false, true] {
                let mut spec = Spec::conv([1, 1, 11, 2], 8, WINDOW, 1);
                let multiplier = [thousandths as f32 / 1000.0; 8];
                let bounds = [-128.0, 127.0];
                let q = Requantization { multiplier: &multiplier, zero_in: 0, zero_out, bounds };
                let r: Vec<i8> = (0..11 * 8).map(|i| if i % 3 == 0 { -128 } else { 127 }).collect();
                let want = if added {
                    spec = spec.adding(0.9, 0);
                    conv_s8_added(&spec.shape, &x, &w, &[0; 8], &q, &Added { r: &r, zero: 5, scale: 0.9 })
                } else {
                    conv_s8(&spec.shape, &x, &w, &[0; 8], &q)
                };
                let packed = pack::pack_s8(&w, 8, 1, 2, 1);
                let mut case =
                    Case::new(spec.op(-128.0, 127.0), DType::S8, &spec.shape.y, 8, quant(zero_out))
                        .input(DType::S8, &spec.shape.x, 2, quant(0), le_s8(&x))
                        .constant(DType::Packed, &[packed.len()], packed)
                        .constant(DType::S32, &[8], le_s32(&[0; 8]))
                        .constant(DType::F32, &[8], le_f32(&multiplier));
                if added {
                    case = case.absent().absent().absent();
                    case = case.input(DType::S8, &spec.shape.y, 8, quant(5), le_s8(&r));
                }
                spec.check_by(Algorithm::Fastest, &case, &want);
            }
        }
    }
}

#[test]
fn rows_of_taps_merge_into_runs() {
    for c in [1, 2, 4, 8] {
        let line = Window { kernel: [1, 31], stride: [1, 5], dilation: [1, 1], pad: [0; 4] };
        Spec::conv([1, 1, 200, c], 13, line, 1).check();
        Spec::conv([1, 12, 13, c], 13, square(3, 1, 1), 1).check();
        Spec::conv([1, 12, 13, c], 13, square(3, 1, 1), 1).pitched(4, 1).check();
    }
}

#[test]
fn blocks_are_whole_rows_of_the_output() {
    // As many pixels in a row as are computed at once, some more, and so many that a row is cut.
    for width in [4, 7, 9, 11, 13, 15, 16, 28, 131, 160] {
        Spec::conv([1, 3, width, 8], 40, square(3, 1, 1), 1).check_s8(width as u64);
        Spec::conv([2, 5, 2 * width, 3], 17, square(3, 2, 1), 1).check_s8(width as u64 + 1);
        Spec::conv([2, 4, width, 12], 48, square(5, 1, 2), 1).pitched(4, 0).check_s8(width as u64 + 2);
    }
    Spec::conv([1, 7, 7, 256], 48, square(3, 1, 1), 1).check_s8(3);
    Spec::conv([2, 6, 8, 16], 32, square(3, 1, 1), 2).check_s8(4);
}

#[test]
fn groups_keep_to_themselves() {
    Spec::conv([1, 5, 6, 12], 20, square(3, 1, 1), 4).check();
    Spec::conv([2, 4, 4, 6], 18, square(1, 1, 0), 2).check();
    Spec::conv([1, 4, 5, 16], 16, square(3, 1, 1), 16).check();
    Spec::conv([1, 4, 5, 10], 30, square(2, 2, 0), 5).pitched(3, 2).check();
}

#[test]
fn tiles_and_blocks_meet_without_seams() {
    // Many blocks of pixels; many tiles of pixels; many tiles of channels.
    Spec::conv([1, 40, 41, 16], 24, square(3, 1, 1), 1).check();
    Spec::conv([1, 1, 3000, 40], 40, WINDOW, 1).check();
    Spec::conv([1, 1, 50, 512], 700, WINDOW, 1).check();
    Spec::conv([1, 1, 1, 1280], 1001, WINDOW, 1).check();
}

#[test]
fn epilogues() {
    let mut spec = Spec::conv([1, 9, 9, 8], 19, square(3, 1, 1), 1).pitched(0, 3);
    spec.clamp = true;
    spec.check_s8(7);
    spec.check_f32(8);
    spec.table = true;
    spec.check_s8(9);
}

/// Products and what is added to them are rounded once.
#[test]
fn additions() {
    for m in (1..=34).chain([47, 48, 65, 130]) {
        Spec::conv([1, 1, 13, 20], m, WINDOW, 1).adding(0.7, m % 3).check_s8(m as u64);
    }
    for pixels in (1..=26).chain([100, 300]) {
        Spec::conv([1, 1, pixels, 24], 33, WINDOW, 1).adding(1.3, 0).check_s8(pixels as u64);
    }
    Spec::conv([2, 7, 9, 3], 16, square(3, 2, 1), 1).adding(0.5, 5).check_s8(1);
    Spec::conv([1, 6, 6, 40], 21, square(3, 1, 1), 1).pitched(8, 3).adding(2.0, 0).check_s8(2);
    Spec::conv([1, 5, 6, 12], 20, square(3, 1, 1), 4).adding(0.9, 1).check_s8(3);
    Spec::conv([1, 40, 41, 16], 24, square(3, 1, 1), 1).adding(0.25, 0).check_s8(4);
    Spec::conv([1, 1, 50, 512], 700, WINDOW, 1).adding(1.0, 0).check_s8(5);
    Spec::conv([1, 1, 1, 1280], 1001, WINDOW, 1).adding(1.0, 0).check_s8(6);
    let mut spec = Spec::conv([1, 9, 9, 8], 19, square(3, 1, 1), 1).pitched(0, 3).adding(0.8, 3);
    spec.clamp = true;
    spec.check_s8(7);
    assert_eq!(spec.check_winograd(8), 2);
    spec.table = true;
    spec.check_s8(9);
    assert_eq!(spec.check_winograd(10), 2);
    assert_eq!(Spec::conv([2, 11, 9, 40], 70, three([1; 4]), 1).adding(0.3, 2).check_winograd(11), 2);
    // Numbers so large that their sum is none: the lower bound.
    Spec::conv([1, 1, 3, 8], 9, WINDOW, 1).adding(3e38, 0).check_s8(12);
}

#[test]
fn additions_in_the_place_of_what_is_added() {
    let specs = [
        Spec::conv([1, 12, 13, 24], 40, WINDOW, 1),
        Spec::conv([1, 12, 13, 16], 33, square(3, 1, 1), 1),
        Spec::conv([1, 1, 3, 64], 200, WINDOW, 1),
    ];
    for spec in specs {
        let (case, want) = spec.adding(0.6, 0).s8(3);
        spec.adding(0.6, 0).check_by(Algorithm::Fastest, &case.clone().in_place(), &want);
        spec.adding(0.6, 0).check_by(Algorithm::Direct, &case.in_place(), &want);
    }
}

#[test]
fn additions_that_do_not_fit_are_refused() {
    let refusal = |case: Case| {
        let prepared = case.prepared(Cpu::forced("generic").unwrap());
        prepared.map(|_| ()).unwrap_err().to_string()
    };
    let quant = Some(Quant { scale: 0.5, zero_point: 0 });
    let spec = Spec::conv([1, 2, 2, 8], 8, WINDOW, 1);
    let with = |dims: &[usize], quant| {
        let case = spec.s8(1).0.absent().absent();
        case.input(DType::S8, dims, 8, quant, vec![0; dims.iter().product()])
    };
    assert!(
        refusal(with(&[1, 2, 3, 8], quant)).contains("addend [1, 2, 3, 8] is not of output [1, 2, 2, 8]")
    );
    assert!(refusal(with(&[1, 2, 2, 8], None)).contains("addend is not quantized"));
    let float = spec.f32(1).0.absent().absent().absent().absent();
    let float = float.input(DType::S8, &[1, 2, 2, 8], 8, quant, vec![0; 32]);
    assert!(refusal(float).contains("an addend belongs to s8 results only"));
    let without = spec.adding(0.5, 0).s8(1).0.without_last();
    assert!(refusal(without).contains("no addend has the scale 0.5"));
}

/// Sums of several products may fit 16 bits where weights are small: of some blocks of four inputs and not of others.
#[test]
fn weights_of_all_magnitudes() {
    for part in [1, 2, 3, 4, 9, 127] {
        for (depth, rows) in [(4, 5), (16, 4), (36, 7), (61, 9), (256, 4)] {
            Spec { part, ..Spec::conv([1, 1, rows, depth], 13, WINDOW, 1) }.check_s8(part as u64);
            Spec { part, ..Spec::conv([1, 4, rows, depth], 8, square(3, 1, 1), 1) }.check_s8(part as u64);
        }
    }
}

/// A unary function after a convolution gives the bits of the same function as a step of its own.
#[test]
fn functions_are_those_of_map_steps() {
    let conv = Spec::conv([1, 6, 7, 8], 19, square(3, 1, 1), 1).pitched(0, 2);
    let transposed = Spec::transposed([1, 4, 5, 6], 10, square(3, 2, 1), 2, 1);
    for spec in [conv, transposed] {
        let plain = spec.f32(4).0.run();
        for (kind, a) in [(UnaryKind::Silu, 0.0), (UnaryKind::LeakyRelu, 0.1), (UnaryKind::Relu, 0.0)] {
            let unary = Unary { kind, a, b: 0.0 };
            let mut spec = spec;
            spec.unary = unary;
            let fused = spec.f32(4).0.run();
            for ((isa, name, got), (.., plain)) in fused.into_iter().zip(&plain) {
                let n = spec.shape.y.iter().product();
                let apart = Case::new(Op::Map(Map { unary }), DType::F32, &[n], n, None).input(
                    DType::F32,
                    &[n],
                    n,
                    None,
                    plain.clone(),
                );
                assert_eq!(got, apart.run_on(isa, Cpu::forced(isa).unwrap()).2, "{name} ({isa}), {unary:?}");
                assert_ne!(&got, plain);
            }
        }
    }
}

#[test]
fn long_kernels_run_where_they_are_one_run_of_memory() {
    let line = |pad| Window { kernel: [1, 1500], stride: [1, 100], dilation: [1, 1], pad: [0, pad, 0, 0] };
    Spec::conv([1, 1, 2000, 1], 9, line(0), 1).check_f32(5);
    let refused = Spec::conv([1, 1, 2000, 1], 9, line(1), 1).f32(5).0.prepared(Cpu::detect()).err();
    assert!(refused.is_some_and(|e| e.to_string().contains("1500 positions is above the limit of 512")));
}

#[test]
fn transposed_of_every_phase() {
    // One phase has outputs, and it is not the first; few channels.
    let second = Window { kernel: [2, 4], stride: [2, 1], dilation: [3, 3], pad: [3, 1, 2, 2] };
    Spec::transposed([2, 2, 10, 1], 7, second, 1, 0).check();
    Spec::transposed([1, 4, 5, 6], 10, square(2, 2, 0), 1, 0).check();
    Spec::transposed([2, 5, 4, 8], 9, square(3, 2, 1), 1, 1).check();
    Spec::transposed([1, 3, 4, 3], 8, square(4, 2, 1), 1, 0).check();
    Spec::transposed([1, 6, 5, 12], 8, square(3, 1, 1), 4, 0).pitched(5, 3).check();
    // A stride above the kernel: phases without taps are bias alone.
    Spec::transposed([1, 3, 3, 4], 5, square(2, 3, 0), 1, 2).check();
    // Dilation that shares a factor with the stride, and one that does not.
    for dilation in [2, 3, 4] {
        let window = Window { kernel: [3, 4], stride: [2, 4], dilation: [dilation; 2], pad: [1, 2, 0, 3] };
        Spec::transposed([1, 4, 6, 5], 11, window, 1, 1).check();
    }
}

/// Results of onnxruntime for `Conv` and `ConvTranspose`, float, of small integers.
#[test]
fn known_results() {
    // Conv: x = [[1, 2, 3], [4, 5, 6], [7, 8, 9]], w = [[1, 0], [0, -1]], bias 10, no padding: 10 + x[i][j] - x[i+1][j+1].
    let shape =
        Shape { x: [1, 3, 3, 1], y: [1, 2, 2, 1], window: square(2, 1, 0), groups: 1, transposed: false };
    let x: Vec<f32> = (1..=9).map(|v| v as f32).collect();
    let none = [f32::NEG_INFINITY, f32::INFINITY];
    assert_eq!(conv_f32(&shape, &x, &[1.0, 0.0, 0.0, -1.0], &[10.0], none), [6.0; 4]);
    // ConvTranspose: x = [[1, 2], [3, 4]], w = [[1, 2], [3, 4]], stride 1: the outer products overlap.
    let shape =
        Shape { x: [1, 2, 2, 1], y: [1, 3, 3, 1], window: square(2, 1, 0), groups: 1, transposed: true };
    let values = [1.0, 2.0, 3.0, 4.0];
    let want = [1.0, 4.0, 4.0, 6.0, 20.0, 16.0, 9.0, 24.0, 16.0];
    assert_eq!(conv_f32(&shape, &values, &values, &[0.0], none), want);
    // s8: (100 - 3) * 2 + (-7 - 3) * -5 + 6 = 250; times 0.25 = 62.5, to even 62; plus 1.
    let shape = Shape { x: [1, 1, 1, 2], y: [1, 1, 1, 1], window: WINDOW, groups: 1, transposed: false };
    let q = Requantization { multiplier: &[0.25], zero_in: 3, zero_out: 1, bounds: [-128.0, 127.0] };
    assert_eq!(conv_s8(&shape, &[100, -7], &[2, -5], &[6], &q), [63]);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let spec = Spec::conv([1, 6, 6, 4], 8, square(3, 1, 1), 1);
    let cpu = Cpu::detect();
    assert!(spec.s8(1).0.prepared(cpu).is_ok());
    let packed = pack::packed_len_s8(8, 9, 4, 1).unwrap();
    let quant = Some(Quant { scale: 1.0, zero_point: 0 });
    let case = |op: Op, packed: usize, bias: usize, multiplier: f32, padding: usize| {
        Case::new(op, DType::S8, &[1, 6, 6, 8], 8, quant)
            .input(DType::S8, &[1, 6, 6, 4], 4, quant, vec![0; 144])
            .constant(DType::Packed, &[packed], vec![0; packed])
            .constant(DType::S32, &[bias], vec![0; 4 * bias])
            .constant(DType::F32, &[8], le_f32(&[multiplier; 8]))
            .constant(DType::S8, &[padding], vec![0; padding])
    };
    let (op, nan_op) = (spec.op(-128.0, 127.0), spec.op(f32::NAN, 127.0));
    let error = |c: Case| c.prepared(cpu).err().expect("must be refused").to_string();
    assert!(case(op, packed, 8, 1.0, 4).prepared(cpu).is_ok());
    assert!(error(case(op, packed - 1, 8, 1.0, 4)).contains("input 1 must be a dense constant"));
    assert!(error(case(op, packed + 1, 8, 1.0, 4)).contains("input 1 must be a dense constant"));
    assert!(error(case(op, packed, 7, 1.0, 4)).contains("input 2 must be a dense constant"));
    assert!(error(case(op, packed, 8, f32::NAN, 4)).contains("multiplier"));
    assert!(error(case(op, packed, 8, 1.0, 3)).contains("padding row"));
    assert!(error(case(nan_op, packed, 8, 1.0, 4)).contains("clamps"));
    assert!(error(case(spec.op(-129.0, 127.0), packed, 8, 1.0, 4)).contains("clamps"));
    assert!(error(case(spec.op(-1.5, 127.0), packed, 8, 1.0, 4)).contains("clamps"));
    let Op::Conv(mut p) = op else { panic!("a convolution") };
    p.window.stride[1] = 0;
    assert!(error(case(Op::Conv(p), packed, 8, 1.0, 4)).contains("stride"));
    p.window.stride[1] = 2;
    assert!(error(case(Op::Conv(p), packed, 8, 1.0, 4)).contains("the window gives the output width 3"));
    p.window.stride[1] = 1;
    p.groups = 3;
    assert!(error(case(Op::Conv(p), packed, 8, 1.0, 4)).contains("groups"));
    p.groups = 1;
    p.epilogue.unary.kind = UnaryKind::Relu;
    assert!(error(case(Op::Conv(p), packed, 8, 1.0, 4)).contains("table"));
}
