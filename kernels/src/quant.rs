//! What s8 kernels check about scales, zero points and bounds, so that their f32 expressions stay finite.

use cygnet_format::op::{Epilogue, UnaryKind};
use cygnet_format::program::{DType, Quant};

use crate::kernel::{Context, PrepareError};
use crate::view::View;

/// Factors and scales lie within this of zero: products with 9-bit integers and sums of them stay finite.
const LARGEST: f32 = 1e30;

/// The zero point of a tensor, 0 when it is not quantized, after checking that it and the scale are in range.
pub(crate) fn zero_point(cx: &Context<'_>, v: &View) -> Result<i32, PrepareError> {
    let Some(Quant { scale, zero_point }) = v.quant else { return Ok(0) };
    let range = match v.dtype {
        DType::S8 => -128..=127,
        DType::U8 => 0..=255,
        _ => 0..=0,
    };
    cx.ensure(range.contains(&zero_point), || {
        format!("zero point {zero_point} of a {} tensor is not in {range:?}", v.dtype.name())
    })?;
    cx.ensure(scale > 0.0 && scale <= LARGEST, || format!("scale {scale} is not in (0, {LARGEST:e}]"))?;
    Ok(zero_point)
}

/// Scale and zero point of a tensor that must be quantized.
pub(crate) fn required(cx: &Context<'_>, v: &View, what: &str) -> Result<Quant, PrepareError> {
    let quant = v.quant.ok_or_else(|| cx.error(format!("{what} is {} without a scale", v.dtype.name())))?;
    zero_point(cx, v)?;
    Ok(quant)
}

/// Checks that a factor is finite and moderate.
pub(crate) fn factor(cx: &Context<'_>, value: f32, what: &str) -> Result<(), PrepareError> {
    cx.ensure(value.abs() <= LARGEST, || format!("{what} = {value} is not within {LARGEST:e} of zero"))
}

/// The bounds of an s8 epilogue less the zero point, as rounding is done before the zero point is added.
pub(crate) fn bounds(cx: &Context<'_>, e: &Epilogue, zero: i32) -> Result<(f32, f32), PrepareError> {
    cx.ensure(e.unary.kind == UnaryKind::Identity, || {
        "a function of an s8 result must be a table".to_owned()
    })?;
    let is_byte = |x: f32| x.round() == x && (-128.0..=127.0).contains(&x);
    cx.ensure(is_byte(e.lo) && is_byte(e.hi) && e.lo <= e.hi, || {
        format!("bounds {} to {} of an s8 result must be integers in -128 to 127", e.lo, e.hi)
    })?;
    Ok((e.lo - zero as f32, e.hi - zero as f32))
}
