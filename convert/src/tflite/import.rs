//! The importer: a file's operators one after the other, each inferred and folded as soon as it is made.

use std::collections::BTreeMap;
use std::path::Path;

use super::flatbuf::Scalar;
use super::ops;
use super::schema::{Model, Operator, Quantization};
use crate::build::Builder;
use crate::error::{ImportError, UnsupportedOp};
use crate::graph::{Attr, Data, ElemType, Graph, Tensor, ValueId};
use crate::infer::{self, InferOptions};
use crate::onnx::ImportOptions;
use crate::passes;
use crate::source::{self, Dim};

/// Reads a TensorFlow Lite file. All shapes are static; whatever can be computed from constants is a constant.
///
/// # Errors
/// [`ImportError`] names what is wrong and what to do; no content of the file makes this panic.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Graph, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
    import_bytes(&bytes, options)
}

/// Reads a TensorFlow Lite model from memory.
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    let damaged = |reason: String| ImportError::NotTflite { reason };
    if let Some(what) = source::foreign(bytes) {
        return Err(damaged(format!("it is {what}")));
    }
    if bytes.get(4..8) != Some(b"TFL3") {
        return Err(damaged("the mark 'TFL3' at byte 4 is missing".to_owned()));
    }
    let model = Model::read(bytes).map_err(damaged)?;
    let operators = model.operators().map_err(damaged)?;
    let rules = rules(&model, &operators)?;
    let infer_options = InferOptions { fold_dequantize: options.fold_dequantize };
    let mut importer = Importer::new(&model, infer_options);
    importer.inputs(options)?;
    for (op, rule) in operators.iter().zip(rules) {
        importer.hint = label(&model, op);
        importer.op.clone_from(&op.name);
        rule(&mut importer, op)?;
    }
    let mut graph = importer.finish_graph()?;
    passes::remove_dead(&mut graph);
    infer::infer(&mut graph, &infer_options)?;
    infer::check_weights(&graph)?;
    Ok(graph)
}

/// Name of an operator: that of its first output.
fn label(model: &Model<'_>, op: &Operator<'_>) -> String {
    let first = op.outputs.first().and_then(|&t| model.tensors.get(usize::try_from(t).ok()?));
    match first.and_then(|t| t.name().ok()) {
        Some(name) if !name.is_empty() => name,
        _ => format!("{}_{}", op.name, op.index),
    }
}

fn rules(model: &Model<'_>, operators: &[Operator<'_>]) -> Result<Vec<ops::Rule>, ImportError> {
    let mut rules = Vec::with_capacity(operators.len());
    let mut unsupported: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for op in operators {
        match ops::rule(op) {
            Some(rule) => rules.push(rule),
            None => {
                unsupported.entry(&op.name).or_default().push(format!("{}:{}", op.index, label(model, op)));
            }
        }
    }
    if unsupported.is_empty() {
        return Ok(rules);
    }
    let operators =
        unsupported.into_iter().map(|(op, nodes)| UnsupportedOp { op: op.to_owned(), nodes }).collect();
    Err(ImportError::UnsupportedTflite { operators })
}

/// The order of a value's dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As in the file.
    Plain,
    /// NCHW of what the file has as NHWC.
    Image,
}

impl Form {
    /// Where an axis of the file lies.
    pub fn axis(self, axis: usize) -> usize {
        match self {
            Self::Plain => axis,
            Self::Image => [0, 2, 3, 1][axis],
        }
    }
}

/// NHWC to NCHW, and back.
pub const TO_IMAGE: [i64; 4] = [0, 3, 1, 2];
const TO_PLAIN: [i64; 4] = [0, 2, 3, 1];

/// What stands for a tensor so far.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The tensor with the element type of the file.
    stored: Option<ValueId>,
    /// The same in NCHW.
    stored_image: Option<ValueId>,
    /// Its real numbers; for a tensor that is not quantized, the tensor.
    plain: Option<ValueId>,
    /// The same in NCHW.
    image: Option<ValueId>,
}

pub struct Importer<'a> {
    model: &'a Model<'a>,
    builder: Builder,
    slots: Vec<Slot>,
    /// Name for what the current operator makes.
    pub hint: String,
    /// Name of the current operator.
    op: String,
}

impl<'a> Importer<'a> {
    fn new(model: &'a Model<'a>, options: InferOptions) -> Self {
        let mut builder = Builder::new(options);
        builder.graph.name.clone_from(&model.name);
        let slots = vec![Slot::default(); model.tensors.len()];
        Self { model, builder, slots, hint: String::new(), op: String::new() }
    }

    fn inputs(&mut self, options: &ImportOptions) -> Result<(), ImportError> {
        let mut names = Vec::new();
        for &index in &self.model.inputs {
            let t = self.index(index)?;
            let info = self.model.tensors[t];
            let fail = |e: String| ImportError::Malformed { reason: format!("input {index}: {e}") };
            let name = info.name().map_err(fail)?;
            let (sizes, open) = (info.dims().map_err(fail)?, info.open().map_err(fail)?);
            let declared: Vec<Dim<'_>> = sizes
                .iter()
                .zip(open)
                .map(|(&d, open)| Dim { size: (!open).then_some(d), name: "" })
                .collect();
            let elem = info.elem().map_err(fail)?;
            let dims = source::bind(&name, &declared, options.shapes.get(&name))?;
            if self.slots[t].stored.is_some()
                || !info.buffer().and_then(|b| self.model.buffer(b)).map_err(fail)?.is_empty()
            {
                return Err(fail("it is listed twice, or has a value already".to_owned()));
            }
            let hint = if name.is_empty() { format!("input_{index}") } else { name.clone() };
            let id = self.builder.value(&hint);
            let value = self.builder.graph.value_mut(id);
            (value.elem, value.dims) = (Some(elem), Some(dims));
            self.builder.graph.inputs.push(id);
            self.slots[t].stored = Some(id);
            names.push(name);
        }
        source::check_names(&options.shapes, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn finish_graph(mut self) -> Result<Graph, ImportError> {
        if self.model.outputs.is_empty() {
            return Err(ImportError::Malformed { reason: "it has no output".to_owned() });
        }
        for &index in &self.model.outputs {
            let t = self.index(index)?;
            let name = self.model.tensors[t].name().map_err(|e| self.err(e))?;
            self.hint = if name.is_empty() { format!("output_{index}") } else { name };
            self.op = "output".to_owned();
            let mut id = self.outward(t)?;
            let graph = &self.builder.graph;
            if graph.outputs.contains(&id) || graph.inputs.contains(&id) {
                let hint = self.hint.clone();
                id = self.emit("Identity", &hint, &[Some(id)], &[])?;
            }
            self.builder.graph.outputs.push(id);
            self.rename(id);
        }
        Ok(self.builder.graph)
    }

    /// Gives a value the current name, unless an input or an earlier output has that.
    fn rename(&mut self, id: ValueId) {
        let graph = &mut self.builder.graph;
        let holder = graph.values.iter().position(|v| v.name == self.hint);
        let Some(holder) = holder.map(|i| ValueId(i as u32)).filter(|&h| h != id) else { return };
        let earlier = graph.inputs.iter().chain(&graph.outputs).any(|&v| v == holder);
        if !earlier {
            let (a, b) = (graph.value(holder).name.clone(), graph.value(id).name.clone());
            graph.value_mut(holder).name = b;
            graph.value_mut(id).name = a;
        }
    }

    /// An error about the current operator.
    pub fn err(&self, reason: impl Into<String>) -> ImportError {
        ImportError::Node { op: self.op.clone(), node: self.hint.clone(), reason: reason.into() }
    }

    fn index(&self, index: i32) -> Result<usize, ImportError> {
        usize::try_from(index).ok().filter(|&i| i < self.slots.len()).ok_or_else(|| ImportError::Malformed {
            reason: format!("it names tensor {index} of {}", self.slots.len()),
        })
    }

    // What operators read.

    /// The tensor of an input that must be there.
    pub fn input(&self, op: &Operator<'_>, i: usize) -> Result<usize, ImportError> {
        self.optional(op, i)?.ok_or_else(|| self.err(format!("needs input {i}, which is left out")))
    }

    /// The tensor of an input that may be left out.
    pub fn optional(&self, op: &Operator<'_>, i: usize) -> Result<Option<usize>, ImportError> {
        op.inputs.get(i).filter(|&&t| t != -1).map(|&t| self.index(t)).transpose()
    }

    /// A number among the options, by its field id.
    pub fn option<T: Scalar>(&self, op: &Operator<'_>, id: usize, default: T) -> Result<T, ImportError> {
        match op.options {
            Some(options) => options.get(id, default).map_err(|e| self.err(e)),
            None => Ok(default),
        }
    }

    fn quantization(&self, t: usize) -> Result<Option<Quantization>, ImportError> {
        self.model.tensors[t].quantization().map_err(|e| self.err(e))
    }

    fn name(&self, t: usize) -> String {
        self.model.tensors[t].name().ok().filter(|n| !n.is_empty()).unwrap_or_else(|| format!("tensor_{t}"))
    }

    /// Element type of a tensor in the file.
    pub fn elem(&self, t: usize) -> Result<ElemType, ImportError> {
        self.model.tensors[t].elem().map_err(|e| self.err(format!("tensor '{}': {e}", self.name(t))))
    }

    /// Element type of an output.
    pub fn output_elem(&self, op: &Operator<'_>, i: usize) -> Result<ElemType, ImportError> {
        let index = *op.outputs.get(i).ok_or_else(|| self.err(format!("has no output {i}")))?;
        self.elem(self.index(index)?)
    }

    /// The tensor in the file's order and element type.
    fn stored(&mut self, t: usize) -> Result<ValueId, ImportError> {
        if let Some(id) = self.slots[t].stored {
            return Ok(id);
        }
        let tensor = self.constant(t)?;
        let name = self.name(t);
        let id = self.builder.constant(&name, tensor);
        self.slots[t].stored = Some(id);
        Ok(id)
    }

    /// The tensor as the user of the model sees it.
    fn outward(&mut self, t: usize) -> Result<ValueId, ImportError> {
        if self.quantization(t)?.is_none() {
            return self.plain(t);
        }
        match self.slots[t] {
            Slot { stored: None, stored_image: Some(image), .. } => {
                let id = self.transpose(image, &TO_PLAIN)?;
                self.slots[t].stored = Some(id);
                Ok(id)
            }
            _ => self.stored(t),
        }
    }

    /// The real numbers of a tensor, in the file's order.
    pub fn plain(&mut self, t: usize) -> Result<ValueId, ImportError> {
        if let Some(id) = self.slots[t].plain {
            return Ok(id);
        }
        let id = if let Some(image) = self.slots[t].image {
            self.transpose(image, &TO_PLAIN)?
        } else {
            let stored = self.stored(t)?;
            match self.quantization(t)? {
                Some(q) => self.dequantize(stored, &q, Form::Plain)?,
                None => stored,
            }
        };
        self.slots[t].plain = Some(id);
        Ok(id)
    }

    /// The real numbers of a tensor of rank 4 in NCHW.
    pub fn image(&mut self, t: usize) -> Result<ValueId, ImportError> {
        if let Some(id) = self.slots[t].image {
            return Ok(id);
        }
        let plain = self.plain(t)?;
        let dims = self.dims_of(plain);
        if dims.len() != 4 {
            return Err(self.err(format!("needs '{}' to have 4 dimensions, it has {dims:?}", self.name(t))));
        }
        let id = self.transpose(plain, &TO_IMAGE)?;
        self.slots[t].image = Some(id);
        Ok(id)
    }

    /// A tensor in the form that operators take which work in any order: NCHW for rank 4.
    pub fn laid(&mut self, t: usize) -> Result<(ValueId, Form), ImportError> {
        if self.dims(t)?.len() == 4 {
            Ok((self.image(t)?, Form::Image))
        } else {
            Ok((self.plain(t)?, Form::Plain))
        }
    }

    /// A tensor in a form that it has already.
    pub fn present(&mut self, t: usize) -> Result<(ValueId, Form), ImportError> {
        match self.slots[t] {
            Slot { plain: None, image: Some(id), .. } => Ok((id, Form::Image)),
            _ => Ok((self.plain(t)?, Form::Plain)),
        }
    }

    /// Weights with their dimensions permuted: output dimension `i` is the file's `perm[i]`. Quantized constants are
    /// permuted as integers.
    pub fn weights(&mut self, t: usize, perm: &[i64; 4]) -> Result<ValueId, ImportError> {
        let computed = self.slots[t].plain.is_some() || self.slots[t].image.is_some();
        let quantization = if computed { None } else { self.quantization(t)? };
        let Some(mut q) = quantization else {
            let plain = self.plain(t)?;
            return self.transpose(plain, perm);
        };
        let stored = self.stored(t)?;
        let moved = self.transpose(stored, perm)?;
        q.axis = perm.iter().position(|&p| p == i64::from(q.axis)).map_or(-1, |i| i as i32);
        self.dequantize(moved, &q, Form::Plain)
    }

    /// Dimensions of a tensor in the file's order.
    pub fn dims(&mut self, t: usize) -> Result<Vec<usize>, ImportError> {
        match self.slots[t] {
            Slot { plain: None, image: Some(id), .. } => {
                let d = self.dims_of(id);
                Ok(TO_PLAIN.iter().map(|&i| d[i as usize]).collect())
            }
            _ => {
                let id = self.plain(t)?;
                Ok(self.dims_of(id))
            }
        }
    }

    /// Dimensions of a value.
    pub fn dims_of(&self, id: ValueId) -> Vec<usize> {
        self.builder.graph.dims(id).to_vec()
    }

    /// Element type of a value.
    pub fn elem_of(&self, id: ValueId) -> ElemType {
        self.builder.graph.elem(id)
    }

    /// Integers of a tensor that must be known at conversion.
    pub fn ints(&mut self, t: usize) -> Result<Vec<i64>, ImportError> {
        let id = match self.slots[t].plain {
            Some(id) => id,
            None => self.stored(t)?,
        };
        let integers = self.builder.graph.constant(id).and_then(|c| c.to_i64());
        integers.ok_or_else(|| {
            self.err(format!(
                "needs constant integers as '{}', which is computed at run time; \
                 convert the model with static shapes",
                self.name(t)
            ))
        })
    }

    fn constant(&self, t: usize) -> Result<Tensor, ImportError> {
        let info = self.model.tensors[t];
        let fail = |reason: String| ImportError::Tensor { tensor: self.name(t), reason };
        let dims = info.dims().map_err(fail)?;
        let elem = info.elem().map_err(fail)?;
        let bytes = info.buffer().and_then(|b| self.model.buffer(b)).map_err(fail)?;
        let count =
            infer::elements(&dims).ok_or_else(|| fail(format!("its dimensions {dims:?} are too large")))?;
        if info.is_variable().map_err(fail)? {
            return Err(fail("it keeps state from run to run, which is not supported".to_owned()));
        }
        if info.is_sparse().map_err(fail)? {
            return Err(fail("it is sparse; convert the model without sparse weights".to_owned()));
        }
        if bytes.is_empty() && count > 0 {
            let reader = format!("{} '{}'", self.op, self.hint);
            return Err(fail(format!(
                "{reader} reads it before anything computes it; convert the model again"
            )));
        }
        if Some(bytes.len()) != count.checked_mul(elem.size()) {
            let needed = count as u128 * elem.size() as u128;
            return Err(fail(format!(
                "has {} bytes, {dims:?} of {elem} need {needed}; convert it again",
                bytes.len()
            )));
        }
        Ok(Tensor::new(dims, decode(elem, bytes)))
    }

    // What operators make.

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

    /// Says that `value`, after the activation with this number, is output `i`.
    pub fn finish(
        &mut self,
        op: &Operator<'_>,
        i: usize,
        value: ValueId,
        form: Form,
        activation: i8,
    ) -> Result<(), ImportError> {
        let index = *op.outputs.get(i).ok_or_else(|| self.err(format!("has no output {i}")))?;
        let t = self.index(index)?;
        let slot = self.slots[t];
        if slot.stored.is_some() || slot.plain.is_some() || slot.image.is_some() {
            return Err(self.err(format!("computes '{}', which has a value already", self.name(t))));
        }
        let value = ops::activation(self, value, activation)?;
        if form == Form::Image && self.dims_of(value).len() != 4 {
            return Err(self.err(format!("makes an image of dimensions {:?}", self.dims_of(value))));
        }
        let mut slot = Slot::default();
        let mut real = value;
        if let Some(q) = self.quantization(t)? {
            let stored = self.quantize(value, &q, self.elem(t)?, form)?;
            real = self.dequantize(stored, &q, form)?;
            *(if form == Form::Image { &mut slot.stored_image } else { &mut slot.stored }) = Some(stored);
        }
        *(if form == Form::Image { &mut slot.image } else { &mut slot.plain }) = Some(real);
        self.slots[t] = slot;
        Ok(())
    }

    /// Scale and zero point as constants, and the axis of a value of this form along which they differ.
    fn parameters(
        &mut self,
        q: &Quantization,
        elem: ElemType,
        rank: usize,
        form: Form,
    ) -> Result<(ValueId, ValueId, i64), ImportError> {
        let n = q.scale.len();
        let zeros = if q.zero_point.is_empty() { vec![0; n] } else { q.zero_point.clone() };
        let axis = usize::try_from(q.axis).ok().filter(|&a| n == 1 || a < rank);
        let (Some(axis), true) = (axis, zeros.len() == n || zeros.len() == 1) else {
            return Err(self.err(format!(
                "has {n} scales and {} zero points along axis {} of {rank}; convert the model again",
                zeros.len(),
                q.axis
            )));
        };
        let zeros: Vec<i64> = (0..n).map(|i| zeros[if zeros.len() == n { i } else { 0 }]).collect();
        let zeros = match elem {
            ElemType::I8 => Data::I8(zeros.iter().map(|&z| z.clamp(-128, 127) as i8).collect()),
            ElemType::U8 => Data::U8(zeros.iter().map(|&z| z.clamp(0, 255) as u8).collect()),
            ElemType::I16 => Data::I16(zeros.iter().map(|&z| z.clamp(-32768, 32767) as i16).collect()),
            ElemType::I32 => Data::I32(
                zeros.iter().map(|&z| z.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32).collect(),
            ),
            other => {
                return Err(
                    self.err(format!("has {other} elements with a scale; only integers up to int32 may"))
                );
            }
        };
        let dims = if n == 1 { vec![] } else { vec![n] };
        let hint = self.hint.clone();
        let scale = self.builder.constant(&format!("{hint}:scale"), Tensor::f32(&dims, q.scale.clone()));
        let zero = self.builder.constant(&format!("{hint}:zero_point"), Tensor::new(dims, zeros));
        let axis = if n == 1 || form == Form::Plain { axis } else { form.axis(axis) };
        Ok((scale, zero, axis as i64))
    }

    fn dequantize(&mut self, stored: ValueId, q: &Quantization, form: Form) -> Result<ValueId, ImportError> {
        let rank = self.dims_of(stored).len();
        let (scale, zero, axis) = self.parameters(q, self.elem_of(stored), rank, form)?;
        let hint = format!("{}:dequantized", self.builder.graph.value(stored).name);
        let attrs = if q.scale.len() == 1 { vec![] } else { vec![("axis", Attr::Int(axis))] };
        self.emit("DequantizeLinear", &hint, &[Some(stored), Some(scale), Some(zero)], &attrs)
    }

    fn quantize(
        &mut self,
        real: ValueId,
        q: &Quantization,
        elem: ElemType,
        form: Form,
    ) -> Result<ValueId, ImportError> {
        let rank = self.dims_of(real).len();
        let (scale, zero, axis) = self.parameters(q, elem, rank, form)?;
        let hint = format!("{}:quantized", self.hint);
        let attrs = if q.scale.len() == 1 { vec![] } else { vec![("axis", Attr::Int(axis))] };
        self.emit("QuantizeLinear", &hint, &[Some(real), Some(scale), Some(zero)], &attrs)
    }
}

/// Little-endian elements; as many bytes as they need.
fn decode(elem: ElemType, bytes: &[u8]) -> Data {
    macro_rules! read {
        ($variant:ident, $t:ty) => {
            Data::$variant(
                bytes
                    .chunks_exact(size_of::<$t>())
                    .map(|c| <$t>::from_le_bytes(c.try_into().expect("chunks of this size")))
                    .collect(),
            )
        };
    }
    match elem {
        ElemType::F32 => read!(F32, f32),
        ElemType::F16 => read!(F16, half::f16),
        ElemType::BF16 => read!(BF16, half::bf16),
        ElemType::F64 => read!(F64, f64),
        ElemType::I8 => read!(I8, i8),
        ElemType::U8 => Data::U8(bytes.to_vec()),
        ElemType::I16 => read!(I16, i16),
        ElemType::U16 => read!(U16, u16),
        ElemType::I32 => read!(I32, i32),
        ElemType::U32 => read!(U32, u32),
        ElemType::I64 => read!(I64, i64),
        ElemType::U64 => read!(U64, u64),
        ElemType::Bool => Data::Bool(bytes.iter().map(|&b| b != 0).collect()),
    }
}
