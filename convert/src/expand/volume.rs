//! Convolutions and poolings over volumes `[N, C, D, H, W]`: two-dimensional ones over slices, and sums or poolings along
//! the depth.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, ValueId};
use crate::infer::{Ctx, Window, transposed_window, window};

pub(super) const RULES: &[(&str, Rule)] =
    &[("AveragePool", average_pool), ("Conv", conv), ("ConvTranspose", conv_transpose)];

fn ints(v: &[usize]) -> Attr {
    Attr::Ints(v.iter().map(|&x| x as i64).collect())
}

/// `[N, C, D, H, W]` as images `[N * D, C, H, W]`.
fn slices(m: &mut Make<'_, '_>, x: ValueId) -> Made {
    let d = m.dims(x);
    let moved = m.transpose(x, &[0, 2, 1, 3, 4])?;
    m.reshape(moved, &[d[0] * d[2], d[1], d[3], d[4]])
}

/// Images `[N * D, C, H, W]` as a volume `[N, C, D, H, W]`.
fn volume(m: &mut Make<'_, '_>, x: ValueId, batch: usize) -> Made {
    let d = m.dims(x);
    let wide = m.reshape(x, &[batch, d[0] / batch, d[1], d[2], d[3]])?;
    m.transpose(wide, &[0, 2, 1, 3, 4])
}

/// The attributes of a window along the last two of three dimensions.
fn flat_attrs(w: &Window) -> Vec<(&'static str, Attr)> {
    vec![
        ("kernel_shape", ints(&w.kernel[1..])),
        ("strides", ints(&w.strides[1..])),
        ("dilations", ints(&w.dilations[1..])),
        ("pads", ints(&[w.begin[1], w.begin[2], w.end[1], w.end[2]])),
    ]
}

/// The attributes of the window along the depth, over images `[N, C, D, H * W]`.
fn depth_attrs(w: &Window) -> Vec<(&'static str, Attr)> {
    vec![
        ("kernel_shape", ints(&[w.kernel[0], 1])),
        ("strides", ints(&[w.strides[0], 1])),
        ("dilations", ints(&[w.dilations[0], 1])),
        ("pads", ints(&[w.begin[0], 0, w.end[0], 0])),
    ]
}

/// The window of a pooling over a volume; `None` for other ranks.
fn pool_window(m: &Make<'_, '_>) -> Result<Option<Window>, ImportError> {
    let x = m.input(0)?;
    let dims = m.dims(x);
    if dims.len() != 5 {
        return Ok(None);
    }
    window(&Ctx { graph: &m.b.graph, node: m.node }, &dims[2..], None).map(Some).or_else(|e| m.fail(e))
}

/// A pooling over rows and columns, then one over the depth: maxima of maxima, and means of means, since a window's part
/// inside the image is a box.
fn pool(m: &mut Make<'_, '_>, op: &str, extra: &[(&'static str, Attr)], w: &Window) -> Done {
    let x = m.input(0)?;
    let batch = m.dims(x)[0];
    let images = slices(m, x)?;
    let attrs = [flat_attrs(w).as_slice(), extra].concat();
    let flat = m.op_with(op, &[images], &attrs)?;
    let back = volume(m, flat, batch)?;
    let d = m.dims(back);
    let deep = m.reshape(back, &[d[0], d[1], d[2], d[3] * d[4]])?;
    let attrs = [depth_attrs(w).as_slice(), extra].concat();
    let pooled = m.op_with(op, &[deep], &attrs)?;
    let depth = m.dims(pooled)[2];
    let y = m.reshape(pooled, &[d[0], d[1], depth, d[3], d[4]])?;
    m.done(y)
}

/// `MaxPool` without its second output.
pub(super) fn max_pool(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let elem = m.elem(x);
    if !elem.is_float() && elem != ElemType::I8 {
        let real = m.cast(x, ElemType::F32)?;
        let attrs: Vec<(&str, Attr)> = m.node.attrs.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        let y = m.op_with("MaxPool", &[real], &attrs)?;
        let y = m.cast(y, elem)?;
        return m.done(y);
    }
    match pool_window(m)? {
        Some(w) => pool(m, "MaxPool", &[("ceil_mode", Attr::Int(m.node.int("ceil_mode", 0)))], &w),
        None => Ok(false),
    }
}

fn average_pool(m: &mut Make<'_, '_>) -> Done {
    let Some(w) = pool_window(m)? else { return Ok(false) };
    let keep = ["ceil_mode", "count_include_pad"].map(|k| (k, Attr::Int(m.node.int(k, 0))));
    pool(m, "AveragePool", &keep, &w)
}

/// Each tap of the depth is a convolution of every so-manieth slice; they are summed.
fn conv(m: &mut Make<'_, '_>) -> Done {
    let (x, weights) = (m.input(0)?, m.input(1)?);
    let (xd, wd) = (m.dims(x), m.dims(weights));
    if xd.len() != 5 || wd.len() != 5 {
        return Ok(false);
    }
    let w =
        window(&Ctx { graph: &m.b.graph, node: m.node }, &xd[2..], Some(&wd[2..])).or_else(|e| m.fail(e))?;
    let reach = (w.kernel[0] - 1) * w.dilations[0] + 1;
    let needed = (w.out[0] - 1) * w.strides[0] + reach;
    let after = needed.saturating_sub(xd[2] + w.begin[0]);
    let padded = if w.begin[0] + after > 0 {
        let mut pads = vec![0i64; 10];
        (pads[2], pads[7]) = (w.begin[0] as i64, after as i64);
        let pads = m.list(&pads);
        m.op("Pad", &[x, pads])?
    } else {
        x
    };
    let mut attrs = flat_attrs(&w);
    attrs.push(("group", Attr::Int(m.node.int("group", 1))));
    let mut sum: Option<ValueId> = None;
    for tap in 0..w.kernel[0] {
        let from = tap * w.dilations[0];
        let to = from + (w.out[0] - 1) * w.strides[0] + 1;
        let lists = [from, to, 2, w.strides[0]].map(|v| m.list(&[v as i64]));
        let part = m.op("Slice", &[padded, lists[0], lists[1], lists[2], lists[3]])?;
        let images = slices(m, part)?;
        let own = m.slice(weights, 2, tap, tap + 1)?;
        let own = m.reshape(own, &[wd[0], wd[1], wd[3], wd[4]])?;
        // The bias belongs to the first tap.
        let bias = if tap == 0 { m.opt(2) } else { None };
        let y = m.op_opt("Conv", &[Some(images), Some(own), bias], &attrs)?;
        sum = Some(match sum {
            None => y,
            Some(sum) => m.add(sum, y)?,
        });
    }
    let Some(sum) = sum else { return m.fail("has no taps") };
    let y = volume(m, sum, xd[0])?;
    m.done(y)
}

/// Each tap of the depth is a transposed convolution of every slice, which land so many slices apart.
fn conv_transpose(m: &mut Make<'_, '_>) -> Done {
    let (x, weights) = (m.input(0)?, m.input(1)?);
    let (xd, wd) = (m.dims(x), m.dims(weights));
    if xd.len() != 5 || wd.len() != 5 {
        return Ok(false);
    }
    let w = transposed_window(&Ctx { graph: &m.b.graph, node: m.node }, &xd[2..], &wd[2..])
        .or_else(|e| m.fail(e))?;
    let extra = match m.node.ints("output_padding") {
        Some(v) => v.to_vec(),
        None => vec![0; 3],
    };
    let attrs = [
        ("kernel_shape", ints(&w.kernel[1..])),
        ("strides", ints(&w.strides[1..])),
        ("dilations", ints(&w.dilations[1..])),
        ("pads", ints(&[w.begin[1], w.begin[2], w.end[1], w.end[2]])),
        ("output_padding", Attr::Ints(extra[1..].to_vec())),
        ("group", Attr::Int(m.node.int("group", 1))),
    ];
    let (batch, depth, stride) = (xd[0], xd[2], w.strides[0]);
    let images = slices(m, x)?;
    // All slices that any tap reaches, before cropping.
    let full = (w.out[0] + w.begin[0]).max((depth - 1) * stride + (w.kernel[0] - 1) * w.dilations[0] + 1);
    let mut sum: Option<ValueId> = None;
    for tap in 0..w.kernel[0] {
        let own = m.slice(weights, 2, tap, tap + 1)?;
        let own = m.reshape(own, &[wd[0], wd[1], wd[3], wd[4]])?;
        let y = m.op_with("ConvTranspose", &[images, own], &attrs)?;
        let y = volume(m, y, batch)?;
        let d = m.dims(y);
        // `stride - 1` empty slices behind each, then those before the first.
        let split = m.reshape(y, &[d[0] * d[1], depth, 1, d[3] * d[4]])?;
        let pads = m.list(&[0, 0, 0, 0, 0, 0, stride as i64 - 1, 0]);
        let apart = m.op("Pad", &[split, pads])?;
        let apart = m.reshape(apart, &[d[0] * d[1], depth * stride, d[3] * d[4]])?;
        let apart = m.slice(apart, 1, 0, (depth - 1) * stride + 1)?;
        let before = tap * w.dilations[0];
        let after = full - before - ((depth - 1) * stride + 1);
        let pads = m.list(&[0, before as i64, 0, 0, after as i64, 0]);
        let placed = m.op("Pad", &[apart, pads])?;
        let placed = m.reshape(placed, &[d[0], d[1], full, d[3], d[4]])?;
        sum = Some(match sum {
            None => placed,
            Some(sum) => m.add(sum, placed)?,
        });
    }
    let Some(sum) = sum else { return m.fail("has no taps") };
    let mut y = m.slice(sum, 2, w.begin[0], w.begin[0] + w.out[0])?;
    if let Some(bias) = m.opt(2) {
        let channels = m.dims(bias)[0];
        let bias = m.reshape(bias, &[1, channels, 1, 1, 1])?;
        y = m.add(y, bias)?;
    }
    m.done(y)
}
