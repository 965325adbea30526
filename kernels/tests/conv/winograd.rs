//! Winograd's algorithms against the definition.

use crate::common::guard::{Case, le_f32, le_s8, le_s32, s8s};
use cygnet_format::op::{self, Conv, Epilogue, Op, Unary, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::conv::oracle::{Requantization, conv_s8};
use cygnet_kernels::conv::pack;
use cygnet_kernels::{Algorithm, Cpu};

use crate::spec::*;

#[test]
fn winograd_over_every_remainder() {
    for c in (1..=36).chain([47, 48, 63, 64, 65]) {
        assert_eq!(Spec::conv([1, 4, 5, c], 11, three([1; 4]), 1).check_winograd(c as u64), 2);
    }
    for m in 1..=35 {
        assert_eq!(Spec::conv([1, 3, 4, 9], m, three([1; 4]), 1).check_winograd(m as u64), 2);
    }
    for size in 1..=15 {
        assert_eq!(Spec::conv([1, size, 16 - size, 8], 16, three([1; 4]), 1).check_winograd(size as u64), 2);
    }
}

#[test]
fn winograd_at_every_border() {
    for pad in [[0; 4], [0, 1, 0, 1], [1, 0, 1, 0], [2, 1, 0, 3], [0, 0, 1, 1], [3, 4, 5, 6], [0, 7, 0, 0]] {
        for x in [[1, 5, 6, 5], [2, 4, 3, 12], [3, 7, 7, 20]] {
            let spec = Spec::conv(x, 10, three(pad), 1);
            assert_eq!(spec.check_winograd(5), 2);
            assert_eq!(spec.pitched(16, 3).check_winograd(6), 2);
        }
    }
    // One pixel; nothing but padding around it; no padding at all.
    assert_eq!(Spec::conv([1, 1, 1, 4], 8, three([1; 4]), 1).check_winograd(7), 2);
    assert_eq!(Spec::conv([1, 1, 1, 4], 8, three([4; 4]), 1).check_winograd(8), 2);
    assert_eq!(Spec::conv([1, 3, 3, 4], 8, three([0; 4]), 1).check_winograd(9), 2);
}

#[test]
fn winograd_of_many_tiles_and_ranges() {
    assert_eq!(Spec::conv([1, 26, 27, 16], 24, three([1; 4]), 1).check_winograd(1), 2);
    assert_eq!(Spec::conv([2, 19, 9, 40], 70, three([1; 4]), 1).check_winograd(2), 2);
    // Input channels in several ranges, output channels in several pieces.
    assert_eq!(Spec::conv([1, 9, 11, 301], 150, three([1; 4]), 1).check_winograd(3), 2);
    assert_eq!(Spec::conv([1, 3, 2, 700], 300, three([1, 0, 1, 2]), 1).check_winograd(4), 1);
}

#[test]
fn winograd_epilogues() {
    let mut spec = Spec::conv([1, 9, 9, 8], 19, three([1; 4]), 1).pitched(0, 3);
    spec.clamp = true;
    assert_eq!(spec.check_winograd(7), 2);
    spec.table = true;
    assert_eq!(spec.check_winograd(9), 2);
}

/// Sums of the greatest magnitude that there can be: every transformed value at its bound.
#[test]
fn winograd_of_extremes() {
    let forms = [(Algorithm::Winograd2, 3640), (Algorithm::Winograd4, 227)];
    for ((algorithm, c), (x, w)) in forms
        .into_iter()
        .flat_map(|form| [(-128, 127), (-128, -128), (127, 127)].map(|extremes| (form, extremes)))
    {
        let m = 9;
        let shape = Spec::conv([1, 3, 4, c], m, three([0; 4]), 1).shape;
        let (xs, ws) = (vec![x; 12 * c], vec![w; m * 9 * c]);
        let multiplier = vec![1.0 / (1 << 22) as f32; m];
        let q = Requantization { multiplier: &multiplier, zero_in: 0, zero_out: 0, bounds: [-128.0, 127.0] };
        let want = conv_s8(&shape, &xs, &ws, &vec![1 << 21; m], &q);
        let quant = Some(Quant { scale: 1.0, zero_point: 0 });
        let (packed, biases) = (pack::pack_s8(&ws, m, 9, c, 1), pack::pad_channels(&vec![1 << 21; m], 1));
        let op = Op::Conv(Conv {
            window: shape.window,
            groups: 1,
            epilogue: Epilogue { lo: -128.0, hi: 127.0, unary: Unary::IDENTITY },
            algorithm: op::Algorithm::Direct,
            addend_scale: 0.0,
        });
        let case = Case::new(op, DType::S8, &shape.y, m, quant)
            .input(DType::S8, &shape.x, c, quant, le_s8(&xs))
            .constant(DType::Packed, &[packed.len()], packed)
            .constant(DType::S32, &[16], le_s32(&biases))
            .constant(DType::F32, &[16], le_f32(&pack::pad_channels(&multiplier, 1)))
            .by(algorithm);
        for (isa, name, got) in case.run() {
            assert_eq!(s8s(&got), want, "{name} ({isa}), {x} * {w}");
        }
    }
}

/// Steps that Winograd's algorithm is not for are done directly.
#[test]
fn winograd_only_where_it_is_exact_and_fits() {
    let x = [1, 6, 6, 4];
    let strided = Window { stride: [1, 2], ..three([1; 4]) };
    let dilated = Window { dilation: [2, 1], ..three([1; 4]) };
    assert_eq!(Spec::conv(x, 8, strided, 1).check_winograd(1), 0);
    assert_eq!(Spec::conv(x, 8, dilated, 1).check_winograd(2), 0);
    assert_eq!(Spec::conv(x, 8, three([1; 4]), 2).check_winograd(3), 0);
    assert_eq!(Spec::conv(x, 8, square(5, 1, 2), 1).check_winograd(4), 0);
    // One channel more than what keeps sums in 32 bits.
    assert_eq!(Spec::conv([1, 3, 3, 3641], 1, three([0; 4]), 1).check_winograd(5), 0);
}

/// What is chosen by itself, where the machine has what it takes: the shapes of common networks.
#[test]
#[cfg(target_arch = "x86_64")]
fn winograd_is_chosen_where_it_pays() {
    let Ok(cpu) = Cpu::forced("avx2") else { return };
    let name = |size: usize, c: usize, m: usize| {
        Spec::conv([1, size, size, c], m, three([1; 4]), 1).s8(1).0.prepared(cpu).unwrap().name()
    };
    assert_eq!(name(28, 64, 64), "conv_s8_winograd_avx2");
    assert!(!name(2, 256, 256).contains("winograd"));
    assert!(!name(1, 64, 64).contains("winograd"));
}

#[test]
fn winograd4_over_every_remainder() {
    for c in (1..=36).chain([47, 48, 63, 64, 65, 80, 81]) {
        Spec::conv([1, 6, 5, c], 11, three([1; 4]), 1).check_winograd4(c as u64);
    }
    for m in (1..=35).chain([47, 49]) {
        Spec::conv([1, 5, 6, 9], m, three([1; 4]), 1).check_winograd4(m as u64);
    }
    for size in 1..=15 {
        Spec::conv([1, size, 16 - size, 8], 16, three([1; 4]), 1).check_winograd4(size as u64);
    }
    // All numbers of tiles that are multiplied at once.
    for tiles in 1..=26 {
        Spec::conv([1, 4, 4 * tiles, 8], 40, three([1; 4]), 1).check_winograd4(tiles as u64);
    }
}

#[test]
fn winograd4_at_every_border() {
    for pad in [[0; 4], [0, 1, 0, 1], [1, 0, 1, 0], [2, 1, 0, 3], [0, 0, 1, 1], [3, 4, 5, 6], [0, 7, 0, 0]] {
        for x in [[1, 5, 6, 5], [2, 4, 3, 12], [3, 7, 7, 20]] {
            let spec = Spec::conv(x, 10, three(pad), 1);
            spec.check_winograd4(5);
            spec.pitched(16, 3).check_winograd4(6);
        }
    }
    // One pixel; nothing but padding around it; no padding at all.
    Spec::conv([1, 1, 1, 4], 8, three([1; 4]), 1).check_winograd4(7);
    Spec::conv([1, 1, 1, 4], 8, three([4; 4]), 1).check_winograd4(8);
    Spec::conv([1, 3, 3, 4], 8, three([0; 4]), 1).check_winograd4(9);
}

#[test]
fn winograd4_of_many_tiles_and_chunks() {
    Spec::conv([1, 46, 47, 16], 24, three([1; 4]), 1).check_winograd4(1);
    Spec::conv([2, 33, 17, 40], 70, three([1; 4]), 1).check_winograd4(2);
    // Input channels in several chunks, output channels in several pieces.
    Spec::conv([1, 9, 11, 301], 150, three([1; 4]), 1).check_winograd4(3);
    Spec::conv([1, 7, 6, 700], 300, three([1, 0, 1, 2]), 1).check_winograd4(4);
}

#[test]
fn winograd4_epilogues() {
    let mut spec = Spec::conv([1, 9, 9, 70], 19, three([1; 4]), 1).pitched(0, 3);
    spec.clamp = true;
    spec.check_winograd4(7);
}
