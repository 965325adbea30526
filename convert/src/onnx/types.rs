//! Which element types each operator takes, input by input, as the importer checks before it reads a node and as
//! `docs/operators.md` shows them.
//!
//! Rows are the union over all opsets of the type constraints in the schemas of the Python packages onnx 1.23.2
//! (`onnx.defs`) and, of ONNX Runtime's own operators, onnxruntime 1.32 (`get_all_operator_schema`), without strings and
//! complex numbers, and without what nothing here computes as it is meant.

use super::narrow::Narrow;
use super::schema::data_type as t;
use crate::graph::ElemType;

/// A set of element types: a bit for each of ONNX's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types(u32);

impl Types {
    const fn of(numbers: &[i32]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < numbers.len() {
            bits |= 1 << numbers[i];
            i += 1;
        }
        Self(bits)
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, number: i32) -> bool {
        u32::try_from(number).is_ok_and(|n| n < 32 && self.0 >> n & 1 == 1)
    }

    /// The types as text: groups under their names, others one by one.
    pub fn text(self) -> String {
        let mut rest = self.0;
        let mut words = Vec::new();
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

/// What input `i` of an operator takes; `None` for operators over graphs, sequences and optionals, which take what
/// their graphs and elements do.
pub(crate) fn input(op: &str, i: usize) -> Option<Types> {
    let row = inputs(op)?;
    row.get(i).or(row.last()).copied()
}

/// What the inputs of an operator take, in order; the last is that of all that follow.
pub(crate) fn inputs(op: &str) -> Option<&'static [Types]> {
    TABLE.iter().find(|(ops, _)| ops.contains(&op)).map(|&(_, row)| row)
}

/// Refuses an input of a type that the operator does not take.
pub(super) fn check(
    op: &str,
    i: usize,
    name: &str,
    elem: ElemType,
    narrow: Option<Narrow>,
) -> Result<(), String> {
    let number = narrow.map_or_else(|| super::elem_number(elem), Narrow::number);
    match input(op, i) {
        Some(types) if !types.has(number) => Err(format!(
            "its input {i} '{name}' is {}; {op} takes {} there; cast it before exporting",
            Types(1 << number).list(),
            types.list()
        )),
        _ => Ok(()),
    }
}

const NAMES: &[(&str, Types)] = &[
    ("float32", F32),
    ("float16", F16),
    ("bfloat16", BF16),
    ("float64", F64),
    ("int8", I8),
    ("uint8", U8),
    ("int16", I16),
    ("uint16", U16),
    ("int32", I32),
    ("uint32", U32),
    ("int64", I64),
    ("uint64", U64),
    ("bool", BOOL),
    ("int4", INT4),
    ("uint4", UINT4),
    ("int2", INT2),
    ("uint2", UINT2),
    ("float8e4m3fn", E4M3FN),
    ("float8e4m3fnuz", E4M3FNUZ),
    ("float8e5m2", E5M2),
    ("float8e5m2fnuz", E5M2FNUZ),
    ("float8e8m0", E8M0),
    ("float4e2m1", E2M1),
];

/// Names of sets of types.
pub(crate) const GROUPS: &[(&str, Types)] =
    &[("any", ANY), ("all", ALL), ("numbers", NUMBERS), ("floats", FLOATS), ("ints", INTS)];

/// What each name of [`GROUPS`] stands for.
pub(crate) fn legend() -> impl Iterator<Item = (&'static str, String)> {
    GROUPS.iter().map(|&(name, types)| (name, types.list()))
}

const F32: Types = Types::of(&[t::FLOAT]);
const F16: Types = Types::of(&[t::FLOAT16]);
const BF16: Types = Types::of(&[t::BFLOAT16]);
const F64: Types = Types::of(&[t::DOUBLE]);
const I8: Types = Types::of(&[t::INT8]);
const U8: Types = Types::of(&[t::UINT8]);
const I16: Types = Types::of(&[t::INT16]);
const U16: Types = Types::of(&[t::UINT16]);
const I32: Types = Types::of(&[t::INT32]);
const U32: Types = Types::of(&[t::UINT32]);
const I64: Types = Types::of(&[t::INT64]);
const U64: Types = Types::of(&[t::UINT64]);
const BOOL: Types = Types::of(&[t::BOOL]);
const INT4: Types = Types::of(&[t::INT4]);
const UINT4: Types = Types::of(&[t::UINT4]);
const INT2: Types = Types::of(&[t::INT2]);
const UINT2: Types = Types::of(&[t::UINT2]);
const E4M3FN: Types = Types::of(&[t::FLOAT8E4M3FN]);
const E4M3FNUZ: Types = Types::of(&[t::FLOAT8E4M3FNUZ]);
const E5M2: Types = Types::of(&[t::FLOAT8E5M2]);
const E5M2FNUZ: Types = Types::of(&[t::FLOAT8E5M2FNUZ]);
const E8M0: Types = Types::of(&[t::FLOAT8E8M0]);
const E2M1: Types = Types::of(&[t::FLOAT4E2M1]);
const FLOATS: Types = Types::of(&[t::FLOAT, t::FLOAT16, t::BFLOAT16, t::DOUBLE]);
const BYTES: Types = Types::of(&[t::INT8, t::UINT8]);
const INTS: Types = BYTES.and(Types::of(&[t::INT16, t::UINT16, t::INT32, t::UINT32, t::INT64, t::UINT64]));
const NUMBERS: Types = FLOATS.and(INTS);
const ALL: Types = NUMBERS.and(BOOL);
/// Integers of fewer than eight bits.
const BITS: Types = Types::of(&[t::INT4, t::UINT4, t::INT2, t::UINT2]);
/// Floats of eight bits and fewer, other than mere exponents.
const FLOATS8: Types = Types::of(&[t::FLOAT8E4M3FN, t::FLOAT8E4M3FNUZ, t::FLOAT8E5M2, t::FLOAT8E5M2FNUZ]);
const ANY: Types = ALL.and(BITS).and(FLOATS8).and(Types::of(&[t::FLOAT8E8M0, t::FLOAT4E2M1]));

/// Operators, and what their inputs take.
#[rustfmt::skip]
const TABLE: &[(&[&str], &[Types])] = &[
    (&["Concat", "DepthToSpace", "Equal", "EyeLike", "NonZero", "SpaceToDepth", "Unique"], &[ALL]),
    (&["Cast", "CastLike", "Flatten", "Identity", "Shape", "Size", "Transpose"], &[ANY]),
    (&["And", "Not", "Or", "Xor"], &[BOOL]),
    (&["ConvInteger", "MatMulInteger", "com.microsoft.NhwcMaxPool"], &[BYTES]),
    (&["BitwiseNot"], &[BYTES.and(I16).and(U16).and(I32).and(I64)]),
    (&["DynamicQuantizeLinear"], &[F32]),
    (&["com.microsoft.BiasAdd", "com.microsoft.BiasSplitGelu", "com.microsoft.GroupNorm",
       "com.microsoft.NhwcFusedConv"], &[F32.and(F16)]),
    (&["CausalConvWithState", "LinearAttention", "com.microsoft.SkipLayerNormalization",
       "com.microsoft.SkipSimplifiedLayerNormalization"], &[F32.and(F16).and(BF16)]),
    (&["com.microsoft.BiasSoftmax", "com.microsoft.FusedConv", "com.microsoft.NhwcConv"], &[
       F32.and(F16).and(F64)]),
    (&["com.microsoft.FusedGemm"], &[F32.and(F16).and(F64).and(I32).and(U32).and(I64).and(U64)]),
    (&["ai.onnx.ml.Binarizer", "ai.onnx.ml.Imputer", "ai.onnx.ml.LinearClassifier", "ai.onnx.ml.LinearRegressor",
       "ai.onnx.ml.Normalizer", "ai.onnx.ml.Scaler", "ai.onnx.ml.TreeEnsembleClassifier",
       "ai.onnx.ml.TreeEnsembleRegressor"], &[F32.and(F64).and(I32).and(I64)]),
    (&["ai.onnx.ml.TreeEnsemble"], &[F32.and(F16).and(F64)]),
    (&["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "BatchNormalization", "Ceil", "Celu",
       "Conv", "ConvTranspose", "Cos", "Cosh", "DeformConv", "Det", "Elu", "Exp", "Floor", "Gelu",
       "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GridSample", "GroupNormalization", "HardSigmoid",
       "HardSwish", "Hardmax", "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Log",
       "LogSoftmax", "LpNormalization", "LpPool", "Mean", "MeanVarianceNormalization", "Mish",
       "RMSNormalization", "Reciprocal", "Round", "Selu", "Sigmoid", "SimplifiedLayerNormalization", "Sin",
       "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Sum", "SwiGLU", "Swish", "Tan", "Tanh",
       "ThresholdedRelu", "com.microsoft.BiasGelu", "com.microsoft.FastGelu", "com.microsoft.FusedMatMul",
       "com.microsoft.Gelu", "com.microsoft.LayerNormalization", "com.microsoft.QuickGelu",
       "com.microsoft.SimplifiedLayerNormalization", "com.microsoft.TransposeMatMul"], &[FLOATS]),
    (&["MaxPool"], &[FLOATS.and(BYTES)]),
    (&["IsInf", "IsNaN"], &[FLOATS.and(FLOATS8)]),
    (&["Range"], &[FLOATS.and(I16).and(I32).and(I64)]),
    (&["Gemm", "MatMul", "PRelu"], &[FLOATS.and(I32).and(U32).and(I64).and(U64)]),
    (&["Neg", "Relu"], &[FLOATS.and(I8).and(I16).and(I32).and(I64)]),
    (&["BlackmanWindow", "HammingWindow", "HannWindow", "TfIdfVectorizer"], &[I32.and(I64)]),
    (&["ConstantOfShape"], &[I64]),
    (&["BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor"], &[INTS]),
    (&["Shrink"], &[INTS.and(F32).and(F16).and(F64)]),
    (&["com.microsoft.GridSample", "com.microsoft.Unique"], &[INTS.and(F32).and(F16).and(F64).and(BOOL)]),
    (&["Abs", "Add", "ArgMax", "ArgMin", "Clip", "Div", "Einsum", "Erf", "Greater", "GreaterOrEqual", "Less",
       "LessOrEqual", "Max", "Min", "Mod", "Mul", "Sign", "Sub"], &[NUMBERS]),
    (&["Compress"], &[ALL, BOOL]),
    (&["Split"], &[ALL, F32.and(F16).and(F64).and(I64)]),
    (&["CenterCropPad", "Gather", "GatherElements", "Slice"], &[ALL, I32.and(I64)]),
    (&["Col2Im", "Expand", "GatherND", "ReverseSequence", "Trilu", "com.microsoft.Trilu"], &[ALL, I64]),
    (&["Reshape", "Squeeze", "Unsqueeze"], &[ANY, I64]),
    (&["Where"], &[BOOL, ALL]),
    (&["ai.onnx.ml.ArrayFeatureExtractor"], &[F32.and(F64).and(I32).and(I64), I64]),
    (&["AffineGrid", "MaxUnpool"], &[FLOATS, I64]),
    (&["ReduceMax", "ReduceMin"], &[FLOATS.and(BYTES).and(I32).and(U32).and(I64).and(U64).and(BOOL), I64]),
    (&["Pow"], &[FLOATS.and(I32).and(I64), NUMBERS]),
    (&["CumProd", "CumSum"], &[FLOATS.and(I32).and(U32).and(I64).and(U64), I32.and(I64)]),
    (&["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum",
       "ReduceSumSquare"], &[FLOATS.and(I32).and(U32).and(I64).and(U64), I64]),
    (&["Upsample"], &[INTS.and(F32).and(F16).and(F64).and(BOOL), F32]),
    (&["com.microsoft.ExpandDims"], &[INTS.and(F32).and(F16).and(F64).and(BOOL), I32]),
    (&["com.microsoft.GatherND"], &[INTS.and(F32).and(F16).and(F64).and(BOOL), I32.and(I64)]),
    (&["TopK"], &[NUMBERS, I64]),
    (&["Tile"], &[ALL, F32.and(F16).and(F64).and(I64), F32.and(F16).and(F64)]),
    (&["ScatterElements"], &[ALL, I32.and(I64), ALL]),
    (&["ScatterND"], &[ALL, I64, ALL]),
    (&["TensorScatter"], &[ALL.and(FLOATS8).and(INT4).and(UINT4).and(E8M0).and(E2M1),
       ALL.and(FLOATS8).and(INT4).and(UINT4).and(E8M0).and(E2M1), I64]),
    (&["DequantizeLinear"], &[BYTES.and(FLOATS8).and(BITS).and(I16).and(U16).and(I32).and(E2M1),
       F32.and(F16).and(BF16).and(E8M0), BYTES.and(FLOATS8).and(BITS).and(I16).and(U16).and(I32).and(E2M1)]),
    (&["com.microsoft.DequantizeLinear"], &[BYTES.and(I16).and(U16).and(I32).and(INT4).and(UINT4),
       F32.and(F16), BYTES.and(I16).and(U16).and(I32).and(INT4).and(UINT4)]),
    (&["com.microsoft.QLinearConcat"], &[F32, BYTES, BYTES.and(F32)]),
    (&["com.microsoft.QuantizeLinear"], &[F32.and(F16), F32.and(F16),
       BYTES.and(I16).and(U16).and(INT4).and(UINT4)]),
    (&["com.microsoft.RotaryEmbedding"], &[F32.and(F16).and(BF16), I64, F32.and(F16).and(BF16)]),
    (&["QuantizeLinear"], &[F32.and(F16).and(BF16).and(I32), F32.and(F16).and(BF16).and(I32).and(E8M0),
       BYTES.and(FLOATS8).and(BITS).and(I16).and(U16).and(E2M1)]),
    (&["com.microsoft.CropAndResize"], &[F32.and(F16).and(F64), F32.and(F16).and(F64), I32]),
    (&["com.microsoft.Pad"], &[F32.and(F16).and(F64), I64, F32.and(F16).and(F64)]),
    (&["RoiAlign"], &[FLOATS, FLOATS, I64]),
    (&["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"], &[FLOATS, I32.and(I64), FLOATS]),
    (&["DFT"], &[FLOATS, I32.and(I64), I64]),
    (&["Dropout"], &[FLOATS.and(FLOATS8), FLOATS.and(FLOATS8), BOOL]),
    (&["OneHot"], &[INTS.and(F32).and(F16).and(F64), INTS.and(F32).and(F16).and(F64), ALL]),
    (&["Scatter"], &[INTS.and(F32).and(F16).and(F64).and(BOOL), I32.and(I64),
       INTS.and(F32).and(F16).and(F64).and(BOOL)]),
    (&["Resize"], &[ALL, F32.and(F16).and(F64), F32, I64]),
    (&["Pad"], &[ANY, I64, ANY, I32.and(I64)]),
    (&["NonMaxSuppression"], &[F32, F32, I64, F32]),
    (&["RotaryEmbedding"], &[F32.and(F16).and(BF16), F32.and(F16).and(BF16), F32.and(F16).and(BF16), I64]),
    (&["STFT"], &[FLOATS, I32.and(I64), FLOATS, I32.and(I64)]),
    (&["MelWeightMatrix"], &[I32.and(I64), I32.and(I64), I32.and(I64), FLOATS]),
    (&["com.microsoft.QLinearAveragePool", "com.microsoft.QLinearGlobalAveragePool",
       "com.microsoft.QLinearLeakyRelu", "com.microsoft.QLinearSigmoid", "com.microsoft.QLinearSoftmax"], &[
       BYTES, F32, BYTES, F32, BYTES]),
    (&["com.microsoft.DynamicQuantizeMatMul"], &[F32, BYTES, F32, BYTES, F32]),
    (&["com.microsoft.MatMulNBits"], &[F32.and(F16).and(BF16), U8, F32.and(F16).and(BF16),
       F32.and(F16).and(BF16).and(U8), I32, F32.and(F16).and(BF16)]),
    (&["GRU", "LSTM", "RNN"], &[FLOATS, FLOATS, FLOATS, FLOATS, I32, FLOATS]),
    (&["com.microsoft.MatMulIntegerToFloat"], &[BYTES, BYTES, F32.and(F16), F32.and(F16), BYTES, BYTES,
       F32.and(F16)]),
    (&["com.microsoft.Attention"], &[F32.and(F16).and(BF16), F32.and(F16).and(BF16), F32.and(F16).and(BF16),
       I32, F32.and(F16).and(BF16), F32.and(F16).and(BF16), I32]),
    (&["Attention"], &[FLOATS, FLOATS, FLOATS, ALL, FLOATS, FLOATS, I64]),
    (&["com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"], &[BYTES, F32, BYTES, BYTES, F32, BYTES, F32,
       BYTES]),
    (&["QLinearMatMul"], &[BYTES.and(FLOATS8), F32.and(F16).and(BF16), BYTES.and(FLOATS8), BYTES.and(FLOATS8),
       F32.and(F16).and(BF16), BYTES.and(FLOATS8), F32.and(F16).and(BF16), BYTES.and(FLOATS8)]),
    (&["com.microsoft.EmbedLayerNormalization"], &[I32, I32, F32.and(F16), F32.and(F16), F32.and(F16),
       F32.and(F16), F32.and(F16), I32]),
    (&["QLinearConv"], &[BYTES, F32, BYTES, BYTES, F32, BYTES, F32, BYTES, I32]),
    (&["com.microsoft.QGemm"], &[BYTES, F32, BYTES, BYTES, F32, BYTES, I32, F32, BYTES]),
    (&["com.microsoft.MultiHeadAttention"], &[F32.and(F16).and(BF16), F32.and(F16).and(BF16),
       F32.and(F16).and(BF16), F32.and(F16).and(BF16), I32, F32.and(F16).and(BF16), F32.and(F16).and(BF16),
       F32.and(F16).and(BF16), I32]),
    (&["com.microsoft.DynamicQuantizeLSTM"], &[F32, BYTES, BYTES, F32, I32, F32, F32, F32, F32, BYTES, F32,
       BYTES]),
    (&["com.microsoft.GroupQueryAttention"], &[F32.and(F16).and(BF16), F32.and(F16).and(BF16),
       F32.and(F16).and(BF16), BYTES.and(F32).and(F16).and(BF16).and(E4M3FN),
       BYTES.and(F32).and(F16).and(BF16).and(E4M3FN), I32, I32, F32.and(F16).and(BF16), F32.and(F16).and(BF16),
       I64, F32.and(F16).and(BF16), F32.and(F16).and(BF16), F32, F32, F32.and(F16).and(BF16),
       F32.and(F16).and(BF16), I32]),
    (&["BitCast"], &[BYTES.and(BOOL).and(F32).and(I32).and(U32)]),
];
