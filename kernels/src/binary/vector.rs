//! Rows of f32, f16 and s8, by vectors.

use std::marker::PhantomData;

use cygnet_format::op::BinaryKind;

use super::function::*;
use super::{Params, Row};
use crate::simd::{Elem, F16, Isa, MAX_LANES, V8, isa_name, per_isa};

/// [`Params`] in every lane.
struct Lanes<V: V8> {
    lo: V,
    hi: V,
    scale_a: V,
    scale_b: V,
    zero_a: V::I,
    zero_b: V::I,
    zero_y: V::I,
}

/// Eight elements of a row.
trait Body {
    type In: Copy + Default;
    type Out: Copy + Default;

    /// # Safety
    /// Eight elements can be read from `a` and `b` and written to `y`.
    unsafe fn eight<V: V8>(p: &Lanes<V>, a: *const Self::In, b: *const Self::In, y: *mut Self::Out);
}

/// A function of f32 or f16 operands; its result is f32.
struct Float<T, F>(PhantomData<(T, F)>);
/// A function of s8 operands.
struct Quantized<F>(PhantomData<F>);
/// A comparison of f32 or f16 operands.
struct CompareFloat<T, F>(PhantomData<(T, F)>);
/// A comparison of s8 operands.
struct CompareQuantized<F>(PhantomData<F>);

impl<T: Elem, F: BinaryFn> Body for Float<T, F> {
    type In = T;
    type Out = f32;

    #[inline(always)]
    unsafe fn eight<V: V8>(p: &Lanes<V>, a: *const T, b: *const T, y: *mut f32) {
        // SAFETY: as the caller vouches.
        unsafe { F::apply(T::load::<V>(a), T::load::<V>(b)).clamp(p.lo, p.hi).store(y) }
    }
}

impl<F: BinaryFn> Body for Quantized<F> {
    type In = i8;
    type Out = i8;

    #[inline(always)]
    unsafe fn eight<V: V8>(p: &Lanes<V>, a: *const i8, b: *const i8, y: *mut i8) {
        // SAFETY: as the caller vouches.
        unsafe {
            let (a, b) = (V::from_s8(a, p.zero_a), V::from_s8(b, p.zero_b));
            let r = F::quantized(a, b, p.scale_a, p.scale_b).limit(p.lo, p.hi);
            r.store_bytes(p.zero_y, y.cast());
        }
    }
}

impl<T: Elem, F: CompareFn> Body for CompareFloat<T, F> {
    type In = T;
    type Out = u8;

    #[inline(always)]
    unsafe fn eight<V: V8>(_: &Lanes<V>, a: *const T, b: *const T, y: *mut u8) {
        // SAFETY: as the caller vouches.
        unsafe {
            let mask = F::apply::<V>(T::load(a), T::load(b));
            V::store_low8(V::iand(mask, V::isplat(1)), y);
        }
    }
}

impl<F: CompareFn> Body for CompareQuantized<F> {
    type In = i8;
    type Out = u8;

    #[inline(always)]
    unsafe fn eight<V: V8>(p: &Lanes<V>, a: *const i8, b: *const i8, y: *mut u8) {
        // SAFETY: as the caller vouches.
        unsafe {
            let a = V::from_s8(a, p.zero_a).mul(p.scale_a);
            let b = V::from_s8(b, p.zero_b).mul(p.scale_b);
            V::store_low8(V::iand(F::apply::<V>(a, b), V::isplat(1)), y);
        }
    }
}

per_isa! {
    wide fn pick[B: Body](a: *const u8, b: *const u8, y: *mut u8, n: usize, steps: [bool; 2], p: &Params) = rows
}

#[inline(always)]
unsafe fn rows<V: V8, B: Body>(
    a: *const u8,
    b: *const u8,
    y: *mut u8,
    n: usize,
    steps: [bool; 2],
    p: &Params,
) {
    let p = Lanes::<V> {
        lo: V::splat(p.lo),
        hi: V::splat(p.hi),
        scale_a: V::splat(p.scale_a),
        scale_b: V::splat(p.scale_b),
        zero_a: V::isplat(p.zero_a),
        zero_b: V::isplat(p.zero_b),
        zero_y: V::isplat(p.zero_y),
    };
    let (a, b, y) = (a.cast::<B::In>(), b.cast::<B::In>(), y.cast::<B::Out>());
    // An element for all is repeated on the stack and read from there every time.
    // SAFETY: each operand has at least one element.
    let (one_a, one_b) = unsafe { ([*a; MAX_LANES], [*b; MAX_LANES]) };
    let a = if steps[0] { a } else { one_a.as_ptr() };
    let b = if steps[1] { b } else { one_b.as_ptr() };
    let [step_a, step_b] = steps.map(usize::from);
    let whole = n - n % V::LANES;
    let mut i = 0;
    while i < whole {
        // SAFETY: the elements from i on are within n, or the operand is the array of one element.
        unsafe { B::eight(&p, a.add(i * step_a), b.add(i * step_b), y.add(i)) };
        i += V::LANES;
    }
    let rest = n - whole;
    if rest > 0 {
        let (mut part_a, mut part_b) = ([B::In::default(); MAX_LANES], [B::In::default(); MAX_LANES]);
        let mut part_y = [B::Out::default(); MAX_LANES];
        // SAFETY: `rest` elements are left in each operand and in the output; the arrays hold more.
        unsafe {
            std::ptr::copy_nonoverlapping(a.add(whole * step_a), part_a.as_mut_ptr(), rest);
            std::ptr::copy_nonoverlapping(b.add(whole * step_b), part_b.as_mut_ptr(), rest);
            B::eight(&p, part_a.as_ptr(), part_b.as_ptr(), part_y.as_mut_ptr());
            std::ptr::copy_nonoverlapping(part_y.as_ptr(), y.add(whole), rest);
        }
    }
}

/// The table of an element type: kind, name, body.
macro_rules! table {
    ($name:ident, $type:literal, $($kind:ident $text:literal $body:ty,)+) => {
        /// The row function of a kind for this element type, if it is defined, and its name.
        pub(super) fn $name(kind: BinaryKind, isa: Isa) -> Option<(&'static str, Row)> {
            Some(match kind {
                $(BinaryKind::$kind => (
                    isa_name!(isa, "binary_", $text, "_", $type),
                    pick::<$body>(isa),
                ),)+
                #[allow(unreachable_patterns)]
                _ => return None,
            })
        }
    };
}

table! { f32, "f32",
    Add "add" Float<f32, Add>,
    Sub "sub" Float<f32, Sub>,
    Mul "mul" Float<f32, Mul>,
    Div "div" Float<f32, Div>,
    Min "min" Float<f32, Min>,
    Max "max" Float<f32, Max>,
    Pow "pow" Float<f32, Pow>,
    PRelu "prelu" Float<f32, PRelu>,
    Mod "mod" Float<f32, Mod>,
    Fmod "fmod" Float<f32, Fmod>,
    SquaredDifference "squared_difference" Float<f32, SquaredDifference>,
    Equal "equal" CompareFloat<f32, Equal>,
    Less "less" CompareFloat<f32, Less>,
    LessOrEqual "less_or_equal" CompareFloat<f32, LessOrEqual>,
    Greater "greater" CompareFloat<f32, Greater>,
    GreaterOrEqual "greater_or_equal" CompareFloat<f32, GreaterOrEqual>,
}

table! { f16, "f16",
    Add "add" Float<F16, Add>,
    Sub "sub" Float<F16, Sub>,
    Mul "mul" Float<F16, Mul>,
    Div "div" Float<F16, Div>,
    Min "min" Float<F16, Min>,
    Max "max" Float<F16, Max>,
    Pow "pow" Float<F16, Pow>,
    PRelu "prelu" Float<F16, PRelu>,
    Mod "mod" Float<F16, Mod>,
    Fmod "fmod" Float<F16, Fmod>,
    SquaredDifference "squared_difference" Float<F16, SquaredDifference>,
    Equal "equal" CompareFloat<F16, Equal>,
    Less "less" CompareFloat<F16, Less>,
    LessOrEqual "less_or_equal" CompareFloat<F16, LessOrEqual>,
    Greater "greater" CompareFloat<F16, Greater>,
    GreaterOrEqual "greater_or_equal" CompareFloat<F16, GreaterOrEqual>,
}

table! { s8, "s8",
    Add "add" Quantized<Add>,
    Sub "sub" Quantized<Sub>,
    Mul "mul" Quantized<Mul>,
    Div "div" Quantized<Div>,
    Min "min" Quantized<Min>,
    Max "max" Quantized<Max>,
    PRelu "prelu" Quantized<PRelu>,
    SquaredDifference "squared_difference" Quantized<SquaredDifference>,
    Equal "equal" CompareQuantized<Equal>,
    Less "less" CompareQuantized<Less>,
    LessOrEqual "less_or_equal" CompareQuantized<LessOrEqual>,
    Greater "greater" CompareQuantized<Greater>,
    GreaterOrEqual "greater_or_equal" CompareQuantized<GreaterOrEqual>,
}
