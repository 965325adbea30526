//! Classifiers of ImageNet.

use std::io::Write;
use std::path::{Path, PathBuf};

use cygnet::Session;
use cygnet::format::Array;
use cygnet::format::program::DType;
use cygnet::vision::Task;
use cygnet_convert::apart::{Apart, apart};
use cygnet_convert::judge::noise;
use cygnet_convert::{ImportOptions, Precision, import};
use cygnet_tests::figures::compare;
use cygnet_tests::photos::load;
use cygnet_tests::source::{Source, run, session};

use super::suites::{Eye, Pair, Settings, best, data, views};

type Meta = &'static [(&'static str, &'static str)];

const TORCHVISION: Meta = &[
    ("preprocess.mean", "0.485,0.456,0.406"),
    ("preprocess.std", "0.229,0.224,0.225"),
    ("preprocess.crop", "0.875"),
];
const LITE: Meta =
    &[("preprocess.mean", "1"), ("preprocess.scale", "0.0078125"), ("preprocess.crop", "0.875")];

/// The part of each side that a corner of a photo is.
const CORNER: f32 = 0.7;

/// The class that a photo is of, where its name says so.
fn class(photo: &Path) -> Option<usize> {
    let stem = photo.file_stem()?.to_str()?;
    stem.strip_prefix("imagenet_")?.rsplit('_').next()?.parse().ok()
}

fn photos() -> Vec<PathBuf> {
    data("imagenet20").into_iter().chain(data("photos")).collect()
}

/// How two models agree.
#[derive(Default)]
struct Tally {
    labelled: usize,
    right: [usize; 2],
    agree: usize,
    all: usize,
    cosine: f64,
    /// Sum of squared differences of the logits, and of their spread around the mean.
    noise: f64,
}

impl Tally {
    /// Both answers to the whole of a photo.
    fn whole(&mut self, photo: &Path, answers: [&[f32]; 2]) {
        if let Some(class) = class(photo) {
            self.labelled += 1;
            let right = self.right.iter_mut().zip(answers);
            right.for_each(|(right, answer)| *right += usize::from(best(answer) == class));
        }
    }

    /// Both answers to a view.
    fn view(&mut self, [float, low]: [&[f32]; 2]) {
        self.agree += usize::from(best(float) == best(low));
        self.cosine += compare(low, float).cosine;
        self.noise += noise(float, low);
        self.all += 1;
    }

    fn tell(&self, what: &str) {
        println!(
            "{what} {} of {}, float {}; same class on {} of {} views ({:.1} %), mean cosine {:.5}, noise {:.2} % of the logits' power",
            self.right[1],
            self.labelled,
            self.right[0],
            self.agree,
            self.all,
            100.0 * self.agree as f64 / self.all as f64,
            self.cosine / self.all as f64,
            100.0 * self.noise / self.all as f64
        );
    }
}

pub(super) fn classifiers(settings: &Settings) {
    for (file, meta) in [("cls_mobilenetv2.onnx", TORCHVISION), ("cls_efficientnet_lite0.onnx", LITE)] {
        let Some(source) = Source::find("accuracy", file) else { continue };
        let eye = Eye::new(&source, Task::Classify, meta);
        let mut tally = Tally::default();
        for [calibrated, compared] in settings.folds(&photos()) {
            let samples = calibrated.iter().map(|p| eye.see(&load(p))).collect();
            let mut pair = Pair::new(&source, samples, settings);
            for photo in &compared {
                let picture = load(photo);
                let [a, b] = pair.run(&eye.see(&picture));
                tally.whole(photo, [&a[0], &b[0]]);
                for view in views(&picture, CORNER) {
                    let [a, b] = pair.run(&eye.see(&view));
                    tally.view([&a[0], &b[0]]);
                }
            }
        }
        tally.tell(&format!("{file}: {}", settings.precision));
    }
}

/// Models that come quantized, beside the float model of the same weights.
pub(super) fn prequantized(settings: &Settings) {
    for (file, float, meta) in [
        ("cls_mobilenetv2_qdq.onnx", "cls_mobilenetv2.onnx", TORCHVISION),
        ("cls_mobilenetv2_qop.onnx", "cls_mobilenetv2.onnx", TORCHVISION),
        ("cls_mobilenetv2_int8.tflite", "cls_mobilenetv2.onnx", TORCHVISION),
        ("cls_efficientnet_lite0_qdq.onnx", "cls_efficientnet_lite0.onnx", LITE),
    ] {
        let find = |file| Source::find("accuracy", file);
        let (Some(low), Some(float)) = (find(file), find(float)) else { continue };
        let eyes = [&float, &low].map(|source| Eye::new(source, Task::Classify, meta));
        let mut sessions = [&float, &low].map(|source| {
            // What comes quantized keeps its scales, and runs in int8.
            let converted = source.convert_as(Vec::new(), |options| options.precision = Precision::Auto);
            session(&converted.unwrap_or_else(|e| panic!("{}: {e}", source.path.display())))
        });
        let mut saved = settings.save.as_deref().map(|folder| {
            ["inputs", "float", "here"].map(|what| {
                let path = folder.join(format!("{file}.{what}"));
                std::fs::File::create(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            })
        });
        let mut tally = Tally::default();
        let mut answers = |photo: &cygnet::vision::Image| {
            let [a, b] = [0, 1].map(|i| {
                let seen = eyes[i].see(photo);
                if let (1, Some([inputs, ..])) = (i, &mut saved) {
                    inputs.write_all(&seen[0].bytes).expect("room on the disk");
                }
                let given = typed(&sessions[i], seen);
                let answer = run(&mut sessions[i], &given).swap_remove(0).1;
                if let Some(files) = &mut saved {
                    let bytes: Vec<u8> = answer.iter().flat_map(|v| v.to_le_bytes()).collect();
                    files[i + 1].write_all(&bytes).expect("room on the disk");
                }
                answer
            });
            [a, b]
        };
        for photo in &photos() {
            let picture = load(photo);
            let [a, b] = answers(&picture);
            tally.whole(photo, [&a, &b]);
            for view in views(&picture, CORNER) {
                let [a, b] = answers(&view);
                tally.view([&a, &b]);
            }
        }
        tally.tell(&format!("{file}:"));
        steps(&low, &photos()[..STEP_PHOTOS], &eyes[1]);
    }
}

/// Photos on which single steps are compared.
const STEP_PHOTOS: usize = 3;

/// Each integer step, fed with what the source's operators give it, beside those operators.
fn steps(source: &Source, photos: &[PathBuf], eye: &Eye) {
    let graph = import(&source.path, &ImportOptions::default())
        .unwrap_or_else(|e| panic!("{}: {e}", source.path.display()));
    let bytes = source.path.extension().is_some_and(|e| e == "tflite");
    let given = |p: &PathBuf| {
        let mut seen = eye.see(&load(p));
        seen.iter_mut().filter(|_| bytes).for_each(to_bytes);
        seen
    };
    let samples: Vec<_> = photos.iter().map(given).collect();
    let found = apart(&graph, &samples).unwrap_or_else(|e| panic!("{}: {e}", source.path.display()));
    let sum = |of: &dyn Fn(&Apart) -> u64| found.iter().map(of).sum::<u64>();
    let most = found.iter().max_by_key(|s| s.most).expect("a step");
    println!(
        "  {} integer steps, {} of {} results unequal; at most {} apart, in {}",
        found.len(),
        sum(&|s| s.unequal),
        sum(&|s| s.compared),
        most.most,
        most.name
    );
    let mut worst: Vec<&Apart> = found.iter().collect();
    worst.sort_by(|a, b| (b.unequal * a.compared).cmp(&(a.unequal * b.compared)));
    for step in &worst[..3] {
        println!("    {}: {} of {} unequal", step.name, step.unequal, step.compared);
    }
}

/// Scale and zero point of the input of cls_mobilenetv2_int8.tflite.
const INPUT: (f32, f32) = (0.018_658_448, -14.0);

/// Real numbers in the type that a session takes.
fn typed(session: &Session, mut inputs: Vec<Array>) -> Vec<Array> {
    let ports = session.inputs();
    inputs.iter_mut().zip(ports).filter(|(_, (_, t))| t.dtype == DType::S8).for_each(|(a, _)| to_bytes(a));
    inputs
}

fn to_bytes(a: &mut Array) {
    let values = a.bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
    let low = |v: f32| ((v / INPUT.0).round_ties_even() + INPUT.1).clamp(-128.0, 127.0) as i8;
    a.bytes = values.map(|v| low(v).cast_unsigned()).collect();
    a.dtype = DType::S8;
}
