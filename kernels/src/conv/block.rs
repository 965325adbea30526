//! The contract between the convolution driver and kernels that do a whole block of pixels in one call: those that
//! first copy the block's inputs into scratch, in a form that the inner loop reads best.

use super::gather::Gather;
use super::residual::Addend;
use super::s8::Bound;
use crate::cpu::Features;

/// A block of output pixels times a range of output channels.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Output pixels, at least 1.
    pub pixels: usize,
    /// Where their inputs are.
    pub inputs: Gather<'a>,
    /// Kernel positions.
    pub taps: usize,
    /// Input channels of a tap.
    pub depth: usize,
    /// The first panel of weights.
    pub w: *const u8,
    /// Output channels that count, over one or more consecutive panels; all panels but the last are whole.
    pub cols: usize,
    /// For each pixel the address of its first output channel.
    pub y: *const *mut u8,
    /// Bytes from those addresses to the first of `cols` channels.
    pub offset: usize,
    /// Bias of the first panel's channels.
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
    /// What is known of the sums, as far as the instruction set's kernels ask (s8).
    pub bound: Bound,
    /// Whether the inputs are to be copied as [`lines`](super::lines): the pixels are such, and there is room.
    pub lines: bool,
    /// Whether the weights are those of [`pack::without_gaps`](super::pack::without_gaps): the channels of a tap are not
    /// filled up to a group, the inputs of a row of taps are, or of the whole window (s8).
    pub gapless: bool,
    /// As many bytes as [`BlockRow::scratch`] says, aligned to 64.
    pub scratch: *mut u8,
}

/// A kernel for blocks.
///
/// # Safety
/// The addresses are valid for what `Block` says: `inputs` for runs of `depth` elements a tap (s8: 15 more may be read),
/// each of `y` at `offset` for `cols` elements, `w`, `bias` and `multiplier` for whole panels; there are at most as many pixels as [`BlockRow::pixels`] says; and the
/// processor has the features of the row.
pub type Run = unsafe fn(&Block<'_>);

/// What is known of a product when its kernel is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Problem {
    /// Output pixels.
    pub pixels: usize,
    /// Kernel positions.
    pub taps: usize,
    /// Input channels of each.
    pub depth: usize,
    /// What a sum times its multiplier cannot exceed in magnitude, whatever the input (s8).
    pub reach: f64,
    /// Whether the sums themselves are the results (s8).
    pub sums: bool,
}

/// A row of a table of kernels for blocks.
#[derive(Clone, Copy, Debug)]
pub struct BlockRow {
    /// Name, as of a [`Row`](super::micro::Row).
    pub name: &'static str,
    /// What the processor must have.
    pub needs: Features,
    /// Pixels computed at once; tiles of pixels are multiples of it.
    pub mr: usize,
    /// Output channels computed at once: a multiple of a panel's. Any `cols` is allowed nevertheless.
    pub nr: usize,
    /// Most pixels of a block over `k` inputs of a pixel (all taps, each rounded up to whole groups of a panel);
    /// 0 when the kernel cannot do so many inputs.
    pub pixels: fn(k: usize) -> usize,
    /// Whether the copying pays.
    pub suits: fn(&Problem) -> bool,
    /// Bytes of scratch.
    pub scratch: usize,
    /// What the kernel adds to its inputs (s8), so that its biases are to be less this times the sums of the weights.
    pub offset: i32,
    /// Whether runs of taps are merged when each tap has this many input channels.
    pub merges: fn(depth: usize) -> bool,
    /// Bytes of scratch for [`lines`](super::lines), where the depth is one of whole groups or the taps are without gaps; 0
    /// where the kernel does not take them.
    pub lines: usize,
    /// Whether the kernel wants the taps of a pixel without gaps (s8), see [`Block::gapless`].
    pub gapless: fn(&Problem) -> bool,
    /// Whether it then wants all taps of the window as one row of it, and none but such weights: otherwise it is by lines.
    pub whole: bool,
    /// Whether it adds products in pairs in 16 bits (s8), so that of a channel's weights at most one may be -128.
    pub pairs: bool,
    /// The kernel.
    pub run: Run,
}
