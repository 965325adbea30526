//! Picture files.

use std::io::Cursor;
use std::path::Path;

use cygnet::Session;
use cygnet::format::Meta;
use cygnet::vision::task::find_task;
use cygnet::vision::{Image, Preprocess, Task};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use crate::common::{CliError, save};

/// Reads a PNG or JPEG file, turned upright as its EXIF data say.
pub fn load(path: &Path) -> Result<Image, CliError> {
    let unreadable = |e: &dyn std::fmt::Display| {
        CliError::Failed(format!("cannot read the picture {}: {e}; give a PNG or JPEG file", path.display()))
    };
    let reader = ImageReader::open(path).map_err(|e| unreadable(&e))?;
    let reader = reader.with_guessed_format().map_err(|e| unreadable(&e))?;
    let mut decoder = reader.into_decoder().map_err(|e| unreadable(&e))?;
    let orientation = decoder.orientation().map_err(|e| unreadable(&e))?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| unreadable(&e))?;
    picture.apply_orientation(orientation);
    let rgb = picture.into_rgb8();
    Ok(Image::new(rgb.width(), rgb.height(), rgb.into_raw())?)
}

/// Decodes a JPEG picture as it is; a frame of a camera has no EXIF data.
pub fn decode(jpeg: &[u8]) -> Result<Image, String> {
    let picture = image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg).map_err(|e| e.to_string())?;
    let rgb = picture.into_rgb8();
    Image::new(rgb.width(), rgb.height(), rgb.into_raw()).map_err(|e| e.to_string())
}

/// Writes a picture as PNG or JPEG, by the file's ending.
pub fn store(path: &Path, picture: &Image) -> Result<(), CliError> {
    let format =
        ImageFormat::from_path(path).ok().filter(|f| matches!(f, ImageFormat::Png | ImageFormat::Jpeg));
    let Some(format) = format else {
        return Err(CliError::Usage(format!("{}: give a name ending in .png or .jpg", path.display())));
    };
    let buffer = RgbImage::from_raw(picture.width(), picture.height(), picture.pixels().to_vec());
    let mut bytes = Cursor::new(Vec::new());
    buffer
        .ok_or_else(|| CliError::Failed("the picture has no pixels; give another one".to_owned()))?
        .write_to(&mut bytes, format)
        .map_err(|e| CliError::Failed(format!("cannot encode {}: {e}; choose .png", path.display())))?;
    save(path, bytes.get_ref())
}

/// How the model's metadata bring a picture to one of its inputs.
pub fn preprocess(session: &Session, name: &str) -> Result<Preprocess, CliError> {
    let ports = |of: Vec<(&str, &cygnet::format::Tensor)>| -> Vec<(String, Vec<u32>)> {
        of.into_iter().map(|(name, t)| (name.to_owned(), t.dims.clone())).collect()
    };
    let (inputs, outputs) = (ports(session.inputs().collect()), ports(session.outputs().collect()));
    fn borrowed(of: &[(String, Vec<u32>)]) -> Vec<(&str, &[u32])> {
        of.iter().map(|(name, dims)| (name.as_str(), &dims[..])).collect()
    }
    let meta: &Meta = session.model().meta();
    let task = find_task(meta, &borrowed(&inputs), &borrowed(&outputs))?.map_or(Task::Segment, |g| g.task);
    let found = inputs.iter().find(|(n, _)| n == name);
    let dims = found.map_or(&[][..], |(_, dims)| dims);
    Ok(Preprocess::from_meta(meta, dims, task)?)
}

/// The name of the model's input when it has only one.
pub fn only_image_input(session: &Session) -> Result<String, CliError> {
    let names: Vec<&str> = session.inputs().map(|(name, _)| name).collect();
    match names[..] {
        [only] => Ok(only.to_owned()),
        _ => Err(CliError::Usage(format!("the model has inputs '{}'; give NAME=PHOTO", names.join("', '")))),
    }
}
