//! Scaled dot-product attention: [`Op::Attention`](cygnet_format::op::Op::Attention).
//!
//! A tile is some rows of a head of a batch. Their scores, of all keys, and the results before their last factor lie in
//! scratch memory, which stays in a second-level cache: no matrix of all scores ever exists.

#[cfg(test)]
mod tests;

use cygnet_format::op;
use cygnet_format::program::DType;

use crate::kernel::{Context, Kernel, MAX_SCRATCH, PrepareError};
use crate::matmul::{Block, MB, Products};
use crate::simd::{Elem, F16, Isa, V8, isa_name, load_part, load_some, per_isa, store_part};
use crate::softmax;
use crate::view::{Mem, View};

/// Bytes for the scores and results of a tile; the products' own scratch takes as much at most.
const ROOM: usize = MAX_SCRATCH / 2 - SLACK;

/// Bytes that may be read behind them.
const SLACK: usize = 64;

/// Fewest rows to cut tiles to, so that threads have one.
const LEAST_ROWS: usize = 8;

/// Elements of a row of `n` in scratch memory.
fn padded(n: usize) -> usize {
    n.next_multiple_of(16)
}

/// Whether there is room for a row: `keys` scores and `columns` results.
pub fn fits(keys: usize, columns: usize) -> bool {
    keys <= ROOM && columns <= ROOM && (padded(keys) + padded(columns)) * size_of::<f32>() <= ROOM
}

pub(crate) fn prepare(p: &op::Attention, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let dtype = cx.output().dtype;
    match dtype {
        DType::F32 => Ok(Box::new(Attention::<f32>::new(p, cx)?)),
        DType::F16 => Ok(Box::new(Attention::<F16>::new(p, cx)?)),
        other => Err(cx.error(format!("of {} is not defined; f32 or f16 is needed", other.name()))),
    }
}

struct Attention<T> {
    q: View,
    k: View,
    v: View,
    mask: Option<View>,
    y: View,
    heads: usize,
    /// Columns of a head: of queries and keys, and of values.
    depth: usize,
    columns: usize,
    scale: f32,
    /// Rows of a tile.
    rows: usize,
    products: Products,
    exponentials: unsafe fn(&Scores<T>),
    finish: unsafe fn(*const f32, *mut T, usize, f32),
    name: &'static str,
}

impl<T: Elem> Attention<T> {
    fn new(p: &op::Attention, cx: &Context<'_>) -> Result<Self, PrepareError> {
        let (q, k, v, mask, y) = (cx.input(0)?, cx.input(1)?, cx.input(2)?, cx.optional(3), cx.output());
        let operands = [Some(q), Some(k), Some(v), mask];
        cx.ensure(operands.iter().flatten().all(|o| o.dtype == y.dtype), || {
            format!("operands must all be of the output's type, {}", y.dtype.name())
        })?;
        let heads = p.heads as usize;
        let fit = [&q, &k, &v, &y].iter().all(|o| o.rank == 3 && o.dims[0] == q.dims[0]);
        let fit = fit
            && (k.dims[1], y.dims[1]) == (v.dims[1], q.dims[1])
            && (k.dims[2], y.dims[2]) == (q.dims[2], v.dims[2])
            && q.dims[2].is_multiple_of(heads)
            && v.dims[2].is_multiple_of(heads);
        cx.ensure(fit, || {
            format!(
                "cannot make {:?} of queries {:?}, keys {:?} and values {:?} by {heads} heads",
                y.dims(),
                q.dims(),
                k.dims(),
                v.dims()
            )
        })?;
        let ([batches, m], n) = ([q.dims[0], q.dims[1]], k.dims[1]);
        if let Some(mask) = &mask {
            let whole = [batches, heads, m, n];
            let broadcasts = mask.rank == 4
                && mask.dims[3] == n
                && (0..3).all(|d| mask.dims[d] == 1 || mask.dims[d] == whole[d]);
            cx.ensure(broadcasts, || format!("a mask {:?} does not broadcast to {whole:?}", mask.dims()))?;
        }
        let (depth, columns) = (q.dims[2] / heads, v.dims[2] / heads);
        cx.ensure(fits(n, columns), || {
            format!(
                "{n} keys of {columns} columns are too many; there is room for {}",
                ROOM / size_of::<f32>()
            )
        })?;
        let most = (ROOM / size_of::<f32>() / (padded(n) + padded(columns))).min(MB);
        let wanted = m.div_ceil(cx.tiles().div_ceil(batches * heads)).max(LEAST_ROWS).min(most);
        let rows = m.div_ceil(m.div_ceil(wanted));
        let (cpu, isa) = (cx.cpu(), Isa::wide(cx.cpu()));
        let name = if size_of::<T>() == 4 {
            isa_name!(isa, "attention_f32")
        } else {
            isa_name!(isa, "attention_f16")
        };
        Ok(Self {
            q,
            k,
            v,
            mask,
            y,
            heads,
            depth,
            columns,
            scale: p.scale,
            rows,
            products: Products::new::<T>(cpu),
            exponentials: pick_exponentials::<T>(isa),
            finish: pick_finish::<T>(isa),
            name,
        })
    }

    /// Tiles of a head.
    fn down(&self) -> usize {
        self.q.dims[1].div_ceil(self.rows)
    }

    /// The mask of a batch, a head and the rows from `row` on, and elements from one row's to the next; null without one.
    ///
    /// # Safety
    /// `mem` is the memory that the views were checked against, and there are that many.
    unsafe fn mask(&self, mem: &Mem, at: [usize; 3]) -> (*const T, usize) {
        let Some(mask) = &self.mask else { return (std::ptr::null(), 0) };
        let row = (0..3).fold(0, |row, d| row * mask.dims[d] + if mask.dims[d] == 1 { 0 } else { at[d] });
        // SAFETY: the caller's promise.
        let first = unsafe { mask.ptr::<T>(mem).add(row * mask.pitch) };
        (first, if mask.dims[2] == 1 { 0 } else { mask.pitch })
    }
}

// SAFETY: tiles are disjoint rows and heads of the output; all that is read lies inside the views, or in the scratch.
unsafe impl<T: Elem> Kernel for Attention<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tiles(&self) -> usize {
        self.q.dims[0] * self.heads * self.down()
    }

    fn macs(&self) -> u64 {
        (self.q.rows() * self.k.dims[1] * self.heads * (self.depth + self.columns)) as u64
    }

    fn scratch(&self) -> usize {
        let row = padded(self.k.dims[1]) + padded(self.columns);
        self.products.scratch + self.rows * row * size_of::<f32>() + SLACK
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let (head, batch) = (tile / self.down() % self.heads, tile / self.down() / self.heads);
        let ([_, m, _], n) = ([self.q.dims[0], self.q.dims[1], 0], self.k.dims[1]);
        let first = tile % self.down() * self.rows;
        let rows = self.rows.min(m - first);
        let (keys, width) = (padded(n), padded(self.columns));
        // SAFETY: `mem` is the memory of these views and has the scratch asked for; rows, heads and batches are theirs.
        unsafe {
            let scores = mem.scratch.add(self.products.scratch).cast::<f32>();
            let results = scores.add(self.rows * keys);
            let at = |v: &View, row: usize, columns: usize| {
                v.ptr::<T>(mem).add((batch * v.dims[1] + row) * v.pitch + head * columns)
            };
            let block = Block {
                rows: 0..rows,
                cols: 0..n,
                k: self.depth,
                a: at(&self.q, first, self.depth).cast(),
                a_pitch: self.q.pitch,
                b: at(&self.k, 0, self.depth).cast(),
                b_pitch: self.k.pitch,
                transpose_b: true,
                y: scores.cast(),
                y_pitch: keys,
                scale: self.scale,
                lo: f32::NEG_INFINITY,
                hi: f32::INFINITY,
                zero_points: [0; 3],
                scratch: mem.scratch,
            };
            (self.products.both)(&block);
            let mut sums = [0.0; MB];
            let (mask, mask_pitch) = self.mask(mem, [batch, head, first]);
            (self.exponentials)(&Scores {
                x: scores,
                pitch: keys,
                rows,
                n,
                mask,
                mask_pitch,
                sums: &raw mut sums,
            });
            (self.products.of_f32)(&Block {
                cols: 0..self.columns,
                k: n,
                a: scores.cast_const().cast(),
                a_pitch: keys,
                b: at(&self.v, 0, self.columns).cast(),
                b_pitch: self.v.pitch,
                transpose_b: false,
                y: results.cast(),
                y_pitch: width,
                scale: 1.0,
                ..block
            });
            for (row, sum) in sums[..rows].iter().enumerate() {
                let y = self.y.ptr_mut::<T>(mem);
                let y = y.add((batch * m + first + row) * self.y.pitch + head * self.columns);
                let factor = if *sum == 0.0 { 0.0 } else { 1.0 / sum };
                (self.finish)(results.add(row * width), y, self.columns, factor);
            }
        }
    }
}

/// Scores of some rows of a head.
struct Scores<T> {
    x: *mut f32,
    pitch: usize,
    rows: usize,
    /// Elements of a row.
    n: usize,
    mask: *const T,
    mask_pitch: usize,
    /// Where the sums of the rows go.
    sums: *mut [f32; MB],
}

per_isa! {
    wide fn pick_exponentials[T: Elem](s: &Scores<T>) = exponentials
}
per_isa! {
    wide fn pick_finish[T: Elem](x: *const f32, y: *mut T, n: usize, k: f32) = finish
}

/// Each row of scores, masked, in its place as e^(x - m), m being the greatest, or 0 where all are hidden; and its sum.
///
/// # Safety
/// Scores and, unless null, mask have the rows.
#[inline(always)]
unsafe fn exponentials<V: V8, T: Elem>(s: &Scores<T>) {
    for row in 0..s.rows {
        // SAFETY: the caller's promise.
        unsafe {
            let x = s.x.add(row * s.pitch);
            let m = greatest::<V, T>(x, s.mask.wrapping_add(row * s.mask_pitch), !s.mask.is_null(), s.n);
            let m = if m == f32::NEG_INFINITY { 0.0 } else { m };
            (*s.sums)[row] = softmax::sum::<V, f32>(x, s.n, m, x);
        }
    }
}

/// Adds the mask, if there is one, and returns the greatest; NaN is passed over.
///
/// # Safety
/// `x` and the mask have `n` elements.
#[inline(always)]
unsafe fn greatest<V: V8, T: Elem>(x: *mut f32, mask: *const T, masked: bool, n: usize) -> f32 {
    let whole = n - n % V::LANES;
    let mut top = V::splat(f32::NEG_INFINITY);
    for i in (0..whole).step_by(V::LANES) {
        // SAFETY: the elements from i on are within n.
        unsafe {
            let mut v = V::load(x.add(i));
            if masked {
                v = v.add(T::load(mask.add(i)));
                v.store(x.add(i));
            }
            top = v.max(top);
        }
    }
    if whole < n {
        let rest = n - whole;
        // SAFETY: `rest` elements are left, fewer than lanes.
        unsafe {
            let mut v: V = load_part(x.add(whole), rest, f32::NEG_INFINITY, f32::load::<V>);
            if masked {
                v = v.add(load_part(mask.add(whole), rest, T::default(), T::load::<V>));
                store_part(v, x.add(whole), rest, f32::store::<V>);
            }
            top = v.max(top);
        }
    }
    top.greatest()
}

/// `y = x * k`.
///
/// # Safety
/// Both have `n` elements.
#[inline(always)]
unsafe fn finish<V: V8, T: Elem>(x: *const f32, y: *mut T, n: usize, k: f32) {
    for i in (0..n).step_by(V::LANES) {
        let part = V::LANES.min(n - i);
        // SAFETY: `part` elements are left.
        unsafe {
            let v = load_some::<V, f32>(x.add(i), part).mul(V::splat(k));
            if part == V::LANES {
                T::store(v, y.add(i))
            } else {
                store_part(v, y.add(i), part, T::store::<V>)
            }
        }
    }
}
