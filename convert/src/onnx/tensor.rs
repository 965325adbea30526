//! Constants: from a `TensorProto`, inside the file or beside it, to a [`Tensor`].

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use half::{bf16, f16};
use prost::Message;

use super::narrow::Narrow;
use super::schema::{SparseTensorProto, TensorProto, data_type};
use crate::error::ImportError;
use crate::graph::{Data, ElemType, Tensor};
use crate::infer::MAX_ELEMENTS;

/// Elements of the largest sparse constant that is expanded: its size in the file says nothing of its size here.
const MAX_SPARSE: usize = 1 << 26;

/// The element type behind ONNX's number for it; `None` for strings and complex numbers. Narrow types are held in
/// bytes; see [`Narrow`].
pub fn elem_type(number: i32) -> Option<ElemType> {
    Some(match number {
        data_type::FLOAT => ElemType::F32,
        data_type::UINT8 => ElemType::U8,
        data_type::INT8 => ElemType::I8,
        data_type::UINT16 => ElemType::U16,
        data_type::INT16 => ElemType::I16,
        data_type::INT32 => ElemType::I32,
        data_type::INT64 => ElemType::I64,
        data_type::BOOL => ElemType::Bool,
        data_type::FLOAT16 => ElemType::F16,
        data_type::DOUBLE => ElemType::F64,
        data_type::UINT32 => ElemType::U32,
        data_type::UINT64 => ElemType::U64,
        data_type::BFLOAT16 => ElemType::BF16,
        _ => return Narrow::of(number).map(Narrow::elem),
    })
}

/// ONNX's number for an element type.
pub fn elem_number(elem: ElemType) -> i32 {
    match elem {
        ElemType::F32 => data_type::FLOAT,
        ElemType::F16 => data_type::FLOAT16,
        ElemType::BF16 => data_type::BFLOAT16,
        ElemType::F64 => data_type::DOUBLE,
        ElemType::I8 => data_type::INT8,
        ElemType::U8 => data_type::UINT8,
        ElemType::I16 => data_type::INT16,
        ElemType::U16 => data_type::UINT16,
        ElemType::I32 => data_type::INT32,
        ElemType::U32 => data_type::UINT32,
        ElemType::I64 => data_type::INT64,
        ElemType::U64 => data_type::UINT64,
        ElemType::Bool => data_type::BOOL,
    }
}

/// Reads a tensor in a file of its own, as ONNX keeps the inputs and outputs of its tests: its name, and its elements.
///
/// # Errors
/// Says what is wrong with the bytes, or what about the tensor is not supported.
pub fn read_tensor(bytes: &[u8]) -> Result<(String, Tensor), ImportError> {
    let proto = TensorProto::decode(bytes).map_err(|e| ImportError::NotOnnx {
        reason: format!("its {} bytes are not a whole tensor ({e})", bytes.len()),
    })?;
    let name = proto.name.clone().unwrap_or_default();
    let tensor = decode(&proto, &name, None)?;
    Ok((name, tensor))
}

/// Decodes a constant. `dir` is the folder of the model, where external data lies; `None` refuses such data.
pub fn decode(proto: &TensorProto, name: &str, dir: Option<&Path>) -> Result<Tensor, ImportError> {
    let fail = |reason: String| ImportError::Tensor { tensor: name.to_owned(), reason };
    if proto.segment.is_some() {
        return Err(fail("is split into segments, which is not supported; store it whole".into()));
    }
    let number = proto.data_type.unwrap_or(0);
    let elem = elem_type(number).ok_or_else(|| {
        fail(format!("has element type number {number}; strings and complex numbers are not supported"))
    })?;
    let (dims, len) = check_dims(&proto.dims, name)?;
    let data = if proto.data_location == Some(1) {
        from_raw(&read_external(proto, name, dir)?, elem, number, len).map_err(fail)?
    } else if let Some(raw) = &proto.raw_data {
        from_raw(raw, elem, number, len).map_err(fail)?
    } else {
        from_fields(proto, elem, number, len).map_err(fail)?
    };
    Ok(Tensor::new(dims, data))
}

/// Decodes a sparse constant into a dense one.
pub fn decode_sparse(
    proto: &SparseTensorProto,
    name: &str,
    dir: Option<&Path>,
) -> Result<Tensor, ImportError> {
    let fail = |reason: &str| ImportError::Tensor { tensor: name.to_owned(), reason: reason.to_owned() };
    let (Some(values), Some(indices)) = (&proto.values, &proto.indices) else {
        return Err(fail("is sparse but lacks its values or indices"));
    };
    let (dims, len) = check_dims(&proto.dims, name)?;
    if len > MAX_SPARSE {
        return Err(fail("is sparse with more than 2^26 elements; store it densely"));
    }
    let values = decode(values, name, dir)?;
    let indices = decode(indices, name, dir)?;
    let at = indices.to_i64().ok_or_else(|| fail("is sparse with indices that are not integers"))?;
    let linear: Vec<i64> = match indices.dims.as_slice() {
        [n] if *n == values.len() => at,
        [n, rank] if *n == values.len() && *rank == dims.len() && *rank > 0 => at
            .chunks_exact(*rank)
            .map(|c| {
                c.iter().zip(&dims).fold(0i64, |a, (&i, &d)| a.saturating_mul(d as i64).saturating_add(i))
            })
            .collect(),
        _ => return Err(fail("is sparse with indices that do not match its values")),
    };
    if linear.iter().any(|&i| i < 0 || i as usize >= len) {
        return Err(fail("is sparse with an index outside its dimensions"));
    }
    let data = crate::fold::map_data!(&values.data, v => {
        let mut out = vec![Default::default(); len];
        for (&i, &x) in linear.iter().zip(v) {
            out[i as usize] = x;
        }
        out
    });
    Ok(Tensor::new(dims, data))
}

/// Dimensions as sizes, with their product.
fn check_dims(dims: &[i64], name: &str) -> Result<(Vec<usize>, usize), ImportError> {
    let mut len = 1usize;
    let mut out = Vec::with_capacity(dims.len());
    for &d in dims {
        let size = usize::try_from(d).ok();
        match size.and_then(|d| len.checked_mul(d)).filter(|&l| l <= MAX_ELEMENTS) {
            Some(l) => len = l,
            None => {
                return Err(ImportError::Tensor {
                    tensor: name.to_owned(),
                    reason: format!(
                        "has dimensions {dims:?}; each must be at least 0 and their product at most {MAX_ELEMENTS}"
                    ),
                });
            }
        }
        out.extend(size);
    }
    Ok((out, len))
}

fn wrong_size(what: &str, found: usize, expected: usize) -> String {
    format!("holds {found} {what}, its dimensions need {expected}; the file is damaged")
}

/// The elements in bytes; several in one from its lowest bits on.
fn from_raw(raw: &[u8], elem: ElemType, number: i32, len: usize) -> Result<Data, String> {
    let narrow = Narrow::of(number);
    let expected = narrow.map_or(len * elem.size(), |n| len.div_ceil(n.per_byte()));
    if raw.len() != expected {
        return Err(wrong_size("bytes", raw.len(), expected));
    }
    macro_rules! le {
        ($variant:ident, $t:ty) => {
            Data::$variant(
                raw.chunks_exact(size_of::<$t>())
                    .map(|c| <$t>::from_le_bytes(c.try_into().expect("chunks of that size")))
                    .collect(),
            )
        };
    }
    if let Some(narrow) = narrow {
        let bits = 8 / narrow.per_byte() as u32;
        let parts =
            raw.iter().flat_map(|&b| (0..8).step_by(bits as usize).map(move |at| b >> at << (8 - bits)));
        return Ok(match narrow.elem() {
            ElemType::I8 => Data::I8(parts.take(len).map(|p| (p as i8) >> (8 - bits)).collect()),
            _ => Data::U8(parts.take(len).map(|p| p >> (8 - bits)).collect()),
        });
    }
    Ok(match elem {
        ElemType::F32 => le!(F32, f32),
        ElemType::F16 => le!(F16, f16),
        ElemType::BF16 => le!(BF16, bf16),
        ElemType::F64 => le!(F64, f64),
        ElemType::I8 => le!(I8, i8),
        ElemType::U8 => Data::U8(raw.to_vec()),
        ElemType::I16 => le!(I16, i16),
        ElemType::U16 => le!(U16, u16),
        ElemType::I32 => le!(I32, i32),
        ElemType::U32 => le!(U32, u32),
        ElemType::I64 => le!(I64, i64),
        ElemType::U64 => le!(U64, u64),
        ElemType::Bool => Data::Bool(raw.iter().map(|&b| b != 0).collect()),
    })
}

fn from_fields(p: &TensorProto, elem: ElemType, number: i32, len: usize) -> Result<Data, String> {
    fn sized<T: Clone, U>(field: &[T], len: usize, f: impl Fn(T) -> U) -> Result<Vec<U>, String> {
        if field.len() == len {
            Ok(field.iter().cloned().map(f).collect())
        } else {
            Err(wrong_size("elements", field.len(), len))
        }
    }
    let ints = &p.int32_data;
    if let Some(narrow) = Narrow::of(number) {
        let raw = sized(ints, len.div_ceil(narrow.per_byte()), |x| x as u8)?;
        return from_raw(&raw, elem, number, len);
    }
    Ok(match elem {
        ElemType::F32 => Data::F32(sized(&p.float_data, len, |x| x)?),
        ElemType::F64 => Data::F64(sized(&p.double_data, len, |x| x)?),
        ElemType::F16 => Data::F16(sized(ints, len, |x| f16::from_bits(x as u16))?),
        ElemType::BF16 => Data::BF16(sized(ints, len, |x| bf16::from_bits(x as u16))?),
        ElemType::I8 => Data::I8(sized(ints, len, |x| x as i8)?),
        ElemType::U8 => Data::U8(sized(ints, len, |x| x as u8)?),
        ElemType::I16 => Data::I16(sized(ints, len, |x| x as i16)?),
        ElemType::U16 => Data::U16(sized(ints, len, |x| x as u16)?),
        ElemType::I32 => Data::I32(sized(ints, len, |x| x)?),
        ElemType::Bool => Data::Bool(sized(ints, len, |x| x != 0)?),
        ElemType::I64 => Data::I64(sized(&p.int64_data, len, |x| x)?),
        ElemType::U64 => Data::U64(sized(&p.uint64_data, len, |x| x)?),
        ElemType::U32 => Data::U32(sized(&p.uint64_data, len, |x| x as u32)?),
    })
}

/// Bytes of a constant that lies beside the model. Its location must be a relative path without `..`.
fn read_external(p: &TensorProto, name: &str, dir: Option<&Path>) -> Result<Vec<u8>, ImportError> {
    let fail = |reason: String| ImportError::Tensor { tensor: name.to_owned(), reason };
    let field = |key: &str| {
        let entry = p.external_data.iter().find(|e| e.key.as_deref() == Some(key));
        entry.and_then(|e| e.value.as_deref())
    };
    let number = |key: &str| match field(key) {
        None => Ok(None),
        Some(v) => v.trim().parse::<u64>().map(Some).map_err(|_| {
            fail(format!("its external data has {key} '{v}', which is not a number; the file is damaged"))
        }),
    };
    let location = field("location").unwrap_or("");
    let relative = Path::new(location);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if location.is_empty() || !plain || location.contains('\\') {
        return Err(fail(format!(
            "its external data is at '{location}'; only files in the model's own folder are read, \
             so move the data there"
        )));
    }
    let Some(dir) = dir else {
        return Err(fail(format!(
            "its elements are in the file '{location}' beside the model; give the model as a file, not as bytes"
        )));
    };
    let path = dir.join(relative);
    let io = |source| ImportError::Io { path: path.clone(), source };
    let mut file = File::open(&path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    let offset = number("offset")?.unwrap_or(0);
    let rest = meta.len().checked_sub(offset);
    let length = number("length")?.or(rest);
    match (rest, length) {
        (Some(rest), Some(length)) if meta.is_file() && length <= rest => {
            file.seek(SeekFrom::Start(offset)).map_err(io)?;
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes).map_err(io)?;
            Ok(bytes)
        }
        _ => Err(fail(format!(
            "its external data asks for {} bytes at {offset} of '{location}', which has {}; fetch the file again",
            length.unwrap_or(0),
            meta.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::schema::StringStringEntryProto;

    fn proto(dims: &[i64], number: i32) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type: Some(number), ..Default::default() }
    }

    #[test]
    fn typed_fields_and_raw_bytes_agree() {
        let mut a = proto(&[2], data_type::FLOAT16);
        a.int32_data = vec![0x3c00, 0xc000];
        let mut b = proto(&[2], data_type::FLOAT16);
        b.raw_data = Some(vec![0x00, 0x3c, 0x00, 0xc0]);
        let want = Data::F16(vec![f16::from_f32(1.0), f16::from_f32(-2.0)]);
        assert_eq!(decode(&a, "a", None).unwrap().data, want);
        assert_eq!(decode(&b, "b", None).unwrap().data, want);
    }

    #[test]
    fn four_bit_elements_are_widened_low_half_first() {
        let mut a = proto(&[3], data_type::INT4);
        a.raw_data = Some(vec![0x8f, 0x07]);
        assert_eq!(decode(&a, "a", None).unwrap().data, Data::I8(vec![-1, -8, 7]));
    }

    #[test]
    fn sizes_that_do_not_match_are_refused() {
        let mut a = proto(&[2, 2], data_type::FLOAT);
        a.float_data = vec![1.0; 3];
        assert!(decode(&a, "w", None).unwrap_err().to_string().contains("holds 3 elements"));
        for dims in [vec![-1], vec![i64::MAX, i64::MAX], vec![1 << 40]] {
            assert!(matches!(decode(&proto(&dims, 1), "w", None), Err(ImportError::Tensor { .. })));
        }
    }

    #[test]
    fn external_data_outside_the_folder_is_refused() {
        for location in ["../x", "/etc/hostname", "a/../../x", "", "..\\x"] {
            let mut a = proto(&[1], data_type::UINT8);
            a.data_location = Some(1);
            let entry =
                |k: &str, v: &str| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
            a.external_data = vec![entry("location", location)];
            let e = decode(&a, "w", Some(Path::new("."))).unwrap_err().to_string();
            assert!(e.contains("own folder"), "{e}");
        }
    }

    #[test]
    fn sparse_constants_become_dense() {
        let mut values = proto(&[2], data_type::FLOAT);
        values.float_data = vec![5.0, 7.0];
        let mut indices = proto(&[2, 2], data_type::INT64);
        indices.int64_data = vec![0, 1, 1, 0];
        let s = SparseTensorProto { values: Some(values), indices: Some(indices), dims: vec![2, 2] };
        assert_eq!(decode_sparse(&s, "s", None).unwrap(), Tensor::f32(&[2, 2], vec![0.0, 5.0, 7.0, 0.0]));
    }
}
