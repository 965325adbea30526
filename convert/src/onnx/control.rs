//! `If`, `Loop` and `Scan`: branches chosen and loops unrolled while the model is read.
//!
//! A condition that is only known when the model runs still decides, as long as what it decides between has the same
//! shapes: both branches are computed and the outputs selected; a loop of at most so many rounds runs them all, and
//! keeps the values of the round in which its condition failed.

use super::importer::{Bound, Importer, domain_of};
use super::schema::{GraphProto, NodeProto};
use crate::error::ImportError;
use crate::fold;
use crate::graph::{Attr, ElemType, Tensor, ValueId};
use crate::ragged;

/// Most rounds of a loop: each becomes nodes of its own.
const MAX_ROUNDS: i64 = 1 << 16;

fn fail<T>(node: &NodeProto, name: &str, reason: impl Into<String>) -> Result<T, ImportError> {
    let op = node.op_type.clone().unwrap_or_default();
    Err(ImportError::Node { op, node: name.to_owned(), reason: reason.into() })
}

/// The graph of an attribute.
fn body<'p>(node: &'p NodeProto, name: &str, key: &str) -> Result<&'p GraphProto, ImportError> {
    match node.attribute.iter().find(|a| a.name.as_deref() == Some(key)).and_then(|a| a.g.as_ref()) {
        Some(graph) => Ok(graph),
        None => fail(node, name, format!("lacks its graph '{key}'; export the model again")),
    }
}

impl Importer<'_> {
    /// The one boolean of a constant; `None` when it is computed while the model runs.
    fn truth(&self, id: ValueId) -> Option<bool> {
        self.builder.graph.constant(id)?.to_i64()?.first().map(|&v| v != 0)
    }

    /// The tensor that input `i` stands for; `None` when it is left out.
    fn tensor_input(&self, node: &NodeProto, i: usize) -> Option<ValueId> {
        match self.lookup(node.input.get(i).filter(|n| !n.is_empty())?)? {
            Bound::Tensor(id) => Some(id),
            _ => None,
        }
    }

    pub(super) fn if_node(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let Some(condition) = self.tensor_input(node, 0) else {
            return fail(node, name, "lacks its condition; export the model again");
        };
        let (yes, no) = (body(node, name, "then_branch")?, body(node, name, "else_branch")?);
        let results = match self.truth(condition) {
            Some(true) => self.subgraph(yes, &[])?,
            Some(false) => self.subgraph(no, &[])?,
            None => {
                let (a, b) = (self.subgraph(yes, &[])?, self.subgraph(no, &[])?);
                let mut chosen = Vec::new();
                for (a, b) in a.into_iter().zip(b) {
                    chosen.push(self.choose(node, name, condition, a, b)?);
                }
                chosen
            }
        };
        for (out, bound) in node.output.iter().zip(results) {
            self.bind(out, bound);
        }
        Ok(())
    }

    /// `condition ? a : b` of two tensors of one shape.
    fn choose(
        &mut self,
        node: &NodeProto,
        name: &str,
        condition: ValueId,
        a: Bound,
        b: Bound,
    ) -> Result<Bound, ImportError> {
        let (Bound::Tensor(a), Bound::Tensor(b)) = (a, b) else {
            return fail(
                node,
                name,
                "chooses between sequences while the model runs; only tensors can be chosen",
            );
        };
        if a != b
            && let Some(chosen) = ragged::choose(&mut self.builder, name, condition, [a, b])?
        {
            return Ok(Bound::Tensor(chosen));
        }
        let graph = &self.builder.graph;
        let (x, y) = (graph.value(a), graph.value(b));
        if a != b && (x.dims != y.dims || x.elem != y.elem) {
            let shapes = (format!("{:?}", graph.dims(a)), format!("{:?}", graph.dims(b)));
            return fail(
                node,
                name,
                format!(
                    "its condition '{}' is computed while the model runs, and its branches give {} and {}; \
                     fix the input that the condition follows from with --fix, or export one branch",
                    graph.value(condition).name,
                    shapes.0,
                    shapes.1
                ),
            );
        }
        if a == b {
            return Ok(Bound::Tensor(a));
        }
        let rank = graph.dims(a).len();
        let one = self.one_element(condition, rank, name)?;
        Ok(Bound::Tensor(self.builder.emit("Where", name, &[Some(one), Some(a), Some(b)], &[])?))
    }

    /// A condition of one element under `rank` dimensions, to broadcast.
    fn one_element(&mut self, condition: ValueId, rank: usize, name: &str) -> Result<ValueId, ImportError> {
        if self.builder.graph.dims(condition).len() <= rank {
            return Ok(condition);
        }
        let shape = self.list(name, &[]);
        self.builder.emit("Reshape", name, &[Some(condition), Some(shape)], &[])
    }

    fn list(&mut self, hint: &str, values: &[i64]) -> ValueId {
        self.builder.constant(&format!("{hint}/list"), Tensor::i64(&[values.len()], values.to_vec()))
    }

    pub(super) fn loop_node(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let graph = body(node, name, "body")?;
        let rounds = match self.tensor_input(node, 0) {
            None => i64::MAX,
            Some(id) => match self.builder.graph.constant(id).and_then(|t| t.to_i64()) {
                Some(v) => v.first().copied().unwrap_or(0),
                None => {
                    let trip = self.builder.graph.value(id).name.clone();
                    let advice = if self.builder.ragged.counts(id) {
                        "it follows from how many rows the data gives; export the model without what it does to each \
                         of them (as masks pasted into the image, or key points of each region), and do that outside"
                    } else {
                        "fix the input that it follows from with --fix"
                    };
                    let reason =
                        format!("its trip count '{trip}' is computed while the model runs; {advice}");
                    return fail(node, name, reason);
                }
            },
        };
        let mut carried: Vec<Bound> =
            (2..node.input.len()).map(|i| self.lookup(&node.input[i]).unwrap_or(Bound::Absent)).collect();
        let mut collected: Vec<Vec<ValueId>> =
            vec![Vec::new(); graph.output.len().saturating_sub(1 + carried.len())];
        let mut condition = match self.tensor_input(node, 1) {
            Some(id) => id,
            None => self.builder.constant(&format!("{name}/true"), truth(true)),
        };
        // What is known of whether this round takes place: a value while the model runs decides it.
        let mut active: Option<ValueId> = None;
        let mut round = 0;
        while round < rounds {
            match self.truth(condition) {
                Some(false) => break,
                Some(true) => {}
                None if rounds == i64::MAX => {
                    return fail(
                        node,
                        name,
                        "runs as long as a condition holds that is computed while the model runs; \
                         give it a greatest number of rounds",
                    );
                }
                None => {
                    if !collected.is_empty() {
                        return fail(
                            node,
                            name,
                            "collects outputs of as many rounds as a condition holds that is computed while the \
                             model runs; only its last values can be computed",
                        );
                    }
                    active = Some(self.both(active, condition, name)?);
                }
            }
            if round >= MAX_ROUNDS {
                return fail(node, name, format!("runs more than {MAX_ROUNDS} rounds"));
            }
            let index = self.builder.constant(&format!("{name}/round"), Tensor::i64(&[], vec![round]));
            let mut inputs = vec![Bound::Tensor(index), Bound::Tensor(condition)];
            inputs.extend(carried.iter().cloned());
            let mut results = self.subgraph(graph, &inputs)?.into_iter();
            let Some(Bound::Tensor(next)) = results.next() else {
                return fail(node, name, "its body gives no condition; export the model again");
            };
            condition = next;
            for slot in &mut carried {
                let Some(new) = results.next() else {
                    return fail(
                        node,
                        name,
                        "its body gives fewer values than it carries; export the model again",
                    );
                };
                *slot = match active {
                    None => new,
                    Some(active) => self.choose(node, name, active, new, slot.clone())?,
                };
            }
            for (list, bound) in collected.iter_mut().zip(results) {
                let Bound::Tensor(id) = bound else {
                    return fail(node, name, "collects sequences; only tensors can be collected");
                };
                list.push(id);
            }
            round += 1;
        }
        let mut results = carried;
        for list in collected {
            if list.is_empty() {
                let info = &graph.output[1 + results.len()];
                results.push(Bound::Tensor(self.no_rounds(name, info)?));
                continue;
            }
            results.push(Bound::Tensor(self.stack(name, &list, 0)?));
        }
        for (out, bound) in node.output.iter().zip(results) {
            self.bind(out, bound);
        }
        Ok(())
    }

    /// Whether all rounds so far took place and this one does.
    fn both(&mut self, before: Option<ValueId>, now: ValueId, name: &str) -> Result<ValueId, ImportError> {
        match before {
            None => Ok(now),
            Some(before) => {
                let rank = self.builder.graph.dims(before).len();
                let now = self.one_element(now, rank, name)?;
                self.builder.emit("And", name, &[Some(before), Some(now)], &[])
            }
        }
    }

    /// What a loop without rounds collects: nothing, in the dimensions that its body declares.
    fn no_rounds(
        &mut self,
        name: &str,
        info: &super::schema::ValueInfoProto,
    ) -> Result<ValueId, ImportError> {
        let ty = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let elem = ty.and_then(|t| super::tensor::elem_type(t.elem_type?)).unwrap_or(ElemType::F32);
        let mut dims = vec![0];
        if let Some(shape) = ty.and_then(|t| t.shape.as_ref()) {
            dims.extend(
                shape.dim.iter().map(|d| d.dim_value.and_then(|v| usize::try_from(v).ok()).unwrap_or(0)),
            );
        }
        Ok(self.builder.constant(name, fold::empty(&dims, elem)))
    }

    /// Tensors one after another along a new axis.
    pub(super) fn stack(&mut self, name: &str, parts: &[ValueId], axis: i64) -> Result<ValueId, ImportError> {
        let axes = self.list(name, &[axis]);
        let mut wide = Vec::with_capacity(parts.len());
        for &part in parts {
            wide.push(Some(self.builder.emit("Unsqueeze", name, &[Some(part), Some(axes)], &[])?));
        }
        self.builder.emit("Concat", name, &wide, &[("axis", Attr::Int(axis))])
    }

    /// Element `i` of a tensor along an axis, without that axis.
    fn pick(&mut self, name: &str, x: ValueId, axis: i64, i: i64) -> Result<ValueId, ImportError> {
        let at = self.builder.constant(&format!("{name}/at"), Tensor::i64(&[], vec![i]));
        self.builder.emit("Gather", name, &[Some(x), Some(at)], &[("axis", Attr::Int(axis))])
    }

    pub(super) fn scan_node(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        debug_assert!(domain_of(node.domain.as_deref()).is_empty());
        if self.versions().onnx() < 9 {
            return self.batched_scan(node, name);
        }
        let inputs: Vec<ValueId> = (0..node.input.len()).filter_map(|i| self.tensor_input(node, i)).collect();
        if inputs.len() != node.input.len() {
            return fail(node, name, "scans something that is no tensor");
        }
        let results = self.scan(node, name, &inputs)?;
        for (out, id) in node.output.iter().zip(results) {
            self.bind(out, Bound::Tensor(id));
        }
        Ok(())
    }

    /// The `Scan` of opset 8: every input has a batch dimension in front, scanned inputs a sequence behind it.
    fn batched_scan(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        if self.tensor_input(node, 0).is_some() {
            return fail(
                node,
                name,
                "scans sequences of different lengths; export the model with opset 9 or newer",
            );
        }
        let inputs: Vec<ValueId> = (1..node.input.len()).filter_map(|i| self.tensor_input(node, i)).collect();
        let batch = inputs.first().map_or(0, |&x| self.builder.graph.dims(x).first().copied().unwrap_or(0));
        if inputs.len() + 1 != node.input.len() || batch == 0 {
            return fail(node, name, "scans inputs without a batch dimension");
        }
        let mut each = vec![Vec::new(); node.output.len()];
        for b in 0..batch {
            let mut own = Vec::new();
            for &x in &inputs {
                own.push(self.pick(name, x, 0, b as i64)?);
            }
            for (list, id) in each.iter_mut().zip(self.scan(node, name, &own)?) {
                list.push(id);
            }
        }
        for (out, list) in node.output.iter().zip(each) {
            if !list.is_empty() {
                let id = self.stack(name, &list, 0)?;
                self.bind(out, Bound::Tensor(id));
            }
        }
        Ok(())
    }

    /// The outputs of a `Scan` over these inputs, state first.
    fn scan(
        &mut self,
        node: &NodeProto,
        name: &str,
        inputs: &[ValueId],
    ) -> Result<Vec<ValueId>, ImportError> {
        let graph = body(node, name, "body")?;
        let attrs = self.attributes(node, name)?;
        let ints = |key: &str| match attrs.get(key) {
            Some(Attr::Ints(v)) => v.clone(),
            _ => Vec::new(),
        };
        let count = match attrs.get("num_scan_inputs") {
            Some(&Attr::Int(n)) => usize::try_from(n).ok().filter(|&n| n > 0 && n <= inputs.len()),
            _ => None,
        };
        let Some(count) = count else {
            return fail(node, name, "has no valid num_scan_inputs; export the model again");
        };
        let (state, scanned) = inputs.split_at(inputs.len() - count);
        let (in_axes, out_axes) = (ints("scan_input_axes"), ints("scan_output_axes"));
        // Opset 8 calls the directions of the inputs by another name.
        let mut backwards = ints("scan_input_directions");
        backwards.extend(ints("directions"));
        let out_backwards = ints("scan_output_directions");
        let mut length = None;
        for (i, &x) in scanned.iter().enumerate() {
            let dims = self.builder.graph.dims(x);
            let axis = in_axes.get(i).copied().unwrap_or(0);
            let axis = crate::infer::axis(axis, dims.len()).or_else(|e| fail(node, name, e))?;
            if *length.get_or_insert(dims[axis]) != dims[axis] {
                return fail(node, name, "scans inputs of different lengths");
            }
        }
        let length = length.unwrap_or(0) as i64;
        if length > MAX_ROUNDS || length == 0 {
            return fail(node, name, format!("scans {length} elements; from 1 to {MAX_ROUNDS} are possible"));
        }
        let mut carried: Vec<Bound> = state.iter().map(|&id| Bound::Tensor(id)).collect();
        let mut collected: Vec<Vec<ValueId>> =
            vec![Vec::new(); graph.output.len().saturating_sub(carried.len())];
        for round in 0..length {
            let mut arguments = carried.clone();
            for (i, &x) in scanned.iter().enumerate() {
                let at = if backwards.get(i) == Some(&1) { length - 1 - round } else { round };
                arguments.push(Bound::Tensor(self.pick(
                    name,
                    x,
                    in_axes.get(i).copied().unwrap_or(0),
                    at,
                )?));
            }
            let mut results = self.subgraph(graph, &arguments)?.into_iter();
            for slot in &mut carried {
                *slot = match results.next() {
                    Some(Bound::Tensor(id)) => Bound::Tensor(id),
                    _ => return fail(node, name, "its body gives fewer values than it carries"),
                };
            }
            for (list, bound) in collected.iter_mut().zip(results) {
                let Bound::Tensor(id) = bound else { return fail(node, name, "collects sequences") };
                list.push(id);
            }
        }
        let mut results: Vec<ValueId> = Vec::new();
        for bound in carried {
            if let Bound::Tensor(id) = bound {
                results.push(id);
            }
        }
        for (i, mut list) in collected.into_iter().enumerate() {
            if out_backwards.get(i) == Some(&1) {
                list.reverse();
            }
            results.push(self.stack(name, &list, out_axes.get(i).copied().unwrap_or(0))?);
        }
        Ok(results)
    }
}

fn truth(value: bool) -> Tensor {
    Tensor::new(Vec::new(), crate::graph::Data::Bool(vec![value]))
}
