//! How large sums can get.

use crate::conv::micro::{KB_S8, NR};

/// Bytes of a block of weights.
const BLOCK: usize = NR * KB_S8;

/// Most blocks whose magnitudes are summed in 16 bits: 128 each at most.
const SHORT: usize = 255;

/// Whether no channel's sum can reach 2^22 in magnitude, and none times its multiplier 2^15 less 2, whatever the
/// input: on the one hand the positive weights meet 127 and the negative ones -128, on the other the reverse.
///
/// `weights` are packed panels of `panel` bytes, `bias` and `multiplier` those of their channels.
pub(crate) fn small(weights: &[u8], panel: usize, bias: &[[u8; 4]], multiplier: &[[u8; 4]]) -> bool {
    let panels = bias.as_chunks::<NR>().0.iter().zip(multiplier.as_chunks::<NR>().0);
    panels.enumerate().all(|(i, (bias, multiplier))| {
        let sums = weights.get(i * panel..(i + 1) * panel).map(sums);
        sums.is_some_and(|sums| {
            (0..NR).all(|c| {
                let [all, magnitudes] = sums[c].map(i64::from);
                let (plus, minus) = ((magnitudes + all) / 2, (magnitudes - all) / 2);
                let bias = i64::from(i32::from_le_bytes(bias[c]));
                let least = bias - 128 * plus - 127 * minus;
                let most = bias + 127 * plus + 128 * minus;
                let reach = least.abs().max(most.abs());
                let scale = f64::from(f32::from_le_bytes(multiplier[c]).abs());
                reach < 1 << 22 && reach as f64 * scale < f64::from((1 << 15) - 2)
            })
        })
    })
}

/// What the magnitudes of each channel's weights sum to.
pub(crate) fn magnitudes(panel: &[u8]) -> [i32; NR] {
    sums(panel).map(|[_, magnitudes]| magnitudes)
}

/// Each channel's weights and their magnitudes, summed.
fn sums(panel: &[u8]) -> [[i32; 2]; NR] {
    let mut sums = [[0; 2]; NR];
    for part in panel.chunks(SHORT * BLOCK) {
        let (mut all, mut magnitudes) = ([0_i16; BLOCK], [0_u16; BLOCK]);
        for block in part.as_chunks::<BLOCK>().0 {
            for i in 0..BLOCK {
                all[i] += i16::from(block[i].cast_signed());
                magnitudes[i] += u16::from(block[i].cast_signed().unsigned_abs());
            }
        }
        for i in 0..BLOCK {
            sums[i / KB_S8][0] += i32::from(all[i]);
            sums[i / KB_S8][1] += i32::from(magnitudes[i]);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One channel that counts, of these inputs' weights.
    fn channel(weights: &[i8], bias: i32, multiplier: f32) -> bool {
        let blocks = weights.len().div_ceil(KB_S8);
        let mut panel = vec![0; blocks * BLOCK];
        for (k, &w) in weights.iter().enumerate() {
            panel[k / KB_S8 * BLOCK + k % KB_S8] = w.cast_unsigned();
        }
        let mut biases = [[0; 4]; NR];
        biases[0] = bias.to_le_bytes();
        let mut multipliers = [[0; 4]; NR];
        multipliers[0] = multiplier.to_le_bytes();
        small(&panel, panel.len(), &biases, &multipliers)
    }

    #[test]
    fn bounds_are_met_exactly() {
        // 258 * 127 * 128 = 2^22 - 256.
        let k = 258;
        let least = k * 127 * 128;
        assert!(channel(&vec![127; k as usize], 0, 1e-6));
        assert!(channel(&vec![127; k as usize], least - (1 << 22) + 1, 1e-6));
        assert!(!channel(&vec![127; k as usize], least - (1 << 22), 1e-6));
        assert!(channel(&vec![-127; k as usize], (1 << 22) - 1 - least, 1e-6));
        assert!(!channel(&vec![-127; k as usize], (1 << 22) - least, 1e-6));
        // A folded zero point is no loss: every input at least -128 gives a sum from 0 to 255 * 127 * 129.
        let half = 129 * 127 * 128;
        assert!(channel(&[127; 129], half, 1e-6));
        assert!(channel(&[1], 0, 255.0));
        assert!(!channel(&[1], 0, 256.0));
        assert!(!channel(&[1], 0, -256.0));
    }
}
