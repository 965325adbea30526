//! Calibration data: folders and files of photos and numpy arrays, read one at a time. Arrays may hold a stack of
//! samples, where the model takes one.

use std::path::{Path, PathBuf};

use cygnet::format::Array;
use cygnet::vision::Preprocess;
use cygnet::{DType, npz};
use cygnet_convert::Samples;

use crate::common::CliError;
use crate::picture;

/// Samples in files.
pub struct FileSamples {
    samples: Vec<Sample>,
    /// The image input and how photos become its values; `None` when the model takes no photos.
    photos: Option<(String, Preprocess, Vec<u32>)>,
    /// Names and dimensions of the model's inputs.
    inputs: Vec<(String, Vec<u32>)>,
    /// The numpy file that was read last, and its arrays.
    open: Option<(PathBuf, Vec<Array>)>,
}

struct Sample {
    path: PathBuf,
    /// Which of a stack.
    index: usize,
}

const ENDINGS: [&str; 5] = ["npz", "npy", "png", "jpg", "jpeg"];

fn ending(path: &Path) -> String {
    path.extension().map_or(String::new(), |e| e.to_string_lossy().to_ascii_lowercase())
}

impl FileSamples {
    /// The files given, and in folders those that are photos or arrays, by name.
    pub fn new(
        given: &[PathBuf],
        photos: Option<(String, Preprocess, Vec<u32>)>,
        inputs: Vec<(String, Vec<u32>)>,
    ) -> Result<Self, CliError> {
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
            inside.retain(|p| ENDINGS.contains(&ending(p).as_str()));
            inside.sort();
            files.extend(inside);
        }
        if files.is_empty() {
            let what = "--calibrate names no .npz, .npy, .png or .jpg file; give a folder that holds some";
            return Err(CliError::Failed(what.to_owned()));
        }
        let mut samples = Self { samples: Vec::new(), photos, inputs, open: None };
        for path in files {
            let count = if is_numpy(&path) { samples.stacked(&path)? } else { 1 };
            samples.samples.extend((0..count).map(|index| Sample { path: path.clone(), index }));
        }
        Ok(samples)
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

fn is_numpy(path: &Path) -> bool {
    matches!(ending(path).as_str(), "npz" | "npy")
}

impl Samples for FileSamples {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn get(&mut self, i: usize) -> Result<Vec<Array>, String> {
        let Sample { path, index } = &self.samples[i];
        let (path, index) = (path.clone(), *index);
        let read = if is_numpy(&path) { self.arrays(&path, index) } else { self.photo(&path) };
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
        let mut samples = FileSamples::new(&[path], None, inputs)?;
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
