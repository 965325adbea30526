//! Portable rows for both floating-point types.

use crate::conv::micro::{Args, NR};
use crate::float::{Float, clamp};

/// Rows computed at once.
const MR: usize = 4;

/// Four output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
pub(crate) unsafe fn conv_4x8<E: Float>(args: &Args) {
    let panel_bytes = args.taps * args.depth * NR * E::SIZE;
    for (panel, first) in (0..args.cols).step_by(NR).enumerate() {
        let cols = NR.min(args.cols - first);
        // SAFETY: the panel is one of those that hold the columns.
        let w = unsafe { args.w.add(panel * panel_bytes) };
        let mut sums = [[0.0; NR]; MR];
        for sum in &mut sums {
            for (c, s) in sum.iter_mut().enumerate() {
                // SAFETY: biases are there for whole panels.
                *s = unsafe { args.bias.cast::<f32>().add(first + c).read_unaligned() };
            }
        }
        for tap in 0..args.taps {
            for (row, sum) in sums[..args.rows].iter_mut().enumerate() {
                // SAFETY: there are `taps * MR` addresses.
                let a = unsafe { *args.a.add(tap * MR + row) };
                for k in 0..args.depth {
                    // SAFETY: `depth` elements lie at the address.
                    let x = unsafe { E::get(a, k) };
                    for (c, s) in sum.iter_mut().enumerate() {
                        // SAFETY: the panel holds `taps * depth * NR` elements.
                        *s = x.mul_add(unsafe { E::get(w, (tap * args.depth + k) * NR + c) }, *s);
                    }
                }
            }
        }
        for (row, sum) in sums[..args.rows].iter().enumerate() {
            for (c, &s) in sum[..cols].iter().enumerate() {
                // SAFETY: each of the addresses takes `cols` elements.
                unsafe { E::put(*args.y.add(row), first + c, clamp(s, args.lo, args.hi)) };
            }
        }
    }
}
