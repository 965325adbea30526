//! A graph under construction: names kept unique, every node typed, folded or expanded as soon as it is made.
//!
//! Importers hand their nodes over in an order in which every input is computed before its use. What can be computed
//! from constants never becomes a node; operators that [`crate::expand`] knows become the nodes that they stand for.

use std::collections::{BTreeMap, HashMap};

use crate::error::ImportError;
use crate::expand;
use crate::float64::Doubled;
use crate::graph::{Attr, Graph, Node, Source, Tensor, ValueId};
use crate::infer::{self, InferOptions};
use crate::onnx::Narrow;
use crate::ragged::{self, Ragged};

/// More nodes than any network for the edge has: loops that unroll to more are refused.
const MAX_NODES: usize = 1 << 17;

/// A graph that grows node by node.
pub struct Builder {
    /// The graph so far.
    pub graph: Graph,
    /// Dimensions whose sizes the data decides.
    pub ragged: Ragged,
    options: InferOptions,
    values: Names,
    nodes: Names,
    /// The operator of the source model that nodes are made for.
    scope: Option<u32>,
}

impl Builder {
    /// An empty graph whose constants are folded by these rules.
    pub fn new(options: InferOptions) -> Self {
        Self {
            graph: Graph::default(),
            ragged: Ragged::default(),
            options,
            values: Names::default(),
            nodes: Names::default(),
            scope: None,
        }
    }

    /// Adds a value under exactly this name; `None` when the name is taken.
    pub fn declare(&mut self, name: &str) -> Option<ValueId> {
        self.values.take(name).then(|| self.graph.add_value(name))
    }

    /// Keeps a name for a value that comes later.
    pub fn reserve(&mut self, name: &str) {
        self.values.take(name);
    }

    /// Adds a value whose name starts with `hint`.
    pub fn value(&mut self, hint: &str) -> ValueId {
        let name = self.values.unique(hint);
        self.graph.add_value(name)
    }

    /// Adds a constant whose name starts with `hint`.
    pub fn constant(&mut self, hint: &str, tensor: Tensor) -> ValueId {
        let id = self.value(hint);
        self.graph.set_constant(id, tensor);
        id
    }

    /// From here on nodes are made for this operator of the source model. Returns what [`Self::leave`] takes.
    pub fn enter(&mut self, op: &str, name: &str) -> Option<u32> {
        let outer = self.scope;
        // A constant computes nothing.
        if op != "Constant" {
            self.scope = Some(self.graph.sources.len() as u32);
            let (op, name) = (op.to_owned(), name.to_owned());
            let source = Source { op, name, inputs: Vec::new(), outputs: Vec::new(), computed: false };
            self.graph.sources.push(source);
        }
        outer
    }

    /// The operator is read.
    pub fn leave(&mut self, outer: Option<u32>) {
        self.scope = outer;
    }

    /// Notes that a node is made for the operator that is being read.
    fn attribute(&mut self, node: &mut Node) {
        let Some(scope) = self.scope else { return };
        node.sources = vec![scope];
        let source = &mut self.graph.sources[scope as usize];
        source.inputs.extend(node.inputs.iter().flatten());
        source.outputs.extend(node.outputs.iter().flatten());
    }

    /// Appends a node, under a name of its own.
    ///
    /// # Errors
    /// [`ImportError::Node`] when the node contradicts its operator, or nothing expresses it.
    pub fn push(&mut self, mut node: Node) -> Result<(), ImportError> {
        if node.name.is_empty() {
            node.name = format!("{}_{}", node.op, self.graph.nodes.len());
        }
        if self.graph.nodes.len() >= MAX_NODES {
            return Err(node_error(
                &node,
                format!("makes the model longer than {MAX_NODES} nodes; export it with shorter loops"),
            ));
        }
        if ragged::concerns(self, &node) {
            return ragged::push(self, &node);
        }
        self.attribute(&mut node);
        if let Some(doubled) = Doubled::of(&self.graph, &node) {
            self.graph.float64.push(doubled);
        }
        if self.folds(&node)? || expand::expand(self, &node)? {
            return Ok(());
        }
        node.name = self.nodes.unique(&node.name);
        if infer::step(&mut self.graph, &mut node, &self.options)? {
            if let Some(scope) = self.scope {
                self.graph.sources[scope as usize].computed = true;
            }
            self.graph.nodes.push(node);
        }
        Ok(())
    }

    /// Evaluates a node of constants that is also one of those that are expanded. What works on codes of small floats
    /// is spelled out first.
    fn folds(&mut self, node: &Node) -> Result<bool, ImportError> {
        let known = |v: &Option<ValueId>| v.is_none_or(|v| self.graph.constant(v).is_some());
        // In training mode, what normalizes also gives means and variances, which the rules of types do not know.
        let apart = Narrow::is_coded(node) || node.int("training_mode", 0) != 0;
        if apart || !expand::handles(&node.op) || !infer::has_rule(&node.op) || !node.inputs.iter().all(known)
        {
            return Ok(false);
        }
        Ok(!infer::step(&mut self.graph, &mut node.clone(), &self.options)?)
    }

    /// Appends a node with one output and returns that.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn emit(
        &mut self,
        op: &str,
        hint: &str,
        inputs: &[Option<ValueId>],
        attrs: &[(&str, Attr)],
    ) -> Result<ValueId, ImportError> {
        let out = self.value(hint);
        self.emit_to(op, hint, inputs, &[out], attrs)?;
        Ok(out)
    }

    /// Appends a node that computes these values.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn emit_to(
        &mut self,
        op: &str,
        hint: &str,
        inputs: &[Option<ValueId>],
        outputs: &[ValueId],
        attrs: &[(&str, Attr)],
    ) -> Result<(), ImportError> {
        self.push(Node {
            op: op.to_owned(),
            name: hint.to_owned(),
            inputs: inputs.to_vec(),
            outputs: outputs.iter().map(|&o| Some(o)).collect(),
            attrs: attrs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect::<BTreeMap<_, _>>(),
            sources: Vec::new(),
        })
    }
}

/// An error about a node.
pub fn node_error(node: &Node, reason: impl Into<String>) -> ImportError {
    ImportError::Node { op: node.op.clone(), node: node.name.clone(), reason: reason.into() }
}

/// Names that are taken, each with the number from which on one like it is looked for.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    /// Takes a name; `false` when it is taken already.
    fn take(&mut self, name: &str) -> bool {
        let free = !self.0.contains_key(name);
        if free {
            self.0.insert(name.to_owned(), 1);
        }
        free
    }

    /// Takes this name, or it with a number behind.
    fn unique(&mut self, hint: &str) -> String {
        if self.take(hint) {
            return hint.to_owned();
        }
        let mut n = self.0[hint];
        let mut name = format!("{hint}_{n}");
        while !self.take(&name) {
            n += 1;
            name = format!("{hint}_{n}");
        }
        self.0.insert(hint.to_owned(), n + 1);
        name
    }
}
