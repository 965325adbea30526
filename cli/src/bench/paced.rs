//! Runs at a pace, as those of a camera's frames. Between them threads sleep, clocks fall and others take the caches, so
//! each begins late, by what waking this thread takes, and takes longer, by what waking the others takes.

use std::time::{Duration, Instant};

use cygnet::Session;
use serde_json::{Value, json};

use super::times::{Sorted, ms};
use super::timing::timed;
use crate::arrays::Input;
use crate::common::CliError;

/// Times of paced runs.
pub struct Paced {
    every: Duration,
    /// From when a run was due to when this thread was awake.
    late: Sorted,
    times: Sorted,
    /// Runs that were due while another one ran: left out.
    missed: usize,
}

/// Runs every so often: so many runs, or what three seconds hold, from 10 to 300.
pub fn paced(
    session: &mut Session,
    inputs: &[Input],
    every: Duration,
    runs: Option<u32>,
) -> Result<Paced, CliError> {
    let runs = runs.unwrap_or_else(|| (3.0 / every.as_secs_f64()).clamp(10.0, 300.0) as u32);
    let (mut late, mut times, mut missed) = (Vec::new(), Vec::new(), 0);
    let mut due = Instant::now();
    for _ in 0..runs {
        due += every;
        while due < Instant::now() {
            due += every;
            missed += 1;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        late.push(due.elapsed());
        times.push(timed(session, inputs)?);
    }
    Ok(Paced { every, late: Sorted::new(late), times: Sorted::new(times), missed })
}

impl Paced {
    /// What pauses add to the median run, in milliseconds.
    fn added(&self, unpaced: &Sorted) -> f64 {
        self.times.percentile(50) - unpaced.percentile(50)
    }

    /// For people, beside the runs without pauses.
    pub fn line(&self, unpaced: &Sorted) -> String {
        let late = |percent| self.late.percentile(percent);
        let time = |percent| self.times.percentile(percent);
        format!(
            "every {} ms: begun late by p50 {:.3} ms, p99 {:.3}, greatest {:.3}; runs p50 {:.3} ms ({:+.3} by the pauses), \
             p99 {:.3}, greatest {:.3}; {} missed of {}",
            ms(self.every),
            late(50),
            late(99),
            late(100),
            time(50),
            self.added(unpaced),
            time(99),
            time(100),
            self.missed,
            self.missed + self.times.len()
        )
    }

    pub fn json(&self, unpaced: &Sorted) -> Value {
        let spread = |t: &Sorted| {
            let p = |percent| t.percentile(percent);
            json!({ "p50": p(50), "p90": p(90), "p99": p(99), "max": p(100) })
        };
        json!({
            "every_ms": ms(self.every), "runs": self.times.len(), "missed": self.missed,
            "late_ms": spread(&self.late), "latency_ms": spread(&self.times), "added_ms": self.added(unpaced),
        })
    }
}
