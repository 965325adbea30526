//! Memory: which tensors share a buffer, and where each buffer lies in the arena.
//!
//! A view, a slice of the last or of the outermost dimensions, an input of a concatenation that can be computed in
//! its place, and the output of an elementwise step whose input dies with it, all take no memory of their own.

mod offsets;
mod share;

pub use offsets::{Buffer, Placement, place};
pub use share::{Home, Sharing, share};
