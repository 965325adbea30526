//! Vectors of f32 that are loaded from and stored to any element type, so that a kernel is written once.
//!
//! The arithmetic is elementwise and the same on every instruction set. The functions inline into kernels that
//! are compiled for the instruction set: each kernel has an entry per instruction set around one generic body.

use half::f16;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;

/// Some f32 in a register.
///
/// # Safety
/// Every function needs a processor with the instruction set of the implementation; loads and stores need
/// `N` elements at the address, which may have any alignment.
pub(crate) trait Lanes: Copy {
    /// How many.
    const N: usize;

    unsafe fn splat(v: f32) -> Self;
    unsafe fn load_f32(p: *const f32) -> Self;
    unsafe fn load_f16(p: *const f16) -> Self;
    unsafe fn load_s8(p: *const i8) -> Self;
    /// Rounds to nearest, ties to even.
    unsafe fn load_i32(p: *const i32) -> Self;
    unsafe fn store_f32(self, p: *mut f32);
    /// Rounds to nearest, ties to even.
    unsafe fn store_f16(self, p: *mut f16);
    /// `rne(min(max(self, lo), hi)) + zero`; no lane is NaN, and the sum of bounds and `zero` is in [-128, 127].
    unsafe fn store_s8(self, p: *mut i8, lo: f32, hi: f32, zero: i32);
    unsafe fn add(self, o: Self) -> Self;
    unsafe fn mul(self, o: Self) -> Self;
    unsafe fn div(self, o: Self) -> Self;
    /// `a * b + self`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// `o > self ? o : self`.
    unsafe fn greater(self, o: Self) -> Self;
}

/// One lane: the portable implementation, and the rest of a row that is shorter than a vector.
#[derive(Clone, Copy)]
pub(crate) struct One(f32);

impl Lanes for One {
    const N: usize = 1;

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self(v)
    }
    #[inline(always)]
    unsafe fn load_f32(p: *const f32) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { p.read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { p.read_unaligned() }.to_f32())
    }
    #[inline(always)]
    unsafe fn load_s8(p: *const i8) -> Self {
        // SAFETY: the trait's contract.
        Self(f32::from(unsafe { *p }))
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { p.read_unaligned() } as f32)
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe { p.write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut f16) {
        // SAFETY: the trait's contract.
        unsafe { p.write_unaligned(f16::from_f32(self.0)) }
    }
    #[inline(always)]
    unsafe fn store_s8(self, p: *mut i8, lo: f32, hi: f32, zero: i32) {
        let v = if self.0 < lo { lo } else { self.0 };
        let v = if v > hi { hi } else { v };
        // SAFETY: the trait's contract.
        unsafe { *p = (v.round_ties_even() as i32 + zero) as i8 }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        Self(self.0 + o.0)
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        Self(self.0 * o.0)
    }
    #[inline(always)]
    unsafe fn div(self, o: Self) -> Self {
        Self(self.0 / o.0)
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Self(a.0.mul_add(b.0, self.0))
    }
    #[inline(always)]
    unsafe fn greater(self, o: Self) -> Self {
        if o.0 > self.0 { o } else { self }
    }
}

/// An element type that lanes are loaded from.
pub(crate) trait Element: Copy {
    /// # Safety
    /// As [`Lanes`].
    unsafe fn load<L: Lanes>(p: *const Self) -> L;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self) -> L {
        // SAFETY: the same contract.
        unsafe { L::load_f32(p) }
    }
}

impl Element for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self) -> L {
        // SAFETY: the same contract.
        unsafe { L::load_f16(p) }
    }
}

impl Element for i8 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self) -> L {
        // SAFETY: the same contract.
        unsafe { L::load_s8(p) }
    }
}

/// A floating-point element type: what lanes are also stored to without parameters.
pub(crate) trait Real: Element {
    /// # Safety
    /// As [`Lanes`].
    unsafe fn store<L: Lanes>(v: L, p: *mut Self);
}

impl Real for f32 {
    #[inline(always)]
    unsafe fn store<L: Lanes>(v: L, p: *mut Self) {
        // SAFETY: the same contract.
        unsafe { v.store_f32(p) }
    }
}

impl Real for f16 {
    #[inline(always)]
    unsafe fn store<L: Lanes>(v: L, p: *mut Self) {
        // SAFETY: the same contract.
        unsafe { v.store_f16(p) }
    }
}
