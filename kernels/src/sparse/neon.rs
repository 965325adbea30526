//! Advanced SIMD alone: products of two pairs are added in 16 bits, which hold them since no weight is -128, then to the
//! pixels' sums.

use std::arch::aarch64::*;
use std::arch::asm;

use super::fill;
use super::row::{Job, STAGE, Store, Tap};

/// Pixels of a unit.
const UNIT: usize = 8;

/// Copies a tap's inputs to planes of pairs.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn fill(tap: &Tap) {
    // SAFETY: the caller's promise.
    unsafe { fill::pairs::<uint8x16_t, false>(tap) }
}

/// Four registers.
trait Fours {
    /// Keeps what made them apart, in the code, from what is made of them: cores that issue in order have something to do
    /// until a result is there, and no more registers are taken than there are.
    fn apart(&mut self);
}

macro_rules! fours {
    ($($ty:ty),+) => {$(
        impl Fours for [$ty; 4] {
            #[inline(always)]
            fn apart(&mut self) {
                let [a, b, c, d] = self;
                // SAFETY: there is no instruction.
                unsafe {
                    asm!(
                        "/* {0:v} {1:v} {2:v} {3:v} */",
                        inout(vreg) *a,
                        inout(vreg) *b,
                        inout(vreg) *c,
                        inout(vreg) *d,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
            }
        }
    )+};
}
fours!(int8x16_t, int16x8_t);

/// Units whose products are made together.
const TOGETHER: usize = 2;

/// Adds the products of two planes with a pair of weights each.
///
/// # Safety
/// The planes are there.
#[inline(always)]
unsafe fn two<const U: usize>(sums: &mut [[int32x4_t; 2]; U], planes: [*const u8; 2], w: [i16; 2]) {
    // SAFETY: the caller's promise; every aarch64 core has Advanced SIMD.
    unsafe {
        let w = [vreinterpretq_s8_s16(vdupq_n_s16(w[0])), vreinterpretq_s8_s16(vdupq_n_s16(w[1]))];
        for first in (0..U).step_by(TOGETHER) {
            // Of an odd number of units the last has no other beside it.
            let other = if first + 1 < U { first + 1 } else { first };
            let load = |plane: usize, u: usize| vld1q_s8(planes[plane].add(u * UNIT * 2).cast());
            let mut x = [load(0, first), load(0, other), load(1, first), load(1, other)];
            x.apart();
            let mut products = [
                vmull_s8(vget_low_s8(x[0]), vget_low_s8(w[0])),
                vmull_high_s8(x[0], w[0]),
                vmull_s8(vget_low_s8(x[1]), vget_low_s8(w[0])),
                vmull_high_s8(x[1], w[0]),
            ];
            products.apart();
            products = [
                vmlal_s8(products[0], vget_low_s8(x[2]), vget_low_s8(w[1])),
                vmlal_high_s8(products[1], x[2], w[1]),
                vmlal_s8(products[2], vget_low_s8(x[3]), vget_low_s8(w[1])),
                vmlal_high_s8(products[3], x[3], w[1]),
            ];
            products.apart();
            sums[first] =
                [vpadalq_s16(sums[first][0], products[0]), vpadalq_s16(sums[first][1], products[1])];
            if other != first {
                sums[other] =
                    [vpadalq_s16(sums[other][0], products[2]), vpadalq_s16(sums[other][1], products[3])];
            }
        }
    }
}

/// A pair of weights.
///
/// # Safety
/// It can be read.
#[inline(always)]
unsafe fn pair(weights: *const i8, at: usize) -> i16 {
    // SAFETY: the caller's promise.
    unsafe { weights.cast::<i16>().add(at).read_unaligned() }
}

/// The products of some channels, by groups of four.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn multiply_4<const U: usize>(job: &Job) {
    let plane = U * UNIT * 2;
    let mut at = job.start;
    for channel in 0..job.channels {
        // SAFETY: constants of the channel and of its groups, planes that those name, and results that there is room for.
        unsafe {
            let end = job.ends.add(channel).read_unaligned() as usize;
            let mut sums = [[vdupq_n_s32(job.bias.add(channel).read_unaligned()); 2]; U];
            while at < end {
                let inputs = job.inputs.add(usize::from(job.indices.add(at).read_unaligned()) * 2 * plane);
                let w = [pair(job.weights, 2 * at), pair(job.weights, 2 * at + 1)];
                two(&mut sums, [inputs, inputs.add(plane)], w);
                at += 1;
            }
            finish(job, channel, &sums);
        }
    }
}

/// The products of some channels, by groups of two: any two of them at a time.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn multiply_2<const U: usize>(job: &Job) {
    let plane = U * UNIT * 2;
    let mut at = job.start;
    for channel in 0..job.channels {
        // SAFETY: as in `multiply_4`.
        unsafe {
            let end = job.ends.add(channel).read_unaligned() as usize;
            let mut sums = [[vdupq_n_s32(job.bias.add(channel).read_unaligned()); 2]; U];
            let inputs =
                |at: usize| job.inputs.add(usize::from(job.indices.add(at).read_unaligned()) * plane);
            while at + 1 < end {
                let w = [pair(job.weights, at), pair(job.weights, at + 1)];
                two(&mut sums, [inputs(at), inputs(at + 1)], w);
                at += 2;
            }
            if at < end {
                two(&mut sums, [inputs(at); 2], [pair(job.weights, at), 0]);
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
#[target_feature(enable = "neon")]
pub(super) unsafe fn finish<const U: usize>(job: &Job, channel: usize, sums: &[[int32x4_t; 2]; U]) {
    let zero = job.zero_point as f32;
    let (lo, hi) = (vdupq_n_f32(job.lo - zero), vdupq_n_f32(job.hi - zero));
    // SAFETY: the channel is the job's.
    let multiplier = unsafe { vdupq_n_f32(job.multiplier.add(channel).read_unaligned()) };
    let zero = vdupq_n_s8(job.zero_point as i8);
    for (u, sum) in sums.iter().enumerate() {
        let mut v = [vdupq_n_s16(0); 2];
        for half in 0..2 {
            let product = vmulq_f32(vcvtq_f32_s32(sum[half]), multiplier);
            v[half] = vreinterpretq_s16_s32(vcvtnq_s32_f32(vminq_f32(vmaxq_f32(product, lo), hi)));
        }
        // Modulo 256: the results are in range.
        let v = vreinterpretq_s8_s16(vuzp1q_s16(v[0], v[1]));
        let v = vget_low_s8(vaddq_s8(vuzp1q_s8(v, v), zero));
        // SAFETY: there is room for the results.
        unsafe { vst1_s8(job.to.add(channel * STAGE + u * UNIT), v) };
    }
}

/// Stores results pixel by pixel.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn store(s: &Store) {
    // SAFETY: the caller's promise.
    unsafe { fill::store::<uint8x16_t>(s) }
}
