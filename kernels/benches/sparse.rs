//! Speed of sparse s8 convolutions beside the dense step with the same weights, one thread.
//!
//! ```sh
//! cargo bench -p cygnet-kernels --bench sparse               # all levels that this machine runs
//! cargo bench -p cygnet-kernels --bench sparse -- avx2 3x3   # lines that hold all of these words
//! ```
//!
//! For each shape and level: the dense step's time, then for each size of group and share of groups that are kept the
//! sparse step's time and how many times faster it is. Figures are the best of many runs in the thread's processor time.

use std::time::Duration;

use cygnet_format::op::{Algorithm, Conv, Epilogue, GroupKind, Op, SparseConv, Unary, Window};
use cygnet_format::program::{DType, Quant, READ_SLACK, Step, Storage, Tensor};
use cygnet_kernels::conv::pack;
use cygnet_kernels::sparse::pack::pack as lists;
use cygnet_kernels::view::Mem;
use cygnet_kernels::{Arena, Cpu, Limits, prepare};

/// Height and width, channels in and out, kernel.
const SHAPES: [(usize, usize, usize, u32); 12] = [
    (112, 16, 96, 1),
    (56, 144, 24, 1),
    (28, 32, 192, 1),
    (28, 192, 32, 1),
    (14, 64, 384, 1),
    (14, 384, 64, 1),
    (14, 576, 96, 1),
    (7, 960, 160, 1),
    (7, 320, 1280, 1),
    (56, 64, 64, 3),
    (28, 128, 128, 3),
    (14, 256, 256, 3),
];

/// Groups that are kept, in percent.
const KEPT: [usize; 5] = [100, 50, 30, 20, 10];

/// A step's operands, the last of them the output.
struct Bench {
    step: Step,
    tensors: Vec<Tensor>,
    weights: Vec<u8>,
}

fn tensor(dtype: DType, storage: Storage, offset: usize, dims: &[usize]) -> Tensor {
    Tensor {
        name: "t".into(),
        dtype,
        storage,
        offset: offset as u64,
        pitch: *dims.last().expect("a dimension") as u32,
        dims: dims.iter().map(|&d| d as u32).collect(),
        quant: (dtype == DType::S8).then_some(Quant { scale: 0.5, zero_point: 3 }),
    }
}

impl Bench {
    /// The dense step, or with groups of some inputs the sparse one.
    fn new((side, c, m, kernel): (usize, usize, usize, u32), group: Option<GroupKind>, w: &[i8]) -> Self {
        let pad = [kernel / 2; 4];
        let window = Window { kernel: [kernel; 2], stride: [1; 2], dilation: [1; 2], pad };
        let epilogue = Epilogue { lo: -128.0, hi: 127.0, unary: Unary::IDENTITY };
        let (mut tensors, mut weights) = (Vec::new(), Vec::new());
        let mut constant = |dtype: DType, bytes: Vec<u8>| {
            weights.resize(weights.len().next_multiple_of(128), 0);
            tensors.push(tensor(dtype, Storage::Weights, weights.len(), &[bytes.len() / dtype.size()]));
            weights.extend(&bytes);
        };
        let taps = (kernel * kernel) as usize;
        let padded = m.next_multiple_of(8);
        let channels = if group.is_some() { m } else { padded };
        let op = match group {
            None => {
                constant(DType::Packed, pack::pack_s8(w, m, taps, c, 1));
                Op::Conv(Conv {
                    window,
                    groups: 1,
                    epilogue,
                    algorithm: Algorithm::Direct,
                    addend_scale: 0.0,
                })
            }
            Some(group) => {
                let lists = lists(w, m, taps, c, group.inputs());
                constant(DType::Packed, lists.weights.iter().map(|w| w.cast_unsigned()).collect());
                constant(DType::Packed, lists.indices.iter().flat_map(|i| i.to_le_bytes()).collect());
                constant(DType::S32, lists.ends.iter().flat_map(|i| i.to_le_bytes()).collect());
                Op::SparseConv(SparseConv { window, group, epilogue })
            }
        };
        constant(DType::S32, vec![0; channels * 4]);
        constant(DType::F32, 1e-4_f32.to_le_bytes().repeat(channels));
        constant(DType::S8, vec![3; c.next_multiple_of(16)]);
        weights.resize(weights.len() + READ_SLACK, 0);
        let constants = tensors.len() as u32;
        let x = tensor(DType::S8, Storage::Arena, 0, &[1, side, side, c]);
        let y_at = (x.extent() as usize + READ_SLACK).next_multiple_of(64);
        tensors.extend([x, tensor(DType::S8, Storage::Arena, y_at, &[1, side, side, m])]);
        let inputs = std::iter::once(constants).chain(0..constants).map(Some).collect();
        Self { step: Step { name: "s".into(), op, inputs, output: constants + 1 }, tensors, weights }
    }

    /// The kernel's name, and its best time.
    fn time(&self, cpu: Cpu) -> (&'static str, Duration) {
        let y = &self.tensors[self.step.output as usize];
        let mut arena = Arena::new((y.offset + y.extent()) as usize + READ_SLACK).expect("memory");
        arena.bytes_mut().iter_mut().enumerate().for_each(|(i, b)| *b = (i % 251) as u8);
        let mut weights = Arena::new(self.weights.len()).expect("memory");
        weights.bytes_mut()[..self.weights.len()].copy_from_slice(&self.weights);
        let limits = Limits { arena_bytes: arena.len(), weights: weights.bytes() };
        let kernel = prepare(&self.step, &self.tensors, &limits, cpu).expect("a step");
        let scratch = Arena::new(kernel.scratch()).expect("memory");
        let mem = Mem { arena: arena.as_ptr(), weights: weights.as_ptr(), scratch: scratch.as_ptr() };
        // SAFETY: the step was prepared against this memory; one thread does each tile in turn.
        let time = best(|| (0..kernel.tiles()).for_each(|tile| unsafe { kernel.run_tile(&mem, tile) }));
        (kernel.name(), time)
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is one that every Linux has, and `t` takes the result.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// The least time of a run, over 0.1 seconds of runs and at least five.
fn best(mut run: impl FnMut()) -> Duration {
    let (mut least, mut all, mut runs) = (Duration::MAX, Duration::ZERO, 0);
    while runs < 5 || all < Duration::from_millis(100) {
        let started = thread_time();
        run();
        let took = thread_time() - started;
        least = least.min(took);
        all += took;
        runs += 1;
    }
    least
}

/// Weights of which this many percent of the groups are not zero, the same in every run.
fn weights(n: usize, group: usize, percent: usize) -> Vec<i8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut w: Vec<i8> = (0..n).map(|_| ((next() % 254) as i16 - 127) as i8 | 1).collect();
    w.chunks_mut(group).filter(|_| next() % 100 >= percent).for_each(|g| g.fill(0));
    w
}

fn main() {
    // `cargo bench` adds an argument of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    for shape in SHAPES {
        let (side, c, m, kernel) = shape;
        let n = m * c * (kernel * kernel) as usize;
        for (level, cpu) in Cpu::runnable().into_iter().rev() {
            let label = format!("{side}x{side}x{c} to {m} {kernel}x{kernel} {level}");
            if !words.iter().all(|word| label.contains(word.as_str())) {
                continue;
            }
            let (name, dense) = Bench::new(shape, None, &weights(n, 4, 100)).time(cpu);
            println!("{label}: {:.1} us {name}", dense.as_secs_f64() * 1e6);
            for group in [GroupKind::Fours, GroupKind::Pairs] {
                let mut line = String::new();
                let mut by = "";
                for percent in KEPT {
                    let (name, time) =
                        Bench::new(shape, Some(group), &weights(n, group.inputs(), percent)).time(cpu);
                    let times = dense.as_secs_f64() / time.as_secs_f64();
                    line += &format!("  {percent} % {:.1} us x{times:.2}", time.as_secs_f64() * 1e6);
                    by = name;
                }
                println!("   {by:<28}{line}");
            }
        }
    }
}
