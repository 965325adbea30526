//! True accuracy: the 10,000 test images of Fashion-MNIST.
#![cfg(target_arch = "x86_64")]

use cygnet::Session;
use cygnet_convert::Precision;
use cygnet_tests::fashion::Images;
use cygnet_tests::source::{Source, run, session};
use cygnet_tests::{bits, place};

/// Calibration images, from the training set.
const SAMPLES: usize = 256;

fn right(session: &mut Session, input: &str, images: &Images) -> usize {
    (0..images.len())
        .filter(|&i| {
            let array = images.array(input, i, 1);
            bits::set(session, std::slice::from_ref(&array)).unwrap();
            let scores = &run(session, &[array])[0].1;
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            best == Some(usize::from(images.labels()[i]))
        })
        .count()
}

#[test]
fn accuracy_is_what_training_gave() {
    let folder = place::data().join("fashion-mnist");
    let (Some(test), Some(train)) = (Images::read(&folder, "t10k"), Images::read(&folder, "train")) else {
        let why =
            format!("no images in {}; tests/fetch_models.py fashion-mnist fetches them", folder.display());
        place::skipped("accuracy_is_what_training_gave", &why);
        return;
    };
    let source = Source::find("accuracy", "fashion_mnist_cnn.onnx").expect("a committed model");
    let input = source.inputs[0].name.clone();
    let samples = (0..SAMPLES).map(|i| vec![train.array(&input, i * 37, 1)]).collect::<Vec<_>>();
    let count = |precision| {
        let converted = source.convert_with(precision, samples.clone(), 0).unwrap();
        right(&mut session(&converted), &input, &test)
    };
    // 90.00 % is what PyTorch and ONNX Runtime reach with these weights.
    assert_eq!(count(Precision::F32), 9000);
    let int8 = count(Precision::Int8);
    assert!(int8 >= 8970, "{int8} of 10000");
}
