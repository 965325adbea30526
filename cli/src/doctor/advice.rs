//! What to change on a machine, and the command that changes it.

use super::Machine;
use crate::device::heat;
use crate::device::ranges;

/// One piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// A word for scripts, which stays.
    pub code: &'static str,
    pub text: String,
}

/// Everything that stands between this machine and steady, fast inference, the gravest first.
pub fn advice(m: &Machine) -> Vec<Advice> {
    let mut all = Vec::new();
    let mut say = |code, text: String| all.push(Advice { code, text });
    let slowed =
        |word: &str| m.throttling.now.iter().chain(&m.throttling.since_start).any(|t| t.contains(word));
    if slowed("under-voltage") {
        say("power-supply", "the supply voltage fell too low, and the clock with it: use the maker's power supply and a short cable".into());
    }
    heat_advice(m, &mut say);
    for cluster in &m.clusters {
        let cores = ranges(&cluster.ids);
        let clock = &cluster.clock;
        if let (Some(max), Some(limit)) = (clock.max_mhz, clock.limit_mhz)
            && limit < max
        {
            let most = cpufreq(&cluster.clocked[..1], "cpuinfo_max_freq");
            let files = cpufreq(&cluster.clocked, "scaling_max_freq");
            say(
                "clock-limit",
                format!(
                    "cores {cores} are held to {limit} of {max} MHz: `cat {most} | sudo tee {files}` lifts a limit that heat did not set"
                ),
            );
        }
        let steady = clock.governors.iter().any(|g| g == "performance");
        if steady && let Some(governor) = clock.governor.as_ref().filter(|g| *g != "performance") {
            let files = cpufreq(&cluster.clocked, "scaling_governor");
            say(
                "governor",
                format!(
                    "governor '{governor}' of cores {cores} lets the clock fall between runs: `echo performance | sudo tee {files}` keeps latency steady"
                ),
            );
        }
    }
    thread_advice(m, &mut say);
    if let Some(load) = m.board.load
        && load > m.fast.len().max(1) as f64 * 0.5
    {
        say(
            "busy",
            format!("{load:.1} other tasks wanted to run in the last minute: stop them before measuring"),
        );
    }
    let memory = &m.board.memory;
    if memory.available.is_some_and(|bytes| bytes < 256 << 20) {
        say(
            "memory",
            "less than 256 MiB of memory are free: a model that is paged out stalls; stop what is not needed"
                .into(),
        );
    }
    if std::env::consts::ARCH == "arm"
        && m.is_here
        && m.clusters.iter().any(|c| c.known.is_some_and(|k| !ONLY_32_BIT.contains(&k.name)))
    {
        say(
            "32-bit",
            "this is the 32-bit program on a 64-bit processor: a 64-bit system runs the fast kernels".into(),
        );
    }
    if m.is_here && std::env::var("CYGNET_ISA").is_ok_and(|isa| !isa.is_empty()) {
        say(
            "isa",
            "CYGNET_ISA holds the kernels to an instruction set: unset it for the fastest ones".into(),
        );
    }
    all
}

/// Cores that run no 64-bit system.
const ONLY_32_BIT: [&str; 5] = ["cortex-a7", "cortex-a9", "cortex-a15", "cortex-a17", "krait"];

/// A file of the clocks that cores have, as a shell takes it.
fn cpufreq(cores: &[usize], file: &str) -> String {
    let numbers: Vec<String> = cores.iter().map(usize::to_string).collect();
    let numbers = match numbers.as_slice() {
        [one] => one.clone(),
        several => format!("{{{}}}", several.join(",")),
    };
    format!("/sys/devices/system/cpu/cpu{numbers}/cpufreq/{file}")
}

/// The temperature at which a Raspberry Pi's firmware begins to slow it down, from its documentation; its kernel does
/// not say.
const RASPBERRY_PI_LIMIT: f64 = 80.0;

/// Where this machine slows down: what its zone says, or what is documented.
pub fn slows_at(m: &Machine) -> Option<f64> {
    let zone = heat::processor(&m.zones)?;
    zone.throttles_at.or_else(|| m.board.model.starts_with("Raspberry Pi").then_some(RASPBERRY_PI_LIMIT))
}

fn heat_advice(m: &Machine, say: &mut impl FnMut(&'static str, String)) {
    let heat = |text: &String| !text.contains("under-voltage");
    let slowed: Vec<_> = m.throttling.now.iter().filter(|t| heat(t)).cloned().collect();
    if !slowed.is_empty() {
        say(
            "heat",
            format!(
                "the machine slows itself down now ({}): cool it, or run fewer threads",
                slowed.join(", ")
            ),
        );
    } else if let (Some(zone), Some(limit)) = (heat::processor(&m.zones), slows_at(m))
        && zone.celsius > limit - 8.0
    {
        say(
            "heat",
            format!(
                "{} is at {:.0} °C and slows down at {limit:.0}: cool it before measuring",
                zone.name, zone.celsius
            ),
        );
    }
}

fn thread_advice(m: &Machine, say: &mut impl FnMut(&'static str, String)) {
    let all: usize = m.clusters.iter().map(|c| c.ids.len()).sum();
    if let Some(quota) = m.limits.quota
        && quota < m.fast.len() as f64
    {
        let threads = m.threads();
        say(
            "quota",
            format!(
                "the control group allows {quota:.1} cores of time: use `--threads {threads}`, since more are stopped in the midst of a run"
            ),
        );
    }
    if !m.limits.cores.is_empty() && m.limits.cores.len() < all {
        say(
            "affinity",
            format!(
                "this process may use cores {} only: `taskset` or the service's settings lift that",
                ranges(&m.limits.cores)
            ),
        );
    } else if m.fast.len() < all && m.fast.len() > 1 {
        let fast = ranges(&m.fast);
        say(
            "cores",
            format!("threads go to the fast cores {fast} by default; `--cores {fast}` binds one to each"),
        );
    }
}
