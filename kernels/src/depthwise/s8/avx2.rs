//! AVX2: sixteen channels; the bytes of two taps are interleaved, widened, and summed in pairs by VPMADDWD.

use std::arch::x86_64::*;

use super::{Run, pack};

/// Channels of a group.
const GROUP: usize = 16;

/// # Safety
/// As [`super::Micro`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run(r: &Run) {
    // SAFETY: the caller's promise; PAIRS is half the taps rounded up, or zero for any number of them.
    unsafe {
        match r.taps {
            9 => groups::<5>(r),
            25 => groups::<13>(r),
            49 => groups::<25>(r),
            _ => groups::<0>(r),
        }
    }
}

/// Channels 0 to 7 and 8 to 15 of two taps: 16-bit pairs.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs(a: __m128i, b: __m128i) -> [__m256i; 2] {
    [_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b)), _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b))]
}

/// Every group of channels, its weights widened once when PAIRS is not zero.
///
/// # Safety
/// As [`super::Micro`].
#[target_feature(enable = "avx2")]
unsafe fn groups<const PAIRS: usize>(r: &Run) {
    let padded = pack::padded_channels(r.channels);
    let zero = _mm_setzero_si128();
    for first in (0..r.channels).step_by(GROUP) {
        // SAFETY: the packed operands hold whole groups.
        let (bias, scale) = unsafe {
            let bias = r.bias.cast::<i32>().add(first);
            let scale = r.multiplier.add(first);
            (
                [_mm256_loadu_si256(bias.cast()), _mm256_loadu_si256(bias.add(8).cast())],
                [_mm256_loadu_ps(scale), _mm256_loadu_ps(scale.add(8))],
            )
        };
        let weights = |tap: usize| {
            if tap >= r.taps {
                return zero;
            }
            // SAFETY: as above.
            unsafe { _mm_loadu_si128(r.w.add(tap * padded + first).cast()) }
        };
        let mut held = [[_mm256_setzero_si256(); 2]; PAIRS];
        for (i, held) in held.iter_mut().enumerate() {
            *held = pairs(weights(2 * i), weights(2 * i + 1));
        }
        for pixel in 0..r.pixels {
            // SAFETY: there are `taps` addresses for each pixel.
            let a = unsafe { r.a.add(pixel * r.taps) };
            let load = |tap: usize| {
                if tap >= r.taps {
                    return zero;
                }
                // SAFETY: whole groups of channels may be read at each address.
                unsafe { _mm_loadu_si128((*a.add(tap)).add(first).cast()) }
            };
            let mut sums = bias;
            if PAIRS > 0 {
                for i in 0..PAIRS {
                    // The numbers of taps that come here are odd.
                    let last = i + 1 == PAIRS;
                    add(&mut sums, pairs(load(2 * i), if last { zero } else { load(2 * i + 1) }), held[i]);
                }
            } else {
                for t in (0..r.taps).step_by(2) {
                    add(&mut sums, pairs(load(t), load(t + 1)), pairs(weights(t), weights(t + 1)));
                }
            }
            let q = requantize(r, sums, scale);
            // SAFETY: the pixel takes the channels that count.
            unsafe { store(q, r.y.add(pixel * r.y_pitch + first), r.channels - first) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(sums: &mut [__m256i; 2], x: [__m256i; 2], w: [__m256i; 2]) {
    for i in 0..2 {
        sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(x[i], w[i]));
    }
}

/// Sixteen sums to sixteen bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn requantize(r: &Run, sums: [__m256i; 2], scale: [__m256; 2]) -> __m128i {
    let zero_point = _mm256_set1_epi32(r.zero_point);
    let lo = _mm256_set1_ps(r.lo - r.zero_point as f32);
    let hi = _mm256_set1_ps(r.hi - r.zero_point as f32);
    let mut q = sums;
    for i in 0..2 {
        let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i]), scale[i]);
        let v = _mm256_min_ps(hi, _mm256_max_ps(lo, v));
        q[i] = _mm256_add_epi32(_mm256_cvtps_epi32(v), zero_point);
    }
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(q[0], q[1]));
    _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
}

/// Stores the first `n` of sixteen bytes, all when there are more.
///
/// # Safety
/// `y` is valid for `n` bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(q: __m128i, y: *mut u8, n: usize) {
    // SAFETY: `y` takes n bytes, `out` sixteen.
    unsafe {
        if n >= GROUP {
            _mm_storeu_si128(y.cast(), q);
        } else {
            let mut out = [0_u8; GROUP];
            _mm_storeu_si128(out.as_mut_ptr().cast(), q);
            std::ptr::copy_nonoverlapping(out.as_ptr(), y, n);
        }
    }
}
