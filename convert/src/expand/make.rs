//! Making nodes while another one is expanded.

use crate::build::{Builder, node_error};
use crate::error::ImportError;
use crate::fold;
use crate::graph::{Attr, Data, ElemType, Node, Tensor, ValueId};
use crate::infer::axis;
use crate::onnx::elem_number;

/// A value made, or why not.
pub(crate) type Made = Result<ValueId, ImportError>;

/// Whether a node was expanded.
pub(crate) type Done = Result<bool, ImportError>;

/// A node being expanded, and the graph that its expansion goes to.
pub(crate) struct Make<'b, 'n> {
    pub b: &'b mut Builder,
    pub node: &'n Node,
}

impl Make<'_, '_> {
    // The node.

    /// An error about the node.
    pub fn fail<T>(&self, reason: impl Into<String>) -> Result<T, ImportError> {
        Err(node_error(self.node, reason))
    }

    /// An input that may be left out.
    pub fn opt(&self, i: usize) -> Option<ValueId> {
        self.node.input(i)
    }

    /// An input that must be there.
    pub fn input(&self, i: usize) -> Made {
        match self.opt(i) {
            Some(id) => Ok(id),
            None => self.fail(format!("needs input {i}, which is left out; export the model again")),
        }
    }

    /// Whether somebody may use output `i`.
    pub fn wants(&self, i: usize) -> bool {
        self.node.outputs.get(i).is_some_and(Option::is_some)
    }

    /// Says what output `i` is.
    pub fn give(&mut self, i: usize, value: ValueId) -> Result<(), ImportError> {
        let Some(&Some(out)) = self.node.outputs.get(i) else { return Ok(()) };
        self.b.emit_to("Identity", &self.node.name, &[Some(value)], &[out], &[])
    }

    /// Says what the only output is.
    pub fn done(&mut self, value: ValueId) -> Done {
        self.give(0, value)?;
        Ok(true)
    }

    /// An axis of the node that is counted from the end when negative.
    pub fn axis(&self, key: &str, default: i64, rank: usize) -> Result<usize, ImportError> {
        axis(self.node.int(key, default), rank).or_else(|e| self.fail(e))
    }

    /// An attribute that counts something.
    pub fn count(&self, key: &str) -> Result<usize, ImportError> {
        match usize::try_from(self.node.int(key, 0)) {
            Ok(n) if n > 0 => Ok(n),
            _ => self.fail(format!("needs {key} of at least 1, it has {}", self.node.int(key, 0))),
        }
    }

    // Values.

    pub fn dims(&self, v: ValueId) -> Vec<usize> {
        self.b.graph.dims(v).to_vec()
    }

    pub fn rank(&self, v: ValueId) -> usize {
        self.b.graph.dims(v).len()
    }

    pub fn elem(&self, v: ValueId) -> ElemType {
        self.b.graph.elem(v)
    }

    /// The elements of a value that is known now.
    pub fn known(&self, v: ValueId) -> Option<&Tensor> {
        self.b.graph.constant(v).map(|t| &**t)
    }

    /// The elements of input `i`, which decide what is computed and so have to be known now; `None` when it is left
    /// out.
    pub fn known_input(&self, i: usize) -> Result<Option<&Tensor>, ImportError> {
        let Some(id) = self.opt(i) else { return Ok(None) };
        match self.b.graph.constant(id) {
            Some(t) => Ok(Some(t)),
            None => self.fail(format!(
                "its input '{}' decides what is computed, but is itself computed while the model runs; \
                 fix the input that it follows from with --fix",
                self.b.graph.value(id).name
            )),
        }
    }

    /// Integers of an input that has to be known now.
    pub fn ints(&self, i: usize) -> Result<Option<Vec<i64>>, ImportError> {
        match self.known_input(i)? {
            None => Ok(None),
            Some(t) => match t.to_i64() {
                Some(v) => Ok(Some(v)),
                None => self.fail(format!("its input {i} must be integers, it is {}", t.elem())),
            },
        }
    }

    /// The one integer of an input that has to be known now.
    pub fn int(&self, i: usize) -> Result<Option<i64>, ImportError> {
        match self.ints(i)?.as_deref() {
            None => Ok(None),
            Some([v]) => Ok(Some(*v)),
            Some(v) => self.fail(format!("its input {i} must be one integer, it has {}", v.len())),
        }
    }

    // Constants.

    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let hint = format!("{}/constant", self.node.name);
        self.b.constant(&hint, tensor)
    }

    /// Integers, as ONNX takes shapes, axes and the like.
    pub fn list(&mut self, values: &[i64]) -> ValueId {
        self.constant(Tensor::i64(&[values.len()], values.to_vec()))
    }

    /// A scalar of an element type.
    pub fn number(&mut self, value: f64, elem: ElemType) -> ValueId {
        let t = fold::cast(&Tensor::new(Vec::new(), Data::F64(vec![value])), elem);
        self.constant(t)
    }

    /// A scalar of the element type of a value.
    pub fn like(&mut self, v: ValueId, value: f64) -> ValueId {
        let elem = self.elem(v);
        self.number(value, elem)
    }

    /// Real numbers in an element type.
    pub fn numbers(&mut self, dims: &[usize], values: Vec<f64>, elem: ElemType) -> ValueId {
        let t = fold::cast(&Tensor::new(dims.to_vec(), Data::F64(values)), elem);
        self.constant(t)
    }

    // Nodes.

    /// A node of these inputs.
    pub fn op(&mut self, op: &str, inputs: &[ValueId]) -> Made {
        self.op_with(op, inputs, &[])
    }

    /// A node of these inputs and attributes.
    pub fn op_with(&mut self, op: &str, inputs: &[ValueId], attrs: &[(&str, Attr)]) -> Made {
        let inputs: Vec<_> = inputs.iter().map(|&v| Some(v)).collect();
        self.b.emit(op, &self.node.name, &inputs, attrs)
    }

    /// A node of which inputs may be left out.
    pub fn op_opt(&mut self, op: &str, inputs: &[Option<ValueId>], attrs: &[(&str, Attr)]) -> Made {
        self.b.emit(op, &self.node.name, inputs, attrs)
    }

    pub fn add(&mut self, a: ValueId, b: ValueId) -> Made {
        self.op("Add", &[a, b])
    }

    pub fn sub(&mut self, a: ValueId, b: ValueId) -> Made {
        self.op("Sub", &[a, b])
    }

    pub fn mul(&mut self, a: ValueId, b: ValueId) -> Made {
        self.op("Mul", &[a, b])
    }

    pub fn div(&mut self, a: ValueId, b: ValueId) -> Made {
        self.op("Div", &[a, b])
    }

    /// `a + value`
    pub fn plus(&mut self, a: ValueId, value: f64) -> Made {
        let c = self.like(a, value);
        self.add(a, c)
    }

    /// `a * value`
    pub fn times(&mut self, a: ValueId, value: f64) -> Made {
        let c = self.like(a, value);
        self.mul(a, c)
    }

    pub fn cast(&mut self, v: ValueId, elem: ElemType) -> Made {
        if self.elem(v) == elem {
            return Ok(v);
        }
        self.op_with("Cast", &[v], &[("to", Attr::Int(i64::from(elem_number(elem))))])
    }

    /// The same elements under other dimensions.
    pub fn reshape(&mut self, v: ValueId, dims: &[usize]) -> Made {
        if self.b.graph.dims(v) == dims {
            return Ok(v);
        }
        let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let shape = self.list(&shape);
        self.op_with("Reshape", &[v, shape], &[("allowzero", Attr::Int(1))])
    }

    /// Output dimension `i` is dimension `perm[i]`.
    pub fn transpose(&mut self, v: ValueId, perm: &[usize]) -> Made {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(v);
        }
        let perm = perm.iter().map(|&p| p as i64).collect();
        self.op_with("Transpose", &[v], &[("perm", Attr::Ints(perm))])
    }

    /// The last two dimensions swapped.
    pub fn swap_last(&mut self, v: ValueId) -> Made {
        let mut perm: Vec<usize> = (0..self.rank(v)).collect();
        let n = perm.len();
        perm.swap(n - 1, n - 2);
        self.transpose(v, &perm)
    }

    /// Elements `from..to` along an axis.
    pub fn slice(&mut self, v: ValueId, axis: usize, from: usize, to: usize) -> Made {
        if from == 0 && to == self.b.graph.dims(v)[axis] {
            return Ok(v);
        }
        let lists = [from, to, axis].map(|x| x as i64).map(|x| self.list(&[x]));
        self.op("Slice", &[v, lists[0], lists[1], lists[2]])
    }

    pub fn concat(&mut self, parts: &[ValueId], axis: usize) -> Made {
        if let [one] = parts {
            return Ok(*one);
        }
        self.op_with("Concat", parts, &[("axis", Attr::Int(axis as i64))])
    }

    /// The value broadcast to these dimensions.
    pub fn expand(&mut self, v: ValueId, dims: &[usize]) -> Made {
        if self.b.graph.dims(v) == dims {
            return Ok(v);
        }
        let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let shape = self.list(&shape);
        self.op("Expand", &[v, shape])
    }

    /// A reduction, dimensions kept or not.
    pub fn reduce(&mut self, op: &str, v: ValueId, axes: &[usize], keep: bool) -> Made {
        if axes.is_empty() {
            return Ok(v);
        }
        let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
        let axes = self.list(&axes);
        self.op_with(op, &[v, axes], &[("keepdims", Attr::Int(i64::from(keep)))])
    }

    pub fn gather(&mut self, v: ValueId, indices: ValueId, axis: usize) -> Made {
        self.op_with("Gather", &[v, indices], &[("axis", Attr::Int(axis as i64))])
    }

    pub fn softmax(&mut self, v: ValueId, axis: usize) -> Made {
        self.op_with("Softmax", &[v], &[("axis", Attr::Int(axis as i64))])
    }
}
