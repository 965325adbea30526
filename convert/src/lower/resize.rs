//! `Resize`: every mode becomes tables of taps and weights, computed here once.
//!
//! Formulas: ONNX operator specification, Resize; the antialiased filters as in its reference implementation.

use cygnet_format::op::{self, Op, ResizeKind};

use super::{Lowered, Lowerer};
use crate::graph::Node;
use crate::lir::{Const, Id};

/// For each output coordinate of an axis, as many source indices and weights.
struct Taps {
    per_output: usize,
    indices: Vec<i32>,
    weights: Vec<f32>,
}

/// How an axis is resized.
struct Axis<'a> {
    len: usize,
    out: usize,
    scale: f64,
    /// Start and end of the region of interest, as fractions.
    roi: (f64, f64),
    coordinates: &'a str,
    /// Whether coordinates are computed in float32, as runtimes do: where two pixels are equally near, its rounding
    /// decides which one is taken.
    single: bool,
}

impl Axis<'_> {
    /// Where an output coordinate lies in the source; `None` for outside (`tf_crop_and_resize`).
    fn source(&self, i: usize) -> Lowered<Option<f64>> {
        let (x, len, out) = (i as f64, self.len as f64, self.out as f64);
        let single = |v: f64| if self.single { f64::from(v as f32) } else { v };
        let scale = single(self.scale);
        let half = single(single((x + 0.5) / scale) - 0.5);
        Ok(Some(match self.coordinates {
            "half_pixel" => half,
            "pytorch_half_pixel" if self.out > 1 => half,
            "pytorch_half_pixel" => 0.0,
            "half_pixel_symmetric" => {
                let center = single(len / 2.0 * single(1.0 - single(out / single(len * scale))));
                single(center + half)
            }
            "align_corners" if self.out == 1 => 0.0,
            "align_corners" => single(x * (len - 1.0) / (out - 1.0)),
            "asymmetric" => single(x / scale),
            "tf_half_pixel_for_nn" => single((x + 0.5) / scale),
            // TensorFlow Lite multiplies by the ratio of sizes.
            "tflite" => single(x * single(len / out)),
            "tflite_half_pixel" => single((x + 0.5) * single(len / out)),
            "tflite_align_corners" => single(x * single((len - 1.0) / (out - 1.0).max(1.0))),
            "tf_crop_and_resize" => {
                let (start, end) = self.roi;
                let at = if self.out > 1 {
                    start * (len - 1.0) + x * (end - start) * (len - 1.0) / (out - 1.0)
                } else {
                    0.5 * (start + end) * (len - 1.0)
                };
                return Ok((0.0..=len - 1.0).contains(&at).then_some(at));
            }
            other => return Err(format!("its coordinate_transformation_mode '{other}' is unknown")),
        }))
    }
}

fn nearest(axis: &Axis<'_>, rounding: &str) -> Lowered<Taps> {
    let mut indices = Vec::with_capacity(axis.out);
    for i in 0..axis.out {
        indices.push(match axis.source(i)? {
            None => -1,
            Some(x) => {
                let rounded = match rounding {
                    "round_prefer_floor" => (x - 0.5).ceil(),
                    "round_prefer_ceil" => (x + 0.5).floor(),
                    "floor" => x.floor(),
                    "ceil" => x.ceil(),
                    other => return Err(format!("its nearest_mode '{other}' is unknown")),
                };
                rounded.clamp(0.0, (axis.len - 1) as f64) as i32
            }
        });
    }
    Ok(Taps { per_output: 1, weights: vec![1.0; indices.len()], indices })
}

/// The cubic convolution kernel of Keys with parameter `a`.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// A filter of the given radius around each source coordinate, stretched when `stretch` is below 1.
fn filtered(
    axis: &Axis<'_>,
    radius: f64,
    stretch: f64,
    exclude_outside: bool,
    filter: impl Fn(f64) -> f64,
) -> Lowered<Taps> {
    let first = (-radius / stretch).floor() as i64 + 1;
    let per_output = usize::try_from(2 - 2 * first).map_err(|_| "its scale is out of range".to_owned())?;
    let last = axis.len as i64 - 1;
    let (mut indices, mut weights) = (Vec::new(), Vec::new());
    for i in 0..axis.out {
        let Some(x) = axis.source(i)? else {
            indices.extend(std::iter::repeat_n(-1, per_output));
            weights.extend(std::iter::repeat_n(0.0, per_output));
            continue;
        };
        let base = x.floor();
        let taps: Vec<(i64, f64)> = (0..per_output as i64)
            .map(|t| base as i64 + first + t)
            .map(|at| {
                let outside = exclude_outside && !(0..=last).contains(&at);
                (at.clamp(0, last), if outside { 0.0 } else { filter((at as f64 - x) * stretch) })
            })
            .collect();
        let sum: f64 = taps.iter().map(|t| t.1).sum();
        let normal = if exclude_outside || stretch < 1.0 { sum } else { 1.0 };
        indices.extend(taps.iter().map(|t| t.0 as i32));
        weights.extend(taps.iter().map(|t| (t.1 / normal) as f32));
    }
    Ok(Taps { per_output, indices, weights })
}

impl Lowerer<'_> {
    pub(super) fn resize(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let (from, to) = (self.dims(x), self.dims(y));
        let rank = from.len();
        if !(3..=4).contains(&rank) || from[..2] != to[..2] {
            return Err(format!(
                "it resizes {from:?} to {to:?}; only the last one or two of 3 or 4 dimensions may change"
            ));
        }
        let axes: Vec<usize> = match node.ints("axes") {
            None => (0..rank).collect(),
            Some(a) => a.iter().map(|&a| super::axis_of(a, rank)).collect::<Lowered<_>>()?,
        };
        let floats = |i: usize, what: &str| -> Lowered<Option<Vec<f32>>> {
            match node.input(i) {
                None => Ok(None),
                Some(_) => Ok(Some(self.constant_input(node, i, what)?.to_f32()).filter(|v| !v.is_empty())),
            }
        };
        let (roi, scales, sizes) = (floats(1, "roi")?, floats(2, "scales")?, floats(3, "sizes")?);
        let coordinates = node.str("coordinate_transformation_mode", "half_pixel");
        let mode = node.str("mode", "nearest");
        // With a kept aspect ratio one scale serves all axes.
        let policy = node.str("keep_aspect_ratio_policy", "stretch");
        let common = sizes.as_ref().filter(|_| policy != "stretch").map(|sizes| {
            let ratios = sizes.iter().zip(&axes).map(|(&s, &a)| f64::from(s) / from[a] as f64);
            if policy == "not_larger" {
                ratios.fold(f64::INFINITY, f64::min)
            } else {
                ratios.fold(0.0, f64::max)
            }
        });
        let axis = |d: usize| {
            let at = axes.iter().position(|&a| a == d);
            let given = at.and_then(|i| scales.as_ref().and_then(|s| s.get(i))).map(|&s| f64::from(s));
            let region = at.and_then(|i| {
                let roi = roi.as_ref()?;
                Some((f64::from(*roi.get(i)?), f64::from(*roi.get(i + axes.len())?)))
            });
            Axis {
                len: from[d],
                out: to[d],
                scale: given.or(common.filter(|_| at.is_some())).unwrap_or(to[d] as f64 / from[d] as f64),
                roi: region.unwrap_or((0.0, 1.0)),
                coordinates: if at.is_some() { coordinates } else { "asymmetric" },
                single: mode == "nearest",
            }
        };
        let a = f64::from(node.float("cubic_coeff_a", -0.75));
        let exclude = node.int("exclude_outside", 0) != 0;
        let antialias = node.int("antialias", 0) != 0;
        let taps = |axis: &Axis<'_>| -> Lowered<Taps> {
            let stretch = if antialias { axis.scale.min(1.0) } else { 1.0 };
            match mode {
                "nearest" => nearest(axis, node.str("nearest_mode", "round_prefer_floor")),
                "linear" => filtered(axis, 1.0, stretch, exclude, |x| (1.0 - x.abs()).max(0.0)),
                "cubic" => filtered(axis, 2.0, stretch, exclude, |x| cubic(x, a)),
                other => Err(format!("its mode '{other}' is unknown")),
            }
        };
        let unchanged =
            Axis { len: 1, out: 1, scale: 1.0, roi: (0.0, 1.0), coordinates: "asymmetric", single: false };
        let rows = taps(&if rank == 4 { axis(2) } else { unchanged })?;
        let columns = taps(&axis(rank - 1))?;
        let extrapolation = node.float("extrapolation_value", 0.0);

        let image = self.image(x)?;
        let mut inputs = vec![image];
        for (what, t) in [("rows", rows), ("columns", columns)] {
            let dims = [t.indices.len() / t.per_output, t.per_output];
            inputs.push(self.table(node, what, &dims, Const::S32(t.indices)));
            inputs.push(self.table(node, what, &dims, Const::F32(t.weights)));
        }
        let kind = if mode == "nearest" { ResizeKind::Nearest } else { ResizeKind::Weighted };
        let op = Op::Resize(op::Resize { kind, extrapolation });
        let dims = self.image_dims(y);
        let dtype = self.lir.tensors[image].dtype;
        let out = self.step(&node.name, op, &inputs, &dims, dtype);
        self.define_image(y, out);
        Ok(())
    }

    fn table(&mut self, node: &Node, what: &str, dims: &[usize], values: Const) -> Id {
        let kind = if matches!(values, Const::S32(_)) { "indices" } else { "weights" };
        self.lir.add_const(format!("{}:{what}:{kind}", node.name), dims, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(len: usize, out: usize, coordinates: &str) -> Axis<'_> {
        Axis { len, out, scale: out as f64 / len as f64, roi: (0.0, 1.0), coordinates, single: false }
    }

    #[test]
    fn doubling_by_linear_half_pixel_mixes_quarters() {
        // Hand-computed: output 0 lies at -0.25, output 1 at 0.25, output 2 at 0.75.
        let t = filtered(&axis(2, 4, "half_pixel"), 1.0, 1.0, false, |x| (1.0 - x.abs()).max(0.0)).unwrap();
        assert_eq!(t.per_output, 2);
        assert_eq!(t.indices, [0, 0, 0, 1, 0, 1, 1, 1]);
        assert_eq!(t.weights, [0.25, 0.75, 0.75, 0.25, 0.25, 0.75, 0.75, 0.25]);
    }

    #[test]
    fn nearest_prefers_the_floor_at_ties() {
        let t = nearest(&axis(2, 4, "asymmetric"), "round_prefer_floor").unwrap();
        assert_eq!(t.indices, [0, 0, 1, 1]);
    }

    /// ONNX Runtime 1.32, 7 columns by a scale of 2.3 in float32: column 11 lies between 4 and 5.
    #[test]
    fn nearest_is_decided_in_float32() {
        let mut a = axis(7, 16, "half_pixel");
        (a.scale, a.single) = (f64::from(2.3f32), true);
        assert_eq!(nearest(&a, "round_prefer_floor").unwrap().indices[11], 4);
    }

    #[test]
    fn cubic_weights_sum_to_one() {
        let t = filtered(&axis(7, 13, "half_pixel"), 2.0, 1.0, false, |x| cubic(x, -0.75)).unwrap();
        for w in t.weights.chunks(t.per_output) {
            assert!((w.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{w:?}");
        }
    }
}
