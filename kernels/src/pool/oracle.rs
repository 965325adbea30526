//! Pooling, element by element.

use cygnet_format::op::{self, PoolKind};

/// What the taps of a window find: the elements inside the image, in ascending order of tap row and tap column,
/// and how many taps lie inside the image or its padding.
fn window<T: Copy>(x: &[T], dims: [usize; 4], p: &op::Pool, [n, oy, ox, c]: [usize; 4]) -> (Vec<T>, u64) {
    let w = &p.window;
    let (mut found, mut padded) = (Vec::new(), 0);
    for ky in 0..i64::from(w.kernel[0]) {
        for kx in 0..i64::from(w.kernel[1]) {
            let iy = oy as i64 * i64::from(w.stride[0]) + ky * i64::from(w.dilation[0]) - i64::from(w.pad[0]);
            let ix = ox as i64 * i64::from(w.stride[1]) + kx * i64::from(w.dilation[1]) - i64::from(w.pad[1]);
            let (height, width) = (dims[1] as i64, dims[2] as i64);
            if iy >= height + i64::from(w.pad[2]) || ix >= width + i64::from(w.pad[3]) {
                continue;
            }
            padded += 1;
            if (0..height).contains(&iy) && (0..width).contains(&ix) {
                let row = (n * dims[1] + iy as usize) * dims[2] + ix as usize;
                found.push(x[row * dims[3] + c]);
            }
        }
    }
    (found, padded)
}

/// Every window of a dense `[N, H, W, C]` tensor through `f`, which gets the elements found and the number by which
/// a sum is divided.
fn pool<T: Copy>(
    x: &[T],
    dims: [usize; 4],
    out: [usize; 2],
    p: &op::Pool,
    f: impl Fn(&[T], f32) -> T,
) -> Vec<T> {
    let mut y = Vec::new();
    for n in 0..dims[0] {
        for oy in 0..out[0] {
            for ox in 0..out[1] {
                for c in 0..dims[3] {
                    let (found, padded) = window(x, dims, p, [n, oy, ox, c]);
                    let count = if p.count_include_pad { padded } else { found.len() as u64 };
                    y.push(f(&found, count as f32));
                }
            }
        }
    }
    y
}

/// Pools f32 (and f16, converted before and rounded once after).
pub fn float(x: &[f32], dims: [usize; 4], out: [usize; 2], p: &op::Pool) -> Vec<f32> {
    pool(x, dims, out, p, |found, count| match p.kind {
        PoolKind::Max => found.iter().fold(f32::NEG_INFINITY, |a, &v| if v > a { v } else { a }),
        PoolKind::Average if count == 0.0 => 0.0,
        PoolKind::Average => found.iter().fold(0.0, |a, &v| a + v) / count,
    })
}

/// Pools s8 of zero point `zero[0]` to zero point `zero[1]`.
pub fn s8(x: &[i8], dims: [usize; 4], out: [usize; 2], p: &op::Pool, zero: [i32; 2]) -> Vec<i8> {
    pool(x, dims, out, p, |found, count| match p.kind {
        PoolKind::Max => found.iter().copied().max().unwrap_or(i8::MIN),
        PoolKind::Average if count == 0.0 => zero[1] as i8,
        PoolKind::Average => {
            let sum: i32 = found.iter().map(|&q| i32::from(q) - zero[0]).sum();
            let r = sum as f32 * (p.scale / count);
            let bounded = r.max((-128 - zero[1]) as f32).min((127 - zero[1]) as f32);
            (bounded.round_ties_even() as i32 + zero[1]) as i8
        }
    })
}
