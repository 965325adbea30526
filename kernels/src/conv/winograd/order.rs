//! The order of a step's tiles.
//!
//! Where the image's outputs end before a tile's, no output that counts is made of the tile's last row, or column, of
//! positions: in the output transforms of both forms only the last output has a part of it. So these products are left
//! out, of 7 x 7 outputs 23 in 144. Tiles that lack the same lie together, so that those of a block that have a position
//! are a range.

use std::ops::Range;

use super::Form;
use super::plan::Shape;

/// Tiles of the same positions: a rectangle of each image's.
#[derive(Clone, Debug)]
struct Region {
    lines: Range<usize>,
    columns: Range<usize>,
    /// Those of all images.
    tiles: Range<usize>,
}

/// Tiles that lack the last row, whole ones, those that lack the last column, and those that lack both.
#[derive(Clone, Debug)]
pub(super) struct Order([Region; 4]);

impl Order {
    pub fn new(shape: &Shape, form: Form) -> Self {
        let [down, across] = [shape.rows, shape.cols].map(|n| (n / form.side, n.div_ceil(form.side)));
        let (whole, short) = (|(n, _)| 0..n, |(n, all)| n..all);
        let mut first = 0;
        let mut region = |lines: Range<usize>, columns: Range<usize>| {
            let tiles = first..first + shape.images * lines.len() * columns.len();
            first = tiles.end;
            Region { lines, columns, tiles }
        };
        Self([
            region(short(down), whole(across)),
            region(whole(down), whole(across)),
            region(whole(down), short(across)),
            region(short(down), short(across)),
        ])
    }

    /// Tiles of all images.
    pub fn tiles(&self) -> usize {
        self.0[3].tiles.end
    }

    /// The image, the line and the column of a tile.
    pub fn place(&self, tile: usize) -> [usize; 3] {
        let region = self.0.iter().find(|region| tile < region.tiles.end).unwrap_or(&self.0[3]);
        let (lines, columns) = (region.lines.len(), region.columns.len());
        let at = tile - region.tiles.start;
        let line = at / columns;
        [line / lines, region.lines.start + line % lines, region.columns.start + at % columns]
    }

    /// Which tiles of a block, counted from its first, have the last row of positions, and which the last column.
    pub fn complete(&self, block: Range<usize>) -> [Range<usize>; 2] {
        [1..3, 0..2].map(|regions| {
            let within = |tile: usize| tile.clamp(block.start, block.end) - block.start;
            within(self.0[regions.start].tiles.start)..within(self.0[regions.end - 1].tiles.end)
        })
    }
}

/// Positions of all tiles that have them.
pub(super) fn positions(shape: &Shape, form: Form) -> usize {
    let [rows, cols] = [shape.rows, shape.cols].map(|n| {
        let short = usize::from(!n.is_multiple_of(form.side));
        n.div_ceil(form.side) * form.reach() - short
    });
    shape.images * rows * cols
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(images: usize, rows: usize, cols: usize) -> Shape {
        Shape { images, rows, cols, depth: 16, channels: 8, pieces: 1 }
    }

    #[test]
    fn every_tile_has_one_place_and_what_its_outputs_need() {
        for (form, rows) in
            [(Form::TWO, 1), (Form::TWO, 6), (Form::FOUR, 7), (Form::FOUR, 8), (Form::FOUR, 14)]
        {
            for (cols, images) in (1..10).flat_map(|cols| [(cols, 1), (cols, 3)]) {
                let shape = shape(images, rows, cols);
                let order = Order::new(&shape, form);
                let mut places: Vec<_> = (0..order.tiles()).map(|tile| order.place(tile)).collect();
                let mut all = 0;
                for first in (0..order.tiles()).step_by(5) {
                    let block = first..order.tiles().min(first + 5);
                    let [last_row, last_column] = order.complete(block.clone());
                    for tile in block {
                        let [_, line, column] = places[tile];
                        let needs = |n: usize, at: usize| n - form.side * at >= form.side;
                        let (down, across) = (needs(rows, line), needs(cols, column));
                        assert_eq!(last_row.contains(&(tile - first)), down, "{shape:?} {tile}");
                        assert_eq!(last_column.contains(&(tile - first)), across, "{shape:?} {tile}");
                        let count = |whole: bool| form.reach() - usize::from(!whole);
                        all += count(down) * count(across);
                    }
                }
                assert_eq!(positions(&shape, form), all);
                places.sort_unstable();
                places.dedup();
                let [down, across] = [rows, cols].map(|n| n.div_ceil(form.side));
                assert_eq!(places.len(), order.tiles());
                assert_eq!(places.len(), images * down * across);
                assert!(places.iter().all(|p| p[0] < images && p[1] < down && p[2] < across));
            }
        }
    }
}
