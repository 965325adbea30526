//! Weights alone in fewer bits: blocks of 32 numbers with a scale in half precision, everything else in f32.

use cygnet_format::op::{self, BlockKind, Conv, Op};
use cygnet_format::program::DType;
use cygnet_kernels::blocks::MAX_K;
use cygnet_kernels::blocks::pack::{BLOCK, PANEL, pack_scales, pack_weights};
use half::f16;

use super::apply::Cast;
use crate::lir::{Const, Kind, Lir, Step};

/// Why weights of a product stay in f32, if they do.
pub(super) fn why_not(lir: &Lir, step: &Step) -> Option<&'static str> {
    let Kind::Op(Op::Conv(p)) = &step.kind else {
        return Some("has few weights, or none that are constant");
    };
    let weights = step.inputs.get(1).copied().flatten().map(|w| &lir.tensors[w]);
    let constant = weights.filter(|w| w.constant.as_deref().is_some_and(|c| matches!(c, Const::F32(_))));
    let Some(weights) = constant.filter(|_| p.groups == 1) else {
        return Some("is no product with constant weights of one group");
    };
    let k = weights.len() / weights.dims[0];
    if k < BLOCK {
        return Some("has fewer weights for an output than a block");
    }
    (k > MAX_K).then_some("sums more products than fit the scratch")
}

impl Cast<'_> {
    /// A convolution of one group.
    pub(super) fn blocks(&mut self, step: &Step, conv: &Conv, kind: BlockKind) -> Result<(), String> {
        let [x, w, b] = [0, 1, 2].map(|i| step.inputs[i]);
        let (x, w, b) = (x.ok_or("no input")?, w.ok_or("no weights")?, b.ok_or("no bias")?);
        let weights = &self.old.tensors[w];
        let values = weights.constant.as_ref().ok_or("weights are computed")?;
        let bias = self.old.tensors[b].constant.as_ref().ok_or("bias is computed")?.f32();
        let (name, m) = (weights.name.clone(), weights.dims[0]);
        let k = weights.len() / m;
        let (numbers, scales) = quantize(values.f32(), k, kind)?;
        let packed = pack_weights(kind, &numbers, m, k);
        let scales = pack_scales(&scales, m);
        let mut bias = bias.to_vec();
        bias.resize(m.next_multiple_of(PANEL), 0.0);
        let x = self.form(x, DType::F32)?;
        let packed = self.new.add_const(name.clone(), &[packed.len()], Const::Packed(packed));
        let scales = self.new.add_const(format!("{name}:scales"), &[scales.len()], Const::F16(scales));
        let bias = self.new.add_const(format!("{}:bias", step.name), &[bias.len()], Const::F32(bias));
        let block = op::BlockConv { window: conv.window, kind, epilogue: conv.epilogue };
        self.new.push(
            step.name.clone(),
            Kind::Op(Op::BlockConv(block)),
            &[x, packed, scales, bias],
            step.output,
        );
        Ok(())
    }
}

/// Numbers and scales of rows of `k` weights, each cut into blocks.
///
/// # Errors
/// When a scale is beyond half precision.
pub(super) fn quantize(values: &[f32], k: usize, kind: BlockKind) -> Result<(Vec<i8>, Vec<f16>), String> {
    let mut numbers = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len().div_ceil(BLOCK));
    for block in values.chunks_exact(k).flat_map(|row| row.chunks(BLOCK)) {
        let scale = best_scale(block, kind);
        if !scale.is_finite() {
            return Err(
                "its weights are so large that half precision has no scale for them; use f32".to_owned()
            );
        }
        numbers.extend(block.iter().map(|&w| round(w, scale, kind)));
        scales.push(scale);
    }
    Ok((numbers, scales))
}

fn round(w: f32, scale: f16, kind: BlockKind) -> i8 {
    let scale = scale.to_f32();
    if scale == 0.0 {
        return 0;
    }
    let (least, most) = match kind {
        BlockKind::Int8 => (-127.0, 127.0),
        BlockKind::Int4 => (-8.0, 7.0),
    };
    (w / scale).round_ties_even().clamp(least, most) as i8
}

/// Scales are tried in so many steps ...
const TRIED: usize = 24;
/// ... of this share of the greatest.
const TRIED_APART: f32 = 0.015;

/// The scale of least squared error. Of four bits one end goes farther than the other: the scale has the sign that gives
/// it to the weight of greatest magnitude, or the other one where that is better.
fn best_scale(block: &[f32], kind: BlockKind) -> f16 {
    let greatest = block.iter().fold(0.0_f32, |m, &w| if w.abs() > m.abs() { w } else { m });
    let starts: &[f32] = match kind {
        BlockKind::Int8 => &[127.0],
        BlockKind::Int4 => &[-8.0, 7.0],
    };
    let error = |scale: f16| -> f64 {
        let off = |w: f32| f64::from(f32::from(round(w, scale, kind)) * scale.to_f32() - w);
        block.iter().map(|&w| off(w) * off(w)).sum()
    };
    let tried = starts.iter().flat_map(|end| {
        (0..TRIED).map(move |i| f16::from_f32(greatest / end * (1.0 - i as f32 * TRIED_APART)))
    });
    let costs = tried.map(|scale| (error(scale), scale));
    costs.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(f16::ZERO, |(_, scale)| scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_steps_are_exact() {
        let values: Vec<f32> = (-8..8).map(|q| q as f32 * 0.25).collect();
        let (numbers, scales) = quantize(&values, 16, BlockKind::Int4).unwrap();
        let back: Vec<f32> = numbers.iter().map(|&q| f32::from(q) * scales[0].to_f32()).collect();
        assert_eq!(back, values);
        // The same mirrored: a scale below zero.
        let values: Vec<f32> = values.iter().map(|v| -v).collect();
        let (numbers, scales) = quantize(&values, 16, BlockKind::Int4).unwrap();
        let back: Vec<f32> = numbers.iter().map(|&q| f32::from(q) * scales[0].to_f32()).collect();
        assert_eq!(back, values);
    }

    #[test]
    fn rows_begin_blocks() {
        let values = [vec![1.0_f32; 40], vec![2.0; 40]].concat();
        let (numbers, scales) = quantize(&values, 40, BlockKind::Int8).unwrap();
        assert_eq!((numbers.len(), scales.len()), (80, 4));
        assert!(numbers.iter().all(|&q| q == 127));
    }

    #[test]
    fn nothing_stays_nothing_and_too_much_is_refused() {
        let (numbers, scales) = quantize(&[0.0; 8], 8, BlockKind::Int4).unwrap();
        assert!(numbers.iter().all(|&q| q == 0) && scales[0].to_f32() == 0.0);
        assert!(quantize(&[1e30; 8], 8, BlockKind::Int4).unwrap_err().contains("half precision"));
    }
}
