//! From messages to a graph: nodes in topological order, names in scopes, subgraphs and functions inlined.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::rc::Rc;

use super::attribute::{attribute, constant_node};
use super::import::Versions;
use super::narrow::NarrowValues;
use super::schema::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use super::{ImportOptions, operators, opset, tensor, types};
use crate::build::Builder;
use crate::error::{ImportError, UnsupportedOp};
use crate::graph::{Graph, Node, ValueId};
use crate::infer::InferOptions;

/// Deepest nesting of subgraphs and functions: more is a function that calls itself.
const MAX_DEPTH: usize = 64;

/// What a name stands for while a model is read. Sequences and optionals are known then, whatever they hold.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    /// A tensor.
    Tensor(ValueId),
    /// A list of tensors.
    Sequence(Vec<ValueId>),
    /// An optional that holds nothing.
    Absent,
}

/// The names of one graph, subgraph or function.
pub(super) struct Frame {
    names: HashMap<String, Bound>,
    pub versions: Rc<Versions>,
    /// Attributes that a function was called with.
    pub attributes: HashMap<String, AttributeProto>,
    /// Whether names of the frames around it cannot be seen, as in a function.
    isolated: bool,
}

pub(super) struct Importer<'a> {
    pub builder: Builder,
    pub dir: Option<&'a Path>,
    /// Which values have narrow element types.
    pub narrow: NarrowValues,
    functions: HashMap<(String, String, String), Rc<FunctionProto>>,
    frames: Vec<Frame>,
}

/// Reads the graph of a model.
pub(super) fn read(
    model: &ModelProto,
    dir: Option<&Path>,
    options: &ImportOptions,
) -> Result<Graph, ImportError> {
    let proto = model.graph.as_ref().ok_or_else(|| ImportError::NotOnnx {
        reason: "it decodes as protobuf but holds no graph".to_owned(),
    })?;
    let versions = Versions::of(&model.opset_import)?;
    let functions = model.functions.iter().map(|f| {
        let text = |s: &Option<String>| s.clone().unwrap_or_default();
        ((domain_of(f.domain.as_deref()).to_owned(), text(&f.name), text(&f.overload)), Rc::new(f.clone()))
    });
    let infer = InferOptions { fold_dequantize: options.fold_dequantize };
    let mut importer = Importer {
        builder: Builder::new(infer),
        dir,
        narrow: NarrowValues::default(),
        functions: functions.collect(),
        frames: vec![Frame::new(Rc::new(versions), false)],
    };
    importer.builder.ragged.active = true;
    importer.builder.graph.name = proto.name.clone().unwrap_or_default();
    importer.initializers(proto)?;
    importer.inputs(proto, options)?;
    for name in proto.node.iter().flat_map(|n| &n.output).filter(|n| !n.is_empty()) {
        importer.builder.reserve(name);
    }
    importer.nodes(&proto.node)?;
    importer.outputs(proto)?;
    Ok(importer.builder.graph)
}

/// A domain under its shortest name: ONNX's own is empty.
pub(super) fn domain_of(domain: Option<&str>) -> &str {
    match domain {
        None | Some("ai.onnx") => "",
        Some(other) => other,
    }
}

/// How messages name a node.
pub(super) fn describe(node: &NodeProto, index: usize) -> String {
    let op = node.op_type.as_deref().unwrap_or("?");
    match node.name.as_deref() {
        Some(n) if !n.is_empty() => format!("{op} '{n}'"),
        _ => format!("{op} (node {index})"),
    }
}

impl Frame {
    pub fn new(versions: Rc<Versions>, isolated: bool) -> Self {
        Self { names: HashMap::new(), versions, attributes: HashMap::new(), isolated }
    }
}

impl Importer<'_> {
    // Names.

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the model's own frame stays")
    }

    /// Whether nodes are being read inside a subgraph or function, where names are not the model's.
    fn is_nested(&self) -> bool {
        self.frames.len() > 1
    }

    /// The versions of the operators in force.
    pub(super) fn versions(&mut self) -> Rc<Versions> {
        Rc::clone(&self.frame().versions)
    }

    /// What a name stands for here.
    pub(super) fn lookup(&self, name: &str) -> Option<Bound> {
        for frame in self.frames.iter().rev() {
            if let Some(bound) = frame.names.get(name) {
                return Some(bound.clone());
            }
            if frame.isolated {
                break;
            }
        }
        None
    }

    /// Says what a name stands for; names without letters are dropped.
    pub(super) fn bind(&mut self, name: &str, bound: Bound) {
        if !name.is_empty() {
            self.frame().names.insert(name.to_owned(), bound);
        }
    }

    /// Declares a value of the model under its own name.
    pub(super) fn declare(&mut self, name: &str, what: &str) -> Result<ValueId, ImportError> {
        let id = self
            .builder
            .declare(name)
            .ok_or_else(|| ImportError::Malformed { reason: format!("{what} '{name}' is defined twice") })?;
        self.bind(name, Bound::Tensor(id));
        Ok(id)
    }

    /// Runs `read` in a frame of its own.
    pub(super) fn nested<T>(
        &mut self,
        frame: Frame,
        read: impl FnOnce(&mut Self) -> Result<T, ImportError>,
    ) -> Result<T, ImportError> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(ImportError::Malformed {
                reason: format!("subgraphs and functions are nested more than {MAX_DEPTH} deep"),
            });
        }
        self.frames.push(frame);
        let result = read(self);
        self.frames.pop();
        result
    }

    // Graphs.

    fn initializers(&mut self, proto: &GraphProto) -> Result<(), ImportError> {
        let unnamed = || ImportError::Malformed { reason: "it has a constant without a name".to_owned() };
        for t in &proto.initializer {
            let name = t.name.as_deref().filter(|n| !n.is_empty()).ok_or_else(unnamed)?;
            let tensor = tensor::decode(t, name, self.dir)?;
            self.constant(name, tensor, t.data_type)?;
        }
        for s in &proto.sparse_initializer {
            let name = s.values.as_ref().and_then(|v| v.name.as_deref()).filter(|n| !n.is_empty());
            let name = name.ok_or_else(unnamed)?;
            let tensor = tensor::decode_sparse(s, name, self.dir)?;
            self.constant(name, tensor, None)?;
        }
        Ok(())
    }

    fn constant(
        &mut self,
        name: &str,
        tensor: crate::graph::Tensor,
        number: Option<i32>,
    ) -> Result<(), ImportError> {
        let id = if self.is_nested() {
            let id = self.builder.constant(name, tensor);
            self.bind(name, Bound::Tensor(id));
            id
        } else {
            let id = self.declare(name, "constant")?;
            self.builder.graph.set_constant(id, tensor);
            id
        };
        self.narrow.note(id, number);
        Ok(())
    }

    /// Reads a subgraph with these inputs, in a frame around which everything can be seen; what its outputs stand for.
    pub(super) fn subgraph(
        &mut self,
        proto: &GraphProto,
        inputs: &[Bound],
    ) -> Result<Vec<Bound>, ImportError> {
        let frame = Frame::new(self.versions(), false);
        self.nested(frame, |m| {
            m.initializers(proto)?;
            for (info, bound) in proto.input.iter().zip(inputs) {
                m.bind(info.name.as_deref().unwrap_or(""), bound.clone());
            }
            m.nodes(&proto.node)?;
            let name = |info: &super::schema::ValueInfoProto| info.name.clone().unwrap_or_default();
            m.results(proto.output.iter().map(name), proto.name.as_deref().unwrap_or(""))
        })
    }

    /// What the outputs of a subgraph or function stand for.
    pub(super) fn results(
        &mut self,
        names: impl Iterator<Item = String>,
        of: &str,
    ) -> Result<Vec<Bound>, ImportError> {
        names
            .map(|name| {
                self.lookup(&name).ok_or_else(|| ImportError::Malformed {
                    reason: format!("output '{name}' of subgraph or function '{of}' is computed by no node"),
                })
            })
            .collect()
    }

    /// Reads nodes in an order in which every value is computed before its use.
    pub(super) fn nodes(&mut self, nodes: &[NodeProto]) -> Result<(), ImportError> {
        self.check_supported(nodes)?;
        for index in self.order(nodes)? {
            self.node(&nodes[index], index)?;
        }
        Ok(())
    }

    /// Reports all operators that nothing here expresses, those inside functions included.
    fn check_supported(&self, nodes: &[NodeProto]) -> Result<(), ImportError> {
        let mut unsupported: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut seen = HashSet::new();
        self.find_unsupported(nodes, &mut seen, &mut unsupported);
        if unsupported.is_empty() {
            return Ok(());
        }
        let operators = unsupported.into_iter().map(|(op, nodes)| UnsupportedOp { op, nodes }).collect();
        Err(ImportError::Unsupported { operators })
    }

    fn find_unsupported(
        &self,
        nodes: &[NodeProto],
        seen: &mut HashSet<*const FunctionProto>,
        found: &mut BTreeMap<String, Vec<String>>,
    ) {
        for (index, node) in nodes.iter().enumerate() {
            if let Some(function) = self.function(node) {
                if seen.insert(Rc::as_ptr(function)) {
                    self.find_unsupported(&function.node, seen, found);
                }
                continue;
            }
            let op = full_name(node);
            if !operators::is_known(&op) {
                found.entry(op).or_default().push(node_name(node, index));
            }
        }
    }

    /// The model's own function that a node calls.
    pub(super) fn function(&self, node: &NodeProto) -> Option<&Rc<FunctionProto>> {
        if self.functions.is_empty() {
            return None;
        }
        self.functions.get(&(
            domain_of(node.domain.as_deref()).to_owned(),
            node.op_type.clone().unwrap_or_default(),
            node.overload.clone().unwrap_or_default(),
        ))
    }

    /// Indices of the nodes in an order in which every value is computed before its use; the file's own order
    /// wherever that is one.
    fn order(&self, nodes: &[NodeProto]) -> Result<Vec<usize>, ImportError> {
        let own = &self.frames.last().expect("the model's own frame stays").names;
        let mut producer: HashMap<&str, usize> = HashMap::new();
        for (i, node) in nodes.iter().enumerate() {
            for out in node.output.iter().filter(|o| !o.is_empty()) {
                if own.contains_key(out.as_str()) || producer.insert(out, i).is_some() {
                    return Err(ImportError::Malformed { reason: format!("value '{out}' is defined twice") });
                }
            }
        }
        let mut waiting = vec![0usize; nodes.len()];
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
        let mut in_order = true;
        for (i, node) in nodes.iter().enumerate() {
            for input in node.input.iter().filter(|s| !s.is_empty()) {
                match producer.get(input.as_str()) {
                    Some(&from) => {
                        waiting[i] += 1;
                        users[from].push(i);
                        in_order &= from < i;
                    }
                    None if self.lookup(input).is_some() => {}
                    None => {
                        return Err(ImportError::Malformed {
                            reason: format!("{} reads '{input}', which nothing defines", describe(node, i)),
                        });
                    }
                }
            }
            // What a subgraph reads of this graph.
            for captured in captures(node) {
                if let Some(&from) = producer.get(captured.as_str()).filter(|&&from| from != i) {
                    waiting[i] += 1;
                    users[from].push(i);
                    in_order &= from < i;
                }
            }
        }
        if in_order {
            return Ok((0..nodes.len()).collect());
        }
        let mut ready: VecDeque<usize> = (0..nodes.len()).filter(|&i| waiting[i] == 0).collect();
        let mut order = Vec::with_capacity(nodes.len());
        while let Some(i) = ready.pop_front() {
            order.push(i);
            for &u in &users[i] {
                waiting[u] -= 1;
                if waiting[u] == 0 {
                    ready.push_back(u);
                }
            }
        }
        match (0..nodes.len()).find(|&i| waiting[i] > 0) {
            Some(i) => Err(ImportError::Malformed {
                reason: format!("{} is part of, or behind, a cycle", describe(&nodes[i], i)),
            }),
            None => Ok(order),
        }
    }

    // Nodes.

    fn node(&mut self, proto: &NodeProto, index: usize) -> Result<(), ImportError> {
        if let Some(function) = self.function(proto).cloned() {
            return self.call(&function, proto);
        }
        let op = full_name(proto);
        let name = node_name(proto, index);
        let outer = self.builder.enter(&op, &name);
        let result = match operators::special(&op) {
            Some(rule) => rule(self, proto, &name),
            None => self.plain(proto, op, index),
        };
        self.builder.leave(outer);
        result
    }

    /// A node whose inputs and outputs are tensors.
    fn plain(&mut self, proto: &NodeProto, op: String, index: usize) -> Result<(), ImportError> {
        let name = node_name(proto, index);
        let fail = |reason: String| ImportError::Node { op: op.clone(), node: name.clone(), reason };
        let mut inputs = Vec::with_capacity(proto.input.len());
        for input in &proto.input {
            inputs.push(match self.lookup(input) {
                Some(Bound::Tensor(id)) if !input.is_empty() => Some(id),
                Some(Bound::Sequence(_)) => {
                    return Err(fail(format!("its input '{input}' is a sequence, where a tensor belongs")));
                }
                _ => None,
            });
        }
        for (i, (id, input)) in inputs.iter().zip(&proto.input).enumerate() {
            let Some(elem) = id.and_then(|id| self.builder.graph.value(id).elem) else { continue };
            let narrow = id.and_then(|id| self.narrow.get(id));
            types::check(&op, i, input, elem, narrow).map_err(fail)?;
        }
        let mut attrs = self.attributes(proto, &name)?;
        let mut outputs = Vec::with_capacity(proto.output.len());
        for out in &proto.output {
            outputs.push(if out.is_empty() { None } else { Some(self.output_value(out)) });
        }
        self.narrow.pass(proto, &inputs, &outputs, &mut attrs).map_err(fail)?;
        if op == "Constant" {
            let tensor = constant_node(&attrs).ok_or_else(|| {
                fail("holds no value that is understood (tensor, number or list of numbers)".to_owned())
            })?;
            if let Some(Some(out)) = outputs.first() {
                self.builder.graph.set_constant(*out, tensor);
            }
            return Ok(());
        }
        let version = self.versions().onnx();
        opset::normalize(
            &mut self.builder,
            Node { op, name, inputs, outputs, attrs, sources: Vec::new() },
            version,
        )
    }

    /// A value for an output of a node: under its own name in the model's own graph.
    pub(super) fn output_value(&mut self, name: &str) -> ValueId {
        let id = if self.is_nested() { self.builder.value(name) } else { self.builder.graph.add_value(name) };
        self.bind(name, Bound::Tensor(id));
        id
    }

    /// An attribute as written, or as the function around the node was called with.
    pub(super) fn resolve<'p>(&self, a: &'p AttributeProto) -> Option<std::borrow::Cow<'p, AttributeProto>> {
        use std::borrow::Cow;
        let Some(parameter) = a.ref_attr_name.as_deref().filter(|r| !r.is_empty()) else {
            return Some(Cow::Borrowed(a));
        };
        for frame in self.frames.iter().rev() {
            if let Some(given) = frame.attributes.get(parameter) {
                return Some(Cow::Owned(AttributeProto { name: a.name.clone(), ..given.clone() }));
            }
            if frame.isolated {
                break;
            }
        }
        None
    }

    /// The attributes of a node that are no graphs.
    pub(super) fn attributes(
        &self,
        proto: &NodeProto,
        name: &str,
    ) -> Result<BTreeMap<String, crate::graph::Attr>, ImportError> {
        let mut attrs = BTreeMap::new();
        for a in &proto.attribute {
            let Some(a) = self.resolve(a) else { continue };
            if let Some(value) = attribute(&a, name, self.dir)? {
                attrs.insert(a.name.clone().unwrap_or_default(), value);
            }
        }
        Ok(attrs)
    }
}

/// The operator of a node, with its domain when that is not ONNX's own.
pub(super) fn full_name(node: &NodeProto) -> String {
    let op = node.op_type.as_deref().unwrap_or("");
    match domain_of(node.domain.as_deref()) {
        "" => op.to_owned(),
        domain => format!("{domain}.{op}"),
    }
}

/// The name of a node: its own, that of its first output, or one made of its operator and position.
pub(super) fn node_name(node: &NodeProto, index: usize) -> String {
    match node.name.as_deref() {
        Some(n) if !n.is_empty() => n.to_owned(),
        _ => node
            .output
            .iter()
            .find(|o| !o.is_empty())
            .cloned()
            .unwrap_or_else(|| format!("{}_{index}", node.op_type.as_deref().unwrap_or(""))),
    }
}

/// Names that the subgraphs of a node read and do not define themselves.
fn captures(node: &NodeProto) -> Vec<String> {
    let mut names = Vec::new();
    for graph in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
        let mut own: HashSet<&str> = HashSet::new();
        own.extend(graph.input.iter().filter_map(|i| i.name.as_deref()));
        own.extend(graph.initializer.iter().filter_map(|i| i.name.as_deref()));
        own.extend(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
        let read = graph.node.iter().flat_map(|n| n.input.iter().cloned().chain(captures(n)));
        let returned = graph.output.iter().filter_map(|o| o.name.clone());
        names.extend(read.chain(returned).filter(|n| !n.is_empty() && !own.contains(n.as_str())));
    }
    names
}
