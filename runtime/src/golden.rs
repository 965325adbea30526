//! Running a model against the results that its file promises.

use cygnet_format::golden::{Array, GoldenCase};
use cygnet_format::program::DType;

use crate::error::Error;
use crate::model::Model;
use crate::session::{Select, Session, SessionOptions};
use crate::tensor::TensorRef;

/// An output that is not what the file promises.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The output.
    pub output: String,
    /// The first element that differs.
    pub index: usize,
    /// What was computed.
    pub got: f32,
    /// What was promised.
    pub expected: f32,
    /// How many elements differ.
    pub count: usize,
    /// How many there are.
    pub of: usize,
    /// The greatest difference of two elements.
    pub worst: f32,
}

/// What came of one golden case.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseOutcome {
    /// Position of the program.
    pub program: usize,
    /// 0: compared bit for bit; else the tolerance, relative to the greatest magnitude of an output.
    pub tolerance: f32,
    /// Outputs compared.
    pub outputs: usize,
    /// The first output that differs, if any does.
    pub mismatch: Option<Mismatch>,
}

/// Runs every golden case of the file on this machine. `options.program` has no effect: each case names its own.
///
/// # Errors
/// When the section is damaged, or a case cannot be run at all.
pub fn verify(model: &Model, options: &SessionOptions) -> Result<Vec<CaseOutcome>, Error> {
    let cases = model.reader()?.golden()?;
    cases.iter().map(|case| verify_case(model, options, case)).collect()
}

fn verify_case(model: &Model, options: &SessionOptions, case: &GoldenCase) -> Result<CaseOutcome, Error> {
    let program = case.program as usize;
    let options = SessionOptions { program: Select::Index(program), ..options.clone() };
    let mut session = Session::new(model, &options)?;
    for array in &case.inputs {
        session.set_input(&array.name, array_ref(array))?;
    }
    session.run()?;
    let mut mismatch = None;
    for array in &case.outputs {
        mismatch = compare(array, session.output(&array.name)?, case.tolerance)?;
        if mismatch.is_some() {
            break;
        }
    }
    Ok(CaseOutcome { program, tolerance: case.tolerance, outputs: case.outputs.len(), mismatch })
}

fn array_ref(array: &Array) -> TensorRef<'_> {
    TensorRef::from_bytes(array.dtype, &array.bytes, &array.dims)
}

fn compare(expected: &Array, got: TensorRef<'_>, tolerance: f32) -> Result<Option<Mismatch>, Error> {
    let name = || expected.name.clone();
    if got.dims != expected.dims {
        return Err(Error::Shape { name: name(), want: got.dims.to_vec(), got: expected.dims.clone() });
    }
    if got.dtype != expected.dtype {
        return Err(Error::Type { name: name(), want: got.dtype, got: expected.dtype });
    }
    // Raw values, not dequantized ones: differences of quantized values are exact.
    let want = array_ref(expected).to_f32();
    let have = TensorRef { quant: None, ..got }.to_f32();
    let size = got.dtype.size();
    let same_bits =
        |i: usize| got.bytes[i * size..(i + 1) * size] == expected.bytes[i * size..(i + 1) * size];
    let peak = want.iter().fold(0.0_f32, |peak, v| if v.is_finite() { peak.max(v.abs()) } else { peak });
    let is_float = matches!(got.dtype, DType::F32 | DType::F16);
    let agrees = |i: usize| {
        let near = || is_float && tolerance > 0.0 && (have[i] - want[i]).abs() <= tolerance * peak;
        same_bits(i) || near()
    };
    let mut odd = (0..want.len()).filter(|&i| !agrees(i));
    let Some(index) = odd.next() else { return Ok(None) };
    let count = 1 + odd.count();
    let worst = have.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
    let (got, expected) = (have[index], want[index]);
    Ok(Some(Mismatch { output: name(), index, got, expected, count, of: want.len(), worst }))
}
