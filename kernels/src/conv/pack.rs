//! The packed layout of weights, biases and multipliers, for whoever writes files.
//!
//! Weights come as `[M][taps][C / groups]`, taps row by row of the kernel (ONNX's `[M, C / groups, KH, KW]` with
//! its channels moved last; TFLite's OHWI as it is), and go to
//!
//! ```text
//! [group][panel][tap][depth / KB][NR][KB]
//! ```
//!
//! where a panel is [`NR`] = 8 consecutive output channels of one group, `depth` the input channels of the group,
//! KB = 4 for s8 and 1 for f32 and f16. The last panel of a group is filled up with channels, s8 depth with input
//! channels, all zero. Biases and multipliers are `[group][panel][NR]`, filled up likewise: [`pad_channels`].
//!
//! A transposed convolution is packed phase by phase: see [`Phases`](super::transpose::Phases).

use half::f16;

use super::micro::{KB_S8, NR};

/// Names the layout of this module; files carry it, and a change of the layout changes it.
pub const PACK_ID: u32 = 1;

/// Elements of the packed weights of `m` output channels over `taps * depth` inputs each, with `kb` input channels
/// together; `None` when `groups` is zero or does not divide `m`, or when there is no such number.
pub(crate) fn packed_elements(
    m: usize,
    taps: usize,
    depth: usize,
    groups: usize,
    kb: usize,
) -> Option<usize> {
    if groups == 0 || !m.is_multiple_of(groups) {
        return None;
    }
    (m / groups)
        .checked_next_multiple_of(NR)?
        .checked_mul(groups)?
        .checked_mul(taps)?
        .checked_mul(depth.checked_next_multiple_of(kb)?)
}

/// Bytes of [`pack_s8`]'s result; `None` when `groups` does not divide `m` or there is no such number.
pub fn packed_len_s8(m: usize, taps: usize, depth: usize, groups: usize) -> Option<usize> {
    packed_elements(m, taps, depth, groups, KB_S8)
}

/// Bytes of [`pack_f16`]'s result; `None` when `groups` does not divide `m` or there is no such number.
pub fn packed_len_f16(m: usize, taps: usize, depth: usize, groups: usize) -> Option<usize> {
    packed_elements(m, taps, depth, groups, 1)?.checked_mul(2)
}

/// Bytes of [`pack_f32`]'s result; `None` when `groups` does not divide `m` or there is no such number.
pub fn packed_len_f32(m: usize, taps: usize, depth: usize, groups: usize) -> Option<usize> {
    packed_elements(m, taps, depth, groups, 1)?.checked_mul(4)
}

/// Packs s8 weights `[m][taps][depth]`, `depth` being the input channels of one group.
///
/// # Panics
/// When `weights` has another length or `groups` does not divide `m`.
pub fn pack_s8(weights: &[i8], m: usize, taps: usize, depth: usize, groups: usize) -> Vec<u8> {
    bytes(pack(weights, m, taps, depth, groups, KB_S8), i8::to_le_bytes)
}

/// Packs f16 weights `[m][taps][depth]`, `depth` being the input channels of one group.
///
/// # Panics
/// When `weights` has another length or `groups` does not divide `m`.
pub fn pack_f16(weights: &[f16], m: usize, taps: usize, depth: usize, groups: usize) -> Vec<u8> {
    bytes(pack(weights, m, taps, depth, groups, 1), f16::to_le_bytes)
}

/// Packs f32 weights `[m][taps][depth]`, `depth` being the input channels of one group.
///
/// # Panics
/// When `weights` has another length or `groups` does not divide `m`.
pub fn pack_f32(weights: &[f32], m: usize, taps: usize, depth: usize, groups: usize) -> Vec<u8> {
    bytes(pack(weights, m, taps, depth, groups, 1), f32::to_le_bytes)
}

/// Number of channels of a packed bias or multiplier: each group filled up to whole panels; `None` when `groups`
/// is zero or does not divide `m`, or when there is no such number.
pub fn padded_channels(m: usize, groups: usize) -> Option<usize> {
    packed_elements(m, 1, 1, groups, 1)
}

/// Fills each group of a bias or multiplier `[m]` up to whole panels with zeros.
///
/// # Panics
/// When `groups` does not divide the number of channels.
pub fn pad_channels<T: Copy + Default>(values: &[T], groups: usize) -> Vec<T> {
    pack(values, values.len(), 1, 1, groups, 1)
}

/// A bias `[m]` with the zero point `zero_point` of the input folded in, so that kernels multiply raw values:
/// `bias[o] - zero_point * sum(weights[o])`, the sum over the `k` weights of the channel.
///
/// # Panics
/// When `weights` does not hold `k` values for each channel.
pub fn fold_zero_point(bias: &[i32], weights: &[i8], k: usize, zero_point: i32) -> Vec<i32> {
    assert_eq!(weights.len(), bias.len() * k, "weights must be [m][k]");
    let sum = |o: usize| weights[o * k..][..k].iter().map(|&w| i32::from(w)).sum::<i32>();
    bias.iter().enumerate().map(|(o, &b)| b.wrapping_sub(zero_point.wrapping_mul(sum(o)))).collect()
}

fn pack<T: Copy + Default>(
    weights: &[T],
    m: usize,
    taps: usize,
    depth: usize,
    groups: usize,
    kb: usize,
) -> Vec<T> {
    let len = packed_elements(m, taps, depth, groups, kb).expect("groups must divide the output channels");
    assert_eq!(weights.len(), m * taps * depth, "weights must be [m][taps][depth]");
    let (per_group, blocks) = (m / groups, depth.div_ceil(kb));
    let panels = per_group.div_ceil(NR);
    let mut packed = vec![T::default(); len];
    for (o, channel) in weights.chunks_exact((taps * depth).max(1)).enumerate() {
        let (group, in_group) = (o / per_group, o % per_group);
        let (panel, lane) = (group * panels + in_group / NR, in_group % NR);
        for (k, &w) in channel.iter().enumerate() {
            let (tap, d) = (k / depth, k % depth);
            let block = (panel * taps + tap) * blocks + d / kb;
            packed[(block * NR + lane) * kb + d % kb] = w;
        }
    }
    packed
}

fn bytes<T, const N: usize>(values: Vec<T>, to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.into_iter().flat_map(to).collect()
}

/// Groups of a row of taps in [`without_gaps`].
fn gapless_groups(across: usize, depth: usize) -> usize {
    (across * depth).div_ceil(KB_S8)
}

/// Bytes of a panel of [`without_gaps`].
pub(super) fn gapless_panel([down, across]: [usize; 2], depth: usize) -> usize {
    down * gapless_groups(across, depth) * KB_S8 * NR
}

/// Packed s8 weights of fewer than four channels a tap, as if all taps of a row of the window were channels of one:
/// `[panel][row][taps * depth / 4][NR][4]`, the last group of a row filled up with zeros.
pub(super) fn without_gaps(packed: &[u8], panels: usize, taps: [usize; 2], depth: usize) -> Vec<u8> {
    let [down, across] = taps;
    let (panel, groups) = (gapless_panel(taps, depth), gapless_groups(across, depth));
    let mut out = vec![0; panels * panel];
    for (from, to) in packed.chunks_exact(down * across * NR * KB_S8).zip(out.chunks_exact_mut(panel)) {
        for (tap, block) in from.as_chunks::<{ NR * KB_S8 }>().0.iter().enumerate() {
            let (row, tap) = (tap / across, tap % across);
            for (channel, weights) in block.as_chunks::<KB_S8>().0.iter().enumerate() {
                for (i, &w) in weights[..depth].iter().enumerate() {
                    let at = tap * depth + i;
                    to[((row * groups + at / KB_S8) * NR + channel) * KB_S8 + at % KB_S8] = w;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s8_layout_is_group_panel_tap_block_channel() {
        // 2 groups of 1 channel, 2 taps, depth 5: element = 10 * (channel + 1) + tap * 5 + d.
        let weights: Vec<i8> = (0..20).map(|i| (10 * (i / 10 + 1) + i % 10) as i8).collect();
        let packed = pack_s8(&weights, 2, 2, 5, 2);
        assert_eq!(packed.len(), packed_len_s8(2, 2, 5, 2).unwrap());
        assert_eq!(packed.len(), 2 * 2 * 2 * 8 * 4);
        // First group: tap 0 block 0, then block 1 with three zeros, then tap 1.
        assert_eq!(packed[..5], [10, 11, 12, 13, 0]);
        assert_eq!(packed[32..36], [14, 0, 0, 0]);
        assert_eq!(packed[64..68], [15, 16, 17, 18]);
        // Second group.
        assert_eq!(packed[128..132], [20, 21, 22, 23]);
        assert_eq!(packed.iter().filter(|&&b| b != 0).count(), 20);
    }

    #[test]
    fn f32_layout_has_channels_innermost() {
        let weights: Vec<f32> = (0..9 * 2).map(|i| i as f32).collect(); // 9 channels, 1 tap, depth 2
        let packed = pack_f32(&weights, 9, 1, 2, 1);
        let at = |i: usize| f32::from_le_bytes(packed[4 * i..4 * i + 4].try_into().unwrap());
        assert_eq!(packed.len(), packed_len_f32(9, 1, 2, 1).unwrap());
        assert_eq!((0..8).map(at).collect::<Vec<_>>(), [0., 2., 4., 6., 8., 10., 12., 14.]);
        assert_eq!([at(8), at(16), at(24), at(17)], [1., 16., 17., 0.]);
    }

    #[test]
    fn channels_are_padded_group_by_group() {
        let padded = pad_channels(&[1, 2, 3, 4, 5, 6], 2);
        assert_eq!(padded, [1, 2, 3, 0, 0, 0, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0]);
        assert_eq!(padded_channels(6, 2), Some(16));
        assert_eq!(padded_channels(6, 4), None);
    }

    #[test]
    fn lengths_that_overflow_are_none() {
        assert_eq!(packed_len_f32(8, usize::MAX / 8, 1, 1), None);
        assert_eq!(packed_len_s8(8, 1, usize::MAX, 1), None);
        assert_eq!(packed_len_s8(8, 1, 1, 0), None);
    }

    #[test]
    fn zero_point_folds_into_the_bias() {
        assert_eq!(fold_zero_point(&[100, -5], &[1, 2, -3, 4], 2, 7), [100 - 7 * 3, -5 - 7]);
    }
}
