//! VNNI: four unsigned inputs meet four signed weights in VPDPBUSD, two signed pairs in VPDPWSSD, exactly: neither
//! saturates.

use std::arch::x86_64::*;

use super::row::{Job, STAGE, Tap};
use super::{avx2, fill};

/// What makes signed inputs unsigned.
pub(super) const OFFSET: i32 = 128;

/// Copies a tap's inputs to planes of four, unsigned.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn fill(tap: &Tap) {
    // SAFETY: the caller's promise.
    unsafe { fill::fours::<__m128i, true>(tap) }
}

/// The products of some channels, in registers of 512 bits: `$bytes` of weights meet planes in `$dot`.
macro_rules! wide {
    ($name:ident, $bytes:literal, |$sum:ident, $x:ident, $w:ident| $dot:expr, |$at:ident| $weights:expr) => {
        /// The products of some channels.
        ///
        /// # Safety
        /// As [`super::row::Row`].
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2")]
        pub(super) unsafe fn $name<const U: usize>(job: &Job) {
            let mut at = job.start;
            for channel in 0..job.channels {
                // SAFETY: constants of the channel and of its groups, planes that those name, and results that there is
                // room for.
                unsafe {
                    let end = job.ends.add(channel).read_unaligned() as usize;
                    let mut sums = [_mm512_set1_epi32(job.bias.add(channel).read_unaligned()); U];
                    while at < end {
                        let inputs =
                            job.inputs.add(usize::from(job.indices.add(at).read_unaligned()) * U * 64);
                        let $at = job.weights.add(at * $bytes);
                        let $w = $weights;
                        for (u, $sum) in sums.iter_mut().enumerate() {
                            let $x = _mm512_loadu_si512(inputs.add(u * 64).cast());
                            *$sum = $dot;
                        }
                        at += 1;
                    }
                    finish(job, channel, &sums);
                }
            }
        }
    };
}
wide!(multiply_512, 4, |sum, x, w| _mm512_dpbusd_epi32(*sum, x, w), |from| _mm512_set1_epi32(
    from.cast::<i32>().read_unaligned()
));
wide!(multiply_pairs, 2, |sum, x, w| _mm512_dpwssd_epi32(*sum, x, w), |from| _mm512_cvtepi8_epi16(
    _mm256_set1_epi16(from.cast::<i16>().read_unaligned())
));

/// Requantizes a channel's sums.
///
/// # Safety
/// As [`super::row::Row`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn finish<const U: usize>(job: &Job, channel: usize, sums: &[__m512i; U]) {
    let zero = job.zero_point as f32;
    let (lo, hi) = (_mm512_set1_ps(job.lo - zero), _mm512_set1_ps(job.hi - zero));
    // SAFETY: the channel is the job's.
    let multiplier = unsafe { _mm512_set1_ps(job.multiplier.add(channel).read_unaligned()) };
    let zero = _mm512_set1_epi32(job.zero_point);
    for (u, &sum) in sums.iter().enumerate() {
        let v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier);
        let v = _mm512_min_ps(_mm512_max_ps(v, lo), hi);
        let v = _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(v), zero));
        // SAFETY: there is room for the results.
        unsafe { _mm_storeu_si128(job.to.add(channel * STAGE + u * 16).cast(), v) };
    }
}

/// The products of some channels.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn multiply_256<const U: usize>(job: &Job) {
    let mut at = job.start;
    for channel in 0..job.channels {
        // SAFETY: constants of the channel and of its groups, planes that those name, and results that there is room for.
        unsafe {
            let end = job.ends.add(channel).read_unaligned() as usize;
            let mut sums = [_mm256_set1_epi32(job.bias.add(channel).read_unaligned()); U];
            while at < end {
                let inputs = job.inputs.add(usize::from(job.indices.add(at).read_unaligned()) * U * 32);
                let w = _mm256_set1_epi32(job.weights.add(at * 4).cast::<i32>().read_unaligned());
                for (u, sum) in sums.iter_mut().enumerate() {
                    let x = _mm256_loadu_si256(inputs.add(u * 32).cast());
                    *sum = _mm256_dpbusd_avx_epi32(*sum, x, w);
                }
                at += 1;
            }
            avx2::finish(job, channel, &sums);
        }
    }
}
