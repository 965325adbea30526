//! AVX2, FMA and F16C.

use super::pixel::{Line, weighted};
use crate::lanes::avx2::Ymm;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn f32(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Ymm, f32>(line) }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn f16(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Ymm, half::f16>(line) }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn s8(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Ymm, i8>(line) }
}
