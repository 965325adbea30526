//! Does a piece of a step: a block of tiles times a range of output channels.
//!
//! Chunk by chunk of input channels, and for each pair of rows of positions, the block's inputs are transformed; then
//! group after group of output channels has its weights transformed, a row at a time, and multiplied, and its sums added
//! to the output.

use std::ops::Range;

use super::plan::{MAX_TILES, Plan, Shape};
use super::{Ahead, Inputs, Matrices, OUT, Outputs, PAIRS, POSITIONS, SIDE, Stages, Weights};
use crate::conv::after::After;
use crate::conv::geometry::Product;
use crate::conv::micro::NR;
use crate::conv::setup::{Padding, Setup};
use crate::kernel::Kernel;
use crate::view::Mem;

/// A convolution ready to run.
pub(super) struct Winograd {
    setup: Setup,
    product: Product,
    stages: Stages,
    plan: Plan,
    /// In place of a padding row, where there is none: tiles reach beyond what the window does.
    zeros: Vec<f32>,
}

/// A tile's place: image, and output row and column of its first pixel.
#[derive(Clone, Copy)]
struct Tile {
    image: usize,
    row: usize,
    col: usize,
}

/// The addresses of a block's pixels, of each tile row by row.
struct Block {
    /// Of its 6 x 6 inputs: their first channels.
    inputs: [[*const f32; POSITIONS]; MAX_TILES],
    /// Of its 4 x 4 outputs; null outside the image.
    outputs: [[*mut f32; OUT * OUT]; MAX_TILES],
}

/// The parts of a thread's scratch.
struct Scratch {
    inputs: *mut f32,
    weights: *mut f32,
    sums: *mut f32,
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
        let zeros = if matches!(setup.padding, Padding::None) { setup.x.cols() } else { 0 };
        Self { setup, product, stages, plan, zeros: vec![0.0; zeros] }
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

    /// The addresses of `count` tiles from `first` on.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared with, and has the tiles.
    unsafe fn addresses(&self, mem: &Mem, first: usize, count: usize) -> Block {
        let mut block = Block {
            inputs: [[std::ptr::null(); POSITIONS]; MAX_TILES],
            outputs: [[std::ptr::null_mut(); OUT * OUT]; MAX_TILES],
        };
        let (s, p) = (&self.setup, &self.product);
        // SAFETY: the memory is that of the operands.
        let (x, y) = unsafe { (s.x.ptr::<f32>(mem), s.y.ptr_mut::<f32>(mem)) };
        let outside = match &s.padding {
            // SAFETY: as above.
            Padding::Constant(v) => unsafe { v.ptr(mem) },
            _ => self.zeros.as_ptr(),
        };
        for (i, (inputs, outputs)) in block.inputs.iter_mut().zip(&mut block.outputs).take(count).enumerate()
        {
            let tile = self.tile(first + i);
            let columns: [_; SIDE] = std::array::from_fn(|j| p.cols.at(tile.col, j).map(|ix| ix * s.x.pitch));
            for i in 0..SIDE {
                let start = |iy| (tile.image * p.rows.input + iy) * p.cols.input * s.x.pitch;
                let row = p.rows.at(tile.row, i).map(start);
                for j in 0..SIDE {
                    inputs[i * SIDE + j] = match (row, columns[j]) {
                        // SAFETY: a row and a column inside the image.
                        (Some(row), Some(column)) => unsafe { x.add(row + column) },
                        _ => outside,
                    };
                }
            }
            for i in 0..OUT.min(p.rows.outputs - tile.row) {
                let line = (tile.image * p.rows.outputs + tile.row + i) * p.cols.outputs + tile.col;
                for j in 0..OUT.min(p.cols.outputs - tile.col) {
                    // SAFETY: a pixel of the output.
                    outputs[i * OUT + j] = unsafe { y.add((line + j) * s.y.pitch) };
                }
            }
        }
        block
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

    /// The packed weights of output channels `channels` of the chunk that begins with input channel `start`.
    fn ahead(&self, mem: &Mem, start: usize, channels: Range<usize>) -> Ahead {
        let depth = self.setup.x.cols();
        let panels = if start < depth { channels.len().div_ceil(NR) } else { 0 };
        // SAFETY: the memory is that of the operands.
        let weights = unsafe { self.setup.weights.ptr::<f32>(mem) };
        let from = weights.wrapping_add(channels.start * 9 * depth + start * NR);
        Ahead { from, apart: depth * NR, runs: panels * 9 }
    }

    /// Transforms a pair of rows of positions of a chunk of a block's inputs.
    ///
    /// # Safety
    /// The addresses are those of the block's pixels; chunk and scratch are the step's.
    unsafe fn inputs(
        &self,
        tiles: &[[*const f32; POSITIONS]],
        scratch: &Scratch,
        chunk: &Range<usize>,
        pair: usize,
    ) {
        let plan = &self.plan;
        // SAFETY: rows of the scratch have `plan.depth` channels, a multiple of the lanes.
        unsafe {
            (self.stages.inputs)(&Inputs {
                tiles,
                start: chunk.start,
                depth: chunk.len(),
                pair,
                to: scratch.inputs,
                row: plan.depth,
                stride: plan.input_stride(),
            });
        }
    }

    /// A group of output channels: multiplies a pair of rows of positions of a block's inputs by the chunk's weights,
    /// and adds that to the outputs.
    ///
    /// # Safety
    /// The inputs have been transformed; chunk and channels are the step's; the addresses are those of pixels of the
    /// output, or null.
    unsafe fn group(
        &self,
        mem: &Mem,
        outputs: &[[*mut f32; OUT * OUT]],
        scratch: &Scratch,
        chunk: &Range<usize>,
        pair: usize,
        channels: Range<usize>,
        ahead: Ahead,
    ) {
        let (s, plan, stages) = (&self.setup, &self.plan, &self.stages);
        let depth = s.x.cols();
        let panels = channels.len().div_ceil(NR);
        for (half, &row) in PAIRS[pair].iter().enumerate() {
            // SAFETY: the panels hold the channels, and of each tap the chunk's inputs; the scratch has room for a
            // group's weights and sums.
            unsafe {
                (stages.weights)(&Weights {
                    from: s.weights.ptr::<f32>(mem).add(channels.start * 9 * depth + chunk.start * NR),
                    tap: depth * NR,
                    panels,
                    depth: chunk.len(),
                    row,
                    to: scratch.weights,
                    stride: plan.weight_stride(),
                });
                for j in 0..SIDE {
                    let position = half * SIDE + j;
                    (stages.multiply)(
                        &stages.row,
                        &Matrices {
                            inputs: scratch.inputs.add(position * plan.input_stride()),
                            row: plan.depth,
                            weights: scratch.weights.add(j * plan.weight_stride()),
                            panels,
                            tiles: outputs.len(),
                            depth: chunk.len(),
                            ahead: ahead.part(position, 2 * SIDE),
                            sums: scratch.sums.add(position * plan.sum_stride()),
                            pitch: plan.group,
                        },
                    );
                }
            }
        }
        let first = chunk.start == 0 && pair == 0;
        let last = chunk.end == depth && pair == PAIRS.len() - 1;
        // SAFETY: the sums are all there; biases are there for whole panels.
        unsafe {
            (stages.outputs)(&Outputs {
                sums: scratch.sums,
                pitch: plan.group,
                stride: plan.sum_stride(),
                pair,
                tiles: outputs,
                alike: (s.y.pitch * size_of::<f32>()).is_multiple_of(4 << 10),
                start: channels.start,
                channels: channels.len(),
                bias: if first { s.bias.ptr::<f32>(mem).add(channels.start) } else { std::ptr::null() },
                bounds: last.then_some([s.lo, s.hi]),
            });
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
        let (s, plan) = (&self.setup, &self.plan);
        let (depth, channels) = (s.x.cols(), s.y.cols());
        let [down, across] = self.grid();
        // Channels innermost: a thread's share is a part of the image, as it was in the step before.
        let (index, piece) = (tile / plan.pieces, tile % plan.pieces);
        let first = index * plan.tiles;
        let count = plan.tiles.min(s.batch * down * across - first);
        let (from, to) = (piece * plan.channels, ((piece + 1) * plan.channels).min(channels));
        // SAFETY: the tiles are the step's; the parts of the scratch are as `Plan::scratch` adds them up.
        let (block, scratch) = unsafe {
            let inputs = mem.scratch.cast::<f32>();
            let weights = inputs.add(plan.inputs());
            let scratch = Scratch { inputs, weights, sums: weights.add(plan.weights()) };
            (self.addresses(mem, first, count), scratch)
        };
        let groups = (to - from).div_ceil(plan.group);
        let group = |index: usize| from + index * plan.group..to.min(from + (index + 1) * plan.group);
        for start in (0..depth).step_by(plan.depth) {
            let chunk = start..depth.min(start + plan.depth);
            // SAFETY: the tile's inputs, chunk and channels; inputs of a pair are there before its groups' products.
            unsafe {
                for pair in 0..PAIRS.len() {
                    self.inputs(&block.inputs[..count], &scratch, &chunk, pair);
                    for index in 0..groups {
                        // The first pair finds the weights of group after group, the others fetch the next chunk's.
                        let ahead = match pair {
                            0 if index + 1 == groups => Ahead::NOTHING,
                            0 => self.ahead(mem, start, group(index + 1)),
                            _ => {
                                let part = (pair - 1) * groups + index;
                                self.ahead(mem, chunk.end, from..to).part(part, (PAIRS.len() - 1) * groups)
                            }
                        };
                        let outputs = &block.outputs[..count];
                        self.group(mem, outputs, &scratch, &chunk, pair, group(index), ahead);
                    }
                }
            }
        }
        // SAFETY: the outputs were written just now.
        unsafe { self.finish(mem, first, count, from, to - from) };
    }
}
