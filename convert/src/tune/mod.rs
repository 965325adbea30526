//! What is done about the accuracy of int8 beside choosing ranges, each by itself and on by default:
//!
//! - [`equalize`]: channels of activations scaled to fill the range that all of them share;
//! - [`domain`]: the domain of a function's table, where the function's results lose least;
//! - weights' scales of least error, weighed by what meets them, and biases that take up the mean error of rounded weights
//!   (`precision/weights.rs`), by what this module tells tensors about their channels.

mod domain;
mod equalize;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cygnet_format::op::Op;
use cygnet_format::program::DType;

use crate::calibrate::{Calibrator, Stats};
use crate::lir::{Channels, Kind, Lir};
use crate::precision::Plan;
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
}

impl Default for Tools {
    fn default() -> Self {
        Self { equalization: true, domains: true, weight_scales: true, bias_correction: true }
    }
}

impl Tools {
    /// None of them.
    pub const NONE: Self =
        Self { equalization: false, domains: false, weight_scales: false, bias_correction: false };

    /// Without this one.
    pub fn without(mut self, tool: Tool) -> Self {
        match tool {
            Tool::Equalization => self.equalization = false,
            Tool::Domains => self.domains = false,
            Tool::WeightScales => self.weight_scales = false,
            Tool::BiasCorrection => self.bias_correction = false,
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
}

impl Tool {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Equalization, "equalization"),
        (Self::Domains, "domains"),
        (Self::WeightScales, "weight-scales"),
        (Self::BiasCorrection, "bias-correction"),
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

/// The graph made ready for int8 by what calibration has seen of each tensor, and the range of each.
pub fn tune(
    mut lir: Lir,
    plan: &Plan,
    stats: &[Option<&Stats>],
    calibrator: Calibrator,
    tools: Tools,
) -> (Lir, Vec<Option<Range>>) {
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
    (lir, ranges)
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
