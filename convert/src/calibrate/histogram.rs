//! Counts of values by magnitude and sign, in constant memory.

/// Counts over bins of equal width from -reach to reach, the reach being the least power of two above all magnitudes: it
/// doubles as larger values come, neighbouring bins merging.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The reach is 2^exponent; `None` while all values are zero.
    pub(super) exponent: Option<i32>,
    pub(super) counts: Vec<u64>,
}

/// The least e with |value| < 2^e, for a finite value other than zero.
fn exponent_above(value: f32) -> i32 {
    // Exact in f64, where no f32 is denormal.
    let bits = f64::from(value).to_bits();
    ((bits >> 52) & 0x7ff) as i32 - 1023 + 1
}

impl Histogram {
    /// Of nothing yet, in so many bins on each side of zero.
    pub fn new(half: usize) -> Self {
        Self { exponent: None, counts: vec![0; 2 * half] }
    }

    fn half(&self) -> usize {
        self.counts.len() / 2
    }

    /// Takes in finite values of which `greatest` is the greatest magnitude.
    pub fn add(&mut self, values: &[f32], greatest: f32) {
        if greatest > 0.0 {
            self.widen(exponent_above(greatest));
        }
        let half = self.half();
        let per_unit = self.exponent.map_or(0.0, |e| half as f64 * f64::from(-e).exp2());
        for &v in values {
            // Below the half in magnitude, since |v| < reach, and exact: the factor is a power of two.
            let bin = (f64::from(v) * per_unit).floor() as i32 + half as i32;
            self.counts[bin as usize] += 1;
        }
    }

    /// Widens to a reach of at least 2^exponent: each pair of bins becomes one.
    fn widen(&mut self, exponent: i32) {
        let half = self.half();
        let Some(mut at) = self.exponent else {
            // All values were zero: they are in the bin that begins at zero, whatever the reach.
            self.exponent = Some(exponent);
            return;
        };
        while at < exponent {
            let merged: Vec<u64> = self.counts.as_chunks::<2>().0.iter().map(|[a, b]| a + b).collect();
            self.counts.fill(0);
            self.counts[half / 2..half / 2 + half].copy_from_slice(&merged);
            at += 1;
        }
        self.exponent = Some(at);
    }

    /// Takes in another one of as many bins.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        let exponent = self.exponent.max(other.exponent);
        for side in [&mut *self, &mut other] {
            if let Some(e) = exponent {
                side.widen(e);
            }
        }
        for (count, o) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*o);
        }
    }

    /// Where it ends; 0 while all values are zero.
    pub fn reach(&self) -> f64 {
        self.exponent.map_or(0.0, |e| f64::from(e).exp2())
    }

    /// The number of values in each bin.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The width of a bin.
    pub fn width(&self) -> f64 {
        self.reach() / self.half() as f64
    }

    /// Where a bin begins.
    pub fn edge(&self, bin: usize) -> f64 {
        (bin as f64 - self.half() as f64) * self.width()
    }

    /// The middle of each bin that is not empty, and its count.
    pub fn middles(&self) -> impl Iterator<Item = (f64, u64)> {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bin, &count)| (self.edge(bin) + self.width() / 2.0, count))
    }
}
