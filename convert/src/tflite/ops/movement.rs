//! Operators that move elements, and those that make shapes.

use super::spectrum::reshaped;
use super::{Done, Rule, axis, int, laid, plain};
use crate::error::ImportError;
use crate::graph::{Attr, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("PAD", pad),
    ("PADV2", pad),
    ("MIRROR_PAD", pad),
    ("RESHAPE", reshape),
    ("SQUEEZE", squeeze),
    ("EXPAND_DIMS", expand_dims),
    ("CONCATENATION", concatenation),
    ("SPLIT", split),
    ("SPLIT_V", split_v),
    ("SLICE", slice),
    ("STRIDED_SLICE", strided_slice),
    ("TRANSPOSE", transpose),
    ("PACK", pack),
    ("UNPACK", unpack),
    ("SHAPE", shape),
    ("FILL", fill),
    ("BROADCAST_TO", broadcast_to),
    ("TILE", tile),
];

/// Inputs: values, pads `[rank, 2]`, and for `PADV2` the value. `MIRROR_PAD` has the field mode 0: REFLECT leaves the
/// edge out of the reflection, SYMMETRIC (1) repeats it, which for one element is ONNX's `edge`.
fn pad(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (t, p) = (m.input(op, 0)?, m.input(op, 1)?);
    let rank = m.dims(t)?.len();
    let pads = m.ints(p)?;
    if pads.len() != 2 * rank {
        return Err(m.err(format!("has {} pads for {rank} dimensions; it needs two each", pads.len())));
    }
    let (x, form) = m.laid(t)?;
    let mut moved = vec![0; 2 * rank];
    for a in 0..rank {
        moved[form.axis(a)] = pads[2 * a];
        moved[rank + form.axis(a)] = pads[2 * a + 1];
    }
    let mode = match op.name.as_str() {
        "MIRROR_PAD" => match m.option(op, 0, 0i8)? {
            0 => "reflect",
            1 if pads.iter().all(|&p| p <= 1) => "edge",
            1 => return symmetric(m, op, x, form, &pads),
            other => return Err(m.err(format!("has mode number {other}; 0 and 1 are defined"))),
        },
        _ => "constant",
    };
    let list = m.list(&moved);
    let mut inputs = vec![x, list];
    if op.name == "PADV2" {
        let value = plain(m, op, 2)?;
        let none = m.list(&[]);
        inputs.push(m.node("Reshape", &[value, none], &[])?);
    }
    let y = m.node("Pad", &inputs, &[("mode", Attr::Str(mode.to_owned()))])?;
    m.finish(op, 0, y, form, 0)
}

/// Padding that repeats the edge: each dimension is read in the order that the reflection gives.
fn symmetric(m: &mut Importer<'_>, op: &Operator<'_>, x: ValueId, form: Form, pads: &[i64]) -> Done {
    let mut y = x;
    for a in 0..pads.len() / 2 {
        let (before, after) = (pads[2 * a], pads[2 * a + 1]);
        let len = m.dims_of(x)[form.axis(a)] as i64;
        if !(0..=len).contains(&before) || !(0..=len).contains(&after) {
            return Err(m.err(format!("pads {len} elements symmetrically by {before} and {after}")));
        }
        if before + after == 0 {
            continue;
        }
        let order: Vec<i64> = (0..before).rev().chain(0..len).chain((len - after..len).rev()).collect();
        let list = m.list(&order);
        y = m.node("Gather", &[y, list], &[("axis", Attr::Int(form.axis(a) as i64))])?;
    }
    m.finish(op, 0, y, form, 0)
}

/// The new shape is input 1, or field new_shape 0 in old files.
fn reshape(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let dims = match (m.optional(op, 1)?, op.options) {
        (Some(t), _) => m.ints(t)?,
        (None, Some(o)) => o.numbers::<i32>(0).map_err(|e| m.err(e))?.into_iter().map(i64::from).collect(),
        (None, None) => return Err(m.err("has no shape; convert the model again")),
    };
    if reshaped(m, op, |m, x| m.reshape(x, &dims))? {
        return Ok(());
    }
    let x = plain(m, op, 0)?;
    let y = m.reshape(x, &dims)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Field: squeeze_dims 0; none means all of size 1.
fn squeeze(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let axes = match op.options {
        Some(o) => o.numbers::<i32>(0).map_err(|e| m.err(e))?,
        None => Vec::new(),
    };
    let axes: Vec<i64> = axes.into_iter().map(i64::from).collect();
    let squeezed = |m: &mut Importer<'_>, x: ValueId| {
        if axes.is_empty() {
            return m.node("Squeeze", &[x], &[]);
        }
        let list = m.list(&axes);
        m.node("Squeeze", &[x, list], &[])
    };
    if reshaped(m, op, squeezed)? {
        return Ok(());
    }
    let x = plain(m, op, 0)?;
    let y = squeezed(m, x)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

fn unsqueeze(m: &mut Importer<'_>, x: ValueId, axes: &[i64]) -> Result<ValueId, ImportError> {
    let list = m.list(axes);
    m.node("Unsqueeze", &[x, list], &[])
}

fn expand_dims(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let at = int(m, op, 1)?;
    if reshaped(m, op, |m, x| unsqueeze(m, x, &[at]))? {
        return Ok(());
    }
    let x = plain(m, op, 0)?;
    let y = unsqueeze(m, x, &[at])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Fields: axis 0, activation 1.
fn concatenation(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let mut parts = Vec::with_capacity(op.inputs.len());
    let mut form = Form::Plain;
    for i in 0..op.inputs.len() {
        let (x, f) = laid(m, op, i)?;
        form = f;
        parts.push(x);
    }
    let rank = parts.first().map_or(0, |&x| m.dims_of(x).len());
    let at = i64::from(m.option(op, 0, 0i32)?);
    let at = form.axis(axis(m, at, rank)?);
    let y = m.node("Concat", &parts, &[("axis", Attr::Int(at as i64))])?;
    let fused = m.option(op, 1, 0i8)?;
    m.finish(op, 0, y, form, fused)
}

/// Inputs: axis, values. As many equal parts as there are outputs.
fn split(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 1)?;
    let at = int(m, op, 0)?;
    let at = axis(m, at, m.dims_of(x).len())?;
    let n = op.outputs.len();
    let len = m.dims_of(x)[form.axis(at)];
    if n == 0 || !len.is_multiple_of(n) {
        return Err(m.err(format!("splits {len} elements into {n} equal parts")));
    }
    parts(m, op, x, form, at, &vec![(len / n) as i64; n])
}

/// Inputs: values, sizes (one may be -1: the rest), axis.
fn split_v(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let sizes = m.input(op, 1)?;
    let mut sizes = m.ints(sizes)?;
    let at = int(m, op, 2)?;
    let at = axis(m, at, m.dims_of(x).len())?;
    let len = m.dims_of(x)[form.axis(at)] as i64;
    let known = sizes.iter().filter(|&&s| s >= 0).fold(0i64, |a, &s| a.saturating_add(s));
    if let Some(open) = sizes.iter_mut().find(|s| **s == -1) {
        *open = len.saturating_sub(known);
    }
    if sizes.len() != op.outputs.len() {
        return Err(m.err(format!("has {} sizes for {} outputs", sizes.len(), op.outputs.len())));
    }
    parts(m, op, x, form, at, &sizes)
}

fn parts(m: &mut Importer<'_>, op: &Operator<'_>, x: ValueId, form: Form, at: usize, sizes: &[i64]) -> Done {
    let list = m.list(sizes);
    let attrs = [("axis", Attr::Int(form.axis(at) as i64))];
    let made = m.emit_many("Split", &[Some(x), Some(list)], &attrs, sizes.len())?;
    for (i, y) in made.into_iter().enumerate() {
        m.finish(op, i, y, form, 0)?;
    }
    Ok(())
}

/// Inputs: values, begin, size (-1: to the end).
fn slice(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (begin, size) = (m.input(op, 1)?, m.input(op, 2)?);
    let (begin, size) = (m.ints(begin)?, m.ints(size)?);
    if reshaped(m, op, |m, x| sliced(m, x, &begin, &size))? {
        return Ok(());
    }
    let x = plain(m, op, 0)?;
    let y = sliced(m, x, &begin, &size)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// So many elements from each begin on; all that follow where the size is negative.
fn sliced(m: &mut Importer<'_>, x: ValueId, begin: &[i64], size: &[i64]) -> Result<ValueId, ImportError> {
    let rank = m.dims_of(x).len();
    if begin.len() != rank || size.len() != rank {
        return Err(m.err(format!(
            "has {} begins and {} sizes for {rank} dimensions",
            begin.len(),
            size.len()
        )));
    }
    let end = |(&b, &s): (&i64, &i64)| if s < 0 { i64::MAX } else { b.saturating_add(s) };
    let ends: Vec<i64> = begin.iter().zip(size).map(end).collect();
    let (starts, ends) = (m.list(begin), m.list(&ends));
    m.node("Slice", &[x, starts, ends], &[])
}

/// Inputs: values, begin, end, strides. Fields, bit sets over the entries of these: begin_mask 0, end_mask 1,
/// ellipsis_mask 2, new_axis_mask 3, shrink_axis_mask 4; offset 5: ends count from the begins.
fn strided_slice(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let rank = m.dims_of(x).len();
    let mut lists = Vec::with_capacity(3);
    for i in 1..4 {
        let t = m.input(op, i)?;
        lists.push(m.ints(t)?);
    }
    let n = lists[0].len();
    if n > 32 || lists.iter().any(|l| l.len() != n) {
        return Err(m.err(format!(
            "has {} begins, {} ends and {} strides",
            n,
            lists[1].len(),
            lists[2].len()
        )));
    }
    let mut masks = [0i32; 5];
    for (i, mask) in masks.iter_mut().enumerate() {
        *mask = m.option(op, i, 0i32)?;
    }
    let offset = m.option(op, 5, false)?;
    let has = |mask: usize, i: usize| masks[mask] >> i & 1 != 0;
    let taken = (0..n).filter(|&i| !has(2, i) && !has(3, i)).count();
    let (mut at, mut place) = (0usize, 0i64);
    let (mut starts, mut ends, mut axes, mut steps) = (vec![], vec![], vec![], vec![]);
    let (mut shrunk, mut new) = (vec![], vec![]);
    let entries = lists[0].iter().zip(&lists[1]).zip(&lists[2]);
    for (i, ((&begin, &end), &step)) in entries.enumerate() {
        if has(2, i) {
            let covered = rank.saturating_sub(taken);
            at += covered;
            place += covered as i64;
            continue;
        }
        if has(3, i) {
            new.push(place);
            place += 1;
            continue;
        }
        let end = if offset { begin.saturating_add(end) } else { end };
        axes.push(at as i64);
        if has(4, i) {
            starts.push(begin);
            ends.push(if begin == -1 { i64::MAX } else { begin.saturating_add(1) });
            steps.push(1);
            shrunk.push(at as i64);
        } else {
            let forward = step > 0;
            starts.push(if !has(0, i) {
                begin
            } else if forward {
                0
            } else {
                i64::MAX
            });
            ends.push(if !has(1, i) {
                end
            } else if forward {
                i64::MAX
            } else {
                i64::MIN
            });
            steps.push(step);
            place += 1;
        }
        at += 1;
    }
    let [starts, ends, axes, steps] = [starts, ends, axes, steps].map(|v| m.list(&v));
    let mut y = m.node("Slice", &[x, starts, ends, axes, steps], &[])?;
    if !shrunk.is_empty() {
        let list = m.list(&shrunk);
        y = m.node("Squeeze", &[y, list], &[])?;
    }
    if !new.is_empty() {
        y = unsqueeze(m, y, &new)?;
    }
    m.finish(op, 0, y, Form::Plain, 0)
}

fn transpose(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let perm = m.input(op, 1)?;
    let perm = m.ints(perm)?;
    if reshaped(m, op, |m, x| m.node("Transpose", &[x], &[("perm", Attr::Ints(perm.clone()))]))? {
        return Ok(());
    }
    let x = plain(m, op, 0)?;
    let y = m.node("Transpose", &[x], &[("perm", Attr::Ints(perm))])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Field: axis 1.
fn pack(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let mut parts = Vec::with_capacity(op.inputs.len());
    let at = i64::from(m.option(op, 1, 0i32)?);
    for i in 0..op.inputs.len() {
        let x = plain(m, op, i)?;
        parts.push(unsqueeze(m, x, &[at])?);
    }
    let y = m.node("Concat", &parts, &[("axis", Attr::Int(at))])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Field: axis 1.
fn unpack(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let at = i64::from(m.option(op, 1, 0i32)?);
    let at = axis(m, at, m.dims_of(x).len())? as i64;
    let sizes = m.list(&vec![1; op.outputs.len()]);
    let made = m.emit_many("Split", &[Some(x), Some(sizes)], &[("axis", Attr::Int(at))], op.outputs.len())?;
    for (i, part) in made.into_iter().enumerate() {
        let list = m.list(&[at]);
        let y = m.node("Squeeze", &[part, list], &[])?;
        m.finish(op, i, y, Form::Plain, 0)?;
    }
    Ok(())
}

/// The dimensions, int32 or int64 as the output tensor says.
fn shape(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let y = m.node("Shape", &[x], &[])?;
    let y = m.cast(y, m.output_elem(op, 0)?)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: dimensions, value.
fn fill(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let value = plain(m, op, 1)?;
    expand(m, op, 0, value)
}

/// Inputs: values, dimensions.
fn broadcast_to(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    expand(m, op, 1, x)
}

fn expand(m: &mut Importer<'_>, op: &Operator<'_>, i: usize, x: ValueId) -> Done {
    let dims = m.input(op, i)?;
    let dims = m.ints(dims)?;
    let list = m.list(&dims);
    let y = m.node("Expand", &[x, list], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: values, repeats.
fn tile(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let repeats = m.input(op, 1)?;
    let repeats = m.ints(repeats)?;
    let list = m.list(&repeats);
    let y = m.node("Tile", &[x, list], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}
