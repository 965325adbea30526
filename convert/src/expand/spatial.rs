//! Operators over images and signals that are other operators over them.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, ValueId};
use crate::infer::{Ctx, window};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("AffineGrid", affine_grid),
    ("CausalConvWithState", causal_conv),
    ("Col2Im", col2im),
    ("GlobalLpPool", global_lp_pool),
    ("GlobalAveragePool", global_pool),
    ("GlobalMaxPool", global_pool),
    ("LpPool", lp_pool),
    ("MaxPool", max_pool_with_places),
    ("com.microsoft.NhwcMaxPool", nhwc_max_pool),
    ("com.microsoft.NhwcConv", nhwc_conv),
    ("com.microsoft.NhwcFusedConv", nhwc_conv),
];

fn ints(v: &[usize]) -> Attr {
    Attr::Ints(v.iter().map(|&x| x as i64).collect())
}

/// Coordinates -1 to 1 of the pixels of an image, by an affine map of each sample: `theta [N, r, r + 1]`.
fn affine_grid(m: &mut Make<'_, '_>) -> Done {
    let theta = m.input(0)?;
    let Some(size) = m.ints(1)? else { return m.fail("needs its size") };
    let spatial: Vec<usize> = size.iter().skip(2).map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    let r = spatial.len();
    let count: usize = spatial.iter().product();
    let &[batch, rows, columns] = m.dims(theta).as_slice() else {
        return m.fail(format!("needs theta [N, r, r + 1], it is {:?}", m.dims(theta)));
    };
    if !(2..=3).contains(&r) || rows != r || columns != r + 1 || count == 0 || count > 1 << 26 {
        return m.fail(format!("maps {size:?} by theta {:?}", m.dims(theta)));
    }
    let corners = m.node.int("align_corners", 0) != 0;
    let coordinate = |i: usize, n: usize| -> f64 {
        match corners {
            true if n == 1 => 0.0,
            true => -1.0 + 2.0 * i as f64 / (n - 1) as f64,
            false => (2 * i + 1) as f64 / n as f64 - 1.0,
        }
    };
    // Columns of the base: x, y, (z,) 1; each a pixel.
    let mut base = vec![1.0; (r + 1) * count];
    for i in 0..count {
        let mut rest = i;
        for (k, &n) in spatial.iter().rev().enumerate() {
            base[k * count + i] = coordinate(rest % n, n);
            rest /= n;
        }
    }
    let elem = m.elem(theta);
    let base = m.numbers(&[r + 1, count], base, elem);
    let mapped = m.op("MatMul", &[theta, base])?;
    let moved = m.swap_last(mapped)?;
    let y = m.reshape(moved, &[&[batch], spatial.as_slice(), &[r]].concat())?;
    m.done(y)
}

/// A depthwise convolution over past and present samples; the last of them are kept for the next call.
fn causal_conv(m: &mut Make<'_, '_>) -> Done {
    let (x, w) = (m.input(0)?, m.input(1)?);
    let (xd, wd) = (m.dims(x), m.dims(w));
    let (&[batch, channels, _], &[_, _, kernel]) = (xd.as_slice(), wd.as_slice()) else {
        return m.fail(format!("needs an input and weights of rank 3, they are {xd:?} and {wd:?}"));
    };
    let padded = match (m.opt(3), kernel) {
        (_, 1) => x,
        (Some(past), _) => m.concat(&[past, x], 2)?,
        (None, _) => {
            let zero = m.like(x, 0.0);
            let past = m.expand(zero, &[batch, channels, kernel - 1])?;
            m.concat(&[past, x], 2)?
        }
    };
    let inputs = [Some(padded), Some(w), m.opt(2)];
    let mut y = m.op_opt("Conv", &inputs, &[("group", Attr::Int(channels as i64))])?;
    match m.node.str("activation", "none") {
        "none" => {}
        "silu" | "swish" => y = m.op("Swish", &[y])?,
        other => return m.fail(format!("applies '{other}', which is not defined")),
    }
    let length = m.dims(padded)[2];
    let state = m.slice(padded, 2, length - (kernel - 1), length)?;
    m.give(1, state)?;
    m.done(y)
}

/// Columns of blocks added up to the image that they were taken from: a transposed convolution of one-hot weights.
fn col2im(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let (Some(image), Some(block)) = (m.ints(1)?, m.ints(2)?) else {
        return m.fail("needs the shapes of image and block");
    };
    let sizes = |v: &[i64]| v.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect::<Vec<_>>();
    let (image, block) = (sizes(&image), sizes(&block));
    let r = image.len();
    let list = |key: &str, n: usize, default: i64| match m.node.ints(key) {
        Some(v) if v.len() == n => sizes(v),
        _ => vec![default as usize; n],
    };
    let (dilations, strides, pads) = (list("dilations", r, 1), list("strides", r, 1), list("pads", 2 * r, 0));
    let taps: usize = block.iter().product();
    let &[batch, rows, columns] = m.dims(x).as_slice() else {
        return m.fail(format!("needs an input [N, C * block, L], it is {:?}", m.dims(x)));
    };
    if block.len() != r || taps == 0 || rows % taps != 0 || strides.contains(&0) || !(1..=3).contains(&r) {
        return m.fail(format!("takes blocks {block:?} of an image {image:?} from {rows} rows"));
    }
    let channels = rows / taps;
    let mut blocks = Vec::new();
    for i in 0..r {
        let reach = (block[i].max(1) - 1) * dilations[i] + 1;
        match (image[i] + pads[i] + pads[i + r]).checked_sub(reach) {
            Some(room) => blocks.push(room / strides[i] + 1),
            None => return m.fail(format!("takes blocks {block:?} of an image {image:?}")),
        }
    }
    if blocks.iter().product::<usize>() != columns {
        return m.fail(format!("has {columns} columns for {blocks:?} blocks"));
    }
    let wide = m.reshape(x, &[&[batch, rows], blocks.as_slice()].concat())?;
    let mut weights = vec![0.0; rows * taps];
    for row in 0..rows {
        weights[row * taps + row % taps] = 1.0;
    }
    let elem = m.elem(x);
    let weights = m.numbers(&[&[rows, 1], block.as_slice()].concat(), weights, elem);
    // What the last blocks do not reach is added as output padding.
    let extra: Vec<usize> = (0..r)
        .map(|i| {
            let full = (blocks[i] - 1) * strides[i] + (block[i] - 1) * dilations[i] + 1;
            (image[i] + pads[i] + pads[i + r]) - full
        })
        .collect();
    let attrs = [
        ("group", Attr::Int(channels as i64)),
        ("strides", ints(&strides)),
        ("dilations", ints(&dilations)),
        ("pads", ints(&pads)),
        ("output_padding", ints(&extra)),
    ];
    let y = m.op_with("ConvTranspose", &[wide, weights], &attrs)?;
    m.done(y)
}

/// Images keep their operator; of other ranks it is a reduction.
fn global_pool(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    if matches!(m.rank(x), 3 | 4) {
        return Ok(false);
    }
    let op = if m.node.op == "GlobalMaxPool" { "ReduceMax" } else { "ReduceMean" };
    let pixels: Vec<usize> = (2..m.rank(x)).collect();
    let y = m.reduce(op, x, &pixels, true)?;
    m.done(y)
}

/// |x|^p and the p-th root behind a sum.
fn power(m: &mut Make<'_, '_>, x: ValueId, p: f64) -> Made {
    let magnitude = m.op("Abs", &[x])?;
    let exponent = m.like(x, p);
    m.op("Pow", &[magnitude, exponent])
}

fn global_lp_pool(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let p = m.node.int("p", 2) as f64;
    let pixels: Vec<usize> = (2..m.rank(x)).collect();
    let powers = power(m, x, p)?;
    let sum = m.reduce("ReduceSum", powers, &pixels, true)?;
    let root = m.like(x, 1.0 / p);
    let y = m.op("Pow", &[sum, root])?;
    m.done(y)
}

/// The sum is an average that counts its padding, times the taps.
fn lp_pool(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let p = m.node.int("p", 2) as f64;
    let Some(kernel) = m.node.ints("kernel_shape").map(<[i64]>::to_vec) else {
        return m.fail("lacks kernel_shape");
    };
    let powers = power(m, x, p)?;
    let keep = ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"];
    let mut attrs: Vec<(&str, Attr)> =
        keep.iter().filter_map(|&k| m.node.attrs.get(k).map(|v| (k, v.clone()))).collect();
    attrs.push(("count_include_pad", Attr::Int(1)));
    let mean = m.op_with("AveragePool", &[powers], &attrs)?;
    let sum = m.times(mean, kernel.iter().product::<i64>() as f64)?;
    let root = m.like(x, 1.0 / p);
    let y = m.op("Pow", &[sum, root])?;
    m.done(y)
}

/// A pooling that is also asked where its maxima lie: the taps of all windows side by side, and the first greatest of
/// each. Without that it stays.
fn max_pool_with_places(m: &mut Make<'_, '_>) -> Done {
    if !m.wants(1) {
        return super::volume::max_pool(m);
    }
    let x = m.input(0)?;
    let dims = m.dims(x);
    let w = window(&Ctx { graph: &m.b.graph, node: m.node }, &dims[2.min(dims.len())..], None)
        .or_else(|e| m.fail(e))?;
    let r = w.out.len();
    let elem = m.elem(x);
    let real = m.cast(x, ElemType::F32)?;
    // Padded so far that every window lies inside, with what is less than everything.
    let mut pads = vec![0i64; 2 * dims.len()];
    for i in 0..r {
        let reach = (w.kernel[i] - 1) * w.dilations[i] + 1;
        let needed = (w.out[i] - 1) * w.strides[i] + reach;
        pads[i + 2] = w.begin[i] as i64;
        pads[dims.len() + i + 2] = needed.saturating_sub(dims[i + 2] + w.begin[i]) as i64;
    }
    let pads = m.list(&pads);
    let low = m.number(f64::NEG_INFINITY, ElemType::F32);
    let padded = m.op("Pad", &[real, pads, low])?;
    let taps: usize = w.kernel.iter().product();
    let tap = |t: usize| -> Vec<usize> {
        let mut rest = t;
        let mut at = vec![0; r];
        for i in (0..r).rev() {
            at[i] = rest % w.kernel[i] * w.dilations[i];
            rest /= w.kernel[i];
        }
        at
    };
    let axes: Vec<i64> = (2..r as i64 + 2).collect();
    let mut views = Vec::with_capacity(taps);
    for t in 0..taps {
        let from = tap(t);
        let starts: Vec<i64> = from.iter().map(|&f| f as i64).collect();
        let ends: Vec<i64> = (0..r).map(|i| (from[i] + (w.out[i] - 1) * w.strides[i] + 1) as i64).collect();
        let steps: Vec<i64> = w.strides.iter().map(|&s| s as i64).collect();
        let lists = [starts, ends, axes.clone(), steps].map(|v| m.list(&v));
        let view = m.op("Slice", &[padded, lists[0], lists[1], lists[2], lists[3]])?;
        let mut wide = m.dims(view);
        wide.push(1);
        views.push(m.reshape(view, &wide)?);
    }
    let last = dims.len();
    let all = m.concat(&views, last)?;
    let values = m.reduce("ReduceMax", all, &[last], false)?;
    let values = m.cast(values, elem)?;
    m.give(0, values)?;
    let best =
        m.op_with("ArgMax", &[all], &[("axis", Attr::Int(last as i64)), ("keepdims", Attr::Int(0))])?;
    // Where a tap lies: its own offset, that of its window, and that of the plane.
    let columns_first = m.node.int("storage_order", 0) != 0;
    let mut steps = vec![1; r];
    let order: Vec<usize> = if columns_first { (0..r).collect() } else { (0..r).rev().collect() };
    let mut step = 1;
    for i in order {
        steps[i] = step;
        step *= dims[i + 2];
    }
    let offsets =
        (0..taps).map(|t| tap(t).iter().zip(&steps).map(|(a, s)| a * s).sum::<usize>() as f64).collect();
    let offsets = m.numbers(&[taps], offsets, ElemType::I64);
    let mut place = m.gather(offsets, best, 0)?;
    for i in 0..r {
        let mut along = vec![1; dims.len()];
        along[i + 2] = w.out[i];
        let starts = (0..w.out[i])
            .map(|o| ((o * w.strides[i]) as f64 - w.begin[i] as f64) * steps[i] as f64)
            .collect();
        let starts = m.numbers(&along, starts, ElemType::I64);
        place = m.add(place, starts)?;
    }
    let mut planes = vec![1; dims.len()];
    (planes[0], planes[1]) = (dims[0], dims[1]);
    let size: usize = dims[2..].iter().product();
    let starts =
        m.numbers(&planes, (0..dims[0] * dims[1]).map(|p| (p * size) as f64).collect(), ElemType::I64);
    place = m.add(place, starts)?;
    m.give(1, place)?;
    Ok(true)
}

const TO_NCHW: [usize; 4] = [0, 3, 1, 2];
const TO_NHWC: [usize; 4] = [0, 2, 3, 1];

/// An operator over `[N, H, W, C]` as the usual one between two transposes.
fn channels_last(
    m: &mut Make<'_, '_>,
    op: &str,
    rest: &[Option<ValueId>],
    keep: &[&'static str],
) -> Result<ValueId, ImportError> {
    let x = m.input(0)?;
    if m.rank(x) != 4 {
        return m.fail(format!("needs an image [N, H, W, C], it is {:?}", m.dims(x)));
    }
    let image = m.transpose(x, &TO_NCHW)?;
    let attrs: Vec<(&str, Attr)> =
        keep.iter().filter_map(|&k| m.node.attrs.get(k).map(|v| (k, v.clone()))).collect();
    let inputs: Vec<Option<ValueId>> = std::iter::once(Some(image)).chain(rest.iter().copied()).collect();
    let y = m.op_opt(op, &inputs, &attrs)?;
    m.transpose(y, &TO_NHWC)
}

fn nhwc_max_pool(m: &mut Make<'_, '_>) -> Done {
    let keep = ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"];
    let y = channels_last(m, "MaxPool", &[], &keep)?;
    m.done(y)
}

/// Weights `[M, C / groups, H, W]`, bias, a sum of the output's layout.
fn nhwc_conv(m: &mut Make<'_, '_>) -> Done {
    let keep = [
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "pads",
        "strides",
        "activation",
        "activation_params",
    ];
    let sum = match m.opt(3) {
        Some(sum) => Some(m.transpose(sum, &TO_NCHW)?),
        None => None,
    };
    let rest = [Some(m.input(1)?), m.opt(2), sum];
    let y = channels_last(m, "com.microsoft.FusedConv", &rest, &keep)?;
    m.done(y)
}
