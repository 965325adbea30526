//! How elementwise steps go through their operands: broadcasting resolved, dimensions merged, work cut in tiles.

use cygnet_format::program::MAX_RANK;

use crate::kernel::{Context, PrepareError};
use crate::view::View;

/// Elements that are worth a tile of a cheap function.
pub(crate) const TILE_ELEMENTS: usize = 32_768;

/// Strides in elements over some dimensions, for each of K operands; 0 where an operand is broadcast.
pub(crate) type Strides<const K: usize> = [[usize; K]; MAX_RANK];

/// Strides with which a view is read as if it had dimensions `dims`: numpy's broadcasting.
///
/// # Errors
/// Dimensions that do not broadcast to `dims`.
pub(crate) fn broadcast(
    cx: &Context<'_>,
    v: &View,
    dims: &[usize],
    what: &str,
) -> Result<[usize; MAX_RANK], PrepareError> {
    let fits = v.rank <= dims.len()
        && v.dims().iter().rev().zip(dims.iter().rev()).all(|(&have, &want)| have == want || have == 1);
    cx.ensure(fits, || format!("{what} of dimensions {:?} does not broadcast to {dims:?}", v.dims()))?;
    let mut out = [0; MAX_RANK];
    let shift = dims.len() - v.rank;
    for (d, (&have, stride)) in v.dims().iter().zip(v.strides()).enumerate() {
        out[shift + d] = if have == 1 { 0 } else { stride };
    }
    Ok(out)
}

/// Positions in K operands over a block of indices, last dimension fastest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odometer<const K: usize> {
    dims: [usize; MAX_RANK],
    strides: Strides<K>,
    rank: usize,
}

impl<const K: usize> Odometer<K> {
    /// Over these dimensions; those of extent 1 are dropped, and neighbours that every operand steps through
    /// evenly are merged.
    pub(crate) fn new(dims: &[usize], strides: &Strides<K>) -> Self {
        let mut out = Self { dims: [1; MAX_RANK], strides: [[0; K]; MAX_RANK], rank: 0 };
        for (&extent, &step) in dims.iter().zip(strides) {
            if extent == 1 {
                continue;
            }
            let merges = out.rank > 0 && (0..K).all(|k| out.strides[out.rank - 1][k] == step[k] * extent);
            if merges {
                out.dims[out.rank - 1] *= extent;
                out.strides[out.rank - 1] = step;
            } else {
                out.dims[out.rank] = extent;
                out.strides[out.rank] = step;
                out.rank += 1;
            }
        }
        out
    }

    /// Number of positions.
    pub(crate) fn len(&self) -> usize {
        self.dims[..self.rank].iter().product()
    }

    /// Takes away the last dimension: its extent and strides; a single position when none is left.
    pub(crate) fn pop(&mut self) -> (usize, [usize; K]) {
        match self.rank.checked_sub(1) {
            None => (1, [0; K]),
            Some(last) => {
                self.rank = last;
                (std::mem::replace(&mut self.dims[last], 1), self.strides[last])
            }
        }
    }

    /// The last dimension without taking it away.
    fn last(&self) -> Option<(usize, [usize; K])> {
        let last = self.rank.checked_sub(1)?;
        Some((self.dims[last], self.strides[last]))
    }

    /// Calls `f` with the offsets of positions `from` to `to`, in order.
    #[inline]
    pub(crate) fn each(&self, from: usize, to: usize, mut f: impl FnMut([usize; K])) {
        let mut index = [0; MAX_RANK];
        let mut at = [0; K];
        let mut rest = from;
        for d in (0..self.rank).rev() {
            index[d] = rest % self.dims[d];
            rest /= self.dims[d];
            for k in 0..K {
                at[k] += index[d] * self.strides[d][k];
            }
        }
        for _ in from..to {
            f(at);
            for d in (0..self.rank).rev() {
                index[d] += 1;
                for k in 0..K {
                    at[k] += self.strides[d][k];
                }
                if index[d] < self.dims[d] {
                    break;
                }
                for k in 0..K {
                    at[k] -= self.dims[d] * self.strides[d][k];
                }
                index[d] = 0;
            }
        }
    }
}

/// The way of an elementwise step: runs of elements in which each operand advances by 0 or 1, cut in tiles.
/// Operand 0 is the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<const K: usize> {
    outer: Odometer<K>,
    /// Elements of a run.
    run: usize,
    /// Whether each operand advances within a run.
    pub(crate) steps: [bool; K],
    chunks: usize,
    chunk: usize,
    runs_per_tile: usize,
    tiles: usize,
}

impl<const K: usize> Walk<K> {
    /// Through `dims` with the strides of each operand, `grain` elements to a tile.
    pub(crate) fn new(dims: &[usize], strides: &[[usize; MAX_RANK]; K], grain: usize) -> Self {
        Self::in_units(dims, strides, grain, 64)
    }

    /// The same, runs being cut at multiples of `unit` elements.
    pub(crate) fn in_units(
        dims: &[usize],
        strides: &[[usize; MAX_RANK]; K],
        grain: usize,
        unit: usize,
    ) -> Self {
        let mut by_dim = [[0; K]; MAX_RANK];
        for (d, to) in by_dim.iter_mut().enumerate() {
            *to = std::array::from_fn(|k| strides[k][d]);
        }
        let mut outer = Odometer::new(dims, &by_dim);
        // A last dimension with other strides, as of a column of a wider tensor, is walked one by one.
        let (run, last) = match outer.last() {
            Some((_, step)) if step[0] == 1 && step.iter().all(|&s| s <= 1) => outer.pop(),
            _ => (1, [0; K]),
        };
        let chunk = run.min(grain.next_multiple_of(unit));
        let chunks = run.div_ceil(chunk);
        let runs_per_tile = if chunks > 1 { 1 } else { grain.div_ceil(run).max(1) };
        let tiles = outer.len().div_ceil(runs_per_tile) * chunks;
        Self { outer, run, steps: last.map(|s| s == 1), chunks, chunk, runs_per_tile, tiles }
    }

    /// Through operands of the same dimensions.
    pub(crate) fn of(views: [&View; K], grain: usize) -> Self {
        Self::new(views[0].dims(), &views.map(View::strides), grain)
    }

    /// Number of tiles.
    pub(crate) fn tiles(&self) -> usize {
        self.tiles
    }

    /// Calls `f` for each run of a tile with the operands' offsets and the number of elements.
    #[inline]
    pub(crate) fn tile(&self, tile: usize, mut f: impl FnMut([usize; K], usize)) {
        let first = tile / self.chunks * self.runs_per_tile;
        let to = (first + self.runs_per_tile).min(self.outer.len());
        let start = tile % self.chunks * self.chunk;
        let n = self.chunk.min(self.run - start);
        self.outer.each(first, to, |at| {
            f(std::array::from_fn(|k| at[k] + if self.steps[k] { start } else { 0 }), n);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element once, with numpy's offsets, whatever the merging and cutting.
    #[test]
    fn visits_every_element_with_its_operands() {
        let cases: &[(&[usize], [[usize; MAX_RANK]; 2])] = &[
            (&[], [[0; 6], [0; 6]]),
            (&[5], [[1, 0, 0, 0, 0, 0], [0; 6]]),
            (&[2, 3, 5], [[21, 7, 1, 0, 0, 0], [0, 5, 1, 0, 0, 0]]),
            (&[2, 3, 5], [[15, 5, 1, 0, 0, 0], [15, 5, 1, 0, 0, 0]]),
            (&[4, 3, 1], [[24, 8, 1, 0, 0, 0], [3, 1, 1, 0, 0, 0]]),
            (&[4, 1, 300], [[300, 300, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]),
        ];
        for (dims, strides) in cases {
            for grain in [1, 64, 100_000] {
                let walk = Walk::new(dims, strides, grain);
                let mut seen = Vec::new();
                for tile in 0..walk.tiles() {
                    walk.tile(tile, |at, n| {
                        for i in 0..n {
                            seen.push([0, 1].map(|k| at[k] + if walk.steps[k] { i } else { 0 }));
                        }
                    });
                }
                let mut want = vec![[0, 0]];
                for (d, &extent) in dims.iter().enumerate() {
                    want = want
                        .iter()
                        .flat_map(|at| (0..extent).map(move |i| [0, 1].map(|k| at[k] + i * strides[k][d])))
                        .collect();
                }
                assert_eq!(seen, want, "{dims:?} {strides:?} grain {grain}");
            }
        }
    }
}
