//! What parameters are made of: functions, kinds, windows, and what happens to a result.

use super::param::{Param, param_struct, word_enum};

word_enum! {
    /// A function of one real number. `a` and `b` are the parameters of [`Unary`].
    UnaryKind {
        /// x
        Identity = 0 "identity",
        /// |x|
        Abs = 1 "abs",
        /// -x
        Neg = 2 "neg",
        /// 1 / x
        Reciprocal = 3 "reciprocal",
        /// sqrt(x)
        Sqrt = 4 "sqrt",
        /// e^x
        Exp = 5 "exp",
        /// ln(x)
        Log = 6 "log",
        /// 1 / (1 + e^-x)
        Sigmoid = 7 "sigmoid",
        /// tanh(x)
        Tanh = 8 "tanh",
        /// x * sigmoid(x); ONNX `Swish`
        Silu = 9 "silu",
        /// min(max(a * x + b, 0), 1); ONNX `HardSigmoid`
        HardSigmoid = 10 "hard-sigmoid",
        /// x * min(max(x / 6 + 0.5, 0), 1)
        HardSwish = 11 "hard-swish",
        /// x * 0.5 * (1 + erf(x / sqrt 2))
        Gelu = 12 "gelu",
        /// GELU by tanh: x * 0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
        GeluTanh = 13 "gelu-tanh",
        /// x * tanh(softplus(x))
        Mish = 14 "mish",
        /// erf(x)
        Erf = 15 "erf",
        /// x < 0 ? a * x : x
        LeakyRelu = 16 "leaky-relu",
        /// x < 0 ? a * (e^x - 1) : x
        Elu = 17 "elu",
        /// x < 0 ? b * a * (e^x - 1) : b * x
        Selu = 18 "selu",
        /// ln(1 + e^x)
        Softplus = 19 "softplus",
        /// x / (1 + |x|)
        Softsign = 20 "softsign",
        /// min(max(x, a), b)
        Clip = 21 "clip",
        /// floor(x)
        Floor = 22 "floor",
        /// ceil(x)
        Ceil = 23 "ceil",
        /// round to nearest, ties to even
        Round = 24 "round",
        /// -1, 0 or 1 (0 for both zeros)
        Sign = 25 "sign",
        /// sin(x)
        Sin = 26 "sin",
        /// cos(x)
        Cos = 27 "cos",
        /// x == 0 ? 1 : 0, on bytes
        Not = 28 "not",
        /// x > a ? x : 0
        ThresholdedRelu = 29 "thresholded-relu",
        /// max(x, 0)
        Relu = 30 "relu",
        /// tan(x)
        Tan = 31 "tan",
        /// arcsin(x)
        Asin = 32 "asin",
        /// arccos(x)
        Acos = 33 "acos",
        /// arctan(x)
        Atan = 34 "atan",
        /// sinh(x)
        Sinh = 35 "sinh",
        /// cosh(x)
        Cosh = 36 "cosh",
        /// inverse of sinh
        Asinh = 37 "asinh",
        /// inverse of cosh
        Acosh = 38 "acosh",
        /// inverse of tanh
        Atanh = 39 "atanh",
    }
}

word_enum! {
    /// A function of two numbers.
    BinaryKind {
        /// a + b
        Add = 0 "add",
        /// a - b
        Sub = 1 "sub",
        /// a * b
        Mul = 2 "mul",
        /// a / b
        Div = 3 "div",
        /// a < b ? a : b
        Min = 4 "min",
        /// a > b ? a : b
        Max = 5 "max",
        /// a ^ b
        Pow = 6 "pow",
        /// a < 0 ? a * b : a
        PRelu = 7 "prelu",
        /// a == b, as a byte 0 or 1
        Equal = 8 "equal",
        /// a < b, as a byte 0 or 1
        Less = 9 "less",
        /// a <= b, as a byte 0 or 1
        LessOrEqual = 10 "less-or-equal",
        /// a > b, as a byte 0 or 1
        Greater = 11 "greater",
        /// a >= b, as a byte 0 or 1
        GreaterOrEqual = 12 "greater-or-equal",
        /// a and b, on bytes
        And = 13 "and",
        /// a or b, on bytes
        Or = 14 "or",
        /// a xor b, on bytes
        Xor = 15 "xor",
        /// a - b * floor(a / b): the sign of b (ONNX `Mod`, fmod 0)
        Mod = 16 "mod",
        /// a - b * trunc(a / b): the sign of a (ONNX `Mod`, fmod 1)
        Fmod = 17 "fmod",
        /// (a - b)^2
        SquaredDifference = 18 "squared-difference",
    }
}

word_enum! {
    /// How a convolution is computed. Each algorithm has results of its own.
    Algorithm {
        /// Every product by itself.
        Direct = 0 "direct",
        /// Winograd's F(4 x 4, 3 x 3): f32 windows of 3 x 3, stride and dilation 1, one group.
        Winograd4x4 = 1 "winograd-4x4",
    }
}

word_enum! {
    /// What a pooling window yields.
    PoolKind {
        /// The greatest element.
        Max = 0 "max",
        /// The mean of the elements.
        Average = 1 "average",
    }
}

word_enum! {
    /// What a reduction yields.
    ReduceKind {
        /// sum of x
        Sum = 0 "sum",
        /// sum of x, divided by the count
        Mean = 1 "mean",
        /// the greatest x
        Max = 2 "max",
        /// the least x
        Min = 3 "min",
        /// product of x
        Prod = 4 "prod",
        /// sum of |x|
        L1 = 5 "l1",
        /// square root of the sum of x^2
        L2 = 6 "l2",
        /// sum of x^2
        SumSquare = 7 "sum-square",
        /// ln of the sum of e^x
        LogSumExp = 8 "log-sum-exp",
        /// ln of the sum of x
        LogSum = 9 "log-sum",
        /// the greatest |x|
        MaxAbs = 10 "max-abs",
    }
}

word_enum! {
    /// How a resize mixes the elements under its taps.
    ResizeKind {
        /// One tap, copied.
        Nearest = 0 "nearest",
        /// Weighted sum of the taps.
        Weighted = 1 "weighted",
    }
}

word_enum! {
    /// What a cumulation does with each element.
    CumulateKind {
        /// Running sum.
        Sum = 0 "sum",
        /// Running product.
        Prod = 1 "prod",
    }
}

word_enum! {
    /// What a scatter does with an element that is there and one that comes.
    ScatterKind {
        /// The new one.
        Replace = 0 "replace",
        /// Their sum.
        Add = 1 "add",
        /// Their product.
        Mul = 2 "mul",
        /// The less of both.
        Min = 3 "min",
        /// The greater of both.
        Max = 4 "max",
    }
}

word_enum! {
    /// How a sample mixes the pixels around its place.
    SampleKind {
        /// The nearest one.
        Nearest = 0 "nearest",
        /// Two by two, weighted by distance.
        Linear = 1 "linear",
        /// Four by four, by Keys' cubic of parameter -0.75.
        Cubic = 2 "cubic",
    }
}

word_enum! {
    /// What a pixel outside of an image is.
    Outside {
        /// Zero.
        Zero = 0 "zero",
        /// The nearest pixel of the border.
        Edge = 1 "edge",
        /// The mirror image, the border's pixel twice.
        Symmetric = 2 "symmetric",
        /// The mirror image, the border's pixel once.
        Reflect = 3 "reflect",
    }
}

word_enum! {
    /// A recurrent cell.
    CellKind {
        /// One gate.
        Rnn = 0 "rnn",
        /// Long short-term memory: gates input, output, forget, cell.
        Lstm = 1 "lstm",
        /// Gated recurrent unit whose reset gate acts before the product: gates update, reset, candidate.
        Gru = 2 "gru",
        /// One whose reset gate acts behind the product.
        GruResetAfter = 3 "gru-reset-after",
    }
}

param_struct! {
    /// The sliding window of a convolution or pooling; heights before widths.
    Window {
        /// Kernel height and width.
        kernel: [u32; 2],
        /// Stride down and across.
        stride: [u32; 2],
        /// Distance between taps down and across.
        dilation: [u32; 2],
        /// Padding at top, left, bottom and right.
        pad: [u32; 4],
    }
}

param_struct! {
    /// A unary function with its parameters.
    Unary {
        /// Which function.
        kind: UnaryKind,
        /// First parameter, 0 where unused.
        a: f32,
        /// Second parameter, 0 where unused.
        b: f32,
    }
}

param_struct! {
    /// What happens to a result before it is stored: `unary(min(max(y, lo), hi))`.
    /// For s8 results `lo` and `hi` are quantized values (integers in [-128, 127]) and `unary` is the
    /// identity: a function of an s8 result is a table operand.
    Epilogue {
        /// Lower bound; -inf for none.
        lo: f32,
        /// Upper bound; +inf for none.
        hi: f32,
        /// The function applied last.
        unary: Unary,
    }
}

impl Unary {
    /// The identity.
    pub const IDENTITY: Self = Self { kind: UnaryKind::Identity, a: 0.0, b: 0.0 };
}

impl Epilogue {
    /// Leaves a floating-point result as it is.
    pub const NONE: Self = Self { lo: f32::NEG_INFINITY, hi: f32::INFINITY, unary: Unary::IDENTITY };
}

word_enum! {
    /// How wide the numbers of a [`BlockConv`](super::BlockConv)'s weights are.
    BlockKind {
        /// A byte each.
        Int8 = 0 "int8",
        /// Four bits each.
        Int4 = 1 "int4",
    }
}

word_enum! {
    /// How many consecutive inputs of a [`SparseConv`](super::SparseConv) have their weights together.
    GroupKind {
        /// Two.
        Pairs = 0 "pairs",
        /// Four.
        Fours = 1 "fours",
    }
}

impl GroupKind {
    /// Inputs of a group.
    pub const fn inputs(self) -> usize {
        match self {
            Self::Pairs => 2,
            Self::Fours => 4,
        }
    }
}
