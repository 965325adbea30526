//! Operators that expansions leave for steps of their own: named `cygnet.`, and met in no source model.

use super::{Ctx, Rule, Types, axis};
use crate::graph::ElemType;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("cygnet.TopK", top_k),
    ("cygnet.Scatter", scatter),
    ("cygnet.Sample", sample),
    ("cygnet.Recurrent", recurrent),
];

/// Indices of the `k` greatest or least elements along `axis`.
fn top_k(c: &Ctx<'_>) -> Result<Types, String> {
    let mut dims = c.dims(0)?.to_vec();
    let a = axis(c.node.int("axis", -1), dims.len())?;
    let k = c.node.int("k", 0);
    match usize::try_from(k) {
        Ok(k) if k <= dims[a] => dims[a] = k,
        _ => return Err(format!("takes {k} of {} elements", dims[a])),
    }
    Ok(vec![(ElemType::I64, dims)])
}

/// `x[R, C]` with rows `updates[n, C]` at `indices[n]`.
fn scatter(c: &Ctx<'_>) -> Result<Types, String> {
    let (x, at, updates) = (c.dims(0)?, c.dims(1)?, c.dims(2)?);
    if x.len() != 2 || at.len() != 1 || updates != [at[0], x[1]] || c.elem(0)? != c.elem(2)? {
        return Err(format!("puts {updates:?} at {at:?} into {x:?}, which does not fit"));
    }
    Ok(vec![(c.elem(0)?, x.to_vec())])
}

/// `x[N, C, H, W]` at `places[.., 3]` gives `[.., C]`.
fn sample(c: &Ctx<'_>) -> Result<Types, String> {
    let (x, places) = (c.dims(0)?, c.dims(1)?);
    match (x, places.split_last()) {
        (&[_, channels, _, _], Some((&3, outer))) => Ok(vec![(c.elem(0)?, [outer, &[channels]].concat())]),
        _ => Err(format!("samples {x:?} at {places:?}, which does not fit")),
    }
}

/// `x[T, B, G * H]`, weights `[H, G * H]`, state `[B, H]` give `[T, B, H]`, and one more row for the last cell state.
fn recurrent(c: &Ctx<'_>) -> Result<Types, String> {
    let (&[steps, batch, width], &[units, columns]) = (c.dims(0)?, c.dims(1)?) else {
        return Err("needs an input of rank 3 and weights of rank 2".to_owned());
    };
    if width != columns || c.dims(2)? != [batch, units] {
        return Err(format!("weights {:?} do not fit an input {:?}", c.dims(1)?, c.dims(0)?));
    }
    let rows = steps + usize::from(c.node.str("cell", "") == "lstm");
    Ok(vec![(ElemType::F32, vec![rows, batch, units])])
}
