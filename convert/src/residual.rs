//! Residual additions become part of the int8 convolution before them: product and addend meet as real numbers and are
//! rounded once, and one tensor less is written and read.

use cygnet_format::op::{BinaryKind, CONV_ADDEND, Conv, Op};
use cygnet_format::program::DType;

use crate::fuse::{TABLE_INPUT, only_reader};
use crate::graph::absorb;
use crate::lir::{Const, Id, Kind, Lir};

/// Position of the multipliers among a convolution's inputs.
const MULTIPLIER: usize = 3;

/// An addition that a convolution takes up.
struct Found {
    conv: usize,
    add: usize,
    addend: Id,
    /// Scales of the convolution's result and of the addend over the sum's.
    scales: [f32; 2],
}

/// Takes up every addition of which an operand is an int8 convolution's result that nothing else reads, and the other one
/// is there before it. `real` says of which tensors the source model computes real numbers: roundings that it has
/// itself are kept.
pub fn fold_additions(lir: &mut Lir, real: impl Fn(Id) -> bool) {
    let (readers, producers) = (lir.readers(), lir.producers());
    let found: Vec<Found> =
        (0..lir.steps.len()).filter_map(|add| find(lir, &readers, &producers, add, &real)).collect();
    let mut gone = vec![false; lir.steps.len()];
    for f in &found {
        gone[f.add] = take_up(lir, f).is_some();
    }
    let mut gone = gone.into_iter();
    lir.steps.retain(|_| !gone.next().unwrap_or(false));
}

fn find(
    lir: &Lir,
    readers: &[Vec<usize>],
    producers: &[Option<usize>],
    add: usize,
    real: impl Fn(Id) -> bool,
) -> Option<Found> {
    let step = &lir.steps[add];
    let Kind::Op(Op::Binary(p)) = &step.kind else { return None };
    let &[Some(a), Some(b)] = &step.inputs[..] else { return None };
    let y = &lir.tensors[step.output];
    let whole = [a, b].iter().all(|&id| {
        let t = &lir.tensors[id];
        t.dtype == DType::S8 && t.dims == y.dims && t.constant.is_none() && t.quant.is_some()
    });
    if p.kind != BinaryKind::Add || y.dtype != DType::S8 || !whole || a == b {
        return None;
    }
    let sides = [(a, b, [p.scale_a, p.scale_b]), (b, a, [p.scale_b, p.scale_a])];
    sides.into_iter().find_map(|(product, addend, scales)| {
        let conv = producers[product]?;
        let Kind::Op(Op::Conv(c)) = &lir.steps[conv].kind else { return None };
        let takes = real(product) && is_bare(lir, conv, c) && only_reader(lir, readers, product) == Some(add);
        (takes && producers[addend].is_none_or(|i| i < conv)).then_some(Found { conv, add, addend, scales })
    })
}

/// Whether nothing happens to the results of an int8 convolution but rounding.
fn is_bare(lir: &Lir, at: usize, conv: &Conv) -> bool {
    let step = &lir.steps[at];
    let s8 = step.inputs.first().copied().flatten().is_some_and(|x| lir.tensors[x].dtype == DType::S8);
    let more = step.inputs.iter().skip(TABLE_INPUT).flatten().next();
    s8 && more.is_none() && conv.epilogue.lo <= -128.0 && conv.epilogue.hi >= 127.0
}

fn take_up(lir: &mut Lir, f: &Found) -> Option<()> {
    let [scale, addend_scale] = f.scales;
    let Kind::Op(Op::Binary(p)) = &lir.steps[f.add].kind else { return None };
    let (epilogue, output) = (p.epilogue, lir.steps[f.add].output);
    let id = lir.steps[f.conv].inputs.get(MULTIPLIER).copied().flatten()?;
    let Some(Const::F32(values)) = lir.tensors[id].constant.as_deref() else { return None };
    let values = values.iter().map(|&m| (f64::from(m) * f64::from(scale)) as f32).collect();
    let (name, dims) = (lir.tensors[id].name.clone(), lir.tensors[id].dims.clone());
    let multiplier = lir.add_const(name, &dims, Const::F32(values));
    let sources = std::mem::take(&mut lir.steps[f.add].sources);
    let step = &mut lir.steps[f.conv];
    step.inputs.resize(CONV_ADDEND + 1, None);
    step.inputs[MULTIPLIER] = Some(multiplier);
    step.inputs[CONV_ADDEND] = Some(f.addend);
    step.output = output;
    absorb(&mut step.sources, &sources);
    if let Kind::Op(Op::Conv(p)) = &mut step.kind {
        (p.epilogue, p.addend_scale) = (epilogue, addend_scale);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use cygnet_format::op::{Algorithm, Binary, Epilogue, Map, Unary, UnaryKind, Window};
    use cygnet_format::program::Quant;

    use super::*;

    const BYTES: Epilogue = Epilogue { lo: -128.0, hi: 127.0, unary: Unary::IDENTITY };

    /// `x + conv(x)` in int8: the graph, and the tensors of the product and of the sum.
    fn graph(conv: Epilogue) -> (Lir, [Id; 3]) {
        let mut lir = Lir::default();
        let quant = |scale| Some(Quant { scale, zero_point: 3 });
        let mut tensor = |name: &str, scale| {
            let id = lir.add(name, &[1, 2, 2, 4], DType::S8);
            lir.tensors[id].quant = quant(scale);
            id
        };
        let (x, product, sum) = (tensor("x", 0.5), tensor("product", 0.25), tensor("sum", 1.0));
        lir.inputs.push(("x".into(), x));
        lir.outputs.push(("sum".into(), sum));
        let w = lir.add_const("w", &[4, 1, 1, 4], Const::S8(vec![1; 16]));
        let bias = lir.add_const("bias", &[4], Const::S32(vec![0; 4]));
        let scales = lir.add_const("multiplier", &[4], Const::F32(vec![0.5, 1.0, 2.0, 4.0]));
        let window = Window { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], pad: [0; 4] };
        let op = Conv { window, groups: 1, epilogue: conv, algorithm: Algorithm::Direct, addend_scale: 0.0 };
        lir.push("conv", Kind::Op(Op::Conv(op)), &[x, w, bias, scales], product);
        let epilogue = Epilogue { lo: 3.0, ..BYTES };
        let op = Binary { kind: BinaryKind::Add, scale_a: 0.5, scale_b: 0.25, epilogue };
        lir.push("add", Kind::Op(Op::Binary(op)), &[x, product], sum);
        (lir, [x, product, sum])
    }

    #[test]
    fn the_product_takes_the_scale_and_the_bounds_of_the_sum() {
        let (mut lir, [x, _, sum]) = graph(BYTES);
        fold_additions(&mut lir, |_| true);
        let [step] = &lir.steps[..] else { panic!("{} steps", lir.steps.len()) };
        let Kind::Op(Op::Conv(conv)) = &step.kind else { panic!("{:?}", step.kind) };
        assert_eq!((conv.addend_scale, conv.epilogue.lo, conv.epilogue.hi), (0.5, 3.0, 127.0));
        assert_eq!((step.inputs[CONV_ADDEND], step.output), (Some(x), sum));
        let multiplier = step.inputs[MULTIPLIER].and_then(|id| lir.tensors[id].constant.clone());
        assert_eq!(multiplier.as_deref(), Some(&Const::F32(vec![0.125, 0.25, 0.5, 1.0])));
    }

    #[test]
    fn what_is_rounded_or_read_in_between_stays() {
        let stays = |mut lir: Lir, real: bool| {
            let steps = lir.steps.len();
            fold_additions(&mut lir, |_| real);
            lir.steps.len() == steps
        };
        // The source rounds there; the product is bounded; it is read twice; the sum is no whole one.
        assert!(stays(graph(BYTES).0, false));
        assert!(stays(graph(Epilogue { lo: 3.0, ..BYTES }).0, true));
        let (mut lir, [_, product, _]) = graph(BYTES);
        lir.outputs.push(("product".into(), product));
        assert!(stays(lir, true));
        let (mut lir, [x, _, _]) = graph(BYTES);
        lir.tensors[x].dims = vec![1, 1, 1, 4];
        assert!(stays(lir, true));
        // What is added comes after the product.
        let (mut lir, [x, product, _]) = graph(BYTES);
        let late = lir.add("late", &[1, 2, 2, 4], DType::S8);
        lir.tensors[late].quant = lir.tensors[x].quant;
        let unary = Unary { kind: UnaryKind::Neg, a: 0.0, b: 0.0 };
        lir.push("late", Kind::Op(Op::Map(Map { unary })), &[x], late);
        lir.steps.swap(1, 2);
        lir.steps[2].inputs = vec![Some(late), Some(product)];
        assert!(stays(lir, true));
    }
}
