//! Scores of models that give one answer for a sample: classes, masks, strings, numbers.

use std::path::Path;

use cygnet::Session;
use cygnet::format::Array;
use cygnet::format::meta::key;
use cygnet_convert::judge::{cosine, decibels, noise, values};
use cygnet_convert::sensitivity::outputs;
use cygnet_convert::{Progress, Samples};

use super::metrics::{ctc, edits, mask_iou, top};
use super::{Args, Score, Scores, truth};
use crate::common::CliError;
use crate::picture;
use crate::progress::Shown;
use crate::samples::FileSamples;

/// What is added up over samples, of labels or of the reference.
#[derive(Default)]
struct Sums {
    count: usize,
    first: f64,
    second: f64,
    least: f64,
    notes: Vec<String>,
}

impl Sums {
    fn add(&mut self, first: f64, second: f64) {
        self.least = if self.count == 0 { first } else { self.least.min(first) };
        self.count += 1;
        self.first += first;
        self.second += second;
    }

    fn mean(&self, sum: f64) -> f64 {
        sum / self.count.max(1) as f64
    }
}

pub fn score(
    args: &Args,
    score: Score,
    session: &mut Session,
    mut other: Option<&mut Session>,
) -> Result<Scores, CliError> {
    let mut samples = samples(args, session)?;
    let model = session.model().clone();
    let labels = model.meta().lines(key::LABELS);
    let symbols = symbols(args, &labels)?;
    let by_table = matches!(score, Score::Classify | Score::Text);
    let table = args.truth.as_deref().filter(|_| by_table).map(truth::Table::read).transpose()?;
    let mut progress = Shown::new(args.quiet);
    progress.stage("running", Some(samples.len()));
    let (mut labelled, mut agreed) = (Sums::default(), Sums::default());
    let mut each: Vec<Output> = Vec::new();
    for index in 0..samples.len() {
        let (file, place) = (samples.path(index).to_owned(), samples.place(index));
        let mut inputs = samples.get(index).map_err(CliError::Failed)?;
        inputs.retain(|a| session.inputs().any(|(name, _)| name == a.name));
        let own = outputs(session, &inputs)?;
        let reference = other.as_deref_mut().map(|s| outputs(s, &inputs)).transpose()?;
        match score {
            Score::Classify => {
                let scores = first(&own)?;
                if reference.is_none() || args.truth.is_some() {
                    let class = truth::class(&file, place, table.as_ref(), &labels)?;
                    let [one, five] = top(&scores, class);
                    labelled.add(f64::from(u8::from(one)), f64::from(u8::from(five)));
                }
                if let Some(reference) = &reference {
                    let class = greatest(&first(reference)?);
                    agreed.add(f64::from(u8::from(top(&scores, class)[0])), 0.0);
                }
            }
            Score::Segment => {
                let (mask, size) = mask(&own)?;
                if let Some(folder) = &args.truth {
                    labelled.add(mask_iou(&mask, &truth::mask(folder, &file, size)?), 0.0);
                }
                if let Some(reference) = &reference {
                    agreed.add(mask_iou(&mask, &self::mask(reference)?.0), 0.0);
                }
            }
            Score::Text => {
                let text = string(&own, &symbols)?;
                if let Some(table) = &table {
                    let want = wanted(table, &file)?;
                    compare_text(&mut labelled, &file, &text, &want);
                }
                if let Some(reference) = &reference {
                    compare_text(&mut agreed, &file, &text, &string(reference, &symbols)?);
                }
            }
            Score::Detect | Score::Outputs => {
                let reference = reference.as_deref().unwrap_or_default();
                for (i, a) in own.iter().enumerate() {
                    let exact = reference.iter().find(|r| r.name == a.name && r.dims == a.dims);
                    let exact = exact.ok_or_else(|| unlike(&a.name))?;
                    if each.len() <= i {
                        each.push(Output::new(&a.name));
                    }
                    each[i].add(&values(exact), &values(a));
                }
            }
        }
        progress.advance();
    }
    drop(progress);
    let mut scores = Scores::new(samples.len());
    report(score, &labelled, &agreed, &mut scores);
    each.iter().for_each(|o| o.report(each.len() > 1, &mut scores));
    Ok(scores)
}

fn unlike(name: &str) -> CliError {
    CliError::Failed(format!(
        "the reference has no output '{name}' of that shape; give one made of the same source for the same shapes"
    ))
}

fn samples(args: &Args, session: &Session) -> Result<FileSamples, CliError> {
    let inputs: Vec<(String, Vec<u32>)> =
        session.inputs().map(|(name, t)| (name.to_owned(), t.dims.clone())).collect();
    let photos = match &inputs[..] {
        [(name, dims)] => picture::preprocess(session, name).ok().map(|p| (name.clone(), p, dims.clone())),
        _ => None,
    };
    FileSamples::new(&args.data, photos, inputs, None)
}

fn report(score: Score, labelled: &Sums, agreed: &Sums, scores: &mut Scores) {
    match score {
        Score::Classify => {
            if labelled.count > 0 {
                scores.percent("top-1", labelled.mean(labelled.first));
                scores.percent("top-5", labelled.mean(labelled.second));
            }
            if agreed.count > 0 {
                scores.percent("top-1 agreement", agreed.mean(agreed.first));
            }
        }
        Score::Segment => {
            for (sums, mean, least) in [
                (labelled, "mean IoU", "least IoU"),
                (agreed, "mean IoU with reference", "least IoU with reference"),
            ] {
                if sums.count > 0 {
                    scores.number(mean, sums.mean(sums.first));
                    scores.number(least, sums.least);
                }
            }
        }
        Score::Text => {
            for (sums, exact, wrong) in [
                (labelled, "exact strings", "symbols wrong"),
                (agreed, "strings as the reference's", "symbols unlike the reference's"),
            ] {
                if sums.count > 0 {
                    scores.percent(exact, sums.mean(sums.first));
                    scores.percent(wrong, sums.mean(sums.second));
                    scores.notes.extend(sums.notes.iter().cloned());
                }
            }
        }
        Score::Detect | Score::Outputs => {}
    }
}

/// The numbers of the first output.
fn first(outputs: &[Array]) -> Result<Vec<f32>, CliError> {
    let none = || CliError::Failed("the model has no output; convert it again".to_owned());
    outputs.first().map(values).ok_or_else(none)
}

fn greatest(scores: &[f32]) -> usize {
    (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

/// The mask of the first output, `[.., H, W, 1]` or `[.., 1, H, W]`: above one half; of several classes, whether it is
/// not the first. With its height and width.
fn mask(outputs: &[Array]) -> Result<(Vec<bool>, [usize; 2]), CliError> {
    let values = first(outputs)?;
    let dims: Vec<usize> = outputs[0].dims.iter().map(|&d| d as usize).filter(|&d| d > 1).collect();
    match dims[..] {
        [h, w] => Ok((values.iter().map(|&v| v > 0.5).collect(), [h, w])),
        // The classes are the fewest.
        [c, h, w] if c <= w => {
            let at = |i: usize| (0..c).map(|k| values[k * h * w + i]).collect::<Vec<_>>();
            Ok(((0..h * w).map(|i| greatest(&at(i)) > 0).collect(), [h, w]))
        }
        [h, w, c] => Ok((values.chunks_exact(c).map(|v| greatest(v) > 0).collect(), [h, w])),
        _ => {
            let what = format!("the output {:?} is no mask; choose another --task", outputs[0].dims);
            Err(CliError::Usage(what))
        }
    }
}

/// The symbols of classes from 1 on.
fn symbols(args: &Args, labels: &[&str]) -> Result<Vec<String>, CliError> {
    let Some(path) = &args.charset else { return Ok(labels.iter().map(|&l| l.to_owned()).collect()) };
    let text = std::fs::read_to_string(path).map_err(|e| {
        CliError::Failed(format!("cannot read the symbols {}: {e}; check the name", path.display()))
    })?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The symbols that the first output, `[.., T, classes]`, spells.
fn string(outputs: &[Array], symbols: &[String]) -> Result<Vec<String>, CliError> {
    let values = first(outputs)?;
    let classes = outputs[0].dims.last().map_or(1, |&d| d as usize).max(1);
    Ok(ctc(&values, classes, 0).into_iter().map(|class| symbol(class, classes, symbols)).collect())
}

/// The symbol of a class, or its number where it has none. One class more than the blank and the symbols is the space, which
/// PaddleOCR's lists leave out (`use_space_char`).
fn symbol(class: usize, classes: usize, symbols: &[String]) -> String {
    match symbols.get(class - 1) {
        Some(symbol) => symbol.clone(),
        None if class == symbols.len() + 1 && classes == symbols.len() + 2 => " ".to_owned(),
        None => format!("<{class}>"),
    }
}

fn wanted(table: &truth::Table, file: &Path) -> Result<Vec<String>, CliError> {
    let text = table.of(file).ok_or_else(|| {
        CliError::Failed(format!("{}: the labels do not name it; leave it out or label it", file.display()))
    })?;
    Ok(text.chars().map(String::from).collect())
}

fn compare_text(sums: &mut Sums, file: &Path, got: &[String], want: &[String]) {
    let wrong = edits(got, want);
    sums.add(f64::from(u8::from(wrong == 0)), wrong as f64 / want.len().max(1) as f64);
    if wrong > 0 {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        sums.notes.push(format!("{name}: \"{}\" in place of \"{}\"", got.concat(), want.concat()));
    }
}

/// How an output lies beside the reference's.
struct Output {
    name: String,
    count: usize,
    cosine: f64,
    least: f64,
    noise: f64,
    greatest: f64,
}

impl Output {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), count: 0, cosine: 0.0, least: 1.0, noise: 0.0, greatest: 0.0 }
    }

    fn add(&mut self, exact: &[f32], own: &[f32]) {
        let c = cosine(exact, own);
        self.count += 1;
        self.cosine += c;
        self.least = self.least.min(c);
        self.noise += noise(exact, own);
        let ends = exact.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
        // A single number is relative to itself.
        let one = if exact.len() == 1 { ends.1.abs() } else { ends.1 - ends.0 };
        let spread = f64::from(one).max(f64::from(f32::MIN_POSITIVE));
        let errors = exact.iter().zip(own).map(|(a, b)| f64::from((a - b).abs()) / spread);
        self.greatest = errors.fold(self.greatest, f64::max);
    }

    /// One output's figures are scores, those of several are notes under its name.
    fn report(&self, several: bool, scores: &mut Scores) {
        let n = self.count.max(1) as f64;
        let (cosine, db) = (self.cosine / n, decibels(self.noise / n));
        if several {
            scores.notes.push(format!(
                "{}: cosine {cosine:.5} (least {:.5}), {db:.1} dB, greatest error {:.2} % of the spread",
                self.name,
                self.least,
                self.greatest * 100.0
            ));
            return;
        }
        scores.number("mean cosine", cosine);
        scores.number("least cosine", self.least);
        scores.number("signal to noise, dB", db);
        scores.percent("greatest error of spread", self.greatest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_classes() {
        let symbols = ["a".to_owned(), "b".to_owned()];
        // Blank, a, b, space.
        assert_eq!([1, 2, 3].map(|class| symbol(class, 4, &symbols)).concat(), "ab ");
        // Two classes more than symbols: nobody says which is which.
        assert_eq!([2, 3, 4].map(|class| symbol(class, 5, &symbols)).concat(), "b<3><4>");
    }
}
