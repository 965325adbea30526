//! Cuts indirect products into tiles and feeds the microkernels.
//!
//! A tile is a range of output pixels times a range of one group's output channels. Within it, a block of pixels goes
//! to a kernel that copies its inputs, or gets its list of addresses, with which panels of weights go by outside and
//! groups of pixels inside, so that a panel stays in the first-level cache while all pixels of the block meet it: some
//! kernels do that by themselves, others are called for each group. At last the rest of the epilogue is applied to the
//! block, still in cache.

use std::mem::MaybeUninit;
use std::ops::Range;

use cygnet_format::op::{Unary, UnaryKind};
use cygnet_format::program::DType;

use super::block::{Block, BlockRow, Problem};
use super::gather::Gather;
use super::geometry::{Pixel, Product};
use super::lines;
use super::list::{BLOCK_PIXELS, LIST, Layout, List};
use super::micro::{Args, MAX_MR, NR, Row};
use super::pack;
use super::panels::{PanelRow, Panels};
use super::reals::Reals;
use super::residual::{Addend, Residual};
use super::s8::Stretches;
use crate::copy::run::copy_run;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::map::{Function, Lookup};
use crate::view::{Mem, View};

/// Multiply-accumulates of a tile that is worth handing to another thread: some 50,000 cycles.
const TILE_MACS: usize = 1 << 20;

/// Bytes of a pixel's channels up to which those of several are put together for what follows clamping.
const FEW: usize = 64;

/// Room for them, aligned for every element type.
#[repr(align(64))]
struct Together([u8; 16 * FEW]);

/// Fewest channels of a tile that copies its inputs.
const BLOCK_CHANNELS: usize = 96;

/// Fewest pixels of a tile while it has channels to give away: below, weights are read too often.
const MIN_PIXELS: usize = 48;

/// Where a tap outside the image reads.
pub(super) enum Padding {
    /// No tap is ever outside.
    None,
    /// A constant.
    Constant(View),
    /// A row of its own.
    Own(Vec<u8>),
}

/// What follows clamping.
pub(super) enum After {
    Nothing,
    F32(Function),
    F16(Function),
    Table(View, Lookup),
    /// Sums of s8 products become real numbers.
    Reals(Box<Reals>),
}

impl After {
    /// The function of a floating-point result.
    pub fn of(cx: &Context<'_>, dtype: DType, unary: Unary) -> Result<Self, PrepareError> {
        let function = || Function::new(cx.cpu(), unary);
        match (unary.kind, dtype) {
            (UnaryKind::Identity, _) => Ok(Self::Nothing),
            (UnaryKind::Not, _) => Err(cx.error("'not' of a floating-point result is not defined")),
            (_, DType::F32) => Ok(Self::F32(function())),
            (_, DType::F16) => Ok(Self::F16(function())),
            (_, other) => {
                Err(cx.error(format!("a function of a result of type {} is not defined", other.name())))
            }
        }
    }
}

/// What does the arithmetic.
#[derive(Clone, Copy)]
pub(super) enum Implementation {
    /// A few pixels in each call.
    Rows(Row),
    /// A block of pixels in each call, by its list of addresses.
    Panels(PanelRow),
    /// A block of pixels in each call, which copies their inputs.
    Block(BlockRow),
}

impl Implementation {
    fn name(&self) -> &'static str {
        match self {
            Self::Rows(row) => row.name,
            Self::Panels(row) => row.name,
            Self::Block(row) => row.name,
        }
    }

    /// Pixels that lie together in the list of addresses.
    fn mr(&self) -> usize {
        match self {
            Self::Rows(row) => row.mr,
            Self::Panels(row) => row.mr,
            Self::Block(row) => row.mr,
        }
    }

    /// Output channels computed at once.
    fn nr(&self) -> usize {
        match self {
            Self::Rows(row) => row.nr,
            Self::Panels(row) => row.nr,
            Self::Block(row) => row.nr,
        }
    }

    /// Most pixels of a block over `k` inputs.
    fn pixels(&self, k: usize) -> usize {
        match self {
            Self::Rows(_) | Self::Panels(_) => BLOCK_PIXELS,
            Self::Block(row) => (row.pixels)(k).min(BLOCK_PIXELS),
        }
    }
}

/// What all products of a step share, checked by `setup` in the parent module.
pub(super) struct Setup {
    pub by: Implementation,
    pub x: View,
    pub y: View,
    pub weights: View,
    pub bias: View,
    /// In place of `weights`, where the implementation wants them without gaps; else empty.
    pub gapless: Vec<u8>,
    /// In place of `bias`, where the implementation adds an offset to inputs; else empty.
    pub offset_bias: Vec<i32>,
    /// Of s8 results that nothing is added to; the others are in `residual`.
    pub multiplier: Option<View>,
    pub residual: Option<Residual>,
    pub padding: Padding,
    pub after: After,
    pub groups: usize,
    pub batch: usize,
    /// Input channels that lie together in packed weights.
    pub kb: usize,
    /// Bytes of weights that one call of the microkernel may go through.
    pub span: usize,
    /// Tiles that a step of much work should have, and for how many threads.
    pub tiles: usize,
    pub threads: usize,
    pub lo: f32,
    pub hi: f32,
    pub zero_point: i32,
    /// See [`Panels`]; false and empty where the implementation does not ask.
    pub small: bool,
    pub stretches: Stretches,
}

/// A product with its place in the tile grid.
struct Plan {
    product: Product,
    /// Index of its first tile, and of its first panel.
    first_tile: usize,
    first_panel: usize,
    pixels: usize,
    pixel_tiles: usize,
    tile_channels: usize,
    channel_tiles: usize,
    /// Bytes of one panel.
    panel: usize,
    /// Output channels of one call of the microkernel.
    call_channels: usize,
    /// Pixels that lie together: tiles are multiples of it.
    unit: usize,
    /// Pixels of a block.
    block_pixels: usize,
    /// Whether blocks copy their inputs as [`lines`].
    lines: bool,
    layout: Layout,
}

/// A convolution ready to run.
pub(super) struct Conv {
    setup: Setup,
    plans: Vec<Plan>,
    tiles: usize,
    macs: u64,
}

impl Setup {
    /// Input channels of a group.
    pub fn depth(&self) -> usize {
        self.x.cols() / self.groups
    }

    /// Output channels of a group.
    pub fn channels(&self) -> usize {
        self.y.cols() / self.groups
    }

    fn runs(&self, p: &Product) -> bool {
        self.groups == 1
            && p.cols.taps > 1
            && p.cols.spacing == 1
            && self.x.pitch == self.x.cols()
            && match &self.by {
                Implementation::Rows(_) | Implementation::Panels(_) => self.depth().is_multiple_of(self.kb),
                Implementation::Block(row) => (row.merges)(self.depth()) || !self.gapless.is_empty(),
            }
    }

    /// How to cut a product to blocks by lines, where the kernel takes them.
    fn lines(&self, p: &Product) -> Option<[usize; 2]> {
        let Implementation::Block(row) = &self.by else { return None };
        let whole = self.depth().is_multiple_of(self.kb) || !self.gapless.is_empty();
        let depth = self.depth() * self.x.dtype.size();
        lines::cut(p, self.batch, depth, row.lines).filter(|_| whole)
    }

    /// Panels of a product.
    pub fn panels(&self) -> usize {
        self.groups * self.channels().div_ceil(NR)
    }

    /// Addresses that the list needs for each pixel.
    fn slots(&self, p: &Product) -> usize {
        let never_outside = matches!(self.padding, Padding::None);
        if self.runs(p) && never_outside { p.rows.taps } else { p.taps() }.max(1)
    }
}

/// Addresses that a product needs for each pixel, before a microkernel has been chosen.
pub(super) fn slots(setup: &Setup, product: &Product) -> usize {
    setup.slots(product)
}

/// Inputs of each output pixel, those of a tap filled up to whole groups.
pub(super) fn inputs(setup: &Setup, product: &Product) -> usize {
    product.taps() * setup.depth().next_multiple_of(setup.kb)
}

/// What a kernel is chosen by.
pub(super) fn problem(setup: &Setup, product: &Product, reach: f64) -> Problem {
    let sums = matches!(setup.after, After::Reals(_)) || setup.residual.is_some();
    Problem { pixels: pixels(setup, product), taps: product.taps(), depth: setup.depth(), reach, sums }
}

/// Output pixels of a product.
fn pixels(setup: &Setup, product: &Product) -> usize {
    setup.batch * product.rows.outputs * product.cols.outputs
}

impl Plan {
    fn new(s: &Setup, product: Product, [first_tile, first_panel]: [usize; 2]) -> Self {
        let pixels = pixels(s, &product);
        let channels = s.channels();
        let k = inputs(s, &product);
        let panel = k * NR * s.x.dtype.size();
        let (mr, nr) = (s.by.mr(), s.by.nr());
        let lines = s.lines(&product);
        // From here on, `unit` pixels lie together.
        let [unit, block] = lines.unwrap_or([mr, s.by.pixels(k)]);
        let macs = |pixels: usize, channels: usize| pixels.saturating_mul(channels).saturating_mul(k.max(1));
        let whole = macs(pixels, channels).saturating_mul(s.groups);
        // First fewer pixels, down to `least`; then fewer channels, down to `few`.
        let (tile, least, few) = match s.by {
            Implementation::Rows(_) => (TILE_MACS, MIN_PIXELS.next_multiple_of(mr), nr),
            // A tile lists its pixels by itself.
            Implementation::Panels(_) => {
                (TILE_MACS.max(whole / s.tiles), MIN_PIXELS.next_multiple_of(mr), 2 * nr)
            }
            // A tile copies its inputs by itself, which is as much work as a few channels; for few pixels it is the
            // weights that take the time.
            Implementation::Block(_) => {
                let least = if pixels < mr { TILE_MACS / 8 } else { TILE_MACS };
                (least.max(whole / s.tiles), block, BLOCK_CHANNELS)
            }
        };
        let fit = |fixed: usize| (tile / macs(fixed, 1)).max(1);
        let mut tile_channels = channels;
        let mut tile_pixels = fit(channels).next_multiple_of(unit).max(least).min(pixels);
        if macs(tile_pixels, channels) > 2 * tile {
            tile_channels = fit(tile_pixels).max(few).next_multiple_of(nr).min(channels);
        }
        // Even shares: no tile is a small rest.
        let share = |total: usize, part: usize, unit: usize| {
            total.div_ceil(total.div_ceil(part)).next_multiple_of(unit)
        };
        if tile_pixels < pixels {
            tile_pixels = share(pixels, tile_pixels, unit);
        }
        if tile_channels < channels {
            tile_channels = share(channels, tile_channels, nr);
        }
        let mut pixel_tiles = pixels.div_ceil(tile_pixels);
        let channel_tiles = channels.div_ceil(tile_channels);
        if !matches!(s.by, Implementation::Rows(_))
            && !(pixel_tiles * channel_tiles * s.groups).is_multiple_of(s.threads)
        {
            // As many for each thread: of five, two threads would do three and two.
            let even = |down: &usize| (down * s.groups).is_multiple_of(s.threads);
            if pixel_tiles > 1 {
                pixel_tiles = pixel_tiles.next_multiple_of(s.threads).min(pixels.div_ceil(unit));
            } else if let Some(down) = (channel_tiles..=channels / few).find(even) {
                tile_channels = share(channels, channels.div_ceil(down), nr);
            }
        }
        Self {
            product,
            first_tile,
            first_panel,
            pixels,
            pixel_tiles,
            tile_channels,
            channel_tiles: channels.div_ceil(tile_channels),
            panel,
            call_channels: (s.span / panel.max(1) * NR).clamp(nr, tile_channels.max(nr)) / nr * nr,
            unit,
            lines: lines.is_some(),
            block_pixels: match s.by {
                Implementation::Block(_) => share(tile_pixels, block, unit).min(block),
                _ => (LIST / (s.slots(&product) * mr)).min(block / mr) * mr,
            },
            layout: Layout {
                mr,
                runs: s.runs(&product),
                slots: s.slots(&product),
                pointwise: product.is_pointwise(),
                interior: [product.rows.interior(), product.cols.interior()],
                output: if s.y.rank == 4 { [s.y.dims[1], s.y.dims[2]] } else { [1, product.cols.outputs] },
            },
        }
    }

    /// The pixels of a tile: even shares of the groups that are computed at once, of which the last may be smaller.
    fn pixels_of(&self, tile: usize) -> Range<usize> {
        let groups = self.pixels.div_ceil(self.unit);
        let start = |tile: usize| (tile * groups / self.pixel_tiles * self.unit).min(self.pixels);
        start(tile)..start(tile + 1)
    }

    fn tiles(&self, groups: usize) -> usize {
        self.pixel_tiles * self.channel_tiles * groups
    }
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
    /// Does a block, a few pixels at a time.
    ///
    /// # Safety
    /// The work is of this step, and `mem` the memory that it was prepared against.
    unsafe fn rows(&self, mem: &Mem, work: &Work<'_>, row: Row, list: &mut List) {
        let (s, p, mr) = (&self.setup, &work.plan.product, row.mr);
        let (plan, layout) = (work.plan, &work.plan.layout);
        let (size, depth) = (s.y.dtype.size(), s.depth());
        // SAFETY: the pixels are the plan's, which saw to it that their addresses fit the list.
        unsafe { list.fill(p, layout, work.bases, work.first, work.count) };
        for channel in work.channels.clone().step_by(plan.call_channels) {
            let panel = work.group * s.channels().div_ceil(NR) + channel / NR;
            let offset = (work.group * s.channels() + channel) * size;
            for (index, &merged) in list.merged(layout, work.count).iter().enumerate() {
                let start = index * mr;
                let mut y = [MaybeUninit::<*mut u8>::uninit(); MAX_MR];
                for (to, out) in y.iter_mut().zip(&list.outputs()[start..start + mr]) {
                    // SAFETY: `fill` set `mr` entries of each group of pixels; a channel of a row of y.
                    *to = MaybeUninit::new(unsafe { out.assume_init().add(offset) });
                }
                let mut addends = [MaybeUninit::uninit(); MAX_MR];
                // SAFETY: the same rows.
                let addend = unsafe {
                    self.addend(mem, &list.outputs()[start..start + mr], &mut addends, panel * NR, offset)
                };
                // SAFETY: the group's part of the list; panels of the packed constants, of which `prepare` proved
                // the lengths.
                unsafe {
                    let args = Args {
                        rows: mr.min(work.count - start),
                        taps: if merged { p.rows.taps } else { p.taps() },
                        depth: if merged { depth * p.cols.taps } else { depth },
                        a: list.group(layout, start),
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
    }

    /// Does a block at once, by its list.
    ///
    /// # Safety
    /// As [`Self::rows`].
    unsafe fn panels(&self, mem: &Mem, work: &Work<'_>, row: PanelRow, list: &mut List) {
        let (s, p) = (&self.setup, &work.plan.product);
        let layout = &work.plan.layout;
        let panel = work.group * s.channels().div_ceil(NR) + work.channels.start / NR;
        // SAFETY: as in `rows`.
        unsafe {
            list.fill(p, layout, work.bases, work.first, work.count);
            let mut addends = [MaybeUninit::uninit(); BLOCK_PIXELS];
            let pixels = work.count.next_multiple_of(row.mr);
            let addend = self.addend(mem, &list.outputs()[..pixels], &mut addends, panel * NR, 0);
            (row.run)(&Panels {
                pixels: work.count,
                a: list.group(layout, 0),
                slots: layout.slots,
                merged: list.merged(layout, work.count),
                taps: [p.rows.taps, p.cols.taps],
                depth: s.depth(),
                w: s.weights.ptr::<u8>(mem).add(p.weights + panel * work.plan.panel),
                panel: work.plan.panel,
                cols: work.channels.len(),
                y: list.outputs().as_ptr().cast(),
                offset: (work.group * s.channels() + work.channels.start) * s.y.dtype.size(),
                bias: self.bias(mem, p.bias + panel * NR),
                multiplier: self.multiplier(mem, panel),
                addend,
                lo: s.lo,
                hi: s.hi,
                zero_point: s.zero_point,
                small: s.small,
                stretches: &s.stretches,
                first_panel: work.plan.first_panel + panel,
            });
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
                s.gapless.as_ptr().add(panel * pack::gapless_panel([p.rows.taps, p.cols.taps], s.depth()))
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
                    interior: &layout.interior[1],
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
                small: s.small,
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
        // SAFETY: `prepare` proved the number of biases, and offset ones are as many.
        unsafe {
            if s.offset_bias.is_empty() {
                s.bias.ptr::<u8>(mem).add(at * 4)
            } else {
                s.offset_bias.as_ptr().add(at).cast()
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

    /// What clamping left to do, on some pixels' `channels` channels from `start` on.
    ///
    /// # Safety
    /// The pixels' rows have been written by this thread.
    unsafe fn finish(&self, mem: &Mem, out: &[MaybeUninit<*mut u8>], start: usize, channels: usize) {
        let s = &self.setup;
        let row = |i: usize, size: usize| {
            // SAFETY: the entry is set; the channels are those of the row.
            unsafe { out[i].assume_init().add(start * size) }
        };
        // Whole rows, one after another: one run.
        let dense = |size: usize| {
            let end = row(out.len() - 1, size) as usize + channels * size;
            channels == s.y.pitch && end - row(0, size) as usize == out.len() * channels * size
        };
        if let After::Reals(reals) = &s.after {
            let size = size_of::<f32>();
            // SAFETY: pixels of the output, whose sums this thread has just written.
            if dense(size) && unsafe { reals.dense(mem, row(0, size).cast(), out.len(), channels) } {
                return;
            }
            for to in out {
                // SAFETY: channels of a row of the output, whose sums this thread has just written; `prepare` proved the
                // operands.
                unsafe {
                    let row = to.assume_init();
                    let index = (row as usize - s.y.ptr::<u8>(mem) as usize) / (s.y.pitch * size_of::<f32>());
                    reals.row(mem, row.cast::<f32>().add(start), index, start..start + channels);
                }
            }
            return;
        }
        if matches!(s.after, After::Nothing) {
            return;
        }
        let size = s.y.dtype.size();
        // SAFETY: channels of rows of the output; the table has 256 bytes.
        let apply = |row: *mut u8, n: usize| unsafe {
            match &s.after {
                After::Nothing | After::Reals(_) => {}
                After::F32(function) => function.f32(row.cast(), row.cast(), n),
                After::F16(function) => function.f16(row.cast(), row.cast(), n),
                After::Table(table, lookup) => (*lookup)(row.cast(), row.cast(), n, table.ptr(mem)),
            }
        };
        let row = |i: usize| row(i, size);
        if dense(size) {
            return apply(row(0), out.len() * channels);
        }
        if channels * size > FEW {
            return (0..out.len()).for_each(|i| apply(row(i), channels));
        }
        // So few that calls would take the time: some pixels' are put together for each.
        let bytes = channels * size;
        let mut together = Together([0; 16 * FEW]);
        let at_once = together.0.len() / bytes;
        for first in (0..out.len()).step_by(at_once) {
            let pixels = first..out.len().min(first + at_once);
            let to = together.0.as_mut_ptr();
            for i in pixels.clone() {
                // SAFETY: the channels are those of the row; there is room for each pixel's.
                unsafe { copy_run(row(i), to.add((i - first) * bytes), bytes) };
            }
            apply(to, pixels.len() * channels);
            for i in pixels {
                // SAFETY: as above.
                unsafe { copy_run(to.add((i - first) * bytes), row(i), bytes) };
            }
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
        for first in (first..end).step_by(plan.block_pixels) {
            let count = plan.block_pixels.min(end - first);
            let work = Work { plan, bases: &bases, first, count, group, channels: from..to };
            // SAFETY: pixels and channels are the tile's.
            let out = unsafe {
                match s.by {
                    Implementation::Rows(row) => {
                        self.rows(mem, &work, row, &mut list);
                        &list.outputs()[..count]
                    }
                    Implementation::Panels(row) => {
                        self.panels(mem, &work, row, &mut list);
                        &list.outputs()[..count]
                    }
                    Implementation::Block(row) => {
                        self.block(mem, &work, row, &mut out);
                        &out[..count]
                    }
                }
            };
            // SAFETY: the rows were written just now.
            unsafe { self.finish(mem, out, group * channels + from, to - from) };
        }
    }
}
