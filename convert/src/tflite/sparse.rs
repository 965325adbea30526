//! Sparse tensors: which elements a file holds, and where they belong.
//!
//! The schema's `SparsityParameters`: dimensions are stored in a traversal order, first those of the tensor, each
//! perhaps divided by a block, then those inside blocks. A dense dimension holds all its indices, a sparse one (CSR) for
//! each index of the dimension before it a segment of those that are there.

use super::flatbuf::{Result, Table};

/// More blocks than any tensor has dimensions.
const MAX_BLOCKS: usize = 8;

/// One dimension as it is stored.
enum Dimension {
    Dense(usize),
    Sparse { segments: Vec<usize>, indices: Vec<usize> },
}

/// How the elements of a tensor are stored.
pub struct Sparsity {
    /// Stored dimension `i` is dimension `order[i]`: one of the tensor below its rank, one inside blocks from there on.
    order: Vec<usize>,
    /// Which dimension of the tensor each dimension inside blocks divides.
    blocks: Vec<usize>,
    dimensions: Vec<Dimension>,
}

/// A vector of indices, a union: field `kind` says which type of number field `kind + 1` holds.
fn indices(t: Table<'_>, kind: usize) -> Result<Vec<usize>> {
    let Some(vector) = t.table(kind + 1)? else { return Ok(Vec::new()) };
    let signed = |v: Vec<i32>| v.into_iter().map(|x| usize::try_from(x).unwrap_or(usize::MAX)).collect();
    Ok(match t.get(kind, 0u8)? {
        1 => signed(vector.numbers(0)?),
        2 => vector.numbers::<u16>(0)?.into_iter().map(usize::from).collect(),
        3 => vector.bytes(0)?.iter().map(|&x| usize::from(x)).collect(),
        other => return Err(format!("its sparsity has indices of kind {other}; 1 to 3 are defined")),
    })
}

impl Sparsity {
    /// Fields: traversal_order 0, block_map 1, dim_metadata 2; of a dimension: format 0, dense_size 1, segments 2 and 3,
    /// indices 4 and 5.
    pub fn read(t: Table<'_>) -> Result<Self> {
        let list = |id| -> Result<Vec<usize>> {
            let v: Vec<i32> = t.numbers(id)?;
            Ok(v.into_iter().map(|x| usize::try_from(x).unwrap_or(usize::MAX)).collect())
        };
        let dimension = |d: &Table<'_>| -> Result<Dimension> {
            Ok(match d.get(0, 0i8)? {
                0 => Dimension::Dense(usize::try_from(d.get(1, 0i32)?).unwrap_or(0)),
                1 => Dimension::Sparse { segments: indices(*d, 2)?, indices: indices(*d, 4)? },
                other => return Err(format!("its sparsity has format {other}; 0 and 1 are defined")),
            })
        };
        Ok(Self {
            order: list(0)?,
            blocks: list(1)?,
            dimensions: t.tables(2)?.iter().map(dimension).collect::<Result<_>>()?,
        })
    }

    /// For each stored element its place in a row-major tensor of these dimensions.
    pub fn places(&self, dims: &[usize]) -> Result<Vec<usize>> {
        let (rank, count) = (dims.len(), self.order.len());
        let mut seen = vec![false; count];
        let distinct = self.order.iter().all(|&o| o < count && !std::mem::replace(&mut seen[o], true));
        if !distinct
            || count != rank + self.blocks.len()
            || self.dimensions.len() != count
            || self.blocks.len() > MAX_BLOCKS
            || self.blocks.iter().any(|&b| b >= rank)
        {
            return Err(format!(
                "its sparsity has {count} dimensions and {} blocks for a tensor of {rank}",
                self.blocks.len()
            ));
        }
        // Extents of the dimensions inside blocks; the tensor's own follow from them.
        let mut block = vec![1; rank];
        for (i, &o) in self.order.iter().enumerate().filter(|&(_, &o)| o >= rank) {
            match self.dimensions[i] {
                Dimension::Dense(n) if n > 0 => block[self.blocks[o - rank]] *= n,
                _ => return Err("its sparsity has blocks that are not dense".to_owned()),
            }
        }
        let mut walk = Walk { sparsity: self, dims, block, at: vec![0; count], places: Vec::new() };
        walk.descend(0, 0)?;
        Ok(walk.places)
    }
}

struct Walk<'a> {
    sparsity: &'a Sparsity,
    dims: &'a [usize],
    block: Vec<usize>,
    /// The index along each dimension, by its number in the traversal order.
    at: Vec<usize>,
    places: Vec<usize>,
}

impl Walk<'_> {
    /// Stored dimension `level`, of which the `parent`th piece is meant.
    fn descend(&mut self, level: usize, parent: usize) -> Result<()> {
        let Some(dimension) = self.sparsity.dimensions.get(level) else {
            let place = self.place()?;
            self.places.push(place);
            return Ok(());
        };
        let dim = self.sparsity.order[level];
        match dimension {
            Dimension::Dense(n) => {
                let total: usize = self.dims.iter().product();
                if parent.saturating_add(1).saturating_mul(*n) > total {
                    return Err(format!("its sparsity has a dimension of {n}, the tensor {total} elements"));
                }
                for i in 0..*n {
                    self.at[dim] = i;
                    self.descend(level + 1, parent * n + i)?;
                }
            }
            Dimension::Sparse { segments, indices } => {
                let bounds = segments.get(parent).zip(segments.get(parent + 1));
                let range = bounds.filter(|(a, b)| a <= b && **b <= indices.len());
                let Some((&from, &to)) = range else {
                    return Err(format!("segment {parent} of its sparsity is missing"));
                };
                for (i, &index) in indices.iter().enumerate().take(to).skip(from) {
                    self.at[dim] = index;
                    self.descend(level + 1, i)?;
                }
            }
        }
        Ok(())
    }

    fn place(&self) -> Result<usize> {
        let rank = self.dims.len();
        let mut place = 0usize;
        for (d, &extent) in self.dims.iter().enumerate() {
            let mut index = self.at[d];
            for (b, _) in self.sparsity.blocks.iter().enumerate().filter(|&(_, &of)| of == d) {
                index = index.saturating_mul(self.block[d]).saturating_add(self.at[rank + b]);
            }
            if index >= extent {
                return Err(format!("its sparsity has index {index} along a dimension of {extent}"));
            }
            place = place * extent + index;
        }
        if self.places.len() >= self.dims.iter().product() {
            return Err("its sparsity holds more elements than the tensor".to_owned());
        }
        Ok(place)
    }
}
