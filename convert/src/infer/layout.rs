//! Operators that move elements, and those that make shapes and indices.

use super::{Ctx, Rule, Types, axis, broadcast, slice_axes};
use crate::graph::ElemType;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Reshape", reshape),
    ("Transpose", transpose),
    ("Flatten", flatten),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
    ("Expand", expand),
    ("Tile", tile),
    ("Concat", concat),
    ("Split", split),
    ("Slice", slice),
    ("Pad", pad),
    ("Gather", gather),
    ("GatherElements", |c| Ok(vec![(c.elem(0)?, c.dims(1)?.to_vec())])),
    ("GatherND", gather_nd),
    ("ScatterND", like_first),
    ("ScatterElements", like_first),
    ("ReverseSequence", like_first),
    ("Shape", |c| {
        let (from, to) = shape_range(c)?;
        Ok(vec![(ElemType::I64, vec![to - from])])
    }),
    ("Size", |c| {
        c.dims(0)?;
        Ok(vec![(ElemType::I64, vec![])])
    }),
    ("ConstantOfShape", constant_of_shape),
    ("Range", range),
    ("OneHot", one_hot),
    ("NonZero", non_zero),
    ("EyeLike", eye_like),
    ("DepthToSpace", depth_to_space),
    ("SpaceToDepth", space_to_depth),
];

/// As the first input.
fn like_first(c: &Ctx<'_>) -> Result<Types, String> {
    Ok(vec![(c.elem(0)?, c.dims(0)?.to_vec())])
}

fn size(d: i64) -> Result<usize, String> {
    usize::try_from(d).map_err(|_| format!("would make a dimension of size {d}"))
}

fn reshape(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let want = c.ints(1)?;
    let total: usize = x.iter().product();
    let keep_zero = c.node.int("allowzero", 0) != 0;
    let mut dims = Vec::with_capacity(want.len());
    let mut open = None;
    for (i, &w) in want.iter().enumerate() {
        dims.push(match w {
            0 if !keep_zero => *x.get(i).ok_or_else(|| format!("copies dimension {i} of an input {x:?}"))?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            _ => size(w)?,
        });
    }
    let mismatch =
        || format!("cannot give an input of dimensions {x:?} the shape {want:?}; check the input shapes");
    let known = super::elements(&dims).ok_or_else(mismatch)?;
    if let Some(i) = open {
        if known == 0 || !total.is_multiple_of(known) {
            return Err(mismatch());
        }
        dims[i] = total / known;
    }
    if dims.iter().product::<usize>() != total {
        return Err(mismatch());
    }
    Ok(vec![(c.elem(0)?, dims)])
}

fn transpose(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let perm = permutation(c)?;
    Ok(vec![(c.elem(0)?, perm.iter().map(|&p| x[p]).collect())])
}

/// The permutation of a `Transpose`: output axis `i` is input axis `perm[i]`.
pub fn permutation(c: &Ctx<'_>) -> Result<Vec<usize>, String> {
    let rank = c.dims(0)?.len();
    let Some(perm) = c.node.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let perm: Vec<usize> = perm.iter().map(|&p| axis(p, rank)).collect::<Result<_, _>>()?;
    let mut seen = perm.clone();
    seen.sort_unstable();
    if seen != (0..rank).collect::<Vec<_>>() {
        return Err(format!("has perm {perm:?}, which is no permutation of {rank} axes"));
    }
    Ok(perm)
}

fn flatten(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let at = c.node.int("axis", 1);
    let at = if at == x.len() as i64 { x.len() } else { axis(at, x.len())? };
    Ok(vec![(c.elem(0)?, vec![x[..at].iter().product(), x[at..].iter().product()])])
}

fn squeeze(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let mut drop = vec![false; x.len()];
    match c.opt_ints(1)? {
        Some(axes) => {
            for a in axes {
                let a = axis(a, x.len())?;
                if x[a] != 1 {
                    return Err(format!("squeezes axis {a} of {x:?}, whose size is not 1"));
                }
                drop[a] = true;
            }
        }
        None => drop = x.iter().map(|&d| d == 1).collect(),
    }
    Ok(vec![(c.elem(0)?, x.iter().zip(&drop).filter(|(_, d)| !**d).map(|(&x, _)| x).collect())])
}

fn unsqueeze(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let axes = c.ints(1)?;
    let rank = x.len() + axes.len();
    let mut new = vec![false; rank];
    for &a in &axes {
        let a = axis(a, rank)?;
        if std::mem::replace(&mut new[a], true) {
            return Err(format!("inserts axis {a} twice"));
        }
    }
    let mut old = x.iter();
    let dims = new.iter().map(|&n| if n { 1 } else { *old.next().expect("as many as are not new") });
    Ok(vec![(c.elem(0)?, dims.collect())])
}

fn expand(c: &Ctx<'_>) -> Result<Types, String> {
    let want: Vec<usize> = c.ints(1)?.into_iter().map(size).collect::<Result<_, _>>()?;
    Ok(vec![(c.elem(0)?, broadcast(c.dims(0)?, &want)?)])
}

fn tile(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let repeats = c.ints(1)?;
    if repeats.len() != x.len() {
        return Err(format!("repeats {repeats:?} do not match dimensions {x:?}"));
    }
    let dims = x.iter().zip(&repeats).map(|(&d, &r)| Ok(d.saturating_mul(size(r)?)));
    Ok(vec![(c.elem(0)?, dims.collect::<Result<_, String>>()?)])
}

fn concat(c: &Ctx<'_>) -> Result<Types, String> {
    let first = c.dims(0)?;
    let a = axis(c.node.int("axis", 0), first.len())?;
    let mut dims = first.to_vec();
    for i in 1..c.node.inputs.len() {
        let x = c.dims(i)?;
        let fits = x.len() == first.len() && (0..x.len()).all(|j| j == a || x[j] == first[j]);
        if !fits || c.elem(i)? != c.elem(0)? {
            return Err(format!(
                "joins {first:?} and {x:?} along axis {a}; the other dimensions must be equal"
            ));
        }
        dims[a] = dims[a].saturating_add(x[a]);
    }
    Ok(vec![(c.elem(0)?, dims)])
}

fn split(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let a = axis(c.node.int("axis", 0), x.len())?;
    let parts: Vec<usize> = match c.opt_ints(1)? {
        Some(sizes) => sizes.into_iter().map(size).collect::<Result<_, _>>()?,
        None => {
            let n = c.node.int("num_outputs", c.outputs() as i64);
            let n = usize::try_from(n).ok().filter(|&n| n > 0 && n == c.outputs());
            let n = n.ok_or_else(|| {
                format!("splits into {} but has {} outputs", c.node.int("num_outputs", 0), c.outputs())
            })?;
            let each = x[a].div_ceil(n);
            (0..n).map(|i| x[a].saturating_sub(i * each).min(each)).collect()
        }
    };
    if parts.iter().try_fold(0usize, |s, &p| s.checked_add(p)) != Some(x[a]) || parts.len() != c.outputs() {
        return Err(format!("splits axis {a} of {x:?} into {} outputs of sizes {parts:?}", c.outputs()));
    }
    let part = |p: usize| {
        let mut d = x.to_vec();
        d[a] = p;
        d
    };
    let elem = c.elem(0)?;
    Ok(parts.into_iter().map(|p| (elem, part(p))).collect())
}

fn slice(c: &Ctx<'_>) -> Result<Types, String> {
    Ok(vec![(c.elem(0)?, slice_of(c)?.iter().map(|s| s.count).collect())])
}

/// The resolved parameters of a `Slice`.
pub fn slice_of(c: &Ctx<'_>) -> Result<Vec<super::SliceAxis>, String> {
    let (axes, steps) = (c.opt_ints(3)?, c.opt_ints(4)?);
    slice_axes(c.dims(0)?, &c.ints(1)?, &c.ints(2)?, axes.as_deref(), steps.as_deref())
}

fn pad(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let pads = pads_of(c)?;
    let dims = x
        .iter()
        .zip(&pads)
        .map(|(&d, &(before, after))| size(before.saturating_add(after).saturating_add(d as i64)));
    Ok(vec![(c.elem(0)?, dims.collect::<Result<_, _>>()?)])
}

/// Elements that a `Pad` adds before and after each axis; negative ones are removed.
pub fn pads_of(c: &Ctx<'_>) -> Result<Vec<(i64, i64)>, String> {
    let x = c.dims(0)?;
    let pads = c.ints(1)?;
    let axes = match c.opt_ints(3)? {
        Some(axes) => axes.iter().map(|&a| axis(a, x.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..x.len()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("has {} pads for {} axes; it needs two each", pads.len(), axes.len()));
    }
    let mut out = vec![(0, 0); x.len()];
    for (i, &a) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        let d = x[a] as i64;
        let too_much = before.saturating_add(d) < 0 || after.saturating_add(d) < 0;
        let limit = match c.node.str("mode", "constant") {
            "constant" => i64::MAX,
            "reflect" => d - 1,
            "edge" if d == 0 => 0,
            "edge" => i64::MAX,
            "wrap" => d,
            other => return Err(format!("has mode '{other}', which is not supported")),
        };
        if too_much || before > limit || after > limit {
            return Err(format!(
                "pads axis {a} of {x:?} by {before} and {after}, which its mode does not allow"
            ));
        }
        out[a] = (before, after);
    }
    Ok(out)
}

fn gather(c: &Ctx<'_>) -> Result<Types, String> {
    let (x, at) = (c.dims(0)?, c.dims(1)?);
    let a = axis(c.node.int("axis", 0), x.len())?;
    Ok(vec![(c.elem(0)?, [&x[..a], at, &x[a + 1..]].concat())])
}

fn gather_nd(c: &Ctx<'_>) -> Result<Types, String> {
    let (x, at) = (c.dims(0)?, c.dims(1)?);
    let batch = usize::try_from(c.node.int("batch_dims", 0)).unwrap_or(usize::MAX);
    match at.split_last() {
        Some((&depth, outer))
            if batch <= outer.len() && depth <= x.len().saturating_sub(batch) && depth > 0 =>
        {
            if x[..batch] != outer[..batch] {
                return Err(format!("has {batch} batch dimensions that differ: {x:?} and {at:?}"));
            }
            Ok(vec![(c.elem(0)?, [outer, &x[batch + depth..]].concat())])
        }
        _ => Err(format!("indexes {x:?} by {at:?} with {batch} batch dimensions, which does not fit")),
    }
}

/// First and one past the last dimension that a `Shape` returns.
pub fn shape_range(c: &Ctx<'_>) -> Result<(usize, usize), String> {
    let rank = c.dims(0)?.len() as i64;
    let wrap = |x: i64| (if x < 0 { x.saturating_add(rank) } else { x }).clamp(0, rank) as usize;
    let (from, to) = (wrap(c.node.int("start", 0)), wrap(c.node.int("end", rank)));
    Ok((from, to.max(from)))
}

fn constant_of_shape(c: &Ctx<'_>) -> Result<Types, String> {
    let dims = c.ints(0)?.into_iter().map(size).collect::<Result<_, _>>()?;
    let elem = match c.node.attrs.get("value") {
        Some(crate::graph::Attr::Tensor(t)) if t.len() == 1 => t.elem(),
        None => ElemType::F32,
        Some(_) => return Err("needs a value of one element".to_owned()),
    };
    Ok(vec![(elem, dims)])
}

fn range(c: &Ctx<'_>) -> Result<Types, String> {
    let one = |i: usize| -> Result<f64, String> {
        let t = c.constant(i)?;
        match t.to_i64() {
            _ if t.len() != 1 => Err(format!("its input {i} must be one number")),
            Some(v) => Ok(v[0] as f64),
            None => Ok(match &t.data {
                crate::graph::Data::F64(v) => v[0],
                _ => f64::from(t.to_f32()[0]),
            }),
        }
    };
    let (start, limit, delta) = (one(0)?, one(1)?, one(2)?);
    let count = ((limit - start) / delta).ceil().max(0.0);
    if delta == 0.0 || !count.is_finite() {
        return Err(format!("counts from {start} to {limit} by {delta}"));
    }
    Ok(vec![(c.elem(0)?, vec![count as usize])])
}

fn one_hot(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    let a = axis(c.node.int("axis", -1), x.len() + 1)?;
    let depth = match c.constant(1)?.to_f32().as_slice() {
        [d] if *d >= 1.0 => *d as usize,
        d => return Err(format!("has depth {d:?}; it must be one number, at least 1")),
    };
    let mut dims = x.to_vec();
    dims.insert(a, depth);
    Ok(vec![(c.elem(2)?, dims)])
}

fn non_zero(c: &Ctx<'_>) -> Result<Types, String> {
    let t = c.constant(0).map_err(|_| {
        "its output's size depends on the data, which static shapes exclude; replace it by a mask".to_owned()
    })?;
    let count = t.to_f32().iter().filter(|&&x| x != 0.0).count();
    Ok(vec![(ElemType::I64, vec![t.dims.len(), count])])
}

fn eye_like(c: &Ctx<'_>) -> Result<Types, String> {
    let x = c.dims(0)?;
    if x.len() != 2 {
        return Err(format!("needs a matrix, it has {x:?}"));
    }
    let elem = match c.node.attrs.get("dtype") {
        Some(crate::graph::Attr::Int(n)) => i32::try_from(*n)
            .ok()
            .and_then(crate::onnx::elem_type)
            .ok_or("has a dtype that is not supported")?,
        _ => c.elem(0)?,
    };
    Ok(vec![(elem, x.to_vec())])
}

fn block(c: &Ctx<'_>) -> Result<(usize, [usize; 4]), String> {
    let x: [usize; 4] =
        c.dims(0)?.try_into().map_err(|_| format!("needs an input of rank 4, it is {:?}", c.dims(0)))?;
    let b = usize::try_from(c.node.int("blocksize", 0)).ok().filter(|&b| b > 0 && b < 1 << 16);
    Ok((b.ok_or("needs a positive blocksize")?, x))
}

fn depth_to_space(c: &Ctx<'_>) -> Result<Types, String> {
    let (b, [n, ch, h, w]) = block(c)?;
    if ch % (b * b) != 0 {
        return Err(format!("has {ch} channels, no multiple of {}", b * b));
    }
    Ok(vec![(c.elem(0)?, vec![n, ch / (b * b), h.saturating_mul(b), w.saturating_mul(b)])])
}

fn space_to_depth(c: &Ctx<'_>) -> Result<Types, String> {
    let (b, [n, ch, h, w]) = block(c)?;
    if h % b != 0 || w % b != 0 {
        return Err(format!("has {h}x{w} pixels, no multiple of {b}"));
    }
    Ok(vec![(c.elem(0)?, vec![n, ch.saturating_mul(b * b), h / b, w / b])])
}
