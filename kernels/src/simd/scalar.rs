//! Eight lanes in plain Rust.
//!
//! Without the instructions for them, fused products, rounding and halves take a call for each lane. Those are functions of
//! their own, and so is each unary function: spelled out in every kernel they would be most of a small binary.

use std::array::from_fn;

use half::f16;

use super::V8;
use crate::math::UnaryFn;

/// Eight f32.
#[derive(Clone, Copy)]
pub(crate) struct Scalar([f32; 8]);

type I = [i32; 8];

#[inline(always)]
fn mask(f: impl Fn(usize) -> bool) -> I {
    from_fn(|i| -i32::from(f(i)))
}

impl V8 for Scalar {
    type I = I;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for eight elements.
        Self(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(never)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: the caller vouches for eight elements.
        let bits = unsafe { p.cast::<[u16; 8]>().read_unaligned() };
        Self(bits.map(|b| f16::from_bits(b).to_f32()))
    }
    #[inline(never)]
    unsafe fn store_f16(self, p: *mut u16) {
        let bits = self.0.map(|x| f16::from_f32(x).to_bits());
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<[u16; 8]>().write_unaligned(bits) }
    }
    #[inline(always)]
    unsafe fn load_s8(p: *const i8) -> I {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<[i8; 8]>().read_unaligned() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> I {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<[u8; 8]>().read_unaligned() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn store_low8(v: I, p: *mut u8) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<[u8; 8]>().write_unaligned(v.map(|x| x as u8)) }
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> I {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<I>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_i32(v: I, p: *mut i32) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<I>().write_unaligned(v) }
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        Self(from_fn(|i| self.0[i] + o.0[i]))
    }
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        Self(from_fn(|i| self.0[i] - o.0[i]))
    }
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        Self(from_fn(|i| self.0[i] * o.0[i]))
    }
    #[inline(always)]
    fn div(self, o: Self) -> Self {
        Self(from_fn(|i| self.0[i] / o.0[i]))
    }
    #[inline(never)]
    fn fma(self, b: Self, c: Self) -> Self {
        Self(from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }
    #[inline(never)]
    fn fnma(self, b: Self, c: Self) -> Self {
        Self(from_fn(|i| (-self.0[i]).mul_add(b.0[i], c.0[i])))
    }
    #[inline(always)]
    fn min(self, o: Self) -> Self {
        Self(from_fn(|i| if self.0[i] < o.0[i] { self.0[i] } else { o.0[i] }))
    }
    #[inline(always)]
    fn max(self, o: Self) -> Self {
        Self(from_fn(|i| if self.0[i] > o.0[i] { self.0[i] } else { o.0[i] }))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }
    #[inline(never)]
    fn floor(self) -> Self {
        Self(self.0.map(f32::floor))
    }
    #[inline(never)]
    fn ceil(self) -> Self {
        Self(self.0.map(f32::ceil))
    }
    #[inline(never)]
    fn round(self) -> Self {
        Self(self.0.map(f32::round_ties_even))
    }

    #[inline(always)]
    fn lt(self, o: Self) -> I {
        mask(|i| self.0[i] < o.0[i])
    }
    #[inline(always)]
    fn le(self, o: Self) -> I {
        mask(|i| self.0[i] <= o.0[i])
    }
    #[inline(always)]
    fn eq(self, o: Self) -> I {
        mask(|i| self.0[i] == o.0[i])
    }
    #[inline(always)]
    fn select(mask: I, a: Self, b: Self) -> Self {
        Self(from_fn(|i| if mask[i] != 0 { a.0[i] } else { b.0[i] }))
    }
    #[inline(always)]
    fn any(mask: I) -> bool {
        mask.iter().any(|&m| m != 0)
    }

    #[inline(never)]
    fn to_i32(self) -> I {
        self.0.map(|x| x.round_ties_even() as i32)
    }
    #[inline(never)]
    fn unary<F: UnaryFn>(self, a: Self, b: Self) -> Self {
        F::apply(self, a, b)
    }

    #[inline(always)]
    fn from_i32(v: I) -> Self {
        Self(v.map(|x| x as f32))
    }
    #[inline(always)]
    fn to_bits(self) -> I {
        self.0.map(|x| x.to_bits().cast_signed())
    }
    #[inline(always)]
    fn from_bits(v: I) -> Self {
        Self(v.map(|x| f32::from_bits(x.cast_unsigned())))
    }

    #[inline(always)]
    fn isplat(x: i32) -> I {
        [x; 8]
    }
    #[inline(always)]
    fn iadd(a: I, b: I) -> I {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn isub(a: I, b: I) -> I {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    fn iand(a: I, b: I) -> I {
        from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn ior(a: I, b: I) -> I {
        from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn ixor(a: I, b: I) -> I {
        from_fn(|i| a[i] ^ b[i])
    }
    #[inline(always)]
    fn shl<const N: i32>(v: I) -> I {
        v.map(|x| x << N)
    }
    #[inline(always)]
    fn sar<const N: i32>(v: I) -> I {
        v.map(|x| x >> N)
    }
    #[inline(always)]
    fn ieq(a: I, b: I) -> I {
        mask(|i| a[i] == b[i])
    }
}
