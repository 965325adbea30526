//! The importer: bytes to messages to a graph in topological order with static shapes.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;

use super::schema::{ModelProto, OperatorSetIdProto};
use super::{importer, opset};
use crate::error::ImportError;
use crate::float64;
use crate::graph::{Graph, Tensor};
use crate::infer::{self, InferOptions};
use crate::passes;
use crate::source;

/// What the user decides about an import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Dimensions of inputs by name; needed where the model leaves any but the batch dimension open.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Values of inputs that are known now: such an input becomes a constant.
    pub constants: BTreeMap<String, Tensor>,
    /// Inputs and outputs that are one state: what a run gives for the output, the next finds as the input.
    pub states: Vec<(String, String)>,
    /// Turn `DequantizeLinear` of a constant into a float constant. Without it the constant keeps its integer
    /// type and the node stays.
    pub fold_dequantize: bool,
    /// Compute in float32 what the model computes in float64, in place of refusing it.
    pub round_float64: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            shapes: BTreeMap::new(),
            constants: BTreeMap::new(),
            states: Vec::new(),
            fold_dequantize: true,
            round_float64: false,
        }
    }
}

/// Reads an ONNX file. Older opsets are normalized to the newest form; all shapes are static; whatever can be computed
/// from constants is a constant.
///
/// # Errors
/// [`ImportError`] names what is wrong and what to do; no content of the file makes this panic.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Graph, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    import_with_dir(&bytes, Some(dir), options)
}

/// Reads an ONNX model from memory; constants in external files are refused.
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    import_with_dir(bytes, None, options)
}

fn import_with_dir(bytes: &[u8], dir: Option<&Path>, options: &ImportOptions) -> Result<Graph, ImportError> {
    let model = decode(bytes)?;
    let mut graph = importer::read(&model, dir, options)?;
    drop(model);
    passes::remove_dead(&mut graph);
    if !options.round_float64 {
        float64::check(&graph)?;
    }
    infer::infer(&mut graph, &InferOptions { fold_dequantize: options.fold_dequantize })?;
    infer::check_weights(&graph)?;
    Ok(graph)
}

fn decode(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    if let Some(what) = source::foreign(bytes) {
        return Err(ImportError::NotOnnx { reason: format!("it is {what}") });
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Err(ImportError::NotOnnx { reason: "it is a TensorFlow Lite model".to_owned() });
    }
    if bytes.is_empty() {
        return Err(ImportError::NotOnnx { reason: "the file is empty".to_owned() });
    }
    ModelProto::decode(bytes).map_err(|e| ImportError::NotOnnx {
        reason: format!("its {} bytes are not a whole protobuf message ({e})", bytes.len()),
    })
}

/// Operator set versions by domain.
pub struct Versions(BTreeMap<String, i64>);

impl Versions {
    /// Those that a model or function lists.
    pub(super) fn of(sets: &[OperatorSetIdProto]) -> Result<Self, ImportError> {
        let mut map = BTreeMap::new();
        for set in sets {
            map.insert(importer::domain_of(set.domain.as_deref()).to_owned(), set.version.unwrap_or(0));
        }
        match map.get("") {
            Some(&version) if version < opset::OLDEST => {
                Err(ImportError::Opset { domain: "ai.onnx".to_owned(), version, oldest: opset::OLDEST })
            }
            _ => Ok(Self(map)),
        }
    }

    /// Version of ONNX's own operators; the newest when the model does not say.
    pub fn onnx(&self) -> i64 {
        self.0.get("").copied().unwrap_or(i64::MAX)
    }
}
