//! Advanced SIMD.

use super::pixel::{Line, weighted};
use crate::lanes::neon::Quads;

#[target_feature(enable = "neon")]
pub(super) unsafe fn f32(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Quads, f32>(line) }
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn f16(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Quads, half::f16>(line) }
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn s8(line: &Line<'_>) {
    // SAFETY: the contract of `Run`; this function has the instruction set.
    unsafe { weighted::<Quads, i8>(line) }
}
