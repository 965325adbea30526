//! Products of matrices in their various spellings.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::graph::{Attr, Data, Tensor, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Det", det),
    ("Gemm", gemm_of_integers),
    ("MatMul", matmul_of_integers),
    ("com.microsoft.FusedConv", fused_conv),
    ("com.microsoft.FusedGemm", fused_gemm),
    ("com.microsoft.FusedMatMul", fused_matmul),
    ("com.microsoft.TransposeMatMul", fused_matmul),
    ("com.microsoft.MatMulNBits", matmul_nbits),
];

/// Most products of integers that are made one by one and summed.
const MAX_PRODUCTS: usize = 1 << 24;

/// The product of two matrices of integers, as sums of products: steps multiply matrices of reals, which would round.
fn integer_product(m: &mut Make<'_, '_>, a: ValueId, b: ValueId) -> Made {
    let (ad, bd) = (m.dims(a), m.dims(b));
    let (Some(&k), Some(&last)) = (ad.last(), bd.last()) else { return m.fail("multiplies scalars") };
    let vectors = (ad.len() == 1, bd.len() == 1);
    let columns = if vectors.1 { 1 } else { last };
    let column = if vectors.1 { vec![k, 1] } else { bd };
    let (left, mut right) = ([&ad[..], &[1]].concat(), column);
    right.insert(right.len() - 2, 1);
    let work = ad.iter().chain(&right[..right.len() - 3]).try_fold(columns, |n, &d| n.checked_mul(d));
    if work.is_none_or(|n| n > MAX_PRODUCTS) {
        return m.fail(format!(
            "multiplies integers of dimensions {ad:?} by {:?}, more than {MAX_PRODUCTS} products; cast them to float",
            m.dims(b)
        ));
    }
    let (left, right) = (m.reshape(a, &left)?, m.reshape(b, &right)?);
    let products = m.mul(left, right)?;
    let rank = m.rank(products);
    let mut drop = vec![rank - 2];
    drop.extend(vectors.0.then_some(rank - 3));
    drop.extend(vectors.1.then_some(rank - 1));
    m.reduce("ReduceSum", products, &drop, false)
}

fn matmul_of_integers(m: &mut Make<'_, '_>) -> Done {
    let (a, b) = (m.input(0)?, m.input(1)?);
    if m.elem(a).is_float() || m.elem(a) != m.elem(b) {
        return Ok(false);
    }
    let y = integer_product(m, a, b)?;
    m.done(y)
}

fn gemm_of_integers(m: &mut Make<'_, '_>) -> Done {
    let (mut a, mut b) = (m.input(0)?, m.input(1)?);
    if m.elem(a).is_float() || m.elem(a) != m.elem(b) {
        return Ok(false);
    }
    let (alpha, beta) = (m.node.float("alpha", 1.0), m.node.float("beta", 1.0));
    if alpha.fract() != 0.0 || beta.fract() != 0.0 {
        return m.fail(format!("scales integers by alpha {alpha} and beta {beta}; cast them to float"));
    }
    if m.node.int("transA", 0) != 0 {
        a = m.swap_last(a)?;
    }
    if m.node.int("transB", 0) != 0 {
        b = m.swap_last(b)?;
    }
    let mut y = integer_product(m, a, b)?;
    y = if alpha == 1.0 { y } else { m.times(y, f64::from(alpha))? };
    if let Some(c) = m.opt(2) {
        let c = if beta == 1.0 { c } else { m.times(c, f64::from(beta))? };
        y = m.add(y, c)?;
    }
    m.done(y)
}

/// The activation that a fused operator of ONNX Runtime applies.
fn activation(m: &mut Make<'_, '_>, x: ValueId, parameters: &[f32]) -> Made {
    let at = |i: usize, default: f32| Attr::Float(parameters.get(i).copied().unwrap_or(default));
    match m.node.str("activation", "").to_owned().as_str() {
        "" => Ok(x),
        "Clip" => {
            let (low, high) = (parameters.first().copied(), parameters.get(1).copied());
            let low = m.like(x, f64::from(low.unwrap_or(f32::MIN)));
            let high = m.like(x, f64::from(high.unwrap_or(f32::MAX)));
            m.op("Clip", &[x, low, high])
        }
        "LeakyRelu" => m.op_with("LeakyRelu", &[x], &[("alpha", at(0, 0.01))]),
        "HardSigmoid" => m.op_with("HardSigmoid", &[x], &[("alpha", at(0, 0.2)), ("beta", at(1, 0.5))]),
        name @ ("Relu" | "Sigmoid" | "Tanh" | "HardSwish") => m.op(name, &[x]),
        other => m.fail(format!("applies '{other}', which is not supported")),
    }
}

/// A convolution, a tensor added to it, an activation.
fn fused_conv(m: &mut Make<'_, '_>) -> Done {
    let keep = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
    let attrs: Vec<(&str, Attr)> =
        keep.iter().filter_map(|&k| m.node.attrs.get(k).map(|v| (k, v.clone()))).collect();
    let inputs = [Some(m.input(0)?), Some(m.input(1)?), m.opt(2)];
    let mut y = m.op_opt("Conv", &inputs, &attrs)?;
    if let Some(sum) = m.opt(3) {
        y = m.add(y, sum)?;
    }
    let parameters = match m.node.attrs.get("activation_params") {
        Some(Attr::Floats(v)) => v.clone(),
        _ => Vec::new(),
    };
    let y = activation(m, y, &parameters)?;
    m.done(y)
}

fn fused_gemm(m: &mut Make<'_, '_>) -> Done {
    let keep = ["alpha", "beta", "transA", "transB"];
    let attrs: Vec<(&str, Attr)> =
        keep.iter().filter_map(|&k| m.node.attrs.get(k).map(|v| (k, v.clone()))).collect();
    let inputs = [Some(m.input(0)?), Some(m.input(1)?), m.opt(2)];
    let y = m.op_opt("Gemm", &inputs, &attrs)?;
    let names = ["activation_alpha", "activation_beta"];
    let parameters: Vec<f32> = names
        .iter()
        .filter_map(|&k| match m.node.attrs.get(k) {
            Some(&Attr::Float(v)) => Some(v),
            _ => None,
        })
        .collect();
    let y = activation(m, y, &parameters)?;
    m.done(y)
}

fn fused_matmul(m: &mut Make<'_, '_>) -> Done {
    let mut sides = [m.input(0)?, m.input(1)?];
    for (side, (swap, batch)) in sides.iter_mut().zip([("transA", "transBatchA"), ("transB", "transBatchB")])
    {
        let rank = m.rank(*side);
        if m.node.int(batch, 0) != 0 && rank > 2 {
            // The first dimension moves behind the other leading ones.
            let order: Vec<usize> = (1..rank - 1).chain([0, rank - 1]).collect();
            *side = m.transpose(*side, &order)?;
        }
        if m.node.int(swap, 0) != 0 && rank > 1 {
            *side = m.swap_last(*side)?;
        }
    }
    let product = m.op("MatMul", &sides)?;
    let alpha = m.node.float("alpha", 1.0);
    let y = if alpha == 1.0 { product } else { m.times(product, f64::from(alpha))? };
    m.done(y)
}

/// The determinant of matrices of at most 3 rows, by cofactors.
fn det(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let n = dims.last().copied().unwrap_or(0);
    if dims.len() < 2 || dims[dims.len() - 2] != n || !(1..=3).contains(&n) {
        return m.fail(format!("needs matrices of 1 to 3 rows and columns, they are {dims:?}"));
    }
    let outer = dims[..dims.len() - 2].to_vec();
    let flat = m.reshape(x, &[&outer[..], &[n * n]].concat())?;
    let mut cells = Vec::new();
    for i in 0..n * n {
        let cell = m.slice(flat, outer.len(), i, i + 1)?;
        cells.push(m.reshape(cell, &outer)?);
    }
    let minor = |m: &mut Make<'_, '_>, [a, b, c, d]: [usize; 4]| -> Made {
        let (p, q) = (m.mul(cells[a], cells[d])?, m.mul(cells[b], cells[c])?);
        m.sub(p, q)
    };
    let y = match n {
        1 => cells[0],
        2 => minor(m, [0, 1, 2, 3])?,
        _ => {
            let (a, b, c) = (minor(m, [4, 5, 7, 8])?, minor(m, [3, 5, 6, 8])?, minor(m, [3, 4, 6, 7])?);
            let (a, b, c) = (m.mul(cells[0], a)?, m.mul(cells[1], b)?, m.mul(cells[2], c)?);
            let first = m.sub(a, b)?;
            m.add(first, c)?
        }
    };
    m.done(y)
}

/// A product with weights `[N, blocks, bytes]` of few bits, each block with its scale and zero point (the middle of the
/// range when left out). Inputs: a, weights, scales, zero points, group indices, bias.
fn matmul_nbits(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let (k, n, bits, block) = (m.count("K")?, m.count("N")?, m.count("bits")?, m.count("block_size")?);
    if !matches!(bits, 2 | 4 | 8) || m.opt(4).is_some() {
        return m.fail(format!(
            "has weights of {bits} bits or a group index; 2, 4 and 8 bits without one are supported"
        ));
    }
    let blocks = k.div_ceil(block);
    let read = |i: usize| match m.known_input(i)? {
        Some(t) => Ok(Some(t.clone())),
        None => Ok::<_, crate::ImportError>(None),
    };
    let (weights, scales, zeros) = (read(1)?, read(2)?, read(3)?);
    let (Some(weights), Some(scales)) = (weights, scales) else { return m.fail("needs weights and scales") };
    let Data::U8(packed) = &weights.data else { return m.fail("needs weights of uint8") };
    let per_byte = 8 / bits;
    let mask = (1u16 << bits) as u8;
    let mask = mask.wrapping_sub(1);
    let field = |bytes: &[u8], i: usize| bytes[i / per_byte] >> (i % per_byte * bits) & mask;
    let row_bytes = block / per_byte;
    let zero_bytes = blocks.div_ceil(per_byte);
    let scales = scales.to_f32();
    let zero = |row: usize, b: usize| -> Option<f32> {
        Some(match zeros.as_ref().map(|z| &z.data) {
            None => (1u32 << (bits - 1)) as f32,
            Some(Data::U8(z)) => f32::from(field(z.get(row * zero_bytes..(row + 1) * zero_bytes)?, b)),
            Some(Data::F32(z)) => *z.get(row * blocks + b)?,
            Some(Data::F16(z)) => z.get(row * blocks + b)?.to_f32(),
            Some(_) => return None,
        })
    };
    if packed.len() != n * blocks * row_bytes
        || scales.len() != n * blocks
        || zero(n - 1, blocks - 1).is_none()
    {
        return m.fail(format!(
            "has {} bytes of weights and {} scales for a matrix of {k} x {n} in blocks of {block}",
            packed.len(),
            scales.len()
        ));
    }
    let mut matrix = vec![0.0; k * n];
    for row in 0..n {
        for i in 0..k {
            let b = i / block;
            let bytes = &packed[(row * blocks + b) * row_bytes..][..row_bytes];
            let q = f32::from(field(bytes, i % block));
            matrix[i * n + row] = (q - zero(row, b).unwrap_or(0.0)) * scales[row * blocks + b];
        }
    }
    let elem = m.elem(x);
    let matrix = m.constant(crate::fold::cast(&Tensor::f32(&[k, n], matrix), elem));
    let mut y = m.op("MatMul", &[x, matrix])?;
    if let Some(bias) = m.opt(5) {
        y = m.add(y, bias)?;
    }
    m.done(y)
}
