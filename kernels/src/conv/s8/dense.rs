//! Few input channels on aarch64: the inputs of all taps without gaps.
//!
//! Packed weights fill the channels of each tap up to four: of a first layer's three, a quarter of the products would be
//! with zeros, and each tap would be a run of its own. Here a block's inputs are copied to scratch, all taps of a pixel
//! one after another, and the weights of its panels likewise; then it is a block of one tap for the kernels that
//! [`super::walk`] describes.

use std::arch::aarch64::*;

use crate::conv::block::{Block, Problem};
use crate::conv::gather::{self, Sink};
use crate::conv::list::BLOCK_PIXELS;
use crate::conv::micro::{KB_S8, NR};
use crate::conv::panels::{Panels, Run};
use crate::conv::s8::Stretches;

/// Bytes of copied inputs: they stay in the first-level cache.
const INPUT_BYTES: usize = 24 << 10;

/// Bytes of copied weights.
const WEIGHT_BYTES: usize = 32 << 10;

/// Bytes of scratch.
pub(super) const SCRATCH: usize = INPUT_BYTES + WEIGHT_BYTES;

/// Bytes of a block of weights.
const BLOCK: usize = NR * KB_S8;

/// Taps whose weights are copied at once.
const TAPS: usize = 4;

/// Bytes from a pixel's copied inputs to the next's: whole registers are written, and read.
const fn row(inputs: usize) -> usize {
    inputs.next_multiple_of(16) + 16
}

/// Most pixels of a block over `k` inputs, the channels of each tap filled up to four.
pub(super) fn pixels(k: usize) -> usize {
    INPUT_BYTES / row(k)
}

/// Whether there are gaps to leave out, results are bytes, and one panel's copied weights fit.
pub(super) fn suits(p: &Problem) -> bool {
    !p.sums && p.taps > 1 && p.depth < KB_S8 && p.taps.next_multiple_of(TAPS) * p.depth * NR <= WEIGHT_BYTES
}

/// Whether runs of taps can be copied.
pub(super) fn merges(depth: usize) -> bool {
    depth < KB_S8
}

/// Copies runs of inputs.
struct Inputs {
    to: *mut u8,
    row: usize,
    depth: usize,
}

impl Sink for Inputs {
    #[inline(always)]
    unsafe fn take(&mut self, run: gather::Run) {
        let bytes = run.taps * self.depth;
        // SAFETY: fifteen bytes more can be read; what is written too far is a later tap's place, or the row's slack.
        unsafe {
            let to = self.to.add(run.pixel * self.row + run.tap * self.depth);
            run.from.copy_to_nonoverlapping(to, 16);
            for i in (16..bytes).step_by(16) {
                run.from.add(i).copy_to_nonoverlapping(to.add(i), 16);
            }
        }
    }
}

/// Copies a panel's weights.
///
/// # Safety
/// `from` is valid for a block for each tap, `to` for DEPTH blocks for each four.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn weights<const DEPTH: usize>(from: *const i8, taps: usize, to: *mut i8) {
    // For each block that four taps make: where its bytes are in registers of four channels of those taps.
    let mut order = [[0; 16]; DEPTH];
    for i in 0..DEPTH * 16 {
        let (channel, input) = (i % 16 / KB_S8, i / 16 * KB_S8 + i % KB_S8);
        order[i / 16][i % 16] = (input / DEPTH * 16 + channel * KB_S8 + input % DEPTH) as u8;
    }
    for tap in (0..taps).step_by(TAPS) {
        for half in [0, BLOCK / 2] {
            // SAFETY: the caller's promise.
            unsafe {
                let at = |i: usize| {
                    if tap + i < taps { vld1q_s8(from.add((tap + i) * BLOCK + half)) } else { vdupq_n_s8(0) }
                };
                let four = int8x16x4_t(at(0), at(1), at(2), at(3));
                for i in 0..DEPTH {
                    let block = vqtbl4q_s8(four, vld1q_u8(order[i].as_ptr()));
                    vst1q_s8(to.add((tap / TAPS * DEPTH + i) * BLOCK + half), block);
                }
            }
        }
    }
}

/// A block of pixels, by a kernel for groups of MR of them.
///
/// # Safety
/// As [`crate::conv::block::Run`], and the processor has what the kernel needs.
#[target_feature(enable = "neon")]
pub(super) unsafe fn block<const MR: usize>(b: &Block<'_>, run: Run) {
    let inputs = b.taps * b.depth;
    let to = b.scratch;
    // SAFETY: the scratch holds the rows of `pixels` pixels.
    unsafe { b.inputs.runs(0..b.taps, &mut Inputs { to, row: row(inputs), depth: b.depth }) };
    let mut a = [std::ptr::null::<u8>(); BLOCK_PIXELS];
    let mut y = [std::ptr::null_mut::<u8>(); BLOCK_PIXELS];
    for i in 0..b.pixels.next_multiple_of(MR) {
        let pixel = i.min(b.pixels - 1);
        a[i] = to.wrapping_add(pixel * row(inputs)).cast_const();
        // SAFETY: the block has the pixel.
        y[i] = unsafe { *b.y.add(pixel) };
    }
    let copied = b.taps.next_multiple_of(TAPS) * b.depth * NR;
    let span = WEIGHT_BYTES / copied * NR;
    for first in (0..b.cols).step_by(span) {
        let columns = span.min(b.cols - first);
        // SAFETY: the block has the panels; the scratch holds as many as a span has; lists are filled up to whole groups.
        unsafe {
            let w = to.add(INPUT_BYTES);
            for i in 0..columns.div_ceil(NR) {
                let from = b.w.add((first / NR + i) * b.taps * BLOCK).cast();
                let to = w.add(i * copied).cast();
                match b.depth {
                    1 => weights::<1>(from, b.taps, to),
                    2 => weights::<2>(from, b.taps, to),
                    _ => weights::<3>(from, b.taps, to),
                }
            }
            run(&Panels {
                pixels: b.pixels,
                a: a.as_ptr(),
                slots: 1,
                merged: &[false; BLOCK_PIXELS][..b.pixels.div_ceil(MR)],
                taps: [1, 1],
                depth: inputs,
                w,
                panel: copied,
                cols: columns,
                y: y.as_ptr(),
                offset: b.offset + first,
                bias: b.bias.cast::<i32>().add(first).cast(),
                multiplier: b.multiplier.add(first),
                addend: None,
                lo: b.lo,
                hi: b.hi,
                zero_point: b.zero_point,
                small: b.small,
                stretches: &Stretches::NONE,
                first_panel: 0,
            });
        }
    }
}
