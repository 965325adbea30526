//! s8: sums in 32 bits, exact; then the requantization of the contract.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod generic;
#[cfg(target_arch = "aarch64")]
mod half;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod strip_avx2;
#[cfg(target_arch = "x86_64")]
mod strip_avx512;
#[cfg(target_arch = "aarch64")]
mod strip_dotprod;
#[cfg(target_arch = "aarch64")]
mod strip_neon;
#[cfg(target_arch = "aarch64")]
mod sums_neon;

use super::list::{Micro, Run};
use super::strip::{self, Choice, Strip, Window};
use super::{pack, patch};
use crate::cpu::{Cpu, Features};

/// The implementations by list, best first.
const ROWS: &[(&str, Features, Micro)] = &[
    #[cfg(target_arch = "x86_64")]
    ("depthwise_s8_16c_avx2", Features::AVX2, avx2::run),
    #[cfg(target_arch = "aarch64")]
    ("depthwise_s8_16c_neon", Features::NEON, neon::run),
    ("depthwise_s8_1c_generic", Features::NONE, generic::run),
];

/// The implementation for a processor and its name.
pub(super) fn choose(cpu: Cpu) -> (&'static str, Micro) {
    let found = ROWS.iter().find(|&&(_, needs, _)| cpu.has(needs));
    found.map_or(("depthwise_s8_1c_generic", generic::run as Micro), |&(name, _, run)| (name, run))
}

/// The implementation by strips of a window, where there is one for the processor. Of `crowded` weights some channel has
/// several of -128, which Advanced SIMD's pairs of products do not allow.
#[allow(unused_variables)]
pub(super) fn strips(
    cpu: Cpu,
    window: Window,
    crowded: bool,
    reach: impl FnOnce() -> Reach,
) -> Option<Choice> {
    #[cfg(target_arch = "x86_64")]
    if cpu.has(Features::AVX512_VNNI) && reach().product < f64::from(1 << 30) {
        let (name, run): (_, strip::Micro) = match (window.taps, window.stride) {
            (3, 1) => ("depthwise_s8_3x3s1_2x4x16c_avx512vnni", strip_avx512::run::<3, 1, 2>),
            (3, _) => ("depthwise_s8_3x3s2_1x4x16c_avx512vnni", strip_avx512::run::<3, 2, 1>),
            (_, 1) => ("depthwise_s8_5x5s1_2x4x16c_avx512vnni", strip_avx512::run::<5, 1, 2>),
            _ => ("depthwise_s8_5x5s2_1x4x16c_avx512vnni", strip_avx512::run::<5, 2, 1>),
        };
        let copy = patch::lines;
        let step = strip_avx512::STEP;
        return Some(Choice { name, run, lanes: 64, step, copy, unit: 64, direct: true, by_table: None });
    }
    #[cfg(target_arch = "x86_64")]
    if cpu.has(Features::AVX2) {
        let (name, run): (_, strip::Micro) = match (window.taps, window.stride) {
            (3, 1) => ("depthwise_s8_3x3s1_16c_avx2", strip_avx2::run::<3, 1>),
            (3, _) => ("depthwise_s8_3x3s2_16c_avx2", strip_avx2::run::<3, 2>),
            (_, 1) => ("depthwise_s8_5x5s1_16c_avx2", strip_avx2::run::<5, 1>),
            _ => ("depthwise_s8_5x5s2_16c_avx2", strip_avx2::run::<5, 2>),
        };
        let copy = patch::widened;
        return Some(Choice {
            name,
            run,
            lanes: 16,
            step: 16,
            copy,
            unit: 32,
            direct: false,
            by_table: None,
        });
    }
    #[cfg(target_arch = "aarch64")]
    {
        use strip_dotprod::run as dot;
        use strip_neon::run as base;
        let (name, run): (_, strip::Micro) = if cpu.has(Features::NEON.union(Features::DOTPROD)) {
            match (window.taps, window.stride, reach().is_small()) {
                (3, 1, true) => ("depthwise_s8_3x3s1_2x2x8c_small_dotprod", dot::<3, 1, true>),
                (3, 1, false) => ("depthwise_s8_3x3s1_2x2x8c_dotprod", dot::<3, 1, false>),
                (3, _, true) => ("depthwise_s8_3x3s2_2x2x8c_small_dotprod", dot::<3, 2, true>),
                (3, _, false) => ("depthwise_s8_3x3s2_2x2x8c_dotprod", dot::<3, 2, false>),
                (_, 1, true) => ("depthwise_s8_5x5s1_2x2x8c_small_dotprod", dot::<5, 1, true>),
                (_, 1, false) => ("depthwise_s8_5x5s1_2x2x8c_dotprod", dot::<5, 1, false>),
                (_, _, true) => ("depthwise_s8_5x5s2_1x2x8c_small_dotprod", dot::<5, 2, true>),
                (_, _, false) => ("depthwise_s8_5x5s2_1x2x8c_dotprod", dot::<5, 2, false>),
            }
        } else if cpu.has(Features::NEON) && !crowded {
            match (window.taps, window.stride, reach().is_small(), cpu.has(Features::IN_ORDER)) {
                (3, 1, true, true) => {
                    ("depthwise_s8_3x3s1_4x8c_small_neon_in_order", base::<3, 1, true, true>)
                }
                (3, 1, true, _) => ("depthwise_s8_3x3s1_4x8c_small_neon", base::<3, 1, true, false>),
                (3, 1, _, true) => ("depthwise_s8_3x3s1_4x8c_neon_in_order", base::<3, 1, false, true>),
                (3, 1, ..) => ("depthwise_s8_3x3s1_4x8c_neon", base::<3, 1, false, false>),
                (3, _, true, true) => {
                    ("depthwise_s8_3x3s2_4x8c_small_neon_in_order", base::<3, 2, true, true>)
                }
                (3, _, true, _) => ("depthwise_s8_3x3s2_4x8c_small_neon", base::<3, 2, true, false>),
                (3, _, _, true) => ("depthwise_s8_3x3s2_4x8c_neon_in_order", base::<3, 2, false, true>),
                (3, ..) => ("depthwise_s8_3x3s2_4x8c_neon", base::<3, 2, false, false>),
                (_, 1, true, _) => ("depthwise_s8_5x5s1_4x8c_small_neon", base::<5, 1, true, false>),
                (_, 1, ..) => ("depthwise_s8_5x5s1_4x8c_neon", base::<5, 1, false, false>),
                (_, _, true, _) => ("depthwise_s8_5x5s2_4x8c_small_neon", base::<5, 2, true, false>),
                _ => ("depthwise_s8_5x5s2_4x8c_neon", base::<5, 2, false, false>),
            }
        } else {
            return None;
        };
        let copy = patch::plain::<16>;
        return Some(Choice { name, run, lanes: 16, step: 16, copy, unit: 16, direct: true, by_table: None });
    }
    #[allow(unreachable_code)]
    None
}

/// What no channel can exceed in magnitude, whatever the input.
pub(super) struct Reach {
    /// Its sum.
    pub sum: i64,
    /// Its sum times its multiplier.
    pub product: f64,
}

impl Reach {
    /// Of packed operands: `weights` `[tap][channels]`, `bias` and `multiplier` four bytes a channel.
    pub fn of(weights: &[u8], bias: &[u8], multiplier: &[u8]) -> Self {
        let (bias, multiplier) = (bias.as_chunks::<4>().0, multiplier.as_chunks::<4>().0);
        let mut most: Vec<i64> = bias.iter().map(|&b| i64::from(i32::from_le_bytes(b)).abs()).collect();
        for weights in weights.chunks_exact(most.len()) {
            for (most, &w) in most.iter_mut().zip(weights) {
                *most += 128 * i64::from(w.cast_signed()).abs();
            }
        }
        let products = most.iter().zip(multiplier);
        let products = products.map(|(&most, &m)| f64::from(f32::from_le_bytes(m)).abs() * most as f64);
        Self { product: products.fold(0.0, f64::max), sum: most.into_iter().max().unwrap_or(0) }
    }

    /// Whether sums are below 2^22, and products below 2^15 less a zero point and what rounding does.
    #[allow(dead_code)]
    pub fn is_small(&self) -> bool {
        self.sum < 1 << 22 && self.product < 32638.0
    }
}
