//! The result of a measurement, as text and as JSON.

use std::io::Write;
use std::time::Duration;

use cygnet::profile::StepProfile;
use cygnet::{Profile, Session};
use serde_json::{Value, json};

use super::monitor::{Monitor, Seen};
use super::sustain::Sustained;
use super::times::{Sorted, ms};
use super::timing::Interrupted;
use super::{CLASSES, Paced};
use crate::common::{CliError, size};

/// What was measured.
pub struct Figures {
    pub load: Duration,
    pub prepare: Duration,
    pub first: Duration,
    /// Runs before the timed ones, and whether times became steady.
    pub warm: (usize, Option<bool>),
    pub times: Sorted,
    pub interrupted: Interrupted,
    /// The machine during the timed runs.
    pub seen: Seen,
    pub arena: u64,
    pub scratch: u64,
    pub file: u64,
    pub peak: Option<u64>,
    pub macs: u64,
    pub paced: Option<Paced>,
    pub sustained: Option<Sustained>,
}

impl Figures {
    fn rate(&self) -> f64 {
        1e3 / self.times.percentile(50).max(1e-9)
    }

    fn gmacs(&self) -> f64 {
        self.macs as f64 * self.rate() / 1e9
    }

    /// Energy of the whole sensor over the timed runs, for each of them.
    fn joules(&self) -> Option<f64> {
        self.seen.joules.map(|joules| joules / self.times.len().max(1) as f64)
    }

    pub fn text(&self, session: &Session, monitor: &Monitor, out: &mut dyn Write) -> Result<(), CliError> {
        let t = &self.times;
        let p = |percent| t.percentile(percent);
        let features = session.cpu().features();
        writeln!(out, "program '{}', {} threads, {features}", session.program().name, session.threads())?;
        writeln!(
            out,
            "latency     p50 {:.3} ms, p90 {:.3}, p99 {:.3}, least {:.3}, greatest {:.3}, mean {:.3} ± {:.3} ({} runs)",
            p(50),
            p(90),
            p(99),
            p(0),
            p(100),
            t.mean(),
            t.deviation(),
            t.len()
        )?;
        let counts: Vec<Option<f64>> = t.histogram(CLASSES).iter().map(|b| Some(b.count as f64)).collect();
        if counts.len() > 1 {
            for line in super::chart::bars(&counts, 3).lines() {
                writeln!(out, "  {line}")?;
            }
            writeln!(out, "{:>12} {:.3} ms to {:.3}, the last bar: later", "", p(0), p(99))?;
        }
        if let Some(line) = self.interrupted.line() {
            writeln!(out, "interrupted {line}")?;
        }
        writeln!(out, "throughput  {:.1} inferences/s, {:.2} GMAC/s", self.rate(), self.gmacs())?;
        match (self.joules(), monitor.meter()) {
            (Some(joules), Some(meter)) => {
                let watts = self.seen.watts().unwrap_or(0.0);
                writeln!(out, "energy      {:.3} mJ per inference, {watts:.2} W ({meter})", joules * 1e3)?;
            }
            _ => writeln!(out, "energy      no sensor")?,
        }
        writeln!(out, "machine     {}", self.seen.line(monitor.clusters()))?;
        let (load, prepare, first) = (ms(self.load), ms(self.prepare), ms(self.first));
        let warm = match self.warm {
            (runs, None) => format!("{runs} runs"),
            (runs, Some(true)) => format!("{runs} runs until steady"),
            (runs, Some(false)) => {
                format!("{runs} runs, and times were not steady: something else runs here")
            }
        };
        writeln!(
            out,
            "start       load {load:.2} ms, prepare {prepare:.2} ms, first inference {first:.2} ms; warm-up {warm}"
        )?;
        let peak = self.peak.map_or("unknown".to_owned(), size);
        let (arena, scratch, file) = (size(self.arena), size(self.scratch), size(self.file));
        writeln!(
            out,
            "memory      predicted {arena} arena + {scratch} scratch + {file} mapped file; process peak {peak}"
        )?;
        if let Some(paced) = &self.paced {
            writeln!(out, "paced       {}", paced.line(t))?;
        }
        if let Some(sustained) = &self.sustained {
            write!(out, "{}", sustained.text())?;
        }
        Ok(())
    }

    pub fn json(&self, session: &Session, monitor: &Monitor, profile: &Profile) -> Value {
        let p = |percent| self.times.percentile(percent);
        let bin = |b: &super::times::Bin| json!([b.from_ms, b.to_ms, b.count]);
        json!({
            "schema": "cygnet-bench-1",
            "program": session.program().name,
            "threads": session.threads(),
            "isa": session.cpu().features().to_string(),
            "runs": self.times.len(),
            "latency_ms": {
                "p50": p(50), "p90": p(90), "p99": p(99), "min": p(0), "max": p(100), "mean": self.times.mean(),
                "deviation": self.times.deviation(),
            },
            "histogram_ms": self.times.histogram(CLASSES).iter().map(bin).collect::<Vec<_>>(),
            "interrupted": self.interrupted.json(),
            "throughput_per_s": self.rate(),
            "gmac_per_s": self.gmacs(),
            "macs": self.macs,
            "joules_per_inference": self.joules(),
            "power_sensor": monitor.meter(),
            "machine": self.seen.json(monitor.clusters()),
            "load_ms": ms(self.load),
            "prepare_ms": ms(self.prepare),
            "first_ms": ms(self.first),
            "warmup": { "runs": self.warm.0, "steady": self.warm.1 },
            "arena_bytes": self.arena,
            "scratch_bytes": self.scratch,
            "file_bytes": self.file,
            "peak_rss_bytes": self.peak,
            "paced": self.paced.as_ref().map(|paced| paced.json(&self.times)),
            "sustained": self.sustained.as_ref().map(|sustained| sustained.json(monitor)),
            "profile": steps(profile),
        })
    }
}

/// What each step costs.
fn steps(profile: &Profile) -> Value {
    let us = |ns: f64| ns.round() / 1e3;
    let runs = profile.runs().max(1) as f64;
    let step = |(index, s): (usize, &StepProfile)| {
        json!({ "index": index, "name": s.name, "op": s.op, "kernel": s.kernel, "tiles": s.tiles, "macs": s.macs,
                "bytes": s.bytes, "mean_us": us(s.total_ns as f64 / runs), "best_us": us(s.best_ns as f64) })
    };
    let steps: Vec<_> = profile.steps().iter().enumerate().map(step).collect();
    json!({ "program": profile.program(), "runs": profile.runs(), "steps": steps })
}
