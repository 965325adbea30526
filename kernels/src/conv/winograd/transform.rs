//! The three transforms, over vectors of any kind of integer.
//!
//! Each is a matrix applied to the columns of a square and then to the rows of what results. They are told how to
//! add and subtract, so that they can be instantiated inside functions of any instruction set.

/// `B^T d B`.
#[inline(always)]
pub(super) fn input<V: Copy>(
    d: [[V; 4]; 4],
    add: impl Fn(V, V) -> V + Copy,
    sub: impl Fn(V, V) -> V + Copy,
) -> [[V; 4]; 4] {
    let line = |[a, b, c, d]: [V; 4]| [sub(a, c), add(b, c), sub(c, b), sub(b, d)];
    transpose(transpose(d).map(line)).map(line)
}

/// `(2G) g (2G)^T`: four times `G g G^T`.
#[inline(always)]
pub(super) fn weights<V: Copy>(
    g: [[V; 3]; 3],
    add: impl Fn(V, V) -> V + Copy,
    sub: impl Fn(V, V) -> V + Copy,
) -> [[V; 4]; 4] {
    let line = |[a, b, c]: [V; 3]| {
        let ends = add(a, c);
        [add(a, a), add(ends, b), sub(ends, b), add(c, c)]
    };
    transpose(transpose(g).map(line)).map(line)
}

/// `A^T m A`.
#[inline(always)]
pub(super) fn output<V: Copy>(
    m: [[V; 4]; 4],
    add: impl Fn(V, V) -> V + Copy,
    sub: impl Fn(V, V) -> V + Copy,
) -> [[V; 2]; 2] {
    let line = |[a, b, c, d]: [V; 4]| [add(add(a, b), c), sub(sub(b, c), d)];
    transpose(transpose(m).map(line)).map(line)
}

#[inline(always)]
fn transpose<V: Copy, const R: usize, const C: usize>(m: [[V; C]; R]) -> [[V; R]; C] {
    std::array::from_fn(|c| std::array::from_fn(|r| m[r][c]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identity that all of this rests on, over numbers that leave no accident.
    #[test]
    fn gives_four_times_the_correlation() {
        let d: [[i32; 4]; 4] =
            std::array::from_fn(|i| std::array::from_fn(|j| ((7 * i + 3 * j) as i32).pow(2) % 251 - 128));
        let g: [[i32; 3]; 3] =
            std::array::from_fn(|i| std::array::from_fn(|j| ((5 * i + 11 * j) as i32).pow(3) % 253 - 126));
        let (add, sub) = (|a: i32, b: i32| a + b, |a: i32, b: i32| a - b);
        let (v, u) = (input(d, add, sub), weights(g, add, sub));
        let m = std::array::from_fn(|i| std::array::from_fn(|j| u[i][j] * v[i][j]));
        let y = output(m, add, sub);
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let sum: i32 = (0..9).map(|k| d[i + k / 3][j + k % 3] * g[k / 3][k % 3]).sum();
            assert_eq!(y[i][j], 4 * sum);
        }
    }

    /// The greatest magnitudes that s8 inputs and weights can lead to fit 16 bits.
    #[test]
    fn stays_within_the_stated_bounds() {
        // Sums of magnitudes: every coefficient counted as its absolute value.
        let add = |a: i32, b: i32| a + b;
        let v = input([[128; 4]; 4], add, add);
        let u = weights([[127; 3]; 3], add, add);
        assert_eq!(v.iter().flatten().max(), Some(&512));
        assert_eq!(u.iter().flatten().max(), Some(&1143));
    }
}
