//! Recurrent layers: one product for what the input gives to all steps, then the recurrence as a step of its own, or
//! written out where it is short or has more than the step knows.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[("LSTM", layer), ("GRU", layer), ("RNN", layer)];

/// An activation with its parameters.
#[derive(Clone, Debug, PartialEq)]
struct Activation {
    name: String,
    alpha: Option<f32>,
    beta: Option<f32>,
}

/// What is the same for all directions.
struct Shape {
    gates: usize,
    steps: usize,
    batch: usize,
    units: usize,
}

/// One direction of a layer.
struct Direction {
    /// What the input gives to each step, `[T, B, G * H]`, biases included.
    input: ValueId,
    /// `[H, G * H]`
    weights: ValueId,
    /// Bias `[H]` of the candidate's recurrent product, where that is not in `input`.
    candidate_bias: Option<ValueId>,
    hidden: ValueId,
    cell: Option<ValueId>,
    /// Input, output and forget gates' weights of the cell state, `[H]` each.
    peepholes: Option<[ValueId; 3]>,
    activations: Vec<Activation>,
    reverse: bool,
}

/// All hidden states `[T, B, H]`, the last one and the last cell state `[B, H]`.
struct Outcome {
    all: ValueId,
    hidden: ValueId,
    cell: Option<ValueId>,
}

/// Inputs: X `[T, B, I]`, W `[D, G * H, I]`, R `[D, G * H, H]`, B `[D, 2 * G * H]`, sequence lengths, first hidden state
/// `[D, B, H]`, first cell state, peepholes `[D, 3 * H]`. Outputs: Y `[T, D, B, H]`, Y_h, Y_c `[D, B, H]`.
fn layer(m: &mut Make<'_, '_>) -> Done {
    let (mut x, w, r) = (m.input(0)?, m.input(1)?, m.input(2)?);
    let gates = match m.node.op.as_str() {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let batch_first = m.node.int("layout", 0) != 0;
    if batch_first {
        x = m.transpose(x, &[1, 0, 2])?;
    }
    let (xd, wd, rd) = (m.dims(x), m.dims(w), m.dims(r));
    let (&[steps, batch, depth], &[count, width, input], &[_, _, units]) =
        (xd.as_slice(), wd.as_slice(), rd.as_slice())
    else {
        return m.fail(format!("needs X, W and R of rank 3, they are {xd:?}, {wd:?} and {rd:?}"));
    };
    let direction = m.node.str("direction", "forward").to_owned();
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    if count != directions
        || input != depth
        || width != gates * units
        || rd != [count, width, units]
        || steps == 0
    {
        return m.fail(format!("its X {xd:?}, W {wd:?} and R {rd:?} do not fit a {direction} layer"));
    }
    let shape = Shape { gates, steps, batch, units };
    let real = m.elem(x);
    let x = m.cast(x, ElemType::F32)?;
    let mut outcomes = Vec::new();
    for d in 0..directions {
        let reverse = direction == "reverse" || d == 1;
        let own = read_direction(m, &shape, x, d, reverse, batch_first)?;
        outcomes.push(run(m, &shape, &own)?);
    }
    let stack = |m: &mut Make<'_, '_>, parts: Vec<ValueId>, dims: &[usize], axis: usize| -> Made {
        let mut wide = Vec::new();
        for part in parts {
            wide.push(m.reshape(part, dims)?);
        }
        let y = m.concat(&wide, axis)?;
        m.cast(y, real)
    };
    if m.wants(0) {
        let all = outcomes.iter().map(|o| o.all).collect();
        let mut y = stack(m, all, &[steps, 1, batch, units], 1)?;
        if batch_first {
            y = m.transpose(y, &[2, 0, 1, 3])?;
        }
        m.give(0, y)?;
    }
    for (i, of) in [(1, false), (2, true)] {
        if !m.wants(i) {
            continue;
        }
        let parts: Vec<ValueId> =
            outcomes.iter().filter_map(|o| if of { o.cell } else { Some(o.hidden) }).collect();
        if parts.is_empty() {
            return m.fail("has no cell state to give");
        }
        let mut y = stack(m, parts, &[1, batch, units], 0)?;
        if batch_first {
            y = m.transpose(y, &[1, 0, 2])?;
        }
        m.give(i, y)?;
    }
    Ok(true)
}

/// Part `d` of the first dimension, without that.
fn part(m: &mut Make<'_, '_>, v: ValueId, d: usize) -> Made {
    let v = m.cast(v, ElemType::F32)?;
    let one = m.slice(v, 0, d, d + 1)?;
    let dims = m.dims(one)[1..].to_vec();
    m.reshape(one, &dims)
}

fn read_direction(
    m: &mut Make<'_, '_>,
    shape: &Shape,
    x: ValueId,
    d: usize,
    reverse: bool,
    batch_first: bool,
) -> Result<Direction, ImportError> {
    let (gates, units) = (shape.gates, shape.units);
    let (w, r) = (m.input(1)?, m.input(2)?);
    let (w, r) = (part(m, w, d)?, part(m, r, d)?);
    let (w, weights) = (m.swap_last(w)?, m.swap_last(r)?);
    let mut input = m.op("MatMul", &[x, w])?;
    let resets_after = m.node.op == "GRU" && m.node.int("linear_before_reset", 0) != 0;
    let mut candidate_bias = None;
    if let Some(bias) = m.opt(3) {
        let bias = part(m, bias, d)?;
        let (own, mut recurrent) =
            (m.slice(bias, 0, 0, gates * units)?, m.slice(bias, 0, gates * units, 2 * gates * units)?);
        if resets_after {
            candidate_bias = Some(m.slice(recurrent, 0, 2 * units, 3 * units)?);
            let (kept, none) =
                (m.slice(recurrent, 0, 0, 2 * units)?, m.numbers(&[units], vec![0.0; units], ElemType::F32));
            recurrent = m.concat(&[kept, none], 0)?;
        }
        let sum = m.add(own, recurrent)?;
        input = m.add(input, sum)?;
    }
    if resets_after && candidate_bias.is_none() {
        candidate_bias = Some(m.numbers(&[units], vec![0.0; units], ElemType::F32));
    }
    let state = |m: &mut Make<'_, '_>, i: usize| -> Made {
        match m.opt(i) {
            Some(v) => {
                let v = if batch_first { m.transpose(v, &[1, 0, 2])? } else { v };
                part(m, v, d)
            }
            None => Ok(m.numbers(&[shape.batch, units], vec![0.0; shape.batch * units], ElemType::F32)),
        }
    };
    let hidden = state(m, 5)?;
    let cell = if m.node.op == "LSTM" { Some(state(m, 6)?) } else { None };
    let peepholes = match m.opt(7) {
        Some(p) if m.node.op == "LSTM" => {
            let p = part(m, p, d)?;
            Some([
                m.slice(p, 0, 0, units)?,
                m.slice(p, 0, units, 2 * units)?,
                m.slice(p, 0, 2 * units, 3 * units)?,
            ])
        }
        _ => None,
    };
    Ok(Direction {
        input,
        weights,
        candidate_bias,
        hidden,
        cell,
        peepholes,
        activations: activations(m, d)?,
        reverse,
    })
}

/// The activations of direction `d`: of the gates, the candidate, and for LSTM the cell state.
fn activations(m: &Make<'_, '_>, d: usize) -> Result<Vec<Activation>, ImportError> {
    let usual: &[&str] = match m.node.op.as_str() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let given = match m.node.attrs.get("activations") {
        Some(Attr::Strs(v)) if !v.is_empty() => v.clone(),
        _ => usual.iter().cycle().take(2 * usual.len()).map(|&s| s.to_owned()).collect(),
    };
    let floats = |key: &str| match m.node.attrs.get(key) {
        Some(Attr::Floats(v)) => v.clone(),
        _ => Vec::new(),
    };
    let (alphas, betas) = (floats("activation_alpha"), floats("activation_beta"));
    // Parameters are listed for the activations that take them, in order.
    let (mut next_alpha, mut next_beta) = (alphas.into_iter(), betas.into_iter());
    let mut all = Vec::new();
    for name in given {
        let (has_alpha, has_beta) = match name.as_str() {
            "Affine" | "ScaledTanh" | "HardSigmoid" => (true, true),
            "LeakyRelu" | "ThresholdedRelu" | "Elu" => (true, false),
            _ => (false, false),
        };
        all.push(Activation {
            alpha: if has_alpha { next_alpha.next() } else { None },
            beta: if has_beta { next_beta.next() } else { None },
            name,
        });
    }
    let n = usual.len();
    match all.get(d * n..(d + 1) * n) {
        Some(own) => Ok(own.to_vec()),
        None => m.fail(format!("has {} activations, {n} are needed for each direction", all.len())),
    }
}

impl Activation {
    /// Parameters, with ONNX's defaults.
    fn parameters(&self) -> (f32, f32) {
        let (alpha, beta) = match self.name.as_str() {
            "HardSigmoid" => (0.2, 0.5),
            "LeakyRelu" => (0.01, 0.0),
            "Elu" | "ThresholdedRelu" | "ScaledTanh" | "Affine" => {
                (1.0, if self.name == "ScaledTanh" { 1.0 } else { 0.0 })
            }
            _ => (0.0, 0.0),
        };
        (self.alpha.unwrap_or(alpha), self.beta.unwrap_or(beta))
    }

    /// Whether the step knows it.
    fn is_plain(&self) -> bool {
        !matches!(self.name.as_str(), "Affine" | "ScaledTanh")
    }

    fn apply(&self, m: &mut Make<'_, '_>, x: ValueId) -> Made {
        let (alpha, beta) = self.parameters();
        match self.name.as_str() {
            "Affine" => {
                let scaled = m.times(x, f64::from(alpha))?;
                m.plus(scaled, f64::from(beta))
            }
            "ScaledTanh" => {
                let scaled = m.times(x, f64::from(beta))?;
                let bent = m.op("Tanh", &[scaled])?;
                m.times(bent, f64::from(alpha))
            }
            "HardSigmoid" => {
                m.op_with("HardSigmoid", &[x], &[("alpha", Attr::Float(alpha)), ("beta", Attr::Float(beta))])
            }
            name @ ("LeakyRelu" | "Elu" | "ThresholdedRelu") => {
                m.op_with(name, &[x], &[("alpha", Attr::Float(alpha))])
            }
            name @ ("Sigmoid" | "Tanh" | "Relu" | "Softsign" | "Softplus") => m.op(name, &[x]),
            other => m.fail(format!("has the activation '{other}', which is not defined")),
        }
    }
}

fn run(m: &mut Make<'_, '_>, shape: &Shape, d: &Direction) -> Result<Outcome, ImportError> {
    let clips = m.node.float("clip", 0.0) != 0.0;
    let couples = m.node.int("input_forget", 0) != 0;
    // Lengths that are all of the whole make no difference.
    let whole = |m: &Make<'_, '_>, v: ValueId| {
        m.known(v)
            .and_then(crate::graph::Tensor::to_i64)
            .is_some_and(|l| l.iter().all(|&n| n == shape.steps as i64))
    };
    let lengths = m.opt(4).filter(|&v| !whole(m, v));
    let plain = d.activations.iter().all(Activation::is_plain);
    if shape.steps > 1 && plain && !clips && !couples && lengths.is_none() && d.peepholes.is_none() {
        as_step(m, shape, d)
    } else {
        written_out(m, shape, d, lengths)
    }
}

fn as_step(m: &mut Make<'_, '_>, shape: &Shape, d: &Direction) -> Result<Outcome, ImportError> {
    let lstm = d.cell.is_some();
    let cell = match (m.node.op.as_str(), d.candidate_bias) {
        ("LSTM", _) => "lstm",
        ("GRU", Some(_)) => "gru-reset-after",
        ("GRU", None) => "gru",
        _ => "rnn",
    };
    let mut attrs = vec![("cell", Attr::Str(cell.to_owned())), ("reverse", Attr::Int(i64::from(d.reverse)))];
    let keys: &[[&str; 3]] = match cell {
        "rnn" => &[["candidate", "candidate_alpha", "candidate_beta"]],
        _ => &[
            ["gate", "gate_alpha", "gate_beta"],
            ["candidate", "candidate_alpha", "candidate_beta"],
            ["state", "state_alpha", "state_beta"],
        ],
    };
    for (activation, [name, alpha, beta]) in d.activations.iter().zip(keys) {
        let (a, b) = activation.parameters();
        attrs.push((name, Attr::Str(activation.name.clone())));
        attrs.push((alpha, Attr::Float(a)));
        attrs.push((beta, Attr::Float(b)));
    }
    let inputs: Vec<ValueId> = [Some(d.input), Some(d.weights), Some(d.hidden), d.cell.or(d.candidate_bias)]
        .into_iter()
        .flatten()
        .collect();
    let y = m.op_with("cygnet.Recurrent", &inputs, &attrs)?;
    let (steps, dims) = (shape.steps, [shape.batch, shape.units]);
    let all = m.slice(y, 0, 0, steps)?;
    let last = if d.reverse { 0 } else { steps - 1 };
    let hidden = m.slice(y, 0, last, last + 1)?;
    let hidden = m.reshape(hidden, &dims)?;
    let cell = if lstm {
        let cell = m.slice(y, 0, steps, steps + 1)?;
        Some(m.reshape(cell, &dims)?)
    } else {
        None
    };
    Ok(Outcome { all, hidden, cell })
}

/// Step by step. A sample that has ended keeps its states and gives zeros.
fn written_out(
    m: &mut Make<'_, '_>,
    shape: &Shape,
    d: &Direction,
    lengths: Option<ValueId>,
) -> Result<Outcome, ImportError> {
    let (mut hidden, mut cell) = (d.hidden, d.cell);
    let lengths = match lengths {
        Some(v) => {
            let v = m.cast(v, ElemType::I64)?;
            Some(m.reshape(v, &[shape.batch, 1])?)
        }
        None => None,
    };
    let mut rows = vec![None; shape.steps];
    for step in 0..shape.steps {
        let t = if d.reverse { shape.steps - 1 - step } else { step };
        let x = m.slice(d.input, 0, t, t + 1)?;
        let x = m.reshape(x, &[shape.batch, shape.gates * shape.units])?;
        let (mut new_hidden, mut new_cell) = match (m.node.op.as_str(), cell) {
            ("LSTM", Some(cell)) => {
                let (h, c) = lstm(m, shape, d, x, hidden, cell)?;
                (h, Some(c))
            }
            ("GRU", _) => (gru(m, shape, d, x, hidden)?, None),
            _ => {
                let product = m.op("MatMul", &[hidden, d.weights])?;
                let sum = m.add(x, product)?;
                let sum = clipped(m, sum)?;
                (d.activations[0].apply(m, sum)?, None)
            }
        };
        let mut row = new_hidden;
        if let Some(lengths) = lengths {
            let at = m.number(t as f64, ElemType::I64);
            let inside = m.op("Less", &[at, lengths])?;
            let zero = m.number(0.0, ElemType::F32);
            row = m.op("Where", &[inside, new_hidden, zero])?;
            new_hidden = m.op("Where", &[inside, new_hidden, hidden])?;
            if let (Some(new), Some(old)) = (new_cell, cell) {
                new_cell = Some(m.op("Where", &[inside, new, old])?);
            }
        }
        (hidden, cell) = (new_hidden, new_cell.or(cell));
        rows[t] = Some(m.reshape(row, &[1, shape.batch, shape.units])?);
    }
    let rows: Vec<ValueId> = rows.into_iter().flatten().collect();
    let all = m.concat(&rows, 0)?;
    Ok(Outcome { all, hidden, cell })
}

/// A gate's sum within the bounds that the node sets.
fn clipped(m: &mut Make<'_, '_>, x: ValueId) -> Made {
    let clip = f64::from(m.node.float("clip", 0.0));
    if clip == 0.0 {
        return Ok(x);
    }
    let (low, high) = (m.like(x, -clip), m.like(x, clip));
    m.op("Clip", &[x, low, high])
}

/// Columns of gate `i`.
fn gate(m: &mut Make<'_, '_>, sums: ValueId, shape: &Shape, i: usize) -> Made {
    m.slice(sums, 1, i * shape.units, (i + 1) * shape.units)
}

fn lstm(
    m: &mut Make<'_, '_>,
    shape: &Shape,
    d: &Direction,
    x: ValueId,
    hidden: ValueId,
    cell: ValueId,
) -> Result<(ValueId, ValueId), ImportError> {
    let product = m.op("MatMul", &[hidden, d.weights])?;
    let sums = m.add(x, product)?;
    let through =
        |m: &mut Make<'_, '_>, i: usize, peephole: Option<(usize, ValueId)>, f: &Activation| -> Made {
            let mut sum = gate(m, sums, shape, i)?;
            if let (Some(p), Some((at, cell))) = (&d.peepholes, peephole) {
                let part = m.mul(p[at], cell)?;
                sum = m.add(sum, part)?;
            }
            let sum = clipped(m, sum)?;
            f.apply(m, sum)
        };
    let i = through(m, 0, Some((0, cell)), &d.activations[0])?;
    let f = if m.node.int("input_forget", 0) != 0 {
        let one = m.number(1.0, ElemType::F32);
        m.sub(one, i)?
    } else {
        through(m, 2, Some((2, cell)), &d.activations[0])?
    };
    let candidate = through(m, 3, None, &d.activations[1])?;
    let (kept, new) = (m.mul(f, cell)?, m.mul(i, candidate)?);
    let cell = m.add(kept, new)?;
    let o = through(m, 1, Some((1, cell)), &d.activations[0])?;
    let shown = d.activations[2].apply(m, cell)?;
    Ok((m.mul(o, shown)?, cell))
}

fn gru(m: &mut Make<'_, '_>, shape: &Shape, d: &Direction, x: ValueId, hidden: ValueId) -> Made {
    let n = shape.units;
    let (both, last) = (m.slice(d.weights, 1, 0, 2 * n)?, m.slice(d.weights, 1, 2 * n, 3 * n)?);
    let product = m.op("MatMul", &[hidden, both])?;
    let own = m.slice(x, 1, 0, 2 * n)?;
    let sums = m.add(own, product)?;
    let sums = clipped(m, sums)?;
    let gates = d.activations[0].apply(m, sums)?;
    let (z, r) = (m.slice(gates, 1, 0, n)?, m.slice(gates, 1, n, 2 * n)?);
    let own = m.slice(x, 1, 2 * n, 3 * n)?;
    let recurrent = match d.candidate_bias {
        Some(bias) => {
            let product = m.op("MatMul", &[hidden, last])?;
            let product = m.add(product, bias)?;
            m.mul(r, product)?
        }
        None => {
            let reset = m.mul(r, hidden)?;
            m.op("MatMul", &[reset, last])?
        }
    };
    let sum = m.add(own, recurrent)?;
    let sum = clipped(m, sum)?;
    let candidate = d.activations[1].apply(m, sum)?;
    // (1 - z) * candidate + z * hidden
    let one = m.number(1.0, ElemType::F32);
    let rest = m.sub(one, z)?;
    let (new, old) = (m.mul(rest, candidate)?, m.mul(z, hidden)?);
    m.add(new, old)
}
