//! Convolution by weights of which most are zero: [`Op::SparseConv`](cygnet_format::op::Op::SparseConv).
//!
//! Weights are lists, for each output channel, of the groups of inputs whose weights are not all zero ([`pack`]). A block
//! of pixels is done at a time: its inputs are copied to scratch so that those that a group meets lie together for all
//! pixels ([`row`]); then each channel goes through its list, with the sums of all pixels in registers. Results
//! are gathered for some channels and stored pixel by pixel. Sums are exact and requantized as those of the dense step:
//! the same bits.

pub mod pack;

mod fill;
mod generic;
mod row;
mod zip;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod vnni;

use cygnet_format::op;
use cygnet_format::program::{DType, Storage};

use crate::conv::geometry::{Axis, Pixel, Product, is_pointwise};
use crate::kernel::{Context, Kernel, MAX_SCRATCH, PrepareError};
use crate::map::{Lookup, lookup};
use crate::view::{Mem, View};
use pack::{MAX_K, groups_of};
use row::{CHANNELS, Job, MAX_UNIT, MAX_UNITS, ROWS, Row, STAGE, Store, Tap};

/// Bytes of scratch for results that are not stored yet.
const STAGE_BYTES: usize = CHANNELS * STAGE;

/// Bytes of copied inputs that are better kept to: most of them stay in a first-level cache, where most groups are left out.
const INPUT_BYTES: usize = 64 << 10;

/// Units of a block that are better had nevertheless, so that a group's weights meet some pixels.
const FEW_UNITS: usize = 4;

/// Multiply-accumulates of a tile that is worth handing to another thread.
const TILE_MACS: usize = 1 << 18;

/// Fewest channels of a tile, which copies its inputs by itself.
const TILE_CHANNELS: usize = 64;

struct SparseConv {
    x: View,
    weights: View,
    indices: View,
    ends: View,
    bias: View,
    /// In place of `bias`, where the row adds an offset to inputs; else empty.
    offset_bias: Vec<i32>,
    multiplier: View,
    padding: Option<View>,
    table: Option<(View, Lookup)>,
    y: View,
    product: Product,
    row: Row,
    /// Planes of a tap.
    planes: usize,
    pixels: usize,
    /// Units of a block.
    units: usize,
    blocks: usize,
    tile_channels: usize,
    macs: u64,
    lo: f32,
    hi: f32,
    zero_point: i32,
}

pub(crate) fn prepare(p: &op::SparseConv, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.typed(0, DType::S8)?, cx.output());
    cx.ensure(y.dtype == DType::S8, || format!("output is {}; s8 is needed", y.dtype.name()))?;
    cx.ensure(x.quant.is_some(), || "input is not quantized".into())?;
    let group = p.group.inputs();
    let product = product(p, cx, &x, &y)?;
    let taps = p.window.kernel.map(|k| k as usize);
    let of_tap = groups_of(x.cols(), group);
    let k = taps[0].saturating_mul(taps[1]).saturating_mul(of_tap * group);
    cx.ensure(k <= MAX_K, || format!("sums {k} products; at most {MAX_K} are possible"))?;
    let (m, e) = (y.cols(), p.epilogue);
    let whole = |v: f32| v.fract() == 0.0 && (-128.0..=127.0).contains(&v);
    cx.ensure(e.unary == op::Unary::IDENTITY && e.lo <= e.hi && whole(e.lo) && whole(e.hi), || {
        format!("clamps to [{}, {}]; integers in [-128, 127] are needed, and no function", e.lo, e.hi)
    })?;

    let weights = cx.typed(1, DType::Packed)?;
    let entries = weights.len() / group;
    let weights = cx.constant(1, DType::Packed, entries * group)?;
    let indices = cx.constant(2, DType::Packed, entries * 2)?;
    let ends = cx.constant(3, DType::S32, m)?;
    let bias = cx.constant(4, DType::S32, m)?;
    let multiplier = cx.constant(5, DType::F32, m)?;
    let finite = |&b: &[u8; 4]| f32::from_le_bytes(b).is_finite();
    cx.ensure(cx.constant_bytes(&multiplier).as_chunks().0.iter().all(finite), || {
        "a multiplier is not finite".into()
    })?;
    let lists = Lists {
        weights: cx.constant_bytes(&weights),
        indices: cx.constant_bytes(&indices),
        ends: cx.constant_bytes(&ends),
        group,
    };
    lists.check(cx, k / group, (of_tap, x.cols()))?;
    let padding = match p.window.pad {
        [0, 0, 0, 0] => None,
        _ => Some(padding_row(cx, &x)?),
    };
    let table = match cx.optional(7) {
        Some(_) => Some((cx.constant(7, DType::S8, 256)?, lookup(cx.cpu()).1)),
        None => None,
    };

    let usable = |row: &&Row| row.group == p.group && cx.cpu().has(row.needs);
    let row = *ROWS.iter().find(usable).ok_or_else(|| cx.error("no kernel does such groups"))?;
    let pixels = y.rows();
    let (units, blocks) = cut(&row, k, pixels);
    let macs = (entries * group).saturating_mul(pixels);
    Ok(Box::new(SparseConv {
        offset_bias: if row.offset == 0 {
            Vec::new()
        } else {
            lists.offset_bias(cx.constant_bytes(&bias), row.offset)
        },
        x,
        weights,
        indices,
        ends,
        bias,
        multiplier,
        padding,
        table,
        y,
        product,
        row,
        planes: of_tap * group / row.plane,
        pixels,
        units,
        blocks,
        tile_channels: tile_channels(cx, m, blocks, macs),
        macs: macs as u64,
        lo: e.lo,
        hi: e.hi,
        zero_point: cx.product_zero_point(7)?,
    }))
}

/// The window over images, or over the rows of a matrix as if they were those of one image.
fn product(p: &op::SparseConv, cx: &Context<'_>, x: &View, y: &View) -> Result<Product, PrepareError> {
    let (rows, cols) = if is_pointwise(&p.window) {
        let same = x.rank > 0 && y.rank == x.rank && y.dims()[..y.rank - 1] == x.dims()[..x.rank - 1];
        cx.ensure(same, || {
            format!("output dimensions {:?} do not go with the input's {:?}", y.dims(), x.dims())
        })?;
        (Axis::identity(1), Axis::identity(x.rows()))
    } else {
        let (&[n, h, w, _], &[images, oh, ow, _]) = (x.dims(), y.dims()) else {
            return Err(cx.error("a window needs an input and an output of four dimensions"));
        };
        cx.ensure(n == images, || format!("{n} images in, {images} out"))?;
        let axis = |i, from, to| Axis::of_window(&p.window, i, from, to).map_err(|what| cx.error(what));
        (axis(0, h, oh)?, axis(1, w, ow)?)
    };
    Ok(Product { rows, cols, weights: 0, bias: 0 })
}

/// What taps outside of the image read.
fn padding_row(cx: &Context<'_>, x: &View) -> Result<View, PrepareError> {
    let row = cx.typed(6, DType::S8)?;
    cx.ensure(row.storage == Storage::Weights && row.is_dense() && row.len() >= x.cols(), || {
        format!("the padding row must be a constant of at least {} elements; it has {}", x.cols(), row.len())
    })?;
    Ok(row)
}

/// Units of a block, and blocks: such that inputs fit the scratch, and the last block is no small rest.
fn cut(row: &Row, k: usize, pixels: usize) -> (usize, usize) {
    let unit_bytes = k * row.width * row.unit;
    let fit = (MAX_SCRATCH - STAGE_BYTES) / unit_bytes;
    let most = (INPUT_BYTES / unit_bytes).clamp(FEW_UNITS, row.most).min(fit);
    let all = pixels.div_ceil(row.unit);
    let blocks = all.div_ceil(most);
    let units = all.div_ceil(blocks);
    (units, all.div_ceil(units))
}

/// Output channels of a tile.
fn tile_channels(cx: &Context<'_>, m: usize, blocks: usize, macs: usize) -> usize {
    let wanted = if cx.threads() == 1 { 1 } else { cx.tiles().min(macs / TILE_MACS + 1) };
    let tiles = wanted.div_ceil(blocks).min(m / TILE_CHANNELS).max(1);
    m.div_ceil(tiles).next_multiple_of(CHANNELS)
}

/// The bytes of a step's lists.
struct Lists<'a> {
    weights: &'a [u8],
    indices: &'a [u8],
    ends: &'a [u8],
    group: usize,
}

impl Lists<'_> {
    fn ends(&self) -> impl Iterator<Item = i32> + '_ {
        self.ends.as_chunks().0.iter().map(|&end| i32::from_le_bytes(end))
    }

    /// Refuses lists that leave the `groups` there are or do not follow one another, and weights that no list may have:
    /// of inputs that a tap lacks, of -128. A tap has so many groups and inputs.
    fn check(
        &self,
        cx: &Context<'_>,
        groups: usize,
        (of_tap, depth): (usize, usize),
    ) -> Result<(), PrepareError> {
        let mut before = 0;
        for (channel, end) in self.ends().enumerate() {
            cx.ensure(end >= before, || {
                format!("the list of channel {channel} ends at {end}, before it begins at {before}")
            })?;
            before = end;
        }
        let entries = self.indices.len() / 2;
        cx.ensure(before as usize == entries, || {
            format!("the channels' lists end at {before}; there are {entries} groups")
        })?;
        let rest = depth - (of_tap - 1) * self.group;
        let weights = self.weights.chunks_exact(self.group);
        for (&index, weights) in self.indices.as_chunks().0.iter().zip(weights) {
            let index = usize::from(u16::from_le_bytes(index));
            cx.ensure(index < groups, || format!("a list names group {index} of {groups}"))?;
            let beyond = index % of_tap == of_tap - 1 && weights[rest..].iter().any(|&w| w != 0);
            cx.ensure(!beyond, || format!("group {index} has weights beyond {depth} channels"))?;
            cx.ensure(!weights.contains(&0x80), || "a weight is -128; [-127, 127] is allowed".into())?;
        }
        Ok(())
    }

    /// The biases less `offset` times the sums of the weights.
    fn offset_bias(&self, bias: &[u8], offset: i32) -> Vec<i32> {
        let mut weights = self.weights.chunks_exact(self.group);
        let mut before = 0;
        let mut sum = |end: i32| -> i32 {
            let count = (end - std::mem::replace(&mut before, end)) as usize;
            weights
                .by_ref()
                .take(count)
                .flatten()
                .map(|&w| i32::from(w.cast_signed()))
                .fold(0, i32::wrapping_add)
        };
        let bias = bias.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b));
        bias.zip(self.ends()).map(|(b, end)| b.wrapping_sub(offset.wrapping_mul(sum(end)))).collect()
    }
}

impl SparseConv {
    /// Copies the inputs of the block's pixels to planes.
    ///
    /// # Safety
    /// `mem` is the memory of the views, with the kernel's scratch; the block is one of the step's.
    unsafe fn fill(&self, mem: &Mem, first: usize, to: *mut u8) {
        let (p, block) = (&self.product, self.units * self.row.unit);
        let tap_bytes = self.planes * self.row.plane * self.row.width * block;
        let mut from = [std::ptr::null(); MAX_UNITS * MAX_UNIT];
        for tap in 0..p.taps() {
            // SAFETY: the pixels are the step's.
            unsafe { self.addresses(mem, tap, first, &mut from[..block]) };
            // SAFETY: addresses of rows of the input, which can be read up to a multiple of 16, or of the padding row;
            // the scratch has room for the planes of all taps.
            unsafe {
                (self.row.fill)(&Tap {
                    from: from.as_ptr(),
                    pixels: block,
                    depth: self.x.cols(),
                    planes: self.planes,
                    to: to.add(tap * tap_bytes),
                });
            }
        }
    }

    /// The addresses of what pixels from `first` on see at a tap; the last pixel stands for those that there are not.
    ///
    /// # Safety
    /// As [`Self::fill`].
    unsafe fn addresses(&self, mem: &Mem, tap: usize, first: usize, from: &mut [*const u8]) {
        let (p, pitch) = (&self.product, self.x.pitch);
        // SAFETY: the memory is that of the views.
        let x = unsafe { self.x.ptr::<u8>(mem) };
        let (known, unknown) = from.split_at_mut(from.len().min(self.pixels - first));
        if p.is_pointwise() {
            for (i, from) in known.iter_mut().enumerate() {
                *from = x.wrapping_add((first + i) * pitch);
            }
        } else {
            // SAFETY: as above. Where there is no padding row no tap is outside.
            let padding = self.padding.map_or(std::ptr::null(), |row| unsafe { row.ptr(mem) });
            let (down, across) = (tap / p.cols.taps, tap % p.cols.taps);
            let mut at = Pixel::new(p, first);
            let mut rest = &mut known[..];
            while !rest.is_empty() {
                let (row, behind) = rest.split_at_mut((p.cols.outputs - at.col).min(rest.len()));
                let line = p.rows.at(at.row, down).map(|y| at.image * p.rows.input + y);
                let mut col = p.cols.start(at.col) + across as i64 * p.cols.spacing;
                for from in row.iter_mut() {
                    *from = match line {
                        // A negative position becomes one above every extent.
                        Some(line) if (col as u64) < p.cols.input as u64 => {
                            x.wrapping_add((line * p.cols.input + col as usize) * pitch)
                        }
                        _ => padding,
                    };
                    col += p.cols.step;
                }
                at.col += row.len() - 1;
                at.step(p);
                rest = behind;
            }
        }
        unknown.fill(*known.last().expect("a block has a pixel"));
    }

    fn input_bytes(&self) -> usize {
        self.product.taps() * self.planes * self.row.plane * self.row.width * self.units * self.row.unit
    }
}

// SAFETY: a tile writes some channels of some pixels, disjoint from other tiles' and inside the output; it reads rows of
// the input, which may be read up to a multiple of 16 bytes, constants of the lengths that `prepare` compared, and planes
// that the lists name, all of which `prepare` has seen to be there.
unsafe impl Kernel for SparseConv {
    fn name(&self) -> &'static str {
        self.row.name
    }

    fn tiles(&self) -> usize {
        self.blocks * self.y.cols().div_ceil(self.tile_channels)
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    fn scratch(&self) -> usize {
        debug_assert!(STAGE_BYTES + self.input_bytes() <= MAX_SCRATCH);
        STAGE_BYTES + self.input_bytes()
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let (m, block) = (self.y.cols(), self.units * self.row.unit);
        let across = m.div_ceil(self.tile_channels);
        let first = tile / across * block;
        let from = tile % across * self.tile_channels;
        let to = (from + self.tile_channels).min(m);
        let stage = mem.scratch;
        // SAFETY: `scratch` asked for both parts.
        let inputs = unsafe { stage.add(STAGE_BYTES) };
        // SAFETY: the block is one of the step's.
        unsafe { self.fill(mem, first, inputs) };
        for channel in (from..to).step_by(CHANNELS) {
            let channels = CHANNELS.min(to - channel);
            // SAFETY: constants of channels of the step, planes just filled, room for as many channels' results; rows of
            // the output.
            unsafe {
                let ends = self.ends.ptr::<i32>(mem).add(channel);
                let bias = if self.offset_bias.is_empty() {
                    self.bias.ptr::<i32>(mem)
                } else {
                    self.offset_bias.as_ptr()
                };
                (self.row.multiply[self.units - 1])(&Job {
                    inputs,
                    units: self.units,
                    weights: self.weights.ptr(mem),
                    indices: self.indices.ptr(mem),
                    start: if channel == 0 { 0 } else { ends.sub(1).read_unaligned() as usize },
                    ends,
                    channels,
                    bias: bias.add(channel),
                    multiplier: self.multiplier.ptr::<f32>(mem).add(channel),
                    lo: self.lo,
                    hi: self.hi,
                    zero_point: self.zero_point,
                    to: stage.cast(),
                });
                if let Some((table, lookup)) = &self.table {
                    for row in 0..channels {
                        let row = stage.add(row * STAGE).cast();
                        lookup(row, row, block, table.ptr(mem));
                    }
                }
                (self.row.store)(&Store {
                    from: stage,
                    channels,
                    pixels: block.min(self.pixels - first),
                    to: self.y.ptr_mut::<u8>(mem).add(first * self.y.pitch + channel),
                    pitch: self.y.pitch,
                });
            }
        }
    }
}
