//! Types of fewer than eight bits, and floats of eight bits and fewer. Integers are held in bytes as the numbers that
//! they are, floats as their codes; where a model converts them to and from other types, this is what that means.

use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{Data, ElemType, Tensor, ValueId};
use crate::onnx::Narrow;

/// A format of small floats: the bits of a code are sign, exponent and fraction.
struct Format {
    /// Bits of the fraction.
    fraction: u32,
    bias: i32,
    /// The bit of the sign; 0 when there is none.
    sign: u8,
    /// Code of the greatest number.
    greatest: u8,
    /// Code of what is no number; formats without one take another zero for it.
    nan: u8,
    /// Whether the only zero is the one without a sign, and the other is what is no number.
    one_zero: bool,
    /// Whether infinity stands behind the greatest number.
    infinite: bool,
}

const E4M3FN: Format =
    Format { fraction: 3, bias: 7, sign: 128, greatest: 0x7E, nan: 0x7F, one_zero: false, infinite: false };
const E4M3FNUZ: Format =
    Format { fraction: 3, bias: 8, sign: 128, greatest: 0x7F, nan: 0x80, one_zero: true, infinite: false };
const E5M2: Format =
    Format { fraction: 2, bias: 15, sign: 128, greatest: 0x7B, nan: 0x7E, one_zero: false, infinite: true };
const E5M2FNUZ: Format =
    Format { fraction: 2, bias: 16, sign: 128, greatest: 0x7F, nan: 0x80, one_zero: true, infinite: false };
const E2M1: Format =
    Format { fraction: 1, bias: 1, sign: 8, greatest: 7, nan: 8, one_zero: false, infinite: false };
const E8M0: Format =
    Format { fraction: 0, bias: 127, sign: 0, greatest: 254, nan: 255, one_zero: false, infinite: false };

fn format(of: Narrow) -> Option<&'static Format> {
    Some(match of {
        Narrow::Float8E4M3Fn => &E4M3FN,
        Narrow::Float8E4M3FnUz => &E4M3FNUZ,
        Narrow::Float8E5M2 => &E5M2,
        Narrow::Float8E5M2FnUz => &E5M2FNUZ,
        Narrow::Float8E8M0 => &E8M0,
        Narrow::Float4E2M1 => &E2M1,
        Narrow::Int4 | Narrow::Uint4 | Narrow::Int2 | Narrow::Uint2 => return None,
    })
}

impl Format {
    /// The number of a code without its sign.
    fn magnitude(&self, code: u8) -> f32 {
        if code > self.greatest {
            return if self.infinite && code == self.greatest + 1 { f32::INFINITY } else { f32::NAN };
        }
        self.grid(u32::from(code))
    }

    /// The number of a code, were the greatest one further on.
    fn grid(&self, code: u32) -> f32 {
        let exponent = (code >> self.fraction) as i32;
        let fraction = f64::from(code & ((1 << self.fraction) - 1)) / f64::from(1 << self.fraction);
        // Without a fraction there is no zero either: every code is a power of two.
        let real = if exponent == 0 && self.fraction > 0 {
            fraction * f64::from(1 - self.bias).exp2()
        } else {
            (1.0 + fraction) * f64::from(exponent - self.bias).exp2()
        };
        real as f32
    }

    /// The numbers of all codes.
    fn numbers(&self) -> Vec<f32> {
        let count = if self.sign == 8 { 16 } else { 256 };
        (0..count)
            .map(|code: usize| {
                let code = code as u8;
                match code & self.sign {
                    0 => self.magnitude(code),
                    _ if self.one_zero && code == self.sign => f32::NAN,
                    sign => -self.magnitude(code ^ sign),
                }
            })
            .collect()
    }

    /// Magnitudes at which each code but the first begins. `beyond` adds the one at which numbers are too great.
    fn steps(&self, beyond: bool, round: Round) -> Vec<f32> {
        let last = u32::from(self.greatest) + u32::from(beyond);
        (1..=last)
            .map(|code| {
                let (below, at) = (self.grid(code - 1), self.grid(code));
                match round {
                    Round::Up => below.next_up(),
                    Round::Down => at,
                    // Both fit f64 with room for the middle, which every format here can hold in f32.
                    Round::Nearest => {
                        let middle = ((f64::from(below) + f64::from(at)) / 2.0) as f32;
                        // In the middle, the even code; the codes of powers of two go up.
                        if code % 2 == 0 || self.fraction == 0 { middle } else { middle.next_up() }
                    }
                }
            })
            .collect()
    }
}

/// Which of two neighbours a number between them becomes.
#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
    Nearest,
}

/// The real numbers of codes, or integers as they are, in a type of ordinary width.
pub(super) fn decode(m: &mut Make<'_, '_>, codes: ValueId, from: Narrow, to: ElemType) -> Made {
    let Some(format) = format(from) else { return m.cast(codes, to) };
    let numbers = format.numbers();
    let table = m.constant(Tensor::new(vec![numbers.len()], Data::F32(numbers)));
    let index = m.cast(codes, ElemType::I32)?;
    let real = m.gather(table, index, 0)?;
    m.cast(real, to)
}

/// Least and greatest number of an integer type.
fn limits(of: Narrow) -> (f64, f64) {
    match of {
        Narrow::Int4 => (-8.0, 7.0),
        Narrow::Uint4 => (0.0, 15.0),
        Narrow::Int2 => (-2.0, 1.0),
        _ => (0.0, 3.0),
    }
}

/// Real numbers in a narrow type, as a cast makes them: integers keep their lowest bits.
fn encode(m: &mut Make<'_, '_>, x: ValueId, to: Narrow) -> Made {
    let Some(format) = format(to) else {
        let (low, high) = limits(to);
        let whole = m.cast(x, ElemType::I32)?;
        let span = m.like(whole, high - low + 1.0);
        let shifted = m.plus(whole, -low)?;
        let rest = m.op("Mod", &[shifted, span])?;
        let y = m.plus(rest, low)?;
        return m.cast(y, to.elem());
    };
    let round = match m.node.str("round_mode", "up") {
        _ if format.fraction > 0 => Round::Nearest,
        "up" => Round::Up,
        "down" => Round::Down,
        "nearest" => Round::Nearest,
        other => return m.fail(format!("has round_mode '{other}', which is not known")),
    };
    let saturates = format.sign == 8 || m.node.int("saturate", 1) != 0;
    let real = m.cast(x, ElemType::F32)?;
    let dims = m.dims(real);
    let column = m.reshape(real, &[dims.iter().product(), 1])?;
    // The code is how many of the steps a magnitude has reached.
    let steps = format.steps(!saturates, round);
    let steps = m.constant(Tensor::new(vec![steps.len()], Data::F32(steps)));
    let magnitude = m.op("Abs", &[column])?;
    let reached = m.op("GreaterOrEqual", &[magnitude, steps])?;
    let reached = m.cast(reached, ElemType::F32)?;
    let mut code = m.reduce("ReduceSum", reached, &[1], true)?;
    if format.sign != 0 {
        code = signed(m, code, column, format, saturates)?;
    }
    let (none, nan) = (m.op("IsNaN", &[column])?, m.like(code, f64::from(format.nan)));
    let code = m.op("Where", &[none, nan, code])?;
    let code = m.reshape(code, &dims)?;
    m.cast(code, ElemType::U8)
}

/// Codes with the signs of the numbers that they stand for.
fn signed(m: &mut Make<'_, '_>, code: ValueId, x: ValueId, format: &Format, saturates: bool) -> Made {
    let zero = m.like(x, 0.0);
    let mut negative = m.op("Less", &[x, zero])?;
    if format.one_zero {
        let some = m.op("Greater", &[code, zero])?;
        negative = m.op("And", &[negative, some])?;
    } else {
        // What is a negative zero shows in its reciprocal.
        let inverse = m.op("Reciprocal", &[x])?;
        let below = m.op("Less", &[inverse, zero])?;
        negative = m.op("Or", &[negative, below])?;
    }
    let with_sign = m.plus(code, f64::from(format.sign))?;
    let y = m.op("Where", &[negative, with_sign, code])?;
    if saturates || !format.one_zero {
        return Ok(y);
    }
    let greatest = m.like(code, f64::from(format.greatest));
    let beyond = m.op("Greater", &[code, greatest])?;
    let nan = m.like(code, f64::from(format.nan));
    m.op("Where", &[beyond, nan, y])
}

/// `Cast` and `CastLike` to or from a narrow type.
pub(super) fn cast(m: &mut Make<'_, '_>) -> Done {
    let (from, to) = (Narrow::source(m.node), Narrow::target(m.node));
    if from.is_none() && to.is_none() {
        return Ok(false);
    }
    let x = m.input(0)?;
    let y = match (from, to) {
        (Some(from), Some(to)) => {
            let real = decode(m, x, from, ElemType::F32)?;
            encode(m, real, to)?
        }
        (None, Some(to)) => encode(m, x, to)?,
        (Some(from), None) => {
            let elem = match m.opt(1) {
                Some(like) => m.elem(like),
                None => match i32::try_from(m.node.int("to", 0)).ok().and_then(crate::onnx::elem_type) {
                    Some(elem) => elem,
                    None => return m.fail("casts to an element type that is not supported"),
                },
            };
            decode(m, x, from, elem)?
        }
        (None, None) => x,
    };
    m.done(y)
}

/// A quotient in a narrow type, as quantization makes it: integers are rounded, shifted and kept within their limits.
pub(super) fn quantized(m: &mut Make<'_, '_>, scaled: ValueId, zero: Option<ValueId>, to: Narrow) -> Made {
    let mut q = if to.is_float() { scaled } else { m.op("Round", &[scaled])? };
    if let Some(zero) = zero {
        q = m.add(q, zero)?;
    }
    if to.is_float() {
        return encode(m, q, to);
    }
    let (low, high) = limits(to);
    let (low, high) = (m.like(q, low), m.like(q, high));
    let q = m.op("Clip", &[q, low, high])?;
    m.cast(q, to.elem())
}

/// Refuses a zero point of floats that shifts anything: the numbers of a float type have their zero where it is.
pub(super) fn check_zero(m: &Make<'_, '_>) -> Result<(), ImportError> {
    let shifts =
        |v: ValueId| !m.known(v).is_some_and(|t| t.to_i64().is_some_and(|v| v.iter().all(|&c| c == 0)));
    if m.opt(2).is_some_and(shifts) {
        return m.fail("shifts small floats by a zero point, which has to be 0; export the model again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_numbers_that_the_formats_define() {
        let number = |of, code: usize| format(of).unwrap().numbers()[code];
        for (of, code, want) in [
            (Narrow::Float8E4M3Fn, 0x7E, 448.0),
            (Narrow::Float8E4M3Fn, 0x01, 0.001_953_125),
            (Narrow::Float8E4M3Fn, 0xB8, -1.0),
            (Narrow::Float8E4M3FnUz, 0x7F, 240.0),
            (Narrow::Float8E5M2, 0x7B, 57344.0),
            (Narrow::Float8E5M2, 0xFC, f32::NEG_INFINITY),
            (Narrow::Float8E5M2FnUz, 0xFF, -57344.0),
            (Narrow::Float8E8M0, 0, 2.0_f32.powi(-127)),
            (Narrow::Float8E8M0, 254, 2.0_f32.powi(127)),
            (Narrow::Float4E2M1, 15, -6.0),
            (Narrow::Float4E2M1, 1, 0.5),
        ] {
            assert_eq!(number(of, code), want, "{of:?} {code:#x}");
        }
        for (of, code) in [
            (Narrow::Float8E4M3Fn, 0xFF),
            (Narrow::Float8E4M3FnUz, 0x80),
            (Narrow::Float8E5M2, 0x7D),
            (Narrow::Float8E8M0, 255),
        ] {
            assert!(number(of, code).is_nan(), "{of:?} {code:#x}");
        }
    }

    /// Every number is its own code again, and what lies in the middle goes to the even one.
    #[test]
    fn steps_round_to_nearest_even() {
        for of in [Narrow::Float8E4M3Fn, Narrow::Float8E4M3FnUz, Narrow::Float8E5M2, Narrow::Float4E2M1] {
            let format = format(of).unwrap();
            let steps = format.steps(false, Round::Nearest);
            let code = |x: f32| steps.iter().filter(|&&s| x >= s).count();
            for k in 0..=usize::from(format.greatest) {
                assert_eq!(code(format.magnitude(k as u8)), k, "{of:?}");
                if k > 0 {
                    let middle = (format.magnitude(k as u8) + format.magnitude(k as u8 - 1)) / 2.0;
                    assert_eq!(code(middle), k - k % 2, "{of:?} between {} and {k}", k - 1);
                }
            }
        }
    }
}
