//! How a product is cut into tiles, and these into blocks.

use std::ops::Range;

use super::geometry::Product;
use super::list::{LIST, Layout};
use super::micro::NR;
use super::setup::{Implementation, Setup, inputs, pixels};

/// Multiply-accumulates of a tile that is worth handing to another thread: some 50,000 cycles.
const TILE_MACS: usize = 1 << 20;

/// Fewest channels of a tile that copies its inputs.
const BLOCK_CHANNELS: usize = 96;

/// Fewest pixels of a tile while it has channels to give away: below, weights are read too often.
const MIN_PIXELS: usize = 48;

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
    /// Pixels that lie together: tiles are multiples of it.
    pub unit: usize,
    /// Pixels of a block.
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
        let whole = macs(pixels, channels).saturating_mul(s.groups);
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
                let least = if pixels < mr { TILE_MACS / 8 } else { TILE_MACS };
                (least.max(whole / s.tiles), block, BLOCK_CHANNELS)
            }
        };
        let fit = |fixed: usize| (tile / macs(fixed, 1)).max(1);
        let mut tile_channels = channels;
        let mut tile_pixels = fit(channels).next_multiple_of(unit).max(least).min(pixels);
        if macs(tile_pixels, channels) > 2 * tile {
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
        let channel_tiles = channels.div_ceil(tile_channels);
        if !matches!(s.by, Implementation::Rows(_))
            && !(pixel_tiles * channel_tiles * s.groups).is_multiple_of(s.threads)
        {
            // As many for each thread: of five, two threads would do three and two.
            let even = |down: &usize| (down * s.groups).is_multiple_of(s.threads);
            if pixel_tiles > 1 {
                pixel_tiles = pixel_tiles.next_multiple_of(s.threads).min(pixels.div_ceil(unit));
            } else if let Some(down) = (channel_tiles..=channels / few).find(even) {
                tile_channels = share(channels, channels.div_ceil(down), nr);
            }
        }
        Self {
            product,
            first_tile,
            first_panel,
            pixels,
            pixel_tiles,
            tile_channels,
            channel_tiles: channels.div_ceil(tile_channels),
            panel,
            call_channels: (s.span / panel.max(1) * NR).clamp(nr, tile_channels.max(nr)) / nr * nr,
            unit,
            lines: lines.is_some(),
            block_pixels: match s.by {
                Implementation::Block(_) => share(tile_pixels, block, unit).min(block),
                _ => (LIST / (s.slots(&product) * mr)).min(block / mr) * mr,
            },
            layout: Layout {
                mr,
                runs: s.runs(&product),
                slots: s.slots(&product),
                pointwise: product.is_pointwise(),
                interior: [product.rows.interior(), product.cols.interior()],
                output: if s.y.rank == 4 { [s.y.dims[1], s.y.dims[2]] } else { [1, product.cols.outputs] },
            },
        }
    }

    /// The pixels of a tile: even shares of the groups that are computed at once, of which the last may be smaller.
    pub fn pixels_of(&self, tile: usize) -> Range<usize> {
        let groups = self.pixels.div_ceil(self.unit);
        let start = |tile: usize| (tile * groups / self.pixel_tiles * self.unit).min(self.pixels);
        start(tile)..start(tile + 1)
    }

    pub fn tiles(&self, groups: usize) -> usize {
        self.pixel_tiles * self.channel_tiles * groups
    }
}
