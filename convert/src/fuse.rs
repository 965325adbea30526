//! Rewrites of the lowered graph that save steps and change no result.

use cygnet_format::op::{Epilogue, Op, Unary, UnaryKind};
use cygnet_format::program::DType;

use crate::graph::absorb;
use crate::lir::{Id, Kind, Lir, Step};

/// The epilogue of an operation that has one.
fn epilogue_mut(op: &mut Op) -> Option<&mut Epilogue> {
    match op {
        Op::Conv(p) => Some(&mut p.epilogue),
        Op::DepthwiseConv(p) => Some(&mut p.epilogue),
        Op::ConvTranspose(p) => Some(&mut p.epilogue),
        Op::MatMul(p) => Some(&mut p.epilogue),
        Op::BlockConv(p) => Some(&mut p.epilogue),
        Op::Binary(p) => Some(&mut p.epilogue),
        _ => None,
    }
}

/// Whether a step's result is read once, by the step at `reader`, and nowhere else.
pub(crate) fn only_reader(lir: &Lir, readers: &[Vec<usize>], id: Id) -> Option<usize> {
    let is_output = lir.results().any(|o| o == id);
    match (readers[id].as_slice(), is_output) {
        ([one], false) => Some(*one),
        _ => None,
    }
}

/// Folds each unary step that `wanted` accepts into the one that computes its input, where that can apply it
/// before it stores.
fn fold_unary(lir: &mut Lir, wanted: impl Fn(&Unary, &Epilogue) -> Option<Epilogue>) {
    let readers = lir.readers();
    let mut gone = vec![false; lir.steps.len()];
    for i in 0..lir.steps.len() {
        // Follow the chain: a step may take up several unary functions in turn.
        while let Some(next) = only_reader(lir, &readers, lir.steps[i].output) {
            let Kind::Op(Op::Map(map)) = &lir.steps[next].kind else { break };
            let (unary, output) = (map.unary, lir.steps[next].output);
            let dtypes = [output, lir.steps[i].output].map(|id| lir.tensors[id].dtype);
            let floats = dtypes == [DType::F32; 2] || dtypes == [DType::F16; 2];
            let Kind::Op(op) = &mut lir.steps[i].kind else { break };
            let Some(folded) = epilogue_mut(op).filter(|_| floats).and_then(|e| wanted(&unary, e)) else {
                break;
            };
            *epilogue_mut(op).expect("an epilogue") = folded;
            lir.steps[i].output = output;
            take_up(lir, i, next);
            gone[next] = true;
        }
    }
    let mut gone = gone.into_iter();
    lir.steps.retain(|_| !gone.next().unwrap_or(false));
}

/// Step `i` is there for what step `gone` was.
fn take_up(lir: &mut Lir, i: usize, gone: usize) {
    let more = std::mem::take(&mut lir.steps[gone].sources);
    absorb(&mut lir.steps[i].sources, &more);
}

/// Bounds (`Relu`, `Clip`) become part of the step before them: done before calibration, so that ranges are those
/// that remain.
pub fn fold_bounds(lir: &mut Lir) {
    fold_unary(lir, |unary, before| {
        if before.unary.kind != UnaryKind::Identity {
            return None;
        }
        let (lo, hi) = match unary.kind {
            UnaryKind::Relu => (0.0, f32::INFINITY),
            UnaryKind::Clip => (unary.a, unary.b),
            _ => return None,
        };
        // min(max(x, lo), hi) of a result already inside [before.lo, before.hi].
        let within = |x: f32| x.max(lo).min(hi);
        (lo <= hi).then(|| Epilogue { lo: within(before.lo), hi: within(before.hi), unary: Unary::IDENTITY })
    });
}

/// Any other unary function of a floating-point result becomes part of the step that computes it.
pub fn fold_functions(lir: &mut Lir) {
    fold_unary(lir, |unary, before| {
        (before.unary.kind == UnaryKind::Identity).then_some(Epilogue { unary: *unary, ..*before })
    });
}

/// An s8 table behind a convolution becomes part of it.
pub fn fold_tables(lir: &mut Lir) {
    let readers = lir.readers();
    let mut gone = vec![false; lir.steps.len()];
    for i in 0..lir.steps.len() {
        let Some(next) = only_reader(lir, &readers, lir.steps[i].output) else { continue };
        let takes =
            matches!(lir.steps[i].kind, Kind::Op(Op::Conv(_) | Op::DepthwiseConv(_) | Op::ConvTranspose(_)));
        let is_table = matches!(lir.steps[next].kind, Kind::Op(Op::Table(_)));
        let s8 = lir.tensors[lir.steps[i].output].dtype == DType::S8;
        if !(takes && is_table && s8) {
            continue;
        }
        let (table, output) = (lir.steps[next].inputs[1], lir.steps[next].output);
        // The convolution requantizes to the table's domain, so its output keeps the scale it had before.
        let step = &mut lir.steps[i];
        step.inputs.resize(TABLE_INPUT + 1, None);
        step.inputs[TABLE_INPUT] = table;
        step.output = output;
        take_up(lir, i, next);
        gone[next] = true;
    }
    let mut gone = gone.into_iter();
    lir.steps.retain(|_| !gone.next().unwrap_or(false));
}

/// Quantized bytes made real and quantized again by the same scale are the bytes they were.
pub fn undo_conversions(lir: &mut Lir) {
    let producers = lir.producers();
    let mut home: Vec<Id> = (0..lir.tensors.len()).collect();
    let mut ports = vec![false; lir.tensors.len()];
    lir.ports().for_each(|id| ports[id] = true);
    let converted = |step: &Step| match step.kind {
        Kind::Op(Op::Convert(_)) => step.inputs[0],
        _ => None,
    };
    for i in 0..lir.steps.len() {
        for slot in lir.steps[i].inputs.iter_mut().flatten() {
            *slot = home[*slot];
        }
        let output = lir.steps[i].output;
        let before = converted(&lir.steps[i]).and_then(|real| producers[real]);
        let Some(bytes) = before.and_then(|p| converted(&lir.steps[p])) else { continue };
        let [a, b] = [bytes, output].map(|id| &lir.tensors[id]);
        let same = a.quant.is_some() && a.quant == b.quant && a.dtype == b.dtype && a.dims == b.dims;
        // A result has a place of its own, which is no other port's.
        let result = ports[output];
        if same && !(result && ports[bytes]) {
            ports[bytes] |= result;
            home[output] = bytes;
        }
    }
    lir.outputs.iter_mut().for_each(|(_, id)| *id = home[*id]);
    lir.states.iter_mut().for_each(|s| s.output = home[s.output]);
    lir.drop_dead();
}

/// Position of the table among a convolution's inputs.
pub const TABLE_INPUT: usize = 5;

/// Concatenations of neighbouring slices read what was sliced: `Concat(x[0..a], x[a..n], y)` is `Concat(x, y)`.
pub fn rejoin_slices(lir: &mut Lir) {
    let producers = lir.producers();
    for i in 0..lir.steps.len() {
        let Kind::Concat { axis } = lir.steps[i].kind else { continue };
        let inputs: Vec<Id> = lir.steps[i].inputs.iter().flatten().copied().collect();
        let mut joined: Vec<Id> = Vec::new();
        let mut at = 0;
        while at < inputs.len() {
            let whole = whole_of(lir, &producers, &inputs[at..], axis);
            match whole {
                Some((source, count)) => {
                    joined.push(source);
                    at += count;
                }
                None => {
                    joined.push(inputs[at]);
                    at += 1;
                }
            }
        }
        lir.steps[i].inputs = joined.into_iter().map(Some).collect();
    }
    lir.drop_dead();
}

/// The tensor that the first of `inputs` are consecutive slices of, from its start to its end along `axis`.
fn whole_of(lir: &Lir, producers: &[Option<usize>], inputs: &[Id], axis: usize) -> Option<(Id, usize)> {
    let slice = |id: Id| -> Option<(Id, usize)> {
        let Step { kind: Kind::Slice { starts, steps }, inputs, .. } = &lir.steps[producers[id]?] else {
            return None;
        };
        let source = inputs[0]?;
        let only_axis = (0..starts.len()).all(|d| {
            steps[d] == 1
                && (d == axis || (starts[d] == 0 && lir.tensors[id].dims[d] == lir.tensors[source].dims[d]))
        });
        only_axis.then_some((source, starts[axis]))
    };
    let (source, _) = slice(inputs[0])?;
    let mut at = 0;
    for (count, &id) in inputs.iter().enumerate() {
        match slice(id) {
            Some((s, start)) if s == source && start == at => at += lir.tensors[id].dims[axis],
            _ => return None,
        }
        if at == lir.tensors[source].dims[axis] {
            return Some((source, count + 1));
        }
    }
    None
}
