//! What moves rows, and what makes shapes.

use super::rules::Done;
use super::{bounds, element, input_rows, mark, plain, refuse, valid, with_inputs};
use crate::error::ImportError;
use crate::expand::make::Make;
use crate::graph::{Attr, ElemType, Tensor, ValueId};

/// The dimensions of a value, counted.
pub(super) fn shape(m: &mut Make<'_, '_>) -> Done {
    let (x, Some(rows)) = (m.input(0)?, input_rows(m, 0)) else { return refuse(m) };
    let dims = m.dims(x);
    let n = dims.len() as i64;
    let at = |v: i64| (if v < 0 { v + n } else { v }).clamp(0, n) as usize;
    let (start, end) = (at(m.node.int("start", 0)), at(m.node.int("end", n)));
    let known = bounds::dims(m, x, rows);
    let mut parts = Vec::new();
    for (d, &n) in dims.iter().enumerate().take(end).skip(start) {
        parts.push(if d == rows.axis { m.reshape(rows.count, &[1])? } else { m.list(&[n as i64]) });
    }
    if parts.is_empty() {
        return refuse(m);
    }
    let y = m.concat(&parts, 0)?;
    m.give(0, y)?;
    let cut = |t: &Tensor| {
        let v = t.to_i64().unwrap_or_default()[start..end].to_vec();
        Tensor::i64(&[v.len()], v)
    };
    bounds::note(m, known.moved(cut));
    Ok(())
}

/// The number of elements, counted.
pub(super) fn size(m: &mut Make<'_, '_>) -> Done {
    let (x, Some(rows)) = (m.input(0)?, input_rows(m, 0)) else { return refuse(m) };
    let dims = m.dims(x);
    let each: usize = dims.iter().enumerate().filter(|&(d, _)| d != rows.axis).map(|(_, &n)| n).product();
    let y = m.times(rows.count, each as f64)?;
    m.give(0, y)?;
    let whole = |n: usize| Tensor::i64(&[], vec![(n * each) as i64]);
    let line = Some(bounds::Line { count: rows.count, at: [whole(0), whole(1)] });
    bounds::note(m, bounds::Bounds { low: whole(0), high: whole(dims[rows.axis]), line });
    Ok(())
}

pub(super) fn transpose(m: &mut Make<'_, '_>) -> Done {
    let (x, Some(rows)) = (m.input(0)?, input_rows(m, 0)) else { return refuse(m) };
    let n = m.rank(x);
    let perm = m.node.ints("perm").map_or_else(|| (0..n as i64).rev().collect(), <[i64]>::to_vec);
    plain(m)?;
    match perm.iter().position(|&p| p == rows.axis as i64) {
        Some(axis) => mark(m, 0, axis, rows.count),
        None => return refuse(m),
    }
    Ok(())
}

fn axes(m: &Make<'_, '_>, rank: usize) -> Result<Option<Vec<usize>>, ImportError> {
    let Some(given) = m.ints(1)? else { return Ok(None) };
    let axes = given.into_iter().map(|a| crate::infer::axis(a, rank).or_else(|e| m.fail(e)));
    axes.collect::<Result<_, _>>().map(Some)
}

pub(super) fn squeeze(m: &mut Make<'_, '_>) -> Done {
    let (x, Some(rows)) = (m.input(0)?, input_rows(m, 0)) else { return refuse(m) };
    let dims = m.dims(x);
    let ones = || (0..dims.len()).filter(|&d| dims[d] == 1).collect();
    let axes = axes(m, dims.len())?.unwrap_or_else(ones);
    if axes.contains(&rows.axis) {
        return refuse(m);
    }
    plain(m)?;
    mark(m, 0, rows.axis - axes.iter().filter(|&&a| a < rows.axis).count(), rows.count);
    Ok(())
}

pub(super) fn unsqueeze(m: &mut Make<'_, '_>) -> Done {
    let (x, Some(rows)) = (m.input(0)?, input_rows(m, 0)) else { return refuse(m) };
    let given = m.ints(1)?.map_or(0, |v| v.len());
    let rank = m.rank(x) + given;
    let axes = axes(m, rank)?.unwrap_or_default();
    plain(m)?;
    let old: Vec<usize> = (0..rank).filter(|d| !axes.contains(d)).collect();
    mark(m, 0, old[rows.axis], rows.count);
    Ok(())
}

/// `Reshape` and `Flatten`: rows stay rows, or parts of rows before which nothing else comes.
pub(super) fn reshape(m: &mut Make<'_, '_>) -> Done {
    let mut inputs = m.node.inputs.clone();
    let rows = input_rows(m, 0);
    let mut open = Vec::new();
    if m.node.op == "Reshape" {
        let Some((list, lesser)) = bounds::greatest(m, 1) else { return refuse(m) };
        inputs[1] = Some(list);
        open = lesser;
    }
    let x = m.input(0)?;
    let from = m.dims(x);
    with_inputs(m, inputs)?;
    let Some(rows) = rows else {
        if !open.is_empty() {
            return refuse(m);
        }
        // Numbers that follow from counts, under other dimensions.
        if let Some(&Some(out)) = m.node.outputs.first()
            && let Some(known) = bounds::of(m, x)
        {
            let dims = m.dims(out);
            bounds::note(m, known.moved(|t| Tensor::new(dims.clone(), t.data.clone())));
        }
        return Ok(());
    };
    let Some(&Some(out)) = m.node.outputs.first() else { return Ok(()) };
    let to = m.dims(out);
    let before: usize = from[..rows.axis].iter().product();
    let n = from[rows.axis];
    let kept = (0..to.len()).find(|&d| to[d] == n && to[..d].iter().product::<usize>() == before);
    if let Some(axis) = kept {
        mark(m, 0, axis, rows.count);
        return Ok(());
    }
    if before != 1 || to.is_empty() {
        return refuse(m);
    }
    let axis = to.iter().position(|&d| d != 1).unwrap_or(0);
    let inner: usize = from[rows.axis + 1..].iter().product();
    let each: usize = to[axis + 1..].iter().product();
    let count = m.times(rows.count, inner as f64)?;
    let by = m.like(count, each as f64);
    let count = m.div(count, by)?;
    mark(m, 0, axis, count);
    Ok(())
}

/// The one dimension of a computed shape that is not known, and its size when the model runs.
fn open_dimension(
    m: &mut Make<'_, '_>,
    list: ValueId,
    open: &[usize],
) -> Result<Option<(usize, ValueId)>, ImportError> {
    match open {
        [] => Ok(None),
        &[axis] => Ok(Some((axis, element(m, list, axis)?))),
        _ => refuse(m),
    }
}

pub(super) fn expand(m: &mut Make<'_, '_>) -> Done {
    let (x, list) = (m.input(0)?, m.input(1)?);
    let Some((most, open)) = bounds::greatest(m, 1) else { return refuse(m) };
    let own = input_rows(m, 0);
    with_inputs(m, vec![Some(x), Some(most)])?;
    let Some(&Some(out)) = m.node.outputs.first() else { return Ok(()) };
    let rank = m.rank(out);
    let shift = rank - m.dims(list).first().copied().unwrap_or(0);
    match (own, open_dimension(m, list, &open)?) {
        (Some(rows), found) => {
            let axis = rows.axis + rank - m.rank(x);
            if found.is_some_and(|(a, _)| a + shift != axis) {
                return refuse(m);
            }
            mark(m, 0, axis, rows.count);
        }
        (None, Some((axis, count))) => mark(m, 0, axis + shift, count),
        (None, None) => {}
    }
    Ok(())
}

pub(super) fn constant_of_shape(m: &mut Make<'_, '_>) -> Done {
    let list = m.input(0)?;
    let Some((most, open)) = bounds::greatest(m, 0) else { return refuse(m) };
    with_inputs(m, vec![Some(most)])?;
    if let Some((axis, count)) = open_dimension(m, list, &open)? {
        mark(m, 0, axis, count);
    }
    Ok(())
}

/// From a known number in known steps to a count.
pub(super) fn range(m: &mut Make<'_, '_>) -> Done {
    let (start, limit) = (m.int(0)?, m.input(1)?);
    if start != Some(0) || m.int(2)? != Some(1) {
        return refuse(m);
    }
    let Some((most, open)) = bounds::greatest(m, 1) else { return refuse(m) };
    let most = m.reshape(most, &[])?;
    let mut inputs = m.node.inputs.clone();
    let elem = m.elem(limit);
    inputs[1] = Some(m.cast(most, elem)?);
    with_inputs(m, inputs)?;
    if !open.is_empty() {
        let count = element(m, limit, 0)?;
        mark(m, 0, 0, count);
    }
    Ok(())
}

/// Inputs: x, starts, ends, axes, steps. Ends may follow from counts.
pub(super) fn slice(m: &mut Make<'_, '_>) -> Done {
    if let (None, Some(known)) = (input_rows(m, 0), m.opt(0).and_then(|v| bounds::of(m, v)))
        && m.known(m.input(0)?).is_none()
        && known.low.len() < 64
        && (1..m.node.inputs.len()).all(|i| m.opt(i).is_none_or(|v| m.known(v).is_some()))
    {
        return bounds::computed(m);
    }
    let (x, rows) = (m.input(0)?, input_rows(m, 0));
    let dims = m.dims(x);
    let (Some(starts), Some((most, open))) = (m.ints(1)?, bounds::greatest(m, 2)) else { return refuse(m) };
    let ends = m.input(2)?;
    let highest = m.known(most).and_then(|t| t.to_i64()).unwrap_or_default();
    let n = starts.len();
    let axes: Vec<i64> = m.ints(3)?.unwrap_or_else(|| (0..n as i64).collect());
    let steps = m.ints(4)?.unwrap_or_else(|| vec![1; n]);
    let mut inputs = m.node.inputs.clone();
    inputs[2] = Some(most);
    let (mut found, mut fixed) = (None, highest.clone());
    for i in 0..n {
        let axis = crate::infer::axis(axes[i], dims.len()).or_else(|e| m.fail(e))?;
        let own = rows.filter(|r| r.axis == axis);
        if own.is_none() && !open.contains(&i) {
            continue;
        }
        if steps[i] != 1 || starts[i] < 0 {
            return refuse(m);
        }
        let all = match own {
            Some(r) => r.count,
            None => m.number(dims[axis] as f64, ElemType::I64),
        };
        let end = if open.contains(&i) {
            element(m, ends, i)?
        } else if highest[i] < 0 {
            // From the last that is there.
            fixed[i] = dims[axis] as i64;
            m.plus(all, highest[i] as f64)?
        } else {
            m.number(highest[i].min(dims[axis] as i64) as f64, ElemType::I64)
        };
        let end = m.op("Min", &[end, all])?;
        let count = m.plus(end, -(starts[i] as f64))?;
        let none = m.like(count, 0.0);
        let count = m.op("Max", &[count, none])?;
        if found.replace((axis, count)).is_some() {
            return refuse(m);
        }
    }
    inputs[2] = Some(m.list(&fixed));
    with_inputs(m, inputs)?;
    match (found, rows) {
        (Some(_), Some(r)) if found.is_some_and(|(a, _)| a != r.axis) => return refuse(m),
        (Some((axis, count)), _) => mark(m, 0, axis, count),
        (None, Some(r)) => mark(m, 0, r.axis, r.count),
        (None, None) => {}
    }
    Ok(())
}

/// Inputs: data, indices. Rows of either go on.
pub(super) fn gather(m: &mut Make<'_, '_>) -> Done {
    let (x, at) = (m.input(0)?, m.input(1)?);
    let axis = m.axis("axis", 0, m.rank(x))?;
    let (own, picked) = (input_rows(m, 0), input_rows(m, 1));
    let mut inputs = m.node.inputs.clone();
    if let (Some(r), Some(t)) = (own.filter(|r| r.axis == axis), m.known(at).cloned())
        && let Some(v) = t.to_i64().filter(|v| v.iter().any(|&i| i < 0))
    {
        // From the last that is there.
        let back = v.iter().map(|&i| f64::from(u8::from(i < 0))).collect();
        let back = m.numbers(&t.dims, back, ElemType::I64);
        let back = m.mul(back, r.count)?;
        let at = m.cast(at, ElemType::I64)?;
        inputs[1] = Some(m.add(at, back)?);
    }
    with_inputs(m, inputs)?;
    let wide = m.rank(at);
    let outer = own.filter(|r| r.axis != axis);
    match (outer, picked) {
        (Some(_), Some(_)) => return refuse(m),
        (None, Some(r)) => mark(m, 0, axis + r.axis, r.count),
        (Some(r), None) => mark(m, 0, if r.axis < axis { r.axis } else { r.axis + wide - 1 }, r.count),
        (None, None) => {}
    }
    Ok(())
}

/// Inputs: data, indices of as many dimensions.
pub(super) fn gather_elements(m: &mut Make<'_, '_>) -> Done {
    let axis = m.axis("axis", 0, m.rank(m.input(0)?))?;
    let found = input_rows(m, 1).or_else(|| input_rows(m, 0).filter(|r| r.axis != axis));
    plain(m)?;
    if let Some(r) = found {
        mark(m, 0, r.axis, r.count);
    }
    Ok(())
}

/// Inputs: data, indices whose last dimension names elements of the first ones of data.
pub(super) fn gather_nd(m: &mut Make<'_, '_>) -> Done {
    let at = m.input(1)?;
    let (rank, depth) = (m.rank(at), m.dims(at).last().copied().unwrap_or(0));
    let (own, picked) = (input_rows(m, 0), input_rows(m, 1));
    if m.node.int("batch_dims", 0) != 0 || picked.is_some_and(|r| r.axis + 1 == rank) {
        return refuse(m);
    }
    plain(m)?;
    match (own.filter(|r| r.axis >= depth), picked) {
        (Some(_), Some(_)) => return refuse(m),
        (None, Some(r)) => mark(m, 0, r.axis, r.count),
        (Some(r), None) => mark(m, 0, rank - 1 + r.axis - depth, r.count),
        (None, None) => {}
    }
    Ok(())
}

/// `ScatterElements` and `ScatterND`: updates that are not there go to a place behind the last, which is cut off.
pub(super) fn scatter(m: &mut Make<'_, '_>) -> Done {
    let (x, at, updates) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let own = input_rows(m, 0);
    let Some(rows) = input_rows(m, 1).or_else(|| input_rows(m, 2)) else {
        plain(m)?;
        if let Some(r) = own {
            mark(m, 0, r.axis, r.count);
        }
        return Ok(());
    };
    let elements = m.node.op == "ScatterElements";
    let axis = if elements { m.axis("axis", 0, m.rank(x))? } else { 0 };
    let dims = m.dims(x);
    let n = dims[axis];
    let there = valid(m, at, rows)?;
    let behind = if elements {
        m.like(at, n as f64)
    } else {
        let depth = m.dims(at).last().copied().unwrap_or(1);
        let elem = m.elem(at);
        m.numbers(&[depth], (0..depth).map(|d| if d == 0 { n as f64 } else { 0.0 }).collect(), elem)
    };
    let at = m.op("Where", &[there, at, behind])?;
    let mut row = dims.clone();
    row[axis] = 1;
    let zero = m.like(x, 0.0);
    let zero = m.expand(zero, &row)?;
    let longer = m.concat(&[x, zero], axis)?;
    let attrs: Vec<(&str, Attr)> = m.node.attrs.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let op = m.node.op.clone();
    let all = m.op_with(&op, &[longer, at, updates], &attrs)?;
    let y = m.slice(all, axis, 0, n)?;
    m.give(0, y)?;
    if let Some(r) = own {
        mark(m, 0, r.axis, r.count);
    }
    Ok(())
}
