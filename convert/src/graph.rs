//! The graph of a source model: ONNX operators over named values, before it is lowered to steps.
//!
//! Importers (ONNX, TFLite) write it in the vocabulary of the newest ONNX opset: optional inputs in their
//! newest position, layouts NCHW as ONNX means them (an importer of an NHWC format inserts `Transpose`
//! nodes, which lowering cancels). Passes rewrite it in place; [`crate::lower`] turns it into steps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cygnet_format::golden::Array;
use cygnet_format::program::DType;
use half::{bf16, f16};

use crate::float64::Doubled;

/// Element type of a source tensor, under ONNX's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum ElemType {
    F32,
    F16,
    BF16,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
}

impl ElemType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Whether values of this type are real numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16 | Self::F64)
    }
}

impl fmt::Display for ElemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F64 => "float64",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::Bool => "bool",
        })
    }
}

/// The elements of a constant, row-major.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
}

/// Runs `$body` with `$v` bound to the typed vector inside a [`Data`].
#[macro_export]
macro_rules! with_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            $crate::graph::Data::F32($v) => $body,
            $crate::graph::Data::F16($v) => $body,
            $crate::graph::Data::BF16($v) => $body,
            $crate::graph::Data::F64($v) => $body,
            $crate::graph::Data::I8($v) => $body,
            $crate::graph::Data::U8($v) => $body,
            $crate::graph::Data::I16($v) => $body,
            $crate::graph::Data::U16($v) => $body,
            $crate::graph::Data::I32($v) => $body,
            $crate::graph::Data::U32($v) => $body,
            $crate::graph::Data::I64($v) => $body,
            $crate::graph::Data::U64($v) => $body,
            $crate::graph::Data::Bool($v) => $body,
        }
    };
}

/// A constant: element type, dimensions and row-major elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Dimensions; empty for a scalar.
    pub dims: Vec<usize>,
    /// As many elements as the product of `dims`.
    pub data: Data,
}

impl Tensor {
    /// A constant of these dimensions.
    ///
    /// # Panics
    /// If `data` does not hold as many elements as `dims` says; callers check sizes that come from a file.
    pub fn new(dims: Vec<usize>, data: Data) -> Self {
        let t = Self { dims, data };
        assert_eq!(t.dims.iter().product::<usize>(), t.len(), "elements of a constant of dims {:?}", t.dims);
        t
    }

    /// A float32 constant.
    pub fn f32(dims: &[usize], data: Vec<f32>) -> Self {
        Self::new(dims.to_vec(), Data::F32(data))
    }

    /// An int64 constant.
    pub fn i64(dims: &[usize], data: Vec<i64>) -> Self {
        Self::new(dims.to_vec(), Data::I64(data))
    }

    /// The elements of an array as users hand it in; `None` for packed bytes.
    pub fn from_array(array: &Array) -> Option<Self> {
        macro_rules! read {
            ($variant:ident, $t:ty) => {
                Data::$variant(array.bytes.as_chunks().0.iter().map(|&b| <$t>::from_le_bytes(b)).collect())
            };
        }
        let data = match array.dtype {
            DType::F32 => read!(F32, f32),
            DType::F16 => read!(F16, f16),
            DType::S8 => read!(I8, i8),
            DType::U8 => read!(U8, u8),
            DType::S16 => read!(I16, i16),
            DType::S32 => read!(I32, i32),
            DType::S64 => read!(I64, i64),
            DType::Packed => return None,
        };
        let tensor = Self { dims: array.dims.iter().map(|&d| d as usize).collect(), data };
        (tensor.dims.iter().product::<usize>() == tensor.len()).then_some(tensor)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        with_data!(&self.data, v => v.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn elem(&self) -> ElemType {
        match &self.data {
            Data::F32(_) => ElemType::F32,
            Data::F16(_) => ElemType::F16,
            Data::BF16(_) => ElemType::BF16,
            Data::F64(_) => ElemType::F64,
            Data::I8(_) => ElemType::I8,
            Data::U8(_) => ElemType::U8,
            Data::I16(_) => ElemType::I16,
            Data::U16(_) => ElemType::U16,
            Data::I32(_) => ElemType::I32,
            Data::U32(_) => ElemType::U32,
            Data::I64(_) => ElemType::I64,
            Data::U64(_) => ElemType::U64,
            Data::Bool(_) => ElemType::Bool,
        }
    }

    /// The elements as f32, each rounded to nearest even.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            Data::F32(v) => v.clone(),
            Data::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Data::BF16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Data::F64(v) => v.iter().map(|&x| x as f32).collect(),
            Data::I8(v) => v.iter().map(|&x| f32::from(x)).collect(),
            Data::U8(v) => v.iter().map(|&x| f32::from(x)).collect(),
            Data::I16(v) => v.iter().map(|&x| f32::from(x)).collect(),
            Data::U16(v) => v.iter().map(|&x| f32::from(x)).collect(),
            Data::I32(v) => v.iter().map(|&x| x as f32).collect(),
            Data::U32(v) => v.iter().map(|&x| x as f32).collect(),
            Data::I64(v) => v.iter().map(|&x| x as f32).collect(),
            Data::U64(v) => v.iter().map(|&x| x as f32).collect(),
            Data::Bool(v) => v.iter().map(|&x| f32::from(u8::from(x))).collect(),
        }
    }

    /// The elements as i64; `None` for floating types.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match &self.data {
            Data::I8(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::U8(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::I16(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::U16(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::I32(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::U32(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::I64(v) => v.clone(),
            Data::U64(v) => v.iter().map(|&x| x as i64).collect(),
            Data::Bool(v) => v.iter().map(|&x| i64::from(x)).collect(),
            _ => return None,
        })
    }

    /// Whether all elements are zero.
    pub fn is_zero(&self) -> bool {
        self.to_f32().iter().all(|&v| v == 0.0)
    }

    /// The one element of a scalar or one-element constant, as f32.
    pub fn scalar_f32(&self) -> Option<f32> {
        (self.len() == 1).then(|| self.to_f32()[0])
    }
}

/// Index of a value in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// A named edge of the graph: a graph input, a constant, or an output of one node.
#[derive(Clone, Debug)]
pub struct Value {
    /// Name in the source model; unique, never empty.
    pub name: String,
    /// Element type, once known.
    pub elem: Option<ElemType>,
    /// Dimensions, once known; always static.
    pub dims: Option<Vec<usize>>,
    /// The elements, for a constant (an initializer or a folded node).
    pub constant: Option<Arc<Tensor>>,
}

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Attr {
    Int(i64),
    Float(f32),
    Str(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strs(Vec<String>),
    Tensor(Arc<Tensor>),
}

/// One operator application.
#[derive(Clone, Debug)]
pub struct Node {
    /// Operator, as ONNX names it (`Conv`). Operators of other domains carry theirs (`com.microsoft.QLinearAdd`).
    pub op: String,
    /// Name in the source model, or one made from the operator and its index; unique.
    pub name: String,
    /// Inputs in ONNX's order; `None` for one left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs in ONNX's order; `None` for one that the model does not name.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes by name.
    pub attrs: BTreeMap<String, Attr>,
    /// The operators of the source model that it stands for, ascending: indices into [`Graph::sources`].
    pub sources: Vec<u32>,
}

/// An operator of the source model, as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Operator, with its domain when that is not ONNX's own.
    pub op: String,
    /// Name of the node.
    pub name: String,
    /// What its nodes read.
    pub inputs: Vec<ValueId>,
    /// What its nodes compute.
    pub outputs: Vec<ValueId>,
    /// Whether some of that could not be computed at once.
    pub computed: bool,
}

/// What a node that is gone stood for.
#[derive(Clone, Debug)]
pub struct Lost {
    pub(crate) sources: Vec<u32>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
}

/// Adds indices to ascending ones.
pub(crate) fn absorb(into: &mut Vec<u32>, more: &[u32]) {
    into.extend(more);
    into.sort_unstable();
    into.dedup();
}

impl Node {
    /// An integer attribute, or `default` when it is absent.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        match self.attrs.get(name) {
            Some(Attr::Int(v)) => *v,
            _ => default,
        }
    }

    /// A float attribute, or `default` when it is absent.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.attrs.get(name) {
            Some(Attr::Float(v)) => *v,
            _ => default,
        }
    }

    /// A string attribute, or `default` when it is absent.
    pub fn str<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        match self.attrs.get(name) {
            Some(Attr::Str(v)) => v,
            _ => default,
        }
    }

    /// An integer list, when present.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attrs.get(name) {
            Some(Attr::Ints(v)) => Some(v),
            _ => None,
        }
    }

    /// The `i`-th input, `None` when left out.
    pub fn input(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }
}

/// A value that persists from run to run.
#[derive(Clone, Debug)]
pub struct State {
    /// Name, for users.
    pub name: String,
    /// What a run finds; no node computes it.
    pub input: ValueId,
    /// What the next run finds.
    pub output: ValueId,
    /// What the first run finds; zeros without it.
    pub initial: Option<Arc<Tensor>>,
}

/// A source model: values, and nodes in an order in which every input is computed before its use.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Name of the model, possibly empty.
    pub name: String,
    /// All values; a [`ValueId`] indexes this.
    pub values: Vec<Value>,
    /// Nodes in topological order.
    pub nodes: Vec<Node>,
    /// Inputs that the user supplies, in order.
    pub inputs: Vec<ValueId>,
    /// Outputs that the user receives, in order.
    pub outputs: Vec<ValueId>,
    /// What persists from run to run.
    pub states: Vec<State>,
    /// The operators of the source model.
    pub sources: Vec<Source>,
    /// Nodes that passes took away, until what they stood for is handed on.
    pub(crate) lost: Vec<Lost>,
    /// What computes with doubles while the model runs.
    pub float64: Vec<Doubled>,
}

impl Graph {
    /// The value behind an id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// The value behind an id, to change.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// What the nodes are for: the outputs, and what the next run finds in the states.
    pub fn results(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.outputs.iter().copied().chain(self.states.iter().map(|s| s.output))
    }

    /// Whether a value is among the [`results`](Self::results).
    pub fn is_result(&self, id: ValueId) -> bool {
        self.results().any(|r| r == id)
    }

    /// Adds a value; `name` must be unused.
    pub fn add_value(&mut self, name: impl Into<String>) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        self.values.push(Value { name: name.into(), elem: None, dims: None, constant: None });
        id
    }

    /// Adds a constant; `name` must be unused.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let id = self.add_value(name);
        self.set_constant(id, tensor);
        id
    }

    /// Makes a value a constant.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) {
        let v = self.value_mut(id);
        v.elem = Some(tensor.elem());
        v.dims = Some(tensor.dims.clone());
        v.constant = Some(Arc::new(tensor));
    }

    /// The constant behind an id, if it is one.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.value(id).constant.as_ref()
    }

    /// Dimensions of a value.
    ///
    /// # Panics
    /// Before shape inference has run.
    pub fn dims(&self, id: ValueId) -> &[usize] {
        let v = self.value(id);
        v.dims.as_deref().unwrap_or_else(|| panic!("shape of '{}' is asked for before inference", v.name))
    }

    /// Element type of a value.
    ///
    /// # Panics
    /// Before shape inference has run.
    pub fn elem(&self, id: ValueId) -> ElemType {
        let v = self.value(id);
        v.elem.unwrap_or_else(|| panic!("type of '{}' is asked for before inference", v.name))
    }
}
