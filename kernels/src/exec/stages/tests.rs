//! Stages of random programs give what the steps give one by one, whatever the order of tiles.

use cygnet_format::op::{self, BinaryKind, Epilogue, Op, ReduceKind, Unary, UnaryKind};
use cygnet_format::program::{DType, Program, READ_SLACK, Step, Storage, Tensor};

use super::{Stage, stages};
use crate::arena::Arena;
use crate::cpu::Cpu;
use crate::kernel::Kernel;
use crate::prepare::{Limits, prepare_for};
use crate::view::Mem;

const ROWS: u32 = 96;
const COLS: u32 = 128;

/// Numbers that look random: a linear congruential generator (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

/// A program under construction: tensors anywhere in the arena, on top of others too.
struct Build {
    program: Program,
    weights: Arena,
}

impl Build {
    fn new(arena_bytes: u64) -> Self {
        let program = Program { name: "test".into(), arena_bytes, ..Program::default() };
        let mut weights = Arena::new(COLS as usize * 4 + READ_SLACK).unwrap();
        for (i, to) in weights.bytes_mut()[..COLS as usize * 4].as_chunks_mut::<4>().0.iter_mut().enumerate()
        {
            *to = (0.5 + i as f32 / 64.0).to_le_bytes();
        }
        Self { program, weights }
    }

    fn tensor(&mut self, dtype: DType, dims: [u32; 2], offset: u64, pitch: u32) -> u32 {
        let t = Tensor {
            name: "t".into(),
            dtype,
            storage: Storage::Arena,
            offset,
            dims: dims.to_vec(),
            pitch,
            quant: None,
        };
        self.program.tensors.push(t);
        self.program.tensors.len() as u32 - 1
    }

    fn step(&mut self, op: Op, inputs: &[u32], output: u32) {
        let inputs = inputs.iter().copied().map(Some).collect();
        self.program.steps.push(Step { name: "s".into(), op, inputs, output });
    }

    fn prepare(&self, step: &Step, threads: usize) -> Option<Box<dyn Kernel>> {
        let limits = Limits { arena_bytes: self.program.arena_bytes as usize, weights: self.weights.bytes() };
        prepare_for(step, &self.program.tensors, &limits, Cpu::detect(), threads).ok()
    }

    /// What the arena holds behind a run that starts with some numbers in it.
    fn run(&self, each: impl FnOnce(&Mem)) -> Vec<u8> {
        let mut arena = Arena::new(self.program.arena_bytes as usize).unwrap();
        let mut random = Random(1);
        for to in arena.bytes_mut().as_chunks_mut::<4>().0 {
            *to = (random.below(2000) as f32 / 1000.0 - 1.0).to_le_bytes();
        }
        let mut scratch = Arena::new(1 << 18).unwrap();
        let mem = Mem {
            arena: arena.bytes_mut().as_mut_ptr(),
            weights: self.weights.bytes().as_ptr(),
            scratch: scratch.bytes_mut().as_mut_ptr(),
        };
        each(&mem);
        arena.bytes()[..self.program.arena_bytes as usize].to_vec()
    }
}

fn add() -> Op {
    let (scale_a, scale_b, epilogue) = (1.0, 1.0, Epilogue::NONE);
    Op::Binary(op::Binary { kind: BinaryKind::Add, scale_a, scale_b, epilogue })
}

fn norm() -> Op {
    Op::LayerNorm(op::LayerNorm { axis: 1, epsilon: 1e-5 })
}

fn greatest() -> Op {
    Op::Reduce(op::Reduce { kind: ReduceKind::MaxAbs, axes: 2, scale: 1.0 })
}

fn map() -> Op {
    Op::Map(op::Map { unary: Unary { kind: UnaryKind::Abs, a: 0.0, b: 0.0 } })
}

/// A program of steps between places of which many overlap; those that no step allows are left out.
fn random_program(random: &mut Random) -> (Build, Vec<Box<dyn Kernel>>) {
    let block = u64::from(ROWS * COLS * 4);
    let mut build = Build::new(6 * block + 4096);
    let gamma = {
        let id = build.tensor(DType::F32, [1, COLS], 0, COLS);
        build.program.tensors[id as usize].storage = Storage::Weights;
        build.program.tensors[id as usize].dims = vec![COLS];
        id
    };
    let mut kernels = Vec::new();
    for _ in 0..40 {
        // Mostly whole blocks, some shifted by a row or less, some half as wide and side by side.
        let place = |build: &mut Build, random: &mut Random, cols: u32| {
            let shift =
                [0, 0, 0, 0, 512, 64][random.below(6)] + if cols < COLS { 256 * random.below(2) } else { 0 };
            let offset = random.below(6) as u64 * block + shift as u64;
            build.tensor(DType::F32, [ROWS, cols], offset, COLS)
        };
        let cols = if random.below(4) == 0 { COLS / 2 } else { COLS };
        // Mostly the result of the step before.
        let before = build.program.steps.last().map(|step| step.output);
        let x = match before {
            Some(id) if random.below(4) != 0 && build.program.tensors[id as usize].dims[1] == cols => id,
            _ => place(&mut build, random, cols),
        };
        let step = |op, inputs: &[u32], output| Step {
            name: "s".into(),
            op,
            inputs: inputs.iter().copied().map(Some).collect(),
            output,
        };
        let step = match random.below(5) {
            0 => step(norm(), &[x, gamma], place(&mut build, random, cols)),
            1 => step(map(), &[x], place(&mut build, random, cols)),
            2 => {
                let offset = 6 * block + 512 * random.below(4) as u64;
                step(greatest(), &[x], build.tensor(DType::F32, [ROWS, 1], offset, 1))
            }
            _ => {
                let (b, y) = (place(&mut build, random, cols), place(&mut build, random, cols));
                step(add(), &[x, b], y)
            }
        };
        if let Some(kernel) = build.prepare(&step, 2) {
            build.program.steps.push(step);
            kernels.push(kernel);
        }
    }
    (build, kernels)
}

#[test]
fn stages_of_random_programs_give_the_same_in_any_order() {
    let mut random = Random(7);
    let (mut chains, mut pairs) = (0, 0);
    for round in 0..60 {
        let (build, kernels) = random_program(&mut random);
        let stages = stages(&build.program, &kernels, 2);
        let steps: Vec<usize> = stages.iter().flat_map(|s| &s.units).flat_map(|u| u.steps.clone()).collect();
        assert_eq!(steps, (0..kernels.len()).collect::<Vec<_>>(), "each step once, in order");
        chains += stages.iter().flat_map(|s| &s.units).filter(|u| u.rows > 0 && u.tiles > 1).count();
        pairs += stages.iter().filter(|s| s.units.len() > 1).count();
        // SAFETY: steps were prepared against this memory, and run one after another.
        let want = build.run(|mem| unsafe {
            for kernel in &kernels {
                (0..kernel.tiles()).for_each(|tile| kernel.run_tile(mem, tile));
            }
        });
        let mut orders: Vec<Vec<Vec<usize>>> = Vec::new();
        orders.push(stages.iter().map(|s| (0..s.tiles()).collect()).collect());
        orders.push(stages.iter().map(|s| (0..s.tiles()).rev().collect()).collect());
        orders.push(stages.iter().map(|s| shuffled(s, &mut random)).collect());
        for order in orders {
            // SAFETY: as above; tiles of a stage in this order.
            let got = build.run(|mem| unsafe {
                for (stage, tiles) in stages.iter().zip(&order) {
                    tiles.iter().for_each(|&tile| stage.run_tile(&kernels, mem, tile));
                }
            });
            let differs = got.iter().zip(&want).position(|(a, b)| a != b);
            assert_eq!(differs, None, "round {round}: {stages:?}");
        }
    }
    assert!(
        chains > 20 && pairs > 20,
        "{chains} chains and {pairs} stages of several steps are too few to tell"
    );
}

fn shuffled(stage: &Stage, random: &mut Random) -> Vec<usize> {
    let mut tiles: Vec<usize> = (0..stage.tiles()).collect();
    (1..tiles.len()).rev().for_each(|i| tiles.swap(i, random.below(i + 1)));
    tiles
}

/// The first step of each unit and the one behind its last, by stages.
fn units(stages: &[Stage]) -> Vec<Vec<[usize; 2]>> {
    stages.iter().map(|s| s.units.iter().map(|u| [u.steps.start, u.steps.end]).collect()).collect()
}

fn kernels_of(build: &Build) -> Vec<Box<dyn Kernel>> {
    build.program.steps.iter().map(|step| build.prepare(step, 2).expect("a step that can be run")).collect()
}

#[test]
fn branches_are_one_stage_and_rows_one_chain() {
    let block = u64::from(ROWS * COLS * 4) + 64;
    let mut build = Build::new(8 * block);
    let t: Vec<u32> = (0..8).map(|i| build.tensor(DType::F32, [ROWS, COLS], i * block, COLS)).collect();
    // Two maps of one tensor; a sum of both; then an addition that its maximum follows.
    build.step(map(), &[t[0]], t[1]);
    build.step(map(), &[t[0]], t[2]);
    build.step(add(), &[t[1], t[2]], t[3]);
    let maxima = build.tensor(DType::F32, [ROWS, 1], 4 * block, 1);
    build.step(greatest(), &[t[3]], maxima);
    // Over what the addition read, but of all rows at once: behind the chain.
    build.step(map(), &[t[0]], t[1]);
    let kernels = kernels_of(&build);
    assert_eq!(
        units(&stages(&build.program, &kernels, 2)),
        [vec![[0, 1], [1, 2]], vec![[2, 4]], vec![[4, 5]]]
    );
}

#[test]
fn a_chain_ends_where_memory_is_used_again_by_other_rows() {
    let block = u64::from(ROWS * COLS * 4) + 64;
    let row = u64::from(COLS * 4);
    let mut build = Build::new(8 * block);
    let t: Vec<u32> = (0..4).map(|i| build.tensor(DType::F32, [ROWS, COLS], i * block, COLS)).collect();
    // Where the first step reads, a row further.
    let shifted = build.tensor(DType::F32, [ROWS, COLS], row, COLS);
    build.step(add(), &[t[0], t[2]], t[3]);
    build.step(add(), &[t[3], t[2]], shifted);
    let kernels = kernels_of(&build);
    assert_eq!(units(&stages(&build.program, &kernels, 2)), [vec![[0, 1]], vec![[1, 2]]]);
    // In its very place.
    build.program.steps[1].output = t[0];
    let kernels = kernels_of(&build);
    assert_eq!(units(&stages(&build.program, &kernels, 2)), [vec![[0, 2]]]);
}

/// A step of one tile.
struct One {
    macs: u64,
}

// SAFETY: it touches nothing.
unsafe impl Kernel for One {
    fn name(&self) -> &'static str {
        "one"
    }

    fn tiles(&self) -> usize {
        1
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    unsafe fn run_tile(&self, _: &Mem, _: usize) {}
}

#[test]
fn two_steps_of_much_work_are_for_two_threads() {
    let for_one = |macs: &[u64]| {
        let kernels: Vec<Box<dyn Kernel>> =
            macs.iter().map(|&macs| Box::new(One { macs }) as Box<dyn Kernel>).collect();
        Stage::new((0..macs.len()).map(|i| i..i + 1).collect(), &kernels, &[], 2).is_for_one()
    };
    assert!(for_one(&[10_000_000]));
    assert!(for_one(&[10_000_000, 1000]));
    assert!(!for_one(&[10_000_000, 1000, 1_000_000]));
}
