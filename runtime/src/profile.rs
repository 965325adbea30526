//! What each step of a program costs.

use std::fmt::{self, Write};

use cygnet_format::program::{Program, Storage, Tensor};
use cygnet_kernels::exec::{ExecError, Leader, Observer};

use crate::session::Session;

/// What is known of a step, and its times so far.
#[derive(Clone, Debug, PartialEq)]
pub struct StepProfile {
    /// The step's name: that of the source node.
    pub name: String,
    /// The operation.
    pub op: &'static str,
    /// The implementation.
    pub kernel: &'static str,
    /// Independent pieces of work.
    pub tiles: usize,
    /// Multiply-accumulates; 0 where that is no measure.
    pub macs: u64,
    /// Bytes of its inputs and its output, each counted once.
    pub bytes: u64,
    /// Sum of the times of all runs, in nanoseconds.
    pub total_ns: u64,
    /// The shortest time of a run, in nanoseconds; 0 before the first.
    pub best_ns: u64,
    /// The time of the last run, in nanoseconds.
    pub last_ns: u64,
}

/// Times of the steps over any number of runs. Recording allocates nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    program: String,
    steps: Vec<StepProfile>,
    runs: u64,
}

struct Recorder<'a>(&'a mut [StepProfile]);

impl Observer for Recorder<'_> {
    fn step(&mut self, index: usize, nanoseconds: u64) {
        let step = &mut self.0[index];
        step.total_ns = step.total_ns.saturating_add(nanoseconds);
        step.best_ns = if step.best_ns == 0 { nanoseconds } else { step.best_ns.min(nanoseconds) };
        step.last_ns = nanoseconds;
    }
}

/// Tells `tracing` about every step.
#[cfg(feature = "trace-steps")]
pub(crate) struct Tracer<'a>(pub &'a Program);

#[cfg(feature = "trace-steps")]
impl Observer for Tracer<'_> {
    fn step(&mut self, index: usize, nanoseconds: u64) {
        let step = &self.0.steps[index];
        tracing::debug!(index, name = step.name, op = step.op.name(), nanoseconds, "step");
    }
}

impl Profile {
    /// An empty profile of a session's program.
    pub fn new(session: &Session) -> Self {
        let program = session.program();
        let steps = program.steps.iter().zip(session.implementations()).map(|(step, kernel)| StepProfile {
            name: step.name.clone(),
            op: step.op.name(),
            kernel: kernel.name(),
            tiles: kernel.tiles(),
            macs: kernel.macs(),
            bytes: operand_bytes(program, step),
            total_ns: 0,
            best_ns: 0,
            last_ns: 0,
        });
        Self { program: program.name.clone(), steps: steps.collect(), runs: 0 }
    }

    pub(crate) fn observe(&mut self, leader: &mut Leader) -> Result<(), ExecError> {
        leader.run_observed(&mut Recorder(&mut self.steps))?;
        self.runs += 1;
        Ok(())
    }

    /// The steps in the order in which they run.
    pub fn steps(&self) -> &[StepProfile] {
        &self.steps
    }

    /// The program's name.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Runs recorded.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Mean time of all steps of a run together, in nanoseconds.
    pub fn mean_ns(&self) -> u64 {
        self.steps.iter().map(|s| s.total_ns).sum::<u64>() / self.runs.max(1)
    }

    /// The table as text: the `most` costliest steps, then the sums by operation. Times are each step's shortest one: a
    /// mean of few runs is often that of what else the machine did.
    pub fn table(&self, most: usize) -> String {
        let total = self.steps.iter().map(|s| s.best_ns).sum::<u64>().max(1);
        let mut order: Vec<_> = self.steps.iter().enumerate().collect();
        order.sort_by_key(|(index, s)| (std::cmp::Reverse(s.best_ns), *index));
        let mut out = String::new();
        let mut line = |text: fmt::Arguments<'_>| {
            // Writing to a String does not fail.
            let _ = writeln!(out, "{text}");
        };
        line(format_args!(
            "{:>5} {:>9} {:>6} {:>8} {:>8}  {:<28} name",
            "step", "least us", "%", "MMAC", "GMAC/s", "kernel"
        ));
        for (index, s) in order.iter().take(most) {
            line(format_args!(
                "{index:>5} {:>9.1} {:>6.1} {:>8.2} {:>8.2}  {:<28} {}",
                s.best_ns as f64 / 1e3,
                s.best_ns as f64 * 100.0 / total as f64,
                s.macs as f64 / 1e6,
                rate(s.macs, s.best_ns),
                s.kernel,
                s.name
            ));
        }
        if order.len() > most {
            line(format_args!("{:>5} {} more steps", "...", order.len() - most));
        }
        let mut ops: Vec<(&str, u64, u64, usize)> = Vec::new();
        for s in &self.steps {
            match ops.iter_mut().find(|(op, ..)| *op == s.op) {
                Some(sum) => (sum.1, sum.2, sum.3) = (sum.1 + s.best_ns, sum.2 + s.macs, sum.3 + 1),
                None => ops.push((s.op, s.best_ns, s.macs, 1)),
            }
        }
        ops.sort_by_key(|&(op, ns, ..)| (std::cmp::Reverse(ns), op));
        line(format_args!(
            "\n{:<16} {:>5} {:>9} {:>6} {:>8} {:>8}",
            "operation", "steps", "least us", "%", "MMAC", "GMAC/s"
        ));
        for (op, ns, macs, count) in ops {
            line(format_args!(
                "{op:<16} {count:>5} {:>9.1} {:>6.1} {:>8.2} {:>8.2}",
                ns as f64 / 1e3,
                ns as f64 * 100.0 / total as f64,
                macs as f64 / 1e6,
                rate(macs, ns),
            ));
        }
        out
    }

    /// The last run in the Trace Event format that `chrome://tracing` and Perfetto open: one complete event for
    /// each step, laid end to end, times in microseconds.
    pub fn chrome_trace(&self) -> String {
        let mut start = 0;
        let events = self.steps.iter().enumerate().map(|(index, s)| {
            let event = format!(
                "{{\"name\":{},\"cat\":\"{}\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{:.3},\"dur\":{:.3},\
                 \"args\":{{\"step\":{index},\"kernel\":\"{}\",\"macs\":{},\"bytes\":{}}}}}",
                quoted(&s.name),
                s.op,
                start as f64 / 1e3,
                s.last_ns as f64 / 1e3,
                s.kernel,
                s.macs,
                s.bytes,
            );
            start += s.last_ns;
            event
        });
        let events: Vec<_> = events.collect();
        format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[{}]}}", events.join(","))
    }
}

/// Billions of multiply-accumulates a second; 0 where no time is known.
fn rate(macs: u64, ns: u64) -> f64 {
    if ns == 0 { 0.0 } else { macs as f64 / ns as f64 }
}

fn operand_bytes(program: &Program, step: &cygnet_format::Step) -> u64 {
    let bytes = |t: &Tensor| t.elements() * t.dtype.size() as u64;
    let mut ids: Vec<u32> = step.inputs.iter().copied().flatten().chain([step.output]).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| &program.tensors[id as usize]).map(bytes).sum()
}

/// Peak bytes of the arena that each step needs alive: the memory timeline of a program.
///
/// A tensor is alive from the step that writes it (an input from the start) to the last one that reads it (an
/// output to the end). The sum counts each byte of the arena once, however many tensors share it.
pub fn memory_timeline(program: &Program) -> Vec<u64> {
    let steps = program.steps.len();
    let mut first = vec![usize::MAX; program.tensors.len()];
    let mut last = vec![0; program.tensors.len()];
    for port in &program.inputs {
        first[port.tensor as usize] = 0;
    }
    for (index, step) in program.steps.iter().enumerate() {
        let out = step.output as usize;
        first[out] = first[out].min(index);
        for id in step.inputs.iter().copied().flatten().chain([step.output]) {
            last[id as usize] = index;
        }
    }
    for port in &program.outputs {
        last[port.tensor as usize] = steps.saturating_sub(1);
    }
    (0..steps)
        .map(|index| {
            let mut alive: Vec<_> = (program.tensors.iter().zip(first.iter().zip(&last)))
                .filter(|(t, (f, l))| t.storage == Storage::Arena && **f <= index && index <= **l)
                .map(|(t, _)| (t.offset, t.offset + t.extent()))
                .collect();
            alive.sort_unstable();
            let (mut bytes, mut end) = (0, 0);
            for (from, to) in alive {
                bytes += to.saturating_sub(from.max(end));
                end = end.max(to);
            }
            bytes
        })
        .collect()
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
