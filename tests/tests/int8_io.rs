//! Inputs and outputs in int8, against the same model with real ones.
#![cfg(target_arch = "x86_64")]

use cygnet::format::program::{DType, Tensor};
use cygnet::{Model, Session, SessionOptions};
use cygnet_convert::{ConvertError, Precision};
use cygnet_tests::source::{Source, run, session};

fn types(s: &Session) -> Vec<DType> {
    s.inputs().chain(s.outputs()).map(|(_, t)| t.dtype).collect()
}

#[test]
fn int8_inputs_and_outputs_are_the_real_ones_rounded() {
    for file in ["fashion_mnist_cnn.onnx", "seg_selfie.onnx", "face_blaze_short.tflite"] {
        let source = Source::find("int8_io", file).expect("a committed model");
        let convert = |io| {
            source.convert_as(vec![source.inputs.clone()], |options| {
                options.precision = Precision::Int8;
                options.int8_io = io;
            })
        };
        let mut real = session(&convert(false).unwrap());
        let mut whole = session(&convert(true).unwrap());
        assert!(types(&real).iter().all(|&t| t == DType::F32), "{file}");
        assert!(types(&whole).iter().all(|&t| t == DType::S8), "{file}");
        // A session takes real numbers for a quantized input, by its scale.
        let want = run(&mut real, &source.inputs);
        let got = run(&mut whole, &source.inputs);
        let outputs: Vec<(String, Tensor)> =
            whole.outputs().map(|(n, t)| (n.to_owned(), t.clone())).collect();
        for ((name, t), ((_, got), (_, want))) in outputs.iter().zip(got.iter().zip(&want)) {
            let q = t.quant.expect("a scale");
            // What calibration has not shown saturates.
            let ends = [-128, 127].map(|v| (v - q.zero_point) as f32 * q.scale);
            for (g, w) in got.iter().zip(want) {
                let w = w.clamp(ends[0], ends[1]);
                assert!(
                    (g - w).abs() <= q.scale * 0.5001,
                    "{file} {name}: {g} and {w}, a step is {}",
                    q.scale
                );
            }
        }
    }
}

#[test]
fn only_int8_has_them() {
    let source = Source::find("int8_io", "fashion_mnist_cnn.onnx").expect("a committed model");
    for precision in [Precision::F32, Precision::F16, Precision::Dynamic, Precision::WeightInt4] {
        let refused = source.convert_as(vec![source.inputs.clone()], |options| {
            options.precision = precision;
            options.int8_io = true;
        });
        assert!(matches!(refused, Err(ConvertError::Int8Io(p)) if p == precision));
    }
}

#[test]
fn goldens_of_such_a_file_come_out() {
    let source = Source::find("int8_io", "fashion_mnist_cnn.onnx").expect("a committed model");
    let converted = source
        .convert_as(vec![source.inputs.clone()], |options| {
            options.precision = Precision::Int8;
            options.int8_io = true;
            options.goldens = 1;
        })
        .unwrap();
    let model = Model::from_bytes(&converted.file).unwrap();
    let outcomes = cygnet::golden::verify(&model, &SessionOptions::default()).unwrap();
    assert!(outcomes.len() == 1 && outcomes.iter().all(|o| o.mismatch.is_none()));
}
