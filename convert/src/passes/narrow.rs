//! Quantization to fewer values than a byte has, as training for kernels that add in 16 bits leaves it.

use super::rewrite::{Index, add_constant, add_typed, scalar_and_other};
use crate::graph::{ElemType, Graph, Tensor, ValueId};

/// `Min(QuantizeLinear(x, s, z), hi)`, which is what is left of a `Clip`, becomes
/// `QuantizeLinear(Clip(x, max: (hi - z) s), s, z)`; and `Max` likewise. That is the same, and the step before can take the
/// bound.
pub fn bound_before_quantize(graph: &mut Graph, index: &Index, i: usize) -> bool {
    bounded(graph, index, i).is_some()
}

fn bounded(graph: &mut Graph, index: &Index, i: usize) -> Option<()> {
    let bound = graph.nodes[i].clone();
    let is_least = match bound.op.as_str() {
        "Max" => true,
        "Min" => false,
        _ => return None,
    };
    let (limit, bytes) = scalar_and_other(graph, &bound)?;
    let at = index.producer(bytes).filter(|_| bound.inputs.len() == 2)?;
    index.sole_user(bytes)?;
    let quantize = graph.nodes[at].clone();
    let x =
        quantize.input(0).filter(|&x| quantize.op == "QuantizeLinear" && graph.elem(x) == ElemType::F32)?;
    let one = |id: ValueId| graph.constant(id)?.scalar_f32();
    let scale = one(quantize.input(1)?).filter(|s| s.is_normal() && *s > 0.0)?;
    let zero_point = quantize.input(2).map_or(Some(0.0), one)?;
    let limit = Tensor::f32(&[], vec![(limit - zero_point) * scale]);
    let limit = add_constant(graph, &format!("{}/bound", bound.name), limit);
    let dims = graph.dims(x).to_vec();
    let real = add_typed(graph, &format!("{}/real", bound.name), ElemType::F32, dims);
    let clip = &mut graph.nodes[at];
    clip.op = "Clip".to_owned();
    clip.attrs.clear();
    clip.inputs = if is_least { vec![Some(x), Some(limit)] } else { vec![Some(x), None, Some(limit)] };
    clip.outputs = vec![Some(real)];
    let mut inputs = quantize.inputs;
    inputs[0] = Some(real);
    let last = &mut graph.nodes[i];
    (last.op, last.attrs, last.inputs) = (quantize.op, quantize.attrs, inputs);
    Some(())
}
