//! The three transforms of tiles of 4 x 4 outputs, over vectors of any kind of integer, as [`super::transform`]: told what
//! adds, subtracts, and multiplies by two, four and six.

/// `B^T` of six elements.
macro_rules! input_line {
    ($d:expr, $add:path, $sub:path, $four:path) => {{
        let [d0, d1, d2, d3, d4, d5] = $d;
        let (p, q) = ($sub(d4, $four(d2)), $sub(d3, $four(d1)));
        let (s, u) = ($sub(d4, d2), $sub(d3, d1));
        let t = $add(u, u);
        [
            $add(s, $four($sub(d0, d2))),
            $add(p, q),
            $sub(p, q),
            $add(s, t),
            $sub(s, t),
            $sub($sub(d5, d3), $four(u)),
        ]
    }};
}

/// G of three elements, its rows multiplied by 4, -6, -6, 24, 24 and 1.
macro_rules! weights_line {
    ($g:expr, $add:path, $sub:path, $four:path) => {{
        let [g0, g1, g2] = $g;
        let (e, f, h) = ($add(g0, g2), $add(g0, $four(g2)), $add(g1, g1));
        [g0, $add(e, g1), $sub(e, g1), $add(f, h), $sub(f, h), g2]
    }};
}

/// `A^T` of six elements that lack those factors: the four results, multiplied by 24, 12, 6 and 6. `$plus_six` adds six
/// times its second argument to its first.
macro_rules! output_line {
    ($m:expr, $add:path, $sub:path, $double:path, $four:path, $plus_six:path) => {{
        let [m0, m1, m2, m3, m4, m5] = $m;
        let (a, b, c, d) = ($add(m1, m2), $sub(m1, m2), $add(m3, m4), $sub(m3, m4));
        [
            $plus_six($sub(c, $four(a)), m0),
            $sub(d, $double(b)),
            $sub(c, a),
            $plus_six($sub($double(d), b), m5),
        ]
    }};
}

/// `B^T d B` of a 6 x 6 array.
macro_rules! input {
    ($d:expr, $add:path, $sub:path, $four:path) => {{
        let d = $d;
        let mut v = d;
        for j in 0..6 {
            let line = [d[0][j], d[1][j], d[2][j], d[3][j], d[4][j], d[5][j]];
            let line = $crate::conv::winograd::transform_four::input_line!(line, $add, $sub, $four);
            for i in 0..6 {
                v[i][j] = line[i];
            }
        }
        for line in &mut v {
            *line = $crate::conv::winograd::transform_four::input_line!(*line, $add, $sub, $four);
        }
        v
    }};
}

/// `G g G^T` of a 3 x 3 array with G's rows multiplied as in [`weights_line`]: 6 x 6.
macro_rules! weights {
    ($g:expr, $add:path, $sub:path, $four:path) => {{
        let g = $g;
        let mut half = [g[0]; 6];
        for j in 0..3 {
            let line = [g[0][j], g[1][j], g[2][j]];
            let line = $crate::conv::winograd::transform_four::weights_line!(line, $add, $sub, $four);
            for i in 0..6 {
                half[i][j] = line[i];
            }
        }
        let mut u = [[g[0][0]; 6]; 6];
        for i in 0..6 {
            u[i] = $crate::conv::winograd::transform_four::weights_line!(half[i], $add, $sub, $four);
        }
        u
    }};
}

/// `A^T m A` of a 6 x 6 array: 4 x 4, each multiplied by 9 and two to the power that [`shift`] says.
macro_rules! output {
    ($m:expr, $add:path, $sub:path, $double:path, $four:path, $plus_six:path) => {{
        use $crate::conv::winograd::transform_four;
        let m = $m;
        let mut half = [m[0]; 4];
        for j in 0..6 {
            let line = [m[0][j], m[1][j], m[2][j], m[3][j], m[4][j], m[5][j]];
            let line = transform_four::output_line!(line, $add, $sub, $double, $four, $plus_six);
            for i in 0..4 {
                half[i][j] = line[i];
            }
        }
        let mut y = [[m[0][0]; 4]; 4];
        for i in 0..4 {
            y[i] = transform_four::output_line!(half[i], $add, $sub, $double, $four, $plus_six);
        }
        y
    }};
}

pub(super) use {input, input_line, output, output_line, weights, weights_line};

/// The reciprocal of 9, modulo 2^32.
pub(super) const NINTH: i32 = 954_437_177;

/// The power of two in what result (i, j) of [`output`] is multiplied by.
pub(super) const fn shift(i: usize, j: usize) -> i32 {
    const POWERS: [i32; 4] = [3, 2, 1, 1];
    POWERS[i] + POWERS[j]
}

#[cfg(test)]
mod tests {
    use std::ops::{Add, Sub};

    use super::{NINTH, shift};

    fn four(x: i32) -> i32 {
        4 * x
    }

    fn double(x: i32) -> i32 {
        x.wrapping_mul(2)
    }

    fn wrapping_four(x: i32) -> i32 {
        x.wrapping_mul(4)
    }

    fn plus_six(sum: i32, x: i32) -> i32 {
        sum.wrapping_add(x.wrapping_mul(6))
    }

    /// The identity that all of this rests on, over numbers that leave no accident.
    #[test]
    fn gives_multiples_of_the_correlation() {
        let d: [[i32; 6]; 6] =
            std::array::from_fn(|i| std::array::from_fn(|j| ((7 * i + 3 * j) as i32).pow(2) % 251 - 128));
        let g: [[i32; 3]; 3] =
            std::array::from_fn(|i| std::array::from_fn(|j| ((5 * i + 11 * j) as i32).pow(3) % 253 - 126));
        let (v, u) = (input!(d, i32::add, i32::sub, four), weights!(g, i32::add, i32::sub, four));
        let m: [[i32; 6]; 6] = std::array::from_fn(|i| std::array::from_fn(|j| u[i][j] * v[i][j]));
        let y = output!(m, i32::wrapping_add, i32::wrapping_sub, double, wrapping_four, plus_six);
        for (i, j) in (0..16).map(|k| (k / 4, k % 4)) {
            let sum: i32 = (0..9).map(|k| d[i + k / 3][j + k % 3] * g[k / 3][k % 3]).sum();
            assert_eq!(y[i][j].wrapping_mul(NINTH) >> shift(i, j), sum);
        }
    }

    /// What s8 inputs and weights can lead to fits 16 bits: sums of magnitudes of each result's coefficients.
    #[test]
    fn stays_within_the_stated_bounds() {
        let (mut inputs, mut weights) = ([[0; 6]; 6], [[0; 6]; 6]);
        let take = |sums: &mut [[i32; 6]; 6], of: [[i32; 6]; 6]| {
            for (sum, of) in sums.as_flattened_mut().iter_mut().zip(of.as_flattened()) {
                *sum += of.abs();
            }
        };
        for (i, j) in (0..36).map(|k| (k / 6, k % 6)) {
            let mut one = [[0; 6]; 6];
            one[i][j] = 1;
            take(&mut inputs, input!(one, i32::add, i32::sub, four));
        }
        for (i, j) in (0..9).map(|k| (k / 3, k % 3)) {
            let mut one = [[0; 3]; 3];
            one[i][j] = 1;
            take(&mut weights, weights!(one, i32::add, i32::sub, four));
        }
        // 100 * 128 and 49 * 128 are below 2^15.
        assert_eq!(inputs.as_flattened().iter().max(), Some(&100));
        assert_eq!(weights.as_flattened().iter().max(), Some(&49));
    }
}
