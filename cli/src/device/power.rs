//! Power and energy, where a sensor can be read.

use super::Root;

const MILLI: f64 = 1e3;
const MICRO: f64 = 1e6;

/// Where the figures come from, best first: the whole board, then the processor's package, then a battery.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// A file whose number, divided, is in watts.
    Power { file: String, divisor: f64 },
    /// Files whose numbers' product, divided, is in watts.
    Product { volts: String, amperes: String, divisor: f64 },
    /// Counters of microjoules, and where each begins again.
    Energy(Vec<(String, u64)>),
}

/// A sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// Which one, for people: driver and rail.
    pub name: String,
    source: Source,
}

/// Adds up energy from one sensor.
#[derive(Clone, Debug)]
pub struct Meter {
    sensor: Sensor,
    last: Option<Reading>,
}

#[derive(Clone, Debug)]
enum Reading {
    Watts(f64),
    Counters(Vec<u64>),
}

/// The sensor that says most about the machine; `None` when there is none.
pub fn sensor(root: &Root) -> Option<Sensor> {
    hwmon(root).or_else(|| ina_of_older_jetsons(root)).or_else(|| rapl(root)).or_else(|| battery(root))
}

/// A power monitor that Linux's hwmon shows (INA219, INA226, INA3221 and others): the rail that feeds the board, else
/// the first.
fn hwmon(root: &Root) -> Option<Sensor> {
    let base = "sys/class/hwmon";
    let mut found: Vec<(bool, Sensor)> = Vec::new();
    for device in root.list(base) {
        let file = |name: &str| format!("{base}/{device}/{name}");
        let driver = root.text(&file("name")).unwrap_or_default();
        for i in 1..=8 {
            let label = root
                .text(&file(&format!("in{i}_label")))
                .or_else(|| root.text(&file(&format!("power{i}_label"))))
                .unwrap_or_else(|| format!("channel {i}"));
            let (power, volts, amperes) = (
                file(&format!("power{i}_input")),
                file(&format!("in{i}_input")),
                file(&format!("curr{i}_input")),
            );
            let source = if root.number::<u64>(&power).is_some() {
                Source::Power { file: power, divisor: MICRO }
            } else if root.number::<i64>(&volts).is_some() && root.number::<i64>(&amperes).is_some() {
                Source::Product { volts, amperes, divisor: MILLI * MILLI }
            } else {
                continue;
            };
            let feeds_all = label.ends_with("_IN") || label.contains("SYS5V") || label.contains("total");
            found.push((feeds_all, Sensor { name: format!("{driver} {label}"), source }));
        }
    }
    let best = found.iter().position(|(feeds_all, _)| *feeds_all).unwrap_or(0);
    (best < found.len()).then(|| found.swap_remove(best).1)
}

/// INA3221 as NVIDIA's kernels before 5.0 show it: milliwatts below the driver's devices.
fn ina_of_older_jetsons(root: &Root) -> Option<Sensor> {
    let base = "sys/bus/i2c/drivers/ina3221x";
    for device in root.list(base) {
        for channel in
            root.list(&format!("{base}/{device}")).iter().filter(|name| name.starts_with("iio:device"))
        {
            let file = |name: &str| format!("{base}/{device}/{channel}/{name}");
            for i in 0..3 {
                let power = file(&format!("in_power{i}_input"));
                let rail = root.text(&file(&format!("rail_name_{i}"))).unwrap_or_default();
                if rail.ends_with("_IN") && root.number::<u64>(&power).is_some() {
                    let source = Source::Power { file: power, divisor: MILLI };
                    return Some(Sensor { name: format!("ina3221 {rail}"), source });
                }
            }
        }
    }
    None
}

/// Running average power limit of x86-64: the energy of all packages.
fn rapl(root: &Root) -> Option<Sensor> {
    let base = "sys/class/powercap";
    let mut counters = Vec::new();
    for domain in root.list(base).into_iter().filter(|name| name.matches(':').count() == 1) {
        let file = |name: &str| format!("{base}/{domain}/{name}");
        let package = root.text(&file("name")).is_some_and(|name| name.starts_with("package"));
        if package && root.number::<u64>(&file("energy_uj")).is_some() {
            counters.push((file("energy_uj"), root.number(&file("max_energy_range_uj")).unwrap_or(u64::MAX)));
        }
    }
    (!counters.is_empty()).then(|| Sensor { name: "RAPL package".into(), source: Source::Energy(counters) })
}

/// A battery that tells its current: the whole machine, screen and radio included.
fn battery(root: &Root) -> Option<Sensor> {
    let base = "sys/class/power_supply";
    root.list(base).into_iter().find_map(|supply| {
        let file = |name: &str| format!("{base}/{supply}/{name}");
        if root.text(&file("type")).is_none_or(|kind| kind != "Battery") {
            return None;
        }
        let (power, volts, amperes) = (file("power_now"), file("voltage_now"), file("current_now"));
        let source = if root.number::<i64>(&power).is_some() {
            Source::Power { file: power, divisor: MICRO }
        } else if root.number::<i64>(&volts).is_some() && root.number::<i64>(&amperes).is_some() {
            Source::Product { volts, amperes, divisor: MICRO * MICRO }
        } else {
            return None;
        };
        Some(Sensor { name: format!("power supply {supply}"), source })
    })
}

impl Sensor {
    fn read(&self, root: &Root) -> Option<Reading> {
        Some(match &self.source {
            Source::Power { file, divisor } => {
                Reading::Watts(root.number::<i64>(file)?.unsigned_abs() as f64 / divisor)
            }
            Source::Product { volts, amperes, divisor } => {
                let product = root.number::<i64>(volts)? as f64 * root.number::<i64>(amperes)? as f64;
                Reading::Watts(product.abs() / divisor)
            }
            Source::Energy(counters) => Reading::Counters(
                counters.iter().map(|(file, _)| root.number(file)).collect::<Option<Vec<u64>>>()?,
            ),
        })
    }

    /// Watts now; `None` for sensors that count energy.
    #[cfg(any(test, feature = "device"))]
    pub fn watts(&self, root: &Root) -> Option<f64> {
        match self.read(root)? {
            Reading::Watts(watts) => Some(watts),
            Reading::Counters(_) => None,
        }
    }
}

impl Meter {
    /// Starts to count.
    pub fn start(root: &Root) -> Option<Self> {
        let sensor = sensor(root)?;
        let last = sensor.read(root);
        Some(Self { sensor, last })
    }

    pub fn name(&self) -> &str {
        &self.sensor.name
    }

    /// Joules since the last call, `seconds` ago. Power is taken as even between two readings.
    pub fn joules(&mut self, root: &Root, seconds: f64) -> Option<f64> {
        let now = self.sensor.read(root)?;
        let joules = match (&self.last, &now, &self.sensor.source) {
            (Some(Reading::Watts(before)), Reading::Watts(now), _) => Some((before + now) / 2.0 * seconds),
            (Some(Reading::Counters(before)), Reading::Counters(now), Source::Energy(counters)) => {
                let passed = |((before, now), (_, range)): ((&u64, &u64), &(String, u64))| {
                    if now >= before { now - before } else { now.saturating_add(range - before) }
                };
                Some(before.iter().zip(now).zip(counters).map(passed).sum::<u64>() as f64 / 1e6)
            }
            _ => None,
        };
        self.last = Some(now);
        joules
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::machine;
    use super::*;

    #[test]
    fn a_jetson_tells_the_power_of_its_board() {
        let (_folder, root) = machine("jetson-orin-nano");
        let found = sensor(&root).unwrap();
        assert_eq!(found.name, "ina3221 VDD_IN");
        // 4960 mV times 960 mA.
        assert!((found.watts(&root).unwrap() - 4.7616).abs() < 1e-9);
        let mut meter = Meter::start(&root).unwrap();
        assert!((meter.joules(&root, 2.0).unwrap() - 9.5232).abs() < 1e-9);
    }

    #[test]
    fn a_phone_tells_its_batterys() {
        let (_folder, root) = machine("galaxy-s9");
        let found = sensor(&root).unwrap();
        // 4.012 V times 0.350 A.
        assert!((found.watts(&root).unwrap() - 1.4042).abs() < 1e-9, "{found:?}");
        let (_folder, root) = machine("raspberry-pi-4");
        assert_eq!(sensor(&root), None);
    }

    #[test]
    fn counters_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let zone = folder.path().join("sys/class/powercap/intel-rapl:0");
        std::fs::create_dir_all(&zone).unwrap();
        let put = |name: &str, text: &str| std::fs::write(zone.join(name), text).unwrap();
        put("name", "package-0\n");
        put("max_energy_range_uj", "1000000\n");
        put("energy_uj", "900000\n");
        let root = Root::at(folder.path());
        let mut meter = Meter::start(&root).unwrap();
        put("energy_uj", "950000\n");
        assert_eq!(meter.joules(&root, 1.0), Some(0.05));
        put("energy_uj", "50000\n");
        assert_eq!(meter.joules(&root, 1.0), Some(0.1));
    }
}
