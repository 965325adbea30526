//! Results computed by hand from ONNX's definitions.

use super::evaluate;
use crate::graph::{Attr, Data, Graph, Node, Tensor};
use crate::infer::infer_node;

fn fold(op: &str, inputs: &[Tensor], attrs: &[(&str, Attr)]) -> Tensor {
    let mut g = Graph::default();
    let ids =
        inputs.iter().enumerate().map(|(i, t)| Some(g.add_constant(format!("c{i}"), t.clone()))).collect();
    let out = g.add_value("out");
    let attrs = attrs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let node = Node {
        op: op.into(),
        name: op.into(),
        inputs: ids,
        outputs: vec![Some(out)],
        attrs,
        sources: Vec::new(),
    };
    let types = infer_node(&g, &node).unwrap();
    evaluate(&g, &node, &types).unwrap().unwrap().remove(0)
}

fn ints(v: &[i64]) -> Tensor {
    Tensor::i64(&[v.len()], v.to_vec())
}

#[test]
fn integer_division_truncates_and_mod_follows_the_divisor() {
    let (a, b) = (ints(&[7, -7, 7, -7]), ints(&[2, 2, -2, -2]));
    assert_eq!(fold("Div", &[a.clone(), b.clone()], &[]), ints(&[3, -3, -3, 3]));
    let b = ints(&[3, 3, -3, -3]);
    assert_eq!(fold("Mod", &[a.clone(), b.clone()], &[]), ints(&[1, 2, -2, -1]));
    assert_eq!(fold("Mod", &[a, b], &[("fmod", Attr::Int(1))]), ints(&[1, -1, 1, -1]));
    let real = |v: [f32; 4]| Tensor::f32(&[4], v.to_vec());
    let (a, b) = (real([7.0, -7.0, 7.0, -7.0]), real([2.5, 2.5, -2.5, -2.5]));
    assert_eq!(fold("Mod", &[a.clone(), b.clone()], &[]), real([2.0, 0.5, -0.5, -2.0]));
    assert_eq!(fold("Mod", &[a, b], &[("fmod", Attr::Int(1))]), real([2.0, -2.0, 2.0, -2.0]));
}

#[test]
fn moves_follow_their_indices() {
    let x = Tensor::i64(&[2, 3], vec![1, 2, 3, 4, 5, 6]);
    let perm = [("perm", Attr::Ints(vec![1, 0]))];
    assert_eq!(
        fold("Transpose", std::slice::from_ref(&x), &perm),
        Tensor::i64(&[3, 2], vec![1, 4, 2, 5, 3, 6])
    );
    let slice = [x.clone(), ints(&[-1]), ints(&[i64::MIN]), ints(&[1]), ints(&[-2])];
    assert_eq!(fold("Slice", &slice, &[]), Tensor::i64(&[2, 2], vec![3, 1, 6, 4]));
    let axis = [("axis", Attr::Int(1))];
    assert_eq!(fold("Gather", &[x.clone(), ints(&[-1, 0])], &axis), Tensor::i64(&[2, 2], vec![3, 1, 6, 4]));
    let pads = [x.clone(), ints(&[0, 1, 0, -1]), Tensor::i64(&[], vec![9])];
    assert_eq!(fold("Pad", &pads, &[]), Tensor::i64(&[2, 3], vec![9, 1, 2, 9, 4, 5]));
    assert_eq!(fold("Concat", &[x.clone(), x.clone()], &axis).dims, [2, 6]);
    assert_eq!(fold("CumSum", &[x, ints(&[1])], &[]), Tensor::i64(&[2, 3], vec![1, 3, 6, 4, 9, 15]));
}

#[test]
fn quantization_rounds_to_even_and_saturates() {
    let x = Tensor::f32(&[4], vec![0.5, 1.5, -1000.0, 1000.0]);
    let (scale, zero) = (Tensor::f32(&[], vec![1.0]), Tensor::new(vec![], Data::U8(vec![10])));
    let q = fold("QuantizeLinear", &[x, scale, zero], &[]);
    assert_eq!(q.data, Data::U8(vec![10, 12, 0, 255]));
    let w = Tensor::new(vec![2, 2], Data::I8(vec![1, -2, 3, -128]));
    let (scale, zero) = (Tensor::f32(&[2], vec![0.5, 2.0]), Tensor::new(vec![2], Data::I8(vec![0, 1])));
    let real = fold("DequantizeLinear", &[w, scale, zero], &[("axis", Attr::Int(0))]);
    assert_eq!(real, Tensor::f32(&[2, 2], vec![0.5, -1.0, 4.0, -258.0]));
}
