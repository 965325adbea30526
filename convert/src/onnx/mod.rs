//! From an ONNX file to a [`crate::graph::Graph`] in the vocabulary of the newest opset.

mod attribute;
mod control;
mod flex;
mod function;
mod import;
mod importer;
mod legacy;
mod narrow;
mod operators;
mod opset;
mod ports;
mod qoperator;
pub mod schema;
mod sequence;
mod tensor;
pub(crate) mod types;
mod versions;

pub use import::{ImportOptions, import, import_bytes};
pub(crate) use narrow::Narrow;
pub(crate) use operators::{operators, rewrites};
pub use tensor::read_tensor;
pub(crate) use tensor::{elem_number, elem_type};
pub(crate) use versions::versions;
