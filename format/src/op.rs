//! The closed set of primitive steps: what a program may ask a runtime to do.
//!
//! A step names its operation, its input and output tensors by position, and its parameters. Parameters
//! are stored as 32-bit little-endian words in the order in which the fields stand here; a later minor
//! version may append fields, never reorder them. `docs/arithmetic.md` gives the arithmetic of each
//! operation, operation by operation; `docs/format.md` the bytes.
//!
//! Layout: the last dimension of a tensor is contiguous; consecutive rows of it are `pitch` elements apart.
//! Images are `[N, H, W, C]`. "Rows" below are all dimensions but the last, flattened.

mod param;
mod table;

pub(crate) use param::Param;
use param::{param_struct, word_enum};
pub use table::DecodeError;
use table::ops;

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

param_struct! {
    /// Convolution, and the product of rows with a constant matrix when the kernel is 1 x 1.
    ///
    /// Inputs: 0 `x` `[N, H, W, C]` (any rank for 1 x 1, stride 1, no padding: rows x C); 1 packed weights;
    /// 2 bias `[M]`, f32 or s32; 3 multiplier `[M]` f32 (s8 only); 4 padding row `[C]`: what a tap outside
    /// the image reads (when the window pads); 5 table of 256 s8 (s8 only, optional): the result, requantized to the
    /// table's own scale and zero point, is looked up in it; 7 addend s8 of `y`'s dimensions (s8 only, optional), which
    /// is added, as a real number, before the result is rounded.
    /// Output: `y` `[N, OH, OW, M]`.
    ///
    /// With s8 `x` and f32 `y` the sums become real numbers: one group; 2 is what the zero point of `x` makes of the
    /// sums, 3 their scales; 5 scales of rows f32, one for each row of `y` or one for all (optional); 6 bias `[M]` f32.
    Conv {
        /// The window.
        window: Window,
        /// Groups; C and M are multiples of it.
        groups: u32,
        /// What happens to the result.
        epilogue: Epilogue,
        /// How it is computed.
        algorithm: Algorithm,
        /// `s_a / s` of an addend: its scale over the result's; 0 without one.
        addend_scale: f32,
    }
}

/// Position of the addend among the inputs of a [`Conv`].
pub const CONV_ADDEND: usize = 7;

param_struct! {
    /// Depthwise convolution: output channel c sees input channel c alone. Operands as [`Conv`]; the
    /// packed weights hold one value for each tap and channel.
    DepthwiseConv {
        /// The window.
        window: Window,
        /// What happens to the result.
        epilogue: Epilogue,
    }
}

param_struct! {
    /// Transposed convolution. Operands as [`Conv`] without a padding row (input 4 is absent). Weights are packed
    /// phase by phase of the stride, and an s8 bias has a part for each phase: `docs/arithmetic.md`.
    /// `y` `[N, OH, OW, M]`: output row `oy` receives tap `ky` of input row `iy` where
    /// `oy + pad_top = iy * stride + ky * dilation`.
    ConvTranspose {
        /// The window, as seen from the input.
        window: Window,
        /// Groups; C and M are multiples of it.
        groups: u32,
        /// What happens to the result.
        epilogue: Epilogue,
    }
}

param_struct! {
    /// Product of two computed matrices: `a` `[.., M, K]` with `b` `[.., K, N]`, or `[.., N, K]` when
    /// `transpose_b`; leading dimensions broadcast. Output `y` `[.., M, N]`.
    MatMul {
        /// Whether `b` holds its transpose.
        transpose_b: bool,
        /// f32: the product is scaled by this; s8: the requantization multiplier `s_a * s_b / s_y`.
        scale: f32,
        /// What happens to the result.
        epilogue: Epilogue,
    }
}

param_struct! {
    /// A unary function of every element of an f32 or f16 tensor. Input `x`, output `y` of the same dimensions.
    Map {
        /// Which function.
        unary: Unary,
    }
}

param_struct! {
    /// A function of every element of an s8 tensor by table: `y = table[x + 128]`.
    /// Inputs: 0 `x`; 1 table of 256 s8. Output `y` of `x`'s dimensions.
    Table {
    }
}

param_struct! {
    /// A binary function of two tensors that broadcast as numpy arrays do. Inputs `a`, `b`; output `y`.
    Binary {
        /// Which function.
        kind: BinaryKind,
        /// s8: `s_a / s_y`; Mul `s_a * s_b / s_y`; Div `s_a / (s_b * s_y)`; SquaredDifference `s_a / sqrt(s_y)`;
        /// comparisons `s_a`. 1 for other types.
        scale_a: f32,
        /// s8: `s_b / s_y`; PRelu `s_b`; SquaredDifference `s_b / sqrt(s_y)`; comparisons `s_b`; unused by Mul and Div. 1
        /// for other types.
        scale_b: f32,
        /// What happens to the result.
        epilogue: Epilogue,
    }
}

param_struct! {
    /// `cond ? a : b`, broadcasting. Inputs: 0 `cond` (bytes); 1 `a`; 2 `b`. Output `y`.
    Select {
    }
}

param_struct! {
    /// Pooling. Input `x` `[N, H, W, C]`, output `y` `[N, OH, OW, C]`.
    Pool {
        /// What a window yields.
        kind: PoolKind,
        /// The window.
        window: Window,
        /// Average: whether padding counts as elements.
        count_include_pad: bool,
        /// s8 average: `s_x / s_y`; 1 otherwise.
        scale: f32,
    }
}

param_struct! {
    /// Reduction over the axes whose bit is set; the output keeps them with extent 1.
    Reduce {
        /// What it yields.
        kind: ReduceKind,
        /// Bit i: axis i is reduced.
        axes: u32,
        /// s8 sum and mean: `s_x / s_y`; 1 otherwise.
        scale: f32,
    }
}

param_struct! {
    /// Index of the greatest or least element along an axis, as s32; the output keeps the axis with extent 1.
    ArgReduce {
        /// Whether the least is sought.
        min: bool,
        /// The axis.
        axis: u32,
        /// Whether the last of equal elements wins.
        last: bool,
    }
}

param_struct! {
    /// Softmax along an axis.
    Softmax {
        /// The axis.
        axis: u32,
        /// Whether the logarithm of it is wanted.
        log: bool,
    }
}

param_struct! {
    /// Layer normalization over the axes from `axis` on.
    /// Inputs: 0 `x`; 1 scale, of the normalized dimensions; 2 bias, likewise (optional). Output `y`.
    LayerNorm {
        /// First normalized axis.
        axis: u32,
        /// Added to the variance.
        epsilon: f32,
    }
}

param_struct! {
    /// Separable resampling of `x` `[N, H, W, C]` to `y` `[N, OH, OW, C]`, all its coordinate arithmetic done
    /// beforehand. Inputs: 0 `x`; 1 rows' indices `[OH, TH]` s32; 2 rows' weights `[OH, TH]` f32; 3 columns'
    /// indices `[OW, TW]`; 4 columns' weights `[OW, TW]`. An index of -1 yields `extrapolation`.
    Resize {
        /// How taps are mixed.
        kind: ResizeKind,
        /// What lies outside, as a real number (f32, f16) or a quantized one (s8).
        extrapolation: f32,
    }
}

param_struct! {
    /// Strided copy of a block of elements of any type: element `i` of the block goes from
    /// `src_offset + sum(i[d] * src_strides[d])` of `x` to `dst_offset + sum(i[d] * dst_strides[d])` of `y`, both
    /// counted in elements from the tensors' first. Transposes, slices, tiles, pads and concatenations are this.
    Copy {
        /// Extents of the block; 1 for unused dimensions.
        dims: [u32; 6],
        /// Element of `x` that is read first.
        src_offset: u32,
        /// Strides in `x`; may be zero or negative.
        src_strides: [i32; 6],
        /// Element of `y` that is written first.
        dst_offset: u32,
        /// Strides in `y`; positive where the extent is above 1.
        dst_strides: [i32; 6],
    }
}

param_struct! {
    /// Sets every element of `y`. No input.
    Fill {
        /// The element's bits, in the low bits of the word.
        bits: u32,
    }
}

param_struct! {
    /// Elements of `x` at indices along an axis: `y[.., i.., ..] = x[.., clamp(indices[i..]), ..]`; a negative
    /// index counts from the end. Inputs: 0 `x`; 1 indices, s32. Output `y`.
    Gather {
        /// The axis of `x`.
        axis: u32,
    }
}

param_struct! {
    /// Conversion between element types, quantization and dequantization included, by the types, scales and
    /// zero points of its operands. Input `x`, output `y` of the same dimensions.
    Convert {
    }
}

param_struct! {
    /// Indices of the greatest (or least) elements along an axis, as s32: the greatest first, of equal ones the first
    /// first, NaN last. Input `x`; output `y` of `x`'s dimensions, but for the axis, whose extent says how many.
    TopK {
        /// The axis.
        axis: u32,
        /// Whether the least are sought.
        least: bool,
    }
}

param_struct! {
    /// Running sums or products along an axis. Input `x`, output `y` of the same dimensions.
    Cumulate {
        /// Which.
        kind: CumulateKind,
        /// The axis.
        axis: u32,
        /// Whether an element is left out of its own result.
        exclusive: bool,
        /// Whether from the last element to the first.
        reverse: bool,
    }
}

param_struct! {
    /// Rows put at indices: `y` is `x`, then for each index in order row `indices[i]` of `y` takes up row `i` of the
    /// updates; a negative index counts from the end, one outside of `x` is passed over.
    /// Inputs: 0 `x` `[R, C]`; 1 indices `[n]`, s32; 2 updates `[n, C]`. Output `y` `[R, C]`.
    Scatter {
        /// How a row takes up another.
        kind: ScatterKind,
    }
}

param_struct! {
    /// Images sampled at places. Inputs: 0 `x` `[N, H, W, C]`; 1 places `[.., 3]`, f32: image, row and column, pixel
    /// centers being whole numbers. Output `y` `[.., C]`.
    Sample {
        /// How pixels are mixed.
        kind: SampleKind,
        /// What lies outside.
        outside: Outside,
    }
}

param_struct! {
    /// Boxes that overlap none of higher score. Inputs: 0 boxes `[B, N, 4]`, f32; 1 scores `[B, C, N]`, f32; optional
    /// scalars: 2 the most boxes of a class, s32 (none when left out); 3 the greatest overlap, f32 (0); 4 the score that
    /// a box must surpass, f32 (none). Output `y` `[M, 3]`, s32: image, class and box of each that is kept, then rows
    /// of -1.
    NonMaxSuppression {
        /// Whether a box is given as center x, center y, width, height instead of two opposite corners y, x, y, x.
        center: bool,
    }
}

param_struct! {
    /// A recurrent layer, step by step. Inputs: 0 `x` `[T, B, G * H]`, f32: what the input gives to each of the `G`
    /// gates, biases included; 1 recurrent weights `[H, G * H]`, f32; 2 the first hidden state `[B, H]`, f32;
    /// 3 lstm: the first cell state `[B, H]`, gru-reset-after: bias `[H]` of the candidate's product, f32.
    /// Output `y`: the hidden state of each step, `[T, B, H]`; lstm: `[T + 1, B, H]`, the last cell state behind them.
    Recurrent {
        /// Which cell.
        kind: CellKind,
        /// Whether from the last step to the first.
        reverse: bool,
        /// Of the gates.
        gate: Unary,
        /// Of the candidate.
        candidate: Unary,
        /// Of the cell state, on its way to the hidden one (lstm).
        cell: Unary,
    }
}

param_struct! {
    /// Quantization to s8 by scales that are computed, zero point 0. Inputs: 0 `x` f32; 1 scales f32, one for each row of
    /// `x` or one for all. Output `y` s8 of the same dimensions, without a scale of its own.
    QuantizeRows {
    }
}

param_struct! {
    /// Scaled dot-product attention. Inputs: 0 queries `[B, M, heads * D]`; 1 keys `[B, N, heads * D]`; 2 values
    /// `[B, N, heads * E]`; 3 mask (optional), which broadcasts to `[B, heads, M, N]`, of four dimensions of which the
    /// last is N: it is added to the scaled products. Output `y` `[B, M, heads * E]`. All f32, or all f16.
    Attention {
        /// How many heads the columns are divided into.
        heads: u32,
        /// What products of queries with keys are multiplied by.
        scale: f32,
    }
}

word_enum! {
    /// How wide the numbers of a [`BlockConv`]'s weights are.
    BlockKind {
        /// A byte each.
        Int8 = 0 "int8",
        /// Four bits each.
        Int4 = 1 "int4",
    }
}

param_struct! {
    /// Convolution, and the product of rows with a constant matrix, by weights of few bits: blocks of 32 numbers of an
    /// output channel share a scale. Inputs: 0 `x` f32 `[N, H, W, C]` (any rank for 1 x 1, stride 1, no padding: rows x C);
    /// 1 packed weights; 2 packed scales f16; 3 bias f32, as many as the channels of all panels. Taps outside the image
    /// read zero. Output `y` f32 `[N, OH, OW, M]`.
    BlockConv {
        /// The window; kernel times C is at most 16384.
        window: Window,
        /// Of the weights.
        kind: BlockKind,
        /// What happens to the result.
        epilogue: Epilogue,
    }
}

word_enum! {
    /// How many consecutive inputs of a [`SparseConv`] have their weights together.
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

param_struct! {
    /// Convolution of s8, and the product of rows with a constant matrix, by weights of which most are zero: for each output
    /// channel a list of those groups of consecutive inputs that are not. A group is 2 or 4 input channels of one tap, the
    /// last group of a tap filled up with zeros; groups are counted tap by tap, row by row of the window.
    ///
    /// Inputs: 0 `x` s8 `[N, H, W, C]` (any rank for 1 x 1, stride 1, no padding: rows x C); 1 packed weights `[E, group]`; 2
    /// packed numbers of groups u16 `[E]`; 3 ends of the channels' lists s32 `[M]`; 4 bias s32 `[M]`; 5 multiplier f32
    /// `[M]`; 6 padding row `[C]` (when the window pads); 7 table of 256 s8 (optional). Output: `y` s8 `[N, OH, OW, M]`, the
    /// bits of a [`Conv`] by the same weights.
    SparseConv {
        /// The window; kernel times C, filled up to groups, is at most 8128.
        window: Window,
        /// Inputs of a group.
        group: GroupKind,
        /// What happens to the result.
        epilogue: Epilogue,
    }
}

ops! {
    Conv = 1 "conv", inputs 3..=8, 2 words since minor 1;
    DepthwiseConv = 2 "depthwise-conv", inputs 3..=6;
    ConvTranspose = 3 "conv-transpose", inputs 3..=6;
    MatMul = 4 "matmul", inputs 2..=2;
    Map = 5 "map", inputs 1..=1;
    Table = 6 "table", inputs 2..=2;
    Binary = 7 "binary", inputs 2..=2;
    Select = 8 "select", inputs 3..=3;
    Pool = 9 "pool", inputs 1..=1;
    Reduce = 10 "reduce", inputs 1..=1;
    ArgReduce = 11 "arg-reduce", inputs 1..=1;
    Softmax = 12 "softmax", inputs 1..=1;
    LayerNorm = 13 "layer-norm", inputs 2..=3;
    Resize = 14 "resize", inputs 5..=5;
    Copy = 15 "copy", inputs 1..=1;
    Fill = 16 "fill", inputs 0..=0;
    Gather = 17 "gather", inputs 2..=2;
    Convert = 18 "convert", inputs 1..=1;
    TopK = 19 "top-k", inputs 1..=1;
    Cumulate = 20 "cumulate", inputs 1..=1;
    Scatter = 21 "scatter", inputs 3..=3;
    Sample = 22 "sample", inputs 2..=2;
    NonMaxSuppression = 23 "non-max-suppression", inputs 2..=5;
    Recurrent = 24 "recurrent", inputs 3..=4;
    QuantizeRows = 25 "quantize-rows", inputs 2..=2;
    Attention = 26 "attention", inputs 3..=4;
    BlockConv = 27 "block-conv", inputs 4..=4;
    SparseConv = 28 "sparse-conv", inputs 6..=8;
}
