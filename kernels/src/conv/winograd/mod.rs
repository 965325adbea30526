//! Winograd's F(2 x 2, 3 x 3): s8 convolutions of 3 x 3 windows with 2.25 times fewer multiplications, exact.
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
//! [C x M]`, one for each position in a tile.
//!
//! Here all of it is integers, so the results are those of the definition, bit for bit:
//!
//! - `V = B^T d B`: each element is a sum of four inputs, at most 512 in magnitude.
//! - `U = (2G) g (2G)^T`: G's halves are avoided by a scale of four. Each element is a sum of nine weights, at most
//!   9 * 127 = 1143 in magnitude.
//! - Sums of products of both wrap at 2^32, and so may whatever is made of them: the output transform gives
//!   four times the sum of the definition, modulo 2^32. That is the number itself while 4 * 9 * C * 128 * 127 is
//!   below 2^31 ([`MAX_DEPTH`]), and the shift by two that follows loses nothing.
//!
//! Weights are transformed from the packed panels of the direct kernels while the step runs, into the thread's
//! scratch, once for a block of tiles. [`plan`] chooses how much of a step is done at a time, and says whether
//! it pays.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod driver;
mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plan;
mod transform;

use super::driver::Setup;
use super::geometry::Product;
use super::micro::NR;
use crate::cpu::{Cpu, Features};
use crate::kernel::{Algorithm, Kernel};

/// Positions in a tile of inputs: number of matrix products.
const POSITIONS: usize = 16;

/// Panels of output channels that are multiplied at once.
const GROUP: usize = 2;

/// What channels of transformed inputs are filled up to a multiple of.
const STEP: usize = crate::ROW_SLACK;

/// Most input channels for which four times a sum of products stays below 2^31.
const MAX_DEPTH: usize = i32::MAX as usize / (4 * 9 * 128 * 127);

/// The inputs of a block of tiles, to be transformed.
struct Inputs<'a> {
    /// For each tile the addresses of its 4 x 4 pixels, row by row, from the first channel wanted on.
    tiles: &'a [[*const u8; POSITIONS]],
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
    /// Where position 0 goes: `panels * NR * depth` elements in an order of the implementation's choice.
    to: *mut i16,
    /// Elements from a position to the next.
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
    tiles: usize,
    depth: usize,
    panels: usize,
    /// Sums: `[position][tile][GROUP][NR]`, positions `sum_stride` elements apart.
    sums: *mut i32,
    sum_stride: usize,
    /// Whether the products are added to what the sums hold, or take its place.
    add: bool,
}

/// The sums of a block of tiles times one panel, to be made results.
struct Outputs<'a> {
    /// The panel's sums of the first tile, distances as in [`Matrices`].
    sums: *const i32,
    stride: usize,
    /// For each tile the panel's channels of its 2 x 2 pixels, row by row.
    results: &'a mut [[[i8; NR]; 4]],
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
    inputs: unsafe fn(&Inputs<'_>),
    weights: unsafe fn(&Weights),
    multiply: unsafe fn(&Matrices),
    outputs: unsafe fn(&mut Outputs<'_>),
    cost: plan::Cost,
}

/// The implementations, best first.
const ROWS: &[Isa] = &[
    #[cfg(target_arch = "x86_64")]
    avx2::ISA,
    #[cfg(target_arch = "aarch64")]
    neon::IN_ORDER,
    #[cfg(target_arch = "aarch64")]
    neon::ISA,
    generic::ISA,
];

/// The implementation for a processor, if it has one that can be better than the direct form: dot products of bytes
/// do more than Winograd saves.
fn isa(cpu: Cpu) -> Option<&'static Isa> {
    let dot = [Features::DOTPROD, Features::I8MM, Features::AVX_VNNI, Features::AVX512_VNNI];
    let dot = dot.into_iter().any(|f| cpu.has(f));
    ROWS.iter().find(|isa| !dot && cpu.has(isa.needs))
}

/// How a step is done by Winograd's algorithm.
pub(super) struct Choice {
    isa: &'static Isa,
    plan: plan::Plan,
}

impl Choice {
    /// The way to do a step, where Winograd's algorithm can do it, and `algorithm` asks for it or it is estimated to be
    /// faster than the direct form.
    pub fn of(cpu: Cpu, algorithm: Algorithm, setup: &Setup, product: &Product) -> Option<Self> {
        let window = [product.rows, product.cols];
        let suits = setup.multiplier.is_some()
            && setup.groups == 1
            && setup.x.cols() <= MAX_DEPTH
            && window.iter().all(|axis| (axis.taps, axis.step, axis.spacing) == (3, 1, 1));
        let isa = isa(cpu).filter(|_| suits && algorithm != Algorithm::Direct)?;
        let shape = plan::Shape {
            images: setup.batch,
            rows: product.rows.outputs,
            cols: product.cols.outputs,
            depth: setup.x.cols(),
            channels: setup.y.cols(),
        };
        let plan = plan::Plan::new(&shape, &isa.cost);
        let wanted = algorithm == Algorithm::Winograd || plan.pays(&shape, &isa.cost);
        wanted.then_some(Self { isa, plan })
    }

    /// The step that the choice was made for.
    pub fn kernel(self, setup: Setup, product: Product) -> Box<dyn Kernel> {
        Box::new(driver::Winograd::new(setup, product, self.isa, self.plan))
    }
}
