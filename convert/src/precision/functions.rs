//! Elementwise steps that together are a function of one tensor: in s8 all of them are one table. So an activation that is
//! spelled out, `x * clip(x * k + c)`, is rounded once, like one that has a name.

use cygnet_format::op::{Binary, BinaryKind, Op, Unary, UnaryKind};
use cygnet_format::program::DType;

use super::choose::Plan;
use crate::lir::{Id, Kind, Lir, Step};

/// What an element becomes.
#[derive(Clone, Debug)]
enum Expr {
    /// The element itself.
    Root,
    Number(f32),
    Unary(Unary, Box<Expr>),
    Binary(BinaryKind, Box<Expr>, Box<Expr>),
    Clamp(Box<Expr>, f32, f32),
}

impl Expr {
    fn at(&self, x: f32) -> f32 {
        match self {
            Self::Root => x,
            Self::Number(v) => *v,
            Self::Unary(u, of) => cygnet_kernels::math::unary(u.kind, u.a, u.b, of.at(x)),
            Self::Clamp(of, lo, hi) => of.at(x).max(*lo).min(*hi),
            Self::Binary(kind, a, b) => {
                let (a, b) = (a.at(x), b.at(x));
                match kind {
                    BinaryKind::Add => a + b,
                    BinaryKind::Sub => a - b,
                    BinaryKind::Mul => a * b,
                    BinaryKind::Div => a / b,
                    BinaryKind::Min => a.min(b),
                    _ => a.max(b),
                }
            }
        }
    }
}

/// What a step computes of one tensor.
#[derive(Clone, Debug)]
pub struct Function {
    /// The tensor.
    pub root: Id,
    /// The steps that take part, the last one included.
    pub steps: Vec<usize>,
    expr: Expr,
}

impl Function {
    /// Its value.
    pub fn at(&self, x: f32) -> f32 {
        self.expr.at(x)
    }
}

/// For each step in s8 that is a function of one tensor, that function, from as far back as nobody else looks between.
pub fn functions(lir: &Lir, plan: &Plan) -> Vec<Option<Function>> {
    let (producers, readers) = (lir.producers(), lir.readers());
    let mut results = vec![false; lir.tensors.len()];
    lir.results().for_each(|id| results[id] = true);
    let mut found: Vec<Option<Function>> = vec![None; lir.steps.len()];
    for (i, step) in lir.steps.iter().enumerate() {
        if plan.types[i] != DType::S8 {
            continue;
        }
        // An operand as it is, or as what its producer makes of something before it.
        let views = |id: Id| -> Vec<Function> {
            if let Some(v) = number(lir, id) {
                return vec![Function { root: Id::MAX, steps: Vec::new(), expr: Expr::Number(v) }];
            }
            let own = Function { root: id, steps: Vec::new(), expr: Expr::Root };
            let deeper = producers[id].and_then(|p| found[p].clone());
            deeper.into_iter().chain([own]).collect()
        };
        let hidden = |f: &Function| {
            f.steps.iter().all(|&s| {
                let y = lir.steps[s].output;
                s == i || (!results[y] && readers[y].iter().all(|r| f.steps.contains(r)))
            })
        };
        let made: Vec<Function> = match &step.kind {
            Kind::Op(Op::Map(map)) => views(step.inputs[0].unwrap_or(Id::MAX))
                .into_iter()
                .map(|f| Function { expr: Expr::Unary(map.unary, Box::new(f.expr.clone())), ..f })
                .collect(),
            Kind::Op(Op::Binary(binary)) => pairs(step, binary, &views),
            _ => continue,
        };
        found[i] = made.into_iter().map(|f| joined(f, i)).find(|f| {
            f.root != Id::MAX
                && lir.tensors[f.root].dims == lir.tensors[step.output].dims
                && lir.tensors[f.root].dtype == DType::F32
                && hidden(f)
        });
    }
    found
}

fn joined(mut f: Function, step: usize) -> Function {
    f.steps.push(step);
    f.steps.sort_unstable();
    f.steps.dedup();
    f
}

/// The number that a constant of one element is.
fn number(lir: &Lir, id: Id) -> Option<f32> {
    let c = lir.tensors[id].constant.as_deref()?;
    match c {
        crate::lir::Const::F32(v) if v.len() == 1 => Some(v[0]),
        _ => None,
    }
}

/// What a binary step is of one tensor, however its operands are looked at; the farthest back first.
fn pairs(step: &Step, binary: &Binary, views: &dyn Fn(Id) -> Vec<Function>) -> Vec<Function> {
    let known = matches!(
        binary.kind,
        BinaryKind::Add
            | BinaryKind::Sub
            | BinaryKind::Mul
            | BinaryKind::Div
            | BinaryKind::Min
            | BinaryKind::Max
    );
    let (Some(a), Some(b)) = (step.inputs[0], step.inputs[1]) else { return Vec::new() };
    let mut made = Vec::new();
    if !known || binary.epilogue.unary.kind != UnaryKind::Identity {
        return made;
    }
    for a in views(a) {
        for b in views(b) {
            let root = if a.root == Id::MAX { b.root } else { a.root };
            // Of two operands that are the same tensor as it is, the product of unlike ones would be no less right.
            if b.root != Id::MAX && b.root != root {
                continue;
            }
            let steps = a.steps.iter().chain(&b.steps).copied().collect();
            let inner = Expr::Binary(binary.kind, Box::new(a.expr.clone()), Box::new(b.expr));
            let expr = Expr::Clamp(Box::new(inner), binary.epilogue.lo, binary.epilogue.hi);
            made.push(Function { root, steps, expr });
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use cygnet_format::op::{Binary, Epilogue, Map};

    use super::*;
    use crate::lir::Const;

    /// `x * clip(x + 3, 0, 6)`, and the absolute value of that.
    #[test]
    fn a_spelled_out_activation_is_one_function() {
        let mut lir = Lir::default();
        let x = lir.add("x", &[4], DType::F32);
        let three = lir.add_const("3", &[1], Const::F32(vec![3.0]));
        let [sum, y, z] = ["sum", "y", "z"].map(|n| lir.add(n, &[4], DType::F32));
        let binary = |kind, lo, hi| {
            let epilogue = Epilogue { lo, hi, ..Epilogue::NONE };
            Kind::Op(Op::Binary(Binary { kind, scale_a: 1.0, scale_b: 1.0, epilogue }))
        };
        lir.push("sum", binary(BinaryKind::Add, 0.0, 6.0), &[x, three], sum);
        lir.push("y", binary(BinaryKind::Mul, f32::NEG_INFINITY, f32::INFINITY), &[x, sum], y);
        let abs = Unary { kind: UnaryKind::Abs, a: 0.0, b: 0.0 };
        lir.push("z", Kind::Op(Op::Map(Map { unary: abs })), &[y], z);
        lir.outputs = vec![("z".to_owned(), z)];
        let mut plan = Plan::float(3);
        plan.types = vec![DType::S8; 3];
        let found = functions(&lir, &plan);
        let last = found[2].as_ref().expect("a function");
        assert_eq!((last.root, &last.steps[..]), (x, &[0, 1, 2][..]));
        assert_eq!([-5.0, -1.0, 2.0, 10.0].map(|v| last.at(v)), [0.0, 2.0, 10.0, 60.0]);
        // Where somebody else reads what lies between, the function begins there.
        lir.outputs.push(("y".to_owned(), y));
        assert_eq!(functions(&lir, &plan)[2].as_ref().map(|f| f.root), Some(y));
        // A step in f32 takes no part.
        plan.types[0] = DType::F32;
        assert!(functions(&lir, &plan)[1].is_none());
    }
}
