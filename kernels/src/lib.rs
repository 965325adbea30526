//! Neural network kernels for aarch64 and x86-64 that give the same bits on every instruction set.
//!
//! [`prepare`] turns a step of a program into a [`Kernel`]: its operands proved in bounds, the
//! implementation chosen for a [`Cpu`], its work cut into tiles. [`exec::Leader`] runs prepared kernels over
//! an arena, alone or with helpers on other threads. Each family of kernels has a folder: its table of
//! implementations (one row each), an oracle in plain scalar Rust that defines the bits, and a file per
//! instruction set. `docs/arithmetic.md` is the specification that the oracles follow.

// Other processors take the portable kernels, and much that serves vector kernels is there for nothing.
#![cfg_attr(not(any(target_arch = "aarch64", target_arch = "x86_64")), allow(unused, unreachable_code))]

pub mod arena;
pub mod attention;
pub mod blocks;
pub mod conv;
pub mod copy;
pub mod cpu;
pub mod cumulate;
pub mod depthwise;
pub mod exec;
pub mod gather;
pub mod kernel;
pub mod math;
pub mod matmul;
pub mod pool;
pub mod recurrent;
pub mod resize;
pub mod sample;
pub mod scatter;
pub mod sparse;
pub mod suppress;
pub mod top_k;
pub mod view;

mod binary;
mod convert;
mod fill;
mod float;
mod key;
mod lanes;
mod layer_norm;
mod map;
mod prepare;
mod quant;
mod quantize_rows;
mod reduce;
mod select;
mod simd;
mod softmax;
mod walk;

#[cfg(test)]
mod testing;

pub use arena::{Arena, Pages};
pub use cpu::{Cpu, Features};
pub use kernel::{Algorithm, Kernel, PrepareError};
pub use prepare::{Limits, ROW_SLACK, prepare, prepare_by, works_in_place};
