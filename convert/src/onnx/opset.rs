//! Nodes of opset 9 and later, rewritten to the form that the newest opset gives them: attributes that became
//! inputs, operators that were renamed, defaults that changed.

use super::builder::Builder;
use super::qoperator;
use crate::error::ImportError;
use crate::graph::{Attr, Node, Tensor, ValueId};

/// Oldest version of ONNX's operators that is understood.
pub const OLDEST: i64 = 9;

/// Appends `node`, which follows `version` of ONNX's operators, in its newest form.
///
/// # Errors
/// [`ImportError::Node`] when an attribute asks for what inference cannot do (training) or is missing.
pub fn normalize(b: &mut Builder, mut node: Node, version: i64) -> Result<(), ImportError> {
    if qoperator::normalize(b, &node)? {
        return Ok(());
    }
    let op = node.op.strip_prefix("com.microsoft.").unwrap_or(&node.op).to_owned();
    match op.as_str() {
        // Contributed operators that ONNX has since taken over unchanged.
        "QuantizeLinear" | "DequantizeLinear" | "Gelu" | "LayerNormalization" | "Trilu" | "GridSample" => {
            node.op.clone_from(&op);
        }
        "FastGelu" if node.op.starts_with("com.") && node.input(1).is_none() => {
            node.op = "Gelu".to_owned();
            node.attrs.insert("approximate".to_owned(), Attr::Str("tanh".to_owned()));
        }
        "QuickGelu" => {
            node.op = "Swish".to_owned();
            let alpha = node.float("alpha", 1.702);
            node.attrs.insert("alpha".to_owned(), Attr::Float(alpha));
        }
        _ => {}
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
        // Outside training the mask is all true and nearly never asked for; inference reports it if it is.
        "Dropout" if node.outputs.get(1).copied().flatten().is_none() => {
            node.op = "Identity".to_owned();
            node.inputs.truncate(1);
            node.outputs.truncate(1);
            node.attrs.clear();
        }
        "BatchNormalization" => {
            if node.int("training_mode", 0) != 0 {
                return Err(ImportError::Node {
                    op: node.op,
                    node: node.name,
                    reason: "is in training mode; export the model for inference".to_owned(),
                });
            }
            node.outputs.truncate(1);
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
    b.push(node);
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
        b.push(node);
        return Ok(());
    };
    if axis == -1 {
        node.attrs.insert("axis".to_owned(), Attr::Int(-1));
        b.push(node);
        return Ok(());
    }
    let name = node.name.as_str();
    let shape = b.emit("Shape", &format!("{name}/shape"), &[Some(x)], &[]);
    let flat = b.emit("Flatten", &format!("{name}/flat"), &[Some(x)], &[("axis", Attr::Int(axis))]);
    let soft = b.emit(&node.op, &format!("{name}/soft"), &[Some(flat)], &last);
    b.emit_to("Reshape", name, &[Some(soft), Some(shape)], y, &[]);
    Ok(())
}
