//! Rewrites of the graph that make it smaller and leave lowering fewer forms to know.
//!
//! [`simplify`] runs them until nothing changes. What it leaves:
//!
//! | operator | normal form |
//! | --- | --- |
//! | `Conv`, `ConvTranspose`, `MaxPool`, `AveragePool` | `kernel_shape`, `strides`, `dilations`, `pads` (and `group`) written out, no `auto_pad`; `ceil_mode` only for `AveragePool` with `count_include_pad`; scale, shift and batch normalization behind, and zero padding before, are taken in |
//! | `Gemm` | rank 2 by constant weights `[K, N]`, `alpha = beta = 1`, bias `[N]`; other Gemms (weights computed at run time, full-size C) keep their attributes |
//! | `MatMul` | rank N by constant weights `[K, N]` with an optional third input, bias `[N]`; or two values computed at run time, as in ONNX |
//! | `Reshape` | to a constant shape without 0 or -1; stands for `Flatten`, `Squeeze`, `Unsqueeze` and transposes of size-1 dimensions too |
//! | `Transpose` | never behind another one |
//! | `Add`, `Mul` | a constant is the second input; `Sub` of a constant is an `Add`, `Div` by powers of two a `Mul` |
//! | `Add`, `Max`, `Min` | two inputs; no `Sum`, no `Mean` |
//! | `Swish`, `HardSwish`, `HardSigmoid`, `Gelu`, `Mish` | one node each; `Swish` may have `alpha`: `x * sigmoid(alpha x)` |
//! | `LayerNormalization` | one node with constant scale and bias |
//! | `GlobalAveragePool`, `GlobalMaxPool` | also for means and maxima over both pixel axes of rank 4 |
//! | `Cast` | also for `CastLike` |
//! | `QuantizeLinear`, `DequantizeLinear` | around float operators, for QDQ and QOperator models alike; bounds of quantized values stand before as real ones |
//! | gone | `Identity` (unless an input or constant is an output), `Dropout`, `Constant`, `Shape`, `Size`, `Range`, `ConstantOfShape`, `BatchNormalization` of real numbers of up to 32 bits, `Pow` by 0.5, 1 and 2 |
//!
//! An output of the graph may be a constant. A node's name is that of the last source node that it stands for.

mod activation;
mod canonical;
mod cse;
mod dead;
mod fuse_affine;
mod fuse_pad;
mod layer_norm;
mod matmul;
mod narrow;
mod noop;
mod rewrite;
#[cfg(test)]
mod tests;

pub use dead::remove_dead;

use crate::error::ImportError;
use crate::graph::{Graph, absorb};
use crate::infer::{InferOptions, check_weights, infer};
use rewrite::{Index, hand_on, sweep};

/// Rewrites the node with this index if it can; returns whether it did. The index is of the graph as it is.
type Rule = fn(&mut Graph, &Index, usize) -> bool;

const RULES: &[Rule] = &[
    noop::remove_noop,
    canonical::canonical,
    noop::merge_views,
    activation::fuse_activation,
    layer_norm::fuse_layer_norm,
    fuse_affine::fuse_batch_norm,
    fuse_affine::fuse_affine,
    matmul::fuse_bias,
    narrow::bound_before_quantize,
    fuse_pad::fuse_pad,
    noop::merge_constants,
];

/// More rounds than any chain of rewrites needs; each makes the graph smaller or more regular.
const MAX_ROUNDS: usize = 32;

/// Brings a graph with inferred shapes into the normal form above. The numbers it computes change by rounding only.
///
/// # Errors
/// [`ImportError`] when a folded weight is not finite, or a rewrite contradicts shape inference.
pub fn simplify(graph: &mut Graph) -> Result<(), ImportError> {
    for _ in 0..MAX_ROUNDS {
        remove_dead(graph);
        let mut changed = cse::share(graph);
        for rule in RULES {
            changed |= drive(graph, *rule);
        }
        remove_dead(graph);
        // New nodes get shapes, old ones are checked; what became constant is folded.
        infer(graph, &InferOptions { fold_dequantize: false })?;
        if !changed {
            break;
        }
    }
    check_weights(graph)
}

fn drive(graph: &mut Graph, rule: Rule) -> bool {
    let mut index = Index::of(graph);
    let mut changed = false;
    let mut i = 0;
    while i < graph.nodes.len() {
        let alive = !graph.nodes[i].outputs.is_empty();
        let own = graph.nodes[i].sources.clone();
        if alive && rule(graph, &index, i) {
            changed = true;
            // A node in the place of another stands for what that did.
            if !graph.nodes[i].outputs.is_empty() {
                absorb(&mut graph.nodes[i].sources, &own);
            }
            hand_on(graph);
            index = Index::of(graph);
        }
        i += 1;
    }
    sweep(graph);
    changed
}
