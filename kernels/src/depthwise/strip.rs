//! Square windows of 3 or 5 taps a side, strides 1 and 2, no dilation: a group of channels at a time over rectangles
//! of output pixels.
//!
//! A microkernel sees input whose pixels and rows are evenly spaced and which has no borders, so that neighbouring
//! outputs share what they load. Where that is so in the tensor itself it works there; rectangles at the borders, and
//! all of a narrow image, are first copied with their padding to a patch in scratch memory. Where copying would take too
//! much of the time, a table of the pixels' addresses, which all groups share, stands for the patch. Whole groups of
//! channels are read and written; where the last group is not whole, it gets a patch, and scratch memory takes its
//! results too.
//!
//! A tile is all of an image for some channels where that is little, else some of its rows for all channels.

use std::ops::Range;

use super::{Layer, Pointers, interior, patch};
use crate::conv::geometry::Axis;
use crate::kernel::{Context, Kernel};
use crate::view::Mem;

/// Multiply-accumulates of a tile, about.
const TILE_MACS: usize = 400_000;

/// Bytes of a cache line: tiles part channels at multiples of these.
const LINE: usize = 64;

/// Bytes of a patch. Scratch memory is one for inputs, one for outputs and the table where there is one.
const PATCH: usize = 24 << 10;

/// Bytes of most output columns of a patch. One row of them fits: 5 rows of (64 - 1) * 2 + 5 pixels of 32 bytes.
const PATCH_COLUMNS: usize = 64 * 32;

/// Most addresses of the table.
const TABLE: usize = 4096;

/// Columns whose taps are all inside the image from which on it is worth while to work in the tensor.
const DIRECT_COLUMNS: usize = 24;

/// Output pixels that a group of channels goes over before the next group follows, at least, of a wide image: they pay
/// for its setting up, and their input is still in the cache for the next group, whose channels share its lines.
const BLOCK_PIXELS: usize = 256;

/// Columns that microkernels do at once.
const AT_ONCE: usize = 4;

/// Taps a side and stride of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub taps: usize,
    pub stride: usize,
}

impl Window {
    /// The window of these axes, where there are microkernels for it.
    pub fn of([down, across]: &[Axis; 2]) -> Option<Self> {
        let same = (down.taps, down.step, down.spacing) == (across.taps, across.step, across.spacing);
        let known = matches!(down.taps, 3 | 5) && matches!(down.step, 1 | 2) && down.spacing == 1;
        (same && known).then_some(Self { taps: down.taps, stride: down.step as usize })
    }
}

/// Evenly spaced pixels: the first one's first channel; bytes from a row, and from a pixel, to the next.
#[derive(Clone, Copy)]
pub(super) struct Spaced<P> {
    pub at: P,
    pub row: usize,
    pub pixel: usize,
}

/// What a microkernel is told: a group of channels of a rectangle of output pixels.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    /// Input pixels, from the one under tap (0, 0) of output (0, 0) on; or, for [`Choice::by_table`], their addresses.
    pub x: Spaced<*const u8>,
    /// From a pixel's address in the table to the group.
    pub offset: usize,
    /// Output pixels.
    pub y: Spaced<*mut u8>,
    /// Output rows and columns, at least one of each.
    pub rows: usize,
    pub columns: usize,
    /// Channels, a multiple of [`Choice::step`].
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "implementations take one step"))]
    pub channels: usize,
    /// First channel of tap 0, and bytes from a tap to the next.
    pub w: *const u8,
    pub w_tap: usize,
    /// Those of the group: f32 or i32, and for s8 the multipliers.
    pub bias: *const u8,
    pub multiplier: *const f32,
    /// Bounds; for s8 quantized values.
    pub lo: f32,
    pub hi: f32,
    pub zero_point: i32,
}

/// A microkernel of a window.
///
/// # Safety
/// A whole group of channels may be read at each input pixel of the `(rows - 1) * stride + taps` by
/// `(columns - 1) * stride + taps` ones, of each tap's weights, of `bias` and `multiplier`, and written at each output
/// pixel; the processor has what the kernel needs.
pub(super) type Micro = unsafe fn(&Strip);

/// An implementation of a window.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub name: &'static str,
    pub run: Micro,
    /// Channels of a group.
    pub lanes: usize,
    /// What a group may have a multiple of, in place of all its channels.
    pub step: usize,
    /// How input gets to a patch, and the bytes of a group there.
    pub copy: patch::Copy,
    pub unit: usize,
    /// Whether `run` can do with input as it is in the tensor.
    pub direct: bool,
    /// The same by a table.
    pub by_table: Option<Micro>,
}

/// A prepared convolution.
pub(super) struct Strips {
    layer: Layer,
    choice: Choice,
    window: Window,
    /// Output rows and columns whose taps are all inside the image.
    interior: [Range<usize>; 2],
    rows_per_tile: usize,
    channels_per_tile: usize,
}

/// `whole` in equal parts of at most `most`, or a little more for `step` to divide it: the length of a part.
fn part(whole: usize, most: usize, step: usize) -> usize {
    whole.div_ceil(whole.div_ceil(most)).next_multiple_of(step)
}

impl Strips {
    pub fn new(cx: &Context<'_>, layer: Layer, window: Window, choice: Choice) -> Self {
        let (rows, columns) = (layer.axes[0].outputs, layer.axes[1].outputs);
        let channels = layer.y.cols();
        let line = LINE / layer.y.dtype.size();
        let of_line = rows * columns * layer.taps() * line;
        let of_row = columns * layer.taps() * channels;
        let grain = cx.grain(of_row * rows, TILE_MACS);
        // By rows where there are enough, as convolutions are: then a thread's share is the same part of the image. Their
        // tiles share rows of input, so that few rows a tile would be read too often; channels share none.
        let by_rows = (grain / of_row).max(2 * window.taps);
        let (rows_per_tile, channels_per_tile) = if of_line * channels.div_ceil(line) <= grain {
            (rows, channels)
        } else if rows >= by_rows * cx.threads() {
            // As many for each thread.
            let tiles = rows.div_ceil(by_rows) / cx.threads() * cx.threads();
            (rows.div_ceil(tiles), channels)
        } else {
            (rows, part(channels, (grain / of_line).max(1) * line, line))
        };
        let interior = [interior(&layer.axes[0]), interior(&layer.axes[1])];
        Self { layer, choice, window, interior, rows_per_tile, channels_per_tile }
    }

    /// Tiles of an image down and across its channels.
    fn parts(&self) -> [usize; 2] {
        [
            self.layer.axes[0].outputs.div_ceil(self.rows_per_tile),
            self.layer.y.cols().div_ceil(self.channels_per_tile),
        ]
    }

    /// Columns to work on in the tensor itself: those inside the image, from a multiple of [`AT_ONCE`] to another.
    fn direct(&self) -> Option<Range<usize>> {
        let inside = &self.interior[1];
        let range = inside.start.next_multiple_of(AT_ONCE)..inside.end / AT_ONCE * AT_ONCE;
        (self.choice.direct && range.len() >= DIRECT_COLUMNS).then_some(range)
    }

    /// Output rows `rows` of an image, for the group of channels from `first` on, `n` of them.
    ///
    /// # Safety
    /// `work` has the layer's operands and scratch memory.
    unsafe fn group(&self, work: &Work, rows: Range<usize>, first: usize, n: usize) {
        let all = 0..self.layer.axes[1].outputs;
        let size = self.layer.x.dtype.size();
        let Some(columns) = self.direct().filter(|_| self.is_whole(n)) else {
            // SAFETY: the caller's promise.
            unsafe {
                match self.choice.by_table {
                    Some(run) if self.is_whole(n) && self.tabled() => {
                        let row = self.table_columns() * size_of::<*const u8>();
                        let x =
                            Spaced { at: work.table.cast_const().cast(), row, pixel: size_of::<*const u8>() };
                        let y = self.outputs(work, rows.start, 0, first);
                        run(&self.strip(work, [rows.len(), all.len()], first, n, x, y));
                    }
                    _ => self.patched(work, rows, all, first, n),
                }
            }
            return;
        };
        let start = self.interior[0].start.clamp(rows.start, rows.end);
        let end = self.interior[0].end.clamp(start, rows.end);
        // SAFETY: the caller's promise; the taps of `start..end` by `columns` are inside the image.
        unsafe {
            self.patched(work, rows.start..start, all.clone(), first, n);
            self.patched(work, start..end, 0..columns.start, first, n);
            if start < end {
                let [down, across] = &self.layer.axes;
                let pixel = self.layer.x.pitch * size;
                let (iy, ix) = (down.start(start) as usize, across.start(columns.start) as usize);
                let from = ((work.image * down.input + iy) * across.input + ix) * pixel;
                let x = Spaced { at: work.at.x.add(from + first * size), row: across.input * pixel, pixel };
                let y = self.outputs(work, start, columns.start, first);
                (self.choice.run)(&self.strip(work, [end - start, columns.len()], first, n, x, y));
            }
            self.patched(work, start..end, columns.end..all.end, first, n);
            self.patched(work, end..rows.end, all, first, n);
        }
    }

    /// A rectangle of outputs, its input copied first.
    ///
    /// # Safety
    /// As [`Self::group`]; the rectangle is in the image.
    unsafe fn patched(&self, work: &Work, rows: Range<usize>, columns: Range<usize>, first: usize, n: usize) {
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        let (size, unit) = (self.layer.x.dtype.size(), self.choice.unit);
        let Window { taps, stride } = self.window;
        let most = (PATCH_COLUMNS / unit).min(64);
        for left in columns.clone().step_by(most) {
            let columns = left..columns.end.min(left + most);
            let across = (columns.len() - 1) * stride + taps;
            let most = (PATCH / (across * unit) - taps) / stride + 1;
            for top in rows.clone().step_by(most) {
                let rows = top..rows.end.min(top + most);
                let down = (rows.len() - 1) * stride + taps;
                // SAFETY: `most` is such that the patch fits; then all its pixels are there.
                // Outputs are not more than inputs, so that theirs fits too.
                unsafe {
                    self.copy(work, [top, left], [down, across], first, n);
                    let x = Spaced { at: work.patch.cast_const(), row: across * unit, pixel: unit };
                    let y = self.outputs(work, top, left, first);
                    let extents = [rows.len(), columns.len()];
                    if self.is_whole(n) {
                        (self.choice.run)(&self.strip(work, extents, first, n, x, y));
                        continue;
                    }
                    let whole = Spaced { at: work.patch.add(PATCH), row: columns.len() * unit, pixel: unit };
                    let more = n.next_multiple_of(self.choice.step);
                    (self.choice.run)(&self.strip(work, extents, first, more, x, whole));
                    for (row, column) in (0..extents[0]).flat_map(|i| (0..extents[1]).map(move |j| (i, j))) {
                        let from = whole.at.add(row * whole.row + column * unit);
                        let to = y.at.add(row * y.row + column * y.pixel);
                        std::ptr::copy_nonoverlapping(from, to, n * size);
                    }
                }
            }
        }
    }

    /// Copies `extents` input pixels from under tap (0, 0) of output `from` to the patch, the padding row's for those
    /// outside the image.
    ///
    /// # Safety
    /// As [`Self::group`], and the patch takes that many groups.
    unsafe fn copy(&self, work: &Work, from: [usize; 2], extents: [usize; 2], first: usize, n: usize) {
        let x = &self.layer.x;
        let size = x.dtype.size();
        let pixel = x.pitch * size;
        let row = self.layer.axes[1].input * pixel;
        // What of the patch is inside the image, and where that starts there.
        let mut inside = [const { 0..0 }; 2];
        let mut start = [0; 2];
        for i in 0..2 {
            let (axis, extent) = (&self.layer.axes[i], extents[i] as i64);
            let at = axis.start(from[i]);
            let begin = (-at).clamp(0, extent);
            inside[i] = begin as usize..(axis.input as i64 - at).clamp(begin, extent) as usize;
            start[i] = (at + begin).max(0) as usize;
        }
        let first_row = work.image * self.layer.axes[0].input + start[0];
        // SAFETY: the pixels inside are the tensor's, and there is a padding row when there are others.
        unsafe {
            (self.choice.copy)(&patch::Input {
                x: work.at.x.wrapping_add(first_row * row + start[1] * pixel + first * size),
                row,
                pixel,
                padding: work.at.padding.wrapping_add(first * size),
                rows: inside[0].clone(),
                columns: inside[1].clone(),
                extents,
                bytes: n * size,
                to: work.patch,
            });
        }
    }

    /// Where output (`row`, `column`) is, from channel `first` on.
    ///
    /// # Safety
    /// As [`Self::group`].
    unsafe fn outputs(&self, work: &Work, row: usize, column: usize, first: usize) -> Spaced<*mut u8> {
        let (y, size) = (&self.layer.y, self.layer.y.dtype.size());
        let [height, width] = [self.layer.axes[0].outputs, self.layer.axes[1].outputs];
        let pixel = y.pitch * size;
        let from = ((work.image * height + row) * width + column) * pixel + first * size;
        // SAFETY: the output is in the tensor.
        Spaced { at: unsafe { work.at.y.add(from) }, row: width * pixel, pixel }
    }

    /// What to tell a microkernel of a rectangle of outputs.
    ///
    /// # Safety
    /// As [`Self::group`].
    unsafe fn strip(
        &self,
        work: &Work,
        [rows, columns]: [usize; 2],
        first: usize,
        channels: usize,
        x: Spaced<*const u8>,
        y: Spaced<*mut u8>,
    ) -> Strip {
        let size = self.layer.y.dtype.size();
        Strip {
            x,
            offset: first * size,
            y,
            rows,
            columns,
            channels,
            // SAFETY: the group has weights and biases, these of four bytes a channel.
            w: unsafe { work.at.weights.add(first * size) },
            w_tap: super::pack::padded_channels(self.layer.y.cols()) * size,
            // SAFETY: as above.
            bias: unsafe { work.at.bias.add(first * 4) },
            multiplier: work.at.multiplier.wrapping_add(first),
            lo: self.layer.lo,
            hi: self.layer.hi,
            zero_point: self.layer.zero_point,
        }
    }

    /// Whether microkernels can do a group of `n` channels as it is.
    fn is_whole(&self, n: usize) -> bool {
        n.is_multiple_of(self.choice.step)
    }

    /// Whether whole groups go by the table.
    fn tabled(&self) -> bool {
        self.choice.by_table.is_some()
            && self.direct().is_none()
            && self.table_columns() * self.window.taps <= TABLE
    }

    /// Input columns under a row of outputs.
    fn table_columns(&self) -> usize {
        (self.layer.axes[1].outputs - 1) * self.window.stride + self.window.taps
    }

    /// Writes down the addresses of all pixels that output rows `rows` see.
    ///
    /// # Safety
    /// As [`Self::group`]; the table takes them.
    unsafe fn write_table(&self, work: &Work, rows: &Range<usize>) {
        let [down, across] = &self.layer.axes;
        let (columns, pixel) = (self.table_columns(), self.layer.x.pitch * self.layer.x.dtype.size());
        let (iy, ix) = (down.start(rows.start), across.start(0));
        for row in 0..(rows.len() - 1) * self.window.stride + self.window.taps {
            let iy = iy + row as i64;
            let inside = (0..down.input as i64).contains(&iy);
            for column in 0..columns {
                let ix = ix + column as i64;
                // SAFETY: the pixel is the tensor's, or there is a padding row.
                unsafe {
                    let address = if inside && (0..across.input as i64).contains(&ix) {
                        let at = (work.image * down.input + iy as usize) * across.input + ix as usize;
                        work.at.x.add(at * pixel)
                    } else {
                        work.at.padding
                    };
                    work.table.add(row * columns + column).write(address);
                }
            }
        }
    }
}

/// What does not change within a tile.
struct Work {
    at: Pointers,
    /// Scratch memory: a patch for inputs and one for outputs.
    patch: *mut u8,
    table: *mut *const u8,
    image: usize,
}

// SAFETY: tiles are disjoint: rows of an image by ranges of channels. `prepare` proved that taps are inside the input or
// in the padding, which has a row then, and that constants hold the padded channels. A group is read beyond the channels
// only up to a multiple of 16 bytes of the pixel.
unsafe impl Kernel for Strips {
    fn name(&self) -> &'static str {
        self.choice.name
    }

    fn tiles(&self) -> usize {
        let [down, channels] = self.parts();
        self.layer.y.dims[0] * down * channels
    }

    fn macs(&self) -> u64 {
        self.layer.macs()
    }

    fn scratch(&self) -> usize {
        2 * PATCH + if self.tabled() { TABLE * size_of::<*const u8>() } else { 0 }
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let [down, across] = self.parts();
        let (height, width) = (self.layer.axes[0].outputs, self.layer.axes[1].outputs);
        let top = tile / across % down * self.rows_per_tile;
        let first = tile % across * self.channels_per_tile;
        let channels = first..self.layer.y.cols().min(first + self.channels_per_tile);
        let bottom = height.min(top + self.rows_per_tile);
        let group = self.choice.lanes;
        let tabled = self.tabled();
        let block = if self.direct().is_some() {
            BLOCK_PIXELS.div_ceil(width)
        } else if tabled {
            (TABLE / self.table_columns() - self.window.taps) / self.window.stride + 1
        } else {
            bottom - top
        };
        // SAFETY: `mem` is the memory that the views were checked against, and has the scratch asked for; `block` rows
        // have no more addresses than the table takes.
        unsafe {
            let work = Work {
                at: self.layer.pointers(mem),
                patch: mem.scratch,
                table: mem.scratch.add(2 * PATCH).cast(),
                image: tile / across / down,
            };
            for top in (top..bottom).step_by(block) {
                let rows = top..bottom.min(top + block);
                if tabled {
                    self.write_table(&work, &rows);
                }
                for first in channels.clone().step_by(group) {
                    self.group(&work, rows.clone(), first, group.min(channels.end - first));
                }
                let row = work.image * height;
                let pixels = (row + rows.start) * width..(row + rows.end) * width;
                self.layer.finish(mem, pixels, channels.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_whole_evenly() {
        assert_eq!(part(112, 12, 1), 12);
        assert_eq!(part(112, 50, 1), 38);
        assert_eq!(part(960, 896, 64), 512);
        assert_eq!(part(10, 64, 64), 64);
    }
}
