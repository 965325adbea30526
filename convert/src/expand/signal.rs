//! Spectra: transforms of a known length are products with matrices of cosines and sines.

use std::cmp::Ordering;

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{ElemType, ValueId};
use crate::onnx::elem_type;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("BlackmanWindow", |m| window(m, &[0.42, -0.5, 0.08])),
    ("DFT", dft),
    ("HammingWindow", |m| window(m, &[25.0 / 46.0, -21.0 / 46.0])),
    ("HannWindow", |m| window(m, &[0.5, -0.5])),
    ("MelWeightMatrix", mel_weight_matrix),
    ("STFT", stft),
];

/// The element type of an attribute that names one.
fn output_elem(m: &Make<'_, '_>) -> Result<ElemType, ImportError> {
    let number = m.node.int("output_datatype", 1);
    match i32::try_from(number).ok().and_then(elem_type) {
        Some(elem) => Ok(elem),
        None => m.fail(format!("gives element type number {number}, which is not supported")),
    }
}

/// A sum of cosines `c[k] * cos(2 pi k n / N)`.
fn window(m: &mut Make<'_, '_>, c: &[f64]) -> Done {
    let size = m.int(0)?.unwrap_or(0);
    let Some(size) = usize::try_from(size).ok().filter(|&s| s < 1 << 24) else {
        return m.fail(format!("has a window of {size}"));
    };
    let elem = output_elem(m)?;
    let periodic = m.node.int("periodic", 1) != 0;
    let period = if periodic { size } else { size.saturating_sub(1) } as f64;
    let at = |n: usize| -> f64 {
        let turn = 2.0 * std::f64::consts::PI * n as f64 / period;
        c.iter().enumerate().map(|(k, c)| c * (k as f64 * turn).cos()).sum()
    };
    let y = m.numbers(&[size], (0..size).map(at).collect(), elem);
    m.done(y)
}

/// Triangles over the bins of a spectrum, evenly spaced on the mel scale. Inputs: bins, transform length, sample rate,
/// lower and upper edge.
fn mel_weight_matrix(m: &mut Make<'_, '_>) -> Done {
    let mut numbers = [0.0; 5];
    for (i, n) in numbers.iter_mut().enumerate() {
        match m.known_input(i)?.and_then(crate::graph::Tensor::scalar_f32) {
            Some(v) => *n = f64::from(v),
            None => return m.fail(format!("needs one number as input {i}")),
        }
    }
    let [bins, length, rate, low, high] = numbers;
    let (bins, spectrum) = (bins as usize, length as usize / 2 + 1);
    if bins == 0 || spectrum.saturating_mul(bins) > 1 << 24 || rate <= 0.0 {
        return m.fail(format!("has {bins} bins over a spectrum of {spectrum} at {rate} Hz"));
    }
    let mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
    let hertz = |m: f64| 700.0 * (10f64.powf(m / 2595.0) - 1.0);
    let (from, to) = (mel(low), mel(high));
    let step = (to - from) / (bins + 2) as f64;
    let edge = |i: usize| ((length + 1.0) * hertz(from + step * i as f64) / rate).floor();
    let mut weights = vec![0.0; spectrum * bins];
    for b in 0..bins {
        let (left, middle, right) = (edge(b), edge(b + 1), edge(b + 2));
        // A triangle reaches its peak even when it has no rising or no falling side.
        for k in 0..spectrum {
            let weight = match (k as f64).total_cmp(&middle) {
                Ordering::Less => (k as f64 - left) / (middle - left),
                Ordering::Equal => 1.0,
                Ordering::Greater => (right - k as f64) / (right - middle),
            };
            weights[k * bins + b] = weight.max(0.0);
        }
    }
    let elem = output_elem(m)?;
    let y = m.numbers(&[spectrum, bins], weights, elem);
    m.done(y)
}

/// Cosines and sines of `2 pi n k / length` for `n` rows and `k` columns, each times `factor`.
fn waves(rows: usize, columns: usize, length: usize, factor: f64) -> (Vec<f64>, Vec<f64>) {
    let turn = |i: usize| {
        let (n, k) = (i / columns, i % columns);
        // The product modulo the length: exact angles for long transforms too.
        let step = (n as u128 * k as u128 % length as u128) as f64;
        2.0 * std::f64::consts::PI * step / length as f64
    };
    let all = 0..rows * columns;
    (all.clone().map(|i| factor * turn(i).cos()).collect(), all.map(|i| factor * turn(i).sin()).collect())
}

/// Longest transform that is computed as a product.
const MAX_LENGTH: usize = 1 << 14;

/// Inputs: signal, length, axis (an attribute before opset 20).
fn dft(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let rank = dims.len();
    let given = match m.int(2)? {
        Some(axis) => axis,
        None if m.node.attrs.contains_key("axis") => m.node.int("axis", 1),
        None => -2,
    };
    let axis = crate::infer::axis(given, rank).or_else(|e| m.fail(e))?;
    let (inverse, onesided) = (m.node.int("inverse", 0) != 0, m.node.int("onesided", 0) != 0);
    let parts = dims[rank - 1];
    if axis + 1 == rank || !(1..=2).contains(&parts) {
        return m.fail(format!(
            "transforms axis {axis} of {dims:?}; the last dimension holds real and imaginary parts"
        ));
    }
    let length = match m.int(1)? {
        Some(n) => usize::try_from(n).unwrap_or(0),
        None if inverse && onesided => 2 * (dims[axis] - 1),
        None => dims[axis],
    };
    if length == 0 || length > MAX_LENGTH {
        return m.fail(format!("transforms {length} elements; from 1 to {MAX_LENGTH} are possible"));
    }
    // The axis last, real and imaginary parts apart.
    let mut forward: Vec<usize> = (0..rank - 1).filter(|&d| d != axis).collect();
    forward.push(axis);
    let mut halves = Vec::new();
    for part in 0..parts {
        let half = m.slice(x, rank - 1, part, part + 1)?;
        let half = m.reshape(half, &dims[..rank - 1])?;
        halves.push(m.transpose(half, &forward)?);
    }
    let (re, im) = transform(m, halves[0], halves.get(1).copied(), length, inverse, onesided)?;
    let mut back = vec![0; rank - 1];
    for (i, &d) in forward.iter().enumerate() {
        back[d] = i;
    }
    let mut results = Vec::new();
    for half in [Some(re), im].into_iter().flatten() {
        let moved = m.transpose(half, &back)?;
        let mut wide = m.dims(moved);
        wide.push(1);
        results.push(m.reshape(moved, &wide)?);
    }
    let y = m.concat(&results, rank - 1)?;
    m.done(y)
}

/// The transform of the last axis of `[.., N]`, filled up with zeros or cut to `length`; real and imaginary part. An
/// inverse of one side gives real numbers.
fn transform(
    m: &mut Make<'_, '_>,
    re: ValueId,
    im: Option<ValueId>,
    length: usize,
    inverse: bool,
    onesided: bool,
) -> Result<(ValueId, Option<ValueId>), ImportError> {
    let elem = m.elem(re);
    let last = m.rank(re) - 1;
    let have = m.dims(re)[last];
    let matrices = |m: &mut Make<'_, '_>, rows: usize, columns: usize, factor: f64| {
        let (cos, sin) = waves(rows, columns, length, factor);
        (m.numbers(&[rows, columns], cos, elem), m.numbers(&[rows, columns], sin, elem))
    };
    if inverse && onesided {
        // The other side is the mirror image: all but its ends count twice.
        let side = (length / 2 + 1).min(have);
        let (mut cos, mut sin) = waves(side, length, length, 1.0 / length as f64);
        for k in 1..side {
            let twice = if 2 * k == length { 1.0 } else { 2.0 };
            for v in [&mut cos, &mut sin] {
                v[k * length..(k + 1) * length].iter_mut().for_each(|v| *v *= twice);
            }
        }
        let re = m.slice(re, last, 0, side)?;
        let cos = m.numbers(&[side, length], cos, elem);
        let mut y = m.op("MatMul", &[re, cos])?;
        if let Some(im) = im {
            let im = m.slice(im, last, 0, side)?;
            let sin = m.numbers(&[side, length], sin, elem);
            let part = m.op("MatMul", &[im, sin])?;
            y = m.sub(y, part)?;
        }
        return Ok((y, None));
    }
    let rows = have.min(length);
    let columns = if onesided { length / 2 + 1 } else { length };
    let (sign, factor) = if inverse { (1.0, 1.0 / length as f64) } else { (-1.0, 1.0) };
    let (cos, sin) = matrices(m, rows, columns, factor);
    let re = m.slice(re, last, 0, rows)?;
    let (re_cos, re_sin) = (m.op("MatMul", &[re, cos])?, m.op("MatMul", &[re, sin])?);
    let re_sin = if sign < 0.0 { m.op("Neg", &[re_sin])? } else { re_sin };
    let Some(im) = im else { return Ok((re_cos, Some(re_sin))) };
    let im = m.slice(im, last, 0, rows)?;
    let (im_cos, im_sin) = (m.op("MatMul", &[im, cos])?, m.op("MatMul", &[im, sin])?);
    let real = if sign < 0.0 { m.add(re_cos, im_sin)? } else { m.sub(re_cos, im_sin)? };
    Ok((real, Some(m.add(re_sin, im_cos)?)))
}

/// Inputs: signal `[B, L, 1 or 2]`, step, window, frame length. Output `[B, frames, bins, 2]`.
fn stft(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let &[batch, length, parts] = m.dims(x).as_slice() else {
        return m.fail(format!("needs a signal [B, L, 1 or 2], it is {:?}", m.dims(x)));
    };
    let step = m.int(1)?.and_then(|s| usize::try_from(s).ok()).filter(|&s| s > 0);
    let Some(step) = step else { return m.fail("needs a positive step") };
    let window = m.opt(2);
    let frame = match (m.int(3)?, window) {
        (Some(n), _) => usize::try_from(n).unwrap_or(0),
        (None, Some(w)) => m.dims(w)[0],
        (None, None) => length,
    };
    if frame == 0 || frame > length || frame > MAX_LENGTH || !(1..=2).contains(&parts) {
        return m.fail(format!(
            "takes frames of {frame} out of {length} samples; at most {MAX_LENGTH} are possible"
        ));
    }
    let onesided = m.node.int("onesided", 1) != 0;
    let mut frames = Vec::new();
    for part in 0..parts {
        let half = m.slice(x, 2, part, part + 1)?;
        let half = m.reshape(half, &[batch, length])?;
        let cut = framed(m, half, frame, step)?;
        frames.push(match window {
            Some(window) => m.mul(cut, window)?,
            None => cut,
        });
    }
    let (re, im) = transform(m, frames[0], frames.get(1).copied(), frame, false, onesided)?;
    let mut results = Vec::new();
    for half in [Some(re), im].into_iter().flatten() {
        let mut wide = m.dims(half);
        wide.push(1);
        results.push(m.reshape(half, &wide)?);
    }
    let y = m.concat(&results, 3)?;
    m.done(y)
}

/// `[B, L]` as overlapping frames `[B, frames, frame]`.
fn framed(m: &mut Make<'_, '_>, x: ValueId, frame: usize, step: usize) -> Made {
    let length = m.dims(x)[1];
    let count = (length - frame) / step + 1;
    let at = (0..count * frame).map(|i| (i / frame * step + i % frame) as f64).collect();
    let at = m.numbers(&[count, frame], at, ElemType::I64);
    m.gather(x, at, 1)
}
