//! What this machine does: multiply-accumulates per second of each class of kernels, and bytes per second of memory.
//!
//! Each class is one convolution on the shape of a real network's middle layer, run as sessions run it. The figure is
//! that of the median run: what a device holds, not what it reaches once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cygnet_format::op::{Algorithm, Conv, DepthwiseConv, Epilogue, Op, Unary, Window};
use cygnet_format::program::{DType, Program, Quant, READ_SLACK, Step, Storage, Tensor};
use cygnet_kernels::conv::pack;
use cygnet_kernels::exec::{Leader, Weights};
use cygnet_kernels::{Arena, Cpu, depthwise};
use half::f16;

use crate::error::Error;
use crate::pool::Pool;

/// What kind of layer is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Convolution of 3 x 3 over 40 x 40 x 64, to 64 channels: YOLOs and ResNets.
    Conv3x3,
    /// Convolution of 1 x 1 over 28 x 28 x 128, to 128 channels: a matrix product.
    Pointwise,
    /// Depthwise convolution of 3 x 3 over 28 x 28 x 192: MobileNets and EfficientNets.
    Depthwise,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Conv3x3, Self::Pointwise, Self::Depthwise];

    /// Its name, as reports print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv3x3 => "conv-3x3",
            Self::Pointwise => "pointwise",
            Self::Depthwise => "depthwise",
        }
    }

    /// Side of the input, channels in and out, side of the window.
    fn shape(self) -> (usize, usize, usize, u32) {
        match self {
            Self::Conv3x3 => (40, 64, 64, 3),
            Self::Pointwise => (28, 128, 128, 1),
            Self::Depthwise => (28, 192, 192, 3),
        }
    }
}

/// The element types that products are measured in.
pub const TYPES: [DType; 3] = [DType::S8, DType::F16, DType::F32];

/// One class of kernels on this machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The layer.
    pub layer: Layer,
    /// s8, f16 or f32.
    pub dtype: DType,
    /// The implementation that was chosen for the processor.
    pub kernel: &'static str,
    /// Multiply-accumulates per second, in 10^9.
    pub gmac_per_s: f64,
}

/// Names the kernel that a class takes on `cpu`, without running it.
///
/// # Errors
/// When there is no memory for the layer.
pub fn kernel(layer: Layer, dtype: DType, cpu: Cpu) -> Result<&'static str, Error> {
    Ok(leader(layer, dtype, cpu, 1)?.kernels()[0].name())
}

/// Measures one class on the threads of `pool`, for about `budget`, and at least five runs.
///
/// # Errors
/// When there is no memory for the layer, or a kernel panicked.
pub fn rate(layer: Layer, dtype: DType, cpu: Cpu, pool: &Pool, budget: Duration) -> Result<Rate, Error> {
    let mut leader = leader(layer, dtype, cpu, pool.threads())?;
    let helper = leader.helper();
    let mut run = || {
        pool.offer(&helper, pool.threads() - 1);
        let started = Instant::now();
        leader.run().map(|()| started.elapsed()).map_err(Error::Run)
    };
    run()?;
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 5 || begin.elapsed() < budget {
        times.push(run()?);
    }
    times.sort_unstable();
    let seconds = times[times.len() / 2].as_secs_f64().max(1e-9);
    let kernel = &leader.kernels()[0];
    Ok(Rate { layer, dtype, kernel: kernel.name(), gmac_per_s: kernel.macs() as f64 / seconds / 1e9 })
}

/// Reads memory that no cache holds on so many threads, each its own `bytes_each`; gives the most bytes per second that
/// were read, in 10^9. `None` when there is no such memory.
pub fn read_bandwidth(threads: usize, bytes_each: usize, budget: Duration) -> Option<f64> {
    let parts: Vec<Arena> = (0..threads.max(1)).map(|_| filled(bytes_each)).collect::<Option<_>>()?;
    let bytes: usize = parts.iter().map(Arena::len).sum();
    let begin = Instant::now();
    let (mut best, mut rounds) = (0.0_f64, 0);
    while rounds < 3 || begin.elapsed() < budget {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for part in &parts[1..] {
                scope.spawn(|| black_box(sum(part.bytes())));
            }
            black_box(sum(parts[0].bytes()));
        });
        best = best.max(bytes as f64 / started.elapsed().as_secs_f64().max(1e-9));
        rounds += 1;
    }
    Some(best / 1e9)
}

/// Memory that was written once: pages that were not are one page of zeros.
fn filled(bytes: usize) -> Option<Arena> {
    let mut arena = Arena::new(bytes)?;
    arena.bytes_mut().fill(1);
    Some(arena)
}

/// Many sums at a time, so that the additions never hold up the loads.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0_u64; 16];
    for block in bytes.as_chunks::<128>().0 {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

fn leader(layer: Layer, dtype: DType, cpu: Cpu, threads: usize) -> Result<Leader, Error> {
    let (program, weights) = layer_program(layer, dtype);
    let no_memory = Error::NoMemory(weights.len());
    let mut arena = Arena::new(weights.len()).ok_or(no_memory)?;
    arena.bytes_mut().copy_from_slice(&weights);
    let weights: Arc<dyn Weights> = Arc::new(arena);
    let mut leader = Leader::new(&program, weights, cpu, threads)
        .map_err(|source| Error::Prepare { program: program.name.clone(), source })?;
    let input = &program.tensors[INPUT];
    let range = input.offset as usize..(input.offset + input.extent()) as usize;
    fill(&mut leader.arena_mut()[range], dtype);
    Ok(leader)
}

/// Values of every size that a network's are of.
fn fill(bytes: &mut [u8], dtype: DType) {
    let values = (0..).map(|i: usize| (i % 251) as f32 / 251.0 - 0.5);
    match dtype {
        DType::S8 => bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i % 251) as u8),
        DType::F16 => {
            let (words, _) = bytes.as_chunks_mut();
            words.iter_mut().zip(values).for_each(|(to, v)| *to = f16::from_f32(v).to_le_bytes());
        }
        _ => {
            let (words, _) = bytes.as_chunks_mut();
            words.iter_mut().zip(values).for_each(|(to, v)| *to = f32::to_le_bytes(v));
        }
    }
}

/// Where the input stands among the tensors of a layer's program.
const INPUT: usize = 4;

/// A program of one step, and its weights with their slack.
fn layer_program(layer: Layer, dtype: DType) -> (Program, Vec<u8>) {
    let (side, c, m, kernel) = layer.shape();
    let taps = (kernel * kernel) as usize;
    let pad = kernel / 2;
    let window = Window { kernel: [kernel; 2], stride: [1; 2], dilation: [1; 2], pad: [pad; 4] };
    let (lo, hi) = if dtype == DType::S8 { (-128.0, 127.0) } else { (0.0, 6.0) };
    let epilogue = Epilogue { lo, hi, unary: Unary::IDENTITY };
    let depthwise = layer == Layer::Depthwise;
    let count = if depthwise { taps * c } else { m * taps * c };
    let small: Vec<i8> = (0..count).map(|i| (i * 37 % 255) as i32 - 127).map(|w| w as i8).collect();
    let (packed, padded) = packed(&small, dtype, depthwise, [m, taps, c]);
    let op = if depthwise {
        Op::DepthwiseConv(DepthwiseConv { window, epilogue })
    } else {
        Op::Conv(Conv { window, groups: 1, epilogue, algorithm: Algorithm::Direct, addend_scale: 0.0 })
    };

    let mut weights = Vec::new();
    let mut constant = |dtype: DType, bytes: Vec<u8>| {
        weights.resize(weights.len().next_multiple_of(64), 0);
        let offset = weights.len();
        weights.extend(&bytes);
        tensor(dtype, Storage::Weights, offset, &[bytes.len() / dtype.size()])
    };
    let s8 = dtype == DType::S8;
    let scales = 0.0001_f32.to_le_bytes().repeat(padded);
    let mut tensors = vec![
        constant(DType::Packed, packed),
        constant(if s8 { DType::S32 } else { DType::F32 }, vec![0; padded * 4]),
        constant(DType::F32, scales),
        constant(dtype, vec![0; padded.max(c.next_multiple_of(16)) * dtype.size()]),
    ];
    weights.resize(weights.len() + READ_SLACK, 0);
    let x = tensor(dtype, Storage::Arena, 0, &[1, side, side, c]);
    let y_at = (x.extent() as usize + READ_SLACK).next_multiple_of(64);
    let y = tensor(dtype, Storage::Arena, y_at, &[1, side, side, m]);
    let arena_bytes = y_at as u64 + y.extent() + READ_SLACK as u64;
    tensors.extend([x, y]);
    let inputs = vec![Some(INPUT as u32), Some(0), Some(1), s8.then_some(2), (pad > 0).then_some(3)];
    let name = layer.name().to_owned();
    let step = Step { name: name.clone(), op, inputs, output: 5 };
    let program = Program {
        name,
        tensors,
        steps: vec![step],
        inputs: vec![],
        outputs: vec![],
        states: vec![],
        arena_bytes,
        arena_lower_bound: 0,
    };
    (program, weights)
}

/// Weights in the layout of the kernels, and the channels that are stored.
fn packed(small: &[i8], dtype: DType, depthwise: bool, [m, taps, depth]: [usize; 3]) -> (Vec<u8>, usize) {
    let halves = || small.iter().map(|&w| f16::from_f32(f32::from(w) / 512.0)).collect::<Vec<_>>();
    let floats = || small.iter().map(|&w| f32::from(w) / 512.0).collect::<Vec<_>>();
    if depthwise {
        let bytes = match dtype {
            DType::S8 => depthwise::pack::pack_s8(small, depth),
            DType::F16 => depthwise::pack::pack_f16(&halves(), depth),
            _ => depthwise::pack::pack_f32(&floats(), depth),
        };
        return (bytes, depthwise::pack::padded_channels(depth));
    }
    let bytes = match dtype {
        DType::S8 => pack::pack_s8(small, m, taps, depth, 1),
        DType::F16 => pack::pack_f16(&halves(), m, taps, depth, 1),
        _ => pack::pack_f32(&floats(), m, taps, depth, 1),
    };
    // The number of channels is small: it cannot overflow.
    (bytes, pack::padded_channels(m, 1).unwrap_or(m))
}

fn tensor(dtype: DType, storage: Storage, offset: usize, dims: &[usize]) -> Tensor {
    Tensor {
        name: String::new(),
        dtype,
        storage,
        offset: offset as u64,
        pitch: dims.last().map_or(1, |&d| d as u32),
        dims: dims.iter().map(|&d| d as u32).collect(),
        quant: (dtype == DType::S8).then_some(Quant { scale: 0.5, zero_point: 3 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::PoolOptions;

    /// On every level that the machine runs, with helpers: what is counted is the layer's own multiply-accumulates.
    #[test]
    fn every_class_runs_on_every_level() {
        let pool = Pool::new(&PoolOptions { threads: Some(2), cores: None }).unwrap();
        for (level, cpu) in Cpu::runnable() {
            for layer in Layer::ALL {
                for dtype in TYPES {
                    let rate = rate(layer, dtype, cpu, &pool, Duration::ZERO).unwrap();
                    assert!(rate.gmac_per_s > 0.0 && rate.gmac_per_s.is_finite(), "{level} {rate:?}");
                    assert_eq!(rate.kernel, kernel(layer, dtype, cpu).unwrap(), "{level}");
                    assert!(rate.kernel.contains(dtype.name()), "{level} {rate:?}");
                }
            }
        }
    }

    #[test]
    fn layers_count_the_products_of_their_definition() {
        let macs = |layer| leader(layer, DType::F32, Cpu::detect(), 1).unwrap().kernels()[0].macs();
        assert_eq!(macs(Layer::Conv3x3), 40 * 40 * 64 * 64 * 9);
        assert_eq!(macs(Layer::Pointwise), 28 * 28 * 128 * 128);
        assert_eq!(macs(Layer::Depthwise), 28 * 28 * 192 * 9);
    }

    #[test]
    fn memory_is_read_whole() {
        assert_eq!(sum(&[1; 256]), 32 * 0x0101_0101_0101_0101);
        assert!(read_bandwidth(2, 1 << 20, Duration::ZERO).unwrap() > 0.0);
    }
}
