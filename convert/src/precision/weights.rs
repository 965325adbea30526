//! Weights in fewer bits.

use cygnet_format::program::Quant;

use crate::lir::{Channels, Met};

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
    /// Bias as a real number.
    pub(super) real_bias: Vec<f32>,
}

/// Weights `[M][k]` of a product, and what is known of what they meet.
pub(super) struct Product<'a> {
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
    /// Quantization of the input.
    pub(super) x: Quant,
    /// What is known of the input's channels.
    pub(super) channels: Option<&'a Channels>,
    /// Input channels that a row sees at each tap, and for how many groups; 0 groups for a depthwise product.
    pub(super) depth: usize,
    pub(super) groups: usize,
    /// Of each group of rows, what is known of the inputs together.
    pub(super) met: Option<&'a Met>,
}

impl Product<'_> {
    /// The input channel that weight `k` of row `m` meets.
    fn channel(&self, m: usize, k: usize) -> usize {
        if self.groups == 0 {
            return m;
        }
        m / (self.bias.len() / self.groups) * self.depth + k % self.depth
    }

    /// The weights of a row, rounded.
    fn rounded(&self, m: usize, row: &[f32], scale: f32) -> Vec<i8> {
        let mut rounded: Vec<i8> = row.iter().map(|&w| round(w, scale)).collect();
        if let Some(blocks) = self.met.and_then(|met| met.get(m / (self.bias.len() / met.len()))) {
            let steps: Vec<f64> = row.iter().map(|&w| f64::from(w) / f64::from(scale)).collect();
            blocks.iter().for_each(|block| block.round(&steps, &mut rounded));
        }
        rounded
    }

    /// What an error of each weight of a row counts for: the mean square of what it meets.
    fn importance(&self, m: usize, k: usize) -> Option<Vec<f64>> {
        let squares = &self.channels?.squares;
        (!squares.is_empty()).then(|| (0..k).map(|i| squares[self.channel(m, i)]).collect())
    }

    /// The mean of what rounded weights of a row add to its results.
    fn mean_error(&self, m: usize, row: &[f32], rounded: &[i8], scale: f32) -> f64 {
        let Some(means) = self.channels.map(|c| &c.means).filter(|m| !m.is_empty()) else { return 0.0 };
        let off = row.iter().zip(rounded).enumerate();
        off.map(|(i, (&w, &q))| (f64::from(q) * f64::from(scale) - f64::from(w)) * means[self.channel(m, i)])
            .sum()
    }
}

/// Quantizes weights and their bias.
///
/// The scale of a channel is max|w| / 127 or, where the mean squares of the input's channels are known, the one near it
/// that makes the squared error of the results least; enlarged where the bias would not leave the accumulator room.
/// Where the input's means are known, the bias takes up the mean of the error.
pub(super) fn quantize(p: &Product<'_>) -> Quantized {
    let m = p.bias.len();
    let k = p.weights.len() / m;
    let mut out = Quantized {
        weights: Vec::with_capacity(p.weights.len()),
        scales: Vec::new(),
        bias: Vec::new(),
        real_bias: Vec::new(),
    };
    for (row, (weights, &b)) in p.weights.chunks_exact(k).zip(p.bias).enumerate() {
        let greatest = weights.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
        // |sum| <= k * 127 * 255 with the zero point folded in; the bias has what remains.
        let room = ACCUMULATOR - k as f64 * 127.0 * 255.0;
        let for_bias = (f64::from(b.abs()) / (f64::from(p.x.scale) * room.max(1.0))) as f32;
        let least = match p.importance(row, k) {
            Some(importance) => least_error(weights, greatest / 127.0, &importance),
            None => greatest / 127.0,
        };
        let scale = least.max(for_bias).max(LEAST_SCALE);
        let rounded = p.rounded(row, weights, scale);
        let b = f64::from(b) - p.mean_error(row, weights, &rounded, scale);
        out.weights.extend(rounded);
        out.scales.push(scale);
        let most = room.max(1.0);
        out.bias.push(
            (b / (f64::from(p.x.scale) * f64::from(scale))).round_ties_even().clamp(-most, most) as i32
        );
        out.real_bias.push(b as f32);
    }
    out
}

/// Weights that are integers of -128 to 127 times a scale for each output channel, as models that come quantized have them,
/// and their bias at the scale of the sums; `None` where they are not.
///
/// Where a bias is too large for the accumulator at that scale, which channels that are all but dead have, the scale is
/// enlarged, as long as that changes no result by more than a [`FINE`]th of the output's step; else it is `None` too.
/// `weights` are `[M][k]`, those of a depthwise product `[k][M]`; what they become is `[M][k]`.
pub(super) fn on_grid(
    weights: &[f32],
    bias: &[f32],
    [x, y]: [Quant; 2],
    depthwise: bool,
) -> Option<Quantized> {
    let m = bias.len();
    let k = weights.len() / m;
    let mut out = Quantized {
        weights: Vec::with_capacity(weights.len()),
        scales: Vec::with_capacity(m),
        bias: Vec::with_capacity(m),
        real_bias: bias.to_vec(),
    };
    let room = (ACCUMULATOR - k as f64 * 127.0 * 255.0).max(1.0);
    for (row, &b) in bias.iter().enumerate() {
        let at = |i: usize| if depthwise { i * m + row } else { row * k + i };
        let own: Vec<f32> = (0..k).map(|i| weights[at(i)]).collect();
        let grid = grid(&own)?;
        let for_bias = (f64::from(b.abs()) / (f64::from(x.scale) * room)) as f32;
        // Each weight is off by half a step, and meets at most 255 of the input's.
        let off = k as f64 * 127.5 * f64::from(x.scale) * f64::from(for_bias);
        if for_bias > grid && grid > 0.0 && off * FINE > f64::from(y.scale) {
            return None;
        }
        let scale = grid.max(for_bias).max(LEAST_SCALE);
        out.weights.extend(own.iter().map(|&w| (w / scale).round_ties_even() as i8));
        out.scales.push(scale);
        out.bias.push(
            (f64::from(b) / (f64::from(x.scale) * f64::from(scale))).round_ties_even().clamp(-room, room)
                as i32,
        );
    }
    Some(out)
}

/// Parts of the output's step: a result that is off by one of them is as good as exact.
const FINE: f64 = 64.0;

/// The number of which all weights are multiples by -128 to 127; 0 for zeros.
fn grid(weights: &[f32]) -> Option<f32> {
    let greatest = weights.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
    if greatest == 0.0 {
        return Some(0.0);
    }
    let whole = |w: &f32, step: f32| (w / step - (w / step).round_ties_even()).abs() <= OFF_GRID;
    let fits = |&step: &f32| weights.iter().all(|w| whole(w, step));
    // 128 last: what is whole with fewer needs no number that has no opposite.
    let least = (!weights.contains(&greatest)).then_some(128);
    (1..=127).rev().chain(least).map(|n| greatest / n as f32).find(fits)
}

/// How far real weights may be off the integers that they are, in steps: a product in f32 is off by 2^-24 of up to 127.
const OFF_GRID: f32 = 1e-4;

fn round(w: f32, scale: f32) -> i8 {
    (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8
}

/// The scale, from `most` down, at which the weighed squared error is least.
fn least_error(weights: &[f32], most: f32, importance: &[f64]) -> f32 {
    let error = |scale: f32| -> f64 {
        let off = |w: f32| f64::from(f32::from(round(w, scale)) * scale) - f64::from(w);
        weights.iter().zip(importance).map(|(&w, i)| off(w) * off(w) * i).sum()
    };
    if most < LEAST_SCALE {
        return most;
    }
    let tried = (0..TRIED).map(|i| most * (1.0 - i as f32 * TRIED_APART));
    let costs = tried.map(|scale| (error(scale), scale));
    costs.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(most, |(_, scale)| scale)
}

/// Scales are tried in so many steps ...
const TRIED: usize = 20;
/// ... of this share of the greatest.
const TRIED_APART: f32 = 0.015;

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

    const X: Quant = Quant { scale: 0.5, zero_point: 3 };

    fn product<'a>(weights: &'a [f32], bias: &'a [f32], channels: Option<&'a Channels>) -> Product<'a> {
        let depth = weights.len() / bias.len();
        Product { weights, bias, x: X, channels, depth, groups: 1, met: None }
    }

    #[test]
    fn the_greatest_weight_of_a_channel_becomes_127() {
        let q = quantize(&product(&[0.5, -1.0, 0.25, 4.0], &[0.1, 0.0], None));
        assert_eq!(q.weights, [64, -127, 8, 127]);
        assert_eq!(q.scales, [1.0 / 127.0, 4.0 / 127.0]);
        // 0.1 / (0.5 / 127) = 25.4
        assert_eq!(q.bias, [25, 0]);
        assert_eq!(q.real_bias, [0.1, 0.0]);
    }

    #[test]
    fn integers_are_found_again() {
        let y = Quant { scale: 0.25, zero_point: 0 };
        // 3, -100, 7 of 0.03 and, of the second channel, 2, 0, -4 of 0.5: these are as well 63, 0, -126 of something, at
        // which the bias is rounded.
        let weights = [3.0 * 0.03, -100.0 * 0.03, 7.0 * 0.03, 1.0, 0.0, -2.0];
        let bias = [12.0 * 0.5 * 0.03, -5.0 * 0.5 * 0.5];
        let q = on_grid(&weights, &bias, [X, y], false).expect("multiples");
        assert_eq!(q.weights[..3], [3, -100, 7]);
        assert_eq!(q.bias[0], 12);
        let real = |i: usize, m: usize| f32::from(q.weights[i]) * q.scales[m];
        assert!((3..6).all(|i| (real(i, 1) - weights[i]).abs() < 1e-6));
        let unit = 0.5 * q.scales[1];
        assert!((q.bias[1] as f32 * unit - bias[1]).abs() <= 0.51 * unit);
        // The same, depthwise: channels side by side.
        let aside = on_grid(&swapped(&weights, 2), &bias, [X, y], true).expect("multiples");
        assert_eq!((aside.weights, aside.scales), (q.weights, q.scales));
        // 1 and the root of 2 have no common measure; 128 would need an eighth bit.
        assert!(on_grid(&[1.0, std::f32::consts::SQRT_2], &[0.0], [X, y], false).is_none());
        assert!(on_grid(&[128.0, 1.0], &[0.0], [X, y], false).is_none());
        let least = on_grid(&[-128.0 * 0.03, 0.03, 127.0 * 0.03], &[0.0], [X, y], false).expect("multiples");
        assert_eq!(least.weights, [-128, 1, 127]);
        assert!((least.scales[0] - 0.03).abs() < 1e-8);
    }

    #[test]
    fn a_dead_channel_keeps_its_bias() {
        let y = Quant { scale: 0.25, zero_point: 0 };
        let q =
            on_grid(&[1e-12, -3e-12, 0.0, 0.0], &[-7.5, 3.0], [X, y], false).expect("a scale for the bias");
        for (m, want) in [-7.5, 3.0].into_iter().enumerate() {
            let real = f64::from(q.bias[m]) * 0.5 * f64::from(q.scales[m]);
            assert!((real - want).abs() < 1e-5, "{real}");
        }
        // Where its weights would be lost although they count, there is no form.
        assert!(on_grid(&[1e-6, -3e-6], &[1e6], [X, y], false).is_none());
    }

    fn swapped(weights: &[f32], m: usize) -> Vec<f32> {
        let k = weights.len() / m;
        (0..m * k).map(|i| weights[i % m * k + i / m]).collect()
    }

    #[test]
    fn a_channel_of_zeros_with_a_large_bias_stays_in_range() {
        let p = Product { x: Quant { scale: 1e-3, zero_point: 0 }, ..product(&[0.0, 0.0], &[1000.0], None) };
        let q = quantize(&p);
        assert_eq!(q.weights, [0, 0]);
        assert!(q.bias[0] > 0 && f64::from(q.bias[0]) <= ACCUMULATOR);
        let real = f64::from(q.bias[0]) * 1e-3 * f64::from(q.scales[0]);
        assert!((real - 1000.0).abs() < 1e-3, "{real}");
    }

    #[test]
    fn the_bias_takes_up_the_mean_error() {
        // At 1/127 of 1 a step, 0.25 is 31.75 steps and becomes 32: 0.25 / 127 too much, times a mean of 2.
        let channels = Channels { means: vec![2.0, 5.0], ..Channels::default() };
        let q = quantize(&product(&[0.25, 1.0], &[0.5], Some(&channels)));
        assert_eq!(q.weights, [32, 127]);
        assert!((q.real_bias[0] - (0.5 - 0.5 / 127.0)).abs() < 1e-7, "{:?}", q.real_bias);
    }

    #[test]
    fn the_scale_serves_what_counts() {
        // The greatest weight meets next to nothing: the others' errors decide.
        let weights: Vec<f32> = (0..40).map(|i| 0.0037 * i as f32 - 0.07).chain([1.0]).collect();
        let channels =
            Channels { squares: (0..40).map(|_| 1.0).chain([1e-9]).collect(), ..Channels::default() };
        let error = |q: &Quantized| -> f32 {
            let off = |(w, v): (&f32, &i8)| (f32::from(*v) * q.scales[0] - w).powi(2);
            weights[..40].iter().zip(&q.weights).map(off).sum()
        };
        let plain = quantize(&product(&weights, &[0.0], None));
        let chosen = quantize(&product(&weights, &[0.0], Some(&channels)));
        assert!(chosen.scales[0] < plain.scales[0] && error(&chosen) < error(&plain));
    }
}
