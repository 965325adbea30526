//! No byte string makes loading or running panic, hang or leave its memory.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cygnet::format::Reader;
use cygnet::format::layout::{ENTRY_BYTES, HEADER_BYTES, HEADER_CRC_AT};
use cygnet::{Cpu, Model, Session, SessionOptions};
use cygnet_tests::{bits, place};

fn fixture() -> Vec<u8> {
    std::fs::read(place::own("fixtures/fashion_int8.cygnet")).unwrap()
}

/// The file with its checksums made right again, so that a change gets past them.
fn resealed(mut file: Vec<u8>, sections: usize) -> Vec<u8> {
    for i in 0..sections {
        let at = HEADER_BYTES + i * ENTRY_BYTES;
        let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
        let (offset, length) = (word(at + 8), word(at + 16));
        let Some(content) = offset.checked_add(length).and_then(|end| file.get(offset..end)) else {
            continue;
        };
        let crc = crc32c::crc32c(content);
        file[at + 28..at + 32].copy_from_slice(&crc.to_le_bytes());
    }
    let head = HEADER_BYTES + sections * ENTRY_BYTES;
    file[HEADER_CRC_AT..HEADER_CRC_AT + 4].fill(0);
    let crc = crc32c::crc32c(&file[..head]);
    file[HEADER_CRC_AT..HEADER_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    file
}

/// Loads, prepares and runs; how far it got.
fn attempt(file: &[u8], cpu: Cpu) -> &'static str {
    let Ok(model) = Model::from_bytes(file) else { return "refused" };
    // What a file declares is what it may take: more than this machine should lend a test is not tried.
    if model.programs().iter().any(|p| p.arena_bytes > 64 << 20) {
        return "large";
    }
    let options = SessionOptions { threads: Some(1), cpu: Some(cpu), ..SessionOptions::default() };
    let Ok(mut session) = Session::new(&model, &options) else { return "unprepared" };
    let real = session.inputs().all(|(_, t)| t.dtype == cygnet::format::program::DType::F32);
    if !real {
        return "other types";
    }
    let inputs = bits::noises(&session, 1);
    if bits::set(&mut session, &inputs).is_err() {
        return "inputs";
    }
    if session.run().is_ok() { "ran" } else { "failed" }
}

#[test]
fn the_resealed_original_still_runs() {
    let file = fixture();
    let sections = Reader::open(&file).unwrap().sections().len();
    let same = resealed(file.clone(), sections);
    assert_eq!(same, file);
    assert_eq!(attempt(&same, Cpu::detect()), "ran");
}

/// Every byte of the program's section, changed in several ways behind right checksums.
#[test]
fn a_changed_program_is_refused_or_harmless() {
    let file = fixture();
    let reader = Reader::open(&file).unwrap();
    let sections = reader.sections().len();
    let program = reader.sections()[0];
    let range = program.offset as usize..(program.offset + program.length) as usize;
    let mut outcomes = std::collections::BTreeMap::new();
    // An emulator takes a sample.
    for at in range.step_by(if cfg!(target_arch = "aarch64") { 11 } else { 1 }) {
        for change in [0x01, 0x80, 0xff] {
            let mut bad = file.clone();
            bad[at] ^= change;
            let bad = resealed(bad, sections);
            let outcome = catch_unwind(AssertUnwindSafe(|| attempt(&bad, Cpu::detect())));
            let outcome = outcome.unwrap_or_else(|_| panic!("byte {at} changed by {change:#x}"));
            *outcomes.entry(outcome).or_insert(0) += 1;
        }
    }
    // Names may change freely; most of the rest is noticed.
    assert!(outcomes["refused"] > 0 && outcomes["unprepared"] > 0 && outcomes["ran"] > 0, "{outcomes:?}");
}

/// Changes that go unnoticed as numbers (weights, scales) must still run within bounds.
#[test]
fn changed_weights_run() {
    let file = fixture();
    let reader = Reader::open(&file).unwrap();
    let sections = reader.sections().len();
    let weights = *reader.sections().last().unwrap();
    for i in 0..60 {
        let mut bad = file.clone();
        let at = weights.offset as usize + i * 977 % weights.length as usize;
        bad[at] ^= 0xff;
        let bad = resealed(bad, sections);
        let outcome = catch_unwind(AssertUnwindSafe(|| attempt(&bad, Cpu::detect())));
        assert!(outcome.is_ok(), "byte {at}");
    }
}

/// Two products of -128 and -128 are more than the 16 bits in which some instruction sets add pairs.
#[test]
fn weights_of_minus_128_give_the_same_bits() {
    use cygnet::format::op::Op;
    use cygnet::format::program::DType;
    let file = fixture();
    let reader = Reader::open(&file).unwrap();
    let program = reader.program(0).unwrap();
    let tensor = |id: Option<u32>| &program.tensors[id.unwrap() as usize];
    let quantized = |of: &cygnet::format::Step| tensor(of.inputs[0]).dtype == DType::S8;
    // Of whole groups of channels: what packing fills up stays zero.
    let whole = |of: &cygnet::format::Step| {
        let channels = |id| tensor(id).dims.last().copied().unwrap();
        channels(of.inputs[0]).is_multiple_of(4) && channels(Some(of.output)).is_multiple_of(8)
    };
    let conv =
        program.steps.iter().find(|s| matches!(s.op, Op::Conv(_)) && quantized(s) && whole(s)).unwrap();
    let (weights, mut least) = (tensor(conv.inputs[1]), file.clone());
    let at = (reader.weights_offset() + weights.offset) as usize;
    least[at..at + weights.dims[0] as usize].fill(0x80);
    let model = Model::from_bytes(&resealed(least, reader.sections().len())).unwrap();
    let outputs = |cpu: Cpu| {
        let options = SessionOptions { threads: Some(1), cpu: Some(cpu), ..SessionOptions::default() };
        let mut session = Session::new(&model, &options).unwrap();
        // All of them the least that s8 holds once they are quantized.
        let mut inputs = bits::noises(&session, 1);
        for input in &mut inputs {
            input.bytes.as_chunks_mut().0.fill((-1e9_f32).to_le_bytes());
        }
        bits::hashes(&mut session, &inputs).unwrap()
    };
    let portable = outputs(Cpu::forced("generic").unwrap());
    for (isa, cpu) in Cpu::runnable() {
        assert_eq!(outputs(cpu), portable, "{isa}");
    }
}

#[test]
fn every_kind_of_damage_is_named() {
    let file = fixture();
    let error = |bytes: &[u8]| Model::from_bytes(bytes).err().map(|e| e.to_string()).unwrap_or_default();
    for cut in [0, 1, 7, 8, 39, 40, 100, file.len() / 2, file.len() - 1] {
        assert!(!error(&file[..cut]).is_empty(), "cut to {cut} bytes");
    }
    for section in Reader::open(&file).unwrap().sections() {
        let mut bad = file.clone();
        bad[(section.offset + section.length / 2) as usize] ^= 0x10;
        let message = error(&bad);
        assert!(message.contains(&section.kind.to_string()), "{}: {message:?}", section.kind);
    }
    let mut future = file.clone();
    future[8] = 9;
    let message = error(&resealed(future, 6));
    assert!(message.contains("version 9") && message.contains("newer"), "{message}");
    let mut other = file.clone();
    other[0] ^= 1;
    assert!(error(&other).contains("not a .cygnet file"), "{}", error(&other));
    assert!(
        error(b"GIF89a and so on, for long enough to be read as a header of some file").contains("cygnet")
    );
}

#[cfg(target_arch = "x86_64")]
mod sources {
    use super::*;
    use cygnet_convert::{ImportOptions, import};

    #[test]
    fn what_is_no_model_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let png = folder.path().join("picture.onnx");
        std::fs::write(&png, b"\x89PNG\r\n\x1a\n and more").unwrap();
        let message = import(&png, &ImportOptions::default()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("ONNX"), "{message}");
        let lite = folder.path().join("noise.tflite");
        std::fs::write(&lite, [7; 64]).unwrap();
        assert!(import(&lite, &ImportOptions::default()).is_err());
        let none = folder.path().join("none.onnx");
        let message = import(&none, &ImportOptions::default()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("none.onnx"), "{message}");
    }

    /// Weights overwritten with NaN, in place.
    #[test]
    fn nan_in_weights_is_named() {
        let mut bytes = std::fs::read(place::asset("fashion_mnist_cnn.onnx")).unwrap();
        // The middle of the file lies in the raw data of some weight; bytes of 0xff are NaN whatever the alignment.
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xff);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nan.onnx");
        std::fs::write(&path, &bytes).unwrap();
        let message = import(&path, &ImportOptions::default()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("NaN") && message.contains("index"), "{message}");
    }
}
