//! Functions of every element: [`Op::Map`](cygnet_format::op::Op::Map) of floats and bytes,
//! [`Op::Table`](cygnet_format::op::Op::Table) of s8.

mod f32;
mod table;

#[cfg(test)]
mod tests;

use cygnet_format::op::{self, UnaryKind};
use cygnet_format::program::DType;

pub(crate) use f32::Function;
pub(crate) use table::{Lookup, lookup, prepare as prepare_table};

use crate::kernel::{Context, Kernel, PrepareError};
use crate::simd::F16;
use crate::view::{Mem, View};
use crate::walk::{TILE_ELEMENTS, Walk};

pub(crate) fn prepare(p: &op::Map, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    same_dims(cx, &x, &y)?;
    cx.ensure(x.dtype == y.dtype, || {
        format!("maps {} to {}; both must be of one type", x.dtype.name(), y.dtype.name())
    })?;
    let function = Function::new(cx.cpu(), p.unary);
    let walk = Walk::of([&y, &x], cx.grain(y.len(), TILE_ELEMENTS / function.weight()));
    match x.dtype {
        DType::F32 => Ok(Box::new(MapF32 { x, y, walk, function })),
        DType::F16 => Ok(Box::new(MapF16 { x, y, walk, function })),
        DType::U8 if p.unary.kind == UnaryKind::Not => Ok(Box::new(Not { x, y, walk })),
        other => Err(cx.error(format!("{} of {} is not defined", p.unary.kind.name(), other.name()))),
    }
}

/// Fails unless both tensors have the same dimensions.
pub(crate) fn same_dims(cx: &Context<'_>, x: &View, y: &View) -> Result<(), PrepareError> {
    cx.ensure(x.dims() == y.dims(), || {
        format!("input of dimensions {:?} and output of {:?} must agree", x.dims(), y.dims())
    })
}

struct MapF32 {
    x: View,
    y: View,
    walk: Walk<2>,
    function: Function,
}

// SAFETY: the walk stays inside both views; its tiles are disjoint in the output.
unsafe impl Kernel for MapF32 {
    fn name(&self) -> &'static str {
        self.function.name_f32()
    }
    fn tiles(&self) -> usize {
        self.walk.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        // SAFETY: `mem` is the memory of these views; runs lie inside them.
        self.walk.tile(tile, |[y, x], n| unsafe {
            self.function.f32(self.x.ptr::<f32>(mem).add(x), self.y.ptr_mut::<f32>(mem).add(y), n);
        });
    }
}

struct MapF16 {
    x: View,
    y: View,
    walk: Walk<2>,
    function: Function,
}

// SAFETY: the walk stays inside both views; its tiles are disjoint in the output.
unsafe impl Kernel for MapF16 {
    fn name(&self) -> &'static str {
        self.function.name_f16()
    }
    fn tiles(&self) -> usize {
        self.walk.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        // SAFETY: `mem` is the memory of these views; runs lie inside them.
        self.walk.tile(tile, |[y, x], n| unsafe {
            self.function.f16(self.x.ptr::<F16>(mem).add(x), self.y.ptr_mut::<F16>(mem).add(y), n);
        });
    }
}

struct Not {
    x: View,
    y: View,
    walk: Walk<2>,
}

// SAFETY: the walk stays inside both views; its tiles are disjoint in the output.
unsafe impl Kernel for Not {
    fn name(&self) -> &'static str {
        "map_not_u8"
    }
    fn tiles(&self) -> usize {
        self.walk.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        self.walk.tile(tile, |[y, x], n| {
            for i in 0..n {
                // SAFETY: `mem` is the memory of these views; the run lies inside them.
                unsafe {
                    let v = self.x.ptr::<u8>(mem).add(x + i).read();
                    self.y.ptr_mut::<u8>(mem).add(y + i).write(u8::from(v == 0));
                }
            }
        });
    }
}
