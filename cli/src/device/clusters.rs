//! Groups of like cores: what they are, how fast they may and do run, who governs that.

use cygnet::topology;

use super::Root;
use super::caches::{self, Cache, Caches};
use super::known::{self, FEATURES, Known, Limits};

/// Cores of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The system's numbers.
    pub ids: Vec<usize>,
    /// The first core of each group that shares a clock: cores of one kind need not share it.
    pub clocked: Vec<usize>,
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

/// The clock of a cluster; where its cores have several, that of the first, and what holds any of them down.
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

impl Clock {
    /// Takes over what holds another clock of the cluster down.
    fn join(&mut self, other: Self) {
        self.limit_mhz = self.limit_mhz.into_iter().chain(other.limit_mhz).min();
        if other.governor.as_ref().is_some_and(|governor| governor != "performance") {
            self.governor = other.governor;
        }
    }
}

/// Whether both are the same, as far as both are known.
fn agree<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_none() || b.is_none() || a == b
}

impl Cluster {
    /// Whether a core is of this kind. Its caches are as large, though where some cores are fused off (four and two of an
    /// Orin Nano's clusters of four) or switched off, fewer share them.
    fn takes(&self, one: &Self) -> bool {
        let kib = |cache: &Option<Cache>| cache.map(|cache| cache.kib);
        let caches = self.caches.iter().zip(&one.caches).all(|(a, b)| agree(&kib(a), &kib(b)));
        let speed = agree(&self.capacity, &one.capacity) && agree(&self.clock.max_mhz, &one.clock.max_mhz);
        self.core == one.core && self.features == one.features && caches && speed
    }

    /// Takes a core of this kind in.
    fn take(&mut self, one: Self, has_own_clock: bool) {
        self.capacity = self.capacity.or(one.capacity);
        for (ours, cache) in self.caches.iter_mut().zip(one.caches) {
            *ours = ours.or(cache);
        }
        if self.clock.max_mhz.is_none() {
            self.clock = one.clock;
            self.clocked.clone_from(&one.ids);
        } else if has_own_clock {
            self.clock.join(one.clock);
            self.clocked.extend(&one.ids);
        }
        self.ids.extend(one.ids);
    }

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

/// The clusters, fastest first. Cores that are switched off are not seen.
pub fn read(root: &Root) -> Vec<Cluster> {
    let cpuinfo = root.text("proc/cpuinfo").unwrap_or_default();
    let entries = topology::entries(&cpuinfo);
    let mut ids: Vec<usize> =
        root.text("sys/devices/system/cpu/online").map_or_else(Vec::new, |text| topology::parse_list(&text));
    if ids.is_empty() {
        ids = entries.iter().map(|(id, _)| *id).collect();
    }
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut clocks: Vec<String> = Vec::new();
    for id in ids {
        let Some(one) = cluster_of_one(root, id, &entries) else { continue };
        // Who shares a clock is listed the same by all of them.
        let with = root.text(&format!("sys/devices/system/cpu/cpu{id}/cpufreq/related_cpus"));
        let has_own_clock = with.as_ref().is_some_and(|with| !clocks.contains(with));
        clocks.extend(with);
        // Of what a core does not tell, its neighbour's is taken.
        let alike = clusters.iter_mut().filter(|cluster| cluster.takes(&one));
        match alike.max_by_key(|cluster| cluster.ids.last().copied()) {
            Some(cluster) => cluster.take(one, has_own_clock),
            None => clusters.push(one),
        }
    }
    clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.speed()));
    clusters
}

/// `None` for a core that the system describes no longer: it was switched off meanwhile.
fn cluster_of_one(root: &Root, id: usize, entries: &[(usize, &str)]) -> Option<Cluster> {
    let entry = entries.iter().find(|(number, _)| *number == id);
    let identity = topology::identity(&root.path(""), id, entries);
    let clock = clock(root, id);
    if entry.is_none() && !entries.is_empty() && identity.is_none() && clock.max_mhz.is_none() {
        return None;
    }
    // Features are those that all cores have: any core's entry tells them.
    let lines = entry.or(entries.first()).map_or("", |(_, lines)| lines);
    let known = identity.and_then(|(implementer, part)| known::core_of(implementer, part));
    let model = topology::value(lines, "model name").or(topology::value(lines, "uarch"));
    let core = match (known, identity) {
        (Some(known), _) => known.name.to_owned(),
        (None, Some((implementer, part))) => format!("unknown-{implementer:02x}-{part:03x}"),
        (None, None) => model.unwrap_or("unknown").to_owned(),
    };
    let words = topology::value(lines, "Features").or(topology::value(lines, "flags")).unwrap_or_default();
    let mut features = Vec::new();
    for word in words.split_whitespace() {
        let found = FEATURES.iter().find(|(linux, _)| *linux == word);
        if let Some((_, name)) = found
            && !features.contains(name)
        {
            features.push(*name);
        }
    }
    Some(Cluster {
        ids: vec![id],
        clocked: vec![id],
        core,
        known,
        features,
        capacity: root.number(&format!("sys/devices/system/cpu/cpu{id}/cpu_capacity")),
        caches: caches::of_core(root, id),
        clock,
    })
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

#[cfg(test)]
mod tests {
    use super::super::kept::machine;
    use super::*;

    fn summary(name: &str) -> Vec<(String, Vec<usize>, Option<u32>, String)> {
        let (_folder, root) = machine(name);
        read(&root).into_iter().map(|c| (c.core, c.ids, c.clock.max_mhz, c.features.join("+"))).collect()
    }

    #[test]
    fn boards_are_one_cluster() {
        let pi3 = ("cortex-a53".into(), vec![0, 1, 2, 3], Some(1200), "neon".into());
        assert_eq!(summary("raspberry-pi-3"), [pi3]);
        let pi4 = ("cortex-a72".into(), vec![0, 1, 2, 3], Some(1800), "neon".into());
        assert_eq!(summary("raspberry-pi-4"), [pi4]);
        let pi5 = ("cortex-a76".into(), vec![0, 1, 2, 3], Some(2400), "neon+fp16+dotprod".into());
        assert_eq!(summary("raspberry-pi-5"), [pi5]);
        let orin = ("cortex-a78ae".into(), (0..6).collect(), Some(1510), "neon+fp16+dotprod".into());
        assert_eq!(summary("jetson-orin-nano"), [orin]);
    }

    /// Cores of one kind that do not share a clock.
    #[test]
    fn each_clock_of_a_cluster_is_known() {
        for (name, clocked) in [
            ("jetson-orin-nano", vec![0, 4]),
            ("jetson-agx-orin", vec![0, 4, 8]),
            ("raspberry-pi-5", vec![0]),
        ] {
            let (_folder, root) = machine(name);
            assert_eq!(read(&root)[0].clocked, clocked, "{name}");
        }
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

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            crate::device::tree::put(&folder, path, text);
        }
        let root = Root::at(folder.path());
        (folder, root)
    }

    /// A Snapdragon 835 with caches listed for its first core only, and without the clock of its fourth, as phones are found
    /// that switch cores off and on while they are asked.
    #[test]
    fn what_a_core_does_not_tell_is_its_neighbours() {
        let entry = |id, part| {
            format!("processor\t: {id}\nFeatures\t: fp asimd\nCPU implementer\t: 0x51\nCPU part\t: {part}\n")
        };
        let cpuinfo: String = (0..6).map(|id| entry(id, if id < 4 { "0x801" } else { "0x800" })).collect();
        let (_folder, root) = folder(&[
            ("proc/cpuinfo", &cpuinfo),
            ("sys/devices/system/cpu/online", "0-7\n"),
            ("sys/devices/system/cpu/cpu0/cache/index2/level", "2\n"),
            ("sys/devices/system/cpu/cpu0/cache/index2/type", "Unified\n"),
            ("sys/devices/system/cpu/cpu0/cache/index2/size", "1024K\n"),
            ("sys/devices/system/cpu/cpu0/cache/index2/shared_cpu_list", "0-3\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "1900800\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "1900800\n"),
            ("sys/devices/system/cpu/cpu2/cpufreq/cpuinfo_max_freq", "1900800\n"),
            ("sys/devices/system/cpu/cpu5/cpufreq/cpuinfo_max_freq", "2361600\n"),
        ]);
        let found = read(&root);
        // The last two cores are nowhere but among those that are online: they were switched off since.
        let ids: Vec<_> =
            found.iter().map(|c| (c.core.as_str(), c.ids.as_slice(), c.clock.max_mhz)).collect();
        assert_eq!(
            ids,
            [("cortex-a73", &[4, 5][..], Some(2361)), ("cortex-a53", &[0, 1, 2, 3][..], Some(1900)),]
        );
        assert_eq!(found[1].caches[1].map(|cache| cache.kib), Some(1024));
        assert_eq!(found[0].clocked, [5], "core 4 tells no clock");
    }

    /// Cores of one kind whose clusters differ in their clocks: one without a clock is of its neighbours' cluster.
    #[test]
    fn a_core_without_a_clock_is_of_its_neighbours_cluster() {
        let entry = |id| {
            format!("processor\t: {id}\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n")
        };
        let cpuinfo: String = (0..6).map(entry).collect();
        let (_folder, root) = folder(&[
            ("proc/cpuinfo", &cpuinfo),
            ("sys/devices/system/cpu/online", "0-5\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "1401600\n"),
            ("sys/devices/system/cpu/cpu2/cpufreq/cpuinfo_max_freq", "1401600\n"),
            ("sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq", "1094400\n"),
            ("sys/devices/system/cpu/cpu4/cpufreq/cpuinfo_max_freq", "1094400\n"),
        ]);
        let found = read(&root);
        let ids: Vec<_> = found.iter().map(|c| (c.ids.as_slice(), c.clock.max_mhz)).collect();
        assert_eq!(ids, [(&[0, 1, 2][..], Some(1401)), (&[3, 4, 5][..], Some(1094))]);
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
