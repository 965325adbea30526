//! VPDPBUSD, exact: blocks of pixels, a few of them times a few panels at a time.
//!
//! The instruction multiplies unsigned bytes by signed ones, and adds four products in 32 bits. So a block's inputs are
//! copied to scratch with [`OFFSET`] added, and sums start at biases that make up for it. A pixel's four inputs,
//! repeated, meet a block of a panel's weights.

mod vector;

use std::arch::x86_64::{__m256i, __m512i};
use std::marker::PhantomData;

use self::vector::{Rows, Vector};
use crate::conv::avx512::{self, AHEAD, Run};
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
            let ahead = avx512::ahead::<P>(w[0][0], self.k / KB_S8, inputs.runs * units, pixel / M);
            for run in 0..if units > 0 { inputs.runs } else { 0 } {
                V::multiply(
                    &mut sums,
                    &Run {
                        a: a.add(run * inputs.apart),
                        stride: inputs.stride,
                        w,
                        units,
                        ahead: ahead.wrapping_add(run * units * AHEAD),
                    },
                );
                w = w.map(|pair| pair.map(|w| w.wrapping_add(units * KB_S8 * NR)));
            }
            if let Some(addend) = &b.addend {
                // A copy: what is referred to goes through memory.
                let some = sums;
                let n = b.cols - c.first;
                let (mut y, mut r) = ([*b.y; M], [*addend.rows; M]);
                for i in 0..M {
                    y[i] = (*b.y.add(pixel + i)).add(b.offset + c.first);
                    r[i] = (*addend.rows.add(pixel + i)).add(b.offset + c.first);
                }
                V::finish_added(&some, addend, c.first, b, Rows { y, r, n });
                return;
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
