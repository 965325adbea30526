//! Top-k, cumulation, scatter, sampling, suppression of boxes and recurrent layers against their oracles, bit for bit,
//! on every instruction set.

mod common;

use common::rig::{Operand, Random, run};
use cygnet_format::op::{
    self, CellKind, CumulateKind, Op, Outside, SampleKind, ScatterKind, Unary, UnaryKind,
};
use cygnet_format::program::DType;
use cygnet_kernels::{cumulate, recurrent, sample, scatter, suppress, top_k};
use half::f16;
use proptest::prelude::*;

fn product(dims: &[usize]) -> usize {
    dims.iter().product()
}

fn bytes<T: Copy, const N: usize>(v: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    v.iter().flat_map(|&v| to(v)).collect()
}

fn f32_bytes(v: &[f32]) -> Vec<u8> {
    bytes(v, f32::to_le_bytes)
}

fn s32_bytes(v: &[i32]) -> Vec<u8> {
    bytes(v, i32::to_le_bytes)
}

fn f16_bytes(v: &[f32]) -> Vec<u8> {
    bytes(v, |v| f16::from_f32(v).to_le_bytes())
}

/// Positions of the lines of `dims` along `axis`: their first elements, and the distance within a line.
fn lines(dims: &[usize], axis: usize) -> (Vec<usize>, usize) {
    let step: usize = dims[axis + 1..].iter().product();
    let starts = (0..product(dims)).filter(|i| (i / step).is_multiple_of(dims[axis])).collect();
    (starts, step)
}

#[test]
fn finds_the_greatest_as_the_oracle() {
    let mut random = Random(11);
    for (dims, axis, k) in [
        (&[5][..], 0, 5),
        (&[1][..], 0, 1),
        (&[3, 300][..], 1, 17),
        (&[40, 7][..], 0, 3),
        (&[2, 9, 5][..], 1, 9),
        (&[2, 3, 20_000][..], 2, 100),
    ] {
        for least in [false, true] {
            // Few distinct values, so that many are equal; some are no numbers.
            let x: Vec<f32> = (0..product(dims))
                .map(|_| match random.next() % 12 {
                    0 => f32::NAN,
                    1 => f32::NEG_INFINITY,
                    2 => -0.0,
                    v => (v as f32 - 6.0) * 0.5,
                })
                .collect();
            let mut out = dims.to_vec();
            out[axis] = k;
            let (starts, step) = lines(dims, axis);
            let (ends, _) = lines(&out, axis);
            let of = |x: &[f32]| -> Vec<i32> {
                let mut want = vec![0; product(&out)];
                for (&from, &to) in starts.iter().zip(&ends) {
                    let line: Vec<f32> = (0..dims[axis]).map(|i| x[from + i * step]).collect();
                    for (i, index) in top_k::oracle::top_k(&line, k, least).into_iter().enumerate() {
                        want[to + i * step] = index;
                    }
                }
                want
            };
            let op = Op::TopK(op::TopK { axis: axis as u32, least });
            let y = Operand::output(DType::S32, &out).gap(1);
            let got = run(op, &[Operand::f32s(dims, &x).gap(2)], &y).unwrap();
            assert!(got == s32_bytes(&of(&x)), "{dims:?} axis {axis} k {k} least {least}");
            let got = run(op, &[Operand::new(DType::F16, dims, f16_bytes(&x))], &y).unwrap();
            assert!(got == s32_bytes(&of(&x)), "f16 {dims:?} axis {axis} k {k} least {least}");
            let whole: Vec<i32> =
                x.iter().map(|&v| if v.is_finite() { (v * 2.0) as i32 } else { 9 }).collect();
            let want = of(&whole.iter().map(|&v| v as f32).collect::<Vec<_>>());
            let got = run(op, &[Operand::s32s(dims, &whole)], &y).unwrap();
            assert!(got == s32_bytes(&want), "s32 {dims:?} axis {axis} k {k} least {least}");
            for dtype in [DType::S8, DType::U8] {
                // The same bytes stand for the same numbers where they are not negative.
                let small: Vec<u8> = whole.iter().map(|&v| v.unsigned_abs() as u8).collect();
                let want = of(&small.iter().map(|&v| f32::from(v)).collect::<Vec<_>>());
                let got = run(op, &[Operand::new(dtype, dims, small)], &y).unwrap();
                assert!(got == s32_bytes(&want), "{} {dims:?} axis {axis} k {k}", dtype.name());
            }
        }
    }
}

#[test]
fn cumulates_as_the_oracle() {
    let mut random = Random(12);
    for (dims, axis) in [(&[7][..], 0), (&[3, 40][..], 1), (&[40, 300][..], 0), (&[2, 5, 3][..], 1)] {
        for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
            for kind in [CumulateKind::Sum, CumulateKind::Prod] {
                let (starts, step) = lines(dims, axis);
                let op = Op::Cumulate(op::Cumulate { kind, axis: axis as u32, exclusive, reverse });
                let x = random.f32s(product(dims));
                let (start, join): (f32, fn(f32, f32) -> f32) = match kind {
                    CumulateKind::Sum => (0.0, |a, b| a + b),
                    CumulateKind::Prod => (1.0, |a, b| a * b),
                };
                let mut want = x.clone();
                for &from in &starts {
                    let line: Vec<f32> = (0..dims[axis]).map(|i| x[from + i * step]).collect();
                    let done = cumulate::oracle::cumulate(&line, start, join, exclusive, reverse);
                    done.iter().enumerate().for_each(|(i, &v)| want[from + i * step] = v);
                }
                let y = Operand::output(DType::F32, dims).gap(1);
                let got = run(op, &[Operand::f32s(dims, &x).gap(3)], &y).unwrap();
                assert!(got == f32_bytes(&want), "{dims:?} {axis} {kind:?} {exclusive} {reverse}");

                let x: Vec<i32> = (0..product(dims)).map(|_| random.next() as i32).collect();
                let (start, join): (i32, fn(i32, i32) -> i32) = match kind {
                    CumulateKind::Sum => (0, i32::wrapping_add),
                    CumulateKind::Prod => (1, i32::wrapping_mul),
                };
                let mut want = x.clone();
                for &from in &starts {
                    let line: Vec<i32> = (0..dims[axis]).map(|i| x[from + i * step]).collect();
                    let done = cumulate::oracle::cumulate(&line, start, join, exclusive, reverse);
                    done.iter().enumerate().for_each(|(i, &v)| want[from + i * step] = v);
                }
                let got = run(op, &[Operand::s32s(dims, &x)], &Operand::output(DType::S32, dims)).unwrap();
                assert!(got == s32_bytes(&want), "s32 {dims:?} {axis} {kind:?} {exclusive} {reverse}");
            }
        }
    }
}

#[test]
fn scatters_as_the_oracle() {
    let mut random = Random(13);
    for (rows, columns, n) in [(1, 1, 1), (6, 1, 9), (5, 33, 7), (300, 500, 90)] {
        let indices: Vec<i32> = (0..n)
            .map(|_| match random.next() % 9 {
                0 => i32::MIN,
                1 => rows as i32,
                _ => (random.next() % (2 * rows as u32)) as i32 - rows as i32,
            })
            .collect();
        let (x, u) = (random.f32s(rows * columns), random.f32s(n * columns));
        for kind in ScatterKind::ALL.iter().copied() {
            let op = Op::Scatter(op::Scatter { kind });
            let join: fn(f32, f32) -> f32 = match kind {
                ScatterKind::Replace => |_, b| b,
                ScatterKind::Add => |a, b| a + b,
                ScatterKind::Mul => |a, b| a * b,
                ScatterKind::Min => |a, b| if a < b { a } else { b },
                ScatterKind::Max => |a, b| if a > b { a } else { b },
            };
            let what = format!("{kind:?} {rows} x {columns}");
            let at = Operand::s32s(&[n], &indices);
            let want = scatter::oracle::scatter(&x, columns, &indices, &u, join);
            let inputs = [
                Operand::f32s(&[rows, columns], &x).gap(1),
                at.clone(),
                Operand::f32s(&[n, columns], &u).gap(2),
            ];
            let got = run(op, &inputs, &Operand::output(DType::F32, &[rows, columns]).gap(3)).unwrap();
            assert!(got == f32_bytes(&want), "{what}");

            let half = |v: &[f32]| v.iter().map(|&v| f16::from_f32(v).to_f32()).collect::<Vec<_>>();
            let (xh, uh) = (half(&x), half(&u));
            let want = scatter::oracle::scatter(&xh, columns, &indices, &uh, |a, b| {
                f16::from_f32(join(a, b)).to_f32()
            });
            let inputs = [
                Operand::new(DType::F16, &[rows, columns], f16_bytes(&xh)),
                at.clone(),
                Operand::new(DType::F16, &[n, columns], f16_bytes(&uh)),
            ];
            let got = run(op, &inputs, &Operand::output(DType::F16, &[rows, columns])).unwrap();
            assert!(got == f16_bytes(&want), "f16 {what}");

            let whole = |v: &[f32]| v.iter().map(|&v| (v * 1e8) as i32).collect::<Vec<_>>();
            let (xi, ui) = (whole(&x), whole(&u));
            let join: fn(i32, i32) -> i32 = match kind {
                ScatterKind::Replace => |_, b| b,
                ScatterKind::Add => i32::wrapping_add,
                ScatterKind::Mul => i32::wrapping_mul,
                ScatterKind::Min => i32::min,
                ScatterKind::Max => i32::max,
            };
            let want = scatter::oracle::scatter(&xi, columns, &indices, &ui, join);
            let inputs = [Operand::s32s(&[rows, columns], &xi), at, Operand::s32s(&[n, columns], &ui)];
            let got = run(op, &inputs, &Operand::output(DType::S32, &[rows, columns])).unwrap();
            assert!(got == s32_bytes(&want), "s32 {what}");
        }
        let (x, u) = (random.bytes(rows * columns), random.bytes(n * columns));
        let want = scatter::oracle::scatter(&x, columns, &indices, &u, |_, b| b);
        let inputs = [
            Operand::new(DType::U8, &[rows, columns], x),
            Operand::s32s(&[n], &indices),
            Operand::new(DType::U8, &[n, columns], u),
        ];
        let op = Op::Scatter(op::Scatter { kind: ScatterKind::Replace });
        assert_eq!(run(op, &inputs, &Operand::output(DType::U8, &[rows, columns])).unwrap(), want);
    }
}

#[test]
fn samples_as_the_oracle() {
    let mut random = Random(14);
    for (dims, count) in [([1, 1, 1, 1], 30), ([2, 5, 7, 3], 60), ([3, 4, 4, 40], 25)] {
        let x = random.f32s(product(&dims));
        let xh: Vec<f32> = x.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
        let at: Vec<[f32; 3]> = (0..count)
            .map(|_| {
                let mut coordinate = || match random.next() % 12 {
                    0 => f32::NAN,
                    1 => f32::INFINITY,
                    2 => -1e30,
                    3 => (random.next() % 9) as f32 - 2.0,
                    _ => (random.next() % 4096) as f32 / 256.0 - 4.0,
                };
                [coordinate(), coordinate(), coordinate()]
            })
            .collect();
        let places: Vec<f32> = at.iter().flatten().copied().collect();
        for kind in SampleKind::ALL.iter().copied() {
            for outside in Outside::ALL.iter().copied() {
                let op = Op::Sample(op::Sample { kind, outside });
                let want = |x: &[f32]| -> Vec<f32> {
                    let each = |&at: &[f32; 3]| {
                        (0..dims[3]).map(move |c| sample::oracle::sample(x, dims, at, c, kind, outside))
                    };
                    at.iter().flat_map(each).collect()
                };
                let at = Operand::f32s(&[count, 3], &places).gap(1);
                let y = Operand::output(DType::F32, &[count, dims[3]]).gap(2);
                let got = run(op, &[Operand::f32s(&dims, &x).gap(3), at.clone()], &y).unwrap();
                assert!(got == f32_bytes(&want(&x)), "{dims:?} {kind:?} {outside:?}");
                let y = Operand::output(DType::F16, &[count, dims[3]]);
                let got = run(op, &[Operand::new(DType::F16, &dims, f16_bytes(&xh)), at], &y).unwrap();
                assert!(got == f16_bytes(&want(&xh)), "f16 {dims:?} {kind:?} {outside:?}");
            }
        }
    }
}

/// Between pixels 0, 1, 2, 3 of a row: worked out by hand.
#[test]
fn samples_a_known_row() {
    let x = Operand::f32s(&[1, 1, 4, 1], &[0.0, 1.0, 2.0, 3.0]);
    let places = [[0.0, 0.0, 1.25], [0.0, 0.0, 3.5], [0.0, 0.0, -1.0], [0.0, 0.0, 2.5]].concat();
    for (kind, outside, want) in [
        (SampleKind::Nearest, Outside::Zero, [1.0, 0.0, 0.0, 2.0]),
        (SampleKind::Linear, Outside::Zero, [1.25, 1.5, 0.0, 2.5]),
        (SampleKind::Linear, Outside::Edge, [1.25, 3.0, 0.0, 2.5]),
        (SampleKind::Linear, Outside::Symmetric, [1.25, 3.0, 0.0, 2.5]),
        (SampleKind::Linear, Outside::Reflect, [1.25, 2.5, 1.0, 2.5]),
    ] {
        let op = Op::Sample(op::Sample { kind, outside });
        // One row of pixels: only its own row is inside, so linear down the column mixes with what lies outside.
        let inputs = [x.clone(), Operand::f32s(&[4, 3], &places)];
        let got = run(op, &inputs, &Operand::output(DType::F32, &[4, 1])).unwrap();
        assert_eq!(got, f32_bytes(&want), "{kind:?} {outside:?}");
    }
}

#[test]
fn keeps_boxes_as_the_oracle() {
    let mut random = Random(15);
    for (images, classes, count) in [(1, 1, 1), (2, 3, 40), (1, 2, 400)] {
        let rects: Vec<[f32; 4]> = (0..images * count)
            .map(|_| {
                let mut v = || (random.next() % 64) as f32 / 8.0;
                let (y, x) = (v(), v());
                [y, x, y + v() * 0.5, x + v() * 0.5]
            })
            .collect();
        let scores: Vec<f32> =
            (0..images * classes * count)
                .map(|_| {
                    if random.next().is_multiple_of(20) {
                        f32::NAN
                    } else {
                        (random.next() % 32) as f32 / 32.0
                    }
                })
                .collect();
        for (most, overlap, least) in
            [(1, 0.5, None), (1000, 0.25, Some(0.125)), (3, 0.0, Some(0.9)), (0, 0.5, None)]
        {
            let rows = images * classes * most.min(count);
            let rows = rows.max(1);
            let mut want = Vec::new();
            for i in 0..images {
                for c in 0..classes {
                    let own = &scores[(i * classes + c) * count..][..count];
                    let kept =
                        suppress::oracle::keep(&rects[i * count..][..count], own, most, overlap, least);
                    want.extend(kept.into_iter().flat_map(|k| [i as i32, c as i32, k as i32]));
                }
            }
            want.resize(rows * 3, -1);
            for center in [false, true] {
                let given: Vec<f32> = rects
                    .iter()
                    .flat_map(|&[t, l, b, r]| match center {
                        false => [b, l, t, r],
                        true => [(l + r) * 0.5, (t + b) * 0.5, r - l, b - t],
                    })
                    .collect();
                let mut inputs = vec![
                    Operand::f32s(&[images, count, 4], &given).gap(1),
                    Operand::f32s(&[images, classes, count], &scores).gap(2),
                    Operand::s32s(&[], &[most as i32]).constant(),
                    Operand::f32s(&[1], &[overlap]),
                ];
                inputs.extend(least.map(|l| Operand::f32s(&[1], &[l])));
                let op = Op::NonMaxSuppression(op::NonMaxSuppression { center });
                let got = run(op, &inputs, &Operand::output(DType::S32, &[rows, 3]).gap(1)).unwrap();
                assert!(
                    got == s32_bytes(&want),
                    "{images} {classes} {count} {most} {overlap} {least:?} {center}"
                );
            }
        }
    }
}

/// What the output cannot hold is left away.
#[test]
fn keeps_no_more_boxes_than_there_are_rows() {
    let boxes = [[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0], [4.0, 4.0, 5.0, 5.0]].concat();
    let inputs = [
        Operand::f32s(&[1, 3, 4], &boxes),
        Operand::f32s(&[1, 1, 3], &[0.1, 0.3, 0.2]),
        Operand::s32s(&[], &[i32::MAX]),
    ];
    let op = Op::NonMaxSuppression(op::NonMaxSuppression { center: false });
    let got = run(op, &inputs, &Operand::output(DType::S32, &[2, 3])).unwrap();
    assert_eq!(got, s32_bytes(&[0, 0, 1, 0, 0, 2]));
}

const SIGMOID: Unary = Unary { kind: UnaryKind::Sigmoid, a: 0.0, b: 0.0 };
const TANH: Unary = Unary { kind: UnaryKind::Tanh, a: 0.0, b: 0.0 };
const LEAKY: Unary = Unary { kind: UnaryKind::LeakyRelu, a: 0.25, b: 0.0 };

#[test]
fn recurs_as_the_oracle() {
    let mut random = Random(16);
    for kind in CellKind::ALL.iter().copied() {
        let gates = match kind {
            CellKind::Rnn => 1,
            CellKind::Lstm => 4,
            CellKind::Gru | CellKind::GruResetAfter => 3,
        };
        for (steps, batch, n) in [(1, 1, 1), (3, 2, 5), (4, 1, 64), (2, 3, 77)] {
            for (reverse, candidate) in [(false, TANH), (true, LEAKY)] {
                let p = op::Recurrent { kind, reverse, gate: SIGMOID, candidate, cell: TANH };
                let width = gates * n;
                let x = random.f32s(steps * batch * width);
                let w: Vec<f32> = random.f32s(n * width).iter().map(|v| v / 16.0).collect();
                let h: Vec<f32> = random.f32s(batch * n).iter().map(|v| v / 8.0).collect();
                let extra = match kind {
                    CellKind::Lstm => random.f32s(batch * n),
                    CellKind::GruResetAfter => random.f32s(n),
                    _ => Vec::new(),
                };
                let rows = steps + usize::from(kind == CellKind::Lstm);
                let mut want = vec![0.0; rows * batch * n];
                for b in 0..batch {
                    let own: Vec<f32> =
                        (0..steps).flat_map(|t| x[(t * batch + b) * width..][..width].to_vec()).collect();
                    let extra = if kind == CellKind::Lstm { &extra[b * n..][..n] } else { &extra[..] };
                    let y = recurrent::oracle::run(&p, &own, &w, &h[b * n..][..n], extra);
                    for t in 0..rows {
                        want[(t * batch + b) * n..][..n].copy_from_slice(&y[t * n..][..n]);
                    }
                }
                let mut inputs = vec![
                    Operand::f32s(&[steps, batch, width], &x).gap(1),
                    Operand::f32s(&[n, width], &w).constant(),
                    Operand::f32s(&[batch, n], &h).gap(2),
                ];
                match kind {
                    CellKind::Lstm => inputs.push(Operand::f32s(&[batch, n], &extra)),
                    CellKind::GruResetAfter => inputs.push(Operand::f32s(&[n], &extra).constant()),
                    _ => {}
                }
                let y = Operand::output(DType::F32, &[rows, batch, n]).gap(3);
                let got = run(Op::Recurrent(p), &inputs, &y).unwrap();
                assert!(got == f32_bytes(&want), "{kind:?} {steps} x {batch} x {n} reverse {reverse}");
            }
        }
    }
}

/// Random cases: fewer where an emulator runs them.
const CASES: u32 = if cfg!(target_arch = "aarch64") { 50 } else { 200 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the parameters and operands: refused, or done within the output (the case checks).
    #[test]
    fn refuses_or_runs_whatever_comes(
        axis in prop_oneof![0_u32..4, any::<u32>()],
        k in 1_usize..7,
        flags in any::<[bool; 2]>(),
        kind in 0_usize..5,
        indices in prop::collection::vec(any::<i32>(), 4),
        places in prop::collection::vec(any::<f32>(), 12),
    ) {
        let x = Operand::f32s(&[3, 4, 5], &Random(17).f32s(60));
        let op = Op::TopK(op::TopK { axis, least: flags[0] });
        let done = run(op, std::slice::from_ref(&x), &Operand::output(DType::S32, &[3, k, 5]));
        prop_assert_eq!(done.is_ok(), (axis == 1 && k <= 4) || (k == 4 && axis < 3));

        let cumulate = op::Cumulate { kind: CumulateKind::Sum, axis, exclusive: flags[0], reverse: flags[1] };
        let done = run(Op::Cumulate(cumulate), &[x], &Operand::output(DType::F32, &[3, 4, 5]));
        prop_assert_eq!(done.is_ok(), axis < 3);

        let table = Operand::f32s(&[3, 5], &Random(18).f32s(15));
        let rows = Operand::f32s(&[4, 5], &Random(19).f32s(20));
        let scatter = op::Scatter { kind: ScatterKind::ALL[kind] };
        let inputs = [table, Operand::s32s(&[4], &indices), rows];
        prop_assert!(run(Op::Scatter(scatter), &inputs, &Operand::output(DType::F32, &[3, 5])).is_ok());

        let image = Operand::f32s(&[2, 3, 4, 5], &Random(20).f32s(120));
        let sample = op::Sample { kind: SampleKind::ALL[kind % 3], outside: Outside::ALL[kind % 4] };
        let inputs = [image, Operand::f32s(&[4, 3], &places)];
        prop_assert!(run(Op::Sample(sample), &inputs, &Operand::output(DType::F32, &[4, 5])).is_ok());

        let inputs = [
            Operand::f32s(&[1, 3, 4], &places),
            Operand::f32s(&[1, 2, 3], &places[..6]),
            Operand::s32s(&[], &indices[..1]),
            Operand::f32s(&[], &places[..1]),
        ];
        let suppress = op::NonMaxSuppression { center: flags[0] };
        prop_assert!(run(Op::NonMaxSuppression(suppress), &inputs, &Operand::output(DType::S32, &[k, 3])).is_ok());
    }
}
