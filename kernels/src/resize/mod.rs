//! Resize: separable resampling whose coordinates and weights were computed beforehand.
//!
//! The tables are constants; `prepare` checks each index and keeps them as byte offsets, so that nothing is left
//! to check while running.

pub mod oracle;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pixel;

use cygnet_format::op::{self, ResizeKind};
use cygnet_format::program::{DType, Storage};
use half::f16;

use crate::cpu::Features;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::{Mem, View};
use pixel::{Line, Tap};

/// Vectors of 16 bytes that a tile reads, about.
const TILE_WORK: usize = 40_000;

/// The greatest magnitude of a weight: with it no sum over s8 can leave the range of f32.
const MAX_WEIGHT: f32 = 1024.0 * 1024.0;

/// The taps of one dimension.
struct Axis {
    /// Taps of each output position.
    taps: usize,
    /// `taps` for each output position.
    table: Vec<Tap>,
    /// Whether an output position lies outside the image.
    outside: Vec<bool>,
}

impl Axis {
    /// The taps at an output position; none outside the image.
    fn at(&self, i: usize) -> &[Tap] {
        if self.outside[i] { &[] } else { &self.table[i * self.taps..(i + 1) * self.taps] }
    }

    /// Reads inputs `first` (indices) and `first + 1` (weights): `out` positions over `extent`, each index worth
    /// `step` bytes.
    fn new(
        cx: &Context<'_>,
        first: usize,
        extent: usize,
        out: usize,
        step: usize,
    ) -> Result<Self, PrepareError> {
        let (indices, weights) = (cx.typed(first, DType::S32)?, cx.typed(first + 1, DType::F32)?);
        let want =
            |v: &View| v.rank == 2 && v.dims[0] == out && v.is_dense() && v.storage == Storage::Weights;
        cx.ensure(want(&indices) && want(&weights) && indices.dims == weights.dims, || {
            format!(
                "indices {:?} and weights {:?} must be dense constants of the same dimensions [{out}, taps]",
                indices.dims(),
                weights.dims()
            )
        })?;
        let taps = indices.cols();
        let words = |v: &View| cx.constant_bytes(v).as_chunks::<4>().0.to_vec();
        let (indices, weights) = (words(&indices), words(&weights));
        let mut table = Vec::with_capacity(indices.len());
        let mut outside = vec![false; out];
        for (i, (index, weight)) in indices.into_iter().zip(weights).enumerate() {
            let (index, weight) = (i32::from_le_bytes(index), f32::from_le_bytes(weight));
            cx.ensure(index >= -1 && i64::from(index) < extent as i64, || {
                format!("index {index} of output position {} is outside -1 to {}", i / taps, extent - 1)
            })?;
            cx.ensure(weight.abs() <= MAX_WEIGHT, || {
                format!("weight {weight} of output position {} is beyond {MAX_WEIGHT}", i / taps)
            })?;
            outside[i / taps] |= index < 0;
            table.push(Tap { offset: index.max(0) as usize * step, weight });
        }
        Ok(Self { taps, table, outside })
    }
}

/// An implementation: one row of output pixels.
///
/// # Safety
/// The taps are pixels of the line's image, its output pixels are the output's, both of `channels` elements, and
/// the processor has what the implementation needs.
type Run = unsafe fn(&Line<'_>);

struct Row {
    name: &'static str,
    dtype: DType,
    needs: Features,
    run: Run,
}

macro_rules! rows {
    ($needs:expr, $isa:ident) => {
        &[
            Row {
                name: concat!("resize_f32_", stringify!($isa)),
                dtype: DType::F32,
                needs: $needs,
                run: $isa::f32,
            },
            Row {
                name: concat!("resize_f16_", stringify!($isa)),
                dtype: DType::F16,
                needs: $needs,
                run: $isa::f16,
            },
            Row {
                name: concat!("resize_s8_", stringify!($isa)),
                dtype: DType::S8,
                needs: $needs,
                run: $isa::s8,
            },
        ]
    };
}

/// Implementations of weighted resizing, best first.
const TABLE: &[&[Row]] = &[
    #[cfg(target_arch = "x86_64")]
    rows!(Features::AVX512_VNNI, avx512),
    #[cfg(target_arch = "x86_64")]
    rows!(Features::AVX2, avx2),
    #[cfg(target_arch = "aarch64")]
    rows!(Features::NEON, neon),
    rows!(Features::NONE, generic),
];

/// Nearest: any element type that has an extrapolation value, by size.
fn nearest(dtype: DType) -> Option<Row> {
    let run: Run = match dtype {
        DType::S8 => pixel::nearest::<1>,
        DType::F16 => pixel::nearest::<2>,
        DType::F32 => pixel::nearest::<4>,
        _ => return None,
    };
    Some(Row { name: "resize_nearest", dtype, needs: Features::NONE, run })
}

struct Resize {
    x: View,
    y: View,
    name: &'static str,
    run: Run,
    rows: Axis,
    cols: Axis,
    /// Bits of the extrapolation value.
    outside: [u8; 4],
    lines_per_tile: usize,
}

pub(crate) fn prepare(p: &op::Resize, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    cx.ensure(x.rank == 4 && y.rank == 4 && x.dims[0] == y.dims[0] && x.dims[3] == y.dims[3], || {
        format!("resizes {:?} to {:?}; both must be [N, H, W, C] with equal N and C", x.dims(), y.dims())
    })?;
    cx.ensure(x.dtype == y.dtype && x.quant == y.quant, || {
        "input and output must have the same type, scale and zero point".to_owned()
    })?;
    let pixel = x.pitch * x.dtype.size();
    let rows = Axis::new(cx, 1, x.dims[1], y.dims[1], x.dims[2] * pixel)?;
    let cols = Axis::new(cx, 3, x.dims[2], y.dims[2], pixel)?;
    let row = match p.kind {
        ResizeKind::Nearest => {
            cx.ensure(rows.taps == 1 && cols.taps == 1, || {
                format!("nearest takes one tap a dimension, not {} and {}", rows.taps, cols.taps)
            })?;
            nearest(x.dtype)
        }
        ResizeKind::Weighted => TABLE
            .iter()
            .copied()
            .flatten()
            .find(|r| r.dtype == x.dtype && cx.cpu().has(r.needs))
            .map(|r| Row { ..*r }),
    };
    let row = row.ok_or_else(|| cx.error(format!("cannot resize {}; use f32, f16 or s8", x.dtype.name())))?;
    let outside = match x.dtype {
        DType::S8 => {
            let v = p.extrapolation;
            cx.ensure((-128.0..=127.0).contains(&v) && v.fract() == 0.0, || {
                format!("extrapolation value {v} is no quantized value: an integer of -128 to 127")
            })?;
            [v as i8 as u8, 0, 0, 0]
        }
        DType::F16 => {
            let b = f16::from_f32(p.extrapolation).to_le_bytes();
            [b[0], b[1], 0, 0]
        }
        _ => p.extrapolation.to_le_bytes(),
    };
    let line_work = (rows.taps as u64 * cols.taps as u64)
        .saturating_mul(y.dims[2] as u64)
        .saturating_mul((x.dims[3] * x.dtype.size()).div_ceil(16) as u64);
    let lines = y.dims[0] * y.dims[1];
    let grain = cx.grain(usize::try_from(line_work).unwrap_or(usize::MAX).saturating_mul(lines), TILE_WORK);
    let lines_per_tile = (grain as u64).div_ceil(line_work.max(1)).clamp(1, lines as u64) as usize;
    Ok(Box::new(Resize { x, y, name: row.name, run: row.run, rows, cols, outside, lines_per_tile }))
}

// SAFETY: a tile is some rows of output pixels; every index was checked against the image by `Axis::new`.
unsafe impl Kernel for Resize {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tiles(&self) -> usize {
        (self.y.dims[0] * self.y.dims[1]).div_ceil(self.lines_per_tile)
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let size = self.x.dtype.size();
        let image = self.x.dims[1] * self.x.dims[2] * self.x.pitch * size;
        let (height, width) = (self.y.dims[1], self.y.dims[2]);
        let y_pixel = self.y.pitch * size;
        let first = tile * self.lines_per_tile;
        for line in first..(first + self.lines_per_tile).min(self.y.dims[0] * height) {
            // SAFETY: `line / height` is an image of the input, `line` a row of `width` output pixels, and the taps are
            // rows and columns of the image; the row's needs were met.
            unsafe {
                (self.run)(&Line {
                    x: self.x.ptr::<u8>(mem).add(line / height * image),
                    rows: self.rows.at(line % height),
                    cols: &self.cols.table,
                    taps: self.cols.taps,
                    outside: &self.cols.outside,
                    value: self.outside,
                    y: self.y.ptr_mut::<u8>(mem).add(line * width * y_pixel),
                    y_pixel,
                    channels: self.x.dims[3],
                });
            }
        }
    }
}

mod generic {
    //! One element at a time.

    use super::pixel::{Line, weighted};
    use crate::lanes::One;

    pub(super) unsafe fn f32(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { weighted::<One, f32>(line) }
    }

    pub(super) unsafe fn f16(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { weighted::<One, half::f16>(line) }
    }

    pub(super) unsafe fn s8(line: &Line<'_>) {
        // SAFETY: the contract of `Run`.
        unsafe { weighted::<One, i8>(line) }
    }
}
