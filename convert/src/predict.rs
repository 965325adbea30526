//! How long a program takes on a device that is not at hand.
//!
//! Cycles of a step are its multiply-accumulates over what the core's kernels of that kind do in a cycle, plus a share for
//! every result (requantizing, storing), plus what starting a step takes; of steps without products, their bytes over
//! what the core moves in a cycle. No step is faster than memory brings its weights. The figures stand in the device's profile
//! with where they come from; docs/accuracy.md says how far predictions lie from scored inferences.

use cygnet::profile::Profile as Steps;
use cygnet::{Model, Session, SessionOptions};
use cygnet_format::op::{Algorithm, Op, SparseConv, Window};
use cygnet_format::program::{DType, Program, Step, Storage};
use cygnet_targets::{Cluster, Kernels, Profile};

use crate::sparsity::{Rates, Shape};

/// A device, and how it is used.
#[derive(Clone, Debug)]
pub struct Device {
    /// The profile's name.
    pub name: String,
    cluster: Cluster,
    kernels: Kernels,
    rates: Option<Rates>,
    bytes_per_s: f64,
}

/// Share of the peak bandwidth that a program reads weights with.
const BANDWIDTH: f64 = 0.6;

/// What each further core adds of itself.
const PARALLEL: f64 = 0.85;

/// Multiply-accumulates or bytes below which a step is done by one thread.
const SMALL: u64 = 1 << 15;

/// A predicted run.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Seconds on one core.
    pub seconds: f64,
    /// Seconds on all cores of the fastest cluster, each further one adding 85 %.
    pub seconds_all: f64,
    /// Cycles of each step on one core.
    pub steps: Vec<f64>,
}

impl Device {
    /// The fastest cluster of a profile; `None` where the profile does not say what kernels reach there.
    pub fn new(profile: &Profile) -> Option<Self> {
        let cluster = profile.fastest_cluster().clone();
        Some(Self {
            name: profile.name.clone(),
            kernels: cluster.kernels.clone()?,
            rates: Rates::of(profile),
            cluster,
            bytes_per_s: f64::from(profile.memory.peak_gb_per_s) * 1e9 * BANDWIDTH,
        })
    }

    /// What kernels of s8 products reach, as far as sparse ones are known.
    pub fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }

    /// Name of the core.
    pub fn core(&self) -> &str {
        &self.cluster.core
    }

    /// Number of cores of the cluster.
    pub fn cores(&self) -> u32 {
        self.cluster.count
    }

    /// What steps are raised to: f16 where the core computes in it, else f32.
    pub fn higher(&self) -> DType {
        if self.cluster.mac_per_cycle.f16.is_some() { DType::F16 } else { DType::F32 }
    }

    /// Predicts a run of a model's first program.
    ///
    /// # Errors
    /// When the model cannot be prepared.
    pub fn predict(&self, model: &Model) -> Result<Prediction, cygnet::Error> {
        let options = SessionOptions { threads: Some(1), ..SessionOptions::default() };
        let session = Session::new(model, &options)?;
        let program = session.program();
        let known = Steps::new(&session);
        let hertz = f64::from(self.cluster.max_mhz) * 1e6;
        let cores = 1.0 + f64::from(self.cluster.count - 1) * PARALLEL;
        let (mut seconds, mut seconds_all, mut steps) = (0.0, 0.0, Vec::new());
        for (step, profile) in program.steps.iter().zip(known.steps()) {
            let kernels = &self.kernels;
            let cycles =
                kernels.step + self.cycles(program, step, (profile.macs as f64, profile.bytes as f64));
            let memory = weights(program, step) / self.bytes_per_s;
            seconds += (cycles / hertz).max(memory);
            // Small steps run on one thread.
            let shared = profile.macs > SMALL || profile.bytes > SMALL;
            seconds_all += (cycles / hertz / if shared { cores } else { 1.0 }).max(memory);
            steps.push(cycles);
        }
        Ok(Prediction { seconds, seconds_all, steps })
    }
}

/// Cycles of a step by sparse weights that does so many multiply-accumulates.
fn sparse(rates: &Rates, program: &Program, step: &Step, p: &SparseConv, macs: f64) -> Option<f64> {
    let x = &program.tensors[(*step.inputs.first()?)? as usize];
    let (y, depth) = (&program.tensors[step.output as usize], *x.dims.last()? as usize);
    let taps = p.window.kernel.iter().product::<u32>() as usize;
    let m = *y.dims.last()? as usize;
    let pixels = y.elements() as usize / m;
    let shape = Shape { pixels, m, taps, depth, k: taps * depth, three: false };
    Some(rates.sparse(&shape, p.group, macs / (p.group.inputs() * pixels) as f64))
}

/// Bytes of a step's constants.
fn weights(program: &Program, step: &Step) -> f64 {
    let constant = |&id: &u32| program.tensors[id as usize].storage == Storage::Weights;
    let bytes = step.inputs.iter().flatten().filter(|id| constant(id));
    bytes.map(|&id| program.tensors[id as usize].extent() as f64).sum()
}

impl Device {
    fn cycles(&self, program: &Program, step: &Step, (macs, bytes): (f64, f64)) -> f64 {
        let sparse = match (&step.op, &self.rates) {
            (Op::SparseConv(p), Some(rates)) => sparse(rates, program, step, p, macs),
            _ => None,
        };
        sparse.unwrap_or_else(|| cycles(&self.kernels, program, step, (macs, bytes)))
    }
}

fn cycles(k: &Kernels, program: &Program, step: &Step, (macs, bytes): (f64, f64)) -> f64 {
    let outputs = program.tensors[step.output as usize].elements() as f64;
    let dtype = step.inputs.first().copied().flatten().map(|x| program.tensors[x as usize].dtype);
    let (conv, narrow, depthwise, matmul, store) = match dtype {
        Some(DType::S8) => (k.conv_s8, k.conv3x3_s8, k.depthwise_s8, k.matmul_s8, k.store_s8),
        Some(DType::F16) => {
            let conv = k.conv_f16.unwrap_or(k.conv_f32);
            (conv, conv, k.depthwise_f16.unwrap_or(k.depthwise_f32), k.matmul_f32, k.store_f32)
        }
        _ => (k.conv_f32, k.conv3x3_f32, k.depthwise_f32, k.matmul_f32, k.store_f32),
    };
    let rate = match &step.op {
        Op::Conv(c) if is_winograd(c.algorithm, &c.window, dtype) => narrow,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::SparseConv(_) => conv,
        Op::DepthwiseConv(_) => depthwise,
        Op::MatMul(_) => matmul,
        _ => return bytes / k.bytes,
    };
    macs / rate + outputs * store
}

/// Whether Winograd's algorithm can do a convolution: in f32 the program says so, in int8 the kernels choose by the shape.
fn is_winograd(algorithm: Algorithm, window: &Window, dtype: Option<DType>) -> bool {
    let suits = window.kernel == [3; 2] && window.stride == [1; 2] && window.dilation == [1; 2];
    algorithm == Algorithm::Winograd4x4 || suits && dtype == Some(DType::S8)
}
