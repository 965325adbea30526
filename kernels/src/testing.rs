//! Running one step in tests: operands laid out with pitches between poisoned bytes, on every instruction set.

use cygnet_format::op::Op;
use cygnet_format::program::{DType, Quant, READ_SLACK, Step, Storage, Tensor};
use half::f16;

use crate::cpu::Cpu;
use crate::view::{Mem, View};
use crate::{Arena, Limits, PrepareError, prepare};

/// A tensor's record and its elements without gaps.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) dtype: DType,
    pub(crate) dims: Vec<u32>,
    /// Elements between the ends of rows.
    pub(crate) gap: u32,
    pub(crate) quant: Option<Quant>,
    pub(crate) bytes: Vec<u8>,
}

/// A Rust type with a [`DType`].
pub(crate) trait Native: Copy {
    const DTYPE: DType;
    fn bytes(self) -> Vec<u8>;
    fn of(bytes: &[u8]) -> Self;
}

macro_rules! native {
    ($($ty:ty, $dtype:ident;)+) => {$(
        impl Native for $ty {
            const DTYPE: DType = DType::$dtype;
            fn bytes(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }
            fn of(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("an element's bytes"))
            }
        }
    )+};
}
native! { f32, F32; f16, F16; i8, S8; u8, U8; i16, S16; i32, S32; i64, S64; }

impl Operand {
    pub(crate) fn new<T: Native>(dims: &[u32], data: &[T]) -> Self {
        let len: u32 = dims.iter().product();
        assert_eq!(data.len(), len as usize);
        let bytes = data.iter().flat_map(|v| v.bytes()).collect();
        Self { dtype: T::DTYPE, dims: dims.to_vec(), gap: 0, quant: None, bytes }
    }

    /// An output's record.
    pub(crate) fn out(dtype: DType, dims: &[u32]) -> Self {
        Self { dtype, dims: dims.to_vec(), gap: 0, quant: None, bytes: Vec::new() }
    }

    pub(crate) fn gap(mut self, gap: u32) -> Self {
        self.gap = gap;
        self
    }

    pub(crate) fn quant(mut self, scale: f32, zero_point: i32) -> Self {
        self.quant = Some(Quant { scale, zero_point });
        self
    }

    fn tensor(&self, offset: u64) -> Tensor {
        Tensor {
            name: "operand".into(),
            dtype: self.dtype,
            storage: Storage::Arena,
            offset,
            dims: self.dims.clone(),
            pitch: self.dims.last().copied().unwrap_or(1) + self.gap,
            quant: self.quant,
        }
    }

    /// Calls `f` with the place of each element in a tensor and among the bytes without gaps.
    fn places(&self, t: &Tensor, mut f: impl FnMut(usize, usize)) {
        let size = self.dtype.size();
        let cols = t.cols() as usize;
        for i in 0..t.elements() as usize {
            f(t.offset as usize + (i / cols * t.pitch as usize + i % cols) * size, i * size);
        }
    }
}

/// The elements of bytes.
pub(crate) fn values<T: Native>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks(T::DTYPE.size()).map(T::of).collect()
}

/// Runs a step on `cpu`, its tiles backwards, and returns the output's bytes without gaps. Everything but the
/// output's elements holds `poison` beforehand and must hold it afterwards.
pub(crate) fn run_on(
    cpu: Cpu,
    op: Op,
    inputs: &[&Operand],
    output: &Operand,
    poison: u8,
) -> Result<Vec<u8>, PrepareError> {
    let mut at = 64;
    let mut tensors = Vec::new();
    for operand in inputs.iter().copied().chain([output]) {
        let t = operand.tensor(at);
        at = (at + t.extent() + READ_SLACK as u64).next_multiple_of(64);
        tensors.push(t);
    }
    run_placed(cpu, op, inputs, output, &tensors, at as usize, poison)
}

/// Runs a step whose output takes the place of its first input.
pub(crate) fn run_in_place(cpu: Cpu, op: Op, inputs: &[&Operand], output: &Operand) -> Vec<u8> {
    let mut at = 64;
    let mut tensors = Vec::new();
    for operand in inputs {
        let t = operand.tensor(at);
        at = (at + t.extent() + READ_SLACK as u64).next_multiple_of(64);
        tensors.push(t);
    }
    tensors.push(output.tensor(64));
    run_placed(cpu, op, inputs, output, &tensors, at as usize, 0xff).expect("works in place")
}

fn run_placed(
    cpu: Cpu,
    op: Op,
    inputs: &[&Operand],
    output: &Operand,
    tensors: &[Tensor],
    arena_bytes: usize,
    poison: u8,
) -> Result<Vec<u8>, PrepareError> {
    let step = Step {
        name: "step".into(),
        op,
        inputs: (0..inputs.len() as u32).map(Some).collect(),
        output: inputs.len() as u32,
    };
    let mut arena = Arena::new(arena_bytes).expect("memory");
    arena.bytes_mut().fill(poison);
    for (operand, t) in inputs.iter().zip(tensors) {
        operand.places(t, |to, from| {
            let size = operand.dtype.size();
            arena.bytes_mut()[to..to + size].copy_from_slice(&operand.bytes[from..from + size]);
        });
    }
    let weights = [0; READ_SLACK];
    let kernel = prepare(&step, tensors, &Limits { arena_bytes, weights: &weights }, cpu)?;
    let start = arena.bytes().to_vec();
    let mut before = start.clone();
    let mut scratch = Arena::new(kernel.scratch()).expect("memory");
    scratch.bytes_mut().fill(0xa5);
    let mem = Mem { arena: arena.as_ptr(), weights: weights.as_ptr(), scratch: scratch.as_ptr() };
    for tile in (0..kernel.tiles()).rev() {
        // SAFETY: the step was prepared against this memory, and tiles run one after another.
        unsafe { kernel.run_tile(&mem, tile) };
    }
    let t = &tensors[inputs.len()];
    let mut out = vec![0; View::new(t).len() * t.dtype.size()];
    let size = t.dtype.size();
    output.places(t, |from, to| {
        out[to..to + size].copy_from_slice(&arena.bytes()[from..from + size]);
        before[from..from + size].copy_from_slice(&arena.bytes()[from..from + size]);
    });
    assert!(before == arena.bytes(), "{} wrote outside its output", kernel.name());
    if kernel.rows() > 0 {
        // The last ones first, in groups that nothing is a multiple of.
        arena.bytes_mut().copy_from_slice(&start);
        for first in (0..kernel.rows()).step_by(3).rev() {
            // SAFETY: as above.
            unsafe { kernel.run_rows(&mem, first..kernel.rows().min(first + 3)) };
        }
        assert!(before == arena.bytes(), "{} by rows gives something else", kernel.name());
    }
    Ok(out)
}

/// Runs a step on every instruction set of this machine, and hands each result to `check` with its name.
pub(crate) fn on_every_isa<T: Native>(
    op: Op,
    inputs: &[&Operand],
    output: &Operand,
    mut check: impl FnMut(&str, Vec<T>),
) {
    for (name, cpu) in Cpu::runnable() {
        let a = run_on(cpu, op, inputs, output, 0xff).expect("prepares");
        let b = run_on(cpu, op, inputs, output, 0x3c).expect("prepares");
        assert_eq!(a, b, "{name}: bytes outside the operands matter");
        check(name, values(&a));
    }
}

/// Fails unless both have the same bits, any NaN being as good as another.
pub(crate) fn assert_same(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            g.to_bits() == w.to_bits() || g.is_nan() && w.is_nan(),
            "{what}: element {i} is {g:e}, not {w:e}"
        );
    }
}

/// Numbers that look random, the same on every machine (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// In [-1, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `n` in [-range, range), with zeros of both signs, infinities and a NaN among them when `special`.
    pub(crate) fn floats(&mut self, n: usize, range: f32, special: bool) -> Vec<f32> {
        const ODD: [f32; 6] = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40];
        (0..n)
            .map(|_| match self.bits() % 23 {
                0 if special => ODD[(self.bits() >> 20) as usize % 6],
                _ => self.unit() * range,
            })
            .collect()
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| (self.bits() >> 33) as i8).collect()
    }
}
