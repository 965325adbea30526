//! Running for a long time: what the machine holds, not what it reaches once.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::time::{Duration, Instant};

use cygnet::Session;
use serde_json::{Value, json};

use super::chart::{self, Curve, PANEL};
use super::monitor::{Monitor, Seen};
use super::times::{Sorted, ms};
use super::timing::{Interrupted, timed, uninterrupted};
use crate::arrays::Input;
use crate::common::{CliError, decimal, save};
use crate::process::{self, Held};

/// Times and state of one stretch.
pub struct Window {
    pub at: f64,
    pub runs: usize,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    pub seen: Seen,
}

/// All of it.
pub struct Sustained {
    pub windows: Vec<Window>,
    /// What the process held after the first stretch, and at the end.
    pub held: [Held; 2],
    pub interrupted: Interrupted,
}

/// Parses `90s`, `30m`, `2h`, or seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = seconds(text).filter(|s| (1.0..=1e7).contains(s));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "give a time of a second or more, as 90s, 30m or 2h".to_owned())
}

/// Parses `33ms`, `0.5s`, or seconds.
pub fn parse_period(text: &str) -> Result<Duration, String> {
    let seconds = seconds(text).filter(|s| (1e-3..=60.0).contains(s));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "give a time from a millisecond to a minute, as 33ms or 0.5s".to_owned())
}

fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    decimal(number.trim()).map(|n| n * factor)
}

/// Runs for `duration`, in stretches of a sixtieth of it, from half a second to half a minute.
///
/// After each, one run from the initial states: its outputs have to be the first one's, bit for bit.
pub fn sustain(
    session: &mut Session,
    inputs: &[Input],
    monitor: &mut Monitor,
    duration: Duration,
    quiet: bool,
) -> Result<Sustained, CliError> {
    let each = (duration / 60).clamp(Duration::from_millis(500), Duration::from_secs(30));
    let begin = Instant::now();
    let (mut windows, mut held, mut first) = (Vec::<Window>::new(), None, None);
    let mut interrupted = Interrupted::default();
    // Time that was lost is no part of the duration.
    while begin.elapsed() < duration + interrupted.time || windows.len() < 2 {
        let (started, lost) = (Instant::now(), interrupted.time);
        let mut times = Vec::new();
        while started.elapsed() < each + (interrupted.time - lost) || times.is_empty() {
            match uninterrupted(session, inputs, &mut interrupted)? {
                Some(time) => times.push(time),
                None => monitor.skip(),
            }
            monitor.tick();
        }
        let times = Sorted::new(times);
        windows.push(Window {
            at: begin.elapsed().as_secs_f64(),
            runs: times.len(),
            p50: times.percentile(50),
            p99: times.percentile(99),
            max: times.percentile(100),
            seen: monitor.take(),
        });
        session.reset();
        timed(session, inputs)?;
        let outputs = outputs(session)?;
        if first.get_or_insert_with(|| outputs.clone()) != &outputs {
            return Err(CliError::Failed(format!(
                "after {:.0} s the outputs are no longer the first run's bits; this machine computes wrong: check its \
                 memory, clock and cooling",
                begin.elapsed().as_secs_f64()
            )));
        }
        held.get_or_insert_with(process::held);
        if !quiet && let Some(window) = windows.last() {
            show(window, begin.elapsed(), duration);
        }
    }
    let now = process::held();
    Ok(Sustained { windows, held: [held.unwrap_or(now), now], interrupted })
}

fn outputs(session: &Session) -> Result<Vec<u8>, CliError> {
    let mut all = Vec::new();
    let names: Vec<&str> = session.outputs().map(|(name, _)| name).collect();
    for name in names {
        all.extend_from_slice(session.output(name)?.bytes);
    }
    Ok(all)
}

/// How far it is, on standard error: one line that is written over on a terminal, a line each elsewhere.
fn show(window: &Window, done: Duration, of: Duration) {
    let heat = window.seen.celsius.map_or(String::new(), |c| format!(", {c:.1} °C"));
    let line =
        format!("{:.0} of {:.0} s: p50 {:.3} ms{heat}", done.as_secs_f64(), of.as_secs_f64(), window.p50);
    if stderr().is_terminal() {
        let end = if done >= of { "\n" } else { "" };
        eprint!("\r{line}\x1b[K{end}");
    } else {
        eprintln!("{line}");
    }
}

impl Sustained {
    fn mean_p50(windows: &[Window]) -> f64 {
        windows.iter().map(|w| w.p50).sum::<f64>() / windows.len().max(1) as f64
    }

    /// Mean of the medians of the first and of the last quarter, in milliseconds.
    pub fn ends(&self) -> [f64; 2] {
        let quarter = self.windows.len().div_ceil(4);
        [
            Self::mean_p50(&self.windows[..quarter]),
            Self::mean_p50(&self.windows[self.windows.len() - quarter..]),
        ]
    }

    pub fn text(&self) -> String {
        let [first, last] = self.ends();
        let span = self.windows.last().map_or(0.0, |w| w.at);
        let curve: Vec<Option<f64>> = self.windows.iter().map(|w| Some(w.p50)).collect();
        let mut slowed: Vec<&str> =
            self.windows.iter().flat_map(|w| w.seen.slowed.iter().map(String::as_str)).collect();
        slowed.sort_unstable();
        slowed.dedup();
        let slowed = if slowed.is_empty() { "nothing".to_owned() } else { slowed.join(", ") };
        let [before, after] = &self.held;
        format!(
            "sustained   {span:.0} s: p50 {first:.3} ms in the first quarter, {last:.3} in the last ({:.0} % of the speed); \
             held down by {slowed}\n{}{}             the outputs kept their bits; {}{}\n",
            100.0 * first / last.max(1e-9),
            chart::bars(&curve, 6),
            format_args!("          └{}\n", "─".repeat(curve.len())),
            before.growth(after),
            self.interrupted.line().map_or(String::new(), |line| format!("; interrupted: {line}")),
        )
    }

    pub fn json(&self, monitor: &Monitor) -> Value {
        let window = |w: &Window| {
            json!({ "at_s": w.at, "runs": w.runs, "p50_ms": w.p50, "p99_ms": w.p99, "max_ms": w.max,
                    "machine": w.seen.json(monitor.clusters()) })
        };
        let [first, last] = self.ends();
        let [before, after] = &self.held;
        json!({
            "first_quarter_p50_ms": first, "last_quarter_p50_ms": last,
            "interrupted": self.interrupted.json(), "held_first": before.json(), "held_last": after.json(),
            "windows": self.windows.iter().map(window).collect::<Vec<_>>(),
        })
    }

    /// The curves as a picture: latency, temperature, clocks.
    pub fn svg(&self, monitor: &Monitor) -> String {
        const COLORS: [&str; 4] = ["#1f6fb2", "#c0504d", "#4f8f3a", "#8064a2"];
        let span = format!("{:.0} s", self.windows.last().map_or(0.0, |w| w.at));
        let curve = |name, color, value: &dyn Fn(&Window) -> Option<f64>| Curve {
            name,
            color,
            values: self.windows.iter().map(value).collect(),
        };
        let latency = [curve("p50", COLORS[0], &|w| Some(w.p50)), curve("p99", COLORS[1], &|w| Some(w.p99))];
        let mut panels = vec![chart::panel("latency", "ms", &span, &latency, 0.0)];
        let heat = curve("processor", COLORS[1], &|w| w.seen.celsius);
        if heat.values.iter().any(Option::is_some) {
            panels.push(chart::panel("temperature", "°C", &span, &[heat], PANEL));
        }
        let clocks: Vec<Curve<'_>> = monitor
            .clusters()
            .iter()
            .enumerate()
            .map(|(i, c)| curve(&c.core, COLORS[i % 4], &move |w| Some(w.seen.mhz.get(i).copied()??.1)))
            .collect();
        if clocks.iter().any(|c| c.values.iter().any(Option::is_some)) {
            panels.push(chart::panel("clock", "MHz", &span, &clocks, PANEL * panels.len() as f64));
        }
        chart::svg(&panels)
    }

    /// One line a stretch.
    pub fn csv(&self, monitor: &Monitor) -> String {
        let mut head = "at_s,runs,p50_ms,p99_ms,max_ms,celsius,watts,slowed".to_owned();
        for cluster in monitor.clusters() {
            head += &format!(",mhz_{}", cluster.ids[0]);
        }
        let mut out = head + "\n";
        let number = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.3}"));
        for w in &self.windows {
            out += &format!("{:.3},{},{:.4},{:.4},{:.4}", w.at, w.runs, w.p50, w.p99, w.max);
            out += &format!(
                ",{},{},{}",
                number(w.seen.celsius),
                number(w.seen.watts()),
                w.seen.slowed.join(";").replace(',', " ")
            );
            for mhz in &w.seen.mhz {
                out += &format!(",{}", number(mhz.map(|m| m.1)));
            }
            out.push('\n');
        }
        out
    }

    pub fn save(&self, monitor: &Monitor, svg: Option<&Path>, csv: Option<&Path>) -> Result<(), CliError> {
        if let Some(path) = svg {
            save(path, self.svg(monitor).as_bytes())?;
        }
        if let Some(path) = csv {
            save(path, self.csv(monitor).as_bytes())?;
        }
        Ok(())
    }
}

/// Runs until times are steady: at least `LEAST` runs and half a second, until the medians of two successive groups of
/// five differ by less than 5 %, at most three seconds. Gives the runs and whether they became steady.
pub fn warm_up(session: &mut Session, inputs: &[Input]) -> Result<(usize, bool), CliError> {
    const GROUP: usize = 5;
    let begin = Instant::now();
    let (mut runs, mut before) = (0, None);
    loop {
        let mut times = Vec::new();
        for _ in 0..GROUP {
            times.push(timed(session, inputs)?);
        }
        runs += GROUP;
        times.sort_unstable();
        let median = ms(times[GROUP / 2]);
        let steady = before.is_some_and(|before: f64| (median - before).abs() <= 0.05 * before);
        if steady && begin.elapsed() >= Duration::from_millis(500) {
            return Ok((runs, true));
        }
        if begin.elapsed() > Duration::from_secs(3) {
            return Ok((runs, false));
        }
        before = Some(median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("12"), Ok(Duration::from_secs(12)));
        for wrong in ["", "x", "0s", "5d", "-3m", "nan", ".", "1e3"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn periods() {
        assert_eq!(parse_period("33ms"), Ok(Duration::from_millis(33)));
        assert_eq!(parse_period("0.5s"), Ok(Duration::from_millis(500)));
        for wrong in ["0.5ms", "2min", "ms", "-1s"] {
            assert!(parse_period(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_ends_are_quarters() {
        let window = |p50| Window { at: 0.0, runs: 1, p50, p99: p50, max: p50, seen: Seen::default() };
        let windows = [1.0, 3.0, 5.0, 5.0, 5.0, 5.0, 7.0, 9.0].map(window).into();
        let all = Sustained { windows, held: [process::held(); 2], interrupted: Interrupted::default() };
        assert_eq!(all.ends(), [2.0, 8.0]);
        assert!(all.text().contains("25 % of the speed"), "{}", all.text());
    }
}
