//! Sums of f16 by half-precision additions (FEAT_FP16), where nothing follows them.
//!
//! The same bits as by f32 and rounding: f32 has 24 significant bits, which are twice the 11 of half and two more, so
//! that a sum that is rounded twice is what it is rounded once.

use std::arch::aarch64::*;

use cygnet_format::op::{Binary, BinaryKind, Epilogue};

use super::{Params, Row};
use crate::cpu::{Cpu, Features};
use crate::simd::LANES;

/// The row function of a step of f16, if it is such a sum, and its name.
pub(super) fn row(p: &Binary, cpu: Cpu) -> Option<(&'static str, Row)> {
    let suits = p.kind == BinaryKind::Add && p.epilogue == Epilogue::NONE;
    (suits && cpu.has(Features::NEON.union(Features::FP16))).then_some(("binary_add_f16_fp16", add))
}

/// # Safety
/// As [`Row`]; the processor has FEAT_FP16.
#[target_feature(enable = "neon,fp16")]
unsafe fn add(a: *const u8, b: *const u8, y: *mut u8, n: usize, steps: [bool; 2], _: &Params) {
    let (a, b, y) = (a.cast::<u16>(), b.cast::<u16>(), y.cast::<u16>());
    // An element for all is repeated on the stack and read from there every time.
    // SAFETY: each operand has at least one element.
    let (one_a, one_b) = unsafe { ([*a; LANES], [*b; LANES]) };
    let a = if steps[0] { a } else { one_a.as_ptr() };
    let b = if steps[1] { b } else { one_b.as_ptr() };
    let [step_a, step_b] = steps.map(usize::from);
    let whole = n - n % LANES;
    for i in (0..whole).step_by(LANES) {
        // SAFETY: the elements from i on are within n, or the operand is the array of one element.
        unsafe { eight(a.add(i * step_a), b.add(i * step_b), y.add(i)) };
    }
    let rest = n - whole;
    if rest > 0 {
        let (mut part_a, mut part_b, mut part_y) = ([0; LANES], [0; LANES], [0; LANES]);
        // SAFETY: `rest` elements are left in each operand and in the output; the arrays hold more.
        unsafe {
            std::ptr::copy_nonoverlapping(a.add(whole * step_a), part_a.as_mut_ptr(), rest);
            std::ptr::copy_nonoverlapping(b.add(whole * step_b), part_b.as_mut_ptr(), rest);
            eight(part_a.as_ptr(), part_b.as_ptr(), part_y.as_mut_ptr());
            std::ptr::copy_nonoverlapping(part_y.as_ptr(), y.add(whole), rest);
        }
    }
}

/// # Safety
/// Eight elements can be read from `a` and `b` and written to `y`.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn eight(a: *const u16, b: *const u16, y: *mut u16) {
    // SAFETY: the caller's promise.
    unsafe {
        let sum = vaddq_f16(vreinterpretq_f16_u16(vld1q_u16(a)), vreinterpretq_f16_u16(vld1q_u16(b)));
        vst1q_u16(y, vreinterpretq_u16_f16(sum));
    }
}
