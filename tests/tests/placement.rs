//! Tensors that share memory: what is put together of parts of itself comes out whole.
#![cfg(target_arch = "x86_64")]

use cygnet::format::Array;
use cygnet::format::program::DType;
use cygnet_convert::onnx::schema::{AttributeProto, NodeProto};
use cygnet_convert::{Calibrator, ImportOptions, Options, Precision, Silent, Tools, convert};
use cygnet_tests::made::{made, node};
use cygnet_tests::source::{run, session};

/// Elements `from` to `to` in steps of `by`, which are names of constants.
fn slice(input: &str, output: &str, [from, to, by]: [&str; 3]) -> NodeProto {
    node("Slice", &[input, from, to, "axis", by], output)
}

fn constant(name: &str, value: i64) -> NodeProto {
    let mut made = node("Constant", &[], name);
    made.attribute.push(AttributeProto {
        name: Some("value_ints".to_owned()),
        ints: vec![value],
        ..Default::default()
    });
    made
}

/// What the nodes, which may use the constants `axis` and those of their names, give as `y` for `x` of 1 to 8.
fn outcome(nodes: Vec<NodeProto>, len: i64) -> Vec<f32> {
    let numbers = ["-9", "-4", "-1", "1", "4"];
    let mut all: Vec<NodeProto> = numbers.map(|n| constant(n, n.parse().unwrap())).to_vec();
    all.push(constant("axis", 0));
    all.extend(nodes);
    let model = made(&[("x", 8)], all, &[("y", len)]);
    let options = Options {
        source: model.path.clone(),
        import: ImportOptions::default(),
        buckets: Vec::new(),
        precision: Precision::F32,
        samples: None,
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        budget: cygnet_convert::Budget::default(),
        judge: &cygnet_convert::judge::Outputs,
        winograd: false,
        sparse: true,
        meta: cygnet::format::Meta::new(),
        goldens: 0,
        provenance: String::new(),
    };
    let converted = convert(options, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    let bytes = (1..=8).flat_map(|v| (v as f32).to_le_bytes()).collect();
    let x = Array { name: "x".to_owned(), dtype: DType::F32, dims: vec![8], bytes };
    run(&mut session(&converted), &[x]).remove(0).1
}

/// The square roots of the squares of `x`: a value that is computed, and so may be placed.
fn computed() -> Vec<NodeProto> {
    vec![node("Mul", &["x", "x"], "square"), node("Sqrt", &["square"], "m")]
}

#[test]
fn a_value_and_a_part_of_it() {
    let mut nodes = computed();
    nodes.push(slice("m", "part", ["1", "4", "1"]));
    nodes.push(node("Concat", &["part", "m"], "y"));
    assert_eq!(outcome(nodes, 11), [2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
}

#[test]
fn a_value_twice() {
    let mut nodes = computed();
    nodes.push(node("Concat", &["m", "m"], "y"));
    let once = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    assert_eq!(outcome(nodes, 16), [once, once].concat());
}

/// Padding by reflection, written out: both ends turned round.
#[test]
fn a_value_between_its_reflections() {
    let mut nodes = computed();
    nodes.push(slice("m", "first", ["1", "4", "1"]));
    nodes.push(slice("first", "left", ["-1", "-9", "-1"]));
    nodes.push(slice("m", "last", ["-4", "-1", "1"]));
    nodes.push(slice("last", "right", ["-1", "-9", "-1"]));
    nodes.push(node("Concat", &["left", "m", "right"], "y"));
    let want = [4.0, 3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 7.0, 6.0, 5.0];
    assert_eq!(outcome(nodes, 14), want);
}

#[test]
fn a_reflection_of_a_whole() {
    let mut nodes = computed();
    nodes.push(slice("m", "turned", ["-1", "-9", "-1"]));
    nodes.push(node("Concat", &["turned", "m"], "y"));
    let want = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    assert_eq!(outcome(nodes, 16), want);
}

/// The second of each pair lies between the firsts; its square, written over it, does too, and is read as one row.
#[test]
fn columns_written_in_place_and_read_as_a_row() {
    let mut nodes = computed();
    for (name, ints) in [("pairs", vec![4, 2]), ("row", vec![4])] {
        let mut made = constant(name, 0);
        made.attribute[0].ints = ints;
        nodes.push(made);
    }
    nodes.push(node("Reshape", &["m", "pairs"], "p"));
    nodes.push(constant("columns", 1));
    nodes.push(node("Slice", &["p", "1", "4", "columns", "1"], "seconds"));
    nodes.push(node("Mul", &["seconds", "seconds"], "squares"));
    nodes.push(node("Reshape", &["squares", "row"], "flat"));
    nodes.push(slice("x", "last", ["-4", "far", "1"]));
    nodes.push(constant("far", 9));
    nodes.push(node("Sub", &["flat", "last"], "y"));
    assert_eq!(outcome(nodes, 4), [4.0 - 5.0, 16.0 - 6.0, 36.0 - 7.0, 64.0 - 8.0]);
}
