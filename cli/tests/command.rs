//! The command line, as scripts see it.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use cygnet::format::op::{Binary, BinaryKind, Copy, Epilogue, Op};
use cygnet::format::program::{DType, Port, Program, READ_SLACK, State, Step, Storage, Tensor};
use cygnet::format::{Array, GoldenCase, Meta, WeightsAlign, Writer};
use cygnet::npz;

fn tensor(name: &str, storage: Storage, offset: u64, dims: &[u32]) -> Tensor {
    let pitch = dims.last().copied().unwrap_or(1);
    Tensor { name: name.into(), dtype: DType::F32, storage, offset, dims: dims.to_vec(), pitch, quant: None }
}

fn step(name: &str, op: Op, inputs: &[u32], output: u32) -> Step {
    Step { name: name.into(), op, inputs: inputs.iter().map(|&i| Some(i)).collect(), output }
}

fn copy(n: u32) -> Op {
    let strides = [0, 0, 0, 0, 0, 1];
    let dims = [1, 1, 1, 1, 1, n];
    Op::Copy(Copy { dims, src_offset: 0, src_strides: strides, dst_offset: 0, dst_strides: strides })
}

fn port(name: &str, tensor: u32) -> Port {
    Port { name: name.into(), tensor }
}

/// Picture `x` `[1, 4, 4, 3]`; `y` `[1, 48]` = 2 x: a classifier of the brightest byte.
fn doubling() -> Program {
    let add = Binary { kind: BinaryKind::Add, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE };
    Program {
        name: "doubling".into(),
        tensors: vec![
            tensor("x", Storage::Arena, 0, &[1, 4, 4, 3]),
            tensor("sum", Storage::Arena, 256, &[1, 4, 4, 3]),
            tensor("y", Storage::Arena, 512, &[1, 48]),
        ],
        steps: vec![step("add", Op::Binary(add), &[0, 0], 1), step("flat", copy(48), &[1], 2)],
        inputs: vec![port("x", 0)],
        outputs: vec![port("y", 2)],
        states: vec![],
        arena_bytes: 768,
        arena_lower_bound: 0,
    }
}

/// Picture `x` `[1, 64, 64, 3]`; `boxes` `[1, 2, 6]`, always the same ones.
fn boxes() -> Program {
    let bytes = 64 * 64 * 3 * 4;
    Program {
        name: "boxes".into(),
        tensors: vec![
            tensor("x", Storage::Arena, 0, &[1, 64, 64, 3]),
            tensor("constant", Storage::Weights, 0, &[1, 2, 6]),
            tensor("boxes", Storage::Arena, bytes + 64, &[1, 2, 6]),
        ],
        steps: vec![step("copy", copy(12), &[1], 2)],
        inputs: vec![port("x", 0)],
        outputs: vec![port("boxes", 2)],
        states: vec![],
        arena_bytes: bytes + 64 + 128,
        arena_lower_bound: 0,
    }
}

/// `y` = `sum` + `x`, three numbers, which is the next run's `sum`.
fn summing() -> Program {
    let add = Binary { kind: BinaryKind::Add, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE };
    Program {
        name: "summing".into(),
        tensors: vec![
            tensor("x", Storage::Arena, 0, &[3]),
            tensor("sum", Storage::Arena, 64, &[3]),
            tensor("y", Storage::Arena, 128, &[3]),
        ],
        steps: vec![step("add", Op::Binary(add), &[0, 1], 2), step("next", copy(3), &[2], 1)],
        inputs: vec![port("x", 0)],
        outputs: vec![port("y", 2)],
        states: vec![State { name: "sum".into(), tensor: 1, initial: None }],
        arena_bytes: 192,
        arena_lower_bound: 0,
    }
}

fn array(name: &str, dims: &[u32], values: &[f32]) -> Array {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Array { name: name.into(), dtype: DType::F32, dims: dims.to_vec(), bytes }
}

fn values(array: &Array) -> Vec<f32> {
    array.bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// A folder with the two models, an input and a photo.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let x = input();
        let double: Vec<f32> = x.iter().map(|v| 2.0 * v).collect();
        let case = GoldenCase {
            program: 0,
            tolerance: 0.0,
            inputs: vec![array("x", &[1, 4, 4, 3], &x)],
            outputs: vec![array("y", &[1, 48], &double)],
        };
        let mut bad = case.clone();
        bad.outputs[0].bytes[9 * 4] ^= 1;
        let program = doubling();
        for (name, case) in [("good.cygnet", case), ("bad.cygnet", bad)] {
            let meta: Meta = [("task", "classify"), ("author", "a test")].into_iter().collect();
            let golden = [case];
            let mut writer = Writer::new();
            writer.program(&program).meta(&meta).golden(&golden);
            writer.save(&place.path(name)).unwrap();
        }
        let rows = [8.0, 8.0, 40.0, 32.0, 0.9, 1.0, 0.0, 0.0, 4.0, 4.0, 0.1, 0.0_f32];
        let mut weights: Vec<u8> = rows.iter().flat_map(|v| v.to_le_bytes()).collect();
        weights.resize(weights.len() + READ_SLACK, 0);
        let meta: Meta = [("labels", "cat\ndog")].into_iter().collect();
        let program = boxes();
        let mut writer = Writer::new();
        writer.program(&program).meta(&meta).weights(&weights, WeightsAlign::Page16K);
        writer.save(&place.path("boxes.cygnet")).unwrap();
        place.put(
            "x.npz",
            &npz::npz_bytes(&[array("in:x", &[1, 4, 4, 3], &x), array("out:y", &[1], &[0.0])]).unwrap(),
        );
        place.put("x.npy", &npz::npy_bytes(&array("", &[1, 4, 4, 3], &x)));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Fails if a half-written file is left.
    #[track_caller]
    fn left_clean(&self) {
        let left: Vec<_> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("tmp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn cygnet(&self, args: &[&str]) -> Outcome {
        let mut command = Command::cargo_bin("cygnet").unwrap();
        let output = command.current_dir(self.0.path()).env_remove("CYGNET_ISA").args(args).output().unwrap();
        Outcome {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    #[track_caller]
    fn fails(self, code: i32, with: &str) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(self.err.contains(with), "{}", self.err);
    }
}

fn input() -> Vec<f32> {
    (0..48).map(|i| i as f32 / 4.0 - 3.0).collect()
}

fn doubled(path: &Path) -> bool {
    let read = npz::read(path).unwrap();
    let want: Vec<f32> = input().iter().map(|v| 2.0 * v).collect();
    read.len() == 1 && read[0].name == "y" && read[0].dims == [1, 48] && values(&read[0]) == want
}

#[test]
fn run_takes_arrays_in_every_form() {
    let place = Place::new();
    for input in ["x.npz", "x.npy", "x=x.npy", "in:x=x.npy"] {
        place.cygnet(&["run", "good.cygnet", "--input", input, "--output", "y.npz", "--repeat", "3"]).done();
        assert!(doubled(&place.path("y.npz")), "{input}");
        std::fs::remove_file(place.path("y.npz")).unwrap();
    }
    let out = place.cygnet(&["run", "good.cygnet", "--input", "x.npz"]).done();
    assert!(out.contains("y  f32 1x48") && out.contains("least -6, greatest 17.5"), "{out}");
    let out = place.cygnet(&["run", "good.cygnet", "-i", "x.npz", "--json", "-o", "y.json"]).done();
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((json["y"]["data"][1].as_f64(), json["y"]["shape"][1].as_u64()), (Some(-5.5), Some(48)));
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("y.json")).unwrap()).unwrap();
    assert_eq!(file, json);
    place.cygnet(&["run", "good.cygnet", "-i", "x.npz", "--profile", "--trace", "t.json"]).done();
    let trace: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("t.json")).unwrap()).unwrap();
    assert_eq!(trace["traceEvents"][1]["name"], "flat");
}

/// Frame after frame in processes of their own: what one leaves the next finds.
#[test]
fn states_go_from_run_to_run_by_files() {
    let place = Place::new();
    let program = summing();
    let mut writer = Writer::new();
    writer.program(&program).save(&place.path("sum.cygnet")).unwrap();
    place.put("one.npy", &npz::npy_bytes(&array("", &[3], &[1.0, 2.0, 3.0])));
    let first =
        ["run", "sum.cygnet", "-i", "one.npy", "-o", "y.npz", "--save-state", "s.npz", "--repeat", "3"];
    place.cygnet(&first).done();
    assert_eq!(
        values(&npz::read(&place.path("y.npz")).unwrap()[0]),
        [1.0, 2.0, 3.0],
        "each run from the same state"
    );
    for want in [[2.0, 4.0, 6.0], [3.0, 6.0, 9.0]] {
        let next = [
            "run",
            "sum.cygnet",
            "-i",
            "one.npy",
            "-o",
            "y.npz",
            "--load-state",
            "s.npz",
            "--save-state",
            "s.npz",
        ];
        place.cygnet(&next).done();
        assert_eq!(values(&npz::read(&place.path("y.npz")).unwrap()[0]), want);
    }
    let out = place.cygnet(&["inspect", "sum.cygnet"]).done();
    assert!(out.contains("  state   sum  f32 3"), "{out}");
    place.cygnet(&["run", "sum.cygnet", "-i", "one.npy", "--load-state", "one.npy"]).fails(1, "no state");
    let none = ["run", "good.cygnet", "-i", "x.npz", "--save-state", "s.npz"];
    place.cygnet(&none).fails(2, "the model has no states");
    place.left_clean();
}

#[test]
fn bad_inputs_are_named_with_what_to_do() {
    let place = Place::new();
    let run = |input: &str| place.cygnet(&["run", "good.cygnet", "--input", input]);
    run("none.npz").fails(1, "none.npz");
    place.put("other.npz", &npz::npz_bytes(&[array("a", &[1], &[0.0]), array("b", &[1], &[0.0])]).unwrap());
    run("other.npz").fails(1, "the model's inputs are 'x'; rename or remove it");
    place.put("shape.npy", &npz::npy_bytes(&array("", &[48], &input())));
    run("shape.npy").fails(1, "'x' has shape [1, 4, 4, 3], [48] was given; reshape");
    let mut odd = input();
    odd[5] = f32::NAN;
    place.put("nan.npy", &npz::npy_bytes(&array("", &[1, 4, 4, 3], &odd)));
    run("nan.npy").fails(1, "input 'x', element 5 is NaN");
    place.cygnet(&["run", "good.cygnet", "-i", "nan.npy", "--allow-nonfinite"]).done();
    place.cygnet(&["run", "good.cygnet"]).fails(2, "--input");
    place.cygnet(&["run", "good.cygnet", "-i", "x.npz", "-o", "y.txt"]).fails(2, ".npz or .json");
    place
        .cygnet(&["run", "good.cygnet", "-i", "x.npz", "--program", "big"])
        .fails(2, "the file has 'doubling'");
    place.cygnet(&["run", "good.cygnet", "-i", "x.npz", "--threads", "0"]).fails(2, "0 threads");
}

#[test]
fn bad_files_are_named_with_what_to_do() {
    let place = Place::new();
    let whole = std::fs::read(place.path("good.cygnet")).unwrap();
    place.put("cut.cygnet", &whole[..whole.len() - 7]);
    place.put("text.cygnet", b"hello");
    for command in ["inspect", "verify", "bench"] {
        place.cygnet(&[command, "none.cygnet"]).fails(1, "cannot open none.cygnet");
        place.cygnet(&[command, "cut.cygnet"]).fails(1, "cut.cygnet: the file has");
        place.cygnet(&[command, "text.cygnet"]).fails(1, "not a .cygnet file");
    }
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing_behind() {
    let place = Place::new();
    let run = |out: &str| place.cygnet(&["run", "good.cygnet", "-i", "x.npz", "-o", out]);
    run("no/such/folder/y.npz").fails(1, "create the folder first");
    std::fs::create_dir(place.path("y.npz")).unwrap();
    run("y.npz").fails(1, "y.npz");
    place.left_clean();
}

/// What a disk gives that has no room, and a file system that takes no files.
#[cfg(target_os = "linux")]
#[test]
fn full_disks_and_read_only_folders_are_named_and_keep_what_was_there() {
    let place = Place::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/fashion_mnist_cnn.onnx");
    place.put("y.npz", b"as it was");
    place.put("m.cygnet", b"as it was");
    let run: &[&str] = &["run", "good.cygnet", "-i", "x.npz", "-o"];
    let convert: &[&str] = &["convert", model, "--precision", "f32", "-o"];
    for (args, out) in [(run, "y.npz"), (convert, "m.cygnet")] {
        // A limit of the size of files stands for the disk's: files can be made, and not written.
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""])
            .arg(assert_cmd::cargo::cargo_bin("cygnet"))
            .args(args)
            .arg(out)
            .current_dir(place.0.path())
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains(out), "{err}");
        assert_eq!(std::fs::read(place.path(out)).unwrap(), b"as it was");
        place.left_clean();
        // Not even the superuser makes files here.
        let nowhere = format!("/sys/{out}");
        place.cygnet(&[args, &[nowhere.as_str()]].concat()).fails(1, &nowhere);
    }
}

#[test]
fn verify_compares_goldens() {
    let place = Place::new();
    let out = place.cygnet(&["verify", "good.cygnet"]).done();
    assert!(out.contains("1 cases as promised"), "{out}");
    // Element 9 is 2 * (9 / 4 - 3) = -1.5.
    place.cygnet(&["verify", "bad.cygnet"]).fails(1, "output 'y' differs first at element 9: -1.5 where");
    let json = place.cygnet(&["verify", "bad.cygnet", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (json["ok"].as_bool(), json["cases"][0]["mismatch"]["index"].as_u64()),
        (Some(false), Some(9))
    );
    let out = place.cygnet(&["verify", "boxes.cygnet"]).done();
    assert!(out.contains("goldens: none"), "{out}");
}

#[test]
fn inspect_shows_everything() {
    let place = Place::new();
    let out = place.cygnet(&["inspect", "good.cygnet"]).done();
    for part in
        ["PROG", "META", "a test", "input   x  f32 1x4x4x3", "output  y  f32 1x48", "binary", "goldens: 1"]
    {
        assert!(out.contains(part), "no {part} in:\n{out}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&place.cygnet(&["inspect", "good.cygnet", "--json"]).done()).unwrap();
    let program = &json["programs"][0];
    assert_eq!(
        (program["arena_bytes"].as_u64(), program["steps"][0]["op"].as_str()),
        (Some(768), Some("binary"))
    );
    assert_eq!(program["steps"][1]["memory"], 384);
}

#[test]
fn bench_reports_all_figures() {
    let place = Place::new();
    let out = place.cygnet(&["bench", "good.cygnet", "--runs", "20", "--threads", "1", "--json"]).done();
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let latency = |k: &str| json["latency_ms"][k].as_f64().unwrap();
    assert!(
        latency("min") <= latency("p50")
            && latency("p50") <= latency("p99")
            && latency("p99") <= latency("max")
    );
    assert_eq!((json["runs"].as_u64(), json["arena_bytes"].as_u64()), (Some(20), Some(768)));
    assert_eq!(json["profile"]["steps"].as_array().unwrap().len(), 2);
    let text = place.cygnet(&["bench", "good.cygnet", "--runs", "3"]).done();
    for part in ["p50", "p90", "p99", "throughput", "first inference", "predicted 768 B", "operation"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
}

#[test]
fn bench_runner_keeps_its_contract() {
    let place = Place::new();
    let bytes: Vec<u8> = input().iter().flat_map(|v| v.to_le_bytes()).collect();
    place.put("x.bin", &bytes);
    let args = ["bench-runner", "--model", "good.cygnet", "--iters", "7", "--warmup", "1", "--out", "o"];
    let out = place.cygnet(&[&args[..], &["--input", "images=f32:1,4,4,3:x.bin"]].concat()).done();
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["lat_ms"].as_array().unwrap().len(), 7);
    for key in ["version", "load_ms", "first_ms", "cold_ms", "cold_cpu_ms", "cpu_ms", "rss_mb", "rss_base_mb"]
    {
        assert!(!json[key].is_null(), "{key}");
    }
    assert_eq!(json["outputs"][0][1], 48);
    let result = std::fs::read(place.path("o.0.bin")).unwrap();
    assert_eq!(result[..4], (-6.0_f32).to_le_bytes());
    // [1, 3, 4, 4] is turned into the model's [1, 4, 4, 3].
    let out = place.cygnet(&[&args[..], &["--input", "x=f32:1,3,4,4:x.bin"]].concat()).done();
    assert!(out.contains("lat_ms"));
    let result = std::fs::read(place.path("o.0.bin")).unwrap();
    assert_eq!(result[4..8], (2.0 * input()[16]).to_le_bytes());
    place.cygnet(&[&args[..], &["--input", "x=f64:1:x.bin"]].concat()).fails(2, "NAME=TYPE:DIMS:FILE");
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let place = Place::new();
    let script = format!(
        "{} inspect good.cygnet --json | head -c 1",
        assert_cmd::cargo::cargo_bin("cygnet").display()
    );
    let mut shell = Command::new("bash");
    let output = shell.current_dir(place.0.path()).args(["-o", "pipefail", "-c", &script]).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn forced_instruction_sets_give_the_same_and_unknown_ones_are_refused() {
    let place = Place::new();
    let run = |isa: &str| {
        let mut command = Command::cargo_bin("cygnet").unwrap();
        command
            .current_dir(place.0.path())
            .env("CYGNET_ISA", isa)
            .args(["verify", "good.cygnet"])
            .output()
            .unwrap()
    };
    assert_eq!(run("generic").status.code(), Some(0));
    assert_eq!(run("mmx").status.code(), Some(2));
}

#[cfg(feature = "host")]
mod host {
    use super::*;

    /// A black photo with one white pixel.
    fn photo(place: &Place, name: &str, side: u32, (x, y): (u32, u32)) {
        let mut picture = image::RgbImage::new(side, side);
        picture.put_pixel(x, y, image::Rgb([0, 255, 0]));
        picture.save(place.path(name)).unwrap();
    }

    #[test]
    fn classify_finds_the_brightest() {
        let place = Place::new();
        photo(&place, "p.png", 4, (2, 1));
        // Pixel 1 * 4 + 2, green: byte 6 * 3 + 1.
        let out = place.cygnet(&["classify", "good.cygnet", "p.png", "--top", "1", "--json"]).done();
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["classes"][0]["class"], 19);
        // The same through `run`: 255 / 255 doubled.
        let out = place.cygnet(&["run", "good.cygnet", "--input", "p.png", "--json"]).done();
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((json["y"]["data"][19].as_f64(), json["y"]["data"][18].as_f64()), (Some(2.0), Some(0.0)));
        place.cygnet(&["classify", "boxes.cygnet", "p.png"]).fails(1, "classification");
        place.cygnet(&["classify", "good.cygnet", "good.cygnet"]).fails(1, "give a PNG or JPEG file");
    }

    #[test]
    fn detect_maps_boxes_to_the_photo_and_draws() {
        let place = Place::new();
        photo(&place, "p.png", 128, (0, 0));
        let out = place.cygnet(&["detect", "boxes.cygnet", "p.png", "--json", "-o", "marked.png"]).done();
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        let found = json["detections"].as_array().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0]["label"], &found[0]["class"]), (&"dog".into(), &1.into()));
        assert_eq!(found[0]["box"], serde_json::json!([16.0, 16.0, 80.0, 64.0]));
        let marked = image::open(place.path("marked.png")).unwrap().into_rgb8();
        assert_eq!(marked.dimensions(), (128, 128));
        assert_ne!(marked.get_pixel(79, 40).0, [0, 0, 0], "no frame at the right edge");
        assert_eq!(marked.get_pixel(40, 40).0, [0, 0, 0], "the frame is filled");
        let all =
            place.cygnet(&["detect", "boxes.cygnet", "p.png", "p.png", "--conf", "0.05", "-o", "out"]).done();
        assert!(all.contains("p.png: 2 found") && place.path("out/p.png").exists(), "{all}");
        place.cygnet(&["detect", "boxes.cygnet", "p.png", "--conf", "7"]).fails(2, "from 0 to 1");
        place.cygnet(&["detect", "boxes.cygnet", "p.png", "-o", "x.gif"]).fails(2, ".png or .jpg");
    }

    /// Frames come in time or are dropped: none is lost otherwise, and the last one is always seen.
    #[test]
    fn a_recorded_stream_stands_for_a_camera() {
        let place = Place::new();
        let jpeg = {
            photo(&place, "p.jpg", 128, (0, 0));
            std::fs::read(place.path("p.jpg")).unwrap()
        };
        place.put("s.mjpeg", &jpeg.repeat(5));
        let args = ["detect", "boxes.cygnet", "--camera", "s.mjpeg", "--json", "-o", "seen"];
        let out = place.cygnet(&args).done();
        let frames: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let dropped: u64 = frames.iter().map(|f| f["dropped"].as_u64().unwrap()).sum();
        assert_eq!(frames.len() as u64 + dropped, 5, "{out}");
        assert_eq!(frames[0]["photo"], "frame-000001");
        assert_eq!(frames[0]["detections"][0]["box"], serde_json::json!([16.0, 16.0, 80.0, 64.0]));
        assert!(place.path("seen/frame-000001.png").exists());

        // Green in BT.601: the brightest byte is the first pixel's green.
        place.put("s.yuyv", &[145, 54, 145, 34].repeat(8));
        let args =
            ["classify", "good.cygnet", "--camera", "s.yuyv", "--size", "4x4", "--frames", "1", "--top", "1"];
        let out = place.cygnet(&args).done();
        assert!(out.starts_with("frame-000001\n") && out.lines().count() == 2, "{out}");
        place.cygnet(&["classify", "good.cygnet", "--camera", "s.yuyv"]).fails(1, "give --size");
        place.cygnet(&["detect", "boxes.cygnet", "--camera", "/dev/none"]).fails(1, "ls /dev/video*");
        place.cygnet(&["detect", "boxes.cygnet", "--camera", "s.mjpeg", "p.jpg"]).fails(2, "--camera");
        place.cygnet(&["detect", "boxes.cygnet"]).fails(2, "PHOTOS");
    }

    #[test]
    fn completions_know_the_commands() {
        let place = Place::new();
        let out = place.cygnet(&["completions", "bash"]).done();
        assert!(out.contains("inspect") && out.contains("--threads"));
    }
}
