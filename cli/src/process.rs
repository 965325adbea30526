//! What the system knows about this process.

/// A figure of `/proc/self/status` in bytes: `VmHWM` (peak) or `VmRSS` (now); `None` where there is no such file.
pub fn memory(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Processor time of all threads of this process, in milliseconds; 0 where the system does not say.
pub fn cpu_ms() -> f64 {
    clock::ms(clock::Clock::Process)
}

/// Time since the system started, in seconds, the clock that scripts measure from; 0 where the system does not say.
pub fn monotonic_s() -> f64 {
    clock::ms(clock::Clock::Monotonic) / 1e3
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod clock {
    use rustix::time::{ClockId, clock_gettime};

    pub enum Clock {
        Process,
        Monotonic,
    }

    pub fn ms(clock: Clock) -> f64 {
        let id = match clock {
            Clock::Process => ClockId::ProcessCPUTime,
            Clock::Monotonic => ClockId::Monotonic,
        };
        let t = clock_gettime(id);
        t.tv_sec as f64 * 1e3 + t.tv_nsec as f64 / 1e6
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod clock {
    pub enum Clock {
        Process,
        Monotonic,
    }

    pub fn ms(_: Clock) -> f64 {
        0.0
    }
}
