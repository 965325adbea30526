//! Values that persist from run to run, made of inputs and outputs.

use crate::error::ImportError;
use crate::graph::{Graph, State, ValueId};

/// Makes states of pairs of an input and an output: what a run gives for the output is what the next run finds as the
/// input. Both cease to be the user's.
///
/// # Errors
/// Names the pair that does not suit, and why.
pub fn tie(graph: &mut Graph, pairs: &[(String, String)]) -> Result<(), ImportError> {
    for (input, output) in pairs {
        let fail = |reason| ImportError::StateOption { input: input.clone(), output: output.clone(), reason };
        let from = find(graph, &graph.inputs, input, "input").map_err(fail)?;
        let to = find(graph, &graph.outputs, output, "output").map_err(fail)?;
        let form = |id: ValueId| (graph.elem(id), graph.dims(id).to_vec());
        let ((elem, dims), (next_elem, next_dims)) = (form(from), form(to));
        if (elem, &dims) != (next_elem, &next_dims) {
            return Err(fail(format!(
                "the input is {elem} {dims:?}, the output {next_elem} {next_dims:?}; only values of one type and shape \
                 can be handed on, so give the shapes of all inputs with --shape"
            )));
        }
        graph.inputs.retain(|&v| v != from);
        graph.outputs.retain(|&v| v != to);
        graph.states.push(State { name: input.clone(), input: from, output: to, initial: None });
    }
    if !pairs.is_empty() && graph.outputs.is_empty() {
        let reason = "the model has no other output, so nothing would come of running it".to_owned();
        let (input, output) = pairs[pairs.len() - 1].clone();
        return Err(ImportError::StateOption { input, output, reason });
    }
    Ok(())
}

/// The value of this name among inputs or outputs.
fn find(graph: &Graph, among: &[ValueId], name: &str, what: &str) -> Result<ValueId, String> {
    among.iter().copied().find(|&v| graph.value(v).name == name).ok_or_else(|| {
        let names: Vec<_> = among.iter().map(|&v| format!("'{}'", graph.value(v).name)).collect();
        format!("the model has no {what} '{name}' that is free; it has {}", names.join(", "))
    })
}
