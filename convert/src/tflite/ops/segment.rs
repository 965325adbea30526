//! Rows put together by the number of the segment that each belongs to.

use super::{Done, Rule, int, plain};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, Tensor, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("SEGMENT_SUM", sorted),
    ("UNSORTED_SEGMENT_MAX", |m, op| unsorted(m, op, "max")),
    ("UNSORTED_SEGMENT_MIN", |m, op| unsorted(m, op, "min")),
    ("UNSORTED_SEGMENT_PROD", |m, op| unsorted(m, op, "mul")),
    ("UNSORTED_SEGMENT_SUM", |m, op| unsorted(m, op, "add")),
];

/// Most segments that are written out.
const MAX_SEGMENTS: i64 = 1 << 20;

/// Inputs: data `[N.., R..]`, segments `[N..]` of which negative ones are left out, their number.
fn unsorted(m: &mut Importer<'_>, op: &Operator<'_>, reduction: &str) -> Done {
    let count = int(m, op, 2)?;
    segments(m, op, count, reduction)
}

/// Inputs: data `[N, R..]`, segments `[N]`, ascending; the last one says how many there are.
fn sorted(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let t = m.input(op, 1)?;
    let last = m.ints(t)?.last().copied().unwrap_or(-1);
    segments(m, op, last + 1, "add")
}

fn segments(m: &mut Importer<'_>, op: &Operator<'_>, count: i64, reduction: &str) -> Done {
    let (x, at) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let (xd, ad) = (m.dims_of(x), m.dims_of(at));
    if !xd.starts_with(&ad) || !(1..=MAX_SEGMENTS).contains(&count) {
        return Err(m.err(format!(
            "puts {xd:?} into {count} segments by numbers {ad:?}; 1 to {MAX_SEGMENTS} are possible, and a number for each \
             row is needed"
        )));
    }
    let rows: usize = ad.iter().product();
    let inner = &xd[ad.len()..];
    let size: usize = inner.iter().product();
    let x = m.reshape(x, &[rows as i64, size as i64])?;
    let at = m.cast(at, ElemType::I64)?;
    let at = m.reshape(at, &[rows as i64, 1])?;
    // A row behind the last takes what belongs nowhere.
    let (none, behind) = (m.list(&[0]), m.list(&[count]));
    let nowhere = m.node("Less", &[at, none], &[])?;
    let at = m.node("Where", &[nowhere, behind, at], &[])?;
    let begin = first(m, x, reduction)?;
    let shape = m.list(&[count + 1, size as i64]);
    let begin = m.node("Expand", &[begin, shape], &[])?;
    let attrs = [("reduction", Attr::Str(reduction.to_owned()))];
    let all = m.node("ScatterND", &[begin, at, x], &attrs)?;
    let y = m.slice(all, 0, 0, count as usize)?;
    let mut dims = vec![count];
    dims.extend(inner.iter().map(|&d| d as i64));
    let y = m.reshape(y, &dims)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// What segments without rows hold.
fn first(m: &mut Importer<'_>, x: ValueId, reduction: &str) -> Result<ValueId, ImportError> {
    let elem = m.elem_of(x);
    let value = match (reduction, elem) {
        ("add", _) => 0.0,
        ("mul", _) => 1.0,
        ("max", ElemType::F32) => f64::from(f32::MIN),
        ("min", ElemType::F32) => f64::from(f32::MAX),
        ("max", ElemType::I32) => f64::from(i32::MIN),
        ("min", ElemType::I32) => f64::from(i32::MAX),
        _ => return Err(m.err(format!("works on {elem}; float32 and int32 are possible"))),
    };
    let hint = format!("{}:first", m.hint);
    let value = crate::fold::cast(&Tensor::new(vec![1], crate::graph::Data::F64(vec![value])), elem);
    Ok(m.builder.constant(&hint, value))
}
