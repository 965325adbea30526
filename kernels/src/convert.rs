//! Conversion between element types, to and from quantized ones: [`Op::Convert`](cygnet_format::op::Op::Convert).
//!
//! Between floats and integers that are not quantized Rust's `as` is the definition: toward zero and saturating
//! from floats (NaN gives 0), to nearest even from integers, low bits between integers.

use std::marker::PhantomData;

use cygnet_format::op;
use cygnet_format::program::DType;
use half::f16;

use crate::kernel::{Context, Kernel, PrepareError};
use crate::map::same_dims;
use crate::quant;
use crate::simd::{Elem, F16, Isa, MAX_LANES, Scalar, V8, isa_name, load_part, per_isa, store_part};
use crate::view::{Mem, View};
use crate::walk::{TILE_ELEMENTS, Walk};

#[cfg(test)]
mod tests;

/// Rounds `n` f32 of `x` to f16 in `y`.
pub(crate) type Narrow = unsafe fn(x: *const f32, y: *mut F16, n: usize);

/// The row function of a processor that rounds f32 to f16.
pub(crate) fn narrow(isa: Isa) -> Narrow {
    pick_floats::<f32, F16>(isa)
}

/// Numbers of a quantizing conversion.
#[derive(Clone, Copy, Debug)]
struct Params {
    /// Scale, or for two quantized types the input's over the output's.
    scale: f32,
    zero_x: i32,
    zero_y: i32,
    /// Least and greatest byte less the output's zero point.
    lo: f32,
    hi: f32,
    /// See [`reciprocal`].
    reciprocal: f32,
}

/// Converts `n` elements of `x` into `y`.
type Row = unsafe fn(x: *const u8, y: *mut u8, n: usize, p: &Params);

pub(crate) fn prepare(_: &op::Convert, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    same_dims(cx, &x, &y)?;
    let (zero_x, zero_y) = (quant::zero_point(cx, &x)?, quant::zero_point(cx, &y)?);
    let (least, most) = if y.dtype == DType::U8 { (0, 255) } else { (-128, 127) };
    let scale = match (x.quant, y.quant) {
        (Some(x), Some(y)) => x.scale / y.scale,
        (Some(q), None) | (None, Some(q)) => q.scale,
        (None, None) => 1.0,
    };
    quant::factor(cx, scale, "ratio of the scales")?;
    let (lo, hi) = ((least - zero_y) as f32, (most - zero_y) as f32);
    let isa = Isa::wide(cx.cpu());
    let reciprocal = reciprocal(isa, scale);
    let params = Params { scale, zero_x, zero_y, lo, hi, reciprocal: reciprocal.unwrap_or(0.0) };
    let (name, run) = row(&x, &y, isa, reciprocal.is_some()).ok_or_else(|| {
        let of =
            |v: &View| format!("{}{}", if v.quant.is_some() { "quantized " } else { "" }, v.dtype.name());
        cx.error(format!("from {} to {} is not defined", of(&x), of(&y)))
    })?;
    let walk = Walk::of([&y, &x], cx.grain(y.len(), TILE_ELEMENTS));
    Ok(Box::new(Convert { x, y, walk, params, run, name }))
}

/// The rounded reciprocal of a scale, where division is slow and [`QuantizeBy`] gives the same bytes with it.
///
/// A quotient that is corrected by its remainder is the correctly rounded one, unless the exact one is within 2^-22 ulp
/// of the middle between two floats. To bytes that makes a difference only where one of the two is half an integer: all
/// elements next to such middles are tried.
fn reciprocal(isa: Isa, scale: f32) -> Option<f32> {
    let divides_fast = match isa {
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => false,
        _ => true,
    };
    if divides_fast || !(1e-30..=1e30).contains(&scale) {
        return None;
    }
    let r = 1.0 / scale;
    let same = |x: f32| {
        let by = QuantizeBy::<f32>::quotient(Scalar::splat(x), Scalar::splat(scale), Scalar::splat(r));
        by.lanes()[0].round_ties_even() == (x / scale).round_ties_even()
    };
    let exact = (0..256).map(|i| i as f32 + 0.5).all(|half| {
        [half.next_down(), half.next_up()].into_iter().all(|next| {
            // Exact: 25 bits by 24.
            let middle = (f64::from(half) + f64::from(next)) / 2.0 * f64::from(scale);
            let x = middle as f32;
            same(x.next_down()) && same(x) && same(x.next_up())
        })
    });
    exact.then_some(r)
}

fn row(x: &View, y: &View, isa: Isa, reciprocal: bool) -> Option<(&'static str, Row)> {
    use DType::{F16 as H, F32, S8, U8};
    macro_rules! quantizing {
        ($($from:ident $to:ident $text:literal $body:ty,)+) => {
            match (x.dtype, y.dtype) {
                $(($from, $to) => Some((isa_name!(isa, "convert_", $text), pick::<$body>(isa))),)+
                _ => None,
            }
        };
    }
    match (x.quant.is_some(), y.quant.is_some()) {
        (false, true) if reciprocal => quantizing! {
            F32 S8 "f32_q8" QuantizeBy<f32>,
            F32 U8 "f32_qu8" QuantizeBy<f32>,
            H S8 "f16_q8" QuantizeBy<F16>,
            H U8 "f16_qu8" QuantizeBy<F16>,
        },
        (false, true) => quantizing! {
            F32 S8 "f32_q8" Quantize<f32>,
            F32 U8 "f32_qu8" Quantize<f32>,
            H S8 "f16_q8" Quantize<F16>,
            H U8 "f16_qu8" Quantize<F16>,
        },
        (true, false) => quantizing! {
            S8 F32 "q8_f32" Dequantize<i8, f32>,
            U8 F32 "qu8_f32" Dequantize<u8, f32>,
            S8 H "q8_f16" Dequantize<i8, F16>,
            U8 H "qu8_f16" Dequantize<u8, F16>,
        },
        (true, true) => quantizing! {
            S8 S8 "q8_q8" Requantize<i8>,
            S8 U8 "q8_qu8" Requantize<i8>,
            U8 S8 "qu8_q8" Requantize<u8>,
            U8 U8 "qu8_qu8" Requantize<u8>,
        },
        (false, false) => quantizing! {
            F32 H "f32_f16" Floats<f32, F16>,
            H F32 "f16_f32" Floats<F16, f32>,
        }
        .or_else(|| cast(x.dtype, y.dtype)),
    }
}

struct Convert {
    x: View,
    y: View,
    walk: Walk<2>,
    params: Params,
    run: Row,
    name: &'static str,
}

// SAFETY: the walk stays inside both views; its tiles are disjoint in the output.
unsafe impl Kernel for Convert {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.walk.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let (from, to) = (self.x.dtype.size(), self.y.dtype.size());
        // SAFETY: `mem` is the memory of these views; runs lie inside them.
        self.walk.tile(tile, |[y, x], n| unsafe {
            let (x, y) = (self.x.ptr::<u8>(mem).add(x * from), self.y.ptr_mut::<u8>(mem).add(y * to));
            (self.run)(x, y, n, &self.params);
        });
    }
}

/// A byte, signed or not.
trait Byte: Copy + Default {
    /// Less `zero`.
    ///
    /// # Safety
    /// Eight can be read.
    unsafe fn load<V: V8>(p: *const Self, zero: V::I) -> V;
}

impl Byte for i8 {
    #[inline(always)]
    unsafe fn load<V: V8>(p: *const Self, zero: V::I) -> V {
        // SAFETY: as the caller vouches.
        unsafe { V::from_s8(p, zero) }
    }
}

impl Byte for u8 {
    #[inline(always)]
    unsafe fn load<V: V8>(p: *const Self, zero: V::I) -> V {
        // SAFETY: as the caller vouches.
        unsafe { V::from_u8(p, zero) }
    }
}

/// A conversion of eight elements.
trait Body {
    type In: Copy + Default;
    type Out: Copy + Default;

    /// # Safety
    /// Eight elements can be read and written.
    unsafe fn eight<V: V8>(p: &Params, x: *const Self::In, y: *mut Self::Out);
}

struct Floats<A, B>(PhantomData<(A, B)>);
struct Quantize<T>(PhantomData<T>);
struct QuantizeBy<T>(PhantomData<T>);
struct Dequantize<B, T>(PhantomData<(B, T)>);
struct Requantize<B>(PhantomData<B>);

impl<A: Elem, B: Elem> Body for Floats<A, B> {
    type In = A;
    type Out = B;

    #[inline(always)]
    unsafe fn eight<V: V8>(_: &Params, x: *const A, y: *mut B) {
        // SAFETY: as the caller vouches.
        unsafe { B::store(A::load::<V>(x), y) }
    }
}

impl<T: Elem> Body for Quantize<T> {
    type In = T;
    type Out = u8;

    /// clamp(x / scale), to nearest even, plus the zero point; NaN gives the zero point.
    #[inline(always)]
    unsafe fn eight<V: V8>(p: &Params, x: *const T, y: *mut u8) {
        // SAFETY: as the caller vouches.
        unsafe {
            let t = T::load::<V>(x).div(V::splat(p.scale));
            let t = V::select(t.eq(t), t, V::splat(0.0));
            store_bytes(p, t, y);
        }
    }
}

impl<T> QuantizeBy<T> {
    /// x / scale: the product with the reciprocal, corrected by what it leaves.
    #[inline(always)]
    fn quotient<V: V8>(x: V, scale: V, reciprocal: V) -> V {
        let q = x.mul(reciprocal);
        q.fnma(scale, x).fma(reciprocal, q)
    }
}

impl<T: Elem> Body for QuantizeBy<T> {
    type In = T;
    type Out = u8;

    /// As [`Quantize`] by way of [`reciprocal`]. What is out of range is clamped first, to what is divided to the
    /// bounds but for an ulp: a division by multiplications needs finite numbers.
    #[inline(always)]
    unsafe fn eight<V: V8>(p: &Params, x: *const T, y: *mut u8) {
        // SAFETY: as the caller vouches.
        unsafe {
            let (scale, x) = (V::splat(p.scale), T::load::<V>(x));
            let x = V::select(x.eq(x), x, V::splat(0.0));
            let x = x.limit(V::splat(p.lo).mul(scale), V::splat(p.hi).mul(scale));
            Self::quotient(x, scale, V::splat(p.reciprocal)).store_bytes(V::isplat(p.zero_y), y);
        }
    }
}

impl<B: Byte, T: Elem> Body for Dequantize<B, T> {
    type In = B;
    type Out = T;

    /// (q - zero) * scale
    #[inline(always)]
    unsafe fn eight<V: V8>(p: &Params, x: *const B, y: *mut T) {
        // SAFETY: as the caller vouches.
        unsafe { T::store(load_bytes::<V, B>(p, x).mul(V::splat(p.scale)), y) }
    }
}

impl<B: Byte> Body for Requantize<B> {
    type In = B;
    type Out = u8;

    /// clamp((q - zero) * (scale_x / scale_y)), to nearest even, plus the zero point.
    #[inline(always)]
    unsafe fn eight<V: V8>(p: &Params, x: *const B, y: *mut u8) {
        // SAFETY: as the caller vouches.
        unsafe { store_bytes(p, load_bytes::<V, B>(p, x).mul(V::splat(p.scale)), y) }
    }
}

/// q less its zero point.
#[inline(always)]
unsafe fn load_bytes<V: V8, B: Byte>(p: &Params, x: *const B) -> V {
    // SAFETY: the caller vouches for eight elements.
    unsafe { B::load(x, V::isplat(p.zero_x)) }
}

#[inline(always)]
unsafe fn store_bytes<V: V8>(p: &Params, t: V, y: *mut u8) {
    let t = t.limit(V::splat(p.lo), V::splat(p.hi));
    // SAFETY: the caller vouches for eight elements.
    unsafe { t.store_bytes(V::isplat(p.zero_y), y) }
}

/// Registers of numbers that are converted together.
const TOGETHER: usize = 2;

per_isa! {
    wide fn pick[B: Body](x: *const u8, y: *mut u8, n: usize, p: &Params) = rows
}

#[inline(always)]
unsafe fn rows<V: V8, B: Body>(x: *const u8, y: *mut u8, n: usize, p: &Params) {
    let (x, y) = (x.cast::<B::In>(), y.cast::<B::Out>());
    let whole = n - n % V::LANES;
    let mut i = 0;
    while i + TOGETHER * V::LANES <= whole {
        // A place of their own: cores that issue in order get several at a time only if results cannot be inputs.
        let mut to = [B::Out::default(); TOGETHER * MAX_LANES];
        // SAFETY: the elements from i on are within n, as many as fit the array.
        unsafe {
            for at in (0..TOGETHER * V::LANES).step_by(V::LANES) {
                B::eight::<V>(p, x.add(i + at), to.as_mut_ptr().add(at));
            }
            std::ptr::copy_nonoverlapping(to.as_ptr(), y.add(i), TOGETHER * V::LANES);
        }
        i += TOGETHER * V::LANES;
    }
    while i < whole {
        // SAFETY: the elements from i on are within n.
        unsafe { B::eight::<V>(p, x.add(i), y.add(i)) };
        i += V::LANES;
    }
    if whole < n {
        let (mut from, mut to) = ([B::In::default(); MAX_LANES], [B::Out::default(); MAX_LANES]);
        // SAFETY: n - whole elements are left; the arrays hold more.
        unsafe {
            std::ptr::copy_nonoverlapping(x.add(whole), from.as_mut_ptr(), n - whole);
            B::eight::<V>(p, from.as_ptr(), to.as_mut_ptr());
            std::ptr::copy_nonoverlapping(to.as_ptr(), y.add(whole), n - whole);
        }
    }
}

per_isa! {
    wide fn pick_floats[A: Elem, B: Elem](x: *const A, y: *mut B, n: usize) = floats
}

#[inline(always)]
unsafe fn floats<V: V8, A: Elem, B: Elem>(x: *const A, y: *mut B, n: usize) {
    let whole = n - n % V::LANES;
    let mut i = 0;
    while i < whole {
        // SAFETY: the elements from i on are within n.
        unsafe { B::store(A::load::<V>(x.add(i)), y.add(i)) };
        i += V::LANES;
    }
    if whole < n {
        // SAFETY: n - whole elements are left, fewer than lanes.
        unsafe {
            let v = load_part(x.add(whole), n - whole, A::default(), A::load::<V>);
            store_part(v, y.add(whole), n - whole, B::store);
        }
    }
}

/// A number that `as` converts, f16 by way of f32.
trait Cast<B> {
    fn cast(self) -> B;
}

/// Defines [`Cast`] between all of some types, and the table of row functions for them.
macro_rules! casts {
    (@pairs $from:ident [$($to:ident)+]) => {
        $(impl Cast<$to> for $from {
            #[inline(always)]
            fn cast(self) -> $to {
                self as $to
            }
        })+
        impl Cast<F16> for $from {
            #[inline(always)]
            fn cast(self) -> F16 {
                F16(f16::from_f32(self as f32).to_bits())
            }
        }
        impl Cast<$from> for F16 {
            #[inline(always)]
            fn cast(self) -> $from {
                f16::from_bits(self.0).to_f32() as $from
            }
        }
    };
    ($($ty:ident $dtype:ident $text:literal,)+ ; $all:tt) => {
        $(casts!(@pairs $ty $all);)+

        impl Cast<F16> for F16 {
            #[inline(always)]
            fn cast(self) -> F16 {
                self
            }
        }

        fn cast(from: DType, to: DType) -> Option<(&'static str, Row)> {
            match from {
                $(DType::$dtype => cast_from::<$ty>(to),)+
                DType::F16 => cast_from::<F16>(to),
                DType::Packed => None,
            }
        }

        fn cast_from<A: Copy $(+ Cast<$ty>)+ + Cast<F16>>(to: DType) -> Option<(&'static str, Row)> {
            match to {
                $(DType::$dtype => Some((concat!("convert_to_", $text), cast_row::<A, $ty>)),)+
                DType::F16 => Some(("convert_to_f16", cast_row::<A, F16>)),
                DType::Packed => None,
            }
        }
    };
}

casts! {
    f32 F32 "f32",
    i8 S8 "s8",
    u8 U8 "u8",
    i16 S16 "s16",
    i32 S32 "s32",
    i64 S64 "s64",
    ; [f32 i8 u8 i16 i32 i64]
}

unsafe fn cast_row<A: Cast<B> + Copy, B>(x: *const u8, y: *mut u8, n: usize, _: &Params) {
    let (x, y) = (x.cast::<A>(), y.cast::<B>());
    for i in 0..n {
        // SAFETY: i < n; tensors are aligned to their elements.
        unsafe { y.add(i).write(x.add(i).read().cast()) };
    }
}
