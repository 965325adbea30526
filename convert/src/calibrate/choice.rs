//! The range that a tensor is quantized for, by what calibration has seen of it.

use std::fmt;
use std::str::FromStr;

use super::stats::{HALF, Stats};
use crate::ranges::Range;

/// How ranges follow from the values seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Calibrator {
    /// From the least value to the greatest.
    MinMax,
    /// From the mean of the samples' least values to that of their greatest: what an exponential moving average of both
    /// moves about, but with the same weight for each sample, so that their order makes no difference.
    MovingAverage,
    /// This share of the values, in percent, lies inside; the rest, split between both ends, saturates.
    Percentile(f64),
    /// The ends at which the quantized values' distribution diverges least from that of all (Kullback and Leibler).
    Entropy,
    /// The ends that give the least mean squared error.
    Mse,
}

/// Leaves out what is rarer than one in a hundred thousand: single pixels of single photos.
impl Default for Calibrator {
    fn default() -> Self {
        Self::Percentile(99.999)
    }
}

impl FromStr for Calibrator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "min-max" => Self::MinMax,
            "moving-average" => Self::MovingAverage,
            "percentile" => Self::default(),
            "entropy" => Self::Entropy,
            "mse" => Self::Mse,
            other => {
                return Err(format!(
                    "calibrator '{other}' is unknown; use min-max, moving-average, percentile, entropy or mse"
                ));
            }
        })
    }
}

impl fmt::Display for Calibrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::MovingAverage => f.write_str("moving-average"),
            Self::Percentile(_) => f.write_str("percentile"),
            Self::Entropy => f.write_str("entropy"),
            Self::Mse => f.write_str("mse"),
        }
    }
}

impl Calibrator {
    /// The range of a tensor; `None` when no sample has shown it.
    pub fn range(self, stats: &Stats) -> Option<Range> {
        let whole = stats.range?;
        let inside = |r: Range| Range { min: r.min.max(whole.min), max: r.max.min(whole.max) };
        match self {
            Self::MinMax => Some(whole),
            Self::MovingAverage => stats.mean_range().map(inside),
            Self::Percentile(percent) => percentile(stats, percent).map(inside),
            Self::Entropy => Some(inside(entropy(stats))),
            Self::Mse => Some(inside(least_error(stats, whole))),
        }
    }
}

fn percentile(stats: &Stats, percent: f64) -> Option<Range> {
    let histogram = stats.histogram();
    let counts = histogram.counts();
    let total: u64 = counts.iter().sum();
    let outside = (total as f64 * (1.0 - percent / 100.0) / 2.0) as u64;
    let low = end(counts, outside, 0..2 * HALF)?;
    let high = end(counts, outside, (0..2 * HALF).rev())?;
    Some(Range { min: histogram.edge(low) as f32, max: histogram.edge(high + 1) as f32 })
}

/// The first of `bins` before which no more than `outside` values lie.
fn end(counts: &[u64], outside: u64, mut bins: impl Iterator<Item = usize>) -> Option<usize> {
    let mut passed = 0;
    bins.find(|&bin| {
        passed += counts[bin];
        passed > outside
    })
}

/// Quantized levels of one side of zero.
const LEVELS: usize = 128;

/// The method of Migacz (8-bit inference with TensorRT, 2017) on magnitudes: of all thresholds the one for which the
/// distribution of the magnitudes below it, the others counted at its end, diverges least from that of 128 levels. Exact
/// zeros lose nothing whatever the threshold, and are left out.
fn entropy(stats: &Stats) -> Range {
    let counts = stats.histogram().counts();
    let magnitudes: Vec<f64> = (0..HALF)
        .map(|i| {
            let zeros = if i == 0 { stats.zeros } else { 0 };
            (counts[HALF + i] - zeros.min(counts[HALF + i]) + counts[HALF - 1 - i]) as f64
        })
        .collect();
    let divergence = |n: usize| -> f64 {
        let outliers: f64 = magnitudes[n..].iter().sum();
        let mut p = magnitudes[..n].to_vec();
        p[n - 1] += outliers;
        let mut q = vec![0.0; n];
        for level in 0..LEVELS {
            let (from, to) = (level * n / LEVELS, (level + 1) * n / LEVELS);
            let bins = &magnitudes[from..to];
            let filled = bins.iter().filter(|&&c| c > 0.0).count();
            let each = bins.iter().sum::<f64>() / filled.max(1) as f64;
            for (q, &c) in q[from..to].iter_mut().zip(bins) {
                *q = if c > 0.0 { each } else { 0.0 };
            }
        }
        let (all_p, all_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
        // A bin that only outliers fill has no level: it is given the least share there is.
        let share = |q: f64| (q / all_q).max(1e-9);
        p.iter()
            .zip(&q)
            .filter(|(p, _)| **p > 0.0)
            .map(|(p, q)| p / all_p * (p / all_p / share(*q)).ln())
            .sum()
    };
    let last = (0..HALF).rev().find(|&i| magnitudes[i] > 0.0).map_or(1, |i| i + 1);
    if last <= LEVELS {
        // Fewer bins than levels: nothing is to be gained.
        let all = stats.histogram().reach() as f32;
        return Range { min: -all, max: all };
    }
    let costs = (LEVELS..=last).map(|n| (n, divergence(n)));
    let best = costs.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(last, |(n, _)| n);
    let threshold = stats.histogram().edge(HALF + best) as f32;
    Range { min: -threshold, max: threshold }
}

/// Ends are tried in steps of this share of the whole.
const STEPS: usize = 100;

/// The ends, one after the other drawn in, at which rounding and saturation together cost least.
fn least_error(stats: &Stats, whole: Range) -> Range {
    let full = [f64::from(whole.min.min(0.0)), f64::from(whole.max.max(0.0))];
    let mut ends = full;
    let mut least = squared_error(stats, ends);
    // Twice: what is best for one end depends on the other.
    for _ in 0..2 {
        for side in [1, 0] {
            for step in (STEPS / 5)..STEPS {
                let mut tried = ends;
                tried[side] = full[side] * step as f64 / STEPS as f64;
                let error = squared_error(stats, tried);
                if error < least {
                    (least, ends) = (error, tried);
                }
            }
        }
    }
    Range { min: ends[0] as f32, max: ends[1] as f32 }
}

/// The sum of squared errors of quantizing to 255 steps from `low` to `high`: a twelfth of a squared step for each value
/// inside but exact zeros, the squared distance for each outside.
fn squared_error(stats: &Stats, [low, high]: [f64; 2]) -> f64 {
    let step = (high - low) / 255.0;
    let rounding = step * step / 12.0;
    let cost = |(middle, count): (f64, u64)| {
        let beyond = (middle - high).max(low - middle).max(0.0);
        count as f64 * (rounding + beyond * beyond)
    };
    stats.histogram().middles().map(cost).sum::<f64>() - stats.zeros as f64 * rounding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(values: &[f32]) -> Stats {
        let mut s = Stats::new(0);
        assert!(s.add(values));
        s
    }

    #[test]
    fn a_percentile_leaves_outliers_out() {
        let mut s = Stats::new(0);
        let values: Vec<f32> = (0..10_000).map(|i| i as f32 / 10_000.0).collect();
        assert!(s.add(&values) && s.add(&[1000.0]));
        let r = Calibrator::Percentile(99.9).range(&s).unwrap();
        // Bins are 1 wide after the outlier has widened the reach to 1024.
        assert_eq!((r.min, r.max), (0.0, 1.0));
    }

    #[test]
    fn the_average_is_of_samples() {
        let mut s = Stats::new(0);
        assert!(s.add(&[-1.0, 2.0]) && s.add(&[-3.0, 10.0]));
        assert_eq!(Calibrator::MovingAverage.range(&s), Some(Range { min: -2.0, max: 6.0 }));
    }

    /// A bell with one value far out: saturating that one costs less than a coarser step for all.
    #[test]
    fn mse_gives_up_a_lone_outlier() {
        let values: Vec<f32> =
            (1..40_000).map(|i| ((i * 7919 % 40_000) as f32 / 40_000.0 - 0.5) * 2.0).collect();
        let mut s = Stats::new(0);
        assert!((0..50).all(|_| s.add(&values)) && s.add(&[8.0]));
        let r = Calibrator::Mse.range(&s).unwrap();
        assert!(r.max < 4.0 && r.max >= 0.99, "{r:?}");
        // Without it nothing is given up: 255 even steps are right for an even distribution.
        let r = Calibrator::Mse.range(&stats(&values)).unwrap();
        assert!(r.max > 0.95 && r.min < -0.95, "{r:?}");
    }

    /// Nearly all magnitudes are small, few are great: divergence counts how many there are, not how great.
    #[test]
    fn entropy_gives_up_a_long_tail() {
        let bell = |i: u32| (-(f64::from(i) / 100.0)).exp();
        let mut values = Vec::new();
        for i in 0..1000_u32 {
            let count = (bell(i) * 2000.0) as usize;
            values.extend(std::iter::repeat_n(i as f32 / 1000.0 + 0.0005, count));
        }
        values.extend([3.9, -3.9]);
        let r = Calibrator::Entropy.range(&stats(&values)).unwrap();
        assert!(r.max < 1.5 && r.max > 0.2, "{r:?}");
    }

    #[test]
    fn zeros_alone_have_a_range_in_every_way() {
        let s = stats(&[0.0; 5]);
        for calibrator in [
            Calibrator::MinMax,
            Calibrator::MovingAverage,
            Calibrator::Percentile(99.0),
            Calibrator::Entropy,
            Calibrator::Mse,
        ] {
            assert_eq!(calibrator.range(&s), Some(Range { min: 0.0, max: 0.0 }), "{calibrator}");
        }
    }
}
