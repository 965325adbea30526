//! Softmax along the last axis: several lines at once, since each is a chain of steps that wait for one another.

use crate::math::exp_neg;
use crate::simd::{Elem, LANES, V8, load_part, per_isa, reduce_lanes, store_part};

/// Lines that are done at once.
pub(super) const FOUR: usize = 4;

per_isa! {
    pub(super) wide fn pick_one[T: Elem](x: &[*const T; 1], y: &[*mut T; 1], n: usize) = one
}
per_isa! {
    pub(super) wide fn pick_four[T: Elem](x: &[*const T; FOUR], y: &[*mut T; FOUR], n: usize) = four
}

/// # Safety
/// As [`lines`].
#[inline(always)]
unsafe fn one<V: V8, T: Elem>(x: &[*const T; 1], y: &[*mut T; 1], n: usize) {
    // SAFETY: the caller's promise.
    unsafe { lines::<V, T, 1>(x, y, n) }
}

/// # Safety
/// As [`lines`].
#[inline(always)]
unsafe fn four<V: V8, T: Elem>(x: &[*const T; FOUR], y: &[*mut T; FOUR], n: usize) {
    // SAFETY: the caller's promise.
    unsafe { lines::<V, T, FOUR>(x, y, n) }
}

/// The lines at `x` of `n` elements, at least one, to `y`: `e^(x - m) / s` with the maximum m and the sum s of the
/// lane tree.
///
/// # Safety
/// The lines can be read and written; each is apart from the others, or the same in `x` and `y`.
#[inline(always)]
unsafe fn lines<V: V8, T: Elem, const N: usize>(x: &[*const T; N], y: &[*mut T; N], n: usize) {
    // An f32 result holds e^(x - m) until s is known; rounded ones would be of no use.
    let keep = size_of::<T>() == 4;
    let whole = n - n % V::LANES;
    let rest = n - whole;
    let mut m = [V::splat(f32::NEG_INFINITY); N];
    let mut sums = [[0.0; LANES]; N];
    let mut k = [V::splat(0.0); N];
    // SAFETY: elements before `whole` are there for whole registers, behind it `rest` of each line.
    unsafe {
        for i in (0..whole).step_by(V::LANES) {
            for j in 0..N {
                m[j] = T::load::<V>(x[j].add(i)).max(m[j]);
            }
        }
        for j in 0..N {
            if rest > 0 {
                // The first again changes nothing.
                m[j] = load_part(x[j].add(whole), rest, *x[j], T::load::<V>).max(m[j]);
            }
            // Of e^(x - m) nobody sees which zero m was.
            m[j] = V::splat(m[j].greatest());
        }
        for i in (0..whole).step_by(V::LANES) {
            for j in 0..N {
                let e = exp_neg(T::load::<V>(x[j].add(i)).sub(m[j]));
                e.accumulate(&mut sums[j]);
                if keep {
                    T::store(e, y[j].add(i));
                }
            }
        }
        for j in 0..N {
            if rest > 0 {
                let e = exp_neg(load_part(x[j].add(whole), rest, T::default(), T::load::<V>).sub(m[j]));
                e.accumulate_some(rest, &mut sums[j]);
                if keep {
                    store_part(e, y[j].add(whole), rest, T::store);
                }
            }
            k[j] = V::splat(1.0 / reduce_lanes(sums[j], |a, b| a + b));
        }
        for i in (0..whole).step_by(V::LANES) {
            for j in 0..N {
                let e = if keep {
                    T::load::<V>(y[j].add(i))
                } else {
                    exp_neg(T::load::<V>(x[j].add(i)).sub(m[j]))
                };
                T::store(e.mul(k[j]), y[j].add(i));
            }
        }
        if rest > 0 {
            for j in 0..N {
                let from = if keep { y[j].cast_const() } else { x[j] };
                let v = load_part(from.add(whole), rest, T::default(), T::load::<V>);
                let e = if keep { v } else { exp_neg(v.sub(m[j])) };
                store_part(e.mul(k[j]), y[j].add(whole), rest, T::store);
            }
        }
    }
}
