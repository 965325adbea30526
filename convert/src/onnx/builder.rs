//! A graph under construction, with names kept unique.

use std::collections::{BTreeMap, HashSet};

use crate::graph::{Attr, Graph, Node, Tensor, ValueId};

/// A graph that grows node by node.
#[derive(Default)]
pub struct Builder {
    pub graph: Graph,
    values: HashSet<String>,
    nodes: HashSet<String>,
}

impl Builder {
    /// Adds a value under exactly this name; `None` when the name is taken.
    pub fn declare(&mut self, name: &str) -> Option<ValueId> {
        self.values.insert(name.to_owned()).then(|| self.graph.add_value(name))
    }

    /// Keeps a name for a value that comes later.
    pub fn reserve(&mut self, name: &str) {
        self.values.insert(name.to_owned());
    }

    /// Adds a value whose name starts with `hint`.
    pub fn value(&mut self, hint: &str) -> ValueId {
        let name = unique(&mut self.values, hint);
        self.graph.add_value(name)
    }

    /// Adds a constant whose name starts with `hint`.
    pub fn constant(&mut self, hint: &str, tensor: Tensor) -> ValueId {
        let id = self.value(hint);
        self.graph.set_constant(id, tensor);
        id
    }

    /// Appends a node, under a name of its own.
    pub fn push(&mut self, mut node: Node) {
        if node.name.is_empty() {
            node.name = format!("{}_{}", node.op, self.graph.nodes.len());
        }
        node.name = unique(&mut self.nodes, &node.name);
        self.graph.nodes.push(node);
    }

    /// Appends a node with one output and returns that.
    pub fn emit(
        &mut self,
        op: &str,
        hint: &str,
        inputs: &[Option<ValueId>],
        attrs: &[(&str, Attr)],
    ) -> ValueId {
        let out = self.value(hint);
        self.emit_to(op, hint, inputs, out, attrs);
        out
    }

    /// Appends a node that computes `out`.
    pub fn emit_to(
        &mut self,
        op: &str,
        hint: &str,
        inputs: &[Option<ValueId>],
        out: ValueId,
        attrs: &[(&str, Attr)],
    ) {
        self.push(Node {
            op: op.to_owned(),
            name: hint.to_owned(),
            inputs: inputs.to_vec(),
            outputs: vec![Some(out)],
            attrs: attrs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect::<BTreeMap<_, _>>(),
        });
    }
}

fn unique(taken: &mut HashSet<String>, hint: &str) -> String {
    let mut name = hint.to_owned();
    let mut n = 1;
    while !taken.insert(name.clone()) {
        name = format!("{hint}_{n}");
        n += 1;
    }
    name
}
