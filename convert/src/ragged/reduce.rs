//! What looks at all rows: those that are not there must change nothing.

use super::rules::Done;
use super::{bounds, element, extreme, filled, input_rows, mark, plain, refuse, with_inputs};
use crate::expand::make::Make;
use crate::graph::{Node, ValueId};

/// The axes of a reduction: all where none are named.
fn axes(m: &Make<'_, '_>, rank: usize) -> Result<Vec<usize>, crate::error::ImportError> {
    let given = match m.ints(1)? {
        Some(v) => v,
        None => m.node.ints("axes").map(<[i64]>::to_vec).unwrap_or_default(),
    };
    if given.is_empty() {
        let none = m.node.int("noop_with_empty_axes", 0) != 0;
        return Ok(if none { Vec::new() } else { (0..rank).collect() });
    }
    given.into_iter().map(|a| crate::infer::axis(a, rank).or_else(|e| m.fail(e))).collect()
}

pub(super) fn reduction(m: &mut Make<'_, '_>) -> Done {
    let Some(rows) = input_rows(m, 0) else { return refuse(m) };
    let x = m.input(0)?;
    let rank = m.rank(x);
    let axes = axes(m, rank)?;
    let keep = m.node.int("keepdims", 1) != 0;
    if !axes.contains(&rows.axis) {
        plain(m)?;
        let gone = if keep { 0 } else { axes.iter().filter(|&&a| a < rows.axis).count() };
        mark(m, 0, rows.axis - gone, rows.count);
        return Ok(());
    }
    let op = m.node.op.as_str();
    let fill = match op {
        "ReduceMax" | "ReduceLogSumExp" => extreme(m, x, false),
        "ReduceMin" => extreme(m, x, true),
        "ReduceProd" => 1.0,
        _ => 0.0,
    };
    let only = filled(m, x, fill)?;
    if op != "ReduceMean" {
        let mut inputs = m.node.inputs.clone();
        inputs[0] = Some(only);
        return with_inputs(m, inputs);
    }
    // The mean of what is there.
    let sum = m.reduce("ReduceSum", only, &axes, keep)?;
    let each: usize = axes.iter().filter(|&&a| a != rows.axis).map(|&a| m.dims(x)[a]).product();
    let elem = m.elem(x);
    let count = m.cast(rows.count, elem)?;
    let count = m.times(count, each as f64)?;
    let y = m.div(sum, count)?;
    m.give(0, y)
}

/// `ArgMax` and `ArgMin`.
pub(super) fn best(m: &mut Make<'_, '_>) -> Done {
    let Some(rows) = input_rows(m, 0) else { return refuse(m) };
    let x = m.input(0)?;
    let axis = m.axis("axis", 0, m.rank(x))?;
    if axis != rows.axis {
        plain(m)?;
        let gone = usize::from(m.node.int("keepdims", 1) == 0 && axis < rows.axis);
        mark(m, 0, rows.axis - gone, rows.count);
        return Ok(());
    }
    if m.node.int("select_last_index", 0) != 0 {
        return refuse(m);
    }
    let fill = extreme(m, x, m.node.op == "ArgMin");
    let only = filled(m, x, fill)?;
    with_inputs(m, vec![Some(only)])
}

/// Inputs: x, how many. As many as there could be are chosen; of those as many count as there are.
pub(super) fn top_k(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let axis = m.axis("axis", -1, m.rank(x))?;
    let rows = input_rows(m, 0);
    let Some((most, open)) = bounds::greatest(m, 1) else { return refuse(m) };
    let k = m.input(1)?;
    let wanted = m.known(most).and_then(|t| t.to_i64()).and_then(|v| v.first().copied()).unwrap_or(0);
    let n = m.dims(x)[axis];
    let fits = usize::try_from(wanted).unwrap_or(0).min(n);
    let along = rows.filter(|r| r.axis == axis);
    let mut inputs = m.node.inputs.clone();
    if along.is_some() {
        let fill = extreme(m, x, m.node.int("largest", 1) == 0);
        inputs[0] = Some(filled(m, x, fill)?);
    }
    inputs[1] = Some(m.list(&[fits as i64]));
    with_inputs(m, inputs)?;
    let asked = if open.is_empty() { None } else { Some(element(m, k, 0)?) };
    let count = match (asked, along) {
        (None, None) => None,
        (Some(asked), None) => Some(asked),
        (None, Some(r)) => {
            let k = m.number(fits as f64, crate::graph::ElemType::I64);
            Some(m.op("Min", &[k, r.count])?)
        }
        (Some(asked), Some(r)) => Some(m.op("Min", &[asked, r.count])?),
    };
    match (count, rows) {
        (Some(_), Some(r)) if r.axis != axis => return refuse(m),
        (Some(count), _) => (0..2).for_each(|i| mark(m, i, axis, count)),
        (None, Some(r)) => (0..2).for_each(|i| mark(m, i, r.axis, r.count)),
        (None, None) => {}
    }
    Ok(())
}

pub(super) fn softmax(m: &mut Make<'_, '_>) -> Done {
    let Some(rows) = input_rows(m, 0) else { return refuse(m) };
    let x = m.input(0)?;
    if m.axis("axis", -1, m.rank(x))? == rows.axis {
        let lowest = extreme(m, x, false);
        let only = filled(m, x, lowest)?;
        with_inputs(m, vec![Some(only)])?;
    } else {
        plain(m)?;
    }
    mark(m, 0, rows.axis, rows.count);
    Ok(())
}

/// Rows of a product are those of its operands; rows that are summed over count as zeros.
pub(super) fn product(m: &mut Make<'_, '_>) -> Done {
    let (a, b) = (m.input(0)?, m.input(1)?);
    let (ra, rb) = (m.rank(a), m.rank(b));
    if ra < 2 || rb < 2 {
        return refuse(m);
    }
    let turned = |key: &str| m.node.op == "Gemm" && m.node.int(key, 0) != 0;
    let (a_depth, b_depth) =
        (if turned("transA") { ra - 2 } else { ra - 1 }, if turned("transB") { rb - 1 } else { rb - 2 });
    let rank = ra.max(rb);
    let mut inputs = m.node.inputs.clone();
    let mut outer = None;
    for (i, depth) in [(0, a_depth), (1, b_depth)] {
        let Some(rows) = input_rows(m, i) else { continue };
        let v = m.input(i)?;
        let own = m.rank(v);
        if rows.axis == depth {
            inputs[i] = Some(filled(m, v, 0.0)?);
        } else if rows.axis + 2 >= own {
            // The row of a, or the column of b.
            outer = Some((if i == 0 { rank - 2 } else { rank - 1 }, rows.count));
        } else {
            outer = Some((rows.axis + rank - own, rows.count));
        }
    }
    if let Some(bias) = inputs.get(2).copied().flatten()
        && super::rows(m, bias).is_some()
    {
        return refuse(m);
    }
    let summed: Vec<(usize, usize)> = vec![(0, a_depth), (1, b_depth)];
    cut_to_fit(m, &mut inputs, &summed)?;
    m.b.push(Node { inputs, ..m.node.clone() })?;
    if let Some((axis, count)) = outer {
        mark(m, 0, axis, count);
    }
    Ok(())
}

/// Both sides of what is summed over, cut to as many rows.
fn cut_to_fit(m: &mut Make<'_, '_>, inputs: &mut [Option<ValueId>], axes: &[(usize, usize)]) -> Done {
    let sizes = axes.iter().filter_map(|&(i, axis)| inputs[i].map(|v| m.dims(v)[axis]));
    let least = sizes.min().unwrap_or(0);
    for &(i, axis) in axes {
        if let Some(v) = inputs[i] {
            inputs[i] = Some(m.slice(v, axis, 0, least)?);
        }
    }
    Ok(())
}
