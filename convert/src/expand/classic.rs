//! What exporters of scikit-learn write around trees and linear models (`ai.onnx.ml`). Definitions: ONNX's operators of
//! that domain, and ONNX Runtime where they leave something open.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, Tensor, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ai.onnx.ml.Imputer", imputer),
    ("ai.onnx.ml.LinearClassifier", linear_classifier),
    ("ai.onnx.ml.LinearRegressor", linear_regressor),
    ("ai.onnx.ml.Normalizer", normalizer),
    ("ai.onnx.ml.Scaler", scaler),
];

fn floats<'m>(m: &'m Make<'_, '_>, key: &str) -> &'m [f32] {
    match m.node.attrs.get(key) {
        Some(Attr::Floats(v)) => v,
        _ => &[],
    }
}

/// Rows of features: `[N, C]`, in float32.
fn rows(m: &mut Make<'_, '_>) -> Made {
    let x = m.input(0)?;
    let x = m.cast(x, ElemType::F32)?;
    match *m.dims(x).as_slice() {
        [_, _] => Ok(x),
        [n] => m.reshape(x, &[1, n]),
        ref dims => m.fail(format!("needs rows of features, it has dimensions {dims:?}")),
    }
}

/// A number for each feature, or one for all.
fn by_feature(m: &mut Make<'_, '_>, x: ValueId, key: &str, default: f32) -> Made {
    let given = floats(m, key).to_vec();
    let features = m.dims(x).last().copied().unwrap_or(0);
    match given.len() {
        0 => Ok(m.constant(Tensor::f32(&[], vec![default]))),
        n if n == 1 || n == features => Ok(m.constant(Tensor::f32(&[n], given))),
        n => m.fail(format!("has {n} numbers in '{key}' for {features} features")),
    }
}

/// `(x - offset) * scale`
fn scaler(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let x = m.cast(x, ElemType::F32)?;
    let (offset, scale) = (by_feature(m, x, "offset", 0.0)?, by_feature(m, x, "scale", 1.0)?);
    let y = m.sub(x, offset)?;
    let y = m.mul(y, scale)?;
    m.done(y)
}

/// Numbers that stand for what is missing are replaced.
fn imputer(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let elem = m.elem(x);
    let (value, missing) = if elem.is_float() {
        let x = m.cast(x, ElemType::F32)?;
        let value = by_feature(m, x, "imputed_value_floats", 0.0)?;
        let stands = m.node.float("replaced_value_float", 0.0);
        let missing = if stands.is_nan() {
            m.op("IsNaN", &[x])?
        } else {
            let stands = m.like(x, f64::from(stands));
            m.op("Equal", &[x, stands])?
        };
        (m.cast(value, elem)?, missing)
    } else {
        let list = m.node.ints("imputed_value_int64s").unwrap_or_default().to_vec();
        let features = m.dims(x).last().copied().unwrap_or(0);
        if list.len() != 1 && list.len() != features {
            return m.fail(format!("has {} numbers for {features} features", list.len()));
        }
        let value = m.list(&list);
        let stands = m.like(x, m.node.int("replaced_value_int64", 0) as f64);
        (m.cast(value, elem)?, m.op("Equal", &[x, stands])?)
    };
    let y = m.op("Where", &[missing, value, x])?;
    m.done(y)
}

/// Rows divided by their norm; those whose norm is zero stay.
fn normalizer(m: &mut Make<'_, '_>) -> Done {
    let x = rows(m)?;
    let norm = match m.node.str("norm", "MAX") {
        "MAX" => m.reduce("ReduceMax", x, &[1], true)?,
        "L1" => m.reduce("ReduceL1", x, &[1], true)?,
        "L2" => m.reduce("ReduceL2", x, &[1], true)?,
        other => return m.fail(format!("divides by the norm '{other}', which is not defined")),
    };
    let zero = m.like(norm, 0.0);
    let none = m.op("Equal", &[norm, zero])?;
    let one = m.like(norm, 1.0);
    let norm = m.op("Where", &[none, one, norm])?;
    let y = m.div(x, norm)?;
    let dims = m.dims(m.input(0)?);
    let y = m.reshape(y, &dims)?;
    m.done(y)
}

/// `x * coefficients^T + intercepts`: a column for each target.
fn linear(m: &mut Make<'_, '_>, targets: usize) -> Made {
    let x = rows(m)?;
    let features = m.dims(x)[1];
    let (coefficients, intercepts) = (floats(m, "coefficients").to_vec(), floats(m, "intercepts").to_vec());
    if targets == 0 || coefficients.len() != targets * features {
        return m.fail(format!(
            "has {} coefficients for {targets} targets of {features} features",
            coefficients.len()
        ));
    }
    let weights = m.constant(Tensor::f32(&[targets, features], coefficients));
    let weights = m.swap_last(weights)?;
    let y = m.op("MatMul", &[x, weights])?;
    if intercepts.is_empty() {
        return Ok(y);
    }
    let bias = m.constant(Tensor::f32(&[intercepts.len()], intercepts));
    m.add(y, bias)
}

fn linear_regressor(m: &mut Make<'_, '_>) -> Done {
    let targets = usize::try_from(m.node.int("targets", 1)).unwrap_or(0);
    let y = linear(m, targets)?;
    let y = transformed(m, y)?;
    m.done(y)
}

/// Outputs: the label of the greatest score, and the scores.
fn linear_classifier(m: &mut Make<'_, '_>) -> Done {
    let classes = match (m.node.ints("classlabels_ints"), m.node.attrs.get("classlabels_strings")) {
        (Some(v), _) if !v.is_empty() => v.len(),
        (_, Some(Attr::Strs(v))) => v.len(),
        _ => return m.fail("names no classes"),
    };
    let targets = floats(m, "intercepts").len();
    if targets != classes {
        return m.fail(format!("has {targets} intercepts for {classes} classes; export one for each class"));
    }
    let scores = linear(m, targets)?;
    if m.wants(0) {
        labels(m, scores, "classlabels_ints")?;
    }
    let y = transformed(m, scores)?;
    m.give(1, y)?;
    Ok(true)
}

/// Gives the label of each row's greatest score.
pub(super) fn labels(m: &mut Make<'_, '_>, scores: ValueId, key: &str) -> Result<(), ImportError> {
    let Some(labels) = m.node.ints(key).map(<[i64]>::to_vec).filter(|l| !l.is_empty()) else {
        return m.fail(
            "gives labels that are text, which no tensor here holds; export it with numbers for labels, or cut the \
             first output off",
        );
    };
    let best = m.op_with("ArgMax", &[scores], &[("axis", Attr::Int(1)), ("keepdims", Attr::Int(0))])?;
    let counted = labels.iter().enumerate().all(|(i, &l)| l == i as i64);
    let y = if counted {
        best
    } else {
        let table = m.list(&labels);
        m.gather(table, best, 0)?
    };
    m.give(0, y)
}

fn transformed(m: &mut Make<'_, '_>, x: ValueId) -> Made {
    match m.node.str("post_transform", "NONE") {
        "NONE" => Ok(x),
        "SOFTMAX" => m.softmax(x, 1),
        "LOGISTIC" => m.op("Sigmoid", &[x]),
        "SOFTMAX_ZERO" => softmax_zero(m, x),
        other => m.fail(format!("transforms its result by '{other}', which is not supported")),
    }
}

/// A softmax in which scores of zero take no part.
pub(super) fn softmax_zero(m: &mut Make<'_, '_>, x: ValueId) -> Made {
    let most = m.reduce("ReduceMax", x, &[1], true)?;
    let less = m.sub(x, most)?;
    let powers = m.op("Exp", &[less])?;
    let size = m.op("Abs", &[x])?;
    let tiny = m.like(x, 1e-7);
    let counts = m.op("Greater", &[size, tiny])?;
    let negative = m.op("Neg", &[most])?;
    let scale = m.op("Exp", &[negative])?;
    let rest = m.mul(x, scale)?;
    let nothing = m.like(x, 0.0);
    let counted = m.op("Where", &[counts, powers, nothing])?;
    let sum = m.reduce("ReduceSum", counted, &[1], true)?;
    let all = m.op("Where", &[counts, powers, rest])?;
    m.div(all, sum)
}
