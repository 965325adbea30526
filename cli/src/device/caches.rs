//! The data caches of a core, as `/sys/devices/system/cpu/cpuN/cache` shows them.

use super::Root;

/// One cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    pub kib: u32,
    /// Cores that use it together.
    pub shared_by: u32,
}

/// Levels 1 to 3; `None` where the system does not say.
pub type Caches = [Option<Cache>; 3];

/// The caches that hold data of one core.
pub fn of_core(root: &Root, id: usize) -> Caches {
    let folder = format!("sys/devices/system/cpu/cpu{id}/cache");
    let mut caches = [None; 3];
    for index in root.list(&folder).into_iter().filter(|name| name.starts_with("index")) {
        let file = |name: &str| format!("{folder}/{index}/{name}");
        let level: Option<usize> = root.number(&file("level"));
        let holds_data = root.text(&file("type")).is_none_or(|kind| kind != "Instruction");
        let Some(slot) = level.and_then(|level| caches.get_mut(level.checked_sub(1)?)) else { continue };
        if holds_data && let Some(kib) = root.text(&file("size")).and_then(|text| kib(&text)) {
            let sharers = root.text(&file("shared_cpu_list"));
            let shared_by = sharers.map_or(1, |text| cygnet::topology::parse_list(&text).len().max(1)) as u32;
            *slot = Some(Cache { kib, shared_by });
        }
    }
    caches
}

/// `32K`, `1M` or `1024K`.
fn kib(text: &str) -> Option<u32> {
    match text.strip_suffix('M') {
        Some(mib) => mib.parse::<u32>().ok()?.checked_mul(1024),
        None => text.trim_end_matches('K').parse().ok(),
    }
    .filter(|&kib| kib > 0)
}

#[cfg(test)]
mod tests {
    use super::super::kept::machine;
    use super::*;

    #[test]
    fn sizes_and_sharers() {
        let (_folder, root) = machine("raspberry-pi-5");
        let cache = |kib, shared_by| Some(Cache { kib, shared_by });
        assert_eq!(of_core(&root, 0), [cache(64, 1), cache(512, 1), cache(2048, 4)]);
        let (_folder, root) = machine("raspberry-pi-3");
        assert_eq!(of_core(&root, 0), [cache(32, 1), cache(512, 4), None]);
        let (_folder, root) = machine("raspberry-pi-4");
        assert_eq!(of_core(&root, 0), [None; 3], "this kernel lists none");
        // Where firmware does not tell sizes, Linux lists caches without them.
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("sys/devices/system/cpu/cpu0/cache/index0");
        std::fs::create_dir_all(&index).unwrap();
        for (name, text) in [("level", "1\n"), ("type", "Data\n"), ("shared_cpu_list", "0\n")] {
            std::fs::write(index.join(name), text).unwrap();
        }
        assert_eq!(of_core(&Root::at(folder.path()), 0), [None; 3]);
        assert_eq!((kib("1M"), kib("48K"), kib("0K"), kib("x")), (Some(1024), Some(48), None, None));
    }
}
