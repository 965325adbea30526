//! The three transforms of tiles of 2 x 2 outputs, over vectors of any kind of integer; those of 4 x 4 are in
//! [`super::transform_four`].
//!
//! Each is a matrix applied to the columns of a square and then to the rows of what results. They are macros, told the
//! functions that add and subtract: a function of vectors that is not of the caller's instruction set itself would not
//! be inlined, and be slower by a multiple.

/// `B^T d B` of a 4 x 4 array.
macro_rules! input {
    ($d:expr, $add:path, $sub:path) => {{
        let d = $d;
        let mut half = d;
        for j in 0..4 {
            half[0][j] = $sub(d[0][j], d[2][j]);
            half[1][j] = $add(d[1][j], d[2][j]);
            half[2][j] = $sub(d[2][j], d[1][j]);
            half[3][j] = $sub(d[1][j], d[3][j]);
        }
        let mut v = half;
        for i in 0..4 {
            v[i][0] = $sub(half[i][0], half[i][2]);
            v[i][1] = $add(half[i][1], half[i][2]);
            v[i][2] = $sub(half[i][2], half[i][1]);
            v[i][3] = $sub(half[i][1], half[i][3]);
        }
        v
    }};
}

/// `(2G) g (2G)^T` of a 3 x 3 array: four times `G g G^T`, 4 x 4.
macro_rules! weights {
    ($g:expr, $add:path, $sub:path) => {{
        let g = $g;
        let mut half = [g[0]; 4];
        for j in 0..3 {
            let ends = $add(g[0][j], g[2][j]);
            half[0][j] = $add(g[0][j], g[0][j]);
            half[1][j] = $add(ends, g[1][j]);
            half[2][j] = $sub(ends, g[1][j]);
            half[3][j] = $add(g[2][j], g[2][j]);
        }
        let mut u = [[g[0][0]; 4]; 4];
        for i in 0..4 {
            let [a, b, c] = half[i];
            let ends = $add(a, c);
            u[i] = [$add(a, a), $add(ends, b), $sub(ends, b), $add(c, c)];
        }
        u
    }};
}

/// `A^T m A` of a 4 x 4 array: 2 x 2.
macro_rules! output {
    ($m:expr, $add:path, $sub:path) => {{
        let m = $m;
        let mut half = [m[0], m[1]];
        for j in 0..4 {
            half[0][j] = $add($add(m[0][j], m[1][j]), m[2][j]);
            half[1][j] = $sub($sub(m[1][j], m[2][j]), m[3][j]);
        }
        let mut y = [[m[0][0]; 2]; 2];
        for i in 0..2 {
            let [a, b, c, d] = half[i];
            y[i] = [$add($add(a, b), c), $sub($sub(b, c), d)];
        }
        y
    }};
}

pub(super) use {input, output, weights};

#[cfg(test)]
mod tests {
    use std::ops::{Add, Sub};

    /// The identity that all of this rests on, over numbers that leave no accident.
    #[test]
    fn gives_four_times_the_correlation() {
        let d: [[i32; 4]; 4] =
            std::array::from_fn(|i| std::array::from_fn(|j| ((7 * i + 3 * j) as i32).pow(2) % 251 - 128));
        let g: [[i32; 3]; 3] =
            std::array::from_fn(|i| std::array::from_fn(|j| ((5 * i + 11 * j) as i32).pow(3) % 253 - 126));
        let (v, u) = (input!(d, i32::add, i32::sub), weights!(g, i32::add, i32::sub));
        let m: [[i32; 4]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| u[i][j] * v[i][j]));
        let y = output!(m, i32::add, i32::sub);
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let sum: i32 = (0..9).map(|k| d[i + k / 3][j + k % 3] * g[k / 3][k % 3]).sum();
            assert_eq!(y[i][j], 4 * sum);
        }
    }

    /// The greatest magnitudes that s8 inputs and weights can lead to fit 16 bits.
    #[test]
    fn stays_within_the_stated_bounds() {
        // Sums of magnitudes: every coefficient counted as its absolute value.
        let v = input!([[128; 4]; 4], i32::add, i32::add);
        let u = weights!([[128; 3]; 3], i32::add, i32::add);
        assert_eq!(v.iter().flatten().max(), Some(&512));
        assert_eq!(u.iter().flatten().max(), Some(&1152));
    }
}
