//! Which rule each operator follows.

use super::{
    Rows, bounds, input_rows, join, mark, moves, pad, plain, reduce, refuse, rows, source, with_inputs,
};
use crate::error::ImportError;
use crate::expand::make::Make;
use crate::graph::ValueId;

pub(super) type Done = Result<(), ImportError>;

/// Operators that compute each element from those at the same place.
const ELEMENTWISE: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Dropout",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
];

/// Operators that do the same to each element of the first dimension.
const BATCHED: &[&str] = &[
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "MaxPool",
    "Resize",
    "SpaceToDepth",
];

/// Appends a node that makes or meets rows whose number the data decides.
pub(super) fn apply(m: &mut Make<'_, '_>) -> Done {
    match m.node.op.as_str() {
        "NonZero" => return source::non_zero(m),
        "Compress" => return source::compress(m),
        "NonMaxSuppression" => return source::suppression(m),
        // Their shapes may follow from counts where no input has rows that are missing.
        "Reshape" | "Flatten" => return moves::reshape(m),
        "Expand" => return moves::expand(m),
        "ConstantOfShape" => return moves::constant_of_shape(m),
        "Range" => return moves::range(m),
        "Slice" => return moves::slice(m),
        "TopK" => return reduce::top_k(m),
        _ => {}
    }
    if !m.node.inputs.iter().flatten().any(|&v| rows(m, v).is_some()) {
        return bounds::computed(m);
    }
    match m.node.op.as_str() {
        op if ELEMENTWISE.contains(&op) => elementwise(m),
        op if BATCHED.contains(&op) => batched(m),
        op if op.starts_with("Reduce") => reduce::reduction(m),
        "ArgMax" | "ArgMin" => reduce::best(m),
        "Concat" => join::concat(m),
        "CumSum" => same(m),
        "Gather" => moves::gather(m),
        "GatherElements" => moves::gather_elements(m),
        "GatherND" => moves::gather_nd(m),
        "Gemm" | "MatMul" => reduce::product(m),
        "LayerNormalization" | "LpNormalization" => normalized(m),
        "OneHot" => one_hot(m),
        "Pad" => pad::pad(m),
        "RoiAlign" => roi_align(m),
        "ScatterElements" | "ScatterND" => moves::scatter(m),
        "Shape" => moves::shape(m),
        "Size" => moves::size(m),
        "Softmax" | "LogSoftmax" => reduce::softmax(m),
        "Split" => split(m),
        "Squeeze" => moves::squeeze(m),
        "Tile" => tile(m),
        "Transpose" => moves::transpose(m),
        "Unsqueeze" => moves::unsqueeze(m),
        _ => refuse(m),
    }
}

/// Where the rows of the inputs come to lie in a result of `rank` dimensions that they are broadcast to. Inputs of which
/// more could be there than of others are cut: as many are there.
pub(super) fn aligned(
    m: &mut Make<'_, '_>,
    inputs: &mut [Option<ValueId>],
) -> Result<Option<Rows>, ImportError> {
    let rank = inputs.iter().flatten().map(|&v| m.rank(v)).max().unwrap_or(0);
    let mut found: Option<Rows> = None;
    let mut least = usize::MAX;
    for &v in inputs.iter().flatten() {
        let Some(rows) = rows(m, v) else { continue };
        let axis = rows.axis + rank - m.rank(v);
        if found.is_some_and(|f| f.axis != axis) {
            return m.fail(
                "meets two dimensions whose sizes the data decides; one is possible: cut the model off before it",
            );
        }
        least = least.min(m.dims(v)[rows.axis]);
        found.get_or_insert(Rows { axis, ..rows });
    }
    for slot in inputs.iter_mut() {
        let Some(v) = *slot else { continue };
        if let Some(rows) = rows(m, v) {
            *slot = Some(m.slice(v, rows.axis, 0, least)?);
        }
    }
    Ok(found)
}

fn elementwise(m: &mut Make<'_, '_>) -> Done {
    let mut inputs = m.node.inputs.clone();
    let found = aligned(m, &mut inputs)?;
    with_inputs(m, inputs)?;
    if let Some(rows) = found {
        mark(m, 0, rows.axis, rows.count);
    }
    Ok(())
}

/// Rows stay where they are.
pub(super) fn same(m: &mut Make<'_, '_>) -> Done {
    let Some(rows) = input_rows(m, 0) else { return refuse(m) };
    plain(m)?;
    mark(m, 0, rows.axis, rows.count);
    Ok(())
}

fn batched(m: &mut Make<'_, '_>) -> Done {
    match input_rows(m, 0) {
        Some(rows) if rows.axis == 0 => same(m),
        _ => refuse(m),
    }
}

/// Along dimensions from `axis` on.
fn normalized(m: &mut Make<'_, '_>) -> Done {
    let Some(rows) = input_rows(m, 0) else { return refuse(m) };
    let axis = m.axis("axis", -1, m.rank(m.input(0)?))?;
    if rows.axis >= axis { refuse(m) } else { same(m) }
}

/// Before the new dimension, which is the last by default.
fn one_hot(m: &mut Make<'_, '_>) -> Done {
    let (Some(rows), rank) = (input_rows(m, 0), m.rank(m.input(0)?)) else { return refuse(m) };
    let axis = m.axis("axis", -1, rank + 1)?;
    plain(m)?;
    mark(m, 0, rows.axis + usize::from(axis <= rows.axis), rows.count);
    Ok(())
}

/// Inputs: images, regions `[R, 4]`, the image of each.
fn roi_align(m: &mut Make<'_, '_>) -> Done {
    let (None, Some(rows)) = (input_rows(m, 0), input_rows(m, 1)) else { return refuse(m) };
    let mut inputs = m.node.inputs.clone();
    aligned_first(m, &mut inputs[1..])?;
    with_inputs(m, inputs)?;
    mark(m, 0, 0, rows.count);
    Ok(())
}

/// Inputs whose first dimensions are the same rows, cut to as many.
fn aligned_first(m: &mut Make<'_, '_>, inputs: &mut [Option<ValueId>]) -> Done {
    let least = inputs.iter().flatten().map(|&v| m.dims(v)[0]).min().unwrap_or(0);
    for slot in inputs.iter_mut() {
        if let Some(v) = *slot {
            *slot = Some(m.slice(v, 0, 0, least)?);
        }
    }
    Ok(())
}

fn split(m: &mut Make<'_, '_>) -> Done {
    let Some(rows) = input_rows(m, 0) else { return refuse(m) };
    if m.axis("axis", 0, m.rank(m.input(0)?))? == rows.axis {
        return refuse(m);
    }
    plain(m)?;
    for i in 0..m.node.outputs.len() {
        mark(m, i, rows.axis, rows.count);
    }
    Ok(())
}

fn tile(m: &mut Make<'_, '_>) -> Done {
    let Some(rows) = input_rows(m, 0) else { return refuse(m) };
    let once = m.ints(1)?.is_some_and(|r| r.get(rows.axis) == Some(&1));
    if once { same(m) } else { refuse(m) }
}
