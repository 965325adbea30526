//! Rows around those that are there: how many may follow from how many there are, as of detectors that fill their
//! findings up to a fixed number.

use super::rules::{Done, same};
use super::{Rows, bounds, element, input_rows, mark, refuse, valid};
use crate::expand::make::{Made, Make};
use crate::graph::{Attr, Tensor, ValueId};

/// Inputs: x, pads, value, axes.
pub(super) fn pad(m: &mut Make<'_, '_>) -> Done {
    let (x, Some(rows)) = (m.input(0)?, input_rows(m, 0)) else { return refuse(m) };
    let rank = m.rank(x);
    let Some(pads) = m.opt(1).and_then(|v| bounds::of(m, v)) else { return refuse(m) };
    let axes = m.ints(3)?.unwrap_or_else(|| (0..rank as i64).collect());
    let n = axes.len();
    let ints = |t: &Tensor| t.to_i64().filter(|v| v.len() == 2 * n);
    let (Some(least), Some(most)) = (ints(&pads.low), ints(&pads.high)) else { return refuse(m) };
    let open = pads.open();
    let Some(i) = axes.iter().position(|&a| crate::infer::axis(a, rank) == Ok(rows.axis)) else {
        return if open.is_empty() { same(m) } else { refuse(m) };
    };
    if open.is_empty() && (least[i], least[n + i]) == (0, 0) {
        return same(m);
    }
    let constant = m.node.str("mode", "constant") == "constant";
    if !constant || open.iter().any(|&o| o != n + i) || least[i] < 0 {
        return refuse(m);
    }
    let before = least[i];
    // The other dimensions first, by what is known.
    let mut others = least.clone();
    (others[i], others[n + i]) = (0, 0);
    let y = if others.iter().all(|&p| p == 0) {
        x
    } else {
        let mut inputs = m.node.inputs.clone();
        inputs[1] = Some(m.list(&others));
        m.op_opt("Pad", &inputs, &[("mode", Attr::Str("constant".to_owned()))])?
    };
    let width = m.dims(x)[rows.axis] as i64;
    let total = settled(&pads, n + i, rows);
    if total.is_none() && least[n + i] < 0 {
        return refuse(m);
    }
    let after = total.map_or(most[n + i], |t| t - width);
    let y = extended(m, y, rows, [before, after])?;
    m.give(0, y)?;
    if total.is_none() {
        let end = m.input(1)?;
        let end = element(m, end, n + i)?;
        let count = m.add(rows.count, end)?;
        let count = m.plus(count, before as f64)?;
        mark(m, 0, rows.axis, count);
    }
    Ok(())
}

/// How many rows there are behind the padding's beginning, where it always comes to the same number.
fn settled(pads: &bounds::Bounds, end: usize, rows: Rows) -> Option<i64> {
    let line = pads.line.as_ref().filter(|l| l.count == rows.count)?;
    let [none, one] = line.at.each_ref().map(|t| t.to_i64().map(|v| v[end]));
    none.filter(|&n| n >= 0 && one == Some(n - 1))
}

/// A value with the padding's number in rows that are not there, in `before` rows before them, and in `after` rows
/// behind the last that could be there; so many are cut off where it is negative.
fn extended(m: &mut Make<'_, '_>, y: ValueId, rows: Rows, [before, after]: [i64; 2]) -> Made {
    let fill = match m.opt(2) {
        Some(v) => m.reshape(v, &[])?,
        None => m.like(y, 0.0),
    };
    let there = valid(m, y, rows)?;
    let y = m.op("Where", &[there, y, fill])?;
    let dims = m.dims(y);
    let width = dims[rows.axis] as i64;
    let y = if after < 0 { m.slice(y, rows.axis, 0, (width + after) as usize)? } else { y };
    let mut parts = vec![y];
    for (size, last) in [(before, false), (after, true)] {
        if size > 0 {
            let mut dims = dims.clone();
            dims[rows.axis] = size as usize;
            let more = m.expand(fill, &dims)?;
            parts.insert(if last { parts.len() } else { 0 }, more);
        }
    }
    if let [one] = parts[..] { Ok(one) } else { m.concat(&parts, rows.axis) }
}
