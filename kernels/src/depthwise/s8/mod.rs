//! s8: sums in 32 bits, exact; then the requantization of the contract.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod strip_avx2;

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

/// The implementation by strips of a window, where there is one for the processor.
#[allow(unused_variables)]
pub(super) fn strips(cpu: Cpu, window: Window) -> Option<Choice> {
    #[cfg(target_arch = "x86_64")]
    if cpu.has(Features::AVX2) {
        let (name, run): (_, strip::Micro) = match (window.taps, window.stride) {
            (3, 1) => ("depthwise_s8_3x3s1_16c_avx2", strip_avx2::run::<3, 1>),
            (3, _) => ("depthwise_s8_3x3s2_16c_avx2", strip_avx2::run::<3, 2>),
            (_, 1) => ("depthwise_s8_5x5s1_16c_avx2", strip_avx2::run::<5, 1>),
            _ => ("depthwise_s8_5x5s2_16c_avx2", strip_avx2::run::<5, 2>),
        };
        let copy = patch::widened;
        return Some(Choice { name, run, lanes: 16, copy, unit: 32, direct: false, by_table: None });
    }
    None
}
