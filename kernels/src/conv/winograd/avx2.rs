//! AVX2: sixteen input channels at a time to transform, six tiles times two panels at a time to multiply.

use std::arch::x86_64::*;

use super::{Form, GROUP, Inputs, Isa, Matrices, Outputs, STEP, Weights, plan::Cost, transform};
use crate::conv::micro::{KB_S8, NR};
use crate::conv::residual::Lanes;
use crate::cpu::Features;
use crate::simd::{Avx2, V8};

/// Tiles multiplied at once.
const MR: usize = 6;

pub(super) const ISA: Isa = Isa {
    name: "conv_s8_winograd_avx2",
    needs: Features::AVX2,
    form: Form::TWO,
    inputs,
    weights,
    multiply,
    outputs,
    // On a Zen 3; `direct` is that of a kernel at 22 multiply-accumulates a cycle.
    cost: Cost {
        room: 256 << 10,
        input: 60.0,
        weights: 60.0,
        multiply: 0.034,
        at_once: 1,
        sums: 1.0,
        output: 45.0,
        direct: 0.045,
        finish: 7.0,
    },
};

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "avx2")]
unsafe fn inputs(a: &Inputs<'_>) {
    for (tile, pixels) in a.tiles.as_chunks::<16>().0.iter().enumerate() {
        for k in (0..a.depth).step_by(STEP) {
            // SAFETY: 16 channels of each pixel can be read, and the tile's row has room for as many.
            unsafe {
                let mut d = [[_mm256_setzero_si256(); 4]; 4];
                for i in 0..16 {
                    d[i / 4][i % 4] = _mm256_cvtepi8_epi16(_mm_loadu_si128(pixels[i].add(k).cast()));
                }
                let v = transform::input!(d, _mm256_add_epi16, _mm256_sub_epi16);
                let to = a.to.add(tile * a.row + k);
                for (position, &v) in v.as_flattened().iter().enumerate() {
                    _mm256_storeu_si256(to.add(position * a.stride).cast(), v);
                }
            }
        }
    }
}

/// To `[position][depth / 2][panel][NR][2]`: what VPMADDWD takes.
///
/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "avx2")]
unsafe fn weights(a: &Weights) {
    // Within four channels, the first two inputs of each, then the others.
    let pairs =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    for panel in 0..a.panels {
        for k in (0..a.depth).step_by(KB_S8) {
            // SAFETY: a panel is nine taps of at least `depth` inputs of eight channels; `to` has room for the
            // transformed ones.
            unsafe {
                let from = a.from.add(panel * 9 * a.tap + k * NR);
                let mut both = [[[_mm256_setzero_si256(); 3]; 3]; 2];
                for tap in 0..9 {
                    let w = _mm256_loadu_si256(from.add(tap * a.tap).cast());
                    let w = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_shuffle_epi8(w, pairs));
                    both[0][tap / 3][tap % 3] = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(w));
                    both[1][tap / 3][tap % 3] = _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(w));
                }
                for (pair, g) in both.into_iter().enumerate() {
                    let u = transform::weights!(g, _mm256_add_epi16, _mm256_sub_epi16);
                    let to = a.to.add((k + 2 * pair) * a.panels * NR + panel * 2 * NR);
                    for (position, &u) in u.as_flattened().iter().enumerate() {
                        _mm256_storeu_si256(to.add(position * a.stride).cast(), u);
                    }
                }
            }
        }
    }
}

/// R tiles from `tile` on times P panels, at one position.
///
/// # Safety
/// As [`Isa`] asks, `a.panels` being P; the tiles are among `a.tiles`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn block<const R: usize, const P: usize>(a: &Matrices, position: usize, tile: usize) {
    // SAFETY: the elements that the structure describes.
    unsafe {
        let mut near = a.inputs.add(position * a.input_stride + tile * a.row);
        let mut w = a.weights.add(position * a.weight_stride);
        let to = a.sums.add(position * a.sum_stride + tile * GROUP * NR).cast::<[__m256i; GROUP]>();
        let mut sums = [[_mm256_setzero_si256(); P]; R];
        for _ in (0..a.depth).step_by(KB_S8) {
            // Two addresses reach all rows by what an instruction can scale.
            let far = near.add(3 * a.row);
            for k in [0, 2] {
                let mut wk = [_mm256_setzero_si256(); P];
                for p in 0..P {
                    wk[p] = _mm256_loadu_si256(w.add((k * P + 2 * p) * NR).cast());
                }
                for r in 0..R {
                    let x = if r < 3 { near.add(r * a.row) } else { far.add((r - 3) * a.row) };
                    let x = _mm256_set1_epi32(x.add(k).cast::<i32>().read_unaligned());
                    for p in 0..P {
                        sums[r][p] = _mm256_add_epi32(sums[r][p], _mm256_madd_epi16(x, wk[p]));
                    }
                }
            }
            near = near.add(KB_S8);
            w = w.add(KB_S8 * P * NR);
        }
        for r in 0..R {
            for p in 0..P {
                let to = to.add(r).cast::<__m256i>().add(p);
                let sum = sums[r][p];
                _mm256_storeu_si256(
                    to,
                    if a.add { _mm256_add_epi32(sum, _mm256_loadu_si256(to)) } else { sum },
                );
            }
        }
    }
}

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "avx2")]
unsafe fn multiply(a: &Matrices) {
    // SAFETY: the caller's promise.
    unsafe {
        match a.panels {
            1 => positions::<1>(a),
            _ => positions::<2>(a),
        }
    }
}

/// # Safety
/// As [`Isa`] asks, `a.panels` being P.
#[target_feature(enable = "avx2")]
unsafe fn positions<const P: usize>(a: &Matrices) {
    // Even shares, so that no few tiles are left over.
    for position in 0..a.form.positions() {
        let tiles = a.having(position);
        let blocks = tiles.len().div_ceil(MR);
        for i in 0..blocks {
            let [tile, end] = [i, i + 1].map(|i| tiles.start + i * tiles.len() / blocks);
            // SAFETY: the caller's promise; shares are at most `MR` tiles.
            unsafe {
                match end - tile {
                    1 => block::<1, P>(a, position, tile),
                    2 => block::<2, P>(a, position, tile),
                    3 => block::<3, P>(a, position, tile),
                    4 => block::<4, P>(a, position, tile),
                    5 => block::<5, P>(a, position, tile),
                    _ => block::<MR, P>(a, position, tile),
                }
            }
        }
    }
}

/// # Safety
/// As [`Isa`] asks.
#[target_feature(enable = "avx2")]
unsafe fn outputs(a: &mut Outputs<'_>) {
    let zero = a.zero_point as f32;
    let (lo, hi) = (_mm256_set1_ps(a.lo - zero), _mm256_set1_ps(a.hi - zero));
    let zero = _mm256_set1_epi32(a.zero_point);
    // SAFETY: constants are there for whole panels.
    let bias = unsafe { _mm256_loadu_si256(a.bias.cast()) };
    // SAFETY: likewise.
    let multiplier = unsafe { _mm256_loadu_ps(a.multiplier) };
    let added = a.added.map(Lanes::<Avx2>::of);
    // As `crate::conv::s8::requantize` does. Nearest even is the mode that every thread starts in.
    let requantize = |sum: __m256i| {
        let sum = _mm256_add_epi32(_mm256_srai_epi32::<2>(sum), bias);
        let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), multiplier);
        let v = _mm256_min_ps(_mm256_max_ps(v, lo), hi);
        _mm256_add_epi32(_mm256_cvtps_epi32(v), zero)
    };
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (tile, to) in a.results.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        // SAFETY: the sums that the structure describes; four pixels of eight bytes.
        unsafe {
            let from = a.sums.add(tile * GROUP * NR);
            let mut m = [[_mm256_setzero_si256(); 4]; 4];
            for i in 0..16 {
                m[i / 4][i % 4] = _mm256_loadu_si256(from.add(i * a.stride).cast());
            }
            let [[y0, y1], [y2, y3]] = transform::output!(m, _mm256_add_epi32, _mm256_sub_epi32);
            if let Some(added) = added {
                for (y, to) in [y0, y1, y2, y3].into_iter().zip(to) {
                    let mut sums = [0; NR];
                    let sum = _mm256_add_epi32(_mm256_srai_epi32::<2>(y), bias);
                    _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum);
                    let to = to.as_mut_ptr();
                    added.results(sums.as_ptr(), V8::load(a.multiplier), to, to.cast());
                }
                continue;
            }
            let (y0, y1, y2, y3) = (requantize(y0), requantize(y1), requantize(y2), requantize(y3));
            // The four pixels' first channels, then their last ones; then pixel by pixel.
            let halves = _mm256_packs_epi16(_mm256_packs_epi32(y0, y1), _mm256_packs_epi32(y2, y3));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm256_permutevar8x32_epi32(halves, order));
        }
    }
}
