//! Reductions of f32 and f16. Halves are widened, reduced in f32, and the result is rounded once.

use std::ops::Range;

use cygnet_format::op::{ReduceKind, Unary, UnaryKind};

use super::{COLUMNS, Plan};
use crate::cpu::Cpu;
use crate::kernel::Kernel;
use crate::map::Function;
use crate::math::{exp, exp_neg};
use crate::simd::{Elem, F16, Isa, LANES, V8, isa_name, load_part, per_isa, reduce_lanes, store_part};
use crate::view::Mem;

/// How elements are joined.
pub(crate) trait Join {
    /// What nothing reduces to.
    const START: f32;
    /// Takes in an element; `shift` is what some subtract.
    fn take<V: V8>(acc: V, x: V, shift: V) -> V;
    /// Joins two results.
    fn join(a: f32, b: f32) -> f32;
}

macro_rules! joins {
    ($($(#[$meta:meta])* $name:ident from $start:expr, |$acc:ident, $x:ident, $shift:ident| $take:expr, |$a:ident, $b:ident| $join:expr;)+) => {$(
        $(#[$meta])*
        pub(crate) struct $name;
        impl Join for $name {
            const START: f32 = $start;
            #[inline(always)]
            fn take<V: V8>($acc: V, $x: V, $shift: V) -> V {
                let _ = $shift;
                $take
            }
            #[inline(always)]
            fn join($a: f32, $b: f32) -> f32 {
                $join
            }
        }
    )+};
}

joins! {
    Sum from 0.0, |acc, x, shift| acc.add(x), |a, b| a + b;
    SumAbs from 0.0, |acc, x, shift| acc.add(x.abs()), |a, b| a + b;
    SumSquare from 0.0, |acc, x, shift| x.fma(x, acc), |a, b| a + b;
    /// Sum of e^(x - shift).
    SumExp from 0.0, |acc, x, shift| acc.add(exp(x.sub(shift))), |a, b| a + b;
    /// The same where no x is greater than `shift`.
    SumExpNeg from 0.0, |acc, x, shift| acc.add(exp_neg(x.sub(shift))), |a, b| a + b;
    /// Sum of (x - shift)^2.
    SumDeviation from 0.0, |acc, x, shift| {
        let d = x.sub(shift);
        d.fma(d, acc)
    }, |a, b| a + b;
    /// Of magnitudes; NaN is passed over.
    MaxAbs from 0.0, |acc, x, shift| x.abs().max(acc), |a, b| if b > a { b } else { a };
    Prod from 1.0, |acc, x, shift| acc.mul(x), |a, b| a * b;
    /// NaN is passed over.
    Max from f32::NEG_INFINITY, |acc, x, shift| x.max(acc), |a, b| if b > a { b } else { a };
    /// NaN is passed over.
    Min from f32::INFINITY, |acc, x, shift| x.min(acc), |a, b| if b < a { b } else { a };
}

/// Reduces `n` elements by the lane tree.
pub(crate) type RowFn<T> = unsafe fn(x: *const T, n: usize, shift: f32) -> f32;

/// Rows that [`FourFn`] reduces at once: additions of one do not wait for those of another.
pub(crate) const FOUR: usize = 4;

/// Reduces `n` elements of each of [`FOUR`] rows, `stride` apart, as [`RowFn`] does one.
pub(crate) type FourFn<T> =
    unsafe fn(x: *const T, stride: usize, n: usize, shift: &[f32; FOUR]) -> [f32; FOUR];

/// Takes `rows` rows of `n` elements, `stride` apart, into `n` results, row by row.
pub(crate) type ColumnsFn<T> =
    unsafe fn(x: *const T, rows: usize, stride: usize, n: usize, shift: *const f32, acc: *mut f32);

per_isa! {
    pub(crate) fn pick_row[T: Elem, J: Join](x: *const T, n: usize, shift: f32) -> f32 = row
}
per_isa! {
    pub(crate) fn pick_four[T: Elem, J: Join](
        x: *const T, stride: usize, n: usize, shift: &[f32; FOUR],
    ) -> [f32; FOUR] = four
}
per_isa! {
    pub(crate) wide fn pick_greatest[T: Elem, J: Join](x: *const T, n: usize, shift: f32) -> f32 = greatest
}
per_isa! {
    pub(crate) fn pick_columns[T: Elem, J: Join](
        x: *const T, rows: usize, stride: usize, n: usize, shift: *const f32, acc: *mut f32,
    ) = columns
}

#[inline(always)]
unsafe fn row<V: V8, T: Elem, J: Join>(x: *const T, n: usize, shift: f32) -> f32 {
    let shift = V::splat(shift);
    let mut acc = V::splat(J::START);
    let whole = n - n % LANES;
    let mut i = 0;
    while i < whole {
        // SAFETY: eight elements from i on are within n.
        acc = J::take(acc, unsafe { T::load::<V>(x.add(i)) }, shift);
        i += LANES;
    }
    let mut lanes = acc.eight();
    if whole < n {
        // SAFETY: n - whole < 8 elements are left.
        let v = unsafe { load_part(x.add(whole), n - whole, T::default(), T::load::<V>) };
        // Lanes past the end take nothing.
        lanes[..n - whole].copy_from_slice(&J::take(acc, v, shift).eight()[..n - whole]);
    }
    reduce_lanes(lanes, J::join)
}

#[inline(always)]
unsafe fn four<V: V8, T: Elem, J: Join>(
    x: *const T,
    stride: usize,
    n: usize,
    shift: &[f32; FOUR],
) -> [f32; FOUR] {
    let mut s = [V::splat(0.0); FOUR];
    for j in 0..FOUR {
        s[j] = V::splat(shift[j]);
    }
    let mut acc = [V::splat(J::START); FOUR];
    let whole = n - n % LANES;
    for i in (0..whole).step_by(LANES) {
        for j in 0..FOUR {
            // SAFETY: eight elements of each row from i on are within n.
            acc[j] = J::take(acc[j], unsafe { T::load::<V>(x.add(j * stride + i)) }, s[j]);
        }
    }
    let mut results = [0.0; FOUR];
    for j in 0..FOUR {
        let mut lanes = acc[j].eight();
        if whole < n {
            // SAFETY: n - whole < 8 elements are left.
            let v = unsafe { load_part(x.add(j * stride + whole), n - whole, T::default(), T::load::<V>) };
            lanes[..n - whole].copy_from_slice(&J::take(acc[j], v, s[j]).eight()[..n - whole]);
        }
        results[j] = reduce_lanes(lanes, J::join);
    }
    results
}

/// The greatest of what a joining of maxima takes, in whatever order: which of two zeros it is, is not defined.
#[inline(always)]
unsafe fn greatest<V: V8, T: Elem, J: Join>(x: *const T, n: usize, shift: f32) -> f32 {
    let (mut acc, shift) = ([V::splat(J::START); FOUR], V::splat(shift));
    let step = FOUR * V::LANES;
    let whole = n - n % step;
    for i in (0..whole).step_by(step) {
        for j in 0..FOUR {
            // SAFETY: the elements from i on are within n.
            acc[j] = J::take(acc[j], unsafe { T::load::<V>(x.add(i + j * V::LANES)) }, shift);
        }
    }
    let mut all = acc[0].max(acc[1]).max(acc[2].max(acc[3]));
    for i in (whole..n).step_by(V::LANES) {
        // SAFETY: so many elements are left; the first again changes nothing.
        let v = unsafe { load_part(x.add(i), V::LANES.min(n - i), *x, T::load::<V>) };
        all = J::take(all, v, shift);
    }
    all.greatest()
}

#[inline(always)]
unsafe fn columns<V: V8, T: Elem, J: Join>(
    x: *const T,
    rows: usize,
    stride: usize,
    n: usize,
    shift: *const f32,
    acc: *mut f32,
) {
    // Four vectors at once: enough that additions do not wait for each other.
    const WIDE: usize = 4;
    let mut i = 0;
    // SAFETY: columns i to i + 32 are within n for each row, for the shifts and for the results.
    unsafe {
        while i + WIDE * LANES <= n {
            let mut s = [V::splat(0.0); WIDE];
            let mut a = [V::splat(0.0); WIDE];
            for j in 0..WIDE {
                s[j] = V::load(shift.add(i + j * LANES));
                a[j] = V::load(acc.add(i + j * LANES));
            }
            let mut p = x.add(i);
            for _ in 0..rows {
                for j in 0..WIDE {
                    a[j] = J::take(a[j], T::load::<V>(p.add(j * LANES)), s[j]);
                }
                p = p.wrapping_add(stride);
            }
            for j in 0..WIDE {
                a[j].store(acc.add(i + j * LANES));
            }
            i += WIDE * LANES;
        }
        while i < n {
            let part = LANES.min(n - i);
            let s = load_part(shift.add(i), part, 0.0, V::load);
            let mut a = load_part(acc.add(i), part, 0.0, V::load);
            let mut p = x.add(i);
            for _ in 0..rows {
                let v = if part == LANES {
                    T::load::<V>(p)
                } else {
                    load_part(p, part, T::default(), T::load::<V>)
                };
                a = J::take(a, v, s);
                p = p.wrapping_add(stride);
            }
            store_part(a, acc.add(i), part, V::store);
            i += part;
        }
    }
}

/// The functions of one kind of joining.
struct Fns<T> {
    start: f32,
    row: RowFn<T>,
    columns: ColumnsFn<T>,
    join: fn(f32, f32) -> f32,
}

impl<T: Elem> Fns<T> {
    fn new<J: Join>(isa: Isa) -> Self {
        Self {
            start: J::START,
            row: pick_row::<T, J>(isa),
            columns: pick_columns::<T, J>(isa),
            join: J::join,
        }
    }
}

pub(super) fn kernel(kind: ReduceKind, plan: Plan, cpu: Cpu) -> Box<dyn Kernel> {
    if plan.x.dtype == cygnet_format::program::DType::F16 {
        Box::new(Reduce::<F16>::new(kind, plan, cpu))
    } else {
        Box::new(Reduce::<f32>::new(kind, plan, cpu))
    }
}

struct Reduce<T> {
    plan: Plan,
    kind: ReduceKind,
    main: Fns<T>,
    /// What is subtracted before the exponential: log-sum-exp alone has it.
    shift: Option<Fns<T>>,
    sqrt: Function,
    log: Function,
    store: unsafe fn(*const f32, *mut T, usize),
    name: &'static str,
}

per_isa! {
    fn pick_store[T: Elem](x: *const f32, y: *mut T, n: usize) = store
}

#[inline(always)]
unsafe fn store<V: V8, T: Elem>(x: *const f32, y: *mut T, n: usize) {
    for i in (0..n).step_by(LANES) {
        let part = LANES.min(n - i);
        // SAFETY: `part` elements from i on are within n.
        unsafe { store_part(load_part(x.add(i), part, 0.0, V::load), y.add(i), part, T::store) };
    }
}

impl<T: Elem> Reduce<T> {
    fn new(kind: ReduceKind, plan: Plan, cpu: Cpu) -> Self {
        use ReduceKind as K;
        let isa = Isa::of(cpu);
        macro_rules! by_kind {
            ($($kind:ident $text:literal $join:ident,)+) => {
                match kind {
                    $(K::$kind => (
                        Fns::new::<$join>(isa),
                        if size_of::<T>() == 2 {
                            isa_name!(isa, "reduce_", $text, "_f16")
                        } else {
                            isa_name!(isa, "reduce_", $text, "_f32")
                        },
                    ),)+
                }
            };
        }
        let (mut main, name) = by_kind! {
            Sum "sum" Sum,
            Mean "mean" Sum,
            Max "max" Max,
            Min "min" Min,
            Prod "prod" Prod,
            L1 "l1" SumAbs,
            L2 "l2" SumSquare,
            SumSquare "sum_square" SumSquare,
            LogSumExp "log_sum_exp" SumExp,
            LogSum "log_sum" Sum,
            MaxAbs "max_abs" MaxAbs,
        };
        if kind == K::MaxAbs {
            main.row = pick_greatest::<T, MaxAbs>(Isa::wide(cpu));
        }
        let shift = (kind == K::LogSumExp).then(|| Fns::new::<Max>(isa));
        let function = |kind| Function::new(cpu, Unary { kind, a: 0.0, b: 0.0 });
        let (sqrt, log) = (function(UnaryKind::Sqrt), function(UnaryKind::Log));
        Self { plan, kind, main, shift, sqrt, log, store: pick_store::<T>(isa), name }
    }

    /// Reduces what the outputs at `x` reduce: one output, or `n` columns.
    ///
    /// # Safety
    /// `x` is a position of the plan, `base` the input's first element.
    unsafe fn reduce(
        &self,
        f: &Fns<T>,
        base: *const T,
        x: usize,
        n: usize,
        shift: &[f32; COLUMNS],
        acc: &mut [f32; COLUMNS],
    ) {
        acc[..n].fill(f.start);
        let cols = self.plan.cols;
        self.plan.rows(x, |at, rows, stride| {
            // SAFETY: rows and columns of the plan lie inside the input; the arrays hold a block.
            unsafe {
                if self.plan.last {
                    for r in 0..rows {
                        let one = (f.row)(base.add(at + r * stride), cols, shift[0]);
                        acc[0] = (f.join)(acc[0], one);
                    }
                } else {
                    (f.columns)(base.add(at), rows, stride, n, shift.as_ptr(), acc.as_mut_ptr());
                }
            }
        });
    }
}

// SAFETY: the plan's positions lie inside both views; its tiles are disjoint in the output.
unsafe impl<T: Elem> Kernel for Reduce<T> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.plan.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let mut room = Room::new();
        // SAFETY: `mem` is the memory of the plan's views; positions are its.
        self.plan.tile(tile, |y, x, n| unsafe { self.outputs(mem, [y, x], n, &mut room) });
    }
    fn rows(&self) -> usize {
        self.plan.by_rows()
    }
    unsafe fn run_rows(&self, mem: &Mem, rows: Range<usize>) {
        use ReduceKind as K;
        let Range { start, end } = rows;
        let mut room = None;
        // SAFETY: as above: each kept position is a row.
        self.plan.kept.each(start, end, |[y, x]| unsafe {
            if let K::Sum | K::Max | K::Min | K::Prod | K::L1 | K::SumSquare | K::MaxAbs = self.kind {
                let f = &self.main;
                let one = (f.row)(self.plan.x.ptr::<T>(mem).add(x), self.plan.cols, 0.0);
                (self.store)(&(f.join)(f.start, one), self.plan.y.ptr_mut::<T>(mem).add(y), 1);
            } else {
                self.outputs(mem, [y, x], 1, room.get_or_insert_with(Room::new));
            }
        });
    }
}

/// What a block of outputs needs beside its operands.
struct Room {
    shift: [f32; COLUMNS],
    acc: [f32; COLUMNS],
}

impl Room {
    fn new() -> Self {
        Self { shift: [0.0; COLUMNS], acc: [0.0; COLUMNS] }
    }
}

impl<T: Elem> Reduce<T> {
    /// Computes `n` outputs from `y` on of what lies at `x`.
    ///
    /// # Safety
    /// `mem` is the memory of the plan's views, the positions are the plan's, `n` is at most a block.
    unsafe fn outputs(&self, mem: &Mem, [y, x]: [usize; 2], n: usize, room: &mut Room) {
        use ReduceKind as K;
        let Room { shift, acc } = room;
        // SAFETY: the caller's promise.
        unsafe {
            let (base, out) = (self.plan.x.ptr::<T>(mem), self.plan.y.ptr_mut::<T>(mem));
            if let Some(f) = &self.shift {
                acc[..n].fill(0.0);
                self.reduce(f, base, x, n, acc, shift);
                shift[..n].iter_mut().for_each(|m| *m = if m.is_finite() { *m } else { 0.0 });
            }
            self.reduce(&self.main, base, x, n, shift, acc);
            let p = acc.as_mut_ptr();
            match self.kind {
                K::Mean => acc[..n].iter_mut().for_each(|v| *v /= self.plan.count as f32),
                K::L2 => self.sqrt.f32(p, p, n),
                K::LogSum => self.log.f32(p, p, n),
                K::LogSumExp => {
                    self.log.f32(p, p, n);
                    acc[..n].iter_mut().zip(&*shift).for_each(|(v, m)| *v += m);
                }
                K::Sum | K::Max | K::Min | K::Prod | K::L1 | K::SumSquare | K::MaxAbs => {}
            }
            (self.store)(acc.as_ptr(), out.add(y), n);
        }
    }
}
