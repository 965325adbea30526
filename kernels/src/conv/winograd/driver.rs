//! Does a piece of a step: a block of tiles times a range of output channels.
//!
//! Inputs of the block are transformed first; then group after group of panels is transformed, multiplied and, once
//! all input channels have met, made results. Where input channels are taken in ranges, sums of all groups wait in
//! the scratch.

use std::mem::MaybeUninit;

use super::order::Order;
use super::plan::{MAX_INPUTS, MAX_OUTPUTS, Plan};
use super::{GROUP, Inputs, Isa, Matrices, Outputs, Weights};
use crate::conv::after::After;
use crate::conv::geometry::Product;
use crate::conv::micro::{KB_S8, NR};
use crate::conv::setup::{Padding, Setup};
use crate::kernel::Kernel;
use crate::view::Mem;

/// A convolution ready to run.
pub(super) struct Winograd {
    setup: Setup,
    product: Product,
    isa: &'static Isa,
    plan: Plan,
    order: Order,
}

/// Most inputs, and outputs, of a tile a side.
const REACH: usize = 6;
const SIDE: usize = 4;

/// The addresses of a block's pixels.
struct Block {
    /// Of each tile the inputs, row by row: their first channels.
    inputs: [MaybeUninit<*const u8>; MAX_INPUTS],
    /// Of each tile the outputs, row by row; null outside the image.
    outputs: [*mut u8; MAX_OUTPUTS],
}

impl Winograd {
    pub fn new(setup: Setup, product: Product, isa: &'static Isa, plan: Plan, order: Order) -> Self {
        Self { setup, product, isa, plan, order }
    }

    /// The addresses of `count` tiles from `first` on.
    ///
    /// # Safety
    /// `mem` is the memory that the step was prepared with, and has the tiles.
    unsafe fn addresses(&self, mem: &Mem, first: usize, count: usize) -> Block {
        let mut block = Block {
            inputs: [MaybeUninit::uninit(); MAX_INPUTS],
            outputs: [std::ptr::null_mut(); MAX_OUTPUTS],
        };
        let (s, p, form) = (&self.setup, &self.product, self.plan.form);
        let (side, reach) = (form.side, form.reach());
        // SAFETY: the memory is that of the operands.
        let (x, y) = unsafe { (s.x.ptr::<u8>(mem), s.y.ptr_mut::<u8>(mem)) };
        let outside = match &s.padding {
            // Taps outside the image belong to outputs outside the image, which are not stored.
            Padding::None => x,
            // SAFETY: as above.
            Padding::Constant(v) => unsafe { v.ptr(mem) },
            Padding::Own(row) => row.as_ptr(),
        };
        let (mut above, mut below) = ([None; REACH], [None; SIDE]);
        let mut last = None;
        let inputs = block.inputs.chunks_exact_mut(form.positions());
        let outputs = block.outputs.chunks_exact_mut(form.outputs());
        for (i, (inputs, outputs)) in inputs.zip(outputs).take(count).enumerate() {
            let [image, line, column] = self.order.place(first + i);
            if last.replace([image, line]) != Some([image, line]) {
                let row = side * line;
                for (t, above) in above[..reach].iter_mut().enumerate() {
                    let start = |iy| (image * p.rows.input + iy) * p.cols.input * s.x.pitch;
                    // SAFETY: `at` gives positions inside the image only.
                    *above = p.rows.at(row, t).map(|iy| unsafe { x.add(start(iy)) });
                }
                for (t, below) in below[..side].iter_mut().enumerate() {
                    let start = (image * p.rows.outputs + row + t) * p.cols.outputs * s.y.pitch;
                    // SAFETY: a row of the output.
                    *below = (row + t < p.rows.outputs).then(|| unsafe { y.add(start) });
                }
            }
            let columns: [_; REACH] =
                std::array::from_fn(|t| p.cols.at(side * column, t).map(|ix| ix * s.x.pitch));
            for (inputs, above) in inputs.chunks_exact_mut(reach).zip(above) {
                for (to, column) in inputs.iter_mut().zip(columns) {
                    let pixel = match (above, column) {
                        // SAFETY: a row and a column inside the image.
                        (Some(row), Some(column)) => unsafe { row.add(column) },
                        _ => outside,
                    };
                    *to = MaybeUninit::new(pixel);
                }
            }
            for (outputs, below) in outputs.chunks_exact_mut(side).zip(below) {
                for (t, to) in outputs.iter_mut().enumerate() {
                    let ox = side * column + t;
                    if let Some(row) = below.filter(|_| ox < p.cols.outputs) {
                        // SAFETY: a row and a column of the output.
                        *to = unsafe { row.add(ox * s.y.pitch) };
                    }
                }
            }
        }
        block
    }

    /// Makes results of a group's sums: `columns` channels from `channel` on.
    ///
    /// # Safety
    /// The sums are all there; `outputs` are the addresses of the block's pixels.
    unsafe fn store(
        &self,
        mem: &Mem,
        outputs: &[*mut u8],
        results: &mut [[i8; NR]; MAX_OUTPUTS],
        sums: *const i32,
        channel: usize,
        columns: usize,
    ) {
        let s = &self.setup;
        let residual = s.residual.as_ref();
        let Some(multiplier) = residual.map(|r| r.multiplier).or(s.multiplier) else { return };
        let results = &mut results[..outputs.len()];
        for (panel, first) in (0..columns).step_by(NR).enumerate() {
            let (at, count) = (channel + first, NR.min(columns - first));
            // SAFETY: the sums of the panel; biases and multipliers are there for whole panels; the table has 256
            // bytes; addresses that are not null are those of a pixel of the output, and of the addend.
            unsafe {
                if let Some(residual) = residual {
                    for (to, r) in outputs.iter().zip(&mut *results).filter(|(to, _)| !to.is_null()) {
                        let from = residual.row(mem, &s.y, *to).add(at);
                        copy(from, r.as_mut_ptr().cast(), count);
                    }
                }
                (self.isa.outputs)(&mut Outputs {
                    sums: sums.add(panel * NR),
                    stride: self.plan.sum_stride(),
                    results: &mut *results,
                    added: residual.map(|r| &r.constants),
                    bias: s.bias.ptr::<i32>(mem).add(self.product.bias + at),
                    multiplier: multiplier.ptr::<f32>(mem).add(at),
                    lo: s.lo,
                    hi: s.hi,
                    zero_point: s.zero_point,
                });
                if let After::Table(table, lookup) = s.after {
                    let all = results.as_mut_ptr().cast();
                    lookup(all, all, size_of_val(results), table.ptr(mem));
                }
                for (to, from) in outputs.iter().zip(&*results).filter(|(to, _)| !to.is_null()) {
                    copy(from.as_ptr().cast(), to.add(at), count);
                }
            }
        }
    }
}

/// Copies some channels of a panel; mostly all.
///
/// # Safety
/// As [`std::ptr::copy_nonoverlapping`], of at most [`NR`] bytes.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if count == NR {
            to.cast::<[u8; NR]>().write_unaligned(from.cast::<[u8; NR]>().read_unaligned());
        } else {
            std::ptr::copy_nonoverlapping(from, to, count);
        }
    }
}

// SAFETY: tiles are disjoint ranges of tiles of outputs and of channels; every address is that of a pixel of an operand,
// or of a padding row of as many channels; the scratch is as large as the plan that cuts it says.
unsafe impl Kernel for Winograd {
    fn name(&self) -> &'static str {
        self.isa.name
    }

    fn tiles(&self) -> usize {
        self.plan.blocks * self.plan.channel_pieces
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
        // Blocks innermost: threads that take neighbouring tiles share weights.
        let (index, piece) = (tile % plan.blocks, tile / plan.blocks);
        let first = index * plan.tiles;
        let count = plan.tiles.min(self.order.tiles() - first);
        let (from, to) = (piece * plan.channels, ((piece + 1) * plan.channels).min(channels));
        // SAFETY: the tiles are the step's.
        let mut block = unsafe { self.addresses(mem, first, count) };
        let complete = self.order.complete(first..first + count);
        let mut results = [[0; NR]; MAX_OUTPUTS];

        // SAFETY: the parts of the scratch, as `Plan::scratch` adds them up.
        let (inputs, weights, sums) = unsafe {
            let base = mem.scratch;
            let weights = base.add(plan.input_bytes());
            (base.cast::<i16>(), weights.cast::<i16>(), weights.add(plan.weight_bytes()).cast::<i32>())
        };
        // Bytes of a tap of a panel, and of a panel.
        let tap = depth.next_multiple_of(KB_S8) * NR;
        let panel = 9 * tap;
        for start in (0..depth).step_by(plan.depth) {
            let taken = plan.depth.min(depth - start);
            // SAFETY: `addresses` has set `count` tiles.
            let tiles = unsafe { block.inputs[..count * plan.form.positions()].assume_init_mut() };
            if start > 0 {
                for pixel in &mut *tiles {
                    // SAFETY: ranges are consecutive channels of a pixel.
                    *pixel = unsafe { pixel.add(plan.depth) };
                }
            }
            let filled = taken.next_multiple_of(KB_S8);
            // SAFETY: pixels can be read up to the next multiple of 16 channels; rows of the scratch have `plan.depth`
            // channels, a multiple of 16.
            unsafe {
                (self.isa.inputs)(&Inputs {
                    tiles,
                    depth: filled,
                    to: inputs,
                    row: plan.depth,
                    stride: plan.input_stride(),
                });
            }
            for (group, channel) in (from..to).step_by(GROUP * NR).enumerate() {
                let columns = (GROUP * NR).min(to - channel);
                let panels = columns.div_ceil(NR);
                let slot = if plan.groups > 1 { group } else { 0 };
                // SAFETY: the panels hold the channels and `filled` inputs from `start` on; biases and multipliers are
                // there for whole panels; the scratch has room for `plan.groups` groups of sums.
                unsafe {
                    let sums = sums.byte_add(slot * plan.group_bytes());
                    (self.isa.weights)(&Weights {
                        from: s.weights.ptr::<u8>(mem).add(channel / NR * panel + start * NR),
                        tap,
                        panels,
                        depth: filled,
                        to: weights,
                        stride: plan.weight_stride(),
                    });
                    (self.isa.multiply)(&Matrices {
                        inputs,
                        row: plan.depth,
                        input_stride: plan.input_stride(),
                        weights,
                        weight_stride: plan.weight_stride(),
                        form: plan.form,
                        tiles: count,
                        complete: complete.clone(),
                        depth: filled,
                        panels,
                        sums,
                        sum_stride: plan.sum_stride(),
                        add: start > 0,
                    });
                    if start + taken == depth {
                        let outputs = &block.outputs[..count * plan.form.outputs()];
                        self.store(mem, outputs, &mut results, sums, channel, columns);
                    }
                }
            }
        }
    }
}
