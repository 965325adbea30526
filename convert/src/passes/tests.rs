//! Tiny graphs with results computed by hand.

use super::simplify;
use crate::graph::{Attr, ElemType, Graph, Node, Tensor, ValueId};
use crate::infer::{InferOptions, infer};

fn input(g: &mut Graph, name: &str, dims: &[usize]) -> ValueId {
    let id = g.add_value(name);
    let v = g.value_mut(id);
    (v.elem, v.dims) = (Some(ElemType::F32), Some(dims.to_vec()));
    g.inputs.push(id);
    id
}

fn constant(g: &mut Graph, dims: &[usize], v: &[f32]) -> ValueId {
    let name = format!("c{}", g.values.len());
    g.add_constant(name, Tensor::f32(dims, v.to_vec()))
}

fn apply(g: &mut Graph, op: &str, inputs: &[ValueId], attrs: &[(&str, Attr)]) -> ValueId {
    let out = g.add_value(format!("v{}", g.values.len()));
    let name = format!("n{}", g.nodes.len());
    g.nodes.push(Node {
        op: op.to_owned(),
        name,
        inputs: inputs.iter().map(|&i| Some(i)).collect(),
        outputs: vec![Some(out)],
        attrs: attrs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        sources: Vec::new(),
    });
    out
}

/// Infers and simplifies a graph with this output; returns its operators.
fn run(g: &mut Graph, y: ValueId) -> Vec<String> {
    g.outputs.push(y);
    infer(g, &InferOptions { fold_dequantize: true }).unwrap();
    simplify(g).unwrap();
    assert_eq!(g.outputs.len(), 1);
    g.nodes.iter().map(|n| n.op.clone()).collect()
}

fn values(g: &Graph, node: usize, input: usize) -> Vec<f32> {
    g.constant(g.nodes[node].input(input).unwrap()).unwrap().to_f32()
}

#[test]
fn batch_normalization_goes_into_the_convolution() {
    let mut g = Graph::default();
    let x = input(&mut g, "x", &[1, 1, 2, 2]);
    let (w, b) = (constant(&mut g, &[1, 1, 1, 1], &[2.0]), constant(&mut g, &[1], &[1.0]));
    let c = apply(&mut g, "Conv", &[x, w, b], &[]);
    let p: Vec<ValueId> = [3.0, 1.0, 2.0, 4.0].iter().map(|&v| constant(&mut g, &[1], &[v])).collect();
    let y =
        apply(&mut g, "BatchNormalization", &[c, p[0], p[1], p[2], p[3]], &[("epsilon", Attr::Float(0.0))]);
    assert_eq!(run(&mut g, y), ["Conv"]);
    // Scale 3 / sqrt(4) = 1.5; bias (1 - 2) * 1.5 + 1.
    assert_eq!((values(&g, 0, 1), values(&g, 0, 2)), (vec![3.0], vec![-0.5]));
}

#[test]
fn scales_follow_the_channels_of_grouped_transposed_convolutions() {
    let mut g = Graph::default();
    let x = input(&mut g, "x", &[1, 4, 1, 1]);
    // Two groups of two inputs and one output each: weights of inputs 0, 1 make output 0.
    let w = constant(&mut g, &[4, 1, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
    let c = apply(&mut g, "ConvTranspose", &[x, w], &[("group", Attr::Int(2))]);
    let s = constant(&mut g, &[2, 1, 1], &[10.0, 100.0]);
    let y = apply(&mut g, "Mul", &[c, s], &[]);
    assert_eq!(run(&mut g, y), ["ConvTranspose"]);
    assert_eq!(values(&g, 0, 1), [10.0, 20.0, 300.0, 400.0]);
}

#[test]
fn a_convolution_that_is_read_twice_is_left_alone() {
    let mut g = Graph::default();
    let x = input(&mut g, "x", &[1, 1, 2, 2]);
    let w = constant(&mut g, &[1, 1, 1, 1], &[2.0]);
    let c = apply(&mut g, "Conv", &[x, w], &[]);
    let s = constant(&mut g, &[], &[3.0]);
    let m = apply(&mut g, "Mul", &[c, s], &[]);
    let y = apply(&mut g, "Add", &[m, c], &[]);
    assert_eq!(run(&mut g, y), ["Conv", "Mul", "Add"]);
    assert_eq!(values(&g, 0, 1), [2.0]);
}

#[test]
fn zero_padding_becomes_the_pads_of_a_convolution_and_other_padding_stays() {
    for (fill, expected) in [(0.0, vec!["Conv"]), (1.0, vec!["Pad", "Conv"])] {
        let mut g = Graph::default();
        let x = input(&mut g, "x", &[1, 1, 3, 3]);
        let pads = g.add_constant("pads", Tensor::i64(&[8], vec![0, 0, 1, 2, 0, 0, 3, 4]));
        let fill = constant(&mut g, &[], &[fill]);
        let p = apply(&mut g, "Pad", &[x, pads, fill], &[]);
        let w = constant(&mut g, &[1, 1, 1, 1], &[2.0]);
        let y = apply(&mut g, "Conv", &[p, w], &[("pads", Attr::Ints(vec![1, 0, 0, 0]))]);
        assert_eq!(run(&mut g, y), expected);
        if expected.len() == 1 {
            assert_eq!(g.nodes[0].ints("pads").unwrap(), [2, 2, 3, 4]);
        }
        assert_eq!(g.dims(g.outputs[0]), [1, 1, 8, 9]);
    }
}

#[test]
fn spelled_out_activations_are_recognized() {
    for (op, build) in [
        (
            "Swish",
            (|g, x| {
                let s = apply(g, "Sigmoid", &[x], &[]);
                apply(g, "Mul", &[s, x], &[])
            }) as fn(&mut Graph, ValueId) -> ValueId,
        ),
        ("HardSwish", |g, x| {
            let (three, zero, six) =
                (constant(g, &[], &[3.0]), constant(g, &[], &[0.0]), constant(g, &[], &[6.0]));
            let a = apply(g, "Add", &[three, x], &[]);
            let c = apply(g, "Clip", &[a, zero, six], &[]);
            let m = apply(g, "Mul", &[x, c], &[]);
            apply(g, "Div", &[m, six], &[])
        }),
        ("Gelu", |g, x| {
            let (root, one, half) =
                (constant(g, &[], &[2f32.sqrt()]), constant(g, &[], &[1.0]), constant(g, &[], &[0.5]));
            let d = apply(g, "Div", &[x, root], &[]);
            let e = apply(g, "Erf", &[d], &[]);
            let a = apply(g, "Add", &[e, one], &[]);
            let m = apply(g, "Mul", &[x, a], &[]);
            apply(g, "Mul", &[m, half], &[])
        }),
        ("Mish", |g, x| {
            let s = apply(g, "Softplus", &[x], &[]);
            let t = apply(g, "Tanh", &[s], &[]);
            apply(g, "Mul", &[x, t], &[])
        }),
    ] {
        let mut g = Graph::default();
        let x = input(&mut g, "x", &[2, 3]);
        let y = build(&mut g, x);
        assert_eq!(run(&mut g, y), [op]);
    }
}

#[test]
fn sigmoid_of_another_value_is_no_swish() {
    let mut g = Graph::default();
    let (x, z) = (input(&mut g, "x", &[2, 3]), input(&mut g, "z", &[2, 3]));
    let s = apply(&mut g, "Sigmoid", &[z], &[]);
    let y = apply(&mut g, "Mul", &[s, x], &[]);
    assert_eq!(run(&mut g, y), ["Sigmoid", "Mul"]);
}

#[test]
fn layer_normalization_takes_its_scale_and_bias() {
    let mut g = Graph::default();
    let x = input(&mut g, "x", &[1, 2, 3]);
    let axes = g.add_constant("axes", Tensor::i64(&[1], vec![-1]));
    let mean = apply(&mut g, "ReduceMean", &[x, axes], &[]);
    let d = apply(&mut g, "Sub", &[x, mean], &[]);
    let two = constant(&mut g, &[], &[2.0]);
    let square = apply(&mut g, "Pow", &[d, two], &[]);
    let variance = apply(&mut g, "ReduceMean", &[square, axes], &[]);
    let epsilon = constant(&mut g, &[], &[0.25]);
    let shifted = apply(&mut g, "Add", &[variance, epsilon], &[]);
    let root = apply(&mut g, "Sqrt", &[shifted], &[]);
    let q = apply(&mut g, "Div", &[d, root], &[]);
    let (s, b) = (constant(&mut g, &[3], &[1.0, 2.0, 3.0]), constant(&mut g, &[3], &[4.0, 5.0, 6.0]));
    let m = apply(&mut g, "Mul", &[q, s], &[]);
    let y = apply(&mut g, "Add", &[m, b], &[]);
    assert_eq!(run(&mut g, y), ["LayerNormalization"]);
    assert_eq!((values(&g, 0, 1), values(&g, 0, 2)), (vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]));
    assert_eq!((g.nodes[0].int("axis", 0), g.nodes[0].float("epsilon", 0.0)), (2, 0.25));
}

#[test]
fn an_output_keeps_its_name_when_its_node_goes() {
    let mut g = Graph::default();
    let x = input(&mut g, "x", &[2, 3]);
    let r = apply(&mut g, "Relu", &[x], &[]);
    let y = apply(&mut g, "Identity", &[r], &[]);
    let name = g.value(y).name.clone();
    assert_eq!(run(&mut g, y), ["Relu"]);
    assert_eq!(g.value(g.outputs[0]).name, name);
    assert_eq!(g.nodes[0].outputs, [Some(g.outputs[0])]);
}

#[test]
fn bounds_of_quantized_values_go_before() {
    use crate::graph::Data;
    let mut g = Graph::default();
    let x = input(&mut g, "x", &[2]);
    let s = constant(&mut g, &[], &[0.5]);
    let [z, top] = [10, 127].map(|v| g.add_constant(format!("u{v}"), Tensor::new(vec![], Data::U8(vec![v]))));
    let q = apply(&mut g, "QuantizeLinear", &[x, s, z], &[]);
    let least = apply(&mut g, "Max", &[q, z], &[]);
    let most = apply(&mut g, "Min", &[least, top], &[]);
    let y = apply(&mut g, "DequantizeLinear", &[most, s, z], &[]);
    assert_eq!(run(&mut g, y), ["Clip", "Clip", "QuantizeLinear", "DequantizeLinear"]);
    // (10 - 10) / 2 and (127 - 10) / 2.
    assert_eq!((values(&g, 0, 1), values(&g, 1, 2)), (vec![0.0], vec![58.5]));
}
