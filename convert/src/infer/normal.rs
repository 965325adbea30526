//! Reductions, normalizations and selections along axes.

use super::{Ctx, Rule, Types, axis};
use crate::graph::ElemType;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ReduceSum", reduce),
    ("ReduceMean", reduce),
    ("ReduceMax", reduce),
    ("ReduceMin", reduce),
    ("ReduceProd", reduce),
    ("ReduceL1", reduce),
    ("ReduceL2", reduce),
    ("ReduceLogSum", reduce),
    ("ReduceLogSumExp", reduce),
    ("ReduceSumSquare", reduce),
    ("ArgMax", arg),
    ("ArgMin", arg),
    ("CumProd", cumulate),
    ("CumSum", cumulate),
    ("BatchNormalization", |c| {
        let x = c.dims(0)?;
        per_channel(c, &[1, 2, 3, 4], x.get(1).copied())?;
        Ok(vec![(c.elem(0)?, x.to_vec())])
    }),
    ("LayerNormalization", layer_norm),
    ("NonMaxSuppression", non_max_suppression),
];

fn cumulate(c: &Ctx<'_>) -> Result<Types, String> {
    let dims = c.dims(0)?.to_vec();
    axis(c.int(1)?, dims.len())?;
    Ok(vec![(c.elem(0)?, dims)])
}

/// The axes that a `Reduce*` node reduces, ascending.
pub fn reduce_axes(c: &Ctx<'_>) -> Result<Vec<usize>, String> {
    let rank = c.dims(0)?.len();
    let given = c.opt_ints(1)?.unwrap_or_default();
    let mut axes = given.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    if given.is_empty() && c.node.int("noop_with_empty_axes", 0) == 0 {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

fn reduce(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let axes = reduce_axes(c)?;
    let keep = c.node.int("keepdims", 1) != 0;
    let dims = x.iter().enumerate().filter_map(|(i, &d)| match axes.contains(&i) {
        true => keep.then_some(1),
        false => Some(d),
    });
    Ok(vec![(c.elem(0)?, dims.collect())])
}

fn arg(c: &Ctx<'_>) -> Result<Types, String> {
    let mut dims = c.dims(0)?.to_vec();
    let a = axis(c.node.int("axis", 0), dims.len())?;
    if dims[a] == 0 {
        return Err("searches an axis without elements".to_owned());
    }
    if c.node.int("keepdims", 1) != 0 {
        dims[a] = 1;
    } else {
        dims.remove(a);
    }
    Ok(vec![(ElemType::I64, dims)])
}

/// As many rows as there can be: those behind the last kept box hold -1.
fn non_max_suppression(c: &Ctx<'_>) -> Result<Types, String> {
    let (&[batch, boxes, 4], &[b, classes, n]) = (c.dims(0)?, c.dims(1)?) else {
        return Err(format!(
            "needs boxes [B, N, 4] and scores [B, C, N], they are {:?} and {:?}",
            c.dims(0)?,
            c.dims(1)?
        ));
    };
    if b != batch || n != boxes {
        return Err(format!("has boxes {:?} and scores {:?}, which do not fit", c.dims(0)?, c.dims(1)?));
    }
    // Without a known number all boxes may be kept.
    let known = c.node.input(2).and_then(|v| c.graph.constant(v));
    let most = match (c.node.input(2), known.and_then(|t| t.to_i64())) {
        (None, _) => 0,
        (Some(_), Some(v)) => v.first().map_or(0, |&v| usize::try_from(v).unwrap_or(0)).min(boxes),
        (Some(_), None) => boxes,
    };
    Ok(vec![(ElemType::I64, vec![batch.saturating_mul(classes).saturating_mul(most), 3])])
}

/// Parameters must have one element per channel.
fn per_channel(c: &Ctx<'_>, inputs: &[usize], channels: Option<usize>) -> Result<(), String> {
    let n = channels.ok_or_else(|| format!("needs an input with channels, it is {:?}", c.dims(0)))?;
    for &i in inputs {
        if c.dims(i)? != [n] {
            return Err(format!("its input {i} has dimensions {:?}, expected [{n}]", c.dims(i)?));
        }
    }
    Ok(())
}

fn layer_norm(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let a = axis(c.node.int("axis", -1), x.len())?;
    for i in [1, 2] {
        if let Some(p) = c.opt_dims(i)
            && super::broadcast(p, &x[a..])? != x[a..]
        {
            return Err(format!("its input {i} has dimensions {p:?}, which do not fit {:?}", &x[a..]));
        }
    }
    let stat = x.iter().enumerate().map(|(i, &d)| if i < a { d } else { 1 }).collect::<Vec<_>>();
    Ok(vec![(c.elem(0)?, x.to_vec()), (ElemType::F32, stat.clone()), (ElemType::F32, stat)])
}
