//! Which operators of ONNX are understood, and which of them while a model is read.

use super::importer::Importer;
use super::schema::NodeProto;
use super::{opset, qoperator};
use crate::error::ImportError;
use crate::{expand, infer};

/// Reads a node whose inputs or attributes are more than tensors.
type Special<'a> = fn(&mut Importer<'a>, &NodeProto, &str) -> Result<(), ImportError>;

/// The rule of an operator over graphs, sequences or optionals.
pub(super) fn special<'a>(op: &str) -> Option<Special<'a>> {
    Some(match op {
        "If" => Importer::if_node,
        "Loop" => Importer::loop_node,
        "Scan" => Importer::scan_node,
        "SequenceConstruct" => Importer::sequence_construct,
        "SequenceEmpty" => Importer::sequence_empty,
        "SequenceInsert" => Importer::sequence_insert,
        "SequenceErase" => Importer::sequence_erase,
        "SequenceAt" => Importer::sequence_at,
        "SequenceLength" => Importer::sequence_length,
        "SequenceMap" => Importer::sequence_map,
        "SplitToSequence" => Importer::split_to_sequence,
        "ConcatFromSequence" => Importer::concat_from_sequence,
        "Identity" => Importer::identity,
        "Optional" => Importer::optional,
        "OptionalGetElement" => Importer::optional_get,
        "ai.onnx.preview.FlexAttention" => Importer::flex_attention,
        "OptionalHasElement" => Importer::optional_has,
        _ => return None,
    })
}

/// Whether an operator, with its domain when that is not ONNX's own, is understood.
pub(super) fn is_known(op: &str) -> bool {
    op == "Constant"
        || special(op).is_some()
        || infer::has_rule(op)
        || expand::handles(op)
        || opset::is_renamed(op)
        || qoperator::handles(op)
}
