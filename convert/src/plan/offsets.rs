//! Offsets in the arena.

/// A piece of memory that is needed from one step to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Bytes, what may be read past the end included.
    pub bytes: usize,
    /// First step that touches it.
    pub first: usize,
    /// Last step that touches it.
    pub last: usize,
}

impl Buffer {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Where buffers lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Offset of each buffer.
    pub offsets: Vec<usize>,
    /// Bytes of the arena.
    pub bytes: usize,
    /// The most that buffers of any one step take together: no placement can do with less.
    pub lower_bound: usize,
}

/// Places each buffer at the lowest offset that is free while it is needed, in several orders, and takes the best.
/// Offsets are multiples of `align`. Greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep
/// Neural Net Inference", 2020.
pub fn place(buffers: &[Buffer], align: usize) -> Placement {
    let lower_bound = lower_bound(buffers, align);
    let mut best: Option<Placement> = None;
    let orders: [Key; 4] = [
        |b| (usize::MAX - b.bytes, b.first),
        |b| (b.first, usize::MAX - b.bytes),
        |b| (usize::MAX - (b.last - b.first), usize::MAX - b.bytes),
        |b| (usize::MAX - b.bytes.saturating_mul(b.last - b.first + 1), b.first),
    ];
    let crowded = crowded_first(buffers);
    let sorted = orders.iter().map(|key| {
        let mut order: Vec<usize> = (0..buffers.len()).collect();
        order.sort_by_key(|&i| (key(&buffers[i]), i));
        order
    });
    let mut best_order = Vec::new();
    for order in sorted.chain([crowded]) {
        let (offsets, bytes) = greedy(buffers, &order, align);
        if best.as_ref().is_none_or(|b| bytes < b.bytes) {
            best = Some(Placement { offsets, bytes, lower_bound });
            best_order = order;
        }
    }
    let best = best.unwrap_or(Placement { offsets: Vec::new(), bytes: 0, lower_bound });
    improve(buffers, align, best, best_order)
}

/// Tries other orders near the best one, each with one buffer moved, until the lower bound is met or
/// [`TRIES`] have not met it. The same on every machine.
fn improve(buffers: &[Buffer], align: usize, mut best: Placement, mut order: Vec<usize>) -> Placement {
    // Numerical Recipes' linear congruential generator: any sequence would do.
    let mut state = 1_u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for _ in 0..TRIES {
        if best.bytes <= best.lower_bound {
            break;
        }
        let mut tried = order.clone();
        let moved = tried.remove(below(order.len()));
        tried.insert(below(order.len()), moved);
        let (offsets, bytes) = greedy(buffers, &tried, align);
        if bytes <= best.bytes {
            best = Placement { offsets, bytes, ..best };
            order = tried;
        }
    }
    best
}

/// Orders tried where no rule of thumb meets the lower bound.
const TRIES: usize = 2000;

/// What buffers are sorted by: least first.
type Key = fn(&Buffer) -> (usize, usize);

fn lower_bound(buffers: &[Buffer], align: usize) -> usize {
    let steps = buffers.iter().map(|b| b.last + 1).max().unwrap_or(0);
    (0..steps)
        .map(|i| {
            let alive = buffers.iter().filter(|b| (b.first..=b.last).contains(&i));
            alive.map(|b| b.bytes.next_multiple_of(align)).sum()
        })
        .max()
        .unwrap_or(0)
}

/// Buffers of the most crowded steps first.
fn crowded_first(buffers: &[Buffer]) -> Vec<usize> {
    let steps = buffers.iter().map(|b| b.last + 1).max().unwrap_or(0);
    let load: Vec<usize> = (0..steps)
        .map(|i| buffers.iter().filter(|b| (b.first..=b.last).contains(&i)).map(|b| b.bytes).sum())
        .collect();
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| {
        let b = &buffers[i];
        let most = load[b.first..=b.last].iter().copied().max().unwrap_or(0);
        (usize::MAX - most, usize::MAX - b.bytes, i)
    });
    order
}

fn greedy(buffers: &[Buffer], order: &[usize], align: usize) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut total = 0;
    for &i in order {
        let b = &buffers[i];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| buffers[j].meets(b))
            .map(|&j| (offsets[j], offsets[j] + buffers[j].bytes))
            .collect();
        taken.sort_unstable();
        // The tightest gap that holds the buffer, else the end.
        let (mut at, mut best) = (0_usize, None::<(usize, usize)>);
        for (start, end) in taken {
            let gap = start.saturating_sub(at);
            if gap >= b.bytes && best.is_none_or(|(g, _)| gap < g) {
                best = Some((gap, at));
            }
            at = at.max(end.next_multiple_of(align));
        }
        offsets[i] = best.map_or(at, |(_, at)| at);
        total = total.max(offsets[i] + b.bytes);
        placed.push(i);
    }
    (offsets, total.next_multiple_of(align))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: usize, first: usize, last: usize) -> Buffer {
        Buffer { bytes, first, last }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let chain = [buffer(128, 0, 1), buffer(64, 1, 2), buffer(128, 2, 3), buffer(64, 3, 4)];
        let p = place(&chain, 64);
        assert_eq!((p.bytes, p.lower_bound), (192, 192));
    }

    #[test]
    fn buffers_that_live_together_do_not_overlap() {
        let buffers: Vec<Buffer> =
            (0..60).map(|i| buffer(64 + (i * 37 % 11) * 100, i * 7 % 40, i * 7 % 40 + i % 9)).collect();
        let p = place(&buffers, 64);
        assert!(p.bytes >= p.lower_bound);
        for (i, a) in buffers.iter().enumerate() {
            assert!(p.offsets[i].is_multiple_of(64) && p.offsets[i] + a.bytes <= p.bytes);
            for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                let apart = p.offsets[i] + a.bytes <= p.offsets[j] || p.offsets[j] + b.bytes <= p.offsets[i];
                assert!(!a.meets(b) || apart, "{a:?} at {} and {b:?} at {}", p.offsets[i], p.offsets[j]);
            }
        }
    }
}
