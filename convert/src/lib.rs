//! Conversion of trained networks into `.cygnet` files: import, simplify, lower, calibrate, quantize, plan, pack.
//!
//! [`convert`] does all of it. Its stages stand in the order in which they run: [`onnx`] or [`tflite`] reads a
//! [`graph`], [`infer`] and [`fold`] give it static shapes, [`passes`] simplify it, [`lower`] turns it into steps
//! ([`lir`]), [`calibrate`] sees what values its tensors take, [`tune`] readies it for fewer bits, [`precision`] puts it
//! into fewer bits, [`algorithm`] chooses how convolutions are done, [`plan`] places its tensors, [`emit`] writes the
//! program.

pub mod algorithm;
pub mod apart;
mod attention;
mod build;
pub mod calibrate;
mod clip;
pub mod compare;
pub mod emit;
pub mod error;
mod expand;
pub mod explain;
pub mod float64;
pub mod fold;
pub mod fuse;
mod goldens;
pub mod graph;
pub mod infer;
pub mod judge;
pub mod lir;
pub mod lower;
pub mod noise;
pub mod onnx;
pub mod operators;
pub mod passes;
mod pipeline;
pub mod plan;
pub mod precision;
pub mod predict;
mod ragged;
pub mod ranges;
mod residual;
pub mod search;
pub mod sensitivity;
mod source;
pub mod sparsity;
pub mod state;
pub mod tflite;
pub mod tune;

pub use calibrate::part::{Part, calibrate_part};
pub use calibrate::{Calibration, CalibrationFileError, Calibrator, Samples};
pub use error::ImportError;
pub use judge::Judge;
pub use onnx::ImportOptions;
pub use pipeline::{
    ConvertError, Converted, Options, Progress, Silent, StepSummary, convert, file_of, import, prepare,
};
pub use precision::Precision;
pub use search::Budget;
pub use tune::{Enlarged, Tool, Tools};
