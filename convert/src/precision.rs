//! Which steps run in which precision, and the lowered graph rewritten so.

mod apply;
mod blocks;
mod choose;
mod functions;
mod given;
mod groups;
mod infinite;
mod memo;
mod reals;
pub mod rounding;
mod rows;
mod weights;

pub use apply::{add_padding_rows, apply};
pub use choose::{Plan, Precision, choose, has_real, is_product};
pub use functions::{Function, functions};
pub use given::{Given, given};
pub use groups::{quants as scales, shared};
pub use infinite::infinite;
pub use memo::Memo;
