//! Outputs of SSD and BlazeFace detectors: offsets from anchors, as boxes in the input's pixels.

use super::boxes::{Detection, Rect};

/// A default box as fractions of the input: center and extent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Anchor {
    pub cx: f32,
    pub cy: f32,
    pub w: f32,
    pub h: f32,
}

/// Anchors of MediaPipe's BlazeFace and palm detectors: on a grid of stride `size / 16` two at each center, on one of
/// twice that stride six (three layers of two), all of extent 1. Of an input of 128 pixels: strides 8, 16, 16, 16, in all
/// 896. When `count` fits strides 8 and 16 instead (palms, 192 pixels), those are taken; `None` when it fits neither.
pub fn blaze_anchors(size: u32, count: usize) -> Option<Vec<Anchor>> {
    [size / 16, 8].into_iter().filter(|&stride| stride > 0 && size > 0).find_map(|stride| {
        let fine = u64::from(size.div_ceil(stride));
        let coarse = u64::from(size.div_ceil(stride * 2));
        if fine * fine * 2 + coarse * coarse * 6 != count as u64 {
            return None;
        }
        let mut anchors = Vec::with_capacity(count);
        for (cells, each) in [(fine, 2), (coarse, 6)] {
            for y in 0..cells {
                for x in 0..cells {
                    let [cx, cy] = [x, y].map(|i| (i as f32 + 0.5) / cells as f32);
                    anchors.extend(std::iter::repeat_n(Anchor { cx, cy, w: 1.0, h: 1.0 }, each));
                }
            }
        }
        Some(anchors)
    })
}

/// Anchors of the SSD-MobileNet of the TensorFlow Object Detection API: six layers of strides 16, 32, 64, 128, 256, 512;
/// scales from 0.2 to 0.95; aspect ratios 1, 2, 1/2, 3, 1/3 and one more square of the scale between two
/// layers; on the first layer only three boxes (0.1 square, and ratios 2 and 1/2).
pub fn ssd_anchors(size: u32) -> Vec<Anchor> {
    const LAYERS: usize = 6;
    const RATIOS: [f32; 5] = [1.0, 2.0, 0.5, 3.0, 0.3333];
    let scale = |layer: usize| {
        if layer == LAYERS { 1.0 } else { 0.2 + 0.75 * layer as f32 / (LAYERS - 1) as f32 }
    };
    let mut anchors = Vec::new();
    for layer in 0..LAYERS {
        let cells = size.div_ceil(16 << layer);
        let mut shapes: Vec<(f32, f32)> = if layer == 0 {
            vec![(0.1, 1.0), (scale(0), 2.0), (scale(0), 0.5)]
        } else {
            RATIOS.iter().map(|&ratio| (scale(layer), ratio)).collect()
        };
        if layer > 0 {
            shapes.push(((scale(layer) * scale(layer + 1)).sqrt(), 1.0));
        }
        for y in 0..cells {
            for x in 0..cells {
                let [cx, cy] = [x, y].map(|i| (i as f32 + 0.5) / cells as f32);
                anchors.extend(shapes.iter().map(|&(scale, ratio)| {
                    let root = ratio.sqrt();
                    Anchor { cx, cy, w: scale * root, h: scale / root }
                }));
            }
        }
    }
    anchors
}

/// Decodes a BlazeFace-like detector: for each anchor, in pixels of the (square) input, center x and y from the anchor's
/// center, width, height, then x and y of each key point from the anchor's center; and the logit of the score.
///
/// `regressors` is `[anchors, width]`, `scores` `[anchors, 1]`.
pub fn decode_blaze(
    regressors: &[f32],
    width: usize,
    scores: &[f32],
    anchors: &[Anchor],
    size: f32,
    conf: f32,
) -> Vec<Detection> {
    let rows = regressors.chunks_exact(width.max(4)).zip(scores).zip(anchors);
    rows.filter_map(|((row, &logit), anchor)| {
        let score = sigmoid(logit);
        let (ax, ay) = (anchor.cx * size, anchor.cy * size);
        let rect = Rect::centered(row[0] + ax, row[1] + ay, row[2] * anchor.w, row[3] * anchor.h);
        let keypoints = || row[4..].as_chunks::<2>().0.iter().map(|[x, y]| [x + ax, y + ay]).collect();
        (score >= conf && rect.is_proper()).then(|| Detection {
            rect,
            score,
            class: 0,
            keypoints: keypoints(),
        })
    })
    .collect()
}

/// Decodes SSD box encodings: for each anchor center y and x offsets in tenths of the anchor's extent, then height and
/// width as logarithms in fifths; and a logit for each class, the first being the background, which is never found.
///
/// `boxes` is `[anchors, 4]`, `classes` `[anchors, count]`; `size` the input's height and width.
pub fn decode_ssd(
    boxes: &[f32],
    classes: &[f32],
    count: usize,
    anchors: &[Anchor],
    [height, width]: [f32; 2],
    conf: f32,
) -> Vec<Detection> {
    let rows = boxes.as_chunks::<4>().0.iter().zip(classes.chunks_exact(count.max(1))).zip(anchors);
    rows.filter_map(|((&[y, x, h, w], logits), a)| {
        let best = logits.iter().copied().enumerate().skip(1);
        let (class, logit) = best.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        let score = sigmoid(logit);
        let rect = Rect::centered(
            (x / 10.0 * a.w + a.cx) * width,
            (y / 10.0 * a.h + a.cy) * height,
            (w / 5.0).exp() * a.w * width,
            (h / 5.0).exp() * a.h * height,
        );
        (score >= conf && rect.is_proper()).then(|| Detection { rect, score, class, keypoints: Vec::new() })
    })
    .collect()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchor_counts_are_those_of_the_models() {
        let face = blaze_anchors(128, 896).unwrap();
        assert_eq!(face.len(), 896);
        assert_eq!((face[0].cx, face[2].cx, face[32].cy), (1.0 / 32.0, 3.0 / 32.0, 3.0 / 32.0));
        assert_eq!(face[512].cx, 1.0 / 16.0);
        assert_eq!(blaze_anchors(192, 2016).unwrap().len(), 2016);
        assert_eq!(blaze_anchors(256, 896).unwrap().len(), 896);
        assert!(blaze_anchors(128, 100).is_none());
        assert!(blaze_anchors(0, 0).is_none());
        assert_eq!(ssd_anchors(300).len(), 1917);
    }

    #[test]
    fn ssd_shapes() {
        let a = ssd_anchors(300);
        assert_eq!((a[0].w, a[0].h), (0.1, 0.1));
        assert!((a[1].w - 0.2 * 2.0_f32.sqrt()).abs() < 1e-6 && (a[1].h - 0.2 / 2.0_f32.sqrt()).abs() < 1e-6);
        // The last layer has one cell; its last square is the mean of 0.95 and 1.
        let last = a.last().unwrap();
        assert!((last.w - 0.95_f32.sqrt()).abs() < 1e-6 && last.cx == 0.5);
    }

    #[test]
    fn blaze_box_and_points() {
        let anchors = [Anchor { cx: 0.5, cy: 0.25, w: 1.0, h: 1.0 }; 2];
        let rows = [2.0, 4.0, 20.0, 10.0, 1.0, -1.0, 0.0, 0.0, 5.0, 5.0, 0.0, 0.0];
        let d = decode_blaze(&rows, 6, &[0.0, -9.0], &anchors, 128.0, 0.5);
        assert_eq!(d.len(), 1);
        assert_eq!((d[0].score, d[0].rect), (0.5, Rect { x0: 56.0, y0: 31.0, x1: 76.0, y1: 41.0 }));
        assert_eq!(d[0].keypoints, [[65.0, 31.0]]);
    }

    #[test]
    fn ssd_box() {
        let anchors = [Anchor { cx: 0.5, cy: 0.5, w: 0.2, h: 0.4 }];
        // Background has the greatest logit and does not count.
        let d = decode_ssd(&[5.0, -10.0, 0.0, 0.0], &[9.0, -1.0, 0.0], 3, &anchors, [100.0, 200.0], 0.4);
        assert_eq!((d[0].class, d[0].score), (2, 0.5));
        let r = d[0].rect;
        // Center x (0.5 - 0.2) * 200 = 60, y (0.5 + 0.2) * 100 = 70; extent 40 x 40.
        let want = [40.0, 50.0, 80.0, 90.0];
        for (got, want) in [r.x0, r.y0, r.x1, r.y1].into_iter().zip(want) {
            assert!((got - want).abs() < 1e-3, "{r:?}");
        }
    }
}
