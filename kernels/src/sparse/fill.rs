//! Copying inputs to planes and results to rows, by registers of sixteen bytes.
//!
//! Loops over arrays, since methods of arrays would be calls, and constant parameters, since closures may lack the
//! instruction set of the function that they stand in.

use super::row::{CHANNELS, STAGE, Store, Tap};
use super::zip::{Bytes, transpose8, transpose16, transpose32};

/// Inputs that a register holds.
const AT_ONCE: usize = 16;

/// Inputs of a pixel that are copied before those of the next pixels: a line of the cache.
const LINE: usize = 64;

/// Planes of four inputs of pixels, a multiple of 4; with `UNSIGNED` 128 is added to them.
///
/// # Safety
/// As [`super::row::Row`].
#[inline(always)]
pub(super) unsafe fn fours<B: Bytes, const UNSIGNED: bool>(tap: &Tap) {
    let pixels = tap.pixels;
    let plane = pixels * 4;
    for line in (0..tap.planes).step_by(LINE / 4) {
        for pixel in (0..pixels).step_by(4) {
            // SAFETY: there are `pixels` addresses, each good for the depth rounded up to 16, and room for the planes.
            unsafe {
                let from = tap.from.add(pixel);
                let to = tap.to.add(pixel * 4);
                for first in (line..tap.planes.min(line + LINE / 4)).step_by(AT_ONCE / 4) {
                    let mut rows = [B::zero(); 4];
                    for i in 0..4 {
                        let row = B::load((*from.add(i)).add(first * 4));
                        rows[i] = if UNSIGNED { row.unsigned() } else { row };
                    }
                    let rows = transpose32(rows);
                    for i in 0..4 {
                        if first + i < tap.planes {
                            rows[i].store(to.add((first + i) * plane));
                        }
                    }
                }
            }
        }
    }
}

/// Planes of two inputs of pixels, a multiple of 8; with `WIDE` in 16 bits each.
///
/// # Safety
/// As [`super::row::Row`]; `WIDE` on x86-64 where there is AVX2.
#[inline(always)]
pub(super) unsafe fn pairs<B: Bytes, const WIDE: bool>(tap: &Tap) {
    let pixels = tap.pixels;
    let pair = if WIDE { 4 } else { 2 };
    let plane = pixels * pair;
    for line in (0..tap.planes).step_by(LINE / 2) {
        for pixel in (0..pixels).step_by(8) {
            // SAFETY: as in `fours`. There may be a plane more than inputs make pairs, to fill up a group of four:
            // sixteen inputs have its bytes too.
            unsafe {
                let from = tap.from.add(pixel);
                let to = tap.to.add(pixel * pair);
                for first in (line..tap.planes.min(line + LINE / 2)).step_by(AT_ONCE / 2) {
                    let mut rows = [B::zero(); 8];
                    for i in 0..8 {
                        rows[i] = B::load((*from.add(i)).add(first * 2));
                    }
                    let rows = transpose16(rows);
                    for i in 0..8 {
                        if first + i < tap.planes {
                            let to = to.add((first + i) * plane);
                            if WIDE { rows[i].store_wide(to) } else { rows[i].store(to) }
                        }
                    }
                }
            }
        }
    }
}

/// Stores results pixel by pixel.
///
/// # Safety
/// As [`super::row::Row`].
#[inline(always)]
pub(super) unsafe fn store<B: Bytes>(s: &Store) {
    for first in (0..s.pixels).step_by(16) {
        // SAFETY: sixteen rows of results with room for a multiple of 16 pixels; channels of rows of the output.
        unsafe {
            let mut rows = [B::zero(); CHANNELS];
            for i in 0..CHANNELS {
                rows[i] = B::load(s.from.add(i * STAGE + first));
            }
            let rows = transpose8(rows);
            for i in 0..16 {
                if first + i >= s.pixels {
                    return;
                }
                let to = s.to.add((first + i) * s.pitch);
                if s.channels == CHANNELS {
                    rows[i].store(to);
                } else {
                    let mut some = [0; CHANNELS];
                    rows[i].store(some.as_mut_ptr());
                    copy_some(&some, to, s.channels);
                }
            }
        }
    }
}

/// The first `n` bytes of some, by as few copies as it takes.
///
/// # Safety
/// There is room for as many.
#[inline(always)]
unsafe fn copy_some(from: &[u8; CHANNELS], to: *mut u8, n: usize) {
    let mut at = 0;
    macro_rules! part {
        ($($ty:ty),+) => {$(
            if n & size_of::<$ty>() != 0 {
                // SAFETY: the parts of `n` are not longer than it.
                unsafe { to.add(at).cast::<$ty>().write_unaligned(from.as_ptr().add(at).cast::<$ty>().read_unaligned()) };
                at += size_of::<$ty>();
            }
        )+};
    }
    part!(u64, u32, u16, u8);
    debug_assert!(at == n);
}
