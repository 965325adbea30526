//! Convolutions by sparse weights against the definition and the dense step, on every instruction set, and refusals of
//! whatever lists may hold.

mod common;

use common::guard::{Case, le_f32, le_s8, le_s32, s8s};
use common::rig::Random;
use cygnet_format::op::GroupKind::{Fours, Pairs};
use cygnet_format::op::{Algorithm, Conv, Epilogue, GroupKind, Op, SparseConv, Unary, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::conv::oracle::{Requantization, Shape, conv_s8};
use cygnet_kernels::conv::pack;
use cygnet_kernels::sparse::pack::{Lists, MAX_K, pack as pack_lists};
use cygnet_kernels::{Cpu, PrepareError};
use proptest::prelude::*;

const POINT: Window = Window { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], pad: [0; 4] };

/// A convolution, and how many of a hundred runs of `block` weights are not zero.
#[derive(Clone, Copy, Debug)]
struct Spec {
    shape: Shape,
    group: GroupKind,
    percent: u32,
    block: usize,
    table: bool,
    clamp: bool,
    gaps: [usize; 2],
}

/// The constants and operands of a [`Spec`].
struct Data {
    x: Vec<i8>,
    weights: Vec<i8>,
    bias: Vec<i32>,
    multiplier: Vec<f32>,
    table: Vec<i8>,
    zero_in: i32,
    zero_out: i32,
    bounds: [f32; 2],
}

impl Spec {
    fn new(x: [usize; 4], m: usize, window: Window, group: GroupKind, percent: u32) -> Self {
        let out = |i: usize| {
            let padded = x[i + 1] as u32 + window.pad[i] + window.pad[i + 2];
            ((padded - (window.kernel[i] - 1) * window.dilation[i] - 1) / window.stride[i] + 1) as usize
        };
        let shape = Shape { x, y: [x[0], out(0), out(1), m], window, groups: 1, transposed: false };
        Self { shape, group, percent, block: 1, table: false, clamp: false, gaps: [0; 2] }
    }

    fn taps(&self) -> usize {
        self.shape.window.kernel.iter().product::<u32>() as usize
    }

    fn data(&self, seed: u64) -> Data {
        let mut random = Random(seed);
        let (m, k) = (self.shape.y[3], self.taps() * self.shape.x[3]);
        let byte = |random: &mut Random| match random.next() % 8 {
            0 => i8::MIN,
            1 => i8::MAX,
            _ => random.next() as i8,
        };
        let x = (0..self.shape.x.iter().product::<usize>()).map(|_| byte(&mut random)).collect();
        let mut weights: Vec<i8> = (0..m * k).map(|_| byte(&mut random).max(-127)).collect();
        for run in weights.chunks_mut(self.block) {
            if random.next() % 100 >= self.percent {
                run.fill(0);
            }
        }
        let table = (0..256).map(|_| byte(&mut random)).collect();
        let spread = 1.0 / (50.0 * ((k as u32 * self.percent).max(100) as f32 / 100.0).sqrt());
        Data {
            x,
            weights,
            bias: (0..m).map(|_| (random.next() % 20_000) as i32 - 10_000).collect(),
            multiplier: (0..m).map(|_| (random.next() % 1000 + 1) as f32 / 1000.0 * spread).collect(),
            table,
            zero_in: (random.next() % 256) as i32 - 128,
            zero_out: (random.next() % 100) as i32 - 50,
            bounds: if self.clamp { [-90.0, 77.0] } else { [-128.0, 127.0] },
        }
    }

    fn lists(&self, d: &Data) -> Lists {
        pack_lists(&d.weights, self.shape.y[3], self.taps(), self.shape.x[3], self.group.inputs())
    }

    fn case(&self, op: Op, d: &Data) -> Case {
        let quant = |zero_point| Some(Quant { scale: 0.5, zero_point });
        let [x, y] = [self.shape.x[3] + self.gaps[0], self.shape.y[3] + self.gaps[1]];
        Case::new(op, DType::S8, &self.shape.y, y, quant(d.zero_out)).input(
            DType::S8,
            &self.shape.x,
            x,
            quant(d.zero_in),
            le_s8(&d.x),
        )
    }

    /// The padding row, where there is one, and the table.
    fn rest(&self, case: Case, d: &Data) -> Case {
        let c = self.shape.x[3];
        let padded = self.shape.window.pad != [0; 4];
        let case =
            if padded { case.constant(DType::S8, &[c], vec![d.zero_in as u8; c]) } else { case.absent() };
        if self.table { case.constant(DType::S8, &[256], le_s8(&d.table)) } else { case }
    }

    fn sparse(&self, d: &Data, lists: &Lists) -> Case {
        let epilogue = Epilogue { lo: d.bounds[0], hi: d.bounds[1], unary: Unary::IDENTITY };
        let op = SparseConv { window: self.shape.window, group: self.group, epilogue };
        let (k, m) = (self.taps() * self.shape.x[3], self.shape.y[3]);
        let folded = pack::fold_zero_point(&d.bias, &d.weights, k, d.zero_in);
        let indices: Vec<u8> = lists.indices.iter().flat_map(|i| i.to_le_bytes()).collect();
        let case = self
            .case(Op::SparseConv(op), d)
            .constant(DType::Packed, &[lists.weights.len()], le_s8(&lists.weights))
            .constant(DType::Packed, &[indices.len()], indices)
            .constant(DType::S32, &[lists.ends.len()], le_s32(&lists.ends))
            .constant(DType::S32, &[m], le_s32(&folded))
            .constant(DType::F32, &[m], le_f32(&d.multiplier));
        self.rest(case, d)
    }

    fn dense(&self, d: &Data) -> Case {
        let epilogue = Epilogue { lo: d.bounds[0], hi: d.bounds[1], unary: Unary::IDENTITY };
        let window = self.shape.window;
        let op = Conv { window, groups: 1, epilogue, algorithm: Algorithm::Direct, addend_scale: 0.0 };
        let (m, taps, depth) = (self.shape.y[3], self.taps(), self.shape.x[3]);
        let folded =
            pack::pad_channels(&pack::fold_zero_point(&d.bias, &d.weights, taps * depth, d.zero_in), 1);
        let packed = pack::pack_s8(&d.weights, m, taps, depth, 1);
        let multiplier = pack::pad_channels(&d.multiplier, 1);
        let case = self
            .case(Op::Conv(op), d)
            .constant(DType::Packed, &[packed.len()], packed)
            .constant(DType::S32, &[folded.len()], le_s32(&folded))
            .constant(DType::F32, &[multiplier.len()], le_f32(&multiplier));
        self.rest(case, d)
    }

    fn check(&self, seed: u64) {
        let d = self.data(seed);
        let q = Requantization {
            multiplier: &d.multiplier,
            zero_in: d.zero_in,
            zero_out: d.zero_out,
            bounds: d.bounds,
        };
        let mut want = conv_s8(&self.shape, &d.x, &d.weights, &d.bias, &q);
        if self.table {
            want.iter_mut().for_each(|v| *v = d.table[(i16::from(*v) + 128) as usize]);
        }
        for (isa, name, got) in self.sparse(&d, &self.lists(&d)).run() {
            let got = s8s(&got);
            if let Some(i) = got.iter().zip(&want).position(|(a, b)| a != b) {
                panic!("{name} ({isa}) at {i}: {} where {} is right; {self:?}", got[i], want[i]);
            }
        }
        let (name, cpu) = *Cpu::runnable().last().expect("a level");
        let (_, kernel, dense) = self.dense(&d).run_on(name, cpu);
        assert!(s8s(&dense) == want, "{kernel} of the dense step differs; {self:?}");
    }
}

/// Rows of a matrix: channels above and below what registers hold, pixels that fill no block, all densities.
#[test]
fn products_of_rows() {
    let mut seed = 0;
    for (pixels, c, m) in [(1, 4, 1), (7, 16, 16), (49, 30, 17), (64, 33, 40), (130, 5, 3), (300, 64, 24)] {
        for (group, percent) in [(Pairs, 20), (Fours, 20), (Pairs, 0), (Fours, 0), (Fours, 100), (Pairs, 100)]
        {
            seed += 1;
            let spec = Spec::new([1, pixels, 1, c], m, POINT, group, percent);
            spec.check(seed);
            Spec { table: true, gaps: [16 - c % 16, 5], ..spec }.check(seed + 1000);
            Spec { clamp: true, block: 4, ..spec }.check(seed + 2000);
        }
    }
}

/// Windows with strides, dilation and padding on all sides, over several images.
#[test]
fn windows() {
    let mut seed = 0;
    let three = Window { kernel: [3; 2], pad: [1; 4], ..POINT };
    for window in [
        three,
        Window { stride: [2, 1], ..three },
        Window { stride: [2; 2], pad: [0, 2, 1, 0], ..three },
        Window { dilation: [1, 2], pad: [2, 1, 0, 3], ..three },
        Window { kernel: [1, 5], pad: [0, 4, 0, 1], ..POINT },
        Window { stride: [2; 2], ..POINT },
    ] {
        for ([n, h, w, c], m, percent) in [
            ([1, 9, 7, 8], 20, 30),
            ([2, 5, 6, 3], 5, 60),
            ([1, 14, 14, 37], 33, 10),
            ([3, 4, 8, 16], 16, 50),
        ] {
            for group in [Pairs, Fours] {
                seed += 1;
                let spec = Spec::new([n, h, w, c], m, window, group, percent);
                Spec { table: seed % 3 == 0, clamp: seed % 2 == 0, gaps: [16 - c % 16, 3], ..spec }
                    .check(seed);
            }
        }
    }
}

/// The longest sums that there are: a unit of pixels fills the scratch.
#[test]
fn the_longest_sums() {
    for group in [Pairs, Fours] {
        Spec { block: 64, ..Spec::new([1, 9, 1, MAX_K], 2, POINT, group, 10) }.check(group as u64);
        let window = Window { kernel: [4, 4], pad: [2; 4], ..POINT };
        Spec { block: 64, ..Spec::new([1, 3, 3, MAX_K / 16], 3, window, group, 20) }.check(group as u64);
    }
}

fn refusal(spec: &Spec, d: &Data, lists: &Lists) -> Option<PrepareError> {
    spec.sparse(d, lists).prepared(Cpu::detect()).err()
}

/// Every way in which lists can be wrong has its error.
#[test]
fn lists_that_do_not_fit_are_refused() {
    let spec = Spec::new([1, 10, 1, 6], 3, POINT, Fours, 100);
    let d = spec.data(1);
    let good = spec.lists(&d);
    assert_eq!((&good.ends[..], refusal(&spec, &d, &good)), (&[2, 4, 6][..], None));
    let refused = |change: &dyn Fn(&mut Lists), with: &str| {
        let mut lists = good.clone();
        change(&mut lists);
        let error = refusal(&spec, &d, &lists).expect(with).to_string();
        assert!(error.contains(with), "{error}");
    };
    refused(&|l| l.indices[3] = 2, "names group 2 of 2");
    refused(&|l| l.indices[5] = u16::MAX, "names group 65535 of 2");
    refused(&|l| l.ends[1] = 1, "channel 1 ends at 1, before it begins at 2");
    refused(&|l| l.ends[0] = -1, "channel 0 ends at -1");
    refused(&|l| l.ends[2] = 7, "lists end at 7; there are 6");
    refused(&|l| l.ends[2] = 5, "lists end at 5; there are 6");
    refused(&|l| l.ends.truncate(2), "input 3 must be a dense constant of 3");
    refused(&|l| l.indices.truncate(5), "input 2 must be a dense constant of 12");
    refused(&|l| l.weights.truncate(23), "input 1 must be a dense constant of 20");
    refused(&|l| l.weights[2] = i8::MIN, "a weight is -128");
    // Channels 6 and 7 are not there; what lies behind the row must not matter.
    refused(&|l| l.weights[6] = 1, "group 1 has weights beyond 6 channels");
    let long = Spec::new([1, 2, 1, MAX_K + 1], 1, POINT, Fours, 0);
    let d = long.data(2);
    let error = refusal(&long, &d, &long.lists(&d)).expect("too long").to_string();
    assert!(error.contains("at most 8128"), "{error}");
}

fn extent() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0_u32..4, 1 => Just(u32::MAX), 1 => any::<u32>()]
}

/// Random cases: fewer where an emulator runs them.
const CASES: u32 = if cfg!(target_arch = "aarch64") { 25 } else { 200 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lists in which bytes were changed are refused, or run inside their operands, the same on every instruction set.
    #[test]
    fn changed_lists_are_refused_or_run(
        group in prop::sample::select(GroupKind::ALL),
        seed in any::<u64>(),
        changes in prop::collection::vec((0_usize..3, any::<prop::sample::Index>(), 0_i32..8), 0..4),
    ) {
        let window = Window { kernel: [2, 3], pad: [1; 4], ..POINT };
        let spec = Spec::new([1, 4, 3, 5], 7, window, group, 40);
        let d = spec.data(seed);
        let mut lists = spec.lists(&d);
        for (which, at, to) in changes {
            match which {
                0 => lists.indices[at.index(spec.lists(&d).indices.len())] = to as u16 * 3,
                1 => lists.ends[at.index(7)] += to - 4,
                _ => lists.weights[at.index(spec.lists(&d).weights.len())] = (to * 16 - 64) as i8,
            }
        }
        let case = spec.sparse(&d, &lists);
        if case.prepared(Cpu::detect()).is_ok() {
            let results = case.run();
            for (isa, name, got) in &results[1..] {
                prop_assert!(*got == results[0].2, "{name} on {isa} differs");
            }
        }
    }

    /// Refused, or done within the output.
    #[test]
    fn refuses_or_runs_whatever_parameters_come(
        kernel in prop::array::uniform2(extent()),
        stride in prop::array::uniform2(extent()),
        dilation in prop::array::uniform2(extent()),
        pad in prop::array::uniform4(extent()),
        group in prop::sample::select(GroupKind::ALL),
        (lo, hi) in any::<(f32, f32)>(),
    ) {
        let spec = Spec::new([1, 4, 3, 5], 7, POINT, Fours, 40);
        let d = Data { bounds: [lo, hi], ..spec.data(5) };
        let mut spec = Spec { group, ..spec };
        spec.shape.window = Window { kernel, stride, dilation, pad };
        if kernel.iter().all(|k| (1..50).contains(k)) {
            let lists = Lists { weights: vec![1, 0, 0, 0], indices: vec![0], ends: vec![0, 0, 1, 1, 1, 1, 1] };
            let d = Data { weights: vec![0; 35 * spec.taps()], ..d };
            let case = spec.sparse(&d, &lists);
            if case.prepared(Cpu::detect()).is_ok() {
                case.run();
            }
        }
    }
}
