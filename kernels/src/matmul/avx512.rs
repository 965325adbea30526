//! AVX-512: twelve rows of `a` times 32 columns of `b` at once, which is packed to the panels of convolution's loops.
//!
//! f32 reads `a` where it is. s8 copies it with 128 added, for VPDPBUSD takes unsigned bytes; sums of rows and columns
//! then make up for that and for the zero points.

use std::arch::x86_64::*;

use super::{Block, MB};
use crate::conv::avx512::{self, Dot, Fma, LANES, MR, Multiply, Run, Sums};
use crate::conv::micro::{KB_S8, NR};

/// Columns of `b` that are packed at once, as panels of [`NR`].
const COLUMNS: usize = 4 * NR;

/// Rows of `b` that are packed at once.
const DEPTH: usize = 1024;

/// Bytes between rows of copied inputs beyond their own.
const APART: usize = 64;

/// Bytes of scratch: panels, s8 rows, and sums that wait for the next part of the depth.
const PANELS: usize = DEPTH * COLUMNS * 4;
const ROWS: usize = MB * (DEPTH + APART);
const WAITING: usize = MB * COLUMNS * 4;

/// Bytes of scratch for f32.
pub(super) const SCRATCH_F32: usize = PANELS;

/// Bytes of scratch for s8.
pub(super) const SCRATCH_S8: usize = PANELS / 4 + ROWS + WAITING;

/// Eight registers of eight 32-bit elements, transposed.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(r: [__m256; 8]) -> [__m256; 8] {
    let mut pairs = r;
    for i in 0..4 {
        let (a, b) = (r[2 * i], r[2 * i + 1]);
        (pairs[2 * i], pairs[2 * i + 1]) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    }
    // Of rows 0 to 3 and 4 to 7: elements 0 and 4, 1 and 5, 2 and 6, 3 and 7.
    let mut fours = pairs;
    for half in 0..2 {
        let p = &pairs[4 * half..];
        fours[4 * half] = _mm256_shuffle_ps::<0b01_00_01_00>(p[0], p[2]);
        fours[4 * half + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(p[0], p[2]);
        fours[4 * half + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(p[1], p[3]);
        fours[4 * half + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(p[1], p[3]);
    }
    let mut out = fours;
    for i in 0..4 {
        out[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        out[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
    }
    out
}

/// The first `n` bytes of 32, zeros behind them.
///
/// # Safety
/// They can be read.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
unsafe fn part(p: *const u8, n: usize) -> __m256i {
    // SAFETY: the mask keeps the load inside.
    unsafe { _mm256_maskz_loadu_epi8((u64::MAX >> (64 - n.clamp(1, 32))) as u32, p.cast()) }
}

/// Packs `n` columns of which each is a run of memory, `units` units of four bytes from `from` on, the last of them short
/// of `missing` bytes: to panels of `units` units. Columns that are not there become zeros.
///
/// # Safety
/// `from` is valid for `n` runs, `pitch` bytes apart; `to` for the panels.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
unsafe fn pack_runs(from: *const u8, pitch: usize, n: usize, units: usize, missing: usize, to: *mut u8) {
    for panel in 0..n.div_ceil(NR) {
        for unit in (0..units).step_by(8) {
            let bytes = (units - unit).min(8) * 4 - if unit + 8 >= units { missing } else { 0 };
            let mut rows = [_mm256_setzero_ps(); 8];
            // SAFETY: the caller's promise.
            unsafe {
                for i in 0..NR.min(n - panel * NR) {
                    let row = from.add((panel * NR + i) * pitch + unit * 4);
                    let row = if bytes == 32 { _mm256_loadu_si256(row.cast()) } else { part(row, bytes) };
                    rows[i] = _mm256_castsi256_ps(row);
                }
                let rows = transpose(rows);
                let to = to.add((panel * units + unit) * NR * 4).cast::<f32>();
                for i in 0..(units - unit).min(8) {
                    _mm256_storeu_ps(to.add(i * NR), rows[i]);
                }
            }
        }
    }
}

/// Packs `n` columns of `depth` rows of f32 from `from` on to panels.
///
/// # Safety
/// As [`pack_runs`], of rows.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
unsafe fn pack_rows_f32(from: *const u8, pitch: usize, n: usize, depth: usize, to: *mut u8) {
    for k in 0..depth {
        for panel in 0..n.div_ceil(NR) {
            let cols = (n - panel * NR).min(NR);
            // SAFETY: the caller's promise.
            unsafe {
                let row = from.add(k * pitch + panel * NR * 4);
                let row = if cols == NR { _mm256_loadu_si256(row.cast()) } else { part(row, cols * 4) };
                _mm256_storeu_si256(to.add((panel * depth + k) * NR * 4).cast(), row);
            }
        }
    }
}

/// Packs `n` columns of `depth` rows of bytes from `from` on to panels, filled up to whole units with zeros.
///
/// # Safety
/// As [`pack_runs`], of rows.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn pack_rows_s8(from: *const u8, pitch: usize, n: usize, depth: usize, to: *mut u8) {
    let units = depth.div_ceil(KB_S8);
    // Byte `4 c + r` of the low half of 128 is byte c of row r: rows 0 and 1 are in the first register, 2 and 3 in the
    // second one.
    let columns = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let columns = _mm512_mullo_epi32(columns, _mm512_set1_epi32(0x0101_0101));
    let low = _mm512_add_epi32(columns, _mm512_set1_epi32(0x6040_2000));
    let high = _mm512_add_epi32(columns, _mm512_set1_epi32(0x7050_3010));
    for unit in 0..units {
        // SAFETY: the caller's promise.
        unsafe {
            let mut rows = [_mm256_setzero_si256(); KB_S8];
            for i in 0..(depth - unit * KB_S8).min(KB_S8) {
                let row = from.add((unit * KB_S8 + i) * pitch);
                rows[i] = if n >= 32 { _mm256_loadu_si256(row.cast()) } else { part(row, n) };
            }
            let a = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(rows[0]), rows[1]);
            let b = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(rows[2]), rows[3]);
            let (low, high) = (_mm512_permutex2var_epi8(a, low, b), _mm512_permutex2var_epi8(a, high, b));
            let to = to.add(unit * NR * 4);
            let panel = units * NR * 4;
            _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(low));
            _mm256_storeu_si256(to.add(panel).cast(), _mm512_extracti64x4_epi64::<1>(low));
            _mm256_storeu_si256(to.add(2 * panel).cast(), _mm512_castsi512_si256(high));
            _mm256_storeu_si256(to.add(3 * panel).cast(), _mm512_extracti64x4_epi64::<1>(high));
        }
    }
}

/// A part of the depth, its columns packed.
struct Packed {
    panels: *const u8,
    units: usize,
    /// The first row of `a`, from the part's first element on, and bytes from a row to the next.
    a: *const u8,
    a_pitch: usize,
    /// Columns that count, at most [`COLUMNS`].
    cols: usize,
}

impl Packed {
    /// The products of M rows from `row` on, added to `sums`.
    ///
    /// # Safety
    /// The part's rows and panels are there; AVX-512 F, DQ and VNNI are too.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
    unsafe fn multiply<O: Multiply, const M: usize, const P: usize>(
        &self,
        sums: &mut Sums<M, P>,
        row: usize,
    ) {
        let panel = self.units * NR * 4;
        let mut w = [[self.panels; 2]; P];
        // SAFETY: the caller's promise.
        unsafe {
            for p in 0..P {
                let first = self.panels.add(2 * p * panel);
                // Columns of a panel that is not there do not count: the first one takes its place.
                let second = if self.cols > (2 * p + 1) * NR { first.add(panel) } else { first };
                w[p] = [first, second];
            }
            let (a, stride) = (self.a.add(row * self.a_pitch), self.a_pitch);
            let run = Run { a, stride, w, units: self.units, ahead: w[0][0] };
            avx512::multiply::<O, M, P>(sums, &run);
        }
    }
}

/// Calls a function for all rows, twelve at a time and then fewer, with as many pairs of panels as there are columns.
macro_rules! each_tile {
    ($rows:expr, $cols:expr, |$row:ident| $function:ident ($($argument:expr),*)) => {{
        let (rows, mut $row) = ($rows, 0);
        while $row < rows {
            match (rows - $row, $cols > LANES) {
                (12.., true) => $function::<12, 2>($($argument),*),
                (12.., false) => $function::<12, 1>($($argument),*),
                (4..12, true) => $function::<4, 2>($($argument),*),
                (4..12, false) => $function::<4, 1>($($argument),*),
                (3, true) => $function::<3, 2>($($argument),*),
                (3, false) => $function::<3, 1>($($argument),*),
                (2, true) => $function::<2, 2>($($argument),*),
                (2, false) => $function::<2, 1>($($argument),*),
                (_, true) => $function::<1, 2>($($argument),*),
                (_, false) => $function::<1, 1>($($argument),*),
            }
            $row += match rows - $row {
                MR.. => MR,
                4.. => 4,
                few => few,
            };
        }
    }};
}

/// A block of f32.
///
/// # Safety
/// As [`super::Run`].
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn run_f32(g: &Block) {
    for first in g.cols.clone().step_by(COLUMNS) {
        let cols = COLUMNS.min(g.cols.end - first);
        let mut start = 0;
        loop {
            let depth = DEPTH.min(g.k - start);
            // SAFETY: the caller's promise: columns and rows are those of the matrices, the scratch has its room.
            unsafe {
                if g.transpose_b {
                    let b = g.b.add((first * g.b_pitch + start) * 4);
                    pack_runs(b, g.b_pitch * 4, cols, depth, 0, g.scratch);
                } else {
                    let b = g.b.add((start * g.b_pitch + first) * 4);
                    pack_rows_f32(b, g.b_pitch * 4, cols, depth, g.scratch);
                }
                let a = g.a.add((g.rows.start * g.a_pitch + start) * 4);
                let packed = Packed { panels: g.scratch, units: depth, a, a_pitch: g.a_pitch * 4, cols };
                let ends = [start == 0, start + depth == g.k];
                each_tile!(g.rows.len(), cols, |row| tile_f32(g, &packed, first, row, ends));
            }
            start += depth;
            if start >= g.k {
                break;
            }
        }
    }
}

/// M rows from `row` on times P pairs of panels from column `first` on: a part of the depth, the first or the last as
/// `ends` say. Sums wait in the output for the next part.
///
/// # Safety
/// As [`super::Run`], the part having been packed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile_f32<const M: usize, const P: usize>(
    g: &Block,
    packed: &Packed,
    first: usize,
    row: usize,
    [begins, ends]: [bool; 2],
) {
    let mut sums: Sums<M, P> = [[_mm512_setzero_si512(); P]; M];
    let (scale, lo, hi) = (_mm512_set1_ps(g.scale), _mm512_set1_ps(g.lo), _mm512_set1_ps(g.hi));
    // SAFETY: the rows and columns are inside `y`.
    unsafe {
        let y = g.y.cast::<f32>().add((g.rows.start + row) * g.y_pitch + first);
        for p in 0..P {
            let mask = ((1_u32 << (packed.cols - p * LANES).min(LANES)) - 1) as u16;
            if !begins {
                for i in 0..M {
                    sums[i][p] = _mm512_maskz_loadu_epi32(mask, y.add(i * g.y_pitch + p * LANES).cast());
                }
            }
        }
        if packed.units > 0 {
            packed.multiply::<Fma, M, P>(&mut sums, row);
        }
        for p in 0..P {
            let mask = ((1_u32 << (packed.cols - p * LANES).min(LANES)) - 1) as u16;
            for i in 0..M {
                let mut v = _mm512_castsi512_ps(sums[i][p]);
                if ends {
                    v = _mm512_min_ps(hi, _mm512_max_ps(lo, _mm512_mul_ps(v, scale)));
                }
                _mm512_mask_storeu_ps(y.add(i * g.y_pitch + p * LANES), mask, v);
            }
        }
    }
}

/// Whether sums times the multiplier are in the range of i32, so that they may be rounded before they are bounded.
pub(super) fn suits_s8(k: usize, scale: f32) -> bool {
    255.0 * 255.0 * k as f64 * f64::from(scale.abs()) < f64::from(1 << 30)
}

/// Where the parts of the s8 scratch are.
struct Scratch {
    panels: *mut u8,
    rows: *mut u8,
    waiting: *mut i32,
}

/// A block of s8.
///
/// # Safety
/// As [`super::Run`].
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(super) unsafe fn run_s8(g: &Block) {
    let mut row_sums = [0_i32; MB];
    for first in g.cols.clone().step_by(COLUMNS) {
        let cols = COLUMNS.min(g.cols.end - first);
        let mut column_sums = [_mm512_setzero_si512(); 2];
        let once = g.k <= DEPTH;
        let mut start = 0;
        if !once || first == g.cols.start {
            row_sums = [0; MB];
        }
        loop {
            let depth = DEPTH.min(g.k - start);
            let units = depth.div_ceil(KB_S8);
            // SAFETY: the caller's promise: columns and rows are those of the matrices, the scratch has its room.
            unsafe {
                let s = Scratch {
                    panels: g.scratch,
                    rows: g.scratch.add(PANELS / 4),
                    waiting: g.scratch.add(PANELS / 4 + ROWS).cast(),
                };
                if g.transpose_b {
                    let b = g.b.add(first * g.b_pitch + start);
                    pack_runs(b, g.b_pitch, cols, units, units * KB_S8 - depth, s.panels);
                } else {
                    pack_rows_s8(g.b.add(start * g.b_pitch + first), g.b_pitch, cols, depth, s.panels);
                }
                if !once || first == g.cols.start {
                    for (i, sum) in row_sums[..g.rows.len()].iter_mut().enumerate() {
                        let a = g.a.add((g.rows.start + i) * g.a_pitch + start);
                        *sum += shift(a, s.rows.add(i * (DEPTH + APART)), depth);
                    }
                }
                let a_pitch = DEPTH + APART;
                let packed = Packed { panels: s.panels, units, a: s.rows, a_pitch, cols };
                add_columns(&packed, &mut column_sums);
                let ends = [start == 0, start + depth == g.k];
                let offsets = Offsets::new(g, &column_sums);
                each_tile!(g.rows.len(), cols, |row| tile_s8(
                    g,
                    &packed,
                    &s,
                    &offsets,
                    &row_sums[row..],
                    first,
                    row,
                    ends
                ));
            }
            start += depth;
            if start >= g.k {
                break;
            }
        }
    }
}

/// Copies `n` bytes with 128 added, filled up to a whole unit with zeros; their sum without what was added.
///
/// # Safety
/// `from` is valid for `n` bytes, `to` for as many rounded up to 64.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn shift(from: *const u8, to: *mut u8, n: usize) -> i32 {
    let (offset, ones) = (_mm512_set1_epi8(-128), _mm512_set1_epi8(1));
    let mut sums = _mm512_setzero_si512();
    for i in (0..n).step_by(64) {
        let mask = u64::MAX >> (64 - (n - i).min(64));
        // SAFETY: the caller's promise; the mask keeps the load inside.
        unsafe {
            let v = _mm512_maskz_loadu_epi8(mask, from.add(i).cast());
            let v = _mm512_maskz_mov_epi8(mask, _mm512_xor_si512(v, offset));
            sums = _mm512_dpbusd_epi32(sums, v, ones);
            _mm512_storeu_si512(to.add(i).cast(), v);
        }
    }
    _mm512_reduce_add_epi32(sums) - 128 * n as i32
}

/// Adds the sums of the packed columns.
///
/// # Safety
/// Panels are there for the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
unsafe fn add_columns(packed: &Packed, sums: &mut [__m512i; 2]) {
    let ones = _mm512_set1_epi8(1);
    let panel = packed.units * NR * 4;
    for unit in 0..packed.units {
        for p in 0..packed.cols.div_ceil(LANES) {
            // SAFETY: the caller's promise; a second panel that is not there is the first one again.
            unsafe {
                let first = packed.panels.add(2 * p * panel + unit * NR * 4);
                let second = if packed.cols > (2 * p + 1) * NR { first.add(panel) } else { first };
                let low = _mm512_castsi256_si512(_mm256_loadu_si256(first.cast()));
                let both = _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(second.cast()));
                sums[p] = _mm512_dpbusd_epi32(sums[p], ones, both);
            }
        }
    }
}

/// What makes `sum of (a + 128) * b` the sum of `(a - za) * (b - zb)`: for each column, and by the sum of a row.
struct Offsets {
    columns: [__m512i; 2],
    b: i32,
}

impl Offsets {
    /// `(a + 128) * b` has `128 * b` too much; then `- za * b - zb * a + za * zb` are wanting.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(g: &Block, column_sums: &[__m512i; 2]) -> Self {
        let [za, zb, _] = g.zero_points;
        let all = _mm512_set1_epi32((g.k as i32).wrapping_mul(za * zb));
        let each = _mm512_set1_epi32(128 + za);
        let mut columns = *column_sums;
        for p in 0..2 {
            columns[p] = _mm512_sub_epi32(all, _mm512_mullo_epi32(each, column_sums[p]));
        }
        Self { columns, b: zb }
    }
}

/// As [`tile_f32`]; sums wait in the scratch.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[allow(clippy::too_many_arguments)]
unsafe fn tile_s8<const M: usize, const P: usize>(
    g: &Block,
    packed: &Packed,
    s: &Scratch,
    offsets: &Offsets,
    row_sums: &[i32],
    first: usize,
    row: usize,
    [begins, ends]: [bool; 2],
) {
    let mut sums: Sums<M, P> = [[_mm512_setzero_si512(); P]; M];
    let scale = _mm512_set1_ps(g.scale);
    // SAFETY: the rows and columns are inside `y`, and sums have their room.
    unsafe {
        let waiting = s.waiting.add(row * COLUMNS);
        if !begins {
            for i in 0..M {
                for p in 0..P {
                    sums[i][p] = _mm512_loadu_si512(waiting.add(i * COLUMNS + p * LANES).cast());
                }
            }
        }
        packed.multiply::<Dot, M, P>(&mut sums, row);
        for i in 0..M {
            if !ends {
                for p in 0..P {
                    _mm512_storeu_si512(waiting.add(i * COLUMNS + p * LANES).cast(), sums[i][p]);
                }
                continue;
            }
            let of_row = _mm512_set1_epi32(offsets.b.wrapping_mul(row_sums[i]));
            let mut v = [_mm512_setzero_si512(); 4];
            for p in 0..P {
                let sum = _mm512_sub_epi32(_mm512_add_epi32(sums[i][p], offsets.columns[p]), of_row);
                v[p] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale));
            }
            let v = avx512::narrow(v, g.zero_points[2], g.lo, g.hi);
            let y = g.y.add((g.rows.start + row + i) * g.y_pitch + first);
            let mask = u64::MAX >> (64 - packed.cols.min(P * LANES));
            _mm512_mask_storeu_epi8(y.cast(), mask, v);
        }
    }
}
