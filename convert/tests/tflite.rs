//! The TensorFlow Lite importer against real models, the shapes of what LiteRT answered, and damaged files.
//!
//! One small real model is committed; the others are looked for in the folder that the environment variable
//! `CYGNET_MODELS` names.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use cygnet_convert::error::ImportError;
use cygnet_convert::graph::{Attr, Graph, ValueId};
use cygnet_convert::passes::simplify;
use cygnet_convert::tflite::{import, import_bytes};
use cygnet_convert::{ImportOptions, prepare};

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets").join(name)
}

fn committed() -> Vec<u8> {
    std::fs::read(asset("face_blaze_short.tflite")).expect("a committed model")
}

/// Dimensions of the arrays of an `.npz` by name; `|` in a name stands for a slash.
fn npz_shapes(path: &Path) -> BTreeMap<String, Vec<usize>> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut zip = zip::ZipArchive::new(file).expect("an npz");
    let mut out = BTreeMap::new();
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i).expect("an entry");
        let name = entry.name().trim_end_matches(".npy").replace('|', "/");
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

fn named(graph: &Graph, ids: &[ValueId], prefix: &str) -> BTreeMap<String, Vec<usize>> {
    ids.iter().map(|&v| (format!("{prefix}:{}", graph.value(v).name), graph.dims(v).to_vec())).collect()
}

/// Imports a model and compares its inputs and outputs with the reference beside it, before and after the passes.
fn check(path: &Path) -> Graph {
    let mut graph =
        import(path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let expected = npz_shapes(&path.with_extension("npz"));
    for stage in ["imported", "simplified"] {
        for node in &graph.nodes {
            for &id in node.inputs.iter().chain(&node.outputs).flatten() {
                let v = graph.value(id);
                assert!(v.dims.is_some() && v.elem.is_some(), "'{}' of '{}' has no shape", v.name, node.name);
            }
        }
        let mut got = named(&graph, &graph.inputs, "in");
        got.extend(named(&graph, &graph.outputs, "out"));
        assert_eq!(got, expected, "{} {stage}", path.display());
        simplify(&mut graph).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    prepare(&graph).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    graph
}

#[test]
fn the_committed_model_has_the_shapes_of_its_reference() {
    let graph = check(&asset("face_blaze_short.tflite"));
    let count = |op: &str| graph.nodes.iter().filter(|n| n.op == op).count();
    // The file has 21 CONV_2D, 16 DEPTHWISE_CONV_2D, 3 MAX_POOL_2D, 16 ADD and 17 RELU.
    assert_eq!(count("Conv"), 37);
    assert_eq!(count("MaxPool"), 3);
    assert_eq!((count("Add"), count("Relu")), (16, 17));
    // Weights are float constants: no half-precision value is left to convert.
    assert_eq!(count("Cast"), 0);
    // Images stay NCHW between operators: one Transpose for the input and one before each of 4 reshapes.
    assert!(count("Transpose") <= 5, "{} transposes", count("Transpose"));
}

#[test]
fn weights_are_transposed_and_converted_from_half_precision() {
    let graph = import(&asset("face_blaze_short.tflite"), &ImportOptions::default()).unwrap();
    let first = graph.nodes.iter().find(|n| n.op == "Conv").expect("a convolution");
    let weights = graph.constant(first.input(1).expect("weights")).expect("constant weights");
    assert_eq!(weights.dims, [24, 3, 5, 5]);
    assert_eq!(first.attrs.get("strides"), Some(&Attr::Ints(vec![2, 2])));
    let depthwise =
        graph.nodes.iter().find(|n| n.op == "Conv" && n.int("group", 1) > 1).expect("a depthwise one");
    assert_eq!(graph.dims(depthwise.input(1).expect("weights")), [24, 1, 3, 3]);
    assert_eq!(depthwise.int("group", 1), 24);
}

#[test]
fn real_models_have_the_shapes_of_their_references() {
    let Some(dir) = std::env::var_os("CYGNET_MODELS").map(PathBuf::from) else {
        println!("SKIPPED: CYGNET_MODELS is not set, only the committed model is imported");
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).expect("CYGNET_MODELS names a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "tflite") {
            continue;
        }
        check(&path);
        seen += 1;
    }
    assert!(seen > 0, "CYGNET_MODELS holds no .tflite file");
}

/// Import and simplification of damaged bytes end in a result or an error.
fn survive(bytes: &[u8]) {
    if let Ok(mut graph) = import_bytes(bytes, &ImportOptions::default()) {
        let _ = simplify(&mut graph);
    }
}

#[test]
fn truncations_never_panic() {
    let bytes = committed();
    for end in (0..bytes.len()).step_by(997).chain(bytes.len() - 64..bytes.len()) {
        survive(&bytes[..end]);
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let mut bytes = committed();
    // Most of the file is weights, where a flip changes one number only; tables stand at both ends and between.
    let n = bytes.len();
    for i in (0..n).filter(|&i| i < 64 || i % 397 == 0 || (i + 24_000 > n && i % 41 == 0)) {
        for mask in [0x01, 0xff] {
            bytes[i] ^= mask;
            survive(&bytes);
            bytes[i] ^= mask;
        }
    }
}

#[test]
fn other_files_are_told_apart() {
    let whole = committed();
    for (bytes, what) in [
        (b"\x89PNG\r\n\x1a\n....".as_slice(), "PNG"),
        (b"PK\x03\x04...", "zip"),
        (b"", "'TFL3' at byte 4"),
        (b"\x08\x07\x12\x07pytorch", "'TFL3' at byte 4"),
        (&whole[..8], "byte"),
    ] {
        let e = import_bytes(bytes, &ImportOptions::default()).unwrap_err();
        assert!(matches!(e, ImportError::NotTflite { .. }) && e.to_string().contains(what), "{e}");
    }
}

#[test]
fn shapes_are_given_to_open_dimensions_only() {
    for (input, dims) in [("input", vec![1, 64, 64, 3]), ("nowhere", vec![1])] {
        let shapes = BTreeMap::from([(input.to_owned(), dims)]);
        let e =
            import_bytes(&committed(), &ImportOptions { shapes, ..ImportOptions::default() }).unwrap_err();
        assert!(matches!(e, ImportError::ShapeOption { .. }), "{e}");
    }
}
