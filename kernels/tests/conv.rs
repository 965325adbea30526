//! Convolutions of every element type against their definitions, on every instruction set.

mod common;

use common::guard::{Case, f16s, f32s, le_f16, le_f32, le_s8, le_s32, s8s};
use cygnet_format::op::{self, Conv, ConvTranspose, Epilogue, Map, Op, Unary, UnaryKind, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::conv::oracle::{
    Added, Reals, Requantization, Shape, conv_f32, conv_f32_winograd, conv_s8, conv_s8_added, conv_s8_reals,
};
use cygnet_kernels::conv::pack;
use cygnet_kernels::conv::transpose::Phases;
use cygnet_kernels::{Algorithm, Cpu};
use half::f16;
use proptest::prelude::*;

/// A generator of numbers that are the same in every run (splitmix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn s8(&mut self, low: i8) -> i8 {
        // Full range, its ends often.
        match self.next() % 8 {
            0 => low,
            1 => 127,
            _ => ((self.next() % 255) as i16 - 127) as i8,
        }
    }

    /// In (-1, 1), with all the bits that f32 has.
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

#[derive(Clone, Copy, Debug)]
struct Spec {
    shape: Shape,
    x_pitch: usize,
    y_pitch: usize,
    table: bool,
    /// Scale of what is added over that of the output, and more columns of its rows; s8.
    addend: Option<(f32, usize)>,
    clamp: bool,
    /// Magnitudes of s8 weights, in parts of 127.
    part: i8,
    /// What follows an f32 convolution.
    unary: Unary,
    /// What the step asks for.
    algorithm: op::Algorithm,
}

const WINDOW: Window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0; 4] };

impl Spec {
    /// A convolution over `x`; its output's extents follow.
    fn conv(x: [usize; 4], m: usize, window: Window, groups: usize) -> Self {
        let out = |i: usize| {
            let padded = x[i + 1] + window.pad[i] as usize + window.pad[i + 2] as usize;
            (padded - ((window.kernel[i] - 1) * window.dilation[i] + 1) as usize) / window.stride[i] as usize
                + 1
        };
        Self::of(Shape { x, y: [x[0], out(0), out(1), m], window, groups, transposed: false })
    }

    /// A transposed convolution with this much output padding.
    fn transposed(x: [usize; 4], m: usize, window: Window, groups: usize, more: usize) -> Self {
        let out = |i: usize| {
            let reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
            (x[i + 1] - 1) * window.stride[i] as usize + reach as usize + more
                - (window.pad[i] + window.pad[i + 2]) as usize
        };
        Self::of(Shape { x, y: [x[0], out(0), out(1), m], window, groups, transposed: true })
    }

    fn of(shape: Shape) -> Self {
        Self {
            shape,
            x_pitch: shape.x[3],
            y_pitch: shape.y[3],
            table: false,
            addend: None,
            clamp: false,
            part: 1,
            unary: Unary::IDENTITY,
            algorithm: op::Algorithm::Direct,
        }
    }

    fn pitched(mut self, x: usize, y: usize) -> Self {
        (self.x_pitch, self.y_pitch) = (self.shape.x[3] + x, self.shape.y[3] + y);
        self
    }

    /// Something is added, whose scale is so many times the output's, and whose rows are as many columns longer.
    fn adding(mut self, scale: f32, more: usize) -> Self {
        self.addend = Some((scale, more));
        self
    }

    fn op(&self, lo: f32, hi: f32) -> Op {
        let (window, groups) = (self.shape.window, self.shape.groups as u32);
        let epilogue = Epilogue { lo, hi, unary: self.unary };
        if self.shape.transposed {
            Op::ConvTranspose(ConvTranspose { window, groups, epilogue })
        } else {
            Op::Conv(Conv {
                window,
                groups,
                epilogue,
                algorithm: self.algorithm,
                addend_scale: self.addend.map_or(0.0, |(scale, _)| scale),
            })
        }
    }

    fn depth(&self) -> usize {
        self.shape.x[3] / self.shape.groups
    }

    fn taps(&self) -> usize {
        self.shape.window.kernel.map(|k| k as usize).iter().product()
    }

    fn weights_len(&self) -> usize {
        self.shape.y[3] * self.taps() * self.depth()
    }

    fn pads(&self) -> bool {
        self.shape.window.pad != [0; 4] && !self.shape.transposed
    }

    fn phases(&self) -> Option<Phases> {
        self.shape.transposed.then(|| Phases::new(&self.shape.window).unwrap())
    }

    /// The s8 case with random contents, and what it must yield.
    fn s8(&self, seed: u64) -> (Case, Vec<i8>) {
        let mut rng = Rng(seed);
        let (m, groups, depth, k) =
            (self.shape.y[3], self.shape.groups, self.depth(), self.taps() * self.depth());
        let x: Vec<i8> = (0..self.shape.x.iter().product()).map(|_| rng.s8(-128)).collect();
        let mut w: Vec<i8> = (0..self.weights_len()).map(|_| rng.s8(-127) / self.part).collect();
        // None, one or many of a channel are -128, which two products in 16 bits do not allow.
        let least = if self.part == 1 { seed % 3 } else { 0 };
        for i in 0..least * w.len() as u64 / k as u64 {
            let at = if least == 1 { i as usize * k } else { 0 } + (rng.next() % k as u64) as usize;
            w[at] = -128;
        }
        let bias: Vec<i32> = (0..m).map(|_| (rng.next() % 20_000) as i32 - 10_000).collect();
        let spread = 3.0 / (70.0 * 70.0 * (k as f32).sqrt()) * 100.0;
        let multiplier: Vec<f32> = (0..m).map(|_| (rng.real() + 1.1) * spread).collect();
        let zero_in = (rng.next() % 256) as i32 - 128;
        let zero_out = (rng.next() % 100) as i32 - 50;
        let bounds = if self.clamp { [-90.0, 77.0] } else { [-128.0, 127.0] };
        let table: Vec<i8> = (0..256).map(|_| rng.s8(-128)).collect();

        let q = Requantization { multiplier: &multiplier, zero_in, zero_out, bounds };
        let added: Vec<i8> = (0..self.shape.y.iter().product()).map(|_| rng.s8(-128)).collect();
        let zero_added = (rng.next() % 256) as i32 - 128;
        let mut want = match self.addend {
            None => conv_s8(&self.shape, &x, &w, &bias, &q),
            Some((scale, _)) => {
                let added = Added { r: &added, zero: zero_added, scale };
                conv_s8_added(&self.shape, &x, &w, &bias, &q, &added)
            }
        };
        if self.table {
            want.iter_mut().for_each(|v| *v = table[(i16::from(*v) + 128) as usize]);
        }

        let (packed, folded) = match self.phases() {
            Some(p) => (p.pack_s8(&w, m, depth, groups), p.bias_s8(&bias, &w, depth, groups, zero_in)),
            None => {
                let folded = pack::fold_zero_point(&bias, &w, k, zero_in);
                (pack::pack_s8(&w, m, self.taps(), depth, groups), pack::pad_channels(&folded, groups))
            }
        };
        let multiplier = pack::pad_channels(&multiplier, groups);
        let quant = |zero_point| Some(Quant { scale: 0.5, zero_point });
        let mut case =
            Case::new(self.op(bounds[0], bounds[1]), DType::S8, &self.shape.y, self.y_pitch, quant(zero_out))
                .input(DType::S8, &self.shape.x, self.x_pitch, quant(zero_in), le_s8(&x))
                .constant(DType::Packed, &[packed.len()], packed)
                .constant(DType::S32, &[folded.len()], le_s32(&folded))
                .constant(DType::F32, &[multiplier.len()], le_f32(&multiplier));
        let c = self.shape.x[3].next_multiple_of(4);
        case =
            if self.pads() { case.constant(DType::S8, &[c], vec![zero_in as u8; c]) } else { case.absent() };
        if self.table {
            case = case.constant(DType::S8, &[256], le_s8(&table));
        }
        if let Some((_, more)) = self.addend {
            case = if self.table { case } else { case.absent() }.absent();
            let pitch = self.shape.y[3] + more;
            case = case.input(DType::S8, &self.shape.y, pitch, quant(zero_added), le_s8(&added));
        }
        (case, want)
    }

    /// The s8 case whose results are real numbers, with so many scales of rows, and what it must yield.
    fn reals(&self, seed: u64, scales: usize) -> (Case, Vec<f32>) {
        let mut rng = Rng(seed);
        let (m, depth, k) = (self.shape.y[3], self.depth(), self.taps() * self.depth());
        let x: Vec<i8> = (0..self.shape.x.iter().product()).map(|_| rng.s8(-128)).collect();
        let w: Vec<i8> = (0..self.weights_len()).map(|_| rng.s8(-127)).collect();
        let real = |rng: &mut Rng, n: usize| (0..n).map(|_| rng.real()).collect::<Vec<f32>>();
        let (scale, bias, rows) = (real(&mut rng, m), real(&mut rng, m), real(&mut rng, scales));
        let zero_in = (rng.next() % 256) as i32 - 128;
        let bounds = if self.clamp { [-1e4, 2e4] } else { [f32::NEG_INFINITY, f32::INFINITY] };
        let q =
            Reals { zero_in, scale: &scale, bias: &bias, rows: (scales > 0).then_some(&rows[..]), bounds };
        let want = conv_s8_reals(&self.shape, &x, &w, &q);
        let folded = pack::pad_channels(&pack::fold_zero_point(&vec![0; m], &w, k, zero_in), 1);
        let packed = pack::pack_s8(&w, m, self.taps(), depth, 1);
        let quant = Some(Quant { scale: 0.5, zero_point: zero_in });
        let mut case =
            Case::new(self.op(bounds[0], bounds[1]), DType::F32, &self.shape.y, self.y_pitch, None)
                .input(DType::S8, &self.shape.x, self.x_pitch, quant, le_s8(&x))
                .constant(DType::Packed, &[packed.len()], packed)
                .constant(DType::S32, &[folded.len()], le_s32(&folded))
                .constant(DType::F32, &[m], le_f32(&scale));
        let c = self.shape.x[3].next_multiple_of(4);
        case =
            if self.pads() { case.constant(DType::S8, &[c], vec![zero_in as u8; c]) } else { case.absent() };
        case = if scales > 0 {
            case.input(DType::F32, &[scales], scales, None, le_f32(&rows))
        } else {
            case.absent()
        };
        (case.constant(DType::F32, &[m], le_f32(&bias)), want)
    }

    /// Results that are real numbers: without scales of rows, with one, with one for each.
    fn check_reals(&self, seed: u64) {
        let [n, h, w, _] = self.shape.y;
        for scales in [0, 1, n * h * w] {
            let (case, want) = self.reals(seed, scales);
            for (isa, name, got) in case.run() {
                let got = f32s(&got);
                if let Some(i) = got.iter().zip(&want).position(|(a, b)| a.to_bits() != b.to_bits()) {
                    panic!("{name} ({isa}) at {i}: {} where {} is right; {self:?}", got[i], want[i]);
                }
            }
        }
    }

    /// The f32 case with random contents, and what it must yield.
    fn f32(&self, seed: u64) -> (Case, Vec<f32>) {
        let mut rng = Rng(seed);
        let (m, groups, depth) = (self.shape.y[3], self.shape.groups, self.depth());
        let x: Vec<f32> = (0..self.shape.x.iter().product()).map(|_| rng.real()).collect();
        let w: Vec<f32> = (0..self.weights_len()).map(|_| rng.real()).collect();
        let bias: Vec<f32> = (0..m).map(|_| rng.real()).collect();
        let bounds = if self.clamp { [0.0, 0.75] } else { [f32::NEG_INFINITY, f32::INFINITY] };
        let define = match self.algorithm {
            op::Algorithm::Direct => conv_f32,
            op::Algorithm::Winograd4x4 => conv_f32_winograd,
        };
        let want = define(&self.shape, &x, &w, &bias, bounds);
        let packed = match self.phases() {
            Some(p) => p.pack_f32(&w, m, depth, groups),
            None => pack::pack_f32(&w, m, self.taps(), depth, groups),
        };
        let padded = pack::pad_channels(&bias, groups);
        let mut case =
            Case::new(self.op(bounds[0], bounds[1]), DType::F32, &self.shape.y, self.y_pitch, None)
                .input(DType::F32, &self.shape.x, self.x_pitch, None, le_f32(&x))
                .constant(DType::Packed, &[packed.len()], packed)
                .constant(DType::F32, &[padded.len()], le_f32(&padded));
        if self.pads() {
            case = case.absent().constant(DType::F32, &[self.shape.x[3]], vec![0; 4 * self.shape.x[3]]);
        }
        (case, want)
    }

    /// The f16 case, and what it yields when every operation is done in f32 and rounded once.
    fn f16(&self, seed: u64) -> (Case, Vec<f32>) {
        let mut rng = Rng(seed);
        let (m, groups, depth) = (self.shape.y[3], self.shape.groups, self.depth());
        let x: Vec<f16> = (0..self.shape.x.iter().product()).map(|_| f16::from_f32(rng.real())).collect();
        let w: Vec<f16> = (0..self.weights_len()).map(|_| f16::from_f32(rng.real())).collect();
        let bias: Vec<f32> = (0..m).map(|_| rng.real()).collect();
        let bounds = [f32::NEG_INFINITY, f32::INFINITY];
        let wide = |v: &[f16]| v.iter().map(|v| v.to_f32()).collect::<Vec<_>>();
        let want = conv_f32(&self.shape, &wide(&x), &wide(&w), &bias, bounds);
        let packed = match self.phases() {
            Some(p) => p.pack_f16(&w, m, depth, groups),
            None => pack::pack_f16(&w, m, self.taps(), depth, groups),
        };
        let padded = pack::pad_channels(&bias, groups);
        let mut case =
            Case::new(self.op(bounds[0], bounds[1]), DType::F16, &self.shape.y, self.y_pitch, None)
                .input(DType::F16, &self.shape.x, self.x_pitch, None, le_f16(&x))
                .constant(DType::Packed, &[packed.len()], packed)
                .constant(DType::F32, &[padded.len()], le_f32(&padded));
        if self.pads() {
            case = case.absent().constant(DType::F16, &[self.shape.x[3]], vec![0; 2 * self.shape.x[3]]);
        }
        (case, want)
    }

    /// As a program would run, and directly where that is something else.
    fn check_s8(&self, seed: u64) {
        let (case, want) = self.s8(seed);
        if self.check_by(Algorithm::Fastest, &case, &want) {
            self.check_by(Algorithm::Direct, &case, &want);
        }
    }

    /// All algorithms against the definition; how many forms of Winograd's took part.
    fn check_winograd(&self, seed: u64) -> usize {
        let (case, want) = self.s8(seed);
        assert!(!self.check_by(Algorithm::Direct, &case, &want));
        let forms = [Algorithm::Winograd2, Algorithm::Winograd4].into_iter();
        forms.filter(|&algorithm| self.check_by(algorithm, &case, &want)).count()
    }

    /// Whether Winograd's algorithm took part.
    fn check_by(&self, algorithm: Algorithm, case: &Case, want: &[i8]) -> bool {
        let mut took_part = false;
        for (isa, name, got) in case.clone().by(algorithm).run() {
            let got = s8s(&got);
            if let Some(i) = got.iter().zip(want).position(|(a, b)| a != b) {
                panic!("{name} ({isa}) at {i}: {} where {} is right; {self:?}", got[i], want[i]);
            }
            took_part |= name.contains("winograd");
        }
        took_part
    }

    fn check_f32(&self, seed: u64) {
        let (case, want) = self.f32(seed);
        for (isa, name, got) in case.run() {
            let got = f32s(&got);
            if let Some(i) = got.iter().zip(&want).position(|(a, b)| a.to_bits() != b.to_bits()) {
                panic!("{name} ({isa}) at {i}: {} where {} is right; {self:?}", got[i], want[i]);
            }
        }
    }

    /// An f32 step that asks for Winograd's algorithm.
    fn check_winograd4(mut self, seed: u64) {
        self.algorithm = op::Algorithm::Winograd4x4;
        self.check_f32(seed);
    }

    fn check_f16(&self, seed: u64) {
        let (case, want) = self.f16(seed);
        // Operands are below 1 in magnitude. Half-precision sums of up to 128 products err by less than 2^-11 for
        // each addition to a sum of some sqrt(128).
        let k = (self.taps() * self.depth()) as f32;
        let tolerance = 2.0_f32.powi(-11) * (2.0 * k + 4.0);
        for (isa, name, got) in case.run() {
            for (i, (got, want)) in f16s(&got).iter().zip(&want).enumerate() {
                let error = (got.to_f32() - want).abs();
                let exact = !isa_computes_in_half(isa);
                let right = if exact { *got == f16::from_f32(*want) } else { error <= tolerance };
                assert!(right, "{name} ({isa}) at {i}: {got} where {want} is right; {self:?}");
            }
        }
    }

    fn check(&self) {
        self.check_s8(1);
        self.check_f32(2);
        self.check_f16(3);
    }
}

fn isa_computes_in_half(isa: &str) -> bool {
    ["fp16", "dotprod", "dotprod-in-order", "i8mm"].contains(&isa)
}

fn square(kernel: u32, stride: u32, pad: u32) -> Window {
    Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pad: [pad; 4] }
}

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

/// A unary function after a convolution gives the bits of the same function as a step of its own.
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

/// A window of 3 x 3, stride 1.
fn three(pad: [u32; 4]) -> Window {
    Window { kernel: [3; 2], stride: [1; 2], dilation: [1; 2], pad }
}

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

/// Small extents, and now and then a hostile one.
fn extent() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0_u32..5, 1 => Just(u32::MAX), 1 => any::<u32>(), 1 => Just(1 << 31)]
}

fn window() -> impl Strategy<Value = Window> {
    let pair = || prop::array::uniform2(extent());
    (pair(), pair(), pair(), prop::array::uniform4(extent()))
        .prop_map(|(kernel, stride, dilation, pad)| Window { kernel, stride, dilation, pad })
}

/// Random cases: fewer where an emulator runs them.
const CASES: u32 = if cfg!(target_arch = "aarch64") { 25 } else { 200 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the parameters say, preparing neither panics nor takes for ever.
    #[test]
    fn hostile_parameters_never_panic(
        window in window(),
        groups in extent(),
        lo in any::<f32>(),
        hi in any::<f32>(),
        transposed in any::<bool>(),
        dtype in prop::sample::select(vec![DType::S8, DType::F32, DType::F16]),
        out in prop::array::uniform3(1_usize..6),
        lengths in prop::array::uniform3(1_usize..600),
        algorithm in prop::sample::select(op::Algorithm::ALL),
    ) {
        let epilogue = Epilogue { lo, hi, unary: Unary::IDENTITY };
        let op = if transposed {
            Op::ConvTranspose(ConvTranspose { window, groups, epilogue })
        } else {
            Op::Conv(Conv { window, groups, epilogue, algorithm, addend_scale: 0.0 })
        };
        let quant = Some(Quant { scale: 1.0, zero_point: 0 });
        let bias = if dtype == DType::S8 { DType::S32 } else { DType::F32 };
        let case = Case::new(op, dtype, &[1, out[0], out[1], out[2]], out[2], quant)
            .input(dtype, &[1, 4, 3, 4], 4, quant, vec![0; 48 * dtype.size()])
            .constant(DType::Packed, &[lengths[0]], vec![0; lengths[0]])
            .constant(bias, &[lengths[1]], vec![0; lengths[1] * 4])
            .constant(DType::F32, &[lengths[2]], vec![0; lengths[2] * 4])
            .constant(dtype, &[4], vec![0; 4 * dtype.size()]);
        let _ = case.prepared(Cpu::detect());
    }

    /// Random convolutions by Winograd's algorithm against the definition.
    #[test]
    fn random_winograd(
        pad in prop::array::uniform4(0_u32..4),
        size in prop::array::uniform2(1_usize..14),
        (images, depth, channels) in (1_usize..3, 1_usize..80, 1_usize..40),
        pitches in prop::array::uniform2(0_usize..20),
        table in any::<bool>(),
        seed in any::<u64>(),
    ) {
        prop_assume!((0..2).all(|i| size[i] + (pad[i] + pad[i + 2]) as usize >= 3));
        let mut spec = Spec::conv([images, size[0], size[1], depth], channels, three(pad), 1);
        spec = spec.pitched(pitches[0], pitches[1]);
        spec.table = table;
        spec.check_winograd(seed);
    }

    /// Random f32 convolutions by Winograd's algorithm against its definition.
    #[test]
    fn random_winograd4(
        pad in prop::array::uniform4(0_u32..4),
        size in prop::array::uniform2(1_usize..18),
        (images, depth, channels) in (1_usize..3, 1_usize..150, 1_usize..40),
        pitches in prop::array::uniform2(0_usize..20),
        clamp in any::<bool>(),
        seed in any::<u64>(),
    ) {
        prop_assume!((0..2).all(|i| size[i] + (pad[i] + pad[i + 2]) as usize >= 3));
        let mut spec = Spec::conv([images, size[0], size[1], depth], channels, three(pad), 1);
        spec = spec.pitched(pitches[0], pitches[1]);
        spec.clamp = clamp;
        spec.check_winograd4(seed);
    }

    /// Random convolutions of both directions against the definition.
    #[test]
    fn random_windows(
        kernel in prop::array::uniform2(1_u32..5),
        stride in prop::array::uniform2(1_u32..4),
        dilation in prop::array::uniform2(1_u32..4),
        pad in prop::array::uniform4(0_u32..4),
        size in prop::array::uniform3(1_usize..12),
        (groups, depth, per_group) in (1_usize..4, 1_usize..10, 1_usize..12),
        pitches in prop::array::uniform2(0_usize..6),
        transposed in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let window = Window { kernel, stride, dilation, pad };
        let x = [1 + size[2] % 2, size[0], size[1], groups * depth];
        let reach = |i: usize| ((kernel[i] - 1) * dilation[i] + 1) as usize;
        let pads = |i: usize| (pad[i] + pad[i + 2]) as usize;
        let spec = if transposed {
            prop_assume!((0..2).all(|i| (x[i + 1] - 1) * stride[i] as usize + reach(i) > pads(i)));
            Spec::transposed(x, groups * per_group, window, groups, size[2] % 3)
        } else {
            prop_assume!((0..2).all(|i| x[i + 1] + pads(i) >= reach(i)));
            Spec::conv(x, groups * per_group, window, groups)
        }.pitched(pitches[0], pitches[1]);
        spec.check_s8(seed);
        spec.check_f32(seed);
    }
}
