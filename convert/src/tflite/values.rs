//! What stands for a tensor: its integers as the file has them, its real numbers, and both in the order of images.

use super::flatbuf::Scalar;
use super::import::Importer;
use super::ops;
use super::schema::{Operator, Quantization};
use crate::error::ImportError;
use crate::graph::{Attr, Data, ElemType, Tensor, ValueId};

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
pub const TO_PLAIN: [i64; 4] = [0, 2, 3, 1];

/// What stands for a tensor so far.
#[derive(Clone, Copy, Default)]
pub struct Slot {
    /// The tensor with the element type of the file.
    pub stored: Option<ValueId>,
    /// The same in NCHW.
    pub stored_image: Option<ValueId>,
    /// Its real numbers; for a tensor that is not quantized, the tensor.
    pub plain: Option<ValueId>,
    /// The same in NCHW.
    pub image: Option<ValueId>,
    /// The variable that a handle stands for.
    pub variable: Option<usize>,
    /// The variable that a tensor which keeps its value is itself.
    pub kept: Option<usize>,
    /// Real and imaginary part of complex numbers, which have nothing else.
    pub complex: Option<[ValueId; 2]>,
}

impl Slot {
    /// Whether nothing stands for the tensor yet.
    pub fn is_empty(&self) -> bool {
        let values = [self.stored, self.stored_image, self.plain, self.image];
        values.iter().all(Option::is_none) && self.variable.is_none() && self.complex.is_none()
    }
}

impl Importer<'_> {
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
        self.graph.tensors[t].quantization().map_err(|e| self.err(e))
    }

    /// Name of a tensor in the file.
    pub fn name(&self, t: usize) -> String {
        self.graph.tensors[t].name().ok().filter(|n| !n.is_empty()).unwrap_or_else(|| format!("tensor_{t}"))
    }

    /// Element type of a tensor in the file.
    pub fn elem(&self, t: usize) -> Result<ElemType, ImportError> {
        self.graph.tensors[t].elem().map_err(|e| self.err(format!("tensor '{}': {e}", self.name(t))))
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
        if self.graph.tensors[t].is_variable().map_err(|e| self.err(e))? {
            return self.found(t);
        }
        let tensor = self.constant(t)?;
        let name = self.name(t);
        let id = self.builder.constant(&name, tensor);
        self.slots[t].stored = Some(id);
        Ok(id)
    }

    /// The tensor as the user of the model sees it.
    pub fn outward(&mut self, t: usize) -> Result<ValueId, ImportError> {
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

    /// What stands for a tensor, to be handed to another graph: at least its real numbers, unless it is a variable.
    pub fn slot(&mut self, t: usize) -> Result<Slot, ImportError> {
        if self.slots[t].variable.is_none() && self.slots[t].complex.is_none() {
            self.plain(t)?;
        }
        Ok(self.slots[t])
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

    /// The tensor of an output, which nothing stands for yet.
    pub fn output(&self, op: &Operator<'_>, i: usize) -> Result<usize, ImportError> {
        let index = *op.outputs.get(i).ok_or_else(|| self.err(format!("has no output {i}")))?;
        let t = self.index(index)?;
        if self.slots[t].is_empty() {
            Ok(t)
        } else {
            Err(self.err(format!("computes '{}', which has a value already", self.name(t))))
        }
    }

    /// Says that `value`, of the type and in the order of the file, is a tensor.
    pub fn give_stored(&mut self, t: usize, value: ValueId) -> Result<(), ImportError> {
        let form = (self.elem_of(value), self.dims_of(value));
        let own = (self.elem(t)?, self.graph.tensors[t].dims().map_err(|e| self.err(e))?);
        if form != own {
            return Err(self.err(format!("gives {form:?} as '{}', which is {own:?}", self.name(t))));
        }
        self.slots[t].stored = Some(value);
        Ok(())
    }

    /// `value` as the integers of a tensor, where that is quantized.
    pub fn as_stored(&mut self, t: usize, value: ValueId) -> Result<ValueId, ImportError> {
        match self.quantization(t)? {
            Some(q) => self.quantize(value, &q, self.elem(t)?, Form::Plain),
            None => Ok(value),
        }
    }

    /// The integer that stands for zero in a tensor.
    pub fn zero_point(&self, t: usize) -> Result<i64, ImportError> {
        Ok(self.quantization(t)?.and_then(|q| q.zero_point.first().copied()).unwrap_or(0))
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
        let t = self.output(op, i)?;
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
            // Biases of int16 models.
            ElemType::I64 => Data::I64(zeros.clone()),
            ElemType::I32 => Data::I32(
                zeros.iter().map(|&z| z.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32).collect(),
            ),
            other => {
                return Err(self.err(format!(
                    "has {other} elements with a scale; only signed integers, and uint8, may"
                )));
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
