//! Attributes of nodes: their values, wherever they are written.

use std::collections::BTreeMap;
use std::path::Path;

use super::schema::{AttributeProto, attribute_type as ty};
use super::tensor;
use crate::error::ImportError;
use crate::graph::{Attr, Tensor};

/// The value of an attribute; `None` for graphs and for kinds that no operator here takes.
pub(super) fn attribute(
    a: &AttributeProto,
    node: &str,
    dir: Option<&Path>,
) -> Result<Option<Attr>, ImportError> {
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
pub(super) fn constant_node(attrs: &BTreeMap<String, Attr>) -> Option<Tensor> {
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
