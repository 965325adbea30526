//! The processor's cores: how fast each is, and which this process may use.

use std::fs;
use std::path::Path;

/// One core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core {
    /// The system's number.
    pub id: usize,
    /// Relative speed: the kernel's capacity (1024 for the fastest), else the highest frequency in kHz, half of it for
    /// cores that are known to issue in order. Comparable within one machine only.
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
        Self::read(Path::new("/sys/devices/system/cpu"), &crate::affinity::allowed())
    }

    /// Reads a folder laid out as Linux's `/sys/devices/system/cpu`. Cores for which it says nothing count as equal.
    /// `allowed` are the cores that may be used; when it is empty, all that the folder lists may.
    pub fn read(root: &Path, allowed: &[usize]) -> Self {
        let listed =
            fs::read_to_string(root.join("online")).map_or(Vec::new(), |text| parse_list(text.trim()));
        let mut ids: Vec<usize> = if allowed.is_empty() {
            listed
        } else {
            allowed.iter().copied().filter(|id| listed.is_empty() || listed.contains(id)).collect()
        };
        if ids.is_empty() {
            let n = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            ids = (0..n).collect();
        }
        let figure = |name: &str| -> Option<Vec<u64>> {
            ids.iter()
                .map(|id| fs::read_to_string(root.join(format!("cpu{id}/{name}"))).ok()?.trim().parse().ok())
                .collect()
        };
        let speeds = figure("cpu_capacity").unwrap_or_else(|| {
            let mut speeds = figure("cpufreq/cpuinfo_max_freq").unwrap_or_else(|| vec![1024; ids.len()]);
            for (speed, id) in speeds.iter_mut().zip(&ids) {
                let midr = fs::read_to_string(root.join(format!("cpu{id}/regs/identification/midr_el1")));
                if midr.is_ok_and(|text| is_in_order(text.trim())) {
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

/// Whether an identification register (MIDR_EL1, as Linux shows it) is that of a core which issues in order.
fn is_in_order(midr: &str) -> bool {
    // Arm's Cortex-A34, A53, A35, A55, A510 and A520; Qualcomm's cores made of A53 and A55.
    const ARM: [u64; 6] = [0xd02, 0xd03, 0xd04, 0xd05, 0xd46, 0xd80];
    const QUALCOMM: [u64; 3] = [0x801, 0x803, 0x805];
    let Ok(midr) = u64::from_str_radix(midr.trim_start_matches("0x"), 16) else { return false };
    let part = (midr >> 4) & 0xfff;
    match (midr >> 24) & 0xff {
        0x41 => ARM.contains(&part),
        0x51 => QUALCOMM.contains(&part),
        _ => false,
    }
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
        sys.put("online", "0-7\n");
        for (id, capacity) in [250, 250, 250, 250, 760, 760, 760, 1024].iter().enumerate() {
            sys.put(&format!("cpu{id}/cpu_capacity"), &format!("{capacity}\n"));
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
        sys.put("online", "0-3");
        for id in 0..4 {
            sys.put(&format!("cpu{id}/cpufreq/cpuinfo_max_freq"), if id < 2 { "1512000" } else { "1800000" });
        }
        let t = Topology::read(&sys.0, &[]);
        assert_eq!(ids(&t.cores), [2, 3, 0, 1]);
        assert_eq!(t.big().len(), 4);
    }

    #[test]
    fn silent_system_counts_cores_as_equal() {
        let sys = Folder::new("silent");
        sys.put("online", "0,2");
        let t = Topology::read(&sys.0, &[]);
        assert_eq!(ids(&t.cores), [0, 2]);
        assert!(t.is_uniform());
        assert_eq!(ids(&Topology::read(&sys.0, &[2, 3]).cores), [2]);
    }

    /// An RK3588 whose kernel tells no capacity: 4 Cortex-A55 at 1.8 GHz, 4 Cortex-A76 at 2.4 GHz.
    #[test]
    fn cores_that_issue_in_order_are_little_whatever_their_clock() {
        let folder = Folder::new("in-order");
        folder.put("online", "0-7\n");
        for id in 0..8 {
            let (khz, midr) =
                if id < 4 { (1_800_000, "0x00000000412fd050") } else { (2_400_000, "0x00000000414fd0b0") };
            folder.put(&format!("cpu{id}/cpufreq/cpuinfo_max_freq"), &format!("{khz}\n"));
            folder.put(&format!("cpu{id}/regs/identification/midr_el1"), &format!("{midr}\n"));
        }
        assert_eq!(ids(Topology::read(&folder.0, &[]).big()), [4, 5, 6, 7]);
        // All of one kind: no core is little.
        let alone = Topology::read(&folder.0, &[0, 1, 2, 3]);
        assert_eq!(ids(alone.big()), [0, 1, 2, 3]);
    }
}
