//! Operators as the first six opsets define them, rewritten to what opset 7 says.

use crate::build::{Builder, node_error};
use crate::error::ImportError;
use crate::graph::{Attr, Node, Tensor, ValueId};

/// The first opset that does without all of this.
pub const END: i64 = 7;

/// Rewrites a node that follows an opset before [`END`].
///
/// # Errors
/// [`ImportError::Node`] when an attribute is none that the operator takes.
pub fn normalize(b: &mut Builder, node: &mut Node, version: i64) -> Result<(), ImportError> {
    // A hint about memory, which the first opset gave many operators.
    node.attrs.remove("consumed_inputs");
    match node.op.as_str() {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "And" | "Or" | "Xor" | "Equal" | "Greater" | "Less" => {
            broadcast(b, node)
        }
        "PRelu" => slope(b, node),
        "Cast" if version < 6 => cast(node),
        "Concat" if version < 4 => {
            node.attrs.entry("axis".to_owned()).or_insert(Attr::Int(1));
            Ok(())
        }
        "Reshape" if version < 5 => {
            if let Some(Attr::Ints(shape)) = node.attrs.remove("shape") {
                let id = b.constant(&format!("{}/shape", node.name), Tensor::i64(&[shape.len()], shape));
                node.inputs.truncate(1);
                node.inputs.push(Some(id));
            }
            Ok(())
        }
        "Pad" if version < 2 => {
            if let Some(pads) = node.attrs.remove("paddings") {
                node.attrs.insert("pads".to_owned(), pads);
            }
            Ok(())
        }
        "Selu" if version < 6 => {
            node.attrs.entry("alpha".to_owned()).or_insert(Attr::Float(1.6732));
            node.attrs.entry("gamma".to_owned()).or_insert(Attr::Float(1.0507));
            Ok(())
        }
        "LpPool" | "GlobalLpPool" if version < 2 => {
            let p = node.float("p", 2.0);
            node.attrs.insert("p".to_owned(), Attr::Int(p as i64));
            Ok(())
        }
        "Tile" if version < 6 => tile(b, node),
        "Upsample" => {
            let scales = vec![1.0, 1.0, node.float("height_scale", 1.0), node.float("width_scale", 1.0)];
            node.attrs.entry("scales".to_owned()).or_insert(Attr::Floats(scales));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The second operand's dimensions were those of the first from an axis on; later ones align at the end.
fn broadcast(b: &mut Builder, node: &mut Node) -> Result<(), ImportError> {
    let axis = node.attrs.remove("axis");
    node.attrs.remove("broadcast");
    let (Some(Attr::Int(axis)), Some(x), Some(y)) = (axis, node.input(0), node.input(1)) else {
        return Ok(());
    };
    let rank = b.graph.dims(x).len();
    let axis = crate::infer::axis(axis, rank).map_err(|e| node_error(node, e))?;
    let mut dims = b.graph.dims(y).to_vec();
    match rank.checked_sub(axis + dims.len()) {
        Some(behind) => dims.resize(dims.len() + behind, 1),
        None => return Err(node_error(node, format!("broadcasts {dims:?} from axis {axis} of {rank}"))),
    }
    node.inputs[1] = Some(reshape(b, node, y, &dims)?);
    Ok(())
}

/// Slopes of several channels stood for dimension 1.
fn slope(b: &mut Builder, node: &mut Node) -> Result<(), ImportError> {
    if let (Some(x), Some(slope)) = (node.input(0), node.input(1)) {
        let (rank, own) = (b.graph.dims(x).len(), b.graph.dims(slope).to_vec());
        if own.len() == 1 && own[0] > 1 && rank > 2 {
            let mut dims = vec![1; rank - 1];
            dims[0] = own[0];
            node.inputs[1] = Some(reshape(b, node, slope, &dims)?);
        }
    }
    Ok(())
}

fn reshape(b: &mut Builder, node: &Node, x: ValueId, dims: &[usize]) -> Result<ValueId, ImportError> {
    let hint = format!("{}/broadcast", node.name);
    let shape = b.constant(&hint, Tensor::i64(&[dims.len()], dims.iter().map(|&d| d as i64).collect()));
    b.emit("Reshape", &hint, &[Some(x), Some(shape)], &[])
}

/// Types were named, not numbered.
fn cast(node: &mut Node) -> Result<(), ImportError> {
    let Some(Attr::Str(name)) = node.attrs.get("to") else { return Ok(()) };
    let numbered = [
        "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE",
        "UINT32", "UINT64",
    ];
    match numbered.iter().position(|n| n == name) {
        Some(i) => {
            node.attrs.insert("to".to_owned(), Attr::Int(i as i64 + 1));
            Ok(())
        }
        None => Err(node_error(node, format!("casts to '{name}', which is no element type"))),
    }
}

/// Inputs were how often, and along which axis.
fn tile(b: &mut Builder, node: &mut Node) -> Result<(), ImportError> {
    let number = |i: usize| {
        let constant = node.input(i).and_then(|v| b.graph.constant(v));
        constant.and_then(|t| t.to_i64()).and_then(|v| v.first().copied())
    };
    let Some(x) = node.input(0) else { return Ok(()) };
    let (Some(tiles), Some(axis)) = (number(1), number(2)) else {
        return Err(node_error(
            node,
            "repeats by a number that is computed while the model runs; fix the input that it follows from with --fix",
        ));
    };
    let rank = b.graph.dims(x).len();
    let mut repeats = vec![1; rank];
    repeats[crate::infer::axis(axis, rank).map_err(|e| node_error(node, e))?] = tiles;
    let id = b.constant(&format!("{}/repeats", node.name), Tensor::i64(&[rank], repeats));
    node.inputs = vec![Some(x), Some(id)];
    Ok(())
}
