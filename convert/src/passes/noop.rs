//! Nodes that change nothing, and pairs of nodes that are one.

use super::rewrite::{Index, add_constant, bypass, node, output, uniform};
use crate::graph::{Attr, Graph, Node, Tensor, ValueId};
use crate::infer::{Ctx, pads_of, permutation, slice_of};

/// Removes node `i` if its output always equals its input.
pub fn remove_noop(graph: &mut Graph, _: &Index, i: usize) -> bool {
    let n = &graph.nodes[i];
    let (Some(x), Some(y)) = (n.input(0), output(n)) else { return false };
    if graph.constant(x).is_some() || graph.dims(x) != graph.dims(y) || graph.elem(x) != graph.elem(y) {
        return false;
    }
    let ctx = Ctx { graph, node: n };
    let second_is = |v: f32| n.input(1).and_then(|c| uniform(graph, c)) == Some(v);
    let nothing = match n.op.as_str() {
        "Identity" | "Dropout" | "Cast" | "Reshape" | "Expand" => true,
        "Transpose" => keeps_sequence(&ctx),
        "Add" => second_is(0.0),
        "Mul" | "Div" | "Pow" => second_is(1.0),
        "Pad" => pads_of(&ctx).is_ok_and(|p| p.iter().all(|&p| p == (0, 0))),
        "Concat" => n.inputs.len() == 1,
        "Slice" => slice_of(&ctx).is_ok_and(|s| s.iter().all(|s| s.start == 0 && s.step == 1)),
        "Split" => true,
        "Tile" => true,
        "Resize" => exact_resize(graph, n),
        _ => false,
    };
    nothing && bypass(graph, i, y, x)
}

/// A resize by 1, which reads every pixel exactly.
fn exact_resize(graph: &Graph, n: &Node) -> bool {
    let mode = n.str("coordinate_transformation_mode", "half_pixel");
    let scale = n.input(2).filter(|&s| graph.dims(s) != [0]);
    mode.contains("half_pixel") && scale.is_none_or(|s| uniform(graph, s) == Some(1.0))
}

/// Whether a `Transpose` moves only dimensions of size 1.
fn keeps_sequence(ctx: &Ctx<'_>) -> bool {
    let (Ok(perm), Ok(dims)) = (permutation(ctx), ctx.dims(0)) else { return false };
    let moved: Vec<usize> = perm.into_iter().filter(|&p| dims[p] != 1).collect();
    moved.is_sorted()
}

/// Joins node `i` with the one before it, where both only rename or permute dimensions, or turns a permutation of
/// size-1 dimensions into a renaming.
pub fn merge_views(graph: &mut Graph, index: &Index, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    let (Some(x), Some(y)) = (n.input(0), output(&n)) else { return false };
    match n.op.as_str() {
        "Transpose" => {
            let ctx = Ctx { graph, node: &n };
            if keeps_sequence(&ctx) && !graph.dims(y).contains(&0) {
                let dims = graph.dims(y).iter().map(|&d| d as i64).collect::<Vec<_>>();
                let shape =
                    add_constant(graph, &format!("{}/shape", n.name), Tensor::i64(&[dims.len()], dims));
                graph.nodes[i] = node("Reshape", &n.name, &[x, shape], y, &[]);
                return true;
            }
            let Some(first) = index.made_by(graph, x, "Transpose") else { return false };
            let Some(source) = first.input(0) else { return false };
            let (Ok(p), Ok(q)) = (permutation(&Ctx { graph, node: first }), permutation(&ctx)) else {
                return false;
            };
            let perm = q.iter().map(|&k| p[k] as i64).collect();
            graph.nodes[i] = node("Transpose", &n.name, &[source], y, &[("perm", Attr::Ints(perm))]);
            true
        }
        "Reshape" => {
            let Some(first) = index.made_by(graph, x, "Reshape") else { return false };
            let Some(source) = first.input(0) else { return false };
            graph.nodes[i].inputs[0] = Some(source);
            true
        }
        _ => false,
    }
}

/// Joins two multiplications, or two additions, by constants that are scalar or of equal shape.
pub fn merge_constants(graph: &mut Graph, index: &Index, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    if !matches!(n.op.as_str(), "Add" | "Mul") {
        return false;
    }
    let (Some(x), Some(c), Some(y)) = (n.input(0), n.input(1), output(&n)) else { return false };
    let Some(first) = index.made_by(graph, x, &n.op) else { return false };
    let (Some(source), Some(d)) = (first.input(0), first.input(1)) else { return false };
    if index.sole_user(x).is_none() || graph.constant(source).is_some() {
        return false;
    }
    let (Some(a), Some(b)) = (float(graph, c), float(graph, d)) else { return false };
    if a.dims != b.dims && a.len() != 1 && b.len() != 1 || graph.dims(source) != graph.dims(y) {
        return false;
    }
    let wide = if a.len() >= b.len() { a.dims.clone() } else { b.dims.clone() };
    let count = a.len().max(b.len());
    let (va, vb) = (a.to_f32(), b.to_f32());
    let pick = |v: &[f32], k: usize| f64::from(v[if v.len() == 1 { 0 } else { k }]);
    let join = |k: usize| match n.op.as_str() {
        "Add" => (pick(&va, k) + pick(&vb, k)) as f32,
        _ => (pick(&va, k) * pick(&vb, k)) as f32,
    };
    let joined = Tensor::f32(&wide, (0..count).map(join).collect());
    let id = add_constant(graph, &format!("{}/constant", n.name), joined);
    graph.nodes[i].inputs = vec![Some(source), Some(id)];
    true
}

fn float(graph: &Graph, id: ValueId) -> Option<std::sync::Arc<Tensor>> {
    graph.constant(id).filter(|t| t.elem() == crate::graph::ElemType::F32 && !t.is_empty()).cloned()
}
