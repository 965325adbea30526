//! The `.cygnet` model file: its layout, a checked reader and a writer.
//!
//! `docs/format.md` describes the bytes. [`Reader::open`] proves the header and the section table,
//! [`Reader::program`] a program, [`Reader::check_payload`] every byte; [`Writer`] builds files that pass all
//! three, the same bytes for the same inputs.

mod bytes;
pub mod check;
pub mod error;
pub mod golden;
pub mod layout;
pub mod meta;
pub mod op;
pub mod program;
pub mod quant;
mod range;
pub mod reader;
mod records;
pub mod save;
mod version;
pub mod writer;

pub use check::{Item, Problem, ProgramError};
pub use error::FormatError;
pub use golden::{Array, GoldenCase};
pub use layout::{Kind, Section};
pub use meta::{Meta, MetaError};
pub use program::{DType, Port, Program, Quant, State, Step, Storage, Tensor, TensorId};
pub use quant::{Precision, QuantReport, StepReport, TensorRange};
pub use reader::Reader;
pub use save::{SaveError, write_atomic};
pub use writer::{WeightsAlign, Writer};
