//! sin(x) and cos(x).

use super::exp::{MAGIC, horner};
use crate::simd::{MAX_LANES, V8};

/// (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2, for |r| <= pi / 4: 4e-9 and 1e-10.
const SIN: [f32; 3] = [-1.666_665_5e-1, 8.332_173e-3, -1.951_665_5e-4];
const COS: [f32; 3] = [4.166_664_6e-2, -1.388_736_2e-3, 2.443_772_8e-5];

/// pi / 2 in three parts.
const HALF_PI: [f32; 3] = [std::f32::consts::FRAC_PI_2, -4.371_139e-8, -1.715_124_5e-15];

/// Up to here three parts of pi / 2 are enough.
const NEAR: f32 = 65_536.0;

/// The bits of 2 / pi after the binary point, behind one word of zeros.
const TWO_OVER_PI: [u32; 8] =
    [0, 0xa2f9_836e, 0x4e44_1529, 0xfc27_57d1, 0xf534_ddc0, 0xdb62_9599, 0x3c43_9041, 0xfe51_63ab];

/// x = q pi/2 + r: returns q, of which the low two bits count, and r, |r| <= pi / 4.
#[inline(always)]
fn reduce<V: V8>(x: V) -> (V::I, V) {
    let t = x.fma(V::splat(std::f32::consts::FRAC_2_PI), V::splat(MAGIC));
    let q = V::isub(t.to_bits(), V::splat(MAGIC).to_bits());
    let n = t.sub(V::splat(MAGIC));
    let r = HALF_PI.iter().fold(x, |r, &part| n.fnma(V::splat(part), r));
    if V::any(x.abs().gt(V::splat(NEAR))) { reduce_far(x, q, r) } else { (q, r) }
}

/// Replaces the lanes beyond [`NEAR`].
#[cold]
fn reduce_far<V: V8>(x: V, q: V::I, r: V) -> (V::I, V) {
    let (x, mut r) = (x.lanes(), r.lanes());
    let mut quadrants = [0_i32; MAX_LANES];
    // SAFETY: the array takes every lane.
    unsafe { V::store_i32(q, quadrants.as_mut_ptr()) };
    for i in 0..V::LANES {
        if x[i].abs() > NEAR && x[i].is_finite() {
            (quadrants[i], r[i]) = payne_hanek(x[i]);
        }
    }
    // SAFETY: the array has every lane.
    (unsafe { V::load_i32(quadrants.as_ptr()) }, V::from_lanes(r))
}

/// The same reduction in integers (Payne and Hanek): of 2 / pi only those 96 bits are multiplied whose product
/// with x matters modulo 4.
fn payne_hanek(x: f32) -> (i32, f32) {
    let bits = x.to_bits();
    let exponent = ((bits >> 23) & 0xff) as i32 - 150;
    let mantissa = u128::from((bits & 0x007f_ffff) | 0x0080_0000);
    // The table's bit 32 + j - 1 weighs 2^-j; the first one wanted weighs 2 once multiplied by 2^exponent.
    let start = (30 + exponent) as usize;
    let word = |i: usize| u128::from(TWO_OVER_PI.get(start / 32 + i).copied().unwrap_or(0));
    let words = (word(0) << 96) | (word(1) << 64) | (word(2) << 32) | word(3);
    let window = (words << (start % 32)) >> 32;
    // In units of 2^-94, modulo 4.
    let product = (mantissa * window) & ((1 << 96) - 1);
    let mut quadrant = (product >> 94) as i32;
    let mut fraction = (product & ((1 << 94) - 1)) as i128;
    if fraction >= 1 << 93 {
        fraction -= 1 << 94;
        quadrant += 1;
    }
    let unit = 1.0 / (1_u128 << 94) as f64;
    let r = (fraction as f64 * unit * std::f64::consts::FRAC_PI_2) as f32;
    if x < 0.0 { (-quadrant, -r) } else { (quadrant, r) }
}

/// sin(r) and cos(r), |r| <= pi / 4.
#[inline(always)]
fn both<V: V8>(r: V) -> (V, V) {
    let s = r.mul(r);
    let sin = horner(&SIN, s).fma(r.mul(s), r);
    let cos = horner(&COS, s).fma(s.mul(s), s.fnma(V::splat(0.5), V::splat(1.0)));
    (sin, cos)
}

/// sin(r + q pi/2).
#[inline(always)]
fn quadrant<V: V8>(q: V::I, r: V) -> V {
    let (sin, cos) = both(r);
    let odd = V::ieq(V::iand(q, V::isplat(1)), V::isplat(1));
    let sign = V::shl::<30>(V::iand(q, V::isplat(2)));
    V::from_bits(V::ixor(V::select(odd, cos, sin).to_bits(), sign))
}

/// sin(x), x in radians; NaN at the infinities.
#[inline(always)]
pub(super) fn sin<V: V8>(x: V) -> V {
    let (q, r) = reduce(x);
    quadrant(q, r)
}

/// cos(x), x in radians; NaN at the infinities.
#[inline(always)]
pub(super) fn cos<V: V8>(x: V) -> V {
    let (q, r) = reduce(x);
    quadrant(V::iadd(q, V::isplat(1)), r)
}

/// tan(x), x in radians; NaN at the infinities.
#[inline(always)]
pub(super) fn tan<V: V8>(x: V) -> V {
    let (q, r) = reduce(x);
    let (sin, cos) = both(r);
    let odd = V::ieq(V::iand(q, V::isplat(1)), V::isplat(1));
    V::select(odd, cos.neg(), sin).div(V::select(odd, sin, cos))
}
