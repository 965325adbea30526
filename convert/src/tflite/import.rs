//! The importer: a file's operators one after the other, each inferred and folded as soon as it is made.

use std::collections::BTreeMap;
use std::path::Path;

use super::ops;
use super::ops::Variable;
use super::schema::{Model, Operator, Subgraph};
use super::types;
use super::values::Slot;
use crate::build::Builder;
use crate::error::{ImportError, UnsupportedOp};
use crate::float64;
use crate::graph::{Graph, ValueId};
use crate::infer::{self, InferOptions};
use crate::onnx::ImportOptions;
use crate::passes;
use crate::source::{self, Dim, Unbound};

/// Reads a TensorFlow Lite file. All shapes are static; whatever can be computed from constants is a constant.
///
/// # Errors
/// [`ImportError`] names what is wrong and what to do; no content of the file makes this panic.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Graph, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
    import_bytes(&bytes, options)
}

/// Reads a TensorFlow Lite model from memory.
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    let damaged = |reason: String| ImportError::NotTflite { reason };
    if let Some(what) = source::foreign(bytes) {
        return Err(damaged(format!("it is {what}")));
    }
    if bytes.get(4..8) != Some(b"TFL3") {
        return Err(damaged("the mark 'TFL3' at byte 4 is missing".to_owned()));
    }
    let model = Model::read(bytes).map_err(damaged)?;
    check_supported(&model)?;
    let infer_options = InferOptions { fold_dequantize: options.fold_dequantize };
    let mut importer = Importer::new(&model, infer_options);
    importer.inputs(options)?;
    importer.operators()?;
    let mut graph = importer.finish_graph()?;
    passes::remove_dead(&mut graph);
    if !options.round_float64 {
        float64::check(&graph)?;
    }
    infer::infer(&mut graph, &infer_options)?;
    infer::check_weights(&graph)?;
    Ok(graph)
}

/// Name of an operator: that of its first output.
fn label(graph: &Subgraph<'_>, op: &Operator<'_>) -> String {
    let first = op.outputs.first().and_then(|&t| graph.tensors.get(usize::try_from(t).ok()?));
    match first.and_then(|t| t.name().ok()) {
        Some(name) if !name.is_empty() => name,
        _ => format!("{}_{}", op.name, op.index),
    }
}

/// Reports all operators that no rule translates.
fn check_supported(model: &Model<'_>) -> Result<(), ImportError> {
    let mut unsupported: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for graph in &model.graphs {
        for op in graph.operators.iter().filter(|op| ops::rule(op).is_none()) {
            unsupported.entry(&op.name).or_default().push(format!("{}:{}", op.index, label(graph, op)));
        }
    }
    if unsupported.is_empty() {
        return Ok(());
    }
    let operators =
        unsupported.into_iter().map(|(op, nodes)| UnsupportedOp { op: op.to_owned(), nodes }).collect();
    Err(ImportError::UnsupportedTflite { operators })
}

pub struct Importer<'a> {
    pub model: &'a Model<'a>,
    /// The graph that is being read.
    pub graph: &'a Subgraph<'a>,
    pub builder: Builder,
    /// What stands for each tensor of the file.
    pub slots: Vec<Slot>,
    pub variables: Vec<Variable>,
    /// Name for what the current operator makes.
    pub hint: String,
    /// Name of the current operator.
    pub op: String,
    /// How many graphs are being read inside one another.
    depth: usize,
}

/// Most graphs inside one another.
const MAX_DEPTH: usize = 16;

impl<'a> Importer<'a> {
    fn new(model: &'a Model<'a>, options: InferOptions) -> Self {
        let mut builder = Builder::new(options);
        builder.graph.name.clone_from(&model.name);
        let graph = &model.graphs[0];
        let slots = vec![Slot::default(); graph.tensors.len()];
        let (hint, op) = (String::new(), String::new());
        Self { model, graph, builder, slots, variables: Vec::new(), hint, op, depth: 0 }
    }

    /// Translates the operators of the current graph.
    fn operators(&mut self) -> Result<(), ImportError> {
        for op in &self.graph.operators {
            self.hint = label(self.graph, op);
            self.op.clone_from(&op.name);
            let rule = ops::rule(op).ok_or_else(|| self.err("is not supported"))?;
            self.check_types(op)?;
            let outer = self.builder.enter(&op.name, &self.hint);
            let result = rule(self, op);
            self.builder.leave(outer);
            result?;
        }
        Ok(())
    }

    /// Refuses inputs of types that the operator does not take.
    fn check_types(&self, op: &Operator<'_>) -> Result<(), ImportError> {
        for i in 0..op.inputs.len() {
            let Some(t) = self.optional(op, i)? else { continue };
            // Rules have their own words for types that graphs do not hold.
            let Ok(elem) = self.graph.tensors[t].elem() else { continue };
            let has_scale = self.graph.tensors[t].quantization().map_err(|e| self.err(e))?.is_some();
            types::check(&op.name, i, &self.name(t), elem, has_scale).map_err(|e| self.err(e))?;
        }
        Ok(())
    }

    /// Translates the graph with this index in place of an operator: what stands for its outputs, given what stands for
    /// its inputs.
    pub fn subgraph(&mut self, index: i32, given: &[Slot]) -> Result<Vec<Slot>, ImportError> {
        let graph = usize::try_from(index).ok().filter(|&i| i > 0).and_then(|i| self.model.graphs.get(i));
        let fits = graph.filter(|g| g.inputs.len() == given.len() && self.depth < MAX_DEPTH);
        let Some(graph) = fits else {
            return Err(self.err(format!(
                "calls graph {index} with {} inputs, which it cannot; convert the model again",
                given.len()
            )));
        };
        let outer =
            (self.graph, std::mem::replace(&mut self.slots, vec![Slot::default(); graph.tensors.len()]));
        let names = (self.hint.clone(), self.op.clone());
        self.graph = graph;
        self.depth += 1;
        let result = self.inlined(given);
        self.depth -= 1;
        (self.graph, self.slots) = outer;
        (self.hint, self.op) = names;
        result
    }

    /// Translates the current graph for these inputs.
    fn inlined(&mut self, given: &[Slot]) -> Result<Vec<Slot>, ImportError> {
        for (&index, slot) in self.graph.inputs.iter().zip(given) {
            let t = self.index(index)?;
            self.slots[t] = *slot;
        }
        self.operators()?;
        let outputs = self.graph.outputs.iter().map(|&index| {
            let t = self.index(index)?;
            self.slot(t)
        });
        outputs.collect()
    }

    /// Translates the graph with this index, which has no inputs and outputs and runs before all others.
    pub fn initialize(&mut self, index: i32) -> Result<(), ImportError> {
        let graph = usize::try_from(index).ok().filter(|&i| i > 0).and_then(|i| self.model.graphs.get(i));
        let Some(graph) = graph.filter(|g| g.operators.iter().all(|op| op.name != "CALL_ONCE")) else {
            return Err(self.err(format!("calls graph {index}, which it cannot; convert the model again")));
        };
        let outer =
            (self.graph, std::mem::replace(&mut self.slots, vec![Slot::default(); graph.tensors.len()]));
        self.graph = graph;
        let result = self.operators();
        (self.graph, self.slots) = outer;
        result
    }

    fn inputs(&mut self, options: &ImportOptions) -> Result<(), ImportError> {
        let mut names = Vec::new();
        let mut unbound = Unbound::default();
        for &index in &self.graph.inputs {
            let t = self.index(index)?;
            let info = self.graph.tensors[t];
            let fail = |e: String| ImportError::Malformed { reason: format!("input {index}: {e}") };
            let name = info.name().map_err(fail)?;
            let (sizes, open) = (info.dims().map_err(fail)?, info.open().map_err(fail)?);
            let declared: Vec<Dim<'_>> = sizes
                .iter()
                .zip(open)
                .map(|(&d, open)| Dim { size: (!open).then_some(d), name: "" })
                .collect();
            let elem = info.elem().map_err(fail)?;
            let Some(dims) = unbound.keep(source::bind(&name, &declared, options.shapes.get(&name)))? else {
                names.push(name);
                continue;
            };
            if self.slots[t].stored.is_some()
                || !info.buffer().and_then(|b| self.model.buffer(b)).map_err(fail)?.is_empty()
            {
                return Err(fail("it is listed twice, or has a value already".to_owned()));
            }
            let hint = if name.is_empty() { format!("input_{index}") } else { name.clone() };
            let id = self.builder.value(&hint);
            let value = self.builder.graph.value_mut(id);
            (value.elem, value.dims) = (Some(elem), Some(dims));
            self.builder.graph.inputs.push(id);
            self.slots[t].stored = Some(id);
            names.push(name);
        }
        unbound.told()?;
        source::check_names(&options.shapes, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn finish_graph(mut self) -> Result<Graph, ImportError> {
        if self.graph.outputs.is_empty() {
            return Err(ImportError::Malformed { reason: "it has no output".to_owned() });
        }
        for &index in &self.graph.outputs {
            let t = self.index(index)?;
            let name = self.graph.tensors[t].name().map_err(|e| self.err(e))?;
            self.hint = if name.is_empty() { format!("output_{index}") } else { name };
            self.op = "output".to_owned();
            let mut id = self.outward(t)?;
            let graph = &self.builder.graph;
            if graph.outputs.contains(&id) || graph.inputs.contains(&id) {
                let hint = self.hint.clone();
                id = self.emit("Identity", &hint, &[Some(id)], &[])?;
            }
            self.builder.graph.outputs.push(id);
            self.rename(id);
        }
        self.builder.graph.states = ops::states(&self)?;
        Ok(self.builder.graph)
    }

    /// Gives a value the current name, unless an input or an earlier output has that.
    fn rename(&mut self, id: ValueId) {
        let graph = &mut self.builder.graph;
        let holder = graph.values.iter().position(|v| v.name == self.hint);
        let Some(holder) = holder.map(|i| ValueId(i as u32)) else {
            graph.value_mut(id).name.clone_from(&self.hint);
            return;
        };
        let earlier = graph.inputs.iter().chain(&graph.outputs).any(|&v| v == holder);
        if !earlier {
            let (a, b) = (graph.value(holder).name.clone(), graph.value(id).name.clone());
            graph.value_mut(holder).name = b;
            graph.value_mut(id).name = a;
        }
    }

    /// An error about the current operator.
    pub fn err(&self, reason: impl Into<String>) -> ImportError {
        ImportError::Node { op: self.op.clone(), node: self.hint.clone(), reason: reason.into() }
    }

    /// A tensor by its number in the file.
    pub fn index(&self, index: i32) -> Result<usize, ImportError> {
        usize::try_from(index).ok().filter(|&i| i < self.slots.len()).ok_or_else(|| ImportError::Malformed {
            reason: format!("it names tensor {index} of {}", self.slots.len()),
        })
    }
}
