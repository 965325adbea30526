//! The lowered graph in the precision that was chosen.

use std::collections::HashMap;
use std::sync::Arc;

use cygnet_format::op::{self, BinaryKind, Epilogue, Op, PoolKind, ReduceKind, Unary, UnaryKind, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::conv::pack::fold_zero_point;
use cygnet_kernels::conv::transpose::Phases;
use half::f16;

use super::choose::Plan;
use super::functions::{Function, functions};
use super::groups::quants;
use super::memo::Origin;
use super::weights::{MAX_K, MAX_K_COMPUTED, Product, multipliers, on_grid, quantize as quantize_weights};
use crate::lir::{Const, Id, Kind, Lir, State, Step};
use crate::ranges::{Range, quantize, quantized};

/// Rewrites `lir` so that each step computes in the type that `plan` gives it, with conversions where types meet.
/// `ranges` holds what calibration saw of each tensor; it is looked at for s8 steps only.
///
/// # Errors
/// Names the step that cannot be quantized, and why.
pub fn apply(lir: &Lir, plan: &Plan, ranges: &[Option<Range>]) -> Result<Lir, String> {
    let plan = &Plan { types: plan.settled(), ..plan.clone() };
    let mut cast = Cast {
        old: lir,
        new: Lir { tensors: lir.tensors.clone(), inputs: lir.inputs.clone(), ..Lir::default() },
        quants: quants(lir, plan, ranges),
        // Every tensor in the type of its producer; inputs and constants as they are.
        homes: (0..lir.tensors.len()).map(Some).collect(),
        forms: HashMap::new(),
        dynamic: HashMap::new(),
        given: false,
    };
    if plan.int8_io {
        for &(_, id) in lir.inputs.iter().filter(|i| lir.tensors[i.1].dtype == DType::F32) {
            let quant = cast.quant(id)?;
            cast.new.tensors[id].dtype = DType::S8;
            cast.new.tensors[id].quant = Some(quant);
        }
    }
    let functions = functions(lir, plan);
    for (i, (step, &dtype)) in lir.steps.iter().zip(&plan.types).enumerate() {
        let first = cast.new.steps.len();
        cast.given = plan.given.step(i);
        let done = match &step.kind {
            Kind::Op(Op::Gather(_)) if plan.real[i] => cast.embedding(step, plan.blocks),
            Kind::Op(Op::Conv(p)) if plan.real[i] => match plan.blocks {
                Some(kind) => cast.blocks(step, p, kind),
                None => cast.reals(step, &p.window, plan.dynamic),
            },
            _ => match &functions[i] {
                Some(function) => cast.table(step, function),
                None => cast.step(step, dtype),
            },
        };
        done.map_err(|why| format!("step '{}': {why}", step.name))?;
        cast.new.attribute(first, &step.sources);
    }
    for (name, id) in &lir.outputs {
        let dtype = lir.tensors[*id].dtype;
        let dtype = if plan.int8_io && dtype == DType::F32 { DType::S8 } else { dtype };
        let form = cast.form(*id, dtype)?;
        cast.new.outputs.push((name.clone(), form));
    }
    for state in &lir.states {
        let output = cast.form(state.output, lir.tensors[state.output].dtype)?;
        cast.new.states.push(State { output, ..state.clone() });
    }
    cast.new.drop_dead();
    Ok(cast.new)
}

pub(super) struct Cast<'a> {
    pub(super) old: &'a Lir,
    pub(super) new: Lir,
    /// Quantization of each old tensor.
    quants: Vec<Option<Quant>>,
    /// Where each old tensor is computed.
    homes: Vec<Option<Id>>,
    /// Further forms of old tensors, by type and quantization.
    forms: HashMap<Form, Id>,
    /// Old tensors quantized by what they turn out to hold, over these axes; and the magnitudes.
    pub(super) dynamic: HashMap<(Id, u32), (Id, Id)>,
    /// Whether the source gives the scales of the step at hand, its weights' too.
    given: bool,
}

/// An old tensor, a type, and the bits of a quantization.
type Form = (Id, DType, Option<(u32, i32)>);

fn key(q: Option<Quant>) -> Option<(u32, i32)> {
    q.map(|q| (q.scale.to_bits(), q.zero_point))
}

impl Cast<'_> {
    pub(super) fn quant(&self, id: Id) -> Result<Quant, String> {
        let t = &self.old.tensors[id];
        if let Some(c) = &t.constant {
            return Range::of(c.f32()).map(Range::quant).ok_or_else(|| format!("'{}' is empty", t.name));
        }
        self.quants[id].ok_or_else(|| format!("no sample has shown the range of '{}'; calibrate", t.name))
    }

    /// An old tensor in this type, with its own quantization when that is s8.
    pub(super) fn form(&mut self, id: Id, dtype: DType) -> Result<Id, String> {
        let quant = if dtype == DType::S8 && self.old.tensors[id].dtype == DType::F32 {
            Some(self.quant(id)?)
        } else {
            self.old.tensors[id].quant
        };
        self.form_with(id, dtype, quant)
    }

    fn form_with(&mut self, id: Id, dtype: DType, quant: Option<Quant>) -> Result<Id, String> {
        let home = self.homes[id].ok_or_else(|| "reads a tensor that is not computed yet".to_owned())?;
        let t = &self.new.tensors[home];
        if t.dtype == dtype && t.quant == quant {
            return Ok(home);
        }
        if let Some(&form) = self.forms.get(&(id, dtype, key(quant))) {
            return Ok(form);
        }
        let (name, dims) = (t.name.clone(), t.dims.clone());
        let form = if let Some(c) = t.constant.clone() {
            let c = match (dtype, quant) {
                (DType::F16, _) => Const::F16(c.f32().iter().map(|&v| f16::from_f32(v)).collect()),
                (DType::S8, Some(q)) => Const::S8(c.f32().iter().map(|&v| quantize(v, q)).collect()),
                _ => return Err(format!("constant '{name}' has no {} form", dtype.name())),
            };
            let form = self.new.add_const(name, &dims, c);
            self.new.tensors[form].quant = quant;
            form
        } else {
            let form = self.new.add(format!("{name}:{}", dtype.name()), &dims, dtype);
            self.new.tensors[form].quant = quant;
            self.new.push(
                format!("{name}:{}", dtype.name()),
                Kind::Op(Op::Convert(op::Convert {})),
                &[home],
                form,
            );
            form
        };
        self.forms.insert((id, dtype, key(quant)), form);
        Ok(form)
    }

    fn step(&mut self, step: &Step, dtype: DType) -> Result<(), String> {
        let output = &self.old.tensors[step.output];
        let mut new = step.clone();
        match dtype {
            DType::S8 => return self.s8_step(step),
            DType::F16 => {
                self.new.tensors[step.output].dtype = DType::F16;
                for (i, slot) in new.inputs.iter_mut().enumerate() {
                    let Some(id) = *slot else { continue };
                    let t = &self.old.tensors[id];
                    // A bias stays in f32: it starts an f32 accumulation.
                    let stays =
                        t.dtype != DType::F32 || (i == 2 && is_conv(&step.kind)) || is_table(&step.kind, i);
                    *slot = Some(self.form(id, if stays { t.dtype } else { DType::F16 })?);
                }
            }
            _ => {
                debug_assert!(output.constant.is_none());
                for slot in &mut new.inputs {
                    if let Some(id) = *slot {
                        *slot = Some(self.form(id, self.old.tensors[id].dtype)?);
                    }
                }
            }
        }
        self.new.steps.push(new);
        Ok(())
    }

    fn s8_step(&mut self, step: &Step) -> Result<(), String> {
        let y = self.quant(step.output)?;
        self.new.tensors[step.output].dtype = DType::S8;
        self.new.tensors[step.output].quant = Some(y);
        let mut new = step.clone();
        match &step.kind {
            Kind::Op(Op::Conv(p)) => return self.conv(step, &p.window, p.groups as usize, &p.epilogue, y),
            Kind::Op(Op::DepthwiseConv(p)) => return self.conv(step, &p.window, 0, &p.epilogue, y),
            Kind::Op(Op::ConvTranspose(p)) => {
                return self.conv(step, &p.window, p.groups as usize, &p.epilogue, y);
            }
            Kind::Concat { .. } => {
                // Inputs of another scale are requantized to the whole's.
                for slot in &mut new.inputs {
                    if let Some(id) = *slot {
                        *slot = Some(self.requantized(id, y)?);
                    }
                }
            }
            _ => {
                for slot in &mut new.inputs {
                    let Some(id) = *slot else { continue };
                    let t = &self.old.tensors[id];
                    *slot = Some(if step.kind.moves() && t.constant.is_some() && t.dtype == DType::F32 {
                        // What moves keeps its bytes: the constant is in the scale of what it becomes.
                        self.form_with(id, DType::S8, Some(y))?
                    } else if t.dtype != DType::F32 || is_resize_weight(&step.kind, slot, &step.inputs) {
                        self.form(id, t.dtype)?
                    } else {
                        self.form(id, DType::S8)?
                    });
                }
            }
        }
        if let Kind::Op(op) = &mut new.kind {
            let scale = |i: usize| -> Result<f64, String> {
                Ok(f64::from(self.quant(step.inputs[i].ok_or("an input is missing")?)?.scale))
            };
            let sy = f64::from(y.scale);
            match op {
                Op::MatMul(p) => {
                    let k =
                        self.old.tensors[step.inputs[0].ok_or("an input is missing")?].dims.last().copied();
                    if k.unwrap_or(1) > MAX_K_COMPUTED {
                        return Err(format!(
                            "its reduction is longer than {MAX_K_COMPUTED}, which int32 holds"
                        ));
                    }
                    p.scale = (f64::from(p.scale) * scale(0)? * scale(1)? / sy) as f32;
                    p.epilogue = bounds(&p.epilogue, y)?;
                }
                Op::Binary(p) => {
                    (p.scale_a, p.scale_b) = match p.kind {
                        BinaryKind::Mul => ((scale(0)? * scale(1)? / sy) as f32, 1.0),
                        BinaryKind::Div => ((scale(0)? / scale(1)? / sy) as f32, 1.0),
                        BinaryKind::PRelu => ((scale(0)? / sy) as f32, scale(1)? as f32),
                        BinaryKind::SquaredDifference => {
                            ((scale(0)? / sy.sqrt()) as f32, (scale(1)? / sy.sqrt()) as f32)
                        }
                        _ => ((scale(0)? / sy) as f32, (scale(1)? / sy) as f32),
                    };
                    p.epilogue = bounds(&p.epilogue, y)?;
                }
                Op::Pool(p) if p.kind == PoolKind::Average => p.scale = (scale(0)? / sy) as f32,
                Op::Reduce(p) if matches!(p.kind, ReduceKind::Sum | ReduceKind::Mean) => {
                    p.scale = (scale(0)? / sy) as f32;
                }
                Op::Resize(p) => p.extrapolation = quantized(p.extrapolation, y).clamp(-128.0, 127.0),
                _ => {}
            }
        }
        self.new.steps.push(new);
        Ok(())
    }

    /// An old tensor in s8 with this quantization.
    fn requantized(&mut self, id: Id, quant: Quant) -> Result<Id, String> {
        if self.old.tensors[id].constant.is_some() {
            return self.form_with(id, DType::S8, Some(quant));
        }
        let own = self.quant(id)?;
        let x = self.form(id, DType::S8)?;
        if own == quant {
            return Ok(x);
        }
        if let Some(&form) = self.forms.get(&(id, DType::S8, key(Some(quant)))) {
            return Ok(form);
        }
        let name = format!("{}:rescaled", self.new.tensors[x].name);
        let form = self.table_step(&name, x, own, quant, None, |v| v);
        self.forms.insert((id, DType::S8, key(Some(quant))), form);
        Ok(form)
    }

    /// A step that maps each s8 value by a function of the real number that it stands for.
    fn table_step(
        &mut self,
        name: &str,
        x: Id,
        from: Quant,
        to: Quant,
        output: Option<Id>,
        f: impl Fn(f32) -> f32,
    ) -> Id {
        let table =
            (-128..=127).map(|q: i32| quantize(f((q - from.zero_point) as f32 * from.scale), to)).collect();
        let table = self.new.add_const(format!("{name}:table"), &[256], Const::S8(table));
        // The domain of the table: a convolution that takes it up requantizes to this.
        self.new.tensors[table].quant = Some(from);
        let output = output.unwrap_or_else(|| {
            let dims = self.new.tensors[x].dims.clone();
            let id = self.new.add(name, &dims, DType::S8);
            self.new.tensors[id].quant = Some(to);
            id
        });
        self.new.push(name, Kind::Op(Op::Table(op::Table {})), &[x, table], output);
        output
    }

    /// What is a function of one tensor.
    fn table(&mut self, step: &Step, function: &Function) -> Result<(), String> {
        let y = self.quant(step.output)?;
        self.new.tensors[step.output].dtype = DType::S8;
        self.new.tensors[step.output].quant = Some(y);
        let from = self.quant(function.root)?;
        let x = self.form(function.root, DType::S8)?;
        self.table_step(&step.name, x, from, y, Some(step.output), |v| function.at(v));
        Ok(())
    }

    /// A convolution of any family; `groups` is 0 for a depthwise one.
    fn conv(
        &mut self,
        step: &Step,
        window: &Window,
        groups: usize,
        epilogue: &Epilogue,
        y: Quant,
    ) -> Result<(), String> {
        let [x, w, b] = [0, 1, 2].map(|i| step.inputs[i]);
        let (x, w, b) = (x.ok_or("no input")?, w.ok_or("no weights")?, b.ok_or("no bias")?);
        let xq = self.quant(x)?;
        let x_form = self.form(x, DType::S8)?;
        let (wt, bt) = (&self.old.tensors[w], &self.old.tensors[b]);
        let (wc, bc) = (
            wt.constant.as_ref().ok_or("weights are computed")?,
            bt.constant.as_ref().ok_or("bias is computed")?,
        );
        let (wd, m, c) = (wt.dims.clone(), bt.len(), *self.old.tensors[x].dims.last().unwrap_or(&1));
        let k = wt.len() / m;
        if k > MAX_K {
            return Err(format!("its reduction over {k} values is longer than {MAX_K}, which int32 holds"));
        }
        // Depthwise weights lie [taps][C]: each channel's own together while they are quantized.
        let depthwise = groups == 0;
        let channels = self.old.tensors[x].channels.clone();
        let origin = Origin {
            weights: Arc::clone(wc),
            bias: Some(Arc::clone(bc)),
            scale: xq.scale,
            channels: channels.clone(),
            met: wt.met.clone(),
        };
        let own = self.given.then(|| on_grid(wc.f32(), bc.f32(), [xq, y], depthwise)).flatten();
        let q = match own {
            Some(own) => Arc::new(own),
            None => self.old.memo.get(origin, || {
                let by_channel = if depthwise { swapped(wc.f32(), k, m) } else { wc.f32().to_vec() };
                quantize_weights(&Product {
                    weights: &by_channel,
                    bias: bc.f32(),
                    x: xq,
                    channels: channels.as_deref(),
                    depth: wd[wd.len() - 1],
                    groups,
                    met: wt.met.as_deref(),
                })
            }),
        };
        let transposed = matches!(step.kind, Kind::Op(Op::ConvTranspose(_)));
        let bias = if transposed {
            let phases = Phases::new(window).ok_or("its window is out of range")?;
            phases.bias_s8(&q.bias, &q.weights, wd[3], groups, xq.zero_point)
        } else {
            fold_zero_point(&q.bias, &q.weights, k, xq.zero_point)
        };
        let weights = if depthwise { swapped(&q.weights, m, k) } else { q.weights.clone() };
        let name = |what: &str| format!("{}:{what}", step.name);
        let weights = self.new.add_const(wt.name.clone(), &wd, Const::S8(weights));
        let bias = self.new.add_const(name("bias"), &[bias.len()], Const::S32(bias));
        let scale = multipliers(xq, &q.scales, y);
        let scale = self.new.add_const(name("multiplier"), &[m], Const::F32(scale));
        let mut inputs = vec![Some(x_form), Some(weights), Some(bias), Some(scale)];
        if window.pad != [0; 4] && !transposed {
            let row = vec![xq.zero_point as i8; c.next_multiple_of(16)];
            inputs.push(Some(self.new.add_const(name("padding"), &[row.len()], Const::S8(row))));
        }
        let mut new = Step { inputs, ..step.clone() };
        let limits = bounds(epilogue, y)?;
        match &mut new.kind {
            Kind::Op(Op::Conv(p)) => p.epilogue = limits,
            Kind::Op(Op::DepthwiseConv(p)) => p.epilogue = limits,
            Kind::Op(Op::ConvTranspose(p)) => p.epilogue = limits,
            _ => return Err("is no convolution".to_owned()),
        }
        self.new.steps.push(new);
        Ok(())
    }
}

/// `[rows][cols]` as `[cols][rows]`.
fn swapped<T: Copy>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..rows * cols).map(|i| values[(i % rows) * cols + i / rows]).collect()
}

/// The bounds of a real result as quantized values.
fn bounds(epilogue: &Epilogue, y: Quant) -> Result<Epilogue, String> {
    if epilogue.unary.kind != UnaryKind::Identity {
        return Err("applies a function before it stores, which an s8 step does by a table".to_owned());
    }
    let at = |real: f32, none: f32| {
        if real.is_finite() { quantized(real, y).clamp(-128.0, 127.0) } else { none }
    };
    Ok(Epilogue { lo: at(epilogue.lo, -128.0), hi: at(epilogue.hi, 127.0), unary: Unary::IDENTITY })
}

fn is_conv(kind: &Kind) -> bool {
    matches!(kind, Kind::Op(Op::Conv(_) | Op::DepthwiseConv(_) | Op::ConvTranspose(_)))
}

/// Whether input `i` is one of the constant tables of a resize.
fn is_table(kind: &Kind, i: usize) -> bool {
    matches!(kind, Kind::Op(Op::Resize(_))) && i > 0
}

fn is_resize_weight(kind: &Kind, slot: &Option<Id>, inputs: &[Option<Id>]) -> bool {
    matches!(kind, Kind::Op(Op::Resize(_))) && inputs.first() != Some(slot)
}

/// The padding rows and f32 biases that floating-point convolutions read, added where their windows pad.
pub fn add_padding_rows(lir: &mut Lir) {
    let mut rows: HashMap<(DType, usize), Id> = HashMap::new();
    for i in 0..lir.steps.len() {
        let window = match &lir.steps[i].kind {
            Kind::Op(Op::Conv(p)) => p.window,
            Kind::Op(Op::DepthwiseConv(p)) => p.window,
            _ => continue,
        };
        let Some(x) = lir.steps[i].inputs[0] else { continue };
        let dtype = lir.tensors[x].dtype;
        if window.pad == [0; 4] || dtype == DType::S8 {
            continue;
        }
        let len = lir.tensors[x].dims.last().copied().unwrap_or(1).next_multiple_of(16);
        let row = *rows.entry((dtype, len)).or_insert_with(|| {
            let zeros = match dtype {
                DType::F16 => Const::F16(vec![f16::ZERO; len]),
                _ => Const::F32(vec![0.0; len]),
            };
            lir.tensors.push(crate::lir::Tensor {
                name: format!("zeros:{}", dtype.name()),
                dims: vec![len],
                dtype,
                quant: None,
                constant: Some(Arc::new(zeros)),
                channels: None,
                met: None,
            });
            lir.tensors.len() - 1
        });
        lir.steps[i].inputs.resize(5, None);
        lir.steps[i].inputs[4] = Some(row);
    }
}
