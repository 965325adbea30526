//! `cygnet doctor`.

mod advice;
mod measure;
mod profile;
mod report;

use std::io::Write;

use cygnet::topology::Topology;

use crate::common::CliError;
use crate::device::board::{self, Board};
use crate::device::clusters::{self, Cluster};
use crate::device::heat::{self, Throttling, Zone};
use crate::device::limits::{self, Limits};
use crate::device::power;
use crate::device::{Root, RootArgs};
use measure::Measured;

const HELP: &str = "\
Measuring takes about four seconds and uses all fast cores. What is printed with --json is described in
docs/benchmarking.md; its part `profile` is a device profile: `--target FILE` takes the whole file.

Examples:
  cygnet doctor
  cygnet doctor --json > this-device.json
  cygnet doctor --no-measure

Exit codes: 0 done, 1 the work failed, 2 wrong usage";

/// Show what this machine can do for inference, and what to change
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    root: RootArgs,

    /// Do not measure: show what the system says
    #[arg(long)]
    no_measure: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// All that is known of a machine.
struct Machine {
    board: Board,
    clusters: Vec<Cluster>,
    zones: Vec<Zone>,
    throttling: Throttling,
    /// Name of the power sensor, and its watts where it tells them at once.
    power: Option<(String, Option<f64>)>,
    limits: Limits,
    /// The cores that threads go to by default.
    fast: Vec<usize>,
    /// Whether it is the machine that this runs on.
    is_here: bool,
    measured: Option<Measured>,
}

impl Machine {
    fn read(root: &Root) -> Self {
        let limits = limits::read(root);
        let topology = Topology::read(&root.path(""), &limits.cores);
        let mut fast: Vec<usize> = topology.big().iter().map(|core| core.id).collect();
        fast.sort_unstable();
        Self {
            board: board::read(root),
            clusters: clusters::read(root),
            zones: heat::zones(root),
            throttling: heat::throttling(root),
            power: power::sensor(root).map(|sensor| (sensor.name.clone(), sensor.watts(root))),
            limits,
            fast,
            is_here: root.is_here(),
            measured: None,
        }
    }

    /// Threads that a session takes by default: one for each fast core, as far as the quota goes.
    fn threads(&self) -> usize {
        let quota = self.limits.quota.map_or(usize::MAX, |cores| (cores.floor() as usize).max(1));
        self.fast.len().clamp(1, quota)
    }
}

pub fn execute(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let root = args.root.root();
    let mut machine = Machine::read(&root);
    if machine.is_here && !args.no_measure {
        machine.measured = Some(measure::measure(&machine.clusters, &machine.limits)?);
    }
    if args.json {
        writeln!(out, "{:#}", report::json(&machine))?;
    } else {
        report::text(&machine, out)?;
    }
    Ok(())
}
