//! Video4Linux2 cameras: the calls to the kernel, answered by a library in place of a driver, and by the kernel's own test
//! driver where it is loaded.
#![cfg(all(feature = "photos", target_os = "linux", target_env = "gnu"))]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// `cygnet detect` with a face detector; what it prints, a line a frame.
fn detect(command: &mut Command, args: &[&str]) -> Vec<Value> {
    let model = repository("tests/fixtures/blaze_int8.cygnet");
    let output =
        command.arg("detect").arg(model).args(args).args(["--json", "--threads", "1"]).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn cygnet() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin("cygnet"))
}

/// A photo as YUYV: BT.601, two pixels of a row share their color.
fn yuyv(photo: &Path) -> Vec<u8> {
    let photo = image::open(photo).unwrap().to_rgb8();
    assert_eq!(photo.dimensions(), (512, 512));
    let pixels: Vec<[f32; 3]> = photo.pixels().map(|p| p.0.map(f32::from)).collect();
    let luma = |[r, g, b]: [f32; 3]| 16.0 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0;
    let two = |pair: &[[f32; 3]; 2]| {
        let [r, g, b] = pair[0];
        let u = 128.0 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255.0;
        let v = 128.0 + (112.0 * r - 93.786 * g - 18.214 * b) / 255.0;
        [luma(pair[0]), u, luma(pair[1]), v].map(|value| value.round() as u8)
    };
    pixels.as_chunks::<2>().0.iter().flat_map(two).collect()
}

/// A camera gives what a recorded stream of the same frames gives, in both formats: the nearest size is taken, rows may be
/// longer than their pixels, a signal and a damaged frame are passed over, and buffers go back to the driver.
#[test]
fn a_camera_gives_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", &path("device.so")])
        .arg(repository("cli/tests/camera/device.c"))
        .arg("-ldl")
        .status();
    if compiled.is_err() {
        eprintln!("SKIPPED: there is no cc here");
        return;
    }
    assert!(compiled.unwrap().success());
    let photo = repository("assets/astronaut.jpg");
    std::fs::write(path("frame.yuyv"), yuyv(&photo)).unwrap();
    std::fs::copy(&photo, path("frame.mjpeg")).unwrap();
    for (format, file) in [("YUYV", "frame.yuyv"), ("MJPG", "frame.mjpeg")] {
        let recorded = detect(&mut cygnet(), &["--camera", &path(file), "--size", "512x512"]);
        let mut command = cygnet();
        command.env("LD_PRELOAD", path("device.so"));
        command.env("CAMERA_FORMAT", format).env("CAMERA_FRAME", path(file));
        let seen =
            detect(&mut command, &["--camera", "/dev/cygnet-camera", "--size", "500x600", "--frames", "5"]);
        assert_eq!((recorded.len(), seen.len()), (1, 5), "{format}");
        // The face of this photo, as its other tests know it.
        let found = recorded[0]["detections"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{format}: {recorded:?}");
        for (at, known) in [179.0, 81.0, 272.0, 174.0].into_iter().enumerate() {
            assert!((found[0]["box"][at].as_f64().unwrap() - known).abs() < 8.0, "{format}: {found:?}");
        }
        for frame in &seen {
            assert_eq!(frame["detections"], recorded[0]["detections"], "{format}");
        }
    }
}

/// The kernel's virtual camera, `modprobe vivid`.
#[test]
fn the_kernels_test_driver_gives_frames() {
    let names = std::fs::read_dir("/sys/class/video4linux").into_iter().flatten().flatten();
    let is_vivid = |name: &str| name.starts_with("vivid") && name.trim_end().ends_with("vid-cap");
    let vivid = names
        .filter(|entry| std::fs::read_to_string(entry.path().join("name")).is_ok_and(|name| is_vivid(&name)))
        .map(|entry| Path::new("/dev").join(entry.file_name()))
        .next();
    let Some(device) = vivid else {
        eprintln!("SKIPPED: there is no camera of the kernel's test driver; modprobe vivid makes one");
        return;
    };
    let frames = detect(&mut cygnet(), &["--camera", device.to_str().unwrap(), "--frames", "3"]);
    assert_eq!(frames.len(), 3);
}
