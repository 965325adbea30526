//! Convolution by weights of few bits with a scale for each block: [`Op::BlockConv`](cygnet_format::op::Op::BlockConv).
//!
//! Weights stay as they are in memory, a panel of 16 output channels after the other; the inner loop widens them in
//! registers. Rows are taken four at a time, or one with several panels; windows are gathered to scratch first.

pub mod pack;
mod product;
#[cfg(test)]
mod tests;

use cygnet_format::op::{self, BlockKind};
use cygnet_format::program::DType;

use crate::conv::geometry::{Axis, Pixel, Product, is_pointwise};
use crate::kernel::{Context, Kernel, PrepareError};
use crate::map::Function;
use crate::simd::{Isa, isa_name};
use crate::view::{Mem, View};
use pack::{BLOCK, PANEL, panels, weight_bytes};
use product::{Job, ROWS, Run, pick};

/// Longest sum: four gathered rows of it fill the scratch.
pub const MAX_K: usize = crate::kernel::MAX_SCRATCH / (ROWS * size_of::<f32>());

/// Rows and panels of a tile.
const TILE_ROWS: usize = 32;
const TILE_PANELS: usize = 8;

struct BlockConv {
    x: View,
    weights: View,
    scales: View,
    bias: View,
    y: View,
    /// Where the window's taps lie; `None` for products of rows.
    window: Option<Product>,
    k: usize,
    kind: BlockKind,
    lo: f32,
    hi: f32,
    function: Function,
    rows_per_tile: usize,
    panels_per_tile: usize,
    run: Run,
    name: &'static str,
}

pub(crate) fn prepare(p: &op::BlockConv, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.typed(0, DType::F32)?, cx.output());
    cx.ensure(y.dtype == DType::F32, || format!("output is {}; f32 is needed", y.dtype.name()))?;
    let m = y.cols();
    let taps = u64::from(p.window.kernel[0]) * u64::from(p.window.kernel[1]);
    let k = taps.saturating_mul(x.cols() as u64);
    cx.ensure(k <= MAX_K as u64, || format!("sums {k} products; at most {MAX_K} are possible"))?;
    let k = k as usize;
    let window = if is_pointwise(&p.window) {
        let (rank, dims) = (y.rank, y.dims());
        let same = rank == x.rank && rank > 0 && dims[..rank - 1] == x.dims()[..rank - 1];
        cx.ensure(same, || format!("output dimensions {dims:?} do not go with the input's {:?}", x.dims()))?;
        None
    } else {
        Some(taps_of(p, cx, &x, &y)?)
    };
    let constant = |i: usize, dtype: DType, len: usize| -> Result<View, PrepareError> {
        let v = cx.typed(i, dtype)?;
        cx.ensure(v.is_dense() && v.len() == len, || {
            format!("input {i} has {} elements; {len} without gaps are needed", v.len())
        })?;
        Ok(v)
    };
    let (panels, blocks) = (panels(m), k.div_ceil(BLOCK));
    let weights = constant(1, DType::Packed, weight_bytes(p.kind, m, k))?;
    let scales = constant(2, DType::F16, panels * blocks * PANEL)?;
    let bias = constant(3, DType::F32, panels * PANEL)?;
    let isa = Isa::wide(cx.cpu());
    let name = match p.kind {
        BlockKind::Int8 => isa_name!(isa, "conv_blocks_s8"),
        BlockKind::Int4 => isa_name!(isa, "conv_blocks_s4"),
    };
    // Gathered rows serve all panels; few rows are cut by panels, so that threads have something to share.
    let (rows_per_tile, panels_per_tile) = match window {
        Some(_) => (ROWS, panels),
        None => (TILE_ROWS, if y.rows() <= ROWS { TILE_PANELS / 2 } else { TILE_PANELS }),
    };
    Ok(Box::new(BlockConv {
        x,
        weights,
        scales,
        bias,
        y,
        window,
        k,
        kind: p.kind,
        lo: p.epilogue.lo,
        hi: p.epilogue.hi,
        function: Function::new(cx.cpu(), p.epilogue.unary),
        rows_per_tile,
        panels_per_tile,
        run: pick(isa, p.kind),
        name,
    }))
}

/// The taps of a window over images.
fn taps_of(p: &op::BlockConv, cx: &Context<'_>, x: &View, y: &View) -> Result<Product, PrepareError> {
    let (&[n, h, w, _], &[images, oh, ow, _]) = (x.dims(), y.dims()) else {
        return Err(cx.error("a window needs an input and an output of four dimensions"));
    };
    cx.ensure(n == images, || format!("{n} images in, {images} out"))?;
    let axis = |axis, from, to| Axis::of_window(&p.window, axis, from, to).map_err(|what| cx.error(what));
    Ok(Product { rows: axis(0, h, oh)?, cols: axis(1, w, ow)?, weights: 0, bias: 0 })
}

impl BlockConv {
    /// Copies what the window of a pixel sees, zeros for what lies outside.
    ///
    /// # Safety
    /// `mem` is the memory of the views; `to` takes `k` numbers.
    unsafe fn gather(&self, mem: &Mem, p: &Product, pixel: Pixel, to: *mut f32) {
        let c = self.x.cols();
        // SAFETY: positions are inside the image, as `Axis::at` says; taps times channels are `k`.
        unsafe {
            let x = self.x.ptr::<f32>(mem);
            for down in 0..p.rows.taps {
                for across in 0..p.cols.taps {
                    let to = to.add((down * p.cols.taps + across) * c);
                    match p.rows.at(pixel.row, down).zip(p.cols.at(pixel.col, across)) {
                        Some((row, col)) => {
                            let at = (pixel.image * p.rows.input + row) * p.cols.input + col;
                            std::ptr::copy_nonoverlapping(x.add(at * self.x.pitch), to, c);
                        }
                        None => to.write_bytes(0, c),
                    }
                }
            }
        }
    }
}

// SAFETY: a tile writes its rows and the columns of its panels, which are disjoint and inside the output; rows of the
// input, and constants of the lengths that `prepare` compared, are read.
unsafe impl Kernel for BlockConv {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tiles(&self) -> usize {
        self.y.rows().div_ceil(self.rows_per_tile) * panels(self.y.cols()).div_ceil(self.panels_per_tile)
    }

    fn macs(&self) -> u64 {
        (self.y.len() * self.k) as u64
    }

    fn scratch(&self) -> usize {
        if self.window.is_some() { ROWS * self.k * size_of::<f32>() } else { 0 }
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let (m, blocks) = (self.y.cols(), self.k.div_ceil(BLOCK));
        let across = panels(m).div_ceil(self.panels_per_tile);
        let first_row = tile / across * self.rows_per_tile;
        let last_row = (first_row + self.rows_per_tile).min(self.y.rows());
        let first = tile % across * self.panels_per_tile;
        let last = (first + self.panels_per_tile).min(panels(m));
        let columns = first * PANEL..(last * PANEL).min(m);
        for row in (first_row..last_row).step_by(ROWS) {
            let rows = ROWS.min(last_row - row);
            // SAFETY: rows and panels are inside the views, whose memory `mem` is; scratch holds the gathered rows.
            unsafe {
                let mut x = [std::ptr::null(); ROWS];
                let mut y = [std::ptr::null_mut(); ROWS];
                for i in 0..rows {
                    y[i] = self.y.ptr_mut::<f32>(mem).add((row + i) * self.y.pitch + columns.start);
                    x[i] = match &self.window {
                        None => self.x.ptr::<f32>(mem).add((row + i) * self.x.pitch),
                        Some(p) => {
                            let to = mem.scratch.cast::<f32>().add(i * self.k);
                            self.gather(mem, p, Pixel::new(p, row + i), to);
                            to.cast_const()
                        }
                    };
                }
                let panel_bytes = weight_bytes(self.kind, PANEL, self.k);
                let job = Job {
                    x,
                    y,
                    rows,
                    k: self.k,
                    columns: columns.len(),
                    weights: self.weights.ptr::<u8>(mem).add(first * panel_bytes),
                    panel_bytes,
                    scales: self.scales.ptr::<u16>(mem).add(first * blocks * PANEL),
                    bias: self.bias.ptr::<f32>(mem).add(first * PANEL),
                    lo: self.lo,
                    hi: self.hi,
                };
                (self.run)(&job);
                if !self.function.is_identity() {
                    for &y in &y[..rows] {
                        self.function.f32(y, y, columns.len());
                    }
                }
            }
        }
    }
}
