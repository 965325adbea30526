//! Advanced SIMD: SMLAL by lanes, eight k at a time.

use std::arch::aarch64::*;

use super::{KB, NB, Panel};

/// # Safety
/// As [`super::Rank`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn rank(a: &[[i16; KB]], pairs: usize, panel: &Panel, sums: &mut [[i32; NB]]) {
    match sums.len() {
        1 => rows::<1>(a, pairs, panel, sums),
        2 => rows::<2>(a, pairs, panel, sums),
        3 => rows::<3>(a, pairs, panel, sums),
        _ => rows::<4>(a, pairs, panel, sums),
    }
}

#[target_feature(enable = "neon")]
fn rows<const M: usize>(a: &[[i16; KB]], pairs: usize, panel: &Panel, sums: &mut [[i32; NB]]) {
    let a = &a[..M];
    let sums = &mut sums[..M];
    let mut c = [[vdupq_n_s32(0); 4]; M];
    for i in 0..M {
        for j in 0..4 {
            // SAFETY: a row of sums has sixteen elements.
            c[i][j] = unsafe { vld1q_s32(sums[i].as_ptr().add(4 * j)) };
        }
    }
    for (k, b) in panel[..pairs].as_chunks::<4>().0.iter().enumerate() {
        let mut x = [vdupq_n_s16(0); M];
        for i in 0..M {
            // SAFETY: a row has KB elements, `pairs` is at most half as many.
            x[i] = unsafe { vld1q_s16(a[i].as_ptr().add(8 * k)) };
        }
        macro_rules! pair {
            ($($pair:literal $even:literal $odd:literal;)+) => {$(
                let p = b[$pair].as_ptr().cast::<i16>();
                // SAFETY: sixteen pairs of columns.
                let (left, right) = unsafe { (vld2q_s16(p), vld2q_s16(p.add(16))) };
                for i in 0..M {
                    let [c0, c1, c2, c3] = &mut c[i];
                    *c0 = vmlal_laneq_s16::<$even>(*c0, vget_low_s16(left.0), x[i]);
                    *c1 = vmlal_high_laneq_s16::<$even>(*c1, left.0, x[i]);
                    *c2 = vmlal_laneq_s16::<$even>(*c2, vget_low_s16(right.0), x[i]);
                    *c3 = vmlal_high_laneq_s16::<$even>(*c3, right.0, x[i]);
                    *c0 = vmlal_laneq_s16::<$odd>(*c0, vget_low_s16(left.1), x[i]);
                    *c1 = vmlal_high_laneq_s16::<$odd>(*c1, left.1, x[i]);
                    *c2 = vmlal_laneq_s16::<$odd>(*c2, vget_low_s16(right.1), x[i]);
                    *c3 = vmlal_high_laneq_s16::<$odd>(*c3, right.1, x[i]);
                }
            )+};
        }
        pair!(0 0 1; 1 2 3; 2 4 5; 3 6 7;);
    }
    for i in 0..M {
        for j in 0..4 {
            // SAFETY: as above.
            unsafe { vst1q_s32(sums[i].as_mut_ptr().add(4 * j), c[i][j]) };
        }
    }
}
