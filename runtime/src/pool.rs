//! Threads that help sessions run.
//!
//! A pool has its workers for as long as it lives. A session that runs offers its helper to workers that are
//! free; each does tiles until the run ends. Who does which tile never changes a result. A worker without work looks
//! for some tens of microseconds, then sleeps and uses no processor time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_utils::CachePadded;
use crossbeam_utils::sync::{Parker, Unparker};
use cygnet_kernels::exec::Helper;

use crate::affinity;
use crate::error::Error;
use crate::spread::{Place, here};
use crate::topology::Topology;

/// Most threads of a pool, the caller's included.
pub use cygnet_kernels::exec::MAX_THREADS;

/// How often a worker looks for work before it sleeps: some 20 to 50 microseconds.
const SPINS: u32 = 4000;

/// What a pool is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolOptions {
    /// Threads that work on a run, the one that calls it included. By default, as many as `cores` are given,
    /// else as there are big cores (see [`Topology::big`]) that the process may use.
    pub threads: Option<usize>,
    /// The cores to use, one for each thread: the first is the calling thread's (see [`Pool::bind_caller`]),
    /// the others are the workers' in turn. By default, workers may run on any of the fastest cores, as many
    /// as there are threads; on a machine of equal cores they are not bound.
    pub cores: Option<Vec<usize>>,
}

/// Worker threads, for one session or several.
pub struct Pool {
    workers: Vec<Worker>,
    caller: Vec<usize>,
}

struct Worker {
    seat: Arc<CachePadded<Seat>>,
    unparker: Unparker,
    thread: Option<JoinHandle<()>>,
}

/// A worker's mailbox. `job` is filled by whoever moved `state` from FREE to OFFERING, and emptied by the worker.
struct Seat {
    state: AtomicU32,
    job: Mutex<Option<Helper>>,
    /// The worker sets it when it starts.
    place: OnceLock<Place>,
}

const FREE: u32 = 0;
const OFFERING: u32 = 1;
const OFFERED: u32 = 2;
const QUIT: u32 = 3;

impl Pool {
    /// Starts the workers.
    ///
    /// # Errors
    /// When threads or cores make no sense on this machine, or a thread cannot be started.
    pub fn new(options: &PoolOptions) -> Result<Self, Error> {
        let Placement { workers, caller } = place(options, &Topology::system())?;
        let workers = workers.into_iter().enumerate().map(|(i, cores)| Worker::start(i, cores));
        Ok(Self { workers: workers.collect::<Result<_, _>>()?, caller })
    }

    /// Threads that work on a run, the calling one included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Binds the calling thread to the first of the chosen cores, where cores are chosen and the system allows.
    /// For a program of one's own; a library should leave its caller's thread alone.
    pub fn bind_caller(&self) -> bool {
        affinity::bind(&self.caller)
    }

    /// Offers a run to as many as `most` free workers. Takes no lock that is held by anyone for longer than a
    /// move, and allocates nothing.
    pub(crate) fn offer(&self, helper: &Helper, most: usize) {
        let free = |worker: &&Worker| {
            let state = &worker.seat.state;
            state.compare_exchange(FREE, OFFERING, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        for worker in self.workers.iter().filter(free).take(most) {
            *worker.seat.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(helper.clone());
            if let Some(place) = worker.seat.place.get() {
                place.keep_off(here(), self.workers.len());
            }
            worker.seat.state.store(OFFERED, Ordering::Release);
            worker.unparker.unpark();
        }
    }
}

impl Worker {
    fn start(index: usize, cores: Vec<usize>) -> Result<Self, Error> {
        let seat = Seat { state: AtomicU32::new(FREE), job: Mutex::new(None), place: OnceLock::new() };
        let seat = Arc::new(CachePadded::new(seat));
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let shared = Arc::clone(&seat);
        let thread = thread::Builder::new()
            .name(format!("cygnet-{}", index + 1))
            .spawn(move || {
                affinity::bind(&cores);
                work(&shared, &parker);
            })
            .map_err(Error::Spawn)?;
        Ok(Self { seat, unparker, thread: Some(thread) })
    }
}

fn work(seat: &Seat, parker: &Parker) {
    seat.place.get_or_init(Place::of_caller);
    let mut idle = 0;
    loop {
        match seat.state.load(Ordering::Acquire) {
            OFFERED => {
                idle = 0;
                let job = seat.job.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(helper) = job {
                    helper.assist();
                }
                // Fails when the pool is being dropped: then the state is QUIT and stays so.
                let _ = seat.state.compare_exchange(OFFERED, FREE, Ordering::Release, Ordering::Relaxed);
            }
            QUIT => return,
            _ if idle < SPINS => {
                idle += 1;
                std::hint::spin_loop();
            }
            // An unpark before this is remembered: no offer is slept over.
            _ => parker.park(),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.seat.state.store(QUIT, Ordering::Release);
            worker.unparker.unpark();
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker that panicked has nothing left to be waited for.
                let _ = thread.join();
            }
        }
    }
}

/// Where threads go: the cores of the caller and of each worker; no cores, not bound.
#[derive(Debug, PartialEq, Eq)]
struct Placement {
    caller: Vec<usize>,
    workers: Vec<Vec<usize>>,
}

fn place(options: &PoolOptions, topology: &Topology) -> Result<Placement, Error> {
    let ids = |cores: &[crate::topology::Core]| cores.iter().map(|core| core.id).collect::<Vec<_>>();
    if let Some(threads) = options.threads
        && !(1..=MAX_THREADS).contains(&threads)
    {
        return Err(Error::Threads(threads));
    }
    if let Some(cores) = &options.cores {
        if !(1..=MAX_THREADS).contains(&cores.len()) {
            return Err(Error::Threads(cores.len()));
        }
        let threads = options.threads.unwrap_or(cores.len());
        if threads != cores.len() {
            return Err(Error::CoresForThreads { threads, cores: cores.len() });
        }
        let mut allowed = ids(&topology.cores);
        allowed.sort_unstable();
        if let Some(&core) = cores.iter().find(|core| !allowed.contains(core)) {
            return Err(Error::Core { core, allowed });
        }
        let one = |&core: &usize| vec![core];
        return Ok(Placement { caller: vec![cores[0]], workers: cores[1..].iter().map(one).collect() });
    }
    let threads = options.threads.unwrap_or_else(|| {
        let quota = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        topology.big().len().clamp(1, quota.min(MAX_THREADS))
    });
    // Binding costs more than it gives where all cores are equal or all are used: the scheduler cannot then make
    // room for others.
    let bound = !topology.is_uniform() && threads < topology.cores.len();
    let set = if bound { ids(&topology.cores[..threads]) } else { Vec::new() };
    Ok(Placement { workers: vec![set.clone(); threads - 1], caller: set })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Core;

    fn topology(speeds: &[u64]) -> Topology {
        let cores = speeds.iter().enumerate().map(|(id, &speed)| Core { id, speed }).collect();
        Topology { cores }
    }

    #[test]
    fn chosen_cores_go_one_to_a_thread() {
        let options = PoolOptions { threads: None, cores: Some(vec![3, 1, 2]) };
        let placed = place(&options, &topology(&[1, 1, 1, 1])).unwrap();
        assert_eq!(placed, Placement { caller: vec![3], workers: vec![vec![1], vec![2]] });
        let outside = PoolOptions { threads: None, cores: Some(vec![4]) };
        assert!(matches!(place(&outside, &topology(&[1, 1])), Err(Error::Core { core: 4, .. })));
        let unlike = PoolOptions { threads: Some(3), cores: Some(vec![0, 1]) };
        assert!(matches!(place(&unlike, &topology(&[1, 1])), Err(Error::CoresForThreads { .. })));
    }

    #[test]
    fn unlike_cores_keep_threads_on_the_fastest() {
        let options = PoolOptions { threads: Some(2), cores: None };
        let placed = place(&options, &topology(&[1024, 1024, 400, 400])).unwrap();
        assert_eq!(placed, Placement { caller: vec![0, 1], workers: vec![vec![0, 1]] });
        let equal = place(&options, &topology(&[5, 5, 5, 5])).unwrap();
        assert_eq!(equal, Placement { caller: vec![], workers: vec![vec![]] });
    }

    #[test]
    fn thread_counts_have_bounds() {
        for threads in [0, MAX_THREADS + 1] {
            let options = PoolOptions { threads: Some(threads), cores: None };
            assert!(matches!(place(&options, &topology(&[1])), Err(Error::Threads(n)) if n == threads));
        }
    }

    #[test]
    fn dropping_joins_workers() {
        let pool = Pool::new(&PoolOptions { threads: Some(4), cores: None }).unwrap();
        assert_eq!(pool.threads(), 4);
        let seats: Vec<_> = pool.workers.iter().map(|w| Arc::downgrade(&w.seat)).collect();
        drop(pool);
        assert!(seats.iter().all(|seat| seat.upgrade().is_none()), "a worker still holds its seat");
    }
}
