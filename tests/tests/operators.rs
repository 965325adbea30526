//! Operators one by one: TensorFlow Lite's against what LiteRT gives (`tests/tflite/make_ops.py`), ONNX Runtime's own
//! against what that gives (`tests/onnx/make_contrib.py`).
#![cfg(target_arch = "x86_64")]

use std::collections::BTreeMap;
use std::path::Path;

use cygnet::format::Array;
use cygnet::format::program::DType;
use cygnet::{Session, TensorRef, npz};
use cygnet_convert::passes::simplify;
use cygnet_convert::tflite::import_bytes;
use cygnet_convert::{
    Calibrator, Converted, ImportOptions, Options, Precision, Silent, Tools, convert, prepare,
};
use cygnet_tests::place;
use cygnet_tests::source::session;

/// Of a case: the model, and the inputs and outputs of runs that follow one another.
#[derive(Default)]
struct Case {
    model: Vec<u8>,
    runs: BTreeMap<usize, [BTreeMap<usize, Array>; 2]>,
}

fn cases(file: &str) -> BTreeMap<String, Case> {
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for a in npz::read(&place::own(file)).unwrap() {
        let parts: Vec<String> = a.name.split('/').map(str::to_owned).collect();
        let case = cases.entry(parts[0].clone()).or_default();
        match parts.len() {
            2 => case.model = a.bytes,
            _ => {
                let run = case.runs.entry(parts[1].parse().unwrap()).or_default();
                run[usize::from(parts[2] == "out")].insert(parts[3].parse().unwrap(), a);
            }
        }
    }
    cases
}

fn converted(folder: &Path, name: &str, case: &Case) -> Result<Converted, String> {
    let ending = if case.model.get(4..8) == Some(b"TFL3") { "tflite" } else { "onnx" };
    let source = folder.join(format!("{name}.{ending}"));
    std::fs::write(&source, &case.model).unwrap();
    let options = Options {
        source,
        import: ImportOptions::default(),
        buckets: Vec::new(),
        precision: Precision::F32,
        samples: None,
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        budget: cygnet_convert::Budget::default(),
        judge: &cygnet_convert::judge::Outputs,
        winograd: false,
        sparse: true,
        meta: cygnet::format::Meta::new(),
        goldens: 0,
        provenance: String::new(),
    };
    convert(options, &mut Silent).map_err(|e| e.to_string())
}

/// The elements as numbers, whatever their type.
fn numbers(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    let of = |size: usize| bytes.chunks_exact(size);
    match dtype {
        DType::F32 => of(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
        DType::S16 => of(2).map(|b| f64::from(i16::from_le_bytes(b.try_into().unwrap()))).collect(),
        DType::S32 => of(4).map(|b| f64::from(i32::from_le_bytes(b.try_into().unwrap()))).collect(),
        DType::S64 => of(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
        DType::S8 => bytes.iter().map(|&b| f64::from(b.cast_signed())).collect(),
        DType::U8 => bytes.iter().map(|&b| f64::from(b)).collect(),
        other => panic!("outputs of {}", other.name()),
    }
}

/// What is wrong with output `i`. Real numbers agree within a few roundings, or `far` of the greatest; quantized ones,
/// which LiteRT computes in integers, within one step; all else exactly.
fn compare(session: &Session, i: usize, want: &Array, far: f64) -> Result<(), String> {
    let name = session.outputs().nth(i).ok_or("is missing")?.0.to_owned();
    let got = session.output(&name).map_err(|e| e.to_string())?;
    if got.dims != want.dims {
        return Err(format!("is {:?} where {:?} belongs", got.dims, want.dims));
    }
    let (a, b) = (numbers(got.dtype, got.bytes), numbers(want.dtype, &want.bytes));
    let most = b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let allowed = match want.dtype {
        DType::F32 => far * most.max(1.0),
        DType::S16 => 1.0,
        DType::S8 | DType::U8 if got.quant.is_some() => 1.0,
        _ => 0.0,
    };
    match a.iter().zip(&b).position(|(a, b)| (a - b).abs() > allowed || a.is_nan() != b.is_nan()) {
        None => Ok(()),
        Some(at) => Err(format!("has {} at {at} where {} is wanted", a[at], b[at])),
    }
}

fn check(folder: &Path, name: &str, case: &Case, far: f64) -> Result<(), String> {
    let mut session = session(&converted(folder, name, case)?);
    for (run, [inputs, outputs]) in &case.runs {
        let names: Vec<String> = session.inputs().map(|(name, _)| name.to_owned()).collect();
        for (i, a) in inputs {
            session
                .set_input(&names[*i], TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims))
                .map_err(|e| e.to_string())?;
        }
        session.run().map_err(|e| e.to_string())?;
        for (i, want) in outputs {
            compare(&session, *i, want, far).map_err(|e| format!("run {run}, output {i} {e}"))?;
        }
    }
    Ok(())
}

#[test]
fn operators_give_what_litert_gives() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases("data/tflite_ops.npz");
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(name, case)| Some(format!("{name}: {}", check(folder.path(), name, case, 2e-5).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// ONNX Runtime rounds hidden states to bytes too, from step to step.
#[test]
fn quantized_layers_are_near_what_onnx_runtime_gives() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases("data/contrib_ops.npz");
    assert_eq!(cases.len(), 3);
    for (name, case) in &cases {
        check(folder.path(), name, case, 0.02).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// What is wrong with output `i`, of which ONNX Runtime gives the rows that are there: they come first, and behind them
/// are -1 of integers, else zeros.
fn compare_rows(session: &Session, i: usize, want: &Array) -> Result<(), String> {
    let name = session.outputs().nth(i).ok_or("is missing")?.0.to_owned();
    let got = session.output(&name).map_err(|e| e.to_string())?;
    let fits = got.dims.len() == want.dims.len() && got.dims.iter().zip(&want.dims).all(|(a, b)| a >= b);
    if !fits {
        return Err(format!("is {:?} where {:?} belongs", got.dims, want.dims));
    }
    let (a, b) = (numbers(got.dtype, got.bytes), numbers(want.dtype, &want.bytes));
    let behind = if matches!(got.dtype, DType::S32 | DType::S64) { -1.0 } else { 0.0 };
    for (at, &value) in a.iter().enumerate() {
        let (mut rest, mut place, mut step, mut there) = (at, 0, 1, true);
        for (&d, &w) in got.dims.iter().zip(&want.dims).rev() {
            let (d, w) = (d as usize, w as usize);
            there &= rest % d < w;
            place += rest % d * step;
            (rest, step) = (rest / d, step * w);
        }
        let wanted = if there { b[place] } else { behind };
        let allowed = if want.dtype == DType::F32 { 1e-5 * wanted.abs().max(1.0) } else { 0.0 };
        if (value - wanted).abs() > allowed || value.is_nan() {
            return Err(format!("has {value} at {at} of {:?} where {wanted} is wanted", got.dims));
        }
    }
    Ok(())
}

#[test]
fn exported_graphs_give_what_onnx_runtime_gives() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases("data/export_ops.npz");
    assert_eq!(cases.len(), 85);
    let answers = |name: &str, case: &Case| -> Result<(), String> {
        let mut session = session(&converted(folder.path(), name, case)?);
        let [inputs, outputs] = &case.runs[&0];
        let names: Vec<String> = session.inputs().map(|(name, _)| name.to_owned()).collect();
        for (i, a) in inputs {
            let tensor = TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims);
            session.set_input(&names[*i], tensor).map_err(|e| e.to_string())?;
        }
        session.run().map_err(|e| e.to_string())?;
        outputs
            .iter()
            .try_for_each(|(i, want)| compare_rows(&session, *i, want).map_err(|e| format!("output {i} {e}")))
    };
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(name, case)| Some(format!("{name}: {}", answers(name, case).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn damaged_operators_end_in_a_result_or_an_error() {
    for (name, case) in cases("data/tflite_ops.npz") {
        let mut bytes = case.model;
        for i in (0..bytes.len()).step_by(29) {
            for mask in [0x01, 0xff] {
                bytes[i] ^= mask;
                if let Ok(mut graph) = import_bytes(&bytes, &ImportOptions::default())
                    && simplify(&mut graph).is_ok()
                {
                    let _ = prepare(&graph);
                }
                bytes[i] ^= mask;
            }
        }
        assert!(import_bytes(&bytes, &ImportOptions::default()).is_ok(), "{name} as it was");
    }
}
