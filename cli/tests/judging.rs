//! What judges models: `compare`, `eval`, `advise`, and what `convert` says by default.
#![cfg(feature = "host")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

/// A face detector, a photo with one face, and a folder for what is made of them.
struct Place(tempfile::TempDir);

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/face_blaze_short.tflite")
}

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/astronaut.jpg");
        std::fs::create_dir(place.path("photos")).unwrap();
        std::fs::copy(photo, place.path("photos/astronaut.jpg")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::cargo_bin("cygnet").unwrap();
        let out = command.current_dir(self.0.path()).args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    fn done(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).unwrap()
    }

    /// Converts the detector; returns what is printed.
    fn convert(&self, name: &str, options: &[&str]) -> String {
        let source = source();
        let args = ["convert", source.to_str().unwrap(), "-o", name, "-q"];
        self.done(&[&args[..], options].concat())
    }
}

#[test]
fn auto_is_the_default_and_needs_samples() {
    let place = Place::new();
    let alone = place.convert("alone.cygnet", &[]);
    assert!(alone.contains("100.0 % f32") && alone.contains("auto is f32 without samples"), "{alone}");
    let shown = place.convert("shown.cygnet", &["--calibrate", "photos", "--max-error", "1000"]);
    assert!(shown.contains("% s8") && shown.contains("all in int8 it would be"), "{shown}");
    let f16 = place.convert(
        "f16.cygnet",
        &["--calibrate", "photos", "--max-error", "1e-9", "--target", "raspberry-pi-5"],
    );
    // Even f16 is not so exact: everything is raised to it.
    assert!(f16.contains("% f16") && !f16.contains("% s8"), "{f16}");
    let (code, _, err) =
        place.run(&["convert", source().to_str().unwrap(), "-o", "x.cygnet", "--max-time", "1"]);
    assert!(code == 2 && err.contains("--target"), "{err}");
    let (code, _, err) =
        place.run(&["convert", source().to_str().unwrap(), "-o", "x.cygnet", "--target", "toaster"]);
    assert!(code == 2 && err.contains("raspberry-pi-4"), "{err}");
}

#[test]
fn compare_finds_nothing_where_nothing_differs() {
    let place = Place::new();
    let source = source();
    place.convert("exact.cygnet", &["--precision", "f32", "--no-winograd"]);
    let compare = |model: &str, more: &[&str]| {
        let args = ["compare", source.to_str().unwrap(), model, "--samples", "photos", "--json", "-q"];
        place.json(&[&args[..], more].concat())
    };
    let same = compare("exact.cygnet", &["--bad", "200"]);
    assert_eq!(same["first_bad"], Value::Null);
    let layers = same["layers"].as_array().unwrap();
    assert!(layers.len() > 20 && layers.iter().all(|l| l["sqnr_db"] == "inf" && l["max_error"] == 0.0));

    place.convert("int8.cygnet", &["--precision", "int8", "--calibrate", "photos"]);
    let int8 = compare("int8.cygnet", &["--bad", "200"]);
    let layers = int8["layers"].as_array().unwrap();
    let first = layers.iter().find(|l| l["sqnr_db"] != "inf").unwrap();
    assert_eq!(int8["first_bad"], first["step"]);
    assert!(layers.iter().filter(|l| l["dtype"] == "s8").all(|l| l["cosine"].as_f64().unwrap() > 0.9));
    // Ranges that leave out a tenth of the values saturate.
    place.convert("narrow.cygnet", &["--precision", "int8", "--calibrate", "photos", "--percentile", "90"]);
    let narrow = compare("narrow.cygnet", &[]);
    let saturated = |v: &Value| {
        v["layers"].as_array().unwrap().iter().map(|l| l["saturated"].as_f64().unwrap()).fold(0.0, f64::max)
    };
    assert!(saturated(&narrow) > 0.05 && saturated(&narrow) < 0.5, "{}", saturated(&narrow));

    let other = place.run(&["compare", source.to_str().unwrap(), "nothing.cygnet"]);
    assert!(other.0 == 1 && other.2.contains("nothing.cygnet"), "{}", other.2);
}

#[test]
fn eval_scores_labels_and_agreement() {
    let place = Place::new();
    place.convert("f32.cygnet", &["--precision", "f32"]);
    place.convert("int8.cygnet", &["--precision", "int8", "--calibrate", "photos"]);
    let same = place.json(&["eval", "f32.cygnet", "photos", "--reference", "f32.cygnet", "--json", "-q"]);
    let scores = &same["scores"];
    assert_eq!(
        (&scores["reference's boxes"], &scores["found"], &scores["extra"]),
        (&1.0.into(), &1.0.into(), &0.0.into())
    );
    assert_eq!((&scores["least IoU"], &scores["greatest difference of score"]), (&1.0.into(), &0.0.into()));
    let int8 = place.json(&["eval", "int8.cygnet", "photos", "--reference", "f32.cygnet", "--json", "-q"]);
    assert!(int8["scores"]["least IoU"].as_f64().unwrap() > 0.8);

    // Labels made of what is detected: all right. Labels elsewhere: all wrong.
    let found = place.json(&["detect", "f32.cygnet", "photos/astronaut.jpg", "--json"]);
    let face: Vec<f64> =
        found["detections"][0]["box"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let coco = |x: f64| {
        let (y, w, h) = (face[1], face[2] - face[0], face[3] - face[1]);
        format!(
            r#"{{"images": [{{"id": 1, "file_name": "astronaut.jpg"}}], "categories": [{{"id": 1, "name": "face"}}],
                "annotations": [{{"image_id": 1, "category_id": 1, "bbox": [{x}, {y}, {w}, {h}]}}]}}"#
        )
    };
    std::fs::write(place.path("right.json"), coco(face[0])).unwrap();
    std::fs::write(place.path("wrong.json"), coco(face[0] - 1000.0)).unwrap();
    let precision =
        |truth: &str| place.json(&["eval", "f32.cygnet", "photos", "--truth", truth, "--json", "-q"]);
    assert_eq!(precision("right.json")["scores"]["AP50"], 1.0);
    assert_eq!(precision("wrong.json")["scores"]["AP50"], 0.0);

    let outputs = place.json(&[
        "eval",
        "f32.cygnet",
        "photos",
        "--reference",
        "f32.cygnet",
        "--task",
        "outputs",
        "--json",
        "-q",
    ]);
    assert_eq!(outputs["notes"].as_array().unwrap().len(), 2);
    assert!(outputs["notes"][0].as_str().unwrap().contains("cosine 1.00000"));

    let (code, _, err) = place.run(&["eval", "f32.cygnet", "photos"]);
    assert!(code == 2 && err.contains("--reference"), "{err}");
}

#[test]
fn advice_names_modes_with_reasons() {
    let place = Place::new();
    let source = source();
    let args = ["advise", source.to_str().unwrap(), "--target", "raspberry-pi-4", "--json", "-q"];
    let all = place.json(&[&args[..], &["--samples", "photos"]].concat());
    let modes = all["modes"].as_array().unwrap();
    let of = |name: &str| modes.iter().find(|m| m["mode"] == name).unwrap();
    assert_eq!(modes.len(), 5);
    assert!(of("int8")["ms_one_core"].as_f64() < of("f32")["ms_one_core"].as_f64());
    assert!(of("f32")["ms_all_cores"].as_f64() < of("f32")["ms_one_core"].as_f64());
    assert_eq!(of("f32")["error"], 0.0);
    assert!(of("auto")["error"].as_f64().unwrap() <= 1.0);
    assert!(of("dynamic")["fallbacks"].as_array().unwrap().iter().all(|f| f["reason"].is_string()));
    let few = place.json(&args);
    assert_eq!(few["modes"].as_array().unwrap().len(), 3);
    let text = place.done(&["advise", source.to_str().unwrap(), "--target", "raspberry-pi-4", "-q"]);
    assert!(text.contains("left out") && text.contains("advice: --precision f32"), "{text}");
}

#[test]
fn reports_are_whole() {
    let place = Place::new();
    let options = ["--calibrate", "photos", "--max-error", "3", "--report"];
    place.convert("a.cygnet", &[&options[..], &["a.html"]].concat());
    let page = std::fs::read_to_string(place.path("a.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    // Nothing is fetched from elsewhere.
    assert!(!page.contains("http") && !page.contains("<script") && !page.contains("<link"));
    for tag in ["section", "table", "svg", "details", "tr", "td"] {
        let (open, close) =
            (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        assert!(close > 0 && open >= close, "{tag}: {open} and {close}");
    }
    place.convert("b.cygnet", &[&options[..], &["b.json"]].concat());
    let json: Value = serde_json::from_slice(&std::fs::read(place.path("b.json")).unwrap()).unwrap();
    assert!(json["error"]["of_accepted"].as_f64().unwrap() <= 3.0);
    assert_eq!(json["predicted"].as_array().unwrap().len(), 9);
    let steps = json["steps"].as_array().unwrap();
    assert_eq!(steps.len(), json["memory_timeline"].as_array().unwrap().len());
    let peak = json["memory_timeline"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).max();
    assert!(peak.unwrap() <= json["arena_bytes"].as_u64().unwrap());
}
