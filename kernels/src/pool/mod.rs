//! Pooling: the greatest element or the mean of a window, channel by channel.
//!
//! Padding never holds a value: the taps of a window are clipped to the image beforehand, row by row and column
//! by column ([`Span`]), so that a kernel walks over elements that exist.

pub mod oracle;

#[cfg(target_arch = "x86_64")]
mod avx2;
mod line;
#[cfg(target_arch = "aarch64")]
mod neon;

use cygnet_format::op::{self, PoolKind};
use cygnet_format::program::DType;

use crate::cpu::Features;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::{Mem, View};

/// Vectors of 16 bytes that a tile reads, about.
const TILE_WORK: usize = 40_000;

/// The taps of a window along one dimension, at one output position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// Input position of the first tap inside the image; 0 when there is none.
    first: usize,
    /// Taps inside the image.
    taps: usize,
    /// Taps inside the image and its padding.
    padded: usize,
}

/// One row of output pixels to compute.
struct Line<'a> {
    /// The first tap row's first input pixel.
    x: *const u8,
    /// Rows under the windows.
    rows: Span,
    /// Columns under the window of each output pixel.
    cols: &'a [Span],
    /// Bytes from one input pixel to the next.
    x_pixel: usize,
    /// Bytes from one tap to the next, down and across.
    step: [usize; 2],
    /// The first output pixel, and bytes from one to the next.
    y: *mut u8,
    y_pixel: usize,
    channels: usize,
    mean: Mean,
}

/// How a mean is made of a sum.
#[derive(Clone, Copy)]
struct Mean {
    /// Whether taps in the padding count as elements of value zero.
    padding_counts: bool,
    /// s8: real scale of the input over the output's.
    scale: f32,
    /// s8: zero points of input and output.
    x_zero: i32,
    y_zero: i32,
}

/// An implementation.
///
/// # Safety
/// All taps of the line are pixels of the input, its pixels are pixels of the output, both of `channels`
/// elements, and the processor has what the implementation needs.
type Run = unsafe fn(&Line<'_>);

struct Row {
    name: &'static str,
    kind: PoolKind,
    dtype: DType,
    needs: Features,
    /// Most taps of a window.
    taps: usize,
    run: Run,
}

macro_rules! rows {
    ($needs:expr, $isa:ident: $($f:ident $kind:ident $dtype:ident $taps:expr,)+) => {
        &[$(Row {
            name: concat!("pool_", stringify!($f), "_", stringify!($isa)),
            kind: PoolKind::$kind,
            dtype: DType::$dtype,
            needs: $needs,
            taps: $taps,
            run: $isa::$f,
        },)+]
    };
}
macro_rules! family {
    ($needs:expr, $isa:ident) => {
        rows! { $needs, $isa:
            max_f32 Max F32 usize::MAX,
            max_f16 Max F16 usize::MAX,
            max_s8 Max S8 usize::MAX,
            average_f32 Average F32 usize::MAX,
            average_f16 Average F16 usize::MAX,
            average_s8 Average S8 MAX_S8_TAPS,
        }
    };
}

/// Implementations, best first.
const TABLE: &[&[Row]] = &[
    #[cfg(target_arch = "x86_64")]
    family!(Features::AVX2, avx2),
    #[cfg(target_arch = "aarch64")]
    family!(Features::NEON, neon),
    family!(Features::NONE, generic),
];

/// Taps up to which a sum of s8 and its zero point's share fit an i32.
const MAX_S8_TAPS: usize = i32::MAX as usize / 255;

struct Pool {
    x: View,
    y: View,
    row: &'static Row,
    rows: Vec<Span>,
    cols: Vec<Span>,
    step: [usize; 2],
    mean: Mean,
    lines_per_tile: usize,
}

pub(crate) fn prepare(p: &op::Pool, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    cx.ensure(x.rank == 4 && y.rank == 4, || {
        format!("pools {:?} into {:?}; both need four dimensions [N, H, W, C]", x.dims(), y.dims())
    })?;
    cx.ensure(x.dims[0] == y.dims[0] && x.dims[3] == y.dims[3], || {
        format!("pools {:?} into {:?}; N and C must be equal", x.dims(), y.dims())
    })?;
    cx.ensure(x.dtype == y.dtype, || format!("pools {} into {}", x.dtype.name(), y.dtype.name()))?;
    let mut mean = Mean { padding_counts: p.count_include_pad, scale: p.scale, x_zero: 0, y_zero: 0 };
    if x.dtype == DType::S8 {
        match p.kind {
            PoolKind::Max => cx.ensure(x.quant == y.quant, || {
                "input and output of a maximum must have the same scale and zero point".to_owned()
            })?,
            PoolKind::Average => {
                (mean.x_zero, mean.y_zero) = (zero_point(&x, "input", cx)?, zero_point(&y, "output", cx)?);
                cx.ensure(p.scale.is_finite(), || format!("scale {} is not finite", p.scale))?;
            }
        }
    }
    let w = &p.window;
    let rows = spans(x.dims[1], y.dims[1], w.kernel[0], w.stride[0], w.dilation[0], w.pad[0], w.pad[2])
        .map_err(|e| cx.error(format!("down: {e}")))?;
    let cols = spans(x.dims[2], y.dims[2], w.kernel[1], w.stride[1], w.dilation[1], w.pad[1], w.pad[3])
        .map_err(|e| cx.error(format!("across: {e}")))?;
    let most = |spans: &[Span]| spans.iter().map(|s| s.taps).max().unwrap_or(0);
    let taps = most(&rows) * most(&cols);
    let row = TABLE
        .iter()
        .copied()
        .flatten()
        .find(|r| r.kind == p.kind && r.dtype == x.dtype && taps <= r.taps && cx.cpu().has(r.needs))
        .ok_or_else(|| {
            cx.error(format!("cannot pool windows of {taps} elements of type {}", x.dtype.name()))
        })?;

    let size = x.dtype.size();
    let pixel = x.pitch * size;
    // Where a window has two taps the dilation is less than the image; elsewhere the step is not used.
    let across = (w.dilation[1] as usize).min(x.dims[2]) * pixel;
    let down = (w.dilation[0] as usize).min(x.dims[1]) * x.dims[2] * pixel;
    let line_work =
        (taps.max(1) as u64 * cols.len() as u64).saturating_mul((x.dims[3] * size).div_ceil(16) as u64);
    let lines = y.dims[0] * rows.len();
    let grain = cx.grain(usize::try_from(line_work).unwrap_or(usize::MAX).saturating_mul(lines), TILE_WORK);
    let lines_per_tile = (grain as u64).div_ceil(line_work.max(1)).clamp(1, lines as u64) as usize;
    Ok(Box::new(Pool { x, y, row, rows, cols, step: [down, across], mean, lines_per_tile }))
}

fn zero_point(v: &View, what: &str, cx: &Context<'_>) -> Result<i32, PrepareError> {
    let q = v.quant.ok_or_else(|| cx.error(format!("the s8 {what} has no scale and zero point")))?;
    cx.ensure((-128..=127).contains(&q.zero_point), || format!("zero point {} of the {what}", q.zero_point))?;
    Ok(q.zero_point)
}

/// The taps at each of `out` output positions over `extent` input positions.
fn spans(
    extent: usize,
    out: usize,
    kernel: u32,
    stride: u32,
    dilation: u32,
    before: u32,
    after: u32,
) -> Result<Vec<Span>, String> {
    const MOST: u32 = i32::MAX as u32;
    if ![kernel, stride, dilation].iter().all(|v| (1..=MOST).contains(v)) || before > MOST || after > MOST {
        return Err(format!(
            "kernel {kernel}, stride {stride}, dilation {dilation} (1 to {MOST} allowed), padding {before} and {after}"
        ));
    }
    // Everything below is under 2^63: two factors under 2^31 each, and a few terms under 2^32.
    let (extent, stride, dilation) = (extent as i64, i64::from(stride), i64::from(dilation));
    let (kernel, before, after) = (i64::from(kernel), i64::from(before), i64::from(after));
    let last_start = (out as i64 - 1) * stride - before;
    if last_start >= extent + after {
        return Err(format!(
            "the last of {out} windows starts at {last_start}, past the input of {extent} and its padding"
        ));
    }
    // Taps of a window from `start` on that lie before `end`.
    let taps_below = |start: i64, end: i64| {
        if start >= end { 0 } else { ((end - 1 - start) / dilation + 1).min(kernel) }
    };
    Ok((0..out as i64)
        .map(|o| {
            let start = o * stride - before;
            let outside = taps_below(start, 0);
            let taps = taps_below(start, extent) - outside;
            Span {
                first: if taps > 0 { (start + outside * dilation) as usize } else { 0 },
                taps: taps as usize,
                padded: taps_below(start, extent + after) as usize,
            }
        })
        .collect())
}

// SAFETY: a tile is some rows of output pixels, the window of each clipped to the image by `spans`.
unsafe impl Kernel for Pool {
    fn name(&self) -> &'static str {
        self.row.name
    }

    fn tiles(&self) -> usize {
        (self.y.dims[0] * self.rows.len()).div_ceil(self.lines_per_tile)
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let (height, width, size) = (self.x.dims[1], self.x.dims[2], self.x.dtype.size());
        let lines = self.y.dims[0] * self.rows.len();
        let first = tile * self.lines_per_tile;
        for line in first..(first + self.lines_per_tile).min(lines) {
            let rows = self.rows[line % self.rows.len()];
            let image_row = line / self.rows.len() * height + rows.first;
            let (x_pixel, y_pixel) = (self.x.pitch * size, self.y.pitch * size);
            // SAFETY: `image_row` is a row of the input and `line` one of the output, of `cols.len()` pixels; the
            // spans hold taps inside the image only; the row's needs were met.
            unsafe {
                (self.row.run)(&Line {
                    x: self.x.ptr::<u8>(mem).add(image_row * width * x_pixel),
                    rows,
                    cols: &self.cols,
                    x_pixel,
                    step: self.step,
                    y: self.y.ptr_mut::<u8>(mem).add(line * self.cols.len() * y_pixel),
                    y_pixel,
                    channels: self.x.dims[3],
                    mean: self.mean,
                });
            }
        }
    }
}

mod generic {
    //! One element at a time.

    use half::f16;

    use super::Line;
    use super::line::{Average, AverageS8, Max, MaxS8, over_channels};
    use crate::lanes::One;

    pub(super) unsafe fn max_f32(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { over_channels::<Max<One, f32>, Max<One, f32>>(line) }
    }

    pub(super) unsafe fn max_f16(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { over_channels::<Max<One, f16>, Max<One, f16>>(line) }
    }

    pub(super) unsafe fn max_s8(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { over_channels::<MaxS8<i8>, MaxS8<i8>>(line) }
    }

    pub(super) unsafe fn average_f32(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { over_channels::<Average<One, f32>, Average<One, f32>>(line) }
    }

    pub(super) unsafe fn average_f16(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { over_channels::<Average<One, f16>, Average<One, f16>>(line) }
    }

    pub(super) unsafe fn average_s8(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { over_channels::<AverageS8<i16, One>, AverageS8<i16, One>>(line) }
    }
}
