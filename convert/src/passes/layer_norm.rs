//! Layer normalizations that exporters spell out as means, differences and square roots.

use super::rewrite::{Index, add_constant, node, output, scalar_and_other};
use crate::graph::{Attr, ElemType, Graph, Tensor, ValueId};
use crate::infer::{Ctx, reduce_axes};

/// Recognizes `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon)` in the `Div` `i`, and the `Mul` and `Add` by
/// constants behind a `LayerNormalization` as its scale and bias.
pub fn fuse_layer_norm(graph: &mut Graph, index: &Index, i: usize) -> bool {
    match graph.nodes[i].op.as_str() {
        "Div" => division(graph, index, i).is_some(),
        "Mul" | "Add" => parameter(graph, index, i).is_some(),
        _ => false,
    }
}

fn division(graph: &mut Graph, index: &Index, i: usize) -> Option<()> {
    let n = graph.nodes[i].clone();
    let (d, root, y) = (n.input(0)?, n.input(1)?, output(&n)?);
    let (x, axis) = centred(graph, index, d)?;
    let sqrt = index.made_by(graph, root, "Sqrt")?;
    let (epsilon, variance) = scalar_and_other(graph, index.made_by(graph, sqrt.input(0)?, "Add")?)?;
    let mean = index.made_by(graph, variance, "ReduceMean")?;
    let square = index.made_by(graph, mean.input(0)?, "Mul")?;
    let same = square.input(0) == Some(d) && square.input(1) == Some(d);
    if !same || trailing_mean(graph, variance, index)? != axis || graph.elem(x) != ElemType::F32 {
        return None;
    }
    let dims = graph.dims(x)[axis..].to_vec();
    let count = dims.iter().product();
    let scale = add_constant(graph, &format!("{}/scale", n.name), Tensor::f32(&dims, vec![1.0; count]));
    let attrs = [("axis", Attr::Int(axis as i64)), ("epsilon", Attr::Float(epsilon))];
    graph.nodes[i] = node("LayerNormalization", &n.name, &[x, scale], y, &attrs);
    Some(())
}

/// `x` and the first reduced axis when `d` is `x - mean(x)` over trailing axes.
fn centred(graph: &Graph, index: &Index, d: ValueId) -> Option<(ValueId, usize)> {
    let sub = index.made_by(graph, d, "Sub")?;
    let (x, m) = (sub.input(0)?, sub.input(1)?);
    let mean = index.made_by(graph, m, "ReduceMean")?;
    (mean.input(0) == Some(x)).then_some(())?;
    Some((x, trailing_mean(graph, m, index)?))
}

/// The first axis of a mean over all axes from there on, dimensions kept.
fn trailing_mean(graph: &Graph, id: ValueId, index: &Index) -> Option<usize> {
    let mean = index.made_by(graph, id, "ReduceMean")?;
    let axes = reduce_axes(&Ctx { graph, node: mean }).ok()?;
    let rank = graph.dims(mean.input(0)?).len();
    let first = *axes.first()?;
    (mean.int("keepdims", 1) != 0 && axes == (first..rank).collect::<Vec<_>>()).then_some(first)
}

fn parameter(graph: &mut Graph, index: &Index, i: usize) -> Option<()> {
    let n = graph.nodes[i].clone();
    let (x, c, y) = (n.input(0)?, n.input(1)?, output(&n)?);
    index.sole_user(x)?;
    let at = index.producer(x)?;
    let norm = graph.nodes[at].clone();
    if norm.op != "LayerNormalization" || graph.dims(x) != graph.dims(y) || norm.outputs.len() > 1 {
        return None;
    }
    let rank = graph.dims(x).len();
    let axis = crate::infer::axis(norm.int("axis", -1), rank).ok()?;
    let dims = graph.dims(x)[axis..].to_vec();
    let factor = full(graph, c, &dims)?;
    let put = |graph: &mut Graph, slot: usize, values: Vec<f32>, part: &str| {
        let id = add_constant(graph, &format!("{}/{part}", n.name), Tensor::f32(&dims, values));
        let inputs = &mut graph.nodes[at].inputs;
        inputs.resize(inputs.len().max(slot + 1), None);
        inputs[slot] = Some(id);
    };
    if n.op == "Mul" {
        let scale = full(graph, norm.input(1)?, &dims)?;
        let bias = norm.input(2).map(|b| full(graph, b, &dims));
        if bias == Some(None) {
            return None;
        }
        put(graph, 1, scale.iter().zip(&factor).map(|(a, b)| a * b).collect(), "scale");
        if let Some(Some(bias)) = bias {
            put(graph, 2, bias.iter().zip(&factor).map(|(a, b)| a * b).collect(), "bias");
        }
    } else {
        let bias = match norm.input(2) {
            Some(b) => full(graph, b, &dims)?,
            None => vec![0.0; factor.len()],
        };
        put(graph, 2, bias.iter().zip(&factor).map(|(a, b)| a + b).collect(), "bias");
    }
    super::rewrite::kill(graph, i);
    graph.nodes[at].outputs = vec![Some(y)];
    Some(())
}

/// The constant `id` with one element for each of `dims`, which it must match or be scalar to.
fn full(graph: &Graph, id: ValueId, dims: &[usize]) -> Option<Vec<f32>> {
    let t = graph.constant(id).filter(|t| t.elem() == ElemType::F32)?;
    let v = t.to_f32();
    if v.len() == 1 {
        return Some(vec![v[0]; dims.iter().product()]);
    }
    let own: Vec<usize> = t.dims.iter().copied().skip_while(|&d| d == 1).collect();
    (own == dims || t.dims == dims).then_some(v)
}
