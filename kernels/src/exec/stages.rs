//! Which steps may run at the same time.
//!
//! Steps that follow one another and touch nothing that another one writes, as the branches of a detector or the
//! projections of attention, are one stage: their tiles are done in any order, and threads wait for one another once. And
//! steps that work row by row on the same rows, as a residual addition, the normalization behind it and the quantization
//! behind that, are one chain: a tile is some rows of all of them, which stay in a near cache from one step to the next.
//! Neither changes a result: a kernel's tiles and rows are what they are, however they are grouped.

use std::ops::Range;

use cygnet_format::program::{Program, READ_SLACK, Step, Storage};

use crate::kernel::Kernel;
use crate::prepare::interleaved;
use crate::view::{Mem, View};

/// Elements of a chain's widest operand that one tile takes: few enough that those of all operands stay in a small
/// second-level cache, so many that calls and the beginnings of streams are rare.
const CHAIN_ELEMENTS: usize = 8192;

/// Multiply-accumulates of a step that is worth a thread though it has one tile: beside others a second thread gains by it.
const WORTH: u64 = 1 << 18;

/// A step, or several that run row by row.
#[derive(Debug, PartialEq)]
struct Unit {
    steps: Range<usize>,
    /// Of a chain its rows, and how many of them a tile takes; 0 of a single step.
    rows: usize,
    per_tile: usize,
    tiles: usize,
}

/// Steps that follow one another and may run at the same time.
#[derive(Debug, PartialEq)]
pub(super) struct Stage {
    units: Vec<Unit>,
    /// Of several units the tiles, by unit and number, in the order in which threads share them; empty of one unit.
    order: Vec<[u32; 2]>,
    tiles: usize,
    for_one: bool,
}

impl Stage {
    /// Tiles of all steps.
    pub(super) fn tiles(&self) -> usize {
        self.tiles
    }

    /// Whether it is not worth more than one thread: that does the tiles in order.
    pub(super) fn is_for_one(&self) -> bool {
        self.for_one
    }

    /// The first of the steps.
    pub(super) fn first_step(&self) -> usize {
        self.units.first().map_or(0, |unit| unit.steps.start)
    }

    /// Does one tile.
    ///
    /// # Safety
    /// `kernels` are those that the stages were made of, `mem` is the memory that they were prepared against; no other
    /// thread does the same tile, and nothing but other tiles of this stage touches the steps' operands.
    pub(super) unsafe fn run_tile(&self, kernels: &[Box<dyn Kernel>], mem: &Mem, tile: usize) {
        let [unit, tile] = self.order.get(tile).map_or([0, tile], |at| at.map(|i| i as usize));
        let unit = &self.units[unit];
        if unit.rows == 0 {
            // SAFETY: units touch nothing that another one writes.
            return unsafe { kernels[unit.steps.start].run_tile(mem, tile) };
        }
        let first = tile * unit.per_tile;
        let rows = first..unit.rows.min(first + unit.per_tile);
        for kernel in &kernels[unit.steps.clone()] {
            // SAFETY: as above; and within a chain no row touches what another row writes.
            unsafe { kernel.run_rows(mem, rows.clone()) };
        }
    }

    fn new(
        units: Vec<Range<usize>>,
        kernels: &[Box<dyn Kernel>],
        operands: &[Operands],
        threads: usize,
    ) -> Self {
        let mut stage = Self { units: Vec::new(), order: Vec::new(), tiles: 0, for_one: true };
        let mut worth = 0;
        for steps in units {
            let of = |steps: &Range<usize>| operands[steps.clone()].iter();
            let (rows, per_tile, tiles) = if steps.len() == 1 {
                (0, 0, kernels[steps.start].tiles())
            } else {
                let rows = kernels[steps.start].rows();
                let widest = of(&steps).map(Operands::elements).max().unwrap_or(1);
                let tiles = match widest.div_ceil(CHAIN_ELEMENTS) {
                    0 | 1 => 1,
                    // As many for each thread.
                    tiles => tiles.next_multiple_of(threads).min(rows),
                };
                // Kernels that do several rows at once mostly do four.
                let per_tile = match rows.div_ceil(tiles) {
                    n @ 0..4 => n,
                    n => n.next_multiple_of(4),
                };
                (rows, per_tile, rows.div_ceil(per_tile))
            };
            worth += usize::from(kernels[steps.clone()].iter().any(|kernel| kernel.macs() >= WORTH));
            stage.for_one &= tiles <= 1 && worth < 2;
            stage.units.push(Unit { steps, rows, per_tile, tiles });
            stage.tiles += tiles;
        }
        if stage.units.len() > 1 {
            stage.order = order(&stage.units, threads);
        }
        stage
    }
}

/// All tiles, so that of each unit a thread's share is about the same part, as it is of the steps before and behind.
fn order(units: &[Unit], threads: usize) -> Vec<[u32; 2]> {
    let of = |share: usize, (index, unit): (usize, &Unit)| {
        // Where there are fewer tiles than threads, not always the same ones.
        let turned = (share + index) % threads;
        let share = if unit.tiles < threads { turned } else { share };
        let part = share * unit.tiles / threads..(share + 1) * unit.tiles / threads;
        part.map(move |tile| [index as u32, tile as u32])
    };
    (0..threads).flat_map(|share| units.iter().enumerate().flat_map(move |unit| of(share, unit))).collect()
}

/// What a step reads and writes in the arena.
struct Operands {
    inputs: Vec<View>,
    output: View,
}

impl Operands {
    fn of(step: &Step, program: &Program) -> Self {
        let view = |id: u32| View::new(&program.tensors[id as usize]);
        let inputs = step.inputs.iter().copied().flatten().map(view);
        Self { inputs: inputs.filter(|v| v.storage == Storage::Arena).collect(), output: view(step.output) }
    }

    /// Elements of the largest.
    fn elements(&self) -> usize {
        self.inputs.iter().map(View::len).max().unwrap_or(0).max(self.output.len())
    }

    /// Whether this step and a later one may run at the same time.
    fn independent(&self, later: &Self) -> bool {
        written_apart(&self.output, &later.output)
            && later.inputs.iter().all(|x| read_apart(x, &self.output))
            && self.inputs.iter().all(|x| read_apart(x, &later.output))
    }

    /// Whether rows of this step and of a later one may run at the same time, as long as no row of the later one is done
    /// before the same row of this one.
    fn by_rows(&self, later: &Self, rows: usize) -> bool {
        let same_rows = |a: &View, b: &View| {
            let pitch = |v: &View| v.pitch * v.dtype.size();
            a.offset == b.offset && pitch(a) == pitch(b) && a.rows() == rows && b.rows() == rows
        };
        let (out, then) = (&self.output, &later.output);
        (written_apart(out, then) || same_rows(out, then))
            && later.inputs.iter().all(|x| read_apart(x, out) || same_rows(x, out))
            && self.inputs.iter().all(|x| read_apart(x, then) || same_rows(x, then))
    }
}

/// Whether nothing that a step reads of `x` is written with `y`.
fn read_apart(x: &View, y: &View) -> bool {
    x.offset + x.extent() + READ_SLACK <= y.offset || y.offset + y.extent() <= x.offset || interleaved(x, y)
}

/// Whether two outputs have no byte in common.
fn written_apart(a: &View, b: &View) -> bool {
    a.offset + a.extent() <= b.offset
        || b.offset + b.extent() <= a.offset
        || interleaved(a, b)
        || interleaved(b, a)
}

/// The stages of a program whose steps are these kernels, in order, for a number of threads.
pub(super) fn stages(program: &Program, kernels: &[Box<dyn Kernel>], threads: usize) -> Vec<Stage> {
    let operands: Vec<Operands> = program.steps.iter().map(|step| Operands::of(step, program)).collect();
    let mut stages = Vec::new();
    let mut units: Vec<Range<usize>> = Vec::new();
    for (index, step) in operands.iter().enumerate() {
        let rows = kernels[index].rows();
        let apart =
            |unit: &Range<usize>| operands[unit.clone()].iter().all(|before| before.independent(step));
        if let Some((last, others)) = units.split_last_mut() {
            let chained = rows > 1
                && operands[last.clone()]
                    .iter()
                    .zip(&kernels[last.clone()])
                    .all(|(before, kernel)| kernel.rows() == rows && before.by_rows(step, rows));
            if chained && others.iter().all(apart) {
                last.end += 1;
                continue;
            }
            if !apart(last) || !others.iter().all(apart) {
                stages.push(Stage::new(std::mem::take(&mut units), kernels, &operands, threads));
            }
        }
        units.push(index..index + 1);
    }
    if !units.is_empty() {
        stages.push(Stage::new(units, kernels, &operands, threads));
    }
    stages
}

/// Each step a stage.
#[cfg(test)]
pub(super) fn one_by_one(kernels: &[Box<dyn Kernel>]) -> Vec<Stage> {
    (0..kernels.len()).map(|i| Stage::new(std::iter::once(i..i + 1).collect(), kernels, &[], 1)).collect()
}

#[cfg(test)]
mod tests;
