//! AVX-512.

use super::pixel::{Line, weighted};
use crate::lanes::avx512::Zmm;

#[target_feature(enable = "avx512f,avx2,fma,f16c")]
pub(super) unsafe fn f32(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Zmm, f32>(line) }
}

#[target_feature(enable = "avx512f,avx2,fma,f16c")]
pub(super) unsafe fn f16(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Zmm, half::f16>(line) }
}

#[target_feature(enable = "avx512f,avx2,fma,f16c")]
pub(super) unsafe fn s8(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Zmm, i8>(line) }
}
