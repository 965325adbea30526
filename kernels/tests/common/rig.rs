//! Operands as a test writes them down, and a step over them on every instruction set.

#![allow(dead_code)]

use cygnet_format::op::Op;
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::{Cpu, PrepareError};

use super::guard::Case;

/// A tensor of a dense array: dimensions, pitch and the elements' bytes, row-major.
#[derive(Clone, Debug)]
pub struct Operand {
    pub dtype: DType,
    pub dims: Vec<u32>,
    pub pitch: u32,
    pub quant: Option<Quant>,
    /// Whether it is a constant.
    pub constant: bool,
    pub bytes: Vec<u8>,
}

impl Operand {
    pub fn new(dtype: DType, dims: &[usize], bytes: Vec<u8>) -> Self {
        let dims: Vec<u32> = dims.iter().map(|&d| d as u32).collect();
        let pitch = dims.last().copied().unwrap_or(1);
        Self { dtype, dims, pitch, quant: None, constant: false, bytes }
    }

    /// An output: no elements yet.
    pub fn output(dtype: DType, dims: &[usize]) -> Self {
        Self::new(dtype, dims, Vec::new())
    }

    pub fn f32s(dims: &[usize], v: &[f32]) -> Self {
        Self::new(DType::F32, dims, v.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub fn s32s(dims: &[usize], v: &[i32]) -> Self {
        Self::new(DType::S32, dims, v.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub fn constant(mut self) -> Self {
        self.constant = true;
        self
    }

    /// `gap` more elements between rows.
    pub fn gap(mut self, gap: usize) -> Self {
        self.pitch += gap as u32;
        self
    }

    pub fn quant(mut self, scale: f32, zero_point: i32) -> Self {
        self.quant = Some(Quant { scale, zero_point });
        self
    }
}

/// Runs `op` on every instruction set, between guard pages and with helpers (see [`Case::run`]), and gives the
/// output's elements: the same for all.
pub fn run(op: Op, inputs: &[Operand], output: &Operand) -> Result<Vec<u8>, PrepareError> {
    let case = case(op, inputs, output);
    for (_, cpu) in Cpu::runnable() {
        case.prepared(cpu)?;
    }
    let mut results = case.run();
    let (isa, name, first) = results.swap_remove(0);
    for (other, other_name, bytes) in results {
        assert!(bytes == first, "{other_name} on {other} differs from {name} on {isa}");
    }
    Ok(first)
}

fn case(op: Op, inputs: &[Operand], output: &Operand) -> Case {
    let dims = |o: &Operand| o.dims.iter().map(|&d| d as usize).collect::<Vec<_>>();
    let case = Case::new(op, output.dtype, &dims(output), output.pitch as usize, output.quant);
    inputs.iter().fold(case, |case, o| {
        if o.constant {
            case.constant(o.dtype, &dims(o), o.bytes.clone())
        } else {
            case.input(o.dtype, &dims(o), o.pitch as usize, o.quant, o.bytes.clone())
        }
    })
}

/// Deterministic numbers.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// Finite f32 in [-8, 8), both zeros among them.
    pub fn f32s(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| match self.next() % 16 {
                0 => 0.0,
                1 => -0.0,
                _ => (self.next() % (1 << 24)) as f32 / (1 << 20) as f32 - 8.0,
            })
            .collect()
    }
}
