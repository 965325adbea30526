//! Adaptive rounding: weights are rounded one after another, and those still to come are moved so that together they
//! answer as before. What counts is the expected squared error of the result, `e' C e` for the errors `e` of a row and the
//! covariances `C` of what it meets, which calibration has seen within blocks of inputs.
//!
//! With `C` inverted and factored as `U' U`, the best move for an error of weight `i` is that error times
//! `U[i][j] / U[i][i]` for each later weight `j`: Hassibi and Stork, *Optimal Brain Surgeon* (1993); Frantar et al., *GPTQ*
//! (2023). Inputs that vary most are rounded first, while there are still others to make up for it.

/// Added to variances, as a share of their mean: what some hundred windows show is not all there is.
const DAMPING: f64 = 0.01;

/// Inputs that are rounded together.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Their positions in a row of weights, in the order in which they are rounded.
    positions: Vec<usize>,
    /// Their covariances, row by row.
    covariances: Vec<f64>,
    /// Row `i` from `i + 1` on: what each later weight takes of an error of weight `i`.
    shares: Vec<f64>,
}

impl Block {
    /// Of the covariances of inputs at these positions; `None` where they do not vary.
    pub fn new(positions: &[usize], covariances: &[f64]) -> Option<Self> {
        let n = positions.len();
        let mut order: Vec<usize> = (0..n).collect();
        let variance = |i: usize| covariances[i * n + i];
        order.sort_by(|&a, &b| variance(b).total_cmp(&variance(a)).then(a.cmp(&b)));
        let ordered: Vec<f64> = (0..n * n).map(|at| covariances[order[at / n] * n + order[at % n]]).collect();
        let damping = DAMPING * (0..n).map(variance).sum::<f64>() / n as f64;
        let mut damped = ordered.clone();
        (0..n).for_each(|i| damped[i * n + i] += damping);
        let upper = factor_of_inverse(damped, n)?;
        let share = |at: usize| upper[at] / upper[at / n * n + at / n];
        Some(Self {
            positions: order.iter().map(|&i| positions[i]).collect(),
            covariances: ordered,
            shares: (0..n * n).map(share).collect(),
        })
    }

    /// Rounds the weights of this block, in units of a step, to -127 to 127: as they say, or as is better by the
    /// covariances. What is zero stays so: somebody has pruned it.
    pub fn round(&self, weights: &[f64], out: &mut [i8]) {
        let n = self.positions.len();
        let exact: Vec<f64> = self.positions.iter().map(|&at| weights[at]).collect();
        let round = |v: f64| v.round_ties_even().clamp(-127.0, 127.0);
        let mut moved = exact.clone();
        let mut found = Vec::with_capacity(n);
        for i in 0..n {
            let rounded = if exact[i] == 0.0 { 0.0 } else { round(moved[i]) };
            let error = moved[i] - rounded;
            found.push(rounded);
            let shares = &self.shares[i * n + i + 1..(i + 1) * n];
            moved[i + 1..].iter_mut().zip(shares).for_each(|(w, s)| *w -= error * s);
        }
        let nearest: Vec<f64> = exact.iter().map(|&v| round(v)).collect();
        let best = if self.error(&exact, &found) < self.error(&exact, &nearest) { found } else { nearest };
        self.positions.iter().zip(best).for_each(|(&at, v)| out[at] = v as i8);
    }

    /// The expected squared error of the result.
    fn error(&self, exact: &[f64], rounded: &[f64]) -> f64 {
        let off: Vec<f64> = exact.iter().zip(rounded).map(|(e, r)| r - e).collect();
        let row = |row: &[f64]| row.iter().zip(&off).map(|(c, o)| c * o).sum::<f64>();
        self.covariances.chunks_exact(off.len()).zip(&off).map(|(c, o)| o * row(c)).sum()
    }
}

/// The upper triangular `U` with `U' U` the inverse of a symmetric matrix; `None` when that is not positive definite.
fn factor_of_inverse(matrix: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    let lower = cholesky(matrix, n)?;
    // The inverse of the lower factor, column by column.
    let mut inverse = vec![0.0; n * n];
    for column in 0..n {
        for i in column..n {
            let one = if i == column { 1.0 } else { 0.0 };
            let known: f64 = (column..i).map(|j| lower[i * n + j] * inverse[j * n + column]).sum();
            inverse[i * n + column] = (one - known) / lower[i * n + i];
        }
    }
    let product =
        |i: usize, j: usize| -> f64 { (i.max(j)..n).map(|k| inverse[k * n + i] * inverse[k * n + j]).sum() };
    let whole = (0..n * n).map(|at| product(at / n, at % n)).collect();
    let factor = cholesky(whole, n)?;
    Some((0..n * n).map(|at| factor[at % n * n + at / n]).collect())
}

/// The lower triangular `L` with `L L'` the matrix.
fn cholesky(mut a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    for i in 0..n {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let rest = a[i * n + j] - known;
            if i == j {
                if rest.is_nan() || rest <= f64::MIN_POSITIVE {
                    return None;
                }
                a[i * n + i] = rest.sqrt();
            } else {
                a[i * n + j] = rest / a[j * n + j];
            }
        }
        a[i * n + i + 1..(i + 1) * n].fill(0.0);
    }
    Some(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_of_the_inverse() {
        // The inverse of [[2, 1], [1, 2]] is [[2, -1], [-1, 2]] / 3.
        let u = factor_of_inverse(vec![2.0, 1.0, 1.0, 2.0], 2).unwrap();
        let product = |i: usize, j: usize| (0..2).map(|k| u[k * 2 + i] * u[k * 2 + j]).sum::<f64>();
        for (i, j, exact) in [(0, 0, 2.0 / 3.0), (0, 1, -1.0 / 3.0), (1, 1, 2.0 / 3.0)] {
            assert!((product(i, j) - exact).abs() < 1e-12);
        }
        assert_eq!(u[2], 0.0);
        assert_eq!(factor_of_inverse(vec![1.0, 2.0, 2.0, 1.0], 2), None);
    }

    /// Inputs that are alike: what one weight is rounded down by, the other can be rounded up by.
    #[test]
    fn errors_of_inputs_that_go_together_cancel() {
        let block = Block::new(&[0, 1], &[1.0, 0.99, 0.99, 1.0]).unwrap();
        let mut out = [0; 2];
        block.round(&[10.4, 7.4], &mut out);
        assert_eq!(out.iter().map(|&v| i32::from(v)).sum::<i32>(), 18);
        // Of inputs that have nothing to do with one another each is rounded by itself.
        let block = Block::new(&[1, 0], &[1.0, 0.0, 0.0, 2.0]).unwrap();
        block.round(&[10.4, -7.4], &mut out);
        assert_eq!(out, [10, -7]);
    }

    #[test]
    fn zeros_stay_zeros() {
        let block = Block::new(&[0, 1], &[4.0, 1.98, 1.98, 1.0]).unwrap();
        let mut out = [1; 2];
        // One step of the other would make up for most of the error.
        block.round(&[10.5, 0.0], &mut out);
        assert_eq!(out[1], 0);
    }

    /// By exhaustion: no other choice of neighbours is much better, and that of each weight's nearest is worse.
    #[test]
    fn many_weights_come_near_the_best_choice() {
        let n = 8;
        let value = |i: usize, j: usize| ((i * 7 + j * 13) % 11) as f64 / 11.0;
        let covariance = |i: usize, j: usize| -> f64 { (0..12).map(|k| value(i, k) * value(j, k)).sum() };
        let covariances: Vec<f64> = (0..n * n).map(|at| covariance(at / n, at % n)).collect();
        let block = Block::new(&(0..n).collect::<Vec<_>>(), &covariances).unwrap();
        let weights: Vec<f64> = (0..n).map(|i| 2.4 * i as f64 + [0.4, 0.3, 0.45][i % 3]).collect();
        let error = |q: &[f64]| -> f64 {
            let off: Vec<f64> = q.iter().zip(&weights).map(|(a, b)| a - b).collect();
            (0..n * n).map(|at| off[at / n] * off[at % n] * covariances[at]).sum()
        };
        let mut out = [0; 8];
        block.round(&weights, &mut out);
        let found = error(&out.map(f64::from));
        let nearest = error(&weights.iter().map(|w| w.round_ties_even()).collect::<Vec<_>>());
        let choice = |bits: usize| -> Vec<f64> {
            weights.iter().enumerate().map(|(i, w)| w.floor() + (bits >> i & 1) as f64).collect()
        };
        let best = (0..1 << n).map(|bits| error(&choice(bits))).fold(f64::INFINITY, f64::min);
        assert!(found < nearest && found < 3.0 * best, "found {found}, nearest {nearest}, best {best}");
    }
}
