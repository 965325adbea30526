//! `FlexAttention`: attention whose scores and probabilities pass through subgraphs.

use super::importer::{Bound, Importer};
use super::schema::NodeProto;
use crate::error::ImportError;
use crate::fold;
use crate::graph::{Attr, Data, ElemType, Tensor, ValueId};

fn fail<T>(name: &str, reason: impl Into<String>) -> Result<T, ImportError> {
    Err(ImportError::Node { op: "FlexAttention".to_owned(), node: name.to_owned(), reason: reason.into() })
}

impl Importer<'_> {
    /// Inputs: queries `[B, H, L, E]`, keys `[B, G, S, E]`, values `[B, G, S, V]`; heads that share keys and values
    /// stand beside each other.
    pub(super) fn flex_attention(&mut self, node: &NodeProto, name: &str) -> Result<(), ImportError> {
        let mut inputs = Vec::with_capacity(3);
        for input in &node.input {
            match self.lookup(input) {
                Some(Bound::Tensor(id)) if self.builder.graph.dims(id).len() == 4 => inputs.push(id),
                _ => return fail(name, format!("needs '{input}' to be a tensor of 4 dimensions")),
            }
        }
        let &[q, k, v] = inputs.as_slice() else {
            return fail(name, "needs queries, keys and values; export the model again");
        };
        let attrs = self.attributes(node, name)?;
        let dims = |m: &Self, id: ValueId| m.builder.graph.dims(id).to_vec();
        let (qd, kd, vd) = (dims(self, q), dims(self, k), dims(self, v));
        if kd[1] == 0 || qd[1] % kd[1] != 0 || kd[..3] != vd[..3] {
            return fail(name, format!("cannot share keys {kd:?} and values {vd:?} among queries {qd:?}"));
        }
        let elem = self.builder.graph.elem(q);
        let inner = match attrs.get("softmax_precision") {
            Some(&Attr::Int(n)) => match i32::try_from(n).ok().and_then(super::tensor::elem_type) {
                Some(inner) => inner,
                None => {
                    return fail(name, format!("computes in element type number {n}, which is not known"));
                }
            },
            _ if elem == ElemType::F64 => ElemType::F64,
            _ => ElemType::F32,
        };
        let scale = match attrs.get("scale") {
            Some(&Attr::Float(scale)) => f64::from(scale),
            _ => 1.0 / (qd[3] as f64).sqrt(),
        };
        // [B, G, H / G, L, E] by [B, G, 1, E, S].
        let group = qd[1] / kd[1];
        let q = self.shaped(name, q, &[qd[0], kd[1], group, qd[2], qd[3]])?;
        let k = self.shaped(name, k, &[kd[0], kd[1], 1, kd[2], kd[3]])?;
        let v = self.shaped(name, v, &[vd[0], vd[1], 1, vd[2], vd[3]])?;
        let perm = Attr::Ints(vec![0, 1, 2, 4, 3]);
        let k = self.builder.emit("Transpose", name, &[Some(k)], &[("perm", perm)])?;
        let factor = fold::cast(&Tensor::new(Vec::new(), Data::F64(vec![scale])), elem);
        let factor = self.builder.constant(&format!("{name}/scale"), factor);
        let product = self.builder.emit("MatMul", name, &[Some(q), Some(k)], &[])?;
        let scores = self.builder.emit("Mul", name, &[Some(product), Some(factor)], &[])?;
        let scores = self.shaped(name, scores, &[qd[0], qd[1], qd[2], kd[2]])?;
        let scores = self.as_type(name, scores, inner)?;
        let scores = self.modified(node, name, "score_mod", scores)?;
        let softmax = self.builder.emit("Softmax", name, &[Some(scores)], &[("axis", Attr::Int(-1))])?;
        let shares = self.modified(node, name, "prob_mod", softmax)?;
        let shares = self.as_type(name, shares, elem)?;
        let shares = self.shaped(name, shares, &[qd[0], kd[1], group, qd[2], kd[2]])?;
        let y = self.builder.emit("MatMul", name, &[Some(shares), Some(v)], &[])?;
        let y = self.shaped(name, y, &[qd[0], qd[1], qd[2], vd[3]])?;
        if let Some(out) = node.output.first() {
            self.bind(out, Bound::Tensor(y));
        }
        Ok(())
    }

    /// What the subgraph in an attribute makes of a value, of the same dimensions and type.
    fn modified(
        &mut self,
        node: &NodeProto,
        name: &str,
        key: &str,
        x: ValueId,
    ) -> Result<ValueId, ImportError> {
        let attribute = node.attribute.iter().find(|a| a.name.as_deref() == Some(key));
        let Some(graph) = attribute.and_then(|a| a.g.as_ref()) else { return Ok(x) };
        let form = |m: &Self, id: ValueId| (m.builder.graph.elem(id), m.builder.graph.dims(id).to_vec());
        match self.subgraph(graph, &[Bound::Tensor(x)])?.as_slice() {
            &[Bound::Tensor(y)] if form(self, x) == form(self, y) => Ok(y),
            _ => fail(name, format!("its {key} does not give one tensor like the one that it takes")),
        }
    }

    fn shaped(&mut self, name: &str, x: ValueId, dims: &[usize]) -> Result<ValueId, ImportError> {
        let shape = Tensor::i64(&[dims.len()], dims.iter().map(|&d| d as i64).collect());
        let shape = self.builder.constant(&format!("{name}/shape"), shape);
        self.builder.emit("Reshape", name, &[Some(x), Some(shape)], &[])
    }

    fn as_type(&mut self, name: &str, x: ValueId, elem: ElemType) -> Result<ValueId, ImportError> {
        if self.builder.graph.elem(x) == elem {
            return Ok(x);
        }
        let to = Attr::Int(super::elem_number(elem).into());
        self.builder.emit("Cast", name, &[Some(x)], &[("to", to)])
    }
}
