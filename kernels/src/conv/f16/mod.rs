//! Convolution microkernels for f16.
//!
//! Activations and weights are f16, packed `[panel][tap][depth][8]`; biases and bounds are f32. Cores without
//! half-precision arithmetic convert every operand to f32, add the products to the bias by fused multiply-add
//! in ascending order of tap and k, clamp, and round once: those rows of the table give the same bits.
//! The `fp16` rows accumulate blocks of products in half and are compared by tolerance.

#[cfg(target_arch = "aarch64")]
pub(crate) mod fp16;
#[cfg(test)]
mod tests;

use super::block::BlockRow;
use super::f32::generic;
#[cfg(target_arch = "aarch64")]
use super::f32::neon;
#[cfg(target_arch = "x86_64")]
use super::f32::{avx2, avx512_block};
use super::micro::Row;
use crate::cpu::Features;
use crate::float::Half;

/// Most products that the `fp16` rows sum in half before the sum is added, in f32, to what came before.
#[cfg(any(target_arch = "aarch64", test))]
pub(crate) const BLOCK: usize = 128;

/// The implementations for blocks, best first.
pub(crate) const BLOCKS: &[BlockRow] = &[
    #[cfg(target_arch = "x86_64")]
    BlockRow {
        name: "conv_f16_12x32_avx512_block",
        needs: Features::AVX512_VNNI,
        mr: avx512_block::MR,
        nr: 32,
        pixels: avx512_block::pixels_f16,
        suits: avx512_block::suits,
        scratch: avx512_block::SCRATCH,
        offset: 0,
        merges: |_| true,
        lines: 0,
        gapless: |_| false,
        whole: false,
        pairs: false,
        run: avx512_block::block::<true>,
    },
];

/// The implementations, best first.
pub(crate) const ROWS: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row { name: "conv_f16_6x16_avx2", needs: Features::AVX2, mr: 6, nr: 16, run: avx2::conv_6x16::<true> },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "conv_f16_8x8_fp16_in_order",
        needs: Features::NEON.union(Features::FP16).union(Features::IN_ORDER),
        mr: 8,
        nr: 8,
        run: fp16::conv_8x8_in_order,
    },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "conv_f16_8x16_fp16",
        needs: Features::NEON.union(Features::FP16),
        mr: 8,
        nr: 16,
        run: fp16::conv_8x16,
    },
    #[cfg(target_arch = "aarch64")]
    Row { name: "conv_f16_8x8_neon", needs: Features::NEON, mr: 8, nr: 8, run: neon::conv_8x8::<true> },
    Row { name: "conv_f16_4x8_generic", needs: Features::NONE, mr: 4, nr: 8, run: generic::conv_4x8::<Half> },
];
