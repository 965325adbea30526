//! The inputs of a measurement.

use cygnet::format::Array;
use cygnet::{DType, Model, Session};

use crate::arrays::Input;
use crate::common::CliError;

/// The inputs of the first golden case of the session's program, else pseudo-random ones.
pub fn default_inputs(model: &Model, session: &Session) -> Result<Vec<Input>, CliError> {
    let position = model.programs().iter().position(|p| p.name == session.program().name);
    let golden = model.reader()?.golden()?.into_iter().find(|case| Some(case.program as usize) == position);
    if let Some(case) = golden {
        return Ok(case.inputs.into_iter().map(Input::Array).collect());
    }
    let mut state = 1_u32;
    let mut next = move || {
        // xorshift32: a fixed sequence, so that every measurement sees the same numbers.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let arrays = session.inputs().map(|(name, t)| {
        let mut bytes = Vec::new();
        for _ in 0..t.elements() {
            let r = next();
            match t.dtype {
                DType::F32 => bytes.extend(((r >> 8) as f32 / (1 << 24) as f32).to_le_bytes()),
                // In half precision the top bits of the fraction beside a fixed exponent: from 0.5 to 1.
                DType::F16 => bytes.extend((0x3800 | (r >> 22) as u16).to_le_bytes()),
                DType::S8 | DType::U8 | DType::Packed => bytes.push((r >> 24) as u8),
                // Integers are most often positions in a table or masks: 0 and 1 suit both.
                DType::S16 => bytes.extend(((r >> 31) as i16).to_le_bytes()),
                DType::S32 => bytes.extend(((r >> 31) as i32).to_le_bytes()),
                DType::S64 => bytes.extend(i64::from(r >> 31).to_le_bytes()),
            }
        }
        Input::Array(Array { name: name.to_owned(), dtype: t.dtype, dims: t.dims.clone(), bytes })
    });
    Ok(arrays.collect())
}
