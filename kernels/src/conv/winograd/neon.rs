//! Advanced SIMD of every aarch64 core, tiles of 2 x 2 outputs: eight channels at a time to transform.

use std::arch::aarch64::*;

use super::{Form, Inputs, Isa, Outputs, Weights, neon_multiply, plan::Cost, transform};
use crate::conv::micro::{KB_S8, NR};
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

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn outputs(a: &mut Outputs<'_>) {
    let zero = a.zero_point as f32;
    let (lo, hi) = (vdupq_n_f32(a.lo - zero), vdupq_n_f32(a.hi - zero));
    let zero = vdupq_n_s32(a.zero_point);
    for half in [0, NR / 2] {
        // SAFETY: constants are there for whole panels.
        let bias = unsafe { vld1q_s32(a.bias.add(half)) };
        let multiplier = if a.multiplier.is_null() {
            vdupq_n_f32(0.0)
        } else {
            // SAFETY: likewise.
            unsafe { vld1q_f32(a.multiplier.add(half)) }
        };
        // As `crate::conv::s8::requantize` does.
        let requantize = |sum: int32x4_t| {
            let v = vmulq_f32(vcvtq_f32_s32(vsraq_n_s32::<2>(bias, sum)), multiplier);
            vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(vminq_f32(vmaxq_f32(v, lo), hi)), zero))
        };
        for (tile, to) in a.results.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            // SAFETY: the sums that the structure describes; four of a pixel's eight bytes.
            unsafe {
                let from = a.sums.add(tile * NR + half);
                let mut m = [[vdupq_n_s32(0); 4]; 4];
                for i in 0..16 {
                    m[i / 4][i % 4] = vld1q_s32(from.add(i * a.stride));
                }
                let y = transform::output!(m, vaddq_s32, vsubq_s32);
                if let Some(exact) = &mut a.exact {
                    for (y, to) in y.as_flattened().iter().zip(&mut exact[4 * tile..]) {
                        vst1q_s32(to.as_mut_ptr().add(half), vsraq_n_s32::<2>(bias, *y));
                    }
                    continue;
                }
                for (to, [left, right]) in to.as_chunks_mut().0.iter_mut().zip(y) {
                    let both = vcombine_s16(requantize(left), requantize(right));
                    let bytes = vreinterpret_u32_s8(vqmovn_s16(both));
                    let [left, right]: &mut [[i8; NR]; 2] = to;
                    let store = |to: &mut [i8; NR], v: u32| {
                        to.as_mut_ptr().add(half).cast::<u32>().write_unaligned(v);
                    };
                    store(left, vget_lane_u32::<0>(bytes));
                    store(right, vget_lane_u32::<1>(bytes));
                }
            }
        }
    }
}
