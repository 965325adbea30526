//! Attention in its various spellings: products, masks, softmax.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{ElemType, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Attention", attention),
    ("LinearAttention", linear_attention),
    ("RotaryEmbedding", rotary_embedding),
    ("com.microsoft.Attention", packed_attention),
    ("com.microsoft.GroupQueryAttention", group_query_attention),
    ("com.microsoft.MultiHeadAttention", multi_head_attention),
    ("com.microsoft.RotaryEmbedding", contributed_rotary_embedding),
];

/// `[B, S, H * D]` as `[B, H, S, D]`.
fn heads(m: &mut Make<'_, '_>, x: ValueId, count: usize) -> Made {
    let &[batch, length, hidden] = m.dims(x).as_slice() else {
        return m.fail(format!("needs inputs of rank 3, one is {:?}", m.dims(x)));
    };
    if count == 0 || hidden % count != 0 {
        return m.fail(format!("cannot part {hidden} channels into {count} heads"));
    }
    let split = m.reshape(x, &[batch, length, count, hidden / count])?;
    m.transpose(split, &[0, 2, 1, 3])
}

/// `[B, H, S, D]` as `[B, S, H * D]`.
fn merged(m: &mut Make<'_, '_>, x: ValueId) -> Made {
    let d = m.dims(x);
    let moved = m.transpose(x, &[0, 2, 1, 3])?;
    m.reshape(moved, &[d[0], d[2], d[1] * d[3]])
}

/// Every head as often as `times`, one after the other.
fn repeated(m: &mut Make<'_, '_>, x: ValueId, times: usize) -> Made {
    if times == 1 {
        return Ok(x);
    }
    let d = m.dims(x);
    let split = m.reshape(x, &[d[0], d[1], 1, d[2], d[3]])?;
    let wide = m.expand(split, &[d[0], d[1], times, d[2], d[3]])?;
    m.reshape(wide, &[d[0], d[1] * times, d[2], d[3]])
}

/// A mask that the converter knows, or that the model computes: added to the scores.
#[derive(Default)]
struct Bias {
    /// What is added, of dimensions that broadcast to the scores'.
    terms: Vec<ValueId>,
    /// Whether some row may have no key that it attends to: its result is 0.
    may_hide_rows: bool,
}

impl Bias {
    /// Adds 0 where `allowed`, and -inf elsewhere.
    fn allow(&mut self, m: &mut Make<'_, '_>, allowed: ValueId, elem: ElemType) -> Result<(), ImportError> {
        let (zero, hidden) = (m.number(0.0, elem), m.number(f64::NEG_INFINITY, elem));
        let term = m.op("Where", &[allowed, zero, hidden])?;
        self.add(m, term);
        Ok(())
    }

    fn add(&mut self, m: &Make<'_, '_>, term: ValueId) {
        // Rows of a known mask can be looked at.
        let hides = match m.known(term) {
            None => true,
            Some(t) => {
                let row = t.dims.last().copied().unwrap_or(1).max(1);
                t.to_f32().chunks(row).any(|r| r.iter().all(|&v| v == f32::NEG_INFINITY))
            }
        };
        // Two masks together may hide what neither hides alone.
        self.may_hide_rows |= hides || !self.terms.is_empty();
        self.terms.push(term);
    }
}

/// What a scaled dot product is made of: `[B, H, S, D]` each, with as many heads.
struct Product {
    q: ValueId,
    k: ValueId,
    v: ValueId,
    scale: f64,
    softcap: f64,
    bias: Bias,
}

/// The stages of an attention: raw scores, capped, masked, probabilities; and the result.
struct Stages {
    scores: [ValueId; 4],
    result: ValueId,
}

fn scaled_dot_product(m: &mut Make<'_, '_>, p: Product) -> Result<Stages, ImportError> {
    let keys = m.swap_last(p.k)?;
    let product = m.op("MatMul", &[p.q, keys])?;
    let raw = m.times(product, p.scale)?;
    let capped = if p.softcap > 0.0 {
        let small = m.times(raw, 1.0 / p.softcap)?;
        let bent = m.op("Tanh", &[small])?;
        m.times(bent, p.softcap)?
    } else {
        raw
    };
    let mut masked = capped;
    for &term in &p.bias.terms {
        masked = m.add(masked, term)?;
    }
    let last = m.rank(masked) - 1;
    let mut probabilities = m.softmax(masked, last)?;
    if p.bias.may_hide_rows {
        let greatest = m.reduce("ReduceMax", masked, &[last], true)?;
        let (none, zero) = (m.like(masked, f64::NEG_INFINITY), m.like(masked, 0.0));
        let hidden = m.op("Equal", &[greatest, none])?;
        probabilities = m.op("Where", &[hidden, zero, probabilities])?;
    }
    // Values may have a type of their own.
    let weights = m.cast(probabilities, m.elem(p.v))?;
    let result = m.op("MatMul", &[weights, p.v])?;
    let result = m.cast(result, m.elem(p.q))?;
    Ok(Stages { scores: [raw, capped, masked, probabilities], result })
}

/// Past and present keys or values, one after the other.
fn extended(m: &mut Make<'_, '_>, past: Option<ValueId>, now: ValueId) -> Made {
    match past {
        Some(past) if !m.dims(past).contains(&0) => m.concat(&[past, now], 2),
        _ => Ok(now),
    }
}

/// `0..n` along dimension `at` of `rank`.
fn positions(m: &mut Make<'_, '_>, n: usize, rank: usize, at: usize) -> ValueId {
    let mut dims = vec![1; rank];
    dims[at] = n;
    m.numbers(&dims, (0..n).map(|i| i as f64).collect(), ElemType::I64)
}

/// ONNX's own operator of opset 23 and later.
fn attention(m: &mut Make<'_, '_>) -> Done {
    let (mut q, mut k, mut v) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let flat = m.rank(q) == 3;
    if flat {
        let (own, shared) = (m.count("q_num_heads")?, m.count("kv_num_heads")?);
        (q, k, v) = (heads(m, q, own)?, heads(m, k, shared)?, heads(m, v, shared)?);
    }
    let (Some(past_k), Some(past_v)) = (m.opt(4), m.opt(5)) else {
        let y = attention_over(m, [q, k, v], 0, flat)?;
        return Ok(y);
    };
    let past = m.dims(past_k).get(2).copied().unwrap_or(0);
    (k, v) = (extended(m, Some(past_k), k)?, extended(m, Some(past_v), v)?);
    attention_over(m, [q, k, v], past, flat)
}

/// Attention over all keys there are, of which `past` came before the first query.
fn attention_over(m: &mut Make<'_, '_>, [q, k, v]: [ValueId; 3], past: usize, flat: bool) -> Done {
    m.give(1, k)?;
    m.give(2, v)?;
    let (qd, kd) = (m.dims(q), m.dims(k));
    let (&[batch, own, queries, depth], &[_, shared, keys, _]) = (qd.as_slice(), kd.as_slice()) else {
        return m.fail(format!("needs inputs of rank 3 or 4, they are {qd:?} and {kd:?}"));
    };
    if shared == 0 || own % shared != 0 {
        return m
            .fail(format!("has {own} heads of queries for {shared} of keys; the first must be a multiple"));
    }
    let elem = m.elem(q);
    let mut bias = Bias::default();
    if let Some(mask) = m.opt(3) {
        let mask = wide_mask(m, mask, keys)?;
        if m.elem(mask) == ElemType::Bool {
            bias.allow(m, mask, elem)?;
        } else {
            let mask = m.cast(mask, elem)?;
            bias.add(m, mask);
        }
    }
    let (left, right) = (m.node.int("left_window_size", -1), m.node.int("right_window_size", -1));
    let right = if m.node.int("is_causal", 0) != 0 { 0 } else { right };
    // How many valid keys there are of each sample, when they lie in a longer cache.
    let valid = match m.opt(6) {
        Some(n) => {
            let n = m.cast(n, ElemType::I64)?;
            Some(m.reshape(n, &[batch, 1, 1, 1])?)
        }
        None => None,
    };
    if left >= 0 || right >= 0 {
        let (i, j) = (positions(m, queries, 4, 2), positions(m, keys, 4, 3));
        let offset = match valid {
            Some(n) => m.plus(n, -(queries as f64))?,
            None => m.number(past as f64, ElemType::I64),
        };
        let at = m.add(i, offset)?;
        if right >= 0 {
            let limit = m.plus(at, right as f64)?;
            let allowed = m.op("LessOrEqual", &[j, limit])?;
            bias.allow(m, allowed, elem)?;
        }
        if left >= 0 {
            let limit = m.plus(at, -(left as f64))?;
            let allowed = m.op("GreaterOrEqual", &[j, limit])?;
            bias.allow(m, allowed, elem)?;
        }
    }
    if let Some(valid) = valid {
        let j = positions(m, keys, 4, 3);
        let allowed = m.op("Less", &[j, valid])?;
        bias.allow(m, allowed, elem)?;
    }
    let (k, v) = (repeated(m, k, own / shared)?, repeated(m, v, own / shared)?);
    let scale = match m.node.attrs.get("scale") {
        Some(_) => f64::from(m.node.float("scale", 1.0)),
        None => 1.0 / (depth as f64).sqrt(),
    };
    let softcap = f64::from(m.node.float("softcap", 0.0));
    let stages = scaled_dot_product(m, Product { q, k, v, scale, softcap, bias })?;
    if m.wants(3) {
        let mode = m.node.int("qk_matmul_output_mode", 0);
        match usize::try_from(mode).ok().and_then(|i| stages.scores.get(i)) {
            Some(&scores) => m.give(3, scores)?,
            None => return m.fail(format!("gives its scores in mode {mode}; 0 to 3 are defined")),
        }
    }
    let y = if flat { merged(m, stages.result)? } else { stages.result };
    m.done(y)
}

/// A mask as long as there are keys: those beyond it are hidden.
fn wide_mask(m: &mut Make<'_, '_>, mask: ValueId, keys: usize) -> Made {
    let dims = m.dims(mask);
    let length = dims.last().copied().unwrap_or(1);
    if length >= keys || length == 1 {
        return Ok(mask);
    }
    let mut rest = dims.clone();
    let last = rest.len() - 1;
    rest[last] = keys - length;
    let elem = m.elem(mask);
    let hidden = m.number(if elem == ElemType::Bool { 0.0 } else { f64::NEG_INFINITY }, elem);
    let hidden = m.expand(hidden, &rest)?;
    m.concat(&[mask, hidden], last)
}

/// ONNX Runtime's mask: how many keys of each sample count, or 1 where a key does, of rank 1 to 4.
fn key_mask(
    m: &mut Make<'_, '_>,
    mask: ValueId,
    bias: &mut Bias,
    keys: usize,
    filter: f64,
    elem: ElemType,
) -> Result<(), ImportError> {
    let dims = m.dims(mask);
    let allowed = match dims.len() {
        1 => {
            let (j, valid) = (positions(m, keys, 4, 3), m.cast(mask, ElemType::I64)?);
            let valid = m.reshape(valid, &[dims[0], 1, 1, 1])?;
            m.op("Less", &[j, valid])?
        }
        rank @ 2..=4 => {
            let whole = match rank {
                2 => vec![dims[0], 1, 1, dims[1]],
                3 => vec![dims[0], 1, dims[1], dims[2]],
                _ => dims,
            };
            let mask = m.reshape(mask, &whole)?;
            m.cast(mask, ElemType::Bool)?
        }
        _ => return m.fail(format!("has a mask of dimensions {dims:?}")),
    };
    let (zero, hidden) = (m.number(0.0, elem), m.number(filter, elem));
    let term = m.op("Where", &[allowed, zero, hidden])?;
    bias.terms.push(term);
    Ok(())
}

/// Adds a mask that lets query `i` see keys up to `i + past`.
fn causal(
    m: &mut Make<'_, '_>,
    bias: &mut Bias,
    queries: usize,
    keys: usize,
    elem: ElemType,
) -> Result<(), ImportError> {
    let (i, j) = (positions(m, queries, 4, 2), positions(m, keys, 4, 3));
    let limit = m.plus(i, keys as f64 - queries as f64)?;
    let allowed = m.op("LessOrEqual", &[j, limit])?;
    bias.allow(m, allowed, elem)
}

/// The scale of ONNX Runtime's operators, where 0 stands for the usual one.
fn usual_scale(m: &Make<'_, '_>, depth: usize) -> f64 {
    match m.node.float("scale", 0.0) {
        0.0 => 1.0 / (depth as f64).sqrt(),
        scale => f64::from(scale),
    }
}

/// Queries, keys and values by one product with packed weights. Inputs: x, weights, bias, mask, past `[2, B, H, S, D]`,
/// attention bias.
fn packed_attention(m: &mut Make<'_, '_>) -> Done {
    let (x, weights) = (m.input(0)?, m.input(1)?);
    let count = m.count("num_heads")?;
    let mut packed = m.op("MatMul", &[x, weights])?;
    if let Some(bias) = m.opt(2) {
        packed = m.add(packed, bias)?;
    }
    let width = m.dims(packed).last().copied().unwrap_or(0);
    let sizes: Vec<usize> = match m.node.ints("qkv_hidden_sizes") {
        Some(v) => v.iter().map(|&s| s.max(0) as usize).collect(),
        None => vec![width / 3; 3],
    };
    if sizes.len() != 3 || sizes.iter().sum::<usize>() != width {
        return m.fail(format!("parts {width} channels into {sizes:?}"));
    }
    let (a, b) = (sizes[0], sizes[0] + sizes[1]);
    let parts = [(0, a), (a, b), (b, width)];
    let mut qkv = Vec::new();
    for (from, to) in parts {
        let part = m.slice(packed, 2, from, to)?;
        qkv.push(heads(m, part, count)?);
    }
    let (q, mut k, mut v) = (qkv[0], qkv[1], qkv[2]);
    if let Some(past) = m.opt(4).filter(|&p| !m.dims(p).contains(&0)) {
        let d = m.dims(past);
        let old = [(0, 1), (1, 2)].map(|(from, to)| -> Made {
            let half = m.slice(past, 0, from, to)?;
            m.reshape(half, &d[1..])
        });
        let [old_k, old_v] = old;
        (k, v) = (extended(m, Some(old_k?), k)?, extended(m, Some(old_v?), v)?);
    }
    if m.wants(1) {
        let d: Vec<usize> = std::iter::once(1).chain(m.dims(k)).collect();
        let both = [m.reshape(k, &d)?, m.reshape(v, &d)?];
        let present = m.concat(&both, 0)?;
        m.give(1, present)?;
    }
    masked(m, [q, k, v], 3)
}

/// Queries, keys and values in heads, under the key mask of input `mask`, the attention bias of input 5 and, where the
/// node says so, the causal mask.
fn masked(m: &mut Make<'_, '_>, [q, k, v]: [ValueId; 3], mask: usize) -> Done {
    let elem = m.elem(q);
    let (queries, keys, depth) = (m.dims(q)[2], m.dims(k)[2], m.dims(q)[3]);
    let mut bias = Bias::default();
    if let Some(mask) = m.opt(mask) {
        let filter = f64::from(m.node.float("mask_filter_value", -10000.0));
        key_mask(m, mask, &mut bias, keys, filter, elem)?;
    }
    if let Some(term) = m.opt(5) {
        bias.terms.push(term);
    }
    if m.node.int("unidirectional", 0) != 0 {
        causal(m, &mut bias, queries, keys, elem)?;
    }
    let scale = usual_scale(m, depth);
    let stages = scaled_dot_product(m, Product { q, k, v, scale, softcap: 0.0, bias })?;
    let y = merged(m, stages.result)?;
    m.done(y)
}

/// Inputs: query, key, value, bias of all three, key mask, attention bias, past key, past value. Keys and values may
/// come in heads already.
fn multi_head_attention(m: &mut Make<'_, '_>) -> Done {
    let count = m.count("num_heads")?;
    let query = m.input(0)?;
    let (Some(key), Some(value)) = (m.opt(1), m.opt(2)) else {
        return m.fail("has queries, keys and values packed into one input, which is not supported");
    };
    if m.rank(query) != 3 {
        return m.fail("has queries in another form than [B, S, C], which is not supported");
    }
    let mut at = 0;
    let mut part = |m: &mut Make<'_, '_>, x: ValueId| -> Made {
        let width = m.dims(x).last().copied().unwrap_or(0);
        let width = if m.rank(x) == 4 { width * count } else { width };
        let from = at;
        at += width;
        if m.rank(x) == 4 {
            return Ok(x);
        }
        let x = match m.opt(3) {
            Some(bias) => {
                let own = m.slice(bias, 0, from, from + width)?;
                m.add(x, own)?
            }
            None => x,
        };
        heads(m, x, count)
    };
    let (q, k, v) = (part(m, query)?, part(m, key)?, part(m, value)?);
    let (k, v) = (extended(m, m.opt(6), k)?, extended(m, m.opt(7), v)?);
    m.give(1, k)?;
    m.give(2, v)?;
    masked(m, [q, k, v], 4)
}

/// Inputs: query, key, value, past key, past value (not shared with the present ones), lengths, total length, cosines,
/// sines.
fn group_query_attention(m: &mut Make<'_, '_>) -> Done {
    let (own, shared) = (m.count("num_heads")?, m.count("kv_num_heads")?);
    let (Some(key), Some(value)) = (m.opt(1), m.opt(2)) else {
        return m.fail("has queries, keys and values packed into one input, which is not supported");
    };
    if m.node.int("do_rotary", 0) != 0 || m.node.int("local_window_size", -1) != -1 {
        return m
            .fail("rotates its inputs or looks through a window, which is not supported; export it unfused");
    }
    let query = m.input(0)?;
    let (q, k, v) = (heads(m, query, own)?, heads(m, key, shared)?, heads(m, value, shared)?);
    let (k, v) = (extended(m, m.opt(3), k)?, extended(m, m.opt(4), v)?);
    m.give(1, k)?;
    m.give(2, v)?;
    let elem = m.elem(q);
    let (batch, queries, keys, depth) = (m.dims(q)[0], m.dims(q)[2], m.dims(k)[2], m.dims(q)[3]);
    let mut bias = Bias::default();
    causal(m, &mut bias, queries, keys, elem)?;
    // The lengths are those of the keys, less one.
    if let Some(lengths) = m.opt(5) {
        let lengths = m.cast(lengths, ElemType::I64)?;
        let lengths = m.reshape(lengths, &[batch, 1, 1, 1])?;
        let j = positions(m, keys, 4, 3);
        let allowed = m.op("LessOrEqual", &[j, lengths])?;
        bias.allow(m, allowed, elem)?;
    }
    let scale = usual_scale(m, depth);
    let softcap = f64::from(m.node.float("softcap", 0.0));
    let (k, v) = (repeated(m, k, own / shared)?, repeated(m, v, own / shared)?);
    let stages = scaled_dot_product(m, Product { q, k, v, scale, softcap, bias })?;
    let y = merged(m, stages.result)?;
    m.done(y)
}

fn rotary_embedding(m: &mut Make<'_, '_>) -> Done {
    let (x, mut cos, mut sin) = (m.input(0)?, m.input(1)?, m.input(2)?);
    if let Some(at) = m.opt(3) {
        (cos, sin) = (m.gather(cos, at, 0)?, m.gather(sin, at, 0)?);
    }
    let dim = usize::try_from(m.node.int("rotary_embedding_dim", 0)).unwrap_or(0);
    let y = rotated(m, x, [cos, sin], dim)?;
    m.done(y)
}

/// ONNX Runtime's: inputs x, position ids (of each token, or of the first), cosines, sines.
fn contributed_rotary_embedding(m: &mut Make<'_, '_>) -> Done {
    let (x, at, cos, sin) = (m.input(0)?, m.input(1)?, m.input(2)?, m.input(3)?);
    let dims = m.dims(x);
    let (batch, length) = match dims.as_slice() {
        &[b, s, _] => (b, s),
        &[b, _, s, _] => (b, s),
        other => return m.fail(format!("rotates an input of dimensions {other:?}")),
    };
    let at = if m.dims(at).iter().product::<usize>() == 1 {
        let first = m.reshape(at, &[1, 1])?;
        let along = positions(m, length, 2, 1);
        let along = m.add(along, first)?;
        m.expand(along, &[batch, length])?
    } else {
        at
    };
    let (cos, sin) = (m.gather(cos, at, 0)?, m.gather(sin, at, 0)?);
    let dim = usize::try_from(m.node.int("rotary_embedding_dim", 0)).unwrap_or(0);
    let y = rotated(m, x, [cos, sin], dim)?;
    m.done(y)
}

/// Pairs of channels turned by angles whose cosines and sines are `[B, S, dim / 2]`. Pairs are neighbours when
/// `interleaved`, else a channel and the one half of `dim` behind it; channels from `dim` on stay.
fn rotated(m: &mut Make<'_, '_>, x: ValueId, angles: [ValueId; 2], dim: usize) -> Made {
    let original = m.dims(x);
    let flat = original.len() == 3;
    let x = if flat {
        let count = match m.node.int("num_heads", 0) {
            0 => {
                let half = m.dims(angles[0]).last().copied().unwrap_or(1).max(1);
                original[2] / (2 * half)
            }
            n => usize::try_from(n).unwrap_or(0),
        };
        heads(m, x, count)?
    } else {
        x
    };
    let dims = m.dims(x);
    let &[batch, count, length, depth] = dims.as_slice() else {
        return m.fail(format!("rotates an input of dimensions {original:?}"));
    };
    let dim = if dim == 0 { depth } else { dim };
    if dim > depth || dim % 2 != 0 || m.dims(angles[0]).last() != Some(&(dim / 2)) {
        return m.fail(format!("rotates {dim} of {depth} channels by angles {:?}", m.dims(angles[0])));
    }
    let mut wide = Vec::new();
    for angle in angles {
        let d = m.dims(angle);
        let batch = if d.len() == 3 { d[0] } else { 1 };
        wide.push(m.reshape(angle, &[batch, 1, length, dim / 2])?);
    }
    let (cos, sin) = (wide[0], wide[1]);
    let turned = m.slice(x, 3, 0, dim)?;
    let interleaved = m.node.int("interleaved", 0) != 0;
    let (a, b) = if interleaved {
        let pairs = m.reshape(turned, &[batch, count, length, dim / 2, 2])?;
        let (a, b) = (m.slice(pairs, 4, 0, 1)?, m.slice(pairs, 4, 1, 2)?);
        let half = [batch, count, length, dim / 2];
        (m.reshape(a, &half)?, m.reshape(b, &half)?)
    } else {
        (m.slice(turned, 3, 0, dim / 2)?, m.slice(turned, 3, dim / 2, dim)?)
    };
    let (ca, sb, sa, cb) = (m.mul(cos, a)?, m.mul(sin, b)?, m.mul(sin, a)?, m.mul(cos, b)?);
    let (real, imaginary) = (m.sub(ca, sb)?, m.add(sa, cb)?);
    let mut y = if interleaved {
        let pair = [batch, count, length, dim / 2, 1];
        let (real, imaginary) = (m.reshape(real, &pair)?, m.reshape(imaginary, &pair)?);
        let pairs = m.concat(&[real, imaginary], 4)?;
        m.reshape(pairs, &[batch, count, length, dim])?
    } else {
        m.concat(&[real, imaginary], 3)?
    };
    if dim < depth {
        let rest = m.slice(x, 3, dim, depth)?;
        y = m.concat(&[y, rest], 3)?;
    }
    if flat { merged(m, y) } else { Ok(y) }
}

/// A recurrence over tokens: the state decays, takes up an outer product, and is read by the query.
fn linear_attention(m: &mut Make<'_, '_>) -> Done {
    let rule = m.node.str("update_rule", "gated_delta").to_owned();
    let (gated, delta) = (rule.starts_with("gated"), rule.ends_with("delta"));
    if !matches!(rule.as_str(), "linear" | "gated" | "delta" | "gated_delta") {
        return m.fail(format!("has the update rule '{rule}', which is not defined"));
    }
    let (own, shared) = (m.count("q_num_heads")?, m.count("kv_num_heads")?);
    if own % shared != 0 {
        return m
            .fail(format!("has {own} heads of queries for {shared} of keys; the first must be a multiple"));
    }
    let mut inputs = Vec::new();
    for (i, count) in [(0, own), (1, shared), (2, shared)] {
        let x = m.input(i)?;
        let x = m.cast(x, ElemType::F32)?;
        inputs.push(heads(m, x, count)?);
    }
    let (q, k, v) = (inputs[0], inputs[1], inputs[2]);
    let (kd, vd) = (m.dims(k), m.dims(v));
    let (batch, length, depth, width) = (kd[0], kd[2], kd[3], vd[3]);
    let out = m.elem(m.input(0)?);
    let state_elem = m.opt(3).map_or(out, |s| m.elem(s));
    let mut state = match m.opt(3) {
        Some(past) => m.cast(past, ElemType::F32)?,
        None => m.numbers(
            &[batch, shared, depth, width],
            vec![0.0; batch * shared * depth * width],
            ElemType::F32,
        ),
    };
    let gate = |m: &mut Make<'_, '_>, i: usize| -> Made {
        let x = m.input(i)?;
        let x = m.cast(x, ElemType::F32)?;
        match m.dims(x).last() {
            Some(&1) => heads(m, x, 1),
            _ => heads(m, x, shared),
        }
    };
    let decay = if gated { Some(gate(m, 4)?) } else { None };
    let beta = if delta { Some(gate(m, 5)?) } else { None };
    let scale = match m.node.float("scale", 0.0) {
        0.0 => 1.0 / (depth as f64).sqrt(),
        scale => f64::from(scale),
    };
    let mut rows = Vec::with_capacity(length);
    for t in 0..length {
        let (q_t, k_t, v_t) = (m.slice(q, 2, t, t + 1)?, m.slice(k, 2, t, t + 1)?, m.slice(v, 2, t, t + 1)?);
        let column = m.swap_last(k_t)?;
        if let Some(decay) = decay {
            let g = m.slice(decay, 2, t, t + 1)?;
            let factor = m.op("Exp", &[g])?;
            let factor = m.swap_last(factor)?;
            state = m.mul(state, factor)?;
        }
        let mut written = v_t;
        if let Some(beta) = beta {
            let known = m.op("MatMul", &[k_t, state])?;
            let news = m.sub(v_t, known)?;
            let b = m.slice(beta, 2, t, t + 1)?;
            written = m.mul(news, b)?;
        }
        let outer = m.mul(column, written)?;
        state = m.add(state, outer)?;
        let read = repeated(m, state, own / shared)?;
        rows.push(m.op("MatMul", &[q_t, read])?);
    }
    let all = m.concat(&rows, 2)?;
    let scaled = m.times(all, scale)?;
    let y = merged(m, scaled)?;
    let y = m.cast(y, out)?;
    let state = m.cast(state, state_elem)?;
    m.give(1, state)?;
    m.done(y)
}
