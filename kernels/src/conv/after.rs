//! What follows clamping: functions and tables of results, sums that become real numbers.

use std::mem::MaybeUninit;

use cygnet_format::op::{Unary, UnaryKind};
use cygnet_format::program::DType;

use super::reals::Reals;
use super::setup::Setup;
use crate::copy::run::copy_run;
use crate::kernel::{Context, PrepareError};
use crate::map::{Function, Lookup};
use crate::view::{Mem, View};

/// Bytes of a pixel's channels up to which those of several are put together for what follows clamping.
const FEW: usize = 64;

/// Room for them, aligned for every element type.
#[repr(align(64))]
struct Together([u8; 16 * FEW]);

/// What follows clamping.
pub(super) enum After {
    Nothing,
    F32(Function),
    F16(Function),
    Table(View, Lookup),
    /// Sums of s8 products become real numbers.
    Reals(Box<Reals>),
}

impl After {
    /// The function of a floating-point result.
    pub fn of(cx: &Context<'_>, dtype: DType, unary: Unary) -> Result<Self, PrepareError> {
        let function = || Function::new(cx.cpu(), unary);
        match (unary.kind, dtype) {
            (UnaryKind::Identity, _) => Ok(Self::Nothing),
            (UnaryKind::Not, _) => Err(cx.error("'not' of a floating-point result is not defined")),
            (_, DType::F32) => Ok(Self::F32(function())),
            (_, DType::F16) => Ok(Self::F16(function())),
            (_, other) => {
                Err(cx.error(format!("a function of a result of type {} is not defined", other.name())))
            }
        }
    }
}

impl Setup {
    /// What clamping left to do, on some pixels' `channels` channels from `start` on.
    ///
    /// # Safety
    /// The pixels' rows have been written by this thread.
    pub unsafe fn finish(&self, mem: &Mem, out: &[MaybeUninit<*mut u8>], start: usize, channels: usize) {
        let row = |i: usize, size: usize| {
            // SAFETY: the entry is set; the channels are those of the row.
            unsafe { out[i].assume_init().add(start * size) }
        };
        // Whole rows, one after another: one run.
        let dense = |size: usize| {
            let end = row(out.len() - 1, size) as usize + channels * size;
            channels == self.y.pitch && end - row(0, size) as usize == out.len() * channels * size
        };
        if let After::Reals(reals) = &self.after {
            let size = size_of::<f32>();
            // SAFETY: pixels of the output, whose sums this thread has just written.
            if dense(size) && unsafe { reals.dense(mem, row(0, size).cast(), out.len(), channels) } {
                return;
            }
            for to in out {
                // SAFETY: channels of a row of the output, whose sums this thread has just written; `prepare` proved the
                // operands.
                unsafe {
                    let row = to.assume_init();
                    let index =
                        (row as usize - self.y.ptr::<u8>(mem) as usize) / (self.y.pitch * size_of::<f32>());
                    reals.row(mem, row.cast::<f32>().add(start), index, start..start + channels);
                }
            }
            return;
        }
        if matches!(self.after, After::Nothing) {
            return;
        }
        let size = self.y.dtype.size();
        // SAFETY: channels of rows of the output; the table has 256 bytes.
        let apply = |row: *mut u8, n: usize| unsafe {
            match &self.after {
                After::Nothing | After::Reals(_) => {}
                After::F32(function) => function.f32(row.cast(), row.cast(), n),
                After::F16(function) => function.f16(row.cast(), row.cast(), n),
                After::Table(table, lookup) => (*lookup)(row.cast(), row.cast(), n, table.ptr(mem)),
            }
        };
        let row = |i: usize| row(i, size);
        if dense(size) {
            return apply(row(0), out.len() * channels);
        }
        if channels * size > FEW {
            return (0..out.len()).for_each(|i| apply(row(i), channels));
        }
        // So few that calls would take the time: some pixels' are put together for each.
        let bytes = channels * size;
        let mut together = Together([0; 16 * FEW]);
        let at_once = together.0.len() / bytes;
        for first in (0..out.len()).step_by(at_once) {
            let pixels = first..out.len().min(first + at_once);
            let to = together.0.as_mut_ptr();
            for i in pixels.clone() {
                // SAFETY: the channels are those of the row; there is room for each pixel's.
                unsafe { copy_run(row(i), to.add((i - first) * bytes), bytes) };
            }
            apply(to, pixels.len() * channels);
            for i in pixels {
                // SAFETY: as above.
                unsafe { copy_run(to.add((i - first) * bytes), row(i), bytes) };
            }
        }
    }
}
