//! AVX2: six pixels times one panel, exact.
//!
//! Inputs are sign-extended to 16 bits into a buffer, once for all panels when they fit. Weights of a block (8
//! channels x 4 inputs) are sign-extended to two registers, and met by a pixel's four inputs, repeated; VPMADDWD adds the two products of a pair in 32 bits, without loss.
//! Each 32-bit lane so holds half of a channel's sum, and neighbours are added once, at the end.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use crate::conv::micro::{Args, KB_S8, NR};
use crate::conv::residual::Tile;

/// Rows computed at once.
const MR: usize = 6;

/// Inputs of a row that are converted at a time.
const CHUNK: usize = 1024;

/// Bytes that are converted at once: what rows are read up to a multiple of.
const STEP: usize = crate::ROW_SLACK;

/// M rows' inputs as 16-bit numbers, tap after tap, each tap filled up to a multiple of 4 by what follows it.
struct Inputs<const M: usize>([[MaybeUninit<i16>; CHUNK + STEP]; M]);

/// How far a product's inputs have been converted.
#[derive(Clone, Copy)]
struct Cursor {
    tap: usize,
    /// Inputs of the tap.
    k: usize,
}

impl<const M: usize> Inputs<M> {
    /// Converts inputs from `at` on until the chunk is full or no tap is left; how many there are in each row.
    ///
    /// # Safety
    /// `args` is what [`crate::conv::micro::Micro`] asks for.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn fill(&mut self, args: &Args, at: &mut Cursor) -> usize {
        let depth = args.depth.next_multiple_of(KB_S8);
        let mut filled = 0;
        while at.tap < args.taps && filled < CHUNK {
            let n = (depth - at.k).min(CHUNK - filled);
            for (i, row) in self.0.iter_mut().enumerate() {
                // SAFETY: there are `taps * MR` addresses. Reading goes on to the next multiple of 16 bytes, as the
                // family's contract allows; a row of the buffer has room for it.
                unsafe {
                    let a = (*args.a.add(at.tap * MR + i)).add(at.k);
                    let to = row.as_mut_ptr().add(filled);
                    for k in (0..n).step_by(STEP) {
                        _mm256_storeu_si256(to.add(k).cast(), widen(a.add(k)));
                    }
                }
            }
            filled += n;
            at.k += n;
            if at.k == depth {
                *at = Cursor { tap: at.tap + 1, k: 0 };
            }
        }
        filled
    }
}

/// 16 signed bytes as 16-bit numbers.
///
/// # Safety
/// 16 bytes can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn widen(p: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(p.cast()) })
}

/// Eight sums requantized as [`super::requantize`] does, in the low eight bytes.
///
/// # Safety
/// Eight biases and multipliers can be read.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn requantize(sums: __m256i, multiplier: *const f32, args: &Args) -> __m128i {
    let zero = args.zero_point as f32;
    // SAFETY: the caller's promise.
    let multiplier = unsafe { _mm256_loadu_ps(multiplier) };
    let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multiplier);
    let v = _mm256_max_ps(v, _mm256_set1_ps(args.lo - zero));
    let v = _mm256_min_ps(v, _mm256_set1_ps(args.hi - zero));
    // Nearest even is the mode that every thread starts in. Results are in range: nothing saturates.
    let v = _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(args.zero_point));
    let v = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    _mm_packs_epi16(v, v)
}

/// Stores the first `cols` of eight bytes.
///
/// # Safety
/// `y` takes `cols` bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store(v: __m128i, y: *mut u8, cols: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if cols >= NR {
            _mm_storel_epi64(y.cast(), v);
        } else {
            let bytes = _mm_cvtsi128_si64(v).to_le_bytes();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), y, cols);
        }
    }
}

/// Stores the first `cols` of eight sums.
///
/// # Safety
/// `y` takes `cols` numbers.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store_sums(v: __m256i, y: *mut i32, cols: usize) {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let those = _mm256_cmpgt_epi32(_mm256_set1_epi32(cols.min(NR) as i32), lanes);
    // SAFETY: the caller's promise; what is masked is not written.
    unsafe { _mm256_maskstore_epi32(y, those, v) };
}

/// Adds the products of `n` inputs with the weights from `w` on.
///
/// # Safety
/// Each row of `inputs` holds `n` inputs; `w` holds `n / 4` blocks.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn accumulate<const M: usize>(
    sums: &mut [[__m256i; 2]; M],
    inputs: &Inputs<M>,
    n: usize,
    w: *const u8,
) {
    let mut c = *sums;
    for k in (0..n).step_by(KB_S8) {
        // SAFETY: the caller's promise.
        unsafe {
            let (w0, w1) = (widen(w.add(k * NR)), widen(w.add(k * NR + 16)));
            for i in 0..M {
                let x = _mm256_set1_epi64x(inputs.0[i].as_ptr().add(k).cast::<i64>().read_unaligned());
                c[i][0] = _mm256_add_epi32(c[i][0], _mm256_madd_epi16(x, w0));
                c[i][1] = _mm256_add_epi32(c[i][1], _mm256_madd_epi16(x, w1));
            }
        }
    }
    *sums = c;
}

/// Adds the bias to the sums of the panel of column `first`, requantizes and stores them.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; `first` is a column that counts, and a multiple of 8.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn finish<const M: usize>(sums: &[[__m256i; 2]; M], args: &Args, first: usize) {
    // SAFETY: biases and multipliers are there for whole panels, and each row takes `cols` bytes.
    unsafe {
        let bias = _mm256_loadu_si256(args.bias.cast::<i32>().add(first).cast());
        let mut all = [_mm256_setzero_si256(); M];
        for i in 0..M {
            // Channels 0 1 4 5 | 2 3 6 7, then in order.
            let pairs = _mm256_hadd_epi32(sums[i][0], sums[i][1]);
            let sum = _mm256_add_epi32(_mm256_permute4x64_epi64::<0b11_01_10_00>(pairs), bias);
            if args.addend.is_some() {
                all[i] = sum;
                continue;
            }
            if args.multiplier.is_null() {
                store_sums(sum, (*args.y.add(i)).cast::<i32>().add(first), args.cols - first);
                continue;
            }
            let v = requantize(sum, args.multiplier.add(first), args);
            store(v, (*args.y.add(i)).add(first), args.cols - first);
        }
        if let Some(addend) = &args.addend {
            addend.finish(&Tile {
                sums: all.as_ptr().cast(),
                stride: NR,
                pixels: M.min(args.rows),
                columns: NR.min(args.cols - first),
                column: first,
                y: args.y,
                pixel: 0,
                offset: first,
            });
        }
    }
}

/// M rows, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "avx2")]
unsafe fn rows<const M: usize>(args: &Args) {
    let k = args.taps * args.depth.next_multiple_of(KB_S8);
    let mut inputs = Inputs::<M>([[MaybeUninit::uninit(); CHUNK + STEP]; M]);
    let start = Cursor { tap: 0, k: 0 };
    if k <= CHUNK {
        // SAFETY: the caller's promise.
        unsafe { inputs.fill(args, &mut { start }) };
    }
    for first in (0..args.cols).step_by(NR) {
        let mut sums = [[_mm256_setzero_si256(); 2]; M];
        // SAFETY: the panel is one of those that hold the columns, and has weights for every input.
        unsafe {
            let w = args.w.add(first * k);
            if k <= CHUNK {
                accumulate(&mut sums, &inputs, k, w);
            } else {
                let (mut at, mut done) = (start, 0);
                while done < k {
                    let n = inputs.fill(args, &mut at);
                    accumulate(&mut sums, &inputs, n, w.add(done * NR));
                    done += n;
                }
            }
            finish(&sums, args, first);
        }
    }
}

/// Six output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn conv_6x8(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            1 => rows::<1>(args),
            2 => rows::<2>(args),
            3 => rows::<3>(args),
            4 => rows::<4>(args),
            _ => rows::<6>(args),
        }
    }
}
