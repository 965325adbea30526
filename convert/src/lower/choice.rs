//! Operators over indices and places, and recurrences: each a step of its own.

use cygnet_format::op::{
    self, CellKind, CumulateKind, Op, Outside, SampleKind, ScatterKind, Unary, UnaryKind,
};
use cygnet_format::program::DType;

use super::{Layout, Lowered, Lowerer, axis_of};
use crate::graph::Node;

impl Lowerer<'_> {
    pub(super) fn top_k(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let axis = axis_of(node.int("axis", -1), self.dims(x).len())?;
        let placed = self.placed(x)?;
        let id = self.raw(placed.id, self.graph.elem(x));
        let op = Op::TopK(op::TopK {
            axis: placed.layout.position(axis) as u32,
            least: node.int("least", 0) != 0,
        });
        let dims = placed.layout.physical(&self.dims(y));
        let out = self.step(&node.name, op, &[id], &dims, DType::S32);
        self.define(y, out, placed.layout);
        Ok(())
    }

    pub(super) fn cumulate(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let axis = match self.ints_input(node, 1, "axis")?.as_deref() {
            Some([axis]) => axis_of(*axis, self.dims(x).len())?,
            _ => return Err("its axis is no single integer".to_owned()),
        };
        let placed = self.placed(x)?;
        let elem = self.graph.elem(x);
        let mut id = self.raw(placed.id, elem);
        if self.lir.tensors[id].dtype != DType::F32 {
            id = self.converted(id, DType::S32);
        }
        let op = Op::Cumulate(op::Cumulate {
            kind: if node.op == "CumProd" { CumulateKind::Prod } else { CumulateKind::Sum },
            axis: placed.layout.position(axis) as u32,
            exclusive: node.int("exclusive", 0) != 0,
            reverse: node.int("reverse", 0) != 0,
        });
        let (dims, dtype) = (self.lir.tensors[id].dims.clone(), self.lir.tensors[id].dtype);
        let out = self.step(&node.name, op, &[id], &dims, dtype);
        let out = self.narrowed(&node.name, out, elem);
        self.define(y, out, placed.layout);
        Ok(())
    }

    pub(super) fn scatter(&mut self, node: &Node) -> Lowered<()> {
        let y = self.only_first_output(node)?;
        let (x, at, updates) = (self.required(node, 0)?, self.required(node, 1)?, self.required(node, 2)?);
        let kind = match node.str("reduction", "none") {
            "none" => ScatterKind::Replace,
            "add" => ScatterKind::Add,
            "mul" => ScatterKind::Mul,
            "min" => ScatterKind::Min,
            "max" => ScatterKind::Max,
            other => return Err(format!("its reduction '{other}' is unknown")),
        };
        let elem = self.graph.elem(x);
        let mut tables = [0; 2];
        for (table, v) in tables.iter_mut().zip([x, updates]) {
            let id = self.identity(v)?;
            let id = self.raw(id, elem);
            let computes = kind != ScatterKind::Replace && self.lir.tensors[id].dtype != DType::F32;
            *table = if computes { self.converted(id, DType::S32) } else { id };
        }
        let at = self.identity(at)?;
        let (dims, dtype) = (self.dims(y), self.lir.tensors[tables[0]].dtype);
        let op = Op::Scatter(op::Scatter { kind });
        let out = self.step(&node.name, op, &[tables[0], at, tables[1]], &dims, dtype);
        let out = self.narrowed(&node.name, out, elem);
        self.define(y, out, Layout::identity(2));
        Ok(())
    }

    pub(super) fn sample(&mut self, node: &Node) -> Lowered<()> {
        let (x, at, y) = (self.required(node, 0)?, self.required(node, 1)?, self.only_first_output(node)?);
        let kind = match node.str("mode", "linear") {
            "nearest" => SampleKind::Nearest,
            "linear" => SampleKind::Linear,
            "cubic" => SampleKind::Cubic,
            other => return Err(format!("its mode '{other}' is unknown")),
        };
        let outside = match node.str("outside", "zero") {
            "zero" => Outside::Zero,
            "edge" => Outside::Edge,
            "symmetric" => Outside::Symmetric,
            "reflect" => Outside::Reflect,
            other => return Err(format!("its padding '{other}' is unknown")),
        };
        let (image, places) = (self.image(x)?, self.identity(at)?);
        let dims = self.dims(y);
        let op = Op::Sample(op::Sample { kind, outside });
        let out = self.step(&node.name, op, &[image, places], &dims, DType::F32);
        self.define(y, out, Layout::identity(dims.len()));
        Ok(())
    }

    pub(super) fn non_max_suppression(&mut self, node: &Node) -> Lowered<()> {
        let y = self.only_first_output(node)?;
        let mut inputs = Vec::new();
        for i in 0..node.inputs.len() {
            let Some(v) = node.input(i) else {
                inputs.push(None);
                continue;
            };
            let id = self.identity(v)?;
            // Scalars may come as one-element lists, which are as good.
            inputs.push(Some(id));
        }
        let dims = self.dims(y);
        let out = self.lir.add(node.name.clone(), &dims, DType::S32);
        let op = op::NonMaxSuppression { center: node.int("center_point_box", 0) != 0 };
        self.lir.steps.push(crate::lir::Step {
            name: node.name.clone(),
            kind: crate::lir::Kind::Op(Op::NonMaxSuppression(op)),
            inputs,
            output: out,
            sources: Vec::new(),
        });
        self.define(y, out, Layout::identity(2));
        Ok(())
    }

    pub(super) fn recurrent(&mut self, node: &Node) -> Lowered<()> {
        let y = self.only_first_output(node)?;
        let kind = match node.str("cell", "") {
            "rnn" => CellKind::Rnn,
            "lstm" => CellKind::Lstm,
            "gru" => CellKind::Gru,
            "gru-reset-after" => CellKind::GruResetAfter,
            other => return Err(format!("its cell '{other}' is unknown")),
        };
        let function = |key: &str| -> Lowered<Unary> {
            let (alpha, beta) =
                (node.float(&format!("{key}_alpha"), 0.0), node.float(&format!("{key}_beta"), 0.0));
            let kind = match node.str(key, "Identity") {
                "Identity" => UnaryKind::Identity,
                "Sigmoid" => UnaryKind::Sigmoid,
                "Tanh" => UnaryKind::Tanh,
                "Relu" => UnaryKind::Relu,
                "HardSigmoid" => UnaryKind::HardSigmoid,
                "LeakyRelu" => UnaryKind::LeakyRelu,
                "ThresholdedRelu" => UnaryKind::ThresholdedRelu,
                "Elu" => UnaryKind::Elu,
                "Softsign" => UnaryKind::Softsign,
                "Softplus" => UnaryKind::Softplus,
                other => return Err(format!("its activation '{other}' is unknown")),
            };
            Ok(Unary { kind, a: alpha, b: beta })
        };
        let op = op::Recurrent {
            kind,
            reverse: node.int("reverse", 0) != 0,
            gate: function("gate")?,
            candidate: function("candidate")?,
            cell: function("state")?,
        };
        let mut inputs = Vec::new();
        for &v in node.inputs.iter().flatten() {
            inputs.push(self.identity(v)?);
        }
        let dims = self.dims(y);
        let out = self.step(&node.name, Op::Recurrent(op), &inputs, &dims, DType::F32);
        self.define(y, out, Layout::identity(3));
        Ok(())
    }
}
