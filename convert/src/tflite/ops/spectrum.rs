//! Spectra. A complex tensor is held as its real and its imaginary part; only what makes one, what takes one apart, and
//! what changes its shape knows of that.

use super::{Done, Rule, ints, plain};
use crate::error::ImportError;
use crate::graph::{Attr, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::{Form, Slot};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("RFFT2D", rfft2d),
    ("COMPLEX_ABS", magnitude),
    ("REAL", |m, op| part(m, op, 0)),
    ("IMAG", |m, op| part(m, op, 1)),
];

/// Real and imaginary part of input 0; `None` where it is real.
pub fn parts(m: &Importer<'_>, op: &Operator<'_>) -> Result<Option<[ValueId; 2]>, ImportError> {
    let t = m.input(op, 0)?;
    Ok(m.slots[t].complex)
}

fn complex(m: &Importer<'_>, op: &Operator<'_>) -> Result<[ValueId; 2], ImportError> {
    parts(m, op)?.ok_or_else(|| m.err("needs complex numbers, which only RFFT2D gives"))
}

/// A transform of `length` numbers along an axis of `[.., 2]`, or of reals as `[.., 1]`.
fn transform(
    m: &mut Importer<'_>,
    x: ValueId,
    axis: usize,
    length: i64,
    half: bool,
) -> Result<ValueId, ImportError> {
    let hint = m.hint.clone();
    let lists = [length, axis as i64].map(|n| m.list(&[n]));
    let none = m.list(&[]);
    let lists = [m.node("Reshape", &[lists[0], none], &[])?, m.node("Reshape", &[lists[1], none], &[])?];
    let inputs = [Some(x), Some(lists[0]), Some(lists[1])];
    m.emit("DFT", &hint, &inputs, &[("onesided", Attr::Int(i64::from(half)))])
}

/// Inputs: reals `[.., H, W]`, the lengths of the transforms along the last two dimensions.
fn rfft2d(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let [height, width] = ints::<2>(m, op, 1)?;
    let dims = m.dims_of(x);
    let n = dims.len();
    if n < 2 || !(1..1 << 16).contains(&height) || !(1..1 << 16).contains(&width) {
        return Err(m.err(format!("transforms {dims:?} as {height} times {width} numbers")));
    }
    let list = m.list(&[n as i64]);
    let column = m.node("Unsqueeze", &[x, list], &[])?;
    let mut y = transform(m, column, n - 1, width, true)?;
    if height > 1 || dims[n - 2] > 1 {
        y = transform(m, y, n - 2, height, false)?;
    }
    let mut parts = [y; 2];
    for (i, part) in parts.iter_mut().enumerate() {
        let one = m.slice(y, n, i, i + 1)?;
        let list = m.list(&[n as i64]);
        *part = m.node("Squeeze", &[one, list], &[])?;
    }
    give(m, op, parts)
}

fn give(m: &mut Importer<'_>, op: &Operator<'_>, parts: [ValueId; 2]) -> Done {
    let t = m.output(op, 0)?;
    m.slots[t] = Slot { complex: Some(parts), ..Slot::default() };
    Ok(())
}

/// Where input 0 is complex: its parts reshaped alike. Returns whether it was.
pub fn reshaped(
    m: &mut Importer<'_>,
    op: &Operator<'_>,
    shape: impl Fn(&mut Importer<'_>, ValueId) -> Result<ValueId, ImportError>,
) -> Result<bool, ImportError> {
    let Some([re, im]) = parts(m, op)? else { return Ok(false) };
    let parts = [shape(m, re)?, shape(m, im)?];
    give(m, op, parts)?;
    Ok(true)
}

fn magnitude(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let [re, im] = complex(m, op)?;
    let (a, b) = (m.node("Mul", &[re, re], &[])?, m.node("Mul", &[im, im], &[])?);
    let sum = m.node("Add", &[a, b], &[])?;
    let y = m.node("Sqrt", &[sum], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

fn part(m: &mut Importer<'_>, op: &Operator<'_>, which: usize) -> Done {
    let parts = complex(m, op)?;
    m.finish(op, 0, parts[which], Form::Plain, 0)
}
