//! Convolution and the product of rows with a constant matrix, as an indirect matrix product.
//!
//! One output pixel is a row; the [`micro`] kernels compute a few rows times a few panels of [`micro::NR`] output
//! channels, reading each tap's run of input channels through a pointer, so that no im2col copy is made.
//! [`pack`] gives the layout of the weights; a [`transpose`]d convolution is one such product for each phase of its
//! stride.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub mod block;
pub mod f16;
pub mod f32;
pub mod micro;
pub mod oracle;
pub mod pack;
pub mod panels;
pub mod s8;
pub mod transpose;

mod after;
mod driver;
mod gather;
pub(crate) mod geometry;
#[cfg(target_arch = "aarch64")]
mod in_order;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "no kernel of other processors copies lines")
)]
mod lines;
mod list;
mod plan;
mod reals;
mod regions;
pub mod residual;
mod setup;
mod winograd;
pub mod winograd4;

use cygnet_format::op;
use cygnet_format::program::{DType, Storage};

use self::after::After;
use self::block::BlockRow;
use self::driver::Conv;
use self::geometry::{Axis, Product, is_pointwise};
use self::list::LIST;
use self::micro::Row;
use self::panels::PanelRow;
use self::reals::Reals;
use self::residual::Residual;
use self::setup::{Implementation, Padding, Setup};
use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::View;

/// An element type that convolutions are written for.
struct Family {
    dtype: DType,
    bias: DType,
    /// Input channels that lie together in packed weights.
    kb: usize,
    /// Bytes of weights that one call of a microkernel may go through: few where its inputs need no preparation.
    span: usize,
    /// The implementations, best first.
    rows: &'static [Row],
    /// Those for blocks, best first; where one can be used it is better than any row.
    blocks: &'static [BlockRow],
    /// Those for blocks by their lists, best first; likewise.
    panels: &'static [PanelRow],
}

/// Every element type.
const FAMILIES: [Family; 3] = [
    Family {
        dtype: DType::S8,
        bias: DType::S32,
        kb: micro::KB_S8,
        span: s8::SPAN,
        rows: s8::ROWS,
        blocks: s8::BLOCKS,
        panels: s8::PANELS,
    },
    Family {
        dtype: DType::F32,
        bias: DType::F32,
        kb: 1,
        span: f32::SPAN,
        rows: f32::ROWS,
        blocks: f32::BLOCKS,
        panels: &[],
    },
    Family {
        dtype: DType::F16,
        bias: DType::F32,
        kb: 1,
        span: f32::SPAN,
        rows: f16::ROWS,
        blocks: f16::BLOCKS,
        panels: &[],
    },
];

/// Kernel positions that the list of addresses of the smallest block of pixels has room for; larger kernels are
/// refused.
pub const MAX_TAPS: usize = LIST / 4;

pub(crate) fn prepare(p: &op::Conv, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    let (batch, rows, cols) = if is_pointwise(&p.window) {
        let (from, to) = (&x.dims[..x.rank.saturating_sub(1)], &y.dims[..y.rank.saturating_sub(1)]);
        cx.ensure(x.rank > 0 && from == to, || {
            format!("output {:?} has other rows than input {:?}", y.dims(), x.dims())
        })?;
        (1, Axis::identity(1), Axis::identity(x.rows()))
    } else {
        let (rows, cols) =
            image_axes(cx, &x, &y, |axis, input, output| Axis::of_window(&p.window, axis, input, output))?;
        (x.dims[0], rows, cols)
    };
    let reals = x.dtype == DType::S8 && y.dtype == DType::F32;
    let family = if reals { &FAMILIES[0] } else { family(cx, &x, &y)? };
    let padding = match p.window.pad {
        [0, 0, 0, 0] => Padding::None,
        _ => Padding::Constant(padding_row(cx, &x)?),
    };
    let product = Product { rows, cols, weights: 0, bias: 0 };
    let taps = taps(cx, &rows, &cols)?;
    let packed = packed_bytes(family, y.cols(), taps, &x, p.groups);
    let mut setup = setup(
        cx,
        family,
        Parts { x, y, padding, groups: p.groups, epilogue: &p.epilogue, batch },
        packed,
        1,
    )?;
    if cx.optional(op::CONV_ADDEND).is_some() {
        let multiplier = setup.multiplier.take();
        let multiplier = multiplier.ok_or_else(|| cx.error("an addend belongs to s8 results only"))?;
        setup.residual = Some(Residual::new(cx, p, &y, multiplier)?);
    } else {
        cx.ensure(p.addend_scale == 0.0, || format!("no addend has the scale {}", p.addend_scale))?;
    }
    if p.algorithm == op::Algorithm::Winograd4x4 {
        return winograd4::prepare(cx, setup, product);
    }
    match winograd::Choice::of(cx, &setup, &product, cx.constant_bytes(&setup.weights)) {
        Some(choice) => Ok(choice.kernel(setup, product)),
        None => finish(cx, family, setup, vec![product]),
    }
}

/// The axes of a window over images.
fn image_axes(
    cx: &Context<'_>,
    x: &View,
    y: &View,
    axis: impl Fn(usize, usize, usize) -> Result<Axis, String>,
) -> Result<(Axis, Axis), PrepareError> {
    cx.ensure(x.rank == 4 && y.rank == 4 && x.dims[0] == y.dims[0], || {
        format!("input {:?} and output {:?} must be images [N, H, W, C] of one N", x.dims(), y.dims())
    })?;
    let axis = |i: usize| axis(i, x.dims[i + 1], y.dims[i + 1]).map_err(|what| cx.error(what));
    Ok((axis(0)?, axis(1)?))
}

/// Number of kernel positions of two axes.
fn taps(cx: &Context<'_>, rows: &Axis, cols: &Axis) -> Result<usize, PrepareError> {
    rows.taps.checked_mul(cols.taps).ok_or_else(|| cx.error("the kernel has too many positions"))
}

/// The element type's family, which `x` and `y` share.
fn family(cx: &Context<'_>, x: &View, y: &View) -> Result<&'static Family, PrepareError> {
    let family = FAMILIES.iter().find(|f| f.dtype == x.dtype);
    let family =
        family.ok_or_else(|| cx.error(format!("input is {}; s8, f32 or f16 is needed", x.dtype.name())))?;
    cx.ensure(y.dtype == x.dtype, || format!("output is {} and input {}", y.dtype.name(), x.dtype.name()))?;
    Ok(family)
}

/// The constant that taps outside the image read.
fn padding_row(cx: &Context<'_>, x: &View) -> Result<View, PrepareError> {
    let row = cx.typed(4, x.dtype)?;
    cx.ensure(row.storage == Storage::Weights && row.is_dense() && row.len() >= x.cols(), || {
        format!(
            "padding row must be a dense constant of at least {} elements; it has {}",
            x.cols(),
            row.len()
        )
    })?;
    Ok(row)
}

/// Bytes of weights of `m` channels over `taps` positions.
fn packed_bytes(family: &Family, m: usize, taps: usize, x: &View, groups: u32) -> Option<usize> {
    let groups = groups as usize;
    let depth = x.cols().checked_div(groups)?;
    pack::packed_elements(m, taps, depth, groups, family.kb)?.checked_mul(family.dtype.size())
}

/// What is known of a step before its constants are looked at.
struct Parts<'a> {
    x: View,
    y: View,
    padding: Padding,
    groups: u32,
    epilogue: &'a op::Epilogue,
    batch: usize,
}

/// Checks the constants and the epilogue: weights of exactly `packed` bytes, `biases` biases for each channel.
fn setup(
    cx: &Context<'_>,
    family: &Family,
    parts: Parts<'_>,
    packed: Option<usize>,
    biases: usize,
) -> Result<Setup, PrepareError> {
    let Parts { x, y, padding, groups, epilogue, batch } = parts;
    let (c, m, groups) = (x.cols(), y.cols(), groups as usize);
    cx.ensure(groups > 0 && c.is_multiple_of(groups) && m.is_multiple_of(groups), || {
        format!("{groups} groups do not divide {c} input and {m} output channels")
    })?;
    let packed = packed.ok_or_else(|| cx.error("the packed weights would be too large"))?;
    let weights = cx.constant(1, DType::Packed, packed)?;
    cx.ensure(weights.offset.is_multiple_of(64), || {
        format!("packed weights lie at {}, not a multiple of 64", weights.offset)
    })?;
    let channels = pack::padded_channels(m, groups).ok_or_else(|| cx.error("there are too many channels"))?;
    let biases = channels.checked_mul(biases).ok_or_else(|| cx.error("there are too many channels"))?;
    let bias = cx.constant(2, family.bias, biases)?;
    let (mut multiplier, mut after, mut zero_point) = (None, After::Nothing, 0);
    cx.ensure(epilogue.lo <= epilogue.hi, || format!("clamps to [{}, {}]", epilogue.lo, epilogue.hi))?;
    if y.dtype != x.dtype {
        cx.ensure(groups == 1, || format!("s8 products of {groups} groups have no f32 form; one is needed"))?;
        separate(cx, &x, &y, groups)?;
        after = After::Reals(Box::new(Reals::new(cx, &y, epilogue)?));
    } else if family.dtype == DType::S8 {
        cx.ensure(epilogue.unary == op::Unary::IDENTITY, || {
            "a function of an s8 result must be a table".into()
        })?;
        let whole = |v: ::core::primitive::f32| v.fract() == 0.0 && (-128.0..=127.0).contains(&v);
        cx.ensure(whole(epilogue.lo) && whole(epilogue.hi), || {
            format!("clamps to [{}, {}]; integers in [-128, 127] are needed", epilogue.lo, epilogue.hi)
        })?;
        cx.ensure(x.quant.is_some(), || "input is not quantized".into())?;
        zero_point = cx.product_zero_point(5)?;
        let view = cx.constant(3, DType::F32, channels)?;
        let finite = |&b: &[u8; 4]| ::core::primitive::f32::from_le_bytes(b).is_finite();
        cx.ensure(cx.constant_bytes(&view).as_chunks().0.iter().all(finite), || {
            "a multiplier is not finite".into()
        })?;
        multiplier = Some(view);
        if cx.optional(5).is_some() {
            after = After::Table(cx.constant(5, DType::S8, 256)?, crate::map::lookup(cx.cpu()).1);
        }
        separate(cx, &x, &y, groups)?;
    } else {
        cx.ensure(cx.optional(3).is_none() && cx.optional(5).is_none(), || {
            "multiplier and table belong to s8 only".into()
        })?;
        after = After::of(cx, family.dtype, epilogue.unary)?;
    }
    Ok(Setup {
        // Until `finish` knows how many addresses a row needs.
        by: Implementation::Rows(family.rows[family.rows.len() - 1]),
        x,
        y,
        weights,
        bias,
        gapless: Vec::new(),
        offset_bias: Vec::new(),
        regions: Vec::new(),
        region_bias: Vec::new(),
        multiplier,
        residual: None,
        padding,
        after,
        groups,
        batch,
        kb: family.kb,
        span: family.span,
        tiles: cx.tiles(),
        threads: cx.threads(),
        lo: epilogue.lo,
        hi: epilogue.hi,
        zero_point,
        bound: s8::Bound::Nothing,
        stretches: s8::Stretches::NONE,
    })
}

/// Whether some channel has several s8 weights of -128, which kernels that add pairs of products in 16 bits cannot do: two
/// of them that meet -128 are 2^15.
fn is_crowded(cx: &Context<'_>, setup: &Setup, products: &[Product]) -> bool {
    const LEAST: u8 = i8::MIN.cast_unsigned();
    let weights = cx.constant_bytes(&setup.weights);
    let crowded = |panel: &[u8]| {
        let mut found = [0; micro::NR];
        for (i, inputs) in panel.as_chunks::<{ micro::KB_S8 }>().0.iter().enumerate() {
            found[i % micro::NR] += inputs.iter().filter(|&&w| w == LEAST).count();
        }
        found.iter().any(|&n| n > 1)
    };
    weights.contains(&LEAST)
        && products.iter().any(|p| {
            let panel = setup::inputs(setup, p) * micro::NR;
            let panels = weights[p.weights..].chunks_exact(panel.max(1));
            panels.take(setup.groups * setup.panels()).any(crowded)
        })
}

/// Refuses s8 operands of which reading the last group's channels in whole registers would reach what runs beside them in
/// the same rows.
fn separate(cx: &Context<'_>, x: &View, y: &View, groups: usize) -> Result<(), PrepareError> {
    let (c, depth) = (x.cols(), x.cols() / groups);
    let end = (c - depth) + depth.next_multiple_of(crate::ROW_SLACK);
    let beside = y.offset < x.offset + x.extent() && x.offset < y.offset + y.extent();
    cx.ensure(!beside || x.storage != Storage::Arena || end <= c.next_multiple_of(crate::ROW_SLACK), || {
        format!("input and output share rows, and groups of {depth} channels are read past {c}")
    })
}

/// Chooses the microkernel and lays out the tiles.
fn finish(
    cx: &Context<'_>,
    family: &Family,
    mut setup: Setup,
    products: Vec<Product>,
) -> Result<Box<dyn Kernel>, PrepareError> {
    let slots = products.iter().map(|p| setup::slots(&setup, p)).max().unwrap_or(1);
    let inputs = products.iter().map(|p| setup::inputs(&setup, p)).max().unwrap_or(1);
    let reach = reach(cx, &setup, inputs);
    let crowded = family.dtype == DType::S8 && is_crowded(cx, &setup, &products);
    let block = family.blocks.iter().find(|row| {
        cx.cpu().has(row.needs)
            && !(row.pairs && crowded)
            && (!row.whole || products.len() == 1)
            && slots <= MAX_TAPS
            && products.iter().all(|p| (row.suits)(&setup::problem(&setup, p, reach)))
            && (row.pixels)(inputs) >= row.mr
    });
    if let Some(block) = block {
        setup.by = Implementation::Block(*block);
        // No kernel for blocks of other instruction sets asks.
        let asks = cfg!(target_arch = "aarch64");
        if asks {
            setup.bound = bound(cx, &setup, &products);
        }
        if let [p] = &products[..]
            && (block.gapless)(&setup::problem(&setup, p, reach))
            && (block.whole || lines::cut(p, setup.batch, setup.depth(), block.lines).is_some())
        {
            let weights = &cx.constant_bytes(&setup.weights)[p.weights..];
            let taps = setup.gapless_taps(p);
            setup.gapless = pack::without_gaps(weights, setup.panels(), taps, setup.depth());
        }
        if block.offset != 0 {
            setup.offset_bias = offset_bias(cx, &setup, &products, block.offset);
        }
        return Ok(Box::new(Conv::new(setup, products)));
    }
    let panels = family
        .panels
        .iter()
        .find(|row| cx.cpu().has(row.needs) && !(row.pairs && crowded) && slots <= LIST / row.mr);
    if let Some(panels) = panels {
        setup.by = Implementation::Panels(*panels);
        setup.bound = bound(cx, &setup, &products);
        if panels.stretches {
            setup.stretches = stretches(cx, &setup, &products);
            setup.stretches.crowded = crowded;
        }
        if let ([p], Padding::Constant(padding), false) =
            (&products[..], &setup.padding, panels.fewer.is_empty())
        {
            let bytes = |view: &View| cx.constant_bytes(view);
            let bias = bytes(&setup.bias).as_chunks().0;
            let kernel = regions::Kernel {
                mr: panels.mr,
                fewer: panels.fewer,
                blocks: setup.depth().div_ceil(setup.kb),
                runs: setup.runs(p),
            };
            setup.regions = regions::cut(p, setup.batch, bias.len(), &kernel);
            let sizes = [setup.groups, setup.depth()];
            let weights = &bytes(&setup.weights)[p.weights..];
            setup.region_bias = regions::biases(&setup.regions, p, weights, bias, bytes(padding), sizes);
        }
        return Ok(Box::new(Conv::new(setup, products)));
    }
    let row = family.rows.iter().find(|row| cx.cpu().has(row.needs) && slots <= LIST / row.mr);
    setup.by = Implementation::Rows(*row.ok_or_else(|| {
        cx.error(format!("a kernel of {slots} positions is above the limit of {MAX_TAPS}"))
    })?);
    Ok(Box::new(Conv::new(setup, products)))
}

/// What a sum over `inputs` inputs times its multiplier cannot exceed in magnitude; 0 where there are no multipliers.
fn reach(cx: &Context<'_>, setup: &Setup, inputs: usize) -> f64 {
    let Some(multiplier) = setup.multiplier.or_else(|| Some(setup.residual.as_ref()?.multiplier)) else {
        return 0.0;
    };
    let added = setup.residual.as_ref().map_or(0.0, Residual::reach);
    let multipliers = cx.constant_bytes(&multiplier).as_chunks().0;
    let products = inputs as f64 * 128.0 * 128.0;
    // A transposed convolution has as many biases for each phase as there are multipliers.
    let biases = cx.constant_bytes(&setup.bias).as_chunks().0.iter();
    let sums = biases.map(|&b| products + f64::from(i32::from_le_bytes(b).unsigned_abs()));
    let scales = multipliers.iter().cycle().map(|&m| f64::from(::core::primitive::f32::from_le_bytes(m)));
    sums.zip(scales).map(|(sum, m)| sum * m.abs() + added).fold(0.0, f64::max)
}

/// What is known of the s8 sums of all products.
fn bound(cx: &Context<'_>, setup: &Setup, products: &[Product]) -> s8::Bound {
    let added = setup.residual.as_ref().map_or(0.0, Residual::reach);
    let Some(multiplier) = setup.multiplier.or_else(|| Some(setup.residual.as_ref()?.multiplier)) else {
        return s8::Bound::Nothing;
    };
    let bytes = |view: &View| cx.constant_bytes(view);
    let (bias, multiplier) = (bytes(&setup.bias).as_chunks().0, bytes(&multiplier).as_chunks().0);
    let of = |p: &Product| {
        let (weights, bias) = (&bytes(&setup.weights)[p.weights..], &bias[p.bias..][..multiplier.len()]);
        s8::bound(weights, setup::inputs(setup, p) * micro::NR, bias, multiplier, added)
    };
    products.iter().map(of).min().unwrap_or(s8::Bound::Nothing)
}

/// The stretches of the panels of all products.
fn stretches(cx: &Context<'_>, setup: &Setup, products: &[Product]) -> s8::Stretches {
    let weights = cx.constant_bytes(&setup.weights);
    let mut stretches = s8::Stretches::NONE;
    for p in products {
        let panel = setup::inputs(setup, p) * micro::NR;
        for i in 0..setup.panels() {
            stretches.push(&weights[p.weights + i * panel..][..panel], p.taps());
        }
    }
    stretches
}

/// The biases for a kernel that adds `offset` to its inputs: each less that times the sum of its channel's weights. One
/// panel's worth of zeros more, since registers may hold more channels than a panel.
fn offset_bias(cx: &Context<'_>, setup: &Setup, products: &[Product], offset: i32) -> Vec<i32> {
    let weights = cx.constant_bytes(&setup.weights);
    let bias = cx.constant_bytes(&setup.bias).as_chunks().0;
    let mut biases: Vec<i32> = bias.iter().map(|&b| i32::from_le_bytes(b)).collect();
    let panels = setup.groups * setup.channels().div_ceil(micro::NR);
    for product in products {
        let panel = setup::inputs(setup, product) * micro::NR;
        let weights = &weights[product.weights..][..panels * panel];
        let biases = biases[product.bias..].as_chunks_mut::<{ micro::NR }>().0;
        for (weights, biases) in weights.chunks_exact(panel.max(1)).zip(biases) {
            let mut sums = [0_i32; micro::NR];
            for block in weights.as_chunks::<{ micro::KB_S8 * micro::NR }>().0 {
                for (sum, w) in sums.iter_mut().zip(block.as_chunks::<{ micro::KB_S8 }>().0) {
                    *sum += w.iter().map(|&w| i32::from(w.cast_signed())).sum::<i32>();
                }
            }
            for (bias, sum) in biases.iter_mut().zip(sums) {
                *bias = bias.wrapping_sub(offset.wrapping_mul(sum));
            }
        }
    }
    biases.extend([0; micro::NR]);
    biases
}
