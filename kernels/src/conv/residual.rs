//! The end of s8 products that another tensor is added to, as the additions of residual networks: product and addend meet
//! as real numbers and are rounded once.
//!
//! `v = fma(f32(r - zero point of r), scale, f32(sum) * multiplier[c])`; then as [`super::s8::requantize`] goes on. Microkernels hand over the sums of a few pixels and channels at a time.

use cygnet_format::op;
use cygnet_format::program::DType;

use crate::kernel::{Context, PrepareError};
use crate::simd::{Isa, LANES, V8, per_isa};
use crate::view::{Mem, View};

/// A step's operands for it.
pub(super) struct Residual {
    r: View,
    pub(super) multiplier: View,
    pub(super) constants: Constants,
    run: Run,
}

/// What results are made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constants {
    /// Scale of the addend over that of the result.
    pub scale: f32,
    /// Zero point of the addend, in s8.
    pub zero: i32,
    pub lo: f32,
    pub hi: f32,
    pub zero_point: i32,
}

/// Where the addend of a block of pixels is, and what makes results of sums with it.
#[derive(Clone, Copy, Debug)]
pub struct Addend {
    /// For each pixel the address of its row of the addend.
    pub rows: *const *const u8,
    /// Bytes that the addresses of outputs have beyond their rows' begin.
    begun: usize,
    /// Multipliers of the first panel's channels.
    pub multiplier: *const f32,
    constants: Constants,
    run: Run,
}

/// Sums of some pixels and channels.
pub(super) struct Tile {
    /// Those of the first pixel.
    pub sums: *const i32,
    /// Elements from a pixel's to the next's.
    pub stride: usize,
    pub pixels: usize,
    /// Channels.
    pub columns: usize,
    /// The first channel, counted from the block's.
    pub column: usize,
    /// For each pixel, addresses of its rows of the output; results go `offset` bytes further.
    pub y: *const *mut u8,
    /// The first pixel's number in the block.
    pub pixel: usize,
    pub offset: usize,
}

type Run = unsafe fn(&Addend, &Tile);

impl Residual {
    /// Checks the addend of a step whose output is `y` and whose multipliers are these.
    pub(super) fn new(
        cx: &Context<'_>,
        p: &op::Conv,
        y: &View,
        multiplier: View,
    ) -> Result<Self, PrepareError> {
        let r = cx.typed(op::CONV_ADDEND, DType::S8)?;
        cx.ensure(r.dims() == y.dims(), || format!("addend {:?} is not of output {:?}", r.dims(), y.dims()))?;
        let quant = r.quant.ok_or_else(|| cx.error("addend is not quantized"))?;
        cx.ensure((-128..=127).contains(&quant.zero_point), || {
            format!("zero point {} of the addend is outside s8", quant.zero_point)
        })?;
        let constants = Constants {
            scale: p.addend_scale,
            zero: quant.zero_point,
            lo: p.epilogue.lo,
            hi: p.epilogue.hi,
            zero_point: cx.product_zero_point(5)?,
        };
        Ok(Self { r, multiplier, constants, run: run(Isa::of(cx.cpu())) })
    }

    /// What is added cannot exceed this in magnitude.
    pub(super) fn reach(&self) -> f64 {
        255.0 * f64::from(self.constants.scale.abs())
    }

    /// The row of the addend that belongs to a row of the output `y`.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared against, and `output` is a row of `y`.
    pub(super) unsafe fn row(&self, mem: &Mem, y: &View, output: *const u8) -> *const u8 {
        // SAFETY: the caller's promise.
        let (from, offset) =
            unsafe { (self.r.ptr::<u8>(mem), output.offset_from_unsigned(y.ptr::<u8>(mem))) };
        let same = self.r.pitch == y.pitch;
        from.wrapping_add(if same { offset } else { offset / y.pitch * self.r.pitch })
    }

    /// The addend for kernels: of pixels whose rows those are, from channel `channel` on. Kernels are told outputs `begun`
    /// bytes further than they begin.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared against; the channel is the first of a panel.
    pub(super) unsafe fn addend(
        &self,
        mem: &Mem,
        rows: *const *const u8,
        channel: usize,
        begun: usize,
    ) -> Addend {
        // SAFETY: multipliers are there for every panel.
        let multiplier = unsafe { self.multiplier.ptr::<f32>(mem).add(channel) };
        Addend { rows, begun, multiplier, constants: self.constants, run: self.run }
    }
}

impl Addend {
    /// Its zero point.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn zero(&self) -> i32 {
        self.constants.zero
    }

    /// Its scale over that of the result.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn scale(&self) -> f32 {
        self.constants.scale
    }

    /// What makes results of a panel's sums, those of channel `column` of the block and the seven behind it.
    ///
    /// # Safety
    /// The channel is a panel's first.
    #[cfg(target_arch = "aarch64")]
    #[inline]
    pub(super) unsafe fn added(&self, column: usize) -> super::s8::finish::Added {
        // SAFETY: multipliers are there for whole panels; every aarch64 core has Advanced SIMD.
        unsafe { super::s8::finish::Added::new(&self.constants, self.multiplier.add(column)) }
    }

    /// What is added to a pixel's output `offset` bytes further.
    ///
    /// # Safety
    /// It is the number of a pixel of the block.
    #[cfg(target_arch = "aarch64")]
    #[inline]
    pub(super) unsafe fn at(&self, pixel: usize, offset: usize) -> *const i8 {
        // SAFETY: the caller's promise.
        unsafe { *self.rows.add(pixel) }.wrapping_add(self.begun + offset).cast()
    }

    /// Makes results of sums.
    ///
    /// # Safety
    /// `tile` holds the sums of its pixels and channels, which are the block's; the addresses of `y` and `rows` are valid
    /// for the channels from `offset` on.
    #[inline(never)] // Kernels have many places that end so.
    pub(super) unsafe fn finish(&self, tile: &Tile) {
        // SAFETY: the caller's promise; the instance is one for this processor.
        unsafe { (self.run)(self, tile) }
    }
}

/// What ends tiles with an instruction set.
fn run(isa: Isa) -> Run {
    #[cfg(target_arch = "aarch64")]
    if isa == Isa::Neon {
        return neon;
    }
    pick(isa)
}

/// Whole panels by registers of four pixels.
///
/// # Safety
/// As [`Addend::finish`].
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon(a: &Addend, s: &Tile) {
    use super::s8::finish::Added;
    use std::arch::aarch64::*;

    const FOUR: usize = 4;
    // SAFETY: the caller's promise: so many pixels, whole panels of each.
    unsafe {
        if !s.columns.is_multiple_of(LANES) {
            return pick(Isa::Neon)(a, s);
        }
        for c in (0..s.columns).step_by(LANES) {
            let added = Added::new(&a.constants, a.multiplier.add(s.column + c));
            for first in (0..s.pixels).step_by(FOUR) {
                // Those that are missing repeat the last.
                let pixel = |i: usize| (first + i).min(s.pixels - 1);
                let sums = std::array::from_fn::<_, FOUR, _>(|i| {
                    let sums = s.sums.add(pixel(i) * s.stride + c);
                    [vld1q_s32(sums), vld1q_s32(sums.add(4))]
                });
                let r = std::array::from_fn(|i| {
                    let r = (*a.rows.add(s.pixel + pixel(i))).add(a.begun + s.offset + c);
                    vld1_s8(r.cast())
                });
                for (i, v) in added.results(sums, r).into_iter().enumerate() {
                    vst1_s8((*s.y.add(pixel(i))).add(s.offset + c).cast(), v);
                }
            }
        }
    }
}

per_isa! {
    fn pick[](addend: &Addend, tile: &Tile) = finish
}

/// [`Constants`] in registers: results that are stored could be those of memory, for all that is known.
#[derive(Clone, Copy)]
pub(super) struct Lanes<V: V8> {
    scale: V,
    zero: V::I,
    lo: V,
    hi: V,
    zero_point: V::I,
}

/// # Safety
/// As [`Addend::finish`].
#[inline(always)]
unsafe fn finish<V: V8>(a: &Addend, s: &Tile) {
    let lanes = Lanes::<V>::of(&a.constants);
    // The addresses of a pixel.
    let at = |i: usize| {
        // SAFETY: the tile has the pixel.
        unsafe {
            let r = (*a.rows.add(s.pixel + i)).add(a.begun + s.offset).cast::<i8>();
            (s.sums.add(i * s.stride), r, (*s.y.add(i)).add(s.offset))
        }
    };
    let whole = s.columns - s.columns % LANES;
    for c in (0..whole).step_by(LANES) {
        // SAFETY: whole registers of each pixel.
        unsafe {
            let multiplier = V::load(a.multiplier.add(s.column + c));
            for i in 0..s.pixels {
                let (sums, r, y) = at(i);
                lanes.results(sums.add(c), multiplier, r.add(c), y.add(c));
            }
        }
    }
    let rest = s.columns - whole;
    if rest == 0 {
        return;
    }
    // What is left by way of arrays that hold more.
    let (mut some, mut scales) = ([0; LANES], [0.0; LANES]);
    let (mut addend, mut results) = ([0; LANES], [0; LANES]);
    // SAFETY: so many channels of each pixel.
    unsafe {
        std::ptr::copy_nonoverlapping(a.multiplier.add(s.column + whole), scales.as_mut_ptr(), rest);
        for i in 0..s.pixels {
            let (sums, r, y) = at(i);
            std::ptr::copy_nonoverlapping(sums.add(whole), some.as_mut_ptr(), rest);
            std::ptr::copy_nonoverlapping(r.add(whole), addend.as_mut_ptr(), rest);
            lanes.results(some.as_ptr(), V::load(scales.as_ptr()), addend.as_ptr(), results.as_mut_ptr());
            std::ptr::copy_nonoverlapping(results.as_ptr(), y.add(whole), rest);
        }
    }
}

impl<V: V8> Lanes<V> {
    #[inline(always)]
    pub(super) fn of(c: &Constants) -> Self {
        let zero_point = c.zero_point as f32;
        Self {
            scale: V::splat(c.scale),
            zero: V::isplat(c.zero),
            lo: V::splat(c.lo - zero_point),
            hi: V::splat(c.hi - zero_point),
            zero_point: V::isplat(c.zero_point),
        }
    }

    /// Of a register of sums, multipliers and addends.
    ///
    /// # Safety
    /// The addresses are valid for a register; the processor has the instructions.
    #[inline(always)]
    pub(super) unsafe fn results(self, sums: *const i32, multiplier: V, r: *const i8, y: *mut u8) {
        // SAFETY: the caller's promise. Bounds are within 255 of the zero point.
        unsafe {
            let v = V::from_i32(V::load_i32(sums)).mul(multiplier);
            let v = V::from_s8(r, self.zero).fma(self.scale, v);
            v.max(self.lo).min(self.hi).store_bytes(self.zero_point, y);
        }
    }
}
