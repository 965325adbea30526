//! A pruned convolution network with noise for weights.

use cygnet::format::Array;
use cygnet::format::program::DType;
use cygnet_convert::onnx::schema::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::bits::SplitMix;
use crate::made::{self, Made};
use crate::source::Source;

/// Channels of every tensor but the output, and pixels of a side of the input.
const CHANNELS: usize = 96;
const SIDE: usize = 14;

/// Channels of the output.
const OUTPUTS: usize = 16;

/// Multiples of 2^-7 in [-1, 1).
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix(seed);
    (0..n).map(|_| random.signed()).collect()
}

fn constant(name: String, dims: &[usize], values: Vec<f32>) -> TensorProto {
    TensorProto {
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(1),
        float_data: values,
        name: Some(name),
        ..Default::default()
    }
}

fn attribute(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), ints, r#type: Some(7), ..Default::default() }
}

/// A convolution of `kernel` x `kernel` taps to `m` channels; `kept` is the inputs of a group, and of how many groups one
/// is not zero.
fn conv(
    graph: &mut GraphProto,
    [x, y]: [&str; 2],
    [m, kernel]: [usize; 2],
    stride: i64,
    kept: Option<[usize; 2]>,
) {
    let taps = kernel * kernel;
    let seed = graph.node.len() as u64 + 5;
    // `[M][taps][C]`
    let mut by_tap = noise(m * taps * CHANNELS, seed);
    by_tap.iter_mut().for_each(|w| *w = (*w + w.signum() * 0.3) / 8.0);
    if let Some([group, of]) = kept {
        by_tap.chunks_mut(group).enumerate().filter(|(i, _)| i % of != 0).for_each(|(_, w)| w.fill(0.0));
    }
    // To `[M][C][KH][KW]`.
    let at = |i: usize| by_tap[(i / (CHANNELS * taps) * taps + i % taps) * CHANNELS + i / taps % CHANNELS];
    let weights = (0..by_tap.len()).map(at).collect();
    graph.initializer.push(constant(format!("{y}.w"), &[m, CHANNELS, kernel, kernel], weights));
    graph.initializer.push(constant(format!("{y}.b"), &[m], noise(m, seed + 100)));
    let (weights, bias) = (format!("{y}.w"), format!("{y}.b"));
    graph.node.push(NodeProto {
        name: Some(y.to_owned()),
        attribute: vec![
            attribute("pads", vec![kernel as i64 / 2; 4]),
            attribute("strides", vec![stride; 2]),
            attribute("kernel_shape", vec![kernel as i64; 2]),
        ],
        ..made::node("Conv", &[x, &weights, &bias], y)
    });
}

/// The model, and one input: a pointwise convolution of whose groups of four inputs most are zero, one of 3 x 3 of whose
/// groups of two, and one that is not pruned.
pub fn pruned() -> (Made, Source) {
    let side = |side: usize, channels: usize| [1, channels as i64, side as i64, side as i64];
    let mut graph =
        GraphProto { input: vec![made::floats("x", &side(SIDE, CHANNELS))], ..Default::default() };
    conv(&mut graph, ["x", "fours"], [CHANNELS, 1], 1, Some([4, 5]));
    graph.node.push(made::node("Relu", &["fours"], "r1"));
    conv(&mut graph, ["r1", "pairs"], [CHANNELS, 3], 2, Some([2, 11]));
    graph.node.push(made::node("Relu", &["pairs"], "r2"));
    conv(&mut graph, ["r2", "whole"], [OUTPUTS, 1], 1, None);
    graph.output = vec![made::floats("whole", &side(SIDE / 2, OUTPUTS))];
    let made = made::write(graph, 17);
    let dims = side(SIDE, CHANNELS).map(|d| d as u32).to_vec();
    let bytes = noise(CHANNELS * SIDE * SIDE, 1).iter().flat_map(|v| v.to_le_bytes()).collect();
    let input = Array { name: "x".to_owned(), dtype: DType::F32, dims, bytes };
    let source =
        Source { path: made.path.clone(), inputs: vec![input], outputs: Vec::new(), states: Vec::new() };
    (made, source)
}
