//! How each step was quantized, and why: the QUANT section.

use crate::bytes::{Cursor, Fault, Put, stored};

const STEP_BYTES: usize = 20;
const TENSOR_BYTES: usize = 12;
const MEASURED: u32 = 1;

/// In what arithmetic a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Precision {
    /// Floating point, 32 bits.
    F32 = 1,
    /// Floating point, 16 bits.
    F16 = 2,
    /// Integers of 8 bits, ranges fixed by calibration.
    Int8 = 3,
    /// Weights of 8 bits, activations quantized while running.
    Dynamic = 4,
    /// Weights stored in 8 bits, computed in floating point.
    WeightInt8 = 5,
    /// Weights stored in 4 bits, computed in floating point.
    WeightInt4 = 6,
}

impl Precision {
    /// Every precision.
    pub const ALL: &'static [Self] =
        &[Self::F32, Self::F16, Self::Int8, Self::Dynamic, Self::WeightInt8, Self::WeightInt4];

    /// The name in listings and on the command line.
    #[inline(never)]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Dynamic => "dynamic",
            Self::WeightInt8 => "weight-int8",
            Self::WeightInt4 => "weight-int4",
        }
    }
}

/// What was chosen for a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The step's name.
    pub name: String,
    /// What was chosen.
    pub precision: Precision,
    /// Signal to quantization noise at the step's output, in decibels, +inf when nothing was lost; `None` when
    /// not measured.
    pub sqnr_db: Option<f32>,
    /// Why, for people.
    pub reason: String,
}

/// What values a tensor took in calibration.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorRange {
    /// The tensor's name.
    pub name: String,
    /// The least value; finite.
    pub min: f32,
    /// The greatest value; finite.
    pub max: f32,
}

/// How a model was quantized.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct QuantReport {
    /// Step by step.
    pub steps: Vec<StepReport>,
    /// Tensor by tensor.
    pub tensors: Vec<TensorRange>,
}

impl QuantReport {
    /// The section's bytes: both counts, step records, tensor records, then the texts in the order of the
    /// records (a step's name before its reason).
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut texts = Vec::new();
        out.put_u32(stored(self.steps.len(), "steps")?);
        out.put_u32(stored(self.tensors.len(), "tensors")?);
        for step in &self.steps {
            let sqnr = step.sqnr_db.unwrap_or(0.0);
            check_sqnr(sqnr).map_err(|e| format!("step '{}': {e}", step.name))?;
            out.put_u32(stored(step.name.len(), "bytes of a name")?);
            out.put_u32(stored(step.reason.len(), "bytes of a reason")?);
            out.put_u32(step.precision as u32);
            out.put_u32(if step.sqnr_db.is_some() { MEASURED } else { 0 });
            out.put_f32(sqnr);
            texts.extend_from_slice(step.name.as_bytes());
            texts.extend_from_slice(step.reason.as_bytes());
        }
        for tensor in &self.tensors {
            check_range(tensor.min, tensor.max).map_err(|e| format!("tensor '{}': {e}", tensor.name))?;
            out.put_u32(stored(tensor.name.len(), "bytes of a name")?);
            out.put_f32(tensor.min);
            out.put_f32(tensor.max);
            texts.extend_from_slice(tensor.name.as_bytes());
        }
        out.append(&mut texts);
        Ok(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut head = Cursor::new(bytes, 0);
        let (steps, tensors) = (head.u32()?, head.u32()?);
        let mut records = head.clone();
        let too_many = || Fault::new(0, "too many records");
        head.take((steps as usize).checked_mul(STEP_BYTES).ok_or_else(too_many)?)?;
        head.take((tensors as usize).checked_mul(TENSOR_BYTES).ok_or_else(too_many)?)?;
        let mut texts = head;
        let mut report = Self { steps: Vec::new(), tensors: Vec::new() };
        report.steps.reserve_exact(steps as usize);
        for _ in 0..steps {
            let at = records.at();
            let fault = |what: String| Fault::new(at, what);
            let (name_bytes, reason_bytes) = (records.u32()?, records.u32()?);
            let code = records.u32()?;
            let precision = Precision::ALL.iter().copied().find(|&p| p as u32 == code);
            let precision = precision.ok_or_else(|| fault(format!("precision code {code} is unknown")))?;
            let flags = records.u32()?;
            let sqnr = records.f32()?;
            check_sqnr(sqnr).map_err(fault)?;
            let sqnr_db = match flags {
                0 if sqnr.to_bits() == 0 => None,
                MEASURED => Some(sqnr),
                _ => return Err(fault(format!("flags {flags:#x} and figure {sqnr} do not go together"))),
            };
            let name = texts.text(name_bytes)?.to_owned();
            let reason = texts.text(reason_bytes)?.to_owned();
            report.steps.push(StepReport { name, precision, sqnr_db, reason });
        }
        report.tensors.reserve_exact(tensors as usize);
        for _ in 0..tensors {
            let at = records.at();
            let name_bytes = records.u32()?;
            let (min, max) = (records.f32()?, records.f32()?);
            check_range(min, max).map_err(|what| Fault::new(at, what))?;
            let name = texts.text(name_bytes)?.to_owned();
            report.tensors.push(TensorRange { name, min, max });
        }
        match texts.at() {
            at if at == bytes.len() => Ok(report),
            at => Err(Fault::new(at, format!("{} bytes follow the last text", bytes.len() - at))),
        }
    }
}

fn check_sqnr(sqnr: f32) -> Result<(), String> {
    if sqnr.is_nan() { Err("the signal-to-noise figure is no number".into()) } else { Ok(()) }
}

fn check_range(min: f32, max: f32) -> Result<(), String> {
    if min.is_finite() && max.is_finite() && min <= max {
        Ok(())
    } else {
        Err(format!("range {min}..{max} is not finite and ascending"))
    }
}
