//! `doctor` and the device's side of `bench` on machines kept as files, recorded or put together, and on this one.
#![cfg(feature = "device")]

#[path = "devices/tree.rs"]
mod tree;

use assert_cmd::Command;
use cygnet_targets::Profile;
use serde_json::Value;

const MACHINES: [&str; 7] = [
    "raspberry-pi-3",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "jetson-orin-nano",
    "jetson-agx-orin",
    "galaxy-s9",
    "pixel-8",
];

fn cygnet(args: &[&str]) -> String {
    let mut command = Command::cargo_bin("cygnet").unwrap();
    let output = command.env_remove("CYGNET_ISA").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn doctor(machine: &str) -> (Value, String) {
    examine(&tree::unpack(machine))
}

fn examine(folder: &tempfile::TempDir) -> (Value, String) {
    let root = folder.path().to_str().unwrap();
    let json = cygnet(&["doctor", "--sysfs-root", root, "--json"]);
    (serde_json::from_str(&json).unwrap(), cygnet(&["doctor", "--sysfs-root", root]))
}

fn advice(json: &Value) -> Vec<&str> {
    json["advice"].as_array().unwrap().iter().map(|a| a["code"].as_str().unwrap()).collect()
}

/// A cluster: core, its numbers, MHz, KiB of the caches, each with the cores that share it.
type Cluster = (&'static str, std::ops::RangeInclusive<usize>, u32, [Option<(u32, u32)>; 3]);

/// Cores, clocks and caches of each machine, by its maker's data sheets: Broadcom's BCM2837, BCM2711 and BCM2712
/// (in Raspberry Pi's documentation), NVIDIA's Jetson Orin Nano and AGX Orin, Qualcomm's Snapdragon 845, Google's Tensor
/// G3. What a kernel does not list is not known.
#[test]
fn machines_are_what_their_makers_say() {
    let own = |kib| Some((kib, 1));
    let known: [(&str, &[Cluster], std::ops::RangeInclusive<usize>); 7] = [
        ("raspberry-pi-3", &[("cortex-a53", 0..=3, 1200, [own(32), Some((512, 4)), None])], 0..=3),
        ("raspberry-pi-4", &[("cortex-a72", 0..=3, 1800, [None; 3])], 0..=3),
        ("raspberry-pi-5", &[("cortex-a76", 0..=3, 2400, [own(64), own(512), Some((2048, 4))])], 0..=3),
        ("jetson-orin-nano", &[("cortex-a78ae", 0..=5, 1510, [own(64), own(256), Some((2048, 4))])], 0..=5),
        ("jetson-agx-orin", &[("cortex-a78ae", 0..=11, 2201, [own(64), own(256), Some((2048, 4))])], 0..=11),
        (
            "galaxy-s9",
            &[
                ("cortex-a75", 4..=7, 2803, [own(64), own(256), Some((2048, 8))]),
                ("cortex-a55", 0..=3, 1766, [own(32), own(128), Some((2048, 8))]),
            ],
            4..=7,
        ),
        (
            "pixel-8",
            &[
                ("cortex-x3", 8..=8, 2914, [None; 3]),
                ("cortex-a715", 4..=7, 2367, [None; 3]),
                ("cortex-a510", 0..=3, 1704, [None; 3]),
            ],
            4..=8,
        ),
    ];
    for (machine, clusters, fast) in known {
        let (json, text) = doctor(machine);
        let found = json["clusters"].as_array().unwrap();
        assert_eq!(found.len(), clusters.len(), "{machine}: {text}");
        for (found, (core, ids, mhz, caches)) in found.iter().zip(clusters) {
            assert_eq!(
                (found["core"].as_str(), &found["max_mhz"]),
                (Some(*core), &Value::from(*mhz)),
                "{machine}"
            );
            assert_eq!(found["cores"], serde_json::json!(ids.clone().collect::<Vec<_>>()), "{machine}");
            assert_eq!(
                found["in_order"],
                ["cortex-a53", "cortex-a55", "cortex-a510"].contains(core),
                "{machine}"
            );
            for (level, cache) in ["l1d", "l2", "l3"].iter().zip(caches) {
                let cache = cache.map(|(kib, by)| serde_json::json!({ "kib": kib, "shared_by_cores": by }));
                assert_eq!(found[level], cache.unwrap_or_default(), "{machine}: {level} of {core}");
            }
        }
        // Threads go to the fast cores: the big ones of a phone.
        assert_eq!(json["fast_cores"], serde_json::json!(fast.clone().collect::<Vec<_>>()), "{machine}");
        assert_eq!(json["default_threads"], fast.count(), "{machine}");
    }
}

#[test]
fn what_to_change_is_found() {
    let expected: [(&str, &[&str]); 7] = [
        // Hot, with its clock capped, and busy.
        ("raspberry-pi-3", &["heat", "governor", "busy"]),
        ("raspberry-pi-4", &["governor", "busy"]),
        ("raspberry-pi-5", &[]),
        ("jetson-orin-nano", &["governor"]),
        ("jetson-agx-orin", &[]),
        ("galaxy-s9", &["governor", "governor", "cores"]),
        ("pixel-8", &["governor", "governor", "governor", "cores"]),
    ];
    for (machine, codes) in expected {
        let (json, text) = doctor(machine);
        assert_eq!(advice(&json), codes, "{machine}: {text}");
        assert_eq!(codes.is_empty(), text.ends_with("Nothing to change.\n"), "{machine}: {text}");
    }
    let (_, text) = doctor("raspberry-pi-4");
    assert!(text.contains("tee /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "{text}");
    // The cores of this board are of one kind, with two clocks: both governors have to be set.
    let (_, text) = doctor("jetson-orin-nano");
    assert!(text.contains("tee /sys/devices/system/cpu/cpu{0,4}/cpufreq/scaling_governor"), "{text}");
}

/// A flag of the past holds nothing down now.
#[test]
fn what_is_over_is_no_advice() {
    let folder = tree::unpack("raspberry-pi-3");
    tree::put(&folder, "sys/devices/platform/soc/soc:firmware/get_throttled", "20000\n");
    tree::put(&folder, "sys/class/thermal/thermal_zone0/temp", "48312\n");
    tree::put(&folder, "proc/loadavg", "0.10 0.20 1.00 1/100 9000\n");
    let (json, _) = examine(&folder);
    assert_eq!(advice(&json), ["governor"]);
    assert_eq!(json["throttling"]["since_start"], serde_json::json!(["frequency capped"]));
}

/// A weak supply, heat, and a limit that someone set.
#[test]
fn a_board_that_is_held_down() {
    let folder = tree::unpack("raspberry-pi-4");
    tree::put(&folder, "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    tree::put(&folder, "sys/class/thermal/thermal_zone0/temp", "81312\n");
    for id in 0..4 {
        tree::put(&folder, &format!("sys/devices/system/cpu/cpu{id}/cpufreq/scaling_max_freq"), "1500000\n");
    }
    let (json, text) = examine(&folder);
    assert_eq!(advice(&json), ["power-supply", "heat", "clock-limit", "governor", "busy"], "{text}");
}

/// A phone slowed by heat, by the devices that cool its cores. Its clocks are no whole MHz: only the file says to what the
/// limit is to be lifted.
#[test]
fn a_phone_that_is_held_down() {
    let folder = tree::unpack("galaxy-s9");
    tree::put(&folder, "sys/class/thermal/cooling_device4/cur_state", "3\n");
    for id in 4..8 {
        tree::put(&folder, &format!("sys/devices/system/cpu/cpu{id}/cpufreq/scaling_max_freq"), "2323200\n");
    }
    let (json, text) = examine(&folder);
    assert_eq!(advice(&json), ["heat", "clock-limit", "governor", "governor", "cores"], "{text}");
    let cpufreq = "/sys/devices/system/cpu/cpu4/cpufreq";
    let command = format!("`cat {cpufreq}/cpuinfo_max_freq | sudo tee {cpufreq}/scaling_max_freq`");
    assert!(text.contains("held to 2323 of 2803 MHz") && text.contains(&command), "{text}");
}

/// Of cores of one kind with two clocks, one is held down.
#[test]
fn the_second_clock_of_a_cluster_is_looked_at() {
    let folder = tree::unpack("jetson-orin-nano");
    for id in 4..6 {
        tree::put(&folder, &format!("sys/devices/system/cpu/cpu{id}/cpufreq/scaling_max_freq"), "729600\n");
    }
    let (json, text) = examine(&folder);
    assert_eq!(advice(&json), ["clock-limit", "governor"], "{text}");
    assert!(text.contains("cpu{0,4}/cpufreq/scaling_max_freq"), "{text}");
    assert_eq!(json["clusters"][0]["limit_mhz"], 729);
}

/// A phone with a kernel of the 3.10 line: it numbers the cores, and tells once what holds for all. Nothing says which are
/// online.
#[test]
fn cores_that_are_described_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut cpuinfo = "Processor\t: AArch64 Processor rev 4 (aarch64)\n".to_owned();
    (0..8).for_each(|id| cpuinfo += &format!("processor\t: {id}\n"));
    cpuinfo += "Features\t: fp asimd crc32\nCPU implementer\t: 0x41\nCPU architecture: AArch64\n\
                CPU variant\t: 0x0\nCPU part\t: 0xd03\nCPU revision\t: 4\n\nHardware\t: Some Board\n";
    tree::put(&folder, "proc/cpuinfo", &cpuinfo);
    let (json, text) = examine(&folder);
    assert_eq!(json["model"], "Some Board");
    let clusters = &json["clusters"];
    assert_eq!(clusters.as_array().map(Vec::len), Some(1), "{text}");
    assert_eq!(clusters[0]["cores"], serde_json::json!([0, 1, 2, 3, 4, 5, 6, 7]));
    assert_eq!((&clusters[0]["core"], &clusters[0]["features"][0]), (&"cortex-a53".into(), &"neon".into()));
    assert_eq!(json["profile"]["clusters"][0]["count"], 8);
}

/// What 32-bit kernels call NEON chooses no kernel: programs there have portable ones, and profiles are of 64-bit machines.
#[test]
fn kernels_of_32_bits() {
    for (machine, core, in_order) in
        [("raspberry-pi-3-plus-32bit", "cortex-a53", true), ("raspberry-pi-4-32bit", "cortex-a72", false)]
    {
        let (json, text) = doctor(machine);
        let clusters = json["clusters"].as_array().unwrap();
        assert_eq!(clusters.len(), 1, "{machine}: {text}");
        assert_eq!(clusters[0]["cores"], serde_json::json!([0, 1, 2, 3]), "{machine}");
        assert_eq!((&clusters[0]["core"], &clusters[0]["in_order"]), (&core.into(), &in_order.into()));
        assert_eq!(clusters[0]["features"], serde_json::json!([]), "{machine}");
        assert_eq!(json["profile"], Value::Null, "{machine}");
        assert!(text.contains("not measured; portable ones"), "{machine}: {text}");
    }
    // Nothing but this text names the board.
    assert_eq!(doctor("raspberry-pi-3-plus-32bit").0["model"], "Raspberry Pi 3 Model B Plus Rev 1.3");
}

/// A Jetson TX2 in a mode that switches its two Denver cores off: their folders stay, with nothing in them, and
/// `/proc/cpuinfo` skips their numbers.
#[test]
fn numbers_have_gaps_where_cores_are_off() {
    let folder = tempfile::tempdir().unwrap();
    tree::put(&folder, "sys/devices/system/cpu/online", "0,3-5\n");
    tree::put(&folder, "sys/devices/system/cpu/offline", "1-2\n");
    let mut cpuinfo = String::new();
    for id in [0, 3, 4, 5] {
        cpuinfo += &format!(
            "processor\t: {id}\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32\n\
             CPU implementer\t: 0x41\nCPU part\t: 0xd07\n\n"
        );
        tree::put(&folder, &format!("sys/devices/system/cpu/cpu{id}/cpufreq/cpuinfo_max_freq"), "2035200\n");
        tree::put(&folder, &format!("sys/devices/system/cpu/cpu{id}/cpufreq/related_cpus"), "0 3 4 5\n");
    }
    for id in [1, 2] {
        tree::put(&folder, &format!("sys/devices/system/cpu/cpu{id}/online"), "0\n");
    }
    tree::put(&folder, "proc/cpuinfo", &cpuinfo);
    for online in ["0,3-5\n", ""] {
        tree::put(&folder, "sys/devices/system/cpu/online", online);
        let (json, text) = examine(&folder);
        assert_eq!(json["clusters"].as_array().map(Vec::len), Some(1), "{text}");
        assert_eq!(json["clusters"][0]["core"], "cortex-a57");
        assert_eq!(json["clusters"][0]["cores"], serde_json::json!([0, 3, 4, 5]));
        assert_eq!(json["fast_cores"], serde_json::json!([0, 3, 4, 5]));
        assert!(text.contains("0,3-5 (4 x cortex-a57)"), "{text}");
    }
}

#[test]
fn a_report_is_one_screen() {
    for machine in MACHINES {
        let (_, text) = doctor(machine);
        assert!(text.lines().count() <= 24, "{machine}:\n{text}");
    }
}

/// What a device prints is a profile of it: that of its family, as far as that was written down.
#[test]
fn reports_are_profiles() {
    let folder = tempfile::tempdir().unwrap();
    for machine in MACHINES {
        let (json, _) = doctor(machine);
        let path = folder.path().join(format!("{machine}.json"));
        std::fs::write(&path, json.to_string()).unwrap();
        let profile = cygnet_targets::load(&path).unwrap();
        let family = match machine {
            "galaxy-s9" | "pixel-8" | "jetson-agx-orin" => continue,
            "jetson-orin-nano" => "jetson-orin",
            other => other,
        };
        let family = Profile::named(family).unwrap();
        assert_eq!(profile.page_bytes, family.page_bytes, "{machine}");
        assert_eq!(profile.qemu_cpu, family.qemu_cpu, "{machine}");
        let (ours, theirs) = (&profile.clusters[0], &family.clusters[0]);
        assert_eq!((&ours.core, ours.in_order), (&theirs.core, theirs.in_order));
        assert_eq!(profile.core_count(), family.core_count(), "{machine}");
        assert_eq!(ours.features, theirs.features, "{machine}");
        let limits = |c: &cygnet_targets::Cluster| {
            let m = &c.mac_per_cycle;
            (m.int8, m.f32, m.f16)
        };
        assert_eq!(limits(ours), limits(theirs), "{machine}");
        // The kernel of this Raspberry Pi 4 lists no caches.
        if machine != "raspberry-pi-4" {
            assert_eq!((ours.l1d, ours.l2), (theirs.l1d, theirs.l2), "{machine}");
        }
    }
}

/// The running machine: its kernels are measured, and the measurement stands in the profile.
#[test]
fn this_machine_is_measured() {
    let json = cygnet(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let rates = report["measured"]["rates"].as_array().unwrap();
    assert_eq!(rates.len(), 9);
    assert!(rates.iter().all(|rate| rate["gmac_per_s"].as_f64().unwrap() > 0.0), "{rates:?}");
    assert!(report["measured"]["read_gb_per_s"].as_f64().unwrap() > 0.0);
    if !report["profile"].is_null() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("this.json");
        std::fs::write(&path, json).unwrap();
        let profile = cygnet_targets::load(&path).unwrap();
        assert_eq!(profile.clusters.iter().map(|c| c.measured.len()).sum::<usize>() % 9, 0);
        assert!(profile.clusters.iter().any(|c| c.measured.len() == 9));
    }
}

/// A model of this repository, as small as they come.
#[cfg(feature = "host")]
fn model(folder: &tempfile::TempDir) -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/fashion_mnist_cnn.onnx");
    let path = folder.path().join("m.cygnet").to_str().unwrap().to_owned();
    cygnet(&["convert", source, "--precision", "f32", "-o", &path]);
    path
}

#[test]
#[cfg(feature = "host")]
fn bench_sees_the_machine_and_writes_what_can_be_published() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let root = tree::unpack("jetson-orin-nano");
    let root = root.path().to_str().unwrap();
    let (svg, csv, html) = (file("c.svg"), file("c.csv"), file("r.html"));
    let args = ["bench", &model, "--runs", "30", "--threads", "2", "--sysfs-root", root, "--sustain", "2s"];
    let out = cygnet(&[&args[..], &["--svg", &svg, "--csv", &csv, "--report", &html, "--json"]].concat());
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["schema"], "cygnet-bench-1");
    let counted: u64 =
        json["histogram_ms"].as_array().unwrap().iter().map(|bin| bin[2].as_u64().unwrap()).sum();
    assert_eq!((json["runs"].as_u64(), counted), (Some(30), 30));
    // This board: 5.016 V and 1.2 A all the time, of which each inference has its share.
    assert_eq!(json["power_sensor"], "ina3221 VDD_IN");
    assert!((json["machine"]["watts"].as_f64().unwrap() - 5.016 * 1.2).abs() < 1e-6, "{}", json["machine"]);
    let share = json["machine"]["joules"].as_f64().unwrap() / 30.0;
    assert!((json["joules_per_inference"].as_f64().unwrap() - share).abs() < 1e-9);
    assert_eq!(json["machine"]["max_celsius"], 52.5);
    assert_eq!(json["machine"]["clocks"][0]["min_mhz"], 1510);
    // A long run holds no more at its end than at its beginning.
    let sustained = &json["sustained"];
    let (first, last) = (&sustained["held_first"], &sustained["held_last"]);
    assert_eq!((&first["threads"], &first["files"]), (&last["threads"], &last["files"]));
    let grown = last["rss_bytes"].as_u64().unwrap().saturating_sub(first["rss_bytes"].as_u64().unwrap());
    assert!(grown < 1 << 20, "{grown} bytes more");
    let windows = sustained["windows"].as_array().unwrap();
    let text = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(text.lines().count(), windows.len() + 1);
    let columns = text.lines().next().unwrap().split(',').count();
    assert!(text.lines().all(|line| line.split(',').count() == columns), "{text}");
    assert!(std::fs::read_to_string(&svg).unwrap().contains("<polyline"));
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(
        page.contains("m.cygnet on NVIDIA Jetson Orin Nano Developer Kit")
            && page.contains("mJ per inference")
    );
}

/// What each machine shows to `bench`, as its file says: clock of the first core of each cluster, temperature,
/// what holds it down, power.
#[test]
#[cfg(feature = "host")]
fn bench_shows_every_machine() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let none: &[&str] = &[];
    type Shown<'a> = (&'a [u64], Option<f64>, &'a [&'a str], Option<&'a str>);
    let agx = "ina3221 VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0+VDDQ_VDD2_1V8AO";
    let known: [(&str, Shown<'_>); 7] = [
        ("raspberry-pi-3", (&[1200], Some(82.206), &["frequency capped", "throttled"], None)),
        ("raspberry-pi-4", (&[1800], Some(62.809), none, None)),
        ("raspberry-pi-5", (&[2400], Some(49.05), none, None)),
        ("jetson-orin-nano", (&[1510], Some(52.5), none, Some("ina3221 VDD_IN"))),
        ("jetson-agx-orin", (&[2201], Some(56.5), none, Some(agx))),
        ("galaxy-s9", (&[825, 748], Some(37.8), none, Some("power supply battery"))),
        // Neither temperature nor power may be read.
        ("pixel-8", (&[500, 2130, 1197], None, none, None)),
    ];
    for (machine, (mhz, celsius, slowed, sensor)) in known {
        let root = tree::unpack(machine);
        let root = root.path().to_str().unwrap();
        let args = ["bench", &model, "--runs", "10", "--warmup", "1", "--threads", "1", "--sysfs-root", root];
        let json: Value = serde_json::from_str(&cygnet(&[&args[..], &["--json"]].concat())).unwrap();
        let seen = &json["machine"];
        let clocks: Vec<u64> =
            seen["clocks"].as_array().unwrap().iter().map(|c| c["min_mhz"].as_u64().unwrap()).collect();
        assert_eq!(clocks, mhz, "{machine}: {seen}");
        assert_eq!(seen["max_celsius"].as_f64(), celsius, "{machine}: {seen}");
        assert_eq!(seen["slowed"], serde_json::json!(slowed), "{machine}");
        assert_eq!(json["power_sensor"].as_str(), sensor, "{machine}");
        let text = cygnet(&args);
        let celsius = celsius.map_or("°C".to_owned(), |celsius| format!("{celsius:.1} °C at most"));
        assert_eq!(text.contains(&celsius), seen["max_celsius"].is_f64(), "{machine}: {text}");
        assert!(slowed.iter().all(|what| text.contains(what)), "{machine}: {text}");
    }
}

#[test]
#[cfg(feature = "host")]
fn bench_compares_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let out = cygnet(&["bench", "--compare", &model, &model, "--runs", "20", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((json["schema"].as_str(), json["pairs"].as_u64()), (Some("cygnet-bench-compare-1"), Some(20)));
    let speedup = &json["speedup"];
    let at = |key: &str| speedup[key].as_f64().unwrap();
    assert!(at("low95") <= at("p50") && at("p50") <= at("high95"), "{speedup}");
    assert_eq!(json["sides"].as_array().unwrap().len(), 2);
}

/// Where memory may not be locked, the message says what to raise.
#[test]
#[cfg(feature = "host")]
fn memory_is_locked_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let mut command = Command::cargo_bin("cygnet").unwrap();
    let output = command.args(["bench", &model, "--runs", "3", "--mlock", "--nice", "5"]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || err.contains("ulimit -l"), "{err}");
    let mut wrong = Command::cargo_bin("cygnet").unwrap();
    assert_eq!(wrong.args(["bench", &model, "--nice", "20"]).output().unwrap().status.code(), Some(2));
}

/// A mask that leaves one core leaves one thread.
#[test]
#[cfg(all(feature = "host", target_os = "linux"))]
fn an_affinity_mask_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let output = std::process::Command::new("taskset")
        .args(["-c", "0"])
        .arg(assert_cmd::cargo::cargo_bin("cygnet"))
        .args(["bench", &model, "--runs", "3", "--json"])
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: there is no taskset here");
        return;
    };
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["threads"], 1);
}

/// What the system says of a running process.
#[cfg(all(feature = "host", target_os = "linux"))]
fn status_kib(id: u32, key: &str) -> Option<u64> {
    let file = if key == "AnonHugePages" { "smaps_rollup" } else { "status" };
    let text = std::fs::read_to_string(format!("/proc/{id}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Stopped and continued, a measurement says so, and no time that it was stopped for is in its figures.
#[test]
#[cfg(all(feature = "host", target_os = "linux"))]
fn being_stopped_is_no_time_of_the_models() {
    use std::time::Duration;
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("cygnet"))
        .args([
            "bench",
            &model,
            "--runs",
            "10",
            "--warmup",
            "5",
            "--threads",
            "2",
            "--sustain",
            "3s",
            "--json",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(500));
        signal("-STOP");
        std::thread::sleep(Duration::from_millis(1200));
        signal("-CONT");
    }
    let output = child.wait_with_output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sustained = &json["sustained"];
    // One of the three may fall between two runs, where it changes no figure.
    let lost = sustained["interrupted"]["seconds"].as_f64().unwrap();
    assert!(
        sustained["interrupted"]["runs"].as_u64().unwrap() >= 1 && lost >= 1.0,
        "{}",
        sustained["interrupted"]
    );
    for window in sustained["windows"].as_array().unwrap() {
        assert!(window["max_ms"].as_f64().unwrap() < 1000.0, "{window}");
    }
}

/// Memory is locked, and of huge pages, while a model runs; where the system allows it.
#[test]
#[cfg(all(feature = "host", target_os = "linux"))]
fn memory_is_of_the_pages_that_were_asked_for() {
    // Scratch of sixteen threads: more than a huge page, of which there are none in less.
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/blaze_f32.cygnet");
    let run = |option: &str, key: &str| {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("cygnet"))
            .args(["bench", model, "--sustain", "60s", "--threads", "16", option])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let begin = std::time::Instant::now();
        let mut most = 0;
        while most < 2048 && begin.elapsed().as_secs() < 10 && child.try_wait().unwrap().is_none() {
            most = most.max(status_kib(child.id(), key).unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let refused = child.try_wait().unwrap().is_some();
        let _ = child.kill();
        child.wait().unwrap();
        (most, refused)
    };
    let (locked, refused) = run("--mlock", "VmLck");
    if refused {
        eprintln!("SKIPPED: memory may not be locked here");
    } else {
        assert!(locked >= 2048, "{locked} KiB are locked");
    }
    let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if enabled.contains("[always]") || enabled.contains("[madvise]") {
        let (huge, _) = run("--huge-pages", "AnonHugePages");
        assert!(huge >= 2048, "{huge} KiB of huge pages");
    } else {
        eprintln!("SKIPPED: this system gives no huge pages");
    }
}

/// A control group of cores, taken away with the process when it is dropped.
#[cfg(all(feature = "host", target_os = "linux"))]
struct Cpuset(std::path::PathBuf);

#[cfg(all(feature = "host", target_os = "linux"))]
impl Cpuset {
    /// A new one of these cores, of either version; none where that is not allowed.
    fn new(cores: &str) -> Option<Self> {
        let name = format!("cygnet-test-{}", std::process::id());
        for base in ["/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"] {
            let group = Self(std::path::Path::new(base).join(&name));
            let _ = std::fs::write(format!("{base}/cgroup.subtree_control"), "+cpuset");
            if std::fs::create_dir(&group.0).is_ok()
                && group.put("cpuset.mems", "0").and(group.put("cpuset.cpus", cores)).is_ok()
            {
                return Some(group);
            }
        }
        None
    }

    fn put(&self, file: &str, text: &str) -> std::io::Result<()> {
        std::fs::write(self.0.join(file), text)
    }
}

#[cfg(all(feature = "host", target_os = "linux"))]
impl Drop for Cpuset {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A core goes in the midst of a measurement: the kernel moves the threads that are bound to it, as it does where a core
/// goes offline, and the runs go on with the same bits, which `--sustain` compares.
#[test]
#[cfg(all(feature = "host", target_os = "linux"))]
fn cores_that_go_stop_no_measurement() {
    use std::time::Duration;
    if std::thread::available_parallelism().unwrap().get() < 2 {
        eprintln!("SKIPPED: there is one core here");
        return;
    }
    let Some(group) = Cpuset::new("0-1") else {
        eprintln!("SKIPPED: no control group of cores may be made here");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("cygnet"))
        .args([
            "bench",
            &model,
            "--cores",
            "0,1",
            "--warmup",
            "5",
            "--runs",
            "10",
            "--sustain",
            "3s",
            "--json",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    group.put("cgroup.procs", &id.to_string()).unwrap();
    let masks = || -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
        let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
        let mask = |text: String| {
            let line = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            line.map(|list| list.trim().to_owned())
        };
        texts.filter_map(mask).collect()
    };
    std::thread::sleep(Duration::from_millis(800));
    group.put("cpuset.cpus", "0").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let after = masks();
    let output = child.wait_with_output().unwrap();
    assert_eq!(after, ["0", "0"], "the threads were moved while they ran");
    assert!(output.status.success());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["threads"], 2);
    assert!(json["sustained"]["windows"].as_array().unwrap().len() >= 4);
    assert_eq!(json["sustained"]["held_last"]["threads"], 2);
}

/// A machine whose last two cores are switched off: they are not there for the report, nor for its profile.
#[test]
fn cores_that_are_off_are_not_counted() {
    let root = tree::unpack("raspberry-pi-5");
    std::fs::write(root.path().join("sys/devices/system/cpu/online"), "0-1\n").unwrap();
    let out = cygnet(&["doctor", "--sysfs-root", root.path().to_str().unwrap(), "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["clusters"][0]["cores"], serde_json::json!([0, 1]));
    assert_eq!(json["profile"]["clusters"][0]["count"], 2);
}

/// Runs at a pace: as many as asked for, none earlier than it is due, and what is late or missed is told.
#[test]
#[cfg(feature = "host")]
fn paced_runs_tell_what_waking_takes() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let begin = std::time::Instant::now();
    let args = ["bench", &model, "--every", "20ms", "--runs", "12", "--warmup", "2", "--threads", "2"];
    let json: Value = serde_json::from_str(&cygnet(&[&args[..], &["--json"]].concat())).unwrap();
    assert!(begin.elapsed().as_millis() >= 240);
    let paced = &json["paced"];
    assert_eq!((paced["every_ms"].as_f64(), paced["runs"].as_u64()), (Some(20.0), Some(12)));
    let at = |spread: &str, key: &str| paced[spread][key].as_f64().unwrap();
    assert!(at("late_ms", "p50") >= 0.0 && at("late_ms", "p99") <= at("late_ms", "max"));
    let added = at("latency_ms", "p50") - json["latency_ms"]["p50"].as_f64().unwrap();
    assert!((paced["added_ms"].as_f64().unwrap() - added).abs() < 1e-9);
    let text = cygnet(&args);
    assert!(text.contains("paced       every 20 ms: begun late by p50"), "{text}");
    let unlike =
        Command::cargo_bin("cygnet").unwrap().args(["bench", &model, "--every", "0.5ms"]).output().unwrap();
    assert_eq!(unlike.status.code(), Some(2));
}
