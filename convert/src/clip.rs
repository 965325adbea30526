//! Ranges by what the products that read a tensor make of it. Few values lie far out, and often it makes no difference
//! to a product whether they saturate: behind it, an activation saturates too, or the sample is one that answers loudly
//! whatever is done. So each range is tried at shares of itself, and the one is taken with which the readers' results,
//! fed with the float model's values, err least relative to what they are: by the root of the noise, in the mean of samples.

use cygnet::format::Array;
use cygnet::{Model, Session, SessionOptions};
use cygnet_format::program::DType;

use crate::judge::noise;
use crate::lir::Lir;
use crate::pipeline::{ConvertError, Progress, file_of};
use crate::precision::{Plan, is_product, shared};
use crate::ranges::Range;
use crate::sensitivity::{Twins, original, parts, run, twin};

/// Shares that are tried.
const SHARES: [f32; 8] = [1.0, 0.8, 0.63, 0.5, 0.4, 0.28, 0.18, 0.12];

/// Part of the error that has to be saved for values to be given up: other samples may reach further.
const GAIN: f64 = 0.10;

/// Narrows ranges.
///
/// # Errors
/// When a sample cannot be run.
pub fn clip(
    lir: &Lir,
    plan: &Plan,
    ranges: &mut [Option<Range>],
    samples: &[Vec<Array>],
    progress: &mut dyn Progress,
) -> Result<(), ConvertError> {
    let readers: Vec<usize> =
        (0..lir.steps.len()).filter(|&i| plan.types[i] == DType::S8 && is_product(&lir.steps[i])).collect();
    let roots = shared(lir, plan, ranges);
    let mut whole: Vec<Option<Range>> = vec![None; ranges.len()];
    for (id, range) in ranges.iter().enumerate() {
        let root = &mut whole[roots[id]];
        *root = root.map_or(*range, |r| Some(range.map_or(r, |own| r.union(own))));
    }
    // Noise of the readers of each group of tensors, at each share.
    let mut noises = vec![[0.0; SHARES.len()]; ranges.len()];
    let parts = parts(lir, &readers);
    progress.stage("trying narrower ranges", Some(parts.len() * samples.len() * SHARES.len()));
    for part in &parts {
        for (at, &share) in SHARES.iter().enumerate() {
            let mut twins = Twins::new(lir, plan, ranges, part);
            twins.ranges[..lir.tensors.len()].iter_mut().flatten().for_each(|r| *r = scaled(*r, share));
            let file = file_of(&twins.lir, &twins.plan, &twins.ranges, "ranges", true)?;
            let mut session = Session::new(&Model::from_bytes(&file)?, &SessionOptions::default())?;
            for sample in samples {
                run(&mut session, sample)?;
                for &i in part {
                    let [a, b] = [original(i), twin(i)].map(|name| session.output(&name).map(|t| t.to_f32()));
                    let Some(x) = lir.steps[i].inputs[0] else { continue };
                    noises[roots[x]][at] += noise(&a?, &b?).sqrt();
                }
                progress.advance();
            }
        }
    }
    let best: Vec<f32> = noises.iter().map(best_share).collect();
    for (id, range) in ranges.iter_mut().enumerate() {
        let (root, Some(own)) = (roots[id], range.as_mut()) else { continue };
        if let (true, Some(all)) = (best[root] < 1.0, whole[root]) {
            *own = inside(*own, scaled(all, best[root]));
        }
    }
    Ok(())
}

/// The share of least noise; 1 where the others gain next to nothing.
fn best_share(noises: &[f64; SHARES.len()]) -> f32 {
    let (at, least) = noises
        .iter()
        .enumerate()
        .fold((0, noises[0]), |least, (at, &n)| if n < least.1 { (at, n) } else { least });
    if least < noises[0] * (1.0 - GAIN) { SHARES[at] } else { 1.0 }
}

fn scaled(r: Range, share: f32) -> Range {
    Range { min: r.min * share, max: r.max * share }
}

fn inside(r: Range, limits: Range) -> Range {
    Range { min: r.min.max(limits.min.min(0.0)), max: r.max.min(limits.max.max(0.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_given_up_for_much_alone() {
        let mut errors = [10.0, 9.5, 9.2, 9.9, 20.0, 30.0, 40.0, 50.0];
        assert_eq!(best_share(&errors), 1.0);
        errors[3] = 8.0;
        assert_eq!(best_share(&errors), 0.5);
    }

    #[test]
    fn a_narrowed_range_holds_zero() {
        let r = inside(Range { min: 2.0, max: 8.0 }, Range { min: 1.0, max: 4.0 });
        assert_eq!((r.min, r.max), (2.0, 4.0));
        let r = inside(Range { min: -4.0, max: 4.0 }, scaled(Range { min: -4.0, max: 8.0 }, 0.25));
        assert_eq!((r.min, r.max), (-1.0, 2.0));
    }
}
