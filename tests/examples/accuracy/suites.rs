use std::path::PathBuf;

use cygnet::format::Array;
use cygnet::format::program::DType;
use cygnet::vision::{Image, Preprocess, Rect, Task};
use cygnet::{Model, Session, SessionOptions};
use cygnet_convert::{Calibrator, Precision, Tools};
use cygnet_tests::fashion::Images;
use cygnet_tests::figures::compare;
use cygnet_tests::photos::{list, load};
use cygnet_tests::source::{Source, run, session};
use cygnet_tests::{bits, place};

use super::classifiers::{classifiers, prequantized};

/// What the command line says.
pub(super) struct Settings {
    pub(super) precision: Precision,
    pub(super) calibrator: Calibrator,
    pub(super) tools: Tools,
    /// A converted model to compare with the float one in place of converting.
    model: Option<PathBuf>,
    /// Whether what is compared has no part in the calibration.
    held_out: bool,
    /// A folder to which inputs are written, for other runtimes, and both answers.
    pub(super) save: Option<PathBuf>,
}

impl Settings {
    /// What is calibrated with and what is compared: all and all, or each half by the other.
    pub(super) fn folds(&self, photos: &[PathBuf]) -> Vec<[Vec<PathBuf>; 2]> {
        if !self.held_out {
            return vec![[photos.to_vec(), photos.to_vec()]];
        }
        let half = |odd: usize| photos.iter().skip(odd).step_by(2).cloned().collect::<Vec<_>>();
        vec![[half(0), half(1)], [half(1), half(0)]]
    }
}

/// A float model and a quantized one.
pub(super) struct Pair {
    pub(super) float: Session,
    pub(super) quantized: Session,
}

impl Pair {
    pub(super) fn new(source: &Source, samples: Vec<Vec<Array>>, settings: &Settings) -> Self {
        let convert = |precision| {
            let converted = source.convert_as(samples.clone(), |options| {
                options.precision = precision;
                options.calibrator = settings.calibrator;
                options.tools = settings.tools;
            });
            session(&converted.unwrap_or_else(|e| panic!("{}: {e}", source.path.display())))
        };
        let quantized = match &settings.model {
            Some(path) => {
                let model = Model::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                Session::new(&model, &SessionOptions::default()).unwrap_or_else(|e| panic!("{e}"))
            }
            None => convert(settings.precision),
        };
        Self { float: convert(Precision::F32), quantized }
    }

    /// What both answer: for each output its values.
    pub(super) fn run(&mut self, inputs: &[Array]) -> [Vec<Vec<f32>>; 2] {
        [&mut self.float, &mut self.quantized]
            .map(|session| run(session, inputs).into_iter().map(|(_, values)| values).collect())
    }
}

pub fn main() {
    let mut settings = Settings {
        precision: Precision::Int8,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        model: None,
        held_out: false,
        save: None,
    };
    let mut args = std::env::args().skip(1);
    let mut suites = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--precision" => settings.precision = args.next().expect("a precision").parse().unwrap(),
            "--calibrator" => settings.calibrator = args.next().expect("a calibrator").parse().unwrap(),
            "--percentile" => {
                let percent = args.next().expect("a percentage").parse().unwrap();
                settings.calibrator = Calibrator::Percentile(percent);
            }
            "--without" => {
                let names = args.next().expect("a tool");
                for name in names.split(',') {
                    settings.tools = settings.tools.without(name.parse().unwrap());
                }
            }
            "--held-out" => settings.held_out = true,
            "--model" => settings.model = Some(args.next().expect("a file").into()),
            "--save" => settings.save = Some(args.next().expect("a folder").into()),
            name => suites.push(name.to_owned()),
        }
    }
    for suite in suites {
        match suite.as_str() {
            "classifiers" => classifiers(&settings),
            "prequantized" => prequantized(&settings),
            "fashion" => fashion(&settings),
            "segmentation" => segmentation(&settings),
            "landmarks" => landmarks(&settings),
            "text" => text(&settings),
            other => {
                panic!(
                    "suite {other} is none of classifiers, prequantized, fashion, segmentation, landmarks and text"
                )
            }
        }
    }
}

pub(super) fn best(values: &[f32]) -> usize {
    // Of equal values the first, as argmax has it everywhere: int8 has many.
    (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).expect("values")
}

pub(super) fn data(folder: &str) -> Vec<PathBuf> {
    let models = place::models().expect("CYGNET_MODELS names the folder of models");
    list(&models.join("../data").join(folder))
}

/// The whole picture, its four corners of `part` of each side, and all of them mirrored.
pub(super) fn views(picture: &Image, part: f32) -> Vec<Image> {
    let (w, h) = (picture.width() as f32, picture.height() as f32);
    let mut parts = vec![picture.bounds()];
    for (x, y) in
        [(0.0, 0.0), (w * (1.0 - part), 0.0), (0.0, h * (1.0 - part)), (w * (1.0 - part), h * (1.0 - part))]
    {
        parts.push(Rect { x0: x, y0: y, x1: x + w * part, y1: y + h * part });
    }
    let mut views = Vec::new();
    for r in parts {
        let view = picture.resample(r, r.width().round() as u32, r.height().round() as u32, true).unwrap();
        views.push(mirrored(&view));
        views.push(view);
    }
    views
}

fn mirrored(picture: &Image) -> Image {
    let (w, h) = (picture.width(), picture.height());
    let mut out = picture.clone();
    for y in 0..h {
        for x in 0..w {
            out.put(x, y, picture.pixel(w - 1 - x, y));
        }
    }
    out
}

/// Turns pictures into a model's only input.
pub(super) struct Eye {
    name: String,
    dims: Vec<u32>,
    preprocess: Preprocess,
}

impl Eye {
    pub(super) fn new(source: &Source, task: Task, meta: &[(&str, &str)]) -> Self {
        let input = &source.inputs[0];
        let meta = meta.iter().copied().collect();
        let preprocess = Preprocess::from_meta(&meta, &input.dims, task).unwrap();
        Self { name: input.name.clone(), dims: input.dims.clone(), preprocess }
    }

    pub(super) fn see(&self, picture: &Image) -> Vec<Array> {
        let (fitted, _) = self.preprocess.fit(picture).unwrap();
        vec![floats(&self.name, &self.dims, self.preprocess.values(&fitted))]
    }
}

pub(super) fn floats(name: &str, dims: &[u32], values: Vec<f32>) -> Array {
    let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
    Array { name: name.to_owned(), dtype: DType::F32, dims: dims.to_vec(), bytes }
}

fn fashion(settings: &Settings) {
    let folder = place::data().join("fashion-mnist");
    let (Some(test), Some(train)) = (Images::read(&folder, "t10k"), Images::read(&folder, "train")) else {
        place::skipped("accuracy", "there are no Fashion-MNIST images");
        return;
    };
    let source = Source::find("accuracy", "fashion_mnist_cnn.onnx").expect("a committed model");
    let (input, batch) = (source.inputs[0].name.clone(), source.inputs[0].dims[0] as usize);
    let samples = (0..32).map(|i| vec![train.array(&input, i * 1000, batch)]).collect();
    let mut pair = Pair::new(&source, samples, settings);
    let (mut right, mut cosine) = ([0; 2], 0.0);
    for first in (0..test.len()).step_by(batch) {
        let answers = pair.run(&[test.array(&input, first, batch)]);
        for (right, answer) in right.iter_mut().zip(&answers) {
            let scores = answer[0].chunks_exact(answer[0].len() / batch);
            *right +=
                scores.zip(&test.labels()[first..]).filter(|(s, l)| best(s) == usize::from(**l)).count();
        }
        cosine += compare(&answers[1][0], &answers[0][0]).cosine * batch as f64;
    }
    println!(
        "fashion_mnist_cnn.onnx: {} {} of {} right, float {}; mean cosine {:.5}",
        settings.precision,
        right[1],
        test.len(),
        right[0],
        cosine / test.len() as f64
    );
}

fn segmentation(settings: &Settings) {
    let Some(source) = Source::find("accuracy", "seg_selfie.onnx") else { return };
    let eye = Eye::new(&source, Task::Segment, &[]);
    let photos: Vec<PathBuf> = data("photos").into_iter().chain(data("imagenet20")).collect();
    let (mut worst, mut sum, mut count) = (1.0_f64, 0.0, 0);
    // Elsewhere there is nobody, and no mask to speak of.
    let people =
        |p: &&PathBuf| ["astronaut", "bus", "zidane"].iter().any(|n| p.file_stem().is_some_and(|s| s == *n));
    for [calibrated, compared] in settings.folds(&photos) {
        let mut pair = Pair::new(&source, calibrated.iter().map(|p| eye.see(&load(p))).collect(), settings);
        for photo in compared.iter().filter(people) {
            for view in views(&load(photo), 0.8) {
                let [a, b] = pair.run(&eye.see(&view));
                let inside = |v: &f32| *v > 0.5;
                let pairs = || a[0].iter().zip(&b[0]);
                let both = pairs().filter(|(a, b)| inside(a) && inside(b)).count();
                let either = pairs().filter(|(a, b)| inside(a) || inside(b)).count();
                let iou = both as f64 / either as f64;
                worst = worst.min(iou);
                sum += iou;
                count += 1;
            }
        }
    }
    println!(
        "seg_selfie.onnx: {} mask IoU with float {:.4} in the mean of {count} views, {worst:.4} at worst",
        settings.precision,
        sum / f64::from(count)
    );
}

/// The reference input moved by some pixels, and mirrored where the model is for things that look the same then.
fn moved(input: &Array, across: i32, down: i32, mirror: bool) -> Array {
    let (h, w) = (input.dims[1] as i32, input.dims[2] as i32);
    let values: Vec<f32> = input.bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let mut out = Vec::with_capacity(values.len());
    for y in 0..h {
        for x in 0..w {
            let x = if mirror { w - 1 - x } else { x };
            let (x, y) = ((x + across).clamp(0, w - 1), (y + down).clamp(0, h - 1));
            let at = ((y * w + x) * 3) as usize;
            out.extend_from_slice(&values[at..at + 3]);
        }
    }
    floats(&input.name, &input.dims, out)
}

/// Mean distance of the landmarks in x and y, relative to the longer side of the box around them.
fn landmarks(settings: &Settings) {
    // Model, output, numbers for each landmark, how many of them.
    for (file, output, stride, count) in [
        ("face_landmark.tflite", "conv2d_21", 3, 468),
        ("hand_landmark_lite.tflite", "Identity", 3, 21),
        ("pose_landmark_lite.tflite", "Identity", 5, 33),
    ] {
        let Some(source) = Source::find("accuracy", file) else { continue };
        let at = |across, down, mirror| vec![moved(&source.inputs[0], across, down, mirror)];
        let calibration = [at(0, 0, false), at(0, 0, true), at(20, 0, false), at(0, 20, true)];
        let mut pair = Pair::new(&source, calibration.to_vec(), settings);
        let which = pair.float.outputs().position(|(name, _)| name == output).expect("the output");
        let (mut worst, mut sum, mut views) = (0.0_f64, 0.0, 0);
        for (across, down, mirror) in [(0, 0), (10, 5), (-10, 5), (5, -10), (-15, -15), (15, 10)]
            .into_iter()
            .flat_map(|(a, d)| [(a, d, false), (a, d, true)])
        {
            let [a, b] = pair.run(&at(across, down, mirror));
            let point = |v: &[f32], i: usize| [v[i * stride], v[i * stride + 1]].map(f64::from);
            let (a, b) = (&a[which], &b[which]);
            let side = |axis: usize| {
                let all = (0..count).map(|i| point(a, i)[axis]);
                all.clone().fold(f64::MIN, f64::max) - all.fold(f64::MAX, f64::min)
            };
            let size = side(0).max(side(1));
            let distance = |i| (0..2).map(|c| (point(a, i)[c] - point(b, i)[c]).powi(2)).sum::<f64>().sqrt();
            let error = (0..count).map(distance).sum::<f64>() / count as f64 / size;
            worst = worst.max(error);
            sum += error;
            views += 1;
        }
        println!(
            "{file}: {} landmarks off by {:.2} % of the size in the mean of {views} views, {:.2} % at worst",
            settings.precision,
            100.0 * sum / f64::from(views),
            100.0 * worst
        );
    }
}

/// Token sequences: pieces of vocabulary at random, since no text tells a quantizer more than that.
fn tokens(source: &Source, seed: u64) -> Vec<Array> {
    let mut random = bits::SplitMix(seed);
    source
        .inputs
        .iter()
        .map(|a| {
            if a.name != "input_ids" {
                return a.clone();
            }
            let n = a.bytes.len() / 8;
            let ids = (0..n).map(|i| match i {
                0 => 101,
                _ if i == n - 1 => 102,
                _ => 1000 + (random.draw() % 28000) as i64,
            });
            Array { bytes: ids.flat_map(i64::to_le_bytes).collect(), ..a.clone() }
        })
        .collect()
}

fn text(settings: &Settings) {
    let Some(source) = Source::find("accuracy", "txt_minilm_l6_int8w.onnx") else { return };
    let mut calibration: Vec<_> = (0..31).map(|i| tokens(&source, i)).collect();
    calibration.push(source.inputs.clone());
    let mut pair = Pair::new(&source, calibration, settings);
    let width = 384;
    let pooled = |v: &[f32]| -> Vec<f32> {
        (0..width).map(|c| v.iter().skip(c).step_by(width).sum::<f32>()).collect()
    };
    let (mut worst, mut sum) = (1.0_f64, 0.0);
    let inputs: Vec<_> = (100..131).map(|i| tokens(&source, i)).chain([source.inputs.clone()]).collect();
    for given in &inputs {
        let [a, b] = pair.run(given);
        let cosine = compare(&pooled(&b[0]), &pooled(&a[0])).cosine;
        worst = worst.min(cosine);
        sum += cosine;
    }
    println!(
        "txt_minilm_l6_int8w.onnx: {} sentence embedding's cosine {:.5} in the mean of {}, {worst:.5} at worst",
        settings.precision,
        sum / inputs.len() as f64,
        inputs.len()
    );
}
