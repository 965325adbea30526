//! Recurrent layers: states that are tensors of the model persist from run to run, as the runtime of the file keeps
//! them.

use super::{Done, Rule, activation};
use crate::error::ImportError;
use crate::graph::{Attr, ValueId};
use crate::tflite::import::Importer;
use crate::tflite::schema::Operator;
use crate::tflite::values::Form;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("LSTM", lstm),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", sequence_lstm),
    ("BIDIRECTIONAL_SEQUENCE_LSTM", both_ways_lstm),
    ("RNN", rnn),
    ("UNIDIRECTIONAL_SEQUENCE_RNN", sequence_rnn),
    ("SVDF", svdf),
];

fn reshape(m: &mut Importer<'_>, x: ValueId, dims: &[usize]) -> Result<ValueId, ImportError> {
    m.reshape(x, &dims.iter().map(|&d| d as i64).collect::<Vec<_>>())
}

/// `x` times the transpose of `w`.
fn product(m: &mut Importer<'_>, x: ValueId, w: ValueId) -> Result<ValueId, ImportError> {
    let turned = m.transpose(w, &[1, 0])?;
    m.node("MatMul", &[x, turned], &[])
}

/// Adds what may be left out.
fn plus(m: &mut Importer<'_>, x: ValueId, y: Option<ValueId>) -> Result<ValueId, ImportError> {
    match y {
        Some(y) => m.node("Add", &[x, y], &[]),
        None => Ok(x),
    }
}

/// Bounds a value on both sides, where the limit is above zero.
fn bounded(m: &mut Importer<'_>, x: ValueId, limit: f32) -> Result<ValueId, ImportError> {
    if limit <= 0.0 {
        return Ok(x);
    }
    let (low, high) = (m.scalar(-limit), m.scalar(limit));
    m.node("Clip", &[x, low, high], &[])
}

/// The real numbers of an input that may be left out.
fn real(m: &mut Importer<'_>, op: &Operator<'_>, i: usize) -> Result<Option<ValueId>, ImportError> {
    m.optional(op, i)?.map(|t| m.plain(t)).transpose()
}

/// The real numbers of an input that has to be there.
fn needed(m: &mut Importer<'_>, op: &Operator<'_>, i: usize) -> Result<ValueId, ImportError> {
    let t = m.input(op, i)?;
    m.plain(t)
}

/// The real numbers of an input that has to be a matrix.
fn matrix(m: &mut Importer<'_>, op: &Operator<'_>, i: usize) -> Result<ValueId, ImportError> {
    let x = needed(m, op, i)?;
    match m.dims_of(x)[..] {
        [_, _] => Ok(x),
        ref dims => Err(m.err(format!("needs a matrix as input {i}, it is {dims:?}"))),
    }
}

/// A gate: weights of the input, of the hidden state and of the cell state, scale of the normalization, bias.
struct Gate {
    input: ValueId,
    hidden: ValueId,
    peephole: Option<ValueId>,
    norm: Option<ValueId>,
    bias: Option<ValueId>,
}

/// One direction of a layer.
struct Cell {
    /// Left out: one less the forget gate.
    entry: Option<Gate>,
    forget: Gate,
    candidate: Gate,
    exit: Gate,
    projection: Option<(ValueId, Option<ValueId>)>,
    function: i8,
    cell_clip: f32,
    projection_clip: f32,
}

/// Where the inputs of one direction stand. The gates' weights are the input, forget, cell and output gate's.
struct Ports {
    input: usize,
    hidden: usize,
    peephole: usize,
    bias: usize,
    projection: usize,
    norm: Option<usize>,
}

fn cell(m: &mut Importer<'_>, op: &Operator<'_>, p: &Ports) -> Result<Cell, ImportError> {
    let gate = |m: &mut Importer<'_>, i: usize| -> Result<Gate, ImportError> {
        // The cell gate has no peephole, so that those of input, forget and output gate follow one another.
        let peephole = match i {
            2 => None,
            3 => real(m, op, p.peephole + 2)?,
            _ => real(m, op, p.peephole + i)?,
        };
        Ok(Gate {
            input: matrix(m, op, p.input + i)?,
            hidden: matrix(m, op, p.hidden + i)?,
            peephole,
            norm: p.norm.map_or(Ok(None), |n| real(m, op, n + i))?,
            bias: real(m, op, p.bias + i)?,
        })
    };
    let coupled = m.optional(op, p.input)?.is_none();
    let entry = if coupled { None } else { Some(gate(m, 0)?) };
    let (forget, candidate, exit) = (gate(m, 1)?, gate(m, 2)?, gate(m, 3)?);
    let projection = match real(m, op, p.projection)? {
        Some(w) => Some((w, real(m, op, p.projection + 1)?)),
        None => None,
    };
    Ok(Cell {
        entry,
        forget,
        candidate,
        exit,
        projection,
        function: m.option(op, 0, 0i8)?,
        cell_clip: m.option(op, 1, 0f32)?,
        projection_clip: m.option(op, 2, 0f32)?,
    })
}

/// What a gate lets through, before its function.
fn gate(
    m: &mut Importer<'_>,
    g: &Gate,
    x: ValueId,
    hidden: ValueId,
    state: ValueId,
) -> Result<ValueId, ImportError> {
    let (a, b) = (product(m, x, g.input)?, product(m, hidden, g.hidden)?);
    let mut sum = m.node("Add", &[a, b], &[])?;
    if let Some(w) = g.peephole {
        let seen = m.node("Mul", &[state, w], &[])?;
        sum = m.node("Add", &[sum, seen], &[])?;
    }
    if let Some(scale) = g.norm {
        sum = m.node(
            "LayerNormalization",
            &[sum, scale],
            &[("axis", Attr::Int(-1)), ("epsilon", Attr::Float(1e-8))],
        )?;
    }
    plus(m, sum, g.bias)
}

/// One step: the hidden state and the cell state after it.
fn step(
    m: &mut Importer<'_>,
    c: &Cell,
    x: ValueId,
    hidden: ValueId,
    state: ValueId,
) -> Result<(ValueId, ValueId), ImportError> {
    let forget = gate(m, &c.forget, x, hidden, state)?;
    let forget = m.node("Sigmoid", &[forget], &[])?;
    let entry = match &c.entry {
        Some(g) => {
            let sum = gate(m, g, x, hidden, state)?;
            m.node("Sigmoid", &[sum], &[])?
        }
        None => {
            let one = m.scalar(1.0);
            m.node("Sub", &[one, forget], &[])?
        }
    };
    let fresh = gate(m, &c.candidate, x, hidden, state)?;
    let fresh = activation(m, fresh, c.function)?;
    let (kept, taken) = (m.node("Mul", &[forget, state], &[])?, m.node("Mul", &[entry, fresh], &[])?);
    let next = m.node("Add", &[kept, taken], &[])?;
    let next = bounded(m, next, c.cell_clip)?;
    let exit = gate(m, &c.exit, x, hidden, next)?;
    let exit = m.node("Sigmoid", &[exit], &[])?;
    let shown = activation(m, next, c.function)?;
    let mut out = m.node("Mul", &[exit, shown], &[])?;
    if let Some((w, bias)) = c.projection {
        out = product(m, out, w)?;
        out = plus(m, out, bias)?;
        out = bounded(m, out, c.projection_clip)?;
    }
    Ok((out, next))
}

/// The layer over `[T, B, I]`: all hidden states `[T, B, H]` in the order of time, the last one and the last cell state.
fn layer(
    m: &mut Importer<'_>,
    c: &Cell,
    x: ValueId,
    hidden: ValueId,
    state: ValueId,
    backward: bool,
) -> Result<[ValueId; 3], ImportError> {
    if let Some(made) = whole(m, c, x, hidden, state, backward)? {
        return Ok(made);
    }
    let xd = m.dims_of(x);
    let (mut hidden, mut state) = (hidden, state);
    let mut all = Vec::with_capacity(xd[0]);
    for t in 0..xd[0] {
        let t = if backward { xd[0] - 1 - t } else { t };
        let now = m.slice(x, 0, t, t + 1)?;
        let now = reshape(m, now, &xd[1..])?;
        (hidden, state) = step(m, c, now, hidden, state)?;
        let dims = m.dims_of(hidden);
        all.push(reshape(m, hidden, &[1, dims[0], dims[1]])?);
    }
    if backward {
        all.reverse();
    }
    let all = m.node("Concat", &all, &[("axis", Attr::Int(0))])?;
    Ok([all, hidden, state])
}

/// A layer as ONNX has it, which becomes one step where that suits; `None` when it does more.
fn whole(
    m: &mut Importer<'_>,
    c: &Cell,
    x: ValueId,
    hidden: ValueId,
    state: ValueId,
    backward: bool,
) -> Result<Option<[ValueId; 3]>, ImportError> {
    let Some(entry) = &c.entry else { return Ok(None) };
    // In the order that ONNX has: input, output, forget, cell.
    let gates = [entry, &c.exit, &c.forget, &c.candidate];
    let peepholes = [entry, &c.exit, &c.forget].map(|g| g.peephole);
    let ordinary = c.projection.is_none()
        && c.cell_clip <= 0.0
        && c.function == 4
        && gates.iter().all(|g| g.norm.is_none() && g.bias.is_some() == entry.bias.is_some())
        && (peepholes.iter().all(Option::is_none) || peepholes.iter().all(Option::is_some));
    if !ordinary {
        return Ok(None);
    }
    let units = m.dims_of(hidden)[1];
    let join =
        |m: &mut Importer<'_>, parts: Vec<ValueId>| m.node("Concat", &parts, &[("axis", Attr::Int(0))]);
    let lead = |m: &mut Importer<'_>, v: ValueId| {
        let dims: Vec<usize> = [1].into_iter().chain(m.dims_of(v)).collect();
        reshape(m, v, &dims)
    };
    let w = join(m, gates.map(|g| g.input).to_vec())?;
    let r = join(m, gates.map(|g| g.hidden).to_vec())?;
    let bias = match gates.map(|g| g.bias) {
        [Some(i), Some(o), Some(f), Some(c)] => {
            let own = join(m, vec![i, o, f, c])?;
            let zero = m.scalar(0.0);
            let list = m.list(&[4 * units as i64]);
            let none = m.node("Expand", &[zero, list], &[])?;
            let both = join(m, vec![own, none])?;
            Some(lead(m, both)?)
        }
        _ => None,
    };
    let peephole = match peepholes {
        [Some(i), Some(o), Some(f)] => {
            let all = join(m, vec![i, o, f])?;
            Some(lead(m, all)?)
        }
        _ => None,
    };
    let (w, r, hidden, state) = (lead(m, w)?, lead(m, r)?, lead(m, hidden)?, lead(m, state)?);
    let attrs = [
        ("hidden_size", Attr::Int(units as i64)),
        ("direction", Attr::Str(if backward { "reverse" } else { "forward" }.to_owned())),
    ];
    let inputs = [Some(x), Some(w), Some(r), bias, None, Some(hidden), Some(state), peephole];
    let made = m.emit_many("LSTM", &inputs, &attrs, 3)?;
    let [t, _, b, h] = m.dims_of(made[0])[..] else { return Err(m.err("gives no sequence")) };
    Ok(Some([reshape(m, made[0], &[t, b, h])?, reshape(m, made[1], &[b, h])?, reshape(m, made[2], &[b, h])?]))
}

const LSTM: Ports = Ports { input: 1, hidden: 5, peephole: 9, bias: 12, projection: 16, norm: Some(20) };

/// Inputs: values `[B, I]`, then as [`LSTM`] says, the hidden state 18 and the cell state 19. Fields: activation 0,
/// cell_clip 1, proj_clip 2, kernel_type 3 (0: full, 1: basic).
fn lstm(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    if m.option(op, 3, 0i8)? != 0 {
        return basic_lstm(m, op);
    }
    let x = matrix(m, op, 0)?;
    let c = cell(m, op, &LSTM)?;
    let (hidden, state) = (matrix(m, op, 18)?, matrix(m, op, 19)?);
    let (hidden, state) = step(m, &c, x, hidden, state)?;
    keep(m, op, 18, hidden)?;
    keep(m, op, 19, state)?;
    m.finish(op, 0, hidden, Form::Plain, 0)
}

/// The oldest form. Inputs: values `[B, I]`, the output before, weights `[4 * H, I + H]`, biases, the cell state before.
/// Outputs: hidden state, cell state.
fn basic_lstm(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, before, w) = (matrix(m, op, 0)?, matrix(m, op, 1)?, matrix(m, op, 2)?);
    let (bias, state) = (needed(m, op, 3)?, matrix(m, op, 4)?);
    let both = m.node("Concat", &[x, before], &[("axis", Attr::Int(1))])?;
    let all = product(m, both, w)?;
    let all = m.node("Add", &[all, bias], &[])?;
    let units = m.dims_of(state)[1];
    let mut parts = Vec::new();
    for i in 0..4 {
        let part = m.slice(all, 1, i * units, (i + 1) * units)?;
        parts.push(m.node(if i == 1 { "Tanh" } else { "Sigmoid" }, &[part], &[])?);
    }
    let (taken, kept) = (m.node("Mul", &[parts[0], parts[1]], &[])?, m.node("Mul", &[parts[2], state], &[])?);
    let next = m.node("Add", &[taken, kept], &[])?;
    let shown = m.node("Tanh", &[next], &[])?;
    let out = m.node("Mul", &[parts[3], shown], &[])?;
    m.finish(op, 0, out, Form::Plain, 0)?;
    if op.outputs.len() > 1 {
        m.finish(op, 1, next, Form::Plain, 0)?;
    }
    Ok(())
}

/// What the next run finds in the state that is input `i`.
fn keep(m: &mut Importer<'_>, op: &Operator<'_>, i: usize, value: ValueId) -> Done {
    let t = m.input(op, i)?;
    m.keep(t, value)
}

/// Values `[T, B, I]`, transposed where the batch leads.
fn sequence(m: &mut Importer<'_>, op: &Operator<'_>, time_major: bool) -> Result<ValueId, ImportError> {
    let x = needed(m, op, 0)?;
    let dims = m.dims_of(x);
    if dims.len() != 3 || dims[0] == 0 {
        return Err(m.err(format!("needs a sequence of 3 dimensions, it is {dims:?}")));
    }
    if time_major { Ok(x) } else { m.transpose(x, &[1, 0, 2]) }
}

fn give_sequence(m: &mut Importer<'_>, op: &Operator<'_>, i: usize, y: ValueId, time_major: bool) -> Done {
    let y = if time_major { y } else { m.transpose(y, &[1, 0, 2])? };
    m.finish(op, i, y, Form::Plain, 0)
}

/// As [`lstm`], over a sequence. Fields: activation 0, cell_clip 1, proj_clip 2, time_major 3.
fn sequence_lstm(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let time_major = m.option(op, 3, false)?;
    let x = sequence(m, op, time_major)?;
    let c = cell(m, op, &LSTM)?;
    let (hidden, state) = (matrix(m, op, 18)?, matrix(m, op, 19)?);
    let [all, hidden, state] = layer(m, &c, x, hidden, state, false)?;
    keep(m, op, 18, hidden)?;
    keep(m, op, 19, state)?;
    give_sequence(m, op, 0, all, time_major)
}

/// Two directions, the ports of the second behind those of the first. States: 35 to 38. Fields: activation 0,
/// cell_clip 1, proj_clip 2, merge_outputs 3, time_major 4.
fn both_ways_lstm(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let time_major = m.option(op, 4, true)?;
    if (39..op.inputs.len()).any(|i| op.inputs[i] != -1) {
        return Err(m.err("has auxiliary inputs, which are not supported"));
    }
    let x = sequence(m, op, time_major)?;
    let mut all = Vec::new();
    for (i, first) in [1, 18].into_iter().enumerate() {
        let ports = Ports {
            input: first,
            hidden: first + 4,
            peephole: first + 8,
            bias: first + 11,
            projection: first + 15,
            norm: None,
        };
        let c = cell(m, op, &ports)?;
        let at = 35 + 2 * i;
        let (hidden, state) = (matrix(m, op, at)?, matrix(m, op, at + 1)?);
        let [y, hidden, state] = layer(m, &c, x, hidden, state, i == 1)?;
        keep(m, op, at, hidden)?;
        keep(m, op, at + 1, state)?;
        all.push(y);
    }
    if m.option(op, 3, false)? {
        let y = m.node("Concat", &all, &[("axis", Attr::Int(2))])?;
        return give_sequence(m, op, 0, y, time_major);
    }
    give_sequence(m, op, 0, all[0], time_major)?;
    give_sequence(m, op, 1, all[1], time_major)
}

/// `function(x W' + h R' + bias)`
fn rnn_step(
    m: &mut Importer<'_>,
    op: &Operator<'_>,
    x: ValueId,
    hidden: ValueId,
    function: i8,
) -> Result<ValueId, ImportError> {
    let (w, r, bias) = (matrix(m, op, 1)?, matrix(m, op, 2)?, needed(m, op, 3)?);
    let (a, b) = (product(m, x, w)?, product(m, hidden, r)?);
    let sum = m.node("Add", &[a, b], &[])?;
    let sum = m.node("Add", &[sum, bias], &[])?;
    activation(m, sum, function)
}

/// Inputs: values `[B, I]`, weights `[H, I]`, recurrent weights `[H, H]`, bias, the hidden state. Field: activation 0.
fn rnn(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, hidden) = (matrix(m, op, 0)?, matrix(m, op, 4)?);
    let function = m.option(op, 0, 0i8)?;
    let y = rnn_step(m, op, x, hidden, function)?;
    keep(m, op, 4, y)?;
    m.finish(op, 0, y, Form::Plain, 0)
}

/// As [`rnn`], over a sequence. Fields: time_major 0, activation 1.
fn sequence_rnn(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (time_major, function) = (m.option(op, 0, false)?, m.option(op, 1, 0i8)?);
    let x = sequence(m, op, time_major)?;
    let xd = m.dims_of(x);
    let mut hidden = matrix(m, op, 4)?;
    let mut all = Vec::with_capacity(xd[0]);
    for t in 0..xd[0] {
        let now = m.slice(x, 0, t, t + 1)?;
        let now = reshape(m, now, &xd[1..])?;
        hidden = rnn_step(m, op, now, hidden, function)?;
        let dims = m.dims_of(hidden);
        all.push(reshape(m, hidden, &[1, dims[0], dims[1]])?);
    }
    keep(m, op, 4, hidden)?;
    let all = m.node("Concat", &all, &[("axis", Attr::Int(0))])?;
    give_sequence(m, op, 0, all, time_major)
}

/// A convolution along time of rank-reduced features. Inputs: values `[B, I]`, feature weights `[F, I]`, time weights
/// `[F, M]`, bias `[F / rank]`, the state `[B, M * F]`: the last M features. Fields: rank 0, activation 1.
fn svdf(m: &mut Importer<'_>, op: &Operator<'_>) -> Done {
    let (x, w, time) = (matrix(m, op, 0)?, matrix(m, op, 1)?, matrix(m, op, 2)?);
    let (bias, state) = (real(m, op, 3)?, matrix(m, op, 4)?);
    let (batch, filters, memory) = (m.dims_of(x)[0], m.dims_of(time)[0], m.dims_of(time)[1]);
    let rank = usize::try_from(m.option(op, 0, 0i32)?).ok().filter(|&r| r > 0 && filters % r == 0);
    let Some(rank) = rank else { return Err(m.err(format!("has {filters} filters for its rank"))) };
    let fresh = product(m, x, w)?;
    let fresh = reshape(m, fresh, &[batch, filters, 1])?;
    let wide = reshape(m, state, &[batch, filters, memory])?;
    let old = m.slice(wide, 2, 1, memory)?;
    let now = m.node("Concat", &[old, fresh], &[("axis", Attr::Int(2))])?;
    let dims = m.dims_of(state);
    let next = reshape(m, now, &dims)?;
    keep(m, op, 4, next)?;
    let weighted = m.node("Mul", &[now, time], &[])?;
    let grouped = reshape(m, weighted, &[batch, filters / rank, rank * memory])?;
    let axes = m.list(&[2]);
    let y = m.node("ReduceSum", &[grouped, axes], &[("keepdims", Attr::Int(0))])?;
    let y = plus(m, y, bias)?;
    let fused = m.option(op, 1, 0i8)?;
    m.finish(op, 0, y, Form::Plain, fused)
}
