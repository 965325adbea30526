//! Numbers that stand for infinity: masks put them in places that a softmax shall not see, as -inf, as something near the
//! end of float32, or as -10000. No scale of int8 has room for them beside the values that they are chosen from.

use cygnet_format::op::{BinaryKind, Op, UnaryKind};

use crate::lir::{Const, Id, Kind, Lir, Step};

/// Magnitudes from here on are no measured quantity.
const HUGE: f32 = 1e30;
/// Nor are constants down from here: what masks add is -10000 or less, and a softmax of such is 0.
const MASKED: f32 = -9999.0;

fn is_huge(v: f32) -> bool {
    v >= HUGE || v <= MASKED
}

fn is_mask(lir: &Lir, id: Id) -> bool {
    match lir.tensors[id].constant.as_deref() {
        Some(Const::F32(v)) => v.iter().any(|&v| is_huge(v)),
        _ => false,
    }
}

/// Whether what a step computes holds such numbers where its inputs do.
fn passes(step: &Step) -> bool {
    match &step.kind {
        Kind::Op(Op::Binary(b)) => matches!(b.kind, BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul),
        Kind::Op(Op::Select(_)) => true,
        Kind::Op(Op::Map(m)) => matches!(m.unary.kind, UnaryKind::Neg),
        kind => kind.moves(),
    }
}

/// For each tensor, whether it may hold numbers that stand for infinity: constants that do, and what is added to, chosen
/// from or moved out of such.
pub fn infinite(lir: &Lir) -> Vec<bool> {
    let mut found: Vec<bool> = (0..lir.tensors.len()).map(|id| is_mask(lir, id)).collect();
    for step in &lir.steps {
        let padded = matches!(step.kind, Kind::Pad { value, .. } if is_huge(value));
        found[step.output] |= padded || passes(step) && step.inputs.iter().flatten().any(|&id| found[id]);
    }
    found
}

#[cfg(test)]
mod tests {
    use cygnet_format::op::{Binary, Epilogue, Select, Softmax};
    use cygnet_format::program::DType;

    use super::*;

    /// Scores, masked, then softmax: what lies before the softmax's output, and the constant.
    #[test]
    fn masks_are_followed_to_the_softmax() {
        for value in [f32::NEG_INFINITY, f32::MIN, -10000.0] {
            assert_eq!(followed(value), ["none", "masked"], "{value}");
        }
        assert!(followed(-100.0).is_empty());
    }

    fn followed(value: f32) -> Vec<String> {
        let mut lir = Lir::default();
        let x = lir.add("x", &[1, 4], DType::F32);
        let hidden = lir.add("hidden", &[1, 4], DType::U8);
        let none = lir.add_const("none", &[1, 1], Const::F32(vec![value]));
        let masked = lir.add("masked", &[1, 4], DType::F32);
        lir.push("mask", Kind::Op(Op::Select(Select {})), &[hidden, none, x], masked);
        let y = lir.add("y", &[1, 4], DType::F32);
        lir.push("softmax", Kind::Op(Op::Softmax(Softmax { axis: 1, log: false })), &[masked], y);
        let half = lir.add_const("half", &[1, 1], Const::F32(vec![0.5]));
        let scaled = lir.add("scaled", &[1, 4], DType::F32);
        let op = Binary { kind: BinaryKind::Mul, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE };
        lir.push("scale", Kind::Op(Op::Binary(op)), &[y, half], scaled);
        let found = infinite(&lir);
        (0..found.len()).filter(|&id| found[id]).map(|id| lir.tensors[id].name.clone()).collect()
    }
}
