//! Convolution and transposed convolution by their definitions, over dense tensors in plain layouts.
//!
//! Images are `[N][H][W][C]`, weights `[M][KH][KW][C / groups]`, results `[N][OH][OW][M]`. Nothing is packed,
//! padded or folded here.

use std::array::from_fn;

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

    /// `bias + sum of (x - zero) * w`, modulo 2^32.
    fn sum_s8(&self, at: [usize; 4], x: &[i8], w: &[i8], bias: &[i32], zero: i32) -> i32 {
        let mut sum = bias[at[3]];
        self.products(at, |i, j| {
            sum = sum.wrapping_add((i32::from(x[i]) - zero).wrapping_mul(i32::from(w[j])));
        });
        sum
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

/// f32 by Winograd's F(4 x 4, 3 x 3), as `docs/arithmetic.md` says it. Inputs outside the image are zeros.
pub fn conv_f32_winograd(s: &Shape, x: &[f32], w: &[f32], bias: &[f32], bounds: [f32; 2]) -> Vec<f32> {
    let [n, h, width, c] = s.x;
    let [_, rows, cols, m] = s.y;
    let chunk = c.div_ceil(c.div_ceil(64)).next_multiple_of(16);
    let mut y: Vec<f32> = (0..n * rows * cols * m).map(|i| bias[i % m]).collect();
    let pad = [s.window.pad[0] as i64, s.window.pad[1] as i64];
    let at = |image: usize, iy: i64, ix: i64, k: usize| {
        let inside = (0..h as i64).contains(&iy) && (0..width as i64).contains(&ix);
        if inside { x[((image * h + iy as usize) * width + ix as usize) * c + k] } else { 0.0 }
    };
    for start in (0..c).step_by(chunk) {
        let channels = start..c.min(start + chunk);
        let weights: Vec<Vec<_>> = (0..m)
            .map(|o| {
                let g = |k| from_fn(|i| from_fn(|j| w[((o * 3 + i) * 3 + j) * c + k]));
                channels.clone().map(|k| square(g(k), transform_weights)).collect()
            })
            .collect();
        for tile in 0..n * rows.div_ceil(4) * cols.div_ceil(4) {
            let (line, column) = (tile / cols.div_ceil(4), tile % cols.div_ceil(4));
            let (image, row, col) = (line / rows.div_ceil(4), line % rows.div_ceil(4) * 4, column * 4);
            let (top, left) = (row as i64 - pad[0], col as i64 - pad[1]);
            let d = |k| from_fn(|i| from_fn(|j| at(image, top + i as i64, left + j as i64, k)));
            let inputs: Vec<_> = channels.clone().map(|k| square(d(k), transform_inputs)).collect();
            for (o, weights) in weights.iter().enumerate() {
                let mut sums = [[0.0_f32; 6]; 6];
                for (u, v) in weights.iter().zip(&inputs) {
                    for (i, j) in (0..36).map(|p| (p / 6, p % 6)) {
                        sums[i][j] = v[i][j].mul_add(u[i][j], sums[i][j]);
                    }
                }
                let sums = sums.map(transform_sums);
                for (i, j) in (0..16).map(|p| (p / 4, p % 4)) {
                    if row + i < rows && col + j < cols {
                        let y = &mut y[((image * rows + row + i) * cols + col + j) * m + o];
                        *y = add_sums(i, sums.map(|s| s[j]), *y);
                    }
                }
            }
        }
    }
    y.into_iter().map(|v| crate::float::clamp(v, bounds[0], bounds[1])).collect()
}

/// A transform of the columns of a square, then of the rows of what results.
fn square<const N: usize, const M: usize>(
    x: [[f32; N]; N],
    transform: impl Fn([f32; N]) -> [f32; M],
) -> [[f32; M]; M] {
    let columns: [[f32; M]; N] = from_fn(|j| transform(from_fn(|i| x[i][j])));
    from_fn(|i| transform(from_fn(|j| columns[j][i])))
}

fn transform_inputs(d: [f32; 6]) -> [f32; 6] {
    let end = |x: f32, y: f32, z: f32| x.mul_add(0.87890625, y.mul_add(-2.640625, z));
    let point = |p: f32, q: f32| d[1].mul_add(-q, d[3]).mul_add(p, d[2].mul_add(-q, d[4]));
    [
        end(d[0], d[2], d[4]),
        point(0.625, 2.25),
        point(-0.625, 2.25),
        point(1.5, 0.390625),
        point(-1.5, 0.390625),
        end(d[1], d[3], d[5]),
    ]
}

fn transform_weights(g: [f32; 3]) -> [f32; 6] {
    let point = |p: f32| g[1].mul_add(p, g[2].mul_add(p * p, g[0]));
    [g[0], point(0.625), point(-0.625), point(1.5), point(-1.5), g[2]]
}

fn transform_sums(m: [f32; 6]) -> [f32; 4] {
    let (ea, oa) = (m[1] + m[2], m[1] - m[2]);
    let (eb, ob) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0].mul_add(1.1377778, ea.mul_add(-0.68840337, eb * 0.11951447)),
        oa.mul_add(-0.4302521, ob * 0.17927171),
        (eb - ea) * 0.26890758,
        oa.mul_add(-0.16806723, ob.mul_add(0.40336135, m[5])),
    ]
}

/// Element `i` of what is added to a column, a pair of rows after the other.
fn add_sums(i: usize, m: [f32; 6], y: f32) -> f32 {
    let point = |m: [f32; 2], scale: [f32; 4], y: f32| {
        let both = if i.is_multiple_of(2) { m[0] + m[1] } else { m[0] - m[1] };
        both.mul_add(scale[i], y)
    };
    let y = point([m[1], m[2]], [-0.68840337, -0.4302521, -0.26890758, -0.16806723], y);
    let y = match i {
        0 => m[0].mul_add(1.1377778, y),
        3 => y + m[5],
        _ => y,
    };
    point([m[3], m[4]], [0.11951447, 0.17927171, 0.26890758, 0.40336135], y)
}

/// How exact sums become real numbers.
pub struct Reals<'a> {
    /// Zero point of the input.
    pub zero_in: i32,
    /// Of each output channel.
    pub scale: &'a [f32],
    /// What is added to each channel.
    pub bias: &'a [f32],
    /// For each pixel of the output, or one for all.
    pub rows: Option<&'a [f32]>,
    /// Bounds of the result.
    pub bounds: [f32; 2],
}

/// s8 to f32: `sum of (x - zero_in) * w`, exact in 32 bits, to f32, times the row's scale if there are any, times the
/// channel's with its bias added by fused multiply-add; clamped.
pub fn conv_s8_reals(s: &Shape, x: &[i8], w: &[i8], q: &Reals<'_>) -> Vec<f32> {
    s.outputs(|at| {
        let mut sum = 0_i32;
        s.products(at, |i, j| {
            sum = sum.wrapping_add((i32::from(x[i]) - q.zero_in).wrapping_mul(i32::from(w[j])));
        });
        let pixel = (at[0] * s.y[1] + at[1]) * s.y[2] + at[2];
        let row = q.rows.map(|rows| rows[pixel % rows.len()]);
        let real = row.map_or(sum as f32, |row| sum as f32 * row);
        crate::float::clamp(real.mul_add(q.scale[at[3]], q.bias[at[3]]), q.bounds[0], q.bounds[1])
    })
}

/// s8: `bias + sum of (x - zero_in) * w`, exact in 32 bits, then requantized. Taps outside the image add nothing.
pub fn conv_s8(s: &Shape, x: &[i8], w: &[i8], bias: &[i32], q: &Requantization<'_>) -> Vec<i8> {
    s.outputs(|at| {
        let sum = s.sum_s8(at, x, w, bias, q.zero_in);
        requantize(sum, q.multiplier[at[3]], q.bounds[0], q.bounds[1], q.zero_out)
    })
}

/// What an s8 convolution adds to its products before it rounds.
pub struct Added<'a> {
    /// As the output.
    pub r: &'a [i8],
    /// Its zero point.
    pub zero: i32,
    /// Its scale over the output's.
    pub scale: f32,
}

/// As [`conv_s8`] with an addend: `fma(f32(r - zero), scale, f32(sum) * multiplier)`, clamped,
/// rounded to nearest even.
pub fn conv_s8_added(
    s: &Shape,
    x: &[i8],
    w: &[i8],
    bias: &[i32],
    q: &Requantization<'_>,
    added: &Added<'_>,
) -> Vec<i8> {
    let [_, rows, cols, m] = s.y;
    s.outputs(|at| {
        let sum = s.sum_s8(at, x, w, bias, q.zero_in);
        let r = added.r[((at[0] * rows + at[1]) * cols + at[2]) * m + at[3]];
        let product = sum as f32 * q.multiplier[at[3]];
        let v = ((i32::from(r) - added.zero) as f32).mul_add(added.scale, product);
        let [lo, hi] = q.bounds.map(|b| b - q.zero_out as f32);
        (v.max(lo).min(hi).round_ties_even() as i32 + q.zero_out) as i8
    })
}
