//! f32 and f16 by lists, on every instruction set: eight channels at a time, two pixels at once.
//!
//! f16 operands are widened to f32; the clamped result is rounded once.

use super::list::{Micro, Run};
use super::pack;
use crate::cpu::Cpu;
use crate::simd::{Elem, Isa, LANES, V8, isa_name, load_part, per_isa, store_part};

/// The implementation for a processor and its name.
pub(super) fn choose<T: Elem>(cpu: Cpu) -> (&'static str, Micro) {
    let isa = Isa::of(cpu);
    let name = if size_of::<T>() == 4 {
        isa_name!(isa, "depthwise_f32_8c")
    } else {
        isa_name!(isa, "depthwise_f16_8c")
    };
    (name, pick::<T>(isa))
}

per_isa! {
    fn pick[T: Elem](r: &Run) = run
}

#[inline(always)]
unsafe fn run<V: V8, T: Elem>(r: &Run) {
    // SAFETY: the caller's promise; TAPS is their number, or zero for any.
    unsafe {
        match r.taps {
            9 => groups::<V, T, 9>(r),
            _ => groups::<V, T, 0>(r),
        }
    }
}

/// Every group of channels, its weights kept in registers when TAPS is not zero.
#[inline(always)]
unsafe fn groups<V: V8, T: Elem, const TAPS: usize>(r: &Run) {
    let padded = pack::padded_channels(r.channels);
    for first in (0..r.channels).step_by(LANES) {
        let n = LANES.min(r.channels - first);
        // SAFETY: weights, biases and addresses are there for the padded channels, the taps and the pixels.
        unsafe {
            let w = r.w.cast::<T>().add(first);
            let mut held = [V::splat(0.0); TAPS];
            for t in 0..TAPS {
                held[t] = T::load::<V>(w.add(t * padded));
            }
            let group = Group { r, first, n, w, padded, held };
            let mut pixel = 0;
            while pixel + 2 <= r.pixels {
                pixels::<V, T, TAPS, 2>(&group, pixel);
                pixel += 2;
            }
            if pixel < r.pixels {
                pixels::<V, T, TAPS, 1>(&group, pixel);
            }
        }
    }
}

struct Group<'a, V, T, const TAPS: usize> {
    r: &'a Run,
    first: usize,
    n: usize,
    w: *const T,
    padded: usize,
    held: [V; TAPS],
}

#[inline(always)]
unsafe fn pixels<V: V8, T: Elem, const TAPS: usize, const P: usize>(g: &Group<'_, V, T, TAPS>, pixel: usize) {
    let r = g.r;
    // SAFETY: as in `groups`; n channels are read of each address and written of each pixel.
    unsafe {
        let mut sums = [V::load(r.bias.cast::<f32>().add(g.first)); P];
        let taps = if TAPS > 0 { TAPS } else { r.taps };
        for t in 0..taps {
            let w = if TAPS > 0 { g.held[t] } else { T::load::<V>(g.w.add(t * g.padded)) };
            for p in 0..P {
                let x = (*r.a.add((pixel + p) * taps + t)).cast::<T>().add(g.first);
                let x = if g.n == LANES {
                    T::load::<V>(x)
                } else {
                    load_part(x, g.n, T::default(), T::load::<V>)
                };
                sums[p] = x.fma(w, sums[p]);
            }
        }
        for p in 0..P {
            let v = V::splat(r.hi).min(V::splat(r.lo).max(sums[p]));
            let y = r.y.add((pixel + p) * r.y_pitch).cast::<T>().add(g.first);
            if g.n == LANES { T::store(v, y) } else { store_part(v, y, g.n, T::store::<V>) }
        }
    }
}
