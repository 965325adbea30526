//! Operators over images and signals `[N, C, spatial...]`.

use super::{Ctx, Rule, Types, axis};
use crate::graph::ElemType;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Conv", |c| conv(c, c.elem(0)?)),
    ("ConvTranspose", conv_transpose),
    ("MaxPool", pool),
    ("AveragePool", pool),
    ("GlobalAveragePool", global_pool),
    ("GlobalMaxPool", global_pool),
    ("Resize", resize),
];

/// The window of a convolution or pooling, resolved: all lists have one entry per spatial axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    /// Rows added before the first.
    pub begin: Vec<usize>,
    /// Rows added after the last.
    pub end: Vec<usize>,
    /// Output size.
    pub out: Vec<usize>,
}

/// Largest kernel, stride, dilation or pad: far above any network, far below overflow.
const MAX_STEP: i64 = 1 << 24;

fn positive(c: &Ctx<'_>, key: &str, n: usize, least: i64) -> Result<Option<Vec<usize>>, String> {
    let Some(v) = c.node.ints(key) else { return Ok(None) };
    if v.len() != n || v.iter().any(|&x| x < least || x > MAX_STEP) {
        return Err(format!("has {key} {v:?}; it needs {n} numbers of at least {least}"));
    }
    Ok(Some(v.iter().map(|&x| x as usize).collect()))
}

/// Resolves `kernel_shape`, `strides`, `dilations`, `pads`, `auto_pad` and `ceil_mode` of a convolution or pooling
/// whose input has the spatial dimensions `input`.
pub fn window(c: &Ctx<'_>, input: &[usize], kernel: Option<&[usize]>) -> Result<Window, String> {
    let n = input.len();
    let declared = positive(c, "kernel_shape", n, 1)?;
    let kernel = match (kernel, declared) {
        (Some(k), Some(d)) if k != d => return Err(format!("has kernel_shape {d:?} but weights of {k:?}")),
        (Some(k), _) => k.to_vec(),
        (None, Some(d)) => d,
        (None, None) => return Err("lacks kernel_shape".to_owned()),
    };
    let strides = positive(c, "strides", n, 1)?.unwrap_or(vec![1; n]);
    let dilations = positive(c, "dilations", n, 1)?.unwrap_or(vec![1; n]);
    let mut w = Window { begin: vec![0; n], end: vec![0; n], out: vec![0; n], kernel, strides, dilations };
    if w.kernel.iter().any(|&k| k == 0 || k > MAX_STEP as usize) {
        return Err(format!("has a kernel of size {:?}", w.kernel));
    }
    let mode = c.node.str("auto_pad", "NOTSET");
    if mode == "NOTSET"
        && let Some(p) = positive(c, "pads", 2 * n, 0)?
    {
        w.begin = p[..n].to_vec();
        w.end = p[n..].to_vec();
    }
    for (i, &size) in input.iter().enumerate() {
        let reach = (w.kernel[i] - 1) * w.dilations[i] + 1;
        let s = w.strides[i];
        match mode {
            "SAME_UPPER" | "SAME_LOWER" => {
                w.out[i] = size.div_ceil(s);
                let total = (w.out[i].saturating_sub(1) * s + reach).saturating_sub(size);
                let (less, more) = (total / 2, total - total / 2);
                (w.begin[i], w.end[i]) = if mode == "SAME_UPPER" { (less, more) } else { (more, less) };
                continue;
            }
            "NOTSET" | "VALID" => {}
            other => return Err(format!("has auto_pad '{other}', which is not defined")),
        }
        let padded = size + w.begin[i] + w.end[i];
        let room = padded.checked_sub(reach).ok_or_else(|| {
            format!("its kernel reaches over {reach} but the padded input has only {padded} along spatial axis {i}")
        })?;
        w.out[i] = if c.node.int("ceil_mode", 0) != 0 {
            let out = room.div_ceil(s) + 1;
            // A window must start inside the input or the padding before it.
            if (out - 1) * s >= size + w.begin[i] { out - 1 } else { out }
        } else {
            room / s + 1
        };
    }
    Ok(w)
}

fn channels<'a>(c: &Ctx<'a>) -> Result<(usize, usize, &'a [usize]), String> {
    match c.dims(0)? {
        [n, ch, spatial @ ..] if !spatial.is_empty() => Ok((*n, *ch, spatial)),
        other => Err(format!("needs an input [N, C, spatial...], it is {other:?}")),
    }
}

fn groups(c: &Ctx<'_>) -> Result<usize, String> {
    let g = c.node.int("group", 1);
    usize::try_from(g).ok().filter(|&g| g > 0).ok_or_else(|| format!("has {g} groups"))
}

fn bias(c: &Ctx<'_>, out: usize) -> Result<(), String> {
    match c.opt_dims(2) {
        Some(b) if b != [out] => Err(format!("its bias has dimensions {b:?}, expected [{out}]")),
        _ => Ok(()),
    }
}

fn conv(c: &Ctx<'_>, elem: ElemType) -> Result<Types, String> {
    let (n, ch, spatial) = channels(c)?;
    let w = c.dims(1)?;
    let g = groups(c)?;
    let fits = w.len() == spatial.len() + 2 && w[1].checked_mul(g) == Some(ch) && w[0] % g == 0;
    if !fits {
        return Err(format!("its weights {w:?} in {g} groups do not fit an input of {:?}", c.dims(0)?));
    }
    bias(c, w[0])?;
    let window = window(c, spatial, Some(&w[2..]))?;
    Ok(vec![(elem, [&[n, w[0]], window.out.as_slice()].concat())])
}

fn conv_transpose(c: &Ctx<'_>) -> Result<Types, String> {
    let (n, ch, spatial) = channels(c)?;
    let w = c.dims(1)?;
    let g = groups(c)?;
    let (true, Some(out_ch)) =
        (w.len() == spatial.len() + 2 && w[0] == ch && ch % g == 0, w.get(1).and_then(|m| m.checked_mul(g)))
    else {
        return Err(format!("its weights {w:?} in {g} groups do not fit an input of {:?}", c.dims(0)?));
    };
    bias(c, out_ch)?;
    let t = transposed_window(c, spatial, &w[2..])?;
    Ok(vec![(c.elem(0)?, [&[n, out_ch], t.out.as_slice()].concat())])
}

/// The window of a `ConvTranspose`: `out = stride * (in - 1) + output_padding + reach - begin - end`.
pub fn transposed_window(c: &Ctx<'_>, input: &[usize], kernel: &[usize]) -> Result<Window, String> {
    let n = input.len();
    let strides = positive(c, "strides", n, 1)?.unwrap_or(vec![1; n]);
    let dilations = positive(c, "dilations", n, 1)?.unwrap_or(vec![1; n]);
    let extra = positive(c, "output_padding", n, 0)?.unwrap_or(vec![0; n]);
    let wanted = positive(c, "output_shape", n, 1)?;
    let mode = c.node.str("auto_pad", "NOTSET");
    let pads = if mode == "NOTSET" { positive(c, "pads", 2 * n, 0)? } else { None };
    let pads = pads.unwrap_or(vec![0; 2 * n]);
    if let Some(d) = positive(c, "kernel_shape", n, 1)?
        && d != kernel
    {
        return Err(format!("has kernel_shape {d:?} but weights of {kernel:?}"));
    }
    if kernel.iter().any(|&k| k == 0 || k > MAX_STEP as usize) || input.contains(&0) {
        return Err(format!("has a kernel of size {kernel:?} over an input of {input:?}"));
    }
    let mut w = Window {
        kernel: kernel.to_vec(),
        begin: pads[..n].to_vec(),
        end: pads[n..].to_vec(),
        out: vec![0; n],
        strides,
        dilations,
    };
    for i in 0..n {
        let reach = (kernel[i] - 1) * w.dilations[i] + 1;
        let full = w.strides[i] * (input[i] - 1) + extra[i] + reach;
        let target = match (&wanted, mode) {
            (Some(out), _) => Some(out[i]),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(input[i] * w.strides[i]),
            _ => None,
        };
        if let Some(out) = target {
            let total = full.saturating_sub(out);
            let (less, more) = (total / 2, total - total / 2);
            (w.begin[i], w.end[i]) = if mode == "SAME_UPPER" { (less, more) } else { (more, less) };
            w.out[i] = out;
        } else {
            let out = full.checked_sub(w.begin[i] + w.end[i]).filter(|&o| o > 0);
            w.out[i] =
                out.ok_or_else(|| format!("pads away its whole output of {full} along spatial axis {i}"))?;
        }
    }
    Ok(w)
}

fn pool(c: &Ctx<'_>) -> Result<Types, String> {
    let (n, ch, spatial) = channels(c)?;
    let w = window(c, spatial, None)?;
    let dims = [&[n, ch], w.out.as_slice()].concat();
    let mut out = vec![(c.elem(0)?, dims.clone())];
    if c.node.op == "MaxPool" {
        out.push((ElemType::I64, dims));
    }
    Ok(out)
}

fn global_pool(c: &Ctx<'_>) -> Result<Types, String> {
    let (n, ch, spatial) = channels(c)?;
    Ok(vec![(c.elem(0)?, [vec![n, ch], vec![1; spatial.len()]].concat())])
}

/// Sizes from `scales` (input 2) or `sizes` (input 3), for all axes or those of the attribute `axes`.
fn resize(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let axes = match c.node.ints("axes") {
        Some(a) => a.iter().map(|&a| axis(a, x.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..x.len()).collect(),
    };
    let mut dims = x.to_vec();
    let scales = c.opt_constant(2)?.filter(|t| !t.is_empty());
    let fits = |n: usize| match n == axes.len() {
        true => Ok(()),
        false => Err(format!("has {n} sizes or scales for {} axes", axes.len())),
    };
    if let Some(sizes) = c.opt_ints(3)?.filter(|s| !s.is_empty()) {
        fits(sizes.len())?;
        if sizes.iter().any(|&s| s <= 0 || s > MAX_STEP) || axes.iter().any(|&a| x[a] == 0) {
            return Err(format!("resizes {x:?} to {sizes:?}"));
        }
        let ratio = |(i, &a): (usize, &usize)| sizes[i] as f32 / x[a] as f32;
        let ratios = axes.iter().enumerate().map(ratio);
        let common = match c.node.str("keep_aspect_ratio_policy", "stretch") {
            "not_larger" => Some(ratios.fold(f32::INFINITY, f32::min)),
            "not_smaller" => Some(ratios.fold(0.0, f32::max)),
            _ => None,
        };
        for (&a, &s) in axes.iter().zip(&sizes) {
            dims[a] = match common {
                Some(r) => (r * x[a] as f32 + 0.5).floor() as usize,
                None => s as usize,
            };
        }
    } else if let Some(scales) = scales {
        let scales = scales.to_f32();
        fits(scales.len())?;
        for (&a, &s) in axes.iter().zip(&scales) {
            if !s.is_finite() || s <= 0.0 || s > MAX_STEP as f32 {
                return Err(format!("has scale {s}"));
            }
            dims[a] = (x[a] as f32 * s) as usize;
        }
    } else {
        return Err("has neither scales nor sizes".to_owned());
    }
    if c.node.str("coordinate_transformation_mode", "") == "tf_crop_and_resize" {
        return Err("crops while it resizes, which is not supported; use Slice before Resize".to_owned());
    }
    Ok(vec![(c.elem(0)?, dims)])
}
