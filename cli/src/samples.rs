//! Calibration data: folders and files of photos, sounds and numpy arrays, read one at a time. Arrays may hold a stack of
//! samples, where the model takes one.

use std::path::{Path, PathBuf};

use cygnet::format::Array;
use cygnet::vision::Preprocess;
use cygnet::{DType, npz};
use cygnet_convert::Samples;

use crate::common::CliError;
use crate::{picture, sound};

/// Samples in files.
pub struct FileSamples {
    samples: Vec<Sample>,
    /// The image input and how photos become its values; `None` when the model takes no photos.
    photos: Option<(String, Preprocess, Vec<u32>)>,
    /// Names and dimensions of the model's inputs.
    inputs: Vec<(String, Vec<u32>)>,
    /// The numpy file that was read last, and its arrays.
    open: Option<(PathBuf, Vec<Array>)>,
    /// The rate of the sounds, once it is known, and who says so.
    rate: Option<(u32, String)>,
}

struct Sample {
    path: PathBuf,
    /// Which of a stack.
    index: usize,
}

const ENDINGS: [&str; 6] = ["npz", "npy", "png", "jpg", "jpeg", "wav"];

fn ending(path: &Path) -> String {
    path.extension().map_or(String::new(), |e| e.to_string_lossy().to_ascii_lowercase())
}

/// The files given, and in folders those that are photos or arrays, by name; folders in folders too.
pub fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |e: std::io::Error| {
            CliError::Failed(format!("cannot read the folder {}: {e}; check its name", path.display()))
        };
        let entries = std::fs::read_dir(path).map_err(unreadable)?;
        let entries = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>();
        let mut inside = entries.map_err(unreadable)?;
        inside.retain(|p| ENDINGS.contains(&ending(p).as_str()) || p.is_dir());
        inside.sort();
        for entry in inside {
            if entry.is_dir() { files.extend(self::files(&[entry])?) } else { files.push(entry) }
        }
    }
    Ok(files)
}

/// The photos among the files given and in the folders given.
pub fn photo_files(given: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = files(given)?;
    files.retain(|p| matches!(ending(p).as_str(), "png" | "jpg" | "jpeg"));
    if files.is_empty() {
        let what = "there is no .png or .jpg file; give photos, or a folder that holds some";
        return Err(CliError::Failed(what.to_owned()));
    }
    Ok(files)
}

impl FileSamples {
    /// The file of a sample.
    pub fn path(&self, i: usize) -> &Path {
        &self.samples[i].path
    }

    /// Which of the stack in its file a sample is.
    pub fn place(&self, i: usize) -> usize {
        self.samples[i].index
    }

    /// The files given, and in folders those that are photos, sounds or arrays, by name. Sounds have `rate`
    /// samples a second, or all the same without it.
    pub fn new(
        given: &[PathBuf],
        photos: Option<(String, Preprocess, Vec<u32>)>,
        inputs: Vec<(String, Vec<u32>)>,
        rate: Option<u32>,
    ) -> Result<Self, CliError> {
        let files = files(given)?;
        if files.is_empty() {
            let what =
                "the samples name no .npz, .npy, .png, .jpg or .wav file; give a folder that holds some";
            return Err(CliError::Failed(what.to_owned()));
        }
        let mut samples = Self {
            samples: Vec::new(),
            photos,
            inputs,
            open: None,
            rate: rate.map(|rate| (rate, "--sample-rate".to_owned())),
        };
        for path in files {
            let count = match ending(&path).as_str() {
                "npz" | "npy" => samples.stacked(&path)?,
                "wav" => samples.stretches(&path)?,
                _ => 1,
            };
            samples.samples.extend((0..count).map(|index| Sample { path: path.clone(), index }));
        }
        Ok(samples)
    }

    /// What the samples are, by their files' names and order.
    pub fn digest(&self) -> String {
        let mut names = String::new();
        for Sample { path, index } in &self.samples {
            let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
            names.push_str(&format!("{name}\n{index}\n"));
        }
        format!("{} samples, {:08x}", self.samples.len(), crc32c::crc32c(names.as_bytes()))
    }

    /// The model's only input, when it can take a sound: its name, and how many values.
    fn sound_input(&self, path: &Path) -> Result<(String, usize), CliError> {
        let [(name, dims)] = &self.inputs[..] else {
            let what = "the model has several inputs, a sound is one; give .npz files";
            return Err(CliError::Failed(format!("{}: {what}", path.display())));
        };
        Ok((name.clone(), dims.iter().map(|&d| d as usize).product()))
    }

    /// Samples that a sound holds.
    fn stretches(&mut self, path: &Path) -> Result<usize, CliError> {
        let (_, length) = self.sound_input(path)?;
        let (rate, count) = sound::stretches(path, length)?;
        match &self.rate {
            Some((wanted, says)) if *wanted != rate => Err(CliError::Failed(format!(
                "{}: {rate} samples a second, where {says} has {wanted}; resample it",
                path.display()
            ))),
            Some(_) => Ok(count),
            None => {
                self.rate = Some((rate, path.display().to_string()));
                Ok(count)
            }
        }
    }

    fn stretch(&self, path: &Path, index: usize) -> Result<Vec<Array>, CliError> {
        let (name, length) = self.sound_input(path)?;
        let bytes = sound::read(path, length, index)?.into_iter().flat_map(f32::to_le_bytes).collect();
        Ok(vec![Array { name, dtype: DType::F32, dims: self.inputs[0].1.clone(), bytes }])
    }

    /// The arrays of a numpy file, under the names of the model's inputs.
    fn read(&mut self, path: &Path) -> Result<&[Array], CliError> {
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            self.open = None;
            let mut arrays = npz::read(path)?;
            arrays.retain(|a| !a.name.starts_with("out:"));
            for array in &mut arrays {
                if let Some(rest) = array.name.strip_prefix("in:") {
                    array.name = rest.to_owned();
                }
            }
            // A model's only input has no need of a name.
            if let ([array], [(only, _)]) = (&mut arrays[..], &self.inputs[..]) {
                array.name.clone_from(only);
            }
            self.open = Some((path.to_owned(), arrays));
        }
        Ok(self.open.as_ref().map_or(&[], |(_, arrays)| arrays))
    }

    /// Whether an array is a stack of values of a model's input: as many along its first dimension, where the input has
    /// one.
    fn is_stack(&self, array: &Array) -> bool {
        let input = self.inputs.iter().find(|(name, _)| *name == array.name);
        input.is_some_and(|(_, dims)| {
            dims.first() == Some(&1) && array.dims.first() != Some(&1) && array.dims.get(1..) == dims.get(1..)
        })
    }

    /// Samples that a numpy file holds: one, or as many as its stacks have values.
    fn stacked(&mut self, path: &Path) -> Result<usize, CliError> {
        self.read(path)?;
        let arrays = self.open.as_ref().map_or(&[][..], |(_, arrays)| arrays);
        let counts = || arrays.iter().filter(|a| self.is_stack(a)).map(|a| a.dims[0] as usize);
        let count = counts().max().unwrap_or(1);
        if count == 0 || counts().any(|n| n != count) {
            let what = "its arrays hold different numbers of samples, or none; stack as many for each input";
            return Err(CliError::Failed(format!("{}: {what}", path.display())));
        }
        Ok(count)
    }

    /// A sample of a numpy file.
    fn arrays(&mut self, path: &Path, index: usize) -> Result<Vec<Array>, CliError> {
        self.read(path)?;
        let arrays = self.open.as_ref().map_or(&[][..], |(_, arrays)| arrays);
        let one = |a: &Array| {
            if !self.is_stack(a) {
                return a.clone();
            }
            let mut dims = a.dims.clone();
            let each = a.bytes.len() / dims[0] as usize;
            dims[0] = 1;
            let bytes = a.bytes[index * each..][..each].to_vec();
            Array { name: a.name.clone(), dtype: a.dtype, dims, bytes }
        };
        Ok(arrays.iter().map(one).collect())
    }

    fn photo(&self, path: &Path) -> Result<Vec<Array>, CliError> {
        let Some((name, preprocess, dims)) = &self.photos else {
            let what = format!("{}: the model takes no photos; give .npz files", path.display());
            return Err(CliError::Failed(what));
        };
        let (fitted, _) = preprocess.fit(&picture::load(path)?)?;
        let bytes = preprocess.values(&fitted).into_iter().flat_map(f32::to_le_bytes).collect();
        Ok(vec![Array { name: name.clone(), dtype: DType::F32, dims: dims.clone(), bytes }])
    }
}

impl Samples for FileSamples {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn get(&mut self, i: usize) -> Result<Vec<Array>, String> {
        let Sample { path, index } = &self.samples[i];
        let (path, index) = (path.clone(), *index);
        let read = match ending(&path).as_str() {
            "npz" | "npy" => self.arrays(&path, index),
            "wav" => self.stretch(&path, index),
            _ => self.photo(&path),
        };
        read.map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(name: &str, dims: &[u32], first: f32) -> Array {
        let n = dims.iter().product::<u32>();
        let bytes = (0..n).flat_map(|i| (first + i as f32).to_le_bytes()).collect();
        Array { name: name.to_owned(), dtype: DType::F32, dims: dims.to_vec(), bytes }
    }

    fn samples(arrays: &[Array]) -> Result<FileSamples, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.npz");
        std::fs::write(&path, npz::npz_bytes(arrays).unwrap()).unwrap();
        let inputs = vec![("x".to_owned(), vec![1, 2]), ("y".to_owned(), vec![1, 1])];
        let mut samples = FileSamples::new(&[path], None, inputs, None)?;
        (0..samples.len()).for_each(|i| drop(samples.get(i).unwrap()));
        Ok(samples)
    }

    #[test]
    fn stacks_are_taken_apart() {
        let mut stack = samples(&[array("x", &[3, 2], 0.0), array("in:y", &[3, 1], 10.0)]).unwrap();
        assert_eq!(stack.len(), 3);
        assert_eq!(stack.get(1).unwrap(), [array("x", &[1, 2], 2.0), array("y", &[1, 1], 11.0)]);
    }

    #[test]
    fn one_value_serves_a_whole_stack_of_another_input() {
        let mut stack = samples(&[array("x", &[3, 2], 0.0), array("y", &[1, 1], 10.0)]).unwrap();
        assert_eq!(stack.len(), 3);
        assert_eq!(stack.get(2).unwrap(), [array("x", &[1, 2], 4.0), array("y", &[1, 1], 10.0)]);
    }

    #[test]
    fn unlike_stacks_are_refused() {
        let error = samples(&[array("x", &[3, 2], 0.0), array("y", &[2, 1], 0.0)]).err().unwrap();
        assert!(error.to_string().contains("different numbers of samples"), "{error}");
    }
}
