//! Scores of detectors.

use cygnet::Session;
use cygnet::format::meta::key;
use cygnet::vision::{DetectOptions, Detection, Detector};

use super::metrics::average_precision;
use super::truth::Boxes;
use super::{Args, Scores};
use crate::common::CliError;
use crate::judge::SCORE;
use crate::picture;
use crate::progress::Shown;
use crate::samples::photo_files;
use cygnet_convert::Progress;

/// Least score of what counts in precision.
const LEAST: f32 = 0.001;

/// Least score of a box that is found again, and of a reference's box that makes another one not extra.
const FAINT: f32 = 0.3;

/// Least overlap of a box that is found again.
const FOUND: f32 = 0.95;

/// Least overlap of a box that is not extra.
const NEAR: f32 = 0.5;

pub fn score(
    args: &Args,
    session: &mut Session,
    mut other: Option<&mut Session>,
) -> Result<Scores, CliError> {
    let detector = Detector::new(session.program(), session.model().meta())?;
    let model = session.model().clone();
    let labels = model.meta().lines(key::LABELS);
    let reference = other.as_ref().map(|s| Detector::new(s.program(), s.model().meta())).transpose()?;
    let truth = args.truth.as_deref().map(|path| Boxes::read(path, &labels)).transpose()?;
    let options = DetectOptions { conf: Some(LEAST), iou: Some(args.iou), most: Some(300) };
    let files = photo_files(&args.data)?;
    let mut progress = Shown::new(args.quiet);
    progress.stage("detecting", Some(files.len()));
    let (mut pictures, mut agreement) = (Vec::new(), Agreement::default());
    for file in &files {
        let photo = picture::load(file)?;
        let found = detector.detect(session, &photo, &options)?;
        if let (Some(detector), Some(session)) = (&reference, other.as_deref_mut()) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            agreement.add(&name, &detector.detect(session, &photo, &options)?, &found);
        }
        if let Some(truth) = &truth {
            pictures.push((truth.of(file, [photo.width(), photo.height()])?, found));
        }
        progress.advance();
    }
    drop(progress);
    let mut scores = Scores::new(files.len());
    if truth.is_some() {
        let none = || CliError::Failed("the labels name no box in these photos; check --truth".to_owned());
        let [all, half] = average_precision(&pictures).ok_or_else(none)?;
        scores.percent("AP@[.5:.95]", all);
        scores.percent("AP50", half);
    }
    if reference.is_some() {
        agreement.report(&mut scores);
    }
    Ok(scores)
}

/// How far two detectors find the same.
#[derive(Default)]
struct Agreement {
    boxes: usize,
    overlaps: Vec<f64>,
    found: usize,
    extra: usize,
    score: f64,
    notes: Vec<String>,
}

impl Agreement {
    fn add(&mut self, photo: &str, reference: &[Detection], own: &[Detection]) {
        for d in reference.iter().filter(|d| d.score >= SCORE) {
            self.boxes += 1;
            let best = nearest(d, own.iter().filter(|o| o.score >= FAINT));
            let iou = best.map_or(0.0, |b| b.1);
            self.overlaps.push(f64::from(iou));
            if iou >= FOUND {
                self.found += 1;
                self.score = self.score.max(best.map_or(0.0, |b| f64::from((b.0.score - d.score).abs())));
            } else {
                let (class, score) = (d.class, d.score);
                self.notes.push(format!("{photo}: class {class} of score {score:.2} is lost (IoU {iou:.3})"));
            }
        }
        for d in own.iter().filter(|d| d.score >= SCORE) {
            if nearest(d, reference.iter().filter(|r| r.score >= FAINT)).is_none_or(|n| n.1 < NEAR) {
                self.extra += 1;
                self.notes.push(format!("{photo}: class {} of score {:.2} is extra", d.class, d.score));
            }
        }
    }

    fn report(self, scores: &mut Scores) {
        let mean = self.overlaps.iter().sum::<f64>() / self.overlaps.len().max(1) as f64;
        scores.tally("reference's boxes", self.boxes);
        scores.tally("found", self.found);
        scores.tally("extra", self.extra);
        if self.boxes > 0 {
            scores.number("mean IoU", mean);
            scores.number("least IoU", self.overlaps.iter().copied().fold(1.0, f64::min));
            scores.number("greatest difference of score", self.score);
        }
        scores.notes.extend(self.notes);
    }
}

/// The box of the same class that overlaps most, and by how much.
fn nearest<'a>(d: &Detection, among: impl Iterator<Item = &'a Detection>) -> Option<(&'a Detection, f32)> {
    among.filter(|o| o.class == d.class).map(|o| (o, d.rect.iou(&o.rect))).max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use cygnet::vision::Rect;

    use super::*;

    fn found(x1: f32, score: f32) -> Detection {
        Detection { rect: Rect { x0: 0.0, y0: 0.0, x1, y1: 10.0 }, score, ..Detection::default() }
    }

    #[test]
    fn agreement_of_two() {
        let of = |reference: &[Detection], own: &[Detection]| {
            let mut a = Agreement::default();
            a.add("photo", reference, own);
            [a.boxes, a.found, a.extra]
        };
        assert_eq!(of(&[found(100.0, 0.9)], &[found(96.0, 0.8)]), [1, 1, 0]);
        assert_eq!(of(&[found(100.0, 0.9)], &[found(94.0, 0.8)]), [1, 0, 0]);
        assert_eq!(of(&[found(100.0, 0.9)], &[found(100.0, 0.29)]), [1, 0, 0]);
        assert_eq!(of(&[found(100.0, 0.39)], &[]), [0, 0, 0]);
        // Just above the score that counts, where the reference is just below: the same thing.
        assert_eq!(of(&[found(100.0, 0.39)], &[found(100.0, 0.41)]), [0, 0, 0]);
        assert_eq!(of(&[], &[found(100.0, 0.41)]), [0, 0, 1]);
    }
}
