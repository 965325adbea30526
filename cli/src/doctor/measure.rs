//! Speed of the kernels and of memory, measured: one core of each cluster alone, then all threads together.

use std::time::Duration;

use cygnet::gauge::{self, Layer, Rate, TYPES};
use cygnet::{Cpu, Pool, PoolOptions};

use crate::common::CliError;
use crate::device::clusters::Cluster;
use crate::device::limits::Limits;

/// Time for each class of kernels, and for memory.
const EACH: Duration = Duration::from_millis(100);

/// What is read to measure memory, at most, by each thread: beyond the caches of what is called a device.
const READ_BYTES: usize = 32 << 20;

/// Figures of this machine.
pub struct Measured {
    pub isa: String,
    /// For each cluster one core alone; none where the process may use no core of it.
    pub single: Vec<Option<Single>>,
    pub threads: usize,
    pub rates: Vec<Rate>,
    /// Bytes read per second by all threads, in 10^9.
    pub read_gb_per_s: Option<f64>,
}

/// Figures of one core.
pub struct Single {
    pub core: usize,
    pub rates: Vec<Rate>,
    pub read_gb_per_s: Option<f64>,
}

pub fn measure(clusters: &[Cluster], limits: &Limits) -> Result<Measured, CliError> {
    let cpu = Cpu::from_env().map_err(cygnet::Error::from)?;
    let may_use = |id: &&usize| limits.cores.is_empty() || limits.cores.contains(id);
    let mut single = Vec::new();
    for cluster in clusters {
        single.push(cluster.ids.iter().find(may_use).map(|&core| alone(core, cpu)).transpose()?);
    }
    let pool = Pool::new(&PoolOptions::default())?;
    let threads = pool.threads();
    let rates = all_classes(cpu, &pool)?;
    let read_gb_per_s = gauge::read_bandwidth(threads, READ_BYTES, EACH);
    Ok(Measured { isa: cpu.features().to_string(), single, threads, rates, read_gb_per_s })
}

/// One core alone, on a thread of its own: being bound to it ends with the thread.
fn alone(core: usize, cpu: Cpu) -> Result<Single, CliError> {
    let measured = std::thread::scope(|scope| {
        let work = || {
            let pool = Pool::new(&PoolOptions { threads: None, cores: Some(vec![core]) })?;
            pool.bind_caller();
            let rates = all_classes(cpu, &pool)?;
            Ok(Single { core, rates, read_gb_per_s: gauge::read_bandwidth(1, READ_BYTES, EACH) })
        };
        scope.spawn(work).join()
    });
    measured.unwrap_or_else(|_| {
        Err(CliError::Failed(format!(
            "measuring core {core} failed; report this as a defect, with --no-measure"
        )))
    })
}

fn all_classes(cpu: Cpu, pool: &Pool) -> Result<Vec<Rate>, CliError> {
    let mut rates = Vec::new();
    for layer in Layer::ALL {
        for dtype in TYPES {
            rates.push(gauge::rate(layer, dtype, cpu, pool, EACH)?);
        }
    }
    Ok(rates)
}
