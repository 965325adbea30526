//! The inputs and outputs of a graph: their types, and what the user decides about them.

use super::importer::{Bound, Importer};
use super::schema::{GraphProto, TypeProto, ValueInfoProto};
use super::{ImportOptions, tensor};
use crate::error::{ImportError, UnboundInput};
use crate::fold;
use crate::graph::{ElemType, Tensor, ValueId};
use crate::infer;
use crate::ragged;
use crate::source::{self, Dim, Unbound};

impl Importer<'_> {
    /// Declares the inputs of the model. One that the user fixes is a constant, and so is one without elements. A
    /// sequence has as many elements as the user names, each an input `NAME[i]`; an optional holds something when the
    /// user names it.
    pub(super) fn inputs(&mut self, proto: &GraphProto, options: &ImportOptions) -> Result<(), ImportError> {
        let mut names: Vec<String> = Vec::new();
        let mut unbound = Unbound::default();
        for info in &proto.input {
            let name = info.name.as_deref().unwrap_or("");
            if name.is_empty() {
                return Err(ImportError::Malformed { reason: "it has an input without a name".to_owned() });
            }
            // Files of IR version 3 list every initializer among the inputs, as a default for it.
            if let Some(Bound::Tensor(id)) = self.lookup(name)
                && self.builder.graph.constant(id).is_some()
            {
                continue;
            }
            let given =
                |name: &str| options.shapes.contains_key(name) || options.constants.contains_key(name);
            let Some(ty) = &info.r#type else {
                return Err(ImportError::Malformed { reason: format!("input '{name}' has no type") });
            };
            let (held, optional) = match &ty.optional_type {
                Some(wrapped) => (wrapped.elem_type.as_deref(), true),
                None => (Some(ty), false),
            };
            if let Some(part) = held.and_then(|t| t.sequence_type.as_ref()).map(|t| t.elem_type.as_deref()) {
                let mut parts = Vec::new();
                while given(&format!("{name}[{}]", parts.len())) {
                    let part_name = format!("{name}[{}]", parts.len());
                    let part = ValueInfoProto { name: Some(part_name.clone()), r#type: part.cloned() };
                    parts.extend(unbound.keep(self.input(&part, &part_name, options))?);
                    names.push(part_name);
                }
                let absent = optional && parts.is_empty();
                self.bind(name, if absent { Bound::Absent } else { Bound::Sequence(parts) });
                continue;
            }
            if optional && !given(name) {
                self.bind(name, Bound::Absent);
                continue;
            }
            names.push(name.to_owned());
            unbound.keep(self.input(info, name, options))?;
        }
        unbound.told()?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        source::check_names(&options.shapes, &names)?;
        source::check_fixed(&options.constants, &names)
    }

    /// Declares an input that is a tensor.
    fn input(
        &mut self,
        info: &ValueInfoProto,
        name: &str,
        options: &ImportOptions,
    ) -> Result<ValueId, ImportError> {
        let id = self.declare(name, "input")?;
        self.narrow.note(id, info.r#type.as_ref().and_then(tensor_of).and_then(|t| t.elem_type));
        if let Some(fixed) = options.constants.get(name) {
            let tensor = fixed_input(info, name, fixed)?;
            self.builder.graph.set_constant(id, tensor);
            return Ok(id);
        }
        let (elem, dims) = input_type(info, name, options.shapes.get(name))?;
        if dims.contains(&0) {
            self.builder.graph.set_constant(id, fold::empty(&dims, elem));
            return Ok(id);
        }
        let value = self.builder.graph.value_mut(id);
        value.elem = Some(elem);
        value.dims = Some(dims);
        self.builder.graph.inputs.push(id);
        Ok(id)
    }

    /// Lists the outputs of the model. A sequence becomes an output for each of its elements.
    pub(super) fn outputs(&mut self, proto: &GraphProto) -> Result<(), ImportError> {
        if proto.output.is_empty() {
            return Err(ImportError::Malformed { reason: "it has no output".to_owned() });
        }
        for output in &proto.output {
            let name = output.name.as_deref().unwrap_or("");
            match self.lookup(name) {
                None => {
                    return Err(ImportError::Malformed {
                        reason: format!("output '{name}' is computed by no node"),
                    });
                }
                Some(Bound::Tensor(id)) => self.output(name, id)?,
                Some(Bound::Sequence(parts)) => {
                    for (i, id) in parts.into_iter().enumerate() {
                        let part = format!("{name}[{i}]");
                        let own = self.builder.declare(&part).ok_or_else(|| ImportError::Malformed {
                            reason: format!(
                                "'{part}' is the name of an element of output '{name}' and of another value"
                            ),
                        })?;
                        self.builder.emit_to("Identity", &part, &[Some(id)], &[own], &[])?;
                        self.output(&part, own)?;
                    }
                }
                Some(Bound::Absent) => {
                    return Err(ImportError::Malformed {
                        reason: format!("output '{name}' is an optional without a value"),
                    });
                }
            }
        }
        Ok(())
    }

    fn output(&mut self, name: &str, mut id: ValueId) -> Result<(), ImportError> {
        id = ragged::finish(&mut self.builder, id)?;
        if self.builder.graph.value(id).name != name {
            // A value out of a subgraph, a function or an optional, under another name there.
            let own = self.builder.graph.add_value(name);
            self.builder.emit_to("Identity", name, &[Some(id)], &[own], &[])?;
            id = own;
        }
        if self.builder.graph.outputs.contains(&id) {
            return Err(ImportError::Malformed { reason: format!("output '{name}' is listed twice") });
        }
        self.builder.graph.outputs.push(id);
        Ok(())
    }
}

/// The tensor inside a type, through an optional; `None` for sequences and maps.
fn tensor_of(ty: &TypeProto) -> Option<&super::schema::TensorTypeProto> {
    match (&ty.tensor_type, &ty.optional_type) {
        (Some(t), _) => Some(t),
        (None, Some(inner)) => tensor_of(inner.elem_type.as_ref()?),
        _ => None,
    }
}

/// The element type that an input declares, and its dimensions when it declares a rank.
fn declared<'p>(
    info: &'p ValueInfoProto,
    name: &str,
) -> Result<(ElemType, Option<Vec<Dim<'p>>>), ImportError> {
    let ty = info.r#type.as_ref().and_then(tensor_of).ok_or_else(|| ImportError::Malformed {
        reason: format!("input '{name}' is not a tensor; maps cannot be inputs"),
    })?;
    let number = ty.elem_type.unwrap_or(0);
    let elem = tensor::elem_type(number).ok_or_else(|| ImportError::Malformed {
        reason: format!("input '{name}' has element type number {number}, which is not supported"),
    })?;
    let dims = ty.shape.as_ref().map(|shape| {
        let dim = |d: &'p super::schema::DimensionProto| Dim {
            // Some exporters write 0 for a dimension that is open.
            size: d.dim_value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0),
            name: d.dim_param.as_deref().unwrap_or(""),
        };
        shape.dim.iter().map(dim).collect()
    });
    Ok((elem, dims))
}

/// Element type and bound dimensions of an input. A dimension that is symbolic or absent takes its size from `given`;
/// the first one (the batch) is 1 by default.
fn input_type(
    info: &ValueInfoProto,
    name: &str,
    given: Option<&Vec<usize>>,
) -> Result<(ElemType, Vec<usize>), ImportError> {
    let (elem, dims) = declared(info, name)?;
    let Some(dims) = dims else {
        let fits = |g: &&Vec<usize>| infer::elements(g).is_some();
        return given.filter(fits).map(|g| (elem, g.clone())).ok_or_else(|| ImportError::UnboundDims {
            inputs: vec![UnboundInput {
                input: name.to_owned(),
                index: 0,
                dim: "?".to_owned(),
                shape: "a shape of unknown rank".to_owned(),
                example: "1xN".to_owned(),
            }],
        });
    };
    Ok((elem, source::bind(name, &dims, given)?))
}

/// The value that the user fixes an input to, as the model declares that input.
fn fixed_input(info: &ValueInfoProto, name: &str, given: &Tensor) -> Result<Tensor, ImportError> {
    let (elem, dims) = declared(info, name)?;
    let dims = dims.unwrap_or_else(|| given.dims.iter().map(|&d| Dim { size: Some(d), name: "" }).collect());
    source::fix(name, elem, &dims, given)
}
