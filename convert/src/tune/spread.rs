//! How far unseen samples take the channels of a tensor.

use crate::calibrate::Stats;
use crate::ranges::Range;

/// Parts that a distribution is held in.
const PARTS: usize = 64;

/// Judged by leaving out each sample in turn: one in as many as there are is that in which a channel goes farthest, and
/// then goes farther than all the others by the ratio of the two greatest samples. How that ratio is distributed, the
/// tensor's channels say together: it is what an unseen sample does to what has been seen.
pub(super) struct Spread<'a> {
    stats: &'a Stats,
    /// How far the tensor's range reaches above and below zero.
    whole: [f64; 2],
    /// For both ends the ratios, descending.
    ratios: [Vec<f64>; 2],
}

/// How far the two samples of most go, above and below zero.
fn ends(stats: &Stats, channel: usize) -> [[f64; 2]; 2] {
    stats.channels().get(channel).map_or([[0.0; 2]; 2], |c| {
        let reach = |v: f32| f64::from(v).max(0.0);
        [[c.max, c.second_max].map(reach), [-c.min, -c.second_min].map(reach)]
    })
}

/// The middles of equal parts of what is sorted.
fn parts(sorted: &[f64]) -> Vec<f64> {
    let n = sorted.len().min(PARTS);
    (0..n).map(|i| sorted[(2 * i + 1) * sorted.len() / (2 * n)]).collect()
}

impl<'a> Spread<'a> {
    /// Of a tensor's channels within its range.
    pub(super) fn of(stats: &'a Stats, range: Range) -> Self {
        let ratios = [0, 1].map(|end| {
            let seen = (0..stats.channels().len()).map(|c| ends(stats, c)[end]);
            // Infinite where one sample alone has shown anything.
            let mut all: Vec<f64> =
                seen.filter(|e| e[0] > 0.0).map(|[first, second]| first / second).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            parts(&all)
        });
        let whole = [range.max, -range.min].map(|v| f64::from(v).max(0.0));
        Self { stats, whole, ratios }
    }

    /// The factor with which what has been seen of a channel fills the tensor's range; infinite for one of zeros.
    pub(super) fn room(&self, channel: usize) -> f64 {
        let sides = ends(self.stats, channel).into_iter().zip(self.whole);
        let seen = sides.filter(|([first, _], _)| *first > 0.0);
        seen.map(|([first, _], whole)| whole / first).fold(f64::INFINITY, f64::min)
    }

    /// The expected square of what an unseen sample's farthest value loses by saturation when a channel is multiplied by a
    /// factor, in the channel's own units. What lies beyond the tensor's range would saturate without it, and does not count.
    pub(super) fn lost(&self, channel: usize, factor: f64) -> f64 {
        let sides = ends(self.stats, channel).into_iter().zip(self.whole).zip(&self.ratios);
        let one = |(([first, _], whole), ratios): (([f64; 2], f64), &Vec<f64>)| {
            let beyond = |ratio: &f64| ((first * ratio).min(whole) - whole / factor).max(0.0).powi(2);
            ratios.iter().map(beyond).take_while(|b| *b > 0.0).sum::<f64>() / ratios.len() as f64
        };
        let seen = sides.filter(|(([first, _], _), _)| *first > 0.0);
        seen.map(one).sum::<f64>() / self.stats.samples().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of four samples; the farthest go twice and four times as far as the next, below zero three times and one channel
    /// alone.
    fn stats() -> Stats {
        let mut s = Stats::new(2);
        for row in [[1.0, 2.0], [2.0, -1.0], [-3.0, 4.0], [-1.0, 16.0]] {
            assert!(s.add(&row));
        }
        s
    }

    #[test]
    fn losses_by_hand() {
        let s = stats();
        let spread = Spread::of(&s, Range { min: -6.0, max: 16.0 });
        assert_eq!(spread.ratios, [vec![4.0, 2.0], vec![f64::INFINITY, 3.0]]);
        // Above, 16 / 2; below, 6 / 3.
        assert_eq!((spread.room(0), spread.room(1)), (2.0, 1.0));
        // Channel 0 times 2 reaches 8 above: an unseen 2 * 4 or 2 * 2 fits. Below it reaches -3: an unseen -6, the
        // range's end, by either ratio is 3 too far: 9, in one of four samples.
        assert_eq!(spread.lost(0, 2.0), 9.0 / 4.0);
        // As it is nothing is lost that would not be anyhow.
        assert_eq!((spread.lost(0, 1.0), spread.lost(1, 1.0)), (0.0, 0.0));
        // Times 4 it reaches 4 and -1.5: above 8 - 4 and 4 - 4, below 4.5 twice.
        assert_eq!(spread.lost(0, 4.0), ((16.0 + 0.0) / 2.0 + 4.5 * 4.5) / 4.0);
    }

    #[test]
    fn zeros_and_channels_not_known_have_all_room() {
        let mut s = Stats::new(1);
        assert!(s.add(&[0.0]));
        let range = Range { min: 0.0, max: 1.0 };
        for s in [s, Stats::new(0)] {
            let spread = Spread::of(&s, range);
            assert_eq!((spread.room(0), spread.lost(0, 64.0)), (f64::INFINITY, 0.0));
        }
    }

    /// One sample says nothing of others: any channel may reach the whole range.
    #[test]
    fn one_sample_shows_no_spread() {
        let mut s = Stats::new(2);
        assert!(s.add(&[1.0, 8.0]));
        let spread = Spread::of(&s, Range { min: 0.0, max: 8.0 });
        assert_eq!(spread.lost(0, 2.0), 16.0);
    }

    /// The same spread among more samples is less likely to be met.
    #[test]
    fn more_samples_lose_less() {
        let lost = |n: usize| {
            let mut s = Stats::new(1);
            assert!((0..n).all(|_| s.add(&[1.0])) && s.add(&[2.0]));
            Spread::of(&s, Range { min: 0.0, max: 8.0 }).lost(0, 4.0)
        };
        // 2 * 2 where 8 / 4 are left.
        assert_eq!((lost(1), lost(99)), (4.0 / 2.0, 4.0 / 100.0));
    }
}
