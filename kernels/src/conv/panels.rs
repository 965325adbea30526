//! The contract between the convolution driver and kernels that do a whole block of pixels from its list of addresses:
//! they go through groups of pixels and panels of weights themselves.

use super::residual::Addend;
use super::s8::Stretches;
use crate::cpu::Features;

/// A block of output pixels times a range of output channels.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    /// Output pixels, at least 1. Those that the last group lacks repeat the last one, in all lists.
    pub pixels: usize,
    /// For each group of [`PanelRow::mr`] pixels `slots * mr` addresses, `[slot][pixel]`: the first channel that the
    /// pixel reads at the tap, or at the first tap of the kernel's row where the group is merged.
    pub a: *const *const u8,
    /// Addresses of each pixel in `a`.
    pub slots: usize,
    /// For each group, whether the taps of a kernel's row are one dense run of memory.
    pub merged: &'a [bool],
    /// Rows and columns of the kernel.
    pub taps: [usize; 2],
    /// Input channels of a tap.
    pub depth: usize,
    /// The first panel of weights.
    pub w: *const u8,
    /// Bytes from a panel to the next.
    pub panel: usize,
    /// Output channels that count, over one or more consecutive panels; all panels but the last are whole.
    pub cols: usize,
    /// For each pixel the address of its first output channel.
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
    /// Whether [`s8::small`](super::s8::small) holds (s8).
    pub small: bool,
    /// The stretches of all panels of the step, if the row asks for them (s8).
    pub stretches: &'a Stretches,
    /// Which of those the first panel is.
    pub first_panel: usize,
}

impl Panels<'_> {
    /// Taps of group `index`, and channels of each: those of a merged group are rows of the kernel.
    #[cfg_attr(
        not(target_arch = "aarch64"),
        expect(dead_code, reason = "no kernel of other instruction sets")
    )]
    pub(super) fn extent(&self, index: usize) -> [usize; 2] {
        if self.merged[index] {
            [self.taps[0], self.depth * self.taps[1]]
        } else {
            [self.taps[0] * self.taps[1], self.depth]
        }
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
    /// Whether the kernel reads stretches (s8).
    pub stretches: bool,
    /// As [`BlockRow::pairs`](super::block::BlockRow::pairs).
    pub pairs: bool,
    /// The kernel.
    pub run: Run,
}
