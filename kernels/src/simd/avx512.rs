//! Sixteen lanes in one 512-bit register: AVX-512 F, BW, DQ and VL.

use std::arch::x86_64::*;

use super::{LANES, V8};

/// Sixteen f32.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub(crate) __m512);

/// A method that is one expression of intrinsics.
macro_rules! op {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name($($arg: $ty),*) -> $ret {
            // SAFETY: callers are instantiated for processors with AVX-512 (see `V8`).
            unsafe { $body }
        }
    )+};
}

/// A method of `self` that is one expression of intrinsics on its register.
macro_rules! vop {
    ($(fn $name:ident($x:ident $(, $arg:ident)*) -> $ret:ty = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name(self $(, $arg: Self)*) -> $ret {
            let $x = self.0;
            $(let $arg = $arg.0;)*
            // SAFETY: callers are instantiated for processors with AVX-512 (see `V8`).
            unsafe { $body }
        }
    )+};
}

impl V8 for Avx512 {
    const LANES: usize = 16;

    type I = __m512i;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for sixteen elements.
        Self(unsafe { _mm512_loadu_ps(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for sixteen elements.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: the caller vouches for sixteen elements.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) })
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16) {
        // SAFETY: the caller vouches for sixteen elements.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) }
    }
    #[inline(always)]
    unsafe fn load_s8(p: *const i8) -> __m512i {
        // SAFETY: the caller vouches for sixteen elements.
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> __m512i {
        // SAFETY: the caller vouches for sixteen elements.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_low8(v: __m512i, p: *mut u8) {
        // SAFETY: the caller vouches for sixteen elements.
        unsafe { _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(v)) }
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> __m512i {
        // SAFETY: the caller vouches for sixteen elements.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_i32(v: __m512i, p: *mut i32) {
        // SAFETY: the caller vouches for sixteen elements.
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }

    #[inline(always)]
    fn greatest(self) -> f32 {
        // SAFETY: callers are instantiated for processors with AVX-512 (see `V8`).
        unsafe { _mm512_reduce_max_ps(self.0) }
    }

    #[inline(always)]
    fn accumulate(self, sums: &mut [f32; LANES]) {
        // SAFETY: callers are instantiated for processors with AVX-512 (see `V8`); the array has eight elements.
        unsafe {
            let half = _mm256_add_ps(_mm256_loadu_ps(sums.as_ptr()), _mm512_castps512_ps256(self.0));
            let both = _mm256_add_ps(half, _mm512_extractf32x8_ps::<1>(self.0));
            _mm256_storeu_ps(sums.as_mut_ptr(), both);
        }
    }

    vop! {
        fn add(x, o) -> Self = Self(_mm512_add_ps(x, o));
        fn sub(x, o) -> Self = Self(_mm512_sub_ps(x, o));
        fn mul(x, o) -> Self = Self(_mm512_mul_ps(x, o));
        fn div(x, o) -> Self = Self(_mm512_div_ps(x, o));
        fn fma(x, b, c) -> Self = Self(_mm512_fmadd_ps(x, b, c));
        fn fnma(x, b, c) -> Self = Self(_mm512_fnmadd_ps(x, b, c));
        fn min(x, o) -> Self = Self(_mm512_min_ps(x, o));
        fn max(x, o) -> Self = Self(_mm512_max_ps(x, o));
        fn sqrt(x) -> Self = Self(_mm512_sqrt_ps(x));
        fn floor(x) -> Self = Self(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(x));
        fn ceil(x) -> Self = Self(_mm512_roundscale_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(x));
        fn round(x) -> Self = Self(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x));
        fn lt(x, o) -> __m512i = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, o));
        fn le(x, o) -> __m512i = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, o));
        fn eq(x, o) -> __m512i = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x, o));
        // The rounding mode is the default one, to nearest even.
        fn to_i32(x) -> __m512i = _mm512_cvtps_epi32(x);
        fn to_bits(x) -> __m512i = _mm512_castps_si512(x);
    }

    op! {
        fn splat(x: f32) -> Self = Self(_mm512_set1_ps(x));
        fn select(mask: __m512i, a: Self, b: Self) -> Self =
            Self(_mm512_mask_mov_ps(b.0, _mm512_movepi32_mask(mask), a.0));
        fn any(mask: __m512i) -> bool = _mm512_movepi32_mask(mask) != 0;
        fn from_i32(v: __m512i) -> Self = Self(_mm512_cvtepi32_ps(v));
        fn from_bits(v: __m512i) -> Self = Self(_mm512_castsi512_ps(v));
        fn isplat(x: i32) -> __m512i = _mm512_set1_epi32(x);
        fn iadd(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn isub(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        fn iand(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        fn ior(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        fn ixor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        fn ieq(a: __m512i, b: __m512i) -> __m512i = _mm512_movm_epi32(_mm512_cmpeq_epi32_mask(a, b));
    }

    #[inline(always)]
    fn shl<const N: i32>(v: __m512i) -> __m512i {
        // SAFETY: callers are instantiated for processors with AVX-512 (see `V8`).
        unsafe { _mm512_sll_epi32(v, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn sar<const N: i32>(v: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_sra_epi32(v, _mm_cvtsi32_si128(N)) }
    }
}
