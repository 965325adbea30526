//! The proof that a program stays inside its memory and reads nothing that was not written.
//!
//! Time is linear in tensors and steps but for one sort of the tensors and one search in an ordered map per
//! operand. What a step asks of the shapes of its operands is proved where the step is prepared.

use crate::layout::WEIGHTS_TENSOR_ALIGN;
use crate::program::{ARENA_ALIGN, DType, MAX_RANK, Port, Program, READ_SLACK, Storage, Tensor, TensorId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Part of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The program as a whole.
    Program,
    /// A tensor, by its position.
    Tensor(usize),
    /// A step, by its position.
    Step(usize),
    /// An input, by its position.
    Input(usize),
    /// An output, by its position.
    Output(usize),
    /// A state, by its position.
    State(usize),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => write!(f, "program"),
            Self::Tensor(i) => write!(f, "tensor {i}"),
            Self::Step(i) => write!(f, "step {i}"),
            Self::Input(i) => write!(f, "input {i}"),
            Self::Output(i) => write!(f, "output {i}"),
            Self::State(i) => write!(f, "state {i}"),
        }
    }
}

/// Why a program was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{item} '{name}': {problem}")]
pub struct ProgramError {
    /// The part that breaks a rule.
    pub item: Item,
    /// Its name.
    pub name: String,
    /// The rule.
    pub problem: Problem,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Problem {
    #[error(
        "the arena is declared with {bytes} bytes, fewer than the {lower_bound} that some step needs alive"
    )]
    LowerBound { bytes: u64, lower_bound: u64 },
    #[error("an arena of {bytes} bytes is larger than any machine's memory")]
    ArenaSize { bytes: u64 },
    #[error("it has {rank} dimensions, {MAX_RANK} at most are possible")]
    Rank { rank: usize },
    #[error("dimensions {dims:?} contain a zero")]
    ZeroDim { dims: Vec<u32> },
    #[error("pitch {pitch} is less than the last dimension {cols}")]
    Pitch { pitch: u32, cols: u64 },
    #[error("the size of {dims:?} with pitch {pitch} overflows 64 bits")]
    Overflow { dims: Vec<u32>, pitch: u32 },
    #[error("bytes {offset}..{end} and {READ_SLACK} more are not inside the {} of {available} bytes", storage_name(*storage))]
    OutOfBounds { storage: Storage, offset: u64, end: u64, available: u64 },
    #[error("offset {offset} in the {} is no multiple of {alignment}", storage_name(*storage))]
    Alignment { storage: Storage, offset: u64, alignment: u64 },
    #[error(
        "offset {offset} in the arena is no multiple of {ARENA_ALIGN}, and the tensor lies inside no other one whose offset is"
    )]
    NotPlaced { offset: u64 },
    #[error("packed bytes belong in the weights, not in the arena")]
    PackedInArena,
    #[error("a tensor of type {} cannot be quantized", .dtype.name())]
    QuantType { dtype: DType },
    #[error("scale {scale} is not finite and above zero")]
    Scale { scale: f32 },
    #[error("zero point {zero_point} is outside {min}..={max}, the values of {}", .dtype.name())]
    ZeroPoint { dtype: DType, zero_point: i32, min: i32, max: i32 },
    #[error("operation '{op}' has {got} inputs, needs {min} to {max}")]
    Arity { op: &'static str, got: usize, min: usize, max: usize },
    #[error("input {input} of operation '{op}' is missing and not optional")]
    Missing { op: &'static str, input: usize },
    #[error("a parameter of operation '{op}' is outside its range")]
    Parameter { op: &'static str },
    #[error("tensor {tensor} is named where there are {count}")]
    NoTensor { tensor: TensorId, count: usize },
    #[error("tensor {tensor} is written but lies in the weights")]
    WritesWeights { tensor: TensorId },
    #[error("tensor {tensor} is read, but no earlier step and no input has written all of it")]
    NotWritten { tensor: TensorId },
    #[error("tensor {tensor} lies in the weights; an input, output or state lies in the arena")]
    PortStorage { tensor: TensorId },
    #[error("tensor {tensor} has pitch {pitch}; an input, output or state is dense, with pitch {cols}")]
    PortPitch { tensor: TensorId, pitch: u32, cols: u64 },
    #[error("the name is empty")]
    PortName,
    #[error("the name is that of an earlier one")]
    PortTwice,
    #[error(
        "tensor {tensor} is not what the state holds at first: dense in the weights, of the state's type, scale and \
         dimensions"
    )]
    StateInitial { tensor: TensorId },
    #[error("tensor {tensor} lies where an input or an earlier state does")]
    StateOverlaps { tensor: TensorId },
}

fn storage_name(storage: Storage) -> &'static str {
    match storage {
        Storage::Arena => "arena",
        Storage::Weights => "weights",
    }
}

impl Program {
    /// Proves the program over `weights_bytes` bytes of weights: every tensor inside its storage, aligned and
    /// free of overflow; every operand present and of the right number; every byte read written before.
    pub fn check(&self, weights_bytes: u64) -> Result<(), ProgramError> {
        let whole = |problem| ProgramError { item: Item::Program, name: self.name.clone(), problem };
        if self.arena_bytes > isize::MAX.unsigned_abs() as u64 {
            return Err(whole(Problem::ArenaSize { bytes: self.arena_bytes }));
        }
        if self.arena_lower_bound > self.arena_bytes {
            let (bytes, lower_bound) = (self.arena_bytes, self.arena_lower_bound);
            return Err(whole(Problem::LowerBound { bytes, lower_bound }));
        }
        for (i, tensor) in self.tensors.iter().enumerate() {
            let available = match tensor.storage {
                Storage::Arena => self.arena_bytes,
                Storage::Weights => weights_bytes,
            };
            check_tensor(tensor, available).map_err(|problem| ProgramError {
                item: Item::Tensor(i),
                name: tensor.name.clone(),
                problem,
            })?;
        }
        self.check_placed()?;
        self.check_ports(&self.inputs, Item::Input)?;
        self.check_ports(&self.outputs, Item::Output)?;
        self.check_states()?;
        self.check_steps()
    }

    /// A tensor off the arena's alignment lies inside one that keeps it.
    fn check_placed(&self) -> Result<(), ProgramError> {
        let mut order: Vec<usize> =
            (0..self.tensors.len()).filter(|&i| self.tensors[i].storage == Storage::Arena).collect();
        let is_aligned = |t: &Tensor| t.offset.is_multiple_of(ARENA_ALIGN as u64);
        order.sort_by_key(|&i| self.tensors[i].offset);
        let mut hull = 0; // greatest end of the aligned tensors that begin here or before
        for i in order {
            let tensor = &self.tensors[i];
            let end = tensor.offset + tensor.extent();
            if is_aligned(tensor) {
                hull = hull.max(end);
            } else if end > hull {
                let problem = Problem::NotPlaced { offset: tensor.offset };
                return Err(ProgramError { item: Item::Tensor(i), name: tensor.name.clone(), problem });
            }
        }
        Ok(())
    }

    fn check_ports(&self, ports: &[Port], item: fn(usize) -> Item) -> Result<(), ProgramError> {
        let mut names = BTreeSet::new();
        for (i, port) in ports.iter().enumerate() {
            let error = |problem| ProgramError { item: item(i), name: port.name.clone(), problem };
            let tensor = self.tensor(port.tensor).map_err(error)?;
            if port.name.is_empty() {
                return Err(error(Problem::PortName));
            }
            if !names.insert(port.name.as_str()) {
                return Err(error(Problem::PortTwice));
            }
            if tensor.storage != Storage::Arena {
                return Err(error(Problem::PortStorage { tensor: port.tensor }));
            }
            if u64::from(tensor.pitch) != tensor.cols() {
                let (pitch, cols) = (tensor.pitch, tensor.cols());
                return Err(error(Problem::PortPitch { tensor: port.tensor, pitch, cols }));
            }
        }
        Ok(())
    }

    fn check_states(&self) -> Result<(), ProgramError> {
        let ports: Vec<_> =
            self.states.iter().map(|s| Port { name: s.name.clone(), tensor: s.tensor }).collect();
        self.check_ports(&ports, Item::State)?;
        // Inputs are set between runs, states are what those leave alone.
        let mut taken = Spans::default();
        for port in &self.inputs {
            taken.add(self.tensors[port.tensor as usize].span());
        }
        for (i, state) in self.states.iter().enumerate() {
            let error = |problem| ProgramError { item: Item::State(i), name: state.name.clone(), problem };
            let tensor = &self.tensors[state.tensor as usize];
            if let Some(id) = state.initial {
                let initial = self.tensor(id).map_err(error)?;
                let dense = u64::from(initial.pitch) == initial.cols();
                let form = |t: &Tensor| (t.dtype, t.dims.clone(), t.quant);
                if initial.storage != Storage::Weights || !dense || form(initial) != form(tensor) {
                    return Err(error(Problem::StateInitial { tensor: id }));
                }
            }
            if taken.overlaps(tensor.span()) {
                return Err(error(Problem::StateOverlaps { tensor: state.tensor }));
            }
            taken.add(tensor.span());
        }
        Ok(())
    }

    fn check_steps(&self) -> Result<(), ProgramError> {
        let mut written = Spans::default();
        for port in &self.inputs {
            written.add(self.tensors[port.tensor as usize].span());
        }
        for state in &self.states {
            written.add(self.tensors[state.tensor as usize].span());
        }
        for (i, step) in self.steps.iter().enumerate() {
            let error = |problem| ProgramError { item: Item::Step(i), name: step.name.clone(), problem };
            let op = step.op.name();
            let (min, max) = step.op.arity();
            let got = step.inputs.len();
            if !(min..=max).contains(&got) {
                return Err(error(Problem::Arity { op, got, min, max }));
            }
            if !step.op.in_range() {
                return Err(error(Problem::Parameter { op }));
            }
            for (input, &operand) in step.inputs.iter().enumerate() {
                match operand {
                    Some(id) => {
                        let tensor = self.tensor(id).map_err(error)?;
                        if tensor.storage == Storage::Arena && !written.covers(tensor.span()) {
                            return Err(error(Problem::NotWritten { tensor: id }));
                        }
                    }
                    None if input < min => return Err(error(Problem::Missing { op, input })),
                    None => {}
                }
            }
            let output = self.tensor(step.output).map_err(error)?;
            if output.storage != Storage::Arena {
                return Err(error(Problem::WritesWeights { tensor: step.output }));
            }
            written.add(output.span());
        }
        for (i, port) in self.outputs.iter().enumerate() {
            if !written.covers(self.tensors[port.tensor as usize].span()) {
                let problem = Problem::NotWritten { tensor: port.tensor };
                return Err(ProgramError { item: Item::Output(i), name: port.name.clone(), problem });
            }
        }
        Ok(())
    }

    fn tensor(&self, id: TensorId) -> Result<&Tensor, Problem> {
        self.tensors.get(id as usize).ok_or(Problem::NoTensor { tensor: id, count: self.tensors.len() })
    }
}

impl Tensor {
    /// First byte and end in the storage, once checked.
    fn span(&self) -> (u64, u64) {
        (self.offset, self.offset + self.extent())
    }

    /// [`Tensor::extent`] of a tensor whose dimensions are not yet known to be sound.
    fn checked_extent(&self) -> Option<u64> {
        let rows = self.dims.iter().rev().skip(1).try_fold(1_u64, |n, &d| n.checked_mul(u64::from(d)))?;
        rows.checked_mul(self.cols())?;
        let elements = (rows - 1).checked_mul(u64::from(self.pitch))?.checked_add(self.cols())?;
        elements.checked_mul(self.dtype.size() as u64)
    }
}

fn check_tensor(tensor: &Tensor, available: u64) -> Result<(), Problem> {
    let &Tensor { dtype, storage, offset, pitch, .. } = tensor;
    if tensor.dims.len() > MAX_RANK {
        return Err(Problem::Rank { rank: tensor.dims.len() });
    }
    if tensor.dims.contains(&0) {
        return Err(Problem::ZeroDim { dims: tensor.dims.clone() });
    }
    if u64::from(pitch) < tensor.cols() {
        return Err(Problem::Pitch { pitch, cols: tensor.cols() });
    }
    let overflow = || Problem::Overflow { dims: tensor.dims.clone(), pitch };
    let end = tensor.checked_extent().and_then(|extent| offset.checked_add(extent)).ok_or_else(overflow)?;
    if end.checked_add(READ_SLACK as u64).is_none_or(|end| end > available) {
        return Err(Problem::OutOfBounds { storage, offset, end, available });
    }
    let alignment = match storage {
        Storage::Arena => dtype.size() as u64,
        Storage::Weights => WEIGHTS_TENSOR_ALIGN,
    };
    if !offset.is_multiple_of(alignment) {
        return Err(Problem::Alignment { storage, offset, alignment });
    }
    if dtype == DType::Packed && storage == Storage::Arena {
        return Err(Problem::PackedInArena);
    }
    let Some(quant) = tensor.quant else { return Ok(()) };
    if !(quant.scale.is_finite() && quant.scale > 0.0) {
        return Err(Problem::Scale { scale: quant.scale });
    }
    let (min, max) = match dtype {
        DType::S8 => (-128, 127),
        DType::U8 => (0, 255),
        DType::S16 => (-32768, 32767),
        DType::S32 => (0, 0),
        DType::F32 | DType::F16 | DType::S64 | DType::Packed => return Err(Problem::QuantType { dtype }),
    };
    let zero_point = quant.zero_point;
    if !(min..=max).contains(&zero_point) {
        return Err(Problem::ZeroPoint { dtype, zero_point, min, max });
    }
    Ok(())
}

/// A set of bytes, as disjoint spans that do not touch: start to end.
///
/// A strided tensor counts with the gaps between its rows: the parts of a concatenation that each step
/// places side by side together cover the whole.
#[derive(Default)]
struct Spans(BTreeMap<u64, u64>);

impl Spans {
    fn add(&mut self, (mut start, mut end): (u64, u64)) {
        while let Some((&s, &e)) = self.0.range(..=end).next_back().filter(|&(_, &e)| e >= start) {
            self.0.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.0.insert(start, end);
    }

    fn overlaps(&self, (start, end): (u64, u64)) -> bool {
        self.0.range(..end).next_back().is_some_and(|(_, &e)| e > start)
    }

    fn covers(&self, (start, end): (u64, u64)) -> bool {
        self.0.range(..=start).next_back().is_some_and(|(_, &e)| e >= end)
    }
}
