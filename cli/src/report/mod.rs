//! What a conversion did and why, as a page or as JSON.

mod html;
mod svg;

use std::path::Path;

use cygnet::format::Meta;
use cygnet::format::meta::key;
use cygnet::format::program::Storage;
use cygnet::profile::{Profile, memory_timeline};
use cygnet::{DType, Model, Session, SessionOptions};
use cygnet_convert::Converted;
use cygnet_convert::compare::Layer;
use cygnet_convert::sparsity::Finding;
use serde_json::{Value, json};

use crate::common::{CliError, save};
use crate::compare::number;

/// Everything that the report shows.
pub struct Report<'a> {
    /// The source model's file name.
    pub source: String,
    /// The precision asked for.
    pub precision: String,
    /// The conversion.
    pub converted: &'a Converted,
    /// Results beside the float model's; empty where there were no samples.
    pub layers: Vec<Layer>,
    /// Samples that those are of.
    pub samples: usize,
    /// Metadata of the file.
    pub meta: Meta,
    steps: Vec<Step>,
    timeline: Vec<u64>,
    sizes: Vec<(&'static str, u64)>,
    targets: Vec<Target>,
}

/// A step of the finished program.
struct Step {
    name: String,
    op: &'static str,
    dtype: &'static str,
    dims: Vec<u32>,
    macs: u64,
    arena: u64,
    /// Of the lowered graph's step of this name.
    sqnr_db: Option<f32>,
    cost: Option<f64>,
    reason: Option<String>,
}

/// A device with the predicted times.
struct Target {
    name: &'static str,
    core: String,
    cores: u32,
    ms: f64,
    ms_all: f64,
}

impl<'a> Report<'a> {
    /// Gathers what the finished file says of itself, and what runs of it would take.
    pub fn new(
        (source, precision): (&Path, &str),
        converted: &'a Converted,
        (layers, samples): (Vec<Layer>, usize),
    ) -> Result<Self, CliError> {
        let model = Model::from_bytes(&converted.file)?;
        let session =
            Session::new(&model, &SessionOptions { threads: Some(1), ..SessionOptions::default() })?;
        let program = session.program();
        let timeline = memory_timeline(program);
        let profile = Profile::new(&session);
        let steps = program.steps.iter().zip(profile.steps()).zip(&timeline).map(|((step, p), &arena)| {
            let output = &program.tensors[step.output as usize];
            let known = converted.steps.iter().find(|s| s.name == step.name);
            Step {
                name: step.name.clone(),
                op: p.op,
                dtype: output.dtype.name(),
                dims: output.dims.clone(),
                macs: p.macs,
                arena,
                sqnr_db: known.and_then(|s| s.sqnr_db),
                cost: known.and_then(|s| s.cost),
                reason: known.and_then(|s| s.reason.clone()),
            }
        });
        Ok(Self {
            source: source.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            precision: precision.to_owned(),
            converted,
            layers,
            samples,
            meta: model.meta().clone(),
            steps: steps.collect(),
            timeline,
            sizes: sizes(&model),
            targets: targets(&model)?,
        })
    }

    /// Writes the report: JSON where the name ends in `.json`, else a page.
    pub fn save(&self, path: &Path) -> Result<(), CliError> {
        let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let text = if json { format!("{:#}\n", self.json()) } else { html::page(self) };
        save(path, text.as_bytes())
    }

    fn json(&self) -> Value {
        let c = self.converted;
        let steps: Vec<Value> = self.steps.iter().map(step_json).collect();
        let layers: Vec<Value> = self.layers.iter().map(layer_json).collect();
        let groups = c.found.iter().flat_map(|f| &f.groups).map(|g| {
            json!({ "name": g.name, "macs": g.macs, "weights": g.weights, "level": format!("{:?}", g.level).to_lowercase(), "cost": number(g.cost),
                    "measured": g.measured })
        });
        let targets = self.targets.iter().map(|t| {
            json!({ "target": t.name, "core": t.core, "cores": t.cores, "ms_one_core": t.ms, "ms_all_cores": t.ms_all })
        });
        json!({
            "source": self.source,
            "precision": self.precision,
            "file_bytes": c.file.len(),
            "weights_bytes": c.weights_bytes,
            "arena_bytes": c.program.arena_bytes,
            "macs": c.steps.iter().map(|s| s.macs).sum::<u64>(),
            "share_int8": c.share(DType::S8),
            "error": c.found.as_ref().map(|f| json!({
                "measure": f.measure, "of_accepted": number(f.error), "all_int8": number(f.whole), "trials": f.trials })),
            "equalization": c.enlarged.map(|e| json!({
                "channels": e.channels, "of": e.of, "greatest": e.greatest, "samples": e.samples })),
            "groups": groups.collect::<Vec<_>>(),
            "sparsity": c.sparsity.iter().map(finding_json).collect::<Vec<_>>(),
            "steps": steps,
            "layers": layers,
            "samples": self.samples,
            "ranges": c.ranges.iter().map(|r| json!({ "tensor": r.name, "min": r.min, "max": r.max })).collect::<Vec<_>>(),
            "memory_timeline": self.timeline,
            "weights_by_type": self.sizes.iter().map(|(t, b)| ((*t).to_owned(), json!(b))).collect::<serde_json::Map<_, _>>(),
            "predicted": targets.collect::<Vec<_>>(),
            "task": self.meta.text(key::TASK),
        })
    }
}

fn step_json(s: &Step) -> Value {
    json!({ "name": s.name, "op": s.op, "dtype": s.dtype, "dims": s.dims, "macs": s.macs, "arena_bytes": s.arena,
            "sqnr_db": s.sqnr_db.map(|db| number(db.into())), "cost": s.cost.map(number), "reason": s.reason })
}

fn finding_json(f: &Finding) -> Value {
    json!({ "step": f.step, "zeros": f.zeros, "zero_groups_of_4": f.fours, "zero_groups_of_2": f.pairs,
            "nonzero_of_4": f.of_four, "sparse_by_groups_of": f.outcome.as_ref().ok().map(|g| g.inputs()),
            "reason": f.outcome.as_ref().err() })
}

fn layer_json(l: &Layer) -> Value {
    json!({ "step": l.step, "tensor": l.tensor, "dtype": l.dtype.name(), "cosine": number(l.cosine),
            "sqnr_db": number(l.sqnr_db), "max_error": number(l.max_error), "saturated": l.saturated, "range": l.range,
            "histogram": { "low": number(l.histogram.low), "high": number(l.histogram.high), "counts": l.histogram.counts } })
}

/// Bytes of the constants, by type.
fn sizes(model: &Model) -> Vec<(&'static str, u64)> {
    let program = &model.programs()[0];
    let mut known: Vec<(u64, &'static str, u64)> = Vec::new();
    for step in &program.steps {
        let x = step.inputs.first().copied().flatten().map(|id| program.tensors[id as usize].dtype);
        for &id in step.inputs.iter().flatten() {
            let t = &program.tensors[id as usize];
            if t.storage == Storage::Weights {
                // Packed weights are of the type of what they are multiplied with.
                let dtype = if t.dtype == DType::Packed { x.unwrap_or(t.dtype) } else { t.dtype };
                known.push((t.offset, dtype.name(), t.extent()));
            }
        }
    }
    known.sort_unstable();
    known.dedup_by_key(|k| k.0);
    let mut sums = std::collections::BTreeMap::new();
    known.into_iter().for_each(|(_, name, bytes)| *sums.entry(name).or_insert(0) += bytes);
    sums.into_iter().collect()
}

fn targets(model: &Model) -> Result<Vec<Target>, CliError> {
    let one = |name: &'static str| {
        let device = crate::budget::device(&crate::budget::profile(name)?)?;
        let p = device.predict(model)?;
        let (ms, ms_all) = (p.seconds * 1e3, p.seconds_all * 1e3);
        Ok(Target { name, core: device.core().to_owned(), cores: device.cores(), ms, ms_all })
    };
    cygnet_targets::names().map(one).collect()
}
