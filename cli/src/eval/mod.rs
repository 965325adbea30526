//! `cygnet eval`.

mod boxes;
pub mod metrics;
mod plain;
mod truth;

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use cygnet::format::meta::key;
use cygnet::vision::Task;
use cygnet::{Model, Session, SessionOptions};
use serde_json::{Map, Value, json};

use crate::common::{CliError, ModelArgs, ThreadArgs};

const HELP: &str = "\
Scores and the labels they need (--truth); with --reference, agreement with another model, which needs no labels:
  classify  top-1 and top-5. Labels: FILE with lines 'photo,class'; or folders named by class; or photos named NAME_CLASS;
            or an array 'labels' beside the inputs in .npz files. Classes are numbers or names of the file's labels
  detect    COCO's AP@[.5:.95] and AP50. Labels: COCO's instances JSON, or a folder of YOLO's NAME.txt
            (class center_x center_y width height, as fractions)
  segment   IoU of masks, pixels above 0.5 (or of the greatest of several classes). Labels: folder of NAME.png, bright
            where the thing is
  text      strings that are exact, and symbols wrong, read by CTC. Labels: FILE with lines 'photo<TAB>string'; the
            symbols are the file's labels (or --charset), the blank is class 0
  outputs   cosine, signal to noise and greatest error of each output, with --reference only
Agreement of detectors: boxes of the reference of score 0.4 or more are found when one of the same class overlaps them by
0.95 with a score of 0.3 or more; boxes of score 0.4 or more that overlap none of the reference's are extra.

Examples:
  cygnet eval mobilenet.cygnet imagenet/val
  cygnet eval yolo.cygnet val2017/ --truth instances_val2017.json
  cygnet eval int8.cygnet photos/ --reference f32.cygnet

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Score a model on labelled data, or its agreement with another model
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Folders and files of photos, .npz or .npy
    #[arg(required = true)]
    data: Vec<PathBuf>,

    /// Labels: see below
    #[arg(long, value_name = "FILE|DIR")]
    truth: Option<PathBuf>,

    /// A .cygnet file to agree with, as of the same model in f32
    #[arg(long, value_name = "MODEL")]
    reference: Option<PathBuf>,

    /// What to score [default: by the file's metadata]
    #[arg(long, value_enum)]
    task: Option<Score>,

    /// Text file with the symbols that classes from 1 on stand for, one a line [default: the file's labels]
    #[arg(long, value_name = "FILE")]
    charset: Option<PathBuf>,

    /// Overlap above which boxes of a class are one thing
    #[arg(long, value_name = "X", default_value_t = 0.45)]
    iou: f32,

    #[command(flatten)]
    threads: ThreadArgs,

    /// Print the scores as JSON
    #[arg(long)]
    json: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Score {
    Classify,
    Detect,
    Segment,
    Text,
    Outputs,
}

/// A score with its name, how it reads, and lines about what is not as it should be.
pub struct Scores {
    values: Vec<(&'static str, f64, Unit)>,
    notes: Vec<String>,
    count: usize,
}

/// How a score is shown.
#[derive(Clone, Copy)]
enum Unit {
    Percent,
    Number,
    Count,
}

impl Scores {
    fn new(count: usize) -> Self {
        Self { values: Vec::new(), notes: Vec::new(), count }
    }

    fn percent(&mut self, name: &'static str, value: f64) {
        self.values.push((name, value, Unit::Percent));
    }

    fn number(&mut self, name: &'static str, value: f64) {
        self.values.push((name, value, Unit::Number));
    }

    fn tally(&mut self, name: &'static str, value: usize) {
        self.values.push((name, value as f64, Unit::Count));
    }
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let model = args.model.open(args.threads.pages())?;
    let reference = args.reference.as_deref().map(Model::open).transpose()?;
    let score = args.task.unwrap_or(match model.meta().text(key::TASK).and_then(Task::from_name) {
        Some(Task::Classify) => Score::Classify,
        Some(Task::Detect | Task::Face) => Score::Detect,
        Some(Task::Segment) => Score::Segment,
        None => Score::Outputs,
    });
    let labelled = args.truth.is_some() || score == Score::Classify;
    if reference.is_none() && !labelled {
        let what = "there is nothing to score by: give labels with --truth, or a model with --reference";
        return Err(CliError::Usage(what.to_owned()));
    }
    let mut session = args.model.session(&model, &args.threads)?;
    let mut other = reference.as_ref().map(|m| Session::new(m, &SessionOptions::default())).transpose()?;
    let scores = match score {
        Score::Detect => boxes::score(args, &mut session, other.as_mut())?,
        _ => plain::score(args, score, &mut session, other.as_mut())?,
    };
    if args.json {
        let values: Map<String, Value> = scores
            .values
            .iter()
            .map(|(name, v, _)| ((*name).to_owned(), crate::compare::number(*v)))
            .collect();
        let json = json!({ "task": format!("{score:?}").to_lowercase(), "samples": scores.count,
                           "scores": values, "notes": scores.notes });
        return Ok(writeln!(out, "{json}")?);
    }
    writeln!(out, "{} samples", scores.count)?;
    for (name, value, unit) in &scores.values {
        match unit {
            Unit::Percent => writeln!(out, "{name:<28} {:>8.2} %", value * 100.0)?,
            Unit::Number => writeln!(out, "{name:<28} {value:>8.4}")?,
            Unit::Count => writeln!(out, "{name:<28} {value:>8}")?,
        }
    }
    scores.notes.iter().try_for_each(|note| Ok(writeln!(out, "  {note}")?))
}
