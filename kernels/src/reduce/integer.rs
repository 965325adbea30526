//! Reductions of s8 and s32, in plain Rust that compilers vectorize.

use cygnet_format::op::{self, Epilogue, ReduceKind};
use cygnet_format::program::DType;

use super::{COLUMNS, Plan};
use crate::kernel::{Context, Kernel, PrepareError};
use crate::quant;
use crate::view::Mem;

/// The most elements whose s8 sum, less their zero points, is certain to fit in i32.
const MOST_S8: usize = (i32::MAX / 255) as usize;

/// Joins integers; sums and products wrap.
type Join = fn(i32, i32) -> i32;

/// Takes the elements of a run of rows into results.
type Take<T> = unsafe fn(x: *const T, rows: usize, stride: usize, n: usize, acc: *mut i32);

pub(super) fn kernel(p: &op::Reduce, plan: Plan, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (&plan.x, &plan.y);
    let undefined = || cx.error(format!("{} of {} is not defined", p.kind.name(), x.dtype.name()));
    if x.dtype == DType::S32 {
        let (name, take, start): (_, Take<i32>, _) = match p.kind {
            ReduceKind::Sum => ("reduce_sum_s32", take::<i32, Sum>, 0),
            ReduceKind::Mean => ("reduce_mean_s32", take::<i32, Sum>, 0),
            ReduceKind::Max => ("reduce_max_s32", take::<i32, Max>, i32::MIN),
            ReduceKind::Min => ("reduce_min_s32", take::<i32, Min>, i32::MAX),
            ReduceKind::Prod => ("reduce_prod_s32", take::<i32, Prod>, 1),
            _ => return Err(undefined()),
        };
        let finish =
            if p.kind == ReduceKind::Mean { Finish::Divide(plan.count as i32) } else { Finish::Nothing };
        return Ok(Box::new(Reduce { plan, take, start, finish, name }));
    }
    let (zero_x, zero_y) = (quant::zero_point(cx, x)?, quant::zero_point(cx, y)?);
    let (name, take, start): (_, Take<i8>, _) = match p.kind {
        ReduceKind::Sum => ("reduce_sum_s8", take::<i8, Sum>, 0),
        ReduceKind::Mean => ("reduce_mean_s8", take::<i8, Sum>, 0),
        ReduceKind::Max => ("reduce_max_s8", take::<i8, Max>, i32::MIN),
        ReduceKind::Min => ("reduce_min_s8", take::<i8, Min>, i32::MAX),
        _ => return Err(undefined()),
    };
    let finish = if matches!(p.kind, ReduceKind::Sum | ReduceKind::Mean) {
        cx.ensure(plan.count <= MOST_S8, || {
            format!("{} s8 elements to an output are more than {MOST_S8}", plan.count)
        })?;
        quant::factor(cx, p.scale, "scale")?;
        let whole = Epilogue { lo: -128.0, hi: 127.0, ..Epilogue::NONE };
        let (lo, hi) = quant::bounds(cx, &whole, zero_y)?;
        let scale = if p.kind == ReduceKind::Mean { p.scale / plan.count as f32 } else { p.scale };
        Finish::Requantize { bias: plan.count as i32 * zero_x, scale, lo, hi, zero: zero_y }
    } else {
        cx.ensure(x.quant == y.quant, || "input and output must have one scale and zero point".to_owned())?;
        Finish::Nothing
    };
    Ok(Box::new(Reduce { plan, take, start, finish, name }))
}

/// An integer that is reduced as i32.
trait Int: Copy {
    fn widen(self) -> i32;
    /// Of a value in range.
    fn narrow(v: i32) -> Self;
}

impl Int for i8 {
    #[inline(always)]
    fn widen(self) -> i32 {
        i32::from(self)
    }
    #[inline(always)]
    fn narrow(v: i32) -> Self {
        v as i8
    }
}

impl Int for i32 {
    #[inline(always)]
    fn widen(self) -> i32 {
        self
    }
    #[inline(always)]
    fn narrow(v: i32) -> Self {
        v
    }
}

trait JoinFn {
    const JOIN: Join;
}
struct Sum;
struct Prod;
struct Max;
struct Min;
impl JoinFn for Sum {
    const JOIN: Join = i32::wrapping_add;
}
impl JoinFn for Prod {
    const JOIN: Join = i32::wrapping_mul;
}
impl JoinFn for Max {
    const JOIN: Join = i32::max;
}
impl JoinFn for Min {
    const JOIN: Join = i32::min;
}

/// `n` columns of `rows` rows, `stride` apart; or, when `stride` is 0, one row of `rows` elements into one result.
unsafe fn take<T: Int, J: JoinFn>(x: *const T, rows: usize, stride: usize, n: usize, acc: *mut i32) {
    // SAFETY: the caller vouches for the rows, and for `n` results.
    unsafe {
        if stride == 0 {
            let row = std::slice::from_raw_parts(x, rows);
            *acc = row.iter().fold(*acc, |a, &v| J::JOIN(a, v.widen()));
        } else {
            let acc = std::slice::from_raw_parts_mut(acc, n);
            for r in 0..rows {
                let row = std::slice::from_raw_parts(x.add(r * stride), n);
                acc.iter_mut().zip(row).for_each(|(a, &v)| *a = J::JOIN(*a, v.widen()));
            }
        }
    }
}

enum Finish {
    Nothing,
    /// By the count, toward zero.
    Divide(i32),
    /// clamp((sum - bias) * scale), to nearest even, plus the zero point.
    Requantize {
        bias: i32,
        scale: f32,
        lo: f32,
        hi: f32,
        zero: i32,
    },
}

struct Reduce<T> {
    plan: Plan,
    take: Take<T>,
    start: i32,
    finish: Finish,
    name: &'static str,
}

// SAFETY: the plan's positions lie inside both views; its tiles are disjoint in the output.
unsafe impl<T: Int> Kernel for Reduce<T> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.plan.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        // SAFETY: `mem` is the memory of these views.
        let (base, out) = unsafe { (self.plan.x.ptr::<T>(mem), self.plan.y.ptr_mut::<T>(mem)) };
        self.plan.tile(tile, |y, x, n| {
            let mut acc = [self.start; COLUMNS];
            self.plan.rows(x, |at, rows, stride| {
                // SAFETY: rows and columns of the plan lie inside the input; `n` is at most a block.
                unsafe {
                    if self.plan.last {
                        for r in 0..rows {
                            (self.take)(base.add(at + r * stride), self.plan.cols, 0, 1, acc.as_mut_ptr());
                        }
                    } else if rows == 1 {
                        (self.take)(base.add(at), 1, n, n, acc.as_mut_ptr());
                    } else {
                        (self.take)(base.add(at), rows, stride, n, acc.as_mut_ptr());
                    }
                }
            });
            for (i, &v) in acc[..n].iter().enumerate() {
                let v = match self.finish {
                    Finish::Nothing => v,
                    Finish::Divide(count) => v / count,
                    Finish::Requantize { bias, scale, lo, hi, zero } => {
                        let r = (v - bias) as f32 * scale;
                        let r = if r < lo { lo } else { r };
                        let r = if r > hi { hi } else { r };
                        r.round_ties_even() as i32 + zero
                    }
                };
                // SAFETY: `n` outputs from `y` on are the plan's.
                unsafe { *out.add(y + i) = T::narrow(v) };
            }
        });
    }
}
