//! What the processor can do, and how to make it pretend to less.

#[cfg(target_arch = "aarch64")]
mod identity;

use std::fmt;
use std::sync::OnceLock;

/// A set of instruction set extensions that kernels are written for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u32);

impl Features {
    /// Nothing beyond portable Rust.
    pub const NONE: Self = Self(0);
    /// x86-64: AVX2, FMA and F16C.
    pub const AVX2: Self = Self(1);
    /// x86-64: AVX-VNNI (VPDPBUSD of 256 bits).
    pub const AVX_VNNI: Self = Self(1 << 1);
    /// x86-64: AVX-512 as Ice Lake, Zen 4 and newer have it: F, BW, DQ, VL, VBMI, and VNNI.
    pub const AVX512_VNNI: Self = Self(1 << 2);
    /// aarch64: Advanced SIMD.
    pub const NEON: Self = Self(1 << 8);
    /// aarch64: half-precision arithmetic (FEAT_FP16).
    pub const FP16: Self = Self(1 << 9);
    /// aarch64: SDOT and UDOT (FEAT_DotProd).
    pub const DOTPROD: Self = Self(1 << 10);
    /// aarch64: SMMLA, UMMLA and USMMLA (FEAT_I8MM).
    pub const I8MM: Self = Self(1 << 11);

    /// aarch64: cores that issue instructions in the order of the program (A53, A55). No extension: what was scheduled
    /// for them runs on every core.
    pub const IN_ORDER: Self = Self(1 << 16);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::AVX2, "avx2"),
        (Self::AVX_VNNI, "avxvnni"),
        (Self::AVX512_VNNI, "avx512vnni"),
        (Self::NEON, "neon"),
        (Self::FP16, "fp16"),
        (Self::DOTPROD, "dotprod"),
        (Self::I8MM, "i8mm"),
        (Self::IN_ORDER, "in-order"),
    ];

    /// Every feature of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every feature of `other` is in `self`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What this machine has.
    fn detect() -> Self {
        #[allow(unused_mut)]
        let mut found = Self::NONE;
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("f16c") {
                found = found.union(Self::AVX2);
                if has!("avxvnni") {
                    found = found.union(Self::AVX_VNNI);
                }
                // AVX512F by itself is not asked for: the others bring it.
                let avx512 = has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                if avx512 && has!("avx512vbmi") && has!("avx512vnni") {
                    found = found.union(Self::AVX512_VNNI);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected as has;
            found = found.union(Self::NEON);
            if has!("fp16") {
                found = found.union(Self::FP16);
            }
            if has!("dotprod") {
                found = found.union(Self::DOTPROD);
            }
            if has!("i8mm") {
                found = found.union(Self::I8MM);
            }
            if identity::any_in_order() {
                found = found.union(Self::IN_ORDER);
            }
        }
        found
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Self::NAMES.iter().filter(|(bit, _)| self.contains(*bit)).map(|&(_, name)| name).collect();
        if names.is_empty() { f.write_str("generic") } else { f.write_str(&names.join("+")) }
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The processor that kernels are chosen for: some or all of what this machine has, never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cpu(Features);

/// The instruction set levels that can be forced, least first within an architecture: the name, and
/// the most that a level uses. Those of cores that issue in order can be forced on all others too.
pub const LEVELS: [(&str, Features); 10] = {
    let neon16 = Features::NEON.union(Features::FP16);
    let dot = neon16.union(Features::DOTPROD);
    [
        ("generic", Features::NONE),
        ("avx2", Features::AVX2),
        ("avxvnni", Features::AVX2.union(Features::AVX_VNNI)),
        ("avx512vnni", Features::AVX2.union(Features::AVX512_VNNI)),
        ("neon", Features::NEON),
        ("neon-in-order", Features::NEON.union(Features::IN_ORDER)),
        ("fp16", neon16),
        ("dotprod", dot),
        ("dotprod-in-order", dot.union(Features::IN_ORDER)),
        ("i8mm", dot.union(Features::I8MM)),
    ]
};

/// Why a forced instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CpuError {
    #[error(
        "instruction set '{0}' is unknown; use one of generic, avx2, avxvnni, avx512vnni, neon, neon-in-order, \
             fp16, dotprod, dotprod-in-order, i8mm"
    )]
    Unknown(String),
    #[error(
        "this build has no portable kernels, since every processor it runs on has NEON; leave CYGNET_ISA unset, or \
             build with the feature 'portable'"
    )]
    NotBuilt,
    #[error("instruction set '{level}' needs {needs}, and this machine has {has}; leave CYGNET_ISA unset")]
    Missing { level: String, needs: Features, has: Features },
}

impl Cpu {
    /// All that this machine has.
    pub fn detect() -> Self {
        static FOUND: OnceLock<Features> = OnceLock::new();
        Self(*FOUND.get_or_init(Features::detect))
    }

    /// This machine, using no more than a level of [`LEVELS`].
    pub fn forced(level: &str) -> Result<Self, CpuError> {
        let &(_, needs) = LEVELS
            .iter()
            .find(|(name, _)| *name == level)
            .ok_or_else(|| CpuError::Unknown(level.to_owned()))?;
        if needs == Features::NONE && cfg!(all(target_arch = "aarch64", not(feature = "portable"))) {
            return Err(CpuError::NotBuilt);
        }
        let has = Self::detect().0;
        if !has.contains(needs.without(Features::IN_ORDER)) {
            return Err(CpuError::Missing { level: level.to_owned(), needs, has });
        }
        Ok(Self(needs))
    }

    /// What `CYGNET_ISA` asks for, or all that this machine has when it is unset or empty.
    pub fn from_env() -> Result<Self, CpuError> {
        match std::env::var("CYGNET_ISA") {
            Ok(level) if !level.is_empty() => Self::forced(&level),
            _ => Ok(Self::detect()),
        }
    }

    /// All that this machine has, as if its cores issued in order: tests of single kernels go through those too.
    #[cfg(test)]
    pub(crate) fn in_order() -> Self {
        Self(Self::detect().0.union(Features::IN_ORDER))
    }

    /// Every level of [`LEVELS`] that this machine can run, for tests that go through all of them.
    pub fn runnable() -> Vec<(&'static str, Self)> {
        LEVELS.iter().filter_map(|&(name, _)| Some((name, Self::forced(name).ok()?))).collect()
    }

    /// The features that kernels may use.
    pub fn features(self) -> Features {
        self.0
    }

    /// Whether kernels may use all of `needs`.
    pub fn has(self, needs: Features) -> bool {
        self.0.contains(needs)
    }
}
