//! Several shapes in one file: programs over one copy of the weights.
#![cfg(target_arch = "x86_64")]

use std::collections::BTreeMap;

use cygnet::format::Array;
use cygnet::{Model, Select, Session, SessionOptions};
use cygnet_convert::{Calibrator, Converted, ImportOptions, Options, Precision, Silent, Tools, convert};
use cygnet_tests::bits::{hashes, noises};
use cygnet_tests::place;
use cygnet_tests::source::Held;

type Shapes = BTreeMap<String, Vec<usize>>;

fn shapes(width: usize) -> Shapes {
    BTreeMap::from([("x".to_owned(), vec![1, 3, 48, width])])
}

/// The text recognizer, whose width is open, for the first of these widths and more.
fn converted(widths: &[usize], precision: Precision) -> Option<Converted> {
    let path = place::model_file("buckets", "ocr_rec_v6_tiny_int8w.onnx")?;
    let mut samples = Held(vec![vec![sample(widths[0])]]);
    let options = Options {
        source: path,
        import: ImportOptions { shapes: shapes(widths[0]), ..ImportOptions::default() },
        buckets: widths[1..].iter().map(|&w| shapes(w)).collect(),
        precision,
        samples: Some(&mut samples),
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        winograd: true,
        sparse: true,
        budget: cygnet_convert::Budget::default(),
        judge: &cygnet_convert::judge::Outputs,
        meta: cygnet::format::Meta::new(),
        goldens: 1,
        provenance: String::new(),
    };
    Some(convert(options, &mut Silent).unwrap_or_else(|e| panic!("{e}")))
}

fn sample(width: usize) -> Array {
    let bytes = (0..3 * 48 * width).flat_map(|i| ((i % 97) as f32 / 97.0 - 0.5).to_le_bytes()).collect();
    Array { name: "x".to_owned(), dtype: cygnet::DType::F32, dims: vec![1, 3, 48, width as u32], bytes }
}

fn session(model: &Model, program: Select) -> Session {
    Session::new(model, &SessionOptions { program, ..SessionOptions::default() })
        .unwrap_or_else(|e| panic!("{e}"))
}

fn wide(width: u32) -> Select {
    Select::Shapes(vec![("x".to_owned(), vec![1, 3, 48, width])])
}

#[test]
fn programs_share_weights_and_give_what_files_of_their_own_give() {
    for precision in [Precision::F32, Precision::Int8] {
        let (Some(both), Some(one)) = (converted(&[160, 320], precision), converted(&[160], precision))
        else {
            return;
        };
        // What follows from the shapes alone may be there twice; the weights are not.
        assert!(
            both.weights_bytes < one.weights_bytes * 21 / 20,
            "{} and {}",
            both.weights_bytes,
            one.weights_bytes
        );
        let model = Model::from_bytes(&both.file).unwrap();
        let names: Vec<&str> = model.programs().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["x=1x3x48x160", "x=1x3x48x320"]);
        let cases = cygnet::golden::verify(&model, &SessionOptions::default()).unwrap();
        assert_eq!(cases.iter().map(|c| c.program).collect::<Vec<_>>(), [0, 1]);
        assert!(cases.iter().all(|c| c.mismatch.is_none()));

        let mut own = session(&Model::from_bytes(&one.file).unwrap(), Select::First);
        let mut small = session(&model, wide(160));
        let inputs = noises(&own, 1);
        assert_eq!(hashes(&mut own, &inputs).unwrap(), hashes(&mut small, &inputs).unwrap(), "{precision}");
        assert!(matches!(
            Session::new(&model, &SessionOptions { program: wide(161), ..SessionOptions::default() }),
            Err(cygnet::Error::NoProgram { .. })
        ));
        if precision == Precision::F32 {
            let other = converted(&[320], precision).unwrap();
            let mut own = session(&Model::from_bytes(&other.file).unwrap(), Select::First);
            let mut large = session(&model, wide(320));
            let inputs = noises(&own, 2);
            // Winograd's algorithm may be chosen for other steps of the wider one, so bits are its own.
            let far = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
            let run = |s: &mut Session| cygnet_tests::source::run(s, &inputs).remove(0).1;
            assert!(far(&run(&mut own), &run(&mut large)) < 1e-4);
        }
    }
}
