//! Which operators are supported: `docs/operators.md`, written from the tables that importers look them up in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::{expand, infer, onnx, tflite};

/// What there is to know about operators before a model is exported.
const NOTES: &[(&str, &str)] = &[
    ("Attention", "past keys and values as inputs too, of lengths that are known"),
    ("BatchNormalization", "training mode too; opsets before 9 only with `spatial` 1"),
    ("BitCast", "between types of 8 bits, or of 32"),
    ("BitShift", "by fewer bits than the type has"),
    ("Cast", "to and from 8-bit and 4-bit floats and 2-bit and 4-bit integers too; no strings"),
    ("ConstantOfShape", "the shape has to be known"),
    ("Conv", "one and two spatial dimensions are a step; three become two-dimensional ones"),
    ("Compress", "as many slices as there could be; those that are there come first"),
    ("ConvInteger", "exact: input channels are summed in parts where float32 would round"),
    ("Dropout", "passes on what it gets; training mode is refused"),
    ("Einsum", "any equation with letters and one ellipsis, of one operand or more"),
    ("EyeLike", "the shape has to be known"),
    (
        "If",
        "a condition known at conversion chooses; else both branches are computed, which need equal shapes but for rows whose number the data decides",
    ),
    ("Loop", "unrolled: the trip count has to be known at conversion; a condition may end it early"),
    ("MatMulInteger", "exact: long sums are cut where float32 would round"),
    ("NonMaxSuppression", "as many rows as there can be; those that are not used hold -1"),
    ("NonZero", "as many columns as there could be; those that are there come first, the others hold -1"),
    ("Range", "the numbers have to be known"),
    ("Resize", "nearest, linear and cubic, with `antialias`; no `tf_crop_and_resize`"),
    (
        "RoiAlign",
        "with `sampling_ratio` 0, regions larger than the image take as many samples as one of its size",
    ),
    ("Scan", "unrolled"),
    ("SoftmaxCrossEntropyLoss", "at most 6 dimensions"),
    ("TfIdfVectorizer", "of numbers; no strings"),
    ("Trilu", "`k` has to be known"),
    ("Unique", "only of what is known at conversion, since the shape of its output follows from it"),
    (
        "ai.onnx.ml.LinearClassifier",
        "intercepts for each class; labels that are text only where nobody reads them",
    ),
    ("ai.onnx.ml.TreeEnsemble", "all modes, all transforms but PROBIT"),
    ("ai.onnx.ml.TreeEnsembleClassifier", "labels that are text only where nobody reads them"),
    ("ai.onnx.preview.FlexAttention", "subgraphs on scores and probabilities inlined"),
    ("com.microsoft.Attention", "queries, keys and values as one weight; no past state"),
    (
        "com.microsoft.DynamicQuantizeLSTM",
        "hidden states are rounded to bytes only in models of one frame of one sequence",
    ),
    ("com.microsoft.MultiHeadAttention", "no queries, keys and values packed into one input"),
];

/// The same of TensorFlow Lite's.
const TFLITE_NOTES: &[(&str, &str)] = &[
    ("BATCH_TO_SPACE_ND", "behind a convolution of what `SPACE_TO_BATCH_ND` gives: one dilated convolution"),
    ("BIDIRECTIONAL_SEQUENCE_LSTM", "no auxiliary inputs"),
    ("BITCAST", "between types of 8 bits, or of 32"),
    ("BROADCAST_ARGS", "of shapes that are known"),
    ("CALL_ONCE", "begins with values that are known"),
    ("COMPLEX_ABS", "of what `RFFT2D` gives, reshaped or not"),
    ("Convolution2DTransposeBias", "of MediaPipe"),
    ("FAKE_QUANT", "no narrow range, which LiteRT refuses too"),
    ("FULLY_CONNECTED", "weights in the default format"),
    (
        "IF",
        "a condition known at conversion chooses; else both branches are computed, which need equal shapes",
    ),
    ("IMAG", "of what `RFFT2D` gives, reshaped or not"),
    ("LSTM", "the full and the basic kernel; states persist"),
    ("Landmarks2TransformMatrix", "of MediaPipe, version 2"),
    ("NON_MAX_SUPPRESSION_V4", "thresholds and count known at conversion"),
    ("NON_MAX_SUPPRESSION_V5", "thresholds and count known at conversion; no soft suppression"),
    ("RANGE", "the numbers have to be known"),
    ("REAL", "of what `RFFT2D` gives, reshaped or not"),
    ("RFFT2D", "lengths up to 16384"),
    ("RNN", "the state persists"),
    ("SEGMENT_SUM", "the numbers of the segments have to be known"),
    ("SVDF", "the state persists"),
    (
        "TFLite_Detection_PostProcess",
        "by all classes at once or class by class; zeros behind the last detection",
    ),
    ("TransformLandmarks", "of MediaPipe, version 2"),
    ("TransformTensorBilinear", "of MediaPipe, version 2"),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", "states persist"),
    ("UNIDIRECTIONAL_SEQUENCE_RNN", "the state persists"),
    ("WHERE", "only of what is known at conversion, since the shape of its output follows from it"),
    ("WHILE", "unrolled: the condition has to be known at conversion in every round"),
];

/// How the importer goes about an operator of ONNX.
fn way(op: &str) -> &'static str {
    if expand::handles(op) {
        if infer::has_rule(op) { "step, or expanded" } else { "expanded" }
    } else if infer::has_rule(op) {
        "step"
    } else if onnx::rewrites(op) {
        "rewritten"
    } else {
        "while reading"
    }
}

/// What the inputs of an operator take: one text for all, or one for each stretch of equal ones.
fn taken(inputs: &[String]) -> String {
    let mut parts: Vec<(usize, usize, &str)> = Vec::new();
    for (i, text) in inputs.iter().enumerate() {
        match parts.last_mut() {
            Some((_, last, same)) if *same == text.as_str() => *last = i,
            _ => parts.push((i, i, text)),
        }
    }
    if let [(_, _, text)] = parts.as_slice() {
        return (*text).to_owned();
    }
    let end = inputs.len().wrapping_sub(1);
    let part = |&(from, to, text): &(usize, usize, &str)| match (from, to) {
        (from, to) if from == to || to == end => format!("{from}: {text}"),
        (from, to) => format!("{from} to {to}: {text}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join("; ")
}

/// Lines that say what names of sets of types stand for.
fn legend(text: &mut String, names: impl Iterator<Item = (&'static str, String)>) {
    for (name, types) in names {
        let _ = writeln!(text, "- *{name}*: {types}.");
    }
}

/// The text of `docs/operators.md`.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    legend(&mut text, onnx::types::legend());
    let mut domains: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for op in expand::operators().chain(infer::operators()).chain(onnx::operators()) {
        let domain = op.rsplit_once('.').map_or("", |(domain, _)| domain);
        domains.entry(domain).or_default().insert(op);
    }
    // What only lowering knows: no model holds it.
    domains.remove("cygnet");
    for (domain, operators) in &domains {
        let title = if domain.is_empty() { "ai.onnx" } else { domain };
        let _ = write!(
            text,
            "\n### {title} ({})\n\n| operator | opsets | types | how | limits |\n| --- | --- | --- | --- | --- |\n",
            operators.len()
        );
        for op in operators {
            let name = op.rsplit('.').next().unwrap_or(op);
            let note = NOTES.iter().find(|(noted, _)| noted == op).map_or("", |&(_, note)| note);
            let opsets = match onnx::versions(op) {
                Some((first, last)) if first == last => first.to_string(),
                Some((first, last)) => format!("{first} to {last}"),
                None => "1".to_owned(),
            };
            let types = onnx::types::inputs(op).unwrap_or_default().iter().map(|t| t.text());
            let types = taken(&types.collect::<Vec<_>>());
            let _ = writeln!(text, "| {name} | {opsets} | {types} | {} | {note} |", way(op));
        }
    }
    let (builtin, custom) = tflite::operators();
    for (title, operators) in [("Builtin", builtin), ("Custom", custom)] {
        if title == "Builtin" {
            text.push_str(TFLITE);
            legend(&mut text, tflite::types::legend());
        }
        let n = operators.len();
        let _ = write!(text, "\n### {title} ({n})\n\n| operator | types | limits |\n| --- | --- | --- |\n");
        for op in operators {
            let note = TFLITE_NOTES.iter().find(|(noted, _)| *noted == op).map_or("", |&(_, note)| note);
            let types = tflite::types::inputs(op).unwrap_or_default().iter().map(|t| t.text());
            let types = taken(&types.collect::<Vec<_>>());
            let _ = writeln!(text, "| {op} | {types} | {note} |");
        }
    }
    text
}

const HEAD: &str = "\
# Operators

Written by `CYGNET_WRITE=1 cargo test -p cygnet-convert --test operators` from the tables in which the importers look
operators up; the same test, without that variable, fails when this page says something else. How each case of ONNX's
own operator tests comes out stands in [tests/conformance](../tests/conformance).

## Types

| type in the model | while it runs |
| --- | --- |
| float32 | float32, or what `--precision` makes of it |
| float16, bfloat16 | float32 within; float16 passes the border of a program in its own type, bfloat16 as float32 |
| float64 | constants are computed in float64; while it runs float32, within and at the border, for what only moves, chooses or converts; arithmetic is refused unless `--round-float64` says that float32 will do |
| int8, uint8, bool | themselves; with a scale, s8 |
| int16, uint16, int32 | int32; int16 passes the border in its own type |
| int64, uint32, uint64 | int32 within, where larger numbers are clamped; int64 at the border |
| 8-bit and 4-bit floats | their codes in uint8; only conversions compute with them, others may move them |
| int4, uint4, int2, uint2 | int8 and uint8 |
| strings, complex numbers, maps | refused |

Tensors have at most 6 dimensions where steps take them, and every size is known at conversion: dimensions left open
are given by `--shape`. Where the data decides how many rows there are (ONNX's `NonZero`, `Compress` and
`NonMaxSuppression`, and what follows from them), there are as many as there could be: those that are there come first,
and outputs of the model hold -1 behind them if they are signed integers, else zeros. Selections, sums, products, joins,
slices and shapes of such rows see only those that are there; an operator that cannot tell them apart is refused by
name. Sequences and optionals exist while a model is read: an element of a sequence that is an input
or output of the model is one of the program, `NAME[0]` and so on; it is there when `--shape` or `--fix` names it, and
so is an optional input.

## ONNX

Opsets 1 to 28, the functions of a model, and data in files beside it, as models of more than 2 GB have them: a tensor
has at most 2^31 elements, a file may be longer than 4 GiB, and converting takes about nine times the bytes of the data in
float16 (a table of 2.25 GB: 19.8 GB, 3 minutes, a file of 4.5 GB). Operators are understood as the newest opset
defines them; what older ones say otherwise is rewritten when the model is read.

Opsets are the version in which an operator came and the one in which it last changed; all between are read, and newer
ones up to 28.

- **step**: stays as it is until lowering makes steps of it; those with known inputs are computed at conversion.
- **expanded**: becomes the operators that it is defined by.
- **step, or expanded**: a step where there is one for these attributes and inputs.
- **rewritten**: an older or quantized form of another operator.
- **while reading**: has no tensors, or decides which nodes there are.

Types are those of the inputs, counted from 0; what stands last holds for all that follow. A node with an input of
another type is refused, by its name and with what it takes. Operators without types take those of their graphs,
sequences and optionals. The section on types says how the wide ones are held.

";

const TFLITE: &str = "
## TensorFlow Lite

Schema 3. Weights in float16, 4 bits, dynamic range, int8 per channel, uint8, int8 with int16 values, and sparse ones are
understood. Variables, and the states of recurrent layers, persist from run to run as they do in LiteRT. `IF` and `WHILE`
are decided at conversion; a condition that the model computes selects between branches of equal shapes.

Types are those of the inputs, counted from 0; what stands last holds for all that follow. Integers with a scale stand
for real numbers; those of 4 bits count as int8. An operator with an input of another type is refused, by its name and with what it
takes. Operators without types take those of their graphs and variables, or complex numbers.

";

/// Operators that have notes, for a test that all of them exist.
pub fn noted() -> impl Iterator<Item = &'static str> {
    NOTES.iter().chain(TFLITE_NOTES).map(|&(op, _)| op)
}
