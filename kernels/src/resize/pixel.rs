//! The body of every resize kernel: a row of output pixels.

use half::f16;

use crate::copy::run::copy_run;
use crate::lanes::{Element, Lanes, One, Real};

/// One tap of a dimension: bytes from the start of the image (rows) or of a row (columns), and the weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tap {
    pub offset: usize,
    pub weight: f32,
}

/// One row of output pixels to compute.
pub(super) struct Line<'a> {
    /// The image.
    pub x: *const u8,
    /// Tap rows; none when the whole line lies outside the image.
    pub rows: &'a [Tap],
    /// Tap columns, `taps` for each output pixel.
    pub cols: &'a [Tap],
    pub taps: usize,
    /// Whether an output pixel lies outside the image.
    pub outside: &'a [bool],
    /// Bits of an element outside.
    pub value: [u8; 4],
    /// The first output pixel, and bytes from one to the next.
    pub y: *mut u8,
    pub y_pixel: usize,
    pub channels: usize,
}

/// Copies pixels of elements of `SIZE` bytes.
///
/// # Safety
/// The contract of [`super::Run`].
pub(super) unsafe fn nearest<const SIZE: usize>(line: &Line<'_>) {
    for (ox, col) in line.cols.iter().enumerate() {
        // SAFETY: the output pixel and the tap are pixels (the contract of `Run`).
        unsafe {
            let y = line.y.add(ox * line.y_pixel);
            match line.rows.first() {
                Some(row) if !line.outside[ox] => {
                    copy_run(line.x.add(row.offset + col.offset), y, line.channels * SIZE);
                }
                _ => set::<SIZE>(line, y),
            }
        }
    }
}

/// Sets an output pixel to the value outside.
///
/// # Safety
/// `y` is an output pixel.
unsafe fn set<const SIZE: usize>(line: &Line<'_>, y: *mut u8) {
    // SAFETY: `channels` elements of `SIZE` bytes belong to the pixel.
    let pixel = unsafe { std::slice::from_raw_parts_mut(y, line.channels * SIZE) };
    for e in pixel.as_chunks_mut::<SIZE>().0 {
        e.copy_from_slice(&line.value[..SIZE]);
    }
}

/// An element type that results are stored to.
pub(super) trait Stored: Element {
    /// # Safety
    /// As [`Lanes`].
    unsafe fn put<L: Lanes>(v: L, p: *mut Self);
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn put<L: Lanes>(v: L, p: *mut Self) {
        // SAFETY: the same contract.
        unsafe { Self::store(v, p) }
    }
}

impl Stored for f16 {
    #[inline(always)]
    unsafe fn put<L: Lanes>(v: L, p: *mut Self) {
        // SAFETY: the same contract.
        unsafe { Self::store(v, p) }
    }
}

impl Stored for i8 {
    #[inline(always)]
    unsafe fn put<L: Lanes>(v: L, p: *mut Self) {
        // SAFETY: the same contract; weights are bounded, so no lane is NaN.
        unsafe { v.store_s8(p, -128.0, 127.0, 0) }
    }
}

/// Mixes pixels.
///
/// # Safety
/// The contract of [`super::Run`].
#[inline(always)]
pub(super) unsafe fn weighted<L: Lanes, E: Stored>(line: &Line<'_>) {
    // SAFETY: the same contract; the sizes are those of the slices.
    unsafe {
        match (line.rows.len(), line.taps) {
            // Bilinear: fully unrolled.
            (2, 2) => taps::<L, E, 2>(line),
            _ => taps::<L, E, 0>(line),
        }
    }
}

/// [`weighted`] with `TAPS` by `TAPS` taps, or any number when it is 0.
///
/// # Safety
/// The contract of [`super::Run`]; `TAPS` is 0 or the number of tap rows and of tap columns.
#[inline(always)]
unsafe fn taps<L: Lanes, E: Stored, const TAPS: usize>(line: &Line<'_>) {
    let rows = if TAPS > 0 { &line.rows[..TAPS] } else { line.rows };
    let width = if TAPS > 0 { TAPS } else { line.taps };
    let size = size_of::<E>();
    for (ox, cols) in line.cols.chunks_exact(width).enumerate() {
        // SAFETY: the output pixel and every pair of taps are pixels of `channels` elements (the contract of `Run`),
        // and `c + N * VECTORS` never passes `channels`.
        unsafe {
            let y = line.y.add(ox * line.y_pixel);
            if rows.is_empty() || line.outside[ox] {
                match size {
                    1 => set::<1>(line, y),
                    2 => set::<2>(line, y),
                    _ => set::<4>(line, y),
                }
                continue;
            }
            let mut c = 0;
            while c + 2 * L::N <= line.channels {
                mix::<L, E, 2>(line.x.add(c * size), rows, cols, y.add(c * size));
                c += 2 * L::N;
            }
            while c + L::N <= line.channels {
                mix::<L, E, 1>(line.x.add(c * size), rows, cols, y.add(c * size));
                c += L::N;
            }
            if c < line.channels && line.channels >= L::N {
                // The last vector overlaps the one before, and stores the same again.
                c = line.channels - L::N;
                mix::<L, E, 1>(line.x.add(c * size), rows, cols, y.add(c * size));
                c = line.channels;
            }
            while c < line.channels {
                mix::<One, E, 1>(line.x.add(c * size), rows, cols, y.add(c * size));
                c += 1;
            }
        }
    }
}

/// `VECTORS` vectors of channels of one output pixel: `h` sums the columns of a tap row, `v` the rows, in ascending
/// order by fused multiply-add from zero.
///
/// # Safety
/// So many channels can be read at every pair of taps from `x` on and written to `y`.
#[inline(always)]
unsafe fn mix<L: Lanes, E: Stored, const VECTORS: usize>(
    x: *const u8,
    rows: &[Tap],
    cols: &[Tap],
    y: *mut u8,
) {
    // SAFETY: the function's contract.
    unsafe {
        let zero = L::splat(0.0);
        let mut v = [zero; VECTORS];
        for row in rows {
            let mut h = [zero; VECTORS];
            for col in cols {
                let tap = x.add(row.offset + col.offset).cast::<E>();
                for (i, h) in h.iter_mut().enumerate() {
                    *h = h.fma(L::splat(col.weight), E::load(tap.add(i * L::N)));
                }
            }
            for (v, h) in v.iter_mut().zip(h) {
                *v = v.fma(L::splat(row.weight), h);
            }
        }
        for (i, v) in v.into_iter().enumerate() {
            E::put(v, y.cast::<E>().add(i * L::N));
        }
    }
}
