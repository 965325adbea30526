//! AVX2 by strips: sixteen channels of four output columns, input widened to 16 bits in the patch. VPMADDWD multiplies pairs of taps, which are neighbours down
//! the window, for its last row neighbours across; the pairs of an input column are made once for all the outputs that
//! see it.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Strip;

/// Channels 0 to 3, 8 to 11 and channels 4 to 7, 12 to 15: two 16-bit values each.
type Pairs = [__m256i; 2];

/// The weights of a window of K by K taps as pairs.
struct Weights<const K: usize> {
    /// Rows 2 i and 2 i + 1.
    down: [[Pairs; K]; 2],
    /// The last row: columns 2 j and 2 j + 1; and, for outputs whose input starts at an odd column of those that are
    /// paired, columns 2 j - 1 and 2 j. What is outside the window is zero.
    across: [[Pairs; 3]; 2],
}

/// All that stays the same within a strip.
struct Group<'a, const K: usize> {
    s: &'a Strip,
    w: Weights<K>,
    bias: Pairs,
    scale: [__m256; 2],
    hi: __m256,
    lo: __m256i,
    zero_point: __m256i,
}

/// Windows of K by K taps, K odd and at most 5, of stride S.
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run<const K: usize, const S: usize>(s: &Strip) {
    // SAFETY: the caller's promise: weights, biases and multipliers are there for the group; every output is stepped to
    // once, and its input is there.
    unsafe {
        let group = Group::<K>::new(s);
        for row in 0..s.rows {
            let x = s.x.at.add(row * S * s.x.row);
            let y = s.y.at.add(row * s.y.row);
            let mut column = 0;
            // More than two columns of a 3x3 window of stride 2 share too little for the registers that they take.
            while (K > 3 || S == 1) && column + 4 <= s.columns {
                pixels::<K, S, 4>(&group, x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
                column += 4;
            }
            while column + 2 <= s.columns {
                pixels::<K, S, 2>(&group, x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
                column += 2;
            }
            if column < s.columns {
                pixels::<K, S, 1>(&group, x.add(column * S * s.x.pixel), y.add(column * s.y.pixel));
            }
        }
    }
}

/// Sixteen values of 16 bits.
///
/// # Safety
/// They can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(p: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(p.cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn pairs(a: __m256i, b: __m256i) -> Pairs {
    [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)]
}

/// Sixteen values of 32 bits in the order of [`Pairs`].
///
/// # Safety
/// They can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_32(p: *const u8) -> Pairs {
    // SAFETY: the caller's promise.
    let (a, b) = unsafe { (_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())) };
    [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)]
}

impl<'a, const K: usize> Group<'a, K> {
    /// # Safety
    /// As [`crate::depthwise::strip::Micro`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn new(s: &'a Strip) -> Self {
        let zero = _mm256_setzero_si256();
        // SAFETY: the taps are K * K.
        let at = |row: usize, column: usize| unsafe {
            _mm256_cvtepi8_epi16(_mm_loadu_si128(s.w.add((row * K + column) * s.w_tap).cast()))
        };
        let mut w = Weights { down: [[[zero; 2]; K]; 2], across: [[[zero; 2]; 3]; 2] };
        for i in 0..K / 2 {
            for column in 0..K {
                w.down[i][column] = pairs(at(2 * i, column), at(2 * i + 1, column));
            }
        }
        for j in 0..=K / 2 {
            let middle = at(K - 1, 2 * j);
            w.across[0][j] = pairs(middle, if 2 * j + 1 < K { at(K - 1, 2 * j + 1) } else { zero });
            w.across[1][j] = pairs(if j > 0 { at(K - 1, 2 * j - 1) } else { zero }, middle);
        }
        // SAFETY: as the caller vouches.
        let (bias, scale) = unsafe { (load_32(s.bias), load_32(s.multiplier.cast())) };
        Self {
            s,
            w,
            bias,
            scale: [_mm256_castsi256_ps(scale[0]), _mm256_castsi256_ps(scale[1])],
            hi: _mm256_set1_ps(s.hi - s.zero_point as f32),
            lo: _mm256_set1_epi8(s.lo as i8),
            zero_point: _mm256_set1_epi16(s.zero_point as i16),
        }
    }
}

/// P outputs of a row: `x` is under the first one's tap (0, 0).
///
/// # Safety
/// As [`crate::depthwise::strip::Micro`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pixels<const K: usize, const S: usize, const P: usize>(g: &Group<'_, K>, x: *const u8, y: *mut u8) {
    let (row, pixel) = (g.s.x.row, g.s.x.pixel);
    let columns = (P - 1) * S + K;
    let mut sums = [g.bias; P];
    for i in 0..K / 2 {
        // SAFETY: rows and columns are those of the outputs' windows.
        let x = unsafe { x.add(2 * i * row) };
        unroll!(c in 0 1 2 3 4 5 6 7 8 9 10 {
            if c < columns {
                // SAFETY: as above.
                let v = unsafe { pairs(load(x.add(c * pixel)), load(x.add(row + c * pixel))) };
                for p in 0..P {
                    if (p * S..p * S + K).contains(&c) {
                        add(&mut sums[p], v, g.w.down[i][c - p * S]);
                    }
                }
            }
        });
    }
    // SAFETY: as above.
    let x = unsafe { x.add((K - 1) * row) };
    unroll!(j in 0 1 2 3 4 5 {
        if 2 * j < columns {
            // A column after the last one is multiplied by zero.
            let next = if 2 * j + 1 < columns { 2 * j + 1 } else { 2 * j };
            // SAFETY: as above.
            let v = unsafe { pairs(load(x.add(2 * j * pixel)), load(x.add(next * pixel))) };
            for p in 0..P {
                let (start, odd) = (p * S / 2, p * S % 2);
                if (start..=start + K / 2).contains(&j) {
                    add(&mut sums[p], v, g.w.across[odd][j - start]);
                }
            }
        }
    });
    for p in (0..P).step_by(2) {
        let both = requantize(g, sums[p], sums[if p + 1 < P { p + 1 } else { p }]);
        // SAFETY: outputs take a group.
        unsafe {
            let y = y.add(p * g.s.y.pixel);
            _mm_storeu_si128(y.cast(), _mm256_castsi256_si128(both));
            if p + 1 < P {
                _mm_storeu_si128(y.add(g.s.y.pixel).cast(), _mm256_extracti128_si256::<1>(both));
            }
        }
    }
}

/// Adds the products of pairs. The additions are opaque to the compiler, which would otherwise add products to one
/// another first and run out of registers for them.
#[inline]
#[target_feature(enable = "avx2")]
fn add(sums: &mut Pairs, x: Pairs, w: Pairs) {
    for i in 0..2 {
        let products = _mm256_madd_epi16(x[i], w[i]);
        // SAFETY: AVX2 is there.
        unsafe {
            asm!(
                "vpaddd {sum}, {sum}, {products}",
                sum = inout(ymm_reg) sums[i],
                products = in(ymm_reg) products,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
}

/// Twice sixteen sums to sixteen bytes each.
///
/// The bounds are integers, so rounding first gives the same. What is above the upper one goes no further than that;
/// what is below the range of i32 becomes its least, and narrowing saturates.
#[inline]
#[target_feature(enable = "avx2")]
fn requantize<const K: usize>(g: &Group<'_, K>, a: Pairs, b: Pairs) -> __m256i {
    let bytes = _mm256_max_epi8(_mm256_packs_epi16(words(g, a), words(g, b)), g.lo);
    _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes)
}

/// Sixteen sums to 16 bits each, the lower bound still to come.
#[inline]
#[target_feature(enable = "avx2")]
fn words<const K: usize>(g: &Group<'_, K>, sums: Pairs) -> __m256i {
    let mut q = sums;
    for i in 0..2 {
        let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i]), g.scale[i]);
        q[i] = _mm256_cvtps_epi32(_mm256_min_ps(v, g.hi));
    }
    _mm256_adds_epi16(_mm256_packs_epi32(q[0], q[1]), g.zero_point)
}
