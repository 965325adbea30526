//! Photos as inputs.

use std::path::{Path, PathBuf};

use cygnet::format::program::DType;
use cygnet::format::{Array, Meta};
use cygnet::vision::{Image, Preprocess, Task};

/// A PNG or JPEG file.
pub fn load(path: &Path) -> Image {
    let rgb = image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_rgb8();
    Image::new(rgb.width(), rgb.height(), rgb.into_raw()).unwrap()
}

/// The photos in a folder, by name.
pub fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "jpg" || e == "png"));
    files.sort();
    files
}

/// Turns photos into the values of one input.
pub struct Feed {
    name: String,
    dims: Vec<u32>,
    preprocess: Preprocess,
}

impl Feed {
    /// For an input of this name and these dimensions, with metadata that say how.
    pub fn new(name: &str, dims: &[u32], task: Task, meta: &[(&str, &str)]) -> Self {
        let meta: Meta = meta.iter().copied().collect();
        let preprocess = Preprocess::from_meta(&meta, dims, task).unwrap();
        Self { name: name.to_owned(), dims: dims.to_vec(), preprocess }
    }

    /// The input for a photo.
    pub fn array(&self, path: &Path) -> Array {
        let (fitted, _) = self.preprocess.fit(&load(path)).unwrap();
        let bytes = self.preprocess.values(&fitted).into_iter().flat_map(f32::to_le_bytes).collect();
        Array { name: self.name.clone(), dtype: DType::F32, dims: self.dims.clone(), bytes }
    }

    /// A sample for each photo.
    pub fn samples(&self, photos: &[PathBuf]) -> Vec<Vec<Array>> {
        photos.iter().map(|p| vec![self.array(p)]).collect()
    }
}
