//! Convolution microkernels for s8.
//!
//! `y[row][c] = requantize(bias[c] + sum of a[tap][row][k] * w[tap][k][c])`: exact in 32 bits, then
//! [`generic::requantize`], the same operations in every row of the table. Weights are packed `[panel][tap][depth / 4][8][4]`, see [`super::micro`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_block;
#[cfg(target_arch = "aarch64")]
mod dense;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
pub(crate) mod finish;
mod generic;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_in_order;
mod range;
mod stretches;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "aarch64")]
mod walk;

pub(crate) use generic::requantize;
pub use range::Bound;
pub(crate) use range::{bound, magnitudes};
pub use stretches::Stretches;

use super::block::BlockRow;
use super::micro::Row;
use super::panels::PanelRow;
use crate::cpu::Features;

/// Bytes of weights that one call may go through. On x86-64 inputs are converted once in each call: many panels pay.
/// Elsewhere so many as stay in half of a small first-level cache, so that calls are few where the depth is small.
pub(crate) const SPAN: usize = if cfg!(target_arch = "x86_64") { 64 << 10 } else { 16 << 10 };

/// The implementations for blocks, best first.
pub(crate) const BLOCKS: &[BlockRow] = &[
    #[cfg(target_arch = "x86_64")]
    BlockRow {
        name: "conv_s8_12x32c4_avx512vnni_block",
        needs: Features::AVX512_VNNI,
        mr: vnni::MR_512,
        nr: 32,
        pixels: vnni::pixels::<{ vnni::MR_512 }>,
        suits: vnni::suits,
        scratch: vnni::SCRATCH,
        offset: vnni::OFFSET,
        merges: vnni::merges,
        lines: vnni::LINES,
        gapless: vnni::gapless,
        whole: false,
        pairs: false,
        run: vnni::block_12x32,
    },
    #[cfg(target_arch = "x86_64")]
    BlockRow {
        name: "conv_s8_6x16c4_avxvnni_block",
        needs: Features::AVX_VNNI,
        mr: vnni::MR_256,
        nr: 16,
        pixels: vnni::pixels::<{ vnni::MR_256 }>,
        suits: vnni::suits,
        scratch: vnni::SCRATCH,
        offset: vnni::OFFSET,
        merges: vnni::merges,
        lines: vnni::LINES,
        gapless: vnni::gapless,
        whole: false,
        pairs: false,
        run: vnni::block_6x16,
    },
    #[cfg(target_arch = "x86_64")]
    BlockRow {
        name: "conv_s8_6x16c2_avx2_block",
        needs: Features::AVX2,
        mr: avx2_block::MR,
        nr: 16,
        pixels: avx2_block::pixels,
        suits: avx2_block::suits,
        scratch: avx2_block::SCRATCH,
        offset: 0,
        merges: avx2_block::merges,
        lines: 0,
        gapless: |_| false,
        whole: false,
        pairs: false,
        run: avx2_block::block,
    },
    #[cfg(target_arch = "aarch64")]
    BlockRow {
        name: "conv_s8_dense_8x8c4_dotprod_in_order",
        needs: Features::NEON.union(Features::DOTPROD).union(Features::IN_ORDER),
        mr: dotprod::MR,
        pairs: false,
        run: dotprod::dense::<true>,
        ..DENSE
    },
    #[cfg(target_arch = "aarch64")]
    BlockRow {
        name: "conv_s8_dense_8x8c4_dotprod",
        needs: Features::NEON.union(Features::DOTPROD),
        mr: dotprod::MR,
        pairs: false,
        run: dotprod::dense::<false>,
        ..DENSE
    },
    #[cfg(target_arch = "aarch64")]
    BlockRow {
        name: "conv_s8_dense_4x8c4_neon_in_order",
        needs: Features::NEON.union(Features::IN_ORDER),
        run: neon_in_order::dense,
        ..DENSE
    },
    #[cfg(target_arch = "aarch64")]
    DENSE,
];

/// For few input channels.
#[cfg(target_arch = "aarch64")]
const DENSE: BlockRow = BlockRow {
    name: "conv_s8_dense_4x8c4_neon",
    needs: Features::NEON,
    mr: neon::MR,
    nr: 8,
    pixels: dense::pixels,
    suits: dense::suits,
    scratch: dense::SCRATCH,
    offset: 0,
    merges: dense::merges,
    lines: 0,
    gapless: |_| true,
    whole: true,
    pairs: true,
    run: neon::dense,
};

/// The implementations for blocks by their lists, best first.
pub(crate) const PANELS: &[PanelRow] = &[
    #[cfg(target_arch = "aarch64")]
    PanelRow {
        name: "conv_s8_8x8c4_dotprod_in_order",
        needs: Features::NEON.union(Features::DOTPROD).union(Features::IN_ORDER),
        mr: dotprod::MR,
        nr: 8,
        fewer: dotprod::FEWER_IN_ORDER,
        stretches: false,
        pairs: false,
        run: dotprod::panels::<true>,
    },
    #[cfg(target_arch = "aarch64")]
    PanelRow {
        name: "conv_s8_8x8c4_dotprod",
        needs: Features::NEON.union(Features::DOTPROD),
        mr: dotprod::MR,
        nr: 8,
        fewer: dotprod::FEWER,
        stretches: false,
        pairs: false,
        run: dotprod::panels::<false>,
    },
    #[cfg(target_arch = "aarch64")]
    PanelRow {
        name: "conv_s8_4x8c4_neon_in_order",
        needs: Features::NEON.union(Features::IN_ORDER),
        mr: neon::MR,
        nr: 8,
        fewer: &[],
        stretches: true,
        pairs: false,
        run: neon_in_order::panels,
    },
    #[cfg(target_arch = "aarch64")]
    PanelRow {
        name: "conv_s8_4x8c4_neon",
        needs: Features::NEON,
        mr: neon::MR,
        nr: 8,
        fewer: &[],
        stretches: false,
        pairs: true,
        run: neon::panels,
    },
    // For weights that the one before cannot do.
    #[cfg(target_arch = "aarch64")]
    PanelRow {
        name: "conv_s8_4x8c4_neon_stretches",
        needs: Features::NEON,
        mr: neon::MR,
        nr: 8,
        fewer: &[],
        stretches: true,
        pairs: false,
        run: neon_in_order::panels,
    },
];

/// The implementations, best first.
pub(crate) const ROWS: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row { name: "conv_s8_6x8c4_avx2", needs: Features::AVX2, mr: 6, nr: 8, run: avx2::conv_6x8 },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "conv_s8_8x8c4_i8mm",
        needs: Features::NEON.union(Features::I8MM),
        mr: 8,
        nr: 8,
        run: i8mm::conv_8x8,
    },
    Row { name: "conv_s8_4x8c4_generic", needs: Features::NONE, mr: 4, nr: 8, run: generic::conv_4x8 },
];
