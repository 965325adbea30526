//! Advanced SIMD for cores that issue in order and have no dot products of bytes (A53): four pixels times one panel.
//!
//! As [`super::neon`], but 16 bits take the products of as many consecutive blocks, up to four, as the panel's weights
//! allow: those of a lane must not exceed 255 in magnitude in all. SADALP, which takes two cycles on an A53, is needed
//! once for each such [stretch](super::stretches) of blocks.
//!
//! An A53 issues two instructions a cycle of which one may be a product; results of products arrive four cycles later,
//! of integer loads three, of vector loads five if they are of eight bytes: those of sixteen stop both pipes. So
//! between the products stands what goes beside them: inputs of the next pixel, weights of the next block. A register
//! of weights is put together from a vector load, an integer load and INS; an INS goes beside a vector load.

use std::arch::aarch64::*;
use std::arch::asm;

use super::dense;
use super::finish::{ADDED, ADDED_NEAR, ANY, MAGIC, Mode, PLAIN, SMALL, SUMS};
use super::neon::{self, MR, Sums, begin, neighbours};
use super::walk::{self, Group, Panel};
use crate::conv::block::Block;
use crate::conv::panels::Panels;

/// The four products of a pixel and a block: `$op`, registers of weights and inputs; after each what goes beside it.
macro_rules! products {
    ($op:literal $w0:literal $w1:literal $x:literal, $b0:expr, $b1:expr, $b2:expr, $b3:expr) => {
        concat!(
            $op,
            " v24.8h, ",
            $w0,
            ".8b, ",
            $x,
            ".8b\n",
            $b0,
            "\n",
            $op,
            "2 v25.8h, ",
            $w0,
            ".16b, ",
            $x,
            ".16b\n",
            $b1,
            "\n",
            $op,
            " v26.8h, ",
            $w1,
            ".8b, ",
            $x,
            ".8b\n",
            $b2,
            "\n",
            $op,
            "2 v27.8h, ",
            $w1,
            ".16b, ",
            $x,
            ".16b\n",
            $b3,
            "\n",
        )
    };
}

/// Those of the first, second, third and fourth block of a stretch.
macro_rules! block {
    (0 $($b0:expr, $b1:expr, $b2:expr, $b3:expr)?) => { block!(@ "smull" "v16" "v17" "v28" $(, $b0, $b1, $b2, $b3)?) };
    (1 $($b0:expr, $b1:expr, $b2:expr, $b3:expr)?) => { block!(@ "smlal" "v18" "v19" "v29" $(, $b0, $b1, $b2, $b3)?) };
    (2 $($b0:expr, $b1:expr, $b2:expr, $b3:expr)?) => { block!(@ "smlal" "v20" "v21" "v30" $(, $b0, $b1, $b2, $b3)?) };
    (3 $($b0:expr, $b1:expr, $b2:expr, $b3:expr)?) => { block!(@ "smlal" "v22" "v23" "v31" $(, $b0, $b1, $b2, $b3)?) };
    (@ $op:literal $w0:literal $w1:literal $x:literal) => { products!($op $w0 $w1 $x, "", "", "", "") };
    (@ $op:literal $w0:literal $w1:literal $x:literal, $($b:expr),+) => { products!($op $w0 $w1 $x, $($b),+) };
}

/// Products added to the sums of pixel `$i`, by "sadalp"; "saddlp", half as long, makes them the sums.
macro_rules! add {
    ($op:literal 0) => { add!(@ $op "v0" "v1" "v2" "v3") };
    ($op:literal 1) => { add!(@ $op "v4" "v5" "v6" "v7") };
    ($op:literal 2) => { add!(@ $op "v8" "v9" "v10" "v11") };
    ($op:literal 3) => { add!(@ $op "v12" "v13" "v14" "v15") };
    (@ $op:literal $s0:literal $s1:literal $s2:literal $s3:literal) => {
        concat!(
            $op, " ", $s0, ".4s, v24.8h\n",
            $op, " ", $s1, ".4s, v25.8h\n",
            $op, " ", $s2, ".4s, v26.8h\n",
            $op, " ", $s3, ".4s, v27.8h\n",
        )
    };
}

/// Four inputs of a block of the stretch, from memory to an integer register, and from there, four times, to theirs.
macro_rules! load {
    (0 $a:literal) => {
        concat!("ldr {x0:w}, [", $a, "]\n")
    };
    (1 $a:literal) => {
        concat!("ldr {x1:w}, [", $a, ", #4]\n")
    };
    (2 $a:literal) => {
        concat!("ldr {x2:w}, [", $a, ", #8]\n")
    };
    (3 $a:literal) => {
        concat!("ldr {x3:w}, [", $a, ", #12]\n")
    };
}
macro_rules! spread {
    (0) => {
        "dup v28.4s, {x0:w}\n"
    };
    (1) => {
        "dup v29.4s, {x1:w}\n"
    };
    (2) => {
        "dup v30.4s, {x2:w}\n"
    };
    (3) => {
        "dup v31.4s, {x3:w}\n"
    };
}

/// The first pixel, whose first block's weights and inputs are there already. The other blocks' are fetched, and the
/// second pixel's inputs. Of three and four blocks, inputs of the last one are spread beside the next pixel's products:
/// moves to vectors go in pairs.
macro_rules! first {
    ($op:literal 1) => { concat!(block!(0 load!(0 "{a1}"), "", "", ""), spread!(0), add!($op 0)) };
    ($op:literal 2) => {
        concat!(
            "ldr d18, [{w}, #32]\n ldr d19, [{w}, #48]\n",
            block!(0 "ldr {u0}, [{w}, #40]", load!(1 "{a0}"), "ldr {u1}, [{w}, #56]", load!(0 "{a1}")),
            "ins v18.d[1], {u0}\n", spread!(1), "ins v19.d[1], {u1}\n", load!(1 "{a1}"),
            block!(1),
            spread!(0), spread!(1), add!($op 0),
        )
    };
    ($op:literal 3) => {
        concat!(
            first!(@), load!(0 "{a1}"),
            block!(1 "ldr {u0}, [{w}, #72]", "ldr {u1}, [{w}, #88]", load!(1 "{a1}"), ""),
            "ins v20.d[1], {u0}\n ins v21.d[1], {u1}\n", spread!(0), spread!(1),
            block!(2 load!(2 "{a1}"), "", "", ""),
            add!($op 0),
        )
    };
    ($op:literal 4) => {
        concat!(
            first!(@), load!(3 "{a0}"),
            block!(1 "ldr {u0}, [{w}, #72]", "ldr {u1}, [{w}, #88]", load!(0 "{a1}"), load!(1 "{a1}")),
            "ldr d22, [{w}, #96]\n ins v20.d[1], {u0}\n ldr d23, [{w}, #112]\n ins v21.d[1], {u1}\n",
            block!(2 "ldr {u0}, [{w}, #104]", "ldr {u1}, [{w}, #120]", load!(2 "{a1}"), ""),
            spread!(3), spread!(0), "ins v22.d[1], {u0}\n ins v23.d[1], {u1}\n", spread!(1), spread!(2),
            block!(3 load!(3 "{a1}"), "", "", ""),
            add!($op 0),
        )
    };
    (@) => {
        concat!(
            "ldr d18, [{w}, #32]\n ldr d19, [{w}, #48]\n",
            block!(0 load!(1 "{a0}"), "ldr {u0}, [{w}, #40]", "ldr {u1}, [{w}, #56]", load!(2 "{a0}")),
            "ldr d20, [{w}, #64]\n ins v18.d[1], {u0}\n ldr d21, [{w}, #80]\n ins v19.d[1], {u1}\n",
            spread!(1), spread!(2),
        )
    };
}

/// Pixel `$i`, 1 or 2, the inputs of the one at `$next` being fetched; beside it `$b0` to `$b3`.
macro_rules! middle {
    ($op:literal 1 $i:tt $next:literal, $b0:expr, $b1:expr, $b2:expr, $b3:expr) => {
        concat!(block!(0 concat!(load!(0 $next), $b0), $b1, $b2, $b3), spread!(0), add!($op $i))
    };
    ($op:literal 2 $i:tt $next:literal, $b0:expr, $b1:expr, $b2:expr, $b3:expr) => {
        concat!(
            block!(0 load!(0 $next), load!(1 $next), $b0, $b1), block!(1 $b2, $b3, "", ""),
            spread!(0), spread!(1), add!($op $i),
        )
    };
    ($op:literal 3 1 $next:literal, $b0:expr, $b1:expr, $b2:expr, $b3:expr) => {
        concat!(
            block!(0 load!(0 $next), load!(1 $next), $b0, $b1), spread!(2), spread!(0),
            block!(1 load!(2 $next), $b2, $b3, ""), block!(2), spread!(1), spread!(2), add!($op 1),
        )
    };
    ($op:literal 3 2 $next:literal, $b0:expr, $b1:expr, $b2:expr, $b3:expr) => {
        concat!(
            block!(0 load!(0 $next), load!(1 $next), load!(2 $next), $b0), block!(1 $b1, $b2, $b3, ""),
            spread!(0), spread!(1), block!(2), add!($op 2),
        )
    };
    ($op:literal 4 $i:tt $next:literal, $b0:expr, $b1:expr, $b2:expr, $b3:expr) => {
        concat!(
            block!(0 load!(0 $next), load!(1 $next), load!(2 $next), $b0), spread!(3), spread!(0),
            block!(1 load!(3 $next), $b1, $b2, $b3), block!(2), spread!(1), spread!(2), block!(3), add!($op $i),
        )
    };
}

/// The last pixel, the first pixel's inputs (at `{next}`) and the weights of the next stretch's first block being
/// fetched.
macro_rules! last {
    ($op:literal 1 $advance:expr) => { concat!(last!(@ $advance), last!(@), spread!(0), add!($op 3)) };
    ($op:literal 2 $advance:expr) => { concat!(last!(@ $advance), block!(1), last!(@), spread!(0), add!($op 3)) };
    ($op:literal 3 $advance:expr) => {
        concat!(last!(@ $advance), spread!(2), spread!(0), block!(1), block!(2), last!(@), add!($op 3))
    };
    ($op:literal 4 $advance:expr) => {
        concat!(last!(@ $advance), spread!(3), spread!(0), block!(1), block!(2), block!(3), last!(@), add!($op 3))
    };
    (@ $advance:expr) => {
        concat!(
            block!(0 "ldr {x0:w}, [{next}]", "ldr {u0}, [{w}, #8]", "ldr {u1}, [{w}, #24]", $advance),
            "ldr d16, [{w}]\n ldr d17, [{w}, #16]\n",
        )
    };
    (@) => { "ins v16.d[1], {u0}\n ins v17.d[1], {u1}\n" };
}

/// A stretch of `$n` blocks, of `$x` bytes of a pixel and `$w` bytes of weights. Where it is its tap's last, what stands
/// for the next one's inputs is weights.
macro_rules! stretch {
    ($op:literal $n:tt $n_text:literal $x:literal $w:literal) => {
        concat!(
            first!($op $n),
            middle!($op $n 1 "{a2}", concat!("add {w}, {w}, #", $w), "ldrb {size:w}, [{sizes}], #1",
                concat!("subs {left}, {left}, #", $n_text), concat!("add {a0}, {a0}, #", $x)),
            middle!($op $n 2 "{a3}", "csel {next}, {a0}, {w}, ne", concat!("add {a1}, {a1}, #", $x),
                concat!("add {a2}, {a2}, #", $x), ""),
            last!($op $n concat!("add {a3}, {a3}, #", $x)),
            "b.eq 8f\n",
        )
    };
}

/// To the stretch of `{size}` blocks; the labels of those of four, three, two and one.
macro_rules! dispatch {
    ($four:literal $three:literal $two:literal $one:literal) => {
        concat!(
            "tbnz {size:w}, #2, ",
            $four,
            "\n",
            "tbz {size:w}, #0, ",
            $two,
            "\n",
            "tbnz {size:w}, #1, ",
            $three,
            "\n",
            "b ",
            $one,
            "\n",
        )
    };
}

/// All stretches from the one of `{size}` blocks on. What sums start at is there, and so are the addresses of the first
/// tap and what [`ahead`] fetched.
macro_rules! stretches {
    () => {
        concat!(
            "4:\n",
            stretch!("sadalp" 4 "4" "16" "128"),
            dispatch!("4b" "5f" "6f" "7f"),
            "5:\n",
            stretch!("sadalp" 3 "3" "12" "96"),
            dispatch!("4b" "5b" "6f" "7f"),
            "6:\n",
            stretch!("sadalp" 2 "2" "8" "64"),
            dispatch!("4b" "5b" "6b" "7f"),
            "7:\n",
            stretch!("sadalp" 1 "1" "4" "32"),
            dispatch!("4b" "5b" "6b" "7b"),
            "8:\n",
            "subs {taps}, {taps}, #1\n",
            "b.eq 9f\n",
            "ldp {a0}, {a1}, [{a}]\n",
            "ldp {a2}, {a3}, [{a}, #16]\n",
            "add {a}, {a}, #32\n",
            "ldr {x0:w}, [{a0}]\n",
            "mov {left}, {blocks}\n",
            "dup v28.4s, {x0:w}\n",
            dispatch!("4b" "5b" "6b" "7b"),
            "9:\n",
        )
    };
}

/// The first tap's addresses, and weights and inputs of its first block.
macro_rules! ahead {
    () => {
        concat!(
            "ldr {a0}, [{a}]\n",
            "ldr d16, [{w}]\n",
            "ldr {u0}, [{w}, #8]\n",
            "ldr d17, [{w}, #16]\n",
            "ldr {u1}, [{w}, #24]\n",
            "ldr {x0:w}, [{a0}]\n",
            "mov {left}, {blocks}\n",
            "ldrb {size:w}, [{sizes}], #1\n",
            "ldr {a1}, [{a}, #8]\n",
            "ins v16.d[1], {u0}\n",
            "ldr {a2}, [{a}, #16]\n",
            "ins v17.d[1], {u1}\n",
            "ldr {a3}, [{a}, #24]\n",
            "dup v28.4s, {x0:w}\n",
            "add {a}, {a}, #32\n",
        )
    };
}

/// Sums of four pixels times a panel, starting at what [`begin`] made.
///
/// # Safety
/// As [`neon::sums`]; 32 bytes more can be read behind the panel; there is a size for each of its stretches, and one more.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn four(g: &Group, p: &Panel) -> [[int32x4_t; 2]; MR] {
    let mut s: [Sums; MR] = [[vdupq_n_s32(0); 4]; MR];
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            ahead!(),
            "ldr q0, [{start}]",
            "ldr q1, [{start}, #16]",
            "ldr q2, [{start}, #32]",
            "ldr q3, [{start}, #48]",
            "mov v4.16b, v0.16b",
            "mov v5.16b, v1.16b",
            "mov v6.16b, v2.16b",
            "mov v7.16b, v3.16b",
            "mov v8.16b, v0.16b",
            "mov v9.16b, v1.16b",
            "mov v10.16b, v2.16b",
            "mov v11.16b, v3.16b",
            "mov v12.16b, v0.16b",
            "mov v13.16b, v1.16b",
            "mov v14.16b, v2.16b",
            "mov v15.16b, v3.16b",
            dispatch!("4f" "5f" "6f" "7f"),
            stretches!(),
            a = inout(reg) g.a => _,
            taps = inout(reg) g.taps => _,
            blocks = in(reg) g.blocks,
            left = out(reg) _,
            w = inout(reg) p.w => _,
            start = in(reg) p.start,
            sizes = inout(reg) p.sizes => _,
            size = out(reg) _,
            next = out(reg) _,
            a0 = out(reg) _, a1 = out(reg) _, a2 = out(reg) _, a3 = out(reg) _,
            x0 = out(reg) _, x1 = out(reg) _, x2 = out(reg) _, x3 = out(reg) _,
            u0 = out(reg) _, u1 = out(reg) _,
            out("v0") s[0][0], out("v1") s[0][1], out("v2") s[0][2], out("v3") s[0][3],
            out("v4") s[1][0], out("v5") s[1][1], out("v6") s[1][2], out("v7") s[1][3],
            out("v8") s[2][0], out("v9") s[2][1], out("v10") s[2][2], out("v11") s[2][3],
            out("v12") s[3][0], out("v13") s[3][1], out("v14") s[3][2], out("v15") s[3][3],
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack, readonly),
        );
    }
    let mut whole = [[vdupq_n_s32(0); 2]; MR];
    for i in 0..MR {
        whole[i] = neighbours(s[i]);
    }
    whole
}

/// What results of [`SMALL`] or [`PLAIN`] are made with, as [`super::finish`] makes them.
#[repr(C)]
struct Constants {
    /// What rounds: f32.
    rounds: f32,
    /// Not 0 for [`PLAIN`], which needs none of the others.
    plain: u32,
    zero_point: i32,
    lo: i32,
    hi: i32,
}

impl Constants {
    fn of(b: &Panels<'_>, plain: bool) -> Self {
        // Bounds are integers in [-128, 127].
        let (lo, hi) = (b.lo as i32, b.hi as i32);
        let rounds = if plain { MAGIC + b.zero_point as f32 } else { MAGIC };
        Self { rounds, plain: plain.into(), zero_point: b.zero_point, lo, hi }
    }
}

/// `$op vN.4s, vN.4s` and what follows, for the sums of four pixels: v0 to v7, first and second half in turn.
macro_rules! each {
    ($op:literal $first:literal $second:literal) => {
        each!(@ $op $first $second "v0" "v1" "v2" "v3" "v4" "v5" "v6" "v7")
    };
    (@ $op:literal $first:literal $second:literal $($a:literal $b:literal)+) => {
        concat!(
            $($op, " ", $a, ".4s, ", $a, ".4s", $first, "\n", $op, " ", $b, ".4s, ", $b, ".4s", $second, "\n",)+
        )
    };
}

/// Results of four pixels times a panel, all of whose columns count, stored: sums are below 2^22 in magnitude. The first
/// stretch's products are what sums start at, and biases come last, where they take fewer instructions.
///
/// # Safety
/// As [`four`] and [`crate::conv::panels::Run`]; the pixel and the column are a group's and a panel's first.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn finished(g: &Group, p: &Panel, b: &Panels<'_>, c: &Constants, pixel: usize, column: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            ahead!(),
            dispatch!("24f" "25f" "26f" "27f"),
            "24:",
            stretch!("saddlp" 4 "4" "16" "128"),
            dispatch!("4f" "5f" "6f" "7f"),
            "25:",
            stretch!("saddlp" 3 "3" "12" "96"),
            dispatch!("4f" "5f" "6f" "7f"),
            "26:",
            stretch!("saddlp" 2 "2" "8" "64"),
            dispatch!("4f" "5f" "6f" "7f"),
            "27:",
            stretch!("saddlp" 1 "1" "4" "32"),
            dispatch!("4f" "5f" "6f" "7f"),
            stretches!(),
            "ldr d16, [{bias}]",
            "ldr {u0}, [{bias}, #8]",
            "addp v0.4s, v0.4s, v1.4s",
            "ldr {u1}, [{bias}, #24]",
            "addp v1.4s, v2.4s, v3.4s",
            "ldp {a0}, {a1}, [{y}]",
            "addp v2.4s, v4.4s, v5.4s",
            "ldr d17, [{bias}, #16]",
            "addp v3.4s, v6.4s, v7.4s",
            "ldr {x0}, [{multiplier}, #8]",
            "addp v4.4s, v8.4s, v9.4s",
            "ldr {x1}, [{multiplier}, #24]",
            "addp v5.4s, v10.4s, v11.4s",
            "ldr {x2:w}, [{c}]",
            "addp v6.4s, v12.4s, v13.4s",
            "addp v7.4s, v14.4s, v15.4s",
            "ldr d18, [{multiplier}]",
            "ins v16.d[1], {u0}",
            "ldr d19, [{multiplier}, #16]",
            "ins v17.d[1], {u1}",
            "ldp {a2}, {a3}, [{y}, #16]",
            each!("add" ", v16.4s" ", v17.4s"),
            "dup v20.4s, {x2:w}",
            "ins v18.d[1], {x0}",
            "ins v19.d[1], {x1}",
            "ldr {x0:w}, [{c}, #4]",
            each!("scvtf" "" ""),
            each!("fmul" ", v18.4s" ", v19.4s"),
            each!("fadd" ", v20.4s" ", v20.4s"),
            "uzp1 v0.8h, v0.8h, v1.8h",
            "uzp1 v1.8h, v2.8h, v3.8h",
            "uzp1 v2.8h, v4.8h, v5.8h",
            "uzp1 v3.8h, v6.8h, v7.8h",
            "cbnz {x0:w}, 3f",
            "ldr {x1:w}, [{c}, #8]",
            "ldp {x2:w}, {x3:w}, [{c}, #12]",
            "dup v21.8h, {x1:w}",
            "sqadd v0.8h, v0.8h, v21.8h",
            "sqadd v1.8h, v1.8h, v21.8h",
            "sqadd v2.8h, v2.8h, v21.8h",
            "sqadd v3.8h, v3.8h, v21.8h",
            "dup v22.8b, {x2:w}",
            "dup v23.8b, {x3:w}",
            "sqxtn v0.8b, v0.8h",
            "sqxtn v1.8b, v1.8h",
            "sqxtn v2.8b, v2.8h",
            "sqxtn v3.8b, v3.8h",
            "smax v0.8b, v0.8b, v22.8b",
            "smax v1.8b, v1.8b, v22.8b",
            "smax v2.8b, v2.8b, v22.8b",
            "smax v3.8b, v3.8b, v22.8b",
            "smin v0.8b, v0.8b, v23.8b",
            "smin v1.8b, v1.8b, v23.8b",
            "smin v2.8b, v2.8b, v23.8b",
            "smin v3.8b, v3.8b, v23.8b",
            "b 2f",
            "3:",
            "sqxtn v0.8b, v0.8h",
            "sqxtn v1.8b, v1.8h",
            "sqxtn v2.8b, v2.8h",
            "sqxtn v3.8b, v3.8h",
            "2:",
            "str d0, [{a0}, {offset}]",
            "str d1, [{a1}, {offset}]",
            "str d2, [{a2}, {offset}]",
            "str d3, [{a3}, {offset}]",
            a = inout(reg) g.a => _,
            taps = inout(reg) g.taps => _,
            blocks = in(reg) g.blocks,
            left = out(reg) _,
            w = inout(reg) p.w => _,
            sizes = inout(reg) p.sizes => _,
            size = out(reg) _,
            next = out(reg) _,
            bias = in(reg) b.bias.cast::<i32>().wrapping_add(column),
            multiplier = in(reg) b.multiplier.wrapping_add(column),
            y = in(reg) b.y.wrapping_add(pixel),
            offset = in(reg) b.offset + column,
            c = in(reg) c,
            a0 = out(reg) _, a1 = out(reg) _, a2 = out(reg) _, a3 = out(reg) _,
            x0 = out(reg) _, x1 = out(reg) _, x2 = out(reg) _, x3 = out(reg) _,
            u0 = out(reg) _, u1 = out(reg) _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        );
    }
}

/// Sizes of the stretches of any panel of one tap of at most 1024 blocks: pairs of blocks, and what is left.
fn pairs(g: &Group) -> *const u8 {
    static PAIRS: [u8; 514] = {
        let mut sizes = [2; 514];
        sizes[512] = 1;
        sizes
    };
    PAIRS[512 - g.blocks / 2..].as_ptr()
}

/// The panel, with sizes of its stretches.
fn sized(g: &Group, p: &Panel) -> Panel {
    Panel { sizes: if p.sizes.is_null() { pairs(g) } else { p.sizes }, ..*p }
}

/// Sums of the first pixels of a group times a panel. Of fewer than four, pairs of blocks take less time, where the weights
/// allow pairs.
///
/// # Safety
/// As [`four`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn sums(b: &Panels<'_>, g: &Group, p: &Panel, pixels: usize) -> [[int32x4_t; 2]; MR] {
    // SAFETY: the caller's promise.
    unsafe {
        match pixels {
            MR => four(g, &sized(g, p)),
            _ if b.stretches.crowded => four_of_few(g, p),
            _ => neon::sums(g, p, pixels),
        }
    }
}

/// [`four`], once in the program: such weights are rare.
///
/// # Safety
/// As there.
#[cold]
#[inline(never)]
#[target_feature(enable = "neon")]
unsafe fn four_of_few(g: &Group, p: &Panel) -> [[int32x4_t; 2]; MR] {
    // SAFETY: the caller's promise.
    unsafe { four(g, &sized(g, p)) }
}

/// A block in a mode of any sums.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[target_feature(enable = "neon")]
unsafe fn conv_4x8<const MODE: Mode>(b: &Panels<'_>) {
    // SAFETY: the caller's promise, which the groups' addresses keep; weights end in slack, and so do stretches.
    unsafe {
        walk::walk::<MODE, MR, 4>(
            b,
            |start| begin(start),
            |g, p| sums(b, g, p, MR),
            |g, p, n, to| to.write(sums(b, g, p, n)),
            |_, _, _, _| false,
        );
    }
}

/// A block of small sums, in mode [`SMALL`] or [`PLAIN`], of which the one is the other with more to do.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[target_feature(enable = "neon")]
unsafe fn small_4x8(b: &Panels<'_>, plain: bool) {
    let constants = Constants::of(b, plain);
    // SAFETY: as in `conv_4x8`.
    unsafe {
        walk::walk::<SMALL, MR, 4>(
            b,
            |start| begin(start),
            |g, p| sums(b, g, p, MR),
            |g, p, n, to| to.write(sums(b, g, p, n)),
            |g, p, pixel, column| {
                finished(g, &sized(g, p), b, &constants, pixel, column);
                true
            },
        );
    }
}

/// A block of pixels, four of them times one panel at a time.
///
/// # Safety
/// As [`crate::conv::panels::Run`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn panels(b: &Panels<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match walk::mode(b) {
            SMALL => small_4x8(b, false),
            PLAIN => small_4x8(b, true),
            SUMS | ADDED | ADDED_NEAR => conv_4x8::<SUMS>(b),
            _ => conv_4x8::<ANY>(b),
        }
    }
}

/// A block of pixels of few input channels.
///
/// # Safety
/// As [`crate::conv::block::Run`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn dense(b: &Block<'_>) {
    // SAFETY: the caller's promise.
    unsafe { dense::block::<MR>(b, panels) };
}
