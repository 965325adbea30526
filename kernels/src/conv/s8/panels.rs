//! Blocks on aarch64: groups of pixels times panels, whose sums an instruction set makes and [`super::finish`] ends.
//!
//! Panels go by in spans that stay in half of a small first-level cache, so that groups of pixels find them there. What
//! sums of a span start at is written down once, on the stack: registers are loaded with it faster than copied.

use std::arch::aarch64::*;
use std::mem::MaybeUninit;

use super::finish::{self, Finish, Mode, Output};
use crate::conv::block::Block;
use crate::conv::micro::{Args, KB_S8, NR};

/// Most bytes of weights of a span.
const SPAN: usize = 16 << 10;

/// Most panels of a span.
const PANELS: usize = 32;

/// What sums of the channels of a span's panels start at.
#[repr(align(64))]
struct Starts([MaybeUninit<[i32; NR]>; PANELS]);

/// Pixels that are computed at once, and what there is to multiply.
pub(super) struct Group {
    /// For each tap the addresses of the pixels' first channels.
    pub a: *const *const i8,
    /// At least 1.
    pub taps: usize,
    /// Blocks of four channels of each tap, at least 1.
    pub blocks: usize,
}

/// All of a block.
///
/// `whole` makes the sums of MR pixels of a group times the panel whose weights are at its second argument, starting at
/// the eight numbers at its third. `few` does the same as a [`Micro`](crate::conv::micro::Micro) of at most FEW pixels,
/// whose list of addresses has MR for each tap; it is asked where no more count, or there are no taps.
///
/// # Safety
/// As [`crate::conv::block::Run`].
#[inline(always)] // Into functions that have the features that the closures need.
pub(super) unsafe fn walk<const MODE: Mode, const MR: usize, const FEW: usize>(
    b: &Block<'_>,
    whole: impl Fn(&Group, *const i8, *const i32) -> [[int32x4_t; 2]; MR],
    few: impl Fn(&Args),
) {
    let panel = b.taps[0] * b.taps[1] * b.depth.div_ceil(KB_S8) * KB_S8 * NR;
    let span = (SPAN / panel.max(1)).clamp(1, PANELS) * NR;
    let mut starts = Starts([MaybeUninit::uninit(); PANELS]);
    for first in (0..b.cols).step_by(span) {
        let columns = span.min(b.cols - first);
        for (i, start) in starts.0[..columns.div_ceil(NR)].iter_mut().enumerate() {
            // SAFETY: biases are there for whole panels; a place has room for those of one.
            unsafe {
                let (from, to) = (b.bias.cast::<i32>().add(first + i * NR), start.as_mut_ptr().cast::<i32>());
                vst1q_s32(to, finish::start::<MODE>(vld1q_s32(from)));
                vst1q_s32(to.add(4), finish::start::<MODE>(vld1q_s32(from.add(4))));
            }
        }
        // SAFETY: the span's panels, biases and multipliers are there.
        let (w, bias, multiplier) = unsafe {
            (b.w.add(first / NR * panel), b.bias.cast::<i32>().add(first), b.multiplier.add(first))
        };
        for (index, &merged) in b.merged.iter().enumerate() {
            let (taps, depth) =
                if merged { (b.taps[0], b.depth * b.taps[1]) } else { (b.taps[0] * b.taps[1], b.depth) };
            let pixel = index * MR;
            let count = MR.min(b.pixels - pixel);
            // SAFETY: each group has `slots` times MR addresses, and MR ones of results.
            let (a, y) = unsafe { (b.a.add(pixel * b.slots).cast::<*const i8>(), b.y.add(pixel)) };
            if count <= FEW || taps * depth == 0 {
                for row in (0..count).step_by(FEW) {
                    let mut to = [std::ptr::null_mut(); FEW];
                    for (i, to) in to.iter_mut().enumerate() {
                        // SAFETY: pixels of the group.
                        *to = unsafe { (*y.add((row + i).min(MR - 1))).add(b.offset + first) };
                    }
                    few(&Args {
                        rows: FEW.min(count - row),
                        taps,
                        depth,
                        a: a.cast::<*const u8>().wrapping_add(row),
                        w,
                        cols: columns,
                        y: to.as_ptr(),
                        bias: bias.cast(),
                        multiplier,
                        lo: b.lo,
                        hi: b.hi,
                        zero_point: b.zero_point,
                    });
                }
                continue;
            }
            let group = Group { a, taps, blocks: depth.div_ceil(KB_S8) };
            let output = Output::of_block(b);
            for (i, column) in (0..columns).step_by(NR).enumerate() {
                // SAFETY: a panel of the span, with what it starts at; the pixels take the columns that count.
                unsafe {
                    let sums = whole(&group, w.add(i * panel).cast(), starts.0.as_ptr().add(i).cast());
                    let finish = Finish::<MODE>::new(output, multiplier.add(column));
                    finish.store(sums, y, b.offset + first + column, columns - column);
                }
            }
        }
    }
}
