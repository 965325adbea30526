//! States: inputs and outputs that conversion ties, and what models say persists.
#![cfg(target_arch = "x86_64")]

use std::path::Path;

use cygnet::format::Array;
use cygnet::format::program::DType;
use cygnet::{Model, Session, SessionOptions, npz};
use cygnet_convert::onnx::schema::AttributeProto;
use cygnet_convert::{
    Calibrator, ConvertError, Converted, ImportOptions, Options, Precision, Silent, Tools, convert,
};
use cygnet_tests::bits::{hashes, noises};
use cygnet_tests::made::{Made, made, node};
use cygnet_tests::place;
use cygnet_tests::source::{Held, Source, run, session};

fn tied(path: &Path, states: &[(&str, &str)], precision: Precision) -> Result<Converted, ConvertError> {
    let states = states.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect();
    let mut samples = Held(vec![vec![floats_array("x", &[1.0, -1.0])]; 2]);
    let options = Options {
        source: path.to_owned(),
        import: ImportOptions { states, ..ImportOptions::default() },
        buckets: Vec::new(),
        precision,
        tools: Tools::default(),
        winograd: true,
        sparse: true,
        samples: Some(&mut samples),
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        budget: cygnet_convert::Budget::default(),
        judge: &cygnet_convert::judge::Outputs,
        meta: cygnet::format::Meta::new(),
        goldens: 1,
        provenance: String::new(),
    };
    convert(options, &mut Silent)
}

fn floats_array(name: &str, values: &[f32]) -> Array {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Array { name: name.to_owned(), dtype: DType::F32, dims: vec![values.len() as u32], bytes }
}

/// One run; the output `y`.
fn next(session: &mut Session, x: [f32; 2]) -> Vec<f32> {
    run(session, &[floats_array("x", &x)]).into_iter().find(|(name, _)| name == "y").unwrap().1
}

/// The last four values, of which `y` is the mean of the oldest two with the newest two.
fn queue() -> Made {
    let nodes = vec![
        node("Split", &["before"], "old"),
        node("Concat", &["fresh", "x"], "after"),
        node("Mean", &["old", "x"], "y"),
    ];
    let mut made_nodes = nodes;
    made_nodes[0].output.push("fresh".to_owned());
    made_nodes[0].attribute.push(AttributeProto {
        name: Some("num_outputs".to_owned()),
        i: Some(2),
        ..Default::default()
    });
    made(&[("before", 4), ("x", 2)], made_nodes, &[("after", 4), ("y", 2)])
}

#[test]
fn a_queue_hands_its_contents_on() {
    let model = queue();
    for precision in [Precision::F32, Precision::F16, Precision::Int8] {
        let converted = tied(&model.path, &[("before", "after")], precision).unwrap();
        let outcome =
            cygnet::golden::verify(&Model::from_bytes(&converted.file).unwrap(), &SessionOptions::default());
        assert!(
            outcome.unwrap().iter().all(|o| o.mismatch.is_none()),
            "goldens begin with the initial state"
        );
        let mut session = session(&converted);
        assert_eq!(session.inputs().map(|(name, _)| name).collect::<Vec<_>>(), ["x"]);
        assert_eq!(session.outputs().map(|(name, _)| name).collect::<Vec<_>>(), ["y"]);
        assert_eq!(next(&mut session, [2.0, 4.0]), [1.0, 2.0], "{precision}");
        assert_eq!(next(&mut session, [6.0, 8.0]), [3.0, 4.0], "{precision}");
        assert_eq!(next(&mut session, [0.0, 0.0]), [1.0, 2.0], "{precision}");
        assert_eq!(session.state("before").unwrap().to_f32(), [6.0, 8.0, 0.0, 0.0], "{precision}");
        session.reset();
        assert_eq!(next(&mut session, [2.0, 4.0]), [1.0, 2.0], "{precision}");
    }
}

/// Two states that change places with every run, one of which comes out too: each is read before it is written.
#[test]
fn states_swap() {
    let model = made(
        &[("a", 2), ("b", 2), ("x", 2)],
        vec![
            node("Add", &["b", "x"], "next_a"),
            node("Identity", &["a"], "next_b"),
            node("Identity", &["a"], "y"),
        ],
        &[("next_a", 2), ("next_b", 2), ("y", 2)],
    );
    let converted = tied(&model.path, &[("a", "next_a"), ("b", "next_b")], Precision::F32).unwrap();
    let mut session = session(&converted);
    assert_eq!(next(&mut session, [1.0, 2.0]), [0.0, 0.0]);
    assert_eq!(next(&mut session, [10.0, 20.0]), [1.0, 2.0]);
    assert_eq!(next(&mut session, [100.0, 200.0]), [10.0, 20.0]);
    assert_eq!(session.state("a").unwrap().to_f32(), [101.0, 202.0]);
    assert_eq!(session.state("b").unwrap().to_f32(), [10.0, 20.0]);
}

#[test]
fn what_cannot_be_tied_is_said() {
    let model = queue();
    let refused =
        |states: &[(&str, &str)]| tied(&model.path, states, Precision::F32).unwrap_err().to_string();
    assert!(refused(&[("h", "after")]).contains("--state h=after: the model has no input 'h' that is free"));
    assert!(refused(&[("before", "z")]).contains("it has 'after', 'y'"));
    assert!(refused(&[("before", "y")]).contains("the input is float32 [4], the output float32 [2]"));
    assert!(refused(&[("before", "after"), ("before", "after")]).contains("no input 'before' that is free"));
    assert!(refused(&[("before", "after"), ("x", "y")]).contains("the model has no other output"));
}

/// A real recurrent network: with its state inside, the same bits as with its state handed round by hand.
#[test]
fn a_tied_state_is_the_state_handed_round() {
    let Some(mut source) = Source::find("a_tied_state_is_the_state_handed_round", "vad_silero_16k.onnx")
    else {
        return;
    };
    let mut by_hand = session(&source.convert(Precision::F32).unwrap());
    source.inputs.retain(|a| a.name != "state");
    source.states = vec![("state".to_owned(), "stateN".to_owned())];
    let converted = source.convert(Precision::F32).unwrap();
    let mut inside = session(&converted);
    let mut state = vec![0; 2 * 128 * 4];
    for frame in 0..4 {
        let inputs = noises(&inside, frame);
        let tied = hashes(&mut inside, &inputs).unwrap();
        by_hand.input_bytes_mut("state").unwrap().copy_from_slice(&state);
        let handed = hashes(&mut by_hand, &inputs).unwrap();
        assert_eq!(tied[0], handed[0], "frame {frame}");
        state = by_hand.output("stateN").unwrap().bytes.to_vec();
        assert!(state == inside.state("state").unwrap().bytes, "frame {frame}");
    }
}

/// Eight seconds of speech in which "Alexa" is said three times, as features of 30 ms each: a wake word model that keeps
/// its last frames in variables says what LiteRT says of every chunk. LiteRT's own two ways of running it differ by 12
/// of 255 where the score climbs.
#[test]
fn a_wake_word_is_heard_in_a_stream() {
    let source = Source::find("a_wake_word_is_heard_in_a_stream", "kws_micro_alexa_int8.tflite").unwrap();
    // As the source spells it, and in integers.
    for precision in [Precision::F32, Precision::Auto] {
        let converted = source.convert_with(precision, Vec::new(), 0).unwrap();
        hears_a_wake_word(session(&converted));
    }
}

fn hears_a_wake_word(mut session: cygnet::Session) {
    assert_eq!(session.states().count(), 6);
    let arrays = npz::read(&place::own("data/kws_stream.npz")).unwrap();
    let [chunks, want] =
        ["in:", "out:"].map(|prefix| arrays.iter().find(|a| a.name.starts_with(prefix)).unwrap());
    let one = chunks.bytes.len() / chunks.dims[0] as usize;
    for round in 0..2 {
        let (mut heard, mut hears) = (Vec::new(), false);
        for (i, (chunk, &want)) in chunks.bytes.chunks(one).zip(&want.bytes).enumerate() {
            session.input_bytes_mut("serving_default_input_audio:0").unwrap().copy_from_slice(chunk);
            session.run().unwrap();
            let got = session.output("StatefulPartitionedCall:0").unwrap().bytes[0];
            assert!(got.abs_diff(want) <= 24, "round {round}, chunk {i}: {got} where LiteRT says {want}");
            if got > 128 && !hears {
                heard.push(i);
                hears = true;
            }
            hears &= got > 64;
        }
        assert_eq!(heard.len(), 3, "heard at {heard:?}");
        // What a stream leaves is no part of the next one.
        session.reset();
    }
}
