//! Moving and converting the elements of constants.

use half::{bf16, f16};

use crate::graph::{Data, ElemType, Tensor};

/// Runs `$body`, which makes a vector of the same element type, with `$v` bound to the typed vector.
macro_rules! map_data {
    ($data:expr, $v:ident => $body:expr) => {{
        use $crate::graph::Data;
        match $data {
            Data::F32($v) => Data::F32($body),
            Data::F16($v) => Data::F16($body),
            Data::BF16($v) => Data::BF16($body),
            Data::F64($v) => Data::F64($body),
            Data::I8($v) => Data::I8($body),
            Data::U8($v) => Data::U8($body),
            Data::I16($v) => Data::I16($body),
            Data::U16($v) => Data::U16($body),
            Data::I32($v) => Data::I32($body),
            Data::U32($v) => Data::U32($body),
            Data::I64($v) => Data::I64($body),
            Data::U64($v) => Data::U64($body),
            Data::Bool($v) => Data::Bool($body),
        }
    }};
}
pub(crate) use map_data;

/// Row-major strides, in elements.
pub fn strides(dims: &[usize]) -> Vec<usize> {
    let mut out = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        out[i - 1] = out[i] * dims[i];
    }
    out
}

/// Strides that read a tensor of dimensions `from` as if it were broadcast to `to`.
pub fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<isize> {
    let own = strides(from);
    let skip = to.len() - from.len();
    (0..to.len()).map(|i| if i < skip || from[i - skip] == 1 { 0 } else { own[i - skip] as isize }).collect()
}

/// Calls `f` with the offset in each of `N` tensors of every element of `dims`, in row-major order.
pub fn walk<const N: usize>(
    dims: &[usize],
    strides: [&[isize]; N],
    base: [isize; N],
    mut f: impl FnMut([usize; N]),
) {
    let total: usize = dims.iter().product();
    let mut index = vec![0usize; dims.len()];
    let mut at = base;
    for _ in 0..total {
        f(at.map(|a| a as usize));
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            (0..N).for_each(|t| at[t] += strides[t][axis]);
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
            (0..N).for_each(|t| at[t] -= strides[t][axis] * dims[axis] as isize);
        }
    }
}

/// The tensor of dimensions `dims` whose elements are those of `t` at `strides` from `base`.
pub fn view(t: &Tensor, dims: &[usize], strides: &[isize], base: isize) -> Tensor {
    let data = map_data!(&t.data, v => {
        let mut out = Vec::with_capacity(dims.iter().product());
        walk(dims, [strides], [base], |[i]| out.push(v[i]));
        out
    });
    Tensor::new(dims.to_vec(), data)
}

/// The tensor of dimensions `dims` whose elements are those of `t` at `offsets`.
pub fn take(t: &Tensor, dims: &[usize], offsets: &[usize]) -> Tensor {
    Tensor::new(dims.to_vec(), map_data!(&t.data, v => offsets.iter().map(|&i| v[i]).collect()))
}

/// The same elements under other dimensions.
pub fn reshaped(t: &Tensor, dims: &[usize]) -> Tensor {
    Tensor::new(dims.to_vec(), t.data.clone())
}

/// The elements as f64; integers beyond 2^53 are rounded.
pub fn to_f64(t: &Tensor) -> Vec<f64> {
    match &t.data {
        Data::F64(v) => v.clone(),
        Data::I64(v) => v.iter().map(|&x| x as f64).collect(),
        Data::U64(v) => v.iter().map(|&x| x as f64).collect(),
        Data::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        _ => t.to_f32().into_iter().map(f64::from).collect(),
    }
}

/// Real numbers as elements of `elem`: rounded to nearest even for floating types, truncated and saturated for
/// integers.
pub fn from_f64(values: Vec<f64>, elem: ElemType) -> Data {
    match elem {
        ElemType::F64 => Data::F64(values),
        ElemType::F32 => Data::F32(values.into_iter().map(|x| x as f32).collect()),
        ElemType::F16 => Data::F16(values.into_iter().map(f16::from_f64).collect()),
        ElemType::BF16 => Data::BF16(values.into_iter().map(bf16::from_f64).collect()),
        ElemType::I8 => Data::I8(values.into_iter().map(|x| x as i8).collect()),
        ElemType::U8 => Data::U8(values.into_iter().map(|x| x as u8).collect()),
        ElemType::I16 => Data::I16(values.into_iter().map(|x| x as i16).collect()),
        ElemType::U16 => Data::U16(values.into_iter().map(|x| x as u16).collect()),
        ElemType::I32 => Data::I32(values.into_iter().map(|x| x as i32).collect()),
        ElemType::U32 => Data::U32(values.into_iter().map(|x| x as u32).collect()),
        ElemType::I64 => Data::I64(values.into_iter().map(|x| x as i64).collect()),
        ElemType::U64 => Data::U64(values.into_iter().map(|x| x as u64).collect()),
        ElemType::Bool => Data::Bool(values.into_iter().map(|x| x != 0.0).collect()),
    }
}

/// Integers as elements of `elem`, wrapped to its width.
pub fn from_i64(values: Vec<i64>, elem: ElemType) -> Data {
    match elem {
        ElemType::I8 => Data::I8(values.into_iter().map(|x| x as i8).collect()),
        ElemType::U8 => Data::U8(values.into_iter().map(|x| x as u8).collect()),
        ElemType::I16 => Data::I16(values.into_iter().map(|x| x as i16).collect()),
        ElemType::U16 => Data::U16(values.into_iter().map(|x| x as u16).collect()),
        ElemType::I32 => Data::I32(values.into_iter().map(|x| x as i32).collect()),
        ElemType::U32 => Data::U32(values.into_iter().map(|x| x as u32).collect()),
        ElemType::I64 => Data::I64(values),
        ElemType::U64 => Data::U64(values.into_iter().map(|x| x as u64).collect()),
        ElemType::Bool => Data::Bool(values.into_iter().map(|x| x != 0).collect()),
        ElemType::F32 => Data::F32(values.into_iter().map(|x| x as f32).collect()),
        float => from_f64(values.into_iter().map(|x| x as f64).collect(), float),
    }
}

/// `Cast`: the same numbers as another element type.
pub(crate) fn cast(t: &Tensor, elem: ElemType) -> Tensor {
    let data = if t.elem() == elem {
        t.data.clone()
    } else if let Some(ints) = t.to_i64() {
        from_i64(ints, elem)
    } else if elem == ElemType::F32 {
        Data::F32(t.to_f32())
    } else {
        from_f64(to_f64(t), elem)
    };
    Tensor::new(t.dims.clone(), data)
}
