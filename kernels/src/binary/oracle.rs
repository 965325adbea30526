//! The definition of every binary function, one number at a time.

use cygnet_format::op::BinaryKind as K;

/// Of f32. Comparisons give 0 or 1.
pub(super) fn f32(kind: K, a: f32, b: f32) -> f32 {
    let bit = |c: bool| f32::from(u8::from(c));
    match kind {
        K::Add => a + b,
        K::Sub => a - b,
        K::Mul => a * b,
        K::Div => a / b,
        K::Min => {
            if a < b {
                a
            } else {
                b
            }
        }
        K::Max => {
            if a > b {
                a
            } else {
                b
            }
        }
        K::Pow => crate::math::scalar::pow(a, b),
        K::PRelu => {
            if a < 0.0 {
                a * b
            } else {
                a
            }
        }
        K::Equal => bit(a == b),
        K::Less => bit(a < b),
        K::LessOrEqual => bit(a <= b),
        K::Greater => bit(a > b),
        K::GreaterOrEqual => bit(a >= b),
        K::Fmod => a % b,
        K::Mod => {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        }
        K::SquaredDifference => (a - b) * (a - b),
        K::And | K::Or | K::Xor => unreachable!("not of floats"),
    }
}

/// Scales and zero points of a quantized function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) scale_a: f32,
    pub(super) scale_b: f32,
    pub(super) zero: [i32; 3],
    pub(super) lo: i32,
    pub(super) hi: i32,
}

/// Of s8, in units of the output, before rounding.
pub(super) fn real(kind: K, a: i8, b: i8, q: &Numbers) -> f32 {
    let (a, b) = (i32::from(a) - q.zero[0], i32::from(b) - q.zero[1]);
    match kind {
        K::Mul => (a * b) as f32 * q.scale_a,
        K::Div if b == 0 => 0.0,
        K::Div => a as f32 / b as f32 * q.scale_a,
        _ => f32(kind, a as f32 * q.scale_a, b as f32 * q.scale_b),
    }
}

/// Of s8: clamped, rounded to nearest even, moved by the zero point.
pub(super) fn s8(kind: K, a: i8, b: i8, q: &Numbers) -> i8 {
    let r = real(kind, a, b, q);
    let (lo, hi) = ((q.lo - q.zero[2]) as f32, (q.hi - q.zero[2]) as f32);
    (r.max(lo).min(hi).round_ties_even() as i32 + q.zero[2]) as i8
}

/// Positions of the elements of `from` as broadcast to `to`.
pub(super) fn broadcast(from: &[u32], to: &[u32]) -> Vec<usize> {
    let mut at = vec![0];
    for (d, &extent) in to.iter().enumerate() {
        let own = (d + from.len()).checked_sub(to.len()).map_or(1, |i| from[i]) as usize;
        at = at
            .iter()
            .flat_map(|&base| (0..extent as usize).map(move |i| base * own + if own == 1 { 0 } else { i }))
            .collect();
    }
    at
}
