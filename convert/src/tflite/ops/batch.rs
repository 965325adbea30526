//! Pixels moved into the batch and back, by which TensorFlow expresses dilated convolutions.

use super::conv::{self, dims4};
use super::{Done, Rule, plain};
use crate::error::ImportError;
use crate::graph::{Attr, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] =
    &[("SPACE_TO_BATCH_ND", space_to_batch), ("BATCH_TO_SPACE_ND", batch_to_space)];

/// Block sizes, and pads or crops `[.., 2]`, of the dimensions behind the first.
fn blocks(m: &mut Importer<'_>, op: &Operator<'_>) -> Result<(Vec<usize>, Vec<i64>), ImportError> {
    let (sizes, margins) = (m.input(op, 1)?, m.input(op, 2)?);
    let (sizes, margins) = (m.ints(sizes)?, m.ints(margins)?);
    let known: Option<Vec<usize>> =
        sizes.iter().map(|&b| usize::try_from(b).ok().filter(|&b| b > 0 && b < 1 << 16)).collect();
    match known {
        Some(known)
            if margins.len() == 2 * sizes.len() && margins.iter().all(|&p| (0..1 << 24).contains(&p)) =>
        {
            Ok((known, margins))
        }
        _ => Err(m.err(format!("has blocks {sizes:?} and margins {margins:?}"))),
    }
}

fn reshape(m: &mut Importer<'_>, x: ValueId, dims: &[usize]) -> Result<ValueId, ImportError> {
    let list = m.list(&dims.iter().map(|&d| d as i64).collect::<Vec<_>>());
    m.node("Reshape", &[x, list], &[])
}

/// `[N, S.., R..]`, padded, as `[B * N, S / B.., R..]`, the place inside the block leading.
fn space_to_batch(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let (sizes, pads) = blocks(m, op)?;
    let (rank, n) = (m.dims_of(x).len(), sizes.len());
    if n + 1 > rank {
        return Err(m.err(format!("has {n} blocks for {rank} dimensions")));
    }
    let mut list = vec![0; 2 * rank];
    for i in 0..n {
        (list[1 + i], list[rank + 1 + i]) = (pads[2 * i], pads[2 * i + 1]);
    }
    let list = m.list(&list);
    let padded = m.node("Pad", &[x, list], &[])?;
    let dims = m.dims_of(padded);
    if (0..n).any(|i| !dims[1 + i].is_multiple_of(sizes[i])) {
        return Err(m.err(format!("cuts {dims:?} into blocks of {sizes:?}")));
    }
    let mut split = vec![dims[0]];
    split.extend((0..n).flat_map(|i| [dims[1 + i] / sizes[i], sizes[i]]));
    split.extend(&dims[1 + n..]);
    let wide = reshape(m, padded, &split)?;
    let order =
        (0..n).map(|i| 2 + 2 * i).chain([0]).chain((0..n).map(|i| 1 + 2 * i)).chain(1 + 2 * n..split.len());
    let moved = m.transpose(wide, &order.map(|d| d as i64).collect::<Vec<_>>())?;
    let mut joined = vec![dims[0] * sizes.iter().product::<usize>()];
    joined.extend((0..n).map(|i| dims[1 + i] / sizes[i]));
    joined.extend(&dims[1 + n..]);
    let y = reshape(m, moved, &joined)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// The way back, cropped. Behind a convolution of pixels moved into the batch it is a dilated convolution; what was made
/// of those two operators falls away if nothing else reads it.
fn batch_to_space(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    if dilated(m, op)? {
        return Ok(());
    }
    let x = plain(m, op, 0)?;
    let (sizes, crops) = blocks(m, op)?;
    let (dims, n) = (m.dims_of(x), sizes.len());
    let count: usize = sizes.iter().product();
    if n + 1 > dims.len() || !dims[0].is_multiple_of(count) {
        return Err(m.err(format!("has blocks {sizes:?} for {dims:?}")));
    }
    let batch = dims[0] / count;
    let split: Vec<usize> = sizes.iter().copied().chain([batch]).chain(dims[1..].iter().copied()).collect();
    let wide = reshape(m, x, &split)?;
    let order = [n].into_iter().chain((0..n).flat_map(|i| [n + 1 + i, i])).chain(2 * n + 1..split.len());
    let moved = m.transpose(wide, &order.map(|d| d as i64).collect::<Vec<_>>())?;
    let mut joined = vec![batch];
    joined.extend((0..n).map(|i| dims[1 + i] * sizes[i]));
    joined.extend(&dims[1 + n..]);
    let whole = reshape(m, moved, &joined)?;
    let starts: Vec<i64> = (0..n).map(|i| crops[2 * i]).collect();
    let ends: Vec<i64> = (0..n).map(|i| joined[1 + i] as i64 - crops[2 * i + 1]).collect();
    let axes: Vec<i64> = (1..=n as i64).collect();
    let lists = [starts, ends, axes].map(|l| m.list(&l));
    let y = m.node("Slice", &[whole, lists[0], lists[1], lists[2]], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// The operator of this graph that computes input `i` of another.
fn producer<'a>(m: &Importer<'a>, op: &Operator<'_>, i: usize) -> Option<&'a Operator<'a>> {
    let t = *op.inputs.get(i)?;
    m.graph.operators.iter().find(|o| o.outputs.contains(&t))
}

/// Recognizes a dilated convolution, and makes it.
fn dilated(m: &mut Importer<'_>, op: &Operator<'_>) -> Result<bool, ImportError> {
    let Some(inner) =
        producer(m, op, 0).filter(|o| matches!(o.name.as_str(), "CONV_2D" | "DEPTHWISE_CONV_2D"))
    else {
        return Ok(false);
    };
    let Some(outer) = producer(m, inner, 0).filter(|o| o.name == "SPACE_TO_BATCH_ND") else {
        return Ok(false);
    };
    let deep = inner.name == "DEPTHWISE_CONV_2D";
    let at = if deep { 5 } else { 4 };
    let plain_steps = [m.option(inner, 1, 0i32)?, m.option(inner, 2, 0i32)?] == [1, 1]
        && [m.option(inner, at, 1i32)?, m.option(inner, at + 1, 1i32)?] == [1, 1];
    let ((sizes, pads), (back, crops)) = (blocks(m, outer)?, blocks(m, op)?);
    let x = m.input(outer, 0)?;
    if !plain_steps || sizes != back || sizes.len() > 2 || m.dims(x)?.len() != 4 {
        return Ok(false);
    }
    let w = m.input(inner, 1)?;
    let kernel = dims4(m, w, "weights")?;
    let same = m.option(inner, 0, 0i8)? == 0;
    let mut edges = [[0i64; 2]; 2];
    let mut dilations = [1i64; 2];
    for (i, &b) in sizes.iter().enumerate() {
        let reach = kernel[1 + i] as i64 - 1;
        let own = if same { [reach / 2, reach - reach / 2] } else { [0; 2] };
        for side in 0..2 {
            edges[i][side] = pads[2 * i + side] - crops[2 * i + side] + own[side] * b as i64;
        }
        dilations[i] = b as i64;
    }
    // A crop that takes more than the padding takes pixels; that is left to the operators as they are.
    if edges.iter().flatten().any(|&e| e < 0) {
        return Ok(false);
    }
    let pads = vec![edges[0][0], edges[1][0], edges[0][1], edges[1][1]];
    let window = [
        ("pads", Attr::Ints(pads)),
        ("strides", Attr::Ints(vec![1, 1])),
        ("dilations", Attr::Ints(dilations.to_vec())),
    ];
    let fused = m.option(inner, if deep { 4 } else { 3 }, 0i8)?;
    let y = conv::convolved(m, inner, x, deep, &window)?;
    m.finish(op, 0, y, Form::Image, fused)?;
    Ok(true)
}
