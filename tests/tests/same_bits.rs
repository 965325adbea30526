//! Same file, same bits: the outputs of committed models, as hashes in git, on every instruction set that this
//! processor has and with one to four threads.
//!
//! After a change that is meant to change bits, on an x86-64 machine:
//! `cargo test -p cygnet-tests --test same_bits -- --ignored regenerate` writes the models and the hashes anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cygnet::{Cpu, Model, Session, SessionOptions};
use cygnet_tests::{bits, place};

/// The committed models: fixture and hashes have this name.
const MODELS: [&str; 9] = [
    "blaze_f32",
    "blaze_int8",
    "seg_selfie_int8",
    "fashion_f32",
    "fashion_int8",
    "fashion_dynamic",
    "fashion_weight-int8",
    "fashion_weight-int4",
    "pruned_int8",
];

/// Models that the converter made once and would make otherwise now; their bits stay. `blaze_int8_apart` has residual
/// additions as steps of their own.
const EARLIER: [&str; 1] = ["blaze_int8_apart"];

/// Seeds the inputs.
const SEED: u64 = 7;

fn fixture(name: &str) -> PathBuf {
    place::own("fixtures").join(name).with_extension("cygnet")
}

fn hashes(model: &Model, cpu: Cpu, threads: usize) -> Vec<(String, String)> {
    let options = SessionOptions { threads: Some(threads), cpu: Some(cpu), ..SessionOptions::default() };
    let mut session = Session::new(model, &options).unwrap_or_else(|e| panic!("{e}"));
    let inputs = bits::noises(&session, SEED);
    bits::hashes(&mut session, &inputs).unwrap_or_else(|e| panic!("{e}"))
}

/// Lines of `same_bits.tsv`: model, output, hash.
fn pinned() -> BTreeMap<(String, String), String> {
    let text = std::fs::read_to_string(place::own("same_bits.tsv")).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [model, output, hash] = fields[..] else { panic!("{line:?} has not three fields") };
            ((model.to_owned(), output.to_owned()), hash.to_owned())
        })
        .collect()
}

#[test]
fn committed_models_give_the_pinned_bits() {
    let pinned = pinned();
    let levels = Cpu::runnable();
    assert!(levels.iter().any(|l| l.0 == "generic") && levels.len() >= 2, "{levels:?}");
    let mut checked = 0;
    for name in MODELS.into_iter().chain(EARLIER) {
        let model = Model::open(fixture(name)).unwrap_or_else(|e| panic!("{e}"));
        for &(level, cpu) in &levels {
            for threads in 1..=4 {
                for (output, hash) in hashes(&model, cpu, threads) {
                    let want = pinned.get(&(name.to_owned(), output.clone()));
                    assert_eq!(Some(&hash), want, "{name} {output} on {level} with {threads} threads");
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, pinned.len() * levels.len() * 4);
}

#[cfg(target_arch = "x86_64")]
mod host {
    use super::*;
    use cygnet::format::Array;
    use cygnet::format::op::{GroupKind, Op};
    use cygnet_convert::Precision;
    use cygnet_convert::predict::Device;
    use cygnet_targets::Profile;
    use cygnet_tests::pruned::pruned;
    use cygnet_tests::source::Source;

    fn convert(name: &str) -> Vec<u8> {
        let (stem, precision) = name.rsplit_once('_').unwrap();
        let precision = precision.parse::<Precision>().unwrap();
        if stem == "pruned" {
            let (_made, source) = pruned();
            // On an A53 pairs take as long as half of a group of four.
            let device = Device::new(&Profile::named("generic-aarch64").unwrap());
            let converted = source.convert_as(vec![source.inputs.clone()], |options| {
                options.precision = precision;
                options.budget.device = device;
            });
            return converted.unwrap_or_else(|e| panic!("{e}")).file;
        }
        let file = match stem {
            "blaze" => "face_blaze_short.tflite",
            "fashion" => "fashion_mnist_cnn.onnx",
            _ => "seg_selfie.onnx",
        };
        let source = Source::find("same_bits", file).unwrap();
        source.convert(precision).unwrap_or_else(|e| panic!("{e}")).file
    }

    #[test]
    fn converting_again_gives_the_committed_file() {
        for name in MODELS {
            let committed = std::fs::read(fixture(name)).unwrap();
            let fresh = convert(name);
            assert_eq!(bits::sha256(&fresh), bits::sha256(&committed), "{name}");
        }
    }

    /// Both kinds of sparse steps are among what is pinned.
    #[test]
    fn the_pruned_model_has_sparse_steps_of_fours_and_pairs() {
        let model = Model::open(fixture("pruned_int8")).unwrap();
        let groups: Vec<_> = model.programs()[0]
            .steps
            .iter()
            .filter_map(|step| match &step.op {
                Op::SparseConv(conv) => Some(conv.group),
                _ => None,
            })
            .collect();
        assert_eq!(groups, [GroupKind::Fours, GroupKind::Pairs]);
    }

    /// The larger models: every instruction set against the portable kernels.
    #[test]
    fn large_models_give_the_same_bits_everywhere() {
        for file in ["cls_mobilenetv2.onnx", "ocr_det_v6_tiny.onnx"] {
            let Some(source) = Source::find("large_models_give_the_same_bits_everywhere", file) else {
                continue;
            };
            for precision in [Precision::F32, Precision::Int8] {
                let model = Model::from_bytes(&source.convert(precision).unwrap().file).unwrap();
                let inputs: Vec<Array> = source.inputs.clone();
                let run = |cpu, threads| {
                    let options = SessionOptions {
                        threads: Some(threads),
                        cpu: Some(cpu),
                        ..SessionOptions::default()
                    };
                    bits::hashes(&mut Session::new(&model, &options).unwrap(), &inputs).unwrap()
                };
                let generic = run(Cpu::forced("generic").unwrap(), 2);
                for (level, cpu) in Cpu::runnable().into_iter().filter(|l| l.0 != "generic") {
                    for threads in [1, 3] {
                        assert_eq!(run(cpu, threads), generic, "{file} {precision} {level} {threads}");
                    }
                }
            }
        }
    }

    #[test]
    #[ignore = "writes the committed models and hashes anew"]
    fn regenerate() {
        let mut text = String::from("# model\toutput\tSHA-256 of its bytes\n");
        for name in MODELS.into_iter().chain(EARLIER) {
            if MODELS.contains(&name) {
                std::fs::write(fixture(name), convert(name)).unwrap();
            }
            let model = Model::open(fixture(name)).unwrap();
            let generic = Cpu::forced("generic").unwrap();
            for (output, hash) in hashes(&model, generic, 1) {
                text += &format!("{name}\t{output}\t{hash}\n");
            }
        }
        std::fs::write(place::own("same_bits.tsv"), text).unwrap();
    }
}
