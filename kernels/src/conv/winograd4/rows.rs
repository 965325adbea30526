//! The inner product by the rows of the direct kernels: a tile's transformed inputs are a pixel of one tap.

use super::{CHUNK, Matrices};
use crate::conv::micro::{Args, MAX_MR, NR, Row};

/// Most channels of a group.
pub(super) const MAX_CHANNELS: usize = 64;

/// In place of a bias.
static ZEROS: [f32; MAX_CHANNELS] = [0.0; MAX_CHANNELS];

/// # Safety
/// The addresses are valid for what the structure says; the processor has what the row needs.
pub(super) unsafe fn multiply(row: &Row, a: &Matrices) {
    debug_assert!(a.depth <= CHUNK && a.panels * NR <= MAX_CHANNELS);
    for first in (0..a.tiles).step_by(row.mr) {
        let count = row.mr.min(a.tiles - first);
        let mut inputs = [std::ptr::null(); MAX_MR];
        let mut sums = [std::ptr::null_mut(); MAX_MR];
        for i in 0..row.mr {
            // Rows that do not count repeat the last one.
            let tile = first + i.min(count - 1);
            inputs[i] = a.inputs.wrapping_add(tile * a.row).cast();
            sums[i] = a.sums.wrapping_add(tile * a.pitch).cast();
        }
        let args = Args {
            rows: count,
            taps: 1,
            depth: a.depth,
            a: inputs.as_ptr(),
            w: a.weights.cast(),
            cols: a.panels * NR,
            y: sums.as_ptr(),
            bias: ZEROS.as_ptr().cast(),
            multiplier: std::ptr::null(),
            addend: None,
            lo: f32::NEG_INFINITY,
            hi: f32::INFINITY,
            zero_point: 0,
        };
        // SAFETY: the caller's promise.
        unsafe { (row.run)(&args) };
    }
}
