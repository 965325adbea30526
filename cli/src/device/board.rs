//! The machine as a whole: its name, system, memory, pages.

use super::Root;
use crate::common::decimal;

/// A machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// What its maker calls it.
    pub model: String,
    /// Release of the kernel.
    pub kernel: Option<String>,
    pub page_bytes: Option<u64>,
    pub memory: Memory,
    /// Whether the kernel backs large blocks with large pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// Processes that wanted to run in the last minute.
    pub load: Option<f64>,
}

/// Main memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub total: Option<u64>,
    pub available: Option<u64>,
    pub swap: Option<u64>,
}

pub fn read(root: &Root) -> Board {
    let meminfo = root.text("proc/meminfo").unwrap_or_default();
    let smaps = root.text("proc/self/smaps").unwrap_or_default();
    let huge = root.text("sys/kernel/mm/transparent_hugepage/enabled");
    Board {
        model: model(root),
        kernel: root.text("proc/sys/kernel/osrelease"),
        page_bytes: figure(&smaps, "KernelPageSize"),
        memory: Memory {
            total: figure(&meminfo, "MemTotal"),
            available: figure(&meminfo, "MemAvailable"),
            swap: figure(&meminfo, "SwapTotal"),
        },
        huge_pages: huge.and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())),
        load: root.text("proc/loadavg").and_then(|text| decimal(text.split_whitespace().next()?)),
    }
}

/// From the device tree, else what the kernel says of the board, else the firmware's tables, else what the kernel says of
/// the processor.
fn model(root: &Root) -> String {
    let cpuinfo = root.text("proc/cpuinfo").unwrap_or_default();
    let line = |key: &str| {
        cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    };
    root.text("proc/device-tree/model")
        .or_else(|| root.text("sys/firmware/devicetree/base/model"))
        .or_else(|| line("Model"))
        .or_else(|| line("Hardware"))
        .or_else(|| root.text("sys/devices/soc0/machine"))
        .or_else(|| root.text("sys/class/dmi/id/product_name"))
        .or_else(|| line("model name"))
        .unwrap_or_else(|| "unknown machine".to_owned())
}

/// A line `KEY:  NUMBER kB` in bytes.
fn figure(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::super::kept::machine;
    use super::*;

    #[test]
    fn names_pages_and_memory() {
        let (_folder, root) = machine("raspberry-pi-5");
        let board = read(&root);
        assert_eq!(board.model, "Raspberry Pi 5 Model B Rev 1.0");
        assert_eq!(board.page_bytes, Some(16384));
        assert_eq!(board.memory.total, Some(8064 << 20));
        assert_eq!(board.huge_pages.as_deref(), Some("madvise"));
        assert_eq!(board.load, Some(0.25));
        let (_folder, root) = machine("galaxy-s9");
        assert_eq!(read(&root).model, "Qualcomm Technologies, Inc SDM845");
        let (folder, root) = machine("pixel-8");
        assert_eq!(read(&root).model, "unknown machine");
        super::super::tree::put(&folder, "sys/devices/soc0/machine", "Zuma\n");
        assert_eq!(read(&root).model, "Zuma");
    }
}
