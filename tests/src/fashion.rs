//! The images of Fashion-MNIST, as `tests/fetch_models.py fashion-mnist` leaves them: idx files, unpacked.

use std::path::Path;

use cygnet::format::Array;
use cygnet::format::program::DType;

/// Pixels of an image.
pub const PIXELS: usize = 28 * 28;

/// Mean and standard deviation of the training pixels over 255, by which the committed model was trained.
pub const MEAN: f32 = 0.2860;
/// See [`MEAN`].
pub const STD: f32 = 0.3530;

/// Images of 28 x 28 bytes with their classes.
pub struct Images {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Images {
    /// The files `PART-images-idx3-ubyte` and `PART-labels-idx1-ubyte` of a folder; `None` when they are not there.
    pub fn read(folder: &Path, part: &str) -> Option<Self> {
        let content = |name: &str, magic: u32, header: usize| {
            let path = folder.join(format!("{part}-{name}-ubyte"));
            let bytes = std::fs::read(&path).ok()?;
            let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(word(0), magic, "{} is no idx file", path.display());
            Some((word(4) as usize, bytes[header..].to_vec()))
        };
        let (count, pixels) = content("images-idx3", 0x803, 16)?;
        let (labelled, labels) = content("labels-idx1", 0x801, 8)?;
        assert!(pixels.len() == count * PIXELS && labels.len() == count && labelled == count);
        Some(Self { pixels, labels })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The classes.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Images from `first` on as `[count, 1, 28, 28]`, normalized by [`MEAN`] and [`STD`].
    pub fn array(&self, name: &str, first: usize, count: usize) -> Array {
        let bytes = &self.pixels[first * PIXELS..(first + count) * PIXELS];
        let bytes = bytes.iter().flat_map(|&b| ((f32::from(b) / 255.0 - MEAN) / STD).to_le_bytes()).collect();
        Array { name: name.to_owned(), dtype: DType::F32, dims: vec![count as u32, 1, 28, 28], bytes }
    }
}
