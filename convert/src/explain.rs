//! What became of each operator of the source model.
//!
//! While a model is read, every node notes which operator it was made for ([`crate::graph::Node::sources`]); passes and
//! lowering hand that on to what takes a node's place, steps carry it, and steps that take up others take theirs too.
//! What has left no trace went into whoever reads its results: those are followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::graph::Source;

/// How an operator of the source model is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By steps that are there for it, alone or together with others.
    Steps,
    /// It only says how values lie in memory, and takes no step.
    NoStep,
    /// Its results were computed at conversion.
    Folded,
    /// It became part of steps of the operators that read its results.
    Within,
    /// It decided, or named, what else is there.
    Reading,
    /// No output needs it.
    Unused,
}

impl How {
    /// A word for it, as reports and JSON have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::NoStep => "no-step",
            Self::Folded => "folded",
            Self::Within => "within",
            Self::Reading => "reading",
            Self::Unused => "unused",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steps => "computed by",
            Self::NoStep => "takes no step",
            Self::Folded => "folded into a constant",
            Self::Within => "part of",
            Self::Reading => "resolved while reading",
            Self::Unused => "unused",
        })
    }
}

/// An operator of the source model, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Operator, with its domain when that is not ONNX's own.
    pub op: String,
    /// Name of the node.
    pub name: String,
    /// How it is computed.
    pub how: How,
    /// The steps of the program, by position, that it is part of.
    pub steps: Vec<usize>,
}

/// Explains all operators. `lowered` are those that steps were made for, whether or not a step of the program remains;
/// `program` are those of each step of the program.
pub(crate) fn explain(sources: &[Source], lowered: &BTreeSet<u32>, program: &[Vec<u32>]) -> Vec<Explained> {
    let mut steps: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, of) in program.iter().enumerate() {
        of.iter().for_each(|&s| steps.entry(s).or_default().push(i));
    }
    let mut readers: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (i, source) in sources.iter().enumerate() {
        source.inputs.iter().for_each(|v| {
            readers.entry(v.0).or_default().insert(i as u32);
        });
    }
    let one = |i: usize, source: &Source| {
        let own = steps.get(&(i as u32)).cloned().unwrap_or_default();
        let (how, steps) = if !own.is_empty() {
            (How::Steps, own)
        } else if source.outputs.is_empty() {
            (How::Reading, own)
        } else if !source.computed {
            (How::Folded, own)
        } else if lowered.contains(&(i as u32)) {
            (How::NoStep, own)
        } else {
            let found = behind(sources, &readers, &steps, i);
            (if found.is_empty() { How::Unused } else { How::Within }, found)
        };
        Explained { op: source.op.clone(), name: source.name.clone(), how, steps }
    };
    sources.iter().enumerate().map(|(i, source)| one(i, source)).collect()
}

/// The steps of the nearest operators that read what an operator gives.
fn behind(
    sources: &[Source],
    readers: &BTreeMap<u32, BTreeSet<u32>>,
    steps: &BTreeMap<u32, Vec<usize>>,
    from: usize,
) -> Vec<usize> {
    let (mut seen, mut open) = (BTreeSet::from([from as u32]), vec![from as u32]);
    let mut found = BTreeSet::new();
    while let Some(at) = open.pop() {
        for value in &sources[at as usize].outputs {
            for &reader in readers.get(&value.0).into_iter().flatten() {
                match steps.get(&reader) {
                    Some(of) => found.extend(of),
                    None if seen.insert(reader) => open.push(reader),
                    None => {}
                }
            }
        }
    }
    found.into_iter().collect()
}
