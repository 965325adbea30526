//! What the system knows about this process.

/// A figure of `/proc/self/status` in bytes: `VmHWM` (peak) or `VmRSS` (now); `None` where there is no such file.
pub fn memory(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What the process holds of the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of memory that are in use now.
    pub memory: Option<u64>,
    pub threads: Option<u64>,
    /// Open files.
    pub files: Option<u64>,
}

/// What it holds now.
pub fn held() -> Held {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok());
    let files = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
    Held { memory: memory("VmRSS"), threads, files }
}

impl Held {
    /// Both, for people.
    pub fn growth(&self, later: &Self) -> String {
        let change = |before: Option<u64>, after: Option<u64>, unit: &str| match (before, after) {
            (Some(before), Some(after)) => {
                format!("{} {unit} ({:+})", after, i128::from(after) - i128::from(before))
            }
            _ => format!("{unit} unknown"),
        };
        let kib = |bytes: Option<u64>| bytes.map(|b| b / 1024);
        format!(
            "held: {}, {}, {}",
            change(kib(self.memory), kib(later.memory), "KiB of memory"),
            change(self.threads, later.threads, "threads"),
            change(self.files, later.files, "files")
        )
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "rss_bytes": self.memory, "threads": self.threads, "files": self.files })
    }
}

/// Gives this thread, and those it starts, a priority.
pub fn set_priority(nice: i32) -> std::io::Result<()> {
    system::set_priority(nice)
}

/// Keeps all memory that the process has and will have in RAM.
pub fn lock_memory() -> std::io::Result<()> {
    system::lock_memory()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::setpriority_process;

    pub fn set_priority(nice: i32) -> std::io::Result<()> {
        Ok(setpriority_process(None, nice)?)
    }

    pub fn lock_memory() -> std::io::Result<()> {
        Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    pub fn set_priority(_: i32) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    pub fn lock_memory() -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// Processor time of all threads of this process; none where the system does not say.
pub fn cpu_time() -> Option<std::time::Duration> {
    clock::time(clock::Clock::Process)
}

/// Processor time of all threads of this process, in milliseconds; 0 where the system does not say.
#[cfg(feature = "device")]
pub fn cpu_ms() -> f64 {
    cpu_time().unwrap_or_default().as_secs_f64() * 1e3
}

/// Time since the system started, in seconds, the clock that scripts measure from; 0 where the system does not say.
#[cfg(feature = "device")]
pub fn monotonic_s() -> f64 {
    clock::time(clock::Clock::Monotonic).unwrap_or_default().as_secs_f64()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod clock {
    use rustix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    pub enum Clock {
        Process,
        #[cfg(feature = "device")]
        Monotonic,
    }

    pub fn time(clock: Clock) -> Option<Duration> {
        let id = match clock {
            Clock::Process => ClockId::ProcessCPUTime,
            #[cfg(feature = "device")]
            Clock::Monotonic => ClockId::Monotonic,
        };
        Duration::try_from(clock_gettime(id)).ok()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod clock {
    pub enum Clock {
        Process,
        #[cfg(feature = "device")]
        Monotonic,
    }

    pub fn time(_: Clock) -> Option<std::time::Duration> {
        None
    }
}
