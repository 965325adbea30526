//! How large sums can get.

use crate::conv::micro::{KB_S8, NR};

/// Bytes of a block of weights.
const BLOCK: usize = NR * KB_S8;

/// Most blocks whose magnitudes are summed in 16 bits: 128 each at most.
const SHORT: usize = 255;

/// What is known of all sums of a step, whatever the input; the later ones are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// Nothing.
    Nothing,
    /// What they become by their multipliers, and what is added to that, together stays below [`PRODUCTS`] in magnitude.
    Products,
    /// They stay below 2^22 in magnitude, too.
    Sums,
}

/// Less than 2^15 by a zero point, and by what rounding does.
const PRODUCTS: f64 = ((1 << 15) - 130) as f64;

/// What is known of the sums of packed panels of `panel` bytes of `weights`, where their channels have these biases and
/// multipliers, and `added` is added to products. On the one hand the positive weights meet 127 and the negative ones
/// -128, on the other the reverse.
pub(crate) fn bound(
    weights: &[u8],
    panel: usize,
    bias: &[[u8; 4]],
    multiplier: &[[u8; 4]],
    added: f64,
) -> Bound {
    let panels = bias.as_chunks::<NR>().0.iter().zip(multiplier.as_chunks::<NR>().0);
    let mut known = Bound::Sums;
    for (i, (bias, multiplier)) in panels.enumerate() {
        let Some(sums) = weights.get(i * panel..(i + 1) * panel).map(sums) else { return Bound::Nothing };
        for c in 0..NR {
            let [all, magnitudes] = sums[c].map(i64::from);
            let (plus, minus) = ((magnitudes + all) / 2, (magnitudes - all) / 2);
            let bias = i64::from(i32::from_le_bytes(bias[c]));
            let least = bias - 128 * plus - 127 * minus;
            let most = bias + 127 * plus + 128 * minus;
            let reach = least.abs().max(most.abs());
            let scale = f64::from(f32::from_le_bytes(multiplier[c]).abs());
            known = match (reach as f64 * scale + added < PRODUCTS, reach < 1 << 22) {
                (false, _) => return Bound::Nothing,
                (true, false) => known.min(Bound::Products),
                (true, true) => known,
            };
        }
    }
    known
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

    /// Of one channel that counts, of these inputs' weights.
    fn channel(weights: &[i8], bias: i32, multiplier: f32, added: f64) -> Bound {
        let blocks = weights.len().div_ceil(KB_S8);
        let mut panel = vec![0; blocks * BLOCK];
        for (k, &w) in weights.iter().enumerate() {
            panel[k / KB_S8 * BLOCK + k % KB_S8] = w.cast_unsigned();
        }
        let mut biases = [[0; 4]; NR];
        biases[0] = bias.to_le_bytes();
        let mut multipliers = [[0; 4]; NR];
        multipliers[0] = multiplier.to_le_bytes();
        bound(&panel, panel.len(), &biases, &multipliers, added)
    }

    #[test]
    fn bounds_are_met_exactly() {
        // 258 * 127 * 128 = 2^22 - 256.
        let k = 258;
        let least = k * 127 * 128;
        let of = |weight: i8, bias: i32| channel(&vec![weight; k as usize], bias, 1e-6, 0.0);
        assert_eq!(of(127, 0), Bound::Sums);
        assert_eq!(of(127, least - (1 << 22) + 1), Bound::Sums);
        assert_eq!(of(127, least - (1 << 22)), Bound::Products);
        assert_eq!(of(-127, (1 << 22) - 1 - least), Bound::Sums);
        assert_eq!(of(-127, (1 << 22) - least), Bound::Products);
        // A folded zero point is no loss: every input at least -128 gives a sum from 0 to 255 * 127 * 129.
        let half = 129 * 127 * 128;
        assert_eq!(channel(&[127; 129], half, 1e-6, 0.0), Bound::Sums);
        // Products of 2^15 less 256 and less 128: a zero point more is too much for 16 bits.
        assert_eq!(channel(&[1], 0, 254.0, 0.0), Bound::Sums);
        assert_eq!(channel(&[1], 0, 254.0, 126.0), Bound::Nothing);
        assert_eq!(channel(&[1], 0, 255.0, 0.0), Bound::Nothing);
        assert_eq!(channel(&[1], 0, -255.0, 0.0), Bound::Nothing);
    }
}
