//! Which operators of ONNX are understood, and which of them while a model is read.

use super::importer::Importer;
use super::schema::NodeProto;
use super::{opset, qoperator};
use crate::error::ImportError;
use crate::{expand, infer};

/// Reads a node whose inputs or attributes are more than tensors.
type Special<'a> = fn(&mut Importer<'a>, &NodeProto, &str) -> Result<(), ImportError>;

/// Operators over graphs, sequences or optionals.
fn specials<'a>() -> [(&'static str, Special<'a>); 17] {
    [
        ("If", Importer::if_node),
        ("Loop", Importer::loop_node),
        ("Scan", Importer::scan_node),
        ("SequenceConstruct", Importer::sequence_construct),
        ("SequenceEmpty", Importer::sequence_empty),
        ("SequenceInsert", Importer::sequence_insert),
        ("SequenceErase", Importer::sequence_erase),
        ("SequenceAt", Importer::sequence_at),
        ("SequenceLength", Importer::sequence_length),
        ("SequenceMap", Importer::sequence_map),
        ("SplitToSequence", Importer::split_to_sequence),
        ("ConcatFromSequence", Importer::concat_from_sequence),
        ("Identity", Importer::identity),
        ("Optional", Importer::optional),
        ("OptionalGetElement", Importer::optional_get),
        ("ai.onnx.preview.FlexAttention", Importer::flex_attention),
        ("OptionalHasElement", Importer::optional_has),
    ]
}

/// The rule of an operator over graphs, sequences or optionals.
pub(super) fn special<'a>(op: &str) -> Option<Special<'a>> {
    specials().into_iter().find(|(name, _)| *name == op).map(|(_, rule)| rule)
}

/// Whether an operator is an older or quantized form of others.
pub(crate) fn rewrites(op: &str) -> bool {
    opset::is_renamed(op) || qoperator::handles(op)
}

/// All operators that are understood only while a model is read, or rewritten to others.
pub(crate) fn operators() -> impl Iterator<Item = &'static str> {
    let special = specials().map(|(name, _)| name);
    std::iter::once("Constant").chain(special).chain(opset::renamed()).chain(qoperator::operators())
}

/// Whether an operator, with its domain when that is not ONNX's own, is understood.
pub(super) fn is_known(op: &str) -> bool {
    op == "Constant" || special(op).is_some() || infer::has_rule(op) || expand::handles(op) || rewrites(op)
}
