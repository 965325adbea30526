//! Minutes of audio, chunk by chunk: models with states say what LiteRT and ONNX Runtime say to the end.
//!
//! `tests/streams/make_streams.py` made the answers; its generators of input are these.
#![cfg(target_arch = "x86_64")]

use std::f64::consts::PI;
use std::path::PathBuf;

use cygnet::format::Array;
use cygnet::{Session, npz};
use cygnet_convert::{Calibrator, ImportOptions, Options, Precision, Silent, Tools, convert};
use cygnet_tests::place;
use cygnet_tests::source::session;

/// Of the outputs every so many are kept.
const EVERY: usize = 50;

/// Knuth's linear congruential generator.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: u64) -> i32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n) as i32
    }
}

/// Chunks of int8 features, those of the wake word's file over and over with noise of up to 4 steps.
fn features() -> impl Iterator<Item = Vec<i8>> {
    let arrays = npz::read(&place::own("data/kws_stream.npz")).unwrap();
    let held = arrays.into_iter().find(|a| a.name.starts_with("in:")).unwrap();
    let one = held.bytes.len() / held.dims[0] as usize;
    let mut noise = Noise(1);
    let chunks: Vec<Vec<i8>> =
        held.bytes.chunks(one).map(|c| c.iter().map(|b| b.cast_signed()).collect()).collect();
    let count = chunks.len();
    (0..).map(move |i: usize| {
        let moved = |&v: &i8| (i32::from(v) + noise.below(9) - 4).clamp(-128, 127) as i8;
        chunks[i % count].iter().map(moved).collect()
    })
}

/// Samples, made at 13 kHz for 16: 0.22 s of a synthetic voice in every 0.3 s, none in every third second, and noise.
struct Voice {
    noise: Noise,
    n: usize,
    phase: f64,
}

impl Voice {
    fn sample(&mut self) -> f32 {
        let t = self.n as f64 / 13000.0;
        let within = t % 0.3;
        let pitch = 200.0 + 60.0 * (2.0 * PI * 0.7 * t).sin();
        self.phase = (self.phase + pitch / 13000.0) % 1.0;
        let mut value = 0.0;
        if within < 0.22 && t as usize % 3 != 2 {
            let envelope = (PI * within / 0.22).sin();
            let first = 500.0 + 200.0 * (2.0 * PI * 0.9 * t).sin();
            let second = 1500.0 + 500.0 * (2.0 * PI * 0.4 * t).sin();
            for k in 1..25 {
                let k = f64::from(k);
                let far = |formant: f64, width: f64| 1.0 + ((k * pitch - formant) / width).powi(2);
                let weight = 1.0 / far(first, 80.0) + 0.5 / far(second, 120.0);
                value += weight * (2.0 * PI * k * self.phase).sin();
            }
            value *= 3000.0 * envelope;
        }
        self.n += 1;
        let sample = (value + 0.5).floor() as i32 + self.noise.below(21) - 10;
        sample.clamp(-32768, 32767) as f32 / 32768.0
    }
}

fn converted(path: PathBuf, states: &[(&str, &str)]) -> Session {
    let states = states.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect();
    let import = ImportOptions { states, ..ImportOptions::default() };
    let options = Options {
        source: path,
        import,
        buckets: Vec::new(),
        precision: Precision::F32,
        samples: None,
        int8_io: false,
        calibration: None,
        calibrator: Calibrator::default(),
        tools: Tools::default(),
        budget: cygnet_convert::Budget::default(),
        judge: &cygnet_convert::judge::Outputs,
        winograd: true,
        sparse: true,
        meta: cygnet::format::Meta::new(),
        goldens: 0,
        provenance: String::new(),
    };
    session(&convert(options, &mut Silent).unwrap_or_else(|e| panic!("{e}")))
}

fn answers(file: &str, name: &str) -> Array {
    let arrays = npz::read(&place::own(file)).unwrap();
    arrays.into_iter().find(|a| a.name == name).unwrap_or_else(|| panic!("{file} lacks {name}"))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// Gives one chunk to an input of real numbers, and runs.
fn give(session: &mut Session, input: &str, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    session.input_bytes_mut(input).unwrap().copy_from_slice(&bytes);
    session.run().unwrap();
}

/// Three minutes in which the wake word is said again and again: heard where LiteRT hears it, to a chunk. Where the score
/// climbs, LiteRT's own two ways of computing it differ by 12 of 255.
#[test]
fn a_wake_word_for_three_minutes() {
    let mut session = converted(place::asset("kws_micro_alexa_int8.tflite"), &[]);
    let want = answers("data/stream_kws.npz", "probability").bytes;
    let heard: Vec<i32> = {
        let bytes = answers("data/stream_kws.npz", "heard").bytes;
        bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b)).collect()
    };
    let (mut before, mut hears) = (0, Vec::new());
    for (i, chunk) in features().take(EVERY * want.len()).enumerate() {
        let bytes: Vec<u8> = chunk.iter().map(|v| v.cast_unsigned()).collect();
        session.input_bytes_mut("serving_default_input_audio:0").unwrap().copy_from_slice(&bytes);
        session.run().unwrap();
        let got = session.output("StatefulPartitionedCall:0").unwrap().bytes[0];
        if i % EVERY == 0 {
            let want = want[i / EVERY];
            assert!(got.abs_diff(want) <= 24, "chunk {i}: {got} where LiteRT says {want}");
        }
        if got > 128 && before <= 128 {
            hears.push(i as i32);
        }
        before = got;
    }
    assert_eq!(hears.len(), heard.len());
    assert!(
        hears.iter().zip(&heard).all(|(a, b)| a.abs_diff(*b) <= 1),
        "{hears:?} where LiteRT hears {heard:?}"
    );
}

/// Three minutes of 32 ms chunks, more than half of them with a voice: the same probabilities, and the same state at the
/// end.
#[test]
fn voice_activity_for_three_minutes() {
    let Some(path) = place::model_file("voice_activity_for_three_minutes", "vad_silero_16k.onnx") else {
        return;
    };
    let mut session = converted(path, &[("state", "stateN")]);
    let want = floats(&answers("data/stream_vad.npz", "probability").bytes);
    assert!(want.iter().any(|&p| p > 0.8) && want.iter().any(|&p| p < 0.2), "an answer that says something");
    let mut voice = Voice { noise: Noise(1), n: 0, phase: 0.0 };
    let mut given = vec![0.0; 576];
    for i in 0..5625 {
        given.copy_within(512.., 0);
        given[64..].fill_with(|| voice.sample());
        give(&mut session, "input", &given);
        if i % EVERY == 0 {
            let (got, want) = (session.output("output").unwrap().to_f32()[0], want[i / EVERY]);
            assert!((got - want).abs() < 1e-3, "chunk {i}: {got} where ONNX Runtime says {want}");
        }
    }
    let (got, want) =
        (session.state("state").unwrap().to_f32(), floats(&answers("data/stream_vad.npz", "state").bytes));
    assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-2), "the state at the end");
}

/// Three minutes of 30 ms frames through two layers whose states the session keeps.
#[test]
fn gated_units_for_three_minutes() {
    let mut session = converted(place::own("data/stream_gru.onnx"), &[("h0", "n0"), ("h1", "n1")]);
    assert_eq!(session.states().count(), 2);
    let want = floats(&answers("data/stream_gru.npz", "y").bytes);
    let frames = features().flat_map(|chunk| chunk.chunks(40).map(<[i8]>::to_vec).collect::<Vec<_>>());
    for (i, frame) in frames.take(6000).enumerate() {
        let frame: Vec<f32> = frame.iter().map(|&v| f32::from(v) / 64.0).collect();
        give(&mut session, "x", &frame);
        if i % EVERY == 0 {
            let got = session.output("y1").unwrap().to_f32();
            let want = &want[i / EVERY * 24..][..24];
            let far = got.iter().zip(want).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(far < 1e-4, "frame {i}: {far} from what ONNX Runtime says");
        }
    }
}
