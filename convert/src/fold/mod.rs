//! Evaluation of nodes whose inputs are all constants, with ONNX's semantics.
//!
//! Floating types are computed in f64 and rounded once: exact for `+ - * / sqrt`, and at least as close as f32
//! arithmetic for the rest. Integers are computed in i64 and wrapped to their type. An operator that is not
//! evaluated here just stays in the graph.

mod data;
mod elementwise;
mod layout;
mod reduce;
#[cfg(test)]
mod tests;

use crate::graph::{ElemType, Graph, Node, Tensor};
use crate::infer::{Ctx, Types, elements};

pub(crate) use data::{cast, map_data};

/// A result larger than this stays a node when it is also more than [`MAX_GROWTH`] times its inputs: expanding at
/// run time costs less than storing it.
const MAX_BYTES: usize = 64 << 20;

/// Likewise for what no step makes at run time: weights that an exporter left away to keep a file small.
const MAX_BYTES_OF_FILLED: usize = 1 << 30;

/// How many times larger than its inputs a large result may be.
const MAX_GROWTH: usize = 8;

/// Most multiply-adds spent on folding one product of matrices.
const MAX_MACS: usize = 1 << 28;

/// The constant of these dimensions, of which one is 0.
pub(crate) fn empty(dims: &[usize], elem: ElemType) -> Tensor {
    Tensor::new(dims.to_vec(), data::from_i64(Vec::new(), elem))
}

/// Evaluates `node`, whose outputs have `types`; `None` when that is not possible or not wanted.
///
/// # Errors
/// A text when an index that is known already lies outside its tensor.
pub(crate) fn evaluate(graph: &Graph, node: &Node, types: &Types) -> Result<Option<Vec<Tensor>>, String> {
    let ctx = Ctx { graph, node };
    if let Some(t) = layout::of_shape(&ctx)? {
        return Ok(Some(vec![t]));
    }
    let mut inputs: Vec<Option<&Tensor>> = Vec::with_capacity(node.inputs.len());
    let mut in_bytes = 0usize;
    for id in &node.inputs {
        let t = match id {
            None => None,
            Some(id) => match graph.constant(*id) {
                None => return Ok(None),
                some => some.map(|t| t.as_ref()),
            },
        };
        in_bytes += t.map_or(0, |t| t.len() * t.elem().size());
        inputs.push(t);
    }
    let out_bytes: usize = types.iter().map(|(e, d)| elements(d).unwrap_or(usize::MAX >> 8) * e.size()).sum();
    let most = if node.op == "ConstantOfShape" { MAX_BYTES_OF_FILLED } else { MAX_BYTES };
    if inputs.is_empty() || (out_bytes > most && out_bytes / MAX_GROWTH > in_bytes) {
        return Ok(None);
    }
    let call = Call { ctx, inputs: &inputs, types };
    for evaluator in [layout::evaluate, elementwise::evaluate, reduce::evaluate] {
        if let Some(out) = evaluator(&call)? {
            let agrees = out.len() <= types.len()
                && out.iter().zip(types).all(|(t, (elem, dims))| t.elem() == *elem && t.dims == *dims);
            return if agrees {
                Ok(Some(out))
            } else {
                Err("folds to another shape or type than was inferred, which is a defect of the converter"
                    .into())
            };
        }
    }
    Ok(None)
}

/// A node with constant inputs and inferred outputs.
struct Call<'a> {
    ctx: Ctx<'a>,
    inputs: &'a [Option<&'a Tensor>],
    types: &'a Types,
}

impl<'a> Call<'a> {
    fn op(&self) -> &'a str {
        &self.ctx.node.op
    }

    fn opt(&self, i: usize) -> Option<&'a Tensor> {
        self.inputs.get(i).copied().flatten()
    }

    fn input(&self, i: usize) -> Result<&'a Tensor, String> {
        self.opt(i).ok_or_else(|| format!("needs input {i}, which is left out"))
    }

    fn ints(&self, i: usize) -> Result<Vec<i64>, String> {
        self.input(i)?.to_i64().ok_or_else(|| format!("its input {i} must be integers"))
    }

    /// Dimensions of the first output.
    fn dims(&self) -> &'a [usize] {
        &self.types[0].1
    }
}
