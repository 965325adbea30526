//! What values each tensor takes: running the float model over samples, in constant memory.

use cygnet::format::Array;
use cygnet::{Model, Session, SessionOptions, TensorRef};

use crate::ranges::Range;

/// How ranges follow from the values seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Calibrator {
    /// From the least value to the greatest.
    MinMax,
    /// This share of the values, in percent, lies inside; the rest, split between both ends, saturates.
    Percentile(f64),
}

/// Where samples come from, one after another.
pub trait Samples {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The arrays of sample `i`, under the names of the model's inputs.
    ///
    /// # Errors
    /// What is wrong with the sample, naming its file.
    fn get(&mut self, i: usize) -> Result<Vec<Array>, String>;
}

/// Why calibration stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CalibrateError {
    #[error("there are no samples; give photos or arrays like those the model will meet")]
    Empty,
    #[error("sample {index}: {what}")]
    Sample { index: usize, what: String },
    #[error("sample {index}: {source}")]
    Run { index: usize, source: cygnet::Error },
    #[error("sample {index}: tensor '{tensor}' holds NaN or infinity; the model or the sample is not usable")]
    NonFinite { index: usize, tensor: String },
    #[error(transparent)]
    Session(#[from] cygnet::Error),
}

const HALF: usize = 1024;

/// What is known of one tensor's values: their ends, and a histogram over [-reach, reach] whose reach doubles as larger
/// values come, neighbours merging. 16 KiB whatever the number of values.
#[derive(Clone, Debug)]
struct Seen {
    range: Option<Range>,
    reach: f32,
    counts: Vec<u64>,
}

impl Seen {
    fn new() -> Self {
        Self { range: None, reach: 0.0, counts: vec![0; 2 * HALF] }
    }

    /// Takes in values; false when one is not finite.
    fn add(&mut self, values: &[f32]) -> bool {
        let Some(range) = Range::of(values) else { return true };
        if !values.iter().all(|v| v.is_finite()) {
            return false;
        }
        self.range = Some(self.range.map_or(range, |r| r.union(range)));
        let greatest = range.max.max(-range.min);
        if self.reach == 0.0 && greatest > 0.0 {
            // A power of two, so that doubling keeps bins aligned and shards merge exactly.
            self.reach = greatest.log2().ceil().exp2();
        }
        while self.reach > 0.0 && greatest > self.reach {
            self.widen();
        }
        let per_unit = if self.reach > 0.0 { HALF as f32 / self.reach } else { 0.0 };
        for v in values {
            let bin = (v * per_unit).floor() as i32 + HALF as i32;
            self.counts[bin.clamp(0, 2 * HALF as i32 - 1) as usize] += 1;
        }
        true
    }

    /// Twice the reach: each pair of bins becomes one.
    fn widen(&mut self) {
        let merged: Vec<u64> = self.counts.as_chunks::<2>().0.iter().map(|[a, b]| a + b).collect();
        self.counts.fill(0);
        self.counts[HALF / 2..HALF / 2 + HALF].copy_from_slice(&merged);
        self.reach *= 2.0;
    }

    fn range(&self, calibrator: Calibrator) -> Option<Range> {
        let whole = self.range?;
        let Calibrator::Percentile(percent) = calibrator else { return Some(whole) };
        let total: u64 = self.counts.iter().sum();
        let outside = (total as f64 * (1.0 - percent / 100.0) / 2.0) as u64;
        // The first bin, in the order given, before which no more than that lies.
        let edge = |mut bins: Box<dyn Iterator<Item = usize> + '_>| {
            let mut passed = 0;
            bins.find(|&bin| {
                passed += self.counts[bin];
                passed > outside
            })
        };
        let width = self.reach / HALF as f32;
        let low = edge(Box::new(0..2 * HALF))?;
        let high = edge(Box::new((0..2 * HALF).rev()))?;
        Some(Range {
            min: whole.min.max((low as f32 - HALF as f32) * width),
            max: whole.max.min((high as f32 + 1.0 - HALF as f32) * width),
        })
    }
}

/// Runs `model`, whose program keeps all tensors, over the samples. `watched` lists program tensors; the result holds the
/// range of each. `advance` is called after every sample.
///
/// # Errors
/// Names the sample and what is wrong with it.
pub fn calibrate(
    model: &Model,
    watched: &[u32],
    samples: &mut dyn Samples,
    calibrator: Calibrator,
    advance: &mut dyn FnMut(),
) -> Result<Vec<Option<Range>>, CalibrateError> {
    if samples.is_empty() {
        return Err(CalibrateError::Empty);
    }
    let mut session = Session::new(model, &SessionOptions::default())?;
    let mut seen = vec![Seen::new(); watched.len()];
    for index in 0..samples.len() {
        let arrays = samples.get(index).map_err(|what| CalibrateError::Sample { index, what })?;
        let run = |source| CalibrateError::Run { index, source };
        for a in &arrays {
            session.set_input(&a.name, TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims)).map_err(run)?;
        }
        session.run().map_err(run)?;
        for (&id, seen) in watched.iter().zip(&mut seen) {
            let values = session.tensor(id as usize).map_err(run)?.to_f32();
            if !seen.add(&values) {
                let tensor = session.program().tensors[id as usize].name.clone();
                return Err(CalibrateError::NonFinite { index, tensor });
            }
        }
        advance();
    }
    Ok(seen.iter().map(|s| s.range(calibrator)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_max_is_exact_over_several_batches() {
        let mut s = Seen::new();
        assert!(s.add(&[0.5, -0.25]) && s.add(&[7.0]) && s.add(&[-100.0]));
        assert_eq!(s.range(Calibrator::MinMax), Some(Range { min: -100.0, max: 7.0 }));
        assert_eq!(s.counts.iter().sum::<u64>(), 4);
    }

    #[test]
    fn a_percentile_leaves_outliers_out() {
        let mut s = Seen::new();
        let values: Vec<f32> = (0..10_000).map(|i| i as f32 / 10_000.0).collect();
        assert!(s.add(&values) && s.add(&[1000.0]));
        let r = s.range(Calibrator::Percentile(99.9)).unwrap();
        // Bins are 1 wide after the outlier has widened the reach to 1024.
        assert_eq!((r.min, r.max), (0.0, 1.0));
    }

    #[test]
    fn what_is_not_finite_is_noticed() {
        assert!(!Seen::new().add(&[1.0, f32::NAN]));
        assert!(!Seen::new().add(&[f32::INFINITY]));
    }
}
