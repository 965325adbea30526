//! Outputs as hashes, inputs out of integers: what has to be the same on every processor.

use cygnet::format::Array;
use cygnet::format::program::{DType, Tensor};
use cygnet::{Session, TensorRef};
use sha2::{Digest, Sha256};

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A multiple of 2^-7 in [-1, 1): exact in every floating-point type.
    pub fn signed(&mut self) -> f32 {
        (self.draw() >> 56) as f32 / 128.0 - 1.0
    }
}

/// Values for an input of 32-bit floating-point numbers, the same on every machine.
pub fn noise(name: &str, t: &Tensor, seed: u64) -> Array {
    assert_eq!(t.dtype, DType::F32, "input '{name}'");
    let mut random = SplitMix(seed);
    let bytes = (0..t.elements()).flat_map(|_| random.signed().to_le_bytes()).collect();
    Array { name: name.to_owned(), dtype: t.dtype, dims: t.dims.clone(), bytes }
}

/// Noise for every input of a session.
pub fn noises(session: &Session, seed: u64) -> Vec<Array> {
    session.inputs().zip(seed..).map(|((name, t), seed)| noise(name, t, seed)).collect()
}

/// Sets the inputs.
pub fn set(session: &mut Session, inputs: &[Array]) -> Result<(), cygnet::Error> {
    for a in inputs {
        session.set_input(&a.name, TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims))?;
    }
    Ok(())
}

/// Runs a session; the name and hash of each output's bytes.
pub fn hashes(session: &mut Session, inputs: &[Array]) -> Result<Vec<(String, String)>, cygnet::Error> {
    set(session, inputs)?;
    session.run()?;
    let names: Vec<String> = session.outputs().map(|(name, _)| name.to_owned()).collect();
    names.into_iter().map(|name| session.output(&name).map(|out| (name.clone(), sha256(out.bytes)))).collect()
}
