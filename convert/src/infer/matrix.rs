//! Products of matrices, and recurrent cells.

use std::collections::BTreeMap;

use super::{Ctx, Rule, Types, broadcast};
use crate::graph::ElemType;

pub fn rule(op: &str) -> Option<Rule> {
    Some(match op {
        "MatMul" => |c| {
            let dims = product(c)?;
            bias(c, 2, &dims)?;
            same_type(c)?;
            Ok(vec![(c.elem(0)?, dims)])
        },
        "MatMulInteger" => |c| Ok(vec![(ElemType::I32, product(c)?)]),
        "Gemm" => gemm,
        "Einsum" => einsum,
        "LSTM" | "GRU" | "RNN" => recurrent,
        _ => return None,
    })
}

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

/// The parsed equation of an `Einsum`: labels of each input and of the output. Ellipses are not supported.
struct Equation {
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Equation {
    fn parse(text: &str) -> Result<Self, String> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let bad = || format!("has the equation '{text}'; only letters, ',' and '->' are supported");
        let (left, right) = match text.split_once("->") {
            Some((l, r)) => (l, Some(r)),
            None => (text.as_str(), None),
        };
        let labels = |s: &str| -> Result<Vec<char>, String> {
            s.chars().map(|c| if c.is_ascii_alphabetic() { Ok(c) } else { Err(bad()) }).collect()
        };
        let inputs = left.split(',').map(labels).collect::<Result<Vec<_>, _>>()?;
        let output = match right {
            Some(r) => labels(r)?,
            None => {
                // Without '->' the output has every label that occurs once, in alphabetic order.
                let mut count: BTreeMap<char, usize> = BTreeMap::new();
                inputs.iter().flatten().for_each(|&l| *count.entry(l).or_default() += 1);
                count.into_iter().filter(|&(_, n)| n == 1).map(|(l, _)| l).collect()
            }
        };
        let known = output.iter().all(|l| inputs.iter().any(|i| i.contains(l)));
        let unique = output.iter().enumerate().all(|(i, l)| !output[..i].contains(l));
        if known && unique { Ok(Self { inputs, output }) } else { Err(bad()) }
    }
}

fn einsum(c: &Ctx<'_>) -> Result<Types, String> {
    let eq = Equation::parse(c.node.str("equation", ""))?;
    if eq.inputs.len() != c.node.inputs.len() {
        return Err(format!("has {} inputs, its equation {}", c.node.inputs.len(), eq.inputs.len()));
    }
    let mut sizes = BTreeMap::new();
    for (i, labels) in eq.inputs.iter().enumerate() {
        let x = c.dims(i)?;
        if x.len() != labels.len() {
            return Err(format!("its input {i} of dimensions {x:?} does not match the labels {labels:?}"));
        }
        for (&l, &d) in labels.iter().zip(x) {
            if *sizes.entry(l).or_insert(d) != d {
                return Err(format!("its label '{l}' stands for {} and for {d}", sizes[&l]));
            }
        }
    }
    Ok(vec![(c.elem(0)?, eq.output.iter().map(|l| sizes[l]).collect())])
}

/// `X[T,B,I]`, `W[D,g*H,I]`, `R[D,g*H,H]` give `Y[T,D,B,H]`, `Y_h[D,B,H]` and, for LSTM, `Y_c[D,B,H]`.
fn recurrent(c: &Ctx<'_>) -> Result<Types, String> {
    let gates = match c.node.op.as_str() {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let (&[a, b, input], &[d, gh, i], &[d2, gh2, h]) = (c.dims(0)?, c.dims(1)?, c.dims(2)?) else {
        return Err("needs X, W and R of rank 3".to_owned());
    };
    let directions = if c.node.str("direction", "forward") == "bidirectional" { 2 } else { 1 };
    let declared = c.node.int("hidden_size", h as i64);
    if d != directions
        || d2 != d
        || i != input
        || gh2 != gh
        || Some(gh) != h.checked_mul(gates)
        || declared != h as i64
    {
        return Err(format!(
            "its X {:?}, W {:?} and R {:?} do not fit {directions} directions of hidden size {declared}",
            c.dims(0)?,
            c.dims(1)?,
            c.dims(2)?
        ));
    }
    let batch_first = c.node.int("layout", 0) != 0;
    let (t, n) = if batch_first { (b, a) } else { (a, b) };
    let state = if batch_first { vec![n, d, h] } else { vec![d, n, h] };
    for (i, want) in [(3, vec![d, gh.saturating_mul(2)]), (5, state.clone()), (6, state.clone())] {
        if c.opt_dims(i).is_some_and(|x| x != want) {
            return Err(format!("its input {i} has dimensions {:?}, expected {want:?}", c.opt_dims(i)));
        }
    }
    let y = if batch_first { vec![n, t, d, h] } else { vec![t, d, n, h] };
    let elem = c.elem(0)?;
    let mut out = vec![(elem, y), (elem, state.clone())];
    if c.node.op == "LSTM" {
        out.push((elem, state));
    }
    Ok(out)
}
