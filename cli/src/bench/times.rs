//! Times of runs: percentiles, and how they are spread.

use std::time::Duration;

/// Times in ascending order; one at least.
pub struct Sorted(Vec<Duration>);

/// A class of the histogram: times from `from_ms` on, below the next one's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    pub from_ms: f64,
    pub to_ms: f64,
    pub count: usize,
}

impl Sorted {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The least time that `percent` % of all do not exceed (nearest rank), in milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map_or(0.0, |&t| ms(t))
    }

    pub fn mean(&self) -> f64 {
        self.total_ms() / self.0.len().max(1) as f64
    }

    /// Standard deviation in milliseconds.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.0.iter().map(|&t| (ms(t) - mean).powi(2)).sum();
        (squares / self.0.len().max(1) as f64).sqrt()
    }

    pub fn total_ms(&self) -> f64 {
        self.0.iter().map(|&t| ms(t)).sum()
    }

    /// Classes of equal width from the least time to the 99th percentile, and a last one for all above: a few late runs
    /// would else leave one class for all others.
    pub fn histogram(&self, classes: usize) -> Vec<Bin> {
        let (least, top) = (self.percentile(0), self.percentile(99));
        let greatest = self.percentile(100);
        let width = (top - least) / classes.max(1) as f64;
        if width <= 0.0 {
            return vec![Bin { from_ms: least, to_ms: greatest, count: self.0.len() }];
        }
        let mut bins: Vec<Bin> = (0..classes)
            .map(|i| Bin {
                from_ms: least + width * i as f64,
                to_ms: least + width * (i + 1) as f64,
                count: 0,
            })
            .collect();
        bins.push(Bin { from_ms: top, to_ms: greatest, count: 0 });
        for &t in &self.0 {
            let t = ms(t);
            let class = if t > top { classes } else { (((t - least) / width) as usize).min(classes - 1) };
            bins[class].count += 1;
        }
        bins
    }
}

pub fn ms(t: Duration) -> f64 {
    t.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let t = Sorted::new([4, 1, 3, 2].map(Duration::from_millis).to_vec());
        assert_eq!([0, 25, 26, 50, 90, 100].map(|p| t.percentile(p)), [1.0, 1.0, 2.0, 2.0, 4.0, 4.0]);
        assert_eq!((t.mean(), t.total_ms()), (2.5, 10.0));
        // Squares of 1.5, 0.5, 0.5, 1.5: 5 in all, 1.25 in the mean.
        assert!((t.deviation() - 1.25_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn every_time_is_in_one_class_and_late_ones_in_the_last() {
        let mut times: Vec<Duration> = (100..300).map(Duration::from_millis).collect();
        times.push(Duration::from_secs(9));
        let bins = Sorted::new(times).histogram(10);
        assert_eq!(bins.iter().map(|b| b.count).sum::<usize>(), 201);
        assert_eq!(bins.len(), 11);
        // The 99th percentile of 201 times is the 199th: 298 ms; one time of 299 ms and that of 9 s are above.
        assert_eq!((bins[10].count, bins[10].to_ms), (2, 9000.0));
        let same = Sorted::new(vec![Duration::from_millis(5); 3]).histogram(10);
        assert_eq!(same, [Bin { from_ms: 5.0, to_ms: 5.0, count: 3 }]);
    }
}
