//! Images sampled at computed places: [`Op::Sample`](cygnet_format::op::Op::Sample).
//!
//! The taps of a place and their weights are found once, then all channels are mixed by vectors.

use cygnet_format::op::{self, Outside, SampleKind};
use cygnet_format::program::DType;

use crate::kernel::{Context, Kernel, PrepareError};
use crate::simd::{Elem, F16, Isa, LANES, V8, isa_name, load_some, per_isa, store_part};
use crate::view::{Mem, View};

/// Products that are worth a tile.
const TILE_PRODUCTS: usize = 32_768;

/// Coordinates are kept within this of zero: far outside of any image, and exact as integers.
const FAR: f32 = 1_048_576.0;

/// Parameter of Keys' cubic convolution.
const KEYS: f32 = -0.75;

/// Most taps along a dimension.
const TAPS: usize = 4;

pub(crate) fn prepare(p: &op::Sample, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, at, y) = (cx.input(0)?, cx.typed(1, DType::F32)?, cx.output());
    cx.ensure(x.rank == 4, || format!("samples {:?}; images [N, H, W, C] are needed", x.dims()))?;
    cx.ensure(x.dtype == y.dtype, || format!("samples {} into {}", x.dtype.name(), y.dtype.name()))?;
    let outer = |v: &View| v.dims()[..v.rank.saturating_sub(1)].to_vec();
    let fits = at.rank > 0 && at.cols() == 3 && y.rank == at.rank && outer(&at) == outer(&y);
    cx.ensure(fits && y.cols() == x.cols(), || {
        format!("places {:?} in {:?} do not give {:?}", at.dims(), x.dims(), y.dims())
    })?;
    let isa = Isa::of(cx.cpu());
    let (name, mix) = match x.dtype {
        DType::F32 => (isa_name!(isa, "sample_f32"), pick::<f32>(isa)),
        DType::F16 => (isa_name!(isa, "sample_f16"), pick::<F16>(isa)),
        other => return Err(cx.error(format!("of {} is not defined", other.name()))),
    };
    let taps = match p.kind {
        SampleKind::Nearest => 1,
        SampleKind::Linear => 2,
        SampleKind::Cubic => TAPS,
    };
    let places_per_tile = (TILE_PRODUCTS / (x.cols() * taps * taps)).max(1);
    Ok(Box::new(Sample { x, at, y, kind: p.kind, outside: p.outside, taps, places_per_tile, name, mix }))
}

/// Mixes `n` channels of `taps * taps` pixels at `pixels`, null for zeros.
type Mix = unsafe fn(pixels: *const *const u8, taps: usize, weights: *const f32, y: *mut u8, n: usize);

struct Sample {
    x: View,
    at: View,
    y: View,
    kind: SampleKind,
    outside: Outside,
    taps: usize,
    places_per_tile: usize,
    name: &'static str,
    mix: Mix,
}

/// The index of a pixel along a dimension of extent `n`, or of what stands for it; `None` for zero.
fn pixel(i: i64, n: usize, outside: Outside) -> Option<usize> {
    let n = n as i64;
    if (0..n).contains(&i) {
        return Some(i as usize);
    }
    let at = match outside {
        Outside::Zero => return None,
        Outside::Edge => i.clamp(0, n - 1),
        Outside::Symmetric => {
            let r = i.rem_euclid(2 * n);
            r.min(2 * n - 1 - r)
        }
        Outside::Reflect if n == 1 => 0,
        Outside::Reflect => {
            let r = i.rem_euclid(2 * n - 2);
            r.min(2 * n - 2 - r)
        }
    };
    Some(at as usize)
}

/// Keys' cubic at a distance of at most 1, and of 1 to 2.
fn near(d: f32) -> f32 {
    (KEYS + 2.0).mul_add(d, -(KEYS + 3.0)).mul_add(d * d, 1.0)
}

fn far(d: f32) -> f32 {
    KEYS.mul_add(d, -5.0 * KEYS).mul_add(d, 8.0 * KEYS).mul_add(d, -4.0 * KEYS)
}

/// Where the taps around a coordinate begin, and their weights.
fn taps(v: f32, kind: SampleKind) -> (i64, [f32; TAPS]) {
    let v = if v > -FAR { v } else { -FAR };
    let v = if v < FAR { v } else { FAR };
    match kind {
        SampleKind::Nearest => (v.round_ties_even() as i64, [1.0, 0.0, 0.0, 0.0]),
        SampleKind::Linear => {
            let f = v - v.floor();
            (v.floor() as i64, [1.0 - f, f, 0.0, 0.0])
        }
        SampleKind::Cubic => {
            let f = v - v.floor();
            (v.floor() as i64 - 1, [far(f + 1.0), near(f), near(1.0 - f), far(2.0 - f)])
        }
    }
}

// SAFETY: pixels are inside the image by `pixel`, images by clamping; a tile writes its own places.
unsafe impl Kernel for Sample {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.y.rows().div_ceil(self.places_per_tile)
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let first = tile * self.places_per_tile;
        let last = (first + self.places_per_tile).min(self.y.rows());
        let [_, height, width, ..] = self.x.dims;
        let size = self.x.dtype.size();
        let n = self.taps;
        for place in first..last {
            // SAFETY: `place` is a row of the places and of the output; images, rows and columns are inside `x`.
            unsafe {
                let at = self.at.ptr::<f32>(mem).add(place * self.at.pitch);
                let image = (*at).round_ties_even().clamp(0.0, (self.x.dims[0] - 1) as f32);
                let image = if image >= 0.0 { image as usize } else { 0 };
                let (top, down) = taps(*at.add(1), self.kind);
                let (left, across) = taps(*at.add(2), self.kind);
                let mut pixels = [std::ptr::null(); TAPS * TAPS];
                for r in 0..n {
                    let Some(row) = pixel(top + r as i64, height, self.outside) else { continue };
                    for c in 0..n {
                        let Some(column) = pixel(left + c as i64, width, self.outside) else { continue };
                        let at = ((image * height + row) * width + column) * self.x.pitch * size;
                        pixels[r * n + c] = self.x.ptr::<u8>(mem).add(at);
                    }
                }
                let mut weights = [0.0; 2 * TAPS];
                weights[..TAPS].copy_from_slice(&down);
                weights[TAPS..].copy_from_slice(&across);
                let y = self.y.ptr_mut::<u8>(mem).add(place * self.y.pitch * size);
                (self.mix)(pixels.as_ptr(), n, weights.as_ptr(), y, self.y.cols());
            }
        }
    }
}

per_isa! {
    fn pick[T: Elem](pixels: *const *const u8, taps: usize, weights: *const f32, y: *mut u8, n: usize) = mix
}

#[inline(always)]
unsafe fn mix<V: V8, T: Elem>(
    pixels: *const *const u8,
    taps: usize,
    weights: *const f32,
    y: *mut u8,
    n: usize,
) {
    let y = y.cast::<T>();
    for i in (0..n).step_by(LANES) {
        let part = LANES.min(n - i);
        // SAFETY: `part` channels from i on are within each pixel and the output; there are `taps * taps` pixels, and
        // weights of as many rows and columns.
        unsafe {
            let load = |at: usize| {
                let p = *pixels.add(at);
                if p.is_null() { V::splat(0.0) } else { load_some::<V, T>(p.cast::<T>().add(i), part) }
            };
            let v = if taps == 1 {
                load(0)
            } else {
                let mut v = V::splat(0.0);
                for r in 0..taps {
                    let mut h = V::splat(0.0);
                    for c in 0..taps {
                        h = V::splat(*weights.add(TAPS + c)).fma(load(r * taps + c), h);
                    }
                    v = V::splat(*weights.add(r)).fma(h, v);
                }
                v
            };
            if part == LANES { T::store(v, y.add(i)) } else { store_part(v, y.add(i), part, T::store) }
        }
    }
}

pub mod oracle {
    //! The definition, channel by channel, of f32.

    use cygnet_format::op::{Outside, SampleKind};

    use super::{pixel, taps};

    /// Channel `c` of `x` `[n, h, w, channels]` at a place (image, row, column).
    pub fn sample(
        x: &[f32],
        [n, h, w, channels]: [usize; 4],
        at: [f32; 3],
        c: usize,
        kind: SampleKind,
        outside: Outside,
    ) -> f32 {
        let image = if at[0].is_nan() { 0.0 } else { at[0].round_ties_even().clamp(0.0, (n - 1) as f32) };
        let (top, down) = taps(at[1], kind);
        let (left, across) = taps(at[2], kind);
        let element = |row: i64, column: i64| -> f32 {
            match (pixel(row, h, outside), pixel(column, w, outside)) {
                (Some(r), Some(k)) => x[((image as usize * h + r) * w + k) * channels + c],
                _ => 0.0,
            }
        };
        let count = match kind {
            SampleKind::Nearest => return element(top, left),
            SampleKind::Linear => 2,
            SampleKind::Cubic => 4,
        };
        let mut v = 0.0;
        for r in 0..count {
            let mut h = 0.0;
            for k in 0..count {
                h = across[k].mul_add(element(top + r as i64, left + k as i64), h);
            }
            v = down[r].mul_add(h, v);
        }
        v
    }
}
