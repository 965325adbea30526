//! Rows of s32 and bytes, in plain Rust that compilers vectorize.

use cygnet_format::op::BinaryKind;

use super::{Params, Row};

/// A function of two integers.
trait IntFn {
    type In: Copy;
    type Out: Copy;
    fn apply(a: Self::In, b: Self::In) -> Self::Out;
}

unsafe fn rows<F: IntFn>(a: *const u8, b: *const u8, y: *mut u8, n: usize, steps: [bool; 2], _: &Params) {
    let (a, b, y) = (a.cast::<F::In>(), b.cast::<F::In>(), y.cast::<F::Out>());
    // SAFETY: i < n; an operand whose step is not set is read at its only element.
    unsafe {
        match steps {
            [true, true] => (0..n).for_each(|i| *y.add(i) = F::apply(*a.add(i), *b.add(i))),
            [true, false] => {
                let b = *b;
                (0..n).for_each(|i| *y.add(i) = F::apply(*a.add(i), b));
            }
            [false, true] => {
                let a = *a;
                (0..n).for_each(|i| *y.add(i) = F::apply(a, *b.add(i)));
            }
            [false, false] => {
                let one = F::apply(*a, *b);
                (0..n).for_each(|i| *y.add(i) = one);
            }
        }
    }
}

/// Defines the function that returns a kind's row function: the table of an element type.
macro_rules! table {
    ($name:ident, $in:ty, $($kind:ident $row:literal $out:ty: |$a:ident, $b:ident| $body:expr;)+) => {
        /// The row function of a kind for this element type, if it is defined, and its name.
        pub(super) fn $name(kind: BinaryKind) -> Option<(&'static str, Row)> {
            match kind {
                $(BinaryKind::$kind => {
                    struct F;
                    impl IntFn for F {
                        type In = $in;
                        type Out = $out;
                        #[inline(always)]
                        fn apply($a: $in, $b: $in) -> $out {
                            $body
                        }
                    }
                    Some(($row, rows::<F>))
                })+
                #[allow(unreachable_patterns)]
                _ => None,
            }
        }
    };
}

table! { s32, i32,
    Add "binary_add_s32" i32: |a, b| a.wrapping_add(b);
    Sub "binary_sub_s32" i32: |a, b| a.wrapping_sub(b);
    Mul "binary_mul_s32" i32: |a, b| a.wrapping_mul(b);
    Div "binary_div_s32" i32: |a, b| if b == 0 { 0 } else { a.wrapping_div(b) };
    Min "binary_min_s32" i32: |a, b| a.min(b);
    Max "binary_max_s32" i32: |a, b| a.max(b);
    Pow "binary_pow_s32" i32: |a, b| power(a, b);
    PRelu "binary_prelu_s32" i32: |a, b| if a < 0 { a.wrapping_mul(b) } else { a };
    Mod "binary_mod_s32" i32: |a, b| {
        let r = if b == 0 { 0 } else { a.wrapping_rem(b) };
        if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
    };
    Fmod "binary_fmod_s32" i32: |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) };
    SquaredDifference "binary_squared_difference_s32" i32: |a, b| {
        let d = a.wrapping_sub(b);
        d.wrapping_mul(d)
    };
    Equal "binary_equal_s32" u8: |a, b| u8::from(a == b);
    Less "binary_less_s32" u8: |a, b| u8::from(a < b);
    LessOrEqual "binary_less_or_equal_s32" u8: |a, b| u8::from(a <= b);
    Greater "binary_greater_s32" u8: |a, b| u8::from(a > b);
    GreaterOrEqual "binary_greater_or_equal_s32" u8: |a, b| u8::from(a >= b);
    And "binary_and_s32" i32: |a, b| a & b;
    Or "binary_or_s32" i32: |a, b| a | b;
    Xor "binary_xor_s32" i32: |a, b| a ^ b;
}

table! { u8, u8,
    Min "binary_min_u8" u8: |a, b| a.min(b);
    Max "binary_max_u8" u8: |a, b| a.max(b);
    Equal "binary_equal_u8" u8: |a, b| u8::from(a == b);
    Less "binary_less_u8" u8: |a, b| u8::from(a < b);
    LessOrEqual "binary_less_or_equal_u8" u8: |a, b| u8::from(a <= b);
    Greater "binary_greater_u8" u8: |a, b| u8::from(a > b);
    GreaterOrEqual "binary_greater_or_equal_u8" u8: |a, b| u8::from(a >= b);
    And "binary_and_u8" u8: |a, b| a & b;
    Or "binary_or_u8" u8: |a, b| a | b;
    Xor "binary_xor_u8" u8: |a, b| a ^ b;
}

/// a^b modulo 2^32; for a negative exponent what is left of 1 / a^-b toward zero: nothing unless a is 1 or -1.
fn power(a: i32, b: i32) -> i32 {
    match (a, u32::try_from(b)) {
        (_, Ok(b)) => a.wrapping_pow(b),
        (1, _) => 1,
        (-1, _) => 1 - 2 * (b & 1),
        _ => 0,
    }
}
