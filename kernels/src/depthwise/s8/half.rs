//! Half a group of channels, by strips of Advanced SIMD: what stays the same for eight channels of a strip.

use std::arch::aarch64::*;

use super::Strip;
use crate::conv::s8::finish::{Finish, Mode, Output, again, start};

/// Eight channels of a strip.
pub(super) struct Half<'a, const MODE: Mode> {
    pub s: &'a Strip,
    pub finish: Finish<MODE>,
    /// What sums start at.
    start: [i32; 8],
}

impl Strip {
    /// What results are made for.
    pub(super) fn output(&self) -> Output {
        Output { lo: self.lo, hi: self.hi, zero_point: self.zero_point }
    }
}

impl<'a, const MODE: Mode> Half<'a, MODE> {
    /// The channels from `half` on, 0 or 8.
    ///
    /// # Safety
    /// As [`crate::depthwise::strip::Micro`].
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn new(s: &'a Strip, half: usize) -> Self {
        let mut begin = [0; 8];
        // SAFETY: the group has sixteen biases and multipliers.
        unsafe {
            let bias = s.bias.cast::<i32>().add(half);
            vst1q_s32(begin.as_mut_ptr(), start::<MODE>(vld1q_s32(bias)));
            vst1q_s32(begin.as_mut_ptr().add(4), start::<MODE>(vld1q_s32(bias.add(4))));
            Self { s, finish: Finish::new(s.output(), s.multiplier.add(half)), start: begin }
        }
    }

    /// What an output's sums start at.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn start(&self) -> [int32x4_t; 2] {
        // SAFETY: there are eight numbers.
        unsafe { [again(self.start.as_ptr()), again(self.start.as_ptr().add(4))] }
    }
}
