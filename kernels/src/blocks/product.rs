//! Rows times panels of weights in blocks, on every instruction set.

use cygnet_format::op::BlockKind;

use super::pack::{BLOCK, PANEL};
use crate::simd::{Isa, MAX_LANES, V8, per_isa};

/// Most rows at once.
pub(super) const ROWS: usize = 4;

/// Some rows, and panels one after another.
pub(super) struct Job {
    /// Of each row, `k` numbers.
    pub x: [*const f32; ROWS],
    /// Where each row's first result goes.
    pub y: [*mut f32; ROWS],
    /// How many rows.
    pub rows: usize,
    /// Products of each sum.
    pub k: usize,
    /// Results of each row.
    pub columns: usize,
    /// The panels, each this many bytes behind the last.
    pub weights: *const u8,
    pub panel_bytes: usize,
    /// For each panel, 16 scales for each block.
    pub scales: *const u16,
    /// For each panel, 16.
    pub bias: *const f32,
    pub lo: f32,
    pub hi: f32,
}

/// Does a job.
///
/// # Safety
/// All that the job names can be read, and its results written.
pub(super) type Run = unsafe fn(job: &Job);

/// The implementation for an instruction set.
pub(super) fn pick(isa: Isa, kind: BlockKind) -> Run {
    match kind {
        BlockKind::Int8 => pick_bits::<Byte>(isa),
        BlockKind::Int4 => pick_bits::<Nibble>(isa),
    }
}

/// How numbers lie in a panel.
trait Bits {
    /// Consecutive products in 16 bytes.
    const EACH: usize;

    /// The numbers of these products, for as many lanes as there are from `p` on.
    ///
    /// # Safety
    /// A register's bytes can be read.
    unsafe fn load<V: V8>(p: *const u8) -> [V; 2];
}

struct Byte;

impl Bits for Byte {
    const EACH: usize = 1;

    #[inline(always)]
    unsafe fn load<V: V8>(p: *const u8) -> [V; 2] {
        // SAFETY: the caller's promise.
        let v = V::from_i32(unsafe { V::load_s8(p.cast()) });
        [v, v]
    }
}

struct Nibble;

impl Bits for Nibble {
    const EACH: usize = 2;

    #[inline(always)]
    unsafe fn load<V: V8>(p: *const u8) -> [V; 2] {
        // SAFETY: the caller's promise.
        let pair = unsafe { V::load_u8(p) };
        let number = |v: V::I| V::from_i32(V::isub(v, V::isplat(8)));
        [number(V::iand(pair, V::isplat(15))), number(V::sar::<4>(pair))]
    }
}

per_isa! {
    wide fn pick_bits[B: Bits](job: &Job) = run
}

#[inline(always)]
unsafe fn run<V: V8, B: Bits>(job: &Job) {
    let panels = job.columns.div_ceil(PANEL);
    let mut panel = 0;
    // SAFETY: panels are those of the job.
    unsafe {
        match (job.rows, V::LANES == PANEL) {
            // Several panels at once: the sums of one would wait for one another.
            (1, true) => {
                while panel + 8 <= panels {
                    some::<V, B, 1, 8>(job, panel);
                    panel += 8;
                }
            }
            (1, false) => {
                while panel + 4 <= panels {
                    some::<V, B, 1, 4>(job, panel);
                    panel += 4;
                }
            }
            (_, true) => {
                while panel + 2 <= panels {
                    rows::<V, B, 2>(job, panel);
                    panel += 2;
                }
            }
            _ => {}
        }
        while panel < panels {
            rows::<V, B, 1>(job, panel);
            panel += 1;
        }
    }
}

#[inline(always)]
unsafe fn rows<V: V8, B: Bits, const P: usize>(job: &Job, panel: usize) {
    // SAFETY: as the caller vouches.
    unsafe {
        match job.rows {
            1 => some::<V, B, 1, P>(job, panel),
            2 => some::<V, B, 2, P>(job, panel),
            3 => some::<V, B, 3, P>(job, panel),
            _ => some::<V, B, 4, P>(job, panel),
        }
    }
}

/// A register or two for each of `P` panels and `R` rows.
type Sums<V, const R: usize, const P: usize> = [[[V; R]; 2]; P];

/// `R` rows times `P` panels from `first` on.
///
/// # Safety
/// The job has them.
#[inline(always)]
unsafe fn some<V: V8, B: Bits, const R: usize, const P: usize>(job: &Job, first: usize) {
    let parts = PANEL / V::LANES;
    let blocks = job.k.div_ceil(BLOCK);
    // SAFETY: each panel has 16 biases, 16 scales for each block and its weights; each row `k` numbers.
    unsafe {
        let mut sums: Sums<V, R, P> = [[[V::splat(0.0); R]; 2]; P];
        for p in 0..P {
            for part in 0..parts {
                sums[p][part] = [V::load(job.bias.add((first + p) * PANEL + part * V::LANES)); R];
            }
        }
        for block in 0..blocks {
            let t = one_block::<V, B, R, P>(job, first, block * BLOCK);
            for p in 0..P {
                for part in 0..parts {
                    let at = ((first + p) * blocks + block) * PANEL + part * V::LANES;
                    let scale = V::load_f16(job.scales.add(at));
                    for r in 0..R {
                        sums[p][part][r] = t[p][part][r].fma(scale, sums[p][part][r]);
                    }
                }
            }
        }
        let (lo, hi) = (V::splat(job.lo), V::splat(job.hi));
        for p in 0..P {
            for part in 0..parts {
                let at = (first + p) * PANEL + part * V::LANES;
                for r in 0..R {
                    store(sums[p][part][r].clamp(lo, hi), job.y[r], at, job.columns);
                }
            }
        }
    }
}

/// The sums of a block's products from `k` on, without the scale.
///
/// # Safety
/// As [`some`]; `k` is the start of a block.
#[inline(always)]
unsafe fn one_block<V: V8, B: Bits, const R: usize, const P: usize>(
    job: &Job,
    first: usize,
    k: usize,
) -> Sums<V, R, P> {
    let end = job.k.min(k + BLOCK);
    let whole = end - (end - k) % B::EACH;
    let mut t: Sums<V, R, P> = [[[V::splat(0.0); R]; 2]; P];
    let mut at = k;
    // SAFETY: as the caller vouches.
    unsafe {
        while at < whole {
            step::<V, B, R, P>(job, first, at, B::EACH, &mut t);
            at += B::EACH;
        }
        if at < end {
            step::<V, B, R, P>(job, first, at, 1, &mut t);
        }
    }
    t
}

/// Adds `count` products from `k` on, those of 16 bytes of each panel.
///
/// # Safety
/// As [`some`].
#[inline(always)]
unsafe fn step<V: V8, B: Bits, const R: usize, const P: usize>(
    job: &Job,
    first: usize,
    k: usize,
    count: usize,
    t: &mut Sums<V, R, P>,
) {
    let parts = PANEL / V::LANES;
    // SAFETY: as the caller vouches.
    unsafe {
        let weights = job.weights.add(first * job.panel_bytes + k / B::EACH * PANEL);
        let mut x = [[V::splat(0.0); R]; 2];
        for which in 0..count {
            for r in 0..R {
                x[which][r] = V::splat(*job.x[r].add(k + which));
            }
        }
        for p in 0..P {
            for part in 0..parts {
                let q = B::load::<V>(weights.add(p * job.panel_bytes + part * V::LANES));
                for which in 0..count {
                    for r in 0..R {
                        t[p][part][r] = x[which][r].fma(q[which], t[p][part][r]);
                    }
                }
            }
        }
    }
}

/// Writes the lanes that lie before `end`, from `at` on.
///
/// # Safety
/// `end` numbers can be written.
#[inline(always)]
unsafe fn store<V: V8>(v: V, y: *mut f32, at: usize, end: usize) {
    // SAFETY: no more than `end - at` numbers are written.
    unsafe {
        if at + V::LANES <= end {
            v.store(y.add(at));
        } else if at < end {
            let lanes: [f32; MAX_LANES] = v.lanes();
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), y.add(at), end - at);
        }
    }
}
