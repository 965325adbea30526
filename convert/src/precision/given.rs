//! Steps of models that come quantized: float operators between a Dequantize and a Quantize, which mean integer ones.
//! They run in int8 with the scales that the source gives, and no sample has to be seen. Weights are the integers that the
//! source holds: real by now, they are found again as multiples of one number.
//!
//! A step that has no int8 form with just these scales, or whose weights are no such multiples, stays as the source spells
//! it: in f32, rounded where the source rounds.

use cygnet_format::op::{BinaryKind, Op, PoolKind, ReduceKind, UnaryKind};
use cygnet_format::program::{DType, Quant};

use super::weights::{MAX_K, MAX_K_COMPUTED, on_grid};
use crate::lir::{Const, Id, Kind, Lir, Step};

/// What the source decides.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// For each step, whether it is in int8 by the source's scales; empty for none.
    pub steps: Vec<bool>,
    /// Quantization of the real tensors that such steps read and write.
    pub quants: Vec<Option<Quant>>,
}

impl Given {
    /// Whether the source decides about this step.
    pub fn step(&self, i: usize) -> bool {
        self.steps.get(i).copied().unwrap_or(false)
    }

    /// The quantization that the source gives a tensor.
    pub fn quant(&self, id: Id) -> Option<Quant> {
        self.quants.get(id).copied().flatten()
    }

    /// How many steps there are.
    pub fn count(&self) -> usize {
        self.steps.iter().filter(|&&given| given).count()
    }
}

/// Finds the steps that the source quantizes.
pub fn given(lir: &Lir) -> Given {
    let quants = quants(lir);
    let steps = lir.steps.iter().map(|step| has_form(lir, step, &quants).is_some()).collect();
    Given { steps, quants }
}

fn is_convert(step: &Step) -> bool {
    matches!(step.kind, Kind::Op(Op::Convert(_)))
}

/// The quantization of each real tensor that is read from quantized bytes, or goes into such alone.
fn quants(lir: &Lir) -> Vec<Option<Quant>> {
    let readers = lir.readers();
    let mut results = vec![false; lir.tensors.len()];
    lir.results().for_each(|id| results[id] = true);
    let mut quants = vec![None; lir.tensors.len()];
    let bytes = |id: Id| lir.tensors[id].quant.filter(|_| lir.tensors[id].dtype == DType::S8);
    for step in lir.steps.iter().filter(|s| is_convert(s)) {
        quants[step.output] = step.inputs[0].and_then(bytes);
    }
    for (id, t) in lir.tensors.iter().enumerate() {
        if t.dtype != DType::F32 || t.constant.is_some() || quants[id].is_some() || results[id] {
            continue;
        }
        let mut into = readers[id].iter().map(|&r| {
            let step = &lir.steps[r];
            bytes(step.output).filter(|_| is_convert(step))
        });
        if let Some(Some(first)) = into.next()
            && into.all(|other| other == Some(first))
        {
            quants[id] = Some(first);
        }
    }
    for (quant, t) in quants.iter_mut().zip(&lir.tensors) {
        *quant = quant.filter(|_| t.dtype == DType::F32);
    }
    along_moves(lir, &readers, &results, &mut quants);
    quants
}

/// Whether a step keeps its input's bytes, wherever they go.
fn is_move(step: &Step) -> bool {
    matches!(
        step.kind,
        Kind::View | Kind::Transpose(_) | Kind::Slice { .. } | Kind::Expand | Kind::Pad { .. }
    )
}

/// What only moves on its way from bytes or to bytes has their scale.
fn along_moves(lir: &Lir, readers: &[Vec<usize>], results: &[bool], quants: &mut [Option<Quant>]) {
    for step in lir.steps.iter().filter(|s| is_move(s)) {
        let before = step.inputs[0].and_then(|x| quants[x]);
        if lir.tensors[step.output].dtype == DType::F32 {
            quants[step.output] = quants[step.output].or(before);
        }
    }
    for step in lir.steps.iter().rev() {
        let x = step.output;
        if quants[x].is_some() || results[x] || lir.tensors[x].dtype != DType::F32 {
            continue;
        }
        let mut behind = readers[x].iter().map(|&r| {
            let next = &lir.steps[r];
            quants[next.output].filter(|_| is_move(next))
        });
        if let Some(Some(first)) = behind.next()
            && behind.all(|other| other == Some(first))
        {
            quants[x] = Some(first);
        }
    }
}

/// `Some` where the step can be computed in int8 with these scales.
fn has_form(lir: &Lir, step: &Step, quants: &[Option<Quant>]) -> Option<()> {
    let y = quants[step.output].filter(|_| !is_convert(step))?;
    let constant = |at: usize| {
        let id = step.inputs.get(at).copied().flatten()?;
        lir.tensors[id].constant.as_deref()
    };
    let quant = |at: usize| quants[step.inputs.get(at).copied().flatten()?];
    let x = quant(0)?;
    // Elements that keep their bytes, or are only chosen among.
    let kept = (x == y).then_some(());
    match &step.kind {
        Kind::Concat { .. } => (0..step.inputs.len()).try_for_each(|at| quant(at).map(|_| ())),
        _ if is_move(step) => kept,
        Kind::Op(op) => match op {
            Op::Conv(_) | Op::DepthwiseConv(_) | Op::ConvTranspose(_) => {
                product(lir, step, [x, y], [constant(1)?, constant(2)?])
            }
            Op::MatMul(p) => {
                quant(1)?;
                let k = step.inputs[0].and_then(|a| lir.tensors[a].dims.last().copied())?;
                (k <= MAX_K_COMPUTED && p.epilogue.unary.kind == UnaryKind::Identity).then_some(())
            }
            Op::Map(_) => Some(()),
            Op::Binary(p) => {
                quant(1)?;
                let known = matches!(
                    p.kind,
                    BinaryKind::Add
                        | BinaryKind::Sub
                        | BinaryKind::Mul
                        | BinaryKind::Div
                        | BinaryKind::SquaredDifference
                );
                let bounded = p.epilogue.unary.kind == UnaryKind::Identity;
                (known && bounded).then_some(())
            }
            Op::Reduce(p) => match p.kind {
                ReduceKind::Mean | ReduceKind::Sum => Some(()),
                ReduceKind::Max | ReduceKind::Min => kept,
                _ => None,
            },
            Op::Pool(p) if p.kind == PoolKind::Average => Some(()),
            Op::Pool(p) if p.kind == PoolKind::Max => kept,
            Op::Softmax(p) => (!p.log).then_some(()),
            Op::Resize(_) => kept,
            _ => None,
        },
        _ => None,
    }
}

/// Whether the constants of a product are integers times a scale for each output channel.
fn product(lir: &Lir, step: &Step, [x, y]: [Quant; 2], [weights, bias]: [&Const; 2]) -> Option<()> {
    let (epilogue, depthwise) = match &step.kind {
        Kind::Op(Op::Conv(p)) => (&p.epilogue, false),
        Kind::Op(Op::DepthwiseConv(p)) => (&p.epilogue, true),
        Kind::Op(Op::ConvTranspose(p)) => (&p.epilogue, false),
        _ => return None,
    };
    let (Const::F32(weights), Const::F32(bias)) = (weights, bias) else { return None };
    let m = *lir.tensors[step.output].dims.last()?;
    let k = weights.len() / bias.len().max(1);
    if m != bias.len() || k > MAX_K || epilogue.unary.kind != UnaryKind::Identity {
        return None;
    }
    on_grid(weights, bias, [x, y], depthwise).map(|_| ())
}

#[cfg(test)]
mod tests {
    use cygnet_format::op::{Convert, Pool, Window};

    use super::*;

    /// Bytes of one scale, made real, pooled, and made bytes of another.
    fn pooled(kind: PoolKind, to: Quant) -> Lir {
        let mut lir = Lir::default();
        let bytes = |lir: &mut Lir, name: &str, quant| {
            let id = lir.add(name, &[1, 4, 4, 8], DType::S8);
            lir.tensors[id].quant = Some(quant);
            id
        };
        let a = bytes(&mut lir, "a", FROM);
        let [x, y] = ["x", "y"].map(|n| lir.add(n, &[1, 4, 4, 8], DType::F32));
        let b = bytes(&mut lir, "b", to);
        let window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0; 4] };
        let pool = Pool { kind, window, count_include_pad: false, scale: 1.0 };
        lir.inputs = vec![("a".to_owned(), a)];
        lir.push("x", Kind::Op(Op::Convert(Convert {})), &[a], x);
        lir.push("y", Kind::Op(Op::Pool(pool)), &[x], y);
        lir.push("b", Kind::Op(Op::Convert(Convert {})), &[y], b);
        lir.outputs = vec![("b".to_owned(), b)];
        lir
    }

    const FROM: Quant = Quant { scale: 0.5, zero_point: 3 };
    const OTHER: Quant = Quant { scale: 0.25, zero_point: 3 };

    #[test]
    fn what_keeps_bytes_needs_one_scale() {
        let steps = |kind, to| given(&pooled(kind, to)).steps;
        assert_eq!(steps(PoolKind::Max, FROM), [false, true, false]);
        assert_eq!(steps(PoolKind::Max, OTHER), [false; 3]);
        assert_eq!(steps(PoolKind::Average, OTHER), [false, true, false]);
    }

    #[test]
    fn what_others_read_as_real_numbers_is_not_given() {
        let mut lir = pooled(PoolKind::Average, OTHER);
        let y = lir.steps[1].output;
        lir.outputs.push(("y".to_owned(), y));
        assert_eq!(given(&lir).count(), 0);
    }
}
