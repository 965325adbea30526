//! Elementwise operators over constants.

use super::Call;
use super::data::{broadcast_strides, cast, from_f64, from_i64, map_data, to_f64, view, walk};
use crate::graph::{Data, Tensor};

type Out = Result<Option<Vec<Tensor>>, String>;

pub fn evaluate(c: &Call<'_>) -> Out {
    let one = |t: Tensor| Ok(Some(vec![t]));
    match c.op() {
        "Identity" => one(c.input(0)?.clone()),
        "Cast" | "CastLike" => one(cast(c.input(0)?, c.types[0].0)),
        "Where" => one(choose(c)?),
        "Clip" => one(clip(c)?),
        "QuantizeLinear" => quantize(c),
        "DequantizeLinear" => dequantize(c),
        "Not" | "IsNaN" => predicate(c),
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" => compare(c),
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" => arithmetic(c),
        "Max" | "Min" | "Sum" => variadic(c),
        _ => unary(c),
    }
}

fn unary(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    let data = if let Some(ints) = x.to_i64() {
        let f: fn(i64) -> i64 = match c.op() {
            "Abs" => i64::wrapping_abs,
            "Neg" => i64::wrapping_neg,
            "Sign" => i64::signum,
            "Relu" => |v| v.max(0),
            _ => return Ok(None),
        };
        from_i64(ints.into_iter().map(f).collect(), x.elem())
    } else {
        let f: fn(f64) -> f64 = match c.op() {
            "Abs" => f64::abs,
            "Neg" => |v| -v,
            "Sign" => |v| if v == 0.0 { 0.0 } else { v.signum() },
            "Relu" => |v| v.max(0.0),
            "Sqrt" => f64::sqrt,
            "Exp" => f64::exp,
            "Log" => f64::ln,
            "Sin" => f64::sin,
            "Cos" => f64::cos,
            "Tan" => f64::tan,
            "Tanh" => f64::tanh,
            "Atan" => f64::atan,
            "Floor" => f64::floor,
            "Ceil" => f64::ceil,
            "Round" => f64::round_ties_even,
            "Reciprocal" => |v| 1.0 / v,
            "Sigmoid" => |v| 1.0 / (1.0 + (-v).exp()),
            "Softplus" => |v| v.max(0.0) + (-v.abs()).exp().ln_1p(),
            _ => return Ok(None),
        };
        from_f64(to_f64(x).into_iter().map(f).collect(), x.elem())
    };
    Ok(Some(vec![Tensor::new(x.dims.clone(), data)]))
}

/// `f` over every pair of elements of `a` and `b` broadcast to `dims`.
fn pairs<A: Copy, B: Copy, R>(
    dims: &[usize],
    (a, a_dims): (&[A], &[usize]),
    (b, b_dims): (&[B], &[usize]),
    f: impl Fn(A, B) -> R,
) -> Vec<R> {
    let mut out = Vec::with_capacity(dims.iter().product());
    let (sa, sb) = (broadcast_strides(a_dims, dims), broadcast_strides(b_dims, dims));
    walk(dims, [&sa, &sb], [0, 0], |[i, j]| out.push(f(a[i], b[j])));
    out
}

/// Integers, if both are such and fit i64 as numbers.
fn int_pair(a: &Tensor, b: &Tensor) -> Option<(Vec<i64>, Vec<i64>)> {
    let fits = |t: &Tensor| !matches!(&t.data, Data::U64(v) if v.iter().any(|&x| x > i64::MAX as u64));
    if fits(a) && fits(b) { Some((a.to_i64()?, b.to_i64()?)) } else { None }
}

fn arithmetic(c: &Call<'_>) -> Out {
    let (a, b, dims) = (c.input(0)?, c.input(1)?, c.dims());
    let data = if let Some((x, y)) = int_pair(a, b) {
        if matches!(c.op(), "Div" | "Mod") && y.contains(&0) {
            return Err("divides integers by zero; check the shapes the model was exported with".to_owned());
        }
        let floor = c.ctx.node.int("fmod", 0) == 0;
        let f = |x: i64, y: i64| match c.op() {
            "Add" => x.wrapping_add(y),
            "Sub" => x.wrapping_sub(y),
            "Mul" => x.wrapping_mul(y),
            "Div" => x.wrapping_div(y),
            // Python's sign rule unless fmod asks for C's.
            "Mod" if floor => ((i128::from(x) % i128::from(y) + i128::from(y)) % i128::from(y)) as i64,
            "Mod" => x.wrapping_rem(y),
            _ if y < 0 => (x as f64).powf(y as f64) as i64,
            _ => x.wrapping_pow(u32::try_from(y).unwrap_or(u32::MAX)),
        };
        from_i64(pairs(dims, (&x, &a.dims), (&y, &b.dims), f), a.elem())
    } else {
        let (x, y) = (to_f64(a), to_f64(b));
        let floor = c.ctx.node.int("fmod", 0) == 0;
        let f = |x: f64, y: f64| match c.op() {
            "Add" => x + y,
            "Sub" => x - y,
            "Mul" => x * y,
            "Div" => x / y,
            "Mod" if floor && x % y != 0.0 && (x % y < 0.0) != (y < 0.0) => x % y + y,
            "Mod" => x % y,
            _ => x.powf(y),
        };
        from_f64(pairs(dims, (&x, &a.dims), (&y, &b.dims), f), a.elem())
    };
    Ok(Some(vec![Tensor::new(dims.to_vec(), data)]))
}

fn variadic(c: &Call<'_>) -> Out {
    let dims = c.dims();
    let first = c.input(0)?;
    let mut acc = view(first, dims, &broadcast_strides(&first.dims, dims), 0);
    for i in 1..c.inputs.len() {
        let b = c.input(i)?;
        let data = if let Some((x, y)) = int_pair(&acc, b) {
            let f = |x: i64, y: i64| match c.op() {
                "Max" => x.max(y),
                "Min" => x.min(y),
                _ => x.wrapping_add(y),
            };
            from_i64(pairs(dims, (&x, dims), (&y, &b.dims), f), acc.elem())
        } else {
            let nan = |x: f64, y: f64| x.is_nan() || y.is_nan();
            let f = |x: f64, y: f64| match c.op() {
                "Max" | "Min" if nan(x, y) => f64::NAN,
                "Max" => x.max(y),
                "Min" => x.min(y),
                _ => x + y,
            };
            from_f64(pairs(dims, (&to_f64(&acc), dims), (&to_f64(b), &b.dims), f), acc.elem())
        };
        acc = Tensor::new(dims.to_vec(), data);
    }
    Ok(Some(vec![acc]))
}

fn compare(c: &Call<'_>) -> Out {
    let (a, b, dims) = (c.input(0)?, c.input(1)?, c.dims());
    fn test<T: PartialOrd>(op: &str, x: T, y: T, truth: impl Fn(&T) -> bool) -> bool {
        match op {
            "Equal" => x == y,
            "Greater" => x > y,
            "GreaterOrEqual" => x >= y,
            "Less" => x < y,
            "LessOrEqual" => x <= y,
            "And" => truth(&x) && truth(&y),
            "Or" => truth(&x) || truth(&y),
            _ => truth(&x) != truth(&y),
        }
    }
    let out = if let Some((x, y)) = int_pair(a, b) {
        pairs(dims, (&x, &a.dims), (&y, &b.dims), |x, y| test(c.op(), x, y, |v| *v != 0))
    } else {
        let (x, y) = (to_f64(a), to_f64(b));
        pairs(dims, (&x, &a.dims), (&y, &b.dims), |x, y| test(c.op(), x, y, |v| *v != 0.0))
    };
    Ok(Some(vec![Tensor::new(dims.to_vec(), Data::Bool(out))]))
}

fn predicate(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    let out = match (&x.data, c.op()) {
        (Data::Bool(v), "Not") => v.iter().map(|b| !b).collect(),
        (_, "IsNaN") => to_f64(x).into_iter().map(f64::is_nan).collect(),
        _ => return Ok(None),
    };
    Ok(Some(vec![Tensor::new(x.dims.clone(), Data::Bool(out))]))
}

fn choose(c: &Call<'_>) -> Result<Tensor, String> {
    let (cond, a, b, dims) = (c.input(0)?, c.input(1)?, c.input(2)?, c.dims());
    let full = |t: &Tensor| view(t, dims, &broadcast_strides(&t.dims, dims), 0);
    let (cond, b) = (full(cond).to_i64().unwrap_or_default(), full(b));
    let mut out = full(a);
    macro_rules! select {
        ($($v:ident),*) => {
            match (&mut out.data, &b.data) {
                $((Data::$v(x), Data::$v(y)) => {
                    for ((x, &y), &keep) in x.iter_mut().zip(y).zip(&cond) {
                        if keep == 0 {
                            *x = y;
                        }
                    }
                })*
                _ => return Err("chooses between two types".to_owned()),
            }
        };
    }
    select!(F32, F16, BF16, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool);
    Ok(out)
}

fn clip(c: &Call<'_>) -> Result<Tensor, String> {
    let x = c.input(0)?;
    let mut out = x.clone();
    for (i, lower) in [(1, true), (2, false)] {
        let Some(limit) = c.opt(i).filter(|t| t.len() == 1) else { continue };
        let limit = cast(limit, x.elem());
        out.data = if let (Some(v), Some(l)) = (out.to_i64(), limit.to_i64()) {
            let f = |x: i64| if lower { x.max(l[0]) } else { x.min(l[0]) };
            from_i64(v.into_iter().map(f).collect(), x.elem())
        } else {
            let l = to_f64(&limit)[0];
            let f = |x: f64| if (lower && x < l) || (!lower && x > l) { l } else { x };
            from_f64(to_f64(&out).into_iter().map(f).collect(), x.elem())
        };
    }
    Ok(out)
}

/// Scales, and as many zero points.
type Params = (Vec<f32>, Vec<i64>);

/// Scales and zero points (0 when left out); `None` for forms that are not folded.
fn params(c: &Call<'_>) -> Result<Option<Params>, String> {
    let scale = c.input(1)?;
    if c.ctx.node.int("block_size", 0) != 0 {
        return Ok(None);
    }
    let zero = match c.opt(2) {
        Some(z) => match z.to_i64() {
            Some(v) => v,
            None => return Ok(None),
        },
        None => vec![0; scale.len()],
    };
    if zero.len() != scale.len() {
        return Ok(None);
    }
    Ok(Some((scale.to_f32(), zero)))
}

/// Index into the scales of each element of `dims`.
fn scale_index(c: &Call<'_>, dims: &[usize], scales: usize) -> Result<Vec<isize>, String> {
    let mut strides = vec![0; dims.len()];
    if scales > 1 {
        strides[crate::infer::axis(c.ctx.node.int("axis", 1), dims.len())?] = 1;
    }
    Ok(strides)
}

fn dequantize(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    let (Some((scale, zero)), Some(ints)) = (params(c)?, x.to_i64()) else { return Ok(None) };
    let strides = scale_index(c, &x.dims, scale.len())?;
    let mut out = Vec::with_capacity(ints.len());
    let mut ints = ints.into_iter();
    walk(&x.dims, [&strides], [0], |[s]| {
        out.extend(ints.next().map(|q| f64::from((q - zero[s]) as f32 * scale[s])));
    });
    Ok(Some(vec![Tensor::new(x.dims.clone(), from_f64(out, c.types[0].0))]))
}

fn quantize(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    let (Some((scale, zero)), elem) = (params(c)?, c.types[0].0) else { return Ok(None) };
    let limits = |bits: u32, signed: bool| match signed {
        true => (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1),
        false => (0, (1i64 << bits) - 1),
    };
    use crate::graph::ElemType as E;
    let signed = matches!(elem, E::I8 | E::I16 | E::I32);
    if elem.size() > 4 {
        return Ok(None);
    }
    let (low, high) = limits(8 * elem.size() as u32, signed);
    let strides = scale_index(c, &x.dims, scale.len())?;
    let mut reals = x.to_f32().into_iter();
    let mut out = Vec::with_capacity(x.len());
    walk(&x.dims, [&strides], [0], |[s]| {
        let q = reals.next().map(|r| ((r / scale[s]).round_ties_even() as i64).saturating_add(zero[s]));
        out.extend(q.map(|q| q.clamp(low, high)));
    });
    Ok(Some(vec![Tensor::new(x.dims.clone(), from_i64(out, elem))]))
}

/// The elements of `t` as often as needed to fill `dims`.
pub fn expanded(t: &Tensor, dims: &[usize]) -> Tensor {
    if t.len() == 1 {
        let n = dims.iter().product();
        return Tensor::new(dims.to_vec(), map_data!(&t.data, v => vec![v[0]; n]));
    }
    view(t, dims, &broadcast_strides(&t.dims, dims), 0)
}
