//! Which steps run in which precision, and the lowered graph rewritten so.

mod apply;
mod choose;
mod groups;
mod reals;
mod weights;

pub use apply::{add_padding_rows, apply};
pub use choose::{Plan, Precision, choose};
