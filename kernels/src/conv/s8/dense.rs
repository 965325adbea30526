//! Few input channels on aarch64: the inputs of all taps without gaps.
//!
//! Packed weights fill the channels of each tap up to four: of a first layer's three, a quarter of the products would be
//! with zeros, and each tap would be a run of its own. Here a block's inputs are copied to scratch, all taps of a pixel
//! one after another; so are the weights, since the step was prepared. Then it is a block of one tap for the kernels that
//! [`super::walk`] describes.

use std::mem::MaybeUninit;

use crate::conv::block::{Block, Problem};
use crate::conv::gather::{self, Sink};
use crate::conv::list::BLOCK_PIXELS;
use crate::conv::micro::{KB_S8, NR};
use crate::conv::panels::{Panels, Reads, Run};
use crate::conv::s8::Stretches;

/// Bytes of scratch, for copied inputs: they stay in the first-level cache.
pub(super) const SCRATCH: usize = 24 << 10;

/// Bytes from a pixel's copied inputs to the next's: whole registers are written, and read.
const fn row(inputs: usize) -> usize {
    inputs.next_multiple_of(16) + 16
}

/// Most pixels of a block over `k` inputs, the channels of each tap filled up to four.
pub(super) fn pixels(k: usize) -> usize {
    SCRATCH / row(k)
}

/// Whether there are gaps to leave out, and results are bytes.
pub(super) fn suits(p: &Problem) -> bool {
    !p.sums && p.taps > 1 && p.depth < KB_S8
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

    #[inline(always)]
    unsafe fn take_each(&mut self, run: gather::Run, count: usize, step: isize) {
        let (mut from, bytes) = (run.from, run.taps * self.depth);
        let mut to = self.to.wrapping_add(run.pixel * self.row + run.tap * self.depth);
        // SAFETY: as in `take`.
        unsafe {
            if bytes <= 16 {
                for _ in 0..count {
                    from.copy_to_nonoverlapping(to, 16);
                    (from, to) = (from.wrapping_offset(step), to.wrapping_add(self.row));
                }
                return;
            }
            // Rows of seven taps of three channels.
            if (17..=24).contains(&bytes) {
                for _ in 0..count {
                    from.copy_to_nonoverlapping(to, 16);
                    from.add(16).copy_to_nonoverlapping(to.add(16), 8);
                    (from, to) = (from.wrapping_offset(step), to.wrapping_add(self.row));
                }
                return;
            }
            for i in 0..count {
                self.take(gather::Run { from, pixel: run.pixel + i, ..run });
                from = from.wrapping_offset(step);
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
    for (i, a) in a[..b.pixels].iter_mut().enumerate() {
        *a = to.wrapping_add(i * row(inputs)).cast_const();
    }
    let whole = b.pixels.next_multiple_of(MR);
    let last = a[b.pixels - 1];
    a[b.pixels..whole].fill(last);
    let mut y = [std::ptr::null_mut::<u8>(); BLOCK_PIXELS];
    let outputs = if whole == b.pixels {
        b.y
    } else {
        for (i, y) in y[..whole].iter_mut().enumerate() {
            // SAFETY: the block has the pixel.
            *y = unsafe { *b.y.add(i.min(b.pixels - 1)) };
        }
        y.as_ptr()
    };
    let mut groups = [MaybeUninit::<Reads>::uninit(); BLOCK_PIXELS / 4];
    let groups = &mut groups[..whole / MR];
    for (i, group) in groups.iter_mut().enumerate() {
        group.write(Reads::one(MR.min(b.pixels - i * MR)));
    }
    // SAFETY: the block has the panels, whose taps are without gaps; lists are filled up to whole groups, all of
    // which are set.
    unsafe {
        run(&Panels {
            groups: groups.assume_init_ref(),
            a: a.as_ptr(),
            slots: 1,
            depth: inputs,
            w: b.w,
            panel: inputs.next_multiple_of(KB_S8) * NR,
            cols: b.cols,
            y: outputs,
            offset: b.offset,
            bias: b.bias,
            multiplier: b.multiplier,
            addend: None,
            lo: b.lo,
            hi: b.hi,
            zero_point: b.zero_point,
            bound: b.bound,
            stretches: &Stretches::NONE,
            first_panel: 0,
        });
    }
}
