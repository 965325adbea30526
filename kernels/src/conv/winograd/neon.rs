//! Advanced SIMD of every aarch64 core: eight channels at a time to transform, four tiles times two panels at a time to
//! multiply, by SMLAL with an input as its lane.

use std::arch::aarch64::*;

use super::{GROUP, Inputs, Isa, Matrices, Outputs, POSITIONS, Weights, plan::Cost, transform};
use crate::conv::micro::{KB_S8, NR};
use crate::cpu::Features;

/// Tiles multiplied at once.
const MR: usize = 4;

/// For cores that reorder instructions; costs are a Cortex-A72's. Its direct kernels are at the limit of products of
/// bytes, so that there is little to gain.
pub(super) const ISA: Isa = Isa {
    name: "conv_s8_winograd_neon",
    needs: Features::NEON,
    inputs,
    weights,
    multiply,
    outputs,
    cost: Cost {
        room: 128 << 10,
        input: 200.0,
        weights: 300.0,
        multiply: 0.26,
        sums: 4.0,
        output: 220.0,
        direct: 0.127,
        finish: 20.0,
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
        multiply: 0.34,
        sums: 12.0,
        output: 640.0,
        direct: 0.3,
        finish: 60.0,
    },
    ..ISA
};

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn inputs(a: &Inputs<'_>) {
    for (tile, pixels) in a.tiles.iter().enumerate() {
        for k in (0..a.depth).step_by(8) {
            // SAFETY: 8 channels of each pixel can be read, and the tile's row has room for as many.
            unsafe {
                let mut d = [[vdupq_n_s16(0); 4]; 4];
                for i in 0..POSITIONS {
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

/// To `[position][depth][panel][NR]`.
///
/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn weights(a: &Weights) {
    for panel in 0..a.panels {
        for k in (0..a.depth).step_by(KB_S8) {
            // SAFETY: a panel is nine taps of at least `depth` inputs of eight channels; `to` has room for the
            // transformed ones.
            unsafe {
                let from = a.from.add(panel * 9 * a.tap + k * NR);
                let mut each = [[[vdupq_n_s16(0); 3]; 3]; KB_S8];
                for tap in 0..9 {
                    let w = vld4_s8(from.add(tap * a.tap).cast());
                    for (g, w) in each.iter_mut().zip([w.0, w.1, w.2, w.3]) {
                        g[tap / 3][tap % 3] = vmovl_s8(w);
                    }
                }
                for (i, g) in each.into_iter().enumerate() {
                    let u = transform::weights!(g, vaddq_s16, vsubq_s16);
                    let to = a.to.add(((k + i) * a.panels + panel) * NR);
                    for (position, &u) in u.as_flattened().iter().enumerate() {
                        vst1q_s16(to.add(position * a.stride), u);
                    }
                }
            }
        }
    }
}

/// R tiles from `tile` on times P panels, at one position.
///
/// # Safety
/// As [`Isa`] asks, `a.panels` being P; the tiles are among `a.tiles`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn block<const R: usize, const P: usize>(a: &Matrices, position: usize, tile: usize) {
    // SAFETY: the elements that the structure describes.
    unsafe {
        let mut x: [_; R] =
            std::array::from_fn(|r| a.inputs.add(position * a.input_stride + (tile + r) * a.row));
        let mut w = a.weights.add(position * a.weight_stride);
        let to = a.sums.add(position * a.sum_stride + tile * GROUP * NR);
        let mut sums = [[[vdupq_n_s32(0); 2]; P]; R];
        for _ in (0..a.depth).step_by(KB_S8) {
            // All loads first: cores that run in order wait once.
            let mut inputs = [vdup_n_s16(0); R];
            for r in 0..R {
                inputs[r] = vld1_s16(x[r]);
            }
            let mut weights = [[vdupq_n_s16(0); P]; KB_S8];
            for k in 0..KB_S8 {
                for p in 0..P {
                    weights[k][p] = vld1q_s16(w.add((k * P + p) * NR));
                }
            }
            macro_rules! each {
                ($($k:literal)+) => {$(
                    for p in 0..P {
                        for r in 0..R {
                            let (sum, w) = (&mut sums[r][p], weights[$k][p]);
                            sum[0] = vmlal_lane_s16::<$k>(sum[0], vget_low_s16(w), inputs[r]);
                            sum[1] = vmlal_high_lane_s16::<$k>(sum[1], w, inputs[r]);
                        }
                    }
                )+};
            }
            each!(0 1 2 3);
            for x in &mut x {
                *x = x.add(KB_S8);
            }
            w = w.add(KB_S8 * P * NR);
        }
        for r in 0..R {
            for p in 0..P {
                for (half, &sum) in sums[r][p].iter().enumerate() {
                    let to = to.add((r * GROUP + p) * NR + 4 * half);
                    vst1q_s32(to, if a.add { vaddq_s32(sum, vld1q_s32(to)) } else { sum });
                }
            }
        }
    }
}

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn multiply(a: &Matrices) {
    // SAFETY: the caller's promise.
    unsafe {
        match a.panels {
            1 => positions::<1>(a),
            _ => positions::<2>(a),
        }
    }
}

/// # Safety
/// As [`Isa`] asks, `a.panels` being P.
#[target_feature(enable = "neon")]
unsafe fn positions<const P: usize>(a: &Matrices) {
    for position in 0..POSITIONS {
        for tile in (0..a.tiles).step_by(MR) {
            // SAFETY: the caller's promise; no more tiles than there are.
            unsafe {
                match a.tiles - tile {
                    1 => block::<1, P>(a, position, tile),
                    2 => block::<2, P>(a, position, tile),
                    3 => block::<3, P>(a, position, tile),
                    _ => block::<MR, P>(a, position, tile),
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
        let (bias, multiplier) = unsafe { (vld1q_s32(a.bias.add(half)), vld1q_f32(a.multiplier.add(half))) };
        // As `crate::conv::s8::requantize` does.
        let requantize = |sum: int32x4_t| {
            let v = vmulq_f32(vcvtq_f32_s32(vsraq_n_s32::<2>(bias, sum)), multiplier);
            vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(vminq_f32(vmaxq_f32(v, lo), hi)), zero))
        };
        for (tile, to) in a.results.iter_mut().enumerate() {
            // SAFETY: the sums that the structure describes; four of a pixel's eight bytes.
            unsafe {
                let from = a.sums.add(tile * GROUP * NR + half);
                let mut m = [[vdupq_n_s32(0); 4]; 4];
                for i in 0..POSITIONS {
                    m[i / 4][i % 4] = vld1q_s32(from.add(i * a.stride));
                }
                let y = transform::output!(m, vaddq_s32, vsubq_s32);
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
