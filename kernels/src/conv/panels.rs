//! The contract between the convolution driver and kernels that do a whole block of pixels from its list of addresses:
//! they go through groups of pixels and panels of weights themselves.

use super::residual::Addend;
use super::s8::{Bound, Stretches};
use crate::cpu::Features;

/// A block of output pixels times a range of output channels.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    /// The groups of output pixels, at least one.
    pub groups: &'a [Reads],
    /// For each group `slots` times [`PanelRow::mr`] addresses, `[run][pixel]`: the first channel that the pixel reads in
    /// the run. Pixels that a group lacks repeat its last one, in all lists.
    pub a: *const *const u8,
    /// Addresses of each pixel in `a`.
    pub slots: usize,
    /// Input channels of a tap.
    pub depth: usize,
    /// The first panel of weights.
    pub w: *const u8,
    /// Bytes from a panel to the next.
    pub panel: usize,
    /// Output channels that count, over one or more consecutive panels; all panels but the last are whole.
    pub cols: usize,
    /// For each group [`PanelRow::mr`] addresses: of each pixel's first output channel.
    pub y: *const *mut u8,
    /// Bytes from those addresses to the first of `cols` channels.
    pub offset: usize,
    /// Bias of the first panel's channels: f32 for f32 and f16, i32 for s8.
    pub bias: *const u8,
    /// Requantization multipliers of the first panel's channels (s8); null where the sums themselves are the results, i32
    /// in place of bytes.
    pub multiplier: *const f32,
    /// What is added to products before they are rounded (s8); then there are no multipliers here, and results are bytes.
    pub addend: Option<Addend>,
    /// Lower bound of the result; for s8 a quantized value.
    pub lo: f32,
    /// Upper bound of the result; for s8 a quantized value.
    pub hi: f32,
    /// Zero point of the output (s8).
    pub zero_point: i32,
    /// What is known of the sums (s8).
    pub bound: Bound,
    /// The stretches of all panels of the step, if the row asks for them (s8).
    pub stretches: &'a Stretches,
    /// Which of those the first panel is.
    pub first_panel: usize,
}

/// What pixels that are computed at once read: runs of taps of the window that are dense in memory.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    /// Pixels, at least 1 and at most [`PanelRow::mr`].
    pub pixels: usize,
    /// Runs of taps.
    pub runs: usize,
    /// Taps of each.
    pub taps: usize,
    /// Taps of the window before the first run; 0 where the row has no [`PanelRow::fewer`].
    pub before: usize,
    /// Taps between one run and the next; likewise.
    pub between: usize,
    /// Elements from [`Panels::bias`] on to the biases of those that leave out what these leave out; likewise.
    pub bias: usize,
}

impl Reads {
    /// So many pixels, each of one run of one tap.
    pub(super) fn one(pixels: usize) -> Self {
        Self { pixels, runs: 1, taps: 1, before: 0, between: 0, bias: 0 }
    }
}

/// A kernel for blocks by their lists.
///
/// # Safety
/// The addresses are valid for what `Panels` says: each of `a` for as many elements as the group's taps have channels
/// (s8: up to the next multiple of 4, the excess meeting zero weights, and for reading up to the next multiple of 16),
/// each of `y` at `offset` for `cols` elements, `w`, `bias` and `multiplier` for whole panels; and the processor has
/// the features of the row.
pub type Run = unsafe fn(&Panels<'_>);

/// A row of a table of such kernels.
#[derive(Clone, Copy, Debug)]
pub struct PanelRow {
    /// Name, as of a [`Row`](super::micro::Row).
    pub name: &'static str,
    /// What the processor must have.
    pub needs: Features,
    /// Pixels computed at once, which lie together in lists of addresses.
    pub mr: usize,
    /// Output channels computed at once: a multiple of a panel's. Any `cols` is allowed nevertheless.
    pub nr: usize,
    /// What groups of fewer pixels take, from 1 on, in pixels of a whole one: padding is left out where that makes such
    /// groups and is worth it. Empty where kernels read whole windows.
    pub fewer: &'static [usize],
    /// Whether the kernel reads stretches (s8).
    pub stretches: bool,
    /// As [`BlockRow::pairs`](super::block::BlockRow::pairs).
    pub pairs: bool,
    /// The kernel.
    pub run: Run,
}
