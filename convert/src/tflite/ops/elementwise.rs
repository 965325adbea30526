//! Operators that compute each output element from the input elements at the same place, with broadcasting from the
//! last dimension, and softmax.

use super::{Done, Rule, activation, laid, plain};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::{Form, TO_IMAGE};

/// Operators of one input that ONNX has too.
const UNARY: &[(&str, &str)] = &[
    ("ABS", "Abs"),
    ("CEIL", "Ceil"),
    ("COS", "Cos"),
    ("ELU", "Elu"),
    ("EXP", "Exp"),
    ("FLOOR", "Floor"),
    ("HARD_SWISH", "HardSwish"),
    ("LOG", "Log"),
    ("LOGICAL_NOT", "Not"),
    ("LOGISTIC", "Sigmoid"),
    ("NEG", "Neg"),
    ("RELU", "Relu"),
    ("ROUND", "Round"),
    ("SIGN", "Sign"),
    ("SIN", "Sin"),
    ("SQRT", "Sqrt"),
    ("TANH", "Tanh"),
];

/// Operators that broadcast their inputs and that ONNX has too; only those of arithmetic fuse an activation.
const BROADCAST: &[(&str, &str)] = &[
    ("ADD", "Add"),
    ("ADD_N", "Sum"),
    ("DIV", "Div"),
    ("EQUAL", "Equal"),
    ("GREATER", "Greater"),
    ("GREATER_EQUAL", "GreaterOrEqual"),
    ("LESS", "Less"),
    ("LESS_EQUAL", "LessOrEqual"),
    ("LOGICAL_AND", "And"),
    ("LOGICAL_OR", "Or"),
    ("MAXIMUM", "Max"),
    ("MINIMUM", "Min"),
    ("MUL", "Mul"),
    ("POW", "Pow"),
    ("PRELU", "PRelu"),
    ("SELECT_V2", "Where"),
    ("SUB", "Sub"),
];

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(n, _)| *n == name).map(|&(_, onnx)| onnx)
}

/// The rule of an operator that ONNX has under another name.
pub fn rule(name: &str) -> Option<Rule> {
    if find(UNARY, name).is_some() { Some(unary) } else { find(BROADCAST, name).map(|_| broadcast as Rule) }
}

/// The operators that ONNX has under another name.
pub fn groups() -> impl Iterator<Item = &'static str> {
    UNARY.iter().chain(BROADCAST).map(|&(name, _)| name)
}

pub(super) const RULES: &[(&str, Rule)] = &[
    ("RELU6", |m, op| clipped(m, op, 3)),
    ("RELU_N1_TO_1", |m, op| clipped(m, op, 2)),
    ("SELECT", select),
    ("RSQRT", rsqrt),
    ("SQUARE", square),
    ("SQUARED_DIFFERENCE", squared_difference),
    ("NOT_EQUAL", not_equal),
    ("LEAKY_RELU", leaky_relu),
    ("GELU", gelu),
    ("CAST", cast),
    ("DENSIFY", densify),
    ("DEQUANTIZE", dequantize),
    ("QUANTIZE", quantize),
    ("SOFTMAX", softmax),
    ("LOG_SOFTMAX", log_softmax),
];

fn unary(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let Some(onnx) = find(UNARY, &op.name) else { return Err(m.err("is not supported")) };
    let (x, form) = laid(m, op, 0)?;
    let y = m.node(onnx, &[x], &[])?;
    m.finish(op, 0, y, form, 0)
}

/// The inputs, aligned for ONNX's broadcasting. When one has rank 4 all are NCHW: those of lower rank get leading
/// dimensions of 1 first, as broadcasting would give them.
pub(super) fn operands(m: &mut Importer<'_>, op: &Operator<'_>) -> Result<(Vec<ValueId>, Form), ImportError> {
    let tensors = (0..op.inputs.len()).map(|i| m.input(op, i)).collect::<Result<Vec<_>, _>>()?;
    let mut rank = 0;
    for &t in &tensors {
        rank = rank.max(m.dims(t)?.len());
    }
    let form = if rank == 4 { Form::Image } else { Form::Plain };
    let aligned = |m: &mut Importer<'_>, t: usize| -> Result<ValueId, ImportError> {
        let dims = m.dims(t)?;
        if form == Form::Plain || dims.iter().all(|&d| d == 1) && dims.len() < 4 {
            return m.plain(t);
        }
        if dims.len() == 4 {
            return m.image(t);
        }
        let plain = m.plain(t)?;
        let mut wide = vec![1i64; 4 - dims.len()];
        wide.extend(dims.iter().map(|&d| d as i64));
        let to = m.list(&wide);
        let wide = m.node("Reshape", &[plain, to], &[])?;
        m.transpose(wide, &TO_IMAGE)
    };
    let values = tensors.into_iter().map(|t| aligned(m, t)).collect::<Result<_, _>>()?;
    Ok((values, form))
}

fn broadcast(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let Some(onnx) = find(BROADCAST, &op.name) else { return Err(m.err("is not supported")) };
    let (inputs, form) = operands(m, op)?;
    let y = m.node(onnx, &inputs, &[])?;
    let fused =
        if matches!(op.name.as_str(), "ADD" | "SUB" | "MUL" | "DIV") { m.option(op, 0, 0i8)? } else { 0 };
    m.finish(op, 0, y, form, fused)
}

fn clipped(m: &mut Importer<'_>, op: &Operator<'_>, number: i8) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let y = activation(m, x, number)?;
    m.finish(op, 0, y, form, 0)
}

fn rsqrt(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let root = m.node("Sqrt", &[x], &[])?;
    let y = m.node("Reciprocal", &[root], &[])?;
    m.finish(op, 0, y, form, 0)
}

fn square(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let y = m.node("Mul", &[x, x], &[])?;
    m.finish(op, 0, y, form, 0)
}

fn squared_difference(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (inputs, form) = operands(m, op)?;
    let d = m.node("Sub", &inputs, &[])?;
    let y = m.node("Mul", &[d, d], &[])?;
    m.finish(op, 0, y, form, 0)
}

fn not_equal(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (inputs, form) = operands(m, op)?;
    let equal = m.node("Equal", &inputs, &[])?;
    let y = m.node("Not", &[equal], &[])?;
    m.finish(op, 0, y, form, 0)
}

fn leaky_relu(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let alpha = m.option(op, 0, 0f32)?;
    let y = m.node("LeakyRelu", &[x], &[("alpha", Attr::Float(alpha))])?;
    m.finish(op, 0, y, form, 0)
}

fn gelu(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let mode = if m.option(op, 0, false)? { "tanh" } else { "none" };
    let y = m.node("Gelu", &[x], &[("approximate", Attr::Str(mode.to_owned()))])?;
    m.finish(op, 0, y, form, 0)
}

/// To the element type of the output tensor.
fn cast(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    if let Some([re, _]) = super::spectrum::parts(m, op)? {
        // What is real of a complex number is its real part.
        let to = m.output_elem(op, 0)?;
        let y = m.cast(re, to)?;
        return m.finish(op, 0, y, Form::Plain, 0);
    }
    let (x, form) = laid(m, op, 0)?;
    let to = m.output_elem(op, 0)?;
    let y = m.cast(x, to)?;
    m.finish(op, 0, y, form, 0)
}

/// Half-precision weights, or integers with a scale, to float32.
fn dequantize(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let t = m.input(op, 0)?;
    let (x, form) = m.present(t)?;
    let y = match m.elem_of(x) {
        ElemType::F32 => x,
        e if e.is_float() => m.cast(x, ElemType::F32)?,
        e => return Err(m.err(format!("dequantizes {e} without a scale; convert the model again"))),
    };
    m.finish(op, 0, y, form, 0)
}

/// What the file holds as a sparse tensor is whole when it is read.
fn densify(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let t = m.input(op, 0)?;
    let (x, form) = m.present(t)?;
    m.finish(op, 0, x, form, 0)
}

/// Inputs: a condition of the values' shape, one number, or one for each index of the first dimension; two values.
fn select(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let [c, x, y] = [0, 1, 2].map(|i| plain(m, op, i));
    let (mut c, x, y) = (c?, x?, y?);
    let (cd, xd) = (m.dims_of(c), m.dims_of(x));
    if cd.len() == 1 && cd != xd {
        let mut column = vec![1; xd.len().max(1)];
        column[0] = cd[0] as i64;
        c = m.reshape(c, &column)?;
    }
    let y = m.node("Where", &[c, x, y], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Real numbers, or integers with another scale, to integers: the output tensor says which.
fn quantize(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let t = m.input(op, 0)?;
    let (x, form) = m.present(t)?;
    m.finish(op, 0, x, form, 0)
}

/// Along the last dimension of the file's order, which is dimension 1 in NCHW.
fn last(form: Form) -> (&'static str, Attr) {
    ("axis", Attr::Int(if form == Form::Image { 1 } else { -1 }))
}

fn softmax(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (mut x, form) = laid(m, op, 0)?;
    let beta = m.option(op, 0, 0f32)?;
    if beta != 1.0 {
        let beta = m.scalar(beta);
        x = m.node("Mul", &[x, beta], &[])?;
    }
    let y = m.node("Softmax", &[x], &[last(form)])?;
    m.finish(op, 0, y, form, 0)
}

fn log_softmax(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, form) = laid(m, op, 0)?;
    let y = m.node("LogSoftmax", &[x], &[last(form)])?;
    m.finish(op, 0, y, form, 0)
}
