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
mod parts;
mod product;
mod step;
mod table;

pub(crate) use param::Param;
pub use parts::*;
pub use product::*;
pub use step::*;
pub use table::DecodeError;
use table::ops;

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
