//! Source models: where they are, their references, and their conversion.

use std::path::{Path, PathBuf};

use cygnet::format::Array;
use cygnet::{Model, Session, SessionOptions, npz};
use cygnet_convert::{
    Calibrator, ConvertError, Converted, ImportOptions, Options, Precision, Samples, Silent, Tools, convert,
};

use crate::{bits, place};

/// Samples held in memory.
pub struct Held(pub Vec<Vec<Array>>);

impl Samples for Held {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&mut self, i: usize) -> Result<Vec<Array>, String> {
        Ok(self.0[i].clone())
    }
}

/// A source model with one real input and what ONNX Runtime or LiteRT answered.
pub struct Source {
    /// The model's file.
    pub path: PathBuf,
    /// One input, under the names of the model's inputs.
    pub inputs: Vec<Array>,
    /// The answer, under the names of the model's outputs.
    pub outputs: Vec<Array>,
    /// Inputs and outputs to be tied.
    pub states: Vec<(String, String)>,
}

impl Source {
    /// A model with the reference beside it.
    pub fn new(path: PathBuf) -> Self {
        let reference = path.with_extension("npz");
        Self::with(path, &reference)
    }

    /// A model with the reference in another place.
    pub fn with(path: PathBuf, reference: &Path) -> Self {
        let arrays = npz::read(reference).unwrap_or_else(|e| panic!("{e}"));
        let part = |prefix: &str| -> Vec<Array> {
            // In a .npz a slash would be a folder.
            let named =
                |a: &Array| Some(Array { name: a.name.strip_prefix(prefix)?.replace('|', "/"), ..a.clone() });
            arrays.iter().filter_map(named).collect()
        };
        Self { path, inputs: part("in:"), outputs: part("out:"), states: Vec::new() }
    }

    /// A model of the table in `assets`, or of the folder `CYGNET_MODELS` with the reference beside it; says what is
    /// skipped when it is not there.
    pub fn find(test: &str, file: &str) -> Option<Self> {
        let reference = Path::new(file).with_extension("npz");
        if place::asset(file).exists() {
            let beside = place::asset(&reference.to_string_lossy());
            let own = place::own("data").join(&reference);
            return Some(Self::with(place::asset(file), if beside.exists() { &beside } else { &own }));
        }
        let path = place::model_file(test, file)?;
        place::model_file(test, &reference.to_string_lossy())?;
        Some(Self::new(path))
    }

    /// Converts the model for the shapes of its reference input, calibrated with that input.
    pub fn convert(&self, precision: Precision) -> Result<Converted, ConvertError> {
        self.convert_with(precision, vec![self.inputs.clone()], 0)
    }

    /// Converts the model for the shapes of its reference input, calibrated with `samples`.
    pub fn convert_with(
        &self,
        precision: Precision,
        samples: Vec<Vec<Array>>,
        goldens: usize,
    ) -> Result<Converted, ConvertError> {
        self.convert_as(samples, |options| {
            options.precision = precision;
            options.goldens = goldens;
        })
    }

    /// Converts the model for the shapes of its reference input, with options that `set` changes: f32 without goldens
    /// before that.
    pub fn convert_as(
        &self,
        samples: Vec<Vec<Array>>,
        set: impl FnOnce(&mut Options<'_>),
    ) -> Result<Converted, ConvertError> {
        let mut import = ImportOptions { states: self.states.clone(), ..ImportOptions::default() };
        for a in &self.inputs {
            import.shapes.insert(a.name.clone(), a.dims.iter().map(|&d| d as usize).collect());
        }
        let mut held = Held(samples);
        let mut options = Options {
            source: self.path.clone(),
            import,
            buckets: Vec::new(),
            precision: Precision::F32,
            samples: (!held.is_empty()).then_some(&mut held),
            int8_io: false,
            calibration: None,
            calibrator: Calibrator::default(),
            tools: Tools::default(),
            budget: cygnet_convert::Budget::default(),
            judge: &cygnet_convert::judge::Outputs,
            winograd: true,
            sparse: true,
            meta: cygnet::format::Meta::new(),
            goldens: 0,
            provenance: String::new(),
        };
        set(&mut options);
        convert(options, &mut Silent)
    }
}

/// A session of a converted model.
pub fn session(converted: &Converted) -> Session {
    let model = Model::from_bytes(&converted.file).unwrap_or_else(|e| panic!("{e}"));
    Session::new(&model, &SessionOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Runs a session; the outputs as real numbers, by name.
pub fn run(session: &mut Session, inputs: &[Array]) -> Vec<(String, Vec<f32>)> {
    bits::set(session, inputs).and_then(|()| session.run()).unwrap_or_else(|e| panic!("{e}"));
    session.outputs().map(|(name, _)| (name.to_owned(), session.output(name).unwrap().to_f32())).collect()
}
