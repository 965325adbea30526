//! The portable row of tiles of 4 x 4 outputs.

use super::transform_four::{NINTH, input, output, shift, weights as transform_weights};
use super::{Form, GROUP, Inputs, Isa, Outputs, Weights, generic, plan::Cost};
use crate::conv::micro::{KB_S8, NR};
use crate::cpu::Features;

pub(super) const ISA: Isa = Isa {
    name: "conv_s8_winograd_4x4_generic",
    needs: Features::NONE,
    form: Form::FOUR,
    inputs,
    weights,
    multiply: generic::multiply,
    outputs,
    cost: Cost {
        room: 192 << 10,
        input: 4000.0,
        weights: 5000.0,
        multiply: 1.5,
        at_once: 1,
        sums: 30.0,
        output: 4000.0,
        direct: 4.0,
        finish: 200.0,
    },
};

fn four(x: i16) -> i16 {
    x.wrapping_mul(4)
}

fn double(x: i32) -> i32 {
    x.wrapping_mul(2)
}

fn four_sums(x: i32) -> i32 {
    x.wrapping_mul(4)
}

fn plus_six(sum: i32, x: i32) -> i32 {
    sum.wrapping_add(x.wrapping_mul(6))
}

/// # Safety
/// As [`Isa`] asks.
unsafe fn inputs(a: &Inputs<'_>) {
    for (tile, pixels) in a.tiles.as_chunks::<36>().0.iter().enumerate() {
        for k in 0..a.depth {
            // SAFETY: `depth` channels of each pixel can be read, and the tile's row has room for as many.
            unsafe {
                let d: [[i16; 6]; 6] = std::array::from_fn(|i| {
                    std::array::from_fn(|j| i16::from(*pixels[6 * i + j].add(k).cast::<i8>()))
                });
                let v = input!(d, i16::wrapping_add, i16::wrapping_sub, four);
                for (position, v) in v.as_flattened().iter().enumerate() {
                    *a.to.add(position * a.stride + tile * a.row + k) = *v;
                }
            }
        }
    }
}

/// To `[position][depth][panel][NR]`.
///
/// # Safety
/// As [`Isa`] asks.
unsafe fn weights(a: &Weights) {
    for panel in 0..a.panels {
        for k in 0..a.depth {
            for c in 0..NR {
                let within = (k / KB_S8 * NR + c) * KB_S8 + k % KB_S8;
                // SAFETY: a panel is nine taps of at least `depth` inputs of eight channels.
                unsafe {
                    let from = a.from.add(panel * 9 * a.tap + within);
                    let g: [[i16; 3]; 3] = std::array::from_fn(|i| {
                        std::array::from_fn(|j| i16::from(*from.add((3 * i + j) * a.tap).cast::<i8>()))
                    });
                    let u = transform_weights!(g, i16::wrapping_add, i16::wrapping_sub, four);
                    for (position, u) in u.as_flattened().iter().enumerate() {
                        *a.to.add(position * a.stride + (k * a.panels + panel) * NR + c) = *u;
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`Isa`] asks.
unsafe fn outputs(a: &mut Outputs<'_>) {
    let results = std::mem::take(&mut a.results);
    for (tile, pixels) in results.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let mut sums = [[0; NR]; 16];
        for c in 0..NR {
            // SAFETY: the sums and constants that the structure describes.
            unsafe {
                let from = a.sums.add(tile * GROUP * NR + c);
                let m: [[i32; 6]; 6] =
                    std::array::from_fn(|i| std::array::from_fn(|j| *from.add((6 * i + j) * a.stride)));
                let y = output!(m, i32::wrapping_add, i32::wrapping_sub, double, four_sums, plus_six);
                let bias = a.bias.add(c).read_unaligned();
                for (k, sums) in sums.iter_mut().enumerate() {
                    let sum = y[k / 4][k % 4].wrapping_mul(NINTH) >> shift(k / 4, k % 4);
                    sums[c] = sum.wrapping_add(bias);
                }
            }
        }
        for (to, sums) in pixels.iter_mut().zip(sums) {
            // SAFETY: the caller's promise.
            unsafe { generic::finish(a, sums, to) };
        }
    }
}
