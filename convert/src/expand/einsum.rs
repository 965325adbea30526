//! `Einsum`: two operands at a time, by transposes and one product of matrices.

use std::collections::BTreeMap;

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{ElemType, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[("Einsum", einsum)];

/// A dimension's label: a letter, or a place in the ellipsis counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// A tensor whose dimensions have labels, each once.
struct Labelled {
    value: ValueId,
    labels: Vec<Label>,
}

/// The labels of one term for a tensor of `rank` dimensions.
fn labels(m: &Make<'_, '_>, term: &str, rank: usize) -> Result<Vec<Label>, ImportError> {
    let bad =
        || m.fail(format!("has the term '{term}' for {rank} dimensions; letters and one '...' are possible"));
    let letters = term.chars().filter(|c| c.is_ascii_alphabetic()).count();
    let (before, after) = match term.split_once("...") {
        Some((a, b)) => (a, Some(b)),
        None => (term, None),
    };
    let plain = |s: &str| s.chars().all(|c| c.is_ascii_alphabetic());
    if !plain(before) || !after.is_none_or(plain) || letters > rank || (after.is_none() && letters != rank) {
        return bad();
    }
    let mut out: Vec<Label> = before.chars().map(Label::Letter).collect();
    if let Some(after) = after {
        out.extend((0..rank - letters).rev().map(Label::Ellipsis));
        out.extend(after.chars().map(Label::Letter));
    }
    Ok(out)
}

fn einsum(m: &mut Make<'_, '_>) -> Done {
    let text: String = m.node.str("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((l, r)) => (l, Some(r)),
        None => (text.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != m.node.inputs.len() {
        return m.fail(format!("has {} inputs, its equation {} terms", m.node.inputs.len(), terms.len()));
    }
    let mut operands = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let value = m.input(i)?;
        let labels = labels(m, term, m.rank(value))?;
        operands.push(Labelled { value, labels });
    }
    let output = output_labels(m, right, &operands)?;
    let mut wanted = Vec::new();
    for operand in operands {
        wanted.push(diagonal(m, operand)?);
    }
    let mut rest = wanted.into_iter();
    let Some(mut acc) = rest.next() else { return m.fail("has no inputs") };
    let mut left: Vec<Labelled> = rest.collect();
    loop {
        let later: Vec<Label> =
            left.iter().flat_map(|o| o.labels.iter().copied()).chain(output.clone()).collect();
        acc = summed(m, acc, &later)?;
        if left.is_empty() {
            break;
        }
        let next = left.remove(0);
        let later: Vec<Label> =
            left.iter().flat_map(|o| o.labels.iter().copied()).chain(output.clone()).collect();
        let next_keeps: Vec<Label> = later.iter().chain(&acc.labels).copied().collect();
        let next = summed(m, next, &next_keeps)?;
        acc = product(m, acc, next, &later)?;
    }
    let order: Option<Vec<usize>> = output.iter().map(|l| acc.labels.iter().position(|a| a == l)).collect();
    let Some(order) = order else {
        return m.fail(format!("has the equation '{text}', whose output no input has"));
    };
    let y = m.transpose(acc.value, &order)?;
    m.done(y)
}

/// The output's labels; without '->' those of the ellipsis, and the letters that occur once, in alphabetic order.
fn output_labels(
    m: &Make<'_, '_>,
    right: Option<&str>,
    operands: &[Labelled],
) -> Result<Vec<Label>, ImportError> {
    let mut count: BTreeMap<Label, usize> = BTreeMap::new();
    operands.iter().flat_map(|o| &o.labels).for_each(|&l| *count.entry(l).or_default() += 1);
    let mut ellipsis: Vec<Label> =
        count.keys().filter(|l| matches!(l, Label::Ellipsis(_))).copied().collect();
    ellipsis.reverse();
    let out = match right {
        Some(term) => {
            let letters = term.chars().filter(|c| c.is_ascii_alphabetic()).count();
            let rank = letters + if term.contains("...") { ellipsis.len() } else { 0 };
            labels(m, term, rank)?
        }
        None => {
            let once = count.iter().filter(|&(l, &n)| n == 1 && matches!(l, Label::Letter(_)));
            ellipsis.into_iter().chain(once.map(|(&l, _)| l)).collect()
        }
    };
    let twice = out.iter().enumerate().any(|(i, l)| out[..i].contains(l));
    if twice || out.iter().any(|l| !count.contains_key(l)) {
        return m.fail(format!("has an output '{}' that its inputs do not give", right.unwrap_or("")));
    }
    Ok(out)
}

/// An operand in which every label occurs once: a repeated one takes the diagonal.
fn diagonal(m: &mut Make<'_, '_>, mut o: Labelled) -> Result<Labelled, ImportError> {
    loop {
        let repeated = (0..o.labels.len())
            .find_map(|i| (i + 1..o.labels.len()).find(|&j| o.labels[i] == o.labels[j]).map(|j| (i, j)));
        let Some((i, j)) = repeated else { return Ok(o) };
        let dims = m.dims(o.value);
        if dims[i] != dims[j] {
            return m.fail(format!("takes the diagonal of {dims:?}"));
        }
        // Both dimensions last, as one, of which every (n + 1)-th element is taken.
        let n = dims[i];
        let mut order: Vec<usize> = (0..dims.len()).filter(|&d| d != i && d != j).collect();
        let outer: Vec<usize> = order.iter().map(|&d| dims[d]).collect();
        order.extend([i, j]);
        let moved = m.transpose(o.value, &order)?;
        let flat = m.reshape(moved, &[&outer[..], &[n * n]].concat())?;
        let at = m.numbers(&[n], (0..n).map(|k| (k * (n + 1)) as f64).collect(), ElemType::I64);
        o.value = m.gather(flat, at, outer.len())?;
        let label = o.labels[i];
        o.labels = order[..outer.len()].iter().map(|&d| o.labels[d]).chain([label]).collect();
    }
}

/// Summed over the labels that nobody needs later.
fn summed(m: &mut Make<'_, '_>, o: Labelled, later: &[Label]) -> Result<Labelled, ImportError> {
    let gone: Vec<usize> = (0..o.labels.len()).filter(|&d| !later.contains(&o.labels[d])).collect();
    if gone.is_empty() {
        return Ok(o);
    }
    let value = m.reduce("ReduceSum", o.value, &gone, false)?;
    let labels = o.labels.iter().filter(|l| later.contains(l)).copied().collect();
    Ok(Labelled { value, labels })
}

/// The product of two operands, summed over the labels that both have and nobody needs later.
fn product(m: &mut Make<'_, '_>, a: Labelled, b: Labelled, later: &[Label]) -> Result<Labelled, ImportError> {
    let (ad, bd) = (m.dims(a.value), m.dims(b.value));
    let size = |l: Label| -> usize {
        let of = |o: &Labelled, d: &[usize]| o.labels.iter().position(|&x| x == l).map(|i| d[i]);
        of(&a, &ad).unwrap_or(1).max(of(&b, &bd).unwrap_or(1))
    };
    for (&l, &d) in a.labels.iter().zip(&ad).chain(b.labels.iter().zip(&bd)) {
        if d != size(l) && d != 1 {
            return m.fail(format!("its inputs of dimensions {ad:?} and {bd:?} do not fit its equation"));
        }
    }
    let shared = |l: &&Label| b.labels.contains(l);
    let batch: Vec<Label> = a.labels.iter().filter(shared).filter(|l| later.contains(l)).copied().collect();
    let inner: Vec<Label> = a.labels.iter().filter(shared).filter(|l| !later.contains(l)).copied().collect();
    let rows: Vec<Label> = a.labels.iter().filter(|l| !b.labels.contains(l)).copied().collect();
    let columns: Vec<Label> = b.labels.iter().filter(|l| !a.labels.contains(l)).copied().collect();
    let count = |ls: &[Label]| ls.iter().map(|&l| size(l)).product::<usize>();
    let (g, r, k, c) = (count(&batch), count(&rows), count(&inner), count(&columns));
    let left = matrix(m, &a, &[&batch, &rows, &inner], &size, [g, r, k])?;
    let right = matrix(m, &b, &[&batch, &inner, &columns], &size, [g, k, c])?;
    let value = m.op("MatMul", &[left, right])?;
    let labels: Vec<Label> = [batch, rows, columns].concat();
    let dims: Vec<usize> = labels.iter().map(|&l| size(l)).collect();
    let value = m.reshape(value, &dims)?;
    Ok(Labelled { value, labels })
}

/// An operand with its labels in this order, grouped into three dimensions.
fn matrix(
    m: &mut Make<'_, '_>,
    o: &Labelled,
    groups: &[&[Label]; 3],
    size: &dyn Fn(Label) -> usize,
    dims: [usize; 3],
) -> Made {
    let order: Vec<Label> = groups.concat();
    let perm: Vec<usize> = order
        .iter()
        .map(|l| o.labels.iter().position(|x| x == l).expect("a label of this operand"))
        .collect();
    let moved = m.transpose(o.value, &perm)?;
    let whole: Vec<usize> = order.iter().map(|&l| size(l)).collect();
    let wide = m.expand(moved, &whole)?;
    m.reshape(wide, &dims)
}
