//! The inner loop for cores that issue instructions in order (A53, A55): eight pixels times one panel.
//!
//! One pass takes eight bytes of each row and 64 bytes of weights: two blocks of four s8 inputs, two inputs in f32, four
//! in f16. Each of the four registers of weights meets one lane of each row, in ascending order of k. Between the
//! products stands what goes beside them:
//!
//! - Loads of 8 bytes, for one of 16 stops these cores for two cycles: an A55 does them in the shadow of a product. A
//!   register of weights is put together from a vector load, an integer load and INS; the pair INS, vector load is
//!   what an A53 issues in one cycle.
//! - Each register is loaded again after its last use, at least as far ahead as the load takes, the second half of the
//!   weights in the pass that uses them, the rest for the next pass. In the last pass, which has no next one, the step
//!   is 0 and its own operands are read again.

use std::arch::aarch64::*;
use std::arch::asm;

/// Eight products: `$mac` of sums `$s0`..`$s7`, weights `$w` and each row's `$lane`; after each what goes beside it.
macro_rules! column {
    ($mac:literal $sum:literal $from:literal, $w:literal, $lane:literal,
     [$s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal],
     $b0:literal $b1:literal $b2:literal $b3:literal $b4:literal $b5:literal $b6:literal $b7:literal) => {
        concat!(
            column!(@ $mac $sum $from, $w, "v0", $lane, $s0, $b0),
            column!(@ $mac $sum $from, $w, "v1", $lane, $s1, $b1),
            column!(@ $mac $sum $from, $w, "v2", $lane, $s2, $b2),
            column!(@ $mac $sum $from, $w, "v3", $lane, $s3, $b3),
            column!(@ $mac $sum $from, $w, "v4", $lane, $s4, $b4),
            column!(@ $mac $sum $from, $w, "v5", $lane, $s5, $b5),
            column!(@ $mac $sum $from, $w, "v6", $lane, $s6, $b6),
            column!(@ $mac $sum $from, $w, "v7", $lane, $s7, $b7),
        )
    };
    (@ $mac:literal $sum:literal $from:literal, $w:literal, $x:literal, $lane:literal, $s:literal, $beside:literal) => {
        concat!($mac, " ", $s, $sum, ", ", $w, $from, ", ", $x, $lane, "\n", $beside, "\n")
    };
}

/// The loop. `$sums` are the registers of sums that each register of weights adds to, and `$reg`, `$value` all of them.
macro_rules! passes {
    ($a:ident, $w:ident, $passes:ident, $mac:literal $sum:literal $from:literal,
     $lane0:literal $sums0:tt, $lane1:literal $sums1:tt, $lane2:literal $sums2:tt, $lane3:literal $sums3:tt,
     $($reg:tt $value:expr),+) => {
        asm!(
            "ldr {upper}, [{w}, #8]",
            "ldr d24, [{w}]",
            "ldr {next}, [{w}, #24]",
            "ldr d25, [{w}, #16]",
            "ldr d0, [{a0}]",
            "ldr d1, [{a1}]",
            "ins v24.d[1], {upper}",
            "ldr d2, [{a2}]",
            "ldr d3, [{a3}]",
            "ins v25.d[1], {next}",
            "ldr d4, [{a4}]",
            "ldr d5, [{a5}]",
            "ldr d6, [{a6}]",
            "ldr d7, [{a7}]",
            "2:",
            column!($mac $sum $from, "v24", $lane0, $sums0,
                "subs {passes}, {passes}, #1" "ldr {upper}, [{w}, #40]" "ldr d26, [{w}, #32]"
                "ldr {next}, [{w}, #56]" "csel {step}, {eight}, xzr, ne" "" ""
                "ldr d27, [{w}, #48]\n ins v26.d[1], {upper}"),
            column!($mac $sum $from, "v25", $lane1, $sums1,
                "add {w}, {w}, {step}, lsl #3" "ldr {upper}, [{w}, #8]" "" ""
                "ldr d24, [{w}]\n ins v27.d[1], {next}" "ldr {next}, [{w}, #24]" "add {at}, {at}, {step}" ""),
            column!($mac $sum $from, "v26", $lane2, $sums2,
                "" "ldr d25, [{w}, #16]\n ins v24.d[1], {upper}" "" "" "" "" "" "ins v25.d[1], {next}"),
            column!($mac $sum $from, "v27", $lane3, $sums3,
                "ldr d0, [{a0}, {at}]" "ldr d1, [{a1}, {at}]" "ldr d2, [{a2}, {at}]" "ldr d3, [{a3}, {at}]"
                "ldr d4, [{a4}, {at}]" "ldr d5, [{a5}, {at}]" "ldr d6, [{a6}, {at}]" "ldr d7, [{a7}, {at}]"),
            "b.ne 2b",
            a0 = in(reg) $a[0],
            a1 = in(reg) $a[1],
            a2 = in(reg) $a[2],
            a3 = in(reg) $a[3],
            a4 = in(reg) $a[4],
            a5 = in(reg) $a[5],
            a6 = in(reg) $a[6],
            a7 = in(reg) $a[7],
            w = inout(reg) $w => _,
            passes = inout(reg) $passes => _,
            at = inout(reg) 0_usize => _,
            eight = in(reg) 8_usize,
            step = out(reg) _,
            upper = out(reg) _,
            next = out(reg) _,
            $(inout($reg) $value,)+
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            options(nostack, readonly),
        )
    };
}

/// [`passes`] over two registers of sums for each row.
macro_rules! passes_of_two {
    ($s:ident, $a:ident, $w:ident, $passes:ident, $mac:literal $sum:literal $from:literal, $lane0:literal $lane1:literal) => {
        passes!($a, $w, $passes, $mac $sum $from,
            $lane0 ["v8" "v10" "v12" "v14" "v16" "v18" "v20" "v22"], $lane0 ["v9" "v11" "v13" "v15" "v17" "v19" "v21" "v23"],
            $lane1 ["v8" "v10" "v12" "v14" "v16" "v18" "v20" "v22"], $lane1 ["v9" "v11" "v13" "v15" "v17" "v19" "v21" "v23"],
            "v8" $s[0][0], "v9" $s[0][1], "v10" $s[1][0], "v11" $s[1][1],
            "v12" $s[2][0], "v13" $s[2][1], "v14" $s[3][0], "v15" $s[3][1],
            "v16" $s[4][0], "v17" $s[4][1], "v18" $s[5][0], "v19" $s[5][1],
            "v20" $s[6][0], "v21" $s[6][1], "v22" $s[7][0], "v23" $s[7][1])
    };
}

/// Adds the products of `passes` times two blocks of four s8 inputs.
///
/// # Safety
/// Each `a` can be read for `8 * passes` bytes, `w` for `64 * passes`; `passes` is at least 1.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn s8(s: &mut [[int32x4_t; 2]; 8], a: &[*const i8; 8], w: *const i8, passes: usize) {
    // SAFETY: reads what the caller promises, writes registers only.
    unsafe { passes_of_two!(s, a, w, passes, "sdot" ".4s" ".16b", ".4b[0]" ".4b[1]") };
}

/// Adds the products of `passes` times two f32 inputs.
///
/// # Safety
/// As [`s8`].
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn f32(s: &mut [[float32x4_t; 2]; 8], a: &[*const u8; 8], w: *const u8, passes: usize) {
    // SAFETY: reads what the caller promises, writes registers only.
    unsafe { passes_of_two!(s, a, w, passes, "fmla" ".4s" ".4s", ".s[0]" ".s[1]") };
}

/// Adds the products of `passes` times four f16 inputs, in half.
///
/// # Safety
/// As [`s8`].
#[inline]
#[target_feature(enable = "neon,fp16")]
pub(super) unsafe fn f16(s: &mut [[float16x8_t; 1]; 8], a: &[*const u16; 8], w: *const u16, passes: usize) {
    // SAFETY: reads what the caller promises, writes registers only.
    unsafe {
        passes!(a, w, passes, "fmla" ".8h" ".8h",
            ".h[0]" ["v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15"], ".h[1]" ["v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15"],
            ".h[2]" ["v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15"], ".h[3]" ["v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15"],
            "v8" s[0][0], "v9" s[1][0], "v10" s[2][0], "v11" s[3][0],
            "v12" s[4][0], "v13" s[5][0], "v14" s[6][0], "v15" s[7][0])
    };
}
