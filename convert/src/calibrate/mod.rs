//! What values each tensor takes: running the float model over samples, in constant memory.
//!
//! [`Stats`] is what is kept of a tensor, [`Calibration`] that of all, which is written to files ([`file`]) and merged;
//! [`Calibrator`] makes ranges of it, [`sanity`] says what about it makes no sense.

mod choice;
pub mod file;
pub mod histogram;
pub mod moments;
pub mod part;
pub mod sanity;
pub mod stats;

use std::collections::BTreeMap;

use cygnet::format::Array;
use cygnet::{Model, Session, SessionOptions, TensorRef};
use cygnet_format::op::Op;
use cygnet_format::program::DType;
use cygnet_format::writer::{WeightsAlign, Writer};
use cygnet_kernels::conv::pack::PACK_ID;
use sha2::{Digest, Sha256};

use crate::emit::{Emitted, Weights, emit_for_looking};
use crate::lir::{Id, Kind, Lir};
use crate::precision::{add_padding_rows, infinite};

pub use choice::Calibrator;
pub use file::CalibrationFileError;
use moments::{Moments, Windows};
pub use stats::Stats;

/// Where samples come from, one after another.
pub trait Samples {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The arrays of sample `i`, under the names of the model's inputs.
    ///
    /// # Errors
    /// What is wrong with the sample, naming its file.
    fn get(&mut self, i: usize) -> Result<Vec<Array>, String>;
}

/// Why calibration stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CalibrateError {
    #[error("there are no samples; give photos or arrays like those the model will meet")]
    Empty,
    #[error("sample {index}: {what}")]
    Sample { index: usize, what: String },
    #[error("sample {index}: {source}")]
    Run { index: usize, source: cygnet::Error },
    #[error("sample {index}: tensor '{tensor}' holds NaN or infinity; the model or the sample is not usable")]
    NonFinite { index: usize, tensor: String },
    #[error("the float model cannot be written: {0}")]
    Emit(String),
    #[error(transparent)]
    Format(#[from] cygnet_format::FormatError),
    #[error(transparent)]
    Session(#[from] cygnet::Error),
    #[error(
        "the calibration is of another model, or of other shapes, or by another version of this program ({0}); \
         calibrate again with `cygnet calibrate`"
    )]
    OtherModel(String),
}

/// What is known of the tensors of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// SHA-256 of the source model's file.
    pub model: [u8; 32],
    /// The options that decide what the network is and what samples look like.
    pub settings: String,
    /// The start of the SHA-256 of each sample's content, ascending.
    pub samples: Vec<u64>,
    /// The tensors seen, by their position in the lowered graph.
    pub tensors: Vec<Watched>,
    /// The products with constant weights, by their position in the lowered graph.
    pub products: Vec<Met>,
}

/// What the weights of one product meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// The product's name in the lowered graph.
    pub name: String,
    /// What is known of it.
    pub moments: Moments,
}

/// One tensor that is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Its name in the lowered graph.
    pub name: String,
    /// What is known of it.
    pub stats: Stats,
}

/// The tensors that calibration looks at: all computed real ones, and the inputs; but for those that masks put infinity
/// into, which stay in f32.
fn watched(lir: &Lir) -> Vec<Id> {
    let infinite = infinite(lir);
    let real = |id: &Id| {
        lir.tensors[*id].constant.is_none() && lir.tensors[*id].dtype == DType::F32 && !infinite[*id]
    };
    let mut ids: Vec<Id> =
        lir.inputs.iter().map(|i| i.1).chain(lir.steps.iter().map(|s| s.output)).filter(real).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// For each tensor, whether a product with weights reads or writes it: there channels count.
fn by_channel(lir: &Lir) -> Vec<bool> {
    let mut wanted = vec![false; lir.tensors.len()];
    for step in &lir.steps {
        if let Kind::Op(Op::Conv(_) | Op::DepthwiseConv(_) | Op::ConvTranspose(_)) = step.kind {
            wanted[step.output] = true;
            if let Some(x) = step.inputs[0] {
                wanted[x] = true;
            }
        }
    }
    wanted
}

/// The products whose inputs' moments are kept, by their position in the graph.
fn products(lir: &Lir) -> Vec<(usize, Windows)> {
    let steps = lir.steps.iter().enumerate();
    steps.filter_map(|(i, step)| Some((i, Windows::of(lir, step)?))).collect()
}

impl Calibration {
    /// One that has seen nothing.
    pub fn new(lir: &Lir, model: [u8; 32], settings: String) -> Self {
        let channels = by_channel(lir);
        let tensors = watched(lir)
            .into_iter()
            .map(|id| {
                let t = &lir.tensors[id];
                let n = if channels[id] { t.dims.last().copied().unwrap_or(0) } else { 0 };
                Watched { name: t.name.clone(), stats: Stats::new(n) }
            })
            .collect();
        let products = products(lir)
            .into_iter()
            .map(|(i, at)| Met { name: lir.steps[i].name.clone(), moments: Moments::new(&at) })
            .collect();
        Self { model, settings, samples: Vec::new(), tensors, products }
    }

    /// What is known of each tensor of the lowered graph that this is a calibration of.
    ///
    /// # Errors
    /// When it is one of another graph.
    pub fn stats(&self, lir: &Lir) -> Result<Vec<Option<&Stats>>, CalibrateError> {
        let fresh = Self::new(lir, self.model, String::new());
        let mut found = vec![None; lir.tensors.len()];
        let other = |what: String| Err(CalibrateError::OtherModel(what));
        if fresh.tensors.len() != self.tensors.len() {
            return other(format!("{} tensors, not {}", self.tensors.len(), fresh.tensors.len()));
        }
        for ((id, new), own) in watched(lir).into_iter().zip(&fresh.tensors).zip(&self.tensors) {
            if new.name != own.name || new.stats.channels().len() != own.stats.channels().len() {
                return other(format!("tensor '{}', not '{}'", own.name, new.name));
            }
            found[id] = Some(&own.stats);
        }
        Ok(found)
    }

    /// What is known of the inputs of each product of the lowered graph that this is a calibration of, by its steps.
    ///
    /// # Errors
    /// When it is one of another graph.
    pub fn moments(&self, lir: &Lir) -> Result<BTreeMap<usize, (Windows, &Moments)>, CalibrateError> {
        let other = |what: String| Err(CalibrateError::OtherModel(what));
        let all = products(lir);
        if all.len() != self.products.len() {
            return other(format!("{} products, not {}", self.products.len(), all.len()));
        }
        let mut found = BTreeMap::new();
        for ((i, at), own) in all.into_iter().zip(&self.products) {
            if lir.steps[i].name != own.name || !own.moments.fits(&at) {
                return other(format!("product '{}', not '{}'", own.name, lir.steps[i].name));
            }
            found.insert(i, (at, &own.moments));
        }
        Ok(found)
    }

    /// Takes in what another one has seen.
    ///
    /// # Errors
    /// When the two are of different models or settings, or when one has seen nothing that the other has not.
    pub fn merge(&mut self, other: &Self) -> Result<(), CalibrationFileError> {
        let shape = |c: &Self| -> Vec<(String, usize)> {
            let tensors = c.tensors.iter().map(|t| (t.name.clone(), t.stats.channels().len()));
            tensors.chain(c.products.iter().map(|p| (p.name.clone(), p.moments.sums.len()))).collect()
        };
        if self.model != other.model || shape(self) != shape(other) {
            return Err(CalibrationFileError::Unlike { what: "models" });
        }
        if self.settings != other.settings {
            return Err(CalibrationFileError::Settings {
                first: self.settings.clone(),
                second: other.settings.clone(),
            });
        }
        let within = |a: &[u64], b: &[u64]| !a.is_empty() && a.iter().all(|s| b.binary_search(s).is_ok());
        if within(&self.samples, &other.samples) || within(&other.samples, &self.samples) {
            return Err(CalibrationFileError::SeenTwice);
        }
        self.samples.extend(&other.samples);
        self.samples.sort_unstable();
        for (own, other) in self.tensors.iter_mut().zip(&other.tensors) {
            own.stats.merge(&other.stats);
        }
        for (own, other) in self.products.iter_mut().zip(&other.products) {
            own.moments.merge(&other.moments);
        }
        Ok(())
    }
}

/// The float model made ready to be looked at.
pub struct Looker {
    session: Session,
    /// For each watched tensor, in their order: how many steps have been done when it is there, and the program's tensor.
    /// By the steps.
    order: Vec<(usize, u32, usize)>,
    /// For each watched tensor the products that it is the input of: their places among all of them, and their windows.
    products: Vec<Vec<(usize, Windows)>>,
}

/// Whether samples of the model follow one another, since it keeps states: calibration then sees a stream, in order.
pub fn is_stream(lir: &Lir) -> bool {
    !lir.states.is_empty()
}

impl Looker {
    /// Prepares the float program of a lowered graph.
    ///
    /// # Errors
    /// When it cannot be written or run.
    pub fn new(lir: &Lir) -> Result<Self, CalibrateError> {
        let mut float = lir.clone();
        add_padding_rows(&mut float);
        let mut weights = Weights::default();
        let Emitted { program, tensors, ready, .. } =
            emit_for_looking(&float, "calibration", &mut weights).map_err(CalibrateError::Emit)?;
        let weights = weights.finish();
        let mut writer = Writer::new();
        writer.program(&program).pack_id(PACK_ID);
        if !weights.is_empty() {
            writer.weights(&weights, WeightsAlign::Page16K);
        }
        let session = Session::new(&Model::from_bytes(&writer.finish()?)?, &SessionOptions::default())?;
        let mut order: Vec<_> = watched(lir)
            .into_iter()
            .enumerate()
            .filter_map(|(i, id)| Some((ready[id].unwrap_or(0), tensors[id]?, i)))
            .collect();
        order.sort_unstable();
        let ids = watched(lir);
        let mut by_tensor = vec![Vec::new(); ids.len()];
        for (place, (i, at)) in products(lir).into_iter().enumerate() {
            if let Some(tensor) = lir.steps[i].inputs[0].and_then(|x| ids.binary_search(&x).ok()) {
                by_tensor[tensor].push((place, at));
            }
        }
        Ok(Self { session, order, products: by_tensor })
    }

    /// Runs one sample and takes in what its tensors hold. `index` is for errors alone.
    ///
    /// # Errors
    /// Says what is wrong with the sample.
    pub fn look(
        &mut self,
        index: usize,
        arrays: &[Array],
        seen: &mut Calibration,
    ) -> Result<(), CalibrateError> {
        let run = |source| CalibrateError::Run { index, source };
        let mut digest = Sha256::new();
        for a in arrays {
            digest.update(a.name.as_bytes());
            digest.update(&a.bytes);
            self.session
                .set_input(&a.name, TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims))
                .map_err(run)?;
        }
        let start = digest.finalize()[..8].try_into().expect("32 bytes");
        let hash = u64::from_le_bytes(start);
        let (order, tensors, known) = (&self.order, &mut seen.tensors, &mut seen.products);
        let readers = &self.products;
        let mut next = 0;
        let mut odd = None;
        self.session
            .run_looking(&mut |done, memory| {
                while let Some(&(ready, tensor, i)) = order.get(next).filter(|o| o.0 <= done) {
                    debug_assert!(ready == done);
                    let Some(values) = memory.tensor(tensor as usize).map(|t| t.to_f32()) else { break };
                    let watched = &mut tensors[i];
                    if odd.is_none() && !watched.stats.add(&values) {
                        odd = Some(watched.name.clone());
                    }
                    if odd.is_none() {
                        for (place, at) in &readers[i] {
                            known[*place].moments.add(at, &values, hash);
                        }
                    }
                    next += 1;
                }
            })
            .map_err(run)?;
        if let Some(tensor) = odd {
            return Err(CalibrateError::NonFinite { index, tensor });
        }
        let at = seen.samples.partition_point(|&s| s <= hash);
        seen.samples.insert(at, hash);
        Ok(())
    }
}

/// Runs the float model over the samples. `advance` is called after every one.
///
/// # Errors
/// Names the sample and what is wrong with it.
pub fn calibrate(
    lir: &Lir,
    samples: &mut dyn Samples,
    seen: &mut Calibration,
    advance: &mut dyn FnMut(),
) -> Result<(), CalibrateError> {
    if samples.is_empty() {
        return Err(CalibrateError::Empty);
    }
    let mut looker = Looker::new(lir)?;
    for index in 0..samples.len() {
        let arrays = samples.get(index).map_err(|what| CalibrateError::Sample { index, what })?;
        looker.look(index, &arrays, seen)?;
        advance();
    }
    Ok(())
}
