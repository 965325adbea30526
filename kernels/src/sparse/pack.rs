//! The layout of sparse weights, for whoever writes files.

/// Longest sum, inputs of every tap filled up to groups: sixteen pixels' inputs of it in 16 bits fit the scratch.
pub const MAX_K: usize = (crate::kernel::MAX_SCRATCH - super::STAGE_BYTES) / 32;

/// Weights as lists of groups that are not zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Lists {
    /// The weights of the groups, one after the other.
    pub weights: Vec<i8>,
    /// Which group each is.
    pub indices: Vec<u16>,
    /// Where in these the list of each output channel ends; it begins where the one before ends.
    pub ends: Vec<i32>,
}

/// Groups of a tap.
pub fn groups_of(depth: usize, group: usize) -> usize {
    depth.div_ceil(group)
}

/// How many groups of weights `[m][taps][depth]` are not zero.
pub fn kept<T: Copy + Default + PartialEq>(weights: &[T], depth: usize, group: usize) -> usize {
    let of_tap = |tap: &[T]| tap.chunks(group).filter(|g| g.iter().any(|&w| w != T::default())).count();
    weights.chunks_exact(depth).map(of_tap).sum()
}

/// Packs weights `[m][taps][depth]`. There is always one group at least, of zeros if need be.
///
/// # Panics
/// When the groups of a channel cannot be counted in 16 bits, `depth` or `group` is zero, a weight is -128, or `weights`
/// has another length.
pub fn pack(weights: &[i8], m: usize, taps: usize, depth: usize, group: usize) -> Lists {
    assert!(!weights.contains(&i8::MIN), "s8 weights must lie in [-127, 127]");
    assert_eq!(weights.len(), m * taps * depth, "weights must be [m][taps][depth]");
    let of_tap = groups_of(depth, group);
    let mut lists = Lists { weights: Vec::new(), indices: Vec::new(), ends: Vec::with_capacity(m) };
    for channel in weights.chunks_exact(taps * depth) {
        for (tap, weights) in channel.chunks_exact(depth).enumerate() {
            for (i, some) in weights.chunks(group).enumerate().filter(|(_, g)| g.iter().any(|&w| w != 0)) {
                let index = u16::try_from(tap * of_tap + i).expect("groups are counted in 16 bits");
                lists.indices.push(index);
                lists.weights.extend_from_slice(some);
                lists.weights.resize(lists.indices.len() * group, 0);
            }
        }
        lists.ends.push(lists.indices.len() as i32);
    }
    if lists.indices.is_empty() {
        lists.indices.push(0);
        lists.weights.resize(group, 0);
        lists.ends.iter_mut().for_each(|end| *end = 1);
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_are_not_zero_are_listed() {
        // Two channels, two taps of five inputs: groups 0 and 1 of tap 0, 2 and 3 of tap 1.
        let weights = [[0, 0, 0, 0, 7], [1, 0, 0, 2, 0], [0; 5], [0, 0, 0, 0, -3]].concat();
        let lists = pack(&weights, 2, 2, 5, 4);
        assert_eq!(lists.indices, [1, 2, 3]);
        assert_eq!(lists.weights, [7, 0, 0, 0, 1, 0, 0, 2, -3, 0, 0, 0]);
        assert_eq!(lists.ends, [2, 3]);
        assert_eq!(kept(&weights, 5, 4), 3);
        assert_eq!((kept(&weights, 5, 2), pack(&weights, 2, 2, 5, 2).indices), (4, vec![2, 3, 4, 5]));
    }

    #[test]
    fn nothing_is_one_group_of_zeros() {
        let lists = pack(&[0; 8], 2, 1, 4, 4);
        assert_eq!((lists.weights, lists.indices, lists.ends), (vec![0; 4], vec![0], vec![1, 1]));
    }
}
