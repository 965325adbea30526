//! Sums of four output columns of a 3 x 3 window, eight channels, by Advanced SIMD.
//!
//! Neighbouring taps are taken in pairs, whose products are summed in 16 bits. Inputs of a pair are fetched while the one
//! before is multiplied. Cores that reorder instructions load vectors; on an A53 no product goes beside such a load, but
//! beside one of an integer, and two integers move to vectors in a cycle.

use std::arch::aarch64::*;
use std::arch::asm;

/// Sums of four outputs' eight channels.
pub(super) type Sums = [[int32x4_t; 2]; 4];

/// The input at `$a`, on its way to a vector register: into integer register `$t`, or nowhere.
macro_rules! get {
    (in_order $t:literal $a:literal) => {
        concat!("ldr {", $t, "}, [", $a, "]\n")
    };
    (reordered $t:literal $a:literal) => {
        ""
    };
}

/// It has arrived in register `$x`.
macro_rules! put {
    (in_order $x:literal $t:literal $a:literal) => {
        concat!("fmov ", $x, ", {", $t, "}\n")
    };
    (reordered $x:literal $t:literal $a:literal) => {
        concat!("ldr ", $x, ", [", $a, "]\n")
    };
}

/// A tap's products of the four outputs, weights being in `$w`: first ones, after those of the taps before have been
/// added to sums, or added to the ones that are there; beside each what may follow.
macro_rules! tap {
    (first $w:literal, $x0:literal $x1:literal $x2:literal $x3:literal $(; $($beside:expr),+)?) => {
        tap!(@ "smull" $w, $x0 $x1 $x2 $x3, "", "", "", "" $(; $($beside),+)?)
    };
    (second $w:literal, $x0:literal $x1:literal $x2:literal $x3:literal $(; $($beside:expr),+)?) => {
        tap!(@ "smlal" $w, $x0 $x1 $x2 $x3, "", "", "", "" $(; $($beside),+)?)
    };
    (third $w:literal, $x0:literal $x1:literal $x2:literal $x3:literal $(; $($beside:expr),+)?) => {
        tap!(@ "smull" $w, $x0 $x1 $x2 $x3,
            add!("v9" "v13" "v27", "v14" "v28"), add!("v10" "v15" "v27", "v16" "v28"),
            add!("v11" "v17" "v27", "v18" "v28"), add!("v12" "v19" "v27", "v20" "v28") $(; $($beside),+)?)
    };
    (later $w:literal, $x0:literal $x1:literal $x2:literal $x3:literal $(; $($beside:expr),+)?) => {
        tap!(@ "smull" $w, $x0 $x1 $x2 $x3,
            add!("v9" "v13" "v13", "v14" "v14"), add!("v10" "v15" "v15", "v16" "v16"),
            add!("v11" "v17" "v17", "v18" "v18"), add!("v12" "v19" "v19", "v20" "v20") $(; $($beside),+)?)
    };
    (@ $op:literal $w:literal, $x0:literal $x1:literal $x2:literal $x3:literal,
     $a0:expr, $a1:expr, $a2:expr, $a3:expr) => {
        tap!(@ $op $w, $x0 $x1 $x2 $x3, $a0, $a1, $a2, $a3; "", "", "", "")
    };
    (@ $op:literal $w:literal, $x0:literal $x1:literal $x2:literal $x3:literal,
     $a0:expr, $a1:expr, $a2:expr, $a3:expr; $b0:expr, $b1:expr, $b2:expr, $b3:expr) => {
        concat!(
            $a0, $op, " v9.8h, ", $x0, ".8b, ", $w, ".8b\n", $b0,
            $a1, $op, " v10.8h, ", $x1, ".8b, ", $w, ".8b\n", $b1,
            $a2, $op, " v11.8h, ", $x2, ".8b, ", $w, ".8b\n", $b2,
            $a3, $op, " v12.8h, ", $x3, ".8b, ", $w, ".8b\n", $b3,
        )
    };
}

/// An output's products added to two registers: `$to = $from + products`.
macro_rules! add {
    ($products:literal $to:literal $from:literal, $to_high:literal $from_high:literal) => {
        concat!(
            "saddw ", $to, ".4s, ", $from, ".4s, ", $products, ".4h\n", "saddw2 ", $to_high, ".4s, ",
            $from_high, ".4s, ", $products, ".8h\n",
        )
    };
}

/// The last products added to sums.
macro_rules! last {
    () => {
        concat!(
            add!("v9" "v13" "v13", "v14" "v14"), add!("v10" "v15" "v15", "v16" "v16"),
            add!("v11" "v17" "v17", "v18" "v18"), add!("v12" "v19" "v19", "v20" "v20"),
        )
    };
}

/// The whole, `$text` being what is done between loading what sums start at and the end.
macro_rules! window {
    ($w:ident, $rows:ident, $pixel:ident, $start:ident, $text:expr, $($offsets:tt)*) => {{
        let mut s: Sums = [[vdupq_n_s32(0); 2]; 4];
        asm!(
            $text,
            r0 = in(reg) $rows[0],
            r1 = in(reg) $rows[1],
            r2 = in(reg) $rows[2],
            start = in(reg) $start,
            $($offsets)*
            in("v0") $w[0][0], in("v1") $w[0][1], in("v2") $w[0][2],
            in("v3") $w[1][0], in("v4") $w[1][1], in("v5") $w[1][2],
            in("v6") $w[2][0], in("v7") $w[2][1], in("v8") $w[2][2],
            out("v9") _, out("v10") _, out("v11") _, out("v12") _,
            out("v13") s[0][0], out("v14") s[0][1], out("v15") s[1][0], out("v16") s[1][1],
            out("v17") s[2][0], out("v18") s[2][1], out("v19") s[3][0], out("v20") s[3][1],
            out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _,
            out("v27") _, out("v28") _,
            options(nostack, readonly),
        );
        s
    }};
}

/// Stride 1: columns 0 to 5.
macro_rules! stride_1 {
    ($how:ident) => {
        concat!(
            get!($how "t0" "{r0}"), get!($how "t1" "{r0}, {o1}"), get!($how "t2" "{r0}, {o2}"),
            get!($how "t3" "{r0}, {o3}"), get!($how "t4" "{r0}, {o4}"), get!($how "t5" "{r0}, {o5}"),
            "ldp q27, q28, [{start}]\n",
            put!($how "d21" "t0" "{r0}"), put!($how "d22" "t1" "{r0}, {o1}"), put!($how "d23" "t2" "{r0}, {o2}"),
            put!($how "d24" "t3" "{r0}, {o3}"), put!($how "d25" "t4" "{r0}, {o4}"), put!($how "d26" "t5" "{r0}, {o5}"),
            tap!(first "v0", "v21" "v22" "v23" "v24"),
            tap!(second "v1", "v22" "v23" "v24" "v25"; get!($how "t0" "{r1}"), get!($how "t1" "{r1}, {o1}"),
                get!($how "t2" "{r1}, {o2}"), get!($how "t3" "{r1}, {o3}")),
            tap!(third "v2", "v23" "v24" "v25" "v26"),
            put!($how "d21" "t0" "{r1}"), put!($how "d22" "t1" "{r1}, {o1}"), put!($how "d27" "t2" "{r1}, {o2}"),
            put!($how "d28" "t3" "{r1}, {o3}"),
            tap!(second "v3", "v21" "v22" "v27" "v28"; get!($how "t0" "{r1}, {o4}"), get!($how "t1" "{r1}, {o5}"), "", ""),
            put!($how "d23" "t0" "{r1}, {o4}"), put!($how "d24" "t1" "{r1}, {o5}"),
            tap!(later "v4", "v22" "v27" "v28" "v23"; get!($how "t0" "{r2}"), get!($how "t1" "{r2}, {o1}"),
                get!($how "t2" "{r2}, {o2}"), get!($how "t3" "{r2}, {o3}")),
            tap!(second "v5", "v27" "v28" "v23" "v24"; get!($how "t4" "{r2}, {o4}"), get!($how "t5" "{r2}, {o5}"), "", ""),
            put!($how "d25" "t0" "{r2}"), put!($how "d26" "t1" "{r2}, {o1}"), put!($how "d21" "t2" "{r2}, {o2}"),
            put!($how "d22" "t3" "{r2}, {o3}"), put!($how "d27" "t4" "{r2}, {o4}"), put!($how "d28" "t5" "{r2}, {o5}"),
            tap!(later "v6", "v25" "v26" "v21" "v22"),
            tap!(second "v7", "v26" "v21" "v22" "v27"),
            tap!(later "v8", "v21" "v22" "v27" "v28"),
            last!(),
        )
    };
}

/// Stride 2: columns 0 to 8.
macro_rules! stride_2 {
    ($how:ident) => {
        concat!(
            get!($how "t0" "{r0}"), get!($how "t1" "{r0}, {o2}"), get!($how "t2" "{r0}, {o4}"),
            get!($how "t3" "{r0}, {o6}"), get!($how "t4" "{r0}, {o1}"), get!($how "t5" "{r0}, {o3}"),
            "ldp q27, q28, [{start}]\n",
            put!($how "d21" "t0" "{r0}"), put!($how "d22" "t1" "{r0}, {o2}"), put!($how "d23" "t2" "{r0}, {o4}"),
            put!($how "d24" "t3" "{r0}, {o6}"), put!($how "d25" "t4" "{r0}, {o1}"), put!($how "d26" "t5" "{r0}, {o3}"),
            tap!(first "v0", "v21" "v22" "v23" "v24"; get!($how "t0" "{r0}, {o5}"), get!($how "t1" "{r0}, {o7}"),
                get!($how "t2" "{r0}, {o8}"), ""),
            put!($how "d21" "t0" "{r0}, {o5}"), put!($how "d29" "t1" "{r0}, {o7}"),
            tap!(second "v1", "v25" "v26" "v21" "v29"; get!($how "t0" "{r1}"), get!($how "t1" "{r1}, {o2}"),
                get!($how "t3" "{r1}, {o4}"), get!($how "t4" "{r1}, {o6}")),
            put!($how "d25" "t2" "{r0}, {o8}"),
            tap!(third "v2", "v22" "v23" "v24" "v25"),
            put!($how "d26" "t0" "{r1}"), put!($how "d21" "t1" "{r1}, {o2}"), put!($how "d27" "t3" "{r1}, {o4}"),
            put!($how "d28" "t4" "{r1}, {o6}"),
            get!($how "t0" "{r1}, {o1}"),
            tap!(second "v3", "v26" "v21" "v27" "v28"; get!($how "t1" "{r1}, {o3}"), get!($how "t2" "{r1}, {o5}"),
                get!($how "t3" "{r1}, {o7}"), get!($how "t4" "{r1}, {o8}")),
            put!($how "d22" "t0" "{r1}, {o1}"), put!($how "d23" "t1" "{r1}, {o3}"), put!($how "d24" "t2" "{r1}, {o5}"),
            put!($how "d29" "t3" "{r1}, {o7}"), put!($how "d25" "t4" "{r1}, {o8}"),
            tap!(later "v4", "v22" "v23" "v24" "v29"; get!($how "t0" "{r2}"), get!($how "t1" "{r2}, {o2}"),
                get!($how "t2" "{r2}, {o4}"), get!($how "t3" "{r2}, {o6}")),
            tap!(second "v5", "v21" "v27" "v28" "v25"; get!($how "t4" "{r2}, {o1}"), get!($how "t5" "{r2}, {o3}"), "", ""),
            put!($how "d21" "t0" "{r2}"), put!($how "d22" "t1" "{r2}, {o2}"), put!($how "d23" "t2" "{r2}, {o4}"),
            put!($how "d24" "t3" "{r2}, {o6}"), put!($how "d25" "t4" "{r2}, {o1}"), put!($how "d26" "t5" "{r2}, {o3}"),
            tap!(later "v6", "v21" "v22" "v23" "v24"; get!($how "t0" "{r2}, {o5}"), get!($how "t1" "{r2}, {o7}"),
                get!($how "t2" "{r2}, {o8}"), ""),
            put!($how "d27" "t0" "{r2}, {o5}"), put!($how "d28" "t1" "{r2}, {o7}"), put!($how "d29" "t2" "{r2}, {o8}"),
            tap!(second "v7", "v25" "v26" "v27" "v28"),
            tap!(later "v8", "v22" "v23" "v24" "v29"),
            last!(),
        )
    };
}

/// Sums of four outputs, stride S, by weights `w`: `rows` are where the first one's window begins in each of its input
/// rows, `pixel` bytes from one input to the next, and `start` eight numbers that sums start at.
///
/// # Safety
/// Eight bytes can be read at each of the outputs' inputs.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn four<const S: usize, const IN_ORDER: bool>(
    w: &[[int8x8_t; 3]; 3],
    rows: [*const i8; 3],
    pixel: usize,
    start: *const i32,
) -> Sums {
    macro_rules! text {
        (@ $text:expr, $($more:tt)*) => {
            window!(w, rows, pixel, start, $text,
                o1 = in(reg) pixel, o2 = in(reg) 2 * pixel, o3 = in(reg) 3 * pixel, o4 = in(reg) 4 * pixel,
                o5 = in(reg) 5 * pixel, $($more)*)
        };
        (in_order $text:expr, $($more:tt)*) => {
            text!(@ $text, t0 = out(reg) _, t1 = out(reg) _, t2 = out(reg) _, t3 = out(reg) _, t4 = out(reg) _,
                t5 = out(reg) _, $($more)*)
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        match (S, IN_ORDER) {
            (1, false) => text!(@ stride_1!(reordered),),
            (1, true) => text!(in_order stride_1!(in_order),),
            (_, false) => {
                text!(@ stride_2!(reordered), o6 = in(reg) 6 * pixel, o7 = in(reg) 7 * pixel, o8 = in(reg) 8 * pixel, out("v29") _,)
            }
            (_, true) => {
                text!(in_order stride_2!(in_order),
                    o6 = in(reg) 6 * pixel, o7 = in(reg) 7 * pixel, o8 = in(reg) 8 * pixel, out("v29") _,)
            }
        }
    }
}
