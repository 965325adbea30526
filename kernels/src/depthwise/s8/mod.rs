//! s8: sums in 32 bits, exact; then the requantization of the contract.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;

use super::{Micro, Run, pack};
use crate::cpu::{Cpu, Features};

/// The implementations, best first.
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
