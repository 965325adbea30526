//! Runs the tiles of indirect products: feeds the microkernels.
//!
//! A tile is a range of output pixels times a range of one group's output channels. Within it, a block of pixels goes
//! to a kernel that copies its inputs, or gets its list of addresses, with which panels of weights go by outside and
//! groups of pixels inside, so that a panel stays in the first-level cache while all pixels of the block meet it: some
//! kernels do that by themselves, others are called for each group. At last the rest of the epilogue is applied to the
//! block, still in cache.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::block::{Block, BlockRow};
use super::gather::Gather;
use super::geometry::{Pixel, Product};
use super::list::{BLOCK_PIXELS, List};
use super::micro::{Args, MAX_MR, NR, Row};
use super::pack;
use super::panels::{PanelRow, Panels};
use super::plan::Plan;
use super::residual::Addend;
use super::setup::{Implementation, Padding, Setup};
use crate::kernel::Kernel;
use crate::view::Mem;

/// A convolution ready to run.
pub(super) struct Conv {
    setup: Setup,
    plans: Vec<Plan>,
    tiles: usize,
    macs: u64,
}

impl Conv {
    pub fn new(setup: Setup, products: impl IntoIterator<Item = Product>) -> Self {
        let (mut plans, mut tiles, mut macs) = (Vec::new(), 0, 0_u64);
        for product in products {
            let plan = Plan::new(&setup, product, [tiles, plans.len() * setup.panels()]);
            tiles += plan.tiles(setup.groups);
            let per_pixel = (product.taps() as u64).saturating_mul((setup.depth() * setup.y.cols()) as u64);
            macs = macs.saturating_add(per_pixel.saturating_mul(plan.pixels as u64));
            plans.push(plan);
        }
        Self { setup, plans, tiles, macs }
    }
}

/// The addresses of a run's operands, for one group.
#[derive(Debug)]
pub(super) struct Bases {
    /// The first input channel, and a row of as many where taps are outside the image; the first output channel of all.
    pub x: *const u8,
    pub padding: *const u8,
    pub y: *mut u8,
    /// Bytes from one element's row to the next.
    pub x_row: usize,
    pub y_row: usize,
}

/// A block of pixels: a part of a product's, and which output channels.
struct Work<'a> {
    plan: &'a Plan,
    bases: &'a Bases,
    first: usize,
    count: usize,
    group: usize,
    channels: Range<usize>,
}

/// Where the output of each pixel of a block begins.
type Outputs = [MaybeUninit<*mut u8>; BLOCK_PIXELS];

impl Conv {
    /// Does a block, a few pixels at a time: those that the list has room for, whose number it gives.
    ///
    /// # Safety
    /// The work is of this step, and `mem` the memory that it was prepared against.
    unsafe fn rows(&self, mem: &Mem, work: &Work<'_>, row: Row, list: &mut List) -> usize {
        let (s, p, mr) = (&self.setup, &work.plan.product, row.mr);
        let (plan, layout) = (work.plan, &work.plan.layout);
        let (size, depth) = (s.y.dtype.size(), s.depth());
        // SAFETY: the pixels are the plan's.
        let count = unsafe { list.fill(p, layout, work.bases, work.first, work.count) };
        for channel in work.channels.clone().step_by(plan.call_channels) {
            let panel = work.group * s.channels().div_ceil(NR) + channel / NR;
            let offset = (work.group * s.channels() + channel) * size;
            for (index, reads) in list.groups().iter().enumerate() {
                let start = index * mr;
                let mut y = [MaybeUninit::<*mut u8>::uninit(); MAX_MR];
                for (to, out) in y.iter_mut().zip(&list.outputs(layout)[start..start + mr]) {
                    // SAFETY: `fill` set `mr` entries of each group of pixels; a channel of a row of y.
                    *to = MaybeUninit::new(unsafe { out.assume_init().add(offset) });
                }
                let mut addends = [MaybeUninit::uninit(); MAX_MR];
                // SAFETY: the same rows.
                let addend = unsafe {
                    let outputs = &list.outputs(layout)[start..start + mr];
                    self.addend(mem, outputs, &mut addends, panel * NR, offset)
                };
                // SAFETY: the group's part of the list; panels of the packed constants, of which `prepare` proved
                // the lengths.
                unsafe {
                    let args = Args {
                        rows: reads.pixels,
                        taps: reads.runs,
                        depth: depth * reads.taps,
                        a: list.group(layout, index),
                        w: s.weights.ptr::<u8>(mem).add(p.weights + panel * plan.panel),
                        cols: plan.call_channels.min(work.channels.end - channel),
                        y: y.as_ptr().cast(),
                        bias: self.bias(mem, p.bias + panel * NR),
                        multiplier: self.multiplier(mem, panel),
                        addend,
                        lo: s.lo,
                        hi: s.hi,
                        zero_point: s.zero_point,
                    };
                    (row.run)(&args);
                }
            }
        }
        count
    }

    /// Does a block at once, by its list: the pixels that this has room for, whose number it gives.
    ///
    /// # Safety
    /// As [`Self::rows`].
    unsafe fn panels(&self, mem: &Mem, work: &Work<'_>, row: PanelRow, list: &mut List) -> usize {
        let (s, p) = (&self.setup, &work.plan.product);
        let layout = &work.plan.layout;
        let panel = work.group * s.channels().div_ceil(NR) + work.channels.start / NR;
        // SAFETY: as in `rows`.
        unsafe {
            let count = list.fill(p, layout, work.bases, work.first, work.count);
            let mut addends = [MaybeUninit::uninit(); BLOCK_PIXELS];
            let addend = self.addend(mem, list.outputs(layout), &mut addends, panel * NR, 0);
            (row.run)(&Panels {
                groups: list.groups(),
                a: list.group(layout, 0),
                slots: layout.slots,
                depth: s.depth(),
                w: s.weights.ptr::<u8>(mem).add(p.weights + panel * work.plan.panel),
                panel: work.plan.panel,
                cols: work.channels.len(),
                y: list.outputs(layout).as_ptr().cast(),
                offset: (work.group * s.channels() + work.channels.start) * s.y.dtype.size(),
                bias: self.bias(mem, p.bias + panel * NR),
                multiplier: self.multiplier(mem, panel),
                addend,
                lo: s.lo,
                hi: s.hi,
                zero_point: s.zero_point,
                bound: s.bound,
                stretches: &s.stretches,
                first_panel: work.plan.first_panel + panel,
            });
            count
        }
    }

    /// Does a block at once; the addresses of its outputs go to `out`.
    ///
    /// # Safety
    /// As [`Self::rows`], and the kernel's scratch is there.
    unsafe fn block(&self, mem: &Mem, work: &Work<'_>, row: BlockRow, out: &mut Outputs) {
        let (s, p) = (&self.setup, &work.plan.product);
        let layout = &work.plan.layout;
        let panel = work.group * s.channels().div_ceil(NR) + work.channels.start / NR;
        let mut at = Pixel::new(p, work.first);
        let mut left = &mut out[..work.count];
        while !left.is_empty() {
            let (row, rest) = left.split_at_mut((p.cols.outputs - at.col).min(left.len()));
            let line = at.image * layout.output[0] + p.rows.out(at.row);
            let first = (line * layout.output[1] + p.cols.out(at.col)) * work.bases.y_row;
            for (i, to) in row.iter_mut().enumerate() {
                let offset = first + i * p.cols.out_step * work.bases.y_row;
                // SAFETY: the offset is that of a row of the output.
                *to = MaybeUninit::new(unsafe { work.bases.y.add(offset) });
            }
            at.col += row.len() - 1;
            at.step(p);
            left = rest;
        }
        let gapless = !s.gapless.is_empty();
        // SAFETY: panels of the packed constants, of which `prepare` proved the lengths, or as many made of them; blocks
        // have no more pixels than the row allows.
        unsafe {
            let w = if gapless {
                s.gapless.as_ptr().add(panel * pack::gapless_panel(s.gapless_taps(p), s.depth()))
            } else {
                s.weights.ptr::<u8>(mem).add(p.weights + panel * work.plan.panel)
            };
            let mut addends = [MaybeUninit::uninit(); BLOCK_PIXELS];
            let addend = self.addend(mem, &out[..work.count], &mut addends, panel * NR, 0);
            let block = Block {
                pixels: work.count,
                inputs: Gather {
                    product: p,
                    bases: work.bases,
                    first: work.first,
                    pixels: work.count,
                    runs: layout.runs,
                    interior: &layout.regions[0].interior[1],
                },
                taps: p.taps(),
                depth: s.depth(),
                w,
                cols: work.channels.len(),
                y: out.as_ptr().cast(),
                offset: (work.group * s.channels() + work.channels.start) * s.y.dtype.size(),
                bias: self.bias(mem, p.bias + panel * NR),
                multiplier: self.multiplier(mem, panel),
                addend,
                lo: s.lo,
                hi: s.hi,
                zero_point: s.zero_point,
                bound: s.bound,
                lines: work.plan.lines,
                gapless,
                scratch: mem.scratch,
            };
            (row.run)(&block);
        }
    }

    /// The biases from channel `at` on.
    ///
    /// # Safety
    /// `mem` is the memory the step was prepared against; the channel is one of the step's.
    unsafe fn bias(&self, mem: &Mem, at: usize) -> *const u8 {
        let s = &self.setup;
        // SAFETY: `prepare` proved the number of biases, and those that were made of them are as many, or more.
        unsafe {
            match [&s.offset_bias, &s.region_bias].into_iter().find(|made| !made.is_empty()) {
                Some(made) => made.as_ptr().add(at).cast(),
                None => s.bias.ptr::<u8>(mem).add(at * 4),
            }
        }
    }

    /// The multipliers of a panel's channels; null where there are none.
    ///
    /// # Safety
    /// `mem` is the memory the step was prepared against; the panel is one of the step's.
    unsafe fn multiplier(&self, mem: &Mem, panel: usize) -> *const f32 {
        match self.setup.multiplier {
            // SAFETY: multipliers are there for every panel.
            Some(m) => unsafe { m.ptr::<f32>(mem).add(panel * NR) },
            None => std::ptr::null(),
        }
    }

    /// The addend of pixels whose outputs are those, from the channels of a panel that begins with `channel` on, if there is
    /// one; the addresses of its rows go to `rows`. Kernels are told outputs `offset` bytes further.
    ///
    /// # Safety
    /// `mem` is the memory the step was prepared against; the outputs are set, `rows` has room for theirs and outlives what
    /// is returned; the panel is one of the step's.
    unsafe fn addend(
        &self,
        mem: &Mem,
        outputs: &[MaybeUninit<*mut u8>],
        rows: &mut [MaybeUninit<*const u8>],
        channel: usize,
        offset: usize,
    ) -> Option<Addend> {
        let residual = self.setup.residual.as_ref()?;
        // SAFETY: the caller's promise.
        unsafe {
            for (row, out) in rows.iter_mut().zip(outputs) {
                row.write(residual.row(mem, &self.setup.y, out.assume_init()));
            }
            Some(residual.addend(mem, rows.as_ptr().cast(), channel, offset))
        }
    }
}

// SAFETY: tiles are disjoint ranges of pixels and channels of the products, and the products' outputs are disjoint;
// every address handed to a microkernel is that of a row of an operand, or of a padding row of as many channels.
unsafe impl Kernel for Conv {
    fn name(&self) -> &'static str {
        self.setup.by.name()
    }

    fn tiles(&self) -> usize {
        self.tiles
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    fn scratch(&self) -> usize {
        match self.setup.by {
            Implementation::Rows(_) | Implementation::Panels(_) => 0,
            Implementation::Block(row) => row.scratch,
        }
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let s = &self.setup;
        let plan = &self.plans[self.plans.partition_point(|p| p.first_tile <= tile) - 1];
        let local = tile - plan.first_tile;
        let (pixel_tile, channel_tile, group) = match s.by {
            // Channels innermost: a thread's share is a part of the image, as it was in the step before.
            Implementation::Block(_) | Implementation::Panels(_) => {
                let of_pixels = local / plan.channel_tiles;
                (of_pixels % plan.pixel_tiles, local % plan.channel_tiles, of_pixels / plan.pixel_tiles)
            }
            // Pixels innermost: tiles that follow one another share weights.
            Implementation::Rows(_) => {
                let of_channels = local / plan.pixel_tiles;
                (local % plan.pixel_tiles, of_channels % plan.channel_tiles, of_channels / plan.channel_tiles)
            }
        };
        let (size, depth, channels) = (s.x.dtype.size(), s.depth(), s.channels());
        let Range { start: first, end } = plan.pixels_of(pixel_tile);
        let from = channel_tile * plan.tile_channels;
        let to = (from + plan.tile_channels).min(channels);

        // SAFETY: offsets of a group inside a row of x, of the padding and of y; `prepare` proved the operands.
        let bases = unsafe {
            Bases {
                x: s.x.ptr::<u8>(mem).add(group * depth * size),
                padding: match &s.padding {
                    Padding::None => std::ptr::null(),
                    Padding::Constant(v) => v.ptr::<u8>(mem).add(group * depth * size),
                    Padding::Own(row) => row.as_ptr().add(group * depth * size),
                },
                y: s.y.ptr_mut::<u8>(mem),
                x_row: s.x.pitch * size,
                y_row: s.y.pitch * s.y.dtype.size(),
            }
        };
        let mut list = List::new();
        let mut out: Outputs = [MaybeUninit::uninit(); BLOCK_PIXELS];
        let mut next = first;
        while next < end {
            let count = plan.block_pixels.min(end - next);
            let work = Work { plan, bases: &bases, first: next, count, group, channels: from..to };
            // SAFETY: pixels and channels are the tile's; their rows were written just before they are finished.
            unsafe {
                let finish = |out: &[_]| s.finish(mem, out, group * channels + from, to - from);
                next += match s.by {
                    Implementation::Rows(row) => {
                        let count = self.rows(mem, &work, row, &mut list);
                        list.pixels(&plan.layout).for_each(finish);
                        count
                    }
                    Implementation::Panels(row) => {
                        let count = self.panels(mem, &work, row, &mut list);
                        list.pixels(&plan.layout).for_each(finish);
                        count
                    }
                    Implementation::Block(row) => {
                        self.block(mem, &work, row, &mut out);
                        finish(&out[..count]);
                        count
                    }
                };
            }
        }
    }
}
