//! Convolution microkernels for f32.
//!
//! `y[row][c] = clamp(bias[c] + sum of a[tap][row][k] * w[tap][k][c])`, each product added by one fused
//! multiply-add, taps in ascending order and within a tap k in ascending order: every row of the table gives
//! the same bits. Weights are packed `[panel][tap][depth][8]`, see [`super::micro`].

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_block;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_block;
pub(crate) mod generic;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(test)]
pub(crate) mod tests;

use super::block::BlockRow;
use super::micro::Row;
use crate::cpu::Features;
use crate::float::Single;

/// Bytes of weights that one call may go through, as of s8.
pub(crate) const SPAN: usize = if cfg!(target_arch = "x86_64") { 0 } else { 16 << 10 };

/// The implementations for blocks, best first.
pub(crate) const BLOCKS: &[BlockRow] = &[
    #[cfg(target_arch = "x86_64")]
    BlockRow {
        name: "conv_f32_12x32_avx512_block",
        needs: Features::AVX512_VNNI,
        mr: avx512_block::MR,
        nr: 32,
        pixels: avx512_block::pixels_f32,
        suits: avx512_block::suits,
        scratch: avx512_block::SCRATCH,
        offset: 0,
        merges: |_| true,
        lines: 0,
        gapless: |_| false,
        whole: false,
        pairs: false,
        run: avx512_block::block::<false>,
    },
    #[cfg(target_arch = "x86_64")]
    BlockRow {
        name: "conv_f32_6x16_avx2_block",
        needs: Features::AVX2,
        mr: avx2_block::MR,
        nr: 16,
        pixels: avx2_block::pixels,
        suits: avx2_block::suits,
        scratch: avx2_block::SCRATCH,
        offset: 0,
        merges: |_| true,
        lines: 0,
        gapless: |_| false,
        whole: false,
        pairs: false,
        run: avx2_block::block,
    },
];

/// The implementations, best first.
pub(crate) const ROWS: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row { name: "conv_f32_6x16_avx2", needs: Features::AVX2, mr: 6, nr: 16, run: avx2::conv_6x16::<false> },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "conv_f32_8x8_neon_in_order",
        needs: Features::NEON.union(Features::IN_ORDER),
        mr: 8,
        nr: 8,
        run: neon::conv_8x8_in_order,
    },
    #[cfg(target_arch = "aarch64")]
    Row { name: "conv_f32_8x8_neon", needs: Features::NEON, mr: 8, nr: 8, run: neon::conv_8x8::<false> },
    Row {
        name: "conv_f32_4x8_generic",
        needs: Features::NONE,
        mr: 4,
        nr: 8,
        run: generic::conv_4x8::<Single>,
    },
];
