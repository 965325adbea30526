//! Softmax along the last axis: several lines at once, since each is a chain of steps that wait for one another.

use crate::math::exp_neg;
use crate::simd::{Elem, LANES, V8, load_part, load_some, per_isa, reduce_lanes, store_part};

/// Lines that are done at once.
pub(super) const FOUR: usize = 4;

per_isa! {
    pub(super) wide fn pick_lines[T: Elem](x: &[*const T; FOUR], y: &[*mut T; FOUR], n: usize) = lines
}

/// The lines at `x` of `n` elements, at least one, to `y`: `e^(x - m) / s` with the maximum m and the sum s of the
/// lane tree.
///
/// # Safety
/// The lines can be read and written; each is apart from the others or the same, in `y` as it is in `x`.
#[inline(always)]
unsafe fn lines<V: V8, T: Elem>(x: &[*const T; FOUR], y: &[*mut T; FOUR], n: usize) {
    // An f32 result holds e^(x - m) until s is known; rounded ones would be of no use.
    let keep = size_of::<T>() == 4;
    let whole = n - n % V::LANES;
    let rest = n - whole;
    let mut m = [V::splat(f32::NEG_INFINITY); FOUR];
    let mut sums = [[0.0; LANES]; FOUR];
    let mut k = [V::splat(0.0); FOUR];
    // All are read before any is written: where two are the same, both give the same.
    let mut e = [V::splat(0.0); FOUR];
    // SAFETY: elements before `whole` are there for whole registers, behind it `rest` of each line.
    unsafe {
        for i in (0..whole).step_by(V::LANES) {
            for j in 0..FOUR {
                m[j] = T::load::<V>(x[j].add(i)).max(m[j]);
            }
        }
        for j in 0..FOUR {
            if rest > 0 {
                // The first again changes nothing.
                m[j] = load_part(x[j].add(whole), rest, *x[j], T::load::<V>).max(m[j]);
            }
            // Of e^(x - m) nobody sees which zero m was.
            m[j] = V::splat(m[j].greatest());
        }
        for i in (0..whole).step_by(V::LANES) {
            for j in 0..FOUR {
                e[j] = exp_neg(T::load::<V>(x[j].add(i)).sub(m[j]));
            }
            for j in 0..FOUR {
                e[j].accumulate(&mut sums[j]);
                if keep {
                    T::store(e[j], y[j].add(i));
                }
            }
        }
        if rest > 0 {
            for j in 0..FOUR {
                e[j] = exp_neg(load_part(x[j].add(whole), rest, T::default(), T::load::<V>).sub(m[j]));
            }
        }
        for j in 0..FOUR {
            if rest > 0 {
                e[j].accumulate_some(rest, &mut sums[j]);
                if keep {
                    store_part(e[j], y[j].add(whole), rest, T::store);
                }
            }
            k[j] = V::splat(1.0 / reduce_lanes(sums[j], |a, b| a + b));
        }
        for i in (0..n).step_by(V::LANES) {
            let part = V::LANES.min(n - i);
            for j in 0..FOUR {
                let from = if keep { y[j].cast_const() } else { x[j] };
                e[j] = load_some::<V, T>(from.add(i), part);
            }
            for j in 0..FOUR {
                let r = if keep { e[j] } else { exp_neg(e[j].sub(m[j])) }.mul(k[j]);
                if part == V::LANES {
                    T::store(r, y[j].add(i));
                } else {
                    store_part(r, y[j].add(i), part, T::store);
                }
            }
        }
    }
}
