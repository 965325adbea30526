//! Operators that act on each element alone, after broadcasting.

use cygnet_format::op::{self, BinaryKind, Epilogue, Op, Unary, UnaryKind};
use cygnet_format::program::{DType, Quant};

use super::{Layout, Lowered, Lowerer, convert, dtype_of};
use crate::graph::{Data, ElemType, Node, ValueId};
use crate::lir::{Const, Id, Kind};

/// The unary function that a node is, if it is one.
fn unary_of(node: &Node) -> Option<Unary> {
    use UnaryKind as K;
    let plain = |kind| Unary { kind, a: 0.0, b: 0.0 };
    Some(match node.op.as_str() {
        "Abs" => plain(K::Abs),
        "Neg" => plain(K::Neg),
        "Reciprocal" => plain(K::Reciprocal),
        "Sqrt" => plain(K::Sqrt),
        "Exp" => plain(K::Exp),
        "Log" => plain(K::Log),
        "Sigmoid" => plain(K::Sigmoid),
        "Tanh" => plain(K::Tanh),
        "Swish" if node.float("alpha", 1.0) == 1.0 => plain(K::Silu),
        "HardSigmoid" => {
            Unary { kind: K::HardSigmoid, a: node.float("alpha", 0.2), b: node.float("beta", 0.5) }
        }
        "HardSwish" => plain(K::HardSwish),
        "Gelu" if node.str("approximate", "none") == "tanh" => plain(K::GeluTanh),
        "Gelu" => plain(K::Gelu),
        "Mish" => plain(K::Mish),
        "Erf" => plain(K::Erf),
        "Relu" => plain(K::Relu),
        "LeakyRelu" => Unary { kind: K::LeakyRelu, a: node.float("alpha", 0.01), b: 0.0 },
        "Elu" => Unary { kind: K::Elu, a: node.float("alpha", 1.0), b: 0.0 },
        "Selu" => {
            Unary { kind: K::Selu, a: node.float("alpha", 1.673_263_2), b: node.float("gamma", 1.050_701) }
        }
        "ThresholdedRelu" => Unary { kind: K::ThresholdedRelu, a: node.float("alpha", 1.0), b: 0.0 },
        "Softplus" => plain(K::Softplus),
        "Softsign" => plain(K::Softsign),
        "Floor" => plain(K::Floor),
        "Ceil" => plain(K::Ceil),
        "Round" => plain(K::Round),
        "Sign" => plain(K::Sign),
        "Sin" => plain(K::Sin),
        "Cos" => plain(K::Cos),
        "Tan" => plain(K::Tan),
        "Asin" => plain(K::Asin),
        "Acos" => plain(K::Acos),
        "Atan" => plain(K::Atan),
        "Sinh" => plain(K::Sinh),
        "Cosh" => plain(K::Cosh),
        "Asinh" => plain(K::Asinh),
        "Acosh" => plain(K::Acosh),
        "Atanh" => plain(K::Atanh),
        "Not" => plain(K::Not),
        _ => return None,
    })
}

fn binary_of(node: &Node) -> Option<BinaryKind> {
    use BinaryKind as K;
    Some(match node.op.as_str() {
        "Add" => K::Add,
        "Sub" => K::Sub,
        "Mul" => K::Mul,
        "Div" => K::Div,
        "Min" => K::Min,
        "Max" => K::Max,
        "Pow" => K::Pow,
        "PRelu" => K::PRelu,
        "Equal" => K::Equal,
        "Less" => K::Less,
        "LessOrEqual" => K::LessOrEqual,
        "Greater" => K::Greater,
        "GreaterOrEqual" => K::GreaterOrEqual,
        "And" | "BitwiseAnd" => K::And,
        "Or" | "BitwiseOr" => K::Or,
        "Xor" | "BitwiseXor" => K::Xor,
        "Mod" if node.int("fmod", 0) != 0 => K::Fmod,
        "Mod" => K::Mod,
        _ => return None,
    })
}

impl Lowerer<'_> {
    pub(super) fn elementwise(&mut self, node: &Node) -> Lowered<()> {
        if let Some(unary) = unary_of(node) {
            return self.unary(node, unary);
        }
        if let Some(kind) = binary_of(node) {
            return self.binary(node, kind);
        }
        match node.op.as_str() {
            "Clip" => self.clip(node),
            _ => Err("this operator is not supported; export the model without it, or cut it off".to_owned()),
        }
    }

    fn unary(&mut self, node: &Node, unary: Unary) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let placed = self.placed(x)?;
        let (dims, mut dtype) = (self.lir.tensors[placed.id].dims.clone(), self.lir.tensors[placed.id].dtype);
        let mut id = placed.id;
        if dtype != DType::F32 && unary.kind != UnaryKind::Not {
            // Integers go through f32, exact up to 2^24.
            id = self.converted(id, DType::F32);
            dtype = DType::F32;
        }
        let out = self.step(&node.name, Op::Map(op::Map { unary }), &[id], &dims, dtype);
        let out = self.converted(out, dtype_of(self.graph.elem(y)));
        self.define(y, out, placed.layout);
        Ok(())
    }

    fn clip(&mut self, node: &Node) -> Lowered<()> {
        let bound = |i: usize, none: f32| -> Lowered<f32> {
            if node.input(i).is_none() {
                return Ok(none);
            }
            let t = self.constant_input(node, i, "bound")?;
            t.scalar_f32().ok_or_else(|| "its bound is no scalar".to_owned())
        };
        let (a, b) = (bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?);
        self.unary(node, Unary { kind: UnaryKind::Clip, a, b })
    }

    /// The tensor in another element type.
    pub(super) fn converted(&mut self, id: Id, dtype: DType) -> Id {
        let t = &self.lir.tensors[id];
        if t.dtype == dtype {
            return id;
        }
        let (name, dims) = (format!("{}:{}", t.name, dtype.name()), t.dims.clone());
        let out = self.lir.add(name.clone(), &dims, dtype);
        self.lir.push(name, convert(), &[id], out);
        out
    }

    /// The layout that operands of an operator with this output should share: that of the largest computed
    /// one of full rank.
    fn common_layout(&mut self, inputs: &[ValueId], rank: usize) -> Lowered<Layout> {
        let mut best: Option<(bool, usize, Layout)> = None;
        for &v in inputs {
            let dims = self.dims(v);
            if dims.len() != rank {
                continue;
            }
            let key = (self.constant_of(v).is_none(), dims.iter().product::<usize>());
            if best.as_ref().is_none_or(|(computed, len, _)| key > (*computed, *len)) {
                let layout = self.placed(v)?.layout;
                best = Some((key.0, key.1, layout));
            }
        }
        Ok(best.map_or_else(|| Layout::identity(rank), |b| b.2))
    }

    /// An operand of lower or equal rank, as numpy would broadcast it, in this layout.
    fn operand(&mut self, v: ValueId, layout: &Layout) -> Lowered<Id> {
        let placed = self.placed(v)?;
        let dims = self.dims(v);
        let rank = layout.rank();
        let wide: Vec<usize> = std::iter::repeat_n(1, rank - dims.len()).chain(dims).collect();
        let from = placed.layout.widened(rank);
        let id = self.view(placed.id, &from.physical(&wide));
        Ok(self.arrange(id, &from, &wide, layout))
    }

    /// A binary step on operands that already have their common layout.
    pub(super) fn binary_step(
        &mut self,
        name: &str,
        kind: BinaryKind,
        a: Id,
        b: Id,
        dims: &[usize],
        dtype: DType,
    ) -> Id {
        let op = Op::Binary(op::Binary { kind, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE });
        self.step(name, op, &[a, b], dims, dtype)
    }

    fn binary(&mut self, node: &Node, kind: BinaryKind) -> Lowered<()> {
        let y = self.only_first_output(node)?;
        let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        if inputs.len() < 2 || (kind == BinaryKind::PRelu && inputs.len() != 2) {
            return Err(format!("it has {} inputs", inputs.len()));
        }
        let rank = self.dims(y).len();
        let layout = self.common_layout(&inputs, rank)?;
        let mut ids = Vec::new();
        for &v in &inputs {
            let id = self.operand(v, &layout)?;
            ids.push(self.raw(id, self.graph.elem(v)));
        }
        let common = common_type(kind, ids.iter().map(|&id| self.lir.tensors[id].dtype));
        for id in &mut ids {
            *id = self.converted(*id, common);
        }
        let dtype = if is_comparison(kind) { DType::U8 } else { common };
        let out_dims = self.dims(y);
        let mut acc = ids[0];
        for (i, &next) in ids.iter().enumerate().skip(1) {
            let dims = broadcast(&self.lir.tensors[acc].dims, &self.lir.tensors[next].dims)
                .ok_or_else(|| format!("its inputs do not broadcast to {out_dims:?}"))?;
            let name = if i + 1 == ids.len() { node.name.clone() } else { format!("{}:{i}", node.name) };
            acc = self.binary_step(&name, kind, acc, next, &dims, dtype);
        }
        let acc = self.narrowed(&node.name, acc, self.graph.elem(y));
        self.define(y, acc, layout);
        Ok(())
    }

    /// Elements of a quantized tensor as the integers that the source model knows: unsigned bytes are held as signed
    /// ones, 128 less.
    pub(super) fn raw(&mut self, id: Id, elem: ElemType) -> Id {
        let t = self.lir.tensors[id].clone();
        if t.quant.is_none() {
            return id;
        }
        let from = if elem == ElemType::U8 { self.unsigned(id) } else { id };
        let plain = self.lir.add(format!("{}:plain", t.name), &t.dims, self.lir.tensors[from].dtype);
        self.lir.push(format!("{}:plain", t.name), Kind::View, &[from], plain);
        plain
    }

    /// A quantized tensor of signed bytes as one of unsigned bytes, 128 more.
    pub(super) fn unsigned(&mut self, id: Id) -> Id {
        let t = self.lir.tensors[id].clone();
        let (Some(quant), DType::S8) = (t.quant, t.dtype) else { return id };
        let out = self.lir.add(format!("{}:u8", t.name), &t.dims, DType::U8);
        self.lir.tensors[out].quant = Some(Quant { zero_point: quant.zero_point + 128, ..quant });
        self.lir.push(format!("{}:u8", t.name), convert(), &[id], out);
        out
    }

    /// Real numbers rounded to the nearest that bfloat16 holds, ties to even: the upper half of their bits, after half
    /// of what that leaves out is added.
    pub(super) fn rounded_to_bf16(&mut self, name: &str, id: Id) -> Id {
        let dims = self.lir.tensors[id].dims.clone();
        let step = |lw: &mut Self, what: &str, kind: BinaryKind, a: Id, value: i32| -> Id {
            let c = vec![1; dims.len()];
            let c = lw.lir.add_const(format!("{name}:{what}:constant"), &c, Const::S32(vec![value]));
            lw.binary_step(&format!("{name}:{what}"), kind, a, c, &dims, DType::S32)
        };
        let view = |lw: &mut Self, what: &str, from: Id, dtype: DType| -> Id {
            let out = lw.lir.add(format!("{name}:{what}"), &dims, dtype);
            lw.lir.push(format!("{name}:{what}"), Kind::View, &[from], out);
            out
        };
        let bits = view(self, "bits", id, DType::S32);
        let last = step(self, "last", BinaryKind::And, bits, 1 << 16);
        let odd = step(self, "odd", BinaryKind::Div, last, 1 << 16);
        let half = step(self, "half", BinaryKind::Add, bits, 0x7fff);
        let sum = self.binary_step(&format!("{name}:up"), BinaryKind::Add, half, odd, &dims, DType::S32);
        let upper = step(self, "upper", BinaryKind::And, sum, !0xffff);
        view(self, "rounded", upper, DType::F32)
    }

    /// A result in the type that programs hold a source type in, wrapped to the width of the source type.
    pub(super) fn narrowed(&mut self, name: &str, id: Id, elem: ElemType) -> Id {
        let dtype = self.lir.tensors[id].dtype;
        match elem {
            ElemType::I16 if dtype == DType::S32 => {
                let half = self.converted(id, DType::S16);
                self.converted(half, DType::S32)
            }
            ElemType::U16 if dtype == DType::S32 => {
                let dims = self.lir.tensors[id].dims.clone();
                let mask = vec![1; dims.len()];
                let mask = self.lir.add_const(format!("{name}:mask"), &mask, Const::S32(vec![0xffff]));
                self.binary_step(&format!("{name}:low"), BinaryKind::And, id, mask, &dims, DType::S32)
            }
            _ => self.converted(id, dtype_of(elem)),
        }
    }

    pub(super) fn select(&mut self, node: &Node) -> Lowered<()> {
        let y = self.only_first_output(node)?;
        let inputs = [self.required(node, 0)?, self.required(node, 1)?, self.required(node, 2)?];
        let rank = self.dims(y).len();
        let layout = self.common_layout(&inputs, rank)?;
        let mut ids = [0; 3];
        for (id, &v) in ids.iter_mut().zip(&inputs) {
            let operand = self.operand(v, &layout)?;
            *id = self.raw(operand, self.graph.elem(v));
        }
        let dims = layout.physical(&self.dims(y));
        let dtype = dtype_of(self.graph.elem(y));
        let out = self.step(&node.name, Op::Select(op::Select {}), &ids, &dims, dtype);
        self.define(y, out, layout);
        Ok(())
    }

    pub(super) fn cast(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let placed = self.placed(x)?;
        let (from, to) = (self.graph.elem(x), self.graph.elem(y));
        let id = self.raw(placed.id, from);
        let id = if to == ElemType::Bool && from != ElemType::Bool {
            // A boolean is whether the value differs from zero.
            let rank = self.lir.tensors[id].dims.len();
            let x = self.converted(id, DType::F32);
            let zero = self.scalar(&format!("{}:zero", node.name), rank, 0.0);
            let dims = self.lir.tensors[x].dims.clone();
            let name = format!("{}:zero?", node.name);
            let equal = self.binary_step(&name, BinaryKind::Equal, x, zero, &dims, DType::U8);
            let not = Unary { kind: UnaryKind::Not, a: 0.0, b: 0.0 };
            self.step(&node.name, Op::Map(op::Map { unary: not }), &[equal], &dims, DType::U8)
        } else if dtype_of(to) == DType::S32 && self.lir.tensors[id].dtype != DType::S32 {
            let wide = self.converted(id, DType::S32);
            self.narrowed(&node.name, wide, to)
        } else {
            self.narrowed(&node.name, id, to)
        };
        self.define(y, id, placed.layout);
        Ok(())
    }

    /// The same bits as elements of another type of that width.
    pub(super) fn bit_cast(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let placed = self.placed(x)?;
        let (from, to) = (self.graph.elem(x), self.graph.elem(y));
        let held = |e: ElemType| e.size() == dtype_of(e).size();
        if !held(from) || !held(to) {
            return Err(format!(
                "{from} and {to} are not held in their own width; only 8 and 32 bits are supported"
            ));
        }
        let id = self.raw(placed.id, from);
        let t = &self.lir.tensors[id];
        let (name, dims) = (format!("{}:bits", node.name), t.dims.clone());
        let out = self.lir.add(name.clone(), &dims, dtype_of(to));
        self.lir.push(name, Kind::View, &[id], out);
        self.define(y, out, placed.layout);
        Ok(())
    }

    /// Scale and zero point of a per-tensor quantization, as of signed bytes.
    fn quant_of(&self, node: &Node) -> Lowered<Quant> {
        let scale = self.constant_input(node, 1, "scale")?;
        let scale = scale
            .scalar_f32()
            .ok_or_else(|| "its scale is per axis; only constants may be quantized per axis".to_owned())?;
        let zero_point = match node.input(2) {
            None => 0,
            Some(_) => match &self.constant_input(node, 2, "zero point")?.data {
                Data::I8(v) => i32::from(v[0]),
                Data::U8(v) => i32::from(v[0]) - 128,
                _ => return Err("its zero point is neither int8 nor uint8".to_owned()),
            },
        };
        if !(scale.is_finite() && scale > 0.0) {
            return Err(format!("its scale {scale} is not a positive number"));
        }
        Ok(Quant { scale, zero_point })
    }

    /// Unsigned bytes are held as signed ones, 128 less; scales and zero points say the same.
    pub(super) fn quantize_linear(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let quant = self.quant_of(node)?;
        let placed = self.placed(x)?;
        let real = self.converted(placed.id, DType::F32);
        let dims = self.lir.tensors[real].dims.clone();
        let out = self.lir.add(node.name.clone(), &dims, DType::S8);
        self.lir.tensors[out].quant = Some(quant);
        self.lir.push(node.name.clone(), convert(), &[real], out);
        self.define(y, out, placed.layout);
        Ok(())
    }

    pub(super) fn dequantize_linear(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let quant = self.quant_of(node)?;
        let placed = self.placed(x)?;
        let t = self.lir.tensors[placed.id].clone();
        let own = match t.dtype {
            DType::U8 => Quant { zero_point: quant.zero_point + 128, ..quant },
            _ => quant,
        };
        let id = if t.quant == Some(own) {
            placed.id
        } else {
            // Bytes without a scale, or with another one: the same bytes, read by this one.
            let plain = self.raw(placed.id, self.graph.elem(x));
            let dtype = self.lir.tensors[plain].dtype;
            let read = self.lir.add(format!("{}:read", node.name), &t.dims, dtype);
            let zero_point = if dtype == DType::U8 { quant.zero_point + 128 } else { quant.zero_point };
            self.lir.tensors[read].quant = Some(Quant { zero_point, ..quant });
            self.lir.push(format!("{}:read", node.name), Kind::View, &[plain], read);
            read
        };
        let out = self.lir.add(node.name.clone(), &t.dims, DType::F32);
        self.lir.push(node.name.clone(), convert(), &[id], out);
        self.define(y, out, placed.layout);
        Ok(())
    }

    /// Moves the elements of a tensor without a change of type: the step kind must say where they go.
    pub(super) fn moved(&mut self, name: &str, kind: Kind, inputs: &[Id], dims: &[usize]) -> Id {
        let t = &self.lir.tensors[inputs[0]];
        let (dtype, quant) = (t.dtype, t.quant);
        let out = self.lir.add(name, dims, dtype);
        self.lir.tensors[out].quant = quant;
        self.lir.push(name, kind, inputs, out);
        out
    }
}

fn is_comparison(kind: BinaryKind) -> bool {
    use BinaryKind as K;
    matches!(kind, K::Equal | K::Less | K::LessOrEqual | K::Greater | K::GreaterOrEqual)
}

/// The type in which a function of operands of these types is computed.
fn common_type(kind: BinaryKind, types: impl Iterator<Item = DType> + Clone) -> DType {
    use BinaryKind as K;
    let of_bytes = is_comparison(kind) || matches!(kind, K::Min | K::Max | K::And | K::Or | K::Xor);
    if types.clone().any(|t| t == DType::F32) {
        DType::F32
    } else if of_bytes && types.clone().all(|t| t == DType::U8) {
        DType::U8
    } else {
        DType::S32
    }
}

/// Dimensions of the result of a binary operator, by numpy's rule for equal ranks.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| match (x, y) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}
