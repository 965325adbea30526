//! Lists of addresses: of every pixel of a block and every tap, where its input channels are. What kernels that take a
//! few pixels at a time read.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::driver::Bases;
use super::geometry::{Pixel, Product};
use super::micro::MAX_MR;

/// Addresses in a block's list: 16 KiB of stack.
pub(super) const LIST: usize = 2048;

/// Most pixels of a block.
pub(super) const BLOCK_PIXELS: usize = 256;

/// How a product's addresses lie in a list.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Pixels of a group: those that a kernel takes at once.
    pub mr: usize,
    /// Taps of a row of the kernel that are inside the image are one run of memory, and listed as one tap.
    pub runs: bool,
    /// Addresses of each pixel.
    pub slots: usize,
    /// Inputs and outputs correspond one to one, in order.
    pub pointwise: bool,
    /// Rows and columns of the output whose taps are all inside the image.
    pub interior: [Range<usize>; 2],
    /// Rows and columns of the whole output.
    pub output: [usize; 2],
}

/// The addresses of one block of pixels.
pub(super) struct List {
    /// For each group of pixels `slots * mr` addresses, `[slot][pixel]`.
    list: [MaybeUninit<*const u8>; LIST],
    /// Start of each pixel's row of the output.
    out: [MaybeUninit<*mut u8>; BLOCK_PIXELS],
    /// For each group of pixels, whether its taps are merged into runs.
    merged: [bool; BLOCK_PIXELS],
}

impl List {
    /// Of no pixels.
    pub fn new() -> Self {
        Self {
            list: [MaybeUninit::uninit(); LIST],
            out: [MaybeUninit::uninit(); BLOCK_PIXELS],
            merged: [false; BLOCK_PIXELS],
        }
    }

    /// The addresses of the group of pixels that begins with pixel `start`.
    pub fn group(&self, layout: &Layout, start: usize) -> *const *const u8 {
        self.list[start * layout.slots..].as_ptr().cast()
    }

    /// Of each of the groups of `count` pixels, whether its taps are merged.
    pub fn merged(&self, layout: &Layout, count: usize) -> &[bool] {
        &self.merged[..count.div_ceil(layout.mr)]
    }

    /// Starts of the pixels' rows of the output.
    pub fn outputs(&self) -> &[MaybeUninit<*mut u8>] {
        &self.out
    }

    /// Fills the list for `count` pixels from `first` on.
    ///
    /// # Safety
    /// `bases` are those of the operands the product is of, and the pixels are the product's; `count * slots` is at most
    /// [`LIST`].
    pub unsafe fn fill(&mut self, p: &Product, layout: &Layout, bases: &Bases, first: usize, count: usize) {
        let mr = layout.mr;
        if layout.pointwise {
            for i in 0..count.next_multiple_of(mr) {
                let index = first + i.min(count - 1);
                // SAFETY: the index is that of a row of the input and of the output.
                unsafe {
                    self.list[i] = MaybeUninit::new(bases.x.add(index * bases.x_row));
                    self.out[i] = MaybeUninit::new(bases.y.add(index * bases.y_row));
                }
            }
            return;
        }
        let (height, width) = (p.rows.input, p.cols.input);
        let [out_height, out_width] = layout.output;
        let inside =
            |at: &Pixel| layout.interior[0].contains(&at.row) && layout.interior[1].contains(&at.col);
        let mut next = Pixel::new(p, first);
        let mut pixels = [next; MAX_MR];
        for (group, start) in (0..count).step_by(mr).enumerate() {
            let rows = mr.min(count - start);
            let last = Pixel { col: next.col + mr - 1, ..next };
            if rows == mr && inside(&next) && inside(&last) {
                // SAFETY: the group lies in one row of the output, all its taps inside the image.
                unsafe { self.fill_stretch(p, layout, bases, next, start) };
                next = last;
                next.step(p);
                continue;
            }
            for row in 0..mr {
                if row < rows {
                    pixels[row] = next;
                    next.step(p);
                } else {
                    pixels[row] = pixels[rows - 1];
                }
            }
            let merged = layout.runs && pixels[..rows].iter().all(inside);
            self.merged[group] = merged;
            let across = if merged { 1 } else { p.cols.taps };
            let to = &mut self.list[group * layout.slots * mr..][..layout.slots * mr];
            // Bytes from tap to tap.
            let step = p.cols.spacing as isize * bases.x_row as isize;
            for row in 0..mr {
                let at = pixels[row];
                let index = (at.image * out_height + p.rows.out(at.row)) * out_width + p.cols.out(at.col);
                // SAFETY: the index is that of a row of the output.
                self.out[start + row] = MaybeUninit::new(unsafe { bases.y.add(index * bases.y_row) });
                let (left, image) = (p.cols.start(at.col), at.image * height);
                let mut slot = row;
                for ky in 0..p.rows.taps {
                    let line = p.rows.at(at.row, ky).map(|iy| (image + iy) * width);
                    let first = line.unwrap_or(0) as i64 + left;
                    let mut from = bases.x.wrapping_offset(first as isize * bases.x_row as isize);
                    // A position that is not below this is outside.
                    let inside = if line.is_some() { width as u64 } else { 0 };
                    let mut ix = left;
                    for _ in 0..across {
                        let address = if (ix as u64) < inside { from } else { bases.padding };
                        to[slot] = MaybeUninit::new(address);
                        (from, ix, slot) = (from.wrapping_offset(step), ix + p.cols.spacing, slot + mr);
                    }
                }
            }
        }
    }

    /// Fills the list for one whole group of pixels, `start` pixels into the block.
    ///
    /// # Safety
    /// As [`Self::fill`]; the pixels follow `at` in one row of the output, and all their taps are inside the image.
    unsafe fn fill_stretch(&mut self, p: &Product, layout: &Layout, bases: &Bases, at: Pixel, start: usize) {
        let (mr, width) = (layout.mr, p.cols.input);
        let [out_height, out_width] = layout.output;
        self.merged[start / mr] = layout.runs;
        // SAFETY: the index is that of a row of the output, and so are those of the pixels that follow; the first tap
        // is inside the image.
        let (out, origin) = unsafe {
            let line = at.image * out_height + p.rows.out(at.row);
            let out = bases.y.add((line * out_width + p.cols.out(at.col)) * bases.y_row);
            let line = at.image * p.rows.input + p.rows.start(at.row) as usize;
            (out, bases.x.add((line * width + p.cols.start(at.col) as usize) * bases.x_row))
        };
        let out_step = p.cols.out_step * bases.y_row;
        for (i, to) in self.out[start..start + mr].iter_mut().enumerate() {
            *to = MaybeUninit::new(out.wrapping_add(i * out_step));
        }
        // Bytes from pixel to pixel, and from tap to tap, across and down.
        let step = p.cols.step as usize * bases.x_row;
        let tap = p.cols.spacing as isize * bases.x_row as isize;
        let tap_row = p.rows.spacing as isize * (width * bases.x_row) as isize;
        let across = if layout.runs { 1 } else { p.cols.taps };
        let mut slots = self.list[start * layout.slots..][..layout.slots * mr].chunks_exact_mut(mr);
        for ky in 0..p.rows.taps as isize {
            for (kx, to) in (0..across as isize).zip(&mut slots) {
                // Every address is inside the image.
                let first = origin.wrapping_offset(ky * tap_row + kx * tap);
                for (i, to) in to.iter_mut().enumerate() {
                    *to = MaybeUninit::new(first.wrapping_add(i * step));
                }
            }
        }
    }
}
