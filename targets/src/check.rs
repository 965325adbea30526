//! What must hold in every profile, embedded or given by a user.

use crate::{Arch, Cache, Cluster, Error, Profile};

/// Feature names that may stand in a profile: those that choose kernels.
const AARCH64_FEATURES: &[&str] = &["neon", "fp16", "dotprod", "fhm", "i8mm", "bf16", "sve", "sve2"];
const X86_64_FEATURES: &[&str] =
    &["sse4.1", "avx", "avx2", "fma", "f16c", "avxvnni", "avx512f", "avx512bw", "avx512vl", "avx512vnni"];

/// All that each known core has, as `rustc --print cfg -C target-cpu=CORE` lists it. A core that is not listed is not
/// judged.
const CORE_FEATURES: &[(&str, &[&str])] = &[
    ("cortex-a53", &["neon"]),
    ("cortex-a57", &["neon"]),
    ("cortex-a72", &["neon"]),
    ("cortex-a73", &["neon"]),
    ("cortex-a55", &["neon", "fp16", "dotprod"]),
    ("cortex-a76", &["neon", "fp16", "dotprod"]),
    ("cortex-a77", &["neon", "fp16", "dotprod"]),
    ("cortex-a78", &["neon", "fp16", "dotprod"]),
    ("cortex-a78ae", &["neon", "fp16", "dotprod"]),
    ("cortex-x1", &["neon", "fp16", "dotprod"]),
    ("nvidia-carmel", &["neon", "fp16"]),
    ("cortex-a510", &["neon", "fp16", "dotprod", "fhm", "i8mm", "bf16", "sve", "sve2"]),
    ("cortex-a710", &["neon", "fp16", "dotprod", "fhm", "i8mm", "bf16", "sve", "sve2"]),
];

/// Checks one profile; `origin` is what errors call it.
pub(crate) fn check(origin: &str, profile: &Profile) -> Result<(), Error> {
    let require = |holds: bool, field: String, found: String, expected: &str| {
        if holds {
            return Ok(());
        }
        Err(Error::Invalid { profile: origin.to_owned(), field, found, expected: expected.to_owned() })
    };

    require(!profile.name.is_empty(), "name".into(), "empty".into(), "a name")?;
    require(!profile.qemu_cpu.is_empty(), "qemu_cpu".into(), "empty".into(), "a CPU name of QEMU")?;
    let page = profile.page_bytes;
    let page_is_possible = page.is_power_of_two() && (4096..=65536).contains(&page);
    require(page_is_possible, "page_bytes".into(), page.to_string(), "4096, 8192, 16384, 32768 or 65536")?;
    let bandwidth = profile.memory.peak_gb_per_s;
    let bandwidth_is_possible = bandwidth > 0.0 && bandwidth < 1e5;
    require(bandwidth_is_possible, "memory.peak_gb_per_s".into(), bandwidth.to_string(), "GB/s above 0")?;
    require(!profile.clusters.is_empty(), "clusters".into(), "empty".into(), "at least one cluster")?;

    for (index, cluster) in profile.clusters.iter().enumerate() {
        let field = |name: &str| format!("clusters[{index}].{name}");
        let count = cluster.count;
        require((1..=1024).contains(&count), field("count"), count.to_string(), "1 to 1024 cores")?;
        let mhz = cluster.max_mhz;
        require((100..=10_000).contains(&mhz), field("max_mhz"), mhz.to_string(), "100 to 10000 MHz")?;
        if let Some(wrong) = wrong_feature(profile.arch, cluster) {
            let expected = format!("features that {} has on {:?}", cluster.core, profile.arch);
            require(false, field("features"), format!("\"{wrong}\""), &expected)?;
        }
        let has_neon = profile.arch != Arch::Aarch64 || cluster.has("neon");
        require(has_neon, field("features"), "no \"neon\"".into(), "\"neon\", which every aarch64 core has")?;

        let limits = &cluster.mac_per_cycle;
        for (name, value) in [("int8", Some(limits.int8)), ("f32", Some(limits.f32)), ("f16", limits.f16)] {
            let possible = value.is_none_or(|value| value > 0.0 && value <= 4096.0);
            let field = field(&format!("mac_per_cycle.{name}"));
            require(possible, field, format!("{value:?}"), "above 0, at most 4096")?;
        }
        let f16_agrees = profile.arch != Arch::Aarch64 || limits.f16.is_some() == cluster.has("fp16");
        let found = format!("{:?} with features {:?}", limits.f16, cluster.features);
        require(f16_agrees, field("mac_per_cycle.f16"), found, "a figure exactly where there is \"fp16\"")?;

        if let Some(kernels) = &cluster.kernels {
            for (name, value) in kernels.figures() {
                let possible = value.is_finite() && value > 0.0;
                require(possible, field(&format!("kernels.{name}")), value.to_string(), "a number above 0")?;
            }
            let half = (kernels.conv_f16.is_some(), kernels.depthwise_f16.is_some());
            let agrees = half == (limits.f16.is_some(), limits.f16.is_some());
            let expected = "f16 figures exactly where the core has f16";
            require(agrees, field("kernels.conv_f16"), format!("{half:?}"), expected)?;
        }

        for (name, cache) in [("l1d", Some(cluster.l1d)), ("l2", Some(cluster.l2)), ("l3", cluster.l3)] {
            let sharers = 1..=profile.core_count();
            let possible = cache.is_none_or(|Cache { kib, shared_by_cores }| {
                (1..=1 << 20).contains(&kib) && sharers.contains(&shared_by_cores)
            });
            require(possible, field(name), format!("{cache:?}"), "1 KiB or more, shared by 1 to all cores")?;
        }
        for (i, rate) in cluster.measured.iter().enumerate() {
            let value = rate.gmac_per_s;
            let possible = value > 0.0 && value < 1e6;
            require(
                possible,
                field(&format!("measured[{i}].gmac_per_s")),
                value.to_string(),
                "GMAC/s above 0",
            )?;
        }
        let ascending =
            cluster.l1d.kib <= cluster.l2.kib && cluster.l3.is_none_or(|l3| cluster.l2.kib <= l3.kib);
        require(ascending, field("l1d"), "caches shrink with their level".into(), "l1d <= l2 <= l3")?;
    }

    let speed = |cluster: &Cluster| cluster.mac_per_cycle.int8 * cluster.max_mhz as f32;
    let fastest_first = profile.clusters.windows(2).all(|pair| speed(&pair[0]) >= speed(&pair[1]));
    require(fastest_first, "clusters".into(), "a faster cluster after a slower one".into(), "fastest first")
}

/// The first feature that cannot be: unknown on this instruction set, or not in this core.
fn wrong_feature(arch: Arch, cluster: &Cluster) -> Option<&str> {
    let of_arch = match arch {
        Arch::Aarch64 => AARCH64_FEATURES,
        Arch::X86_64 => X86_64_FEATURES,
    };
    let of_core =
        CORE_FEATURES.iter().find(|(core, _)| *core == cluster.core).map_or(of_arch, |(_, all)| all);
    cluster
        .features
        .iter()
        .map(String::as_str)
        .find(|name| !of_arch.contains(name) || !of_core.contains(name))
}
