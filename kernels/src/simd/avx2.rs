//! Eight lanes in one 256-bit register: AVX2, FMA and F16C.

use std::arch::x86_64::*;

use super::V8;

/// Eight f32.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

/// A method that is one expression of intrinsics.
macro_rules! op {
    ($(fn $name:ident $([const $n:ident])? ($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name $(<const $n: i32>)? ($($arg: $ty),*) -> $ret {
            // SAFETY: callers are instantiated for processors with AVX2, FMA and F16C (see `V8`).
            unsafe { $body }
        }
    )+};
}

/// A method of `self` that is one expression of intrinsics on its register.
macro_rules! vop {
    ($(fn $name:ident($x:ident $(, $arg:ident)*) = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name(self $(, $arg: Self)*) -> Self {
            let $x = self.0;
            $(let $arg = $arg.0;)*
            // SAFETY: callers are instantiated for processors with AVX2, FMA and F16C (see `V8`).
            Self(unsafe { $body })
        }
    )+};
}

impl V8 for Avx2 {
    type I = __m256i;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for eight elements.
        Self(unsafe { _mm256_loadu_ps(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: the caller vouches for eight elements.
        Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) })
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) }
    }
    #[inline(always)]
    fn greatest(self) -> f32 {
        // SAFETY: callers are instantiated for processors with AVX2 (see `V8`).
        unsafe {
            let v = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    unsafe fn load_s8(p: *const i8) -> __m256i {
        // SAFETY: the caller vouches for eight elements.
        unsafe { _mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> __m256i {
        // SAFETY: the caller vouches for eight elements.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_low8(v: __m256i, p: *mut u8) {
        // SAFETY: the caller vouches for eight elements.
        unsafe {
            let low = _mm256_shuffle_epi8(v, _mm256_set1_epi64x(0x0c08_0400));
            let (a, b) = (_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low));
            _mm_storel_epi64(p.cast(), _mm_unpacklo_epi32(a, b));
        }
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> __m256i {
        // SAFETY: the caller vouches for eight elements.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_i32(v: __m256i, p: *mut i32) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { _mm256_storeu_si256(p.cast(), v) }
    }

    #[inline(always)]
    unsafe fn look_up(table: *const f32, index: __m256i) -> Self {
        // SAFETY: the caller vouches for the entries.
        Self(unsafe { _mm256_i32gather_ps::<4>(table, index) })
    }

    vop! {
        fn add(x, o) = _mm256_add_ps(x, o);
        fn sub(x, o) = _mm256_sub_ps(x, o);
        fn mul(x, o) = _mm256_mul_ps(x, o);
        fn div(x, o) = _mm256_div_ps(x, o);
        fn fma(x, b, c) = _mm256_fmadd_ps(x, b, c);
        fn fnma(x, b, c) = _mm256_fnmadd_ps(x, b, c);
        fn min(x, o) = _mm256_min_ps(x, o);
        fn max(x, o) = _mm256_max_ps(x, o);
        fn sqrt(x) = _mm256_sqrt_ps(x);
        fn floor(x) = _mm256_floor_ps(x);
        fn ceil(x) = _mm256_ceil_ps(x);
        fn round(x) = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
    }

    op! {
        fn splat(x: f32) -> Self = Self(_mm256_set1_ps(x));
        fn select(mask: __m256i, a: Self, b: Self) -> Self = Self(_mm256_blendv_ps(b.0, a.0, _mm256_castsi256_ps(mask)));
        fn any(mask: __m256i) -> bool = _mm256_movemask_ps(_mm256_castsi256_ps(mask)) != 0;
        fn from_i32(v: __m256i) -> Self = Self(_mm256_cvtepi32_ps(v));
        fn from_bits(v: __m256i) -> Self = Self(_mm256_castsi256_ps(v));
        fn isplat(x: i32) -> __m256i = _mm256_set1_epi32(x);
        fn iadd(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        fn isub(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
        fn iand(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        fn ior(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        fn ixor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        fn shl[const N](v: __m256i) -> __m256i = _mm256_slli_epi32::<N>(v);
        fn sar[const N](v: __m256i) -> __m256i = _mm256_srai_epi32::<N>(v);
        fn ieq(a: __m256i, b: __m256i) -> __m256i = _mm256_cmpeq_epi32(a, b);
    }

    #[inline(always)]
    fn lt(self, o: Self) -> __m256i {
        // SAFETY: callers are instantiated for processors with AVX2 (see `V8`).
        unsafe { _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, o.0)) }
    }
    #[inline(always)]
    fn le(self, o: Self) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LE_OQ>(self.0, o.0)) }
    }
    #[inline(always)]
    fn eq(self, o: Self) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_castps_si256(_mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, o.0)) }
    }
    #[inline(always)]
    fn to_i32(self) -> __m256i {
        // SAFETY: as above. The rounding mode is the default one, to nearest even.
        unsafe { _mm256_cvtps_epi32(self.0) }
    }
    #[inline(always)]
    fn to_bits(self) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_castps_si256(self.0) }
    }
}
