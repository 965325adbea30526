//! Calibration data: folders and files of photos and numpy arrays, read one at a time.

use std::path::{Path, PathBuf};

use cygnet::format::Array;
use cygnet::vision::Preprocess;
use cygnet::{DType, npz};
use cygnet_convert::Samples;

use crate::common::CliError;
use crate::picture;

/// Files, each one sample.
pub struct FileSamples {
    files: Vec<PathBuf>,
    /// The image input and how photos become its values; `None` when the model takes no photos.
    photos: Option<(String, Preprocess, Vec<u32>)>,
    /// The model's only input, whose name a `.npy` file need not know.
    only_input: Option<String>,
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
        only_input: Option<String>,
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
        Ok(Self { files, photos, only_input })
    }

    fn arrays(&self, path: &Path) -> Result<Vec<Array>, CliError> {
        let mut arrays = npz::read(path)?;
        arrays.retain(|a| !a.name.starts_with("out:"));
        for array in &mut arrays {
            if let Some(rest) = array.name.strip_prefix("in:") {
                array.name = rest.to_owned();
            }
        }
        if let ([array], Some(only)) = (&mut arrays[..], &self.only_input) {
            array.name.clone_from(only);
        }
        Ok(arrays)
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
        self.files.len()
    }

    fn get(&mut self, i: usize) -> Result<Vec<Array>, String> {
        let path = &self.files[i];
        let numpy = matches!(ending(path).as_str(), "npz" | "npy");
        let read = if numpy { self.arrays(path) } else { self.photo(path) };
        read.map_err(|e| e.to_string())
    }
}
