//! Convolution and transposed convolution by their definitions, over dense tensors in plain layouts.
//!
//! Images are `[N][H][W][C]`, weights `[M][KH][KW][C / groups]`, results `[N][OH][OW][M]`. Nothing is packed,
//! padded or folded here.

use cygnet_format::op::Window;

use super::s8::requantize;

/// A convolution's extents.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// N, H, W, C of the input.
    pub x: [usize; 4],
    /// N, OH, OW, M of the output.
    pub y: [usize; 4],
    /// The window.
    pub window: Window,
    /// Groups.
    pub groups: usize,
    /// Whether the convolution is transposed.
    pub transposed: bool,
}

/// What turns an s8 convolution's sums into its results.
#[derive(Clone, Copy, Debug)]
pub struct Requantization<'a> {
    /// `s_x * s_w[c] / s_y`, for each output channel.
    pub multiplier: &'a [f32],
    /// Zero point of the input.
    pub zero_in: i32,
    /// Zero point of the output.
    pub zero_out: i32,
    /// Bounds of the result, quantized.
    pub bounds: [f32; 2],
}

impl Shape {
    /// For output row or column `o`, the input that tap `t` sees, if it is inside the image.
    fn at(&self, axis: usize, o: usize, t: usize) -> Option<usize> {
        let w = &self.window;
        let (stride, dilation) = (i64::from(w.stride[axis]), i64::from(w.dilation[axis]));
        let (pad, t, o) = (i64::from(w.pad[axis]), t as i64, o as i64);
        let i = if self.transposed {
            let reach = o + pad - t * dilation;
            if reach % stride != 0 {
                return None;
            }
            reach / stride
        } else {
            o * stride + t * dilation - pad
        };
        (0..self.x[axis + 1] as i64).contains(&i).then_some(i as usize)
    }

    /// Calls `each` with the indices of the input and weight elements whose product adds to output channel `m`
    /// at `(n, oy, ox)`, in order.
    fn products(&self, [n, oy, ox, m]: [usize; 4], mut each: impl FnMut(usize, usize)) {
        let [_, h, w, c] = self.x;
        let depth = c / self.groups;
        let group = m / (self.y[3] / self.groups);
        let [kh, kw] = self.window.kernel.map(|k| k as usize);
        for ky in 0..kh {
            for kx in 0..kw {
                let (Some(iy), Some(ix)) = (self.at(0, oy, ky), self.at(1, ox, kx)) else { continue };
                for d in 0..depth {
                    let x = ((n * h + iy) * w + ix) * c + group * depth + d;
                    each(x, ((m * kh + ky) * kw + kx) * depth + d);
                }
            }
        }
    }

    /// Every output, in the order in which they lie.
    fn outputs<T>(&self, mut value: impl FnMut([usize; 4]) -> T) -> Vec<T> {
        let [n, h, w, m] = self.y;
        let at = |i: usize| [i / (h * w * m), i / (w * m) % h, i / m % w, i % m];
        (0..n * h * w * m).map(|i| value(at(i))).collect()
    }
}

/// f32: products added to the bias by fused multiply-add, taps row by row, within a tap channels in ascending
/// order; then clamped to `bounds`. Taps outside the image add nothing.
pub fn conv_f32(s: &Shape, x: &[f32], w: &[f32], bias: &[f32], bounds: [f32; 2]) -> Vec<f32> {
    s.outputs(|at| {
        let mut sum = bias[at[3]];
        s.products(at, |i, j| sum = x[i].mul_add(w[j], sum));
        crate::float::clamp(sum, bounds[0], bounds[1])
    })
}

/// s8: `bias + sum of (x - zero_in) * w`, exact in 32 bits, then requantized. Taps outside the image add nothing.
pub fn conv_s8(s: &Shape, x: &[i8], w: &[i8], bias: &[i32], q: &Requantization<'_>) -> Vec<i8> {
    s.outputs(|at| {
        let mut sum = bias[at[3]];
        s.products(at, |i, j| {
            sum = sum.wrapping_add((i32::from(x[i]) - q.zero_in).wrapping_mul(i32::from(w[j])));
        });
        requantize(sum, q.multiplier[at[3]], q.bounds[0], q.bounds[1], q.zero_out)
    })
}
