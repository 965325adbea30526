//! Where rows come from whose number the data decides.

use super::{compacted, filled, input_rows, iota, mark, with_inputs};
use crate::error::ImportError;
use crate::expand::make::{Made, Make};
use crate::graph::{ElemType, ValueId};

/// A vector of what is not zero, rows that are not there left out.
fn flags(m: &mut Make<'_, '_>, x: ValueId) -> Made {
    let elem = m.elem(x);
    let there = if elem == ElemType::Bool {
        filled(m, x, 0.0)?
    } else {
        let x = filled(m, x, 0.0)?;
        let zero = m.like(x, 0.0);
        let same = m.op("Equal", &[x, zero])?;
        m.op("Not", &[same])?
    };
    let n = m.dims(there).iter().product();
    m.reshape(there, &[n])
}

/// Indices of what is not zero, `[rank, rows]`.
pub(super) fn non_zero(m: &mut Make<'_, '_>) -> Result<(), ImportError> {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let there = flags(m, x)?;
    let (flat, count) = compacted(m, there)?;
    let n = m.dims(flat)[0];
    let mut parts = Vec::new();
    for d in 0..dims.len() {
        let inner: usize = dims[d + 1..].iter().product();
        let mut at = flat;
        if inner > 1 {
            let by = m.like(at, inner as f64);
            at = m.div(at, by)?;
        }
        if d > 0 {
            let size = m.like(at, dims[d] as f64);
            at = m.op("Mod", &[at, size])?;
        }
        parts.push(m.reshape(at, &[1, n])?);
    }
    if parts.is_empty() {
        return m.fail("looks into a number for what is not zero");
    }
    let y = m.concat(&parts, 0)?;
    m.give(0, y)?;
    mark(m, 0, 1, count);
    Ok(())
}

/// Inputs: x, which slices of it to keep.
pub(super) fn compress(m: &mut Make<'_, '_>) -> Result<(), ImportError> {
    let (x, condition) = (m.input(0)?, m.input(1)?);
    if input_rows(m, 0).is_some() {
        return super::refuse(m);
    }
    let (x, axis) = match m.node.attrs.contains_key("axis") {
        true => (x, m.axis("axis", 0, m.rank(x))?),
        false => {
            let n = m.dims(x).iter().product();
            (m.reshape(x, &[n])?, 0)
        }
    };
    let there = flags(m, condition)?;
    let n = m.dims(there)[0].min(m.dims(x)[axis]);
    let there = m.slice(there, 0, 0, n)?;
    let (indices, count) = compacted(m, there)?;
    let y = m.gather(x, indices, axis)?;
    m.give(0, y)?;
    mark(m, 0, axis, count);
    Ok(())
}

/// Inputs: boxes `[B, N, 4]`, scores `[B, C, N]`, most of a class, allowed overlap, least score.
pub(super) fn suppression(m: &mut Make<'_, '_>) -> Result<(), ImportError> {
    let mut inputs = m.node.inputs.clone();
    inputs.resize(5, None);
    if let Some(rows) = input_rows(m, 1).or_else(|| input_rows(m, 0)) {
        let scores = m.input(1)?;
        let at = iota(m, m.dims(scores)[2], 2, 3);
        let there = m.op("Less", &[at, rows.count])?;
        let lowest = m.like(scores, f64::from(f32::MIN));
        inputs[1] = Some(m.op("Where", &[there, scores, lowest])?);
        // A score has to be above this one, whatever the model says.
        let none =
            inputs[4].is_none_or(|v| m.known(v).is_some_and(|t| t.to_f32().iter().any(|&t| t < f32::MIN)));
        if none {
            inputs[4] = Some(m.number(f64::from(f32::MIN), ElemType::F32));
        }
    }
    with_inputs(m, inputs)?;
    let Some(&Some(out)) = m.node.outputs.first() else { return Ok(()) };
    if m.b.graph.constant(out).is_some() {
        return Ok(());
    }
    // Rows that are not used hold -1.
    let first = m.slice(out, 1, 0, 1)?;
    let zero = m.like(first, 0.0);
    let used = m.op("GreaterOrEqual", &[first, zero])?;
    let used = m.cast(used, ElemType::I64)?;
    let count = m.reduce("ReduceSum", used, &[0, 1], false)?;
    mark(m, 0, 0, count);
    Ok(())
}
