//! Products of matrices with the addition behind them as their bias.

use super::rewrite::{Index, output};
use crate::graph::Graph;

/// Takes the `Add` `i` of a constant `[N]` into the `MatMul` or `Gemm` before it that has constant weights in
/// another type than float32, or weights computed at run time. (`fuse_affine` does so for float32 weights.)
pub fn fuse_bias(graph: &mut Graph, index: &Index, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    let (Some(x), Some(c), Some(y)) = (n.input(0), n.input(1), output(&n)) else { return false };
    let Some(at) = index.producer(x).filter(|_| n.op == "Add" && index.sole_user(x).is_some()) else {
        return false;
    };
    let product = &graph.nodes[at];
    let width = graph.dims(y).last().copied();
    let plain = match product.op.as_str() {
        "MatMul" => product.input(1).is_some_and(|w| graph.dims(w).len() == 2),
        "Gemm" => true,
        _ => false,
    };
    let vector =
        graph.constant(c).is_some() && graph.dims(c).len() == 1 && graph.dims(c).first().copied() == width;
    if !plain || !vector || product.input(2).is_some() || graph.dims(x) != graph.dims(y) {
        return false;
    }
    super::rewrite::kill(graph, i);
    let product = &mut graph.nodes[at];
    product.inputs.truncate(2);
    product.inputs.push(Some(c));
    product.attrs.remove("beta");
    product.outputs = vec![Some(y)];
    true
}
