//! Depthwise convolution: output channel c sees input channel c alone.
//!
//! Square windows of 3 or 5 taps a side whose strides are 1 or 2 go by [`strip`]: rectangles of output pixels over
//! evenly spaced input, whose neighbours share what they load. All other windows go by [`list`]: an address for every
//! tap of every pixel. Padding taps take part in the arithmetic as all others do.

/// Repeats a block for each of some numbers: the compiler does not unroll loops as long as those of microkernels by
/// itself, and then keeps what they index out of registers.
macro_rules! unroll {
    ($i:ident in $($n:literal)* $body:block) => {
        $({
            let $i: usize = $n;
            $body
        })*
    };
}

mod float;
mod float_strip;
#[cfg(target_arch = "aarch64")]
mod half_strip;
mod list;
pub mod oracle;
pub mod pack;
mod patch;
mod s8;
mod strip;
#[cfg(test)]
mod tests;

use std::ops::Range;

use cygnet_format::op;
use cygnet_format::program::DType;

use crate::conv::geometry::Axis;
#[cfg(not(target_arch = "aarch64"))]
use crate::cpu::Cpu;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::map;
use crate::simd::F16;
use crate::view::{Mem, View};

/// Most taps of a window.
pub const MAX_TAPS: usize = 2048;

/// What follows once pixels are stored.
enum After {
    Nothing,
    Unary(map::Function),
    Table(View, map::Lookup),
}

/// A convolution whose operands have been checked.
struct Layer {
    x: View,
    y: View,
    weights: View,
    bias: View,
    multiplier: Option<View>,
    padding: Option<View>,
    after: After,
    /// Down and across.
    axes: [Axis; 2],
    lo: f32,
    hi: f32,
    zero_point: i32,
}

/// First bytes of a layer's operands; null for those it does not have.
#[derive(Clone, Copy)]
struct Pointers {
    x: *const u8,
    y: *mut u8,
    weights: *const u8,
    bias: *const u8,
    multiplier: *const f32,
    padding: *const u8,
}

pub(crate) fn prepare(p: &op::DepthwiseConv, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    let dtype = x.dtype;
    cx.ensure(y.dtype == dtype, || format!("reads {} and writes {}", dtype.name(), y.dtype.name()))?;
    cx.ensure(x.rank == 4 && y.rank == 4 && x.dims[0] == y.dims[0] && x.dims[3] == y.dims[3], || {
        format!("cannot make {:?} of {:?}; both must be [N, H, W, C] of equal N and C", y.dims(), x.dims())
    })?;
    let axis =
        |i: usize| Axis::of_window(&p.window, i, x.dims[1 + i], y.dims[1 + i]).map_err(|e| cx.error(e));
    let axes = [axis(0)?, axis(1)?];
    let taps = axes[0].taps.checked_mul(axes[1].taps).filter(|&taps| taps <= MAX_TAPS);
    let taps = taps.ok_or_else(|| {
        cx.error(format!("a window of {:?} has more than {MAX_TAPS} taps", p.window.kernel))
    })?;
    let channels = pack::padded_channels(x.dims[3]);
    let packed = taps.checked_mul(channels * dtype.size()).ok_or_else(|| cx.error("has too many weights"))?;
    let weights = cx.constant(1, DType::Packed, packed)?;
    cx.ensure(weights.offset.is_multiple_of(4), || {
        format!("packed weights lie at {}, not a multiple of 4", weights.offset)
    })?;
    let padding = if p.window.pad == [0; 4] { None } else { Some(cx.constant(4, dtype, channels)?) };
    let e = &p.epilogue;
    cx.ensure(e.lo <= e.hi, || format!("clamps to [{}, {}]", e.lo, e.hi))?;
    let (mut multiplier, mut zero_point) = (None, 0);
    let mut after = After::Nothing;
    match dtype {
        DType::S8 => {
            let whole = |v: f32| v.fract() == 0.0 && (-128.0..=127.0).contains(&v);
            cx.ensure(whole(e.lo) && whole(e.hi), || {
                format!("clamps to [{}, {}]; integers in [-128, 127] are needed", e.lo, e.hi)
            })?;
            cx.ensure(e.unary == op::Unary::IDENTITY, || {
                "a function of an s8 result must be a table".into()
            })?;
            zero_point = cx.product_zero_point(5)?;
            let m = cx.constant(3, DType::F32, channels)?;
            let finite = |b: &[u8; 4]| f32::from_le_bytes(*b).is_finite();
            cx.ensure(cx.constant_bytes(&m).as_chunks().0.iter().all(finite), || {
                "a multiplier is not finite".into()
            })?;
            multiplier = Some(m);
            if cx.optional(5).is_some() {
                after = After::Table(cx.constant(5, DType::S8, 256)?, map::lookup(cx.cpu()).1);
            }
        }
        DType::F32 | DType::F16 => {
            cx.ensure(cx.optional(3).is_none() && cx.optional(5).is_none(), || {
                "multiplier and table belong to s8 only".into()
            })?;
            let function = map::Function::new(cx.cpu(), e.unary);
            if !function.is_identity() {
                after = After::Unary(function);
            }
        }
        other => return Err(cx.error(format!("input is {}; f32, f16 or s8 is needed", other.name()))),
    }
    let bias = cx.constant(2, if dtype == DType::S8 { DType::S32 } else { DType::F32 }, channels)?;
    let layer =
        Layer { x, y, weights, bias, multiplier, padding, after, axes, lo: e.lo, hi: e.hi, zero_point };
    let cpu = cx.cpu();
    let crowded = dtype == DType::S8 && is_crowded(cx.constant_bytes(&layer.weights), channels);
    if let Some(window) = strip::Window::of(&layer.axes) {
        let found = match dtype {
            DType::S8 => s8::strips(cpu, window, crowded, || {
                let bytes = |v: &View| cx.constant_bytes(v);
                let m = layer.multiplier.as_ref().map_or(&[][..], bytes);
                s8::Reach::of(bytes(&layer.weights), bytes(&layer.bias), m)
            }),
            DType::F32 => float_strip::choose::<f32>(cpu, window),
            _ => half_strips(cpu, window).or_else(|| float_strip::choose::<F16>(cpu, window)),
        };
        if let Some(found) = found {
            return Ok(Box::new(strip::Strips::new(cx, layer, window, found)));
        }
    }
    let found = match dtype {
        DType::S8 => s8::choose(cpu),
        DType::F32 => float::choose::<f32>(cpu),
        _ => float::choose::<F16>(cpu),
    };
    Ok(Box::new(list::Listed::new(cx, layer, found, !crowded)))
}

#[cfg(target_arch = "aarch64")]
use half_strip::choose as half_strips;

#[cfg(not(target_arch = "aarch64"))]
fn half_strips(_: Cpu, _: strip::Window) -> Option<strip::Choice> {
    None
}

/// Whether some channel has several s8 weights of -128 (`weights` are `[tap][channels]`), which kernels that add pairs of
/// products in 16 bits cannot do: two of them that meet -128 are 2^15.
fn is_crowded(weights: &[u8], channels: usize) -> bool {
    const LEAST: u8 = i8::MIN.cast_unsigned();
    let least = |c| weights.iter().skip(c).step_by(channels).filter(|&&w| w == LEAST).count();
    weights.contains(&LEAST) && (0..channels).any(|c| least(c) > 1)
}

/// Outputs of an axis whose taps are all inside the input.
fn interior(axis: &Axis) -> Range<usize> {
    let start = (0..axis.outputs).find(|&o| axis.inside(o)).unwrap_or(axis.outputs);
    let end = (start..axis.outputs).find(|&o| !axis.inside(o)).unwrap_or(axis.outputs);
    start..end
}

impl Layer {
    fn taps(&self) -> usize {
        self.axes[0].taps * self.axes[1].taps
    }

    fn macs(&self) -> u64 {
        self.y.len() as u64 * self.taps() as u64
    }

    /// # Safety
    /// `mem` is the memory that the views were checked against.
    unsafe fn pointers(&self, mem: &Mem) -> Pointers {
        // SAFETY: the caller's promise.
        unsafe {
            Pointers {
                x: self.x.ptr(mem),
                y: self.y.ptr_mut(mem),
                weights: self.weights.ptr(mem),
                bias: self.bias.ptr(mem),
                multiplier: self.multiplier.map_or(std::ptr::null(), |m| m.ptr(mem)),
                padding: self.padding.map_or(std::ptr::null(), |p| p.ptr(mem)),
            }
        }
    }

    /// The rest of the epilogue, of stored channels of stored pixels.
    ///
    /// # Safety
    /// They belong to the output, and `mem` is the kernel's memory.
    unsafe fn finish(&self, mem: &Mem, pixels: Range<usize>, channels: Range<usize>) {
        let (n, size) = (channels.len(), self.y.dtype.size());
        for pixel in pixels {
            // SAFETY: the channels are elements of the output; a table has 256 entries.
            unsafe {
                let y = self.y.ptr_mut::<u8>(mem).add((pixel * self.y.pitch + channels.start) * size);
                match &self.after {
                    After::Nothing => return,
                    After::Unary(f) if size == 4 => f.f32(y.cast(), y.cast(), n),
                    After::Unary(f) => f.f16(y.cast(), y.cast(), n),
                    After::Table(table, lookup) => lookup(y.cast(), y.cast(), n, table.ptr(mem)),
                }
            }
        }
    }
}
