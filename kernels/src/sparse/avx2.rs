//! AVX2: inputs in 16 bits, pairs of which meet pairs of weights in VPMADDWD, exactly.

use std::arch::x86_64::*;

use super::fill;
use super::row::{Job, STAGE, Store, Tap};

/// Pixels of a unit.
const UNIT: usize = 8;

/// Copies a tap's inputs to planes of pairs of 16 bits.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn fill(tap: &Tap) {
    // SAFETY: the caller's promise.
    unsafe { fill::pairs::<__m128i, true>(tap) }
}

/// The products of some channels, by groups of `PAIRS` pairs.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn multiply<const U: usize, const PAIRS: usize>(job: &Job) {
    let plane = U * UNIT * 4;
    let mut at = job.start;
    for channel in 0..job.channels {
        // SAFETY: constants of the channel and of its groups, planes that those name, and results that there is room for.
        unsafe {
            let end = job.ends.add(channel).read_unaligned() as usize;
            let mut sums = [_mm256_set1_epi32(job.bias.add(channel).read_unaligned()); U];
            while at < end {
                let inputs =
                    job.inputs.add(usize::from(job.indices.add(at).read_unaligned()) * PAIRS * plane);
                let weights = if PAIRS == 1 {
                    _mm_set1_epi16(job.weights.add(at * 2).cast::<i16>().read_unaligned())
                } else {
                    _mm_set1_epi32(job.weights.add(at * 4).cast::<i32>().read_unaligned())
                };
                let weights = _mm256_cvtepi8_epi16(weights);
                for pair in 0..PAIRS {
                    let w = match (PAIRS, pair) {
                        (1, _) => weights,
                        (_, 0) => _mm256_shuffle_epi32::<0x00>(weights),
                        _ => _mm256_shuffle_epi32::<0x55>(weights),
                    };
                    for (u, sum) in sums.iter_mut().enumerate() {
                        let x = _mm256_loadu_si256(inputs.add(pair * plane + u * UNIT * 4).cast());
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, w));
                    }
                }
                at += 1;
            }
            finish(job, channel, &sums);
        }
    }
}

/// Requantizes a channel's sums.
///
/// # Safety
/// As [`super::row::Row`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn finish<const U: usize>(job: &Job, channel: usize, sums: &[__m256i; U]) {
    let zero = job.zero_point as f32;
    let (lo, hi) = (_mm256_set1_ps(job.lo - zero), _mm256_set1_ps(job.hi - zero));
    // SAFETY: the channel is the job's.
    let multiplier = unsafe { _mm256_set1_ps(job.multiplier.add(channel).read_unaligned()) };
    let zero = _mm256_set1_epi32(job.zero_point);
    for (u, &sum) in sums.iter().enumerate() {
        let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), multiplier);
        let v = _mm256_min_ps(_mm256_max_ps(v, lo), hi);
        let v = _mm256_add_epi32(_mm256_cvtps_epi32(v), zero);
        let v = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        // SAFETY: there is room for the results.
        unsafe {
            _mm_storel_epi64(job.to.add(channel * STAGE + u * UNIT).cast(), _mm_packs_epi16(v, v));
        }
    }
}

/// Stores results pixel by pixel.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store(s: &Store) {
    // SAFETY: the caller's promise.
    unsafe { fill::store::<__m128i>(s) }
}
