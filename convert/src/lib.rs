//! convert
pub mod error;
pub mod fold;
pub mod graph;
pub mod infer;
pub mod onnx;
pub mod passes;
