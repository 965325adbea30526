//! Calibrations as files, so that they can be made in parts, on several machines, and used again.
//!
//! ```text
//! "\x89CYGCAL\n" | u32 version | model: 32 bytes | settings: text | u64 samples | u64 hash ...
//! | u32 tensors | tensor ... | u32 products | product ... | SHA-256 of all before
//! tensor: name: text | f32 least | f32 greatest | u64 values | u64 zeros | u64 samples | i128 sum of least values
//!   | i128 of greatest | histogram | u32 channels | channel ...
//! histogram: i32 exponent | u32 first bin | u32 bins | u64 count ...
//! product: name text | u64 windows | u64 sums | i128 sum ...
//! channel: f32 least | f32 greatest | f32 second least | f32 second greatest, of samples' ends | i128 sum | i128 sum of squares
//! ```
//!
//! Little endian; a text is `u32` bytes and UTF-8. Equal statistics give equal files. An exponent of `i32::MIN` stands for
//! none; bins are those from the first to the last that is not empty.

use std::path::{Path, PathBuf};

use cygnet_format::save::write_atomic;
use sha2::{Digest, Sha256};

use super::histogram::Histogram;
use super::moments::Moments;
use super::stats::{Channel, HALF, Stats};
use super::{Calibration, Met, Watched};
use crate::ranges::Range;

const MAGIC: &[u8; 8] = b"\x89CYGCAL\n";
const VERSION: u32 = 3;
const NO_EXPONENT: i32 = i32::MIN;

/// Why calibrations cannot be read, written or merged.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CalibrationFileError {
    #[error("cannot read {}: {source}; check the name and that you may read it", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {what}; make it again with `cygnet calibrate`", .path.display())]
    Malformed { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Save(#[from] cygnet_format::SaveError),
    #[error("the calibrations are of different {what}; merge those that one command made with --shard")]
    Unlike { what: &'static str },
    #[error(
        "the calibrations were made with different options, '{first}' and '{second}'; make them with the same ones"
    )]
    Settings { first: String, second: String },
    #[error(
        "one calibration has seen nothing that the other has not: its samples would count twice; give each part once"
    )]
    SeenTwice,
}

struct Out(Vec<u8>);

impl Out {
    fn text(&mut self, text: &str) {
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }
}

/// What is left of a file, taken from its front; `None` where it ends too early.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i128(&mut self) -> Option<i128> {
        self.array().map(i128::from_le_bytes)
    }

    fn f32(&mut self) -> Option<f32> {
        self.array().map(f32::from_le_bytes)
    }

    /// A count of things of at least `each` bytes: no more than there can be.
    fn count(&mut self, n: u64, each: usize) -> Option<usize> {
        usize::try_from(n).ok().filter(|n| n.checked_mul(each).is_some_and(|b| b <= self.0.len()))
    }

    fn text(&mut self) -> Option<String> {
        let n = self.u32()?;
        let n = self.count(n.into(), 1)?;
        String::from_utf8(self.bytes(n)?.to_vec()).ok()
    }
}

impl Histogram {
    fn write(&self, out: &mut Out) {
        out.0.extend(self.exponent.unwrap_or(NO_EXPONENT).to_le_bytes());
        let first = self.counts.iter().position(|&c| c > 0).unwrap_or(0);
        let end = self.counts.iter().rposition(|&c| c > 0).map_or(first, |last| last + 1);
        out.0.extend([first as u32, (end - first) as u32].iter().flat_map(|v| v.to_le_bytes()));
        out.0.extend(self.counts[first..end].iter().flat_map(|v| v.to_le_bytes()));
    }

    fn read(input: &mut In<'_>) -> Option<Self> {
        let exponent = input.array().map(i32::from_le_bytes)?;
        let (first, n) = (input.u32()? as usize, input.u32()? as usize);
        let end = first.checked_add(n).filter(|&end| end <= 2 * HALF)?;
        let mut counts = vec![0; 2 * HALF];
        for count in &mut counts[first..end] {
            *count = input.u64()?;
        }
        let known = exponent == NO_EXPONENT || (-149..=128).contains(&exponent);
        known.then_some(Self { exponent: (exponent != NO_EXPONENT).then_some(exponent), counts })
    }

    /// The number of values.
    fn total(&self) -> Option<u64> {
        self.counts.iter().try_fold(0_u64, |sum, &c| sum.checked_add(c))
    }
}

impl Stats {
    fn write(&self, out: &mut Out) {
        let Range { min, max } = self.range.unwrap_or(Range { min: 0.0, max: 0.0 });
        out.0.extend([min, max].iter().flat_map(|v| v.to_le_bytes()));
        out.0.extend([self.values, self.zeros, self.samples].iter().flat_map(|v| v.to_le_bytes()));
        out.0.extend(self.ends.iter().flat_map(|v| v.to_le_bytes()));
        self.histogram.write(out);
        out.0.extend((self.channels.len() as u32).to_le_bytes());
        for c in &self.channels {
            let ends = [c.min, c.max, c.second_min, c.second_max];
            out.0.extend(ends.iter().flat_map(|v| v.to_le_bytes()));
            out.0.extend([c.sum, c.squares].iter().flat_map(|v| v.to_le_bytes()));
        }
    }

    fn read(input: &mut In<'_>) -> Option<Self> {
        let range = Range { min: input.f32()?, max: input.f32()? };
        let (values, zeros, samples) = (input.u64()?, input.u64()?, input.u64()?);
        let ends = [input.i128()?, input.i128()?];
        let histogram = Histogram::read(input)?;
        let n = input.u32()?;
        let n = input.count(n.into(), 48)?;
        let mut channels = Vec::with_capacity(n);
        for _ in 0..n {
            let (min, max) = (input.f32()?, input.f32()?);
            let (second_min, second_max) = (input.f32()?, input.f32()?);
            let (sum, squares) = (input.i128()?, input.i128()?);
            let channel = Channel { min, max, second_min, second_max, sum, squares };
            let finite = |a: f32, b: f32| a.is_finite() && b.is_finite();
            let inside = min <= max && min <= second_min && second_max <= max;
            if samples > 0
                && !(finite(min, max) && inside && (samples == 1 || finite(second_min, second_max)))
            {
                return None;
            }
            channels.push(channel);
        }
        let total = histogram.total()?;
        let finite = range.min.is_finite() && range.max.is_finite() && range.min <= range.max;
        (finite && total == values && zeros <= values && samples <= values).then_some(Self {
            range: (samples > 0).then_some(range),
            values,
            zeros,
            samples,
            ends,
            histogram,
            channels,
        })
    }
}

impl Met {
    fn read(input: &mut In<'_>) -> Option<Self> {
        let (name, windows, n) = (input.text()?, input.u64()?, input.u64()?);
        let n = input.count(n, 16)?;
        let sums = (0..n).map(|_| input.i128()).collect::<Option<_>>()?;
        Some(Self { name, moments: Moments { windows, sums } })
    }
}

impl Calibration {
    /// As a file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Out(MAGIC.to_vec());
        out.0.extend(VERSION.to_le_bytes());
        out.0.extend(self.model);
        out.text(&self.settings);
        out.0.extend((self.samples.len() as u64).to_le_bytes());
        out.0.extend(self.samples.iter().flat_map(|v| v.to_le_bytes()));
        out.0.extend((self.tensors.len() as u32).to_le_bytes());
        for t in &self.tensors {
            out.text(&t.name);
            t.stats.write(&mut out);
        }
        out.0.extend((self.products.len() as u32).to_le_bytes());
        for p in &self.products {
            out.text(&p.name);
            out.0.extend(p.moments.windows.to_le_bytes());
            out.0.extend((p.moments.sums.len() as u64).to_le_bytes());
            out.0.extend(p.moments.sums.iter().flat_map(|v| v.to_le_bytes()));
        }
        let digest = Sha256::digest(&out.0);
        out.0.extend(digest);
        out.0
    }

    /// Of a file's bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        if !bytes.starts_with(MAGIC) {
            return Err("this is no calibration file");
        }
        let body = bytes.len().checked_sub(32).filter(|&n| Sha256::digest(&bytes[..n])[..] == bytes[n..]);
        let body = body.ok_or("the file is damaged or was not written to its end")?;
        let mut input = In(&bytes[MAGIC.len()..body]);
        if input.u32() != Some(VERSION) {
            return Err("the file is of another version of this program");
        }
        Self::read(&mut input).filter(|_| input.0.is_empty()).ok_or("the file holds what no calibration does")
    }

    fn read(input: &mut In<'_>) -> Option<Self> {
        let model = input.array()?;
        let settings = input.text()?;
        let n = input.u64()?;
        let n = input.count(n, 8)?;
        let samples: Vec<u64> = (0..n).map(|_| input.u64()).collect::<Option<_>>()?;
        let n = input.u32()?;
        let n = input.count(n.into(), 80)?;
        let tensors = (0..n)
            .map(|_| Some(Watched { name: input.text()?, stats: Stats::read(input)? }))
            .collect::<Option<_>>()?;
        let n = input.u32()?;
        let n = input.count(n.into(), 20)?;
        let products = (0..n).map(|_| Met::read(input)).collect::<Option<_>>()?;
        samples.is_sorted().then_some(Self { model, settings, samples, tensors, products })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn load(path: &Path) -> Result<Self, CalibrationFileError> {
        let bytes = std::fs::read(path)
            .map_err(|source| CalibrationFileError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes)
            .map_err(|what| CalibrationFileError::Malformed { path: path.to_owned(), what })
    }

    /// Writes a file whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CalibrationFileError> {
        Ok(write_atomic(path, &[&self.to_bytes()])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Calibration {
        let mut a = Stats::new(2);
        assert!(a.add(&[1.0, -3.5, 0.0, 1e-20]));
        let tensors = vec![
            Watched { name: "a".to_owned(), stats: a },
            Watched { name: "never seen".to_owned(), stats: Stats::new(0) },
        ];
        let products =
            vec![Met { name: "p".to_owned(), moments: Moments { windows: 2, sums: vec![5, -1 << 90] } }];
        let settings = "--shape x=1x2".to_owned();
        Calibration { model: [7; 32], settings, samples: vec![3, 5, 5], tensors, products }
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let c = example();
        assert_eq!(Calibration::from_bytes(&c.to_bytes()), Ok(c));
    }

    #[test]
    fn damaged_files_are_refused() {
        let bytes = example().to_bytes();
        for n in 0..bytes.len() {
            assert!(Calibration::from_bytes(&bytes[..n]).is_err(), "{n} bytes");
            let mut other = bytes.clone();
            other[n] ^= 0x40;
            assert!(Calibration::from_bytes(&other).is_err(), "byte {n}");
        }
    }

    /// With a right checksum, so that it is the reader that has to refuse or take them.
    #[test]
    fn forged_files_do_no_harm() {
        let bytes = example().to_bytes();
        let body = bytes.len() - 32;
        for n in 0..body {
            for value in [0, 0x7f, 0xff] {
                let mut forged = bytes[..body].to_vec();
                forged[n] = value;
                let digest = Sha256::digest(&forged);
                forged.extend(digest);
                if let Ok(c) = Calibration::from_bytes(&forged) {
                    let mut sum = c.clone();
                    sum.tensors.iter_mut().zip(&c.tensors).for_each(|(a, b)| a.stats.merge(&b.stats));
                    sum.products.iter_mut().zip(&c.products).for_each(|(a, b)| a.moments.merge(&b.moments));
                }
            }
        }
    }

    #[test]
    fn only_parts_of_one_calibration_are_merged() {
        let one = example();
        let refused = |other: &Calibration| one.clone().merge(other).unwrap_err().to_string();
        assert!(refused(&one).contains("twice"));
        let other = Calibration { model: [8; 32], samples: vec![9], ..one.clone() };
        assert!(refused(&other).contains("different models"));
        let other = Calibration { settings: String::new(), samples: vec![9], ..one.clone() };
        assert!(refused(&other).contains("different options"));
        let other = Calibration { samples: vec![1, 9], ..one.clone() };
        let mut sum = one.clone();
        sum.merge(&other).unwrap();
        assert_eq!(sum.samples, [1, 3, 5, 5, 9]);
        assert_eq!(sum.tensors[0].stats.values, 8);
    }
}
