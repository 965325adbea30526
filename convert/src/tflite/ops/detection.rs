//! The custom operator at the end of SSD detectors.

use super::index::suppress;
use super::{Done, plain};
use crate::error::ImportError;
use crate::graph::{Attr, Data, ElemType, Tensor, ValueId};
use crate::tflite::flexbuf;
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

/// The options, by the names that TensorFlow's converter gives them.
struct Options {
    /// Boxes at most.
    detections: usize,
    /// Classes of a box at most, where boxes are kept whatever their class.
    classes_each: usize,
    /// Boxes of a class at most, where they are kept class by class.
    detections_each: usize,
    /// Whether boxes are kept class by class.
    regular: bool,
    classes: usize,
    least: f32,
    overlap: f32,
    /// What encodings are divided by: y, x, height, width.
    scales: [f32; 4],
}

fn options(m: &Importer<'_>, op: &Operator<'_>) -> Result<Options, ImportError> {
    let map = flexbuf::numbers(op.custom_options).map_err(|e| m.err(e))?;
    let number = |key: &str| map.get(key).copied();
    let needed = |key: &str| number(key).ok_or_else(|| m.err(format!("lacks the option '{key}'")));
    let count = |key: &str, value: f64| {
        let fits = value.fract() == 0.0 && (1.0..=65536.0).contains(&value);
        if fits {
            Ok(value as usize)
        } else {
            Err(m.err(format!("has {key} {value}; 1 to 65536 are possible")))
        }
    };
    let scale = |key: &str| needed(key).map(|v| v as f32);
    Ok(Options {
        detections: count("max_detections", needed("max_detections")?)?,
        classes_each: count("max_classes_per_detection", needed("max_classes_per_detection")?)?,
        detections_each: count("detections_per_class", number("detections_per_class").unwrap_or(100.0))?,
        regular: number("use_regular_nms").unwrap_or(0.0) != 0.0,
        classes: count("num_classes", needed("num_classes")?)?,
        least: scale("nms_score_threshold")?,
        overlap: scale("nms_iou_threshold")?,
        scales: [scale("y_scale")?, scale("x_scale")?, scale("h_scale")?, scale("w_scale")?],
    })
}

/// Inputs: encodings `[1, N, 4]` (center y, x, height, width), scores `[1, N, C]` of the classes or of those behind a
/// background, anchors `[N, 4]`. Outputs: boxes `[1, M, 4]` by their corners, classes and scores `[1, M]`, and how many
/// there are `[1]`; zeros behind the last.
pub fn post_process(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let o = options(m, op)?;
    let (encodings, scores, anchors) = (plain(m, op, 0)?, plain(m, op, 1)?, plain(m, op, 2)?);
    let (ed, sd, ad) = (m.dims_of(encodings), m.dims_of(scores), m.dims_of(anchors));
    let fits = matches!((ed.as_slice(), sd.as_slice(), ad.as_slice()),
        (&[1, n, size], &[1, also, with], &[own, 4])
            if size >= 4 && n == also && n == own && n > 0 && (with == o.classes || with == o.classes + 1));
    if !fits {
        return Err(m.err(format!(
            "has boxes {ed:?}, scores {sd:?} and anchors {ad:?} for {} classes; [1, N, 4], [1, N, C] and [N, 4] are \
             needed",
            o.classes
        )));
    }
    let boxes = decode(m, &o, encodings, anchors)?;
    let n = ed[1];
    let offset = sd[2] - o.classes;
    let scores = m.reshape(scores, &[n as i64, sd[2] as i64])?;
    let scores = m.slice(scores, 1, offset, sd[2])?;
    if o.regular { class_by_class(m, op, &o, boxes, scores) } else { all_classes(m, op, &o, boxes, scores) }
}

/// Corners `[N, 4]` (top, left, bottom, right).
fn decode(
    m: &mut Importer<'_>,
    o: &Options,
    encodings: ValueId,
    anchors: ValueId,
) -> Result<ValueId, ImportError> {
    let ed = m.dims_of(encodings);
    let encodings = m.reshape(encodings, &[ed[1] as i64, ed[2] as i64])?;
    let encodings = m.slice(encodings, 1, 0, 4)?;
    let hint = format!("{}:scales", m.hint);
    let scales = m.builder.constant(&hint, Tensor::f32(&[1, 4], o.scales.to_vec()));
    let scaled = m.node("Div", &[encodings, scales], &[])?;
    let (at, size) = (m.slice(scaled, 1, 0, 2)?, m.slice(scaled, 1, 2, 4)?);
    let (own_at, own_size) = (m.slice(anchors, 1, 0, 2)?, m.slice(anchors, 1, 2, 4)?);
    let moved = m.node("Mul", &[at, own_size], &[])?;
    let center = m.node("Add", &[moved, own_at], &[])?;
    let grown = m.node("Exp", &[size], &[])?;
    let half = m.scalar(0.5);
    let half = m.node("Mul", &[grown, half], &[])?;
    let half = m.node("Mul", &[half, own_size], &[])?;
    let (low, high) = (m.node("Sub", &[center, half], &[])?, m.node("Add", &[center, half], &[])?);
    m.node("Concat", &[low, high], &[("axis", Attr::Int(1))])
}

/// Boxes kept by the score of their best class, each with its best classes.
fn all_classes(
    m: &mut Importer<'_>,
    op: &Operator<'_>,
    o: &Options,
    boxes: ValueId,
    scores: ValueId,
) -> Done {
    let each = o.classes_each.min(o.classes);
    let k = m.list(&[each as i64]);
    let best = m.emit_many("TopK", &[Some(scores), Some(k)], &[("axis", Attr::Int(-1))], 2)?;
    let first = m.slice(best[0], 1, 0, 1)?;
    let first = m.reshape(first, &[-1])?;
    // A box may have the least score itself.
    let kept = suppress(m, boxes, first, o.detections as i64, o.overlap_allowed(), o.least.next_down())?;
    let valid = m.reshape(kept.valid, &[-1, 1])?;
    let rows = (o.detections * each) as i64;
    let mut given = Vec::new();
    for values in [best[1], best[0]] {
        let values = m.cast(values, ElemType::F32)?;
        let taken = m.node("Gather", &[values, kept.indices], &[])?;
        let taken = m.node("Mul", &[taken, valid], &[])?;
        given.push(m.reshape(taken, &[1, rows])?);
    }
    let taken = m.node("Gather", &[boxes, kept.indices], &[])?;
    let taken = m.node("Mul", &[taken, valid], &[])?;
    let taken = m.reshape(taken, &[o.detections as i64, 1, 4])?;
    let list = m.list(&[o.detections as i64, each as i64, 4]);
    let taken = m.node("Expand", &[taken, list], &[])?;
    let taken = m.reshape(taken, &[1, rows, 4])?;
    let count = m.node("ReduceSum", &[kept.valid], &[("keepdims", Attr::Int(1))])?;
    finish(m, op, [taken, given[0], given[1], count])
}

/// Boxes kept class by class, then the best of all of them.
fn class_by_class(
    m: &mut Importer<'_>,
    op: &Operator<'_>,
    o: &Options,
    boxes: ValueId,
    scores: ValueId,
) -> Done {
    let (mut all_scores, mut all_boxes, mut all_classes) = (Vec::new(), Vec::new(), Vec::new());
    for class in 0..o.classes {
        let own = m.slice(scores, 1, class, class + 1)?;
        let own = m.reshape(own, &[-1])?;
        let most = o.detections_each.min(m.dims_of(own)[0]) as i64;
        let kept = suppress(m, boxes, own, most, o.overlap_allowed(), o.least.next_down())?;
        let taken = m.node("Gather", &[own, kept.indices], &[])?;
        // What is not there has the lowest score of all.
        let (none, zero) = (m.scalar(f32::MIN), m.scalar(0.0));
        let there = m.node("Greater", &[kept.valid, zero], &[])?;
        all_scores.push(m.node("Where", &[there, taken, none], &[])?);
        all_boxes.push(kept.indices);
        let hint = format!("{}:class", m.hint);
        let number = Tensor::new(vec![most as usize], Data::F32(vec![class as f32; most as usize]));
        all_classes.push(m.builder.constant(&hint, number));
    }
    let mut lists = Vec::new();
    for parts in [all_scores, all_boxes, all_classes] {
        lists.push(m.node("Concat", &parts, &[("axis", Attr::Int(0))])?);
    }
    let total = m.dims_of(lists[0])[0];
    let k = o.detections.min(total);
    let most = m.list(&[k as i64]);
    let best = m.emit_many("TopK", &[Some(lists[0]), Some(most)], &[("axis", Attr::Int(-1))], 2)?;
    let lowest = m.scalar(f32::MIN);
    let there = m.node("Greater", &[best[0], lowest], &[])?;
    let valid = m.cast(there, ElemType::F32)?;
    let zero = m.scalar(0.0);
    let top = m.node("Where", &[there, best[0], zero], &[])?;
    let classes = m.node("Gather", &[lists[2], best[1]], &[])?;
    let classes = m.node("Mul", &[classes, valid], &[])?;
    let which = m.node("Gather", &[lists[1], best[1]], &[])?;
    let taken = m.node("Gather", &[boxes, which], &[])?;
    let column = m.reshape(valid, &[-1, 1])?;
    let taken = m.node("Mul", &[taken, column], &[])?;
    let count = m.node("ReduceSum", &[valid], &[("keepdims", Attr::Int(1))])?;
    let rows = (o.detections * o.classes_each.min(o.classes)) as i64;
    let mut given = Vec::new();
    for (x, width) in [(taken, 4), (classes, 1), (top, 1)] {
        let x = m.reshape(x, &[k as i64, width])?;
        let pads = m.list(&[0, 0, (rows - k as i64).max(0), 0]);
        let x = m.node("Pad", &[x, pads], &[])?;
        let shape: &[i64] = if width == 4 { &[1, rows, 4] } else { &[1, rows] };
        given.push(m.reshape(x, shape)?);
    }
    finish(m, op, [given[0], given[1], given[2], count])
}

impl Options {
    /// [`suppress`] drops what overlaps by as much as it is told; here more is needed.
    fn overlap_allowed(&self) -> f32 {
        self.overlap.next_up()
    }
}

fn finish(m: &mut Importer<'_>, op: &Operator<'_>, values: [ValueId; 4]) -> Done {
    for (i, value) in values.into_iter().enumerate().take(op.outputs.len()) {
        m.finish(op, i, value, Form::Plain, 0)?;
    }
    Ok(())
}
