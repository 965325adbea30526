//! The importer against real models, their reference outputs' shapes, and damaged files.
//!
//! Real models are looked for in the folder that the environment variable `CYGNET_MODELS` names.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use cygnet_convert::error::ImportError;
use cygnet_convert::graph::Graph;
use cygnet_convert::onnx::schema::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, WrappedTypeProto,
};
use cygnet_convert::onnx::{ImportOptions, import, import_bytes};
use cygnet_convert::passes::simplify;
use prost::Message;

fn models() -> Option<PathBuf> {
    let dir = std::env::var_os("CYGNET_MODELS").map(PathBuf::from);
    if dir.is_none() {
        println!("SKIPPED: CYGNET_MODELS is not set, no real model is imported");
    }
    dir
}

/// Dimensions of the arrays of an `.npz` by name.
fn npz_shapes(path: &Path) -> BTreeMap<String, Vec<usize>> {
    let Ok(file) = File::open(path) else { return BTreeMap::new() };
    let mut zip = zip::ZipArchive::new(file).expect("an npz");
    let mut out = BTreeMap::new();
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i).expect("an entry");
        let name = entry.name().trim_end_matches(".npy").to_owned();
        let mut head = vec![0u8; 10];
        std::io::Read::read_exact(&mut entry, &mut head).expect("an npy header");
        let mut text = vec![0u8; usize::from(u16::from_le_bytes([head[8], head[9]]))];
        std::io::Read::read_exact(&mut entry, &mut text).expect("an npy header");
        let text = String::from_utf8(text).expect("text");
        let from = text.find("'shape': (").expect("a shape") + 10;
        let shape = &text[from..from + text[from..].find(')').expect("its end")];
        let dims =
            shape.split(',').filter(|s| !s.trim().is_empty()).map(|s| s.trim().parse().expect("a size"));
        out.insert(name, dims.collect());
    }
    out
}

fn check_static(graph: &Graph) {
    for node in &graph.nodes {
        for &id in node.inputs.iter().chain(&node.outputs).flatten() {
            let v = graph.value(id);
            assert!(v.dims.is_some() && v.elem.is_some(), "'{}' of '{}' has no shape", v.name, node.name);
        }
    }
}

#[test]
fn real_models_have_the_shapes_of_their_reference_outputs() {
    let Some(dir) = models() else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).expect("CYGNET_MODELS names a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let arrays = npz_shapes(&path.with_extension("npz"));
        let named = |prefix: &str| {
            let of =
                arrays.iter().filter_map(|(k, v)| k.strip_prefix(prefix).map(|k| (k.to_owned(), v.clone())));
            of.collect::<BTreeMap<_, _>>()
        };
        let options = ImportOptions { shapes: named("in:"), ..ImportOptions::default() };
        let mut graph = import(&path, &options).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for stage in ["imported", "simplified"] {
            check_static(&graph);
            let got: BTreeMap<String, Vec<usize>> = graph
                .outputs
                .iter()
                .map(|&o| (graph.value(o).name.clone(), graph.dims(o).to_vec()))
                .collect();
            for (name, dims) in named("out:") {
                assert_eq!(got.get(&name), Some(&dims), "{} {stage}, output '{name}'", path.display());
            }
            simplify(&mut graph).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        for gone in ["Identity", "BatchNormalization", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Dropout"]
        {
            assert!(graph.nodes.iter().all(|n| n.op != gone), "{} keeps {gone}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 0, "CYGNET_MODELS holds no .onnx file");
}

/// Import and simplification of damaged bytes end in a result or an error.
fn survive(bytes: &[u8]) {
    if let Ok(mut graph) = import_bytes(bytes, &ImportOptions::default()) {
        let _ = simplify(&mut graph);
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let Some(dir) = models() else { return };
    let path = dir.join("fashion_mnist_cnn.onnx");
    let mut bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // Most of the file is weights, where a flip changes one number only: every 61st byte there is enough, and
    // every byte at both ends, where nodes, names and shapes are.
    let n = bytes.len();
    let dense = |i: usize| i < 2048 || i + 2048 > n;
    for i in (0..n).filter(|&i| dense(i) || i % 61 == 0) {
        for mask in [0x01, 0x80, 0xff] {
            bytes[i] ^= mask;
            survive(&bytes);
            bytes[i] ^= mask;
        }
    }
}

#[test]
fn every_truncation_and_flip_of_a_small_model_is_survived() {
    let bytes = small().encode_to_vec();
    import_bytes(&bytes, &ImportOptions::default()).expect("the whole model is fine");
    for end in 0..bytes.len() {
        survive(&bytes[..end]);
    }
    let mut flipped = bytes.clone();
    for i in 0..bytes.len() {
        for value in 0..=255u8 {
            flipped[i] = value;
            survive(&flipped);
        }
        flipped[i] = bytes[i];
    }
}

fn info(name: &str, dims: &[Option<i64>]) -> ValueInfoProto {
    let dim =
        dims.iter().map(|d| DimensionProto { dim_value: *d, dim_param: d.is_none().then(|| "n".to_owned()) });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: Some(1), shape });
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type, ..Default::default() }),
    }
}

fn weights(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: Some(1),
        float_data: values,
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

fn model(opset: i64, graph: GraphProto) -> ModelProto {
    let set = OperatorSetIdProto { domain: None, version: Some(opset) };
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![set], ..Default::default() }
}

/// `Conv`, `Relu`, `Flatten`-like `Reshape` computed from a `Shape`, `Softmax`.
fn small() -> ModelProto {
    let mut graph =
        GraphProto { input: vec![info("x", &[None, Some(1), Some(3), Some(3)])], ..Default::default() };
    graph.initializer = vec![weights("w", &[2, 1, 2, 2], vec![1.0; 8]), weights("b", &[2], vec![0.5, -0.5])];
    graph.initializer.push(TensorProto {
        dims: vec![1],
        data_type: Some(7),
        int64_data: vec![-1],
        name: Some("rest".to_owned()),
        ..Default::default()
    });
    graph.initializer.push(TensorProto {
        dims: vec![1],
        data_type: Some(7),
        int64_data: vec![0],
        name: Some("first".to_owned()),
        ..Default::default()
    });
    graph.node = vec![
        node("Conv", &["x", "w", "b"], "c"),
        node("Relu", &["c"], "r"),
        node("Shape", &["r"], "s"),
        node("Gather", &["s", "first"], "batch"),
        node("Concat", &["batch", "rest"], "to"),
        node("Reshape", &["r", "to"], "f"),
        node("Softmax", &["f"], "y"),
    ];
    graph.node[4].attribute.push(cygnet_convert::onnx::schema::AttributeProto {
        name: Some("axis".to_owned()),
        i: Some(0),
        r#type: Some(2),
        ..Default::default()
    });
    graph.output = vec![info("y", &[None, Some(8)])];
    model(17, graph)
}

fn refused(m: &ModelProto) -> ImportError {
    import_bytes(&m.encode_to_vec(), &ImportOptions::default()).expect_err("a broken model")
}

#[test]
fn computed_shapes_resolve_and_symbolic_batches_are_one() {
    let graph = import_bytes(&small().encode_to_vec(), &ImportOptions::default()).unwrap();
    let ops: Vec<&str> = graph.nodes.iter().map(|n| n.op.as_str()).collect();
    assert_eq!(ops, ["Conv", "Relu", "Reshape", "Softmax"]);
    assert_eq!(graph.dims(graph.outputs[0]), [1, 8]);
    let shapes = BTreeMap::from([("x".to_owned(), vec![3, 1, 3, 3])]);
    let options = ImportOptions { shapes, ..ImportOptions::default() };
    let graph = import_bytes(&small().encode_to_vec(), &options).unwrap();
    assert_eq!(graph.dims(graph.outputs[0]), [3, 8]);
}

#[test]
fn open_dimensions_are_named_with_the_flag_that_binds_them() {
    let mut m = small();
    m.graph.as_mut().unwrap().input[0] = info("x", &[None, Some(1), None, Some(3)]);
    let text = refused(&m).to_string();
    assert!(text.contains("--shape 'x=1x1xNx3'") && text.contains("dimension 2 ('n')"), "{text}");
    m.graph.as_mut().unwrap().input.push(info("state", &[Some(2), None]));
    let text = refused(&m).to_string();
    assert!(text.ends_with("give all dimensions with --shape 'x=1x1xNx3' --shape 'state=2xN'"), "{text}");
}

/// Operators that cannot tell rows that are there from others are named.
#[test]
fn rows_that_the_data_decides_are_refused_where_they_would_be_wrong() {
    let mut tile = node("Tile", &["rows", "twice"], "y");
    tile.name = Some("doubled".to_owned());
    let twice =
        TensorProto { data_type: Some(7), dims: vec![2], int64_data: vec![1, 2], ..Default::default() };
    let twice = TensorProto { name: Some("twice".to_owned()), ..twice };
    let graph = GraphProto {
        input: vec![info("x", &[Some(3)])],
        initializer: vec![twice],
        node: vec![node("NonZero", &["x"], "rows"), tile],
        output: vec![info("y", &[Some(1), None])],
        ..Default::default()
    };
    let text = refused(&model(17, graph)).to_string();
    assert!(text.starts_with("Tile 'doubled': its input 'rows' has a size that the data decides"), "{text}");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    for (name, dims) in [("x", vec![1, 2, 3, 3]), ("x", vec![1, 1, 3]), ("z", vec![1])] {
        let shapes = BTreeMap::from([(name.to_owned(), dims)]);
        let options = ImportOptions { shapes, ..ImportOptions::default() };
        let e = import_bytes(&small().encode_to_vec(), &options).unwrap_err();
        assert!(matches!(e, ImportError::ShapeOption { .. }), "{e}");
    }
}

#[test]
fn other_files_are_told_apart() {
    for (bytes, what) in [
        (b"\x89PNG\r\n\x1a\n....".as_slice(), "PNG"),
        (b"\x1c\0\0\0TFL3....", "TensorFlow Lite"),
        (b"", "empty"),
        (b"PK\x03\x04...", "zip"),
        (b"hello, world", "protobuf"),
    ] {
        let e = import_bytes(bytes, &ImportOptions::default()).unwrap_err();
        assert!(matches!(e, ImportError::NotOnnx { .. }) && e.to_string().contains(what), "{e}");
    }
}

#[test]
fn all_unsupported_operators_are_reported_at_once() {
    let mut m = small();
    let g = m.graph.as_mut().unwrap();
    g.node[1].op_type = Some("Frobnicate".to_owned());
    g.node[6].op_type = Some("StringNormalizer".to_owned());
    let ImportError::Unsupported { operators } = refused(&m) else { panic!("another error") };
    let ops: Vec<&str> = operators.iter().map(|o| o.op.as_str()).collect();
    assert_eq!(ops, ["Frobnicate", "StringNormalizer"]);
    assert_eq!(operators[0].nodes, ["r"]);
}

#[test]
fn broken_graphs_are_named() {
    type Break = fn(&mut GraphProto);
    let cases: [(Break, &str); 6] = [
        (|g| g.node[1].input[0] = "nowhere".to_owned(), "'nowhere', which nothing defines"),
        (|g| g.node[0].input[0] = "y".to_owned(), "cycle"),
        (|g| g.node[1].output[0] = "c".to_owned(), "'c' is defined twice"),
        (|g| g.output[0].name = Some("lost".to_owned()), "output 'lost'"),
        (|g| g.initializer[0].float_data[5] = f32::NAN, "weight 'w' of Conv 'c' holds NaN at index 5"),
        (|g| g.initializer[0].dims = vec![2, 1, 2, 3], "holds 8 elements, its dimensions need 12"),
    ];
    for (damage, expected) in cases {
        let mut m = small();
        damage(m.graph.as_mut().unwrap());
        let text = refused(&m).to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn nodes_in_any_order_are_sorted() {
    let mut m = small();
    m.graph.as_mut().unwrap().node.reverse();
    let graph = import_bytes(&m.encode_to_vec(), &ImportOptions::default()).unwrap();
    assert_eq!(
        graph.nodes.iter().map(|n| n.op.as_str()).collect::<Vec<_>>(),
        ["Conv", "Relu", "Reshape", "Softmax"]
    );
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), i: Some(value), r#type: Some(2), ..Default::default() }
}

/// Before opset 7 the second operand's dimensions began where an attribute said.
#[test]
fn old_broadcasts_align_as_they_were_meant_to() {
    let mut add = node("Add", &["x", "b"], "y");
    add.attribute = vec![int("broadcast", 1), int("axis", 1)];
    let graph = GraphProto {
        input: vec![info("x", &[Some(1), Some(2), Some(3), Some(3)])],
        initializer: vec![weights("b", &[2], vec![0.5, -0.5])],
        node: vec![add],
        output: vec![info("y", &[Some(1), Some(2), Some(3), Some(3)])],
        ..Default::default()
    };
    let graph = import_bytes(&model(6, graph).encode_to_vec(), &ImportOptions::default()).unwrap();
    let [add] = graph.nodes.as_slice() else { panic!("one node, not {}", graph.nodes.len()) };
    assert_eq!(graph.dims(add.input(1).unwrap()), [2, 1, 1]);
}

/// Small floats are held as codes, and nothing but conversions may take these for numbers.
#[test]
fn codes_are_no_numbers() {
    let codes = TensorProto {
        dims: vec![4],
        data_type: Some(17),
        raw_data: Some(vec![0x38, 0xB8, 0x7E, 0x01]),
        name: Some("w".to_owned()),
        ..Default::default()
    };
    let scale = weights("scale", &[], vec![2.0]);
    let graph = |nodes| GraphProto {
        input: vec![info("x", &[Some(4)])],
        initializer: vec![codes.clone(), scale.clone()],
        node: nodes,
        output: vec![info("y", &[Some(4)])],
        ..Default::default()
    };
    let good = graph(vec![
        node("Identity", &["w"], "moved"),
        node("DequantizeLinear", &["moved", "scale"], "real"),
        node("Mul", &["x", "real"], "y"),
    ]);
    let good = import_bytes(&model(21, good).encode_to_vec(), &ImportOptions::default()).unwrap();
    let real = good.constant(good.nodes[0].input(1).unwrap()).unwrap();
    assert_eq!(real.to_f32(), [2.0, -2.0, 896.0, 2.0_f32.powi(-8)]);
    let bad = refused(&model(21, graph(vec![node("Mul", &["x", "w"], "y")])));
    assert!(bad.to_string().contains("'w' is float8e4m3fn; Mul takes float32"), "{bad}");
}

/// Elements of a sequence that comes from outside are inputs of their own, as many as shapes are given for.
#[test]
fn sequences_come_element_by_element() {
    let inner = info("", &[None]).r#type;
    let wrapped = WrappedTypeProto { elem_type: inner.map(Box::new) };
    let sequence = TypeProto { sequence_type: Some(Box::new(wrapped)), ..Default::default() };
    let mut join = node("ConcatFromSequence", &["s"], "y");
    join.attribute.push(int("axis", 0));
    let graph = GraphProto {
        input: vec![ValueInfoProto { name: Some("s".to_owned()), r#type: Some(sequence) }],
        node: vec![join],
        output: vec![info("y", &[None])],
        ..Default::default()
    };
    let bytes = model(17, graph).encode_to_vec();
    let shapes = BTreeMap::from([("s[0]".to_owned(), vec![2]), ("s[1]".to_owned(), vec![3])]);
    let graph = import_bytes(&bytes, &ImportOptions { shapes, ..ImportOptions::default() }).unwrap();
    assert_eq!(graph.inputs.len(), 2);
    assert_eq!(graph.dims(graph.outputs[0]), [5]);
    let empty = import_bytes(&bytes, &ImportOptions::default()).unwrap_err();
    assert!(empty.to_string().contains("joins an empty sequence"), "{empty}");
    let gap = BTreeMap::from([("s[1]".to_owned(), vec![3])]);
    assert!(import_bytes(&bytes, &ImportOptions { shapes: gap, ..ImportOptions::default() }).is_err());
}

/// PyTorch's `unbind`: parts of one element without the dimension, as ONNX Runtime reads it.
#[test]
fn parts_of_one_element_lose_their_dimension() {
    let number = |name: &str, value: i64| TensorProto {
        data_type: Some(7),
        int64_data: vec![value],
        name: Some(name.to_owned()),
        ..Default::default()
    };
    let mut split = node("SplitToSequence", &["x", "one"], "s");
    split.attribute = vec![int("axis", 1), int("keepdims", 0)];
    let graph = GraphProto {
        input: vec![info("x", &[Some(2), Some(3), Some(4)])],
        initializer: vec![number("one", 1), number("at", 2)],
        node: vec![split, node("SequenceAt", &["s", "at"], "y")],
        output: vec![info("y", &[None, None])],
        ..Default::default()
    };
    let graph = import_bytes(&model(17, graph).encode_to_vec(), &ImportOptions::default()).unwrap();
    assert_eq!(graph.dims(graph.outputs[0]), [2, 4]);
}

/// A model with a double input `x` of 3 elements, the doubles 1, 1e-12 and -1, and these nodes; `y` is float32.
fn doubles(nodes: Vec<NodeProto>) -> Vec<u8> {
    let mut x = info("x", &[Some(3)]);
    x.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = Some(11);
    let one = |name: &str, value: f64| TensorProto {
        data_type: Some(11),
        raw_data: Some(value.to_le_bytes().to_vec()),
        name: Some(name.to_owned()),
        ..Default::default()
    };
    let graph = GraphProto {
        input: vec![x],
        initializer: vec![one("one", 1.0), one("bit", 1e-12), one("less", -1.0)],
        node: nodes,
        output: vec![info("y", &[Some(3)])],
        ..Default::default()
    };
    model(17, graph).encode_to_vec()
}

/// To float32.
fn single(input: &str, output: &str) -> NodeProto {
    let mut node = node("Cast", &[input], output);
    node.attribute.push(int("to", 1));
    node
}

#[test]
fn doubles_are_moved_and_computed_with_only_if_allowed() {
    let strict = ImportOptions::default();
    let moved = vec![node("Max", &["x", "one"], "m"), node("Identity", &["m"], "i"), single("i", "y")];
    import_bytes(&doubles(moved), &strict).expect("what only chooses and moves");
    let dead = vec![node("Mul", &["x", "one"], "nobody"), single("x", "y")];
    import_bytes(&doubles(dead), &strict).expect("what nobody uses");

    let mut computed = vec![node("Mul", &["x", "bit"], "p"), node("Softmax", &["p"], "s"), single("s", "y")];
    computed[0].name = Some("product".to_owned());
    let bytes = doubles(computed);
    let refused = import_bytes(&bytes, &strict).unwrap_err();
    assert!(matches!(refused, ImportError::Float64 { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("Mul (1x: 'product'), Softmax") && text.ends_with("--round-float64"), "{text}");
    import_bytes(&bytes, &ImportOptions { round_float64: true, ..strict }).expect("allowed");
}

/// In float32 the sum would be 0. In float64 it is 1 + 1e-12, rounded, less 1.
#[test]
fn constants_are_folded_as_doubles() {
    let nodes = vec![
        node("Add", &["one", "bit"], "a"),
        node("Add", &["a", "less"], "b"),
        single("b", "c"),
        single("x", "f"),
        node("Mul", &["f", "c"], "y"),
    ];
    let graph = import_bytes(&doubles(nodes), &ImportOptions::default()).unwrap();
    let product = graph.nodes.iter().find(|n| n.op == "Mul").expect("a product");
    let factor = graph.constant(product.input(1).unwrap()).expect("a constant").to_f32();
    assert_eq!(factor, [1.000_088_9e-12]);
}
