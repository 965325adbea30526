//! Small ONNX models, made where a test needs one.

use std::path::PathBuf;

use cygnet_convert::onnx::schema::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use prost::Message;

/// A model in a file of its own.
pub struct Made {
    _folder: tempfile::TempDir,
    /// Where it lies.
    pub path: PathBuf,
}

/// A float32 input or output.
pub fn floats(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&d: &i64| DimensionProto { dim_value: Some(d), ..Default::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(shape) };
    let ty = TypeProto { tensor_type: Some(tensor), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(ty) }
}

/// A node with one output; a `Concat` is along dimension 0.
pub fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    let texts = |of: &[&str]| of.iter().map(|&s| s.to_owned()).collect();
    let mut node = NodeProto {
        op_type: Some(op.to_owned()),
        input: texts(inputs),
        output: texts(&[output]),
        ..Default::default()
    };
    if op == "Concat" {
        node.attribute.push(AttributeProto {
            name: Some("axis".to_owned()),
            i: Some(0),
            ..Default::default()
        });
    }
    node
}

/// A model of float32 vectors, named with their lengths.
pub fn made(inputs: &[(&str, i64)], nodes: Vec<NodeProto>, outputs: &[(&str, i64)]) -> Made {
    let ports = |of: &[(&str, i64)]| of.iter().map(|&(name, n)| floats(name, &[n])).collect();
    let graph =
        GraphProto { node: nodes, input: ports(inputs), output: ports(outputs), ..Default::default() };
    write(graph, 20)
}

/// A model of this graph, of a version of ONNX's own operators.
pub fn write(graph: GraphProto, version: i64) -> Made {
    let opset = OperatorSetIdProto { domain: None, version: Some(version) };
    let model = ModelProto { opset_import: vec![opset], graph: Some(graph), ..Default::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    Made { _folder: folder, path }
}
