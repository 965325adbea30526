//! Integers that follow from counts: the least and the greatest that each element can be.

use super::{Make, Rows};
use crate::error::ImportError;
use crate::fold;
use crate::graph::{Data, ElemType, Graph, Node, Tensor, ValueId};
use crate::infer::{self, InferOptions};

/// Elements of a tensor at the least and at the most.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub low: Tensor,
    pub high: Tensor,
    /// How they follow from one count, where they do so in a straight line.
    pub line: Option<Line>,
}

/// Elements that are a multiple of a count and something known.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub count: ValueId,
    /// The elements where the count is 0, and where it is 1.
    pub at: [Tensor; 2],
}

impl Bounds {
    fn known(t: &Tensor) -> Self {
        Self { low: t.clone(), high: t.clone(), line: None }
    }

    /// The same as each of their tensors after `f`, which only moves elements.
    pub fn moved(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        let line = self.line.as_ref().map(|l| Line { count: l.count, at: l.at.each_ref().map(&f) });
        Self { low: f(&self.low), high: f(&self.high), line }
    }

    /// Which elements are not known now.
    pub fn open(&self) -> Vec<usize> {
        let (low, high) = (self.low.to_f32(), self.high.to_f32());
        (0..low.len()).filter(|&i| low[i] != high[i]).collect()
    }
}

/// Operators that grow with each of their inputs, where these are not negative.
const GROWING: &[&str] = &[
    "Add",
    "Cast",
    "Concat",
    "Flatten",
    "Gather",
    "Identity",
    "Max",
    "Min",
    "Mul",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Operators of which a straight line comes where all inputs are one, or known.
const STRAIGHT: &[&str] = &[
    "Add",
    "Cast",
    "Concat",
    "Flatten",
    "Gather",
    "Identity",
    "Mul",
    "ReduceSum",
    "Reshape",
    "Slice",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
];

/// What is known of an input: all, or its bounds.
pub(super) fn of(m: &Make<'_, '_>, v: ValueId) -> Option<Bounds> {
    if let Some(t) = m.known(v) {
        return Some(Bounds::known(t));
    }
    m.b.ragged.bounds.get(&v).cloned()
}

/// The dimensions of a value: those of the rows that are there at the least and at the most.
pub(super) fn dims(m: &Make<'_, '_>, v: ValueId, rows: Rows) -> Bounds {
    let high: Vec<i64> = m.dims(v).iter().map(|&d| d as i64).collect();
    let with = |n: i64| {
        let mut dims = high.clone();
        dims[rows.axis] = n;
        Tensor::i64(&[dims.len()], dims)
    };
    let line = Some(Line { count: rows.count, at: [with(0), with(1)] });
    Bounds { low: with(0), high: with(high[rows.axis]), line }
}

/// Notes what the first output is at the least and at the most.
pub(super) fn note(m: &mut Make<'_, '_>, bounds: Bounds) {
    let Some(&Some(out)) = m.node.outputs.first() else { return };
    if m.b.graph.constant(out).is_none() {
        m.b.ragged.bounds.insert(out, bounds);
    }
}

/// The first output of the node for these inputs.
fn evaluate(node: &Node, inputs: &[Option<Tensor>]) -> Option<Tensor> {
    let mut graph = Graph::default();
    let mut constant = |t: &Tensor| {
        let name = format!("{}", graph.values.len());
        graph.add_constant(name, t.clone())
    };
    let inputs: Vec<Option<ValueId>> = inputs.iter().map(|t| t.as_ref().map(&mut constant)).collect();
    let out = graph.add_value("y");
    let mut node = Node { inputs, outputs: vec![Some(out)], ..node.clone() };
    let folded = infer::step(&mut graph, &mut node, &InferOptions { fold_dequantize: true }).ok()?;
    if folded { None } else { graph.constant(out).map(|t| (**t).clone()) }
}

/// What is known of the node's output from what is known of its inputs.
fn through(m: &Make<'_, '_>) -> Option<Bounds> {
    let op = m.node.op.as_str();
    let known: Option<Vec<Option<Bounds>>> = m
        .node
        .inputs
        .iter()
        .map(|v| match v {
            None => Some(None),
            Some(v) => of(m, *v).map(Some),
        })
        .collect();
    let known = known?;
    let fixed = |i: usize| m.opt(i).is_none_or(|v| m.known(v).is_some());
    let positive = |i: usize| {
        known.get(i).and_then(Option::as_ref).is_some_and(|b| b.low.to_f32().iter().all(|&x| x >= 0.0))
    };
    let suits = match op {
        "Mul" | "ReduceProd" => (0..known.len()).all(|i| positive(i) || (op == "ReduceProd" && i > 0)),
        "Gather" | "Slice" | "Reshape" | "ReduceSum" | "ReduceMax" | "ReduceMin" => {
            (1..known.len()).all(fixed)
        }
        "Div" => fixed(1) && positive(0) && positive(1),
        "Where" => fixed(0),
        _ => true,
    };
    if !suits || !(GROWING.contains(&op) || matches!(op, "Sub" | "Div" | "Where")) {
        return None;
    }
    let side = |highest: bool| {
        let each = known.iter().enumerate().map(|(i, b)| {
            // What is subtracted makes least what it is at most.
            let highest = highest != (op == "Sub" && i == 1);
            b.as_ref().map(|b| if highest { b.high.clone() } else { b.low.clone() })
        });
        evaluate(m.node, &each.collect::<Vec<_>>())
    };
    Some(Bounds { low: side(false)?, high: side(true)?, line: straight(m.node, &known) })
}

/// The line that a node makes of those of its inputs.
fn straight(node: &Node, known: &[Option<Bounds>]) -> Option<Line> {
    let given = || known.iter().flatten();
    if matches!(node.op.as_str(), "Max" | "Min") {
        // One input that is never below, or above, all others.
        let least = |t: &Tensor| t.to_f32().into_iter().fold(f32::INFINITY, f32::min);
        let most = |t: &Tensor| t.to_f32().into_iter().fold(f32::NEG_INFINITY, f32::max);
        let leads = |a: &Bounds, b: &Bounds| match node.op.as_str() {
            "Max" => least(&a.low) >= most(&b.high),
            _ => most(&a.high) <= least(&b.low),
        };
        let alike = given().all(|b| b.low.dims == known[0].as_ref().map_or(&[][..], |b| &b.low.dims));
        let first =
            given().enumerate().find(|(i, a)| given().enumerate().all(|(j, b)| *i == j || leads(a, b)));
        return first.filter(|_| alike).and_then(|(_, a)| a.line.clone());
    }
    let mut lines = given().filter_map(|b| b.line.as_ref());
    let count = lines.next()?.count;
    let others = lines.all(|l| l.count == count) && given().all(|b| b.line.is_some() || b.open().is_empty());
    let product = node.op == "Mul" && given().filter(|b| b.line.is_some()).count() > 1;
    if !STRAIGHT.contains(&node.op.as_str()) || !others || product {
        return None;
    }
    let at = |i: usize| {
        let inputs = known
            .iter()
            .map(|b| b.as_ref().map(|b| b.line.as_ref().map_or_else(|| b.low.clone(), |l| l.at[i].clone())));
        evaluate(node, &inputs.collect::<Vec<_>>())
    };
    Some(Line { count, at: [at(0)?, at(1)?] })
}

/// Whether counts equal constants, where that is known: outside of their bounds they do not.
fn equal(m: &Make<'_, '_>) -> Option<Tensor> {
    let (a, b) = (of(m, m.opt(0)?)?, of(m, m.opt(1)?)?);
    let (many, one) = if a.low.len() >= b.low.len() { (a, b) } else { (b, a) };
    let (low, high) = (many.low.to_f32(), many.high.to_f32());
    let (least, most) = (one.low.to_f32(), one.high.to_f32());
    if least.len() != 1 && one.low.dims != many.low.dims {
        return None;
    }
    let decided = (0..low.len()).map(|i| {
        let j = if least.len() == 1 { 0 } else { i };
        let apart = high[i] < least[j] || most[j] < low[i];
        let settled = low[i] == high[i] && least[j] == most[j];
        if apart || settled { Some(settled && low[i] == least[j]) } else { None }
    });
    let values: Vec<bool> = decided.collect::<Option<_>>()?;
    Some(Tensor::new(many.low.dims.clone(), Data::Bool(values)))
}

/// Appends a node of which no input has rows that may be missing, but some follow from counts.
pub(super) fn computed(m: &mut Make<'_, '_>) -> Result<(), ImportError> {
    if m.node.op == "Equal"
        && let Some(known) = equal(m)
        && let Some(&Some(out)) = m.node.outputs.first()
    {
        m.b.graph.set_constant(out, known);
        return Ok(());
    }
    let bounds = through(m);
    super::plain(m)?;
    if let Some(bounds) = bounds {
        note(m, bounds);
    }
    Ok(())
}

/// The greatest elements of input `i` as a constant that stands for it, and those elements that are less when the model
/// runs; `None` where nothing bounds it.
pub(super) fn greatest(m: &mut Make<'_, '_>, i: usize) -> Option<(ValueId, Vec<usize>)> {
    let v = m.opt(i)?;
    if m.known(v).is_some() {
        return Some((v, Vec::new()));
    }
    let bounds = m.b.ragged.bounds.get(&v)?.clone();
    let open = bounds.open();
    let high = fold::cast(&bounds.high, ElemType::I64);
    Some((m.constant(high), open))
}
