//! The portable row.

use crate::conv::micro::{Args, KB_S8, NR};
use crate::conv::residual::Tile;

/// Rows computed at once.
const MR: usize = 4;

/// Four output pixels times one panel, panel after panel.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
pub(super) unsafe fn conv_4x8(args: &Args) {
    let blocks = args.depth.div_ceil(KB_S8);
    let panel_bytes = args.taps * blocks * NR * KB_S8;
    for (panel, first) in (0..args.cols).step_by(NR).enumerate() {
        // SAFETY: the panel is one of those that hold the columns, and so are its bias and multipliers.
        let (w, bias) = unsafe {
            (
                args.w.cast::<[[i8; KB_S8]; NR]>().byte_add(panel * panel_bytes),
                args.bias.cast::<[i32; NR]>().add(panel).read_unaligned(),
            )
        };
        let mut sums = [bias; MR];
        for tap in 0..args.taps {
            for (row, sum) in sums[..args.rows].iter_mut().enumerate() {
                // SAFETY: there are `taps * MR` addresses.
                let a = unsafe { *args.a.add(tap * MR + row) };
                for block in 0..blocks {
                    // SAFETY: the address is valid up to the next multiple of 4, and the panel holds the block.
                    let (x, w) =
                        unsafe { (a.cast::<[i8; KB_S8]>().add(block).read(), &*w.add(tap * blocks + block)) };
                    for (s, w) in sum.iter_mut().zip(w) {
                        for (&x, &w) in x.iter().zip(w) {
                            *s = s.wrapping_add(i32::from(x) * i32::from(w));
                        }
                    }
                }
            }
        }
        let cols = NR.min(args.cols - first);
        if let Some(addend) = &args.addend {
            // SAFETY: sums of all rows; their addresses take `cols` elements.
            unsafe {
                addend.finish(&Tile {
                    sums: sums.as_ptr().cast(),
                    stride: NR,
                    pixels: args.rows,
                    columns: cols,
                    column: first,
                    y: args.y,
                    pixel: 0,
                    offset: first,
                });
            }
            continue;
        }
        if args.multiplier.is_null() {
            for (row, sum) in sums[..args.rows].iter().enumerate() {
                // SAFETY: each of the addresses takes `cols` elements.
                unsafe {
                    let y = (*args.y.add(row)).cast::<i32>().add(first);
                    std::ptr::copy_nonoverlapping(sum.as_ptr(), y, cols);
                }
            }
            continue;
        }
        // SAFETY: multipliers are there for whole panels.
        let multiplier = unsafe { args.multiplier.cast::<[f32; NR]>().add(panel).read_unaligned() };
        for (row, sum) in sums[..args.rows].iter().enumerate() {
            for c in 0..cols {
                let v = requantize(sum[c], multiplier[c], args.lo, args.hi, args.zero_point);
                // SAFETY: each of the addresses takes `cols` elements.
                unsafe { (*args.y.add(row)).cast::<i8>().add(first + c).write(v) };
            }
        }
    }
}

/// An exact sum as a quantized value: to f32 (nearest even), times the multiplier, clamped to `[lo, hi]` less the
/// zero point, rounded to nearest even, plus the zero point.
pub(crate) fn requantize(sum: i32, multiplier: f32, lo: f32, hi: f32, zero_point: i32) -> i8 {
    let zero = zero_point as f32;
    let v = (sum as f32 * multiplier).max(lo - zero).min(hi - zero);
    (v.round_ties_even() as i32 + zero_point) as i8
}
