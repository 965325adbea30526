//! Tensors whose elements stand in the file.

use super::import::Importer;
use crate::error::ImportError;
use crate::graph::{Data, ElemType, Tensor};
use crate::infer;

impl Importer<'_> {
    /// The elements of a tensor that the file holds.
    pub fn constant(&self, t: usize) -> Result<Tensor, ImportError> {
        let info = self.graph.tensors[t];
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
