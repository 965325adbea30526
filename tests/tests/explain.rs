//! What conversion says of each operator of the source model.
#![cfg(target_arch = "x86_64")]

use std::collections::BTreeSet;

use cygnet::format::op::Op;
use cygnet_convert::explain::{Explained, How};
use cygnet_convert::onnx::schema::ModelProto;
use cygnet_convert::{Converted, Precision};
use cygnet_tests::place;
use cygnet_tests::source::Source;
use prost::Message;

fn converted(file: &str, precision: Precision) -> Converted {
    Source::find("explain", file).unwrap().convert(precision).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn of<'a>(converted: &'a Converted, name: &str) -> &'a Explained {
    converted.explained.iter().find(|e| e.name == name).unwrap_or_else(|| panic!("{name} is not explained"))
}

/// The network is known: blocks of Conv and Clip, a residual Add, a mean, Flatten and Gemm.
#[test]
fn a_small_network_is_explained_node_by_node() {
    for precision in [Precision::F32, Precision::Int8] {
        let converted = converted("fashion_mnist_cnn.onnx", precision);
        let source =
            ModelProto::decode(&*std::fs::read(place::asset("fashion_mnist_cnn.onnx")).unwrap()).unwrap();
        let nodes: Vec<String> = source
            .graph
            .unwrap()
            .node
            .into_iter()
            .filter(|n| n.op_type.as_deref() != Some("Constant"))
            .map(|n| n.name.unwrap())
            .collect();
        let explained: Vec<&str> = converted.explained.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(explained, nodes, "every node once, in its order");

        let ops = |e: &Explained| -> Vec<&'static str> {
            e.steps.iter().map(|&i| converted.program.steps[i].op.name()).collect()
        };
        // Bounds are applied by the convolution before them.
        let (conv, clip) = (of(&converted, "/3/3.0/Conv"), of(&converted, "/3/3.2/Clip"));
        assert_eq!((conv.how, &conv.steps), (How::Steps, &clip.steps), "{precision}");
        assert_eq!(ops(conv), ["depthwise-conv"], "{precision}");
        assert_eq!(ops(of(&converted, "/2/MaxPool")), ["pool"], "{precision}");
        assert_eq!(ops(of(&converted, "/8/Gemm")).last(), Some(&"conv"), "{precision}");
        let flat = of(&converted, "/7/Flatten");
        assert_eq!((flat.how, flat.steps.len()), (How::NoStep, 0), "{precision}");
    }
}

/// Every step that computes is there for an operator, and what is said fits together, in models of both formats.
#[test]
fn nothing_is_left_without_a_reason() {
    for (file, precision) in [
        ("fashion_mnist_cnn.onnx", Precision::Int8),
        ("face_blaze_short.tflite", Precision::F32),
        ("face_blaze_short.tflite", Precision::Int8),
        ("seg_selfie.onnx", Precision::F32),
        ("seg_selfie.onnx", Precision::F16),
        ("kws_micro_alexa_int8.tflite", Precision::F32),
    ] {
        let converted = converted(file, precision);
        let claimed: BTreeSet<usize> =
            converted.explained.iter().flat_map(|e| e.steps.iter().copied()).collect();
        for (i, step) in converted.program.steps.iter().enumerate() {
            let moves = matches!(step.op, Op::Copy(_) | Op::Convert(_) | Op::Fill(_));
            assert!(moves || claimed.contains(&i), "{file}: nobody claims step {i} '{}'", step.name);
        }
        for e in &converted.explained {
            let some = matches!(e.how, How::Steps | How::Within);
            assert_eq!(some, !e.steps.is_empty(), "{file}: {e:?}");
            assert!(e.how != How::Unused, "{file}: {} '{}' is used", e.op, e.name);
        }
    }
}
