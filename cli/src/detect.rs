//! `cygnet detect`.

use std::io::Write;
use std::path::{Path, PathBuf};

use cygnet::format::meta::key;
use cygnet::vision::draw::draw_detections;
use cygnet::vision::{DetectOptions, Detection, Detector};
use serde_json::{Value, json};

use crate::camera::{self, CameraArgs};
use crate::common::{CliError, ModelArgs, ThreadArgs};
use crate::picture;

const HELP: &str = "\
Boxes are given in the photo's pixels, from its top left corner. The model's outputs are understood by the file's metadata
('detect.head'), else by their shapes: YOLO (v3 to v11, v26), SSD-MobileNet, BlazeFace and palms.

Examples:
  cygnet detect yolo.cygnet street.jpg
  cygnet detect yolo.cygnet street.jpg -o boxes.png --conf 0.4
  cygnet detect face.cygnet a.jpg b.jpg -o marked/ --json
  cygnet detect yolo.cygnet --camera /dev/video0 --size 1280x720 --json

Exit codes: 0 done (also when nothing is found), 1 the work failed, 2 wrong usage";

/// Find things in photos, or in what a camera sees
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Photos, PNG or JPEG
    #[arg(required_unless_present = "camera", conflicts_with = "camera")]
    photos: Vec<PathBuf>,

    #[command(flatten)]
    camera: CameraArgs,

    /// Write the photo with boxes here (.png or .jpg); with several photos, or a camera, a folder
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// Print the boxes as JSON, one line for each photo
    #[arg(long)]
    json: bool,

    /// Least score [default: 0.25, faces 0.5]
    #[arg(long, value_name = "X", value_parser = parse_fraction)]
    conf: Option<f32>,

    /// Overlap above which boxes of a class are one thing [default: 0.45, faces 0.3]
    #[arg(long, value_name = "X", value_parser = parse_fraction)]
    iou: Option<f32>,

    /// Most boxes for a photo
    #[arg(long, value_name = "N", default_value_t = 300)]
    max: usize,

    #[command(flatten)]
    threads: ThreadArgs,
}

fn parse_fraction(text: &str) -> Result<f32, String> {
    let number: Option<f32> = text.parse().ok();
    number.filter(|v| (0.0..=1.0).contains(v)).ok_or_else(|| "give a number from 0 to 1".to_owned())
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let model = args.model.open(args.threads.pages())?;
    let mut session = args.model.session(&model, &args.threads)?;
    let detector = Detector::new(session.program(), model.meta())?;
    let labels = model.meta().lines(key::LABELS);
    let options = DetectOptions { conf: args.conf, iou: args.iou, most: Some(args.max) };
    if let Some(device) = &args.camera.camera {
        let mut number = 0;
        return camera::each_frame(device, &args.camera, out, |photo, about, out| {
            let found = detector.detect(&mut session, photo, &options)?;
            number += 1;
            if args.json {
                let value = as_json(&camera::name(number), &found, &labels);
                writeln!(out, "{}", about.json(value))?;
            } else {
                as_text(&camera::name(number), &found, &labels, out)?;
            }
            if let Some(folder) = &args.output {
                draw_detections(photo, &found, &labels);
                picture::store(&target(folder, &camera::name(number), 2)?, photo)?;
            }
            Ok(())
        });
    }
    for path in &args.photos {
        let mut photo = picture::load(path)?;
        let found = detector.detect(&mut session, &photo, &options)?;
        if args.json {
            writeln!(out, "{}", as_json(path, &found, &labels))?;
        } else {
            as_text(path, &found, &labels, out)?;
        }
        if let Some(output) = &args.output {
            draw_detections(&mut photo, &found, &labels);
            picture::store(&target(output, path, args.photos.len())?, &photo)?;
        }
    }
    Ok(())
}

/// Where a marked photo goes: the name given, or under the photo's own name in the folder given.
fn target(output: &Path, photo: &Path, photos: usize) -> Result<PathBuf, CliError> {
    if photos == 1 && !output.is_dir() {
        return Ok(output.to_owned());
    }
    if output.is_file() {
        let what = format!("--output {} is a file, and there are {photos} photos", output.display());
        return Err(CliError::Usage(format!("{what}; give a folder")));
    }
    std::fs::create_dir_all(output).map_err(|e| {
        CliError::Failed(format!("cannot create the folder {}: {e}; choose another one", output.display()))
    })?;
    let stem = photo.file_stem().unwrap_or_default();
    Ok(output.join(stem).with_extension("png"))
}

fn name(class: usize, labels: &[&str]) -> String {
    labels.get(class).map_or_else(|| class.to_string(), |label| (*label).to_owned())
}

fn as_text(path: &Path, found: &[Detection], labels: &[&str], out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out, "{}: {} found", path.display(), found.len())?;
    for d in found {
        let r = d.rect;
        writeln!(
            out,
            "  {:<16} {:>5.1} %  x {:.0} to {:.0}, y {:.0} to {:.0}",
            name(d.class, labels),
            d.score * 100.0,
            r.x0,
            r.x1,
            r.y0,
            r.y1
        )?;
    }
    Ok(())
}

fn as_json(path: &Path, found: &[Detection], labels: &[&str]) -> Value {
    let boxes: Vec<Value> = found
        .iter()
        .map(|d| {
            json!({ "class": d.class, "label": labels.get(d.class), "score": d.score,
                    "box": [d.rect.x0, d.rect.y0, d.rect.x1, d.rect.y1], "keypoints": d.keypoints })
        })
        .collect();
    json!({ "photo": path.display().to_string(), "detections": boxes })
}
