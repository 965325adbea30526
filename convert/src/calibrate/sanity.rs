//! Calibrations that make no sense: mostly samples that were not brought to the range that the model was trained on.

use cygnet_format::op::{Conv, DepthwiseConv, Op};

use super::{CalibrateError, Calibration, Stats};
use crate::lir::{Id, Kind, Lir};

/// An input's greatest magnitude beyond this many times its mean over samples belongs to a sample unlike the others.
const UNLIKE: f32 = 20.0;

/// Results of a first layer of a trained network are about one in magnitude. Beyond this the input is too large.
const GREAT: f64 = 50.0;

/// A bounded first layer's share of results at its bound, of those that are not zero, beyond which the input is too large.
const SATURATED: f64 = 0.6;

/// Where results vary by less than this share of their magnitude, the input hardly matters: it is too small.
const STILL: f64 = 0.01;

/// What looks wrong, in words for the user.
///
/// # Errors
/// When the calibration is of another graph.
pub fn warnings(lir: &Lir, seen: &Calibration) -> Result<Vec<String>, CalibrateError> {
    let stats = seen.stats(lir)?;
    let mut found = Vec::new();
    match &seen.samples[..] {
        [_] => found
            .push("calibration has seen one sample only: others will saturate; give some dozens".to_owned()),
        [first, rest @ ..] if rest.iter().all(|s| s == first) => {
            found.push(format!("all {} samples are the same; give different ones", seen.samples.len()));
        }
        _ => {}
    }
    for (name, id) in &lir.inputs {
        let Some(input) = stats[*id] else { continue };
        found.extend(of_input(name, input));
        let first = first_product(lir, *id);
        if let Some((step, output)) = first.and_then(|s| Some((s, stats[lir.steps[s].output]?))) {
            found.extend(of_first_layer(lir, step, output, name, input));
        }
    }
    Ok(found)
}

fn of_input(name: &str, stats: &Stats) -> Option<String> {
    let (all, mean) = (stats.range?, stats.mean_range()?);
    if all.min == all.max {
        let what =
            format!("input '{name}' was {} throughout; give samples of what the model will meet", all.min);
        return Some(what);
    }
    let (most, usual) = (all.max.max(-all.min), mean.max.max(-mean.min));
    (stats.samples() > 1 && most > usual * UNLIKE).then(|| {
        format!(
            "input '{name}' reaches {most} in some sample and {usual} in the mean of all: its range would be wasted \
             on one; remove that sample or bring all to one range"
        )
    })
}

/// The first step with weights that an input goes into, movement and elementwise steps passed over.
fn first_product(lir: &Lir, input: Id) -> Option<usize> {
    let mut reached = vec![false; lir.tensors.len()];
    reached[input] = true;
    for (i, step) in lir.steps.iter().enumerate() {
        if !step.inputs.iter().flatten().any(|&id| reached[id]) {
            continue;
        }
        match &step.kind {
            Kind::Op(Op::Conv(_) | Op::DepthwiseConv(_)) => return Some(i),
            Kind::Op(Op::Binary(_) | Op::Map(_)) => reached[step.output] = true,
            kind if kind.moves() => reached[step.output] = true,
            _ => {}
        }
    }
    None
}

fn of_first_layer(lir: &Lir, step: usize, out: &Stats, name: &str, input: &Stats) -> Option<String> {
    let range = input.range?;
    let Kind::Op(Op::Conv(Conv { epilogue, .. }) | Op::DepthwiseConv(DepthwiseConv { epilogue, .. })) =
        &lir.steps[step].kind
    else {
        return None;
    };
    let n = out.channels().len().max(1) as f64;
    let moments: Vec<(f64, f64)> = (0..out.channels().len()).map(|c| out.moments(c)).collect();
    let squares = moments.iter().map(|(mean, variance)| mean * mean + variance).sum::<f64>() / n;
    let variance = moments.iter().map(|m| m.1).sum::<f64>() / n;
    let saturated = epilogue.hi.is_finite() && share_at(out, epilogue.hi) > SATURATED;
    let layer = &lir.steps[step].name;
    let seen =
        format!("input '{name}' holds {} to {}, and the first layer ('{layer}')", range.min, range.max);
    if saturated || squares.sqrt() > GREAT {
        return Some(format!(
            "{seen} answers far beyond what trained networks do: the model seems to want smaller numbers; check \
             --scale, --mean and --std"
        ));
    }
    (squares > 0.0 && variance.sqrt() < STILL * squares.sqrt()).then(|| {
        format!(
            "{seen} hardly varies: the model seems to want larger numbers; check --scale, --mean and --std"
        )
    })
}

/// The share of values in the bin of `bound` and above, of those that are not zero.
fn share_at(stats: &Stats, bound: f32) -> f64 {
    let reach = stats.histogram().reach();
    if reach == 0.0 {
        return 0.0;
    }
    let half = (stats.histogram().counts().len() / 2) as f64;
    let first = (f64::from(bound) / reach * half).floor() + half;
    let above: u64 = stats.histogram().counts().iter().skip(first as usize).sum();
    above as f64 / (stats.values - stats.zeros).max(1) as f64
}
