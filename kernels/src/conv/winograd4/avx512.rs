//! AVX-512: the inner product by the loops of `conv/avx512.rs`.

use std::arch::x86_64::*;

use super::{Matrices, plan::Unit};
use crate::conv::avx512::{self, Fma, LANES, MR, MR_3, Run, Sums};
use crate::conv::micro::{NR, Row};

/// Tiles and channels multiplied at once.
pub(super) const UNIT: Unit = Unit { tiles: MR, channels: 2 * LANES };

/// M tiles from `tile` on times P pairs of panels from channel `first` on; so many blocks have been before.
///
/// # Safety
/// As [`multiply`]; each pair's first panel is there.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
unsafe fn block<const M: usize, const P: usize>(a: &Matrices, first: usize, tile: usize, before: usize) {
    let mut sums: Sums<M, P> = [[_mm512_setzero_si512(); P]; M];
    // SAFETY: the elements that the structure describes.
    unsafe {
        let mut w = [[std::ptr::null(); 2]; P];
        for p in 0..P {
            let panel = first / NR + 2 * p;
            let from = a.weights.add(panel * NR * a.depth);
            // In place of a panel that is not there the first one again.
            let second = if panel + 1 < a.panels { from.add(NR * a.depth) } else { from };
            w[p] = [from.cast(), second.cast()];
        }
        let run = Run {
            a: a.inputs.add(tile * a.row).cast(),
            stride: 4 * a.row,
            w,
            units: a.depth,
            // A run for each block.
            ahead: if before < a.ahead.runs {
                a.ahead.from.wrapping_add(before * a.ahead.apart).cast()
            } else {
                w[0][0]
            },
        };
        avx512::multiply::<Fma, M, P>(&mut sums, &run);
        for i in 0..M {
            let to = a.sums.add((tile + i) * a.pitch + first);
            for p in 0..P {
                _mm512_storeu_si512(to.add(p * LANES).cast(), sums[i][p]);
            }
        }
    }
}

/// All tiles times P pairs of panels from channel `first` on, at most MR at a time; counts the blocks.
///
/// # Safety
/// As [`block`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
unsafe fn columns<const MR: usize, const P: usize>(a: &Matrices, first: usize, blocks: &mut usize) {
    let mut tile = 0;
    while tile < a.tiles {
        let count = avx512::next(a.tiles - tile, MR);
        // SAFETY: the caller's promise.
        unsafe {
            match count {
                1 => block::<1, P>(a, first, tile, *blocks),
                2 => block::<2, P>(a, first, tile, *blocks),
                3 => block::<3, P>(a, first, tile, *blocks),
                4 => block::<4, P>(a, first, tile, *blocks),
                5 => block::<5, P>(a, first, tile, *blocks),
                6 => block::<6, P>(a, first, tile, *blocks),
                7 => block::<7, P>(a, first, tile, *blocks),
                8 => block::<8, P>(a, first, tile, *blocks),
                _ => block::<MR, P>(a, first, tile, *blocks),
            }
        }
        tile += count;
        *blocks += 1;
    }
}

/// # Safety
/// The addresses are valid for what the structure says; the processor has AVX-512 and VNNI.
pub(super) unsafe fn multiply(_: &Row, a: &Matrices) {
    // SAFETY: the caller's promise.
    unsafe { panels(a) }
}

/// # Safety
/// As [`multiply`].
#[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
unsafe fn panels(a: &Matrices) {
    let (mut first, mut blocks) = (0, 0);
    while first < a.panels * NR {
        let pairs = (a.panels * NR - first).div_ceil(LANES);
        // SAFETY: the caller's promise; the pairs hold channels that count.
        unsafe {
            match pairs {
                1 => columns::<MR, 1>(a, first, &mut blocks),
                // In place of two, of which the second would have one register alone.
                3 => columns::<MR_3, 3>(a, first, &mut blocks),
                _ => columns::<MR, 2>(a, first, &mut blocks),
            }
        }
        first += if pairs == 3 { 3 } else { 2 } * LANES;
    }
}
