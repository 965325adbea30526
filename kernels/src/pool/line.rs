//! The body of every pooling kernel: a row of output pixels, vector by vector of channels.

use std::marker::PhantomData;

use super::{Line, Mean, Span};
use crate::lanes::{Lanes, Real};

/// What a window's elements are folded into: `N` channels at a time.
///
/// # Safety
/// Every function needs a processor with the instruction set of the implementation; addresses are those of
/// `N` elements.
pub(super) trait Fold: Copy {
    const N: usize;
    /// Bytes of an element.
    const SIZE: usize;
    /// Taps that can be taken before [`Fold::settle`] must be called.
    const MOST: usize = usize::MAX;
    unsafe fn start() -> Self;
    unsafe fn take(self, x: *const u8) -> Self;
    /// Makes room for [`Fold::MOST`] taps more.
    #[inline(always)]
    unsafe fn settle(&mut self) {}
    /// Stores the result over a window of `taps` elements that counts as one of `count`.
    unsafe fn finish(self, y: *mut u8, mean: &Mean, taps: usize, count: f32);
}

impl Mean {
    /// What the sum over a window is divided by; 1 when nothing counts, which makes the mean of nothing zero.
    #[inline(always)]
    pub(super) fn count(&self, rows: Span, cols: Span) -> f32 {
        let n = if self.padding_counts {
            rows.padded as u64 * cols.padded as u64
        } else {
            rows.taps as u64 * cols.taps as u64
        };
        n.max(1) as f32
    }
}

/// Does a line by `V`, four or two vectors at once where there are as many; `T` does rows shorter than a vector.
///
/// # Safety
/// The contract of [`super::Run`].
#[inline(always)]
pub(super) unsafe fn over_channels<V: Fold, T: Fold>(line: &Line<'_>) {
    for (ox, &cols) in line.cols.iter().enumerate() {
        let count = line.mean.count(line.rows, cols);
        // SAFETY: the contract of `Run`: the window's pixels and the output's; `c + N * VECTORS` never passes
        // `channels`.
        unsafe {
            let x = line.x.add(cols.first * line.x_pixel);
            let y = line.y.add(ox * line.y_pixel);
            let at = |c: usize| (x.add(c * V::SIZE), y.add(c * V::SIZE));
            let mut c = 0;
            while c + 4 * V::N <= line.channels {
                window::<V, 4>(line, cols, count, at(c));
                c += 4 * V::N;
            }
            if c + 2 * V::N <= line.channels {
                window::<V, 2>(line, cols, count, at(c));
                c += 2 * V::N;
            }
            while c + V::N <= line.channels {
                window::<V, 1>(line, cols, count, at(c));
                c += V::N;
            }
            if c < line.channels && line.channels >= V::N {
                // The last vector overlaps the one before, and stores the same again.
                window::<V, 1>(line, cols, count, at(line.channels - V::N));
                c = line.channels;
            }
            while c + T::N <= line.channels {
                window::<T, 1>(line, cols, count, at(c));
                c += T::N;
            }
        }
    }
}

/// One window over `VECTORS` vectors of channels.
///
/// # Safety
/// `at` are the first of so many channels in the first tap and in the output pixel.
#[inline(always)]
unsafe fn window<V: Fold, const VECTORS: usize>(
    line: &Line<'_>,
    cols: Span,
    count: f32,
    (x, y): (*const u8, *mut u8),
) {
    // SAFETY: taps are pixels of the input (the contract of `Run`).
    unsafe {
        let mut acc = [V::start(); VECTORS];
        let mut room = V::MOST;
        for ky in 0..line.rows.taps {
            let mut tap = x.add(ky * line.step[0]);
            let mut left = cols.taps;
            while left > 0 {
                if room == 0 {
                    for a in &mut acc {
                        a.settle();
                    }
                    room = V::MOST;
                }
                let n = left.min(room);
                for _ in 0..n {
                    for (i, a) in acc.iter_mut().enumerate() {
                        *a = a.take(tap.add(i * V::N * V::SIZE));
                    }
                    tap = tap.wrapping_add(line.step[1]);
                }
                (left, room) = (left - n, room - n);
            }
        }
        for (i, a) in acc.into_iter().enumerate() {
            a.finish(y.add(i * V::N * V::SIZE), &line.mean, line.rows.taps * cols.taps, count);
        }
    }
}

/// The greatest: `x > acc ? x : acc` from -inf on.
#[derive(Clone, Copy)]
pub(super) struct Max<L, E>(L, PhantomData<E>);

impl<L: Lanes, E: Real> Fold for Max<L, E> {
    const N: usize = L::N;
    const SIZE: usize = size_of::<E>();

    #[inline(always)]
    unsafe fn start() -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { L::splat(f32::NEG_INFINITY) }, PhantomData)
    }
    #[inline(always)]
    unsafe fn take(self, x: *const u8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { self.0.greater(E::load(x.cast())) }, PhantomData)
    }
    #[inline(always)]
    unsafe fn finish(self, y: *mut u8, _: &Mean, _: usize, _: f32) {
        // SAFETY: the trait's contract.
        unsafe { E::store(self.0, y.cast()) }
    }
}

/// The sum in f32, divided.
#[derive(Clone, Copy)]
pub(super) struct Average<L, E>(L, PhantomData<E>);

impl<L: Lanes, E: Real> Fold for Average<L, E> {
    const N: usize = L::N;
    const SIZE: usize = size_of::<E>();

    #[inline(always)]
    unsafe fn start() -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { L::splat(0.0) }, PhantomData)
    }
    #[inline(always)]
    unsafe fn take(self, x: *const u8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { self.0.add(E::load(x.cast())) }, PhantomData)
    }
    #[inline(always)]
    unsafe fn finish(self, y: *mut u8, _: &Mean, _: usize, count: f32) {
        // SAFETY: the trait's contract.
        unsafe { E::store(self.0.div(L::splat(count)), y.cast()) }
    }
}

/// Sums of signed bytes in 16 bits, `N` of them; as many taps as [`Fold::MOST`] of [`AverageS8`] fit.
///
/// # Safety
/// As [`Fold`].
pub(super) trait Sums: Copy {
    const N: usize;
    unsafe fn zero() -> Self;
    /// Adds bytes from memory.
    unsafe fn add(self, x: *const i8) -> Self;
    /// The sums to memory.
    unsafe fn store(self, to: *mut i16);
}

impl Sums for i16 {
    const N: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> Self {
        0
    }
    #[inline(always)]
    unsafe fn add(self, x: *const i8) -> Self {
        // SAFETY: the trait's contract.
        self + i16::from(unsafe { *x })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i16) {
        // SAFETY: the trait's contract.
        unsafe { *to = self }
    }
}

/// Most bytes summed at once by [`AverageS8`].
const MOST_BYTES: usize = 16;

/// The mean of s8: an exact sum, scaled.
#[derive(Clone, Copy)]
pub(super) struct AverageS8<S, L> {
    sums: S,
    /// What has been settled.
    total: [i32; MOST_BYTES],
    lanes: PhantomData<L>,
}

impl<S: Sums, L: Lanes> Fold for AverageS8<S, L> {
    const N: usize = S::N;
    const SIZE: usize = 1;
    /// As many times -128 is the least that 16 bits hold.
    const MOST: usize = 256;

    #[inline(always)]
    unsafe fn start() -> Self {
        const { assert!(S::N <= MOST_BYTES && S::N.is_multiple_of(L::N)) };
        // SAFETY: the trait's contract.
        Self { sums: unsafe { S::zero() }, total: [0; MOST_BYTES], lanes: PhantomData }
    }
    #[inline(always)]
    unsafe fn take(mut self, x: *const u8) -> Self {
        // SAFETY: the trait's contract.
        self.sums = unsafe { self.sums.add(x.cast()) };
        self
    }
    #[inline(always)]
    unsafe fn settle(&mut self) {
        let mut sums = [0; MOST_BYTES];
        // SAFETY: the trait's contract; the array has room.
        unsafe {
            self.sums.store(sums.as_mut_ptr());
            self.sums = S::zero();
        }
        for (total, sum) in self.total.iter_mut().zip(sums) {
            *total += i32::from(sum);
        }
    }
    #[inline(always)]
    unsafe fn finish(mut self, y: *mut u8, mean: &Mean, taps: usize, count: f32) {
        let (lo, hi) = ((-128 - mean.y_zero) as f32, (127 - mean.y_zero) as f32);
        // SAFETY: the trait's contract; the array has whole vectors of lanes.
        unsafe {
            self.settle();
            for total in &mut self.total {
                *total -= taps as i32 * mean.x_zero;
            }
            for i in (0..S::N).step_by(L::N) {
                let r = L::load_i32(self.total.as_ptr().add(i)).mul(L::splat(mean.scale / count));
                r.store_s8(y.cast::<i8>().add(i), lo, hi, mean.y_zero);
            }
        }
    }
}

/// Signed bytes in a register.
///
/// # Safety
/// As [`Fold`].
pub(super) trait Bytes: Copy {
    const N: usize;
    unsafe fn splat(v: i8) -> Self;
    unsafe fn load(p: *const i8) -> Self;
    unsafe fn store(self, p: *mut i8);
    unsafe fn max(self, o: Self) -> Self;
}

impl Bytes for i8 {
    const N: usize = 1;

    #[inline(always)]
    unsafe fn splat(v: i8) -> Self {
        v
    }
    #[inline(always)]
    unsafe fn load(p: *const i8) -> Self {
        // SAFETY: the trait's contract.
        unsafe { *p }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut i8) {
        // SAFETY: the trait's contract.
        unsafe { *p = self }
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        Ord::max(self, o)
    }
}

/// The greatest of s8.
#[derive(Clone, Copy)]
pub(super) struct MaxS8<B>(B);

impl<B: Bytes> Fold for MaxS8<B> {
    const N: usize = B::N;
    const SIZE: usize = 1;

    #[inline(always)]
    unsafe fn start() -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { B::splat(i8::MIN) })
    }
    #[inline(always)]
    unsafe fn take(self, x: *const u8) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { self.0.max(B::load(x.cast())) })
    }
    #[inline(always)]
    unsafe fn finish(self, y: *mut u8, _: &Mean, _: usize, _: f32) {
        // SAFETY: the trait's contract.
        unsafe { self.0.store(y.cast()) }
    }
}

/// Entries of an instruction set, all but that for the greatest of s8; `Sums16` are its [`Sums`]: [`over_channels`] for each kind and element type.
macro_rules! entries {
    ($feature:literal, $lanes:ty) => {
        use crate::lanes::One;
        use crate::pool::Line;
        use crate::pool::line::{Average, AverageS8, Bytes, Max, MaxS8, Sums, over_channels};
        use half::f16;

        entries!(@ $feature, max_f32, Max<$lanes, f32>, Max<One, f32>);
        entries!(@ $feature, max_f16, Max<$lanes, f16>, Max<One, f16>);
        entries!(@ $feature, average_f32, Average<$lanes, f32>, Average<One, f32>);
        entries!(@ $feature, average_f16, Average<$lanes, f16>, Average<One, f16>);
        entries!(@ $feature, average_s8, AverageS8<Sums16, $lanes>, AverageS8<i16, One>);
    };
    (@ $feature:literal, $name:ident, $vector:ty, $short:ty) => {
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn $name(line: &Line<'_>) {
            // SAFETY: the contract of `Run`; this function has the instruction set.
            unsafe { over_channels::<$vector, $short>(line) }
        }
    };
}
pub(super) use entries;
