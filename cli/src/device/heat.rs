//! Temperatures, and who holds the clock down.

use super::Root;

/// A thermal zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    pub name: String,
    pub celsius: f64,
    /// The lowest temperature at which the system begins to slow the machine down.
    pub throttles_at: Option<f64>,
}

/// The zones that can be read.
pub fn zones(root: &Root) -> Vec<Zone> {
    let base = "sys/class/thermal";
    let names = root.list(base);
    names
        .iter()
        .filter(|name| name.starts_with("thermal_zone"))
        .filter_map(|zone| read(root, base, zone))
        .collect()
}

fn read(root: &Root, base: &str, zone: &str) -> Option<Zone> {
    let file = |name: &str| format!("{base}/{zone}/{name}");
    let celsius = degrees(root.number(&file("temp"))?)?;
    let name = root.text(&file("type")).unwrap_or_else(|| zone.to_owned());
    let trip = |i: usize| {
        let passive = root.text(&file(&format!("trip_point_{i}_type")))? == "passive";
        degrees(root.number(&file(&format!("trip_point_{i}_temp")))?).filter(|_| passive)
    };
    let throttles_at = (0..16).filter_map(trip).reduce(f64::min);
    Some(Zone { name, celsius, throttles_at })
}

/// Thousandths of a degree; older kernels of phones give tenths for some zones, and whole degrees for others. Sensors that
/// are switched off give values no chip has.
fn degrees(value: i64) -> Option<f64> {
    let unit = match value.abs() {
        0..=150 => 1.0,
        151..=999 => 10.0,
        _ => 1000.0,
    };
    let celsius = value as f64 / unit;
    (celsius != 0.0 && (-30.0..=150.0).contains(&celsius)).then_some(celsius)
}

/// Zones of Samsung's and Google's processors, which are named after clusters.
const CLUSTERS: [&str; 3] = ["big", "mid", "little"];

/// The zone that tells most of the processor: the hottest of those named after it, else the hottest.
pub fn processor(zones: &[Zone]) -> Option<&Zone> {
    let named = |zone: &&Zone| {
        let name = zone.name.to_ascii_lowercase();
        ["cpu", "pkg", "soc"].iter().any(|part| name.contains(part)) || CLUSTERS.contains(&name.as_str())
    };
    let hotter = |a: &&Zone, b: &&Zone| a.celsius.total_cmp(&b.celsius);
    zones.iter().filter(named).max_by(hotter).or_else(|| zones.iter().max_by(hotter))
}

/// What holds the machine down now, and what did since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    pub now: Vec<String>,
    pub since_start: Vec<String>,
    /// Whether anything on this machine would tell.
    pub known: bool,
}

/// Bits of the Raspberry Pi's firmware, from its documentation of `get_throttled`; those since the start are 16 higher.
const FIRMWARE: [(u32, &str); 4] =
    [(0, "under-voltage"), (1, "frequency capped"), (2, "throttled"), (3, "soft temperature limit")];

/// Reads the firmware's flags, cooling devices of the processor, and the counters of x86-64.
pub fn throttling(root: &Root) -> Throttling {
    let mut found = Throttling::default();
    if let Some(flags) = firmware(root) {
        found.known = true;
        for (bit, what) in FIRMWARE {
            if flags >> bit & 1 == 1 {
                found.now.push(what.to_owned());
            }
            if flags >> (bit + 16) & 1 == 1 {
                found.since_start.push(what.to_owned());
            }
        }
    }
    let base = "sys/class/thermal";
    for device in root.list(base).into_iter().filter(|name| name.starts_with("cooling_device")) {
        let kind = root.text(&format!("{base}/{device}/type")).unwrap_or_default();
        let of_processor = kind.contains("cpufreq") || kind.contains("cpu-") || kind == "Processor";
        if !of_processor {
            continue;
        }
        found.known = true;
        let state: u32 = root.number(&format!("{base}/{device}/cur_state")).unwrap_or(0);
        if state > 0 {
            let most: u32 = root.number(&format!("{base}/{device}/max_state")).unwrap_or(state);
            found.now.push(format!("heat: {kind} at step {state} of {most}"));
        }
    }
    let cpus = "sys/devices/system/cpu";
    let counts = root
        .list(cpus)
        .into_iter()
        .filter_map(|cpu| root.number::<u64>(&format!("{cpus}/{cpu}/thermal_throttle/core_throttle_count")));
    if let Some(count) = counts.reduce(|a, b| a.saturating_add(b)) {
        found.known = true;
        if count > 0 {
            found.since_start.push(format!("heat, {count} times"));
        }
    }
    found
}

/// The hexadecimal flags of the Raspberry Pi's firmware driver, wherever this kernel puts its device.
fn firmware(root: &Root) -> Option<u32> {
    let base = "sys/devices/platform";
    let read = |folder: &str| {
        let text = root.text(&format!("{folder}/get_throttled"))?;
        u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    };
    let is_firmware = |name: &String| name.contains("firmware");
    let outer = root.list(base);
    outer.iter().filter(|name| is_firmware(name)).find_map(|name| read(&format!("{base}/{name}"))).or_else(
        || {
            outer.iter().filter(|name| name.starts_with("soc") || name.starts_with("axi")).find_map(|soc| {
                let inner = root.list(&format!("{base}/{soc}"));
                inner
                    .iter()
                    .filter(|name| is_firmware(name))
                    .find_map(|name| read(&format!("{base}/{soc}/{name}")))
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::kept::machine;
    use super::*;

    #[test]
    fn flags_of_the_firmware() {
        let (folder, root) = machine("raspberry-pi-3");
        let found = throttling(&root);
        // 0x60006: its frequency capped and throttled, now and before.
        assert_eq!(found.now, ["frequency capped", "throttled"]);
        assert_eq!(found.since_start, ["frequency capped", "throttled"]);
        // 0x50005: under-voltage and throttled.
        let flags = folder.path().join("sys/devices/platform/soc/soc:firmware/get_throttled");
        std::fs::write(flags, "50005\n").unwrap();
        let found = throttling(&root);
        assert_eq!(found.now, ["under-voltage", "throttled"]);
        assert_eq!(found.since_start, ["under-voltage", "throttled"]);
        let (_folder, root) = machine("raspberry-pi-5");
        assert_eq!(throttling(&root), Throttling { known: true, ..Throttling::default() });
    }

    #[test]
    fn cooling_devices_of_the_processor() {
        let (folder, root) = machine("galaxy-s9");
        assert_eq!(throttling(&root), Throttling { known: true, ..Throttling::default() });
        std::fs::write(folder.path().join("sys/class/thermal/cooling_device4/cur_state"), "3\n").unwrap();
        let found = throttling(&root);
        assert_eq!(found.now, ["heat: thermal-cpufreq-4 at step 3 of 22"]);
    }

    #[test]
    fn zones_and_where_they_slow_the_machine_down() {
        let (_folder, root) = machine("jetson-orin-nano");
        let zones = zones(&root);
        // Zones of blocks that are switched off cannot be read, and are not there.
        let names: Vec<_> = zones.iter().map(|z| z.name.as_str()).collect();
        assert_eq!(names, ["cpu-thermal", "soc0-thermal", "soc1-thermal", "soc2-thermal", "tj-thermal"]);
        let cpu = processor(&zones).unwrap();
        assert_eq!((cpu.name.as_str(), cpu.celsius, cpu.throttles_at), ("cpu-thermal", 52.5, Some(99.0)));
    }

    #[test]
    fn zones_of_phones() {
        // The battery of this one tells tenths.
        let (_folder, root) = machine("galaxy-s9");
        let zones = zones(&root);
        assert_eq!((zones[0].name.as_str(), zones[0].celsius), ("battery", 31.0));
        assert_eq!(processor(&zones).unwrap().name, "cpu0-gold-usr");
        let zone = |name: &str, celsius| Zone { name: name.into(), celsius, throttles_at: None };
        // Exynos and Tensor: zones are named after clusters. Qualcomm's older kernels: after sensors.
        let exynos = [zone("LITTLE", 41.0), zone("BIG", 48.0), zone("G3D", 52.0), zone("battery", 30.0)];
        assert_eq!(processor(&exynos).unwrap().name, "BIG");
        let older = [zone("battery", 31.0), zone("tsens_tz_sensor8", 32.2), zone("tsens_tz_sensor9", 30.9)];
        assert_eq!(processor(&older).unwrap().name, "tsens_tz_sensor8");
    }

    #[test]
    fn values_no_chip_has_are_left_out() {
        assert_eq!(
            (degrees(45_000), degrees(45), degrees(322), degrees(-274_000), degrees(0)),
            (Some(45.0), Some(45.0), Some(32.2), None, None)
        );
        // Sensors of Qualcomm's that are not connected.
        assert_eq!((degrees(-40), degrees(-128_000), degrees(200_000)), (None, None, None));
    }
}
