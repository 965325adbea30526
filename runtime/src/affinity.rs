//! Which cores threads may run on, where the system lets that be asked and set.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub fn allowed() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
        (0..CpuSet::MAX_CPU).filter(|&id| set.is_set(id)).collect()
    }

    pub fn bind(cores: &[usize]) -> bool {
        let mut set = CpuSet::new();
        for &id in cores.iter().filter(|&&id| id < CpuSet::MAX_CPU) {
            set.set(id);
        }
        sched_setaffinity(None, &set).is_ok()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    pub fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub fn bind(_: &[usize]) -> bool {
        false
    }
}

/// The cores that this thread may run on; empty when the system does not say.
pub(crate) fn allowed() -> Vec<usize> {
    system::allowed()
}

/// Keeps this thread on `cores`. Returns whether the system did it; a thread elsewhere is slower, not wrong.
pub(crate) fn bind(cores: &[usize]) -> bool {
    !cores.is_empty() && system::bind(cores)
}
