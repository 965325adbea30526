//! Keeps workers off the core of the thread that calls them.
//!
//! Linux may wake a thread on its waker's core though another one is idle: where an idle core has left a virtual machine,
//! and where all cores were busy of late and it does not look for an idle one. Such a worker waits for its caller, takes
//! the caller's time to find nothing to do, and is there again at the next run. So a worker may run on all its cores but
//! the one from which it is called, where as many others are left as there are workers; when the caller moves, so does
//! the exception.

pub(crate) use system::{Place, here};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::sync::{Mutex, PoisonError};

    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// The core of the calling thread.
    pub fn here() -> usize {
        sched_getcpu()
    }

    /// Where a worker may run.
    pub struct Place {
        thread: Pid,
        exception: Mutex<Option<Exception>>,
    }

    struct Exception {
        core: usize,
        /// The worker's cores before, and less the one.
        all: CpuSet,
        rest: CpuSet,
    }

    impl Place {
        /// The calling thread's.
        pub fn of_caller() -> Self {
            Self { thread: gettid(), exception: Mutex::new(None) }
        }

        /// From now on the worker, one of so many, may not run on `core`, and again on the one before; it may where that
        /// would leave fewer cores than workers.
        pub fn keep_off(&self, core: usize, workers: usize) {
            let mut exception = self.exception.lock().unwrap_or_else(PoisonError::into_inner);
            if exception.as_ref().is_some_and(|e| e.core == core) || core >= CpuSet::MAX_CPU {
                return;
            }
            let Ok(now) = sched_getaffinity(Some(self.thread)) else { return };
            // Somebody else may have set the mask since: then that is what the worker has.
            let all = exception.as_ref().filter(|e| e.rest == now).map_or(now, |e| e.all);
            let mut rest = all;
            rest.unset(core);
            if (rest.count() as usize) < workers {
                rest = all;
            }
            // A thread that may not be moved is slower, not wrong.
            if rest == now || sched_setaffinity(Some(self.thread), &rest).is_ok() {
                *exception = Some(Exception { core, all, rest });
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn mask() -> CpuSet {
            sched_getaffinity(None).unwrap()
        }

        fn cores(mask: &CpuSet) -> Vec<usize> {
            (0..CpuSet::MAX_CPU).filter(|&core| mask.is_set(core)).collect()
        }

        #[test]
        fn the_callers_core_is_left_and_the_one_before_taken_back() {
            let all = cores(&mask());
            let place = Place::of_caller();
            for &core in &all {
                place.keep_off(core, 1);
                let rest: Vec<_> = all.iter().copied().filter(|&c| c != core || all.len() == 1).collect();
                assert_eq!(cores(&mask()), rest);
                assert!(rest.contains(&here()), "the thread was moved");
            }
            // On a core that is not its own the caller is in nobody's way.
            place.keep_off(CpuSet::MAX_CPU - 1, 1);
            assert_eq!(cores(&mask()), all);
            // Workers enough for all cores share them with the caller.
            place.keep_off(all[0], all.len());
            assert_eq!(cores(&mask()), all);
        }

        #[test]
        fn a_mask_set_by_others_stands() {
            let all = cores(&mask());
            let place = Place::of_caller();
            place.keep_off(all[0], 1);
            let mut one = CpuSet::new();
            one.set(all[0]);
            sched_setaffinity(None, &one).unwrap();
            place.keep_off(all[all.len() - 1], 1);
            assert_eq!(cores(&mask()), [all[0]]);
            place.keep_off(all[0], 1);
            assert_eq!(cores(&mask()), [all[0]], "the only core is kept");
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    pub fn here() -> usize {
        0
    }

    pub struct Place;

    impl Place {
        pub fn of_caller() -> Self {
            Self
        }

        pub fn keep_off(&self, _: usize, _: usize) {}
    }
}
