//! Advanced SIMD of every aarch64 core, tiles of 4 x 4 outputs: eight channels at a time to transform.

use std::arch::aarch64::*;

use super::transform_four::{NINTH, input_line, output_line, shift, weights_line};
use super::{Form, Inputs, Isa, Outputs, Weights, neon, neon_multiply, plan::Cost};
use crate::conv::micro::{KB_S8, NR};
use crate::conv::s8::finish::{ANY, Finish, Output};
use crate::cpu::Features;

/// Multipliers where sums are wanted.
const NONE: [f32; NR] = [0.0; NR];

/// For cores that reorder instructions; costs are a Cortex-A72's.
pub(super) const ISA: Isa = Isa {
    name: "conv_s8_winograd_4x4_neon",
    needs: Features::NEON,
    form: Form::FOUR,
    inputs,
    weights,
    multiply: neon_multiply::multiply,
    outputs,
    cost: Cost { room: 256 << 10, input: 410.0, weights: 385.0, output: 470.0, ..neon::ISA.cost },
};

/// For cores that do not; costs are a Cortex-A53's.
pub(super) const IN_ORDER: Isa = Isa {
    name: "conv_s8_winograd_4x4_neon_in_order",
    needs: Features::NEON.union(Features::IN_ORDER),
    cost: Cost { room: 192 << 10, input: 700.0, weights: 500.0, output: 850.0, ..neon::IN_ORDER.cost },
    ..ISA
};

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn inputs(a: &Inputs<'_>) {
    for (tile, pixels) in a.tiles.as_chunks::<36>().0.iter().enumerate() {
        for k in (0..a.depth).step_by(8) {
            // SAFETY: 8 channels of each pixel can be read, and the tile's row has room for as many.
            unsafe {
                // Column by column, then row by row: there are not registers for all.
                let mut half = [[vdupq_n_s16(0); 6]; 6];
                for j in 0..6 {
                    let at = |i: usize| vmovl_s8(vld1_s8(pixels[6 * i + j].add(k).cast()));
                    let column = [at(0), at(1), at(2), at(3), at(4), at(5)];
                    let column = input_line!(column, vaddq_s16, vsubq_s16, vshlq_n_s16::<2>);
                    for i in 0..6 {
                        half[i][j] = column[i];
                    }
                }
                let mut to = a.to.add(tile * a.row + k);
                for row in half {
                    for v in input_line!(row, vaddq_s16, vsubq_s16, vshlq_n_s16::<2>) {
                        vst1q_s16(to, v);
                        to = to.add(a.stride);
                    }
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
        // SAFETY: a panel is nine taps of at least `depth` inputs of eight channels; `to` has room for the transformed
        // ones.
        unsafe {
            let from = a.from.add(k * NR).cast::<i16>();
            // Of each tap, every channel's first two inputs, and the others.
            let mut pairs = [[vdupq_n_s16(0); 9]; 2];
            for tap in 0..9 {
                let w = vld2q_s16(from.byte_add(tap * a.tap));
                (pairs[0][tap], pairs[1][tap]) = (w.0, w.1);
            }
            for i in 0..KB_S8 {
                let pairs = &pairs[i / 2];
                let at = |tap: usize| {
                    // The lower byte, or the upper one.
                    let w = if i % 2 == 0 { vshlq_n_s16::<8>(pairs[tap]) } else { pairs[tap] };
                    vshrq_n_s16::<8>(w)
                };
                let mut half = [[vdupq_n_s16(0); 3]; 6];
                for j in 0..3 {
                    let column = [at(j), at(3 + j), at(6 + j)];
                    let column = weights_line!(column, vaddq_s16, vsubq_s16, vshlq_n_s16::<2>);
                    for i in 0..6 {
                        half[i][j] = column[i];
                    }
                }
                let to = a.to.add(k * 36 * NR + i * NR);
                for (row, half) in half.into_iter().enumerate() {
                    let line = weights_line!(half, vaddq_s16, vsubq_s16, vshlq_n_s16::<2>);
                    for (column, u) in line.into_iter().enumerate() {
                        vst1q_s16(to.add((6 * row + column) * KB_S8 * NR), u);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn outputs(a: &mut Outputs<'_>) {
    // SAFETY: constants are there for whole panels.
    let (bias, finish) = unsafe {
        let output = Output { lo: a.lo, hi: a.hi, zero_point: a.zero_point };
        let multiplier = if a.multiplier.is_null() { NONE.as_ptr() } else { a.multiplier };
        ([vld1q_s32(a.bias), vld1q_s32(a.bias.add(4))], Finish::<ANY>::new(output, multiplier))
    };
    let ninth = vdupq_n_s32(NINTH);
    for (tile, to) in a.results.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let mut sums = [[ninth; 2]; 16];
        for part in 0..2 {
            let mut half = [[ninth; 6]; 4];
            for j in 0..6 {
                // SAFETY: the sums that the structure describes.
                let at = |i: usize| unsafe {
                    vld1q_s32(a.sums.add(tile * NR + 4 * part + (6 * i + j) * a.stride))
                };
                let column = [at(0), at(1), at(2), at(3), at(4), at(5)];
                let column = output_line!(column, vaddq_s32, vsubq_s32);
                for i in 0..4 {
                    half[i][j] = column[i];
                }
            }
            macro_rules! rows {
                ($($i:literal)+) => {$(
                    let [y0, y1, y2, y3] = output_line!(half[$i], vaddq_s32, vsubq_s32);
                    let at = 4 * $i;
                    sums[at][part] = vsraq_n_s32::<{ shift($i, 0) }>(bias[part], vmulq_s32(y0, ninth));
                    sums[at + 1][part] = vsraq_n_s32::<{ shift($i, 1) }>(bias[part], vmulq_s32(y1, ninth));
                    sums[at + 2][part] = vsraq_n_s32::<{ shift($i, 2) }>(bias[part], vmulq_s32(y2, ninth));
                    sums[at + 3][part] = vsraq_n_s32::<{ shift($i, 3) }>(bias[part], vmulq_s32(y3, ninth));
                )+};
            }
            rows!(0 1 2 3);
        }
        if let Some(exact) = &mut a.exact {
            for (sums, to) in sums.iter().zip(&mut exact[16 * tile..]) {
                // SAFETY: a pixel's eight sums.
                unsafe {
                    vst1q_s32(to.as_mut_ptr(), sums[0]);
                    vst1q_s32(to.as_mut_ptr().add(4), sums[1]);
                }
            }
            continue;
        }
        for (sums, to) in sums.as_chunks::<4>().0.iter().zip(to.as_chunks_mut::<4>().0) {
            for (to, v) in to.iter_mut().zip(finish.results(*sums)) {
                // SAFETY: a pixel's eight bytes.
                unsafe { vst1_s8(to.as_mut_ptr(), v) };
            }
        }
    }
}
