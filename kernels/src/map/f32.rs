//! Unary functions over rows of f32 and f16.

use cygnet_format::op::{Unary, UnaryKind};

use crate::cpu::Cpu;
use crate::math::{self, UnaryFn};
use crate::simd::{Elem, F16, Isa, V8, isa_name, load_part, per_isa, store_part};

/// A row function: reads `n` elements of `x`, writes as many to `y`, which may be `x`. The last arguments are
/// the function's parameters.
pub(crate) type Row<T> = unsafe fn(x: *const T, y: *mut T, n: usize, a: f32, b: f32);

/// A unary function resolved for a processor: the step `map`, and the end of epilogues.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    unary: Unary,
    f32: Row<f32>,
    f16: Row<F16>,
    names: [&'static str; 2],
}

impl Function {
    /// The function for `cpu`.
    pub(crate) fn new(cpu: Cpu, unary: Unary) -> Self {
        let isa = Isa::wide(cpu);
        macro_rules! arms {
            ($($kind:ident $text:literal,)+) => {
                match unary.kind {
                    $(UnaryKind::$kind => Self {
                        unary,
                        f32: pick::<f32, math::$kind>(isa),
                        f16: pick::<F16, math::$kind>(isa),
                        names: [isa_name!(isa, "map_", $text, "_f32"), isa_name!(isa, "map_", $text, "_f16")],
                    },)+
                }
            };
        }
        math::functions!(arms)
    }

    /// Whether it changes nothing.
    pub(crate) fn is_identity(&self) -> bool {
        self.unary.kind == UnaryKind::Identity
    }

    /// Cost of an element, in those of a cheap function.
    pub(crate) fn weight(&self) -> usize {
        use UnaryKind as K;
        match self.unary.kind {
            K::Exp | K::Log | K::Sigmoid | K::Tanh | K::Silu | K::Gelu | K::GeluTanh | K::Mish => 8,
            K::Erf | K::Elu | K::Selu | K::Softplus | K::Sin | K::Cos | K::Tan => 8,
            K::Asin | K::Acos | K::Atan | K::Sinh | K::Cosh | K::Asinh | K::Acosh | K::Atanh => 8,
            _ => 1,
        }
    }

    /// Name of the implementation for f32.
    pub(crate) fn name_f32(&self) -> &'static str {
        self.names[0]
    }

    /// Name of the implementation for f16.
    pub(crate) fn name_f16(&self) -> &'static str {
        self.names[1]
    }

    /// Applies it to `n` numbers of `x`, into `y`, which may be `x`.
    ///
    /// # Safety
    /// `n` elements of `x` can be read and of `y` written; the two are the same or do not overlap.
    #[inline]
    pub(crate) unsafe fn f32(&self, x: *const f32, y: *mut f32, n: usize) {
        // SAFETY: as the caller vouches; the instruction set is there, the function having been picked for it.
        unsafe { (self.f32)(x, y, n, self.unary.a, self.unary.b) }
    }

    /// Applies it to `n` halves of `x`, into `y`: computed in f32, rounded once.
    ///
    /// # Safety
    /// As [`Self::f32`].
    #[inline]
    pub(crate) unsafe fn f16(&self, x: *const F16, y: *mut F16, n: usize) {
        // SAFETY: as above.
        unsafe { (self.f16)(x, y, n, self.unary.a, self.unary.b) }
    }
}

per_isa! {
    wide fn pick[T: Elem, F: UnaryFn](x: *const T, y: *mut T, n: usize, a: f32, b: f32) = row
}

#[inline(always)]
unsafe fn row<V: V8, T: Elem, F: UnaryFn>(x: *const T, y: *mut T, n: usize, a: f32, b: f32) {
    let (a, b) = (V::splat(a), V::splat(b));
    let whole = n - n % V::LANES;
    let mut i = 0;
    while i < whole {
        // SAFETY: the elements from i on are within the caller's n.
        unsafe { T::store(T::load::<V>(x.add(i)).unary::<F>(a, b), y.add(i)) };
        i += V::LANES;
    }
    if whole < n {
        // SAFETY: n - whole elements are left, fewer than lanes.
        unsafe {
            let v = load_part(x.add(whole), n - whole, T::default(), T::load::<V>);
            store_part(v.unary::<F>(a, b), y.add(whole), n - whole, T::store);
        }
    }
}
