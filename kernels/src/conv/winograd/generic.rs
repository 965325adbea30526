//! The portable row of tiles of 2 x 2 outputs.

use std::ops::{Add, Sub};

use super::{Form, GROUP, Inputs, Isa, Matrices, Outputs, Weights, plan::Cost, transform};
use crate::conv::micro::{KB_S8, NR};
use crate::conv::residual::Lanes;
use crate::conv::s8::requantize;
use crate::cpu::Features;
use crate::simd::{Scalar, V8};

pub(super) const ISA: Isa = Isa {
    name: "conv_s8_winograd_generic",
    needs: Features::NONE,
    form: Form::TWO,
    inputs,
    weights,
    multiply,
    outputs,
    cost: Cost {
        room: 128 << 10,
        input: 1000.0,
        weights: 1500.0,
        multiply: 1.5,
        at_once: 1,
        sums: 30.0,
        output: 1000.0,
        direct: 4.0,
        finish: 200.0,
    },
};

/// # Safety
/// As [`Isa`] asks.
unsafe fn inputs(a: &Inputs<'_>) {
    for (tile, pixels) in a.tiles.as_chunks::<16>().0.iter().enumerate() {
        for k in 0..a.depth {
            // SAFETY: `depth` channels of each pixel can be read, and the tile's row has room for as many.
            unsafe {
                let d: [[i16; 4]; 4] = std::array::from_fn(|i| {
                    std::array::from_fn(|j| i16::from(*pixels[4 * i + j].add(k).cast::<i8>()))
                });
                let v = transform::input!(d, i16::add, i16::sub);
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
                    let u = transform::weights!(g, i16::add, i16::sub);
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
pub(super) unsafe fn multiply(a: &Matrices) {
    for position in 0..a.form.positions() {
        for tile in a.having(position) {
            for panel in 0..a.panels {
                // SAFETY: the elements that the structure describes.
                unsafe {
                    let x = a.inputs.add(position * a.input_stride + tile * a.row);
                    let w = a.weights.add(position * a.weight_stride + panel * NR);
                    let to =
                        a.sums.add(position * a.sum_stride + (tile * GROUP + panel) * NR).cast::<[i32; NR]>();
                    let mut sums = if a.add { *to } else { [0; NR] };
                    for k in 0..a.depth {
                        let (x, w) = (*x.add(k), *w.add(k * a.panels * NR).cast::<[i16; NR]>());
                        for (s, w) in sums.iter_mut().zip(w) {
                            *s = s.wrapping_add(i32::from(x) * i32::from(w));
                        }
                    }
                    *to = sums;
                }
            }
        }
    }
}

/// Makes results of a panel's exact sums of a pixel, in place of what is added to them.
///
/// # Safety
/// As [`Isa`] asks.
pub(super) unsafe fn finish(a: &Outputs<'_>, sums: [i32; NR], to: &mut [i8; NR]) {
    // SAFETY: a register of each.
    unsafe {
        if let Some(added) = a.added {
            let multiplier = V8::load(a.multiplier);
            let to = to.as_mut_ptr();
            return Lanes::<Scalar>::of(added).results(sums.as_ptr(), multiplier, to, to.cast());
        }
        for (c, (to, sum)) in to.iter_mut().zip(sums).enumerate() {
            let multiplier = a.multiplier.add(c).read_unaligned();
            *to = requantize(sum, multiplier, a.lo, a.hi, a.zero_point);
        }
    }
}

/// # Safety
/// As [`Isa`] asks.
unsafe fn outputs(a: &mut Outputs<'_>) {
    let results = std::mem::take(&mut a.results);
    for (tile, pixels) in results.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let mut sums = [[0; NR]; 4];
        for c in 0..NR {
            // SAFETY: the sums and constants that the structure describes.
            unsafe {
                let from = a.sums.add(tile * GROUP * NR + c);
                let m: [[i32; 4]; 4] =
                    std::array::from_fn(|i| std::array::from_fn(|j| *from.add((4 * i + j) * a.stride)));
                let y = transform::output!(m, i32::wrapping_add, i32::wrapping_sub);
                let bias = a.bias.add(c).read_unaligned();
                for (sums, &y) in sums.iter_mut().zip(y.as_flattened()) {
                    sums[c] = (y >> 2).wrapping_add(bias);
                }
            }
        }
        for (to, sums) in pixels.iter_mut().zip(sums) {
            // SAFETY: the caller's promise.
            unsafe { finish(a, sums, to) };
        }
    }
}
