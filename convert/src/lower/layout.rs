//! The order of a value's dimensions in memory.

use crate::lir::Const;

/// Physical dimension `i` is logical dimension `order[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout(Vec<usize>);

impl Layout {
    pub(crate) fn new(order: Vec<usize>) -> Self {
        debug_assert!((0..order.len()).all(|d| order.contains(&d)), "{order:?} is no permutation");
        Self(order)
    }

    /// The logical order itself.
    pub(crate) fn identity(rank: usize) -> Self {
        Self((0..rank).collect())
    }

    /// Batch, spatial dimensions, channels: NHWC for images whose logical order is NCHW.
    pub(crate) fn channels_last(rank: usize) -> Self {
        let mut order: Vec<usize> = (0..rank).collect();
        if rank > 2 {
            order.remove(1);
            order.push(1);
        }
        Self(order)
    }

    pub(crate) fn order(&self) -> &[usize] {
        &self.0
    }

    pub(crate) fn rank(&self) -> usize {
        self.0.len()
    }

    /// Where a logical dimension lies.
    pub(crate) fn position(&self, logical: usize) -> usize {
        self.0.iter().position(|&d| d == logical).expect("a dimension of this layout")
    }

    /// Logical dimensions in physical order.
    pub(crate) fn physical<T: Copy>(&self, logical: &[T]) -> Vec<T> {
        self.0.iter().map(|&d| logical[d]).collect()
    }

    /// Whether both put the elements of a tensor of these dimensions in the same sequence.
    pub(crate) fn same_sequence(&self, other: &Self, dims: &[usize]) -> bool {
        let wide = |l: &Self| l.0.iter().copied().filter(|&d| dims[d] > 1).collect::<Vec<_>>();
        wide(self) == wide(other)
    }

    /// The layout of the same memory after ONNX's `Transpose`: new logical dimension `i` is the old `perm[i]`.
    pub(crate) fn transposed(&self, perm: &[usize]) -> Self {
        Self(
            self.0
                .iter()
                .map(|&old| perm.iter().position(|&p| p == old).expect("a permutation of this rank"))
                .collect(),
        )
    }

    /// The same with leading dimensions of extent 1 put before it, up to `rank`.
    pub(crate) fn widened(&self, rank: usize) -> Self {
        let more = rank - self.rank();
        Self((0..more).chain(self.0.iter().map(|d| d + more)).collect())
    }

    /// The layout without these logical dimensions.
    pub(crate) fn without(&self, gone: &[usize]) -> Self {
        let kept = self.0.iter().filter(|d| !gone.contains(d));
        Self(kept.map(|&d| d - gone.iter().filter(|&&g| g < d).count()).collect())
    }
}

/// Runs of old and new dimensions with equal products: `Reshape` acts within each alone.
fn groups(old: &[usize], new: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let wide = |dims: &[usize]| (0..dims.len()).filter(|&d| dims[d] > 1).collect::<Vec<_>>();
    let (a, b) = (wide(old), wide(new));
    let (mut i, mut j) = (0, 0);
    let mut groups = Vec::new();
    while i < a.len() && j < b.len() {
        let (mut left, mut right) = (vec![a[i]], vec![b[j]]);
        let (mut p, mut q) = (old[a[i]], new[b[j]]);
        while p != q {
            if p < q {
                i += 1;
                p *= old[a[i]];
                left.push(a[i]);
            } else {
                j += 1;
                q *= new[b[j]];
                right.push(b[j]);
            }
        }
        i += 1;
        j += 1;
        groups.push((left, right));
    }
    groups
}

/// The layout under which a reshaped value may keep its memory: `(needed, result)`. The value must first be brought to
/// `needed`, which is its own layout wherever the elements already lie in the right sequence; otherwise one that
/// leaves images channels-last.
pub(crate) fn reshape_order(old: &[usize], layout: &Layout, new: &[usize]) -> (Layout, Layout) {
    let groups = groups(old, new);
    let wide: Vec<usize> = layout.order().iter().copied().filter(|&d| old[d] > 1).collect();
    let place = |group: &(Vec<usize>, Vec<usize>)| {
        wide.iter().position(|d| *d == group.0[0]).expect("a wide dimension")
    };
    let fits = groups.iter().all(|g| wide[place(g)..].starts_with(&g.0));
    let mut sequence: Vec<&(Vec<usize>, Vec<usize>)> = groups.iter().collect();
    if fits {
        sequence.sort_by_key(|g| place(g));
    } else if new.len() == 4 && *layout != Layout::identity(old.len()) {
        // Channels last, where the groups of the new dimensions allow it.
        let rank = |g: &(Vec<usize>, Vec<usize>)| if g.1.contains(&1) && g.1.len() == 1 { 4 } else { g.1[0] };
        sequence.sort_by_key(|g| rank(g));
    }
    let narrow = |dims: &[usize]| (0..dims.len()).filter(|&d| dims[d] == 1).collect::<Vec<_>>();
    let result = narrow(new).into_iter().chain(sequence.iter().flat_map(|g| g.1.iter().copied())).collect();
    let needed = if fits {
        layout.clone()
    } else {
        Layout::new(
            narrow(old).into_iter().chain(sequence.iter().flat_map(|g| g.0.iter().copied())).collect(),
        )
    };
    (needed, Layout::new(result))
}

fn transpose_slice<T: Copy>(data: &[T], dims: &[usize], order: &[usize]) -> Vec<T> {
    let mut strides = vec![1; dims.len()];
    for d in (0..dims.len().saturating_sub(1)).rev() {
        strides[d] = strides[d + 1] * dims[d + 1];
    }
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0; order.len()];
    for _ in 0..data.len() {
        out.push(data[index.iter().zip(order).map(|(i, &d)| i * strides[d]).sum::<usize>()]);
        for d in (0..order.len()).rev() {
            index[d] += 1;
            if index[d] < dims[order[d]] {
                break;
            }
            index[d] = 0;
        }
    }
    out
}

/// A constant whose output dimension `i` is its dimension `order[i]`.
pub(crate) fn transpose_const(c: &Const, dims: &[usize], order: &[usize]) -> Const {
    match c {
        Const::F32(v) => Const::F32(transpose_slice(v, dims, order)),
        Const::F16(v) => Const::F16(transpose_slice(v, dims, order)),
        Const::S8(v) => Const::S8(transpose_slice(v, dims, order)),
        Const::U8(v) => Const::U8(transpose_slice(v, dims, order)),
        Const::S32(v) => Const::S32(transpose_slice(v, dims, order)),
        Const::S64(v) => Const::S64(transpose_slice(v, dims, order)),
        Const::Packed(v) => Const::Packed(v.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_rows_and_columns_of_an_image_moves_nothing() {
        let nhwc = Layout::channels_last(4);
        let (needed, result) = reshape_order(&[1, 144, 40, 40], &nhwc, &[1, 144, 1600]);
        assert_eq!(needed, nhwc);
        assert_eq!(result, Layout::new(vec![0, 2, 1]));
    }

    #[test]
    fn flattening_an_image_needs_its_logical_order() {
        let (needed, result) = reshape_order(&[1, 8, 3, 5], &Layout::channels_last(4), &[1, 120]);
        assert!(needed.same_sequence(&Layout::identity(4), &[1, 8, 3, 5]));
        assert_eq!(result, Layout::identity(2));
    }

    #[test]
    fn splitting_channels_keeps_them_last() {
        let (needed, result) = reshape_order(&[1, 12, 4, 6], &Layout::channels_last(4), &[1, 2, 2, 3, 4, 6]);
        assert_eq!(needed, Layout::channels_last(4));
        assert_eq!(result, Layout::new(vec![0, 4, 5, 1, 2, 3]));
    }

    #[test]
    fn the_end_of_depth_to_space_comes_out_channels_last() {
        // Logical [N, C, H, b, W, b] over memory [N, H, W, b, b, C]: one move, straight to NHWC.
        let over = Layout::new(vec![0, 2, 4, 3, 5, 1]);
        let (needed, result) = reshape_order(&[1, 3, 4, 2, 6, 2], &over, &[1, 3, 8, 12]);
        assert_eq!(needed, Layout::new(vec![0, 2, 3, 4, 5, 1]));
        assert_eq!(result, Layout::channels_last(4));
    }

    #[test]
    fn transposing_a_constant_follows_the_order() {
        let c = Const::S32(vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(transpose_const(&c, &[2, 3], &[1, 0]), Const::S32(vec![1, 4, 2, 5, 3, 6]));
    }

    #[test]
    fn a_transposed_layout_keeps_the_memory() {
        // Memory is NHWC of logical NCHW; after Transpose(0, 2, 3, 1) the logical order is the memory's.
        assert_eq!(Layout::channels_last(4).transposed(&[0, 2, 3, 1]), Layout::identity(4));
    }
}
