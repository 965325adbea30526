//! Rectangles, detections, and the choice among overlapping ones.

/// A rectangle in pixels, from its top left to its bottom right corner.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[allow(missing_docs)]
pub struct Rect {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
}

impl Rect {
    /// From center and extent.
    pub fn centered(cx: f32, cy: f32, w: f32, h: f32) -> Self {
        Self { x0: cx - w / 2.0, y0: cy - h / 2.0, x1: cx + w / 2.0, y1: cy + h / 2.0 }
    }

    /// Extent across.
    pub fn width(&self) -> f32 {
        self.x1 - self.x0
    }

    /// Extent down.
    pub fn height(&self) -> f32 {
        self.y1 - self.y0
    }

    /// Width times height; 0 for one turned inside out.
    pub fn area(&self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Area of the intersection over that of the union, in [0, 1]; 0 when both are empty.
    pub fn iou(&self, other: &Self) -> f32 {
        let w = self.x1.min(other.x1) - self.x0.max(other.x0);
        let h = self.y1.min(other.y1) - self.y0.max(other.y0);
        let common = w.max(0.0) * h.max(0.0);
        let union = self.area() + other.area() - common;
        if union > 0.0 { common / union } else { 0.0 }
    }

    /// The part inside `[0, width] x [0, height]`.
    pub fn clipped(&self, width: f32, height: f32) -> Self {
        Self {
            x0: self.x0.clamp(0.0, width),
            y0: self.y0.clamp(0.0, height),
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
        }
    }

    /// Whether all coordinates are finite and both extents above zero.
    pub fn is_proper(&self) -> bool {
        [self.x0, self.y0, self.x1, self.y1].iter().all(|v| v.is_finite()) && self.area() > 0.0
    }
}

/// Something found in a picture.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Detection {
    /// Where.
    pub rect: Rect,
    /// How sure the model is, in [0, 1].
    pub score: f32,
    /// Which class, counted from 0.
    pub class: usize,
    /// Points of it (eyes, nose, ...), when the model gives some.
    pub keypoints: Vec<[f32; 2]>,
}

/// Best first; equal scores in the order given.
fn sort(found: &mut [Detection]) {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// Non-maximum suppression: of detections of one class that overlap by more than `iou`, the best stays.
/// Returns at most `most`, best first.
pub fn nms(mut found: Vec<Detection>, iou: f32, most: usize) -> Vec<Detection> {
    sort(&mut found);
    let mut kept: Vec<Detection> = Vec::new();
    for d in found {
        if kept.len() == most {
            break;
        }
        if kept.iter().all(|k| k.class != d.class || k.rect.iou(&d.rect) <= iou) {
            kept.push(d);
        }
    }
    kept
}

/// Non-maximum suppression that merges: the best detection and all of its class that overlap it by more than `iou`
/// become one, its rectangle and points the mean of theirs weighted by score, its score the best one's.
/// MediaPipe's face detectors are made for it. Returns at most `most`, best first.
pub fn weighted_nms(mut found: Vec<Detection>, iou: f32, most: usize) -> Vec<Detection> {
    sort(&mut found);
    let mut merged = Vec::new();
    while merged.len() < most && !found.is_empty() {
        let best = found[0].clone();
        let (group, rest): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|d| d.class == best.class && d.rect.iou(&best.rect) > iou);
        // A rectangle without area overlaps nothing, itself included.
        let group = if group.is_empty() { vec![best.clone()] } else { group };
        found = rest.into_iter().filter(|d| *d != best).collect();
        merged.push(merge(best, &group));
    }
    merged
}

fn merge(best: Detection, group: &[Detection]) -> Detection {
    let total: f32 = group.iter().map(|d| d.score).sum();
    if total <= 0.0 {
        return best;
    }
    let mean = |of: &dyn Fn(&Detection) -> f32| group.iter().map(|d| d.score * of(d)).sum::<f32>() / total;
    let rect = Rect {
        x0: mean(&|d| d.rect.x0),
        y0: mean(&|d| d.rect.y0),
        x1: mean(&|d| d.rect.x1),
        y1: mean(&|d| d.rect.y1),
    };
    let point = |i: usize, axis: usize| mean(&|d| d.keypoints.get(i).map_or(0.0, |p| p[axis]));
    let keypoints = (0..best.keypoints.len()).map(|i| [point(i, 0), point(i, 1)]).collect();
    Detection { rect, keypoints, ..best }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(x0: f32, x1: f32, score: f32, class: usize) -> Detection {
        let rect = Rect { x0, y0: 0.0, x1, y1: 10.0 };
        Detection { rect, score, class, keypoints: vec![[x0, 5.0]] }
    }

    #[test]
    fn intersection_over_union() {
        let a = Rect { x0: 0.0, y0: 0.0, x1: 10.0, y1: 10.0 };
        // Common 5 x 10 = 50; union 100 + 100 - 50.
        assert_eq!(a.iou(&Rect { x0: 5.0, y0: 0.0, x1: 15.0, y1: 10.0 }), 50.0 / 150.0);
        assert_eq!(a.iou(&Rect { x0: 10.0, y0: 0.0, x1: 15.0, y1: 10.0 }), 0.0);
        assert_eq!(Rect::default().iou(&Rect::default()), 0.0);
        assert!(!Rect { x0: f32::NAN, ..a }.is_proper());
    }

    #[test]
    fn suppression_is_by_class() {
        let all = vec![found(1.0, 11.0, 0.5, 0), found(0.0, 10.0, 0.9, 0), found(0.0, 10.0, 0.7, 1)];
        let kept = nms(all.clone(), 0.5, 10);
        assert_eq!(kept.iter().map(|d| (d.score, d.class)).collect::<Vec<_>>(), [(0.9, 0), (0.7, 1)]);
        // They overlap by 90 / 110: above that threshold both stay.
        assert_eq!(nms(all.clone(), 0.85, 10).len(), 3);
        assert_eq!(nms(all, 0.85, 1).len(), 1);
    }

    #[test]
    fn merging_weighs_by_score() {
        let all = vec![found(0.0, 10.0, 0.75, 0), found(2.0, 12.0, 0.25, 0), found(50.0, 60.0, 0.1, 0)];
        let merged = weighted_nms(all, 0.3, 10);
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[0].rect, Rect { x0: 0.5, y0: 0.0, x1: 10.5, y1: 10.0 });
        assert_eq!((merged[0].score, merged[0].keypoints[0]), (0.75, [0.5, 5.0]));
        assert_eq!(merged[1].rect.x0, 50.0);
        let flat = Detection { rect: Rect::default(), score: 0.5, ..Detection::default() };
        assert_eq!(weighted_nms(vec![flat.clone(), flat], 0.3, 10).len(), 1);
    }
}
