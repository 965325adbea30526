//! Normalizations, spelled out by means, variances and the layer normalization that steps compute.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::graph::{Attr, ElemType, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("BatchNormalization", batch_norm),
    ("GroupNormalization", group_norm),
    ("InstanceNormalization", instance_norm),
    ("LayerNormalization", layer_norm),
    ("LRN", lrn),
    ("LpNormalization", lp_norm),
    ("MeanVarianceNormalization", mean_variance_norm),
    ("RMSNormalization", rms_norm),
    ("SimplifiedLayerNormalization", simplified_layer_norm),
    ("com.microsoft.SimplifiedLayerNormalization", simplified_layer_norm),
    ("com.microsoft.EmbedLayerNormalization", embed_layer_norm),
    ("com.microsoft.GroupNorm", nhwc_group_norm),
    ("com.microsoft.SkipLayerNormalization", skip_layer_norm),
    ("com.microsoft.SkipSimplifiedLayerNormalization", skip_layer_norm),
];

/// Scale, bias, mean and variance that are known become part of a convolution, or a product and a sum; others are
/// computed with. In training mode, mean and variance are those of the batch, and are added to the running ones.
fn batch_norm(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let mut parameters = [m.input(1)?, m.input(2)?, m.input(3)?, m.input(4)?];
    if m.node.int("training_mode", 0) != 0 {
        let axes: Vec<usize> = (0..m.rank(x)).filter(|&a| a != 1).collect();
        let momentum = f64::from(m.node.float("momentum", 0.9));
        let (mean, apart) = centred(m, x, &axes)?;
        let variance = mean_square(m, apart, &axes)?;
        for (i, now) in [(2, mean), (3, variance)] {
            let dims = m.dims(parameters[i]);
            let now = m.reshape(now, &dims)?;
            let now = m.cast(now, m.elem(parameters[i]))?;
            let (old, new) = (m.times(parameters[i], momentum)?, m.times(now, 1.0 - momentum)?);
            let running = m.add(old, new)?;
            m.give(i - 1, running)?;
            parameters[i] = now;
        }
    } else if parameters.iter().all(|&p| m.known(p).is_some()) {
        return Ok(false);
    }
    let mut along = vec![1; m.rank(x)];
    let Some(channels) = m.dims(x).get(1).copied() else { return m.fail("needs an input with channels") };
    along[1] = channels;
    let mut wide = Vec::new();
    for p in parameters {
        let p = m.cast(p, m.elem(x))?;
        wide.push(m.reshape(p, &along)?);
    }
    let epsilon = f64::from(m.node.float("epsilon", 1e-5));
    let centred = m.sub(x, wide[2])?;
    let deviation = root(m, wide[3], epsilon)?;
    let factor = m.div(wide[0], deviation)?;
    let scaled = m.mul(centred, factor)?;
    let y = m.add(scaled, wide[1])?;
    m.done(y)
}

/// sqrt(v + epsilon)
fn root(m: &mut Make<'_, '_>, v: ValueId, epsilon: f64) -> Made {
    let shifted = m.plus(v, epsilon)?;
    m.op("Sqrt", &[shifted])
}

/// Mean over axes, and `x` less that.
fn centred(
    m: &mut Make<'_, '_>,
    x: ValueId,
    axes: &[usize],
) -> Result<(ValueId, ValueId), crate::ImportError> {
    let mean = m.reduce("ReduceMean", x, axes, true)?;
    Ok((mean, m.sub(x, mean)?))
}

/// Mean of the squares over axes.
fn mean_square(m: &mut Make<'_, '_>, x: ValueId, axes: &[usize]) -> Made {
    let square = m.mul(x, x)?;
    m.reduce("ReduceMean", square, axes, true)
}

/// The one-node form takes a scale and bias that are known, of all normalized dimensions, and gives the result alone.
fn layer_norm(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let axis = m.axis("axis", -1, dims.len())?;
    let epsilon = m.node.float("epsilon", 1e-5);
    let (scale, bias) = (m.opt(1), m.opt(2));
    let known = |m: &Make<'_, '_>, p: Option<ValueId>| p.is_none_or(|p| m.known(p).is_some());
    if known(m, scale) && known(m, bias) && !m.wants(1) && !m.wants(2) && scale.is_some() {
        let full = |m: &Make<'_, '_>, p: Option<ValueId>| p.is_none_or(|p| m.dims(p) == dims[axis..]);
        if full(m, scale) && full(m, bias) {
            return Ok(false);
        }
        let mut inputs = vec![Some(x)];
        for p in [scale, bias].into_iter().flatten() {
            inputs.push(Some(m.expand(p, &dims[axis..])?));
        }
        let y = m.op_opt("LayerNormalization", &inputs, &norm_attrs(axis, epsilon))?;
        return m.done(y);
    }
    let axes: Vec<usize> = (axis..dims.len()).collect();
    if m.wants(1) || m.wants(2) {
        let (mean, rest) = centred(m, x, &axes)?;
        let variance = mean_square(m, rest, &axes)?;
        let deviation = root(m, variance, f64::from(epsilon))?;
        let inverse = m.op("Reciprocal", &[deviation])?;
        let (mean, inverse) = (m.cast(mean, ElemType::F32)?, m.cast(inverse, ElemType::F32)?);
        m.give(1, mean)?;
        m.give(2, inverse)?;
    }
    let ones: usize = dims[axis..].iter().product();
    let elem = m.elem(x);
    let one = m.numbers(&dims[axis..], vec![1.0; ones], elem);
    let plain = m.op_with("LayerNormalization", &[x, one], &norm_attrs(axis, epsilon))?;
    let scaled = match scale {
        Some(scale) => m.mul(plain, scale)?,
        None => plain,
    };
    let y = match bias {
        Some(bias) => m.add(scaled, bias)?,
        None => scaled,
    };
    m.done(y)
}

fn norm_attrs(axis: usize, epsilon: f32) -> [(&'static str, Attr); 2] {
    [("axis", Attr::Int(axis as i64)), ("epsilon", Attr::Float(epsilon))]
}

/// x / sqrt(mean(x^2) + epsilon) * scale; the square root's inverse with it.
fn rms(
    m: &mut Make<'_, '_>,
    x: ValueId,
    scale: Option<ValueId>,
    axis: usize,
    epsilon: f32,
) -> Result<(ValueId, ValueId), crate::ImportError> {
    let axes: Vec<usize> = (axis..m.rank(x)).collect();
    let square = mean_square(m, x, &axes)?;
    let deviation = root(m, square, f64::from(epsilon))?;
    let inverse = m.op("Reciprocal", &[deviation])?;
    let plain = m.mul(x, inverse)?;
    let y = match scale {
        // The result has the scale's type.
        Some(scale) => {
            let plain = m.cast(plain, m.elem(scale))?;
            m.mul(plain, scale)?
        }
        None => plain,
    };
    Ok((y, inverse))
}

fn rms_norm(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let axis = m.axis("axis", -1, m.rank(x))?;
    let epsilon = m.node.float("epsilon", 1e-5);
    let (y, _) = rms(m, x, m.opt(1), axis, epsilon)?;
    m.done(y)
}

fn simplified_layer_norm(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let axis = m.axis("axis", -1, m.rank(x))?;
    let epsilon = m.node.float("epsilon", 1e-5);
    let (y, inverse) = rms(m, x, m.opt(1), axis, epsilon)?;
    m.give(1, inverse)?;
    m.done(y)
}

/// Inputs: x, skip, gamma, beta (not in the simplified form), bias. Outputs: the result, mean, inverse deviation, the
/// sum of the inputs.
fn skip_layer_norm(m: &mut Make<'_, '_>) -> Done {
    let simplified = m.node.op.ends_with("SkipSimplifiedLayerNormalization");
    let (x, skip, gamma) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let epsilon = m.node.float("epsilon", 1e-12);
    let mut sum = m.add(x, skip)?;
    if let Some(bias) = m.opt(if simplified { 3 } else { 4 }) {
        sum = m.add(sum, bias)?;
    }
    if m.wants(1) || m.wants(2) {
        return m.fail(
            "is asked for its mean or deviation, which only training uses; export the model for inference",
        );
    }
    m.give(3, sum)?;
    let axis = m.rank(x) - 1;
    let y = if simplified {
        rms(m, sum, Some(gamma), axis, epsilon)?.0
    } else {
        let inputs = [Some(sum), Some(gamma), m.opt(3)];
        m.op_opt("LayerNormalization", &inputs, &norm_attrs(axis, epsilon))?
    };
    m.done(y)
}

/// Inputs: ids, segment ids, word, position and segment embeddings, gamma, beta, mask, position ids. Outputs: the
/// result, the number of unmasked ids, the sum of the embeddings.
fn embed_layer_norm(m: &mut Make<'_, '_>) -> Done {
    let (ids, words, positions) = (m.input(0)?, m.input(2)?, m.input(3)?);
    let (gamma, beta) = (m.input(5)?, m.input(6)?);
    let epsilon = m.node.float("epsilon", 1e-12);
    let mut sum = m.gather(words, ids, 0)?;
    let length = m.dims(ids).last().copied().unwrap_or(0);
    let position = match m.opt(8) {
        Some(at) => m.gather(positions, at, 0)?,
        None => m.slice(positions, 0, 0, length)?,
    };
    sum = m.add(sum, position)?;
    if let (Some(segment), Some(table)) = (m.opt(1), m.opt(4)) {
        let segment = m.gather(table, segment, 0)?;
        sum = m.add(sum, segment)?;
    }
    if m.wants(1) {
        let count = match m.opt(7) {
            Some(mask) => m.reduce("ReduceSum", mask, &[1], false)?,
            None => {
                let batch = m.dims(ids)[0];
                m.numbers(&[batch], vec![length as f64; batch], ElemType::I32)
            }
        };
        m.give(1, count)?;
    }
    m.give(2, sum)?;
    let axis = m.rank(sum) - 1;
    let y = m.op_with("LayerNormalization", &[sum, gamma, beta], &norm_attrs(axis, epsilon))?;
    m.done(y)
}

fn instance_norm(m: &mut Make<'_, '_>) -> Done {
    let (x, scale, bias) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let channels = m.dims(x).get(1).copied().unwrap_or(0);
    if m.rank(x) < 3 || channels == 0 {
        return m.fail(format!("needs an input [N, C, spatial...], it is {:?}", m.dims(x)));
    }
    let y = grouped(m, x, channels, scale, bias)?;
    m.done(y)
}

/// Normalized over all pixels of each group of channels; scale and bias of each channel. Means go over the pixels first
/// and then over the small rest, so that the image itself may lie in any order.
fn grouped(m: &mut Make<'_, '_>, x: ValueId, groups: usize, scale: ValueId, bias: ValueId) -> Made {
    let dims = m.dims(x);
    let (batch, channels) = (dims[0], dims[1]);
    let pixels: Vec<usize> = (2..dims.len()).collect();
    let mut small = vec![1; dims.len()];
    (small[0], small[1]) = (batch, channels);
    let mean = |m: &mut Make<'_, '_>, x: ValueId| -> Made {
        let each = m.reduce("ReduceMean", x, &pixels, true)?;
        if groups == channels {
            return Ok(each);
        }
        let split = m.reshape(each, &[batch, groups, channels / groups])?;
        let joint = m.reduce("ReduceMean", split, &[2], true)?;
        let wide = m.expand(joint, &[batch, groups, channels / groups])?;
        m.reshape(wide, &small)
    };
    let center = mean(m, x)?;
    let rest = m.sub(x, center)?;
    let square = m.mul(rest, rest)?;
    let variance = mean(m, square)?;
    let epsilon = f64::from(m.node.float("epsilon", 1e-5));
    let deviation = root(m, variance, epsilon)?;
    let mut along = vec![1; dims.len()];
    along[1] = channels;
    let (scale, bias) = (m.reshape(scale, &along)?, m.reshape(bias, &along)?);
    let factor = m.div(scale, deviation)?;
    let scaled = m.mul(rest, factor)?;
    m.add(scaled, bias)
}

/// Before opset 21 scale and bias had an element for each group.
fn group_norm(m: &mut Make<'_, '_>) -> Done {
    let (x, mut scale, mut bias) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let groups = m.count("num_groups")?;
    let channels = m.dims(x).get(1).copied().unwrap_or(0);
    if channels == 0 || channels % groups != 0 {
        return m.fail(format!("cannot part {channels} channels into {groups} groups"));
    }
    if m.node.int("per_group", 0) != 0 && channels != groups {
        for p in [&mut scale, &mut bias] {
            let column = m.reshape(*p, &[groups, 1])?;
            let wide = m.expand(column, &[groups, channels / groups])?;
            *p = m.reshape(wide, &[channels])?;
        }
    }
    let y = grouped(m, x, groups, scale, bias)?;
    m.done(y)
}

/// Channels last; a Swish behind it when `activation` is 1.
fn nhwc_group_norm(m: &mut Make<'_, '_>) -> Done {
    let (x, scale, bias) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let groups = m.count("groups")?;
    let rank = m.rank(x);
    if rank < 3 || m.node.int("channels_last", 1) == 0 {
        return m.fail("needs an input with its channels last");
    }
    let forward: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let back: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
    let image = m.transpose(x, &forward)?;
    let (scale, bias) = (m.cast(scale, m.elem(x))?, m.cast(bias, m.elem(x))?);
    let mut y = grouped(m, image, groups, scale, bias)?;
    if m.node.int("activation", 0) == 1 {
        y = m.op("Swish", &[y])?;
    }
    let y = m.transpose(y, &back)?;
    m.done(y)
}

/// Most channels of a local response normalization, whose window over them is a matrix.
const MAX_CHANNELS: usize = 1 << 12;

/// x / (bias + alpha / size * sum of x^2 over neighbouring channels)^beta. The sum is a product with a matrix of a band
/// of ones.
fn lrn(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let size = m.count("size")?;
    let Some(&channels) = dims.get(1) else { return m.fail("needs an input with channels") };
    if channels > MAX_CHANNELS {
        return m.fail(format!("has {channels} channels, at most {MAX_CHANNELS} are possible"));
    }
    let (alpha, beta) = (f64::from(m.node.float("alpha", 1e-4)), f64::from(m.node.float("beta", 0.75)));
    let bias = f64::from(m.node.float("bias", 1.0));
    let (before, after) = ((size - 1) / 2, size / 2);
    let mut band = vec![0.0; channels * channels];
    for c in 0..channels {
        for k in c.saturating_sub(before)..(c + after + 1).min(channels) {
            band[c * channels + k] = alpha / size as f64;
        }
    }
    let elem = m.elem(x);
    let square = m.mul(x, x)?;
    let inner: usize = dims[2..].iter().product();
    let flat = m.reshape(square, &[dims[0], channels, inner])?;
    let weights = m.numbers(&[channels, channels, 1], band, elem);
    let sums = m.op("Conv", &[flat, weights])?;
    let sums = m.reshape(sums, &dims)?;
    let base = m.plus(sums, bias)?;
    let exponent = m.like(x, beta);
    let divisor = m.op("Pow", &[base, exponent])?;
    let y = m.div(x, divisor)?;
    m.done(y)
}

/// x / |x| along an axis, 0 where the norm is 0.
fn lp_norm(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let axis = m.axis("axis", -1, m.rank(x))?;
    let op = match m.node.int("p", 2) {
        1 => "ReduceL1",
        2 => "ReduceL2",
        p => return m.fail(format!("has the norm of order {p}; 1 and 2 are defined")),
    };
    let norm = m.reduce(op, x, &[axis], true)?;
    let (zero, one) = (m.like(x, 0.0), m.like(x, 1.0));
    let none = m.op("Equal", &[norm, zero])?;
    let divisor = m.op("Where", &[none, one, norm])?;
    let y = m.div(x, divisor)?;
    m.done(y)
}

/// (x - mean) / (deviation + 1e-9)
fn mean_variance_norm(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let rank = m.rank(x);
    let given = m.node.ints("axes").unwrap_or(&[0, 2, 3]).to_vec();
    let mut axes = Vec::new();
    for a in given {
        axes.push(crate::infer::axis(a, rank).or_else(|e| m.fail(e))?);
    }
    let (_, rest) = centred(m, x, &axes)?;
    let variance = mean_square(m, rest, &axes)?;
    let deviation = m.op("Sqrt", &[variance])?;
    let divisor = m.plus(deviation, 1e-9)?;
    let y = m.div(rest, divisor)?;
    m.done(y)
}
