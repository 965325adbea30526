//! Convolutions, and products with matrices.

use super::{Done, Rule, ints, plain};
use crate::error::ImportError;
use crate::graph::{Attr, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("CONV_2D", conv_2d),
    ("DEPTHWISE_CONV_2D", depthwise),
    ("CONV_3D", conv_3d),
    ("TRANSPOSE_CONV", transpose_conv),
    ("FULLY_CONNECTED", fully_connected),
    ("BATCH_MATMUL", batch_matmul),
];

/// The name that ONNX has for a `Padding`.
pub fn auto_pad(m: &Importer<'_>, padding: i8) -> Result<(&'static str, Attr), ImportError> {
    let mode = match padding {
        0 => "SAME_UPPER",
        1 => "VALID",
        other => return Err(m.err(format!("has padding number {other}; 0 (SAME) and 1 (VALID) are defined"))),
    };
    Ok(("auto_pad", Attr::Str(mode.to_owned())))
}

pub fn dims4(m: &mut Importer<'_>, t: usize, what: &str) -> Result<[usize; 4], ImportError> {
    let dims = m.dims(t)?;
    dims.as_slice().try_into().map_err(|_| m.err(format!("needs {what} of 4 dimensions, they are {dims:?}")))
}

/// Fields: padding 0, stride_w 1, stride_h 2, activation 3, dilation_w 4, dilation_h 5. Weights `[O, H, W, I]`.
fn conv_2d(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let dilations = [m.option(op, 5, 1i32)?, m.option(op, 4, 1i32)?];
    let fused = m.option(op, 3, 0i8)?;
    convolution(m, op, false, dilations, fused)
}

/// Fields: padding 0, stride_w 1, stride_h 2, depth_multiplier 3, activation 4, dilation_w 5, dilation_h 6. Weights
/// `[1, H, W, C * multiplier]`; output channel `c * multiplier + k` sees input channel `c`.
fn depthwise(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let dilations = [m.option(op, 6, 1i32)?, m.option(op, 5, 1i32)?];
    let fused = m.option(op, 4, 0i8)?;
    convolution(m, op, true, dilations, fused)
}

fn convolution(m: &mut Importer<'_>, op: &Operator<'_>, deep: bool, dilations: [i32; 2], fused: i8) -> Done {
    let padding = m.option(op, 0, 0i8)?;
    let strides = [m.option(op, 2, 0i32)?, m.option(op, 1, 0i32)?];
    let window = [
        auto_pad(m, padding)?,
        ("strides", Attr::Ints(strides.map(i64::from).to_vec())),
        ("dilations", Attr::Ints(dilations.map(i64::from).to_vec())),
    ];
    let x = m.input(op, 0)?;
    let y = convolved(m, op, x, deep, &window)?;
    m.finish(op, 0, y, Form::Image, fused)
}

/// Tensor `x` convolved with the weights (input 1) and bias (input 2) of an operator, depthwise if `deep`.
pub fn convolved(
    m: &mut Importer<'_>,
    op: &Operator<'_>,
    x: usize,
    deep: bool,
    window: &[(&'static str, Attr)],
) -> Result<ValueId, ImportError> {
    let w = m.input(op, 1)?;
    let (xd, wd) = (dims4(m, x, "an input")?, dims4(m, w, "weights")?);
    let depth = if deep { 1 } else { wd[3] };
    if depth == 0 || xd[3] % depth != 0 {
        return Err(m.err(format!("has weights {wd:?} for an input {xd:?}; their channels do not fit")));
    }
    let mut inputs = vec![m.image(x)?];
    inputs.push(m.weights(w, if deep { &[3, 0, 1, 2] } else { &[0, 3, 1, 2] })?);
    if let Some(bias) = m.optional(op, 2)? {
        inputs.push(m.plain(bias)?);
    }
    let mut attrs = window.to_vec();
    attrs.push(("group", Attr::Int((xd[3] / depth) as i64)));
    m.node("Conv", &inputs, &attrs)
}

/// Fields: padding 0, stride_d 1, stride_w 2, stride_h 3, activation 4, dilation_d 5, dilation_w 6, dilation_h 7. Input
/// `[N, D, H, W, C]`, weights `[D, H, W, I, O]`.
fn conv_3d(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, w) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let (xd, wd) = (m.dims_of(x), m.dims_of(w));
    let (&[.., channels], &[_, _, _, depth, _], 5) = (xd.as_slice(), wd.as_slice(), xd.len()) else {
        return Err(m.err(format!("needs an input and weights of 5 dimensions, they are {xd:?} and {wd:?}")));
    };
    if depth == 0 || channels % depth != 0 {
        return Err(m.err(format!("has weights {wd:?} for an input {xd:?}; their channels do not fit")));
    }
    let mut inputs = vec![m.transpose(x, &[0, 4, 1, 2, 3])?, m.transpose(w, &[4, 3, 0, 1, 2])?];
    if let Some(bias) = m.optional(op, 2)? {
        inputs.push(m.plain(bias)?);
    }
    let padding = m.option(op, 0, 0i8)?;
    let mut lists = [[0i32; 3], [0; 3]];
    for (i, at) in [1, 3, 2].into_iter().enumerate() {
        lists[0][i] = m.option(op, at, 0)?;
        lists[1][i] = m.option(op, at + 4, 1)?;
    }
    let [strides, dilations] = lists.map(|l| Attr::Ints(l.map(i64::from).to_vec()));
    let attrs = [
        auto_pad(m, padding)?,
        ("strides", strides),
        ("dilations", dilations),
        ("group", Attr::Int((channels / depth) as i64)),
    ];
    let y = m.node("Conv", &inputs, &attrs)?;
    let y = m.transpose(y, &[0, 2, 3, 4, 1])?;
    let fused = m.option(op, 4, 0i8)?;
    m.finish(op, 0, y, Form::Plain, fused)
}

/// Fields: padding 0, stride_w 1, stride_h 2, activation 3. Inputs: output shape, weights `[O, H, W, I]`, input,
/// bias.
fn transpose_conv(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let [_, out_h, out_w, _] = ints::<4>(m, op, 0)?;
    let (w, x) = (m.input(op, 1)?, m.input(op, 2)?);
    let (xd, wd) = (dims4(m, x, "an input")?, dims4(m, w, "weights")?);
    let strides = [m.option(op, 2, 0i32)?, m.option(op, 1, 0i32)?].map(i64::from);
    let same = m.option(op, 0, 0i8)? == 0;
    let mut windows = [Cut::default(); 2];
    for (i, out) in [out_h, out_w].into_iter().enumerate() {
        let full = full(m, strides[i], xd[i + 1], wd[i + 1])?;
        if !(1..=1 << 24).contains(&out) {
            return Err(m.err(format!("has an output of {out} pixels along a dimension")));
        }
        let total = (full - out).max(0);
        let begin = if same { total / 2 } else { 0 };
        windows[i] = Cut { begin, end: total - begin, extra: (out - full).max(0) };
    }
    let fused = m.option(op, 3, 0i8)?;
    let bias = m.optional(op, 3)?;
    transposed(m, op, (x, w, bias), strides, windows, fused)
}

/// MediaPipe's operator: inputs, weights `[O, H, W, I]`, bias. Its options are the C structure of padding (1 for
/// SAME), stride_w and stride_h, an int32 each.
pub fn transpose_bias(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, w, bias) = (m.input(op, 0)?, m.input(op, 1)?, m.optional(op, 2)?);
    let (xd, wd) = (dims4(m, x, "an input")?, dims4(m, w, "weights")?);
    let field = |i: usize| op.custom_options.get(4 * i..4 * i + 4)?.try_into().ok().map(i32::from_le_bytes);
    let (Some(padding), Some(stride_w), Some(stride_h)) = (field(0), field(1), field(2)) else {
        return Err(
            m.err(format!("has {} bytes of options, at least 12 are needed", op.custom_options.len()))
        );
    };
    let strides = [i64::from(stride_h), i64::from(stride_w)];
    let mut windows = [Cut::default(); 2];
    for i in 0..2 {
        let (input, kernel) = (xd[i + 1], wd[i + 1]);
        full(m, strides[i], input, kernel)?;
        let total =
            if padding == 1 { (kernel as i64 - (input as i64 - 1) % strides[i] - 1).max(0) } else { 0 };
        windows[i] = Cut { begin: total / 2, end: total - total / 2, extra: 0 };
    }
    transposed(m, op, (x, w, bias), strides, windows, 0)
}

/// What a transposed convolution leaves out of, or adds to, its whole extent along a dimension.
#[derive(Clone, Copy, Default)]
struct Cut {
    begin: i64,
    end: i64,
    extra: i64,
}

/// The whole extent of a transposed convolution: `stride * (input - 1) + kernel`.
fn full(m: &Importer<'_>, stride: i64, input: usize, kernel: usize) -> Result<i64, ImportError> {
    let limit = 1..1 << 24;
    if !limit.contains(&stride) || !limit.contains(&(input as i64)) || !limit.contains(&(kernel as i64)) {
        return Err(m.err(format!("has stride {stride}, {input} input pixels and a kernel of {kernel}")));
    }
    Ok(stride * (input as i64 - 1) + kernel as i64)
}

fn transposed(
    m: &mut Importer<'_>,
    op: &Operator<'_>,
    (x, w, bias): (usize, usize, Option<usize>),
    strides: [i64; 2],
    [h, v]: [Cut; 2],
    fused: i8,
) -> Done {
    let mut inputs = vec![m.image(x)?, m.weights(w, &[3, 0, 1, 2])?];
    if let Some(bias) = bias {
        inputs.push(m.plain(bias)?);
    }
    let attrs = [
        ("strides", Attr::Ints(strides.to_vec())),
        ("pads", Attr::Ints(vec![h.begin, v.begin, h.end, v.end])),
        ("output_padding", Attr::Ints(vec![h.extra, v.extra])),
    ];
    let y = m.node("ConvTranspose", &inputs, &attrs)?;
    m.finish(op, 0, y, Form::Image, fused)
}

/// Fields: activation 0, weights_format 1, keep_num_dims 2. Weights `[O, I]`.
fn fully_connected(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    if m.option(op, 1, 0i8)? != 0 {
        return Err(m.err("has weights in a shuffled format; convert the model with the default format"));
    }
    let (x, w) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let bias = match m.optional(op, 2)? {
        Some(t) => Some(m.plain(t)?),
        None => None,
    };
    let (xd, wd) = (m.dims_of(x), m.dims_of(w));
    let fused = m.option(op, 0, 0i8)?;
    let &[_, depth] = wd.as_slice() else {
        return Err(m.err(format!("needs weights of 2 dimensions, they are {wd:?}")));
    };
    if m.option(op, 2, false)? && xd.len() > 2 {
        let turned = m.transpose(w, &[1, 0])?;
        let y = m.node("MatMul", &[x, turned], &[])?;
        let y = match bias {
            Some(bias) => m.node("Add", &[y, bias], &[])?,
            None => y,
        };
        return m.finish(op, 0, y, Form::Plain, fused);
    }
    let rows = if xd.len() == 2 && xd[1] == depth {
        x
    } else {
        let to = m.list(&[-1, depth as i64]);
        m.node("Reshape", &[x, to], &[])?
    };
    let inputs: Vec<ValueId> = [rows, w].into_iter().chain(bias).collect();
    let y = m.node("Gemm", &inputs, &[("transB", Attr::Int(1))])?;
    m.finish(op, 0, y, Form::Plain, fused)
}

/// Fields: adj_x 0, adj_y 1.
fn batch_matmul(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let mut inputs = Vec::new();
    for i in 0..2 {
        let x = plain(m, op, i)?;
        let rank = m.dims_of(x).len() as i64;
        inputs.push(if m.option(op, i, false)? && rank >= 2 {
            let perm: Vec<i64> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
            m.transpose(x, &perm)?
        } else {
            x
        });
    }
    let y = m.node("MatMul", &inputs, &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}
