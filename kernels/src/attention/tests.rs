//! Whole steps against the definition, and the definition against f64.

use cygnet_format::op::{self, Op};
use cygnet_format::program::DType;
use half::f16;

use crate::Cpu;
use crate::math::scalar::exp;
use crate::testing::{Operand, Random, assert_same, on_every_isa, run_on};

/// What a case is about: batches, heads, rows, keys, columns of a head of keys and of values.
#[derive(Clone, Copy, Debug)]
struct Shape {
    b: usize,
    h: usize,
    m: usize,
    n: usize,
    d: usize,
    e: usize,
}

const fn shape(b: usize, h: usize, m: usize, n: usize, d: usize, e: usize) -> Shape {
    Shape { b, h, m, n, d, e }
}

/// Fewer rows than a tile has and more, lengths on both sides of multiples of all registers, one of each.
const SHAPES: &[Shape] = &[
    shape(1, 1, 1, 1, 1, 1),
    shape(1, 2, 3, 5, 4, 8),
    shape(2, 3, 17, 33, 7, 5),
    shape(1, 4, 70, 64, 32, 32),
    shape(2, 1, 130, 19, 16, 24),
    shape(1, 2, 5, 300, 8, 33),
];

/// Dimensions of masks, one of them none.
fn masks(s: Shape) -> [Option<[usize; 4]>; 4] {
    [None, Some([1, 1, 1, s.n]), Some([s.b, 1, s.m, s.n]), Some([s.b, s.h, s.m, s.n])]
}

fn dims(dims: [usize; 3]) -> [u32; 3] {
    dims.map(|d| d as u32)
}

struct Case {
    shape: Shape,
    scale: f32,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    mask: Option<([usize; 4], Vec<f32>)>,
}

impl Case {
    /// Operands that f16 holds.
    fn random(random: &mut Random, shape: Shape, mask: Option<[usize; 4]>) -> Self {
        let Shape { b, h, m, n, d, e } = shape;
        let mut halves = |count: usize, size: f32| -> Vec<f32> {
            let floats = random.floats(count, size, false);
            floats.into_iter().map(|v| f16::from_f32(v).to_f32()).collect()
        };
        let (q, k, v) = (halves(b * m * h * d, 2.0), halves(b * n * h * d, 2.0), halves(b * n * h * e, 4.0));
        let mask = mask.map(|dims| (dims, halves(dims.iter().product(), 3.0)));
        Self { shape, scale: 1.0 / (d as f32).sqrt(), q, k, v, mask }
    }

    fn op(&self) -> Op {
        Op::Attention(op::Attention { heads: self.shape.h as u32, scale: self.scale })
    }

    /// The mask's element for a batch, a head, a row and a key; 0 without a mask.
    fn mask_at(&self, at: [usize; 4]) -> f32 {
        let Some((dims, values)) = &self.mask else { return 0.0 };
        values[(0..4).fold(0, |i, d| i * dims[d] + if dims[d] == 1 { 0 } else { at[d] })]
    }

    /// Calls `f` with the place of the result's row, its query, and its batch, head and row.
    fn rows(&self, mut f: impl FnMut(usize, &[f32], [usize; 3])) {
        let Shape { b, h, m, d, e, .. } = self.shape;
        for (batch, row, head) in
            (0..b).flat_map(|b| (0..m).flat_map(move |m| (0..h).map(move |h| (b, m, h))))
        {
            let at = (batch * m + row) * h + head;
            f(at * e, &self.q[at * d..][..d], [batch, head, row]);
        }
    }

    fn key(&self, batch: usize, head: usize, n: usize) -> &[f32] {
        let s = self.shape;
        &self.k[((batch * s.n + n) * s.h + head) * s.d..][..s.d]
    }

    fn value(&self, batch: usize, head: usize, n: usize) -> &[f32] {
        let s = self.shape;
        &self.v[((batch * s.n + n) * s.h + head) * s.e..][..s.e]
    }

    /// By docs/arithmetic.md.
    fn definition(&self) -> Vec<f32> {
        let s = self.shape;
        let mut y = vec![0.0; s.b * s.m * s.h * s.e];
        self.rows(|to, q, [batch, head, row]| {
            let score = |n: usize| {
                let k = self.key(batch, head, n);
                let x = q.iter().zip(k).fold(0.0_f32, |sum, (q, k)| q.mul_add(*k, sum)) * self.scale;
                if self.mask.is_some() { x + self.mask_at([batch, head, row, n]) } else { x }
            };
            let x: Vec<f32> = (0..s.n).map(score).collect();
            let greatest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let p: Vec<f32> = x.iter().map(|&x| exp(x - greatest)).collect();
            let mut l = [0.0; 8];
            p.iter().enumerate().for_each(|(i, p)| l[i % 8] += p);
            let sum: f32 = ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
            for e in 0..s.e {
                let of = |sum: f32, n: usize| p[n].mul_add(self.value(batch, head, n)[e], sum);
                y[to + e] = (0..s.n).fold(0.0_f32, of) * (1.0 / sum);
            }
        });
        y
    }

    /// The formula in f64.
    fn real(&self) -> Vec<f64> {
        let s = self.shape;
        let mut y = vec![0.0; s.b * s.m * s.h * s.e];
        self.rows(|to, q, [batch, head, row]| {
            let p: Vec<f64> = (0..s.n)
                .map(|n| {
                    let k = self.key(batch, head, n);
                    let dot: f64 = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                    (dot * f64::from(self.scale) + f64::from(self.mask_at([batch, head, row, n]))).exp()
                })
                .collect();
            let sum: f64 = p.iter().sum();
            for e in 0..s.e {
                let of = |n: usize| p[n] * f64::from(self.value(batch, head, n)[e]);
                y[to + e] = (0..s.n).map(of).sum::<f64>() / sum;
            }
        });
        y
    }

    fn operands<T: crate::testing::Native>(&self, of: impl Fn(f32) -> T) -> Vec<Operand> {
        let Shape { b, h, m, n, d, e } = self.shape;
        let list = |v: &[f32]| v.iter().map(|&v| of(v)).collect::<Vec<_>>();
        let mut operands = vec![
            Operand::new(&dims([b, m, h * d]), &list(&self.q)).gap(16),
            Operand::new(&dims([b, n, h * d]), &list(&self.k)).gap(32),
            Operand::new(&dims([b, n, h * e]), &list(&self.v)),
        ];
        if let Some((dims, values)) = &self.mask {
            operands.push(Operand::new(&dims.map(|d| d as u32), &list(values)).gap(16));
        }
        operands
    }
}

#[test]
fn attention_of_f32_and_f16() {
    let mut random = Random::new(50);
    for &shape in SHAPES {
        for mask in masks(shape) {
            let case = Case::random(&mut random, shape, mask);
            let want = case.definition();
            for (w, r) in want.iter().zip(case.real()) {
                assert!((f64::from(*w) - r).abs() <= 1e-5 * r.abs().max(1.0), "{w} against {r}");
            }
            let y = dims([shape.b, shape.m, shape.h * shape.e]);
            let what = |isa: &str| format!("{shape:?} masked by {mask:?} on {isa}");
            let operands = case.operands(|v| v);
            let inputs: Vec<&Operand> = operands.iter().collect();
            on_every_isa::<f32>(case.op(), &inputs, &Operand::out(DType::F32, &y).gap(2), |isa, got| {
                assert_same(&got, &want, &what(isa));
            });
            let operands = case.operands(f16::from_f32);
            let inputs: Vec<&Operand> = operands.iter().collect();
            let want: Vec<f32> = want.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
            on_every_isa::<f16>(case.op(), &inputs, &Operand::out(DType::F16, &y), |isa, got| {
                let got: Vec<_> = got.into_iter().map(f16::to_f32).collect();
                assert_same(&got, &want, &what(isa));
            });
        }
    }
}

#[test]
fn a_key_that_a_mask_hides_counts_for_nothing() {
    let mut case = Case::random(&mut Random::new(51), shape(1, 1, 2, 3, 4, 4), None);
    case.mask = Some(([1, 1, 1, 3], vec![0.0, f32::NEG_INFINITY, f32::NEG_INFINITY]));
    let operands = case.operands(|v| v);
    let inputs: Vec<&Operand> = operands.iter().collect();
    let want = [&case.v[..4], &case.v[..4]].concat();
    on_every_isa::<f32>(case.op(), &inputs, &Operand::out(DType::F32, &[1, 2, 4]), |isa, got| {
        assert_same(&got, &want, isa);
    });
}

#[test]
fn a_row_that_sees_no_key_is_zero() {
    let mut case = Case::random(&mut Random::new(52), shape(1, 1, 2, 19, 4, 4), None);
    let mut mask = vec![f32::NEG_INFINITY; 38];
    mask[19 + 3] = 0.0;
    case.mask = Some(([1, 1, 2, 19], mask));
    let operands = case.operands(|v| v);
    let inputs: Vec<&Operand> = operands.iter().collect();
    let want = [&[0.0; 4], &case.v[12..16]].concat();
    on_every_isa::<f32>(case.op(), &inputs, &Operand::out(DType::F32, &[1, 2, 4]), |isa, got| {
        assert_same(&got, &want, isa);
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |heads: u32, dims: [[u32; 3]; 4], mask: Option<[u32; 4]>, why: &str| {
        let operand =
            |dims: &[u32]| Operand::new(dims, &vec![0.0_f32; dims.iter().product::<u32>() as usize]);
        let mut operands: Vec<Operand> = dims[..3].iter().map(|d| operand(d)).collect();
        operands.extend(mask.map(|d| operand(&d)));
        let inputs: Vec<&Operand> = operands.iter().collect();
        let op = Op::Attention(op::Attention { heads, scale: 1.0 });
        let error = run_on(Cpu::detect(), op, &inputs, &Operand::out(DType::F32, &dims[3]), 0);
        let error = error.expect_err("must be refused").to_string();
        assert!(error.contains(why), "{error:?} does not say '{why}'");
    };
    let good = [[1, 2, 8], [1, 3, 8], [1, 3, 4], [1, 2, 4]];
    refuse(3, good, None, "by 3 heads");
    refuse(2, [good[0], [1, 3, 6], good[2], good[3]], None, "keys [1, 3, 6]");
    refuse(2, [good[0], good[1], [1, 4, 4], good[3]], None, "values [1, 4, 4]");
    refuse(2, [good[0], good[1], good[2], [2, 2, 4]], None, "cannot make [2, 2, 4]");
    refuse(2, good, Some([1, 1, 1, 4]), "[1, 1, 1, 4] does not broadcast");
    refuse(2, good, Some([1, 3, 1, 3]), "does not broadcast to [1, 2, 2, 3]");
    let many = 40_000;
    refuse(1, [[1, 1, 1], [1, many, 1], [1, many, 1], [1, 1, 1]], None, "too many");
}
