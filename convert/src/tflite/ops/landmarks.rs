//! Custom operators of MediaPipe's meshes with attention: around landmarks of a region lies a turned crop of the features,
//! and what is found in it is put back. Definitions: `mediapipe/util/tflite/operations`, version 2 of each.

use std::collections::BTreeMap;

use super::{Done, plain};
use crate::error::ImportError;
use crate::graph::{Attr, Tensor, ValueId};
use crate::tflite::flexbuf;
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

type Made = Result<ValueId, ImportError>;

fn options(m: &Importer<'_>, op: &Operator<'_>) -> Result<BTreeMap<String, f64>, ImportError> {
    flexbuf::numbers(op.custom_options).map_err(|e| m.err(e))
}

fn option(m: &Importer<'_>, map: &BTreeMap<String, f64>, key: &str) -> Result<f64, ImportError> {
    map.get(key).copied().ok_or_else(|| {
        m.err(format!("lacks the option '{key}' of version 2 of this operator, which is the one supported"))
    })
}

fn size(m: &Importer<'_>, map: &BTreeMap<String, f64>, key: &str) -> Result<f64, ImportError> {
    let value = option(m, map, key)?;
    let fits = value.fract() == 0.0 && (1.0..=4096.0).contains(&value);
    if fits { Ok(value) } else { Err(m.err(format!("has {key} {value}; 1 to 4096 are possible"))) }
}

fn times(m: &mut Importer<'_>, a: ValueId, factor: f64) -> Made {
    let factor = m.scalar(factor as f32);
    m.node("Mul", &[a, factor], &[])
}

/// `a * x + b * y`
fn sum(m: &mut Importer<'_>, a: ValueId, x: ValueId, b: ValueId, y: ValueId) -> Made {
    let (u, v) = (m.node("Mul", &[a, x], &[])?, m.node("Mul", &[b, y], &[])?);
    m.node("Add", &[u, v], &[])
}

/// `a * x - b * y`
fn difference(m: &mut Importer<'_>, a: ValueId, x: ValueId, b: ValueId, y: ValueId) -> Made {
    let (u, v) = (m.node("Mul", &[a, x], &[])?, m.node("Mul", &[b, y], &[])?);
    m.node("Sub", &[u, v], &[])
}

/// x and y of some rows of `[1, N, 3]`, each `[rows]`.
fn points(m: &mut Importer<'_>, x: ValueId, rows: &[f64]) -> Result<[ValueId; 2], ImportError> {
    let n = m.dims_of(x)[1];
    if rows.is_empty() || rows.iter().any(|&r| r.fract() != 0.0 || r < 0.0 || r >= n as f64) {
        return Err(m.err(format!("names landmarks {rows:?} of {n}")));
    }
    let list = m.list(&rows.iter().map(|&r| r as i64).collect::<Vec<_>>());
    let chosen = m.node("Gather", &[x, list], &[("axis", Attr::Int(1))])?;
    let mut parts = [x; 2];
    for (i, part) in parts.iter_mut().enumerate() {
        let one = m.slice(chosen, 2, i, i + 1)?;
        *part = m.reshape(one, &[-1])?;
    }
    Ok(parts)
}

/// Input: landmarks `[1, N, 3]`. Output: the matrix `[1, 4, 4]` that brings places in a crop to places around the
/// landmarks `subset_idxs`: turned so that the line from the left landmark to the right one has the angle
/// `target_rotation_radians`.
pub fn transform_matrix(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let map = options(m, op)?;
    let lists = flexbuf::lists(op.custom_options).map_err(|e| m.err(e))?;
    let subset = lists.get("subset_idxs").ok_or_else(|| m.err("lacks the option 'subset_idxs'"))?;
    let (width, height) = (size(m, &map, "output_width")?, size(m, &map, "output_height")?);
    let scales = [option(m, &map, "scale_x")? / width, option(m, &map, "scale_y")? / height];
    let target = option(m, &map, "target_rotation_radians")?;
    let x = plain(m, op, 0)?;
    let dims = m.dims_of(x);
    if !matches!(dims.as_slice(), &[1, _, 3]) {
        return Err(m.err(format!("has landmarks {dims:?}; [1, N, 3] are needed")));
    }
    let ends = [option(m, &map, "left_rotation_idx")?, option(m, &map, "right_rotation_idx")?];
    let [cos, sin] = turn(m, x, ends, target)?;
    let [px, py] = points(m, x, subset)?;
    // The landmarks turned, their extent and its middle.
    let (tx, ty) = (difference(m, px, cos, py, sin)?, sum(m, px, sin, py, cos)?);
    let (mut extents, mut middles) = ([tx, ty], [tx, ty]);
    for i in 0..2 {
        let all = [("keepdims", Attr::Int(1))];
        let (high, low) =
            (m.node("ReduceMax", &[extents[i]], &all)?, m.node("ReduceMin", &[extents[i]], &all)?);
        let extent = m.node("Sub", &[high, low], &[])?;
        extents[i] = times(m, extent, scales[i])?;
        let both = m.node("Add", &[high, low], &[])?;
        middles[i] = times(m, both, 0.5)?;
    }
    let center =
        [sum(m, middles[0], cos, middles[1], sin)?, difference(m, middles[1], cos, middles[0], sin)?];
    // Turned back and scaled, from the middle of the crop.
    let back = m.node("Neg", &[sin], &[])?;
    let rows = [[cos, sin], [back, cos]];
    let (zero, one) = (constant(m, 0.0), constant(m, 1.0));
    let mut parts = Vec::new();
    for (i, row) in rows.into_iter().enumerate() {
        let a = m.node("Mul", &[row[0], extents[0]], &[])?;
        let b = m.node("Mul", &[row[1], extents[1]], &[])?;
        let (from_x, from_y) = (times(m, a, width / 2.0)?, times(m, b, height / 2.0)?);
        let shift = m.node("Sub", &[center[i], from_x], &[])?;
        let shift = m.node("Sub", &[shift, from_y], &[])?;
        parts.extend([a, b, zero, shift]);
    }
    parts.extend([zero, zero, one, zero, zero, zero, zero, one]);
    let y = m.node("Concat", &parts, &[("axis", Attr::Int(0))])?;
    let y = m.reshape(y, &[1, 4, 4])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// A vector of one number.
fn constant(m: &mut Importer<'_>, value: f32) -> ValueId {
    let hint = format!("{}:number", m.hint);
    m.builder.constant(&hint, Tensor::f32(&[1], vec![value]))
}

/// Cosine and sine of `target` less the angle of the line between two landmarks: from its legs, without the angle.
fn turn(
    m: &mut Importer<'_>,
    x: ValueId,
    [left, right]: [f64; 2],
    target: f64,
) -> Result<[ValueId; 2], ImportError> {
    let ([ax, ay], [bx, by]) = (points(m, x, &[left])?, points(m, x, &[right])?);
    let (dx, dy) = (m.node("Sub", &[bx, ax], &[])?, m.node("Sub", &[by, ay], &[])?);
    let square = sum(m, dx, dx, dy, dy)?;
    let length = m.node("Sqrt", &[square], &[])?;
    let (zero, one) = (constant(m, 0.0), constant(m, 1.0));
    let none = m.node("Equal", &[length, zero], &[])?;
    let length = m.node("Where", &[none, one, length], &[])?;
    let cos = m.node("Div", &[dx, length], &[])?;
    // Where both are one place the angle is 0.
    let cos = m.node("Where", &[none, one, cos], &[])?;
    let sin = m.node("Div", &[dy, length], &[])?;
    let (tc, ts) = (constant(m, target.cos() as f32), constant(m, target.sin() as f32));
    Ok([sum(m, cos, tc, sin, ts)?, difference(m, cos, ts, sin, tc)?])
}

/// The first two rows of `[1, 4, 4]` as numbers: what x, y and 1 are multiplied by.
fn rows(m: &mut Importer<'_>, op: &Operator<'_>) -> Result<[[ValueId; 3]; 2], ImportError> {
    let matrix = plain(m, op, 1)?;
    if m.dims_of(matrix).iter().product::<usize>() != 16 {
        return Err(m.err(format!("has a matrix {:?}; [1, 4, 4] is needed", m.dims_of(matrix))));
    }
    let flat = m.reshape(matrix, &[16])?;
    let mut found = [[flat; 3]; 2];
    for (r, row) in found.iter_mut().enumerate() {
        for (slot, column) in row.iter_mut().zip([0, 1, 3]) {
            *slot = m.slice(flat, 0, 4 * r + column, 4 * r + column + 1)?;
        }
    }
    Ok(found)
}

/// Inputs: features `[1, H, W, C]`, a matrix. Output: a crop, each of its places read from where the matrix brings its
/// middle, between four elements; zeros where that is outside.
pub fn transform_tensor(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let map = options(m, op)?;
    let (width, height) = (size(m, &map, "output_width")? as usize, size(m, &map, "output_height")? as usize);
    let x = plain(m, op, 0)?;
    let dims = m.dims_of(x);
    let &[1, from_h, from_w, _] = dims.as_slice() else {
        return Err(m.err(format!("has features {dims:?}; [1, H, W, C] are needed")));
    };
    let image = m.transpose(x, &[0, 3, 1, 2])?;
    let rows = rows(m, op)?;
    let hint = format!("{}:middles", m.hint);
    let middles = |n: usize| (0..n).map(|i| i as f32 + 0.5).collect();
    let across = m.builder.constant(&hint, Tensor::f32(&[1, 1, width], middles(width)));
    let down = m.builder.constant(&hint, Tensor::f32(&[1, height, 1], middles(height)));
    let (zero, half) = (m.scalar(0.0), m.scalar(0.5));
    let (mut grid, mut inside) = (Vec::new(), None);
    for ([a, b, shift], from) in rows.into_iter().zip([from_w, from_h]) {
        let at = sum(m, a, across, b, down)?;
        let at = m.node("Add", &[at, shift], &[])?;
        let at = m.node("Sub", &[at, half], &[])?;
        let last = m.scalar(from as f32 - 1.0);
        let (low, high) =
            (m.node("GreaterOrEqual", &[at, zero], &[])?, m.node("LessOrEqual", &[at, last], &[])?);
        let within = m.node("And", &[low, high], &[])?;
        inside = Some(match inside {
            None => within,
            Some(inside) => m.node("And", &[inside, within], &[])?,
        });
        // From -1 to 1 between the first and the last.
        let scaled = times(m, at, 2.0 / (from as f64 - 1.0).max(1.0))?;
        let one = m.scalar(1.0);
        let place = m.node("Sub", &[scaled, one], &[])?;
        grid.push(m.reshape(place, &[1, height as i64, width as i64, 1])?);
    }
    let grid = m.node("Concat", &grid, &[("axis", Attr::Int(3))])?;
    let attrs = [
        ("mode", Attr::Str("linear".to_owned())),
        ("padding_mode", Attr::Str("border".to_owned())),
        ("align_corners", Attr::Int(1)),
    ];
    let read = m.node("GridSample", &[image, grid], &attrs)?;
    let inside = inside.ok_or_else(|| m.err("has no coordinates"))?;
    let inside = m.reshape(inside, &[1, 1, height as i64, width as i64])?;
    let y = m.node("Where", &[inside, read, zero], &[])?;
    m.finish(op, 0, y, Form::Image, 0)
}

/// Inputs: landmarks `[1, N, 2]` or `[1, N, 3]`, of which the third numbers stay, and a matrix.
pub fn transform_landmarks(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let dims = m.dims_of(x);
    let &[1, _, depth @ 2..=3] = dims.as_slice() else {
        return Err(m.err(format!("has landmarks {dims:?}; [1, N, 2] or [1, N, 3] are needed")));
    };
    let (px, py) = (m.slice(x, 2, 0, 1)?, m.slice(x, 2, 1, 2)?);
    let mut parts = Vec::new();
    for [a, b, shift] in rows(m, op)? {
        let moved = sum(m, a, px, b, py)?;
        parts.push(m.node("Add", &[moved, shift], &[])?);
    }
    if depth == 3 {
        parts.push(m.slice(x, 2, 2, 3)?);
    }
    let y = m.node("Concat", &parts, &[("axis", Attr::Int(2))])?;
    m.finish(op, 0, y, Form::Plain, 0)
}
