//! Rows put at indices: [`Op::Scatter`](cygnet_format::op::Op::Scatter).
//!
//! Updates are done one after the other, so tiles are ranges of columns: each does all updates of its own.

use cygnet_format::op::{self, ScatterKind};
use cygnet_format::program::DType;

use crate::copy::run::copy_run;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::simd::F16;
use crate::view::{Mem, View};

/// Elements that are worth a tile.
const TILE_ELEMENTS: usize = 16_384;

pub(crate) fn prepare(p: &op::Scatter, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, indices, updates, y) = (cx.input(0)?, cx.typed(1, DType::S32)?, cx.input(2)?, cx.output());
    let same = |v: &View| (v.dtype, v.quant) == (y.dtype, y.quant);
    cx.ensure(same(&x) && same(&updates), || {
        "input, updates and output must have one type, scale and zero point".to_owned()
    })?;
    let fits = x.rank == 2 && x.dims() == y.dims() && indices.rank == 1;
    cx.ensure(fits && updates.dims() == [indices.dims[0], x.dims[1]], || {
        format!(
            "puts {:?} at {:?} into {:?}, giving {:?}",
            updates.dims(),
            indices.dims(),
            x.dims(),
            y.dims()
        )
    })?;
    let (name, row): (_, Row) = match (p.kind, y.dtype) {
        (ScatterKind::Replace, _) => ("scatter_replace", replace),
        (kind, DType::F32) => ("scatter_f32", of_kind::<f32>(kind)),
        (kind, DType::F16) => ("scatter_f16", of_kind::<F16>(kind)),
        (kind, DType::S32) => ("scatter_s32", of_kind::<i32>(kind)),
        (kind, other) => return Err(cx.error(format!("{} of {} is not defined", kind.name(), other.name()))),
    };
    let each = x.dims[0] + indices.dims[0];
    let columns = (TILE_ELEMENTS / each).clamp(16, 1 << 20).min(x.dims[1]);
    Ok(Box::new(Scatter { x, indices, updates, y, columns, name, row }))
}

/// Takes `n` elements of `from` up into `to`.
type Row = unsafe fn(from: *const u8, to: *mut u8, n: usize, size: usize);

struct Scatter {
    x: View,
    indices: View,
    updates: View,
    y: View,
    /// Columns of a tile.
    columns: usize,
    name: &'static str,
    row: Row,
}

// SAFETY: a tile writes its own columns of the output, in rows that it has compared with the number there is.
unsafe impl Kernel for Scatter {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.y.cols().div_ceil(self.columns)
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let size = self.y.dtype.size();
        let start = tile * self.columns;
        let n = self.columns.min(self.y.cols() - start);
        let (rows, count) = (self.y.dims[0], self.indices.dims[0]);
        // SAFETY: `mem` is the memory of these views; rows and the `n` columns from `start` on lie inside each.
        unsafe {
            let at = |v: *const u8, pitch: usize, row: usize| v.add((row * pitch + start) * size);
            let (x, u) = (self.x.ptr::<u8>(mem), self.updates.ptr::<u8>(mem));
            let y = self.y.ptr_mut::<u8>(mem);
            let to = |row: usize| y.add((row * self.y.pitch + start) * size);
            for row in 0..rows {
                copy_run(at(x, self.x.pitch, row), to(row), n * size);
            }
            let indices = self.indices.ptr::<i32>(mem);
            for i in 0..count {
                let k = i64::from(*indices.add(i));
                let k = if k < 0 { k + rows as i64 } else { k };
                if let Some(row) = usize::try_from(k).ok().filter(|&row| row < rows) {
                    (self.row)(at(u, self.updates.pitch, i), to(row), n, size);
                }
            }
        }
    }
}

unsafe fn replace(from: *const u8, to: *mut u8, n: usize, size: usize) {
    // SAFETY: the caller vouches for `n` elements of `size` bytes.
    unsafe { copy_run(from, to, n * size) };
}

/// A type that is computed with.
trait Number: Copy {
    fn add(a: Self, b: Self) -> Self;
    fn mul(a: Self, b: Self) -> Self;
    /// Whether `a` is less than `b`.
    fn less(a: Self, b: Self) -> bool;
}

impl Number for f32 {
    fn add(a: Self, b: Self) -> Self {
        a + b
    }
    fn mul(a: Self, b: Self) -> Self {
        a * b
    }
    fn less(a: Self, b: Self) -> bool {
        a < b
    }
}

impl Number for i32 {
    fn add(a: Self, b: Self) -> Self {
        a.wrapping_add(b)
    }
    fn mul(a: Self, b: Self) -> Self {
        a.wrapping_mul(b)
    }
    fn less(a: Self, b: Self) -> bool {
        a < b
    }
}

fn wide(x: F16) -> f32 {
    half::f16::from_bits(x.0).to_f32()
}

fn half(x: f32) -> F16 {
    F16(half::f16::from_f32(x).to_bits())
}

impl Number for F16 {
    fn add(a: Self, b: Self) -> Self {
        half(wide(a) + wide(b))
    }
    fn mul(a: Self, b: Self) -> Self {
        half(wide(a) * wide(b))
    }
    fn less(a: Self, b: Self) -> bool {
        wide(a) < wide(b)
    }
}

fn of_kind<T: Number>(kind: ScatterKind) -> Row {
    match kind {
        ScatterKind::Replace => replace,
        ScatterKind::Add => each::<T, 0>,
        ScatterKind::Mul => each::<T, 1>,
        ScatterKind::Min => each::<T, 2>,
        ScatterKind::Max => each::<T, 3>,
    }
}

unsafe fn each<T: Number, const KIND: u8>(from: *const u8, to: *mut u8, n: usize, _: usize) {
    let (from, to) = (from.cast::<T>(), to.cast::<T>());
    for i in 0..n {
        // SAFETY: the caller vouches for `n` elements of both.
        unsafe {
            let (a, b) = (*to.add(i), *from.add(i));
            *to.add(i) = match KIND {
                0 => T::add(a, b),
                1 => T::mul(a, b),
                2 if T::less(a, b) => a,
                3 if T::less(b, a) => a,
                _ => b,
            };
        }
    }
}

pub mod oracle {
    //! The definition, element by element.

    /// `x` `[rows, columns]` after `updates` `[n, columns]` have been taken up by `join` at `indices`.
    pub fn scatter<T: Copy>(
        x: &[T],
        columns: usize,
        indices: &[i32],
        updates: &[T],
        join: impl Fn(T, T) -> T,
    ) -> Vec<T> {
        let mut y = x.to_vec();
        let rows = (x.len() / columns) as i64;
        for (i, &k) in indices.iter().enumerate() {
            let k = if k < 0 { i64::from(k) + rows } else { i64::from(k) };
            if (0..rows).contains(&k) {
                for c in 0..columns {
                    let at = k as usize * columns + c;
                    y[at] = join(y[at], updates[i * columns + c]);
                }
            }
        }
        y
    }
}
