//! The processor's cores: how fast each is, and which this process may use.

use std::fs;
use std::path::Path;

/// One core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core {
    /// The system's number.
    pub id: usize,
    /// Relative speed: the kernel's capacity (1024 for the fastest) where it tells cores apart, else the highest frequency
    /// in kHz, half of it for cores that are known to issue in order. Comparable within one machine only.
    pub speed: u64,
}

/// The cores this process may use, fastest first, by number among equals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The cores.
    pub cores: Vec<Core>,
}

impl Topology {
    /// This machine's, less the cores that the process's affinity mask excludes.
    pub fn system() -> Self {
        Self::read(Path::new("/"), &crate::affinity::allowed())
    }

    /// Reads `sys/devices/system/cpu` and `proc/cpuinfo` below a folder. Cores for which they say nothing count as equal.
    /// `allowed` are the cores that may be used; when it is empty, all that are online may.
    pub fn read(root: &Path, allowed: &[usize]) -> Self {
        let cpus = root.join(CPUS);
        let listed =
            fs::read_to_string(cpus.join("online")).map_or(Vec::new(), |text| parse_list(text.trim()));
        let mut ids: Vec<usize> = if allowed.is_empty() {
            listed
        } else {
            allowed.iter().copied().filter(|id| listed.is_empty() || listed.contains(id)).collect()
        };
        let cpuinfo = || fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
        if ids.is_empty() {
            ids = entries(&cpuinfo()).iter().map(|(id, _)| *id).collect();
        }
        if ids.is_empty() {
            let n = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            ids = (0..n).collect();
        }
        let figure = |name: &str| -> Option<Vec<u64>> {
            ids.iter()
                .map(|id| fs::read_to_string(cpus.join(format!("cpu{id}/{name}"))).ok()?.trim().parse().ok())
                .collect()
        };
        // Where the device tree tells no capacities, Linux gives every core that of the fastest one.
        let differ = |speeds: &Vec<u64>| speeds.iter().any(|speed| *speed != speeds[0]);
        let speeds = figure("cpu_capacity").filter(differ).unwrap_or_else(|| {
            let mut speeds = clocks(&cpus, &ids).unwrap_or_else(|| vec![1024; ids.len()]);
            // On other processors the text takes milliseconds to write: it is asked for where cores are unlike.
            let cpuinfo = if differ(&speeds) { cpuinfo() } else { String::new() };
            let entries = entries(&cpuinfo);
            for (speed, &id) in speeds.iter_mut().zip(&ids) {
                if identity(root, id, &entries).is_some_and(is_in_order) {
                    // What Linux's device trees say of their work in a cycle beside that of the big cores they come with
                    // (`capacity-dmips-mhz`): Cortex-A53 485 of 1024 (RK3399), Cortex-A55 530 (RK3588).
                    *speed /= 2;
                }
            }
            speeds
        });
        let mut cores: Vec<Core> = ids.iter().zip(speeds).map(|(&id, speed)| Core { id, speed }).collect();
        cores.sort_by_key(|core| (std::cmp::Reverse(core.speed), core.id));
        Self { cores }
    }

    /// The cores of at least half the fastest one's speed: little cores would hold the others up.
    pub fn big(&self) -> &[Core] {
        let top = self.cores.first().map_or(0, |core| core.speed);
        let n = self.cores.iter().take_while(|core| core.speed >= top.div_ceil(2)).count();
        &self.cores[..n]
    }

    /// Whether all cores are equally fast, within 10 % (turbo bins differ by that much).
    pub fn is_uniform(&self) -> bool {
        match (self.cores.first(), self.cores.last()) {
            (Some(first), Some(last)) => last.speed.saturating_mul(10) >= first.speed.saturating_mul(9),
            _ => true,
        }
    }
}

/// Where Linux describes cores, below the root.
const CPUS: &str = "sys/devices/system/cpu";

/// The highest frequencies of cores in kHz. A core that tells none has its neighbour's: phones switch cores off and on
/// while they are asked.
fn clocks(cpus: &Path, ids: &[usize]) -> Option<Vec<u64>> {
    let told = |id: &usize| -> Option<u64> {
        fs::read_to_string(cpus.join(format!("cpu{id}/cpufreq/cpuinfo_max_freq"))).ok()?.trim().parse().ok()
    };
    let told: Vec<Option<u64>> = ids.iter().map(told).collect();
    let mut last = *told.iter().flatten().next()?;
    Some(
        told.into_iter()
            .map(|khz| {
                last = khz.unwrap_or(last);
                last
            })
            .collect(),
    )
}

/// Whether cores of this implementer and part number issue in order.
fn is_in_order((implementer, part): (u32, u32)) -> bool {
    // Arm's Cortex-A7, A34, A53, A35, A55, A510 and A520; Qualcomm's cores made of A53 and A55.
    const ARM: [u32; 7] = [0xc07, 0xd02, 0xd03, 0xd04, 0xd05, 0xd46, 0xd80];
    const QUALCOMM: [u32; 3] = [0x801, 0x803, 0x805];
    match implementer {
        0x41 => ARM.contains(&part),
        0x51 => QUALCOMM.contains(&part),
        _ => false,
    }
}

/// Implementer and part number of a core: from its identification register (MIDR_EL1), which kernels show from 4.8 on
/// where they may be asked, else from its entry of `/proc/cpuinfo`.
pub fn identity(root: &Path, id: usize, entries: &[(usize, &str)]) -> Option<(u32, u32)> {
    let register = root.join(format!("{CPUS}/cpu{id}/regs/identification/midr_el1"));
    let hex = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok();
    if let Some(midr) = fs::read_to_string(register).ok().and_then(|text| hex(&text)) {
        return Some((((midr >> 24) & 0xff) as u32, ((midr >> 4) & 0xfff) as u32));
    }
    let (_, lines) = entries.iter().find(|(number, _)| *number == id)?;
    let figure = |key| value(lines, key).and_then(hex).map(|figure| figure as u32);
    figure("CPU implementer").zip(figure("CPU part"))
}

/// The cores that a text laid out as `/proc/cpuinfo` lists, each with the lines on it. Old kernels number the cores first
/// and then tell once what the core is that wrote the text: those lines are taken for each one's.
pub fn entries(cpuinfo: &str) -> Vec<(usize, &str)> {
    let mut starts: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    for line in cpuinfo.split_inclusive('\n') {
        if let Some(id) = value(line, "processor").and_then(|id| id.parse().ok()) {
            starts.push((id, at));
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, at)| *at).chain([cpuinfo.len()]);
    let mut all: Vec<(usize, &str)> =
        starts.iter().zip(ends).map(|(&(id, start), end)| (id, &cpuinfo[start..end])).collect();
    let says_what = |lines: &str| value(lines, "Features").or(value(lines, "CPU part")).is_some();
    if let Some(&(_, last)) = all.last()
        && says_what(last)
    {
        all.iter_mut().filter(|(_, lines)| !says_what(lines)).for_each(|entry| entry.1 = last);
    }
    all
}

/// What lines of `KEY : VALUE` say of a key.
pub fn value<'a>(lines: &'a str, key: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// The most cores that a list may name: a bound on what is read from files.
const MAX_CORES: usize = 4096;

/// Cores of a list like `0-3,8,10-11`; parts that make no sense are left out.
pub fn parse_list(text: &str) -> Vec<usize> {
    let mut ids = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
            && last < MAX_CORES
        {
            ids.extend(first..=last);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("cygnet-topology-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn put(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn ids(cores: &[Core]) -> Vec<usize> {
        cores.iter().map(|c| c.id).collect()
    }

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-3,8,10-11"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse_list("2, 1,1"), [1, 2]);
        assert_eq!(parse_list("x,5,3-"), [5]);
        assert_eq!(parse_list("0-99999999999"), []);
    }

    #[test]
    fn phone_with_three_clusters() {
        let sys = Folder::new("phone");
        sys.put("sys/devices/system/cpu/online", "0-7\n");
        for (id, capacity) in [250, 250, 250, 250, 760, 760, 760, 1024].iter().enumerate() {
            sys.put(&format!("sys/devices/system/cpu/cpu{id}/cpu_capacity"), &format!("{capacity}\n"));
        }
        let all = Topology::read(&sys.0, &[]);
        assert_eq!(ids(&all.cores), [7, 4, 5, 6, 0, 1, 2, 3]);
        assert_eq!(ids(all.big()), [7, 4, 5, 6]);
        assert!(!all.is_uniform());
        let some = Topology::read(&sys.0, &[0, 1, 5]);
        assert_eq!(ids(&some.cores), [5, 0, 1]);
        assert_eq!(ids(some.big()), [5]);
    }

    #[test]
    fn board_without_capacities_uses_frequencies() {
        let sys = Folder::new("board");
        sys.put("sys/devices/system/cpu/online", "0-3");
        for id in 0..4 {
            sys.put(
                &format!("sys/devices/system/cpu/cpu{id}/cpufreq/cpuinfo_max_freq"),
                if id < 2 { "1512000" } else { "1800000" },
            );
        }
        let t = Topology::read(&sys.0, &[]);
        assert_eq!(ids(&t.cores), [2, 3, 0, 1]);
        assert_eq!(t.big().len(), 4);
    }

    #[test]
    fn silent_system_counts_cores_as_equal() {
        let sys = Folder::new("silent");
        sys.put("sys/devices/system/cpu/online", "0,2");
        let t = Topology::read(&sys.0, &[]);
        assert_eq!(ids(&t.cores), [0, 2]);
        assert!(t.is_uniform());
        assert_eq!(ids(&Topology::read(&sys.0, &[2, 3]).cores), [2]);
    }

    /// A Pixel 8 asked by a program that may not read the identification registers, as recorded (`pixel-8.tree` of the
    /// command's tests): Cortex-A510, A715 and X3.
    #[test]
    fn cores_without_registers_are_known_by_cpuinfo() {
        let folder = Folder::new("pixel");
        folder.put("sys/devices/system/cpu/online", "0-8\n");
        let mut cpuinfo = String::new();
        for id in 0..9 {
            let (khz, part) = match id {
                0..4 => (1_704_000, "0xd46"),
                4..8 => (2_367_000, "0xd4d"),
                _ => (2_914_000, "0xd4e"),
            };
            folder.put(
                &format!("sys/devices/system/cpu/cpu{id}/cpufreq/cpuinfo_max_freq"),
                &format!("{khz}\n"),
            );
            cpuinfo += &format!("processor\t: {id}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n");
        }
        folder.put("proc/cpuinfo", &cpuinfo);
        let t = Topology::read(&folder.0, &[]);
        assert_eq!(ids(t.big()), [8, 4, 5, 6, 7]);
    }

    #[test]
    fn a_core_without_a_frequency_has_its_neighbours() {
        let folder = Folder::new("gaps");
        folder.put("sys/devices/system/cpu/online", "0-3\n");
        for (id, khz) in [(1, "1000000\n"), (2, "2200000\n")] {
            folder.put(&format!("sys/devices/system/cpu/cpu{id}/cpufreq/cpuinfo_max_freq"), khz);
        }
        let t = Topology::read(&folder.0, &[]);
        assert_eq!((ids(&t.cores), ids(t.big())), (vec![2, 3, 0, 1], vec![2, 3]));
    }

    /// Linux tells a capacity of 1024 for all cores of a big.LITTLE machine whose device tree has none.
    #[test]
    fn capacities_that_are_all_equal_say_nothing() {
        let folder = Folder::new("equal");
        folder.put("sys/devices/system/cpu/online", "0-3\n");
        for id in 0..4 {
            let (khz, midr) = if id < 2 { (1_400_000, "0x410fd034") } else { (2_000_000, "0x410fd082") };
            let cpu = format!("sys/devices/system/cpu/cpu{id}");
            folder.put(&format!("{cpu}/cpu_capacity"), "1024\n");
            folder.put(&format!("{cpu}/cpufreq/cpuinfo_max_freq"), &format!("{khz}\n"));
            folder.put(&format!("{cpu}/regs/identification/midr_el1"), &format!("{midr}\n"));
        }
        assert_eq!(ids(Topology::read(&folder.0, &[]).big()), [2, 3]);
    }

    #[test]
    fn entries_of_every_kernel() {
        // As Linux 3.10 of 64-bit Arm writes it.
        let once = "Processor\t: AArch64 Processor rev 2 (aarch64)\nprocessor\t: 0\nprocessor\t: 1\n\
                    Features\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nHardware\t: some board\n";
        let found = entries(once);
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1]);
        let nowhere = Path::new("/nowhere");
        assert!((0..2).all(|id| identity(nowhere, id, &found) == Some((0x41, 0xd03))));
        // Two of four cores are off, and the last one that is on is of another kind.
        let each = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd07\n\nprocessor\t: 3\n\
                    CPU implementer\t: 0x4e\nCPU part\t: 0x003\n";
        let found = entries(each);
        assert_eq!(identity(nowhere, 0, &found), Some((0x41, 0xd07)));
        assert_eq!(identity(nowhere, 3, &found), Some((0x4e, 0x003)));
        assert_eq!(identity(nowhere, 1, &found), None);
        assert_eq!(entries("vendor_id : nobody\n"), []);
    }

    /// An RK3588 whose kernel tells no capacity: 4 Cortex-A55 at 1.8 GHz, 4 Cortex-A76 at 2.4 GHz.
    #[test]
    fn cores_that_issue_in_order_are_little_whatever_their_clock() {
        let folder = Folder::new("in-order");
        folder.put("sys/devices/system/cpu/online", "0-7\n");
        for id in 0..8 {
            let (khz, midr) =
                if id < 4 { (1_800_000, "0x00000000412fd050") } else { (2_400_000, "0x00000000414fd0b0") };
            folder.put(
                &format!("sys/devices/system/cpu/cpu{id}/cpufreq/cpuinfo_max_freq"),
                &format!("{khz}\n"),
            );
            folder.put(
                &format!("sys/devices/system/cpu/cpu{id}/regs/identification/midr_el1"),
                &format!("{midr}\n"),
            );
        }
        assert_eq!(ids(Topology::read(&folder.0, &[]).big()), [4, 5, 6, 7]);
        // All of one kind: no core is little.
        let alone = Topology::read(&folder.0, &[0, 1, 2, 3]);
        assert_eq!(ids(alone.big()), [0, 1, 2, 3]);
    }
}
