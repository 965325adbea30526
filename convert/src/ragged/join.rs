//! Where rows meet others: concatenations, branches, and the model's outputs.

use super::rules::{Done, aligned};
use super::{Rows, compacted, element, iota, mark, refuse, rows, valid, with_inputs};
use crate::build::Builder;
use crate::error::ImportError;
use crate::expand::make::Make;
use crate::graph::{Data, ElemType, Node, Tensor, ValueId};

/// Along the rows, those that are there follow one another; along another dimension they stay where they are.
pub(super) fn concat(m: &mut Make<'_, '_>) -> Done {
    let inputs: Vec<ValueId> = m.node.inputs.iter().flatten().copied().collect();
    let Some(&first) = inputs.first() else { return refuse(m) };
    let axis = m.axis("axis", 0, m.rank(first))?;
    if inputs.iter().all(|&v| rows(m, v).is_none_or(|r| r.axis != axis)) {
        let mut inputs = m.node.inputs.clone();
        let found = aligned(m, &mut inputs)?;
        with_inputs(m, inputs)?;
        if let Some(r) = found {
            mark(m, 0, r.axis, r.count);
        }
        return Ok(());
    }
    if inputs.iter().any(|&v| rows(m, v).is_some_and(|r| r.axis != axis)) {
        return refuse(m);
    }
    let mut flags = Vec::new();
    for &v in &inputs {
        let n = m.dims(v)[axis];
        flags.push(match rows(m, v) {
            Some(r) => {
                let at = iota(m, n, 0, 1);
                m.op("Less", &[at, r.count])?
            }
            None => m.constant(Tensor::new(vec![n], Data::Bool(vec![true; n]))),
        });
    }
    let there = m.concat(&flags, 0)?;
    let (indices, count) = compacted(m, there)?;
    let all = m.concat(&inputs, axis)?;
    let y = m.gather(all, indices, axis)?;
    m.give(0, y)?;
    mark(m, 0, axis, count);
    Ok(())
}

/// The rows of a value, or all along `axis`.
fn count_along(m: &mut Make<'_, '_>, v: ValueId, axis: usize) -> Result<ValueId, ImportError> {
    match rows(m, v) {
        Some(r) => Ok(r.count),
        None => Ok(m.number(m.dims(v)[axis] as f64, ElemType::I64)),
    }
}

/// `condition ? a : b` where the data decides how many rows these have, or the condition says how many: `None` where
/// they are of one shape, or of shapes that have nothing in common.
pub(crate) fn choose(
    b: &mut Builder,
    name: &str,
    condition: ValueId,
    [x, y]: [ValueId; 2],
) -> Result<Option<ValueId>, ImportError> {
    let node = Node {
        op: "If".to_owned(),
        name: name.to_owned(),
        inputs: vec![Some(condition), Some(x), Some(y)],
        outputs: Vec::new(),
        attrs: std::collections::BTreeMap::new(),
        sources: Vec::new(),
    };
    let was = std::mem::replace(&mut b.ragged.active, false);
    let result = chosen(&mut Make { b, node: &node }, condition, [x, y]);
    b.ragged.active = was;
    result
}

fn chosen(
    m: &mut Make<'_, '_>,
    condition: ValueId,
    [x, y]: [ValueId; 2],
) -> Result<Option<ValueId>, ImportError> {
    let (xd, yd) = (m.dims(x), m.dims(y));
    let Some(axis) = rows(m, x).or_else(|| rows(m, y)).map(|r| r.axis) else { return Ok(None) };
    let others =
        |d: &[usize]| d.iter().enumerate().filter(|&(i, _)| i != axis).map(|(_, &n)| n).collect::<Vec<_>>();
    let fits = xd.len() == yd.len() && others(&xd) == others(&yd) && m.elem(x) == m.elem(y);
    let along = [x, y].into_iter().all(|v| rows(m, v).is_none_or(|r| r.axis == axis));
    if !fits || !along {
        return Ok(None);
    }
    let most = xd[axis].max(yd[axis]);
    let (mut longer, mut counts) = ([x, y], [x, y]);
    for i in 0..2 {
        counts[i] = count_along(m, longer[i], axis)?;
        let dims = m.dims(longer[i]);
        if dims[axis] < most {
            let mut rest = dims.clone();
            rest[axis] = most - dims[axis];
            let zero = m.like(longer[i], 0.0);
            let rest = m.expand(zero, &rest)?;
            longer[i] = if dims[axis] == 0 { rest } else { m.concat(&[longer[i], rest], axis)? };
        }
    }
    let one = element(m, condition, 0)?;
    let one = m.cast(one, ElemType::Bool)?;
    let out = m.op("Where", &[one, longer[0], longer[1]])?;
    let count = m.op("Where", &[one, counts[0], counts[1]])?;
    m.b.ragged.rows.insert(out, Rows { axis, count });
    Ok(Some(out))
}

/// What the model gives for a value: in rows behind the last, -1 of signed integers, else zero.
pub(crate) fn finish(b: &mut Builder, v: ValueId) -> Result<ValueId, ImportError> {
    let Some(&found) = b.ragged.rows.get(&v) else { return Ok(v) };
    let makes = |n: &Node| n.outputs.contains(&Some(v));
    if b.graph.nodes.iter().rev().find(|n| makes(n)).is_some_and(|n| n.op == "NonMaxSuppression") {
        return Ok(v);
    }
    let name = b.graph.value(v).name.clone();
    let node = Node {
        op: "output".to_owned(),
        name: name.clone(),
        inputs: vec![Some(v)],
        outputs: Vec::new(),
        attrs: std::collections::BTreeMap::new(),
        sources: Vec::new(),
    };
    let was = std::mem::replace(&mut b.ragged.active, false);
    let result = rest(&mut Make { b, node: &node }, v, found);
    b.ragged.active = was;
    let out = result?;
    // The name is the output's, and the value's own is made of it.
    let own = b.graph.value(out).name.clone();
    b.graph.value_mut(v).name = own;
    b.graph.value_mut(out).name = name;
    Ok(out)
}

fn rest(m: &mut Make<'_, '_>, v: ValueId, found: Rows) -> Result<ValueId, ImportError> {
    use ElemType::{I8, I16, I32, I64};
    let fill = if matches!(m.elem(v), I8 | I16 | I32 | I64) { -1.0 } else { 0.0 };
    if m.elem(v) == ElemType::Bool {
        return super::filled(m, v, 0.0);
    }
    let there = valid(m, v, found)?;
    let fill = m.like(v, fill);
    m.op("Where", &[there, v, fill])
}
