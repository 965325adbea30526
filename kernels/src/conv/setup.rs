//! What a convolution is prepared to: its operands, the implementation, and what all its products share.

use super::after::After;
use super::block::{BlockRow, Problem};
use super::geometry::Product;
use super::lines;
use super::list::BLOCK_PIXELS;
use super::micro::{NR, Row};
use super::panels::PanelRow;
use super::regions::Region;
use super::residual::Residual;
use super::s8::{Bound, Stretches};
use crate::view::View;

/// Where a tap outside the image reads.
pub(super) enum Padding {
    /// No tap is ever outside.
    None,
    /// A constant.
    Constant(View),
    /// A row of its own.
    Own(Vec<u8>),
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
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rows(row) => row.name,
            Self::Panels(row) => row.name,
            Self::Block(row) => row.name,
        }
    }

    /// Pixels that lie together in the list of addresses.
    pub fn mr(&self) -> usize {
        match self {
            Self::Rows(row) => row.mr,
            Self::Panels(row) => row.mr,
            Self::Block(row) => row.mr,
        }
    }

    /// Output channels computed at once.
    pub fn nr(&self) -> usize {
        match self {
            Self::Rows(row) => row.nr,
            Self::Panels(row) => row.nr,
            Self::Block(row) => row.nr,
        }
    }

    /// Most pixels of a block over `k` inputs.
    pub fn pixels(&self, k: usize) -> usize {
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
    /// The parts of the output that are gone through by themselves, each with biases of its own that lie in
    /// `region_bias`; none where all of it is one.
    pub regions: Vec<Region>,
    pub region_bias: Vec<i32>,
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
    /// See [`Panels`]; nothing where the implementation does not ask.
    pub bound: Bound,
    pub stretches: Stretches,
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

    pub fn runs(&self, p: &Product) -> bool {
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
    pub fn lines(&self, p: &Product) -> Option<[usize; 2]> {
        let Implementation::Block(row) = &self.by else { return None };
        let whole = self.depth().is_multiple_of(self.kb) || !self.gapless.is_empty();
        let depth = self.depth() * self.x.dtype.size();
        lines::cut(p, self.batch, depth, row.lines).filter(|_| whole)
    }

    /// Rows of taps and taps of each, as [`without_gaps`](super::pack::without_gaps) puts them.
    pub fn gapless_taps(&self, p: &Product) -> [usize; 2] {
        match &self.by {
            Implementation::Block(row) if row.whole => [1, p.taps()],
            _ => [p.rows.taps, p.cols.taps],
        }
    }

    /// Panels of a product.
    pub fn panels(&self) -> usize {
        self.groups * self.channels().div_ceil(NR)
    }

    /// Addresses that the list needs for each pixel.
    pub fn slots(&self, p: &Product) -> usize {
        let never_outside = matches!(self.padding, Padding::None) || !self.regions.is_empty();
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
pub(super) fn pixels(setup: &Setup, product: &Product) -> usize {
    setup.batch * product.rows.outputs * product.cols.outputs
}
