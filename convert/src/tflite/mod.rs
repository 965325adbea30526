//! From a TensorFlow Lite file to a [`crate::graph::Graph`] in ONNX's vocabulary.
//!
//! TensorFlow Lite keeps images channels-last. Each rank-4 tensor may exist in two forms here: `plain`, in the file's
//! order, and `image`, NCHW as ONNX's operators want it; `Transpose` nodes between them are made where an operator
//! asks for the other form, and lowering cancels them. Operators that work in any order take the image form, so that
//! padding, convolution and activation stay neighbours.
//!
//! Quantized tensors become `QuantizeLinear` and `DequantizeLinear` around float operators.

mod constant;
mod flatbuf;
mod flexbuf;
mod import;
mod make;
mod names;
mod ops;
mod schema;
mod sparse;
pub(crate) mod types;
mod values;

pub use import::{import, import_bytes};
pub(crate) use ops::operators;
