//! From an ONNX file to a [`crate::graph::Graph`] in the vocabulary of the newest opset.

pub(crate) mod builder;
mod import;
mod opset;
mod qoperator;
pub mod schema;
mod tensor;

pub use import::{ImportOptions, import, import_bytes};
pub(crate) use tensor::{elem_number, elem_type};
