//! Lists of addresses: of every pixel of a block and every tap, where its input channels are. What kernels that take a
//! few pixels at a time read.

use std::mem::MaybeUninit;

use super::driver::Bases;
use super::geometry::{Pixel, Product};
use super::micro::MAX_MR;
use super::panels::Reads;
use super::regions::Region;

/// Addresses in a block's list: 16 KiB of stack.
pub(super) const LIST: usize = 2048;

/// Most pixels of a block.
pub(super) const BLOCK_PIXELS: usize = 256;

/// Most groups of pixels of a block.
const GROUPS: usize = 64;

/// How a product's addresses lie in a list.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Pixels of a group: those that a kernel takes at once.
    pub mr: usize,
    /// Taps of a row of the kernel that are inside the image are one run of memory, and listed as one.
    pub runs: bool,
    /// Addresses of each pixel.
    pub slots: usize,
    /// Inputs and outputs correspond one to one, in order.
    pub pointwise: bool,
    /// The parts of the output, in the order in which pixels are gone through.
    pub regions: Vec<Region>,
    /// Rows and columns of the whole output.
    pub output: [usize; 2],
}

/// The addresses of one block of pixels.
pub(super) struct List {
    /// For each group of pixels `slots * mr` addresses, `[slot][pixel]`.
    list: [MaybeUninit<*const u8>; LIST],
    /// Start of each pixel's row of the output, `mr` for each group: pixels that it lacks repeat its last one.
    out: [MaybeUninit<*mut u8>; BLOCK_PIXELS],
    /// What each group reads, and how many there are.
    groups: [MaybeUninit<Reads>; GROUPS],
    count: usize,
}

impl List {
    /// Of no pixels.
    pub fn new() -> Self {
        Self {
            list: [MaybeUninit::uninit(); LIST],
            out: [MaybeUninit::uninit(); BLOCK_PIXELS],
            groups: [MaybeUninit::uninit(); GROUPS],
            count: 0,
        }
    }

    /// The addresses of the group that is number `index`.
    pub fn group(&self, layout: &Layout, index: usize) -> *const *const u8 {
        self.list[index * layout.mr * layout.slots..].as_ptr().cast()
    }

    /// What each group reads.
    pub fn groups(&self) -> &[Reads] {
        // SAFETY: `fill` set as many.
        unsafe { std::slice::from_raw_parts(self.groups.as_ptr().cast(), self.count) }
    }

    /// Starts of the pixels' rows of the output, `mr` for each group.
    pub fn outputs(&self, layout: &Layout) -> &[MaybeUninit<*mut u8>] {
        &self.out[..self.count * layout.mr]
    }

    /// The same without repetitions, in stretches of pixels in the order in which they lie in memory: of one region each.
    pub fn pixels(&self, layout: &Layout) -> impl Iterator<Item = &[MaybeUninit<*mut u8>]> {
        let (mut left, mr) = (&self.out[..], layout.mr);
        let stretches = self.groups().chunk_by(move |a, b| a.pixels == mr && a.bias == b.bias);
        stretches.map(move |groups| {
            let (these, rest) = left.split_at(groups.len() * mr);
            left = rest;
            let lacks = groups.last().map_or(0, |last| mr - last.pixels);
            &these[..these.len() - lacks]
        })
    }

    /// Fills the list for up to `count` pixels from `first` on, as many groups as there is room for: gives their number.
    ///
    /// # Safety
    /// `bases` are those of the operands the product is of, and the pixels are the product's.
    pub unsafe fn fill(
        &mut self,
        p: &Product,
        layout: &Layout,
        bases: &Bases,
        first: usize,
        count: usize,
    ) -> usize {
        let mr = layout.mr;
        let room = (LIST / (layout.slots * mr)).min(BLOCK_PIXELS / mr).min(GROUPS);
        self.count = 0;
        if layout.pointwise {
            let count = count.min(room * mr);
            for i in 0..count.next_multiple_of(mr) {
                let index = first + i.min(count - 1);
                // SAFETY: the index is that of a row of the input and of the output.
                unsafe {
                    self.list[i] = MaybeUninit::new(bases.x.add(index * bases.x_row));
                    self.out[i] = MaybeUninit::new(bases.y.add(index * bases.y_row));
                }
            }
            for start in (0..count).step_by(mr) {
                self.push(Reads::one(mr.min(count - start)));
            }
            return count;
        }
        let mut done = 0;
        for region in layout.regions.iter().skip_while(|region| region.pixels.end <= first) {
            let start = (first + done).max(region.pixels.start);
            let mut at = region.pixel(start - region.pixels.start);
            let mut left = (region.pixels.end - start).min(count - done);
            while left > 0 && self.count < room {
                let pixels = mr.min(left);
                // SAFETY: the caller's promise; there is room for a group.
                unsafe { self.add(p, layout, bases, region, &mut at, pixels) };
                left -= pixels;
                done += pixels;
            }
            if done == count || self.count == room {
                break;
            }
        }
        done
    }

    fn push(&mut self, reads: Reads) {
        self.groups[self.count] = MaybeUninit::new(reads);
        self.count += 1;
    }

    /// Adds a group of `pixels` pixels of a region, from `at` on, which goes on behind them.
    ///
    /// # Safety
    /// As [`Self::fill`]; the region has the pixels.
    #[inline]
    unsafe fn add(
        &mut self,
        p: &Product,
        layout: &Layout,
        bases: &Bases,
        region: &Region,
        at: &mut Pixel,
        pixels: usize,
    ) {
        let mr = layout.mr;
        let start = self.count * mr;
        // Bytes from tap to tap, across and down, and from pixel to pixel.
        let bytes = |elements: i64| elements as isize * bases.x_row as isize;
        let across = bytes(p.cols.spacing);
        let down = bytes(p.rows.spacing * p.cols.input as i64);
        let (step, out_step) = (bytes(p.cols.step), p.cols.out_step * bases.y_row);

        let first = *at;
        // Where each pixel's first tap reads, as if the image went on for ever.
        let mut from = [bases.x; MAX_MR];
        let out = &mut self.out[start..start + mr];
        let (mut inside, mut done) = (true, 0);
        while done < pixels {
            // Those of one row.
            let n = (region.outputs[1].end - at.col).min(pixels - done);
            let line = (at.image * p.rows.input) as i64 + p.rows.start(at.row);
            let x = bytes(line * p.cols.input as i64 + p.cols.start(at.col));
            let line = at.image * layout.output[0] + p.rows.out(at.row);
            let y = (line * layout.output[1] + p.cols.out(at.col)) * bases.y_row;
            let (mut x, mut y) = (bases.x.wrapping_offset(x), bases.y.wrapping_add(y));
            for (from, out) in from[done..done + n].iter_mut().zip(&mut out[done..]) {
                (*from, *out) = (x, MaybeUninit::new(y));
                (x, y) = (x.wrapping_offset(step), y.wrapping_add(out_step));
            }
            inside &= region.inside(at) && region.inside(&Pixel { col: at.col + n - 1, ..*at });
            done += n;
            at.col += n;
            if at.col == region.outputs[1].end {
                region.next_row(at);
            }
        }
        let last = (from[pixels - 1], out[pixels - 1]);
        from[pixels..].fill(last.0);
        out[pixels..].fill(last.1);
        let merged = layout.runs && inside;
        let [rows, cols] = &region.taps;
        let listed = if merged { cols.start..cols.start + 1 } else { cols.clone() };
        self.push(Reads {
            pixels,
            runs: rows.len() * listed.len(),
            taps: if merged { cols.len() } else { 1 },
            before: rows.start * p.cols.taps + cols.start,
            between: p.cols.taps - cols.len(),
            bias: region.bias,
        });
        let to = &mut self.list[start * layout.slots..][..layout.slots * mr];
        if inside {
            let mut slots = to.chunks_exact_mut(mr);
            for ky in rows.clone() {
                for (kx, to) in listed.clone().zip(&mut slots) {
                    let offset = ky as isize * down + kx as isize * across;
                    let place = |(to, from): (&mut MaybeUninit<_>, *const u8)| {
                        *to = MaybeUninit::new(from.wrapping_offset(offset));
                    };
                    // Most have eight: no loop then.
                    match <&mut [_; 8]>::try_from(&mut *to) {
                        Ok(to) => to.iter_mut().zip(from).for_each(place),
                        Err(_) => to.iter_mut().zip(from).for_each(place),
                    }
                }
            }
            return;
        }
        let mut at = first;
        for pixel in 0..mr {
            let left = p.cols.start(at.col);
            let mut slot = pixel;
            for ky in rows.clone() {
                // A position that is not below this is outside.
                let inside = if p.rows.at(at.row, ky).is_some() { p.cols.input as u64 } else { 0 };
                let mut ix = left + cols.start as i64 * p.cols.spacing;
                let mut from = from[pixel].wrapping_offset(ky as isize * down + cols.start as isize * across);
                for _ in cols.clone() {
                    let address = if (ix as u64) < inside { from } else { bases.padding };
                    to[slot] = MaybeUninit::new(address);
                    (from, ix, slot) = (from.wrapping_offset(across), ix + p.cols.spacing, slot + mr);
                }
            }
            if pixel + 1 < pixels {
                at.col += 1;
                if at.col == region.outputs[1].end {
                    region.next_row(&mut at);
                }
            }
        }
    }
}
