//! Winograd's F(4 x 4, 3 x 3): f32 convolutions of 3 x 3 windows with four times fewer multiplications, to bits of
//! their own.
//!
//! Four by four outputs of a channel need a tile `d` of six by six inputs. With the points 0, a, -a, b, -b and infinity,
//! a = 5/8 and b = 3/2,
//!
//! ```text
//!       a^2 b^2   0   -a^2-b^2    0       1   0        1  0   0
//!          0   -a b^2   -b^2      a       1   0        1  a  a^2
//! B^T =    0    a b^2   -b^2     -a       1   0    G = 1 -a  a^2
//!          0   -a^2 b   -a^2      b       1   0        1  b  b^2
//!          0    a^2 b   -a^2     -b       1   0        1 -b  b^2
//!          0   a^2 b^2    0   -a^2-b^2    0   1        0  0   1
//!
//!       1  1   1    1   1   0
//! A^T = 0  a  -a    b  -b   0   * diag(1 / a^2 b^2, p, p, q, q, 1)    p = 1 / 2 a^2 (a^2 - b^2)
//!       0 a^2  a^2 b^2  b^2 0                                         q = 1 / 2 b^2 (b^2 - a^2)
//!       0 a^3 -a^3 b^3 -b^3 1
//! ```
//!
//! they are `A^T [(G g G^T) * (B^T d B)] A`, `*` elementwise (Lavin and Gray, "Fast algorithms for convolutional
//! neural networks", 2015; the matrices for any points: Blahut, "Fast algorithms for signal processing"). Summed over
//! input channels, the middle is 36 products of matrices `[tiles x C] x [C x M]`, one for each position in a tile.
//!
//! The points are those of least error among pairs of short fractions: half that of the usual 1 and 2. All numbers in
//! `B^T` and `G` are exact in f32. Channels are summed in [chunks](chunk), whose results are added to the output: that
//! bounds the error, and the memory for what has been transformed. Which operation follows which stands in
//! `docs/arithmetic.md`.
//!
//! Weights are transformed from the packed panels of the direct kernels while the step runs, into the thread's scratch,
//! once for a block of tiles. [`plan`] chooses how much of a step is done at a time.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod driver;
mod plan;
mod rows;
mod transform;

pub use plan::{Shape, pays};

use cygnet_format::program::DType;

use super::geometry::Product;
use super::micro::Row;
use super::setup::Setup;
use crate::cpu::Cpu;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Features;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::simd::{Isa, isa_name};

/// Rows and columns of a tile of inputs, and of one of outputs.
const SIDE: usize = 6;
const OUT: usize = 4;

/// Positions in a tile of inputs: number of matrix products.
const POSITIONS: usize = SIDE * SIDE;

/// Most input channels of a chunk, and what its length is a multiple of, but for the last one's.
const CHUNK: usize = 64;
const STEP: usize = 16;

/// Input channels of a chunk: even shares of at most [`CHUNK`].
pub fn chunk(depth: usize) -> usize {
    depth.div_ceil(depth.div_ceil(CHUNK).max(1)).next_multiple_of(STEP)
}

/// The rows of positions in the order in which they are done: pairs that share sums, those of a and -a, of 0 and
/// infinity, of b and -b. The first and the last pair have a part in all outputs.
const PAIRS: [[usize; 2]; 3] = [[1, 2], [0, 5], [3, 4]];

/// A chunk of a block of tiles of inputs, to be transformed: a pair of rows of positions.
struct Inputs<'a> {
    /// For each tile the addresses of its 6 x 6 pixels, row by row.
    tiles: &'a [[*const f32; POSITIONS]],
    /// The chunk's first channel, and how many.
    start: usize,
    depth: usize,
    /// Which of [`PAIRS`].
    pair: usize,
    /// Where the pair's first position of the first tile goes; elements from a tile to the next: `depth` up to a
    /// multiple of [`STEP`]; and from a position to the next.
    to: *mut f32,
    row: usize,
    stride: usize,
}

/// A chunk of the weights of a group of panels, to be transformed: a row of positions.
struct Weights {
    /// The first tap's weights of the first panel, from the chunk's first channel on.
    from: *const f32,
    /// Elements from a tap's weights to the next tap's.
    tap: usize,
    panels: usize,
    /// Channels of the chunk.
    depth: usize,
    /// Which row of positions.
    row: usize,
    /// Where its first position goes: `[panel][depth][NR]`, and elements from a position to the next. Up to [`NR`]
    /// elements more may be written.
    to: *mut f32,
    stride: usize,
}

/// The products of a block of transformed inputs and a group of transformed weights at one position.
struct Matrices {
    /// Transformed inputs: tiles, `row` elements apart.
    inputs: *const f32,
    row: usize,
    /// Transformed weights `[panel][depth][NR]`.
    weights: *const f32,
    panels: usize,
    tiles: usize,
    depth: usize,
    /// What the processor is told to fetch meanwhile, by kernels that do.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
    ahead: Ahead,
    /// Sums `[tile][panels * NR]`, tiles `pitch` elements apart: a multiple of [`Stages::lanes`], up to which may be
    /// written.
    sums: *mut f32,
    pitch: usize,
}

/// Packed weights that will be transformed next: runs of a chunk's channels, one for each panel and tap.
#[derive(Clone, Copy)]
struct Ahead {
    /// The first run; each is as many elements behind the one before.
    from: *const f32,
    apart: usize,
    runs: usize,
}

impl Ahead {
    const NOTHING: Self = Self { from: std::ptr::null(), apart: 0, runs: 0 };

    /// Part `part` of `parts` of the runs.
    fn part(self, part: usize, parts: usize) -> Self {
        let [first, end] = [part, part + 1].map(|i| i * self.runs / parts);
        Self { from: self.from.wrapping_add(first * self.apart), runs: end - first, ..self }
    }
}

/// The sums of a block of tiles at a pair of rows of positions, to be added to the outputs.
struct Outputs<'a> {
    /// Those of the pair's first position and the first tile, and distances as in [`Matrices`].
    sums: *const f32,
    pitch: usize,
    /// Elements from a position to the next.
    stride: usize,
    /// Which of [`PAIRS`].
    pair: usize,
    /// For each tile the addresses of its 4 x 4 pixels, row by row; null outside the image.
    tiles: &'a [[*mut f32; OUT * OUT]],
    /// Whether a tile's pixels are kept in the same few lines of a first-level cache: then they are done a column at a
    /// time, so that lines are still there when they are written.
    alike: bool,
    /// The first channel, and how many.
    start: usize,
    channels: usize,
    /// What is in place of the output before the first sums: the channels' biases; else null.
    bias: *const f32,
    /// With the last sums, bounds of the result.
    bounds: Option<[f32; 2]>,
}

/// An implementation of the stages of a block.
///
/// # Safety
/// Of the functions: all addresses are valid for what the structures say, and the processor has what it was made for.
#[derive(Clone, Copy)]
struct Stages {
    name: &'static str,
    inputs: unsafe fn(&Inputs<'_>),
    weights: unsafe fn(&Weights),
    multiply: unsafe fn(&Row, &Matrices),
    outputs: unsafe fn(&Outputs<'_>),
    /// What the portable part of the inner product is done by.
    row: Row,
    unit: plan::Unit,
}

impl Stages {
    fn of(cpu: Cpu) -> Self {
        let isa = Isa::wide(cpu);
        let row = super::f32::ROWS.iter().find(|row| cpu.has(row.needs));
        let row = *row.expect("the last row needs nothing");
        #[allow(unused_mut)]
        let mut stages = Self {
            name: isa_name!(isa, "conv_f32_winograd_4x4"),
            inputs: transform::inputs(isa),
            weights: transform::weights(isa),
            multiply: rows::multiply,
            outputs: transform::outputs(isa),
            row,
            unit: plan::Unit { tiles: row.mr, channels: row.nr },
        };
        #[cfg(target_arch = "x86_64")]
        if cpu.has(Features::AVX512_VNNI) {
            (stages.multiply, stages.unit) = (avx512::multiply, avx512::UNIT);
        }
        stages
    }
}

/// A step that asks for this algorithm.
pub(super) fn prepare(
    cx: &Context<'_>,
    setup: Setup,
    product: Product,
) -> Result<Box<dyn Kernel>, PrepareError> {
    let window = [product.rows, product.cols];
    let three = window.iter().all(|axis| (axis.taps, axis.step, axis.spacing) == (3, 1, 1));
    cx.ensure(setup.x.dtype == DType::F32 && setup.groups == 1 && three, || {
        format!(
            "winograd-4x4 is for f32 convolutions of one group with windows of 3 x 3, stride and dilation 1; this one \
             is {} with {} groups and a window of {} x {}, stride {} x {}, dilation {} x {}",
            setup.x.dtype.name(),
            setup.groups,
            window[0].taps,
            window[1].taps,
            window[0].step,
            window[1].step,
            window[0].spacing,
            window[1].spacing
        )
    })?;
    Ok(Box::new(driver::Winograd::new(setup, product, Stages::of(cx.cpu()), cx.threads())))
}
