//! A machine as one screen of text, and as JSON.

use std::io::{self, Write};

use cygnet::gauge::{Layer, Rate, TYPES};
use serde_json::{Value, json};

use super::Machine;
use super::advice::{advice, slows_at};
use super::profile::{profile, rounded};
use crate::common::size;
use crate::device::caches::Cache;
use crate::device::clusters::Cluster;
use crate::device::{heat, ranges};

pub fn text(m: &Machine, out: &mut dyn Write) -> io::Result<()> {
    let board = &m.board;
    let mut parts = vec![board.model.clone()];
    parts.extend(board.kernel.as_ref().map(|release| format!("Linux {release}")));
    parts.extend(board.page_bytes.map(|bytes| format!("{} KiB pages", bytes / 1024)));
    writeln!(out, "machine   {}", parts.join(", "))?;
    for cluster in &m.clusters {
        writeln!(out, "cores     {}", cores(cluster))?;
        writeln!(out, "          {}", caches(cluster))?;
    }
    let known = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), size);
    write!(out, "memory    {}, {} free", known(board.memory.total), known(board.memory.available))?;
    let read =
        m.measured.as_ref().and_then(|measured| measured.read_gb_per_s.map(|gb| (gb, measured.threads)));
    match read {
        Some((gb, threads)) => writeln!(out, "; {gb:.1} GB/s read by {threads} threads")?,
        None => writeln!(out)?,
    }
    writeln!(out, "heat      {}", temperature(m))?;
    writeln!(out, "slowed    {}", slowed(m))?;
    match &m.power {
        Some((name, Some(watts))) => writeln!(out, "power     {watts:.2} W now ({name})")?,
        Some((name, None)) => writeln!(out, "power     {name}")?,
        None => writeln!(out, "power     no sensor")?,
    }
    let quota = m.limits.quota.map_or("none".to_owned(), |cores| format!("{cores:.1} cores"));
    let allowed = if m.limits.cores.is_empty() { "all".to_owned() } else { ranges(&m.limits.cores) };
    writeln!(
        out,
        "limits    cores {allowed}, quota {quota}; {} threads by default, on cores {}",
        m.threads(),
        ranges(&m.fast)
    )?;
    kernels(m, out)?;
    let advice = advice(m);
    if advice.is_empty() {
        writeln!(out, "\nNothing to change.")?;
    } else {
        writeln!(out, "\nTo change:")?;
    }
    for (i, advice) in advice.iter().enumerate() {
        writeln!(out, "{:>2}. {}", i + 1, advice.text)?;
    }
    Ok(())
}

fn cores(c: &Cluster) -> String {
    let mut parts = vec![format!("{} ({} x {})", ranges(&c.ids), c.ids.len(), c.core)];
    let clock = &c.clock;
    if let Some(max) = clock.max_mhz {
        let now = clock.now_mhz.map_or(String::new(), |now| format!(", now {now}"));
        let limit = clock.limit_mhz.filter(|limit| *limit < max);
        let limit = limit.map_or(String::new(), |limit| format!(", held to {limit}"));
        parts.push(format!("{max} MHz{limit}{now}"));
    }
    parts.extend(clock.governor.as_ref().map(|governor| format!("governor {governor}")));
    let features =
        if c.features.is_empty() { "no features that kernels use".to_owned() } else { c.features.join("+") };
    parts.push(features);
    if c.in_order() {
        parts.push("in order".into());
    }
    parts.join(", ")
}

fn caches(c: &Cluster) -> String {
    let level = |name: &str, cache: Option<Cache>| {
        let Cache { kib, shared_by } = cache?;
        let shared = if shared_by > 1 { format!(" shared by {shared_by}") } else { String::new() };
        Some(format!("{name} {}{shared}", size(u64::from(kib) * 1024)))
    };
    let names = ["L1d", "L2", "L3"];
    let listed: Vec<_> = names.iter().zip(c.caches).filter_map(|(name, cache)| level(name, cache)).collect();
    if listed.is_empty() { "caches: the system lists none".to_owned() } else { listed.join(", ") }
}

fn temperature(m: &Machine) -> String {
    match heat::processor(&m.zones) {
        None => "no zone can be read".to_owned(),
        Some(zone) => {
            let limit = slows_at(m).map_or(String::new(), |limit| format!(", slows down at {limit:.0}"));
            format!("{} {:.1} °C{limit} ({} zones)", zone.name, zone.celsius, m.zones.len())
        }
    }
}

fn slowed(m: &Machine) -> String {
    let t = &m.throttling;
    let list = |what: &[String]| if what.is_empty() { "no".to_owned() } else { what.join(", ") };
    match t.known {
        false => "the system does not tell".to_owned(),
        true => format!("now: {}; since start: {}", list(&t.now), list(&t.since_start)),
    }
}

/// The table of rates: each layer and type with its kernel, one core of each cluster, and all threads.
fn kernels(m: &Machine, out: &mut dyn Write) -> io::Result<()> {
    let Some(measured) = &m.measured else {
        let features = m.clusters.first().map_or(String::new(), |c| c.features.join("+"));
        let chosen =
            if features.is_empty() { "portable ones".to_owned() } else { format!("chosen for {features}") };
        return writeln!(out, "kernels   not measured; {chosen}");
    };
    writeln!(
        out,
        "kernels   {}; GMAC/s of {} and of {} threads",
        measured.isa,
        single_names(m),
        measured.threads
    )?;
    for (i, rate) in measured.rates.iter().enumerate() {
        let mut line = format!("  {:<10} {:<4}", rate.layer.name(), rate.dtype.name());
        for single in measured.single.iter().flatten() {
            line += &format!("{:>9.1}", single.rates[i].gmac_per_s);
        }
        writeln!(out, "{line}{:>9.1}  {}", rate.gmac_per_s, rate.kernel)?;
    }
    Ok(())
}

fn single_names(m: &Machine) -> String {
    let of = |c: &Cluster| format!("one {}", c.core);
    m.clusters.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// Rates as JSON.
pub fn rates(rates: &[Rate]) -> Value {
    let one = |rate: &Rate| {
        json!({ "layer": rate.layer.name(), "dtype": rate.dtype.name(), "kernel": rate.kernel,
                "gmac_per_s": rounded(rate.gmac_per_s) })
    };
    debug_assert_eq!(rates.len(), Layer::ALL.len() * TYPES.len());
    rates.iter().map(one).collect()
}

pub fn json(m: &Machine) -> Value {
    let board = &m.board;
    let cluster = |c: &Cluster| {
        let cache =
            |cache: Option<Cache>| cache.map(|c| json!({ "kib": c.kib, "shared_by_cores": c.shared_by }));
        let clock = &c.clock;
        json!({
            "cores": c.ids, "core": c.core, "in_order": c.in_order(), "features": c.features, "capacity": c.capacity,
            "max_mhz": clock.max_mhz, "limit_mhz": clock.limit_mhz, "now_mhz": clock.now_mhz,
            "governor": clock.governor, "governors": clock.governors,
            "l1d": cache(c.caches[0]), "l2": cache(c.caches[1]), "l3": cache(c.caches[2]),
        })
    };
    let zone =
        |z: &heat::Zone| json!({ "name": z.name, "celsius": z.celsius, "throttles_at": z.throttles_at });
    let measured = m.measured.as_ref().map(|measured| {
        let single = |s: &super::measure::Single| {
            json!({ "core": s.core, "read_gb_per_s": s.read_gb_per_s.map(rounded), "rates": rates(&s.rates) })
        };
        json!({
            "isa": measured.isa, "threads": measured.threads, "rates": rates(&measured.rates),
            "read_gb_per_s": measured.read_gb_per_s.map(rounded),
            "single": measured.single.iter().flatten().map(single).collect::<Vec<_>>(),
        })
    });
    json!({
        "schema": "cygnet-doctor-1",
        "version": env!("CARGO_PKG_VERSION"),
        "model": board.model,
        "kernel": board.kernel,
        "page_bytes": board.page_bytes,
        "memory": { "total_bytes": board.memory.total, "available_bytes": board.memory.available,
                    "swap_bytes": board.memory.swap, "huge_pages": board.huge_pages },
        "clusters": m.clusters.iter().map(cluster).collect::<Vec<_>>(),
        "thermal_zones": m.zones.iter().map(zone).collect::<Vec<_>>(),
        "throttling": { "known": m.throttling.known, "now": m.throttling.now, "since_start": m.throttling.since_start },
        "power": m.power.as_ref().map(|(name, watts)| json!({ "sensor": name, "watts": watts })),
        "limits": { "cores": m.limits.cores, "quota_cores": m.limits.quota },
        "default_threads": m.threads(),
        "fast_cores": m.fast,
        "measured": measured,
        "advice": advice(m).iter().map(|a| json!({ "code": a.code, "text": a.text })).collect::<Vec<_>>(),
        "profile": profile(m),
    })
}
