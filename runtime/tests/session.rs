//! Models and sessions, through the public interface.

mod common;

use std::sync::Arc;

use cygnet::format::{Array, FormatError, GoldenCase};
use cygnet::{
    DType, Error, Model, OpenOptions, Pool, PoolOptions, Profile, Select, Session, SessionOptions, TensorRef,
};

fn options(program: &str, threads: usize) -> SessionOptions {
    SessionOptions {
        threads: Some(threads),
        program: Select::Name(program.to_owned()),
        ..SessionOptions::default()
    }
}

fn run(session: &mut Session, x: &[f32]) -> Vec<f32> {
    session.input_mut::<f32>("x").unwrap().copy_from_slice(x);
    session.run().unwrap();
    session.output("out").unwrap().values::<f32>().unwrap().to_vec()
}

#[test]
fn results_are_the_same_with_any_number_of_threads() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let (x, want) = (common::sample(), common::expected(&common::sample()));
    for program in ["keep", "reuse"] {
        for threads in 1..=4 {
            let mut session = Session::new(&model, &options(program, threads)).unwrap();
            let tiles: Vec<_> = session.implementations().map(|k| k.tiles()).collect();
            let shared = tiles.iter().any(|&n| n > 1);
            assert_eq!(shared, threads > 1, "tiles with {threads} threads: {tiles:?}");
            for _ in 0..20 {
                assert!(run(&mut session, &x) == want, "{program} with {threads} threads");
            }
        }
    }
}

#[test]
fn sessions_share_a_pool_and_a_model() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let pool = Arc::new(Pool::new(&PoolOptions { threads: Some(3), cores: None }).unwrap());
    let want = common::expected(&common::sample());
    std::thread::scope(|scope| {
        for program in ["keep", "reuse", "keep"] {
            let (model, pool, want) = (&model, &pool, &want);
            scope.spawn(move || {
                let options = SessionOptions {
                    pool: Some(Arc::clone(pool)),
                    program: Select::Name(program.to_owned()),
                    ..SessionOptions::default()
                };
                let mut session = Session::new(model, &options).unwrap();
                assert_eq!(session.threads(), 3);
                for _ in 0..30 {
                    assert!(run(&mut session, &common::sample()) == *want);
                }
            });
        }
    });
}

#[test]
fn a_mapped_file_and_a_copied_one_run_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cygnet");
    std::fs::write(&path, common::file(&[])).unwrap();
    let want = common::expected(&common::sample());
    for copy in [false, true] {
        let model = Model::open_with(&path, OpenOptions { copy, ..OpenOptions::default() }).unwrap();
        assert_eq!(model.is_mapped(), !copy);
        let mut session = Session::new(&model, &options("keep", 2)).unwrap();
        drop(model);
        assert!(run(&mut session, &common::sample()) == want);
    }
}

#[test]
fn all_tensors_can_be_seen_where_the_plan_keeps_them() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let mut session = Session::new(&model, &options("keep", 1)).unwrap();
    let x = common::sample();
    assert!(matches!(session.tensor(1), Err(Error::NoResults)));
    run(&mut session, &x);
    let y = session.tensor(1).unwrap().to_f32();
    assert!(y.iter().zip(&x).all(|(y, x)| *y == (x + 1.0).max(0.0)));
    // The bias, in the weights.
    assert_eq!(session.tensor(5).unwrap().to_f32(), [1.0; common::CHANNELS]);
    assert!(matches!(session.tensor(99), Err(Error::NoTensor { .. })));
}

#[test]
fn inputs_are_asked_for_again_where_their_memory_is_reused() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let mut keep = Session::new(&model, &options("keep", 1)).unwrap();
    assert!(matches!(keep.run(), Err(Error::NotSet(names)) if names == ["x"]));
    assert!(matches!(keep.output("out"), Err(Error::NoResults)));
    run(&mut keep, &common::sample());
    assert!(keep.keeps_input("x").unwrap());
    keep.run().unwrap();
    let mut reuse = Session::new(&model, &options("reuse", 1)).unwrap();
    run(&mut reuse, &common::sample());
    assert!(!reuse.keeps_input("x").unwrap());
    assert!(matches!(reuse.run(), Err(Error::NotSet(_))));
}

#[test]
fn outputs_are_gone_once_an_input_is_set() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let mut session = Session::new(&model, &options("keep", 1)).unwrap();
    run(&mut session, &common::sample());
    session.input_bytes_mut("x").unwrap();
    assert!(matches!(session.output("out"), Err(Error::NoResults)));
}

#[test]
fn values_that_do_not_suit_an_input_are_refused() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let mut s = Session::new(&model, &options("keep", 1)).unwrap();
    let dims = [1, 64, 64, 16];
    let x = common::sample();
    let message = |r: Result<(), Error>| r.unwrap_err().to_string();
    let wrong_shape = message(s.set_input("x", TensorRef::new(&x, &[1, 16, 64, 64])));
    assert!(wrong_shape.contains("[1, 64, 64, 16]") && wrong_shape.contains("NCHW"), "{wrong_shape}");
    let bytes = vec![0_u8; common::LEN];
    let wrong_type = message(s.set_input("x", TensorRef::new(&bytes, &dims)));
    assert!(wrong_type.contains("is f32 where u8 was given"), "{wrong_type}");
    let unknown = message(s.set_input("X", TensorRef::new(&x, &dims)));
    assert!(unknown.contains("the program has 'x'"), "{unknown}");
    let short = message(s.set_input("x", TensorRef::new(&x[1..], &dims)));
    assert!(short.contains("do not hold"), "{short}");
    assert!(matches!(s.input_mut::<i32>("x"), Err(Error::Type { .. })));
    assert!(matches!(s.run(), Err(Error::NotSet(_))), "a refused value must not count as set");
}

#[test]
fn integers_and_quantized_inputs_are_converted() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let mut s = Session::new(&model, &options("copies", 1)).unwrap();
    let out_of_range = s.set_input("ids", TensorRef::new(&[0_i64, 1, 2, 1 << 31], &[2, 2]));
    assert!(matches!(out_of_range, Err(Error::Range { index: 3, value: 0x8000_0000, .. })));
    s.set_input("ids", TensorRef::new(&[0_i64, -1, 2, i64::from(i32::MAX)], &[2, 2])).unwrap();
    // 0.25 / 0.5 - 3: the tie goes to even, 0; 100 / 0.5 saturates.
    s.set_input("q", TensorRef::new(&[0.0_f32, 0.25, -1.0, 100.0], &[4])).unwrap();
    s.run().unwrap();
    assert_eq!(s.output("ids").unwrap().values::<i32>().unwrap(), [0, -1, 2, i32::MAX]);
    let q = s.output("q").unwrap();
    assert_eq!(q.values::<i8>().unwrap(), [-3, -3, -5, 127]);
    assert_eq!(q.to_f32(), [0.0, 0.0, -1.0, 65.0]);
}

#[test]
fn odd_numbers_are_found() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let mut s = Session::new(&model, &options("keep", 1)).unwrap();
    s.input_mut::<f32>("x").unwrap().fill(0.5);
    s.check_finite().unwrap();
    s.input_mut::<f32>("x").unwrap()[77] = f32::NAN;
    let error = s.check_finite().unwrap_err();
    assert!(matches!(&error, Error::NotFinite { name, index: 77, .. } if name == "x"), "{error}");
}

#[test]
fn damaged_files_are_refused() {
    let file = common::file(&[]);
    let refused = |bytes: &[u8]| match Model::from_bytes(bytes) {
        Err(Error::Format(error)) => *error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    };
    assert!(matches!(refused(&file[..file.len() - 1]), FormatError::Length { .. }));
    assert!(matches!(refused(b"GGUF\x03\0\0\0 and more"), FormatError::Magic(_)));
    assert!(matches!(refused(&[]), FormatError::Magic(_)));
    // A byte of the weights, which lie last: only the checksum tells.
    let mut bad = file.clone();
    let at = bad.len() - 200;
    bad[at] ^= 1;
    assert!(matches!(refused(&bad), FormatError::Checksum { .. }));
    let unchecked = OpenOptions { check_payload: false, ..OpenOptions::default() };
    Model::from_bytes_with(&bad, unchecked).unwrap();
}

#[test]
fn another_kernel_layout_is_refused() {
    let (program, weights) = (common::network("n", false), common::weights());
    let mut writer = cygnet::format::Writer::new();
    writer.program(&program).weights(&weights, cygnet::format::WeightsAlign::Page16K).pack_id(0xBAD);
    assert!(matches!(Model::from_bytes(&writer.finish().unwrap()), Err(Error::Layout { file: 0xBAD, .. })));
}

#[test]
fn missing_files_programs_and_threads_are_named() {
    let Err(missing) = Model::open("/no/such/file.cygnet") else { panic!("accepted") };
    assert!(missing.to_string().contains("/no/such/file.cygnet"), "{missing}");
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let error = |options: &SessionOptions| Session::new(&model, options).err().unwrap();
    assert!(error(&options("none", 1)).to_string().contains("'keep', 'reuse', 'copies'"));
    assert!(matches!(error(&options("keep", 0)), Error::Threads(0)));
    let cores = SessionOptions { cores: Some(vec![4000]), ..SessionOptions::default() };
    assert!(matches!(error(&cores), Error::Core { core: 4000, .. }));
}

#[test]
fn profiles_count_runs_and_steps() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let mut s = Session::new(&model, &options("keep", 2)).unwrap();
    let mut profile = Profile::new(&s);
    s.input_mut::<f32>("x").unwrap().fill(1.0);
    for _ in 0..3 {
        s.run_profiled(&mut profile).unwrap();
    }
    assert_eq!((profile.runs(), profile.steps().len()), (3, 3));
    let conv = &profile.steps()[0];
    assert_eq!((conv.name.as_str(), conv.op), ("conv", "conv"));
    assert_eq!(conv.macs, (common::LEN * 9 * common::CHANNELS) as u64);
    assert!(conv.best_ns > 0 && conv.total_ns >= 3 * conv.best_ns);
    assert!(profile.table(2).contains("1 more steps"));
    let mut other = Session::new(&model, &options("copies", 1)).unwrap();
    assert!(matches!(other.run_profiled(&mut profile), Err(Error::Profile)));
}

#[test]
fn memory_timeline_counts_what_is_alive() {
    let slot = (common::LEN * 4) as u64;
    // conv: x, y; mul: x, y, z; transpose: z, out.
    let timeline = cygnet::profile::memory_timeline(&common::network("n", false));
    assert_eq!(timeline, [2 * slot, 3 * slot, 2 * slot]);
}

fn golden(tolerance: f32, change: impl Fn(&mut Vec<f32>)) -> Vec<u8> {
    let array = |name: &str, dims: &[u32], values: &[f32]| Array {
        name: name.to_owned(),
        dtype: DType::F32,
        dims: dims.to_vec(),
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    let mut want = common::expected(&common::sample());
    change(&mut want);
    let case = GoldenCase {
        program: 1,
        tolerance,
        inputs: vec![array("x", &[1, 64, 64, 16], &common::sample())],
        outputs: vec![array("out", &[1, 16, 64, 64], &want)],
    };
    common::file(&[case])
}

#[test]
fn goldens_prove_a_model() {
    let outcome = |file: &[u8]| {
        let model = Model::from_bytes(file).unwrap();
        cygnet::golden::verify(&model, &SessionOptions::default()).unwrap().remove(0)
    };
    assert_eq!(outcome(&golden(0.0, |_| ())).mismatch, None);
    let m = outcome(&golden(0.0, |y| y[10] += 0.25)).mismatch.unwrap();
    assert_eq!((m.output.as_str(), m.index, m.count, m.worst), ("out", 10, 1, 0.25));
    // The greatest magnitude is 6: a tolerance of 5 % allows 0.3.
    assert_eq!(outcome(&golden(0.05, |y| y[10] += 0.25)).mismatch, None);
    assert!(outcome(&golden(0.04, |y| y[10] += 0.25)).mismatch.is_some());
}
