//! Element types of fewer than eight bits, and floats of eight bits and fewer: which values have one.
//!
//! Graphs hold such integers as bytes of the same number and such floats as bytes that are their codes. So that a code
//! is never taken for a number, the importer knows which values are codes, tells the operators that convert them, and
//! refuses all others but those that only move elements.

use std::collections::BTreeMap;

use super::schema::{NodeProto, data_type};
use crate::graph::{Attr, ElemType, Node, ValueId};

/// A narrow element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum Narrow {
    Int2,
    Uint2,
    Int4,
    Uint4,
    Float4E2M1,
    Float8E4M3Fn,
    Float8E4M3FnUz,
    Float8E5M2,
    Float8E5M2FnUz,
    Float8E8M0,
}

/// Attributes by which the importer tells a node what its input holds and what its output shall hold.
const SOURCE: &str = "narrow_source";
const TARGET: &str = "narrow_target";

impl Narrow {
    const ALL: [(i32, Self); 10] = [
        (data_type::INT2, Self::Int2),
        (data_type::UINT2, Self::Uint2),
        (data_type::INT4, Self::Int4),
        (data_type::UINT4, Self::Uint4),
        (data_type::FLOAT4E2M1, Self::Float4E2M1),
        (data_type::FLOAT8E4M3FN, Self::Float8E4M3Fn),
        (data_type::FLOAT8E4M3FNUZ, Self::Float8E4M3FnUz),
        (data_type::FLOAT8E5M2, Self::Float8E5M2),
        (data_type::FLOAT8E5M2FNUZ, Self::Float8E5M2FnUz),
        (data_type::FLOAT8E8M0, Self::Float8E8M0),
    ];

    /// The type behind ONNX's number for it; `None` for types of ordinary width.
    pub fn of(number: i32) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == number).map(|&(_, t)| t)
    }

    pub fn number(self) -> i32 {
        Self::ALL.iter().find(|(_, t)| *t == self).map_or(0, |&(n, _)| n)
    }

    /// Elements in a byte of a file.
    pub fn per_byte(self) -> usize {
        match self {
            Self::Int2 | Self::Uint2 => 4,
            Self::Int4 | Self::Uint4 | Self::Float4E2M1 => 2,
            _ => 1,
        }
    }

    /// The type that graphs hold it in.
    pub fn elem(self) -> ElemType {
        if matches!(self, Self::Int2 | Self::Int4) { ElemType::I8 } else { ElemType::U8 }
    }

    pub fn is_float(self) -> bool {
        !matches!(self, Self::Int2 | Self::Uint2 | Self::Int4 | Self::Uint4)
    }

    /// What the input of a node holds.
    pub fn source(node: &Node) -> Option<Self> {
        Self::of(node.int(SOURCE, 0) as i32)
    }

    /// What the output of a node shall hold.
    pub fn target(node: &Node) -> Option<Self> {
        Self::of(node.int(TARGET, 0) as i32)
    }
}

impl Narrow {
    /// Whether a node takes codes, or makes what has limits of its own.
    pub fn is_coded(node: &Node) -> bool {
        Self::source(node).is_some_and(Self::is_float) || Self::target(node).is_some()
    }
}

/// The values of narrow types.
#[derive(Default)]
pub(super) struct NarrowValues(BTreeMap<ValueId, Narrow>);

impl NarrowValues {
    /// Notes that a value has the element type of this number.
    pub fn note(&mut self, id: ValueId, number: Option<i32>) {
        if let Some(narrow) = number.and_then(Narrow::of) {
            self.0.insert(id, narrow);
        }
    }

    /// The narrow type of a value.
    pub fn get(&self, id: ValueId) -> Option<Narrow> {
        self.0.get(&id).copied()
    }

    /// Notes that a value holds what another one does.
    pub fn follow(&mut self, id: ValueId, from: ValueId) {
        if let Some(&narrow) = self.0.get(&from) {
            self.0.insert(id, narrow);
        }
    }

    /// Tells a node of narrow types among its inputs, and notes what it makes of them.
    pub fn pass(
        &mut self,
        proto: &NodeProto,
        inputs: &[Option<ValueId>],
        outputs: &[Option<ValueId>],
        attrs: &mut BTreeMap<String, Attr>,
    ) -> Result<(), String> {
        let op = proto.op_type.as_deref().unwrap_or("");
        let of = |i: usize| inputs.get(i).copied().flatten().and_then(|id| self.0.get(&id).copied());
        let named = |key: &str| match attrs.get(key) {
            Some(&Attr::Int(n)) => i32::try_from(n).ok().and_then(Narrow::of),
            _ => None,
        };
        let (source, target) = match op {
            "Cast" => (of(0), named("to")),
            "CastLike" => (of(0), of(1)),
            "DequantizeLinear" => (of(0), None),
            "QuantizeLinear" => (None, of(2).or_else(|| named("output_dtype"))),
            "Constant" | "ConstantOfShape" => {
                let value = proto.attribute.iter().find(|a| a.name.as_deref() == Some("value"));
                let number = value.and_then(|a| a.t.as_ref()).and_then(|t| t.data_type);
                (None, number.and_then(Narrow::of))
            }
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice"
            | "Split" | "Gather" | "GatherND" | "GatherElements" | "Concat" | "Expand" | "Tile" => {
                (None, of(0))
            }
            "Shape" | "Size" => (None, None),
            _ => {
                let found = (0..inputs.len()).find_map(|i| of(i).filter(|t| t.is_float()));
                return match found {
                    None => Ok(()),
                    Some(t) => Err(format!(
                        "computes with {t:?} numbers, which only Cast and DequantizeLinear do; put one of them in front"
                    )),
                };
            }
        };
        if op == "Concat" && (1..inputs.len()).any(|i| of(i) != target) {
            return Err("joins tensors of different element types; export the model again".to_owned());
        }
        if matches!(op, "Cast" | "CastLike" | "DequantizeLinear" | "QuantizeLinear") {
            for (key, narrow) in [(SOURCE, source), (TARGET, target)] {
                if let Some(narrow) = narrow {
                    attrs.insert(key.to_owned(), Attr::Int(narrow.number().into()));
                }
            }
        }
        if let Some(target) = target {
            self.0.extend(outputs.iter().flatten().map(|&id| (id, target)));
        }
        Ok(())
    }
}
