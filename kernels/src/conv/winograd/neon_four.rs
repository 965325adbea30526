//! Advanced SIMD of every aarch64 core, tiles of 4 x 4 outputs: eight channels at a time to transform.

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::{self, Halves};
use super::transform_four::{NINTH, input_line, output_line, shift, weights_line};
use super::{Form, Inputs, Isa, Outputs, Weights, neon_multiply, plan::Cost};
use crate::conv::micro::{KB_S8, NR};
use crate::cpu::Features;

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
            let to = a.to.add(k * 36 * NR);
            // Of each tap, every channel's first two inputs, then the others: there are not registers for all.
            macro_rules! pair {
                ($first:literal $take:path) => {
                    let mut pairs = [vdupq_n_s16(0); 9];
                    for tap in 0..9 {
                        let w = from.byte_add(tap * a.tap);
                        pairs[tap] = $take(vld1q_s16(w), vld1q_s16(w.add(8)));
                    }
                    apart(&mut pairs);
                    transform(pairs.map(|w| vshrq_n_s16::<8>(vshlq_n_s16::<8>(w))), to.add($first * NR));
                    apart(&mut pairs);
                    transform(pairs.map(|w| vshrq_n_s16::<8>(w)), to.add(($first + 1) * NR));
                };
            }
            pair!(0 vuzp1q_s16);
            pair!(2 vuzp2q_s16);
        }
    }
}

/// Keeps what is made of the weights of nine taps from being made earlier: there are not registers for more.
#[inline(always)] // Else they would go through memory.
fn apart([a, b, c, d, e, f, g, h, i]: &mut [int16x8_t; 9]) {
    // SAFETY: there is no instruction.
    unsafe {
        asm!(
            "/* {0:v} {1:v} {2:v} {3:v} {4:v} {5:v} {6:v} {7:v} {8:v} */",
            inout(vreg) * a,
            inout(vreg) * b,
            inout(vreg) * c,
            inout(vreg) * d,
            inout(vreg) * e,
            inout(vreg) * f,
            inout(vreg) * g,
            inout(vreg) * h,
            inout(vreg) * i,
            options(nostack, preserves_flags),
        );
    }
}

/// Transforms one input's weights of eight channels.
///
/// # Safety
/// The positions' weights can be written, from `to` on.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn transform(g: [int16x8_t; 9], to: *mut i16) {
    let mut half = [[g[0]; 3]; 6];
    for j in 0..3 {
        let column = [g[j], g[3 + j], g[6 + j]];
        let column = weights_line!(column, vaddq_s16, vsubq_s16, vshlq_n_s16::<2>);
        for i in 0..6 {
            half[i][j] = column[i];
        }
    }
    for (row, half) in half.into_iter().enumerate() {
        let line = weights_line!(half, vaddq_s16, vsubq_s16, vshlq_n_s16::<2>);
        for (column, u) in line.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { vst1q_s16(to.add((6 * row + column) * KB_S8 * NR), u) };
        }
    }
}

/// A line of sums on their way to results.
#[inline]
#[target_feature(enable = "neon")]
fn line(m: [int32x4_t; 6], six: int32x4_t) -> [int32x4_t; 4] {
    // Compilers that see it take sums apart, and need more instructions.
    let plus_six = |mut sum: int32x4_t, x: int32x4_t| {
        // SAFETY: an addition of products.
        unsafe {
            asm!(
                "mla {0:v}.4s, {1:v}.4s, {2:v}.4s",
                inout(vreg) sum,
                in(vreg) x,
                in(vreg) six,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sum
    };
    output_line!(m, vaddq_s32, vsubq_s32, vshlq_n_s32::<1>, vshlq_n_s32::<2>, plus_six)
}

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "neon")]
unsafe fn outputs(a: &mut Outputs<'_>) {
    let (ninth, six) = (vdupq_n_s32(NINTH), vdupq_n_s32(6));
    for part in [0, NR / 2] {
        // SAFETY: constants are there for whole panels.
        let (bias, halves) = unsafe { (vld1q_s32(a.bias.add(part)), Halves::new(a, part)) };
        for (tile, to) in a.results.as_chunks_mut::<2>().0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let mut half = [[ninth; 6]; 4];
            for j in 0..6 {
                // SAFETY: the sums that the structure describes.
                let at =
                    |i: usize| unsafe { vld1q_s32(a.sums.add(tile * NR + part + (6 * i + j) * a.stride)) };
                let column = [at(0), at(1), at(2), at(3), at(4), at(5)];
                let column = line(column, six);
                for i in 0..4 {
                    half[i][j] = column[i];
                }
            }
            macro_rules! row {
                ($i:literal) => {{
                    let [y0, y1, y2, y3] = line(half[$i], six);
                    [
                        [
                            vsraq_n_s32::<{ shift($i, 0) }>(bias, vmulq_s32(y0, ninth)),
                            vsraq_n_s32::<{ shift($i, 1) }>(bias, vmulq_s32(y1, ninth)),
                        ],
                        [
                            vsraq_n_s32::<{ shift($i, 2) }>(bias, vmulq_s32(y2, ninth)),
                            vsraq_n_s32::<{ shift($i, 3) }>(bias, vmulq_s32(y3, ninth)),
                        ],
                    ]
                }};
            }
            let [upper, lower] = to.as_chunks_mut::<4>().0 else { unreachable!("eight pairs of pixels") };
            // Two rows at a time: on an A53 one waits for the other.
            let ([a, b], [c, d]) = (row!(0), row!(1));
            halves.store([a, b, c, d], upper);
            let ([a, b], [c, d]) = (row!(2), row!(3));
            halves.store([a, b, c, d], lower);
        }
    }
}
