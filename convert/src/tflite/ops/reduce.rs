//! Reductions along axes.

use super::{Done, Rule, axis, int, plain};
use crate::graph::Attr;
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("MEAN", |m, op| reduce(m, op, "ReduceMean")),
    ("SUM", |m, op| reduce(m, op, "ReduceSum")),
    ("REDUCE_MAX", |m, op| reduce(m, op, "ReduceMax")),
    ("REDUCE_MIN", |m, op| reduce(m, op, "ReduceMin")),
    ("REDUCE_ANY", |m, op| reduce(m, op, "ReduceMax")),
    ("REDUCE_ALL", |m, op| reduce(m, op, "ReduceMin")),
    ("REDUCE_PROD", |m, op| reduce(m, op, "ReduceProd")),
    ("ARG_MAX", |m, op| arg(m, op, "ArgMax")),
    ("ARG_MIN", |m, op| arg(m, op, "ArgMin")),
];

/// Field: keep_dims 0. Inputs: values, axes. The dimensions are kept in the reduction itself, and dropped behind it in
/// the file's order.
fn reduce(m: &mut Importer<'_>, op: &Operator<'_>, onnx: &str) -> Done {
    let (t, at) = (m.input(op, 0)?, m.input(op, 1)?);
    let rank = m.dims(t)?.len();
    let (x, form) = m.laid(t)?;
    let axes = m.ints(at)?.into_iter().map(|a| axis(m, a, rank)).collect::<Result<Vec<_>, _>>()?;
    let keep = m.option(op, 0, false)?;
    let moved: Vec<i64> = axes.iter().map(|&a| form.axis(a) as i64).collect();
    let list = m.list(&moved);
    // Without any axis the values stay as they are.
    let attrs = [("keepdims", Attr::Int(1)), ("noop_with_empty_axes", Attr::Int(1))];
    let y = m.node(onnx, &[x, list], &attrs)?;
    if keep || axes.is_empty() {
        return m.finish(op, 0, y, form, 0);
    }
    let y = if form == Form::Image { m.transpose(y, &[0, 2, 3, 1])? } else { y };
    let mut gone: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
    gone.sort_unstable();
    gone.dedup();
    let list = m.list(&gone);
    let y = m.node("Squeeze", &[y, list], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: values, axis. The index has the element type of the output tensor.
fn arg(m: &mut Importer<'_>, op: &Operator<'_>, onnx: &str) -> Done {
    let x = plain(m, op, 0)?;
    let at = int(m, op, 1)?;
    let at = axis(m, at, m.dims_of(x).len())?;
    let y = m.node(onnx, &[x], &[("axis", Attr::Int(at as i64)), ("keepdims", Attr::Int(0))])?;
    let y = m.cast(y, m.output_elem(op, 0)?)?;
    m.finish(op, 0, y, Form::Plain, 0)
}
