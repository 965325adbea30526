//! What operators make: nodes, constants, moved values.

use super::import::Importer;
use super::values::{TO_IMAGE, TO_PLAIN};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, Tensor, ValueId};
use crate::onnx::elem_number;

impl Importer<'_> {
    /// Appends a node and returns its output; what is computed from constants is a constant.
    pub fn emit(
        &mut self,
        op: &str,
        hint: &str,
        inputs: &[Option<ValueId>],
        attrs: &[(&str, Attr)],
    ) -> Result<ValueId, ImportError> {
        let out = self.builder.value(hint);
        self.emit_to(op, hint, inputs, &[out], attrs)?;
        Ok(out)
    }

    /// Appends a node with as many outputs.
    pub fn emit_many(
        &mut self,
        op: &str,
        inputs: &[Option<ValueId>],
        attrs: &[(&str, Attr)],
        count: usize,
    ) -> Result<Vec<ValueId>, ImportError> {
        let hint = self.hint.clone();
        let outputs: Vec<ValueId> = (0..count).map(|_| self.builder.value(&hint)).collect();
        self.emit_to(op, &hint, inputs, &outputs, attrs)?;
        Ok(outputs)
    }

    fn emit_to(
        &mut self,
        op: &str,
        hint: &str,
        inputs: &[Option<ValueId>],
        outputs: &[ValueId],
        attrs: &[(&str, Attr)],
    ) -> Result<(), ImportError> {
        self.builder.emit_to(op, hint, inputs, outputs, attrs)
    }

    /// Appends a node of the current operator.
    pub fn node(
        &mut self,
        op: &str,
        inputs: &[ValueId],
        attrs: &[(&str, Attr)],
    ) -> Result<ValueId, ImportError> {
        let hint = self.hint.clone();
        self.emit(op, &hint, &inputs.iter().map(|&i| Some(i)).collect::<Vec<_>>(), attrs)
    }

    /// A constant of integers, as ONNX takes axes, sizes and the like.
    pub fn list(&mut self, values: &[i64]) -> ValueId {
        let hint = format!("{}:list", self.hint);
        self.builder.constant(&hint, Tensor::i64(&[values.len()], values.to_vec()))
    }

    /// A constant float scalar.
    pub fn scalar(&mut self, value: f32) -> ValueId {
        let hint = format!("{}:scalar", self.hint);
        self.builder.constant(&hint, Tensor::f32(&[], vec![value]))
    }

    /// The same elements under other dimensions; one may be -1: what remains.
    pub fn reshape(&mut self, value: ValueId, dims: &[i64]) -> Result<ValueId, ImportError> {
        let list = self.list(dims);
        self.node("Reshape", &[value, list], &[("allowzero", Attr::Int(1))])
    }

    /// The same numbers in an element type.
    pub fn cast(&mut self, value: ValueId, to: ElemType) -> Result<ValueId, ImportError> {
        if self.elem_of(value) == to {
            return Ok(value);
        }
        self.node("Cast", &[value], &[("to", Attr::Int(i64::from(elem_number(to))))])
    }

    /// Elements `from..to` along an axis.
    pub fn slice(
        &mut self,
        value: ValueId,
        axis: usize,
        from: usize,
        to: usize,
    ) -> Result<ValueId, ImportError> {
        let lists = [from, to, axis].map(|n| self.list(&[n as i64]));
        self.node("Slice", &[value, lists[0], lists[1], lists[2]], &[])
    }

    /// `value` with its dimensions permuted.
    pub fn transpose(&mut self, value: ValueId, perm: &[i64]) -> Result<ValueId, ImportError> {
        let hint = self.builder.graph.value(value).name.clone();
        let suffix = match perm {
            _ if perm == TO_IMAGE => "nchw",
            _ if perm == TO_PLAIN => "nhwc",
            _ => "transposed",
        };
        self.emit(
            "Transpose",
            &format!("{hint}:{suffix}"),
            &[Some(value)],
            &[("perm", Attr::Ints(perm.to_vec()))],
        )
    }
}
