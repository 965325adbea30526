//! Profiles of the devices that Cygnet runs on: what a cost model must know about a machine that is not at hand.
//!
//! One JSON file per device family lies in `targets/profiles/` and is compiled in. A profile gives the CPU clusters
//! (cores, clock, instruction set features, caches, multiply-accumulates per cycle), the page size, the memory
//! bandwidth, and the QEMU CPU that stands for the device in tests. Every figure that is not a plain specification
//! names its source.
//!
//! ```
//! let pi = cygnet_targets::Profile::named("raspberry-pi-5")?;
//! assert_eq!(pi.core_count(), 4);
//! assert!(pi.fastest_cluster().has("dotprod"));
//! # Ok::<(), cygnet_targets::Error>(())
//! ```

mod check;
#[cfg(feature = "elf")]
pub mod elf;
mod like;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../profiles/", $name, ".json")))),*]
    };
}

/// Name and JSON text of every profile that is compiled in.
const EMBEDDED: &[(&str, &str)] = embedded![
    "raspberry-pi-3",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "jetson-nano",
    "jetson-xavier",
    "jetson-orin",
    "android-phone",
    "generic-aarch64",
    "x86_64",
];

/// What `cygnet doctor --json` calls its form.
const DOCTOR_SCHEMA: &str = "cygnet-doctor-1";

/// Why a profile could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No compiled-in profile has this name.
    #[error("there is no device profile \"{name}\"; known: {}; or give the path of a .json file", names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the device profile {}: {source}; check the path", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The text is not a profile: not JSON, or a field is missing, unknown, or of the wrong type.
    #[error(
        "device profile {profile} is malformed{}: {source}; compare it with a file of targets/profiles and correct it",
        place(field)
    )]
    Parse {
        /// Name or path of the profile.
        profile: String,
        /// Path of the field, as in `clusters[0].features`; `.` where none was reached.
        field: String,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A report of `cygnet doctor` on a processor that profiles do not describe.
    #[error(
        "{path} was made on a processor that device profiles do not describe; name one of targets/profiles instead"
    )]
    NoProfile {
        /// Path of the report.
        path: String,
    },
    /// The fields are well-formed but cannot be true together.
    #[error("device profile {profile}, {field}: {found}; expected {expected}; correct that field")]
    Invalid {
        /// Name or path of the profile.
        profile: String,
        /// Path of the field, as in `clusters[0].features`.
        field: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
}

/// A device family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name it is asked for by: lower case, words joined by `-`.
    pub name: String,
    /// Which machines are meant, for people.
    pub description: String,
    /// Instruction set, by Rust's name.
    pub arch: Arch,
    /// The CPU to give to `qemu-aarch64 -cpu` or `qemu-x86_64 -cpu`: it has no feature that the device lacks.
    pub qemu_cpu: String,
    /// Size of a memory page of the usual kernel, in bytes.
    pub page_bytes: u32,
    /// Groups of like cores, fastest first.
    pub clusters: Vec<Cluster>,
    /// Main memory.
    pub memory: Memory,
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
}

/// Cores of one kind that share a clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Microarchitecture, as compilers call it (`cortex-a76`).
    pub core: String,
    /// Number of cores.
    pub count: u32,
    /// Highest sustained clock, in MHz.
    pub max_mhz: u32,
    /// Whether it issues in program order, so that the order of instructions in a kernel matters.
    pub in_order: bool,
    /// Instruction set features that choose kernels, by Rust's target-feature names; base NEON is listed too.
    pub features: Vec<String>,
    /// Level 1 data cache.
    pub l1d: Cache,
    /// Level 2 cache.
    pub l2: Cache,
    /// Level 3 cache, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l3: Option<Cache>,
    /// What one core can issue.
    pub mac_per_cycle: MacPerCycle,
    /// What one core alone was measured to do, class by class of kernels; empty where nothing was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Rate>,
    /// What Cygnet's kernels reach on it; without it no times are predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernels: Option<Kernels>,
}

/// What kernels reach on one core, from which run times are predicted. `conv_*`, `conv3x3_*` (stride 1, where
/// Winograd's algorithm multiplies less often than is counted), `depthwise_*` and `matmul_*` are multiply-accumulates per
/// cycle without what follows them; `store_*` are cycles for every result of theirs, `bytes` those read and written per
/// cycle by all other steps, `step` the cycles that any step takes to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Kernels {
    pub conv_s8: f64,
    pub conv3x3_s8: f64,
    pub depthwise_s8: f64,
    pub matmul_s8: f64,
    pub store_s8: f64,
    pub conv_f32: f64,
    pub conv3x3_f32: f64,
    pub depthwise_f32: f64,
    pub matmul_f32: f64,
    pub store_f32: f64,
    /// Absent where the core computes in f32 instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv_f16: Option<f64>,
    /// Absent where the core computes in f32 instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depthwise_f16: Option<f64>,
    pub bytes: f64,
    pub step: f64,
    /// Those of sparse products; without them nothing is known of where they are faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse: Option<SparseKernels>,
    /// The measurements that gave the figures.
    pub source: String,
}

/// What kernels of products by sparse weights reach on one core: `fours_s8` and `pairs_s8` are multiply-accumulates per
/// cycle, those of groups of 4 and 2 inputs that are not zero; `copy` the bytes of inputs that are copied first per cycle, for
/// each tap of a window; `store_s8` cycles for every result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct SparseKernels {
    pub fours_s8: f64,
    pub pairs_s8: f64,
    pub copy: f64,
    pub store_s8: f64,
}

impl Kernels {
    /// The figures by name.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        let all = [
            ("conv_s8", Some(self.conv_s8)),
            ("conv3x3_s8", Some(self.conv3x3_s8)),
            ("depthwise_s8", Some(self.depthwise_s8)),
            ("matmul_s8", Some(self.matmul_s8)),
            ("store_s8", Some(self.store_s8)),
            ("conv_f32", Some(self.conv_f32)),
            ("conv3x3_f32", Some(self.conv3x3_f32)),
            ("depthwise_f32", Some(self.depthwise_f32)),
            ("matmul_f32", Some(self.matmul_f32)),
            ("store_f32", Some(self.store_f32)),
            ("conv_f16", self.conv_f16),
            ("depthwise_f16", self.depthwise_f16),
            ("bytes", Some(self.bytes)),
            ("step", Some(self.step)),
            ("sparse.fours_s8", self.sparse.as_ref().map(|s| s.fours_s8)),
            ("sparse.pairs_s8", self.sparse.as_ref().map(|s| s.pairs_s8)),
            ("sparse.copy", self.sparse.as_ref().map(|s| s.copy)),
            ("sparse.store_s8", self.sparse.as_ref().map(|s| s.store_s8)),
        ];
        all.into_iter().filter_map(|(name, v)| Some((name, v?)))
    }
}

/// Speed of one class of kernels on one core, as `cygnet doctor` measures it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// `conv-3x3`, `pointwise` or `depthwise`.
    pub layer: String,
    /// Element type: `s8`, `f16` or `f32`.
    pub dtype: String,
    /// The implementation that ran.
    pub kernel: String,
    /// Multiply-accumulates per second, in 10^9.
    pub gmac_per_s: f64,
}

/// What `cygnet doctor --json` prints, as far as a profile is wanted of it.
#[derive(Deserialize)]
struct Doctor {
    /// Null where the machine's processor is one that profiles have no word for.
    profile: Option<Profile>,
}

/// One cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Size of one such cache, in KiB.
    pub kib: u32,
    /// Number of cores that use it together; 1 is a private cache.
    pub shared_by_cores: u32,
}

/// Multiply-accumulates per cycle that one core can issue at most: raw limits of the pipes, which loads, stores and
/// (without dotprod) widening additions keep real kernels below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MacPerCycle {
    /// int8 products into int32 sums, with the best instruction of the cluster's features.
    pub int8: f32,
    /// f32 fused multiply-adds.
    pub f32: f32,
    /// f16 fused multiply-adds; absent where the core computes in f32 instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f16: Option<f32>,
    /// Where the figures come from.
    pub source: String,
}

/// Main memory, shared by all cores (and by the GPU, where there is one).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Bandwidth of the bus, in GB/s (10^9 bytes): transfers per second times width. Programs see less.
    pub peak_gb_per_s: f32,
    /// Where the figure comes from.
    pub source: String,
}

/// The type that a multiplication is done in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// int8 times int8 into int32.
    Int8,
    /// IEEE single precision.
    F32,
    /// IEEE half precision, where the core has it, else single.
    F16,
}

/// Names of the compiled-in profiles, in the order of the README.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name)
}

/// Reads and checks a profile from a JSON file: of the form of `targets/profiles/*.json`, or what `cygnet doctor --json`
/// printed on a device. A report says nothing of what kernels reach beyond what was measured: the rest is taken of the
/// known core that is most alike.
///
/// # Errors
/// [`Error::Read`], [`Error::Parse`] or [`Error::Invalid`], naming the path and, if it got so far, the field.
pub fn load(path: &Path) -> Result<Profile, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Profile::parse(&path.display().to_string(), &text)
}

/// JSON text as a value; errors name the field.
fn read<'a, T: Deserialize<'a>>(origin: &str, text: &'a str) -> Result<T, Error> {
    let malformed = |field: String, source| Error::Parse { profile: origin.to_owned(), field, source };
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|e| malformed(e.path().to_string(), e.into_inner()))?;
    json.end().map_err(|source| malformed(".".to_owned(), source))?;
    Ok(value)
}

fn place(field: &str) -> String {
    if field == "." { String::new() } else { format!(" at {field}") }
}

impl Profile {
    /// The compiled-in profile of this name.
    ///
    /// # Errors
    /// [`Error::Unknown`] lists the names there are.
    pub fn named(name: &str) -> Result<Profile, Error> {
        let (name, text) = EMBEDDED
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| Error::Unknown { name: name.to_owned() })?;
        Profile::parse(name, text)
    }

    /// Reads and checks a profile from JSON text; `origin` is what errors call it.
    fn parse(origin: &str, text: &str) -> Result<Profile, Error> {
        let value: serde_json::Value = read(origin, text)?;
        let profile = if value.get("schema").is_some_and(|schema| schema == DOCTOR_SCHEMA) {
            let doctor: Doctor = read(origin, text)?;
            let mut profile = doctor.profile.ok_or_else(|| Error::NoProfile { path: origin.to_owned() })?;
            like::fill(&mut profile);
            profile
        } else {
            // Of the text, not of the value: errors then name line and column.
            read(origin, text)?
        };
        check::check(origin, &profile)?;
        Ok(profile)
    }

    /// Number of cores in all clusters.
    pub fn core_count(&self) -> u32 {
        self.clusters.iter().map(|cluster| cluster.count).sum()
    }

    /// The cluster whose single core is the fastest at int8: where one thread should run.
    pub fn fastest_cluster(&self) -> &Cluster {
        // Checked when read: there is at least one, and the fastest stands first.
        &self.clusters[0]
    }
}

impl Cluster {
    /// Whether the cores have an instruction set feature, by Rust's name for it.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }

    /// Multiply-accumulates per second that one core can issue at most, at its highest clock.
    pub fn peak_mac_per_s(&self, arithmetic: Arithmetic) -> f64 {
        let limits = &self.mac_per_cycle;
        let per_cycle = match arithmetic {
            Arithmetic::Int8 => limits.int8,
            Arithmetic::F32 => limits.f32,
            Arithmetic::F16 => limits.f16.unwrap_or(limits.f32),
        };
        f64::from(per_cycle) * f64::from(self.max_mhz) * 1e6
    }
}

#[cfg(test)]
mod tests;
