//! Attention as one step: `softmax(q k * scale + mask) v`, which exporters spell out, with the transposes that put heads
//! before rows and back.
//!
//! Only steps of floating point are taken; in s8 the products stay steps of their own.

#[cfg(test)]
mod tests;

use cygnet_format::op::{self, BinaryKind, Epilogue, Op, UnaryKind};
use cygnet_format::program::DType;

use crate::graph::absorb;
use crate::lir::{Const, Id, Kind, Lir, Step};

/// Axes of `[B, S, H, D]` in the order `[B, H, S, D]`, and back.
const HEADS_FIRST: [usize; 4] = [0, 2, 1, 3];
/// Axes of `[B, S, H, D]` in the order `[B, H, D, S]`.
const COLUMNS: [usize; 4] = [0, 2, 3, 1];

/// Replaces each attention that is spelled out.
pub fn fuse(lir: &mut Lir) {
    let mut at = 0;
    while at < lir.steps.len() {
        if let Some(found) = Found::at(lir, at) {
            found.replace(lir);
        }
        at += 1;
    }
    lir.drop_dead();
}

/// An attention that is spelled out. Queries `[B, H, M, D]`, keys `[B, H, N, D]` or, `transposed`, `[B, H, D, N]`, values
/// `[B, H, N, E]`.
struct Found {
    name: String,
    q: Id,
    k: Id,
    transposed: bool,
    v: Id,
    /// The same with rows before heads, `[B, S, H, D]`, where they are made of such.
    rows: [Option<Id>; 3],
    /// Dimensions of the mask with leading ones, `[.., .., .., N]`.
    mask: Option<(Id, [usize; 4])>,
    scale: f32,
    /// The step that has the result.
    last: usize,
}

/// Who computes and who reads each tensor.
struct Uses<'a> {
    lir: &'a Lir,
    producers: Vec<Option<usize>>,
    readers: Vec<Vec<usize>>,
}

impl<'a> Uses<'a> {
    fn of(lir: &'a Lir) -> Self {
        Self { lir, producers: lir.producers(), readers: lir.readers() }
    }

    fn producer(&self, id: Id) -> Option<&'a Step> {
        self.producers[id].map(|i| &self.lir.steps[i])
    }

    /// The step that alone reads a tensor.
    fn only_reader(&self, id: Id) -> Option<usize> {
        match self.readers[id].as_slice() {
            [one] if self.lir.results().all(|o| o != id) => Some(*one),
            _ => None,
        }
    }

    fn dims(&self, id: Id) -> &'a [usize] {
        &self.lir.tensors[id].dims
    }

    /// The factor that a tensor is multiplied by, and what is, where nobody else reads the product.
    fn scaled(&self, id: Id) -> Option<(f32, Id)> {
        let step = self.producer(id).filter(|_| self.only_reader(id).is_some())?;
        let Kind::Op(Op::Binary(p)) = &step.kind else { return None };
        let (a, b) = (step.inputs[0]?, step.inputs[1]?);
        let factor = match self.lir.tensors[b].constant.as_deref()? {
            Const::F32(v) if v.len() == 1 => v[0],
            Const::F16(v) if v.len() == 1 => v[0].to_f32(),
            _ => return None,
        };
        let plain =
            p.kind == BinaryKind::Mul && p.epilogue == Epilogue::NONE && self.dims(a) == self.dims(id);
        (plain && factor.is_finite()).then_some((factor, a))
    }

    /// What a tensor is the transpose of.
    fn moved(&self, id: Id, order: &[usize]) -> Option<Id> {
        let step = self.producer(id)?;
        let is = matches!(&step.kind, Kind::Transpose(o) if o == order);
        step.inputs[0].filter(|_| is)
    }
}

impl Found {
    /// The attention whose softmax is step `at`.
    fn at(lir: &Lir, at: usize) -> Option<Self> {
        let Kind::Op(Op::Softmax(softmax)) = &lir.steps[at].kind else { return None };
        let uses = Uses::of(lir);
        let (x, p) = (lir.steps[at].inputs[0]?, lir.steps[at].output);
        let dims = uses.dims(x);
        let float = matches!(lir.tensors[x].dtype, DType::F32 | DType::F16);
        if softmax.log || !float || dims.len() != 4 || softmax.axis as usize != 3 {
            return None;
        }
        let p = without_nan(&uses, p).unwrap_or(p);
        let last = uses.only_reader(p)?;
        let Kind::Op(Op::MatMul(product)) = &lir.steps[last].kind else { return None };
        let plain = !product.transpose_b && product.scale == 1.0 && product.epilogue == Epilogue::NONE;
        let v = lir.steps[last].inputs[1].filter(|_| plain && lir.steps[last].inputs[0] == Some(p))?;

        uses.only_reader(x)?;
        let (mut x, mut mask, mut scale) = (x, None, 1.0);
        if let Some((scores, m)) = masked(&uses, x) {
            uses.only_reader(scores)?;
            (x, mask) = (scores, Some(m));
        }
        if let Some((factor, scores)) = uses.scaled(x) {
            uses.only_reader(scores)?;
            (x, scale) = (scores, factor);
        }
        let step = uses.producer(x)?;
        let Kind::Op(Op::MatMul(product)) = &step.kind else { return None };
        if product.epilogue != Epilogue::NONE {
            return None;
        }
        scale *= product.scale;
        let transposed = !product.transpose_b;
        let mut unscaled = |id: Id| match uses.scaled(id) {
            Some((factor, of)) => {
                scale *= factor;
                of
            }
            None => id,
        };
        let (q, k) = (unscaled(step.inputs[0]?), unscaled(step.inputs[1]?));
        let keys = if transposed { &COLUMNS } else { &HEADS_FIRST };
        let mut rows = [uses.moved(q, &HEADS_FIRST), uses.moved(k, keys), uses.moved(v, &HEADS_FIRST)];
        if rows.iter().all(Option::is_some) {
            // A factor may be before the transpose too.
            rows[..2].iter_mut().for_each(|id| *id = id.map(&mut unscaled));
        }
        let name = lir.steps[last].name.clone();
        let found = Self { name, q, k, transposed, v, rows, mask, scale, last };
        (scale.is_finite() && found.suits(&uses, dims)).then_some(found)
    }

    /// Whether the operands are of one type, have the same batches and heads, and there is room for a row of scores.
    fn suits(&self, uses: &Uses<'_>, scores: &[usize]) -> bool {
        let operands = [Some(self.q), Some(self.k), Some(self.v), self.mask.map(|m| m.0)];
        let dtype = uses.lir.tensors[uses.lir.steps[self.last].output].dtype;
        operands.iter().flatten().all(|&id| uses.lir.tensors[id].dtype == dtype)
            && [self.q, self.k, self.v]
                .iter()
                .all(|&id| uses.dims(id).len() == 4 && uses.dims(id)[..2] == scores[..2])
            && cygnet_kernels::attention::fits(scores[3], uses.dims(self.v)[3])
    }

    fn replace(self, lir: &mut Lir) {
        let uses = Uses::of(lir);
        let y = lir.steps[self.last].output;
        let [b, h, m, e] = four(uses.dims(y));
        let all: Option<Vec<Id>> = self.rows.into_iter().collect();
        let mut from = all.unwrap_or_else(|| vec![self.q, self.k, self.v]);
        from.extend(self.mask.map(|m| m.0));
        let sources = sources(lir, self.last, &from);
        let mut new = New { lir, name: &self.name, sources, steps: Vec::new() };
        let (q, k, v, heads) = match self.rows {
            [Some(q), Some(k), Some(v)] => (q, k, v, h),
            // Heads are batches where they lie so; else rows come before heads.
            _ if self.mask.is_none_or(|(_, dims)| dims[..2] == [1, 1]) => {
                let k = if self.transposed { new.transpose(self.k, &[0, 1, 3, 2]) } else { self.k };
                (self.q, k, self.v, 1)
            }
            _ => {
                // Back from [B, H, D, N] to [B, N, H, D].
                let keys = if self.transposed { [0, 3, 1, 2] } else { HEADS_FIRST };
                let k = self.rows[1].unwrap_or_else(|| new.transpose(self.k, &keys));
                let q = self.rows[0].unwrap_or_else(|| new.transpose(self.q, &HEADS_FIRST));
                (q, k, self.rows[2].unwrap_or_else(|| new.transpose(self.v, &HEADS_FIRST)), h)
            }
        };
        let batches = b * h / heads;
        let mut inputs =
            vec![new.matrix(q, batches, heads), new.matrix(k, batches, heads), new.matrix(v, batches, heads)];
        if let Some((mask, dims)) = self.mask {
            inputs.push(new.view(mask, &dims));
        }
        let dtype = new.lir.tensors[y].dtype;
        let result = new.lir.add(format!("{}:heads", self.name), &[batches, m, heads * e], dtype);
        let attention = Op::Attention(op::Attention { heads: heads as u32, scale: self.scale });
        new.push(Kind::Op(attention), &inputs, result);
        if heads == h {
            let parted = new.view(result, &[b, m, h, e]);
            new.push(Kind::Transpose(HEADS_FIRST.to_vec()), &[parted], y);
        } else {
            new.push(Kind::View, &[result], y);
        }
        let steps = new.steps;
        lir.steps.splice(self.last..=self.last, steps);
        join_transposes(lir, y);
    }
}

/// What the steps are there for that compute `last` from these tensors.
fn sources(lir: &Lir, last: usize, from: &[Id]) -> Vec<u32> {
    let producers = lir.producers();
    let (mut sources, mut open, mut seen) = (Vec::new(), vec![last], vec![false; lir.steps.len()]);
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut seen[i], true) {
            absorb(&mut sources, &lir.steps[i].sources);
            let others = lir.steps[i].inputs.iter().flatten().filter(|id| !from.contains(id));
            open.extend(others.filter_map(|&id| producers[id]));
        }
    }
    sources
}

/// `p` with 0 where it is NaN, as exporters guard rows that see no key; the step gives such rows 0 by itself.
fn without_nan(uses: &Uses<'_>, p: Id) -> Option<Id> {
    let is = |id: Id, wanted: &dyn Fn(&Op) -> bool| {
        uses.producer(id).filter(|s| matches!(&s.kind, Kind::Op(op) if wanted(op)))
    };
    let [equal, select] = uses.readers[p][..] else { return None };
    let Step { kind: Kind::Op(Op::Select(_)), inputs, output, .. } = &uses.lir.steps[select] else {
        return None;
    };
    let not = is(inputs[0]?, &|op| matches!(op, Op::Map(m) if m.unary.kind == UnaryKind::Not))?;
    let same = is(not.inputs[0]?, &|op| matches!(op, Op::Binary(b) if b.kind == BinaryKind::Equal))?;
    let zero = match uses.lir.tensors[inputs[1]?].constant.as_deref()? {
        Const::F32(v) => v.iter().all(|&v| v == 0.0),
        Const::F16(v) => v.iter().all(|v| v.to_f32() == 0.0),
        _ => false,
    };
    let guards = same.inputs == [Some(p), Some(p)] && same.output == uses.lir.steps[equal].output;
    (zero && guards && inputs[2] == Some(p) && uses.only_reader(inputs[0]?).is_some()).then_some(*output)
}

/// The scores and the mask that are added to `x`; the mask with leading ones.
fn masked(uses: &Uses<'_>, x: Id) -> Option<(Id, (Id, [usize; 4]))> {
    let step = uses.producer(x)?;
    let Kind::Op(Op::Binary(p)) = &step.kind else { return None };
    if p.kind != BinaryKind::Add || p.epilogue != Epilogue::NONE {
        return None;
    }
    let whole = uses.dims(x);
    let (a, b) = (step.inputs[0]?, step.inputs[1]?);
    let product = |id: Id| uses.producer(id).is_some_and(|s| matches!(s.kind, Kind::Op(Op::MatMul(_))));
    let scores = |id: Id| product(id) || uses.scaled(id).is_some_and(|(_, of)| product(of));
    let (of, mask) = if scores(a) { (a, b) } else { (b, a) };
    let mut dims = [1; 4];
    let own = uses.dims(mask);
    dims[4_usize.checked_sub(own.len())?..].copy_from_slice(own);
    (uses.dims(of) == whole && dims[3] == whole[3]).then_some((of, (mask, dims)))
}

fn four(dims: &[usize]) -> [usize; 4] {
    std::array::from_fn(|d| dims[d])
}

/// Steps that take another's place.
struct New<'a> {
    lir: &'a mut Lir,
    name: &'a str,
    /// What the steps that they replace were there for.
    sources: Vec<u32>,
    steps: Vec<Step>,
}

impl New<'_> {
    fn push(&mut self, kind: Kind, inputs: &[Id], output: Id) {
        let inputs = inputs.iter().map(|&id| Some(id)).collect();
        let sources = self.sources.clone();
        self.steps.push(Step { name: self.name.to_owned(), kind, inputs, output, sources });
    }

    fn made(&mut self, from: Id, kind: Kind, dims: &[usize]) -> Id {
        let t = &self.lir.tensors[from];
        let (name, dtype) = (format!("{}:view", t.name), t.dtype);
        let to = self.lir.add(name, dims, dtype);
        self.push(kind, &[from], to);
        to
    }

    fn transpose(&mut self, from: Id, order: &[usize]) -> Id {
        let dims: Vec<usize> = order.iter().map(|&d| self.lir.tensors[from].dims[d]).collect();
        self.made(from, Kind::Transpose(order.to_vec()), &dims)
    }

    fn view(&mut self, from: Id, dims: &[usize]) -> Id {
        if self.lir.tensors[from].dims == dims {
            return from;
        }
        if let Some(c) = self.lir.tensors[from].constant.clone() {
            let name = self.lir.tensors[from].name.clone();
            return self.lir.add_const(name, dims, (*c).clone());
        }
        self.made(from, Kind::View, dims)
    }

    /// `[batches, rows, columns of all heads]`.
    fn matrix(&mut self, from: Id, batches: usize, heads: usize) -> Id {
        let t = &self.lir.tensors[from];
        let dims = [batches, t.len() / batches / heads / t.dims[3], heads * t.dims[3]];
        self.view(from, &dims)
    }
}

/// Readers of `y`, a transpose, that transpose it back read what it was made of.
fn join_transposes(lir: &mut Lir, y: Id) {
    let uses = Uses::of(lir);
    let Some(of) = uses.moved(y, &HEADS_FIRST) else { return };
    let back: Vec<Id> = uses.readers[y]
        .iter()
        .filter(|&&r| matches!(&lir.steps[r].kind, Kind::Transpose(o) if *o == HEADS_FIRST))
        .map(|&r| lir.steps[r].output)
        .filter(|&id| lir.results().all(|o| o != id))
        .collect();
    for input in lir.steps.iter_mut().flat_map(|s| &mut s.inputs) {
        if input.is_some_and(|id| back.contains(&id)) {
            *input = Some(of);
        }
    }
}
