//! Registers of sums, of 512 bits and of 256.

use std::arch::x86_64::*;

use super::OFFSET;
use crate::conv::avx512::{self, Dot, Run};
use crate::conv::block::Block;
use crate::conv::micro::{KB_S8, NR};
use crate::conv::residual::Addend;

/// A register of 32-bit lanes: the output channels of one panel, or of two.
///
/// # Safety
/// Of all functions: the processor has the instructions, and pointers are valid for what is read and written.
pub(super) trait Vector: Copy {
    /// Panels of a register.
    const PANELS: usize;
    /// As many f32.
    type Floats: Copy;

    /// Lanes from memory.
    unsafe fn load(p: *const i32) -> Self;
    /// f32 lanes from memory.
    unsafe fn load_f32(p: *const f32) -> Self::Floats;
    /// Adds the products of M pixels and P registers of channels.
    unsafe fn multiply<const M: usize, const P: usize>(sums: &mut [[Self; P]; M], run: &Run<P>);
    /// Requantizes M pixels' sums, and stores each pixel's first `n` channels at its address.
    ///
    /// The contract clamps before it rounds. Bounds are whole numbers, so that rounding first gives the same, as long as
    /// no product is outside the range of i32 ([`suits`]); then narrowing saturates.
    unsafe fn finish<const M: usize, const P: usize>(
        sums: &[[Self; P]; M],
        multiplier: &[Self::Floats; P],
        b: &Block<'_>,
        y: [*mut u8; M],
        n: usize,
    );
    /// As [`Self::finish`] with an addend, from channel `column` of the block on.
    unsafe fn finish_added<const M: usize, const P: usize>(
        sums: &[[Self; P]; M],
        addend: &Addend,
        column: usize,
        b: &Block<'_>,
        rows: Rows<M>,
    );
    /// Stores the first `n` of one pixel's sums.
    unsafe fn store<const P: usize>(sums: &[Self; P], y: *mut i32, n: usize);
    /// Zeros in place of multipliers.
    unsafe fn none() -> Self::Floats;
    /// Copies `n` bytes with [`OFFSET`] added to each; up to 63 bytes may be written past them.
    unsafe fn shift(from: *const u8, to: *mut u8, n: usize);
}

/// Where M pixels' results go, where what is added to them is, and how many channels count.
pub(super) struct Rows<const M: usize> {
    pub y: [*mut u8; M],
    pub r: [*const u8; M],
    pub n: usize,
}

/// Narrows M pixels' rounded products, which a macro gives by pixel and register, and stores each pixel's first channels.
/// A macro itself: as a function of all products it would hold twice as many registers.
macro_rules! put_512 {
    ($b:expr, $y:expr, $n:expr, $scaled:ident) => {{
        let (b, y, n) = ($b, $y, $n);
        // SAFETY: the caller's promise. Rows that are not there are the last one again.
        unsafe {
            match P {
                1 => {
                    for i in (0..M).step_by(4) {
                        let mut v = [_mm512_setzero_si512(); 4];
                        for j in 0..4 {
                            v[j] = $scaled!((i + j).min(M - 1), 0);
                        }
                        let v = avx512::narrow(v, b.zero_point, b.lo, b.hi);
                        let (low, high) = (_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
                        for j in 0..(M - i).min(4) {
                            let half = if j < 2 { low } else { high };
                            let v = if j % 2 == 0 {
                                _mm256_castsi256_si128(half)
                            } else {
                                _mm256_extracti128_si256::<1>(half)
                            };
                            if n >= 16 {
                                _mm_storeu_si128(y[i + j].cast(), v);
                            } else {
                                _mm_mask_storeu_epi8(y[i + j].cast(), (1 << n) - 1, v);
                            }
                        }
                    }
                }
                2 => {
                    for i in (0..M).step_by(2) {
                        let next = (i + 1).min(M - 1);
                        let v = [$scaled!(i, 0), $scaled!(i, 1), $scaled!(next, 0), $scaled!(next, 1)];
                        let v = avx512::narrow(v, b.zero_point, b.lo, b.hi);
                        let (low, high) = (_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
                        for j in 0..(M - i).min(2) {
                            let v = if j == 0 { low } else { high };
                            if n >= 32 {
                                _mm256_storeu_si256(y[i + j].cast(), v);
                            } else {
                                _mm256_mask_storeu_epi8(y[i + j].cast(), (1 << n) - 1, v);
                            }
                        }
                    }
                }
                3 => {
                    for i in 0..M {
                        let v = [$scaled!(i, 0), $scaled!(i, 1), $scaled!(i, 2), $scaled!(i, 2)];
                        let v = avx512::narrow(v, b.zero_point, b.lo, b.hi);
                        _mm512_mask_storeu_epi8(y[i].cast(), (1 << n.min(48)) - 1, v);
                    }
                }
                _ => {
                    for i in 0..M {
                        for p in (0..P).step_by(4) {
                            let v =
                                [$scaled!(i, p), $scaled!(i, p + 1), $scaled!(i, p + 2), $scaled!(i, p + 3)];
                            let v = avx512::narrow(v, b.zero_point, b.lo, b.hi);
                            _mm512_storeu_si512(y[i].add(p * 16).cast(), v);
                        }
                    }
                }
            }
        }
    }};
}

/// Two panels.
impl Vector for __m512i {
    const PANELS: usize = 2;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn load(p: *const i32) -> Self {
        // SAFETY: the caller's promise; so below.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn load_f32(p: *const f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn multiply<const M: usize, const P: usize>(sums: &mut [[Self; P]; M], run: &Run<P>) {
        // SAFETY: as above.
        unsafe { avx512::multiply::<Dot, M, P>(sums, run) }
    }

    #[inline(always)]
    unsafe fn finish<const M: usize, const P: usize>(
        sums: &[[Self; P]; M],
        multiplier: &[__m512; P],
        b: &Block<'_>,
        y: [*mut u8; M],
        n: usize,
    ) {
        macro_rules! product {
            ($i:expr, $p:expr) => {
                scaled(sums[$i][$p], multiplier[$p])
            };
        }
        put_512!(b, y, n, product);
    }

    #[inline(always)]
    unsafe fn finish_added<const M: usize, const P: usize>(
        sums: &[[Self; P]; M],
        addend: &Addend,
        column: usize,
        b: &Block<'_>,
        rows: Rows<M>,
    ) {
        // SAFETY: as above.
        unsafe { added_512(sums, addend, column, b, &rows) }
    }

    #[inline(always)]
    unsafe fn store<const P: usize>(sums: &[Self; P], y: *mut i32, n: usize) {
        for p in 0..P {
            let left = n.saturating_sub(p * 16).min(16);
            // SAFETY: as above; what is masked is not written.
            unsafe {
                let those = ((1_u32 << left) - 1) as __mmask16;
                _mm512_mask_storeu_epi32(y.wrapping_add(p * 16), those, sums[p]);
            }
        }
    }

    #[inline(always)]
    unsafe fn none() -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn shift(from: *const u8, to: *mut u8, n: usize) {
        // SAFETY: as above; a mask keeps the last load inside.
        unsafe {
            let offset = _mm512_set1_epi8(OFFSET as i8);
            let mut i = 0;
            while i + 64 <= n {
                let v = _mm512_loadu_si512(from.add(i).cast());
                _mm512_storeu_si512(to.add(i).cast(), _mm512_xor_si512(v, offset));
                i += 64;
            }
            if i < n {
                let v = _mm512_maskz_loadu_epi8((1 << (n - i)) - 1, from.add(i).cast());
                _mm512_storeu_si512(to.add(i).cast(), _mm512_xor_si512(v, offset));
            }
        }
    }
}

/// What [`Vector::finish_added`] does.
///
/// # Safety
/// As [`Vector`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline(never)] // Most steps add nothing.
unsafe fn added_512<const M: usize, const P: usize>(
    sums: &[[__m512i; P]; M],
    addend: &Addend,
    column: usize,
    b: &Block<'_>,
    rows: &Rows<M>,
) {
    let (zero, scale) = (_mm512_set1_epi32(addend.zero()), _mm512_set1_ps(addend.scale()));
    let mut v = *sums;
    for p in 0..P {
        let left = rows.n.saturating_sub(16 * p).min(16);
        let those = ((1_u32 << left) - 1) as __mmask16;
        // SAFETY: multipliers are there for whole panels, and as many channels of the addend; what is masked is not read.
        unsafe {
            let multiplier = _mm512_maskz_loadu_ps(those, addend.multiplier.wrapping_add(column + 16 * p));
            for i in 0..M {
                let r = _mm_maskz_loadu_epi8(those, rows.r[i].wrapping_add(16 * p).cast());
                let r = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepi8_epi32(r), zero));
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i][p]), multiplier);
                v[i][p] = _mm512_cvtps_epi32(_mm512_fmadd_ps(r, scale, product));
            }
        }
    }
    macro_rules! rounded {
        ($i:expr, $p:expr) => {
            v[$i][$p]
        };
    }
    put_512!(b, rows.y, rows.n, rounded);
}

/// Sums times their multipliers, to the nearest integer.
///
/// # Safety
/// The processor has AVX-512 F.
#[inline(always)]
unsafe fn scaled(sums: __m512i, multiplier: __m512) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), multiplier)) }
}

/// One panel.
impl Vector for __m256i {
    const PANELS: usize = 1;
    type Floats = __m256;

    #[inline(always)]
    unsafe fn load(p: *const i32) -> Self {
        // SAFETY: the caller's promise; so below.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }

    #[inline(always)]
    unsafe fn load_f32(p: *const f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn multiply<const M: usize, const P: usize>(sums: &mut [[Self; P]; M], run: &Run<P>) {
        let mut c = *sums;
        for unit in 0..run.units {
            // SAFETY: as above.
            unsafe {
                let mut w = [_mm256_setzero_si256(); P];
                for p in 0..P {
                    w[p] = _mm256_loadu_si256(run.w[p][0].add(unit * KB_S8 * NR).cast());
                }
                for i in 0..M {
                    let x = run.a.add(i * run.stride + unit * KB_S8);
                    let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
                    for p in 0..P {
                        c[i][p] = _mm256_dpbusd_avx_epi32(c[i][p], x, w[p]);
                    }
                }
            }
        }
        *sums = c;
    }

    #[inline(always)]
    unsafe fn finish<const M: usize, const P: usize>(
        sums: &[[Self; P]; M],
        multiplier: &[__m256; P],
        b: &Block<'_>,
        y: [*mut u8; M],
        n: usize,
    ) {
        // SAFETY: as above.
        unsafe {
            for i in 0..M {
                for p in 0..P {
                    let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i][p]), multiplier[p]);
                    put_256(v, b, y[i].add(p * NR), n - p * NR);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn finish_added<const M: usize, const P: usize>(
        sums: &[[Self; P]; M],
        addend: &Addend,
        column: usize,
        b: &Block<'_>,
        rows: Rows<M>,
    ) {
        // SAFETY: as above.
        unsafe { added_256(sums, addend, column, b, &rows) }
    }

    #[inline(always)]
    unsafe fn store<const P: usize>(sums: &[Self; P], y: *mut i32, n: usize) {
        for p in 0..P {
            // SAFETY: as above.
            unsafe {
                super::super::avx2::store_sums(sums[p], y.wrapping_add(p * NR), n.saturating_sub(p * NR))
            };
        }
    }

    #[inline(always)]
    unsafe fn none() -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn shift(from: *const u8, to: *mut u8, n: usize) {
        for i in (0..n).step_by(crate::ROW_SLACK) {
            // SAFETY: as above; inputs can be read up to a multiple of 16 bytes.
            unsafe {
                let v = _mm_loadu_si128(from.add(i).cast());
                _mm_storeu_si128(to.add(i).cast(), _mm_xor_si128(v, _mm_set1_epi8(OFFSET as i8)));
            }
        }
    }
}

/// Rounds and narrows eight channels of a pixel, and stores the first `n` of them.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn put_256(v: __m256, b: &Block<'_>, y: *mut u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let v = _mm256_cvtps_epi32(v);
        let v = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        let v = _mm_adds_epi16(v, _mm_set1_epi16(b.zero_point as i16));
        let v = _mm_max_epi8(_mm_packs_epi16(v, v), _mm_set1_epi8(b.lo as i8));
        let v = _mm_min_epi8(v, _mm_set1_epi8(b.hi as i8));
        super::super::avx2::store(v, y, n);
    }
}

/// What [`Vector::finish_added`] does.
///
/// # Safety
/// As [`Vector`].
#[target_feature(enable = "avx2,fma")]
#[inline(never)] // Most steps add nothing.
unsafe fn added_256<const M: usize, const P: usize>(
    sums: &[[__m256i; P]; M],
    addend: &Addend,
    column: usize,
    b: &Block<'_>,
    rows: &Rows<M>,
) {
    let (zero, scale) = (_mm256_set1_epi32(addend.zero()), _mm256_set1_ps(addend.scale()));
    for p in 0..P {
        let first = p * NR;
        if first >= rows.n {
            return;
        }
        // SAFETY: multipliers are there for whole panels, and as many channels of the addend.
        unsafe {
            let multiplier = _mm256_loadu_ps(addend.multiplier.add(column + first));
            for i in 0..M {
                let mut bytes = [0; NR];
                let r = rows.r[i].add(first);
                if rows.n - first >= NR {
                    bytes = r.cast::<[u8; NR]>().read_unaligned();
                } else {
                    std::ptr::copy_nonoverlapping(r, bytes.as_mut_ptr(), rows.n - first);
                }
                let r = _mm256_cvtepi8_epi32(_mm_loadl_epi64(bytes.as_ptr().cast()));
                let r = _mm256_cvtepi32_ps(_mm256_sub_epi32(r, zero));
                let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i][p]), multiplier);
                put_256(_mm256_fmadd_ps(r, scale, product), b, rows.y[i].add(first), rows.n - first);
            }
        }
    }
}
