//! The contract between the convolution driver and its microkernels.
//!
//! A microkernel computes `rows` output pixels times `cols` output channels. Its reduction runs over `taps`
//! (kernel positions, row by row) and within each tap over `depth` input channels, in that order.

use super::residual::Addend;

/// Output channels of one panel of packed weights, for every element type: the portable packed layout.
///
/// Packed weights are `[panel][tap][depth / KB][NR][KB]`, KB = 4 for s8 (what SDOT and VPDPBUSD take at once) and
/// 1 for f32 and f16; channels and depth are padded with zeros to whole panels and groups of KB. Biases and
/// multipliers are padded with zeros to whole panels.
pub const NR: usize = 8;

/// Input channels that lie together in a panel of s8 weights.
pub const KB_S8: usize = 4;

/// The most rows that any microkernel computes at once.
pub const MAX_MR: usize = 16;

/// What a microkernel is told. Element types are those of its family.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Args {
    /// Output pixels that count, at least 1, at most the kernel's MR. Addresses of the others repeat the last one
    /// that counts: kernels may compute and store all MR rows in ascending order.
    pub rows: usize,
    /// Kernel positions.
    pub taps: usize,
    /// Input channels of each tap.
    pub depth: usize,
    /// `taps * MR` addresses, `a[tap * MR + row]`: the first channel that the row reads at the tap.
    pub a: *const *const u8,
    /// The first panel.
    pub w: *const u8,
    /// Output channels that count, over one or more consecutive panels; all panels but the last are whole.
    pub cols: usize,
    /// MR addresses: where each row's first output channel goes.
    pub y: *const *mut u8,
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
}

/// A microkernel.
///
/// # Safety
/// The addresses are valid for what `Args` says: each `a` for `depth` elements (s8: up to the next multiple of 4,
/// the excess meeting zero weights, and for reading up to the next multiple of 16), each `y` for `cols` elements, `w`,
/// `bias` and `multiplier` for whole panels; and the processor has the features of the kernel's row.
pub type Micro = unsafe fn(&Args);

/// Each of a tap's addresses, `by` elements further.
#[cfg(target_arch = "aarch64")]
#[inline(always)] // `array::map` would be a call.
pub(super) fn advance<T, const M: usize>(a: &[*const T; M], by: usize) -> [*const T; M] {
    let mut to = *a;
    for at in &mut to {
        *at = at.wrapping_add(by);
    }
    to
}

/// A row of a table of microkernels.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name: `conv_` element type, rows x columns c KB, instruction set: `conv_s8_8x8c4_dotprod`.
    pub name: &'static str,
    /// What the processor must have.
    pub needs: crate::cpu::Features,
    /// Rows computed at once.
    pub mr: usize,
    /// Output channels computed at once: a multiple of [`NR`]. Any `cols` is allowed nevertheless.
    pub nr: usize,
    /// The kernel.
    pub run: Micro,
}
