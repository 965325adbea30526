//! A small model, and files put together by hand: independent of the writer.
#![allow(dead_code)] // each test file uses a part

use cygnet_format::meta::{key, provenance};
use cygnet_format::op::{self, Algorithm, BinaryKind, Epilogue, Op, Unary, UnaryKind, Window};
use cygnet_format::*;

/// Everything a file can hold, small.
pub struct Content {
    pub programs: Vec<Program>,
    pub weights: Vec<u8>,
    pub quant: QuantReport,
    pub golden: Vec<GoldenCase>,
    pub meta: Meta,
    pub provenance: Meta,
}

impl Content {
    pub fn writer(&self) -> Writer<'_> {
        let mut writer = Writer::new();
        for program in &self.programs {
            writer.program(program);
        }
        writer
            .weights(&self.weights, WeightsAlign::Page16K)
            .pack_id(7)
            .quant(&self.quant)
            .golden(&self.golden)
            .meta(&self.meta)
            .provenance(&self.provenance);
        writer
    }
}

fn tensor(name: &str, dtype: DType, storage: Storage, offset: u64, dims: &[u32]) -> Tensor {
    let pitch = dims.last().copied().unwrap_or(1);
    Tensor { name: name.into(), dtype, storage, offset, dims: dims.to_vec(), pitch, quant: None }
}

fn quant(mut tensor: Tensor, scale: f32, zero_point: i32) -> Tensor {
    tensor.quant = Some(Quant { scale, zero_point });
    tensor
}

/// A convolution of 1 x 1 and a doubling that place their results side by side, then a conversion to f32.
pub fn tiny_program() -> Program {
    let mut left = quant(tensor("left", DType::S8, Storage::Arena, 64, &[1, 2, 2, 3]), 0.5, -1);
    left.pitch = 6;
    let mut right = quant(tensor("right", DType::S8, Storage::Arena, 67, &[1, 2, 2, 3]), 0.5, -1);
    right.pitch = 6;
    Program {
        name: "2x2".into(),
        tensors: vec![
            quant(tensor("image", DType::S8, Storage::Arena, 0, &[1, 2, 2, 3]), 0.25, -128),
            left,
            right,
            quant(tensor("both", DType::S8, Storage::Arena, 64, &[1, 2, 2, 6]), 0.5, -1),
            tensor("größe", DType::F32, Storage::Arena, 128, &[1, 2, 2, 6]),
            tensor("packed", DType::Packed, Storage::Weights, 0, &[32]),
            tensor("bias", DType::S32, Storage::Weights, 64, &[3]),
            tensor("multiplier", DType::F32, Storage::Weights, 128, &[3]),
        ],
        steps: vec![
            Step {
                name: "conv".into(),
                op: Op::Conv(op::Conv {
                    window: Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0; 4] },
                    groups: 1,
                    epilogue: Epilogue { lo: -128.0, hi: 127.0, unary: Unary::IDENTITY },
                    algorithm: Algorithm::Direct,
                    addend_scale: 0.0,
                }),
                inputs: vec![Some(0), Some(5), Some(6), Some(7), None],
                output: 1,
            },
            Step {
                name: "double".into(),
                op: Op::Binary(op::Binary {
                    kind: BinaryKind::Add,
                    scale_a: 0.5,
                    scale_b: 0.5,
                    epilogue: Epilogue::NONE,
                }),
                inputs: vec![Some(0), Some(0)],
                output: 2,
            },
            Step { name: "real".into(), op: Op::Convert(op::Convert {}), inputs: vec![Some(3)], output: 4 },
            Step {
                name: "clip".into(),
                op: Op::Map(op::Map { unary: Unary { kind: UnaryKind::Clip, a: 0.0, b: f32::INFINITY } }),
                inputs: vec![Some(4)],
                output: 4,
            },
        ],
        inputs: vec![Port { name: "image".into(), tensor: 0 }],
        outputs: vec![Port { name: "größe".into(), tensor: 4 }],
        states: vec![],
        arena_bytes: 256,
        arena_lower_bound: 192,
    }
}

/// What version 1.0 has no words for, beside what it has.
pub fn tiny_1_1() -> Content {
    let mut content = tiny();
    let Op::Conv(conv) = &mut content.programs[1].steps[0].op else {
        panic!("the first step is a convolution")
    };
    conv.algorithm = Algorithm::Winograd4x4;
    content
}

pub fn tiny() -> Content {
    let mut second = tiny_program();
    second.name = "again".into();
    second.steps.truncate(3);
    let image =
        Array { name: "image".into(), dtype: DType::S8, dims: vec![1, 2, 2, 3], bytes: (0..12).collect() };
    let result = Array {
        name: "größe".into(),
        dtype: DType::F32,
        dims: vec![1, 2, 2, 6],
        bytes: (0..24).flat_map(|i| (i as f32 * 0.5).to_le_bytes()).collect(),
    };
    let mut meta = Meta::new();
    meta.set(key::TASK, "classify")
        .set(key::LABELS, "cat\nfish")
        .set(key::SIZE, "2x2")
        .set(key::LETTERBOX, "true")
        .set_numbers(key::MEAN, &[0.485, 0.456, 0.406]);
    Content {
        programs: vec![tiny_program(), second],
        weights: (0..192).map(|i| (i * 7 % 251) as u8).collect(),
        quant: QuantReport {
            steps: vec![
                StepReport {
                    name: "conv".into(),
                    precision: Precision::Int8,
                    sqnr_db: Some(37.5),
                    reason: "within budget".into(),
                },
                StepReport {
                    name: "clip".into(),
                    precision: Precision::F32,
                    sqnr_db: None,
                    reason: "output".into(),
                },
            ],
            tensors: vec![TensorRange { name: "image".into(), min: 0.0, max: 63.75 }],
        },
        golden: vec![
            GoldenCase {
                program: 0,
                tolerance: 0.0,
                inputs: vec![image.clone()],
                outputs: vec![result.clone()],
            },
            GoldenCase { program: 1, tolerance: 0.01, inputs: vec![image], outputs: vec![result] },
        ],
        meta,
        provenance: [(provenance::TOOL, "cygnet"), (provenance::SEED, "0")].into_iter().collect(),
    }
}

/// Adds what comes in to a sum that the file begins with, and keeps what came last.
pub fn streaming_program() -> Program {
    let copy = |from, to| Step {
        name: String::new(),
        op: Op::Copy(op::Copy {
            dims: [4, 1, 1, 1, 1, 1],
            src_offset: 0,
            src_strides: [1, 0, 0, 0, 0, 0],
            dst_offset: 0,
            dst_strides: [1, 0, 0, 0, 0, 0],
        }),
        inputs: vec![Some(from)],
        output: to,
    };
    let add = Op::Binary(op::Binary {
        kind: BinaryKind::Add,
        scale_a: 1.0,
        scale_b: 1.0,
        epilogue: Epilogue::NONE,
    });
    Program {
        name: "sum".into(),
        tensors: vec![
            tensor("x", DType::F32, Storage::Arena, 0, &[4]),
            tensor("sum", DType::F32, Storage::Arena, 64, &[4]),
            tensor("last", DType::F32, Storage::Arena, 128, &[4]),
            tensor("y", DType::F32, Storage::Arena, 192, &[4]),
            tensor("start", DType::F32, Storage::Weights, 0, &[4]),
        ],
        steps: vec![
            Step { name: "add".into(), op: add, inputs: vec![Some(0), Some(1)], output: 3 },
            copy(3, 1),
            copy(0, 2),
        ],
        inputs: vec![Port { name: "x".into(), tensor: 0 }],
        outputs: vec![Port { name: "y".into(), tensor: 3 }],
        states: vec![
            State { name: "sum".into(), tensor: 1, initial: Some(4) },
            State { name: "last".into(), tensor: 2, initial: None },
        ],
        arena_bytes: 256,
        arena_lower_bound: 192,
    }
}

/// A file whose program has states.
pub fn streaming() -> Content {
    let weights: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut content = tiny();
    content.programs = vec![streaming_program()];
    content.weights = [weights, vec![0; 80]].concat();
    content.golden.clear();
    content
}

/// A section to be put in a file: kind, flags, alignment, bytes.
pub type Part = ([u8; 4], u32, u32, Vec<u8>);

/// What a header says beyond its sections.
pub struct Frame {
    pub version: (u16, u16),
    /// Bytes behind the header's known fields.
    pub header_tail: Vec<u8>,
    /// Bytes behind each entry's known fields.
    pub entry_tail: Vec<u8>,
    /// Bytes behind the last section.
    pub tail: Vec<u8>,
}

impl Default for Frame {
    fn default() -> Self {
        Self { version: (1, 0), header_tail: vec![], entry_tail: vec![], tail: vec![] }
    }
}

impl Frame {
    /// A file of the parts, by the letter of the specification.
    pub fn file(&self, parts: &[Part]) -> Vec<u8> {
        let header_bytes = 40 + self.header_tail.len();
        let entry_bytes = 32 + self.entry_tail.len();
        let head_bytes = header_bytes + entry_bytes * parts.len();
        let mut body = Vec::new();
        let mut table = Vec::new();
        for (kind, flags, alignment, bytes) in parts {
            let offset = (head_bytes + body.len()).next_multiple_of(*alignment as usize);
            body.resize(offset - head_bytes, 0);
            body.extend(bytes);
            table.extend(kind);
            table.extend(flags.to_le_bytes());
            table.extend((offset as u64).to_le_bytes());
            table.extend((bytes.len() as u64).to_le_bytes());
            table.extend(alignment.to_le_bytes());
            table.extend(crc32c::crc32c(bytes).to_le_bytes());
            table.extend(&self.entry_tail);
        }
        body.extend(&self.tail);
        let mut file = vec![0x89, b'C', b'Y', b'G', 13, 10, 26, 10];
        file.extend(self.version.0.to_le_bytes());
        file.extend(self.version.1.to_le_bytes());
        file.extend((header_bytes as u32).to_le_bytes());
        file.extend(((head_bytes + body.len()) as u64).to_le_bytes());
        file.extend((parts.len() as u32).to_le_bytes());
        file.extend((entry_bytes as u32).to_le_bytes());
        file.extend([0; 4]);
        file.extend(7_u32.to_le_bytes());
        file.extend(&self.header_tail);
        file.extend(table);
        seal_head(&mut file, head_bytes);
        file.extend(body);
        file
    }
}

fn seal_head(file: &mut [u8], head_bytes: usize) {
    file[32..36].fill(0);
    let crc = crc32c::crc32c(&file[..head_bytes]);
    file[32..36].copy_from_slice(&crc.to_le_bytes());
}

/// The parts of a file that is in order.
pub fn parts(file: &[u8]) -> Vec<Part> {
    let reader = Reader::open(file).expect("a file in order");
    let part = |(i, s): (usize, &Section)| {
        (s.kind.0, s.flags, s.alignment, reader.section_bytes(i).expect("it is there").to_vec())
    };
    reader.sections().iter().enumerate().map(part).collect()
}

/// Makes every checksum right again, where the table allows it.
pub fn seal(file: &mut [u8]) {
    let u32_at = |file: &[u8], at: usize| {
        file.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().expect("4")) as usize)
    };
    let u64_at = |file: &[u8], at: usize| {
        file.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().expect("8")) as usize)
    };
    let (Some(header), Some(count), Some(entry)) = (u32_at(file, 12), u32_at(file, 24), u32_at(file, 28))
    else {
        return;
    };
    let Some(head) =
        count.checked_mul(entry).and_then(|n| n.checked_add(header)).filter(|&n| n <= file.len())
    else {
        return;
    };
    for i in 0..count {
        let at = header + i * entry;
        let (Some(offset), Some(length)) = (u64_at(file, at + 8), u64_at(file, at + 16)) else { continue };
        let Some(bytes) = offset.checked_add(length).and_then(|end| file.get(offset..end)) else { continue };
        let crc = crc32c::crc32c(bytes);
        if let Some(place) = file.get_mut(at + 28..at + 32) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }
    if head >= 36 {
        seal_head(file, head);
    }
}

/// Asks a reader for everything; the programs it proved.
pub fn read_all(file: &[u8]) -> Result<Vec<Program>, FormatError> {
    let reader = Reader::open(file)?;
    let programs = (0..reader.programs()).map(|i| reader.program(i)).collect();
    let others = [
        reader.meta().map(drop),
        reader.provenance().map(drop),
        reader.quant().map(drop),
        reader.golden().map(drop),
    ];
    others.into_iter().collect::<Result<(), _>>()?;
    programs
}
