//! Second moments of what the rows of a product's weights meet: some windows of each sample, chosen by its hash. Moments
//! are kept within blocks of inputs, so that memory grows with the weights of one row, not with their square.

use cygnet_format::op::{Op, Window};
use cygnet_format::program::DType;

use super::stats::{UNIT, fixed};
use crate::lir::{Const, Kind, Lir, Step};

/// Inputs whose moments are kept together, at most; a channel's whole window is never split.
const BLOCK: usize = 32;

/// Windows of one channel may hold so many inputs; larger ones are not looked at.
const LARGEST: usize = 128;

/// Windows of each sample that are looked at.
const WINDOWS: usize = 64;

/// Where a product finds its inputs.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Batch, height, width and channels of the input.
    input: [usize; 4],
    /// Height and width of the output.
    output: [usize; 2],
    window: Window,
    /// Input channels of a row, and how many groups of rows have their own.
    depth: usize,
    groups: usize,
}

impl Windows {
    /// Those of a convolution or depthwise convolution of real numbers with constant weights; `None` for other steps.
    pub fn of(lir: &Lir, step: &Step) -> Option<Self> {
        let (window, groups) = match &step.kind {
            Kind::Op(Op::Conv(p)) => (p.window, p.groups as usize),
            Kind::Op(Op::DepthwiseConv(p)) => (p.window, 0),
            _ => return None,
        };
        let (x, w) = (&lir.tensors[step.inputs[0]?], &lir.tensors[step.inputs[1]?]);
        let constant = w.constant.as_deref().is_some_and(|c| matches!(c, Const::F32(_)));
        let channels = *x.dims.last()?;
        let groups = if groups == 0 { channels } else { groups };
        let taps = (window.kernel[0] * window.kernel[1]) as usize;
        if !constant || x.dtype != DType::F32 || taps > LARGEST {
            return None;
        }
        let y = &lir.tensors[step.output].dims;
        // Matrix products have rows, no images.
        let (input, output) = match (&x.dims[..], &y[..]) {
            (&[n, h, w, c], &[_, oh, ow, _]) => ([n, h, w, c], [oh, ow]),
            _ if taps == 1 => ([1, 1, x.len() / channels, channels], [1, x.len() / channels]),
            _ => return None,
        };
        Some(Self { input, output, window, depth: channels / groups, groups })
    }

    fn taps(&self) -> usize {
        (self.window.kernel[0] * self.window.kernel[1]) as usize
    }

    /// Channels of a block.
    fn together(&self) -> usize {
        (BLOCK / self.taps()).clamp(1, self.depth)
    }

    /// For each block of a group the first of its channels, counted within the group, and how many there are.
    fn of_group(&self) -> impl Iterator<Item = (usize, usize)> {
        let (depth, together) = (self.depth, self.together());
        (0..depth).step_by(together).map(move |first| (first, together.min(depth - first)))
    }

    /// Input channels of a row.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// For each block of a group the positions, in a row of weights, of its inputs: channel by channel.
    pub fn positions(&self) -> Vec<Vec<usize>> {
        let place = |first, n| {
            (first..first + n).flat_map(|c| (0..self.taps()).map(move |tap| tap * self.depth + c)).collect()
        };
        self.of_group().map(|(first, n)| place(first, n)).collect()
    }

    /// Numbers that are kept: of each block the sums, and the sums of products of each pair.
    fn numbers(&self) -> usize {
        let of = |n: usize| n + n * (n + 1) / 2;
        self.groups * self.of_group().map(|(_, n)| of(n * self.taps())).sum::<usize>()
    }
}

/// Sums over the windows seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// How many windows.
    pub(super) windows: u64,
    /// Block after block its sums and, row by row of the lower triangle, its sums of products.
    pub(super) sums: Vec<i128>,
}

/// The moments of one block: means and, of each pair, the mean product.
pub struct Block {
    /// Mean of each input.
    pub means: Vec<f64>,
    /// Mean product of inputs, all rows of a symmetric matrix.
    pub products: Vec<f64>,
}

impl Moments {
    /// Nothing seen yet.
    pub fn new(windows: &Windows) -> Self {
        Self { windows: 0, sums: vec![0; windows.numbers()] }
    }

    /// Whether these are moments of such windows.
    pub fn fits(&self, windows: &Windows) -> bool {
        self.sums.len() == windows.numbers()
    }

    /// Takes in some windows of a sample, chosen by `seed`. All values are finite.
    pub fn add(&mut self, at: &Windows, values: &[f32], seed: u64) {
        let [batch, height, width, channels] = at.input;
        let places = batch * at.output[0] * at.output[1];
        let mut random = SplitMix(seed);
        let chosen: Vec<usize> = if places <= WINDOWS {
            (0..places).collect()
        } else {
            (0..WINDOWS).map(|_| (random.next() % places as u64) as usize).collect()
        };
        self.windows += chosen.len() as u64;
        let w = &at.window;
        // Where each tap of each window lies; `None` in the padding.
        let tap = |place: usize, tap: usize| -> Option<usize> {
            let (kx, ky) = (tap % w.kernel[1] as usize, tap / w.kernel[1] as usize);
            let (ox, oy) = (place % at.output[1], place / at.output[1] % at.output[0]);
            let along = |o: usize, k: usize, d: usize, extent: usize| {
                let from_pad = o * w.stride[d] as usize + k * w.dilation[d] as usize;
                from_pad.checked_sub(w.pad[d] as usize).filter(|&i| i < extent)
            };
            let (y, x) = (along(oy, ky, 0, height)?, along(ox, kx, 1, width)?);
            let n = place / (at.output[0] * at.output[1]);
            Some(((n * height + y) * width + x) * channels)
        };
        let taps: Vec<Vec<Option<usize>>> =
            chosen.iter().map(|&place| (0..at.taps()).map(|t| tap(place, t)).collect()).collect();
        let mut sums = &mut self.sums[..];
        let (mut inputs, mut own) = (Vec::new(), Vec::new());
        for group in 0..at.groups {
            for (first, n) in at.of_group() {
                let count = n * at.taps();
                own.clear();
                own.resize(count + count * (count + 1) / 2, 0.0_f64);
                for taps in &taps {
                    inputs.clear();
                    for c in group * at.depth + first..group * at.depth + first + n {
                        inputs.extend(taps.iter().map(|t| t.map_or(0.0, |t| f64::from(values[t + c]))));
                    }
                    add_products(&inputs, &mut own);
                }
                let (these, rest) = sums.split_at_mut(own.len());
                these.iter_mut().zip(&own).for_each(|(s, &v)| *s = s.wrapping_add(fixed(v)));
                sums = rest;
            }
        }
    }

    /// Takes in the moments of other samples.
    pub fn merge(&mut self, other: &Self) {
        self.windows = self.windows.saturating_add(other.windows);
        self.sums.iter_mut().zip(&other.sums).for_each(|(s, o)| *s = s.wrapping_add(*o));
    }

    /// The blocks of each group, one group after another; none where nothing was seen.
    pub fn blocks(&self, at: &Windows) -> Vec<Vec<Block>> {
        let mut sums = &self.sums[..];
        let scale = 1.0 / UNIT / self.windows as f64;
        let mut block = |n: usize| {
            let (own, rest) = sums.split_at(n + n * (n + 1) / 2);
            sums = rest;
            let mean = |s: i128| s as f64 * scale;
            let product = |i: usize, j: usize| {
                let (low, high) = (i.min(j), i.max(j));
                mean(own[n + high * (high + 1) / 2 + low])
            };
            Block {
                means: own[..n].iter().map(|&s| mean(s)).collect(),
                products: (0..n * n).map(|at| product(at / n, at % n)).collect(),
            }
        };
        if self.windows == 0 {
            return Vec::new();
        }
        (0..at.groups).map(|_| at.of_group().map(|(_, n)| block(n * at.taps())).collect()).collect()
    }
}

/// Adds inputs, and the products of each pair, to sums laid out as [`Moments`] has them.
fn add_products(inputs: &[f64], sums: &mut [f64]) {
    let (singles, mut pairs) = sums.split_at_mut(inputs.len());
    for (i, &x) in inputs.iter().enumerate() {
        let (row, rest) = pairs.split_at_mut(i + 1);
        pairs = rest;
        if x != 0.0 {
            singles[i] += x;
            row.iter_mut().zip(inputs).for_each(|(sum, &y)| *sum += x * y);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(input: [usize; 4], kernel: u32, depth: usize) -> Windows {
        let pad = [kernel / 2; 4];
        let window = Window { kernel: [kernel; 2], stride: [1, 1], dilation: [1, 1], pad };
        Windows { input, output: [input[1], input[2]], window, depth, groups: input[3] / depth }
    }

    #[test]
    fn moments_by_hand() {
        // All four windows of [[1, 2], [3, 4]], zeros around it.
        let at = windows([1, 2, 2, 1], 3, 1);
        assert_eq!(at.positions(), [(0..9).collect::<Vec<_>>()]);
        let mut seen = Moments::new(&at);
        seen.add(&at, &[1.0, 2.0, 3.0, 4.0], 7);
        let block = &seen.blocks(&at)[0][0];
        // The middle sees each number, the upper left corner the 1 alone, when the middle sees the 4.
        assert_eq!((block.means[4], block.means[0]), (2.5, 0.25));
        assert_eq!((block.products[4 * 9 + 4], block.products[4], block.products[0]), (7.5, 1.0, 0.25));
        // The right neighbour of 1 is 2, that of 3 is 4.
        assert_eq!((block.products[4 * 9 + 5], block.products[5 * 9 + 4]), (3.5, 3.5));
    }

    #[test]
    fn blocks_hold_whole_windows_of_one_group() {
        // 5 channels of 9 inputs each, of two groups: 3 and 2 of them together, as 27 and 18 inputs.
        let at = windows([1, 4, 4, 10], 3, 5);
        let blocks = at.positions();
        assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [27, 18]);
        assert_eq!(blocks[1][..10], [3, 8, 13, 18, 23, 28, 33, 38, 43, 4]);
        let mut all: Vec<usize> = blocks.concat();
        all.sort_unstable();
        assert_eq!(all, (0..45).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn parts_added_up_are_the_whole(
            samples in prop::collection::vec((any::<u64>(), prop::collection::vec(-1e9_f32..1e9, 200)), 1..6),
            split in any::<u8>(),
        ) {
            let at = windows([1, 10, 10, 2], 3, 1);
            let mut whole = Moments::new(&at);
            samples.iter().for_each(|(seed, v)| whole.add(&at, v, *seed));
            let mut parts = [Moments::new(&at), Moments::new(&at)];
            for (i, (seed, v)) in samples.iter().enumerate().rev() {
                parts[usize::from(split >> i & 1)].add(&at, v, *seed);
            }
            let [mut sum, other] = parts;
            sum.merge(&other);
            prop_assert!(sum == whole);
        }
    }
}
