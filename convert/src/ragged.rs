//! Dimensions whose size the data decides: the rows that `NonZero`, `Compress` or `NonMaxSuppression` find.
//!
//! A program has static shapes, so such a dimension has as many rows as there can be. Those that are there come first,
//! and a value that is computed with them counts them. While a model is read, each node that meets such a dimension is
//! made so that rows behind the last are never seen: reductions, selections and products get what changes nothing in
//! their place. Shapes that models compute from such a count are computed too, and their greatest values decide what is
//! static ([`bounds`]). An output of the model has zeros in the rows behind the last; signed integers have -1.

mod bounds;
mod join;
mod moves;
mod pad;
mod reduce;
mod rules;
mod source;

use std::collections::HashMap;

use crate::build::Builder;
use crate::error::ImportError;
use crate::expand::make::{Made, Make};
use crate::graph::{Attr, ElemType, Node, ValueId};
pub(crate) use join::{choose, finish};

/// Which dimension of a value has fewer rows than it could, and how many: a scalar of int64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    axis: usize,
    count: ValueId,
}

/// What is known of values that follow from data-dependent sizes.
#[derive(Default)]
pub(crate) struct Ragged {
    /// Whether nodes are looked at: not while one of them is being made.
    pub active: bool,
    rows: HashMap<ValueId, Rows>,
    /// Least and greatest elements of integers that follow from counts.
    bounds: HashMap<ValueId, bounds::Bounds>,
}

impl Ragged {
    /// Whether a value follows from how many rows there are.
    pub fn counts(&self, v: ValueId) -> bool {
        self.bounds.contains_key(&v)
    }
}

/// Whether a node makes, or meets, a dimension whose size the data decides.
pub(crate) fn concerns(b: &Builder, node: &Node) -> bool {
    let r = &b.ragged;
    if !r.active {
        return false;
    }
    let met = |v: &ValueId| r.rows.contains_key(v) || r.bounds.contains_key(v);
    let runs = |i: usize| node.input(i).is_some_and(|v| b.graph.constant(v).is_none());
    match node.op.as_str() {
        "NonZero" => runs(0),
        "Compress" => runs(1),
        "NonMaxSuppression" => runs(0) || runs(1),
        _ => node.inputs.iter().flatten().any(met),
    }
}

/// Appends such a node.
///
/// # Errors
/// [`ImportError::Node`] where there is no way to tell the rows that are there from those that are not.
pub(crate) fn push(b: &mut Builder, node: &Node) -> Result<(), ImportError> {
    b.ragged.active = false;
    let result = rules::apply(&mut Make { b, node });
    b.ragged.active = true;
    result
}

/// The rows of a value.
fn rows(m: &Make<'_, '_>, v: ValueId) -> Option<Rows> {
    m.b.ragged.rows.get(&v).copied()
}

/// The rows of input `i`.
fn input_rows(m: &Make<'_, '_>, i: usize) -> Option<Rows> {
    rows(m, m.opt(i)?)
}

/// Notes the rows of output `i`.
fn mark(m: &mut Make<'_, '_>, i: usize, axis: usize, count: ValueId) {
    let Some(&Some(out)) = m.node.outputs.get(i) else { return };
    if !m.dims(out).contains(&0) {
        m.b.ragged.rows.insert(out, Rows { axis, count });
    }
}

/// Appends the node as it is.
fn plain(m: &mut Make<'_, '_>) -> Result<(), ImportError> {
    m.b.push(m.node.clone())
}

/// Appends the node with other inputs.
fn with_inputs(m: &mut Make<'_, '_>, inputs: Vec<Option<ValueId>>) -> Result<(), ImportError> {
    m.b.push(Node { inputs, ..m.node.clone() })
}

/// What cannot be told.
fn refuse<T>(m: &Make<'_, '_>) -> Result<T, ImportError> {
    let met =
        m.node.inputs.iter().flatten().find(|&&v| rows(m, v).is_some() || m.b.ragged.bounds.contains_key(&v));
    let name = met.map_or("", |&v| m.b.graph.value(v).name.as_str());
    m.fail(format!(
        "its input '{name}' has a size that the data decides, which this operator does not take that way; cut the model \
         off before it, or export the selection (NonZero, Compress, NonMaxSuppression) before it as a mask"
    ))
}

/// The numbers 0 to `n`, along `axis` of `rank` dimensions.
fn iota(m: &mut Make<'_, '_>, n: usize, axis: usize, rank: usize) -> ValueId {
    let mut wide = vec![1; rank];
    wide[axis] = n;
    m.numbers(&wide, (0..n).map(|i| i as f64).collect(), ElemType::I64)
}

/// Which rows of a value are there, to broadcast against it.
fn valid(m: &mut Make<'_, '_>, v: ValueId, rows: Rows) -> Made {
    let dims = m.dims(v);
    let at = iota(m, dims[rows.axis], rows.axis, dims.len());
    m.op("Less", &[at, rows.count])
}

/// A value with this number in rows that are not there; itself where all are.
fn filled(m: &mut Make<'_, '_>, v: ValueId, fill: f64) -> Made {
    let Some(rows) = rows(m, v) else { return Ok(v) };
    let there = valid(m, v, rows)?;
    if m.elem(v) == ElemType::Bool {
        return if fill == 0.0 { m.op("And", &[v, there]) } else { refuse(m) };
    }
    let fill = m.like(v, fill);
    m.op("Where", &[there, v, fill])
}

/// The lowest, or highest, number of a value's type that all its kin compare with.
fn extreme(m: &Make<'_, '_>, v: ValueId, highest: bool) -> f64 {
    let limit = match m.elem(v) {
        ElemType::F16 => 65504.0,
        e if e.is_float() => f64::from(f32::MAX),
        ElemType::U8 | ElemType::Bool => return if highest { 255.0 } else { 0.0 },
        ElemType::I8 => 127.0,
        ElemType::I16 => 32767.0,
        _ => f64::from(i32::MAX),
    };
    if highest { limit } else { -limit }
}

/// A scalar of int64 out of a vector, or a scalar itself.
fn element(m: &mut Make<'_, '_>, v: ValueId, i: usize) -> Made {
    let v = m.cast(v, ElemType::I64)?;
    let v = if m.rank(v) == 1 { m.slice(v, 0, i, i + 1)? } else { v };
    m.reshape(v, &[])
}

/// Indices of those rows that are marked, in order, then zeros; and how many they are.
fn compacted(m: &mut Make<'_, '_>, flags: ValueId) -> Result<(ValueId, ValueId), ImportError> {
    let n = m.dims(flags)[0];
    let ones = m.cast(flags, ElemType::I64)?;
    let zero = m.number(0.0, ElemType::I64);
    let sums = m.op("CumSum", &[ones, zero])?;
    let places = m.plus(sums, -1.0)?;
    // All others go to a place behind the last.
    let behind = m.number(n as f64, ElemType::I64);
    let there = m.cast(flags, ElemType::Bool)?;
    let places = m.op("Where", &[there, places, behind])?;
    let none = m.numbers(&[n + 1], vec![0.0; n + 1], ElemType::I64);
    let at = iota(m, n, 0, 1);
    let all = m.op_with("ScatterElements", &[none, places, at], &[("axis", Attr::Int(0))])?;
    let indices = m.slice(all, 0, 0, n)?;
    let count = m.reduce("ReduceSum", ones, &[0], false)?;
    Ok((indices, count))
}
