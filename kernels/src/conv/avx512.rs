//! The innermost loops of AVX-512, for every element type: twelve pixels' inputs, each a run of 32-bit units in scratch,
//! meet panels of as many bits for each unit. A unit is one f32, or four bytes.
//!
//! They are assembly because compilers gather the loads of all pixels first, and run out of registers.

use std::arch::asm;
use std::arch::x86_64::*;

use super::micro::NR;

/// Pixels computed at once, with up to two pairs of panels.
pub(crate) const MR: usize = 12;

/// Pixels computed at once with three pairs of panels.
pub(crate) const MR_3: usize = 8;

/// Lanes of a register: two panels.
pub(crate) const LANES: usize = 2 * NR;

/// Sums of M pixels times P pairs of panels: 32-bit integers or f32.
pub(crate) type Sums<const M: usize, const P: usize> = [[__m512i; P]; M];

/// Bytes of a unit, and of a panel for each.
const UNIT: usize = 4;
const PANEL: usize = UNIT * NR;

/// Inputs and weights of a product.
#[derive(Clone, Copy)]
pub(crate) struct Run<const P: usize> {
    /// The first pixel's inputs, and bytes from a pixel to the next.
    pub a: *const u8,
    pub stride: usize,
    /// Each pair's panels; where the second is not there it is the first one again.
    pub w: [[*const u8; 2]; P],
    /// Units, at least 1.
    pub units: usize,
    /// Weights that are needed soon: [`AHEAD`] bytes are prefetched for each unit.
    pub ahead: *const u8,
}

/// Bytes prefetched for each unit: four tiles of pixels see to it that the next columns' weights are there.
pub(crate) const AHEAD: usize = PANEL;

/// Weights for [`Run::ahead`]: of `units` from `w` on in panels of `depth`, those behind P pairs, and of these the part
/// that tile number `tile` of pixels sees to.
pub(crate) fn ahead<const P: usize>(w: *const u8, depth: usize, units: usize, tile: usize) -> *const u8 {
    w.wrapping_add(2 * P * PANEL * depth + tile * AHEAD * units)
}

/// Of so many pixels that are left, those that are multiplied next, at most `most`: so that there are never few behind
/// others, since few sums wait for one another.
pub(crate) fn next(left: usize, most: usize) -> usize {
    match left {
        0..=8 => left,
        _ if left == most || left >= most + 4 => most,
        _ => left.div_ceil(2),
    }
}

/// What becomes of a unit of inputs, one of weights, and a sum.
pub(crate) trait Multiply {
    /// One step.
    ///
    /// # Safety
    /// AVX-512 F and VNNI are there.
    unsafe fn step(sum: __m512i, x: __m512i, w: __m512i) -> __m512i;
    /// All steps of twelve pixels times one pair of panels.
    ///
    /// # Safety
    /// The run's addresses are valid for its units; AVX-512 F, DQ, VL and VNNI are there.
    unsafe fn twelve_by_1(sums: &mut Sums<MR, 1>, run: &Run<1>);
    /// All steps of twelve pixels times two pairs.
    ///
    /// # Safety
    /// As above.
    unsafe fn twelve_by_2(sums: &mut Sums<MR, 2>, run: &Run<2>);
    /// All steps of twelve pixels times a pair and a single panel.
    ///
    /// # Safety
    /// As above.
    unsafe fn twelve_by_1_and_a_half(sums: &mut Sums<MR, 2>, run: &Run<2>);
    /// All steps of eight pixels times three pairs.
    ///
    /// # Safety
    /// As above.
    unsafe fn eight_by_3(sums: &mut Sums<MR_3, 3>, run: &Run<3>);
}

/// `sum + x * w`, f32, rounded once.
pub(crate) struct Fma;

/// `sum + sum of four x * w`, x of unsigned bytes, w of signed ones.
pub(crate) struct Dot;

/// Lanes of a register.
macro_rules! lanes {
    (zmm) => {
        "16"
    };
    (ymm) => {
        "8"
    };
}

/// The instructions of one pixel: its address, the register that its unit is repeated in, and one for each sum. An
/// operator that takes its inputs from memory repeats them by itself: without broadcasts, which take more than a cycle
/// of the load ports, fewer instructions are in flight, and loads run further ahead.
macro_rules! pixel {
    (from_memory, $address:literal, $x:literal, $op:literal, $($class:ident $sum:literal * $w:literal),+) => {
        concat!($(
            $op, " ", stringify!($class), $sum, ", ", stringify!($class), $w,
            ", dword ptr [", $address, "]{{1to", lanes!($class), "}}\n",
        )+)
    };
    (from_register, $address:literal, $x:literal, $op:literal, $($class:ident $sum:literal * $w:literal),+) => {
        concat!(
            "vbroadcastss zmm", $x, ", dword ptr [", $address, "]\n",
            $($op, " ", stringify!($class), $sum, ", ", stringify!($class), $x, ", ", stringify!($class), $w, "\n",)+
        )
    };
}

/// The end of a round: the pointers to every fourth pixel, and the distance to the end.
macro_rules! next {
    () => {
        "prefetcht1 [{ahead} + 8*{i}]\nadd {a0}, 4\nadd {a4}, 4\nadd {a8}, 4\nadd {i}, 4\njnz 2b\n"
    };
}

/// All steps of twelve pixels times a pair of panels, and of a second pair, or of the one panel that is there of it.
macro_rules! twelve_by_two {
    ($name:ident, $op:literal, $from:ident, $second:ident $(, $p3:ident)?) => {
        #[inline]
        #[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
        unsafe fn $name(sums: &mut Sums<MR, 2>, run: &Run<2>) {
            let [
                [s0, t0], [s1, t1], [s2, t2], [s3, t3], [s4, t4], [s5, t5], [s6, t6], [s7, t7], [s8, t8],
                [s9, t9], [s10, t10], [s11, t11],
            ] = sums;
            let (bytes, stride) = (run.units * UNIT, run.stride);
            let end = run.units * PANEL;
            let (p0, p1) = (run.w[0][0].wrapping_add(end), run.w[0][1].wrapping_add(end));
            let p2 = run.w[1][0].wrapping_add(end);
            $(let $p3 = run.w[1][1].wrapping_add(end);)?
            // SAFETY: the loop goes through the run's units, and no further.
            unsafe {
                asm!(
                    "2:",
                    "vmovups ymm24, ymmword ptr [{p0} + 8*{i}]",
                    "vmovups ymm25, ymmword ptr [{p2} + 8*{i}]",
                    "vinsertf32x8 zmm24, zmm24, ymmword ptr [{p1} + 8*{i}], 1",
                    $(concat!("vinsertf32x8 zmm25, zmm25, ymmword ptr [{", stringify!($p3), "} + 8*{i}], 1"),)?
                    pixel!($from, "{a0}", 28, $op, zmm 0 * 24, $second 12 * 25),
                    pixel!($from, "{a0} + {d}", 29, $op, zmm 1 * 24, $second 13 * 25),
                    pixel!($from, "{a0} + 2*{d}", 28, $op, zmm 2 * 24, $second 14 * 25),
                    pixel!($from, "{a0} + {d3}", 29, $op, zmm 3 * 24, $second 15 * 25),
                    pixel!($from, "{a4}", 28, $op, zmm 4 * 24, $second 16 * 25),
                    pixel!($from, "{a4} + {d}", 29, $op, zmm 5 * 24, $second 17 * 25),
                    pixel!($from, "{a4} + 2*{d}", 28, $op, zmm 6 * 24, $second 18 * 25),
                    pixel!($from, "{a4} + {d3}", 29, $op, zmm 7 * 24, $second 19 * 25),
                    pixel!($from, "{a8}", 28, $op, zmm 8 * 24, $second 20 * 25),
                    pixel!($from, "{a8} + {d}", 29, $op, zmm 9 * 24, $second 21 * 25),
                    pixel!($from, "{a8} + 2*{d}", 28, $op, zmm 10 * 24, $second 22 * 25),
                    pixel!($from, "{a8} + {d3}", 29, $op, zmm 11 * 24, $second 23 * 25),
                    next!(),
                    a0 = inout(reg) run.a => _,
                    a4 = inout(reg) run.a.wrapping_add(4 * stride) => _,
                    a8 = inout(reg) run.a.wrapping_add(8 * stride) => _,
                    i = inout(reg) bytes.wrapping_neg() => _,
                    ahead = in(reg) run.ahead.wrapping_add(run.units * AHEAD),
                    d = in(reg) stride, d3 = in(reg) 3 * stride,
                    p0 = in(reg) p0, p1 = in(reg) p1, p2 = in(reg) p2, $($p3 = in(reg) $p3,)?
                    inout("zmm0") *s0, inout("zmm1") *s1, inout("zmm2") *s2,
                    inout("zmm3") *s3, inout("zmm4") *s4, inout("zmm5") *s5,
                    inout("zmm6") *s6, inout("zmm7") *s7, inout("zmm8") *s8,
                    inout("zmm9") *s9, inout("zmm10") *s10, inout("zmm11") *s11,
                    inout("zmm12") *t0, inout("zmm13") *t1, inout("zmm14") *t2,
                    inout("zmm15") *t3, inout("zmm16") *t4, inout("zmm17") *t5,
                    inout("zmm18") *t6, inout("zmm19") *t7, inout("zmm20") *t8,
                    inout("zmm21") *t9, inout("zmm22") *t10, inout("zmm23") *t11,
                    out("zmm24") _, out("zmm25") _, out("zmm28") _, out("zmm29") _,
                    options(nostack, readonly),
                );
            }
        }
    };
}

macro_rules! multiply {
    ($type:ident, $op:literal, $from:ident, |$sum:ident, $x:ident, $w:ident| $step:expr) => {
        impl Multiply for $type {
            #[inline(always)]
            unsafe fn step($sum: __m512i, $x: __m512i, $w: __m512i) -> __m512i {
                // SAFETY: the caller's promise.
                unsafe { $step }
            }

            #[inline]
            #[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
            unsafe fn twelve_by_1(sums: &mut Sums<MR, 1>, run: &Run<1>) {
                let [[s0], [s1], [s2], [s3], [s4], [s5], [s6], [s7], [s8], [s9], [s10], [s11]] = sums;
                let (bytes, stride) = (run.units * UNIT, run.stride);
                let end = run.units * PANEL;
                let (p0, p1) = (run.w[0][0].wrapping_add(end), run.w[0][1].wrapping_add(end));
                // SAFETY: the loop goes through the run's units, and no further.
                unsafe {
                    asm!(
                        "2:",
                        "vmovups ymm24, ymmword ptr [{p0} + 8*{i}]",
                        "vinsertf32x8 zmm24, zmm24, ymmword ptr [{p1} + 8*{i}], 1",
                        pixel!($from, "{a0}", 28, $op, zmm 0 * 24),
                        pixel!($from, "{a0} + {d}", 29, $op, zmm 1 * 24),
                        pixel!($from, "{a0} + 2*{d}", 28, $op, zmm 2 * 24),
                        pixel!($from, "{a0} + {d3}", 29, $op, zmm 3 * 24),
                        pixel!($from, "{a4}", 28, $op, zmm 4 * 24),
                        pixel!($from, "{a4} + {d}", 29, $op, zmm 5 * 24),
                        pixel!($from, "{a4} + 2*{d}", 28, $op, zmm 6 * 24),
                        pixel!($from, "{a4} + {d3}", 29, $op, zmm 7 * 24),
                        pixel!($from, "{a8}", 28, $op, zmm 8 * 24),
                        pixel!($from, "{a8} + {d}", 29, $op, zmm 9 * 24),
                        pixel!($from, "{a8} + 2*{d}", 28, $op, zmm 10 * 24),
                        pixel!($from, "{a8} + {d3}", 29, $op, zmm 11 * 24),
                        next!(),
                        a0 = inout(reg) run.a => _,
                        a4 = inout(reg) run.a.wrapping_add(4 * stride) => _,
                        a8 = inout(reg) run.a.wrapping_add(8 * stride) => _,
                        i = inout(reg) bytes.wrapping_neg() => _,
                        ahead = in(reg) run.ahead.wrapping_add(run.units * AHEAD),
                        d = in(reg) stride, d3 = in(reg) 3 * stride,
                        p0 = in(reg) p0, p1 = in(reg) p1,
                        inout("zmm0") *s0, inout("zmm1") *s1, inout("zmm2") *s2,
                        inout("zmm3") *s3, inout("zmm4") *s4, inout("zmm5") *s5,
                        inout("zmm6") *s6, inout("zmm7") *s7, inout("zmm8") *s8,
                        inout("zmm9") *s9, inout("zmm10") *s10, inout("zmm11") *s11,
                        out("zmm24") _, out("zmm28") _, out("zmm29") _,
                        options(nostack, readonly),
                    );
                }
            }

            twelve_by_two!(twelve_by_2, $op, $from, zmm, p3);
            twelve_by_two!(twelve_by_1_and_a_half, $op, $from, ymm);

            #[inline]
            #[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
            unsafe fn eight_by_3(sums: &mut Sums<MR_3, 3>, run: &Run<3>) {
                let [
                    [s0, t0, u0], [s1, t1, u1], [s2, t2, u2], [s3, t3, u3], [s4, t4, u4], [s5, t5, u5],
                    [s6, t6, u6], [s7, t7, u7],
                ] = sums;
                let (bytes, stride) = (run.units * UNIT, run.stride);
                let end = run.units * PANEL;
                let (p0, p1) = (run.w[0][0].wrapping_add(end), run.w[0][1].wrapping_add(end));
                let (p2, p3) = (run.w[1][0].wrapping_add(end), run.w[1][1].wrapping_add(end));
                let (p4, p5) = (run.w[2][0].wrapping_add(end), run.w[2][1].wrapping_add(end));
                // SAFETY: the loop goes through the run's units, and no further.
                unsafe {
                    asm!(
                        "2:",
                        "vmovups ymm24, ymmword ptr [{p0} + 8*{i}]",
                        "vmovups ymm25, ymmword ptr [{p2} + 8*{i}]",
                        "vmovups ymm26, ymmword ptr [{p4} + 8*{i}]",
                        "vinsertf32x8 zmm24, zmm24, ymmword ptr [{p1} + 8*{i}], 1",
                        "vinsertf32x8 zmm25, zmm25, ymmword ptr [{p3} + 8*{i}], 1",
                        "vinsertf32x8 zmm26, zmm26, ymmword ptr [{p5} + 8*{i}], 1",
                        pixel!($from, "{a0}", 28, $op, zmm 0 * 24, zmm 8 * 25, zmm 16 * 26),
                        pixel!($from, "{a0} + {d}", 29, $op, zmm 1 * 24, zmm 9 * 25, zmm 17 * 26),
                        pixel!($from, "{a0} + 2*{d}", 28, $op, zmm 2 * 24, zmm 10 * 25, zmm 18 * 26),
                        pixel!($from, "{a0} + {d3}", 29, $op, zmm 3 * 24, zmm 11 * 25, zmm 19 * 26),
                        pixel!($from, "{a4}", 28, $op, zmm 4 * 24, zmm 12 * 25, zmm 20 * 26),
                        pixel!($from, "{a4} + {d}", 29, $op, zmm 5 * 24, zmm 13 * 25, zmm 21 * 26),
                        pixel!($from, "{a4} + 2*{d}", 28, $op, zmm 6 * 24, zmm 14 * 25, zmm 22 * 26),
                        pixel!($from, "{a4} + {d3}", 29, $op, zmm 7 * 24, zmm 15 * 25, zmm 23 * 26),
                        "prefetcht1 [{ahead} + 8*{i}]\nadd {a0}, 4\nadd {a4}, 4\nadd {i}, 4\njnz 2b",
                        a0 = inout(reg) run.a => _,
                        a4 = inout(reg) run.a.wrapping_add(4 * stride) => _,
                        i = inout(reg) bytes.wrapping_neg() => _,
                        ahead = in(reg) run.ahead.wrapping_add(run.units * AHEAD),
                        d = in(reg) stride, d3 = in(reg) 3 * stride,
                        p0 = in(reg) p0, p1 = in(reg) p1, p2 = in(reg) p2, p3 = in(reg) p3,
                        p4 = in(reg) p4, p5 = in(reg) p5,
                        inout("zmm0") *s0, inout("zmm1") *s1, inout("zmm2") *s2, inout("zmm3") *s3,
                        inout("zmm4") *s4, inout("zmm5") *s5, inout("zmm6") *s6, inout("zmm7") *s7,
                        inout("zmm8") *t0, inout("zmm9") *t1, inout("zmm10") *t2, inout("zmm11") *t3,
                        inout("zmm12") *t4, inout("zmm13") *t5, inout("zmm14") *t6, inout("zmm15") *t7,
                        inout("zmm16") *u0, inout("zmm17") *u1, inout("zmm18") *u2, inout("zmm19") *u3,
                        inout("zmm20") *u4, inout("zmm21") *u5, inout("zmm22") *u6, inout("zmm23") *u7,
                        out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm28") _, out("zmm29") _,
                        options(nostack, readonly),
                    );
                }
            }
        }
    };
}

multiply!(Fma, "vfmadd231ps", from_memory, |sum, x, w| _mm512_castps_si512(_mm512_fmadd_ps(
    _mm512_castsi512_ps(x),
    _mm512_castsi512_ps(w),
    _mm512_castsi512_ps(sum)
)));
multiply!(Dot, "vpdpbusd", from_register, |sum, x, w| _mm512_dpbusd_epi32(sum, x, w));

/// Adds the products of M pixels and P pairs of panels.
///
/// # Safety
/// The run's addresses are valid for its units; AVX-512 F, DQ, VL and VNNI are there.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vnni")]
pub(crate) unsafe fn multiply<O: Multiply, const M: usize, const P: usize>(
    sums: &mut Sums<M, P>,
    run: &Run<P>,
) {
    // SAFETY: the caller's promise; the types that are cast are the same where M and P are those of the callee.
    unsafe {
        if M == MR && P == 1 {
            return O::twelve_by_1(&mut *(&raw mut *sums).cast(), &*(&raw const *run).cast());
        }
        if M == MR && P == 2 && run.w[P - 1][0] == run.w[P - 1][1] {
            return O::twelve_by_1_and_a_half(&mut *(&raw mut *sums).cast(), &*(&raw const *run).cast());
        }
        if M == MR && P == 2 {
            return O::twelve_by_2(&mut *(&raw mut *sums).cast(), &*(&raw const *run).cast());
        }
        if M == MR_3 && P == 3 {
            return O::eight_by_3(&mut *(&raw mut *sums).cast(), &*(&raw const *run).cast());
        }
        let mut c = *sums;
        for unit in 0..run.units {
            // Two units' are a line.
            if unit % 2 == 0 {
                _mm_prefetch::<_MM_HINT_T1>(run.ahead.wrapping_add(unit * AHEAD).cast());
            }
            let mut w = [_mm512_setzero_si512(); P];
            for p in 0..P {
                w[p] = pair(run.w[p], unit * PANEL);
            }
            for i in 0..M {
                let x = run.a.add(i * run.stride + unit * UNIT);
                let x = _mm512_set1_epi32(x.cast::<i32>().read_unaligned());
                for p in 0..P {
                    c[i][p] = O::step(c[i][p], x, w[p]);
                }
            }
        }
        *sums = c;
    }
}

/// A unit's weights of two panels, `at` bytes from where they begin.
///
/// # Safety
/// A panel's unit can be read at each.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn pair(w: [*const u8; 2], at: usize) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let low = _mm512_castsi256_si512(_mm256_loadu_si256(w[0].add(at).cast()));
        _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(w[1].add(at).cast()))
    }
}

/// Four registers' numbers, `zero_point` added, within bounds that are whole numbers of s8, as bytes: one register's
/// after the other's. Narrowing saturates.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn narrow(v: [__m512i; 4], zero_point: i32, lo: f32, hi: f32) -> __m512i {
    let zero_point = _mm512_set1_epi16(zero_point as i16);
    let low = _mm512_adds_epi16(_mm512_packs_epi32(v[0], v[1]), zero_point);
    let high = _mm512_adds_epi16(_mm512_packs_epi32(v[2], v[3]), zero_point);
    // Each 128 bits hold four bytes of each register.
    let v = _mm512_max_epi8(_mm512_packs_epi16(low, high), _mm512_set1_epi8(lo as i8));
    let v = _mm512_min_epi8(v, _mm512_set1_epi8(hi as i8));
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(order, v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_that_there_are_and_none_is_small_behind_others() {
        for most in [MR_3, MR] {
            for pixels in 1..=100 {
                let mut left = pixels;
                while left > 0 {
                    let count = next(left, most);
                    assert!((1..=8).contains(&count) || count == most, "{count} of {left}");
                    assert!(count >= 4 || left == pixels, "{count} at the end of {pixels}");
                    left -= count;
                }
            }
        }
    }
}
