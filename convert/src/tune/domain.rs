//! Domains of tables. The input of a function that an s8 table computes is itself quantized, and rounding it there shows
//! only as far as the function makes it: sigmoid, SiLU and hard-swish hardly change on their left, where much of their
//! domain lies. So the domain is the one for which the results, not the inputs, lose least.

use cygnet_format::op::Op;
use cygnet_format::program::{DType, Quant};

use crate::calibrate::Stats;
use crate::lir::{Id, Kind, Lir};
use crate::precision::{Plan, functions};
use crate::ranges::Range;

/// Ends are tried at these shares of the whole.
const STEPS: usize = 40;

/// Sets the range of every tensor that is read by a table alone.
pub fn set(lir: &Lir, plan: &Plan, stats: &[Option<&Stats>], ranges: &mut [Option<Range>]) {
    let readers = lir.readers();
    // Later functions begin as far back as any before them: they decide.
    for function in functions(lir, plan).iter().flatten() {
        let last = function.steps.last().map(|&i| lir.steps[i].output);
        let x = function.root;
        let computed = computed_in_s8(lir, plan, x);
        let out = last.and_then(|y| ranges[y]);
        let (Some(seen), Some(out)) = (stats[x], out) else { continue };
        let alone = readers[x].iter().all(|r| function.steps.contains(r)) && !lir.results().any(|id| id == x);
        if alone && computed {
            ranges[x] = Some(best(&|v| function.at(v), seen, out.quant()));
        }
    }
}

/// Whether an s8 step computes the tensor, so that the choice of its scale is free: products and binary operations.
fn computed_in_s8(lir: &Lir, plan: &Plan, id: Id) -> bool {
    lir.steps.iter().zip(&plan.types).any(|(step, &dtype)| {
        let free = matches!(
            step.kind,
            Kind::Op(
                Op::Conv(_)
                    | Op::DepthwiseConv(_)
                    | Op::ConvTranspose(_)
                    | Op::MatMul(_)
                    | Op::Binary(_)
                    | Op::Map(_)
            )
        );
        step.output == id && free && dtype == DType::S8
    })
}

/// The domain of least squared error of the results.
fn best(function: &dyn Fn(f32) -> f32, seen: &Stats, out: Quant) -> Range {
    let whole = seen.range.unwrap_or(Range { min: 0.0, max: 0.0 });
    let full = [f64::from(whole.min.min(0.0)), f64::from(whole.max.max(0.0))];
    let f = |x: f64| f64::from(function(x as f32));
    let histogram = seen.histogram();
    let width = histogram.width();
    // Values of a bin lie anywhere in it: three of them stand for all.
    let points: Vec<(f64, f64, f64)> = histogram
        .middles()
        .flat_map(|(middle, count)| {
            [-1.0, 0.0, 1.0].map(|at| {
                let x = middle + at * width / 3.0;
                (x, f(x), count as f64 / 3.0)
            })
        })
        .collect();
    let error = |[low, high]: [f64; 2]| -> f64 {
        let q = Range { min: low as f32, max: high as f32 }.quant();
        let (scale, zero) = (f64::from(q.scale), f64::from(q.zero_point));
        let table: Vec<f64> = (-128..128).map(|v| rounded(f((f64::from(v) - zero) * scale), out)).collect();
        let cost = |&(x, y, count): &(f64, f64, f64)| {
            let at = ((x / scale).round_ties_even() + zero).clamp(-128.0, 127.0);
            let off = table[(at + 128.0) as usize] - y;
            count * off * off
        };
        points.iter().map(cost).sum()
    };
    let mut ends = full;
    let mut least = error(ends);
    for _ in 0..2 {
        for side in 0..2 {
            for step in 1..STEPS {
                let mut tried = ends;
                tried[side] = full[side] * step as f64 / STEPS as f64;
                let cost = error(tried);
                if cost < least {
                    (least, ends) = (cost, tried);
                }
            }
        }
    }
    Range { min: ends[0] as f32, max: ends[1] as f32 }
}

/// A real number as its nearest quantized value.
fn rounded(v: f64, q: Quant) -> f64 {
    let (scale, zero) = (f64::from(q.scale), f64::from(q.zero_point));
    (((v / scale).round_ties_even() + zero).clamp(-128.0, 127.0) - zero) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hard-swish is zero below -3: values down to -12 need no part of the domain.
    #[test]
    fn what_a_function_makes_alike_needs_no_steps() {
        let mut seen = Stats::new(0);
        let values: Vec<f32> = (0..4000).map(|i| i as f32 / 4000.0 * 16.0 - 12.0).collect();
        assert!(seen.add(&values));
        let hard_swish = |x: f32| x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
        let r = best(&hard_swish, &seen, Range { min: -0.375, max: 4.0 }.quant());
        assert!(r.min >= -4.0 && r.min <= -2.5 && r.max >= 3.9, "{r:?}");
    }

    /// A line needs all of it.
    #[test]
    fn a_line_keeps_its_domain() {
        let mut seen = Stats::new(0);
        let values: Vec<f32> = (0..4000).map(|i| i as f32 / 2000.0 - 1.0).collect();
        assert!(seen.add(&values));
        let r = best(&|x| -x, &seen, Range { min: -1.0, max: 1.0 }.quant());
        assert!(r.min < -0.97 && r.max > 0.97, "{r:?}");
    }
}
