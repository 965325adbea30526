//! f32 and f16 by strips, on every instruction set: a vector of channels of four output columns.
//!
//! Each output takes its taps in their order; an input pixel is loaded once for each row of the window and all the
//! outputs that see it. f16 operands are widened to f32; the clamped result is rounded once.

use super::patch;
use super::strip::{Choice, Micro, Strip, Window};
use crate::cpu::Cpu;
#[cfg(target_arch = "x86_64")]
use crate::simd::Avx512;
use crate::simd::{Elem, Isa, LANES, V8, isa_name};

/// The implementation of a window for a processor and its name; portable Rust has none.
#[allow(unused_variables)]
pub(super) fn choose<T: Elem>(cpu: Cpu, window: Window) -> Option<Choice> {
    let isa = Isa::wide(cpu);
    macro_rules! named {
        ($k:literal, $s:literal) => {{
            let name = if size_of::<T>() == 4 {
                isa_name!(isa, "depthwise_f32_", $k, "x", $k, "s", $s)
            } else {
                isa_name!(isa, "depthwise_f16_", $k, "x", $k, "s", $s)
            };
            type Pair = (Micro, Micro);
            let (lanes, (run, by_table)): (_, Pair) = match isa {
                Isa::Generic => return None,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => (LANES, (avx2::<T, $k, $s, false>, avx2::<T, $k, $s, true>)),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => (Avx512::LANES, (avx512::<T, $k, $s, false>, avx512::<T, $k, $s, true>)),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => (LANES, (neon::<T, $k, $s, false>, neon::<T, $k, $s, true>)),
            };
            let unit = lanes * size_of::<T>();
            let copy = match unit {
                #[cfg(target_arch = "x86_64")]
                64 => patch::lines,
                32 => patch::plain::<32>,
                _ => patch::plain::<16> as patch::Copy,
            };
            let by_table = Some(by_table);
            Some(Choice { name, run, lanes, step: lanes, copy, unit, direct: true, by_table })
        }};
    }
    match (window.taps, window.stride) {
        (3, 1) => named!(3, 1),
        (3, _) => named!(3, 2),
        (_, 1) => named!(5, 1),
        _ => named!(5, 2),
    }
}

/// # Safety
/// As [`Micro`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<T: Elem, const K: usize, const S: usize, const TABLE: bool>(s: &Strip) {
    // SAFETY: the caller's promise.
    unsafe { run::<crate::simd::Avx2, T, K, S, TABLE>(s) }
}

/// # Safety
/// As [`Micro`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn avx512<T: Elem, const K: usize, const S: usize, const TABLE: bool>(s: &Strip) {
    // SAFETY: the caller's promise.
    unsafe { run::<Avx512, T, K, S, TABLE>(s) }
}

/// # Safety
/// As [`Micro`].
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon<T: Elem, const K: usize, const S: usize, const TABLE: bool>(s: &Strip) {
    // SAFETY: the caller's promise.
    unsafe { run::<crate::simd::Neon, T, K, S, TABLE>(s) }
}

/// All that stays the same within a strip.
struct Group<'a, V, const K: usize> {
    s: &'a Strip,
    w: [[V; K]; K],
    bias: V,
}

#[inline(always)]
unsafe fn run<V: V8, T: Elem, const K: usize, const S: usize, const TABLE: bool>(s: &Strip) {
    // SAFETY: the caller's promise: weights and biases are there for the group; every output is stepped to once, and
    // its input is there.
    unsafe {
        let mut group = Group { s, w: [[V::splat(0.0); K]; K], bias: V::load(s.bias.cast()) };
        for i in 0..K {
            for j in 0..K {
                group.w[i][j] = T::load(s.w.add((i * K + j) * s.w_tap).cast());
            }
        }
        for row in 0..s.rows {
            let x = s.x.at.add(row * S * s.x.row);
            let y = s.y.at.add(row * s.y.row);
            let mut column = 0;
            while column + 4 <= s.columns {
                pixels::<V, T, K, S, TABLE, 4>(
                    &group,
                    x.add(column * S * s.x.pixel),
                    y.add(column * s.y.pixel),
                );
                column += 4;
            }
            if column + 2 <= s.columns {
                pixels::<V, T, K, S, TABLE, 2>(
                    &group,
                    x.add(column * S * s.x.pixel),
                    y.add(column * s.y.pixel),
                );
                column += 2;
            }
            if column < s.columns {
                pixels::<V, T, K, S, TABLE, 1>(
                    &group,
                    x.add(column * S * s.x.pixel),
                    y.add(column * s.y.pixel),
                );
            }
        }
    }
}

/// P outputs of a row: `x` is under the first one's tap (0, 0).
///
/// # Safety
/// As [`Micro`].
#[inline(always)]
unsafe fn pixels<V: V8, T: Elem, const K: usize, const S: usize, const TABLE: bool, const P: usize>(
    g: &Group<'_, V, K>,
    x: *const u8,
    y: *mut u8,
) {
    let s = g.s;
    let mut sums = [g.bias; P];
    unroll!(i in 0 1 2 3 4 {
        if i < K {
            unroll!(c in 0 1 2 3 4 5 6 7 8 9 10 {
                if c < (P - 1) * S + K {
                    // SAFETY: row and column are those of the outputs' windows.
                    let v: V = unsafe {
                        let x = x.add(i * s.x.row + c * s.x.pixel);
                        let x = if TABLE { x.cast::<*const u8>().read().add(s.offset) } else { x };
                        T::load(x.cast())
                    };
                    for p in 0..P {
                        if (p * S..p * S + K).contains(&c) {
                            sums[p] = v.fma(g.w[i][c - p * S], sums[p]);
                        }
                    }
                }
            });
        }
    });
    for p in 0..P {
        let v = V::splat(s.hi).min(V::splat(s.lo).max(sums[p]));
        // SAFETY: the output takes a group.
        unsafe {
            T::store(v, y.add(p * s.y.pixel).cast::<T>());
        }
    }
}
