//! Shapes and element types of every value, interleaved with constant folding so that computed shapes resolve.

mod elementwise;
mod internal;
mod layout;
mod math;
mod matrix;
mod normal;
mod spatial;

use std::collections::BTreeMap;

use crate::error::{ImportError, UnsupportedOp};
use crate::fold;
use crate::graph::{Data, ElemType, Graph, Node, Tensor, ValueId};

pub(crate) use layout::{pads_of, permutation, shape_range, slice_of};
pub(crate) use math::{SliceAxis, axis, broadcast, slice_axes};
pub(crate) use normal::reduce_axes;
pub(crate) use spatial::{Window, transposed_window, window};

/// Most elements that a value may have: more is a damaged file, not a network for the edge.
pub const MAX_ELEMENTS: usize = 1 << 31;

/// The product of `dims`; `None` when it or one of them is more than [`MAX_ELEMENTS`].
pub fn elements(dims: &[usize]) -> Option<usize> {
    let product = dims.iter().try_fold(1usize, |a, &d| a.checked_mul(d));
    product.filter(|&n| n <= MAX_ELEMENTS && dims.iter().all(|&d| d <= MAX_ELEMENTS))
}

/// How inference folds constants.
#[derive(Clone, Copy, Debug)]
pub struct InferOptions {
    /// Fold `DequantizeLinear` of a constant into a float constant.
    pub fold_dequantize: bool,
}

/// Element type and dimensions of a node's outputs, in order.
pub(crate) type Types = Vec<(ElemType, Vec<usize>)>;

/// Infers the outputs of one operator; an error says what is wrong and what to do.
type Rule = fn(&Ctx<'_>) -> Result<Types, String>;

/// Gives every value its element type and dimensions, and turns nodes whose inputs are all constants into
/// constants. Nodes must be in topological order; the graph's inputs must have types.
///
/// # Errors
/// [`ImportError::Unsupported`] with all operators that have no rule; [`ImportError::Node`] for the first node
/// that contradicts its operator, or whose output shape depends on run-time data.
pub fn infer(graph: &mut Graph, options: &InferOptions) -> Result<(), ImportError> {
    let mut unsupported: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in graph.nodes.iter().filter(|n| rule(&n.op).is_none()) {
        unsupported.entry(&node.op).or_default().push(node.name.clone());
    }
    if !unsupported.is_empty() {
        let operators =
            unsupported.into_iter().map(|(op, nodes)| UnsupportedOp { op: op.to_owned(), nodes }).collect();
        return Err(ImportError::Unsupported { operators });
    }
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes {
        if step(graph, &mut node, options)? {
            graph.nodes.push(node);
        }
    }
    for id in graph.results() {
        let v = graph.value(id);
        if v.dims.is_none() || v.elem.is_none() {
            return Err(ImportError::Malformed {
                reason: format!("output '{}' is computed by no node", v.name),
            });
        }
    }
    Ok(())
}

/// Infers and folds one node; `false` when it is folded away. An output without elements is a constant, whatever
/// computes it, and is taken from the node.
pub(crate) fn step(graph: &mut Graph, node: &mut Node, options: &InferOptions) -> Result<bool, ImportError> {
    let types = infer_outputs(graph, node)?;
    if node.op == "Concat" && node.inputs.len() > 1 {
        let holds = |v: &ValueId| !graph.dims(*v).contains(&0);
        if node.inputs.iter().flatten().any(holds) {
            // What has no elements adds none.
            node.inputs.retain(|v| v.as_ref().is_some_and(holds));
        }
    }
    if node.op == "DequantizeLinear" && !options.fold_dequantize {
        return Ok(true);
    }
    let fail = |reason: String| ImportError::Node { op: node.op.clone(), node: node.name.clone(), reason };
    let folded = fold::evaluate(graph, node, &types).map_err(fail)?;
    if let Some(folded) = folded {
        for (out, tensor) in node.outputs.iter().zip(folded) {
            if let Some(out) = *out {
                graph.set_constant(out, tensor);
            }
        }
        return Ok(false);
    }
    for (slot, (elem, dims)) in node.outputs.iter_mut().zip(&types) {
        if dims.contains(&0)
            && let Some(out) = slot.take()
        {
            graph.set_constant(out, fold::empty(dims, *elem));
        }
    }
    Ok(node.outputs.iter().any(Option::is_some))
}

/// Gives a node's outputs their types.
fn infer_outputs(graph: &mut Graph, node: &Node) -> Result<Types, ImportError> {
    let fail = |reason: String| ImportError::Node { op: node.op.clone(), node: node.name.clone(), reason };
    let types = infer_node(graph, node).map_err(fail)?;
    if node.outputs.len() > types.len() && node.outputs[types.len()..].iter().any(Option::is_some) {
        return Err(fail(format!(
            "has {} outputs, of which {} can be computed; export the model without the others",
            node.outputs.len(),
            types.len()
        )));
    }
    for (out, (elem, dims)) in node.outputs.iter().zip(&types) {
        let Some(out) = *out else { continue };
        if elements(dims).is_none() {
            return Err(fail(format!(
                "its output would have dimensions {dims:?}, more than {MAX_ELEMENTS} elements; check its attributes"
            )));
        }
        let value = graph.value_mut(out);
        value.elem = Some(*elem);
        value.dims = Some(dims.clone());
    }
    Ok(types)
}

/// Element types and dimensions of the outputs of one node, whose inputs have theirs.
pub(crate) fn infer_node(graph: &Graph, node: &Node) -> Result<Types, String> {
    let rule = rule(&node.op).ok_or("is not supported")?;
    let ctx = Ctx { graph, node };
    for &id in node.inputs.iter().flatten() {
        let v = graph.value(id);
        if v.dims.is_none() || v.elem.is_none() {
            return Err(format!("its input '{}' has no shape; it is defined after its use", v.name));
        }
    }
    rule(&ctx)
}

/// Whether the operator's outputs can be inferred.
pub(crate) fn has_rule(op: &str) -> bool {
    rule(op).is_some()
}

const TABLES: &[&[(&str, Rule)]] =
    &[elementwise::RULES, internal::RULES, layout::RULES, matrix::RULES, normal::RULES, spatial::RULES];

/// The rule of an operator; `None` for one that is not supported.
fn rule(op: &str) -> Option<Rule> {
    let listed = TABLES.iter().copied().flatten().find(|(name, _)| *name == op);
    listed.map(|&(_, rule)| rule).or_else(|| elementwise::rule(op))
}

/// All operators that graphs may hold.
pub(crate) fn operators() -> impl Iterator<Item = &'static str> {
    TABLES.iter().copied().flatten().map(|&(name, _)| name).chain(elementwise::groups())
}

/// Refuses NaN and infinity in the weights of operators that multiply and accumulate.
///
/// # Errors
/// [`ImportError::NonFinite`] for the first such element.
pub fn check_weights(graph: &Graph) -> Result<(), ImportError> {
    for node in &graph.nodes {
        let weights = match node.op.as_str() {
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "BatchNormalization" | "LSTM" | "GRU" => {
                &node.inputs
            }
            _ => continue,
        };
        for &id in weights.iter().flatten() {
            let Some(t) = graph.constant(id) else { continue };
            if let Some((index, value)) = non_finite(t) {
                return Err(ImportError::NonFinite {
                    tensor: graph.value(id).name.clone(),
                    op: node.op.clone(),
                    node: node.name.clone(),
                    index,
                    value,
                });
            }
        }
    }
    Ok(())
}

fn non_finite(t: &Tensor) -> Option<(usize, f64)> {
    match &t.data {
        Data::F32(v) => v.iter().position(|x| !x.is_finite()).map(|i| (i, f64::from(v[i]))),
        Data::F64(v) => v.iter().position(|x| !x.is_finite()).map(|i| (i, v[i])),
        Data::F16(v) => v.iter().position(|x| !x.is_finite()).map(|i| (i, v[i].to_f64())),
        Data::BF16(v) => v.iter().position(|x| !x.is_finite()).map(|i| (i, v[i].to_f64())),
        _ => None,
    }
}

/// A node with typed inputs, as rules see it.
pub(crate) struct Ctx<'a> {
    pub graph: &'a Graph,
    pub node: &'a Node,
}

impl<'a> Ctx<'a> {
    /// Dimensions of an input that must be there.
    pub fn dims(&self, i: usize) -> Result<&'a [usize], String> {
        self.opt_dims(i).ok_or_else(|| format!("needs input {i}, which is left out; export the model again"))
    }

    /// Dimensions of an input.
    pub fn opt_dims(&self, i: usize) -> Option<&'a [usize]> {
        self.node.input(i).map(|id| self.graph.dims(id))
    }

    /// Element type of an input that must be there.
    pub fn elem(&self, i: usize) -> Result<ElemType, String> {
        let id = self.node.input(i);
        id.map(|id| self.graph.elem(id)).ok_or_else(|| format!("needs input {i}, which is left out"))
    }

    /// Elements of an input that must be known at conversion.
    pub fn constant(&self, i: usize) -> Result<&'a Tensor, String> {
        self.opt_constant(i)?.ok_or_else(|| format!("needs input {i}, which is left out"))
    }

    /// Elements of an input that must be known at conversion if it is given.
    pub fn opt_constant(&self, i: usize) -> Result<Option<&'a Tensor>, String> {
        let Some(id) = self.node.input(i) else { return Ok(None) };
        match self.graph.constant(id) {
            Some(t) => Ok(Some(t)),
            None => Err(format!(
                "its input '{}' decides the shape of the output but is computed at run time; \
                 export the model with static shapes, or fix the input that it follows from with --fix",
                self.graph.value(id).name
            )),
        }
    }

    /// Integers of an input that must be known at conversion.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>, String> {
        self.opt_ints(i)?.ok_or_else(|| format!("needs input {i}, which is left out"))
    }

    /// Integers of an input that must be known at conversion if it is given.
    pub fn opt_ints(&self, i: usize) -> Result<Option<Vec<i64>>, String> {
        match self.opt_constant(i)? {
            None => Ok(None),
            Some(t) => match t.to_i64() {
                Some(v) => Ok(Some(v)),
                None => Err(format!("its input {i} must be integers, it is {}", t.elem())),
            },
        }
    }

    /// One integer of an input that must be known at conversion.
    pub fn int(&self, i: usize) -> Result<i64, String> {
        match self.ints(i)?.as_slice() {
            [x] => Ok(*x),
            v => Err(format!("its input {i} must be one integer, it has {}", v.len())),
        }
    }

    /// Number of outputs that the node lists.
    pub fn outputs(&self) -> usize {
        self.node.outputs.len()
    }
}
