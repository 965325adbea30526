//! Products: sums over many inputs for each result.

use super::param::{Param, param_struct};
use super::parts::{Algorithm, BlockKind, CellKind, Epilogue, GroupKind, Unary, Window};

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
