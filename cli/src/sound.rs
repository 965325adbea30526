//! Sound as samples: `.wav` files, cut into stretches as long as the model's input.

use std::path::Path;

use hound::{SampleFormat, WavReader};

use crate::common::CliError;

fn failed(path: &Path, what: impl std::fmt::Display) -> CliError {
    CliError::Failed(format!("{}: {what}", path.display()))
}

fn open(path: &Path) -> Result<WavReader<std::io::BufReader<std::fs::File>>, CliError> {
    WavReader::open(path)
        .map_err(|e| failed(path, format_args!("cannot be read as a .wav file: {e}; check it")))
}

/// The rate of a sound of one channel, and its stretches of `length` values. A sound that is shorter is one stretch, and
/// ends in silence; what is left at a longer one's end is passed over.
pub fn stretches(path: &Path, length: usize) -> Result<(u32, usize), CliError> {
    let reader = open(path)?;
    let spec = reader.spec();
    if spec.channels != 1 {
        return Err(failed(path, format_args!("has {} channels; mix it to one", spec.channels)));
    }
    Ok((spec.sample_rate, (reader.duration() as usize / length).max(1)))
}

/// Values from -1 to 1 of a stretch.
pub fn read(path: &Path, length: usize, index: usize) -> Result<Vec<f32>, CliError> {
    let mut reader = open(path)?;
    let spec = reader.spec();
    let unreadable = |e: &dyn std::fmt::Display| failed(path, format_args!("cannot be read: {e}; check it"));
    reader.seek((index * length) as u32).map_err(|e| unreadable(&e))?;
    let values: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().take(length).collect(),
        SampleFormat::Int => {
            let full = f64::from(spec.bits_per_sample - 1).exp2() as f32;
            reader.samples::<i32>().take(length).map(|v| Ok(v? as f32 / full)).collect()
        }
    };
    let mut values = values.map_err(|e| unreadable(&e))?;
    values.resize(length, 0.0);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use hound::{WavSpec, WavWriter};

    use super::*;

    fn write(path: &Path, spec: WavSpec, values: &[i16]) {
        let mut w = WavWriter::create(path, spec).unwrap();
        values.iter().for_each(|&v| w.write_sample(v).unwrap());
        w.finalize().unwrap();
    }

    #[test]
    fn sounds_are_cut_into_stretches() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let spec = WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        write(&path, spec, &[-32768, 16384, 8192, 0, 1]);
        assert_eq!(stretches(&path, 2).unwrap(), (16_000, 2));
        assert_eq!(read(&path, 2, 0).unwrap(), [-1.0, 0.5]);
        assert_eq!(read(&path, 2, 1).unwrap(), [0.25, 0.0]);
        assert_eq!(stretches(&path, 8).unwrap(), (16_000, 1));
        assert_eq!(read(&path, 8, 0).unwrap()[4..], [1.0 / 32768.0, 0.0, 0.0, 0.0]);
        write(&path, WavSpec { channels: 2, ..spec }, &[0, 0]);
        assert!(stretches(&path, 2).unwrap_err().to_string().contains("mix it to one"));
    }
}
