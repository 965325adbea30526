//! The layout of depthwise weights: `[tap][C rounded up to 16]`, for every element type.
//!
//! Biases, multipliers and the padding row have as many elements, the excess being zeros (for the padding row:
//! anything).

use half::f16;

/// Channels are padded to a multiple of this.
pub const GROUP: usize = 16;

/// Channels of packed operands.
pub fn padded_channels(channels: usize) -> usize {
    channels.next_multiple_of(GROUP)
}

/// Packs s8 weights `[tap][channel]`.
pub fn pack_s8(weights: &[i8], channels: usize) -> Vec<u8> {
    pack(weights, channels, |w| w.to_le_bytes())
}

/// Packs f32 weights `[tap][channel]`.
pub fn pack_f32(weights: &[f32], channels: usize) -> Vec<u8> {
    pack(weights, channels, |w| w.to_le_bytes())
}

/// Packs f16 weights `[tap][channel]`.
pub fn pack_f16(weights: &[f16], channels: usize) -> Vec<u8> {
    pack(weights, channels, |w| w.to_le_bytes())
}

fn pack<T: Copy, const N: usize>(weights: &[T], channels: usize, bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    assert!(channels > 0 && weights.len().is_multiple_of(channels), "weights must be [taps][{channels}]");
    let row = padded_channels(channels) * N;
    let mut packed = Vec::with_capacity(weights.len() / channels * row);
    for (tap, weights) in weights.chunks_exact(channels).enumerate() {
        packed.extend(weights.iter().flat_map(|&w| bytes(w)));
        packed.resize((tap + 1) * row, 0);
    }
    packed
}
