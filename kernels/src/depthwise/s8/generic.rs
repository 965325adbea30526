//! Portable Rust, channel by channel.

use super::{Run, pack};
use crate::float::clamp;

/// # Safety
/// As [`super::Micro`].
pub(super) unsafe fn run(r: &Run) {
    let padded = pack::padded_channels(r.channels);
    let (lo, hi) = (r.lo - r.zero_point as f32, r.hi - r.zero_point as f32);
    for pixel in 0..r.pixels {
        for c in 0..r.channels {
            // SAFETY: the operands are valid for all channels, taps and pixels.
            unsafe {
                let mut sum = *r.bias.cast::<i32>().add(c);
                for t in 0..r.taps {
                    let x = *(*r.a.add(pixel * r.taps + t)).cast::<i8>().add(c);
                    let w = *r.w.cast::<i8>().add(t * padded + c);
                    sum = sum.wrapping_add(i32::from(x) * i32::from(w));
                }
                let q =
                    clamp(sum as f32 * *r.multiplier.add(c), lo, hi).round_ties_even() as i32 + r.zero_point;
                *r.y.add(pixel * r.y_pitch + c).cast::<i8>() = q as i8;
            }
        }
    }
}
