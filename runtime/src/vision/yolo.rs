//! Outputs of the YOLO family, as boxes in the input's pixels.

use super::boxes::{Detection, Rect};

/// Decodes the head of YOLOv8 and v11 (and others without objectness): for each anchor the center x, center y, width,
/// height, then a score for each class, already passed through the sigmoid. The class is that of the best score.
///
/// `values` is `[4 + classes, anchors]`, or `[anchors, 4 + classes]` when `anchor_major`. Centers and extents are in
/// the input's pixels; where no center exceeds 2, as fractions of `size` (height, width). Anchors whose score
/// is below `conf` are left out.
pub fn decode_v8(
    values: &[f32],
    width: usize,
    anchor_major: bool,
    size: [f32; 2],
    conf: f32,
) -> Vec<Detection> {
    if width < 5 {
        return Vec::new();
    }
    let anchors = values.len() / width;
    let at = |anchor: usize, i: usize| {
        if anchor_major { values[anchor * width + i] } else { values[i * anchors + anchor] }
    };
    let unit = unit((0..anchors).map(|a| at(a, 0).max(at(a, 1))), size);
    (0..anchors)
        .filter_map(|a| {
            let (class, score) = best((4..width).map(|i| at(a, i)))?;
            found(std::array::from_fn(|i| at(a, i)), unit, class, score, conf)
        })
        .collect()
}

/// Decodes rows of YOLOv3, v4, v5 and v7 whose graph decodes the grid: for each anchor the center x, center y,
/// width, height, objectness, then a score for each class, all passed through the sigmoid. The score is
/// objectness times the best class score.
///
/// `values` is `[anchors, 5 + classes]`; coordinates as in [`decode_v8`].
pub fn decode_v5(values: &[f32], width: usize, size: [f32; 2], conf: f32) -> Vec<Detection> {
    if width < 6 {
        return Vec::new();
    }
    let rows = values.chunks_exact(width);
    let unit = unit(rows.clone().map(|row| row[0].max(row[1])), size);
    rows.filter(|row| row[4] >= conf)
        .filter_map(|row| {
            let (class, score) = best(row[5..].iter().copied())?;
            found([row[0], row[1], row[2], row[3]], unit, class, score * row[4], conf)
        })
        .collect()
}

/// Decodes rows of detectors that choose among overlapping boxes themselves (YOLOv10, YOLO26): left, top, right,
/// bottom, score, class. `values` is `[rows, 6]`; coordinates as in [`decode_v8`].
pub fn decode_end_to_end(values: &[f32], size: [f32; 2], conf: f32) -> Vec<Detection> {
    let rows = values.as_chunks::<6>().0;
    let [ux, uy] = unit(rows.iter().map(|row| row[2].max(row[3])), size);
    rows.iter()
        .filter(|row| row[4] >= conf && row[5] >= 0.0)
        .map(|&[x0, y0, x1, y1, score, class]| Detection {
            rect: Rect { x0: x0 * ux, y0: y0 * uy, x1: x1 * ux, y1: y1 * uy },
            score,
            class: class as usize,
            keypoints: Vec::new(),
        })
        .filter(|d| d.rect.is_proper())
        .collect()
}

/// Pixels of a unit of the coordinates, across and down: 1, or the input's extent when they are fractions.
fn unit(coordinates: impl Iterator<Item = f32>, [height, width]: [f32; 2]) -> [f32; 2] {
    let greatest = coordinates.fold(0.0, f32::max);
    if greatest <= 2.0 { [width, height] } else { [1.0; 2] }
}

/// The first greatest score and its position.
fn best(scores: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
    scores.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best })
}

fn found(
    [cx, cy, w, h]: [f32; 4],
    [ux, uy]: [f32; 2],
    class: usize,
    score: f32,
    conf: f32,
) -> Option<Detection> {
    let rect = Rect::centered(cx * ux, cy * uy, w * ux, h * uy);
    // Not `score < conf`: a score that is no number is left out too.
    (score >= conf && rect.is_proper()).then(|| Detection { rect, score, class, keypoints: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v8_both_orders() {
        // Two anchors, two classes; the second anchor is below the threshold.
        let channel_major = [50.0, 10.0, 40.0, 20.0, 20.0, 4.0, 10.0, 6.0, 0.1, 0.2, 0.8, 0.1];
        let anchor_major = [50.0, 40.0, 20.0, 10.0, 0.1, 0.8, 10.0, 20.0, 4.0, 6.0, 0.2, 0.1];
        let want = Detection {
            rect: Rect { x0: 40.0, y0: 35.0, x1: 60.0, y1: 45.0 },
            score: 0.8,
            class: 1,
            keypoints: Vec::new(),
        };
        assert_eq!(decode_v8(&channel_major, 6, false, [64.0; 2], 0.25), std::slice::from_ref(&want));
        assert_eq!(decode_v8(&anchor_major, 6, true, [64.0; 2], 0.25), [want]);
        assert_eq!(decode_v8(&[1.0; 4], 4, true, [64.0; 2], 0.25), []);
    }

    #[test]
    fn fractions_are_of_the_input() {
        let d = decode_v8(&[0.5, 0.25, 0.5, 0.5, 0.9], 5, true, [100.0, 200.0], 0.25);
        assert_eq!(d[0].rect, Rect { x0: 50.0, y0: 0.0, x1: 150.0, y1: 50.0 });
    }

    #[test]
    fn v5_multiplies_objectness() {
        let rows = [30.0, 30.0, 10.0, 20.0, 0.5, 0.6, 0.9, 30.0, 30.0, 10.0, 20.0, 0.9, 0.1, 0.2];
        let d = decode_v5(&rows, 7, [64.0; 2], 0.3);
        assert_eq!(d.len(), 1);
        assert_eq!((d[0].class, d[0].score), (1, 0.45));
        assert_eq!(d[0].rect, Rect { x0: 25.0, y0: 20.0, x1: 35.0, y1: 40.0 });
        assert_eq!(decode_v5(&[f32::NAN; 7], 7, [64.0; 2], 0.3), []);
    }

    #[test]
    fn end_to_end_rows() {
        let rows = [1.0, 2.0, 30.0, 40.0, 0.9, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let d = decode_end_to_end(&rows, [64.0; 2], 0.25);
        assert_eq!((d.len(), d[0].class), (1, 7));
        assert_eq!(d[0].rect, Rect { x0: 1.0, y0: 2.0, x1: 30.0, y1: 40.0 });
    }
}
