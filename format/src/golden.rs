//! Inputs with the outputs expected: the GOLDEN section.

use crate::bytes::{Cursor, Fault, Put, stored};
use crate::program::{DType, MAX_RANK};

const CASE_BYTES: usize = 16;
const ARRAY_BYTES: usize = 32;

/// A dense array under the name of a program's input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// The port's name.
    pub name: String,
    /// Element type; never [`DType::Packed`].
    pub dtype: DType,
    /// Dimensions, none of them zero, at most [`MAX_RANK`].
    pub dims: Vec<u32>,
    /// The elements, little endian.
    pub bytes: Vec<u8>,
}

/// One run: what goes in and what has to come out.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenCase {
    /// Position of the program among the file's programs.
    pub program: u32,
    /// 0: outputs agree bit for bit. Else elements agree within `tolerance` times the greatest magnitude of the
    /// expected output.
    pub tolerance: f32,
    /// Inputs by name.
    pub inputs: Vec<Array>,
    /// Outputs by name.
    pub outputs: Vec<Array>,
}

/// The section's bytes: both counts, case records, array records (of each case its inputs, then its outputs),
/// then for each array its name and its elements.
pub(crate) fn encode(cases: &[GoldenCase]) -> Result<Vec<u8>, String> {
    let arrays = || cases.iter().flat_map(|case| case.inputs.iter().chain(&case.outputs));
    let mut out = Vec::new();
    out.put_u32(stored(cases.len(), "golden cases")?);
    out.put_u32(stored(arrays().count(), "golden arrays")?);
    for case in cases {
        check_tolerance(case.tolerance)?;
        out.put_u32(case.program);
        out.put_f32(case.tolerance);
        out.put_u32(stored(case.inputs.len(), "inputs")?);
        out.put_u32(stored(case.outputs.len(), "outputs")?);
    }
    for array in arrays() {
        let bytes = data_bytes(array.dtype, &array.dims)
            .map_err(|e| format!("golden array '{}': {e}", array.name))?;
        if bytes != array.bytes.len() as u64 {
            return Err(format!(
                "golden array '{}': {} bytes of elements where its dimensions ask for {bytes}",
                array.name,
                array.bytes.len()
            ));
        }
        out.put_u32(stored(array.name.len(), "bytes of a name")?);
        out.push(array.dtype as u8);
        out.push(array.dims.len() as u8);
        out.put_u16(0);
        for axis in 0..MAX_RANK {
            out.put_u32(array.dims.get(axis).copied().unwrap_or(0));
        }
    }
    for array in arrays() {
        out.extend_from_slice(array.name.as_bytes());
        out.extend_from_slice(&array.bytes);
    }
    Ok(out)
}

pub(crate) fn decode(bytes: &[u8], programs: usize) -> Result<Vec<GoldenCase>, Fault> {
    let mut head = Cursor::new(bytes, 0);
    let (case_count, array_count) = (head.u32()?, head.u32()?);
    let too_many = || Fault::new(0, "too many records");
    let mut case_records = head.clone();
    head.take((case_count as usize).checked_mul(CASE_BYTES).ok_or_else(too_many)?)?;
    let mut arrays = Arrays { records: head.clone(), left: array_count, data: head.clone() };
    arrays.data.take((array_count as usize).checked_mul(ARRAY_BYTES).ok_or_else(too_many)?)?;

    let mut cases = Vec::with_capacity(case_count as usize);
    for _ in 0..case_count {
        let at = case_records.at();
        let program = case_records.u32()?;
        if program as usize >= programs {
            return Err(Fault::new(at, format!("program {program} of {programs}")));
        }
        let tolerance = case_records.f32()?;
        check_tolerance(tolerance).map_err(|what| Fault::new(at, what))?;
        let (inputs, outputs) = (case_records.u32()?, case_records.u32()?);
        let inputs = arrays.next(inputs, at)?;
        let outputs = arrays.next(outputs, at)?;
        cases.push(GoldenCase { program, tolerance, inputs, outputs });
    }
    if arrays.left != 0 {
        return Err(Fault::new(4, format!("{} arrays belong to no case", arrays.left)));
    }
    match arrays.data.at() {
        at if at == bytes.len() => Ok(cases),
        at => Err(Fault::new(at, format!("{} bytes follow the last array", bytes.len() - at))),
    }
}

/// The arrays not yet given to a case.
struct Arrays<'a> {
    records: Cursor<'a>,
    left: u32,
    data: Cursor<'a>,
}

impl Arrays<'_> {
    /// The next `count` arrays, for the case whose record is at `at`.
    fn next(&mut self, count: u32, at: usize) -> Result<Vec<Array>, Fault> {
        self.left = self
            .left
            .checked_sub(count)
            .ok_or_else(|| Fault::new(at, format!("{count} arrays where {} are left", self.left)))?;
        let mut arrays = Vec::with_capacity(count as usize);
        for _ in 0..count {
            arrays.push(self.one()?);
        }
        Ok(arrays)
    }

    fn one(&mut self) -> Result<Array, Fault> {
        let at = self.records.at();
        let name_bytes = self.records.u32()?;
        let code = self.records.u8()?;
        let dtype =
            DType::from_code(code).ok_or_else(|| Fault::new(at, format!("type code {code} is unknown")))?;
        let rank = usize::from(self.records.u8()?);
        if rank > MAX_RANK {
            return Err(Fault::new(at, format!("rank {rank}, {MAX_RANK} at most")));
        }
        self.records.unused(at + 8)?;
        let mut dims = Vec::with_capacity(rank);
        for _ in 0..rank {
            dims.push(self.records.u32()?);
        }
        self.records.unused(at + ARRAY_BYTES)?;
        let name = self.data.text(name_bytes)?.to_owned();
        let length = data_bytes(dtype, &dims).map_err(|what| Fault::new(at, what))?;
        let length = usize::try_from(length).map_err(|_| Fault::new(at, "array too large"))?;
        let bytes = self.data.take(length)?.to_vec();
        Ok(Array { name, dtype, dims, bytes })
    }
}

/// Bytes of a dense array.
fn data_bytes(dtype: DType, dims: &[u32]) -> Result<u64, String> {
    if dtype == DType::Packed || dims.len() > MAX_RANK || dims.contains(&0) {
        return Err(format!("{} {dims:?} is no dense array of at most {MAX_RANK} dimensions", dtype.name()));
    }
    dims.iter()
        .try_fold(dtype.size() as u64, |bytes, &d| bytes.checked_mul(u64::from(d)))
        .ok_or_else(|| format!("the size of {dims:?} overflows"))
}

fn check_tolerance(tolerance: f32) -> Result<(), String> {
    if tolerance.is_finite() && tolerance >= 0.0 {
        Ok(())
    } else {
        Err(format!("golden tolerance {tolerance} is not finite and at least zero"))
    }
}
