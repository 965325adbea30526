//! f32 and f16 on every instruction set: six rows times sixteen columns at once.
//!
//! f16 operands are widened to f32; a clamped f16 result is rounded once.

use super::{Block, KB, MB, NB};
use crate::cpu::Cpu;
use crate::simd::{Elem, Isa, LANES, V8, isa_name, load_part, per_isa, store_part};

/// Rows computed at once.
const MR: usize = 6;

/// A part of a panel of `b`, as f32.
type Panel = [[f32; NB]; KB];

/// The implementation for a processor and its name.
pub(super) fn choose<T: Elem>(cpu: Cpu) -> (&'static str, super::Run) {
    let isa = Isa::of(cpu);
    let name = if size_of::<T>() == 4 {
        isa_name!(isa, "matmul_f32_6x16")
    } else {
        isa_name!(isa, "matmul_f16_6x16")
    };
    (name, pick::<T, T, T>(isa))
}

per_isa! {
    pub(super) fn pick[A: Elem, B: Elem, Y: Elem](block: &Block) = run
}

/// Up to eight elements, zeros in the lanes beyond.
///
/// # Safety
/// `n` elements, at least one, can be read.
#[inline(always)]
unsafe fn load<V: V8, T: Elem>(p: *const T, n: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if n >= LANES { T::load::<V>(p) } else { load_part(p, n, T::default(), T::load::<V>) } }
}

#[inline(always)]
unsafe fn run<V: V8, A: Elem, B: Elem, Y: Elem>(g: &Block) {
    let mut panel: Panel = [[0.0; NB]; KB];
    let mut sums = [[0.0_f32; NB]; MB];
    let mut wide = [[0.0_f32; KB]; MR];
    for first in g.cols.clone().step_by(NB) {
        let cols = NB.min(g.cols.end - first);
        let sums = &mut sums[..g.rows.len()];
        sums.fill([0.0; NB]);
        for k in (0..g.k).step_by(KB) {
            let part = KB.min(g.k - k);
            // SAFETY: the part of the panel is inside `b`, the rows inside `a`.
            unsafe {
                if g.transpose_b {
                    pack_columns::<V, B>(g, first, cols, k, part, &mut panel);
                } else {
                    pack_rows::<V, B>(g, first, cols, k, part, &mut panel);
                }
                for (i, sums) in sums.chunks_mut(MR).enumerate() {
                    let a = g.a.cast::<A>().add((g.rows.start + i * MR) * g.a_pitch + k);
                    let (a, pitch) = if size_of::<A>() == 4 {
                        (a.cast::<f32>(), g.a_pitch)
                    } else {
                        for (row, wide) in wide[..sums.len()].iter_mut().enumerate() {
                            for (j, to) in wide[..part.next_multiple_of(LANES)]
                                .as_chunks_mut::<LANES>()
                                .0
                                .iter_mut()
                                .enumerate()
                            {
                                load::<V, A>(a.add(row * g.a_pitch + j * LANES), part - j * LANES)
                                    .store(to.as_mut_ptr());
                            }
                        }
                        (wide.as_ptr().cast(), KB)
                    };
                    match sums.len() {
                        1 => rows::<V, 1>(a, pitch, part, &panel, sums),
                        2 => rows::<V, 2>(a, pitch, part, &panel, sums),
                        3 => rows::<V, 3>(a, pitch, part, &panel, sums),
                        4 => rows::<V, 4>(a, pitch, part, &panel, sums),
                        5 => rows::<V, 5>(a, pitch, part, &panel, sums),
                        _ => rows::<V, 6>(a, pitch, part, &panel, sums),
                    }
                }
            }
        }
        for (sums, row) in sums.iter().zip(g.rows.clone()) {
            for half in (0..cols).step_by(LANES) {
                // SAFETY: the row and columns are inside `y`.
                unsafe {
                    let v = V::load(sums.as_ptr().add(half)).mul(V::splat(g.scale));
                    let v = V::splat(g.hi).min(V::splat(g.lo).max(v));
                    let y = g.y.cast::<Y>().add(row * g.y_pitch + first + half);
                    let n = cols - half;
                    if n >= LANES { Y::store(v, y) } else { store_part(v, y, n, Y::store::<V>) }
                }
            }
        }
    }
}

/// Packs `part` rows from k on of columns `first..first + cols` of `[K, N]`.
#[inline(always)]
unsafe fn pack_rows<V: V8, T: Elem>(
    g: &Block,
    first: usize,
    cols: usize,
    k: usize,
    part: usize,
    panel: &mut Panel,
) {
    for (i, to) in panel[..part].iter_mut().enumerate() {
        for half in (0..cols).step_by(LANES) {
            // SAFETY: as in `run`.
            unsafe {
                let b = g.b.cast::<T>().add((k + i) * g.b_pitch + first + half);
                load::<V, T>(b, cols - half).store(to.as_mut_ptr().add(half));
            }
        }
    }
}

/// Packs elements k..k + part of rows `first..first + cols` of `[N, K]`.
#[inline(always)]
unsafe fn pack_columns<V: V8, T: Elem>(
    g: &Block,
    first: usize,
    cols: usize,
    k: usize,
    part: usize,
    panel: &mut Panel,
) {
    for c in 0..cols {
        for i in (0..part).step_by(LANES) {
            let n = LANES.min(part - i);
            let mut run = [0.0_f32; LANES];
            // SAFETY: as in `run`.
            unsafe {
                let b = g.b.cast::<T>().add((first + c) * g.b_pitch + k + i);
                load::<V, T>(b, n).store(run.as_mut_ptr());
            }
            for (to, &v) in panel[i..i + n].iter_mut().zip(&run) {
                to[c] = v;
            }
        }
    }
}

/// `sums[i] += a[i][k] * panel[k]`, k ascending.
#[inline(always)]
unsafe fn rows<V: V8, const M: usize>(
    a: *const f32,
    pitch: usize,
    part: usize,
    panel: &Panel,
    sums: &mut [[f32; NB]],
) {
    let mut c = [[V::splat(0.0); 2]; M];
    for i in 0..M {
        // SAFETY: a row of sums has sixteen elements.
        c[i] = unsafe { [V::load(sums[i].as_ptr()), V::load(sums[i].as_ptr().add(LANES))] };
    }
    for (k, b) in panel[..part].iter().enumerate() {
        // SAFETY: M rows of `part` elements lie at `a`.
        unsafe {
            let b = [V::load(b.as_ptr()), V::load(b.as_ptr().add(LANES))];
            for i in 0..M {
                let x = V::splat(*a.add(i * pitch + k));
                c[i] = [x.fma(b[0], c[i][0]), x.fma(b[1], c[i][1])];
            }
        }
    }
    for i in 0..M {
        // SAFETY: as above.
        unsafe {
            c[i][0].store(sums[i].as_mut_ptr());
            c[i][1].store(sums[i].as_mut_ptr().add(LANES));
        }
    }
}
