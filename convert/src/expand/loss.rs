//! Losses, which some exporters leave in a model.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("NegativeLogLikelihoodLoss", negative_log_likelihood),
    ("SoftmaxCrossEntropyLoss", softmax_cross_entropy),
];

/// Inputs: log-probabilities `[N, C, ...]`, classes `[N, ...]`, weights `[C]`.
fn negative_log_likelihood(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let loss = likelihood(m, x)?;
    m.done(loss)
}

fn softmax_cross_entropy(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let log = m.op_with("LogSoftmax", &[x], &[("axis", Attr::Int(1))])?;
    m.give(1, log)?;
    let loss = likelihood(m, log)?;
    m.done(loss)
}

/// The reduced loss of log-probabilities.
fn likelihood(m: &mut Make<'_, '_>, log: ValueId) -> Made {
    let classes = m.input(1)?;
    let dims = m.dims(log);
    let &[batch, count, ref rest @ ..] = dims.as_slice() else {
        return m.fail(format!("needs an input [N, C, ...], it is {dims:?}"));
    };
    let inner: usize = rest.iter().product();
    let elem = m.elem(log);
    let classes = m.cast(classes, ElemType::I64)?;
    let classes = m.reshape(classes, &[batch, 1, inner])?;
    let scores = m.reshape(log, &[batch, count, inner])?;
    let (hot, weight) = chosen(m, classes, count, elem)?;
    // Only the class of each place is looked at: others may be infinitely unlikely.
    let zero = m.number(0.0, elem);
    let picked = m.op("Where", &[hot, scores, zero])?;
    let picked = m.reduce("ReduceSum", picked, &[1], false)?;
    let negative = m.op("Neg", &[picked])?;
    let loss = match weight {
        Some(weight) => m.mul(negative, weight)?,
        None => negative,
    };
    let shape: Vec<usize> = std::iter::once(batch).chain(rest.iter().copied()).collect();
    match m.node.str("reduction", "mean") {
        "none" => m.reshape(loss, &shape),
        "sum" => m.reduce("ReduceSum", loss, &[0, 1], false),
        "mean" => match weight {
            None => m.reduce("ReduceMean", loss, &[0, 1], false),
            Some(weight) => {
                let total = m.reduce("ReduceSum", loss, &[0, 1], false)?;
                let weight = m.expand(weight, &[batch, inner])?;
                let weights = m.reduce("ReduceSum", weight, &[0, 1], false)?;
                m.div(total, weights)
            }
        },
        other => m.fail(format!("reduces by '{other}'; none, sum and mean are defined")),
    }
}

/// Whether each class `[N, C, D]` is that of its place, and the weight `[N, D]` of the place: 0 where its class is to
/// be ignored. No weight where all are 1.
fn chosen(
    m: &mut Make<'_, '_>,
    classes: ValueId,
    count: usize,
    elem: ElemType,
) -> Result<(ValueId, Option<ValueId>), ImportError> {
    let along = m.numbers(&[1, count, 1], (0..count).map(|i| i as f64).collect(), ElemType::I64);
    let hot = m.op("Equal", &[along, classes])?;
    let mut weight = None;
    if let Some(weights) = m.opt(2) {
        let weights = m.reshape(weights, &[1, count, 1])?;
        let zero = m.number(0.0, elem);
        let own = m.op("Where", &[hot, weights, zero])?;
        weight = Some(m.reduce("ReduceSum", own, &[1], false)?);
    }
    if m.node.attrs.contains_key("ignore_index") {
        let ignored = m.number(m.node.int("ignore_index", 0) as f64, ElemType::I64);
        let dims = m.dims(classes);
        let places = m.reshape(classes, &[dims[0], dims[2]])?;
        let gone = m.op("Equal", &[places, ignored])?;
        let (zero, one) = (m.number(0.0, elem), m.number(1.0, elem));
        weight = Some(m.op("Where", &[gone, zero, weight.unwrap_or(one)])?);
    }
    Ok((hot, weight))
}
