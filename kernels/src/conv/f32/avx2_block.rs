//! AVX2 and FMA: blocks of pixels of windows over few channels. Taps of so few inputs are too short for the loop over
//! them, so the inputs of each pixel are first copied to one run.

use std::arch::x86_64::*;

use super::avx2::{Sums, accumulate, clamp, store};
use crate::conv::block::{Block, Problem};
use crate::conv::gather::{self, Sink};
use crate::conv::micro::NR;

/// Pixels computed at once.
pub(super) const MR: usize = 6;

/// Most pixels of a block.
const PIXELS: usize = 96;

/// Most input channels of a tap that are worth the copying.
const DEPTH: usize = 32;

/// Numbers that may be written past a pixel's inputs, and between it and the next.
const OVER: usize = 8;

/// Bytes of scratch.
pub(super) const SCRATCH: usize = 128 << 10;

/// Most pixels of a block over `k` inputs.
pub(super) fn pixels(k: usize) -> usize {
    let most = (SCRATCH / 4 / (k + OVER)).min(PIXELS);
    if most < MR { 0 } else { most / MR * MR }
}

/// Whether taps are short enough and pixels many enough.
pub(super) fn suits(p: &Problem) -> bool {
    p.taps > 1 && p.depth <= DEPTH && p.pixels >= MR
}

/// Copies runs of inputs to pixels `stride` numbers apart. What is written past a run is written over by the runs that
/// follow it, or lies between two pixels' inputs.
struct Copied {
    to: *mut f32,
    stride: usize,
    depth: usize,
}

impl Sink for Copied {
    #[inline(always)]
    unsafe fn take(&mut self, run: gather::Run) {
        // SAFETY: the pixels have room; the run can be read.
        unsafe {
            let to = self.to.add(run.pixel * self.stride + run.tap * self.depth);
            copy(run.from, to, run.taps * self.depth);
        }
    }
}

/// Copies `n` numbers.
///
/// # Safety
/// `from` is valid for `n` numbers, `to` for as many and [`OVER`] more; the processor has AVX2.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut f32, n: usize) {
    let from = from.cast::<f32>();
    // SAFETY: the caller's promise; a mask keeps the last load inside.
    unsafe {
        for i in (0..n / 8 * 8).step_by(8) {
            _mm256_storeu_ps(to.add(i), _mm256_loadu_ps(from.add(i)));
        }
        let rest = n % 8;
        if rest > 0 {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(rest as i32), lanes);
            _mm256_storeu_ps(to.add(n - rest), _mm256_maskload_ps(from.add(n - rest), mask));
        }
    }
}

/// M pixels from `pixel` on times P panels from column `first` on.
///
/// # Safety
/// As [`crate::conv::block::Run`], inputs having been copied; the panels hold columns that count.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const M: usize, const P: usize>(
    b: &Block<'_>,
    a: *const f32,
    k: usize,
    first: usize,
    pixel: usize,
) {
    let panel = k * NR * 4;
    let (lo, hi) = (_mm256_set1_ps(b.lo), _mm256_set1_ps(b.hi));
    let mut sums: Sums<M, P> = [[_mm256_setzero_ps(); P]; M];
    // SAFETY: the block's pixels, and biases and weights of P panels.
    unsafe {
        for p in 0..P {
            let bias = _mm256_loadu_ps(b.bias.cast::<f32>().add(first + p * NR));
            for i in 0..M {
                sums[i][p] = bias;
            }
        }
        let mut rows = [a; M];
        for i in 0..M {
            rows[i] = a.add((pixel + i) * (k + OVER));
        }
        accumulate::<false, M, P>(&mut sums, &rows, k, b.w.add(first / NR * panel), panel);
        for i in 0..M {
            let y = (*b.y.add(pixel + i)).add(b.offset + 4 * first);
            for p in 0..P {
                store::<false>(clamp(sums[i][p], lo, hi), y.add(4 * p * NR), b.cols - first - p * NR);
            }
        }
    }
}

/// All pixels times P panels from column `first` on.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn panels<const P: usize>(b: &Block<'_>, a: *const f32, k: usize, first: usize) {
    let mut pixel = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while pixel + MR <= b.pixels {
            tile::<MR, P>(b, a, k, first, pixel);
            pixel += MR;
        }
        match b.pixels - pixel {
            1 => tile::<1, P>(b, a, k, first, pixel),
            2 => tile::<2, P>(b, a, k, first, pixel),
            3 => tile::<3, P>(b, a, k, first, pixel),
            4 => tile::<4, P>(b, a, k, first, pixel),
            5 => tile::<5, P>(b, a, k, first, pixel),
            _ => {}
        }
    }
}

/// A block of pixels, two panels at a time.
///
/// # Safety
/// As [`crate::conv::block::Run`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn block(b: &Block<'_>) {
    let k = b.taps * b.depth;
    let a = b.scratch.cast::<f32>();
    // SAFETY: the caller's promise.
    unsafe {
        b.inputs.runs(0..b.taps, &mut Copied { to: a, stride: k + OVER, depth: b.depth });
        for first in (0..b.cols).step_by(2 * NR) {
            if b.cols - first > NR {
                panels::<2>(b, a, k, first);
            } else {
                panels::<1>(b, a, k, first);
            }
        }
    }
}
