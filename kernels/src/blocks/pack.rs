//! The layout of weights in blocks.

use cygnet_format::op::BlockKind;

/// Products that share a scale.
pub const BLOCK: usize = 32;

/// Output channels of a panel.
pub const PANEL: usize = 16;

/// Panels of as many output channels.
pub fn panels(m: usize) -> usize {
    m.div_ceil(PANEL)
}

/// Bytes of the packed weights of `m` output channels of `k` products each.
pub fn weight_bytes(kind: BlockKind, m: usize, k: usize) -> usize {
    let steps = match kind {
        BlockKind::Int8 => k,
        BlockKind::Int4 => k.div_ceil(2),
    };
    panels(m) * steps * PANEL
}

/// Packs numbers `[m][k]`, in [-128, 127] or [-8, 7].
pub fn pack_weights(kind: BlockKind, numbers: &[i8], m: usize, k: usize) -> Vec<u8> {
    let mut out = vec![0; weight_bytes(kind, m, k)];
    let panel = weight_bytes(kind, PANEL, k);
    for (row, numbers) in numbers.chunks_exact(k).enumerate() {
        let (start, lane) = (row / PANEL * panel, row % PANEL);
        for (i, &q) in numbers.iter().enumerate() {
            match kind {
                BlockKind::Int8 => out[start + i * PANEL + lane] = q.cast_unsigned(),
                BlockKind::Int4 => {
                    out[start + i / 2 * PANEL + lane] |= ((q + 8).cast_unsigned() & 15) << (i % 2 * 4);
                }
            }
        }
    }
    out
}

/// Packs scales `[m][blocks]`.
pub fn pack_scales<T: Copy + Default>(scales: &[T], m: usize) -> Vec<T> {
    let blocks = scales.len() / m;
    let mut out = vec![T::default(); panels(m) * blocks * PANEL];
    for (row, scales) in scales.chunks_exact(blocks).enumerate() {
        for (block, &scale) in scales.iter().enumerate() {
            out[(row / PANEL * blocks + block) * PANEL + row % PANEL] = scale;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bits_lie_in_pairs() {
        let packed = pack_weights(BlockKind::Int4, &[-8, 7, 1, 0, 2, -1], 2, 3);
        assert_eq!(packed.len(), 2 * PANEL);
        // -8 and 7 become 0 and 15, the first in the low bits; 1 becomes 9, with nothing behind it.
        assert_eq!((packed[0], packed[PANEL]), (0xf0, 0x09));
        assert_eq!((packed[1], packed[PANEL + 1]), (0xa8, 0x07));
    }

    #[test]
    fn scales_of_a_block_lie_together() {
        let packed = pack_scales(&[1, 2, 3, 4], 2);
        assert_eq!((packed[0], packed[1], packed[PANEL], packed[PANEL + 1]), (1, 3, 2, 4));
    }
}
