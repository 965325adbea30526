//! From a picture to a model's input, and from the input's coordinates back to the picture's.

use cygnet_format::Meta;
use cygnet_format::meta::key;
use cygnet_format::program::DType;
use half::f16;

use super::VisionError;
use super::boxes::Rect;
use super::image::Image;
use super::task::Task;
use crate::session::Session;
use crate::tensor::TensorRef;

/// Byte that fills what a letterboxed picture leaves free; metadata beside those of the file format. 114 by default.
pub const KEY_PAD: &str = "preprocess.pad";

/// Side of the central part of a picture that is used, as a fraction; of use without letterbox. ImageNet's
/// customary "resize to 256, crop 224" is 0.875. 1 by default.
pub const KEY_CROP: &str = "preprocess.crop";

/// Order of the dimensions of an image input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Layout {
    Nchw,
    Nhwc,
}

/// Order and kind of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Color {
    Rgb,
    Bgr,
    /// One channel: 0.299 R + 0.587 G + 0.114 B.
    Gray,
}

/// How a picture is brought to the input's proportions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fit {
    /// Scaled to fit inside, centered, the rest filled with this byte. Resampled as OpenCV's `INTER_LINEAR` does.
    Letterbox(u8),
    /// Scaled each way by its own factor, with antialiasing.
    Stretch,
    /// The greatest central part of the input's proportions, reduced to this fraction of its sides; with
    /// antialiasing.
    Crop(f32),
}

/// What turns a picture into an input: `(pixel * scale - mean) / std` after fitting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    /// Order of the dimensions.
    pub layout: Layout,
    /// Height and width of the input.
    pub size: [u32; 2],
    /// Channels.
    pub color: Color,
    /// How the picture is fitted.
    pub fit: Fit,
    /// Factor on a byte.
    pub scale: f32,
    /// Subtracted, per channel in the input's order.
    pub mean: [f32; 3],
    /// Divides, per channel in the input's order.
    pub std: [f32; 3],
}

/// Where the input's pixels lie in the picture: `picture = (input - shift) / scale`, across and down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Input pixels for each pixel of the picture.
    pub scale: [f32; 2],
    /// Input coordinates of the picture's top left corner.
    pub shift: [f32; 2],
    /// Width and height of the picture.
    pub picture: [f32; 2],
}

impl Transform {
    /// A point of the input, in the picture.
    pub fn point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [(x - self.shift[0]) / self.scale[0], (y - self.shift[1]) / self.scale[1]]
    }

    /// A rectangle of the input, in the picture, clipped to it.
    pub fn rect(&self, r: Rect) -> Rect {
        let [x0, y0] = self.point([r.x0, r.y0]);
        let [x1, y1] = self.point([r.x1, r.y1]);
        Rect { x0, y0, x1, y1 }.clipped(self.picture[0], self.picture[1])
    }
}

/// Layout, height, width and channels of an image input; `None` for other shapes.
pub(crate) fn image_dims(dims: &[u32]) -> Option<(Layout, [u32; 2], u32)> {
    match *dims {
        [1, h, w, c @ (1 | 3)] if h > 3 && w > 3 => Some((Layout::Nhwc, [h, w], c)),
        [1, c @ (1 | 3), h, w] => Some((Layout::Nchw, [h, w], c)),
        _ => None,
    }
}

impl Preprocess {
    /// What the model's metadata say for an input of these dimensions; where they are silent: RGB, bytes scaled to
    /// [0, 1], letterbox for detectors, the central part for classifiers, stretching otherwise.
    ///
    /// # Errors
    /// When the input is no image, or the metadata are not of their form.
    pub fn from_meta(meta: &Meta, dims: &[u32], task: Task) -> Result<Self, VisionError> {
        let none = || VisionError::NoImageInput { inputs: vec![dims.to_vec()] };
        let (layout, size, channels) = image_dims(dims).ok_or_else(none)?;
        let color = match (meta.text(key::COLOR), channels) {
            (None | Some("gray"), 1) => Color::Gray,
            (None | Some("rgb"), 3) => Color::Rgb,
            (Some("bgr"), 3) => Color::Bgr,
            (value, 1) => return Err(bad(key::COLOR, value, "\"gray\" (the input has one channel)")),
            (value, _) => {
                return Err(bad(key::COLOR, value, "\"rgb\" or \"bgr\" (the input has three channels)"));
            }
        };
        let byte = |v: f32| (0.0..=255.0).contains(&v).then_some(v as u8);
        let pad = meta.number(KEY_PAD)?.unwrap_or(114.0);
        let pad = byte(pad).ok_or_else(|| bad(KEY_PAD, meta.text(KEY_PAD), "a number from 0 to 255"))?;
        let crop = meta.number(KEY_CROP)?.unwrap_or(1.0);
        if !(crop > 0.0 && crop <= 1.0) {
            return Err(bad(KEY_CROP, meta.text(KEY_CROP), "a number above 0, at most 1"));
        }
        let fit = match (meta.flag(key::LETTERBOX)?, task) {
            (Some(true), _) | (None, Task::Detect | Task::Face) => Fit::Letterbox(pad),
            (None, Task::Classify) => Fit::Crop(crop),
            (Some(false), Task::Classify) if meta.text(KEY_CROP).is_some() => Fit::Crop(crop),
            (Some(false), _) | (None, Task::Segment) => Fit::Stretch,
        };
        let std = per_channel(meta, key::STD, 1.0)?;
        if std.contains(&0.0) {
            return Err(bad(key::STD, meta.text(key::STD), "numbers other than 0"));
        }
        Ok(Self {
            layout,
            size,
            color,
            fit,
            scale: meta.number(key::SCALE)?.unwrap_or(1.0 / 255.0),
            mean: per_channel(meta, key::MEAN, 0.0)?,
            std,
        })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        if self.color == Color::Gray { 1 } else { 3 }
    }

    /// The fitted picture, and where it came from.
    pub fn fit(&self, picture: &Image) -> Result<(Image, Transform), VisionError> {
        let [height, width] = self.size;
        let (pw, ph) = (picture.width() as f32, picture.height() as f32);
        let (w, h) = (width as f32, height as f32);
        let whole = picture.bounds();
        let (image, scale, shift) = match self.fit {
            Fit::Stretch => (picture.resample(whole, width, height, true)?, [w / pw, h / ph], [0.0; 2]),
            Fit::Crop(fraction) => {
                let scale = (w / pw).max(h / ph) / fraction;
                let part = Rect::centered(pw / 2.0, ph / 2.0, w / scale, h / scale);
                let image = picture.resample(part, width, height, true)?;
                (image, [scale; 2], [-part.x0 * scale, -part.y0 * scale])
            }
            Fit::Letterbox(pad) => {
                let scale = (w / pw).min(h / ph);
                let inner = |side: f32, most: u32| ((side * scale).round() as u32).clamp(1, most);
                let (iw, ih) = (inner(pw, width), inner(ph, height));
                let (x, y) = ((width - iw) / 2, (height - ih) / 2);
                let mut image = Image::filled(width, height, [pad; 3])?;
                image.paste(&picture.resample(whole, iw, ih, false)?, x, y);
                (image, [iw as f32 / pw, ih as f32 / ph], [x as f32, y as f32])
            }
        };
        Ok((image, Transform { scale, shift, picture: [pw, ph] }))
    }

    /// The input's values of a fitted picture, in the input's layout.
    pub fn values(&self, fitted: &Image) -> Vec<f32> {
        let channels = self.channels();
        let pixels = fitted.pixels().as_chunks::<3>().0;
        let area = pixels.len();
        let mut out = vec![0.0; area * channels];
        for (i, &[r, g, b]) in pixels.iter().enumerate() {
            let [r, g, b] = [f32::from(r), f32::from(g), f32::from(b)];
            let values = match self.color {
                Color::Rgb => [r, g, b],
                Color::Bgr => [b, g, r],
                Color::Gray => [0.299 * r + 0.587 * g + 0.114 * b; 3],
            };
            for (c, &value) in values[..channels].iter().enumerate() {
                let at = if self.layout == Layout::Nhwc { i * channels + c } else { c * area + i };
                out[at] = (value * self.scale - self.mean[c]) / self.std[c];
            }
        }
        out
    }

    /// Sets a session's input from a picture, whatever floating-point or quantized type the input has; an unsigned byte
    /// input gets the pixels as they are.
    ///
    /// # Errors
    /// When the input's type cannot hold a picture.
    pub fn set_input(
        &self,
        session: &mut Session,
        name: &str,
        picture: &Image,
    ) -> Result<Transform, VisionError> {
        let (fitted, transform) = self.fit(picture)?;
        let found = session.inputs().find(|(n, _)| *n == name).map(|(_, t)| t.clone());
        let input = found.ok_or_else(|| session.no_input(name))?;
        match (input.dtype, input.quant) {
            (DType::F32, _) => session.input_mut::<f32>(name)?.copy_from_slice(&self.values(&fitted)),
            (DType::F16, _) => {
                for (to, v) in session.input_mut::<f16>(name)?.iter_mut().zip(self.values(&fitted)) {
                    *to = f16::from_f32(v);
                }
            }
            (DType::S8, Some(_)) => {
                session.set_input(name, TensorRef::new(&self.values(&fitted), &input.dims))?;
            }
            (DType::U8, _) => {
                let raw = Self { scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..*self };
                for (to, v) in session.input_mut::<u8>(name)?.iter_mut().zip(raw.values(&fitted)) {
                    *to = v.round() as u8;
                }
            }
            (other, _) => return Err(VisionError::InputType(other.name())),
        }
        Ok(transform)
    }
}

fn bad(key: &'static str, value: Option<&str>, want: &'static str) -> VisionError {
    VisionError::Value { key, value: value.unwrap_or_default().to_owned(), want }
}

/// Three numbers; one given counts for all channels.
fn per_channel(meta: &Meta, key: &'static str, default: f32) -> Result<[f32; 3], VisionError> {
    match meta.numbers(key)?.as_deref() {
        None => Ok([default; 3]),
        Some(&[one]) => Ok([one; 3]),
        Some(&[a, b, c]) => Ok([a, b, c]),
        Some(_) => Err(bad(key, meta.text(key), "one number, or one for each of three channels")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(pairs: &[(&str, &str)]) -> Meta {
        pairs.iter().copied().collect()
    }

    #[test]
    fn letterbox_centers_and_maps_back() {
        let p = Preprocess::from_meta(&Meta::new(), &[1, 3, 64, 64], Task::Detect).unwrap();
        assert_eq!(p.fit, Fit::Letterbox(114));
        let picture = Image::filled(128, 64, [200, 10, 30]).unwrap();
        let (fitted, t) = p.fit(&picture).unwrap();
        // Half size, 64 x 32, 16 rows free above and below.
        assert_eq!(fitted.pixel(5, 15), [114; 3]);
        assert_eq!(fitted.pixel(5, 16), [200, 10, 30]);
        assert_eq!(fitted.pixel(5, 47), [200, 10, 30]);
        assert_eq!(fitted.pixel(5, 48), [114; 3]);
        assert_eq!(t, Transform { scale: [0.5; 2], shift: [0.0, 16.0], picture: [128.0, 64.0] });
        let r = t.rect(Rect { x0: 8.0, y0: 0.0, x1: 100.0, y1: 32.0 });
        assert_eq!(r, Rect { x0: 16.0, y0: 0.0, x1: 128.0, y1: 32.0 });
    }

    #[test]
    fn normalization_and_layout() {
        let m = meta(&[("preprocess.mean", "0.5,0.25,0"), ("preprocess.std", "0.5")]);
        let picture = Image::new(4, 4, [255, 0, 51].repeat(16)).unwrap();
        let nchw = Preprocess::from_meta(&m, &[1, 3, 4, 4], Task::Segment).unwrap();
        let v = nchw.values(&nchw.fit(&picture).unwrap().0);
        let close = |got: &[f32], want: [f32; 3]| {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?}, not {want:?}");
        };
        // (1 - 0.5) / 0.5, (0 - 0.25) / 0.5, (0.2 - 0) / 0.5
        close(&[v[0], v[16], v[32]], [1.0, -0.5, 0.4]);
        let nhwc = Preprocess::from_meta(&m, &[1, 4, 4, 3], Task::Segment).unwrap();
        close(&nhwc.values(&picture)[..3], [1.0, -0.5, 0.4]);
        let bgr = Preprocess { color: Color::Bgr, mean: [0.0; 3], ..nhwc };
        close(&bgr.values(&picture)[..3], [0.4, 0.0, 2.0]);
    }

    #[test]
    fn crop_takes_the_middle() {
        let p = Preprocess::from_meta(&meta(&[(KEY_CROP, "0.5")]), &[1, 4, 4, 3], Task::Classify).unwrap();
        let mut picture = Image::filled(16, 8, [0; 3]).unwrap();
        picture.paste(&Image::filled(4, 4, [9; 3]).unwrap(), 6, 2);
        let (fitted, t) = p.fit(&picture).unwrap();
        assert_eq!(fitted, Image::filled(4, 4, [9; 3]).unwrap());
        assert_eq!(t.point([0.0, 0.0]), [6.0, 2.0]);
    }

    #[test]
    fn odd_metadata_are_refused() {
        for pairs in [
            [("preprocess.std", "1,0,1")],
            [("preprocess.mean", "1,2")],
            [("preprocess.color", "cmyk")],
            [("preprocess.pad", "300")],
            [("preprocess.crop", "0")],
        ] {
            assert!(Preprocess::from_meta(&meta(&pairs), &[1, 3, 8, 8], Task::Detect).is_err(), "{pairs:?}");
        }
        assert!(Preprocess::from_meta(&Meta::new(), &[1, 10], Task::Detect).is_err());
    }
}
