//! Sequences and optionals: lists of tensors whose lengths are known while a model is read.

use super::importer::{Bound, Importer};
use super::schema::NodeProto;
use crate::error::ImportError;
use crate::graph::{Attr, Data, Tensor, ValueId};

/// Longest sequence that a tensor is split into.
const MAX_PARTS: usize = 1 << 12;

fn fail<T>(node: &NodeProto, name: &str, reason: impl Into<String>) -> Result<T, ImportError> {
    let op = node.op_type.clone().unwrap_or_default();
    Err(ImportError::Node { op, node: name.to_owned(), reason: reason.into() })
}

impl Importer<'_> {
    fn bound(&self, node: &NodeProto, i: usize) -> Bound {
        let name = node.input.get(i).map_or("", String::as_str);
        if name.is_empty() { Bound::Absent } else { self.lookup(name).unwrap_or(Bound::Absent) }
    }

    fn sequence(&self, node: &NodeProto, name: &str, i: usize) -> Result<Vec<ValueId>, ImportError> {
        match self.bound(node, i) {
            Bound::Sequence(parts) => Ok(parts),
            _ => fail(node, name, format!("its input {i} is no sequence; export the model again")),
        }
    }

    fn tensor(&self, node: &NodeProto, name: &str, i: usize) -> Result<ValueId, ImportError> {
        match self.bound(node, i) {
            Bound::Tensor(id) => Ok(id),
            _ => fail(node, name, format!("its input {i} is no tensor; export the model again")),
        }
    }

    /// One integer that is known now; `None` when it is left out.
    fn integer(&self, node: &NodeProto, name: &str, i: usize) -> Result<Option<i64>, ImportError> {
        let Bound::Tensor(id) = self.bound(node, i) else { return Ok(None) };
        match self.builder.graph.constant(id).and_then(|t| t.to_i64()).as_deref() {
            Some([v]) => Ok(Some(*v)),
            _ => fail(
                node,
                name,
                format!(
                    "its input '{}' decides which element of a sequence is meant, but is computed while the model \
                     runs; fix the input that it follows from with --fix",
                    self.builder.graph.value(id).name
                ),
            ),
        }
    }

    fn give(&mut self, node: &NodeProto, bound: Bound) {
        if let Some(out) = node.output.first() {
            self.bind(out, bound);
        }
    }

    fn give_constant(&mut self, node: &NodeProto, name: &str, tensor: Tensor) {
        let id = self.builder.constant(name, tensor);
        self.give(node, Bound::Tensor(id));
    }

    pub(super) fn sequence_construct(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let parts =
            (0..node.input.len()).map(|i| self.tensor(node, name, i)).collect::<Result<Vec<_>, _>>()?;
        self.give(node, Bound::Sequence(parts));
        Ok(())
    }

    pub(super) fn sequence_empty(&mut self, node: &NodeProto, _: &str) -> Result<(), ImportError> {
        self.give(node, Bound::Sequence(Vec::new()));
        Ok(())
    }

    /// Inputs: sequence, tensor, position (the end when left out).
    pub(super) fn sequence_insert(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let mut parts = self.sequence(node, name, 0)?;
        let tensor = self.tensor(node, name, 1)?;
        let n = parts.len() as i64;
        let at = self.integer(node, name, 2)?.unwrap_or(n);
        let at = if at < 0 { at + n } else { at };
        match usize::try_from(at).ok().filter(|&at| at <= parts.len()) {
            Some(at) => parts.insert(at, tensor),
            None => return fail(node, name, format!("inserts at {at} of {n} elements")),
        }
        self.give(node, Bound::Sequence(parts));
        Ok(())
    }

    /// The position that input `i` names, of a sequence of `n` elements; the last when it is left out.
    fn position(&self, node: &NodeProto, name: &str, i: usize, n: usize) -> Result<usize, ImportError> {
        let at = self.integer(node, name, i)?.unwrap_or(-1);
        let from_front = if at < 0 { at + n as i64 } else { at };
        match usize::try_from(from_front).ok().filter(|&at| at < n) {
            Some(at) => Ok(at),
            None => fail(node, name, format!("names element {at} of a sequence of {n}")),
        }
    }

    pub(super) fn sequence_erase(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let mut parts = self.sequence(node, name, 0)?;
        let at = self.position(node, name, 1, parts.len())?;
        parts.remove(at);
        self.give(node, Bound::Sequence(parts));
        Ok(())
    }

    pub(super) fn sequence_at(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let parts = self.sequence(node, name, 0)?;
        let at = self.position(node, name, 1, parts.len())?;
        self.give(node, Bound::Tensor(parts[at]));
        Ok(())
    }

    pub(super) fn sequence_length(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let n = self.sequence(node, name, 0)?.len() as i64;
        self.give_constant(node, name, Tensor::i64(&[], vec![n]));
        Ok(())
    }

    /// Inputs: tensor, sizes (one for all, or one for each part; 1 when left out).
    pub(super) fn split_to_sequence(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let x = self.tensor(node, name, 0)?;
        let attrs = self.attributes(node, name)?;
        let int = |key: &str, default: i64| match attrs.get(key) {
            Some(&Attr::Int(v)) => v,
            _ => default,
        };
        let dims = self.builder.graph.dims(x).to_vec();
        let axis = crate::infer::axis(int("axis", 0), dims.len()).or_else(|e| fail(node, name, e))?;
        let len = dims[axis] as i64;
        let given = match self.bound(node, 1) {
            Bound::Tensor(id) => {
                let Some(sizes) = self.builder.graph.constant(id).cloned() else {
                    return fail(node, name, "splits by sizes that are computed while the model runs");
                };
                let values = sizes.to_i64().unwrap_or_default();
                Some((values, sizes.dims.is_empty()))
            }
            _ => None,
        };
        // ONNX has `keepdims` ignored where sizes are given; ONNX Runtime drops the dimension where each part is one
        // element, and PyTorch's exporter writes its `unbind` so.
        let single = given.as_ref().is_none_or(|(v, scalar)| *scalar && *v == [1]);
        let keep = !single || int("keepdims", 1) != 0;
        let equal = |size: i64| -> Vec<i64> {
            let size = size.clamp(1, len.max(1));
            (0..len).step_by(size as usize).map(|at| size.min(len - at)).collect()
        };
        let sizes = match given {
            None => equal(1),
            Some((v, true)) => equal(v.first().copied().unwrap_or(1)),
            Some((v, false)) => v,
        };
        if sizes.len() > MAX_PARTS || sizes.iter().any(|&s| s < 0) {
            return fail(
                node,
                name,
                format!("splits into {} parts; at most {MAX_PARTS} are possible", sizes.len()),
            );
        }
        let count = sizes.len();
        let list = self.builder.constant(&format!("{name}/sizes"), Tensor::i64(&[count], sizes));
        let parts: Vec<ValueId> = (0..count).map(|_| self.builder.value(name)).collect();
        let axis = axis as i64;
        self.builder.emit_to("Split", name, &[Some(x), Some(list)], &parts, &[("axis", Attr::Int(axis))])?;
        let mut made = Vec::with_capacity(count);
        for part in parts {
            made.push(if keep {
                part
            } else {
                let axes = self.builder.constant(&format!("{name}/axes"), Tensor::i64(&[1], vec![axis]));
                self.builder.emit("Squeeze", name, &[Some(part), Some(axes)], &[])?
            });
        }
        self.give(node, Bound::Sequence(made));
        Ok(())
    }

    pub(super) fn concat_from_sequence(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let parts = self.sequence(node, name, 0)?;
        let attrs = self.attributes(node, name)?;
        let int = |key: &str| match attrs.get(key) {
            Some(&Attr::Int(v)) => v,
            _ => 0,
        };
        if parts.is_empty() {
            return fail(node, name, "joins an empty sequence");
        }
        let axis = int("axis");
        let id = if int("new_axis") != 0 {
            self.stack(name, &parts, axis)?
        } else {
            let inputs: Vec<_> = parts.into_iter().map(Some).collect();
            self.builder.emit("Concat", name, &inputs, &[("axis", Attr::Int(axis))])?
        };
        self.give(node, Bound::Tensor(id));
        Ok(())
    }

    /// The body of a `SequenceMap` for each element of its first input; sequences among the others go along with it.
    pub(super) fn sequence_map(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let Some(body) =
            node.attribute.iter().find(|a| a.name.as_deref() == Some("body")).and_then(|a| a.g.as_ref())
        else {
            return fail(node, name, "lacks its body; export the model again");
        };
        let n = self.sequence(node, name, 0)?.len();
        let mut results = vec![Vec::with_capacity(n); node.output.len()];
        for i in 0..n {
            let mut inputs = Vec::with_capacity(node.input.len());
            for k in 0..node.input.len() {
                inputs.push(match self.bound(node, k) {
                    Bound::Sequence(parts) => match parts.get(i) {
                        Some(&part) => Bound::Tensor(part),
                        None => return fail(node, name, "goes through sequences of different lengths"),
                    },
                    other => other,
                });
            }
            for (list, bound) in results.iter_mut().zip(self.subgraph(body, &inputs)?) {
                let Bound::Tensor(id) = bound else { return fail(node, name, "its body gives no tensor") };
                list.push(id);
            }
        }
        for (out, list) in node.output.iter().zip(results) {
            self.bind(out, Bound::Sequence(list));
        }
        Ok(())
    }

    /// `Identity`, of whatever its input is.
    pub(super) fn identity(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        match self.bound(node, 0) {
            Bound::Tensor(x) => {
                let Some(out) = node.output.first().filter(|o| !o.is_empty()) else { return Ok(()) };
                let y = self.output_value(out);
                self.narrow.follow(y, x);
                self.builder.emit_to("Identity", name, &[Some(x)], &[y], &[])
            }
            other => {
                self.give(node, other);
                Ok(())
            }
        }
    }

    /// An optional is what it holds.
    pub(super) fn optional(&mut self, node: &NodeProto, _: &str) -> Result<(), ImportError> {
        let held = self.bound(node, 0);
        self.give(node, held);
        Ok(())
    }

    pub(super) fn optional_get(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        match self.bound(node, 0) {
            Bound::Absent => fail(node, name, "takes the element of an optional that holds none"),
            held => {
                self.give(node, held);
                Ok(())
            }
        }
    }

    pub(super) fn optional_has(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let held = !matches!(self.bound(node, 0), Bound::Absent);
        self.give_constant(node, name, Tensor::new(Vec::new(), Data::Bool(vec![held])));
        Ok(())
    }
}
