//! `cygnet demo`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cygnet::format::Array;
use cygnet::format::meta::key;
use cygnet::vision::draw::draw_detections;
use cygnet::vision::{DetectOptions, Detection, Detector, Image, Preprocess, Rect, Task, complete_meta};
use cygnet::{DType, Model, Session, SessionOptions};
use cygnet_convert::{Calibrator, ConvertError, ImportOptions, Options, Precision, Samples, Tools};

use crate::common::{CliError, save, size};
use crate::picture;
use crate::progress::Shown;
use crate::source_args::{borrowed, photo_input, ports};

const MODEL: &[u8] = include_bytes!("../demo/face_blaze_short.tflite");
const PHOTO: &[u8] = include_bytes!("../demo/astronaut.jpg");

/// Runs of each model, of which the fastest counts.
const RUNS: usize = 30;

const HELP: &str = "\
The model is MediaPipe's BlazeFace (Apache-2.0), the photo NASA's portrait of Eileen Collins (public domain); both are
inside this program. The folder holds, in the end: both of them, the model as f32.cygnet and int8.cygnet, and face.png,
the photo with the face boxed as f32 (left) and int8 (right) find it.

Example:
  cygnet demo -o my-first-cygnet

Exit codes: 0 done, 1 the work failed (or the two do not agree), 2 wrong usage";

/// Convert a face detector to int8, run it, compare it with f32, draw what it finds
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Folder to write to; made when it is not there
    #[arg(short, long, value_name = "DIR", default_value = "cygnet-demo")]
    output: PathBuf,
}

/// One precision's result.
struct Outcome {
    name: &'static str,
    file: usize,
    arena: usize,
    best: Duration,
    found: Vec<Detection>,
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let folder = &args.output;
    std::fs::create_dir_all(folder).map_err(|e| {
        CliError::Failed(format!(
            "cannot create the folder {}: {e}; choose another one with -o",
            folder.display()
        ))
    })?;
    let (source, photo) = (folder.join("face_blaze_short.tflite"), folder.join("astronaut.jpg"));
    save(&source, MODEL)?;
    save(&photo, PHOTO)?;
    let photo = picture::load(&photo)?;

    let f32 = outcome("f32", Precision::F32, &source, &photo, folder)?;
    let int8 = outcome("int8", Precision::Int8, &source, &photo, folder)?;
    writeln!(out, "{:<6}{:>12}{:>12}{:>12}  face", "", "file", "memory", "time")?;
    for o in [&f32, &int8] {
        let time = format!("{:.2} ms", o.best.as_secs_f64() * 1e3);
        let faces: Vec<String> = o.found.iter().map(describe).collect();
        let (file, arena) = (size(o.file as u64), size(o.arena as u64));
        writeln!(out, "{:<6}{file:>12}{arena:>12}{time:>12}  {}", o.name, faces.join("; "))?;
    }
    let target = folder.join("face.png");
    picture::store(&target, &side_by_side(&photo, &f32.found, &int8.found)?)?;
    let ([a], [b]) = (&f32.found[..], &int8.found[..]) else {
        let counts = format!("f32 finds {} faces and int8 {}", f32.found.len(), int8.found.len());
        return Err(CliError::Failed(format!(
            "{counts}, where the photo shows one; see {}",
            target.display()
        )));
    };
    writeln!(out, "boxes overlap by {:.1} %; picture: {}", a.rect.iou(&b.rect) * 100.0, target.display())?;
    Ok(())
}

fn describe(d: &Detection) -> String {
    let r = d.rect;
    format!("{:.1} % at x {:.0} to {:.0}, y {:.0} to {:.0}", d.score * 100.0, r.x0, r.x1, r.y0, r.y1)
}

/// Converts the model, runs it on the photo, and keeps what it finds.
fn outcome(
    name: &'static str,
    precision: Precision,
    source: &Path,
    photo: &Image,
    folder: &Path,
) -> Result<Outcome, CliError> {
    let import = ImportOptions::default();
    let graph = cygnet_convert::import(source, &import).map_err(ConvertError::from)?;
    let (inputs, outputs) = (ports(&graph, &graph.inputs), ports(&graph, &graph.outputs));
    let (inputs, outputs) = (borrowed(&inputs), borrowed(&outputs));
    let mut meta = complete_meta(&Default::default(), &inputs, &outputs)?;
    meta.set(key::LABELS, "face").set(key::LICENCE, "Apache-2.0");
    let (input, preprocess, dims) = photo_input(&inputs, &meta, Task::Face)?.ok_or_else(|| {
        CliError::Failed("the shipped model takes no photo; build this program anew".to_owned())
    })?;
    let mut samples = Variations { photos: variations(photo)?, input, preprocess, dims };
    let options = Options {
        source: source.to_owned(),
        import,
        buckets: Vec::new(),
        precision,
        samples: Some(&mut samples),
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        budget: cygnet_convert::Budget::default(),
        judge: &cygnet_convert::judge::Outputs,
        winograd: true,
        sparse: true,
        meta,
        goldens: 1,
        provenance: format!("--precision {precision} (demo)"),
    };
    let converted = cygnet_convert::convert(options, &mut Shown::new(false))?;
    let path = folder.join(name).with_extension("cygnet");
    save(&path, &converted.file)?;

    let model = Model::open(&path)?;
    let mut session = Session::new(&model, &SessionOptions::default())?;
    let detector = Detector::new(session.program(), model.meta())?;
    let found = detector.detect(&mut session, photo, &DetectOptions::default())?;
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        detector.preprocess().set_input(&mut session, &samples.input, photo)?;
        let start = Instant::now();
        session.run()?;
        best = best.min(start.elapsed());
    }
    Ok(Outcome { name, file: converted.file.len(), arena: session.arena_bytes(), best, found })
}

/// The photo and parts of it, each also mirrored: what calibration sees.
fn variations(photo: &Image) -> Result<Vec<Image>, CliError> {
    let (w, h) = (photo.width() as f32, photo.height() as f32);
    let part = |x0, y0, x1, y1| Rect { x0: x0 * w, y0: y0 * h, x1: x1 * w, y1: y1 * h };
    let parts = [
        part(0.0, 0.0, 1.0, 1.0),
        part(0.1, 0.0, 0.8, 0.7),
        part(0.2, 0.0, 0.7, 0.5),
        part(0.3, 0.3, 1.0, 1.0),
    ];
    let mut all = Vec::new();
    for p in parts {
        let cut = photo.resample(p, photo.width() / 2, photo.height() / 2, true)?;
        let mut mirrored = cut.clone();
        for y in 0..cut.height() {
            for x in 0..cut.width() {
                mirrored.put(cut.width() - 1 - x, y, cut.pixel(x, y));
            }
        }
        all.extend([cut, mirrored]);
    }
    Ok(all)
}

/// Pictures as samples.
struct Variations {
    photos: Vec<Image>,
    input: String,
    preprocess: Preprocess,
    dims: Vec<u32>,
}

impl Samples for Variations {
    fn len(&self) -> usize {
        self.photos.len()
    }

    fn get(&mut self, i: usize) -> Result<Vec<Array>, String> {
        let (fitted, _) = self.preprocess.fit(&self.photos[i]).map_err(|e| e.to_string())?;
        let bytes = self.preprocess.values(&fitted).into_iter().flat_map(f32::to_le_bytes).collect();
        Ok(vec![Array { name: self.input.clone(), dtype: DType::F32, dims: self.dims.clone(), bytes }])
    }
}

/// The photo twice, with the boxes of each result.
fn side_by_side(photo: &Image, left: &[Detection], right: &[Detection]) -> Result<Image, CliError> {
    let mut both = Image::filled(photo.width() * 2 + 8, photo.height(), [255, 255, 255])?;
    for (found, label, x) in [(left, "face f32", 0), (right, "face int8", photo.width() + 8)] {
        let mut copy = photo.clone();
        draw_detections(&mut copy, found, &[label]);
        both.paste(&copy, x, 0);
    }
    Ok(both)
}
