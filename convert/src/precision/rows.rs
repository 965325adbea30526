//! Embeddings: rows gathered from a large constant table, which is kept in s8 with a scale for each row.

use cygnet_format::op::{self, Binary, BinaryKind, Epilogue, Op};
use cygnet_format::program::{DType, Quant};

use super::apply::Cast;
use crate::lir::{Const, Kind, Lir, Step};

/// Elements from which on a table is worth the steps that its rows then take.
const LARGE: usize = 1 << 16;

/// Whether a step gathers rows of a large constant table of real numbers.
pub(super) fn is_embedding(lir: &Lir, step: &Step) -> bool {
    let Kind::Op(Op::Gather(p)) = &step.kind else { return false };
    let table = step.inputs[0].map(|id| &lir.tensors[id]);
    table.is_some_and(|t| {
        let real = t.constant.as_deref().is_some_and(|c| matches!(c, Const::F32(_)));
        real && t.dims.len() == 2 && p.axis == 0 && t.len() >= LARGE
    })
}

impl Cast<'_> {
    /// The rows as s8, times their scales.
    pub(super) fn embedding(&mut self, step: &Step) -> Result<(), String> {
        let table = &self.old.tensors[step.inputs[0].ok_or("no table")?];
        let indices = self.form(step.inputs[1].ok_or("no indices")?, DType::S32)?;
        let constant = table.constant.as_ref().ok_or("the table is computed")?;
        let (name, dims) = (table.name.clone(), table.dims.clone());
        let (values, scales) = rows(constant.f32(), dims[1]);
        let one = Quant { scale: 1.0, zero_point: 0 };
        let table = self.new.add_const(name.clone(), &dims, Const::S8(values));
        self.new.tensors[table].quant = Some(one);
        let scales = self.new.add_const(format!("{name}:scales"), &[dims[0], 1], Const::F32(scales));
        let of = self.new.tensors[step.output].dims.clone();
        let mut thin = of.clone();
        *thin.last_mut().ok_or("the output is a scalar")? = 1;
        let named = |what: &str| format!("{}:{what}", step.name);
        let gather = || Kind::Op(Op::Gather(op::Gather { axis: 0 }));
        let bytes = self.new.add(named("s8"), &of, DType::S8);
        self.new.tensors[bytes].quant = Some(one);
        self.new.push(named("rows"), gather(), &[table, indices], bytes);
        let factors = self.new.add(named("scale"), &thin, DType::F32);
        self.new.push(named("scales"), gather(), &[scales, indices], factors);
        let reals = self.new.add(named("f32"), &of, DType::F32);
        self.new.push(named("f32"), Kind::Op(Op::Convert(op::Convert {})), &[bytes], reals);
        let times = Binary { kind: BinaryKind::Mul, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE };
        self.new.push(step.name.clone(), Kind::Op(Op::Binary(times)), &[reals, factors], step.output);
        Ok(())
    }
}

/// Rows of a table in s8, each with the scale max|v| / 127.
fn rows(values: &[f32], width: usize) -> (Vec<i8>, Vec<f32>) {
    let mut scales = Vec::with_capacity(values.len() / width);
    let mut bytes = Vec::with_capacity(values.len());
    for row in values.chunks_exact(width) {
        let greatest = row.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        // A row of zeros, or of next to them, stays zero.
        let scale = if greatest >= f32::MIN_POSITIVE * 127.0 { greatest / 127.0 } else { 1.0 };
        bytes.extend(row.iter().map(|v| (v / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
        scales.push(scale);
    }
    (bytes, scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_scale() {
        let (bytes, scales) = rows(&[0.5, -1.0, 0.0, 0.0, 254.0, 2.0], 2);
        assert_eq!(bytes, [64, -127, 0, 0, 127, 1]);
        assert_eq!(scales, [1.0 / 127.0, 1.0, 2.0]);
    }
}
