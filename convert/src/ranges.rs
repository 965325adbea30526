//! What calibration has seen of each tensor, and the quantization that follows.

use cygnet_format::program::Quant;

/// The least and greatest value that a tensor is taken to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Least value.
    pub min: f32,
    /// Greatest value.
    pub max: f32,
}

impl Range {
    /// The smallest range that holds both.
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// From the least to the greatest of some values; `None` for none.
    pub fn of(values: &[f32]) -> Option<Self> {
        let first = *values.first()?;
        Some(
            values
                .iter()
                .fold(Self { min: first, max: first }, |r, &v| Self { min: r.min.min(v), max: r.max.max(v) }),
        )
    }

    /// Asymmetric s8 quantization: zero is represented exactly, as padding and zero points need.
    ///
    /// scale = (max - min) / 255, zero point = -128 - min / scale, rounded and inside [-128, 127].
    pub fn quant(self) -> Quant {
        let (min, max) = (f64::from(self.min.min(0.0)), f64::from(self.max.max(0.0)));
        let scale = ((max - min) / 255.0) as f32;
        if scale < f32::MIN_POSITIVE || !scale.is_finite() {
            return Quant { scale: 1.0, zero_point: 0 };
        }
        let zero_point = (-128.0 - min / f64::from(scale)).round_ties_even().clamp(-128.0, 127.0) as i32;
        Quant { scale, zero_point }
    }
}

/// `real` as a quantized value, before saturation: `round(real / scale) + zero_point`.
pub fn quantized(real: f32, quant: Quant) -> f32 {
    (real / quant.scale).round_ties_even() + quant.zero_point as f32
}

/// `real` as a quantized s8 value.
pub fn quantize(real: f32, quant: Quant) -> i8 {
    quantized(real, quant).clamp(-128.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_the_ends_are_reached() {
        let range = Range { min: -1.0, max: 3.0 };
        let q = range.quant();
        assert_eq!(quantize(0.0, q), q.zero_point as i8);
        assert_eq!(quantize(-1.0, q), -128);
        assert_eq!(quantize(3.0, q), 127);
    }

    #[test]
    fn a_positive_range_starts_at_zero() {
        assert_eq!(Range { min: 2.0, max: 5.1 }.quant(), Quant { scale: 0.02, zero_point: -128 });
    }
}
