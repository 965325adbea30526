//! Which minor version of the format brought what.

use crate::op::{Op, UnaryKind};
use crate::program::Program;

/// The last operation of version 1.0, by its code, and its last kind of unary.
const OPS_1_0: u16 = 18;
const UNARY_1_0: UnaryKind = UnaryKind::Relu;

impl Program {
    /// The first minor version that has everything the program uses.
    pub fn minor_version(&self) -> u16 {
        let newer = |op: &Op| op.code() > OPS_1_0 || op.unary().is_some_and(|k| k as u32 > UNARY_1_0 as u32);
        u16::from(!self.states.is_empty() || self.steps.iter().any(|step| newer(&step.op)))
    }
}

impl Op {
    /// The unary function that the operation applies, if it has a place for one.
    fn unary(&self) -> Option<UnaryKind> {
        match self {
            Self::Conv(p) => Some(p.epilogue.unary.kind),
            Self::DepthwiseConv(p) => Some(p.epilogue.unary.kind),
            Self::ConvTranspose(p) => Some(p.epilogue.unary.kind),
            Self::MatMul(p) => Some(p.epilogue.unary.kind),
            Self::Binary(p) => Some(p.epilogue.unary.kind),
            Self::Map(p) => Some(p.unary.kind),
            _ => None,
        }
    }
}
