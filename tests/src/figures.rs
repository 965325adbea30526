//! How far two arrays lie apart.

use cygnet::format::Array;
use cygnet::format::program::DType;

/// An array's elements as real numbers.
pub fn real(a: &Array) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|&b| f(b)).collect()
    }
    match a.dtype {
        DType::F32 => each(&a.bytes, f32::from_le_bytes),
        DType::S8 => each(&a.bytes, |b| i8::from_le_bytes(b).into()),
        DType::U8 => each(&a.bytes, |[b]| b.into()),
        DType::S32 => each(&a.bytes, |b| i32::from_le_bytes(b) as f32),
        DType::S64 => each(&a.bytes, |b| i64::from_le_bytes(b) as f32),
        other => panic!("'{}' is {}", a.name, other.name()),
    }
}

/// The figures of an output against its reference.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Cosine of the angle between both as vectors; NaN when an element is.
    pub cosine: f64,
    /// Greatest difference between two elements, relative to the reference's element of greatest magnitude.
    pub relative: f64,
}

/// Compares an output with its reference.
pub fn compare(got: &[f32], want: &[f32]) -> Figures {
    assert_eq!(got.len(), want.len(), "numbers of elements");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let norm = (dot(got, got) * dot(want, want)).sqrt();
    let greatest = want.iter().fold(0.0, |m: f64, &v| m.max(f64::from(v).abs()));
    let differences = got.iter().zip(want).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    // Not `f64::max`, which passes over NaN.
    let most = differences.fold(0.0, |m: f64, d| if d <= m || m.is_nan() { m } else { d });
    Figures { cosine: dot(got, want) / norm, relative: most / greatest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_hand() {
        let f = compare(&[3.0, 4.0], &[4.0, 3.0]);
        assert_eq!((f.cosine, f.relative), (24.0 / 25.0, 0.25));
        let odd = compare(&[f32::NAN, 1.0], &[1.0, 1.0]);
        assert!(odd.cosine.is_nan() && odd.relative.is_nan());
    }
}
