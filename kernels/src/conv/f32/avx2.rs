//! AVX2 and FMA: six pixels times two panels. f16 operands are converted to f32 on the way (F16C).

use std::arch::x86_64::*;

use crate::conv::micro::{Args, NR};
use crate::float::{Float, Half, Single};

/// Rows computed at once.
const MR: usize = 6;

/// f16 elements of a row that are converted at a time.
const CHUNK: usize = 64;

/// Sums of M rows times P panels, in registers.
pub(crate) type Sums<const M: usize, const P: usize> = [[__m256; P]; M];

/// Eight weights from `w` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_weights<const HALF: bool>(w: *const u8) -> __m256 {
    // SAFETY: the caller promises eight elements.
    unsafe { if HALF { _mm256_cvtph_ps(_mm_loadu_si128(w.cast())) } else { _mm256_loadu_ps(w.cast()) } }
}

/// `sums[i][p][c] += a[i][k] * w[p][k][c]` for k from 0 to `depth`, in this order.
///
/// # Safety
/// Each `a` is valid for `depth` elements; `w` for P panels of `depth * NR` elements, f16 when `HALF`, whose
/// starts are `panel_bytes` apart.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn accumulate<const HALF: bool, const M: usize, const P: usize>(
    sums: &mut Sums<M, P>,
    a: &[*const f32; M],
    depth: usize,
    w: *const u8,
    panel_bytes: usize,
) {
    let size = if HALF { 2 } else { 4 };
    let mut c = *sums;
    for k in 0..depth {
        let mut wk = [_mm256_setzero_ps(); P];
        for p in 0..P {
            // SAFETY: k is below `depth`.
            wk[p] = unsafe { load_weights::<HALF>(w.add(p * panel_bytes + k * NR * size)) };
        }
        for i in 0..M {
            // SAFETY: k is below `depth`.
            let x = unsafe { _mm256_broadcast_ss(&*a[i].add(k)) };
            for p in 0..P {
                c[i][p] = _mm256_fmadd_ps(x, wk[p], c[i][p]);
            }
        }
    }
    *sums = c;
}

/// Converts `n` f16 elements to f32.
///
/// # Safety
/// `from` is valid for `n` elements.
#[target_feature(enable = "avx2,f16c")]
pub(crate) unsafe fn widen(from: *const u8, to: &mut [f32], n: usize) {
    let to = &mut to[..n];
    for (i, to) in to.chunks_mut(8).enumerate() {
        if to.len() == 8 {
            // SAFETY: eight elements are left, on both sides.
            unsafe {
                let v = _mm256_cvtph_ps(_mm_loadu_si128(from.add(i * 16).cast()));
                _mm256_storeu_ps(to.as_mut_ptr(), v);
            }
        } else {
            for (j, to) in to.iter_mut().enumerate() {
                // SAFETY: the element is one of the `n`.
                let bits = unsafe { from.cast::<u16>().add(i * 8 + j).read_unaligned() };
                *to = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))));
            }
        }
    }
}

/// Stores the first `cols` of eight results.
///
/// # Safety
/// `y` is valid for `cols` elements.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn store<const HALF: bool>(v: __m256, y: *mut u8, cols: usize) {
    if HALF {
        let v = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
        let mut out = [0_u16; 8];
        // SAFETY: `y` takes `cols` elements, `out` eight.
        unsafe {
            if cols >= 8 {
                _mm_storeu_si128(y.cast(), v);
            } else {
                _mm_storeu_si128(out.as_mut_ptr().cast(), v);
                std::ptr::copy_nonoverlapping(out.as_ptr().cast::<u8>(), y, cols * Half::SIZE);
            }
        }
    } else {
        let mut out = [0.0_f32; 8];
        // SAFETY: as above.
        unsafe {
            if cols >= 8 {
                _mm256_storeu_ps(y.cast(), v);
            } else {
                _mm256_storeu_ps(out.as_mut_ptr(), v);
                std::ptr::copy_nonoverlapping(out.as_ptr().cast::<u8>(), y, cols * Single::SIZE);
            }
        }
    }
}

/// `min(max(v, lo), hi)` with the bits of [`crate::float::clamp`]: MAXPS and MINPS give their second operand
/// when the comparison fails.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn clamp(v: __m256, lo: __m256, hi: __m256) -> __m256 {
    _mm256_min_ps(hi, _mm256_max_ps(lo, v))
}

/// M rows times P panels from column `first` on.
///
/// # Safety
/// As [`crate::conv::micro::Micro`]; the panels hold columns that count.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const HALF: bool, const M: usize, const P: usize>(args: &Args, first: usize) {
    let size = if HALF { Half::SIZE } else { Single::SIZE };
    let tap_bytes = args.depth * NR * size;
    let panel_bytes = args.taps * tap_bytes;
    let mut sums = [[_mm256_setzero_ps(); P]; M];
    for p in 0..P {
        // SAFETY: biases are there for whole panels.
        let bias = unsafe { _mm256_loadu_ps(args.bias.cast::<f32>().add(first + p * NR)) };
        for i in 0..M {
            sums[i][p] = bias;
        }
    }
    let mut wide = [[0.0_f32; CHUNK]; M];
    for tap in 0..args.taps {
        let mut a = [std::ptr::null::<u8>(); M];
        for i in 0..M {
            // SAFETY: there are `taps * MR` addresses.
            a[i] = unsafe { *args.a.add(tap * MR + i) };
        }
        // SAFETY: the panel is one of those that hold the columns, and the tap one of its taps.
        let w = unsafe { args.w.add(first / NR * panel_bytes + tap * tap_bytes) };
        if HALF {
            for k in (0..args.depth).step_by(CHUNK) {
                let n = CHUNK.min(args.depth - k);
                let mut from = [std::ptr::null::<f32>(); M];
                for i in 0..M {
                    // SAFETY: `depth` elements lie at each address.
                    unsafe { widen(a[i].add(k * size), &mut wide[i], n) };
                    from[i] = wide[i].as_ptr();
                }
                // SAFETY: n elements were converted for each row, and each panel has them.
                unsafe { accumulate::<HALF, M, P>(&mut sums, &from, n, w.add(k * NR * size), panel_bytes) };
            }
        } else {
            // SAFETY: `depth` elements lie at each address, and in each panel.
            unsafe {
                accumulate::<HALF, M, P>(&mut sums, &a.map(<*const u8>::cast), args.depth, w, panel_bytes)
            };
        }
    }
    let (lo, hi) = (_mm256_set1_ps(args.lo), _mm256_set1_ps(args.hi));
    for i in 0..M {
        // SAFETY: the row's address takes `cols` elements.
        let y = unsafe { (*args.y.add(i)).add(first * size) };
        for p in 0..P {
            let cols = args.cols - first - p * NR;
            // SAFETY: as above.
            unsafe { store::<HALF>(clamp(sums[i][p], lo, hi), y.add(p * NR * size), cols) };
        }
    }
}

/// M rows, two panels at a time.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn rows<const HALF: bool, const M: usize>(args: &Args) {
    for first in (0..args.cols).step_by(2 * NR) {
        // SAFETY: the second panel is there when columns of it count.
        unsafe {
            if args.cols - first > NR {
                tile::<HALF, M, 2>(args, first)
            } else {
                tile::<HALF, M, 1>(args, first)
            }
        }
    }
}

/// Six output pixels times two panels, pair of panels after pair.
///
/// # Safety
/// As [`crate::conv::micro::Micro`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn conv_6x16<const HALF: bool>(args: &Args) {
    // SAFETY: the caller's promise; rows beyond those that count repeat the last one.
    unsafe {
        match args.rows {
            1 => rows::<HALF, 1>(args),
            2 => rows::<HALF, 2>(args),
            3 | 4 => rows::<HALF, 4>(args),
            _ => rows::<HALF, 6>(args),
        }
    }
}
