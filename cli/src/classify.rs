//! `cygnet classify`.

use std::io::Write;
use std::path::PathBuf;

use cygnet::format::meta::key;
use cygnet::vision::classify::{Class, Classifier};
use serde_json::{Value, json};

use crate::camera::{self, CameraArgs};
use crate::common::{CliError, ModelArgs, ThreadArgs};
use crate::picture;

const HELP: &str = "\
Examples:
  cygnet classify mobilenet.cygnet cat.jpg
  cygnet classify mobilenet.cygnet photos/*.jpg --top 1 --json
  cygnet classify mobilenet.cygnet --camera /dev/video0 --top 1

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Say what photos show, or what a camera sees
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

    /// Classes to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,

    /// Print the classes as JSON, one line for each photo
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    threads: ThreadArgs,
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let model = args.model.open(args.threads.pages())?;
    let mut session = args.model.session(&model, &args.threads)?;
    let classifier = Classifier::new(session.program(), model.meta())?;
    let labels = model.meta().lines(key::LABELS);
    if let Some(device) = &args.camera.camera {
        let mut number = 0;
        return camera::each_frame(device, &args.camera, out, |photo, about, out| {
            let classes = classifier.classify(&mut session, photo, args.top)?;
            number += 1;
            let name = camera::name(number).display().to_string();
            if args.json {
                writeln!(out, "{}", about.json(as_json(&name, &classes, &labels)))?;
                return Ok(());
            }
            as_text(&name, &classes, &labels, out)
        });
    }
    for path in &args.photos {
        let classes = classifier.classify(&mut session, &picture::load(path)?, args.top)?;
        let photo = path.display().to_string();
        if args.json {
            writeln!(out, "{}", as_json(&photo, &classes, &labels))?;
        } else {
            as_text(&photo, &classes, &labels, out)?;
        }
    }
    Ok(())
}

fn as_json(photo: &str, classes: &[Class], labels: &[&str]) -> Value {
    let classes: Vec<Value> = classes
        .iter()
        .map(|c| json!({ "class": c.index, "label": labels.get(c.index), "score": c.score }))
        .collect();
    json!({ "photo": photo, "classes": classes })
}

fn as_text(photo: &str, classes: &[Class], labels: &[&str], out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out, "{photo}")?;
    for c in classes {
        let label = labels.get(c.index).copied().unwrap_or_default();
        writeln!(out, "  {:>5.1} %  {:>4}  {label}", c.score * 100.0, c.index)?;
    }
    Ok(())
}
