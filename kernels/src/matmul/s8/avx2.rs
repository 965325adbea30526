//! AVX2: VPMADDWD of pairs.

use std::arch::x86_64::*;

use super::{KB, NB, Panel};

/// # Safety
/// As [`super::Rank`]: AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn rank(a: &[[i16; KB]], pairs: usize, panel: &Panel, sums: &mut [[i32; NB]]) {
    match sums.len() {
        1 => rows::<1>(a, pairs, panel, sums),
        2 => rows::<2>(a, pairs, panel, sums),
        3 => rows::<3>(a, pairs, panel, sums),
        _ => rows::<4>(a, pairs, panel, sums),
    }
}

#[target_feature(enable = "avx2")]
fn rows<const M: usize>(a: &[[i16; KB]], pairs: usize, panel: &Panel, sums: &mut [[i32; NB]]) {
    let a = &a[..M];
    let sums = &mut sums[..M];
    let mut c = [[_mm256_setzero_si256(); 2]; M];
    for i in 0..M {
        let p = sums[i].as_ptr();
        // SAFETY: a row of sums has sixteen elements.
        c[i] = unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())] };
    }
    for (k, b) in panel[..pairs].iter().enumerate() {
        let p = b.as_ptr().cast::<i16>();
        // SAFETY: sixteen pairs of columns.
        let b = unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(16).cast())] };
        for i in 0..M {
            // SAFETY: a row has KB elements, and `pairs` is at most half as many.
            let x = unsafe { _mm256_set1_epi32(a[i].as_ptr().cast::<i32>().add(k).read_unaligned()) };
            for j in 0..2 {
                c[i][j] = _mm256_add_epi32(c[i][j], _mm256_madd_epi16(x, b[j]));
            }
        }
    }
    for i in 0..M {
        let p = sums[i].as_mut_ptr();
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_si256(p.cast(), c[i][0]);
            _mm256_storeu_si256(p.add(8).cast(), c[i][1]);
        }
    }
}
