//! Where the inputs of a block of pixels are, for kernels that copy them: runs of taps, row by row of the window.

use std::ops::Range;

use super::driver::Bases;
use super::geometry::{Pixel, Product};

/// The inputs of consecutive output pixels of a product.
#[derive(Clone, Copy, Debug)]
pub struct Gather<'a> {
    pub(super) product: &'a Product,
    pub(super) bases: &'a Bases,
    /// The first pixel, and how many.
    pub(super) first: usize,
    pub(super) pixels: usize,
    /// Whether neighbouring taps of a row of the window are one run of memory.
    pub(super) runs: bool,
    /// Columns of the output whose taps are all inside the image.
    pub(super) interior: &'a Range<usize>,
}

/// A run of inputs: all channels of one tap, or of several that follow one another in memory.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its first channel.
    pub from: *const u8,
    /// The pixel that reads it, counted from the block's first.
    pub pixel: usize,
    /// The first tap, counted row by row of the window, and how many.
    pub tap: usize,
    pub taps: usize,
}

/// What becomes of the runs. Not a closure, which would be compiled without the instruction set of the function that it
/// stands in.
pub trait Sink {
    /// Takes a run.
    ///
    /// # Safety
    /// All channels of its taps can be read.
    unsafe fn take(&mut self, run: Run);

    /// Takes a run of each of `count` neighbouring pixels, the first of which has this one; the others' begin `step` bytes
    /// further on each.
    ///
    /// # Safety
    /// All channels of their taps can be read.
    #[inline(always)]
    unsafe fn take_each(&mut self, run: Run, count: usize, step: isize) {
        for i in 0..count {
            let from = run.from.wrapping_offset(i as isize * step);
            // SAFETY: the caller's promise.
            unsafe { self.take(Run { from, pixel: run.pixel + i, ..run }) };
        }
    }
}

impl Gather<'_> {
    /// Taps of the window, down and across.
    pub fn taps(&self) -> [usize; 2] {
        [self.product.rows.taps, self.product.cols.taps]
    }

    /// The inputs as rows of a matrix, where every pixel reads one tap, its own: the first row, and bytes from a row to
    /// the next.
    #[inline]
    pub fn matrix(&self) -> Option<(*const u8, usize)> {
        let row = self.bases.x_row;
        self.product.is_pointwise().then(|| (self.bases.x.wrapping_add(self.first * row), row))
    }

    /// Gives `sink` the runs of `taps` of every pixel; each tap is in one run, and runs of one pixel come in the order of
    /// taps.
    ///
    /// # Safety
    /// The operands that the bases belong to are there.
    #[inline(always)]
    pub unsafe fn runs(&self, taps: Range<usize>, sink: &mut impl Sink) {
        let (p, bases) = (self.product, self.bases);
        let across = p.cols.taps;
        if taps.is_empty() {
            return; // A phase of a transposed convolution.
        }
        let mut at = Pixel::new(p, self.first);
        let mut done = 0;
        while done < self.pixels {
            // Pixels of one row of the output, and those of them that see nothing but the image across.
            let n = (p.cols.outputs - at.col).min(self.pixels - done);
            let end = at.col + n;
            let inside = self.interior.start.clamp(at.col, end)..self.interior.end.clamp(at.col, end);
            for ky in taps.start / across..taps.end.div_ceil(across) {
                let kx =
                    taps.start.max(ky * across) - ky * across..taps.end.min((ky + 1) * across) - ky * across;
                let row = p.rows.at(at.row, ky).map(|iy| (at.image * p.rows.input + iy) * p.cols.input);
                let whole = if row.is_some() { inside.clone() } else { end..end };
                // SAFETY: the caller's promise; what `Axis` gives is inside the image.
                unsafe {
                    for col in (at.col..whole.start).chain(whole.end.max(whole.start)..end) {
                        let pixel = done + col - at.col;
                        let mut next = kx.start;
                        while next < kx.end {
                            let (from, taps) = match (row, p.cols.at(col, next)) {
                                (Some(row), Some(ix)) => {
                                    let run = if self.runs { p.cols.input - ix } else { 1 };
                                    (bases.x.add((row + ix) * bases.x_row), run.min(kx.end - next))
                                }
                                _ => (bases.padding, 1),
                            };
                            sink.take(Run { from, pixel, tap: ky * across + next, taps });
                            next += taps;
                        }
                    }
                    if whole.is_empty() {
                        continue;
                    }
                    // Bytes from pixel to pixel, and from tap to tap.
                    let bytes = |elements: i64| elements as isize * bases.x_row as isize;
                    let (step, spacing) = (bytes(p.cols.step), bytes(p.cols.spacing));
                    let first = row.unwrap_or(0) as i64 + p.cols.start(whole.start);
                    let mut from = bases.x.offset(bytes(first) + kx.start as isize * spacing);
                    let tap = ky * across + kx.start;
                    let pixel = done + whole.start - at.col;
                    if self.runs {
                        sink.take_each(Run { from, pixel, tap, taps: kx.len() }, whole.len(), step);
                        continue;
                    }
                    for pixel in pixel..pixel + whole.len() {
                        for k in 0..kx.len() {
                            let from = from.wrapping_offset(k as isize * spacing);
                            sink.take(Run { from, pixel, tap: tap + k, taps: 1 });
                        }
                        from = from.wrapping_offset(step);
                    }
                }
            }
            done += n;
            at = Pixel { col: end - 1, ..at };
            at.step(p);
        }
    }
}

#[cfg(test)]
mod tests {
    use cygnet_format::op::Window;

    use super::super::geometry::Axis;
    use super::*;

    /// The first byte of every tap of every pixel.
    struct Seen(Vec<[Option<u8>; 9]>);

    impl Sink for Seen {
        unsafe fn take(&mut self, run: Run) {
            assert_eq!(run.taps, 1);
            // SAFETY: the run can be read.
            let first = unsafe { *run.from };
            assert_eq!(self.0[run.pixel][run.tap].replace(first), None);
        }
    }

    /// What the runs of a 3x3 window over a small image say, byte by byte, against the definition of a window.
    #[test]
    fn every_tap_is_read_where_the_window_says() {
        let window = Window { kernel: [3, 3], stride: [2, 1], dilation: [1, 2], pad: [1, 2, 1, 3] };
        // Two images of 5 x 6 pixels of 4 bytes; every byte is its own address.
        let x: Vec<u8> = (0..2 * 5 * 6 * 4).map(|i| i as u8).collect();
        let padding = [255_u8; 4];
        let rows = Axis::of_window(&window, 0, 5, 3).unwrap();
        let cols = Axis::of_window(&window, 1, 6, 7).unwrap();
        let product = Product { rows, cols, weights: 0, bias: 0 };
        let bases =
            Bases { x: x.as_ptr(), padding: padding.as_ptr(), y: std::ptr::null_mut(), x_row: 4, y_row: 0 };
        let interior = cols.interior();
        for (first, pixels) in [(0, 42), (5, 1), (13, 17)] {
            for taps in [0..9, 0..2, 2..7, 4..5] {
                let gather = Gather {
                    product: &product,
                    bases: &bases,
                    first,
                    pixels,
                    runs: false,
                    interior: &interior,
                };
                let mut seen = Seen(vec![[None; 9]; pixels]);
                // SAFETY: the image and the padding are there.
                unsafe { gather.runs(taps.clone(), &mut seen) };
                for (i, seen) in seen.0.iter().enumerate() {
                    let (image, oy, ox) = ((first + i) / 21, (first + i) / 7 % 3, (first + i) % 7);
                    for (tap, seen) in seen.iter().enumerate() {
                        let (iy, ix) = (oy * 2 + tap / 3, ox + tap % 3 * 2);
                        let inside = (1..6).contains(&iy) && (2..8).contains(&ix);
                        let at = if inside { ((image * 5 + iy - 1) * 6 + ix - 2) * 4 } else { 255 };
                        assert_eq!(*seen, taps.contains(&tap).then_some(at as u8), "pixel {i}, tap {tap}");
                    }
                }
            }
        }
    }
}
