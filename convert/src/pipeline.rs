//! From a source model to a `.cygnet` file, stage by stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cygnet::format::golden::GoldenCase;
use cygnet::format::meta::{Meta, provenance};
use cygnet::format::op::BlockKind;
use cygnet::format::program::{DType, Program};
use cygnet::format::quant::{self, QuantReport, StepReport, TensorRange};
use cygnet::format::writer::{WeightsAlign, Writer};
use cygnet_kernels::conv::pack::PACK_ID;
use sha2::{Digest, Sha256};

use crate::algorithm;
use crate::attention;
use crate::calibrate::file::CalibrationFileError;
use crate::calibrate::{CalibrateError, Calibration, Calibrator, Samples, calibrate, sanity};
use crate::clip::clip;
use crate::emit::{Weights, emit};
use crate::error::ImportError;
use crate::explain::{Explained, explain};
use crate::fuse;
use crate::goldens::golden_cases;
use crate::graph::Graph;
use crate::judge::Judge;
use crate::lir::{Id, Lir};
use crate::lower::{LowerError, lower};
use crate::onnx::{self, ImportOptions};
use crate::passes;
use crate::precision::{Plan, Precision, add_padding_rows, apply, choose, given};
use crate::ranges::Range;
use crate::residual;
use crate::search::{Bench, Budget, Found, Level};
use crate::sensitivity;
use crate::sparsity::{self, Finding};
use crate::state;
use crate::tflite;
use crate::tune::{Enlarged, Tools, tune};

/// What to convert, and how.
pub struct Options<'a> {
    /// The source model: `.onnx` or `.tflite`.
    pub source: PathBuf,
    /// Shapes of inputs that the model leaves open.
    pub import: ImportOptions,
    /// Further shapes: each set makes another program of the file, over the same weights.
    pub buckets: Vec<BTreeMap<String, Vec<usize>>>,
    /// The precision of the network's body.
    pub precision: Precision,
    /// Samples that show what values tensors take; needed for int8, used for golden outputs where given.
    pub samples: Option<&'a mut dyn Samples>,
    /// Whether inputs and outputs are s8 too, with the scales that calibration gives them; for int8 alone.
    pub int8_io: bool,
    /// What samples have shown already: taken instead of running them.
    pub calibration: Option<Calibration>,
    /// How ranges follow from the samples.
    pub calibrator: Calibrator,
    /// What else is done about the accuracy of int8.
    pub tools: Tools,
    /// Whether f32 convolutions may use Winograd's algorithm where it is faster.
    pub winograd: bool,
    /// Whether int8 products whose weights are mostly zero may be steps by sparse weights where those are faster.
    pub sparse: bool,
    /// In `auto`, what the choice of precisions has to keep to.
    pub budget: Budget,
    /// In `auto`, what counts as an error of the outputs.
    pub judge: &'a dyn Judge,
    /// What the file says of itself: task, labels, preprocessing.
    pub meta: Meta,
    /// How many golden cases ride in the file, from the first samples, or one of pseudo-random input without any.
    pub goldens: usize,
    /// The options as the user gave them, for the record.
    pub provenance: String,
}

/// What a conversion tells while it goes on.
pub trait Progress {
    /// A stage begins; with a count of steps where that is known.
    fn stage(&mut self, name: &str, steps: Option<usize>);
    /// One step of the stage is done.
    fn advance(&mut self);
}

/// Tells nothing.
pub struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &str, _: Option<usize>) {}
    fn advance(&mut self) {}
}

/// Why a conversion failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConvertError {
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error("cannot convert: {0}")]
    Step(String),
    #[error(
        "int8 needs samples of what the model will meet: give a folder of photos or .npy/.npz files with --calibrate, \
         or what `cygnet calibrate` made of them with --calibration"
    )]
    NoSamples,
    #[error("no choice of precisions keeps to the budget: {0}; allow more, or train a smaller model")]
    Budget(String),
    #[error(
        "the model shares no tensor with the source; give the source that it was converted from, with the same options"
    )]
    Unrelated,
    #[error("the outputs cannot be compared: {0}")]
    Judge(String),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error("int8 inputs and outputs belong to --precision int8, not {0}; leave out --io int8")]
    Int8Io(Precision),
    #[error(transparent)]
    CalibrationFile(#[from] CalibrationFileError),
    #[error(
        "the model keeps states: its samples are a stream, each run beginning where the last one ended, and cannot be \
         calibrated in parts; leave out --shard"
    )]
    StreamInParts,
    #[error("the calibration is of another model file than {}; calibrate again with `cygnet calibrate`", .0.display())]
    OtherSource(PathBuf),
    #[error(transparent)]
    Runtime(#[from] cygnet::Error),
    #[error(transparent)]
    Format(#[from] cygnet::format::FormatError),
    #[error(transparent)]
    Save(#[from] cygnet::format::SaveError),
}

/// One step of the result, as a report shows it.
#[derive(Clone, Debug)]
pub struct StepSummary {
    /// Name of the step.
    pub name: String,
    /// Its precision.
    pub dtype: DType,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Why it is not in the precision asked for.
    pub reason: Option<String>,
    /// Signal to noise of its result in int8 with exact inputs, in dB, where that was measured.
    pub sqnr_db: Option<f32>,
    /// Error of the outputs when it (with the steps raised together with it) alone is in int8, in units of what is
    /// accepted; where `auto` has found it out.
    pub cost: Option<f64>,
}

/// The outcome of a conversion.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The file's bytes.
    pub file: Vec<u8>,
    /// The first program in it.
    pub program: Program,
    /// The programs for further shapes.
    pub buckets: Vec<Program>,
    /// Bytes of the weights section.
    pub weights_bytes: usize,
    /// The steps of the lowered graph with their precisions.
    pub steps: Vec<StepSummary>,
    /// What became of each operator of the source model, in the first program.
    pub explained: Vec<Explained>,
    /// Products of the first program with many weights of zero, and what became of them.
    pub sparsity: Vec<Finding>,
    /// What about the samples makes no sense, in words for the user.
    pub warnings: Vec<String>,
    /// What equalization has done for int8; nothing where no channel was enlarged.
    pub enlarged: Option<Enlarged>,
    /// What `auto` has found.
    pub found: Option<Found>,
    /// Calibrated ranges, by tensor.
    pub ranges: Vec<TensorRange>,
}

impl Converted {
    /// Share of the multiply-accumulates that a type does, from 0 to 1.
    pub fn share(&self, dtype: DType) -> f64 {
        let sum = |f: &dyn Fn(&StepSummary) -> bool| -> u64 {
            self.steps.iter().filter(|s| f(s)).map(|s| s.macs).sum()
        };
        let all = sum(&|_| true);
        if all == 0 { 0.0 } else { sum(&|s| s.dtype == dtype) as f64 / all as f64 }
    }
}

/// Reads a source model of any supported format into a simplified graph.
///
/// # Errors
/// Says what is wrong with the file.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Graph, ImportError> {
    let mut graph = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tflite")) {
        tflite::import(path, options)?
    } else {
        onnx::import(path, options)?
    };
    state::tie(&mut graph, &options.states)?;
    passes::simplify(&mut graph)?;
    Ok(graph)
}

/// Lowers a simplified graph and folds what needs no ranges.
///
/// # Errors
/// Names every node that cannot be lowered.
pub fn prepare(graph: &Graph) -> Result<Lir, LowerError> {
    let mut lir = lower(graph)?;
    fuse::fold_bounds(&mut lir);
    fuse::rejoin_slices(&mut lir);
    Ok(lir)
}

/// Converts a model.
///
/// # Errors
/// Says what stands in the way and what to do.
pub fn convert(options: Options<'_>, progress: &mut dyn Progress) -> Result<Converted, ConvertError> {
    let Options {
        source,
        import: import_options,
        buckets,
        precision,
        mut samples,
        int8_io,
        calibration,
        calibrator,
        tools,
        winograd,
        sparse,
        budget,
        judge,
        meta,
        goldens,
        provenance,
    } = options;
    progress.stage("reading the model", None);
    let source_bytes =
        std::fs::read(&source).map_err(|error| ImportError::Io { path: source.clone(), source: error })?;
    let graph = import(&source, &import_options)?;
    let lir = prepare(&graph)?;
    if int8_io && precision != Precision::Int8 {
        return Err(ConvertError::Int8Io(precision));
    }
    // Without samples nothing is known of what int8 would cost; ranges alone say what int8 needs.
    let asked = precision;
    let precision = match (precision, &samples, &calibration) {
        (Precision::Auto, None, None) => Precision::F32,
        (Precision::Auto, None, Some(_)) => Precision::Int8,
        _ => precision,
    };
    // What comes quantized runs in int8 by its own scales, with samples or without.
    let planned = |lir: &Lir| {
        let plan = Plan { int8_io, ..choose(lir, precision) };
        if matches!(asked, Precision::Int8 | Precision::Auto) { plan.with_given(given(lir)) } else { plan }
    };
    let mut plan = planned(&lir);

    let seen = if !plan.needs_ranges() {
        None
    } else if let Some(known) = calibration {
        if known.model[..] != Sha256::digest(&source_bytes)[..] {
            return Err(ConvertError::OtherSource(source));
        }
        Some(known)
    } else {
        let samples = samples.as_deref_mut().ok_or(ConvertError::NoSamples)?;
        progress.stage("calibrating", Some(samples.len()));
        let mut seen = Calibration::new(&lir, Sha256::digest(&source_bytes).into(), String::new());
        calibrate(&lir, samples, &mut seen, &mut || progress.advance())?;
        Some(seen)
    };
    let warnings = seen.as_ref().map_or(Ok(Vec::new()), |seen| sanity::warnings(&lir, seen))?;
    let tuned = |lir: Lir, plan: &Plan| -> Result<(Lir, Vec<Option<Range>>, Enlarged), CalibrateError> {
        let Some(seen) = &seen else {
            let none = vec![None; lir.tensors.len()];
            return Ok((lir, none, Enlarged::default()));
        };
        let stats = seen.stats(&lir)?;
        let moments = seen.moments(&lir)?;
        Ok(tune(lir, plan, &stats, &moments, calibrator, tools))
    };
    let (lir, mut ranges, enlarged) = tuned(lir, &plan)?;

    let enlarged = Some(enlarged).filter(|e| e.channels > 0);
    let mut notes = Notes::new(lir.steps.len());
    if let (true, Some(samples)) = (plan.needs_ranges(), samples.as_deref_mut()) {
        let few = sensitivity::spread(samples, LAYER_SAMPLES)?;
        if tools.clipping {
            let macs: u64 = lir.steps.iter().map(|step| lir.macs(step)).sum();
            let count = (CLIP_MACS / macs.max(1)).clamp(CLIP_SAMPLES.0, CLIP_SAMPLES.1) as usize;
            clip(&lir, &plan, &mut ranges, &sensitivity::spread(samples, count)?, progress)?;
        }
        if precision == Precision::Auto {
            let macs: u64 = lir.steps.iter().map(|step| lir.macs(step)).sum();
            let count = (TRIAL_MACS / macs.max(1)).clamp(TRIAL_SAMPLES.0, TRIAL_SAMPLES.1) as usize;
            let trials = (sensitivity::spread(samples, count * CANDIDATES)?, count);
            let higher = budget.device.as_ref().map_or(DType::F32, |device| device.higher());
            let mut bench = Bench::new((&lir, &plan, ranges), trials, judge, (winograd, higher), progress)?;
            let measure = |ranges: &[Option<Range>], progress: &mut dyn Progress| {
                sensitivity::local(&lir, &plan, &plan, ranges, &few, progress)
            };
            let found = bench.search(&budget, &measure, progress)?;
            notes.take(&found);
            ranges = bench.ranges;
            plan = found.plan.clone();
            notes.found = Some(found);
        }
        let could = planned(&lir);
        notes.sqnr = sensitivity::local(&lir, &could, &could, &ranges, &few, progress)?;
    }

    progress.stage("planning and packing", None);
    let mut weights = Weights::default();
    let name = if buckets.is_empty() { MAIN.to_owned() } else { bucket_name(&import_options.shapes) };
    let mut low = typed(&lir, &plan, &ranges, winograd, None)?;
    let target = budget.device.as_ref().and_then(|device| device.rates());
    let sparsity = sparsity::choose(&mut low, target, sparse, None);
    fold_additions(&mut low, &lir, &plan);
    let emitted = emit(&low, &name, false, &mut weights).map_err(ConvertError::Step)?;
    let lowered = lir.steps.iter().flat_map(|s| s.sources.iter().copied()).collect();
    let explained = explain(&graph.sources, &lowered, &emitted.sources);
    let mut programs = vec![emitted.program];
    for shapes in &buckets {
        let name = bucket_name(shapes);
        let other = ImportOptions { shapes: shapes.clone(), ..import_options.clone() };
        let lir = prepare(&import(&source, &other)?)?;
        // Precisions are those found for the first shapes.
        let found = notes.found.as_ref().filter(|f| f.plan.types.len() == lir.steps.len());
        let plan = found.map_or_else(|| planned(&lir), |f| f.plan.clone());
        let (lir, ranges, _) = tuned(lir, &plan).map_err(|error| {
            ConvertError::Step(format!(
                "for {name} the model computes other tensors than for the shapes of the samples ({error}); convert \
                 these shapes to a file of their own"
            ))
        })?;
        let mut other = typed(&lir, &plan, &ranges, winograd, Some(&low))?;
        sparsity::choose(&mut other, target, sparse, Some(&low));
        fold_additions(&mut other, &lir, &plan);
        programs.push(emit(&other, &name, false, &mut weights).map_err(ConvertError::Step)?.program);
    }
    let weights = weights.finish();

    let steps = notes.summaries(&lir, &plan);
    let report = report(&steps, &plan, &lir, &ranges);
    let mut record = record(&source, &source_bytes, precision, &provenance);
    if let Some(enlarged) = &enlarged {
        record.set(provenance::EQUALIZATION, enlarged.to_string());
    }
    let bare = finish(&programs, &weights, &meta, &record, &report, &[])?;
    let half = plan.types.contains(&DType::F16);
    let cases = golden_cases(&bare, samples, goldens, half, progress)?;
    let file =
        if cases.is_empty() { bare } else { finish(&programs, &weights, &meta, &record, &report, &cases)? };
    let mut programs = programs.into_iter();
    let program = programs.next().expect("one program at least");
    Ok(Converted {
        file,
        program,
        buckets: programs.collect(),
        weights_bytes: weights.len(),
        steps,
        explained,
        sparsity,
        warnings,
        enlarged,
        found: notes.found,
        ranges: report.tensors,
    })
}

/// Samples that narrower ranges are tried on, at least and at most, and in between so many multiply-accumulates.
const CLIP_SAMPLES: (u64, u64) = (4, 16);
const CLIP_MACS: u64 = 5_000_000_000;

/// Samples that each layer's own loss is measured on.
const LAYER_SAMPLES: usize = 2;

/// Of so many times as many samples those are taken that tell most.
const CANDIDATES: usize = 3;

/// Samples that precisions are tried on, at least and at most ...
const TRIAL_SAMPLES: (u64, u64) = (16, 32);

/// ... and in between so many that a trial does this many multiply-accumulates.
const TRIAL_MACS: u64 = 8_000_000_000;

/// What is known of each step beside its type.
struct Notes {
    sqnr: Vec<Option<f32>>,
    cost: Vec<Option<f64>>,
    reasons: Vec<Option<String>>,
    found: Option<Found>,
}

impl Notes {
    fn new(n: usize) -> Self {
        Self { sqnr: vec![None; n], cost: vec![None; n], reasons: vec![None; n], found: None }
    }

    fn take(&mut self, found: &Found) {
        for group in &found.groups {
            for &i in &group.steps {
                self.cost[i] = Some(group.cost);
                if group.level != Level::Int8 {
                    self.reasons[i] = Some(found.reason(group));
                }
            }
        }
    }

    fn summaries(&self, lir: &Lir, plan: &Plan) -> Vec<StepSummary> {
        let types = plan.settled();
        let one = |(i, step): (usize, &crate::lir::Step)| StepSummary {
            name: step.name.clone(),
            dtype: types[i],
            macs: lir.macs(step),
            reason: self.reasons[i].clone().or_else(|| plan.reasons[i].map(str::to_owned)),
            sqnr_db: self.sqnr[i],
            cost: self.cost[i],
        };
        lir.steps.iter().enumerate().map(one).collect()
    }
}

/// The name of the only program of a file.
const MAIN: &str = "main";

/// The name of a program that is one of several: its shapes.
pub fn bucket_name(shapes: &BTreeMap<String, Vec<usize>>) -> String {
    let by_x = |dims: &[usize]| dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let named: Vec<String> = shapes.iter().map(|(name, dims)| format!("{name}={}", by_x(dims))).collect();
    named.join(",")
}

/// The lowered graph in the types that were chosen, with what that makes possible. Another program's, if given, decides
/// in which layout weights are.
fn typed(
    lir: &Lir,
    plan: &Plan,
    ranges: &[Option<Range>],
    winograd: bool,
    first: Option<&Lir>,
) -> Result<Lir, ConvertError> {
    let mut low = apply(lir, plan, ranges).map_err(ConvertError::Step)?;
    fuse::undo_conversions(&mut low);
    attention::fuse(&mut low);
    fuse::fold_functions(&mut low);
    fuse::fold_tables(&mut low);
    add_padding_rows(&mut low);
    match first {
        _ if !winograd => {}
        None => algorithm::choose(&mut low),
        Some(first) => algorithm::follow(&mut low, first),
    }
    Ok(low)
}

/// Takes up additions in `low`, which was made of `lir`, after the choice of sparse steps: those add nothing.
fn fold_additions(low: &mut Lir, lir: &Lir, plan: &Plan) {
    let real = |id: Id| {
        let real = lir.tensors.get(id).is_some_and(|t| t.dtype == DType::F32);
        real && plan.given.quant(id).is_none()
    };
    residual::fold_additions(low, real);
    // Functions of sums have a product before them now.
    fuse::fold_tables(low);
}

/// The bytes of a file that holds a graph in the precisions of a plan, and nothing else.
///
/// # Errors
/// Names the step that stands in the way.
pub fn file_of(
    lir: &Lir,
    plan: &Plan,
    ranges: &[Option<Range>],
    name: &str,
    winograd: bool,
) -> Result<Vec<u8>, ConvertError> {
    let mut low = typed(lir, plan, ranges, winograd, None)?;
    fold_additions(&mut low, lir, plan);
    let mut weights = Weights::default();
    let program = emit(&low, name, false, &mut weights).map_err(ConvertError::Step)?.program;
    finish(&[program], &weights.finish(), &Meta::new(), &Meta::new(), &QuantReport::default(), &[])
}

fn finish(
    programs: &[Program],
    weights: &[u8],
    meta: &Meta,
    record: &Meta,
    report: &QuantReport,
    cases: &[GoldenCase],
) -> Result<Vec<u8>, ConvertError> {
    let mut writer = Writer::new();
    programs.iter().for_each(|program| {
        writer.program(program);
    });
    writer.meta(meta).provenance(record).quant(report).pack_id(PACK_ID);
    if !weights.is_empty() {
        writer.weights(weights, WeightsAlign::Page16K);
    }
    if !cases.is_empty() {
        writer.golden(cases);
    }
    Ok(writer.finish()?)
}

fn report(steps: &[StepSummary], plan: &Plan, lir: &Lir, ranges: &[Option<Range>]) -> QuantReport {
    let steps = steps.iter().map(|step| StepReport {
        name: step.name.clone(),
        precision: match step.dtype {
            DType::S8 => match (plan.blocks, plan.dynamic) {
                (Some(BlockKind::Int8), _) => quant::Precision::WeightInt8,
                (Some(BlockKind::Int4), _) => quant::Precision::WeightInt4,
                (None, true) => quant::Precision::Dynamic,
                (None, false) => quant::Precision::Int8,
            },
            DType::F16 => quant::Precision::F16,
            _ => quant::Precision::F32,
        },
        sqnr_db: step.sqnr_db,
        reason: step.reason.clone().unwrap_or_default(),
    });
    let tensors = ranges
        .iter()
        .zip(&lir.tensors)
        .filter_map(|(range, t)| range.map(|r| TensorRange { name: t.name.clone(), min: r.min, max: r.max }));
    QuantReport { steps: steps.collect(), tensors: tensors.collect() }
}

fn record(source: &Path, bytes: &[u8], precision: Precision, options: &str) -> Meta {
    let mut record = Meta::new();
    let name = source.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let hash: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    record.set(provenance::SOURCE_FILE, name);
    record.set(provenance::SOURCE_SHA256, hash);
    record.set(provenance::TOOL, "cygnet-convert");
    record.set(provenance::TOOL_VERSION, env!("CARGO_PKG_VERSION"));
    record.set(
        provenance::OPTIONS,
        if options.is_empty() { format!("--precision {precision}") } else { options.to_owned() },
    );
    record
}
