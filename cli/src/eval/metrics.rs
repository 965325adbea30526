//! What scores are, from numbers alone.

use cygnet::vision::{Detection, Rect};

/// Whether the greatest score, or one of the five greatest, is that of the class. Of equal scores the first class counts.
pub fn top(scores: &[f32], class: usize) -> [bool; 2] {
    let Some(&own) = scores.get(class) else { return [false; 2] };
    let better = scores.iter().enumerate().filter(|&(i, &s)| s > own || s == own && i < class).count();
    [better < 1, better < 5]
}

/// A thing that a picture shows, by its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Where.
    pub rect: Rect,
    /// What, counted from 0.
    pub class: usize,
    /// A group that is marked as one: finding it is neither right nor wrong.
    pub crowd: bool,
}

/// Most detections of a picture that count.
const MOST: usize = 100;

/// Average precision as COCO defines it: over IoU of 0.50 to 0.95 in steps of 0.05, and of 0.50 alone; each the mean over
/// classes that occur, of the precision at 101 recalls from 0 to 1, precision at a recall being the greatest at
/// that or any higher one. `pictures` holds labels and detections of each.
pub fn average_precision(pictures: &[(Vec<Truth>, Vec<Detection>)]) -> Option<[f64; 2]> {
    let mut classes: Vec<usize> =
        pictures.iter().flat_map(|p| &p.0).filter(|t| !t.crowd).map(|t| t.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let thresholds: Vec<f32> = (0..10).map(|i| 0.5 + 0.05 * i as f32).collect();
    let at = |iou: f32| {
        classes.iter().map(|&c| class_precision(pictures, c, iou)).sum::<f64>() / classes.len() as f64
    };
    let all: Vec<f64> = thresholds.iter().map(|&t| at(t)).collect();
    (!classes.is_empty()).then(|| [all.iter().sum::<f64>() / all.len() as f64, all[0]])
}

fn class_precision(pictures: &[(Vec<Truth>, Vec<Detection>)], class: usize, iou: f32) -> f64 {
    let mut hits: Vec<(f32, bool)> = Vec::new();
    let mut truths = 0;
    for (labels, found) in pictures {
        let labels: Vec<&Truth> = labels.iter().filter(|t| t.class == class).collect();
        let mut found: Vec<&Detection> = found.iter().filter(|d| d.class == class).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MOST);
        truths += labels.iter().filter(|t| !t.crowd).count();
        let mut taken = vec![false; labels.len()];
        for d in found {
            match matched(d, &labels, &taken, iou) {
                Some(i) if labels[i].crowd => {}
                Some(i) => {
                    taken[i] = true;
                    hits.push((d.score, true));
                }
                None => hits.push((d.score, false)),
            }
        }
    }
    hits.sort_by(|a, b| b.0.total_cmp(&a.0));
    interpolated(&hits, truths)
}

/// The label that a detection finds: that of greatest overlap not found yet, or else a crowd, whose overlap is the share of
/// the detection that lies in it.
fn matched(d: &Detection, labels: &[&Truth], taken: &[bool], iou: f32) -> Option<usize> {
    let free =
        |crowd: bool| (0..labels.len()).filter(move |&i| labels[i].crowd == crowd && (crowd || !taken[i]));
    let best = |crowd: bool, of: &dyn Fn(usize) -> f32| {
        free(crowd).map(|i| (i, of(i))).filter(|m| m.1 >= iou).max_by(|a, b| a.1.total_cmp(&b.1)).map(|m| m.0)
    };
    best(false, &|i| d.rect.iou(&labels[i].rect)).or_else(|| {
        best(true, &|i| {
            let r = labels[i].rect;
            let w = d.rect.x1.min(r.x1) - d.rect.x0.max(r.x0);
            let h = d.rect.y1.min(r.y1) - d.rect.y0.max(r.y0);
            w.max(0.0) * h.max(0.0) / d.rect.area().max(f32::MIN_POSITIVE)
        })
    })
}

/// Mean precision at recalls 0, 0.01, ... 1 of detections by falling score.
fn interpolated(hits: &[(f32, bool)], truths: usize) -> f64 {
    let mut right = 0;
    let mut curve: Vec<(f64, f64)> = hits
        .iter()
        .enumerate()
        .map(|(i, &(_, hit))| {
            right += usize::from(hit);
            (right as f64 / truths as f64, right as f64 / (i + 1) as f64)
        })
        .collect();
    for i in (1..curve.len()).rev() {
        curve[i - 1].1 = curve[i - 1].1.max(curve[i].1);
    }
    let at = |r: usize| curve.iter().find(|c| c.0 >= r as f64 / 100.0 - 1e-12).map_or(0.0, |c| c.1);
    (0..=100).map(at).sum::<f64>() / 101.0
}

/// Intersection over union of two sets of pixels; 1 for two empty ones.
pub fn mask_iou(a: &[bool], b: &[bool]) -> f64 {
    let count = |of: fn(bool, bool) -> bool| a.iter().zip(b).filter(|&(&x, &y)| of(x, y)).count();
    let union = count(|x, y| x || y);
    if union == 0 { 1.0 } else { count(|x, y| x && y) as f64 / union as f64 }
}

/// Classes of frames as CTC reads them: the greatest of each, repetitions once, blanks left out.
pub fn ctc(scores: &[f32], classes: usize, blank: usize) -> Vec<usize> {
    let greatest =
        |frame: &[f32]| (0..classes).fold(0, |best, i| if frame[i] > frame[best] { i } else { best });
    ctc_path(scores.chunks_exact(classes).map(greatest), blank)
}

/// The string that one class for each frame makes: repetitions once, blanks left out.
pub fn ctc_path(classes: impl IntoIterator<Item = usize>, blank: usize) -> Vec<usize> {
    let mut last = blank;
    let read = |class: &usize| {
        let new = *class != last && *class != blank;
        last = *class;
        new
    };
    classes.into_iter().filter(read).collect()
}

/// Least number of symbols inserted, deleted or replaced to make one of the other (Levenshtein).
pub fn edits<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x0: f32, x1: f32) -> Rect {
        Rect { x0, y0: 0.0, x1, y1: 10.0 }
    }

    fn truth(x0: f32, x1: f32, class: usize) -> Truth {
        Truth { rect: rect(x0, x1), class, crowd: false }
    }

    fn found(x0: f32, x1: f32, score: f32) -> Detection {
        Detection { rect: rect(x0, x1), score, ..Detection::default() }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a}, not {b}");
    }

    #[test]
    fn tops() {
        assert_eq!(top(&[0.1, 0.7, 0.2], 1), [true, true]);
        assert_eq!(top(&[0.5, 0.5], 1), [false, true]);
        assert_eq!(top(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 5), [false, false]);
        assert_eq!(top(&[1.0], 7), [false, false]);
    }

    #[test]
    fn precision_of_two_labels_and_three_detections() {
        // By score: right, wrong, right. Precision at recall 0.5 is 1, at recall 1 it is 2/3: 51 recalls (0 to 0.50) at 1,
        // 50 at 2/3. Boxes are exact, so every IoU gives the same.
        let labels = vec![truth(0.0, 10.0, 0), truth(100.0, 110.0, 0)];
        let detections = vec![found(0.0, 10.0, 0.9), found(50.0, 60.0, 0.8), found(100.0, 110.0, 0.7)];
        let want = (51.0 + 50.0 * 2.0 / 3.0) / 101.0;
        let [all, half] = average_precision(&[(labels, detections)]).unwrap();
        close(all, want);
        close(half, want);
    }

    #[test]
    fn precision_by_overlap() {
        // IoU is 76 / 100: right at 0.50, 0.55, 0.60, 0.65, 0.70 and 0.75, wrong at the four above.
        let pictures = [(vec![truth(0.0, 100.0, 0)], vec![found(0.0, 76.0, 0.9)])];
        let [all, half] = average_precision(&pictures).unwrap();
        close(all, 0.6);
        close(half, 1.0);
    }

    #[test]
    fn a_label_is_found_once_and_classes_count_alike() {
        // The second detection of the same label is wrong, but comes after all recall is reached.
        let twice = vec![found(0.0, 10.0, 0.9), found(0.0, 10.0, 0.8)];
        close(average_precision(&[(vec![truth(0.0, 10.0, 0)], twice)]).unwrap()[0], 1.0);
        // Of two classes one is found: one half.
        let labels = vec![truth(0.0, 10.0, 0), truth(0.0, 10.0, 1)];
        close(average_precision(&[(labels, vec![found(0.0, 10.0, 0.9)])]).unwrap()[1], 0.5);
        assert_eq!(average_precision(&[(vec![], vec![])]), None);
    }

    #[test]
    fn crowds_neither_help_nor_harm() {
        let crowd = Truth { crowd: true, ..truth(50.0, 150.0, 0) };
        let labels = vec![truth(0.0, 10.0, 0), crowd];
        // The second lies in the crowd, the third does not, and has the least score.
        let detections = vec![found(0.0, 10.0, 0.7), found(60.0, 70.0, 0.9), found(300.0, 310.0, 0.5)];
        close(average_precision(&[(labels, detections)]).unwrap()[0], 1.0);
    }

    #[test]
    fn pictures_share_one_ranking() {
        // The wrong detection of the second picture has the greatest score: precision 1/2 at recall 1/2, 2/3 at 1; the
        // greatest at any higher recall is 2/3 throughout.
        let pictures = [
            (vec![truth(0.0, 10.0, 0)], vec![found(0.0, 10.0, 0.8)]),
            (vec![truth(0.0, 10.0, 0)], vec![found(50.0, 60.0, 0.9), found(0.0, 10.0, 0.7)]),
        ];
        close(average_precision(&pictures).unwrap()[0], 2.0 / 3.0);
    }

    #[test]
    fn masks() {
        close(mask_iou(&[true, true, false], &[true, false, true]), 1.0 / 3.0);
        close(mask_iou(&[false], &[false]), 1.0);
    }

    #[test]
    fn strings() {
        // Frames: blank, 1, 1, blank, 1, 2.
        let one = |class: usize| (0..3).map(move |i| if i == class { 1.0 } else { 0.0 });
        let frames: Vec<f32> = [0, 1, 1, 0, 1, 2].into_iter().flat_map(one).collect();
        assert_eq!(ctc(&frames, 3, 0), [1, 1, 2]);
        assert_eq!(edits(b"kitten", b"sitting"), 3);
        assert_eq!((edits(b"", b"abc"), edits(b"abc", b"abc")), (3, 0));
    }
}
