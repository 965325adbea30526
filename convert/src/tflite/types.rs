//! Which element types each operator takes, input by input, as the importer checks before it translates one and as
//! `docs/operators.md` shows them.

use crate::graph::ElemType;

/// A set of element types; integers that stand for real numbers by a scale are types of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types(u32);

impl Types {
    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The type of a tensor.
    fn of(elem: ElemType, has_scale: bool) -> Self {
        match elem {
            ElemType::I8 if has_scale => QI8,
            ElemType::U8 if has_scale => QU8,
            ElemType::I16 if has_scale => QI16,
            ElemType::F32 => F32,
            ElemType::F16 => F16,
            ElemType::BF16 => BF16,
            ElemType::F64 => F64,
            ElemType::I8 => I8,
            ElemType::U8 => U8,
            ElemType::I16 => I16,
            ElemType::U16 => U16,
            ElemType::I32 => I32,
            ElemType::U32 => U32,
            ElemType::I64 => I64,
            ElemType::U64 => U64,
            ElemType::Bool => BOOL,
        }
    }

    /// The types as text: groups under their names, others one by one.
    pub fn text(self) -> String {
        let (mut rest, mut words) = (self.0, Vec::new());
        for &(name, group) in GROUPS.iter().chain(NAMES) {
            if group.0 & !rest == 0 {
                words.push(name);
                rest &= !group.0;
            }
        }
        words.join(", ")
    }

    /// The types one by one.
    fn list(self) -> String {
        let words: Vec<_> =
            NAMES.iter().filter(|(_, one)| one.0 & self.0 != 0).map(|(name, _)| *name).collect();
        words.join(", ")
    }
}

/// What the inputs of an operator take, in order; the last is that of all that follow. `None` for operators over
/// graphs, variables and complex numbers.
pub(crate) fn inputs(op: &str) -> Option<&'static [Types]> {
    TABLE.iter().find(|(ops, _)| ops.contains(&op)).map(|&(_, row)| row)
}

/// Refuses an input of a type that the operator does not take.
pub(super) fn check(op: &str, i: usize, name: &str, elem: ElemType, has_scale: bool) -> Result<(), String> {
    let Some(row) = inputs(op) else { return Ok(()) };
    let Some(types) = row.get(i).or(row.last()) else { return Ok(()) };
    let is = Types::of(elem, has_scale);
    if types.0 & is.0 != 0 {
        return Ok(());
    }
    Err(format!(
        "its input {i} '{name}' is {}; {op} takes {} there; convert the model again with one of these",
        is.list(),
        types.list()
    ))
}

/// Names of sets of types.
const GROUPS: &[(&str, Types)] =
    &[("all", ALL), ("numbers", NUMBERS), ("reals", REALS), ("ints", INTS), ("indices", INDICES)];

/// What each name of [`GROUPS`] stands for.
pub(crate) fn legend() -> impl Iterator<Item = (&'static str, String)> {
    GROUPS.iter().map(|&(name, types)| (name, types.list()))
}

const NAMES: &[(&str, Types)] = &[
    ("float32", F32),
    ("float16", F16),
    ("bfloat16", BF16),
    ("float64", F64),
    ("int8 with a scale", QI8),
    ("uint8 with a scale", QU8),
    ("int16 with a scale", QI16),
    ("int8", I8),
    ("uint8", U8),
    ("int16", I16),
    ("uint16", U16),
    ("int32", I32),
    ("uint32", U32),
    ("int64", I64),
    ("uint64", U64),
    ("bool", BOOL),
];

const F32: Types = Types(1);
const F16: Types = Types(1 << 1);
const BF16: Types = Types(1 << 2);
const F64: Types = Types(1 << 3);
const QI8: Types = Types(1 << 4);
const QU8: Types = Types(1 << 5);
const QI16: Types = Types(1 << 6);
const I8: Types = Types(1 << 7);
const U8: Types = Types(1 << 8);
const I16: Types = Types(1 << 9);
const U16: Types = Types(1 << 10);
const I32: Types = Types(1 << 11);
const U32: Types = Types(1 << 12);
const I64: Types = Types(1 << 13);
const U64: Types = Types(1 << 14);
const BOOL: Types = Types(1 << 15);
/// Real numbers, as LiteRT's float and quantized kernels take them.
const REALS: Types = F32.and(F16).and(BF16).and(QI8).and(QU8).and(QI16);
const INTS: Types = I8.and(U8).and(I16).and(U16).and(I32).and(U32).and(I64).and(U64);
const NUMBERS: Types = REALS.and(F64).and(INTS);
const ALL: Types = NUMBERS.and(BOOL);
const INDICES: Types = I32.and(I64);
/// Of layers that multiply, behind the weights.
const BIAS: Types = REALS.and(INDICES);

/// Operators, and what their inputs take. Those that are not here take what is in their graphs, variables, or complex
/// numbers.
#[rustfmt::skip]
const TABLE: &[(&[&str], &[Types])] = &[
    (&["AVERAGE_POOL_2D", "COS", "ELU", "EXP", "FAKE_QUANT", "FLOOR", "CEIL", "GELU", "HARD_SWISH", "L2_NORMALIZATION",
       "L2_POOL_2D", "LEAKY_RELU", "LOCAL_RESPONSE_NORMALIZATION", "LOG", "LOGISTIC", "LOG_SOFTMAX", "MAX_POOL_2D",
       "PRELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SOFTMAX", "SQRT", "TANH"], &[REALS]),
    (&["CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "Convolution2DTransposeBias"], &[REALS, REALS, BIAS]),
    (&["TRANSPOSE_CONV"], &[I32, REALS, REALS, BIAS]),
    (&["BATCH_MATMUL"], &[REALS.and(I32), REALS.and(I32)]),
    (&["BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"],
        &[BIAS]),
    (&["RESIZE_BILINEAR"], &[REALS, I32]),
    (&["RESIZE_NEAREST_NEIGHBOR"], &[REALS.and(INTS), I32]),
    (&["RFFT2D"], &[F32, I32]),
    (&["DEQUANTIZE", "QUANTIZE"], &[REALS.and(I32)]),
    (&["DENSIFY"], &[REALS.and(I32)]),
    (&["ABS", "NEG", "RELU", "SIGN", "SQUARE"], &[NUMBERS]),
    (&["ADD", "ADD_N", "DIV", "FLOOR_DIV", "FLOOR_MOD", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "MAXIMUM", "MINIMUM",
       "MUL", "POW", "SQUARED_DIFFERENCE", "SUB"], &[NUMBERS]),
    (&["ATAN2"], &[REALS]),
    (&["EQUAL", "NOT_EQUAL"], &[ALL]),
    (&["LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR"], &[BOOL]),
    (&["BITWISE_XOR"], &[INTS.and(BOOL)]),
    (&["ARG_MAX", "ARG_MIN"], &[ALL, INDICES]),
    (&["CUMSUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"], &[NUMBERS, I32]),
    (&["REDUCE_ALL", "REDUCE_ANY"], &[BOOL, I32]),
    (&["SEGMENT_SUM"], &[NUMBERS, I32]),
    (&["UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_SUM"],
        &[NUMBERS, I32, I32]),
    (&["TOPK_V2"], &[NUMBERS, INDICES.and(I16)]),
    (&["BROADCAST_ARGS"], &[INDICES]),
    (&["BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"], &[ALL, I32, I32]),
    (&["CAST", "CONCATENATION", "DEPTH_TO_SPACE", "MATRIX_DIAG", "MATRIX_SET_DIAG", "PACK", "RANK", "SHAPE", "SPACE_TO_DEPTH",
       "SQUEEZE", "UNPACK", "ZEROS_LIKE"], &[ALL]),
    (&["BITCAST"], &[F32.and(I8).and(U8).and(QI8).and(QU8).and(I32).and(U32).and(BOOL)]),
    (&["BROADCAST_TO", "EXPAND_DIMS", "MIRROR_PAD", "PAD", "RESHAPE", "REVERSE_SEQUENCE", "REVERSE_V2", "SLICE",
       "STRIDED_SLICE", "TILE", "TRANSPOSE"], &[ALL, INDICES]),
    (&["DYNAMIC_UPDATE_SLICE"], &[ALL, ALL, INDICES]),
    (&["EMBEDDING_LOOKUP"], &[I32, ALL]),
    (&["FILL"], &[INDICES, ALL]),
    (&["GATHER"], &[ALL, INDICES.and(I16)]),
    (&["GATHER_ND"], &[ALL, INDICES.and(I16)]),
    (&["ONE_HOT"], &[INDICES, I32, ALL]),
    (&["PADV2"], &[ALL, INDICES, ALL]),
    (&["RANGE"], &[F32.and(INDICES)]),
    (&["SCATTER_ND"], &[INDICES, ALL, INDICES]),
    (&["SELECT", "SELECT_V2"], &[BOOL, ALL]),
    (&["SPARSE_TO_DENSE"], &[INDICES, INDICES, ALL]),
    (&["SPLIT"], &[I32, ALL]),
    (&["SPLIT_V"], &[ALL, INDICES, I32]),
    (&["WHERE"], &[ALL]),
    (&["IF"], &[BOOL, ALL]),
    (&["NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"], &[F32, F32, I32, F32]),
    (&["Landmarks2TransformMatrix", "TFLite_Detection_PostProcess", "TransformLandmarks", "TransformTensorBilinear"], &[REALS]),
];
