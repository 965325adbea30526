//! Groups of like cores: what they are, how fast they may and do run, who governs that.

use super::Root;
use super::caches::{self, Caches};
use super::known::{self, FEATURES, Known, Limits};

/// Cores of one kind that share a clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The system's numbers.
    pub ids: Vec<usize>,
    /// The microarchitecture, or what else the system calls it.
    pub core: String,
    pub known: Option<Known>,
    /// Features that choose kernels, by the names of profiles.
    pub features: Vec<&'static str>,
    /// The kernel's measure of speed: 1024 for the fastest core of the machine.
    pub capacity: Option<u64>,
    pub caches: Caches,
    pub clock: Clock,
}

/// The clock of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clock {
    /// What the silicon can do, in MHz.
    pub max_mhz: Option<u32>,
    /// What it is allowed to do now: below the greatest one when someone, or the heat, holds it down.
    pub limit_mhz: Option<u32>,
    pub now_mhz: Option<u32>,
    pub governor: Option<String>,
    /// Governors that can be chosen.
    pub governors: Vec<String>,
}

impl Cluster {
    /// What a core can issue.
    pub fn limits(&self) -> Limits {
        known::limits(self.known.map_or(1, |known| known.pipes), &self.features)
    }

    #[cfg(feature = "device")]
    pub fn in_order(&self) -> bool {
        self.known.is_some_and(|known| known.in_order)
    }

    /// Relative speed, to put the fastest first.
    fn speed(&self) -> (u64, u64) {
        let mhz = self.clock.max_mhz.unwrap_or(0);
        (self.capacity.unwrap_or(0), u64::from(mhz) * u64::from(self.limits().int8))
    }
}

/// What `/proc/cpuinfo` says of one core.
#[derive(Clone, Debug, Default)]
struct Entry {
    implementer: Option<u32>,
    part: Option<u32>,
    model: Option<String>,
    features: Vec<&'static str>,
}

/// The clusters, fastest first. Cores that are switched off are not seen.
pub fn read(root: &Root) -> Vec<Cluster> {
    let entries = cpuinfo(&root.text("proc/cpuinfo").unwrap_or_default());
    let mut ids: Vec<usize> = root
        .text("sys/devices/system/cpu/online")
        .map_or_else(Vec::new, |text| cygnet::topology::parse_list(&text));
    if ids.is_empty() {
        ids = (0..entries.len()).collect();
    }
    let mut clusters: Vec<Cluster> = Vec::new();
    for id in ids {
        let entry =
            entries.iter().find(|(known, _)| *known == id).map_or_else(Entry::default, |(_, e)| e.clone());
        let one = cluster_of_one(root, id, entry);
        let kind = |c: &Cluster| (c.core.clone(), c.capacity, c.clock.max_mhz, c.features.clone(), c.caches);
        let same = |c: &&mut Cluster| kind(c) == kind(&one);
        match clusters.iter_mut().find(same) {
            Some(cluster) => cluster.ids.push(id),
            None => clusters.push(one),
        }
    }
    clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.speed()));
    clusters
}

fn cluster_of_one(root: &Root, id: usize, entry: Entry) -> Cluster {
    let (implementer, part) = register(root, id).or(entry.implementer.zip(entry.part)).unzip();
    let known = implementer.zip(part).and_then(|(i, p)| known::core_of(i, p));
    let core = match (known, implementer.zip(part), entry.model) {
        (Some(known), ..) => known.name.to_owned(),
        (None, Some((implementer, part)), _) => format!("unknown-{implementer:02x}-{part:03x}"),
        (None, None, Some(model)) => model,
        (None, None, None) => "unknown".to_owned(),
    };
    Cluster {
        ids: vec![id],
        core,
        known,
        features: entry.features,
        capacity: root.number(&format!("sys/devices/system/cpu/cpu{id}/cpu_capacity")),
        caches: caches::of_core(root, id),
        clock: clock(root, id),
    }
}

/// Implementer and part from the register that newer kernels show.
fn register(root: &Root, id: usize) -> Option<(u32, u32)> {
    let text = root.text(&format!("sys/devices/system/cpu/cpu{id}/regs/identification/midr_el1"))?;
    let midr = u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()?;
    Some((((midr >> 24) & 0xff) as u32, ((midr >> 4) & 0xfff) as u32))
}

/// The clock of a core.
pub fn clock(root: &Root, id: usize) -> Clock {
    let file = |name: &str| format!("sys/devices/system/cpu/cpu{id}/cpufreq/{name}");
    let mhz = |name: &str| root.number::<u64>(&file(name)).map(|khz| (khz / 1000) as u32);
    let governors = root.text(&file("scaling_available_governors")).unwrap_or_default();
    Clock {
        max_mhz: mhz("cpuinfo_max_freq"),
        limit_mhz: mhz("scaling_max_freq"),
        now_mhz: mhz("scaling_cur_freq"),
        governor: root.text(&file("scaling_governor")),
        governors: governors.split_whitespace().map(str::to_owned).collect(),
    }
}

/// The entries of `/proc/cpuinfo` with the numbers of their cores.
fn cpuinfo(text: &str) -> Vec<(usize, Entry)> {
    let mut entries: Vec<(usize, Entry)> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        if key == "processor"
            && let Ok(id) = value.parse()
        {
            entries.push((id, Entry::default()));
            continue;
        }
        let Some((_, entry)) = entries.last_mut() else { continue };
        let hex = || u32::from_str_radix(value.trim_start_matches("0x"), 16).ok();
        match key {
            "CPU implementer" => entry.implementer = hex(),
            "CPU part" => entry.part = hex(),
            "model name" | "uarch" => entry.model = Some(value.to_owned()),
            "Features" | "flags" => {
                for word in value.split_whitespace() {
                    let found = FEATURES.iter().find(|(linux, _)| *linux == word);
                    if let Some((_, name)) = found
                        && !entry.features.contains(name)
                    {
                        entry.features.push(name);
                    }
                }
            }
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::super::recorded::machine;
    use super::*;

    fn summary(name: &str) -> Vec<(String, Vec<usize>, Option<u32>, String)> {
        let (_folder, root) = machine(name);
        read(&root).into_iter().map(|c| (c.core, c.ids, c.clock.max_mhz, c.features.join("+"))).collect()
    }

    #[test]
    fn boards_are_one_cluster() {
        let pi3 = ("cortex-a53".into(), vec![0, 1, 2, 3], Some(1400), "neon".into());
        assert_eq!(summary("raspberry-pi-3"), [pi3]);
        let pi4 = ("cortex-a72".into(), vec![0, 1, 2, 3], Some(1800), "neon".into());
        assert_eq!(summary("raspberry-pi-4"), [pi4]);
        let pi5 = ("cortex-a76".into(), vec![0, 1, 2, 3], Some(2400), "neon+fp16+dotprod".into());
        assert_eq!(summary("raspberry-pi-5"), [pi5]);
        // Two clusters of one kind, with an L3 each.
        let orin = |ids| ("cortex-a78ae".to_owned(), ids, Some(1510), "neon+fp16+dotprod".to_owned());
        assert_eq!(summary("jetson-orin-nano"), [orin(vec![0, 1, 2, 3]), orin(vec![4, 5])]);
    }

    #[test]
    fn a_phone_is_two_clusters_the_big_one_first() {
        assert_eq!(
            summary("galaxy-s9"),
            [
                ("cortex-a75".into(), vec![4, 5, 6, 7], Some(2803), "neon+fp16".into()),
                ("cortex-a55".into(), vec![0, 1, 2, 3], Some(1766), "neon+fp16".into()),
            ]
        );
    }

    #[test]
    fn a_silent_system_has_cores_of_no_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("sys/devices/system/cpu")).unwrap();
        std::fs::write(folder.path().join("sys/devices/system/cpu/online"), "0-1\n").unwrap();
        let found = read(&Root::at(folder.path()));
        assert_eq!((found.len(), found[0].ids.len(), found[0].core.as_str()), (1, 2, "unknown"));
    }
}
