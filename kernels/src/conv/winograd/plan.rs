//! How much of a step is done at a time, and whether Winograd's algorithm pays.

use super::order::positions;
use super::{Form, GROUP, STEP};
use crate::conv::micro::NR;
use crate::kernel::MAX_SCRATCH;

/// Most addresses of a block's inputs, and of its outputs: they are kept on the stack.
pub(super) const MAX_INPUTS: usize = 1024;
pub(super) const MAX_OUTPUTS: usize = 448;

/// Most tiles of a block.
pub(super) const fn max_tiles(form: Form) -> usize {
    let (by_inputs, by_outputs) = (MAX_INPUTS / form.positions(), MAX_OUTPUTS / form.outputs());
    if by_inputs < by_outputs { by_inputs } else { by_outputs }
}

/// Bytes between the positions of transformed values beyond their own: positions a power of two apart would meet
/// in few sets of the cache.
pub(super) const APART: usize = 64;

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
    /// Pieces of work that are wanted.
    pub pieces: usize,
}

impl Shape {
    fn tiles(&self, form: Form) -> usize {
        self.images * self.rows.div_ceil(form.side) * self.cols.div_ceil(form.side)
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
    /// Tiles that are multiplied in the time of one.
    pub at_once: usize,
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
    pub form: Form,
    /// Tiles of a block, at most [`max_tiles`].
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
    pub fn new(shape: &Shape, form: Form, cost: &Cost) -> Self {
        let tiles = shape.tiles(form);
        let mut best = Self::cut(shape, form, cost, 1, STEP).expect("a tile and 16 channels fit the scratch");
        for most in 1..=max_tiles(form).min(tiles) {
            // Even shares, or shares of whole groups of tiles that are multiplied at once.
            let even = tiles.div_ceil(tiles.div_ceil(most));
            for share in [even, most / cost.at_once * cost.at_once] {
                for ranges in 1..=shape.depth.div_ceil(STEP) {
                    let depth = shape.depth.div_ceil(ranges).next_multiple_of(STEP);
                    if let Some(plan) = Self::cut(shape, form, cost, share.max(1), depth)
                        && plan.cost(shape, cost) < best.cost(shape, cost)
                    {
                        best = plan;
                    }
                }
            }
        }
        best
    }

    /// The plan for blocks of `tiles` tiles and ranges of `depth` input channels, if its scratch is small enough.
    fn cut(shape: &Shape, form: Form, cost: &Cost, tiles: usize, depth: usize) -> Option<Self> {
        let groups = shape.channels.div_ceil(GROUP * NR);
        let mut plan = Self {
            form,
            tiles,
            blocks: shape.tiles(form).div_ceil(tiles),
            depth,
            channels: groups * GROUP * NR,
            channel_pieces: 1,
            groups: 1,
        };
        let whole = depth >= shape.depth;
        let room = cost.room.min(MAX_SCRATCH);
        let room = room.checked_sub(plan.input_bytes() + plan.weight_bytes())? / plan.group_bytes();
        // No more channels than whose sums fit, and than make a piece that is worth it; even shares.
        let one = tiles as f64 * (GROUP * NR * shape.depth * form.positions()) as f64 * cost.multiply;
        let worth = WORTH.max(one * (groups * plan.blocks) as f64 / shape.pieces as f64);
        let most = ((worth / one) as usize).max(2).min(if whole { groups } else { room });
        plan.channel_pieces = groups.div_ceil(most.max(1));
        let share = groups.div_ceil(plan.channel_pieces);
        plan.channels = share * GROUP * NR;
        plan.channel_pieces = groups.div_ceil(share);
        plan.groups = if whole { 1 } else { share };
        (plan.groups <= room).then_some(plan)
    }

    /// Estimated cycles of the step.
    pub fn cost(&self, shape: &Shape, cost: &Cost) -> f64 {
        let (depth, tiles) = (shape.depth as f64, shape.tiles(self.form) as f64);
        let panels = shape.channels.div_ceil(NR) as f64;
        let ranges = shape.depth.div_ceil(self.depth) as f64;
        let last = shape.tiles(self.form) - (self.blocks - 1) * self.tiles;
        let rounded = |tiles: usize| tiles.next_multiple_of(cost.at_once);
        let multiplied = ((self.blocks - 1) * rounded(self.tiles) + rounded(last)) as f64;
        let positions = positions(shape, self.form) as f64 / tiles;
        tiles * depth / STEP as f64 * cost.input * self.channel_pieces as f64
            + self.blocks as f64 * depth / 4.0 * panels * cost.weights
            + multiplied * panels * positions * NR as f64 * depth * cost.multiply
            + tiles * panels * (positions * ranges * cost.sums + cost.output)
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
        (self.form.positions() * self.input_stride() * size_of::<i16>()).next_multiple_of(64)
    }

    pub fn weight_bytes(&self) -> usize {
        self.form.positions() * self.weight_stride() * size_of::<i16>()
    }

    pub fn group_bytes(&self) -> usize {
        self.form.positions() * self.sum_stride() * size_of::<i32>()
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
                    for (isa, pieces) in ROWS.iter().flat_map(|isa| [(isa, 1), (isa, 16)]) {
                        let shape = Shape { images, rows, cols, depth, channels, pieces };
                        let form = isa.form;
                        let plan = Plan::new(&shape, form, &isa.cost);
                        let what = format!("{shape:?}, {plan:?}");
                        assert!(plan.scratch() <= MAX_SCRATCH, "{what}");
                        assert!((1..=max_tiles(form)).contains(&plan.tiles), "{what}");
                        assert_eq!(plan.blocks, shape.tiles(form).div_ceil(plan.tiles), "{what}");
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
