//! Eight lanes in two 128-bit registers: Advanced SIMD.

use std::arch::aarch64::*;

use super::V8;

/// 2^23: from here to twice as much, f32 are the integers, and their bits count up with them.
const INTEGERS: f32 = 8_388_608.0;

/// Eight f32.
#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t, float32x4_t);

/// Eight i32.
#[derive(Clone, Copy)]
pub(crate) struct Int(int32x4_t, int32x4_t);

/// A method that does the same to both halves of its vector arguments.
macro_rules! halves {
    ($(fn $name:ident $([const $n:ident])? ($($arg:ident: $ty:ty),+) -> $ret:ident = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name $(<const $n: i32>)? ($($arg: $ty),+) -> $ret {
            // SAFETY: every aarch64 processor that this crate runs on has Advanced SIMD.
            unsafe {
                $ret({ $(let $arg = $arg.0;)+ $body }, { $(let $arg = $arg.1;)+ $body })
            }
        }
    )+};
}

/// The same for methods of `self`.
macro_rules! vop {
    ($(fn $name:ident($x:ident $(, $arg:ident)*) -> $ret:ident = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name(self $(, $arg: Self)*) -> $ret {
            // SAFETY: every aarch64 processor that this crate runs on has Advanced SIMD.
            unsafe {
                $ret(
                    { let $x = self.0; $(let $arg = $arg.0;)* $body },
                    { let $x = self.1; $(let $arg = $arg.1;)* $body },
                )
            }
        }
    )+};
}

/// Bytes less `zero`: put into the lowest bits of [`INTEGERS`], which makes them f32 without a conversion.
///
/// # Safety
/// None: every aarch64 processor that this crate runs on has Advanced SIMD.
#[inline(always)]
unsafe fn bytes_less(bytes: uint8x8_t, zero: Int) -> Neon {
    // SAFETY: as above.
    unsafe {
        let words = vzip1q_u8(vcombine_u8(bytes, vdup_n_u8(0)), vdupq_n_u8(0));
        let words = vreinterpretq_u16_u8(words);
        let upper = vdupq_n_u16((INTEGERS.to_bits() >> 16) as u16);
        let from = vdupq_n_f32(INTEGERS);
        let less = |v, zero| vsubq_f32(vreinterpretq_f32_u16(v), vaddq_f32(from, vcvtq_f32_s32(zero)));
        Neon(less(vzip1q_u16(words, upper), zero.0), less(vzip2q_u16(words, upper), zero.1))
    }
}

impl V8 for Neon {
    type I = Int;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for eight elements.
        unsafe { Self(vld1q_f32(p), vld1q_f32(p.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            vst1q_f32(p, self.0);
            vst1q_f32(p.add(4), self.1);
        }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            let h = vreinterpretq_f16_u16(vld1q_u16(p));
            Self(vcvt_f32_f16(vget_low_f16(h)), vcvt_f32_f16(vget_high_f16(h)))
        }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16) {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            let h = vcombine_f16(vcvt_f16_f32(self.0), vcvt_f16_f32(self.1));
            vst1q_u16(p, vreinterpretq_u16_f16(h));
        }
    }
    #[inline(always)]
    fn greatest(self) -> f32 {
        // SAFETY: every aarch64 processor that this crate runs on has Advanced SIMD.
        unsafe { vmaxvq_f32(vmaxq_f32(self.0, self.1)) }
    }
    #[inline(always)]
    unsafe fn load_s8(p: *const i8) -> Int {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            let h = vmovl_s8(vld1_s8(p));
            Int(vmovl_s16(vget_low_s16(h)), vmovl_s16(vget_high_s16(h)))
        }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> Int {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            let h = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p)));
            Int(vmovl_s16(vget_low_s16(h)), vmovl_s16(vget_high_s16(h)))
        }
    }
    #[inline(always)]
    unsafe fn store_low8(v: Int, p: *mut u8) {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            let h = vcombine_s16(vmovn_s32(v.0), vmovn_s32(v.1));
            vst1_s8(p.cast(), vmovn_s16(h));
        }
    }
    #[inline(always)]
    unsafe fn from_s8(p: *const i8, zero: Int) -> Self {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            let bytes = veor_u8(vld1_u8(p.cast()), vdup_n_u8(0x80));
            bytes_less(bytes, Int(vaddq_s32(zero.0, vdupq_n_s32(128)), vaddq_s32(zero.1, vdupq_n_s32(128))))
        }
    }
    #[inline(always)]
    unsafe fn from_u8(p: *const u8, zero: Int) -> Self {
        // SAFETY: the caller vouches for eight elements.
        unsafe { bytes_less(vld1_u8(p), zero) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, zero: Int, p: *mut u8) {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            // The sum is rounded to an integer; the lowest bytes of the bits are those of what was rounded.
            let magic = vdupq_n_f32(1.5 * INTEGERS);
            let bytes = |v| vreinterpretq_s16_f32(vaddq_f32(v, magic));
            let words = vuzp1q_s16(bytes(self.0), bytes(self.1));
            let zero = vmovn_s16(vuzp1q_s16(vreinterpretq_s16_s32(zero.0), vreinterpretq_s16_s32(zero.1)));
            vst1_s8(p.cast(), vadd_s8(vmovn_s16(words), zero));
        }
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> Int {
        // SAFETY: the caller vouches for eight elements.
        unsafe { Int(vld1q_s32(p), vld1q_s32(p.add(4))) }
    }
    #[inline(always)]
    unsafe fn store_i32(v: Int, p: *mut i32) {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            vst1q_s32(p, v.0);
            vst1q_s32(p.add(4), v.1);
        }
    }

    #[inline(always)]
    unsafe fn look_up_s8(base: *const f32, x: *const i8) -> Self {
        // SAFETY: the caller vouches for bytes and entries.
        unsafe {
            // Bytes as integers: lanes are slow to become addresses.
            let at = |i: usize| base.offset(isize::from(*x.add(i)));
            let four = |i: usize| {
                let v = vld1q_lane_f32::<0>(at(i), vdupq_n_f32(0.0));
                let v = vld1q_lane_f32::<1>(at(i + 1), v);
                vld1q_lane_f32::<3>(at(i + 3), vld1q_lane_f32::<2>(at(i + 2), v))
            };
            Self(four(0), four(4))
        }
    }

    vop! {
        fn add(x, o) -> Neon = vaddq_f32(x, o);
        fn sub(x, o) -> Neon = vsubq_f32(x, o);
        fn mul(x, o) -> Neon = vmulq_f32(x, o);
        fn div(x, o) -> Neon = vdivq_f32(x, o);
        fn fma(x, b, c) -> Neon = vfmaq_f32(c, x, b);
        fn fnma(x, b, c) -> Neon = vfmsq_f32(c, x, b);
        fn limit(x, lo, hi) -> Neon = vminq_f32(vmaxq_f32(x, lo), hi);
        fn min(x, o) -> Neon = vbslq_f32(vcltq_f32(x, o), x, o);
        fn max(x, o) -> Neon = vbslq_f32(vcgtq_f32(x, o), x, o);
        fn sqrt(x) -> Neon = vsqrtq_f32(x);
        fn floor(x) -> Neon = vrndmq_f32(x);
        fn ceil(x) -> Neon = vrndpq_f32(x);
        fn round(x) -> Neon = vrndnq_f32(x);
        fn lt(x, o) -> Int = vreinterpretq_s32_u32(vcltq_f32(x, o));
        fn le(x, o) -> Int = vreinterpretq_s32_u32(vcleq_f32(x, o));
        fn eq(x, o) -> Int = vreinterpretq_s32_u32(vceqq_f32(x, o));
        fn to_i32(x) -> Int = vcvtnq_s32_f32(x);
        fn to_bits(x) -> Int = vreinterpretq_s32_f32(x);
    }

    halves! {
        fn select(mask: Int, a: Self, b: Self) -> Neon = vbslq_f32(vreinterpretq_u32_s32(mask), a, b);
        fn from_i32(v: Int) -> Neon = vcvtq_f32_s32(v);
        fn from_bits(v: Int) -> Neon = vreinterpretq_f32_s32(v);
        fn iadd(a: Int, b: Int) -> Int = vaddq_s32(a, b);
        fn isub(a: Int, b: Int) -> Int = vsubq_s32(a, b);
        fn iand(a: Int, b: Int) -> Int = vandq_s32(a, b);
        fn ior(a: Int, b: Int) -> Int = vorrq_s32(a, b);
        fn ixor(a: Int, b: Int) -> Int = veorq_s32(a, b);
        fn shl[const N](v: Int) -> Int = vshlq_n_s32::<N>(v);
        fn sar[const N](v: Int) -> Int = vshrq_n_s32::<N>(v);
        fn ieq(a: Int, b: Int) -> Int = vreinterpretq_s32_u32(vceqq_s32(a, b));
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: every aarch64 processor that this crate runs on has Advanced SIMD.
        unsafe { Self(vdupq_n_f32(x), vdupq_n_f32(x)) }
    }
    #[inline(always)]
    fn isplat(x: i32) -> Int {
        // SAFETY: as above.
        unsafe { Int(vdupq_n_s32(x), vdupq_n_s32(x)) }
    }
    #[inline(always)]
    fn any(mask: Int) -> bool {
        // SAFETY: as above.
        unsafe { vmaxvq_u32(vreinterpretq_u32_s32(vorrq_s32(mask.0, mask.1))) != 0 }
    }
}
