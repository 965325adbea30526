//! Weights in fewer bits.

use cygnet_format::program::Quant;

/// Least scale of a channel's weights: below it (a channel of zeros) nothing would be gained and reciprocals overflow.
const LEAST_SCALE: f32 = 1e-20;

/// The most that an accumulator may reach: int32 with a bit to spare.
const ACCUMULATOR: f64 = (1_u64 << 30) as f64;

/// s8 weights of one layer, symmetric per output channel, with what the kernels need beside them.
pub(super) struct Quantized {
    /// `[M][k]`, each in [-127, 127].
    pub(super) weights: Vec<i8>,
    /// Scale of each channel.
    pub(super) scales: Vec<f32>,
    /// Bias at scale `s_x * scales[c]`.
    pub(super) bias: Vec<i32>,
}

/// Quantizes weights `[M][k]` and their bias for an input of this quantization.
///
/// The scale of a channel is max|w| / 127, enlarged where the bias would not leave the accumulator room.
pub(super) fn quantize(weights: &[f32], bias: &[f32], x: Quant) -> Quantized {
    let m = bias.len();
    let k = weights.len() / m;
    let mut out =
        Quantized { weights: Vec::with_capacity(weights.len()), scales: Vec::new(), bias: Vec::new() };
    for (channel, &b) in weights.chunks_exact(k).zip(bias) {
        let greatest = channel.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
        // |sum| <= k * 127 * 255 with the zero point folded in; the bias has what remains.
        let room = ACCUMULATOR - k as f64 * 127.0 * 255.0;
        let for_bias = (f64::from(b.abs()) / (f64::from(x.scale) * room.max(1.0))) as f32;
        let scale = (greatest / 127.0).max(for_bias).max(LEAST_SCALE);
        out.weights.extend(channel.iter().map(|w| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
        out.scales.push(scale);
        out.bias.push((f64::from(b) / (f64::from(x.scale) * f64::from(scale))).round_ties_even() as i32);
    }
    out
}

/// Longest reduction for which int32 cannot overflow: k * 127 * 255 below the accumulator's bound.
pub(super) const MAX_K: usize = (ACCUMULATOR / (127.0 * 255.0)) as usize;

/// The same for two computed matrices, each of them up to 255 from its zero point: k * 255 * 255 below 2^31.
pub(super) const MAX_K_COMPUTED: usize = (i32::MAX / (255 * 255)) as usize;

/// `s_x * s_w[c] / s_y`, rounded once.
pub(super) fn multipliers(x: Quant, scales: &[f32], y: Quant) -> Vec<f32> {
    scales.iter().map(|&w| (f64::from(x.scale) * f64::from(w) / f64::from(y.scale)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_weight_of_a_channel_becomes_127() {
        let q = quantize(&[0.5, -1.0, 0.25, 4.0], &[0.1, 0.0], Quant { scale: 0.5, zero_point: 3 });
        assert_eq!(q.weights, [64, -127, 8, 127]);
        assert_eq!(q.scales, [1.0 / 127.0, 4.0 / 127.0]);
        // 0.1 / (0.5 / 127) = 25.4
        assert_eq!(q.bias, [25, 0]);
    }

    #[test]
    fn a_channel_of_zeros_with_a_large_bias_stays_in_range() {
        let q = quantize(&[0.0, 0.0], &[1000.0], Quant { scale: 1e-3, zero_point: 0 });
        assert_eq!(q.weights, [0, 0]);
        assert!(q.bias[0] > 0 && f64::from(q.bias[0]) <= ACCUMULATOR);
        let real = f64::from(q.bias[0]) * 1e-3 * f64::from(q.scales[0]);
        assert!((real - 1000.0).abs() < 1e-3, "{real}");
    }
}
