//! Weighted resampling, element by element.

/// The taps of one dimension: indices and weights, `taps` for each output position.
pub struct Axis<'a> {
    /// Taps of each output position.
    pub taps: usize,
    /// Input positions; -1 for what lies outside.
    pub indices: &'a [i32],
    /// Weights.
    pub weights: &'a [f32],
}

/// The value at an output position of a dense `[N, H, W, C]` tensor, before it is rounded to the element type;
/// `None` when a tap lies outside. s8 are given as their quantized values.
pub fn weighted(
    x: &[f32],
    dims: [usize; 4],
    rows: &Axis<'_>,
    cols: &Axis<'_>,
    [n, oy, ox, c]: [usize; 4],
) -> Option<f32> {
    let mut y = 0.0_f32;
    for ty in oy * rows.taps..(oy + 1) * rows.taps {
        let mut h = 0.0_f32;
        for tx in ox * cols.taps..(ox + 1) * cols.taps {
            let (iy, ix) = (usize::try_from(rows.indices[ty]).ok()?, usize::try_from(cols.indices[tx]).ok()?);
            let at = ((n * dims[1] + iy) * dims[2] + ix) * dims[3] + c;
            h = cols.weights[tx].mul_add(x[at], h);
        }
        y = rows.weights[ty].mul_add(h, y);
    }
    Some(y)
}
