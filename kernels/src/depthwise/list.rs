//! Windows of any size, stride and dilation, by lists of addresses.
//!
//! A tile is a range of output pixels. For a few of them at a time the addresses that every tap reads are written
//! down, those in the padding being that of the padding row; then each group of channels goes over these pixels, so
//! that its weights stay in registers.

use std::ops::Range;

use super::{Layer, MAX_TAPS};
use crate::kernel::{Context, Kernel};
use crate::view::Mem;

/// Addresses that are written down at a time.
const ADDRESSES: usize = MAX_TAPS;

/// Multiply-accumulates of a tile, about.
const TILE_MACS: usize = 400_000;

/// What a microkernel is told: all channels of consecutive output pixels.
pub(super) struct Run {
    pub taps: usize,
    pub pixels: usize,
    pub channels: usize,
    /// `a[pixel * taps + tap]`: the first channel that the pixel reads at the tap.
    pub a: *const *const u8,
    /// Packed weights.
    pub w: *const u8,
    /// f32 or i32, and for s8 the multipliers: as many as packed channels.
    pub bias: *const u8,
    pub multiplier: *const f32,
    /// First channel of the first pixel, and bytes from a pixel to the next.
    pub y: *mut u8,
    pub y_pitch: usize,
    /// Bounds; for s8 quantized values.
    pub lo: f32,
    pub hi: f32,
    pub zero_point: i32,
    /// Whether the products of two taps fit 16 bits together (s8).
    #[cfg_attr(
        not(target_arch = "aarch64"),
        expect(dead_code, reason = "no kernel of other instruction sets")
    )]
    pub pairs: bool,
}

/// A microkernel.
///
/// # Safety
/// Every address of `Run` is valid for all channels (s8: their number rounded up to 16 may be read); `w`, `bias` and
/// `multiplier` for the channels rounded up to [`GROUP`](super::pack::GROUP); the processor has what the kernel needs.
pub(super) type Micro = unsafe fn(&Run);

/// A prepared convolution.
pub(super) struct Listed {
    layer: Layer,
    name: &'static str,
    run: Micro,
    /// Output columns whose taps are all inside the image.
    interior: Range<usize>,
    pixels_per_tile: usize,
    /// As [`Run::pairs`].
    pairs: bool,
}

impl Listed {
    pub(super) fn new(
        cx: &Context<'_>,
        layer: Layer,
        (name, run): (&'static str, Micro),
        pairs: bool,
    ) -> Self {
        let interior = super::interior(&layer.axes[1]);
        let channels = super::pack::padded_channels(layer.y.cols());
        let (pixels, each) = (layer.y.rows(), layer.taps() * channels);
        let pixels_per_tile = cx.grain(each * pixels, TILE_MACS).div_ceil(each).clamp(1, pixels);
        Self { layer, name, run, interior, pixels_per_tile, pairs }
    }

    /// Writes down the addresses that consecutive output pixels read, from `pixel` on.
    ///
    /// # Safety
    /// `x` is the input and `padding` the padding row, where there is one.
    unsafe fn addresses(&self, mut pixel: usize, x: *const u8, padding: *const u8, mut to: &mut [*const u8]) {
        let taps = self.layer.taps();
        while !to.is_empty() {
            let (ox, row) = (pixel % self.layer.axes[1].outputs, pixel / self.layer.axes[1].outputs);
            let pixels = (to.len() / taps).min(self.layer.axes[1].outputs - ox);
            let (here, rest) = to.split_at_mut(pixels * taps);
            // SAFETY: the caller's promise.
            unsafe { self.row_addresses(row, ox, x, padding, here) };
            pixel += pixels;
            to = rest;
        }
    }

    /// The same for pixels of output row `row` (of all images') from column `first` on.
    ///
    /// # Safety
    /// As [`Self::addresses`].
    unsafe fn row_addresses(
        &self,
        row: usize,
        first: usize,
        x: *const u8,
        padding: *const u8,
        to: &mut [*const u8],
    ) {
        let [down, across] = &self.layer.axes;
        let (oy, n) = (row % down.outputs, row / down.outputs);
        let (taps, size) = (self.layer.taps(), self.layer.x.pitch * self.layer.x.dtype.size());
        let step = across.spacing as usize * size;
        for ky in 0..down.taps {
            let input = down.at(oy, ky).map(|iy| (n * down.input + iy) * across.input);
            let columns = to.chunks_exact_mut(taps).map(|to| &mut to[ky * across.taps..][..across.taps]);
            let Some(input) = input else {
                columns.for_each(|to| to.fill(padding));
                continue;
            };
            for (ox, to) in (first..).zip(columns) {
                if self.interior.contains(&ox) {
                    let at = (input + across.start(ox) as usize) * size;
                    for (kx, to) in to.iter_mut().enumerate() {
                        // SAFETY: every tap of this row is inside the image.
                        *to = unsafe { x.add(at + kx * step) };
                    }
                } else {
                    for (kx, to) in to.iter_mut().enumerate() {
                        *to = match across.at(ox, kx) {
                            // SAFETY: the tap is inside the image.
                            Some(ix) => unsafe { x.add((input + ix) * size) },
                            None => padding,
                        };
                    }
                }
            }
        }
    }
}

// SAFETY: tiles are disjoint ranges of output pixels. `prepare` proved that the axes' taps are inside the input or
// in the padding, which has a row then, and that constants hold the padded channels.
unsafe impl Kernel for Listed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tiles(&self) -> usize {
        self.layer.y.rows().div_ceil(self.pixels_per_tile)
    }

    fn macs(&self) -> u64 {
        self.layer.macs()
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let layer = &self.layer;
        let taps = layer.taps();
        let first = tile * self.pixels_per_tile;
        let end = layer.y.rows().min(first + self.pixels_per_tile);
        let y_pitch = layer.y.pitch * layer.y.dtype.size();
        let mut a = [std::ptr::null::<u8>(); ADDRESSES];
        // SAFETY: `mem` is the memory that the views were checked against.
        let at = unsafe { layer.pointers(mem) };
        let mut pixel = first;
        while pixel < end {
            let pixels = (ADDRESSES / taps).min(end - pixel);
            // SAFETY: as above.
            unsafe { self.addresses(pixel, at.x, at.padding, &mut a[..pixels * taps]) };
            let run = Run {
                taps,
                pixels,
                channels: layer.y.cols(),
                a: a.as_ptr(),
                w: at.weights,
                bias: at.bias,
                multiplier: at.multiplier,
                // SAFETY: the pixel is one of the output's.
                y: unsafe { at.y.add(pixel * y_pitch) },
                y_pitch,
                lo: layer.lo,
                hi: layer.hi,
                zero_point: layer.zero_point,
                pairs: self.pairs,
            };
            // SAFETY: the operands are as the contract says; `choose` looked at the processor.
            unsafe {
                (self.run)(&run);
                layer.finish(mem, pixel..pixel + pixels, 0..layer.y.cols());
            }
            pixel += pixels;
        }
    }
}
