//! Operators that move elements or make indices, over constants.

use super::Call;
use super::data::{cast, from_f64, from_i64, map_data, reshaped, strides, take, to_f64, view, walk};
use super::elementwise::expanded;
use crate::graph::{Attr, Data, Tensor};
use crate::infer::{Ctx, axis, pads_of, permutation, shape_range, slice_of};

type Out = Result<Option<Vec<Tensor>>, String>;

/// `Shape` and `Size`, which need the shape of their input alone.
pub fn of_shape(c: &Ctx<'_>) -> Result<Option<Tensor>, String> {
    Ok(match c.node.op.as_str() {
        "Shape" => {
            let (from, to) = shape_range(c)?;
            let dims: Vec<i64> = c.dims(0)?[from..to].iter().map(|&d| d as i64).collect();
            Some(Tensor::i64(&[dims.len()], dims))
        }
        "Size" => Some(Tensor::i64(&[], vec![c.dims(0)?.iter().product::<usize>() as i64])),
        _ => None,
    })
}

pub fn evaluate(c: &Call<'_>) -> Out {
    let one = |t: Tensor| Ok(Some(vec![t]));
    match c.op() {
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => one(reshaped(c.input(0)?, c.dims())),
        "Expand" => one(expanded(c.input(0)?, c.dims())),
        "Transpose" => {
            let x = c.input(0)?;
            let own = strides(&x.dims);
            let moved: Vec<isize> = permutation(&c.ctx)?.iter().map(|&p| own[p] as isize).collect();
            one(view(x, c.dims(), &moved, 0))
        }
        "Slice" => {
            let x = c.input(0)?;
            let own = strides(&x.dims);
            let parts = slice_of(&c.ctx)?;
            let steps: Vec<isize> =
                parts.iter().zip(&own).map(|(p, &s)| (p.step as isize).saturating_mul(s as isize)).collect();
            let base = parts.iter().zip(&own).map(|(p, &s)| p.start as isize * s as isize).sum();
            one(view(x, c.dims(), &steps, base))
        }
        "Concat" => one(concat(c)?),
        "Split" => split(c),
        "Tile" => {
            let x = c.input(0)?;
            let own = strides(&x.dims);
            one(take(
                x,
                c.dims(),
                &indices(c.dims(), |at| {
                    at.iter().zip(&x.dims).zip(&own).map(|((&i, &d), &s)| i % d * s).sum()
                }),
            ))
        }
        "Pad" => pad(c),
        "Gather" => one(gather(c)?),
        "GatherElements" => gather_elements(c),
        "GatherND" => one(gather_nd(c)?),
        "ScatterND" => scatter_nd(c),
        "Range" => one(range(c)?),
        "ConstantOfShape" => {
            let zero = Tensor::f32(&[1], vec![0.0]);
            let value = match c.ctx.node.attrs.get("value") {
                Some(Attr::Tensor(t)) => t.as_ref(),
                _ => &zero,
            };
            one(expanded(&reshaped(value, &[1]), c.dims()))
        }
        "NonZero" => one(non_zero(c)?),
        "OneHot" => one(one_hot(c)?),
        "Trilu" => one(trilu(c)?),
        "EyeLike" => {
            let k = c.ctx.node.int("k", 0);
            let mut eye = Vec::new();
            each(c.dims(), |at| eye.push(f64::from(u8::from(at[1] as i64 - at[0] as i64 == k))));
            one(Tensor::new(c.dims().to_vec(), from_f64(eye, c.types[0].0)))
        }
        _ => Ok(None),
    }
}

/// Calls `f` with every index of `dims`, in row-major order.
fn each(dims: &[usize], mut f: impl FnMut(&[usize])) {
    let total: usize = dims.iter().product();
    let mut at = vec![0; dims.len()];
    for _ in 0..total {
        f(&at);
        for i in (0..dims.len()).rev() {
            at[i] += 1;
            if at[i] < dims[i] {
                break;
            }
            at[i] = 0;
        }
    }
}

fn indices(dims: &[usize], f: impl Fn(&[usize]) -> usize) -> Vec<usize> {
    let mut out = Vec::with_capacity(dims.iter().product());
    each(dims, |at| out.push(f(at)));
    out
}

fn concat(c: &Call<'_>) -> Result<Tensor, String> {
    let dims = c.dims();
    let a = axis(c.ctx.node.int("axis", 0), dims.len())?;
    let outer: usize = dims[..a].iter().product();
    let parts: Vec<&Tensor> = (0..c.inputs.len()).map(|i| c.input(i)).collect::<Result<_, _>>()?;
    macro_rules! join {
        ($($v:ident),*) => {
            match &parts[0].data {
                $(Data::$v(_) => {
                    let mut out = Vec::with_capacity(dims.iter().product());
                    for row in 0..outer {
                        for p in &parts {
                            let Data::$v(x) = &p.data else { return Err("joins two types".to_owned()) };
                            let n = x.len() / outer;
                            out.extend_from_slice(&x[row * n..(row + 1) * n]);
                        }
                    }
                    Data::$v(out)
                })*
            }
        };
    }
    let data = join!(F32, F16, BF16, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool);
    Ok(Tensor::new(dims.to_vec(), data))
}

fn split(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    let a = axis(c.ctx.node.int("axis", 0), x.dims.len())?;
    let own: Vec<isize> = strides(&x.dims).into_iter().map(|s| s as isize).collect();
    let mut start = 0;
    let mut out = Vec::with_capacity(c.types.len());
    for (_, dims) in c.types {
        out.push(view(x, dims, &own, start * own[a]));
        start += dims[a] as isize;
    }
    Ok(Some(out))
}

fn pad(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    if c.ctx.node.str("mode", "constant") != "constant" {
        return Ok(None);
    }
    let pads = pads_of(&c.ctx)?;
    let fill = match c.opt(2) {
        Some(t) if t.len() == 1 => cast(t, x.elem()),
        _ => Tensor::new(vec![], from_i64(vec![0], x.elem())),
    };
    let own = strides(&x.dims);
    let mut out = expanded(&reshaped(&fill, &[1]), c.dims());
    let mut from = Vec::with_capacity(out.len());
    each(c.dims(), |at| {
        let source =
            at.iter().zip(&pads).zip(x.dims.iter().zip(&own)).try_fold(0usize, |sum, ((&i, p), (&d, &s))| {
                let j = i as i64 - p.0;
                (j >= 0 && j < d as i64).then(|| sum + j as usize * s)
            });
        from.push(source);
    });
    macro_rules! copy {
        ($($v:ident),*) => {
            match (&mut out.data, &x.data) {
                $((Data::$v(o), Data::$v(i)) => {
                    o.iter_mut().zip(&from).for_each(|(o, f)| if let Some(f) = f { *o = i[*f] });
                })*
                _ => return Ok(None),
            }
        };
    }
    copy!(F32, F16, BF16, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool);
    Ok(Some(vec![out]))
}

/// An index that may count from the back, checked against the size of its axis.
fn wrap(i: i64, d: usize) -> Result<usize, String> {
    let j = if i < 0 { i.saturating_add(d as i64) } else { i };
    usize::try_from(j)
        .ok()
        .filter(|&j| j < d)
        .ok_or_else(|| format!("takes index {i} of an axis of size {d}"))
}

fn gather(c: &Call<'_>) -> Result<Tensor, String> {
    let x = c.input(0)?;
    let a = axis(c.ctx.node.int("axis", 0), x.dims.len())?;
    let at = c.ints(1)?.into_iter().map(|i| wrap(i, x.dims[a])).collect::<Result<Vec<_>, _>>()?;
    let (outer, inner): (usize, usize) = (x.dims[..a].iter().product(), x.dims[a + 1..].iter().product());
    let mut offsets = Vec::with_capacity(outer * at.len() * inner);
    for o in 0..outer {
        for &i in &at {
            let from = (o * x.dims[a] + i) * inner;
            offsets.extend(from..from + inner);
        }
    }
    Ok(take(x, c.dims(), &offsets))
}

fn gather_elements(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    let a = axis(c.ctx.node.int("axis", 0), x.dims.len())?;
    let fits =
        c.dims().len() == x.dims.len() && (0..x.dims.len()).all(|i| i == a || c.dims()[i] <= x.dims[i]);
    if !fits {
        return Err(format!("indexes {:?} by {:?}", x.dims, c.dims()));
    }
    let index = c.ints(1)?.into_iter().map(|i| wrap(i, x.dims[a])).collect::<Result<Vec<_>, _>>()?;
    let own = strides(&x.dims);
    let mut offsets = Vec::with_capacity(index.len());
    each(c.dims(), |at| {
        let j = index[offsets.len()];
        offsets.push(
            at.iter().zip(&own).enumerate().map(|(k, (&i, &s))| if k == a { j * s } else { i * s }).sum(),
        );
    });
    Ok(Some(vec![take(x, c.dims(), &offsets)]))
}

/// Start of the block that each index tuple (the last axis of `at`) selects in `x`.
fn tuple_offsets(x: &Tensor, at: &Tensor, batch: usize) -> Result<Vec<usize>, String> {
    let ints = at.to_i64().ok_or("has indices that are not integers")?;
    let depth = at.dims.last().copied().unwrap_or(0).max(1);
    let own = strides(&x.dims);
    let per_batch: usize = at.dims[batch..at.dims.len() - 1].iter().product();
    let batch_size: usize = x.dims[batch..].iter().product();
    let tuple = |(n, t): (usize, &[i64])| {
        let base = n / per_batch.max(1) * batch_size;
        t.iter()
            .enumerate()
            .try_fold(base, |sum, (k, &i)| Ok(sum + wrap(i, x.dims[batch + k])? * own[batch + k]))
    };
    ints.chunks_exact(depth).enumerate().map(tuple).collect()
}

fn gather_nd(c: &Call<'_>) -> Result<Tensor, String> {
    let (x, at) = (c.input(0)?, c.input(1)?);
    let batch = c.ctx.node.int("batch_dims", 0) as usize;
    let depth = at.dims.last().copied().unwrap_or(0);
    let inner: usize = x.dims[batch + depth..].iter().product();
    let starts = tuple_offsets(x, at, batch)?;
    let offsets: Vec<usize> = starts.into_iter().flat_map(|s| s..s + inner).collect();
    Ok(take(x, c.dims(), &offsets))
}

fn scatter_nd(c: &Call<'_>) -> Out {
    let (x, at, updates) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let depth = at.dims.last().copied().unwrap_or(0);
    if depth == 0 || depth > x.dims.len() || c.ctx.node.str("reduction", "none") != "none" {
        return Ok(None);
    }
    let inner: usize = x.dims[depth..].iter().product();
    let starts = tuple_offsets(x, at, 0)?;
    if updates.len() != starts.len() * inner {
        return Err(format!("has {} updates for {} places", updates.len(), starts.len() * inner));
    }
    let mut out = x.clone();
    macro_rules! put {
        ($($v:ident),*) => {
            match (&mut out.data, &updates.data) {
                $((Data::$v(o), Data::$v(u)) => {
                    for (n, &s) in starts.iter().enumerate() {
                        o[s..s + inner].copy_from_slice(&u[n * inner..(n + 1) * inner]);
                    }
                })*
                _ => return Ok(None),
            }
        };
    }
    put!(F32, F16, BF16, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool);
    Ok(Some(vec![out]))
}

fn range(c: &Call<'_>) -> Result<Tensor, String> {
    let (start, delta, n) = (c.input(0)?, c.input(2)?, c.dims()[0]);
    let data = match (start.to_i64(), delta.to_i64()) {
        (Some(s), Some(d)) => {
            from_i64((0..n as i64).map(|i| s[0].wrapping_add(d[0].wrapping_mul(i))).collect(), start.elem())
        }
        _ => {
            let (s, d) = (to_f64(start)[0], to_f64(delta)[0]);
            from_f64((0..n).map(|i| s + d * i as f64).collect(), start.elem())
        }
    };
    Ok(Tensor::new(vec![n], data))
}

fn non_zero(c: &Call<'_>) -> Result<Tensor, String> {
    let x = c.input(0)?;
    let values = to_f64(x);
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut n = 0;
    each(&x.dims, |at| {
        if values[n] != 0.0 {
            found.push(at.to_vec());
        }
        n += 1;
    });
    let rank = x.dims.len();
    let data = (0..rank).flat_map(|k| found.iter().map(move |at| at[k] as i64)).collect();
    Ok(Tensor::i64(&[rank, found.len()], data))
}

fn one_hot(c: &Call<'_>) -> Result<Tensor, String> {
    let (x, values) = (c.input(0)?, c.input(2)?);
    let a = axis(c.ctx.node.int("axis", -1), c.dims().len())?;
    if values.len() != 2 {
        return Err(format!("needs two values (off, on), it has {}", values.len()));
    }
    let depth = c.dims()[a] as i64;
    let hot: Vec<i64> =
        to_f64(x).into_iter().map(|i| if i < 0.0 { i as i64 + depth } else { i as i64 }).collect();
    let own = strides(&x.dims);
    let pick = |at: &[usize]| {
        let rest = at.iter().enumerate().filter(|&(k, _)| k != a).map(|(_, &i)| i);
        usize::from(hot[rest.zip(&own).map(|(i, &s)| i * s).sum::<usize>()] == at[a] as i64)
    };
    Ok(take(values, c.dims(), &indices(c.dims(), pick)))
}

fn trilu(c: &Call<'_>) -> Result<Tensor, String> {
    let x = c.input(0)?;
    let k = match c.opt(1) {
        Some(_) => c.ints(1)?.first().copied().unwrap_or(0),
        None => 0,
    };
    let upper = c.ctx.node.int("upper", 1) != 0;
    let mut keep = Vec::with_capacity(x.len());
    each(&x.dims, |at| {
        let (row, col) = (at[at.len() - 2] as i64, at[at.len() - 1] as i64);
        let above = (col - row).cmp(&k);
        keep.push(if upper { above.is_ge() } else { above.is_le() });
    });
    let data = map_data!(&x.data, v => {
        v.iter().zip(&keep).map(|(&x, &k)| if k { x } else { Default::default() }).collect()
    });
    Ok(Tensor::new(x.dims.clone(), data))
}

/// `CumSum` along an axis, in place over f64 or i64 elements.
pub fn cumulate<T: Copy>(
    v: &mut [T],
    dims: &[usize],
    a: usize,
    exclusive: bool,
    reverse: bool,
    zero: T,
    add: fn(T, T) -> T,
) {
    let own = strides(dims);
    let mut lines: Vec<usize> = dims.to_vec();
    lines[a] = 1;
    let steps: Vec<isize> = own.iter().map(|&s| s as isize).collect();
    walk(&lines, [&steps], [0], |[start]| {
        let mut sum = zero;
        for i in 0..dims[a] {
            let at = start + own[a] * if reverse { dims[a] - 1 - i } else { i };
            let next = add(sum, v[at]);
            v[at] = if exclusive { sum } else { next };
            sum = next;
        }
    });
}
