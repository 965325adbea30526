//! Blocks on aarch64: groups of pixels times panels, whose sums an instruction set makes and [`super::finish`] ends.
//!
//! Panels go by in spans that stay in half of a small first-level cache, so that groups of pixels find them there. What
//! sums of a span start at is written down once, on the stack: registers are loaded with it faster than copied.

use std::arch::aarch64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::finish::{self, Finish, Mode, Output};
use crate::conv::micro::{KB_S8, NR};
use crate::conv::panels::Panels;
use crate::conv::residual::Tile;

/// Most bytes of weights of a span.
const SPAN: usize = 16 << 10;

/// Most panels of a span.
const PANELS: usize = 32;

/// What sums of the channels of a span's panels start at: of each, as much as the instruction set wants, in a place for
/// sixteen numbers.
#[repr(align(64))]
struct Starts([MaybeUninit<[int32x4_t; 4]>; PANELS]);

/// Pixels that are computed at once, and what there is to multiply.
pub(super) struct Group {
    /// For each tap the addresses of the pixels' first channels.
    pub a: *const *const i8,
    /// At least 1.
    pub taps: usize,
    /// Blocks of four channels of each tap, at least 1.
    pub blocks: usize,
}

/// A panel of weights.
pub(super) struct Panel {
    pub w: *const i8,
    /// The sizes of its stretches, if the step has any.
    pub sizes: *const u8,
    /// What sums start at, as `begin` of [`walk`] wrote it.
    pub start: *const i32,
}

/// All of a block.
///
/// `begin` makes what `sums` wants of the eight numbers that sums of a panel's channels start at. `sums` makes those of
/// the first pixels of a group times a panel, as many as its third argument says: 1, 2, 4 or MR. Of the others it may
/// give anything.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[inline(always)] // Into functions that have the features that the closures need.
pub(super) unsafe fn walk<const MODE: Mode, const MR: usize, const STARTS: usize>(
    b: &Panels<'_>,
    begin: impl Fn([int32x4_t; 2]) -> [int32x4_t; STARTS],
    sums: impl Fn(&Group, &Panel, usize) -> [[int32x4_t; 2]; MR],
    whole: impl Fn(&Group, &Panel, usize, usize) -> bool,
) {
    let span = (SPAN / b.panel.max(1)).clamp(1, PANELS) * NR;
    let mut starts = Starts([MaybeUninit::uninit(); PANELS]);
    let mut sizes = [std::ptr::null(); PANELS];
    for first in (0..b.cols).step_by(span) {
        let columns = span.min(b.cols - first);
        for (i, start) in starts.0[..columns.div_ceil(NR)].iter_mut().enumerate() {
            // SAFETY: biases are there for whole panels; STARTS is at most four.
            unsafe {
                let all = begin(biases::<MODE>(b, first + i * NR));
                start.as_mut_ptr().cast::<[int32x4_t; STARTS]>().write(all);
            }
        }
        for (i, sizes) in sizes[..columns.div_ceil(NR)].iter_mut().enumerate() {
            *sizes = b.stretches.of(b.first_panel + first / NR + i);
        }
        for index in 0..b.merged.len() {
            let [taps, depth] = b.extent(index);
            let pixel = index * MR;
            let count = MR.min(b.pixels - pixel);
            // SAFETY: each group has `slots` times MR addresses.
            let a = unsafe { b.a.add(pixel * b.slots).cast() };
            let group = Group { a, taps, blocks: depth.div_ceil(KB_S8) };
            let panel = |i: usize| Panel {
                w: b.w.wrapping_add((first / NR + i) * b.panel).cast(),
                // SAFETY: the span has the panel.
                sizes: unsafe { *sizes.get_unchecked(i) },
                start: starts.0.as_ptr().wrapping_add(i).cast(),
            };
            let columns = first..first + columns;
            // SAFETY: the group's pixels and the span's columns.
            unsafe {
                if taps * depth == 0 {
                    let sums = |i: usize| [biases::<MODE>(b, first + i * NR); MR];
                    store::<MODE, MR, MR>(b, pixel, columns, sums);
                    continue;
                }
                match count {
                    1 => store::<MODE, MR, 1>(b, pixel, columns, |i| sums(&group, &panel(i), 1)),
                    2 => store::<MODE, MR, 2>(b, pixel, columns, |i| sums(&group, &panel(i), 2)),
                    3 | 4 if MR > 4 => {
                        store::<MODE, MR, 4>(b, pixel, columns, |i| sums(&group, &panel(i), 4));
                    }
                    _ => {
                        // A loop of its own: what results are made with stays out of it.
                        let mut done = 0;
                        while done < columns.len() / NR
                            && whole(&group, &panel(done), pixel, first + done * NR)
                        {
                            done += 1;
                        }
                        let rest = first + done * NR..columns.end;
                        store::<MODE, MR, MR>(b, pixel, rest, |i| sums(&group, &panel(done + i), MR));
                    }
                }
            }
        }
    }
}

/// How a block's sums are made results.
pub(super) fn mode(b: &Panels<'_>) -> Mode {
    if b.multiplier.is_null() { finish::SUMS } else { finish::mode(b.small, output(b)) }
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
/// among those.
///
/// # Safety
/// As [`crate::conv::panels::Run`]; the block has the columns and the pixels, of which the last ones may be repeated.
#[inline(always)]
unsafe fn store<const MODE: Mode, const MR: usize, const M: usize>(
    b: &Panels<'_>,
    pixel: usize,
    columns: Range<usize>,
    sums: impl Fn(usize) -> [[int32x4_t; 2]; MR],
) {
    let output = output(b);
    for (i, column) in columns.clone().step_by(NR).enumerate() {
        let sums = sums(i);
        // SAFETY: multipliers are there for whole panels; the pixels take the columns that count.
        unsafe {
            let finish = Finish::<MODE>::new(output, b.multiplier.wrapping_add(column));
            let sums: [_; M] = std::array::from_fn(|i| sums[i]);
            if let (true, Some(addend)) = (MODE == finish::SUMS, &b.addend) {
                let columns = (columns.end - column).min(NR);
                // A copy: what is referred to goes through memory.
                let some = sums;
                addend.finish(&Tile {
                    sums: some.as_ptr().cast(),
                    stride: NR,
                    pixels: M.min(b.pixels - pixel),
                    columns,
                    column,
                    y: b.y.add(pixel),
                    pixel,
                    offset: b.offset + column,
                });
                continue;
            }
            let result = if MODE == finish::SUMS { size_of::<i32>() } else { 1 };
            finish.store(sums, b.y.add(pixel), b.offset + column * result, columns.end - column);
        }
    }
}
