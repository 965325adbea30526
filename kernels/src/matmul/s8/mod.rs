//! s8: both operands less their zero points are 16-bit numbers; sums in 32 bits, exact.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;

use super::{Block, KB, MB, NB};
use crate::cpu::Cpu;
use crate::simd::{Isa, LANES, V8, isa_name, per_isa};

/// Rows computed at once.
const MR: usize = 4;

/// A part of a panel of `b`: pairs of consecutive k, column by column.
type Panel = [[[i16; 2]; NB]; KB / 2];

/// As many elements of each of the rows of `a`.
type Rows = [[i16; KB]; MB];

/// `sums[i][c] += a[i][k] * panel[k / 2][c][k % 2]` for k below `pairs * 2`, a multiple of 8; i below
/// `rows`, 1 to MR.
///
/// # Safety
/// The processor has what the function needs.
type Rank = unsafe fn(a: &[[i16; KB]], pairs: usize, panel: &Panel, sums: &mut [[i32; NB]]);

/// The implementation for a processor and its name.
pub(super) fn choose(cpu: Cpu) -> (&'static str, super::Run) {
    let isa = Isa::of(cpu);
    (isa_name!(isa, "matmul_s8_4x16"), pick(isa))
}

per_isa! {
    fn pick[](block: &Block) = run
}

/// The instance of `Rank` that belongs to an instance of [`V8`].
trait Product: V8 {
    const RANK: Rank;
}

impl Product for crate::simd::Scalar {
    const RANK: Rank = generic::rank;
}

#[cfg(target_arch = "x86_64")]
impl Product for crate::simd::Avx2 {
    const RANK: Rank = avx2::rank;
}

#[cfg(target_arch = "aarch64")]
impl Product for crate::simd::Neon {
    const RANK: Rank = neon::rank;
}

#[inline(always)]
unsafe fn run<V: Product>(g: &Block) {
    let mut panel: Panel = [[[0; 2]; NB]; KB / 2];
    let mut wide: Rows = [[0; KB]; MB];
    let mut sums = [[0_i32; NB]; MB];
    for first in g.cols.clone().step_by(NB) {
        let cols = NB.min(g.cols.end - first);
        let sums = &mut sums[..g.rows.len()];
        sums.fill([0; NB]);
        for k in (0..g.k).step_by(KB) {
            let part = KB.min(g.k - k);
            // What follows the part up to a multiple of eight is zero in `a`, so that `b` may hold anything there.
            let pairs = part.next_multiple_of(8) / 2;
            // SAFETY: the part of the panel is inside `b`, the rows inside `a`; `RANK` needs what V needs.
            unsafe {
                pack(g, first, cols, k, part, &mut panel);
                if g.k > KB || first == g.cols.start {
                    for (to, row) in wide.iter_mut().zip(g.rows.clone()) {
                        let from =
                            std::slice::from_raw_parts(g.a.cast::<i8>().add(row * g.a_pitch + k), part);
                        less(from, g.zero_points[0], &mut to[..part]);
                        to[part..pairs * 2].fill(0);
                    }
                }
                for (a, sums) in wide.chunks(MR).zip(sums.chunks_mut(MR)) {
                    V::RANK(&a[..sums.len()], pairs, &panel, sums);
                }
            }
        }
        for (sums, row) in sums.iter().zip(g.rows.clone()) {
            // SAFETY: the row and columns are inside `y`.
            unsafe {
                let y = g.y.add(row * g.y_pitch + first);
                requantize::<V>(g, sums, y, cols);
            }
        }
    }
}

/// Elements less the zero point.
#[inline(always)]
fn less(from: &[i8], zero_point: i32, to: &mut [i16]) {
    for (to, &x) in to.iter_mut().zip(from) {
        *to = i16::from(x) - zero_point as i16;
    }
}

/// Packs `part` rows from k on of columns `first..first + cols`.
///
/// # Safety
/// They are inside `b`.
#[inline(always)]
unsafe fn pack(g: &Block, first: usize, cols: usize, k: usize, part: usize, panel: &mut Panel) {
    let b = g.b.cast::<i8>();
    let mut run = [0_i16; KB];
    if g.transpose_b {
        for c in 0..cols {
            // SAFETY: the caller's promise.
            let row = unsafe { std::slice::from_raw_parts(b.add((first + c) * g.b_pitch + k), part) };
            less(row, g.zero_points[1], &mut run[..part]);
            for (to, pair) in panel.iter_mut().zip(run[..part.next_multiple_of(2)].as_chunks().0) {
                to[c] = *pair;
            }
        }
    } else {
        for i in 0..part {
            // SAFETY: the caller's promise.
            let row = unsafe { std::slice::from_raw_parts(b.add((k + i) * g.b_pitch + first), cols) };
            less(row, g.zero_points[1], &mut run[..cols]);
            for (to, &v) in panel[i / 2].iter_mut().zip(&run[..cols]) {
                to[i % 2] = v;
            }
        }
    }
}

/// Requantizes the first `cols` of a row of sums.
///
/// # Safety
/// `y` is valid for `cols` elements.
#[inline(always)]
unsafe fn requantize<V: V8>(g: &Block, sums: &[i32; NB], y: *mut u8, cols: usize) {
    let zero_point = g.zero_points[2];
    let (lo, hi) = (V::splat(g.lo - zero_point as f32), V::splat(g.hi - zero_point as f32));
    let mut out = [0_u8; NB];
    for half in [0, LANES] {
        // SAFETY: both arrays have sixteen elements.
        unsafe {
            let v = V::from_i32(V::load_i32(sums.as_ptr().add(half))).mul(V::splat(g.scale));
            let q = V::iadd(hi.min(lo.max(v)).to_i32(), V::isplat(zero_point));
            V::store_low8(q, out.as_mut_ptr().add(half));
        }
    }
    // SAFETY: `y` takes `cols` elements, at most sixteen.
    unsafe { std::ptr::copy_nonoverlapping(out.as_ptr(), y, cols) };
}
