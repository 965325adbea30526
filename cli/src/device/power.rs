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
    /// Rails that feed the board together.
    Sum(Vec<Source>),
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

/// A rail that a monitor measures.
struct Rail {
    label: String,
    source: Source,
}

/// Whether a rail of this name feeds the whole board: `VDD_IN`, `POM_5V_IN`, `VIN`.
fn feeds_all(label: &str) -> bool {
    label.ends_with("_IN") || label == "VIN" || label.contains("total")
}

/// Of a Jetson's rails the one that feeds the board, else all of them together: those of the AGX boards (`GPU`, `CPU`,
/// `SYS5V` and more) each feed a part, from the board's two inputs.
fn of_jetson(mut rails: Vec<Rail>) -> Option<Sensor> {
    if let Some(best) = rails.iter().position(|rail| feeds_all(&rail.label)) {
        let Rail { label, source } = rails.swap_remove(best);
        return Some(Sensor { name: format!("ina3221 {label}"), source });
    }
    let labels: Vec<String> = rails.iter().map(|rail| rail.label.clone()).collect();
    let sources = rails.into_iter().map(|rail| rail.source).collect();
    (!labels.is_empty())
        .then(|| Sensor { name: format!("ina3221 {}", labels.join("+")), source: Source::Sum(sources) })
}

/// A power monitor that Linux's hwmon shows (INA219, INA226, INA238, INA3221 and others): the rail that feeds the board,
/// else a Jetson's rails together, else the first.
fn hwmon(root: &Root) -> Option<Sensor> {
    let base = "sys/class/hwmon";
    let mut jetson: Vec<Rail> = Vec::new();
    let mut others: Vec<(bool, Sensor)> = Vec::new();
    for device in root.list(base) {
        let file = |name: &str| format!("{base}/{device}/{name}");
        let driver = root.text(&file("name")).unwrap_or_default();
        // Of an INA3221, voltages from the fourth on are those over its shunts, and the fourth current is a sum.
        let channels = if driver == "ina3221" { 1..=3 } else { 1..=8 };
        for i in channels {
            let label = root
                .text(&file(&format!("in{i}_label")))
                .or_else(|| root.text(&file(&format!("power{i}_label"))))
                .or_else(|| root.text(&file("label")));
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
            match label {
                // A channel that is not connected.
                Some(label) if driver == "ina3221" && label == "NC" => {}
                Some(label) if driver == "ina3221" => jetson.push(Rail { label, source }),
                label => {
                    let label = label.unwrap_or_else(|| format!("channel {i}"));
                    others.push((feeds_all(&label), Sensor { name: format!("{driver} {label}"), source }));
                }
            }
        }
    }
    match others.iter().position(|(feeds_all, _)| *feeds_all) {
        Some(best) => Some(others.swap_remove(best).1),
        None => of_jetson(jetson).or_else(|| others.into_iter().next().map(|(_, sensor)| sensor)),
    }
}

/// INA3221 as NVIDIA's kernels before 5.0 show it: milliwatts below the driver's devices.
fn ina_of_older_jetsons(root: &Root) -> Option<Sensor> {
    let base = "sys/bus/i2c/drivers/ina3221x";
    let mut rails = Vec::new();
    for device in root.list(base) {
        for channel in
            root.list(&format!("{base}/{device}")).iter().filter(|name| name.starts_with("iio:device"))
        {
            let file = |name: &str| format!("{base}/{device}/{channel}/{name}");
            for i in 0..3 {
                let power = file(&format!("in_power{i}_input"));
                if let Some(label) = root.text(&file(&format!("rail_name_{i}"))).filter(|label| label != "NC")
                    && root.number::<u64>(&power).is_some()
                {
                    rails.push(Rail { label, source: Source::Power { file: power, divisor: MILLI } });
                }
            }
        }
    }
    of_jetson(rails)
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

impl Source {
    /// Watts now; `None` for counters of energy, and where nothing can be read.
    fn watts(&self, root: &Root) -> Option<f64> {
        match self {
            Self::Power { file, divisor } => Some(root.number::<i64>(file)?.unsigned_abs() as f64 / divisor),
            Self::Product { volts, amperes, divisor } => {
                let product = root.number::<i64>(volts)? as f64 * root.number::<i64>(amperes)? as f64;
                Some(product.abs() / divisor)
            }
            // A rail that is switched off cannot be read.
            Self::Sum(rails) => rails.iter().filter_map(|rail| rail.watts(root)).reduce(|a, b| a + b),
            Self::Energy(_) => None,
        }
    }
}

impl Sensor {
    fn read(&self, root: &Root) -> Option<Reading> {
        match &self.source {
            Source::Energy(counters) => {
                let counters = counters.iter().map(|(file, _)| root.number(file));
                Some(Reading::Counters(counters.collect::<Option<Vec<u64>>>()?))
            }
            source => source.watts(root).map(Reading::Watts),
        }
    }

    /// Watts now; `None` for sensors that count energy.
    #[cfg(any(test, feature = "device"))]
    pub fn watts(&self, root: &Root) -> Option<f64> {
        self.source.watts(root)
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
    use super::super::kept::machine;
    use super::*;

    #[test]
    fn a_jetson_tells_the_power_of_its_board() {
        let (_folder, root) = machine("jetson-orin-nano");
        let found = sensor(&root).unwrap();
        assert_eq!(found.name, "ina3221 VDD_IN");
        // 5016 mV times 1200 mA.
        assert!((found.watts(&root).unwrap() - 6.0192).abs() < 1e-9);
        let mut meter = Meter::start(&root).unwrap();
        assert!((meter.joules(&root, 2.0).unwrap() - 12.0384).abs() < 1e-9);
    }

    /// No rail feeds all of an AGX Orin, and channels that are not connected are no rails.
    #[test]
    fn rails_that_feed_a_board_together_are_added_up() {
        let (folder, root) = machine("jetson-agx-orin");
        let found = sensor(&root).unwrap();
        assert_eq!(found.name, "ina3221 VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0+VDDQ_VDD2_1V8AO");
        let watts = 19.192 * (0.32 + 0.16) + 5.032 * (0.9 + 0.22);
        assert!((found.watts(&root).unwrap() - watts).abs() < 1e-9);
        // One is switched off, and cannot be read.
        std::fs::remove_file(folder.path().join("sys/class/hwmon/hwmon1/curr2_input")).unwrap();
        assert!((found.watts(&root).unwrap() - (watts - 19.192 * 0.16)).abs() < 1e-9);
    }

    /// NVIDIA's kernel 4.9, as an AGX Xavier (six rails of two monitors) and a Nano (one feeds the board) have it.
    #[test]
    fn older_jetsons() {
        let folder = tempfile::tempdir().unwrap();
        let put = |device: &str, rails: [(&str, u32); 3]| {
            let device = folder.path().join(format!("sys/bus/i2c/drivers/ina3221x/{device}/iio:device0"));
            std::fs::create_dir_all(&device).unwrap();
            for (i, (rail, milliwatts)) in rails.iter().enumerate() {
                std::fs::write(device.join(format!("rail_name_{i}")), format!("{rail}\n")).unwrap();
                std::fs::write(device.join(format!("in_power{i}_input")), format!("{milliwatts}\n")).unwrap();
            }
        };
        put("1-0040", [("GPU", 150), ("CPU", 917), ("SOC", 1070)]);
        put("1-0041", [("CV", 0), ("VDDRQ", 305), ("SYS5V", 1810)]);
        let root = Root::at(folder.path());
        let found = sensor(&root).unwrap();
        assert_eq!(found.name, "ina3221 GPU+CPU+SOC+CV+VDDRQ+SYS5V");
        assert!((found.watts(&root).unwrap() - 4.252).abs() < 1e-9);
        put("1-0040", [("POM_5V_IN", 2100), ("POM_5V_GPU", 40), ("POM_5V_CPU", 480)]);
        let found = sensor(&root).unwrap();
        assert_eq!((found.name.as_str(), found.watts(&root)), ("ina3221 POM_5V_IN", Some(2.1)));
    }

    #[test]
    fn a_phone_tells_its_batterys() {
        let (_folder, root) = machine("galaxy-s9");
        let found = sensor(&root).unwrap();
        // 4.012 V times 0.350 A.
        assert!((found.watts(&root).unwrap() - 1.4042).abs() < 1e-9, "{found:?}");
        // Converters of voltages and fans measure no power.
        let (_folder, root) = machine("raspberry-pi-5");
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
