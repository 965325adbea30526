//! What passes share: who uses and who computes a value, and safe replacement of values and nodes.

use std::collections::BTreeMap;

use crate::graph::{Attr, Graph, Lost, Node, Tensor, ValueId, absorb};

/// Users and producers of every value, for a graph that does not change while this is read.
pub struct Index {
    producer: Vec<Option<usize>>,
    users: Vec<Vec<usize>>,
    is_result: Vec<bool>,
}

impl Index {
    pub fn of(graph: &Graph) -> Self {
        let n = graph.values.len();
        let mut index =
            Self { producer: vec![None; n], users: vec![Vec::new(); n], is_result: vec![false; n] };
        for (i, node) in graph.nodes.iter().enumerate() {
            node.outputs.iter().flatten().for_each(|o| index.producer[o.0 as usize] = Some(i));
            node.inputs.iter().flatten().for_each(|v| index.users[v.0 as usize].push(i));
        }
        graph.results().for_each(|o| index.is_result[o.0 as usize] = true);
        index
    }

    /// Index of the node that computes `id`; `None` for inputs and constants.
    pub fn producer(&self, id: ValueId) -> Option<usize> {
        self.producer.get(id.0 as usize).copied().flatten()
    }

    /// Indices of the nodes that read `id`, once per reading input.
    pub fn users(&self, id: ValueId) -> &[usize] {
        self.users.get(id.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether `id` is an output of the graph or of a state.
    pub fn is_result(&self, id: ValueId) -> bool {
        self.is_result.get(id.0 as usize).copied().unwrap_or(false)
    }

    /// The one node that reads `id`, when there is exactly one and `id` is no result of the graph.
    pub fn sole_user(&self, id: ValueId) -> Option<usize> {
        match self.users(id) {
            [user] if !self.is_result(id) => Some(*user),
            _ => None,
        }
    }

    /// The node that computes `id`, if its operator is `op`.
    pub fn made_by<'g>(&self, graph: &'g Graph, id: ValueId, op: &str) -> Option<&'g Node> {
        self.producer(id).map(|i| &graph.nodes[i]).filter(|n| n.op == op)
    }
}

/// The only output of a node, `None` when it has several.
pub fn output(node: &Node) -> Option<ValueId> {
    let mut named = node.outputs.iter().flatten();
    let first = node.outputs.first().copied().flatten();
    first.filter(|_| named.nth(1).is_none())
}

/// Makes every reader of `from` read `to` instead, and takes away the node `index` that computed `from`. When
/// `from` is a result of the graph, its name moves to the node that computes `to`. `false`, with nothing changed,
/// when that is impossible (an input or constant would have to be a result).
pub fn bypass(graph: &mut Graph, index: usize, from: ValueId, to: ValueId) -> bool {
    if graph.is_result(from) {
        let maker = graph.nodes.iter().position(|n| n.outputs.contains(&Some(to)));
        let Some(maker) = maker.filter(|_| !graph.is_result(to)) else { return false };
        kill(graph, index);
        for out in &mut graph.nodes[maker].outputs {
            if *out == Some(to) {
                *out = Some(from);
            }
        }
        redirect(graph, to, from);
    } else {
        kill(graph, index);
        redirect(graph, from, to);
    }
    true
}

/// Makes every node that reads `from` read `to`.
pub fn redirect(graph: &mut Graph, from: ValueId, to: ValueId) {
    for input in graph.nodes.iter_mut().flat_map(|n| &mut n.inputs) {
        if *input == Some(from) {
            *input = Some(to);
        }
    }
}

/// Empties a node, so that [`sweep`] drops it, and notes what it stood for.
pub fn kill(graph: &mut Graph, index: usize) {
    let node = &mut graph.nodes[index];
    let taken = |v: &mut Vec<Option<ValueId>>| std::mem::take(v).into_iter().flatten().collect();
    let (inputs, outputs) = (taken(&mut node.inputs), taken(&mut node.outputs));
    let sources = std::mem::take(&mut node.sources);
    graph.lost.push(Lost { sources, inputs, outputs });
}

/// Hands on what nodes stood for that are gone: to the node that now computes their output, or else their input.
pub fn hand_on(graph: &mut Graph) {
    for lost in std::mem::take(&mut graph.lost) {
        let computes = |values: &[ValueId]| {
            graph.nodes.iter().position(|n| n.outputs.iter().flatten().any(|o| values.contains(o)))
        };
        if let Some(heir) = computes(&lost.outputs).or_else(|| computes(&lost.inputs)) {
            absorb(&mut graph.nodes[heir].sources, &lost.sources);
        }
    }
}

/// Drops the nodes that were emptied.
pub fn sweep(graph: &mut Graph) {
    graph.nodes.retain(|n| !n.outputs.is_empty());
}

/// A constant under a new name that starts with `hint`.
pub fn add_constant(graph: &mut Graph, hint: &str, tensor: Tensor) -> ValueId {
    let name = fresh(graph, hint);
    graph.add_constant(name, tensor)
}

/// A value of this type and these dimensions, under a new name that starts with `hint`.
pub fn add_typed(graph: &mut Graph, hint: &str, elem: crate::graph::ElemType, dims: Vec<usize>) -> ValueId {
    let name = fresh(graph, hint);
    let id = graph.add_value(name);
    let v = graph.value_mut(id);
    (v.elem, v.dims) = (Some(elem), Some(dims));
    id
}

fn fresh(graph: &Graph, hint: &str) -> String {
    let taken = |name: &str| graph.values.iter().any(|v| v.name == name);
    if !taken(hint) {
        return hint.to_owned();
    }
    let mut n = graph.values.len();
    loop {
        let name = format!("{hint}_{n}");
        if !taken(&name) {
            return name;
        }
        n += 1;
    }
}

/// A node named `name` that computes `output`.
pub fn node(op: &str, name: &str, inputs: &[ValueId], output: ValueId, attrs: &[(&str, Attr)]) -> Node {
    Node {
        op: op.to_owned(),
        name: name.to_owned(),
        inputs: inputs.iter().map(|&i| Some(i)).collect(),
        outputs: vec![Some(output)],
        attrs: attrs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect::<BTreeMap<_, _>>(),
        sources: Vec::new(),
    }
}

/// The one element of a constant, or of a constant all of whose elements are equal, as f32.
pub fn uniform(graph: &Graph, id: ValueId) -> Option<f32> {
    let t = graph.constant(id)?;
    if t.len() == 1 {
        return t.scalar_f32();
    }
    let v = t.to_f32();
    let first = *v.first()?;
    v.iter().all(|&x| x == first).then_some(first)
}

/// The two inputs of a commutative node as (constant scalar, other).
pub fn scalar_and_other(graph: &Graph, node: &Node) -> Option<(f32, ValueId)> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let scalar = |id: ValueId| graph.constant(id).and_then(|t| t.scalar_f32());
    match (scalar(a), scalar(b)) {
        (Some(s), None) => Some((s, b)),
        (None, Some(s)) => Some((s, a)),
        _ => None,
    }
}
