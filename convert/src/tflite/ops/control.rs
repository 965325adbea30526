//! Operators that run other graphs of the file: calls inlined, branches chosen, loops unrolled.

use super::{Done, Rule};
use crate::error::ImportError;
use crate::graph::ValueId;
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::{Form, Slot};

pub(super) const RULES: &[(&str, Rule)] =
    &[("CALL", call), ("STABLEHLO_COMPOSITE", composite), ("IF", branch), ("WHILE", repeat)];

/// Most rounds of a loop: each becomes nodes of its own.
const MAX_ROUNDS: usize = 1 << 16;

/// Field: subgraph 0.
fn call(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let graph = i32::try_from(m.option(op, 0, 0u32)?).unwrap_or(-1);
    inline(m, op, graph)
}

/// A larger operator with what it stands for. Field: decomposition_subgraph_index 1.
fn composite(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let graph = op.more_options.map_or(Ok(0), |o| o.get(1, 0i32)).map_err(|e| m.err(e))?;
    inline(m, op, graph)
}

fn inline(m: &mut Importer<'_>, op: &Operator<'_>, graph: i32) -> Done {
    let given = arguments(m, op, 0)?;
    let made = m.subgraph(graph, &given)?;
    give(m, op, made)
}

/// What stands for the inputs from `first` on.
fn arguments(m: &mut Importer<'_>, op: &Operator<'_>, first: usize) -> Result<Vec<Slot>, ImportError> {
    (first..op.inputs.len())
        .map(|i| {
            let t = m.input(op, i)?;
            m.slot(t)
        })
        .collect()
}

fn give(m: &mut Importer<'_>, op: &Operator<'_>, made: Vec<Slot>) -> Done {
    if made.len() != op.outputs.len() {
        return Err(m.err(format!("has {} outputs, its graph gives {}", op.outputs.len(), made.len())));
    }
    for (i, slot) in made.into_iter().enumerate() {
        let t = m.output(op, i)?;
        m.slots[t] = slot;
    }
    Ok(())
}

/// A boolean that is known at conversion.
fn truth(m: &Importer<'_>, slot: &Slot) -> Option<bool> {
    let constant = m.builder.graph.constant(slot.plain.or(slot.stored)?)?;
    constant.to_i64()?.first().map(|&v| v != 0)
}

/// Fields: then_subgraph_index 0, else_subgraph_index 1. A condition that is only known when the model runs selects
/// between what both branches give, which then has to have equal shapes.
fn branch(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (yes, no) = (m.option(op, 0, 0i32)?, m.option(op, 1, 0i32)?);
    let condition = m.input(op, 0)?;
    let condition = m.slot(condition)?;
    let given = arguments(m, op, 1)?;
    match truth(m, &condition) {
        Some(true) => {
            let made = m.subgraph(yes, &given)?;
            give(m, op, made)
        }
        Some(false) => {
            let made = m.subgraph(no, &given)?;
            give(m, op, made)
        }
        None => {
            let (a, b) = (m.subgraph(yes, &given)?, m.subgraph(no, &given)?);
            if a.len() != b.len() || a.len() != op.outputs.len() {
                return Err(m.err(format!("has branches that give {} and {} tensors", a.len(), b.len())));
            }
            for (i, (a, b)) in a.into_iter().zip(b).enumerate() {
                let y = select(m, &condition, a, b)?;
                m.finish(op, i, y, Form::Plain, 0)?;
            }
            Ok(())
        }
    }
}

/// `condition ? a : b` of real numbers in the file's order.
fn select(m: &mut Importer<'_>, condition: &Slot, a: Slot, b: Slot) -> Result<ValueId, ImportError> {
    let (Some(condition), Some(x), Some(y)) = (condition.plain, a.plain, b.plain) else {
        return Err(m.err("chooses between what are not numbers while the model runs"));
    };
    let (xd, yd) = (m.dims_of(x), m.dims_of(y));
    if xd != yd || m.elem_of(x) != m.elem_of(y) {
        return Err(m.err(format!(
            "decides while the model runs between {xd:?} and {yd:?}; only tensors of one shape and type can be chosen, \
             convert one branch"
        )));
    }
    let single = m.reshape(condition, &vec![1; xd.len()])?;
    m.node("Where", &[single, x, y], &[])
}

/// Fields: cond_subgraph_index 0, body_subgraph_index 1. Unrolled as long as the condition is known at conversion.
fn repeat(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (condition, body) = (m.option(op, 0, 0i32)?, m.option(op, 1, 0i32)?);
    let mut carried = arguments(m, op, 0)?;
    for _ in 0..MAX_ROUNDS {
        let goes_on = m.subgraph(condition, &carried)?;
        match goes_on.first().and_then(|slot| truth(m, slot)) {
            Some(true) => carried = m.subgraph(body, &carried)?,
            Some(false) => return give(m, op, carried),
            None => {
                return Err(m.err(
                    "decides while the model runs how often it repeats; convert the model with a loop of a known length",
                ));
            }
        }
    }
    Err(m.err(format!("repeats more than {MAX_ROUNDS} times; convert it with a shorter loop")))
}
