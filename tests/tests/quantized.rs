//! Models that come quantized: their integers stay what they are, and every step means what the source's operators mean.

#![cfg(target_arch = "x86_64")]

use cygnet::format::program::DType;
use cygnet_convert::apart::{Apart, apart};
use cygnet_convert::{ImportOptions, Precision, import};
use cygnet_tests::source::Source;

/// Files, and how many of a million results of single steps may differ, by one unit in the last place.
const FILES: &[(&str, u64)] = &[
    ("kws_micro_alexa_int8.tflite", 500),
    ("cls_mobilenetv2_qdq.onnx", 20),
    ("cls_mobilenetv2_qop.onnx", 20),
    ("cls_mobilenetv2_int8.tflite", 20),
    ("cls_efficientnet_lite0_qdq.onnx", 40),
];

/// Sums of integers, multiplied and rounded once, beside Dequantize, a float operator, and Quantize. Those round three times,
/// so that a few results on the edge between two integers fall to the other side.
#[test]
fn each_integer_step_is_what_the_source_says() {
    for &(file, most) in FILES {
        let Some(source) = Source::find("each_integer_step_is_what_the_source_says", file) else { continue };
        let graph = import(&source.path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
        let found =
            apart(&graph, std::slice::from_ref(&source.inputs)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(found.len() >= 8, "{file}: {} integer steps", found.len());
        let far: Vec<&Apart> = found.iter().filter(|s| s.most > 1).collect();
        assert!(far.is_empty(), "{file}: {far:?}");
        let sum = |of: &dyn Fn(&Apart) -> u64| found.iter().map(of).sum::<u64>();
        let (unequal, compared) = (sum(&|s| s.unequal), sum(&|s| s.compared));
        assert!(unequal * 1_000_000 <= most * compared, "{file}: {unequal} of {compared} unequal");
    }
}

/// Without samples, in a fourth of the space.
#[test]
fn what_comes_quantized_runs_in_int8() {
    for &(file, _) in FILES {
        let Some(source) = Source::find("what_comes_quantized_runs_in_int8", file) else { continue };
        for precision in [Precision::Auto, Precision::Int8] {
            let converted = source.convert_with(precision, Vec::new(), 0);
            let converted = converted.unwrap_or_else(|e| panic!("{file} {precision}: {e}"));
            assert_eq!(converted.share(DType::S8), 1.0, "{file} {precision}");
            let real = converted.program.steps.iter().filter(|s| s.op.name() == "convert").count();
            assert!(real <= 2, "{file} {precision}: {real} conversions, but for those of input and output");
        }
        let float = source.convert_with(Precision::F32, Vec::new(), 0).unwrap();
        assert_eq!(float.share(DType::F32), 1.0, "{file}");
    }
}
