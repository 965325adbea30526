//! Blocks of weights whose products can be summed in 16 bits.
//!
//! A lane holds one weight of each block; its product with an input of -128 is the largest. Consecutive blocks whose
//! weights in each lane do not exceed 255 in magnitude in all are a stretch: no sum of their products leaves 16 bits.

use crate::conv::micro::{KB_S8, NR};

/// Most magnitudes of a lane of a stretch: 256 times -128 times a negative weight would be 2^15.
const MOST: u16 = 255;

/// Most blocks of a stretch.
const LONGEST: u8 = 4;

/// Bytes of a block.
const BLOCK: usize = NR * KB_S8;

/// The stretches of some panels. They end where taps do.
#[derive(Clone, Debug)]
pub struct Stretches {
    /// Blocks of each stretch, in the order of the weights; one more in the end, since readers look ahead.
    sizes: Vec<u8>,
    /// For each panel the first of its stretches.
    starts: Vec<u32>,
    /// Whether some channel has several weights of -128, so that no two blocks may be summed in 16 bits unasked.
    pub(crate) crowded: bool,
}

impl Stretches {
    /// Of no panels.
    pub const NONE: Self = Self { sizes: Vec::new(), starts: Vec::new(), crowded: false };

    /// Adds those of a panel of `taps` taps.
    pub(crate) fn push(&mut self, panel: &[u8], taps: usize) {
        self.sizes.pop();
        self.starts.push(self.sizes.len() as u32);
        for tap in panel.chunks_exact((panel.len() / taps.max(1)).max(1)) {
            let (mut sums, mut taken) = ([0; BLOCK], 0);
            for block in tap.as_chunks::<BLOCK>().0 {
                let magnitudes = block.map(|w| u16::from(w.cast_signed().unsigned_abs()));
                let mut next = sums;
                next.iter_mut().zip(magnitudes).for_each(|(sum, w)| *sum += w);
                if taken > 0 && (taken == LONGEST || next.iter().any(|&sum| sum > MOST)) {
                    self.sizes.push(taken);
                    (next, taken) = (magnitudes, 0);
                }
                (sums, taken) = (next, taken + 1);
            }
            self.sizes.push(taken);
        }
        self.sizes.push(0);
    }

    /// The sizes of a panel's stretches, and one byte more; null if there are no stretches.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn of(&self, panel: usize) -> *const u8 {
        self.starts.get(panel).map_or(std::ptr::null(), |&start| self.sizes[start as usize..].as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panel of one tap, of which channel 3 has these weights as the second of each block.
    fn panel(weights: &[i8]) -> Vec<u8> {
        let mut panel = vec![0; weights.len() * BLOCK];
        for (i, w) in weights.iter().enumerate() {
            panel[i * BLOCK + 3 * KB_S8 + 1] = w.cast_unsigned();
        }
        panel
    }

    #[test]
    fn stretches_are_as_long_as_sixteen_bits_allow() {
        let mut s = Stretches::NONE;
        s.push(&panel(&[127, -127, 1, 1, 1, 100, 100, 100]), 1);
        s.push(&panel(&[0; 9]), 1);
        s.push(&panel(&[1, 1, 1, 1, 1, 1]), 2);
        assert_eq!(s.sizes, [3, 4, 1, 4, 4, 1, 3, 3, 0]);
        assert_eq!(s.starts, [0, 3, 6]);
    }
}
