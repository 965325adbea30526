//! What each TensorFlow Lite operator is in ONNX's vocabulary. Numbers given to `option` are field ids of the
//! operator's options table in `schema.fbs`.

mod arithmetic;
mod batch;
mod control;
mod conv;
mod detection;
mod elementwise;
mod index;
mod landmarks;
mod movement;
mod recurrent;
mod reduce;
mod segment;
mod spatial;
mod spectrum;
mod state;

pub use state::{Variable, states};

use std::collections::BTreeSet;

use super::import::Importer;
use super::schema::Operator;
use super::values::Form;
use crate::error::ImportError;
use crate::graph::ValueId;

type Done = Result<(), ImportError>;

/// Appends the nodes of one operator.
pub type Rule = fn(&mut Importer<'_>, &Operator<'_>) -> Done;

const BUILTIN: &[&[(&str, Rule)]] = &[
    arithmetic::RULES,
    batch::RULES,
    control::RULES,
    conv::RULES,
    elementwise::RULES,
    index::RULES,
    movement::RULES,
    recurrent::RULES,
    reduce::RULES,
    segment::RULES,
    spatial::RULES,
    spectrum::RULES,
    state::RULES,
];

const CUSTOM: &[(&str, Rule)] = &[
    ("Convolution2DTransposeBias", conv::transpose_bias),
    ("Landmarks2TransformMatrix", landmarks::transform_matrix),
    ("TFLite_Detection_PostProcess", detection::post_process),
    ("TransformLandmarks", landmarks::transform_landmarks),
    ("TransformTensorBilinear", landmarks::transform_tensor),
];

/// The rule of an operator; `None` for one that is not supported.
pub fn rule(op: &Operator<'_>) -> Option<Rule> {
    let tables: &[&[(&str, Rule)]] = if op.custom { &[CUSTOM] } else { BUILTIN };
    let listed = tables.iter().copied().flatten().find(|(name, _)| *name == op.name);
    let grouped = || if op.custom { None } else { elementwise::rule(&op.name) };
    listed.map(|&(_, rule)| rule).or_else(grouped)
}

/// The builtin operators that are supported, and the custom ones.
pub(crate) fn operators() -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let names = |&(name, _): &(&'static str, Rule)| name;
    let builtin = BUILTIN.iter().copied().flatten().map(names).chain(elementwise::groups());
    (builtin.collect(), CUSTOM.iter().map(names).collect())
}

/// `value` after the fused activation with this number in `ActivationFunctionType`.
pub fn activation(m: &mut Importer<'_>, value: ValueId, number: i8) -> Result<ValueId, ImportError> {
    match number {
        0 => Ok(value),
        1 => m.node("Relu", &[value], &[]),
        2 => clip(m, value, -1.0, 1.0),
        3 => clip(m, value, 0.0, 6.0),
        4 => m.node("Tanh", &[value], &[]),
        other => Err(m.err(format!("has fused activation number {other}, which is not supported"))),
    }
}

fn clip(m: &mut Importer<'_>, value: ValueId, low: f32, high: f32) -> Result<ValueId, ImportError> {
    let (low, high) = (m.scalar(low), m.scalar(high));
    m.node("Clip", &[value, low, high], &[])
}

/// An axis of a tensor of this rank, counted from the end when negative.
fn axis(m: &Importer<'_>, axis: i64, rank: usize) -> Result<usize, ImportError> {
    crate::infer::axis(axis, rank).map_err(|e| m.err(e))
}

/// Exactly `N` integers of a constant.
fn ints<const N: usize>(m: &mut Importer<'_>, op: &Operator<'_>, i: usize) -> Result<[i64; N], ImportError> {
    let t = m.input(op, i)?;
    let v = m.ints(t)?;
    v.as_slice().try_into().map_err(|_| m.err(format!("needs {N} integers as input {i}, it has {}", v.len())))
}

/// The one integer of a constant.
fn int(m: &mut Importer<'_>, op: &Operator<'_>, i: usize) -> Result<i64, ImportError> {
    Ok(ints::<1>(m, op, i)?[0])
}

/// Input `i` in the form for operators that work in any order.
fn laid(m: &mut Importer<'_>, op: &Operator<'_>, i: usize) -> Result<(ValueId, Form), ImportError> {
    let t = m.input(op, i)?;
    m.laid(t)
}

/// Input `i` in the file's order.
fn plain(m: &mut Importer<'_>, op: &Operator<'_>, i: usize) -> Result<ValueId, ImportError> {
    let t = m.input(op, i)?;
    m.plain(t)
}
