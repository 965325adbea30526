//! Reductions, running sums and products of matrices, over constants.

use super::data::{broadcast_strides, from_f64, from_i64, strides, to_f64, walk};
use super::layout::cumulate;
use super::{Call, MAX_MACS};
use crate::graph::{ElemType, Tensor};
use crate::infer::{axis, reduce_axes};

/// Combines an accumulator with an element, or with the number of elements at the end.
type Combine = fn(f64, f64) -> f64;

type Out = Result<Option<Vec<Tensor>>, String>;

pub fn evaluate(c: &Call<'_>) -> Out {
    match c.op() {
        "CumSum" => cum_sum(c),
        "MatMul" => mat_mul(c),
        op if op.starts_with("Reduce") => reduce(c),
        _ => Ok(None),
    }
}

fn reduce(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    let axes = reduce_axes(&c.ctx)?;
    let kept: Vec<usize> =
        x.dims.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect();
    let to = broadcast_strides(&kept, &x.dims);
    let from: Vec<isize> = strides(&x.dims).into_iter().map(|s| s as isize).collect();
    let n: usize = kept.iter().product();
    let count = (x.len() / n.max(1)) as f64;
    let data = if let Some(v) = x.to_i64() {
        let (start, f): (i64, fn(i64, i64) -> i64) = match c.op() {
            "ReduceSum" => (0, i64::wrapping_add),
            "ReduceProd" => (1, i64::wrapping_mul),
            "ReduceMax" => (limits(x.elem()).0, i64::max),
            "ReduceMin" => (limits(x.elem()).1, i64::min),
            "ReduceL1" => (0, |a, x| a.wrapping_add(x.wrapping_abs())),
            "ReduceSumSquare" => (0, |a, x| a.wrapping_add(x.wrapping_mul(x))),
            _ => return Ok(None),
        };
        let mut out = vec![start; n];
        walk(&x.dims, [&from, &to], [0, 0], |[i, o]| out[o] = f(out[o], v[i]));
        from_i64(out, x.elem())
    } else {
        let v = to_f64(x);
        let (start, f, last): (f64, Combine, Combine) = match c.op() {
            "ReduceSum" => (0.0, |a, x| a + x, |a, _| a),
            "ReduceMean" => (0.0, |a, x| a + x, |a, n| a / n),
            "ReduceProd" => (1.0, |a, x| a * x, |a, _| a),
            "ReduceMax" => (f64::NEG_INFINITY, f64::max, |a, _| a),
            "ReduceMin" => (f64::INFINITY, f64::min, |a, _| a),
            "ReduceL1" => (0.0, |a, x| a + x.abs(), |a, _| a),
            "ReduceL2" => (0.0, |a, x| a + x * x, |a, _| a.sqrt()),
            "ReduceSumSquare" => (0.0, |a, x| a + x * x, |a, _| a),
            "ReduceLogSum" => (0.0, |a, x| a + x, |a, _| a.ln()),
            // Exponentials of greater numbers than the rest do not fit; where there is none, nothing is too great.
            "ReduceLogSumExp" if x.is_empty() => (0.0, |a, _| a, |a, _| a.ln()),
            _ => return Ok(None),
        };
        let mut out = vec![start; n];
        walk(&x.dims, [&from, &to], [0, 0], |[i, o]| out[o] = f(out[o], v[i]));
        from_f64(out.into_iter().map(|a| last(a, count)).collect(), x.elem())
    };
    Ok(Some(vec![Tensor::new(c.dims().to_vec(), data)]))
}

/// Least and greatest number of an integer type: what reductions of nothing come to.
fn limits(elem: ElemType) -> (i64, i64) {
    match elem {
        ElemType::Bool => (0, 1),
        ElemType::I8 => (i8::MIN.into(), i8::MAX.into()),
        ElemType::U8 => (0, u8::MAX.into()),
        ElemType::I16 => (i16::MIN.into(), i16::MAX.into()),
        ElemType::U16 => (0, u16::MAX.into()),
        ElemType::I32 => (i32::MIN.into(), i32::MAX.into()),
        ElemType::U32 => (0, u32::MAX.into()),
        ElemType::U64 => (0, i64::MAX),
        _ => (i64::MIN, i64::MAX),
    }
}

fn cum_sum(c: &Call<'_>) -> Out {
    let x = c.input(0)?;
    let a = axis(c.ints(1)?.first().copied().unwrap_or(0), x.dims.len())?;
    let (exclusive, reverse) = (c.ctx.node.int("exclusive", 0) != 0, c.ctx.node.int("reverse", 0) != 0);
    let data = if let Some(mut v) = x.to_i64() {
        cumulate(&mut v, &x.dims, a, exclusive, reverse, 0, i64::wrapping_add);
        from_i64(v, x.elem())
    } else {
        let mut v = to_f64(x);
        cumulate(&mut v, &x.dims, a, exclusive, reverse, 0.0, |a, b| a + b);
        from_f64(v, x.elem())
    };
    Ok(Some(vec![Tensor::new(x.dims.clone(), data)]))
}

/// Products of two matrices; batches stay in the graph.
fn mat_mul(c: &Call<'_>) -> Out {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (&[m, k], &[_, n]) = (a.dims.as_slice(), b.dims.as_slice()) else { return Ok(None) };
    if !a.elem().is_float() || m.saturating_mul(k).saturating_mul(n) > MAX_MACS || c.opt(2).is_some() {
        return Ok(None);
    }
    let (x, y) = (to_f64(a), to_f64(b));
    let mut out = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..k {
            for o in 0..n {
                out[i * n + o] += x[i * k + j] * y[j * n + o];
            }
        }
    }
    Ok(Some(vec![Tensor::new(vec![m, n], from_f64(out, a.elem()))]))
}
