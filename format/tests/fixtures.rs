//! Files of released versions load in every later one.

mod common;

use common::{streaming, streaming_program, tiny, tiny_1_1};
use cygnet_format::meta::key;
use cygnet_format::op::{self, Epilogue, Op, Unary, UnaryKind};
use cygnet_format::*;
use std::path::PathBuf;

const V1_0: &[u8] = include_bytes!("fixtures/v1_0_tiny.cygnet");
const V1_1: &[u8] = include_bytes!("fixtures/v1_1_tiny.cygnet");
const V1_1_STREAMING: &[u8] = include_bytes!("fixtures/v1_1_streaming.cygnet");

#[test]
fn version_1_0_loads() {
    let want = tiny();
    let reader = Reader::open(V1_0).unwrap();
    reader.check_payload().unwrap();
    assert_eq!(reader.version(), (1, 0));
    assert_eq!(reader.pack_id(), 7);
    assert_eq!(reader.programs(), 2);
    for (i, program) in want.programs.iter().enumerate() {
        assert_eq!(&reader.program(i).unwrap(), program);
    }
    assert_eq!(reader.program(2), Err(FormatError::NoProgram { index: 2, count: 2 }));
    assert_eq!(reader.weights(), want.weights);
    assert_eq!(reader.weights_offset(), 16384);
    assert_eq!(reader.meta().unwrap(), want.meta);
    assert_eq!(reader.provenance().unwrap(), want.provenance);
    assert_eq!(reader.quant().unwrap(), want.quant);
    assert_eq!(reader.golden().unwrap(), want.golden);

    let meta = reader.meta().unwrap();
    assert_eq!(meta.lines(key::LABELS), ["cat", "fish"]);
    assert_eq!(meta.numbers(key::MEAN), Ok(Some(vec![0.485, 0.456, 0.406])));
    assert_eq!(meta.size(key::SIZE), Ok(Some([2, 2])));
    assert_eq!(meta.flag(key::LETTERBOX), Ok(Some(true)));
    assert_eq!(meta.number(key::SCALE), Ok(None));
    assert!(meta.number(key::TASK).unwrap_err().to_string().contains("\"classify\" where a finite number"));
}

#[test]
fn version_1_1_loads() {
    let reader = Reader::open(V1_1).unwrap();
    reader.check_payload().unwrap();
    assert_eq!(reader.version(), (1, 1));
    for (i, program) in tiny_1_1().programs.iter().enumerate() {
        assert_eq!(&reader.program(i).unwrap(), program);
    }
    // The first program has the words of version 1.0; the convolution of the second one word more.
    let words = |i: usize| {
        let program = reader.sections().iter().filter(|s| s.kind == Kind::PROGRAM).nth(i).unwrap();
        let at = program.offset as usize + 40;
        u32::from_le_bytes(V1_1[at..at + 4].try_into().unwrap())
    };
    assert_eq!([words(0), words(1)], [16 + 8 + 3, 17 + 8]);
}

/// The frame and the start of the first program, spelled out from docs/format.md.
#[test]
fn version_1_0_byte_for_byte() {
    let u32_at = |at: usize| u32::from_le_bytes(V1_0[at..at + 4].try_into().unwrap());
    assert_eq!(&V1_0[..16], b"\x89CYG\r\n\x1a\n\x01\x00\x00\x00\x28\x00\x00\x00");
    assert_eq!(u32_at(16) as usize, V1_0.len());
    assert_eq!([u32_at(20), u32_at(24), u32_at(28), u32_at(36)], [0, 7, 32, 7]);
    assert_eq!(&V1_0[40..48], b"PROG\x01\x00\x00\x00");
    assert_eq!([u32_at(48), u32_at(52), u32_at(60), u32_at(64)], [264, 0, 0, 8]); // 40 + 7 * 32 = 264
    assert_eq!(&V1_0[232..240], b"WGHT\x01\x00\x00\x00");
    // Header: own size, name length, 8 tensors of 56, 4 steps of 32, 1 input, 1 output of 16; operands 5+2+1+1;
    // parameter words 16 + 8 + 0 + 3 (conv: window 10, groups 1, epilogue 5; binary: 3 + 5).
    let head: Vec<u32> = (0..11).map(|i| u32_at(264 + 4 * i)).collect();
    assert_eq!(head, [72, 3, 8, 56, 4, 32, 1, 1, 16, 9, 27]);
    // First tensor: name at 3, 5 bytes; s8, arena, rank 4, quantized; pitch 3; offset 0; dims; scale 0.25; zero -128.
    let first: Vec<u32> = (0..14).map(|i| u32_at(336 + 4 * i)).collect();
    assert_eq!(first, [3, 5, 0x01_04_01_03, 3, 0, 0, 1, 2, 2, 3, 0, 0, 0.25_f32.to_bits(), -128_i32 as u32]);
    // The check value that catalogues give for CRC-32C.
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn the_writer_still_writes_it() {
    assert!(tiny().writer().finish().unwrap() == V1_0);
    assert!(tiny().writer().finish().unwrap() == V1_0, "a second time");
    assert!(tiny_1_1().writer().finish().unwrap() == V1_1);
}

/// A file says the version that its programs need.
#[test]
fn versions_are_as_old_as_can_be() {
    let minor = |change: &dyn Fn(&mut Program)| {
        let mut program = streaming_program();
        program.states.clear();
        program.inputs.extend([("sum", 1), ("last", 2)].map(|(n, tensor)| Port { name: n.into(), tensor }));
        assert_eq!(program.minor_version(), 0);
        change(&mut program);
        let weights = streaming().weights;
        let file = Writer::new().program(&program).weights(&weights, WeightsAlign::Page16K).finish().unwrap();
        Reader::open(&file).unwrap().version().1
    };
    let unary = |kind| Unary { kind, a: 0.0, b: 0.0 };
    assert_eq!(minor(&|_| ()), 0);
    assert_eq!(minor(&|p| p.steps[1].op = Op::Map(op::Map { unary: unary(UnaryKind::Relu) })), 0);
    assert_eq!(minor(&|p| p.steps[1].op = Op::Map(op::Map { unary: unary(UnaryKind::Tan) })), 1);
    let epilogue = Epilogue { unary: unary(UnaryKind::Atanh), ..Epilogue::NONE };
    let add = op::Binary { kind: op::BinaryKind::Add, scale_a: 1.0, scale_b: 1.0, epilogue };
    assert_eq!(minor(&|p| p.steps[0].op = Op::Binary(add)), 1);
    let sum = op::Cumulate { kind: op::CumulateKind::Sum, axis: 0, exclusive: false, reverse: false };
    assert_eq!(minor(&|p| p.steps[1].op = Op::Cumulate(sum)), 1);
}

#[test]
fn version_1_1_with_states_loads() {
    let want = streaming();
    let reader = Reader::open(V1_1_STREAMING).unwrap();
    reader.check_payload().unwrap();
    assert_eq!(reader.version(), (1, 1));
    assert_eq!(reader.program(0).unwrap(), want.programs[0]);
    assert_eq!(reader.weights(), want.weights);
    assert!(want.writer().finish().unwrap() == V1_1_STREAMING, "the writer still writes it");
    assert!(want.writer().finish().unwrap() == V1_1_STREAMING, "a second time");
}

/// The state records, spelled out from docs/format.md.
#[test]
fn states_byte_for_byte() {
    let u32_at = |at: usize| u32::from_le_bytes(V1_1_STREAMING[at..at + 4].try_into().unwrap());
    let program = u32_at(48) as usize;
    assert_eq!([u32_at(program + 64), u32_at(program + 68)], [2, 24]);
    // Behind header, 5 tensors, 3 steps, an input and an output.
    let states = program + 72 + 5 * 56 + 3 * 32 + 2 * 16;
    // Names: "sum", x sum last y start, add, x, y; then the states' own.
    let first: Vec<u32> = (0..12).map(|i| u32_at(states + 4 * i)).collect();
    assert_eq!(first, [22, 3, 1, 4, 0, 0, 25, 4, 2, u32::MAX, 0, 0]);
}

#[test]
fn weights_on_64_kib() {
    let content = tiny();
    let mut writer = content.writer();
    let file = writer.weights(&content.weights, WeightsAlign::Page64K).finish().unwrap();
    assert_eq!(Reader::open(&file).unwrap().weights_offset(), 65536);
    assert_eq!(Reader::open(&file).unwrap().weights(), content.weights);
}

/// Run it by name to write the fixture of a new version; the fixture of a released version never changes.
#[test]
#[ignore = "writes into tests/fixtures"]
fn write_fixture() {
    let fixtures = [("v1_1_tiny.cygnet", tiny_1_1()), ("v1_1_streaming.cygnet", streaming())];
    for (name, content) in fixtures {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        content.writer().save(&path).unwrap();
    }
}
