//! Blocks on aarch64: groups of pixels times panels, whose sums an instruction set makes and [`super::finish`] ends.
//!
//! Panels go by in spans that stay in half of a small first-level cache, so that groups of pixels find them there. What
//! sums of a span start at is written down once, on the stack: registers are loaded with it faster than copied.

use std::arch::aarch64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::finish::{self, ADDED, ADDED_NEAR, Finish, Mode, Output, SUMS};
use crate::conv::micro::{KB_S8, NR};
use crate::conv::panels::Panels;
use crate::conv::residual::{Addend, Tile};

/// Most bytes of weights of a span.
const SPAN: usize = 16 << 10;

/// Most panels of a span.
const PANELS: usize = 32;

/// Pixels of which results are made at once, where that is not for a whole group.
const FOUR: usize = 4;

/// What sums of the channels of a span's panels start at: of each, as much as the instruction set wants, in a place for
/// sixteen numbers.
#[repr(align(64))]
struct Starts([MaybeUninit<[int32x4_t; 4]>; PANELS]);

/// Pixels that are computed at once, and what there is to multiply.
pub(super) struct Group {
    /// For each tap, or run of taps, the addresses of the pixels' first channels.
    pub a: *const *const i8,
    /// At least 1.
    pub taps: usize,
    /// Blocks of four channels of each, at least 1.
    pub blocks: usize,
    /// Bytes of weights between those of one and the next.
    pub between: usize,
}

/// A panel of weights.
pub(super) struct Panel {
    /// Those of the group's first tap.
    pub w: *const i8,
    /// The sizes of its stretches, if the step has any.
    pub sizes: *const u8,
    /// What sums start at, as `begin` of [`walk`] wrote it.
    pub start: *const i32,
}

/// All of a block.
///
/// `begin` makes what `sums` wants of the eight numbers that sums of a panel's channels start at. `sums` makes those of
/// MR pixels of a group times a panel. `few` writes those of the first pixels, at least as many as its third argument says,
/// which is less than MR; there is room for MR.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[inline(always)] // Into functions that have the features that the closures need.
pub(super) unsafe fn walk<const MODE: Mode, const MR: usize, const STARTS: usize>(
    b: &Panels<'_>,
    begin: impl Fn([int32x4_t; 2]) -> [int32x4_t; STARTS],
    sums: impl Fn(&Group, &Panel) -> [[int32x4_t; 2]; MR],
    few: impl Fn(&Group, &Panel, usize, *mut [[int32x4_t; 2]; MR]),
    whole: impl Fn(&Group, &Panel, usize, usize) -> bool,
) {
    let span = (SPAN / b.panel.max(1)).clamp(1, PANELS) * NR;
    // Bytes of a tap's weights of a panel.
    let tap = b.depth.next_multiple_of(KB_S8) * NR;
    let mut starts = Starts([MaybeUninit::uninit(); PANELS]);
    let mut sizes = [std::ptr::null(); PANELS];
    for first in (0..b.cols).step_by(span) {
        let columns = span.min(b.cols - first);
        for (i, sizes) in sizes[..columns.div_ceil(NR)].iter_mut().enumerate() {
            *sizes = b.stretches.of(b.first_panel + first / NR + i);
        }
        let mut begun = usize::MAX;
        for (index, reads) in b.groups.iter().enumerate() {
            if reads.bias != begun {
                begun = reads.bias;
                for (i, start) in starts.0[..columns.div_ceil(NR)].iter_mut().enumerate() {
                    // SAFETY: biases are there for whole panels; STARTS is at most four.
                    unsafe {
                        let all = begin(biases::<MODE>(b, begun + first + i * NR));
                        start.as_mut_ptr().cast::<[int32x4_t; STARTS]>().write(all);
                    }
                }
            }
            let (pixel, count, depth) = (index * MR, reads.pixels, b.depth * reads.taps);
            // SAFETY: each group has `slots` times MR addresses.
            let a = unsafe { b.a.add(pixel * b.slots).cast() };
            let between = reads.between * tap;
            let group = Group { a, taps: reads.runs, blocks: depth.div_ceil(KB_S8), between };
            let w = b.w.wrapping_add(first / NR * b.panel + reads.before * tap);
            let panel = |i: usize| Panel {
                w: w.wrapping_add(i * b.panel).cast(),
                // SAFETY: the span has the panel.
                sizes: unsafe { *sizes.get_unchecked(i) },
                start: starts.0.as_ptr().wrapping_add(i).cast(),
            };
            let columns = first..first + columns;
            // SAFETY: the group's pixels and the span's columns.
            unsafe {
                if count == MR && reads.runs * depth > 0 {
                    // A loop of its own: what results are made with stays out of it.
                    let mut done = 0;
                    while done < columns.len() / NR && whole(&group, &panel(done), pixel, first + done * NR) {
                        done += 1;
                    }
                    let rest = first + done * NR..columns.end;
                    store::<MODE, MR>(b, pixel, MR, rest, |i| sums(&group, &panel(done + i)));
                    continue;
                }
                for (i, column) in columns.clone().step_by(NR).enumerate() {
                    let mut made = [MaybeUninit::<[int32x4_t; 2]>::uninit(); MR];
                    if reads.runs * depth > 0 {
                        few(&group, &panel(i), count, made.as_mut_ptr().cast());
                    } else {
                        made = [MaybeUninit::new(biases::<MODE>(b, begun + column)); MR];
                    }
                    fewer::<MODE>(b, pixel, made[..count].assume_init_ref(), column..columns.end);
                }
            }
        }
    }
}

/// Makes results of pixels from `pixel` on, and of a panel's columns or as many as are left: four pixels at a time.
///
/// # Safety
/// As [`crate::conv::panels::Run`]; the block has the columns and the pixels, of which there are at least so many or
/// repetitions of the last one as makes fours.
#[inline(never)] // Kernels of a mode have it in common.
#[target_feature(enable = "neon")]
unsafe fn fewer<const MODE: Mode>(
    b: &Panels<'_>,
    pixel: usize,
    sums: &[[int32x4_t; 2]],
    columns: Range<usize>,
) {
    let columns = columns.start..columns.end.min(columns.start + NR);
    for (i, sums) in sums.chunks(FOUR).enumerate() {
        let four: [_; FOUR] = std::array::from_fn(|i| sums[i.min(sums.len() - 1)]);
        // SAFETY: the caller's promise.
        unsafe { store::<MODE, FOUR>(b, pixel + i * FOUR, sums.len(), columns.clone(), |_| four) };
    }
}

/// Makes results of M pixels' sums of a whole panel and what is added to them, four pixels at a time.
///
/// # Safety
/// As [`crate::conv::panels::Run`]; the block has the panel and the pixels, of which the last one may be repeated in
/// their four.
#[inline(always)] // Else sums would go through memory.
unsafe fn added<const MODE: Mode, const M: usize>(
    b: &Panels<'_>,
    addend: &Addend,
    sums: [[int32x4_t; 2]; M],
    pixel: usize,
    column: usize,
) {
    // SAFETY: multipliers are there for whole panels, addends and outputs for all pixels; every aarch64 core has Advanced
    // SIMD.
    unsafe {
        let added = addend.added(column);
        let some = |first: usize| {
            let r = std::array::from_fn::<_, FOUR, _>(|i| {
                vld1_s8(addend.at(pixel + first + i, b.offset + column))
            });
            let sums = std::array::from_fn(|i| sums[first + i]);
            let results = if MODE == ADDED_NEAR { added.near(sums, r) } else { added.results(sums, r) };
            for (i, v) in results.into_iter().enumerate() {
                vst1_s8((*b.y.add(pixel + first + i)).add(b.offset + column).cast(), v);
            }
        };
        some(0);
        if M > FOUR {
            some(FOUR);
        }
    }
}

/// How a block's sums are made results.
pub(super) fn mode(b: &Panels<'_>) -> Mode {
    match (b.multiplier.is_null(), &b.addend) {
        (false, _) => finish::mode(b.bound, output(b)),
        (true, Some(_)) => finish::mode_added(b.bound, output(b)),
        (true, None) => SUMS,
    }
}

/// What results are made for.
pub(super) fn output(b: &Panels<'_>) -> Output {
    Output { lo: b.lo, hi: b.hi, zero_point: b.zero_point }
}

/// What sums of eight channels from `column` on start at.
///
/// # Safety
/// As [`crate::conv::panels::Run`]; the column is a panel's first.
#[inline(always)]
unsafe fn biases<const MODE: Mode>(b: &Panels<'_>, column: usize) -> [int32x4_t; 2] {
    // SAFETY: biases are there for whole panels; every aarch64 core has Advanced SIMD.
    unsafe {
        let bias = b.bias.cast::<i32>().add(column);
        [finish::start::<MODE>(vld1q_s32(bias)), finish::start::<MODE>(vld1q_s32(bias.add(4)))]
    }
}

/// Makes results of M pixels from `pixel` on and some columns, panel by panel; `sums` is told the number of the panel
/// among those. Pixels beyond `count` repeat the last one.
///
/// # Safety
/// As [`crate::conv::panels::Run`]; the block has the columns and the pixels.
#[inline(always)]
unsafe fn store<const MODE: Mode, const M: usize>(
    b: &Panels<'_>,
    pixel: usize,
    count: usize,
    columns: Range<usize>,
    sums: impl Fn(usize) -> [[int32x4_t; 2]; M],
) {
    let output = output(b);
    for (i, column) in columns.clone().step_by(NR).enumerate() {
        let sums = sums(i);
        // SAFETY: multipliers are there for whole panels; the pixels take the columns that count.
        unsafe {
            let finish = Finish::<MODE>::new(output, b.multiplier.wrapping_add(column));
            if let (SUMS | ADDED | ADDED_NEAR, Some(addend)) = (MODE, &b.addend) {
                let columns = (columns.end - column).min(NR);
                if MODE != SUMS && columns == NR {
                    added::<MODE, M>(b, addend, sums, pixel, column);
                    continue;
                }
                // A copy: what is referred to goes through memory.
                let some = sums;
                addend.finish(&Tile {
                    sums: some.as_ptr().cast(),
                    stride: NR,
                    pixels: count,
                    columns,
                    column,
                    y: b.y.add(pixel),
                    pixel,
                    offset: b.offset + column,
                });
                continue;
            }
            let result = if MODE == SUMS { size_of::<i32>() } else { 1 };
            finish.store(sums, b.y.add(pixel), b.offset + column * result, columns.end - column);
        }
    }
}
