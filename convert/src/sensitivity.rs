//! What each step of a graph loses in int8, taken alone: fed with exact inputs, it is run beside its float original.

use std::sync::Arc;

use cygnet::format::Array;
use cygnet::{Model, Session, SessionOptions, TensorRef};
use cygnet_format::op::Op;
use cygnet_format::program::{DType, Quant};

use crate::calibrate::{CalibrateError, Samples};
use crate::judge::{decibels, noise};
use crate::lir::{Id, Kind, Lir};
use crate::pipeline::{ConvertError, Progress, file_of};
use crate::precision::{Given, Plan, scales};
use crate::ranges::Range;

/// Most bytes of results that one program compares: graphs are measured part by part, so that memory stays small.
const PART: usize = 256 << 20;

/// For each step of `lir` that `which` gives to int8, the signal to quantization noise of its result in dB when its inputs
/// are those of the float model: what the step itself loses by its weights, its inputs' and its output's scale. A function
/// that becomes a table of the product before it is measured together with that. The noise is the mean over samples. Scales
/// are those of the whole `plan`.
///
/// # Errors
/// When a sample cannot be had or run.
pub fn local(
    lir: &Lir,
    which: &Plan,
    plan: &Plan,
    ranges: &[Option<Range>],
    samples: &[Vec<Array>],
    progress: &mut dyn Progress,
) -> Result<Vec<Option<f32>>, ConvertError> {
    let chosen: Vec<usize> = (0..lir.steps.len()).filter(|&i| which.types[i] == DType::S8).collect();
    let parts = parts(lir, &chosen);
    progress.stage("measuring each layer in int8", Some(parts.len() * samples.len()));
    let mut found = vec![None; lir.steps.len()];
    for part in parts {
        let twins = Twins::new(lir, plan, ranges, &part);
        let model = Model::from_bytes(&file_of(&twins.lir, &twins.plan, &twins.ranges, "layers", true)?)?;
        let mut session = Session::new(&model, &SessionOptions::default())?;
        let mut sums = vec![0.0; part.len()];
        for sample in samples {
            run(&mut session, sample)?;
            for (sum, i) in sums.iter_mut().zip(&part) {
                let [a, b] = [original(*i), twin(*i)].map(|name| session.output(&name).map(|t| t.to_f32()));
                *sum += noise(&a?, &b?);
            }
            progress.advance();
        }
        for (sum, &i) in sums.iter().zip(&part) {
            // Two digits: logarithms of different machines agree so far.
            found[i] = Some(((decibels(sum / samples.len().max(1) as f64) * 100.0).round() / 100.0) as f32);
        }
    }
    Ok(found)
}

/// Runs a session on a sample, from its initial states on.
pub fn run(session: &mut Session, sample: &[Array]) -> Result<(), cygnet::Error> {
    for a in sample {
        session.set_input(&a.name, TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims))?;
    }
    session.reset();
    session.run()
}

/// Runs a session on a sample and takes its outputs.
pub fn outputs(session: &mut Session, sample: &[Array]) -> Result<Vec<Array>, cygnet::Error> {
    run(session, sample)?;
    let names: Vec<String> = session.outputs().map(|(name, _)| name.to_owned()).collect();
    let take = |name: String| {
        let t = session.output(&name)?;
        Ok(Array { name, dtype: t.dtype, dims: t.dims.to_vec(), bytes: t.bytes.to_vec() })
    };
    names.into_iter().map(take).collect()
}

/// At most `most` samples, from the first to the last at equal distances.
///
/// # Errors
/// When one cannot be read.
pub fn spread(samples: &mut dyn Samples, most: usize) -> Result<Vec<Vec<Array>>, CalibrateError> {
    let count = samples.len().min(most);
    let at = |i: usize| if count < 2 { 0 } else { i * (samples.len() - 1) / (count - 1) };
    let places: Vec<usize> = (0..count).map(at).collect();
    let get = |index| samples.get(index).map_err(|what| CalibrateError::Sample { index, what });
    places.into_iter().map(get).collect()
}

pub(crate) fn original(i: usize) -> String {
    format!("float:{i}")
}

pub(crate) fn twin(i: usize) -> String {
    format!("int8:{i}")
}

/// Steps in their order, cut where their results take too much.
pub(crate) fn parts(lir: &Lir, chosen: &[usize]) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut bytes = usize::MAX;
    for &i in chosen {
        let more = lir.tensors[lir.steps[i].output].len() * 9;
        if bytes.saturating_add(more) > PART {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        if let Some(part) = parts.last_mut() {
            part.push(i);
        }
    }
    parts
}

/// A float graph in which some steps stand a second time, in int8, with the same inputs.
pub(crate) struct Twins {
    pub(crate) lir: Lir,
    pub(crate) plan: Plan,
    pub(crate) ranges: Vec<Option<Range>>,
}

impl Twins {
    pub(crate) fn new(lir: &Lir, plan: &Plan, ranges: &[Option<Range>], part: &[usize]) -> Self {
        // The scales of the whole plan, not those that the twins alone would have.
        let quants = scales(lir, plan, ranges);
        let range = |q: &Option<Quant>| q.map(range_of);
        let mut ranges: Vec<Option<Range>> = quants.iter().map(range).collect();
        let (readers, producers) = (lir.readers(), lir.producers());
        let results: Vec<Id> = lir.results().collect();
        let n = lir.steps.len();
        // What the source gives holds for twins too, and for no original.
        let mut given = Given { steps: vec![false; n], quants: plan.given.quants.clone() };
        given.quants.resize(lir.tensors.len(), None);
        let mut twins = Self { lir: lir.clone(), plan: Plan::float(n), ranges: Vec::new() };
        twins.lir.outputs.clear();
        let mut double: Vec<Option<Id>> = vec![None; lir.tensors.len()];
        for &i in part {
            let step = &lir.steps[i];
            let mut copy = step.clone();
            // A function of a product that nothing else reads becomes its table: they are one.
            if let (Kind::Op(Op::Map(_)), Some(x)) = (&step.kind, step.inputs[0])
                && let Some(before) = producers[x].and(double[x])
                && readers[x].len() == 1
                && !results.contains(&x)
            {
                copy.inputs[0] = Some(before);
            }
            let t = &lir.tensors[step.output];
            copy.output = twins.lir.add(format!("{}:twin", t.name), &t.dims, t.dtype);
            ranges.push(ranges[step.output]);
            double[step.output] = Some(copy.output);
            twins.lir.outputs.push((original(i), step.output));
            twins.lir.outputs.push((twin(i), copy.output));
            twins.lir.steps.push(copy);
            given.steps.push(plan.given.step(i));
            given.quants.push(plan.given.quant(step.output));
            twins.plan.types.push(DType::S8);
            twins.plan.reasons.push(None);
            twins.plan.real.push(plan.real[i]);
        }
        twins.plan.given = Arc::new(given);
        twins.ranges = ranges;
        twins
    }
}

/// The range that a quantization spans.
fn range_of(q: Quant) -> Range {
    let at = |v: i32| (f64::from(v - q.zero_point) * f64::from(q.scale)) as f32;
    Range { min: at(-128), max: at(127) }
}
