//! Operators that compute each output element from the input elements at the same place.

use super::{Ctx, Rule, Types, broadcast};
use crate::graph::ElemType;
use crate::onnx::elem_type;

/// Operators of one input (and parameters) that keep shape and type.
pub const UNARY: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Clip",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Trilu",
];

/// Operators of two inputs of one type, which the output has too.
pub const BINARY: &[&str] =
    &["Add", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Mod", "Mul", "PRelu", "Pow", "Sub"];

/// Operators of any number of inputs of one type.
const VARIADIC: &[&str] = &["Max", "Mean", "Min", "Sum"];

/// Operators of two inputs whose output is boolean.
const COMPARE: &[&str] = &["And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor"];

/// The rule of an operator that is one of a group.
pub fn rule(op: &str) -> Option<Rule> {
    Some(match op {
        _ if UNARY.contains(&op) => unary,
        _ if BINARY.contains(&op) => binary,
        _ if VARIADIC.contains(&op) => variadic,
        _ if COMPARE.contains(&op) => compare,
        _ => return None,
    })
}

/// The operators of the groups.
pub fn groups() -> impl Iterator<Item = &'static str> {
    [UNARY, BINARY, VARIADIC, COMPARE].into_iter().flatten().copied()
}

pub(super) const RULES: &[(&str, Rule)] = &[
    ("IsNaN", |c| Ok(vec![(ElemType::Bool, c.dims(0)?.to_vec())])),
    ("BitCast", bit_cast),
    ("Where", choose),
    ("Cast", cast),
    ("CastLike", |c| Ok(vec![(c.elem(1)?, c.dims(0)?.to_vec())])),
    ("QuantizeLinear", quantize),
    ("DequantizeLinear", dequantize),
];

fn unary(c: &Ctx<'_>) -> Result<Types, String> {
    let dims = c.dims(0)?.to_vec();
    if matches!(c.node.op.as_str(), "Softmax" | "LogSoftmax") {
        super::axis(c.node.int("axis", -1), dims.len())?;
    }
    if c.node.op == "Trilu" && dims.len() < 2 {
        return Err(format!("needs an input of rank 2 or more, it is {dims:?}"));
    }
    Ok(vec![(c.elem(0)?, dims)])
}

fn binary(c: &Ctx<'_>) -> Result<Types, String> {
    let (a, b) = (c.elem(0)?, c.elem(1)?);
    if a != b && !matches!(c.node.op.as_str(), "Pow") {
        return Err(format!("its inputs are {a} and {b}; both must have one type"));
    }
    Ok(vec![(a, broadcast(c.dims(0)?, c.dims(1)?)?)])
}

fn variadic(c: &Ctx<'_>) -> Result<Types, String> {
    let elem = c.elem(0)?;
    let mut dims = c.dims(0)?.to_vec();
    for i in 1..c.node.inputs.len() {
        if c.elem(i)? != elem {
            return Err(format!("its inputs are {elem} and {}; all must have one type", c.elem(i)?));
        }
        dims = broadcast(&dims, c.dims(i)?)?;
    }
    Ok(vec![(elem, dims)])
}

fn compare(c: &Ctx<'_>) -> Result<Types, String> {
    let (a, b) = (c.elem(0)?, c.elem(1)?);
    let logical = matches!(c.node.op.as_str(), "And" | "Or" | "Xor");
    if a != b || (logical && a != ElemType::Bool) {
        return Err(format!("its inputs are {a} and {b}; they must have one type (bool for logic)"));
    }
    Ok(vec![(ElemType::Bool, broadcast(c.dims(0)?, c.dims(1)?)?)])
}

fn choose(c: &Ctx<'_>) -> Result<Types, String> {
    let (cond, a, b) = (c.elem(0)?, c.elem(1)?, c.elem(2)?);
    if cond != ElemType::Bool || a != b {
        return Err(format!("its inputs are {cond}, {a}, {b}; they must be bool and twice one type"));
    }
    Ok(vec![(a, broadcast(c.dims(0)?, &broadcast(c.dims(1)?, c.dims(2)?)?)?)])
}

fn cast(c: &Ctx<'_>) -> Result<Types, String> {
    let to = c.node.int("to", 0);
    let elem = i32::try_from(to).ok().and_then(elem_type);
    let elem = elem.ok_or_else(|| format!("casts to element type number {to}, which is not supported"))?;
    Ok(vec![(elem, c.dims(0)?.to_vec())])
}

fn bit_cast(c: &Ctx<'_>) -> Result<Types, String> {
    let to = c.node.int("to", 0);
    let elem = i32::try_from(to).ok().and_then(elem_type);
    let elem = elem.ok_or_else(|| format!("casts to element type number {to}, which is not supported"))?;
    if elem.size() != c.elem(0)?.size() {
        return Err(format!("reads {} as {elem}, which has another width", c.elem(0)?));
    }
    Ok(vec![(elem, c.dims(0)?.to_vec())])
}

/// Scale and zero point of a (de)quantization must fit its input: one number, one per index of `axis`, or one per
/// block along `axis`.
fn check_scale(c: &Ctx<'_>) -> Result<(), String> {
    let (x, scale) = (c.dims(0)?, c.dims(1)?);
    if let Some(zero) = c.opt_dims(2)
        && zero != scale
        && zero.iter().chain(scale).any(|&d| d != 1)
    {
        return Err(format!(
            "its scale has dimensions {scale:?}, its zero point {zero:?}; they must be equal"
        ));
    }
    if scale.iter().all(|&d| d == 1) {
        return Ok(());
    }
    let axis = super::axis(c.node.int("axis", 1), x.len())?;
    let block = c.node.int("block_size", 0);
    let fits = if block > 0 {
        let blocks = |i: usize| if i == axis { x[i].div_ceil(block as usize) } else { x[i] };
        scale.len() == x.len() && (0..x.len()).all(|i| scale[i] == blocks(i))
    } else {
        scale == [x[axis]]
    };
    if !fits {
        return Err(format!("its scale of dimensions {scale:?} does not fit {x:?} along axis {axis}"));
    }
    Ok(())
}

fn quantize(c: &Ctx<'_>) -> Result<Types, String> {
    check_scale(c)?;
    let declared = i32::try_from(c.node.int("output_dtype", 0)).ok().and_then(elem_type);
    let elem = match c.node.input(2) {
        Some(zero) => c.graph.elem(zero),
        None => declared.unwrap_or(ElemType::U8),
    };
    if elem.is_float() || elem == ElemType::Bool {
        return Err(format!("quantizes to {elem}, which is no integer"));
    }
    Ok(vec![(elem, c.dims(0)?.to_vec())])
}

fn dequantize(c: &Ctx<'_>) -> Result<Types, String> {
    check_scale(c)?;
    let (x, scale) = (c.elem(0)?, c.elem(1)?);
    if x.is_float() || x == ElemType::Bool || !scale.is_float() {
        return Err(format!("dequantizes {x} by {scale}; it must be an integer and a real type"));
    }
    Ok(vec![(scale, c.dims(0)?.to_vec())])
}
