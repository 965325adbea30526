//! Functions of each element, spelled out by simpler ones.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::graph::{Attr, ElemType, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Abs", of_integers),
    ("Neg", of_integers),
    ("Relu", of_integers),
    ("Sign", of_integers),
    ("BitShift", bit_shift),
    ("BitwiseNot", bitwise_not),
    ("Celu", celu),
    ("Clip", clip),
    ("Hardmax", hardmax),
    ("IsInf", is_inf),
    ("IsNaN", is_nan),
    ("Shrink", shrink),
    ("SwiGLU", swi_glu),
    ("Swish", swish),
    ("ai.onnx.ml.Binarizer", binarizer),
    ("com.microsoft.BiasAdd", bias_add),
    ("com.microsoft.BiasGelu", biased_gelu),
    ("com.microsoft.FastGelu", biased_gelu),
    ("com.microsoft.BiasSplitGelu", bias_split_gelu),
    ("com.microsoft.BiasSoftmax", bias_softmax),
    ("com.microsoft.QuickGelu", quick_gelu),
];

/// Functions that are exact in integers; of real numbers they stay as they are.
fn of_integers(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    if m.elem(x).is_float() || m.known(x).is_some() {
        return Ok(false);
    }
    let zero = m.like(x, 0.0);
    let y = match m.node.op.as_str() {
        "Neg" => m.sub(zero, x)?,
        "Abs" if is_unsigned(m.elem(x)) => x,
        "Abs" => {
            let negative = m.sub(zero, x)?;
            m.op("Max", &[x, negative])?
        }
        "Relu" => m.op("Max", &[x, zero])?,
        _ => {
            let (low, high) = (m.like(x, -1.0), m.like(x, 1.0));
            let above = m.op("Max", &[x, low])?;
            m.op("Min", &[above, high])?
        }
    };
    m.done(y)
}

fn is_unsigned(elem: ElemType) -> bool {
    matches!(elem, ElemType::U8 | ElemType::U16 | ElemType::U32 | ElemType::U64)
}

/// To the left: times 2^n, wrapping. To the right: divided by 2^n, rounded down.
fn bit_shift(m: &mut Make<'_, '_>) -> Done {
    let (x, n) = (m.input(0)?, m.input(1)?);
    let elem = m.elem(x);
    let (wide, n) = (m.cast(x, ElemType::I32)?, m.cast(n, ElemType::I32)?);
    let two = m.number(2.0, ElemType::I32);
    let power = m.op("Pow", &[two, n])?;
    let y = match m.node.str("direction", "") {
        "LEFT" => m.mul(wide, power)?,
        "RIGHT" if is_unsigned(elem) => m.div(wide, power)?,
        "RIGHT" => {
            let rest = m.op("Mod", &[wide, power])?;
            let whole = m.sub(wide, rest)?;
            m.div(whole, power)?
        }
        other => return m.fail(format!("shifts to '{other}'; LEFT and RIGHT are defined")),
    };
    let y = m.cast(y, elem)?;
    m.done(y)
}

fn bitwise_not(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let elem = m.elem(x);
    let wide = if elem.size() < 4 { m.cast(x, ElemType::I32)? } else { x };
    let ones = m.like(wide, -1.0);
    let y = m.op("BitwiseXor", &[wide, ones])?;
    let y = m.cast(y, elem)?;
    m.done(y)
}

/// max(0, x) + min(0, alpha * (exp(x / alpha) - 1)), which is Elu between two scalings.
fn celu(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let alpha = m.node.float("alpha", 1.0);
    if alpha == 0.0 {
        return m.fail("needs an alpha that is not 0");
    }
    let scaled = m.times(x, 1.0 / f64::from(alpha))?;
    let elu = m.op_with("Elu", &[scaled], &[("alpha", Attr::Float(1.0))])?;
    let y = m.times(elu, f64::from(alpha))?;
    m.done(y)
}

/// With bounds that are known, of real numbers, it stays; otherwise it is a maximum and a minimum.
fn clip(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let bounds = [m.opt(1), m.opt(2)];
    let known = |b: &Option<ValueId>| b.is_none_or(|b| m.known(b).is_some_and(|t| t.len() == 1));
    if m.elem(x).is_float() && bounds.iter().all(known) {
        return Ok(false);
    }
    let mut y = x;
    if let Some(low) = bounds[0] {
        y = m.op("Max", &[y, low])?;
    }
    if let Some(high) = bounds[1] {
        y = m.op("Min", &[y, high])?;
    }
    m.done(y)
}

/// 1 at the first greatest element along the axis, 0 elsewhere.
fn hardmax(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let axis = m.axis("axis", -1, dims.len())?;
    let best = m.op_with("ArgMax", &[x], &[("axis", Attr::Int(axis as i64)), ("keepdims", Attr::Int(1))])?;
    let mut along = vec![1; dims.len()];
    along[axis] = dims[axis];
    let positions = m.numbers(&along, (0..dims[axis]).map(|i| i as f64).collect(), ElemType::I64);
    let here = m.op("Equal", &[positions, best])?;
    let elem = m.elem(x);
    let y = m.cast(here, elem)?;
    m.done(y)
}

fn is_inf(m: &mut Make<'_, '_>) -> Done {
    let mut x = m.input(0)?;
    if m.elem(x) == ElemType::F64 {
        // Infinite doubles are infinite in float32.
        x = m.cast(x, ElemType::F32)?;
    }
    let (positive, negative) = (m.node.int("detect_positive", 1) != 0, m.node.int("detect_negative", 1) != 0);
    let y = match (positive, negative) {
        (true, true) => {
            let (magnitude, inf) = (m.op("Abs", &[x])?, m.like(x, f64::INFINITY));
            m.op("Equal", &[magnitude, inf])?
        }
        (false, false) => {
            let never = m.number(0.0, ElemType::Bool);
            let dims = m.dims(x);
            m.expand(never, &dims)?
        }
        (positive, _) => {
            let inf = m.like(x, if positive { f64::INFINITY } else { f64::NEG_INFINITY });
            m.op("Equal", &[x, inf])?
        }
    };
    m.done(y)
}

/// Only NaN differs from itself.
fn is_nan(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let equal = m.op("Equal", &[x, x])?;
    let y = m.op("Not", &[equal])?;
    m.done(y)
}

/// x + bias below -lambd, x - bias above lambd, 0 between.
fn shrink(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let (lambda, bias) = (f64::from(m.node.float("lambd", 0.5)), f64::from(m.node.float("bias", 0.0)));
    let (low, high, zero) = (m.like(x, -lambda), m.like(x, lambda), m.like(x, 0.0));
    let (up, down) = (m.plus(x, bias)?, m.plus(x, -bias)?);
    let (below, above) = (m.op("Less", &[x, low])?, m.op("Greater", &[x, high])?);
    let upper = m.op("Where", &[above, down, zero])?;
    let y = m.op("Where", &[below, up, upper])?;
    m.done(y)
}

/// x * sigmoid(alpha * x)
pub(super) fn swish_of(m: &mut Make<'_, '_>, x: ValueId, alpha: f32) -> Made {
    if alpha == 1.0 {
        return m.op("Swish", &[x]);
    }
    let scaled = m.times(x, f64::from(alpha))?;
    let gate = m.op("Sigmoid", &[scaled])?;
    m.mul(x, gate)
}

fn swish(m: &mut Make<'_, '_>) -> Done {
    let (x, alpha) = (m.input(0)?, m.node.float("alpha", 1.0));
    if alpha == 1.0 {
        return Ok(false);
    }
    let y = swish_of(m, x, alpha)?;
    m.done(y)
}

fn quick_gelu(m: &mut Make<'_, '_>) -> Done {
    let (x, alpha) = (m.input(0)?, m.node.float("alpha", 1.702));
    let y = swish_of(m, x, alpha)?;
    m.done(y)
}

fn swi_glu(m: &mut Make<'_, '_>) -> Done {
    let (gate, value) = (m.input(0)?, m.input(1)?);
    let alpha = m.node.float("alpha", 1.0);
    let gate = swish_of(m, gate, alpha)?;
    let y = m.mul(gate, value)?;
    m.done(y)
}

fn binarizer(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let threshold = f64::from(m.node.float("threshold", 0.0));
    let limit = m.like(x, threshold);
    let above = m.op("Greater", &[x, limit])?;
    let elem = m.elem(x);
    let y = m.cast(above, elem)?;
    m.done(y)
}

/// An input plus the bias that may stand behind it.
fn biased(m: &mut Make<'_, '_>) -> Made {
    let x = m.input(0)?;
    match m.opt(1) {
        Some(bias) => m.add(x, bias),
        None => Ok(x),
    }
}

fn gelu_of(m: &mut Make<'_, '_>, x: ValueId, approximate: &str) -> Made {
    m.op_with("Gelu", &[x], &[("approximate", Attr::Str(approximate.to_owned()))])
}

fn biased_gelu(m: &mut Make<'_, '_>) -> Done {
    let x = biased(m)?;
    let mode = if m.node.op.ends_with("FastGelu") { "tanh" } else { "none" };
    let y = gelu_of(m, x, mode)?;
    m.done(y)
}

/// x + bias + residual
fn bias_add(m: &mut Make<'_, '_>) -> Done {
    let (x, residual) = (biased(m)?, m.input(2)?);
    let y = m.add(x, residual)?;
    m.done(y)
}

/// The first half of the last dimension times the GELU of the second.
fn bias_split_gelu(m: &mut Make<'_, '_>) -> Done {
    let x = biased(m)?;
    let dims = m.dims(x);
    let (last, n) = match dims.last() {
        Some(&n) if n % 2 == 0 => (dims.len() - 1, n),
        _ => return m.fail(format!("splits {dims:?} in halves")),
    };
    let (value, gate) = (m.slice(x, last, 0, n / 2)?, m.slice(x, last, n / 2, n)?);
    let gate = gelu_of(m, gate, "none")?;
    let y = m.mul(value, gate)?;
    m.done(y)
}

fn bias_softmax(m: &mut Make<'_, '_>) -> Done {
    let x = biased(m)?;
    let dims = m.dims(x);
    let axis = m.axis("axis", 1, dims.len())?;
    if m.node.int("is_inner_broadcast", 1) == 0 && dims.len() != m.rank(m.input(1)?) {
        return m.fail("broadcasts its bias from the outer dimensions, which is not supported");
    }
    let flat = m.reshape(x, &[dims[..axis].iter().product(), dims[axis..].iter().product()])?;
    let soft = m.softmax(flat, 1)?;
    let y = m.reshape(soft, &dims)?;
    m.done(y)
}
