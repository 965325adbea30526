//! Products of matrices.

use super::{Ctx, Rule, Types, broadcast};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("MatMul", |c| {
        let dims = product(c)?;
        bias(c, 2, &dims)?;
        same_type(c)?;
        Ok(vec![(c.elem(0)?, dims)])
    }),
    ("Gemm", gemm),
];

fn same_type(c: &Ctx<'_>) -> Result<(), String> {
    match (c.elem(0)?, c.elem(1)?) {
        (a, b) if a == b => Ok(()),
        (a, b) => Err(format!("multiplies {a} by {b}; both must have one type")),
    }
}

/// An optional input that must broadcast to the output.
fn bias(c: &Ctx<'_>, i: usize, out: &[usize]) -> Result<(), String> {
    match c.opt_dims(i) {
        Some(b) if broadcast(b, out)? != out => Err(format!("adds {b:?} to a product of dimensions {out:?}")),
        _ => Ok(()),
    }
}

fn product(c: &Ctx<'_>) -> Result<Vec<usize>, String> {
    let (a, b) = (c.dims(0)?, c.dims(1)?);
    let mismatch = || format!("cannot multiply dimensions {a:?} by {b:?}");
    let (Some((&k, left)), Some(&last)) = (a.split_last(), b.last()) else { return Err(mismatch()) };
    let (inner, right, batch): (usize, Option<usize>, &[usize]) = match b.len() {
        1 => (last, None, &[]),
        n => (b[n - 2], Some(last), &b[..n - 2]),
    };
    if k != inner {
        return Err(mismatch());
    }
    let (rows, left_batch) = match left.split_last() {
        Some((&m, rest)) => (Some(m), rest),
        None => (None, left),
    };
    let mut dims = broadcast(left_batch, batch)?;
    dims.extend(rows);
    dims.extend(right);
    Ok(dims)
}

fn gemm(c: &Ctx<'_>) -> Result<Types, String> {
    same_type(c)?;
    let flip = |i: usize, key: &str| -> Result<(usize, usize), String> {
        match *c.dims(i)? {
            [r, k] if c.node.int(key, 0) != 0 => Ok((k, r)),
            [r, k] => Ok((r, k)),
            ref d => Err(format!("needs a matrix as input {i}, it is {d:?}")),
        }
    };
    let ((m, k), (k2, n)) = (flip(0, "transA")?, flip(1, "transB")?);
    if k != k2 {
        return Err(format!("multiplies {m}x{k} by {k2}x{n}; the inner sizes must be equal"));
    }
    bias(c, 2, &[m, n])?;
    Ok(vec![(c.elem(0)?, vec![m, n])])
}
