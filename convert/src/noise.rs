//! Pseudo-random inputs, for models that come without samples: the same on every machine.

use cygnet::format::Array;
use cygnet::format::program::{DType, Tensor};
use half::f16;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A multiple of 2^-8 in [0, 1): few distinct values, so that files compress.
    fn unit(&mut self) -> f32 {
        (self.next() >> 56) as f32 / 256.0
    }
}

/// An array for an input: numbers in [0, 1) for real ones, 0 and 1 for integers.
pub fn array(name: &str, t: &Tensor) -> Array {
    let mut random = SplitMix(name.bytes().fold(0, |h, b| h * 31 + u64::from(b)));
    let mut bytes = Vec::with_capacity(t.elements() as usize * t.dtype.size());
    for _ in 0..t.elements() {
        let v = random.unit();
        match t.dtype {
            DType::F32 => bytes.extend(v.to_le_bytes()),
            DType::F16 => bytes.extend(f16::from_f32(v).to_le_bytes()),
            _ => {
                bytes.push(u8::from(v >= 0.5));
                bytes.resize(bytes.len() + t.dtype.size() - 1, 0);
            }
        }
    }
    Array { name: name.to_owned(), dtype: t.dtype, dims: t.dims.clone(), bytes }
}
