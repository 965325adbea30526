//! The end of every s8 product on aarch64: sums that include the bias, requantized and stored.
//!
//! What [`super::requantize`] computes, with fewer instructions, in one of some [`Mode`]s; in one of them sums stay as they
//! are. Numbers around [`MAGIC`] are the integers, so that adding it to a product rounds that to an integer, to nearest
//! even, whose low bits are those of the sum.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::conv::micro::NR;
use crate::conv::residual::Constants;
use crate::conv::s8::Bound;

/// 1.5 * 2^23: f32 from 2/3 to 4/3 of it are the integers there, and their bits count up with them.
pub(crate) const MAGIC: f32 = 12_582_912.0;

/// How sums are made results; a constant parameter of what does it.
pub(crate) type Mode = u8;

/// Any sums. Products are clamped as the definition says, after which they are at most 255 in magnitude.
pub(crate) const ANY: Mode = 0;

/// Sums below 2^22 in magnitude, products below 2^15, as [`super::bound`] proves: the bits of a sum that started at those
/// of [`MAGIC`] are those of MAGIC plus the sum as f32, which saves a conversion. Rounding, saturation to 16 bits when
/// the zero point is added, and to 8 bits, come before the clamping: bounds are integers, so that the result is the
/// same.
pub(crate) const SMALL: Mode = 1;

/// As [`SMALL`], with an even zero point and bounds that 8 bits have anyway: the zero point is a part of the MAGIC that
/// rounds. That it is even leaves ties where they are.
pub(crate) const PLAIN: Mode = 2;

/// Sums are the results, as they are; or what makes results of them and of something that is added gets them so.
pub(crate) const SUMS: Mode = 3;

/// Something is added before results are rounded: [`Added`] makes them, of sums that are in registers.
pub(crate) const ADDED: Mode = 4;

/// As [`PLAIN`], but for sums that are any.
pub(crate) const NEAR: Mode = 5;

/// As [`ADDED`], of which the end is that of [`PLAIN`].
pub(crate) const ADDED_NEAR: Mode = 6;

/// The mode for sums of which so much is known.
pub(crate) fn mode(bound: Bound, output: Output) -> Mode {
    match (bound, is_plain(output)) {
        (Bound::Sums, true) => PLAIN,
        (Bound::Sums, false) => SMALL,
        (Bound::Products, true) => NEAR,
        _ => ANY,
    }
}

/// The mode for sums that something is added to.
pub(crate) fn mode_added(bound: Bound, output: Output) -> Mode {
    if bound >= Bound::Products && is_plain(output) { ADDED_NEAR } else { ADDED }
}

/// Whether the zero point can be a part of the MAGIC that rounds, and saturation clamps.
fn is_plain(output: Output) -> bool {
    output.lo <= -128.0 && output.hi >= 127.0 && output.zero_point % 2 == 0
}

/// What sums of a mode start at in place of these biases.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn start<const MODE: Mode>(bias: int32x4_t) -> int32x4_t {
    if MODE != SMALL && MODE != PLAIN {
        bias
    } else {
        vaddq_s32(bias, vreinterpretq_s32_f32(vdupq_n_f32(MAGIC)))
    }
}

/// The bounds and the zero point of a step's output.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub lo: f32,
    pub hi: f32,
    pub zero_point: i32,
}

/// Loads a register again: where sums start, that costs less than a copy.
///
/// # Safety
/// Four numbers can be read.
#[inline(always)]
pub(crate) unsafe fn again(p: *const i32) -> int32x4_t {
    let v;
    // SAFETY: the caller's promise. Not pure, or one load would serve for all.
    unsafe {
        asm!("ldr {0:q}, [{1}]", out(vreg) v, in(reg) p, options(readonly, nostack, preserves_flags));
    }
    v
}

/// `$v[$i][$half] = $result` for all pixels and halves of a panel.
macro_rules! each_of {
    ($v:ident $i:ident $half:ident $result:expr) => {
        for $i in 0..M {
            for $half in 0..2 {
                $v[$i][$half] = $result;
            }
        }
        apart(&mut $v);
    };
}

/// The low halves of what MAGIC has been added to.
#[inline]
#[target_feature(enable = "neon")]
fn words<const M: usize>(v: [[float32x4_t; 2]; M]) -> [int16x8_t; M] {
    let mut words = [vdupq_n_s16(0); M];
    for i in 0..M {
        words[i] = vuzp1q_s16(vreinterpretq_s16_f32(v[i][0]), vreinterpretq_s16_f32(v[i][1]));
    }
    words
}

/// The bytes of words that are results less their zero point, modulo 256: results are in range. Two pixels at a time.
#[inline]
#[target_feature(enable = "neon")]
fn bytes<const M: usize>(words: [int16x8_t; M], zero_point: i32) -> [int8x8_t; M] {
    let mut bytes = [vdup_n_s8(0); M];
    for i in (0..M).step_by(2) {
        let next = (i + 1).min(M - 1);
        let v = vuzp1q_s8(vreinterpretq_s8_s16(words[i]), vreinterpretq_s8_s16(words[next]));
        let both = vaddq_s8(v, vdupq_n_s8(zero_point as i8));
        bytes[next] = vget_high_s8(both);
        bytes[i] = vget_low_s8(both);
    }
    bytes
}

/// A panel's requantization where something is added before results are rounded, as [`crate::conv::residual`] says.
#[derive(Clone, Copy)]
pub(crate) struct Added {
    pub multiplier: [float32x4_t; 2],
    pub constants: Constants,
}

impl Added {
    /// For the panel whose first multiplier is at `multiplier`.
    ///
    /// # Safety
    /// Eight multipliers can be read.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) unsafe fn new(constants: &Constants, multiplier: *const f32) -> Self {
        // SAFETY: the caller's promise.
        let multiplier = unsafe { [vld1q_f32(multiplier), vld1q_f32(multiplier.add(4))] };
        Self { multiplier, constants: *constants }
    }

    /// Eight results of each of M pixels, `r` being added to them.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn results<const M: usize>(
        &self,
        sums: [[int32x4_t; 2]; M],
        r: [int8x8_t; M],
    ) -> [int8x8_t; M] {
        let Constants { lo, hi, zero_point, .. } = self.constants;
        let mut v = self.values(sums, r);
        let zero = zero_point as f32;
        each_of!(v i half vmaxq_f32(v[i][half], vdupq_n_f32(lo - zero)));
        each_of!(v i half vminq_f32(v[i][half], vdupq_n_f32(hi - zero)));
        each_of!(v i half vaddq_f32(v[i][half], vdupq_n_f32(MAGIC)));
        bytes(words(v), zero_point)
    }

    /// The same in mode [`ADDED_NEAR`].
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn near<const M: usize>(&self, sums: [[int32x4_t; 2]; M], r: [int8x8_t; M]) -> [int8x8_t; M] {
        let mut v = self.values(sums, r);
        let rounds = vdupq_n_f32(MAGIC + self.constants.zero_point as f32);
        each_of!(v i half vaddq_f32(v[i][half], rounds));
        let (words, mut bytes) = (words(v), [vdup_n_s8(0); M]);
        for i in 0..M {
            bytes[i] = vqmovn_s16(words[i]);
        }
        bytes
    }

    /// Products, and what is added to them.
    #[inline]
    #[target_feature(enable = "neon")]
    fn values<const M: usize>(&self, sums: [[int32x4_t; 2]; M], r: [int8x8_t; M]) -> [[float32x4_t; 2]; M] {
        let Constants { scale, zero, .. } = self.constants;
        let magic = vdupq_n_f32(MAGIC);
        let mut v = [[magic; 2]; M];
        each_of!(v i half vcvtq_f32_s32(sums[i][half]));
        each_of!(v i half vmulq_f32(v[i][half], self.multiplier[half]));
        // Addends less their zero point as f32: put, above 0, into the lowest bits of 2^23.
        const INTEGERS: f32 = 8_388_608.0;
        let upper = vdupq_n_s16((INTEGERS.to_bits() >> 16) as i16);
        let (above, below) = (vdupq_n_s16(256 - zero as i16), vdupq_n_f32(INTEGERS + 256.0));
        for i in 0..M {
            let words = vaddw_s8(above, r[i]);
            for (v, r) in v[i].iter_mut().zip([vzip1q_s16(words, upper), vzip2q_s16(words, upper)]) {
                *v = vfmaq_n_f32(*v, vsubq_f32(vreinterpretq_f32_s16(r), below), scale);
            }
        }
        v
    }
}

/// A panel's requantization.
#[derive(Clone, Copy)]
pub(crate) struct Finish<const MODE: Mode> {
    pub multiplier: [float32x4_t; 2],
    pub output: Output,
}

impl<const MODE: Mode> Finish<MODE> {
    /// For the panel whose first multiplier is at `multiplier`.
    ///
    /// # Safety
    /// Eight multipliers can be read, unless sums are the results.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) unsafe fn new(output: Output, multiplier: *const f32) -> Self {
        let multiplier = if matches!(MODE, SUMS | ADDED | ADDED_NEAR) {
            [vdupq_n_f32(0.0); 2]
        } else {
            // SAFETY: the caller's promise.
            unsafe { [vld1q_f32(multiplier), vld1q_f32(multiplier.add(4))] }
        };
        Self { multiplier, output }
    }

    /// Eight results of each of M pixels.
    ///
    /// Step by step for all of them: that gives cores that issue in order something to do until a result is there.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn results<const M: usize>(&self, sums: [[int32x4_t; 2]; M]) -> [int8x8_t; M] {
        let magic = vdupq_n_f32(MAGIC);
        let Output { lo, hi, zero_point } = self.output;
        let zero = zero_point as f32;
        let mut v = [[magic; 2]; M];
        macro_rules! each {
            ($i:ident $half:ident $result:expr) => { each_of!(v $i $half $result) };
        }
        if MODE == ANY || MODE == NEAR {
            each!(i half vcvtq_f32_s32(sums[i][half]));
        } else {
            each!(i half vsubq_f32(vreinterpretq_f32_s32(sums[i][half]), magic));
        }
        each!(i half vmulq_f32(v[i][half], self.multiplier[half]));
        if MODE == ANY {
            each!(i half vmaxq_f32(v[i][half], vdupq_n_f32(lo - zero)));
            each!(i half vminq_f32(v[i][half], vdupq_n_f32(hi - zero)));
        }
        let plain = MODE == PLAIN || MODE == NEAR;
        let rounds = if plain { vdupq_n_f32(MAGIC + zero) } else { magic };
        each!(i half vaddq_f32(v[i][half], rounds));
        let mut words = words(v);
        if MODE == SMALL {
            for i in 0..M {
                words[i] = vqaddq_s16(words[i], vdupq_n_s16(zero_point as i16));
            }
        }
        if MODE == ANY {
            return bytes(words, zero_point);
        }
        let mut bytes = [vdup_n_s8(0); M];
        if plain {
            for i in 0..M {
                bytes[i] = vqmovn_s16(words[i]);
            }
            return bytes;
        }
        // Two pixels at a time.
        for i in (0..M).step_by(2) {
            let next = (i + 1).min(M - 1);
            let v = vqmovn_high_s16(vqmovn_s16(words[i]), words[next]);
            let both = vminq_s8(vmaxq_s8(v, vdupq_n_s8(lo as i8)), vdupq_n_s8(hi as i8));
            bytes[next] = vget_high_s8(both);
            bytes[i] = vget_low_s8(both);
        }
        bytes
    }

    /// Requantizes sums of M pixels, from pixel 0 on, and stores the first `columns` of the panel's, at most all.
    ///
    /// # Safety
    /// At each of M addresses, `offset` bytes further, there is room for `columns` results. They may overlap: pixels are
    /// stored in order.
    #[inline(always)] // Else sums would go through memory.
    pub(crate) unsafe fn store<const M: usize>(
        self,
        sums: [[int32x4_t; 2]; M],
        y: *const *mut u8,
        offset: usize,
        columns: usize,
    ) {
        if MODE == SUMS {
            for i in 0..M {
                // SAFETY: the caller's promise; every aarch64 core has Advanced SIMD.
                unsafe {
                    let to = (*y.add(i)).add(offset).cast::<i32>();
                    if columns >= NR {
                        vst1q_s32(to, sums[i][0]);
                        vst1q_s32(to.add(4), sums[i][1]);
                        continue;
                    }
                    let mut some = [0; NR];
                    vst1q_s32(some.as_mut_ptr(), sums[i][0]);
                    vst1q_s32(some.as_mut_ptr().add(4), sums[i][1]);
                    std::ptr::copy_nonoverlapping(some.as_ptr(), to, columns);
                }
            }
            return;
        }
        if columns < NR {
            // A copy: what is referred to goes through memory.
            let some = sums;
            // SAFETY: the caller's promise.
            return unsafe { self.store_some(&some, y, offset, columns) };
        }
        // SAFETY: there are M addresses, each with the room; every aarch64 core has Advanced SIMD.
        unsafe {
            let mut to: [_; M] = std::array::from_fn(|i| *y.add(i));
            early(&mut to);
            for (to, v) in to.into_iter().zip(self.results(sums)) {
                vst1_s8(to.add(offset).cast(), v);
            }
        }
    }

    /// As [`Self::store`], of less than all columns. Apart from it, so that it costs no registers there.
    ///
    /// # Safety
    /// As [`Self::store`].
    #[cold]
    #[inline(never)]
    unsafe fn store_some<const M: usize>(
        self,
        sums: &[[int32x4_t; 2]; M],
        y: *const *mut u8,
        offset: usize,
        columns: usize,
    ) {
        // SAFETY: as in `store`.
        unsafe {
            for (i, v) in self.results(*sums).into_iter().enumerate() {
                let mut bytes = [0; NR];
                vst1_s8(bytes.as_mut_ptr(), v);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), (*y.add(i)).add(offset).cast(), columns);
            }
        }
    }
}

/// Keeps the addresses of four pixels from being loaded when they are needed.
#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "it looks at no memory")]
pub(crate) fn early<const M: usize>(to: &mut [*mut u8; M]) {
    if let [a, b, c, d] = &mut to[..] {
        // SAFETY: there is no instruction.
        unsafe {
            asm!(
                "/* {0} {1} {2} {3} */",
                inout(reg) * a,
                inout(reg) * b,
                inout(reg) * c,
                inout(reg) * d,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
}

/// Keeps what made the values of four pixels apart, in the code, from what is made of them.
#[inline(always)] // Else values would go through memory.
fn apart<const M: usize>(v: &mut [[float32x4_t; 2]; M]) {
    if let [[a, b], [c, d], [e, f], [g, h]] = &mut v[..] {
        // SAFETY: there is no instruction.
        unsafe {
            asm!(
                "/* {0:v} {1:v} {2:v} {3:v} {4:v} {5:v} {6:v} {7:v} */",
                inout(vreg) * a,
                inout(vreg) * b,
                inout(vreg) * c,
                inout(vreg) * d,
                inout(vreg) * e,
                inout(vreg) * f,
                inout(vreg) * g,
                inout(vreg) * h,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
}
