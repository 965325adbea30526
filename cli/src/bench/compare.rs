//! Two models in turn, so that whatever the machine does meets both.

use std::io::Write;
use std::time::{Duration, Instant};

use cygnet::Session;
use serde_json::{Value, json};

use super::monitor::{Monitor, Seen};
use super::times::{Sorted, ms};
use super::timing::{Interrupted, uninterrupted};
use crate::arrays::Input;
use crate::common::CliError;

/// Times of both, and of how many pairs the second was the faster one.
pub struct Compared {
    names: [String; 2],
    times: [Sorted; 2],
    /// Quotients first / second of the pairs, ascending.
    quotients: Vec<f64>,
    seen: Seen,
}

/// One model, ready to run.
pub struct Side {
    pub name: String,
    pub session: Session,
    pub inputs: Vec<Input>,
}

/// Runs both in turn, each first in every other pair, for `runs` pairs, or as many as 5 seconds allow, from 10 to 1000.
pub fn compare(
    sides: &mut [Side; 2],
    runs: Option<u32>,
    monitor: &mut Monitor,
) -> Result<Compared, CliError> {
    let begin = Instant::now();
    let (mut pairs, mut order, mut interrupted) = (Vec::new(), [0, 1], Interrupted::default());
    let enough = |done: usize| match runs {
        Some(n) => done >= n as usize,
        None => done >= 1000 || (done >= 10 && begin.elapsed() > Duration::from_secs(5)),
    };
    while !enough(pairs.len()) {
        let mut pair = [None; 2];
        for i in order {
            let side = &mut sides[i];
            pair[i] = uninterrupted(&mut side.session, &side.inputs, &mut interrupted)?;
        }
        if let [Some(first), Some(second)] = pair {
            pairs.push([first, second]);
        }
        order.reverse();
        monitor.tick();
    }
    let seen = monitor.take();
    let names = sides.each_ref().map(|side| side.name.clone());
    Ok(Compared::new(names, &pairs, seen))
}

impl Compared {
    fn new(names: [String; 2], pairs: &[[Duration; 2]], seen: Seen) -> Self {
        let mut quotients: Vec<f64> = pairs.iter().map(|[a, b]| ms(*a) / ms(*b).max(1e-9)).collect();
        quotients.sort_by(f64::total_cmp);
        let times = [0, 1].map(|i| Sorted::new(pairs.iter().map(|pair| pair[i]).collect()));
        Self { names, times, quotients, seen }
    }

    /// The median quotient, with the bounds that hold its true value with 95 % (order statistics of the binomial
    /// distribution, by its normal approximation).
    fn quotient(&self) -> [f64; 3] {
        let n = self.quotients.len();
        let half = 0.98 * (n as f64).sqrt();
        let at = |rank: f64| self.quotients[(rank.max(0.0) as usize).min(n - 1)];
        let middle = n as f64 / 2.0;
        [at(middle - half), at(middle), at(middle + half)]
    }

    fn share_won(&self) -> f64 {
        self.quotients.iter().filter(|q| **q > 1.0).count() as f64 / self.quotients.len() as f64
    }

    pub fn text(&self, monitor: &Monitor, out: &mut dyn Write) -> std::io::Result<()> {
        for (name, times) in self.names.iter().zip(&self.times) {
            let p = |percent| times.percentile(percent);
            writeln!(
                out,
                "p50 {:>9.3} ms, p90 {:.3}, p99 {:.3}, greatest {:.3}  {name}",
                p(50),
                p(90),
                p(99),
                p(100)
            )?;
        }
        let [low, middle, high] = self.quotient();
        let verdict = if low > 1.0 {
            "faster"
        } else if high < 1.0 {
            "slower"
        } else {
            "no difference that these runs can tell"
        };
        writeln!(
            out,
            "the second is {middle:.3} times as fast as the first (95 %: {low:.3} to {high:.3}; ahead in {:.0} % of {} pairs): {verdict}",
            100.0 * self.share_won(),
            self.quotients.len()
        )?;
        writeln!(out, "machine     {}", self.seen.line(monitor.clusters()))
    }

    pub fn json(&self, monitor: &Monitor) -> Value {
        let side = |(name, times): (&String, &Sorted)| {
            let p = |percent| times.percentile(percent);
            json!({ "model": name, "latency_ms": { "p50": p(50), "p90": p(90), "p99": p(99), "min": p(0), "max": p(100), "mean": times.mean() } })
        };
        let [low, middle, high] = self.quotient();
        json!({
            "schema": "cygnet-bench-compare-1",
            "pairs": self.quotients.len(),
            "sides": self.names.iter().zip(&self.times).map(side).collect::<Vec<_>>(),
            "speedup": { "p50": middle, "low95": low, "high95": high, "share_won": self.share_won() },
            "machine": self.seen.json(monitor.clusters()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_of_pairs() {
        let pairs: Vec<_> =
            (0..100).map(|i| [Duration::from_millis(20 + i % 3), Duration::from_millis(10)]).collect();
        let c = Compared::new(["a".into(), "b".into()], &pairs, Seen::default());
        assert_eq!((c.quotient()[1], c.share_won()), (2.1, 1.0));
        assert!(c.quotient()[0] <= 2.1 && c.quotient()[2] >= 2.1);
        let even: Vec<_> =
            (0..100).map(|i| [Duration::from_millis(9 + i % 3), Duration::from_millis(10)]).collect();
        let [low, _, high] = Compared::new(["a".into(), "b".into()], &even, Seen::default()).quotient();
        assert!(low <= 1.0 && high >= 1.0, "{low} {high}");
    }
}
