//! What is done about the accuracy of int8 beside choosing ranges, each by itself and on by default:
//!
//! - [`equalize`]: channels of activations scaled towards the range that all of them share, as far as the samples' spread
//!   lets unseen ones follow;
//! - [`domain`]: the domain of a function's table, where the function's results lose least;
//! - weights' scales of least error, weighed by what meets them, and biases that take up the mean error of rounded weights
//!   (`precision/weights.rs`), by what this module tells tensors about their channels.

mod domain;
mod equalize;
mod spread;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cygnet_format::op::Op;
use cygnet_format::program::DType;

use crate::calibrate::moments::{self, Moments, Windows};
use crate::calibrate::{Calibrator, Stats};
use crate::lir::{Channels, Kind, Lir};
use crate::precision::Plan;
use crate::precision::rounding::Block;
use crate::ranges::Range;

/// Which of the tools are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tools {
    /// Cross-layer equalization.
    pub equalization: bool,
    /// Domains of tables by the error of their results.
    pub domains: bool,
    /// Weights' scales of least error.
    pub weight_scales: bool,
    /// Biases that take up the mean error of rounded weights.
    pub bias_correction: bool,
    /// Weights rounded by what they meet.
    pub adaptive_rounding: bool,
    /// Ranges narrowed where those who read lose less by it.
    pub clipping: bool,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            equalization: true,
            domains: true,
            weight_scales: true,
            bias_correction: true,
            adaptive_rounding: true,
            clipping: true,
        }
    }
}

impl Tools {
    /// None of them.
    pub const NONE: Self = Self {
        equalization: false,
        domains: false,
        weight_scales: false,
        bias_correction: false,
        adaptive_rounding: false,
        clipping: false,
    };

    /// Without this one.
    pub fn without(mut self, tool: Tool) -> Self {
        match tool {
            Tool::Equalization => self.equalization = false,
            Tool::Domains => self.domains = false,
            Tool::WeightScales => self.weight_scales = false,
            Tool::BiasCorrection => self.bias_correction = false,
            Tool::AdaptiveRounding => self.adaptive_rounding = false,
            Tool::Clipping => self.clipping = false,
        }
        self
    }
}

/// The name of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tool {
    Equalization,
    Domains,
    WeightScales,
    BiasCorrection,
    AdaptiveRounding,
    Clipping,
}

impl Tool {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Equalization, "equalization"),
        (Self::Domains, "domains"),
        (Self::WeightScales, "weight-scales"),
        (Self::BiasCorrection, "bias-correction"),
        (Self::AdaptiveRounding, "adaptive-rounding"),
        (Self::Clipping, "clipping"),
    ];
}

impl FromStr for Tool {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::NAMES.iter().find(|(_, n)| *n == name).map(|(tool, _)| *tool).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().map(|n| n.1).collect();
            format!("tool '{name}' is unknown; they are {}", names.join(", "))
        })
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(tool, _)| tool == self).map_or("", |n| n.1))
    }
}

/// What equalization has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Enlarged {
    /// Channels that were enlarged, each counted once for each tensor that it is a channel of.
    pub channels: usize,
    /// Channels of the tensors that could be equalized.
    pub of: usize,
    /// The greatest factor; 0 where there is none.
    pub greatest: f32,
    /// Samples whose spread has limited the factors.
    pub samples: u64,
}

impl Enlarged {
    fn of(factors: &[Option<Vec<f32>>], samples: u64) -> Self {
        let all = || factors.iter().flatten().flatten();
        Self {
            channels: all().filter(|f| **f > 1.0).count(),
            of: all().count(),
            greatest: all().copied().fold(0.0, f32::max),
            samples,
        }
    }
}

impl fmt::Display for Enlarged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channels, of, greatest, samples } = self;
        write!(
            f,
            "{channels} of {of} channels enlarged, at most {greatest:.1} times, by the spread of {samples} samples"
        )
    }
}

/// The graph made ready for int8 by what calibration has seen of each tensor, the range of each, and what equalization
/// did.
pub fn tune(
    mut lir: Lir,
    plan: &Plan,
    stats: &[Option<&Stats>],
    moments: &BTreeMap<usize, (Windows, &Moments)>,
    calibrator: Calibrator,
    tools: Tools,
) -> (Lir, Vec<Option<Range>>, Enlarged) {
    let mut ranges: Vec<Option<Range>> = stats.iter().map(|s| calibrator.range((*s)?)).collect();
    if tools.domains {
        domain::set(&lir, plan, stats, &mut ranges);
    }
    let factors = if tools.equalization {
        equalize::equalize(&mut lir, plan, stats, &ranges)
    } else {
        vec![None; lir.tensors.len()]
    };
    tell(&mut lir, stats, &factors, tools);
    if tools.adaptive_rounding {
        tell_weights(&mut lir, moments, &factors, tools);
    }
    let samples = stats.iter().flatten().map(|s| s.samples()).max().unwrap_or(0);
    (lir, ranges, Enlarged::of(&factors, samples))
}

/// Tells inputs of products what is known of their channels.
fn tell(lir: &mut Lir, stats: &[Option<&Stats>], factors: &[Option<Vec<f32>>], tools: Tools) {
    for i in 0..lir.steps.len() {
        let step = &lir.steps[i];
        if !matches!(step.kind, Kind::Op(Op::Conv(_) | Op::DepthwiseConv(_) | Op::ConvTranspose(_))) {
            continue;
        }
        let Some((x, stats)) = step.inputs[0].and_then(|x| Some((x, stats[x]?))) else { continue };
        if stats.channels().is_empty() || lir.tensors[x].dtype != DType::F32 {
            continue;
        }
        let moments = |c: usize| {
            let factor = factors[x].as_ref().map_or(1.0, |f| f64::from(f[c]));
            let (mean, variance) = stats.moments(c);
            (mean * factor, (mean * mean + variance) * factor * factor)
        };
        let all: Vec<(f64, f64)> = (0..stats.channels().len()).map(moments).collect();
        let channels = Channels {
            means: if tools.bias_correction { all.iter().map(|m| m.0).collect() } else { Vec::new() },
            squares: if tools.weight_scales { all.iter().map(|m| m.1).collect() } else { Vec::new() },
        };
        lir.tensors[x].channels = Some(Arc::new(channels));
    }
}

/// Tells weights what they meet.
fn tell_weights(
    lir: &mut Lir,
    moments: &BTreeMap<usize, (Windows, &Moments)>,
    factors: &[Option<Vec<f32>>],
    tools: Tools,
) {
    let mut uses = vec![0; lir.tensors.len()];
    lir.steps.iter().flat_map(|s| s.inputs.iter().flatten()).for_each(|&id| uses[id] += 1);
    for (&i, (windows, seen)) in moments {
        let (Some(x), Some(w)) = (lir.steps[i].inputs[0], lir.steps[i].inputs[1]) else { continue };
        if uses[w] != 1 {
            continue;
        }
        let positions = windows.positions();
        let depth = windows.depth();
        let group = |(g, blocks): (usize, &Vec<moments::Block>)| -> Vec<Block> {
            let one = |(block, places): (&moments::Block, &Vec<usize>)| {
                let factor = |k: usize| {
                    factors[x].as_ref().map_or(1.0, |f| f64::from(f[g * depth + places[k] % depth]))
                };
                let n = places.len();
                let covariance = |at: usize| {
                    let (a, b) = (at / n, at % n);
                    // The bias takes up what the means make of errors.
                    let of_means = if tools.bias_correction { block.means[a] * block.means[b] } else { 0.0 };
                    (block.products[at] - of_means) * factor(a) * factor(b)
                };
                Block::new(places, &(0..n * n).map(covariance).collect::<Vec<_>>())
            };
            blocks.iter().zip(&positions).filter_map(one).collect()
        };
        let met: Vec<Vec<Block>> = seen.blocks(windows).iter().enumerate().map(group).collect();
        if !met.is_empty() {
            lir.tensors[w].met = Some(Arc::new(met));
        }
    }
}
