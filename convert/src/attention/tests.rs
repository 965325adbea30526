//! Graphs before and after: the same results, by steps of their own and by one.

use cygnet::format::writer::{WeightsAlign, Writer};
use cygnet::{Model, Session, SessionOptions};
use cygnet_format::op::{Binary, Map, MatMul, Select, Softmax, Unary};
use cygnet_kernels::conv::pack::PACK_ID;

use super::*;
use crate::emit::{Weights, emit};

const B: usize = 2;
const H: usize = 3;
const M: usize = 5;
const N: usize = 7;
const D: usize = 4;
const E: usize = 6;

/// How an attention is spelled out.
#[derive(Clone, Copy, Debug)]
struct Spelling {
    /// Whether operands come with rows before heads and are transposed.
    rows_first: bool,
    /// Whether keys come as columns.
    columns: bool,
    mask: Option<[usize; 4]>,
    /// Factors on queries, and on scores.
    factors: [Option<f32>; 2],
    /// Whether rows without a key are guarded.
    guarded: bool,
    /// Whether the result goes back to rows before heads.
    back: bool,
}

/// A graph as it grows.
struct Graph(Lir);

impl Graph {
    fn input(&mut self, name: &str, dims: &[usize]) -> Id {
        let id = self.0.add(name, dims, DType::F32);
        self.0.inputs.push((name.to_owned(), id));
        id
    }

    fn step(&mut self, kind: Kind, inputs: &[Id], dims: &[usize], dtype: DType) -> Id {
        let name = format!("step {}", self.0.steps.len());
        let id = self.0.add(name.clone(), dims, dtype);
        self.0.push(name, kind, inputs, id);
        id
    }

    fn binary(&mut self, kind: BinaryKind, [a, b]: [Id; 2], dims: &[usize], dtype: DType) -> Id {
        let op = Binary { kind, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE };
        self.step(Kind::Op(Op::Binary(op)), &[a, b], dims, dtype)
    }

    fn number(&mut self, value: f32) -> Id {
        self.0.add_const("number", &[1; 4], Const::F32(vec![value]))
    }

    fn times(&mut self, x: Id, factor: Option<f32>) -> Id {
        let Some(factor) = factor else { return x };
        let (dims, factor) = (self.0.tensors[x].dims.clone(), self.number(factor));
        self.binary(BinaryKind::Mul, [x, factor], &dims, DType::F32)
    }

    fn product(&mut self, a: Id, b: Id, transpose_b: bool, dims: &[usize]) -> Id {
        let op = MatMul { transpose_b, scale: 1.0, epilogue: Epilogue::NONE };
        self.step(Kind::Op(Op::MatMul(op)), &[a, b], dims, DType::F32)
    }

    /// `[B, H, rows, columns]`, by a transpose of an input or as an input.
    fn operand(&mut self, name: &str, rows: usize, columns: usize, s: Spelling, order: &[usize; 4]) -> Id {
        let from = [B, rows, H, columns];
        let dims: [usize; 4] = std::array::from_fn(|d| from[order[d]]);
        if !s.rows_first {
            return self.input(name, &dims);
        }
        let from = self.input(name, &from);
        self.step(Kind::Transpose(order.to_vec()), &[from], &dims, DType::F32)
    }
}

fn spelled(s: Spelling) -> Lir {
    let mut g = Graph(Lir::default());
    let q = g.operand("q", M, D, s, &HEADS_FIRST);
    let q = g.times(q, s.factors[0]);
    let k = g.operand("k", N, D, s, if s.columns { &COLUMNS } else { &HEADS_FIRST });
    let v = g.operand("v", N, E, s, &HEADS_FIRST);
    let scores = [B, H, M, N];
    let x = g.product(q, k, !s.columns, &scores);
    let mut x = g.times(x, s.factors[1]);
    if let Some(dims) = s.mask {
        let mask = g.input("mask", &dims);
        x = g.binary(BinaryKind::Add, [x, mask], &scores, DType::F32);
    }
    let softmax = Kind::Op(Op::Softmax(Softmax { axis: 3, log: false }));
    let mut p = g.step(softmax, &[x], &scores, DType::F32);
    if s.guarded {
        let same = g.binary(BinaryKind::Equal, [p, p], &scores, DType::U8);
        let not = Unary { kind: UnaryKind::Not, a: 0.0, b: 0.0 };
        let nan = g.step(Kind::Op(Op::Map(Map { unary: not })), &[same], &scores, DType::U8);
        let zero = g.number(0.0);
        p = g.step(Kind::Op(Op::Select(Select {})), &[nan, zero, p], &scores, DType::F32);
    }
    let mut y = g.product(p, v, false, &[B, H, M, E]);
    if s.back {
        y = g.step(Kind::Transpose(HEADS_FIRST.to_vec()), &[y], &[B, M, H, E], DType::F32);
    }
    // What follows: an output itself would be a tensor of its own.
    let y = g.times(y, Some(2.0));
    g.0.outputs.push(("y".to_owned(), y));
    g.0
}

/// The result for inputs that are the same for the same name and length; the last row of a mask of rows hides all keys.
fn outcome(lir: &Lir) -> Vec<f32> {
    let mut weights = Weights::default();
    let program = emit(lir, "main", false, &mut weights).unwrap().program;
    let weights = weights.finish();
    let mut writer = Writer::new();
    writer.program(&program).pack_id(PACK_ID);
    if !weights.is_empty() {
        writer.weights(&weights, WeightsAlign::Page16K);
    }
    let model = Model::from_bytes(&writer.finish().unwrap()).unwrap();
    let mut session = Session::new(&model, &SessionOptions::default()).unwrap();
    for (name, id) in &lir.inputs {
        let row = lir.tensors[*id].dims[2] > 1;
        let input = session.input_mut::<f32>(name).unwrap();
        let len = input.len();
        for (i, v) in input.iter_mut().enumerate() {
            let h = (i as u64 + 31 * u64::from(name.as_bytes()[0])).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            *v = h as f32 / (1 << 23) as f32 * 2.0 - 2.0;
            if name == "mask" && row && i >= len - N {
                *v = f32::NEG_INFINITY;
            }
        }
    }
    session.run().unwrap();
    session.output("y").unwrap().to_f32()
}

fn check(s: Spelling, steps: usize) {
    let lir = spelled(s);
    let want = outcome(&lir);
    let mut fused = lir;
    fuse(&mut fused);
    let attentions = fused.steps.iter().filter(|s| matches!(s.kind, Kind::Op(Op::Attention(_)))).count();
    let moves = fused.steps.iter().filter(|s| matches!(s.kind, Kind::Transpose(_))).count();
    assert_eq!((attentions, moves), (1, steps), "{s:?}");
    for (i, (got, want)) in outcome(&fused).iter().zip(&want).enumerate() {
        // What is not guarded is NaN where a row sees no key.
        let hidden = want.is_nan() && *got == 0.0 && !s.guarded;
        assert!(hidden || (got - want).abs() <= 4e-6, "{s:?} at {i}: {got}, not {want}");
    }
}

#[test]
fn every_spelling_gives_what_its_steps_give() {
    let masks = [None, Some([1, 1, 1, N]), Some([B, 1, M, N]), Some([B, H, M, N])];
    for (i, mask) in masks.into_iter().enumerate() {
        for (columns, guarded) in [(false, false), (true, false), (false, true), (true, true)] {
            let factors = [[None, None], [Some(0.5), None], [None, Some(0.25)], [Some(0.5), Some(3.0)]][i];
            let s = Spelling { rows_first: true, columns, mask, factors, guarded, back: true };
            check(s, 0);
            // The result stays with heads first.
            check(Spelling { back: false, ..s }, 1);
            // So do the operands: heads are batches, unless the mask tells them apart.
            let own = mask.is_some_and(|dims| dims[..2] != [1, 1]);
            let s = Spelling { rows_first: false, back: false, ..s };
            check(s, if own { 4 } else { usize::from(columns) });
        }
    }
}

#[test]
fn what_is_something_else_stays() {
    let s = Spelling {
        rows_first: true,
        columns: false,
        mask: None,
        factors: [None, None],
        guarded: false,
        back: true,
    };
    let stays = |change: &dyn Fn(&mut Lir)| {
        let mut lir = spelled(s);
        change(&mut lir);
        fuse(&mut lir);
        assert!(lir.steps.iter().any(|s| matches!(s.kind, Kind::Op(Op::Softmax(_)))));
        assert!(!lir.steps.iter().any(|s| matches!(s.kind, Kind::Op(Op::Attention(_)))));
    };
    let step = |lir: &mut Lir, is: &dyn Fn(&Op) -> bool, to: &dyn Fn(&mut Op)| {
        let op = lir.steps.iter_mut().find_map(|s| match &mut s.kind {
            Kind::Op(op) if is(op) => Some(op),
            _ => None,
        });
        to(op.unwrap());
    };
    // A logarithm, a clamp on the scores, scores that are an output too.
    stays(&|lir| {
        step(lir, &|op| matches!(op, Op::Softmax(_)), &|op| {
            *op = Op::Softmax(Softmax { axis: 3, log: true })
        });
    });
    stays(&|lir| {
        step(lir, &|op| matches!(op, Op::MatMul(_)), &|op| {
            if let Op::MatMul(p) = op {
                p.epilogue.hi = 1.0;
            }
        });
    });
    stays(&|lir| {
        let scores = lir.steps.iter().find(|s| matches!(s.kind, Kind::Op(Op::MatMul(_)))).unwrap().output;
        lir.outputs.push(("scores".to_owned(), scores));
    });
}
