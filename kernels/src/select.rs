//! Choice between two tensors by a third: [`Op::Select`](cygnet_format::op::Op::Select). Elements are copied as
//! they are, of any type.

use cygnet_format::op;
use cygnet_format::program::DType;

use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::{Mem, View};
use crate::walk::{TILE_ELEMENTS, Walk, broadcast};

#[cfg(test)]
mod tests;

/// `n` elements of a row; an operand whose step is not set is one element for all.
type Row = unsafe fn(cond: *const u8, a: *const u8, b: *const u8, y: *mut u8, n: usize, steps: [bool; 3]);

pub(crate) fn prepare(_: &op::Select, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (cond, a, b, y) = (cx.typed(0, DType::U8)?, cx.input(1)?, cx.input(2)?, cx.output());
    for (i, v) in [(1, &a), (2, &b)] {
        cx.ensure((v.dtype, v.quant) == (y.dtype, y.quant), || {
            format!("input {i} and the output must have one type, scale and zero point")
        })?;
    }
    let rank = cond.rank.max(a.rank).max(b.rank);
    let extent = |v: &View, d: usize| if d + v.rank < rank { 1 } else { v.dims[d + v.rank - rank] };
    let exact = y.rank == rank
        && (0..rank)
            .all(|d| y.dims[d] == [&cond, &a, &b].map(|v| extent(v, d)).into_iter().max().unwrap_or(1));
    cx.ensure(exact, || format!("the inputs do not broadcast to the output's dimensions {:?}", y.dims()))?;
    let strides = [
        y.strides(),
        broadcast(cx, &cond, y.dims(), "input 0")?,
        broadcast(cx, &a, y.dims(), "input 1")?,
        broadcast(cx, &b, y.dims(), "input 2")?,
    ];
    let walk = Walk::new(y.dims(), &strides, cx.grain(y.len(), TILE_ELEMENTS));
    let run: Row = match y.dtype.size() {
        1 => row::<u8>,
        2 => row::<u16>,
        4 => row::<u32>,
        _ => row::<u64>,
    };
    Ok(Box::new(Select { cond, a, b, y, walk, run }))
}

struct Select {
    cond: View,
    a: View,
    b: View,
    y: View,
    walk: Walk<4>,
    run: Row,
}

// SAFETY: the walk stays inside the views, whose broadcasting was checked; its tiles are disjoint in the output.
unsafe impl Kernel for Select {
    fn name(&self) -> &'static str {
        match self.y.dtype.size() {
            1 => "select_x8",
            2 => "select_x16",
            4 => "select_x32",
            _ => "select_x64",
        }
    }
    fn tiles(&self) -> usize {
        self.walk.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let size = self.y.dtype.size();
        let steps = [self.walk.steps[1], self.walk.steps[2], self.walk.steps[3]];
        // SAFETY: `mem` is the memory of these views; runs lie inside them.
        self.walk.tile(tile, |[y, cond, a, b], n| unsafe {
            let (a, b) = (self.a.ptr::<u8>(mem).add(a * size), self.b.ptr::<u8>(mem).add(b * size));
            let y = self.y.ptr_mut::<u8>(mem).add(y * size);
            (self.run)(self.cond.ptr::<u8>(mem).add(cond), a, b, y, n, steps);
        });
    }
}

unsafe fn row<T: Copy>(cond: *const u8, a: *const u8, b: *const u8, y: *mut u8, n: usize, steps: [bool; 3]) {
    let (a, b, y) = (a.cast::<T>(), b.cast::<T>(), y.cast::<T>());
    let [c_step, a_step, b_step] = steps.map(usize::from);
    // SAFETY: i < n; an operand whose step is not set is read at its only element.
    unsafe {
        if steps == [true; 3] {
            // Both are read, so that the loop becomes a blend.
            for i in 0..n {
                let (a, b) = (*a.add(i), *b.add(i));
                *y.add(i) = if *cond.add(i) != 0 { a } else { b };
            }
        } else {
            for i in 0..n {
                let (a, b) = (*a.add(i * a_step), *b.add(i * b_step));
                *y.add(i) = if *cond.add(i * c_step) != 0 { a } else { b };
            }
        }
    }
}
