//! Golden cases: what a finished model gives for some inputs, to be held against what it gives elsewhere.

use cygnet::format::Array;
use cygnet::format::golden::GoldenCase;
use cygnet::{Model, Select, Session, SessionOptions, TensorRef};

use crate::calibrate::{CalibrateError, Samples};
use crate::pipeline::{ConvertError, Progress};

/// Runs the finished model over the first samples, or over one pseudo-random input, and keeps what came out.
pub fn golden_cases(
    file: &[u8],
    samples: Option<&mut dyn Samples>,
    count: usize,
    half: bool,
    progress: &mut dyn Progress,
) -> Result<Vec<GoldenCase>, ConvertError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let model = Model::from_bytes(file)?;
    let mut session = Session::new(&model, &SessionOptions::default())?;
    let noise = |session: &Session| session.inputs().map(|(name, t)| crate::noise::array(name, t)).collect();
    let mut inputs: Vec<(usize, Vec<Array>)> = match samples {
        Some(samples) => {
            let count = count.min(samples.len());
            let mut get = |index| samples.get(index).map_err(|what| CalibrateError::Sample { index, what });
            (0..count).map(|i| Ok((0, get(i)?))).collect::<Result<_, CalibrateError>>()?
        }
        None => vec![(0, noise(&session))],
    };
    // Samples have the shapes of the first program.
    let program = |index| SessionOptions { program: Select::Index(index), ..SessionOptions::default() };
    for index in 1..model.programs().len() {
        inputs.push((index, noise(&Session::new(&model, &program(index))?)));
    }
    progress.stage("recording golden outputs", Some(inputs.len()));
    let (mut cases, mut current) = (Vec::new(), 0);
    for (index, inputs) in inputs {
        if index != current {
            session = Session::new(&model, &program(index))?;
            current = index;
        }
        cases.push(golden_case(&mut session, index, inputs, half)?);
        progress.advance();
    }
    Ok(cases)
}

/// What a program gives for these inputs.
fn golden_case(
    session: &mut Session,
    index: usize,
    inputs: Vec<Array>,
    half: bool,
) -> Result<GoldenCase, ConvertError> {
    for a in &inputs {
        session.set_input(&a.name, TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims))?;
    }
    session.reset();
    session.run()?;
    let names: Vec<String> = session.outputs().map(|(name, _)| name.to_owned()).collect();
    let outputs = names
        .into_iter()
        .map(|name| {
            let out = session.output(&name)?;
            Ok(Array { name, dtype: out.dtype, dims: out.dims.to_vec(), bytes: out.bytes.to_vec() })
        })
        .collect::<Result<Vec<_>, cygnet::Error>>()?;
    // Half-precision arithmetic differs between cores that have it and those that do not.
    let tolerance = if half { F16_TOLERANCE } else { 0.0 };
    Ok(GoldenCase { program: index as u32, tolerance, inputs, outputs })
}

/// How far outputs of an f16 model may lie apart on different cores, relative to the greatest.
const F16_TOLERANCE: f32 = 0.02;
