//! Calibration by the command line: parts, merging, going on, and what is refused.
#![cfg(feature = "host")]

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use cygnet::DType;
use cygnet::format::Array;
use cygnet::format::Reader;
use cygnet::npz;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets").join(name)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs `cygnet` in the folder.
    fn cygnet(&self, args: &[&str]) -> Output {
        Command::cargo_bin("cygnet").unwrap().current_dir(self.0.path()).args(args).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        let out = self.cygnet(args);
        let error = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{args:?}: {error}");
        error
    }

    fn fails(&self, args: &[&str], with: &str) {
        let out = self.cygnet(args);
        let error = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && error.contains(with), "{args:?}: {error}");
    }

    /// An image for the Fashion-MNIST model.
    fn images(&self, name: &str, first: usize, values: impl Fn(usize, usize) -> f32) {
        let one = 28 * 28;
        let bytes = (0..one).flat_map(|i| values(first, i).to_le_bytes()).collect();
        let array = Array { name: "input".into(), dtype: DType::F32, dims: vec![1, 1, 28, 28], bytes };
        std::fs::write(self.path(name), npz::npz_bytes(&[array]).unwrap()).unwrap();
    }
}

fn noise(sample: usize, i: usize) -> f32 {
    let h = (sample as u64 * 1_000_003 + i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (h >> 40) as f32 / (1 << 24) as f32 * 2.0 - 0.8
}

#[test]
fn parts_merged_in_any_order_are_one_calibration_byte_for_byte() {
    let f = Folder::new();
    std::fs::create_dir(f.path("samples")).unwrap();
    (0..5).for_each(|i| f.images(&format!("samples/{i}.npz"), i, noise));
    let source = model("fashion_mnist_cnn.onnx");
    let calibrate = |output: &str, shard: &str| {
        f.done(&[
            "calibrate",
            source.to_str().unwrap(),
            "--samples",
            "samples",
            "-o",
            output,
            "--shard",
            shard,
            "-q",
        ]);
    };
    calibrate("whole.cal", "1/1");
    ["1/3", "2/3", "3/3"].iter().for_each(|s| calibrate(&format!("{}.cal", &s[..1]), s));
    f.done(&["calibrate", "merge", "3.cal", "1.cal", "2.cal", "-o", "merged.cal"]);
    assert_eq!(f.bytes("merged.cal"), f.bytes("whole.cal"));
    assert!(f.bytes("1.cal") != f.bytes("whole.cal"));
    // Converted by the calibration, the model is the one converted by the samples, but for the record of the options.
    let convert = |with: &[&str], output: &str| {
        let mut args = vec!["convert", source.to_str().unwrap(), "--precision", "int8", "-q", "-o", output];
        args.extend(["--goldens", "0"]);
        args.extend(with);
        f.done(&args);
    };
    convert(&["--calibration", "merged.cal"], "a.cygnet");
    convert(&["--calibrate", "samples"], "b.cygnet");
    // Without samples nothing is known of what steps lose, which the report would say.
    let (a, b) = (f.bytes("a.cygnet"), f.bytes("b.cygnet"));
    let (a, b) = (Reader::open(&a).unwrap(), Reader::open(&b).unwrap());
    assert_eq!(a.program(0).unwrap(), b.program(0).unwrap());
    assert!(a.weights() == b.weights());
    f.fails(&["calibrate", "merge", "1.cal", "1.cal", "-o", "m.cal"], "twice");
    // Another model's.
    let other = model("seg_selfie.onnx");
    f.fails(
        &[
            "convert",
            other.to_str().unwrap(),
            "--precision",
            "int8",
            "--calibration",
            "1.cal",
            "-o",
            "c.cygnet",
        ],
        "another model file",
    );
}

#[test]
fn samples_that_make_no_sense_are_told() {
    let f = Folder::new();
    let source = model("fashion_mnist_cnn.onnx");
    let warnings = |samples: &[&str]| {
        let mut args = vec!["calibrate", source.to_str().unwrap(), "-o", "x.cal", "-q", "--samples"];
        args.extend(samples);
        f.done(&args)
    };
    (0..3).for_each(|i| f.images(&format!("{i}.npz"), i, noise));
    assert_eq!(warnings(&["0.npz", "1.npz", "2.npz"]), "");
    assert!(warnings(&["0.npz"]).contains("one sample only"));
    assert!(warnings(&["0.npz", "0.npz"]).contains("all 2 samples are the same"));
    // Bytes as they are, where the model was trained on numbers about one.
    (0..2).for_each(|i| f.images(&format!("bytes{i}.npz"), i, |s, i| (noise(s, i) + 0.8) * 127.0));
    assert!(warnings(&["bytes0.npz", "bytes1.npz"]).contains("smaller numbers"));
    (0..2).for_each(|i| f.images(&format!("tiny{i}.npz"), i, |s, i| noise(s, i) * 1e-4));
    assert!(warnings(&["tiny0.npz", "tiny1.npz"]).contains("larger numbers"));
    (0..2).for_each(|i| f.images(&format!("flat{i}.npz"), i, |_, _| 0.5));
    assert!(warnings(&["flat0.npz", "flat1.npz"]).contains("0.5 throughout"));
    f.images("far.npz", 9, |s, i| noise(s, i) * 500.0);
    let mut many: Vec<String> = (3..40).map(|i| format!("{i}.npz")).collect();
    (3..40).for_each(|i| f.images(&format!("{i}.npz"), i, noise));
    many.push("far.npz".to_owned());
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(warnings(&many).contains("in some sample"));
}

#[test]
fn sounds_of_unlike_rates_are_refused() {
    let f = Folder::new();
    let wav = |name: &str, sample_rate: u32| {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut w = hound::WavWriter::create(f.path(name), spec).unwrap();
        (0..28 * 28 * 2).for_each(|i| w.write_sample((noise(1, i) * 1000.0) as i16).unwrap());
        w.finalize().unwrap();
    };
    wav("a.wav", 16_000);
    wav("b.wav", 44_100);
    let source = model("fashion_mnist_cnn.onnx");
    let args = |samples: &[&'static str], more: &[&'static str]| {
        let mut args = vec!["calibrate".to_owned(), source.to_string_lossy().into_owned()];
        args.extend(["-o", "x.cal", "-q", "--samples"].map(str::to_owned));
        args.extend(samples.iter().chain(more).map(|&s| s.to_owned()));
        args
    };
    let fails =
        |args: Vec<String>, with: &str| f.fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), with);
    fails(args(&["a.wav", "b.wav"], &[]), "44100 samples a second, where a.wav has 16000");
    fails(args(&["a.wav"], &["--sample-rate", "8000"]), "where --sample-rate has 8000");
    let good = args(&["a.wav"], &["--sample-rate", "16000"]);
    // Two stretches of the input's length.
    let out = f.cygnet(&good.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(String::from_utf8(out.stdout).unwrap().contains("2 samples"));
}
