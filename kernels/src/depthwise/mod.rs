//! Depthwise convolution: output channel c sees input channel c alone.
//!
//! A tile is a range of output pixels. For a few of them at a time the addresses that every tap reads are written
//! down, those in the padding being that of the padding row; then each group of channels goes over these pixels, so
//! that its weights stay in registers. Padding taps take part in the arithmetic as all others do.

mod float;
pub mod oracle;
pub mod pack;
mod s8;
#[cfg(test)]
mod tests;

use cygnet_format::op;
use cygnet_format::program::DType;

use crate::conv::geometry::Axis;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::map;
use crate::simd::F16;
use crate::view::{Mem, View};

/// Most taps of a window.
pub const MAX_TAPS: usize = 2048;

/// Addresses that are written down at a time.
const ADDRESSES: usize = MAX_TAPS;

/// Multiply-accumulates of a tile, about.
const TILE_MACS: usize = 400_000;

/// What a microkernel is told: all channels of consecutive output pixels.
struct Run {
    taps: usize,
    pixels: usize,
    channels: usize,
    /// `a[pixel * taps + tap]`: the first channel that the pixel reads at the tap.
    a: *const *const u8,
    /// Packed weights.
    w: *const u8,
    /// f32 or i32, and for s8 the multipliers: as many as packed channels.
    bias: *const u8,
    multiplier: *const f32,
    /// First channel of the first pixel, and bytes from a pixel to the next.
    y: *mut u8,
    y_pitch: usize,
    /// Bounds; for s8 quantized values.
    lo: f32,
    hi: f32,
    zero_point: i32,
}

/// A microkernel.
///
/// # Safety
/// Every address of `Run` is valid for all channels (s8: their number rounded up to 16 may be read); `w`, `bias` and
/// `multiplier` for the channels rounded up to [`pack::GROUP`]; the processor has what the kernel needs.
type Micro = unsafe fn(&Run);

/// What follows once a range of pixels is stored.
enum After {
    Nothing,
    Unary(map::Function),
    Table(View, map::Lookup),
}

struct Depthwise {
    name: &'static str,
    run: Micro,
    x: View,
    y: View,
    weights: View,
    bias: View,
    multiplier: Option<View>,
    padding: Option<View>,
    after: After,
    /// Down and across.
    axes: [Axis; 2],
    /// Output columns whose taps are all inside the image.
    interior: std::ops::Range<usize>,
    pixels_per_tile: usize,
    lo: f32,
    hi: f32,
    zero_point: i32,
}

pub(crate) fn prepare(p: &op::DepthwiseConv, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    let dtype = x.dtype;
    cx.ensure(y.dtype == dtype, || format!("reads {} and writes {}", dtype.name(), y.dtype.name()))?;
    cx.ensure(x.rank == 4 && y.rank == 4 && x.dims[0] == y.dims[0] && x.dims[3] == y.dims[3], || {
        format!("cannot make {:?} of {:?}; both must be [N, H, W, C] of equal N and C", y.dims(), x.dims())
    })?;
    let axis =
        |i: usize| Axis::of_window(&p.window, i, x.dims[1 + i], y.dims[1 + i]).map_err(|e| cx.error(e));
    let axes = [axis(0)?, axis(1)?];
    let taps = axes[0].taps.checked_mul(axes[1].taps).filter(|&taps| taps <= MAX_TAPS);
    let taps = taps.ok_or_else(|| {
        cx.error(format!("a window of {:?} has more than {MAX_TAPS} taps", p.window.kernel))
    })?;
    let channels = pack::padded_channels(x.dims[3]);
    let packed = taps.checked_mul(channels * dtype.size()).ok_or_else(|| cx.error("has too many weights"))?;
    let weights = cx.constant(1, DType::Packed, packed)?;
    cx.ensure(weights.offset.is_multiple_of(4), || {
        format!("packed weights lie at {}, not a multiple of 4", weights.offset)
    })?;
    let padding = if p.window.pad == [0; 4] { None } else { Some(cx.constant(4, dtype, channels)?) };
    let e = &p.epilogue;
    cx.ensure(e.lo <= e.hi, || format!("clamps to [{}, {}]", e.lo, e.hi))?;
    let (mut multiplier, mut zero_point) = (None, 0);
    let mut after = After::Nothing;
    let (name, run) = match dtype {
        DType::S8 => {
            let whole = |v: f32| v.fract() == 0.0 && (-128.0..=127.0).contains(&v);
            cx.ensure(whole(e.lo) && whole(e.hi), || {
                format!("clamps to [{}, {}]; integers in [-128, 127] are needed", e.lo, e.hi)
            })?;
            cx.ensure(e.unary == op::Unary::IDENTITY, || {
                "a function of an s8 result must be a table".into()
            })?;
            zero_point = cx.product_zero_point(5)?;
            // Two products are summed in 16 bits.
            cx.ensure(!cx.constant_bytes(&weights).contains(&0x80), || {
                "a weight is -128; s8 weights lie in [-127, 127]".into()
            })?;
            let m = cx.constant(3, DType::F32, channels)?;
            let finite = |b: &[u8; 4]| f32::from_le_bytes(*b).is_finite();
            cx.ensure(cx.constant_bytes(&m).as_chunks().0.iter().all(finite), || {
                "a multiplier is not finite".into()
            })?;
            multiplier = Some(m);
            if cx.optional(5).is_some() {
                after = After::Table(cx.constant(5, DType::S8, 256)?, map::lookup(cx.cpu()).1);
            }
            s8::choose(cx.cpu())
        }
        DType::F32 | DType::F16 => {
            cx.ensure(cx.optional(3).is_none() && cx.optional(5).is_none(), || {
                "multiplier and table belong to s8 only".into()
            })?;
            let function = map::Function::new(cx.cpu(), e.unary);
            if !function.is_identity() {
                after = After::Unary(function);
            }
            if dtype == DType::F32 { float::choose::<f32>(cx.cpu()) } else { float::choose::<F16>(cx.cpu()) }
        }
        other => return Err(cx.error(format!("input is {}; f32, f16 or s8 is needed", other.name()))),
    };
    let bias = cx.constant(2, if dtype == DType::S8 { DType::S32 } else { DType::F32 }, channels)?;
    let start = (0..y.dims[2]).find(|&ox| axes[1].inside(ox)).unwrap_or(y.dims[2]);
    let end = (start..y.dims[2]).find(|&ox| !axes[1].inside(ox)).unwrap_or(y.dims[2]);
    let pixels_per_tile = (TILE_MACS / (taps * channels)).clamp(1, y.rows());
    Ok(Box::new(Depthwise {
        name,
        run,
        x,
        y,
        weights,
        bias,
        multiplier,
        padding,
        after,
        axes,
        interior: start..end,
        pixels_per_tile,
        lo: e.lo,
        hi: e.hi,
        zero_point,
    }))
}

impl Depthwise {
    fn taps(&self) -> usize {
        self.axes[0].taps * self.axes[1].taps
    }

    /// Writes down the addresses that consecutive output pixels read, from `pixel` on.
    ///
    /// # Safety
    /// `x` is the input and `padding` the padding row, where there is one.
    unsafe fn addresses(&self, mut pixel: usize, x: *const u8, padding: *const u8, mut to: &mut [*const u8]) {
        let taps = self.taps();
        while !to.is_empty() {
            let (ox, row) = (pixel % self.axes[1].outputs, pixel / self.axes[1].outputs);
            let pixels = (to.len() / taps).min(self.axes[1].outputs - ox);
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
        let [down, across] = &self.axes;
        let (oy, n) = (row % down.outputs, row / down.outputs);
        let (taps, size) = (self.taps(), self.x.pitch * self.x.dtype.size());
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

    /// The rest of the epilogue, of `pixels` stored ones from `y` on.
    ///
    /// # Safety
    /// They belong to the output, and `mem` is the kernel's memory.
    unsafe fn finish(&self, mem: &Mem, y: *mut u8, pixels: usize) {
        let n = self.y.cols();
        for pixel in 0..pixels {
            // SAFETY: the pixel is one of the output's, of n channels; a table has 256 entries.
            unsafe {
                let y = y.add(pixel * self.y.pitch * self.y.dtype.size());
                match &self.after {
                    After::Nothing => return,
                    After::Unary(f) if self.y.dtype == DType::F32 => f.f32(y.cast(), y.cast(), n),
                    After::Unary(f) => f.f16(y.cast(), y.cast(), n),
                    After::Table(table, lookup) => lookup(y.cast(), y.cast(), n, table.ptr(mem)),
                }
            }
        }
    }
}

// SAFETY: tiles are disjoint ranges of output pixels. `prepare` proved that the axes' taps are inside the input or
// in the padding, which has a row then, and that constants hold the padded channels.
unsafe impl Kernel for Depthwise {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tiles(&self) -> usize {
        self.y.rows().div_ceil(self.pixels_per_tile)
    }

    fn macs(&self) -> u64 {
        self.y.len() as u64 * self.taps() as u64
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let taps = self.taps();
        let first = tile * self.pixels_per_tile;
        let end = self.y.rows().min(first + self.pixels_per_tile);
        let y_pitch = self.y.pitch * self.y.dtype.size();
        let mut a = [std::ptr::null::<u8>(); ADDRESSES];
        // SAFETY: `mem` is the memory that these views were checked against.
        let (x, w, bias, y, multiplier, padding) = unsafe {
            (
                self.x.ptr(mem),
                self.weights.ptr(mem),
                self.bias.ptr(mem),
                self.y.ptr_mut::<u8>(mem),
                self.multiplier.map_or(std::ptr::null(), |m| m.ptr(mem)),
                self.padding.map_or(std::ptr::null(), |p| p.ptr(mem)),
            )
        };
        let mut pixel = first;
        while pixel < end {
            let pixels = (ADDRESSES / taps).min(end - pixel);
            // SAFETY: as above.
            unsafe { self.addresses(pixel, x, padding, &mut a[..pixels * taps]) };
            // SAFETY: the pixel is one of the output's.
            let y = unsafe { y.add(pixel * y_pitch) };
            let run = Run {
                taps,
                pixels,
                channels: self.y.cols(),
                a: a.as_ptr(),
                w,
                bias,
                multiplier,
                y,
                y_pitch,
                lo: self.lo,
                hi: self.hi,
                zero_point: self.zero_point,
            };
            // SAFETY: the operands are as the contract says; `choose` looked at the processor.
            unsafe {
                (self.run)(&run);
                self.finish(mem, y, pixels);
            }
            pixel += pixels;
        }
    }
}
