//! A convolution to test: its operands, its definition, and what comes of both.

use crate::common::guard::{Case, f16s, f32s, le_f16, le_f32, le_s8, le_s32, s8s};
use cygnet_format::op::{self, Conv, ConvTranspose, Epilogue, Op, Unary, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::Algorithm;
use cygnet_kernels::conv::oracle::{
    Added, Reals, Requantization, Shape, conv_f32, conv_f32_winograd, conv_s8, conv_s8_added, conv_s8_reals,
};
use cygnet_kernels::conv::pack;
use cygnet_kernels::conv::transpose::Phases;
use half::f16;

/// A generator of numbers that are the same in every run (splitmix64).
pub struct Rng(u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn s8(&mut self, low: i8) -> i8 {
        // Full range, its ends often.
        match self.next() % 8 {
            0 => low,
            1 => 127,
            _ => ((self.next() % 255) as i16 - 127) as i8,
        }
    }

    /// In (-1, 1), with all the bits that f32 has.
    pub fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub shape: Shape,
    pub x_pitch: usize,
    pub y_pitch: usize,
    pub table: bool,
    /// Scale of what is added over that of the output, and more columns of its rows; s8.
    pub addend: Option<(f32, usize)>,
    pub clamp: bool,
    /// Magnitudes of s8 weights, in parts of 127.
    pub part: i8,
    /// What follows an f32 convolution.
    pub unary: Unary,
    /// What the step asks for.
    pub algorithm: op::Algorithm,
}

pub const WINDOW: Window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0; 4] };

impl Spec {
    /// A convolution over `x`; its output's extents follow.
    pub fn conv(x: [usize; 4], m: usize, window: Window, groups: usize) -> Self {
        let out = |i: usize| {
            let padded = x[i + 1] + window.pad[i] as usize + window.pad[i + 2] as usize;
            (padded - ((window.kernel[i] - 1) * window.dilation[i] + 1) as usize) / window.stride[i] as usize
                + 1
        };
        Self::of(Shape { x, y: [x[0], out(0), out(1), m], window, groups, transposed: false })
    }

    /// A transposed convolution with this much output padding.
    pub fn transposed(x: [usize; 4], m: usize, window: Window, groups: usize, more: usize) -> Self {
        let out = |i: usize| {
            let reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
            (x[i + 1] - 1) * window.stride[i] as usize + reach as usize + more
                - (window.pad[i] + window.pad[i + 2]) as usize
        };
        Self::of(Shape { x, y: [x[0], out(0), out(1), m], window, groups, transposed: true })
    }

    pub fn of(shape: Shape) -> Self {
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

    pub fn pitched(mut self, x: usize, y: usize) -> Self {
        (self.x_pitch, self.y_pitch) = (self.shape.x[3] + x, self.shape.y[3] + y);
        self
    }

    /// Something is added, whose scale is so many times the output's, and whose rows are as many columns longer.
    pub fn adding(mut self, scale: f32, more: usize) -> Self {
        self.addend = Some((scale, more));
        self
    }

    pub fn op(&self, lo: f32, hi: f32) -> Op {
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

    pub fn depth(&self) -> usize {
        self.shape.x[3] / self.shape.groups
    }

    pub fn taps(&self) -> usize {
        self.shape.window.kernel.map(|k| k as usize).iter().product()
    }

    pub fn weights_len(&self) -> usize {
        self.shape.y[3] * self.taps() * self.depth()
    }

    pub fn pads(&self) -> bool {
        self.shape.window.pad != [0; 4] && !self.shape.transposed
    }

    pub fn phases(&self) -> Option<Phases> {
        self.shape.transposed.then(|| Phases::new(&self.shape.window).unwrap())
    }

    /// The s8 case with random contents, and what it must yield.
    pub fn s8(&self, seed: u64) -> (Case, Vec<i8>) {
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
    pub fn reals(&self, seed: u64, scales: usize) -> (Case, Vec<f32>) {
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
    pub fn check_reals(&self, seed: u64) {
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
    pub fn f32(&self, seed: u64) -> (Case, Vec<f32>) {
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
    pub fn f16(&self, seed: u64) -> (Case, Vec<f32>) {
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
    pub fn check_s8(&self, seed: u64) {
        let (case, want) = self.s8(seed);
        if self.check_by(Algorithm::Fastest, &case, &want) {
            self.check_by(Algorithm::Direct, &case, &want);
        }
    }

    /// All algorithms against the definition; how many forms of Winograd's took part.
    pub fn check_winograd(&self, seed: u64) -> usize {
        let (case, want) = self.s8(seed);
        assert!(!self.check_by(Algorithm::Direct, &case, &want));
        let forms = [Algorithm::Winograd2, Algorithm::Winograd4].into_iter();
        forms.filter(|&algorithm| self.check_by(algorithm, &case, &want)).count()
    }

    /// Whether Winograd's algorithm took part.
    pub fn check_by(&self, algorithm: Algorithm, case: &Case, want: &[i8]) -> bool {
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

    pub fn check_f32(&self, seed: u64) {
        let (case, want) = self.f32(seed);
        for (isa, name, got) in case.run() {
            let got = f32s(&got);
            if let Some(i) = got.iter().zip(&want).position(|(a, b)| a.to_bits() != b.to_bits()) {
                panic!("{name} ({isa}) at {i}: {} where {} is right; {self:?}", got[i], want[i]);
            }
        }
    }

    /// An f32 step that asks for Winograd's algorithm.
    pub fn check_winograd4(mut self, seed: u64) {
        self.algorithm = op::Algorithm::Winograd4x4;
        self.check_f32(seed);
    }

    pub fn check_f16(&self, seed: u64) {
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

    pub fn check(&self) {
        self.check_s8(1);
        self.check_f32(2);
        self.check_f16(3);
    }
}

pub fn isa_computes_in_half(isa: &str) -> bool {
    ["fp16", "dotprod", "dotprod-in-order", "i8mm"].contains(&isa)
}

pub fn square(kernel: u32, stride: u32, pad: u32) -> Window {
    Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pad: [pad; 4] }
}

/// A window of 3 x 3, stride 1.
pub fn three(pad: [u32; 4]) -> Window {
    Window { kernel: [3; 2], stride: [1; 2], dilation: [1; 2], pad }
}
