//! Operators that take or put elements by index, sort them, or keep the best boxes.

use super::{Done, Rule, axis, int, ints, plain};
use crate::error::ImportError;
use crate::graph::{Attr, Data, ElemType, Tensor, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("GATHER", gather),
    ("GATHER_ND", gather_nd),
    ("SCATTER_ND", scatter_nd),
    ("SPARSE_TO_DENSE", sparse_to_dense),
    ("EMBEDDING_LOOKUP", embedding_lookup),
    ("DYNAMIC_UPDATE_SLICE", dynamic_update_slice),
    ("TOPK_V2", top_k),
    ("ONE_HOT", one_hot),
    ("WHERE", locate),
    ("CUMSUM", cumsum),
    ("REVERSE_V2", reverse),
    ("REVERSE_SEQUENCE", reverse_sequence),
    ("MATRIX_DIAG", matrix_diag),
    ("MATRIX_SET_DIAG", matrix_set_diag),
    ("NON_MAX_SUPPRESSION_V4", non_max_suppression),
    ("NON_MAX_SUPPRESSION_V5", non_max_suppression),
];

/// Most indices that are written out.
const MAX_PLACES: usize = 1 << 24;

/// Fields: axis 0, batch_dims 1. With batch dimensions B, values `[B.., M.., A, R..]` and indices `[B.., I..]` give
/// `[B.., M.., I.., R..]`.
fn gather(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, at) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let (xd, id) = (m.dims_of(x), m.dims_of(at));
    let along = axis(m, i64::from(m.option(op, 0, 0i32)?), xd.len())?;
    let batch = i64::from(m.option(op, 1, 0i32)?);
    let batch = if batch < 0 { batch + id.len() as i64 } else { batch };
    let batch = usize::try_from(batch).ok().filter(|&b| b <= along && b <= id.len());
    let Some(batch) = batch else {
        return Err(m.err(format!("gathers {id:?} of {xd:?} along axis {along} with other batch dimensions")));
    };
    if batch == 0 {
        let y = m.node("Gather", &[x, at], &[("axis", Attr::Int(along as i64))])?;
        return m.finish(op, 0, y, Form::Plain, 0);
    }
    // The axis goes right behind the batch, and what its place was comes back behind.
    let between = along - batch;
    let order: Vec<i64> =
        (0..batch).chain([along]).chain(batch..along).chain(along + 1..xd.len()).map(|d| d as i64).collect();
    let moved = m.transpose(x, &order)?;
    let entries = unsqueeze(m, at, id.len())?;
    let y = m.node("GatherND", &[moved, entries], &[("batch_dims", Attr::Int(batch as i64))])?;
    let picked = id.len() - batch;
    let back = (0..batch)
        .chain((0..between).map(|d| batch + picked + d))
        .chain((0..picked).map(|d| batch + d))
        .chain(batch + picked + between..m.dims_of(y).len());
    let back: Vec<i64> = back.map(|d| d as i64).collect();
    let y = m.transpose(y, &back)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

fn unsqueeze(m: &mut Importer<'_>, x: ValueId, at: usize) -> Result<ValueId, ImportError> {
    let list = m.list(&[at as i64]);
    m.node("Unsqueeze", &[x, list], &[])
}

/// Inputs: values, indices `[.., K]`.
fn gather_nd(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, at) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let y = m.node("GatherND", &[x, at], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// A constant of one number in the element type of a value, of these dimensions.
fn filled(m: &mut Importer<'_>, like: ValueId, dims: &[i64], value: f32) -> Result<ValueId, ImportError> {
    let one = m.scalar(value);
    let one = m.cast(one, m.elem_of(like))?;
    let list = m.list(dims);
    m.node("Expand", &[one, list], &[])
}

/// Inputs: indices `[.., K]`, updates, shape. Updates of one place add up.
fn scatter_nd(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (at, updates, shape) = (plain(m, op, 0)?, plain(m, op, 1)?, m.input(op, 2)?);
    let shape = m.ints(shape)?;
    let zeros = filled(m, updates, &shape, 0.0)?;
    let y = m.node("ScatterND", &[zeros, at, updates], &[("reduction", Attr::Str("add".to_owned()))])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: indices (one, a list, or `[N, K]`), shape, values (`[N]` or one), what stands elsewhere.
fn sparse_to_dense(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (mut at, shape, values, other) =
        (plain(m, op, 0)?, m.input(op, 1)?, plain(m, op, 2)?, plain(m, op, 3)?);
    let shape = m.ints(shape)?;
    let (rank, n) = (shape.len(), m.dims_of(at));
    if n.len() < 2 {
        let count = n.first().copied().unwrap_or(1);
        let list = m.list(&[count as i64, 1]);
        at = m.node("Reshape", &[at, list], &[])?;
    }
    let count = m.dims_of(at)[0];
    if m.dims_of(at)[1] != rank {
        return Err(m.err(format!("has indices {n:?} for {rank} dimensions")));
    }
    let list = m.list(&[count as i64]);
    let values = m.node("Expand", &[values, list], &[])?;
    let list = m.list(&shape);
    let base = m.node("Expand", &[other, list], &[])?;
    let y = m.node("ScatterND", &[base, at, values], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: indices `[N]`, a table of rows.
fn embedding_lookup(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (at, table) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let y = m.node("Gather", &[table, at], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: values, an update, the place of its first element, which is moved so that the update lies inside.
fn dynamic_update_slice(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, update, start) = (plain(m, op, 0)?, plain(m, op, 1)?, plain(m, op, 2)?);
    let (xd, ud) = (m.dims_of(x), m.dims_of(update));
    if xd.len() != ud.len() || m.dims_of(start) != [xd.len()] || ud.iter().zip(&xd).any(|(u, x)| u > x) {
        return Err(m.err(format!("puts {ud:?} into {xd:?} at {:?} places", m.dims_of(start))));
    }
    let most = m.list(&xd.iter().zip(&ud).map(|(x, u)| (x - u) as i64).collect::<Vec<_>>());
    let start = m.cast(start, ElemType::I64)?;
    let zero = m.list(&[0]);
    let start = m.node("Min", &[start, most], &[])?;
    let start = m.node("Max", &[start, zero], &[])?;
    // Rows of the dimensions behind the last one that is not whole are put at once.
    let depth = (0..xd.len()).rev().find(|&d| xd[d] != ud[d]).map_or(1, |d| d + 1).min(xd.len());
    let known = m.builder.graph.constant(start).and_then(|t| t.to_i64());
    let cut: Vec<usize> = (0..xd.len()).filter(|&d| xd[d] != ud[d]).collect();
    let y = match (known, cut.as_slice()) {
        (_, []) => update,
        (Some(at), &[d]) => spliced(m, x, update, d, at[d] as usize)?,
        _ => {
            let places: usize = ud[..depth].iter().product();
            if places.saturating_mul(depth) > MAX_PLACES {
                return Err(
                    m.err(format!("puts {places} rows one by one, at most {MAX_PLACES} are possible"))
                );
            }
            let mut grid = Vec::with_capacity(places * depth);
            for i in 0..places {
                let mut rest = i;
                let mut index = vec![0i64; depth];
                for d in (0..depth).rev() {
                    index[d] = (rest % ud[d]) as i64;
                    rest /= ud[d];
                }
                grid.extend(index);
            }
            let dims: Vec<usize> = ud[..depth].iter().copied().chain([depth]).collect();
            let hint = format!("{}:grid", m.hint);
            let grid = m.builder.constant(&hint, Tensor::i64(&dims, grid));
            let lists = [0, depth as i64].map(|n| m.list(&[n]));
            let first = m.node("Slice", &[start, lists[0], lists[1]], &[])?;
            let at = m.node("Add", &[grid, first], &[])?;
            m.node("ScatterND", &[x, at, update], &[])?
        }
    };
    m.finish(op, 0, y, Form::Plain, 0)
}

/// `x` with elements from `at` on along dimension `d` replaced by those of `update`.
fn spliced(
    m: &mut Importer<'_>,
    x: ValueId,
    update: ValueId,
    d: usize,
    at: usize,
) -> Result<ValueId, ImportError> {
    let (whole, len) = (m.dims_of(x)[d], m.dims_of(update)[d]);
    let mut parts = Vec::new();
    for (from, to) in [(0, at), (at, at + len), (at + len, whole)] {
        if from == to {
            continue;
        }
        if from == at && to == at + len {
            parts.push(update);
            continue;
        }
        let lists = [from, to, d].map(|n| m.list(&[n as i64]));
        parts.push(m.node("Slice", &[x, lists[0], lists[1], lists[2]], &[])?);
    }
    m.node("Concat", &parts, &[("axis", Attr::Int(d as i64))])
}

/// Inputs: values, how many. Outputs: the greatest along the last dimension, falling, and where they are.
fn top_k(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let k = int(m, op, 1)?;
    let k = m.list(&[k]);
    let made = m.emit_many("TopK", &[Some(x), Some(k)], &[("axis", Attr::Int(-1))], 2)?;
    m.finish(op, 0, made[0], Form::Plain, 0)?;
    let at = m.cast(made[1], m.output_elem(op, 1)?)?;
    m.finish(op, 1, at, Form::Plain, 0)
}

/// Inputs: indices, depth, value where they point to, value elsewhere. Field: axis 0. Indices outside point nowhere.
fn one_hot(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (at, depth) = (plain(m, op, 0)?, int(m, op, 1)?);
    let (on, off) = (plain(m, op, 2)?, plain(m, op, 3)?);
    let rank = m.dims_of(at).len();
    let along = axis(m, i64::from(m.option(op, 0, 0i32)?), rank + 1)?;
    let Some(depth) = usize::try_from(depth).ok().filter(|&d| d > 0 && d < 1 << 24) else {
        return Err(m.err(format!("has a depth of {depth}")));
    };
    let at = m.cast(at, ElemType::I64)?;
    let wide = unsqueeze(m, at, along)?;
    let mut dims = vec![1; rank + 1];
    dims[along] = depth;
    let hint = format!("{}:range", m.hint);
    let range = m.builder.constant(&hint, Tensor::i64(&dims, (0..depth as i64).collect()));
    let hit = m.node("Equal", &[wide, range], &[])?;
    let y = m.node("Where", &[hit, on, off], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Where a condition that is known at conversion holds, `[N, rank]`.
fn locate(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    if m.builder.graph.constant(x).is_none() {
        return Err(m.err(
            "finds out while the model runs how many elements are not zero; its shapes have to be known",
        ));
    }
    let at = m.node("NonZero", &[x], &[])?;
    let y = m.transpose(at, &[1, 0])?;
    let y = m.cast(y, m.output_elem(op, 0)?)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: values, axis. Fields: exclusive 0, reverse 1.
fn cumsum(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let at = int(m, op, 1)?;
    let at = m.list(&[at]);
    let none = m.list(&[]);
    let at = m.node("Reshape", &[at, none], &[])?;
    let attrs = [
        ("exclusive", Attr::Int(i64::from(m.option(op, 0, false)?))),
        ("reverse", Attr::Int(i64::from(m.option(op, 1, false)?))),
    ];
    let y = m.node("CumSum", &[x, at], &attrs)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: values, axes.
fn reverse(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (t, at) = (m.input(op, 0)?, m.input(op, 1)?);
    let rank = m.dims(t)?.len();
    let (x, form) = m.laid(t)?;
    let axes = m.ints(at)?.into_iter().map(|a| axis(m, a, rank)).collect::<Result<Vec<_>, _>>()?;
    let n = axes.len();
    let lists =
        [vec![-1; n], vec![i64::MIN; n], axes.iter().map(|&a| form.axis(a) as i64).collect(), vec![-1; n]];
    let lists = lists.map(|l| m.list(&l));
    let y = m.node("Slice", &[x, lists[0], lists[1], lists[2], lists[3]], &[])?;
    m.finish(op, 0, y, form, 0)
}

/// Inputs: values, lengths. Fields: seq_dim 0, batch_dim 1.
fn reverse_sequence(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, lengths) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let rank = m.dims_of(x).len();
    let time = axis(m, i64::from(m.option(op, 0, 0i32)?), rank)?;
    let batch = axis(m, i64::from(m.option(op, 1, 0i32)?), rank)?;
    if time == batch {
        return Err(m.err(format!("reverses dimension {time}, which is also that of its lengths")));
    }
    let others = (0..rank).filter(|&d| d != time && d != batch);
    let order: Vec<i64> = [batch, time].into_iter().chain(others).map(|d| d as i64).collect();
    let moved = m.transpose(x, &order)?;
    let lengths = m.cast(lengths, ElemType::I64)?;
    let attrs = [("time_axis", Attr::Int(1)), ("batch_axis", Attr::Int(0))];
    let y = m.node("ReverseSequence", &[moved, lengths], &attrs)?;
    let mut back = vec![0; rank];
    for (i, &d) in order.iter().enumerate() {
        back[d as usize] = i as i64;
    }
    let y = m.transpose(y, &back)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// The booleans of a diagonal `[rows, cols]`.
fn diagonal(m: &mut Importer<'_>, rows: usize, cols: usize) -> Result<ValueId, ImportError> {
    if rows.saturating_mul(cols) > MAX_PLACES {
        return Err(
            m.err(format!("has matrices of {rows} by {cols}, at most {MAX_PLACES} elements are possible"))
        );
    }
    let on = (0..rows * cols).map(|i| i / cols == i % cols).collect();
    let hint = format!("{}:diagonal", m.hint);
    Ok(m.builder.constant(&hint, Tensor::new(vec![rows, cols], Data::Bool(on))))
}

/// Vectors become the diagonals of square matrices.
fn matrix_diag(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let x = plain(m, op, 0)?;
    let dims = m.dims_of(x);
    let Some(&n) = dims.last() else { return Err(m.err("needs vectors, it has a single number")) };
    let wide = unsqueeze(m, x, dims.len())?;
    let on = diagonal(m, n, n)?;
    let zero = filled(m, x, &[], 0.0)?;
    let y = m.node("Where", &[on, wide, zero], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: matrices, the diagonals that they get.
fn matrix_set_diag(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, diag) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let (xd, dd) = (m.dims_of(x), m.dims_of(diag));
    let &[.., rows, cols] = xd.as_slice() else {
        return Err(m.err(format!("needs matrices, it has {xd:?}")));
    };
    if dd.len() + 1 != xd.len() || dd.last() != Some(&rows.min(cols)) {
        return Err(m.err(format!("has diagonals {dd:?} for matrices {xd:?}")));
    }
    // Of a matrix with more rows than columns the rows below have no diagonal.
    let short = rows.min(cols);
    let diag = if short < rows {
        let pads = m.list(
            &(0..2 * dd.len())
                .map(|i| if i + 1 == 2 * dd.len() { (rows - short) as i64 } else { 0 })
                .collect::<Vec<_>>(),
        );
        m.node("Pad", &[diag, pads], &[])?
    } else {
        diag
    };
    let wide = unsqueeze(m, diag, dd.len())?;
    let on = diagonal(m, rows, cols)?;
    let y = m.node("Where", &[on, wide, x], &[])?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// Inputs: boxes `[N, 4]` by two corners, scores `[N]`, how many at most, overlap from which on a box falls, score that
/// has to be surpassed, and of the fifth version the sigma of soft suppression. Outputs: indices of the boxes kept, of
/// the fifth version their scores, and how many they are; the rest is zeros.
fn non_max_suppression(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let soft = op.name.ends_with('5');
    let (boxes, scores) = (plain(m, op, 0)?, plain(m, op, 1)?);
    let [most] = ints::<1>(m, op, 2)?;
    let overlap = known(m, op, 3)?;
    let least = known(m, op, 4)?;
    if soft && known(m, op, 5)? != 0.0 {
        return Err(m.err("suppresses softly, which is not supported; export the model with a sigma of 0"));
    }
    let kept = suppress(m, boxes, scores, most, overlap, least)?;
    let to = m.output_elem(op, 0)?;
    let indices = m.cast(kept.indices, to)?;
    m.finish(op, 0, indices, Form::Plain, 0)?;
    let mut last = 1;
    if soft {
        let best = m.node("Gather", &[scores, kept.indices], &[])?;
        let best = m.node("Mul", &[best, kept.valid], &[])?;
        m.finish(op, 1, best, Form::Plain, 0)?;
        last = 2;
    }
    let count = m.node("ReduceSum", &[kept.valid], &[("keepdims", Attr::Int(0))])?;
    let count = m.cast(count, m.output_elem(op, last)?)?;
    m.finish(op, last, count, Form::Plain, 0)
}

/// A number that has to be known at conversion.
fn known(m: &mut Importer<'_>, op: &Operator<'_>, i: usize) -> Result<f32, ImportError> {
    let x = plain(m, op, i)?;
    let value = m.builder.graph.constant(x).and_then(|t| t.scalar_f32());
    value.ok_or_else(|| m.err(format!("needs a constant number as input {i}")))
}

/// Boxes that were kept.
pub(super) struct Kept {
    /// Which they are `[most]`, int64; zeros behind the last.
    pub indices: ValueId,
    /// 1 for each, 0 behind the last `[most]`, float32.
    pub valid: ValueId,
}

/// Of boxes `[N, 4]` with scores `[N]` at most so many that surpass `least`, none of which overlaps a better one by
/// `overlap` or more.
pub(super) fn suppress(
    m: &mut Importer<'_>,
    boxes: ValueId,
    scores: ValueId,
    most: i64,
    overlap: f32,
    least: f32,
) -> Result<Kept, ImportError> {
    let (bd, sd) = (m.dims_of(boxes), m.dims_of(scores));
    let (&[n, 4], &[count]) = (bd.as_slice(), sd.as_slice()) else {
        return Err(m.err(format!("needs boxes [N, 4] and scores [N], they are {bd:?} and {sd:?}")));
    };
    if n != count || n == 0 || !(1..1 << 24).contains(&most) {
        return Err(m.err(format!("keeps at most {most} of {n} boxes with {count} scores")));
    }
    let lists = [vec![1, n as i64, 4], vec![1, 1, n as i64], vec![most]].map(|l| m.list(&l));
    let boxes = m.node("Reshape", &[boxes, lists[0]], &[])?;
    let scores = m.node("Reshape", &[scores, lists[1]], &[])?;
    // ONNX's operator drops what overlaps by more than its threshold: the number below this one is meant.
    let (overlap, least) = (m.scalar(overlap.next_down()), m.scalar(least));
    let rows = m.node("NonMaxSuppression", &[boxes, scores, lists[2], overlap, least], &[])?;
    let lists = [vec![2], vec![3], vec![1], vec![-1]].map(|l| m.list(&l));
    let index = m.node("Slice", &[rows, lists[0], lists[1], lists[2]], &[])?;
    let index = m.node("Reshape", &[index, lists[3]], &[])?;
    // As many rows as there are boxes, if those are fewer than asked for.
    let rows = m.dims_of(index)[0] as i64;
    let index = if rows < most {
        let pads = m.list(&[0, most - rows]);
        let none = m.builder.constant("none", Tensor::i64(&[], vec![-1]));
        m.node("Pad", &[index, pads, none], &[])?
    } else {
        index
    };
    let zero = m.list(&[0]);
    let real = m.node("GreaterOrEqual", &[index, zero], &[])?;
    let valid = m.cast(real, ElemType::F32)?;
    let indices = m.node("Max", &[index, zero], &[])?;
    Ok(Kept { indices, valid })
}
