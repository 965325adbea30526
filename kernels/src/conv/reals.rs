//! The end of s8 products whose results are real numbers: exact sums in the output's place become f32.
//!
//! `y = fma(f32(sum) * row, scale[c], bias[c])`, clamped, then a function; without a scale of the row its factor is left
//! out. `f32(sum)` rounds to nearest even.

use std::ops::Range;

use cygnet_format::op::{Epilogue, UnaryKind};
use cygnet_format::program::DType;

use crate::kernel::{Context, PrepareError};
use crate::map::Function;
use crate::simd::{Isa, MAX_LANES, V8, per_isa};
use crate::view::{Mem, View};

/// Channels up to which pixels that follow one another are done as one run, where the scales of their rows are alike.
const FEW: usize = 16;

/// A step's operands for it.
pub(super) struct Reals {
    /// Of each channel.
    scale: View,
    bias: View,
    /// One for each row of the output, or one for all.
    row: Option<View>,
    lo: f32,
    hi: f32,
    function: Option<Function>,
    run: Run,
    /// Scales and biases of [`MAX_LANES`] pixels of few channels; else empty.
    repeated: [Vec<f32>; 2],
}

/// Channels of a row.
struct Part {
    /// Sums, and where results go.
    y: *mut f32,
    n: usize,
    scale: *const f32,
    bias: *const f32,
    /// The row's scale.
    row: Option<f32>,
    lo: f32,
    hi: f32,
}

type Run = unsafe fn(&Part);

impl Reals {
    /// Checks the operands of a step of one group, whose output is `y`.
    pub(super) fn new(cx: &Context<'_>, y: &View, epilogue: &Epilogue) -> Result<Self, PrepareError> {
        let channels = y.cols();
        let at_least = |i: usize| {
            let v = cx.typed(i, DType::F32)?;
            cx.ensure(
                v.storage == cygnet_format::program::Storage::Weights && v.is_dense() && v.len() >= channels,
                || {
                    format!(
                        "input {i} must be a dense constant of at least {channels} elements; it has {}",
                        v.len()
                    )
                },
            )?;
            Ok(v)
        };
        let (scale, bias) = (at_least(3)?, at_least(6)?);
        let row = match cx.optional(5) {
            None => None,
            Some(_) => {
                let row = cx.typed(5, DType::F32)?;
                cx.ensure(row.is_dense() && [1, y.rows()].contains(&row.len()), || {
                    let (got, rows) = (row.len(), y.rows());
                    format!("{got} scales do not fit {rows} rows: one, or one for each, is needed")
                })?;
                Some(row)
            }
        };
        let function = match epilogue.unary.kind {
            UnaryKind::Identity => None,
            UnaryKind::Not => {
                return Err(cx.error("'not' of a floating-point result is not defined"));
            }
            _ => Some(Function::new(cx.cpu(), epilogue.unary)),
        };
        let few = channels < FEW && row.is_none_or(|v| v.len() == 1);
        let repeated = [scale, bias].map(|v| {
            let values =
                cx.constant_bytes(&v).as_chunks().0[..channels].iter().map(|&b| f32::from_le_bytes(b));
            let pixels = if few { MAX_LANES } else { 0 };
            values.cycle().take(channels * pixels).collect()
        });
        let run = pick(Isa::wide(cx.cpu()));
        Ok(Self { scale, bias, row, lo: epilogue.lo, hi: epilogue.hi, function, run, repeated })
    }

    /// Makes results of the sums of all channels of `pixels` that follow one another without gaps from `y` on; whether
    /// there is a quick way to do that.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared against, the pixels are the output's.
    pub(super) unsafe fn dense(&self, mem: &Mem, y: *mut f32, pixels: usize, channels: usize) -> bool {
        let [scale, bias] = &self.repeated;
        if scale.is_empty() {
            return false;
        }
        // SAFETY: the caller's promise; scales and biases are there for so many pixels.
        unsafe {
            let row = self.row.map(|v| *v.ptr::<f32>(mem));
            for first in (0..pixels).step_by(MAX_LANES) {
                let n = MAX_LANES.min(pixels - first) * channels;
                let y = y.add(first * channels);
                let (scale, bias, lo, hi) = (scale.as_ptr(), bias.as_ptr(), self.lo, self.hi);
                (self.run)(&Part { y, n, scale, bias, row, lo, hi });
            }
            if let Some(function) = self.function {
                function.f32(y, y, pixels * channels);
            }
        }
        true
    }

    /// Makes results of the sums at `y`: `channels` of output row `index`.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared against, the row and the channels are the output's.
    pub(super) unsafe fn row(&self, mem: &Mem, y: *mut f32, index: usize, channels: Range<usize>) {
        let n = channels.len();
        // SAFETY: the caller's promise; scales and biases are there for all channels.
        unsafe {
            let row = self.row.map(|v| *v.ptr::<f32>(mem).add(if v.len() == 1 { 0 } else { index }));
            (self.run)(&Part {
                y,
                n,
                scale: self.scale.ptr::<f32>(mem).add(channels.start),
                bias: self.bias.ptr::<f32>(mem).add(channels.start),
                row,
                lo: self.lo,
                hi: self.hi,
            });
            if let Some(function) = self.function {
                function.f32(y, y, n);
            }
        }
    }
}

per_isa! {
    wide fn pick[](part: &Part) = reals
}

/// # Safety
/// The addresses are valid for `n` elements.
#[inline(always)]
unsafe fn reals<V: V8>(p: &Part) {
    let whole = p.n - p.n % V::LANES;
    // SAFETY: whole registers, then what is left by way of arrays that hold more.
    unsafe {
        for i in (0..whole).step_by(V::LANES) {
            lanes::<V>(p, p.y.add(i), p.scale.add(i), p.bias.add(i));
        }
        let rest = p.n - whole;
        if rest > 0 {
            let (mut y, mut scale, mut bias) = ([0.0_f32; MAX_LANES], [0.0; MAX_LANES], [0.0; MAX_LANES]);
            std::ptr::copy_nonoverlapping(p.y.add(whole), y.as_mut_ptr(), rest);
            std::ptr::copy_nonoverlapping(p.scale.add(whole), scale.as_mut_ptr(), rest);
            std::ptr::copy_nonoverlapping(p.bias.add(whole), bias.as_mut_ptr(), rest);
            lanes::<V>(p, y.as_mut_ptr(), scale.as_ptr(), bias.as_ptr());
            std::ptr::copy_nonoverlapping(y.as_ptr(), p.y.add(whole), rest);
        }
    }
}

/// # Safety
/// The addresses are valid for a register.
#[inline(always)]
unsafe fn lanes<V: V8>(p: &Part, y: *mut f32, scale: *const f32, bias: *const f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut v = V::from_i32(V::load_i32(y.cast_const().cast()));
        if let Some(row) = p.row {
            v = v.mul(V::splat(row));
        }
        v.fma(V::load(scale), V::load(bias)).clamp(V::splat(p.lo), V::splat(p.hi)).store(y);
    }
}
