//! Multiplications and additions by per-channel constants, and batch normalizations, taken into the weights and
//! bias of the convolution or product before them.

use super::rewrite::{Index, add_constant, add_typed, node, output};
use crate::graph::{Attr, ElemType, Graph, Node, Tensor, ValueId};
use crate::onnx::elem_number;

/// Folds node `i` (`Mul`, `Div` or `Add` with a constant) into the linear operator that feeds it alone.
pub fn fuse_affine(graph: &mut Graph, index: &Index, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    let (Some(x), Some(c), Some(y)) = (n.input(0), n.input(1), output(&n)) else { return false };
    if !matches!(n.op.as_str(), "Add" | "Mul" | "Div") || graph.dims(x) != graph.dims(y) {
        return false;
    }
    let Some(linear) = Linear::before(graph, index, x) else { return false };
    let Some(values) = per_channel(graph, c, graph.dims(x), linear.axis(graph)) else { return false };
    let (mul, add) = match n.op.as_str() {
        "Add" => (vec![1.0; values.len()], values),
        "Mul" => (values.clone(), vec![0.0; values.len()]),
        _ if values.contains(&0.0) => return false,
        _ => (values.iter().map(|v| 1.0 / v).collect(), vec![0.0; values.len()]),
    };
    linear.apply(graph, index, i, y, &mul, &add)
}

/// Folds the `BatchNormalization` `i` into the linear operator before it, or else writes it as `Mul` and `Add`.
pub fn fuse_batch_norm(graph: &mut Graph, index: &Index, i: usize) -> bool {
    let n = graph.nodes[i].clone();
    let (Some(x), Some(y)) = (n.input(0), output(&n)) else { return false };
    if n.op != "BatchNormalization" {
        return false;
    }
    let params: Option<Vec<Vec<f32>>> =
        (1..5).map(|k| n.input(k).and_then(|p| graph.constant(p)).map(|t| t.to_f32())).collect();
    let Some([scale, bias, mean, var]) = params.as_deref() else { return false };
    let epsilon = f64::from(n.float("epsilon", 1e-5));
    let mul: Vec<f64> =
        scale.iter().zip(var).map(|(&s, &v)| f64::from(s) / (f64::from(v) + epsilon).sqrt()).collect();
    let add: Vec<f64> =
        bias.iter().zip(mean).zip(&mul).map(|((&b, &m), s)| f64::from(b) - f64::from(m) * s).collect();
    if let Some(linear) = Linear::before(graph, index, x)
        && linear.axis(graph) == 1
        && linear.apply(graph, index, i, y, &mul, &add)
    {
        return true;
    }
    let (elem, rank) = (graph.elem(x), graph.dims(x).len());
    let narrow = matches!(elem, ElemType::F16 | ElemType::BF16);
    if elem != ElemType::F32 && !narrow {
        return false;
    }
    let mut dims = vec![1; rank.saturating_sub(1)];
    dims[0] = mul.len();
    let single = |v: &[f64]| Tensor::f32(&dims, v.iter().map(|&v| v as f32).collect());
    let mul = add_constant(graph, &format!("{}/scale", n.name), single(&mul));
    let add = add_constant(graph, &format!("{}/shift", n.name), single(&add));
    let dims = graph.dims(x).to_vec();
    let mut made = |what: &str| add_typed(graph, &format!("{}/{what}", n.name), ElemType::F32, dims.clone());
    let scaled = made("scaled");
    let part = |what: &str| format!("{}/{what}", n.name);
    let (from, to) = if narrow { (made("wide"), made("shifted")) } else { (x, y) };
    let mut nodes = vec![
        node("Mul", &part("scaled"), &[from, mul], scaled, &[]),
        node("Add", &n.name, &[scaled, add], to, &[]),
    ];
    if narrow {
        // Scale and shift are those of float32, which narrower ones would round.
        let cast = |elem| [("to", Attr::Int(i64::from(elem_number(elem))))];
        nodes.insert(0, node("Cast", &part("wide"), &[x], from, &cast(ElemType::F32)));
        nodes.push(node("Cast", &part("narrow"), &[to], y, &cast(elem)));
    }
    graph.nodes.splice(i..=i, nodes);
    true
}

/// A convolution or product with constant weights whose output goes to one place.
struct Linear {
    at: usize,
    weights: ValueId,
    bias: Option<ValueId>,
}

impl Linear {
    fn before(graph: &Graph, index: &Index, x: ValueId) -> Option<Self> {
        index.sole_user(x)?;
        let at = index.producer(x)?;
        let n: &Node = &graph.nodes[at];
        let weights = n.input(1)?;
        let is_f32 = |id: ValueId| graph.constant(id).is_some_and(|t| t.elem() == ElemType::F32);
        let known = match n.op.as_str() {
            "Conv" | "ConvTranspose" => true,
            "MatMul" => graph.dims(weights).len() == 2 && graph.dims(n.input(0)?).len() >= 2,
            "Gemm" => {
                ["alpha", "beta", "transB"].iter().all(|k| !n.attrs.contains_key(*k))
                    && n.input(2).is_none_or(|b| graph.dims(b).len() == 1)
            }
            _ => false,
        };
        let bias = n.input(2);
        (known && is_f32(weights) && bias.is_none_or(is_f32)).then_some(Self { at, weights, bias })
    }

    /// The output axis that the bias runs along.
    fn axis(&self, graph: &Graph) -> usize {
        let n = &graph.nodes[self.at];
        match (n.op.as_str(), n.outputs.first()) {
            ("MatMul", Some(Some(y))) => graph.dims(*y).len() - 1,
            _ => 1,
        }
    }

    /// Scales and shifts the operator's output by channel, and lets it compute `y` in place of node `i`.
    fn apply(
        &self,
        graph: &mut Graph,
        index: &Index,
        i: usize,
        y: ValueId,
        mul: &[f64],
        add: &[f64],
    ) -> bool {
        let (Some(w), old) = (graph.constant(self.weights).cloned(), graph.nodes[self.at].clone()) else {
            return false;
        };
        let group = usize::try_from(old.int("group", 1)).unwrap_or(1);
        let channels = mul.len();
        // How many elements each channel's run has, and which channel a run belongs to.
        let dims = &w.dims;
        let (run, count): (usize, usize) = match old.op.as_str() {
            "Conv" => (dims[1..].iter().product(), dims[0]),
            "ConvTranspose" => (dims[2..].iter().product(), dims[1]),
            _ => (1, dims[1]),
        };
        let per_group = match old.op.as_str() {
            "ConvTranspose" => dims[0] / group,
            _ => usize::MAX,
        };
        let channel = |k: usize| {
            let r = k / run.max(1);
            let within = r % count;
            if old.op == "ConvTranspose" { r / count / per_group * count + within } else { within }
        };
        if w.is_empty() || old.op != "ConvTranspose" && count != channels || count * group.max(1) < channels {
            return false;
        }
        let scaled: Vec<f32> =
            w.to_f32().iter().enumerate().map(|(k, &v)| (f64::from(v) * mul[channel(k)]) as f32).collect();
        let bias = self.bias.and_then(|b| graph.constant(b)).map_or(vec![0.0; channels], |t| t.to_f32());
        let bias = (0..channels).map(|c| (f64::from(bias[c]) * mul[c] + add[c]) as f32).collect::<Vec<f32>>();
        if bias.iter().chain(&scaled).any(|v| !v.is_finite()) {
            return false;
        }
        if mul.iter().any(|&m| m != 1.0) {
            let id = add_constant(
                graph,
                &format!("{}/scaled", graph.value(self.weights).name.clone()),
                Tensor::f32(dims, scaled),
            );
            graph.nodes[self.at].inputs[1] = Some(id);
        }
        if self.bias.is_some() || bias.iter().any(|&b| b != 0.0) {
            let id = add_constant(graph, &format!("{}/bias", old.name), Tensor::f32(&[channels], bias));
            graph.nodes[self.at].inputs.truncate(2);
            graph.nodes[self.at].inputs.push(Some(id));
        }
        debug_assert!(index.producer(y) == Some(i));
        super::rewrite::kill(graph, i);
        graph.nodes[self.at].outputs = vec![Some(y)];
        true
    }
}

/// The constant `c` as one number per index of `axis`, when broadcasting it to `dims` varies along that axis alone.
fn per_channel(graph: &Graph, c: ValueId, dims: &[usize], axis: usize) -> Option<Vec<f64>> {
    let t = graph.constant(c).filter(|t| t.elem() == ElemType::F32 && !t.is_empty())?;
    let v: Vec<f64> = t.to_f32().into_iter().map(f64::from).collect();
    if v.len() == 1 {
        return Some(vec![v[0]; dims[axis]]);
    }
    let skip = dims.len().checked_sub(t.dims.len())?;
    let along = t.dims.iter().enumerate().all(|(k, &d)| d == 1 || k + skip == axis);
    (along && v.len() == dims[axis]).then_some(v)
}
