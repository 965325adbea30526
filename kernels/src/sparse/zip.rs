//! Transposing squares of elements in registers: one network of interleavings for every instruction set.

/// Sixteen bytes that can be interleaved with others.
pub(super) trait Bytes: Copy {
    /// Sixteen bytes of memory.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn load(from: *const u8) -> Self;
    /// To memory.
    ///
    /// # Safety
    /// There is room.
    unsafe fn store(self, to: *mut u8);
    /// To memory as signed numbers of 16 bits.
    ///
    /// # Safety
    /// There is room; on x86-64 the processor has AVX2.
    unsafe fn store_wide(self, to: *mut u8);
    /// Zeros.
    fn zero() -> Self;
    /// Signed bytes plus 128, as unsigned ones.
    fn unsigned(self) -> Self;
    /// Elements of `self` and `other` by turns, of the lower and of the upper halves.
    fn zip8(self, other: Self) -> [Self; 2];
    /// The same with elements of 16 bits.
    fn zip16(self, other: Self) -> [Self; 2];
    /// The same with elements of 32 bits.
    fn zip32(self, other: Self) -> [Self; 2];
}

/// Interleaves the first half of the rows with the second, as often as it takes to transpose the square.
macro_rules! transpose {
    ($name:ident, $n:literal, $rounds:literal, $zip:ident) => {
        #[inline(always)]
        pub(super) fn $name<B: Bytes>(mut rows: [B; $n]) -> [B; $n] {
            for _ in 0..$rounds {
                let from = rows;
                for i in 0..$n / 2 {
                    let [low, high] = from[i].$zip(from[i + $n / 2]);
                    rows[2 * i] = low;
                    rows[2 * i + 1] = high;
                }
            }
            rows
        }
    };
}
transpose!(transpose8, 16, 4, zip8);
transpose!(transpose16, 8, 3, zip16);
transpose!(transpose32, 4, 2, zip32);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    impl super::Bytes for __m128i {
        #[inline(always)]
        unsafe fn load(from: *const u8) -> Self {
            // SAFETY: the caller's promise.
            unsafe { _mm_loadu_si128(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut u8) {
            // SAFETY: the caller's promise.
            unsafe { _mm_storeu_si128(to.cast(), self) }
        }
        #[inline(always)]
        unsafe fn store_wide(self, to: *mut u8) {
            // SAFETY: the caller's promise.
            unsafe { _mm256_storeu_si256(to.cast(), _mm256_cvtepi8_epi16(self)) }
        }
        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: every x86-64 processor has SSE2.
            unsafe { _mm_setzero_si128() }
        }
        #[inline(always)]
        fn unsigned(self) -> Self {
            // SAFETY: as above.
            unsafe { _mm_xor_si128(self, _mm_set1_epi8(i8::MIN)) }
        }
        #[inline(always)]
        fn zip8(self, other: Self) -> [Self; 2] {
            // SAFETY: every x86-64 processor has SSE2.
            unsafe { [_mm_unpacklo_epi8(self, other), _mm_unpackhi_epi8(self, other)] }
        }
        #[inline(always)]
        fn zip16(self, other: Self) -> [Self; 2] {
            // SAFETY: as above.
            unsafe { [_mm_unpacklo_epi16(self, other), _mm_unpackhi_epi16(self, other)] }
        }
        #[inline(always)]
        fn zip32(self, other: Self) -> [Self; 2] {
            // SAFETY: as above.
            unsafe { [_mm_unpacklo_epi32(self, other), _mm_unpackhi_epi32(self, other)] }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    impl super::Bytes for uint8x16_t {
        #[inline(always)]
        unsafe fn load(from: *const u8) -> Self {
            // SAFETY: the caller's promise; every aarch64 core has Advanced SIMD.
            unsafe { vld1q_u8(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut u8) {
            // SAFETY: as above.
            unsafe { vst1q_u8(to, self) }
        }
        #[inline(always)]
        unsafe fn store_wide(self, to: *mut u8) {
            // SAFETY: as above.
            unsafe {
                vst1q_s16(to.cast(), vmovl_s8(vreinterpret_s8_u8(vget_low_u8(self))));
                vst1q_s16(to.cast::<i16>().add(8), vmovl_high_s8(vreinterpretq_s8_u8(self)));
            }
        }
        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: every aarch64 core has Advanced SIMD.
            unsafe { vdupq_n_u8(0) }
        }
        #[inline(always)]
        fn unsigned(self) -> Self {
            // SAFETY: as above.
            unsafe { veorq_u8(self, vdupq_n_u8(128)) }
        }
        #[inline(always)]
        fn zip8(self, other: Self) -> [Self; 2] {
            // SAFETY: every aarch64 core has Advanced SIMD.
            unsafe { [vzip1q_u8(self, other), vzip2q_u8(self, other)] }
        }
        #[inline(always)]
        fn zip16(self, other: Self) -> [Self; 2] {
            // SAFETY: as above.
            unsafe {
                let (a, b) = (vreinterpretq_u16_u8(self), vreinterpretq_u16_u8(other));
                [vreinterpretq_u8_u16(vzip1q_u16(a, b)), vreinterpretq_u8_u16(vzip2q_u16(a, b))]
            }
        }
        #[inline(always)]
        fn zip32(self, other: Self) -> [Self; 2] {
            // SAFETY: as above.
            unsafe {
                let (a, b) = (vreinterpretq_u32_u8(self), vreinterpretq_u32_u8(other));
                [vreinterpretq_u8_u32(vzip1q_u32(a, b)), vreinterpretq_u8_u32(vzip2q_u32(a, b))]
            }
        }
    }
}
