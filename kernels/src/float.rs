//! Elements of floating-point tensors: computed with as f32, rounded once when stored.

use half::f16;

/// An element type whose arithmetic is that of f32.
pub(crate) trait Float: Copy + Send + Sync + 'static {
    /// Bytes of one element.
    const SIZE: usize;

    /// Element `i` from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reads of `i + 1` elements, of any alignment.
    unsafe fn get(p: *const u8, i: usize) -> f32;

    /// Sets element `i` from `p` on, rounding to nearest even.
    ///
    /// # Safety
    /// `p` is valid for writes of `i + 1` elements, of any alignment.
    unsafe fn put(p: *mut u8, i: usize, value: f32);
}

/// IEEE binary32.
#[derive(Clone, Copy)]
pub(crate) struct Single;

/// IEEE binary16.
#[derive(Clone, Copy)]
pub(crate) struct Half;

impl Float for Single {
    const SIZE: usize = 4;

    unsafe fn get(p: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<f32>().add(i).read_unaligned() }
    }

    unsafe fn put(p: *mut u8, i: usize, value: f32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<f32>().add(i).write_unaligned(value) }
    }
}

impl Float for Half {
    const SIZE: usize = 2;

    unsafe fn get(p: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's promise.
        f16::from_bits(unsafe { p.cast::<u16>().add(i).read_unaligned() }).to_f32()
    }

    unsafe fn put(p: *mut u8, i: usize, value: f32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<u16>().add(i).write_unaligned(f16::from_f32(value).to_bits()) }
    }
}

/// `min(max(x, lo), hi)` by comparing and selecting: a NaN stays, and of equal zeros `x` stays.
#[inline]
pub(crate) fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    let x = if x < lo { lo } else { x };
    if x > hi { hi } else { x }
}
