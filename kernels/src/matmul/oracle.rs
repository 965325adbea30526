//! What a product of two computed matrices means, element by element.

/// Dimensions `[M, N, K]` of one product.
pub type Dims = [usize; 3];

/// Calls `add(sum, a, b)` for k ascending, from `zero` on, for each element of `[M, N]`; `b` is `[K, N]`, or
/// `[N, K]` when `transpose_b`.
pub fn sums<A: Copy, S: Copy>(
    a: &[A],
    b: &[A],
    [m, n, k]: Dims,
    transpose_b: bool,
    zero: S,
    add: impl Fn(S, A, A) -> S,
) -> Vec<S> {
    let at = |k_: usize, col: usize| if transpose_b { b[col * k + k_] } else { b[k_ * n + col] };
    let element = |i: usize| (0..k).fold(zero, |sum, k_| add(sum, a[i / n * k + k_], at(k_, i % n)));
    (0..m * n).map(element).collect()
}

/// f32: fused multiply-add from 0, times `scale`, then `min(max(v, lo), hi)`.
pub fn f32(a: &[f32], b: &[f32], dims: Dims, transpose_b: bool, scale: f32, [lo, hi]: [f32; 2]) -> Vec<f32> {
    let sums = sums(a, b, dims, transpose_b, 0.0_f32, |sum, a, b| a.mul_add(b, sum));
    sums.into_iter().map(|s| crate::float::clamp(s * scale, lo, hi)).collect()
}

/// s8: exact sum of `(a - zero_points[0]) * (b - zero_points[1])`; to f32, times `scale`, clamped to
/// `[lo - zero_points[2], hi - zero_points[2]]`, rounded to nearest even, plus `zero_points[2]`.
pub fn s8(
    a: &[i8],
    b: &[i8],
    dims: Dims,
    transpose_b: bool,
    scale: f32,
    [lo, hi]: [f32; 2],
    zero_points: [i32; 3],
) -> Vec<i8> {
    let [za, zb, zy] = zero_points;
    let sums =
        sums(a, b, dims, transpose_b, 0, |sum: i32, a, b| sum + (i32::from(a) - za) * (i32::from(b) - zb));
    let (lo, hi) = (lo - zy as f32, hi - zy as f32);
    let requantize =
        |sum: i32| (crate::float::clamp(sum as f32 * scale, lo, hi).round_ties_even() as i32 + zy) as i8;
    sums.into_iter().map(requantize).collect()
}
