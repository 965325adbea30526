//! In which versions of ONNX's operator sets each operator came and last changed, as `docs/operators.md` shows them.
//!
//! Taken from the schemas of the Python package onnx 1.23.2 (`onnx.defs.get_all_schemas_with_history`). All versions up to
//! the newest are read: `opset.rs` and `legacy.rs` rewrite what older ones say otherwise.

/// Version in which an operator came, and the one in which it last changed; `None` for operators of others.
pub fn versions(op: &str) -> Option<(u8, u8)> {
    VERSIONS.iter().find(|(name, ..)| *name == op).map(|&(_, first, last)| (first, last))
}

#[rustfmt::skip]
const VERSIONS: &[(&str, u8, u8)] = &[
    ("Abs", 1, 13), ("Acos", 7, 22), ("Acosh", 9, 22), ("Add", 1, 14), ("AffineGrid", 20, 20), ("And", 1, 7),
    ("ArgMax", 1, 13), ("ArgMin", 1, 13), ("Asin", 7, 22), ("Asinh", 9, 22), ("Atan", 7, 22), ("Atanh", 9, 22),
    ("Attention", 23, 25), ("AveragePool", 1, 22), ("BatchNormalization", 1, 15), ("BitCast", 26, 26),
    ("BitShift", 11, 28), ("BitwiseAnd", 18, 18), ("BitwiseNot", 18, 18), ("BitwiseOr", 18, 18),
    ("BitwiseXor", 18, 18), ("BlackmanWindow", 17, 17), ("Cast", 1, 28), ("CastLike", 15, 25),
    ("CausalConvWithState", 27, 27), ("Ceil", 1, 13), ("Celu", 12, 28), ("CenterCropPad", 18, 18), ("Clip", 1, 13),
    ("Col2Im", 18, 18), ("Compress", 9, 28), ("Concat", 1, 13), ("ConcatFromSequence", 11, 11), ("Constant", 1, 25),
    ("ConstantOfShape", 9, 25), ("Conv", 1, 22), ("ConvInteger", 10, 10), ("ConvTranspose", 1, 22), ("Cos", 7, 22),
    ("Cosh", 9, 22), ("CumProd", 26, 26), ("CumSum", 11, 14), ("DFT", 17, 20), ("DeformConv", 19, 22),
    ("DepthToSpace", 1, 28), ("DequantizeLinear", 10, 28), ("Det", 11, 22), ("Div", 1, 14), ("Dropout", 1, 22),
    ("DynamicQuantizeLinear", 11, 11), ("Einsum", 12, 28), ("Elu", 1, 22), ("Equal", 1, 19), ("Erf", 9, 13),
    ("Exp", 1, 13), ("Expand", 8, 13), ("EyeLike", 9, 22), ("Flatten", 1, 25), ("Floor", 1, 13), ("GRU", 1, 22),
    ("Gather", 1, 13), ("GatherElements", 11, 13), ("GatherND", 11, 13), ("Gelu", 20, 20), ("Gemm", 1, 13),
    ("GlobalAveragePool", 1, 22), ("GlobalLpPool", 1, 22), ("GlobalMaxPool", 1, 22), ("Greater", 1, 13),
    ("GreaterOrEqual", 12, 16), ("GridSample", 16, 22), ("GroupNormalization", 18, 21), ("HammingWindow", 17, 17),
    ("HannWindow", 17, 17), ("HardSigmoid", 1, 22), ("HardSwish", 14, 22), ("Hardmax", 1, 13), ("Identity", 1, 25),
    ("If", 1, 25), ("InstanceNormalization", 1, 22), ("IsInf", 10, 20), ("IsNaN", 9, 20), ("LRN", 1, 13),
    ("LSTM", 1, 22), ("LayerNormalization", 17, 17), ("LeakyRelu", 1, 16), ("Less", 1, 13), ("LessOrEqual", 12, 16),
    ("LinearAttention", 27, 27), ("Log", 1, 13), ("LogSoftmax", 1, 13), ("Loop", 1, 25), ("LpNormalization", 1, 22),
    ("LpPool", 1, 22), ("MatMul", 1, 13), ("MatMulInteger", 10, 10), ("Max", 1, 13), ("MaxPool", 1, 22),
    ("MaxUnpool", 9, 22), ("Mean", 1, 13), ("MeanVarianceNormalization", 9, 13), ("MelWeightMatrix", 17, 17),
    ("Min", 1, 13), ("Mish", 18, 22), ("Mod", 10, 28), ("Mul", 1, 14), ("Neg", 1, 13),
    ("NegativeLogLikelihoodLoss", 12, 22), ("NonMaxSuppression", 10, 11), ("NonZero", 9, 13), ("Not", 1, 1),
    ("OneHot", 9, 28), ("Optional", 15, 28), ("OptionalGetElement", 15, 28), ("OptionalHasElement", 15, 28),
    ("Or", 1, 7), ("PRelu", 1, 16), ("Pad", 1, 25), ("Pow", 1, 15), ("QLinearConv", 10, 10),
    ("QLinearMatMul", 10, 21), ("QuantizeLinear", 10, 28), ("RMSNormalization", 23, 23), ("RNN", 1, 22),
    ("Range", 11, 27), ("Reciprocal", 1, 13), ("ReduceL1", 1, 18), ("ReduceL2", 1, 18), ("ReduceLogSum", 1, 28),
    ("ReduceLogSumExp", 1, 28), ("ReduceMax", 1, 20), ("ReduceMean", 1, 18), ("ReduceMin", 1, 20),
    ("ReduceProd", 1, 18), ("ReduceSum", 1, 13), ("ReduceSumSquare", 1, 18), ("Relu", 1, 14), ("Reshape", 1, 25),
    ("Resize", 10, 19), ("ReverseSequence", 10, 28), ("RoiAlign", 10, 22), ("RotaryEmbedding", 23, 23),
    ("Round", 11, 22), ("STFT", 17, 17), ("Scan", 8, 25), ("Scatter", 9, 11), ("ScatterElements", 11, 18),
    ("ScatterND", 11, 18), ("Selu", 1, 22), ("SequenceAt", 11, 11), ("SequenceConstruct", 11, 11),
    ("SequenceEmpty", 11, 11), ("SequenceErase", 11, 11), ("SequenceInsert", 11, 11), ("SequenceLength", 11, 11),
    ("SequenceMap", 17, 17), ("Shape", 1, 25), ("Shrink", 9, 9), ("Sigmoid", 1, 13), ("Sign", 9, 13),
    ("Sin", 7, 22), ("Sinh", 9, 22), ("Size", 1, 25), ("Slice", 1, 13), ("Softmax", 1, 13),
    ("SoftmaxCrossEntropyLoss", 12, 13), ("Softplus", 1, 22), ("Softsign", 1, 22), ("SpaceToDepth", 1, 28),
    ("Split", 1, 18), ("SplitToSequence", 11, 24), ("Sqrt", 1, 13), ("Squeeze", 1, 25), ("Sub", 1, 14),
    ("Sum", 1, 13), ("SwiGLU", 28, 28), ("Swish", 24, 24), ("Tan", 7, 22), ("Tanh", 1, 13),
    ("TensorScatter", 24, 24), ("TfIdfVectorizer", 9, 9), ("ThresholdedRelu", 10, 22), ("Tile", 1, 13),
    ("TopK", 1, 24), ("Transpose", 1, 25), ("Trilu", 14, 14), ("Unique", 11, 28), ("Unsqueeze", 1, 25),
    ("Upsample", 1, 10), ("Where", 9, 16), ("Xor", 1, 7), ("ai.onnx.ml.ArrayFeatureExtractor", 1, 1),
    ("ai.onnx.ml.Binarizer", 1, 1), ("ai.onnx.ml.Imputer", 1, 1), ("ai.onnx.ml.LinearClassifier", 1, 1),
    ("ai.onnx.ml.LinearRegressor", 1, 1), ("ai.onnx.ml.Normalizer", 1, 1), ("ai.onnx.ml.Scaler", 1, 1),
    ("ai.onnx.ml.TreeEnsemble", 5, 5), ("ai.onnx.ml.TreeEnsembleClassifier", 1, 5),
    ("ai.onnx.ml.TreeEnsembleRegressor", 1, 5), ("ai.onnx.preview.FlexAttention", 1, 1),
];
