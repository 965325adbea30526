//! Calibration that was interrupted, against one that was not.

use std::path::{Path, PathBuf};

use cygnet::format::Array;
use cygnet::format::program::DType;
use cygnet_convert::{Calibration, ConvertError, ImportOptions, Part, Samples, Silent, calibrate_part};

/// Pictures of pseudo-random numbers.
struct Noise(usize);

impl Samples for Noise {
    fn len(&self) -> usize {
        self.0
    }

    fn get(&mut self, i: usize) -> Result<Vec<Array>, String> {
        let value = |k: u64| (((i as u64 * 7919 + k) * 0x9E37_79B9) % 1000) as f32 / 1000.0;
        let bytes = (0..256 * 256 * 3).flat_map(|k| value(k).to_le_bytes()).collect();
        let (name, dims) = ("input_1:0".to_owned(), vec![1, 256, 256, 3]);
        Ok(vec![Array { name, dtype: DType::F32, dims, bytes }])
    }
}

fn part(samples: &mut Noise, begun: Option<(Calibration, usize)>) -> Part<'_> {
    let source: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/seg_selfie.onnx");
    let settings = "settings".to_owned();
    Part { source, import: ImportOptions::default(), samples, shard: 0, shards: 1, settings, begun }
}

#[test]
fn what_was_interrupted_goes_on_to_the_same_end() {
    let mut kept = Vec::new();
    let mut keep = |seen: &Calibration, done: usize| {
        kept.push((seen.clone(), done));
        Ok(())
    };
    let (whole, _) = calibrate_part(part(&mut Noise(3), None), &mut Silent, &mut keep).unwrap();
    assert_eq!(kept.len(), 3);
    let begun = Calibration::from_bytes(&kept[0].0.to_bytes()).unwrap();
    let mut more = 0;
    let mut count = |_: &Calibration, _: usize| {
        more += 1;
        Ok(())
    };
    let (rest, _) =
        calibrate_part(part(&mut Noise(3), Some((begun.clone(), 1))), &mut Silent, &mut count).unwrap();
    assert_eq!((rest == whole, more), (true, 2));
    // One of other settings is not gone on from.
    let other = Calibration { settings: "other".to_owned(), ..begun };
    let (again, _) =
        calibrate_part(part(&mut Noise(3), Some((other, 1))), &mut Silent, &mut |_, _| Ok(())).unwrap();
    assert!(again == whole);
}

#[test]
fn a_part_without_samples_is_an_error() {
    let mut two = Noise(2);
    let none = Part { shard: 2, shards: 3, ..part(&mut two, None) };
    let error = calibrate_part(none, &mut Silent, &mut |_, _| Ok(())).unwrap_err();
    assert!(matches!(error, ConvertError::Calibrate(_)), "{error}");
}
