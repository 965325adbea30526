//! Every row of the table against a plain computation.

use half::f16;

use crate::conv::micro::{Args, NR, Row};
use crate::cpu::Cpu;

/// Pseudorandom numbers (xorshift64*).
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// In [0, n).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    /// In [-1, 1), with 24 significant bits.
    pub(crate) fn unit(&mut self) -> f32 {
        ((self.next() >> 40) as i32 - (1 << 23)) as f32 / (1 << 23) as f32
    }
}

/// One call of a microkernel: logical operands, and what it must give.
pub(crate) struct Case {
    pub(crate) rows: usize,
    pub(crate) taps: usize,
    pub(crate) depth: usize,
    pub(crate) cols: usize,
    /// `[tap][row][k]`
    pub(crate) a: Vec<f32>,
    /// `[tap][k][col]`
    pub(crate) w: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) lo: f32,
    pub(crate) hi: f32,
}

impl Case {
    /// Random operands; exact in f16 when `half`.
    pub(crate) fn random(
        rng: &mut Rng,
        rows: usize,
        taps: usize,
        depth: usize,
        cols: usize,
        half: bool,
    ) -> Self {
        let mut values = |n: usize| -> Vec<f32> {
            let round = |x: f32| if half { f16::from_f32(x).to_f32() } else { x };
            (0..n).map(|_| round(rng.unit())).collect()
        };
        let a = values(taps * rows * depth);
        let w = values(taps * depth * cols);
        let bias = values(cols);
        let (lo, hi) =
            if taps == 1 { (f32::NEG_INFINITY, f32::INFINITY) } else { (-0.5, 0.25 * (depth as f32).sqrt()) };
        Self { rows, taps, depth, cols, a, w, bias, lo, hi }
    }

    /// The result in f32, and the sum of magnitudes that error bounds refer to.
    pub(crate) fn expected(&self, row: usize, col: usize) -> (f32, f32) {
        let (mut sum, mut size) = (self.bias[col], self.bias[col].abs());
        for tap in 0..self.taps {
            for k in 0..self.depth {
                let a = self.a[(tap * self.rows + row) * self.depth + k];
                let w = self.w[(tap * self.depth + k) * self.cols + col];
                sum = a.mul_add(w, sum);
                size += (a * w).abs();
            }
        }
        (
            if sum < self.lo {
                self.lo
            } else if sum > self.hi {
                self.hi
            } else {
                sum
            },
            size,
        )
    }

    /// What a row of a table gives, `[row][col]`; fails when it writes anywhere else.
    ///
    /// `T` is the element type's bits; every excess element is the bits of a NaN.
    pub(crate) fn run<T: Copy + PartialEq + std::fmt::Debug>(
        &self,
        row: &Row,
        nan: T,
        zero: T,
        bits: impl Fn(f32) -> T,
    ) -> Vec<T> {
        let (mr, pitch) = (row.mr, self.depth + 3);
        let mut a = vec![nan; self.taps * self.rows * pitch + 16];
        for (from, to) in self.a.chunks(self.depth).zip(a.chunks_mut(pitch)) {
            from.iter().zip(to).for_each(|(&x, y)| *y = bits(x));
        }
        let panels = self.cols.div_ceil(NR);
        let mut w = vec![zero; panels * self.taps * self.depth * NR];
        for (i, &x) in self.w.iter().enumerate() {
            let (at, col) = (i / self.cols, i % self.cols);
            w[(col / NR * self.taps * self.depth + at) * NR + col % NR] = bits(x);
        }
        let mut bias = self.bias.clone();
        bias.resize(panels * NR, 0.0);
        let y_pitch = self.cols + 5;
        let mut y = vec![nan; self.rows * y_pitch + 16];
        let at = |r: usize| r.min(self.rows - 1);
        let addresses: Vec<*const u8> = (0..self.taps * mr)
            .map(|i| (&raw const a[(i / mr * self.rows + at(i % mr)) * pitch]).cast())
            .collect();
        let base = y.as_mut_ptr();
        // SAFETY: inside `y`.
        let outputs: Vec<*mut u8> = (0..mr).map(|r| unsafe { base.add(at(r) * y_pitch) }.cast()).collect();
        let args = Args {
            rows: self.rows,
            taps: self.taps,
            depth: self.depth,
            a: addresses.as_ptr(),
            w: w.as_ptr().cast(),
            cols: self.cols,
            y: outputs.as_ptr(),
            bias: bias.as_ptr().cast(),
            multiplier: std::ptr::null(),
            addend: None,
            lo: self.lo,
            hi: self.hi,
            zero_point: 0,
        };
        // SAFETY: every operand has the extent that the contract states, and the caller checked `needs`.
        unsafe { (row.run)(&args) };
        let mut result = Vec::new();
        for (i, &v) in y.iter().enumerate() {
            if i / y_pitch < self.rows && i % y_pitch < self.cols {
                result.push(v);
            } else {
                assert_eq!(v, nan, "{} wrote outside its output, at {i}", row.name);
            }
        }
        result
    }
}

/// The shapes that every row is tried on: all rows and column remainders, depths around every unrolling.
pub(crate) fn cases(rng: &mut Rng, row: &Row, half: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for rows in 1..=row.mr {
        for cols in 1..=2 * row.nr + 1 {
            let depth = 1 + rng.below(21);
            let taps = [1, 2, 9][rng.below(3)];
            cases.push(Case::random(rng, rows, taps, depth, cols, half));
        }
    }
    for depth in [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 31, 63, 64, 65, 127, 128, 129, 200, 257] {
        for taps in [1, 3] {
            cases.push(Case::random(rng, row.mr, taps, depth, row.nr, half));
        }
    }
    cases
}

#[test]
fn every_row_gives_the_bits_of_the_definition() {
    let cpu = Cpu::in_order();
    for row in super::ROWS.iter().filter(|row| cpu.has(row.needs)) {
        let mut rng = Rng(0x9E37_79B9_7F4A_7C15);
        for case in cases(&mut rng, row, false) {
            let got = case.run(row, u32::MAX, 0, f32::to_bits);
            for (i, &bits) in got.iter().enumerate() {
                let (want, _) = case.expected(i / case.cols, i % case.cols);
                assert_eq!(
                    f32::from_bits(bits),
                    want,
                    "{} {}x{}x{}x{} at {i}",
                    row.name,
                    case.rows,
                    case.taps,
                    case.depth,
                    case.cols
                );
                assert_eq!(bits, want.to_bits());
            }
        }
    }
}

#[test]
fn the_portable_row_is_last_and_names_agree_with_shapes() {
    for rows in [super::ROWS, crate::conv::f16::ROWS] {
        assert_eq!(rows.last().map(|row| row.needs), Some(crate::cpu::Features::NONE));
        for row in rows {
            assert!(row.name.contains(&format!("_{}x{}_", row.mr, row.nr)), "{}", row.name);
        }
    }
}
