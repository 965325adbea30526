//! `doctor` and the device's side of `bench` on recorded machines and on this one.
#![cfg(feature = "device")]

#[path = "devices/tree.rs"]
mod tree;

use assert_cmd::Command;
use cygnet_targets::Profile;
use serde_json::Value;

const MACHINES: [&str; 5] =
    ["raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5", "jetson-orin-nano", "galaxy-s9"];

fn cygnet(args: &[&str]) -> String {
    let mut command = Command::cargo_bin("cygnet").unwrap();
    let output = command.env_remove("CYGNET_ISA").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn doctor(machine: &str) -> (Value, String) {
    let root = tree::unpack(machine);
    let root = root.path().to_str().unwrap();
    let json = cygnet(&["doctor", "--sysfs-root", root, "--json"]);
    (serde_json::from_str(&json).unwrap(), cygnet(&["doctor", "--sysfs-root", root]))
}

fn advice(json: &Value) -> Vec<&str> {
    json["advice"].as_array().unwrap().iter().map(|a| a["code"].as_str().unwrap()).collect()
}

#[test]
fn what_to_change_is_found() {
    let (json, text) = doctor("raspberry-pi-4");
    assert_eq!(advice(&json), ["power-supply", "heat", "clock-limit", "governor", "busy"], "{text}");
    assert!(text.contains("scaling_governor"), "{text}");
    // Idle at a low clock, with a flag of the past that no longer holds anything down.
    assert_eq!(advice(&doctor("raspberry-pi-3").0), ["governor"]);
    let (json, text) = doctor("raspberry-pi-5");
    assert!(advice(&json).is_empty() && text.ends_with("Nothing to change.\n"), "{text}");
    let (json, text) = doctor("galaxy-s9");
    assert_eq!(advice(&json), ["heat", "clock-limit", "governor", "governor", "cores", "busy"], "{text}");
    // Cores that issue in order count half: the four fast ones are taken.
    assert_eq!(
        (&json["fast_cores"], &json["default_threads"]),
        (&serde_json::json!([4, 5, 6, 7]), &4.into())
    );
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
            "galaxy-s9" => continue,
            "jetson-orin-nano" => "jetson-orin",
            other => other,
        };
        let family = Profile::named(family).unwrap();
        assert_eq!(profile.page_bytes, family.page_bytes, "{machine}");
        assert_eq!(profile.qemu_cpu, family.qemu_cpu, "{machine}");
        let (ours, theirs) = (&profile.clusters[0], &family.clusters[0]);
        assert_eq!((&ours.core, ours.count, ours.in_order), (&theirs.core, theirs.count, theirs.in_order));
        assert_eq!(ours.features, theirs.features, "{machine}");
        let limits = |c: &cygnet_targets::Cluster| {
            let m = &c.mac_per_cycle;
            (m.int8, m.f32, m.f16)
        };
        assert_eq!(limits(ours), limits(theirs), "{machine}");
        if machine != "raspberry-pi-3" {
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
    // The recorded board: 4.7616 W all the time, of which each inference has its share.
    assert_eq!(json["power_sensor"], "ina3221 VDD_IN");
    assert!((json["machine"]["watts"].as_f64().unwrap() - 4.7616).abs() < 1e-6, "{}", json["machine"]);
    let share = json["machine"]["joules"].as_f64().unwrap() / 30.0;
    assert!((json["joules_per_inference"].as_f64().unwrap() - share).abs() < 1e-9);
    assert_eq!(json["machine"]["max_celsius"], 49.5);
    assert_eq!(json["machine"]["clocks"][0]["min_mhz"], 729);
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

/// What each recorded machine shows to `bench`, as its file says: clock of the first core of each cluster, temperature,
/// what holds it down, power.
#[test]
#[cfg(feature = "host")]
fn bench_shows_every_recorded_machine() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    let none: &[&str] = &[];
    type Shown<'a> = (&'a [u64], f64, &'a [&'a str], Option<&'a str>);
    let known: [(&str, Shown<'_>); 5] = [
        // A flag of the past holds nothing down now.
        ("raspberry-pi-3", (&[600], 47.236, none, None)),
        ("raspberry-pi-4", (&[1000], 81.312, &["throttled", "under-voltage"], None)),
        ("raspberry-pi-5", (&[2400], 48.5, none, None)),
        ("jetson-orin-nano", (&[729, 729], 49.5, none, Some("ina3221 VDD_IN"))),
        (
            "galaxy-s9",
            (&[1612, 1766], 74.8, &["heat: thermal-cpufreq-4 at step 3 of 22"], Some("power supply battery")),
        ),
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
        assert_eq!(seen["max_celsius"].as_f64(), Some(celsius), "{machine}: {seen}");
        assert_eq!(seen["slowed"], serde_json::json!(slowed), "{machine}");
        assert_eq!(json["power_sensor"].as_str(), sensor, "{machine}");
        let text = cygnet(&args);
        assert!(text.contains(&format!("{celsius:.1} °C at most")), "{machine}: {text}");
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
