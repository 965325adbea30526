//! Calibration by parts, which may be on several machines, and may be interrupted.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::file::CalibrationFileError;
use super::{CalibrateError, Calibration, Looker, Samples, is_stream, sanity};
use crate::error::ImportError;
use crate::onnx::ImportOptions;
use crate::pipeline::{ConvertError, Progress, import, prepare};

/// One part of a calibration, as `cygnet calibrate` makes it.
pub struct Part<'a> {
    /// The source model.
    pub source: PathBuf,
    /// Shapes of inputs that the model leaves open.
    pub import: ImportOptions,
    /// All samples.
    pub samples: &'a mut dyn Samples,
    /// Which part of them: every `shards`-th from `shard` on, counted from 0.
    pub shard: usize,
    /// How many parts there are.
    pub shards: usize,
    /// The options that decide what samples look like, for the record.
    pub settings: String,
    /// What an interrupted calibration had seen, and of how many samples.
    pub begun: Option<(Calibration, usize)>,
}

/// Sees what values the tensors of a model take. `keep` is called after every sample with what has been seen, and the
/// number of samples of this part that it is of: to write it down where that pays.
///
/// # Errors
/// Says what stands in the way and what to do.
pub fn calibrate_part(
    part: Part<'_>,
    progress: &mut dyn Progress,
    keep: &mut dyn FnMut(&Calibration, usize) -> Result<(), CalibrationFileError>,
) -> Result<(Calibration, Vec<String>), ConvertError> {
    let Part { source, import: import_options, samples, shard, shards, settings, begun } = part;
    progress.stage("reading the model", None);
    let bytes =
        std::fs::read(&source).map_err(|error| ImportError::Io { path: source.clone(), source: error })?;
    let lir = prepare(&import(&source, &import_options)?)?;
    if is_stream(&lir) && shards > 1 {
        return Err(ConvertError::StreamInParts);
    }
    let fresh = Calibration::new(&lir, Sha256::digest(&bytes).into(), settings);
    // A stream cannot be taken up in its midst: its states are lost.
    let fits = |c: &Calibration| !is_stream(&lir) && c.model == fresh.model && c.settings == fresh.settings;
    let (mut seen, done) = begun.filter(|(c, _)| fits(c) && c.stats(&lir).is_ok()).unwrap_or((fresh, 0));
    let mine: Vec<usize> = (shard..samples.len()).step_by(shards).collect();
    if mine.is_empty() {
        return Err(CalibrateError::Empty.into());
    }
    let mut looker = Looker::new(&lir)?;
    progress.stage("calibrating", Some(mine.len()));
    (0..done.min(mine.len())).for_each(|_| progress.advance());
    for (count, &index) in mine.iter().enumerate().skip(done) {
        let arrays = samples.get(index).map_err(|what| CalibrateError::Sample { index, what })?;
        looker.look(index, &arrays, &mut seen)?;
        keep(&seen, count + 1)?;
        progress.advance();
    }
    let warnings = sanity::warnings(&lir, &seen)?;
    Ok((seen, warnings))
}
