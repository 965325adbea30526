//! Forests out of attributes: the form of version 5, and the older ones of regressors and classifiers.

use std::collections::HashMap;

use super::{Aggregate, Branch, Forest, Leaf, Transform};
use crate::error::ImportError;
use crate::expand::make::Make;
use crate::fold;
use crate::graph::{Attr, Data, ElemType, Tensor};

type Read<T> = Result<T, ImportError>;

/// How a node compares its feature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    AtMost,
    Less,
    AtLeast,
    Greater,
    Equal,
    Unequal,
    Member,
    Leaf,
}

/// A node as attributes have it, its children within the forest.
struct Raw {
    mode: Mode,
    feature: usize,
    split: f64,
    members: Vec<f64>,
    yes: usize,
    no: usize,
    missing: bool,
    leaf: Leaf,
}

/// Nodes of all modes as ones that ask whether a feature is at most a number.
fn normalized(raw: Vec<Raw>) -> Vec<Branch> {
    let count = raw.len();
    let mut nodes = Vec::with_capacity(count);
    // Questions that take more than one node go on behind the others.
    let mut more: Vec<Branch> = Vec::new();
    for (i, n) in raw.into_iter().enumerate() {
        let (yes, no, missing) = (n.yes, n.no, n.missing);
        let ask =
            |split, yes, no, missing| Branch { feature: n.feature, split, yes, no, missing, leaf: None };
        // Rounded as features are, so that what equals goes on to.
        let at_most = n.split as f32;
        let below = at_most.next_down();
        // Whether it equals: at most, and not less.
        let equal = |more: &mut Vec<Branch>, value: f64, yes: usize, no: usize| {
            let value = value as f32;
            more.push(ask(value.next_down(), no, yes, false));
            ask(value, count + more.len() - 1, no, missing)
        };
        nodes.push(match n.mode {
            Mode::Leaf => {
                Branch { feature: 0, split: 0.0, yes: i, no: i, missing: false, leaf: Some(n.leaf) }
            }
            Mode::AtMost => ask(at_most, yes, no, missing),
            Mode::Less => ask(below, yes, no, missing),
            Mode::AtLeast => ask(below, no, yes, !missing),
            Mode::Greater => ask(at_most, no, yes, !missing),
            Mode::Equal => equal(&mut more, n.split, yes, no),
            Mode::Unequal => {
                let first = equal(&mut more, n.split, no, yes);
                Branch { missing: false, ..first }
            }
            Mode::Member => {
                let mut next = no;
                for &value in n.members.iter().skip(1).rev() {
                    let one = equal(&mut more, value, yes, next);
                    more.push(one);
                    next = count + more.len() - 1;
                }
                match n.members.first() {
                    Some(&value) => equal(&mut more, value, yes, next),
                    None => ask(f32::NEG_INFINITY, no, no, false),
                }
            }
        });
    }
    nodes.append(&mut more);
    nodes
}

/// An attribute of numbers, of whatever kind; empty where it is left out.
fn numbers(m: &Make<'_, '_>, key: &str) -> Vec<f64> {
    match m.node.attrs.get(key) {
        Some(Attr::Ints(v)) => v.iter().map(|&x| x as f64).collect(),
        Some(Attr::Floats(v)) => v.iter().map(|&x| f64::from(x)).collect(),
        Some(Attr::Tensor(t)) => wide(t),
        _ => Vec::new(),
    }
}

fn wide(t: &Tensor) -> Vec<f64> {
    match fold::cast(t, ElemType::F64).data {
        Data::F64(v) => v,
        _ => Vec::new(),
    }
}

/// Numbers under a name, or under it with `_as_tensor`.
fn reals(m: &Make<'_, '_>, key: &str) -> Vec<f64> {
    let given = numbers(m, &format!("{key}_as_tensor"));
    if given.is_empty() { numbers(m, key) } else { given }
}

fn index(m: &Make<'_, '_>, key: &str, value: f64, below: usize) -> Read<usize> {
    if value >= 0.0 && value < below as f64 {
        return Ok(value as usize);
    }
    m.fail(format!("its {key} has {value}; it has to be below {below}"))
}

/// Attributes of one length.
fn same_length(m: &Make<'_, '_>, lists: &[(&str, usize)]) -> Read<()> {
    let Some(&(first, n)) = lists.first() else { return Ok(()) };
    match lists.iter().find(|l| l.1 != n) {
        Some(&(key, len)) => m.fail(format!("has {n} {first}, but {len} {key}")),
        None if n == 0 => m.fail(format!("has no {first}")),
        None => Ok(()),
    }
}

fn transform(m: &Make<'_, '_>, name: &str) -> Read<Transform> {
    Ok(match name {
        "NONE" => Transform::None,
        "SOFTMAX" => Transform::Softmax,
        "LOGISTIC" => Transform::Logistic,
        "SOFTMAX_ZERO" => Transform::SoftmaxZero,
        other => return m.fail(format!("transforms its result by '{other}', which is not supported")),
    })
}

/// The form of version 5: inner nodes, leaves apart.
pub(super) fn ensemble(m: &Make<'_, '_>) -> Read<Forest> {
    let [features, splits, modes] =
        ["nodes_featureids", "nodes_splits", "nodes_modes"].map(|key| numbers(m, key));
    let [yes, no] = ["nodes_truenodeids", "nodes_falsenodeids"].map(|key| numbers(m, key));
    let [yes_leaf, no_leaf] = ["nodes_trueleafs", "nodes_falseleafs"].map(|key| numbers(m, key));
    let n = features.len();
    same_length(
        m,
        &[
            ("nodes_featureids", n),
            ("nodes_splits", splits.len()),
            ("nodes_modes", modes.len()),
            ("nodes_truenodeids", yes.len()),
            ("nodes_falsenodeids", no.len()),
            ("nodes_trueleafs", yes_leaf.len()),
            ("nodes_falseleafs", no_leaf.len()),
        ],
    )?;
    let (ids, weights) = (numbers(m, "leaf_targetids"), numbers(m, "leaf_weights"));
    same_length(m, &[("leaf_targetids", ids.len()), ("leaf_weights", weights.len())])?;
    let missing = numbers(m, "nodes_missing_value_tracks_true");
    let targets = m.count("n_targets")?;
    // Sets end in what is no number.
    let members = numbers(m, "membership_values");
    let mut sets = members.split(|v| v.is_nan());
    let mut raw = Vec::with_capacity(n + ids.len());
    let child = |to: f64, leaf: f64| -> Read<usize> {
        if leaf != 0.0 {
            return Ok(n + index(m, "leaf of a node", to, ids.len())?);
        }
        index(m, "child of a node", to, n)
    };
    for i in 0..n {
        let mode = match modes[i] as u8 {
            0 => Mode::AtMost,
            1 => Mode::Less,
            2 => Mode::AtLeast,
            3 => Mode::Greater,
            4 => Mode::Equal,
            5 => Mode::Unequal,
            6 => Mode::Member,
            other => return m.fail(format!("compares in mode {other}, which is not defined")),
        };
        let set = if mode == Mode::Member { sets.next() } else { None };
        raw.push(Raw {
            mode,
            feature: index(m, "nodes_featureids", features[i], usize::MAX)?,
            split: splits[i],
            members: set.map(<[f64]>::to_vec).unwrap_or_default(),
            yes: child(yes[i], yes_leaf[i])?,
            no: child(no[i], no_leaf[i])?,
            missing: missing.get(i).is_some_and(|&v| v != 0.0),
            leaf: Leaf::new(),
        });
    }
    for (&id, &weight) in ids.iter().zip(&weights) {
        let mut leaf = stop();
        leaf.leaf = vec![(index(m, "leaf_targetids", id, targets)?, weight as f32)];
        raw.push(leaf);
    }
    let roots = numbers(m, "tree_roots").into_iter().map(|r| index(m, "tree_roots", r, n));
    let roots = roots.collect::<Read<Vec<_>>>()?;
    same_length(m, &[("tree_roots", roots.len())])?;
    let aggregate = match m.node.int("aggregate_function", 1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return m.fail(format!("has aggregate_function {other}, which is not defined")),
    };
    let transform = match m.node.int("post_transform", 0) {
        0 => Transform::None,
        1 => Transform::Softmax,
        2 => Transform::Logistic,
        3 => Transform::SoftmaxZero,
        other => return m.fail(format!("has post_transform {other}, which is not supported")),
    };
    Ok(Forest { nodes: normalized(raw), roots, targets, base: Vec::new(), aggregate, transform })
}

fn stop() -> Raw {
    Raw {
        mode: Mode::Leaf,
        feature: 0,
        split: 0.0,
        members: Vec::new(),
        yes: 0,
        no: 0,
        missing: false,
        leaf: Leaf::new(),
    }
}

pub(super) fn regressor(m: &Make<'_, '_>) -> Read<Forest> {
    let targets = usize::try_from(m.node.int("n_targets", 1)).unwrap_or(0).max(1);
    let aggregate = match m.node.str("aggregate_function", "SUM") {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return m.fail(format!("has aggregate_function '{other}', which is not defined")),
    };
    older(m, "target", targets, aggregate)
}

pub(super) fn classifier(m: &Make<'_, '_>) -> Read<Forest> {
    let labels = match (m.node.ints("classlabels_int64s"), m.node.attrs.get("classlabels_strings")) {
        (Some(v), _) if !v.is_empty() => v.len(),
        (_, Some(Attr::Strs(v))) => v.len(),
        _ => return m.fail("names no classes"),
    };
    older(m, "class", labels, Aggregate::Sum)
}

/// The form of versions 1 and 3: nodes by tree and number, weights beside them.
fn older(m: &Make<'_, '_>, what: &str, targets: usize, aggregate: Aggregate) -> Read<Forest> {
    let [trees, ids, features] =
        ["nodes_treeids", "nodes_nodeids", "nodes_featureids"].map(|key| numbers(m, key));
    let [yes, no] = ["nodes_truenodeids", "nodes_falsenodeids"].map(|key| numbers(m, key));
    let values = reals(m, "nodes_values");
    let modes: &[String] = match m.node.attrs.get("nodes_modes") {
        Some(Attr::Strs(v)) => v,
        _ => &[],
    };
    let missing = numbers(m, "nodes_missing_value_tracks_true");
    let n = trees.len();
    same_length(
        m,
        &[
            ("nodes_treeids", n),
            ("nodes_nodeids", ids.len()),
            ("nodes_featureids", features.len()),
            ("nodes_values", values.len()),
            ("nodes_modes", modes.len()),
            ("nodes_truenodeids", yes.len()),
            ("nodes_falsenodeids", no.len()),
        ],
    )?;
    let at: HashMap<(u64, u64), usize> =
        (0..n).map(|i| ((trees[i].to_bits(), ids[i].to_bits()), i)).collect();
    let find = |tree: f64, id: f64| match at.get(&(tree.to_bits(), id.to_bits())) {
        Some(&i) => Ok(i),
        None => m.fail(format!("names node {id} of tree {tree}, which it does not have")),
    };
    let mut raw = Vec::with_capacity(n);
    let mut inner = vec![true; n];
    for i in 0..n {
        let mode = match modes[i].as_str() {
            "BRANCH_LEQ" => Mode::AtMost,
            "BRANCH_LT" => Mode::Less,
            "BRANCH_GTE" => Mode::AtLeast,
            "BRANCH_GT" => Mode::Greater,
            "BRANCH_EQ" => Mode::Equal,
            "BRANCH_NEQ" => Mode::Unequal,
            "LEAF" => {
                raw.push(stop());
                continue;
            }
            other => return m.fail(format!("compares in mode '{other}', which is not defined")),
        };
        let (yes, no) = (find(trees[i], yes[i])?, find(trees[i], no[i])?);
        (inner[yes], inner[no]) = (false, false);
        raw.push(Raw {
            mode,
            feature: index(m, "nodes_featureids", features[i], usize::MAX)?,
            split: values[i],
            members: Vec::new(),
            yes,
            no,
            missing: missing.get(i).is_some_and(|&v| v != 0.0),
            leaf: Leaf::new(),
        });
    }
    let keys = ["treeids", "nodeids", "ids"].map(|k| format!("{what}_{k}"));
    let [leaf_trees, leaf_nodes, leaf_targets] = [0, 1, 2].map(|i| numbers(m, &keys[i]));
    let weights = reals(m, &format!("{what}_weights"));
    same_length(
        m,
        &[
            (&keys[0], leaf_trees.len()),
            (&keys[1], leaf_nodes.len()),
            (&keys[2], leaf_targets.len()),
            ("weights", weights.len()),
        ],
    )?;
    for i in 0..weights.len() {
        let leaf = find(leaf_trees[i], leaf_nodes[i])?;
        raw[leaf].leaf.push((index(m, &keys[2], leaf_targets[i], targets)?, weights[i] as f32));
    }
    // A tree's root is the node that no other leads to.
    let roots: Vec<usize> = (0..n).filter(|&i| inner[i]).collect();
    same_length(m, &[("roots of trees", roots.len())])?;
    let base: Vec<f32> = reals(m, "base_values").into_iter().map(|v| v as f32).collect();
    if !base.is_empty() && base.len() != targets {
        return m.fail(format!("has {} base_values for {targets} targets", base.len()));
    }
    let transform = transform(m, m.node.str("post_transform", "NONE"))?;
    Ok(Forest { nodes: normalized(raw), roots, targets, base, aggregate, transform })
}
