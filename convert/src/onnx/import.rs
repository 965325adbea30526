//! The importer: bytes to messages to a graph in topological order with static shapes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use prost::Message;

use super::builder::Builder;
use super::schema::{AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto, attribute_type};
use super::{opset, tensor};
use crate::error::ImportError;
use crate::graph::{Attr, Graph, Node, Tensor, ValueId};
use crate::infer::{self, InferOptions};
use crate::passes;
use crate::source::{self, Dim};

/// What the user decides about an import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Dimensions of inputs by name; needed where the model leaves any but the batch dimension open.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Turn `DequantizeLinear` of a constant into a float constant. Without it the constant keeps its integer
    /// type and the node stays.
    pub fold_dequantize: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { shapes: BTreeMap::new(), fold_dequantize: true }
    }
}

/// Reads an ONNX file. Opsets 9 and newer are normalized to the newest form; all shapes are static; whatever can
/// be computed from constants is a constant.
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
    let versions = Versions::of(&model)?;
    let proto = model.graph.as_ref().ok_or_else(|| ImportError::NotOnnx {
        reason: "it decodes as protobuf but holds no graph".to_owned(),
    })?;
    let mut graph = Importer::new(dir).graph(proto, &versions, options)?;
    passes::remove_dead(&mut graph);
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
    fn of(model: &ModelProto) -> Result<Self, ImportError> {
        let mut map = BTreeMap::new();
        for set in &model.opset_import {
            let domain = canonical_domain(set.domain.as_deref().unwrap_or(""));
            map.insert(domain.to_owned(), set.version.unwrap_or(0));
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

fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

struct Importer<'a> {
    builder: Builder,
    ids: HashMap<&'a str, ValueId>,
    dir: Option<&'a Path>,
}

impl<'a> Importer<'a> {
    fn new(dir: Option<&'a Path>) -> Self {
        Self { builder: Builder::default(), ids: HashMap::new(), dir }
    }

    fn graph(
        mut self,
        proto: &'a GraphProto,
        versions: &Versions,
        options: &ImportOptions,
    ) -> Result<Graph, ImportError> {
        self.builder.graph.name = proto.name.clone().unwrap_or_default();
        self.initializers(proto)?;
        self.inputs(proto, options)?;
        for name in proto.node.iter().flat_map(|n| &n.output).filter(|n| !n.is_empty()) {
            self.builder.reserve(name);
        }
        for index in self.order(proto)? {
            self.node(&proto.node[index], index, versions)?;
        }
        if proto.output.is_empty() {
            return Err(ImportError::Malformed { reason: "it has no output".to_owned() });
        }
        for output in &proto.output {
            let name = output.name.as_deref().unwrap_or("");
            let id = self.ids.get(name).ok_or_else(|| ImportError::Malformed {
                reason: format!("output '{name}' is computed by no node"),
            })?;
            if self.builder.graph.outputs.contains(id) {
                return Err(ImportError::Malformed { reason: format!("output '{name}' is listed twice") });
            }
            self.builder.graph.outputs.push(*id);
        }
        Ok(self.builder.graph)
    }

    fn declare(&mut self, name: &'a str, what: &str) -> Result<ValueId, ImportError> {
        let id = self
            .builder
            .declare(name)
            .ok_or_else(|| ImportError::Malformed { reason: format!("{what} '{name}' is defined twice") })?;
        self.ids.insert(name, id);
        Ok(id)
    }

    fn initializers(&mut self, proto: &'a GraphProto) -> Result<(), ImportError> {
        let unnamed = || ImportError::Malformed { reason: "it has a constant without a name".to_owned() };
        for t in &proto.initializer {
            let name = t.name.as_deref().filter(|n| !n.is_empty()).ok_or_else(unnamed)?;
            let tensor = tensor::decode(t, name, self.dir)?;
            let id = self.declare(name, "constant")?;
            self.builder.graph.set_constant(id, tensor);
        }
        for s in &proto.sparse_initializer {
            let name = s.values.as_ref().and_then(|v| v.name.as_deref()).filter(|n| !n.is_empty());
            let name = name.ok_or_else(unnamed)?;
            let tensor = tensor::decode_sparse(s, name, self.dir)?;
            let id = self.declare(name, "constant")?;
            self.builder.graph.set_constant(id, tensor);
        }
        Ok(())
    }

    fn inputs(&mut self, proto: &'a GraphProto, options: &ImportOptions) -> Result<(), ImportError> {
        for info in &proto.input {
            let name = info.name.as_deref().unwrap_or("");
            if name.is_empty() {
                return Err(ImportError::Malformed { reason: "it has an input without a name".to_owned() });
            }
            // Files of IR version 3 list every initializer among the inputs, as a default for it.
            if self.ids.get(name).is_some_and(|&id| self.builder.graph.constant(id).is_some()) {
                continue;
            }
            let id = self.declare(name, "input")?;
            let (elem, dims) = input_type(info, name, options.shapes.get(name))?;
            let value = self.builder.graph.value_mut(id);
            value.elem = Some(elem);
            value.dims = Some(dims);
            self.builder.graph.inputs.push(id);
        }
        let graph = &self.builder.graph;
        let known: Vec<&str> = graph.inputs.iter().map(|&i| graph.value(i).name.as_str()).collect();
        source::check_names(&options.shapes, &known)
    }

    /// Indices of the nodes in an order in which every value is computed before its use; the file's own order
    /// wherever that is one.
    fn order(&self, proto: &'a GraphProto) -> Result<Vec<usize>, ImportError> {
        let mut producer: HashMap<&str, usize> = HashMap::new();
        for (i, node) in proto.node.iter().enumerate() {
            for out in node.output.iter().filter(|o| !o.is_empty()) {
                if self.ids.contains_key(out.as_str()) || producer.insert(out, i).is_some() {
                    return Err(ImportError::Malformed { reason: format!("value '{out}' is defined twice") });
                }
            }
        }
        let mut waiting = vec![0usize; proto.node.len()];
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); proto.node.len()];
        for (i, node) in proto.node.iter().enumerate() {
            for input in node.input.iter().filter(|s| !s.is_empty()) {
                if self.ids.contains_key(input.as_str()) {
                    continue;
                }
                let from = *producer.get(input.as_str()).ok_or_else(|| ImportError::Malformed {
                    reason: format!("{} reads '{input}', which nothing defines", describe(node, i)),
                })?;
                waiting[i] += 1;
                users[from].push(i);
            }
        }
        let in_order = |i: usize| {
            proto.node[i].input.iter().all(|s| producer.get(s.as_str()).is_none_or(|&from| from < i))
        };
        if (0..proto.node.len()).all(in_order) {
            return Ok((0..proto.node.len()).collect());
        }
        let mut ready: VecDeque<usize> = (0..proto.node.len()).filter(|&i| waiting[i] == 0).collect();
        let mut order = Vec::with_capacity(proto.node.len());
        while let Some(i) = ready.pop_front() {
            order.push(i);
            for &u in &users[i] {
                waiting[u] -= 1;
                if waiting[u] == 0 {
                    ready.push_back(u);
                }
            }
        }
        match (0..proto.node.len()).find(|&i| waiting[i] > 0) {
            Some(i) => Err(ImportError::Malformed {
                reason: format!("{} is part of, or behind, a cycle", describe(&proto.node[i], i)),
            }),
            None => Ok(order),
        }
    }

    fn node(&mut self, proto: &'a NodeProto, index: usize, versions: &Versions) -> Result<(), ImportError> {
        let op = proto.op_type.as_deref().unwrap_or("");
        let domain = canonical_domain(proto.domain.as_deref().unwrap_or(""));
        let name = match proto.name.as_deref() {
            Some(n) if !n.is_empty() => n.to_owned(),
            _ => proto.output.iter().find(|o| !o.is_empty()).map_or(format!("{op}_{index}"), Clone::clone),
        };
        let inputs: Vec<Option<ValueId>> =
            proto.input.iter().map(|s| self.ids.get(s.as_str()).copied().filter(|_| !s.is_empty())).collect();
        let mut outputs = Vec::with_capacity(proto.output.len());
        for out in &proto.output {
            outputs.push(if out.is_empty() {
                None
            } else {
                let id = self.builder.graph.add_value(out.as_str());
                self.ids.insert(out, id);
                Some(id)
            });
        }
        let mut attrs = BTreeMap::new();
        for a in &proto.attribute {
            let key = a.name.clone().unwrap_or_default();
            if let Some(value) = attribute(a, &name, self.dir)? {
                attrs.insert(key, value);
            }
        }
        if op == "Constant" && domain.is_empty() {
            let tensor = constant_node(&attrs).ok_or_else(|| ImportError::Node {
                op: op.to_owned(),
                node: name.clone(),
                reason: "holds no value that is understood (tensor, number or list of numbers)".to_owned(),
            })?;
            if let Some(Some(out)) = outputs.first() {
                self.builder.graph.set_constant(*out, tensor);
            }
            return Ok(());
        }
        let op = if domain.is_empty() { op.to_owned() } else { format!("{domain}.{op}") };
        opset::normalize(&mut self.builder, Node { op, name, inputs, outputs, attrs }, versions.onnx())
    }
}

fn describe(node: &NodeProto, index: usize) -> String {
    let op = node.op_type.as_deref().unwrap_or("?");
    match node.name.as_deref() {
        Some(n) if !n.is_empty() => format!("{op} '{n}'"),
        _ => format!("{op} (node {index})"),
    }
}

fn attribute(a: &AttributeProto, node: &str, dir: Option<&Path>) -> Result<Option<Attr>, ImportError> {
    use attribute_type as ty;
    let text = |s: &[u8]| String::from_utf8_lossy(s).into_owned();
    let name = || format!("{node}/{}", a.name.as_deref().unwrap_or(""));
    // Files of IR version 1 leave the type out; the one field that is set tells it.
    let kind = match a.r#type.unwrap_or(ty::UNDEFINED) {
        ty::UNDEFINED if a.f.is_some() => ty::FLOAT,
        ty::UNDEFINED if a.i.is_some() => ty::INT,
        ty::UNDEFINED if a.s.is_some() => ty::STRING,
        ty::UNDEFINED if a.t.is_some() => ty::TENSOR,
        ty::UNDEFINED if !a.floats.is_empty() => ty::FLOATS,
        ty::UNDEFINED if !a.ints.is_empty() => ty::INTS,
        ty::UNDEFINED if !a.strings.is_empty() => ty::STRINGS,
        kind => kind,
    };
    Ok(match kind {
        ty::FLOAT => Some(Attr::Float(a.f.unwrap_or(0.0))),
        ty::INT => Some(Attr::Int(a.i.unwrap_or(0))),
        ty::STRING => Some(Attr::Str(text(a.s.as_deref().unwrap_or(&[])))),
        ty::FLOATS => Some(Attr::Floats(a.floats.clone())),
        ty::INTS => Some(Attr::Ints(a.ints.clone())),
        ty::STRINGS => Some(Attr::Strs(a.strings.iter().map(|s| text(s)).collect())),
        ty::TENSOR => match &a.t {
            Some(t) => Some(Attr::Tensor(tensor::decode(t, &name(), dir)?.into())),
            None => None,
        },
        ty::SPARSE_TENSOR => match &a.sparse_tensor {
            Some(t) => Some(Attr::Tensor(tensor::decode_sparse(t, &name(), dir)?.into())),
            None => None,
        },
        _ => None,
    })
}

/// The value of a `Constant` node, in any of its forms but the textual ones.
fn constant_node(attrs: &BTreeMap<String, Attr>) -> Option<Tensor> {
    let (key, value) = attrs.iter().find(|(k, _)| k.contains("value"))?;
    Some(match (key.as_str(), value) {
        ("value" | "sparse_value", Attr::Tensor(t)) => t.as_ref().clone(),
        ("value_float", Attr::Float(x)) => Tensor::f32(&[], vec![*x]),
        ("value_floats", Attr::Floats(x)) => Tensor::f32(&[x.len()], x.clone()),
        ("value_int", Attr::Int(x)) => Tensor::i64(&[], vec![*x]),
        ("value_ints", Attr::Ints(x)) => Tensor::i64(&[x.len()], x.clone()),
        _ => return None,
    })
}

/// Element type and bound dimensions of an input. A dimension that is symbolic, absent or not positive takes its
/// size from `given`; the first one (the batch) is 1 by default.
fn input_type(
    info: &ValueInfoProto,
    name: &str,
    given: Option<&Vec<usize>>,
) -> Result<(crate::graph::ElemType, Vec<usize>), ImportError> {
    let ty =
        info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).ok_or_else(|| ImportError::Malformed {
            reason: format!(
                "input '{name}' is not a tensor; sequences, maps and optionals are not supported"
            ),
        })?;
    let number = ty.elem_type.unwrap_or(0);
    let elem = tensor::elem_type(number).ok_or_else(|| ImportError::Malformed {
        reason: format!("input '{name}' has element type number {number}, which is not supported"),
    })?;
    let Some(shape) = &ty.shape else {
        let fits = |g: &&Vec<usize>| infer::elements(g).is_some();
        return given.filter(fits).map(|g| (elem, g.clone())).ok_or_else(|| ImportError::UnboundDim {
            input: name.to_owned(),
            index: 0,
            dim: "?".to_owned(),
            shape: "a shape of unknown rank".to_owned(),
            example: "1xN".to_owned(),
        });
    };
    let declared: Vec<Dim<'_>> = shape
        .dim
        .iter()
        .map(|d| Dim {
            size: d.dim_value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0),
            name: d.dim_param.as_deref().unwrap_or(""),
        })
        .collect();
    Ok((elem, source::bind(name, &declared, given)?))
}
