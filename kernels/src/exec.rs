//! Runs prepared kernels over an arena, with as many threads as turn up.
//!
//! A [`Leader`] owns the run; any number of threads may call [`Helper::assist`] beside it. The leader walks the
//! [`stages`]: steps that may run at the same time, mostly one. A stage of one tile it does itself. Of others each thread
//! has a share, published as `(run, stage, next tile)` in
//! an atomic word of its own: whoever increments the word owns the tile it saw. A thread does its share first, which from
//! stage to stage is about the same part of an image, so that what it reads is mostly what it wrote; then it takes from
//! the others' shares, so that fast cores do more. Each tile is done once. The stage ends when as many tiles are done as
//! there are, and only then is the next one published: no tile can be running, and so no memory be in use, between
//! stages or outside [`Leader::run`]. Runs that somebody looks at go step by step instead.
//!
//! Waiting is bounded spinning, then sleep on a condition variable. Nothing allocates after [`Leader::new`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use cygnet_format::program::{ARENA_ALIGN, Program, READ_SLACK};

use crate::arena::{Arena, Pages};
use crate::cpu::Cpu;
use crate::kernel::{Kernel, PrepareError};
use crate::prepare::{Limits, prepare_for};
use crate::view::Mem;
use environment::Environment;
use stages::{Stage, stages};

mod environment;
mod stages;

/// How often a thread looks again before it sleeps: some 20 to 50 microseconds.
const SPINS: u32 = 4000;

/// A cursor holds, from the top: the run's number (23 bits), the stage's index or behind those of stages the step's (17),
/// the next tile of the share (24).
const TILE_BITS: u32 = 24;
const STEP_BITS: u32 = 17;
const MAX_STEPS: usize = 65_534;
const TILE_MASK: u64 = (1 << TILE_BITS) - 1;
const STEP_MASK: u64 = (1 << STEP_BITS) - 1;

/// The weights that steps read.
///
/// # Safety
/// `bytes` returns the same bytes at the same address on every call, for as long as the value lives, wherever
/// it is moved.
pub unsafe trait Weights: Send + Sync {
    /// The weights section, [`READ_SLACK`] bytes of padding at its end included, aligned to 64 bytes.
    fn bytes(&self) -> &[u8];
}

// SAFETY: an arena owns its memory, which never moves, and `bytes_mut` needs exclusive access.
unsafe impl Weights for Arena {
    fn bytes(&self) -> &[u8] {
        Self::bytes(self)
    }
}

/// The lane of the thread that leads.
const LEADER: usize = 0;

/// Most threads of a run.
pub const MAX_THREADS: usize = 256;

struct Shared {
    kernels: Vec<Box<dyn Kernel>>,
    stages: Vec<Stage>,
    arena: Arena,
    /// A stretch of `scratch_each` bytes for the leader and one for each seat.
    scratch: Arena,
    scratch_each: usize,
    /// One for each thread that may help; whoever helps has taken one.
    seats: Box<[AtomicBool]>,
    weights: Arc<dyn Weights>,
    /// Of each thread's share run, step and next tile: see [`TILE_BITS`]. The leader's first.
    cursors: Box<[CachePadded<AtomicU64>]>,
    /// Tiles of the published step that are done.
    done: AtomicUsize,
    /// Whether a run is on: helpers stay as long as it is.
    running: AtomicBool,
    /// Whether some tile panicked; the session is of no use then.
    poisoned: AtomicBool,
    /// Helpers asleep in `assist`, and whether the leader sleeps.
    sleepers: AtomicU32,
    leader_sleeps: AtomicBool,
    lock: Mutex<()>,
    helpers_wake: Condvar,
    leader_wakes: Condvar,
}

/// What went wrong when making or running a leader.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExecError {
    #[error(transparent)]
    Step(#[from] PrepareError),
    #[error("there is no memory for an arena of {0} bytes")]
    NoMemory(u64),
    #[error("the weights are not aligned to 64 bytes")]
    Misaligned,
    #[error("the weights lack {READ_SLACK} bytes of padding")]
    NoPadding,
    #[error("{0} steps are more than a program may have ({MAX_STEPS})")]
    TooManySteps(usize),
    #[error("step {0} has more tiles than a step may have")]
    TooManyTiles(usize),
    #[error("{0} threads; from 1 to {MAX_THREADS} are possible")]
    Threads(usize),
    #[error("a kernel panicked in an earlier run; open a new session")]
    Poisoned,
}

/// Called around every step of a profiled run.
pub trait Observer {
    /// A step has ended, after this many nanoseconds.
    fn step(&mut self, index: usize, nanoseconds: u64);
}

/// The owner of an arena and its runs.
pub struct Leader {
    shared: Arc<Shared>,
    runs: u64,
}

/// The share of a run that other threads see.
#[derive(Clone)]
pub struct Helper {
    shared: Arc<Shared>,
}

impl Leader {
    /// Prepares every step for `cpu` and takes all the memory that running on `threads` threads needs: the arena,
    /// and for each thread the scratch of the kernel that needs most, at most
    /// [`MAX_SCRATCH`](crate::kernel::MAX_SCRATCH).
    ///
    /// # Errors
    /// Names the step that does not fit its operands, or says what is wrong with the memory.
    pub fn new(
        program: &Program,
        weights: Arc<dyn Weights>,
        cpu: Cpu,
        threads: usize,
    ) -> Result<Self, ExecError> {
        Self::of_pages(program, weights, cpu, threads, Pages::Usual)
    }

    /// As [`Self::new`], with memory of these pages.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_pages(
        program: &Program,
        weights: Arc<dyn Weights>,
        cpu: Cpu,
        threads: usize,
        pages: Pages,
    ) -> Result<Self, ExecError> {
        // Some kernels transform their weights now.
        let _environment = Environment::default_until_dropped();
        if weights.bytes().len() < READ_SLACK {
            return Err(ExecError::NoPadding);
        }
        if !(weights.bytes().as_ptr() as usize).is_multiple_of(64) {
            return Err(ExecError::Misaligned);
        }
        let arena_bytes =
            usize::try_from(program.arena_bytes).map_err(|_| ExecError::NoMemory(program.arena_bytes))?;
        let limits = Limits { arena_bytes, weights: weights.bytes() };
        let kernels = program
            .steps
            .iter()
            .map(|step| prepare_for(step, &program.tensors, &limits, cpu, threads))
            .collect::<Result<Vec<_>, _>>()?;
        let stages = stages(program, &kernels, threads);
        Self::over(kernels, stages, arena_bytes, weights, threads, pages)
    }

    /// A leader of kernels that were prepared against these weights and an arena of this length.
    fn over(
        kernels: Vec<Box<dyn Kernel>>,
        stages: Vec<Stage>,
        arena_bytes: usize,
        weights: Arc<dyn Weights>,
        threads: usize,
        pages: Pages,
    ) -> Result<Self, ExecError> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(ExecError::Threads(threads));
        }
        if kernels.len() > MAX_STEPS {
            return Err(ExecError::TooManySteps(kernels.len()));
        }
        if let Some(index) = kernels.iter().position(|k| k.tiles() as u64 >= TILE_MASK) {
            return Err(ExecError::TooManyTiles(index));
        }
        if let Some(stage) = stages.iter().find(|s| s.tiles() as u64 >= TILE_MASK) {
            return Err(ExecError::TooManyTiles(stage.first_step()));
        }
        let arena = Arena::of_pages(arena_bytes, pages).ok_or(ExecError::NoMemory(arena_bytes as u64))?;
        let scratch_each =
            kernels.iter().map(|k| k.scratch()).max().unwrap_or(0).next_multiple_of(ARENA_ALIGN);
        let scratch_bytes = threads * scratch_each;
        let scratch =
            Arena::of_pages(scratch_bytes, pages).ok_or(ExecError::NoMemory(scratch_bytes as u64))?;
        Ok(Self {
            shared: Arc::new(Shared {
                kernels,
                stages,
                arena,
                scratch,
                scratch_each,
                seats: (1..threads).map(|_| AtomicBool::new(false)).collect(),
                weights,
                // A ticket whose tiles are all taken: run 0 does not exist.
                cursors: (0..threads).map(|_| CachePadded::new(AtomicU64::new(TILE_MASK))).collect(),
                done: AtomicUsize::new(0),
                running: AtomicBool::new(false),
                poisoned: AtomicBool::new(false),
                sleepers: AtomicU32::new(0),
                leader_sleeps: AtomicBool::new(false),
                lock: Mutex::new(()),
                helpers_wake: Condvar::new(),
                leader_wakes: Condvar::new(),
            }),
            runs: 0,
        })
    }

    /// A handle for a thread that will help.
    pub fn helper(&self) -> Helper {
        Helper { shared: Arc::clone(&self.shared) }
    }

    /// The kernels, in step order.
    pub fn kernels(&self) -> &[Box<dyn Kernel>] {
        &self.shared.kernels
    }

    /// Bytes of scratch of all threads.
    pub fn scratch_bytes(&self) -> usize {
        self.shared.scratch.len()
    }

    /// Whether there is anything for a second thread to do.
    pub fn is_parallel(&self) -> bool {
        !self.shared.stages.iter().all(Stage::is_for_one)
    }

    /// The arena, between runs or steps.
    pub fn arena(&self) -> &[u8] {
        self.shared.arena.bytes()
    }

    /// The arena, between runs, to change.
    pub fn arena_mut(&mut self) -> &mut [u8] {
        // SAFETY: outside `run` no tile is running (see the module), so `&mut self`, which excludes `run` and every
        // other borrow through this leader, makes the access exclusive. Helpers have no way to the bytes but tiles.
        unsafe { std::slice::from_raw_parts_mut(self.shared.arena.as_ptr(), self.shared.arena.len()) }
    }

    /// Runs every step.
    ///
    /// # Errors
    /// [`ExecError::Poisoned`] after a run in which a kernel panicked.
    pub fn run(&mut self) -> Result<(), ExecError> {
        let _environment = Environment::default_until_dropped();
        self.start()?;
        for index in 0..self.shared.stages.len() {
            self.publish(index);
        }
        self.finish()
    }

    /// Runs every step and tells `observer` how long each took.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_observed(&mut self, observer: &mut dyn Observer) -> Result<(), ExecError> {
        let _environment = Environment::default_until_dropped();
        self.start()?;
        for index in 0..self.shared.kernels.len() {
            let t = Instant::now();
            self.step(index);
            observer.step(index, u64::try_from(t.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        self.finish()
    }

    /// Runs every step and shows the arena in between: `look` is called with the number of steps done, from none to all.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_looking(&mut self, look: &mut dyn FnMut(usize, &[u8])) -> Result<(), ExecError> {
        let _environment = Environment::default_until_dropped();
        self.start()?;
        look(0, self.arena());
        for index in 0..self.shared.kernels.len() {
            self.step(index);
            // No tile is running between steps: see the module.
            look(index + 1, self.arena());
        }
        self.finish()
    }

    fn start(&mut self) -> Result<(), ExecError> {
        if self.shared.poisoned.load(Ordering::Acquire) {
            return Err(ExecError::Poisoned);
        }
        self.runs += 1;
        self.shared.running.store(true, Ordering::Release);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExecError> {
        let s = &*self.shared;
        // An exchange, as in `await_done`: a helper that is not woken here would sleep until the next run.
        s.running.swap(false, Ordering::SeqCst);
        s.wake_helpers();
        if s.poisoned.load(Ordering::Acquire) { Err(ExecError::Poisoned) } else { Ok(()) }
    }

    fn step(&mut self, index: usize) {
        self.publish(self.shared.stages.len() + index);
    }

    /// Does a stage, or what lies behind them, a step.
    fn publish(&mut self, index: usize) {
        let s = &*self.shared;
        let Some(work) = s.work(index) else { return };
        let tiles = work.tiles();
        if work.is_for_one() || s.seats.is_empty() {
            (0..tiles).for_each(|tile| s.tile(work, tile, LEADER));
            return;
        }
        s.done.store(0, Ordering::Relaxed);
        let ticket = (self.runs << STEP_BITS) | index as u64;
        // Publishes `done` with it. Sequentially consistent, as is the count of sleepers: either a helper that
        // goes to sleep sees this step, or this thread sees the sleeper. The run's number wraps after 2^23 runs;
        // that is harmless, since whoever takes a tile takes it of the step that the word itself names.
        for cursor in &s.cursors {
            cursor.store(ticket << TILE_BITS, Ordering::SeqCst);
        }
        s.wake_helpers();
        s.take_tiles((ticket << TILE_BITS) >> TILE_BITS, LEADER);
        s.await_done(tiles);
    }
}

impl Helper {
    /// Does tiles of the run that is on, until it ends. Returns at once when none is, or when as many threads help as
    /// the leader was made for.
    pub fn assist(&self) {
        let _environment = Environment::default_until_dropped();
        let s = &*self.shared;
        let Some(seat) = s.seats.iter().position(|seat| !seat.swap(true, Ordering::Acquire)) else { return };
        self.assist_from(seat + 1);
        s.seats[seat].store(false, Ordering::Release);
    }

    fn assist_from(&self, lane: usize) {
        let s = &*self.shared;
        // No ticket is all ones: steps are fewer than `STEP_MASK`.
        let mut seen = u64::MAX;
        let mut spins = 0;
        while s.running.load(Ordering::Acquire) {
            let ticket = s.cursors[lane].load(Ordering::Acquire) >> TILE_BITS;
            if ticket != seen {
                seen = ticket;
                spins = 0;
                s.take_tiles(ticket, lane);
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                s.sleep(seen, lane);
                spins = 0;
            }
        }
    }
}

/// What is published: a stage, or a step of a run that somebody looks at.
#[derive(Clone, Copy)]
enum Work<'a> {
    Stage(&'a Stage),
    Step(&'a dyn Kernel),
}

impl Work<'_> {
    fn tiles(&self) -> usize {
        match self {
            Self::Stage(stage) => stage.tiles(),
            Self::Step(kernel) => kernel.tiles(),
        }
    }

    /// Whether the leader does it alone.
    fn is_for_one(&self) -> bool {
        match self {
            Self::Stage(stage) => stage.is_for_one(),
            Self::Step(kernel) => kernel.tiles() <= 1,
        }
    }
}

impl Shared {
    /// The memory as the thread of `lane` sees it.
    fn mem(&self, lane: usize) -> Mem {
        // SAFETY: the scratch has `scratch_each` bytes for each lane: the leader's and one for each seat.
        let scratch = unsafe { self.scratch.as_ptr().add(lane * self.scratch_each) };
        Mem { arena: self.arena.as_ptr(), weights: self.weights.bytes().as_ptr(), scratch }
    }

    /// The stage or step that a ticket or the leader means.
    fn work(&self, index: usize) -> Option<Work<'_>> {
        match self.stages.get(index) {
            Some(stage) => Some(Work::Stage(stage)),
            None => self.kernels.get(index - self.stages.len()).map(|kernel| Work::Step(&**kernel)),
        }
    }

    /// Does one tile; a panic poisons the session instead of unwinding through it.
    fn tile(&self, work: Work<'_>, tile: usize, lane: usize) {
        let mem = self.mem(lane);
        // SAFETY: the kernels were prepared in `Leader::new` against this arena and these weights; the caller owns the
        // tile, having taken it from the cursor or being the leader at what is for one thread; stages follow one
        // another, and of one stage no tile touches what another one writes; and the caller alone has the lane.
        let run = || unsafe {
            match work {
                Work::Step(kernel) => kernel.run_tile(&mem, tile),
                Work::Stage(stage) => stage.run_tile(&self.kernels, &mem, tile),
            }
        };
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
    }

    /// Takes tiles of the step of this ticket until none is left, those of the thread's own share first.
    fn take_tiles(&self, ticket: u64, lane: usize) {
        let Some(work) = self.work((ticket & STEP_MASK) as usize) else { return };
        let (tiles, shares) = (work.tiles(), self.cursors.len());
        let mut own = 0;
        for share in (lane..shares).chain(0..lane) {
            let (first, end) = (share * tiles / shares, (share + 1) * tiles / shares);
            while let Some(next) = self.take(ticket, share, end - first) {
                self.tile(work, first + next, lane);
                own += 1;
            }
        }
        // Counted once: all threads write the word, and a write takes it away from the others.
        if own > 0
            && self.done.fetch_add(own, Ordering::SeqCst) + own == tiles
            && self.leader_sleeps.load(Ordering::SeqCst)
        {
            let _guard = self.guard();
            self.leader_wakes.notify_one();
        }
    }

    /// Takes the next tile of a share of `tiles`, if it is of this ticket's step and one is left.
    fn take(&self, ticket: u64, share: usize, tiles: usize) -> Option<usize> {
        let cursor = &self.cursors[share];
        // The word is looked at before it is incremented, so that idle threads do not run it over.
        let mut word = cursor.load(Ordering::Acquire);
        loop {
            let next = (word & TILE_MASK) as usize;
            if word >> TILE_BITS != ticket || next >= tiles {
                return None;
            }
            match cursor.compare_exchange_weak(word, word + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(next),
                Err(now) => word = now,
            }
        }
    }

    fn guard(&self) -> std::sync::MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn await_done(&self, tiles: usize) {
        for _ in 0..SPINS {
            if self.done.load(Ordering::Acquire) == tiles {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.guard();
        // An exchange, where a store would do: under QEMU 7.2 on x86-64 the load below passes one, and the wake is lost.
        self.leader_sleeps.swap(true, Ordering::SeqCst);
        while self.done.load(Ordering::SeqCst) != tiles {
            guard = self.leader_wakes.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        self.leader_sleeps.store(false, Ordering::SeqCst);
    }

    fn wake_helpers(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = self.guard();
            self.helpers_wake.notify_all();
        }
    }

    /// Sleeps until a step other than that of ticket `seen` is published or the run ends.
    fn sleep(&self, seen: u64, lane: usize) {
        let mut guard = self.guard();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let is_seen = || self.cursors[lane].load(Ordering::SeqCst) >> TILE_BITS == seen;
        while self.running.load(Ordering::SeqCst) && is_seen() {
            guard = self.helpers_wake.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
