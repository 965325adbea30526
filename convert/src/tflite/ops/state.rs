//! Variables: what a model keeps from run to run.

use super::{Done, Rule};
use crate::error::ImportError;
use crate::graph::{State, Tensor, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;

pub(super) const RULES: &[(&str, Rule)] =
    &[("ASSIGN_VARIABLE", assign), ("CALL_ONCE", call_once), ("READ_VARIABLE", read), ("VAR_HANDLE", handle)];

/// A variable of the model.
#[derive(Debug)]
pub struct Variable {
    /// Container and name, by which every handle of it finds it.
    key: (String, String),
    /// What it holds before the first run.
    initial: Option<std::sync::Arc<Tensor>>,
    /// What a run finds in it, once something reads that.
    found: Option<ValueId>,
    /// What it holds at this point of the model, once something was assigned.
    now: Option<ValueId>,
}

/// Fields: container 0, shared_name 1.
fn handle(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let text = |id| op.options.map_or(Ok(String::new()), |o| o.string(id)).map_err(|e| m.err(e));
    let key = (text(0)?, text(1)?);
    let known = m.variables.iter().position(|v| v.key == key);
    let index = known.unwrap_or_else(|| {
        m.variables.push(Variable { key, initial: None, found: None, now: None });
        m.variables.len() - 1
    });
    let t = m.output(op, 0)?;
    m.slots[t].variable = Some(index);
    Ok(())
}

/// The variable behind input 0.
fn variable(m: &Importer<'_>, op: &Operator<'_>) -> Result<usize, ImportError> {
    let t = m.input(op, 0)?;
    let reason = || m.err(format!("needs the handle of a variable, which '{}' is not", m.name(t)));
    m.slots[t].variable.ok_or_else(reason)
}

/// Field: init_subgraph_index 0. That graph assigns what variables hold before the first run.
fn call_once(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let index = m.option(op, 0, 0i32)?;
    m.initialize(index)?;
    for i in 0..m.variables.len() {
        let Some(value) = m.variables[i].now.take() else { continue };
        match m.builder.graph.constant(value) {
            Some(t) => m.variables[i].initial = Some(std::sync::Arc::clone(t)),
            None => return Err(m.err("begins with values that are computed; convert the model again")),
        }
    }
    Ok(())
}

impl Importer<'_> {
    /// What a run finds in a tensor that keeps its value: zeros before the first one.
    pub fn found(&mut self, t: usize) -> Result<ValueId, ImportError> {
        let index = self.kept(t)?;
        if let Some(found) = self.variables[index].found {
            return Ok(found);
        }
        let dims = self.graph.tensors[t].dims().map_err(|e| self.err(e))?;
        let Some(count) = crate::infer::elements(&dims) else {
            return Err(self.err(format!("keeps a state of dimensions {dims:?}, which are too large")));
        };
        let (elem, zero) = (self.elem(t)?, self.zero_point(t)?);
        if zero != 0 {
            let zeros = Tensor::new(dims.clone(), crate::graph::Data::I64(vec![zero; count]));
            self.variables[index].initial = Some(std::sync::Arc::new(crate::fold::cast(&zeros, elem)));
        }
        let id = self.builder.value(&self.name(t));
        let value = self.builder.graph.value_mut(id);
        (value.elem, value.dims) = (Some(elem), Some(dims));
        self.variables[index].found = Some(id);
        self.slots[t].stored = Some(id);
        Ok(id)
    }

    /// Says that the next run finds `value` in a tensor that keeps its value.
    pub fn keep(&mut self, t: usize, value: ValueId) -> Result<(), ImportError> {
        // A state may also be an ordinary tensor, whose changes are lost.
        if !self.graph.tensors[t].is_variable().map_err(|e| self.err(e))? {
            return Ok(());
        }
        let index = self.kept(t)?;
        self.variables[index].now = Some(self.as_stored(t, value)?);
        Ok(())
    }

    /// The variable that a tensor which keeps its value is.
    fn kept(&mut self, t: usize) -> Result<usize, ImportError> {
        if let Some(index) = self.slots[t].kept {
            return Ok(index);
        }
        self.variables.push(Variable {
            key: (format!("tensor {t}"), self.name(t)),
            initial: None,
            found: None,
            now: None,
        });
        let index = self.variables.len() - 1;
        self.slots[t].kept = Some(index);
        Ok(index)
    }
}

/// Inputs: handle, value.
fn assign(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let index = variable(m, op)?;
    let t = m.input(op, 1)?;
    m.variables[index].now = Some(m.outward(t)?);
    Ok(())
}

fn read(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let index = variable(m, op)?;
    let t = m.output(op, 0)?;
    let value = match (m.variables[index].now, m.variables[index].found) {
        (Some(value), _) | (None, Some(value)) => value,
        (None, None) => {
            let dims = m.graph.tensors[t].dims().map_err(|e| m.err(e))?;
            let elem = m.elem(t)?;
            if crate::infer::elements(&dims).is_none() {
                return Err(m.err(format!("reads a variable of dimensions {dims:?}, which are too large")));
            }
            let name = m.variables[index].key.1.clone();
            let id = m.builder.value(if name.is_empty() { "variable" } else { &name });
            let value = m.builder.graph.value_mut(id);
            (value.elem, value.dims) = (Some(elem), Some(dims));
            m.variables[index].found = Some(id);
            id
        }
    };
    m.give_stored(t, value)
}

/// The variables that runs read before they assign them, as states.
pub fn states(m: &Importer<'_>) -> Result<Vec<State>, ImportError> {
    let graph = &m.builder.graph;
    let mut states = Vec::new();
    for v in &m.variables {
        let Some(input) = v.found else { continue };
        let output = v.now.unwrap_or(input);
        let form = |id: ValueId| (graph.elem(id), graph.dims(id).to_vec());
        let begins = v.initial.as_ref().map(|t| (t.elem(), t.dims.clone()));
        if form(input) != form(output) || begins.as_ref().is_some_and(|b| *b != form(input)) {
            return Err(ImportError::Malformed {
                reason: format!(
                    "variable '{}' is {:?} where it is read, {:?} where it is assigned and {begins:?} at first",
                    v.key.1,
                    form(input),
                    form(output),
                ),
            });
        }
        let name = graph.value(input).name.clone();
        states.push(State { name, input, output, initial: v.initial.clone() });
    }
    Ok(states)
}
