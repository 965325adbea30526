//! Every instruction set against the oracle, through [`crate::prepare`].

use cygnet_format::op::{DepthwiseConv, Epilogue, Op, Unary, UnaryKind, Window};
use cygnet_format::program::{DType, Quant, READ_SLACK, Step, Storage, Tensor};
use half::f16;

use super::{MAX_TAPS, oracle, pack, s8};
use crate::conv::f32::tests::Rng;
use crate::view::Mem;
use crate::{Arena, Cpu, Limits, PrepareError, prepare};

/// One convolution: everything but the element type.
#[derive(Clone)]
struct Case {
    dims: [usize; 4],
    window: Window,
    /// Excess of the pitches of input and output over C.
    excess: [usize; 2],
    epilogue: Epilogue,
    table: bool,
}

const ZERO_POINT: i32 = -3;

fn window(kernel: [u32; 2], stride: [u32; 2], dilation: [u32; 2], pad: [u32; 4]) -> Window {
    Window { kernel, stride, dilation, pad }
}

fn cases() -> Vec<Case> {
    let windows = [
        window([3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
        window([3, 3], [2, 2], [1, 1], [0, 0, 1, 1]),
        window([5, 5], [1, 1], [1, 1], [2, 2, 2, 2]),
        window([7, 7], [2, 1], [1, 1], [3, 3, 3, 3]),
        window([3, 3], [1, 1], [2, 3], [2, 3, 2, 3]),
        window([1, 4], [1, 3], [1, 1], [0, 0, 0, 0]),
        window([2, 1], [1, 1], [1, 1], [1, 0, 0, 0]),
        window([1, 1], [1, 1], [1, 1], [0, 0, 0, 0]),
        window([3, 3], [1, 1], [1, 1], [9, 9, 9, 9]),
    ];
    let mut cases = Vec::new();
    for (i, &window) in windows.iter().enumerate() {
        for (j, c) in [1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 40].into_iter().enumerate() {
            let bounded = (i + j) % 3 == 0;
            cases.push(Case {
                dims: [1 + j % 2, 7, 8 + j % 3, c],
                window,
                excess: [[0, 0], [32, 16], [16, 48]][(i + j) % 3],
                epilogue: if bounded {
                    Epilogue { lo: -5.0, hi: 6.0, unary: Unary::IDENTITY }
                } else {
                    Epilogue::NONE
                },
                table: (i + j) % 4 == 1,
            });
        }
    }
    cases
}

/// A step over tensors that are laid out one after another.
struct Bench {
    tensors: Vec<Tensor>,
    step: Step,
    arena: Arena,
    weights: Arena,
}

/// What one input of a step holds, and its zeros' length.
struct Constant {
    dtype: DType,
    bytes: Vec<u8>,
}

impl Bench {
    fn new(case: &Case, dtype: DType, x: &[u8], constants: [Option<Constant>; 5]) -> Self {
        let size = dtype.size();
        let [n, h, w, c] = case.dims;
        let [oh, ow] = oracle::output_size(&case.window, h, w);
        let quant = (dtype == DType::S8).then_some(Quant { scale: 0.5, zero_point: ZERO_POINT });
        let tensor = |name: &str, dims: [usize; 4], excess: usize, offset: usize| Tensor {
            name: name.into(),
            dtype,
            storage: Storage::Arena,
            offset: offset as u64,
            dims: dims.map(|d| d as u32).to_vec(),
            pitch: (c + excess) as u32,
            quant,
        };
        let x_tensor = tensor("x", case.dims, case.excess[0], 64);
        let y_at = (64 + x_tensor.extent() as usize + READ_SLACK).next_multiple_of(64);
        let y_tensor = tensor("y", [n, oh, ow, c], case.excess[1], y_at);
        // What is not an input is poisoned: NaN as f32 and f16, -1 as s8.
        let mut arena = Arena::new(y_at + y_tensor.extent() as usize + 64).unwrap();
        arena.bytes_mut().fill(0xFF);
        for (row, x) in x.chunks_exact(c * size).enumerate() {
            let at = 64 + row * (c + case.excess[0]) * size;
            arena.bytes_mut()[at..at + x.len()].copy_from_slice(x);
        }
        let (mut bytes, mut tensors) = (Vec::<u8>::new(), vec![y_tensor, x_tensor]);
        let mut inputs = vec![Some(1)];
        for (i, constant) in constants.into_iter().enumerate() {
            let Some(constant) = constant else {
                inputs.push(None);
                continue;
            };
            bytes.resize(bytes.len().next_multiple_of(64), 0xFF);
            let len = constant.bytes.len() / constant.dtype.size();
            inputs.push(Some(tensors.len() as u32));
            tensors.push(Tensor {
                name: format!("constant {i}"),
                dtype: constant.dtype,
                storage: Storage::Weights,
                offset: bytes.len() as u64,
                dims: vec![len as u32],
                pitch: len as u32,
                quant: None,
            });
            bytes.extend(constant.bytes);
        }
        let mut weights = Arena::new(bytes.len() + READ_SLACK).unwrap();
        weights.bytes_mut()[..bytes.len()].copy_from_slice(&bytes);
        let op = Op::DepthwiseConv(DepthwiseConv { window: case.window, epilogue: case.epilogue });
        let step = Step { name: "dw".into(), op, inputs, output: 0 };
        Self { tensors, step, arena, weights }
    }

    fn prepare(&self, cpu: Cpu) -> Result<Box<dyn crate::Kernel>, PrepareError> {
        let limits = Limits { arena_bytes: self.arena.len(), weights: self.weights.bytes() };
        prepare(&self.step, &self.tensors, &limits, cpu)
    }

    /// The dense output; checks that nothing else changed.
    fn run(&mut self, cpu: Cpu) -> Vec<u8> {
        let kernel = self.prepare(cpu).unwrap();
        let before = self.arena.bytes().to_vec();
        let mut scratch = Arena::new(kernel.scratch()).expect("memory");
        scratch.bytes_mut().fill(0xa5);
        let mem =
            Mem { arena: self.arena.as_ptr(), weights: self.weights.as_ptr(), scratch: scratch.as_ptr() };
        for tile in (0..kernel.tiles()).rev() {
            // SAFETY: prepared against this memory; one thread.
            unsafe { kernel.run_tile(&mem, tile) };
        }
        let y = &self.tensors[0];
        let (start, row, cols) =
            (y.offset as usize, y.pitch as usize * y.dtype.size(), y.cols() as usize * y.dtype.size());
        let mut result = Vec::new();
        for (i, (&now, &was)) in self.arena.bytes().iter().zip(&before).enumerate() {
            if i >= start && i < start + y.extent() as usize && (i - start) % row < cols {
                result.push(now);
            } else {
                assert_eq!(now, was, "{} wrote at {i}", kernel.name());
            }
        }
        self.arena.bytes_mut().copy_from_slice(&before);
        result
    }
}

fn le<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&v| bytes(v)).collect()
}

fn padded<T: Copy>(values: &[T], zero: T) -> Vec<T> {
    let mut values = values.to_vec();
    values.resize(pack::padded_channels(values.len()), zero);
    values
}

fn floats(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| f16::from_f32(rng.unit() * 4.0).to_f32()).collect()
}

/// The bench of a float case, and its result in f32 before a function.
fn float_bench(case: &Case, half: bool, rng: &mut Rng) -> (Bench, Vec<f32>) {
    float_bench_of(case, half, rng, floats)
}

/// The same of operands that `values` makes.
fn float_bench_of(
    case: &Case,
    half: bool,
    rng: &mut Rng,
    values: impl Fn(&mut Rng, usize) -> Vec<f32>,
) -> (Bench, Vec<f32>) {
    let c = case.dims[3];
    let taps = (case.window.kernel[0] * case.window.kernel[1]) as usize;
    let x = values(rng, case.dims.iter().product());
    let (w, bias, pad) = (values(rng, taps * c), values(rng, c), values(rng, c));
    let bounds = [case.epilogue.lo, case.epilogue.hi];
    let want = oracle::f32(&x, case.dims, &case.window, &w, &bias, &pad, bounds);
    let bits =
        |v: &[f32]| if half { le(v, |v| f16::from_f32(v).to_le_bytes()) } else { le(v, f32::to_le_bytes) };
    let packed = if half {
        pack::pack_f16(&w.iter().map(|&w| f16::from_f32(w)).collect::<Vec<_>>(), c)
    } else {
        pack::pack_f32(&w, c)
    };
    let dtype = if half { DType::F16 } else { DType::F32 };
    let constants = [
        Some(Constant { dtype: DType::Packed, bytes: packed }),
        Some(Constant { dtype: DType::F32, bytes: le(&padded(&bias, f32::NAN), f32::to_le_bytes) }),
        None,
        Some(Constant { dtype, bytes: bits(&padded(&pad, f32::NAN)) }),
        None,
    ];
    (Bench::new(case, dtype, &bits(&x), constants), want)
}

fn s8_bench(case: &Case, rng: &mut Rng) -> (Bench, Vec<i8>) {
    let c = case.dims[3];
    let taps = (case.window.kernel[0] * case.window.kernel[1]) as usize;
    let mut case = case.clone();
    if case.epilogue.lo < -128.0 {
        (case.epilogue.lo, case.epilogue.hi) = (-128.0, 127.0);
    }
    let (extreme, least) = (rng.below(3) == 0, rng.below(3));
    let mut byte =
        |low: i8| if extreme { [low, 127][rng.below(2)] } else { ((rng.next() >> 40) as i8).max(low) };
    let x: Vec<i8> = (0..case.dims.iter().product()).map(|_| byte(-128)).collect();
    let mut w: Vec<i8> = (0..taps * c).map(|_| byte(-127)).collect();
    // None, one or two of a channel are -128, which two products in 16 bits do not allow.
    for i in 0..least {
        (0..c).for_each(|channel| w[(channel * 7 + 3 + i) % taps * c + channel] = -128);
    }
    let pad: Vec<i8> = (0..c).map(|_| byte(-128)).collect();
    let bias: Vec<i32> = (0..c).map(|_| rng.below(1 << 16) as i32 - (1 << 15)).collect();
    let scale: Vec<f32> = (0..c).map(|_| (1.0 + rng.unit()) / (taps as f32).sqrt() / 64.0).collect();
    let table: Vec<i8> = (0..256).map(|_| (rng.next() >> 33) as i8).collect();
    let bounds = [case.epilogue.lo, case.epilogue.hi];
    let mut want = oracle::s8(&x, case.dims, &case.window, &w, &bias, &pad, &scale, bounds, ZERO_POINT);
    if case.table {
        want.iter_mut().for_each(|q| *q = table[(i32::from(*q) + 128) as usize]);
    }
    let s8 = |v: &[i8]| Some(Constant { dtype: DType::S8, bytes: le(v, i8::to_le_bytes) });
    let constants = [
        Some(Constant { dtype: DType::Packed, bytes: pack::pack_s8(&w, c) }),
        Some(Constant { dtype: DType::S32, bytes: le(&padded(&bias, 7), i32::to_le_bytes) }),
        Some(Constant { dtype: DType::F32, bytes: le(&padded(&scale, 3.0), f32::to_le_bytes) }),
        s8(&padded(&pad, 99)),
        if case.table { s8(&table) } else { None },
    ];
    (Bench::new(&case, DType::S8, &le(&x, i8::to_le_bytes), constants), want)
}

/// The bound of the module `half_strip`, with `size` the sum of the magnitudes of bias and products.
fn half_bound(taps: f32, size: f32, want: f32) -> f32 {
    let u = 2.0_f32.powi(-11);
    size * (taps * u / (1.0 - taps * u) + u) + taps * 2.0_f32.powi(-25) + want.abs() * u + 2.0_f32.powi(-25)
}

/// Asserts the oracle's bits or, of a kernel that computes in half, its bound.
fn check_floats(bench: &mut Bench, half: bool, want: &[f32], taps: u32, at: &str) {
    let wanted = if half { le(want, |v| f16::from_f32(v).to_le_bytes()) } else { le(want, f32::to_le_bytes) };
    for (isa, cpu) in Cpu::runnable() {
        let got = bench.run(cpu);
        if !bench.prepare(cpu).unwrap().name().ends_with("_fp16") {
            assert!(got == wanted, "{isa} half {half} {at}");
            continue;
        }
        // Operands are within 4 in magnitude.
        let bound = |want| half_bound(taps as f32, 16.0 * taps as f32 + 4.0, want);
        for (i, (got, &want)) in got.as_chunks().0.iter().zip(want).enumerate() {
            let got = f16::from_le_bytes(*got).to_f32();
            assert!((got - want).abs() <= bound(want), "{isa} {at}: {got} at {i}, not {want}");
        }
    }
}

#[test]
fn floats_have_the_bits_of_the_oracle() {
    for half in [false, true] {
        let mut rng = Rng(11);
        for case in cases() {
            let (mut bench, want) = float_bench(&case, half, &mut rng);
            let [kh, kw] = case.window.kernel;
            check_floats(&mut bench, half, &want, kh * kw, &format!("{:?} {:?}", case.dims, case.window));
        }
    }
}

/// Integers that half holds: sums have no error, so that a wrong tap, pixel or channel shows.
#[test]
fn sums_of_small_integers_are_exact_in_half_too() {
    for mut case in cases() {
        case.epilogue = Epilogue::NONE;
        let integers = |rng: &mut Rng, n| (0..n).map(|_| rng.below(9) as f32 - 4.0).collect();
        let (mut bench, want) = float_bench_of(&case, true, &mut Rng(12), integers);
        let want = le(&want, |v| f16::from_f32(v).to_le_bytes());
        for (isa, cpu) in Cpu::runnable() {
            assert!(bench.run(cpu) == want, "{isa} {:?} {:?}", case.dims, case.window);
        }
    }
}

#[test]
fn s8_has_the_bits_of_the_oracle() {
    let mut rng = Rng(12);
    for case in cases() {
        let (mut bench, want) = s8_bench(&case, &mut rng);
        for (isa, cpu) in Cpu::runnable() {
            assert!(bench.run(cpu) == le(&want, i8::to_le_bytes), "{isa} {:?} {:?}", case.dims, case.window);
        }
    }
}

/// Three by three ones over 1..=9 with one pixel of padding by 0: sums of neighbourhoods, counted by hand.
#[test]
fn the_oracle_agrees_with_a_count_by_hand() {
    let x: Vec<f32> = (1..=9).map(|v| v as f32).collect();
    let w = window([3, 3], [1, 1], [1, 1], [1, 1, 1, 1]);
    let y = oracle::f32(&x, [1, 3, 3, 1], &w, &[1.0; 9], &[0.5], &[0.0], [f32::NEG_INFINITY, 40.0]);
    assert_eq!(y, [12.5, 21.5, 16.5, 27.5, 40.0, 33.5, 24.5, 39.5, 28.5]);
}

#[test]
fn a_function_follows_the_clamp() {
    let mut case = cases()[3].clone();
    case.epilogue = Epilogue { lo: -1.0, hi: 2.0, unary: Unary { kind: UnaryKind::Abs, a: 0.0, b: 0.0 } };
    for half in [false, true] {
        let (mut bench, want) = float_bench(&case, half, &mut Rng(5));
        let want: Vec<f32> =
            want.iter().map(|&v| if half { f16::from_f32(v).to_f32() } else { v }.abs()).collect();
        check_floats(&mut bench, half, &want, 9, "a function");
    }
}

#[test]
fn records_that_do_not_fit_are_refused() {
    let case = &cases()[3];
    let bench = || s8_bench(case, &mut Rng(1)).0;
    assert!(bench().prepare(Cpu::detect()).is_ok());
    let refused = |change: &dyn Fn(&mut Bench), why: &str| {
        let mut bench = bench();
        change(&mut bench);
        let error = bench.prepare(Cpu::detect()).err().map(|e| e.to_string());
        assert!(error.as_ref().is_some_and(|e| e.contains(why)), "{error:?} does not say '{why}'");
    };
    let op = |change: fn(&mut DepthwiseConv)| {
        move |b: &mut Bench| {
            if let Op::DepthwiseConv(p) = &mut b.step.op {
                change(p);
            }
        }
    };
    refused(&op(|p| p.window.kernel = [u32::MAX; 2]), "does not fit");
    refused(&op(|p| p.window.dilation = [u32::MAX; 2]), "does not fit");
    refused(&op(|p| p.window.stride[1] = 0), "zero");
    refused(&op(|p| p.window.stride[1] = u32::MAX), "gives the output width 1");
    refused(&op(|p| p.window.pad = [u32::MAX; 4]), "gives the output height");
    refused(&op(|p| p.window = window([46, 46], [1, 1], [1, 1], [23, 23, 22, 22])), &MAX_TAPS.to_string());
    refused(&op(|p| p.epilogue.lo = 128.0), "clamps");
    refused(&op(|p| p.epilogue.hi = f32::NAN), "clamps");
    refused(&op(|p| p.epilogue.unary.kind = UnaryKind::Tanh), "table");
    refused(&|b| b.step.inputs[4] = None, "input 4 is missing");
    refused(&|b| b.step.inputs[2] = b.step.inputs[3], "f32 where s32");
    refused(&|b| b.step.inputs[3] = None, "input 3 is missing");
    refused(&|b| b.tensors[0].quant = None, "not quantized");
    refused(&|b| b.tensors[2].dims[0] -= 1, "constant of");
    refused(&|b| b.tensors[1].dims = vec![1, 7, 8], "[N, H, W, C]");
    refused(&|b| b.tensors[1].dtype = DType::U8, "reads u8 and writes s8");
}

/// One tap of weight -127, so that sums are up to 16256 beyond the bias; and a channel that is all zeros.
#[test]
fn small_sums_stay_below_their_bounds() {
    let small = |bias: i32, m: f32| {
        let bytes = |v: [i32; 2]| le(&v, i32::to_le_bytes);
        s8::Reach::of(&[0, 0x81], &bytes([0, bias]), &le(&[9.0, m], f32::to_le_bytes)).is_small()
    };
    let room = (1 << 22) - 1 - 16256;
    assert!(small(room, 0.00778) && small(-room, -0.00778));
    assert!(!small(room + 1, 0.00778) && !small(-room - 1, 0.00778) && !small(i32::MIN, 0.0));
    // 16 bits hold products and zero points.
    assert!(small(0, 2.0) && !small(0, 2.01) && !small(0, -2.01));
}
