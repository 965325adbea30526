//! Lanes of f32 on every instruction set: the small trait that elementwise kernels are written over. Eight of them; on
//! AVX-512 sixteen, for functions that go element by element.
//!
//! A kernel is one generic function `#[inline(always)] unsafe fn algo<V: V8>(..)`; [`per_isa!`] instantiates it once
//! per row of its table, each time inside a function that has that instruction set's target features. Every
//! method of [`V8`] is one correctly rounded IEEE operation per lane (or an exact integer one), so all instances
//! give the same bits, the scalar one included. Only the payloads and signs of NaN may differ.

mod row;
mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

pub(crate) use row::{Elem, F16, LANES, MAX_LANES, load_part, load_some, reduce_lanes, store_part};
pub(crate) use scalar::Scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;

use crate::cpu::{Cpu, Features};
use crate::math::UnaryFn;

/// The instruction sets that [`V8`] is implemented for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Portable Rust.
    Generic,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512: sixteen lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Advanced SIMD.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// Every instruction set and what it needs, best first.
    const TABLE: &'static [(Self, Features)] = &[
        #[cfg(target_arch = "x86_64")]
        (Self::Avx2, Features::AVX2),
        #[cfg(target_arch = "aarch64")]
        (Self::Neon, Features::NEON),
        (Self::Generic, Features::NONE),
    ];

    /// The best one that `cpu` may use for functions that go element by element.
    pub(crate) fn wide(cpu: Cpu) -> Self {
        #[cfg(target_arch = "x86_64")]
        if cpu.has(Features::AVX512_VNNI) {
            return Self::Avx512;
        }
        Self::of(cpu)
    }

    /// The best one of eight lanes that `cpu` may use.
    pub(crate) fn of(cpu: Cpu) -> Self {
        let found = Self::TABLE.iter().find(|&&(_, needs)| cpu.has(needs));
        found.map_or(Self::Generic, |&(isa, _)| isa)
    }

    /// The one of `generic`, `avx2`, `avx512`, `neon` that belongs to it.
    #[allow(unused_variables)]
    pub(crate) fn select<T>(self, generic: T, avx2: T, avx512: T, neon: T) -> T {
        match self {
            Self::Generic => generic,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon,
        }
    }
}

/// The name of an implementation: a prefix and the instruction set.
macro_rules! isa_name {
    ($isa:expr, $($prefix:expr),+) => {
        $isa.select(
            concat!($($prefix),+, "_generic"),
            concat!($($prefix),+, "_avx2"),
            concat!($($prefix),+, "_avx512"),
            concat!($($prefix),+, "_neon"),
        )
    };
}
pub(crate) use isa_name;

/// Defines `fn pick[Generics](isa) -> unsafe fn(args)`, which returns the instance of the generic function `algo`
/// for an instruction set. The pointer may be called where that instruction set is present and `algo`'s own
/// conditions hold.
///
/// `wide fn pick` has an instance of sixteen [lanes](V8::LANES) too, for AVX-512; others take eight there.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis wide fn $pick:ident $($rest:tt)+) => {
        $crate::simd::per_isa! { @wide $(#[$meta])* $vis fn $pick $($rest)+ }
    };
    ($(#[$meta:meta])* $vis:vis fn $pick:ident $($rest:tt)+) => {
        $crate::simd::per_isa! { @eight $(#[$meta])* $vis fn $pick $($rest)+ }
    };
    (@avx512 eight $algo:ident [$($g:ident: $b:path),*]($($arg:ident: $ty:ty),*) $(-> $ret:ty)?) => {};
    (@avx512 wide $algo:ident [$($g:ident: $b:path),*]($($arg:ident: $ty:ty),*) $(-> $ret:ty)?) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        unsafe fn avx512<$($g: $b),*>($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the caller keeps the conditions of the generic function.
            unsafe { $algo::<$crate::simd::Avx512, $($g),*>($($arg),*) }
        }
    };
    (@pick512 eight [$($g:ident),*]) => { avx2::<$($g),*> };
    (@pick512 wide [$($g:ident),*]) => { avx512::<$($g),*> };
    (@$width:ident $(#[$meta:meta])* $vis:vis fn $pick:ident[$($g:ident: $b:path),*]($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $algo:ident) => {
        $(#[$meta])*
        $vis fn $pick<$($g: $b),*>(isa: $crate::simd::Isa) -> unsafe fn($($ty),*) $(-> $ret)? {
            #[cfg(any(feature = "portable", not(target_arch = "aarch64")))]
            unsafe fn generic<$($g: $b),*>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller keeps the conditions of the generic function.
                unsafe { $algo::<$crate::simd::Scalar, $($g),*>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2<$($g: $b),*>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: as above.
                unsafe { $algo::<$crate::simd::Avx2, $($g),*>($($arg),*) }
            }
            $crate::simd::per_isa! { @avx512 $width $algo [$($g: $b),*]($($arg: $ty),*) $(-> $ret)? }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon<$($g: $b),*>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: as above.
                unsafe { $algo::<$crate::simd::Neon, $($g),*>($($arg),*) }
            }
            match isa {
                #[cfg(any(feature = "portable", not(target_arch = "aarch64")))]
                $crate::simd::Isa::Generic => generic::<$($g),*>,
                // Not reached: a build without them refuses the level, and every such processor has NEON.
                #[cfg(not(any(feature = "portable", not(target_arch = "aarch64"))))]
                $crate::simd::Isa::Generic => neon::<$($g),*>,
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx2 => avx2::<$($g),*>,
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx512 => $crate::simd::per_isa!(@pick512 $width [$($g),*]),
                #[cfg(target_arch = "aarch64")]
                $crate::simd::Isa::Neon => neon::<$($g),*>,
            }
        }
    };
}
pub(crate) use per_isa;

/// Eight lanes of f32, and with [`V8::I`] eight lanes of i32: [`V8::LANES`], wherever eight are spoken of.
///
/// Comparisons give masks: lanes of [`V8::I`] with all bits set or none. Comparisons with NaN are false.
///
/// Methods may be called only where the instruction set is present, that is from functions generic over `V8` that
/// [`per_isa!`] instantiates. Loads and stores are unaligned and take all eight lanes.
pub(crate) trait V8: Copy {
    /// How many lanes.
    const LANES: usize = LANES;

    /// Eight lanes of i32.
    type I: Copy;

    /// Eight f32 from memory.
    ///
    /// # Safety
    /// All eight can be read.
    unsafe fn load(p: *const f32) -> Self;
    /// Eight f32 to memory.
    ///
    /// # Safety
    /// All eight can be written.
    unsafe fn store(self, p: *mut f32);
    /// Eight halves from memory, widened exactly.
    ///
    /// # Safety
    /// All eight can be read.
    unsafe fn load_f16(p: *const u16) -> Self;
    /// Rounded to halves (nearest even) and written.
    ///
    /// # Safety
    /// All eight can be written.
    unsafe fn store_f16(self, p: *mut u16);
    /// Eight signed bytes from memory.
    ///
    /// # Safety
    /// All eight can be read.
    unsafe fn load_s8(p: *const i8) -> Self::I;
    /// Eight unsigned bytes from memory.
    ///
    /// # Safety
    /// All eight can be read.
    unsafe fn load_u8(p: *const u8) -> Self::I;
    /// The low byte of each lane to memory.
    ///
    /// # Safety
    /// All eight can be written.
    unsafe fn store_low8(v: Self::I, p: *mut u8);
    /// Eight i32 from memory.
    ///
    /// # Safety
    /// All eight can be read.
    unsafe fn load_i32(p: *const i32) -> Self::I;
    /// Eight i32 to memory.
    ///
    /// # Safety
    /// All eight can be written.
    unsafe fn store_i32(v: Self::I, p: *mut i32);

    /// The entries of a table, lane by lane: of what signed bytes say, counted from `base`.
    ///
    /// # Safety
    /// All eight bytes can be read, and the entries are there.
    #[inline(always)]
    unsafe fn look_up_s8(base: *const f32, x: *const i8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::look_up(base, Self::load_s8(x)) }
    }

    /// The same number in every lane.
    fn splat(x: f32) -> Self;
    /// `self + o`
    fn add(self, o: Self) -> Self;
    /// `self - o`
    fn sub(self, o: Self) -> Self;
    /// `self * o`
    fn mul(self, o: Self) -> Self;
    /// `self / o`
    fn div(self, o: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// `c - self * b`, rounded once.
    fn fnma(self, b: Self, c: Self) -> Self;
    /// `self < o ? self : o`: `o` when either is NaN or both are zeros.
    fn min(self, o: Self) -> Self;
    /// `self > o ? self : o`: `o` when either is NaN or both are zeros.
    fn max(self, o: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Toward minus infinity.
    fn floor(self) -> Self;
    /// Toward plus infinity.
    fn ceil(self) -> Self;
    /// To nearest, ties to even.
    fn round(self) -> Self;

    /// `self < o`
    fn lt(self, o: Self) -> Self::I;
    /// `self <= o`
    fn le(self, o: Self) -> Self::I;
    /// `self == o`
    fn eq(self, o: Self) -> Self::I;
    /// `mask ? a : b`
    fn select(mask: Self::I, a: Self, b: Self) -> Self;
    /// Whether any lane of a mask is set.
    fn any(mask: Self::I) -> bool;
    /// A unary function of every lane.
    #[inline(always)]
    fn unary<F: UnaryFn>(self, a: Self, b: Self) -> Self {
        F::apply(self, a, b)
    }

    /// Rounded to nearest even; every lane is in the range of i32 or what it gives is unspecified.
    fn to_i32(self) -> Self::I;
    /// Rounded to nearest even.
    fn from_i32(v: Self::I) -> Self;
    /// The bits of each lane.
    fn to_bits(self) -> Self::I;
    /// The f32 of these bits.
    fn from_bits(v: Self::I) -> Self;

    /// The same integer in every lane.
    fn isplat(x: i32) -> Self::I;
    /// Wrapping sum.
    fn iadd(a: Self::I, b: Self::I) -> Self::I;
    /// Wrapping difference.
    fn isub(a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise and.
    fn iand(a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise or.
    fn ior(a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise exclusive or.
    fn ixor(a: Self::I, b: Self::I) -> Self::I;
    /// Shift to the left, 1 to 31.
    fn shl<const N: i32>(v: Self::I) -> Self::I;
    /// Arithmetic shift to the right, 1 to 31.
    fn sar<const N: i32>(v: Self::I) -> Self::I;
    /// `a == b` as a mask.
    fn ieq(a: Self::I, b: Self::I) -> Self::I;

    /// The entries of a table, lane by lane.
    ///
    /// # Safety
    /// Every index is one of the table's; they may be negative if `table` is not its start.
    #[inline(always)]
    unsafe fn look_up(table: *const f32, index: Self::I) -> Self {
        let mut i = [0_i32; MAX_LANES];
        let mut found = [0.0; MAX_LANES];
        // SAFETY: the array takes every lane; the entries are there.
        unsafe {
            Self::store_i32(index, i.as_mut_ptr());
            for lane in 0..Self::LANES {
                found[lane] = *table.offset(i[lane] as isize);
            }
        }
        Self::from_lanes(found)
    }
    /// `self > o`
    #[inline(always)]
    fn gt(self, o: Self) -> Self::I {
        o.lt(self)
    }
    /// `self >= o`
    #[inline(always)]
    fn ge(self, o: Self) -> Self::I {
        o.le(self)
    }
    /// `x < lo ? lo : x`, then `x > hi ? hi : x`: NaN stays.
    #[inline(always)]
    fn clamp(self, lo: Self, hi: Self) -> Self {
        hi.min(lo.max(self))
    }
    /// [`Self::clamp`] of numbers: what NaN gives is not specified, nor the sign of a zero.
    #[inline(always)]
    fn limit(self, lo: Self, hi: Self) -> Self {
        self.clamp(lo, hi)
    }
    /// Signed bytes from memory, less `zero`, a byte.
    ///
    /// # Safety
    /// All eight can be read.
    #[inline(always)]
    unsafe fn from_s8(p: *const i8, zero: Self::I) -> Self {
        // SAFETY: the caller's promise.
        Self::from_i32(Self::isub(unsafe { Self::load_s8(p) }, zero))
    }
    /// Unsigned bytes from memory, less `zero`, a byte.
    ///
    /// # Safety
    /// All eight can be read.
    #[inline(always)]
    unsafe fn from_u8(p: *const u8, zero: Self::I) -> Self {
        // SAFETY: the caller's promise.
        Self::from_i32(Self::isub(unsafe { Self::load_u8(p) }, zero))
    }
    /// Rounded to nearest even, plus `zero`, which makes a byte of it, and written; magnitudes are at most 1000.
    ///
    /// # Safety
    /// All eight can be written.
    #[inline(always)]
    unsafe fn store_bytes(self, zero: Self::I, p: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { Self::store_low8(Self::iadd(self.to_i32(), zero), p) }
    }
    /// Without the sign.
    #[inline(always)]
    fn abs(self) -> Self {
        Self::from_bits(Self::iand(self.to_bits(), Self::isplat(0x7fff_ffff)))
    }
    /// With the other sign, NaN too.
    #[inline(always)]
    fn neg(self) -> Self {
        Self::from_bits(Self::ixor(self.to_bits(), Self::isplat(i32::MIN)))
    }
    /// The magnitude of `self` with the sign of `s`.
    #[inline(always)]
    fn with_sign_of(self, s: Self) -> Self {
        let sign = Self::iand(s.to_bits(), Self::isplat(i32::MIN));
        Self::from_bits(Self::ior(self.abs().to_bits(), sign))
    }
    /// The lanes as an array, zeros behind them.
    #[inline(always)]
    fn lanes(self) -> [f32; MAX_LANES] {
        let mut a = [0.0; MAX_LANES];
        // SAFETY: the array takes every lane.
        unsafe { self.store(a.as_mut_ptr()) };
        a
    }
    /// The greatest lane, where none is NaN; which of two zeros it is is not specified.
    #[inline(always)]
    fn greatest(self) -> f32 {
        self.lanes()[..Self::LANES].iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
    }
    /// From an array.
    #[inline(always)]
    fn from_lanes(a: [f32; MAX_LANES]) -> Self {
        // SAFETY: the array has every lane.
        unsafe { Self::load(a.as_ptr()) }
    }
    /// Adds the vector to eight sums: of sixteen lanes first the lower half, then the upper one.
    #[inline(always)]
    fn accumulate(self, sums: &mut [f32; LANES]) {
        const { assert!(Self::LANES == LANES) };
        // SAFETY: the array has eight elements.
        unsafe { Self::load(sums.as_ptr()).add(self).store(sums.as_mut_ptr()) };
    }
    /// Adds the first `n` lanes to eight sums, as [`Self::accumulate`] does.
    #[inline(always)]
    fn accumulate_some(self, n: usize, sums: &mut [f32; LANES]) {
        for (i, v) in self.lanes()[..n].iter().enumerate() {
            sums[i % LANES] += v;
        }
    }
    /// The lanes of a vector of eight.
    #[inline(always)]
    fn eight(self) -> [f32; LANES] {
        const { assert!(Self::LANES == LANES) };
        let mut a = [0.0; LANES];
        // SAFETY: the array has eight elements.
        unsafe { self.store(a.as_mut_ptr()) };
        a
    }
}
