//! Depthwise convolutions of every element type against their definition, on every instruction set, between guard pages.

mod common;

use common::guard::{Case, le_f16, le_f32, le_s8, le_s32};
use common::rig::Random;
use cygnet_format::op::{DepthwiseConv, Epilogue, Op, Unary, UnaryKind, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::depthwise::{oracle, pack};
use half::f16;

/// A convolution of any element type.
#[derive(Clone, Copy, Debug)]
struct Spec {
    x: [usize; 4],
    window: Window,
    /// Excess of the pitches of input and output over C.
    excess: [usize; 2],
}

/// What biases and multipliers of s8 are like.
#[derive(Clone, Copy, Debug)]
enum Sums {
    /// As in networks.
    Usual,
    /// Beyond 2^22.
    Large,
    /// Up to the last sum below 2^22 and the last product that 16 bits hold with any zero point.
    Verge,
}

const EVERY_SUM: [Sums; 3] = [Sums::Usual, Sums::Large, Sums::Verge];

fn square(kernel: u32, stride: u32, pad: [u32; 4]) -> Window {
    Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pad }
}

fn padded<T: Copy>(values: &[T], excess: T) -> Vec<T> {
    let mut values = values.to_vec();
    values.resize(pack::padded_channels(values.len()), excess);
    values
}

impl Spec {
    fn new(x: [usize; 4], window: Window) -> Self {
        Self { x, window, excess: [0, 0] }
    }

    /// Whether the window fits the padded input.
    fn fits(&self) -> bool {
        (0..2).all(|i| {
            let reach = (self.window.kernel[i] - 1) * self.window.dilation[i] + 1;
            reach <= self.x[1 + i] as u32 + self.window.pad[i] + self.window.pad[2 + i]
        })
    }

    fn y(&self) -> [usize; 4] {
        let [oh, ow] = oracle::output_size(&self.window, self.x[1], self.x[2]);
        [self.x[0], oh, ow, self.x[3]]
    }

    fn taps(&self) -> usize {
        self.window.kernel.iter().product::<u32>() as usize
    }

    fn case(&self, dtype: DType, epilogue: Epilogue, quant: Option<Quant>, x: Vec<u8>) -> Case {
        let op = Op::DepthwiseConv(DepthwiseConv { window: self.window, epilogue });
        let c = self.x[3];
        Case::new(op, dtype, &self.y(), c + self.excess[1], quant).input(
            dtype,
            &self.x,
            c + self.excess[0],
            quant,
            x,
        )
    }

    fn same(&self, isa: &str, name: &str, got: &[u8], want: &[u8]) {
        if let Some(i) = got.iter().zip(want).position(|(a, b)| a != b) {
            panic!("{name} ({isa}) at byte {i}: {} where {} is right; {self:?}", got[i], want[i]);
        }
    }

    fn check(&self, case: &Case, want: &[u8]) {
        case.run().iter().for_each(|(isa, name, got)| self.same(isa, name, got, want));
    }

    fn check_s8(&self, kind: Sums, table: bool, seed: u64) {
        let mut rng = Random(seed);
        let c = self.x[3];
        let mut byte = |low: i8| match rng.next() % 4 {
            0 => low,
            1 => 127,
            _ => ((rng.next() % 255) as i16 - 127) as i8,
        };
        let x: Vec<i8> = (0..self.x.iter().product()).map(|_| byte(-128)).collect();
        let mut w: Vec<i8> = (0..self.taps() * c).map(|_| byte(-127)).collect();
        // None, one or two of a channel are -128, which two products in 16 bits do not allow.
        for i in 0..seed as usize % 3 {
            (0..c).for_each(|channel| w[(channel * 5 + 1 + i) % self.taps() * c + channel] = -128);
        }
        let pad: Vec<i8> = (0..c).map(|_| byte(-128)).collect();
        let lookup: Vec<i8> = (0..256).map(|_| byte(-128)).collect();
        let most = |channel: usize| {
            w.iter().skip(channel).step_by(c).map(|w| 128 * i32::from(*w).abs()).sum::<i32>()
        };
        let (mut bias, mut multiplier) = (Vec::new(), Vec::new());
        for channel in 0..c {
            let (b, m) = match kind {
                Sums::Usual => ((rng.next() % 40_000) as i32 - 20_000, 0.5 / most(channel).max(1) as f32),
                Sums::Large => ((rng.next() % (1 << 28)) as i32, 1.0 / (1 << 20) as f32),
                Sums::Verge => ((1 << 22) - 1 - most(channel), 32637.0 / (1 << 22) as f32),
            };
            bias.push(if rng.next().is_multiple_of(2) { b } else { -b });
            // The usual products reach the bounds often, and halves.
            let factor = if matches!(kind, Sums::Usual) { 512.0 } else { 1.0 };
            multiplier.push(if rng.next().is_multiple_of(4) && factor > 1.0 { 0.5 } else { m * factor });
        }
        let zero_point = (rng.next() % 256) as i32 - 128;
        let bounds = if rng.next().is_multiple_of(2) { [-128.0, 127.0] } else { [-77.0, 100.0] };
        let mut want = oracle::s8(&x, self.x, &self.window, &w, &bias, &pad, &multiplier, bounds, zero_point);
        let quant = Some(Quant { scale: 0.5, zero_point });
        let epilogue = Epilogue { lo: bounds[0], hi: bounds[1], unary: Unary::IDENTITY };
        let packed = pack::pack_s8(&w, c);
        let channels = pack::padded_channels(c);
        let mut case = self
            .case(DType::S8, epilogue, quant, le_s8(&x))
            .constant(DType::Packed, &[packed.len()], packed)
            .constant(DType::S32, &[channels], le_s32(&padded(&bias, 0)))
            .constant(DType::F32, &[channels], le_f32(&padded(&multiplier, 0.0)))
            .constant(DType::S8, &[channels], le_s8(&padded(&pad, 99)));
        if table {
            case = case.constant(DType::S8, &[256], le_s8(&lookup));
            want.iter_mut().for_each(|q| *q = lookup[(i32::from(*q) + 128) as usize]);
        }
        self.check(&case, &le_s8(&want));
    }

    /// f32, or f16, whose results are those of f32 rounded once but where they are computed in half.
    fn check_float(&self, half: bool, unary: bool, seed: u64) {
        let mut rng = Random(seed);
        let c = self.x[3];
        let mut values = |n: usize| -> Vec<f32> {
            let values = rng.f32s(n).into_iter();
            if half { values.map(|v| f16::from_f32(v).to_f32()).collect() } else { values.collect() }
        };
        let x = values(self.x.iter().product());
        let (w, pad, bias) = (values(self.taps() * c), values(c), values(c));
        let bounds = [-20.0, 25.0];
        let mut want = oracle::f32(&x, self.x, &self.window, &w, &bias, &pad, bounds);
        let function = if unary { UnaryKind::Abs } else { UnaryKind::Identity };
        let epilogue =
            Epilogue { lo: bounds[0], hi: bounds[1], unary: Unary { kind: function, a: 0.0, b: 0.0 } };
        if unary {
            want.iter_mut().for_each(|v| *v = v.abs());
        }
        let narrow = |v: &[f32]| v.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>();
        let bytes = |v: &[f32]| if half { le_f16(&narrow(v)) } else { le_f32(v) };
        let packed = if half { pack::pack_f16(&narrow(&w), c) } else { pack::pack_f32(&w, c) };
        let dtype = if half { DType::F16 } else { DType::F32 };
        let channels = pack::padded_channels(c);
        let case = self
            .case(dtype, epilogue, None, bytes(&x))
            .constant(DType::Packed, &[packed.len()], packed)
            .constant(DType::F32, &[channels], le_f32(&padded(&bias, f32::NAN)))
            .absent()
            .constant(dtype, &[channels], bytes(&padded(&pad, f32::NAN)));
        let most = {
            let abs = |v: &[f32]| v.iter().map(|v| v.abs()).collect::<Vec<_>>();
            let none = [f32::NEG_INFINITY, f32::INFINITY];
            oracle::f32(&abs(&x), self.x, &self.window, &abs(&w), &abs(&bias), &abs(&pad), none)
        };
        let want_bytes = bytes(&want);
        for (isa, name, got) in case.run() {
            if !name.ends_with("_fp16") {
                self.same(isa, name, &got, &want_bytes);
                continue;
            }
            for (i, got) in got.as_chunks().0.iter().enumerate() {
                let (got, bound) = (f16::from_le_bytes(*got).to_f32(), self.bound_in_half(most[i], want[i]));
                assert!((got - want[i]).abs() <= bound, "{name} at {i}: {got}, not {}; {self:?}", want[i]);
            }
        }
    }

    /// The bound of docs/arithmetic.md, section 8, `most` being the sum of the magnitudes of bias and products.
    fn bound_in_half(&self, most: f32, want: f32) -> f32 {
        let (u, taps) = (2.0_f32.powi(-11), self.taps() as f32);
        let block = taps.min(128.0) * u;
        most * (block / (1.0 - block) + (taps / 128.0 + 2.0) * 2.0_f32.powi(-24))
            + (taps + 1.0) * 2.0_f32.powi(-25)
            + want.abs() * u
    }

    fn check_all(&self, seed: u64) {
        self.check_s8(EVERY_SUM[seed as usize % 3], seed % 4 == 1, seed);
        self.check_float(false, seed % 5 == 1, seed);
        self.check_float(true, seed % 5 == 2, seed);
    }
}

const CHANNELS: [usize; 13] = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 33, 69];

/// Small images of all extents and their remainders, with every kind of padding.
#[test]
fn small_images() {
    let extents = [[1, 1], [2, 3], [3, 2], [4, 5], [5, 7], [7, 7], [8, 6], [9, 11], [13, 20], [20, 14]];
    let pads = [[1, 1, 1, 1], [0, 0, 0, 0], [2, 2, 2, 2], [0, 0, 1, 1], [1, 4, 0, 3], [9, 7, 8, 9]];
    let mut seed = 0;
    for kernel in [3, 5] {
        for stride in [1, 2, 3] {
            for (i, [h, w]) in extents.into_iter().enumerate() {
                let c = CHANNELS[seed as usize % CHANNELS.len()];
                let mut spec = Spec::new(
                    [1 + i % 2, h, w, c],
                    square(kernel, stride, pads[(i + seed as usize / 7) % 6]),
                );
                spec.excess = [[0, 0], [32, 5], [3, 48]][seed as usize % 3];
                if spec.fits() {
                    spec.check_all(seed);
                }
                seed += 1;
            }
        }
    }
}

/// Images that are worked on in place but at their borders, and wider ones than a patch takes.
#[test]
fn wide_images() {
    for (i, c) in CHANNELS.into_iter().enumerate() {
        let kernel = [3, 5][i % 2];
        let stride = [1, 2][i / 2 % 2];
        let pad = [kernel / 2, 0, 9][i % 3];
        let width = [29, 54, 67, 131][i % 4] + i;
        let mut spec = Spec::new([1 + i % 2, 5 + i % 3, width, c], square(kernel, stride, [pad; 4]));
        spec.excess = [[16, 1], [0, 0]][i % 2];
        spec.check_all(i as u64);
    }
}

/// Rows without an interior that are longer than any table of theirs.
#[test]
fn padding_far_wider_than_the_image() {
    for c in [8, 21] {
        Spec::new([1, 2, 1, c], square(3, 1, [1, 900, 1, 900])).check_all(c as u64);
        Spec::new([1, 1, 2, c], square(5, 2, [450, 3, 450, 4])).check_all(c as u64);
    }
}

/// Many tiles, by rows and by channels.
#[test]
fn tiles_meet_without_seams() {
    Spec::new([2, 40, 41, 48], square(3, 1, [1; 4])).check_all(3);
    Spec::new([1, 47, 30, 40], square(5, 2, [2; 4])).check_all(4);
    Spec::new([2, 7, 7, 1000], square(3, 1, [1; 4])).check_all(5);
}

#[test]
fn sums_of_every_size() {
    for (i, kind) in EVERY_SUM.into_iter().enumerate() {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            let spec = Spec::new([1, 9, 10, 40], square(kernel, stride, [kernel / 2; 4]));
            spec.check_s8(kind, false, i as u64);
            spec.check_s8(kind, true, 10 + i as u64);
        }
    }
}

/// Windows that go by lists of addresses.
#[test]
fn other_windows() {
    let window = |kernel, stride, dilation, pad| Window { kernel, stride, dilation, pad };
    let windows = [
        window([7, 7], [1, 1], [1, 1], [3, 3, 3, 3]),
        window([3, 3], [1, 1], [2, 2], [2, 2, 2, 2]),
        window([3, 3], [2, 1], [1, 1], [1, 1, 1, 1]),
        window([5, 3], [1, 1], [1, 1], [2, 1, 2, 1]),
        window([1, 4], [1, 3], [1, 2], [0, 1, 0, 0]),
        window([1, 1], [1, 1], [1, 1], [0, 0, 0, 0]),
    ];
    for (i, window) in windows.into_iter().enumerate() {
        for c in [5, 16, 41] {
            Spec::new([1 + i % 2, 9, 13, c], window).check_all((i * 50 + c) as u64);
        }
    }
}
