//! What counts as an error of a model in fewer bits, by what the model is for. `convert` chooses precisions by it, `eval`
//! scores agreement by the same rules.

use cygnet::format::{Array, Meta};
use cygnet::vision::task::find_task;
use cygnet::vision::{DetectOptions, Detection, Detector, Task, VisionError, classify};
use cygnet_convert::Judge;
use cygnet_convert::judge::{Outputs, Pool, is_distribution, values};

use crate::common::CliError;

mod strings;

use strings::Frames;

/// Boxes of at least this score have to be found.
pub const SCORE: f32 = 0.4;

/// Faces of at least this score have to be found.
const FACE_SCORE: f32 = 0.5;

/// How much a score may differ for a box to be the same.
const SLACK: f32 = 0.1;

/// Least overlap of a box with the float model's.
const OVERLAP: f64 = 0.95;

/// Difference of masks, 1 - intersection over union, that is accepted.
const MASK: f64 = 0.015;

/// Total variation distance of class probabilities that is accepted.
const CLASSES: f64 = 0.1;

/// The judge of a model by its task.
pub fn for_model(
    inputs: &[(&str, &[u32])],
    outputs: &[(&str, &[u32])],
    meta: &Meta,
) -> Result<Box<dyn Judge>, CliError> {
    let task = find_task(meta, inputs, outputs)?.map(|g| g.task);
    Ok(match task {
        Some(Task::Detect | Task::Face) => match Detector::of_ports(inputs, outputs, meta) {
            Ok(detector) => {
                let face = task == Some(Task::Face);
                Box::new(Boxes { detector, score: if face { FACE_SCORE } else { SCORE } })
            }
            Err(VisionError::NoHead { .. }) => Box::new(Frames),
            Err(error) => return Err(error.into()),
        },
        Some(Task::Classify) => Box::new(Classes),
        Some(Task::Segment) => Box::new(Masks),
        None => Box::new(Frames),
    })
}

/// Detections of the float model have to be found again.
struct Boxes {
    detector: Detector,
    /// Least score of boxes that count.
    score: f32,
}

impl Boxes {
    /// Detections of at least `conf`, by outputs' arrays; with an `iou` of 1 all candidates.
    fn found(&self, outputs: &[Array], conf: f32, iou: Option<f32>) -> Result<Vec<Detection>, String> {
        let value = |name: &str| {
            let array = outputs.iter().find(|a| a.name == name);
            array.map(values).ok_or_else(|| VisionError::from(missing(name, outputs)))
        };
        let options = DetectOptions { conf: Some(conf), iou, most: Some(CANDIDATES) };
        self.detector.decode_values(&value, &options).map_err(|e| e.to_string())
    }
}

fn missing(name: &str, outputs: &[Array]) -> cygnet::Error {
    let have = outputs.iter().map(|a| a.name.clone()).collect();
    cygnet::Error::NoTensor { what: "output", wanted: name.to_owned(), have }
}

/// How far one box is from another of its class: 1 where the IoU is 0.96 (0.95 is what users are promised; the samples
/// are few) or scores differ by 0.1.
fn distance(d: &Detection, other: &Detection) -> f64 {
    let shift = (1.0 - f64::from(d.rect.iou(&other.rect))) / ((1.0 - OVERLAP) * MARGIN);
    shift.max(f64::from((d.score - other.score).abs() / SLACK))
}

/// Whether both are of one class and overlap.
fn alike(d: &Detection, other: &Detection) -> bool {
    d.class == other.class && d.rect.iou(&other.rect) > 0.5
}

/// Greatest distance of the boxes of the float model that count from what the other one finds. Where the float model
/// proposes several for one thing with all but the same score, which of them remains is a matter of chance: each will do.
fn lost(float: &[Detection], candidates: &[Detection], low: &[Detection]) -> f64 {
    let one = |d: &Detection| {
        let ties = candidates.iter().filter(|c| alike(d, c) && c.score >= d.score - TIE);
        let pairs = ties.chain([d]).flat_map(|c| low.iter().filter(|o| alike(c, o)).map(|o| distance(c, o)));
        pairs.fold(MISSED, f64::min)
    };
    float.iter().map(one).fold(0.0, f64::max)
}

/// Greatest difference of score of the boxes that the other model finds from what the float model proposes there.
fn extra(low: &[Detection], candidates: &[Detection]) -> f64 {
    let one = |d: &Detection| {
        let near = candidates.iter().filter(|c| alike(d, c));
        near.map(|c| f64::from((d.score - c.score).abs() / SLACK)).fold(MISSED, f64::min)
    };
    low.iter().map(one).fold(0.0, f64::max)
}

/// Difference of scores that decides nothing.
const TIE: f32 = 0.01;

/// Most candidates that are looked at.
const CANDIDATES: usize = 3000;

/// Share of the promised overlap's gap that samples may use up.
const MARGIN: f64 = 0.8;

/// Error of a box that is missing or extra.
const MISSED: f64 = 20.0;

impl Judge for Boxes {
    fn measure(&self) -> String {
        format!(
            "every box of score {} is found with IoU of {:.2} and a score within {SLACK}, and no other one",
            self.score,
            1.0 - (1.0 - OVERLAP) * MARGIN
        )
    }

    fn pool(&self) -> Pool {
        Pool::Worst
    }

    fn tells(&self, float: &[Array]) -> bool {
        self.found(float, self.score, None).is_ok_and(|found| !found.is_empty())
    }

    fn error(&self, float: &[Array], low: &[Array]) -> Result<f64, String> {
        // Frames of symbols can have the shape of a detector's output.
        if float.iter().all(is_distribution) {
            return Frames.error(float, low);
        }
        let boxes = |outputs: &[Array], conf: f32| self.found(outputs, conf, None);
        let (all, mut near) = (boxes(float, self.score)?, boxes(low, self.score)?);
        let mut candidates = self.found(float, self.score / 2.0, Some(1.0))?;
        candidates.extend(all.iter().cloned());
        let own = near.clone();
        near.extend(boxes(low, self.score / 2.0)?);
        Ok(lost(&all, &candidates, &near).max(extra(&own, &candidates)))
    }
}

/// Probabilities of classes.
struct Classes;

impl Judge for Classes {
    fn measure(&self) -> String {
        format!("class probabilities within {CLASSES} of total variation")
    }

    fn pool(&self) -> Pool {
        Pool::Rms
    }

    fn error(&self, float: &[Array], low: &[Array]) -> Result<f64, String> {
        let probabilities = |outputs: &[Array]| {
            let scores = outputs.first().map(values).unwrap_or_default();
            let mut classes = classify::top(&scores, scores.len());
            classes.sort_by_key(|c| c.index);
            classes.into_iter().map(|c| c.score).collect::<Vec<f32>>()
        };
        let (a, b) = (probabilities(float), probabilities(low));
        Ok(cygnet_convert::judge::total_variation(&a, &b) / CLASSES)
    }
}

/// Masks: the sum of the lesser over that of the greater of each pair of values, which for zeros and ones is the
/// intersection over the union.
struct Masks;

impl Judge for Masks {
    fn measure(&self) -> String {
        format!("masks with an IoU of {}", 1.0 - MASK)
    }

    fn pool(&self) -> Pool {
        Pool::Rms
    }

    fn error(&self, float: &[Array], low: &[Array]) -> Result<f64, String> {
        let (Some(a), Some(b)) = (float.first(), low.first()) else { return Outputs.error(float, low) };
        let (x, y) = (values(a), values(b));
        if !x.iter().chain(&y).all(|v| (0.0..=1.0).contains(v)) {
            return Outputs.error(float, low);
        }
        let sum = |of: fn(f32, f32) -> f32| x.iter().zip(&y).map(|(&p, &q)| f64::from(of(p, q))).sum::<f64>();
        // Masks of next to nothing have no overlap to speak of: a twentieth of the picture is added to both.
        let rest = x.len() as f64 / 20.0;
        Ok((1.0 - (sum(f32::min) + rest) / (sum(f32::max) + rest)) / MASK)
    }
}

#[cfg(test)]
mod tests {
    use cygnet::DType;
    use cygnet::vision::Rect;

    use super::*;

    fn found(x1: f32, score: f32) -> Detection {
        Detection { rect: Rect { x0: 0.0, y0: 0.0, x1, y1: 10.0 }, score, ..Detection::default() }
    }

    #[test]
    fn errors_of_boxes() {
        let float = [found(100.0, 0.9)];
        // IoU 0.97 is 0.75, by (1 - 0.97) / 0.04.
        assert!((lost(&float, &float, &[found(97.0, 0.9)]) - 0.75).abs() < 1e-4);
        // A score that differs by 0.05 of 0.1.
        assert!((lost(&float, &float, &[found(100.0, 0.85)]) - 0.5).abs() < 1e-4);
        assert_eq!(lost(&float, &float, &[]), MISSED);
        assert_eq!(lost(&float, &float, &[found(80.0, 0.9), found(100.0, 0.9)]), 0.0);
        // 80 of 100 is far, unless the float model proposes it as well with the same score.
        assert!(lost(&float, &[found(80.0, 0.85)], &[found(80.0, 0.9)]) > 4.9);
        assert!((lost(&float, &[found(80.0, 0.896)], &[found(80.0, 0.9)]) - 0.04).abs() < 1e-4);
        assert_eq!(extra(&float, &[]), MISSED);
        assert!((extra(&float, &[found(90.0, 0.87)]) - 0.3).abs() < 1e-4);
    }

    #[test]
    fn masks_by_their_overlap() {
        let mask = |v: &[f32]| {
            let bytes = v.iter().flat_map(|x| x.to_le_bytes()).collect();
            vec![Array { name: "m".into(), dtype: DType::F32, dims: vec![1, v.len() as u32], bytes }]
        };
        let ones = |n: usize| mask(&(0..100).map(|i| if i < n { 1.0 } else { 0.0 }).collect::<Vec<_>>());
        // 49 of 50, with five for the twentieth: 1 - 54 / 55.
        let error = Masks.error(&ones(50), &ones(49)).unwrap();
        assert!((error - (1.0 - 54.0 / 55.0) / 0.015).abs() < 1e-9);
        assert_eq!(Masks.error(&ones(50), &ones(50)).unwrap(), 0.0);
    }

    #[test]
    fn classes_by_probabilities() {
        let logits = |v: &[f32]| {
            let bytes = v.iter().flat_map(|x| x.to_le_bytes()).collect();
            vec![Array { name: "y".into(), dtype: DType::F32, dims: vec![1, v.len() as u32], bytes }]
        };
        // 1/2, 1/2 against 3/4, 1/4: total variation 1/4 of 0.1.
        let error = Classes.error(&logits(&[-1.0, -1.0]), &logits(&[3.0_f32.ln(), -0.0]));
        assert!((error.unwrap() - 2.5).abs() < 1e-5);
    }
}
