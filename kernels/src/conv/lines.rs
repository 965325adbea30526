//! Inputs of a block of pixels as lines: every row of the input that the block's windows see, copied once with its
//! padding. Windows overlap: one of 3 x 3 taps reads each input nine times, and gets it from one copy.
//!
//! For each row of the window a pixel's inputs are then a run of its line, and pixels of one row of the output lie evenly
//! spaced. So blocks are whole rows of the output, or even parts of one.

use std::ops::Range;

use super::driver::Bases;
use super::gather::Gather;
use super::geometry::{Pixel, Product};

/// Most pixels of a block.
const PIXELS: usize = 128;

/// Fewest pixels of a row of the output: fewer at once would leave multipliers idle.
const LEAST: usize = 4;

/// Most parts that a row of the output is cut to.
const PARTS: usize = 8;

/// Most rows of the output that blocks have pixels of.
const ROWS: usize = PIXELS / LEAST + 1;

/// Bytes behind a line that may be written: they are copied 64 at a time.
const OVER: usize = 64;

/// Bytes from a line to the next: no multiple of 4 KiB, which would make all share a few lines of the first-level cache.
fn line(positions: usize, depth: usize) -> usize {
    let bytes = positions * depth + OVER;
    if bytes.is_multiple_of(4 << 10) { bytes + 64 } else { bytes }
}

/// Inputs across that `pixels` neighbouring windows see.
fn positions(p: &Product, pixels: usize) -> usize {
    (pixels - 1) * p.cols.step as usize + p.cols.taps
}

/// How to cut a product of `batch` images of `depth` bytes a tap to blocks whose lines take at most `room` bytes: pixels
/// that blocks and tiles have a multiple of, and those of a block.
pub(super) fn cut(p: &Product, batch: usize, depth: usize, room: usize) -> Option<[usize; 2]> {
    let width = p.cols.outputs;
    let plain = p.rows.spacing == 1 && p.cols.spacing == 1 && p.rows.taps > 0 && p.cols.taps > 1;
    if !plain || width < LEAST || p.rows.step < 1 || p.cols.step < 1 {
        return None;
    }
    let parts = (width.div_ceil(PIXELS)..=PARTS).find(|&parts| width.is_multiple_of(parts))?;
    let unit = width / parts;
    let bytes = |rows: usize| {
        // Rows of other images share no line.
        let (apart, together) =
            (p.rows.taps.checked_mul(rows)?, p.rows.step as usize * (rows - 1) + p.rows.taps);
        let lines = if batch == 1 { together } else { apart.max(together) };
        lines.checked_mul(line(positions(p, unit), depth))
    };
    let most = if parts == 1 { PIXELS / unit } else { 1 };
    let rows = (1..=most).rev().find(|&rows| bytes(rows).is_some_and(|bytes| bytes <= room))?;
    (unit >= LEAST).then_some([unit, rows * unit])
}

/// How inputs are copied. Not a closure, which would be compiled without the instruction set of the function that it stands
/// in.
pub trait Copy {
    /// Copies `n` bytes, changed in whatever way; up to 63 bytes may be written past them.
    ///
    /// # Safety
    /// `from` is valid for `n` bytes rounded up to 16, `to` for 63 more.
    unsafe fn copy(from: *const u8, to: *mut u8, n: usize);
}

/// The lines of a block.
pub(super) struct Lines {
    first: *const u8,
    /// Bytes from a line to the next, and from a pixel to the next one of its row.
    pub line: usize,
    pub pixel: usize,
    /// The first line of each row of the output.
    rows: [u16; ROWS],
    /// The column of the block's first pixel, and that of the lines' first window.
    column: usize,
    left: usize,
    width: usize,
    pixels: usize,
}

/// Pixels of one row of the output.
pub(super) struct Segment {
    /// The first, counted from the block's first, and how many.
    pub pixel: usize,
    pub count: usize,
    /// The first one's inputs.
    pub inputs: *const u8,
}

impl Lines {
    /// The segment that begins with a pixel.
    pub fn segment(&self, pixel: usize) -> Segment {
        let at = self.column + pixel;
        let (row, column) = (at / self.width, at % self.width);
        let offset = usize::from(self.rows[row]) * self.line + (column - self.left) * self.pixel;
        let count = (self.width - column).min(self.pixels - pixel);
        Segment { pixel, count, inputs: self.first.wrapping_add(offset) }
    }
}

impl Gather<'_> {
    /// Copies the lines of the block, `depth` bytes a tap.
    ///
    /// # Safety
    /// The operands that the bases belong to are there, `to` takes the bytes that [`cut`] allowed; the processor has what
    /// `C` needs.
    #[inline(always)]
    pub(super) unsafe fn lines<C: Copy>(&self, depth: usize, to: *mut u8) -> Lines {
        let (p, width) = (self.product, self.product.cols.outputs);
        let Pixel { image, row, col } = Pixel::new(p, self.first);
        let rows = (col + self.pixels).div_ceil(width);
        let across = if rows == 1 { col..col + self.pixels } else { 0..width };
        let count = positions(p, across.len());
        let bytes = line(count, depth);
        let mut lines = Lines {
            first: to,
            line: bytes,
            pixel: p.cols.step as usize * depth,
            rows: [0; ROWS],
            column: col,
            left: across.start,
            width,
            pixels: self.pixels,
        };
        let copy = Line {
            bases: self.bases,
            runs: self.runs,
            depth,
            positions: positions_inside(p, &across, count),
            count,
        };
        let (step, taps) = (p.rows.step as usize, p.rows.taps);
        let mut done = 0;
        for i in 0..rows {
            let at = image * p.rows.outputs + row + i;
            let (image, row) = (at / p.rows.outputs, at % p.rows.outputs);
            let first = if i == 0 || row == 0 { done } else { usize::from(lines.rows[i - 1]) + step };
            lines.rows[i] = first as u16;
            for tap in done.max(first) - first..taps {
                let from = p.rows.at(row, tap).map(|iy| (image * p.rows.input + iy) * p.cols.input);
                // SAFETY: the caller's promise; what `Axis` gives is inside the image.
                unsafe { copy.copy::<C>(from, p.cols.start(across.start), to.add((first + tap) * bytes)) };
            }
            done = done.max(first + taps);
        }
        lines
    }
}

/// Those of `count` positions from output column `across.start`'s first tap on that are inside the image.
fn positions_inside(p: &Product, across: &Range<usize>, count: usize) -> Range<usize> {
    let start = p.cols.start(across.start);
    let clamp = |at: i64| at.clamp(0, count as i64) as usize;
    let begin = clamp(-start);
    begin..clamp(p.cols.input as i64 - start).max(begin)
}

/// What is the same of all lines of a block.
struct Line<'a> {
    bases: &'a Bases,
    /// Whether neighbouring taps are one run of memory.
    runs: bool,
    depth: usize,
    /// Positions that are inside the image, and all of them.
    positions: Range<usize>,
    count: usize,
}

impl Line<'_> {
    /// Copies a line: of the row of inputs whose first is number `row`, or of padding; `start` is the column of the first
    /// position.
    ///
    /// # Safety
    /// As [`Gather::lines`].
    #[inline(always)]
    unsafe fn copy<C: Copy>(&self, row: Option<usize>, start: i64, to: *mut u8) {
        let Self { bases, depth, count, .. } = *self;
        let inside = if row.is_some() { self.positions.clone() } else { count..count };
        // SAFETY: the caller's promise. What is written past a position is written over by the next one.
        unsafe {
            for i in 0..inside.start {
                C::copy(bases.padding, to.add(i * depth), depth);
            }
            let first = row.unwrap_or(0) as i64 + start + inside.start as i64;
            let from = bases.x.wrapping_offset(first as isize * bases.x_row as isize);
            if self.runs {
                C::copy(from, to.add(inside.start * depth), inside.len() * depth);
            } else {
                for i in 0..inside.len() {
                    C::copy(from.add(i * bases.x_row), to.add((inside.start + i) * depth), depth);
                }
            }
            for i in inside.end..count {
                C::copy(bases.padding, to.add(i * depth), depth);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cygnet_format::op::Window;

    use super::super::geometry::Axis;
    use super::*;

    struct Plain;

    impl Copy for Plain {
        unsafe fn copy(from: *const u8, to: *mut u8, n: usize) {
            // SAFETY: the caller's promise. As much as may be is written past the end.
            unsafe {
                from.copy_to_nonoverlapping(to, n);
                to.add(n).write_bytes(0xee, 63);
            }
        }
    }

    fn product(window: &Window, input: [usize; 2]) -> Product {
        let axis = |i: usize| {
            let reach = input[i] + (window.pad[i] + window.pad[i + 2]) as usize - window.kernel[i] as usize;
            Axis::of_window(window, i, input[i], reach / window.stride[i] as usize + 1).unwrap()
        };
        Product { rows: axis(0), cols: axis(1), weights: 0, bias: 0 }
    }

    fn window(kernel: [u32; 2], stride: [u32; 2], pad: [u32; 4]) -> Window {
        Window { kernel, stride, dilation: [1, 1], pad }
    }

    /// Every block that a cut gives, every pixel, every tap, against the definition of a window.
    fn check(window: &Window, images: usize, input: [usize; 2], depth: usize, excess: usize, room: usize) {
        let p = product(window, input);
        let [unit, block] = cut(&p, images, depth, room).expect("blocks that fit");
        assert!(block.is_multiple_of(unit) && block <= PIXELS);
        let [height, width] = input;
        let x_row = depth + excess;
        let x: Vec<u8> = (0..images * height * width * x_row + 16).map(|i| (i * 7 % 199) as u8).collect();
        let padding = [255_u8; 64];
        let bases =
            Bases { x: x.as_ptr(), padding: padding.as_ptr(), y: std::ptr::null_mut(), x_row, y_row: 0 };
        let interior = p.cols.interior();
        let all = images * p.rows.outputs * p.cols.outputs;
        for first in (0..all).step_by(unit) {
            let pixels = block.min(all - first);
            if unit < p.cols.outputs && pixels > unit {
                continue;
            }
            let gather =
                Gather { product: &p, bases: &bases, first, pixels, runs: excess == 0, interior: &interior };
            let mut to = vec![0_u8; room];
            // SAFETY: the image and the padding are there, and the cut is for this room.
            let lines = unsafe { gather.lines::<Plain>(depth, to.as_mut_ptr()) };
            let mut next = 0;
            while next < pixels {
                let Segment { pixel, count, inputs } = lines.segment(next);
                assert_eq!(pixel, next);
                for i in 0..count {
                    let at = Pixel::new(&p, first + pixel + i);
                    for (ky, kx) in (0..p.rows.taps).flat_map(|ky| (0..p.cols.taps).map(move |kx| (ky, kx))) {
                        let place = inputs as usize - to.as_ptr() as usize;
                        let got = &to[place + ky * lines.line + i * lines.pixel + kx * depth..][..depth];
                        let want = match (p.rows.at(at.row, ky), p.cols.at(at.col, kx)) {
                            (Some(iy), Some(ix)) => {
                                &x[((at.image * height + iy) * width + ix) * x_row..][..depth]
                            }
                            _ => &padding[..depth],
                        };
                        assert_eq!(got, want, "{window:?}, {at:?}, tap {ky}, {kx}");
                    }
                }
                next += count;
            }
        }
    }

    #[test]
    fn windows_are_read_where_they_say() {
        let room = 64 << 10;
        check(&window([3, 3], [1, 1], [1, 1, 1, 1]), 1, [7, 7], 4, 0, room);
        check(&window([3, 3], [1, 1], [1, 1, 1, 1]), 3, [5, 9], 8, 16, room);
        check(&window([3, 3], [2, 2], [0, 0, 1, 1]), 2, [14, 20], 4, 0, room);
        check(&window([7, 7], [2, 2], [3, 3, 3, 3]), 1, [31, 40], 3, 0, room);
        check(&window([2, 5], [3, 1], [0, 2, 0, 2]), 2, [11, 6], 4, 4, room);
        check(&window([1, 3], [1, 4], [0, 0, 0, 0]), 1, [3, 29], 12, 0, room);
        // Padding wider than the image.
        check(&window([5, 5], [1, 1], [9, 8, 7, 9]), 1, [2, 3], 4, 0, room);
    }

    #[test]
    fn wide_rows_are_cut_evenly() {
        let wide = window([3, 3], [1, 1], [1, 1, 1, 1]);
        assert_eq!(cut(&product(&wide, [9, 160]), 1, 4, 64 << 10), Some([80, 80]));
        check(&wide, 2, [3, 160], 4, 0, 64 << 10);
        check(&window([3, 3], [2, 2], [1, 1, 1, 1]), 1, [5, 640], 3, 0, 64 << 10);
        // No even parts.
        assert_eq!(cut(&product(&wide, [9, 131]), 1, 4, 64 << 10), None);
        // Too narrow, and too deep for the room.
        assert_eq!(cut(&product(&wide, [9, 3]), 1, 4, 64 << 10), None);
        assert_eq!(cut(&product(&wide, [9, 9]), 1, 4096, 64 << 10), None);
    }

    #[test]
    fn blocks_have_as_many_rows_as_there_is_room_for() {
        let p = product(&window([3, 3], [1, 1], [1, 1, 1, 1]), [32, 32]);
        // A line is 34 * 16 + 64 = 608 bytes; rows of one image share two of three.
        assert_eq!(cut(&p, 1, 16, 4 * 608), Some([32, 64]));
        assert_eq!(cut(&p, 1, 16, 4 * 608 - 1), Some([32, 32]));
        assert_eq!(cut(&p, 2, 16, 6 * 608), Some([32, 64]));
        assert_eq!(cut(&p, 2, 16, 6 * 608 - 1), Some([32, 32]));
        assert_eq!(cut(&p, 1, 16, 3 * 608 - 1), None);
    }
}
