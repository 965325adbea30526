//! Fill: every element of a tensor set to one value.

use cygnet_format::op;

use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::{Mem, View};

/// Bytes that a tile writes, about.
const TILE_BYTES: usize = 256 << 10;

struct Fill {
    y: View,
    value: [u8; 4],
    /// Rows written as one, and their length in elements.
    rows: usize,
    cols: usize,
    /// Pieces that a row is cut into, and the rows of a tile.
    rows_per_tile: usize,
    cols_per_tile: usize,
}

pub(crate) fn prepare(p: &op::Fill, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let y = cx.output();
    let size = y.dtype.size();
    cx.ensure(size <= 4, || {
        format!("cannot fill {}; use an element type of at most 4 bytes", y.dtype.name())
    })?;
    let (rows, cols) = if y.is_dense() { (1, y.len()) } else { (y.rows(), y.cols()) };
    let cols_per_tile = (TILE_BYTES / size).min(cols);
    let rows_per_tile = (TILE_BYTES / (cols_per_tile * size)).clamp(1, rows);
    Ok(Box::new(Fill { y, value: p.bits.to_le_bytes(), rows, cols, rows_per_tile, cols_per_tile }))
}

// SAFETY: a tile is a rectangle of the output's rows and columns, clipped to them.
unsafe impl Kernel for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn tiles(&self) -> usize {
        self.rows.div_ceil(self.rows_per_tile) * self.cols.div_ceil(self.cols_per_tile)
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let across = self.cols.div_ceil(self.cols_per_tile);
        let (row, col) = (tile / across * self.rows_per_tile, tile % across * self.cols_per_tile);
        let len = self.cols_per_tile.min(self.cols - col);
        let size = self.y.dtype.size();
        for r in row..(row + self.rows_per_tile).min(self.rows) {
            // SAFETY: `r` and `col` are a row and column of the output, with `len` elements from there on.
            let out = unsafe {
                let first = self.y.ptr_mut::<u8>(mem).add((r * self.y.pitch + col) * size);
                std::slice::from_raw_parts_mut(first, len * size)
            };
            match size {
                1 => out.fill(self.value[0]),
                2 => out.as_chunks_mut().0.fill([self.value[0], self.value[1]]),
                _ => out.as_chunks_mut().0.fill(self.value),
            }
        }
    }
}
