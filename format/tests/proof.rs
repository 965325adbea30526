//! What `Program::check` proves: each rule broken once.

mod common;

use common::{streaming_program, tiny_program};
use cygnet_format::op::{self, Op};
use cygnet_format::*;

const WEIGHTS: u64 = 192;

/// The error after a change to the small program.
fn broken(change: impl FnOnce(&mut Program)) -> (Item, Problem) {
    let mut program = tiny_program();
    change(&mut program);
    let ProgramError { item, problem, .. } = program.check(WEIGHTS).expect_err("a broken rule");
    let mut writer = Writer::new();
    let weights = [0; WEIGHTS as usize];
    let written = writer.program(&program).weights(&weights, WeightsAlign::Page16K).finish();
    assert!(matches!(written, Err(FormatError::Unwritable { .. })), "the writer refuses it too");
    (item, problem)
}

#[test]
fn the_small_program_is_in_order() {
    assert_eq!(tiny_program().check(WEIGHTS), Ok(()));
    assert_eq!(Program::default().check(0), Ok(()));
}

#[test]
fn sizes() {
    let mut tensor = tiny_program().tensors.swap_remove(4);
    (tensor.dtype, tensor.dims, tensor.pitch) = (DType::F16, vec![2, 3, 4], 6);
    assert_eq!((tensor.elements(), tensor.rows(), tensor.cols()), (24, 6, 4));
    assert_eq!(tensor.extent(), 68); // 5 whole rows of 6 and one of 4, of 2 bytes each
    (tensor.dims, tensor.pitch) = (vec![], 1);
    assert_eq!((tensor.elements(), tensor.rows(), tensor.cols(), tensor.extent()), (1, 1, 1, 2));
    for code in 0..=u8::MAX {
        assert_eq!(DType::from_code(code).map(|t| t as u8), (1..=8).contains(&code).then_some(code));
    }
}

#[test]
fn arena() {
    let (item, problem) = broken(|p| p.arena_lower_bound = 257);
    assert_eq!((item, problem), (Item::Program, Problem::LowerBound { bytes: 256, lower_bound: 257 }));
    let bytes = 1 << 63;
    assert_eq!(broken(|p| p.arena_bytes = bytes), (Item::Program, Problem::ArenaSize { bytes }));
}

#[test]
fn dimensions() {
    let at = Item::Tensor(4);
    assert_eq!(broken(|p| p.tensors[4].dims = vec![1; 7]), (at, Problem::Rank { rank: 7 }));
    assert_eq!(broken(|p| p.tensors[4].dims[1] = 0), (at, Problem::ZeroDim { dims: vec![1, 0, 2, 6] }));
    assert_eq!(broken(|p| p.tensors[4].pitch = 5), (at, Problem::Pitch { pitch: 5, cols: 6 }));
    assert_eq!(
        broken(|p| p.tensors[4].dims = vec![]).1, // a scalar of pitch 6 is possible, its port is not
        Problem::PortPitch { tensor: 4, pitch: 6, cols: 1 }
    );
    for (dims, pitch) in
        [(vec![u32::MAX; 3], u32::MAX), (vec![1 << 31, 1 << 31, 1 << 2], 4), (vec![1 << 31, 2], u32::MAX)]
    {
        let (item, problem) = broken(|p| {
            p.tensors[4].dims.clone_from(&dims);
            p.tensors[4].pitch = pitch;
        });
        assert_eq!(item, at);
        assert!(matches!(problem, Problem::Overflow { .. } | Problem::OutOfBounds { .. }), "{problem}");
    }
    let (_, problem) = broken(|p| p.tensors[4].offset = u64::MAX - 64);
    assert_eq!(problem, Problem::Overflow { dims: vec![1, 2, 2, 6], pitch: 6 });
}

/// The slack of 32 bytes that kernels may read counts.
#[test]
fn bounds() {
    let mut program = tiny_program(); // the last tensor ends at 128 + 96 = 224
    assert_eq!(program.check(WEIGHTS), Ok(()));
    program.arena_bytes = 255;
    let storage = Storage::Arena;
    let error = program.check(WEIGHTS).unwrap_err();
    assert_eq!(error.problem, Problem::OutOfBounds { storage, offset: 128, end: 224, available: 255 });
    let mut program = tiny_program(); // the last tensor ends at 128 + 12 = 140
    assert_eq!(program.check(172), Ok(()));
    let storage = Storage::Weights;
    let error = program.check(171).unwrap_err();
    assert_eq!(error.problem, Problem::OutOfBounds { storage, offset: 128, end: 140, available: 171 });
    // 4 rows of 3 bytes in steps of 40: 3 * 40 + 3 = 123 bytes.
    program.tensors[2].pitch = 40;
    let error = program.check(WEIGHTS).unwrap_err();
    assert!(matches!(error.problem, Problem::NotPlaced { offset: 67 }), "{error}");
    program.tensors[2].pitch = 60;
    let error = program.check(WEIGHTS).unwrap_err();
    let storage = Storage::Arena;
    assert_eq!(error.problem, Problem::OutOfBounds { storage, offset: 67, end: 67 + 183, available: 256 });
}

#[test]
fn places() {
    let (item, problem) = broken(|p| p.tensors[4].offset = 126);
    assert_eq!(
        (item, problem),
        (Item::Tensor(4), Problem::Alignment { storage: Storage::Arena, offset: 126, alignment: 4 })
    );
    let (item, problem) = broken(|p| p.tensors[6].offset = 68);
    assert_eq!(
        (item, problem),
        (Item::Tensor(6), Problem::Alignment { storage: Storage::Weights, offset: 68, alignment: 64 })
    );
    assert_eq!(broken(|p| p.tensors[4].offset = 124), (Item::Tensor(4), Problem::NotPlaced { offset: 124 }));
    assert_eq!(broken(|p| p.tensors[5].storage = Storage::Arena), (Item::Tensor(5), Problem::PackedInArena));
}

/// A placed part may end where its whole ends, and not one byte later.
#[test]
fn a_part_lies_inside_its_whole() {
    let mut program = tiny_program(); // `both` ends at 64 + 24 = 88
    let part =
        Tensor { name: "part".into(), offset: 80, dims: vec![8], pitch: 8, ..program.tensors[0].clone() };
    program.tensors.push(part);
    assert_eq!(program.check(WEIGHTS), Ok(()));
    program.tensors[8].offset = 81;
    assert_eq!(program.check(WEIGHTS).unwrap_err().problem, Problem::NotPlaced { offset: 81 });
}

#[test]
fn quantization() {
    let set = |dtype, scale, zero_point| {
        move |p: &mut Program| {
            p.tensors[7].dtype = dtype;
            p.tensors[7].quant = Some(Quant { scale, zero_point });
        }
    };
    for scale in [0.0, -1.0, f32::INFINITY] {
        assert_eq!(broken(set(DType::S8, scale, 0)), (Item::Tensor(7), Problem::Scale { scale }));
    }
    assert!(matches!(broken(set(DType::S8, f32::NAN, 0)).1, Problem::Scale { .. }));
    for (dtype, zero_point) in
        [(DType::S8, 128), (DType::S8, -129), (DType::U8, -1), (DType::U8, 256), (DType::S32, 1)]
    {
        assert!(
            matches!(broken(set(dtype, 1.0, zero_point)).1, Problem::ZeroPoint { .. }),
            "{dtype:?} {zero_point}"
        );
    }
    for dtype in [DType::F32, DType::F16, DType::S64, DType::Packed] {
        assert_eq!(broken(set(dtype, 1.0, 0)).1, Problem::QuantType { dtype });
    }
    let mut program = tiny_program();
    for (dtype, zero_point) in [(DType::S8, -128), (DType::U8, 255), (DType::S16, -32768), (DType::S32, 0)] {
        set(dtype, f32::MIN_POSITIVE, zero_point)(&mut program);
        assert_eq!(program.check(WEIGHTS), Ok(()));
    }
}

#[test]
fn operands() {
    let at = Item::Step(0);
    let op = "conv";
    assert_eq!(
        broken(|p| p.steps[0].inputs.truncate(2)),
        (at, Problem::Arity { op, got: 2, min: 3, max: 8 })
    );
    assert_eq!(
        broken(|p| p.steps[0].inputs.extend([None; 4])),
        (at, Problem::Arity { op, got: 9, min: 3, max: 8 })
    );
    assert_eq!(broken(|p| p.steps[0].inputs[2] = None), (at, Problem::Missing { op, input: 2 }));
    assert_eq!(broken(|p| p.steps[0].inputs[3] = Some(8)), (at, Problem::NoTensor { tensor: 8, count: 8 }));
    assert_eq!(broken(|p| p.steps[0].output = 9), (at, Problem::NoTensor { tensor: 9, count: 8 }));
    assert_eq!(broken(|p| p.steps[0].output = 6), (at, Problem::WritesWeights { tensor: 6 }));
}

#[test]
fn what_is_read_was_written() {
    // Without the first step, the left half of `both` is missing; without the second, the right half.
    assert_eq!(broken(|p| drop(p.steps.remove(0))), (Item::Step(1), Problem::NotWritten { tensor: 3 }));
    assert_eq!(broken(|p| drop(p.steps.remove(1))), (Item::Step(1), Problem::NotWritten { tensor: 3 }));
    assert_eq!(broken(|p| p.steps.swap(1, 2)), (Item::Step(1), Problem::NotWritten { tensor: 3 }));
    assert_eq!(broken(|p| p.inputs.clear()), (Item::Step(0), Problem::NotWritten { tensor: 0 }));
    assert_eq!(broken(|p| p.steps.truncate(2)), (Item::Output(0), Problem::NotWritten { tensor: 4 }));
}

/// Two results that touch cover what spans both, in either order; with a gap of a byte they do not.
#[test]
fn neighbours_cover_their_whole() {
    let tensor = |offset, n| Tensor {
        name: String::new(),
        dtype: DType::U8,
        storage: Storage::Arena,
        offset,
        dims: vec![n],
        pitch: n,
        quant: None,
    };
    let fill =
        |output| Step { name: String::new(), op: Op::Fill(op::Fill { bits: 0 }), inputs: vec![], output };
    let program = |first: u32, order: [u32; 2]| Program {
        tensors: vec![tensor(0, first), tensor(64, 64), tensor(0, 128)],
        steps: order.map(fill).to_vec(),
        outputs: vec![Port { name: "y".into(), tensor: 2 }],
        arena_bytes: 160,
        ..Program::default()
    };
    for order in [[0, 1], [1, 0]] {
        assert_eq!(program(64, order).check(0), Ok(()));
        let error = program(63, order).check(0).unwrap_err();
        assert_eq!((error.item, error.problem), (Item::Output(0), Problem::NotWritten { tensor: 2 }));
    }
}

#[test]
fn ports() {
    let at = Item::Input(1);
    let add =
        |name: &'static str, tensor| move |p: &mut Program| p.inputs.push(Port { name: name.into(), tensor });
    assert_eq!(broken(add("image", 4)), (at, Problem::PortTwice));
    assert_eq!(broken(add("", 4)), (at, Problem::PortName));
    assert_eq!(broken(add("b", 8)), (at, Problem::NoTensor { tensor: 8, count: 8 }));
    assert_eq!(broken(add("b", 6)), (at, Problem::PortStorage { tensor: 6 }));
    assert_eq!(broken(add("b", 1)), (at, Problem::PortPitch { tensor: 1, pitch: 6, cols: 3 }));
    let port = Port { name: "größe".into(), tensor: 4 };
    assert_eq!(broken(|p| p.outputs.push(port)), (Item::Output(1), Problem::PortTwice));
    let mut program = tiny_program();
    program.outputs.push(Port { name: "image".into(), tensor: 0 });
    assert_eq!(
        program.check(WEIGHTS),
        Ok(()),
        "inputs and outputs may share a name, an input may be an output"
    );
}

#[test]
fn states() {
    let at = Item::State(1);
    let broken = |change: &dyn Fn(&mut Program)| {
        let mut program = streaming_program();
        assert_eq!(program.check(96), Ok(()));
        change(&mut program);
        let ProgramError { item, problem, .. } = program.check(96).expect_err("a broken rule");
        (item, problem)
    };
    let name = |name: &'static str| move |p: &mut Program| p.states[1].name = name.into();
    assert_eq!(broken(&name("sum")), (at, Problem::PortTwice));
    assert_eq!(broken(&name("")), (at, Problem::PortName));
    assert_eq!(broken(&|p| p.states[1].tensor = 5), (at, Problem::NoTensor { tensor: 5, count: 5 }));
    assert_eq!(broken(&|p| p.states[1].tensor = 4), (at, Problem::PortStorage { tensor: 4 }));
    assert_eq!(
        broken(&|p| p.tensors[2].pitch = 5),
        (at, Problem::PortPitch { tensor: 2, pitch: 5, cols: 4 })
    );
    // Without its state a tensor that steps read is not written.
    assert_eq!(broken(&|p| drop(p.states.remove(0))), (Item::Step(0), Problem::NotWritten { tensor: 1 }));
    // It is the state's own: no input and no other state lies there, nor in a part of it.
    let overlaps = |tensor: u32| Problem::StateOverlaps { tensor };
    assert_eq!(broken(&|p| p.tensors[2].offset = 64), (at, overlaps(2)));
    assert_eq!(
        broken(&|p| (p.tensors[2].offset, p.tensors[2].dims, p.tensors[2].pitch) = (0, vec![17], 17)).1,
        overlaps(2)
    );
    assert_eq!(broken(&|p| p.tensors[1].offset = 0), (Item::State(0), overlaps(1)));
    // What it holds at first is like it, and constant.
    let initial = |id: u32| Problem::StateInitial { tensor: id };
    assert_eq!(broken(&|p| p.states[0].initial = Some(3)), (Item::State(0), initial(3)));
    assert_eq!(broken(&|p| p.states[0].initial = Some(9)).1, Problem::NoTensor { tensor: 9, count: 5 });
    assert_eq!(broken(&|p| p.tensors[4].dims = vec![2, 2]).1, Problem::StateInitial { tensor: 4 });
    assert_eq!(broken(&|p| p.tensors[4].dtype = DType::S32).1, initial(4));
    assert_eq!(broken(&|p| p.tensors[4].pitch = 5).1, initial(4));
}

/// Parameters no step can have: refused in memory, and in a file.
#[test]
fn parameters() {
    let good = |code: u16| {
        let words = Op::TABLE.iter().find(|row| row.0 == code).expect("an operation").4;
        let op = Op::decode(code, &vec![1; words]);
        op.unwrap_or_else(|e| panic!("all ones are parameters of every operation: {e}"))
    };
    let bad = |op: Op| {
        assert!(!op.in_range(), "{op:?}");
        assert_eq!(Op::decode(op.code(), &op.words()), Err(op::DecodeError::Value { op: op.name() }));
        let (item, problem) = broken(|p| {
            p.steps[0] = Step { name: String::new(), op, inputs: vec![Some(0); op.arity().0], output: 1 };
        });
        assert_eq!((item, problem), (Item::Step(0), Problem::Parameter { op: op.name() }));
    };
    macro_rules! each {
        ($($variant:ident($code:literal): $($field:ident$(.$more:ident)*$([$i:literal])* = $value:expr),+;)+) => {
            $($({
                let Op::$variant(mut p) = good($code) else { panic!("code {} is another operation", $code) };
                p.$field$(.$more)*$([$i])* = $value;
                bad(Op::$variant(p));
            })+)+
        };
    }
    each! {
        Conv(1): groups = 0, window.kernel[1] = 0, window.stride[0] = 0, window.dilation[0] = 0,
            epilogue.lo = f32::NAN, epilogue.lo = 1.0, epilogue.unary.a = f32::NAN;
        DepthwiseConv(2): window.stride[1] = 0, epilogue.hi = -1.0;
        ConvTranspose(3): groups = 0, window.kernel[0] = 0, epilogue.hi = f32::NAN;
        MatMul(4): scale = f32::NAN, scale = f32::INFINITY, epilogue.hi = -1.0;
        Map(5): unary.b = f32::NAN;
        Binary(7): scale_a = f32::NEG_INFINITY, scale_b = f32::NAN, epilogue.lo = 1.0;
        Pool(9): window.kernel[0] = 0, scale = f32::NAN;
        Reduce(10): axes = 64, scale = f32::INFINITY;
        ArgReduce(11): axis = 6;
        Softmax(12): axis = 6;
        LayerNorm(13): axis = 6, epsilon = -1.0, epsilon = f32::NAN, epsilon = f32::INFINITY;
        Resize(14): extrapolation = f32::NAN;
        Copy(15): dims[5] = 0;
        Gather(17): axis = 6;
        TopK(19): axis = 6;
        Cumulate(20): axis = 6;
        Recurrent(24): gate.a = f32::NAN, candidate.b = f32::NAN, cell.a = f32::NAN;
    }
    let Op::Copy(mut copy) = good(15) else { panic!("15 is copy") };
    (copy.dims[2], copy.dst_strides[2]) = (2, 0);
    bad(Op::Copy(copy));
    let Op::Fill(mut fill) = good(16) else { panic!("16 is fill") };
    fill.bits = f32::NAN.to_bits();
    assert!(Op::Fill(fill).in_range(), "bits of an element, not a parameter");
    // Codes of an enumeration and truth values end somewhere.
    for (code, word, value) in [
        (1, 16, 2),
        (5, 0, 40),
        (7, 0, 19),
        (9, 0, 2),
        (10, 0, 11),
        (14, 0, 2),
        (4, 0, 2),
        (12, 1, 2),
        (19, 1, 2),
        (20, 0, 2),
        (21, 0, 5),
        (22, 0, 3),
        (22, 1, 4),
        (23, 0, 2),
        (24, 0, 4),
    ] {
        let mut words = good(code).words();
        words[word] = value;
        assert!(matches!(Op::decode(code, &words), Err(op::DecodeError::Value { .. })), "code {code}");
        words[word] = value - 1;
        assert!(Op::decode(code, &words).is_ok(), "code {code}");
    }
}
