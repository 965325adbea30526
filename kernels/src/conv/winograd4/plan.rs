//! How much of a step is done at a time, and whether Winograd's algorithm pays.
//!
//! Costs are counted in multiply-adds of a register, for every eight channels: what a step of the inner product does to
//! a tile, on all instruction sets alike. Transforms take as many instructions for a register of any length.

use super::rows::MAX_CHANNELS;
use super::{CHUNK, POSITIONS, SIDE, STEP, chunk};
use crate::conv::micro::NR;
use crate::kernel::MAX_SCRATCH;

/// Most tiles of a block: their addresses are kept on the stack.
pub(super) const MAX_TILES: usize = 48;

/// Elements between the positions of transformed values beyond their own: room for what is written past the end, and
/// positions a power of two apart would meet in few sets of the cache.
const APART: usize = 16;

/// Cost of transforming eight input channels of a tile.
const INPUTS: f64 = 250.0;
/// Of transforming the weights of an input channel.
const WEIGHTS: f64 = 80.0;
/// Of reading the packed weights of an input channel from far memory.
const FETCH: f64 = 60.0;
/// Of adding a chunk's sums to the outputs of a tile.
const OUTPUTS: f64 = 210.0;
/// Of beginning and storing the sums of some tiles at a position.
const CALL: f64 = 30.0;
/// Of reading eight input channels of a tile in two threads: memory that several cores have read is slow to write again.
const SHARED: f64 = 150.0;
/// How late the last of some threads is, in pieces of work for each other thread: they do not run alike.
const LATE: f64 = 1.0 / 8.0;

/// What a step is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Images.
    pub images: usize,
    /// Output rows.
    pub rows: usize,
    /// Output columns.
    pub cols: usize,
    /// Input channels.
    pub depth: usize,
    /// Output channels.
    pub channels: usize,
}

impl Shape {
    /// Tiles of 4 x 4 outputs.
    pub(super) fn tiles(&self) -> usize {
        self.images * self.rows.div_ceil(super::OUT) * self.cols.div_ceil(super::OUT)
    }
}

/// Tiles and channels that an implementation multiplies at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub tiles: usize,
    pub channels: usize,
}

/// How a step is cut. A piece of work is a block of tiles times a number of output channels; within it chunks of input
/// channels follow one another, and for each groups of output channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// Tiles of a block.
    pub tiles: usize,
    /// Blocks of the step.
    pub blocks: usize,
    /// Input channels of a chunk: a multiple of [`STEP`].
    pub depth: usize,
    /// Output channels of a group: a multiple of [`STEP`], at most [`MAX_CHANNELS`].
    pub group: usize,
    /// Output channels of a piece of work, a multiple of `group`.
    pub channels: usize,
    /// Pieces that the output channels are cut into.
    pub pieces: usize,
}

impl Plan {
    /// The plan of least estimated time for `threads` threads among those whose scratch is small enough.
    pub fn new(shape: &Shape, unit: Unit, threads: usize) -> Self {
        let mut best = Self::cut(shape, 1, STEP, 1).expect("a tile and 16 channels fit the scratch");
        let mut least = best.time(shape, unit, threads);
        let most = shape.channels.next_multiple_of(STEP);
        for group in (STEP..=MAX_CHANNELS.min(most)).step_by(STEP) {
            for pieces in [1, 2, 3, 4, 6, 8, 12, 16, 24, 32] {
                for most in 1..=MAX_TILES.min(shape.tiles()) {
                    // Even shares.
                    let tiles = shape.tiles().div_ceil(shape.tiles().div_ceil(most));
                    let Some(plan) = Self::cut(shape, tiles, group, pieces) else { break };
                    let time = plan.time(shape, unit, threads);
                    if time < least {
                        (best, least) = (plan, time);
                    }
                }
            }
        }
        best
    }

    /// The plan for blocks of `tiles` tiles, groups of `group` output channels and so many pieces, if its scratch is
    /// small enough.
    fn cut(shape: &Shape, tiles: usize, group: usize, pieces: usize) -> Option<Self> {
        let groups = shape.channels.div_ceil(group);
        let channels = groups.div_ceil(pieces) * group;
        let plan = Self {
            tiles,
            blocks: shape.tiles().div_ceil(tiles),
            depth: chunk(shape.depth),
            group,
            channels,
            pieces: shape.channels.div_ceil(channels),
        };
        (plan.scratch() <= MAX_SCRATCH).then_some(plan)
    }

    /// Estimated cost of a piece of work of so many tiles and output channels.
    fn piece(&self, shape: &Shape, unit: Unit, [tiles, channels]: [usize; 2]) -> f64 {
        let depth = shape.depth as f64;
        let chunks = shape.depth.div_ceil(self.depth) as f64;
        let panels = channels.next_multiple_of(unit.channels.min(self.group)) as f64 / NR as f64;
        let calls = tiles.div_ceil(unit.tiles) as f64;
        let tiles = tiles as f64;
        let multiply = tiles * depth + calls * chunks * CALL;
        tiles * (depth / NR as f64).ceil() * INPUTS
            + panels * (depth * (WEIGHTS + FETCH) + POSITIONS as f64 * multiply + tiles * chunks * OUTPUTS)
    }

    /// Estimated time on some threads, each of which does about as many pieces of work.
    fn time(&self, shape: &Shape, unit: Unit, threads: usize) -> f64 {
        let channels = self.channels.min(shape.channels);
        let mut piece = self.piece(shape, unit, [self.tiles, channels]);
        if self.pieces > 1 {
            piece += self.tiles as f64 * (shape.depth / NR) as f64 * SHARED;
        }
        let rounds = (self.blocks * self.pieces).div_ceil(threads);
        piece * (rounds as f64 + LATE * (threads - 1) as f64)
    }

    /// Elements from a position to the next of transformed inputs.
    pub fn input_stride(&self) -> usize {
        self.tiles * self.depth + APART
    }

    /// Elements from a position to the next of a group's transformed weights.
    pub fn weight_stride(&self) -> usize {
        self.group * self.depth + APART
    }

    /// Elements from a position to the next of a group's sums.
    pub fn sum_stride(&self) -> usize {
        self.tiles * self.group + APART
    }

    /// Elements of transformed inputs: a pair of rows of positions.
    pub fn inputs(&self) -> usize {
        2 * SIDE * self.input_stride()
    }

    /// Elements of transformed weights: a row of positions.
    pub fn weights(&self) -> usize {
        SIDE * self.weight_stride()
    }

    /// Bytes of scratch.
    pub fn scratch(&self) -> usize {
        (self.inputs() + self.weights() + 2 * SIDE * self.sum_stride()) * size_of::<f32>()
    }
}

/// Whether Winograd's algorithm is estimated to be faster than the direct form.
pub fn pays(shape: &Shape) -> bool {
    let unit = Unit { tiles: 8, channels: NR };
    let pixels = (shape.images * shape.rows * shape.cols) as f64;
    let panels = shape.channels.div_ceil(NR) as f64;
    let direct = panels * shape.depth as f64 * (9.0 * pixels + FETCH);
    Plan::new(shape, unit, 1).time(shape, unit, 1) < 0.8 * direct
}

const _: () = assert!(CHUNK.is_multiple_of(STEP) && MAX_CHANNELS.is_multiple_of(STEP));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_cover_the_step_and_fit_the_scratch() {
        for depth in [1, 3, 16, 17, 64, 65, 100, 256, 512, 1000, 3669] {
            for channels in [1, 8, 17, 64, 200, 512, 4000] {
                for [images, rows, cols] in [[1, 1, 1], [1, 3, 5], [2, 7, 7], [1, 80, 81], [1, 5000, 3000]] {
                    let shape = Shape { images, rows, cols, depth, channels };
                    for (unit, threads) in [
                        (Unit { tiles: 12, channels: 32 }, 1),
                        (Unit { tiles: 6, channels: 16 }, 2),
                        (Unit { tiles: 4, channels: 8 }, 64),
                    ] {
                        let plan = Plan::new(&shape, unit, threads);
                        let what = format!("{shape:?}, {plan:?}");
                        assert!(plan.scratch() <= MAX_SCRATCH, "{what}");
                        assert_eq!(plan.blocks, shape.tiles().div_ceil(plan.tiles), "{what}");
                        assert_eq!(plan.pieces, channels.div_ceil(plan.channels), "{what}");
                        assert!(plan.channels.is_multiple_of(plan.group), "{what}");
                        assert!((STEP..=MAX_CHANNELS).contains(&plan.group), "{what}");
                        assert!((STEP..=CHUNK).contains(&plan.depth), "{what}");
                        assert!(plan.group.is_multiple_of(STEP) && plan.depth.is_multiple_of(STEP), "{what}");
                    }
                }
            }
        }
    }
}
