//! Quantization whose scales a model computes, or that is not of whole bytes per tensor: in plain arithmetic.

use super::Rule;
use super::make::{Done, Made, Make};
use super::narrow;
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, Node, ValueId};
use crate::onnx::Narrow;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Cast", narrow::cast),
    ("CastLike", narrow::cast),
    ("ConvInteger", conv_integer),
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", dynamic_quantize),
    ("MatMulInteger", matmul_integer),
    ("QuantizeLinear", quantize),
    ("com.microsoft.DynamicQuantizeLSTM", dynamic_quantize_lstm),
    ("com.microsoft.DynamicQuantizeMatMul", dynamic_quantize_matmul),
    ("com.microsoft.MatMulIntegerToFloat", matmul_integer_to_float),
];

/// Whether the step that converts between real numbers and bytes can do it: one known scale.
fn is_plain(m: &Make<'_, '_>, elem: ElemType) -> bool {
    let one = |i: usize| m.opt(i).is_none_or(|v| m.known(v).is_some_and(|t| t.len() == 1));
    matches!(elem, ElemType::I8 | ElemType::U8) && one(1) && one(2)
}

/// A scale or zero point broadcast against `x`: one number, one for each index of an axis, or one for each block.
fn along(m: &mut Make<'_, '_>, x: ValueId, p: ValueId) -> Made {
    let (dims, own) = (m.dims(x), m.dims(p));
    if own.iter().product::<usize>() == 1 {
        return m.reshape(p, &[]);
    }
    let axis = m.axis("axis", 1, dims.len())?;
    let block = usize::try_from(m.node.int("block_size", 0)).unwrap_or(0);
    if own.len() == 1 && own[0] == dims[axis] {
        let mut wide = vec![1; dims.len()];
        wide[axis] = own[0];
        return m.reshape(p, &wide);
    }
    if own.len() != dims.len() || own[axis] == 0 {
        return m.fail(format!("its scale of dimensions {own:?} does not fit {dims:?} along axis {axis}"));
    }
    let each = if block == 0 { dims[axis].div_ceil(own[axis]) } else { block };
    let at = (0..dims[axis]).map(|i| (i / each) as f64).collect();
    let at = m.numbers(&[dims[axis]], at, ElemType::I64);
    m.gather(p, at, axis)
}

fn dequantize(m: &mut Make<'_, '_>) -> Done {
    let (x, scale) = (m.input(0)?, m.input(1)?);
    let from = m.elem(x);
    // Constants are folded as they are; blocks and wide zero points are computed.
    let narrow = Narrow::source(m.node).filter(|n| n.is_float());
    if narrow.is_none()
        && (is_plain(m, from)
            || (m.known(x).is_some() && m.node.int("block_size", 0) == 0 && !from.is_float()))
    {
        return Ok(false);
    }
    let elem = m.elem(scale);
    let mut real = match narrow {
        Some(narrow) => narrow::decode(m, x, narrow, elem)?,
        None => m.cast(x, elem)?,
    };
    if narrow.is_some() {
        narrow::check_zero(m)?;
    } else if let Some(zero) = m.opt(2) {
        let zero = m.cast(zero, elem)?;
        let zero = along(m, x, zero)?;
        real = m.sub(real, zero)?;
    }
    let scale = along(m, x, scale)?;
    let y = m.mul(real, scale)?;
    let y = match output_dtype(m)? {
        Some(to) => m.cast(y, to)?,
        None => y,
    };
    m.done(y)
}

/// The element type that the attribute `output_dtype` names.
fn output_dtype(m: &Make<'_, '_>) -> Result<Option<ElemType>, ImportError> {
    match m.node.int("output_dtype", 0) {
        0 => Ok(None),
        n => match i32::try_from(n).ok().and_then(crate::onnx::elem_type) {
            Some(elem) => Ok(Some(elem)),
            None => m.fail(format!("gives element type number {n}, which is not supported")),
        },
    }
}

/// Least and greatest value of an integer type.
fn limits(elem: ElemType) -> Option<(f64, f64)> {
    Some(match elem {
        ElemType::I8 => (-128.0, 127.0),
        ElemType::U8 => (0.0, 255.0),
        ElemType::I16 => (-32768.0, 32767.0),
        ElemType::U16 => (0.0, 65535.0),
        _ => return None,
    })
}

/// Rounded, shifted and kept within the type.
fn to_integer(m: &mut Make<'_, '_>, scaled: ValueId, zero: Option<ValueId>, elem: ElemType) -> Made {
    let Some((low, high)) = limits(elem) else {
        return m.fail(format!("quantizes to {elem}, which is not supported"));
    };
    let mut q = m.op("Round", &[scaled])?;
    if let Some(zero) = zero {
        q = m.add(q, zero)?;
    }
    let (low, high) = (m.like(q, low), m.like(q, high));
    let q = m.op("Clip", &[q, low, high])?;
    m.cast(q, elem)
}

fn quantize(m: &mut Make<'_, '_>) -> Done {
    let (x, scale) = (m.input(0)?, m.input(1)?);
    let elem = match m.opt(2) {
        Some(zero) => m.elem(zero),
        None => output_dtype(m)?.unwrap_or(ElemType::U8),
    };
    let narrow = Narrow::target(m.node);
    if narrow.is_none() && (is_plain(m, elem) || (m.known(x).is_some() && m.node.int("block_size", 0) == 0)) {
        return Ok(false);
    }
    let zero = match m.opt(2) {
        Some(_) if narrow.is_some_and(Narrow::is_float) => {
            narrow::check_zero(m)?;
            Some(m.number(0.0, ElemType::F32))
        }
        Some(zero) => {
            let zero = m.cast(zero, ElemType::F32)?;
            Some(along(m, x, zero)?)
        }
        None => None,
    };
    let scale = along(m, x, scale)?;
    let (x, scale) = (m.cast(x, ElemType::F32)?, m.cast(scale, ElemType::F32)?);
    let scaled = m.div(x, scale)?;
    let y = match narrow {
        Some(narrow) => narrow::quantized(m, scaled, zero, narrow)?,
        None => to_integer(m, scaled, zero, elem)?,
    };
    m.done(y)
}

/// Scale and zero point (as f32) of uint8 from the range of a tensor, 0 included.
fn dynamic_parameters(m: &mut Make<'_, '_>, x: ValueId) -> Result<(ValueId, ValueId), ImportError> {
    let axes: Vec<usize> = (0..m.rank(x)).collect();
    let (low, high) = (m.reduce("ReduceMin", x, &axes, false)?, m.reduce("ReduceMax", x, &axes, false)?);
    let zero = m.like(x, 0.0);
    let (low, high) = (m.op("Min", &[low, zero])?, m.op("Max", &[high, zero])?);
    let range = m.sub(high, low)?;
    let scale = m.like(x, 255.0);
    let scale = m.div(range, scale)?;
    // Nothing but zeros has no range.
    let (none, one) = (m.op("Equal", &[scale, zero])?, m.like(x, 1.0));
    let scale = m.op("Where", &[none, one, scale])?;
    let shift = m.div(low, scale)?;
    let shift = m.op("Neg", &[shift])?;
    let (least, most) = (m.like(x, 0.0), m.like(x, 255.0));
    let shift = m.op("Clip", &[shift, least, most])?;
    let point = m.op("Round", &[shift])?;
    Ok((scale, point))
}

fn dynamic_quantize(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let (scale, point) = dynamic_parameters(m, x)?;
    let scaled = m.div(x, scale)?;
    let y = to_integer(m, scaled, Some(point), ElemType::U8)?;
    let byte = m.cast(point, ElemType::U8)?;
    m.give(1, scale)?;
    m.give(2, byte)?;
    m.done(y)
}

/// Integers less their zero point, as real numbers; a zero point of several elements stands along dimension `at`.
fn shifted(m: &mut Make<'_, '_>, x: ValueId, zero: Option<ValueId>, at: usize) -> Made {
    let real = m.cast(x, ElemType::F32)?;
    let Some(zero) = zero else { return Ok(real) };
    if m.known(zero).is_some_and(|t| t.to_f32().iter().all(|&v| v == 0.0)) {
        return Ok(real);
    }
    let zero = m.cast(zero, ElemType::F32)?;
    let own = m.dims(zero);
    let zero = if own.len() == 1 && own[0] > 1 {
        let mut wide = vec![1; m.rank(x)];
        wide[at] = own[0];
        m.reshape(zero, &wide)?
    } else if own.iter().product::<usize>() == 1 {
        m.reshape(zero, &[])?
    } else {
        zero
    };
    m.sub(real, zero)
}

/// Integers up to this are exact in f32.
const EXACT: f64 = 16_777_216.0;

/// The greatest magnitude that sums of these weights times bytes less one zero point can have: such numbers lie in an
/// interval of 255 around zero, so either the positive weights count in full or the negative ones. Partial sums are
/// within it too.
fn greatest_sum(weights: impl Iterator<Item = f32>) -> f64 {
    let (mut up, mut down) = (0.0, 0.0);
    for w in weights {
        if w > 0.0 {
            up += f64::from(w);
        } else {
            down -= f64::from(w);
        }
    }
    255.0 * f64::max(up, down)
}

/// How many products of bytes less their zero points can be summed exactly in f32: from the weights where they are
/// known, else from what bytes can be.
fn exact_depth(m: &Make<'_, '_>, weights: ValueId, depth: usize) -> usize {
    let worst = match m.known(weights).filter(|t| t.dims.len() == 2) {
        Some(t) => {
            let (v, n) = (t.to_f32(), t.dims[1]);
            let columns = (0..n).map(|c| greatest_sum(v.iter().skip(c).step_by(n).copied()));
            columns.fold(0.0, f64::max)
        }
        None => 255.0 * 255.0 * depth as f64,
    };
    if worst < EXACT { depth } else { 256 }
}

/// The exact product of integers, in int32: in parts where one sum of real numbers would not be exact.
fn integer_product(m: &mut Make<'_, '_>, a: ValueId, b: ValueId) -> Made {
    let depth = m.dims(a).last().copied().unwrap_or(1);
    let part = exact_depth(m, b, depth);
    let (a_axis, b_axis) = (m.rank(a) - 1, m.rank(b).saturating_sub(2));
    let mut sum: Option<ValueId> = None;
    for from in (0..depth).step_by(part.max(1)) {
        let to = (from + part).min(depth);
        let (x, y) = (m.slice(a, a_axis, from, to)?, m.slice(b, b_axis, from, to)?);
        let product = m.op("MatMul", &[x, y])?;
        let whole = m.cast(product, ElemType::I32)?;
        sum = Some(match sum {
            None => whole,
            Some(sum) => m.add(sum, whole)?,
        });
    }
    match sum {
        Some(sum) => Ok(sum),
        None => m.fail("multiplies matrices without elements"),
    }
}

/// Inputs: a, b, zero points of both: of each row of a, of each column of b.
fn matmul_integer(m: &mut Make<'_, '_>) -> Done {
    let (a, b) = (m.input(0)?, m.input(1)?);
    let (rows, columns) = (m.rank(a).saturating_sub(2), m.rank(b).saturating_sub(1));
    let a = shifted(m, a, m.opt(2), rows)?;
    let b = shifted(m, b, m.opt(3), columns)?;
    let y = integer_product(m, a, b)?;
    m.done(y)
}

/// Ranges of input channels of `[O, I, ..]` weights whose products with bytes less a zero point sum exactly in f32.
fn exact_channels(m: &Make<'_, '_>, w: ValueId) -> Vec<(usize, usize)> {
    let dims = m.dims(w);
    let (channels, window) = (dims[1], dims[2..].iter().product::<usize>());
    let known = m.known(w).map(|t| t.to_f32());
    let sum = |from: usize, to: usize| match &known {
        Some(v) => {
            let own = v.chunks(channels * window).map(|o| &o[from * window..to * window]);
            own.map(|o| greatest_sum(o.iter().copied())).fold(0.0, f64::max)
        }
        None => 255.0 * 255.0 * ((to - from) * window) as f64,
    };
    let parts = (1..=channels).find(|&n| {
        let each = channels.div_ceil(n);
        (0..channels).step_by(each).all(|from| sum(from, (from + each).min(channels)) < EXACT)
    });
    let each = channels.div_ceil(parts.unwrap_or(channels).max(1)).max(1);
    (0..channels).step_by(each).map(|from| (from, (from + each).min(channels))).collect()
}

/// Inputs: x, w, zero points of both. Where one sum of real numbers would not be exact, input channels are summed in
/// parts, and the parts in int32.
fn conv_integer(m: &mut Make<'_, '_>) -> Done {
    let (x, w) = (m.input(0)?, m.input(1)?);
    let x = shifted(m, x, m.opt(2), 1)?;
    let w = shifted(m, w, m.opt(3), 0)?;
    if m.rank(w) < 3 || m.dims(w).contains(&0) {
        return m.fail(format!("has weights {:?}, where [O, I, ..] are needed", m.dims(w)));
    }
    let keep = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
    let attrs: Vec<(&str, Attr)> =
        keep.iter().filter_map(|&k| m.node.attrs.get(k).map(|v| (k, v.clone()))).collect();
    let parts = exact_channels(m, w);
    let group = usize::try_from(m.node.int("group", 1)).unwrap_or(1).max(1);
    let mut sum: Option<ValueId> = None;
    for (from, to) in parts {
        let part = m.slice(w, 1, from, to)?;
        let own = channels_of_groups(m, x, group, from, to)?;
        let product = m.op_with("Conv", &[own, part], &attrs)?;
        let whole = m.cast(product, ElemType::I32)?;
        sum = Some(match sum {
            None => whole,
            Some(sum) => m.add(sum, whole)?,
        });
    }
    match sum {
        Some(sum) => m.done(sum),
        None => m.fail("has no input channels"),
    }
}

/// Channels `from..to` of each group of an image.
fn channels_of_groups(m: &mut Make<'_, '_>, x: ValueId, group: usize, from: usize, to: usize) -> Made {
    let channels = m.dims(x).get(1).copied().unwrap_or(0);
    let each = channels / group;
    if to > each {
        return m.fail(format!("has {channels} channels in {group} groups, its weights need {to} in each"));
    }
    if from == 0 && to == each {
        return Ok(x);
    }
    let mut parts = Vec::new();
    for g in 0..group {
        parts.push(m.slice(x, 1, g * each + from, g * each + to)?);
    }
    m.concat(&parts, 1)
}

/// Inputs: a, b, scales of both, zero points of both, bias.
fn matmul_integer_to_float(m: &mut Make<'_, '_>) -> Done {
    let (a, b, a_scale, b_scale) = (m.input(0)?, m.input(1)?, m.input(2)?, m.input(3)?);
    let (rows, columns) = (m.rank(a).saturating_sub(2), m.rank(b).saturating_sub(1));
    let a = shifted(m, a, m.opt(4), rows)?;
    let b = shifted(m, b, m.opt(5), columns)?;
    let (a, b) = (m.mul(a, a_scale)?, m.mul(b, b_scale)?);
    let y = m.op("MatMul", &[a, b])?;
    let y = match m.opt(6) {
        Some(bias) => m.add(y, bias)?,
        None => y,
    };
    m.done(y)
}

/// Real numbers as the bytes that stand for their range can hold them.
fn rounded_to_bytes(m: &mut Make<'_, '_>, a: ValueId) -> Made {
    let (scale, point) = dynamic_parameters(m, a)?;
    let scaled = m.div(a, scale)?;
    let q = to_integer(m, scaled, Some(point), ElemType::U8)?;
    let q = m.cast(q, ElemType::F32)?;
    let q = m.sub(q, point)?;
    m.mul(q, scale)
}

/// A recurrent layer with quantized weights. Inputs: X, W `[D, I, 4 * H]`, R `[D, H, 4 * H]`, then as those of an LSTM, then
/// scale and zero point of W and of R: one for each direction, or for each of its columns too. X is rounded to bytes, as
/// ONNX Runtime does. So is the hidden state of a model of one frame of one sequence; those between frames, which it
/// rounds too, and those of several sequences, which it rounds in groups that follow from its threads, are not.
fn dynamic_quantize_lstm(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let x = rounded_to_bytes(m, x)?;
    let mut weights = [x; 2];
    for (i, real) in weights.iter_mut().enumerate() {
        let (w, scale) = (m.input(1 + i)?, m.input(8 + 2 * i)?);
        let dims = m.dims(w);
        let &[directions, _, columns] = dims.as_slice() else {
            return m.fail(format!("needs weights of 3 dimensions, they are {dims:?}"));
        };
        let spread = |m: &mut Make<'_, '_>, p: ValueId| {
            let own = m.dims(p).iter().product::<usize>();
            let wide = if own == directions * columns { columns } else { 1 };
            m.reshape(p, &[directions, 1, wide])
        };
        let mut q = m.cast(w, ElemType::F32)?;
        if let Some(point) = m.opt(9 + 2 * i) {
            let point = m.cast(point, ElemType::F32)?;
            let point = spread(m, point)?;
            q = m.sub(q, point)?;
        }
        let scale = spread(m, scale)?;
        let scaled = m.mul(q, scale)?;
        *real = m.transpose(scaled, &[0, 2, 1])?;
    }
    let mut inputs = vec![Some(x), Some(weights[0]), Some(weights[1])];
    inputs.extend((3..8).map(|i| m.opt(i)));
    if let Some(hidden) = inputs[5].filter(|&h| m.dims(x)[0] == 1 && m.dims(h)[..2] == [1, 1]) {
        inputs[5] = Some(rounded_to_bytes(m, hidden)?);
    }
    let made: Vec<Option<ValueId>> =
        m.node.outputs.iter().map(|o| o.map(|_| m.b.value(&m.node.name))).collect();
    m.b.push(Node {
        op: "LSTM".to_owned(),
        name: m.node.name.clone(),
        inputs,
        outputs: made.clone(),
        attrs: m.node.attrs.clone(),
        sources: Vec::new(),
    })?;
    for (i, value) in made.into_iter().enumerate() {
        if let Some(value) = value {
            m.give(i, value)?;
        }
    }
    Ok(true)
}

/// A product with quantized weights whose other side is quantized as it comes. Inputs: a, b, its scale, its zero point,
/// bias.
fn dynamic_quantize_matmul(m: &mut Make<'_, '_>) -> Done {
    let (a, b, b_scale) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let real = rounded_to_bytes(m, a)?;
    let columns = m.rank(b).saturating_sub(1);
    let b = shifted(m, b, m.opt(3), columns)?;
    let b = m.mul(b, b_scale)?;
    let y = m.op("MatMul", &[real, b])?;
    let y = match m.opt(4) {
        Some(bias) => m.add(y, bias)?,
        None => y,
    };
    m.done(y)
}
