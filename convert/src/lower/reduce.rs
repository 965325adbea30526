//! Reductions, softmax and normalizations.

use cygnet_format::op::{self, Op, ReduceKind};
use cygnet_format::program::DType;

use super::{Layout, Lowered, Lowerer, axis_of, dtype_of};
use crate::graph::Node;
use crate::lir::{Const, Id};

impl Lowerer<'_> {
    pub(super) fn reduce(&mut self, node: &Node) -> Lowered<()> {
        use ReduceKind as K;
        let kind = match node.op.as_str() {
            "ReduceSum" => K::Sum,
            "ReduceMean" => K::Mean,
            "ReduceMax" => K::Max,
            "ReduceMin" => K::Min,
            "ReduceProd" => K::Prod,
            "ReduceL1" => K::L1,
            "ReduceL2" => K::L2,
            "ReduceSumSquare" => K::SumSquare,
            "ReduceLogSumExp" => K::LogSumExp,
            "ReduceLogSum" => K::LogSum,
            _ => return Err("this reduction is not supported".to_owned()),
        };
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let dims = self.dims(x);
        let rank = dims.len();
        let axes: Vec<usize> = match self.ints_input(node, 1, "axes")?.filter(|a| !a.is_empty()) {
            Some(axes) => axes.iter().map(|&a| axis_of(a, rank)).collect::<Lowered<_>>()?,
            None if node.int("noop_with_empty_axes", 0) != 0 => Vec::new(),
            None => (0..rank).collect(),
        };
        let placed = self.placed(x)?;
        let mut kept = dims;
        axes.iter().for_each(|&a| kept[a] = 1);
        let mask = axes.iter().map(|&a| 1_u32 << placed.layout.position(a)).sum();
        let physical = placed.layout.physical(&kept);
        let elem = self.graph.elem(x);
        let mut id = self.raw(placed.id, elem);
        if self.lir.tensors[id].dtype != DType::F32 {
            id = self.converted(id, DType::S32);
        }
        let dtype = self.lir.tensors[id].dtype;
        if !axes.is_empty() {
            id = self.step(
                &node.name,
                Op::Reduce(op::Reduce { kind, axes: mask, scale: 1.0 }),
                &[id],
                &physical,
                dtype,
            );
        }
        let id = self.narrowed(&node.name, id, elem);
        self.define_reduced(node, y, id, placed.layout, &axes)
    }

    /// Defines the output of a reduction that kept its axes, dropping them when the node does.
    fn define_reduced(
        &mut self,
        node: &Node,
        y: crate::graph::ValueId,
        id: Id,
        layout: Layout,
        axes: &[usize],
    ) -> Lowered<()> {
        if node.int("keepdims", 1) != 0 {
            self.define(y, id, layout);
            return Ok(());
        }
        let layout = layout.without(axes);
        let id = self.view(id, &layout.physical(&self.dims(y)));
        self.define(y, id, layout);
        Ok(())
    }

    pub(super) fn arg_reduce(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let mut dims = self.dims(x);
        let axis = axis_of(node.int("axis", 0), dims.len())?;
        dims[axis] = 1;
        let placed = self.placed(x)?;
        let op = Op::ArgReduce(op::ArgReduce {
            min: node.op == "ArgMin",
            axis: placed.layout.position(axis) as u32,
            last: node.int("select_last_index", 0) != 0,
        });
        let physical = placed.layout.physical(&dims);
        let id = self.step(&node.name, op, &[placed.id], &physical, DType::S32);
        self.define_reduced(node, y, id, placed.layout, &[axis])
    }

    pub(super) fn softmax(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let axis = axis_of(node.int("axis", -1), self.dims(x).len())?;
        let placed = self.placed(x)?;
        let dims = self.lir.tensors[placed.id].dims.clone();
        let op = Op::Softmax(op::Softmax {
            axis: placed.layout.position(axis) as u32,
            log: node.op == "LogSoftmax",
        });
        let id = self.step(&node.name, op, &[placed.id], &dims, DType::F32);
        self.define(y, id, placed.layout);
        Ok(())
    }

    pub(super) fn layer_norm(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let dims = self.dims(x);
        let rank = dims.len();
        let axis = axis_of(node.int("axis", -1), rank)?;
        // The normalized dimensions must lie last, in order; the others may come as they do.
        let placed = self.placed(x)?;
        let fits = (axis..rank).all(|d| placed.layout.order()[d] == d);
        let layout = if fits { placed.layout } else { Layout::identity(rank) };
        let id = self.arranged(x, &layout)?;
        let len: usize = dims[axis..].iter().product();
        let mut inputs = vec![id];
        for i in 1..=2 {
            let values = match node.input(i) {
                None if i == 2 => continue,
                None => vec![1.0; len],
                Some(_) => self.constant_input(node, i, "scale or bias")?.to_f32(),
            };
            if values.len() != len {
                return Err(format!("its scale or bias has {} values for {len} elements", values.len()));
            }
            inputs.push(self.lir.add_const(format!("{}:{i}", node.name), &dims[axis..], Const::F32(values)));
        }
        let op = Op::LayerNorm(op::LayerNorm { axis: axis as u32, epsilon: node.float("epsilon", 1e-5) });
        let physical = layout.physical(&dims);
        let out = self.step(&node.name, op, &inputs, &physical, dtype_of(self.graph.elem(y)));
        self.define(y, out, layout);
        Ok(())
    }
}
