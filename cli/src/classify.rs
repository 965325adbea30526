//! `cygnet classify`.

use std::io::Write;
use std::path::PathBuf;

use cygnet::format::meta::key;
use cygnet::vision::classify::Classifier;
use serde_json::{Value, json};

use crate::common::{CliError, ModelArgs, ThreadArgs};
use crate::picture;

const HELP: &str = "\
Examples:
  cygnet classify mobilenet.cygnet cat.jpg
  cygnet classify mobilenet.cygnet photos/*.jpg --top 1 --json

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Say what photos show
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Photos, PNG or JPEG
    #[arg(required = true)]
    photos: Vec<PathBuf>,

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
    let model = args.model.open()?;
    let mut session = args.model.session(&model, &args.threads)?;
    let classifier = Classifier::new(session.program(), model.meta())?;
    let labels = model.meta().lines(key::LABELS);
    for path in &args.photos {
        let classes = classifier.classify(&mut session, &picture::load(path)?, args.top)?;
        let photo = path.display().to_string();
        if args.json {
            let classes: Vec<Value> = classes
                .iter()
                .map(|c| json!({ "class": c.index, "label": labels.get(c.index), "score": c.score }))
                .collect();
            writeln!(out, "{}", json!({ "photo": photo, "classes": classes }))?;
            continue;
        }
        writeln!(out, "{photo}")?;
        for c in classes {
            let label = labels.get(c.index).copied().unwrap_or_default();
            writeln!(out, "  {:>5.1} %  {:>4}  {label}", c.score * 100.0, c.index)?;
        }
    }
    Ok(())
}
