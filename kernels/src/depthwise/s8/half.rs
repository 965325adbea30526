//! Half a group of channels, by strips of Advanced SIMD: what stays the same for eight channels of a strip.

use std::arch::aarch64::*;

use super::Strip;
use crate::conv::s8::finish::{Finish, Mode, Output, again, start};

/// Eight channels of a strip.
#[derive(Clone, Copy)]
pub(super) struct Half<const MODE: Mode> {
    /// A copy, which no store to outputs can be taken to change.
    pub s: Strip,
    pub finish: Finish<MODE>,
    /// The eight numbers that sums start at.
    pub start: *const i32,
}

impl Strip {
    /// What results are made for.
    pub(super) fn output(&self) -> Output {
        Output { lo: self.lo, hi: self.hi, zero_point: self.zero_point }
    }
}

impl<const MODE: Mode> Half<MODE> {
    /// The channels from `half` on, 0 or 8; what sums start at is written to `start`.
    ///
    /// # Safety
    /// As [`crate::depthwise::strip::Micro`].
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn new(s: &Strip, half: usize, begin: &mut [i32; 8]) -> Self {
        // SAFETY: the group has sixteen biases and multipliers.
        unsafe {
            let bias = s.bias.cast::<i32>().add(half);
            vst1q_s32(begin.as_mut_ptr(), start::<MODE>(vld1q_s32(bias)));
            vst1q_s32(begin.as_mut_ptr().add(4), start::<MODE>(vld1q_s32(bias.add(4))));
            Self { s: *s, finish: Finish::new(s.output(), s.multiplier.add(half)), start: begin.as_ptr() }
        }
    }

    /// What an output's sums start at.
    ///
    /// # Safety
    /// `start` is still there.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn start(&self) -> [int32x4_t; 2] {
        // SAFETY: there are eight numbers.
        unsafe { [again(self.start), again(self.start.add(4))] }
    }
}
