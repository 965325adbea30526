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
        if bytes.is_empty() && count > 0 {
            let reader = format!("{} '{}'", self.op, self.hint);
            return Err(fail(format!(
                "{reader} reads it before anything computes it; convert the model again"
            )));
        }
        let sparsity = info.sparsity().map_err(fail)?;
        let places = sparsity.map(|s| s.places(&dims)).transpose().map_err(fail)?;
        let held = places.as_ref().map_or(count, Vec::len);
        let bits = info.packed_bits().map_err(fail)?.map_or(8 * elem.size(), |b| b as usize);
        let needed = (held as u128 * bits as u128).div_ceil(8);
        if bytes.len() as u128 != needed {
            return Err(fail(format!(
                "has {} bytes, {held} elements of {elem} for {dims:?} need {needed}; convert it again",
                bytes.len()
            )));
        }
        let unpacked = (bits < 8).then(|| unpack(bytes, held, bits as u32, elem == ElemType::I8));
        let data = decode(elem, unpacked.as_deref().unwrap_or(bytes));
        Ok(Tensor::new(
            dims,
            match places {
                Some(places) => scattered(&data, &places, count),
                None => data,
            },
        ))
    }
}

/// Elements of less than a byte, the first ones in the lowest bits, as a byte each.
fn unpack(bytes: &[u8], count: usize, bits: u32, signed: bool) -> Vec<u8> {
    let (each, unused) = (8 / bits as usize, 8 - bits);
    let raw = |i: usize| bytes[i / each] >> (bits as usize * (i % each)) << unused;
    (0..count)
        .map(|i| if signed { (raw(i).cast_signed() >> unused).cast_unsigned() } else { raw(i) >> unused })
        .collect()
}

/// `count` elements, those of `data` at their places, the others zero.
fn scattered(data: &Data, places: &[usize], count: usize) -> Data {
    macro_rules! scatter {
        ($variant:ident, $v:ident, $zero:expr) => {{
            let mut all = vec![$zero; count];
            for (&x, &place) in $v.iter().zip(places) {
                all[place] = x;
            }
            Data::$variant(all)
        }};
    }
    match data {
        Data::F32(v) => scatter!(F32, v, 0.0),
        Data::F16(v) => scatter!(F16, v, half::f16::ZERO),
        Data::BF16(v) => scatter!(BF16, v, half::bf16::ZERO),
        Data::F64(v) => scatter!(F64, v, 0.0),
        Data::I8(v) => scatter!(I8, v, 0),
        Data::U8(v) => scatter!(U8, v, 0),
        Data::I16(v) => scatter!(I16, v, 0),
        Data::U16(v) => scatter!(U16, v, 0),
        Data::I32(v) => scatter!(I32, v, 0),
        Data::U32(v) => scatter!(U32, v, 0),
        Data::I64(v) => scatter!(I64, v, 0),
        Data::U64(v) => scatter!(U64, v, 0),
        Data::Bool(v) => scatter!(Bool, v, false),
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
