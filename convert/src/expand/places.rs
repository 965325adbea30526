//! Images sampled where a model computes it: coordinates in plain arithmetic, pixels by one step.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::graph::{Attr, ElemType, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("DeformConv", deform_conv),
    ("GridSample", grid_sample),
    ("RoiAlign", roi_align),
    ("com.microsoft.CropAndResize", crop_and_resize),
];

/// `x [N, C, H, W]` at image, row and column, each of the same dimensions: `[.., C]`.
fn sampled(
    m: &mut Make<'_, '_>,
    x: ValueId,
    place: [ValueId; 3],
    dims: &[usize],
    mode: &str,
    outside: &str,
) -> Made {
    let mut parts = Vec::new();
    let mut wide = dims.to_vec();
    wide.push(1);
    for coordinate in place {
        let coordinate = m.cast(coordinate, ElemType::F32)?;
        let full = m.expand(coordinate, dims)?;
        parts.push(m.reshape(full, &wide)?);
    }
    let places = m.concat(&parts, dims.len())?;
    let attrs = [("mode", Attr::Str(mode.to_owned())), ("outside", Attr::Str(outside.to_owned()))];
    m.op_with("cygnet.Sample", &[x, places], &attrs)
}

/// `0..n` along dimension `at` of `rank`, as f32.
fn count(m: &mut Make<'_, '_>, n: usize, rank: usize, at: usize, step: f64) -> ValueId {
    let mut dims = vec![1; rank];
    dims[at] = n;
    m.numbers(&dims, (0..n).map(|i| i as f64 * step).collect(), ElemType::F32)
}

/// The last dimension moved behind the first: `[N, .., C]` as `[N, C, ..]`.
fn channels_second(m: &mut Make<'_, '_>, y: ValueId) -> Made {
    let rank = m.rank(y);
    let perm: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    m.transpose(y, &perm)
}

/// A grid's coordinate from -1 to 1 as a pixel's, and within what the padding makes of it.
fn pixel(m: &mut Make<'_, '_>, v: ValueId, extent: usize, mode: &str, padding: &str) -> Made {
    let corners = m.node.int("align_corners", 0) != 0;
    let n = extent as f64;
    // ((v + 1) * n - 1) / 2, or (v + 1) / 2 * (n - 1) between the centers of the corners.
    let (factor, shift) =
        if corners { ((n - 1.0) / 2.0, (n - 1.0) / 2.0) } else { (n / 2.0, (n - 1.0) / 2.0) };
    let scaled = m.times(v, factor)?;
    let mut at = m.plus(scaled, shift)?;
    if mode == "nearest" {
        at = m.op("Round", &[at])?;
    }
    let (low, high) = if corners { (0.0, n - 1.0) } else { (-0.5, n - 0.5) };
    match padding {
        "border" => {
            let (first, last) = (m.like(at, 0.0), m.like(at, n - 1.0));
            m.op("Clip", &[at, first, last])
        }
        "reflection" if high > low => {
            // Folded at both ends: the distance from the low end modulo twice the span.
            let span = high - low;
            let from = m.plus(at, -low)?;
            let distance = m.op("Abs", &[from])?;
            let period = m.like(at, 2.0 * span);
            let rest = m.op_with("Mod", &[distance, period], &[("fmod", Attr::Int(1))])?;
            let negative = m.op("Neg", &[rest])?;
            let back = m.plus(negative, 2.0 * span)?;
            let folded = m.op("Min", &[rest, back])?;
            m.plus(folded, low)
        }
        "reflection" => m.times(at, 0.0),
        "zeros" => Ok(at),
        other => m.fail(format!("pads by '{other}'; zeros, border and reflection are defined")),
    }
}

/// `X [N, C, (D,) H, W]` at `grid [N, .., 2 or 3]`, whose last dimension is x, y(, z).
fn grid_sample(m: &mut Make<'_, '_>) -> Done {
    let (x, grid) = (m.input(0)?, m.input(1)?);
    let (xd, gd) = (m.dims(x), m.dims(grid));
    let r = xd.len().saturating_sub(2);
    if !(2..=3).contains(&r) || gd.len() != xd.len() || gd[0] != xd[0] || gd[gd.len() - 1] != r {
        return m.fail(format!("its grid {gd:?} does not fit an input {xd:?}"));
    }
    let mode = match m.node.str("mode", "linear") {
        "bilinear" => "linear".to_owned(),
        "bicubic" => "cubic".to_owned(),
        other => other.to_owned(),
    };
    let padding = m.node.str("padding_mode", "zeros").to_owned();
    let outside = match (padding.as_str(), m.node.int("align_corners", 0) != 0) {
        ("zeros", _) => "zero",
        ("border", _) => "edge",
        (_, true) => "reflect",
        (_, false) => "symmetric",
    };
    let grid = m.cast(grid, ElemType::F32)?;
    let dims = gd[..gd.len() - 1].to_vec();
    let mut at = Vec::new();
    for k in 0..r {
        let v = m.slice(grid, r + 1, k, k + 1)?;
        let v = m.reshape(v, &dims)?;
        at.push(pixel(m, v, xd[xd.len() - 1 - k], &mode, &padding)?);
    }
    let image = count(m, xd[0], dims.len(), 0, 1.0);
    let y = if r == 2 {
        sampled(m, x, [image, at[1], at[0]], &dims, &mode, outside)?
    } else {
        volume_sampled(m, x, image, [at[2], at[1], at[0]], &dims, &mode, outside)?
    };
    let y = channels_second(m, y)?;
    m.done(y)
}

/// A volume sampled as images, one for each slice: at the two slices around each place, mixed by the distances.
fn volume_sampled(
    m: &mut Make<'_, '_>,
    x: ValueId,
    batch: ValueId,
    [z, y, u]: [ValueId; 3],
    dims: &[usize],
    mode: &str,
    outside: &str,
) -> Made {
    let d = m.dims(x);
    let depth = d[2];
    let slices = m.transpose(x, &[0, 2, 1, 3, 4])?;
    let slices = m.reshape(slices, &[d[0] * depth, d[1], d[3], d[4]])?;
    let base = m.times(batch, depth as f64)?;
    let last = m.like(z, (depth - 1) as f64);
    let first = m.like(z, 0.0);
    let mut wide = dims.to_vec();
    wide.push(1);
    let below = match mode {
        "nearest" => m.op("Round", &[z])?,
        "linear" => m.op("Floor", &[z])?,
        other => return m.fail(format!("samples a volume by '{other}'; linear and nearest are defined")),
    };
    let fraction = m.sub(z, below)?;
    let negative = m.op("Neg", &[fraction])?;
    let near = m.plus(negative, 1.0)?;
    let above = m.plus(below, 1.0)?;
    let taps = if mode == "nearest" {
        vec![(below, None)]
    } else {
        vec![(below, Some(near)), (above, Some(fraction))]
    };
    let mut sum: Option<ValueId> = None;
    for (slice, weight) in taps {
        let inside = m.op("Clip", &[slice, first, last])?;
        let image = m.add(base, inside)?;
        let mut part = sampled(m, slices, [image, y, u], dims, mode, outside)?;
        let mut factor = weight;
        if outside == "zero" {
            let there = m.op("Equal", &[slice, inside])?;
            let there = m.cast(there, ElemType::F32)?;
            factor = Some(match factor {
                Some(w) => m.mul(w, there)?,
                None => there,
            });
        }
        if let Some(factor) = factor {
            let factor = m.expand(factor, dims)?;
            let factor = m.reshape(factor, &wide)?;
            part = m.mul(part, factor)?;
        }
        sum = Some(match sum {
            None => part,
            Some(sum) => m.add(sum, part)?,
        });
    }
    match sum {
        Some(sum) => Ok(sum),
        None => m.fail("has no taps"),
    }
}

/// Coordinates of samples, and what each counts where that is not the same for all.
type Sides = Result<(ValueId, Option<ValueId>), crate::ImportError>;

/// Regions `[R, 4]` (x1, y1, x2, y2) of images `[R]`, each pooled to so many bins of as many samples.
fn roi_align(m: &mut Make<'_, '_>) -> Done {
    let (x, regions, images) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let elem = m.elem(x);
    let x = m.cast(x, ElemType::F32)?;
    let (xd, rd) = (m.dims(x), m.dims(regions));
    if xd.len() != 4 || rd.len() != 2 || rd[1] != 4 {
        return m.fail(format!("takes regions {rd:?} of {xd:?}"));
    }
    let size = |key: &str| usize::try_from(m.node.int(key, 1)).unwrap_or(0).max(1);
    let (height, width) = (size("output_height"), size("output_width"));
    let (h, w) = (xd[2], xd[3]);
    let given = usize::try_from(m.node.int("sampling_ratio", 0)).unwrap_or(0);
    // Without a number as many as a bin has pixels, in the largest region that the image holds.
    let most = |extent: usize, bins: usize| if given > 0 { given } else { extent.div_ceil(bins) };
    let (down, across) = (most(h, height), most(w, width));
    let count_regions = rd[0];
    let scale = f64::from(m.node.float("spatial_scale", 1.0));
    let half_pixel = m.node.str("coordinate_transformation_mode", "half_pixel") == "half_pixel";
    let maximum = m.node.str("mode", "avg") == "max";
    if maximum && given == 0 {
        return m.fail("takes the greatest of as many samples as a region has pixels; export it with a sampling_ratio above 0");
    }
    let regions = m.cast(regions, ElemType::F32)?;
    let side = |m: &mut Make<'_, '_>, k: usize| -> Made {
        let v = m.slice(regions, 1, k, k + 1)?;
        let v = m.times(v, scale)?;
        let v = if half_pixel { m.plus(v, -0.5)? } else { v };
        m.reshape(v, &[count_regions, 1])
    };
    // Coordinates of all samples along one side, `[R, bins * samples]`, and what each counts.
    let along = |m: &mut Make<'_, '_>, [from, to]: [usize; 2], bins: usize, samples: usize| -> Sides {
        let (low, high) = (side(m, from)?, side(m, to)?);
        let mut extent = m.sub(high, low)?;
        if !half_pixel {
            // Regions have at least one pixel.
            let one = m.like(extent, 1.0);
            extent = m.op("Max", &[extent, one])?;
        }
        let total = bins * samples;
        let list = |m: &mut Make<'_, '_>, of: &dyn Fn(usize) -> f64| {
            m.numbers(&[1, total], (0..total).map(of).collect(), ElemType::F32)
        };
        if given > 0 {
            let steps = list(m, &|i| (i as f64 + 0.5) / total as f64);
            let offset = m.mul(extent, steps)?;
            return Ok((m.add(low, offset)?, None));
        }
        let bin = m.times(extent, 1.0 / bins as f64)?;
        let count = m.op("Ceil", &[bin])?;
        let (none, all) = (m.like(count, 0.0), m.like(count, samples as f64));
        let count = m.op("Clip", &[count, none, all])?;
        let one = m.like(count, 1.0);
        let at_least = m.op("Max", &[count, one])?;
        let (begin, step) = (list(m, &|i| (i / samples) as f64), list(m, &|i| (i % samples) as f64 + 0.5));
        let within = m.div(step, at_least)?;
        let place = m.add(begin, within)?;
        let offset = m.mul(place, bin)?;
        let there = m.op("Less", &[step, count])?;
        let there = m.cast(there, ElemType::F32)?;
        let weight = m.div(there, at_least)?;
        Ok((m.add(low, offset)?, Some(weight)))
    };
    let (rows, row_weights) = along(m, [1, 3], height, down)?;
    let (columns, column_weights) = along(m, [0, 2], width, across)?;
    let (sh, sw) = (height * down, width * across);
    // Beyond one pixel outside there is nothing; within it the border stands in.
    let bounded =
        |m: &mut Make<'_, '_>, v: ValueId, extent: usize| -> Result<(ValueId, ValueId), crate::ImportError> {
            let (least, most) = (m.like(v, -1.0), m.like(v, extent as f64));
            let (above, below) = (m.op("GreaterOrEqual", &[v, least])?, m.op("LessOrEqual", &[v, most])?);
            let inside = m.op("And", &[above, below])?;
            let inside = m.cast(inside, ElemType::F32)?;
            let (first, last) = (m.like(v, 0.0), m.like(v, (extent - 1) as f64));
            Ok((m.op("Clip", &[v, first, last])?, inside))
        };
    let (rows, mut rows_in) = bounded(m, rows, h)?;
    let (columns, mut columns_in) = bounded(m, columns, w)?;
    if let (Some(down), Some(across)) = (row_weights, column_weights) {
        (rows_in, columns_in) = (m.mul(rows_in, down)?, m.mul(columns_in, across)?);
    }
    let (row_dims, column_dims) = ([count_regions, sh, 1], [count_regions, 1, sw]);
    let (rows, columns) = (m.reshape(rows, &row_dims)?, m.reshape(columns, &column_dims)?);
    let (rows_in, columns_in) = (m.reshape(rows_in, &row_dims)?, m.reshape(columns_in, &column_dims)?);
    let inside = m.mul(rows_in, columns_in)?;
    let inside = m.reshape(inside, &[count_regions, sh, sw, 1])?;
    let image = m.reshape(images, &[count_regions, 1, 1])?;
    let dims = [count_regions, sh, sw];
    let pixels = if maximum {
        greatest_part(m, x, [image, rows, columns], &dims)?
    } else {
        sampled(m, x, [image, rows, columns], &dims, "linear", "edge")?
    };
    let pixels = m.mul(pixels, inside)?;
    let split = m.reshape(pixels, &[count_regions, height, down, width, across * xd[1]])?;
    let op = match given {
        _ if maximum => "ReduceMax",
        0 => "ReduceSum",
        _ => "ReduceMean",
    };
    let by_rows = m.reduce(op, split, &[2], false)?;
    let split = m.reshape(by_rows, &[count_regions, height, width, across, xd[1]])?;
    let bins = m.reduce(op, split, &[3], false)?;
    let y = channels_second(m, bins)?;
    let y = m.cast(y, elem)?;
    m.done(y)
}

/// The greatest of the four weighted pixels around each place, which is what the maximum of regions goes over.
fn greatest_part(m: &mut Make<'_, '_>, x: ValueId, [image, v, u]: [ValueId; 3], dims: &[usize]) -> Made {
    let split = |m: &mut Make<'_, '_>, at: ValueId| -> Result<[(ValueId, ValueId); 2], crate::ImportError> {
        let low = m.op("Floor", &[at])?;
        let fraction = m.sub(at, low)?;
        let negative = m.op("Neg", &[fraction])?;
        let rest = m.plus(negative, 1.0)?;
        let high = m.plus(low, 1.0)?;
        Ok([(low, rest), (high, fraction)])
    };
    let (rows, columns) = (split(m, v)?, split(m, u)?);
    let mut wide = dims.to_vec();
    wide.push(1);
    let mut best: Option<ValueId> = None;
    for &(row, row_weight) in &rows {
        for &(column, column_weight) in &columns {
            let pixel = sampled(m, x, [image, row, column], dims, "nearest", "edge")?;
            let weight = m.mul(row_weight, column_weight)?;
            let weight = m.expand(weight, dims)?;
            let weight = m.reshape(weight, &wide)?;
            let part = m.mul(pixel, weight)?;
            best = Some(match best {
                None => part,
                Some(best) => m.op("Max", &[best, part])?,
            });
        }
    }
    match best {
        Some(best) => Ok(best),
        None => m.fail("has no taps"),
    }
}

/// Boxes `[R, 4]` (y1, x1, y2, x2, from 0 to 1) of images `[R]`, each resized to one size.
fn crop_and_resize(m: &mut Make<'_, '_>) -> Done {
    let (x, boxes, images) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let (xd, bd) = (m.dims(x), m.dims(boxes));
    let size = m.ints(3)?.unwrap_or_default();
    let [height, width] = match size.as_slice() {
        &[h, w] if h > 0 && w > 0 => [h as usize, w as usize],
        _ => return m.fail(format!("crops to {size:?}")),
    };
    if xd.len() != 4 || bd.len() != 2 || bd[1] != 4 || m.node.float("extrapolation_value", 0.0) != 0.0 {
        return m.fail(format!("takes boxes {bd:?} of {xd:?} with another value outside than 0"));
    }
    let mode = match m.node.str("mode", "bilinear") {
        "bilinear" => "linear",
        "nearest" => "nearest",
        other => return m.fail(format!("resizes by '{other}'; bilinear and nearest are defined")),
    };
    let along = |m: &mut Make<'_, '_>, from: usize, to: usize, bins: usize, extent: usize| -> Made {
        let (low, high) = (m.slice(boxes, 1, from, from + 1)?, m.slice(boxes, 1, to, to + 1)?);
        let last = (extent - 1) as f64;
        let span = m.sub(high, low)?;
        let steps = (0..bins).map(|i| if bins > 1 { i as f64 / (bins - 1) as f64 } else { 0.5 }).collect();
        let steps = m.numbers(&[1, bins], steps, ElemType::F32);
        let offset = m.mul(span, steps)?;
        let at = m.add(low, offset)?;
        m.times(at, last)
    };
    let (rows, columns) = (along(m, 0, 2, height, xd[2])?, along(m, 1, 3, width, xd[3])?);
    let dims = [bd[0], height, width];
    let (rows, columns) = (m.reshape(rows, &[bd[0], height, 1])?, m.reshape(columns, &[bd[0], 1, width])?);
    let image = m.reshape(images, &[bd[0], 1, 1])?;
    // Samples beyond the border are 0, not mixed with it.
    let pixels = sampled(m, x, [image, rows, columns], &dims, mode, "edge")?;
    let mut inside = Vec::new();
    for (v, extent) in [(rows, xd[2]), (columns, xd[3])] {
        let (least, most) = (m.like(v, 0.0), m.like(v, (extent - 1) as f64));
        let (above, below) = (m.op("GreaterOrEqual", &[v, least])?, m.op("LessOrEqual", &[v, most])?);
        let both = m.op("And", &[above, below])?;
        inside.push(m.cast(both, ElemType::F32)?);
    }
    let inside = m.mul(inside[0], inside[1])?;
    let inside = m.reshape(inside, &[bd[0], height, width, 1])?;
    let y = m.mul(pixels, inside)?;
    let y = channels_second(m, y)?;
    m.done(y)
}

/// A convolution whose taps a model moves. Inputs: X, weights, offsets `[N, G * taps * 2, OH, OW]`, bias, factors
/// `[N, G * taps, OH, OW]`.
fn deform_conv(m: &mut Make<'_, '_>) -> Done {
    let (x, weights, offsets) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let (xd, wd, od) = (m.dims(x), m.dims(weights), m.dims(offsets));
    let (&[batch, channels, _, _], &[filters, depth, kh, kw], &[_, _, oh, ow]) =
        (xd.as_slice(), wd.as_slice(), od.as_slice())
    else {
        return m.fail(format!("needs images and weights of rank 4, they are {xd:?}, {wd:?} and {od:?}"));
    };
    let list = |key: &str, n: usize, default: i64| match m.node.ints(key) {
        Some(v) if v.len() == n => v.to_vec(),
        _ => vec![default; n],
    };
    let (strides, dilations, pads) = (list("strides", 2, 1), list("dilations", 2, 1), list("pads", 4, 0));
    let parts = usize::try_from(m.node.int("offset_group", 1)).unwrap_or(0);
    let groups = usize::try_from(m.node.int("group", 1)).unwrap_or(0);
    let taps = kh * kw;
    if parts == 0
        || groups == 0
        || channels % parts != 0
        || channels != depth * groups
        || od[1] != parts * taps * 2
    {
        return m.fail(format!("its offsets {od:?} and weights {wd:?} do not fit an input {xd:?}"));
    }
    let each = channels / parts;
    // [N, part, tap, (row, column), OH, OW]
    let offsets = m.cast(offsets, ElemType::F32)?;
    let offsets = m.reshape(offsets, &[batch, parts, taps, 2, oh * ow])?;
    let dims = [batch, taps, oh * ow];
    let base = |m: &mut Make<'_, '_>, axis: usize| -> ValueId {
        let mut v = Vec::with_capacity(taps * oh * ow);
        for t in 0..taps {
            for p in 0..oh * ow {
                let (tap, place) = if axis == 0 { (t / kw, p / ow) } else { (t % kw, p % ow) };
                let at = place as i64 * strides[axis] - pads[axis] + tap as i64 * dilations[axis];
                v.push(at as f64);
            }
        }
        m.numbers(&[1, taps, oh * ow], v, ElemType::F32)
    };
    let (rows, columns) = (base(m, 0), base(m, 1));
    let image = count(m, batch, 3, 0, 1.0);
    let mut columns_of = Vec::new();
    for part in 0..parts {
        let own = m.slice(offsets, 1, part, part + 1)?;
        let (dy, dx) = (m.slice(own, 3, 0, 1)?, m.slice(own, 3, 1, 2)?);
        let (dy, dx) = (m.reshape(dy, &dims)?, m.reshape(dx, &dims)?);
        let (y, u) = (m.add(dy, rows)?, m.add(dx, columns)?);
        let channel = m.slice(x, 1, part * each, (part + 1) * each)?;
        let mut pixels = sampled(m, channel, [image, y, u], &dims, "linear", "zero")?;
        if let Some(mask) = m.opt(4) {
            let mask = m.slice(mask, 1, part * taps, (part + 1) * taps)?;
            let mask = m.reshape(mask, &[batch, taps, oh * ow, 1])?;
            pixels = m.mul(pixels, mask)?;
        }
        // [N, places, taps, channels]
        columns_of.push(m.transpose(pixels, &[0, 2, 1, 3])?);
    }
    let all = m.concat(&columns_of, 3)?;
    let mut results = Vec::new();
    for g in 0..groups {
        let own = m.slice(all, 3, g * depth, (g + 1) * depth)?;
        let own = m.reshape(own, &[batch * oh * ow, taps * depth])?;
        let w = m.slice(weights, 0, g * filters / groups, (g + 1) * filters / groups)?;
        let w = m.transpose(w, &[2, 3, 1, 0])?;
        let w = m.reshape(w, &[taps * depth, filters / groups])?;
        results.push(m.op("MatMul", &[own, w])?);
    }
    let mut y = m.concat(&results, 1)?;
    if let Some(bias) = m.opt(3) {
        y = m.add(y, bias)?;
    }
    let y = m.reshape(y, &[batch, oh, ow, filters])?;
    let y = m.transpose(y, &[0, 3, 1, 2])?;
    m.done(y)
}
