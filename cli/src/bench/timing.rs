//! Times of single runs, without those that were interrupted.
//!
//! A process that is stopped, or whose machine is suspended, computes nothing while the clock goes on. Such a run says
//! nothing of the model. It is known by this: for a quarter of a second at least, and for most of the run, no thread of the
//! process used the processor. Shorter waits (a scheduler's turn, the 100 ms of a control group's quota) are what users get,
//! and count.

use std::time::{Duration, Instant};

use cygnet::Session;
use serde_json::{Value, json};

use crate::arrays::{Input, set_inputs};
use crate::common::CliError;
use crate::process;

/// The least time without work that is an interruption.
const LEAST: Duration = Duration::from_millis(250);

/// What interrupted runs took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interrupted {
    pub runs: usize,
    pub time: Duration,
}

impl Interrupted {
    /// A line for people; none where there was none.
    pub fn line(&self) -> Option<String> {
        (self.runs > 0).then(|| {
            format!("{} runs, {:.1} s: stopped or suspended; left out", self.runs, self.time.as_secs_f64())
        })
    }

    pub fn json(&self) -> Value {
        json!({ "runs": self.runs, "seconds": self.time.as_secs_f64() })
    }
}

/// The time of a run; inputs are set before.
pub fn timed(session: &mut Session, inputs: &[Input]) -> Result<Duration, CliError> {
    set_inputs(session, inputs)?;
    let started = Instant::now();
    session.run()?;
    Ok(started.elapsed())
}

/// As [`timed`]; `None`, and a note in `seen`, where it was interrupted.
pub fn uninterrupted(
    session: &mut Session,
    inputs: &[Input],
    seen: &mut Interrupted,
) -> Result<Option<Duration>, CliError> {
    let begin = Instant::now();
    let worked = process::cpu_time();
    let time = timed(session, inputs)?;
    // Setting inputs is looked at too: the clock goes on there as well.
    let whole = begin.elapsed();
    if !is_interrupted(whole, || process::cpu_time().zip(worked).map(|(now, then)| now.saturating_sub(then)))
    {
        return Ok(Some(time));
    }
    seen.runs += 1;
    seen.time += whole;
    Ok(None)
}

/// Whether a stretch with so much work of the processor was interrupted. Work is asked for where it matters.
fn is_interrupted(whole: Duration, work: impl Fn() -> Option<Duration>) -> bool {
    whole >= LEAST && work().is_some_and(|work| whole.saturating_sub(work) >= LEAST.max(whole / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_a_long_time_without_work() {
        let ms = Duration::from_millis;
        let case = |whole, work| is_interrupted(ms(whole), || Some(ms(work)));
        assert!(case(5000, 20) && case(300, 10));
        // Short; a slow model; two threads that waited for each other; a machine shared with others.
        assert!(!case(240, 0) && !case(5000, 5000) && !case(1000, 1900) && !case(1000, 600));
        assert!(!is_interrupted(ms(5000), || None), "a system that tells no time of the processor");
    }
}
