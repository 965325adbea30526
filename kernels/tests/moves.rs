//! Pool, resize, copy, fill and gather against their oracles, bit for bit, on every instruction set.

mod common;

use common::guard::POISON;
use common::rig::{Operand, Random, run};
use cygnet_format::op::{self, Op, PoolKind, ResizeKind, Window};
use cygnet_format::program::DType;
use cygnet_kernels::{Cpu, copy, gather, pool, resize};
use half::f16;
use proptest::prelude::*;

fn product(dims: &[usize]) -> usize {
    dims.iter().product()
}

fn f32_bytes(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn f16_bytes(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
}

fn s8_bytes(v: &[i8]) -> Vec<u8> {
    v.iter().map(|v| v.cast_unsigned()).collect()
}

const WINDOWS: [(Window, [usize; 2], [usize; 2]); 8] = {
    const fn w(
        kernel: [u32; 2],
        stride: [u32; 2],
        dilation: [u32; 2],
        pad: [u32; 4],
        image: [usize; 2],
        out: [usize; 2],
    ) -> (Window, [usize; 2], [usize; 2]) {
        (Window { kernel, stride, dilation, pad }, image, out)
    }
    [
        w([2, 2], [2, 2], [1, 1], [0; 4], [6, 8], [3, 4]),
        w([3, 3], [2, 2], [1, 1], [1; 4], [7, 6], [4, 3]),
        w([5, 5], [1, 1], [1, 1], [2; 4], [5, 6], [5, 6]),
        // ceil_mode: the last windows run past the padded edge.
        w([3, 2], [2, 2], [1, 1], [0, 1, 0, 0], [6, 6], [3, 4]),
        w([3, 3], [1, 2], [2, 3], [2, 3, 1, 2], [5, 9], [4, 4]),
        // First and last windows lie in the padding alone.
        w([2, 1], [1, 3], [1, 1], [4, 3, 5, 3], [2, 3], [10, 3]),
        w([7, 7], [1, 1], [1, 1], [0; 4], [7, 7], [1, 1]),
        w([1, 40], [1, 1], [1, 1], [0, 30, 0, 9], [2, 3], [2, 3]),
    ]
};

#[test]
fn pools_as_the_oracle() {
    let mut random = Random(1);
    for (window, [h, w], [oh, ow]) in WINDOWS {
        for c in [1, 3, 7, 8, 9, 16, 17, 31, 32, 33, 47, 64, 131] {
            for (kind, count_include_pad) in
                [(PoolKind::Max, false), (PoolKind::Average, false), (PoolKind::Average, true)]
            {
                let dims = [2, h, w, c];
                let (out, gap) = ([2, oh, ow, c], c % 5);
                let scale = if kind == PoolKind::Max { 1.0 } else { 1.7 };
                let p = op::Pool { kind, window, count_include_pad, scale };
                let what = format!("{p:?} over {dims:?}");

                let x = random.f32s(product(&dims));
                let y = run(
                    Op::Pool(p),
                    &[Operand::f32s(&dims, &x).gap(gap)],
                    &Operand::output(DType::F32, &out).gap(gap * 2),
                );
                assert!(y.unwrap() == f32_bytes(&pool::oracle::float(&x, dims, [oh, ow], &p)), "{what}");

                let x: Vec<f32> = x.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
                let y = run(
                    Op::Pool(p),
                    &[Operand::new(DType::F16, &dims, f16_bytes(&x)).gap(gap)],
                    &Operand::output(DType::F16, &out).gap(gap),
                );
                assert!(y.unwrap() == f16_bytes(&pool::oracle::float(&x, dims, [oh, ow], &p)), "f16 {what}");

                let bytes = random.bytes(product(&dims));
                let x: Vec<i8> = bytes.iter().map(|b| b.cast_signed()).collect();
                let zero = if kind == PoolKind::Max { [5, 5] } else { [-128, 3] };
                let y = run(
                    Op::Pool(p),
                    &[Operand::new(DType::S8, &dims, bytes).gap(gap).quant(0.1, zero[0])],
                    &Operand::output(DType::S8, &out).gap(gap).quant(0.1, zero[1]),
                );
                let want = s8_bytes(&pool::oracle::s8(&x, dims, [oh, ow], &p, zero));
                assert!(y.unwrap() == want, "s8 {what}");
            }
        }
    }
}

#[test]
fn averages_s8_over_more_taps_than_f32_can_add() {
    let dims = [1, 300, 250, 2];
    let window = Window { kernel: [300, 250], stride: [1, 1], dilation: [1, 1], pad: [0; 4] };
    let p = op::Pool { kind: PoolKind::Average, window, count_include_pad: false, scale: 0.75 };
    let bytes: Vec<u8> = Random(3).bytes(product(&dims)).iter().map(|b| b | 0x80).collect();
    let x: Vec<i8> = bytes.iter().map(|b| b.cast_signed()).collect();
    let y = run(
        Op::Pool(p),
        &[Operand::new(DType::S8, &dims, bytes).quant(1.0, 127)],
        &Operand::output(DType::S8, &[1, 1, 1, 2]).quant(1.0, 100),
    );
    assert_eq!(y.unwrap(), s8_bytes(&pool::oracle::s8(&x, dims, [1, 1], &p, [127, 100])));
}

/// ONNX Runtime's MaxPool and AveragePool of the numbers 1 to 16 as a 4 x 4 image, kernel 3, stride 2, padding 1,
/// worked out by hand.
#[test]
fn pools_a_known_image() {
    let x: Vec<f32> = (1..=16_u8).map(f32::from).collect();
    let window = Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pad: [1; 4] };
    for (kind, count_include_pad, want) in [
        (PoolKind::Max, false, [6.0, 8.0, 14.0, 16.0]),
        (PoolKind::Average, false, [3.5, 5.0, 9.5, 11.0]),
        (PoolKind::Average, true, [14.0 / 9.0, 30.0 / 9.0, 57.0 / 9.0, 99.0 / 9.0]),
    ] {
        let p = op::Pool { kind, window, count_include_pad, scale: 1.0 };
        let y = run(
            Op::Pool(p),
            &[Operand::f32s(&[1, 4, 4, 1], &x)],
            &Operand::output(DType::F32, &[1, 2, 2, 1]),
        );
        assert_eq!(y.unwrap(), f32_bytes(&want), "{kind:?}, padding counts: {count_include_pad}");
    }
}

fn axis_operands(out: usize, taps: usize, indices: &[i32], weights: &[f32]) -> [Operand; 2] {
    [Operand::s32s(&[out, taps], indices).constant(), Operand::f32s(&[out, taps], weights).constant()]
}

#[test]
fn resizes_as_the_oracle() {
    let mut random = Random(2);
    for (taps_y, taps_x, outside) in [(2, 2, false), (2, 2, true), (4, 4, false), (1, 3, true), (3, 2, false)]
    {
        for c in [1, 2, 7, 8, 9, 16, 20, 33, 64, 130] {
            let (dims, out) = ([2, 5, 4, c], [2, 7, 9, c]);
            let mut index = |extent: usize| {
                if outside && random.next().is_multiple_of(8) {
                    -1
                } else {
                    (random.next() as usize % extent) as i32
                }
            };
            let iy: Vec<i32> = (0..out[1] * taps_y).map(|_| index(dims[1])).collect();
            let ix: Vec<i32> = (0..out[2] * taps_x).map(|_| index(dims[2])).collect();
            let mut weights = |n: usize| random.f32s(n).iter().map(|v| v / 16.0).collect::<Vec<_>>();
            let (wy, wx) = (weights(iy.len()), weights(ix.len()));
            let rows = resize::oracle::Axis { taps: taps_y, indices: &iy, weights: &wy };
            let cols = resize::oracle::Axis { taps: taps_x, indices: &ix, weights: &wx };
            let extrapolation = -7.0;
            let p = op::Resize { kind: ResizeKind::Weighted, extrapolation };
            let want = |x: &[f32]| -> Vec<f32> {
                (0..product(&out))
                    .map(|i| {
                        let at =
                            [i / (c * out[2] * out[1]), i / (c * out[2]) % out[1], i / c % out[2], i % c];
                        resize::oracle::weighted(x, dims, &rows, &cols, at).unwrap_or(extrapolation)
                    })
                    .collect()
            };
            let got = |x: Operand, y: Operand| {
                let [a, b] = axis_operands(out[1], taps_y, &iy, &wy);
                let [d, e] = axis_operands(out[2], taps_x, &ix, &wx);
                run(Op::Resize(p), &[x, a, b, d, e], &y).unwrap()
            };
            let gap = c % 3;
            let x = random.f32s(product(&dims));
            let y = got(Operand::f32s(&dims, &x).gap(gap), Operand::output(DType::F32, &out).gap(gap));
            assert!(y == f32_bytes(&want(&x)), "f32 {taps_y}x{taps_x} of {c}");

            let x: Vec<f32> = x.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
            let y = got(
                Operand::new(DType::F16, &dims, f16_bytes(&x)).gap(gap),
                Operand::output(DType::F16, &out).gap(gap),
            );
            assert!(y == f16_bytes(&want(&x)), "f16 {taps_y}x{taps_x} of {c}");

            let bytes = random.bytes(product(&dims));
            let x: Vec<f32> = bytes.iter().map(|b| f32::from(b.cast_signed())).collect();
            let y = got(
                Operand::new(DType::S8, &dims, bytes).gap(gap).quant(0.5, 3),
                Operand::output(DType::S8, &out).gap(gap).quant(0.5, 3),
            );
            let want: Vec<i8> =
                want(&x).iter().map(|v| v.clamp(-128.0, 127.0).round_ties_even() as i8).collect();
            assert!(y == s8_bytes(&want), "s8 {taps_y}x{taps_x} of {c}");
        }
    }
}

#[test]
fn resizes_to_the_nearest() {
    for (dtype, outside) in
        [(DType::S8, vec![0xfd]), (DType::F16, vec![0x00, 0xc2]), (DType::F32, vec![0, 0, 64, 192])]
    {
        for c in [1, 3, 8, 19, 80, 300] {
            let size = dtype.size();
            let bytes = Random(4).bytes(6 * c * size);
            let (iy, ix) = ([0, 0, 1, 1, -1], [2, 0, -1, 1]);
            let [a, b] = axis_operands(5, 1, &iy, &[1.0; 5]);
            let [d, e] = axis_operands(4, 1, &ix, &[1.0; 4]);
            let p = op::Resize { kind: ResizeKind::Nearest, extrapolation: -3.0 };
            let x = Operand::new(dtype, &[1, 2, 3, c], bytes.clone()).gap(2);
            let y =
                run(Op::Resize(p), &[x, a, b, d, e], &Operand::output(dtype, &[1, 5, 4, c]).gap(1)).unwrap();
            let mut want = Vec::new();
            for r in iy {
                for q in ix {
                    if r < 0 || q < 0 {
                        want.extend(outside.repeat(c));
                    } else {
                        want.extend(&bytes[(r * 3 + q) as usize * c * size..][..c * size]);
                    }
                }
            }
            assert_eq!(y, want, "{} of {c}", dtype.name());
        }
    }
}

#[test]
fn refuses_resize_tables_that_leave_the_image() {
    for (index, weight) in [(2, 1.0), (-2, 1.0), (i32::MAX, 1.0), (0, f32::NAN), (0, f32::INFINITY)] {
        let [a, b] = axis_operands(1, 1, &[index], &[weight]);
        let [d, e] = axis_operands(1, 1, &[0], &[1.0]);
        let p = op::Resize { kind: ResizeKind::Weighted, extrapolation: 0.0 };
        let x = Operand::f32s(&[1, 2, 2, 1], &[0.0; 4]);
        let y = run(Op::Resize(p), &[x, a, b, d, e], &Operand::output(DType::F32, &[1, 1, 1, 1]));
        assert!(y.is_err(), "index {index}, weight {weight}");
    }
}

/// Runs a copy over an output full of poison and compares all of it.
fn check_copy(dtype: DType, p: op::Copy, x_len: usize, y_len: usize) {
    let size = dtype.size();
    let bytes = Random(x_len as u64).bytes(x_len * size);
    let mut want = vec![POISON; y_len * size];
    copy::oracle::copy(&p, size, &bytes, &mut want);
    let x = Operand::new(dtype, &[x_len], bytes);
    let y = run(Op::Copy(p), &[x], &Operand::output(dtype, &[y_len])).unwrap();
    assert!(y == want, "{} {p:?}", dtype.name());
}

const TYPES: [DType; 4] = [DType::S8, DType::F16, DType::F32, DType::S64];

#[test]
fn transposes() {
    for dtype in TYPES {
        for (a, b) in [
            (1, 5),
            (2, 300),
            (3, 1000),
            (4, 65),
            (16, 16),
            (5, 7),
            (17, 33),
            (70, 260),
            (300, 31),
            (8, 4),
            (129, 1100),
            (1000, 3),
            (3001, 2),
            (2500, 4),
            (40_000, 3),
        ] {
            for batch in [1, 3] {
                let p = op::Copy {
                    dims: [batch, b, a, 1, 1, 1],
                    src_offset: 0,
                    src_strides: [(a * b) as i32, 1, b as i32, 0, 0, 0],
                    dst_offset: 0,
                    dst_strides: [(a * b) as i32, a as i32, 1, 0, 0, 0],
                };
                check_copy(dtype, p, (a * b * batch) as usize, (a * b * batch) as usize);
            }
        }
    }
}

#[test]
fn copies_blocks_reversed_repeated_and_long() {
    let block = |dims: [u32; 6], src_offset, src_strides, dst_offset, dst_strides| op::Copy {
        dims,
        src_offset,
        src_strides,
        dst_offset,
        dst_strides,
    };
    for dtype in TYPES {
        // One element; a long run; a long run backwards; one element to many; every third to every second.
        check_copy(dtype, block([1; 6], 2, [9; 6], 1, [-4; 6]), 3, 2);
        check_copy(dtype, block([100_001, 1, 1, 1, 1, 1], 1, [1; 6], 5, [1; 6]), 100_002, 100_010);
        check_copy(dtype, block([1, 1, 1, 1, 1, 70_001], 70_000, [-1; 6], 0, [1; 6]), 70_001, 70_001);
        check_copy(
            dtype,
            block([50, 1, 1, 1, 1, 300], 0, [1, 0, 0, 0, 0, 0], 0, [300, 1, 1, 1, 1, 1]),
            50,
            15_000,
        );
        check_copy(dtype, block([100, 1, 1, 1, 1, 1], 0, [3; 6], 1, [2; 6]), 300, 200);
        // Pairs and rows out of order.
        check_copy(
            dtype,
            block([7, 9, 2, 1, 1, 1], 0, [2, 14, 1, 0, 0, 0], 3, [18, 2, 1, 0, 0, 0]),
            126,
            140,
        );
        check_copy(
            dtype,
            block([2, 3, 4, 3, 2, 5], 4, [360, -2, 9, 90, 40, 1], 7, [400, 5, 90, 15, 45, 1]),
            1000,
            1000,
        );
    }
}

#[test]
fn copies_between_columns_of_one_buffer() {
    use cygnet_format::program::{Step, Storage, Tensor};
    use cygnet_kernels::{Arena, Limits, prepare, view::Mem};
    // Rows of 64 bytes: x has the first 16, y the last 32.
    let tensor = |offset: u64, cols: u32| Tensor {
        name: "t".to_owned(),
        dtype: DType::S8,
        storage: Storage::Arena,
        offset,
        dims: vec![3, cols],
        pitch: 64,
        quant: None,
    };
    let tensors = [tensor(32, 32), tensor(0, 16)];
    let mut arena = Arena::new(192).unwrap();
    for (i, b) in arena.bytes_mut().iter_mut().enumerate() {
        *b = i as u8;
    }
    let go = |p: op::Copy| {
        let step = Step { name: "s".to_owned(), op: Op::Copy(p), inputs: vec![Some(1)], output: 0 };
        let weights = [0; 32];
        let limits = Limits { arena_bytes: 192, weights: &weights };
        let kernel = prepare(&step, &tensors, &limits, Cpu::detect())?;
        let mem = Mem { arena: arena.as_ptr(), weights: weights.as_ptr(), scratch: std::ptr::dangling_mut() };
        for tile in 0..kernel.tiles() {
            // SAFETY: the memory the step was prepared against, and nobody else's.
            unsafe { kernel.run_tile(&mem, tile) };
        }
        Ok::<_, cygnet_kernels::PrepareError>(arena.bytes().to_vec())
    };
    let block = |dims, src_offset, src, dst_offset, dst| {
        let pad = |[a, b]: [i32; 2]| [a, b, 0, 0, 0, 0];
        let [a, b]: [u32; 2] = dims;
        op::Copy {
            dims: [a, b, 1, 1, 1, 1],
            src_offset,
            src_strides: pad(src),
            dst_offset,
            dst_strides: pad(dst),
        }
    };
    // Sixteen columns of rows 2, 1, 0 to columns 4 to 19 of rows 0, 1, 2.
    let got = go(block([3, 16], 128, [-64, 1], 4, [64, 1])).unwrap();
    for (i, &b) in got.iter().enumerate() {
        let (row, col) = (i / 64, i % 64);
        let from = if (36..52).contains(&col) { (2 - row) * 64 + col - 36 } else { i };
        assert_eq!(b, from as u8, "byte {i}");
    }
    // One column too many on either side, and steps that wander from row to row.
    assert!(go(block([3, 17], 0, [64, 1], 0, [64, 1])).is_err());
    assert!(go(block([3, 16], 0, [64, 1], 17, [64, 1])).is_err());
    assert!(go(block([3, 2], 0, [65, 1], 0, [64, 1])).is_ok());
    assert!(go(block([3, 15], 0, [65, 1], 0, [64, 1])).is_err());
    assert!(go(block([1, 70], 0, [0, 1], 0, [0, 1])).is_err());
    assert!(go(block([3, 1], 15, [63, 0], 0, [64, 0])).is_ok());
    assert!(go(block([3, 1], 1, [63, 0], 0, [64, 0])).is_err());
}

#[test]
fn refuses_to_write_an_element_twice() {
    for (dims, dst) in
        [([2, 3], [2, 1]), ([4, 4], [0, 1]), ([2, 2], [1, 1]), ([5, 1], [-1, 1]), ([3, 2], [2, 3])]
    {
        let p = op::Copy {
            dims: [dims[0], dims[1], 1, 1, 1, 1],
            src_offset: 0,
            src_strides: [0; 6],
            dst_offset: 20,
            dst_strides: [dst[0], dst[1], 0, 0, 0, 0],
        };
        let x = Operand::new(DType::S8, &[4], vec![0; 4]);
        assert!(run(Op::Copy(p), &[x], &Operand::output(DType::S8, &[64])).is_err(), "{dims:?} {dst:?}");
    }
}

#[test]
fn fills() {
    for (dtype, bits, want) in [
        (DType::U8, 0xffff_ff7f, vec![0x7f]),
        (DType::F16, 0x3c00, vec![0x00, 0x3c]),
        (DType::F32, 0x3f80_0001, vec![1, 0, 0x80, 0x3f]),
    ] {
        for (dims, gap) in
            [(&[3, 5, 7][..], 4), (&[1][..], 0), (&[][..], 0), (&[2, 300_001][..], 0), (&[900, 400][..], 1)]
        {
            let y = run(Op::Fill(op::Fill { bits }), &[], &Operand::output(dtype, dims).gap(gap)).unwrap();
            assert!(y == want.repeat(product(dims)), "{} {dims:?}", dtype.name());
        }
    }
}

#[test]
fn gathers_as_the_oracle() {
    let cases: [(&[usize], usize, &[usize]); 9] = [
        (&[5], 0, &[]),
        (&[5], 0, &[3]),
        (&[4, 6], 0, &[2, 3]),
        (&[4, 6], 1, &[2, 3]),
        (&[4, 6], 1, &[]),
        (&[3, 4, 5, 6], 1, &[7]),
        (&[3, 4, 5, 6], 2, &[1, 1]),
        (&[2, 9, 33], 1, &[]),
        (&[1000, 384], 0, &[128]),
    ];
    let mut random = Random(6);
    for dtype in TYPES {
        for (dims, axis, index_dims) in cases {
            for constant in [false, true] {
                let indices: Vec<i32> = (0..product(index_dims))
                    .map(|_| match random.next() % 8 {
                        0 => i32::MIN,
                        1 => i32::MAX,
                        _ => (random.next() % (dims[axis] as u32 * 2)) as i32 - dims[axis] as i32,
                    })
                    .collect();
                let out = [&dims[..axis], index_dims, &dims[axis + 1..]].concat();
                let size = dtype.size();
                let bytes = random.bytes(product(dims) * size);
                let want: Vec<u8> = (0..product(&out))
                    .flat_map(|at| {
                        let from = gather::oracle::source(dims, axis, &indices, at) * size;
                        bytes[from..from + size].to_vec()
                    })
                    .collect();
                let gap = usize::from(!constant) * 3;
                let mut index = Operand::s32s(index_dims, &indices);
                index = if constant { index.constant() } else { index.gap(1) };
                let y = run(
                    Op::Gather(op::Gather { axis: axis as u32 }),
                    &[Operand::new(dtype, dims, bytes).gap(gap), index],
                    &Operand::output(dtype, &out).gap(gap / 2),
                );
                assert!(y.unwrap() == want, "{} {dims:?} axis {axis} by {index_dims:?}", dtype.name());
            }
        }
    }
}

/// Parameters of a hostile file: small enough to mean something, or anything.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 0_u32..5, 1 => 0_u32..100, 1 => any::<u32>(), 1 => Just(i32::MAX as u32)]
}

fn stride() -> impl Strategy<Value = i32> {
    prop_oneof![4 => -3_i32..40, 1 => any::<i32>(), 1 => Just(i32::MIN)]
}

/// Random cases: fewer where an emulator runs them.
const CASES: u32 = if cfg!(target_arch = "aarch64") { 100 } else { 1000 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the parameters: refused, or done as the oracle does it, and nothing else changed (the case checks).
    #[test]
    fn copies_whatever_the_parameters(
        dims in prop::array::uniform6(prop_oneof![12 => Just(1), 6 => 1_u32..5, 1 => word()]),
        src_offset in word(),
        src_strides in prop::array::uniform6(stride()),
        dst_offset in word(),
        dst_strides in prop::array::uniform6(stride()),
        gap in 0_usize..3,
    ) {
        let p = op::Copy { dims, src_offset, src_strides, dst_offset, dst_strides };
        let bytes = Random(9).bytes(16 * 12 * 2);
        let x = Operand::new(DType::F16, &[16, 12], bytes.clone()).gap(gap);
        let y = Operand::output(DType::F16, &[20, 11]).gap(gap);
        if let Ok(got) = run(Op::Copy(p), &[x], &y) {
            let mut from = Vec::new();
            for row in bytes.chunks(24) {
                from.extend(row);
                from.extend(vec![0xee; gap * 2]);
            }
            let row = (11 + gap) * 2;
            let mut want = vec![POISON; 20 * row];
            copy::oracle::copy(&p, 2, &from, &mut want);
            let want: Vec<u8> = want.chunks(row).flat_map(|r| r[..22].to_vec()).collect();
            prop_assert_eq!(got, want);
        }
    }

    /// Blocks that are permutations of an array's dimensions are never refused.
    #[test]
    fn permutes_dimensions(
        dims in prop::array::uniform6(1_u32..6),
        order in Just([0_usize, 1, 2, 3, 4, 5]).prop_shuffle(),
        code in 0_usize..4,
    ) {
        let (mut src_strides, mut dst_strides) = ([0; 6], [0; 6]);
        let (mut s, mut d) = (1, 1);
        for i in (0..6).rev() {
            src_strides[i] = s;
            s *= dims[i] as i32;
            dst_strides[order[i]] = d;
            d *= dims[order[i]] as i32;
        }
        let p = op::Copy { dims, src_offset: 0, src_strides, dst_offset: 0, dst_strides };
        check_copy(TYPES[code], p, s as usize, d as usize);
    }

    #[test]
    fn pools_whatever_the_parameters(
        kernel in prop::array::uniform2(word()),
        strides in prop::array::uniform2(word()),
        dilation in prop::array::uniform2(word()),
        pad in prop::array::uniform4(word()),
        out in prop::array::uniform2(1_usize..6),
        average in any::<bool>(),
        count_include_pad in any::<bool>(),
        scale in prop_oneof![Just(1.0), any::<f32>()],
        zero_point in prop_oneof![-128_i32..=127, any::<i32>()],
    ) {
        let kind = if average { PoolKind::Average } else { PoolKind::Max };
        let window = Window { kernel, stride: strides, dilation, pad };
        let p = op::Pool { kind, window, count_include_pad, scale };
        let dims = [1, 4, 5, 9];
        let bytes = Random(7).bytes(product(&dims));
        let x: Vec<i8> = bytes.iter().map(|b| b.cast_signed()).collect();
        let y = run(
            Op::Pool(p),
            &[Operand::new(DType::S8, &dims, bytes).quant(1.0, zero_point)],
            &Operand::output(DType::S8, &[1, out[0], out[1], 9]).quant(1.0, zero_point),
        );
        if let Ok(y) = y && kernel.iter().all(|&k| k < 100) {
            prop_assert_eq!(y, s8_bytes(&pool::oracle::s8(&x, dims, out, &p, [zero_point; 2])));
        }
    }

    #[test]
    fn gathers_whatever_the_axis(axis in word(), indices in prop::collection::vec(any::<i32>(), 4)) {
        let x = Operand::new(DType::S8, &[3, 4, 5], Random(8).bytes(60));
        let y = Operand::output(DType::S8, &[3, 4, 5]);
        let done = run(Op::Gather(op::Gather { axis }), &[x, Operand::s32s(&[4], &indices)], &y);
        prop_assert_eq!(done.is_ok(), axis == 1);
    }
}
