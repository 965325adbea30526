//! Products of s8 whose results are real numbers: the last ones of a network, and all of dynamic range quantization.

use std::sync::Arc;

use cygnet_format::op::{self, Op, ReduceKind, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::conv::pack::fold_zero_point;

use super::apply::Cast;
use super::memo::Origin;
use super::weights::{Product, quantize as quantize_weights};
use crate::lir::{Const, Id, Kind, Step};

/// Positions of a convolution's inputs.
const ROWS_INPUT: usize = 5;
const BIAS_INPUT: usize = 6;

/// An input in s8, and what its numbers stand for.
struct Input {
    form: Id,
    zero_point: i32,
    /// What a sum is to be multiplied by beside the weights' scales, but for what `rows` holds.
    scale: f64,
    /// Greatest magnitudes of rows, computed while the model runs.
    rows: Option<Id>,
}

impl Cast<'_> {
    /// A convolution of one group.
    pub(super) fn reals(&mut self, step: &Step, window: &Window, dynamic: bool) -> Result<(), String> {
        let [x, w, b] = [0, 1, 2].map(|i| step.inputs[i]);
        let (x, w, b) = (x.ok_or("no input")?, w.ok_or("no weights")?, b.ok_or("no bias")?);
        let input = if dynamic { self.dynamic_input(x, window)? } else { self.static_input(x)? };
        let (wt, bt) = (&self.old.tensors[w], &self.old.tensors[b]);
        let constant = wt.constant.as_ref().ok_or("weights are computed")?;
        let (name_of_weights, wd, m) = (wt.name.clone(), wt.dims.clone(), bt.len());
        let (k, c) = (wt.len() / m, *self.old.tensors[x].dims.last().unwrap_or(&1));
        let bias = bt.constant.as_ref().ok_or("bias is computed")?;
        let (channels, met) = (self.old.tensors[x].channels.clone(), wt.met.clone().filter(|_| !dynamic));
        let origin = Origin {
            weights: Arc::clone(constant),
            bias: None,
            scale: 1.0,
            channels: channels.clone(),
            met: met.clone(),
        };
        let q = self.old.memo.get(origin, || {
            quantize_weights(&Product {
                weights: constant.f32(),
                // Biases are real numbers of their own: scales need not leave room for them.
                bias: &vec![0.0; m],
                x: Quant { scale: 1.0, zero_point: input.zero_point },
                channels: channels.as_deref(),
                depth: c,
                groups: 1,
                met: met.as_deref(),
            })
        });
        let real_bias: Vec<f32> = q.real_bias.iter().zip(bias.f32()).map(|(off, b)| off + b).collect();
        let bias_values = bias.f32().to_vec();
        let folded = fold_zero_point(&vec![0; m], &q.weights, k, input.zero_point);
        let scale = q.scales.iter().map(|&w| (f64::from(w) * input.scale) as f32).collect();
        let name = |what: &str| format!("{}:{what}", step.name);
        let mut inputs = vec![
            Some(input.form),
            Some(self.new.add_const(name_of_weights, &wd, Const::S8(q.weights.clone()))),
            Some(self.new.add_const(name("zero point"), &[m], Const::S32(folded))),
            Some(self.new.add_const(name("scale"), &[m], Const::F32(scale))),
            None,
        ];
        if window.pad != [0; 4] {
            let row = vec![input.zero_point as i8; c.next_multiple_of(16)];
            inputs[4] = Some(self.new.add_const(name("padding"), &[row.len()], Const::S8(row)));
        }
        inputs.resize(BIAS_INPUT + 1, None);
        inputs[ROWS_INPUT] = input.rows;
        inputs[BIAS_INPUT] = Some(if real_bias == bias_values {
            self.form(b, DType::F32)?
        } else {
            self.new.add_const(name("bias"), &[m], Const::F32(real_bias))
        });
        self.new.steps.push(Step { inputs, ..step.clone() });
        Ok(())
    }

    /// With the scale that calibration gave it.
    fn static_input(&mut self, x: Id) -> Result<Input, String> {
        let Quant { scale, zero_point } = self.quant(x)?;
        Ok(Input { form: self.form(x, DType::S8)?, zero_point, scale: f64::from(scale), rows: None })
    }

    /// By the greatest magnitude of each row, or of the whole where a window looks at many.
    fn dynamic_input(&mut self, x: Id, window: &Window) -> Result<Input, String> {
        let home = self.form(x, DType::F32)?;
        let dims = self.new.tensors[home].dims.clone();
        let pointwise = window.kernel == [1, 1] && window.stride == [1, 1] && window.pad == [0; 4];
        let last = dims.len() - 1;
        let axes = if pointwise { 1 << last } else { (1 << dims.len()) - 1 };
        let (form, rows) = match self.dynamic.get(&(x, axes)) {
            Some(&known) => known,
            None => {
                let name = self.new.tensors[home].name.clone();
                let kept: Vec<usize> =
                    dims.iter().enumerate().map(|(d, &n)| if axes >> d & 1 == 1 { 1 } else { n }).collect();
                let rows = self.new.add(format!("{name}:greatest"), &kept, DType::F32);
                let greatest = op::Reduce { kind: ReduceKind::MaxAbs, axes, scale: 1.0 };
                self.new.push(format!("{name}:greatest"), Kind::Op(Op::Reduce(greatest)), &[home], rows);
                let form = self.new.add(format!("{name}:s8"), &dims, DType::S8);
                let quantize = Kind::Op(Op::QuantizeRows(op::QuantizeRows {}));
                self.new.push(format!("{name}:s8"), quantize, &[home, rows], form);
                self.dynamic.insert((x, axes), (form, rows));
                (form, rows)
            }
        };
        Ok(Input { form, zero_point: 0, scale: 1.0 / 127.0, rows: Some(rows) })
    }
}
