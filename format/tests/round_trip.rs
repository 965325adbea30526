//! What is written is read back, for programs of every form.

mod common;

use cygnet_format::op::Op;
use cygnet_format::program::{ARENA_ALIGN, READ_SLACK};
use cygnet_format::*;
use proptest::prelude::*;

/// A tensor yet without a place: name, type, dimensions, pitch beyond the last one, scale and zero point.
type Loose = (String, usize, Vec<u32>, u32, Option<(f32, i32)>);

/// A step yet without operands: name, which operation, words to try, numbers that choose the operands.
type LooseStep = (String, usize, Vec<u32>, [u32; 8]);

fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..4_u32,
        any::<u32>(),
        any::<f32>().prop_map(f32::to_bits),
        Just(f32::INFINITY.to_bits()),
        Just(f32::NEG_INFINITY.to_bits()),
    ]
}

fn loose() -> impl Strategy<Value = Loose> {
    let quant = proptest::option::of((f32::MIN_POSITIVE..1e30, -128..128));
    (".{0,8}", 0..DType::ALL.len(), prop::collection::vec(1..5_u32, 0..=6), 0..3_u32, quant)
}

fn loose_step() -> impl Strategy<Value = LooseStep> {
    (".{0,8}", 0..Op::TABLE.len(), prop::collection::vec(word(), 26), any::<[u32; 8]>())
}

/// Some parameters of an operation: each word that leaves it in range is taken.
fn some_op(row: usize, candidates: &[u32]) -> Op {
    let (code, _, _, _, count) = Op::TABLE[row];
    let mut words = vec![1; count];
    let mut op = Op::decode(code, &words).expect("all ones are parameters of every operation");
    for (at, &candidate) in candidates.iter().enumerate().take(count) {
        let before = std::mem::replace(&mut words[at], candidate);
        match Op::decode(code, &words) {
            Ok(changed) => op = changed,
            Err(_) => words[at] = before,
        }
    }
    op
}

/// Gives everything a place, so that the program is in order.
fn build(
    name: String,
    tensors: Vec<Loose>,
    weights: Vec<Loose>,
    steps: Vec<LooseStep>,
) -> (Program, Vec<u8>) {
    let mut program = Program { name, ..Program::default() };
    let mut ends = [0_u64; 2];
    let arena_count = tensors.len();
    let placed = tensors
        .into_iter()
        .map(|t| (t, Storage::Arena))
        .chain(weights.into_iter().map(|t| (t, Storage::Weights)));
    for ((name, code, dims, extra, quant), storage) in placed {
        let dtype = match (DType::ALL[code], storage) {
            (DType::Packed, Storage::Arena) => DType::S8,
            (dtype, _) => dtype,
        };
        let quant = match dtype {
            DType::S8 | DType::S16 => quant.map(|(scale, zero_point)| Quant { scale, zero_point }),
            _ => None,
        };
        let end = &mut ends[storage as usize - 1];
        let offset = end.next_multiple_of(ARENA_ALIGN as u64);
        let pitch = dims.last().copied().unwrap_or(1) + extra;
        let tensor = Tensor { name, dtype, storage, offset, dims, pitch, quant };
        *end = offset + tensor.extent();
        program.tensors.push(tensor);
    }
    // Every dense tensor of the arena is an input, so that all but the others may be read.
    let dense = |t: &Tensor| u64::from(t.pitch) == t.cols();
    let mut readable: Vec<u32> = (arena_count as u32..program.tensors.len() as u32).collect();
    for id in (0..arena_count as u32).filter(|&id| dense(&program.tensors[id as usize])) {
        program.inputs.push(Port { name: format!("in {id}"), tensor: id });
        readable.push(id);
    }
    for (name, row, candidates, picks) in steps {
        let op = some_op(row, &candidates);
        let (min, max) = op.arity();
        if arena_count == 0 || (min > 0 && readable.is_empty()) {
            continue;
        }
        let count = min + picks[6] as usize % (max - min + 1);
        let pick = |i: usize| {
            let left_out = i >= min && picks[i].is_multiple_of(2);
            (!left_out).then(|| readable[picks[i] as usize % readable.len()])
        };
        let inputs = (0..count).map(pick).collect();
        let output = picks[7] % arena_count as u32;
        program.steps.push(Step { name, op, inputs, output });
        readable.push(output);
    }
    let outputs =
        readable.iter().filter(|&&id| (id as usize) < arena_count && dense(&program.tensors[id as usize]));
    program.outputs =
        outputs.enumerate().map(|(i, &tensor)| Port { name: format!("out {i}"), tensor }).collect();
    program.arena_bytes = ends[0] + READ_SLACK as u64;
    program.arena_lower_bound = ends[0] / 2;
    let weights = (0..ends[1] + READ_SLACK as u64).map(|i| (i * 37 % 256) as u8).collect();
    (program, weights)
}

fn array() -> impl Strategy<Value = Array> {
    (".{0,6}", 0..DType::ALL.len() - 1, prop::collection::vec(1..4_u32, 0..=6), any::<u8>()).prop_map(
        |(name, code, dims, byte)| {
            let dtype = DType::ALL[code];
            let length = dims.iter().product::<u32>() as usize * dtype.size();
            Array { name, dtype, dims, bytes: vec![byte; length] }
        },
    )
}

fn golden() -> impl Strategy<Value = GoldenCase> {
    let arrays = || prop::collection::vec(array(), 0..3);
    (0.0..1.0_f32, arrays(), arrays()).prop_map(|(tolerance, inputs, outputs)| GoldenCase {
        program: 0,
        tolerance,
        inputs,
        outputs,
    })
}

fn quant_report() -> impl Strategy<Value = QuantReport> {
    let sqnr = proptest::option::of(prop_oneof![-100.0..200.0_f32, Just(f32::INFINITY)]);
    let step =
        (".{0,6}", 0..Precision::ALL.len(), sqnr, ".{0,9}").prop_map(|(name, code, sqnr_db, reason)| {
            StepReport { name, precision: Precision::ALL[code], sqnr_db, reason }
        });
    let range =
        (".{0,6}", -9.0..0.0_f32, 0.0..9.0_f32).prop_map(|(name, min, max)| TensorRange { name, min, max });
    (prop::collection::vec(step, 0..4), prop::collection::vec(range, 0..4))
        .prop_map(|(steps, tensors)| QuantReport { steps, tensors })
}

proptest! {
    #[test]
    fn programs(
        name in ".{0,8}",
        tensors in prop::collection::vec(loose(), 0..12),
        weights in prop::collection::vec(loose(), 0..6),
        steps in prop::collection::vec(loose_step(), 0..16),
    ) {
        let (program, weights) = build(name, tensors, weights, steps);
        let mut writer = Writer::new();
        writer.program(&program).weights(&weights, WeightsAlign::Page16K);
        let file = writer.finish().expect("a program in order");
        let reader = Reader::open(&file).expect("a file in order");
        reader.check_payload().expect("as written");
        prop_assert_eq!(reader.weights(), weights);
        prop_assert_eq!(reader.weights_offset() % 16384, 0);
        let again = reader.program(0).expect("a program in order");
        prop_assert_eq!(&again, &program);
        let words = |p: &Program| p.steps.iter().flat_map(|s| s.op.words()).collect::<Vec<_>>();
        prop_assert_eq!(words(&again), words(&program), "to the bit, zeros with a sign included");
    }

    #[test]
    fn everything_else(
        quant in quant_report(),
        golden in prop::collection::vec(golden(), 0..4),
        pairs in prop::collection::btree_map(".{1,6}", ".{0,12}", 0..6),
    ) {
        let program = Program::default();
        let meta: Meta = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut writer = Writer::new();
        writer.program(&program).quant(&quant).golden(&golden).meta(&meta).provenance(&meta);
        let file = writer.finish().expect("content in order");
        let reader = Reader::open(&file).expect("a file in order");
        reader.check_payload().expect("as written");
        prop_assert_eq!(reader.quant().expect("in order"), quant);
        prop_assert_eq!(reader.golden().expect("in order"), golden);
        prop_assert_eq!(&reader.meta().expect("in order"), &meta);
        prop_assert_eq!(&reader.provenance().expect("in order"), &meta);
        prop_assert!(reader.weights().is_empty());
    }

    /// Numbers of the metadata come back as they were, to the bit.
    #[test]
    fn numbers(values in prop::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 1..5)) {
        let mut meta = Meta::new();
        meta.set_numbers("n", &values);
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&meta.numbers("n").expect("numbers").expect("a value")), bits(&values));
    }

    /// Bytes of any kind in sections that are in order themselves: never a panic, never a model.
    #[test]
    fn any_bytes(sections in prop::collection::vec((0..7_usize, prop::collection::vec(any::<u8>(), 0..200)), 0..5)) {
        let part = |(kind, bytes): (usize, Vec<u8>)| {
            let kind = Kind::ALL[kind];
            let alignment = if kind == Kind::WEIGHTS { 64 } else { 8 };
            (kind.0, u32::from(kind.is_critical()), alignment, bytes)
        };
        let parts: Vec<_> = sections.into_iter().map(part).collect();
        prop_assert!(common::read_all(&common::Frame::default().file(&parts)).is_err());
    }
}
