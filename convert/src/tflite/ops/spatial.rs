//! Pooling, resizing, and exchange of pixels and channels.

use super::conv::auto_pad;
use super::{Done, Rule, ints};
use crate::graph::Attr;
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("MAX_POOL_2D", |m, op| pool(m, op, Some("MaxPool"))),
    ("AVERAGE_POOL_2D", |m, op| pool(m, op, Some("AveragePool"))),
    ("L2_POOL_2D", |m, op| pool(m, op, None)),
    ("RESIZE_BILINEAR", bilinear),
    ("RESIZE_NEAREST_NEIGHBOR", nearest),
    ("DEPTH_TO_SPACE", |m, op| exchange(m, op, "DepthToSpace")),
    ("SPACE_TO_DEPTH", |m, op| exchange(m, op, "SpaceToDepth")),
];

/// Fields: padding 0, stride_w 1, stride_h 2, filter_width 3, filter_height 4, activation 5. Averages leave the
/// padding out; `L2_POOL_2D` is the root of the average square.
fn pool(m: &mut Importer<'_>, op: &Operator<'_>, onnx: Option<&str>) -> Done {
    let t = m.input(op, 0)?;
    let mut x = m.image(t)?;
    let squares = onnx.is_none();
    if squares {
        x = m.node("Mul", &[x, x], &[])?;
    }
    let padding = m.option(op, 0, 0i8)?;
    let strides = [m.option(op, 2, 0i32)?, m.option(op, 1, 0i32)?];
    let kernel = [m.option(op, 4, 0i32)?, m.option(op, 3, 0i32)?];
    let attrs = [
        auto_pad(m, padding)?,
        ("strides", Attr::Ints(strides.map(i64::from).to_vec())),
        ("kernel_shape", Attr::Ints(kernel.map(i64::from).to_vec())),
    ];
    let mut y = m.node(onnx.unwrap_or("AveragePool"), &[x], &attrs)?;
    if squares {
        y = m.node("Sqrt", &[y], &[])?;
    }
    let fused = m.option(op, 5, 0i8)?;
    m.finish(op, 0, y, Form::Image, fused)
}

/// Fields: align_corners 2, half_pixel_centers 3.
fn bilinear(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let coordinates = match (m.option(op, 2, false)?, m.option(op, 3, false)?) {
        (true, false) => "align_corners",
        (false, true) => "half_pixel",
        (false, false) => "asymmetric",
        (true, true) => {
            return Err(m.err("aligns corners and has half-pixel centers, which exclude each other"));
        }
    };
    resize(m, op, "linear", coordinates, "floor")
}

/// Fields: align_corners 0, half_pixel_centers 1. Coordinates are `x * scale`, rounded down, or to the nearest with
/// ties up when corners are aligned; with half-pixel centers `(x + 0.5) * scale` rounded down. The scale is the ratio of sizes in float32.
fn nearest(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (coordinates, rounding) = match (m.option(op, 0, false)?, m.option(op, 1, false)?) {
        (true, false) => ("tflite_align_corners", "round_prefer_ceil"),
        (false, true) => ("tflite_half_pixel", "floor"),
        (false, false) => ("tflite", "floor"),
        (true, true) => {
            return Err(m.err("aligns corners and has half-pixel centers, which exclude each other"));
        }
    };
    resize(m, op, "nearest", coordinates, rounding)
}

fn resize(m: &mut Importer<'_>, op: &Operator<'_>, mode: &str, coordinates: &str, rounding: &str) -> Done {
    let t = m.input(op, 0)?;
    let x = m.image(t)?;
    let [height, width] = ints::<2>(m, op, 1)?;
    let dims = m.dims_of(x);
    let sizes = m.list(&[dims[0] as i64, dims[1] as i64, height, width]);
    let attrs = [
        ("mode", Attr::Str(mode.to_owned())),
        ("coordinate_transformation_mode", Attr::Str(coordinates.to_owned())),
        ("nearest_mode", Attr::Str(rounding.to_owned())),
    ];
    let hint = m.hint.clone();
    let y = m.emit("Resize", &hint, &[Some(x), None, None, Some(sizes)], &attrs)?;
    m.finish(op, 0, y, Form::Image, 0)
}

/// Field: block_size 0. The channels of a block are ordered by row, column, then channel, as ONNX's `DCR` has them.
fn exchange(m: &mut Importer<'_>, op: &Operator<'_>, onnx: &str) -> Done {
    let t = m.input(op, 0)?;
    let x = m.image(t)?;
    let block = m.option(op, 0, 0i32)?;
    let y = m.node(onnx, &[x], &[("blocksize", Attr::Int(i64::from(block)))])?;
    m.finish(op, 0, y, Form::Image, 0)
}
