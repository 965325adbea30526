//! Advanced SIMD of every aarch64 core, tiles of 2 x 2 outputs: eight channels at a time to transform.

use std::arch::aarch64::*;

use super::{Form, Inputs, Isa, Outputs, Weights, neon_multiply, plan::Cost, transform};
use crate::conv::micro::{KB_S8, NR};
use crate::conv::s8::finish::{ANY, Added, Finish, Output};
use crate::cpu::Features;

/// For cores that reorder instructions; costs are a Cortex-A72's. Its direct kernels are at the limit of products of
/// bytes, so that this form has little to gain.
pub(super) const ISA: Isa = Isa {
    name: "conv_s8_winograd_neon",
    needs: Features::NEON,
    form: Form::TWO,
    inputs,
    weights,
    multiply: neon_multiply::multiply,
    outputs,
    cost: Cost {
        room: 128 << 10,
        input: 200.0,
        weights: 300.0,
        multiply: 0.25,
        at_once: 1,
        sums: 3.0,
        output: 220.0,
        direct: 0.127,
        finish: 9.0,
    },
};

/// For cores that do not; costs are a Cortex-A53's.
pub(super) const IN_ORDER: Isa = Isa {
    name: "conv_s8_winograd_neon_in_order",
    needs: Features::NEON.union(Features::IN_ORDER),
    cost: Cost {
        room: 128 << 10,
        input: 580.0,
        weights: 870.0,
        multiply: 0.3,
        at_once: 1,
        sums: 8.0,
        output: 640.0,
        direct: 0.25,
        finish: 25.0,
    },
    ..ISA
};

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn inputs(a: &Inputs<'_>) {
    for (tile, pixels) in a.tiles.as_chunks::<16>().0.iter().enumerate() {
        for k in (0..a.depth).step_by(8) {
            // SAFETY: 8 channels of each pixel can be read, and the tile's row has room for as many.
            unsafe {
                let mut d = [[vdupq_n_s16(0); 4]; 4];
                for i in 0..16 {
                    d[i / 4][i % 4] = vmovl_s8(vld1_s8(pixels[i].add(k).cast()));
                }
                let v = transform::input!(d, vaddq_s16, vsubq_s16);
                let to = a.to.add(tile * a.row + k);
                for (position, &v) in v.as_flattened().iter().enumerate() {
                    vst1q_s16(to.add(position * a.stride), v);
                }
            }
        }
    }
}

/// To `[depth / 4][position][4][NR]`, which [`neon_multiply`] takes.
///
/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn weights(a: &Weights) {
    for k in (0..a.depth).step_by(KB_S8) {
        // SAFETY: a panel is nine taps of at least `depth` inputs of eight channels; `to` has room for the
        // transformed ones.
        unsafe {
            let from = a.from.add(k * NR);
            let mut each = [[[vdupq_n_s16(0); 3]; 3]; KB_S8];
            for tap in 0..9 {
                let w = vld4_s8(from.add(tap * a.tap).cast());
                for (g, w) in each.iter_mut().zip([w.0, w.1, w.2, w.3]) {
                    g[tap / 3][tap % 3] = vmovl_s8(w);
                }
            }
            for (i, g) in each.into_iter().enumerate() {
                let u = transform::weights!(g, vaddq_s16, vsubq_s16);
                let to = a.to.add(k * 16 * NR + i * NR);
                for (position, &u) in u.as_flattened().iter().enumerate() {
                    vst1q_s16(to.add(position * KB_S8 * NR), u);
                }
            }
        }
    }
}

/// Makes results of half a panel's sums of pixels in pairs.
pub(super) struct Halves {
    finish: Finish<ANY>,
    added: Option<Added>,
    /// The first channel.
    half: usize,
}

impl Halves {
    /// For four channels from `half` on.
    ///
    /// # Safety
    /// As [`Isa`] asks.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn new(a: &Outputs<'_>, half: usize) -> Self {
        let output = Output { lo: a.lo, hi: a.hi, zero_point: a.zero_point };
        // SAFETY: multipliers are there for whole panels.
        let multiplier = unsafe { [vld1q_f32(a.multiplier.add(half)); 2] };
        let added = a.added.map(|added| Added { multiplier, constants: *added });
        Self { finish: Finish { multiplier, output }, added, half }
    }

    /// Results of as many pixels as there are vectors, in place of what is added to them.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn store<const M: usize>(&self, sums: [[int32x4_t; 2]; M], to: &mut [[[i8; NR]; 2]; M]) {
        let v = match &self.added {
            None => self.finish.results(sums),
            Some(added) => {
                let mut r = [vdup_n_s8(0); M];
                for (r, [left, right]) in r.iter_mut().zip(&*to) {
                    // SAFETY: four bytes of each.
                    unsafe {
                        let v = vld1_lane_u32::<0>(left.as_ptr().add(self.half).cast(), vdup_n_u32(0));
                        let v = vld1_lane_u32::<1>(right.as_ptr().add(self.half).cast(), v);
                        *r = vreinterpret_s8_u32(v);
                    }
                }
                added.results(sums, r)
            }
        };
        for (v, [left, right]) in v.into_iter().zip(to) {
            // SAFETY: likewise.
            unsafe {
                let v = vreinterpret_u32_s8(v);
                vst1_lane_u32::<0>(left.as_mut_ptr().add(self.half).cast(), v);
                vst1_lane_u32::<1>(right.as_mut_ptr().add(self.half).cast(), v);
            }
        }
    }
}

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn outputs(a: &mut Outputs<'_>) {
    for half in [0, NR / 2] {
        // SAFETY: constants are there for whole panels.
        let (bias, halves) = unsafe { (vld1q_s32(a.bias.add(half)), Halves::new(a, half)) };
        for (tile, to) in a.results.as_chunks_mut::<2>().0.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let mut m = [[vdupq_n_s32(0); 4]; 4];
            for i in 0..16 {
                // SAFETY: the sums that the structure describes.
                m[i / 4][i % 4] = unsafe { vld1q_s32(a.sums.add(tile * NR + half + i * a.stride)) };
            }
            let [[y0, y1], [y2, y3]] = transform::output!(m, vaddq_s32, vsubq_s32);
            let sum = |y| vsraq_n_s32::<2>(bias, y);
            halves.store([[sum(y0), sum(y1)], [sum(y2), sum(y3)]], to);
        }
    }
}
