//! From source operators to steps: layouts assigned, transposes cancelled.
//!
//! A lowered value keeps its logical dimensions (ONNX's) and the order in which they lie in memory: physical
//! dimension `i` is logical dimension `order[i]`. A convolution leaves `[0, 2, 3, 1]`, which is NHWC. Operators that
//! do not care (elementwise, concatenation, reductions, ...) take whatever order their input has; `Transpose` only
//! renames dimensions; `Reshape` renames them where the elements already lie in the right sequence. Data moves
//! when a consumer needs an order that it did not get, and nowhere else.

mod choice;
mod conv;
mod elementwise;
mod layout;
mod movement;
mod reduce;
mod resize;

use std::fmt;

use cygnet_format::op::Op;
use cygnet_format::program::{DType, MAX_RANK};

use crate::graph::{Data, ElemType, Graph, Node, State, Tensor, ValueId};
use crate::lir::{self, Const, Id, Kind, Lir};

pub(crate) use layout::{Layout, reshape_order};

/// A source node that no step expresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Operator.
    pub op: String,
    /// Node.
    pub node: String,
    /// What about it, and what to do.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}': {}", self.op, self.node, self.why)
    }
}

/// Why a graph cannot be lowered: every node that is in the way, at once.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{} of the model cannot be converted:\n{}", count(.refused.len()), list(.refused))]
pub struct LowerError {
    /// The nodes.
    pub refused: Vec<Refused>,
}

fn count(n: usize) -> String {
    if n == 1 { "1 node".to_owned() } else { format!("{n} nodes") }
}

fn list(refused: &[Refused]) -> String {
    refused.iter().map(|r| format!("  {r}")).collect::<Vec<_>>().join("\n")
}

type Lowered<T> = Result<T, String>;

/// Lowers a simplified graph whose shapes are all known.
///
/// # Errors
/// Names every node that no step expresses.
pub fn lower(graph: &Graph) -> Result<Lir, LowerError> {
    let mut lw = Lowerer { graph, lir: Lir::default(), values: vec![None; graph.values.len()] };
    for &v in &graph.inputs {
        let port = lw.input(v);
        lw.lir.inputs.push((graph.value(v).name.clone(), port));
    }
    for state in &graph.states {
        let input = lw.input(state.input);
        // Its output is not known yet.
        let name = state.name.clone();
        lw.lir.states.push(lir::State { name, input, output: input, initial: None });
    }
    let mut refused = Vec::new();
    for node in &graph.nodes {
        let first = lw.lir.steps.len();
        let lowered = lw.node(node);
        lw.lir.attribute(first, &node.sources);
        if let Err(why) = lowered {
            refused.push(Refused { op: node.op.clone(), node: node.name.clone(), why });
            for &out in node.outputs.iter().flatten() {
                lw.placeholder(out);
            }
        }
    }
    if !refused.is_empty() {
        return Err(LowerError { refused });
    }
    if graph.results().all(|v| graph.dims(v).contains(&0)) {
        let why = "none of the model's outputs has an element".to_owned();
        let node = graph.outputs.first().map(|&v| graph.value(v).name.clone()).unwrap_or_default();
        return Err(LowerError { refused: vec![Refused { op: "output".to_owned(), node, why }] });
    }
    let refuse = |v: ValueId, why| LowerError {
        refused: vec![Refused { op: "output".to_owned(), node: graph.value(v).name.clone(), why }],
    };
    for &v in graph.outputs.iter().filter(|&&v| !graph.dims(v).contains(&0)) {
        let id = lw.output(v).map_err(|why| refuse(v, why))?;
        lw.lir.outputs.push((graph.value(v).name.clone(), id));
    }
    for (i, state) in graph.states.iter().enumerate() {
        lw.state(i, state).map_err(|why| refuse(state.output, why))?;
    }
    lw.lir.drop_dead();
    Ok(lw.lir)
}

/// A value that has been lowered: a tensor, and the order of its dimensions.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    id: Id,
    layout: Layout,
}

pub(crate) struct Lowerer<'g> {
    graph: &'g Graph,
    lir: Lir,
    values: Vec<Option<Placed>>,
}

/// The element type that a program computes a source type in.
fn dtype_of(elem: ElemType) -> DType {
    match elem {
        ElemType::F32 | ElemType::F16 | ElemType::BF16 | ElemType::F64 => DType::F32,
        ElemType::Bool | ElemType::U8 => DType::U8,
        ElemType::I8 => DType::S8,
        ElemType::I16 | ElemType::U16 | ElemType::I32 | ElemType::U32 | ElemType::I64 | ElemType::U64 => {
            DType::S32
        }
    }
}

fn const_of(t: &Tensor) -> Const {
    match (&t.data, dtype_of(t.elem())) {
        (Data::Bool(v), _) => Const::U8(v.iter().map(|&b| u8::from(b)).collect()),
        (Data::U8(v), _) => Const::U8(v.clone()),
        (Data::I8(v), _) => Const::S8(v.clone()),
        (_, DType::S32) => {
            let wide = t.to_i64().unwrap_or_default();
            Const::S32(
                wide.iter().map(|&x| x.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32).collect(),
            )
        }
        _ => Const::F32(t.to_f32()),
    }
}

/// A constant in the type in which it passes the border of a program.
fn port_const(t: &Tensor) -> Option<Const> {
    match port_of(t.elem()) {
        DType::F16 => Some(Const::F16(t.to_f32().into_iter().map(half::f16::from_f32).collect())),
        DType::S16 => None,
        DType::S64 => t.to_i64().map(Const::S64),
        _ => Some(const_of(t)),
    }
}

/// The element type in which a source type passes the border of a program.
fn port_of(elem: ElemType) -> DType {
    match elem {
        ElemType::F16 => DType::F16,
        ElemType::I16 => DType::S16,
        ElemType::I64 | ElemType::U64 | ElemType::U32 => DType::S64,
        other => dtype_of(other),
    }
}

impl Lowerer<'_> {
    /// Makes a tensor that no step computes of this value.
    fn input(&mut self, v: ValueId) -> Id {
        let dims = self.graph.dims(v).to_vec();
        let elem = self.graph.elem(v);
        let name = self.graph.value(v).name.clone();
        let port = self.lir.add(name, &dims, port_of(elem));
        let id = self.converted(port, dtype_of(elem));
        self.values[v.0 as usize] = Some(Placed { id, layout: Layout::identity(dims.len()) });
        port
    }

    /// The value in a tensor of its own, as it leaves the program.
    fn output(&mut self, v: ValueId) -> Lowered<Id> {
        let name = self.graph.value(v).name.clone();
        let elem = self.graph.elem(v);
        let dims = self.graph.dims(v).to_vec();
        let mut id = self.identity(v)?;
        if elem == ElemType::U8 && self.lir.tensors[id].quant.is_some() {
            id = self.unsigned(id);
        }
        if elem == ElemType::BF16 && self.lir.tensors[id].constant.is_none() {
            id = self.rounded_to_bf16(&name, id);
        }
        id = self.converted(id, port_of(elem));
        // A port is a tensor of its own: computed, and not also an input or another output.
        let taken = self.lir.tensors[id].constant.is_some() || self.lir.ports().any(|other| other == id);
        if taken {
            let t = self.lir.tensors[id].clone();
            let own = self.lir.add(format!("{name}:output"), &dims, t.dtype);
            self.lir.tensors[own].quant = t.quant;
            let kind = Kind::Slice { starts: vec![0; dims.len()], steps: vec![1; dims.len()] };
            self.lir.push(format!("{name}:copy"), kind, &[id], own);
            id = own;
        }
        Ok(id)
    }

    /// What state `i` holds at first, and what the next run finds in it.
    fn state(&mut self, i: usize, state: &State) -> Lowered<()> {
        let output = self.output(state.output)?;
        let dims = self.dims(state.input);
        let initial = match state.initial.as_deref().filter(|t| !t.is_zero()) {
            Some(t) => {
                let (value, dtype) = (port_const(t), port_of(t.elem()));
                let value = value.ok_or_else(|| format!("cannot begin with values of {}", dtype.name()))?;
                Some(self.lir.add_const(format!("{}:initial", state.name), &dims, value))
            }
            None => None,
        };
        let slot = &mut self.lir.states[i];
        (slot.output, slot.initial) = (output, initial);
        Ok(())
    }

    /// Stands in for the output of a refused node, so that the nodes behind it can be looked at too.
    fn placeholder(&mut self, v: ValueId) {
        let value = self.graph.value(v);
        if let (Some(dims), Some(elem)) = (&value.dims, value.elem) {
            let id = self.lir.add(value.name.clone(), dims, dtype_of(elem));
            self.values[v.0 as usize] = Some(Placed { id, layout: Layout::identity(dims.len()) });
        }
    }

    fn node(&mut self, node: &Node) -> Lowered<()> {
        for &v in node.inputs.iter().flatten().chain(node.outputs.iter().flatten()) {
            // An empty constant (the unused `roi` of a Resize) stands for an input left out.
            if self.constant_of(v).is_some_and(Tensor::is_empty) {
                continue;
            }
            if self.graph.value(v).dims.as_ref().is_none_or(|d| d.len() > MAX_RANK || d.contains(&0)) {
                return Err(format!(
                    "'{}' has shape {:?}; shapes must be known, of at most {MAX_RANK} dimensions, none of them 0",
                    self.graph.value(v).name,
                    self.graph.value(v).dims
                ));
            }
        }
        match node.op.as_str() {
            "Conv" => self.conv(node),
            "ConvTranspose" => self.conv_transpose(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(node),
            "Softmax" | "LogSoftmax" => self.softmax(node),
            "LayerNormalization" => self.layer_norm(node),
            "ArgMax" | "ArgMin" => self.arg_reduce(node),
            op if op.starts_with("Reduce") => self.reduce(node),
            "Transpose" => self.transpose(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" | "Dropout" => self.reshape(node),
            "Concat" => self.concat(node),
            "Split" => self.split(node),
            "Slice" => self.slice(node),
            "Pad" => self.pad(node),
            "Expand" => self.expand(node),
            "Tile" => self.tile(node),
            "Gather" => self.gather(node),
            "DepthToSpace" => self.depth_to_space(node),
            "SpaceToDepth" => self.space_to_depth(node),
            "Resize" => self.resize(node),
            "Where" => self.select(node),
            "CumSum" | "CumProd" => self.cumulate(node),
            "NonMaxSuppression" => self.non_max_suppression(node),
            "cygnet.TopK" => self.top_k(node),
            "cygnet.Scatter" => self.scatter(node),
            "cygnet.Sample" => self.sample(node),
            "cygnet.Recurrent" => self.recurrent(node),
            "Cast" => self.cast(node),
            "BitCast" => self.bit_cast(node),
            "QuantizeLinear" => self.quantize_linear(node),
            "DequantizeLinear" => self.dequantize_linear(node),
            _ => self.elementwise(node),
        }
    }

    // Values.

    fn required(&self, node: &Node, i: usize) -> Lowered<ValueId> {
        node.input(i).ok_or_else(|| format!("input {i} is missing; export the model again"))
    }

    fn first_output(&self, node: &Node) -> Lowered<ValueId> {
        node.outputs.first().copied().flatten().ok_or_else(|| "its first output is unused".to_owned())
    }

    fn only_first_output(&self, node: &Node) -> Lowered<ValueId> {
        if let Some(&extra) = node.outputs.iter().skip(1).flatten().next() {
            return Err(format!("its further output '{}' is not supported", self.graph.value(extra).name));
        }
        self.first_output(node)
    }

    fn constant_of(&self, v: ValueId) -> Option<&Tensor> {
        self.graph.constant(v).map(|t| &**t)
    }

    fn constant_input(&self, node: &Node, i: usize, what: &str) -> Lowered<&Tensor> {
        let v = self.required(node, i)?;
        self.constant_of(v).ok_or_else(|| {
            format!(
                "its {what} '{}' is computed while the model runs; it must be constant",
                self.graph.value(v).name
            )
        })
    }

    /// Integers of an optional constant input.
    fn ints_input(&self, node: &Node, i: usize, what: &str) -> Lowered<Option<Vec<i64>>> {
        if node.input(i).is_none() {
            return Ok(None);
        }
        let t = self.constant_input(node, i, what)?;
        t.to_i64().map(Some).ok_or_else(|| format!("its {what} are not integers"))
    }

    fn dims(&self, v: ValueId) -> Vec<usize> {
        self.graph.dims(v).to_vec()
    }

    fn placed(&mut self, v: ValueId) -> Lowered<Placed> {
        if let Some(p) = &self.values[v.0 as usize] {
            return Ok(p.clone());
        }
        let value = self.graph.value(v);
        let Some(t) = &value.constant else {
            return Err(format!("'{}' is used before it is computed", value.name));
        };
        let id = self.lir.add_const(value.name.clone(), &t.dims, const_of(t));
        let placed = Placed { id, layout: Layout::identity(t.dims.len()) };
        self.values[v.0 as usize] = Some(placed.clone());
        Ok(placed)
    }

    fn define(&mut self, v: ValueId, id: Id, layout: Layout) {
        debug_assert_eq!(
            layout.physical(self.graph.dims(v)),
            self.lir.tensors[id].dims,
            "{}",
            self.graph.value(v).name
        );
        self.values[v.0 as usize] = Some(Placed { id, layout });
    }

    /// The value as a tensor in this order of dimensions.
    fn arranged(&mut self, v: ValueId, layout: &Layout) -> Lowered<Id> {
        let placed = self.placed(v)?;
        let dims = self.dims(v);
        Ok(self.arrange(placed.id, &placed.layout, &dims, layout))
    }

    /// The value as a tensor in its logical order.
    fn identity(&mut self, v: ValueId) -> Lowered<Id> {
        let rank = self.graph.dims(v).len();
        self.arranged(v, &Layout::identity(rank))
    }

    /// A tensor of these logical dimensions, moved from one order to another where its elements really move.
    fn arrange(&mut self, id: Id, from: &Layout, dims: &[usize], to: &Layout) -> Id {
        if from == to {
            return id;
        }
        let physical = to.physical(dims);
        if from.same_sequence(to, dims) {
            return self.view(id, &physical);
        }
        let order = to.order().iter().map(|d| from.position(*d)).collect();
        self.move_data(id, Kind::Transpose(order), &physical)
    }

    /// The same elements under other physical dimensions.
    fn view(&mut self, id: Id, dims: &[usize]) -> Id {
        if self.lir.tensors[id].dims == dims {
            return id;
        }
        self.move_data(id, Kind::View, dims)
    }

    /// A step that moves data; done at once when the data is constant.
    fn move_data(&mut self, id: Id, kind: Kind, dims: &[usize]) -> Id {
        let t = &self.lir.tensors[id];
        let name = t.name.clone();
        if let Some(c) = t.constant.clone() {
            match &kind {
                Kind::View => return self.lir.add_const(name, dims, (*c).clone()),
                Kind::Transpose(order) => {
                    let moved = layout::transpose_const(&c, &t.dims, order);
                    return self.lir.add_const(name, dims, moved);
                }
                _ => {}
            }
        }
        let (suffix, dtype, quant) = (if kind == Kind::View { "view" } else { "move" }, t.dtype, t.quant);
        let out = self.lir.add(format!("{name}:{suffix}"), dims, dtype);
        self.lir.tensors[out].quant = quant;
        self.lir.push(format!("{name}:{suffix}"), kind, &[id], out);
        out
    }

    /// A step that yields a new tensor.
    fn step(&mut self, name: &str, op: Op, inputs: &[Id], dims: &[usize], dtype: DType) -> Id {
        let out = self.lir.add(name, dims, dtype);
        self.lir.push(name, Kind::Op(op), inputs, out);
        out
    }

    /// A one-element constant of this rank.
    fn scalar(&mut self, name: &str, rank: usize, value: f32) -> Id {
        self.lir.add_const(name, &vec![1; rank], Const::F32(vec![value]))
    }
}

fn convert() -> Kind {
    Kind::Op(Op::Convert(cygnet_format::op::Convert {}))
}

/// The axis of a rank, counted from the end when negative.
fn axis_of(axis: i64, rank: usize) -> Lowered<usize> {
    let a = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(a).ok().filter(|&a| a < rank).ok_or_else(|| format!("axis {axis} is outside rank {rank}"))
}
