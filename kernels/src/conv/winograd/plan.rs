//! How much of a step is done at a time, and whether Winograd's algorithm pays.

use super::{GROUP, POSITIONS, STEP};
use crate::conv::micro::NR;
use crate::kernel::MAX_SCRATCH;

/// Most tiles of a block: their addresses are kept on the stack.
pub(super) const MAX_TILES: usize = 64;

/// Bytes between the positions of transformed values beyond their own: positions a power of two apart would meet
/// in few sets of the cache.
const APART: usize = 64;

/// Estimated cycles of a piece of work that is worth handing to another thread.
const WORTH: f64 = 40_000.0;

/// What a step is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub images: usize,
    /// Output rows and columns.
    pub rows: usize,
    pub cols: usize,
    /// Input channels.
    pub depth: usize,
    /// Output channels.
    pub channels: usize,
}

impl Shape {
    /// Tiles of 2 x 2 outputs.
    pub fn tiles(&self) -> usize {
        self.images * self.rows.div_ceil(2) * self.cols.div_ceil(2)
    }
}

/// What an implementation takes: its room, and cycles as measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Bytes of scratch that stay in a core's share of the second-level cache, at most [`MAX_SCRATCH`].
    pub room: usize,
    /// Transforming 16 channels of a tile of inputs.
    pub input: f64,
    /// Transforming the weights of four input and eight output channels.
    pub weights: f64,
    /// A multiply-accumulate.
    pub multiply: f64,
    /// Beginning and storing the eight sums of a tile and panel at one position.
    pub sums: f64,
    /// Making results of a tile's sums of one panel.
    pub output: f64,
    /// A multiply-accumulate of the direct form.
    pub direct: f64,
    /// Making results of a pixel's eight sums there.
    pub finish: f64,
}

/// How a step is cut. A piece of work is a block of tiles times a number of output channels; within it input
/// channels are taken in ranges, and output channels in groups of panels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// Tiles of a block, at most [`MAX_TILES`].
    pub tiles: usize,
    /// Blocks of the step.
    pub blocks: usize,
    /// Input channels of a range: a multiple of [`STEP`].
    pub depth: usize,
    /// Output channels of a piece of work, a multiple of `GROUP * NR`.
    pub channels: usize,
    /// Pieces that the output channels are cut into.
    pub channel_pieces: usize,
    /// Groups whose sums are kept from range to range; one where there is one range.
    pub groups: usize,
}

impl Plan {
    /// The plan of least estimated cost among those whose scratch is small enough.
    pub fn new(shape: &Shape, cost: &Cost) -> Self {
        let tiles = shape.tiles();
        let mut best = Self::cut(shape, cost, 1, STEP).expect("a tile and 16 channels fit the scratch");
        for most in 1..=MAX_TILES.min(tiles) {
            // Even shares.
            let blocks = tiles.div_ceil(most);
            for ranges in 1..=shape.depth.div_ceil(STEP) {
                let depth = shape.depth.div_ceil(ranges).next_multiple_of(STEP);
                if let Some(plan) = Self::cut(shape, cost, tiles.div_ceil(blocks), depth)
                    && plan.cost(shape, cost) < best.cost(shape, cost)
                {
                    best = plan;
                }
            }
        }
        best
    }

    /// The plan for blocks of `tiles` tiles and ranges of `depth` input channels, if its scratch is small enough.
    fn cut(shape: &Shape, cost: &Cost, tiles: usize, depth: usize) -> Option<Self> {
        let groups = shape.channels.div_ceil(GROUP * NR);
        let mut plan = Self {
            tiles,
            blocks: shape.tiles().div_ceil(tiles),
            depth,
            channels: groups * GROUP * NR,
            channel_pieces: 1,
            groups: 1,
        };
        let whole = depth >= shape.depth;
        let room = cost.room.min(MAX_SCRATCH);
        let room = room.checked_sub(plan.input_bytes() + plan.weight_bytes())? / plan.group_bytes();
        // No more channels than whose sums fit, and than make a piece that is worth it; even shares.
        let one = tiles as f64 * (GROUP * NR * shape.depth * POSITIONS) as f64 * cost.multiply;
        let most = ((WORTH / one) as usize).max(2).min(if whole { groups } else { room });
        plan.channel_pieces = groups.div_ceil(most.max(1));
        let share = groups.div_ceil(plan.channel_pieces);
        plan.channels = share * GROUP * NR;
        plan.channel_pieces = groups.div_ceil(share);
        plan.groups = if whole { 1 } else { share };
        (plan.groups <= room).then_some(plan)
    }

    /// Estimated cycles of the step.
    fn cost(&self, shape: &Shape, cost: &Cost) -> f64 {
        let (depth, tiles) = (shape.depth as f64, shape.tiles() as f64);
        let panels = shape.channels.div_ceil(NR) as f64;
        let ranges = shape.depth.div_ceil(self.depth) as f64;
        tiles * depth / STEP as f64 * cost.input * self.channel_pieces as f64
            + self.blocks as f64 * depth / 4.0 * panels * cost.weights
            + tiles
                * panels
                * (POSITIONS as f64 * (NR as f64 * depth * cost.multiply + ranges * cost.sums) + cost.output)
    }

    /// Whether this is estimated to be faster than the direct form.
    pub fn pays(&self, shape: &Shape, cost: &Cost) -> bool {
        let pixels = (shape.images * shape.rows * shape.cols) as f64;
        let panels = shape.channels.div_ceil(NR) as f64;
        let depth = shape.depth.next_multiple_of(4) as f64;
        let direct = pixels * panels * (9.0 * NR as f64 * depth * cost.direct + cost.finish);
        self.cost(shape, cost) < direct
    }

    /// Elements from a position to the next of transformed inputs.
    pub fn input_stride(&self) -> usize {
        self.tiles * self.depth + APART / size_of::<i16>()
    }

    /// Elements from a position to the next of a group's transformed weights.
    pub fn weight_stride(&self) -> usize {
        GROUP * NR * self.depth + APART / size_of::<i16>()
    }

    /// Elements from a position to the next of a group's sums.
    pub fn sum_stride(&self) -> usize {
        GROUP * NR * self.tiles + APART / size_of::<i32>()
    }

    pub fn input_bytes(&self) -> usize {
        (POSITIONS * self.input_stride() * size_of::<i16>()).next_multiple_of(64)
    }

    pub fn weight_bytes(&self) -> usize {
        POSITIONS * self.weight_stride() * size_of::<i16>()
    }

    pub fn group_bytes(&self) -> usize {
        POSITIONS * self.sum_stride() * size_of::<i32>()
    }

    /// Bytes of scratch.
    pub fn scratch(&self) -> usize {
        self.input_bytes() + self.weight_bytes() + self.groups * self.group_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::winograd::ROWS;

    #[test]
    fn plans_cover_the_step_and_fit_the_scratch() {
        for depth in [1, 3, 16, 17, 64, 100, 256, 512, 1000, 3669] {
            for channels in [1, 8, 17, 64, 200, 512, 4000] {
                for [images, rows, cols] in [[1, 1, 1], [1, 3, 5], [2, 7, 7], [1, 80, 81], [1, 5000, 3000]] {
                    let shape = Shape { images, rows, cols, depth, channels };
                    for isa in ROWS {
                        let plan = Plan::new(&shape, &isa.cost);
                        let what = format!("{shape:?}, {plan:?}");
                        assert!(plan.scratch() <= MAX_SCRATCH, "{what}");
                        assert!((1..=MAX_TILES).contains(&plan.tiles), "{what}");
                        assert_eq!(plan.blocks, shape.tiles().div_ceil(plan.tiles), "{what}");
                        assert_eq!(plan.channel_pieces, channels.div_ceil(plan.channels), "{what}");
                        assert!(plan.channels.is_multiple_of(GROUP * NR), "{what}");
                        assert!(plan.depth.is_multiple_of(STEP), "{what}");
                        let waiting = if plan.depth < depth { plan.channels / (GROUP * NR) } else { 1 };
                        assert_eq!(plan.groups, waiting, "{what}");
                    }
                }
            }
        }
    }
}
