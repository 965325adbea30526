//! Element types in memory, parts of a vector, and the lane tree.

use super::V8;

/// Lanes of a vector, where functions do not go element by element.
pub(crate) const LANES: usize = 8;

/// The most lanes that any vector has.
pub(crate) const MAX_LANES: usize = 16;

/// An element type that is computed with as f32.
pub(crate) trait Elem: Copy + Default {
    /// Eight elements, widened.
    ///
    /// # Safety
    /// All eight can be read.
    unsafe fn load<V: V8>(p: *const Self) -> V;
    /// Eight elements, rounded.
    ///
    /// # Safety
    /// All eight can be written.
    unsafe fn store<V: V8>(v: V, p: *mut Self);
}

/// The bits of an IEEE binary16.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct F16(pub(crate) u16);

impl Elem for f32 {
    #[inline(always)]
    unsafe fn load<V: V8>(p: *const Self) -> V {
        // SAFETY: as the caller vouches.
        unsafe { V::load(p) }
    }
    #[inline(always)]
    unsafe fn store<V: V8>(v: V, p: *mut Self) {
        // SAFETY: as the caller vouches.
        unsafe { v.store(p) }
    }
}

impl Elem for F16 {
    #[inline(always)]
    unsafe fn load<V: V8>(p: *const Self) -> V {
        // SAFETY: as the caller vouches; `F16` is a transparent u16.
        unsafe { V::load_f16(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store<V: V8>(v: V, p: *mut Self) {
        // SAFETY: as the caller vouches; `F16` is a transparent u16.
        unsafe { v.store_f16(p.cast()) }
    }
}

/// The first `n` elements and `fill` in the other lanes, reading no more than the `n`.
///
/// # Safety
/// `n` elements can be read, and `n` is at most the lanes that `load` reads.
#[inline(always)]
pub(crate) unsafe fn load_part<T: Copy, R>(
    p: *const T,
    n: usize,
    fill: T,
    load: unsafe fn(*const T) -> R,
) -> R {
    let mut part = [fill; MAX_LANES];
    // SAFETY: `n` elements can be read and fit in the array, which is then loaded.
    unsafe {
        std::ptr::copy_nonoverlapping(p, part.as_mut_ptr(), n);
        load(part.as_ptr())
    }
}

/// The first `n` elements, zeros in the other lanes, reading no more than the `n`.
///
/// # Safety
/// `n` elements can be read, no more than lanes.
#[inline(always)]
pub(crate) unsafe fn load_some<V: V8, T: Elem>(p: *const T, n: usize) -> V {
    // SAFETY: as the caller vouches.
    unsafe { if n == V::LANES { T::load(p) } else { load_part(p, n, T::default(), T::load::<V>) } }
}

/// Stores the first `n` of what `store` would store.
///
/// # Safety
/// `n` elements can be written, and `n` is at most the lanes that `store` writes.
#[inline(always)]
pub(crate) unsafe fn store_part<T: Copy + Default, R>(
    v: R,
    p: *mut T,
    n: usize,
    store: unsafe fn(R, *mut T),
) {
    let mut part = [T::default(); MAX_LANES];
    // SAFETY: the array takes every lane, of which `n` are then copied.
    unsafe {
        store(v, part.as_mut_ptr());
        std::ptr::copy_nonoverlapping(part.as_ptr(), p, n);
    }
}

/// Joins eight lanes by the fixed tree: lanes 4 apart, then 2 apart, then the last two.
#[inline(always)]
pub(crate) fn reduce_lanes<T: Copy>(l: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let l = [join(l[0], l[4]), join(l[1], l[5]), join(l[2], l[6]), join(l[3], l[7])];
    let l = [join(l[0], l[2]), join(l[1], l[3])];
    join(l[0], l[1])
}
