//! Cores by the number in their identification register, and what they can issue at most.

/// A microarchitecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// As compilers call it.
    pub name: &'static str,
    /// Whether it issues in the order of the program.
    pub in_order: bool,
    /// Vector pipes of 128 bits that multiply.
    pub pipes: u32,
}

const fn core(name: &'static str, in_order: bool, pipes: u32) -> Known {
    Known { name, in_order, pipes }
}

/// Implementer, part and core. Names are those of Linux's `arch/arm64/include/asm/cputype.h` or of compilers and, for
/// Qualcomm's and HiSilicon's cores, of the Arm cores that they were made of; pipes are from Arm's software optimization
/// guides, 1 where there is none.
const KNOWN: &[(u32, u32, Known)] = &[
    (0x41, 0xc07, core("cortex-a7", true, 1)),
    (0x41, 0xc09, core("cortex-a9", false, 1)),
    (0x41, 0xc0e, core("cortex-a17", false, 1)),
    (0x41, 0xc0f, core("cortex-a15", false, 1)),
    (0x41, 0xd02, core("cortex-a34", true, 1)),
    (0x41, 0xd03, core("cortex-a53", true, 1)),
    (0x41, 0xd04, core("cortex-a35", true, 1)),
    (0x41, 0xd05, core("cortex-a55", true, 1)),
    (0x41, 0xd07, core("cortex-a57", false, 1)),
    (0x41, 0xd08, core("cortex-a72", false, 1)),
    (0x41, 0xd09, core("cortex-a73", false, 1)),
    (0x41, 0xd0a, core("cortex-a75", false, 1)),
    (0x41, 0xd0b, core("cortex-a76", false, 2)),
    (0x41, 0xd0c, core("neoverse-n1", false, 2)),
    (0x41, 0xd0d, core("cortex-a77", false, 2)),
    (0x41, 0xd40, core("neoverse-v1", false, 4)),
    (0x41, 0xd41, core("cortex-a78", false, 2)),
    (0x41, 0xd42, core("cortex-a78ae", false, 2)),
    (0x41, 0xd44, core("cortex-x1", false, 4)),
    (0x41, 0xd46, core("cortex-a510", true, 1)),
    (0x41, 0xd47, core("cortex-a710", false, 2)),
    (0x41, 0xd48, core("cortex-x2", false, 4)),
    (0x41, 0xd49, core("neoverse-n2", false, 2)),
    (0x41, 0xd4b, core("cortex-a78c", false, 2)),
    (0x41, 0xd4d, core("cortex-a715", false, 2)),
    (0x41, 0xd4e, core("cortex-x3", false, 4)),
    (0x41, 0xd4f, core("neoverse-v2", false, 4)),
    (0x41, 0xd80, core("cortex-a520", true, 1)),
    (0x41, 0xd81, core("cortex-a720", false, 2)),
    (0x41, 0xd82, core("cortex-x4", false, 4)),
    (0x41, 0xd83, core("neoverse-v3ae", false, 4)),
    (0x48, 0xd40, core("cortex-a76", false, 2)),
    (0x4e, 0x000, core("nvidia-denver", false, 1)),
    (0x4e, 0x003, core("nvidia-denver2", false, 1)),
    (0x4e, 0x004, core("nvidia-carmel", false, 1)),
    (0x51, 0x06f, core("krait", false, 1)),
    (0x51, 0x201, core("kryo", false, 1)),
    (0x51, 0x205, core("kryo", false, 1)),
    (0x51, 0x211, core("kryo", false, 1)),
    (0x51, 0x800, core("cortex-a73", false, 1)),
    (0x51, 0x801, core("cortex-a53", true, 1)),
    (0x51, 0x802, core("cortex-a75", false, 1)),
    (0x51, 0x803, core("cortex-a55", true, 1)),
    (0x51, 0x804, core("cortex-a76", false, 2)),
    (0x51, 0x805, core("cortex-a55", true, 1)),
    (0x53, 0x001, core("exynos-m1", false, 1)),
    (0x53, 0x002, core("exynos-m3", false, 1)),
    (0x53, 0x003, core("exynos-m4", false, 1)),
];

/// The core of an implementer and part number.
pub fn core_of(implementer: u32, part: u32) -> Option<Known> {
    KNOWN.iter().find(|(i, p, _)| (*i, *p) == (implementer, part)).map(|(.., known)| *known)
}

/// The features that choose kernels, by the words of `/proc/cpuinfo`: Linux's word, and the name in profiles. What 32-bit
/// kernels of Arm call `neon` is none of them: programs there have portable kernels.
pub const FEATURES: &[(&str, &str)] = &[
    ("asimd", "neon"),
    ("asimdhp", "fp16"),
    ("asimddp", "dotprod"),
    ("asimdfhm", "fhm"),
    ("i8mm", "i8mm"),
    ("bf16", "bf16"),
    ("sve", "sve"),
    ("sve2", "sve2"),
    ("avx", "avx"),
    ("avx2", "avx2"),
    ("fma", "fma"),
    ("f16c", "f16c"),
    ("avx_vnni", "avxvnni"),
    ("avx512f", "avx512f"),
    ("avx512bw", "avx512bw"),
    ("avx512vl", "avx512vl"),
    ("avx512_vnni", "avx512vnni"),
];

/// Multiply-accumulates that a core issues per cycle at most: int8, f32, and f16 where it computes in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub int8: u32,
    pub f32: u32,
    pub f16: Option<u32>,
}

/// From the pipes and the widest instructions: SMMLA does 32 in 128 bits, SDOT 16, widening multiplication 8; FMLA 8
/// halves or 4 singles. x86-64 has two pipes of 256 or 512 bits.
pub fn limits(pipes: u32, features: &[&str]) -> Limits {
    let has = |name| features.contains(&name);
    if has("avx512vnni") {
        return Limits { int8: 128, f32: 32, f16: None };
    }
    if has("avx2") {
        return Limits { int8: if has("avxvnni") { 64 } else { 32 }, f32: 16, f16: None };
    }
    let int8 = match (has("i8mm"), has("dotprod"), has("neon")) {
        (true, ..) => 32,
        (_, true, _) => 16,
        (_, _, true) => 8,
        _ => 1,
    };
    let f32 = if has("neon") { 4 } else { 1 };
    Limits { int8: int8 * pipes, f32: f32 * pipes, f16: has("fp16").then_some(8 * pipes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of the profiles of these devices, which were measured on silicon.
    #[test]
    fn limits_are_those_of_measured_cores() {
        let of = |part, features: &[&str]| limits(core_of(0x41, part).unwrap().pipes, features);
        let dot = ["neon", "fp16", "dotprod"];
        assert_eq!(of(0xd03, &["neon"]), Limits { int8: 8, f32: 4, f16: None });
        assert_eq!(of(0xd08, &["neon"]), Limits { int8: 8, f32: 4, f16: None });
        assert_eq!(of(0xd05, &dot), Limits { int8: 16, f32: 4, f16: Some(8) });
        assert_eq!(of(0xd0b, &dot), Limits { int8: 32, f32: 8, f16: Some(16) });
        assert_eq!(of(0xd44, &dot), Limits { int8: 64, f32: 16, f16: Some(32) });
        assert_eq!(core_of(0x41, 0xfff), None);
    }
}
