//! f16 by strips in half precision (FEAT_FP16): eight channels of up to eight output columns.
//!
//! The products of an output are summed in half by fused multiply-add, tap after tap, from zero; then the bias, rounded
//! to half, is added and the sum clamped, in half too. With u = 2^-11 and K taps a result is within
//! `K u / (1 - K u)` times the sum of the magnitudes of its products, plus 2^-25 for each of them, plus u relative to
//! the bias and to the sum, as long as the magnitudes do not sum to more than half can hold (65504).

use std::arch::aarch64::*;

use super::patch;
use super::strip::{Choice, Micro, Strip, Window};
use crate::cpu::{Cpu, Features};

/// Channels at once.
const LANES: usize = 8;

/// The implementation of a window, where the processor computes in half.
pub(super) fn choose(cpu: Cpu, window: Window) -> Option<Choice> {
    macro_rules! named {
        ($k:literal, $s:literal, $most:literal) => {
            (
                concat!("depthwise_f16_", $k, "x", $k, "s", $s, "_fp16"),
                run::<$k, $s, false, $most> as Micro,
                run::<$k, $s, true, $most> as Micro,
            )
        };
    }
    // Sums take as many registers as hide the latency of additions, where the weights leave them.
    let (name, run, by_table) = match (window.taps, window.stride) {
        (3, 1) => named!(3, 1, 8),
        (3, _) => named!(3, 2, 8),
        (_, 1) => named!(5, 1, 4),
        _ => named!(5, 2, 4),
    };
    cpu.has(Features::NEON.union(Features::FP16)).then_some(Choice {
        name,
        run,
        lanes: LANES,
        step: LANES,
        copy: patch::plain::<16>,
        unit: 16,
        direct: true,
        by_table: Some(by_table),
    })
}

/// All that stays the same within a strip.
struct Group<'a, const K: usize> {
    s: &'a Strip,
    w: [[float16x8_t; K]; K],
    bias: float16x8_t,
    lo: float16x8_t,
    hi: float16x8_t,
}

/// # Safety
/// `p` is valid for reads of eight elements.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn load(p: *const u8) -> float16x8_t {
    // SAFETY: the caller's promise.
    vreinterpretq_f16_u16(unsafe { vld1q_u16(p.cast()) })
}

/// # Safety
/// As [`Micro`].
#[target_feature(enable = "neon,fp16")]
unsafe fn run<const K: usize, const S: usize, const TABLE: bool, const MOST: usize>(s: &Strip) {
    let splat = |v: f32| {
        let v = vcvt_f16_f32(vdupq_n_f32(v));
        vcombine_f16(v, v)
    };
    let zero = splat(0.0);
    // SAFETY: the caller's promise: weights and biases are there for the group; every output is stepped to once, and its
    // input is there.
    unsafe {
        let bias = s.bias.cast::<f32>();
        let bias = vcvt_high_f16_f32(vcvt_f16_f32(vld1q_f32(bias)), vld1q_f32(bias.add(4)));
        let mut g = Group { s, w: [[zero; K]; K], bias, lo: splat(s.lo), hi: splat(s.hi) };
        for i in 0..K {
            for j in 0..K {
                g.w[i][j] = load(s.w.add((i * K + j) * s.w_tap));
            }
        }
        for row in 0..s.rows {
            let mut x = s.x.at.add(row * S * s.x.row);
            let mut y = s.y.at.add(row * s.y.row);
            let mut left = s.columns;
            macro_rules! columns {
                ($($p:literal)+) => {$(
                    while $p <= MOST && left >= $p {
                        pixels::<K, S, TABLE, $p>(&g, x, y);
                        x = x.wrapping_add($p * S * s.x.pixel);
                        y = y.wrapping_add($p * s.y.pixel);
                        left -= $p;
                    }
                )+};
            }
            columns!(8 4 2 1);
        }
    }
}

/// P outputs of a row: `x` is under the first one's tap (0, 0).
///
/// # Safety
/// As [`Micro`].
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn pixels<const K: usize, const S: usize, const TABLE: bool, const P: usize>(
    g: &Group<'_, K>,
    x: *const u8,
    y: *mut u8,
) {
    let s = g.s;
    let mut sums = [vreinterpretq_f16_u16(vdupq_n_u16(0)); P];
    unroll!(i in 0 1 2 3 4 {
        if i < K {
            unroll!(c in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 {
                if c < (P - 1) * S + K {
                    // SAFETY: row and column are those of the outputs' windows.
                    let v = unsafe {
                        let x = x.add(i * s.x.row + c * s.x.pixel);
                        load(if TABLE { x.cast::<*const u8>().read().add(s.offset) } else { x })
                    };
                    for p in 0..P {
                        if (p * S..p * S + K).contains(&c) {
                            sums[p] = vfmaq_f16(sums[p], v, g.w[i][c - p * S]);
                        }
                    }
                }
            });
        }
    });
    unroll!(p in 0 1 2 3 4 5 6 7 {
        if p < P {
            // NaN stays.
            let v = vminq_f16(vmaxq_f16(vaddq_f16(sums[p], g.bias), g.lo), g.hi);
            // SAFETY: the output takes a group.
            unsafe { vst1q_u16(y.add(p * s.y.pixel).cast(), vreinterpretq_u16_f16(v)) };
        }
    });
}
