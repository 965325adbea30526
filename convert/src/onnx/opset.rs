//! Nodes of older opsets, rewritten to the form that the newest one gives them: attributes that became inputs,
//! operators that were renamed, defaults that changed.

use super::{legacy, qoperator};
use crate::build::{Builder, node_error};
use crate::error::ImportError;
use crate::graph::{Attr, Node, Tensor, ValueId};

/// Oldest version of ONNX's operators that is understood.
pub const OLDEST: i64 = 1;

/// Operators of ONNX Runtime's domain that ONNX has too, unchanged.
const CONTRIBUTED: &[&str] = &[
    "com.microsoft.DequantizeLinear",
    "com.microsoft.Gelu",
    "com.microsoft.GridSample",
    "com.microsoft.LayerNormalization",
    "com.microsoft.Pad",
    "com.microsoft.QuantizeLinear",
    "com.microsoft.Trilu",
    "com.microsoft.Unique",
];

/// Operators that newer opsets have under another name, or do without.
const RENAMED: &[&str] = &["Dropout", "Scatter", "Upsample"];

/// Operators that are known under another name.
pub fn renamed() -> impl Iterator<Item = &'static str> {
    CONTRIBUTED.iter().chain(RENAMED).copied()
}

/// Whether an operator is known under another name.
pub fn is_renamed(op: &str) -> bool {
    renamed().any(|name| name == op)
}

/// Appends `node`, which follows `version` of ONNX's operators, in its newest form.
///
/// # Errors
/// [`ImportError::Node`] when an attribute asks for what inference cannot do (training) or is missing.
pub fn normalize(b: &mut Builder, mut node: Node, version: i64) -> Result<(), ImportError> {
    if qoperator::normalize(b, &node)? {
        return Ok(());
    }
    if CONTRIBUTED.contains(&node.op.as_str()) {
        node.op = node.op["com.microsoft.".len()..].to_owned();
    }
    if version < legacy::END {
        legacy::normalize(b, &mut node, version)?;
    }
    match node.op.as_str() {
        "Squeeze" | "Unsqueeze" | "ReduceSum" if version < 13 => ints_to_input(b, &mut node, "axes", 1),
        "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare"
            if version < 18 =>
        {
            ints_to_input(b, &mut node, "axes", 1);
        }
        "Clip" if version < 11 => {
            for (i, key) in [(1, "min"), (2, "max")] {
                if let Some(Attr::Float(v)) = node.attrs.remove(key) {
                    let id = b.constant(&format!("{}/{key}", node.name), Tensor::f32(&[], vec![v]));
                    set_input(&mut node, i, id);
                }
            }
        }
        "Slice" if version < 10 => {
            ints_to_input(b, &mut node, "starts", 1);
            ints_to_input(b, &mut node, "ends", 2);
            ints_to_input(b, &mut node, "axes", 3);
        }
        "Split" => split(b, &mut node, version),
        "Pad" if version < 11 => {
            ints_to_input(b, &mut node, "pads", 1);
            if let Some(Attr::Float(v)) = node.attrs.remove("value") {
                let id = b.constant(&format!("{}/value", node.name), Tensor::f32(&[], vec![v]));
                set_input(&mut node, 2, id);
            }
        }
        "TopK" if version < 10 => {
            if let Some(Attr::Int(k)) = node.attrs.remove("k") {
                let id = b.constant(&format!("{}/k", node.name), Tensor::i64(&[1], vec![k]));
                set_input(&mut node, 1, id);
            }
        }
        "Upsample" => resize_from_scales(b, &mut node),
        "Resize" if version < 11 => resize_from_scales(b, &mut node),
        "Softmax" | "LogSoftmax" | "Hardmax" if version < 13 => return flat_softmax(b, &node),
        "Dropout" => return dropout(b, &node),
        "BatchNormalization" => {
            if node.int("spatial", 1) == 0 {
                return Err(node_error(
                    &node,
                    "normalizes every pixel by itself; export it with opset 9 or newer",
                ));
            }
            if node.int("training_mode", 0) == 0 {
                node.outputs.truncate(1);
            }
        }
        "DFT" if version < 20 => {
            node.attrs.entry("axis".to_owned()).or_insert(Attr::Int(1));
        }
        // Before opset 21, scale and bias of a group normalization had one element per group.
        "GroupNormalization" if version < 21 => {
            node.attrs.insert("per_group".to_owned(), Attr::Int(1));
        }
        "Scatter" => node.op = "ScatterElements".to_owned(),
        "GridSample" => {
            // Opset 16 says bilinear and bicubic where 20 says linear and cubic.
            let mode = match node.str("mode", "linear") {
                "bilinear" => "linear",
                "bicubic" => "cubic",
                other => other,
            };
            let mode = Attr::Str(mode.to_owned());
            node.attrs.insert("mode".to_owned(), mode);
        }
        _ => {}
    }
    b.push(node)
}

/// Outside training a dropout passes its input on, and its mask is all true.
fn dropout(b: &mut Builder, node: &Node) -> Result<(), ImportError> {
    let Some(x) = node.input(0) else { return Err(node_error(node, "lacks its input")) };
    let number = |i: usize| node.input(i).map(|v| b.graph.constant(v).map(|t| t.to_f32().first().copied()));
    let (ratio, training) = (number(1), number(2));
    let trains = match training {
        None => false,
        Some(None) => {
            return Err(node_error(
                node,
                "may be in training mode, as an input decides; fix that input with --fix",
            ));
        }
        Some(Some(v)) => v != Some(0.0),
    };
    let drops =
        !matches!(ratio, Some(Some(Some(0.0)))) && (ratio.is_some() || node.float("ratio", 0.5) != 0.0);
    if trains && drops {
        return Err(node_error(
            node,
            "drops elements at random, as in training; export the model for inference",
        ));
    }
    if let Some(&Some(y)) = node.outputs.first() {
        b.emit_to("Identity", &node.name, &[Some(x)], &[y], &[])?;
    }
    if let Some(&Some(mask)) = node.outputs.get(1) {
        let dims = b.graph.dims(x).to_vec();
        let count = dims.iter().product();
        b.graph.set_constant(mask, Tensor::new(dims, crate::graph::Data::Bool(vec![true; count])));
    }
    Ok(())
}

fn set_input(node: &mut Node, index: usize, id: ValueId) {
    while node.inputs.len() <= index {
        node.inputs.push(None);
    }
    node.inputs[index] = Some(id);
}

fn ints_to_input(b: &mut Builder, node: &mut Node, key: &str, index: usize) {
    if let Some(Attr::Ints(v)) = node.attrs.remove(key) {
        let id = b.constant(&format!("{}/{key}", node.name), Tensor::i64(&[v.len()], v));
        set_input(node, index, id);
    }
}

fn split(b: &mut Builder, node: &mut Node, version: i64) {
    if version < 13 {
        ints_to_input(b, node, "split", 1);
    }
    if node.input(1).is_none() && !node.attrs.contains_key("num_outputs") {
        node.attrs.insert("num_outputs".to_owned(), Attr::Int(node.outputs.len() as i64));
    }
}

/// `Upsample` and the `Resize` of opset 10: scales are the second input, coordinates are asymmetric, and nearest
/// means down when enlarging, up when shrinking.
fn resize_from_scales(b: &mut Builder, node: &mut Node) {
    if let Some(Attr::Floats(v)) = node.attrs.remove("scales") {
        let id = b.constant(&format!("{}/scales", node.name), Tensor::f32(&[v.len()], v));
        set_input(node, 1, id);
    }
    let scales = node.input(1);
    let shrinks =
        scales.and_then(|s| b.graph.constant(s)).is_some_and(|t| t.to_f32().iter().any(|&s| s < 1.0));
    node.op = "Resize".to_owned();
    node.inputs.truncate(1);
    node.inputs.extend([None, scales]);
    let attr = |s: &str| Attr::Str(s.to_owned());
    let mode = if node.str("mode", "nearest") == "nearest" { "nearest" } else { "linear" };
    node.attrs.insert("mode".to_owned(), attr(mode));
    node.attrs.insert("coordinate_transformation_mode".to_owned(), attr("asymmetric"));
    node.attrs.insert("nearest_mode".to_owned(), attr(if shrinks { "ceil" } else { "floor" }));
}

/// Before opset 13, softmax ran over all dimensions from `axis` on, as if they were one.
fn flat_softmax(b: &mut Builder, node: &Node) -> Result<(), ImportError> {
    let axis = node.int("axis", 1);
    let last = [("axis", Attr::Int(-1))];
    let mut node = node.clone();
    let (Some(x), Some(&Some(y))) = (node.input(0), node.outputs.first()) else {
        return b.push(node);
    };
    if axis == -1 || axis + 1 == b.graph.dims(x).len() as i64 {
        node.attrs.insert("axis".to_owned(), Attr::Int(-1));
        return b.push(node);
    }
    let name = node.name.as_str();
    let shape = b.emit("Shape", &format!("{name}/shape"), &[Some(x)], &[])?;
    let flat = b.emit("Flatten", &format!("{name}/flat"), &[Some(x)], &[("axis", Attr::Int(axis))])?;
    let soft = b.emit(&node.op, &format!("{name}/soft"), &[Some(flat)], &last)?;
    b.emit_to("Reshape", name, &[Some(soft), Some(shape)], &[y], &[])
}
