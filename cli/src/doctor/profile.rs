//! The machine as a device profile, of the form of `targets/profiles/*.json`.

use serde_json::{Value, json};

use super::Machine;
use crate::device::caches::Cache;
use crate::device::clusters::Cluster;

/// Caches of a core whose system does not list them: the least that cores of its kind have.
const LEAST: [Cache; 2] = [Cache { kib: 32, shared_by: 1 }, Cache { kib: 256, shared_by: 1 }];

/// A clock for cores whose system does not tell one, in MHz.
const CLOCK_MHZ: u32 = 1000;

/// Bandwidth where none was measured, in GB/s: that of one 32-bit channel of LPDDR4 at half its rate.
const BANDWIDTH: f64 = 4.0;

/// The profile; `None` for processors that profiles have no word for.
pub fn profile(m: &Machine) -> Option<Value> {
    let is_arm = m.clusters.iter().all(|c| c.features.contains(&"neon"));
    let is_x86 = m.clusters.iter().all(|c| c.features.contains(&"avx2"));
    let (arch, qemu) = match (is_arm, is_x86) {
        _ if m.clusters.is_empty() => return None,
        (true, _) => ("aarch64", qemu_cpu(&m.clusters)),
        (_, true) => ("x86_64", "Haswell"),
        _ => return None,
    };
    let mut clusters: Vec<&Cluster> = m.clusters.iter().collect();
    // Profiles put the cluster that issues most first.
    let speed = |c: &&Cluster| f64::from(c.limits().int8) * f64::from(mhz(c));
    clusters.sort_by(|a, b| speed(b).total_cmp(&speed(a)));
    let assumed = m.clusters.iter().any(|c| c.caches[..2].contains(&None));
    let read = m.measured.as_ref().and_then(|measured| measured.read_gb_per_s);
    let source = if read.is_some() { "measured by cygnet doctor: reading" } else { "assumed: not measured" };
    Some(json!({
        "name": "this-machine",
        "description": format!(
            "{}{}", m.board.model, if assumed { "; caches the system does not list are assumed" } else { "" }
        ),
        "arch": arch,
        "qemu_cpu": qemu,
        "page_bytes": m.board.page_bytes.unwrap_or(4096),
        "clusters": clusters.into_iter().map(|c| cluster(c, m)).collect::<Vec<_>>(),
        "memory": { "peak_gb_per_s": rounded(read.unwrap_or(BANDWIDTH)), "source": source },
    }))
}

fn cluster(c: &Cluster, m: &Machine) -> Value {
    let limits = c.limits();
    let cache = |level: usize| {
        let cache = c.caches[level].or(LEAST.get(level).copied());
        cache.map(|Cache { kib, shared_by }| json!({ "kib": kib, "shared_by_cores": shared_by }))
    };
    let mut mac = json!({
        "int8": limits.int8,
        "f32": limits.f32,
        "source": "issue limits of the core's vector pipes",
    });
    if let Some(f16) = limits.f16 {
        mac["f16"] = f16.into();
    }
    let mut value = json!({
        "core": c.core,
        "count": c.ids.len(),
        "max_mhz": mhz(c),
        "in_order": c.in_order(),
        "features": c.features,
        "l1d": cache(0),
        "l2": cache(1),
        "mac_per_cycle": mac,
    });
    if let Some(l3) = cache(2) {
        value["l3"] = l3;
    }
    let position = m.clusters.iter().position(|other| other == c);
    let single = m.measured.as_ref().zip(position).and_then(|(measured, i)| measured.single[i].as_ref());
    if let Some(single) = single {
        value["measured"] = super::report::rates(&single.rates);
    }
    value
}

fn mhz(c: &Cluster) -> u32 {
    c.clock.max_mhz.unwrap_or(CLOCK_MHZ).clamp(100, 10_000)
}

/// The QEMU CPU that has no feature which the machine lacks.
fn qemu_cpu(clusters: &[Cluster]) -> &'static str {
    let all_have = |feature| clusters.iter().all(|c| c.features.contains(&feature));
    match (all_have("dotprod") && all_have("fp16"), clusters.iter().any(Cluster::in_order)) {
        (true, _) => "cortex-a76",
        (_, true) => "cortex-a53",
        _ => "cortex-a72",
    }
}

/// Three decimals: more say nothing.
pub fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
