//! Embeddings: rows gathered from a large constant table, which is kept in s8 with a scale for each row, or in four bits
//! with one for each block. The rows become real numbers by steps that there are.

use cygnet_format::op::{self, Binary, BinaryKind, BlockKind, Epilogue, Op, Unary, UnaryKind};
use cygnet_format::program::{DType, MAX_RANK, Quant};
use cygnet_kernels::blocks::pack::BLOCK;

use super::apply::Cast;
use super::blocks::quantize;
use crate::lir::{Const, Id, Kind, Lir, Step};

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
    /// The rows as s8, times their scales; in int4 by blocks, where rows are whole ones.
    pub(super) fn embedding(&mut self, step: &Step, kind: Option<BlockKind>) -> Result<(), String> {
        let width = step.inputs[0].map_or(0, |id| self.old.tensors[id].dims[1]);
        let rank = self.old.tensors[step.output].dims.len();
        if kind == Some(BlockKind::Int4) && width.is_multiple_of(BLOCK) && rank < MAX_RANK {
            return self.embedding_by_blocks(step);
        }
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
        self.new.push(step.name.clone(), binary(BinaryKind::Mul), &[reals, factors], step.output);
        Ok(())
    }

    /// Rows of four bits, the first half of a row in the low bits of its bytes and the second in the high ones.
    fn embedding_by_blocks(&mut self, step: &Step) -> Result<(), String> {
        let table = &self.old.tensors[step.inputs[0].ok_or("no table")?];
        let indices = self.form(step.inputs[1].ok_or("no indices")?, DType::S32)?;
        let constant = table.constant.as_ref().ok_or("the table is computed")?;
        let (name, dims) = (table.name.clone(), table.dims.clone());
        let (half, blocks) = (dims[1] / 2, dims[1] / BLOCK);
        let (numbers, scales) = quantize(constant.f32(), dims[1], BlockKind::Int4)?;
        let nibble = |q: i8| (q + 8).cast_unsigned();
        let bytes = numbers
            .chunks_exact(dims[1])
            .flat_map(|row| (0..half).map(move |i| nibble(row[i]) | nibble(row[i + half]) << 4));
        let bytes = Const::U8(bytes.collect());
        let table = self.new.add_const(name.clone(), &[dims[0], half], bytes);
        let scales = self.new.add_const(format!("{name}:scales"), &[dims[0], blocks], Const::F16(scales));
        let mut make = Maker { cast: self, name: step.name.clone(), steps: 0 };
        let of = make.cast.new.tensors[step.output].dims.clone();
        let outer = of[..of.len() - 1].to_vec();
        let shape = |last: &[usize]| [&outer[..], last].concat();
        let gather = || Kind::Op(Op::Gather(op::Gather { axis: 0 }));
        let convert = || Kind::Op(Op::Convert(op::Convert {}));
        let bytes = make.step(gather(), &[table, indices], &shape(&[half]), DType::U8);
        let pairs = make.step(convert(), &[bytes], &shape(&[half]), DType::F32);
        let sixteenth = make.binary(BinaryKind::Mul, pairs, 1.0 / 16.0, &shape(&[half]));
        let floor = Unary { kind: UnaryKind::Floor, a: 0.0, b: 0.0 };
        let high = Kind::Op(Op::Map(op::Map { unary: floor }));
        let high = make.step(high, &[sixteenth], &shape(&[half]), DType::F32);
        let shifted = make.binary(BinaryKind::Mul, high, 16.0, &shape(&[half]));
        let low = make.step(binary(BinaryKind::Sub), &[pairs, shifted], &shape(&[half]), DType::F32);
        let both = Kind::Concat { axis: outer.len() };
        let both = make.step(both, &[low, high], &shape(&[dims[1]]), DType::F32);
        let signed = make.binary(BinaryKind::Sub, both, 8.0, &shape(&[dims[1]]));
        let signed = make.step(Kind::View, &[signed], &shape(&[blocks, BLOCK]), DType::F32);
        let scales = make.step(gather(), &[scales, indices], &shape(&[blocks]), DType::F16);
        let scales = make.step(convert(), &[scales], &shape(&[blocks]), DType::F32);
        let scales = make.step(Kind::View, &[scales], &shape(&[blocks, 1]), DType::F32);
        let times = binary(BinaryKind::Mul);
        let scaled = make.step(times, &[signed, scales], &shape(&[blocks, BLOCK]), DType::F32);
        self.new.push(step.name.clone(), Kind::View, &[scaled], step.output);
        Ok(())
    }
}

fn binary(kind: BinaryKind) -> Kind {
    Kind::Op(Op::Binary(Binary { kind, scale_a: 1.0, scale_b: 1.0, epilogue: Epilogue::NONE }))
}

/// Adds steps, each with a name of its own.
struct Maker<'a, 'b> {
    cast: &'a mut Cast<'b>,
    name: String,
    steps: usize,
}

impl Maker<'_, '_> {
    fn step(&mut self, kind: Kind, inputs: &[Id], dims: &[usize], dtype: DType) -> Id {
        self.steps += 1;
        let name = format!("{}:{}", self.name, self.steps);
        let y = self.cast.new.add(name.clone(), dims, dtype);
        self.cast.new.push(name, kind, inputs, y);
        y
    }

    /// With a number.
    fn binary(&mut self, kind: BinaryKind, x: Id, number: f32, dims: &[usize]) -> Id {
        let number = self.cast.new.add_const(format!("{number}"), &[1], Const::F32(vec![number]));
        self.step(binary(kind), &[x, number], dims, DType::F32)
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
