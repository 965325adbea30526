//! Which cores a machine has, by the identification register MIDR_EL1: implementer in bits 24 to 31, part in 4 to 15.

use std::arch::asm;
use std::fs;
use std::path::Path;

/// Implementers and parts of the cores that issue in order: Arm's A34, A53, A35, A55, A510 and A520, and the names that
/// Qualcomm gave to A53 and A55.
const IN_ORDER: [(u64, u64); 9] = [
    (0x41, 0xd02),
    (0x41, 0xd03),
    (0x41, 0xd04),
    (0x41, 0xd05),
    (0x41, 0xd46),
    (0x41, 0xd80),
    (0x51, 0x801),
    (0x51, 0x803),
    (0x51, 0x805),
];

/// Whether any of the machine's cores issues in order. Where cores differ, threads may run on any of them, and code in
/// an order that suits these costs the others less than the reverse.
pub(super) fn any_in_order() -> bool {
    let mut cores = listed(Path::new("/sys/devices/system/cpu"));
    if cores.is_empty() {
        // Kernels before 4.8 do not show them, and phones not to every program.
        cores = described(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
    }
    if cores.is_empty() { this_core().is_some_and(is_in_order) } else { cores.into_iter().any(is_in_order) }
}

fn is_in_order(midr: u64) -> bool {
    IN_ORDER.contains(&(midr >> 24 & 0xff, midr >> 4 & 0xfff))
}

/// The registers of all cores, as far as Linux shows them.
fn listed(root: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let read = |core: &Path| {
        let text = fs::read_to_string(core.join("regs/identification/midr_el1")).ok()?;
        u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
    };
    entries.flatten().filter_map(|entry| read(&entry.path())).collect()
}

/// Implementers and parts of the cores in a text like `/proc/cpuinfo`, where a register has them.
fn described(cpuinfo: &str) -> Vec<u64> {
    let mut implementer = 0;
    let mut cores = Vec::new();
    for line in cpuinfo.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let Ok(number) = u64::from_str_radix(value.trim().trim_start_matches("0x"), 16) else { continue };
        match key.trim() {
            "CPU implementer" => implementer = number & 0xff,
            "CPU part" => cores.push(implementer << 24 | (number & 0xfff) << 4),
            _ => {}
        }
    }
    cores
}

/// The register of the core that runs this, where the system lets programs read it: Linux does and says so in the
/// auxiliary vector (pairs of words, AT_HWCAP = 16, HWCAP_CPUID = bit 11).
fn this_core() -> Option<u64> {
    let auxv = fs::read("/proc/self/auxv").ok()?;
    let words: Vec<u64> = auxv.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b)).collect();
    let [_, capabilities] = *words.as_chunks::<2>().0.iter().find(|pair| pair[0] == 16)?;
    if capabilities >> 11 & 1 == 0 {
        return None;
    }
    let midr: u64;
    // SAFETY: the system said that the register can be read, which changes nothing.
    unsafe { asm!("mrs {}, midr_el1", out(reg) midr, options(nomem, nostack, preserves_flags)) };
    Some(midr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_known_by_their_register() {
        // As Raspberry Pi 3, 4 and 5 and an i.MX 93 show it.
        assert!(is_in_order(0x410f_d034));
        assert!(!is_in_order(0x410f_d083));
        assert!(!is_in_order(0x414f_d0b1));
        assert!(is_in_order(0x412f_d050));
    }

    #[test]
    fn cores_are_read_from_what_linux_says_of_them() {
        let text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd4d\n\n\
                    processor\t: 1\nCPU implementer\t: 0x51\nCPU part\t: 0x803\nCPU revision\t: 12\n";
        assert_eq!(described(text), [0x4100_d4d0, 0x5100_8030]);
        assert!(is_in_order(described(text)[1]) && !is_in_order(described(text)[0]));
        assert!(described("vendor_id\t: somebody\n").is_empty());
    }

    #[test]
    fn cores_are_read_from_a_folder_like_linuxs() {
        let root = std::env::temp_dir().join(format!("cygnet-cores-{}", std::process::id()));
        for (core, text) in
            [("cpu0", "0x00000000412fd050\n"), ("cpu1", "0x00000000414fd0b1\n"), ("cpuidle", "")]
        {
            let folder = root.join(core).join("regs/identification");
            fs::create_dir_all(&folder).unwrap();
            if !text.is_empty() {
                fs::write(folder.join("midr_el1"), text).unwrap();
            }
        }
        let mut found = listed(&root);
        found.sort_unstable();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [0x412f_d050, 0x414f_d0b1]);
    }
}
