//! The executor with kernels that count: every tile once in every run, whoever helps; a panic ends the session.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::stages::one_by_one;
use super::{ExecError, Leader};
use crate::arena::{Arena, Pages};
use crate::kernel::Kernel;
use crate::view::Mem;

/// Adds 1 to its own word of the arena in each tile, provided that the step before has done all of its own; panics
/// in tile `bad`.
struct Count {
    /// Words of the steps before.
    first: usize,
    tiles: usize,
    /// Words of the step before.
    before: usize,
    bad: Option<usize>,
    /// Idle work that makes tiles of unlike lengths.
    spin: usize,
}

// SAFETY: a tile writes its own word only, and reads those of the step before.
unsafe impl Kernel for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn tiles(&self) -> usize {
        self.tiles
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        assert!(self.bad != Some(tile), "a kernel that panics, for a test");
        (0..self.spin * (tile % 7)).for_each(|_| std::hint::spin_loop());
        // SAFETY: the arena holds the words of all steps.
        unsafe {
            let words = mem.arena.cast::<u32>();
            let mine = words.add(self.first + tile);
            let now = *mine + 1;
            for i in 0..self.before {
                let seen = *words.add(self.first - self.before + i);
                assert_eq!(seen, now, "tile {tile} began before the step before it had ended");
            }
            *mine = now;
        }
    }
}

fn leader(steps: &[(usize, Option<usize>, usize)], threads: usize) -> Leader {
    let (mut kernels, mut first, mut before): (Vec<Box<dyn Kernel>>, _, _) = (Vec::new(), 0, 0);
    for &(tiles, bad, spin) in steps {
        kernels.push(Box::new(Count { first, tiles, before, bad, spin }));
        first += tiles;
        before = tiles;
    }
    let stages = one_by_one(&kernels);
    Leader::over(kernels, stages, first * 4, Arc::new(Arena::new(64).unwrap()), threads, Pages::Usual)
        .unwrap()
}

fn words(leader: &Leader) -> Vec<u32> {
    leader.arena().as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect()
}

/// Runs `work` while `helpers` threads assist; fails instead of hanging.
fn with_helpers<T: Send + 'static>(
    mut leader: Leader,
    helpers: usize,
    work: impl FnOnce(&mut Leader) -> T + Send + 'static,
) -> (Leader, T) {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let stop = AtomicBool::new(false);
        let handles: Vec<_> = (0..helpers).map(|_| leader.helper()).collect();
        let result = std::thread::scope(|scope| {
            for helper in &handles {
                scope.spawn(|| {
                    while !stop.load(Ordering::Acquire) {
                        helper.assist();
                        std::thread::yield_now();
                    }
                });
            }
            let result = work(&mut leader);
            stop.store(true, Ordering::Release);
            result
        });
        send.send((leader, result)).unwrap();
    });
    receive.recv_timeout(Duration::from_secs(300)).expect("the executor hangs")
}

#[test]
fn every_tile_runs_once_in_every_run_and_steps_follow_one_another() {
    for helpers in 0..=4 {
        let steps = [(1, None, 0), (97, None, 0), (2, None, 50), (1, None, 0), (1, None, 0), (33, None, 20)];
        let (leader, ()) = with_helpers(leader(&steps, 1 + helpers), helpers, |leader| {
            for run in 1..=200 {
                assert_eq!(leader.run(), Ok(()));
                assert!(words(leader).iter().all(|&n| n == run), "run {run}");
            }
        });
        assert_eq!(words(&leader), [200; 135]);
    }
}

#[test]
fn helpers_that_sleep_between_long_tiles_wake_up() {
    // Steps of one long tile and a few short ones, so that both sides reach their condition variables.
    let steps = [(2, None, 200_000), (1, None, 0), (3, None, 100_000), (8, None, 10_000)];
    let (leader, ()) = with_helpers(leader(&steps, 4), 3, |leader| {
        for _ in 0..5 {
            assert_eq!(leader.run(), Ok(()));
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    assert_eq!(words(&leader), [5; 14]);
}

#[test]
fn a_panicking_kernel_poisons_the_session() {
    for helpers in [0, 2] {
        for bad in [0, 20, 39] {
            let (_, results) = with_helpers(leader(&[(40, Some(bad), 5)], 1 + helpers), helpers, |leader| {
                [leader.run(), leader.run()]
            });
            assert_eq!(results, [Err(ExecError::Poisoned), Err(ExecError::Poisoned)]);
        }
    }
    let (_, result) = with_helpers(leader(&[(1, Some(0), 0)], 2), 1, |leader| leader.run());
    assert_eq!(result, Err(ExecError::Poisoned));
}

#[test]
fn observers_see_every_step_in_order() {
    struct Seen(Vec<usize>);
    impl super::Observer for Seen {
        fn step(&mut self, index: usize, _: u64) {
            self.0.push(index);
        }
    }
    let mut seen = Seen(Vec::new());
    leader(&[(3, None, 0), (1, None, 0), (2, None, 0)], 1).run_observed(&mut seen).unwrap();
    assert_eq!(seen.0, [0, 1, 2]);
}

#[test]
fn assist_returns_when_nothing_runs() {
    let leader = leader(&[(4, None, 0)], 3);
    let returned = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                leader.helper().assist();
                returned.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(returned.into_inner(), 2);
}

#[test]
fn threads_at_work_have_scratch_of_their_own() {
    /// Fills its scratch with its tile's number, waits, and looks whether that is still there.
    struct Fill;
    const BYTES: usize = 100;
    // SAFETY: touches the thread's scratch only.
    unsafe impl Kernel for Fill {
        fn name(&self) -> &'static str {
            "fill"
        }

        fn tiles(&self) -> usize {
            60
        }

        fn scratch(&self) -> usize {
            BYTES
        }

        unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
            // SAFETY: as much was asked for.
            unsafe {
                mem.scratch.write_bytes(tile as u8, BYTES);
                (0..20_000).for_each(|_| std::hint::spin_loop());
                for i in 0..BYTES {
                    assert_eq!(mem.scratch.add(i).read_volatile(), tile as u8);
                }
            }
        }
    }
    // One thread more wants to help than the leader has scratch for.
    let kernels: Vec<Box<dyn Kernel>> = vec![Box::new(Fill)];
    let stages = one_by_one(&kernels);
    let leader =
        Leader::over(kernels, stages, 0, Arc::new(Arena::new(64).unwrap()), 3, Pages::Usual).unwrap();
    assert_eq!(leader.scratch_bytes(), 3 * 128);
    let (_, results) = with_helpers(leader, 3, |leader| [leader.run(), leader.run(), leader.run()]);
    assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn tiles_run_in_the_default_environment_whatever_threads_have_set() {
    use super::environment::tests::{WANT, in_hostile, results};

    struct Computes;
    // SAFETY: touches no memory.
    unsafe impl Kernel for Computes {
        fn name(&self) -> &'static str {
            "computes"
        }

        fn tiles(&self) -> usize {
            64
        }

        unsafe fn run_tile(&self, _: &Mem, _: usize) {
            (0..1000).for_each(|_| std::hint::spin_loop());
            assert_eq!(results(), WANT);
        }
    }
    let kernels: Vec<Box<dyn Kernel>> = vec![Box::new(Computes)];
    let stages = one_by_one(&kernels);
    let mut leader =
        Leader::over(kernels, stages, 0, Arc::new(Arena::new(64).unwrap()), 2, Pages::Usual).unwrap();
    let (helper, stop) = (leader.helper(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            in_hostile(|| {
                while !stop.load(Ordering::Acquire) {
                    helper.assist();
                }
            });
        });
        let results = in_hostile(|| {
            [leader.run(), leader.run_observed(&mut Ignored), leader.run_looking(&mut |_, _| {})]
        });
        stop.store(true, Ordering::Release);
        assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
    });
}

struct Ignored;

impl super::Observer for Ignored {
    fn step(&mut self, _: usize, _: u64) {}
}
