//! Winograd's F(2 x 2, 3 x 3) and F(4 x 4, 3 x 3): s8 convolutions of 3 x 3 windows with 2.25 or 4 times fewer
//! multiplications, exact.
//!
//! Two by two outputs of a channel need a tile `d` of four by four inputs. With
//!
//! ```text
//!       1  0 -1  0          1   0   0
//! B^T = 0  1  1  0     G = 1/2 1/2 1/2     A^T = 1  1  1  0
//!       0 -1  1  0         1/2-1/2 1/2           0  1 -1 -1
//!       0  1  0 -1          0   0   1
//! ```
//!
//! they are `A^T [(G g G^T) * (B^T d B)] A`, `*` elementwise (Lavin and Gray, "Fast algorithms for convolutional
//! neural networks", 2015). Summed over input channels, the middle is 16 products of matrices `[tiles x C] x
//! [C x M]`, one for each position in a tile. Four by four outputs need six by six inputs, 36 products of matrices, and
//!
//! ```text
//!       4  0 -5  0  1  0           1/4   0    0
//!       0 -4 -4  1  1  0          -1/6 -1/6 -1/6          1  1  1  1  1  0
//! B^T = 0  4 -4 -1  1  0      G = -1/6  1/6 -1/6    A^T = 0  1 -1  2 -2  0
//!       0 -2 -1  2  1  0          1/24 1/12  1/6          0  1  1  4  4  0
//!       0  2 -1 -2  1  0          1/24-1/12  1/6          0  1 -1  8 -8  1
//!       0  4  0 -5  0  1            0    0    1
//! ```
//!
//! Here all of it is integers, so the results are those of the definition, bit for bit:
//!
//! - `V = B^T d B`: each element is at most 512 (12800) in magnitude.
//! - `U`: G's fractions are avoided by factors for its rows, 2 each (4, -6, -6, 24, 24, 1). Each element is a sum of
//!   weights, at most 9 * 128 = 1152 (49 * 128 = 6272) in magnitude.
//! - Sums of products of both wrap at 2^32, and so may whatever is made of them: the output transform gives a multiple
//!   of the sum of the definition, modulo 2^32. Of tiles of 2 x 2 it is four times the sum, which is that number itself
//!   while 4 * 9 * C * 128 * 128 is below 2^31 ([`MAX_DEPTH`]), and the shift by two that follows loses nothing. Of 4 x 4
//!   it is 9 times a power of two up to 64, after A's factors have been made up for; 9 has a reciprocal modulo 2^32, and
//!   the shift loses nothing while sums are below 2^25, which a channel's weights prove ([`MAX_MAGNITUDES`]).
//!
//! Weights are transformed from the packed panels of the direct kernels while the step runs, into the thread's
//! scratch, once for a block of tiles. [`plan`] chooses how much of a step is done at a time, and says whether
//! it pays.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod driver;
#[cfg_attr(
    not(any(feature = "portable", not(target_arch = "aarch64"))),
    expect(dead_code, reason = "every such processor has Advanced SIMD")
)]
mod generic;
#[cfg_attr(
    not(any(feature = "portable", not(target_arch = "aarch64"))),
    expect(dead_code, reason = "every such processor has Advanced SIMD")
)]
mod generic_four;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_four;
#[cfg(target_arch = "aarch64")]
mod neon_multiply;
mod order;
mod plan;
mod transform;
mod transform_four;

use std::ops::Range;

use super::geometry::Product;
use super::micro::{KB_S8, NR};
use super::residual::Constants;
use super::s8;
use super::setup::Setup;
use crate::cpu::{Cpu, Features};
use crate::kernel::{Algorithm, Context, Kernel};

/// The tiles that an implementation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    /// Outputs a side.
    side: usize,
}

impl Form {
    const TWO: Self = Self { side: 2 };
    const FOUR: Self = Self { side: 4 };

    /// Inputs a side.
    const fn reach(self) -> usize {
        self.side + 2
    }

    /// Positions in a tile of inputs: number of matrix products.
    const fn positions(self) -> usize {
        self.reach() * self.reach()
    }

    /// Outputs of a tile.
    const fn outputs(self) -> usize {
        self.side * self.side
    }
}

/// Panels of output channels that are multiplied at once: on aarch64 one, with more tiles.
const GROUP: usize = if cfg!(target_arch = "aarch64") { 1 } else { 2 };

/// What channels of transformed inputs are filled up to a multiple of.
const STEP: usize = crate::ROW_SLACK;

/// Most input channels for which four times a sum of products stays below 2^31.
const MAX_DEPTH: usize = i32::MAX as usize / (4 * 9 * 128 * 128);

/// Most that the magnitudes of a channel's weights may sum to for 64 times its sums of products to stay below 2^31.
const MAX_MAGNITUDES: i32 = (1 << (25 - 7)) - 1;

/// The inputs of a block of tiles, to be transformed.
struct Inputs<'a> {
    /// For each tile the addresses of its pixels, row by row, from the first channel wanted on.
    tiles: &'a [*const u8],
    /// Channels wanted, a multiple of 4. Up to the next multiple of [`STEP`] may be read and written.
    depth: usize,
    /// Where position 0 of the first tile goes.
    to: *mut i16,
    /// Elements from a tile to the next: at least `depth` up to a multiple of [`STEP`].
    row: usize,
    /// Elements from a position to the next.
    stride: usize,
}

/// The weights of a group of panels, to be transformed.
struct Weights {
    /// The first tap's weights of the first panel, from the first input channel wanted on.
    from: *const u8,
    /// Bytes from a tap's weights to the next tap's.
    tap: usize,
    /// Panels, 1 to [`GROUP`], one after another.
    panels: usize,
    /// Input channels wanted, a multiple of 4.
    depth: usize,
    /// Where they go: for each position `panels * NR * depth` elements, and [`plan::APART`] bytes, in an order of the
    /// implementation's choice.
    to: *mut i16,
    /// Elements from a position to the next, where positions lie apart.
    stride: usize,
}

/// The products of a block of transformed inputs and a group of transformed weights.
struct Matrices {
    /// Transformed inputs, and the distances in them as in [`Inputs`].
    inputs: *const i16,
    row: usize,
    input_stride: usize,
    /// Transformed weights, and the distance in them as in [`Weights`].
    weights: *const i16,
    weight_stride: usize,
    form: Form,
    tiles: usize,
    /// Which of the tiles have the last row of positions, and which the last column.
    complete: [Range<usize>; 2],
    depth: usize,
    panels: usize,
    /// Sums: `[position][tile][GROUP][NR]`, positions `sum_stride` elements apart.
    sums: *mut i32,
    sum_stride: usize,
    /// Whether the products are added to what the sums hold, or take its place.
    add: bool,
}

impl Matrices {
    /// The tiles that have a position.
    #[inline(always)] // Into functions of instruction sets.
    fn having(&self, position: usize) -> Range<usize> {
        let (reach, mut tiles) = (self.form.reach(), 0..self.tiles);
        for (at, complete) in [position / reach, position % reach].into_iter().zip(&self.complete) {
            if at == reach - 1 {
                tiles = tiles.start.max(complete.start)..tiles.end.min(complete.end);
            }
        }
        tiles
    }
}

/// The sums of a block of tiles times one panel, to be made results.
struct Outputs<'a> {
    /// The panel's sums of the first tile, distances as in [`Matrices`].
    sums: *const i32,
    stride: usize,
    /// For each tile the panel's channels of its output pixels, row by row. Where something is added, that at first.
    results: &'a mut [[i8; NR]],
    /// How it is added.
    added: Option<&'a Constants>,
    /// Of the panel's channels.
    bias: *const i32,
    multiplier: *const f32,
    /// Bounds of the result.
    lo: f32,
    hi: f32,
    zero_point: i32,
}

/// An implementation: the four stages of a block, and what they cost.
///
/// # Safety
/// Of the functions: all addresses are valid for what the structures say, and the processor has `needs`.
struct Isa {
    name: &'static str,
    needs: Features,
    form: Form,
    inputs: unsafe fn(&Inputs<'_>),
    weights: unsafe fn(&Weights),
    multiply: unsafe fn(&Matrices),
    outputs: unsafe fn(&mut Outputs<'_>),
    cost: plan::Cost,
}

/// The implementations, best first of each form.
const ROWS: &[Isa] = &[
    #[cfg(target_arch = "x86_64")]
    avx2::ISA,
    #[cfg(target_arch = "aarch64")]
    neon::IN_ORDER,
    #[cfg(target_arch = "aarch64")]
    neon::ISA,
    #[cfg(any(feature = "portable", not(target_arch = "aarch64")))]
    generic::ISA,
    #[cfg(target_arch = "aarch64")]
    neon_four::IN_ORDER,
    #[cfg(target_arch = "aarch64")]
    neon_four::ISA,
    #[cfg(any(feature = "portable", not(target_arch = "aarch64")))]
    generic_four::ISA,
];

/// The implementation of a form for a processor, if it has one that can be better than the direct form: dot products of
/// bytes do more than Winograd saves.
fn isa(cpu: Cpu, form: Form) -> Option<&'static Isa> {
    let dot = [Features::DOTPROD, Features::I8MM, Features::AVX_VNNI, Features::AVX512_VNNI];
    let dot = dot.into_iter().any(|f| cpu.has(f));
    ROWS.iter().find(|isa| !dot && isa.form == form && cpu.has(isa.needs))
}

/// How a step is done by Winograd's algorithm.
pub(super) struct Choice {
    isa: &'static Isa,
    plan: plan::Plan,
    order: order::Order,
}

impl Choice {
    /// The way to do a step, where Winograd's algorithm can do it, and what is asked for asks for it or it is estimated
    /// to be faster than the direct form. `weights` are the step's.
    pub fn of(cx: &Context<'_>, setup: &Setup, product: &Product, weights: &[u8]) -> Option<Self> {
        let window = [product.rows, product.cols];
        let suits = (setup.multiplier.is_some() || setup.residual.is_some())
            && setup.groups == 1
            && window.iter().all(|axis| (axis.taps, axis.step, axis.spacing) == (3, 1, 1));
        if !suits {
            return None;
        }
        let shape = plan::Shape {
            images: setup.batch,
            rows: product.rows.outputs,
            cols: product.cols.outputs,
            depth: setup.x.cols(),
            channels: setup.y.cols(),
            pieces: cx.tiles(),
        };
        let fit = |form: Form| {
            let isa = isa(cx.cpu(), form)?;
            let asked = match cx.algorithm() {
                Algorithm::Direct => false,
                // Costs of portable code are not to be compared with those of others.
                Algorithm::Fastest => {
                    self::isa(cx.cpu(), Form::TWO).is_some_and(|best| best.needs == isa.needs)
                }
                Algorithm::Winograd2 => form == Form::TWO,
                Algorithm::Winograd4 => form == Form::FOUR,
            };
            if !asked {
                return None;
            }
            let exact = match form {
                Form::TWO => shape.depth <= MAX_DEPTH,
                _ => magnitudes(weights, shape.depth) <= MAX_MAGNITUDES,
            };
            exact.then(|| (isa, plan::Plan::new(&shape, form, &isa.cost)))
        };
        let both = [fit(Form::TWO), fit(Form::FOUR)].into_iter().flatten();
        let cost = |(isa, plan): &(&Isa, plan::Plan)| plan.cost(&shape, &isa.cost);
        let (isa, plan) = both.min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
        let wanted = cx.algorithm() != Algorithm::Fastest || plan.pays(&shape, &isa.cost);
        wanted.then(|| Self { isa, order: order::Order::new(&shape, plan.form), plan })
    }

    /// The step that the choice was made for.
    pub fn kernel(self, setup: Setup, product: Product) -> Box<dyn Kernel> {
        Box::new(driver::Winograd::new(setup, product, self.isa, self.plan, self.order))
    }
}

/// The most that the magnitudes of an output channel's weights sum to.
fn magnitudes(weights: &[u8], depth: usize) -> i32 {
    let panel = 9 * depth.next_multiple_of(KB_S8) * NR;
    weights.chunks_exact(panel).flat_map(s8::magnitudes).max().unwrap_or(0)
}
