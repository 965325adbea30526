//! Functions of s8 by a table of 256 entries.

use cygnet_format::op;
use cygnet_format::program::DType;

use crate::cpu::Features;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::{Mem, View};
use crate::walk::{TILE_ELEMENTS, Walk};

/// `y[i] = table[x[i] + 128]` of `n` elements; `y` may be `x`.
pub(crate) type Lookup = unsafe fn(x: *const i8, y: *mut i8, n: usize, table: *const i8);

/// Implementations, best first.
const ROWS: &[(&str, Features, Lookup)] = &[
    #[cfg(target_arch = "x86_64")]
    ("table_s8_avx512vbmi", Features::AVX512_VNNI, avx512),
    #[cfg(target_arch = "x86_64")]
    ("table_s8_avx2", Features::AVX2, avx2),
    #[cfg(target_arch = "aarch64")]
    ("table_s8_neon", Features::NEON, neon),
    ("table_s8_generic", Features::NONE, generic),
];

/// The lookup for a processor and its name: also the end of s8 epilogues.
pub(crate) fn lookup(cpu: crate::Cpu) -> (&'static str, Lookup) {
    let found = ROWS.iter().find(|&&(_, needs, _)| cpu.has(needs));
    found.map_or(("table_s8_generic", generic as Lookup), |&(name, _, run)| (name, run))
}

pub(crate) fn prepare(_: &op::Table, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.typed(0, DType::S8)?, cx.output());
    let table = cx.typed(1, DType::S8)?;
    cx.ensure(table.is_dense() && table.len() == 256, || {
        format!("the table must have 256 dense elements; it has {}", table.len())
    })?;
    cx.ensure(y.dtype == DType::S8, || format!("writes {} where s8 is needed", y.dtype.name()))?;
    super::same_dims(cx, &x, &y)?;
    let (name, run) = lookup(cx.cpu());
    let walk = Walk::of([&y, &x], cx.grain(y.len(), TILE_ELEMENTS));
    Ok(Box::new(Table { x, y, table, walk, name, run }))
}

struct Table {
    x: View,
    y: View,
    table: View,
    walk: Walk<2>,
    name: &'static str,
    run: Lookup,
}

// SAFETY: the walk stays inside the views; its tiles are disjoint in the output; the table has 256 entries.
unsafe impl Kernel for Table {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.walk.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        // SAFETY: `mem` is the memory of these views; runs lie inside them.
        self.walk.tile(tile, |[y, x], n| unsafe {
            (self.run)(
                self.x.ptr::<i8>(mem).add(x),
                self.y.ptr_mut::<i8>(mem).add(y),
                n,
                self.table.ptr(mem),
            );
        });
    }
}

unsafe fn generic(x: *const i8, y: *mut i8, n: usize, table: *const i8) {
    for i in 0..n {
        // SAFETY: i < n; x + 128 is in 0..256.
        unsafe { *y.add(i) = *table.add((i32::from(*x.add(i)) + 128) as usize) };
    }
}

/// Sixteen shuffles, each of the 16 entries of one high half of the index, of which four rounds of blends, one for each
/// bit of that half, choose.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(x: *const i8, y: *mut i8, n: usize, table: *const i8) {
    use std::arch::x86_64::*;
    /// Fewer are looked up one by one.
    const FEW: usize = 8;
    let whole = n - n % 32;
    // SAFETY: every access is below n, or in `rest`; the table has 256 entries.
    unsafe {
        if n < FEW {
            return generic(x, y, n, table);
        }
        let mut parts = [_mm256_setzero_si256(); 16];
        for (i, part) in parts.iter_mut().enumerate() {
            *part = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.add(16 * i).cast()));
        }
        let look_up = |v: __m256i| {
            // The top bit of a byte chooses in a blend: bits 7, 6, 5 and 4 of the index are brought there.
            let low = _mm256_and_si256(v, _mm256_set1_epi8(15));
            let index = _mm256_xor_si256(v, _mm256_set1_epi8(-128));
            let bits = [
                _mm256_slli_epi16::<3>(index),
                _mm256_slli_epi16::<2>(index),
                _mm256_slli_epi16::<1>(index),
                index,
            ];
            let mut found = parts;
            for found in &mut found {
                *found = _mm256_shuffle_epi8(*found, low);
            }
            for (round, bit) in bits.into_iter().enumerate() {
                for i in 0..8 >> round {
                    found[i] = _mm256_blendv_epi8(found[2 * i], found[2 * i + 1], bit);
                }
            }
            found[0]
        };
        for i in (0..whole).step_by(32) {
            let v = _mm256_loadu_si256(x.add(i).cast());
            _mm256_storeu_si256(y.add(i).cast(), look_up(v));
        }
        let (x, y, n) = (x.add(whole), y.add(whole), n - whole);
        if n < FEW {
            return generic(x, y, n, table);
        }
        let mut rest = [0_i8; 32];
        std::ptr::copy_nonoverlapping(x, rest.as_mut_ptr(), n);
        let v = look_up(_mm256_loadu_si256(rest.as_ptr().cast()));
        _mm256_storeu_si256(rest.as_mut_ptr().cast(), v);
        std::ptr::copy_nonoverlapping(rest.as_ptr(), y, n);
    }
}

/// Two lookups in 128 entries, of which the top bit of the index chooses.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn avx512(x: *const i8, y: *mut i8, n: usize, table: *const i8) {
    use std::arch::x86_64::*;
    // SAFETY: every access is below n; the table has 256 entries.
    unsafe {
        let part = |i: usize| _mm512_loadu_si512(table.add(64 * i).cast());
        // Indices are x + 128: negative x come first in the table.
        let (negative, positive) = ([part(0), part(1)], [part(2), part(3)]);
        let look_up = |v: __m512i| {
            let found = _mm512_permutex2var_epi8(positive[0], v, positive[1]);
            let other = _mm512_permutex2var_epi8(negative[0], v, negative[1]);
            _mm512_mask_mov_epi8(found, _mm512_movepi8_mask(v), other)
        };
        let whole = n / 64 * 64;
        for i in (0..whole).step_by(64) {
            let v = _mm512_loadu_si512(x.add(i).cast());
            _mm512_storeu_si512(y.add(i).cast(), look_up(v));
        }
        if whole < n {
            let mask = (1 << (n - whole)) - 1;
            let v = _mm512_maskz_loadu_epi8(mask, x.add(whole));
            _mm512_mask_storeu_epi8(y.add(whole), mask, look_up(v));
        }
    }
}

/// Four lookups in 64 entries: each yields 0 or leaves the lane where the index is not its own.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon(x: *const i8, y: *mut i8, n: usize, table: *const i8) {
    use std::arch::aarch64::*;
    let table_u8 = table.cast::<u8>();
    // SAFETY: 64 entries from each quarter of 256.
    let parts: [uint8x16x4_t; 4] = std::array::from_fn(|i| unsafe { vld1q_u8_x4(table_u8.add(64 * i)) });
    let whole = n - n % 16;
    let mut i = 0;
    while i < whole {
        // SAFETY: 16 elements from i on are within n.
        unsafe {
            let v = vld1q_u8(x.add(i).cast());
            let index = veorq_u8(v, vdupq_n_u8(128));
            let mut out = vqtbl4q_u8(parts[0], index);
            out = vqtbx4q_u8(out, parts[1], vsubq_u8(index, vdupq_n_u8(64)));
            out = vqtbx4q_u8(out, parts[2], vsubq_u8(index, vdupq_n_u8(128)));
            out = vqtbx4q_u8(out, parts[3], vsubq_u8(index, vdupq_n_u8(192)));
            vst1q_u8(y.add(i).cast(), out);
        }
        i += 16;
    }
    // SAFETY: the rest of n.
    unsafe { generic(x.add(whole), y.add(whole), n - whole, table) }
}
