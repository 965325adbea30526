//! The machine's state while it is measured: clocks, temperature, power, what holds it down.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::device::clusters::{self, Cluster};
use crate::device::power::Meter;
use crate::device::{Root, heat, ranges};

/// How long samples lie apart: reading them costs a fraction of a millisecond, between runs.
const EVERY: Duration = Duration::from_millis(250);

/// One look at the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Clock of the first core of each cluster, in MHz.
    pub mhz: Vec<Option<u32>>,
    pub celsius: Option<f64>,
    pub slowed: Vec<String>,
}

/// Looks at the machine from time to time.
pub struct Monitor {
    root: Root,
    clusters: Vec<Cluster>,
    samples: Vec<Sample>,
    meter: Option<Meter>,
    joules: Option<f64>,
    /// Since the start or the last [`Self::take`], up to the last sample.
    seconds: f64,
    last: Instant,
}

/// What was seen over a stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// For each cluster: least and mean clock in MHz.
    pub mhz: Vec<Option<(u32, f64)>>,
    /// Greatest temperature.
    pub celsius: Option<f64>,
    /// What held the machine down, each once.
    pub slowed: Vec<String>,
    pub joules: Option<f64>,
    pub seconds: f64,
}

impl Monitor {
    pub fn start(root: Root) -> Self {
        let clusters = clusters::read(&root);
        let meter = Meter::start(&root);
        let now = Instant::now();
        let mut monitor =
            Self { root, clusters, samples: Vec::new(), meter, joules: None, seconds: 0.0, last: now };
        monitor.look();
        monitor
    }

    /// Takes a sample if the last one is old enough.
    pub fn tick(&mut self) {
        if self.last.elapsed() >= EVERY {
            self.look();
        }
    }

    /// Leaves the time since the last sample out, and its energy: it was no time of the model's.
    pub fn skip(&mut self) {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        if let Some(meter) = &mut self.meter {
            meter.joules(&self.root, seconds);
        }
    }

    fn look(&mut self) {
        let clock = |c: &Cluster| clusters::clock(&self.root, c.ids[0]).now_mhz;
        let sample = Sample {
            mhz: self.clusters.iter().map(clock).collect(),
            celsius: heat::processor(&heat::zones(&self.root)).map(|zone| zone.celsius),
            slowed: heat::throttling(&self.root).now,
        };
        self.samples.push(sample);
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        self.seconds += seconds;
        if let Some(joules) = self.meter.as_mut().and_then(|meter| meter.joules(&self.root, seconds)) {
            *self.joules.get_or_insert(0.0) += joules;
        }
    }

    /// What was seen since the start or the last call.
    pub fn take(&mut self) -> Seen {
        self.look();
        let samples = std::mem::take(&mut self.samples);
        let mhz = (0..self.clusters.len()).map(|i| {
            let values: Vec<u32> = samples.iter().filter_map(|s| s.mhz[i]).collect();
            let least = values.iter().copied().min()?;
            Some((least, values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64))
        });
        let mut slowed: Vec<String> = samples.iter().flat_map(|s| s.slowed.iter().cloned()).collect();
        slowed.sort();
        slowed.dedup();
        Seen {
            mhz: mhz.collect(),
            celsius: samples.iter().filter_map(|s| s.celsius).reduce(f64::max),
            slowed,
            joules: self.joules.take(),
            seconds: std::mem::take(&mut self.seconds),
        }
    }

    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    pub fn meter(&self) -> Option<&str> {
        self.meter.as_ref().map(Meter::name)
    }
}

impl Seen {
    pub fn watts(&self) -> Option<f64> {
        self.joules.map(|joules| joules / self.seconds.max(1e-9))
    }

    /// One line for people.
    pub fn line(&self, clusters: &[Cluster]) -> String {
        let mut parts = Vec::new();
        for (cluster, mhz) in clusters.iter().zip(&self.mhz) {
            if let Some((least, mean)) = mhz {
                parts.push(format!("cores {} {mean:.0} MHz (least {least})", ranges(&cluster.ids)));
            }
        }
        parts.extend(self.celsius.map(|celsius| format!("{celsius:.1} °C at most")));
        if !self.slowed.is_empty() {
            parts.push(format!("slowed: {}", self.slowed.join(", ")));
        }
        if parts.is_empty() {
            "the system tells no clock and no temperature".to_owned()
        } else {
            parts.join(", ")
        }
    }

    pub fn json(&self, clusters: &[Cluster]) -> Value {
        let clock = |(cluster, mhz): (&Cluster, &Option<(u32, f64)>)| json!({ "cores": cluster.ids, "core": cluster.core, "min_mhz": mhz.map(|m| m.0), "mean_mhz": mhz.map(|m| m.1) });
        json!({
            "clocks": clusters.iter().zip(&self.mhz).map(clock).collect::<Vec<_>>(),
            "max_celsius": self.celsius,
            "slowed": self.slowed,
            "joules": self.joules,
            "watts": self.watts(),
            "seconds": self.seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::kept::{machine, put};

    #[test]
    fn a_hot_phone_and_a_boards_power_are_seen() {
        let (folder, root) = machine("galaxy-s9");
        let seen = Monitor::start(root.clone()).take();
        // 825.6 and 748.8 MHz; its battery, cooler than its processor, tells tenths of a degree.
        assert_eq!(seen.mhz, [Some((825, 825.0)), Some((748, 748.0))]);
        assert_eq!((seen.celsius, seen.slowed.len()), (Some(37.8), 0));
        put(&folder, "sys/class/thermal/thermal_zone2/temp", "74800\n");
        put(&folder, "sys/class/thermal/cooling_device4/cur_state", "3\n");
        let seen = Monitor::start(root).take();
        assert_eq!((seen.celsius, seen.slowed.len()), (Some(74.8), 1));
        let (_folder, root) = machine("jetson-orin-nano");
        let mut monitor = Monitor::start(root);
        std::thread::sleep(Duration::from_millis(20));
        let seen = monitor.take();
        // 5.016 V and 1.2 A, which the sensor of a file gives for ever, for at least those 20 ms.
        assert!(seen.joules.unwrap() >= 0.02 * 6.0192, "{seen:?}");
        assert!((seen.watts().unwrap() - 6.0192).abs() < 1e-6, "{seen:?}");
        assert_eq!(monitor.meter(), Some("ina3221 VDD_IN"));
    }
}
