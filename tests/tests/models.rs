//! Real models against what ONNX Runtime and LiteRT answered: every reference is theirs.
#![cfg(target_arch = "x86_64")]

use cygnet::format::Array;
use cygnet::format::program::DType;
use cygnet::vision::{DetectOptions, Detection, Detector, Task};
use cygnet::{Model, Session, SessionOptions};
use cygnet_convert::Precision;
use cygnet_tests::figures::{Figures, compare, real};
use cygnet_tests::photos::{Feed, list, load};
use cygnet_tests::place;
use cygnet_tests::source::{Source, run, session};

/// What a model's outputs must meet against the float reference.
struct Bar {
    file: &'static str,
    /// f32: greatest difference relative to the greatest element. 1e-4 leaves room for sums in another order.
    f32: f64,
    /// f16: cosine.
    f16: f64,
    /// int8, calibrated with the reference's own input: cosine of every output.
    int8: f64,
    /// Dynamic range: likewise, without calibration. Windows share one scale over the whole image, which serves bodies of
    /// few channels of unlike ranges badly.
    dynamic: f64,
}

const EXACT: f64 = 1e-4;
const HALF: f64 = 0.9999;

/// int8 bars below 0.99 belong to outputs that are no logits: offsets of boxes and landmarks, masks behind a steep
/// sigmoid. Their quality is measured where it shows, in boxes and masks.
const BARS: &[Bar] = &[
    Bar { file: "face_blaze_short.tflite", f32: EXACT, f16: HALF, int8: 0.985, dynamic: 0.996 },
    Bar { file: "seg_selfie.onnx", f32: EXACT, f16: HALF, int8: 0.99, dynamic: 0.996 },
    Bar { file: "fashion_mnist_cnn.onnx", f32: EXACT, f16: HALF, int8: 0.99, dynamic: 0.996 },
    Bar { file: "cls_mobilenetv2.onnx", f32: EXACT, f16: HALF, int8: 0.99, dynamic: 0.996 },
    Bar { file: "cls_efficientnet_lite0.onnx", f32: EXACT, f16: HALF, int8: 0.99, dynamic: 0.996 },
    Bar { file: "det_yolov3tiny_coco.onnx", f32: EXACT, f16: HALF, int8: 0.99, dynamic: 0.996 },
    Bar { file: "ocr_det_v6_tiny.onnx", f32: EXACT, f16: HALF, int8: 0.99, dynamic: 0.996 },
    Bar { file: "hand_palm_full.tflite", f32: EXACT, f16: HALF, int8: 0.98, dynamic: 0.996 },
    Bar { file: "hand_landmark_lite.tflite", f32: EXACT, f16: HALF, int8: 0.96, dynamic: 0.96 },
    Bar { file: "face_landmark.tflite", f32: EXACT, f16: HALF, int8: 0.99, dynamic: 0.996 },
    Bar { file: "det_ssd_mbv2_oid_fp16.tflite", f32: EXACT, f16: HALF, int8: 0.97, dynamic: 0.996 },
    // One sample's ranges serve text, speech and logarithms of spectra badly, and one sample lets no channel be enlarged:
    // these int8 bars are for breakage.
    Bar { file: "ocr_rec_v6_tiny_int8w.onnx", f32: EXACT, f16: HALF, int8: 0.95, dynamic: 0.97 },
    Bar { file: "txt_minilm_l6_int8w.onnx", f32: EXACT, f16: HALF, int8: 0.85, dynamic: 0.996 },
    Bar { file: "vad_silero_16k.onnx", f32: EXACT, f16: HALF, int8: 0.75, dynamic: 0.996 },
    Bar { file: "audio_basic_pitch.onnx", f32: EXACT, f16: 0.998, int8: 0.90, dynamic: 0.99 },
    // The mask's logits reach into the thousands, where f16 has steps of one.
    Bar { file: "pose_landmark_lite.tflite", f32: EXACT, f16: 0.999, int8: 0.87, dynamic: 0.87 },
];

fn figures(source: &Source, precision: Precision) -> Vec<(String, Figures)> {
    let converted = source.convert(precision).unwrap_or_else(|e| panic!("{}: {e}", source.path.display()));
    let got = run(&mut session(&converted), &source.inputs);
    assert_eq!(got.len(), source.outputs.len(), "outputs of {}", source.path.display());
    got.into_iter()
        .map(|(name, values)| {
            let want = source.outputs.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("no {name}"));
            let figures = compare(&values, &real(want));
            (name, figures)
        })
        .collect()
}

/// All models in one precision; every output that misses its bar is told.
fn meet(test: &str, precision: Precision, meets: impl Fn(&Bar, &Figures) -> bool) {
    let mut missed = Vec::new();
    for bar in BARS {
        let Some(source) = Source::find(test, bar.file) else { continue };
        for (name, f) in figures(&source, precision) {
            if !meets(bar, &f) {
                missed.push(format!("{} output {name}: {f:?}", bar.file));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn f32_is_the_reference() {
    meet("f32_is_the_reference", Precision::F32, |bar, f| f.relative <= bar.f32);
}

#[test]
fn f16_stays_close() {
    meet("f16_stays_close", Precision::F16, |bar, f| f.cosine >= bar.f16);
}

#[test]
fn int8_stays_close() {
    meet("int8_stays_close", Precision::Int8, |bar, f| f.cosine >= bar.int8);
}

#[test]
fn dynamic_stays_close() {
    meet("dynamic_stays_close", Precision::Dynamic, |bar, f| f.cosine >= bar.dynamic);
}

/// Weights alone in fewer bits: cosine of every output, of 8 bits and of 4.
#[test]
fn weights_alone_stay_close() {
    const FILES: &[(&str, f64, f64)] = &[
        ("txt_minilm_l6_int8w.onnx", 0.9995, 0.96),
        ("cls_mobilenetv2.onnx", 0.9995, 0.90),
        ("fashion_mnist_cnn.onnx", 0.9998, 0.98),
        ("det_yolov3tiny_coco.onnx", 0.9995, 0.98),
    ];
    for &(file, eight, four) in FILES {
        let Some(source) = Source::find("weights_alone_stay_close", file) else { continue };
        for (precision, least) in [(Precision::WeightInt8, eight), (Precision::WeightInt4, four)] {
            for (name, f) in figures(&source, precision) {
                assert!(f.cosine >= least, "{file} {precision} output {name}: {f:?}");
            }
        }
    }
}

/// Models that were quantized before keep their roundings, but a sum on the edge between two integers falls to this side
/// here and to that side there, and the layers after it carry that on: runtimes differ by as much from one another as
/// from the float model. What can be asked for is the direction of the logits, and the class.
#[test]
fn quantized_sources_keep_their_answers() {
    const FILES: &[(&str, f64)] = &[
        ("cls_mobilenetv2_qdq.onnx", 0.97),
        ("cls_mobilenetv2_qop.onnx", 0.94),
        ("cls_mobilenetv2_int8.tflite", 0.99),
        ("cls_mobilenetv2_dynamic.tflite", 0.999),
        ("cls_mobilenetv2_f16.tflite", 0.9999),
        ("cls_efficientnet_lite0_qdq.onnx", 0.95),
    ];
    for &(file, least) in FILES {
        let Some(source) = Source::find("quantized_sources_keep_their_answers", file) else { continue };
        // As the source spells them, and in integers.
        for precision in [Precision::F32, Precision::Auto] {
            let converted = source.convert_with(precision, Vec::new(), 0);
            let converted = converted.unwrap_or_else(|e| panic!("{file}: {e}"));
            let mut session = session(&converted);
            run(&mut session, &source.inputs);
            let want = real(&source.outputs[0]);
            let out = session.output(&source.outputs[0].name).unwrap();
            // The integers themselves where those are what the model yields.
            let got = real(&Array { bytes: out.bytes.to_vec(), ..source.outputs[0].clone() });
            let best = |v: &[f32]| (0..v.len()).max_by(|&a, &b| v[a].total_cmp(&v[b]));
            let f = compare(&got, &want);
            assert!(f.cosine >= least, "{file} {precision}: {f:?}");
            assert_eq!(best(&got), best(&want), "{file} {precision}");
        }
    }
}

/// YOLOs of random weights: only that all of them converts, runs, and agrees with itself across precisions.
#[test]
fn ultralytics_exports_convert_in_every_precision() {
    const TEST: &str = "ultralytics_exports_convert_in_every_precision";
    for file in ["yolov8n_320.onnx", "yolo11n_320.onnx"] {
        let Some(path) = place::model_file(TEST, &format!("../bench/models/{file}")) else { continue };
        let Some(photo) = place::model_file(TEST, "../data/photos/bus.jpg") else { continue };
        let feed = Feed::new("images", &[1, 3, 320, 320], Task::Detect, &[]);
        let inputs = vec![feed.array(&photo)];
        let source = Source { path, inputs, outputs: Vec::new(), states: Vec::new() };
        let outputs = |precision| {
            let converted = source.convert(precision).unwrap_or_else(|e| panic!("{file}: {e}"));
            if precision == Precision::Int8 {
                assert!(converted.share(DType::S8) > 0.9, "{file}: {}", converted.share(DType::S8));
            }
            run(&mut session(&converted), &source.inputs)
        };
        let float = outputs(Precision::F32);
        // Random weights give boxes without meaning and activations without margins: the bars are for breakage.
        for (precision, least) in [(Precision::F16, 0.999), (Precision::Int8, 0.98)] {
            for ((name, a), (_, b)) in outputs(precision).iter().zip(&float) {
                let f = compare(a, b);
                assert!(f.cosine >= least, "{file} {precision} {name}: {f:?}");
            }
        }
    }
}

/// Photos named right, of those in imagenet20, whose file names end in the class.
fn imagenet(file: &str, precision: Precision, meta: &[(&str, &str)]) -> Option<usize> {
    let source = Source::find("imagenet", file)?;
    let photos = list(&place::model_file("imagenet", "../data/imagenet20")?);
    assert_eq!(photos.len(), 20);
    let input = &source.inputs[0];
    let feed = Feed::new(&input.name, &input.dims, Task::Classify, meta);
    let converted =
        source.convert_with(precision, feed.samples(&photos), 0).unwrap_or_else(|e| panic!("{e}"));
    let mut session = session(&converted);
    let right = photos.iter().filter(|photo| {
        let stem = photo.file_stem().unwrap().to_string_lossy();
        let class: usize = stem.rsplit('_').next().unwrap().parse().unwrap();
        let scores = &run(&mut session, &[feed.array(photo)])[0].1;
        (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])) == Some(class)
    });
    Some(right.count())
}

#[test]
fn int8_classifiers_name_photos_as_well_as_float() {
    let torchvision = [
        ("preprocess.mean", "0.485,0.456,0.406"),
        ("preprocess.std", "0.229,0.224,0.225"),
        ("preprocess.crop", "0.875"),
    ];
    let lite = [("preprocess.mean", "1"), ("preprocess.scale", "0.0078125"), ("preprocess.crop", "0.875")];
    for (file, meta, least) in
        [("cls_mobilenetv2.onnx", &torchvision[..], 18), ("cls_efficientnet_lite0.onnx", &lite[..], 17)]
    {
        let Some(float) = imagenet(file, Precision::F32, meta) else { continue };
        let int8 = imagenet(file, Precision::Int8, meta).unwrap();
        // One photo is five points: a loss of one is what chance gives.
        assert!(
            float >= least && int8 >= least && int8 + 1 >= float,
            "{file}: f32 {float}, int8 {int8} of 20"
        );
    }
}

/// What f32 and int8 are sure of: the score from which on a box has to be found by both.
const SURE: f32 = 0.4;

/// Every thing that f32 is sure of is found by int8 with nearly the same box, and int8 is sure of nothing else.
#[test]
fn int8_detector_finds_what_float_finds() {
    const TEST: &str = "int8_detector_finds_what_float_finds";
    let Some(source) = Source::find(TEST, "det_yolov3tiny_coco.onnx") else { return };
    let Some(folder) = place::model_file(TEST, "../data/photos") else { return };
    let input = &source.inputs[0];
    let feed = Feed::new(&input.name, &input.dims, Task::Detect, &[]);
    let samples = feed.samples(&list(&folder));
    let mut models = [Precision::F32, Precision::Int8].map(|precision| {
        let converted = source.convert_with(precision, samples.clone(), 0).unwrap();
        Session::new(&Model::from_bytes(&converted.file).unwrap(), &SessionOptions::default()).unwrap()
    });
    for photo in ["bus.jpg", "zidane.jpg"] {
        let picture = load(&folder.join(photo));
        let [float, int8]: [Vec<Detection>; 2] = std::array::from_fn(|i| {
            let s = &mut models[i];
            let detector = Detector::new(s.program(), &cygnet::format::Meta::new()).unwrap();
            detector.detect(s, &picture, &DetectOptions::default()).unwrap()
        });
        let sure = |found: &[Detection]| -> Vec<Detection> {
            found.iter().filter(|d| d.score >= SURE).cloned().collect()
        };
        assert!(sure(&float).len() >= 2, "{photo}: {float:?}");
        for (some, all) in [(sure(&float), &int8), (sure(&int8), &float)] {
            for a in &some {
                let same = all.iter().filter(|b| b.class == a.class).map(|b| a.rect.iou(&b.rect));
                let best = same.fold(0.0, f32::max);
                assert!(best >= 0.9, "{photo}: {a:?} overlaps by {best} at most");
            }
        }
    }
}
