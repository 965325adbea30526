//! Speed of every kernel row on shapes of real networks, one thread.
//!
//! ```sh
//! cargo bench -p cygnet-kernels                    # all rows that this machine runs
//! cargo bench -p cygnet-kernels -- s8 3x3          # those whose line holds all of these words
//! cargo bench -p cygnet-kernels -- f32 winograd    # an algorithm
//! ```
//!
//! The figure is the best of many runs in processor time of the thread, which other work on the machine disturbs
//! least. Percentages are of the machine's own peak for the element type, measured first: fused multiply-adds for
//! floating point; for s8 the dot product of four bytes (VPDPBUSD) where there is AVX-512 with VNNI, else the widening
//! multiply-add of 16-bit pairs.

use std::time::Duration;

use cygnet_format::op::{Algorithm, Conv, DepthwiseConv, Epilogue, Op, Unary, Window};
use cygnet_format::program::{DType, Quant, READ_SLACK, Step, Storage, Tensor};
use cygnet_kernels::conv::pack;
use cygnet_kernels::view::Mem;
use cygnet_kernels::{Arena, Cpu, Kernel, Limits, depthwise, prepare};

/// Input height and width, channels in and out, kernel and stride; a depthwise convolution when it has no output
/// channels of its own.
struct Shape(usize, usize, usize, u32, u32);

const SHAPES: &[Shape] = &[
    // First layers.
    Shape(224, 3, 32, 3, 2),
    Shape(320, 3, 16, 3, 2),
    Shape(224, 3, 64, 7, 2),
    // Pointwise: MobileNet's wide and narrow ends, transformers.
    Shape(112, 16, 96, 1, 1),
    Shape(56, 144, 24, 1, 1),
    Shape(28, 32, 192, 1, 1),
    Shape(14, 384, 64, 1, 1),
    Shape(7, 960, 160, 1, 1),
    Shape(7, 320, 1280, 1, 1),
    Shape(40, 64, 64, 1, 1),
    Shape(20, 256, 128, 1, 1),
    // 3x3 of YOLOs and ResNets.
    Shape(80, 16, 16, 3, 1),
    Shape(40, 32, 32, 3, 1),
    Shape(40, 64, 64, 3, 1),
    Shape(40, 80, 80, 3, 1),
    Shape(20, 64, 64, 3, 1),
    Shape(80, 32, 64, 3, 2),
    Shape(56, 64, 64, 3, 1),
    Shape(28, 128, 128, 3, 1),
    Shape(14, 256, 256, 3, 1),
    Shape(7, 512, 512, 3, 1),
    // Depthwise.
    Shape(112, 32, 0, 3, 1),
    Shape(112, 96, 0, 3, 2),
    Shape(28, 192, 0, 3, 1),
    Shape(14, 576, 0, 3, 1),
    Shape(14, 576, 0, 5, 2),
];

impl Shape {
    fn is_depthwise(&self) -> bool {
        self.2 == 0
    }

    fn suits_winograd(&self) -> bool {
        !self.is_depthwise() && (self.3, self.4) == (3, 1)
    }

    fn channels(&self) -> usize {
        if self.is_depthwise() { self.1 } else { self.2 }
    }

    fn output(&self) -> usize {
        self.0.div_ceil(self.4 as usize)
    }

    fn window(&self) -> Window {
        let Self(input, .., kernel, stride) = *self;
        let reach = (self.output() - 1) * stride as usize + kernel as usize;
        let all = (reach - input.min(reach)) as u32;
        let (before, after) = (all / 2, all - all / 2);
        Window {
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            pad: [before, before, after, after],
        }
    }

    fn label(&self) -> String {
        let &Self(input, c, m, kernel, stride) = self;
        let to = if self.is_depthwise() { "depthwise".into() } else { format!("to {m}") };
        format!("{input}x{input}x{c} {to} {kernel}x{kernel}/{stride}")
    }
}

/// A step with its memory.
struct Bench {
    step: Step,
    tensors: Vec<Tensor>,
    weights: Arena,
    arena: Arena,
}

impl Bench {
    fn new(shape: &Shape, dtype: DType, algorithm: Algorithm) -> Self {
        let &Shape(input, c, ..) = shape;
        let (m, output, window) = (shape.channels(), shape.output(), shape.window());
        let taps = (window.kernel[0] * window.kernel[1]) as usize;
        let (lo, hi) = if dtype == DType::S8 { (-128.0, 127.0) } else { (0.0, 6.0) };
        let epilogue = Epilogue { lo, hi, unary: Unary::IDENTITY };
        let small: Vec<i8> =
            (0..m * taps * c).map(|i| (i * 37 % 255) as u8 as i8).map(|w| w.max(-127)).collect();
        let (op, packed, padded) = if shape.is_depthwise() {
            let padded = depthwise::pack::padded_channels(c);
            let bytes = (0..taps * padded * dtype.size()).map(|i| (i % 101) as u8).collect();
            (Op::DepthwiseConv(DepthwiseConv { window, epilogue }), bytes, padded)
        } else {
            let packed = match dtype {
                DType::S8 => pack::pack_s8(&small, m, taps, c, 1),
                DType::F16 => {
                    let w: Vec<_> =
                        small.iter().map(|&w| half::f16::from_f32(f32::from(w) / 512.0)).collect();
                    pack::pack_f16(&w, m, taps, c, 1)
                }
                _ => pack::pack_f32(&small.iter().map(|&w| f32::from(w)).collect::<Vec<_>>(), m, taps, c, 1),
            };
            (
                Op::Conv(Conv { window, groups: 1, epilogue, algorithm, addend_scale: 0.0 }),
                packed,
                pack::padded_channels(m, 1).unwrap(),
            )
        };
        let mut weights = Vec::new();
        let mut constant = |dtype: DType, bytes: Vec<u8>| {
            weights.resize(weights.len().next_multiple_of(64), 0);
            let offset = weights.len();
            weights.extend(&bytes);
            tensor(dtype, Storage::Weights, offset, &[bytes.len() / dtype.size()])
        };
        let s8 = dtype == DType::S8;
        let bias = if s8 { DType::S32 } else { DType::F32 };
        let mut tensors = vec![constant(DType::Packed, packed), constant(bias, vec![0; padded * 4])];
        let scales = [0.0001_f32; 1].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().repeat(padded);
        tensors.push(constant(DType::F32, scales));
        tensors.push(constant(dtype, vec![0; padded.max(c.next_multiple_of(16)) * dtype.size()]));
        let x = tensor(dtype, Storage::Arena, 0, &[1, input, input, c]);
        let y_at = (x.extent() as usize + READ_SLACK).next_multiple_of(64);
        let y = tensor(dtype, Storage::Arena, y_at, &[1, output, output, m]);
        let arena_bytes = y_at + y.extent() as usize + READ_SLACK;
        tensors.extend([x, y]);
        let pads = window.pad != [0; 4];
        let inputs = vec![Some(4), Some(0), Some(1), s8.then_some(2), pads.then_some(3)];
        let mut bytes = Arena::new(weights.len() + READ_SLACK).unwrap();
        bytes.bytes_mut()[..weights.len()].copy_from_slice(&weights);
        let mut arena = Arena::new(arena_bytes).unwrap();
        if s8 {
            arena.bytes_mut().iter_mut().enumerate().for_each(|(i, b)| *b = (i % 251) as u8);
        }
        let step = Step { name: shape.label(), op, inputs, output: 5 };
        Self { step, tensors, weights: bytes, arena }
    }

    /// The kernel's name, and its best time.
    fn time(&self, cpu: Cpu) -> (&'static str, u64, Duration) {
        let limits = Limits { arena_bytes: self.arena.len(), weights: self.weights.bytes() };
        let kernel = prepare(&self.step, &self.tensors, &limits, cpu).unwrap();
        let scratch = Arena::new(kernel.scratch()).unwrap();
        let mem =
            Mem { arena: self.arena.as_ptr(), weights: self.weights.as_ptr(), scratch: scratch.as_ptr() };
        // SAFETY: the step was prepared against this memory; one thread does each tile in turn.
        let run =
            |kernel: &dyn Kernel| (0..kernel.tiles()).for_each(|tile| unsafe { kernel.run_tile(&mem, tile) });
        (kernel.name(), kernel.macs(), best(|| run(&*kernel)))
    }
}

fn tensor(dtype: DType, storage: Storage, offset: usize, dims: &[usize]) -> Tensor {
    Tensor {
        name: "t".into(),
        dtype,
        storage,
        offset: offset as u64,
        pitch: *dims.last().unwrap() as u32,
        dims: dims.iter().map(|&d| d as u32).collect(),
        quant: (dtype == DType::S8).then_some(Quant { scale: 0.5, zero_point: 3 }),
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is one that every Linux has, and `t` takes the result.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// The least time of a run, over 0.3 seconds of runs and at least five.
fn best(mut run: impl FnMut()) -> Duration {
    let (mut least, mut all, mut runs) = (Duration::MAX, Duration::ZERO, 0);
    while runs < 5 || all < Duration::from_millis(300) {
        let started = thread_time();
        run();
        let took = thread_time() - started;
        least = least.min(took);
        all += took;
        runs += 1;
    }
    least
}

/// Multiply-accumulates that the machine can do in a nanosecond: s8 and f32.
fn peaks() -> [f64; 2] {
    #[cfg(target_arch = "x86_64")]
    if Cpu::forced("avx512vnni").is_ok() {
        // SAFETY: the processor has AVX-512 and VNNI.
        return unsafe { [peak_s8_512(), peak_f32_512()] };
    }
    #[cfg(target_arch = "x86_64")]
    if Cpu::forced("avx2").is_ok() {
        // SAFETY: the processor has AVX2 and FMA.
        return unsafe { [peak_s8(), peak_f32()] };
    }
    [f64::NAN; 2]
}

/// Rounds of a peak's loop.
#[cfg(target_arch = "x86_64")]
const ROUNDS: u32 = 100_000;

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn peak_s8() -> f64 {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_setzero_si256(); 12];
    let (x, w) = (_mm256_set1_epi16(std::hint::black_box(3)), _mm256_set1_epi16(std::hint::black_box(-5)));
    let time = best(|| {
        for _ in 0..ROUNDS {
            // The factors seem to change, so that no product is kept.
            let x = std::hint::black_box(x);
            for sum in &mut sums {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_add_epi16(x, *sum), w));
            }
        }
    });
    std::hint::black_box(sums);
    f64::from(ROUNDS) * 12.0 * 16.0 / time.as_nanos() as f64
}

/// # Safety
/// The processor has FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn peak_f32() -> f64 {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_setzero_ps(); 12];
    let (x, w) = (_mm256_set1_ps(std::hint::black_box(0.999)), _mm256_set1_ps(std::hint::black_box(1e-3)));
    let time = best(|| {
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(x, *sum, w);
            }
        }
    });
    std::hint::black_box(sums);
    f64::from(ROUNDS) * 12.0 * 8.0 / time.as_nanos() as f64
}

/// Loops of so many independent sums of 512 bits, `$step` being the instruction on one.
#[cfg(target_arch = "x86_64")]
macro_rules! peak_512 {
    ($name:ident, $step:literal, $macs:literal) => {
        /// # Safety
        /// The processor has AVX-512 and VNNI.
        #[target_feature(enable = "avx512f,avx512vnni")]
        unsafe fn $name() -> f64 {
            let time = best(|| {
                // SAFETY: registers only, whose contents do not matter: they start as zeros.
                unsafe {
                    std::arch::asm!(
                        concat!(
                            ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25\n",
                            "vpxorq %zmm\\r, %zmm\\r, %zmm\\r\n",
                            ".endr\n",
                            "2:\n",
                            ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\n",
                            $step, " %zmm24, %zmm25, %zmm\\r\n",
                            ".endr\n",
                            "dec {0:e}\n",
                            "jnz 2b",
                        ),
                        inout(reg) ROUNDS => _,
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
                        out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                        out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _,
                        out("zmm17") _, out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _,
                        out("zmm22") _, out("zmm23") _, out("zmm24") _, out("zmm25") _,
                        options(att_syntax, nostack, nomem),
                    );
                }
            });
            f64::from(ROUNDS) * 24.0 * $macs / time.as_nanos() as f64
        }
    };
}

#[cfg(target_arch = "x86_64")]
peak_512!(peak_s8_512, "vpdpbusd", 64.0);
#[cfg(target_arch = "x86_64")]
peak_512!(peak_f32_512, "vfmadd231ps", 16.0);

fn main() {
    // `cargo bench` adds an argument of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [s8, f32] = peaks();
    println!("peak: s8 {s8:.1} MAC/ns, f32 {f32:.1} MAC/ns\n");
    println!("{:<34}{:<34}{:>10}{:>10}{:>8}", "shape", "kernel", "us", "MAC/ns", "% peak");
    let direct = [DType::S8, DType::F32, DType::F16].map(|dtype| (dtype, Algorithm::Direct));
    for (dtype, algorithm) in direct.into_iter().chain([(DType::F32, Algorithm::Winograd4x4)]) {
        let able = |shape: &&Shape| algorithm == Algorithm::Direct || shape.suits_winograd();
        for shape in SHAPES.iter().filter(able) {
            let wanted = |isa: &str| {
                let line = format!("{} {} {} {isa}", dtype.name(), algorithm.name(), shape.label());
                words.iter().all(|word| line.contains(word.as_str()))
            };
            let levels: Vec<_> = Cpu::runnable().into_iter().rev().filter(|(isa, _)| wanted(isa)).collect();
            if levels.is_empty() {
                continue;
            }
            let bench = Bench::new(shape, dtype, algorithm);
            let mut seen = Vec::new();
            for (_, cpu) in levels {
                let limits = Limits { arena_bytes: bench.arena.len(), weights: bench.weights.bytes() };
                let name = prepare(&bench.step, &bench.tensors, &limits, cpu).unwrap().name();
                if seen.contains(&name) {
                    continue;
                }
                seen.push(name);
                let (name, macs, time) = bench.time(cpu);
                let rate = macs as f64 / time.as_nanos() as f64;
                let share = 100.0 * rate / if dtype == DType::S8 { s8 } else { f32 };
                let us = time.as_secs_f64() * 1e6;
                println!("{:<34}{name:<34}{us:>10.1}{rate:>10.2}{share:>8.1}", shape.label());
            }
        }
    }
}
