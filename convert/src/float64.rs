//! float64: what a model computes with doubles before the constants are known stays what it is, or is refused.
//!
//! Constants are folded in f64. While a program runs, doubles are float32: moving them, choosing between them and
//! converting them gives the double that is meant, rounded once. Arithmetic would round more often, and comparisons
//! could find equal what is not; nodes that do such are kept in a list, and refused unless the user allows it.

use crate::error::{ImportError, UnsupportedOp};
use crate::graph::{Data, ElemType, Graph, Node, ValueId};

/// Operators whose results are elements of their inputs, or those rounded, whatever the width.
#[rustfmt::skip]
const EXACT: &[&str] = &[
    "Abs", "Cast", "CastLike", "Clip", "Compress", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather",
    "GatherElements", "GatherND", "GlobalMaxPool", "Identity", "IsInf", "IsNaN", "Max", "MaxPool", "Min", "Neg", "Pad",
    "ReduceMax", "ReduceMin", "Relu", "Reshape", "ReverseSequence", "Shape", "Sign", "Size", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
];

/// Comparisons: exact where both sides are float32 numbers in double's clothes.
const COMPARISONS: &[&str] = &["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"];

/// Whether a value of doubles is known to hold none that float32 lacks: it is converted from a narrower type, or a
/// constant of such numbers.
fn is_narrow(graph: &Graph, v: ValueId) -> bool {
    if let Some(t) = graph.constant(v) {
        return match &t.data {
            Data::F64(values) => values.iter().all(|&x| x.is_nan() || f64::from(x as f32) == x),
            _ => true,
        };
    }
    let maker = graph.nodes.iter().rev().find(|n| n.outputs.contains(&Some(v)));
    maker.filter(|n| n.op == "Cast").and_then(|n| n.input(0)).is_some_and(|from| {
        use ElemType::{BF16, Bool, F16, F32, I8, I16, U8, U16};
        matches!(graph.elem(from), F32 | F16 | BF16 | I8 | U8 | I16 | U16 | Bool)
    })
}

/// A node that computes with doubles while the model runs.
#[derive(Clone, Debug)]
pub struct Doubled {
    op: String,
    node: String,
    outputs: Vec<ValueId>,
}

impl Doubled {
    /// What there is to keep of a node, if that is one.
    pub(crate) fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let runs = |v: &ValueId| {
            let value = graph.value(*v);
            value.elem == Some(ElemType::F64) && value.constant.is_none()
        };
        if COMPARISONS.contains(&node.op.as_str())
            && node.inputs.iter().flatten().all(|&v| is_narrow(graph, v))
        {
            return None;
        }
        let found = !EXACT.contains(&node.op.as_str()) && node.inputs.iter().flatten().any(runs);
        found.then(|| Self {
            op: node.op.clone(),
            node: node.name.clone(),
            outputs: node.outputs.iter().flatten().copied().collect(),
        })
    }
}

/// Refuses a graph without dead nodes in which doubles are computed with.
///
/// # Errors
/// [`ImportError::Float64`] names all such nodes.
pub(crate) fn check(graph: &Graph) -> Result<(), ImportError> {
    let live = |v: &ValueId| graph.is_result(*v) || graph.nodes.iter().any(|n| n.outputs.contains(&Some(*v)));
    let mut operators: Vec<UnsupportedOp> = Vec::new();
    for d in graph.float64.iter().filter(|d| d.outputs.iter().any(live)) {
        let known = operators.iter().position(|o| o.op == d.op);
        let at = known.unwrap_or_else(|| {
            operators.push(UnsupportedOp { op: d.op.clone(), nodes: Vec::new() });
            operators.len() - 1
        });
        if !operators[at].nodes.contains(&d.node) {
            operators[at].nodes.push(d.node.clone());
        }
    }
    if operators.is_empty() { Ok(()) } else { Err(ImportError::Float64 { operators }) }
}
