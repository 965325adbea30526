//! Operators that stand for others: each becomes the nodes that compute it, with its shapes known.
//!
//! What later stages see is a small vocabulary (`docs/architecture.md`). An expansion follows the definition of the
//! operator; where that is a recurrence or a selection, steps of the runtime do it, and the operator stays.

mod attention;
mod classic;
mod einsum;
mod elementwise;
mod index;
mod loss;
pub(crate) mod make;
mod matrix;
mod narrow;
mod normal;
mod places;
mod quant;
mod recurrent;
mod resize;
mod signal;
mod spatial;
mod text;
mod tree;
mod volume;

use crate::build::Builder;
use crate::error::ImportError;
use crate::graph::Node;
use make::{Done, Make};

/// Expands a node if it can; `false` leaves it as it is.
type Rule = fn(&mut Make<'_, '_>) -> Done;

const TABLES: &[&[(&str, Rule)]] = &[
    attention::RULES,
    classic::RULES,
    einsum::RULES,
    elementwise::RULES,
    index::RULES,
    loss::RULES,
    matrix::RULES,
    normal::RULES,
    places::RULES,
    quant::RULES,
    recurrent::RULES,
    resize::RULES,
    signal::RULES,
    spatial::RULES,
    text::RULES,
    tree::RULES,
    volume::RULES,
];

fn rule(op: &str) -> Option<Rule> {
    TABLES.iter().copied().flatten().find(|(name, _)| *name == op).map(|&(_, rule)| rule)
}

/// All operators that are, or may be, expanded.
pub(crate) fn operators() -> impl Iterator<Item = &'static str> {
    TABLES.iter().copied().flatten().map(|&(name, _)| name)
}

/// Whether an operator is, or may be, expanded.
pub(crate) fn handles(op: &str) -> bool {
    rule(op).is_some()
}

/// Makes the nodes that `node` stands for; `false` when it stands for itself.
///
/// # Errors
/// [`ImportError::Node`] when it cannot be expressed.
pub(crate) fn expand(b: &mut Builder, node: &Node) -> Result<bool, ImportError> {
    match rule(&node.op) {
        Some(rule) => rule(&mut Make { b, node }),
        None => Ok(false),
    }
}
