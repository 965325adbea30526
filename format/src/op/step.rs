//! Elementwise steps, reductions, normalizations, and movements.

use super::param::{Param, param_struct};
use super::parts::{
    BinaryKind, CumulateKind, Epilogue, Outside, PoolKind, ReduceKind, ResizeKind, SampleKind, ScatterKind,
    Unary, Window,
};

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
    /// Quantization to s8 by scales that are computed, zero point 0. Inputs: 0 `x` f32; 1 scales f32, one for each row of
    /// `x` or one for all. Output `y` s8 of the same dimensions, without a scale of its own.
    QuantizeRows {
    }
}
