//! How far the outputs of a model in fewer bits lie from those of the float model, in units of what is accepted.

use cygnet::format::Array;
use cygnet::{DType, TensorRef};

/// How errors of single samples make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The greatest counts.
    Worst,
    /// The root of the mean square counts, and half of the greatest.
    Rms,
}

/// One unseen sample in so many may err by more than is accepted where the greatest error counts.
const ONE_IN: f64 = 25.0;

impl Pool {
    /// One error of many; 0 for none.
    pub fn of(self, errors: &[f64]) -> f64 {
        let worst = errors.iter().copied().fold(0.0, f64::max);
        match self {
            Self::Worst => worst,
            Self::Rms => {
                let squares = errors.iter().map(|e| e * e).sum::<f64>();
                (squares / errors.len().max(1) as f64).sqrt().max(worst / 2.0)
            }
        }
    }

    /// The error that these let expect of other samples. Where the greatest counts, the tail of errors is taken to fall
    /// off exponentially, by the mean excess of the upper half over the median, and followed to where one sample in
    /// twenty-five goes beyond: fewer samples have shown less of it. Samples without any error, as pictures in which
    /// nothing is found, show none.
    pub fn expected(self, errors: &[f64]) -> f64 {
        let known = self.of(errors);
        let mut sorted: Vec<f64> = errors.iter().copied().filter(|e| *e > 0.0).collect();
        if self == Self::Rms || sorted.is_empty() {
            return known;
        }
        sorted.sort_by(f64::total_cmp);
        let upper = &sorted[sorted.len() / 2..];
        let median = sorted[(sorted.len() - 1) / 2];
        let excess = upper.iter().map(|e| e - median).sum::<f64>() / upper.len() as f64;
        known + excess * (ONE_IN / sorted.len() as f64).ln().max(0.0)
    }
}

/// Compares the outputs of two models for one sample.
pub trait Judge {
    /// What is compared, and how much of a difference is accepted: for people, after "error:".
    fn measure(&self) -> String;

    /// How errors of samples make one.
    fn pool(&self) -> Pool;

    /// Whether a sample for which the float model gives these outputs says much: a picture in which nothing is found does not.
    fn tells(&self, _float: &[Array]) -> bool {
        true
    }

    /// 0 when `low` says the same as `float`, 1 when it differs by as much as is accepted. Both hold the same outputs in
    /// the same order.
    ///
    /// # Errors
    /// What is wrong with the outputs.
    fn error(&self, float: &[Array], low: &[Array]) -> Result<f64, String>;
}

/// For outputs of which nothing is known: see [`Outputs::error`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Outputs;

/// Signal to noise of real outputs that is accepted, in dB: coordinates in a square then err by about one hundredth of
/// its side.
const ACCEPTED_DB: f64 = 30.0;

/// Total variation distance of probabilities that is accepted.
const ACCEPTED_VARIATION: f64 = 0.1;

/// 1 - cosine that is accepted of vectors of length 1.
const ACCEPTED_TURN: f64 = 0.005;

impl Judge for Outputs {
    fn measure(&self) -> String {
        format!(
            "outputs within {ACCEPTED_DB} dB of noise, probabilities within {ACCEPTED_VARIATION} of total variation"
        )
    }

    fn pool(&self) -> Pool {
        Pool::Rms
    }

    /// The greatest error of any output. Rows of the last dimension that are probabilities (none negative, sum 1) differ by
    /// their mean total variation distance, half the sum of differences; rows of length 1 by the mean of 1 - cosine;
    /// other real numbers by the power of the noise over that of the signal around its mean; integers by the share that
    /// is not equal.
    fn error(&self, float: &[Array], low: &[Array]) -> Result<f64, String> {
        let mut worst = 0.0_f64;
        for (a, b) in float.iter().zip(low) {
            if a.dims != b.dims {
                return Err(format!("output '{}' has another shape", a.name));
            }
            let (x, y) = (values(a), values(b));
            let last = a.dims.last().map_or(1, |&d| d as usize).max(1);
            let error = if !matches!(a.dtype, DType::F32 | DType::F16) {
                let unequal = x.iter().zip(&y).filter(|(p, q)| p != q).count();
                unequal as f64 / x.len().max(1) as f64 / 0.01
            } else if last > 1 && rows_are(&x, last, &probabilities) {
                mean(&x, &y, last, &total_variation) / ACCEPTED_VARIATION
            } else if last > 1 && rows_are(&x, last, &unit) {
                (mean(&x, &y, last, &|p, q| 1.0 - cosine(p, q)) / ACCEPTED_TURN).max(0.0).sqrt()
            } else {
                (noise(&x, &y) / 10.0_f64.powf(-ACCEPTED_DB / 10.0)).sqrt()
            };
            worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
        }
        Ok(worst)
    }
}

/// The real numbers of an array.
pub fn values(a: &Array) -> Vec<f32> {
    TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims).to_f32()
}

/// Whether an array's rows of the last dimension are probabilities of several classes.
pub fn is_distribution(a: &Array) -> bool {
    let last = a.dims.last().map_or(1, |&d| d as usize);
    last > 1 && matches!(a.dtype, DType::F32 | DType::F16) && rows_are(&values(a), last, &probabilities)
}

fn rows_are(x: &[f32], last: usize, test: &dyn Fn(&[f32]) -> bool) -> bool {
    !x.is_empty() && x.chunks(last).all(test)
}

fn probabilities(row: &[f32]) -> bool {
    row.iter().all(|&v| v >= 0.0) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3
}

fn unit(row: &[f32]) -> bool {
    (row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-3
}

fn mean(x: &[f32], y: &[f32], last: usize, of: &dyn Fn(&[f32], &[f32]) -> f64) -> f64 {
    let rows = x.chunks(last).zip(y.chunks(last));
    rows.map(|(p, q)| of(p, q)).sum::<f64>() / (x.len() / last) as f64
}

/// Half the sum of absolute differences.
pub fn total_variation(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / 2.0
}

/// Scalar product over the product of lengths; 1 for two zeros, 0 for one.
pub fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let dot = |p: &[f32], q: &[f32]| p.iter().zip(q).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let (xx, yy) = (dot(x, x), dot(y, y));
    match (xx > 0.0, yy > 0.0) {
        (true, true) => dot(x, y) / (xx * yy).sqrt(),
        (false, false) => 1.0,
        _ => 0.0,
    }
}

/// Power of `y - x` over the power of x around its mean; of a constant x over its square, and over 1 where x is 0.
pub fn noise(x: &[f32], y: &[f32]) -> f64 {
    if x.is_empty() {
        return 0.0;
    }
    let n = x.len() as f64;
    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let signal = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    let error = x.iter().zip(y).map(|(&a, &b)| (f64::from(b) - f64::from(a)).powi(2)).sum::<f64>() / n;
    let floor = mean * mean * 1e-12;
    error
        / if signal > floor {
            signal
        } else if mean != 0.0 {
            mean * mean
        } else {
            1.0
        }
}

/// Signal to noise in dB of a ratio of noise to signal; infinite without noise.
pub fn decibels(noise: f64) -> f64 {
    -10.0 * noise.log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dims: &[u32], v: &[f32]) -> Vec<Array> {
        let bytes = v.iter().flat_map(|x| x.to_le_bytes()).collect();
        vec![Array { name: "y".into(), dtype: DType::F32, dims: dims.to_vec(), bytes }]
    }

    fn error(dims: &[u32], x: &[f32], y: &[f32]) -> f64 {
        Outputs.error(&array(dims, x), &array(dims, y)).unwrap()
    }

    #[test]
    fn noise_is_relative_to_the_spread() {
        // Spread of 0, 2 around 1 is 1; errors of 0.1 have power 0.01: 20 dB.
        let n = noise(&[0.0, 2.0], &[0.1, 2.1]);
        assert!((n - 0.01).abs() < 1e-8 && (decibels(n) - 20.0).abs() < 1e-5);
        // The same of a constant is relative to it.
        assert!((noise(&[2.0, 2.0], &[2.2, 2.2]) - 0.01).abs() < 1e-8);
        assert_eq!(decibels(noise(&[1.0, 2.0], &[1.0, 2.0])), f64::INFINITY);
    }

    #[test]
    fn kinds_of_outputs() {
        // Total variation (0.1 + 0.1) / 2 = 0.1.
        assert!((error(&[1, 2], &[0.3, 0.7], &[0.4, 0.6]) - 1.0).abs() < 1e-5);
        // cos = 0.8: 0.2 / 0.005 = 40. (Were the zero positive, these would be probabilities.)
        assert!((error(&[1, 2], &[1.0, -1e-9], &[0.8, 0.6]) - 40.0_f64.sqrt()).abs() < 1e-3);
        // 20 dB where 30 are accepted: ten times the power.
        assert!((error(&[2], &[0.0, 20.0], &[1.0, 21.0]) - 10.0_f64.sqrt()).abs() < 1e-4);
        assert_eq!(error(&[2], &[0.0, 2.0], &[f32::NAN, 2.0]), f64::INFINITY);
    }

    #[test]
    fn pools() {
        assert_eq!(Pool::Worst.of(&[1.0, 3.0]), 3.0);
        assert_eq!(Pool::Rms.of(&[1.0, 7.0]), 5.0);
        // The worst of four counts half: the root of the mean square is 4.
        assert_eq!(Pool::Rms.of(&[0.0, 0.0, 0.0, 8.0]), 4.0);
        assert_eq!(Pool::Rms.of(&[0.0, 0.0, 0.0, 0.0, 0.0, 10.0]), 5.0);
        assert_eq!(Pool::Rms.of(&[]), 0.0);
    }

    #[test]
    fn what_few_samples_have_not_shown() {
        assert_eq!(Pool::Worst.expected(&[]), 0.0);
        // One sample, or samples that are alike, show no tail.
        assert_eq!(Pool::Worst.expected(&[3.0]), 3.0);
        assert_eq!(Pool::Worst.expected(&[2.0; 5]), 2.0);
        // The median is 2, the upper half's mean excess over it (0 + 1 + 2) / 3, of five samples.
        let five = [4.0, 1.0, 0.0, 3.0, 2.0, 1.0];
        assert!((Pool::Worst.expected(&five) - (4.0 + 5.0_f64.ln())).abs() < 1e-12);
        // Many show it themselves.
        let many: Vec<f64> = (1..26).map(f64::from).collect();
        assert_eq!(Pool::Worst.expected(&many), 25.0);
        assert_eq!(Pool::Rms.expected(&five), Pool::Rms.of(&five));
    }
}
