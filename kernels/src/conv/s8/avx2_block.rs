//! AVX2: blocks of pixels, six of them times two panels at a time, exact.
//!
//! The block's inputs are sign-extended to 16 bits in scratch, once for all output channels, and so are the weights of
//! two panels, once for all pixels, in pairs of inputs: `[k / 2][16][2]`. A pair of a pixel's inputs, repeated, meets
//! the pairs of eight channels in VPMADDWD, which adds the two products in 32 bits, without loss.

use std::arch::x86_64::*;

use crate::conv::block::{Block, Problem};
use crate::conv::gather::{self, Sink};
use crate::conv::micro::{KB_S8, NR};
use crate::conv::residual::Tile;

/// Pixels computed at once.
pub(super) const MR: usize = 6;

/// Most pixels of a block: enough that a panel's weights are converted for many.
const PIXELS: usize = 96;

/// Bytes of converted inputs.
const INPUT_BYTES: usize = 192 << 10;

/// Inputs whose weights are converted at a time: with the inputs of six pixels they stay in the first-level cache.
const CHUNK: usize = 512;

/// Bytes of the converted weights of two panels.
const WEIGHT_BYTES: usize = CHUNK * 2 * NR * 2;

/// Bytes that sums take between chunks.
const SUM_BYTES: usize = PIXELS * 2 * NR * 4;

/// Inputs of a pixel that may be written past its end.
const OVER: usize = 16;

/// Bytes of scratch: weights, sums, inputs.
pub(super) const SCRATCH: usize = WEIGHT_BYTES + SUM_BYTES + INPUT_BYTES;

/// Most pixels of a block over `k` inputs.
pub(super) fn pixels(k: usize) -> usize {
    let most = (INPUT_BYTES / 2 / (k + OVER)).min(PIXELS);
    if most < MR { 0 } else { most / MR * MR }
}

/// Whether there are enough pixels for weights to be converted.
pub(super) fn suits(p: &Problem) -> bool {
    p.pixels >= MR
}

/// Whether merged runs of taps of this depth can be converted.
pub(super) fn merges(depth: usize) -> bool {
    depth == 3 || depth.is_multiple_of(KB_S8)
}

/// Sixteen signed bytes as 16-bit numbers.
///
/// # Safety
/// `from` is valid for 16 bytes, `to` for 16 numbers; the processor has AVX2.
#[inline(always)]
unsafe fn widen(from: *const u8, to: *mut i16) {
    // SAFETY: the caller's promise.
    unsafe { _mm256_storeu_si256(to.cast(), _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast()))) };
}

/// `taps` taps of three channels, dense, each to four numbers, of which the last is zero.
///
/// # Safety
/// `from` is valid for `3 * taps + 13` bytes, `to` for `4 * taps + 12` numbers; the processor has AVX2.
#[inline(always)]
unsafe fn spread(from: *const u8, to: *mut i16, taps: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
        for tap in (0..taps).step_by(4) {
            let v = _mm_loadu_si128(from.add(3 * tap).cast());
            _mm256_storeu_si256(to.add(4 * tap).cast(), _mm256_cvtepi8_epi16(_mm_shuffle_epi8(v, order)));
        }
    }
}

/// Converts runs of inputs, to pixels `stride` numbers apart. Numbers are written in groups of 16; what goes too far is
/// written over by the runs that follow, or lies between two pixels' inputs.
struct Copied {
    to: *mut i16,
    stride: usize,
    depth: usize,
}

impl Sink for Copied {
    #[inline(always)]
    unsafe fn take(&mut self, run: gather::Run) {
        let depth = self.depth.next_multiple_of(KB_S8);
        // SAFETY: the pixels have room; inputs can be read as [`crate::conv::block::Run`] says.
        unsafe {
            let to = self.to.add(run.pixel * self.stride + run.tap * depth);
            if self.depth == 3 && run.taps > 1 {
                spread(run.from, to, run.taps);
            } else {
                for i in (0..run.taps * depth).step_by(16) {
                    widen(run.from.add(i), to.add(i));
                }
            }
        }
    }
}

/// Converts `k` inputs' weights of P panels to pairs.
///
/// # Safety
/// `w` is valid for P panels, `panel` bytes apart, of `k` inputs at least; `to` has room for them.
#[target_feature(enable = "avx2")]
unsafe fn weights<const P: usize>(w: *const u8, panel: usize, k: usize, to: *mut i16) {
    let pair = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    let pair = _mm256_broadcastsi128_si256(pair);
    for block in 0..k / KB_S8 {
        for p in 0..P {
            // SAFETY: the caller's promise. Each block of four inputs gives two pairs of eight channels.
            unsafe {
                let v = _mm256_loadu_si256(w.add(p * panel + block * KB_S8 * NR).cast());
                let v = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_shuffle_epi8(v, pair));
                let to = to.add((2 * block * P + p) * 2 * NR);
                _mm256_storeu_si256(to.cast(), _mm256_cvtepi8_epi16(_mm256_castsi256_si128(v)));
                let high = _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(v));
                _mm256_storeu_si256(to.add(P * 2 * NR).cast(), high);
            }
        }
    }
}

/// Sums of M pixels times P panels.
type Sums<const M: usize, const P: usize> = [[__m256i; P]; M];

/// Adds the products of `k` inputs of M pixels.
///
/// # Safety
/// `a` is valid for `k` numbers at each of M multiples of `stride`, `w` for `k / 2` pairs of P panels.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn accumulate<const M: usize, const P: usize>(
    sums: &mut Sums<M, P>,
    a: *const i16,
    stride: usize,
    w: *const i16,
    k: usize,
) {
    let mut c = *sums;
    for pair in 0..k / 2 {
        let mut wk = [_mm256_setzero_si256(); P];
        for p in 0..P {
            // SAFETY: the caller's promise.
            wk[p] = unsafe { _mm256_loadu_si256(w.add((pair * P + p) * 2 * NR).cast()) };
        }
        for i in 0..M {
            // SAFETY: the caller's promise.
            let x = unsafe { a.add(i * stride + 2 * pair).cast::<i32>().read_unaligned() };
            let x = _mm256_set1_epi32(x);
            for p in 0..P {
                c[i][p] = _mm256_add_epi32(c[i][p], _mm256_madd_epi16(x, wk[p]));
            }
        }
    }
    *sums = c;
}

/// What requantization needs of a pair of panels.
struct Scale<const P: usize> {
    multiplier: [__m256; P],
    zero_point: __m256i,
    lo: __m256i,
    hi: __m256i,
}

impl<const P: usize> Scale<P> {
    /// # Safety
    /// As [`crate::conv::block::Run`]; P panels from column `first` on hold columns that count.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn new(b: &Block<'_>, first: usize) -> Self {
        let mut multiplier = [_mm256_setzero_ps(); P];
        for p in 0..P {
            if !b.multiplier.is_null() {
                // SAFETY: multipliers are there for whole panels.
                multiplier[p] = unsafe { _mm256_loadu_ps(b.multiplier.add(first + p * NR)) };
            }
        }
        Self {
            multiplier,
            zero_point: _mm256_set1_epi16(b.zero_point as i16),
            lo: _mm256_set1_epi8(b.lo as i8),
            hi: _mm256_set1_epi8(b.hi as i8),
        }
    }

    /// A pixel's sums, scaled, rounded, with the zero point, in 16 bits: channels 0-3, 8-11, 4-7, 12-15.
    ///
    /// The contract clamps before it rounds; rounding first gives the same, since bounds are whole. What is too large
    /// for 32 bits is cut off before (negative numbers become the least one), 16 bits saturate.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn words(&self, sums: &[__m256i; P]) -> __m256i {
        let large = _mm256_set1_ps((1 << 30) as f32);
        let mut v = [_mm256_setzero_si256(); 2];
        for p in 0..P {
            let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[p]), self.multiplier[p]);
            v[p] = _mm256_cvtps_epi32(_mm256_min_ps(scaled, large));
        }
        _mm256_adds_epi16(_mm256_packs_epi32(v[0], v[1]), self.zero_point)
    }

    /// Two pixels' bytes, one after the other, channels in order.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn bytes(&self, a: &[__m256i; P], b: &[__m256i; P]) -> [__m128i; 2] {
        let v = _mm256_packs_epi16(self.words(a), self.words(b));
        let v = _mm256_min_epi8(_mm256_max_epi8(v, self.lo), self.hi);
        let v = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        [_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v)]
    }
}

/// Stores the first `n` of sixteen bytes, at most all.
///
/// # Safety
/// `y` is valid for `n` bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(v: __m128i, y: *mut u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if n >= 2 * NR {
            _mm_storeu_si128(y.cast(), v);
        } else if n == NR {
            _mm_storel_epi64(y.cast(), v);
        } else {
            let mut bytes = [0_u8; 2 * NR];
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), v);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), y, n);
        }
    }
}

/// Where a block's scratch is.
struct Scratch {
    weights: *mut i16,
    /// `[pixel][panel][8]`.
    sums: *mut i32,
    /// `[pixel][k + OVER]`.
    inputs: *mut i16,
}

/// A chunk of inputs of a pair of panels.
struct Chunk {
    /// First column.
    first: usize,
    /// First input, how many, and of how many.
    start: usize,
    n: usize,
    k: usize,
}

/// M pixels from `pixel` on: a chunk's products, after those of the chunks before; the last chunk's results are stored.
///
/// # Safety
/// As [`crate::conv::block::Run`], inputs and weights having been converted.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const M: usize, const P: usize>(
    b: &Block<'_>,
    s: &Scratch,
    c: &Chunk,
    scale: &Scale<P>,
    pixel: usize,
) {
    let mut sums = [[_mm256_setzero_si256(); P]; M];
    // SAFETY: the block's pixels, P panels' biases, and the scratch of [`SCRATCH`] bytes.
    unsafe {
        for p in 0..P {
            let bias = _mm256_loadu_si256(b.bias.cast::<i32>().add(c.first + p * NR).cast());
            for i in 0..M {
                sums[i][p] = if c.start == 0 {
                    bias
                } else {
                    _mm256_loadu_si256(s.sums.add(((pixel + i) * P + p) * NR).cast())
                };
            }
        }
        let stride = c.k + OVER;
        accumulate::<M, P>(&mut sums, s.inputs.add(pixel * stride + c.start), stride, s.weights, c.n);
        if c.start + c.n < c.k {
            for i in 0..M {
                for p in 0..P {
                    _mm256_storeu_si256(s.sums.add(((pixel + i) * P + p) * NR).cast(), sums[i][p]);
                }
            }
            return;
        }
        if let Some(addend) = &b.addend {
            // A copy: what is referred to goes through memory.
            let some = sums;
            addend.finish(&Tile {
                sums: some.as_ptr().cast(),
                stride: P * NR,
                pixels: M,
                columns: (b.cols - c.first).min(P * NR),
                column: c.first,
                y: b.y.add(pixel),
                pixel,
                offset: b.offset + c.first,
            });
            return;
        }
        if b.multiplier.is_null() {
            for i in 0..M {
                let y = (*b.y.add(pixel + i)).add(b.offset).cast::<i32>().add(c.first);
                for p in 0..P {
                    let left = (b.cols - c.first).saturating_sub(p * NR);
                    super::avx2::store_sums(sums[i][p], y.wrapping_add(p * NR), left);
                }
            }
            return;
        }
        let n = (b.cols - c.first).min(P * NR);
        for i in (0..M).step_by(2) {
            let second = (i + 1).min(M - 1);
            let bytes = scale.bytes(&sums[i], &sums[second]);
            let y = b.y.add(pixel + i);
            store(bytes[0], (*y).add(b.offset + c.first), n);
            if second > i {
                store(bytes[1], (*y.add(1)).add(b.offset + c.first), n);
            }
        }
    }
}

/// All pixels times P panels from column `first` on.
///
/// # Safety
/// As [`crate::conv::block::Run`], inputs having been converted; the panels hold columns that count.
#[target_feature(enable = "avx2")]
unsafe fn panels<const P: usize>(b: &Block<'_>, s: &Scratch, first: usize, k: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let scale = Scale::<P>::new(b, first);
        let mut start = 0;
        loop {
            let c = Chunk { first, start, n: CHUNK.min(k - start), k };
            weights::<P>(b.w.add(first * k + start * NR), k * NR, c.n, s.weights);
            let mut pixel = 0;
            while pixel + MR <= b.pixels {
                tile::<MR, P>(b, s, &c, &scale, pixel);
                pixel += MR;
            }
            match b.pixels - pixel {
                1 => tile::<1, P>(b, s, &c, &scale, pixel),
                2 => tile::<2, P>(b, s, &c, &scale, pixel),
                3 => tile::<3, P>(b, s, &c, &scale, pixel),
                4 => tile::<4, P>(b, s, &c, &scale, pixel),
                5 => tile::<5, P>(b, s, &c, &scale, pixel),
                _ => {}
            }
            start += c.n;
            if start == k {
                return;
            }
        }
    }
}

/// A block of pixels, two panels at a time.
///
/// # Safety
/// As [`crate::conv::block::Run`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn block(b: &Block<'_>) {
    let k = b.taps * b.depth.next_multiple_of(KB_S8);
    // SAFETY: the caller's promise; the parts lie one after another in the scratch.
    unsafe {
        let s = Scratch {
            weights: b.scratch.cast(),
            sums: b.scratch.add(WEIGHT_BYTES).cast(),
            inputs: b.scratch.add(WEIGHT_BYTES + SUM_BYTES).cast(),
        };
        b.inputs.runs(0..b.taps, &mut Copied { to: s.inputs, stride: k + OVER, depth: b.depth });
        for first in (0..b.cols).step_by(2 * NR) {
            if b.cols - first > NR {
                panels::<2>(b, &s, first, k);
            } else {
                panels::<1>(b, &s, first, k);
            }
        }
    }
}
