//! The portable rows.

use super::row::{Job, MAX_UNITS, STAGE, Store, Tap};
use crate::conv::s8::requantize;

/// Pixels of a unit.
const UNIT: usize = 8;

/// Copies a tap's inputs to planes of `GROUP`.
///
/// # Safety
/// As [`super::row::Row`].
pub(super) unsafe fn fill<const GROUP: usize>(tap: &Tap) {
    for pixel in 0..tap.pixels {
        // SAFETY: there are as many addresses, and each is good for the depth.
        let from = unsafe { std::slice::from_raw_parts(*tap.from.add(pixel), tap.depth) };
        for plane in 0..tap.planes {
            let inputs = &from[plane * GROUP..tap.depth.min((plane + 1) * GROUP)];
            let mut group = [0; GROUP];
            group[..inputs.len()].copy_from_slice(inputs);
            // SAFETY: there is room for the planes.
            unsafe { tap.to.cast::<[u8; GROUP]>().add(plane * tap.pixels + pixel).write(group) };
        }
    }
}

/// The products of some channels.
///
/// # Safety
/// As [`super::row::Row`].
pub(super) unsafe fn multiply<const GROUP: usize>(job: &Job) {
    let mut at = job.start;
    for channel in 0..job.channels {
        // SAFETY: constants of the channel and of its groups, planes that those name, and results that there is room for.
        unsafe {
            let end = job.ends.add(channel).read_unaligned() as usize;
            let mut sums = [[job.bias.add(channel).read_unaligned(); UNIT]; MAX_UNITS];
            let sums = &mut sums[..job.units];
            while at < end {
                let index = usize::from(job.indices.add(at).read_unaligned());
                let weights = job.weights.cast::<[i8; GROUP]>().add(at).read();
                let inputs = job.inputs.cast::<[[i8; GROUP]; UNIT]>().add(index * job.units);
                let inputs = std::slice::from_raw_parts(inputs, job.units);
                for (sum, x) in sums.iter_mut().flatten().zip(inputs.iter().flatten()) {
                    for (&x, &w) in x.iter().zip(&weights) {
                        *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
                    }
                }
                at += 1;
            }
            let multiplier = job.multiplier.add(channel).read_unaligned();
            for (pixel, &sum) in sums.iter().flatten().enumerate() {
                let result = requantize(sum, multiplier, job.lo, job.hi, job.zero_point);
                job.to.add(channel * STAGE + pixel).write(result);
            }
        }
    }
}

/// Stores results pixel by pixel.
///
/// # Safety
/// As [`super::row::Row`].
pub(super) unsafe fn store(s: &Store) {
    for pixel in 0..s.pixels {
        for channel in 0..s.channels {
            // SAFETY: rows of results, and channels of rows of the output.
            unsafe { s.to.add(pixel * s.pitch + channel).write(*s.from.add(channel * STAGE + pixel)) };
        }
    }
}
