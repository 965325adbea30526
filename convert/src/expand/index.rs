//! Elements at indices: everything is a gather or a scatter of rows at positions counted in one dimension.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::graph::{Attr, ElemType, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("CenterCropPad", center_crop_pad),
    ("Compress", compress),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("com.microsoft.GatherND", gather_nd),
    ("MaxUnpool", max_unpool),
    ("OneHot", one_hot),
    ("ReverseSequence", reverse_sequence),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
    ("TensorScatter", tensor_scatter),
    ("TopK", top_k),
    ("Trilu", trilu),
    ("ai.onnx.ml.ArrayFeatureExtractor", array_feature_extractor),
    ("com.microsoft.ExpandDims", expand_dims),
];

/// Row-major strides.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut out = vec![1; dims.len()];
    for d in (0..dims.len().saturating_sub(1)).rev() {
        out[d] = out[d + 1] * dims[d + 1];
    }
    out
}

/// Indices of which negative ones count from the end of an axis of `extent`.
fn from_front(m: &mut Make<'_, '_>, indices: ValueId, extent: ValueId) -> Made {
    let zero = m.number(0.0, ElemType::I64);
    let negative = m.op("Less", &[indices, zero])?;
    let wrapped = m.add(indices, extent)?;
    m.op("Where", &[negative, wrapped, indices])
}

/// Tuples `[.., k]` of indices into dimensions `dims` as positions `[..]` among all of their elements.
fn linear(m: &mut Make<'_, '_>, tuples: ValueId, dims: &[usize]) -> Made {
    let tuples = m.cast(tuples, ElemType::I64)?;
    let extents = m.numbers(&[dims.len()], dims.iter().map(|&d| d as f64).collect(), ElemType::I64);
    let tuples = from_front(m, tuples, extents)?;
    let last = m.rank(tuples) - 1;
    if dims.len() == 1 {
        let outer = m.dims(tuples)[..last].to_vec();
        return m.reshape(tuples, &outer);
    }
    let steps = strides(dims).into_iter().map(|s| s as f64).collect();
    let steps = m.numbers(&[dims.len()], steps, ElemType::I64);
    let parts = m.mul(tuples, steps)?;
    m.reduce("ReduceSum", parts, &[last], false)
}

/// For each index of a tensor along an axis, the position of the element it means in a tensor of dimensions `dims`:
/// all other coordinates are those of the index itself.
fn along(m: &mut Make<'_, '_>, indices: ValueId, dims: &[usize], axis: usize) -> Made {
    let indices = m.cast(indices, ElemType::I64)?;
    let extent = m.number(dims[axis] as f64, ElemType::I64);
    let indices = from_front(m, indices, extent)?;
    let steps = strides(dims);
    let scaled = m.times(indices, steps[axis] as f64)?;
    // The other coordinates, the same for all indices along the axis.
    let mut own = m.dims(indices);
    own[axis] = 1;
    let places = strides(&own);
    let count: usize = own.iter().product();
    let position = |i: usize| -> f64 {
        (0..own.len()).map(|d| (i / places[d] % own[d]) * steps[d]).sum::<usize>() as f64
    };
    let rest = m.numbers(&own, (0..count).map(position).collect(), ElemType::I64);
    m.add(scaled, rest)
}

fn flat(m: &mut Make<'_, '_>, x: ValueId) -> Made {
    let count = m.dims(x).iter().product();
    m.reshape(x, &[count])
}

fn gather_elements(m: &mut Make<'_, '_>) -> Done {
    let (x, indices) = (m.input(0)?, m.input(1)?);
    let dims = m.dims(x);
    let axis = m.axis("axis", 0, dims.len())?;
    let own = m.dims(indices);
    if own.len() != dims.len() {
        return m.fail(format!("indexes {dims:?} by {own:?}; both need as many dimensions"));
    }
    let at = along(m, indices, &dims, axis)?;
    let elements = flat(m, x)?;
    let y = m.gather(elements, at, 0)?;
    m.done(y)
}

fn gather_nd(m: &mut Make<'_, '_>) -> Done {
    let (x, indices) = (m.input(0)?, m.input(1)?);
    let (dims, own) = (m.dims(x), m.dims(indices));
    let batch = usize::try_from(m.node.int("batch_dims", 0)).unwrap_or(usize::MAX);
    let depth = own.last().copied().unwrap_or(0);
    if depth == 0 || batch >= own.len() || batch + depth > dims.len() || dims[..batch] != own[..batch] {
        return m
            .fail(format!("indexes {dims:?} by {own:?} with {batch} batch dimensions, which does not fit"));
    }
    let indexed = &dims[batch..batch + depth];
    let mut at = linear(m, indices, indexed)?;
    let outer: usize = dims[..batch].iter().product();
    let rows: usize = indexed.iter().product();
    let outer_dims = &own[..own.len() - 1];
    if outer > 1 {
        let mut wide = outer_dims.to_vec();
        wide[batch..].fill(1);
        let offsets = m.numbers(&wide, (0..outer).map(|b| (b * rows) as f64).collect(), ElemType::I64);
        at = m.add(at, offsets)?;
    }
    let inner = &dims[batch + depth..];
    let table = m.reshape(x, &[outer * rows, inner.iter().product()])?;
    let at = flat(m, at)?;
    let taken = m.gather(table, at, 0)?;
    let y = m.reshape(taken, &[outer_dims, inner].concat())?;
    m.done(y)
}

/// Rows of `updates` `[n, inner]` put at positions `[n]` into `x` `[rows, inner]`.
fn scatter(m: &mut Make<'_, '_>, x: ValueId, at: ValueId, updates: ValueId, reduction: &str) -> Made {
    let known = ["none", "add", "mul", "min", "max"];
    if !known.contains(&reduction) {
        return m.fail(format!("reduces by '{reduction}'; {} are defined", known.join(", ")));
    }
    m.op_with("cygnet.Scatter", &[x, at, updates], &[("reduction", Attr::Str(reduction.to_owned()))])
}

/// `scatter` of single elements into a tensor of any dimensions.
fn scatter_flat(m: &mut Make<'_, '_>, x: ValueId, at: ValueId, updates: ValueId, reduction: &str) -> Made {
    let dims = m.dims(x);
    let count: usize = dims.iter().product();
    let n: usize = m.dims(updates).iter().product();
    let (table, at, rows) = (m.reshape(x, &[count, 1])?, m.reshape(at, &[n])?, m.reshape(updates, &[n, 1])?);
    let y = scatter(m, table, at, rows, reduction)?;
    m.reshape(y, &dims)
}

fn scatter_elements(m: &mut Make<'_, '_>) -> Done {
    let (x, indices, updates) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let dims = m.dims(x);
    let axis = m.axis("axis", 0, dims.len())?;
    if m.dims(indices) != m.dims(updates) || m.rank(indices) != dims.len() {
        return m.fail(format!("puts {:?} at {:?} into {dims:?}", m.dims(updates), m.dims(indices)));
    }
    if m.dims(updates).contains(&0) {
        return m.done(x);
    }
    let at = along(m, indices, &dims, axis)?;
    let reduction = m.node.str("reduction", "none").to_owned();
    let y = scatter_flat(m, x, at, updates, &reduction)?;
    m.done(y)
}

fn scatter_nd(m: &mut Make<'_, '_>) -> Done {
    let (x, indices, updates) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let (dims, own) = (m.dims(x), m.dims(indices));
    let depth = own.last().copied().unwrap_or(0);
    if depth == 0 || depth > dims.len() {
        return m.fail(format!("indexes {dims:?} by {own:?}, which does not fit"));
    }
    if m.dims(updates).contains(&0) {
        return m.done(x);
    }
    let at = linear(m, indices, &dims[..depth])?;
    let at = flat(m, at)?;
    let n = m.dims(at)[0];
    let (rows, inner): (usize, usize) = (dims[..depth].iter().product(), dims[depth..].iter().product());
    let table = m.reshape(x, &[rows, inner])?;
    let updates = m.reshape(updates, &[n, inner])?;
    let reduction = m.node.str("reduction", "none").to_owned();
    let y = scatter(m, table, at, updates, &reduction)?;
    let y = m.reshape(y, &dims)?;
    m.done(y)
}

/// New rows of a cache, from a place along an axis on that each sample has of its own.
fn tensor_scatter(m: &mut Make<'_, '_>) -> Done {
    let (cache, update) = (m.input(0)?, m.input(1)?);
    let (dims, own) = (m.dims(cache), m.dims(update));
    let axis = m.axis("axis", -2, dims.len())?;
    if axis == 0 || own.len() != dims.len() {
        return m.fail(format!("writes {own:?} into {dims:?} along axis {axis}"));
    }
    let (extent, length) = (dims[axis], own[axis]);
    let (outer, inner): (usize, usize) = (dims[..axis].iter().product(), dims[axis + 1..].iter().product());
    let each = outer / dims[0];
    // Place of row `t` of prefix `p`: (start of its sample + t), modulo the extent, behind the prefix's own rows.
    let start = match m.opt(2) {
        Some(start) => m.cast(start, ElemType::I64)?,
        None => m.numbers(&[dims[0]], vec![0.0; dims[0]], ElemType::I64),
    };
    let start = m.reshape(start, &[dims[0], 1, 1])?;
    let along = m.numbers(&[1, 1, length], (0..length).map(|t| t as f64).collect(), ElemType::I64);
    let mut at = m.add(start, along)?;
    match m.node.str("mode", "linear") {
        "linear" => {}
        "circular" => {
            let extent = m.number(extent as f64, ElemType::I64);
            at = m.op("Mod", &[at, extent])?;
        }
        other => return m.fail(format!("writes in mode '{other}'; linear and circular are defined")),
    }
    let prefixes =
        m.numbers(&[dims[0], each, 1], (0..outer).map(|p| (p * extent) as f64).collect(), ElemType::I64);
    let at = m.add(at, prefixes)?;
    let at = m.reshape(at, &[outer * length])?;
    let table = m.reshape(cache, &[outer * extent, inner])?;
    let rows = m.reshape(update, &[outer * length, inner])?;
    let y = scatter(m, table, at, rows, "none")?;
    let y = m.reshape(y, &dims)?;
    m.done(y)
}

/// Pooled maxima back at the places they came from, zeros elsewhere.
fn max_unpool(m: &mut Make<'_, '_>) -> Done {
    let (x, at) = (m.input(0)?, m.input(1)?);
    let dims = m.dims(x);
    let spatial = dims.len().saturating_sub(2);
    let list = |key: &str, n: usize, default: i64| match m.node.ints(key) {
        Some(v) if v.len() == n => v.to_vec(),
        _ => vec![default; n],
    };
    let (kernel, stride, pads) =
        (list("kernel_shape", spatial, 1), list("strides", spatial, 1), list("pads", 2 * spatial, 0));
    let mut usual = dims[..2].to_vec();
    for i in 0..spatial {
        let extent = (dims[i + 2] as i64 - 1) * stride[i] + kernel[i] - pads[i] - pads[i + spatial];
        usual.push(usize::try_from(extent).unwrap_or(0));
    }
    if usual.contains(&0) {
        return m.fail(format!("would give an output of {usual:?}"));
    }
    let target = match m.ints(2)? {
        Some(v) => v.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect(),
        None => usual.clone(),
    };
    if target.len() != dims.len() || target.contains(&0) || target[..2] != dims[..2] {
        return m.fail(format!("has an output shape of {target:?} for an input of {dims:?}"));
    }
    // Indices count in the usual output, which a larger one holds at its start.
    let at = m.cast(at, ElemType::I64)?;
    let at = if target == usual { at } else { rescaled(m, at, &usual, &target)? };
    let zero = m.like(x, 0.0);
    let empty = m.expand(zero, &target)?;
    let y = scatter_flat(m, empty, at, x, "none")?;
    m.done(y)
}

/// Positions in a tensor of dimensions `from` as those of the same coordinates in one of dimensions `to`.
fn rescaled(m: &mut Make<'_, '_>, at: ValueId, from: &[usize], to: &[usize]) -> Made {
    let (old, new) = (strides(from), strides(to));
    let mut sum = m.number(0.0, ElemType::I64);
    let mut rest = at;
    for d in 0..from.len() {
        let step = m.number(old[d] as f64, ElemType::I64);
        let coordinate = m.div(rest, step)?;
        rest = m.op("Mod", &[rest, step])?;
        let part = m.times(coordinate, new[d] as f64)?;
        sum = m.add(sum, part)?;
    }
    Ok(sum)
}

/// Indices, depth, values for off and on.
fn one_hot(m: &mut Make<'_, '_>) -> Done {
    let (indices, values) = (m.input(0)?, m.input(2)?);
    let depth = match m.known_input(1)?.and_then(crate::graph::Tensor::scalar_f32) {
        Some(d) if d >= 1.0 => d as usize,
        other => return m.fail(format!("has depth {other:?}; it must be one number, at least 1")),
    };
    let mut dims = m.dims(indices);
    let axis = m.axis("axis", -1, dims.len() + 1)?;
    let indices = m.cast(indices, ElemType::I64)?;
    let extent = m.number(depth as f64, ElemType::I64);
    let indices = from_front(m, indices, extent)?;
    dims.insert(axis, 1);
    let indices = m.reshape(indices, &dims)?;
    let mut row = vec![1; dims.len()];
    row[axis] = depth;
    let classes = m.numbers(&row, (0..depth).map(|i| i as f64).collect(), ElemType::I64);
    let hot = m.op("Equal", &[classes, indices])?;
    let (off, on) = (m.slice(values, 0, 0, 1)?, m.slice(values, 0, 1, 2)?);
    let (off, on) = (m.reshape(off, &[])?, m.reshape(on, &[])?);
    let y = m.op("Where", &[hot, on, off])?;
    m.done(y)
}

/// The first elements of each sample in reverse, as many as its length says.
fn reverse_sequence(m: &mut Make<'_, '_>) -> Done {
    let (x, lengths) = (m.input(0)?, m.input(1)?);
    let (time, batch) = (m.axis("time_axis", 0, 2)?, m.axis("batch_axis", 1, 2)?);
    let dims = m.dims(x);
    if time == batch || dims.len() < 2 {
        return m.fail(format!("has time axis {time} and batch axis {batch} of {dims:?}"));
    }
    let mut order: Vec<usize> = (0..dims.len()).collect();
    (order[0], order[1]) = (batch, time);
    let (samples, steps) = (dims[batch], dims[time]);
    let rows = m.transpose(x, &order)?;
    let moved = m.dims(rows);
    let inner: usize = moved[2..].iter().product();
    let table = m.reshape(rows, &[samples * steps, inner])?;
    let lengths = m.cast(lengths, ElemType::I64)?;
    let lengths = m.reshape(lengths, &[samples, 1])?;
    let t = m.numbers(&[1, steps], (0..steps).map(|t| t as f64).collect(), ElemType::I64);
    let inside = m.op("Less", &[t, lengths])?;
    let end = m.sub(lengths, t)?;
    let mirrored = m.plus(end, -1.0)?;
    let at = m.op("Where", &[inside, mirrored, t])?;
    let own = m.numbers(&[samples, 1], (0..samples).map(|b| (b * steps) as f64).collect(), ElemType::I64);
    let at = m.add(at, own)?;
    let at = m.reshape(at, &[samples * steps])?;
    let taken = m.gather(table, at, 0)?;
    let taken = m.reshape(taken, &moved)?;
    let y = m.transpose(taken, &order)?;
    m.done(y)
}

/// Elements where a condition that is known holds.
fn compress(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let Some(condition) = m.ints(1)? else { return m.fail("needs its condition") };
    let kept: Vec<f64> =
        condition.iter().enumerate().filter(|(_, c)| **c != 0).map(|(i, _)| i as f64).collect();
    let (x, axis) = match m.node.attrs.contains_key("axis") {
        true => (x, m.axis("axis", 0, m.rank(x))?),
        false => (flat(m, x)?, 0),
    };
    let kept = m.numbers(&[kept.len()], kept, ElemType::I64);
    let y = m.gather(x, kept, axis)?;
    m.done(y)
}

/// Cut or padded with zeros to known sizes, the middle staying in the middle.
fn center_crop_pad(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let rank = m.rank(x);
    let Some(sizes) = m.ints(1)? else { return m.fail("needs its shape") };
    let axes: Vec<i64> = m.node.ints("axes").map_or((0..rank as i64).collect(), <[i64]>::to_vec);
    if axes.len() != sizes.len() {
        return m.fail(format!("has {} sizes for {} axes", sizes.len(), axes.len()));
    }
    let mut y = x;
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (&a, &size) in axes.iter().zip(&sizes) {
        let axis = crate::infer::axis(a, rank).or_else(|e| m.fail(e))?;
        let Ok(size) = usize::try_from(size) else { return m.fail(format!("has size {size}")) };
        let have = m.dims(y)[axis];
        if size <= have {
            let from = (have - size) / 2;
            y = m.slice(y, axis, from, from + size)?;
        } else {
            before[axis] = (size - have) / 2;
            after[axis] = size - have - before[axis];
        }
    }
    if before.iter().chain(&after).any(|&p| p > 0) {
        let pads: Vec<i64> = before.iter().chain(&after).map(|&p| p as i64).collect();
        let pads = m.list(&pads);
        y = m.op("Pad", &[y, pads])?;
    }
    m.done(y)
}

/// Zeros below or above a diagonal that is known.
fn trilu(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let &[.., rows, columns] = dims.as_slice() else {
        return m.fail(format!("needs an input of rank 2 or more, it is {dims:?}"));
    };
    let k = m.int(1)?.unwrap_or(0);
    let upper = m.node.int("upper", 1) != 0;
    let kept = |i: usize| {
        let above = ((i % columns) as i64 - (i / columns) as i64).cmp(&k);
        f64::from(u8::from(if upper { above.is_ge() } else { above.is_le() }))
    };
    let kept = m.numbers(&[rows, columns], (0..rows * columns).map(kept).collect(), ElemType::Bool);
    let zero = m.like(x, 0.0);
    let y = m.op("Where", &[kept, x, zero])?;
    m.done(y)
}

/// The first so many elements along an axis, of the greatest or least, and their indices.
fn top_k(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let axis = m.axis("axis", -1, dims.len())?;
    let Some(k) = m.int(1)? else { return m.fail("needs its number of elements") };
    let k = k.clamp(0, dims[axis] as i64);
    let attrs = [
        ("axis", Attr::Int(axis as i64)),
        ("k", Attr::Int(k)),
        ("least", Attr::Int(i64::from(m.node.int("largest", 1) == 0))),
    ];
    let indices = m.op_with("cygnet.TopK", &[x], &attrs)?;
    if m.wants(0) {
        let at = along(m, indices, &dims, axis)?;
        let elements = flat(m, x)?;
        let values = m.gather(elements, at, 0)?;
        m.give(0, values)?;
    }
    m.give(1, indices)?;
    Ok(true)
}

/// Columns at indices, of the last dimension.
fn array_feature_extractor(m: &mut Make<'_, '_>) -> Done {
    let (x, at) = (m.input(0)?, m.input(1)?);
    let at = flat(m, at)?;
    let last = m.rank(x).saturating_sub(1);
    let y = m.gather(x, at, last)?;
    m.done(y)
}

fn expand_dims(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let mut dims = m.dims(x);
    let axis = m.int(1)?.unwrap_or(0);
    let axis = crate::infer::axis(axis, dims.len() + 1).or_else(|e| m.fail(e))?;
    dims.insert(axis, 1);
    let y = m.reshape(x, &dims)?;
    m.done(y)
}
