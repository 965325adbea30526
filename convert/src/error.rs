//! What can go wrong between a model's file and a clean [`crate::graph::Graph`].

use std::fmt;
use std::path::PathBuf;

/// Why a source model is refused. Every message names the place and ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no ONNX model at all.
    #[error("this is not an ONNX model: {reason}; give a file that was written by an ONNX exporter")]
    NotOnnx {
        /// What was found in place of a model.
        reason: String,
    },
    /// The bytes are no TensorFlow Lite model at all, or a damaged one.
    #[error(
        "this is not a whole TensorFlow Lite model: {reason}; give a .tflite file as its converter wrote it"
    )]
    NotTflite {
        /// What was found in place of a model.
        reason: String,
    },
    /// The operator set is older than what can be normalized.
    #[error(
        "the model uses opset {version} of domain '{domain}', the oldest understood is {oldest}; \
         export it again with opset {oldest} or newer"
    )]
    Opset {
        /// Operator domain, `ai.onnx` for the default one.
        domain: String,
        /// Version the model declares.
        version: i64,
        /// Oldest version that is understood.
        oldest: i64,
    },
    /// The graph breaks a rule of the format (cycle, undefined or twice defined value, ...).
    #[error("the model's graph is malformed: {reason}; export the model again")]
    Malformed {
        /// Which rule, at which node or value.
        reason: String,
    },
    /// A stored constant cannot be decoded.
    #[error("constant '{tensor}': {reason}")]
    Tensor {
        /// Name of the constant.
        tensor: String,
        /// What was expected, what was found, what to do.
        reason: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "weight '{tensor}' of {op} '{node}' holds {value} at index {index}: a network with such weights \
         computes nothing useful; repair or retrain it"
    )]
    NonFinite {
        /// Name of the constant.
        tensor: String,
        /// Operator that uses it.
        op: String,
        /// Node that uses it.
        node: String,
        /// Row-major element index.
        index: usize,
        /// The value, `NaN`, `inf` or `-inf`.
        value: f64,
    },
    /// Dimensions of inputs are not known and have no default; all such inputs.
    #[error("{}; give all dimensions with {}", Open(inputs), Flags(inputs))]
    UnboundDims {
        /// Each input with what is open.
        inputs: Vec<UnboundInput>,
    },
    /// A shape given by the user does not fit the model.
    #[error("--shape {input}={given}: {reason}")]
    ShapeOption {
        /// Name of the input as given.
        input: String,
        /// Dimensions as given.
        given: String,
        /// Why it does not fit and what would.
        reason: String,
    },
    /// A value given by the user does not fit the input that it is for.
    #[error("--fix {input}: {reason}")]
    FixOption {
        /// Name of the input as given.
        input: String,
        /// Why it does not fit and what would.
        reason: String,
    },
    /// An input and an output cannot be one state.
    #[error("--state {input}={output}: {reason}")]
    StateOption {
        /// Name of the input as given.
        input: String,
        /// Name of the output as given.
        output: String,
        /// Why they do not suit and what would.
        reason: String,
    },
    /// The model uses operators that cannot be converted; all of them.
    #[error(
        "the model uses operators that are not supported: {}; replace them before exporting",
        List(operators)
    )]
    Unsupported {
        /// Each operator with the nodes that apply it.
        operators: Vec<UnsupportedOp>,
    },
    /// The TensorFlow Lite model uses operators that cannot be converted; all of them.
    #[error(
        "the model uses TensorFlow Lite operators that are not supported: {}; \
         replace them before converting to TensorFlow Lite, or export to ONNX",
        List(operators)
    )]
    UnsupportedTflite {
        /// Each operator under its builtin or custom name; its nodes as `index:output`.
        operators: Vec<UnsupportedOp>,
    },
    /// The model computes with doubles while it runs.
    #[error(
        "the model computes in float64, which no step does: {}; export it in float32, or say that float32 will do with \
         --round-float64",
        List(operators)
    )]
    Float64 {
        /// Each operator with the nodes that apply it.
        operators: Vec<UnsupportedOp>,
    },
    /// An operator's inputs or attributes contradict its definition.
    #[error("{op} '{node}': {reason}")]
    Node {
        /// Operator.
        op: String,
        /// Node.
        node: String,
        /// What was expected, what was found, what to do.
        reason: String,
    },
}

/// An input with dimensions that the model leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnboundInput {
    /// Name of the input.
    pub input: String,
    /// Index of the first dimension without a size.
    pub index: usize,
    /// Its symbolic name, `?` when it has none.
    pub dim: String,
    /// The shape as declared.
    pub shape: String,
    /// A value for the flag, with `N` where a number is wanted.
    pub example: String,
}

struct Open<'a>(&'a [UnboundInput]);

impl fmt::Display for Open<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, u) in self.0.iter().enumerate() {
            let lead = if i > 0 { ", " } else { "" };
            write!(
                f,
                "{lead}input '{}' has a dynamic dimension {} ('{}') in {}",
                u.input, u.index, u.dim, u.shape
            )?;
        }
        Ok(())
    }
}

struct Flags<'a>(&'a [UnboundInput]);

impl fmt::Display for Flags<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, u) in self.0.iter().enumerate() {
            write!(f, "{}--shape '{}={}'", if i > 0 { " " } else { "" }, u.input, u.example)?;
        }
        Ok(())
    }
}

/// An operator that cannot be converted, with the places where the model uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedOp {
    /// Operator name, with its domain when that is not ONNX's own.
    pub op: String,
    /// Names of the nodes.
    pub nodes: Vec<String>,
}

struct List<'a>(&'a [UnsupportedOp]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, o) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{} ({}x: ", o.op, o.nodes.len())?;
            for (j, n) in o.nodes.iter().take(4).enumerate() {
                write!(f, "{}'{n}'", if j > 0 { ", " } else { "" })?;
            }
            f.write_str(if o.nodes.len() > 4 { ", ...)" } else { ")" })?;
        }
        Ok(())
    }
}
