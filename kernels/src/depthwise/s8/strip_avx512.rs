//! AVX-512 VNNI by strips: sixteen channels of four output columns, of two output rows where the stride is 1.
//!
//! VPDPBUSD adds four products in each lane of 32 bits, a lane for each channel: those of four rows of a column of the
//! window. So four rows of sixteen input channels are put together, and their bytes permuted, once for all outputs that
//! see them. Inputs are offset by 128 to be unsigned; sums start at biases that make up for it.

use std::arch::x86_64::*;

use super::Strip;
use crate::conv::avx512::narrow;

/// Channels done at once.
pub(super) const STEP: usize = 16;

/// Windows of K by K taps, K odd and at most 5, of stride S; R rows of outputs at once.
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(super) unsafe fn run<const K: usize, const S: usize, const R: usize>(s: &Strip) {
    for first in (0..s.channels).step_by(STEP) {
        // SAFETY: the caller's promise: the group has these channels.
        unsafe {
            let mut row = 0;
            if R > 1 && s.rows > 1 {
                let group = Group::<K, R>::new(s, first);
                while row + R <= s.rows {
                    group.rows::<S>(first, row);
                    row += R;
                }
            }
            if row < s.rows {
                let group = Group::<K, 1>::new(s, first);
                while row < s.rows {
                    group.rows::<S>(first, row);
                    row += 1;
                }
            }
        }
    }
}

/// Rows that lie together in the lanes of a register.
const DOWN: usize = 4;

/// All that stays the same within a strip, for sixteen channels: weights for R rows of outputs.
struct Group<'a, const K: usize, const R: usize> {
    s: &'a Strip,
    /// For each output row and column of the window the weights of input rows 0 to 3, and of those from 4 on.
    w: [[[__m512i; 2]; K]; R],
    bias: __m512i,
    scale: __m512,
}

/// What is added to each input byte.
#[inline]
#[target_feature(enable = "avx512f")]
fn offset() -> __m512i {
    _mm512_set1_epi8(-128)
}

/// Sixteen bytes of each of N rows, at most four, a channel's bytes next to one another; those of rows that are not
/// there do not matter.
///
/// # Safety
/// Sixteen bytes can be read at each of N multiples of `row`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi")]
unsafe fn together<const N: usize>(p: *const u8, row: usize) -> __m512i {
    // Byte `4 c + r` is byte c of row r.
    let order = {
        let channels = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let channels = _mm512_mullo_epi32(channels, _mm512_set1_epi32(0x0101_0101));
        _mm512_add_epi32(channels, _mm512_set1_epi32(0x3020_1000))
    };
    // SAFETY: the caller's promise.
    unsafe {
        let mut v = _mm512_zextsi128_si512(_mm_loadu_si128(p.cast()));
        for r in 1..N {
            v = _mm512_mask_broadcast_i32x4(v, 0xf << (4 * r), _mm_loadu_si128(p.add(r * row).cast()));
        }
        _mm512_permutexvar_epi8(order, v)
    }
}

impl<'a, const K: usize, const R: usize> Group<'a, K, R> {
    /// # Safety
    /// As [`crate::depthwise::strip::Micro`]; sixteen channels from `first` on are the group's.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,avx512vnni")]
    unsafe fn new(s: &'a Strip, first: usize) -> Self {
        let zero = _mm512_setzero_si512();
        let mut w = [[[zero; 2]; K]; R];
        // SAFETY: the taps are K * K, with weights for sixteen channels; so are biases and multipliers.
        unsafe {
            let (bias, scale) = (s.bias.cast::<i32>().add(first), s.multiplier.add(first));
            let (mut bias, scale) = (_mm512_loadu_si512(bias.cast()), _mm512_loadu_ps(scale));
            for column in 0..K {
                let at = s.w.add(column * s.w_tap + first);
                let down = K * s.w_tap;
                // Rows of the window below those of lane 0; shifted down by an output row, they leave zeros.
                let low = if K == 3 { lanes::<3>(at, down) } else { lanes::<4>(at, down) };
                let high = if K == 3 { zero } else { lanes::<1>(at.add(4 * down), down) };
                w[0][column] = [low, high];
                if R > 1 {
                    let carried = _mm512_srli_epi32::<24>(low);
                    w[R - 1][column] = [
                        _mm512_slli_epi32::<8>(low),
                        if K == 3 { carried } else { _mm512_or_si512(_mm512_slli_epi32::<8>(high), carried) },
                    ];
                }
                let sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, offset(), low), offset(), high);
                bias = _mm512_sub_epi32(bias, sum);
            }
            Self { s, w, bias, scale }
        }
    }

    /// R rows of outputs from `row` on.
    ///
    /// # Safety
    /// As [`crate::depthwise::strip::Micro`]; the rows are the strip's.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn rows<const S: usize>(&self, first: usize, row: usize) {
        let s = self.s;
        // SAFETY: every output is stepped to once, and its input is there.
        unsafe {
            let x = s.x.at.add(row * S * s.x.row + first);
            let y = s.y.at.add(row * s.y.row + first);
            let mut column = 0;
            while column + 4 <= s.columns {
                self.pixels::<S, 4>(x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
                column += 4;
            }
            if column + 2 <= s.columns {
                self.pixels::<S, 2>(x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
                column += 2;
            }
            if column < s.columns {
                self.pixels::<S, 1>(x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
            }
        }
    }

    /// P outputs of each of R rows: `x` is under the first one's tap (0, 0).
    ///
    /// # Safety
    /// As [`Self::rows`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn pixels<const S: usize, const P: usize>(&self, x: *const u8, y: *mut u8) {
        let s = self.s;
        let down = K + R - 1;
        let mut sums = [[self.bias; P]; R];
        unroll!(c in 0 1 2 3 4 5 6 7 8 9 10 {
            if c < (P - 1) * S + K {
                // SAFETY: rows and columns are those of the outputs' windows.
                let [low, high] = unsafe {
                    let x = x.add(c * s.x.pixel);
                    let low = if down < DOWN { together::<3>(x, s.x.row) } else { together::<4>(x, s.x.row) };
                    let high = match down - down.min(DOWN) {
                        0 => low,
                        1 => together::<1>(x.add(DOWN * s.x.row), s.x.row),
                        _ => together::<2>(x.add(DOWN * s.x.row), s.x.row),
                    };
                    [_mm512_xor_si512(low, offset()), _mm512_xor_si512(high, offset())]
                };
                for p in 0..P {
                    if (p * S..p * S + K).contains(&c) {
                        for r in 0..R {
                            let w = self.w[r][c - p * S];
                            sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], low, w[0]);
                            if down > DOWN {
                                sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], high, w[1]);
                            }
                        }
                    }
                }
            }
        });
        for r in 0..R {
            let mut scaled = [self.bias; 4];
            for p in 0..4 {
                let v = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][p.min(P - 1)]), self.scale);
                scaled[p] = _mm512_cvtps_epi32(v);
            }
            let v = narrow(scaled, s.zero_point, s.lo, s.hi);
            // SAFETY: the outputs are the strip's.
            unsafe {
                let y = y.add(r * s.y.row);
                _mm_storeu_si128(y.cast(), _mm512_castsi512_si128(v));
                if P > 1 {
                    _mm_storeu_si128(y.add(s.y.pixel).cast(), _mm512_extracti32x4_epi32::<1>(v));
                }
                if P > 2 {
                    _mm_storeu_si128(y.add(2 * s.y.pixel).cast(), _mm512_extracti32x4_epi32::<2>(v));
                    _mm_storeu_si128(y.add(3 * s.y.pixel).cast(), _mm512_extracti32x4_epi32::<3>(v));
                }
            }
        }
    }
}

/// As [`together`], with zeros for the rows that are not there.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi")]
unsafe fn lanes<const N: usize>(p: *const u8, row: usize) -> __m512i {
    // SAFETY: the caller's promise.
    let v = unsafe { together::<N>(p, row) };
    _mm512_and_si512(v, _mm512_set1_epi32((u32::MAX >> (32 - 8 * N)) as i32))
}
