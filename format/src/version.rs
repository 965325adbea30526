//! Which minor version of the format brought what.

use crate::op::{Op, ReduceKind, UnaryKind};
use crate::program::{Program, Step};

/// The last operation of version 1.0, by its code, its last kinds of unary and of reduction, and a convolution's most
/// inputs.
const OPS_1_0: u16 = 18;
const UNARY_1_0: UnaryKind = UnaryKind::Relu;
const REDUCE_1_0: ReduceKind = ReduceKind::LogSum;
const CONV_INPUTS_1_0: usize = 6;

impl Program {
    /// The first minor version that has everything the program uses.
    pub fn minor_version(&self) -> u16 {
        let newer = |step: &Step| matches!(step.op, Op::Conv(_)) && step.inputs.len() > CONV_INPUTS_1_0;
        let version = |step: &Step| step.op.minor_version().max(u16::from(newer(step)));
        let steps = self.steps.iter().map(version).max().unwrap_or(0);
        steps.max(u16::from(!self.states.is_empty()))
    }
}

impl Op {
    /// The first minor version that has the operation with these parameters.
    pub fn minor_version(&self) -> u16 {
        let newer = self.code() > OPS_1_0
            || self.unary().is_some_and(|kind| kind as u32 > UNARY_1_0 as u32)
            || matches!(self, Self::Reduce(p) if p.kind as u32 > REDUCE_1_0 as u32);
        self.parameters_minor_version().max(u16::from(newer))
    }

    /// The unary function that the operation applies, if it has a place for one.
    fn unary(&self) -> Option<UnaryKind> {
        match self {
            Self::Conv(p) => Some(p.epilogue.unary.kind),
            Self::DepthwiseConv(p) => Some(p.epilogue.unary.kind),
            Self::ConvTranspose(p) => Some(p.epilogue.unary.kind),
            Self::MatMul(p) => Some(p.epilogue.unary.kind),
            Self::BlockConv(p) => Some(p.epilogue.unary.kind),
            Self::SparseConv(p) => Some(p.epilogue.unary.kind),
            Self::Binary(p) => Some(p.epilogue.unary.kind),
            Self::Map(p) => Some(p.unary.kind),
            _ => None,
        }
    }
}
