//! Which algorithm a convolution's step asks for. It stands in the program, because its bits are its own: every
//! processor does the same operations, whether or not they pay there.

use std::collections::HashMap;

use cygnet_format::op::{Algorithm, Op};
use cygnet_format::program::DType;
use cygnet_kernels::conv::winograd4::{Shape, pays};

use crate::lir::{Kind, Lir, Step};

/// Lets f32 convolutions of 3 x 3 windows use Winograd's F(4 x 4, 3 x 3) where the cost model says that it is faster.
pub fn choose(lir: &mut Lir) {
    for i in 0..lir.steps.len() {
        if shape(lir, &lir.steps[i]).is_some_and(|shape| pays(&shape))
            && let Kind::Op(Op::Conv(conv)) = &mut lir.steps[i].kind
        {
            conv.algorithm = Algorithm::Winograd4x4;
        }
    }
}

/// Gives the convolutions of a program the algorithms that those of the same names have in another, so that both read
/// the same packed weights.
pub fn follow(lir: &mut Lir, first: &Lir) {
    let chosen: HashMap<&str, Algorithm> = first
        .steps
        .iter()
        .filter_map(|s| match &s.kind {
            Kind::Op(Op::Conv(conv)) => Some((s.name.as_str(), conv.algorithm)),
            _ => None,
        })
        .collect();
    for i in 0..lir.steps.len() {
        let able = shape(lir, &lir.steps[i]).is_some();
        let step = &mut lir.steps[i];
        if let (true, Some(&algorithm), Kind::Op(Op::Conv(conv))) =
            (able, chosen.get(step.name.as_str()), &mut step.kind)
        {
            conv.algorithm = algorithm;
        }
    }
}

/// The shape of a step that Winograd's algorithm can do.
fn shape(lir: &Lir, step: &Step) -> Option<Shape> {
    let Kind::Op(Op::Conv(conv)) = &step.kind else { return None };
    let window = &conv.window;
    let able = window.kernel == [3; 2]
        && window.stride == [1; 2]
        && window.dilation == [1; 2]
        && conv.groups == 1
        && lir.tensors[step.output].dtype == DType::F32;
    let x = step.inputs.first().copied().flatten().filter(|_| able)?;
    let (x, y) = (&lir.tensors[x], &lir.tensors[step.output]);
    match (&x.dims[..], &y.dims[..], x.dtype) {
        (&[_, _, _, depth], &[images, rows, cols, channels], DType::F32) => {
            Some(Shape { images, rows, cols, depth, channels })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cygnet_format::op::{Conv, Epilogue, Window};

    use super::*;
    use crate::lir::Const;

    /// The algorithm chosen for a convolution of `side` x `side` pixels of `depth` channels to as many.
    fn chosen(side: usize, depth: usize, change: impl Fn(&mut Conv)) -> Algorithm {
        let mut lir = Lir::default();
        let x = lir.add("x", &[1, side, side, depth], DType::F32);
        let w = lir.add_const("w", &[depth, 3, 3, depth], Const::F32(vec![0.0; depth * 9 * depth]));
        let b = lir.add_const("b", &[depth], Const::F32(vec![0.0; depth]));
        let y = lir.add("y", &[1, side, side, depth], DType::F32);
        let window = Window { kernel: [3; 2], stride: [1; 2], dilation: [1; 2], pad: [1; 4] };
        let mut conv = Conv {
            window,
            groups: 1,
            epilogue: Epilogue::NONE,
            algorithm: Algorithm::Direct,
            addend_scale: 0.0,
        };
        change(&mut conv);
        lir.steps.push(Step {
            name: "conv".to_owned(),
            kind: Kind::Op(Op::Conv(conv)),
            inputs: vec![Some(x), Some(w), Some(b)],
            output: y,
            sources: Vec::new(),
        });
        choose(&mut lir);
        match &lir.steps[0].kind {
            Kind::Op(Op::Conv(conv)) => conv.algorithm,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn winograd_where_it_pays_and_is_defined() {
        assert_eq!(chosen(40, 64, |_| {}), Algorithm::Winograd4x4);
        // Few channels, or few pixels: the transforms cost more than they save.
        assert_eq!(chosen(40, 3, |_| {}), Algorithm::Direct);
        assert_eq!(chosen(2, 64, |_| {}), Algorithm::Direct);
        assert_eq!(chosen(40, 64, |c| c.window.stride = [2; 2]), Algorithm::Direct);
        assert_eq!(chosen(40, 64, |c| c.window.dilation = [1, 2]), Algorithm::Direct);
        assert_eq!(chosen(40, 64, |c| c.window.kernel = [3, 5]), Algorithm::Direct);
        assert_eq!(chosen(40, 64, |c| c.groups = 2), Algorithm::Direct);
    }
}
