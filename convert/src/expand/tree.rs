//! Ensembles of decision trees (`ai.onnx.ml`): all trees go down one level at a time, by gathers.
//!
//! Every node of every tree is a row of four tables: feature, threshold, and where to go. A leaf goes to itself, so that
//! after as many rounds as the deepest tree has levels all have arrived. Definitions: ONNX's operators of that domain,
//! and ONNX Runtime where they leave something open.

mod read;

use super::make::{Done, Made, Make};
use super::{Rule, classic};
use crate::error::ImportError;
use crate::graph::{ElemType, Tensor, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ai.onnx.ml.TreeEnsemble", ensemble),
    ("ai.onnx.ml.TreeEnsembleClassifier", classifier),
    ("ai.onnx.ml.TreeEnsembleRegressor", regressor),
];

/// Most weights of all leaves for all targets.
const MAX_WEIGHTS: usize = 1 << 26;

/// What a leaf gives: to which target how much.
type Leaf = Vec<(usize, f32)>;

/// A node asks whether a feature is at most `split`. A leaf goes to itself.
#[derive(Clone)]
struct Branch {
    feature: usize,
    split: f32,
    /// Where to go if it is, and if not.
    yes: usize,
    no: usize,
    /// Whether what is no number goes where "yes" does.
    missing: bool,
    leaf: Option<Leaf>,
}

struct Forest {
    nodes: Vec<Branch>,
    roots: Vec<usize>,
    targets: usize,
    /// What all targets begin with.
    base: Vec<f32>,
    aggregate: Aggregate,
    transform: Transform,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Average,
    Sum,
    Min,
    Max,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
}

fn ensemble(m: &mut Make<'_, '_>) -> Done {
    let forest = read::ensemble(m)?;
    let sums = forest.scores(m)?;
    let y = transformed(m, sums, forest.transform)?;
    finish(m, 0, y)
}

fn regressor(m: &mut Make<'_, '_>) -> Done {
    let forest = read::regressor(m)?;
    let sums = forest.scores(m)?;
    let y = transformed(m, sums, forest.transform)?;
    finish(m, 0, y)
}

/// Outputs: the label of the greatest score, and the scores of all classes.
fn classifier(m: &mut Make<'_, '_>) -> Done {
    let forest = read::classifier(m)?;
    let mut used = std::collections::BTreeSet::new();
    let mut positive = true;
    for (target, weight) in forest.nodes.iter().flat_map(|n| n.leaf.iter().flatten()) {
        used.insert(*target);
        positive &= *weight >= 0.0;
    }
    let sums = forest.scores(m)?;
    if forest.targets == 2 && used.len() == 1 {
        return two_classes(m, &forest, sums, positive, *used.first().unwrap_or(&0));
    }
    if m.wants(0) {
        classic::labels(m, sums, "classlabels_int64s")?;
    }
    let y = transformed(m, sums, forest.transform)?;
    finish(m, 1, y)
}

/// Two classes of which leaves name one: the other has what is left of one, or the opposite.
fn two_classes(m: &mut Make<'_, '_>, forest: &Forest, sums: ValueId, positive: bool, named: usize) -> Done {
    let score = m.slice(sums, 1, named, named + 1)?;
    let limit = m.like(score, if positive { 0.5 } else { 0.0 });
    let negative = m.op("Neg", &[score])?;
    if m.wants(0) {
        let second = m.op("Greater", &[score, limit])?;
        let second = m.cast(second, ElemType::F32)?;
        let first = m.op("Neg", &[second])?;
        let first = m.plus(first, 1.0)?;
        let both = m.concat(&[first, second], 1)?;
        classic::labels(m, both, "classlabels_int64s")?;
    }
    let logistic = forest.transform == Transform::Logistic && !positive;
    let (first, second) = if logistic {
        (m.op("Sigmoid", &[negative])?, m.op("Sigmoid", &[score])?)
    } else if positive {
        (m.plus(negative, 1.0)?, score)
    } else {
        (negative, score)
    };
    let y = m.concat(&[first, second], 1)?;
    finish(m, 1, y)
}

/// Gives output `i` in the type of the input, where that is one of floats.
fn finish(m: &mut Make<'_, '_>, i: usize, y: ValueId) -> Done {
    let elem = m.elem(m.input(0)?);
    let to = if m.node.op.ends_with("TreeEnsemble") && elem.is_float() { elem } else { ElemType::F32 };
    let y = m.cast(y, to)?;
    m.give(i, y)?;
    Ok(true)
}

fn transformed(m: &mut Make<'_, '_>, x: ValueId, transform: Transform) -> Made {
    match transform {
        Transform::None => Ok(x),
        Transform::Softmax => m.softmax(x, 1),
        Transform::Logistic => m.op("Sigmoid", &[x]),
        Transform::SoftmaxZero => classic::softmax_zero(m, x),
    }
}

impl Forest {
    /// Levels below the roots; an error where nodes lead back to themselves.
    fn depth(&self, m: &Make<'_, '_>) -> Result<usize, ImportError> {
        let mut level: Vec<usize> = self.roots.clone();
        let mut depth = 0;
        loop {
            level.retain(|&i| self.nodes[i].leaf.is_none());
            if level.is_empty() {
                return Ok(depth);
            }
            depth += 1;
            if depth > self.nodes.len() {
                return m.fail("has trees whose nodes lead back to themselves");
            }
            level = level.iter().flat_map(|&i| [self.nodes[i].yes, self.nodes[i].no]).collect();
            level.sort_unstable();
            level.dedup();
        }
    }

    /// The leaf of each tree for each row: `[N, trees]`.
    fn leaves(&self, m: &mut Make<'_, '_>, x: ValueId) -> Made {
        let dims = m.dims(x);
        let (rows, features) = (dims[0], dims[1]);
        if let Some(n) = self.nodes.iter().find(|n| n.leaf.is_none() && n.feature >= features) {
            return m.fail(format!("asks for feature {} of {features}", n.feature));
        }
        let count = self.nodes.len();
        let table = |m: &mut Make<'_, '_>, of: &dyn Fn(&Branch) -> usize| {
            m.list(&self.nodes.iter().map(|n| of(n) as i64).collect::<Vec<_>>())
        };
        let feature = table(m, &|n| n.feature);
        let (yes, no) = (table(m, &|n| n.yes), table(m, &|n| n.no));
        let split = m.constant(Tensor::f32(&[count], self.nodes.iter().map(|n| n.split).collect()));
        let tracks = self.nodes.iter().any(|n| n.missing);
        let missing = self.nodes.iter().map(|n| f64::from(u8::from(n.missing))).collect();
        let missing = m.numbers(&[count], missing, ElemType::Bool);
        let roots: Vec<i64> = self.roots.iter().map(|&r| r as i64).collect();
        let roots = m.constant(Tensor::i64(&[1, roots.len()], roots));
        let mut at = m.expand(roots, &[rows, self.roots.len()])?;
        for _ in 0..self.depth(m)? {
            let which = m.gather(feature, at, 0)?;
            let axis = ("axis", crate::graph::Attr::Int(1));
            let value = m.op_with("GatherElements", &[x, which], &[axis])?;
            let limit = m.gather(split, at, 0)?;
            let mut holds = m.op("LessOrEqual", &[value, limit])?;
            if tracks {
                let none = m.op("IsNaN", &[value])?;
                let follows = m.gather(missing, at, 0)?;
                let follows = m.op("And", &[none, follows])?;
                holds = m.op("Or", &[holds, follows])?;
            }
            let (left, right) = (m.gather(yes, at, 0)?, m.gather(no, at, 0)?);
            at = m.op("Where", &[holds, left, right])?;
        }
        Ok(at)
    }

    /// The target of each tree, if each has one alone.
    fn one_target_each(&self) -> Option<Vec<usize>> {
        let mut found = Vec::with_capacity(self.roots.len());
        for &root in &self.roots {
            let (mut target, mut seen, mut left) = (None, std::collections::HashSet::new(), vec![root]);
            while let Some(i) = left.pop() {
                if !seen.insert(i) {
                    continue;
                }
                match &self.nodes[i].leaf {
                    None => left.extend([self.nodes[i].yes, self.nodes[i].no]),
                    Some(leaf) => {
                        for &(t, _) in leaf {
                            if *target.get_or_insert(t) != t {
                                return None;
                            }
                        }
                        if leaf.len() > 1 {
                            return None;
                        }
                    }
                }
            }
            found.push(target.unwrap_or(0));
        }
        Some(found)
    }

    /// What the trees give together: `[N, targets]`.
    fn scores(&self, m: &mut Make<'_, '_>) -> Made {
        let x = m.input(0)?;
        let x = m.cast(x, ElemType::F32)?;
        let x = match *m.dims(x).as_slice() {
            [_, _] => x,
            [n] => m.reshape(x, &[1, n])?,
            ref dims => return m.fail(format!("needs rows of features, it has dimensions {dims:?}")),
        };
        let at = self.leaves(m, x)?;
        let additive = matches!(self.aggregate, Aggregate::Sum | Aggregate::Average);
        let mut y = match self.one_target_each().filter(|_| additive) {
            Some(targets) => self.sums(m, at, &targets)?,
            None => self.all_targets(m, at)?,
        };
        if self.aggregate == Aggregate::Average {
            y = m.times(y, 1.0 / self.roots.len() as f64)?;
        }
        if !self.base.is_empty() {
            let base = m.constant(Tensor::f32(&[1, self.base.len()], self.base.clone()));
            y = m.add(y, base)?;
        }
        Ok(y)
    }

    /// Each tree adds to its own target: a product with what belongs to what.
    fn sums(&self, m: &mut Make<'_, '_>, at: ValueId, targets: &[usize]) -> Made {
        let given = |n: &Branch| n.leaf.as_ref().and_then(|l| l.first()).map_or(0.0, |l| l.1);
        let table = m.constant(Tensor::f32(&[self.nodes.len()], self.nodes.iter().map(given).collect()));
        let given = m.gather(table, at, 0)?;
        let mut belongs = vec![0.0; targets.len() * self.targets];
        for (tree, &target) in targets.iter().enumerate() {
            belongs[tree * self.targets + target] = 1.0;
        }
        let belongs = m.constant(Tensor::f32(&[targets.len(), self.targets], belongs));
        m.op("MatMul", &[given, belongs])
    }

    /// Each leaf gives to all targets.
    fn all_targets(&self, m: &mut Make<'_, '_>, at: ValueId) -> Made {
        let len = self.nodes.len() * self.targets;
        if len > MAX_WEIGHTS {
            return m.fail(format!(
                "has {} nodes for {} targets, more than {MAX_WEIGHTS} weights",
                self.nodes.len(),
                self.targets
            ));
        }
        let mut table = vec![0.0; len];
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(leaf) = &node.leaf else { continue };
            for &(target, weight) in leaf {
                table[i * self.targets + target] += weight;
            }
            let all = (0..self.targets).all(|t| leaf.iter().any(|l| l.0 == t));
            if matches!(self.aggregate, Aggregate::Min | Aggregate::Max) && !all {
                return m.fail("takes the least or greatest of leaves that give to some targets alone");
            }
        }
        let table = m.constant(Tensor::f32(&[self.nodes.len(), self.targets], table));
        let given = m.gather(table, at, 0)?;
        let op = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => "ReduceSum",
            Aggregate::Min => "ReduceMin",
            Aggregate::Max => "ReduceMax",
        };
        m.reduce(op, given, &[1], false)
    }
}
