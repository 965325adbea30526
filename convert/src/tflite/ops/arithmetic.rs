//! Operators that several of ONNX's express: remainders, norms, constants by shape.

use super::elementwise::operands;
use super::{Done, Rule, axis, laid, plain};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, Tensor, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ATAN2", atan2),
    ("BITCAST", bitcast),
    ("BITWISE_XOR", bitwise_xor),
    ("BROADCAST_ARGS", broadcast_args),
    ("FAKE_QUANT", fake_quant),
    ("FLOOR_DIV", floor_div),
    ("FLOOR_MOD", floor_mod),
    ("L2_NORMALIZATION", l2_normalization),
    ("LOCAL_RESPONSE_NORMALIZATION", local_response),
    ("RANGE", range),
    ("RANK", rank),
    ("RELU_0_TO_1", unit),
    ("ZEROS_LIKE", zeros_like),
];

/// `x - floor(x / y) * y`: the remainder with the divisor's sign.
fn remainder(m: &mut Importer<'_>, x: ValueId, y: ValueId) -> Result<ValueId, ImportError> {
    if !m.elem_of(x).is_float() {
        return m.node("Mod", &[x, y], &[]);
    }
    let r = m.node("Mod", &[x, y], &[("fmod", Attr::Int(1))])?;
    let zero = m.scalar(0.0);
    let (below, against) = (m.node("Less", &[r, zero], &[])?, m.node("Less", &[y, zero], &[])?);
    let unlike = m.node("Xor", &[below, against], &[])?;
    let same = m.node("Equal", &[r, zero], &[])?;
    let there = m.node("Not", &[same], &[])?;
    let wrong = m.node("And", &[unlike, there], &[])?;
    let moved = m.node("Add", &[r, y], &[])?;
    m.node("Where", &[wrong, moved, r], &[])
}

fn floor_mod(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (v, form) = operands(m, op)?;
    let y = remainder(m, v[0], v[1])?;
    m.finish(op, 0, y, form, 0)
}

fn floor_div(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (v, form) = operands(m, op)?;
    let y = if m.elem_of(v[0]).is_float() {
        let q = m.node("Div", &v, &[])?;
        m.node("Floor", &[q], &[])?
    } else {
        // Without the remainder the division is exact.
        let r = remainder(m, v[0], v[1])?;
        let whole = m.node("Sub", &[v[0], r], &[])?;
        m.node("Div", &[whole, v[1]], &[])?
    };
    m.finish(op, 0, y, form, 0)
}

fn bitwise_xor(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (v, form) = operands(m, op)?;
    let y = m.node("BitwiseXor", &v, &[])?;
    m.finish(op, 0, y, form, 0)
}

/// The angle of `(x, y)`: inputs y and x.
fn atan2(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (v, form) = operands(m, op)?;
    let (y, x) = (v[0], v[1]);
    let zero = m.scalar(0.0);
    let slope = m.node("Div", &[y, x], &[])?;
    let angle = m.node("Atan", &[slope], &[])?;
    let (left, below) = (m.node("Less", &[x, zero], &[])?, m.node("Less", &[y, zero], &[])?);
    let (half, less) = (m.scalar(std::f32::consts::PI), m.scalar(-std::f32::consts::PI));
    let turn = m.node("Where", &[below, less, half], &[])?;
    let turn = m.node("Where", &[left, turn, zero], &[])?;
    let turned = m.node("Add", &[angle, turn], &[])?;
    // 0 / 0
    let (flat, none) = (m.node("Equal", &[y, zero], &[])?, m.node("Equal", &[x, zero], &[])?);
    let nowhere = m.node("And", &[flat, none], &[])?;
    let angle = m.node("Where", &[nowhere, zero, turned], &[])?;
    m.finish(op, 0, angle, form, 0)
}

fn bitcast(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let to = crate::onnx::elem_number(m.output_elem(op, 0)?);
    let y = m.node("BitCast", &[x], &[("to", Attr::Int(i64::from(to)))])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// The shape that two shapes broadcast to.
fn broadcast_args(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (a, b) = (m.input(op, 0)?, m.input(op, 1)?);
    let (a, b) = (m.ints(a)?, m.ints(b)?);
    let rank = a.len().max(b.len());
    let at = |v: &[i64], i: usize| (i + v.len()).checked_sub(rank).map_or(1, |i| v[i]);
    let mut dims = Vec::with_capacity(rank);
    for i in 0..rank {
        dims.push(match (at(&a, i), at(&b, i)) {
            (x, y) if x == y || y == 1 => x,
            (1, y) => y,
            _ => return Err(m.err(format!("broadcasts {a:?} and {b:?}, which do not fit"))),
        });
    }
    let y = m.list(&dims);
    let y = m.cast(y, m.output_elem(op, 0)?)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Fields: min 0, max 1, num_bits 2, narrow_range 3, which LiteRT refuses too. Rounds to as many steps between bounds that are moved so that zero
/// is one of them.
fn fake_quant(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let (low, high) = (m.option(op, 0, 0f32)?, m.option(op, 1, 0f32)?);
    let (bits, narrow) = (m.option(op, 2, 0i32)?, m.option(op, 3, false)?);
    if !(2..=16).contains(&bits) || low >= high || narrow {
        return Err(
            m.err(format!("rounds to {bits} bits between {low} and {high}, with a narrow range: {narrow}"))
        );
    }
    let last = ((1 << bits) - 1) as f32;
    let scale = (high - low) / last;
    let zero = (-low / scale).clamp(0.0, last).round();
    let (bottom, top) = (-zero * scale, (last - zero) * scale);
    let [bottom, top, scale, half] = [bottom, top, scale, 0.5].map(|v| m.scalar(v));
    let y = m.node("Clip", &[x, bottom, top], &[])?;
    let y = m.node("Sub", &[y, bottom], &[])?;
    let y = m.node("Div", &[y, scale], &[])?;
    let y = m.node("Add", &[y, half], &[])?;
    let y = m.node("Floor", &[y], &[])?;
    let y = m.node("Mul", &[y, scale], &[])?;
    let y = m.node("Add", &[y, bottom], &[])?;
    m.finish(op, 0, y, form, 0)
}

/// Along the last dimension of the file, divided by the root of the sum of squares, or by 1e-6 where that is less.
fn l2_normalization(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let rank = m.dims_of(x).len();
    let along = form.axis(axis(m, -1, rank)?);
    let axes = m.list(&[along as i64]);
    let norm = m.node("ReduceL2", &[x, axes], &[("keepdims", Attr::Int(1))])?;
    let least = m.scalar(1e-6);
    let norm = m.node("Max", &[norm, least], &[])?;
    let y = m.node("Div", &[x, norm], &[])?;
    let fused = m.option(op, 0, 0i8)?;
    m.finish(op, 0, y, form, fused)
}

/// Fields: radius 0, bias 1, alpha 2, beta 3. Over channels; ONNX divides alpha by their number.
fn local_response(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let t = m.input(op, 0)?;
    let x = m.image(t)?;
    let radius = i64::from(m.option(op, 0, 0i32)?);
    if !(0..1 << 16).contains(&radius) {
        return Err(m.err(format!("has a radius of {radius}")));
    }
    let size = 2 * radius + 1;
    let attrs = [
        ("size", Attr::Int(size)),
        ("bias", Attr::Float(m.option(op, 1, 0f32)?)),
        ("alpha", Attr::Float(m.option(op, 2, 0f32)? * size as f32)),
        ("beta", Attr::Float(m.option(op, 3, 0f32)?)),
    ];
    let y = m.node("LRN", &[x], &attrs)?;
    m.finish(op, 0, y, Form::Image, 0)
}

/// Inputs: start, limit, step.
fn range(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let mut ends = Vec::with_capacity(3);
    for i in 0..3 {
        let x = plain(m, op, i)?;
        if m.builder.graph.constant(x).is_none() {
            return Err(m.err(
                "follows from numbers that are computed while the model runs; convert it with static shapes",
            ));
        }
        ends.push(m.reshape(x, &[])?);
    }
    let y = m.node("Range", &ends, &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

fn rank(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let t = m.input(op, 0)?;
    let rank = m.dims(t)?.len() as i64;
    let hint = m.hint.clone();
    let y = m.builder.constant(&hint, Tensor::i64(&[], vec![rank]));
    let y = m.cast(y, ElemType::I32)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

fn unit(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let (low, high) = (m.scalar(0.0), m.scalar(1.0));
    let y = m.node("Clip", &[x, low, high], &[])?;
    m.finish(op, 0, y, form, 0)
}

fn zeros_like(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let t = m.input(op, 0)?;
    let dims: Vec<i64> = m.dims(t)?.into_iter().map(|d| d as i64).collect();
    let zero = m.scalar(0.0);
    let zero = m.cast(zero, m.output_elem(op, 0)?)?;
    let list = m.list(&dims);
    let y = m.node("Expand", &[zero, list], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}
