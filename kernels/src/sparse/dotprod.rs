//! SDOT: four inputs of four pixels meet four weights.

use std::arch::aarch64::*;
use std::arch::asm;

use super::row::{Job, Tap};
use super::{fill, neon};

/// Pixels of a unit.
const UNIT: usize = 8;

/// Copies a tap's inputs to planes of four.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn fill(tap: &Tap) {
    // SAFETY: the caller's promise.
    unsafe { fill::fours::<uint8x16_t, false>(tap) }
}

/// `sum + x . w`, groups of four bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: the function's features have the instruction, which touches registers only.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {x:v}.16b, {w:v}.16b",
            sum = inout(vreg) sum,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The products of some channels.
///
/// # Safety
/// As [`super::row::Row`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn multiply<const U: usize>(job: &Job) {
    let mut at = job.start;
    for channel in 0..job.channels {
        // SAFETY: constants of the channel and of its groups, planes that those name, and results that there is room for.
        unsafe {
            let end = job.ends.add(channel).read_unaligned() as usize;
            let mut sums = [[vdupq_n_s32(job.bias.add(channel).read_unaligned()); 2]; U];
            while at < end {
                let index = usize::from(job.indices.add(at).read_unaligned());
                let inputs = job.inputs.add(index * U * UNIT * 4).cast::<i8>();
                let w = vreinterpretq_s8_s32(vld1q_dup_s32(job.weights.add(at * 4).cast()));
                for (u, sum) in sums.iter_mut().enumerate() {
                    let x = [vld1q_s8(inputs.add(u * 32)), vld1q_s8(inputs.add(u * 32 + 16))];
                    *sum = [sdot(sum[0], x[0], w), sdot(sum[1], x[1], w)];
                }
                at += 1;
            }
            neon::finish(job, channel, &sums);
        }
    }
}
