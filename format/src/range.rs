//! Which parameters of an operation have a meaning, whatever its operands.

use crate::op::{Copy, Epilogue, Op, Window};
use crate::program::MAX_RANK;

impl Op {
    /// Whether every parameter is one that some step could have: no NaN anywhere, windows and groups without
    /// zeros, bounds in order, scales finite, axes below [`MAX_RANK`].
    pub fn in_range(&self) -> bool {
        let axis_ok = |axis: u32| (axis as usize) < MAX_RANK;
        self.without_nan()
            && match self {
                Self::Conv(p) => {
                    let of_parts = p.groups > 0 && p.addend_scale.is_finite();
                    of_parts && window_ok(&p.window) && epilogue_ok(&p.epilogue)
                }
                Self::DepthwiseConv(p) => window_ok(&p.window) && epilogue_ok(&p.epilogue),
                Self::ConvTranspose(p) => window_ok(&p.window) && p.groups > 0 && epilogue_ok(&p.epilogue),
                Self::BlockConv(p) => window_ok(&p.window) && epilogue_ok(&p.epilogue),
                Self::SparseConv(p) => window_ok(&p.window) && epilogue_ok(&p.epilogue),
                Self::MatMul(p) => p.scale.is_finite() && epilogue_ok(&p.epilogue),
                Self::Binary(p) => p.scale_a.is_finite() && p.scale_b.is_finite() && epilogue_ok(&p.epilogue),
                Self::Pool(p) => window_ok(&p.window) && p.scale.is_finite(),
                Self::Reduce(p) => p.axes < 1 << MAX_RANK && p.scale.is_finite(),
                Self::ArgReduce(p) => axis_ok(p.axis),
                Self::Softmax(p) => axis_ok(p.axis),
                Self::LayerNorm(p) => axis_ok(p.axis) && p.epsilon.is_finite() && p.epsilon >= 0.0,
                Self::Gather(p) => axis_ok(p.axis),
                Self::Copy(p) => copy_ok(p),
                Self::TopK(p) => axis_ok(p.axis),
                Self::Attention(p) => p.heads > 0 && p.scale.is_finite(),
                Self::Cumulate(p) => axis_ok(p.axis),
                Self::Map(_)
                | Self::Table(_)
                | Self::Select(_)
                | Self::Resize(_)
                | Self::Fill(_)
                | Self::Convert(_)
                | Self::QuantizeRows(_)
                | Self::Scatter(_)
                | Self::Sample(_)
                | Self::NonMaxSuppression(_)
                | Self::Recurrent(_) => true,
            }
    }
}

fn window_ok(window: &Window) -> bool {
    [window.kernel, window.stride, window.dilation].iter().flatten().all(|&n| n > 0)
}

fn epilogue_ok(epilogue: &Epilogue) -> bool {
    epilogue.lo <= epilogue.hi
}

fn copy_ok(copy: &Copy) -> bool {
    copy.dims.iter().zip(&copy.dst_strides).all(|(&n, &stride)| n == 1 || (n > 1 && stride > 0))
}
