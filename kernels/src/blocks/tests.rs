//! Against the definition, on every instruction set.

use cygnet_format::op::{BlockConv, BlockKind, Epilogue, Op, Unary, UnaryKind, Window};
use half::f16;

use super::pack::{BLOCK, pack_scales, pack_weights};
use crate::cpu::Cpu;
use crate::testing::{Operand, Random, assert_same, on_every_isa, run_on};
use cygnet_format::program::DType;

struct Case {
    window: Window,
    images: [usize; 3],
    c: usize,
    m: usize,
}

impl Case {
    fn k(&self) -> usize {
        (self.window.kernel[0] * self.window.kernel[1]) as usize * self.c
    }

    fn out(&self) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let w = &self.window;
            let reach = (w.kernel[axis] - 1) * w.dilation[axis] + 1;
            let padded = self.images[axis + 1] as u32 + w.pad[axis] + w.pad[axis + 2];
            ((padded - reach) / w.stride[axis] + 1) as usize
        })
    }

    /// Product `i` of pixel (`n`, `oy`, `ox`): the input it reads, 0 outside.
    fn input(&self, x: &[f32], [n, oy, ox]: [usize; 3], i: usize) -> f32 {
        let (w, [_, height, width]) = (&self.window, self.images);
        let (tap, c) = (i / self.c, i % self.c);
        let (ky, kx) = (tap as u32 / w.kernel[1], tap as u32 % w.kernel[1]);
        let y = (oy as u32 * w.stride[0] + ky * w.dilation[0]).wrapping_sub(w.pad[0]) as usize;
        let xx = (ox as u32 * w.stride[1] + kx * w.dilation[1]).wrapping_sub(w.pad[1]) as usize;
        if y < height && xx < width { x[((n * height + y) * width + xx) * self.c + c] } else { 0.0 }
    }
}

const POINT: Window = Window { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], pad: [0; 4] };

fn check(case: &Case, kind: BlockKind, epilogue: Epilogue, special: bool) {
    let mut random = Random::new((case.k() * 31 + case.m) as u64);
    let [n, h, w] = case.images;
    let (k, m, [oh, ow]) = (case.k(), case.m, case.out());
    let blocks = k.div_ceil(BLOCK);
    let x = random.floats(n * h * w * case.c, 2.0, special);
    let bias = random.floats(m, 1.0, false);
    let narrow = |q: i8| if kind == BlockKind::Int4 { q >> 4 } else { q };
    let q: Vec<i8> = random.bytes(m * k).into_iter().map(narrow).collect();
    let scales: Vec<f16> = (0..m * blocks).map(|_| f16::from_f32(random.unit())).collect();
    let mut want = Vec::new();
    for pixel in 0..n * oh * ow {
        let at = [pixel / (oh * ow), pixel / ow % oh, pixel % ow];
        for row in 0..m {
            let mut s = bias[row];
            for block in 0..blocks {
                let mut t = 0.0_f32;
                for i in block * BLOCK..k.min((block + 1) * BLOCK) {
                    t = case.input(&x, at, i).mul_add(f32::from(q[row * k + i]), t);
                }
                s = t.mul_add(scales[row * blocks + block].to_f32(), s);
            }
            let t = if s < epilogue.lo { epilogue.lo } else { s };
            let t = if t > epilogue.hi { epilogue.hi } else { t };
            let u = epilogue.unary;
            want.push(crate::math::unary(u.kind, u.a, u.b, t));
        }
    }
    let packed = pack_weights(kind, &q, m, k);
    let packed = Operand { dtype: DType::Packed, ..Operand::new(&[packed.len() as u32], &packed) };
    let scales = pack_scales(&scales, m);
    let mut padded = bias;
    padded.resize(m.next_multiple_of(16), 0.0);
    let op = Op::BlockConv(BlockConv { window: case.window, kind, epilogue });
    let dims = |d: [usize; 4]| d.map(|v| v as u32);
    let inputs = [
        &Operand::new(&dims([n, h, w, case.c]), &x).gap(3),
        &packed,
        &Operand::new(&[scales.len() as u32], &scales),
        &Operand::new(&[padded.len() as u32], &padded),
    ];
    let output = Operand::out(DType::F32, &dims([n, oh, ow, m])).gap(5);
    on_every_isa::<f32>(op, &inputs, &output, |name, got| {
        assert_same(&got, &want, &format!("{name} {kind:?} k {k} m {m} {:?}", case.images));
    });
}

#[test]
fn rows_times_matrices() {
    for kind in [BlockKind::Int8, BlockKind::Int4] {
        // Rows alone, in fours and what is left; panels in every grouping; blocks whole, cut, of odd length.
        for rows in [1, 2, 3, 4, 5, 35] {
            for (c, m) in [(32, 16), (64, 128), (33, 17), (31, 100), (7, 5), (96, 200)] {
                let case = Case { window: POINT, images: [1, rows, 1], c, m };
                check(&case, kind, Epilogue::NONE, false);
            }
        }
    }
}

#[test]
fn windows() {
    let windows = [
        Window { kernel: [3; 2], pad: [1; 4], ..POINT },
        Window { kernel: [3, 2], stride: [2, 1], pad: [0, 1, 2, 0], ..POINT },
        Window { kernel: [2; 2], dilation: [2, 1], pad: [1, 0, 1, 1], ..POINT },
        Window { stride: [2; 2], ..POINT },
        Window { pad: [1; 4], ..POINT },
    ];
    for window in windows {
        for kind in [BlockKind::Int8, BlockKind::Int4] {
            for (c, m) in [(1, 8), (5, 20), (40, 33)] {
                check(&Case { window, images: [2, 5, 6], c, m }, kind, Epilogue::NONE, false);
            }
        }
    }
}

#[test]
fn epilogues_and_odd_numbers() {
    let unary = Unary { kind: UnaryKind::Silu, a: 0.0, b: 0.0 };
    for epilogue in [Epilogue { lo: -1.0, hi: 2.0, ..Epilogue::NONE }, Epilogue { unary, ..Epilogue::NONE }] {
        for kind in [BlockKind::Int8, BlockKind::Int4] {
            for rows in [1, 6] {
                let case = Case { window: POINT, images: [1, rows, 1], c: 70, m: 70 };
                check(&case, kind, epilogue, false);
                check(&case, kind, epilogue, true);
            }
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let x = Operand::new(&[1, 32], &[0.0_f32; 32]);
    let packed = |n: u32| Operand { dtype: DType::Packed, ..Operand::new(&[n], &vec![0_u8; n as usize]) };
    let scales = |n: usize| Operand::new(&[n as u32], &vec![f16::ONE; n]);
    let bias = |n: usize| Operand::new(&[n as u32], &vec![0.0_f32; n]);
    let op = |window| Op::BlockConv(BlockConv { window, kind: BlockKind::Int8, epilogue: Epilogue::NONE });
    let refused = |op: Op, inputs: [&Operand; 4], out: &[u32], with: &str| {
        let output = Operand::out(DType::F32, out);
        let error = run_on(Cpu::detect(), op, &inputs, &output, 0).expect_err(with).to_string();
        assert!(error.contains(with), "{error}");
    };
    let (w, s, b) = (packed(512), scales(16), bias(16));
    refused(op(POINT), [&x, &packed(511), &s, &b], &[1, 16], "input 1 has 511");
    refused(op(POINT), [&x, &w, &scales(15), &b], &[1, 16], "input 2 has 15");
    refused(op(POINT), [&x, &w, &s, &bias(8)], &[1, 16], "input 3 has 8");
    refused(op(POINT), [&x, &w, &s, &b], &[2, 16], "do not go with");
    refused(op(Window { kernel: [u32::MAX; 2], ..POINT }), [&x, &w, &s, &b], &[1, 16], "at most");
    refused(
        op(Window { kernel: [2, 1], ..POINT }),
        [&x, &packed(1024), &scales(32), &b],
        &[1, 16],
        "four dim",
    );
}
