//! What is known of one tensor's values: counts and sums that are the same whatever the order in which samples came, and
//! however they were grouped.
//!
//! Counts are integers, bins are powers of two wide, and a sum over samples adds integers: what one sample gives is
//! rounded once, to a multiple of 2^-50. So the statistics of two parts added up are those of the whole, bit for bit.

use super::histogram::Histogram;
use crate::ranges::Range;

/// Bins of a histogram on each side of zero.
pub const HALF: usize = 1024;

/// Sums are multiples of 2^-50.
pub(super) const UNIT: f64 = (1_u64 << 50) as f64;

/// What one sample adds to a sum is at most 2^50 in magnitude: 2^27 samples cannot overflow.
const MOST: i128 = 1 << 100;

/// A real number as a multiple of the unit of sums.
pub(super) fn fixed(value: f64) -> i128 {
    // Rounds towards zero.
    ((value * UNIT) as i128).clamp(-MOST, MOST)
}

/// What is known of one channel (position in the last dimension).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    /// Least value.
    pub min: f32,
    /// Greatest value.
    pub max: f32,
    /// Least value of the samples but for the one that holds `min`; infinite before there are two.
    pub second_min: f32,
    /// Greatest value of the samples but for the one that holds `max`.
    pub second_max: f32,
    pub(super) sum: i128,
    pub(super) squares: i128,
}

impl Channel {
    const NONE: Self = Self {
        min: f32::INFINITY,
        max: f32::NEG_INFINITY,
        second_min: f32::INFINITY,
        second_max: f32::NEG_INFINITY,
        sum: 0,
        squares: 0,
    };

    fn join(&mut self, o: &Self) {
        self.second_min = self.min.max(o.min).min(self.second_min).min(o.second_min);
        self.second_max = self.max.min(o.max).max(self.second_max).max(o.second_max);
        (self.min, self.max) = (self.min.min(o.min), self.max.max(o.max));
        self.sum = self.sum.wrapping_add(o.sum);
        self.squares = self.squares.wrapping_add(o.squares);
    }
}

/// What is known of one tensor: its ends, sums of each sample's ends, a histogram, and on request each channel: 16 KiB
/// whatever the number of values, and 48 bytes for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// The least and greatest value; `None` before the first.
    pub range: Option<Range>,
    /// Number of values.
    pub values: u64,
    /// How many of them are zero.
    pub zeros: u64,
    pub(super) samples: u64,
    /// Sums over samples of the least and of the greatest value.
    pub(super) ends: [i128; 2],
    pub(super) histogram: Histogram,
    pub(super) channels: Vec<Channel>,
}

impl Stats {
    /// Nothing known yet; of as many channels, if they are wanted.
    pub fn new(channels: usize) -> Self {
        Self {
            range: None,
            values: 0,
            zeros: 0,
            samples: 0,
            ends: [0; 2],
            histogram: Histogram::new(HALF),
            channels: vec![Channel::NONE; channels],
        }
    }

    /// Takes in one sample's values, rows of the last dimension one after another; false, and nothing taken in, when one
    /// is not finite.
    pub fn add(&mut self, values: &[f32]) -> bool {
        let Some(range) = Range::of(values) else { return true };
        if !values.iter().all(|v| v.is_finite()) {
            return false;
        }
        // Zeros have one sign, so that the order of their coming does not show.
        let range = Range { min: range.min + 0.0, max: range.max + 0.0 };
        self.range = Some(self.range.map_or(range, |r| r.union(range)));
        self.samples += 1;
        self.ends[0] = self.ends[0].wrapping_add(fixed(range.min.into()));
        self.ends[1] = self.ends[1].wrapping_add(fixed(range.max.into()));
        let greatest = range.max.max(-range.min);
        self.values += values.len() as u64;
        self.zeros += values.iter().filter(|v| **v == 0.0).count() as u64;
        self.histogram.add(values, greatest);
        self.add_channels(values);
        true
    }

    fn add_channels(&mut self, values: &[f32]) {
        let n = self.channels.len();
        if n == 0 {
            return;
        }
        let mut sums = vec![[0.0_f64; 2]; n];
        let mut own = vec![Channel::NONE; n];
        for row in values.chunks_exact(n) {
            for ((channel, sum), &v) in own.iter_mut().zip(&mut sums).zip(row) {
                let v = v + 0.0;
                channel.min = if v < channel.min { v } else { channel.min };
                channel.max = if v > channel.max { v } else { channel.max };
                let v = f64::from(v);
                sum[0] += v;
                sum[1] += v * v;
            }
        }
        for ((channel, mut own), [sum, squares]) in self.channels.iter_mut().zip(own).zip(sums) {
            (own.sum, own.squares) = (fixed(sum), fixed(squares));
            channel.join(&own);
        }
    }

    /// Takes in what is known of the same tensor from other samples.
    pub fn merge(&mut self, other: &Self) {
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (a, b) => a.or(b),
        };
        self.samples = self.samples.saturating_add(other.samples);
        self.values = self.values.saturating_add(other.values);
        self.zeros = self.zeros.saturating_add(other.zeros);
        for (end, o) in self.ends.iter_mut().zip(other.ends) {
            *end = end.wrapping_add(o);
        }
        self.histogram.merge(&other.histogram);
        for (channel, o) in self.channels.iter_mut().zip(&other.channels) {
            channel.join(o);
        }
    }

    /// The mean over samples of their least and greatest values; `None` without samples.
    pub fn mean_range(&self) -> Option<Range> {
        let mean = |sum: i128| (sum as f64 / UNIT / self.samples as f64) as f32;
        (self.samples > 0).then(|| Range { min: mean(self.ends[0]), max: mean(self.ends[1]) })
    }

    /// The number of samples.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// All values.
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// How each channel's values spread.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// A channel's mean and variance.
    pub fn moments(&self, channel: usize) -> (f64, f64) {
        let n = self.values as f64 / self.channels.len() as f64;
        let c = &self.channels[channel];
        let (mean, square) = (c.sum as f64 / UNIT / n, c.squares as f64 / UNIT / n);
        (mean, (square - mean * mean).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ends_are_exact_over_several_batches() {
        let mut s = Stats::new(0);
        assert!(s.add(&[0.5, -0.25]) && s.add(&[7.0]) && s.add(&[-100.0]));
        assert_eq!(s.range, Some(Range { min: -100.0, max: 7.0 }));
        // (-0.25 + 7 - 100) / 3 and (0.5 + 7 - 100) / 3
        assert_eq!(s.mean_range(), Some(Range { min: -31.083334, max: -30.833334 }));
        assert_eq!(s.histogram.counts().iter().sum::<u64>(), 4);
        assert_eq!(s.histogram.reach(), 128.0);
    }

    #[test]
    fn a_value_lies_in_its_bin() {
        let mut s = Stats::new(0);
        // Bins of a reach of 4 are 1/256 wide; the reach is above all magnitudes.
        assert!(s.add(&[2.0, -2.0, 0.0, 1.0 / 256.0]));
        assert_eq!(s.histogram.reach(), 4.0);
        let filled: Vec<usize> = (0..2 * HALF).filter(|&b| s.histogram.counts()[b] > 0).collect();
        assert_eq!(filled, [HALF - 512, HALF, HALF + 1, HALF + 512]);
        assert_eq!((s.zeros, s.values), (1, 4));
    }

    #[test]
    fn channels_by_hand() {
        let mut s = Stats::new(2);
        assert!(s.add(&[1.0, 10.0, 3.0, -10.0]));
        assert_eq!((s.moments(0), s.moments(1)), ((2.0, 1.0), (0.0, 100.0)));
        assert_eq!((s.channels[1].min, s.channels[1].max), (-10.0, 10.0));
        assert_eq!(s.channels[1].second_max, f32::NEG_INFINITY);
        assert!(s.add(&[2.0, 12.0]) && s.add(&[3.0, 11.0, -9.0, -11.0]));
        let seconds = |c: usize| (s.channels[c].second_min, s.channels[c].second_max);
        // Of the samples' least (1, 2, -9; -10, 12, -11) and greatest values (3, 2, 3; 10, 12, 11).
        assert_eq!((seconds(0), seconds(1)), ((1.0, 3.0), (-10.0, 11.0)));
    }

    #[test]
    fn what_is_not_finite_is_noticed_and_leaves_no_trace() {
        let mut s = Stats::new(1);
        assert!(!s.add(&[1.0, f32::NAN]) && !s.add(&[f32::INFINITY]));
        assert_eq!(s, Stats::new(1));
    }

    proptest! {
        #[test]
        fn parts_added_up_are_the_whole(
            samples in prop::collection::vec(prop::collection::vec(-1e30_f32..1e30, 1..20), 1..12),
            small in prop::collection::vec(prop::collection::vec(-1e-3_f32..1e-3, 2..9), 1..6),
            seed in any::<u64>(),
        ) {
            let mut samples: Vec<Vec<f32>> = samples.into_iter().chain(small).collect();
            samples.push(vec![0.0, -0.0]);
            samples.push(vec![f32::MIN_POSITIVE / 8.0, -f32::MIN_POSITIVE / 8.0, f32::MAX, 1.0, -2.0, 2.0]);
            let mut whole = Stats::new(1);
            samples.iter().for_each(|v| assert!(whole.add(v)));
            let mut parts = [Stats::new(1), Stats::new(1), Stats::new(1)];
            for (i, v) in samples.iter().enumerate().rev() {
                parts[(seed >> (i % 32)) as usize % 3].add(v);
            }
            let mut sum = Stats::new(1);
            parts.iter().for_each(|p| sum.merge(p));
            prop_assert!(sum == whole);
        }
    }
}
