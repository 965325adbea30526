//! States: kept from run to run, put back, saved and restored.

mod common;

use common::{copy, port, step, tensor};
use cygnet::format::op::{Binary, BinaryKind, Epilogue, Op};
use cygnet::format::program::{DType, Program, State, Storage};
use cygnet::format::{WeightsAlign, Writer};
use cygnet::{Error, Model, Session, SessionOptions, TensorRef};

/// `y = x + sum`, which is the next run's `sum`; it begins with 1, 2. `last` is the `x` of the run before, and comes
/// out.
fn model() -> Model {
    use Storage::{Arena, Weights};
    let all = || copy([1, 1, 1, 1, 1, 2], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1]);
    let add = Binary { kind: BinaryKind::Add, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE };
    let program = Program {
        name: "sum".to_owned(),
        tensors: vec![
            tensor("x", DType::F32, Arena, 0, &[2]),
            tensor("sum", DType::F32, Arena, 64, &[2]),
            tensor("last", DType::F32, Arena, 128, &[2]),
            tensor("y", DType::F32, Arena, 192, &[2]),
            tensor("before", DType::F32, Arena, 256, &[2]),
            tensor("start", DType::F32, Weights, 0, &[2]),
        ],
        steps: vec![
            step("before", all(), &[2], 4),
            step("add", Op::Binary(add), &[0, 1], 3),
            step("sum", all(), &[3], 1),
            step("last", all(), &[0], 2),
        ],
        inputs: vec![port("x", 0)],
        outputs: vec![port("y", 3), port("before", 4)],
        states: vec![
            State { name: "sum".to_owned(), tensor: 1, initial: Some(5) },
            State { name: "last".to_owned(), tensor: 2, initial: None },
        ],
        arena_bytes: 320,
        arena_lower_bound: 0,
    };
    let weights: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).chain([0; 56]).collect();
    let mut writer = Writer::new();
    let file = writer.program(&program).weights(&weights, WeightsAlign::Page16K).finish().unwrap();
    Model::from_bytes(&file).unwrap()
}

fn session() -> Session {
    Session::new(&model(), &SessionOptions::default()).unwrap()
}

/// The outputs of a run.
fn run(session: &mut Session, x: [f32; 2]) -> [Vec<f32>; 2] {
    session.input_mut::<f32>("x").unwrap().copy_from_slice(&x);
    session.run().unwrap();
    ["y", "before"].map(|name| session.output(name).unwrap().to_f32())
}

#[test]
fn a_run_finds_what_the_run_before_left() {
    let mut session = session();
    let names: Vec<_> = session.states().map(|(name, t)| (name.to_owned(), t.dims.clone())).collect();
    assert_eq!(names, [("sum".to_owned(), vec![2]), ("last".to_owned(), vec![2])]);
    assert_eq!(session.state("sum").unwrap().to_f32(), [1.0, 2.0], "there before the first run");
    assert_eq!(run(&mut session, [10.0, 20.0]), [[11.0, 22.0], [0.0, 0.0]]);
    assert_eq!(run(&mut session, [1.0, 1.0]), [[12.0, 23.0], [10.0, 20.0]]);
    assert_eq!(session.state("sum").unwrap().to_f32(), [12.0, 23.0]);
    session.reset();
    assert_eq!(session.state("last").unwrap().to_f32(), [0.0, 0.0]);
    assert_eq!(run(&mut session, [10.0, 20.0]), [[11.0, 22.0], [0.0, 0.0]]);
}

#[test]
fn sessions_have_states_of_their_own() {
    let (mut a, mut b) = (session(), session());
    run(&mut a, [10.0, 20.0]);
    assert_eq!(run(&mut b, [0.0, 0.0])[0], [1.0, 2.0]);
    b.restore_states(&a.save_states()).unwrap();
    assert_eq!(run(&mut b, [1.0, 1.0]), [[12.0, 23.0], [10.0, 20.0]]);
    assert_eq!(run(&mut a, [1.0, 1.0]), [[12.0, 23.0], [10.0, 20.0]], "a was only looked at");
}

#[test]
fn states_take_what_suits_them() {
    let mut session = session();
    let bytes: Vec<u8> = [5.0_f32, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    session.set_state("last", TensorRef::from_bytes(DType::F32, &bytes, &[2])).unwrap();
    assert_eq!(run(&mut session, [0.0, 0.0]), [[1.0, 2.0], [5.0, 6.0]]);
    let mut refused = |name: &str, dtype, dims: &[u32]| {
        session.set_state(name, TensorRef::from_bytes(dtype, &bytes, dims)).unwrap_err()
    };
    assert!(matches!(refused("next", DType::F32, &[2]), Error::NoTensor { what: "state", .. }));
    assert!(matches!(refused("last", DType::S32, &[2]), Error::Type { .. }));
    assert!(matches!(refused("last", DType::F32, &[1, 2]), Error::Shape { .. }));
    assert!(refused("x", DType::F32, &[2]).to_string().contains("the program has 'sum', 'last'"));
}
