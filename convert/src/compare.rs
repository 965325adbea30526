//! A finished model beside the float model that it came from, layer by layer.

use std::collections::HashMap;

use cygnet::format::Array;
use cygnet::format::writer::{WeightsAlign, Writer};
use cygnet::{Memory, Model, Quant, Session, SessionOptions, TensorRef};
use cygnet_format::program::{DType, Program};
use cygnet_kernels::conv::pack::PACK_ID;

use crate::emit::{Weights, emit};
use crate::judge::{cosine, decibels, noise};
use crate::lir::Lir;
use crate::pipeline::{ConvertError, Progress};
use crate::precision::add_padding_rows;
use crate::ranges::Range;

/// How a result of the model in fewer bits lies beside the float model's, over all samples. Errors add up along the
/// network: a layer's figures hold those of the layers before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The step.
    pub step: String,
    /// The operation.
    pub op: &'static str,
    /// The tensor that it computes.
    pub tensor: String,
    /// The tensor's type.
    pub dtype: DType,
    /// Mean cosine of the two results.
    pub cosine: f64,
    /// Signal to noise in dB, of the mean over samples; the signal is taken around its mean.
    pub sqnr_db: f64,
    /// Greatest absolute difference.
    pub max_error: f64,
    /// Greatest absolute value of the float model.
    pub max_value: f64,
    /// Share of the float model's values that the tensor's scale cannot express; 0 where there is none.
    pub saturated: f64,
    /// The float model's values.
    pub histogram: Histogram,
    /// Least and greatest number that the tensor's scale expresses, where it has one.
    pub range: Option<[f64; 2]>,
}

/// How often values lie where: equal bins between the least and the greatest of the first sample; what lies beyond in
/// later ones counts with the outermost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Left end of the first bin.
    pub low: f64,
    /// Right end of the last bin.
    pub high: f64,
    /// Values in each bin; none before the first sample.
    pub counts: Vec<u32>,
}

/// Bins of a histogram.
const BINS: usize = 48;

impl Histogram {
    fn add(&mut self, values: &[f32]) {
        if self.counts.is_empty() {
            let range = Range::of(values).unwrap_or(Range { min: 0.0, max: 0.0 });
            (self.low, self.high) = (range.min.into(), range.max.into());
            self.counts = vec![0; BINS];
        }
        let per_unit = BINS as f64 / (self.high - self.low).max(f64::MIN_POSITIVE);
        for &v in values {
            let bin = ((f64::from(v) - self.low) * per_unit).max(0.0) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }
}

/// Sums of a layer over samples.
#[derive(Clone, Default)]
struct Sums {
    cosine: f64,
    noise: f64,
    max_error: f64,
    max_value: f64,
    saturated: f64,
    histogram: Histogram,
}

/// Compares `model`'s first program with the float graph that it was made from. Results of both are matched by the names
/// of their tensors; those that only one of them has are passed over.
///
/// # Errors
/// When a sample does not fit or the two have nothing in common.
pub fn compare(
    lir: &Lir,
    model: &Model,
    samples: &[Vec<Array>],
    progress: &mut dyn Progress,
) -> Result<Vec<Layer>, ConvertError> {
    let mut float = float_session(lir)?;
    let mut low = Session::new(model, &SessionOptions::default())?;
    let known: HashMap<String, usize> =
        float.program().tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
    let program: Program = low.program().clone();
    let pairs: Vec<Option<usize>> =
        program.steps.iter().map(|s| pair(&program, s.output, &known, float.program())).collect();
    if pairs.iter().all(Option::is_none) {
        return Err(ConvertError::Unrelated);
    }
    let looks = looks(&program);
    let mut sums = vec![Sums::default(); program.steps.len()];
    progress.stage("comparing", Some(samples.len()));
    for sample in samples {
        set(&mut float, sample)?;
        float.run()?;
        set(&mut low, sample)?;
        let mut failed = None;
        low.run_looking(&mut |done, memory: &Memory<'_>| {
            for &index in &looks[done] {
                let result = memory.tensor(program.steps[index].output as usize);
                let (Some(twin), Some(result)) = (pairs[index], result) else { continue };
                match float.tensor(twin) {
                    Ok(exact) => sums[index].add(&exact.to_f32(), &result),
                    Err(error) => failed = Some(error),
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        progress.advance();
    }
    let count = samples.len().max(1) as f64;
    let layer = |(index, step): (usize, &cygnet_format::program::Step)| {
        pairs[index].filter(|_| looks.iter().any(|l| l.contains(&index)))?;
        let (s, t) = (&sums[index], &program.tensors[step.output as usize]);
        Some(Layer {
            step: step.name.clone(),
            op: step.op.name(),
            tensor: t.name.clone(),
            dtype: t.dtype,
            cosine: s.cosine / count,
            sqnr_db: decibels(s.noise / count),
            max_error: s.max_error,
            max_value: s.max_value,
            saturated: s.saturated / count,
            histogram: s.histogram.clone(),
            range: t.quant.filter(|_| t.dtype == DType::S8).map(expressed),
        })
    };
    Ok(program.steps.iter().enumerate().filter_map(layer).collect())
}

/// For each number of steps done, the steps whose results are whole then: of those that write one tensor the last, before
/// the first step reads it. Parts of it may be written in its place by others.
fn looks(program: &Program) -> Vec<Vec<usize>> {
    let count = program.steps.len();
    let mut looks = vec![Vec::new(); count + 1];
    for (index, step) in program.steps.iter().enumerate() {
        let after = index + 1..count;
        if after.clone().any(|i| program.steps[i].output == step.output) {
            continue;
        }
        let reads = |i: &usize| program.steps[*i].inputs.contains(&Some(step.output));
        let is_output = program.outputs.iter().any(|p| p.tensor == step.output);
        let at = after.clone().find(reads).unwrap_or(if is_output { count } else { index + 1 });
        looks[at].push(index);
    }
    looks
}

/// The first layer whose result has less signal to noise than this, in dB.
pub fn first_bad(layers: &[Layer], least_db: f64) -> Option<&Layer> {
    layers.iter().find(|layer| layer.sqnr_db.is_nan() || layer.sqnr_db < least_db)
}

impl Sums {
    fn add(&mut self, exact: &[f32], result: &TensorRef<'_>) {
        let got = result.to_f32();
        let channels = result.dims.last().map_or(1, |&d| d as usize).max(1);
        let scaled = rescaled(exact, &got, channels);
        let exact = scaled.as_deref().unwrap_or(exact);
        self.histogram.add(exact);
        self.cosine += cosine(exact, &got);
        self.noise += noise(exact, &got);
        let errors = exact.iter().zip(&got).map(|(a, b)| f64::from((a - b).abs()));
        self.max_error = errors.fold(self.max_error, f64::max);
        self.max_value = exact.iter().map(|v| f64::from(v.abs())).fold(self.max_value, f64::max);
        if let (DType::S8, Some(q)) = (result.dtype, result.quant) {
            self.saturated += saturated(exact, q);
        }
    }
}

/// Factors that equalization gave to channels are no errors: where a factor for each channel of the last dimension explains
/// most of the difference, the float values times these.
fn rescaled(exact: &[f32], got: &[f32], channels: usize) -> Option<Vec<f32>> {
    let mut sums = vec![(0.0_f64, 0.0_f64); channels];
    for (row, other) in exact.chunks(channels).zip(got.chunks(channels)) {
        for ((sum, &x), &y) in sums.iter_mut().zip(row).zip(other) {
            sum.0 += f64::from(x) * f64::from(y);
            sum.1 += f64::from(x) * f64::from(x);
        }
    }
    let factor = |&(xy, xx): &(f64, f64)| if xx > 0.0 { (xy / xx) as f32 } else { 1.0 };
    let factors: Vec<f32> = sums.iter().map(factor).collect();
    let row = |r: &[f32]| r.iter().zip(&factors).map(|(x, f)| x * f).collect::<Vec<f32>>();
    let scaled: Vec<f32> = exact.chunks(channels).flat_map(row).collect();
    let before = noise(exact, got);
    let explained = before > SCALED && noise(&scaled, got) * 10.0 < before && channels * 2 < exact.len();
    (explained && factors.iter().all(|&f| f > 0.0)).then_some(scaled)
}

/// Noise over signal above which channels may be scaled.
const SCALED: f64 = 0.02;

/// The ends of what s8 of this quantization expresses.
fn expressed(q: Quant) -> [f64; 2] {
    [-128, 127].map(|v| f64::from(v - q.zero_point) * f64::from(q.scale))
}

/// Share of values that lie more than half a step beyond what s8 of this quantization expresses.
fn saturated(values: &[f32], q: Quant) -> f64 {
    let at = |v: f32| (v - q.zero_point as f32) * q.scale;
    let (low, high) = (at(-128.5), at(127.5));
    let beyond = values.iter().filter(|&&v| v < low || v > high).count();
    beyond as f64 / values.len().max(1) as f64
}

/// The float program, which keeps all its tensors.
fn float_session(lir: &Lir) -> Result<Session, ConvertError> {
    let mut float = lir.clone();
    add_padding_rows(&mut float);
    let mut weights = Weights::default();
    let program = emit(&float, "float", true, &mut weights).map_err(ConvertError::Step)?.program;
    let weights = weights.finish();
    let mut writer = Writer::new();
    writer.program(&program).pack_id(PACK_ID);
    if !weights.is_empty() {
        writer.weights(&weights, WeightsAlign::Page16K);
    }
    Ok(Session::new(&Model::from_bytes(&writer.finish()?)?, &SessionOptions::default())?)
}

fn set(session: &mut Session, sample: &[Array]) -> Result<(), cygnet::Error> {
    session.reset();
    for a in sample {
        session.set_input(&a.name, TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims))?;
    }
    Ok(())
}

/// The float program's tensor of the same name and shape.
fn pair(program: &Program, output: u32, known: &HashMap<String, usize>, float: &Program) -> Option<usize> {
    let t = &program.tensors[output as usize];
    let real = matches!(t.dtype, DType::F32 | DType::F16) || t.dtype == DType::S8 && t.quant.is_some();
    let twin = *known.get(&t.name)?;
    (real && float.tensors[twin].dims == t.dims).then_some(twin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturation_is_what_lies_beyond_the_scale() {
        let q = Quant { scale: 0.5, zero_point: -28 };
        // -128 is -50, 127 is 77.5; half a step further still rounds inside.
        let values = [-50.2, -50.3, 0.0, 77.7, 77.8];
        assert_eq!(saturated(&values, q), 0.4);
    }

    #[test]
    fn factors_of_channels_are_no_errors() {
        let exact = [1.0, 10.0, 2.0, -20.0, 3.0, 5.0];
        let got = [2.0, 5.0, 4.0, -10.0, 6.0, 2.5];
        assert_eq!(rescaled(&exact, &got, 2).unwrap(), got);
        // Other differences stay.
        assert_eq!(rescaled(&exact, &[3.0, 10.0, 0.0, -20.0, 3.0, 9.0], 2), None);
        assert_eq!(rescaled(&exact, &exact, 2), None);
    }

    #[test]
    fn histograms_keep_what_comes_later() {
        let mut h = Histogram::default();
        h.add(&[0.0, 48.0]);
        h.add(&[0.5, 1.5, -7.0, 100.0]);
        assert_eq!((h.low, h.high, h.counts.iter().sum::<u32>()), (0.0, 48.0, 6));
        assert_eq!((h.counts[0], h.counts[1], h.counts[47]), (3, 1, 2));
    }

    #[test]
    fn the_first_bad_layer() {
        let layer = |name: &str, sqnr_db: f64| Layer {
            step: name.into(),
            op: "conv",
            tensor: String::new(),
            dtype: DType::S8,
            cosine: 1.0,
            sqnr_db,
            max_error: 0.0,
            max_value: 0.0,
            saturated: 0.0,
            histogram: Histogram::default(),
            range: None,
        };
        let layers = [layer("a", f64::INFINITY), layer("b", 9.0), layer("c", 3.0)];
        assert_eq!(first_bad(&layers, 10.0).unwrap().step, "b");
        assert_eq!(first_bad(&layers, 1.0), None);
        assert_eq!(first_bad(&[layer("d", f64::NAN)], 1.0).unwrap().step, "d");
    }
}
