//! Does a piece of a step: a block of tiles times a range of output channels.
//!
//! Chunk by chunk of input channels the block's inputs are transformed; then group after group of output channels has
//! its weights transformed, a row of positions at a time, and multiplied, and its sums added to the output.

use super::plan::{Plan, Shape};
use super::{CHUNK, Inputs, Matrices, OUT, Outputs, POSITIONS, SIDE, Stages, Weights};
use crate::conv::driver::{After, Padding, Setup};
use crate::conv::geometry::Product;
use crate::conv::micro::NR;
use crate::kernel::Kernel;
use crate::view::Mem;

/// What an input outside the image is where there is no padding row.
static ZEROS: [f32; CHUNK] = [0.0; CHUNK];

/// A convolution ready to run.
pub(super) struct Winograd {
    setup: Setup,
    product: Product,
    stages: Stages,
    plan: Plan,
}

/// A tile's place: image, and output row and column of its first pixel.
#[derive(Clone, Copy)]
struct Tile {
    image: usize,
    row: usize,
    col: usize,
}

impl Winograd {
    pub fn new(setup: Setup, product: Product, stages: Stages, threads: usize) -> Self {
        let shape = Shape {
            images: setup.batch,
            rows: product.rows.outputs,
            cols: product.cols.outputs,
            depth: setup.x.cols(),
            channels: setup.y.cols(),
        };
        let plan = Plan::new(&shape, stages.unit, threads);
        Self { setup, product, stages, plan }
    }

    /// Tiles of a column and of a row of outputs.
    fn grid(&self) -> [usize; 2] {
        [self.product.rows, self.product.cols].map(|axis| axis.outputs.div_ceil(OUT))
    }

    /// Where a tile is.
    fn tile(&self, index: usize) -> Tile {
        let [down, across] = self.grid();
        let (line, column) = (index / across, index % across);
        Tile { image: line / down, row: OUT * (line % down), col: OUT * column }
    }

    /// The addresses of a tile's inputs, row by row, from channel `start` on.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared with, and has the tile and the channel.
    unsafe fn inputs(&self, mem: &Mem, tile: Tile, start: usize) -> [*const f32; POSITIONS] {
        let (s, p) = (&self.setup, &self.product);
        // SAFETY: the memory is that of the operands, which have the channel.
        let (x, outside) = unsafe {
            let outside = match &s.padding {
                Padding::Constant(v) => v.ptr::<f32>(mem).add(start),
                _ => ZEROS.as_ptr(),
            };
            (s.x.ptr::<f32>(mem).add(start), outside)
        };
        let mut columns = [None; SIDE];
        for j in 0..SIDE {
            columns[j] = p.cols.at(tile.col, j).map(|ix| ix * s.x.pitch);
        }
        let mut pixels = [outside; POSITIONS];
        for i in 0..SIDE {
            let Some(iy) = p.rows.at(tile.row, i) else { continue };
            let row = (tile.image * p.rows.input + iy) * p.cols.input * s.x.pitch;
            for j in 0..SIDE {
                if let Some(column) = columns[j] {
                    // SAFETY: a row and a column inside the image.
                    pixels[i * SIDE + j] = unsafe { x.add(row + column) };
                }
            }
        }
        pixels
    }

    /// The addresses of a tile's outputs, row by row, from channel `start` on; null outside the image.
    ///
    /// # Safety
    /// As [`Self::inputs`].
    unsafe fn outputs(&self, mem: &Mem, tile: Tile, start: usize) -> [*mut f32; OUT * OUT] {
        let (y, rows, cols) = (&self.setup.y, &self.product.rows, &self.product.cols);
        let mut pixels = [std::ptr::null_mut(); OUT * OUT];
        for i in 0..OUT.min(rows.outputs - tile.row) {
            let first = (tile.image * rows.outputs + tile.row + i) * cols.outputs + tile.col;
            for j in 0..OUT.min(cols.outputs - tile.col) {
                // SAFETY: a pixel of the output.
                pixels[i * OUT + j] = unsafe { y.ptr_mut::<f32>(mem).add((first + j) * y.pitch + start) };
            }
        }
        pixels
    }

    /// Applies what follows clamping to `channels` channels from `start` on of a block's pixels.
    ///
    /// # Safety
    /// The tiles are the step's, and their outputs have been written by this thread.
    unsafe fn finish(&self, mem: &Mem, first: usize, count: usize, start: usize, channels: usize) {
        let (y, rows, cols) = (&self.setup.y, &self.product.rows, &self.product.cols);
        let After::F32(function) = self.setup.after else { return };
        let [_, across] = self.grid();
        let mut at = first;
        while at < first + count {
            // Tiles of one line: runs of pixels.
            let tile = self.tile(at);
            let end = (first + count).min(at + across - tile.col / OUT);
            let pixels = ((end - at) * OUT).min(cols.outputs - tile.col);
            for row in tile.row..rows.outputs.min(tile.row + OUT) {
                let from = (tile.image * rows.outputs + row) * cols.outputs + tile.col;
                // SAFETY: channels of pixels of the output.
                unsafe {
                    let from = y.ptr_mut::<f32>(mem).add(from * y.pitch + start);
                    if channels == y.pitch {
                        function.f32(from, from, pixels * channels);
                        continue;
                    }
                    for i in 0..pixels {
                        let pixel = from.add(i * y.pitch);
                        function.f32(pixel, pixel, channels);
                    }
                }
            }
            at = end;
        }
    }
}

// SAFETY: tiles are disjoint ranges of 4 x 4 outputs and of channels; every address is that of a pixel of an operand,
// or of a padding row of as many channels; the scratch is as large as the plan that cuts it says.
unsafe impl Kernel for Winograd {
    fn name(&self) -> &'static str {
        self.stages.name
    }

    fn tiles(&self) -> usize {
        self.plan.blocks * self.plan.pieces
    }

    /// Those of the definition: what is compared is time.
    fn macs(&self) -> u64 {
        let (s, p) = (&self.setup, &self.product);
        let pixels = (s.batch * p.rows.outputs * p.cols.outputs) as u64;
        pixels.saturating_mul(9 * (s.x.cols() * s.y.cols()) as u64)
    }

    fn scratch(&self) -> usize {
        self.plan.scratch()
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let (s, plan, stages) = (&self.setup, &self.plan, &self.stages);
        let (depth, channels) = (s.x.cols(), s.y.cols());
        let [down, across] = self.grid();
        // Blocks innermost: threads that take neighbouring tiles share weights.
        let (block, piece) = (tile % plan.blocks, tile / plan.blocks);
        let first = block * plan.tiles;
        let count = plan.tiles.min(s.batch * down * across - first);
        let (from, to) = (piece * plan.channels, ((piece + 1) * plan.channels).min(channels));
        // SAFETY: the parts of the scratch, as `Plan::scratch` adds them up.
        let (inputs, weights, sums) = unsafe {
            let inputs = mem.scratch.cast::<f32>();
            let weights = inputs.add(plan.inputs());
            (inputs, weights, weights.add(plan.weights()))
        };
        for start in (0..depth).step_by(plan.depth) {
            let taken = plan.depth.min(depth - start);
            for i in 0..count {
                // SAFETY: the tile is the step's; rows of the scratch have `plan.depth` channels, a multiple of the
                // lanes.
                unsafe {
                    (stages.inputs)(&Inputs {
                        pixels: &self.inputs(mem, self.tile(first + i), start),
                        depth: taken,
                        to: inputs.add(i * plan.depth),
                        stride: plan.input_stride(),
                    });
                }
            }
            for channel in (from..to).step_by(plan.group) {
                let columns = plan.group.min(to - channel);
                let panels = columns.div_ceil(NR);
                for row in 0..SIDE {
                    // SAFETY: the panels hold the channels, and `taken` inputs from `start` on of each tap; the scratch
                    // has room for a group's weights and sums.
                    unsafe {
                        (stages.weights)(&Weights {
                            from: s.weights.ptr::<f32>(mem).add(channel * 9 * depth + start * NR),
                            tap: depth * NR,
                            panels,
                            depth: taken,
                            row,
                            to: weights,
                            stride: plan.weight_stride(),
                        });
                        for j in 0..SIDE {
                            let position = row * SIDE + j;
                            (stages.multiply)(
                                &stages.row,
                                &Matrices {
                                    inputs: inputs.add(position * plan.input_stride()),
                                    row: plan.depth,
                                    weights: weights.add(j * plan.weight_stride()),
                                    panels,
                                    tiles: count,
                                    depth: taken,
                                    sums: sums.add(position * plan.sum_stride()),
                                    pitch: plan.group,
                                },
                            );
                        }
                    }
                }
                let last = start + taken == depth;
                for i in 0..count {
                    // SAFETY: the tile is the step's and its sums are all there; biases are there for whole panels.
                    unsafe {
                        (stages.outputs)(&Outputs {
                            sums: sums.add(i * plan.group),
                            stride: plan.sum_stride(),
                            pixels: &self.outputs(mem, self.tile(first + i), channel),
                            channels: columns,
                            bias: if start == 0 {
                                s.bias.ptr::<f32>(mem).add(channel)
                            } else {
                                std::ptr::null()
                            },
                            bounds: last.then_some([s.lo, s.hi]),
                        });
                    }
                }
            }
        }
        // SAFETY: the outputs were written just now.
        unsafe { self.finish(mem, first, count, from, to - from) };
    }
}
