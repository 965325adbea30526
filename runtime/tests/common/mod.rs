//! Programs for the tests, built as the converter builds them.
#![allow(dead_code)] // Each test binary uses a part.

use cygnet::format::op::{Algorithm, Binary, BinaryKind, Conv, Copy, Epilogue, Op, Window};
use cygnet::format::program::{DType, Port, Program, Quant, READ_SLACK, Step, Storage, Tensor};
use cygnet::format::{GoldenCase, Meta, WeightsAlign, Writer};
use cygnet_kernels::conv::pack;

pub const SIDE: usize = 64;
pub const CHANNELS: usize = 16;
pub const LEN: usize = SIDE * SIDE * CHANNELS;

pub fn tensor(name: &str, dtype: DType, storage: Storage, offset: usize, dims: &[u32]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dtype,
        storage,
        offset: offset as u64,
        dims: dims.to_vec(),
        pitch: dims.last().copied().unwrap_or(1),
        quant: None,
    }
}

pub fn port(name: &str, tensor: u32) -> Port {
    Port { name: name.to_owned(), tensor }
}

pub fn step(name: &str, op: Op, inputs: &[u32], output: u32) -> Step {
    Step { name: name.to_owned(), op, inputs: inputs.iter().map(|&id| Some(id)).collect(), output }
}

/// Copies `dims` elements in order.
pub fn copy(dims: [u32; 6], src: [i32; 6], dst: [i32; 6]) -> Op {
    Op::Copy(Copy { dims, src_offset: 0, src_strides: src, dst_offset: 0, dst_strides: dst })
}

/// `y = max(x + 1, 0)` by a 3 x 3 convolution, `z = y * x`, `out` = z with the channels first. With `reuse`, the
/// output takes the input's place.
pub fn network(name: &str, reuse: bool) -> Program {
    use Storage::{Arena, Weights};
    let slot = LEN * 4 + 64;
    let image = [1, SIDE as u32, SIDE as u32, CHANNELS as u32];
    let packed = pack::packed_len_f32(CHANNELS, 9, CHANNELS, 1).unwrap();
    let out_at = if reuse { 0 } else { 3 * slot };
    let tensors = vec![
        tensor("x", DType::F32, Arena, 0, &image),
        tensor("y", DType::F32, Arena, slot, &image),
        tensor("z", DType::F32, Arena, 2 * slot, &image),
        tensor("out", DType::F32, Arena, out_at, &[1, CHANNELS as u32, SIDE as u32, SIDE as u32]),
        tensor("w", DType::Packed, Weights, 0, &[packed as u32]),
        tensor("b", DType::F32, Weights, packed, &[CHANNELS as u32]),
        tensor("pad", DType::F32, Weights, packed + 64, &[CHANNELS as u32]),
    ];
    let window = Window { kernel: [3; 2], stride: [1; 2], dilation: [1; 2], pad: [1; 4] };
    let conv = Conv {
        window,
        groups: 1,
        epilogue: Epilogue { lo: 0.0, ..Epilogue::NONE },
        algorithm: Algorithm::Direct,
        addend_scale: 0.0,
    };
    let mul = Binary { kind: BinaryKind::Mul, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE };
    let (area, c) = ((SIDE * SIDE) as u32, CHANNELS as u32);
    let dims = [1, 1, 1, 1, c, area];
    let transpose = copy(dims, [0, 0, 0, 0, 1, c as i32], [0, 0, 0, 0, area as i32, 1]);
    let mut conv = step("conv", Op::Conv(conv), &[0, 4, 5], 1);
    conv.inputs.extend([None, Some(6)]);
    let steps = vec![conv, step("mul", Op::Binary(mul), &[1, 0], 2), step("transpose", transpose, &[2], 3)];
    let slots = if reuse { 3 } else { 4 };
    Program {
        name: name.to_owned(),
        tensors,
        steps,
        inputs: vec![port("x", 0)],
        outputs: vec![port("out", 3)],
        states: vec![],
        arena_bytes: (slots * slot) as u64,
        arena_lower_bound: 0,
    }
}

/// Copies 32-bit integers `ids` `[2, 2]` and quantized bytes `q` `[4]`.
pub fn copies() -> Program {
    use Storage::Arena;
    let mut tensors = vec![
        tensor("ids", DType::S32, Arena, 0, &[2, 2]),
        tensor("q", DType::S8, Arena, 64, &[4]),
        tensor("ids out", DType::S32, Arena, 128, &[2, 2]),
        tensor("q out", DType::S8, Arena, 192, &[4]),
    ];
    let quant = Some(Quant { scale: 0.5, zero_point: -3 });
    (tensors[1].quant, tensors[3].quant) = (quant, quant);
    let all = || copy([1, 1, 1, 1, 1, 4], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1]);
    Program {
        name: "copies".to_owned(),
        tensors,
        steps: vec![step("a", all(), &[0], 2), step("b", all(), &[1], 3)],
        inputs: vec![port("ids", 0), port("q", 1)],
        outputs: vec![port("ids", 2), port("q", 3)],
        states: vec![],
        arena_bytes: 256,
        arena_lower_bound: 0,
    }
}

/// The constants of [`network`]: the kernel's middle is the identity, the bias 1, the padding 0.
pub fn weights() -> Vec<u8> {
    let (taps, c) = (9, CHANNELS);
    let mut w = vec![0.0_f32; c * taps * c];
    for m in 0..c {
        w[(m * taps + 4) * c + m] = 1.0;
    }
    let mut bytes = pack::pack_f32(&w, c, taps, c, 1);
    bytes.extend([1.0_f32; CHANNELS].iter().flat_map(|v| v.to_le_bytes()));
    bytes.resize(bytes.len() + 64 + READ_SLACK, 0);
    bytes
}

/// A file with three programs.
pub fn file(golden: &[GoldenCase]) -> Vec<u8> {
    let (keep, reuse, copies) = (network("keep", false), network("reuse", true), copies());
    let meta: Meta = [("task", "test")].into_iter().collect();
    let weights = weights();
    let mut writer = Writer::new();
    writer.program(&keep).program(&reuse).program(&copies).weights(&weights, WeightsAlign::Page16K);
    writer.pack_id(pack::PACK_ID).meta(&meta).golden(golden).finish().unwrap()
}

/// Values from -2 to 2 in steps of 1/64: exact in every operation of [`network`].
pub fn sample() -> Vec<f32> {
    (0..LEN).map(|i| ((i * 37) % 257) as f32 / 64.0 - 2.0).collect()
}

/// What [`network`] makes of `x`, by its definition.
pub fn expected(x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; LEN];
    for (i, &v) in x.iter().enumerate() {
        let (pixel, channel) = (i / CHANNELS, i % CHANNELS);
        out[channel * SIDE * SIDE + pixel] = (v + 1.0).max(0.0) * v;
    }
    out
}
