//! How a product is cut into tiles, and these into blocks.

use std::ops::Range;

use super::geometry::Product;
use super::list::Layout;
use super::micro::NR;
use super::regions::Region;
use super::setup::{Implementation, Setup, inputs, pixels};

/// Multiply-accumulates of a tile that is worth handing to another thread where there is much to do: some 50,000 cycles.
const TILE_MACS: usize = 1 << 20;

/// Fewest channels of a tile that copies its inputs, where there is much to do.
const BLOCK_CHANNELS: usize = 96;

/// What a tile does beside its channels' products, in channels: it copies or lists its inputs.
const TILE_CHANNELS: usize = 8;

/// Fewest pixels of a tile while it has channels to give away: below, weights are read too often.
const MIN_PIXELS: usize = 48;

/// Multiply-accumulates of a tile that is worth a wait of threads for each other.
fn worth(s: &Setup) -> usize {
    match s.by {
        Implementation::Rows(_) | Implementation::Panels(_) => TILE_MACS / 4,
        // They do some hundreds a cycle of bytes, and some tens of reals.
        Implementation::Block(_) => TILE_MACS / 2 / s.x.dtype.size(),
    }
}

/// How many tiles the output channels of each of some groups are cut into, for pixels that are not: those of least time,
/// at most `most`, of multiples of `nr` channels.
fn parts(channels: usize, nr: usize, groups: usize, threads: usize, most: usize) -> usize {
    let time = |&parts: &usize| {
        let tile = channels.div_ceil(parts).next_multiple_of(nr);
        let rounds = (channels.div_ceil(tile) * groups).div_ceil(threads);
        // In eighths of a tile: threads do not run alike, and the last one is so much late.
        (8 * rounds + threads - 1) * (tile + TILE_CHANNELS)
    };
    (1..=most).min_by_key(time).unwrap_or(1)
}

/// What the tiles of some pixels are multiples of: what is computed at once, or a third of it where that evens the tiles
/// out by more than the smaller ends cost.
fn grain(pixels: usize, tiles: usize, mr: usize) -> usize {
    let time = |&grain: &usize| {
        let longest = pixels.div_ceil(grain).div_ceil(tiles) * grain;
        // In tenths of a row of pixels, of which one comes with each end.
        let end = longest % mr;
        10 * (longest - end) + if end > 0 { 9 * end + mr } else { 0 }
    };
    [mr, mr.div_ceil(3)].into_iter().min_by_key(time).unwrap_or(mr)
}

/// A product with its place in the tile grid.
pub(super) struct Plan {
    pub product: Product,
    /// Index of its first tile, and of its first panel.
    pub first_tile: usize,
    pub first_panel: usize,
    pub pixels: usize,
    pub pixel_tiles: usize,
    pub tile_channels: usize,
    pub channel_tiles: usize,
    /// Bytes of one panel.
    pub panel: usize,
    /// Output channels of one call of the microkernel.
    pub call_channels: usize,
    /// Tiles are multiples of so many pixels, but for the last one.
    pub grain: usize,
    /// Most pixels of a block.
    pub block_pixels: usize,
    /// Whether blocks copy their inputs as [`lines`].
    pub lines: bool,
    pub layout: Layout,
}

impl Plan {
    pub fn new(s: &Setup, product: Product, [first_tile, first_panel]: [usize; 2]) -> Self {
        let pixels = pixels(s, &product);
        let channels = s.channels();
        let k = inputs(s, &product);
        let panel = k * NR * s.x.dtype.size();
        let (mr, nr) = (s.by.mr(), s.by.nr());
        let lines = s.lines(&product);
        // From here on, `unit` pixels lie together.
        let [unit, block] = lines.unwrap_or([mr, s.by.pixels(k)]);
        let macs = |pixels: usize, channels: usize| pixels.saturating_mul(channels).saturating_mul(k.max(1));
        // Channels of a call that are not there take as long as others. One thread does what is there in one go.
        let all = if s.threads > 1 { channels.next_multiple_of(nr) } else { channels };
        let whole = macs(pixels, all).saturating_mul(s.groups);
        // First fewer pixels, down to `least`; then fewer channels, down to `few`.
        let (tile, least, few) = match s.by {
            Implementation::Rows(_) => (TILE_MACS, MIN_PIXELS.next_multiple_of(mr), nr),
            // A tile lists its pixels by itself.
            Implementation::Panels(_) => {
                (TILE_MACS.max(whole / s.tiles), MIN_PIXELS.next_multiple_of(mr), 2 * nr)
            }
            // A tile copies its inputs by itself, which is as much work as a few channels; for few pixels it is the
            // weights that take the time.
            Implementation::Block(_) => {
                let least = if pixels < mr { TILE_MACS / 8 } else { worth(s) };
                (least.max(whole / s.tiles), block, BLOCK_CHANNELS)
            }
        };
        let fit = |fixed: usize| (tile / macs(fixed, 1)).max(1);
        let mut tile_channels = channels;
        let mut tile_pixels = fit(all).next_multiple_of(unit).max(least).min(pixels);
        if macs(tile_pixels, all) > 2 * tile {
            tile_channels = fit(tile_pixels).max(few).next_multiple_of(nr).min(channels);
        }
        // Even shares: no tile is a small rest.
        let share = |total: usize, part: usize, unit: usize| {
            total.div_ceil(total.div_ceil(part)).next_multiple_of(unit)
        };
        if tile_pixels < pixels {
            tile_pixels = share(pixels, tile_pixels, unit);
        }
        if tile_channels < channels {
            tile_channels = share(channels, tile_channels, nr);
        }
        let mut pixel_tiles = pixels.div_ceil(tile_pixels);
        if s.threads > 1 && pixel_tiles == 1 {
            let most = (whole / worth(s)).min(channels.div_ceil(nr));
            let parts = parts(channels, nr, s.groups, s.threads, most);
            tile_channels = share(channels, channels.div_ceil(parts), nr);
        }
        let channel_tiles = channels.div_ceil(tile_channels);
        if pixel_tiles > 1 && !(pixel_tiles * channel_tiles * s.groups).is_multiple_of(s.threads) {
            // As many for each thread: of five, two threads would do three and two.
            pixel_tiles = pixel_tiles.next_multiple_of(s.threads).min(pixels.div_ceil(unit));
        }
        Self {
            product,
            first_tile,
            first_panel,
            pixels,
            pixel_tiles,
            tile_channels,
            channel_tiles,
            panel,
            call_channels: (s.span / panel.max(1) * NR).clamp(nr, tile_channels.max(nr)) / nr * nr,
            grain: if lines.is_some() || s.threads == 1 { unit } else { grain(pixels, pixel_tiles, mr) },
            lines: lines.is_some(),
            block_pixels: match s.by {
                Implementation::Block(_) => share(tile_pixels, block, unit).min(block),
                // As many as their list has room for.
                _ => usize::MAX,
            },
            layout: Layout {
                mr,
                runs: s.runs(&product),
                slots: s.slots(&product),
                pointwise: product.is_pointwise(),
                regions: match &s.regions[..] {
                    [] => vec![Region::whole(&product, s.batch)],
                    regions => regions.to_vec(),
                },
                output: if s.y.rank == 4 { [s.y.dims[1], s.y.dims[2]] } else { [1, product.cols.outputs] },
            },
        }
    }

    /// The pixels of a tile: even shares of groups of `grain`, of which the last may be smaller.
    pub fn pixels_of(&self, tile: usize) -> Range<usize> {
        let groups = self.pixels.div_ceil(self.grain);
        let start = |tile: usize| (tile * groups / self.pixel_tiles * self.grain).min(self.pixels);
        start(tile)..start(tile + 1)
    }

    pub fn tiles(&self, groups: usize) -> usize {
        self.pixel_tiles * self.channel_tiles * groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_go_evenly_to_tiles() {
        // 64 and 64; of whole dozens 60 and 68 would be left.
        assert_eq!(grain(128, 2, 12), 4);
        // 96 and 100.
        assert_eq!(grain(196, 2, 12), 4);
        // Six dozen each; and of four dozen less one, two each: thirds would even out nothing.
        assert_eq!(grain(144, 2, 12), 12);
        assert_eq!(grain(47, 2, 12), 12);
        assert_eq!(grain(5, 2, 1), 1);
    }

    #[test]
    fn channels_go_evenly_to_threads() {
        // Ten times 32 channels: five times for each of two threads.
        assert_eq!(parts(320, 32, 1, 2, 10), 2);
        // 96 and 64; not three tiles of 64 and 32, two for one thread.
        assert_eq!(parts(160, 32, 1, 2, 5), 2);
        assert_eq!(parts(64, 32, 1, 2, 2), 2);
        // Two of 64 for each of four threads, which do not run alike; and no more than are worth it.
        assert_eq!(parts(512, 32, 1, 4, 16), 8);
        assert_eq!(parts(512, 32, 1, 4, 4), 4);
        // Groups are tiles already.
        assert_eq!(parts(16, 8, 4, 4, 2), 1);
        assert_eq!(parts(64, 32, 1, 2, 0), 1);
    }
}
