//! Inputs of element types that an operator does not take are refused, by node, type and what is accepted.

use cygnet_convert::ImportOptions;
use cygnet_convert::onnx::import_bytes;
use cygnet_convert::onnx::schema::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};
use prost::Message;

const FLOAT: i32 = 1;
const INT32: i32 = 6;
const BOOL: i32 = 9;
const UINT32: i32 = 12;

fn port(name: &str, elem: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&d| DimensionProto { dim_value: Some(d), dim_param: None });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: Some(elem), shape });
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type, ..Default::default() }),
    }
}

/// A model of one node over inputs of these types.
fn one(op: &str, elems: &[i32]) -> Result<(), String> {
    let names = ["a", "b", "c"];
    let node = NodeProto {
        op_type: Some(op.to_owned()),
        name: Some("the node".to_owned()),
        input: names[..elems.len()].iter().map(|&n| n.to_owned()).collect(),
        output: vec!["y".to_owned()],
        ..Default::default()
    };
    let graph = GraphProto {
        input: names.iter().zip(elems).map(|(n, &e)| port(n, e, &[1, 2, 4, 4])).collect(),
        output: vec![port("y", FLOAT, &[])],
        node: vec![node],
        ..Default::default()
    };
    let set = OperatorSetIdProto { domain: None, version: Some(18) };
    let model =
        ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![set], ..Default::default() };
    import_bytes(&model.encode_to_vec(), &ImportOptions::default()).map(|_| ()).map_err(|e| e.to_string())
}

/// What ONNX's operator schemas say: https://onnx.ai/onnx/operators.
#[test]
fn another_type_is_refused_with_what_is_taken() {
    for (op, elems, wrong, is, takes) in [
        ("Conv", &[INT32, FLOAT][..], "input 0 'a'", "int32", "float32, float16, bfloat16, float64"),
        ("Conv", &[FLOAT, BOOL], "input 1 'b'", "bool", "float32, float16, bfloat16, float64"),
        ("And", &[BOOL, FLOAT], "input 1 'b'", "float32", "takes bool there"),
        ("Gather", &[FLOAT, FLOAT], "input 1 'b'", "float32", "takes int32, int64 there"),
        ("Where", &[FLOAT, FLOAT, FLOAT], "input 0 'a'", "float32", "takes bool there"),
        ("Sigmoid", &[INT32], "input 0 'a'", "int32", "float32, float16, bfloat16, float64"),
        ("Neg", &[UINT32], "input 0 'a'", "uint32", "int8, int16, int32, int64"),
        ("BitwiseNot", &[UINT32], "input 0 'a'", "uint32", "int8, uint8, int16, uint16, int32, int64"),
    ] {
        let text = one(op, elems).expect_err(op);
        let words = [&format!("{op} 'the node'"), wrong, &format!("is {is};"), takes, "cast it"];
        assert!(words.iter().all(|w| text.contains(*w)), "{op}: {text}");
    }
}

#[test]
fn types_of_the_schemas_are_taken() {
    for (op, elems) in [
        ("Relu", &[INT32][..]),
        ("Abs", &[UINT32]),
        ("Add", &[INT32, INT32]),
        ("MatMul", &[INT32, INT32]),
        ("Where", &[BOOL, INT32, INT32]),
        ("Equal", &[BOOL, BOOL]),
        ("Not", &[BOOL]),
    ] {
        assert_eq!(one(op, elems), Ok(()), "{op}");
    }
}

/// Each element of the page's tables has types, or is of those that are named as having none.
#[test]
fn operators_without_types_are_those_over_graphs_and_the_like() {
    let page = cygnet_convert::operators::document();
    let mut none = Vec::new();
    let mut types_at = None;
    for line in page.lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        match cells[0] {
            "operator" => types_at = cells.iter().position(|c| *c == "types"),
            name => {
                if types_at.is_some_and(|at| cells.get(at).is_some_and(|c| c.is_empty())) {
                    none.push(name.to_owned());
                }
            }
        }
    }
    let expected = [
        "ConcatFromSequence Constant If Loop Optional OptionalGetElement OptionalHasElement Scan SequenceAt \
         SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence",
        "FlexAttention",
        "ASSIGN_VARIABLE CALL CALL_ONCE COMPLEX_ABS IMAG READ_VARIABLE REAL STABLEHLO_COMPOSITE VAR_HANDLE WHILE",
    ];
    assert_eq!(none.join(" "), expected.join(" "));
}
