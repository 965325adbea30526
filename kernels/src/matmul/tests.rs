//! Every instruction set against the oracle, through [`crate::prepare`].

use cygnet_format::op::{Epilogue, MatMul, Op, Unary, UnaryKind};
use cygnet_format::program::{DType, Quant, READ_SLACK, Step, Storage, Tensor};
use half::f16;

use super::oracle;
use crate::conv::f32::tests::Rng;
use crate::view::Mem;
use crate::{Arena, Cpu, Limits, PrepareError, prepare};

const ZERO_POINTS: [i32; 3] = [-128, 127, 5];

/// One product: everything but the element type.
#[derive(Clone)]
struct Case {
    /// Leading dimensions of a and b.
    batch: [Vec<usize>; 2],
    /// M, N, K.
    dims: [usize; 3],
    transpose_b: bool,
    /// Excess of the pitches of a, b and y.
    excess: [usize; 3],
    scale: f32,
    epilogue: Epilogue,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes = [
        [1, 1, 1],
        [1, 17, 5],
        [2, 16, 8],
        [3, 7, 9],
        [4, 33, 16],
        [5, 15, 127],
        [6, 8, 128],
        [7, 40, 129],
        [7, 20, 300],
        [65, 49, 31],
        [130, 100, 16],
    ];
    let batches = [
        [vec![], vec![]],
        [vec![2, 3], vec![2, 3]],
        [vec![3], vec![1]],
        [vec![], vec![2]],
        [vec![2, 1], vec![1, 3]],
        [vec![2, 1, 2], vec![3, 1]],
    ];
    for (i, dims) in shapes.into_iter().enumerate() {
        for (j, batch) in batches.iter().enumerate() {
            for transpose_b in [false, true] {
                let bounded = (i + j) % 3 == 0;
                cases.push(Case {
                    batch: batch.clone(),
                    dims,
                    transpose_b,
                    excess: [[0, 0, 0], [3, 1, 2], [16, 32, 1]][(i + j) % 3],
                    scale: [1.0, 0.176_776_7][j % 2],
                    epilogue: if bounded {
                        Epilogue { lo: -2.0, hi: 3.0, unary: Unary::IDENTITY }
                    } else {
                        Epilogue::NONE
                    },
                });
            }
        }
    }
    cases
}

/// Leading dimensions of the output.
fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let at = |v: &[usize], d: usize| (d + v.len()).checked_sub(rank).map_or(1, |d| v[d]);
    (0..rank).map(|d| at(a, d).max(at(b, d))).collect()
}

/// Which batch of an operand with `leading` dimensions meets batch `i` of the output.
fn source(leading: &[usize], output: &[usize], mut i: usize) -> usize {
    let (mut at, mut step) = (0, 1);
    for d in (0..output.len()).rev() {
        let index = i % output[d];
        i /= output[d];
        if let Some(&extent) = (d + leading.len()).checked_sub(output.len()).map(|d| &leading[d]) {
            at += index.min(extent - 1) * step;
            step *= extent;
        }
    }
    at
}

impl Case {
    fn b_dims(&self) -> [usize; 2] {
        let [_, n, k] = self.dims;
        if self.transpose_b { [n, k] } else { [k, n] }
    }

    /// The oracle, batch by batch.
    fn each<A: Copy, Y>(&self, a: &[A], b: &[A], one: impl Fn(&[A], &[A]) -> Vec<Y>) -> Vec<Y> {
        let [m, n, k] = self.dims;
        let output = broadcast(&self.batch[0], &self.batch[1]);
        let mut y = Vec::new();
        for i in 0..output.iter().product() {
            let (from_a, from_b) = (source(&self.batch[0], &output, i), source(&self.batch[1], &output, i));
            y.extend(one(&a[from_a * m * k..][..m * k], &b[from_b * n * k..][..n * k]));
        }
        y
    }
}

struct Bench {
    tensors: Vec<Tensor>,
    step: Step,
    arena: Arena,
}

impl Bench {
    /// Inputs are dense little-endian elements.
    fn new(case: &Case, dtype: DType, inputs: [&[u8]; 2]) -> Self {
        let [m, n, k] = case.dims;
        let output = broadcast(&case.batch[0], &case.batch[1]);
        let mut end = 64;
        let mut tensor = |i: usize, leading: &[usize], last: [usize; 2]| {
            let t = Tensor {
                name: format!("{i}"),
                dtype,
                storage: Storage::Arena,
                offset: end,
                dims: leading.iter().chain(&last).map(|&d| d as u32).collect(),
                pitch: (last[1] + case.excess[i]) as u32,
                quant: Some(Quant { scale: 0.5, zero_point: ZERO_POINTS[i] }),
            };
            end = (end + t.extent() + READ_SLACK as u64).next_multiple_of(64);
            t
        };
        let tensors = vec![
            tensor(0, &case.batch[0], [m, k]),
            tensor(1, &case.batch[1], case.b_dims()),
            tensor(2, &output, [m, n]),
        ];
        let mut arena = Arena::new(end as usize).unwrap();
        // NaN as f32 and f16.
        arena.bytes_mut().fill(0xFF);
        for (t, bytes) in tensors.iter().zip(inputs) {
            let row = t.cols() as usize * dtype.size();
            for (i, bytes) in bytes.chunks_exact(row).enumerate() {
                let at = t.offset as usize + i * t.pitch as usize * dtype.size();
                arena.bytes_mut()[at..at + row].copy_from_slice(bytes);
            }
        }
        let op =
            Op::MatMul(MatMul { transpose_b: case.transpose_b, scale: case.scale, epilogue: case.epilogue });
        Self {
            tensors,
            step: Step { name: "mm".into(), op, inputs: vec![Some(0), Some(1)], output: 2 },
            arena,
        }
    }

    fn prepare(&self, cpu: Cpu) -> Result<Box<dyn crate::Kernel>, PrepareError> {
        let limits = Limits { arena_bytes: self.arena.len(), weights: &[0; READ_SLACK] };
        prepare(&self.step, &self.tensors, &limits, cpu)
    }

    /// The dense output; checks that nothing else changed.
    fn run(&mut self, cpu: Cpu) -> Vec<u8> {
        let kernel = self.prepare(cpu).unwrap();
        let before = self.arena.bytes().to_vec();
        let mut scratch = Arena::new(kernel.scratch()).expect("memory");
        scratch.bytes_mut().fill(0xa5);
        let mem = Mem { arena: self.arena.as_ptr(), weights: std::ptr::null(), scratch: scratch.as_ptr() };
        for tile in (0..kernel.tiles()).rev() {
            // SAFETY: prepared against this arena; no operand is in the weights; one thread.
            unsafe { kernel.run_tile(&mem, tile) };
        }
        let y = &self.tensors[2];
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

fn operand<T>(leading: &[usize], dims: [usize; 2], mut value: impl FnMut() -> T) -> Vec<T> {
    (0..leading.iter().product::<usize>() * dims[0] * dims[1]).map(|_| value()).collect()
}

fn float_bench(case: &Case, half: bool, rng: &mut Rng) -> (Bench, Vec<f32>) {
    let [m, _, k] = case.dims;
    let mut value = || f16::from_f32(rng.unit() * 2.0).to_f32();
    let a = operand(&case.batch[0], [m, k], &mut value);
    let b = operand(&case.batch[1], case.b_dims(), &mut value);
    let bounds = [case.epilogue.lo, case.epilogue.hi];
    let want = case.each(&a, &b, |a, b| oracle::f32(a, b, case.dims, case.transpose_b, case.scale, bounds));
    let bits =
        |v: &[f32]| if half { le(v, |v| f16::from_f32(v).to_le_bytes()) } else { le(v, f32::to_le_bytes) };
    let dtype = if half { DType::F16 } else { DType::F32 };
    (Bench::new(case, dtype, [&bits(&a), &bits(&b)]), want)
}

fn s8_bench(case: &Case, rng: &mut Rng) -> (Bench, Vec<i8>) {
    let [m, _, k] = case.dims;
    let mut case = case.clone();
    case.scale = 0.7 / (k as f32).sqrt() / 128.0;
    (case.epilogue.lo, case.epilogue.hi) =
        if case.epilogue.lo == -2.0 { (-2.0, 90.0) } else { (-128.0, 127.0) };
    let extreme = rng.below(4) == 0;
    let mut value = || if extreme { [-128, 127][rng.below(2)] } else { (rng.next() >> 33) as i8 };
    let a = operand(&case.batch[0], [m, k], &mut value);
    let b = operand(&case.batch[1], case.b_dims(), &mut value);
    let bounds = [case.epilogue.lo, case.epilogue.hi];
    let want = case
        .each(&a, &b, |a, b| oracle::s8(a, b, case.dims, case.transpose_b, case.scale, bounds, ZERO_POINTS));
    (Bench::new(&case, DType::S8, [&le(&a, i8::to_le_bytes), &le(&b, i8::to_le_bytes)]), want)
}

#[test]
fn floats_have_the_bits_of_the_oracle() {
    for half in [false, true] {
        let mut rng = Rng(21);
        for case in cases() {
            let (mut bench, want) = float_bench(&case, half, &mut rng);
            let want = if half {
                le(&want, |v| f16::from_f32(v).to_le_bytes())
            } else {
                le(&want, f32::to_le_bytes)
            };
            for (isa, cpu) in Cpu::runnable() {
                assert!(
                    bench.run(cpu) == want,
                    "{isa} half {half} {:?} {:?} {}",
                    case.batch,
                    case.dims,
                    case.transpose_b
                );
            }
        }
    }
}

#[test]
fn s8_has_the_bits_of_the_oracle() {
    let mut rng = Rng(22);
    for case in cases() {
        let (mut bench, want) = s8_bench(&case, &mut rng);
        for (isa, cpu) in Cpu::runnable() {
            assert!(
                bench.run(cpu) == le(&want, i8::to_le_bytes),
                "{isa} {:?} {:?} {}",
                case.batch,
                case.dims,
                case.transpose_b
            );
        }
    }
}

/// `[[1, 2], [3, 4]] x [[5, 6], [7, 8]]`, and by the transpose of the second.
#[test]
fn the_oracle_agrees_with_products_by_hand() {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
    let bounds = [f32::NEG_INFINITY, 24.0];
    assert_eq!(oracle::f32(&a, &b, [2, 2, 2], false, 0.5, bounds), [9.5, 11.0, 21.5, 24.0]);
    assert_eq!(oracle::f32(&a, &b, [2, 2, 2], true, 0.5, bounds), [8.5, 11.5, 19.5, 24.0]);
    // (3 - 1) * (5 - 2) + (1 - 1) * .. = 6; 6 * 0.25 = 1.5, to even 2, and 4 more; bounded by 5.
    assert_eq!(oracle::s8(&[3, 1], &[5, 9], [1, 1, 2], false, 0.25, [-128.0, 127.0], [1, 2, 4]), [6]);
    assert_eq!(oracle::s8(&[3, 1], &[5, 9], [1, 1, 2], false, 0.25, [-128.0, 5.0], [1, 2, 4]), [5]);
}

#[test]
fn a_function_follows_the_clamp() {
    let mut case = cases().swap_remove(121);
    case.epilogue = Epilogue { lo: -1.0, hi: 2.0, unary: Unary { kind: UnaryKind::Abs, a: 0.0, b: 0.0 } };
    for half in [false, true] {
        let (mut bench, want) = float_bench(&case, half, &mut Rng(5));
        for (isa, cpu) in Cpu::runnable() {
            let got: Vec<f32> = if half {
                bench.run(cpu).chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            } else {
                bench.run(cpu).chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            };
            let want = want.iter().map(|&v| if half { f16::from_f32(v).to_f32() } else { v }.abs());
            assert!(got.into_iter().eq(want), "{isa} half {half}");
        }
    }
}

#[test]
fn records_that_do_not_fit_are_refused() {
    let case = &Case { batch: [vec![2, 1], vec![1, 3]], dims: [4, 5, 6], ..cases().swap_remove(0) };
    assert!(s8_bench(case, &mut Rng(1)).0.prepare(Cpu::detect()).is_ok());
    let refused = |change: &dyn Fn(&mut Bench), why: &str| {
        let mut bench = s8_bench(case, &mut Rng(1)).0;
        change(&mut bench);
        let error = bench.prepare(Cpu::detect()).err().map(|e| e.to_string());
        assert!(error.as_ref().is_some_and(|e| e.contains(why)), "{error:?} does not say '{why}'");
    };
    let op = |change: fn(&mut MatMul)| {
        move |b: &mut Bench| {
            if let Op::MatMul(p) = &mut b.step.op {
                change(p);
            }
        }
    };
    refused(&op(|p| p.transpose_b = true), "cannot make");
    refused(&op(|p| p.scale = f32::NAN), "multiplier");
    refused(&op(|p| p.epilogue.lo = -0.5), "integers");
    refused(&op(|p| p.epilogue.lo = f32::NAN), "clamps");
    refused(&op(|p| p.epilogue.unary.kind = UnaryKind::Exp), "table");
    refused(&|b| b.tensors[0].dims[0] = 1, "cannot make");
    refused(&|b| b.tensors[2].dims[1] = 2, "cannot make");
    refused(&|b| b.tensors[2].dims[3] = 4, "cannot make");
    refused(&|b| b.tensors[0].dims = vec![6], "cannot make");
    refused(&|b| b.tensors[1].dtype = DType::U8, "multiplies s8 by u8");
    refused(&|b| b.tensors[1].quant = None, "not quantized");
    refused(&|b| b.tensors[1].quant = Some(Quant { scale: 1.0, zero_point: i32::MIN }), "zero point");
    let epilogue = Epilogue { lo: -128.0, hi: 127.0, unary: Unary::IDENTITY };
    let long = Case { batch: [vec![], vec![]], dims: [1, 1, 33_026], epilogue, ..case.clone() };
    assert!(float_bench(&long, false, &mut Rng(1)).0.prepare(Cpu::detect()).is_ok());
    let error = Bench::new(&long, DType::S8, [&[], &[]]).prepare(Cpu::detect()).err().map(|e| e.to_string());
    assert!(error.is_some_and(|e| e.contains("33025")));
}
