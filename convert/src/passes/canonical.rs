//! Many spellings of one thing made one: variadic sums, squared powers, views, casts, constants on the left,
//! implicit windows.

use super::rewrite::{Index, add_constant, add_typed, node, output};
use crate::fold::cast;
use crate::graph::{Attr, ElemType, Graph, Node, Tensor, ValueId};
use crate::infer::{Ctx, broadcast, reduce_axes, transposed_window, window};

/// Rewrites node `i` into its one spelling.
pub fn canonical(graph: &mut Graph, _: &Index, i: usize) -> bool {
    let op = graph.nodes[i].op.clone();
    match op.as_str() {
        "Flatten" | "Squeeze" | "Unsqueeze" | "Reshape" => view(graph, i),
        "Sum" | "Max" | "Min" | "Mean" => variadic(graph, i),
        "CastLike" => cast_like(graph, i),
        "Pow" => pow(graph, i),
        "Sub" => subtract_constant(graph, i),
        "Div" => divide_by_power_of_two(graph, i),
        "Add" | "Mul" => constant_second(graph, i),
        "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" | "LpPool" => explicit_window(graph, i),
        "ReduceMean" | "ReduceMax" => global_pool(graph, i),
        "Gemm" => plain_gemm(graph, i),
        "MatMul" => rank_two_matmul(graph, i),
        _ => false,
    }
}

/// Every operator that only renames dimensions becomes a `Reshape` to a constant shape.
fn view(graph: &mut Graph, i: usize) -> bool {
    let n = &graph.nodes[i];
    let (Some(x), Some(y)) = (n.input(0), output(n)) else { return false };
    let dims: Vec<i64> = graph.dims(y).iter().map(|&d| d as i64).collect();
    let done = n.op == "Reshape"
        && n.attrs.is_empty()
        && n.input(1).and_then(|s| graph.constant(s)).and_then(|t| t.to_i64()).is_some_and(|s| s == dims);
    // A dimension of 0 in the shape would mean "as in the input".
    if done || dims.contains(&0) {
        return false;
    }
    let name = n.name.clone();
    let shape = add_constant(graph, &format!("{name}/shape"), Tensor::i64(&[dims.len()], dims));
    graph.nodes[i] = node("Reshape", &name, &[x, shape], y, &[]);
    true
}

fn variadic(graph: &mut Graph, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    let Some(y) = output(&n) else { return false };
    let inputs: Vec<ValueId> = n.inputs.iter().flatten().copied().collect();
    let binary = match n.op.as_str() {
        "Sum" | "Mean" => "Add",
        other => other,
    };
    if inputs.len() < 2 {
        graph.nodes[i] = node("Identity", &n.name, &inputs, y, &[]);
        return true;
    }
    if inputs.len() == 2 && n.op == binary {
        return false;
    }
    let elem = graph.elem(y);
    let mut acc = inputs[0];
    let mut chain = Vec::new();
    for (k, &next) in inputs.iter().enumerate().skip(1) {
        let last = k + 1 == inputs.len() && n.op != "Mean";
        let name = if last { n.name.clone() } else { format!("{}/{k}", n.name) };
        let dims = broadcast(graph.dims(acc), graph.dims(next)).unwrap_or_else(|_| graph.dims(y).to_vec());
        let out = if last { y } else { add_typed(graph, &name, elem, dims) };
        chain.push(node(binary, &name, &[acc, next], out, &[]));
        acc = out;
    }
    if n.op == "Mean" {
        let count = cast(&Tensor::f32(&[], vec![inputs.len() as f32]), elem);
        let count = add_constant(graph, &format!("{}/count", n.name), count);
        chain.push(node("Div", &n.name, &[acc, count], y, &[]));
    }
    graph.nodes.splice(i..=i, chain);
    true
}

fn cast_like(graph: &mut Graph, i: usize) -> bool {
    let n = &mut graph.nodes[i];
    let (Some(x), Some(y)) = (n.input(0), output(n)) else { return false };
    let name = n.name.clone();
    let to = crate::onnx::elem_number(graph.elem(y));
    graph.nodes[i] = node("Cast", &name, &[x], y, &[("to", Attr::Int(i64::from(to)))]);
    true
}

/// `x^2` is `x * x`, `x^0.5` is `sqrt(x)`, `x^1` is `x`.
fn pow(graph: &mut Graph, i: usize) -> bool {
    let n = &graph.nodes[i];
    let (Some(x), Some(e), Some(y)) = (n.input(0), n.input(1), output(n)) else { return false };
    let Some(exponent) = super::rewrite::uniform(graph, e) else { return false };
    if graph.dims(x) != graph.dims(y) {
        return false;
    }
    let name = n.name.clone();
    graph.nodes[i] = if exponent == 2.0 {
        node("Mul", &name, &[x, x], y, &[])
    } else if exponent == 0.5 && graph.elem(x).is_float() {
        node("Sqrt", &name, &[x], y, &[])
    } else if exponent == 1.0 {
        node("Identity", &name, &[x], y, &[])
    } else {
        return false;
    };
    true
}

/// `x - c` is `x + (-c)`, exactly.
fn subtract_constant(graph: &mut Graph, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    let (Some(x), Some(c), Some(y)) = (n.input(0), n.input(1), output(&n)) else { return false };
    let Some(t) = graph.constant(c).filter(|t| t.elem() == ElemType::F32).cloned() else { return false };
    let negative = Tensor::f32(&t.dims, t.to_f32().into_iter().map(|v| -v).collect());
    let c = add_constant(graph, &format!("{}/negative", graph.value(c).name.clone()), negative);
    graph.nodes[i] = node("Add", &n.name, &[x, c], y, &[]);
    true
}

/// `x / c` is `x * (1 / c)` where that is exact: all elements powers of two.
fn divide_by_power_of_two(graph: &mut Graph, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    let (Some(x), Some(c), Some(y)) = (n.input(0), n.input(1), output(&n)) else { return false };
    let Some(t) = graph.constant(c).filter(|t| t.elem() == ElemType::F32).cloned() else { return false };
    let v = t.to_f32();
    let exact = |x: f32| x.is_normal() && x.to_bits() & 0x007f_ffff == 0 && (1.0 / x).is_normal();
    if !v.iter().all(|&x| exact(x)) {
        return false;
    }
    let inverse = Tensor::f32(&t.dims, v.into_iter().map(|x| 1.0 / x).collect());
    let c = add_constant(graph, &format!("{}/inverse", graph.value(c).name.clone()), inverse);
    graph.nodes[i] = node("Mul", &n.name, &[x, c], y, &[]);
    true
}

fn constant_second(graph: &mut Graph, i: usize) -> bool {
    let n = &graph.nodes[i];
    let (Some(a), Some(b)) = (n.input(0), n.input(1)) else { return false };
    if graph.constant(a).is_none() || graph.constant(b).is_some() {
        return false;
    }
    graph.nodes[i].inputs = vec![Some(b), Some(a)];
    true
}

/// Kernel, strides, dilations and pads written out; `auto_pad` gone. `ceil_mode` becomes pads at the end, which
/// maxima and averages without the padding ignore.
fn explicit_window(graph: &mut Graph, i: usize) -> bool {
    let n = &graph.nodes[i];
    let ctx = Ctx { graph, node: n };
    let (Ok(x), conv) = (ctx.dims(0), n.op.starts_with("Conv")) else { return false };
    let Some(spatial) = x.get(2..) else { return false };
    let weights = if conv { ctx.dims(1).ok().and_then(|w| w.get(2..)) } else { None };
    let resolved = match (n.op.as_str(), weights) {
        ("ConvTranspose", Some(k)) => transposed_window(&ctx, spatial, k),
        _ => window(&ctx, spatial, weights),
    };
    let Ok(mut w) = resolved else { return false };
    let mut attrs = n.attrs.clone();
    for key in ["auto_pad", "storage_order", "output_shape"] {
        attrs.remove(key);
    }
    let averages = n.op == "AveragePool" && n.int("count_include_pad", 0) != 0;
    if n.int("ceil_mode", 0) != 0 && !averages {
        for (k, &size) in spatial.iter().enumerate() {
            let reach = (w.kernel[k] - 1) * w.dilations[k] + 1;
            let needed = (w.out[k].max(1) - 1) * w.strides[k] + reach;
            w.end[k] = needed.saturating_sub(size + w.begin[k]);
        }
        attrs.remove("ceil_mode");
    }
    let ints = |v: &[usize]| Attr::Ints(v.iter().map(|&x| x as i64).collect());
    if n.op == "ConvTranspose" {
        // An output that was asked for may be larger than what the windows reach.
        let extra = |k: usize| {
            let reach = (w.kernel[k] - 1) * w.dilations[k] + 1;
            (w.out[k] + w.begin[k] + w.end[k]).saturating_sub(w.strides[k] * (spatial[k] - 1) + reach)
        };
        let extra: Vec<usize> = (0..spatial.len()).map(extra).collect();
        if extra.iter().any(|&e| e > 0) {
            attrs.insert("output_padding".to_owned(), ints(&extra));
        }
    }
    attrs.insert("kernel_shape".to_owned(), ints(&w.kernel));
    attrs.insert("strides".to_owned(), ints(&w.strides));
    attrs.insert("dilations".to_owned(), ints(&w.dilations));
    attrs.insert("pads".to_owned(), ints(&[w.begin, w.end].concat()));
    if conv {
        attrs.entry("group".to_owned()).or_insert(Attr::Int(1));
    }
    if attrs == n.attrs {
        return false;
    }
    graph.nodes[i].attrs = attrs;
    true
}

/// A mean or maximum over all pixels, dimensions kept, is a global pooling.
fn global_pool(graph: &mut Graph, i: usize) -> bool {
    let n = &graph.nodes[i];
    let ctx = Ctx { graph, node: n };
    let (Ok(x), Ok(axes), Some(y)) = (ctx.dims(0), reduce_axes(&ctx), output(n)) else { return false };
    let float = n.input(0).is_some_and(|x| graph.elem(x).is_float());
    if x.len() != 4 || axes != [2, 3] || n.int("keepdims", 1) == 0 || !float {
        return false;
    }
    let op = if n.op == "ReduceMean" { "GlobalAveragePool" } else { "GlobalMaxPool" };
    let (name, input) = (n.name.clone(), n.inputs[0]);
    graph.nodes[i] = node(op, &name, &[], y, &[]);
    graph.nodes[i].inputs = vec![input];
    true
}

/// Constant weights of a `Gemm` as `[K, N]` with `alpha` in them, its bias as `[N]` with `beta` in it.
fn plain_gemm(graph: &mut Graph, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    let (Some(b), Some(y)) = (n.input(1), output(&n)) else { return false };
    let (alpha, beta, flip) = (n.float("alpha", 1.0), n.float("beta", 1.0), n.int("transB", 0) != 0);
    let width = graph.dims(y)[1];
    let weights = graph.constant(b).filter(|t| t.elem() == ElemType::F32 && t.dims.len() == 2).cloned();
    let bias = n.input(2).map(|c| graph.constant(c).filter(|t| t.elem() == ElemType::F32).cloned());
    let bias_fits =
        |t: &Tensor| (t.len() == 1 || t.len() == width) && t.dims.last().is_none_or(|&d| d == t.len());
    let (Some(w), true) = (weights, bias.as_ref().is_none_or(|t| t.as_ref().is_some_and(|t| bias_fits(t))))
    else {
        return false;
    };
    let plain_bias = bias.iter().flatten().all(|t| t.dims == [width]);
    if alpha == 1.0 && beta == 1.0 && !flip && plain_bias {
        return false;
    }
    if alpha != 1.0 || flip {
        let v = w.to_f32();
        let (k, m) = if flip { (w.dims[1], w.dims[0]) } else { (w.dims[0], w.dims[1]) };
        let at = |r: usize, c: usize| if flip { v[c * k + r] } else { v[r * m + c] };
        let moved = (0..k * m).map(|o| at(o / m, o % m) * alpha).collect();
        let id =
            add_constant(graph, &format!("{}/kn", graph.value(b).name.clone()), Tensor::f32(&[k, m], moved));
        graph.nodes[i].inputs[1] = Some(id);
    }
    if let Some(Some(t)) = bias
        && (beta != 1.0 || !plain_bias)
    {
        let v = t.to_f32();
        let wide = (0..width).map(|c| v[if v.len() == 1 { 0 } else { c }] * beta).collect();
        let id = add_constant(graph, &format!("{}/bias", n.name), Tensor::f32(&[width], wide));
        graph.nodes[i].inputs[2] = Some(id);
    }
    for key in ["alpha", "beta", "transB"] {
        graph.nodes[i].attrs.remove(key);
    }
    true
}

/// A product of a matrix with constant weights `[K, N]` is a `Gemm`.
fn rank_two_matmul(graph: &mut Graph, i: usize) -> bool {
    let n: &Node = &graph.nodes[i];
    let (Some(a), Some(b)) = (n.input(0), n.input(1)) else { return false };
    if graph.dims(a).len() != 2 || graph.dims(b).len() != 2 || graph.constant(b).is_none() {
        return false;
    }
    graph.nodes[i].op = "Gemm".to_owned();
    true
}
