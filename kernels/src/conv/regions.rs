//! Parts of an output whose pixels meet the same part of the window: the others of its taps lie in the padding. A kernel
//! that goes through one part after the other multiplies no padding.
//!
//! What the taps that are left out would have added is the same for all pixels of a part: a constant row's products
//! with their weights. So each part has biases of its own, which include it.

use std::ops::Range;

use super::geometry::{Axis, Pixel, Product};
use super::micro::{KB_S8, NR};

/// Most parts of an output: each takes biases of its own.
const MOST: usize = 64;

/// What a group of pixels takes beside the products, a panel of its channels at a time, in products of a pixel's block:
/// results are made of sums.
const GROUP: usize = 64;

/// A rectangle of the output.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// Its rows and columns, the same in every image.
    pub outputs: [Range<usize>; 2],
    /// The rows and columns of the window that its pixels meet.
    pub taps: [Range<usize>; 2],
    /// Those of its rows and columns whose pixels find all these taps inside the image.
    pub interior: [Range<usize>; 2],
    /// Pixels of the regions before it, and its own, of all images.
    pub pixels: Range<usize>,
    /// Elements from the first region's biases to its own.
    pub bias: usize,
}

impl Region {
    /// The whole output of a product.
    pub fn whole(p: &Product, batch: usize) -> Self {
        let whole = [0..p.rows.outputs, 0..p.cols.outputs];
        Self {
            pixels: 0..batch * p.rows.outputs * p.cols.outputs,
            outputs: whole,
            taps: [0..p.rows.taps, 0..p.cols.taps],
            interior: [p.rows.interior(), p.cols.interior()],
            bias: 0,
        }
    }

    /// The pixel of an index among the region's.
    pub fn pixel(&self, index: usize) -> Pixel {
        let [rows, cols] = &self.outputs;
        let (line, col) = (index / cols.len(), index % cols.len());
        Pixel { image: line / rows.len(), row: rows.start + line % rows.len(), col: cols.start + col }
    }

    /// Goes on from the last pixel of a row to the first one of the next.
    pub fn next_row(&self, at: &mut Pixel) {
        let [rows, cols] = &self.outputs;
        at.col = cols.start;
        at.row += 1;
        if at.row == rows.end {
            at.row = rows.start;
            at.image += 1;
        }
    }

    /// Whether the pixel finds all taps of the region inside the image.
    pub fn inside(&self, at: &Pixel) -> bool {
        self.interior[0].contains(&at.row) && self.interior[1].contains(&at.col)
    }

    /// Whether pixels of the region meet this tap of a window of so many across.
    fn meets(&self, tap: usize, across: usize) -> bool {
        self.taps[0].contains(&(tap / across)) && self.taps[1].contains(&(tap % across))
    }

    /// What its pixels take.
    fn time(&self, kernel: &Kernel<'_>) -> usize {
        let blocks = self.taps[0].len() * self.taps[1].len() * kernel.blocks;
        let group = |pixels: usize| pixels * blocks + GROUP;
        let (groups, rest) = (self.pixels.len() / kernel.mr, self.pixels.len() % kernel.mr);
        groups * group(kernel.mr) + if rest > 0 { group(kernel.fewer[rest - 1]) } else { 0 }
    }
}

/// What a kernel does at once.
pub(super) struct Kernel<'a> {
    /// Pixels, and what fewer take: see [`super::panels::PanelRow::fewer`].
    pub mr: usize,
    pub fewer: &'a [usize],
    /// Blocks of inputs of each tap.
    pub blocks: usize,
    /// Whether the taps of a row of the window are one run of memory: else only whole rows of taps are left out.
    pub runs: bool,
}

/// The regions of a product of `batch` images, whose biases lie `biases` elements apart; none where the padding takes less
/// time than going through them.
pub(super) fn cut(p: &Product, batch: usize, biases: usize, kernel: &Kernel<'_>) -> Vec<Region> {
    let rows = bands(&p.rows);
    let cols = if kernel.runs { bands(&p.cols) } else { vec![(0..p.cols.outputs, 0..p.cols.taps)] };
    if rows.len() * cols.len() > MOST {
        return Vec::new();
    }
    let mut regions: Vec<Region> = Vec::new();
    for (rows, down) in &rows {
        for (cols, across) in &cols {
            let start = regions.last().map_or(0, |r| r.pixels.end);
            let whole = across.len() == p.cols.taps;
            regions.push(Region {
                outputs: [rows.clone(), cols.clone()],
                taps: [down.clone(), across.clone()],
                interior: [rows.clone(), if whole { p.cols.interior() } else { cols.clone() }],
                pixels: start..start + batch * rows.len() * cols.len(),
                bias: regions.len() * biases,
            });
        }
    }
    let time = |regions: &[Region]| -> usize { regions.iter().map(|r| r.time(kernel)).sum() };
    if time(&regions) < time(&[Region::whole(p, batch)]) { regions } else { Vec::new() }
}

/// Runs of an axis's outputs that find the same taps inside the image, with these taps.
fn bands(axis: &Axis) -> Vec<(Range<usize>, Range<usize>)> {
    let mut bands: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for j in 0..axis.outputs {
        // Taps inside are neighbours: windows are evenly spaced.
        let inside = |&t: &usize| axis.at(j, t).is_some();
        let start = (0..axis.taps).find(inside).unwrap_or(0);
        let taps = start..(start..axis.taps).find(|t| !inside(t)).unwrap_or(axis.taps);
        match bands.last_mut() {
            Some((outputs, same)) if *same == taps => outputs.end = j + 1,
            _ => bands.push((j..j + 1, taps)),
        }
    }
    bands
}

/// The biases of all regions, as many for each as `bias` has: with what the taps that it leaves out add. Of packed s8
/// weights, `groups` groups of `depth` inputs a tap, and the row of `padding` that those taps read.
pub(super) fn biases(
    regions: &[Region],
    p: &Product,
    weights: &[u8],
    bias: &[[u8; 4]],
    padding: &[u8],
    [groups, depth]: [usize; 2],
) -> Vec<i32> {
    let tap = depth.next_multiple_of(KB_S8) * NR;
    let panels = bias.len() / NR;
    let mut biases = Vec::with_capacity(regions.len() * bias.len());
    for _ in regions {
        biases.extend(bias.iter().map(|&b| i32::from_le_bytes(b)));
    }
    for panel in 0..panels {
        let padding = &padding[panel / (panels / groups) * depth..][..depth];
        for t in 0..p.taps() {
            let leaves = |region: &Region| !region.meets(t, p.cols.taps);
            if !regions.iter().any(leaves) {
                continue;
            }
            let added = products(&weights[(panel * p.taps() + t) * tap..][..tap], padding);
            for region in regions.iter().filter(|r| leaves(r)) {
                for (bias, added) in biases[region.bias + panel * NR..].iter_mut().zip(added) {
                    *bias = bias.wrapping_add(added);
                }
            }
        }
    }
    biases
}

/// A tap's weights of a panel times inputs, channel by channel.
fn products(weights: &[u8], inputs: &[u8]) -> [i32; NR] {
    let mut sums = [0_i32; NR];
    for (block, inputs) in weights.as_chunks::<{ KB_S8 * NR }>().0.iter().zip(inputs.chunks(KB_S8)) {
        for (sum, weights) in sums.iter_mut().zip(block.as_chunks::<KB_S8>().0) {
            for (&w, &x) in weights.iter().zip(inputs) {
                *sum = sum.wrapping_add(i32::from(w.cast_signed()) * i32::from(x.cast_signed()));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use cygnet_format::op::Window;

    use super::*;

    fn product(window: Window, input: [usize; 2], output: [usize; 2]) -> Product {
        let axis = |i: usize| Axis::of_window(&window, i, input[i], output[i]).unwrap();
        Product { rows: axis(0), cols: axis(1), weights: 0, bias: 0 }
    }

    fn kernel(runs: bool) -> Kernel<'static> {
        Kernel { mr: 8, fewer: &[1, 2, 3, 4, 5, 6, 7], blocks: 128, runs }
    }

    const SAME: Window = Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1; 4] };

    /// Every pixel is in one region, and finds those taps that it meets inside the image, and no others where columns are
    /// told apart.
    #[test]
    fn pixels_meet_what_is_inside() {
        let odd = Window { kernel: [3, 4], stride: [2, 3], dilation: [3, 1], pad: [3, 2, 4, 3] };
        for (window, input, output) in
            [(SAME, [7, 7], [7, 7]), (SAME, [1, 9], [1, 9]), (odd, [12, 21], [7, 8])]
        {
            let p = product(window, input, output);
            for runs in [false, true] {
                let regions = cut(&p, 2, 16, &kernel(runs));
                assert!(!regions.is_empty());
                let mut seen = vec![0; 2 * output[0] * output[1]];
                let mut next = 0;
                for region in &regions {
                    assert_eq!(region.pixels.start, next);
                    next = region.pixels.end;
                    for i in 0..region.pixels.len() {
                        let at = region.pixel(i);
                        seen[(at.image * output[0] + at.row) * output[1] + at.col] += 1;
                        for t in 0..p.taps() {
                            let [ky, kx] = [t / p.cols.taps, t % p.cols.taps];
                            let inside =
                                [p.rows.at(at.row, ky), p.cols.at(at.col, kx)].map(|at| at.is_some());
                            let meets = region.meets(t, p.cols.taps);
                            assert_eq!(meets, inside[0] && (inside[1] || !runs));
                            assert!(!region.inside(&at) || !meets || inside == [true; 2]);
                        }
                        assert!(!runs || region.inside(&at));
                    }
                }
                assert!(seen.iter().all(|&n| n == 1));
            }
        }
    }

    #[test]
    fn regions_are_cut_where_that_pays() {
        assert_eq!(cut(&product(SAME, [7, 7], [7, 7]), 1, 8, &kernel(true)).len(), 9);
        // Nothing is outside.
        let valid = Window { pad: [0; 4], ..SAME };
        assert!(cut(&product(valid, [9, 9], [7, 7]), 1, 8, &kernel(true)).is_empty());
        // Groups of a pixel or two, which take as long as eight.
        let narrow = Kernel { fewer: &[8; 7], ..kernel(true) };
        assert!(cut(&product(SAME, [4, 4], [4, 4]), 1, 8, &narrow).is_empty());
        // So many sizes of windows that biases would take more than weights.
        let large = Window { kernel: [21, 21], pad: [10; 4], ..SAME };
        assert!(cut(&product(large, [32, 32], [32, 32]), 1, 8, &kernel(true)).is_empty());
    }

    /// Biases of a region and products of what it meets are products of the whole window.
    #[test]
    fn biases_have_what_is_left_out() {
        let p = product(SAME, [7, 7], [7, 7]);
        let (groups, depth) = (2, 5);
        let (channels, tap) = (2 * NR, 8 * NR);
        let weights: Vec<u8> = (0..channels / NR * 9 * tap)
            .map(|i| {
                if i % (KB_S8 * NR * 2) / (KB_S8 * NR) * KB_S8 + i % KB_S8 < depth {
                    (i * 37 + i / 7) as u8
                } else {
                    0
                }
            })
            .collect();
        let padding: Vec<u8> = (0..groups * depth).map(|i| (i * 91) as u8).collect();
        let bias: Vec<[u8; 4]> = (0..channels as i32).map(|i| (i * 1_000_003).to_le_bytes()).collect();
        let regions = cut(&p, 1, channels, &kernel(true));
        let biases = biases(&regions, &p, &weights, &bias, &padding, [groups, depth]);
        for region in &regions {
            for c in 0..channels {
                let mut sum = i32::from_le_bytes(bias[c]);
                for t in (0..9)
                    .filter(|&t| !(region.taps[0].contains(&(t / 3)) && region.taps[1].contains(&(t % 3))))
                {
                    for k in 0..depth {
                        let at = (c / NR * 9 + t) * tap + k / KB_S8 * KB_S8 * NR + c % NR * KB_S8 + k % KB_S8;
                        let x = padding[c / NR * depth + k].cast_signed();
                        sum += i32::from(weights[at].cast_signed()) * i32::from(x);
                    }
                }
                assert_eq!(biases[region.bias + c], sum);
            }
        }
    }
}
