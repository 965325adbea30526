//! AVX-512: blocks of pixels, twelve of them times four panels at a time; f16 operands are converted to f32 on the way.
//!
//! The inputs of a block's pixels are first copied to scratch, where each pixel's are one run. Long runs are copied in
//! chunks, and sums wait in the output for the next one, as they are: an f32 takes the same additions either way.

use std::arch::x86_64::*;

use crate::conv::avx512::{self, Fma, LANES, Multiply, Run, Sums, ahead};
use crate::conv::block::{Block, Problem};
use crate::conv::gather::{self, Sink};
use crate::conv::micro::NR;
use crate::float::{Float, Half, Single};

/// Pixels computed at once.
pub(crate) const MR: usize = avx512::MR;

/// Most pixels of a block.
const PIXELS: usize = 96;

/// Most inputs of a chunk.
const CHUNK: usize = 1024;

/// Numbers from a pixel's inputs to the next pixel's beyond those: a multiple of 4 KiB would make all pixels share a
/// few lines of the first-level cache.
const APART: usize = 16;

/// Bytes of scratch: a chunk's inputs, copied sixteen at a time.
pub(crate) const SCRATCH: usize = (PIXELS * (CHUNK / 2 + APART) + LANES) * 4;

/// Most pixels of a block over any number of f32 inputs.
pub(crate) fn pixels_f32(_: usize) -> usize {
    PIXELS
}

/// Most pixels of a block over `k` f16 inputs, which are not cut into chunks: an output of halves cannot hold sums.
pub(crate) fn pixels_f16(k: usize) -> usize {
    ((SCRATCH / 4 - LANES) / (k + APART)).min(PIXELS) / MR * MR
}

/// Always: a single pixel has its inputs copied in no time.
pub(crate) fn suits(_: &Problem) -> bool {
    true
}

/// Sixteen numbers, f16 when HALF.
///
/// # Safety
/// They can be read; the processor has AVX-512 F.
#[inline(always)]
unsafe fn load<const HALF: bool>(p: *const u8) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { if HALF { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) } else { _mm512_loadu_ps(p.cast()) } }
}

/// The same, of which the first `n` can be read; the others are zero.
///
/// # Safety
/// `n` numbers can be read; the processor has AVX-512 F, BW and VL.
#[inline(always)]
unsafe fn load_part<const HALF: bool>(p: *const u8, n: usize) -> __m512 {
    let mask = (1_u32 << n.min(LANES)) - 1;
    // SAFETY: masked lanes are not read.
    unsafe {
        if HALF {
            _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask as __mmask16, p.cast()))
        } else {
            _mm512_maskz_loadu_ps(mask as __mmask16, p.cast())
        }
    }
}

/// Copies runs of inputs to pixels `stride` numbers apart. What is written past a run is written over by the runs that
/// follow it, or lies between two pixels' inputs.
struct Copied<const HALF: bool> {
    to: *mut f32,
    stride: usize,
    depth: usize,
    /// The first tap, and what to leave out at its beginning.
    tap: usize,
    skip: usize,
    /// Most inputs of a pixel.
    n: usize,
}

impl<const HALF: bool> Sink for Copied<HALF> {
    #[inline(always)]
    unsafe fn take(&mut self, run: gather::Run) {
        let size = if HALF { Half::SIZE } else { Single::SIZE };
        // SAFETY: the pixels have room; the run can be read.
        unsafe {
            let to = self.to.add(run.pixel * self.stride + (run.tap - self.tap) * self.depth);
            let from = run.from.add(self.skip * size);
            let n = self.n.min(run.taps * self.depth);
            let mut i = 0;
            while i + LANES <= n {
                _mm512_storeu_ps(to.add(i), load::<HALF>(from.add(i * size)));
                i += LANES;
            }
            if i < n {
                _mm512_storeu_ps(to.add(i), load_part::<HALF>(from.add(i * size), n - i));
            }
        }
    }
}

/// Copies inputs `start..start + n` of every pixel: whole taps, or a part of one.
///
/// # Safety
/// As [`crate::conv::block::Run`]; `to` has room for all pixels, `stride` numbers apart, and a register more.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn inputs<const HALF: bool>(b: &Block<'_>, start: usize, n: usize, stride: usize, to: *mut f32) {
    let (tap, skip) = (start / b.depth, start % b.depth);
    let mut to = Copied::<HALF> { to, stride, depth: b.depth, tap, skip, n };
    // SAFETY: the caller's promise.
    unsafe { b.inputs.runs(tap..(start + n).div_ceil(b.depth), &mut to) };
}

/// A chunk of a block's inputs.
struct Chunk {
    /// `[pixel][stride]`
    inputs: *const f32,
    stride: usize,
    /// The first input, how many, and of how many.
    start: usize,
    n: usize,
    k: usize,
}

/// M pixels from `pixel` on times P pairs of panels from column `first` on: a chunk's products, after those of the
/// chunks before.
///
/// # Safety
/// As [`crate::conv::block::Run`], the chunk's inputs having been copied; each pair's first panel holds columns that
/// count.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c")]
unsafe fn tile<const HALF: bool, const M: usize, const P: usize>(
    b: &Block<'_>,
    c: &Chunk,
    first: usize,
    pixel: usize,
) {
    let size = if HALF { Half::SIZE } else { Single::SIZE };
    let mut sums: Sums<M, P> = [[_mm512_setzero_si512(); P]; M];
    let mut w = [[b.w; 2]; P];
    let mut counts = [0_u16; P];
    // SAFETY: the block's pixels, biases and weights of whole panels, and 32 bytes behind biases.
    unsafe {
        for p in 0..P {
            let at = first + p * LANES;
            let panel = b.w.add((at * c.k + c.start * NR) * size);
            // Columns of a panel that is not there do not count: the first one takes its place.
            w[p] = [panel, if b.cols - at > NR { panel.add(NR * c.k * size) } else { panel }];
            counts[p] = ((1_u32 << (b.cols - at).min(LANES)) - 1) as u16;
            let bias = _mm512_loadu_si512(b.bias.cast::<f32>().add(at).cast());
            for i in 0..M {
                sums[i][p] = if c.start == 0 {
                    bias
                } else {
                    let y = (*b.y.add(pixel + i)).add(b.offset + at * size);
                    _mm512_maskz_loadu_epi32(counts[p], y.cast())
                };
            }
        }
        let a = c.inputs.add(pixel * c.stride);
        if HALF {
            multiply_half(&mut sums, a, c.stride, w, c.n);
        } else if c.n > 0 {
            let run = Run {
                a: a.cast(),
                stride: c.stride * size,
                w,
                units: c.n,
                ahead: ahead::<P>(w[0][0], c.k, c.n, pixel / M),
            };
            avx512::multiply::<Fma, M, P>(&mut sums, &run);
        }
        let last = c.start + c.n == c.k;
        let (lo, hi) = (_mm512_set1_ps(b.lo), _mm512_set1_ps(b.hi));
        for i in 0..M {
            let y = (*b.y.add(pixel + i)).add(b.offset + first * size);
            for p in 0..P {
                let sum = _mm512_castsi512_ps(sums[i][p]);
                // The second operand where the comparison fails, as the definition of clamp has it.
                let v = if last { _mm512_min_ps(hi, _mm512_max_ps(lo, sum)) } else { sum };
                let y = y.add(p * LANES * size);
                if HALF {
                    let v = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
                    _mm256_mask_storeu_epi16(y.cast(), counts[p], v);
                } else {
                    _mm512_mask_storeu_ps(y.cast(), counts[p], v);
                }
            }
        }
    }
}

/// Adds the products of `n` f32 inputs of M pixels with f16 weights of P pairs of panels.
///
/// # Safety
/// `a` is valid for `n` numbers at each of M multiples of `stride`, each of `w` for as many units of a panel.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni,f16c")]
unsafe fn multiply_half<const M: usize, const P: usize>(
    sums: &mut Sums<M, P>,
    a: *const f32,
    stride: usize,
    w: [[*const u8; 2]; P],
    n: usize,
) {
    let mut c = *sums;
    for k in 0..n {
        // SAFETY: the caller's promise.
        unsafe {
            let mut wk = [_mm512_setzero_si512(); P];
            for p in 0..P {
                let low = _mm_loadu_si128(w[p][0].add(k * NR * Half::SIZE).cast());
                let high = _mm_loadu_si128(w[p][1].add(k * NR * Half::SIZE).cast());
                let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
                wk[p] = _mm512_castps_si512(_mm512_cvtph_ps(both));
            }
            for i in 0..M {
                let x = _mm512_castps_si512(_mm512_set1_ps(*a.add(i * stride + k)));
                for p in 0..P {
                    c[i][p] = Fma::step(c[i][p], x, wk[p]);
                }
            }
        }
    }
    *sums = c;
}

/// All pixels times P pairs of panels from column `first` on.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c")]
unsafe fn columns<const HALF: bool, const MR: usize, const P: usize>(b: &Block<'_>, c: &Chunk, first: usize) {
    let mut pixel = 0;
    while pixel < b.pixels {
        let count = avx512::next(b.pixels - pixel, MR);
        // SAFETY: the caller's promise.
        unsafe {
            match count {
                1 => tile::<HALF, 1, P>(b, c, first, pixel),
                2 => tile::<HALF, 2, P>(b, c, first, pixel),
                3 => tile::<HALF, 3, P>(b, c, first, pixel),
                4 => tile::<HALF, 4, P>(b, c, first, pixel),
                5 => tile::<HALF, 5, P>(b, c, first, pixel),
                6 => tile::<HALF, 6, P>(b, c, first, pixel),
                7 => tile::<HALF, 7, P>(b, c, first, pixel),
                8 => tile::<HALF, 8, P>(b, c, first, pixel),
                _ => tile::<HALF, MR, P>(b, c, first, pixel),
            }
        }
        pixel += count;
    }
}

/// Columns from `first` on times up to three pixels: more columns at once, since so few pixels have too few sums to keep
/// multipliers busy.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c")]
unsafe fn wide<const HALF: bool, const M: usize, const P: usize>(b: &Block<'_>, c: &Chunk) -> usize {
    let mut first = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while b.cols - first >= P * LANES {
            tile::<HALF, M, P>(b, c, first, 0);
            first += P * LANES;
        }
    }
    first
}

/// A block of pixels.
///
/// # Safety
/// As [`crate::conv::block::Run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c")]
pub(crate) unsafe fn block<const HALF: bool>(b: &Block<'_>) {
    let k = b.taps * b.depth;
    let most = if HALF { k } else { chunk(b, k) };
    let mut start = 0;
    // SAFETY: the caller's promise; the scratch has [`SCRATCH`] bytes.
    unsafe {
        loop {
            let c = match b.inputs.matrix() {
                // Rows of f32 are read where they are.
                Some((from, row)) if !HALF && !row.is_multiple_of(4 << 10) => {
                    Chunk { inputs: from.cast(), stride: row / 4, start: 0, n: k, k }
                }
                _ => {
                    let part = if most < b.depth { b.depth - start % b.depth } else { k - start };
                    let n = most.min(part);
                    let (to, stride) = (b.scratch.cast::<f32>(), n + APART);
                    inputs::<HALF>(b, start, n, stride, to);
                    Chunk { inputs: to, stride, start, n, k }
                }
            };
            let mut first = match b.pixels {
                1 => wide::<HALF, 1, 8>(b, &c),
                2 => wide::<HALF, 2, 4>(b, &c),
                3 => wide::<HALF, 3, 4>(b, &c),
                _ => 0,
            };
            while first < b.cols {
                match (b.cols - first).div_ceil(LANES) {
                    1 => {
                        columns::<HALF, MR, 1>(b, &c, first);
                        first += LANES;
                    }
                    // In place of two, of which the second would have one register alone.
                    3 => {
                        columns::<HALF, { avx512::MR_3 }, 3>(b, &c, first);
                        first += 3 * LANES;
                    }
                    _ => {
                        columns::<HALF, MR, 2>(b, &c, first);
                        first += 2 * LANES;
                    }
                }
            }
            start += c.n;
            if start == k {
                return;
            }
        }
    }
}

/// Inputs of a chunk: as many as the scratch takes; whole taps, or an even part of one.
fn chunk(b: &Block<'_>, k: usize) -> usize {
    let room = CHUNK.min((SCRATCH / 4 - LANES) / b.pixels - APART);
    if k <= room {
        k
    } else if b.depth <= room {
        room / b.depth * b.depth
    } else {
        b.depth.div_ceil(b.depth.div_ceil(room))
    }
}
