//! What a depthwise convolution means, element by element.

use cygnet_format::op::Window;

/// Output height and width of a window over `height` x `width`, which it fits.
pub fn output_size(window: &Window, height: usize, width: usize) -> [usize; 2] {
    let size = |i: usize, extent: usize| {
        let reach = (window.kernel[i] as usize - 1) * window.dilation[i] as usize + 1;
        (extent + window.pad[i] as usize + window.pad[i + 2] as usize - reach) / window.stride[i] as usize + 1
    };
    [size(0, height), size(1, width)]
}

/// Every output element's sum, `[N, OH, OW, C]`: starts at `bias[c]`; each tap, row by row, calls
/// `add(sum, x, weights[tap][c])` with x of `[N, H, W, C]`, or `padding[c]` where the tap is outside.
pub fn sums<X: Copy, W: Copy, S: Copy>(
    x: &[X],
    [n, h, w, c]: [usize; 4],
    window: &Window,
    weights: &[W],
    bias: &[S],
    padding: &[X],
    add: impl Fn(S, X, W) -> S,
) -> Vec<S> {
    let [oh, ow] = output_size(window, h, w);
    let [kh, kw] = window.kernel.map(|k| k as usize);
    let position = |o: usize, k: usize, i: usize| {
        (o * window.stride[i] as usize + k * window.dilation[i] as usize).checked_sub(window.pad[i] as usize)
    };
    let mut y = Vec::with_capacity(n * oh * ow * c);
    for i in 0..n * oh * ow * c {
        let (channel, ox, oy, image) = (i % c, i / c % ow, i / c / ow % oh, i / c / ow / oh);
        let mut sum = bias[channel];
        for tap in 0..kh * kw {
            let (iy, ix) = (position(oy, tap / kw, 0), position(ox, tap % kw, 1));
            let value = match (iy, ix) {
                (Some(iy), Some(ix)) if iy < h && ix < w => x[((image * h + iy) * w + ix) * c + channel],
                _ => padding[channel],
            };
            sum = add(sum, value, weights[tap * c + channel]);
        }
        y.push(sum);
    }
    y
}

/// f32: fused multiply-add in the order of the taps, then `min(max(sum, lo), hi)`.
pub fn f32(
    x: &[f32],
    dims: [usize; 4],
    window: &Window,
    weights: &[f32],
    bias: &[f32],
    padding: &[f32],
    [lo, hi]: [f32; 2],
) -> Vec<f32> {
    let sums = sums(x, dims, window, weights, bias, padding, |sum: f32, x: f32, w| x.mul_add(w, sum));
    sums.into_iter().map(|s| crate::float::clamp(s, lo, hi)).collect()
}

/// s8: exact sums, then the requantization: to f32, times the channel's multiplier, clamped to
/// `[lo - zero_point, hi - zero_point]`, rounded to nearest even, plus the zero point.
pub fn s8(
    x: &[i8],
    dims: [usize; 4],
    window: &Window,
    weights: &[i8],
    bias: &[i32],
    padding: &[i8],
    multiplier: &[f32],
    [lo, hi]: [f32; 2],
    zero_point: i32,
) -> Vec<i8> {
    let add = |sum: i32, x: i8, w: i8| sum + i32::from(x) * i32::from(w);
    let sums = sums(x, dims, window, weights, bias, padding, add);
    let (lo, hi) = (lo - zero_point as f32, hi - zero_point as f32);
    let requantize = |(i, sum): (usize, i32)| {
        let v = crate::float::clamp(sum as f32 * multiplier[i % dims[3]], lo, hi);
        (v.round_ties_even() as i32 + zero_point) as i8
    };
    sums.into_iter().enumerate().map(requantize).collect()
}
