//! The `.cygnet` model file: its layout, a checked reader and a writer.
//!
//! `docs/format.md` describes the bytes.

pub mod op;
pub mod program;
