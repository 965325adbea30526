//! Input of a strip, copied to scratch memory with its padding.

use std::ops::Range;

/// What to copy: a group of channels of a rectangle of pixels.
pub(super) struct Input {
    /// The first pixel that is inside the image; bytes from a row, and from a pixel, to the next.
    pub x: *const u8,
    pub row: usize,
    pub pixel: usize,
    /// The pixel outside.
    pub padding: *const u8,
    /// Which rows and columns of the rectangle are inside.
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// Rows and columns of the rectangle.
    pub extents: [usize; 2],
    /// Bytes of the group's channels in the tensor.
    pub bytes: usize,
    pub to: *mut u8,
}

/// Copies the rectangle, row by row, without gaps.
///
/// # Safety
/// At every pixel inside, and at `padding` when there are others, `bytes` rounded up to 16 may be read; `to` takes the
/// whole; the processor has what the function needs.
pub(super) type Copy = unsafe fn(&Input);

/// Groups as they are, of UNIT bytes.
///
/// # Safety
/// As [`Copy`].
pub(super) unsafe fn plain<const UNIT: usize>(input: &Input) {
    // SAFETY: the caller's promise; a patch has places of UNIT bytes.
    unsafe {
        if input.bytes > 16 {
            rectangle(input, UNIT, |from, to| to.copy_from_nonoverlapping(from, UNIT));
        } else {
            rectangle(input, UNIT, |from, to| to.copy_from_nonoverlapping(from, 16));
        }
    }
}

/// Sixteen s8 as sixteen 16-bit integers.
///
/// # Safety
/// As [`Copy`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn widened(input: &Input) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise; a patch has places of 32 bytes.
    unsafe {
        rectangle(input, 32, |from, to| {
            let v = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast()));
            _mm256_storeu_si256(to.cast(), v);
        });
    }
}

/// Up to 64 bytes as they are.
///
/// # Safety
/// As [`Copy`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn lines(input: &Input) {
    use std::arch::x86_64::*;
    let mask = u64::MAX >> (64 - input.bytes.next_multiple_of(16));
    // SAFETY: the caller's promise; a patch has places of 64 bytes.
    unsafe {
        rectangle(input, 64, |from, to| {
            let v = _mm512_maskz_loadu_epi8(mask, from.cast());
            _mm512_storeu_si512(to.cast(), v);
        });
    }
}

/// Calls `copy` with where each pixel is and where it goes.
///
/// # Safety
/// As [`Copy`], with places of `unit` bytes.
#[inline(always)]
unsafe fn rectangle(input: &Input, unit: usize, copy: impl Fn(*const u8, *mut u8)) {
    let [rows, columns] = input.extents;
    for row in 0..rows {
        // SAFETY: the caller's promise.
        unsafe {
            let to = input.to.add(row * columns * unit);
            let inside = if input.rows.contains(&row) { input.columns.clone() } else { 0..0 };
            for column in 0..inside.start {
                copy(input.padding, to.add(column * unit));
            }
            if !inside.is_empty() {
                let from = input.x.add((row - input.rows.start) * input.row);
                for i in 0..inside.len() {
                    copy(from.add(i * input.pixel), to.add((inside.start + i) * unit));
                }
            }
            for column in inside.end..columns {
                copy(input.padding, to.add(column * unit));
            }
        }
    }
}
