//! The sections beside the programs: what they refuse, on both ways.

mod common;

use common::{Frame, parts, tiny};
use cygnet_format::*;

const TINY: &[u8] = include_bytes!("fixtures/v1_0_tiny.cygnet");

/// The fixture with other bytes in one section, checksums in order.
fn with(kind: Kind, bytes: Vec<u8>) -> Vec<u8> {
    let mut list = parts(TINY);
    list.iter_mut().find(|p| p.0 == kind.0).expect("the fixture has every kind").3 = bytes;
    Frame::default().file(&list)
}

fn words(words: &[u32], tail: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    bytes.extend(tail);
    bytes
}

#[track_caller]
fn says(error: impl std::fmt::Display, want: &str) {
    let error = error.to_string();
    assert!(error.contains(want), "\"{error}\" lacks \"{want}\"");
}

#[test]
fn pairs() {
    let read = |bytes| Reader::open(&with(Kind::META, bytes)).expect("a frame in order").meta();
    let two = read(words(&[2, 0, 1, 2, 2, 0], b"a\xc3\xa4bc")).expect("pairs in order");
    assert_eq!(two.iter().collect::<Vec<_>>(), [(&"a".into(), &"ä".into()), (&"bc".into(), &String::new())]);
    assert_eq!(read(words(&[0, 0], b"")), Ok(Meta::new()));
    let refused = |bytes, want| says(read(bytes).expect_err("a broken rule"), want);
    refused(words(&[2, 0, 1, 0, 1, 0], b"ba"), "key 'a' is empty or not above");
    refused(words(&[2, 0, 1, 0, 1, 0], b"aa"), "key 'a' is empty or not above");
    refused(words(&[1, 0, 0, 1], b"a"), "key '' is empty");
    refused(words(&[1, 0, 1, 1], b"a\xff"), "a string that is not UTF-8");
    refused(words(&[1, 0, 1, 1], b"abc"), "1 bytes follow the last value");
    refused(words(&[1, 0, 1, 9], b"ab"), "needs 9 bytes where 1 are left");
    refused(words(&[9, 0, 1, 1], b"ab"), "needs 72 bytes where 10 are left");
    refused(words(&[0, 1], b""), "should be zero");
    refused(vec![], "needs 4 bytes where 0 are left");
}

#[test]
fn typed_values() {
    let mut meta = Meta::new();
    meta.set("n", "1e3").set("bad", "nan").set("size", "480x640").set("list", "1, 2.5").set("flag", "yes");
    assert_eq!(meta.number("n"), Ok(Some(1000.0)));
    assert_eq!(meta.number("none"), Ok(None));
    assert_eq!(meta.size("size"), Ok(Some([480, 640])));
    assert_eq!(meta.numbers("list"), Ok(Some(vec![1.0, 2.5])));
    says(meta.number("bad").unwrap_err(), "metadata 'bad' is \"nan\" where a finite number is expected");
    says(meta.flag("flag").unwrap_err(), "where \"true\" or \"false\" is expected");
    says(meta.size("n").unwrap_err(), "HEIGHTxWIDTH");
    says(meta.set("zero", "0x4").size("zero").unwrap_err(), "HEIGHTxWIDTH");
    assert!(meta.lines("none").is_empty());
}

#[test]
fn quantization_report() {
    let read = |bytes| Reader::open(&with(Kind::QUANT, bytes)).expect("a frame in order").quant();
    let one = read(words(&[1, 0, 1, 2, 3, 1, f32::INFINITY.to_bits()], b"abc")).expect("a report in order");
    let step = StepReport {
        name: "a".into(),
        precision: Precision::Int8,
        sqnr_db: Some(f32::INFINITY),
        reason: "bc".into(),
    };
    assert_eq!(one.steps, [step]);
    let refused = |bytes, want| says(read(bytes).expect_err("a broken rule"), want);
    refused(words(&[1, 0, 0, 0, 7, 0, 0], b""), "precision code 7 is unknown");
    refused(words(&[1, 0, 0, 0, 1, 2, 0], b""), "flags 0x2");
    refused(words(&[1, 0, 0, 0, 1, 0, 1.0_f32.to_bits()], b""), "flags 0x0 and figure 1");
    refused(words(&[1, 0, 0, 0, 1, 1, f32::NAN.to_bits()], b""), "is no number");
    refused(words(&[0, 1, 0, 1.0_f32.to_bits(), 0], b""), "range 1..0");
    refused(words(&[0, 1, 0, 0, f32::INFINITY.to_bits()], b""), "range 0..inf");
    refused(words(&[0, 0], b"x"), "1 bytes follow");
}

#[test]
fn goldens() {
    let read = |bytes| Reader::open(&with(Kind::GOLDEN, bytes)).expect("a frame in order").golden();
    let array = |dtype: u32, rank: u32, dims: [u32; 6]| [&[1, dtype | rank << 8][..], &dims].concat();
    let case = |array: Vec<u32>, tail: &[u8]| words(&[&[1, 1, 0, 0, 1, 0][..], &array].concat(), tail);
    let good = read(case(array(5, 1, [2, 0, 0, 0, 0, 0]), b"x\x01\x02\x03\x04")).expect("a case in order");
    let want = Array { name: "x".into(), dtype: DType::S16, dims: vec![2], bytes: vec![1, 2, 3, 4] };
    assert_eq!(good[0].inputs, [want]);
    let refused = |bytes, want| says(read(bytes).expect_err("a broken rule"), want);
    refused(case(array(8, 1, [2, 0, 0, 0, 0, 0]), b"x12"), "packed [2] is no dense array");
    refused(case(array(9, 1, [2, 0, 0, 0, 0, 0]), b"x12"), "type code 9 is unknown");
    refused(case(array(3, 7, [1; 6]), b"x1"), "rank 7");
    refused(case(array(3, 2, [2, 0, 0, 0, 0, 0]), b"x12"), "is no dense array");
    refused(case(array(3, 1, [2, 0, 0, 0, 0, 1]), b"x12"), "should be zero");
    refused(case(array(3, 1, [3, 0, 0, 0, 0, 0]), b"x12"), "needs 3 bytes where 2 are left");
    refused(case(array(3, 1, [1, 0, 0, 0, 0, 0]), b"x12"), "1 bytes follow the last array");
    refused(case(array(7, 6, [u32::MAX; 6]), b"x12"), "overflows");
    refused(words(&[1, 0, 2, 0, 0, 0], b""), "program 2 of 2");
    refused(words(&[1, 0, 0, (-1.0_f32).to_bits(), 0, 0], b""), "tolerance -1");
    refused(words(&[1, 0, 0, 0, 1, 0], b""), "1 arrays where 0 are left");
    refused(words(&[&[0, 1][..], &array(3, 0, [0; 6])].concat(), b"x1"), "1 arrays belong to no case");
}

/// The writer takes nothing that a reader would refuse.
#[test]
fn the_writer_refuses() {
    let content = tiny();
    says(Writer::new().finish().unwrap_err(), "cannot write a file without a program");
    says(
        content.writer().program(&content.programs[0]).finish().unwrap_err(),
        "two programs of the name '2x2'",
    );
    let without = content.writer().weights(&[], WeightsAlign::Page16K).finish().unwrap_err();
    says(without, "program 0 '2x2': tensor 5 'packed': bytes 0..32 and");
    let empty_key: Meta = [("", "x")].into_iter().collect();
    says(content.writer().meta(&empty_key).finish().unwrap_err(), "a pair with an empty key");
    let mut golden = content.golden.clone();
    golden[1].program = 2;
    says(content.writer().golden(&golden).finish().unwrap_err(), "a golden case of program 2 of 2");
    golden[1].program = 1;
    golden[1].outputs[0].bytes.pop();
    says(
        content.writer().golden(&golden).finish().unwrap_err(),
        "'größe': 95 bytes of elements where its dimensions ask for 96",
    );
    golden[1].tolerance = f32::NAN;
    says(content.writer().golden(&golden).finish().unwrap_err(), "golden tolerance NaN");
    let mut quant = content.quant.clone();
    quant.steps[0].sqnr_db = Some(f32::NAN);
    says(
        content.writer().quant(&quant).finish().unwrap_err(),
        "step 'conv': the signal-to-noise figure is no number",
    );
    quant.steps.clear();
    quant.tensors[0].max = f32::INFINITY;
    says(content.writer().quant(&quant).finish().unwrap_err(), "tensor 'image': range 0..inf");
}

/// Nothing is written for what is empty, and empty comes back.
#[test]
fn what_is_missing_is_empty() {
    let program = Program::default();
    let file = Writer::new().program(&program).finish().unwrap();
    let reader = Reader::open(&file).unwrap();
    assert_eq!(reader.sections().len(), 1);
    assert_eq!(reader.weights_offset(), file.len() as u64);
    assert_eq!(reader.section_bytes(1), None);
    assert!(reader.meta().unwrap().is_empty() && reader.provenance().unwrap().is_empty());
    assert!(reader.weights().is_empty() && reader.golden().unwrap().is_empty());
    assert_eq!(reader.quant().unwrap(), QuantReport::default());
}
