//! The precision of each step.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cygnet_format::op::{BinaryKind, BlockKind, Op, ReduceKind};
use cygnet_format::program::DType;

use half::f16;

use super::blocks::why_not;
use super::given::Given;
use super::infinite::infinite;
use super::rows::is_embedding;
use super::weights::MAX_K;
use crate::lir::{Const, Id, Kind, Lir, Step};

/// The precision that a model is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point: weights and activations.
    F16,
    /// 8-bit integers: weights per output channel, activations per tensor, from calibration.
    Int8,
    /// 8-bit integers in products with constant weights, activations quantized row by row as they come; the rest in f32.
    Dynamic,
    /// 8-bit weights of products, in blocks of 32 with a scale each; all computing in f32.
    WeightInt8,
    /// 4-bit weights, likewise.
    WeightInt4,
    /// 8-bit integers where the outputs allow it, found by trying: see [`crate::search`]. Without samples as `F32`.
    Auto,
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            "dynamic" => Ok(Self::Dynamic),
            "weight-int8" => Ok(Self::WeightInt8),
            "weight-int4" => Ok(Self::WeightInt4),
            "auto" => Ok(Self::Auto),
            other => Err(format!(
                "precision '{other}' is unknown; use auto, f32, f16, int8, dynamic, weight-int8 or weight-int4"
            )),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Dynamic => "dynamic",
            Self::WeightInt8 => "weight-int8",
            Self::WeightInt4 => "weight-int4",
            Self::Auto => "auto",
        })
    }
}

/// The element type that each step computes in, and why where it is not the one asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// F32, F16 or S8, for each step.
    pub types: Vec<DType>,
    /// For each step that stays in f32 although less was asked for, the reason.
    pub reasons: Vec<Option<&'static str>>,
    /// For each step, whether it is an s8 product, or gathers rows of an s8 table, and its result is f32.
    pub real: Vec<bool>,
    /// Whether inputs of s8 steps are quantized by what they turn out to hold.
    pub dynamic: bool,
    /// Whether inputs and outputs that are real numbers become s8 too.
    pub int8_io: bool,
    /// Weights alone are in fewer bits: what those of the s8 steps are.
    pub blocks: Option<BlockKind>,
    /// What a model that comes quantized has decided: these steps are s8 whatever their type here.
    pub given: Arc<Given>,
}

impl Plan {
    /// All in f32.
    pub fn float(n: usize) -> Self {
        Self {
            types: vec![DType::F32; n],
            reasons: vec![None; n],
            real: vec![false; n],
            dynamic: false,
            int8_io: false,
            blocks: None,
            given: Arc::default(),
        }
    }

    /// With the steps that the source decides about left to it.
    pub fn with_given(mut self, given: Given) -> Self {
        for i in (0..self.types.len()).filter(|&i| given.step(i)) {
            (self.types[i], self.real[i], self.reasons[i]) = (DType::F32, false, None);
        }
        self.given = Arc::new(given);
        self
    }

    /// The type of each step in the end: those that the source decides about are s8.
    pub fn settled(&self) -> Vec<DType> {
        let own = self.types.iter().enumerate();
        own.map(|(i, &own)| if self.given.step(i) { DType::S8 } else { own }).collect()
    }

    /// Whether calibration is needed.
    pub fn needs_ranges(&self) -> bool {
        !self.dynamic && self.blocks.is_none() && self.types.contains(&DType::S8)
    }
}

/// Whether s8 products of the step can become real numbers.
pub fn has_real(lir: &Lir, step: &Step) -> bool {
    let Kind::Op(Op::Conv(p)) = &step.kind else { return false };
    let weights = step.inputs.get(1).copied().flatten().and_then(|w| lir.tensors[w].constant.as_ref());
    p.groups == 1 && weights.is_some_and(|w| matches!(**w, Const::F32(_)))
}

/// Weights alone: products with constant ones of one group, and embeddings.
fn blocks(lir: &Lir, kind: BlockKind) -> Plan {
    let mut plan = Plan { blocks: Some(kind), ..Plan::float(lir.steps.len()) };
    for (i, step) in lir.steps.iter().enumerate() {
        if is_product(step) {
            plan.reasons[i] = why_not(lir, step);
        }
        if is_embedding(lir, step) || (is_product(step) && plan.reasons[i].is_none()) {
            (plan.types[i], plan.real[i]) = (DType::S8, true);
        }
    }
    plan
}

/// Dynamic range quantization: products with constant weights.
fn dynamic(lir: &Lir) -> Plan {
    let mut plan = Plan { dynamic: true, ..Plan::float(lir.steps.len()) };
    for (i, step) in lir.steps.iter().enumerate() {
        if is_embedding(lir, step) {
            (plan.types[i], plan.real[i]) = (DType::S8, true);
        }
        if !is_product(step) {
            continue;
        }
        let inputs = |step: &Step| step.inputs[1].map_or(0, |w| lir.tensors[w].dims[1..].iter().product());
        if !has_real(lir, step) {
            plan.reasons[i] = Some("is no product with constant weights of one group");
        } else if inputs(step) > MAX_K {
            plan.reasons[i] = Some("sums more products than int32 holds");
        } else {
            (plan.types[i], plan.real[i]) = (DType::S8, true);
        }
    }
    plan
}

/// Whether a step is one of those that most multiplications are in.
pub fn is_product(step: &Step) -> bool {
    matches!(step.kind, Kind::Op(Op::Conv(_) | Op::DepthwiseConv(_) | Op::ConvTranspose(_) | Op::MatMul(_)))
}

/// Whether there is an s8 form of the step.
fn has_s8(step: &Step) -> bool {
    match &step.kind {
        Kind::Op(op) => match op {
            Op::Conv(_) | Op::DepthwiseConv(_) | Op::ConvTranspose(_) | Op::MatMul(_) | Op::Map(_) => true,
            Op::Binary(b) => matches!(
                b.kind,
                BinaryKind::Add
                    | BinaryKind::Sub
                    | BinaryKind::Mul
                    | BinaryKind::Div
                    | BinaryKind::Min
                    | BinaryKind::Max
                    | BinaryKind::PRelu
                    | BinaryKind::SquaredDifference
            ),
            Op::Reduce(r) => {
                matches!(r.kind, ReduceKind::Mean | ReduceKind::Sum | ReduceKind::Max | ReduceKind::Min)
            }
            Op::Softmax(s) => !s.log,
            Op::Pool(_) | Op::Resize(_) | Op::Gather(_) => true,
            _ => false,
        },
        _ => true,
    }
}

/// Whether there is an f16 form of the step.
fn has_f16(step: &Step) -> bool {
    match &step.kind {
        Kind::Op(op) => matches!(
            op,
            Op::Conv(_)
                | Op::DepthwiseConv(_)
                | Op::ConvTranspose(_)
                | Op::MatMul(_)
                | Op::Map(_)
                | Op::Binary(_)
                | Op::Pool(_)
                | Op::Reduce(_)
                | Op::Softmax(_)
                | Op::LayerNorm(_)
                | Op::Resize(_)
                | Op::Gather(_)
        ),
        _ => true,
    }
}

/// Whether the step computes each element from those at its place.
fn is_elementwise(step: &Step) -> bool {
    matches!(step.kind, Kind::Op(Op::Map(_) | Op::Binary(_) | Op::Select(_)))
}

/// For each step, whether it works with a number that is zero or infinite in f16, as the 1e-10 that keeps a logarithm
/// finite, or with elements made so by such a step.
fn beyond_f16(lir: &Lir, producers: &[Option<usize>]) -> Vec<bool> {
    let number = |id: Id| match lir.tensors[id].constant.as_deref() {
        Some(Const::F32(v)) if v.len() == 1 && v[0] != 0.0 && v[0].is_finite() => Some(f16::from_f32(v[0])),
        _ => None,
    };
    let lost = |id: Id| number(id).is_some_and(|v| v == f16::ZERO || v.is_infinite());
    let mut beyond = vec![false; lir.steps.len()];
    for (i, step) in lir.steps.iter().enumerate() {
        let from = |id: Id| lost(id) || producers[id].is_some_and(|p| beyond[p]);
        beyond[i] =
            (is_elementwise(step) || step.kind.moves()) && step.inputs.iter().flatten().any(|&id| from(id));
    }
    beyond
}

/// Whether these steps are a small part of all products, by their work and by their weights.
fn is_cheap(lir: &Lir, chosen: &[bool]) -> bool {
    let weights = |step: &Step| {
        let constant = step.inputs.get(1).copied().flatten().filter(|&w| lir.tensors[w].constant.is_some());
        constant.map_or(0, |w| lir.tensors[w].len() as u64)
    };
    let sum = |of: &dyn Fn(&Step) -> u64, all: bool| -> u64 {
        let steps = lir.steps.iter().zip(chosen).filter(|&(step, &c)| is_product(step) && (all || c));
        steps.map(|(step, _)| of(step)).sum()
    };
    let macs = |step: &Step| lir.macs(step);
    sum(&macs, false) * LAST_MACS <= sum(&macs, true)
        && sum(&weights, false) * LAST_WEIGHTS <= sum(&weights, true)
}

/// The last products stay in f32 when they do at most one in this many multiply-accumulates ...
const LAST_MACS: u64 = 20;
/// ... and hold at most one in this many weights.
const LAST_WEIGHTS: u64 = 10;

/// Chooses each step's precision. The body of a network, from its first product (convolution or matrix) to its
/// last, takes the one asked for; what comes before or after (normalization of the input, decoding of boxes,
/// the final softmax) stays in f32, where it costs next to nothing and unlike ranges meet. In int8 so do the last
/// products themselves when they are a small part of the whole: the channels of a detector's head hold boxes and scores,
/// which lose by any rounding. Other last products, and those of a single row, multiply in int8 and yield real numbers.
pub fn choose(lir: &Lir, precision: Precision) -> Plan {
    let n = lir.steps.len();
    let low = match precision {
        Precision::F32 => return Plan::float(n),
        Precision::Dynamic => return dynamic(lir),
        Precision::WeightInt8 => return blocks(lir, BlockKind::Int8),
        Precision::WeightInt4 => return blocks(lir, BlockKind::Int4),
        Precision::F16 => DType::F16,
        Precision::Int8 | Precision::Auto => DType::S8,
    };
    let producers = lir.producers();
    let mut after = vec![false; n];
    for i in 0..n {
        after[i] = is_product(&lir.steps[i])
            || lir.steps[i].inputs.iter().flatten().any(|&id| producers[id].is_some_and(|p| after[p]));
    }
    let readers = lir.readers();
    let mut before = vec![false; n];
    for i in (0..n).rev() {
        before[i] = is_product(&lir.steps[i]) || readers[lir.steps[i].output].iter().any(|&r| before[r]);
    }
    let last: Vec<bool> = (0..n)
        .map(|i| is_product(&lir.steps[i]) && !readers[lir.steps[i].output].iter().any(|&r| before[r]))
        .collect();
    let keep_last = low == DType::S8 && is_cheap(lir, &last);
    let infinite = if low == DType::S8 { infinite(lir) } else { vec![false; lir.tensors.len()] };
    let beyond = if low == DType::F16 { beyond_f16(lir, &producers) } else { vec![false; n] };
    let mut plan = Plan::float(0);
    for (i, step) in lir.steps.iter().enumerate() {
        let floating = lir.tensors[step.output].dtype == DType::F32
            && step.inputs.iter().flatten().next().is_none_or(|&id| lir.tensors[id].dtype == DType::F32);
        let moves = step.kind.moves();
        // Results that nothing in s8 reads are real numbers. Of a single row it is the weights that take the time.
        let one_row = lir.tensors[step.output].dims.iter().rev().skip(1).all(|&d| d == 1);
        let real = low == DType::S8 && last[i] && (!keep_last || one_row) && has_real(lir, step);
        // Rows of a large table are s8 wherever they go, and yield real numbers.
        let embedding = low == DType::S8 && is_embedding(lir, step);
        let reason = if embedding {
            None
        } else if !floating {
            Some("does not compute real numbers")
        } else if !before[i] {
            Some("comes after the last convolution or matrix product")
        } else if keep_last && last[i] && !real {
            Some("is a last product: unlike results share its output, and f32 costs next to nothing")
        } else if !after[i] && !moves {
            Some("comes before the first convolution or matrix product")
        } else if low == DType::S8 && !has_s8(step) {
            Some("has no int8 form")
        } else if step.inputs.iter().flatten().chain([&step.output]).any(|&id| infinite[id]) {
            Some("works with numbers that stand for infinity, as masks have them")
        } else if low == DType::F16 && !has_f16(step) {
            Some("has no float16 form")
        } else if beyond[i] {
            Some("works with numbers that are zero or infinite in float16")
        } else {
            None
        };
        plan.types.push(if reason.is_none() { low } else { DType::F32 });
        plan.real.push((real || embedding) && reason.is_none());
        plan.reasons.push(reason.filter(|_| floating));
    }
    plan
}
