//! The choice of precisions: what is promised of it holds for whatever was chosen.
#![cfg(target_arch = "x86_64")]

use cygnet::DType;
use cygnet::format::{Array, Reader};
use cygnet_convert::judge::{Outputs, Pool};
use cygnet_convert::search::Level;
use cygnet_convert::{
    Budget, Calibrator, ConvertError, Converted, ImportOptions, Judge, Options, Precision, Silent, Tools,
    convert,
};
use cygnet_tests::source::{Held, Source, run, session};

/// Accepts so many times what [`Outputs`] does.
struct Times(f64);

impl Judge for Times {
    fn measure(&self) -> String {
        format!("{} times the usual", self.0)
    }

    fn pool(&self) -> Pool {
        Pool::Worst
    }

    fn error(&self, float: &[Array], low: &[Array]) -> Result<f64, String> {
        Ok(Outputs.error(float, low)? / self.0)
    }
}

fn source() -> Source {
    Source::find("auto", "seg_selfie.onnx").expect("a committed model")
}

fn auto(source: &Source, budget: Budget, judge: &dyn Judge) -> Result<Converted, ConvertError> {
    let mut held = Held(vec![source.inputs.clone()]);
    let options = Options {
        source: source.path.clone(),
        import: ImportOptions::default(),
        precision: Precision::Auto,
        samples: Some(&mut held),
        buckets: Vec::new(),
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        winograd: false,
        sparse: true,
        budget,
        judge,
        meta: cygnet::format::Meta::new(),
        goldens: 0,
        provenance: String::new(),
    };
    convert(options, &mut Silent)
}

/// Outputs for the source's input.
fn answers(source: &Source, converted: &Converted) -> Vec<(String, Vec<f32>)> {
    run(&mut session(converted), &source.inputs)
}

#[test]
fn the_error_found_is_that_of_the_file() {
    let source = source();
    let float = answers(&source, &source.convert(Precision::F32).unwrap());
    let converted = auto(&source, Budget::default(), &Times(1.0)).unwrap();
    let found = converted.found.as_ref().unwrap();
    assert!(found.error <= 1.0, "{}", found.error);
    let power = |of: &dyn Fn(usize) -> f64| (0..float[0].1.len()).map(of).sum::<f64>();
    let (x, y) = (&float[0].1, &answers(&source, &converted)[0].1);
    let mean = power(&|i| x[i].into()) / x.len() as f64;
    let noise = power(&|i| f64::from(x[i] - y[i]).powi(2)) / power(&|i| (f64::from(x[i]) - mean).powi(2));
    // 30 dB are accepted; the float model may be rounded otherwise, by another form of its convolutions.
    let error = (noise * 1000.0).sqrt();
    assert!((error - found.error).abs() < 0.01, "{error}, not {}", found.error);
    assert!(converted.share(DType::S8) > 0.0);
}

#[test]
fn what_stays_higher_says_why_in_the_file_too() {
    let converted = auto(&source(), Budget::default(), &Times(0.2)).unwrap();
    let found = converted.found.as_ref().unwrap();
    assert!(found.whole > 1.0 && found.error <= 1.0, "{} to {}", found.whole, found.error);
    let raised: Vec<_> = found.groups.iter().filter(|g| g.level != Level::Int8).collect();
    assert!(!raised.is_empty());
    let quant = Reader::open(&converted.file).unwrap().quant().unwrap();
    for group in raised {
        let step = quant.steps.iter().find(|s| s.name == group.name).unwrap();
        assert!(step.reason.contains("int8 it costs"), "{}", step.reason);
    }
    // What runs in int8, or could, has been measured.
    let int8: Vec<_> =
        quant.steps.iter().filter(|s| s.precision == cygnet::format::Precision::Int8).collect();
    assert!(!int8.is_empty() && int8.iter().all(|s| s.sqnr_db.is_some_and(|db| db > 5.0)));
}

#[test]
fn a_budget_that_nothing_else_meets_gives_the_float_model() {
    let source = source();
    let converted = auto(&source, Budget::default(), &Times(1e-9)).unwrap();
    assert_eq!(converted.found.as_ref().unwrap().error, 0.0);
    assert_eq!(converted.share(DType::S8), 0.0);
}

#[test]
fn size_is_kept_at_the_price_of_error() {
    let source = source();
    let least = source.convert(Precision::Int8).unwrap().weights_bytes as u64;
    let most = source.convert(Precision::F32).unwrap().weights_bytes as u64;
    let bytes = (least + most) / 2;
    let some =
        auto(&source, Budget { error: 0.0, bytes: Some(bytes), ..Budget::default() }, &Outputs).unwrap();
    assert!(some.weights_bytes as u64 <= bytes);
    let all =
        auto(&source, Budget { error: 0.0, bytes: Some(least), ..Budget::default() }, &Outputs).unwrap();
    assert!(all.weights_bytes as u64 <= least);
    let error = |c: &Converted| c.found.as_ref().unwrap().error;
    assert!(error(&some) < error(&all), "{} and {}", error(&some), error(&all));
    let none = auto(&source, Budget { bytes: Some(least / 2), ..Budget::default() }, &Outputs);
    assert!(matches!(none, Err(ConvertError::Budget(what)) if what.contains("are allowed")));
}

#[test]
fn the_same_twice() {
    let convert = || auto(&source(), Budget::default(), &Times(0.5)).unwrap().file;
    assert!(convert() == convert());
}
