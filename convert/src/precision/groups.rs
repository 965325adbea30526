//! Tensors that must share one scale and zero point.

use cygnet_format::op::{Op, PoolKind, ReduceKind};
use cygnet_format::program::{DType, Quant};

use super::choose::Plan;
use crate::lir::{Id, Kind, Lir, Step};
use crate::ranges::Range;

/// How many times the range of a concatenation's input the whole may be before that input keeps its own scale, to be
/// requantized where it is joined.
const UNLIKE: f32 = 8.0;

/// Disjoint sets of tensors.
struct Sets(Vec<Id>);

impl Sets {
    fn find(&mut self, id: Id) -> Id {
        let parent = self.0[id];
        if parent == id {
            return id;
        }
        let root = self.find(parent);
        self.0[id] = root;
        root
    }

    fn union(&mut self, a: Id, b: Id) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// Whether the step's output keeps the scale of its first input.
fn keeps_scale(step: &Step) -> bool {
    if matches!(step.kind, Kind::Concat { .. }) {
        return false;
    }
    step.kind.moves()
        || match &step.kind {
            Kind::Op(Op::Pool(p)) => p.kind == PoolKind::Max,
            Kind::Op(Op::Reduce(r)) => matches!(r.kind, ReduceKind::Max | ReduceKind::Min),
            Kind::Op(Op::Resize(_)) => true,
            _ => false,
        }
}

/// For each tensor the first of those that share its scale.
pub fn shared(lir: &Lir, plan: &Plan, ranges: &[Option<Range>]) -> Vec<Id> {
    let mut sets = sets(lir, plan, ranges);
    (0..lir.tensors.len()).map(|id| sets.find(id)).collect()
}

fn sets(lir: &Lir, plan: &Plan, ranges: &[Option<Range>]) -> Sets {
    let mut sets = Sets((0..lir.tensors.len()).collect());
    let s8 = |i: usize| plan.types[i] == DType::S8 && !plan.real[i] && !plan.given.step(i);
    for (_, step) in lir.steps.iter().enumerate().filter(|&(i, s)| s8(i) && keeps_scale(s)) {
        if let Some(x) = step.inputs[0] {
            sets.union(x, step.output);
        }
    }
    // The range of each set so far, to tell unlike inputs of concatenations.
    let mut known = vec![None; lir.tensors.len()];
    merge_ranges(&mut sets, ranges, &mut known);
    let width = |r: Option<Range>| r.map_or(0.0, |r: Range| r.max.max(0.0) - r.min.min(0.0));
    for (_, step) in
        lir.steps.iter().enumerate().filter(|&(i, s)| s8(i) && matches!(s.kind, Kind::Concat { .. }))
    {
        let whole = width(ranges[step.output]);
        for &x in step.inputs.iter().flatten() {
            let root = sets.find(x);
            if lir.tensors[x].constant.is_none() && width(known[root]) * UNLIKE >= whole {
                sets.union(x, step.output);
            }
        }
    }
    sets
}

/// The quantization of every computed tensor that an s8 step reads or writes.
pub fn quants(lir: &Lir, plan: &Plan, ranges: &[Option<Range>]) -> Vec<Option<Quant>> {
    let mut sets = sets(lir, plan, ranges);
    let s8 = |i: usize| plan.types[i] == DType::S8 && !plan.real[i];
    let mut merged = vec![None; lir.tensors.len()];
    merge_ranges(&mut sets, ranges, &mut merged);
    // A softmax yields numbers from 0 to 1 whatever the samples showed.
    let mut fixed = vec![None; lir.tensors.len()];
    for id in 0..lir.tensors.len() {
        let root = sets.find(id);
        fixed[root] = fixed[root].or_else(|| plan.given.quant(id));
    }
    for (_, step) in lir.steps.iter().enumerate().filter(|&(i, _)| s8(i)) {
        if matches!(step.kind, Kind::Op(Op::Softmax(_))) {
            let root = sets.find(step.output);
            fixed[root] = fixed[root].or(Some(Quant { scale: 1.0 / 256.0, zero_point: -128 }));
        }
    }
    (0..lir.tensors.len())
        .map(|id| {
            let root = sets.find(id);
            plan.given.quant(id).or(fixed[root]).or_else(|| merged[root].map(Range::quant))
        })
        .collect()
}

fn merge_ranges(sets: &mut Sets, ranges: &[Option<Range>], merged: &mut [Option<Range>]) {
    for (id, range) in ranges.iter().enumerate() {
        let root = sets.find(id);
        merged[root] = match (merged[root], *range) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (a, b) => a.or(b),
        };
    }
}
