//! Portable Rust.

use super::{KB, NB, Panel};

/// # Safety
/// None; the signature is that of [`super::Rank`].
pub(super) unsafe fn rank(a: &[[i16; KB]], pairs: usize, panel: &Panel, sums: &mut [[i32; NB]]) {
    for (a, sums) in a.iter().zip(sums) {
        for (x, b) in a.as_chunks::<2>().0.iter().zip(&panel[..pairs]) {
            for (sum, b) in sums.iter_mut().zip(b) {
                let pair = i32::from(x[0]) * i32::from(b[0]) + i32::from(x[1]) * i32::from(b[1]);
                *sum += pair;
            }
        }
    }
}
