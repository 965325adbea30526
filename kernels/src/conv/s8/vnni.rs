//! VPDPBUSD, exact: blocks of pixels, a few of them times a few panels at a time.
//!
//! The instruction multiplies unsigned bytes by signed ones, and adds four products in 32 bits. So a block's inputs are
//! copied to scratch with [`OFFSET`] added, and sums start at biases that make up for it. A pixel's four inputs,
//! repeated, meet a block of a panel's weights.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use crate::conv::avx512::{self, Dot, Run};
use crate::conv::block::{Block, Problem};
use crate::conv::gather::{self, Sink};
use crate::conv::lines::{self, Lines, Segment};
use crate::conv::micro::{KB_S8, NR};

/// What is added to inputs: the difference of an unsigned byte and a signed one.
pub(super) const OFFSET: i32 = 128;

/// Pixels computed at once with registers of 512 bits.
pub(super) const MR_512: usize = avx512::MR;

/// Pixels computed at once with registers of 256 bits.
pub(super) const MR_256: usize = 6;

/// Most pixels of a block.
const PIXELS: usize = 96;

/// Bytes of copied inputs.
const INPUT_BYTES: usize = 192 << 10;

/// Bytes past a pixel's inputs that may be written: they are copied 64 at a time.
const OVER: usize = 64;

/// Bytes of scratch.
pub(super) const SCRATCH: usize = INPUT_BYTES + OVER;

/// Bytes of lines.
pub(super) const LINES: usize = INPUT_BYTES;

/// Bytes from a pixel's `k` inputs to the next's: room for what is written past them, and no multiple of 4 KiB, which
/// would make all pixels share a few lines of the first-level cache.
fn stride(k: usize) -> usize {
    let stride = k + OVER;
    if stride.is_multiple_of(4 << 10) { stride + 64 } else { stride }
}

/// Most pixels of a block over `k` inputs.
pub(super) fn pixels<const MR: usize>(k: usize) -> usize {
    (INPUT_BYTES / stride(k)).min(PIXELS) / MR * MR
}

/// Where scaled sums are in the range of i32, roundings included. Few pixels' inputs are copied in no time.
pub(super) fn suits(p: &Problem) -> bool {
    p.reach < f64::from(1 << 30)
}

/// Whether merged runs of taps of this depth can be copied.
pub(super) fn merges(depth: usize) -> bool {
    depth.is_multiple_of(KB_S8)
}

/// Few channels: of three filled up to four, a quarter of the products would be with zeros.
pub(super) fn gapless(p: &Problem) -> bool {
    p.taps > 1 && p.depth < KB_S8
}

/// A register of 32-bit lanes: the output channels of one panel, or of two.
///
/// # Safety
/// Of all functions: the processor has the instructions, and pointers are valid for what is read and written.
trait Vector: Copy {
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
    /// Stores the first `n` of one pixel's sums.
    unsafe fn store<const P: usize>(sums: &[Self; P], y: *mut i32, n: usize);
    /// Zeros in place of multipliers.
    unsafe fn none() -> Self::Floats;
    /// Copies `n` bytes with [`OFFSET`] added to each; up to 63 bytes may be written past them.
    unsafe fn shift(from: *const u8, to: *mut u8, n: usize);
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
        // SAFETY: as above. Rows that are not there are the last one again.
        unsafe {
            match P {
                1 => {
                    for i in (0..M).step_by(4) {
                        let mut v = [sums[i][0]; 4];
                        for j in 0..4 {
                            v[j] = scaled(sums[(i + j).min(M - 1)][0], multiplier[0]);
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
                        let v = [
                            scaled(sums[i][0], multiplier[0]),
                            scaled(sums[i][1], multiplier[1]),
                            scaled(sums[next][0], multiplier[0]),
                            scaled(sums[next][1], multiplier[1]),
                        ];
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
                        let v = [
                            scaled(sums[i][0], multiplier[0]),
                            scaled(sums[i][1], multiplier[1]),
                            scaled(sums[i][2], multiplier[2]),
                            sums[i][2],
                        ];
                        let v = avx512::narrow(v, b.zero_point, b.lo, b.hi);
                        _mm512_mask_storeu_epi8(y[i].cast(), (1 << n.min(48)) - 1, v);
                    }
                }
                _ => {
                    for i in 0..M {
                        for p in (0..P).step_by(4) {
                            let mut v = [sums[i][p]; 4];
                            for j in 0..4 {
                                v[j] = scaled(sums[i][p + j], multiplier[p + j]);
                            }
                            let v = avx512::narrow(v, b.zero_point, b.lo, b.hi);
                            _mm512_storeu_si512(y[i].add(p * 16).cast(), v);
                        }
                    }
                }
            }
        }
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
                    let v = _mm256_cvtps_epi32(v);
                    let v = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
                    let v = _mm_adds_epi16(v, _mm_set1_epi16(b.zero_point as i16));
                    let v = _mm_max_epi8(_mm_packs_epi16(v, v), _mm_set1_epi8(b.lo as i8));
                    let v = _mm_min_epi8(v, _mm_set1_epi8(b.hi as i8));
                    super::avx2::store(v, y[i].add(p * NR), n - p * NR);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const P: usize>(sums: &[Self; P], y: *mut i32, n: usize) {
        for p in 0..P {
            // SAFETY: as above.
            unsafe { super::avx2::store_sums(sums[p], y.wrapping_add(p * NR), n.saturating_sub(p * NR)) };
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

/// Copies runs of inputs, [`OFFSET`] added, to pixels `stride` bytes apart. What is written past a run is written over by
/// the runs that follow it, or lies between two pixels' inputs.
struct Copied<V> {
    vector: PhantomData<V>,
    to: *mut u8,
    stride: usize,
    /// Bytes of a tap.
    depth: usize,
}

impl<V: Vector> Sink for Copied<V> {
    #[inline(always)]
    unsafe fn take(&mut self, run: gather::Run) {
        // SAFETY: the pixels have room; inputs can be read as [`crate::conv::block::Run`] says.
        unsafe {
            let to = self.to.add(run.pixel * self.stride + run.tap * self.depth);
            V::shift(run.from, to, run.taps * self.depth);
        }
    }
}

/// Copies inputs to lines.
struct Shifted<V>(PhantomData<V>);

impl<V: Vector> lines::Copy for Shifted<V> {
    #[inline(always)]
    unsafe fn copy(from: *const u8, to: *mut u8, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { V::shift(from, to, n) }
    }
}

/// How the copied inputs of neighbouring pixels lie.
#[derive(Clone, Copy)]
struct Inputs {
    /// Bytes from a pixel to the next.
    stride: usize,
    /// Runs of a pixel, bytes from one to the next, and units of each.
    runs: usize,
    apart: usize,
    units: usize,
}

/// Where they are: all one after another, or by lines.
enum Place {
    Pixels,
    Lines(Lines),
}

/// A block being computed, its inputs copied.
struct Work<'a, V: Vector> {
    b: &'a Block<'a>,
    vector: PhantomData<V>,
    /// Inputs of a pixel.
    k: usize,
    inputs: Inputs,
    place: Place,
}

/// How many of `left` pixels to do at once, of which at most `most`: all, or so that the rest is not too few.
fn at_once(left: usize, most: usize) -> usize {
    match left {
        // Of as many there is a loop.
        _ if left == most || left >= most + 4 => most,
        _ if left > most => {
            if most == MR_512 {
                8
            } else {
                left.div_ceil(2)
            }
        }
        9.. => left.div_ceil(2),
        _ => left,
    }
}

/// P registers' worth of output channels.
struct Columns<V: Vector, const P: usize> {
    /// Each register's panels.
    w: [[*const u8; 2]; P],
    bias: [V; P],
    multiplier: [V::Floats; P],
    /// The first channel.
    first: usize,
}

impl<V: Vector> Work<'_, V> {
    /// Output channels of a register.
    const LANES: usize = V::PANELS * NR;

    /// # Safety
    /// As [`crate::conv::block::Run`]; each register's first panel is there.
    #[inline(always)]
    unsafe fn columns<const P: usize>(&self, first: usize) -> Columns<V, P> {
        let b = self.b;
        // SAFETY: biases and multipliers are there for whole panels, and 32 bytes behind them can be read.
        unsafe {
            let mut c = Columns {
                w: [[b.w; 2]; P],
                bias: [V::load(b.bias.cast()); P],
                multiplier: [V::none(); P],
                first,
            };
            for p in 0..P {
                let at = first + p * Self::LANES;
                let w = b.w.add(at * self.k);
                // Channels of a panel that is not there do not count: the first one takes its place.
                c.w[p] = [w, if b.cols - at > NR { w.add(NR * self.k) } else { w }];
                c.bias[p] = V::load(b.bias.cast::<i32>().add(at));
                if !b.multiplier.is_null() {
                    c.multiplier[p] = V::load_f32(b.multiplier.add(at));
                }
            }
            c
        }
    }

    /// M pixels from `pixel` on, the first one's inputs at `a`.
    ///
    /// # Safety
    /// As [`crate::conv::block::Run`]; the pixels are the block's.
    #[inline(always)]
    unsafe fn tile<const M: usize, const P: usize>(&self, c: &Columns<V, P>, pixel: usize, a: *const u8) {
        let (b, inputs) = (self.b, &self.inputs);
        let units = inputs.units;
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [c.bias; M];
            let mut w = c.w;
            for run in 0..if units > 0 { inputs.runs } else { 0 } {
                V::multiply(
                    &mut sums,
                    &Run {
                        a: a.add(run * inputs.apart),
                        stride: inputs.stride,
                        w,
                        units,
                        ahead: avx512::ahead::<P>(w[0][0], self.k / KB_S8, units, pixel / M),
                    },
                );
                w = w.map(|pair| pair.map(|w| w.wrapping_add(units * KB_S8 * NR)));
            }
            if b.multiplier.is_null() {
                for i in 0..M {
                    let y = (*b.y.add(pixel + i)).add(b.offset).cast::<i32>();
                    V::store(&sums[i], y.add(c.first), b.cols - c.first);
                }
                return;
            }
            let mut y = [*b.y; M];
            for i in 0..M {
                y[i] = (*b.y.add(pixel + i)).add(b.offset + c.first);
            }
            V::finish(&sums, &c.multiplier, b, y, b.cols - c.first);
        }
    }

    /// The pixels from `pixel` on that lie evenly spaced.
    fn segment(&self, pixel: usize) -> Segment {
        match &self.place {
            Place::Pixels => {
                let inputs = self.b.scratch.cast_const().wrapping_add(pixel * self.inputs.stride);
                Segment { pixel, count: self.b.pixels - pixel, inputs }
            }
            Place::Lines(lines) => lines.segment(pixel),
        }
    }

    /// All pixels times P registers of channels from `first` on, MR pixels at a time and then fewer.
    ///
    /// # Safety
    /// As [`crate::conv::block::Run`]; each register has channels that count.
    #[inline(always)]
    unsafe fn all<const MR: usize, const P: usize>(&self, first: usize) {
        let mut next = 0;
        // SAFETY: the caller's promise.
        unsafe {
            let c = self.columns::<P>(first);
            while next < self.b.pixels {
                let Segment { mut pixel, count, inputs: mut a } = self.segment(next);
                next = pixel + count;
                while pixel < next {
                    let m = at_once(next - pixel, MR);
                    macro_rules! tiles {
                        ($($m:literal)+) => {
                            match m {
                                $($m if $m <= MR => self.tile::<$m, P>(&c, pixel, a),)+
                                _ => self.tile::<MR, P>(&c, pixel, a),
                            }
                        };
                    }
                    tiles!(1 2 3 4 5 6 7 8);
                    a = a.add(m * self.inputs.stride);
                    pixel += m;
                }
            }
        }
    }

    /// The block's M pixels times P registers of channels at a time, as long as there are so many: few pixels alone have
    /// too few sums to keep multipliers busy. How many channels have been done.
    ///
    /// # Safety
    /// As [`crate::conv::block::Run`]; there are M pixels.
    #[inline(always)]
    unsafe fn wide<const M: usize, const P: usize>(&self) -> usize {
        let mut first = 0;
        while self.b.cols - first >= P * Self::LANES {
            // SAFETY: the caller's promise.
            unsafe { self.tile::<M, P>(&self.columns::<P>(first), 0, self.segment(0).inputs) };
            first += P * Self::LANES;
        }
        first
    }
}

/// A block of pixels, two registers of channels at a time.
///
/// # Safety
/// As [`crate::conv::block::Run`], with biases that make up for the offset.
#[inline(always)]
unsafe fn block<V: Vector, const MR: usize>(b: &Block<'_>) {
    let depth = if b.gapless { b.depth } else { b.depth.next_multiple_of(KB_S8) };
    let lanes = V::PANELS * NR;
    // SAFETY: the caller's promise; the scratch has [`SCRATCH`] bytes.
    unsafe {
        let work = if b.lines {
            let [down, across] = b.inputs.taps();
            let units = (across * depth).div_ceil(KB_S8);
            let lines = b.inputs.lines::<Shifted<V>>(depth, b.scratch);
            let inputs = Inputs { stride: lines.pixel, runs: down, apart: lines.line, units };
            Work { b, vector: PhantomData::<V>, k: down * units * KB_S8, inputs, place: Place::Lines(lines) }
        } else {
            let k = b.taps * depth;
            // Rows of a matrix without gaps are copied as one run.
            let dense = b.inputs.matrix().is_some_and(|(_, row)| row == k && !row.is_multiple_of(4 << 10));
            let stride = if dense { k } else { stride(k) };
            match b.inputs.matrix() {
                Some((from, row)) if dense => V::shift(from, b.scratch, b.pixels * row),
                _ => {
                    let mut to = Copied { vector: PhantomData::<V>, to: b.scratch, stride, depth };
                    b.inputs.runs(0..b.taps, &mut to);
                }
            }
            let inputs = Inputs { stride, runs: 1, apart: 0, units: k / KB_S8 };
            Work { b, vector: PhantomData::<V>, k, inputs, place: Place::Pixels }
        };
        let mut first = match b.pixels {
            1 => work.wide::<1, 8>(),
            2 | 3 if V::PANELS == 1 => 0,
            2 => work.wide::<2, 4>(),
            3 => work.wide::<3, 4>(),
            _ => 0,
        };
        while first < b.cols {
            match (b.cols - first).div_ceil(lanes) {
                1 => {
                    work.all::<MR, 1>(first);
                    first += lanes;
                }
                // In place of two, of which the second would have one register alone.
                3 if V::PANELS == 2 => {
                    work.all::<{ avx512::MR_3 }, 3>(first);
                    first += 3 * lanes;
                }
                _ => {
                    work.all::<MR, 2>(first);
                    first += 2 * lanes;
                }
            }
        }
    }
}

/// Twelve pixels times four panels.
///
/// # Safety
/// As [`block`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn block_12x32(b: &Block<'_>) {
    // SAFETY: the caller's promise.
    unsafe { block::<__m512i, MR_512>(b) }
}

/// Six pixels times two panels.
///
/// # Safety
/// As [`block`].
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn block_6x16(b: &Block<'_>) {
    // SAFETY: the caller's promise.
    unsafe { block::<__m256i, MR_256>(b) }
}
