//! Pruned models made here: what is found of their weights, what becomes of them, and that results stay the same bits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cygnet::format::op::{GroupKind, Op};
use cygnet::format::program::DType;
use cygnet::format::{Array, Meta};
use cygnet::{Model, Select, Session, SessionOptions};
use cygnet_convert::onnx::schema::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use cygnet_convert::predict::Device;
use cygnet_convert::sparsity::Finding;
use cygnet_convert::{
    Budget, Calibrator, Converted, ImportOptions, Options, Precision, Samples, Silent, Tools, convert, judge,
};
use cygnet_targets::Profile;
use prost::Message;

const SIDE: usize = 14;
const CHANNELS: usize = 128;

/// Numbers that look random.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// What is left of the weights of a convolution, laid out `[M][taps][C]`.
type Prune = fn(&mut [f32]);

/// Of every five groups of four inputs four are gone.
fn blocks(w: &mut [f32]) {
    w.chunks_mut(4).enumerate().filter(|(i, _)| i % 5 != 0).for_each(|(_, g)| g.fill(0.0));
}

/// Two of every four weights are gone.
fn two_of_four(w: &mut [f32]) {
    w.chunks_mut(4).enumerate().for_each(|(i, g)| (g[i % 4], g[(i + 1 + i % 3) % 4]) = (0.0, 0.0));
}

/// Of every five weights three are gone, here and there.
fn scattered(w: &mut [f32]) {
    w.iter_mut().enumerate().filter(|(i, _)| ((i * 40_503) >> 5) % 5 < 3).for_each(|(_, w)| *w = 0.0);
}

fn attribute(name: &str, ints: &[i64]) -> AttributeProto {
    let (name, r#type) = (Some(name.to_owned()), Some(7));
    AttributeProto { name, ints: ints.to_vec(), r#type, ..Default::default() }
}

fn info(name: &str, dims: &[Option<i64>]) -> ValueInfoProto {
    let dim =
        dims.iter().map(|d| DimensionProto { dim_value: *d, dim_param: d.is_none().then(|| "n".to_owned()) });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: Some(1), shape });
    let r#type = Some(TypeProto { tensor_type, ..Default::default() });
    ValueInfoProto { name: Some(name.to_owned()), r#type }
}

/// A convolution with its weights, of `kernel` x `kernel`, pruned.
fn conv(
    graph: &mut GraphProto,
    [x, y]: [&str; 2],
    [m, kernel]: [usize; 2],
    stride: i64,
    prune: Option<Prune>,
) {
    let (taps, seed) = (kernel * kernel, graph.node.len() as u64 + 5);
    let mut by_tap = noise(m * taps * CHANNELS, seed);
    by_tap.iter_mut().for_each(|w| *w = (*w + w.signum() * 0.3) / 8.0);
    if let Some(prune) = prune {
        prune(&mut by_tap);
    }
    // [M][taps][C] to ONNX's [M][C][KH][KW].
    let at = |i: usize| by_tap[(i / (CHANNELS * taps) * taps + i % taps) * CHANNELS + i / taps % CHANNELS];
    let weights = (0..by_tap.len()).map(at).collect();
    let tensor = |name: String, dims: &[usize], values: Vec<f32>| TensorProto {
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(1),
        float_data: values,
        name: Some(name),
        ..Default::default()
    };
    graph.initializer.push(tensor(format!("{y}.w"), &[m, CHANNELS, kernel, kernel], weights));
    graph.initializer.push(tensor(format!("{y}.b"), &[m], noise(m, seed + 100)));
    graph.node.push(NodeProto {
        op_type: Some("Conv".to_owned()),
        name: Some(y.to_owned()),
        input: vec![x.to_owned(), format!("{y}.w"), format!("{y}.b")],
        output: vec![y.to_owned()],
        attribute: vec![
            attribute("pads", &[kernel as i64 / 2; 4]),
            attribute("strides", &[stride; 2]),
            attribute("kernel_shape", &[kernel as i64; 2]),
        ],
        ..Default::default()
    });
}

/// Two pruned convolutions, a pointwise one and one of 3 x 3, and one that is not.
fn source(dir: &Path, prune: Prune) -> PathBuf {
    let channels = Some(CHANNELS as i64);
    let mut graph =
        GraphProto { input: vec![info("x", &[Some(1), channels, None, None])], ..Default::default() };
    let relu = |graph: &mut GraphProto, x: &str, y: &str| {
        graph.node.push(NodeProto {
            op_type: Some("Relu".to_owned()),
            input: vec![x.to_owned()],
            output: vec![y.to_owned()],
            ..Default::default()
        });
    };
    conv(&mut graph, ["x", "point"], [CHANNELS, 1], 1, Some(prune));
    relu(&mut graph, "point", "r1");
    conv(&mut graph, ["r1", "window"], [CHANNELS, 3], 2, Some(prune));
    relu(&mut graph, "window", "r2");
    conv(&mut graph, ["r2", "whole"], [32, 1], 1, None);
    graph.output = vec![info("whole", &[Some(1), Some(32), None, None])];
    let set = OperatorSetIdProto { domain: None, version: Some(17) };
    let model =
        ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![set], ..Default::default() };
    let path = dir.join("pruned.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

struct Noise;

impl Samples for Noise {
    fn len(&self) -> usize {
        3
    }

    fn get(&mut self, i: usize) -> Result<Vec<Array>, String> {
        Ok(vec![input(SIDE, i as u64 + 1)])
    }
}

fn input(side: usize, seed: u64) -> Array {
    let bytes = noise(CHANNELS * side * side, seed).iter().flat_map(|v| v.to_le_bytes()).collect();
    let dims = [1, CHANNELS, side, side].map(|d| d as u32).to_vec();
    Array { name: "x".to_owned(), dtype: DType::F32, dims, bytes }
}

fn shapes(side: usize) -> BTreeMap<String, Vec<usize>> {
    BTreeMap::from([("x".to_owned(), vec![1, CHANNELS, side, side])])
}

fn converted(prune: Prune, set: impl FnOnce(&mut Options<'_>)) -> Converted {
    let dir = tempfile::tempdir().unwrap();
    let mut samples = Noise;
    let mut options = Options {
        source: source(dir.path(), prune),
        import: ImportOptions { shapes: shapes(SIDE), ..ImportOptions::default() },
        buckets: Vec::new(),
        precision: Precision::Int8,
        samples: Some(&mut samples),
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        winograd: true,
        sparse: true,
        budget: Budget::default(),
        judge: &judge::Outputs,
        meta: Meta::new(),
        goldens: 0,
        provenance: String::new(),
    };
    set(&mut options);
    convert(options, &mut Silent).unwrap()
}

fn finding<'a>(converted: &'a Converted, step: &str) -> Option<&'a Finding> {
    converted.sparsity.iter().find(|f| f.step.contains(step))
}

fn sparse_steps(program: &cygnet::format::program::Program) -> Vec<&str> {
    let sparse = program.steps.iter().filter(|s| matches!(s.op, Op::SparseConv(_)));
    sparse.map(|s| s.name.as_str()).collect()
}

/// The output for noise of so many rows and columns, by the program for those.
fn answer(converted: &Converted, program: usize, side: usize) -> Vec<u8> {
    let model = Model::from_bytes(&converted.file).unwrap();
    let options = SessionOptions { program: Select::Index(program), ..SessionOptions::default() };
    let mut session = Session::new(&model, &options).unwrap();
    session.input_bytes_mut("x").unwrap().copy_from_slice(&input(side, 77).bytes);
    session.run().unwrap();
    session.output("whole").unwrap().to_f32().iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Zeros stay zeros through all that is done to weights, both steps are sparse, smaller, and give the dense steps' bits.
#[test]
fn pruned_products_become_sparse_steps_of_the_same_bits() {
    let sparse = converted(blocks, |_| {});
    let dense = converted(blocks, |options| options.sparse = false);
    assert_eq!((sparse_steps(&sparse.program).len(), sparse_steps(&dense.program).len()), (2, 0));
    for name in ["point", "window"] {
        let found = finding(&sparse, name).unwrap();
        assert_eq!(found.outcome, Ok(GroupKind::Fours), "{found:?}");
        // Four of five, but for the row that ends within five; nothing else is as small as half a step.
        assert!((found.fours - 0.8).abs() < 1e-3 && (found.zeros - found.fours).abs() < 1e-2, "{found:?}");
        let refused = finding(&dense, name).unwrap();
        assert_eq!(refused.outcome, Err("sparse steps are switched off".to_owned()));
    }
    assert!(finding(&sparse, "whole").is_none());
    assert_eq!(answer(&sparse, 0, SIDE), answer(&dense, 0, SIDE));
    assert!(sparse.weights_bytes * 2 < dense.weights_bytes);
    assert_eq!(sparse.file, converted(blocks, |_| {}).file);
}

/// What a sparse step would not gain from says what it would take.
#[test]
fn products_with_too_few_zeros_are_refused_with_the_reason() {
    for (prune, of_four) in [(two_of_four as Prune, Some(2)), (scattered, None)] {
        let converted = converted(prune, |_| {});
        assert!(sparse_steps(&converted.program).is_empty());
        for name in ["point", "window"] {
            let found = finding(&converted, name).unwrap();
            assert_eq!(found.of_four, of_four, "{found:?}");
            let why = found.outcome.clone().unwrap_err();
            assert!(why.contains("of the groups of") && why.contains("a sparse step wins from"), "{why}");
        }
    }
}

#[test]
fn weights_in_floating_point_are_told_of_and_stay() {
    let converted = converted(blocks, |options| options.precision = Precision::F32);
    let found = finding(&converted, "window").unwrap();
    assert!((found.zeros - 0.8).abs() < 1e-3);
    assert_eq!(found.outcome, Err("its weights are f32; sparse steps are for int8".to_owned()));
}

/// A target's own figures decide: three of five weights gone pay where the dense kernel is not much faster for each.
#[test]
fn the_target_decides() {
    let device = |name: &str| Device::new(&Profile::named(name).unwrap());
    fn pairs(w: &mut [f32]) {
        w.chunks_mut(2).enumerate().filter(|(i, _)| i % 5 < 3).for_each(|(_, g)| g.fill(0.0));
    }
    let on = |name| converted(pairs, |options| options.budget.device = device(name));
    let x86 = on("x86_64");
    let found = finding(&x86, "point").unwrap();
    assert_eq!(found.outcome, Ok(GroupKind::Pairs), "{found:?}");
    assert!(device("x86_64").unwrap().predict(&Model::from_bytes(&x86.file).unwrap()).unwrap().seconds > 0.0);
    // Groups of four would be few, and pairs are slow where four products are one instruction.
    let pi5 = on("raspberry-pi-5");
    let why = finding(&pi5, "point").unwrap().outcome.clone().unwrap_err();
    assert!(why.contains("on cortex-a76"), "{why}");
}

/// Programs for further shapes take the sparse steps of the first, over the same weights.
#[test]
fn programs_share_sparse_weights() {
    let one = converted(blocks, |_| {});
    let both = converted(blocks, |options| options.buckets = vec![shapes(6)]);
    assert_eq!(sparse_steps(&both.buckets[0]), sparse_steps(&both.program));
    assert!(both.weights_bytes < one.weights_bytes + 1024);
    let dense = converted(blocks, |options| {
        options.buckets = vec![shapes(6)];
        options.sparse = false;
    });
    assert_eq!(answer(&both, 1, 6), answer(&dense, 1, 6));
}
