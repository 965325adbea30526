//! Runs `.cygnet` models on edge devices: a file mapped once, all memory taken once, the same bits on every CPU.
//!
//! ```no_run
//! use cygnet::{Model, Session, SessionOptions};
//!
//! # fn main() -> Result<(), cygnet::Error> {
//! let model = Model::open("mobilenet.cygnet")?;
//! let mut session = Session::new(&model, &SessionOptions::default())?;
//! session.input_mut::<f32>("images")?.fill(0.5);
//! session.run()?;
//! let scores = session.output("output")?.values::<f32>()?;
//! # let _ = scores;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Model`] is a checked file; a [`Session`] one of its programs with memory and threads. Everything that can
//! fail or allocate happens when they are made; [`Session::run`] does neither. Several sessions may share one
//! model, and one [`Pool`] of threads.

mod affinity;
#[cfg(feature = "npz")]
mod archive;
pub mod bundle;
mod error;
pub mod gauge;
pub mod golden;
mod map;
mod model;
#[cfg(feature = "npz")]
pub mod npz;
pub mod pool;
pub mod profile;
mod session;
mod spread;
mod state;
mod tensor;
pub mod topology;
#[cfg(feature = "vision")]
pub mod vision;

pub use cygnet_format as format;
pub use cygnet_format::program::{DType, Program, Quant};
pub use cygnet_kernels::kernel::MAX_SCRATCH;
pub use cygnet_kernels::{Cpu, Pages};
pub use error::Error;
pub use model::{Model, OpenOptions};
pub use pool::{Pool, PoolOptions};
pub use profile::Profile;
pub use session::{Memory, Select, Session, SessionOptions};
pub use tensor::{Element, TensorRef};
