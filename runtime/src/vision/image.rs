//! Pictures in memory, and their resampling.

use super::VisionError;
use super::boxes::Rect;

/// A picture: 8 bits each of red, green and blue, row by row from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// Most pixels along a side.
const MAX_SIDE: u32 = 1 << 16;

impl Image {
    /// A picture of `width * height * 3` bytes.
    ///
    /// # Errors
    /// When there is another number of them, or no pixel.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, VisionError> {
        let need = u64::from(width) * u64::from(height) * 3;
        let sides = 1..=MAX_SIDE;
        if pixels.len() as u64 != need || !sides.contains(&width) || !sides.contains(&height) {
            return Err(VisionError::ImageSize { width, height, need, got: pixels.len() });
        }
        Ok(Self { width, height, pixels })
    }

    /// A picture of one color.
    pub fn filled(width: u32, height: u32, color: [u8; 3]) -> Result<Self, VisionError> {
        let pixels = if width <= MAX_SIDE && height <= MAX_SIDE {
            color.repeat(width as usize * height as usize)
        } else {
            Vec::new()
        };
        Self::new(width, height, pixels)
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Number of rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// All bytes.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The whole picture as a rectangle.
    pub fn bounds(&self) -> Rect {
        Rect { x0: 0.0, y0: 0.0, x1: self.width as f32, y1: self.height as f32 }
    }

    /// One row's bytes.
    pub fn row(&self, y: u32) -> &[u8] {
        let bytes = self.width as usize * 3;
        &self.pixels[y as usize * bytes..][..bytes]
    }

    /// One pixel; black outside.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        if x >= self.width || y >= self.height {
            return [0; 3];
        }
        let row = self.row(y);
        let at = x as usize * 3;
        [row[at], row[at + 1], row[at + 2]]
    }

    /// Sets one pixel; nothing outside.
    pub fn put(&mut self, x: u32, y: u32, color: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = (y as usize * self.width as usize + x as usize) * 3;
            self.pixels[at..at + 3].copy_from_slice(&color);
        }
    }

    /// Copies another picture over this one, its top left corner at `(x, y)`; what sticks out is cut off.
    pub fn paste(&mut self, other: &Self, x: u32, y: u32) {
        let columns = other.width.min(self.width.saturating_sub(x)) as usize * 3;
        for row in 0..other.height.min(self.height.saturating_sub(y)) {
            let at = ((y + row) as usize * self.width as usize + x as usize) * 3;
            self.pixels[at..at + columns].copy_from_slice(&other.row(row)[..columns]);
        }
    }

    /// The part of the picture inside `from`, resampled to `width` x `height`.
    ///
    /// Bilinear with half-pixel centers: the center of output pixel i lies at `(i + 0.5) * scale` of the source. Without
    /// `antialias` two neighbours are mixed each way, as OpenCV's `INTER_LINEAR` does; with it, and when
    /// shrinking, the triangle is widened by the scale, as Pillow's `BILINEAR` and torchvision do. Results are
    /// rounded to the nearest byte once, at the end.
    pub fn resample(
        &self,
        from: Rect,
        width: u32,
        height: u32,
        antialias: bool,
    ) -> Result<Self, VisionError> {
        let mut out = Self::filled(width, height, [0; 3])?;
        let columns = taps(from.x0, from.x1, width, self.width, antialias);
        let rows = taps(from.y0, from.y1, height, self.height, antialias);
        // Rows of the source, resampled across, each made once when the first output row asks for it.
        let mut across: Vec<Vec<f32>> = vec![Vec::new(); self.height as usize];
        let out_bytes = width as usize * 3;
        let mut sum = vec![0.0_f32; out_bytes];
        for (out_row, taps) in out.pixels.chunks_exact_mut(out_bytes).zip(&rows) {
            for done in &mut across[..taps.first] {
                *done = Vec::new();
            }
            sum.fill(0.0);
            for (row, &weight) in (taps.first..).zip(&taps.weights) {
                if across[row].is_empty() {
                    across[row] = resample_row(self.row(row as u32), &columns);
                }
                for (s, &v) in sum.iter_mut().zip(&across[row]) {
                    *s += weight * v;
                }
            }
            for (to, &s) in out_row.iter_mut().zip(&sum) {
                *to = s.round().clamp(0.0, 255.0) as u8;
            }
        }
        Ok(out)
    }
}

/// Which source pixels an output pixel is mixed of.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// The taps of every output pixel along one axis. Pixels outside the source count for nothing, and the weights
/// inside are scaled to sum 1: at the border this is the same as repeating the outermost pixel.
fn taps(from: f32, to: f32, out: u32, source: u32, antialias: bool) -> Vec<Taps> {
    let scale = f64::from(to - from) / f64::from(out);
    let support = if antialias { scale.max(1.0) } else { 1.0 };
    (0..out)
        .map(|i| {
            let center = f64::from(from) + (f64::from(i) + 0.5) * scale;
            let last = f64::from(source - 1);
            let first = (center - support).floor().clamp(0.0, last);
            let end = (center + support).ceil().clamp(first, last);
            let weight = |x: f64| (1.0 - ((x + 0.5 - center) / support).abs()).max(0.0);
            let mut weights: Vec<f64> = (first as u64..=end as u64).map(|x| weight(x as f64)).collect();
            let total: f64 = weights.iter().sum();
            if total > 0.0 {
                weights.iter_mut().for_each(|w| *w /= total);
            } else {
                // The rectangle lies outside: the nearest pixel stands for all.
                weights = vec![1.0];
            }
            Taps { first: first as usize, weights: weights.into_iter().map(|w| w as f32).collect() }
        })
        .collect()
}

fn resample_row(row: &[u8], columns: &[Taps]) -> Vec<f32> {
    let mut out = Vec::with_capacity(columns.len() * 3);
    for taps in columns {
        let mut sum = [0.0_f32; 3];
        for (pixel, &weight) in row[taps.first * 3..].as_chunks::<3>().0.iter().zip(&taps.weights) {
            for (s, &v) in sum.iter_mut().zip(pixel) {
                *s += weight * f32::from(v);
            }
        }
        out.extend(sum);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: u32, height: u32, values: &[u8]) -> Image {
        Image::new(width, height, values.iter().flat_map(|&v| [v; 3]).collect()).unwrap()
    }

    fn first_channel(image: &Image) -> Vec<u8> {
        image.pixels().iter().step_by(3).copied().collect()
    }

    #[test]
    fn doubling_a_row_mixes_quarters() {
        // Centers at 0.25, 0.75, 1.25, 1.75: weights 1; 3/4, 1/4; 1/4, 3/4; 1.
        let image = gray(2, 1, &[0, 100]);
        let wide = image.resample(image.bounds(), 4, 1, false).unwrap();
        assert_eq!(first_channel(&wide), [0, 25, 75, 100]);
    }

    #[test]
    fn halving_with_and_without_antialias() {
        let image = gray(4, 1, &[0, 40, 80, 200]);
        // Without: centers at 1 and 3, the two neighbours halved.
        assert_eq!(first_channel(&image.resample(image.bounds(), 2, 1, false).unwrap()), [20, 140]);
        // With: triangle of half-width 2 at 1: weights (.75, .75, .25) / 1.75 of 0, 40, 80; at 3: (.25, .75, .75) /
        // 1.75 of 40, 80, 200.
        let fine = image.resample(image.bounds(), 2, 1, true).unwrap();
        assert_eq!(first_channel(&fine), [29, 126]);
    }

    #[test]
    fn a_part_of_the_picture() {
        let image = gray(4, 2, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let part = Rect { x0: 1.0, y0: 1.0, x1: 3.0, y1: 2.0 };
        assert_eq!(first_channel(&image.resample(part, 2, 1, true).unwrap()), [6, 7]);
        let outside = Rect { x0: 50.0, y0: 0.0, x1: 60.0, y1: 1.0 };
        assert_eq!(first_channel(&image.resample(outside, 1, 1, false).unwrap()), [4]);
    }

    #[test]
    fn size_is_checked() {
        assert!(Image::new(2, 2, vec![0; 11]).is_err());
        assert!(Image::new(0, 2, vec![]).is_err());
        assert!(Image::filled(1 << 20, 1 << 20, [0; 3]).is_err());
    }
}
