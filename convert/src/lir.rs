//! The lowered graph: steps of the closed set over tensors in their physical layout, before memory is planned.
//!
//! Dimensions here are physical: the last one is contiguous, images are `[N, H, W, C]`. Movement of data stays
//! abstract ([`Kind::Concat`], [`Kind::Slice`], ...) until the planner knows which of it costs nothing.
//! Convolution weights stay unpacked: `[M, KH, KW, C / groups]` (depthwise: `[KH, KW, C]`, transposed:
//! `[M, KH, KW, C / groups]`) in [`Const::F32`], or [`Const::S8`] and [`Const::F16`] once quantized.

use std::sync::Arc;

use cygnet_format::op::Op;
use cygnet_format::program::{DType, Quant};
use half::f16;

use crate::precision::{Memo, rounding::Block};

/// Index of a tensor in [`Lir::tensors`].
pub type Id = usize;

/// Elements of a constant, row-major.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Const {
    F32(Vec<f32>),
    F16(Vec<f16>),
    S8(Vec<i8>),
    U8(Vec<u8>),
    S32(Vec<i32>),
    S64(Vec<i64>),
    /// A kernel's own layout.
    Packed(Vec<u8>),
}

impl Const {
    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F16(_) => DType::F16,
            Self::S8(_) => DType::S8,
            Self::U8(_) => DType::U8,
            Self::S32(_) => DType::S32,
            Self::S64(_) => DType::S64,
            Self::Packed(_) => DType::Packed,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::S8(v) => v.len(),
            Self::U8(v) | Self::Packed(v) => v.len(),
            Self::S32(v) => v.len(),
            Self::S64(v) => v.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The f32 elements of a constant that is known to hold them.
    ///
    /// # Panics
    /// If it holds another type.
    pub fn f32(&self) -> &[f32] {
        match self {
            Self::F32(v) => v,
            other => panic!("a {} constant where f32 is known to be", other.dtype().name()),
        }
    }

    /// The elements as little-endian bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::S8(v) => v.iter().map(|x| x.cast_unsigned()).collect(),
            Self::U8(v) | Self::Packed(v) => v.clone(),
            Self::S32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::S64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

/// One tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Name: the source value's, or derived from it.
    pub name: String,
    /// Physical dimensions.
    pub dims: Vec<usize>,
    /// Element type.
    pub dtype: DType,
    /// Scale and zero point, once quantized.
    pub quant: Option<Quant>,
    /// The elements, for a constant.
    pub constant: Option<Arc<Const>>,
    /// What is known of its channels, for an input of a product that is to be quantized.
    pub channels: Option<Arc<Channels>>,
    /// For weights that are to be rounded adaptively, of each group of rows what is known of the inputs they meet.
    pub met: Option<Arc<Met>>,
}

/// Of each group of a product's rows, what is known of the inputs that it meets, block by block.
pub type Met = Vec<Vec<Block>>;

/// What calibration has shown of the last dimension of a tensor, and what for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Channels {
    /// Mean of each channel, when biases are to take up what rounding of weights does to it; else empty.
    pub means: Vec<f64>,
    /// Mean square of each channel, when scales of weights are to be chosen by the error that they cause; else empty.
    pub squares: Vec<f64>,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there is no element; never in a lowered graph.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A primitive operation.
    Op(Op),
    /// The same elements in the same order under other dimensions.
    View,
    /// Output dimension `i` is input dimension `order[i]`.
    Transpose(Vec<usize>),
    /// Element `i` of each dimension is the input's `start + i * step`.
    Slice {
        /// First element, per dimension.
        starts: Vec<usize>,
        /// Distance between elements, per dimension; never 0, possibly negative.
        steps: Vec<isize>,
    },
    /// The inputs one after another along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// The input in the midst of a constant.
    Pad {
        /// Elements before the input, per dimension.
        before: Vec<usize>,
        /// The constant, as a real number.
        value: f32,
    },
    /// The input repeated along dimensions where it has extent 1.
    Expand,
}

impl Kind {
    /// Whether elements only move: the output has the input's scale and zero point.
    pub fn moves(&self) -> bool {
        match self {
            Self::Op(op) => matches!(op, Op::Gather(_)),
            _ => true,
        }
    }
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Name: the source node's, or derived from it.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Inputs by position.
    pub inputs: Vec<Option<Id>>,
    /// The output.
    pub output: Id,
    /// The operators of the source model that it is there for, ascending.
    pub sources: Vec<u32>,
}

/// A tensor that persists from run to run.
#[derive(Clone, Debug)]
pub struct State {
    /// Name, for users.
    pub name: String,
    /// What a run finds; no step computes it.
    pub input: Id,
    /// What the next run finds: computed, and nothing else's port.
    pub output: Id,
    /// What the first run finds, a constant; zeros without it.
    pub initial: Option<Id>,
}

/// A lowered graph.
#[derive(Clone, Debug, Default)]
pub struct Lir {
    /// All tensors; an [`Id`] indexes this.
    pub tensors: Vec<Tensor>,
    /// Steps, each after those whose outputs it reads.
    pub steps: Vec<Step>,
    /// Inputs under their source names.
    pub inputs: Vec<(String, Id)>,
    /// Outputs under their source names.
    pub outputs: Vec<(String, Id)>,
    /// What persists from run to run.
    pub states: Vec<State>,
    /// Weights that have been quantized already.
    pub memo: Memo,
}

impl Lir {
    /// What the steps are for: the outputs, and what the next run finds in the states.
    pub fn results(&self) -> impl Iterator<Item = Id> + '_ {
        self.outputs.iter().map(|o| o.1).chain(self.states.iter().map(|s| s.output))
    }

    /// Tensors that have a place of their own: inputs, outputs, and both ends of states.
    pub fn ports(&self) -> impl Iterator<Item = Id> + '_ {
        self.inputs.iter().map(|i| i.1).chain(self.states.iter().map(|s| s.input)).chain(self.results())
    }

    /// Adds a computed tensor.
    pub fn add(&mut self, name: impl Into<String>, dims: &[usize], dtype: DType) -> Id {
        self.tensors.push(Tensor {
            name: name.into(),
            dims: dims.to_vec(),
            dtype,
            quant: None,
            constant: None,
            channels: None,
            met: None,
        });
        self.tensors.len() - 1
    }

    /// Adds a constant.
    pub fn add_const(&mut self, name: impl Into<String>, dims: &[usize], value: Const) -> Id {
        let dtype = value.dtype();
        if dtype != DType::Packed {
            assert_eq!(
                dims.iter().product::<usize>(),
                value.len(),
                "elements of a constant of dims {dims:?}"
            );
        }
        self.tensors.push(Tensor {
            name: name.into(),
            dims: dims.to_vec(),
            dtype,
            quant: None,
            constant: Some(Arc::new(value)),
            channels: None,
            met: None,
        });
        self.tensors.len() - 1
    }

    /// Adds a step.
    pub fn push(&mut self, name: impl Into<String>, kind: Kind, inputs: &[Id], output: Id) {
        let inputs = inputs.iter().map(|&id| Some(id)).collect();
        self.steps.push(Step { name: name.into(), kind, inputs, output, sources: Vec::new() });
    }

    /// Says what the steps from `first` on, as far as that is not known, are there for.
    pub fn attribute(&mut self, first: usize, sources: &[u32]) {
        for step in self.steps[first..].iter_mut().filter(|s| s.sources.is_empty()) {
            step.sources = sources.to_vec();
        }
    }

    /// For every tensor, the steps that read it.
    pub fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.tensors.len()];
        for (i, step) in self.steps.iter().enumerate() {
            for &id in step.inputs.iter().flatten() {
                if readers[id].last() != Some(&i) {
                    readers[id].push(i);
                }
            }
        }
        readers
    }

    /// For every tensor, the step that computes it.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.tensors.len()];
        for (i, step) in self.steps.iter().enumerate() {
            producers[step.output] = Some(i);
        }
        producers
    }

    /// Drops steps whose results nobody uses.
    pub fn drop_dead(&mut self) {
        let mut live = vec![false; self.tensors.len()];
        self.results().for_each(|id| live[id] = true);
        let mut keep = vec![false; self.steps.len()];
        for (i, step) in self.steps.iter().enumerate().rev() {
            if live[step.output] {
                keep[i] = true;
                for &id in step.inputs.iter().flatten() {
                    live[id] = true;
                }
            }
        }
        let mut keep = keep.into_iter();
        self.steps.retain(|_| keep.next().unwrap_or(false));
    }

    /// Multiply-accumulates of a step that are done by the convolution and matrix families.
    pub fn macs(&self, step: &Step) -> u64 {
        let len = |id: Id| self.tensors[id].len() as u64;
        match &step.kind {
            Kind::Op(Op::Conv(_)) => {
                let w = &self.tensors[step.inputs[1].expect("weights")];
                len(step.output) * (w.dims[1..].iter().product::<usize>() as u64)
            }
            Kind::Op(Op::DepthwiseConv(_)) => {
                let w = &self.tensors[step.inputs[1].expect("weights")];
                len(step.output) * (w.dims[0] * w.dims[1]) as u64
            }
            Kind::Op(Op::ConvTranspose(_)) => {
                let w = &self.tensors[step.inputs[1].expect("weights")];
                let x = &self.tensors[step.inputs[0].expect("input")];
                (x.len() / x.dims.last().copied().unwrap_or(1)) as u64 * w.len() as u64
            }
            Kind::Op(Op::MatMul(_)) => {
                let k = self.tensors[step.inputs[0].expect("input")].dims.last().copied().unwrap_or(1);
                len(step.output) * k as u64
            }
            _ => 0,
        }
    }
}
