//! Cross-layer equalization: channels of an activation share one scale, so that those of small range are rounded coarsely.
//! Where the layers before and all that read it are products with constant weights, a channel may be multiplied by any
//! factor there and divided by it here; what lies between has to commute with positive factors, as ReLU, pooling, sums and
//! gates do.
//!
//! After Nagel et al., *Data-Free Quantization Through Weight Equalization and Bias Correction* (2019), but for weights
//! with a scale for each output channel, and with the factors that what calibration saw makes best: rounding of the
//! activation adds `S_w a^2 / (12 s^2)` to the readers' results, `S_w` being the sum of squared weights of the channel and
//! `a` the activation's step; rounding of the weights `E s^2 S_b / 12`, `E` being the channel's mean square and `S_b` the
//! sum of squared steps of the rows; saturation of what samples have not shown `S_w R(s)`, which [`Spread`] knows. The
//! factor is that of the least sum. A channel is never reduced, nor enlarged past the range that all of them share.

use std::sync::Arc;

use cygnet_format::op::{BinaryKind, Op, PoolKind, ReduceKind, UnaryKind};
use cygnet_format::program::DType;

use crate::calibrate::Stats;
use crate::lir::{Const, Id, Kind, Lir};
use crate::precision::Plan;
use crate::ranges::Range;
use crate::tune::spread::Spread;

/// Channels are enlarged at most so many times: what is smaller yet is zero but for noise.
const MOST: f64 = 64.0;

/// Factors that are tried from one to its double.
const PER_OCTAVE: f64 = 4.0;

/// Tensors whose channels have to be scaled alike, since what lies between them commutes with that.
#[derive(Default)]
struct Segment {
    tensors: Vec<Id>,
    /// The products that compute them.
    producers: Vec<usize>,
    /// The products that read them.
    readers: Vec<usize>,
}

/// Scales weights. Returns the factors that channels of each tensor were multiplied by.
pub fn equalize(
    lir: &mut Lir,
    plan: &Plan,
    stats: &[Option<&Stats>],
    ranges: &[Option<Range>],
) -> Vec<Option<Vec<f32>>> {
    let mut factors = vec![None; lir.tensors.len()];
    let around = Around::new(lir, plan);
    let mut seen = vec![false; lir.tensors.len()];
    for producer in 0..lir.steps.len() {
        let first = lir.steps[producer].output;
        if seen[first] || around.product(lir, producer).is_none() {
            continue;
        }
        let Some(segment) = around.segment(lir, first, &mut seen) else { continue };
        let Some(found) = best_factors(lir, &segment, stats, ranges) else { continue };
        if found.iter().all(|&f| f == 1.0) {
            continue;
        }
        segment.producers.iter().for_each(|&i| scale_rows(lir, i, &found));
        segment.readers.iter().for_each(|&i| scale_columns(lir, i, &found));
        for &id in &segment.tensors {
            factors[id] = Some(found.clone());
        }
    }
    factors
}

/// What stands around each tensor.
struct Around<'a> {
    plan: &'a Plan,
    producers: Vec<Option<usize>>,
    readers: Vec<Vec<usize>>,
    results: Vec<bool>,
    /// How many steps read each constant: what several share cannot be scaled for one of them.
    uses: Vec<usize>,
}

impl<'a> Around<'a> {
    fn new(lir: &Lir, plan: &'a Plan) -> Self {
        let mut uses = vec![0; lir.tensors.len()];
        lir.steps.iter().flat_map(|s| s.inputs.iter().flatten()).for_each(|&id| uses[id] += 1);
        let mut results = vec![false; lir.tensors.len()];
        lir.results().for_each(|id| results[id] = true);
        Self { plan, producers: lir.producers(), readers: lir.readers(), results, uses }
    }

    /// Output channels of a product in s8 with constant weights of its own; `None` for any other step.
    fn product(&self, lir: &Lir, i: usize) -> Option<usize> {
        let step = &lir.steps[i];
        if !matches!(&step.kind, Kind::Op(Op::Conv(p)) if p.groups == 1)
            && !matches!(step.kind, Kind::Op(Op::DepthwiseConv(_)))
        {
            return None;
        }
        let own = |at: usize| {
            let id = step.inputs.get(at).copied().flatten();
            let constant = id.and_then(|id| lir.tensors[id].constant.as_deref());
            constant.is_some_and(|c| matches!(c, Const::F32(_))) && id.is_some_and(|id| self.uses[id] == 1)
        };
        let last = lir.tensors[step.output].dims.last().copied();
        last.filter(|_| self.plan.types[i] == DType::S8 && own(1) && own(2))
    }

    /// All that has to be scaled with a tensor; `None` where something does not allow it.
    fn segment(&self, lir: &Lir, first: Id, seen: &mut [bool]) -> Option<Segment> {
        let channels = *lir.tensors[first].dims.last()?;
        let mut found = Segment { tensors: vec![first], ..Segment::default() };
        seen[first] = true;
        let mut at = 0;
        let mut fits = true;
        while at < found.tensors.len() {
            let id = found.tensors[at];
            at += 1;
            let mut join = |other: Id, tensors: &mut Vec<Id>| {
                if !tensors.contains(&other) {
                    seen[other] = true;
                    tensors.push(other);
                }
            };
            fits &= !self.results[id] && lir.tensors[id].dims.last() == Some(&channels);
            match self.producers[id] {
                Some(i) if self.product(lir, i).is_some() => {
                    fits &= bounded_by_zero(&lir.steps[i].kind) && !self.plan.real[i];
                    found.producers.push(i);
                }
                Some(i) if self.plan.types[i] == DType::S8 => match scaled_operands(lir, i, channels) {
                    Some(operands) => operands.iter().for_each(|&o| join(o, &mut found.tensors)),
                    None => fits = false,
                },
                _ => fits = false,
            }
            for &i in &self.readers[id] {
                let step = &lir.steps[i];
                if self.product(lir, i).is_some() {
                    fits &= step.inputs[1..].iter().flatten().all(|&other| other != id);
                    found.readers.push(i);
                    continue;
                }
                match scaled_operands(lir, i, channels).filter(|_| self.plan.types[i] == DType::S8) {
                    Some(operands) if operands.contains(&id) => join(step.output, &mut found.tensors),
                    _ => fits = false,
                }
            }
        }
        (fits && !found.readers.is_empty()).then_some(found)
    }
}

/// Whether bounds of the result move along with positive factors. An upper bound stays what it is: no value seen surpasses
/// it, enlarged or not.
fn bounded_by_zero(kind: &Kind) -> bool {
    let epilogue = match kind {
        Kind::Op(Op::Conv(p)) => &p.epilogue,
        Kind::Op(Op::DepthwiseConv(p)) => &p.epilogue,
        Kind::Op(Op::Binary(p)) => &p.epilogue,
        _ => return false,
    };
    (epilogue.lo == 0.0 || epilogue.lo == f32::NEG_INFINITY)
        && epilogue.hi > 0.0
        && epilogue.unary.kind == UnaryKind::Identity
}

/// The operands that have to be scaled for the result to be, and no others; `None` where that is not so for any.
fn scaled_operands(lir: &Lir, i: usize, channels: usize) -> Option<Vec<Id>> {
    let step = &lir.steps[i];
    let first = step.inputs.first().copied().flatten()?;
    let last_kept = lir.tensors[first].dims.last() == Some(&channels)
        && lir.tensors[step.output].dims.last() == Some(&channels);
    let one = || vec![first];
    match &step.kind {
        Kind::Op(Op::Map(p)) => {
            matches!(p.unary.kind, UnaryKind::Relu | UnaryKind::LeakyRelu | UnaryKind::Abs | UnaryKind::Neg)
                .then(one)
        }
        Kind::Op(Op::Pool(p)) => matches!(p.kind, PoolKind::Max | PoolKind::Average).then(one),
        Kind::Op(Op::Reduce(p)) => {
            let axis = lir.tensors[first].dims.len() - 1;
            let each = matches!(p.kind, ReduceKind::Mean | ReduceKind::Sum | ReduceKind::Max);
            (each && last_kept && p.axes >> axis & 1 == 0).then(one)
        }
        Kind::View => last_kept.then(one),
        Kind::Op(Op::Resize(p)) => (p.extrapolation == 0.0).then(one),
        // What a gate multiplies is scaled, not the gate.
        Kind::Op(Op::Binary(p)) if p.kind == BinaryKind::Mul && bounded_by_zero(&step.kind) => {
            let whole = |id: Id| lir.tensors[id].dims == lir.tensors[step.output].dims;
            let second = step.inputs.get(1).copied().flatten()?;
            let data = if whole(first) { first } else { second };
            let computed = lir.tensors[data].constant.is_none();
            (first != second && whole(data) && computed).then(|| vec![data])
        }
        Kind::Op(Op::Binary(p)) if p.kind == BinaryKind::Add && bounded_by_zero(&step.kind) => {
            let operands: Vec<Id> = step.inputs.iter().flatten().copied().collect();
            operands.iter().all(|&id| lir.tensors[id].constant.is_none()).then_some(operands)
        }
        _ => None,
    }
}

/// Sums over the weights that read each channel: of their squares, and of the squared steps of the rows that they are in.
/// The steps are zero for a depthwise product, whose rows have one channel each and so lose nothing.
fn columns(lir: &Lir, reader: usize, channels: usize) -> Option<Vec<[f64; 2]>> {
    let step = &lir.steps[reader];
    let w = &lir.tensors[step.inputs[1]?];
    let values = w.constant.as_ref()?.f32();
    let mut sums = vec![[0.0; 2]; channels];
    match &step.kind {
        Kind::Op(Op::DepthwiseConv(_)) => {
            for row in values.chunks_exact(channels) {
                sums.iter_mut().zip(row).for_each(|(s, &v)| s[0] += f64::from(v) * f64::from(v));
            }
        }
        _ => {
            for row in values.chunks_exact(values.len() / w.dims[0]) {
                let greatest = row.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
                let step = f64::from(greatest) / 127.0;
                for tap in row.chunks_exact(channels) {
                    for (s, &v) in sums.iter_mut().zip(tap) {
                        s[0] += f64::from(v) * f64::from(v);
                        s[1] += step * step;
                    }
                }
            }
        }
    }
    Some(sums)
}

fn best_factors(
    lir: &Lir,
    segment: &Segment,
    stats: &[Option<&Stats>],
    ranges: &[Option<Range>],
) -> Option<Vec<f32>> {
    let channels = *lir.tensors[segment.tensors[0]].dims.last()?;
    // Per channel: what rounding the activation costs, what rounding the weights does, and the sum of squared weights.
    let mut costs = vec![[0.0; 3]; channels];
    for &reader in &segment.readers {
        let x = lir.steps[reader].inputs[0]?;
        let step = f64::from(ranges[x]?.quant().scale);
        let seen = stats[x].filter(|s| s.channels().len() == channels)?;
        for (c, (cost, [weights, steps])) in costs.iter_mut().zip(columns(lir, reader, channels)?).enumerate()
        {
            let (mean, variance) = seen.moments(c);
            cost[0] += weights * step * step;
            cost[1] += steps * (mean * mean + variance);
            cost[2] += weights;
        }
    }
    let spreads: Vec<Spread> =
        segment.tensors.iter().map(|&id| Some(Spread::of(stats[id]?, ranges[id]?))).collect::<Option<_>>()?;
    let factor = |c: usize| -> f32 {
        // No tensor of the segment may leave its range.
        let room = spreads.iter().map(|s| s.room(c)).fold(f64::INFINITY, f64::min);
        if room == f64::INFINITY {
            // Always zero: exact as it is.
            return 1.0;
        }
        let [activation, weights, squares] = costs[c];
        let cost = |s: f64| {
            let lost = spreads.iter().map(|spread| spread.lost(c, s)).fold(0.0, f64::max);
            activation / (12.0 * s * s) + weights * s * s / 12.0 + squares * lost
        };
        let factors = (0..).map(|i| (f64::from(i) / PER_OCTAVE).exp2()).take_while(|&s| s <= room.min(MOST));
        let least = factors.map(|s| (cost(s), s)).min_by(|a, b| a.0.total_cmp(&b.0));
        least.map_or(1.0, |(_, s)| s as f32)
    };
    Some((0..channels).map(factor).collect())
}

fn replace(lir: &mut Lir, id: Id, values: Vec<f32>) {
    lir.tensors[id].constant = Some(Arc::new(Const::F32(values)));
}

/// Multiplies a product's output channels.
fn scale_rows(lir: &mut Lir, i: usize, factors: &[f32]) {
    let step = lir.steps[i].clone();
    let depthwise = matches!(step.kind, Kind::Op(Op::DepthwiseConv(_)));
    let (Some(w), Some(b)) = (step.inputs[1], step.inputs[2]) else { return };
    let m = factors.len();
    let values = |id: Id| lir.tensors[id].constant.as_ref().map_or(Vec::new(), |c| c.f32().to_vec());
    let (mut weights, mut bias) = (values(w), values(b));
    let row = weights.len() / m;
    for (at, v) in weights.iter_mut().enumerate() {
        *v *= factors[if depthwise { at % m } else { at / row }];
    }
    bias.iter_mut().zip(factors).for_each(|(v, f)| *v *= f);
    replace(lir, w, weights);
    replace(lir, b, bias);
}

/// Divides a product's input channels.
fn scale_columns(lir: &mut Lir, i: usize, factors: &[f32]) {
    let Some(w) = lir.steps[i].inputs[1] else { return };
    let Some(c) = lir.tensors[w].constant.clone() else { return };
    // Both dense and depthwise weights have the channel last.
    let scaled = c.f32().iter().enumerate().map(|(at, v)| v / factors[at % factors.len()]).collect();
    replace(lir, w, scaled);
}
